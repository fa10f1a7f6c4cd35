//! R12: every root field of the live schema, asked by everyone who may not, in every form that an operation can have.
//! Nothing of another's comes back, and what is forbidden reads as what is absent.

use crate::harness::graphql::{code, list, text};
use crate::harness::server::ALL_SCOPES;
use crate::harness::ws::EVENTS;
use crate::harness::{
    Api, Database, Feed, STEP, Seen, Server, Socket, Value, World, both_backends, json,
};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Stands in every text that only the owner may see.
const MARK: &str = "for-the-owner-only";

/// The ids that a case asks for: the owner's, or some that nothing has.
#[derive(Clone)]
struct Ids {
    domain: String,
    endpoint: String,
    message: String,
    chat: String,
    token: String,
    application: String,
    endpoint_token: String,
}

impl Ids {
    fn of_nothing() -> Self {
        let id = |kind: &str| format!("{kind}AAAAAAAAAAAAAAAAAAAAA");
        Self {
            domain: id("RA"),
            endpoint: id("RQ"),
            message: id("TQ"),
            chat: id("Qw"),
            token: id("VA"),
            application: id("UA"),
            endpoint_token: id("Sw"),
        }
    }
}

/// What a caller without the scope is told.
#[derive(Clone, Copy, PartialEq)]
enum Without {
    /// FORBIDDEN, naming the scope.
    Forbidden(&'static str),
    /// What it may know: itself, or nothing.
    Own,
}

/// How one root field is asked.
struct Case {
    field: &'static str,
    without: Without,
    /// The field with its arguments and selection.
    ask: fn(&Ids) -> String,
}

const QUERIES: &[Case] = &[
    Case {
        field: "node",
        without: Without::Own,
        ask: |ids| {
            format!(
                "node(id: \"{}\") {{ id ... on Endpoint {{ displayName }} }}",
                ids.endpoint
            )
        },
    },
    Case {
        field: "nodes",
        without: Without::Own,
        ask: |ids| {
            let Ids {
                domain,
                endpoint,
                message,
                chat,
                token,
                application,
                ..
            } = ids;
            format!(
                "nodes(ids: [\"{domain}\", \"{endpoint}\", \"{message}\", \"{chat}\", \"{token}\", \"{application}\"]) {{ id ... on Message {{ body }} ... on Domain {{ description }} ... on Application {{ name }} }}"
            )
        },
    },
    Case {
        field: "viewer",
        without: Without::Own,
        ask: |_| "viewer { account { id } tokenName }".into(),
    },
    Case {
        field: "eventCursor",
        without: Without::Own,
        ask: |_| "eventCursor".into(),
    },
    Case {
        field: "technologies",
        without: Without::Own,
        ask: |_| "technologies { name endpointCount }".into(),
    },
    Case {
        field: "endpoint",
        without: Without::Forbidden("endpoints.read"),
        ask: |ids| {
            format!(
                "endpoint(by: {{ id: \"{}\" }}) {{ displayName description contacts {{ uri }} }}",
                ids.endpoint
            )
        },
    },
    Case {
        field: "endpoints",
        without: Without::Forbidden("endpoints.read"),
        ask: |ids| {
            format!(
                "endpoints(filter: {{ ids: [\"{}\"] }}) {{ totalCount nodes {{ displayName }} }}",
                ids.endpoint
            )
        },
    },
    Case {
        field: "domain",
        without: Without::Forbidden("domains.read"),
        ask: |ids| {
            format!(
                "domain(by: {{ id: \"{}\" }}) {{ name description }}",
                ids.domain
            )
        },
    },
    Case {
        field: "domains",
        without: Without::Forbidden("domains.read"),
        ask: |_| "domains { nodes { description } }".into(),
    },
    Case {
        field: "message",
        without: Without::Forbidden("messages.read"),
        ask: |ids| format!("message(id: \"{}\") {{ body from to }}", ids.message),
    },
    Case {
        field: "messages",
        without: Without::Forbidden("messages.read"),
        ask: |ids| {
            format!(
                "messages(filter: {{ endpointId: \"{}\" }}) {{ totalCount nodes {{ body }} }}",
                ids.endpoint
            )
        },
    },
    Case {
        field: "chat",
        without: Without::Forbidden("chats.read"),
        ask: |ids| {
            format!(
                "chat(id: \"{}\") {{ peer lastMessage {{ body }} }}",
                ids.chat
            )
        },
    },
    Case {
        field: "chats",
        without: Without::Forbidden("chats.read"),
        ask: |ids| {
            format!(
                "chats(filter: {{ endpointId: \"{}\" }}) {{ totalCount nodes {{ lastMessage {{ body }} }} }}",
                ids.endpoint
            )
        },
    },
    Case {
        field: "events",
        without: Without::Forbidden("messages.read"),
        ask: |ids| {
            format!(
                "events(filter: {{ types: [MESSAGE_OUT, MESSAGE_IN], endpointIds: [\"{}\"] }}) {{ edges {{ node {{ ... on MessageOut {{ text }} ... on MessageIn {{ text }} }} }} }}",
                ids.endpoint
            )
        },
    },
    Case {
        field: "apiTokens",
        without: Without::Forbidden("tokens.read"),
        ask: |_| "apiTokens { nodes { name } }".into(),
    },
    Case {
        field: "checkName",
        without: Without::Forbidden("endpoints.read"),
        ask: |ids| {
            format!(
                "checkName(name: \"bob\", domainId: \"{}\") {{ valid canonical }}",
                ids.domain
            )
        },
    },
    Case {
        field: "application",
        without: Without::Forbidden("applications.read"),
        ask: |ids| format!("application(id: \"{}\") {{ name }}", ids.application),
    },
    Case {
        field: "applications",
        without: Without::Forbidden("applications.read"),
        ask: |_| "applications { totalCount nodes { name } }".into(),
    },
    Case {
        field: "sipProfile",
        without: Without::Forbidden("profile.read"),
        ask: |_| "sipProfile { defaultEncryption defaultSendAs }".into(),
    },
    Case {
        field: "registrationFailures",
        without: Without::Forbidden("registrations.read"),
        ask: |ids| {
            format!(
                "registrationFailures(filter: {{ endpointId: \"{}\" }}) {{ nodes {{ aor source }} }}",
                ids.endpoint
            )
        },
    },
    Case {
        field: "previewTransformations",
        without: Without::Forbidden("endpoints.read"),
        ask: |_| {
            "previewTransformations(input: { number: \"1\", transformations: [] }) { result }"
                .into()
        },
    },
];

const MUTATIONS: &[Case] = &[
    Case {
        field: "createDomain",
        without: Without::Forbidden("domains.create"),
        ask: |_| {
            "createDomain(input: { name: \"example.test\" }) { domain { id } userErrors { code field } }".into()
        },
    },
    Case {
        field: "createApplication",
        without: Without::Forbidden("applications.create"),
        ask: |_| {
            "createApplication(input: { name: \"x\", dryRun: true }) { application { name } userErrors { code field } }".into()
        },
    },
    Case {
        field: "updateApplication",
        without: Without::Forbidden("applications.update"),
        ask: |ids| {
            format!(
                "updateApplication(input: {{ id: \"{}\", patch: {{ name: \"x\" }} }}) {{ application {{ name }} userErrors {{ code field message }} }}",
                ids.application
            )
        },
    },
    Case {
        field: "deleteApplication",
        without: Without::Forbidden("applications.delete"),
        ask: |ids| {
            format!(
                "deleteApplication(input: {{ id: \"{}\" }}) {{ deletedApplicationId userErrors {{ code field message }} }}",
                ids.application
            )
        },
    },
    Case {
        field: "updateSipProfile",
        without: Without::Forbidden("profile.update"),
        ask: |_| {
            "updateSipProfile(input: { patch: { defaultEncryption: REQUIRED } }) { sipProfile { defaultSendAs } userErrors { code field message } }".into()
        },
    },
    Case {
        field: "updateAccount",
        without: Without::Forbidden("account.update"),
        ask: |_| {
            "updateAccount(input: { patch: { uniqueNamesAcrossAccount: true } }) { account { id } userErrors { code field message } }".into()
        },
    },
    Case {
        field: "createEndpointToken",
        without: Without::Forbidden("endpoints.update"),
        ask: |ids| {
            format!(
                "createEndpointToken(input: {{ endpointId: \"{}\", expiresInSeconds: 60 }}) {{ secret userErrors {{ code field message }} }}",
                ids.endpoint
            )
        },
    },
    Case {
        field: "revokeEndpointToken",
        without: Without::Forbidden("endpoints.update"),
        ask: |ids| {
            format!(
                "revokeEndpointToken(input: {{ id: \"{}\" }}) {{ endpointToken {{ revokedAt }} userErrors {{ code field message }} }}",
                ids.endpoint_token
            )
        },
    },
    Case {
        field: "liftBan",
        without: Without::Forbidden("bans.manage"),
        ask: |_| {
            "liftBan(input: { source: \"192.0.2.77\" }) { source userErrors { code field message } }".into()
        },
    },
    Case {
        field: "updateDomain",
        without: Without::Forbidden("domains.update"),
        ask: |ids| {
            format!(
                "updateDomain(input: {{ id: \"{}\", patch: {{ description: \"x\" }} }}) {{ domain {{ description }} userErrors {{ code field message }} }}",
                ids.domain
            )
        },
    },
    Case {
        field: "deleteDomain",
        without: Without::Forbidden("domains.delete"),
        ask: |ids| {
            format!(
                "deleteDomain(input: {{ id: \"{}\" }}) {{ deletedDomainId userErrors {{ code field message }} }}",
                ids.domain
            )
        },
    },
    Case {
        field: "createEndpoint",
        without: Without::Forbidden("endpoints.create"),
        ask: |ids| {
            format!(
                "createEndpoint(input: {{ domainId: \"{}\", name: \"bob\", credentials: {{ password: \"secret\" }} }}) {{ endpoint {{ id }} userErrors {{ code field message }} }}",
                ids.domain
            )
        },
    },
    Case {
        field: "createEndpoints",
        without: Without::Forbidden("endpoints.create"),
        ask: |ids| {
            format!(
                "createEndpoints(input: {{ endpoints: [{{ domainId: \"{}\", name: \"bulk\", credentials: {{ password: \"secret\" }} }}] }}) {{ endpoints {{ id }} userErrors {{ code field message }} }}",
                ids.domain
            )
        },
    },
    Case {
        field: "updateEndpoint",
        without: Without::Forbidden("endpoints.update"),
        ask: |ids| {
            format!(
                "updateEndpoint(input: {{ id: \"{}\", patch: {{ displayName: \"x\" }} }}) {{ endpoint {{ displayName description }} userErrors {{ code field message }} }}",
                ids.endpoint
            )
        },
    },
    Case {
        field: "replaceEndpoint",
        without: Without::Forbidden("endpoints.update"),
        ask: |ids| {
            format!(
                "replaceEndpoint(input: {{ id: \"{}\", endpoint: {{ displayName: \"x\" }} }}) {{ endpoint {{ displayName description }} userErrors {{ code field message }} }}",
                ids.endpoint
            )
        },
    },
    Case {
        field: "deleteEndpoint",
        without: Without::Forbidden("endpoints.delete"),
        ask: |ids| {
            format!(
                "deleteEndpoint(input: {{ id: \"{}\" }}) {{ deletedEndpointId userErrors {{ code field message }} }}",
                ids.endpoint
            )
        },
    },
    Case {
        field: "sendMessage",
        without: Without::Forbidden("messages.create"),
        ask: |ids| {
            format!(
                "sendMessage(input: {{ from: {{ endpointId: \"{}\" }}, to: {{ endpointId: \"{}\" }}, body: \"x\" }}) {{ message {{ id }} userErrors {{ code field message }} }}",
                ids.endpoint,
                Ids::of_nothing().endpoint
            )
        },
    },
    Case {
        field: "markMessage",
        without: Without::Forbidden("messages.update"),
        ask: |ids| {
            format!(
                "markMessage(input: {{ id: \"{}\" }}) {{ message {{ body }} userErrors {{ code field message }} }}",
                ids.message
            )
        },
    },
    Case {
        field: "deleteMessage",
        without: Without::Forbidden("messages.delete"),
        ask: |ids| {
            format!(
                "deleteMessage(input: {{ id: \"{}\" }}) {{ deletedMessageId chat {{ peer }} userErrors {{ code field message }} }}",
                ids.message
            )
        },
    },
    Case {
        field: "markChat",
        without: Without::Forbidden("chats.update"),
        ask: |ids| {
            format!(
                "markChat(input: {{ id: \"{}\" }}) {{ markedCount chat {{ peer }} userErrors {{ code field message }} }}",
                ids.chat
            )
        },
    },
    Case {
        field: "deleteChatMessages",
        without: Without::Forbidden("chats.delete"),
        ask: |ids| {
            format!(
                "deleteChatMessages(input: {{ id: \"{}\" }}) {{ deletedCount chat {{ peer }} userErrors {{ code field message }} }}",
                ids.chat
            )
        },
    },
    Case {
        field: "setComposing",
        without: Without::Forbidden("messages.create"),
        ask: |ids| {
            format!(
                "setComposing(input: {{ chatId: \"{}\" }}) {{ active userErrors {{ code field message }} }}",
                ids.chat
            )
        },
    },
    Case {
        field: "deleteChat",
        without: Without::Forbidden("chats.delete"),
        ask: |ids| {
            format!(
                "deleteChat(input: {{ id: \"{}\" }}) {{ deletedChatId userErrors {{ code field message }} }}",
                ids.chat
            )
        },
    },
    Case {
        field: "createApiToken",
        without: Without::Forbidden("tokens.create"),
        ask: |ids| {
            format!(
                "createApiToken(input: {{ name: \"x\", scopes: [\"endpoints.read\"], endpointIds: [\"{}\"] }}) {{ secret userErrors {{ code field message }} }}",
                ids.endpoint
            )
        },
    },
    Case {
        field: "revokeApiToken",
        without: Without::Forbidden("tokens.delete"),
        ask: |ids| {
            format!(
                "revokeApiToken(input: {{ id: \"{}\" }}) {{ apiToken {{ name }} userErrors {{ code field message }} }}",
                ids.token
            )
        },
    },
];

const SUBSCRIPTIONS: &[Case] = &[
    Case {
        field: "events",
        without: Without::Forbidden("messages.read"),
        ask: |_| {
            "events(after: \"\", filter: { types: [MESSAGE_IN, MESSAGE_OUT] }) { node { type ... on MessageIn { text } ... on MessageOut { text } } }".into()
        },
    },
    Case {
        field: "endpointStates",
        without: Without::Forbidden("endpoints.read"),
        ask: |ids| {
            format!(
                "endpointStates(filter: {{ ids: [\"{}\"] }}) {{ kind endpoint {{ displayName }} }}",
                ids.endpoint
            )
        },
    },
    Case {
        field: "composing",
        without: Without::Forbidden("chats.read"),
        ask: |ids| format!("composing(chatIds: [\"{}\"]) {{ peer active }}", ids.chat),
    },
];

/// A stage where everything of the owner is marked, and who else is there.
struct Stage {
    world: World,
    ids: Ids,
    rival: String,
    powerless: String,
    bound: String,
}

impl Stage {
    async fn start(database: &Database) -> Self {
        let server = Server::start(database).await;
        let api = Api::of(&server);
        let input =
            json!({ "name": "example.test", "description": MARK, "recordInternalMessages": true });
        let domain =
            text(&api.mutate("createDomain", "domain { id }", input).await["domain"]["id"]);
        let alice = api.endpoint_create(&domain, "alice").await;
        let input = json!({ "domainId": domain, "name": "bob", "displayName": MARK, "description": MARK, "credentials": { "password": "secret-of-bob" } });
        let id =
            text(&api.mutate("createEndpoint", "endpoint { id }", input).await["endpoint"]["id"]);
        let bob = crate::harness::Account {
            id,
            user: "bob".into(),
            password: "secret-of-bob".into(),
            ..alice.clone()
        };
        let carol = api.endpoint_create(&domain, "carol").await;
        api.send(&bob, &carol, MARK).await;
        api.send(&carol, &bob, MARK).await;
        let incoming = api
            .messages(json!({ "endpointId": bob.id, "direction": "IN" }))
            .await[0]
            .clone();
        let input = json!({ "name": MARK, "scopes": ["endpoints.read"] });
        let token = api.mutate("createApiToken", "apiToken { id }", input).await;
        let application = api
            .mutate(
                "createApplication",
                "application { id }",
                json!({ "name": MARK }),
            )
            .await;
        let input = json!({ "endpointId": bob.id, "expiresInSeconds": 600 });
        let endpoint_token = api
            .mutate("createEndpointToken", "endpointToken { id }", input)
            .await;
        let ids = Ids {
            domain: domain.clone(),
            endpoint: bob.id.clone(),
            message: text(&incoming["id"]),
            chat: text(&incoming["chatId"]),
            token: text(&token["apiToken"]["id"]),
            application: text(&application["application"]["id"]),
            endpoint_token: text(&endpoint_token["endpointToken"]["id"]),
        };
        // No field of the schema asks for this scope.
        let powerless = server.token_create("acme", "endpoints.secrets", &[]).await;
        server.cli(&["account", "create", "rival"]).await;
        let rival = server.token_create("rival", ALL_SCOPES, &[]).await;
        let bound = server.token_create("acme", ALL_SCOPES, &[&alice.id]).await;
        let world = World {
            server,
            api,
            domain,
            alice,
            bob,
        };
        Self {
            world,
            ids,
            rival,
            powerless,
            bound,
        }
    }

    /// Everything that the owner has, to see that nothing changed.
    async fn everything(&self) -> Value {
        let query = "{ domains { totalCount nodes { id description } } endpoints { nodes { id displayName description version } }
            messages { nodes { id body read } } chats { nodes { id unreadCount messageCount } }
            apiTokens { nodes { id name revokedAt } } applications { nodes { id name } } sipProfile { defaultEncryption }
            viewer { account { uniqueNamesAcrossAccount } } eventCursor }";
        self.world.api.data(query, json!({})).await
    }
}

/// The forms in which one operation on one field is asked over HTTP; each gives the field under `answer`.
fn forms(kind: &str, ask: &str) -> Vec<Value> {
    let root = match kind {
        "query" => "Query",
        _ => "Mutation",
    };
    vec![
        json!({ "query": format!("{kind} {{ answer: {ask} }}") }),
        // Several operations, of which one is named.
        json!({ "query": format!("query Other {{ __typename }} {kind} Wanted {{ answer: {ask} }}"), "operationName": "Wanted" }),
        // The same under several names.
        json!({ "query": format!("{kind} {{ first: {ask} answer: {ask} }}") }),
        // In a fragment, and in a fragment of a fragment.
        json!({ "query": format!("{kind} {{ ...Outer }} fragment Outer on {root} {{ ...Inner }} fragment Inner on {root} {{ answer: {ask} }}") }),
        json!({ "query": format!("{kind} {{ ... on {root} {{ ... {{ answer: {ask} }} }} }}") }),
        json!({ "query": format!("{kind}($yes: Boolean!) {{ ... @include(if: $yes) {{ answer: {ask} }} }}"), "variables": { "yes": true } }),
    ]
}

/// Checks an answer to somebody without the right.
#[track_caller]
fn gives_nothing(case: &Case, response: &Value) {
    assert!(
        !response.to_string().contains(MARK),
        "{}: {response}",
        case.field
    );
}

/// The first error's code and the data under `answer`: what a stranger can tell apart.
fn shape(response: &Value) -> (Value, Option<String>) {
    (
        response["data"]["answer"].clone(),
        code(response).map(str::to_owned),
    )
}

both_backends! {
    /// The list of cases is the list of root fields: a new field without a case fails here.
    async fn r12_every_root_field_has_a_case(database: Database) {
        let server = Server::start(&database).await;
        let query = "{ __schema { queryType { fields { name } } mutationType { fields { name } } subscriptionType { fields { name } } } }";
        let schema = Api::of(&server).data(query, json!({})).await["__schema"].clone();
        for (kind, cases) in [("queryType", QUERIES), ("mutationType", MUTATIONS), ("subscriptionType", SUBSCRIPTIONS)] {
            let there: BTreeSet<String> = list(&schema[kind]["fields"]).iter().map(|f| text(&f["name"])).collect();
            let tested: BTreeSet<String> = cases.iter().map(|c| c.field.to_owned()).collect();
            assert_eq!(there, tested, "{kind}: the root fields and those with an authorisation case");
        }
    }

    /// Without a token, without a scope, with another account's token, with a token bound to another endpoint.
    async fn r12_nobody_gets_what_is_not_theirs_over_http(database: Database) {
        let stage = Stage::start(&database).await;
        let before = stage.everything().await;
        let api = &stage.world.api;
        let nothing = Ids::of_nothing();
        for (kind, cases) in [("query", QUERIES), ("mutation", MUTATIONS)] {
            for case in cases {
                let asks = forms(kind, &(case.ask)(&stage.ids));
                let absent = forms(kind, &(case.ask)(&nothing));
                for (body, absent) in asks.into_iter().zip(absent) {
                    let ask = |token: Option<&str>, body: &Value| {
                        let (api, body) = (api.as_token(token), body.clone());
                        async move { api.post(body).await.unwrap().json::<Value>().await.unwrap() }
                    };
                    let response = ask(None, &body).await;
                    assert_eq!(code(&response), Some("UNAUTHENTICATED"), "{}: {response}", case.field);
                    assert!(response.get("data").is_none_or(Value::is_null), "{}: {response}", case.field);

                    let response = ask(Some(&stage.powerless), &body).await;
                    gives_nothing(case, &response);
                    if let Without::Forbidden(scope) = case.without {
                        assert_eq!(shape(&response), (Value::Null, Some("FORBIDDEN".into())), "{}: {response}", case.field);
                        let scopes = list(&response["errors"][0]["extensions"]["requiredScopes"]);
                        assert!(scopes.contains(&json!(scope)), "{}: {response}", case.field);
                    }
                    for token in [&stage.rival, &stage.bound] {
                        let (response, absent) = (ask(Some(token), &body).await, ask(Some(token), &absent).await);
                        gives_nothing(case, &response);
                        if case.field != "viewer" && case.field != "eventCursor" {
                            assert_eq!(shape(&response), shape(&absent), "{}: what is another's reads as what is not there", case.field);
                        }
                    }
                }
            }
        }
        assert_eq!(stage.everything().await, before, "nothing of the owner changed");
    }

    /// GET asks and never changes; a list of operations is no request.
    async fn r12_get_and_batches_open_no_way_in(database: Database) {
        let stage = Stage::start(&database).await;
        let before = stage.everything().await;
        let api = &stage.world.api;
        let get = |token: Option<String>, query: String| {
            let mut request = api.http.get(&api.url).header("Accept", "application/graphql-response+json").query(&[("query", query)]);
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            async move {
                let response = request.send().await.unwrap();
                (response.status().as_u16(), response.json::<Value>().await.unwrap())
            }
        };
        for case in QUERIES {
            let query = format!("{{ answer: {} }}", (case.ask)(&stage.ids));
            let (status, response) = get(None, query.clone()).await;
            assert_eq!((status, code(&response)), (401, Some("UNAUTHENTICATED")), "{}: {response}", case.field);
            for token in [&stage.powerless, &stage.rival, &stage.bound] {
                let (_, response) = get(Some(token.clone()), query.clone()).await;
                gives_nothing(case, &response);
                let posted = api.as_token(Some(token)).gql(&query, json!({})).await;
                if case.field != "eventCursor" {
                    assert_eq!(shape(&response), shape(&posted), "{}: GET and POST say the same", case.field);
                }
            }
        }
        for case in MUTATIONS {
            // The owner's own token: by GET it changes nothing either.
            let (status, response) = get(Some(stage.world.server.token.clone()), format!("mutation {{ {} }}", (case.ask)(&stage.ids))).await;
            assert_eq!(status, 405, "{}: {response}", case.field);
        }
        for token in [&stage.rival, &stage.world.server.token] {
            for batch in [json!([{ "query": "{ viewer { tokenName } }" }]), json!([]), json!([{ "query": "{ __typename }" }, { "query": "{ __typename }" }])] {
                let response = api.as_token(Some(token)).post(batch).await.unwrap();
                assert_eq!(response.status(), 400);
                let body: Value = response.json().await.unwrap();
                assert_eq!(code(&body), Some("BAD_REQUEST"), "{body}");
            }
        }
        for case in SUBSCRIPTIONS {
            let response = api.gql(&format!("subscription {{ {} }}", (case.ask)(&stage.ids)), json!({})).await;
            assert!(code(&response).is_some() && response.get("data").is_none_or(Value::is_null), "{}: {response}", case.field);
        }
        assert_eq!(stage.everything().await, before);
    }

    /// The same over WebSocket, with subscriptions.
    async fn r12_nobody_gets_what_is_not_theirs_over_websocket(database: Database) {
        let stage = Stage::start(&database).await;
        let before = stage.everything().await;
        let server = &stage.world.server;
        // Without a good token there is no session.
        for payload in [json!({}), json!({ "authorization": "Bearer nonsense" }), json!({ "authorization": "" }), Value::Null] {
            let mut socket = Socket::connect(server, &[]).await.unwrap();
            socket.send(json!({ "type": "connection_init", "payload": payload })).await;
            let seen = socket.see().await;
            assert!(matches!(seen, Seen::Close(4401 | 4403, _)), "{payload}: {seen:?}");
        }
        let mut socket = Socket::connect(server, &[]).await.unwrap();
        socket.subscribe("x", "{ endpoints { nodes { displayName } } }", json!({})).await;
        assert!(matches!(socket.see().await, Seen::Close(4401, _)));

        let nothing = Ids::of_nothing();
        for (kind, cases) in [("query", QUERIES), ("mutation", MUTATIONS)] {
            for case in cases {
                for token in [&stage.powerless, &stage.rival, &stage.bound] {
                    let mut socket = Socket::open(server, token).await;
                    let asks = forms(kind, &(case.ask)(&stage.ids));
                    let absent = forms(kind, &(case.ask)(&nothing));
                    for (i, (body, absent)) in asks.into_iter().zip(absent).enumerate() {
                        let response = socket.once(&format!("a{i}"), body).await;
                        gives_nothing(case, &response);
                        let absent = socket.once(&format!("b{i}"), absent).await;
                        match case.without {
                            Without::Forbidden(_) if token == &stage.powerless => {
                                assert_eq!(shape(&response), (Value::Null, Some("FORBIDDEN".into())), "{}: {response}", case.field);
                            }
                            _ if case.field == "eventCursor" => {}
                            _ => assert_eq!(shape(&response), shape(&absent), "{}", case.field),
                        }
                    }
                }
            }
        }
        for case in SUBSCRIPTIONS {
            let query = format!("subscription {{ answer: {} }}", (case.ask)(&stage.ids));
            let mut socket = Socket::open(server, &stage.powerless).await;
            let response = socket.once("x", json!({ "query": query })).await;
            assert_eq!(code(&response), Some("FORBIDDEN"), "{}: {response}", case.field);
            for token in [&stage.rival, &stage.bound] {
                let mut socket = Socket::open(server, token).await;
                socket.subscribe("x", &query, json!({})).await;
                while let Some(seen) = socket.see_within(Duration::from_millis(300)).await {
                    assert!(!format!("{seen:?}").contains(MARK), "{}: {seen:?}", case.field);
                }
            }
        }
        // A second session on one socket, or a change of its token, is not to be had.
        let mut socket = Socket::open(server, &stage.rival).await;
        socket.send(json!({ "type": "connection_init", "payload": { "authorization": format!("Bearer {}", server.token) } })).await;
        assert!(matches!(socket.see().await, Seen::Close(4429, _)));
        assert_eq!(stage.everything().await, before);
    }

    /// Live events of one account never come to another, whatever its filter names.
    async fn r12_live_events_stay_in_their_account(database: Database) {
        let stage = Stage::start(&database).await;
        let world = &stage.world;
        let rival = Api::with(&world.server, &stage.rival);
        let domain = rival.domain_create("rival.test", true).await;
        let cursor = rival.event_cursor().await;
        let filter = json!({ "endpointIds": [stage.ids.endpoint], "chatIds": [stage.ids.chat], "domainIds": [stage.ids.domain] });
        let mut named = Socket::open(&world.server, &stage.rival).await;
        named.subscribe("x", EVENTS, json!({ "after": "", "filter": filter })).await;
        let mut all = Feed::open_with(&world.server, &stage.rival, &cursor, Value::Null).await;
        let mut bound = Feed::open_with(&world.server, &stage.bound, &world.api.event_cursor().await, Value::Null).await;
        world.api.send(&world.bob, &world.alice, "to alice").await;
        let own = rival.endpoint_create(&domain, "rita").await;
        let event = all.item().await;
        assert_eq!((&event["type"], &event["endpointId"]), (&json!("ENDPOINT_CREATED"), &json!(own.id)));
        let event = bound.item().await;
        assert_eq!((&event["type"], &event["endpointId"]), (&json!("MESSAGE_IN"), &json!(world.alice.id)));
        assert_eq!(named.see_within(Duration::from_millis(300)).await, None);
    }

    /// A browser's page of another origin gets no socket and no answer to read.
    async fn r12_foreign_origins_and_hosts_are_refused(database: Database) {
        let server = Server::start(&database).await;
        let api = Api::of(&server);
        let host = server.url.trim_start_matches("http://").to_owned();
        for origin in ["http://evil.test", "null", "http://127.0.0.1.evil.test"] {
            assert!(Socket::connect(&server, &[("Origin", origin)]).await.is_err(), "{origin}");
            let response = api.http.post(&api.url).header("Origin", origin).bearer_auth(&server.token).json(&json!({ "query": "{ __typename }" })).send().await.unwrap();
            assert!(!response.headers().contains_key("access-control-allow-origin"), "{origin}");
        }
        assert!(Socket::connect(&server, &[("Origin", &format!("http://{host}"))]).await.is_ok());
        // DNS rebinding: a loopback listener answers only loopback names.
        let response = api.http.post(&api.url).header("Host", "evil.test").bearer_auth(&server.token).json(&json!({ "query": "{ __typename }" })).send().await.unwrap();
        assert_eq!(response.status(), 421);
    }

    /// Bodies have a limit and a type.
    async fn oversized_and_malformed_requests_are_refused(database: Database) {
        let server = Server::start(&database).await;
        let api = Api::of(&server);
        let post = |kind: &'static str, body: Vec<u8>| {
            let request = api.http.post(&api.url).bearer_auth(&server.token).header("Content-Type", kind).header("Accept", "application/graphql-response+json").body(body);
            async move {
                let response = request.send().await.unwrap();
                (response.status().as_u16(), response.json::<Value>().await.unwrap_or(Value::Null))
            }
        };
        // Only the head: the answer does not wait for a body that would be too large.
        let host = server.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(host).await.unwrap();
        let head = format!(
            "POST /graphql HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            server.token,
            (1 << 20) + 1
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(STEP, stream.read_to_string(&mut answer)).await.expect("an answer and the end").unwrap();
        assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("PAYLOAD_TOO_LARGE"), "{answer}");
        for (kind, bytes, status) in [
            ("application/json", b"{".to_vec(), 400),
            ("application/json", b"\xff\xfe".to_vec(), 400),
            ("application/json", b"{}".to_vec(), 400),
            ("text/plain", b"{\"query\":\"{__typename}\"}".to_vec(), 415),
            ("application/json", b"{\"query\":\"{\"}".to_vec(), 400),
            ("application/json", b"{\"query\":\"{ nothing }\"}".to_vec(), 400),
        ] {
            let (seen, body) = post(kind, bytes).await;
            assert_eq!(seen, status, "{body}");
            assert!(code(&body).is_some(), "{body}");
        }
        let deep = format!("{}__typename{}", "{ a ".repeat(200), "}".repeat(200));
        let response = api.gql(&deep, json!({})).await;
        assert_eq!(code(&response), Some("QUERY_TOO_COMPLEX"), "{response}");
    }
}

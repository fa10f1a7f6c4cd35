//! Rights: without a token, without a scope, of another account, bound to an endpoint.

use std::sync::Arc;

use serde_json::{Value, json};
use sipgraph_core::{
    address::endpoint_uri,
    binding::{Flow, Transport},
    decide::presence::{ContactUpdate, Contacts, Registration},
    ports::{
        PortFuture,
        technology::{Attempt, AttemptResult, Technology},
    },
};

use crate::harness::{Gateway, Seen, codes, text};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_told_without_a_token() {
    let gateway = Gateway::start().await;
    for query in [
        "{viewer{tokenName}}",
        "{__schema{types{name}}}",
        "{__typename}",
        "{",
    ] {
        let response = gateway.run_as("wrong", query, json!({})).await;
        assert_eq!(codes(&response), ["UNAUTHENTICATED"], "{query}");
        assert!(response.get("data").is_none());
    }
    let (status, head, _) = gateway.get("/graphql?query=%7B__typename%7D").await;
    assert_eq!(status, 401);
    assert!(
        head.to_ascii_lowercase()
            .contains("www-authenticate: bearer")
    );
    for payload in [
        json!(null),
        json!({}),
        json!({"authorization": "Bearer wrong"}),
    ] {
        let mut socket = gateway.bare_socket().await;
        socket
            .send(json!({"type": "connection_init", "payload": payload}))
            .await;
        assert_eq!(socket.closed().await, 4403, "{payload}");
    }
}

/// Every root field that can be forbidden, and what a token with no use for it gets: null and FORBIDDEN, and its siblings
/// beside it.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_scope_nulls_one_field_alone() {
    let gateway = Gateway::start().await;
    let token = gateway.token_with(&["tokens.delete"]).await;
    let reads = [
        r#"endpoint(by:{id:"x"}){id}"#,
        "endpoints{totalCount}",
        r#"domain(by:{id:"x"}){id}"#,
        "domains{totalCount}",
        r#"message(id:"x"){id}"#,
        "messages{totalCount}",
        r#"chat(id:"x"){id}"#,
        "chats{totalCount}",
        "events{pageInfo{hasNextPage}}",
        "apiTokens{totalCount}",
        r#"checkName(name:"x"){valid}"#,
    ];
    let writes = [
        r#"createDomain(input:{name:"x.example"}){replayed}"#,
        r#"deleteDomain(input:{id:"x"}){replayed}"#,
        r#"createEndpoint(input:{domainId:"x",name:"x"}){replayed}"#,
        r#"deleteEndpoint(input:{id:"x"}){replayed}"#,
        r#"sendMessage(input:{to:{endpointId:"x"}}){replayed}"#,
        r#"markMessage(input:{id:"x"}){replayed}"#,
        r#"createApiToken(input:{name:"x",scopes:["x"]}){replayed}"#,
    ];
    for (kind, fields) in [("query", &reads[..]), ("mutation", &writes[..])] {
        for field in fields {
            let query = format!("{kind}{{a:__typename x:{field} b:__typename}}");
            let response = gateway.run_as(&token, &query, json!({})).await;
            assert_eq!(codes(&response), ["FORBIDDEN"], "{field}: {response}");
            assert_eq!(response["data"]["x"], Value::Null, "{field}");
            assert!(response["data"]["a"].is_string() && response["data"]["b"].is_string());
            assert_eq!(response["errors"][0]["path"], json!(["x"]));
            let scopes = response["errors"][0]["extensions"]["requiredScopes"]
                .as_array()
                .unwrap();
            assert!(!scopes.is_empty());
        }
    }
    let response = gateway
        .run_as(&token, "{viewer{tokenName} eventCursor}", json!({}))
        .await;
    assert_eq!(codes(&response), [""; 0]);
    let mut socket = gateway.socket(&token).await;
    for query in [
        "subscription{events{cursor}}",
        "subscription{endpointStates{kind}}",
    ] {
        socket.subscribe(query, json!({})).await;
        let message = socket.message().await;
        assert_eq!(message["type"], "error", "{message}");
        assert_eq!(message["payload"][0]["extensions"]["code"], "FORBIDDEN");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nested_fields_need_their_own_scopes() {
    let gateway = Gateway::start().await;
    let domain = gateway.domain("example.com").await;
    let alice = gateway.endpoint(&domain, "alice").await;
    let bob = gateway.endpoint(&domain, "bob").await;
    let message = gateway.message(&alice, &bob, "hi").await;
    let token = gateway.token_with(&["endpoints.read", "chats.read"]).await;
    let query =
        "query($id:ID!){endpoint(by:{id:$id}){name domain{name} unreadCount messages{totalCount}
        chats{nodes{peer endpoint{name} lastMessage{body}}}}}";
    let response = gateway.run_as(&token, query, json!({ "id": alice })).await;
    let endpoint = &response["data"]["endpoint"];
    assert_eq!(endpoint["name"], "alice");
    assert_eq!(endpoint["domain"]["name"], "example.com");
    assert_eq!(
        (&endpoint["unreadCount"], &endpoint["messages"]),
        (&Value::Null, &Value::Null)
    );
    let chat = &endpoint["chats"]["nodes"][0];
    assert_eq!(
        chat,
        &json!({"peer": "bob@example.com", "endpoint": {"name": "alice"}, "lastMessage": null})
    );
    assert_eq!(codes(&response), ["FORBIDDEN"; 3]);
    let token = gateway.token_with(&["messages.read"]).await;
    let query = "query($id:ID!){message(id:$id){body endpoint{name} chat{peer} deliveries{id}}}";
    let response = gateway
        .run_as(&token, query, json!({ "id": message }))
        .await;
    let expected = json!({"body": "hi", "endpoint": null, "chat": null, "deliveries": []});
    assert_eq!(response["data"]["message"], expected);
    assert_eq!(codes(&response), ["FORBIDDEN"; 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_account_sees_and_changes_nothing() {
    let gateway = Gateway::start().await;
    let domain = gateway.domain("example.com").await;
    let alice = gateway.endpoint(&domain, "alice").await;
    let bob = gateway.endpoint(&domain, "bob").await;
    let message = gateway.message(&alice, &bob, "secret").await;
    let ids = json!({"d": domain, "e": alice, "m": message});
    let reads = "query($d:ID!,$e:ID!,$m:ID!){domain(by:{id:$d}){id} endpoint(by:{id:$e}){id} message(id:$m){id}
        uri:endpoint(by:{sipUri:\"sip:alice@example.com\"}){id} name:domain(by:{name:\"example.com\"}){id}
        endpoints{totalCount} domains{totalCount} messages{totalCount} chats{totalCount} events{nodes{id}}
        apiTokens{nodes{name}}}";
    let response = gateway.run_as(&gateway.stranger, reads, ids.clone()).await;
    for field in ["domain", "endpoint", "message", "uri", "name"] {
        assert_eq!(response["data"][field], Value::Null, "{field}");
    }
    for field in ["endpoints", "domains", "messages", "chats"] {
        assert_eq!(response["data"][field]["totalCount"], 0, "{field}");
    }
    assert_eq!(response["data"]["events"]["nodes"], json!([]));
    assert_eq!(codes(&response), ["NOT_FOUND"; 5]);
    let writes = "mutation($d:ID!,$e:ID!,$m:ID!){a:deleteDomain(input:{id:$d}){userErrors{code}}
        b:deleteEndpoint(input:{id:$e}){userErrors{code}} c:markMessage(input:{id:$m}){userErrors{code}}
        d:sendMessage(input:{from:{endpointId:$e},to:{endpointId:$e},body:\"x\"}){userErrors{code}}
        e:createEndpoint(input:{domainId:$d,name:\"eve\",credentials:{generate:true}}){userErrors{code}}}";
    let response = gateway.run_as(&gateway.stranger, writes, ids).await;
    for field in ["a", "b", "c", "d", "e"] {
        let errors = &response["data"][field]["userErrors"];
        assert_eq!(errors[0]["code"], "NOT_FOUND", "{field}: {response}");
    }
    let left = gateway
        .data(
            "{endpoints{totalCount} domains{totalCount} messages{totalCount}}",
            json!({}),
        )
        .await;
    assert_eq!(left["endpoints"]["totalCount"], 2);
    assert_eq!(left["messages"]["totalCount"], 2);
    let cursor = gateway.data("{eventCursor}", json!({})).await;
    let foreign = json!({"c": cursor["eventCursor"]});
    let mut socket = gateway.socket(&gateway.stranger).await;
    socket
        .subscribe("subscription($c:Cursor){events(after:$c){cursor}}", foreign)
        .await;
    let message = socket.message().await;
    assert_eq!(message["type"], "error");
    assert_eq!(
        message["payload"][0]["extensions"]["code"],
        "BAD_USER_INPUT"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_bound_to_an_endpoint_sees_it_alone() {
    let gateway = Gateway::start().await;
    let domain = gateway.domain("example.com").await;
    let alice = gateway.endpoint(&domain, "alice").await;
    let bob = gateway.endpoint(&domain, "bob").await;
    gateway.message(&alice, &bob, "hi").await;
    let mint = "mutation($e:ID!){createApiToken(input:{name:\"a\",endpointIds:[$e],
        scopes:[\"endpoints.read\",\"messages.manage\",\"chats.read\"]}){secret}}";
    let minted = gateway.data(mint, json!({ "e": alice })).await;
    let token = text(&minted["createApiToken"]["secret"]);
    let query = "query($b:ID!){endpoints{nodes{name}} chats{nodes{peer}} messages{nodes{direction}} endpoint(by:{id:$b}){id}
        events{nodes{type}}}";
    let response = gateway.run_as(&token, query, json!({ "b": bob })).await;
    let data = &response["data"];
    assert_eq!(data["endpoints"]["nodes"], json!([{"name": "alice"}]));
    assert_eq!(data["chats"]["nodes"], json!([{"peer": "bob@example.com"}]));
    assert_eq!(data["messages"]["nodes"], json!([{"direction": "OUT"}]));
    assert_eq!(data["endpoint"], Value::Null);
    assert!(!data["events"].to_string().contains("MESSAGE_IN"));
    let send = "mutation($f:ID!,$t:ID!){sendMessage(input:{from:{endpointId:$f},to:{endpointId:$t},body:\"x\"}){message{id} userErrors{code field}}}";
    let response = gateway
        .run_as(&token, send, json!({"f": bob, "t": alice}))
        .await;
    assert_eq!(response["data"]["sendMessage"]["message"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_loses_its_sockets() {
    let gateway = Gateway::start().await;
    let mint = "mutation{createApiToken(input:{name:\"a\",scopes:[\"endpoints.read\"]}){secret apiToken{id}}}";
    let minted = gateway.data(mint, json!({})).await["createApiToken"].take();
    let mut socket = gateway.socket(&text(&minted["secret"])).await;
    socket
        .subscribe("subscription{endpointStates{kind}}", json!({}))
        .await;
    assert_eq!(
        socket.next().await["endpointStates"]["kind"],
        "INITIAL_DONE"
    );
    let revoke = "mutation($id:ID!){revokeApiToken(input:{id:$id}){userErrors{code}}}";
    gateway
        .data(revoke, json!({"id": minted["apiToken"]["id"]}))
        .await;
    assert_eq!(socket.closed().await, 4401);
    let mint = "mutation{createApiToken(input:{name:\"b\",scopes:[\"endpoints.read\"],expiresInSeconds:1}){secret}}";
    let minted = gateway.data(mint, json!({})).await["createApiToken"].take();
    let mut socket = gateway.socket(&text(&minted["secret"])).await;
    assert_eq!(socket.closed().await, 4401);
    let mut late = gateway.bare_socket().await;
    let payload = json!({"authorization": format!("Bearer {}", text(&minted["secret"]))});
    late.send(json!({"type": "connection_init", "payload": payload}))
        .await;
    assert!(matches!(late.see().await, Seen::Close(4403)));
}

/// A phone that takes every message.
struct Phone;

impl Technology for Phone {
    fn deliver(&self, _: Attempt) -> PortFuture<'static, AttemptResult> {
        Box::pin(async {
            AttemptResult::Answered {
                status: 200,
                reason: "OK".into(),
                retry_after_s: None,
            }
        })
    }
}

/// Registers a contact for an endpoint and delivers what waits for it.
async fn deliver(gateway: &Gateway, endpoint: &str) {
    let caller = gateway.app.token_check(&gateway.token).await.unwrap();
    let key = endpoint_uri("uri", endpoint).unwrap();
    let endpoint = gateway.app.endpoint(&caller, key).await.unwrap();
    let registration = Registration {
        call_id: "register-1".into(),
        cseq: 1,
        contacts: Contacts::Update(vec![ContactUpdate {
            uri: "sip:bob@192.0.2.7:5060".into(),
            expires_s: 3600,
            instance: None,
            reg_id: None,
        }]),
        flow: Flow {
            transport: Transport::Udp,
            remote: "192.0.2.7:5060".into(),
            local: "192.0.2.1:5060".into(),
            node: gateway.app.node(),
            connection: 0,
        },
        path: None,
        user_agent: None,
        token: None,
    };
    let registered = gateway.app.contacts_register(&endpoint, &registration);
    registered.await.unwrap().unwrap();
    let phone: Arc<dyn Technology> = Arc::new(Phone);
    let rounds = gateway.app.delivery_step(&phone, 8).await.unwrap();
    for round in rounds.expect("a message is due") {
        round.await;
    }
}

/// Where a phone is, is the recipient's: the sender of a message need not be able to see it.
#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_tells_of_the_phone_only_who_may_see_it() {
    let gateway = Gateway::start().await;
    let domain = gateway.domain("example.com").await;
    let alice = gateway.endpoint(&domain, "alice").await;
    let bob = gateway.endpoint(&domain, "bob").await;
    gateway.message(&alice, &bob, "hi").await;
    deliver(&gateway, "sip:bob@example.com").await;
    let bound = async |endpoint: &str, scopes: &[&str]| {
        let mint = "mutation($e:ID!,$s:[String!]!){createApiToken(input:{name:\"a\",endpointIds:[$e],scopes:$s}){secret}}";
        let minted = gateway
            .data(mint, json!({"e": endpoint, "s": scopes}))
            .await;
        text(&minted["createApiToken"]["secret"])
    };
    let both = ["messages.read", "endpoints.read"];
    let table = [
        (gateway.token.clone(), vec![("IN", true), ("OUT", true)]),
        (
            gateway.token_with(&["messages.read"]).await,
            vec![("IN", false), ("OUT", false)],
        ),
        (bound(&alice, &both).await, vec![("OUT", false)]),
        (bound(&bob, &both).await, vec![("IN", true)]),
        (bound(&bob, &["messages.read"]).await, vec![("IN", false)]),
    ];
    let query = "{messages{nodes{direction deliveries{contactUri transport outcome}}}}";
    for (token, copies) in table {
        let response = gateway.run_as(&token, query, json!({})).await;
        assert_eq!(codes(&response), [""; 0], "{response}");
        let nodes = response["data"]["messages"]["nodes"].as_array().unwrap();
        assert_eq!(nodes.len(), copies.len(), "{response}");
        for (direction, told) in copies {
            let message = nodes.iter().find(|node| node["direction"] == direction);
            let (uri, transport) = if told {
                (json!("sip:bob@192.0.2.7:5060"), json!("UDP"))
            } else {
                (Value::Null, Value::Null)
            };
            let expected =
                json!([{"contactUri": uri, "transport": transport, "outcome": "DELIVERED"}]);
            assert_eq!(message.unwrap()["deliveries"], expected, "{direction}");
        }
    }
}

//! Tokens: what they allow, to what they are bound, and what they can mint.

use crate::harness::graphql::{code, field_of, list, text};
use crate::harness::server::ALL_SCOPES;
use crate::harness::{Api, Database, Feed, Server, Value, World, both_backends, eventually, json};
use sipgraph_testkit::block_on;

async fn minted(api: &Api, input: Value) -> Value {
    let payload = api
        .mutate(
            "createApiToken",
            "apiToken { id name scopes endpointIds expiresAt revokedAt createdAt } secret replayed",
            input.clone(),
        )
        .await;
    assert_eq!(payload["userErrors"], json!([]), "{input}");
    payload
}

both_backends! {
    /// The first of two mutations is done although the second is forbidden.
    async fn h150_a_forbidden_mutation_leaves_the_one_before(database: Database) {
        let world = World::start(&database).await;
        let token = world.server.token_create("acme", "messages.create", &[]).await;
        let query = "mutation($send: SendMessageInput!, $delete: DeleteEndpointInput!) {
            sent: sendMessage(input: $send) { message { body } userErrors { code } }
            gone: deleteEndpoint(input: $delete) { deletedEndpointId }
            again: sendMessage(input: $send) { message { body } userErrors { code } }
        }";
        let send = json!({ "from": { "endpointId": world.alice.id }, "to": { "endpointId": world.bob.id }, "body": "x" });
        let variables = json!({ "send": send, "delete": { "id": world.bob.id } });
        let response = world.api.as_token(Some(&token)).gql(query, variables).await;
        assert_eq!(response["data"]["sent"], json!({ "message": { "body": "x" }, "userErrors": [] }), "{response}");
        assert_eq!(response["data"]["gone"], Value::Null, "{response}");
        assert_eq!(response["data"]["again"]["message"]["body"], "x", "{response}");
        let errors = list(&response["errors"]);
        assert_eq!(errors.len(), 1, "{response}");
        assert_eq!((&errors[0]["path"], &errors[0]["extensions"]["code"]), (&json!(["gone"]), &json!("FORBIDDEN")));
        assert_eq!(world.api.endpoints_count().await, 2);
    }

    /// A field that needs another scope is null; its siblings and the list are there.
    async fn h151_a_forbidden_field_leaves_its_siblings(database: Database) {
        let world = World::start(&database).await;
        world.api.send(&world.alice, &world.bob, "hello").await;
        let token = world.server.token_create("acme", "endpoints.read", &[]).await;
        let query = "{ endpoints { totalCount nodes { name domain { name } unreadCount messages { totalCount } chats { totalCount } } } }";
        let response = world.api.as_token(Some(&token)).gql(query, json!({})).await;
        let node = |name: &str| json!({ "name": name, "domain": { "name": "example.test" }, "unreadCount": null, "messages": null, "chats": null });
        assert_eq!(response["data"]["endpoints"], json!({ "totalCount": 2, "nodes": [node("bob"), node("alice")] }), "{response}");
        let errors = list(&response["errors"]);
        assert_eq!(errors.len(), 6, "{response}");
        assert!(errors.iter().all(|e| e["extensions"]["code"] == "FORBIDDEN"), "{response}");
    }

    /// A bound token sees and acts as its endpoints only; all else is not there.
    async fn h152_a_bound_token_is_its_endpoints(database: Database) {
        let world = World::start(&database).await;
        let World { server, api, domain, alice, bob } = &world;
        let carol = api.endpoint_create(domain, "carol").await;
        let start = api.event_cursor().await;
        let sent = api.send(alice, bob, "to bob").await;
        api.send(&carol, bob, "from carol").await;
        let own = minted(api, json!({ "name": "alice's browser", "scopes": ALL_SCOPES.split(',').collect::<Vec<_>>(), "endpointIds": [alice.id] })).await;
        let bound = api.as_token(own["secret"].as_str());
        let viewer = bound.data("{ viewer { tokenName scopes endpointIds } }", json!({})).await["viewer"].clone();
        assert_eq!((&viewer["tokenName"], &viewer["endpointIds"]), (&json!("alice's browser"), &json!([alice.id])));

        // Lists have its own only.
        let data = bound.data("{ endpoints { totalCount nodes { name } } messages { totalCount nodes { endpointId } } chats { totalCount nodes { endpointId } } }", json!({})).await;
        assert_eq!(data["endpoints"], json!({ "totalCount": 1, "nodes": [{ "name": "alice" }] }));
        assert_eq!(data["messages"], json!({ "totalCount": 1, "nodes": [{ "endpointId": alice.id }] }));
        assert_eq!(data["chats"], json!({ "totalCount": 1, "nodes": [{ "endpointId": alice.id }] }));
        // Others are not there.
        let bobs = api.messages(json!({ "endpointId": bob.id })).await;
        for (query, id) in [
            ("query($id: ID!) { endpoint(by: { id: $id }) { id } }", &json!(bob.id)),
            ("query($id: ID!) { message(id: $id) { id } }", &bobs[0]["id"]),
            ("query($id: ID!) { chat(id: $id) { id } }", &bobs[0]["chatId"]),
            ("query($id: ID!) { node(id: $id) { id } }", &json!(bob.id)),
            ("query($id: ID!) { domain(by: { id: $id }) { id } }", &json!(domain)),
        ] {
            // An id of the same kind that nothing has.
            let mut of_nothing = text(id)[..2].to_owned();
            of_nothing.push_str(&"A".repeat(21));
            let absent = bound.gql(query, json!({ "id": of_nothing })).await;
            assert_eq!(code(&absent), Some("NOT_FOUND"), "{absent}");
            assert_eq!(bound.gql(query, json!({ "id": id })).await, absent, "{query}");
        }
        let by = json!({ "resource": { "technology": "SIP", "resource": "bob" } });
        assert_eq!(bound.error("query($by: EndpointLookup!) { endpoint(by: $by) { id } }", json!({ "by": by })).await, "NOT_FOUND");
        // It acts as itself only, and may write to anyone.
        let input = json!({ "from": { "endpointId": bob.id }, "to": { "endpointId": alice.id }, "body": "x" });
        bound.refused_at("sendMessage", input, "NOT_FOUND", "from").await;
        let answer = bound.send_input(json!({ "from": { "endpointId": alice.id }, "to": { "uri": "pjsip:bob" }, "body": "as alice" })).await;
        assert_eq!(answer["chatId"], sent["chatId"]);
        bound.refused_at("deleteEndpoint", json!({ "id": bob.id }), "NOT_FOUND", "id").await;
        bound.refused_at("markMessage", json!({ "id": bobs[0]["id"] }), "NOT_FOUND", "id").await;
        let input = json!({ "domainId": domain, "name": "dora", "credentials": { "password": "secret" } });
        bound.refused_at("createEndpoint", input, "NOT_FOUND", "domainId").await;
        // Events too.
        let mut feed = Feed::open_with(server, &text(&own["secret"]), &start, Value::Null).await;
        let events = feed.all_until(|e| e["type"] == "MESSAGE_OUT" && e["text"] == "as alice").await;
        for event in &events {
            assert_eq!(event["endpointId"], json!(alice.id), "{event}");
        }

        // It mints no more than its own rights.
        let input = json!({ "name": "more", "scopes": ["messages.read"], "endpointIds": [alice.id, bob.id] });
        bound.refused_at("createApiToken", input, "NOT_FOUND", "endpointIds.1").await;
        let less = minted(&bound, json!({ "name": "less", "scopes": ["messages.read"] })).await;
        assert_eq!(less["apiToken"]["endpointIds"], json!([alice.id]));
        let less = api.as_token(less["secret"].as_str());
        assert_eq!(less.data("{ messages { totalCount } }", json!({})).await["messages"]["totalCount"], 2);
        assert_eq!(less.error("mutation { createApiToken(input: { name: \"x\", scopes: [\"messages.read\"] }) { secret } }", json!({})).await, "FORBIDDEN");
        assert_eq!(bound.data("{ apiTokens { totalCount } }", json!({})).await["apiTokens"]["totalCount"], 0);
        // A token of the account is none of its business.
        let whole = list(&api.data("{ apiTokens { nodes { id endpointIds } } }", json!({})).await["apiTokens"]["nodes"]);
        let whole = whole.iter().find(|t| t["endpointIds"].is_null()).unwrap();
        bound.refused_at("revokeApiToken", json!({ "id": whole["id"] }), "NOT_FOUND", "id").await;
    }

    /// Minted tokens: a subset of rights, an end, one-time secrets, revoking, listing.
    async fn a_token_mints_a_subset_of_its_rights(database: Database) {
        let world = World::start(&database).await;
        let World { server, api, .. } = &world;
        let token = server.token_create("acme", "tokens.create,endpoints.read,messages.manage", &[]).await;
        let minter = api.as_token(Some(&token));
        let errors = minter.refused("createApiToken", json!({ "name": "", "scopes": ["endpoints.manage", "chats.read", "tea.make", "messages.read"] })).await;
        let mut fields: Vec<String> = errors.iter().map(field_of).collect();
        fields.sort();
        assert_eq!(fields, ["name", "scopes.0", "scopes.1", "scopes.2"], "{errors:?}");
        minter.refused_at("createApiToken", json!({ "name": "x", "scopes": ["endpoints.read"], "expiresInSeconds": 0 }), "VALIDATION", "expiresInSeconds").await;
        let input = json!({ "name": "reader", "scopes": ["messages.read", "endpoints.read", "messages.read"], "expiresInSeconds": 3600, "idempotencyKey": "k" });
        let first = minted(&minter, input.clone()).await;
        assert_eq!(first["apiToken"]["scopes"], json!(["endpoints.read", "messages.read"]));
        assert!(text(&first["secret"]).len() > 40, "{first}");
        let again = minted(&minter, input).await;
        assert_eq!((&again["replayed"], &again["secret"], &again["apiToken"]["id"]), (&json!(true), &Value::Null, &first["apiToken"]["id"]));
        // The list never has a secret.
        let tokens = api.data("{ apiTokens { totalCount nodes { id name scopes expiresAt revokedAt } } }", json!({})).await;
        assert_eq!(tokens["apiTokens"]["totalCount"], 3, "{tokens}");
        assert!(!tokens.to_string().contains(&text(&first["secret"])));
        let reader = api.as_token(first["secret"].as_str());
        assert_eq!(reader.endpoints_count().await, 2);
        let payload = api.mutate("revokeApiToken", "apiToken { id revokedAt } replayed", json!({ "id": first["apiToken"]["id"], "idempotencyKey": "r" })).await;
        assert!(payload["apiToken"]["revokedAt"].is_string(), "{payload}");
        assert_eq!(reader.error("{ endpoints { totalCount } }", json!({})).await, "UNAUTHENTICATED");
        api.refused_at("revokeApiToken", json!({ "id": first["apiToken"]["id"] }), "NOT_FOUND", "id").await;
        let payload = api.mutate("revokeApiToken", "apiToken { id } replayed", json!({ "id": first["apiToken"]["id"], "idempotencyKey": "r" })).await;
        assert_eq!(payload["replayed"], true, "{payload}");
    }

    /// Tokens are made and revoked once with one key, and a secret is told once, also after a restart.
    async fn h145_each_token_is_made_and_revoked_once(database: Database) {
        let mut world = World::start(&database).await;
        let bob = world.bob.id.clone();
        for (mutation, object, field, input, other) in [
            ("createApiToken", "apiToken", "name", json!({ "name": "reader", "scopes": ["endpoints.read"] }), json!("writer")),
            ("createEndpointToken", "endpointToken", "expiresInSeconds", json!({ "endpointId": bob, "expiresInSeconds": 600 }), json!(601)),
        ] {
            let mut input = input;
            input["idempotencyKey"] = json!("made");
            let select = format!("{object} {{ id revokedAt }} secret replayed");
            let (first, replays) = world.api.mutate_fifty(mutation, &select, &input).await;
            assert!(first["secret"].is_string(), "{first}");
            for replay in &replays {
                assert_eq!((&replay[object], &replay["secret"]), (&first[object], &Value::Null), "{mutation}");
            }
            world.server.kill_and_restart().await;
            let again = world.api.mutate(mutation, &select, input.clone()).await;
            assert_eq!((&again["replayed"], &again[object], &again["secret"]), (&json!(true), &first[object], &Value::Null), "{again}");
            input[field] = other;
            world.api.refused_at(mutation, input, "IDEMPOTENCY_KEY_REUSED", "idempotencyKey").await;

            let revoke = mutation.replace("create", "revoke");
            let select = format!("{object} {{ id }} replayed");
            let gone = json!({ "id": first[object]["id"], "idempotencyKey": "revoked" });
            let (revoked, replays) = world.api.mutate_fifty(&revoke, &select, &gone).await;
            assert!(replays.iter().all(|replay| replay[object] == revoked[object]), "{revoke}: {replays:?}");
            world.server.kill_and_restart().await;
            let again = world.api.mutate(&revoke, &select, gone).await;
            assert_eq!((&again["replayed"], &again[object]), (&json!(true), &revoked[object]), "{again}");
        }
    }

    /// An expired token is none.
    async fn an_expired_token_is_unauthenticated(database: Database) {
        let world = World::start(&database).await;
        let token = world.server.cli(&["token", "create", "--account", "acme", "--name", "brief", "--scopes", "endpoints.read", "--expires", "1"]).await;
        let brief = world.api.as_token(Some(&token));
        eventually("the token being expired", || async {
            let response = brief.gql("{ endpoints { totalCount } }", json!({})).await;
            (code(&response) == Some("UNAUTHENTICATED")).then_some(())
        })
        .await;
    }

    /// No token, a wrong one, and one in the wrong place: one answer, without a hint.
    async fn without_a_good_token_nothing_is_answered(database: Database) {
        let world = World::start(&database).await;
        let mut answers = Vec::new();
        for token in [None, Some(""), Some("nonsense"), Some("sg_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")] {
            let response = world.api.as_token(token).post(json!({ "query": "{ viewer { tokenName } }" })).await.unwrap();
            assert_eq!(response.status(), 401, "{token:?}");
            assert!(response.headers().contains_key("www-authenticate"), "{token:?}");
            let body: Value = response.json().await.unwrap();
            assert_eq!(code(&body), Some("UNAUTHENTICATED"), "{body}");
            assert!(body.get("data").is_none_or(Value::is_null), "{body}");
            answers.push(body["errors"][0]["extensions"]["code"].clone());
        }
        // Never in the address.
        let url = format!("{}?query=%7Bviewer%7BtokenName%7D%7D&token={}&access_token={}", world.api.url, world.server.token, world.server.token);
        let response = world.api.http.get(url).header("Accept", "application/json").send().await.unwrap();
        let body: Value = response.json().await.unwrap();
        assert_eq!(code(&body), Some("UNAUTHENTICATED"), "{body}");
        // Unknown endpoints can't be bound by the operator either.
        let output = world.server.cli_output(&["token", "create", "--account", "acme", "--name", "x", "--scopes", "endpoints.read", "--endpoint", "nonsense"]).await;
        assert!(!output.status.success(), "{output:?}");
    }

    /// Secrets stand in no error and no log line, even where they were put in a wrong place.
    async fn g143_secrets_are_in_no_error(database: Database) {
        let server = crate::harness::Server::start_with(database.url(), &[("SIPGRAPH_LOG", "trace")]).await;
        let api = Api::of(&server);
        let domain = api.domain_create("example.test", false).await;
        let create = "mutation($input: CreateEndpointInput!) { createEndpoint(input: $input) { endpoint { id } userErrors { code message } } }";
        let input = |password: Value| json!({ "input": { "domainId": domain, "name": "a b", "credentials": { "password": password } } });
        let mut seen = Vec::new();
        // A wrong name beside a good password, a wrong password, and passwords of a wrong type.
        for password in [json!("hunter2-secret"), json!("hunter2-secret\u{20ac}"), json!({ "hunter2-secret": 1 }), json!(["hunter2-secret"]), json!(72_057_594)] {
            seen.push(api.gql(create, input(password)).await.to_string());
        }
        // Written into the document, with a mistake beside it.
        for document in [
            format!("mutation {{ createEndpoint(input: {{ domainId: \"{domain}\", name: \"a b\", credentials: {{ password: \"hunter2-secret\" }} }}) {{ nothing }} }}"),
            format!("mutation {{ createEndpoint(input: {{ domainId: \"{domain}\", credentials: {{ password: \"hunter2-secret\", tea: \"hunter2-secret\" }} }}) {{ endpoint {{ id }} }} }}"),
            "mutation { createEndpoint(input: { credentials: { password: \"hunter2-secret\" } }) { endpoint { id } }".to_owned(),
        ] {
            seen.push(api.gql(&document, json!({})).await.to_string());
        }
        // A token in the wrong place, and a wrong one that looks like it.
        let almost = format!("{}x", server.token);
        seen.push(api.as_token(Some(&almost)).gql("{ viewer { tokenName } }", json!({})).await.to_string());
        seen.push(api.gql("query($id: ID!) { endpoint(by: { id: $id }) { id } }", json!({ "id": server.token })).await.to_string());
        for text in seen {
            for secret in ["hunter2-secret", "72057594", &server.token] {
                assert!(!text.contains(secret), "{secret} is in {text}");
            }
        }
        let log = server.log();
        for secret in ["hunter2-secret", &server.token] {
            let line = log.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "{secret} is in the log");
        }
    }
}

/// A revocation holds on another node a second later: it looks each token up that often.
#[test]
fn a_revocation_holds_on_other_nodes_too() {
    block_on(async {
        let database = Database::postgres().await;
        let world = World::start(&database).await;
        let key = |server: &Server| server.folder().join("secret.key");
        let mut node = Server::prepared(database.url(), &[]);
        std::fs::copy(key(&world.server), key(&node)).unwrap();
        node.run().await;
        let input = json!({ "name": "reader", "scopes": ["endpoints.read"] });
        let token = minted(&world.api, input).await;
        let secret = text(&token["secret"]);
        let reader = Api::with(&node, &secret);
        assert_eq!(reader.endpoints_count().await, 2);
        let id = &token["apiToken"]["id"];
        let payload = world
            .api
            .mutate(
                "revokeApiToken",
                "apiToken { revokedAt }",
                json!({ "id": id }),
            )
            .await;
        assert_eq!(payload["userErrors"], json!([]), "{payload}");
        eventually("the token being unknown at the other node", || async {
            let response = reader.gql("{ endpoints { totalCount } }", json!({})).await;
            (code(&response) == Some("UNAUTHENTICATED")).then_some(())
        })
        .await;
    });
}

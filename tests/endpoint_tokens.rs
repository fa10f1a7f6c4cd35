//! Endpoint tokens: short-lived passwords, and what ends with them.

use crate::harness::graphql::{list, text};
use crate::harness::{Account, Api, Phone, Value, World, both_backends, eventually, json};
use std::time::Duration;

const TOKEN: &str = "endpointToken { id expiresAt revokedAt } secret replayed";

async fn created(api: &Api, endpoint: &Account, seconds: u32) -> Value {
    let input = json!({ "endpointId": endpoint.id, "expiresInSeconds": seconds });
    let payload = api.mutate("createEndpointToken", TOKEN, input).await;
    assert_eq!(payload["userErrors"], json!([]), "{payload}");
    payload
}

/// The account of a phone that has the token in place of the password.
fn by_token(endpoint: &Account, payload: &Value) -> Account {
    Account {
        password: text(&payload["secret"]),
        ..endpoint.clone()
    }
}

async fn contacts(api: &Api, endpoint: &Account) -> usize {
    list(&api.endpoint(&endpoint.id).await["contacts"]).len()
}

both_backends! {
    /// A token registers while it lives, for no longer than it lives, and for its endpoint alone.
    async fn b044_a_token_registers_its_endpoint_while_it_lives(database: Database) {
        let world = World::start(&database).await;
        let World { server, api, alice, bob, .. } = &world;
        let payload = created(api, bob, 4).await;
        let account = by_token(bob, &payload);
        for mut phone in [Phone::udp(server, &account).await, Phone::tcp(server, &account).await] {
            let answer = phone.register(3600).await;
            assert_eq!(answer.status(), 200, "{answer:?}");
            let granted: u32 = answer.header("Contact").split("expires=").nth(1).unwrap().split([';', ',']).next().unwrap().parse().unwrap();
            assert!(granted <= 4, "{answer:?}");
            // It speaks as the endpoint too.
            assert_eq!(phone.message(&alice.uri(), "by token").await.status(), 202);
            // The phone stays: over TCP its end would be its binding's.
            std::mem::forget(phone);
        }
        // Not for another endpoint.
        let other = Account { password: account.password.clone(), ..alice.clone() };
        assert_eq!(Phone::udp(server, &other).await.register(600).await.status(), 401);
        // The endpoint's own password goes on being good, and its binding stays.
        let mut own = Phone::udp(server, bob).await;
        own.come_online().await;
        assert_eq!(contacts(api, bob).await, 3);
        eventually("the end of the token's bindings", || async { (contacts(api, bob).await == 1).then_some(()) }).await;
        let answer = Phone::udp(server, &account).await.register(600).await;
        assert_eq!(answer.status(), 401, "it has ended: {answer:?}");
        assert_eq!(api.endpoint(&bob.id).await["state"], "ONLINE");
    }

    /// Nor does what was registered before a crash: other bindings over UDP get a minute for their phones to come back.
    async fn b044_a_tokens_binding_ends_with_it_after_a_restart(database: Database) {
        let mut world = World::start(&database).await;
        let payload = created(&world.api, &world.bob, 4).await;
        Phone::udp(&world.server, &by_token(&world.bob, &payload)).await.come_online().await;
        world.server.kill_and_restart().await;
        eventually("the end of the token's binding", || async { (contacts(&world.api, &world.bob).await == 0).then_some(()) }).await;
        assert_eq!(world.api.endpoint(&world.bob.id).await["state"], "OFFLINE");
    }

    /// Revoking drops what was registered with the token, at once, and nothing else.
    async fn b044_revoking_drops_the_tokens_bindings(database: Database) {
        let world = World::start(&database).await;
        let World { server, api, bob, .. } = &world;
        let (one, two) = (created(api, bob, 600).await, created(api, bob, 600).await);
        assert_ne!(one["secret"], two["secret"]);
        let mut phones = Vec::new();
        for payload in [&one, &two] {
            let mut phone = Phone::udp(server, &by_token(bob, payload)).await;
            phone.come_online().await;
            phones.push(phone);
        }
        let id = &one["endpointToken"]["id"];
        let revoked = api.mutate("revokeEndpointToken", "endpointToken { id revokedAt } replayed", json!({ "id": id })).await;
        assert_eq!((&revoked["endpointToken"]["id"], &revoked["userErrors"]), (id, &json!([])));
        assert!(revoked["endpointToken"]["revokedAt"].is_string(), "{revoked}");
        let left = list(&api.endpoint(&bob.id).await["contacts"]);
        assert_eq!(left.len(), 1);
        assert_eq!(left[0]["uri"], json!(phones[1].contact()));
        // Neither its phone nor another logs in with it again.
        assert_eq!(phones[0].register(600).await.status(), 401);
        api.refused_at("revokeEndpointToken", json!({ "id": id }), "NOT_FOUND", "id").await;
        // With the last one the endpoint goes offline.
        let id = &two["endpointToken"]["id"];
        let input = json!({ "id": id, "idempotencyKey": "gone" });
        for replayed in [false, true] {
            let payload = api.mutate("revokeEndpointToken", "endpointToken { id } replayed", input.clone()).await;
            assert_eq!((&payload["endpointToken"]["id"], &payload["replayed"]), (id, &json!(replayed)));
        }
        assert_eq!(api.endpoint(&bob.id).await["state"], "OFFLINE");
        let events = api.log(&["CONTACT_STATUS_CHANGED"]).await;
        assert_eq!(events.len(), 4);
    }

    /// What is refused, all together, and how many an endpoint has.
    async fn b044_an_endpoint_has_twenty_live_tokens(database: Database) {
        let world = World::start(&database).await;
        let World { api, alice, bob, .. } = &world;
        for seconds in [0, -5, 86_401, i32::MAX] {
            let errors = api.refused("createEndpointToken", json!({ "endpointId": "nonsense", "expiresInSeconds": seconds })).await;
            let fields: Vec<&Value> = errors.iter().map(|e| &e["field"][0]).collect();
            assert_eq!(fields, [&json!("expiresInSeconds"), &json!("endpointId")], "{errors:?}");
        }
        let short = created(api, bob, 1).await;
        let mut ids = Vec::new();
        for _ in 0..19 {
            ids.push(created(api, bob, 600).await["endpointToken"]["id"].clone());
        }
        // One that has ended does not count.
        let input = json!({ "endpointId": bob.id, "expiresInSeconds": 600 });
        eventually("the end of the first", || async {
            let payload = api.mutate("createEndpointToken", TOKEN, input.clone()).await;
            (payload["userErrors"] == json!([])).then_some(())
        }).await;
        let errors = api.refused("createEndpointToken", input.clone()).await;
        assert_eq!((&errors[0]["code"], &errors[0]["detail"]["limit"]), (&json!("LIMIT_REACHED"), &json!(20)));
        created(api, alice, 600).await;
        api.mutate("revokeEndpointToken", "replayed", json!({ "id": ids[0] })).await;
        created(api, bob, 600).await;
        // A revoked token that also ended is as unknown as any.
        api.refused_at("revokeEndpointToken", json!({ "id": "nonsense" }), "NOT_FOUND", "id").await;
        assert!(short["secret"].is_string());
    }

    /// A repeated call gives the same token and no secret.
    async fn b044_a_repeated_call_tells_no_secret(database: Database) {
        let world = World::start(&database).await;
        let World { api, bob, .. } = &world;
        let input = json!({ "endpointId": bob.id, "expiresInSeconds": 60, "idempotencyKey": "k" });
        let first = api.mutate("createEndpointToken", TOKEN, input.clone()).await;
        let again = api.mutate("createEndpointToken", TOKEN, input.clone()).await;
        assert_eq!((&first["replayed"], &again["replayed"]), (&json!(false), &json!(true)));
        assert_eq!(first["endpointToken"], again["endpointToken"]);
        assert!(first["secret"].is_string() && again["secret"].is_null(), "{again}");
        let other = json!({ "endpointId": bob.id, "expiresInSeconds": 61, "idempotencyKey": "k" });
        api.refused_at("createEndpointToken", other, "IDEMPOTENCY_KEY_REUSED", "idempotencyKey").await;
        assert!(!world.server.log().contains(&text(&first["secret"])), "no secret in the log");
    }

    /// A token that is bound to endpoints mints for these alone, and no longer than it lives.
    async fn h152_a_bound_token_mints_for_its_endpoints(database: Database) {
        let world = World::start(&database).await;
        let World { server, api, alice, bob, .. } = &world;
        let input = json!({ "name": "page", "scopes": ["endpoints.update"], "endpointIds": [alice.id], "expiresInSeconds": 100 });
        let minted = api.mutate("createApiToken", "secret apiToken { expiresAt }", input).await;
        let bound = api.as_token(minted["secret"].as_str());
        let payload = created(&bound, alice, 3600).await;
        assert_eq!(payload["endpointToken"]["expiresAt"], minted["apiToken"]["expiresAt"]);
        Phone::udp(server, &by_token(alice, &payload)).await.come_online().await;
        bound.refused_at("createEndpointToken", json!({ "endpointId": bob.id, "expiresInSeconds": 60 }), "NOT_FOUND", "endpointId").await;
        let bobs = created(api, bob, 60).await["endpointToken"]["id"].clone();
        bound.refused_at("revokeEndpointToken", json!({ "id": bobs }), "NOT_FOUND", "id").await;
        let reader = server.token_create("acme", "endpoints.read", &[]).await;
        let query = "mutation($input: CreateEndpointTokenInput!) { createEndpointToken(input: $input) { secret } }";
        let variables = json!({ "input": { "endpointId": bob.id, "expiresInSeconds": 60 } });
        assert_eq!(api.as_token(Some(&reader)).error(query, variables).await, "FORBIDDEN");
    }

    /// A deleted endpoint's tokens go with it; its name made anew knows none of them.
    async fn b045_a_deleted_endpoints_tokens_are_gone(database: Database) {
        let world = World::start(&database).await;
        let World { server, api, domain, bob, .. } = &world;
        let payload = created(api, bob, 600).await;
        let account = by_token(bob, &payload);
        let mut phone = Phone::udp(server, &account).await;
        phone.come_online().await;
        api.mutate("deleteEndpoint", "deletedEndpointId", json!({ "id": bob.id })).await;
        assert_eq!(phone.register(600).await.status(), 401);
        api.endpoint_create(domain, "bob").await;
        assert_eq!(phone.register(600).await.status(), 401);
        api.refused_at("revokeEndpointToken", json!({ "id": payload["endpointToken"]["id"] }), "NOT_FOUND", "id").await;
        assert_eq!(phone.anything(Duration::from_millis(200)).await, None);
    }
}

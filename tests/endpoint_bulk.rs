//! Making many endpoints at once.

use crate::harness::graphql::{code, code_of, field_of, list, text};
use crate::harness::{Account, Api, Phone, Value, World, both_backends, json};

/// What is asked of a bulk.
const SELECT: &str =
    "endpoints { id externalId name displayName } generatedPasswords dryRun replayed";

fn numbered(domain: &str, count: usize) -> Vec<Value> {
    let one = |i: usize| json!({ "domainId": domain, "name": format!("n{i}"), "credentials": { "generate": true } });
    (0..count).map(one).collect()
}

/// How many endpoints were told as made.
async fn told(api: &Api) -> usize {
    api.log(&["ENDPOINT_CREATED"]).await.len()
}

both_backends! {
    /// A thousand at once, each with what belongs to it.
    async fn h148_a_thousand_endpoints_at_once(database: Database) {
        let world = World::start(&database).await;
        let payload = world.api.mutate("createEndpoints", SELECT, json!({ "endpoints": numbered(&world.domain, 1000) })).await;
        assert_eq!(payload["userErrors"], json!([]));
        let made = list(&payload["endpoints"]);
        let passwords = list(&payload["generatedPasswords"]);
        assert_eq!((made.len(), passwords.len()), (1000, 1000));
        for (i, endpoint) in made.iter().enumerate() {
            assert_eq!((&endpoint["name"], &endpoint["externalId"]), (&json!(format!("n{i}")), &json!(i + 3)));
        }
        assert_eq!(world.api.endpoints_count().await, 1002);
        assert_eq!(told(&world.api).await, 1002);
        let last = Account { id: text(&made[999]["id"]), user: "n999".into(), password: text(&passwords[999]), ..world.bob.clone() };
        Phone::udp(&world.server, &last).await.come_online().await;
        // Too many, and none.
        for count in [0, 1001] {
            world.api.refused_at("createEndpoints", json!({ "endpoints": numbered(&world.domain, count) }), "VALIDATION", "endpoints").await;
        }
        let (query, variables) = crate::harness::graphql::mutation("createEndpoints", "", json!({}));
        assert!(code(&world.api.gql(&query, variables).await).is_some());
    }

    /// One that is wrong refuses all, with its place; all that is wrong comes at once.
    async fn h148_an_atomic_bulk_is_all_or_none(database: Database) {
        let world = World::start(&database).await;
        let mut endpoints = numbered(&world.domain, 6);
        endpoints[1]["name"] = json!("a b");
        endpoints[3]["name"] = json!("bob");
        endpoints[4]["name"] = json!("%6E0");
        endpoints[5]["credentials"] = json!({ "password": "12345" });
        endpoints[5]["capacity"] = json!(-1);
        let payload = world.api.mutate("createEndpoints", SELECT, json!({ "endpoints": endpoints })).await;
        let seen: Vec<(String, String)> = list(&payload["userErrors"]).iter().map(|e| (field_of(e), code_of(e))).collect();
        let expected = [
            ("endpoints.1.name", "VALIDATION"),
            ("endpoints.3.name", "CONFLICT"),
            ("endpoints.4.name", "CONFLICT"),
            ("endpoints.5.capacity", "VALIDATION"),
            ("endpoints.5.credentials.password", "VALIDATION"),
        ];
        let expected: Vec<_> = expected.iter().map(|(f, c)| ((*f).to_owned(), (*c).to_owned())).collect();
        assert_eq!(seen, expected);
        assert_eq!((&payload["endpoints"], &payload["generatedPasswords"]), (&json!([null, null, null, null, null, null]), &json!([null, null, null, null, null, null])));
        assert_eq!(world.api.endpoints_count().await, 2);
        assert_eq!(told(&world.api).await, 2);
    }

    /// What belongs to the whole call refuses it, whatever the mode, together with all else that is wrong.
    async fn h148_what_belongs_to_the_whole_call_is_told_with_all_else(database: Database) {
        let world = World::start(&database).await;
        let mut endpoints = numbered(&world.domain, 3);
        endpoints[0]["dryRun"] = json!(true);
        endpoints[1]["idempotencyKey"] = json!("k");
        endpoints[2]["name"] = json!("a b");
        for atomic in [true, false] {
            let input = json!({ "endpoints": endpoints, "atomic": atomic, "idempotencyKey": "all" });
            let fields: Vec<String> = world.api.refused("createEndpoints", input).await.iter().map(field_of).collect();
            assert_eq!(fields, ["endpoints.0.dryRun", "endpoints.1.idempotencyKey", "endpoints.2.name"]);
        }
        let input = json!({ "endpoints": endpoints[..2], "atomic": false });
        assert_eq!(world.api.refused("createEndpoints", input).await.len(), 2);
        assert_eq!(world.api.endpoints_count().await, 2);
    }

    /// Otherwise the good ones are made, and the others say why not.
    async fn h148_a_bulk_that_is_not_atomic_makes_the_good_ones(database: Database) {
        let world = World::start(&database).await;
        let mut endpoints = numbered(&world.domain, 4);
        endpoints[1]["name"] = json!("bob");
        endpoints[2]["domainId"] = json!("nonsense");
        let input = json!({ "endpoints": endpoints, "atomic": false, "idempotencyKey": "k" });
        let payload = world.api.mutate("createEndpoints", SELECT, input.clone()).await;
        let names: Vec<&Value> = payload["endpoints"].as_array().unwrap().iter().map(|e| &e["name"]).collect();
        assert_eq!(names, [&json!("n0"), &json!(null), &json!(null), &json!("n3")]);
        let fields: Vec<String> = list(&payload["userErrors"]).iter().map(field_of).collect();
        assert_eq!(fields, ["endpoints.1.name", "endpoints.2.domainId"]);
        assert_eq!(world.api.endpoints_count().await, 4);
        // Again: the same objects in the same places, and no secret.
        let again = world.api.mutate("createEndpoints", SELECT, input).await;
        assert_eq!((&again["replayed"], &again["endpoints"]), (&json!(true), &payload["endpoints"]));
        assert_eq!(again["generatedPasswords"], json!([null, null, null, null]));
        // When none is good, nothing is stored and the key is free.
        let input = json!({ "endpoints": [endpoints[1]], "atomic": false, "idempotencyKey": "other" });
        world.api.refused_at("createEndpoints", input, "CONFLICT", "endpoints.0.name").await;
        let input = json!({ "endpoints": [{ "domainId": world.domain, "name": "late", "credentials": { "password": "secret" } }], "idempotencyKey": "other" });
        assert_eq!(world.api.mutate("createEndpoints", SELECT, input).await["endpoints"][0]["name"], "late");
    }

    /// A repeated bulk is done once, also many at a time; another input is refused.
    async fn h145_a_repeated_bulk_is_done_once(database: Database) {
        let world = World::start(&database).await;
        let input = json!({ "endpoints": numbered(&world.domain, 20), "idempotencyKey": "k" });
        let calls = (0..10).map(|_| world.api.mutate("createEndpoints", SELECT, input.clone()));
        let payloads = futures_util::future::join_all(calls).await;
        assert_eq!(payloads.iter().filter(|p| p["replayed"] == false).count(), 1, "{payloads:?}");
        assert!(payloads.iter().all(|p| p["endpoints"] == payloads[0]["endpoints"]), "{payloads:?}");
        assert_eq!((world.api.endpoints_count().await, told(&world.api).await), (22, 22));
        for other in [json!({ "endpoints": numbered(&world.domain, 19), "idempotencyKey": "k" }), json!({ "endpoints": numbered(&world.domain, 20), "atomic": false, "idempotencyKey": "k" })] {
            world.api.refused_at("createEndpoints", other, "IDEMPOTENCY_KEY_REUSED", "idempotencyKey").await;
        }
    }

    /// A dry run of a bulk makes nothing, and what belongs to the call is not said of one endpoint.
    async fn h146_a_dry_run_of_a_bulk_makes_nothing(database: Database) {
        let world = World::start(&database).await;
        let input = json!({ "endpoints": numbered(&world.domain, 3), "dryRun": true, "idempotencyKey": "k" });
        for _ in 0..2 {
            let payload = world.api.mutate("createEndpoints", SELECT, input.clone()).await;
            let names: Vec<String> = list(&payload["endpoints"]).iter().map(|e| text(&e["name"])).collect();
            assert_eq!((names, &payload["dryRun"]), (vec!["n0".to_owned(), "n1".to_owned(), "n2".to_owned()], &json!(true)));
            assert_eq!((&payload["replayed"], &payload["generatedPasswords"]), (&json!(false), &json!([null, null, null])));
        }
        assert_eq!((world.api.endpoints_count().await, told(&world.api).await), (2, 2));
        let mut endpoints = numbered(&world.domain, 2);
        endpoints[1]["idempotencyKey"] = json!("x");
        world.api.refused_at("createEndpoints", json!({ "endpoints": endpoints }), "VALIDATION", "endpoints.1.idempotencyKey").await;
        endpoints = numbered(&world.domain, 2);
        endpoints[1]["dryRun"] = json!(true);
        world.api.refused_at("createEndpoints", json!({ "endpoints": endpoints }), "VALIDATION", "endpoints.1.dryRun").await;
    }
}

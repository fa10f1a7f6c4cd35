//! Numbers: assigned to accounts by the operator, put on endpoints by tenants, unique in the instance.

use crate::harness::graphql::{list, text};
use crate::harness::server::ALL_SCOPES;
use crate::harness::world::DOMAIN;
use crate::harness::{Api, Value, World, both_backends, eventually, json};
use futures_util::future::join_all;

const ONE: &str = "+12125550100";
const TWO: &str = "+442079460000";

/// A world whose account has two numbers.
async fn stage(database: &crate::harness::Database) -> World {
    let world = World::start(database).await;
    let assign = [
        "number",
        "assign",
        "--account",
        "acme",
        ONE,
        "+44 (20) 7946-0000",
    ];
    world.server.cli(&assign).await;
    world
}

fn patch(id: &str, numbers: Value) -> Value {
    json!({ "id": id, "patch": { "numbers": numbers } })
}

/// Puts numbers on an endpoint and gives what it has then.
async fn put(api: &Api, id: &str, numbers: Value) -> Value {
    let select = "endpoint { numbers } changedFields";
    let payload = api
        .mutate("updateEndpoint", select, patch(id, numbers))
        .await;
    assert_eq!(payload["userErrors"], json!([]));
    payload["endpoint"]["numbers"].clone()
}

async fn having(api: &Api, number: &str) -> Vec<Value> {
    let query = "query($number: String) { endpoints(filter: { number: $number }) { totalCount nodes { id } } }";
    let data = api.data(query, json!({ "number": number })).await;
    let nodes = list(&data["endpoints"]["nodes"]);
    assert_eq!(data["endpoints"]["totalCount"], nodes.len());
    nodes.into_iter().map(|node| node["id"].clone()).collect()
}

both_backends! {
    /// The operator assigns, a tenant puts on endpoints; a list finds the endpoint by its number, however it is written.
    async fn h153_numbers_stand_on_endpoints(database: Database) {
        let world = stage(&database).await;
        let data = world.api.data("{ viewer { account { numbers } } }", json!({})).await;
        assert_eq!(data["viewer"]["account"]["numbers"], json!([ONE, TWO]));
        assert_eq!(put(&world.api, &world.alice.id, json!([TWO, "+1 212 555-0100"])).await, json!([TWO, ONE]));
        assert_eq!(world.api.endpoint(&world.alice.id).await["numbers"], json!([TWO, ONE]));
        for number in [ONE, "+1-212-555-0100", TWO] {
            assert_eq!(having(&world.api, number).await, [json!(world.alice.id)], "{number}");
        }
        assert_eq!(having(&world.api, "+12125550199").await, [json!(null); 0]);
        assert_eq!(having(&world.api, "212").await, [json!(null); 0]);
        assert_eq!(having(&world.api, "").await.len(), 2);
        let query = "{ events(first: 100, filter: { types: [ENDPOINT_UPDATED] }) { nodes { ... on EndpointUpdated { changedFields } } } }";
        let told = world.api.data(query, json!({})).await;
        assert_eq!(list(&told["events"]["nodes"]), [json!({ "changedFields": ["numbers"] })]);
        // In another order it is another value; null takes them off.
        assert_eq!(put(&world.api, &world.alice.id, json!([ONE, TWO])).await, json!([ONE, TWO]));
        assert_eq!(put(&world.api, &world.alice.id, json!([TWO])).await, json!([TWO]));
        assert_eq!(put(&world.api, &world.bob.id, json!([ONE])).await, json!([ONE]));
        assert_eq!(put(&world.api, &world.alice.id, Value::Null).await, json!([]));
        assert_eq!(put(&world.api, &world.bob.id, json!([ONE, TWO])).await, json!([ONE, TWO]));
    }

    /// What is no number, not the account's, another's or given twice is refused, all together.
    async fn h153_numbers_that_an_endpoint_cannot_have_are_refused(database: Database) {
        let world = stage(&database).await;
        world.server.cli(&["account", "create", "rival"]).await;
        let foreign = "+33142685300";
        world.server.cli(&["number", "assign", "--account", "rival", foreign]).await;
        put(&world.api, &world.alice.id, json!([ONE])).await;
        let before = world.api.endpoint(&world.bob.id).await;
        let refused = |code: &'static str, numbers: Value| {
            let api = &world.api;
            let bob = &world.bob.id;
            async move { api.refused_at("updateEndpoint", patch(bob, numbers), code, "patch.numbers.0").await }
        };
        // Another account's number reads as one that nobody has.
        let mut reasons = Vec::new();
        for number in [foreign, "+33142685301"] {
            let errors = world.api.refused("updateEndpoint", patch(&world.bob.id, json!([number]))).await;
            reasons.push((text(&errors[0]["code"]), text(&errors[0]["message"]).replace(number, "N")));
        }
        assert_eq!((reasons[0].0.as_str(), &reasons[0]), ("CONFLICT", &reasons[1]));
        refused("CONFLICT", json!([ONE])).await;
        refused("VALIDATION", json!(["12125550100"])).await;
        world.api.refused_at("updateEndpoint", patch(&world.bob.id, json!([TWO, TWO])), "VALIDATION", "patch.numbers.1").await;
        assert_eq!(world.api.endpoint(&world.bob.id).await, before);
        let create = |name: &str, numbers: Value| json!({
            "domainId": world.domain, "name": name, "credentials": { "password": "secret1" }, "numbers": numbers,
        });
        world.api.refused_at("createEndpoint", create("carol", json!([ONE])), "CONFLICT", "numbers.0").await;
        // Two of one call do not get the same one.
        let bulk = json!({ "endpoints": [create("carol", json!([TWO])), create("dave", json!([TWO]))] });
        world.api.refused_at("createEndpoints", bulk, "CONFLICT", "endpoints.1.numbers.0").await;
        let made = world.api.mutate("createEndpoint", "endpoint { numbers }", create("carol", json!([TWO]))).await;
        assert_eq!(made["endpoint"]["numbers"], json!([TWO]), "{made}");
        // A hosted endpoint has no say in its numbers.
        let hosted = json!({ "domainId": world.domain, "name": "room", "type": "CONFERENCE" });
        let hosted = world.api.mutate("createEndpoint", "endpoint { id }", hosted).await;
        let id = text(&hosted["endpoint"]["id"]);
        put(&world.api, &world.alice.id, json!([])).await;
        world.api.refused_at("updateEndpoint", patch(&id, json!([ONE])), "FIELD_NOT_UPDATABLE_FOR_TYPE", "patch.numbers").await;
    }

    /// Of many that want one number at once, one gets it.
    async fn h153_of_ten_at_once_one_gets_the_number(database: Database) {
        let world = stage(&database).await;
        let mut ids = vec![world.alice.id.clone(), world.bob.id.clone()];
        for i in 0..8 {
            ids.push(world.api.endpoint_create(&world.domain, &format!("u{i}")).await.id);
        }
        let calls = ids.iter().map(|id| world.api.mutate("updateEndpoint", "endpoint { id }", patch(id, json!([ONE]))));
        let payloads = join_all(calls).await;
        let won: Vec<&Value> = payloads.iter().filter(|p| p["endpoint"] != Value::Null).collect();
        assert_eq!(won.len(), 1, "{payloads:?}");
        assert_eq!(having(&world.api, ONE).await, [won[0]["endpoint"]["id"].clone()]);
    }

    /// A deleted endpoint's number is free; the operator lists numbers and takes them back, off the endpoint too.
    async fn h153_numbers_come_back(database: Database) {
        let world = stage(&database).await;
        put(&world.api, &world.alice.id, json!([ONE])).await;
        put(&world.api, &world.bob.id, json!([TWO])).await;
        let list_of = ["number", "list", "--account", "acme"];
        let listed = world.server.cli(&list_of).await;
        assert_eq!(listed, format!("{ONE} alice@{DOMAIN}\n{TWO} bob@{DOMAIN}"));
        let gone = world.api.mutate("deleteEndpoint", "deletedEndpointId", json!({ "id": world.alice.id })).await;
        assert_eq!(gone["userErrors"], json!([]));
        assert_eq!(world.server.cli(&list_of).await, format!("{ONE}\n{TWO} bob@{DOMAIN}"));
        for wrong in ["+33142685300", "12"] {
            let output = world.server.cli_output(&["number", "release", "--account", "acme", TWO, wrong]).await;
            assert_eq!(output.status.code(), Some(1), "{output:?}");
        }
        assert_eq!(world.api.endpoint(&world.bob.id).await["numbers"], json!([TWO]));
        world.server.cli(&["number", "release", "--account", "acme", ONE, TWO]).await;
        assert_eq!(world.server.cli(&list_of).await, "");
        eventually("the number being off the endpoint", || async {
            (world.api.endpoint(&world.bob.id).await["numbers"] == json!([])).then_some(())
        })
        .await;
        world.api.refused_at("updateEndpoint", patch(&world.bob.id, json!([TWO])), "CONFLICT", "patch.numbers.0").await;
        // Another account may have them now.
        world.server.cli(&["account", "create", "rival"]).await;
        world.server.cli(&["number", "assign", "--account", "rival", TWO]).await;
        let rival = Api::with(&world.server, &world.server.token_create("rival", ALL_SCOPES, &[]).await);
        let data = rival.data("{ viewer { account { numbers } } }", json!({})).await;
        assert_eq!(data["viewer"]["account"]["numbers"], json!([TWO]));
    }
}

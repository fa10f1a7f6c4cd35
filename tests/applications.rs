//! Applications: made, changed, listed, deleted.

use crate::harness::graphql::{code, code_of, field_of, list, text};
use crate::harness::server::{ACCOUNT, ALL_SCOPES};
use crate::harness::{Api, Server, Value, World, both_backends, json};

const FIELDS: &str = "id name callbackUrl callbackMethod createdAt";

async fn application(api: &Api, input: Value) -> Value {
    let select = format!("application {{ {FIELDS} }} dryRun replayed");
    let payload = api
        .mutate("createApplication", &select, input.clone())
        .await;
    assert_eq!(payload["userErrors"], json!([]), "{input}");
    payload["application"].clone()
}

both_backends! {
    /// An application comes back as it was given, by its id, as a node and in the list.
    async fn a003_an_application_is_made_and_read(database: Database) {
        let server = Server::start(&database).await;
        let api = Api::of(&server);
        let plain = application(&api, json!({ "name": "plain" })).await;
        assert_eq!((&plain["callbackUrl"], &plain["callbackMethod"]), (&Value::Null, &json!("POST")));
        let input = json!({ "name": " Hotline ☎", "callbackUrl": "https://example.com:8443/call?x=1#y", "callbackMethod": "GET" });
        let made = application(&api, input.clone()).await;
        for field in ["name", "callbackUrl", "callbackMethod"] {
            assert_eq!(made[field], input[field]);
        }
        let query = format!("query($id: ID!) {{ application(id: $id) {{ {FIELDS} }} node(id: $id) {{ ... on Application {{ {FIELDS} }} }}
            applications {{ totalCount nodes {{ {FIELDS} }} }} }}");
        let data = api.data(&query, json!({ "id": made["id"] })).await;
        assert_eq!((&data["application"], &data["node"]), (&made, &made));
        assert_eq!(data["applications"], json!({ "totalCount": 2, "nodes": [made, plain] }));
        let response = api.gql("{ application(id: \"nonsense\") { id } }", json!({})).await;
        assert_eq!((code(&response), &response["data"]["application"]), (Some("NOT_FOUND"), &Value::Null));
    }

    /// All that is wrong comes together, and nothing is stored.
    async fn g141_a_wrong_application_is_refused(database: Database) {
        let server = Server::start(&database).await;
        let api = Api::of(&server);
        let errors = api.refused("createApplication", json!({ "name": " ", "callbackUrl": "ftp://x" })).await;
        let seen: Vec<(String, String)> = errors.iter().map(|e| (code_of(e), field_of(e))).collect();
        assert_eq!(seen, ["name", "callbackUrl"].map(|field| ("VALIDATION".to_owned(), field.to_owned())));
        for url in ["", "example.com", "http://", "https:///x", "http://a b/", "javascript:alert(1)", "http://x:0/", "http://x:99999/"] {
            api.refused_at("createApplication", json!({ "name": "x", "callbackUrl": url }), "VALIDATION", "callbackUrl").await;
        }
        api.refused_at("createApplication", json!({ "name": "x".repeat(256) }), "VALIDATION", "name").await;
        let data = api.data("{ applications { totalCount } }", json!({})).await;
        assert_eq!(data["applications"]["totalCount"], 0);
    }

    /// Only what is named changes; null clears; a dry run and a change of nothing store nothing.
    async fn c046_an_application_is_changed_field_by_field(database: Database) {
        let server = Server::start(&database).await;
        let api = Api::of(&server);
        let mut made = application(&api, json!({ "name": "one", "callbackUrl": "http://example.com/" })).await;
        let select = format!("application {{ {FIELDS} }} changedFields dryRun replayed");
        let update = |patch: Value, dry_run: bool| json!({ "id": made["id"], "patch": patch, "dryRun": dry_run });
        let payload = api.mutate("updateApplication", &select, update(json!({ "name": "two" }), true)).await;
        assert_eq!((&payload["application"]["name"], &payload["dryRun"]), (&json!("two"), &json!(true)));
        let inputs = [
            (update(json!({}), false), json!([])),
            (update(json!({ "name": "one" }), false), json!([])),
            (update(json!({ "callbackUrl": null, "callbackMethod": "GET" }), false), json!(["callbackMethod", "callbackUrl"])),
        ];
        for (input, changed) in inputs {
            let payload = api.mutate("updateApplication", &select, input.clone()).await;
            assert_eq!((&payload["userErrors"], &payload["changedFields"]), (&json!([]), &changed), "{input}");
        }
        made["callbackUrl"] = Value::Null;
        made["callbackMethod"] = json!("GET");
        let query = format!("query($id: ID!) {{ application(id: $id) {{ {FIELDS} }} }}");
        assert_eq!(api.data(&query, json!({ "id": made["id"] })).await["application"], made);
        api.refused_at("updateApplication", json!({ "id": made["id"], "patch": { "name": null } }), "VALIDATION", "patch.name").await;
        api.refused_at("updateApplication", json!({ "id": "nonsense", "patch": {} }), "NOT_FOUND", "id").await;
        assert_eq!(api.data(&query, json!({ "id": made["id"] })).await["application"], made);
    }

    /// Each is done once with its key; a dry run uses up none.
    async fn h145_a_repeated_call_is_done_once(database: Database) {
        let server = Server::start(&database).await;
        let api = Api::of(&server);
        let mut input = json!({ "name": "one", "idempotencyKey": "k", "dryRun": true });
        let select = "application { id } dryRun replayed";
        api.mutate("createApplication", select, input.clone()).await;
        input["dryRun"] = json!(false);
        let first = api.mutate("createApplication", select, input.clone()).await;
        let again = api.mutate("createApplication", select, input.clone()).await;
        assert_eq!((&first["replayed"], &again["replayed"], &again["application"]), (&json!(false), &json!(true), &first["application"]));
        input["name"] = json!("two");
        api.refused_at("createApplication", input, "IDEMPOTENCY_KEY_REUSED", "idempotencyKey").await;
        let delete = json!({ "id": first["application"]["id"], "idempotencyKey": "d" });
        for replayed in [false, true] {
            let payload = api.mutate("deleteApplication", "deletedApplicationId replayed", delete.clone()).await;
            assert_eq!((&payload["replayed"], &payload["deletedApplicationId"]), (&json!(replayed), &first["application"]["id"]));
        }
        api.refused_at("deleteApplication", json!({ "id": first["application"]["id"] }), "NOT_FOUND", "id").await;
        let data = api.data("{ applications { totalCount } }", json!({})).await;
        assert_eq!(data["applications"]["totalCount"], 0);
    }

    /// An endpoint has the application that it was given, in lists too, until it is given another one or none.
    async fn a003_an_endpoint_has_its_application(database: Database) {
        let world = World::start(&database).await;
        let api = &world.api;
        let one = application(api, json!({ "name": "one", "callbackUrl": "https://example.com/" })).await;
        let two = application(api, json!({ "name": "two" })).await;
        let select = format!("endpoint {{ id description application {{ {FIELDS} }} }} replayed");
        let mut input = json!({ "domainId": world.domain, "name": "carol", "credentials": { "password": "secret" }, "description": "desk 3",
            "applicationId": one["id"], "idempotencyKey": "k", "dryRun": true });
        assert_eq!(api.mutate("createEndpoint", &select, input.clone()).await["endpoint"]["application"], one);
        input["dryRun"] = json!(false);
        for replayed in [false, true] {
            let payload = api.mutate("createEndpoint", &select, input.clone()).await;
            assert_eq!((&payload["endpoint"]["description"], &payload["endpoint"]["application"], &payload["replayed"]), (&json!("desk 3"), &one, &json!(replayed)));
        }
        let query = format!("{{ endpoints {{ nodes {{ name application {{ {FIELDS} }} }} }} }}");
        let carol = api.data("{ endpoint(by: { sipUri: \"sip:carol@example.test\" }) { id } }", json!({})).await["endpoint"]["id"].clone();
        // What is not named stays (B 33).
        let update = |patch: Value| json!({ "id": carol, "patch": patch });
        let changed = "endpoint { application { id } } changedFields";
        api.mutate("updateEndpoint", changed, update(json!({ "description": "desk 4" }))).await;
        let data = api.data(&query, json!({})).await;
        let seen: Vec<Value> = list(&data["endpoints"]["nodes"]).iter().map(|node| node["application"].clone()).collect();
        assert_eq!(seen, [one.clone(), Value::Null, Value::Null]);
        for (given, now) in [(&two["id"], &two["id"]), (&two["id"], &two["id"]), (&Value::Null, &Value::Null), (&one["id"], &one["id"])] {
            let payload = api.mutate("updateEndpoint", changed, update(json!({ "applicationId": given }))).await;
            assert_eq!(&payload["endpoint"]["application"]["id"], now);
        }
    }

    /// One that another account has, or nobody, is not found, and nothing is stored.
    async fn a026_an_application_must_be_the_accounts(database: Database) {
        let world = World::start(&database).await;
        world.server.cli(&["account", "create", "rival"]).await;
        let token = world.server.token_create("rival", ALL_SCOPES, &[]).await;
        let theirs = application(&Api::with(&world.server, &token), json!({ "name": "theirs" })).await;
        let gone = application(&world.api, json!({ "name": "gone" })).await;
        world.api.mutate("deleteApplication", "", json!({ "id": gone["id"] })).await;
        for id in [&theirs["id"], &gone["id"], &json!("nonsense")] {
            let input = json!({ "domainId": world.domain, "name": "carol", "credentials": { "password": "secret" }, "applicationId": id });
            world.api.refused_at("createEndpoint", input.clone(), "NOT_FOUND", "applicationId").await;
            world.api.refused_at("createEndpoints", json!({ "endpoints": [input] }), "NOT_FOUND", "endpoints.0.applicationId").await;
            let input = json!({ "id": world.bob.id, "patch": { "applicationId": id } });
            world.api.refused_at("updateEndpoint", input, "NOT_FOUND", "patch.applicationId").await;
        }
        assert_eq!(world.api.endpoints_count().await, 2);
        assert_eq!(world.api.endpoint(&world.bob.id).await["version"], 1);
    }

    /// An application that endpoints refer to stays; whatever comes at once, none refers to one that is gone.
    async fn a026_an_application_in_use_stays(database: Database) {
        let world = World::start(&database).await;
        let api = &world.api;
        let used = application(api, json!({ "name": "used" })).await;
        let delete = json!({ "id": used["id"] });
        let refer = |to: &Value| json!({ "id": world.bob.id, "patch": { "applicationId": to } });
        api.mutate("updateEndpoint", "", refer(&used["id"])).await;
        api.refused_at("deleteApplication", delete.clone(), "CONFLICT", "id").await;
        let query = "query($filter: EndpointFilter) { endpoints(filter: $filter) { totalCount nodes { name } } }";
        let of_used = json!({ "filter": { "applicationId": used["id"] } });
        let data = api.data(query, of_used.clone()).await;
        assert_eq!(data["endpoints"], json!({ "totalCount": 1, "nodes": [{ "name": "bob" }] }));
        api.mutate("updateEndpoint", "", refer(&Value::Null)).await;

        let refers = (0..8).map(|i| {
            let input = json!({ "domainId": world.domain, "name": format!("e{i}"), "credentials": { "password": "secret" }, "applicationId": used["id"] });
            async move { api.mutate("createEndpoint", "endpoint { id }", input).await["userErrors"] == json!([]) }
        });
        let deleted = async { api.mutate("deleteApplication", "", delete).await["userErrors"] == json!([]) };
        let (made, deleted) = futures_util::future::join(futures_util::future::join_all(refers), deleted).await;
        let data = api.data(query, of_used).await;
        let made = made.into_iter().filter(|made| *made).count();
        assert_eq!(data["endpoints"]["totalCount"], made);
        assert!(!deleted || made == 0, "{made}");
    }

    /// Another account's are not there; each operation needs its scope.
    async fn c072_applications_are_their_accounts(database: Database) {
        let server = Server::start(&database).await;
        let api = Api::of(&server);
        let made = application(&api, json!({ "name": "one" })).await;
        server.cli(&["account", "create", "rival"]).await;
        let token = server.token_create("rival", ALL_SCOPES, &[]).await;
        let rival = Api::with(&server, &token);
        rival.refused_at("updateApplication", json!({ "id": made["id"], "patch": { "name": "theirs" } }), "NOT_FOUND", "id").await;
        rival.refused_at("deleteApplication", json!({ "id": made["id"] }), "NOT_FOUND", "id").await;
        let response = rival.gql("query($id: ID!) { application(id: $id) { id } applications { totalCount } }", json!({ "id": made["id"] })).await;
        assert_eq!((code(&response), &response["data"]["applications"]["totalCount"]), (Some("NOT_FOUND"), &json!(0)));
        let reader = server.token_create(ACCOUNT, "applications.read", &[]).await;
        let reader = api.as_token(Some(&reader));
        let data = reader.data("{ applications { nodes { name } } }", json!({})).await;
        assert_eq!(list(&data["applications"]["nodes"]).iter().map(|n| text(&n["name"])).collect::<Vec<_>>(), ["one"]);
        for (field, input) in [("createApplication", json!({ "name": "x" })), ("updateApplication", json!({ "id": made["id"], "patch": {} })), ("deleteApplication", json!({ "id": made["id"] }))] {
            let (query, variables) = crate::harness::graphql::mutation(field, "", input);
            assert_eq!(code(&reader.gql(&query, variables).await), Some("FORBIDDEN"), "{field}");
        }
    }
}

//! Domains: unique names, the limit of an account, deletion.

use crate::harness::graphql::{list, text};
use crate::harness::{Api, Server, World, both_backends, json};

/// What an account may have.
const DOMAINS_MAX: usize = 100;

both_backends! {
    /// The 101st domain is refused; deleting one makes room.
    async fn a028_an_account_has_at_most_a_hundred_domains(database: Database) {
        let server = Server::start(&database).await;
        let api = Api::of(&server);
        let mut first = String::new();
        for i in 0..DOMAINS_MAX {
            let id = api.domain_create(&format!("d{i}.example.test"), false).await;
            if i == 0 {
                first = id;
            }
        }
        let one_more = json!({ "name": "one-more.example.test" });
        let errors = api.refused("createDomain", one_more.clone()).await;
        assert_eq!(errors[0]["code"], "LIMIT_REACHED", "{errors:?}");
        assert_eq!(errors[0]["detail"]["limit"], 100, "{errors:?}");
        let data = api.data("{ domains { totalCount } }", json!({})).await;
        assert_eq!(data["domains"]["totalCount"], 100);
        let payload = api.mutate("deleteDomain", "deletedDomainId", json!({ "id": first })).await;
        assert_eq!(payload["deletedDomainId"], json!(first));
        let payload = api.mutate("createDomain", "domain { name }", one_more).await;
        assert_eq!(payload["domain"]["name"], "one-more.example.test", "{payload}");
    }

    /// A domain with endpoints is not deleted.
    async fn a029_a_domain_with_endpoints_stays(database: Database) {
        let world = World::start(&database).await;
        let delete = json!({ "id": world.domain });
        world.api.refused_at("deleteDomain", delete.clone(), "CONFLICT", "id").await;
        assert_eq!(world.api.endpoints_count().await, 2);
        for endpoint in [&world.alice, &world.bob] {
            world.api.mutate("deleteEndpoint", "deletedEndpointId", json!({ "id": endpoint.id })).await;
        }
        let payload = world.api.mutate("deleteDomain", "deletedDomainId", delete.clone()).await;
        assert_eq!(payload["deletedDomainId"], json!(world.domain));
        world.api.refused_at("deleteDomain", delete, "NOT_FOUND", "id").await;
    }

    /// Names are unique in the instance, whoever has them; the owner is not named.
    async fn h153_domain_names_and_numbers_are_unique_in_the_instance(database: Database) {
        let server = Server::start(&database).await;
        let api = Api::of(&server);
        api.domain_create("Example.Test", false).await;
        let named = json!({ "name": "one.test", "aliases": ["two.test"] });
        let payload = api.mutate("createDomain", "domain { id }", named).await;
        assert_eq!(payload["userErrors"], json!([]));
        server.cli(&["account", "create", "rival"]).await;
        let token = server.token_create("rival", crate::harness::server::ALL_SCOPES, &[]).await;
        let rival = Api::with(&server, &token);
        for (input, at) in [
            (json!({ "name": "example.test" }), "name"),
            (json!({ "name": "EXAMPLE.TEST" }), "name"),
            (json!({ "name": "two.test" }), "name"),
            (json!({ "name": "own.test", "aliases": ["x.test", "ONE.test"] }), "aliases.1"),
        ] {
            let errors = rival.refused("createDomain", input.clone()).await;
            assert_eq!(errors.len(), 1, "{errors:?}");
            assert_eq!(errors[0]["code"], "CONFLICT", "{input}: {errors:?}");
            assert_eq!(crate::harness::graphql::field_of(&errors[0]), at, "{errors:?}");
            assert!(!text(&errors[0]["message"]).contains("acme"), "{errors:?}");
        }
        let data = rival.data("{ domains { totalCount } }", json!({})).await;
        assert_eq!(data["domains"]["totalCount"], 0);

        // Numbers are the operator's to give.
        server.cli(&["number", "assign", "--account", "acme", "+12125551212", "+1 (212) 555-1213"]).await;
        server.cli(&["number", "assign", "--account", "acme", "+12125551212"]).await;
        let taken = server.cli_output(&["number", "assign", "--account", "rival", "+1-212-555-1212"]).await;
        assert_eq!(taken.status.code(), Some(1), "{taken:?}");
        assert!(!String::from_utf8_lossy(&taken.stderr).contains("acme"), "{taken:?}");
        let wrong = server.cli_output(&["number", "assign", "--account", "rival", "555"]).await;
        assert!(!wrong.status.success(), "{wrong:?}");
        let numbers = "{ viewer { account { name numbers } } }";
        let seen = api.data(numbers, json!({})).await;
        assert_eq!(seen["viewer"]["account"], json!({ "name": "acme", "numbers": ["+12125551212", "+12125551213"] }));
        let seen = rival.data(numbers, json!({})).await;
        assert_eq!(seen["viewer"]["account"]["numbers"], json!([]));
    }

    /// A wrong name is refused with its place and the rule's section; all that is wrong comes at once.
    async fn a_wrong_domain_is_refused_with_place_and_section(database: Database) {
        let server = Server::start(&database).await;
        let api = Api::of(&server);
        for (name, offset) in [("a_b.test", 1), ("-a.test", 0), ("café.test", 3), ("", 0), ("256.0.0.1", 0)] {
            let errors = api.refused("createDomain", json!({ "name": name })).await;
            assert_eq!(errors[0]["code"], "VALIDATION", "{name}: {errors:?}");
            assert_eq!(errors[0]["field"], json!(["name"]), "{name}: {errors:?}");
            assert_eq!(errors[0]["detail"]["offset"], offset, "{name}: {errors:?}");
            assert!(text(&errors[0]["detail"]["rfc"]).contains("RFC"), "{name}: {errors:?}");
        }
        let input = json!({ "name": "a b", "aliases": ["ok.test", "c d"], "digestAlgorithms": [] });
        let errors = api.refused("createDomain", input).await;
        let fields: Vec<String> = errors.iter().map(crate::harness::graphql::field_of).collect();
        assert_eq!(fields, ["name", "aliases.1", "digestAlgorithms"]);
        let data = api.data("{ domains { nodes { id } } }", json!({})).await;
        assert_eq!(list(&data["domains"]["nodes"]), Vec::<serde_json::Value>::new());
    }

    /// A domain is found by id, by name in any case, and by alias.
    async fn a_domain_is_found_by_its_names(database: Database) {
        let server = Server::start(&database).await;
        let api = Api::of(&server);
        let input = json!({ "name": "Example.Test", "aliases": ["127.0.0.1"], "digestAlgorithms": ["MD5", "SHA_256"],
            "description": "the main one", "recordInternalMessages": true });
        let select = "domain { id name aliases description digestAlgorithms recordInternalMessages createdAt }";
        let created = api.mutate("createDomain", select, input).await["domain"].clone();
        assert_eq!(created["name"], "example.test");
        assert_eq!(created["aliases"], json!(["127.0.0.1"]));
        // SHA-256 first, because a phone takes the first that it knows.
        assert_eq!(created["digestAlgorithms"], json!(["SHA_256", "MD5"]));
        assert_eq!(created["description"], "the main one");
        let query = "query($by: DomainLookup!) { domain(by: $by) {
            id name aliases description digestAlgorithms recordInternalMessages createdAt } }";
        for by in [
            json!({ "id": created["id"] }),
            json!({ "name": "example.test" }),
            json!({ "name": "EXAMPLE.test" }),
            json!({ "name": "127.0.0.1" }),
        ] {
            assert_eq!(api.data(query, json!({ "by": by })).await["domain"], created, "{by}");
        }
        for by in [json!({ "id": "nonsense" }), json!({ "name": "other.test" }), json!({ "name": "a b" })] {
            let response = api.gql(query, json!({ "by": by })).await;
            assert_eq!(response["data"]["domain"], json!(null), "{response}");
            assert_eq!(crate::harness::graphql::code(&response), Some("NOT_FOUND"), "{response}");
        }
    }
}

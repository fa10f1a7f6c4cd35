//! Domains: unique names, the limit of an account, deletion.

use crate::harness::graphql::{code, code_of, field_of, list, mutation, text};
use crate::harness::server::ACCOUNT;
use crate::harness::{Api, Phone, Server, Value, World, both_backends, eventually, json};

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

    /// With a cascade the domain is gone at once, its endpoints are disabled at once, and each goes with its event.
    async fn a029_a_cascade_takes_the_endpoints_along(database: Database) {
        let mut world = World::start(&database).await;
        let other = world.api.domain_create("other.test", true).await;
        let carol = world.api.endpoint_create(&other, "carol").await;
        for i in 0..120 {
            world.api.endpoint_create(&world.domain, &format!("e{i}")).await;
        }
        let mut phone = Phone::udp(&world.server, &world.alice).await;
        phone.come_online().await;
        world.api.send(&carol, &world.bob, "waits for bob").await;
        let kept = world.api.send(&world.alice, &carol, "stays with carol").await;
        let cursor = world.api.event_cursor().await;

        let tried = world.api.mutate("deleteDomain", "deletedDomainId dryRun", json!({ "id": world.domain, "cascade": true, "dryRun": true })).await;
        assert_eq!((&tried["dryRun"], &tried["deletedDomainId"]), (&json!(true), &json!(world.domain)));
        assert_eq!(world.api.endpoints_count().await, 123);
        assert_eq!(world.api.event_cursor().await, cursor);

        let input = json!({ "id": world.domain, "cascade": true, "idempotencyKey": "gone" });
        let payload = world.api.mutate("deleteDomain", "deletedDomainId dryRun replayed", input.clone()).await;
        assert_eq!((&payload["deletedDomainId"], &payload["dryRun"], &payload["replayed"]), (&json!(world.domain), &json!(false), &json!(false)));
        // What is not deleted yet is disabled, and the name is free.
        let select = "{ domains { totalCount nodes { name } } endpoints(filter: { enabled: true }) { nodes { name } } }";
        let data = world.api.data(select, json!({})).await;
        assert_eq!(list(&data["domains"]["nodes"]), [json!({ "name": "other.test" })]);
        assert_eq!(list(&data["endpoints"]["nodes"]), [json!({ "name": "carol" })]);
        let send = json!({ "from": { "endpointId": carol.id }, "to": { "endpointId": world.bob.id }, "body": "too late" });
        let code = code_of(&world.api.refused("sendMessage", send).await[0]);
        assert!(["ENDPOINT_DISABLED", "NOT_FOUND"].contains(&code.as_str()), "{code}");
        let add = json!({ "domainId": world.domain, "name": "late", "credentials": { "password": "secret" } });
        world.api.refused_at("createEndpoint", add, "NOT_FOUND", "domainId").await;
        let again = world.api.domain_create("example.test", true).await;
        // A restart in the middle of it goes on.
        world.server.kill_and_restart().await;
        world.api = Api::of(&world.server);
        eventually("the endpoints being deleted", || async { (world.api.endpoints_count().await == 1).then_some(()) }).await;

        let replay = world.api.mutate("deleteDomain", "deletedDomainId replayed", input).await;
        assert_eq!((&replay["replayed"], &replay["deletedDomainId"]), (&json!(true), &json!(world.domain)));
        let deleted = world.api.log(&["ENDPOINT_DELETED"]).await;
        assert_eq!(deleted.len(), 122);
        assert_eq!(world.api.data("{ chats { nodes { endpointId } } }", json!({})).await["chats"]["nodes"].as_array().unwrap().iter()
            .filter(|chat| chat["endpointId"] != json!(carol.id)).count(), 0);
        let waited = world.api.messages(json!({ "endpointId": carol.id, "direction": "OUT" })).await;
        assert_eq!((&waited[0]["status"], &waited[0]["failure"]["code"]), (&json!("FAILED"), &json!("ENDPOINT_DELETED")));
        let theirs = world.api.messages(json!({ "endpointId": carol.id, "direction": "IN" })).await;
        assert_eq!((theirs.len(), &theirs[0]["exchangeId"]), (1, &kept["exchangeId"]));
        // The new domain of that name has nothing of the old one, and is there to stay.
        let alice = world.api.endpoint_create(&again, "alice").await;
        assert_eq!(world.api.chats(json!({ "endpointId": alice.id })).await, Vec::<Value>::new());
        let mut old = Phone::udp(&world.server, &world.bob).await;
        assert_eq!(old.register(60).await.status(), 401);
    }

    /// A cascade deletes endpoints, and so needs that right too.
    async fn a029_a_cascade_needs_both_rights(database: Database) {
        let world = World::start(&database).await;
        let token = world.server.token_create(ACCOUNT, "domains.manage,endpoints.read", &[]).await;
        let (query, variables) = mutation("deleteDomain", "deletedDomainId", json!({ "id": world.domain, "cascade": true }));
        let response = world.api.as_token(Some(&token)).gql(&query, variables).await;
        assert_eq!(code(&response), Some("FORBIDDEN"), "{response}");
        assert_eq!(world.api.endpoints_count().await, 2);
    }

    /// Aliases, algorithms, recording and description change alone; absent stays, null clears.
    async fn c046_a_domain_is_changed_field_by_field(database: Database) {
        let server = Server::start(&database).await;
        let api = Api::of(&server);
        let input = json!({ "name": "example.test", "aliases": ["a.test", "b.test"], "description": "old",
            "digestAlgorithms": ["SHA_256", "MD5"], "recordInternalMessages": true });
        let fields = "id name aliases description digestAlgorithms recordInternalMessages createdAt";
        let created = api.mutate("createDomain", &format!("domain {{ {fields} }}"), input).await["domain"].clone();
        let select = format!("domain {{ {fields} }} changedFields dryRun replayed");
        let update = |patch: Value| json!({ "id": created["id"], "patch": patch });
        let mut expected = created.clone();

        // A dry run says what would come of it.
        let mut input = update(json!({ "description": "new" }));
        input["dryRun"] = json!(true);
        let payload = api.mutate("updateDomain", &select, input).await;
        assert_eq!((&payload["dryRun"], &payload["changedFields"], &payload["domain"]["description"]), (&json!(true), &json!(["description"]), &json!("new")));

        for (patch, changed, change) in [
            (json!({}), json!([]), json!({})),
            (json!({ "name": "EXAMPLE.test" }), json!([]), json!({})),
            (json!({ "description": "new" }), json!(["description"]), json!({ "description": "new" })),
            (json!({ "aliases": ["B.test", "c.test"] }), json!(["aliases"]), json!({ "aliases": ["b.test", "c.test"] })),
            (json!({ "digestAlgorithms": ["SHA_256"] }), json!(["digestAlgorithms"]), json!({ "digestAlgorithms": ["SHA_256"] })),
            (json!({ "recordInternalMessages": false, "description": null }), json!(["description", "recordInternalMessages"]),
                json!({ "recordInternalMessages": false, "description": null })),
            (json!({ "aliases": null, "digestAlgorithms": null }), json!(["aliases", "digestAlgorithms"]),
                json!({ "aliases": [], "digestAlgorithms": ["MD5"] })),
        ] {
            for (field, value) in change.as_object().unwrap() {
                expected[field] = value.clone();
            }
            let payload = api.mutate("updateDomain", &select, update(patch.clone())).await;
            assert_eq!((&payload["userErrors"], &payload["changedFields"]), (&json!([]), &changed), "{patch}");
            assert_eq!(payload["domain"], expected, "{patch}");
        }
        let query = format!("query($id: ID!) {{ domain(by: {{ id: $id }}) {{ {fields} }} }}");
        assert_eq!(api.data(&query, json!({ "id": created["id"] })).await["domain"], expected);
        // A freed alias can be taken.
        api.domain_create("a.test", false).await;

        let input = json!({ "id": created["id"], "patch": { "description": "keyed" }, "idempotencyKey": "k" });
        api.mutate("updateDomain", &select, input.clone()).await;
        api.mutate("updateDomain", &select, update(json!({ "description": "later" }))).await;
        let replay = api.mutate("updateDomain", &select, input).await;
        assert_eq!((&replay["replayed"], &replay["domain"]["description"]), (&json!(true), &json!("later")));
    }

    /// All that is wrong with a change comes together, and nothing of it is stored.
    async fn g141_a_wrong_change_of_a_domain_is_refused(database: Database) {
        let server = Server::start(&database).await;
        let api = Api::of(&server);
        api.domain_create("taken.test", false).await;
        let id = api.domain_create("example.test", false).await;
        let patch = json!({ "name": "other.test", "aliases": ["x.test", "a b"], "digestAlgorithms": [], "description": "x".repeat(1025) });
        let errors = api.refused("updateDomain", json!({ "id": id, "patch": patch })).await;
        let seen: Vec<(String, String)> = errors.iter().map(|e| (code_of(e), field_of(e))).collect();
        let expected = [("IMMUTABLE_FIELD", "patch.name"), ("VALIDATION", "patch.aliases.1"), ("VALIDATION", "patch.description"), ("VALIDATION", "patch.digestAlgorithms")];
        assert_eq!(seen, expected.map(|(code, field)| (code.to_owned(), field.to_owned())));
        for (aliases, code, at) in [
            (json!(["taken.test"]), "CONFLICT", "patch.aliases.0"),
            (json!(["x.test", "X.test"]), "VALIDATION", "patch.aliases.1"),
            (json!(["example.test"]), "VALIDATION", "patch.aliases.0"),
            (json!((0..17).map(|i| format!("a{i}.test")).collect::<Vec<_>>()), "VALIDATION", "patch.aliases"),
        ] {
            api.refused_at("updateDomain", json!({ "id": id, "patch": { "aliases": aliases } }), code, at).await;
        }
        api.refused_at("updateDomain", json!({ "id": "nonsense", "patch": {} }), "NOT_FOUND", "id").await;
        let data = api.data("query($id: ID!) { domain(by: { id: $id }) { name aliases description } }", json!({ "id": id })).await;
        assert_eq!(data["domain"], json!({ "name": "example.test", "aliases": [], "description": null }));
    }

    /// A dry run of a new domain checks all and makes nothing.
    async fn h146_a_dry_run_makes_no_domain(database: Database) {
        let server = Server::start(&database).await;
        let api = Api::of(&server);
        let input = json!({ "name": "Example.test", "dryRun": true, "idempotencyKey": "k" });
        let log = api.event_cursor().await;
        let payload = api.mutate("createDomain", "domain { name } dryRun replayed", input.clone()).await;
        assert_eq!(api.event_cursor().await, log);
        assert_eq!((&payload["domain"]["name"], &payload["dryRun"]), (&json!("example.test"), &json!(true)));
        assert_eq!(api.data("{ domains { totalCount } }", json!({})).await["domains"]["totalCount"], 0);
        // It used up no key.
        let mut real = input;
        real["dryRun"] = json!(false);
        let payload = api.mutate("createDomain", "dryRun replayed", real.clone()).await;
        assert_eq!((&payload["dryRun"], &payload["replayed"]), (&json!(false), &json!(false)));
        real["dryRun"] = json!(true);
        real["idempotencyKey"] = json!(null);
        api.refused_at("createDomain", real, "CONFLICT", "name").await;
    }
}

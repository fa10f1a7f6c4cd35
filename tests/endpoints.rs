//! Endpoints: names, passwords, creation, look-up, lists and deletion.

use crate::harness::graphql::{REFUSAL, code, code_of, field_of, list, text};
use crate::harness::server::ALL_SCOPES;
use crate::harness::world::ENDPOINT;
use crate::harness::{
    Api, Database, Feed, Phone, Server, Value, World, both_backends, eventually, json,
};
use futures_util::future::join_all;

/// What the grammar of SIP and our rules say of names; labelled by two independent grammar engines.
const NAMES: &str = include_str!("../crates/sip-validate/tests/data/name-vectors.jsonl");
/// Which names mean the same.
const EQUAL_NAMES: &str = include_str!("../crates/sip-validate/tests/data/name-equality.jsonl");
/// What our rules say of passwords.
const PASSWORDS: &str = include_str!("../crates/sip-validate/tests/data/password-vectors.jsonl");

fn vectors(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn create(domain: &str, name: &str) -> Value {
    json!({ "domainId": domain, "name": name, "credentials": { "password": "secret" } })
}

/// Creates an endpoint that must be accepted and reads it.
async fn created(api: &Api, input: Value) -> Value {
    let select = format!("endpoint {{ {ENDPOINT} }}");
    let mut payload = api.mutate("createEndpoint", &select, input.clone()).await;
    assert_eq!(payload["userErrors"], json!([]), "{input}");
    payload["endpoint"].take()
}

/// A server with one empty domain.
async fn stage(database: &Database) -> (Server, Api, String) {
    let server = Server::start(database).await;
    let api = Api::of(&server);
    let domain = api.domain_create("example.test", false).await;
    (server, api, domain)
}

/// Checks that creating these names is refused at `name`, each with a reason in the rules of SIP.
async fn names_are_refused(database: &Database, names: &[&str]) {
    let (_server, api, domain) = stage(database).await;
    for name in names {
        let errors = api.refused("createEndpoint", create(&domain, name)).await;
        for error in &errors {
            assert_eq!(
                (code_of(error).as_str(), field_of(error).as_str()),
                ("VALIDATION", "name"),
                "{name:?}"
            );
            let detail = &error["detail"];
            assert!(
                detail["offset"].is_i64() && detail["byteOffset"].is_i64(),
                "{name:?}: {errors:?}"
            );
            assert!(
                !text(&detail["rule"]).is_empty() && !text(&detail["rfc"]).is_empty(),
                "{name:?}: {errors:?}"
            );
        }
    }
    assert_eq!(api.endpoints_count().await, 0);
}

both_backends! {
    /// Name and password in an existing domain are enough.
    async fn a001_an_endpoint_is_created(database: Database) {
        let (_server, api, domain) = stage(&database).await;
        let endpoint = created(&api, create(&domain, "alice")).await;
        assert!(!text(&endpoint["id"]).is_empty());
        assert_eq!(endpoint["externalId"], 1);
        assert_eq!(endpoint["technology"], "SIP");
        assert_eq!(endpoint["resource"], "alice");
        assert_eq!(endpoint["state"], "UNKNOWN");
        assert_eq!(endpoint["version"], 1);
        assert_eq!(api.endpoint(&text(&endpoint["id"])).await, endpoint);
        assert_eq!(created(&api, create(&domain, "bob")).await["externalId"], 2);
    }

    /// Enabled unless told otherwise.
    async fn a002_enabled_is_the_default(database: Database) {
        let (_server, api, domain) = stage(&database).await;
        assert_eq!(created(&api, create(&domain, "alice")).await["enabled"], true);
        let mut input = create(&domain, "bob");
        input["enabled"] = json!(false);
        let bob = created(&api, input).await;
        assert_eq!(bob["enabled"], false);
        assert_eq!(api.endpoint(&text(&bob["id"])).await["enabled"], false);
    }

    /// Description and display name are optional and come back as given.
    async fn a003_optional_texts_come_back_as_given(database: Database) {
        let (_server, api, domain) = stage(&database).await;
        let plain = created(&api, create(&domain, "alice")).await;
        assert_eq!((&plain["description"], &plain["displayName"]), (&Value::Null, &Value::Null));
        let mut input = create(&domain, "bob");
        input["description"] = json!(" the door\nat the back 🚪 ");
        input["displayName"] = json!("Bob ✆");
        let bob = created(&api, input.clone()).await;
        assert_eq!((&bob["description"], &bob["displayName"]), (&input["description"], &input["displayName"]));
    }

    /// Without a name the request itself is wrong, and says where.
    async fn a004_a_name_is_required(database: Database) {
        let (_server, api, domain) = stage(&database).await;
        for input in [
            json!({ "domainId": domain, "credentials": { "password": "secret" } }),
            json!({ "domainId": domain, "name": null, "credentials": { "password": "secret" } }),
        ] {
            let (query, variables) = crate::harness::graphql::mutation("createEndpoint", "", input);
            let response = api.gql(&query, variables).await;
            assert!(matches!(code(&response), Some("BAD_USER_INPUT" | "GRAPHQL_VALIDATION_FAILED")), "{response}");
            assert!(response["errors"][0]["message"].as_str().unwrap().contains("name"), "{response}");
        }
        assert_eq!(api.endpoints_count().await, 0);
    }

    /// A real endpoint needs a password.
    async fn a005_a_password_is_required(database: Database) {
        let (_server, api, domain) = stage(&database).await;
        for credentials in [json!(null), json!({}), json!({ "password": null }), json!({ "generate": false })] {
            let input = json!({ "domainId": domain, "name": "alice", "credentials": credentials });
            api.refused_at("createEndpoint", input, "VALIDATION", "credentials.password").await;
        }
        assert_eq!(api.endpoints_count().await, 0);
    }

    /// Every name that the grammar allows is accepted and comes back byte by byte.
    async fn a006_every_legal_name_is_accepted(database: Database) {
        let (_server, api, domain) = stage(&database).await;
        // Names that mean the same as one before go into a second domain.
        let second = api.domain_create("second.test", false).await;
        let mut count = 0;
        for vector in vectors(NAMES).iter().filter(|v| v["accept"] == true) {
            let name = text(&vector["name"]);
            let select = "endpoint { name resource credentials { username } }";
            let mut payload = api.mutate("createEndpoint", select, create(&domain, &name)).await;
            if payload["userErrors"][0]["code"] == "CONFLICT" {
                payload = api.mutate("createEndpoint", select, create(&second, &name)).await;
            }
            let expected = json!({ "name": name, "resource": name, "credentials": { "username": name } });
            assert_eq!(payload["endpoint"], expected, "{payload}");
            count += 1;
        }
        assert_eq!(api.endpoints_count().await, count);
    }

    /// Every name that the grammar forbids is refused with its place.
    async fn a007_every_illegal_name_is_refused(database: Database) {
        let vectors = vectors(NAMES);
        let names: Vec<String> = vectors
            .iter()
            .filter(|v| v["rfc3261_user"] == false)
            .map(|v| text(&v["name"]))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert!(names.len() > 40, "{names:?}");
        names_are_refused(&database, &names).await;
    }

    /// The place is counted as a browser counts, and the character is named.
    async fn a008_white_space_is_refused_at_its_place(database: Database) {
        let (_server, api, domain) = stage(&database).await;
        for (name, offset, byte_offset, character) in [
            ("", 0, 0, None),
            ("a b", 1, 1, Some(" ")),
            ("ab\tc", 2, 2, Some("\t")),
            ("abc\n", 3, 3, Some("\n")),
            ("a\0b", 1, 1, Some("\0")),
            ("😀b", 0, 0, Some("😀")),
        ] {
            let errors = api.refused("createEndpoint", create(&domain, name)).await;
            let detail = &errors[0]["detail"];
            assert_eq!(field_of(&errors[0]), "name");
            assert_eq!(detail["offset"], offset, "{name:?}: {errors:?}");
            assert_eq!(detail["byteOffset"], byte_offset, "{name:?}: {errors:?}");
            assert_eq!(detail["character"], json!(character), "{name:?}: {errors:?}");
            assert!(text(&detail["rfc"]).contains("3261"), "{name:?}: {errors:?}");
        }
        assert_eq!(api.endpoints_count().await, 0);
    }

    /// Characters with a meaning of their own in a URI.
    async fn a009_reserved_characters_are_refused(database: Database) {
        names_are_refused(&database, &["a@b", "a:b", "a#b", "a\"b", "a<b", "a\\b", "a[b", "a{b"]).await;
    }

    /// A `%` needs two hexadecimal digits.
    async fn a010_broken_escapes_are_refused(database: Database) {
        names_are_refused(&database, &["%", "a%4", "%ZZ", "100%"]).await;
        let other = Database::create(database.backend()).await;
        let (_server, api, domain) = stage(&other).await;
        assert_eq!(created(&api, create(&domain, "%41lice")).await["name"], "%41lice");
    }

    /// Only ASCII, other letters as escapes.
    async fn a011_other_scripts_are_refused_unless_escaped(database: Database) {
        names_are_refused(&database, &["café", "иван"]).await;
        let other = Database::create(database.backend()).await;
        let (_server, api, domain) = stage(&other).await;
        assert_eq!(created(&api, create(&domain, "caf%C3%A9")).await["name"], "caf%C3%A9");
    }

    /// Telephone numbers as names.
    async fn a012_telephone_numbers_are_names(database: Database) {
        let (_server, api, domain) = stage(&database).await;
        for name in ["+1-212-555-1212", "+358-555-1234567;postd=pp22"] {
            assert_eq!(created(&api, create(&domain, name)).await["name"], name);
        }
        api.refused_at("createEndpoint", create(&domain, "#205"), "VALIDATION", "name").await;
    }

    /// What an escape hides may break other systems.
    async fn a013_escaped_white_space_is_refused(database: Database) {
        names_are_refused(&database, &["a%20b", "a%40b", "a%00b"]).await;
    }

    /// The second of a name is refused and the first stays as it is.
    async fn a014_a_name_is_taken_once(database: Database) {
        let (_server, api, domain) = stage(&database).await;
        let first = created(&api, create(&domain, "alice")).await;
        let mut again = create(&domain, "alice");
        again["description"] = json!("another");
        api.refused_at("createEndpoint", again, "CONFLICT", "name").await;
        assert_eq!(api.endpoint(&text(&first["id"])).await, first);
        assert_eq!(api.endpoints_count().await, 1);
    }

    /// Names are apart in two domains.
    async fn a015_a_name_stands_in_two_domains(database: Database) {
        let (_server, api, domain) = stage(&database).await;
        let second = api.domain_create("second.test", false).await;
        let one = created(&api, create(&domain, "alice")).await;
        let two = created(&api, create(&second, "alice")).await;
        assert_ne!(one["id"], two["id"]);
        assert_eq!((&one["sipUri"], &two["sipUri"]), (&json!("sip:alice@example.test"), &json!("sip:alice@second.test")));
    }

    /// Names that mean the same are one name; case matters.
    async fn a016_names_are_compared_by_their_canonical_form(database: Database) {
        let (_server, api, _domain) = stage(&database).await;
        for (i, vector) in vectors(EQUAL_NAMES).iter().enumerate() {
            let domain = api.domain_create(&format!("d{i}.test"), false).await;
            created(&api, create(&domain, &text(&vector["a"]))).await;
            let second = create(&domain, &text(&vector["b"]));
            if vector["same_name"] == true {
                api.refused_at("createEndpoint", second, "CONFLICT", "name").await;
            } else {
                created(&api, second).await;
            }
        }
    }

    /// Twenty at once: one wins.
    async fn a017_of_twenty_at_once_one_is_created(database: Database) {
        let (_server, api, domain) = stage(&database).await;
        let calls = (0..20).map(|_| api.mutate("createEndpoint", "endpoint { id }", create(&domain, "alice")));
        let payloads = join_all(calls).await;
        let made = payloads.iter().filter(|p| p["endpoint"] != Value::Null).count();
        let conflicts = payloads
            .iter()
            .filter(|p| p["userErrors"][0]["code"] == "CONFLICT" && field_of(&p["userErrors"][0]) == "name")
            .count();
        assert_eq!((made, conflicts), (1, 19), "{payloads:?}");
        assert_eq!(api.endpoints_count().await, 1);
        assert_eq!(api.log(&["ENDPOINT_CREATED"]).await.len(), 1);
    }

    /// Five characters are too few.
    async fn a018_a_short_password_is_refused(database: Database) {
        let (_server, api, domain) = stage(&database).await;
        for (password, offset, byte_offset) in [("", 0, 0), ("12345", 5, 5), ("abcdé", 5, 6)] {
            let input = json!({ "domainId": domain, "name": "alice", "credentials": { "password": password } });
            api.refused_at("createEndpoint", input.clone(), "VALIDATION", "credentials.password").await;
            // Both places are those behind its last character; none of it is told.
            let errors = api.refused("createEndpoint", input).await;
            let detail = &errors[0]["detail"];
            let places = (&detail["offset"], &detail["byteOffset"], &detail["character"]);
            assert_eq!(places, (&json!(offset), &json!(byte_offset), &json!(null)), "{errors:?}");
        }
        assert_eq!(api.endpoints_count().await, 0);
    }

    /// Length is counted in characters.
    async fn a019_password_length_counts_characters(database: Database) {
        let (_server, api, domain) = stage(&database).await;
        let input = |name: &str, password: &str| {
            json!({ "domainId": domain, "name": name, "credentials": { "password": password } })
        };
        created(&api, input("alice", "123456")).await;
        created(&api, input("bob", "éèêëüñ")).await;
        let errors = api.refused("createEndpoint", input("carol", "éèê")).await;
        assert_eq!(field_of(&errors[0]), "credentials.password", "{errors:?}");
        assert_eq!(api.endpoints_count().await, 2);
    }

    /// Only characters of ISO 8859-1.
    async fn a020_passwords_are_latin_1(database: Database) {
        let (_server, api, domain) = stage(&database).await;
        for password in ["passw€rd", "пароль", "pass😀word", "passwo\u{308}rd"] {
            let input = json!({ "domainId": domain, "name": "alice", "credentials": { "password": password } });
            api.refused_at("createEndpoint", input, "VALIDATION", "credentials.password").await;
        }
        let input = json!({ "domainId": domain, "name": "alice", "credentials": { "password": "passwörd" } });
        created(&api, input).await;
    }

    /// Every labelled password, control characters among them; none comes back in a refusal.
    async fn a021_every_labelled_password(database: Database) {
        let (_server, api, domain) = stage(&database).await;
        let mut accepted = 0;
        for (i, vector) in vectors(PASSWORDS).iter().enumerate() {
            let password = text(&vector["password"]);
            let name = format!("user{i}");
            let input = json!({ "domainId": domain, "name": name, "credentials": { "password": password } });
            if vector["accept"] == true {
                created(&api, input).await;
                accepted += 1;
            } else {
                let errors = api.refused("createEndpoint", input).await;
                assert_eq!(errors.len(), 1, "{vector}: {errors:?}");
                assert_eq!(field_of(&errors[0]), "credentials.password", "{vector}");
                assert_eq!(errors[0]["detail"]["character"], Value::Null, "{vector}: {errors:?}");
                if password.chars().count() > 3 {
                    assert!(!json!(errors).to_string().contains(&password), "{vector}: {errors:?}");
                }
            }
        }
        assert_eq!(api.endpoints_count().await, accepted);
    }

    /// No answer, event or log line shows a password.
    async fn a022_no_password_is_ever_shown(database: Database) {
        let server = Server::start_with(database.url(), &[("SIPGRAPH_LOG", "trace")]).await;
        let api = Api::of(&server);
        let domain = api.domain_create("example.test", true).await;
        let alice = api.endpoint_create(&domain, "alice").await;
        let bob = api.endpoint_create(&domain, "bob").await;
        let input = json!({ "domainId": domain, "name": "carol", "credentials": { "generate": true } });
        let payload = api.mutate("createEndpoint", "generatedPassword endpoint { id }", input).await;
        let generated = text(&payload["generatedPassword"]);
        assert!(generated.len() >= 20, "{generated}");
        let mut phone = Phone::udp(&server, &alice).await;
        phone.come_online().await;
        assert_eq!(phone.message(&bob.uri(), "hi").await.status(), 202);
        let mut wrong = Phone::udp(&server, &crate::harness::Account { password: "another-secret".into(), ..bob.clone() }).await;
        assert_eq!(wrong.register(60).await.status(), 401);

        let mut feed = Feed::open(&server, "").await;
        let events = feed.all_until(|event| event["type"] == "TEXT_MESSAGE_RECEIVED").await;
        let introspection = "{ __schema { types { name fields { name description } inputFields { name description defaultValue } } } }";
        let seen = [
            json!(events).to_string(),
            api.data(introspection, json!({})).await.to_string(),
            api.data(&format!("{{ endpoints {{ nodes {{ {ENDPOINT} }} }} }}"), json!({})).await.to_string(),
            server.log(),
        ];
        for secret in [&alice.password, &bob.password, &generated, "another-secret", &server.token] {
            for text in &seen {
                assert!(!text.contains(secret), "{secret} is in {text}");
            }
        }
        // No field gives it either.
        let response = api.gql("{ endpoints { nodes { credentials { password } } } }", json!({})).await;
        assert_eq!(code(&response), Some("GRAPHQL_VALIDATION_FAILED"), "{response}");
    }

    /// What a phone must be told follows from name and domain.
    async fn a023_user_name_realm_and_uri_follow_from_name_and_domain(database: Database) {
        let (_server, api, domain) = stage(&database).await;
        let alice = created(&api, create(&domain, "%41lice")).await;
        let credentials = json!({ "username": "%41lice", "realm": "example.test", "hasPassword": true });
        assert_eq!(alice["credentials"], credentials);
        assert_eq!(alice["sipUri"], "sip:%41lice@example.test");
        assert_eq!(alice["domain"]["name"], "example.test");
    }

    /// What follows from other fields cannot be set.
    async fn a024_read_only_fields_are_not_inputs(database: Database) {
        let (_server, api, domain) = stage(&database).await;
        for field in ["realm", "username", "sipUri", "id"] {
            let mut input = create(&domain, "alice");
            input[field] = json!("x");
            let (query, variables) = crate::harness::graphql::mutation("createEndpoint", "", input);
            let response = api.gql(&query, variables).await;
            assert!(matches!(code(&response), Some("BAD_USER_INPUT" | "GRAPHQL_VALIDATION_FAILED")), "{response}");
            assert!(response["errors"][0]["message"].as_str().unwrap().contains(field), "{response}");
        }
        assert_eq!(api.endpoints_count().await, 0);
    }

    /// The domain must be there.
    async fn a025_an_unknown_domain_is_not_found(database: Database) {
        let (_server, api, domain) = stage(&database).await;
        let endpoint = created(&api, create(&domain, "alice")).await;
        for id in ["", "nonsense", "RAAAAAAAAAAAAAAAAAAAAAA", &text(&endpoint["id"])] {
            api.refused_at("createEndpoint", create(id, "bob"), "NOT_FOUND", "domainId").await;
        }
        assert_eq!(api.endpoints_count().await, 1);
    }

    /// A string is no boolean.
    async fn a027_enabled_is_a_boolean(database: Database) {
        let (_server, api, domain) = stage(&database).await;
        let mut input = create(&domain, "alice");
        input["enabled"] = json!("false");
        let (query, variables) = crate::harness::graphql::mutation("createEndpoint", "", input);
        let response = api.gql(&query, variables).await;
        assert!(matches!(code(&response), Some("BAD_USER_INPUT" | "GRAPHQL_VALIDATION_FAILED")), "{response}");
        assert_eq!(api.endpoints_count().await, 0);
    }

    /// A deleted endpoint is gone with all that belongs to it; its name is free and knows nothing of the old one.
    async fn b045_a_deleted_endpoint_is_gone_with_all_it_had(database: Database) {
        let world = World::start(&database).await;
        let World { server, api, domain, alice, bob } = &world;
        let mut phone = Phone::udp(server, bob).await;
        phone.come_online().await;
        let sent = api.send(alice, bob, "before").await;
        phone.take_message().await;
        api.message_is(&text(&sent["id"]), "SENT").await;
        assert_eq!(phone.register(0).await.status(), 200);
        let waiting = api.send(alice, bob, "on its way").await;
        let bobs = api.messages(json!({ "endpointId": bob.id })).await;
        assert_eq!(bobs.len(), 2);
        let chat = text(&bobs[0]["chatId"]);
        let mut feed = Feed::open(server, &api.event_cursor().await).await;

        let payload = api.mutate("deleteEndpoint", "deletedEndpointId", json!({ "id": bob.id })).await;
        assert_eq!(payload["deletedEndpointId"], json!(bob.id));
        let events = feed.all_until(|event| event["type"] == "ENDPOINT_DELETED").await;
        let failed = events.iter().find(|e| e["type"] == "MESSAGE_OUT_STATUS").unwrap_or_else(|| panic!("{events:?}"));
        assert_eq!((&failed["messageId"], &failed["status"]), (&waiting["id"], &json!("FAILED")));
        let waiting = api.message(&text(&waiting["id"])).await;
        assert_eq!(waiting["failure"]["code"], "ENDPOINT_DELETED");
        assert_eq!(api.error("query($id: ID!) { endpoint(by: { id: $id }) { id } }", json!({ "id": bob.id })).await, "NOT_FOUND");
        assert_eq!(api.error("query($id: ID!) { chat(id: $id) { id } }", json!({ "id": chat })).await, "NOT_FOUND");
        assert_eq!(api.error("query($id: ID!) { message(id: $id) { id } }", json!({ "id": bobs[0]["id"] })).await, "NOT_FOUND");
        assert_eq!(api.messages(json!({ "endpointId": bob.id })).await.len(), 0);
        api.refused_at("deleteEndpoint", json!({ "id": bob.id }), "NOT_FOUND", "id").await;
        assert_eq!(phone.register(60).await.status(), 401);

        // The name is free; the new one has nothing of the old.
        let again = api.endpoint_create(domain, "bob").await;
        assert_ne!(again.id, bob.id);
        assert_eq!(api.messages(json!({ "endpointId": again.id })).await.len(), 0);
        assert_eq!(api.chats(json!({ "endpointId": again.id })).await.len(), 0);
        assert_eq!(api.endpoint(&again.id).await["externalId"], 3);
    }

    /// Unknown ids.
    async fn c048_an_unknown_endpoint_is_not_found(database: Database) {
        let world = World::start(&database).await;
        for id in ["", "nonsense", "RQAAAAAAAAAAAAAAAAAAAAA", &world.domain] {
            world.api.refused_at("deleteEndpoint", json!({ "id": id }), "NOT_FOUND", "id").await;
            let response = world.api.gql("query($id: ID!) { endpoint(by: { id: $id }) { id } }", json!({ "id": id })).await;
            assert_eq!(response["data"], json!({ "endpoint": null }), "{response}");
            assert_eq!(code(&response), Some("NOT_FOUND"), "{response}");
        }
        assert_eq!(world.api.endpoints_count().await, 2);
    }

    /// A right that lacks is named; without a token nothing is answered.
    async fn c070_reading_is_not_writing(database: Database) {
        let world = World::start(&database).await;
        let token = world.server.token_create("acme", "endpoints.read", &[]).await;
        let reader = world.api.as_token(Some(&token));
        for (field, input, scopes) in [
            ("createEndpoint", create(&world.domain, "carol"), ["endpoints.create", "endpoints.manage"]),
            ("deleteEndpoint", json!({ "id": world.bob.id }), ["endpoints.delete", "endpoints.manage"]),
        ] {
            let (query, variables) = crate::harness::graphql::mutation(field, "", input);
            let response = reader.gql(&query, variables.clone()).await;
            assert_eq!(response["data"][field], Value::Null, "{response}");
            let extensions = &response["errors"][0]["extensions"];
            assert_eq!(extensions["code"], "FORBIDDEN", "{response}");
            assert_eq!(extensions["requiredScopes"], json!(scopes), "{response}");
            let response = world.api.as_token(None).gql(&query, variables).await;
            assert_eq!(code(&response), Some("UNAUTHENTICATED"), "{response}");
        }
        assert_eq!(reader.endpoints_count().await, 2);
    }

    /// `manage` stands for all four.
    async fn c071_manage_is_every_right_of_endpoints(database: Database) {
        let world = World::start(&database).await;
        let token = world.server.token_create("acme", "endpoints.manage", &[]).await;
        let manager = world.api.as_token(Some(&token));
        let carol = created(&manager, create(&world.domain, "carol")).await;
        let id = text(&carol["id"]);
        assert_eq!(manager.endpoint(&id).await, carol);
        let payload = manager.mutate("deleteEndpoint", "deletedEndpointId", json!({ "id": id })).await;
        assert_eq!(payload["deletedEndpointId"], json!(id));
    }

    /// Another account's endpoint reads as if it were not there.
    async fn c072_a_foreign_endpoint_is_not_found(database: Database) {
        let world = World::start(&database).await;
        world.server.cli(&["account", "create", "rival"]).await;
        let token = world.server.token_create("rival", ALL_SCOPES, &[]).await;
        let rival = world.api.as_token(Some(&token));
        let query = "query($by: EndpointLookup!) { endpoint(by: $by) { id } }";
        for by in [
            json!({ "id": world.bob.id }),
            json!({ "sipUri": world.bob.uri() }),
            json!({ "resource": { "technology": "SIP", "resource": "bob" } }),
            json!({ "resource": { "technology": "SIP", "resource": "bob", "domain": "example.test" } }),
        ] {
            let absent = rival.gql(query, json!({ "by": { "id": "RQAAAAAAAAAAAAAAAAAAAAA" } })).await;
            assert_eq!(rival.gql(query, json!({ "by": by })).await, absent, "{by}");
        }
        rival.refused_at("deleteEndpoint", json!({ "id": world.bob.id }), "NOT_FOUND", "id").await;
        rival.refused_at("createEndpoint", create(&world.domain, "carol"), "NOT_FOUND", "domainId").await;
        assert_eq!(world.api.endpoints_count().await, 2);
        assert_eq!(rival.endpoints_count().await, 0);
    }

    /// Newest first.
    async fn d076_the_newest_endpoint_comes_first(database: Database) {
        let (_server, api, domain) = stage(&database).await;
        for name in ["one", "two", "three"] {
            created(&api, create(&domain, name)).await;
        }
        let names = || async {
            let data = api.data("{ endpoints { nodes { name } } }", json!({})).await;
            list(&data["endpoints"]["nodes"]).iter().map(|n| text(&n["name"])).collect::<Vec<_>>()
        };
        assert_eq!(names().await, ["three", "two", "one"]);
        assert_eq!(names().await, ["three", "two", "one"]);
        let data = api
            .data("{ endpoints(orderBy: { field: CREATED_AT, direction: ASC }) { nodes { name } } }", json!({}))
            .await;
        assert_eq!(data["endpoints"]["nodes"], json!([{ "name": "one" }, { "name": "two" }, { "name": "three" }]));
        // Those of one moment have an order too, which pages keep.
        let bulk: Vec<Value> = (0..20).map(|i| create(&domain, &format!("same{i}"))).collect();
        let made = api.mutate("createEndpoints", "endpoints { createdAt }", json!({ "endpoints": bulk })).await;
        let made = list(&made["endpoints"]);
        assert!(made.len() == 20 && made.iter().all(|endpoint| *endpoint == made[0]), "{made:?}");
        let query = "query($after: Cursor) { endpoints(first: 7, after: $after) { nodes { name } pageInfo { hasNextPage endCursor } } }";
        let (mut seen, mut after) = (Vec::new(), Value::Null);
        loop {
            let page = api.data(query, json!({ "after": after })).await["endpoints"].clone();
            seen.extend(list(&page["nodes"]).iter().map(|n| text(&n["name"])));
            if page["pageInfo"]["hasNextPage"] == false {
                break;
            }
            after = page["pageInfo"]["endCursor"].clone();
        }
        assert_eq!((seen.len(), &seen), (23, &names().await));
    }

    /// A filter that matches nothing gives an empty list, not an error.
    async fn d081_no_match_is_an_empty_list(database: Database) {
        let world = World::start(&database).await;
        let query = "query($filter: EndpointFilter) { endpoints(filter: $filter) { totalCount nodes { name } } }";
        for (filter, count) in [
            (Value::Null, 2),
            (json!({}), 2),
            (json!({ "ids": null }), 2),
            (json!({ "ids": [] }), 0),
            (json!({ "ids": [world.bob.id] }), 1),
            (json!({ "state": "ONLINE" }), 0),
            (json!({ "state": "UNKNOWN", "enabled": true }), 2),
            (json!({ "enabled": false }), 0),
            (json!({ "domainId": world.domain }), 2),
            (json!({ "domainId": "nonsense" }), 0),
        ] {
            let data = world.api.data(query, json!({ "filter": filter })).await;
            assert_eq!(data["endpoints"]["totalCount"], count, "{filter}");
            assert_eq!(list(&data["endpoints"]["nodes"]).len(), usize::try_from(count).unwrap(), "{filter}");
        }
    }

    /// A hundred and twenty endpoints in pages of fifty, forward and backward.
    async fn d082_pages_have_no_gap_and_no_repeat(database: Database) {
        let (_server, api, domain) = stage(&database).await;
        let names: Vec<String> = (0..120).map(|i| format!("user{i:03}")).collect();
        for name in &names {
            created(&api, create(&domain, name)).await;
        }
        let query = "query($first: Int, $after: Cursor, $last: Int, $before: Cursor) {
            endpoints(first: $first, after: $after, last: $last, before: $before) {
                totalCount nodes { name } edges { cursor } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }";
        let (mut forward, mut sizes, mut after) = (Vec::new(), Vec::new(), Value::Null);
        loop {
            let data = api.data(query, json!({ "first": 50, "after": after })).await;
            let page = &data["endpoints"];
            let nodes = list(&page["nodes"]);
            // The first page has nothing before it, the last nothing after it.
            assert_eq!(page["pageInfo"]["hasPreviousPage"], json!(!forward.is_empty()));
            assert_eq!(page["totalCount"], 120);
            sizes.push(nodes.len());
            forward.extend(nodes.iter().map(|n| text(&n["name"])));
            after = page["pageInfo"]["endCursor"].clone();
            if page["pageInfo"]["hasNextPage"] == false {
                break;
            }
        }
        assert_eq!(sizes, [50, 50, 20]);
        let mut newest_first = names.clone();
        newest_first.reverse();
        assert_eq!(forward, newest_first);

        let (mut backward, mut sizes, mut before) = (Vec::new(), Vec::new(), Value::Null);
        loop {
            let data = api.data(query, json!({ "last": 50, "before": before })).await;
            let page = &data["endpoints"];
            let mut nodes: Vec<String> = list(&page["nodes"]).iter().map(|n| text(&n["name"])).collect();
            assert_eq!(page["pageInfo"]["hasNextPage"], json!(!backward.is_empty()));
            sizes.push(nodes.len());
            nodes.extend(backward);
            backward = nodes;
            before = page["pageInfo"]["startCursor"].clone();
            if page["pageInfo"]["hasPreviousPage"] == false {
                break;
            }
        }
        assert_eq!(sizes, [50, 50, 20]);
        assert_eq!(backward, newest_first);
    }

    /// The edges of a list agree with `pageInfo`.
    async fn d083_the_ends_of_a_list_are_known(database: Database) {
        let world = World::start(&database).await;
        let query = "{ endpoints(first: 2) { edges { cursor node { name } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }";
        let page = world.api.data(query, json!({})).await["endpoints"].clone();
        let info = &page["pageInfo"];
        assert_eq!((&info["hasNextPage"], &info["hasPreviousPage"]), (&json!(false), &json!(false)));
        assert_eq!((&info["startCursor"], &info["endCursor"]), (&page["edges"][0]["cursor"], &page["edges"][1]["cursor"]));
        let empty = world.api.data("{ endpoints(filter: { ids: [] }) { edges { cursor } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }", json!({})).await;
        let info = json!({ "hasNextPage": false, "hasPreviousPage": false, "startCursor": null, "endCursor": null });
        assert_eq!(empty["endpoints"], json!({ "edges": [], "pageInfo": info }));
    }

    /// An endpoint made while one pages neither repeats nor drops another.
    async fn d084_paging_survives_a_new_endpoint(database: Database) {
        let (_server, api, domain) = stage(&database).await;
        for i in 0..6 {
            created(&api, create(&domain, &format!("user{i}"))).await;
        }
        let query = "query($after: Cursor) { endpoints(first: 2, after: $after) { nodes { name } pageInfo { hasNextPage endCursor } } }";
        let (mut seen, mut after) = (Vec::new(), Value::Null);
        for i in 6.. {
            let data = api.data(query, json!({ "after": after })).await;
            seen.extend(list(&data["endpoints"]["nodes"]).iter().map(|n| text(&n["name"])));
            after = data["endpoints"]["pageInfo"]["endCursor"].clone();
            if data["endpoints"]["pageInfo"]["hasNextPage"] == false {
                break;
            }
            created(&api, create(&domain, &format!("user{i}"))).await;
        }
        assert_eq!(seen, ["user5", "user4", "user3", "user2", "user1", "user0"]);
    }

    /// Page sizes from 1 to 1000, 50 by default.
    async fn d085_page_sizes_have_bounds(database: Database) {
        let (_server, api, domain) = stage(&database).await;
        for i in 0..51 {
            created(&api, create(&domain, &format!("user{i}"))).await;
        }
        let query = "query($first: Int, $last: Int) { endpoints(first: $first, last: $last) { nodes { name } } }";
        for (variables, count) in [
            (json!({}), 50),
            (json!({ "first": 1 }), 1),
            (json!({ "first": 1000 }), 51),
            (json!({ "last": 1 }), 1),
            (json!({ "last": 1000 }), 51),
        ] {
            let data = api.data(query, variables.clone()).await;
            assert_eq!(list(&data["endpoints"]["nodes"]).len(), count, "{variables}");
        }
        for variables in [
            json!({ "first": 0 }),
            json!({ "first": -1 }),
            json!({ "first": 1001 }),
            json!({ "last": 0 }),
            json!({ "last": 1001 }),
            json!({ "first": 1, "last": 1 }),
        ] {
            let response = api.gql(query, variables.clone()).await;
            assert_eq!(response["data"], json!({ "endpoints": null }), "{variables}: {response}");
            assert_eq!(code(&response), Some("BAD_USER_INPUT"), "{variables}: {response}");
        }
        // The list that runs the other way names the argument that was given.
        let query = "{ endpoints(first: 0, orderBy: { field: NAME, direction: ASC }) { nodes { name } } }";
        let message = text(&api.gql(query, json!({})).await["errors"][0]["message"]);
        assert!(message.contains("`first`") && !message.contains("`last`"), "{message}");
    }

    /// A cursor that was forged, cut, or is another list's, filter's or account's.
    async fn d086_a_wrong_cursor_is_refused(database: Database) {
        let world = World::start(&database).await;
        let World { server, api, .. } = &world;
        let query = "query($after: Cursor, $filter: EndpointFilter) { endpoints(first: 1, after: $after, filter: $filter) { pageInfo { endCursor } } }";
        let good = text(&api.data(query, json!({})).await["endpoints"]["pageInfo"]["endCursor"]);
        api.data(query, json!({ "after": good })).await;
        let other_list = text(&api.data("{ domains(first: 1) { edges { cursor } } }", json!({})).await["domains"]["edges"][0]["cursor"]);
        let mut forged = good.clone();
        let last = if forged.pop() == Some('A') { 'B' } else { 'A' };
        let forged = format!("{forged}{last}");
        let cut = &good[..good.len() - 4];
        for after in [&forged, cut, &other_list, "", "nonsense", &format!("{good}AAAA"), "ÄÖÜ", &api.event_cursor().await] {
            let response = api.gql(query, json!({ "after": after })).await;
            assert_eq!(code(&response), Some("BAD_USER_INPUT"), "{after}: {response}");
        }
        let response = api.gql(query, json!({ "after": good, "filter": { "enabled": true } })).await;
        assert_eq!(code(&response), Some("BAD_USER_INPUT"), "{response}");
        server.cli(&["account", "create", "rival"]).await;
        let token = server.token_create("rival", ALL_SCOPES, &[]).await;
        let response = api.as_token(Some(&token)).gql(query, json!({ "after": good })).await;
        assert_eq!(code(&response), Some("BAD_USER_INPUT"), "{response}");
    }

    /// User names never hold white space or `@`.
    async fn d087_user_names_have_no_white_space(database: Database) {
        names_are_refused(&database, &["a b", "a\tb", "a\u{a0}b", "a@b"]).await;
    }

    /// A second endpoint of a name is refused at `name`.
    async fn d088_a_duplicate_user_name_is_refused_at_its_field(database: Database) {
        let world = World::start(&database).await;
        let input = create(&world.domain, "alice");
        world.api.refused_at("createEndpoint", input, "CONFLICT", "name").await;
    }

    /// Without the right to read endpoints no list is given; `voice` is that right's other name.
    async fn d097_a_list_needs_its_scope(database: Database) {
        let world = World::start(&database).await;
        let token = world.server.token_create("acme", "messages.manage,chats.manage,domains.manage", &[]).await;
        let response = world.api.as_token(Some(&token)).gql("{ endpoints { totalCount } }", json!({})).await;
        assert_eq!(response["data"], json!({ "endpoints": null }), "{response}");
        assert_eq!(code(&response), Some("FORBIDDEN"), "{response}");
        let token = world.server.token_create("acme", "voice", &[]).await;
        assert_eq!(world.api.as_token(Some(&token)).endpoints_count().await, 2);
    }

    /// The list and each look-up give the same object.
    async fn e099_every_look_up_gives_the_same_endpoint(database: Database) {
        let world = World::start(&database).await;
        let bob = world.api.endpoint(&world.bob.id).await;
        let data = world.api.data(&format!("{{ endpoints {{ nodes {{ {ENDPOINT} }} }} }}"), json!({})).await;
        assert!(list(&data["endpoints"]["nodes"]).contains(&bob), "{data}");
        let query = format!("query($by: EndpointLookup!) {{ endpoint(by: $by) {{ {ENDPOINT} }} }}");
        for by in [
            json!({ "resource": { "technology": "SIP", "resource": "bob" } }),
            json!({ "resource": { "technology": "PJSIP", "resource": "bob", "domain": "Example.Test" } }),
            json!({ "sipUri": "sip:bob@example.test" }),
            json!({ "sipUri": "sips:bob@EXAMPLE.test" }),
            json!({ "sipUri": "pjsip:%62ob@example.test" }),
        ] {
            assert_eq!(world.api.data(&query, json!({ "by": by })).await["endpoint"], bob, "{by}");
        }
        let query = format!("query($id: ID!) {{ node(id: $id) {{ id ... on Endpoint {{ {ENDPOINT} }} }} nodes(ids: [$id, \"nonsense\"]) {{ id }} }}");
        let response = world.api.gql(&query, json!({ "id": world.bob.id })).await;
        assert_eq!(response["data"]["node"], bob);
        assert_eq!(response["data"]["nodes"], json!([{ "id": world.bob.id }, null]));
        assert_eq!((code(&response), &response["errors"][0]["path"]), (Some("NOT_FOUND"), &json!(["nodes", 1])), "{response}");
        let technologies = world.api.data("{ technologies { name aliases available endpointCount } }", json!({})).await;
        assert_eq!(technologies["technologies"][0]["endpointCount"], 2, "{technologies}");
    }

    /// An unknown technology is not found; a known one without endpoints is empty.
    async fn e100_an_unknown_technology_is_not_found(database: Database) {
        let world = World::start(&database).await;
        let query = "query($by: EndpointLookup!) { endpoint(by: $by) { id } }";
        for technology in ["IAX2", "foo", ""] {
            let by = json!({ "resource": { "technology": technology, "resource": "bob" } });
            assert_eq!(world.api.error(query, json!({ "by": by })).await, "NOT_FOUND", "{technology}");
        }
        let technologies = world.api.data("{ technologies { name aliases available endpointCount } }", json!({})).await;
        let xmpp = list(&technologies["technologies"]).into_iter().find(|t| t["name"] == "XMPP").unwrap();
        assert_eq!((&xmpp["available"], &xmpp["endpointCount"]), (&json!(false), &json!(0)));
    }

    /// An unknown resource is not found; case matters.
    async fn e101_an_unknown_resource_is_not_found(database: Database) {
        let world = World::start(&database).await;
        let query = "query($by: EndpointLookup!) { endpoint(by: $by) { id } }";
        for resource in ["carol", "Bob", "BOB"] {
            let by = json!({ "resource": { "technology": "SIP", "resource": resource } });
            assert_eq!(world.api.error(query, json!({ "by": by })).await, "NOT_FOUND", "{resource}");
        }
        // Neither is one of a technology that nothing speaks here.
        let by = json!({ "resource": { "technology": "XMPP", "resource": "bob" } });
        assert_eq!(world.api.error(query, json!({ "by": by })).await, "NOT_FOUND");
        // A name in two domains needs its domain.
        let second = world.api.domain_create("second.test", false).await;
        world.api.endpoint_create(&second, "bob").await;
        let by = json!({ "resource": { "technology": "SIP", "resource": "bob" } });
        assert_eq!(world.api.error(query, json!({ "by": by })).await, "BAD_USER_INPUT");
        let by = json!({ "resource": { "technology": "SIP", "resource": "bob", "domain": "example.test" } });
        assert_eq!(world.api.data(query, json!({ "by": by })).await["endpoint"]["id"], json!(world.bob.id));
    }

    /// All that is wrong comes at once, each with code and path.
    async fn g141_all_that_is_wrong_comes_at_once(database: Database) {
        let (_server, api, _domain) = stage(&database).await;
        let input = json!({ "domainId": "nonsense", "name": "a b", "credentials": { "password": "123" },
            "displayName": "x".repeat(256), "description": "x".repeat(1025) });
        let mut seen: Vec<(String, String)> = api
            .refused("createEndpoint", input)
            .await
            .iter()
            .map(|e| (field_of(e), code_of(e)))
            .collect();
        seen.sort();
        let expected = [
            ("credentials.password", "VALIDATION"),
            ("description", "VALIDATION"),
            ("displayName", "VALIDATION"),
            ("domainId", "NOT_FOUND"),
            ("name", "VALIDATION"),
        ];
        let expected: Vec<_> = expected.iter().map(|(f, c)| ((*f).to_owned(), (*c).to_owned())).collect();
        assert_eq!(seen, expected);
        assert_eq!(api.endpoints_count().await, 0);
    }

    /// The same key and input give the first call's object, also for fifty at once and after a restart.
    async fn h145_a_repeated_create_is_done_once(database: Database) {
        let (mut server, api, domain) = stage(&database).await;
        let mut input = create(&domain, "alice");
        input["credentials"] = json!({ "generate": true });
        input["idempotencyKey"] = json!("key-1");
        let select = "endpoint { id } generatedPassword replayed";
        let (first, replays) = api.mutate_fifty("createEndpoint", select, &input).await;
        assert!(first["generatedPassword"].is_string(), "{first}");
        for payload in &replays {
            assert_eq!(payload["endpoint"], first["endpoint"], "{payload}");
            // A secret is told once.
            assert_eq!(payload["generatedPassword"], Value::Null);
        }
        server.kill_and_restart().await;
        let payload = api.mutate("createEndpoint", select, input.clone()).await;
        assert_eq!((&payload["replayed"], &payload["endpoint"]), (&json!(true), &first["endpoint"]));
        assert_eq!(api.endpoints_count().await, 1);
        assert_eq!(api.log(&["ENDPOINT_CREATED"]).await.len(), 1);

        // Other input under the same key; another token's equal key is another key; a refused call uses up none.
        let mut other = input.clone();
        other["name"] = json!("bob");
        api.refused_at("createEndpoint", other.clone(), "IDEMPOTENCY_KEY_REUSED", "idempotencyKey").await;
        let token = server.token_create("acme", ALL_SCOPES, &[]).await;
        let payload = api.as_token(Some(&token)).mutate("createEndpoint", select, other).await;
        assert_eq!(payload["replayed"], false, "{payload}");
        let mut wrong = create(&domain, "a b");
        wrong["idempotencyKey"] = json!("key-2");
        api.refused("createEndpoint", wrong.clone()).await;
        wrong["name"] = json!("carol");
        let payload = api.mutate("createEndpoint", select, wrong).await;
        assert_eq!(payload["replayed"], false, "{payload}");

        // Deletion too.
        let delete = json!({ "id": first["endpoint"]["id"], "idempotencyKey": "key-3" });
        for replayed in [false, true, true] {
            let payload = api.mutate("deleteEndpoint", "deletedEndpointId replayed", delete.clone()).await;
            assert_eq!((&payload["deletedEndpointId"], &payload["replayed"]), (&delete["id"], &json!(replayed)));
        }
        assert_eq!(api.log(&["ENDPOINT_DELETED"]).await.len(), 1);
        for key in ["", &"k".repeat(256)] {
            let mut input = create(&domain, "dora");
            input["idempotencyKey"] = json!(key);
            api.refused_at("createEndpoint", input, "VALIDATION", "idempotencyKey").await;
        }
    }

    /// Each violation of a name comes at once, and so does whatever else is wrong.
    async fn g141_all_that_is_wrong_with_a_name_is_told_at_once(database: Database) {
        let (_server, api, domain) = stage(&database).await;
        let mut input = create(&domain, "a b#🚪%4%20");
        input["credentials"]["password"] = json!("short");
        let errors = api.refused("createEndpoint", input.clone()).await;
        assert!(errors.iter().all(|e| code_of(e) == "VALIDATION"), "{errors:?}");
        let (of_name, others): (Vec<_>, Vec<_>) = errors.iter().partition(|e| field_of(e) == "name");
        let places: Vec<_> = of_name.iter().map(|e| e["detail"]["offset"].as_i64().unwrap()).collect();
        assert_eq!(places, [1, 3, 4, 6, 8], "{errors:?}");
        assert_eq!(others.iter().map(|e| field_of(e)).collect::<Vec<_>>(), ["credentials.password"]);
        // In a bulk they are those of their endpoint.
        let bulk = json!({ "endpoints": [create(&domain, "bob"), input] });
        let seen: Vec<_> = api.refused("createEndpoints", bulk).await.iter().map(field_of).collect();
        assert_eq!(seen, [vec!["endpoints.1.name"; 5], vec!["endpoints.1.credentials.password"]].concat());
        assert_eq!(api.endpoints_count().await, 0);
        // A name that is wrong nowhere else is told to be too long, however long it is.
        let errors = api.refused("createEndpoint", create(&domain, &"a".repeat(5_000))).await;
        assert_eq!((errors.len(), &errors[0]["detail"]["offset"]), (1, &json!(128)));
        assert_eq!(api.refused("createEndpoint", create(&domain, &"#".repeat(5_000))).await.len(), 32);
    }

    /// What `checkName` says is what a create would say.
    async fn h147_a_name_can_be_checked_first(database: Database) {
        let world = World::start(&database).await;
        let query = format!(
            "query($name: String!, $domain: ID) {{
                checkName(name: $name, domainId: $domain) {{ valid canonical errors {{ {REFUSAL} }} }} }}"
        );
        let check = |name: &str, domain: Value| {
            let (api, query, name) = (world.api.clone(), query.clone(), name.to_owned());
            async move { api.data(&query, json!({ "name": name, "domain": domain })).await["checkName"].clone() }
        };
        let seen = check("%61lice", Value::Null).await;
        assert_eq!((&seen["valid"], &seen["canonical"], &seen["errors"]), (&json!(true), &json!("alice"), &json!([])));
        for name in ["a b", "café", "%", "", "🚪 a%4@%20", &"#".repeat(200)] {
            let seen = check(name, json!(world.domain)).await;
            let refused = world.api.refused("createEndpoint", create(&world.domain, name)).await;
            assert_eq!(seen["errors"], json!(refused), "{name}");
            assert_eq!((&seen["valid"], &seen["canonical"]), (&json!(false), &Value::Null), "{name}");
        }
        let seen = check("%61lice", json!(world.domain)).await;
        assert_eq!((&seen["valid"], &seen["errors"][0]["code"]), (&json!(false), &json!("CONFLICT")));
        // Each violation at its place, in UTF-16 code units.
        let seen = check("🚪 a%4@%20", Value::Null).await;
        let errors = list(&seen["errors"]);
        let places: Vec<(i64, i64, String)> = errors.iter()
            .map(|e| (e["detail"]["offset"].as_i64().unwrap(), e["detail"]["byteOffset"].as_i64().unwrap(), text(&e["detail"]["character"])))
            .collect();
        let expected = [(0, 0, "🚪"), (2, 4, " "), (4, 6, "%"), (6, 8, "@"), (7, 9, "%")];
        assert_eq!(places, expected.map(|(offset, byte, c)| (offset, byte, c.to_owned())));
        assert!(errors.iter().all(|e| code_of(e) == "VALIDATION" && field_of(e) == "name"), "{errors:?}");
        assert!(errors.iter().all(|e| !text(&e["detail"]["rule"]).is_empty() && !text(&e["detail"]["rfc"]).is_empty()), "{errors:?}");
        let response = world.api.gql(&query, json!({ "name": "carol", "domain": "nonsense" })).await;
        assert_eq!(code(&response), Some("NOT_FOUND"), "{response}");
    }

    /// A simulated endpoint is there without a phone and answers what it gets.
    async fn an_echo_endpoint_answers(database: Database) {
        let world = World::start(&database).await;
        let input = json!({ "domainId": world.domain, "name": "echo", "simulation": "ECHO" });
        let echo = created(&world.api, input).await;
        assert_eq!(echo["state"], "ONLINE");
        let echo = crate::harness::Account { id: text(&echo["id"]), user: "echo".into(), domain: "example.test".into(), password: String::new() };
        world.api.send(&world.alice, &echo, "is anybody there?").await;
        eventually("the echo", || async {
            let answers = world.api.bodies(json!({ "endpointId": world.alice.id, "direction": "IN" })).await;
            (answers == ["is anybody there?"]).then_some(())
        })
        .await;
    }
}

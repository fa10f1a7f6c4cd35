//! Changing endpoints: in part, as a whole, with nested objects, by type, by several clients.

use crate::harness::graphql::{code, code_of, field_of, list, text};
use crate::harness::world::ENDPOINT;
use crate::harness::{Account, Api, Feed, Phone, Value, World, both_backends, json};
use futures_util::future::join_all;

/// Changes an endpoint, which must be accepted; gives the payload.
async fn updated(api: &Api, input: Value) -> Value {
    let select =
        format!("endpoint {{ {ENDPOINT} }} changedFields generatedPassword dryRun replayed");
    let payload = api.mutate("updateEndpoint", &select, input.clone()).await;
    assert_eq!(payload["userErrors"], json!([]), "{input}");
    payload
}

/// Patches an endpoint, which must be accepted; gives it.
async fn patched(api: &Api, id: &str, patch: Value) -> Value {
    updated(api, json!({ "id": id, "patch": patch })).await["endpoint"].take()
}

/// Patches an endpoint with REPLACE for nested objects.
async fn patched_whole(api: &Api, id: &str, patch: Value) -> Value {
    let input = json!({ "id": id, "patch": patch, "nestedObjects": "REPLACE" });
    updated(api, input).await["endpoint"].take()
}

/// Makes an endpoint of a type.
async fn made(api: &Api, domain: &str, name: &str, kind: &str) -> String {
    let mut input = json!({ "domainId": domain, "name": name, "type": kind });
    if kind == "SIP_USER" {
        input["credentials"] = json!({ "password": "secret" });
    }
    let payload = api.mutate("createEndpoint", "endpoint { id }", input).await;
    assert_eq!(payload["userErrors"], json!([]), "{kind}");
    text(&payload["endpoint"]["id"])
}

/// The types that run on the platform, but for the voice mailbox and the operator's gateway.
const HOSTED: [&str; 5] = [
    "MEDIATOR",
    "FLEXML",
    "CONFERENCE",
    "CONFERENCE_V2",
    "CONFERENCE_PLAYBACK",
];

/// An endpoint as it is read, as a replacement: every field that can be changed.
fn whole(endpoint: &Value) -> Value {
    let mut input = json!({});
    for field in [
        "displayName",
        "description",
        "enabled",
        "numbers",
        "callerId",
        "sendAs",
        "allowOutside",
        "ciphers",
        "codecs",
        "encryption",
        "digestAlgorithms",
        "capacity",
        "authRequired",
        "attributes",
        "properties",
        "outSipUsername",
        "simulation",
    ] {
        input[field] = endpoint[field].clone();
    }
    input["applicationId"] = Value::Null;
    let addresses = list(&endpoint["addresses"]).into_iter().map(|mut address| {
        address.as_object_mut().unwrap().remove("hasSipPassword");
        address
    });
    input["addresses"] = addresses.collect();
    let rules = list(&endpoint["transformations"]).into_iter().map(|given| {
        let rule = &given["rule"];
        let rule = match rule["kind"].as_str().unwrap() {
            "REWRITE" => {
                json!({ "rewrite": { "pattern": rule["pattern"], "replace": rule["replace"] } })
            }
            "SET" => json!({ "set": { "value": rule["value"] } }),
            "CONDITION" => {
                json!({ "condition": { "pattern": rule["pattern"], "negate": rule["negate"] } })
            }
            _ => json!({ "reject": { "pattern": rule["pattern"] } }),
        };
        json!({ "id": given["id"], "rule": rule })
    });
    input["transformations"] = rules.collect();
    input
}

/// Everything that a trunk can be given.
fn everything() -> Value {
    json!({
        "displayName": "Trunk ✆", "description": "to\nthe world", "enabled": true, "callerId": "Acme", "sendAs": "random",
        "allowOutside": true, "ciphers": ["AES_CM_128_HMAC_SHA1_80", "AEAD_AES_256_GCM_8"], "codecs": ["PCMA", "OPUS"],
        "encryption": "OPTIONAL", "digestAlgorithms": ["SHA_256", "MD5"], "capacity": 7, "authRequired": false,
        "addresses": [{ "ip": "192.0.2.1", "sipUsername": "acme", "sipPassword": "address-secret" }, { "ip": "2001:db8::1", "port": 5061, "transport": "TLS" }],
        "attributes": { "a": 1, "b": { "c": [true, null, "x", 1.5] } }, "properties": { "p": "q" },
        "transformations": [{ "rule": { "rewrite": { "pattern": "^0", "replace": "+49" } } }, { "rule": { "reject": { "pattern": "^\\+490900" } } }],
        "outSipUsername": "out", "outSipPassword": "out-secret", "simulation": null,
    })
}

/// A trunk with everything.
async fn trunk(world: &World) -> Value {
    let mut input = everything();
    input["domainId"] = json!(world.domain);
    input["name"] = json!("trunk");
    input["type"] = json!("THIRD_PARTY");
    let select = format!("endpoint {{ {ENDPOINT} }}");
    let mut payload = world.api.mutate("createEndpoint", &select, input).await;
    assert_eq!(payload["userErrors"], json!([]));
    payload["endpoint"].take()
}

/// Checks that a change of an endpoint is refused for one reason at one field, and that nothing of it is stored.
async fn refused_and_kept(api: &Api, id: &str, field: &str, input: Value, code: &str, at: &str) {
    let before = api.endpoint(id).await;
    api.refused_at(field, input, code, at).await;
    assert_eq!(api.endpoint(id).await, before);
}

/// The `changedFields` of each `EndpointUpdated` of the log.
async fn told(api: &Api) -> Vec<Value> {
    let query = "{ events(first: 1000, filter: { types: [ENDPOINT_UPDATED] }) { nodes { ... on EndpointUpdated { changedFields } } } }";
    let data = api.data(query, json!({})).await;
    list(&data["events"]["nodes"])
        .iter()
        .map(|event| event["changedFields"].clone())
        .collect()
}

both_backends! {
    /// Five characters are too few, also for a new password of an old endpoint.
    async fn a018_a_short_password_is_refused_on_update(database: Database) {
        let world = World::start(&database).await;
        for password in ["12345", "", "abcdé"] {
            let patch = json!({ "credentials": { "password": password } });
            refused_and_kept(&world.api, &world.bob.id, "updateEndpoint", json!({ "id": world.bob.id, "patch": patch }), "VALIDATION", "patch.credentials.password").await;
        }
    }

    /// There are no read-only fields in a patch; in a replacement they are accepted only as they are.
    async fn a024_read_only_fields_are_not_in_a_patch(database: Database) {
        let world = World::start(&database).await;
        for field in ["realm", "username", "sipUri", "id", "type", "domainId", "accountId", "voipToken", "cpsLimit", "createdAt"] {
            let mut patch = json!({});
            patch[field] = json!("x");
            let (query, variables) = crate::harness::graphql::mutation("updateEndpoint", "", json!({ "id": world.bob.id, "patch": patch }));
            let response = world.api.gql(&query, variables).await;
            assert!(matches!(code(&response), Some("BAD_USER_INPUT" | "GRAPHQL_VALIDATION_FAILED")), "{response}");
        }
        assert_eq!(world.api.endpoint(&world.bob.id).await["version"], 1);
    }

    /// An unknown application is refused at its field.
    async fn a026_an_unknown_application_is_not_found(database: Database) {
        let world = World::start(&database).await;
        let input = json!({ "domainId": world.domain, "name": "carol", "credentials": { "password": "secret" }, "applicationId": "nonsense" });
        world.api.refused_at("createEndpoint", input, "NOT_FOUND", "applicationId").await;
        let input = json!({ "id": world.bob.id, "patch": { "applicationId": "nonsense" } });
        refused_and_kept(&world.api, &world.bob.id, "updateEndpoint", input, "NOT_FOUND", "patch.applicationId").await;
    }

    /// A name stays.
    async fn b030_a_name_cannot_be_changed(database: Database) {
        let world = World::start(&database).await;
        for name in [json!("robert"), json!("%62ob"), json!(null)] {
            let input = json!({ "id": world.bob.id, "patch": { "name": name, "displayName": "Robert" } });
            refused_and_kept(&world.api, &world.bob.id, "updateEndpoint", input, "IMMUTABLE_FIELD", "patch.name").await;
        }
        assert_eq!(told(&world.api).await, [json!(null); 0]);
    }

    /// The name as it is may be given.
    async fn b031_the_same_name_changes_nothing(database: Database) {
        let world = World::start(&database).await;
        let before = world.api.endpoint(&world.bob.id).await;
        let payload = updated(&world.api, json!({ "id": world.bob.id, "patch": { "name": "bob" } })).await;
        assert_eq!((&payload["endpoint"], &payload["changedFields"]), (&before, &json!([])));
    }

    /// Every type but the operator's gateway can be relabelled.
    async fn b032_every_type_has_a_label(database: Database) {
        let world = World::start(&database).await;
        for kind in HOSTED.iter().chain(&["SIP_USER", "THIRD_PARTY", "VOICEMAIL"]) {
            let id = made(&world.api, &world.domain, &kind.to_lowercase(), kind).await;
            let endpoint = patched(&world.api, &id, json!({ "displayName": "New" })).await;
            assert_eq!((&endpoint["displayName"], &endpoint["type"]), (&json!("New"), &json!(kind)));
        }
    }

    /// A change of one field leaves the others, and the password.
    async fn b033_a_change_of_one_field_leaves_the_rest(database: Database) {
        let world = World::start(&database).await;
        let before = patched(&world.api, &world.bob.id, json!({ "displayName": "Bob", "enabled": true })).await;
        let after = patched(&world.api, &world.bob.id, json!({ "description": "new" })).await;
        let mut expected = before.clone();
        for field in ["description", "version", "updatedAt"] {
            expected[field] = after[field].clone();
        }
        assert_eq!(after, expected);
        assert_eq!((&after["description"], &after["version"]), (&json!("new"), &json!(3)));
        Phone::udp(&world.server, &world.bob).await.come_online().await;
    }

    /// The new password registers and the old one does not.
    async fn b034_a_new_password_takes_effect(database: Database) {
        let world = World::start(&database).await;
        let payload = updated(&world.api, json!({ "id": world.bob.id, "patch": { "credentials": { "password": "another-secret" } } })).await;
        assert_eq!(payload["changedFields"], json!(["credentials"]));
        assert_eq!(payload["generatedPassword"], Value::Null);
        let mut old = Phone::udp(&world.server, &world.bob).await;
        assert_eq!(old.register(600).await.status(), 401);
        let new = Account { password: "another-secret".into(), ..world.bob.clone() };
        Phone::udp(&world.server, &new).await.come_online().await;
        // One that is made here is told once.
        let payload = updated(&world.api, json!({ "id": world.bob.id, "patch": { "credentials": { "generate": true } } })).await;
        let generated = Account { password: text(&payload["generatedPassword"]), ..world.bob.clone() };
        assert!(generated.password.len() >= 20);
        Phone::udp(&world.server, &generated).await.come_online().await;
        assert_eq!(Phone::udp(&world.server, &new).await.register(600).await.status(), 401);
    }

    /// Case matters in a password.
    async fn b035_case_matters_in_a_password(database: Database) {
        let world = World::start(&database).await;
        patched(&world.api, &world.bob.id, json!({ "credentials": { "password": "Secret1" } })).await;
        let with = |password: &str| Account { password: password.into(), ..world.bob.clone() };
        assert_eq!(Phone::udp(&world.server, &with("secret1")).await.register(600).await.status(), 401);
        Phone::udp(&world.server, &with("Secret1")).await.come_online().await;
    }

    /// A password outside ASCII registers as UTF-8 and as ISO 8859-1, with either digest.
    async fn b036_both_encodings_of_a_password_register(database: Database) {
        let world = World::start(&database).await;
        patched(&world.api, &world.bob.id, json!({ "credentials": { "password": "passwörd" } })).await;
        for (password, status) in [(&b"passw\xc3\xb6rd"[..], 200), (&b"passw\xf6rd"[..], 200), (&b"password"[..], 401)] {
            let mut phone = Phone::udp(&world.server, &world.bob).await;
            let request = phone.register_request().with("Contact", format!("<{}>", phone.contact()));
            let challenge = phone.challenge(&request).await;
            let credentials = challenge.response("bob", password, "REGISTER", "sip:example.test", 1);
            let signed = phone.sign(request, &challenge).set("Authorization", Some(&credentials));
            assert_eq!(phone.ask(&signed).await.status(), status, "{password:?}");
        }
    }

    /// Disabling takes the contacts at once, with their events; the same digest is refused then.
    async fn b039_disabling_removes_the_contacts(database: Database) {
        let world = World::start(&database).await;
        let mut phone = Phone::udp(&world.server, &world.bob).await;
        phone.come_online().await;
        let mut feed = Feed::open(&world.server, &world.api.event_cursor().await).await;
        let endpoint = patched(&world.api, &world.bob.id, json!({ "enabled": false })).await;
        assert_eq!((&endpoint["enabled"], &endpoint["state"], &endpoint["contacts"]), (&json!(false), &json!("OFFLINE"), &json!([])));
        assert_eq!(world.api.endpoint(&world.bob.id).await, endpoint);
        assert_eq!(feed.next("ENDPOINT_UPDATED").await["changedFields"], json!(["enabled"]));
        assert_eq!(feed.next("CONTACT_STATUS_CHANGED").await["contactStatus"], "REMOVED");
        assert_eq!(feed.next("ENDPOINT_STATE_CHANGED").await["state"], "OFFLINE");
        assert_eq!(phone.register(600).await.status(), 403);
        assert_eq!(world.api.endpoint(&world.bob.id).await["state"], "OFFLINE");
    }

    /// Neither to nor from a disabled endpoint, through the API or by SIP.
    async fn b040_a_disabled_endpoint_takes_and_sends_nothing(database: Database) {
        let world = World::start(&database).await;
        let mut alice = Phone::udp(&world.server, &world.alice).await;
        let mut bob = Phone::udp(&world.server, &world.bob).await;
        alice.come_online().await;
        bob.come_online().await;
        patched(&world.api, &world.bob.id, json!({ "enabled": false })).await;
        for (from, to, at) in [(&world.alice, &world.bob, "to"), (&world.bob, &world.alice, "from")] {
            let input = json!({ "from": { "endpointId": from.id }, "to": { "endpointId": to.id }, "body": "x" });
            let errors = world.api.refused("sendMessage", input).await;
            assert_eq!((code_of(&errors[0]).as_str(), field_of(&errors[0]).starts_with(at)), ("ENDPOINT_DISABLED", true), "{errors:?}");
        }
        assert!(alice.message(&world.bob.uri(), "x").await.status() >= 400);
        assert!(bob.message(&world.alice.uri(), "x").await.status() >= 400);
        assert!(world.api.messages(json!(null)).await.is_empty());
    }

    /// Enabled again, the same credentials register.
    async fn b041_enabled_again_it_registers(database: Database) {
        let world = World::start(&database).await;
        let mut phone = Phone::udp(&world.server, &world.bob).await;
        phone.come_online().await;
        patched(&world.api, &world.bob.id, json!({ "enabled": false })).await;
        assert_eq!(phone.register(600).await.status(), 403);
        let endpoint = patched(&world.api, &world.bob.id, json!({ "enabled": null })).await;
        assert_eq!((&endpoint["enabled"], &endpoint["state"]), (&json!(true), &json!("OFFLINE")), "null is the default");
        phone.come_online().await;
        assert_eq!(world.api.endpoint(&world.bob.id).await["state"], "ONLINE");
    }

    /// One field changes, all else is as it was, and the whole object comes back.
    async fn c046_one_field_changes_alone(database: Database) {
        let world = World::start(&database).await;
        let before = trunk(&world).await;
        let id = text(&before["id"]);
        for (field, value) in [("capacity", json!(9)), ("callerId", json!(null)), ("codecs", json!(["G722"])), ("attributes", json!({ "z": 0 }))] {
            let before = world.api.endpoint(&id).await;
            let mut patch = json!({});
            patch[field] = value.clone();
            let payload = updated(&world.api, json!({ "id": id, "patch": patch, "nestedObjects": "REPLACE" })).await;
            assert_eq!(payload["changedFields"], json!([field]));
            let after = &payload["endpoint"];
            let mut expected = before.clone();
            for changed in [field, "version", "updatedAt"] {
                expected[changed] = after[changed].clone();
            }
            if field == "codecs" {
                expected["effectiveCodecs"] = value.clone();
            }
            assert_eq!((after, &after[field]), (&expected, &value));
            assert_eq!(&world.api.endpoint(&id).await, after);
        }
    }

    /// Nothing is nothing: no version, no event.
    async fn c047_an_empty_update_is_no_event(database: Database) {
        let world = World::start(&database).await;
        let before = trunk(&world).await;
        let id = text(&before["id"]);
        let mut same = everything();
        for secret in ["outSipPassword", "addresses", "transformations"] {
            same.as_object_mut().unwrap().remove(secret);
        }
        for patch in [json!({}), same, json!({ "addresses": [], "credentials": {} })] {
            let payload = updated(&world.api, json!({ "id": id, "patch": patch })).await;
            assert_eq!((&payload["endpoint"], &payload["changedFields"]), (&before, &json!([])), "{patch}");
        }
        assert_eq!(told(&world.api).await, [json!(null); 0]);
        patched(&world.api, &id, json!({ "capacity": 8 })).await;
        assert_eq!(told(&world.api).await, [json!(["capacity"])]);
    }

    /// An unknown id is not found.
    async fn c048_an_unknown_endpoint_is_not_changed(database: Database) {
        let world = World::start(&database).await;
        let whole = whole(&world.api.endpoint(&world.bob.id).await);
        for id in ["", "nonsense", "RQAAAAAAAAAAAAAAAAAAAAA", &world.domain] {
            world.api.refused_at("updateEndpoint", json!({ "id": id, "patch": {} }), "NOT_FOUND", "id").await;
            world.api.refused_at("replaceEndpoint", json!({ "id": id, "endpoint": whole }), "NOT_FOUND", "id").await;
        }
    }

    /// A replacement stores exactly what it says; secrets that it does not name stay, null removes them.
    async fn c049_a_replacement_is_exactly_stored(database: Database) {
        let world = World::start(&database).await;
        let before = trunk(&world).await;
        let id = text(&before["id"]);
        let select = format!("endpoint {{ {ENDPOINT} }} changedFields");
        let mut input = whole(&before);
        // As it is: nothing changes, and the secrets stay.
        let payload = world.api.mutate("replaceEndpoint", &select, json!({ "id": id, "endpoint": input })).await;
        assert_eq!((&payload["endpoint"], &payload["changedFields"]), (&before, &json!([])), "{payload}");
        assert_eq!((&before["hasOutSipPassword"], &before["addresses"][0]["hasSipPassword"]), (&json!(true), &json!(true)));
        for (field, value) in [
            ("displayName", json!(null)), ("description", json!("d")), ("callerId", json!(null)), ("sendAs", json!("+12125550100")),
            ("allowOutside", json!(false)), ("ciphers", json!([])), ("codecs", json!(null)), ("encryption", json!("REQUIRED")), ("capacity", json!(0)),
            ("authRequired", json!(true)), ("attributes", json!({})), ("properties", json!({ "n": null })), ("outSipUsername", json!(null)),
            ("digestAlgorithms", json!(["SHA_256"])), ("outSipPassword", json!(null)), ("transformations", json!([])),
        ] {
            input[field] = value;
        }
        // The second address first, the first one with its id only what is given, and its secret.
        input["addresses"] = json!([input["addresses"][1], { "id": before["addresses"][0]["id"], "ip": "198.51.100.1", "priority": 4 }]);
        let payload = world.api.mutate("replaceEndpoint", &select, json!({ "id": id, "endpoint": input })).await;
        assert_eq!(payload["userErrors"], json!([]));
        let after = &payload["endpoint"];
        assert_eq!(after["addresses"][1], json!({ "id": before["addresses"][0]["id"], "direction": "ANY", "ip": "198.51.100.1", "port": 5060, "dstPort": 5060,
            "priority": 4, "transport": "UDP", "srtp": false, "locationSid": null, "sipUsername": null, "hasSipPassword": true }));
        assert_eq!(after["addresses"][0], before["addresses"][1]);
        assert_eq!((&after["hasOutSipPassword"], &after["ciphers"], &after["codecs"]), (&json!(false), &json!(null), &json!(null)));
        for field in ["displayName", "description", "sendAs", "allowOutside", "encryption", "capacity", "authRequired", "attributes", "properties", "digestAlgorithms"] {
            assert_eq!(after[field], input[field], "{field}");
        }
        for field in ["callerId", "outSipUsername", "transformations"] {
            assert_eq!(after[field], input[field], "{field}");
        }
        assert_eq!(&world.api.endpoint(&id).await, after);
        let application = world.api.mutate("createApplication", "application { id }", json!({ "name": "one" })).await["application"]["id"].clone();
        input["applicationId"] = application.clone();
        input["addresses"] = json!([{ "id": before["addresses"][0]["id"], "ip": "198.51.100.1", "sipPassword": null }]);
        let select = "endpoint { application { id } addresses { hasSipPassword } }";
        let payload = world.api.mutate("replaceEndpoint", select, json!({ "id": id, "endpoint": input })).await;
        assert_eq!(payload["endpoint"], json!({ "application": { "id": application }, "addresses": [{ "hasSipPassword": false }] }), "{payload}");
        // A password can be left out but not removed.
        let bob = world.api.endpoint(&world.bob.id).await;
        let mut input = whole(&bob);
        input["credentials"] = json!({ "password": null });
        refused_and_kept(&world.api, &world.bob.id, "replaceEndpoint", json!({ "id": world.bob.id, "endpoint": input }), "VALIDATION", "endpoint.credentials.password").await;
        input["credentials"] = json!({});
        world.api.mutate("replaceEndpoint", "", json!({ "id": world.bob.id, "endpoint": input })).await;
        Phone::udp(&world.server, &world.bob).await.come_online().await;
    }

    /// Whatever is missing is named, each field of it.
    async fn c050_a_replacement_names_all_that_is_missing(database: Database) {
        let world = World::start(&database).await;
        let before = trunk(&world).await;
        let id = text(&before["id"]);
        let full = whole(&before);
        let fields: Vec<String> = full.as_object().unwrap().keys().cloned().collect();
        for field in &fields {
            let mut input = full.clone();
            input.as_object_mut().unwrap().remove(field);
            input["capacity"] = if field == "capacity" { Value::Null } else { json!(99) };
            if field == "capacity" {
                input.as_object_mut().unwrap().remove(field);
            }
            refused_and_kept(&world.api, &id, "replaceEndpoint", json!({ "id": id, "endpoint": input }), "VALIDATION", &format!("endpoint.{field}")).await;
        }
        let errors = world.api.refused("replaceEndpoint", json!({ "id": id, "endpoint": {} })).await;
        let mut named: Vec<String> = errors.iter().map(|e| field_of(e).replace("endpoint.", "")).collect();
        named.sort();
        assert_eq!(named, fields);
        // Of a hosted type only what it lets change must be there.
        let conference = made(&world.api, &world.domain, "conference", "CONFERENCE").await;
        let input = json!({ "displayName": "C", "description": null, "enabled": true, "capacity": 3 });
        let payload = world.api.mutate("replaceEndpoint", "endpoint { displayName capacity }", json!({ "id": conference, "endpoint": input })).await;
        assert_eq!(payload["endpoint"], json!({ "displayName": "C", "capacity": 3 }), "{payload}");
    }

    /// Read-only fields may be given as they are.
    async fn c051_read_only_fields_as_they_are_are_accepted(database: Database) {
        let world = World::start(&database).await;
        let endpoint = trunk(&world).await;
        let query = "query($id: ID!) { endpoint(by: { id: $id }) { voipToken cpsLimit account { id } } }";
        let data = world.api.data(query, json!({ "id": endpoint["id"] })).await;
        let mut input = whole(&endpoint);
        for field in ["name", "id", "type", "createdAt", "cpsLimit"] {
            input[field] = endpoint[field].clone();
        }
        input["domainId"] = json!(world.domain);
        input["accountId"] = data["endpoint"]["account"]["id"].clone();
        input["voipToken"] = data["endpoint"]["voipToken"].clone();
        assert!(input["voipToken"].is_string());
        input["description"] = json!("changed");
        let payload = world.api.mutate("replaceEndpoint", "endpoint { description }", json!({ "id": endpoint["id"], "endpoint": input })).await;
        assert_eq!(payload["endpoint"]["description"], "changed", "{payload}");
    }

    /// Another value of a read-only field refuses the whole.
    async fn c052_another_value_of_a_read_only_field_is_refused(database: Database) {
        let world = World::start(&database).await;
        let endpoint = trunk(&world).await;
        let id = text(&endpoint["id"]);
        for (field, value) in [
            ("id", json!(world.bob.id)), ("type", json!("SIP_USER")), ("domainId", json!("nonsense")), ("accountId", json!("nonsense")),
            ("voipToken", json!("00000000-0000-4000-8000-000000000000")), ("voipToken", json!(null)), ("cpsLimit", json!(1)), ("createdAt", json!("2020-01-01T00:00:00Z")),
        ] {
            let mut input = whole(&endpoint);
            input["description"] = json!("changed");
            input[field] = value;
            refused_and_kept(&world.api, &id, "replaceEndpoint", json!({ "id": id, "endpoint": input }), "READ_ONLY_FIELD", &format!("endpoint.{field}")).await;
        }
        let mut input = whole(&endpoint);
        input["name"] = json!("other");
        refused_and_kept(&world.api, &id, "replaceEndpoint", json!({ "id": id, "endpoint": input }), "IMMUTABLE_FIELD", "endpoint.name").await;
    }

    /// Maps are merged by key.
    async fn c053_attributes_are_merged(database: Database) {
        let world = World::start(&database).await;
        patched(&world.api, &world.bob.id, json!({ "attributes": { "a": 1 } })).await;
        let endpoint = patched(&world.api, &world.bob.id, json!({ "attributes": { "b": 2 } })).await;
        assert_eq!(endpoint["attributes"], json!({ "a": 1, "b": 2 }));
    }

    /// Or taken as they are.
    async fn c054_attributes_are_replaced(database: Database) {
        let world = World::start(&database).await;
        patched(&world.api, &world.bob.id, json!({ "attributes": { "a": 1 } })).await;
        let endpoint = patched_whole(&world.api, &world.bob.id, json!({ "attributes": { "b": 2 } })).await;
        assert_eq!(endpoint["attributes"], json!({ "b": 2 }));
    }

    /// Null deletes a key when maps are merged; an empty map empties when they are replaced.
    async fn c055_null_deletes_a_key(database: Database) {
        let world = World::start(&database).await;
        patched(&world.api, &world.bob.id, json!({ "attributes": { "a": 1, "b": { "c": 0.1 } } })).await;
        let endpoint = patched(&world.api, &world.bob.id, json!({ "attributes": { "a": null, "none": null } })).await;
        assert_eq!(endpoint["attributes"], json!({ "b": { "c": 0.1 } }));
        let endpoint = patched_whole(&world.api, &world.bob.id, json!({ "attributes": {} })).await;
        assert_eq!(endpoint["attributes"], json!({}));
        patched(&world.api, &world.bob.id, json!({ "attributes": { "a": 1 } })).await;
        let endpoint = patched(&world.api, &world.bob.id, json!({ "attributes": null })).await;
        assert_eq!(endpoint["attributes"], json!({}), "null is the default");
    }

    /// Addresses: one without an id is appended, one with an id is patched, REPLACE leaves exactly the list.
    async fn c056_addresses_are_merged_by_id(database: Database) {
        let world = World::start(&database).await;
        let id = text(&trunk(&world).await["id"]);
        let before = world.api.endpoint(&id).await;
        let first = before["addresses"][0].clone();
        let after = patched(&world.api, &id, json!({ "addresses": [{ "ip": "gw.example.com" }, { "id": first["id"], "port": 5070 }] })).await;
        let mut expected = first.clone();
        expected["port"] = json!(5070);
        assert_eq!((&after["addresses"][0], &after["addresses"][1]), (&expected, &before["addresses"][1]));
        assert_eq!((&after["addresses"][2]["ip"], list(&after["addresses"]).len()), (&json!("gw.example.com"), 3));
        let replaced = patched_whole(&world.api, &id, json!({ "addresses": [{ "ip": "192.0.2.9" }, { "id": first["id"], "ip": "192.0.2.1" }] })).await;
        let ips: Vec<String> = list(&replaced["addresses"]).iter().map(|a| text(&a["ip"])).collect();
        assert_eq!(ips, ["192.0.2.9", "192.0.2.1"]);
        assert_eq!((&replaced["addresses"][1]["id"], &replaced["addresses"][1]["hasSipPassword"]), (&first["id"], &json!(true)));
        assert_eq!(patched_whole(&world.api, &id, json!({ "addresses": [] })).await["addresses"], json!([]));
    }

    /// An id that no address has.
    async fn c057_an_unknown_address_is_not_found(database: Database) {
        let world = World::start(&database).await;
        let endpoint = trunk(&world).await;
        let id = text(&endpoint["id"]);
        let foreign = &endpoint["transformations"][0]["id"];
        for unknown in [json!("nonsense"), foreign.clone()] {
            let patch = json!({ "capacity": 1, "addresses": [{ "ip": "192.0.2.7" }, { "id": unknown, "port": 1 }] });
            refused_and_kept(&world.api, &id, "updateEndpoint", json!({ "id": id, "patch": patch }), "NOT_FOUND", "patch.addresses.1.id").await;
        }
        let known = &endpoint["addresses"][0]["id"];
        let patch = json!({ "addresses": [{ "id": known }, { "id": known }] });
        refused_and_kept(&world.api, &id, "updateEndpoint", json!({ "id": id, "patch": patch }), "VALIDATION", "patch.addresses.1.id").await;
    }

    /// Properties and transformations follow the same rules; the order of transformations is kept.
    async fn c058_properties_and_transformations_follow(database: Database) {
        let world = World::start(&database).await;
        let before = trunk(&world).await;
        let id = text(&before["id"]);
        let rules = |endpoint: &Value| -> Vec<String> { list(&endpoint["transformations"]).iter().map(|t| text(&t["rule"]["kind"])).collect() };
        assert_eq!(rules(&before), ["REWRITE", "REJECT"]);
        let first = &before["transformations"][0]["id"];
        let patch = json!({ "properties": { "p": null, "r": [1] }, "transformations": [
            { "rule": { "set": { "value": "+1" } } }, { "id": first, "rule": { "condition": { "pattern": "^x", "negate": true } } }] });
        let after = patched(&world.api, &id, patch).await;
        assert_eq!(after["properties"], json!({ "r": [1] }));
        assert_eq!(rules(&after), ["CONDITION", "REJECT", "SET"]);
        assert_eq!((&after["transformations"][0]["id"], &after["transformations"][0]["rule"]["negate"]), (first, &json!(true)));
        let replaced = patched_whole(&world.api, &id, json!({ "transformations": [{ "rule": { "reject": { "pattern": "a" } } }, { "id": first, "rule": { "set": { "value": "+2" } } }] })).await;
        assert_eq!(rules(&replaced), ["REJECT", "SET"]);
        let patch = json!({ "transformations": [{ "id": "nonsense", "rule": { "set": { "value": "+2" } } }] });
        refused_and_kept(&world.api, &id, "updateEndpoint", json!({ "id": id, "patch": patch }), "NOT_FOUND", "patch.transformations.0.id").await;
        let patch = json!({ "transformations": [{ "rule": { "set": { "value": "+2" } } }, { "rule": { "reject": { "pattern": "(" } } }] });
        refused_and_kept(&world.api, &id, "updateEndpoint", json!({ "id": id, "patch": patch }), "VALIDATION", "patch.transformations.1.rule.reject.pattern").await;
        assert_eq!(patched_whole(&world.api, &id, json!({ "properties": { "z": 1 } })).await["properties"], json!({ "z": 1 }));
        assert_eq!(patched_whole(&world.api, &id, json!({ "properties": {} })).await["properties"], json!({}));
        assert_eq!(patched_whole(&world.api, &id, json!({ "transformations": [] })).await["transformations"], json!([]));
    }

    /// There are two modes.
    async fn c059_there_are_two_modes_of_nesting(database: Database) {
        let world = World::start(&database).await;
        for mode in ["replace", "APPEND", ""] {
            let (query, variables) = crate::harness::graphql::mutation("updateEndpoint", "", json!({ "id": world.bob.id, "patch": {}, "nestedObjects": mode }));
            let response = world.api.gql(&query, variables).await;
            assert!(matches!(code(&response), Some("BAD_USER_INPUT" | "GRAPHQL_VALIDATION_FAILED")), "{response}");
        }
    }

    /// An address needs its place alone.
    async fn c060_an_address_has_defaults(database: Database) {
        let world = World::start(&database).await;
        let endpoint = patched(&world.api, &world.bob.id, json!({ "addresses": [{ "ip": "192.0.2.1" }] })).await;
        let mut address = endpoint["addresses"][0].clone();
        assert!(!text(&address["id"].take()).is_empty());
        let expected = json!({ "id": null, "direction": "ANY", "ip": "192.0.2.1", "port": 5060, "dstPort": 5060, "priority": 0, "transport": "UDP",
            "srtp": false, "locationSid": null, "sipUsername": null, "hasSipPassword": false });
        assert_eq!(address, expected);
    }

    /// Ports, hosts and enumerations of addresses are checked, at their index.
    async fn c061_a_wrong_address_is_refused_at_its_index(database: Database) {
        let world = World::start(&database).await;
        let id = &world.bob.id;
        for (wrong, at) in [
            (json!({ "ip": "192.0.2.1", "port": 0 }), "port"),
            (json!({ "ip": "192.0.2.1", "port": 65536 }), "port"),
            (json!({ "ip": "192.0.2.1", "dstPort": -1 }), "dstPort"),
            (json!({ "ip": "192.0.2.1", "priority": -1 }), "priority"),
            (json!({ "ip": "256.1.1.1" }), "ip"),
            (json!({ "ip": "a b" }), "ip"),
            (json!({ "ip": "" }), "ip"),
            (json!({}), "ip"),
            (json!({ "ip": "-a.example" }), "ip"),
        ] {
            let patch = json!({ "addresses": [{ "ip": "192.0.2.1" }, wrong] });
            refused_and_kept(&world.api, id, "updateEndpoint", json!({ "id": id, "patch": patch }), "VALIDATION", &format!("patch.addresses.1.{at}")).await;
        }
        for (field, value) in [("transport", "SCTP"), ("transport", "udp"), ("direction", "BOTH")] {
            let mut address = json!({ "ip": "192.0.2.1" });
            address[field] = json!(value);
            let (query, variables) = crate::harness::graphql::mutation("updateEndpoint", "", json!({ "id": id, "patch": { "addresses": [address] } }));
            let response = world.api.gql(&query, variables).await;
            assert!(matches!(code(&response), Some("BAD_USER_INPUT" | "GRAPHQL_VALIDATION_FAILED")), "{response}");
            let message = text(&response["errors"][0]["message"]);
            assert!(message.contains(value) && message.contains(&format!("addresses.0.{field}")), "{response}");
        }
        let ips = ["2001:db8::1", "[2001:db8::2]", "gw.example.com", "localhost"];
        let addresses: Vec<Value> = ips.iter().map(|ip| json!({ "ip": ip, "port": 65535 })).collect();
        let endpoint = patched(&world.api, id, json!({ "addresses": addresses })).await;
        let seen: Vec<String> = list(&endpoint["addresses"]).iter().map(|a| text(&a["ip"])).collect();
        assert_eq!(seen, ips);
    }

    /// What a type does not have a say in is refused, in both kinds of change, with what it has.
    async fn c062_addresses_of_a_hosted_type_are_refused(database: Database) {
        let world = World::start(&database).await;
        for kind in HOSTED {
            let id = made(&world.api, &world.domain, &kind.to_lowercase(), kind).await;
            let patch = json!({ "addresses": [{ "ip": "192.0.2.1" }] });
            let input = json!({ "id": id, "patch": patch });
            refused_and_kept(&world.api, &id, "updateEndpoint", input.clone(), "FIELD_NOT_UPDATABLE_FOR_TYPE", "patch.addresses").await;
            let errors = world.api.refused("updateEndpoint", input).await;
            assert_eq!(errors[0]["detail"]["writableFields"], json!(["displayName", "description", "enabled", "capacity"]));
            let mut input = whole(&world.api.endpoint(&id).await);
            input["addresses"] = patch["addresses"].clone();
            refused_and_kept(&world.api, &id, "replaceEndpoint", json!({ "id": id, "endpoint": input }), "FIELD_NOT_UPDATABLE_FOR_TYPE", "endpoint.addresses").await;
        }
    }

    /// Label and capacity of hosted types.
    async fn c063_label_and_capacity_of_hosted_types(database: Database) {
        let world = World::start(&database).await;
        for kind in HOSTED {
            let id = made(&world.api, &world.domain, &kind.to_lowercase(), kind).await;
            let endpoint = patched(&world.api, &id, json!({ "displayName": "X", "capacity": 5, "description": "d", "enabled": false })).await;
            assert_eq!((&endpoint["displayName"], &endpoint["capacity"], &endpoint["enabled"]), (&json!("X"), &json!(5), &json!(false)));
        }
    }

    /// A forbidden field takes the permitted one with it.
    async fn c064_a_forbidden_field_refuses_all(database: Database) {
        let world = World::start(&database).await;
        let id = made(&world.api, &world.domain, "mediator", "MEDIATOR").await;
        let input = json!({ "id": id, "patch": { "displayName": "X", "attributes": { "a": 1 } } });
        refused_and_kept(&world.api, &id, "updateEndpoint", input, "FIELD_NOT_UPDATABLE_FOR_TYPE", "patch.attributes").await;
        // All that is wrong comes at once, each at its field.
        let patch = json!({ "name": "x", "capacity": -1, "callerId": "a\r\nb", "sendAs": "12", "addresses": [{ "ip": "192.0.2.1" }] });
        let errors = world.api.refused("updateEndpoint", json!({ "id": id, "patch": patch, "version": 7 })).await;
        let mut seen: Vec<(String, String)> = errors.iter().map(|e| (field_of(e), code_of(e))).collect();
        seen.sort();
        let expected = [
            ("patch.addresses", "FIELD_NOT_UPDATABLE_FOR_TYPE"), ("patch.callerId", "FIELD_NOT_UPDATABLE_FOR_TYPE"), ("patch.callerId", "VALIDATION"),
            ("patch.capacity", "VALIDATION"), ("patch.name", "IMMUTABLE_FIELD"), ("patch.sendAs", "FIELD_NOT_UPDATABLE_FOR_TYPE"), ("patch.sendAs", "VALIDATION"), ("version", "CONFLICT"),
        ];
        let expected: Vec<_> = expected.iter().map(|(f, c)| ((*f).to_owned(), (*c).to_owned())).collect();
        assert_eq!(seen, expected);
    }

    /// A voice mailbox has four properties.
    async fn c065_a_voice_mailbox_has_four_properties(database: Database) {
        let world = World::start(&database).await;
        let id = made(&world.api, &world.domain, "box", "VOICEMAIL").await;
        let properties = json!({ "callback_method": "POST", "callback_url": "https://hooks.example.com:8443/vm?x=1", "container_sid": "c-1", "greeting": "hello" });
        let endpoint = patched(&world.api, &id, json!({ "properties": properties, "enabled": false, "description": "d" })).await;
        assert_eq!(endpoint["properties"], properties);
        let errors = world.api.refused("updateEndpoint", json!({ "id": id, "patch": { "properties": { "greeting": "x", "pin.code": "1" } } })).await;
        assert_eq!((code_of(&errors[0]).as_str(), &errors[0]["field"]), ("FIELD_NOT_UPDATABLE_FOR_TYPE", &json!(["patch", "properties", "pin.code"])));
        assert_eq!(world.api.endpoint(&id).await, endpoint);
        let input = json!({ "id": id, "patch": { "attributes": { "a": 1 } } });
        refused_and_kept(&world.api, &id, "updateEndpoint", input, "FIELD_NOT_UPDATABLE_FOR_TYPE", "patch.attributes").await;
    }

    /// The callback of a voice mailbox is GET or POST of an HTTP address.
    async fn c066_a_callback_is_a_request(database: Database) {
        let world = World::start(&database).await;
        let id = made(&world.api, &world.domain, "box", "VOICEMAIL").await;
        for (key, value) in [
            ("callback_method", json!("PUT")), ("callback_method", json!("get")), ("callback_method", json!(1)), ("callback_url", json!("ftp://example.com/")),
            ("callback_url", json!("example.com")), ("callback_url", json!("http://")), ("callback_url", json!("https://a b/")), ("callback_url", json!("javascript:alert(1)")), ("greeting", json!([])),
        ] {
            let mut properties = json!({});
            properties[key] = value;
            let input = json!({ "id": id, "patch": { "properties": properties } });
            refused_and_kept(&world.api, &id, "updateEndpoint", input, "VALIDATION", &format!("patch.properties.{key}")).await;
        }
        // null removes a property, but is none.
        let both = json!({ "callback_method": "POST", "callback_url": "https://example.com/" });
        assert_eq!(patched(&world.api, &id, json!({ "properties": both })).await["properties"], both);
        let input = json!({ "id": id, "nestedObjects": "REPLACE", "patch": { "properties": { "callback_method": null } } });
        refused_and_kept(&world.api, &id, "updateEndpoint", input, "VALIDATION", "patch.properties.callback_method").await;
        let patch = json!({ "properties": { "callback_method": null } });
        assert_eq!(patched(&world.api, &id, patch).await["properties"], json!({ "callback_url": "https://example.com/" }));
    }

    /// Everything of a trunk can be changed.
    async fn c067_everything_of_a_trunk_can_be_changed(database: Database) {
        let world = World::start(&database).await;
        let id = made(&world.api, &world.domain, "trunk", "THIRD_PARTY").await;
        let before = world.api.endpoint(&id).await;
        let patch = everything();
        let payload = updated(&world.api, json!({ "id": id, "patch": patch })).await;
        let changed: Vec<String> = list(&payload["changedFields"]).iter().map(text).collect();
        let same = ["enabled", "digestAlgorithms", "simulation"];
        let mut expected: Vec<String> = patch.as_object().unwrap().keys().filter(|k| !same.contains(&k.as_str())).cloned().collect();
        let mut sorted = changed.clone();
        sorted.sort();
        expected.sort();
        assert_eq!(sorted, expected);
        let after = &payload["endpoint"];
        assert_eq!((&after["version"], &after["createdAt"]), (&json!(2), &before["createdAt"]));
        assert!(text(&after["updatedAt"]) > text(&before["updatedAt"]));
        for field in ["displayName", "callerId", "sendAs", "ciphers", "codecs", "capacity", "attributes", "properties", "outSipUsername"] {
            assert_eq!(after[field], patch[field], "{field}");
        }
        // And back to the defaults, by null.
        let nulls: serde_json::Map<String, Value> = patch.as_object().unwrap().keys().map(|k| (k.clone(), Value::Null)).collect();
        let mut back = patched(&world.api, &id, json!(nulls)).await;
        let mut expected = before.clone();
        for field in ["version", "updatedAt"] {
            expected[field] = back[field].take();
            back[field] = expected[field].clone();
        }
        assert_eq!(back, expected);
    }

    /// The operator's gateway is one of an account and nobody's to change.
    async fn c068_a_system_gateway_is_untouchable(database: Database) {
        let world = World::start(&database).await;
        let input = json!({ "domainId": world.domain, "name": "gw", "type": "SYSTEM_GATEWAY" });
        world.api.refused_at("createEndpoint", input, "VALIDATION", "type").await;
        let make = ["system-gateway", "create", "--account", "acme", "--domain", "Example.test"];
        let printed = world.server.cli(&make).await;
        assert!(printed.contains("sip:gateway@example.test"), "{printed}");
        let query = "{ endpoint(by: { sipUri: \"sip:gateway@example.test\" }) { id type voipToken } }";
        let data = world.api.data(query, json!({})).await;
        assert_eq!((&data["endpoint"]["type"], &data["endpoint"]["voipToken"]), (&json!("SYSTEM_GATEWAY"), &json!(null)));
        let id = text(&data["endpoint"]["id"]);
        for patch in [json!({}), json!({ "displayName": "x" }), json!({ "enabled": false })] {
            refused_and_kept(&world.api, &id, "updateEndpoint", json!({ "id": id, "patch": patch }), "FIELD_NOT_UPDATABLE_FOR_TYPE", "id").await;
        }
        let input = json!({ "id": id, "endpoint": whole(&world.api.endpoint(&id).await) });
        refused_and_kept(&world.api, &id, "replaceEndpoint", input, "FIELD_NOT_UPDATABLE_FOR_TYPE", "id").await;
        refused_and_kept(&world.api, &id, "deleteEndpoint", json!({ "id": id }), "FIELD_NOT_UPDATABLE_FOR_TYPE", "id").await;
        // There is one of an account, whatever its name.
        for wrong in [
            &["system-gateway", "create", "--account", "acme", "--domain", "example.test", "--name", "other"][..],
            &["system-gateway", "create", "--account", "acme", "--domain", "nowhere.test"],
        ] {
            let output = world.server.cli_output(wrong).await;
            assert_eq!(output.status.code(), Some(1), "{output:?}");
        }
        // It does not go with its domain either, and nothing of the domain goes then.
        for dry_run in [true, false] {
            let input = json!({ "id": world.domain, "cascade": true, "dryRun": dry_run });
            world.api.refused_at("deleteDomain", input, "CONFLICT", "id").await;
        }
        assert_eq!(world.api.endpoint(&world.bob.id).await["enabled"], true);
        assert_eq!(world.api.endpoints_count().await, 3);
        // The operator can: it is gone with its event, once, and its domain can go too.
        let delete = ["system-gateway", "delete", "--account", "acme"];
        let printed = world.server.cli(&delete).await;
        assert!(printed.contains("sip:gateway@example.test"), "{printed}");
        assert_eq!(crate::harness::graphql::code(&world.api.gql(query, json!({})).await), Some("NOT_FOUND"));
        assert_eq!(world.api.log(&["ENDPOINT_DELETED"]).await.len(), 1);
        let output = world.server.cli_output(&delete).await;
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let payload = world.api.mutate("deleteDomain", "", json!({ "id": world.domain, "cascade": true })).await;
        assert_eq!(payload["userErrors"], json!([]));
    }

    /// Update and manage each are enough.
    async fn c069_update_and_manage_may_change(database: Database) {
        let world = World::start(&database).await;
        for scopes in ["endpoints.update", "endpoints.manage", "voice"] {
            let token = world.server.token_create("acme", scopes, &[]).await;
            let api = world.api.as_token(Some(&token));
            let payload = api.mutate("updateEndpoint", "endpoint { displayName }", json!({ "id": world.bob.id, "patch": { "displayName": scopes } })).await;
            assert_eq!(payload["endpoint"]["displayName"], json!(scopes));
        }
    }

    /// Reading is not changing.
    async fn c070_reading_is_not_changing(database: Database) {
        let world = World::start(&database).await;
        let before = world.api.endpoint(&world.bob.id).await;
        let token = world.server.token_create("acme", "endpoints.read,endpoints.create,endpoints.delete,endpoints.secrets", &[]).await;
        for (token, expected) in [(Some(token.as_str()), "FORBIDDEN"), (None, "UNAUTHENTICATED")] {
            let api = world.api.as_token(token);
            for (field, input) in [
                ("updateEndpoint", json!({ "id": world.bob.id, "patch": { "displayName": "x" } })),
                ("replaceEndpoint", json!({ "id": world.bob.id, "endpoint": whole(&before) })),
            ] {
                let (query, variables) = crate::harness::graphql::mutation(field, "", input);
                let response = api.gql(&query, variables).await;
                assert_eq!(code(&response), Some(expected), "{response}");
                if expected == "FORBIDDEN" {
                    assert_eq!(response["errors"][0]["extensions"]["requiredScopes"], json!(["endpoints.update", "endpoints.manage"]));
                }
            }
        }
        assert_eq!(world.api.endpoint(&world.bob.id).await, before);
    }

    /// Another account's endpoint is not there.
    async fn c072_a_foreign_endpoint_is_not_changed(database: Database) {
        let world = World::start(&database).await;
        let before = world.api.endpoint(&world.bob.id).await;
        world.server.cli(&["account", "create", "rival"]).await;
        let token = world.server.token_create("rival", crate::harness::server::ALL_SCOPES, &[]).await;
        let rival = world.api.as_token(Some(&token));
        rival.refused_at("updateEndpoint", json!({ "id": world.bob.id, "patch": { "displayName": "x" } }), "NOT_FOUND", "id").await;
        rival.refused_at("replaceEndpoint", json!({ "id": world.bob.id, "endpoint": whole(&before) }), "NOT_FOUND", "id").await;
        assert_eq!(world.api.endpoint(&world.bob.id).await, before);
    }

    /// Capacity is not negative.
    async fn c073_capacity_is_not_negative(database: Database) {
        let world = World::start(&database).await;
        let id = &world.bob.id;
        for capacity in [-1, i32::MIN] {
            let input = json!({ "id": id, "patch": { "capacity": capacity } });
            refused_and_kept(&world.api, id, "updateEndpoint", input, "VALIDATION", "patch.capacity").await;
        }
        for capacity in [0, 1, i32::MAX] {
            assert_eq!(patched(&world.api, id, json!({ "capacity": capacity })).await["capacity"], json!(capacity));
        }
    }

    /// Secrets go in and never come out.
    async fn c074_passwords_of_trunks_are_write_only(database: Database) {
        let world = World::start(&database).await;
        let id = made(&world.api, &world.domain, "trunk", "THIRD_PARTY").await;
        let plain = patched(&world.api, &id, json!({ "addresses": [{ "ip": "192.0.2.1" }] })).await;
        assert_eq!((&plain["hasOutSipPassword"], &plain["addresses"][0]["hasSipPassword"]), (&json!(false), &json!(false)));
        let address = &plain["addresses"][0]["id"];
        let patch = json!({ "outSipPassword": "hidden-one", "addresses": [{ "id": address, "sipPassword": "hidden-two" }] });
        let payload = updated(&world.api, json!({ "id": id, "patch": patch })).await;
        assert_eq!(payload["changedFields"], json!(["addresses", "outSipPassword"]));
        let set = &payload["endpoint"];
        assert_eq!((&set["hasOutSipPassword"], &set["addresses"][0]["hasSipPassword"]), (&json!(true), &json!(true)));
        let log = world.api.data("{ events(first: 1000) { nodes { __typename ... on EndpointUpdated { changedFields } } } }", json!({})).await;
        for text in [payload.to_string(), log.to_string(), world.server.log()] {
            assert!(!text.contains("hidden-"), "{text}");
        }
        let patch = json!({ "outSipPassword": null, "addresses": [{ "id": address, "sipPassword": null }] });
        let unset = patched(&world.api, &id, patch).await;
        assert_eq!((&unset["hasOutSipPassword"], &unset["addresses"][0]["hasSipPassword"]), (&json!(false), &json!(false)));
        for wrong in ["", "a\nb"] {
            let input = json!({ "id": id, "patch": { "outSipPassword": wrong } });
            refused_and_kept(&world.api, &id, "updateEndpoint", input, "VALIDATION", "patch.outSipPassword").await;
        }
    }

    /// Who has not seen the newest version is told.
    async fn c075_a_stale_version_is_a_conflict(database: Database) {
        let world = World::start(&database).await;
        let id = &world.bob.id;
        patched(&world.api, id, json!({ "displayName": "one" })).await;
        let input = json!({ "id": id, "patch": { "displayName": "two" }, "version": 1 });
        refused_and_kept(&world.api, id, "updateEndpoint", input.clone(), "CONFLICT", "version").await;
        let errors = world.api.refused("updateEndpoint", input).await;
        assert_eq!(errors[0]["detail"]["currentVersion"], 2);
        let endpoint = whole(&world.api.endpoint(id).await);
        refused_and_kept(&world.api, id, "replaceEndpoint", json!({ "id": id, "endpoint": endpoint, "version": 3 }), "CONFLICT", "version").await;
        let payload = updated(&world.api, json!({ "id": id, "patch": { "displayName": "two" }, "version": 2 })).await;
        assert_eq!(payload["endpoint"]["version"], 3);
        // Of many with one version, one wins.
        let calls = (0..10).map(|i| {
            let input = json!({ "id": id, "patch": { "displayName": format!("n{i}") }, "version": 3 });
            world.api.mutate("updateEndpoint", "endpoint { version }", input)
        });
        let payloads = join_all(calls).await;
        let won = payloads.iter().filter(|p| p["endpoint"]["version"] == 4).count();
        let lost = payloads.iter().filter(|p| p["userErrors"][0]["code"] == "CONFLICT").count();
        assert_eq!((won, lost), (1, 9), "{payloads:?}");
    }

    /// Five cipher suites and any of them; nothing else.
    async fn d089_ciphers_are_five(database: Database) {
        let world = World::start(&database).await;
        let id = &world.bob.id;
        let all = ["AEAD_AES_256_GCM_8", "AES_256_CM_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_80", "AES_256_CM_HMAC_SHA1_32", "AES_CM_128_HMAC_SHA1_32"];
        for list in all.iter().map(|one| vec![*one]).chain([all.to_vec(), vec![all[4], all[0]]]) {
            assert_eq!(patched(&world.api, id, json!({ "ciphers": list })).await["ciphers"], json!(list));
        }
        for wrong in ["AES_256_GCM", "aead_aes_256_gcm_8", ""] {
            let (query, variables) = crate::harness::graphql::mutation("updateEndpoint", "", json!({ "id": id, "patch": { "ciphers": [all[0], wrong] } }));
            let response = world.api.gql(&query, variables).await;
            assert!(matches!(code(&response), Some("BAD_USER_INPUT" | "GRAPHQL_VALIDATION_FAILED")), "{response}");
            assert!(response["errors"][0]["message"].as_str().unwrap().contains(wrong), "{response}");
        }
    }

    /// Six codecs; nothing else.
    async fn d090_codecs_are_six(database: Database) {
        let world = World::start(&database).await;
        let id = &world.bob.id;
        let all = ["OPUS", "G722", "PCMU", "PCMA", "VP8", "H264"];
        for list in all.iter().map(|one| vec![*one]).chain([all.to_vec(), vec![all[5], all[1]]]) {
            assert_eq!(patched(&world.api, id, json!({ "codecs": list })).await["codecs"], json!(list));
        }
        for wrong in ["opus", "G723"] {
            let (query, variables) = crate::harness::graphql::mutation("updateEndpoint", "", json!({ "id": id, "patch": { "codecs": [wrong] } }));
            let response = world.api.gql(&query, variables).await;
            assert!(matches!(code(&response), Some("BAD_USER_INPUT" | "GRAPHQL_VALIDATION_FAILED")), "{response}");
            assert!(response["errors"][0]["message"].as_str().unwrap().contains(wrong), "{response}");
        }
    }

    /// An empty list is the profile's, in both modes.
    async fn d092_an_empty_list_unsets(database: Database) {
        let world = World::start(&database).await;
        let id = &world.bob.id;
        for mode in ["MERGE", "REPLACE"] {
            for none in [json!([]), json!(null)] {
                patched(&world.api, id, json!({ "ciphers": ["AEAD_AES_256_GCM_8"], "codecs": ["OPUS"] })).await;
                let input = json!({ "id": id, "patch": { "ciphers": none, "codecs": none }, "nestedObjects": mode });
                let endpoint = updated(&world.api, input).await["endpoint"].take();
                assert_eq!((&endpoint["ciphers"], &endpoint["codecs"]), (&json!(null), &json!(null)));
            }
        }
    }

    /// A value twice is kept once, where it was first.
    async fn d093_a_value_twice_is_kept_once(database: Database) {
        let world = World::start(&database).await;
        let patch = json!({ "codecs": ["PCMA", "OPUS", "PCMA"], "ciphers": ["AES_CM_128_HMAC_SHA1_32", "AES_CM_128_HMAC_SHA1_32"] });
        let endpoint = patched(&world.api, &world.bob.id, patch).await;
        assert_eq!((&endpoint["codecs"], &endpoint["ciphers"]), (&json!(["PCMA", "OPUS"]), &json!(["AES_CM_128_HMAC_SHA1_32"])));
    }

    /// Three words for encryption; unset is DEFAULT.
    async fn d094_encryption_has_three_values(database: Database) {
        let world = World::start(&database).await;
        let id = &world.bob.id;
        assert_eq!(world.api.endpoint(id).await["encryption"], "DEFAULT");
        for value in ["REQUIRED", "OPTIONAL", "DEFAULT"] {
            assert_eq!(patched(&world.api, id, json!({ "encryption": value })).await["encryption"], json!(value));
        }
        patched(&world.api, id, json!({ "encryption": "OPTIONAL" })).await;
        assert_eq!(patched(&world.api, id, json!({ "encryption": null })).await["encryption"], "DEFAULT");
        for wrong in ["required", "ALWAYS", ""] {
            let (query, variables) = crate::harness::graphql::mutation("updateEndpoint", "", json!({ "id": id, "patch": { "encryption": wrong } }));
            assert!(code(&world.api.gql(&query, variables).await).is_some());
        }
    }

    /// A number, `random`, or as the profile says.
    async fn d095_send_as_is_a_number_or_random(database: Database) {
        let world = World::start(&database).await;
        let id = &world.bob.id;
        for value in [json!("+12125550100"), json!("random"), json!(null)] {
            assert_eq!(patched(&world.api, id, json!({ "sendAs": value })).await["sendAs"], value);
        }
        for wrong in ["", "Random", "12125550100", "+0123", "bob"] {
            let input = json!({ "id": id, "patch": { "sendAs": wrong } });
            refused_and_kept(&world.api, id, "updateEndpoint", input, "VALIDATION", "patch.sendAs").await;
        }
    }

    /// The kind of record, as SignalWire has it.
    async fn d096_the_record_type_is_sip_endpoint(database: Database) {
        let world = World::start(&database).await;
        assert_eq!(world.api.endpoint(&world.bob.id).await["recordType"], "sip_endpoint");
    }

    /// Encryption that is switched on takes the contacts that have none.
    async fn d098_encryption_drops_plain_contacts(database: Database) {
        let world = World::start(&database).await;
        Phone::udp(&world.server, &world.bob).await.come_online().await;
        let endpoint = patched(&world.api, &world.bob.id, json!({ "encryption": "REQUIRED" })).await;
        assert_eq!((&endpoint["state"], &endpoint["contacts"]), (&json!("OFFLINE"), &json!([])));
    }

    /// Only digests that are kept are accepted, and a digest needs the password.
    async fn digests_are_kept_as_chosen(database: Database) {
        let world = World::start(&database).await;
        let id = &world.bob.id;
        assert_eq!(patched(&world.api, id, json!({ "digestAlgorithms": ["SHA_256"] })).await["digestAlgorithms"], json!(["SHA_256"]));
        // The domain asks for MD5, of which nothing is left.
        assert_eq!(Phone::udp(&world.server, &world.bob).await.register(600).await.status(), 401);
        let input = json!({ "id": id, "patch": { "digestAlgorithms": ["MD5"] } });
        refused_and_kept(&world.api, id, "updateEndpoint", input, "VALIDATION", "patch.digestAlgorithms").await;
        patched(&world.api, id, json!({ "digestAlgorithms": ["MD5"], "credentials": { "password": "another" } })).await;
        let new = Account { password: "another".into(), ..world.bob.clone() };
        Phone::udp(&world.server, &new).await.come_online().await;
    }

    /// A repeated change is done once and gives the object with what is asked now.
    async fn h145_a_repeated_change_is_done_once(database: Database) {
        let world = World::start(&database).await;
        let id = &world.bob.id;
        let select = "endpoint { displayName version } changedFields generatedPassword replayed";
        let input = json!({ "id": id, "patch": { "displayName": "B", "credentials": { "generate": true } }, "version": 1, "idempotencyKey": "k" });
        let first = world.api.mutate("updateEndpoint", select, input.clone()).await;
        assert_eq!((&first["replayed"], &first["endpoint"]["version"]), (&json!(false), &json!(2)), "{first}");
        let again = world.api.mutate("updateEndpoint", select, input.clone()).await;
        assert_eq!((&again["replayed"], &again["endpoint"], &again["generatedPassword"]), (&json!(true), &first["endpoint"], &json!(null)));
        let mut other = input.clone();
        other["patch"]["displayName"] = json!("C");
        world.api.refused_at("updateEndpoint", other, "IDEMPOTENCY_KEY_REUSED", "idempotencyKey").await;
        // A secret is part of the input.
        let input = |secret: &str| json!({ "id": id, "patch": { "outSipPassword": secret }, "idempotencyKey": "s" });
        world.api.mutate("updateEndpoint", select, input("secret-one")).await;
        world.api.refused_at("updateEndpoint", input("secret-two"), "IDEMPOTENCY_KEY_REUSED", "idempotencyKey").await;
        // A change of nothing uses its key up; a refused one and a dry run do not.
        for (patch, expected) in [(json!({}), true), (json!({ "capacity": -1 }), false)] {
            let key = format!("of-{patch}");
            let input = json!({ "id": id, "patch": patch, "idempotencyKey": key });
            world.api.mutate("updateEndpoint", "", input).await;
            let input = json!({ "id": id, "patch": { "description": key }, "idempotencyKey": key });
            let payload = world.api.mutate("updateEndpoint", "", input).await;
            assert_eq!(payload["userErrors"][0]["code"] == "IDEMPOTENCY_KEY_REUSED", expected, "{payload}");
        }
        let whole = whole(&world.api.endpoint(id).await);
        let input = json!({ "id": id, "endpoint": whole, "idempotencyKey": "k" });
        let select = "endpoint { version } replayed";
        let first = world.api.mutate("replaceEndpoint", select, input.clone()).await;
        let again = world.api.mutate("replaceEndpoint", select, input).await;
        assert_eq!((&first["replayed"], &again["replayed"], &first["endpoint"]), (&json!(false), &json!(true), &again["endpoint"]));
    }

    /// The same key and input have one effect, also for fifty at once and after a restart; another input is refused.
    async fn h145_each_change_of_objects_is_done_once(database: Database) {
        let mut world = World::start(&database).await;
        let application = world.api.mutate("createApplication", "application { id }", json!({ "name": "Desk" })).await["application"]["id"].clone();
        let spare = world.api.domain_create("spare.test", false).await;
        let carol = world.api.endpoint_create(&world.domain, "carol").await;
        let World { server, api, domain, alice, bob } = &mut world;
        let whole = whole(&api.endpoint(&alice.id).await);
        let new = |name: &str| json!({ "domainId": domain, "name": name, "credentials": { "password": "secret" } });
        // Each with what it answers with and another input.
        for (mutation, object, mut input, (field, value)) in [
            ("createDomain", "domain { id }", json!({ "name": "new.test" }), ("name", json!("newer.test"))),
            ("updateDomain", "domain { description }", json!({ "id": spare, "patch": { "description": "d" } }), ("patch", json!({}))),
            ("createApplication", "application { id }", json!({ "name": "Shop" }), ("name", json!("Shops"))),
            ("updateApplication", "application { name }", json!({ "id": application, "patch": { "name": "Desks" } }), ("patch", json!({}))),
            ("createEndpoints", "endpoints { id }", json!({ "endpoints": [new("dora"), new("emil")] }), ("endpoints", json!([new("emma")]))),
            ("updateEndpoint", "endpoint { version }", json!({ "id": bob.id, "patch": { "displayName": "B" } }), ("patch", json!({}))),
            ("replaceEndpoint", "endpoint { version }", json!({ "id": alice.id, "endpoint": { "displayName": "A" } }), ("version", json!(1))),
            ("updateSipProfile", "sipProfile { defaultCodecs }", json!({ "patch": { "defaultCodecs": ["OPUS"] } }), ("patch", json!({}))),
            ("updateAccount", "account { uniqueNamesAcrossAccount }", json!({ "patch": { "uniqueNamesAcrossAccount": true } }), ("patch", json!({}))),
            ("deleteEndpoint", "deletedEndpointId", json!({ "id": carol.id }), ("id", json!(bob.id))),
            ("deleteApplication", "deletedApplicationId", json!({ "id": application }), ("id", json!("nonsense"))),
            ("deleteDomain", "deletedDomainId", json!({ "id": spare }), ("cascade", json!(true))),
        ] {
            if mutation == "replaceEndpoint" {
                let label = input["endpoint"]["displayName"].take();
                input["endpoint"] = whole.clone();
                input["endpoint"]["displayName"] = label;
            }
            input["idempotencyKey"] = json!(format!("key of {mutation}"));
            let select = format!("{object} replayed");
            let before = api.event_cursor().await;
            let (mut replay, replays) = api.mutate_fifty(mutation, &select, &input).await;
            replay["replayed"] = json!(true);
            assert!(replays.iter().all(|p| *p == replay), "{mutation}: {replay} {replays:?}");
            let query = "query($after: Cursor) { events(after: $after) { nodes { type } } }";
            let told = api.data(query, json!({ "after": before })).await["events"]["nodes"].take();
            let expected = match mutation {
                "createEndpoints" => json!([{ "type": "ENDPOINT_CREATED" }, { "type": "ENDPOINT_CREATED" }]),
                "updateEndpoint" | "replaceEndpoint" => json!([{ "type": "ENDPOINT_UPDATED" }]),
                "deleteEndpoint" => json!([{ "type": "ENDPOINT_DELETED" }]),
                _ => json!([]),
            };
            assert_eq!(told, expected, "{mutation}");
            server.kill_and_restart().await;
            let again = api.mutate(mutation, &select, input.clone()).await;
            assert_eq!(again, replay, "{mutation}");
            input[field] = value;
            api.refused_at(mutation, input, "IDEMPOTENCY_KEY_REUSED", "idempotencyKey").await;
        }
    }

    /// A dry run says what would be and leaves no trace.
    async fn h146_a_dry_run_changes_nothing(database: Database) {
        let world = World::start(&database).await;
        let id = &world.bob.id;
        let before = world.api.endpoint(id).await;
        let log = world.api.event_cursor().await;
        let input = json!({ "id": id, "patch": { "displayName": "B", "credentials": { "generate": true } }, "dryRun": true, "idempotencyKey": "k" });
        for _ in 0..2 {
            let payload = updated(&world.api, input.clone()).await;
            assert_eq!((&payload["dryRun"], &payload["replayed"], &payload["generatedPassword"]), (&json!(true), &json!(false), &json!(null)));
            assert_eq!((&payload["endpoint"]["displayName"], &payload["endpoint"]["version"]), (&json!("B"), &json!(2)));
            assert_eq!(payload["changedFields"], json!(["credentials", "displayName"]));
        }
        let mut wrong = input.clone();
        wrong["patch"]["capacity"] = json!(-1);
        world.api.refused_at("updateEndpoint", wrong, "VALIDATION", "patch.capacity").await;
        let mut whole = whole(&before);
        whole["description"] = json!("d");
        let payload = world.api.mutate("replaceEndpoint", "dryRun endpoint { description }", json!({ "id": id, "endpoint": whole, "dryRun": true })).await;
        assert_eq!((&payload["dryRun"], &payload["endpoint"]["description"]), (&json!(true), &json!("d")));
        let new = json!({ "domainId": world.domain, "name": "carol", "credentials": { "generate": true }, "dryRun": true, "idempotencyKey": "k" });
        let select = "dryRun generatedPassword endpointEdge { cursor } endpoint { externalId name sipUri state contacts { id } messages { totalCount } }";
        let payload = world.api.mutate("createEndpoint", select, new.clone()).await;
        assert_eq!(payload["endpoint"], json!({ "externalId": 0, "name": "carol", "sipUri": "sip:carol@example.test", "state": "UNKNOWN", "contacts": [], "messages": { "totalCount": 0 } }), "{payload}");
        assert_eq!((&payload["dryRun"], &payload["generatedPassword"], &payload["endpointEdge"]), (&json!(true), &json!(null), &json!(null)));
        let mut taken = new;
        taken["name"] = json!("bob");
        world.api.refused_at("createEndpoint", taken, "CONFLICT", "name").await;
        assert_eq!(world.api.endpoint(id).await, before);
        assert_eq!(world.api.endpoints_count().await, 2);
        assert_eq!(world.api.event_cursor().await, log);
    }

    /// Absent leaves, null clears, a value sets; and a variable that is declared but not provided is absent.
    async fn h149_absent_null_and_value_are_three_things(database: Database) {
        let world = World::start(&database).await;
        let query = "mutation($id: ID!, $label: String, $list: [Codec!], $map: JSONObject) { updateEndpoint(input: { id: $id, patch: {
            displayName: $label, codecs: $list, attributes: $map } }) { endpoint { displayName codecs attributes } changedFields userErrors { message } } }";
        let set = json!({ "displayName": "B", "codecs": ["OPUS"], "attributes": { "a": 1 } });
        let mut variables = json!({ "id": world.bob.id, "label": "B", "list": ["OPUS"], "map": { "a": 1 } });
        assert_eq!(world.api.data(query, variables.clone()).await["updateEndpoint"]["endpoint"], set);
        let data = world.api.data(query, json!({ "id": world.bob.id })).await;
        assert_eq!((&data["updateEndpoint"]["endpoint"], &data["updateEndpoint"]["changedFields"]), (&set, &json!([])));
        for (variable, field, cleared) in [("label", "displayName", json!(null)), ("list", "codecs", json!(null)), ("map", "attributes", json!({}))] {
            variables[variable] = Value::Null;
            let data = world.api.data(query, json!({ "id": world.bob.id, variable: null })).await;
            let endpoint = &data["updateEndpoint"]["endpoint"];
            assert_eq!((&endpoint[field], &data["updateEndpoint"]["changedFields"]), (&cleared, &json!([field])));
        }
        // The whole patch as one variable.
        let query = "mutation($input: UpdateEndpointInput!) { updateEndpoint(input: $input) { endpoint { displayName description } userErrors { message } } }";
        let input = json!({ "id": world.bob.id, "patch": { "displayName": "C" } });
        let data = world.api.data(query, json!({ "input": input })).await;
        assert_eq!(data["updateEndpoint"]["endpoint"], json!({ "displayName": "C", "description": null }));
    }

    /// A token of VoIP clients needs a scope that nothing implies, and who reads it is known.
    async fn h151_a_voip_token_needs_its_scope(database: Database) {
        let world = World::start(&database).await;
        let query = "{ endpoints { nodes { name voipToken } } }";
        let token = world.server.token_create("acme", "endpoints.manage", &[]).await;
        let response = world.api.as_token(Some(&token)).gql(query, json!({})).await;
        assert_eq!(response["data"]["endpoints"]["nodes"], json!([{ "name": "bob", "voipToken": null }, { "name": "alice", "voipToken": null }]), "{response}");
        assert_eq!((code(&response), &response["errors"][0]["extensions"]["requiredScopes"]), (Some("FORBIDDEN"), &json!(["endpoints.secrets"])));
        assert!(!world.server.log().contains("voipToken was read"));
        let data = world.api.data(query, json!({})).await;
        let tokens: Vec<String> = list(&data["endpoints"]["nodes"]).iter().map(|e| text(&e["voipToken"])).collect();
        assert!(tokens[0] != tokens[1] && tokens.iter().all(|token| token.len() == 36), "{tokens:?}");
        let again = world.api.data(query, json!({})).await;
        assert_eq!(again, data, "a token stays");
        let log = world.server.log();
        // Both endpoints, by each of the two requests; the one without the scope read nothing.
        assert_eq!(log.matches("voipToken was read").count(), 4, "{log}");
        assert!(tokens.iter().all(|token| !log.contains(token.as_str())), "{log}");
    }

    /// A token bound to endpoints changes these and no others.
    async fn h152_a_bound_token_changes_its_endpoints(database: Database) {
        let world = World::start(&database).await;
        let token = world.server.token_create("acme", "endpoints.manage,endpoints.secrets", &[&world.bob.id]).await;
        let api = world.api.as_token(Some(&token));
        patched(&api, &world.bob.id, json!({ "displayName": "B" })).await;
        let whole = whole(&world.api.endpoint(&world.alice.id).await);
        api.refused_at("updateEndpoint", json!({ "id": world.alice.id, "patch": {} }), "NOT_FOUND", "id").await;
        api.refused_at("replaceEndpoint", json!({ "id": world.alice.id, "endpoint": whole }), "NOT_FOUND", "id").await;
        let bulk = json!({ "endpoints": [{ "domainId": world.domain, "name": "x", "credentials": { "password": "secret" } }] });
        api.refused_at("createEndpoints", bulk, "NOT_FOUND", "domainId").await;
        let data = api.data("{ endpoints { nodes { name voipToken } } }", json!({})).await;
        assert_eq!(list(&data["endpoints"]["nodes"]).len(), 1, "{data}");
    }
}

//! What endpoints have that set nothing of their own: the account's SIP profile; and the account's own settings.

use crate::harness::graphql::{code, code_of, field_of, list, text};
use crate::harness::world::ENDPOINT;
use crate::harness::{
    Account, Api, Phone, Server, Trust, Value, World, both_backends, eventually, json,
};
use sipgraph_testkit::certificates::Authority;

const PROFILE: &str = "id defaultCiphers defaultCodecs defaultEncryption defaultSendAs";
const CIPHERS: [&str; 5] = [
    "AEAD_AES_256_GCM_8",
    "AES_256_CM_HMAC_SHA1_80",
    "AES_CM_128_HMAC_SHA1_80",
    "AES_256_CM_HMAC_SHA1_32",
    "AES_CM_128_HMAC_SHA1_32",
];
const CODECS: [&str; 6] = ["OPUS", "G722", "PCMU", "PCMA", "VP8", "H264"];

async fn profile(api: &Api) -> Value {
    let query = format!("{{ sipProfile {{ {PROFILE} }} }}");
    api.data(&query, json!({})).await["sipProfile"].take()
}

/// Changes the profile, which must be accepted; gives the payload.
async fn updated(api: &Api, input: Value) -> Value {
    let select = format!("sipProfile {{ {PROFILE} }} changedFields dryRun replayed");
    let payload = api.mutate("updateSipProfile", &select, input.clone()).await;
    assert_eq!(payload["userErrors"], json!([]), "{input}");
    payload
}

async fn patched(api: &Api, patch: Value) -> Value {
    updated(api, json!({ "patch": patch })).await["sipProfile"].take()
}

/// Patches an endpoint, which must be accepted; gives it.
async fn endpoint(api: &Api, id: &str, patch: Value, mode: &str) -> Value {
    let select = format!("endpoint {{ {ENDPOINT} }}");
    let input = json!({ "id": id, "patch": patch, "nestedObjects": mode });
    let mut payload = api.mutate("updateEndpoint", &select, input.clone()).await;
    assert_eq!(payload["userErrors"], json!([]), "{input}");
    payload["endpoint"].take()
}

/// Switches whether names are unique in all of the account.
async fn names_unique(api: &Api, on: bool) {
    let input = json!({ "patch": { "uniqueNamesAcrossAccount": on } });
    let payload = api
        .mutate(
            "updateAccount",
            "account { uniqueNamesAcrossAccount }",
            input,
        )
        .await;
    assert_eq!(payload["account"]["uniqueNamesAcrossAccount"], on);
}

fn phone(domain: &str, name: &str) -> Value {
    json!({ "domainId": domain, "name": name, "credentials": { "password": "secret" } })
}

both_backends! {
    /// Without lists of its own an endpoint has those of the profile, as they are at each read.
    async fn d091_a_change_of_the_profile_shows_through(database: Database) {
        let world = World::start(&database).await;
        let api = &world.api;
        let new = profile(api).await;
        assert_eq!((&new["defaultCiphers"], &new["defaultCodecs"]), (&json!(CIPHERS), &json!(CODECS)));
        assert_eq!((&new["defaultEncryption"], &new["defaultSendAs"]), (&json!("OPTIONAL"), &Value::Null));
        let before = api.endpoint(&world.bob.id).await;
        assert_eq!((&before["ciphers"], &before["codecs"]), (&Value::Null, &Value::Null));
        assert_eq!((&before["effectiveCiphers"], &before["effectiveCodecs"]), (&json!(CIPHERS), &json!(CODECS)));
        endpoint(api, &world.alice.id, json!({ "codecs": ["PCMA"] }), "MERGE").await;
        let payload = updated(api, json!({ "patch": { "defaultCiphers": [CIPHERS[4], CIPHERS[0], CIPHERS[4]], "defaultCodecs": ["VP8", "OPUS"] } })).await;
        assert_eq!(payload["changedFields"], json!(["defaultCiphers", "defaultCodecs"]));
        assert_eq!((&payload["sipProfile"]["id"], &payload["sipProfile"]["defaultCiphers"]), (&new["id"], &json!([CIPHERS[4], CIPHERS[0]])));
        assert_eq!(profile(api).await, payload["sipProfile"]);
        let now = api.endpoint(&world.bob.id).await;
        assert_eq!((&now["effectiveCiphers"], &now["effectiveCodecs"]), (&json!([CIPHERS[4], CIPHERS[0]]), &json!(["VP8", "OPUS"])));
        assert_eq!((&now["ciphers"], &now["codecs"], &now["version"]), (&Value::Null, &Value::Null, &before["version"]));
        assert_eq!(api.endpoint(&world.alice.id).await["effectiveCodecs"], json!(["PCMA"]));
        // Null and an empty list are what a new account has.
        assert_eq!(patched(api, json!({ "defaultCiphers": null, "defaultCodecs": [] })).await, new);
        assert_eq!(updated(api, json!({ "patch": {} })).await["changedFields"], json!([]));
        assert_eq!(api.endpoint(&world.bob.id).await, before);
    }

    /// An empty list unsets one's own, in both modes.
    async fn d092_an_empty_list_is_the_profiles_again(database: Database) {
        let world = World::start(&database).await;
        let api = &world.api;
        patched(api, json!({ "defaultCiphers": [CIPHERS[1]], "defaultCodecs": ["G722"] })).await;
        for mode in ["MERGE", "REPLACE"] {
            for none in [json!([]), Value::Null] {
                let own = endpoint(api, &world.bob.id, json!({ "ciphers": [CIPHERS[2]], "codecs": ["OPUS"] }), mode).await;
                assert_eq!((&own["effectiveCiphers"], &own["effectiveCodecs"]), (&json!([CIPHERS[2]]), &json!(["OPUS"])));
                let unset = endpoint(api, &world.bob.id, json!({ "ciphers": none, "codecs": none }), mode).await;
                assert_eq!((&unset["ciphers"], &unset["codecs"]), (&Value::Null, &Value::Null));
                assert_eq!((&unset["effectiveCiphers"], &unset["effectiveCodecs"]), (&json!([CIPHERS[1]]), &json!(["G722"])));
            }
        }
    }

    /// DEFAULT is what the profile says; the profile itself says REQUIRED or OPTIONAL.
    async fn d094_default_is_the_profiles_encryption(database: Database) {
        let world = World::start(&database).await;
        let api = &world.api;
        for of_profile in ["REQUIRED", "OPTIONAL"] {
            patched(api, json!({ "defaultEncryption": of_profile })).await;
            for (own, effective) in [("DEFAULT", of_profile), ("REQUIRED", "REQUIRED"), ("OPTIONAL", "OPTIONAL")] {
                let now = endpoint(api, &world.bob.id, json!({ "encryption": own }), "MERGE").await;
                assert_eq!((&now["encryption"], &now["effectiveEncryption"]), (&json!(own), &json!(effective)));
                assert_eq!(api.endpoint(&world.bob.id).await["effectiveEncryption"], effective);
            }
        }
        let made = api.mutate("createEndpoint", "endpoint { encryption effectiveEncryption }", phone(&world.domain, "carol")).await;
        assert_eq!(made["endpoint"], json!({ "encryption": "DEFAULT", "effectiveEncryption": "OPTIONAL" }));
        patched(api, json!({ "defaultEncryption": "REQUIRED" })).await;
        assert_eq!(patched(api, json!({ "defaultEncryption": null })).await["defaultEncryption"], "OPTIONAL");
        let before = profile(api).await;
        api.refused_at("updateSipProfile", json!({ "patch": { "defaultEncryption": "DEFAULT" } }), "VALIDATION", "patch.defaultEncryption").await;
        for wrong in ["required", "ALWAYS", ""] {
            let (query, variables) = crate::harness::graphql::mutation("updateSipProfile", "", json!({ "patch": { "defaultEncryption": wrong } }));
            assert!(code(&api.gql(&query, variables).await).is_some());
        }
        assert_eq!(profile(api).await, before);
    }

    /// Without its own an endpoint sends from what the profile says.
    async fn d095_send_as_is_the_profiles(database: Database) {
        let world = World::start(&database).await;
        let api = &world.api;
        assert_eq!(api.endpoint(&world.bob.id).await["effectiveSendAs"], Value::Null);
        patched(api, json!({ "defaultSendAs": "+12125550100" })).await;
        let now = api.endpoint(&world.bob.id).await;
        assert_eq!((&now["sendAs"], &now["effectiveSendAs"]), (&Value::Null, &json!("+12125550100")));
        for own in ["+442079460000", "random"] {
            let now = endpoint(api, &world.bob.id, json!({ "sendAs": own }), "MERGE").await;
            assert_eq!(now["effectiveSendAs"], own);
        }
        let now = endpoint(api, &world.bob.id, json!({ "sendAs": null }), "MERGE").await;
        assert_eq!(now["effectiveSendAs"], "+12125550100");
        for wrong in ["Random", "12125550100", "+0123", "bob"] {
            api.refused_at("updateSipProfile", json!({ "patch": { "defaultSendAs": wrong } }), "VALIDATION", "patch.defaultSendAs").await;
        }
        assert_eq!(profile(api).await["defaultSendAs"], "+12125550100");
        for none in [Value::Null, json!("")] {
            patched(api, json!({ "defaultSendAs": "+12125550100" })).await;
            assert_eq!(patched(api, json!({ "defaultSendAs": none })).await["defaultSendAs"], Value::Null);
        }
    }

    /// All that is wrong with a profile comes together, and nothing of it is stored.
    async fn g141_a_wrong_profile_is_refused(database: Database) {
        let server = Server::start(&database).await;
        let api = Api::of(&server);
        let before = profile(&api).await;
        let patch = json!({ "defaultCodecs": ["OPUS"], "defaultEncryption": "DEFAULT", "defaultSendAs": "x" });
        let errors = api.refused("updateSipProfile", json!({ "patch": patch })).await;
        let seen: Vec<(String, String)> = errors.iter().map(|e| (code_of(e), field_of(e))).collect();
        assert_eq!(seen, ["patch.defaultEncryption", "patch.defaultSendAs"].map(|field| ("VALIDATION".to_owned(), field.to_owned())));
        assert_eq!(profile(&api).await, before);
    }

    /// A profile that begins to demand encryption takes the plain contacts of those that leave it to the profile, and no others.
    async fn d098_a_profile_drops_plain_contacts(database: Database) {
        let authority = Authority::new();
        let world = World::on(Server::start_tls(&database, &authority, &[]).await).await;
        let api = &world.api;
        let carol = api.endpoint_create(&world.domain, "carol").await;
        endpoint(api, &carol.id, json!({ "encryption": "OPTIONAL" }), "MERGE").await;
        let tls = world.server.listener("tls", 0).parse().unwrap();
        let mut secure = Phone::tls_at(tls, &Trust::in_authority(&authority), &world.bob).await;
        secure.come_online().await;
        for account in [&world.alice, &world.bob, &carol] {
            Phone::udp(&world.server, account).await.come_online().await;
        }
        patched(api, json!({ "defaultEncryption": "REQUIRED" })).await;
        api.state_is(&world.alice, "OFFLINE").await;
        eventually("bob having his secure contact alone", || async {
            let contacts = list(&api.endpoint(&world.bob.id).await["contacts"]);
            (contacts.len() == 1 && contacts[0]["transport"] == "TLS").then_some(())
        })
        .await;
        let bob = api.endpoint(&world.bob.id).await;
        assert_eq!((&bob["state"], &bob["effectiveEncryption"]), (&json!("ONLINE"), &json!("REQUIRED")));
        let carol = api.endpoint(&carol.id).await;
        assert_eq!((&carol["state"], list(&carol["contacts"]).len()), (&json!("ONLINE"), 1));
        // An endpoint that begins to leave it to the profile loses its plain contacts at once.
        let carol = endpoint(api, &text(&carol["id"]), json!({ "encryption": null }), "MERGE").await;
        assert_eq!((&carol["state"], &carol["contacts"]), (&json!("OFFLINE"), &json!([])));
    }

    /// What must be encrypted is refused over UDP, TCP and WS once the phone has proven its password, and taken over TLS;
    /// whose own setting it is, or the profile's, makes no difference. Without the password nobody learns of it.
    async fn d098_plain_transports_are_refused_where_tls_is_required(database: Database) {
        let authority = Authority::new();
        let world = World::on(Server::start_tls(&database, &authority, &[]).await).await;
        let api = &world.api;
        endpoint(api, &world.alice.id, json!({ "encryption": "REQUIRED" }), "MERGE").await;
        patched(api, json!({ "defaultEncryption": "REQUIRED" })).await;
        let carol = api.endpoint_create(&world.domain, "carol").await;
        endpoint(api, &carol.id, json!({ "encryption": "OPTIONAL" }), "MERGE").await;
        let mut listener = Phone::udp(&world.server, &carol).await;
        listener.come_online().await;
        for account in [&world.alice, &world.bob] {
            let plain = [
                Phone::udp(&world.server, account).await,
                Phone::tcp(&world.server, account).await,
                Phone::ws(&world.server, account).await,
            ];
            for mut phone in plain {
                let answer = phone.register(600).await;
                assert_eq!((answer.status(), answer.first.contains("TLS Required")), (403, true), "{answer:?}");
                let answer = phone.message(&carol.uri(), "in the clear").await;
                assert_eq!((answer.status(), answer.first.contains("TLS Required")), (403, true), "{answer:?}");
            }
            let wrong = Account { password: "wrong".into(), ..account.clone() };
            assert_eq!(Phone::udp(&world.server, &wrong).await.register(600).await.status(), 401);
            let tls = world.server.listener("tls", 0).parse().unwrap();
            let mut secure = Phone::tls_at(tls, &Trust::in_authority(&authority), account).await;
            secure.come_online().await;
            let answer = secure.message(&carol.uri(), "sealed").await;
            assert!(matches!(answer.status(), 200 | 202), "{answer:?}");
            assert_eq!(listener.take_message().await.body, "sealed");
            api.state_is(account, "ONLINE").await;
        }
        let query = "query($filter: RegistrationFailureFilter) { registrationFailures(first: 100, filter: $filter) { nodes { aor count } } }";
        eventually("the three refusals of each being told", || async {
            let data = api.data(query, json!({ "filter": { "reason": "TLS_REQUIRED" } })).await;
            let nodes = list(&data["registrationFailures"]["nodes"]);
            let mut told: Vec<_> = nodes.iter().map(|node| (text(&node["aor"]), node["count"].as_i64())).collect();
            told.sort();
            (told == [(world.alice.address(), Some(3)), (world.bob.address(), Some(3))]).then_some(())
        })
        .await;
    }

    /// A dry run changes nothing and uses up no key.
    async fn h146_a_dry_run_changes_no_settings(database: Database) {
        let server = Server::start(&database).await;
        let api = Api::of(&server);
        let before = profile(&api).await;
        let log = api.event_cursor().await;
        let mut input = json!({ "patch": { "defaultCodecs": ["OPUS"] }, "dryRun": true, "idempotencyKey": "k" });
        let payload = updated(&api, input.clone()).await;
        assert_eq!((&payload["dryRun"], &payload["sipProfile"]["defaultCodecs"], &payload["changedFields"]), (&json!(true), &json!(["OPUS"]), &json!(["defaultCodecs"])));
        assert_eq!((profile(&api).await, api.event_cursor().await), (before, log));
        input["dryRun"] = json!(false);
        assert_eq!(updated(&api, input).await["replayed"], false);
        let mut input = json!({ "patch": { "uniqueNamesAcrossAccount": true }, "dryRun": true, "idempotencyKey": "k" });
        let select = "account { uniqueNamesAcrossAccount } changedFields dryRun replayed";
        let payload = api.mutate("updateAccount", select, input.clone()).await;
        assert_eq!((&payload["dryRun"], &payload["account"]["uniqueNamesAcrossAccount"]), (&json!(true), &json!(true)));
        let query = "{ viewer { account { uniqueNamesAcrossAccount } } }";
        assert_eq!(api.data(query, json!({})).await["viewer"]["account"]["uniqueNamesAcrossAccount"], false);
        input["dryRun"] = json!(false);
        let payload = api.mutate("updateAccount", select, input).await;
        assert_eq!((&payload["replayed"], &payload["changedFields"]), (&json!(false), &json!(["uniqueNamesAcrossAccount"])));
    }

    /// A repeated change is done once.
    async fn h145_repeated_changes_of_settings_are_done_once(database: Database) {
        let server = Server::start(&database).await;
        let api = Api::of(&server);
        let mut input = json!({ "patch": { "defaultCodecs": ["OPUS"] }, "idempotencyKey": "k" });
        assert_eq!(updated(&api, input.clone()).await["replayed"], false);
        patched(&api, json!({ "defaultCodecs": ["PCMA"] })).await;
        let again = updated(&api, input.clone()).await;
        assert_eq!((&again["replayed"], &again["sipProfile"]["defaultCodecs"], &again["changedFields"]), (&json!(true), &json!(["PCMA"]), &json!([])));
        input["patch"] = json!({ "defaultCodecs": ["VP8"] });
        api.refused_at("updateSipProfile", input, "IDEMPOTENCY_KEY_REUSED", "idempotencyKey").await;
        let mut input = json!({ "patch": { "uniqueNamesAcrossAccount": true }, "idempotencyKey": "k" });
        let select = "account { uniqueNamesAcrossAccount } replayed";
        for replayed in [false, true] {
            let payload = api.mutate("updateAccount", select, input.clone()).await;
            assert_eq!(payload["replayed"], replayed);
        }
        names_unique(&api, false).await;
        let payload = api.mutate("updateAccount", select, input.clone()).await;
        assert_eq!((&payload["replayed"], &payload["account"]["uniqueNamesAcrossAccount"]), (&json!(true), &json!(false)));
        input["patch"] = json!({});
        api.refused_at("updateAccount", input, "IDEMPOTENCY_KEY_REUSED", "idempotencyKey").await;
    }

    /// Names may be demanded to be unique in all of the account (SignalWire's rule), by canonical form.
    async fn d088_names_can_be_unique_across_the_account(database: Database) {
        let world = World::start(&database).await;
        let api = &world.api;
        let other = api.domain_create("other.test", false).await;
        api.endpoint_create(&other, "bob").await;
        let on = json!({ "patch": { "uniqueNamesAcrossAccount": true } });
        let errors = api.refused("updateAccount", on.clone()).await;
        assert_eq!((code_of(&errors[0]), field_of(&errors[0])), ("CONFLICT".to_owned(), "patch.uniqueNamesAcrossAccount".to_owned()));
        assert!(errors[0]["message"].as_str().unwrap().contains("bob"), "{errors:?}");
        api.mutate("deleteDomain", "", json!({ "id": other, "cascade": true })).await;
        // What is being deleted has no names any more.
        names_unique(api, true).await;
        let other = api.domain_create("other.test", false).await;
        for name in ["bob", "%62ob"] {
            api.refused_at("createEndpoint", phone(&other, name), "CONFLICT", "name").await;
            let check = "query($domain: ID) { checkName(name: \"NAME\", domainId: $domain) { valid errors { code } } }".replace("NAME", name);
            let data = api.data(&check, json!({ "domain": other })).await;
            assert_eq!(data["checkName"], json!({ "valid": false, "errors": [{ "code": "CONFLICT" }] }));
        }
        api.endpoint_create(&other, "Bob").await;
        let bulk = json!({ "endpoints": [phone(&world.domain, "x"), phone(&other, "x"), phone(&other, "y")], "atomic": false });
        let payload = api.mutate("createEndpoints", "endpoints { name }", bulk).await;
        assert_eq!(payload["endpoints"], json!([{ "name": "x" }, null, { "name": "y" }]));
        assert_eq!(list(&payload["userErrors"]).iter().map(field_of).collect::<Vec<_>>(), ["endpoints.1.name"]);
        let creates = (0..20).map(|i| {
            let input = phone(if i % 2 == 0 { &world.domain } else { &other }, "zed");
            async move { api.mutate("createEndpoint", "endpoint { id }", input).await["userErrors"] == json!([]) }
        });
        let made = futures_util::future::join_all(creates).await;
        assert_eq!(made.iter().filter(|made| **made).count(), 1);
        names_unique(api, false).await;
        api.endpoint_create(&other, "bob").await;
        api.refused_at("updateAccount", on, "CONFLICT", "patch.uniqueNamesAcrossAccount").await;
    }

    /// Whatever comes at once: where names are unique, none is there twice.
    async fn d088_the_switch_and_creates_may_come_at_once(database: Database) {
        let world = World::start(&database).await;
        let api = &world.api;
        let other = api.domain_create("other.test", false).await;
        let creates = (0..16).map(|i| {
            let input = phone(if i % 2 == 0 { &world.domain } else { &other }, &format!("e{}", i / 2));
            async move { api.mutate("createEndpoint", "endpoint { id }", input).await["userErrors"] == json!([]) }
        });
        let on = json!({ "patch": { "uniqueNamesAcrossAccount": true } });
        let switch = async { api.mutate("updateAccount", "", on).await["userErrors"] == json!([]) };
        let (_, switched) = futures_util::future::join(futures_util::future::join_all(creates), switch).await;
        let data = api.data("{ endpoints(first: 100) { nodes { name } } }", json!({})).await;
        let mut names: Vec<String> = list(&data["endpoints"]["nodes"]).iter().map(|n| text(&n["name"])).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert!(!switched || names.len() == all, "{names:?}");
    }

    /// The settings of an account are its own.
    async fn c072_settings_are_their_accounts(database: Database) {
        let server = Server::start(&database).await;
        let api = Api::of(&server);
        server.cli(&["account", "create", "rival"]).await;
        let token = server.token_create("rival", crate::harness::server::ALL_SCOPES, &[]).await;
        let rival = Api::with(&server, &token);
        patched(&api, json!({ "defaultCodecs": ["VP8"], "defaultEncryption": "REQUIRED" })).await;
        names_unique(&api, true).await;
        let theirs = profile(&rival).await;
        assert_eq!((&theirs["defaultCodecs"], &theirs["defaultEncryption"]), (&json!(CODECS), &json!("OPTIONAL")));
        let one = rival.domain_create("one.test", false).await;
        let two = rival.domain_create("two.test", false).await;
        for domain in [&one, &two] {
            let made = rival.mutate("createEndpoint", "endpoint { effectiveEncryption effectiveCodecs }", phone(domain, "same")).await;
            assert_eq!(made["endpoint"], json!({ "effectiveEncryption": "OPTIONAL", "effectiveCodecs": CODECS }));
        }
    }
}

//! Presence: registrations by SIP as GraphQL shows them.

use crate::harness::graphql::{list, text};
use crate::harness::sip::Algorithm;
use crate::harness::{Account, Feed, Phone, Socket, Value, World, both_backends, json};

/// An endpoint with another password than the right one.
fn with_password(account: &Account, password: &str) -> Account {
    Account {
        password: password.to_owned(),
        ..account.clone()
    }
}

both_backends! {
    /// The right digest is answered 200 and the endpoint is ONLINE, with its contact.
    async fn b037_the_right_password_comes_online(database: Database) {
        let world = World::start(&database).await;
        for (phone, transport) in [
            (Phone::udp(&world.server, &world.alice).await, "UDP"),
            (Phone::tcp(&world.server, &world.bob).await, "TCP"),
        ] {
            let mut phone = phone;
            let request = phone.register_request().with("User-Agent", "Desk 7").with("Contact", format!("<{}>;expires=120", phone.contact()));
            let (answer, _) = phone.ask_signed(request).await;
            assert_eq!(answer.status(), 200, "{answer:?}");
            assert!(answer.header("Contact").contains(&phone.contact()), "{answer:?}");
            let granted: u32 = answer.header("Contact").split("expires=").nth(1).unwrap().parse().unwrap();
            assert!((100..=120).contains(&granted), "{answer:?}");
            let endpoint = world.api.endpoint(&phone.account.id).await;
            assert_eq!(endpoint["state"], "ONLINE");
            let contacts = list(&endpoint["contacts"]);
            assert_eq!(contacts.len(), 1);
            assert_eq!((&contacts[0]["uri"], &contacts[0]["transport"], &contacts[0]["userAgent"]), (&json!(phone.contact()), &json!(transport), &json!("Desk 7")));
        }
    }

    /// A disabled endpoint is refused although its password is right.
    async fn b038_a_disabled_endpoint_does_not_register(database: Database) {
        let world = World::start(&database).await;
        let input = json!({ "domainId": world.domain, "name": "dora", "enabled": false, "credentials": { "password": "secret-of-dora" } });
        let payload = world.api.mutate("createEndpoint", "endpoint { id }", input).await;
        let dora = Account { id: text(&payload["endpoint"]["id"]), user: "dora".into(), ..with_password(&world.bob, "secret-of-dora") };
        let mut phone = Phone::udp(&world.server, &dora).await;
        assert_eq!(phone.register(600).await.status(), 403);
        let seen = world.api.endpoint(&dora.id).await;
        assert_eq!((&seen["state"], &seen["contacts"]), (&json!("UNKNOWN"), &json!([])));
        // A stranger with a wrong password learns nothing of it.
        let mut wrong = Phone::udp(&world.server, &with_password(&dora, "wrong-password")).await;
        assert_eq!(wrong.register(600).await.status(), 401);
    }

    /// An unknown user and a wrong password read the same, byte by byte but for what each request brings.
    async fn b042_unknown_users_and_wrong_passwords_read_the_same(database: Database) {
        let world = World::start(&database).await;
        let nobody = Account { user: "nobody".into(), ..world.bob.clone() };
        let wrong = with_password(&world.bob, "wrong-password");
        let mut seen = Vec::new();
        for account in [&nobody, &wrong] {
            let mut phone = Phone::udp(&world.server, account).await;
            let request = phone.register_request().with("Contact", format!("<{}>", phone.contact()));
            let first = phone.ask(&request).await;
            let (second, _) = phone.ask_signed(request).await;
            let mut shape = Vec::new();
            for answer in [first, second] {
                let names: Vec<String> = answer.headers.iter().map(|(name, _)| name.clone()).collect();
                // Only the nonce differs in a challenge.
                let challenge = answer.header("WWW-Authenticate").split("nonce=").map(|part| part.split_once(',').map_or(part, |p| p.1).to_owned()).collect::<Vec<_>>();
                shape.push((answer.first.clone(), names, challenge, answer.body.clone()));
            }
            seen.push(shape);
        }
        assert_eq!(seen[0], seen[1]);
        assert!(seen[0][1].0.contains(" 401 "), "{seen:?}");
        assert_eq!(world.api.endpoint(&world.bob.id).await["state"], "UNKNOWN");
    }

    /// Two devices of one endpoint are both contacts.
    async fn b043_two_devices_are_two_contacts(database: Database) {
        let world = World::start(&database).await;
        let (mut one, mut two) = (Phone::udp(&world.server, &world.bob).await, Phone::tcp(&world.server, &world.bob).await);
        one.come_online().await;
        two.come_online().await;
        let contacts = list(&world.api.endpoint(&world.bob.id).await["contacts"]);
        let uris: Vec<String> = contacts.iter().map(|c| text(&c["uri"])).collect();
        assert_eq!(uris, [one.contact(), two.contact()]);
        world.api.send(&world.alice, &world.bob, "both").await;
        assert_eq!((one.take_message().await.body, two.take_message().await.body), ("both".into(), "both".into()));
        // A query without a Contact tells both.
        let query = one.register_request();
        let (answer, _) = one.ask_signed(query).await;
        let told = answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("Contact")).count();
        assert_eq!((answer.status(), told), (200, 2), "{answer:?}");
    }

    /// UNKNOWN, ONLINE with a contact, OFFLINE after the last.
    async fn e102_the_state_follows_the_contacts(database: Database) {
        let world = World::start(&database).await;
        let state = || async { text(&world.api.endpoint(&world.bob.id).await["state"]) };
        assert_eq!(state().await, "UNKNOWN");
        let (mut one, mut two) = (Phone::udp(&world.server, &world.bob).await, Phone::tcp(&world.server, &world.bob).await);
        one.come_online().await;
        two.come_online().await;
        assert_eq!(state().await, "ONLINE");
        assert_eq!(one.register(0).await.status(), 200);
        assert_eq!(state().await, "ONLINE");
        // A stream that closes takes its binding with it.
        two.hang_up().await;
        world.api.state_is(&world.bob, "OFFLINE").await;
        one.come_online().await;
        assert_eq!(state().await, "ONLINE");
        // `*` removes all.
        let request = one.register_request().with("Contact", "*").with("Expires", "0");
        let (answer, _) = one.ask_signed(request).await;
        assert_eq!(answer.status(), 200, "{answer:?}");
        let seen = world.api.endpoint(&world.bob.id).await;
        assert_eq!((&seen["state"], &seen["contacts"]), (&json!("OFFLINE"), &json!([])));
    }

    /// A binding that is not refreshed ends by itself.
    async fn e114_changes_of_state_and_contacts_are_told_once(database: Database) {
        let server = crate::harness::Server::start_with(database.url(), &[("SIPGRAPH_SIP__EXPIRES_S_MIN", "1")]).await;
        let world = World::on(server).await;
        let filter = json!({ "types": ["ENDPOINT_STATE_CHANGED", "CONTACT_STATUS_CHANGED"] });
        let mut feed = Feed::open_with(&world.server, &world.server.token, &world.api.event_cursor().await, filter).await;
        let mut phone = Phone::udp(&world.server, &world.bob).await;
        assert_eq!(phone.register(600).await.status(), 200);
        // A refresh changes nothing that is told.
        assert_eq!(phone.register(600).await.status(), 200);
        assert_eq!(phone.register(2).await.status(), 200);
        let mut told = Vec::new();
        for _ in 0..4 {
            let event = feed.item().await;
            assert_eq!(event["endpointId"], json!(world.bob.id), "{event}");
            if event["type"] == "CONTACT_STATUS_CHANGED" {
                assert_eq!((&event["uri"], &event["aor"]), (&json!(phone.contact()), &json!(world.bob.uri())));
                told.push(text(&event["contactStatus"]));
            } else {
                told.push(text(&event["state"]));
            }
        }
        assert_eq!(told, ["NON_QUALIFIED", "ONLINE", "REMOVED", "OFFLINE"]);
    }

    /// INITIAL for each, INITIAL_DONE, then what changes.
    async fn h158_endpoint_states_begin_with_what_is(database: Database) {
        let world = World::start(&database).await;
        let World { server, api, domain, alice, bob } = &world;
        let mut phone = Phone::udp(server, bob).await;
        phone.come_online().await;
        let query = "subscription($filter: EndpointFilter) { endpointStates(filter: $filter) {
            kind endpointId state endpoint { name } contacts { uri } at } }";
        let mut all = Socket::open(server, &server.token).await;
        all.subscribe("all", query, json!({})).await;
        let mut online = Socket::open(server, &server.token).await;
        online.subscribe("online", query, json!({ "filter": { "state": "ONLINE" } })).await;
        let next = |message: Value| message["payload"]["data"]["endpointStates"].clone();
        let shape = |update: &Value| (text(&update["kind"]), update["endpointId"].clone(), update["state"].clone());
        let mut initial = vec![shape(&next(all.message().await)), shape(&next(all.message().await))];
        initial.sort_by_key(|(_, id, _)| *id != json!(alice.id));
        assert_eq!(initial, [
            ("INITIAL".into(), json!(alice.id), json!("UNKNOWN")),
            ("INITIAL".into(), json!(bob.id), json!("ONLINE")),
        ]);
        assert_eq!(next(all.message().await)["kind"], "INITIAL_DONE");
        let first = next(online.message().await);
        assert_eq!((&first["endpointId"], &first["contacts"][0]["uri"]), (&json!(bob.id), &json!(phone.contact())));
        assert_eq!(next(online.message().await)["kind"], "INITIAL_DONE");

        assert_eq!(phone.register(0).await.status(), 200);
        let mut changed = next(all.message().await);
        while changed["state"] != "OFFLINE" {
            changed = next(all.message().await);
        }
        assert_eq!((&changed["kind"], &changed["endpoint"]["name"], &changed["contacts"]), (&json!("CHANGED"), &json!("bob"), &json!([])));
        let removed = next(online.message().await);
        assert_eq!((&removed["kind"], &removed["endpointId"]), (&json!("REMOVED"), &json!(bob.id)));
        let carol = api.endpoint_create(domain, "carol").await;
        let created = loop {
            let update = next(all.message().await);
            if update["endpointId"] == json!(carol.id) { break update; }
        };
        assert_eq!(created["kind"], "CHANGED");
        api.mutate("deleteEndpoint", "deletedEndpointId", json!({ "id": carol.id })).await;
        let removed = next(all.message().await);
        assert_eq!((&removed["kind"], &removed["endpointId"], &removed["endpoint"]), (&json!("REMOVED"), &json!(carol.id), &Value::Null));
    }

    /// Both algorithms, in the domain's order, over the same password.
    async fn a_domain_may_ask_for_sha_256(database: Database) {
        let world = World::start(&database).await;
        let input = json!({ "name": "strong.test", "digestAlgorithms": ["MD5", "SHA_256"] });
        let payload = world.api.mutate("createDomain", "domain { id }", input).await;
        let account = world.api.endpoint_create(&text(&payload["domain"]["id"]), "alice").await;
        for algorithm in [Algorithm::Sha256, Algorithm::Md5] {
            let mut phone = Phone::udp(&world.server, &account).await;
            phone.algorithm = algorithm;
            phone.come_online().await;
        }
        let mut phone = Phone::udp(&world.server, &account).await;
        let request = phone.register_request();
        let answer = phone.ask(&request).await;
        let offered: Vec<&str> = answer
            .headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("WWW-Authenticate"))
            .map(|(_, value)| if value.contains("SHA-256") { "SHA-256" } else { "MD5" })
            .collect();
        assert_eq!(offered, ["SHA-256", "MD5"], "{answer:?}");
        let only = json!({ "name": "strongest.test", "digestAlgorithms": ["SHA_256"] });
        let payload = world.api.mutate("createDomain", "domain { id }", only).await;
        let account = world.api.endpoint_create(&text(&payload["domain"]["id"]), "alice").await;
        let mut phone = Phone::tcp(&world.server, &account).await;
        phone.algorithm = Algorithm::Sha256;
        phone.come_online().await;
    }

    /// A phone that names its instance (RFC 5626) and comes back from another address is one contact.
    async fn a_phone_that_moved_is_one_contact(database: Database) {
        let world = World::start(&database).await;
        let contact = |phone: &Phone| {
            format!("<{}>;+sip.instance=\"<urn:uuid:00000000-0000-4000-8000-000000000001>\";reg-id=1;expires=600", phone.contact())
        };
        let mut before = Phone::udp(&world.server, &world.bob).await;
        let named = contact(&before);
        assert_eq!(before.register_contact(&named).await.status(), 200);
        let mut after = Phone::tcp(&world.server, &world.bob).await;
        let named = contact(&after);
        assert_eq!(after.register_contact(&named).await.status(), 200);
        let contacts = list(&world.api.endpoint(&world.bob.id).await["contacts"]);
        let uris: Vec<String> = contacts.iter().map(|c| text(&c["uri"])).collect();
        assert_eq!(uris, [after.contact()]);
        world.api.send(&world.alice, &world.bob, "to the new place").await;
        assert_eq!(after.take_message().await.body, "to the new place");
    }
}

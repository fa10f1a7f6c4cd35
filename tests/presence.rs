//! Presence: registrations by SIP as GraphQL shows them.

use crate::harness::graphql::{list, text};
use crate::harness::phone::Reply;
use crate::harness::sip::Algorithm;
use crate::harness::{Account, Feed, Phone, Socket, Value, World, both_backends, eventually, json};

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

    /// A contact that is not refreshed takes the state with it when it was the last.
    async fn e102_the_state_ends_with_the_last_contact(database: Database) {
        let server = crate::harness::Server::start_with(database.url(), &[("SIPGRAPH_SIP__EXPIRES_S_MIN", "1")]).await;
        let world = World::on(server).await;
        let (mut long, mut short) = (Phone::udp(&world.server, &world.bob).await, Phone::udp(&world.server, &world.bob).await);
        assert_eq!(long.register(600).await.status(), 200);
        assert_eq!(short.register(1).await.status(), 200);
        eventually("the shorter contact ending", || async {
            (list(&world.api.endpoint(&world.bob.id).await["contacts"]).len() == 1).then_some(())
        })
        .await;
        assert_eq!(world.api.endpoint(&world.bob.id).await["state"], "ONLINE");
        assert_eq!(long.register(1).await.status(), 200);
        world.api.state_is(&world.bob, "OFFLINE").await;
        assert_eq!(world.api.endpoint(&world.bob.id).await["contacts"], json!([]));
        assert_eq!(world.api.endpoint(&world.alice.id).await["state"], "UNKNOWN");
    }

    /// A Contact that one REGISTER binds and removes is none: the endpoint stays what it was, and nothing is told.
    async fn e102_a_contact_bound_and_removed_at_once_is_none(database: Database) {
        let world = World::start(&database).await;
        let World { server, api, bob, .. } = &world;
        let start = api.event_cursor().await;
        let mut phone = Phone::udp(server, bob).await;
        let both = format!("<{0}>;expires=600, <{0}>;expires=0", phone.contact());
        let answer = phone.register_contact(&both).await;
        assert_eq!((answer.status(), answer.get("Contact")), (200, None), "{answer:?}");
        let seen = async || {
            let seen = api.endpoint(&bob.id).await;
            (text(&seen["state"]), list(&seen["contacts"]))
        };
        assert_eq!(seen().await, ("UNKNOWN".into(), Vec::new()));
        phone.come_online().await;
        let answer = phone.register_contact(&both).await;
        assert_eq!((answer.status(), answer.get("Contact")), (200, None), "{answer:?}");
        assert_eq!(seen().await, ("OFFLINE".into(), Vec::new()));
        let told = Feed::open(server, &start).await.all_until(|event| event["state"] == "OFFLINE").await;
        let told: Vec<&str> = told.iter().filter_map(|event| event["contactStatus"].as_str()).collect();
        assert_eq!(told, ["NON_QUALIFIED", "REMOVED"]);
    }

    /// A phone that comes back under its old address gets at once what waits for it; nobody is told that it came or went.
    async fn e114_a_phone_that_lost_its_power_gets_what_waits(database: Database) {
        let world = World::start(&database).await;
        let World { server, api, alice, bob, .. } = &world;
        let mut phone = Phone::udp(server, bob).await;
        phone.come_online().await;
        phone.reply = Reply::Silence;
        let sent = api.send(alice, bob, "when you are back").await;
        let later = phone.take_message().await.answer(480, "Temporarily Unavailable", "t").with("Retry-After", "3600");
        phone.send(&later).await;
        eventually("the end of the attempt", || async {
            let message = api.message(&text(&sent["id"])).await;
            (message["deliveries"][0]["outcome"] == "RETRYING").then_some(())
        }).await;
        phone.reply = Reply::Status(200, "OK");
        let start = api.event_cursor().await;
        phone.lose_power();
        phone.come_online().await;
        assert_eq!(phone.take_message().await.body, "when you are back");
        api.message_is(&text(&sent["id"]), "SENT").await;
        let told = Feed::open(server, &start).await.all_until(|event| event["type"] == "MESSAGE_OUT_STATUS").await;
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(list(&api.endpoint(&bob.id).await["contacts"]).len(), 1);
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

    /// A phone that comes back under another URI is another contact to whoever is told; REMOVED names what was told before.
    async fn e114_a_contact_under_another_uri_is_told(database: Database) {
        let world = World::start(&database).await;
        let World { server, api, bob, .. } = &world;
        let filter = json!({ "types": ["CONTACT_STATUS_CHANGED"] });
        let mut feed = Feed::open_with(server, &server.token, &api.event_cursor().await, filter).await;
        let contact = |phone: &Phone, expires: u32| {
            format!("<{}>;+sip.instance=\"<urn:uuid:00000000-0000-4000-8000-000000000001>\";reg-id=1;expires={expires}", phone.contact())
        };
        let (mut before, mut after) = (Phone::udp(server, bob).await, Phone::udp(server, bob).await);
        for (has_moved, expires) in [(false, 600), (false, 600), (true, 600), (true, 600), (true, 0)] {
            let phone = if has_moved { &mut after } else { &mut before };
            let named = contact(phone, expires);
            assert_eq!(phone.register_contact(&named).await.status(), 200);
        }
        let mut told = Vec::new();
        for _ in 0..4 {
            let event = feed.item().await;
            told.push((text(&event["contactStatus"]), text(&event["uri"])));
        }
        let (old, new) = (before.contact(), after.contact());
        assert_eq!(told, [
            ("NON_QUALIFIED".into(), old.clone()),
            ("REMOVED".into(), old),
            ("NON_QUALIFIED".into(), new.clone()),
            ("REMOVED".into(), new),
        ]);
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

    /// What is changed of an endpoint is told too: it may come to match, or no longer.
    async fn h158_presence_follows_changes_of_endpoints(database: Database) {
        let world = World::start(&database).await;
        let World { server, api, alice, bob, .. } = &world;
        let query = "subscription($filter: EndpointFilter) { endpointStates(filter: $filter) { kind endpointId endpoint { displayName } } }";
        let mut socket = Socket::open(server, &server.token).await;
        socket.subscribe("x", query, json!({ "filter": { "enabled": true } })).await;
        let mut next = async || socket.message().await["payload"]["data"]["endpointStates"].take();
        for kind in ["INITIAL", "INITIAL", "INITIAL_DONE"] {
            assert_eq!(next().await["kind"], kind);
        }
        for (endpoint, patch, kind, label) in [
            (alice, json!({ "enabled": false }), "REMOVED", Value::Null),
            (bob, json!({ "displayName": "Bobby" }), "CHANGED", json!({ "displayName": "Bobby" })),
            (alice, json!({ "displayName": "Unseen" }), "", Value::Null),
            (alice, json!({ "enabled": true }), "CHANGED", json!({ "displayName": "Unseen" })),
        ] {
            let input = json!({ "id": endpoint.id, "patch": patch });
            assert_eq!(api.mutate("updateEndpoint", "", input).await["userErrors"], json!([]));
            if !kind.is_empty() {
                let expected = json!({ "kind": kind, "endpointId": endpoint.id, "endpoint": label });
                assert_eq!(next().await, expected, "{patch}");
            }
        }
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

    /// Who came and went, from where and why, as ARI tells it.
    async fn e114_peers_come_and_go_with_the_evidence(database: Database) {
        let server = crate::harness::Server::start_with(database.url(), &[("SIPGRAPH_SIP__EXPIRES_S_MIN", "1")]).await;
        let world = World::on(server).await;
        let filter = json!({ "types": ["PEER_STATUS_CHANGED"] });
        let mut feed = Feed::open_with(&world.server, &world.server.token, &world.api.event_cursor().await, filter).await;
        let mut phone = Phone::udp(&world.server, &world.bob).await;
        let port = |phone: &Phone| phone.contact().rsplit(':').next().unwrap().split(';').next().unwrap().parse::<u16>().unwrap();
        let at = port(&phone);
        assert_eq!(phone.register(600).await.status(), 200);
        // A second device changes nothing for the peer.
        let mut second = Phone::tcp(&world.server, &world.bob).await;
        assert_eq!(second.register(600).await.status(), 200);
        assert_eq!(second.register(0).await.status(), 200);
        assert_eq!(phone.register(0).await.status(), 200);
        assert_eq!(phone.register(1).await.status(), 200);
        let mut told = Vec::new();
        for _ in 0..4 {
            let event = feed.item().await;
            assert_eq!(event["endpointId"], json!(world.bob.id));
            told.push(json!([event["peerStatus"], event["cause"], event["address"], event["port"]]));
        }
        assert_eq!(told, [
            json!(["Reachable", null, "127.0.0.1", at]),
            json!(["Unreachable", "Unregistered", "127.0.0.1", at]),
            json!(["Reachable", null, "127.0.0.1", at]),
            json!(["Unreachable", "Expired", "127.0.0.1", at]),
        ]);
        let mut third = Phone::tcp(&world.server, &world.bob).await;
        let at = port(&third);
        third.come_online().await;
        third.hang_up().await;
        feed.item().await;
        let event = feed.item().await;
        assert_eq!((&event["peerStatus"], &event["cause"], &event["port"]), (&json!("Unreachable"), &json!("ConnectionClosed"), &json!(at)));
    }

    /// Where the operator has phones asked, contacts show whether they answer, and how long that takes.
    async fn e114_contacts_show_whether_their_phones_answer(database: Database) {
        let server = crate::harness::Server::start_with(database.url(), &[("SIPGRAPH_SIP_QUALIFY_S", "1")]).await;
        let world = World::on(server).await;
        let filter = json!({ "types": ["CONTACT_STATUS_CHANGED"] });
        let mut feed = Feed::open_with(&world.server, &world.server.token, &world.api.event_cursor().await, filter).await;
        let mut phone = Phone::udp(&world.server, &world.bob).await;
        phone.come_online().await;
        let asked = phone.next_request(crate::harness::STEP).await.expect("an OPTIONS");
        assert_eq!(asked.method(), Some("OPTIONS"), "{asked:?}");
        assert_eq!(asked.first, format!("OPTIONS {} SIP/2.0", phone.contact()));
        assert!(!asked.header("From").contains("bob"), "{asked:?}");
        let contact = async || world.api.endpoint(&world.bob.id).await["contacts"][0].clone();
        let told = async |feed: &mut Feed| {
            let event = feed.item().await;
            (text(&event["contactStatus"]), event["roundTripMs"].as_f64())
        };
        assert_eq!(told(&mut feed).await, ("NON_QUALIFIED".to_owned(), None));
        let (status, round_trip) = told(&mut feed).await;
        assert_eq!(status, "REACHABLE");
        assert!((0.0..4000.0).contains(&round_trip.unwrap()), "{round_trip:?}");
        let seen = contact().await;
        assert_eq!(seen["status"], "REACHABLE");
        assert!(seen["roundTripMs"].as_f64().unwrap() > 0.0, "{seen}");
        // It refuses, but it answers.
        phone.reply = Reply::Status(486, "Busy Here");
        assert!(phone.next_request(crate::harness::STEP).await.is_some());
        // It says nothing: it is still registered, and shown as unreachable, once.
        phone.reply = Reply::Silence;
        let unreachable = async {
            let told = told(&mut feed).await;
            assert_eq!(told, ("UNREACHABLE".to_owned(), None));
        };
        let listening = async { while phone.next_request(crate::harness::STEP).await.is_some() {} };
        tokio::select! {
            () = unreachable => {}
            () = listening => panic!("no requests come"),
        }
        let seen = contact().await;
        assert_eq!((&seen["status"], &seen["roundTripMs"]), (&json!("UNREACHABLE"), &Value::Null));
        assert_eq!(world.api.endpoint(&world.bob.id).await["state"], "ONLINE");
        phone.reply = Reply::Status(200, "OK");
        let reachable = async { assert_eq!(told(&mut feed).await.0, "REACHABLE") };
        let listening = async { while phone.next_request(crate::harness::STEP).await.is_some() {} };
        tokio::select! {
            () = reachable => {}
            () = listening => panic!("no requests come"),
        }
    }

    /// What was found out of a contact ends, and is told to end, when its phone comes over another flow.
    async fn e114_a_contact_on_another_flow_is_unknown_again(database: Database) {
        let server = crate::harness::Server::start_with(database.url(), &[("SIPGRAPH_SIP_QUALIFY_S", "1")]).await;
        let world = World::on(server).await;
        let filter = json!({ "types": ["CONTACT_STATUS_CHANGED"] });
        let mut feed = Feed::open_with(&world.server, &world.server.token, &world.api.event_cursor().await, filter).await;
        let (mut one, mut two) = (Phone::udp(&world.server, &world.bob).await, Phone::udp(&world.server, &world.bob).await);
        let uri = one.contact();
        let contact = format!("<{uri}>;expires=600");
        for phone in [&mut one, &mut two] {
            assert_eq!(phone.register_contact(&contact).await.status(), 200);
            assert_eq!(feed.item().await["contactStatus"], "NON_QUALIFIED");
            assert_eq!(world.api.endpoint(&world.bob.id).await["contacts"][0]["status"], "NON_QUALIFIED");
            let asked = phone.next_request(crate::harness::STEP).await.expect("an OPTIONS");
            assert_eq!(asked.method(), Some("OPTIONS"), "{asked:?}");
            let event = feed.item().await;
            assert_eq!((&event["contactStatus"], &event["uri"]), (&json!("REACHABLE"), &json!(uri)));
        }
    }

    /// Behind a proxy: its Path is kept, told again to those who understand it, and named in the Route of what is delivered.
    async fn path_is_kept_and_used_as_route(database: Database) {
        let world = World::start(&database).await;
        let mut phone = Phone::udp(&world.server, &world.bob).await;
        let (near, far) = ("<sip:near.invalid;lr>", "<sip:token@far.invalid:5070;lr;ob>");
        let contact = format!("<sip:bob@10.0.0.9:5060>;expires=600;reg-id=1;+sip.instance=\"<urn:uuid:{}>\"", "00000000-0000-4000-8000-000000000001");
        let register = |phone: &mut Phone| {
            phone.register_request().with("Path", near).with("Path", far).with("Contact", contact.clone())
        };
        let request = register(&mut phone).with("Supported", "path, outbound").with("Require", "path");
        let (answer, _) = phone.ask_signed(request).await;
        assert_eq!(answer.status(), 200, "{answer:?}");
        assert_eq!(answer.header("Path"), format!("{near}, {far}"));
        // The edge proxy keeps flows, as its `ob` says (RFC 5626 section 6).
        assert_eq!((answer.header("Require"), answer.header("Flow-Timer")), ("outbound", "120"));
        assert!(answer.header("Supported").contains("path"), "{answer:?}");
        world.api.send(&world.alice, &world.bob, "by the proxies").await;
        let taken = phone.take_message().await;
        assert_eq!(taken.body, "by the proxies");
        assert_eq!(taken.first, "MESSAGE sip:bob@10.0.0.9:5060 SIP/2.0");
        assert_eq!(taken.header("Route"), format!("{near}, {far}"));
        // Whoever does not understand Path is not told of it, and it is used all the same.
        let request = register(&mut phone);
        let (answer, _) = phone.ask_signed(request).await;
        assert_eq!((answer.status(), answer.get("Path"), answer.get("Require")), (200, None, None), "{answer:?}");
        world.api.send(&world.alice, &world.bob, "again").await;
        assert_eq!(phone.take_message().await.header("Route"), format!("{near}, {far}"));
        for (path, status) in [("<sip:a@b", 400), ("mailto:a@b", 400), ("", 400), (&*format!("<sip:{}@b;lr>", "a".repeat(1100)), 400)] {
            let request = phone.register_request().with("Path", path).with("Contact", contact.clone());
            let (answer, _) = phone.ask_signed(request).await;
            assert_eq!(answer.status(), status, "{path}: {answer:?}");
        }
        let request = phone.register_request().with("Require", "path, tea").with("Contact", contact.clone());
        let answer = phone.ask(&request).await;
        assert_eq!((answer.status(), answer.header("Unsupported")), (420, "tea"), "{answer:?}");
    }

    /// RFC 5626: a device may rely on its flow where its first hop keeps flows; one instance and reg-id are one contact.
    async fn outbound_is_granted_where_the_first_hop_keeps_flows(database: Database) {
        let world = World::start(&database).await;
        let contact = |phone: &Phone, reg_id: u32| {
            format!("<{}>;+sip.instance=\"<urn:uuid:00000000-0000-4000-8000-000000000001>\";reg-id={reg_id};expires=600", phone.contact())
        };
        let register = async |phone: &mut Phone, reg_id: u32, supported: &str, proxy: bool| {
            let contact = contact(phone, reg_id);
            let mut request = phone.register_request().with("Contact", contact).with("Supported", supported);
            if proxy {
                request = request.with("Via", "SIP/2.0/TCP 192.0.2.1;branch=z9hG4bKbelow");
            }
            let (answer, _) = phone.ask_signed(request).await;
            assert_eq!(answer.status(), 200, "{answer:?}");
            (answer.get("Require").map(str::to_owned), answer.get("Flow-Timer").map(str::to_owned))
        };
        let granted = (Some("outbound".to_owned()), Some("120".to_owned()));
        let mut tcp = Phone::tcp(&world.server, &world.bob).await;
        let mut ws = Phone::ws(&world.server, &world.bob).await;
        let mut udp = Phone::udp(&world.server, &world.bob).await;
        assert_eq!(register(&mut tcp, 1, "outbound, path", false).await, granted);
        assert_eq!(register(&mut tcp, 1, "path", false).await, (None, None));
        // A proxy that does not say that it keeps flows, and UDP, where we answer no STUN.
        assert_eq!(register(&mut tcp, 1, "outbound", true).await, (None, None));
        assert_eq!(register(&mut udp, 3, "outbound", false).await, (None, None));
        assert_eq!(register(&mut ws, 2, "gruu, outbound", false).await, granted);
        let uris = async || {
            let contacts = list(&world.api.endpoint(&world.bob.id).await["contacts"]);
            contacts.iter().map(|c| text(&c["uri"])).collect::<Vec<_>>()
        };
        assert_eq!(uris().await, [tcp.contact(), udp.contact(), ws.contact()]);
        // The first flow is lost and built anew: the same pair takes its place, whatever its address is.
        let mut again = Phone::tcp(&world.server, &world.bob).await;
        assert_eq!(register(&mut again, 1, "outbound", false).await, granted);
        assert_eq!(uris().await, [again.contact(), udp.contact(), ws.contact()]);
        // The end of the flow that was replaced takes nothing with it.
        tcp.hang_up().await;
        ws.hang_up().await;
        crate::harness::eventually("the other's end", || async { (uris().await.len() == 2).then_some(()) }).await;
        assert_eq!(uris().await, [again.contact(), udp.contact()]);
    }
}

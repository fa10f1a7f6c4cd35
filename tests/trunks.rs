//! Trunks: messages that go out to carriers, over each transport, with their challenges, fail-over and limits.

use crate::harness::graphql::{list, text};
use crate::harness::phone::Reply;
use crate::harness::server::ALL_SCOPES;
use crate::harness::sip::Challenge;
use crate::harness::sipp::free_port;
use crate::harness::{
    Account, Api, Feed, Phone, Server, Sipp, Value, World, both_backends, eventually, json,
};
use sipgraph_testkit::certificates::Authority;
use std::time::{Duration, Instant};

const OURS: &str = "+12125550100";
const OUTSIDE: &str = "+4930123456";
/// A number of another account.
const THEIRS: &str = "+12125550200";

/// A stage on which alice may reach outside and has a number.
async fn stage(database: &crate::harness::Database) -> World {
    let networks = [("SIPGRAPH_SIP_TRUNK_NETWORKS", "127.0.0.0/8")];
    stage_with(Server::start_with(database.url(), &networks).await).await
}

async fn stage_with(server: Server) -> World {
    let world = World::on(server).await;
    world
        .server
        .cli(&["number", "assign", "--account", "acme", OURS])
        .await;
    let patch = json!({ "allowOutside": true, "numbers": [OURS], "callerId": "Alice \"A\"" });
    let input = json!({ "id": world.alice.id, "patch": patch });
    assert_eq!(
        world.api.mutate("updateEndpoint", "", input).await["userErrors"],
        json!([])
    );
    world
}

/// Makes a trunk and gives its id.
async fn trunk(world: &World, addresses: Value, extra: Value) -> String {
    world
        .api
        .trunk_create(&world.domain, addresses, extra)
        .await
}

/// Sends a text from alice to the outside number and gives its id.
async fn send(world: &World, body: &str) -> String {
    send_to(world, OUTSIDE, body).await
}

/// Sends a text from alice to a number and gives its id.
async fn send_to(world: &World, number: &str, body: &str) -> String {
    let input = json!({ "from": { "endpointId": world.alice.id }, "to": { "number": number }, "body": body });
    text(&world.api.send_input(input).await["id"])
}

/// A system at a port of its own that takes messages, with its port.
async fn carrier(world: &World) -> (Phone, u16) {
    let nobody = Account {
        id: String::new(),
        user: "carrier".into(),
        domain: "carrier.test".into(),
        password: String::new(),
    };
    let phone = Phone::udp(&world.server, &nobody).await;
    let contact = phone.contact();
    let port = contact.rsplit(':').next().unwrap().parse().unwrap();
    (phone, port)
}

/// Keeps a system answering until a message has a status.
async fn answering(world: &World, carrier: &mut Phone, id: &str, status: &str) -> Value {
    tokio::select! {
        message = world.api.message_is(id, status) => message,
        () = async { loop { carrier.next_request(Duration::from_secs(1)).await; } } => unreachable!("it answers for ever"),
    }
}

both_backends! {
    /// A trunk that demands encryption, by itself or by the account's profile, is not reached without.
    async fn d098_a_trunk_is_not_reached_in_the_clear(database: Database) {
        let world = stage(&database).await;
        let (mut carrier, port) = carrier(&world).await;
        let addresses = json!([{ "ip": "127.0.0.1", "port": port }, { "ip": "127.0.0.1", "port": port, "transport": "TCP" }]);
        let id = trunk(&world, addresses, json!({ "encryption": "REQUIRED" })).await;
        let input = json!({ "from": { "endpointId": world.alice.id }, "to": { "number": OUTSIDE }, "body": "x" });
        world.api.refused_at("sendMessage", input.clone(), "NO_ROUTE", "to").await;
        let profile = |encryption: &str| json!({ "patch": { "defaultEncryption": encryption } });
        world.api.mutate("updateSipProfile", "", profile("REQUIRED")).await;
        let patch = json!({ "id": id, "patch": { "encryption": "DEFAULT" } });
        assert_eq!(world.api.mutate("updateEndpoint", "", patch).await["userErrors"], json!([]));
        world.api.refused_at("sendMessage", input, "NO_ROUTE", "to").await;
        assert!(carrier.anything(Duration::from_millis(500)).await.is_none());
        world.api.mutate("updateSipProfile", "", profile("OPTIONAL")).await;
        let id = send(&world, "now").await;
        answering(&world, &mut carrier, &id, "SENT").await;
    }

    /// A message to an outside number goes to the trunk's address as the number, from a number of ours.
    async fn h163_a_message_goes_out_by_the_trunk(database: Database) {
        let world = stage(&database).await;
        let (mut carrier, port) = carrier(&world).await;
        trunk(&world, json!([{ "ip": "127.0.0.1", "port": port }]), json!({})).await;
        let id = send(&world, "Hallo Berlin").await;
        let message = carrier.take_message().await;
        assert_eq!(message.body, "Hallo Berlin");
        assert_eq!(message.first, format!("MESSAGE sip:{OUTSIDE}@127.0.0.1:{port} SIP/2.0"));
        assert!(message.header("From").starts_with(&format!("\"Alice \\\"A\\\"\" <sip:{OURS}@example.test>;tag=")), "{message:?}");
        assert!(message.header("To").contains(OUTSIDE), "{message:?}");
        let sent = world.api.message_is(&id, "SENT").await;
        assert_eq!((&sent["origin"], &sent["direction"]), (&json!("API"), &json!("OUT")));
        let deliveries = list(&sent["deliveries"]);
        assert_eq!((deliveries.len(), &deliveries[0]["contactUri"]), (1, &json!(format!("sip:127.0.0.1:{port}"))), "{sent}");
        let chats = world.api.chats(json!({})).await;
        assert_eq!(chats.len(), 1, "nobody of ours received it");
        assert_eq!((&chats[0]["ownNumber"], &chats[0]["peer"]), (&json!(OURS), &json!(OUTSIDE)));
    }

    /// A phone that writes to an outside number makes an OUT message, a chat and both events.
    async fn f134_a_phone_writes_to_an_outside_number(database: Database) {
        let world = stage(&database).await;
        let (mut carrier, port) = carrier(&world).await;
        trunk(&world, json!([{ "ip": "127.0.0.1", "port": port }]), json!({})).await;
        let mut phone = Phone::udp(&world.server, &world.alice).await;
        let answer = phone.message(&format!("sip:{OUTSIDE}@example.test"), "from the phone").await;
        assert_eq!(answer.status(), 202, "{answer:?}");
        assert_eq!(carrier.take_message().await.body, "from the phone");
        let sent = world.api.messages(json!({ "endpointId": world.alice.id })).await;
        assert_eq!((sent.len(), &sent[0]["origin"], &sent[0]["direction"]), (1, &json!("SIP"), &json!("OUT")));
        world.api.message_is(&text(&sent[0]["id"]), "SENT").await;
        let query = "{ events(first: 50, filter: { types: [MESSAGE_OUT, MESSAGE_OUT_STATUS, MESSAGE_IN] }) { nodes { type
            ... on MessageOut { endpointName srcNumber dstNumber text } ... on MessageOutStatus { status } } } }";
        let events = list(&world.api.data(query, json!({})).await["events"]["nodes"]);
        assert_eq!(events, [
            json!({ "type": "MESSAGE_OUT", "endpointName": world.alice.address(), "srcNumber": OURS, "dstNumber": OUTSIDE, "text": "from the phone" }),
            json!({ "type": "MESSAGE_OUT_STATUS", "status": "SENT" }),
        ]);
        let chats = world.api.chats(json!({ "endpointId": world.alice.id })).await;
        assert_eq!((chats.len(), &chats[0]["ownNumber"], &chats[0]["peer"], &chats[0]["id"]), (1, &json!(OURS), &json!(OUTSIDE), &sent[0]["chatId"]));
    }

    /// The status of a message names its parties as the message did when it went out: an outside number, and one of ours.
    async fn f131_the_status_names_who_the_message_named(database: Database) {
        let world = stage(&database).await;
        let (mut carrier, port) = carrier(&world).await;
        trunk(&world, json!([{ "ip": "127.0.0.1", "port": port }]), json!({})).await;
        let number = "+12125550101";
        world.server.cli(&["number", "assign", "--account", "acme", number]).await;
        let patch = json!({ "id": world.bob.id, "patch": { "numbers": [number] } });
        assert_eq!(world.api.mutate("updateEndpoint", "", patch).await["userErrors"], json!([]));
        let mut phone = Phone::udp(&world.server, &world.bob).await;
        phone.come_online().await;
        let alice = world.alice.address();
        for (to, src, dst) in [
            (json!({ "number": OUTSIDE }), OURS, OUTSIDE),
            (json!({ "number": number }), alice.as_str(), number),
            (json!({ "endpointId": world.bob.id }), alice.as_str(), "bob@example.test"),
        ] {
            let mut feed = Feed::open(&world.server, &world.api.event_cursor().await).await;
            world.api.send_input(json!({ "from": { "endpointId": world.alice.id }, "to": to, "body": "who is who" })).await;
            let told = async {
                for kind in ["MESSAGE_OUT", "MESSAGE_OUT_STATUS"] {
                    let event = feed.next(kind).await;
                    let named = ["endpointName", "srcNumber", "dstNumber", "text"].map(|field| text(&event[field]));
                    assert_eq!(named, [alice.as_str(), src, dst, "who is who"], "{kind}");
                }
            };
            tokio::select! {
                () = told => {}
                () = async { loop { carrier.next_request(Duration::from_secs(1)).await; } } => unreachable!("it answers for ever"),
                () = async { loop { phone.next_request(Duration::from_secs(1)).await; } } => unreachable!("it answers for ever"),
            }
        }
    }

    /// The digest of a carrier, over UDP and over TCP: the address's own password before the trunk's.
    async fn h163_a_challenge_is_answered(database: Database) {
        let world = stage(&database).await;
        for (transport, over) in [("UDP", "u1"), ("TCP", "t1")] {
            let port = free_port();
            let sipp = Sipp::trunk(&world.server, port, over, 1);
            let id = trunk(
                &world,
                json!([{ "ip": "127.0.0.1", "port": port, "transport": transport, "sipUsername": "acme", "sipPassword": "carrier-secret" }]),
                json!({ "outSipUsername": "acme", "outSipPassword": "another" }),
            )
            .await;
            let message = send(&world, "signed").await;
            sipp.ends().await;
            let sent = world.api.message_is(&message, "SENT").await;
            assert_eq!(sent["deliveries"].as_array().unwrap().last().unwrap()["sipStatus"], 202, "{transport}: {sent}");
            world.api.mutate("deleteEndpoint", "", json!({ "id": id })).await;
        }
        let port = free_port();
        let sipp = Sipp::trunk(&world.server, port, "u1", 1);
        let addresses = json!([{ "ip": "127.0.0.1", "port": port }]);
        trunk(&world, addresses, json!({ "outSipUsername": "acme", "outSipPassword": "wrong-secret" })).await;
        let message = send(&world, "signed wrongly").await;
        sipp.ends().await;
        let failed = world.api.message_is(&message, "FAILED").await;
        assert_eq!((&failed["failure"]["code"], &failed["failure"]["sipStatus"]), (&json!("REFUSED"), &json!(403)), "{failed}");
        assert!(!json!(failed).to_string().contains("wrong-secret"));
    }

    /// The best address first, the next after a 5xx and where nobody listens; a refusal of the other side ends it.
    async fn h163_addresses_are_tried_in_turn(database: Database) {
        let world = stage(&database).await;
        let ((mut one, first), (mut two, second)) = (carrier(&world).await, carrier(&world).await);
        one.reply = Reply::Status(503, "Service Unavailable");
        let address = |port: u16, priority: i32, transport: &str| json!({ "ip": "127.0.0.1", "port": port, "priority": priority, "transport": transport });
        // Inbound ones are not sent to; nobody listens at the port of the best one.
        let inward = json!({ "ip": "127.0.0.1", "port": second, "direction": "INBOUND", "priority": 0 });
        let addresses = json!([address(second, 9, "UDP"), address(first, 5, "UDP"), address(free_port(), 1, "TCP"), inward]);
        trunk(&world, addresses, json!({})).await;
        let id = send(&world, "in turn").await;
        let call_id = one.take_message().await.header("Call-ID").to_owned();
        let taken = two.take_message().await;
        assert_eq!((taken.body.as_str(), taken.header("Call-ID")), ("in turn", call_id.as_str()));
        let sent = world.api.message_is(&id, "SENT").await;
        let outcomes: Vec<String> = list(&sent["deliveries"]).iter().map(|d| text(&d["outcome"])).collect();
        assert_eq!(outcomes, ["TRANSPORT_ERROR", "RETRYING", "DELIVERED"], "{sent}");
        one.reply = Reply::Status(404, "Not Found");
        let id = send(&world, "to nobody").await;
        let failed = answering(&world, &mut one, &id, "FAILED").await;
        assert_eq!((&failed["failure"]["code"], &failed["failure"]["sipStatus"]), (&json!("REFUSED"), &json!(404)), "{failed}");
    }

    /// An address that never answers is given up after 32 s (RFC 3261 timer F), and the next one has its turn.
    async fn h163_a_silent_address_is_passed_over(database: Database) {
        let world = stage(&database).await;
        let ((mut silent, first), (mut other, second)) = (carrier(&world).await, carrier(&world).await);
        silent.reply = Reply::Silence;
        let addresses = json!([{ "ip": "127.0.0.1", "port": second, "priority": 2 }, { "ip": "127.0.0.1", "port": first, "priority": 1 }]);
        trunk(&world, addresses, json!({})).await;
        let ids = [send(&world, "anybody?").await, send_to(&world, THEIRS, "anybody?").await];
        let asked = silent.take_message().await;
        let taken = other.next_request(Duration::from_secs(60)).await.expect("a MESSAGE at the next address");
        // The system behind both addresses has the other message by the first one already.
        other.reply = Reply::Status(482, "Loop Detected");
        let again = other.next_request(Duration::from_secs(60)).await.expect("the other MESSAGE at the next address");
        assert_eq!((taken.body.as_str(), again.body.as_str()), ("anybody?", "anybody?"));
        assert!([&taken, &again].iter().any(|taken| taken.header("Call-ID") == asked.header("Call-ID")), "{asked:?}");
        let mut statuses = Vec::new();
        for id in ids {
            let sent = world.api.message_is(&id, "SENT").await;
            let deliveries = list(&sent["deliveries"]);
            let outcomes: Vec<(Value, Value)> = deliveries.iter().map(|d| (d["outcome"].clone(), d["contactUri"].clone())).collect();
            let expected = [("TIMEOUT", first), ("DELIVERED", second)].map(|(outcome, port)| (json!(outcome), json!(format!("sip:127.0.0.1:{port}"))));
            assert_eq!(outcomes, expected, "{sent}");
            statuses.push(deliveries[1]["sipStatus"].as_i64().unwrap());
        }
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 482]);
    }

    /// The trace tells of a carrier that wants a password, and of a trunk that lost its way out meanwhile.
    async fn h159_a_trunk_without_a_password_or_a_way_out(database: Database) {
        let world = stage(&database).await;
        let (mut carrier, port) = carrier(&world).await;
        let id = trunk(&world, json!([{ "ip": "127.0.0.1", "port": port }]), json!({})).await;
        carrier.reply = Reply::Status(407, "Proxy Authentication Required");
        let unsigned = send(&world, "unsigned").await;
        let unsigned = answering(&world, &mut carrier, &unsigned, "FAILED").await;
        assert_eq!((&unsigned["failure"]["code"], &unsigned["failure"]["sipStatus"]), (&json!("AUTH_FAILED"), &json!(407)), "{unsigned}");
        carrier.reply = Reply::Status(503, "Service Unavailable");
        let stranded = send(&world, "stranded").await;
        carrier.take_message().await;
        let patch = json!({ "addresses": [{ "ip": "127.0.0.1", "port": port, "direction": "INBOUND" }] });
        let input = json!({ "id": id, "patch": patch, "nestedObjects": "REPLACE" });
        assert_eq!(world.api.mutate("updateEndpoint", "", input).await["userErrors"], json!([]));
        let stranded = answering(&world, &mut carrier, &stranded, "FAILED").await;
        assert_eq!((&stranded["failure"]["code"], &stranded["failure"]["sipStatus"]), (&json!("NO_ROUTE"), &json!(503)), "{stranded}");
        assert_eq!(list(&stranded["deliveries"]).len(), 1, "{stranded}");
    }

    /// The operator's limit is held: no second has more messages. Those to one number come in their order and as fast as the
    /// limit says, among those to others, and each is sent once.
    async fn h163_the_limit_of_a_trunk_is_held(database: Database) {
        const LIMIT: usize = 5;
        let world = stage(&database).await;
        let (mut carrier, port) = carrier(&world).await;
        let id = trunk(&world, json!([{ "ip": "127.0.0.1", "port": port }]), json!({})).await;
        let told = world.server.cli(&["endpoint", "limit", "--cps", "5", "gw@example.test"]).await;
        assert!(told.contains('5'), "{told}");
        assert_eq!(world.api.endpoint(&id).await["cpsLimit"], LIMIT);
        let to_one: Vec<String> = (0..20).map(|n| format!("to one {n}")).collect();
        let sending = async {
            let mut sent = Vec::new();
            for body in &to_one {
                sent.push(send(&world, body).await);
            }
            for n in 0..10 {
                sent.push(send_to(&world, &format!("+49301234{n:03}"), "to another").await);
            }
            sent
        };
        let (begun, mut times, mut bodies) = (Instant::now(), Vec::new(), Vec::new());
        let taking = async {
            for _ in 0..30 {
                bodies.push(carrier.take_message().await.body);
                times.push(Instant::now());
            }
        };
        let (sent, ()) = tokio::join!(sending, taking);
        // Six seconds by the limit; one after the other with the wait of each, those to one number alone took 38.
        assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
        for (first, after) in times.iter().zip(times.iter().skip(LIMIT)) {
            // Some less than a second: this test may be late to look.
            assert!(*after - *first >= Duration::from_millis(800), "{times:?}");
        }
        bodies.retain(|body| body != "to another");
        assert_eq!(bodies, to_one);
        for id in sent {
            let message = world.api.message_is(&id, "SENT").await;
            assert_eq!(list(&message["deliveries"]).len(), 1, "{message}");
        }
        world.server.cli(&["endpoint", "limit", "--cps", "0", "sip:gw@example.test"]).await;
        assert_eq!(world.api.endpoint(&id).await["cpsLimit"], Value::Null);
        for wrong in [&["endpoint", "limit", "--cps", "2", "nobody@example.test"][..], &["endpoint", "limit", "--cps", "2", "gw"]] {
            assert_eq!(world.server.cli_output(wrong).await.status.code(), Some(1), "{wrong:?}");
        }
    }

    /// What leads to this machine, its neighbours, a metadata service or a listener of ours is not sent to.
    async fn h163_inner_addresses_are_refused(database: Database) {
        let world = stage_with(Server::start(&database).await).await;
        let (_, port) = carrier(&world).await;
        let inner = ["127.0.0.1", "localhost", "10.0.0.1", "169.254.169.254", "192.168.0.1", "::1", "0.0.0.0"];
        let addresses: Vec<Value> = inner.iter().map(|ip| json!({ "ip": ip, "port": port })).collect();
        trunk(&world, json!(addresses), json!({})).await;
        let id = send(&world, "not to be sent").await;
        eventually("an attempt at each address", || async {
            let deliveries = list(&world.api.message(&id).await["deliveries"]);
            (deliveries.iter().filter(|d| d["outcome"] == "TRANSPORT_ERROR").count() >= inner.len()).then_some(())
        })
        .await;
        let message = world.api.message(&id).await;
        for delivery in list(&message["deliveries"]).iter().take(inner.len()) {
            assert!(text(&delivery["reason"]).contains("is not sent to"), "{delivery}");
        }
        // Where inner networks are allowed, our own listeners still are not: those of SIP, of HTTP and of the metrics.
        let environment = [("SIPGRAPH_SIP_TRUNK_NETWORKS", "127.0.0.0/8, ::1"), ("SIPGRAPH_METRICS_LISTEN", "127.0.0.1:0")];
        let other = crate::harness::Database::sqlite();
        let world = stage_with(Server::start_with(other.url(), &environment).await).await;
        let port = |kind: &str| world.server.listener(kind, 0).rsplit(':').next().unwrap().parse::<u16>().unwrap();
        let own = [("udp", "UDP"), ("http", "TCP"), ("metrics", "TCP")];
        let own = own.map(|(kind, transport)| json!({ "ip": "127.0.0.1", "port": port(kind), "transport": transport }));
        trunk(&world, json!(own), json!({})).await;
        let id = send(&world, "to ourselves").await;
        let deliveries = eventually("the refusals", || async {
            let deliveries = list(&world.api.message(&id).await["deliveries"]);
            let ended = deliveries.iter().filter(|d| d["outcome"] == "TRANSPORT_ERROR").count();
            (ended >= own.len()).then_some(deliveries)
        })
        .await;
        for delivery in deliveries.iter().take(own.len()) {
            assert!(text(&delivery["reason"]).contains("a listener of this server"), "{delivery}");
        }
    }
}

/// A MESSAGE as a carrier sends it, from a number of its own to a number of ours.
fn from_outside(carrier: &mut Phone, server: &Server, to: &str, body: &str) -> crate::harness::Sip {
    let uri = format!("sip:{to}@{}", server.udp);
    carrier
        .message_request(&uri, body)
        .set("From", Some(&foreign()))
}

/// Who sends from outside.
fn foreign() -> String {
    format!("<sip:{OUTSIDE}@carrier.test>;tag=1")
}

/// What the usual trunk proves itself by.
fn gateway(password: &str) -> Account {
    Account {
        id: String::new(),
        user: "gw".into(),
        domain: "example.test".into(),
        password: password.into(),
    }
}

both_backends! {
    /// A carrier is known by its source and our port; the called number names the endpoint, which keeps the message, and whose
    /// phones get it too.
    async fn h163_a_message_comes_in_by_the_trunk(database: Database) {
        let world = stage(&database).await;
        let (mut carrier, _) = carrier(&world).await;
        let port = world.server.udp.port();
        let strip = json!({ "rule": { "rewrite": { "pattern": "^77", "replace": "+" } } });
        let addresses = json!([{ "ip": "localhost", "dstPort": port, "direction": "INBOUND" }]);
        let id = trunk(&world, addresses, json!({ "authRequired": false, "transformations": [strip] })).await;
        let mut phone = Phone::udp(&world.server, &world.alice).await;
        phone.come_online().await;
        let request = from_outside(&mut carrier, &world.server, "7712125550100", "from outside");
        // Names are looked up in the background, within some seconds.
        eventually("the name being known", || async {
            let (mut carrier, _) = self::carrier(&world).await;
            (carrier.ask(&request).await.status() == 202).then_some(())
        })
        .await;
        let message = phone.take_message().await;
        assert_eq!(message.body, "from outside");
        // In our domain, so that the phone can answer.
        assert!(message.header("From").contains(&format!("<sip:{OUTSIDE}@example.test>")), "{message:?}");
        let received = world.api.messages(json!({})).await;
        assert_eq!(received.len(), 1, "{received:?}");
        for (field, value) in [("direction", "IN"), ("origin", "TRUNK"), ("status", "RECEIVED"), ("endpointId", world.alice.id.as_str())] {
            assert_eq!(received[0][field], value, "{received:?}");
        }
        let chats = world.api.chats(json!({})).await;
        assert_eq!((&chats[0]["ownNumber"], &chats[0]["peer"], &chats[0]["unreadCount"]), (&json!(OURS), &json!(OUTSIDE), &json!(1)));
        // The same one again is the same message.
        let again = request.set("Via", Some(&format!("SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK{};rport", crate::harness::sip::unique())));
        assert_eq!(carrier.ask(&again).await.status(), 202);
        assert_eq!(world.api.messages(json!({})).await.len(), 1);
        // What was taken once is taken, though its recipient would get no new one now.
        for enabled in [false, true] {
            let input = json!({ "id": world.alice.id, "patch": { "enabled": enabled } });
            assert_eq!(world.api.mutate("updateEndpoint", "", input).await["userErrors"], json!([]));
            let via = format!("SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK{};rport", crate::harness::sip::unique());
            assert_eq!(carrier.ask(&again.clone().set("Via", Some(&via))).await.status(), 202);
            assert_eq!(world.api.messages(json!({})).await.len(), 1);
            if !enabled {
                let new = from_outside(&mut carrier, &world.server, "7712125550100", "too late");
                assert_eq!(carrier.ask(&new).await.status(), 480);
            }
        }
        // A carrier's report and typing notice are taken, and tell nobody anything.
        for kind in ["message/imdn+xml", "application/im-iscomposing+xml"] {
            let request = from_outside(&mut carrier, &world.server, "7712125550100", "x").set("Content-Type", Some(kind));
            assert_eq!(carrier.ask(&request).await.status(), 200, "{kind}");
        }
        assert_eq!(world.api.messages(json!({})).await.len(), 1);
        // A number that nobody has, and one that the rules do not make one.
        for to in ["+12125550199", "alice"] {
            let request = from_outside(&mut carrier, &world.server, to, "x");
            assert_eq!(carrier.ask(&request).await.status(), 404, "{to}");
        }
        // A source that can be forged is no trunk where encryption is demanded.
        for (encryption, status) in [("REQUIRED", 403), ("OPTIONAL", 202)] {
            let input = json!({ "id": id, "patch": { "encryption": encryption } });
            assert_eq!(world.api.mutate("updateEndpoint", "", input).await["userErrors"], json!([]));
            eventually("the trunk's encryption holding", || async {
                let (mut carrier, _) = self::carrier(&world).await;
                let request = from_outside(&mut carrier, &world.server, "7712125550100", encryption);
                (carrier.ask(&request).await.status() == status).then_some(())
            })
            .await;
        }
        // Outbound only: it is not known any more.
        let patch = json!({ "addresses": [{ "ip": "127.0.0.1", "dstPort": port, "direction": "OUTBOUND" }] });
        let input = json!({ "id": id, "patch": patch, "nestedObjects": "REPLACE" });
        assert_eq!(world.api.mutate("updateEndpoint", "", input).await["userErrors"], json!([]));
        eventually("the carrier being unknown", || async {
            let (mut carrier, _) = self::carrier(&world).await;
            let request = carrier.message_request("sip:+12125550100@example.test", "x");
            (carrier.ask(&request).await.status() == 403).then_some(())
        })
        .await;
    }

    /// What a carrier brings to an echo goes back by the trunk, where the echo may reach outside: to the number or the address that
    /// it came from, from the number that it came to.
    async fn h165_an_echo_answers_by_the_trunk(database: Database) {
        let world = stage(&database).await;
        let (mut carrier, port) = carrier(&world).await;
        let addresses = json!([{ "ip": "127.0.0.1", "port": port, "dstPort": world.server.udp.port(), "direction": "ANY" }]);
        trunk(&world, addresses, json!({ "authRequired": false })).await;
        let number = "+12125550101";
        world.server.cli(&["number", "assign", "--account", "acme", number]).await;
        let input = json!({ "domainId": world.domain, "name": "echo", "credentials": { "password": "secret-of-it" }, "simulation": "ECHO", "numbers": [number] });
        let echo = world.api.mutate("createEndpoint", "endpoint { id } ", input).await["endpoint"]["id"].clone();
        let request = from_outside(&mut carrier, &world.server, number, "to the inside");
        assert_eq!(carrier.ask(&request).await.status(), 202);
        eventually("the delivery", || async {
            let taken = world.api.messages(json!({ "endpointId": echo })).await.pop()?;
            (taken["deliveries"][0]["outcome"] == "DELIVERED").then_some(())
        })
        .await;
        assert_eq!(world.api.messages(json!({ "direction": "OUT" })).await.len(), 0);
        let input = json!({ "id": echo, "patch": { "allowOutside": true } });
        assert_eq!(world.api.mutate("updateEndpoint", "", input).await["userErrors"], json!([]));
        for (caller, body) in [(format!("sip:{OUTSIDE}@carrier.test"), "by number"), ("sip:zoe@carrier.test".to_owned(), "by address")] {
            let request = from_outside(&mut carrier, &world.server, number, body).set("From", Some(&format!("<{caller}>;tag=1")));
            assert_eq!(carrier.ask(&request).await.status(), 202, "{caller}");
            let answer = carrier.take_message().await;
            assert_eq!(answer.body, body);
            assert!(answer.header("From").contains(&format!("<sip:{number}@example.test>")), "{answer:?}");
            let user = caller.split('@').next().unwrap();
            assert!(answer.header("To").contains(&format!("<{user}@")), "{answer:?}");
            let sent = world.api.messages(json!({ "endpointId": echo, "direction": "OUT" })).await;
            let sent = world.api.message_is(&text(&sent[0]["id"]), "SENT").await;
            let taken = world.api.messages(json!({ "endpointId": echo, "direction": "IN" })).await;
            assert_eq!((&sent["chatId"], &sent["body"]), (&taken[0]["chatId"], &json!(body)), "{taken:?}");
        }
    }

    /// An address that asked for time gets it, while the other one is tried.
    async fn f131_an_address_that_asked_for_time_gets_it(database: Database) {
        let world = stage(&database).await;
        let ((mut rests, first), (mut other, second)) = (carrier(&world).await, carrier(&world).await);
        rests.reply = Reply::NotBefore(503, 3600);
        other.reply = Reply::Status(503, "Service Unavailable");
        let address = |port: u16, priority: i32| json!({ "ip": "127.0.0.1", "port": port, "priority": priority });
        trunk(&world, json!([address(first, 1), address(second, 2)]), json!({})).await;
        let id = send(&world, "to the other one").await;
        assert_eq!(rests.take_message().await.body, "to the other one");
        assert_eq!(other.take_message().await.body, "to the other one");
        other.reply = Reply::Status(200, "OK");
        assert_eq!(other.take_message().await.body, "to the other one");
        world.api.message_is(&id, "SENT").await;
        let again = rests.next_request(Duration::from_millis(500)).await;
        assert!(again.is_none(), "{again:?}");
    }

    /// What comes in by a trunk arrives at each phone of the endpoint that has the number, and has no status of its own.
    async fn f133_a_message_by_a_trunk_arrives_at_each_device(database: Database) {
        let world = stage(&database).await;
        let (mut carrier, _) = carrier(&world).await;
        let addresses = json!([{ "ip": "127.0.0.1", "dstPort": world.server.udp.port(), "direction": "INBOUND" }]);
        trunk(&world, addresses, json!({ "authRequired": false })).await;
        let mut phones = [Phone::udp(&world.server, &world.alice).await, Phone::tcp(&world.server, &world.alice).await, Phone::ws(&world.server, &world.alice).await];
        for phone in &mut phones {
            phone.come_online().await;
        }
        let mut feed = Feed::open(&world.server, &world.api.event_cursor().await).await;
        let request = from_outside(&mut carrier, &world.server, OURS, "to all of you");
        assert_eq!(carrier.ask(&request).await.status(), 202);
        for phone in &mut phones {
            assert_eq!(phone.take_message().await.body, "to all of you");
        }
        let received = eventually("three deliveries", || async {
            let message = world.api.messages(json!({})).await.swap_remove(0);
            let deliveries = list(&message["deliveries"]);
            let is_done = deliveries.len() == 3 && deliveries.iter().all(|d| d["outcome"] == "DELIVERED");
            is_done.then_some(message)
        })
        .await;
        assert_eq!((&received["direction"], &received["status"]), (&json!("IN"), &json!("RECEIVED")));
        world.api.send(&world.alice, &world.bob, "the end").await;
        let told = feed.all_until(|event| event["type"] == "MESSAGE_OUT").await;
        assert_eq!(told.iter().filter(|event| event["type"] == "MESSAGE_IN").count(), 1);
        assert!(told.iter().all(|event| event["type"] != "MESSAGE_OUT_STATUS"), "{told:?}");
    }

    /// The other header fields of what a carrier sends are its variables, which no phone is sent.
    async fn e113_a_carriers_header_fields_are_variables(database: Database) {
        let world = stage(&database).await;
        let mut feed = Feed::open(&world.server, &world.api.event_cursor().await).await;
        let (mut carrier, _) = carrier(&world).await;
        let addresses = json!([{ "ip": "127.0.0.1", "dstPort": world.server.udp.port(), "direction": "INBOUND" }]);
        let id = trunk(&world, addresses, json!({ "authRequired": false })).await;
        let mut phone = Phone::udp(&world.server, &world.alice).await;
        phone.come_online().await;
        let request = from_outside(&mut carrier, &world.server, OURS, "from outside")
            .with("X-Carrier", "acme")
            .with("P-Asserted-Identity", "<tel:+4930123456>");
        assert_eq!(carrier.ask(&request).await.status(), 202);
        let event = feed.next("TEXT_MESSAGE_RECEIVED").await;
        assert_eq!((&event["sender"], &event["body"], &event["variables"]), (&json!(id), &json!("from outside"), &json!({ "X-Carrier": "acme" })));
        assert_eq!(phone.take_message().await.get("X-Carrier"), None);
        let data = world.api.data("{ messages { nodes { direction variables } } }", json!({})).await;
        assert_eq!(data["messages"]["nodes"], json!([{ "direction": "IN", "variables": { "X-Carrier": "acme" } }]));
    }

    /// Nobody is a trunk by writing its name: another port of ours, another source, or two that fit are refused.
    async fn h163_unknown_and_ambiguous_sources_are_refused(database: Database) {
        let world = stage(&database).await;
        let (mut stranger, _) = carrier(&world).await;
        let port = world.server.udp.port();
        let named = async |name: &str, ip: &str, dst_port: u16| {
            let addresses = json!([{ "ip": ip, "dstPort": dst_port }]);
            trunk(&world, addresses, json!({ "name": name, "authRequired": false })).await;
        };
        named("elsewhere", "192.0.2.77", port).await;
        named("otherport", "127.0.0.1", port.wrapping_add(1).max(1)).await;
        let to_domain = |phone: &mut Phone| {
            phone.message_request("sip:+12125550100@example.test", "x").set("From", Some("<sip:+4930123456@carrier.test>;tag=1"))
        };
        let request = to_domain(&mut stranger);
        assert_eq!(stranger.ask(&request).await.status(), 403);
        named("one", "127.0.0.1", port).await;
        eventually("the one trunk being known", || async {
            let (mut phone, _) = carrier(&world).await;
            let request = to_domain(&mut phone);
            (phone.ask(&request).await.status() == 202).then_some(())
        })
        .await;
        named("two", "127.0.0.1", port).await;
        eventually("two trunks being ambiguous", || async {
            let (mut phone, _) = carrier(&world).await;
            let request = to_domain(&mut phone);
            (phone.ask(&request).await.status() == 403).then_some(())
        })
        .await;
    }

    /// The port of ours at which a message arrives counts alone, too.
    async fn h163_a_source_is_known_at_its_port_only(database: Database) {
        let listen = [("SIPGRAPH_SIP_UDP_LISTEN", "127.0.0.1:0,127.0.0.1:0")];
        let world = stage_with(Server::start_with(database.url(), &listen).await).await;
        let at = |place: usize| -> std::net::SocketAddr { world.server.listener("udp", place).parse().unwrap() };
        let addresses = json!([{ "ip": "127.0.0.1", "dstPort": at(1).port() }]);
        trunk(&world, addresses, json!({ "authRequired": false })).await;
        let status = async |place: usize| {
            let mut phone = Phone::udp_at(at(place), &gateway("")).await;
            let request = phone.message_request(&format!("sip:{OURS}@example.test"), "x").set("From", Some(&foreign()));
            phone.ask(&request).await.status()
        };
        eventually("the trunk being known", || async { (status(1).await == 202).then_some(()) }).await;
        assert_eq!(status(0).await, 403);
        assert_eq!(world.api.messages(json!({})).await.len(), 1);
    }

    /// A sender that no source makes known proves who it is, or is refused.
    async fn h163_a_spoofed_sender_is_refused(database: Database) {
        let world = stage(&database).await;
        let status = async |from: &str, to: &str| {
            let (mut stranger, _) = carrier(&world).await;
            let request = stranger.message_request(to, "x").set("From", Some(&format!("<{from}>;tag=1")));
            stranger.ask(&request).await.status()
        };
        let to = format!("sip:{OURS}@example.test");
        assert_eq!(status(&format!("sip:{OUTSIDE}@carrier.test"), &to).await, 403);
        for from in ["alice", OUTSIDE, OURS] {
            assert_eq!(status(&format!("sip:{from}@example.test"), &to).await, 401, "{from}");
        }
        assert_eq!(status(&world.alice.uri(), "sip:bob@elsewhere.test").await, 404);
        // A digest is good for its own name only.
        let mut phone = Phone::udp(&world.server, &world.bob).await;
        for from in ["alice", OUTSIDE, OURS] {
            let request = phone.message_request(&to, "x").set("From", Some(&format!("<sip:{from}@example.test>;tag=1")));
            assert_eq!(phone.ask_signed(request).await.0.status(), 403, "{from}");
        }
        assert_eq!(world.api.messages(json!({})).await.len(), 0);
    }

    /// Whoever proves himself is nobody's but his own, whatever trunks others have at his address; of who does not, the domain
    /// and the called number say whose carrier it is.
    async fn h163_trunks_of_two_tenants_at_one_source(database: Database) {
        let world = stage(&database).await;
        let here = json!([{ "ip": "127.0.0.1", "dstPort": world.server.udp.port() }]);
        world.server.cli(&["account", "create", "rival"]).await;
        let rival = Api::with(&world.server, &world.server.token_create("rival", ALL_SCOPES, &[]).await);
        let domain = rival.domain_create("rival.test", true).await;
        world.server.cli(&["number", "assign", "--account", "rival", THEIRS]).await;
        let zoe = rival.endpoint_create(&domain, "zoe").await;
        let input = json!({ "id": zoe.id, "patch": { "numbers": [THEIRS] } });
        assert_eq!(rival.mutate("updateEndpoint", "", input).await["userErrors"], json!([]));
        let trunks = [
            rival.trunk_create(&domain, here.clone(), json!({ "name": "one", "authRequired": false })).await,
            rival.trunk_create(&domain, here.clone(), json!({ "name": "two", "authRequired": false })).await,
        ];
        let unsigned = async |host: &str, number: &str| {
            let (mut carrier, _) = carrier(&world).await;
            let request = carrier.message_request(&format!("sip:{number}@{host}"), "by source").set("From", Some(&foreign()));
            carrier.ask(&request).await.status()
        };
        let ours = world.server.udp.to_string();
        eventually("the trunks of the rival", || async { (unsigned(&ours, OURS).await == 403).then_some(()) }).await;
        // Phones at that address, one of them named like a number.
        let named = world.api.endpoint_create(&world.domain, "+12125550155").await;
        for account in [&world.alice, &named] {
            let mut phone = Phone::udp(&world.server, account).await;
            let answer = phone.message("sip:bob@example.test", "from a phone").await;
            assert_eq!(answer.status(), 202, "{answer:?}");
        }
        let received = world.api.messages(json!({ "endpointId": world.bob.id })).await;
        assert_eq!(received.iter().map(|m| text(&m["origin"])).collect::<Vec<_>>(), ["SIP", "SIP"]);
        // A carrier that is known by its digest, while two trunks of the rival stand there and while one does.
        let extra = json!({ "credentials": { "password": "trunk-secret" } });
        trunk(&world, json!([{ "ip": "192.0.2.77" }]), extra).await;
        for (count, second) in [(1, "two"), (2, "one")] {
            let mut carrier = Phone::udp(&world.server, &gateway("trunk-secret")).await;
            let request = carrier.message_request(&format!("sip:{OURS}@example.test"), second).set("From", Some(&foreign()));
            let answer = eventually("the digest of the trunk being asked for", || async {
                let mut asking = Phone::udp(&world.server, &gateway("trunk-secret")).await;
                let answer = asking.ask(&request).await;
                (answer.status() == 401).then_some(answer)
            })
            .await;
            let challenge = Challenge::of(&answer, carrier.algorithm).unwrap();
            // Signed, it may call at our address as well.
            let request = carrier.message_request(&format!("sip:{OURS}@{ours}"), second).set("From", Some(&foreign()));
            let signed = carrier.sign(request, &challenge);
            assert_eq!(carrier.ask(&signed).await.status(), 202, "{second}");
            let received = world.api.messages(json!({ "endpointId": world.alice.id, "direction": "IN" })).await;
            assert_eq!((received.len(), &received[0]["origin"]), (count, &json!("TRUNK")), "{received:?}");
            if count == 1 {
                let input = json!({ "id": trunks[1], "patch": { "enabled": false } });
                assert_eq!(rival.mutate("updateEndpoint", "", input).await["userErrors"], json!([]));
                // Of one trunk it is known whose it is: the number is not there.
                eventually("the second trunk being disabled", || async { (unsigned(&ours, OURS).await == 404).then_some(()) }).await;
            }
        }
        // One that is known by its source: by the domain, by the number.
        trunk(&world, here, json!({ "name": "known", "authRequired": false })).await;
        eventually("our trunk being known", || async { (unsigned("example.test", OURS).await == 202).then_some(()) }).await;
        assert_eq!(unsigned(&ours, OURS).await, 202);
        assert_eq!(unsigned(&ours, THEIRS).await, 202);
        assert_eq!(unsigned("rival.test", THEIRS).await, 202);
        assert_eq!(unsigned(&ours, "+12125550199").await, 403);
        let received = rival.messages(json!({})).await;
        assert_eq!(received.len(), 2, "{received:?}");
        assert!(received.iter().all(|m| m["toNumber"] == THEIRS || text(&m["to"]).contains(THEIRS)), "{received:?}");
        assert_eq!(world.api.messages(json!({ "endpointId": world.alice.id, "direction": "IN" })).await.len(), 4);
    }

    /// A trunk that is known by a name proves itself at our address, and one that need not may sign for whom it likes.
    async fn h163_a_trunk_with_a_name_is_known_at_our_address(database: Database) {
        let world = stage(&database).await;
        let addresses = json!([{ "ip": "localhost", "dstPort": world.server.udp.port() }]);
        let id = trunk(&world, addresses, json!({ "credentials": { "password": "trunk-secret" } })).await;
        eventually("the name being known", || async {
            let (mut carrier, _) = carrier(&world).await;
            let request = from_outside(&mut carrier, &world.server, OURS, "unsigned");
            (carrier.ask(&request).await.status() == 401).then_some(())
        })
        .await;
        for (password, expected) in [("another", 401), ("trunk-secret", 202)] {
            let mut carrier = Phone::udp(&world.server, &gateway(password)).await;
            let request = from_outside(&mut carrier, &world.server, OURS, password);
            assert_eq!(carrier.ask_signed(request).await.0.status(), expected, "{password}");
        }
        let input = json!({ "id": id, "patch": { "authRequired": false } });
        assert_eq!(world.api.mutate("updateEndpoint", "", input).await["userErrors"], json!([]));
        let foreign = "Digest username=\"a\", realm=\"carrier.test\", nonce=\"n\", uri=\"sip:b\", response=\"0123456789abcdef0123456789abcdef\"";
        eventually("the source being enough", || async {
            let (mut carrier, _) = carrier(&world).await;
            let request = from_outside(&mut carrier, &world.server, OURS, "signed for another");
            (carrier.ask(&request.with("Authorization", foreign)).await.status() == 202).then_some(())
        })
        .await;
        let received = world.api.messages(json!({})).await;
        assert!(received.iter().all(|m| m["origin"] == "TRUNK"), "{received:?}");
        assert_eq!(received.len(), 2);
    }

    /// What names a message, and is kept, has a length.
    async fn h163_call_ids_and_from_uris_are_bounded(database: Database) {
        let world = stage(&database).await;
        let addresses = json!([{ "ip": "127.0.0.1", "dstPort": world.server.udp.port() }]);
        trunk(&world, addresses, json!({ "authRequired": false })).await;
        let mut phone = Phone::udp(&world.server, &world.alice).await;
        let mut asked = async |name: &str, value: String, host: &str| {
            let request = phone.message_request(&format!("sip:bob@{host}"), "x").set(name, Some(&value));
            phone.ask_signed(request).await.0.status()
        };
        for (length, status) in [(1024, 202), (1025, 400)] {
            assert_eq!(asked("Call-ID", "c".repeat(length), "example.test").await, status, "{length}");
        }
        let from = |length: usize| format!("<sip:carrier@carrier.test;p={}>;tag=1", "x".repeat(length - 27));
        for (length, status) in [(1024, 404), (1025, 400)] {
            assert_eq!(asked("From", from(length), "example.test").await, status, "{length}");
        }
        assert_eq!(world.api.messages(json!({ "endpointId": world.bob.id })).await.len(), 1);
    }

    /// A trunk that must prove itself does so by the digest of its own name and password, from any source.
    async fn h163_a_trunk_proves_itself_by_digest(database: Database) {
        let world = stage(&database).await;
        let extra = json!({ "credentials": { "password": "trunk-secret" } });
        trunk(&world, json!([{ "ip": "192.0.2.77" }]), extra).await;
        let from = foreign();
        let mut wrong = Phone::udp(&world.server, &gateway("another")).await;
        let request = wrong.message_request("sip:+12125550100@example.test", "x").set("From", Some(&from));
        let (answer, _) = wrong.ask_signed(request).await;
        assert!(matches!(answer.status(), 401 | 403), "{answer:?}");
        assert_eq!(world.api.messages(json!({})).await.len(), 0);
        let mut right = Phone::udp(&world.server, &gateway("trunk-secret")).await;
        let request = right.message_request("sip:+12125550100@example.test", "proven").set("From", Some(&from));
        let (answer, _) = right.ask_signed(request).await;
        assert_eq!(answer.status(), 202, "{answer:?}");
        let received = world.api.messages(json!({})).await;
        assert_eq!((received.len(), &received[0]["body"], &received[0]["origin"]), (1, &json!("proven"), &json!("TRUNK")));
        // A phone does not speak as the carrier.
        let mut phone = Phone::udp(&world.server, &world.bob).await;
        let request = phone.message_request("sip:+12125550100@example.test", "x").set("From", Some(&from));
        let (answer, _) = phone.ask_signed(request).await;
        assert_eq!(answer.status(), 403, "{answer:?}");
    }
}

both_backends! {
    /// Two servers as each other's carriers over TLS: the certificate has the name of the address, the digest is the trunk's.
    async fn h163_two_servers_over_tls(database: Database) {
        let authority = Authority::new();
        let other = crate::harness::Database::sqlite();
        let there = Server::start_tls(&other, &authority, &[]).await;
        let port: u16 = there.listener("tls", 0).rsplit(':').next().unwrap().parse().unwrap();
        let there = World::on(there).await;
        there.server.cli(&["number", "assign", "--account", "acme", OUTSIDE]).await;
        let input = json!({ "id": there.bob.id, "patch": { "numbers": [OUTSIDE] } });
        assert_eq!(there.api.mutate("updateEndpoint", "", input).await["userErrors"], json!([]));
        let peer = json!([{ "ip": "127.0.0.1", "dstPort": port, "transport": "TLS" }]);
        let gateway = trunk(&there, peer, json!({ "credentials": { "password": "between-us" } })).await;

        let networks = ("SIPGRAPH_SIP_TRUNK_NETWORKS", "127.0.0.0/8, ::1");
        let ca = there.server.folder().join("ca.pem").display().to_string();
        let environment = [networks, ("SSL_CERT_FILE", ca.as_str())];
        let world = stage_with(Server::start_with(database.url(), &environment).await).await;
        let addresses = json!([{ "ip": "localhost", "port": port, "transport": "TLS" }]);
        // TLS is what a trunk that demands encryption (line 98) is reached by.
        let passwords = json!({ "outSipUsername": "gw", "outSipPassword": "between-us", "encryption": "REQUIRED" });
        trunk(&world, addresses.clone(), passwords.clone()).await;
        let id = send(&world, "over TLS").await;
        let sent = world.api.message_is(&id, "SENT").await;
        assert_eq!(list(&sent["deliveries"]).len(), 1, "{sent}");
        let received = there.api.messages(json!({ "endpointId": there.bob.id })).await;
        assert_eq!((received.len(), &received[0]["body"], &received[0]["origin"]), (1, &json!("over TLS"), &json!("TRUNK")));
        let chats = there.api.chats(json!({})).await;
        assert_eq!((&chats[0]["ownNumber"], &chats[0]["peer"]), (&json!(OUTSIDE), &json!(OURS)));
        // The open connection is used again.
        let id = send(&world, "and again").await;
        world.api.message_is(&id, "SENT").await;
        // From a source that is no address of the trunk a message is for a domain, which must be one of ours; the digest alone says
        // by which trunk it came.
        let input = json!({ "id": gateway, "patch": { "addresses": [{ "ip": "192.0.2.77" }] }, "nestedObjects": "REPLACE" });
        assert_eq!(there.api.mutate("updateEndpoint", "", input).await["userErrors"], json!([]));
        eventually("the source being forgotten", || async {
            let id = send(&world, "to another domain").await;
            let ended = eventually("its end", || async {
                let message = world.api.message(&id).await;
                (message["status"] != "ACCEPTED").then_some(message)
            })
            .await;
            (ended["status"] == "FAILED").then_some(())
        })
        .await;
        let input = json!({ "id": there.domain, "patch": { "aliases": ["localhost"] } });
        assert_eq!(there.api.mutate("updateDomain", "", input).await["userErrors"], json!([]));
        let id = send(&world, "by digest").await;
        world.api.message_is(&id, "SENT").await;
        let received = there.api.messages(json!({ "endpointId": there.bob.id })).await;
        assert_eq!((&received[0]["body"], &received[0]["origin"]), (&json!("by digest"), &json!("TRUNK")));
        let input = json!({ "id": gateway, "patch": { "credentials": { "password": "another" } } });
        assert_eq!(there.api.mutate("updateEndpoint", "", input).await["userErrors"], json!([]));
        let id = send(&world, "with the old password").await;
        let refused = world.api.message_is(&id, "FAILED").await;
        assert!([json!(401), json!(403)].contains(&refused["failure"]["sipStatus"]), "{refused}");
        assert_eq!(there.api.messages(json!({})).await.len(), received.len());
        // Who does not trust the authority sends nothing.
        let wary = crate::harness::Database::sqlite();
        let wary = stage_with(Server::start_with(wary.url(), &[networks]).await).await;
        trunk(&wary, addresses, passwords).await;
        let id = send(&wary, "to a stranger").await;
        eventually("the refusal of the certificate", || async {
            let deliveries = list(&wary.api.message(&id).await["deliveries"]);
            let reason = deliveries.first().and_then(|d| d["reason"].as_str().map(str::to_owned));
            reason.filter(|reason| reason.to_lowercase().contains("certificate"))
        })
        .await;
        assert_eq!(there.api.messages(json!({})).await.len(), received.len());
    }
}

//! Trunks: messages that go out to carriers, over each transport, with their challenges, fail-over and limits.

use crate::harness::graphql::{list, text};
use crate::harness::phone::Reply;
use crate::harness::sipp::free_port;
use crate::harness::{Account, Phone, Server, Sipp, Value, World, both_backends, eventually, json};
use std::time::{Duration, Instant};

const OURS: &str = "+12125550100";
const OUTSIDE: &str = "+4930123456";

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
    let mut input = json!({ "domainId": world.domain, "name": "gw", "type": "THIRD_PARTY", "addresses": addresses });
    for (field, value) in extra.as_object().unwrap() {
        input[field] = value.clone();
    }
    let payload = world
        .api
        .mutate("createEndpoint", "endpoint { id }", input)
        .await;
    assert_eq!(payload["userErrors"], json!([]));
    text(&payload["endpoint"]["id"])
}

/// Sends a text from alice to the outside number and gives its id.
async fn send(world: &World, body: &str) -> String {
    let input = json!({ "from": { "endpointId": world.alice.id }, "to": { "number": OUTSIDE }, "body": body });
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
            ... on MessageOut { srcNumber dstNumber } ... on MessageOutStatus { status } } } }";
        let events = list(&world.api.data(query, json!({})).await["events"]["nodes"]);
        assert_eq!(events, [
            json!({ "type": "MESSAGE_OUT", "srcNumber": OURS, "dstNumber": OUTSIDE }),
            json!({ "type": "MESSAGE_OUT_STATUS", "status": "SENT" }),
        ]);
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

    /// The operator's limit is held: six messages at two a second take more than two seconds.
    async fn h163_the_limit_of_a_trunk_is_held(database: Database) {
        let world = stage(&database).await;
        let (mut carrier, port) = carrier(&world).await;
        let id = trunk(&world, json!([{ "ip": "127.0.0.1", "port": port }]), json!({})).await;
        let told = world.server.cli(&["endpoint", "limit", "--cps", "2", "gw@example.test"]).await;
        assert!(told.contains('2'), "{told}");
        assert_eq!(world.api.endpoint(&id).await["cpsLimit"], 2);
        for _ in 0..6 {
            send(&world, "paced").await;
        }
        let mut times = Vec::new();
        for _ in 0..6 {
            carrier.take_message().await;
            times.push(Instant::now());
        }
        let spread = *times.last().unwrap() - times[0];
        assert!(spread >= Duration::from_millis(1900), "{spread:?}");
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
        // Where inner networks are allowed, our own listeners still are not.
        let networks = [("SIPGRAPH_SIP_TRUNK_NETWORKS", "127.0.0.0/8, ::1")];
        let other = crate::harness::Database::sqlite();
        let world = stage_with(Server::start_with(other.url(), &networks).await).await;
        let own = json!([{ "ip": "127.0.0.1", "port": world.server.udp.port() }]);
        trunk(&world, own, json!({})).await;
        let id = send(&world, "to ourselves").await;
        eventually("the refusal", || async {
            let deliveries = list(&world.api.message(&id).await["deliveries"]);
            let reason = deliveries.first().and_then(|d| d["reason"].as_str().map(str::to_owned));
            reason.filter(|reason| reason.contains("a listener of this server"))
        })
        .await;
    }
}

//! Routing: every form of a target, numbers, who may reach outside, what a dry run tells, and the header fields that go along.

use crate::harness::graphql::{code_of, field_of, list, text};
use crate::harness::world::MESSAGE;
use crate::harness::{
    Account, Api, Phone, Seen, Server, Socket, Value, World, both_backends, eventually, json,
};
use std::collections::BTreeSet;
use std::time::Duration;

const ONE: &str = "+12125550100";
const TWO: &str = "+442079460000";
const OUTSIDE: &str = "+4930123456";

/// What is asked of a route.
const ROUTE: &str = "route { kind endpointId trunkId number steps } dryRun replayed message { id }";

/// The usual stage with two numbers, of which bob has the first.
async fn stage(database: &crate::harness::Database) -> World {
    let networks = [("SIPGRAPH_SIP_TRUNK_NETWORKS", "127.0.0.0/8")];
    let world = World::on(Server::start_with(database.url(), &networks).await).await;
    let assign = ["number", "assign", "--account", "acme", ONE, TWO];
    world.server.cli(&assign).await;
    patch(&world.api, &world.bob, json!({ "numbers": [ONE] })).await;
    world
}

async fn patch(api: &Api, endpoint: &Account, patch: Value) {
    let input = json!({ "id": endpoint.id, "patch": patch });
    let payload = api.mutate("updateEndpoint", "", input).await;
    assert_eq!(payload["userErrors"], json!([]));
}

/// Makes a trunk to an address and gives its id.
async fn trunk(world: &World) -> String {
    let addresses = json!([{ "ip": "127.0.0.1", "port": 9 }]);
    world
        .api
        .trunk_create(&world.domain, addresses, json!({}))
        .await
}

/// Says how a message from alice would go.
async fn tried(world: &World, to: Value) -> Value {
    let from = json!({ "endpointId": world.alice.id });
    let input = json!({ "from": from, "to": to, "body": "x", "dryRun": true });
    world.api.mutate("sendMessage", ROUTE, input).await
}

/// The first refusal of a dry run: code and field.
fn refusal(payload: &Value) -> (String, String) {
    let error = &payload["userErrors"][0];
    assert_ne!(*error, Value::Null, "{payload}");
    (code_of(error), field_of(error))
}

fn refused(code: &str, field: &str) -> (String, String) {
    (code.to_owned(), field.to_owned())
}

both_backends! {
    /// The forms of ARI that name a way lead to the endpoint too.
    async fn e104_forms_of_pjsip_reach_the_endpoint(database: Database) {
        let world = stage(&database).await;
        for uri in ["pjsip:sip:bob@example.test", "pjsip:bob/bob", "pjsip:bob/bob@example.test", "pjsip:bob/sip:bob@example.test", "pjsip:PJSIP/bob@bob"] {
            let payload = tried(&world, json!({ "uri": uri })).await;
            assert_eq!(payload["userErrors"], json!([]), "{uri}");
            assert_eq!(payload["route"]["kind"], "ENDPOINT", "{uri}");
            assert_eq!(payload["route"]["endpointId"], json!(world.bob.id), "{uri}");
        }
        for uri in ["pjsip:bob/carol", "pjsip:bob/sip:carol@example.test", "pjsip:bob/sip:bob@elsewhere.test", "pjsip:carol/sip:bob@example.test"] {
            let payload = tried(&world, json!({ "uri": uri })).await;
            assert_eq!(refusal(&payload), refused("NOT_FOUND", "to"), "{uri}");
        }
    }

    /// Variables arrive as header fields and come back by query.
    async fn e108_variables_arrive_as_header_fields(database: Database) {
        let world = stage(&database).await;
        let mut phone = Phone::udp(&world.server, &world.bob).await;
        phone.come_online().await;
        let variables = json!({ "X-Foo": "bar", "P-Charging-Vector": "a=\"b\"; c", "Subject": "Grüße" });
        let (from, to) = (json!({ "endpointId": world.alice.id }), json!({ "endpointId": world.bob.id }));
        let input = json!({ "from": from, "to": to, "body": "x", "variables": variables });
        let select = format!("message {{ {MESSAGE} variables }}");
        let payload = world.api.mutate("sendMessage", &select, input).await;
        assert_eq!(payload["message"]["variables"], variables, "{payload}");
        let message = phone.take_message().await;
        for (name, value) in variables.as_object().unwrap() {
            assert_eq!(message.header(name), value.as_str().unwrap());
        }
        let id = &payload["message"]["id"];
        let data = world.api.data("query($id: ID!) { message(id: $id) { variables } messages { nodes { variables } } }", json!({ "id": id })).await;
        assert_eq!(data["message"]["variables"], variables);
        assert_eq!(data["messages"]["nodes"], json!([{ "variables": variables }, { "variables": variables }]));
    }

    /// Only strings are values.
    async fn e109_a_variable_is_a_string(database: Database) {
        let world = stage(&database).await;
        for value in [json!(1), json!(null), json!({}), json!([]), json!(true)] {
            let (from, to) = (json!({ "endpointId": world.alice.id }), json!({ "endpointId": world.bob.id }));
            let input = json!({ "from": from, "to": to, "body": "x", "variables": { "X-Foo": value } });
            world.api.refused_at("sendMessage", input, "VALIDATION", "variables.X-Foo").await;
        }
        assert_eq!(world.api.messages(json!({})).await.len(), 0);
    }

    /// No header field that a MESSAGE has of its own, no line break, not too many: all told together.
    async fn e110_reserved_names_and_injections_are_refused(database: Database) {
        let world = stage(&database).await;
        let (from, to) = (json!({ "endpointId": world.alice.id }), json!({ "endpointId": world.bob.id }));
        let names = [
            "To", "from", "VIA", "v", "Route", "Record-Route", "Contact", "m", "Call-ID", "i", "CSeq", "Max-Forwards", "Allow",
            "Content-Type", "c", "Content-Foo", "Accept", "Accept-Encoding", "Authorization", "Proxy-Authorization", "WWW-Authenticate",
            "Proxy-Authenticate", "P-Asserted-Identity", "P-Preferred-Identity", "Identity", "Privacy", "Path", "Service-Route",
            "Require", "Proxy-Require", "Supported", "k", "Expires", "Date", "User-Agent", "Reply-To", "Referred-By", "b", "Request-URI", "t", "F", "e", "L",
        ];
        // As many at once as a message may have.
        for names in names.chunks(32) {
            let variables: serde_json::Map<String, Value> = names.iter().map(|name| ((*name).to_owned(), json!("x"))).collect();
            let input = json!({ "from": from, "to": to, "body": "x", "variables": variables });
            let errors = world.api.refused("sendMessage", input).await;
            assert_eq!(errors.len(), names.len(), "{errors:?}");
            assert!(errors.iter().all(|e| code_of(e) == "VALIDATION" && field_of(e).starts_with("variables.")));
        }
        for (name, value) in [("X-Foo", "a\r\nVia: x"), ("X-Foo", "a\n"), ("X-Foo", "a\u{0}"), ("X\r\nVia", "x"), ("X Foo", "x"), ("", "x")] {
            let input = json!({ "from": from, "to": to, "body": "x", "variables": { name: value } });
            let errors = world.api.refused("sendMessage", input).await;
            assert_eq!((errors.len(), code_of(&errors[0])), (1, "VALIDATION".to_owned()), "{name:?}: {value:?}");
        }
        let many: serde_json::Map<String, Value> = (0..33).map(|i| (format!("X-{i}"), json!("x"))).collect();
        for variables in [json!(many), json!({ "X-Foo": "a".repeat(4096) })] {
            let input = json!({ "from": from, "to": to, "body": "x", "variables": variables });
            world.api.refused_at("sendMessage", input, "VALIDATION", "variables").await;
        }
        assert_eq!(world.api.messages(json!({})).await.len(), 0);
    }

    /// A dry run says the route and stores nothing.
    async fn h146_a_dry_run_says_the_route(database: Database) {
        let world = stage(&database).await;
        let before = world.api.event_cursor().await;
        let input = json!({
            "from": { "endpointId": world.alice.id }, "to": { "endpointId": world.bob.id }, "body": "x", "dryRun": true, "idempotencyKey": "k",
        });
        let payload = world.api.mutate("sendMessage", ROUTE, input.clone()).await;
        assert_eq!((&payload["dryRun"], &payload["message"], &payload["userErrors"]), (&json!(true), &json!(null), &json!([])));
        assert_eq!((&payload["route"]["kind"], &payload["route"]["endpointId"]), (&json!("ENDPOINT"), &json!(world.bob.id)));
        assert_eq!(list(&payload["route"]["steps"]).len(), 1, "{payload}");
        let mut wrong = input.clone();
        wrong["body"] = json!("");
        world.api.refused_at("sendMessage", wrong, "VALIDATION", "body").await;
        assert_eq!(world.api.event_cursor().await, before);
        assert_eq!(world.api.messages(json!({})).await.len(), 0);
        // The key is not used up.
        let mut real = input;
        real["dryRun"] = json!(false);
        let sent = world.api.mutate("sendMessage", ROUTE, real.clone()).await;
        assert_eq!((&sent["replayed"], &sent["dryRun"], &sent["route"]["kind"]), (&json!(false), &json!(false), &json!("ENDPOINT")));
        let again = world.api.mutate("sendMessage", ROUTE, real).await;
        assert_eq!((&again["replayed"], &again["message"], &again["route"]), (&json!(true), &sent["message"], &json!(null)));
    }

    /// A number of ours leads to its endpoint, by API and from a phone, and makes a chat of its own.
    async fn f124_a_number_of_ours_leads_to_its_endpoint(database: Database) {
        let world = stage(&database).await;
        patch(&world.api, &world.alice, json!({ "numbers": [TWO] })).await;
        let mut bob = Phone::udp(&world.server, &world.bob).await;
        bob.come_online().await;
        let from = json!({ "endpointId": world.alice.id });
        let select = format!("message {{ {MESSAGE} fromNumber toNumber }}");
        for (to, written) in [(json!({ "number": "+1 (212) 555-0100" }), ONE), (json!({ "uri": "sip:+12125550100@example.test" }), ONE)] {
            let input = json!({ "from": from, "to": to, "body": "by number" });
            let payload = world.api.mutate("sendMessage", &select, input).await;
            let message = &payload["message"];
            assert_eq!((&message["toNumber"], &message["fromNumber"]), (&json!(written), &json!(null)), "{payload}");
            assert_eq!(bob.take_message().await.body, "by number");
        }
        let chats = world.api.chats(json!({ "endpointId": world.alice.id })).await;
        assert_eq!(chats.len(), 1, "{chats:?}");
        assert_eq!((&chats[0]["ownNumber"], &chats[0]["peer"]), (&json!(world.alice.address()), &json!(ONE)));
        let received = world.api.chats(json!({ "endpointId": world.bob.id })).await;
        assert_eq!((&received[0]["ownNumber"], &received[0]["peer"]), (&json!(ONE), &json!(world.alice.address())));
        // Speaking as a number, to the number: the answer goes to the number, in the same chat.
        let before = world.api.event_cursor().await;
        let input = json!({ "from": { "number": TWO }, "to": { "number": ONE }, "body": "from number" });
        let payload = world.api.mutate("sendMessage", &select, input).await;
        let query = "query($after: Cursor) { events(after: $after, filter: { types: [MESSAGE_OUT, MESSAGE_IN] }) { nodes { type
            ... on MessageOut { endpointName srcNumber dstNumber } ... on MessageIn { endpointName srcNumber ownNumber } } } }";
        let told = world.api.data(query, json!({ "after": before })).await["events"]["nodes"].take();
        assert_eq!(told, json!([
            { "type": "MESSAGE_OUT", "endpointName": world.alice.address(), "srcNumber": TWO, "dstNumber": ONE },
            { "type": "MESSAGE_IN", "endpointName": world.bob.address(), "srcNumber": TWO, "ownNumber": ONE },
        ]));
        let own = world.api.chats(json!({ "endpointId": world.alice.id, "peer": ONE })).await;
        let own: Vec<&Value> = own.iter().map(|c| &c["ownNumber"]).collect();
        assert_eq!(own, [&json!(TWO), &json!(world.alice.address())], "another own number is another chat");
        assert_eq!((&payload["message"]["fromNumber"], &payload["message"]["endpointId"]), (&json!(TWO), &json!(world.alice.id)), "{payload}");
        assert!(bob.take_message().await.header("From").contains("sip:+442079460000@example.test"));
        let received = world.api.chats(json!({ "endpointId": world.bob.id, "peer": TWO })).await;
        let reply = json!({ "to": { "chatId": received[0]["id"] }, "body": "reply" });
        let payload = world.api.mutate("sendMessage", &select, reply).await;
        assert_eq!((&payload["message"]["fromNumber"], &payload["message"]["toNumber"], &payload["message"]["chatId"]), (&json!(ONE), &json!(TWO), &received[0]["id"]), "{payload}");
        // A phone dials it in its own domain.
        let mut alice = Phone::udp(&world.server, &world.alice).await;
        let answer = alice.message("sip:+12125550100@example.test", "dialled").await;
        assert_eq!(answer.status(), 202, "{answer:?}");
        assert_eq!(bob.take_message().await.body, "dialled");
    }

    /// A number that is taken from an endpoint leaves its chats there to be read; they are not continued from it, and who has the
    /// number then has chats of its own.
    async fn f124_a_number_that_is_taken_away_leaves_its_chats(database: Database) {
        let world = stage(&database).await;
        let carol = world.api.endpoint_create(&world.domain, "carol").await;
        patch(&world.api, &world.alice, json!({ "numbers": [TWO], "allowOutside": true })).await;
        trunk(&world).await;
        let inner = world.api.send_input(json!({ "from": { "number": TWO }, "to": { "number": ONE }, "body": "inner" })).await;
        let outer = world.api.send_input(json!({ "from": { "endpointId": world.alice.id }, "to": { "number": OUTSIDE }, "body": "outer" })).await;
        patch(&world.api, &world.alice, json!({ "numbers": [] })).await;
        patch(&world.api, &carol, json!({ "numbers": [TWO] })).await;
        let chats = world.api.chats(json!({ "endpointId": world.alice.id, "ownNumber": TWO })).await;
        assert_eq!(chats.len(), 2, "{chats:?}");
        assert_eq!(world.api.bodies(json!({ "chatId": inner["chatId"] })).await, ["inner"]);
        // To an endpoint it goes on under her own address, in another chat; to the outside she has no number left.
        let more = world.api.send_input(json!({ "to": { "chatId": inner["chatId"] }, "body": "more" })).await;
        assert_ne!(more["chatId"], inner["chatId"]);
        assert_eq!(more["from"], json!(world.alice.uri()));
        let input = json!({ "to": { "chatId": outer["chatId"] }, "body": "x" });
        world.api.refused_at("sendMessage", input, "NO_SENDER_NUMBER", "from").await;
        let input = json!({ "from": { "number": TWO }, "to": { "chatId": inner["chatId"] }, "body": "x" });
        world.api.refused_at("sendMessage", input, "VALIDATION", "from").await;
        // The answer to the number goes to who has it now.
        let bobs = world.api.chats(json!({ "endpointId": world.bob.id, "peer": TWO })).await;
        let reply = world.api.send_input(json!({ "to": { "chatId": bobs[0]["id"] }, "body": "reply" })).await;
        assert_eq!(world.api.bodies(json!({ "endpointId": carol.id, "direction": "IN" })).await, ["reply"], "{reply}");
        let carols = world.api.chats(json!({ "endpointId": carol.id })).await;
        assert_eq!((carols.len(), &carols[0]["ownNumber"], &carols[0]["peer"]), (1, &json!(TWO), &json!(ONE)));
        assert_eq!(world.api.bodies(json!({ "chatId": inner["chatId"] })).await, ["inner"]);
    }

    /// A send is repeatable with its key though its ends would not do any more, and its key is no other send's.
    async fn h145_a_send_is_replayed_though_its_ends_changed(database: Database) {
        let world = stage(&database).await;
        let World { api, domain, alice, .. } = &world;
        let carol = api.endpoint_create(domain, "carol").await;
        patch(api, alice, json!({ "numbers": [TWO] })).await;
        let chat = api.send_input(json!({ "from": { "number": TWO }, "to": { "number": ONE }, "body": "first" })).await["chatId"].clone();
        let send = async |input: &Value| {
            let payload = api.mutate("sendMessage", "replayed message { id chatId }", input.clone()).await;
            assert_eq!(payload["userErrors"], json!([]), "{input}");
            (payload["replayed"] == true, payload["message"].clone())
        };
        let by_number = json!({ "from": { "number": TWO }, "to": { "chatId": chat }, "body": "x", "idempotencyKey": "by number" });
        let (_, first) = send(&by_number).await;
        assert_eq!(first["chatId"], chat);
        // The number moves to another endpoint.
        patch(api, alice, json!({ "numbers": [] })).await;
        patch(api, &carol, json!({ "numbers": [TWO] })).await;
        assert_eq!(send(&by_number).await, (true, first));
        let mut unkeyed = by_number;
        unkeyed["idempotencyKey"] = Value::Null;
        api.refused_at("sendMessage", unkeyed, "VALIDATION", "from").await;
        // The chat is deleted; without the number the message went into another one.
        let to_chat = json!({ "to": { "chatId": chat }, "body": "x", "idempotencyKey": "to chat" });
        let (_, elsewhere) = send(&to_chat).await;
        assert_ne!(elsewhere["chatId"], chat);
        assert_eq!(api.mutate("deleteChat", "", json!({ "id": chat })).await["userErrors"], json!([]));
        assert_eq!(send(&to_chat).await, (true, elsewhere));
        for (field, value) in [("body", json!("y")), ("from", json!({ "uri": "" })), ("to", json!({ "uri": "" }))] {
            let mut other = to_chat.clone();
            other[field] = value;
            api.refused_at("sendMessage", other.clone(), "IDEMPOTENCY_KEY_REUSED", "idempotencyKey").await;
            // A dry run asks for no key.
            other["dryRun"] = json!(true);
            assert_ne!(api.refused("sendMessage", other).await[0]["code"], "IDEMPOTENCY_KEY_REUSED");
        }
    }

    /// The caller speaks only as its own endpoints and numbers.
    async fn h152_a_number_speaks_for_its_endpoint_alone(database: Database) {
        let world = stage(&database).await;
        let to = json!({ "endpointId": world.bob.id });
        for (number, code) in [(TWO, "NOT_FOUND"), (OUTSIDE, "NOT_FOUND")] {
            let input = json!({ "from": { "number": number }, "to": to, "body": "x" });
            world.api.refused_at("sendMessage", input, code, "from").await;
        }
        let wrong = json!({ "from": { "number": "12" }, "to": to, "body": "x" });
        world.api.refused_at("sendMessage", wrong, "VALIDATION", "from.number").await;
        patch(&world.api, &world.alice, json!({ "numbers": [TWO] })).await;
        let bound = world.server.token_create("acme", "messages.create,messages.read", &[&world.alice.id]).await;
        let bound = Api::with(&world.server, &bound);
        let input = json!({ "from": { "number": ONE }, "to": to, "body": "x" });
        bound.refused_at("sendMessage", input, "NOT_FOUND", "from").await;
        let input = json!({ "from": { "number": TWO }, "to": to, "body": "x" });
        assert_eq!(bound.mutate("sendMessage", "", input).await["userErrors"], json!([]));
    }

    /// Typing goes where a message by number goes, and comes from the number that the chat is with.
    async fn h161_typing_in_chats_with_numbers_is_told(database: Database) {
        let world = stage(&database).await;
        let national = json!({ "rule": { "rewrite": { "pattern": "^0", "replace": "+1" } } });
        patch(&world.api, &world.alice, json!({ "numbers": [TWO], "transformations": [national] })).await;
        let World { server, api, alice, bob, .. } = &world;
        let (mut writer, mut reader) = (Phone::udp(server, alice).await, Phone::udp(server, bob).await);
        reader.come_online().await;
        let dialled = format!("sip:{ONE}@example.test");
        let mut chats = Vec::new();
        for from in [json!({ "endpointId": alice.id }), json!({ "number": TWO })] {
            let sent = api.send_input(json!({ "from": from, "to": { "number": ONE }, "body": "by number" })).await;
            reader.take_message().await;
            api.message_is(&text(&sent["id"]), "SENT").await;
            chats.push(sent["chatId"].clone());
        }
        let mut socket = Socket::open(server, &server.token).await;
        let query = "subscription($e: [ID!]) { composing(endpointIds: $e) { peer active } }";
        socket.subscribe("typing", query, json!({ "e": [bob.id] })).await;
        let xml = "<?xml version=\"1.0\"?><isComposing xmlns=\"urn:ietf:params:xml:ns:im-iscomposing\"><state>active</state></isComposing>";
        for (by, peer, uri) in [(Some(&chats[0]), alice.address(), alice.uri()), (Some(&chats[1]), TWO.to_owned(), format!("sip:{TWO}@example.test")), (None, alice.address(), alice.uri())] {
            // Again until the subscription has begun.
            let told = loop {
                match by {
                    Some(chat) => assert_eq!(api.mutate("setComposing", "active", json!({ "chatId": chat })).await["active"], true),
                    None => {
                        // As its messages: the number becomes one of ours by the sender's transformations.
                        let request = writer.message_request("sip:02125550100@example.test", xml).set("Content-Type", Some("application/im-iscomposing+xml"));
                        assert_eq!(writer.ask_signed(request).await.0.status(), 200);
                    }
                }
                let heard = reader.take_message().await;
                assert!(heard.header("From").contains(&format!("<{uri}>")) && heard.header("To").contains(&format!("<{dialled}>")), "{heard:?}");
                if let Some(Seen::Message(told)) = socket.see_within(Duration::from_millis(500)).await {
                    let told = told["payload"]["data"]["composing"].clone();
                    // One that was late comes again.
                    if told["peer"] == json!(peer) {
                        break told;
                    }
                }
            };
            assert_eq!(told["active"], true);
        }
        // A number is nobody in a domain of others.
        assert!(server.cli(&["account", "create", "rival"]).await.contains("rival"));
        let rival = server.token_create("rival", crate::harness::server::ALL_SCOPES, &[]).await;
        Api::with(server, &rival).domain_create("rival.test", true).await;
        let request = writer.message_request(&format!("sip:{ONE}@rival.test"), xml).set("Content-Type", Some("application/im-iscomposing+xml"));
        assert_eq!(writer.ask_signed(request).await.0.status(), 200);
        assert!(reader.anything(Duration::from_millis(500)).await.is_none());
    }

    /// Own endpoint before own number before trunks; outside only with permission; no relay.
    async fn h162_routes_and_why_there_is_none(database: Database) {
        let world = stage(&database).await;
        let number = |text: &str| json!({ "number": text });
        // Nobody may reach outside, then there is no trunk.
        let payload = tried(&world, number(OUTSIDE)).await;
        assert_eq!(refusal(&payload), refused("NO_ROUTE", "from"));
        assert_eq!(payload["route"]["kind"], "NONE", "{payload}");
        patch(&world.api, &world.alice, json!({ "allowOutside": true, "numbers": [TWO] })).await;
        let payload = tried(&world, number(OUTSIDE)).await;
        assert_eq!(refusal(&payload), refused("NO_ROUTE", "to"));
        let gateway = trunk(&world).await;
        for to in [number(OUTSIDE), number("+49 30 123456"), json!({ "uri": format!("sip:{OUTSIDE}@example.test") })] {
            let payload = tried(&world, to).await;
            let route = &payload["route"];
            assert_eq!((&route["kind"], &route["trunkId"], &route["number"]), (&json!("TRUNK"), &json!(gateway), &json!(OUTSIDE)), "{payload}");
        }
        assert_eq!(tried(&world, number(ONE)).await["route"]["endpointId"], json!(world.bob.id));
        // An endpoint with the name of a number is an endpoint.
        let named = world.api.endpoint_create(&world.domain, OUTSIDE).await;
        let payload = tried(&world, json!({ "uri": format!("sip:{OUTSIDE}@example.test") })).await;
        assert_eq!(payload["route"]["endpointId"], json!(named.id), "{payload}");
        // No relay to a foreign host, nor to another account's domain, but through a trunk that is named.
        let rival = world.server.cli(&["account", "create", "rival"]).await;
        assert!(rival.contains("rival"));
        let rival = world.server.token_create("rival", crate::harness::server::ALL_SCOPES, &[]).await;
        let rival = Api::with(&world.server, &rival);
        let domain = rival.domain_create("rival.test", true).await;
        rival.endpoint_create(&domain, "zoe").await;
        for uri in ["sip:zoe@elsewhere.test", "sip:zoe@rival.test", "sip:+4930123456@rival.test", "sip:zoe@example.test"] {
            let payload = tried(&world, json!({ "uri": uri })).await;
            assert_eq!(refusal(&payload), refused("NOT_FOUND", "to"), "{uri}");
        }
        for uri in ["pjsip:gw/sip:zoe@elsewhere.test", "pjsip:gw/zoe@elsewhere.test", "pjsip:PJSIP/zoe@gw"] {
            let payload = tried(&world, json!({ "uri": uri })).await;
            assert_eq!((&payload["route"]["kind"], &payload["route"]["trunkId"]), (&json!("TRUNK"), &json!(gateway)), "{uri}: {payload}");
        }
        // Phones are told by the status.
        let mut alice = Phone::udp(&world.server, &world.alice).await;
        for uri in ["sip:zoe@example.test", "sip:12345@example.test", "sip:zoe@elsewhere.test", "sip:zoe@rival.test", "sip:+4930123456@rival.test"] {
            assert_eq!(alice.message(uri, "x").await.status(), 404, "{uri}");
        }
        let mut bob = Phone::udp(&world.server, &world.bob).await;
        assert_eq!(bob.message(&format!("sip:{TWO}1@example.test"), "x").await.status(), 403);
    }

    /// Transformations make numbers of what is dialled.
    async fn h164_transformations_apply_where_a_number_is_routed(database: Database) {
        let world = stage(&database).await;
        let rewrite = |pattern: &str, replace: &str| json!({ "rule": { "rewrite": { "pattern": pattern, "replace": replace } } });
        trunk(&world).await;
        patch(&world.api, &world.alice, json!({ "allowOutside": true, "numbers": [TWO] })).await;
        let digits = json!({ "number": "030123456" });
        assert_eq!(refusal(&tried(&world, digits.clone()).await), refused("NO_ROUTE", "to"));
        let reject = json!({ "rule": { "reject": { "pattern": "^\\+49900" } } });
        patch(&world.api, &world.alice, json!({ "transformations": [rewrite("^0", "+49"), reject] })).await;
        let payload = tried(&world, digits).await;
        assert_eq!((&payload["route"]["kind"], &payload["route"]["number"]), (&json!("TRUNK"), &json!(OUTSIDE)), "{payload}");
        assert!(list(&payload["route"]["steps"]).iter().any(|step| text(step).contains("030123456 becomes +4930123456")), "{payload}");
        assert_eq!(refusal(&tried(&world, json!({ "number": "0900123" })).await), refused("NO_ROUTE", "to"));
    }

    /// A number behind a trunk that is named gets a number as the sender, too; an address there gets an address.
    async fn d095_a_number_behind_a_named_trunk_is_written_to_by_a_number(database: Database) {
        let world = stage(&database).await;
        trunk(&world).await;
        patch(&world.api, &world.alice, json!({ "allowOutside": true })).await;
        let select = format!("message {{ {MESSAGE} fromNumber }}");
        let send = async |uri: &str| {
            let input = json!({ "from": { "endpointId": world.alice.id }, "to": { "uri": uri }, "body": "x" });
            world.api.mutate("sendMessage", &select, input).await
        };
        let numbers = ["pjsip:PJSIP/12125550100@gw", "pjsip:gw/+4930123456", "pjsip:gw/sip:+4930123456@carrier.test"];
        for uri in &numbers[1..] {
            assert_eq!(refusal(&send(uri).await), refused("NO_SENDER_NUMBER", "from"), "{uri}");
        }
        // Digits alone may be an extension of a PBX.
        let sent = send(numbers[0]).await["message"].clone();
        assert_eq!((&sent["fromNumber"], &sent["from"]), (&Value::Null, &json!(world.alice.uri())));
        patch(&world.api, &world.alice, json!({ "sendAs": ONE })).await;
        for uri in numbers {
            let sent = send(uri).await["message"].clone();
            assert_eq!((&sent["fromNumber"], &sent["from"]), (&json!(ONE), &json!(format!("sip:{ONE}@example.test"))), "{uri}");
        }
        let sent = send("pjsip:gw/sip:zoe@carrier.test").await["message"].clone();
        assert_eq!((&sent["fromNumber"], &sent["from"]), (&Value::Null, &json!(world.alice.uri())));
    }

    /// An echo answers as it was called, to whom it was called by, in the same chats.
    async fn h165_an_echo_answers_in_the_chat_of_the_message(database: Database) {
        let world = stage(&database).await;
        let World { api, domain, alice, .. } = &world;
        let input = json!({ "domainId": domain, "name": "echo", "credentials": { "password": "secret-of-it" }, "simulation": "ECHO" });
        let echo = text(&api.mutate("createEndpoint", "endpoint { id }", input).await["endpoint"]["id"]);
        for (endpoint, number) in [(&world.bob.id, None), (&echo, Some(ONE)), (&alice.id, Some(TWO))] {
            let numbers: Vec<&str> = number.into_iter().collect();
            let input = json!({ "id": endpoint, "patch": { "numbers": numbers } });
            assert_eq!(api.mutate("updateEndpoint", "", input).await["userErrors"], json!([]));
        }
        let mut chats = BTreeSet::new();
        for from in [json!({ "endpointId": alice.id }), json!({ "number": TWO })] {
            for to in [json!({ "endpointId": echo }), json!({ "number": ONE })] {
                let sent = api.send_input(json!({ "from": from, "to": to, "body": "hello?" })).await;
                let heard = eventually("the echo", || async {
                    api.messages(json!({ "chatId": sent["chatId"], "direction": "IN" })).await.pop()
                })
                .await;
                assert_eq!((&heard["from"], &heard["to"], &heard["body"]), (&sent["to"], &sent["from"], &sent["body"]));
                chats.insert(text(&sent["chatId"]));
            }
        }
        assert_eq!(chats.len(), 4);
        for endpoint in [&alice.id, &echo] {
            let chats = api.chats(json!({ "endpointId": endpoint })).await;
            let counts: Vec<&Value> = chats.iter().map(|chat| &chat["messageCount"]).collect();
            assert_eq!(counts, [2; 4], "{chats:?}");
        }
    }

    /// The number that a message to an outside number comes from.
    async fn d095_the_number_that_a_message_comes_from(database: Database) {
        let world = stage(&database).await;
        trunk(&world).await;
        patch(&world.api, &world.alice, json!({ "allowOutside": true })).await;
        let select = format!("message {{ {MESSAGE} fromNumber }}");
        let send = |from: Value| {
            let (api, select) = (&world.api, &select);
            async move {
                let input = json!({ "from": from, "to": { "number": OUTSIDE }, "body": "x" });
                api.mutate("sendMessage", select, input).await
            }
        };
        let alice = json!({ "endpointId": world.alice.id });
        assert_eq!(refusal(&send(alice.clone()).await), refused("NO_SENDER_NUMBER", "from"));
        patch(&world.api, &world.alice, json!({ "sendAs": "+4989000" })).await;
        assert_eq!(refusal(&send(alice.clone()).await), refused("NO_SENDER_NUMBER", "from"));
        patch(&world.api, &world.alice, json!({ "sendAs": ONE })).await;
        assert_eq!(send(alice.clone()).await["message"]["fromNumber"], ONE);
        // As people write it: `+1 (212) 555-0100`.
        let spelled = format!("{} ({}) {}-{}", &ONE[..2], &ONE[2..5], &ONE[5..8], &ONE[8..]);
        patch(&world.api, &world.alice, json!({ "sendAs": spelled })).await;
        assert_eq!(world.api.endpoint(&world.alice.id).await["sendAs"], ONE);
        assert_eq!(send(alice.clone()).await["message"]["fromNumber"], ONE);
        patch(&world.api, &world.alice, json!({ "numbers": [TWO] })).await;
        assert_eq!(send(json!({ "number": TWO })).await["message"]["fromNumber"], TWO);
        // Any of the account's, and the same one for a chat.
        patch(&world.api, &world.alice, json!({ "sendAs": "random" })).await;
        let first = send(alice.clone()).await["message"].clone();
        assert!([ONE, TWO].contains(&text(&first["fromNumber"]).as_str()));
        for _ in 0..5 {
            let next = send(alice.clone()).await;
            assert_eq!((&next["message"]["fromNumber"], &next["message"]["chatId"]), (&first["fromNumber"], &first["chatId"]));
        }
        // To a chat that is named, however late the other was used.
        let chats = world.api.chats(json!({ "endpointId": world.alice.id, "peer": OUTSIDE })).await;
        assert_eq!(chats.len(), 2, "{chats:?}");
        for chat in chats.iter().cycle().take(8) {
            let input = json!({ "to": { "chatId": chat["id"] }, "body": "x" });
            let message = &world.api.mutate("sendMessage", &select, input).await["message"];
            assert_eq!((&message["fromNumber"], &message["chatId"]), (&chat["ownNumber"], &chat["id"]), "{message}");
        }
        patch(&world.api, &world.alice, json!({ "sendAs": null })).await;
        assert_eq!(send(alice.clone()).await["message"]["fromNumber"], TWO);
        // What the profile says goes before the first number of the endpoint.
        let profile = json!({ "patch": { "defaultSendAs": spelled } });
        let payload = world.api.mutate("updateSipProfile", "sipProfile { defaultSendAs }", profile).await;
        assert_eq!((&payload["userErrors"], &payload["sipProfile"]["defaultSendAs"]), (&json!([]), &json!(ONE)));
        assert_eq!(send(alice).await["message"]["fromNumber"], ONE);
    }
}

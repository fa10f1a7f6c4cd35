//! Messages: sending, addresses, texts, status, receipts on both sides, filters and marks.

use crate::harness::graphql::{code, code_of, field_of, list, text};
use crate::harness::phone::Reply;
use crate::harness::server::ALL_SCOPES;
use crate::harness::world::MESSAGE;
use crate::harness::{Api, Feed, Phone, Server, Value, World, both_backends, eventually, json};
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The longest text, in bytes.
const BODY_BYTES_MAX: usize = 60 * 1024;

/// The fields and codes of a send's refusals.
async fn refusals(api: &Api, input: Value) -> Vec<(String, String)> {
    let errors = api.refused("sendMessage", input).await;
    errors
        .iter()
        .map(|e| (field_of(e), text(&e["code"])))
        .collect()
}

/// How many events of a kind name a message.
async fn events_of(feed_of: &Server, after: &str, message: &Value) -> Vec<Value> {
    let mut feed = Feed::open(feed_of, after).await;
    let api = Api::of(feed_of);
    // A last event that ends the look.
    let domain = text(
        &api.data("{ domains(first: 1) { nodes { id } } }", json!({}))
            .await["domains"]["nodes"][0]["id"],
    );
    let end = api
        .endpoint_create(&domain, &crate::harness::sip::unique())
        .await;
    let events = feed
        .all_until(|e| e["type"] == "ENDPOINT_CREATED" && e["endpointId"] == json!(end.id))
        .await;
    events
        .into_iter()
        .filter(|e| e["messageId"] == *message)
        .collect()
}

both_backends! {
    /// The device gets MESSAGE with the text and the sender.
    async fn e103_a_send_arrives_as_sip_message(database: Database) {
        let world = World::start(&database).await;
        let mut phone = Phone::udp(&world.server, &world.bob).await;
        phone.come_online().await;
        let sent = world.api.send(&world.alice, &world.bob, "Grüße, 世界 👋\r\nsecond line").await;
        assert_eq!(sent["status"], "ACCEPTED");
        let message = phone.take_message().await;
        assert_eq!(message.body, "Grüße, 世界 👋\r\nsecond line");
        assert!(message.header("From").contains("sip:alice@example.test"), "{message:?}");
        assert!(message.header("To").contains("sip:bob@example.test"), "{message:?}");
        assert!(message.header("Content-Type").starts_with("text/plain"), "{message:?}");
        assert_eq!(message.header("Max-Forwards").parse::<u8>().unwrap(), 70);
        assert!(message.first.starts_with(&format!("MESSAGE {} SIP/2.0", phone.contact())), "{message:?}");
        let sent = world.api.message_is(&text(&sent["id"]), "SENT").await;
        let deliveries = list(&sent["deliveries"]);
        assert_eq!(deliveries.len(), 1, "{sent}");
        assert_eq!(deliveries[0]["outcome"], "DELIVERED");
        assert_eq!(deliveries[0]["callId"], json!(message.header("Call-ID")));
        assert_eq!(deliveries[0]["sipStatus"], 200);
    }

    /// Each form of an address reaches the same device.
    async fn e104_every_form_of_an_address_reaches_the_device(database: Database) {
        let world = World::start(&database).await;
        let mut phone = Phone::udp(&world.server, &world.bob).await;
        phone.come_online().await;
        let resource = json!({ "technology": "SIP", "resource": "bob" });
        for (i, to) in [
            json!({ "uri": "sip:bob@example.test" }),
            json!({ "uri": "sips:bob@EXAMPLE.test" }),
            json!({ "uri": "sip:%62ob@example.test" }),
            json!({ "uri": "pjsip:bob" }),
            json!({ "uri": "PJSIP:bob@example.test" }),
            json!({ "resource": resource }),
            json!({ "endpointId": world.bob.id }),
        ]
        .into_iter()
        .enumerate()
        {
            let body = format!("number {i}");
            let from = json!({ "uri": "pjsip:alice" });
            let sent = world.api.send_input(json!({ "from": from, "to": to, "body": body })).await;
            assert_eq!(phone.take_message().await.body, body, "{to}");
            assert_eq!(sent["to"], "sip:bob@example.test", "{to}");
        }
    }

    /// An address must be there and not be empty.
    async fn e105_both_parties_are_required(database: Database) {
        let world = World::start(&database).await;
        let alice = json!({ "endpointId": world.alice.id });
        let bob = json!({ "endpointId": world.bob.id });
        let none = json!({ "to": bob, "body": "x" });
        assert_eq!(refusals(&world.api, none).await, [("from".into(), "VALIDATION".into())]);
        let empty = json!({ "from": { "uri": "" }, "to": { "uri": "" }, "body": "x" });
        assert_eq!(
            refusals(&world.api, empty).await,
            [("from.uri".into(), "VALIDATION".into()), ("to.uri".into(), "VALIDATION".into())]
        );
        let resource = json!({ "technology": "SIP", "resource": "" });
        let empty = json!({ "from": { "resource": resource }, "to": bob, "body": "x" });
        assert_eq!(refusals(&world.api, empty).await[0].1, "VALIDATION");
        for input in [json!({ "from": alice, "body": "x" }), json!({ "from": alice, "to": {}, "body": "x" })] {
            let (query, variables) = crate::harness::graphql::mutation("sendMessage", "", input);
            let response = world.api.gql(&query, variables).await;
            assert!(matches!(code(&response), Some("BAD_USER_INPUT" | "GRAPHQL_VALIDATION_FAILED")), "{response}");
        }
        assert_eq!(world.api.messages(json!({})).await.len(), 0);
    }

    /// Addresses that lead nowhere.
    async fn e106_an_address_that_leads_nowhere_is_refused(database: Database) {
        let world = World::start(&database).await;
        let from = json!({ "endpointId": world.alice.id });
        for (uri, code) in [
            ("sip:carol@example.test", "NOT_FOUND"),
            ("sip:bob@other.test", "NOT_FOUND"),
            ("sip:Bob@example.test", "NOT_FOUND"),
            ("sip:example.test", "NOT_FOUND"),
            ("pjsip:carol", "NOT_FOUND"),
            ("foo:x", "NOT_FOUND"),
            ("iax2:x", "NOT_FOUND"),
            ("xmpp:bob@example.test", "TECHNOLOGY_UNAVAILABLE"),
            ("bob", "VALIDATION"),
            ("sip:b b@example.test", "VALIDATION"),
            ("sip:bob@", "VALIDATION"),
        ] {
            let input = json!({ "from": from, "to": { "uri": uri }, "body": "x" });
            let seen = refusals(&world.api, input).await;
            assert_eq!(seen.len(), 1, "{uri}: {seen:?}");
            assert_eq!(seen[0].1, code, "{uri}: {seen:?}");
            assert!(seen[0].0.starts_with("to"), "{uri}: {seen:?}");
        }
        assert_eq!(world.api.messages(json!({})).await.len(), 0);
    }

    /// Without a text an empty MESSAGE is sent; an empty text is a mistake.
    async fn e107_a_message_may_be_empty_but_no_empty_text(database: Database) {
        let world = World::start(&database).await;
        let mut phone = Phone::udp(&world.server, &world.bob).await;
        phone.come_online().await;
        let (from, to) = (json!({ "endpointId": world.alice.id }), json!({ "endpointId": world.bob.id }));
        for input in [json!({ "from": from, "to": to }), json!({ "from": from, "to": to, "body": null })] {
            let sent = world.api.send_input(input).await;
            assert_eq!(sent["body"], "");
            let message = phone.take_message().await;
            assert_eq!((message.body.as_str(), message.header("Content-Length")), ("", "0"));
        }
        let input = json!({ "from": from, "to": to, "body": "" });
        world.api.refused_at("sendMessage", input, "VALIDATION", "body").await;
        assert_eq!(world.api.messages(json!({ "direction": "OUT" })).await.len(), 2);
    }

    /// A text of any media type arrives with its type; what is none, or is not in UTF-8, is refused.
    async fn e103_a_text_of_any_media_type_arrives(database: Database) {
        let world = World::start(&database).await;
        let World { server, api, alice, bob, .. } = &world;
        let mut phone = Phone::tcp(server, bob).await;
        phone.come_online().await;
        let (from, to) = (json!({ "endpointId": alice.id }), json!({ "endpointId": bob.id }));
        for (kind, body) in [
            ("text/html; charset=UTF-8", "<b>Grüße</b>"),
            ("application/vnd.acme.card+json", "{\"a\": \"\u{1f44b}\"}"),
            ("text/plain;charset=us-ascii", "plain"),
            ("multipart/mixed; boundary=\"a;b\"", "--a;b\r\n\r\nx\r\n--a;b--\r\n"),
        ] {
            let sent = api.send_input(json!({ "from": from, "to": to, "body": body, "contentType": kind })).await;
            assert_eq!((&sent["contentType"], &sent["body"]), (&json!(kind), &json!(body)));
            let got = phone.take_message().await;
            assert_eq!((got.header("Content-Type"), got.body.as_str()), (kind, body));
            let received = api.messages(json!({ "endpointId": bob.id, "direction": "IN" })).await;
            assert_eq!(received[0]["contentType"], json!(kind));
        }
        let long = format!("text/{}", "x".repeat(251));
        for kind in ["", "text", "text/", "text/plain;", "text/pl ain", "text/plain; charset=iso-8859-1", "text/html;a=\"", long.as_str()] {
            let input = json!({ "from": from, "to": to, "body": "x", "contentType": kind });
            api.refused_at("sendMessage", input, "VALIDATION", "contentType").await;
        }
        let umlaut = json!({ "from": from, "to": to, "body": "ä", "contentType": "text/plain;charset=us-ascii" });
        api.refused_at("sendMessage", umlaut, "VALIDATION", "contentType").await;
        // A phone that does not take the type says so.
        phone.reply = Reply::Status(415, "Unsupported Media Type");
        let sent = api.send_input(json!({ "from": from, "to": to, "body": "{}", "contentType": "application/json" })).await;
        phone.take_message().await;
        let failed = api.message_is(&text(&sent["id"]), "FAILED").await;
        assert_eq!((&failed["failure"]["code"], &failed["failure"]["sipStatus"]), (&json!("REFUSED"), &json!(415)), "{failed}");
    }

    /// Technology and resource lead where the URI of both leads; a resource of the greatest length is not cut.
    async fn e111_technology_and_resource_are_an_address(database: Database) {
        let world = World::start(&database).await;
        let name = "n".repeat(128);
        let long = world.api.endpoint_create(&world.domain, &name).await;
        let mut phone = Phone::tcp(&world.server, &long).await;
        phone.come_online().await;
        let from = json!({ "resource": { "technology": "PJSIP", "resource": "alice" } });
        let mut chats = Vec::new();
        for (i, to) in [
            json!({ "resource": { "technology": "PJSIP", "resource": name } }),
            json!({ "resource": { "technology": "sip", "resource": name } }),
            json!({ "uri": format!("pjsip:{name}") }),
        ]
        .into_iter()
        .enumerate()
        {
            let body = format!("number {i}");
            let sent = world.api.send_input(json!({ "from": from, "to": to, "body": body })).await;
            assert_eq!((&sent["to"], &sent["endpointId"]), (&json!(format!("sip:{name}@example.test")), &json!(world.alice.id)));
            assert_eq!(phone.take_message().await.body, body);
            chats.push(sent["chatId"].clone());
        }
        assert!(chats.iter().all(|chat| *chat == chats[0]), "{chats:?}");
        let cut = json!({ "from": from, "to": { "resource": { "technology": "PJSIP", "resource": "n".repeat(127) } }, "body": "x" });
        world.api.refused_at("sendMessage", cut, "NOT_FOUND", "to").await;
    }

    /// The key of a send is told to the token that sent it, and to no other.
    async fn h145_the_key_of_a_send_is_told_to_its_token(database: Database) {
        let world = World::start(&database).await;
        let input = json!({ "from": { "endpointId": world.alice.id }, "to": { "endpointId": world.bob.id }, "body": "x", "idempotencyKey": "order-17" });
        for replayed in [false, true] {
            let payload = world.api.mutate("sendMessage", "replayed message { id idempotencyKey }", input.clone()).await;
            assert_eq!((&payload["replayed"], &payload["message"]["idempotencyKey"]), (&json!(replayed), &json!("order-17")), "{payload}");
        }
        world.api.send(&world.alice, &world.bob, "without").await;
        let query = "{ messages { nodes { direction body idempotencyKey } } }";
        let keys = |data: Value| -> BTreeMap<String, Value> {
            let nodes = list(&data["messages"]["nodes"]);
            nodes.iter().map(|m| (format!("{} {}", text(&m["direction"]), text(&m["body"])), m["idempotencyKey"].clone())).collect()
        };
        let own = keys(world.api.data(query, json!({})).await);
        let expected = [("IN without", json!(null)), ("IN x", json!(null)), ("OUT without", json!(null)), ("OUT x", json!("order-17"))];
        assert_eq!(own, expected.map(|(message, key)| (message.to_owned(), key)).into());
        let other = world.server.token_create("acme", "messages.manage", &[]).await;
        let other = world.api.as_token(Some(&other));
        let seen = keys(other.data(query, json!({})).await);
        assert_eq!(seen.len(), 4);
        assert!(seen.values().all(Value::is_null), "{seen:?}");
        // Another token's equal key is another key, and a refused call uses up none.
        let mut input = input;
        input["body"] = json!("");
        other.refused_at("sendMessage", input.clone(), "VALIDATION", "body").await;
        input["body"] = json!("y");
        let payload = other.mutate("sendMessage", "replayed message { body idempotencyKey }", input).await;
        assert_eq!((&payload["replayed"], &payload["message"]), (&json!(false), &json!({ "body": "y", "idempotencyKey": "order-17" })), "{payload}");
    }

    /// A refused send is never also accepted.
    async fn e112_a_refused_send_is_not_accepted(database: Database) {
        let world = World::start(&database).await;
        let from = json!({ "endpointId": world.alice.id });
        let before = world.api.event_cursor().await;
        for input in [
            json!({ "from": from, "to": { "uri": "pjsip:carol" }, "body": "x" }),
            json!({ "from": from, "to": { "endpointId": world.bob.id }, "body": "" }),
        ] {
            let payload = world.api.mutate("sendMessage", "message { id status }", input).await;
            assert_eq!(payload["message"], Value::Null, "{payload}");
            assert_eq!(list(&payload["userErrors"]).len(), 1, "{payload}");
        }
        assert_eq!(world.api.messages(json!({})).await.len(), 0);
        assert_eq!(world.api.event_cursor().await, before, "a refusal leaves no event");
    }

    /// A send makes one OUT message with all its fields.
    async fn f117_a_send_makes_one_out_message(database: Database) {
        let world = World::start(&database).await;
        let sent = world.api.send(&world.alice, &world.bob, "hello").await;
        let expected = json!({
            "endpointId": world.alice.id, "direction": "OUT", "origin": "API", "body": "hello", "read": true,
            "from": "sip:alice@example.test", "to": "sip:bob@example.test", "contentType": "text/plain", "status": "ACCEPTED",
            "failure": null, "seq": 1,
        });
        for (field, value) in expected.as_object().unwrap() {
            assert_eq!(&sent[field], value, "{field} of {sent}");
        }
        for field in ["id", "exchangeId", "chatId", "createdAt", "statusAt", "expiresAt"] {
            assert!(sent[field].is_string(), "{field} of {sent}");
        }
        assert!(text(&sent["createdAt"]).ends_with('Z') && text(&sent["createdAt"]).len() == "2026-11-21T12:00:00.000000Z".len());
        let out = world.api.messages(json!({ "endpointId": world.alice.id })).await;
        assert_eq!(out.iter().map(|m| &m["id"]).collect::<Vec<_>>(), [&sent["id"]]);
    }

    /// Newest first, in pages; the message by its id is the same.
    async fn f118_messages_are_listed_newest_first(database: Database) {
        let world = World::start(&database).await;
        for i in 0..7 {
            world.api.send(&world.alice, &world.bob, &format!("text {i}")).await;
        }
        let query = format!(
            "query($id: ID!, $after: Cursor) {{ endpoint(by: {{ id: $id }}) {{ messages(first: 3, after: $after) {{
                totalCount nodes {{ {MESSAGE} }} pageInfo {{ hasNextPage endCursor }} }} }} }}"
        );
        let (mut bodies, mut after) = (Vec::new(), Value::Null);
        loop {
            let data = world.api.data(&query, json!({ "id": world.alice.id, "after": after })).await;
            let page = &data["endpoint"]["messages"];
            assert_eq!(page["totalCount"], 7);
            for message in list(&page["nodes"]) {
                bodies.push(text(&message["body"]));
                assert_eq!(world.api.message(&text(&message["id"])).await, message);
            }
            after = page["pageInfo"]["endCursor"].clone();
            if page["pageInfo"]["hasNextPage"] == false {
                break;
            }
        }
        assert_eq!(bodies, ["text 6", "text 5", "text 4", "text 3", "text 2", "text 1", "text 0"]);
    }

    /// Filters work alone and together; a span of time has its start and not its end.
    async fn f119_filters_work_alone_and_together(database: Database) {
        let world = World::start(&database).await;
        let carol = world.api.endpoint_create(&world.domain, "carol").await;
        let World { api, alice, bob, .. } = &world;
        let first = api.send(alice, bob, "one").await;
        let second = api.send(bob, alice, "two").await;
        let third = api.send(alice, &carol, "three").await;
        let incoming = api.messages(json!({ "endpointId": alice.id, "direction": "IN" })).await;
        api.mutate("markMessage", "message { id }", json!({ "id": incoming[0]["id"] })).await;
        let alices = |mut filter: Value| {
            filter["endpointId"] = json!(alice.id);
            async move { api.bodies(filter).await }
        };
        let none: [&str; 0] = [];
        assert_eq!(alices(json!({})).await, ["three", "two", "one"]);
        assert_eq!(alices(json!({ "direction": "OUT" })).await, ["three", "one"]);
        assert_eq!(alices(json!({ "direction": "IN" })).await, ["two"]);
        assert_eq!(alices(json!({ "read": false })).await, none);
        assert_eq!(alices(json!({ "read": true, "direction": "IN" })).await, ["two"]);
        assert_eq!(api.bodies(json!({ "read": false })).await, ["three", "one"]);
        assert_eq!(alices(json!({ "status": "ACCEPTED" })).await, ["three", "one"]);
        assert_eq!(alices(json!({ "status": "RECEIVED" })).await, ["two"]);
        assert_eq!(alices(json!({ "status": "FAILED" })).await, none);
        assert_eq!(alices(json!({ "peer": "bob@example.test" })).await, ["two", "one"]);
        assert_eq!(alices(json!({ "peer": "bob@example.test", "direction": "OUT" })).await, ["one"]);
        assert_eq!(alices(json!({ "chatId": third["chatId"] })).await, ["three"]);
        let at = |message: &Value| message["createdAt"].clone();
        assert_eq!(alices(json!({ "createdAt": { "from": at(&second) } })).await, ["three", "two"]);
        assert_eq!(alices(json!({ "createdAt": { "to": at(&second) } })).await, ["one"]);
        assert_eq!(alices(json!({ "createdAt": { "from": at(&first), "to": at(&third) } })).await, ["two", "one"]);
        assert_eq!(alices(json!({ "createdAt": { "from": at(&third), "to": at(&third) } })).await, none);
        assert_eq!(alices(json!({ "createdAt": { "from": at(&first) }, "peer": "carol@example.test", "status": "ACCEPTED" })).await, ["three"]);
        // With words too, which are found a little later; and page by page.
        for body in ["two more", "two again"] {
            api.send(bob, alice, body).await;
        }
        eventually("the words being found", || async { (alices(json!({ "text": "two" })).await.len() == 3).then_some(()) }).await;
        assert_eq!(alices(json!({ "text": "two", "read": true })).await, ["two"]);
        assert_eq!(alices(json!({ "text": "two", "read": false, "status": "RECEIVED" })).await, ["two again", "two more"]);
        assert_eq!(alices(json!({ "text": "two", "peer": "bob@example.test", "createdAt": { "to": at(&third) } })).await, ["two"]);
        assert_eq!(alices(json!({ "text": "two", "peer": "carol@example.test" })).await, none);
        assert_eq!(alices(json!({ "text": "tw", "chatId": first["chatId"], "direction": "IN" })).await, ["two again", "two more", "two"]);
        assert_eq!(alices(json!({ "text": "two", "chatId": third["chatId"] })).await, none);
        let query = "query($f: MessageFilter, $first: Int, $after: Cursor, $last: Int) { messages(filter: $f, first: $first, after: $after, last: $last)
            { nodes { body } pageInfo { hasNextPage endCursor } } }";
        for filter in [json!({ "text": "two", "endpointId": alice.id }), json!({ "text": "two", "chatId": first["chatId"] })] {
            let (mut seen, mut after) = (Vec::new(), Value::Null);
            loop {
                let page = api.data(query, json!({ "f": filter, "first": 1, "after": after })).await["messages"].take();
                seen.extend(list(&page["nodes"]).iter().map(|m| text(&m["body"])));
                after = page["pageInfo"]["endCursor"].clone();
                if page["pageInfo"]["hasNextPage"] == false {
                    break;
                }
            }
            assert_eq!(seen, ["two again", "two more", "two"], "{filter}");
            let oldest = api.data(query, json!({ "f": filter, "last": 2 })).await["messages"]["nodes"].take();
            assert_eq!(oldest, json!([{ "body": "two more" }, { "body": "two" }]), "{filter}");
        }
        let response = api.gql("query($f: MessageFilter) { messages(filter: $f) { totalCount } }", json!({ "f": { "createdAt": { "from": "yesterday" } } })).await;
        assert_eq!(code(&response), Some("BAD_USER_INPUT"), "{response}");
    }

    /// Read, unread, read: each changes what it says, twice changes nothing.
    async fn f120_marking_is_idempotent_and_counted(database: Database) {
        let world = World::start(&database).await;
        let World { api, alice, bob, .. } = &world;
        api.send(alice, bob, "one").await;
        let sent = api.send(alice, bob, "two").await;
        let incoming = api.messages(json!({ "endpointId": bob.id })).await[0].clone();
        assert_eq!((&incoming["read"], &incoming["body"]), (&json!(false), &json!("two")));
        let unread = || async { api.chats(json!({ "endpointId": bob.id })).await[0]["unreadCount"].as_i64().unwrap() };
        assert_eq!(unread().await, 2);
        let before = api.log(&["MESSAGE_UPDATED"]).await.len();
        for (i, (read, count, updates)) in [(true, 1, 1), (true, 1, 1), (false, 2, 2), (false, 2, 2), (true, 1, 3)].into_iter().enumerate() {
            let payload = api.mutate("markMessage", "message { read }", json!({ "id": incoming["id"], "read": read })).await;
            assert_eq!(payload["message"]["read"], read, "{i}: {payload}");
            assert_eq!(unread().await, count, "{i}");
            assert_eq!(api.log(&["MESSAGE_UPDATED"]).await.len() - before, updates, "{i}");
        }
        let data = api.data("query($id: ID!) { endpoint(by: { id: $id }) { unreadCount } }", json!({ "id": bob.id })).await;
        assert_eq!(data["endpoint"]["unreadCount"], 1);
        api.refused_at("markMessage", json!({ "id": sent["id"], "read": false }), "VALIDATION", "read").await;
    }

    /// Looking changes nothing.
    async fn f121_reading_does_not_mark(database: Database) {
        let world = World::start(&database).await;
        world.api.send(&world.alice, &world.bob, "hello").await;
        for _ in 0..2 {
            let incoming = world.api.messages(json!({ "endpointId": world.bob.id })).await[0].clone();
            assert_eq!(incoming["read"], false);
            assert_eq!(world.api.message(&text(&incoming["id"])).await["read"], false);
        }
    }

    /// Another's message, and none at all, read the same.
    async fn f123_a_foreign_message_is_not_found(database: Database) {
        let world = World::start(&database).await;
        world.api.send(&world.alice, &world.bob, "hello").await;
        let incoming = text(&world.api.messages(json!({ "endpointId": world.bob.id })).await[0]["id"]);
        world.server.cli(&["account", "create", "rival"]).await;
        let rival = world.server.token_create("rival", ALL_SCOPES, &[]).await;
        let bound = world.server.token_create("acme", "messages.manage", &[&world.alice.id]).await;
        for token in [&rival, &bound] {
            let api = world.api.as_token(Some(token));
            let query = "query($id: ID!) { message(id: $id) { id } }";
            let absent = api.gql(query, json!({ "id": "TQAAAAAAAAAAAAAAAAAAAAA" })).await;
            assert_eq!(code(&absent), Some("NOT_FOUND"), "{absent}");
            assert_eq!(api.gql(query, json!({ "id": incoming })).await, absent);
            api.refused_at("markMessage", json!({ "id": incoming }), "NOT_FOUND", "id").await;
            api.refused_at("deleteMessage", json!({ "id": incoming }), "NOT_FOUND", "id").await;
        }
        assert_eq!(world.api.message(&incoming).await["read"], false);
    }

    /// A deleted message is gone everywhere, with its text; the other side keeps its own.
    async fn f122_a_deleted_message_is_gone_everywhere(database: Database) {
        let world = World::start(&database).await;
        let World { server, api, alice, bob, .. } = &world;
        let start = api.event_cursor().await;
        let mut feed = Feed::open(server, &start).await;
        let mut device = Phone::udp(server, bob).await;
        device.come_online().await;
        let mut phone = Phone::udp(server, alice).await;
        assert_eq!(phone.message(&bob.uri(), "first words").await.status(), 202);
        device.take_message().await;
        let first = api.messages(json!({ "endpointId": alice.id })).await[0].clone();
        api.message_is(&text(&first["id"]), "SENT").await;
        let last = api.send(alice, bob, "last words").await;
        device.take_message().await;
        api.message_is(&text(&last["id"]), "SENT").await;
        let select = "deletedMessageId replayed chat { unreadCount messageCount lastMessage { body } }";
        let input = json!({ "id": last["id"], "idempotencyKey": "once" });
        let payload = api.mutate("deleteMessage", select, input.clone()).await;
        let chat = json!({ "unreadCount": 0, "messageCount": 1, "lastMessage": { "body": "first words" } });
        assert_eq!((&payload["deletedMessageId"], &payload["chat"]), (&last["id"], &chat), "{payload}");
        let again = api.mutate("deleteMessage", select, input).await;
        assert_eq!((&again["deletedMessageId"], &again["replayed"], &again["chat"]), (&last["id"], &json!(true), &chat));
        api.refused_at("deleteMessage", json!({ "id": last["id"] }), "NOT_FOUND", "id").await;
        api.refused_at("markMessage", json!({ "id": last["id"] }), "NOT_FOUND", "id").await;
        let absent = api.gql("query($id: ID!) { message(id: $id) { id } }", json!({ "id": last["id"] })).await;
        assert_eq!(code(&absent), Some("NOT_FOUND"), "{absent}");
        assert_eq!(api.bodies(json!({ "endpointId": alice.id })).await, ["first words"]);
        assert_eq!(api.bodies(json!({ "endpointId": bob.id })).await, ["last words", "first words"]);
        let event = feed.next("MESSAGE_DELETED").await;
        assert_eq!((&event["messageId"], &event["chatId"], &event["endpointId"]), (&last["id"], &last["chatId"], &json!(alice.id)));
        // The device's message too, with what told of it; an unread one is counted out.
        api.mutate("deleteMessage", "replayed", json!({ "id": first["id"] })).await;
        let incoming = api.messages(json!({ "endpointId": bob.id })).await;
        let payload = api.mutate("deleteMessage", select, json!({ "id": incoming[0]["id"] })).await;
        assert_eq!(payload["chat"], json!({ "unreadCount": 1, "messageCount": 1, "lastMessage": { "body": "first words" } }));
        // Whoever reads the log again reads no text of what was deleted.
        let events = events_of(server, &start, &last["id"]).await;
        let told: Vec<(&Value, &Value)> = events.iter().map(|e| (&e["type"], &e["text"])).collect();
        let null = &Value::Null;
        assert_eq!(told, [(&json!("MESSAGE_OUT"), null), (&json!("MESSAGE_OUT_STATUS"), null), (&json!("MESSAGE_DELETED"), null)], "{events:?}");
        let mut feed = Feed::open(server, &start).await;
        assert_eq!(feed.next("TEXT_MESSAGE_RECEIVED").await["body"], Value::Null);
        assert_eq!(feed.next("MESSAGE_OUT").await["text"], Value::Null);
        assert_eq!(feed.next("MESSAGE_IN").await["text"], "first words", "bob keeps his");
    }

    /// What comes in raises message-in.
    async fn f129_an_incoming_message_raises_message_in(database: Database) {
        let world = World::start(&database).await;
        let mut feed = Feed::open(&world.server, &world.api.event_cursor().await).await;
        world.api.send(&world.alice, &world.bob, "hello").await;
        let event = feed.next("MESSAGE_IN").await;
        let incoming = world.api.messages(json!({ "endpointId": world.bob.id })).await[0].clone();
        let expected = json!({
            "__typename": "MessageIn", "type": "MESSAGE_IN", "endpointId": world.bob.id, "messageId": incoming["id"],
            "chatId": incoming["chatId"], "endpointName": "bob@example.test", "ownNumber": "bob@example.test",
            "srcNumber": "alice@example.test", "text": "hello", "id": event["id"], "at": event["at"],
        });
        assert_eq!(event, expected);
    }

    /// What goes out raises message-out.
    async fn f130_an_outgoing_message_raises_message_out(database: Database) {
        let world = World::start(&database).await;
        let mut feed = Feed::open(&world.server, &world.api.event_cursor().await).await;
        let sent = world.api.send(&world.alice, &world.bob, "hello").await;
        let event = feed.next("MESSAGE_OUT").await;
        let expected = json!({
            "__typename": "MessageOut", "type": "MESSAGE_OUT", "endpointId": world.alice.id, "messageId": sent["id"],
            "chatId": sent["chatId"], "endpointName": "alice@example.test", "srcNumber": "alice@example.test",
            "dstNumber": "bob@example.test", "text": "hello", "id": event["id"], "at": event["at"],
        });
        assert_eq!(event, expected);
    }

    /// One status event for each message, after message-out: SENT at the first 2xx, FAILED at a final refusal.
    async fn f131_each_message_has_one_final_status(database: Database) {
        let world = World::start(&database).await;
        let World { server, api, alice, bob, .. } = &world;
        let start = api.event_cursor().await;
        // Two devices: one takes it, one is busy; the first 2xx decides.
        let mut takes = Phone::udp(server, bob).await;
        let mut busy = Phone::tcp(server, bob).await;
        busy.reply = Reply::Status(486, "Busy Here");
        takes.come_online().await;
        busy.come_online().await;
        let sent = api.send(alice, bob, "first").await;
        takes.take_message().await;
        busy.take_message().await;
        api.message_is(&text(&sent["id"]), "SENT").await;
        let events = events_of(server, &start, &sent["id"]).await;
        let kinds: Vec<&Value> = events.iter().map(|e| &e["type"]).collect();
        assert_eq!(kinds, ["MESSAGE_OUT", "MESSAGE_OUT_STATUS"], "{events:?}");
        assert_eq!(events[1]["status"], "SENT");
        assert_eq!(busy.register(0).await.status(), 200);

        // Every contact has refused for good.
        takes.reply = Reply::Status(603, "Decline");
        let sent = api.send(alice, bob, "second").await;
        takes.take_message().await;
        let failed = api.message_is(&text(&sent["id"]), "FAILED").await;
        assert_eq!(failed["failure"], json!({ "code": "REFUSED", "sipStatus": 603, "reason": "Decline" }));
        assert_eq!(failed["deliveries"][0]["outcome"], "REFUSED");
        let events = events_of(server, &start, &sent["id"]).await;
        let kinds: Vec<&Value> = events.iter().map(|e| &e["type"]).collect();
        assert_eq!(kinds, ["MESSAGE_OUT", "MESSAGE_OUT_STATUS"], "{events:?}");
        assert_eq!(events[1]["status"], "FAILED");

        // A redirect is final and not followed.
        takes.reply = Reply::Status(302, "Moved Temporarily");
        let sent = api.send(alice, bob, "third").await;
        takes.take_message().await;
        assert_eq!(api.message_is(&text(&sent["id"]), "FAILED").await["failure"]["sipStatus"], 302);

        // What may change is tried again, with the same Call-ID and CSeq and a new branch.
        takes.reply = Reply::Status(480, "Temporarily Unavailable");
        let sent = api.send(alice, bob, "fourth").await;
        let one = takes.take_message().await;
        takes.reply = Reply::Status(200, "OK");
        let two = takes.take_message().await;
        assert_eq!((one.header("Call-ID"), one.header("CSeq")), (two.header("Call-ID"), two.header("CSeq")));
        assert_ne!(one.branch(), two.branch());
        let sent = api.message_is(&text(&sent["id"]), "SENT").await;
        let outcomes: Vec<Value> = list(&sent["deliveries"]).iter().map(|d| d["outcome"].clone()).collect();
        assert_eq!(outcomes, ["RETRYING", "DELIVERED"]);
    }

    /// A message waits for its recipient, and fails when its time is up.
    async fn f132_a_message_waits_and_expires(database: Database) {
        let world = World::start(&database).await;
        let World { server, api, alice, bob, .. } = &world;
        let start = api.event_cursor().await;
        let waiting = api.send(alice, bob, "when you are back").await;
        let (from, to) = (json!({ "endpointId": alice.id }), json!({ "endpointId": bob.id }));
        let brief = api.send_input(json!({ "from": from, "to": to, "body": "now or never", "expiresInSeconds": 1 })).await;
        let failed = api.message_is(&text(&brief["id"]), "FAILED").await;
        assert_eq!(failed["failure"]["code"], "EXPIRED", "{failed}");
        let told = events_of(server, &start, &brief["id"]).await;
        let told: Vec<_> = told.iter().map(|event| (&event["type"], &event["status"])).collect();
        assert_eq!(told, [(&json!("MESSAGE_OUT"), &Value::Null), (&json!("MESSAGE_OUT_STATUS"), &json!("FAILED"))]);
        assert_eq!(api.message(&text(&waiting["id"])).await["status"], "ACCEPTED");
        let mut phone = Phone::tcp(server, bob).await;
        phone.come_online().await;
        assert_eq!(phone.take_message().await.body, "when you are back");
        api.message_is(&text(&waiting["id"]), "SENT").await;
        for seconds in [0, -1, 7 * 24 * 3600 + 1] {
            let input = json!({ "from": from, "to": to, "body": "x", "expiresInSeconds": seconds });
            api.refused_at("sendMessage", input, "VALIDATION", "expiresInSeconds").await;
        }
    }

    /// Both sides keep a copy under one exchange; only the sender's has a status event; each device gets it.
    async fn f133_both_sides_keep_a_copy(database: Database) {
        let world = World::start(&database).await;
        let World { server, api, alice, bob, .. } = &world;
        let (mut one, mut two) = (Phone::udp(server, bob).await, Phone::tcp(server, bob).await);
        one.come_online().await;
        two.come_online().await;
        let start = api.event_cursor().await;
        let sent = api.send(alice, bob, "to both").await;
        assert_eq!(one.take_message().await.body, "to both");
        assert_eq!(two.take_message().await.body, "to both");
        api.message_is(&text(&sent["id"]), "SENT").await;
        let all = api.messages(json!({})).await;
        assert_eq!(all.len(), 2, "{all:?}");
        let (out, incoming) = (
            all.iter().find(|m| m["direction"] == "OUT").unwrap(),
            all.iter().find(|m| m["direction"] == "IN").unwrap(),
        );
        assert_eq!(out["exchangeId"], incoming["exchangeId"]);
        assert_ne!(out["chatId"], incoming["chatId"]);
        assert_eq!((&out["endpointId"], &incoming["endpointId"]), (&json!(alice.id), &json!(bob.id)));
        assert_eq!((&incoming["status"], &incoming["read"], &incoming["expiresAt"]), (&json!("RECEIVED"), &json!(false), &Value::Null));
        let kinds: Vec<Value> = events_of(server, &start, &incoming["id"]).await.iter().map(|e| e["type"].clone()).collect();
        assert_eq!(kinds, ["MESSAGE_IN"]);
        // The trace is readable from both copies.
        let ids = |message: &Value| list(&message["deliveries"]).iter().map(|d| d["callId"].clone()).collect::<Vec<_>>();
        let (out, incoming) = (api.message(&text(&out["id"])).await, api.message(&text(&incoming["id"])).await);
        assert_eq!((ids(&out).len(), ids(&out)), (2, ids(&incoming)));
    }

    /// What two devices of a domain say is delivered and kept only where the domain wants it.
    async fn f135_internal_messages_are_kept_only_if_wanted(database: Database) {
        let server = Server::start(&database).await;
        let api = Api::of(&server);
        for (name, record) in [("private.test", false), ("recorded.test", true)] {
            let domain = api.domain_create(name, record).await;
            let (alice, bob) = (api.endpoint_create(&domain, "alice").await, api.endpoint_create(&domain, "bob").await);
            let mut feed = Feed::open(&server, &api.event_cursor().await).await;
            let (mut from, mut to) = (Phone::udp(&server, &alice).await, Phone::udp(&server, &bob).await);
            to.come_online().await;
            assert_eq!(from.message(&bob.uri(), "between us").await.status(), 202);
            assert_eq!(to.take_message().await.body, "between us");
            let event = feed.next("TEXT_MESSAGE_RECEIVED").await;
            assert_eq!((&event["sender"], &event["body"]), (&json!(alice.id), &json!("between us")));
            let kept = usize::from(record);
            for endpoint in [&alice, &bob] {
                assert_eq!(api.messages(json!({ "endpointId": endpoint.id })).await.len(), kept, "{name}");
                assert_eq!(api.chats(json!({ "endpointId": endpoint.id })).await.len(), kept, "{name}");
            }
            if record {
                feed.next("MESSAGE_OUT").await;
                let message = api.messages(json!({ "endpointId": alice.id })).await[0].clone();
                assert_eq!((&message["origin"], &message["direction"]), (&json!("SIP"), &json!("OUT")));
                api.message_is(&text(&message["id"]), "SENT").await;
            }
        }
    }

    /// Two domains of one account have no inside between them: what a device of one says to the other is kept at both.
    async fn f135_messages_between_domains_are_kept(database: Database) {
        let server = Server::start(&database).await;
        let api = Api::of(&server);
        let (near, far) = (api.domain_create("near.test", false).await, api.domain_create("far.test", false).await);
        let (alice, bob) = (api.endpoint_create(&near, "alice").await, api.endpoint_create(&far, "bob").await);
        let (mut from, mut to) = (Phone::udp(&server, &alice).await, Phone::udp(&server, &bob).await);
        to.come_online().await;
        assert_eq!(from.message(&bob.uri(), "across").await.status(), 202);
        assert_eq!(to.take_message().await.body, "across");
        for (endpoint, direction, peer) in [(&alice, "OUT", &bob), (&bob, "IN", &alice)] {
            let kept = api.messages(json!({ "endpointId": endpoint.id })).await;
            assert_eq!((kept.len(), &kept[0]["direction"], &kept[0]["body"]), (1, &json!(direction), &json!("across")), "{kept:?}");
            assert_eq!(api.chats(json!({ "endpointId": endpoint.id })).await[0]["peer"], json!(peer.address()));
        }
    }

    /// Limits of a text; what is within them survives the round trip.
    async fn f139_texts_have_limits_and_survive(database: Database) {
        let world = World::start(&database).await;
        let World { server, api, alice, bob, .. } = &world;
        let mut phone = Phone::tcp(server, bob).await;
        phone.come_online().await;
        let longest = "é".repeat(BODY_BYTES_MAX / 2);
        for body in ["😀👨‍👩‍👧‍👦 line\nline\r\n\ttab ", "nul is \u{1} not, but this is", &longest] {
            let sent = api.send(alice, bob, body).await;
            assert_eq!(sent["body"], json!(body));
            assert_eq!(phone.take_message().await.body, body);
            assert_eq!(api.messages(json!({ "endpointId": bob.id })).await[0]["body"], json!(body));
        }
        let (from, to) = (json!({ "endpointId": alice.id }), json!({ "endpointId": bob.id }));
        let errors = api.refused("sendMessage", json!({ "from": from, "to": to, "body": format!("{longest}x") })).await;
        assert_eq!((errors.len(), code_of(&errors[0]), field_of(&errors[0])), (1, "VALIDATION".into(), "body".into()));
        assert_eq!(
            (&errors[0]["detail"]["limit"], &errors[0]["detail"]["actual"]),
            (&json!(BODY_BYTES_MAX), &json!(BODY_BYTES_MAX + 1))
        );
        let split = json!({ "from": from, "to": to, "body": "x", "contentType": "text/plain\r\nX: y" });
        api.refused_at("sendMessage", split, "VALIDATION", "contentType").await;
        assert_eq!(api.messages(json!({ "endpointId": alice.id })).await.len(), 3, "nothing of what was refused");
    }

    /// Each operation on messages and chats needs its scope.
    async fn f140_messages_and_chats_need_their_scopes(database: Database) {
        let world = World::start(&database).await;
        let sent = world.api.send(&world.alice, &world.bob, "hello").await;
        let token = world.server.token_create("acme", "endpoints.manage,domains.manage", &[]).await;
        let api = world.api.as_token(Some(&token));
        let (from, to) = (json!({ "endpointId": world.alice.id }), json!({ "endpointId": world.bob.id }));
        for (query, variables, scope) in [
            ("{ messages { totalCount } }", json!({}), "messages.read"),
            ("query($id: ID!) { message(id: $id) { id } }", json!({ "id": sent["id"] }), "messages.read"),
            ("{ chats { totalCount } }", json!({}), "chats.read"),
            ("query($id: ID!) { chat(id: $id) { id } }", json!({ "id": sent["chatId"] }), "chats.read"),
            (
                "mutation($input: SendMessageInput!) { sendMessage(input: $input) { message { id } } }",
                json!({ "input": { "from": from, "to": to, "body": "x" } }),
                "messages.create",
            ),
            // Whatever else is wrong with it.
            (
                "mutation($input: SendMessageInput!) { sendMessage(input: $input) { message { id } } }",
                json!({ "input": { "to": { "uri": "" }, "body": "" } }),
                "messages.create",
            ),
            (
                "mutation($input: MarkMessageInput!) { markMessage(input: $input) { message { id } } }",
                json!({ "input": { "id": sent["id"] } }),
                "messages.update",
            ),
            (
                "mutation($input: DeleteMessageInput!) { deleteMessage(input: $input) { replayed } }",
                json!({ "input": { "id": sent["id"] } }),
                "messages.delete",
            ),
            (
                "mutation($input: MarkChatInput!) { markChat(input: $input) { replayed } }",
                json!({ "input": { "id": sent["chatId"] } }),
                "chats.update",
            ),
            (
                "mutation($input: DeleteChatMessagesInput!) { deleteChatMessages(input: $input) { replayed } }",
                json!({ "input": { "id": sent["chatId"] } }),
                "chats.delete",
            ),
            (
                "mutation($input: DeleteChatInput!) { deleteChat(input: $input) { replayed } }",
                json!({ "input": { "id": sent["chatId"] } }),
                "chats.delete",
            ),
        ] {
            let response = api.gql(query, variables).await;
            assert_eq!(code(&response), Some("FORBIDDEN"), "{query}: {response}");
            let scopes = &response["errors"][0]["extensions"]["requiredScopes"];
            assert!(list(scopes).contains(&json!(scope)), "{query}: {response}");
        }
        assert_eq!(world.api.messages(json!({ "direction": "OUT" })).await.len(), 1);
    }

    /// All that is wrong with a send comes together: with its ends, read or not, and with what goes between them.
    async fn g141_all_that_is_wrong_with_a_send_comes_together(database: Database) {
        let world = World::start(&database).await;
        let World { api, alice, bob, domain, .. } = &world;
        let chat = api.send(alice, bob, "kept").await["chatId"].clone();
        let carol = api.endpoint_create(domain, "carol").await;
        let gone = api.send(&carol, bob, "gone").await["chatId"].clone();
        assert_eq!(api.mutate("deleteChat", "", json!({ "id": gone })).await["userErrors"], json!([]));
        let patch = json!({ "id": carol.id, "patch": { "enabled": false } });
        assert_eq!(api.mutate("updateEndpoint", "", patch).await["userErrors"], json!([]));
        let (empty, nobody) = (json!({ "uri": "" }), json!({ "uri": "pjsip:nobody" }));
        let (bob, carol) = (json!({ "endpointId": bob.id }), json!({ "endpointId": carol.id }));
        let (invalid, unknown, disabled) = ("VALIDATION", "NOT_FOUND", "ENDPOINT_DISABLED");
        for (from, to, ends) in [
            (&empty, &empty, &[("from.uri", invalid), ("to.uri", invalid)][..]),
            (&empty, &nobody, &[("from.uri", invalid), ("to", unknown)]),
            (&empty, &carol, &[("from.uri", invalid), ("to", disabled)]),
            (&empty, &json!({ "number": "+4930123456" }), &[("from.uri", invalid)]),
            (&nobody, &empty, &[("from", unknown), ("to.uri", invalid)]),
            (&carol, &empty, &[("from", disabled), ("to.uri", invalid)]),
            (&carol, &nobody, &[("from", disabled), ("to", unknown)]),
            (&bob, &empty, &[("to.uri", invalid)]),
            (&Value::Null, &bob, &[("from", invalid)]),
            (&Value::Null, &carol, &[("from", invalid), ("to", disabled)]),
            (&Value::Null, &json!({ "chatId": gone }), &[("to.chatId", unknown)]),
            (&nobody, &json!({ "chatId": gone }), &[("from", unknown), ("to.chatId", unknown)]),
            (&bob, &json!({ "chatId": chat }), &[("from", invalid)]),
        ] {
            let between = [("body", invalid), ("contentType", invalid), ("variables.X-A", invalid), ("expiresInSeconds", invalid)];
            let expected: Vec<(String, String)> = ends.iter().chain(&between).map(|(field, code)| ((*field).into(), (*code).into())).collect();
            for dry_run in [false, true] {
                let input = json!({
                    "from": from, "to": to, "body": "", "contentType": "text", "variables": { "X-A": 1 }, "expiresInSeconds": 0, "dryRun": dry_run,
                });
                assert_eq!(refusals(api, input).await, expected, "{from} {to}");
            }
        }
        assert_eq!(api.messages(json!({ "direction": "OUT" })).await.len(), 1);
    }

    /// Fifty sends with one key are one message; the answers are the same.
    async fn r8_fifty_sends_with_one_key_are_one_message(database: Database) {
        let mut world = World::start(&database).await;
        let input = json!({ "from": { "endpointId": world.alice.id }, "to": { "endpointId": world.bob.id }, "body": "once", "idempotencyKey": "key" });
        let select = "replayed message { id exchangeId chatId body seq createdAt }";
        let start = world.api.event_cursor().await;
        let (first, replays) = world.api.mutate_fifty("sendMessage", select, &input).await;
        for payload in &replays {
            assert_eq!(payload["message"], first["message"]);
        }
        world.server.kill_and_restart().await;
        let again = world.api.mutate("sendMessage", select, input.clone()).await;
        assert_eq!((&again["replayed"], &again["message"]), (&json!(true), &first["message"]));
        assert_eq!(world.api.messages(json!({})).await.len(), 2);
        assert_eq!(events_of(&world.server, &start, &first["message"]["id"]).await.len(), 1);
        let mut other = input;
        other["body"] = json!("twice");
        world.api.refused_at("sendMessage", other, "IDEMPOTENCY_KEY_REUSED", "idempotencyKey").await;
    }

    /// A disabled endpoint neither sends nor receives.
    async fn a_disabled_endpoint_neither_sends_nor_receives(database: Database) {
        let world = World::start(&database).await;
        let input = json!({ "domainId": world.domain, "name": "dora", "enabled": false, "credentials": { "password": "secret" } });
        let payload = world.api.mutate("createEndpoint", "endpoint { id }", input).await;
        let (dora, alice) = (json!({ "endpointId": payload["endpoint"]["id"] }), json!({ "endpointId": world.alice.id }));
        let to = json!({ "from": alice, "to": dora, "body": "x" });
        world.api.refused_at("sendMessage", to, "ENDPOINT_DISABLED", "to").await;
        let from = json!({ "from": dora, "to": alice, "body": "x" });
        world.api.refused_at("sendMessage", from, "ENDPOINT_DISABLED", "from").await;
        assert_eq!(world.api.messages(json!({})).await.len(), 0);
    }

    /// Messages queued at different times arrive in their order of acceptance at one device.
    async fn a_hundred_messages_arrive_once_each(database: Database) {
        let world = World::start(&database).await;
        let mut phone = Phone::tcp(&world.server, &world.bob).await;
        phone.come_online().await;
        let expected: Vec<String> = (0..100).map(|i| format!("text {i}")).collect();
        join_all(expected.iter().map(|body| world.api.send(&world.alice, &world.bob, body))).await;
        let mut bodies = Vec::new();
        for _ in 0..100 {
            bodies.push(phone.take_message().await.body);
        }
        bodies.sort();
        let mut sorted = expected.clone();
        sorted.sort();
        assert_eq!(bodies, sorted);
        eventually("every message being SENT", || async {
            let sent = world.api.messages(json!({ "status": "SENT" })).await;
            (sent.len() == 100).then_some(())
        })
        .await;
        assert_eq!(phone.retransmissions, 0);
    }

    /// What is too long for UDP goes to a device on a stream; where there is none, the sender is told why.
    async fn a_long_text_is_not_sent_over_udp(database: Database) {
        let world = World::start(&database).await;
        let World { server, api, alice, bob, .. } = &world;
        let long = "long ".repeat(1000);
        let mut small = Phone::udp(server, bob).await;
        small.come_online().await;
        let sent = api.send(alice, bob, &long).await;
        let failed = api.message_is(&text(&sent["id"]), "FAILED").await;
        assert_eq!((&failed["failure"]["code"], &failed["failure"]["sipStatus"]), (&json!("TOO_LARGE"), &json!(513)), "{failed}");
        let mut large = Phone::tcp(server, bob).await;
        large.come_online().await;
        let sent = api.send(alice, bob, &long).await;
        assert_eq!(large.take_message().await.body, long);
        let sent = api.message_is(&text(&sent["id"]), "SENT").await;
        let outcomes: BTreeMap<String, Value> = list(&sent["deliveries"]).iter().map(|d| (text(&d["transport"]), d["outcome"].clone())).collect();
        assert_eq!((&outcomes["TCP"], &outcomes["UDP"]), (&json!("DELIVERED"), &json!("REFUSED")), "{sent}");
        // A short one reaches both.
        api.send(alice, bob, "short").await;
        assert_eq!((small.take_message().await.body, large.take_message().await.body), ("short".into(), "short".into()));
    }

    /// A device that is slow to answer over UDP is sent the same request again, and that is one attempt.
    async fn a_slow_device_is_sent_the_same_request_again(database: Database) {
        let world = World::start(&database).await;
        let mut phone = Phone::udp(&world.server, &world.bob).await;
        phone.come_online().await;
        phone.reply = Reply::Silence;
        let sent = world.api.send(&world.alice, &world.bob, "are you there?").await;
        let first = phone.take_message().await;
        let second = phone.take_message().await;
        assert_eq!(first, second);
        phone.reply = Reply::Status(200, "OK");
        assert_eq!(phone.take_message().await, first);
        let sent = world.api.message_is(&text(&sent["id"]), "SENT").await;
        assert_eq!(list(&sent["deliveries"]).len(), 1, "{sent}");
        assert_eq!(sent["deliveries"][0]["attempt"], 1);
    }

    /// A dead device delays neither another device of its endpoint nor another endpoint.
    async fn a_dead_device_delays_nobody(database: Database) {
        let world = World::start(&database).await;
        let carol = world.api.endpoint_create(&world.domain, "carol").await;
        let World { server, api, alice, bob, .. } = &world;
        let mut dead = Phone::udp(server, bob).await;
        dead.come_online().await;
        dead.reply = Reply::Silence;
        let (mut living, mut other) = (Phone::tcp(server, bob).await, Phone::tcp(server, &carol).await);
        living.come_online().await;
        other.come_online().await;
        let begin = Instant::now();
        for i in 0..5 {
            let (body, sent) = (format!("text {i}"), api.send(alice, bob, &format!("text {i}")).await);
            assert_eq!(living.take_message().await.body, body);
            api.message_is(&text(&sent["id"]), "SENT").await;
            api.send(alice, &carol, &body).await;
            assert_eq!(other.take_message().await.body, body);
        }
        // Far less than the 32 s in which the dead one's first transaction times out.
        assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    }
}

//! The event log and its subscriptions: where they begin, what they give, and how they end.

use crate::harness::graphql::{code, list, text};
use crate::harness::server::ALL_SCOPES;
use crate::harness::ws::EVENTS;
use crate::harness::{
    Api, Feed, Phone, Seen, Socket, Value, World, both_backends, eventually, json,
};
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The ids of events.
fn ids(events: &[Value]) -> Vec<String> {
    events.iter().map(|e| text(&e["id"])).collect()
}

both_backends! {
    /// Nothing of other endpoints, domains, kinds or chats.
    async fn e115_a_feed_of_one_endpoint_has_nothing_of_others(database: Database) {
        let world = World::start(&database).await;
        let World { server, api, domain, alice, bob } = &world;
        let start = api.event_cursor().await;
        let second = api.domain_create("second.test", true).await;
        let zoe = api.endpoint_create(&second, "zoe").await;
        for endpoint in [bob, &zoe] {
            Phone::udp(server, endpoint).await.come_online().await;
        }
        let sent = api.send(alice, bob, "one").await;
        api.send(alice, &zoe, "two").await;
        api.send(alice, bob, "last").await;
        // Up to the last of what is known to happen.
        let mut feed = Feed::open(server, &start).await;
        let all = feed.all_until(|e| e["type"] == "CHAT_UPDATED" && e["endpointId"] == json!(bob.id) && e["unreadCount"] == 2).await;
        let of = |id: &str| { let id = json!(id); move |e: &Value| e["endpointId"] == id };
        let chat = &sent["chatId"];
        let pick = |matches: &dyn Fn(&Value) -> bool| -> Vec<&Value> { all.iter().filter(|e| matches(e)).collect() };
        for (filter, expected, least) in [
            (json!({ "endpointIds": [bob.id] }), pick(&of(&bob.id)), 6),
            (json!({ "endpointIds": [zoe.id] }), pick(&of(&zoe.id)), 5),
            (json!({ "types": ["MESSAGE_OUT"], "endpointIds": [alice.id] }), pick(&|e| e["type"] == "MESSAGE_OUT"), 3),
            (json!({ "domainIds": [domain] }), pick(&|e| e["endpointId"] != json!(zoe.id)), 10),
            (json!({ "chatIds": [chat] }), pick(&|e| [&e["chatId"], &e["changedChatId"]].contains(&chat)), 4),
        ] {
            assert!(expected.len() >= least, "{filter}: {expected:?}");
            let mut feed = Feed::open_with(server, &server.token, &start, filter.clone()).await;
            let last = expected[expected.len() - 1]["id"].clone();
            let seen = feed.all_until(|e| e["id"] == last).await;
            assert_eq!(seen.iter().collect::<Vec<_>>(), expected, "{filter}");
        }
    }

    /// All of a technology, by each of its names; nothing of one that is not there; an unknown one is not found.
    async fn e115_a_feed_of_a_technology_has_all_of_it(database: Database) {
        let world = World::start(&database).await;
        let World { server, api, domain, alice, bob } = &world;
        let start = api.event_cursor().await;
        Phone::udp(server, bob).await.come_online().await;
        api.send(alice, bob, "one").await;
        let second = api.domain_create("second.test", true).await;
        let zoe = api.endpoint_create(&second, "zoe").await;
        api.mutate("deleteEndpoint", "", json!({ "id": zoe.id })).await;
        let end = api.endpoint_create(domain, "end").await;
        let seen = async |filter: Value| {
            let mut feed = Feed::open_with(server, &server.token, &start, filter).await;
            let events = feed.all_until(|e| e["type"] == "ENDPOINT_CREATED" && e["endpointId"] == json!(end.id)).await;
            ids(&events)
        };
        let all = seen(json!({})).await;
        assert!(all.len() > 8, "{all:?}");
        for name in ["SIP", "pjsip"] {
            assert_eq!(seen(json!({ "technology": name })).await, all, "{name}");
        }
        let created = json!({ "technology": "Sip", "types": ["ENDPOINT_CREATED"] });
        assert_eq!(seen(created).await.len(), 2);
        let query = "query($f: EventFilter) { events(filter: $f) { nodes { id } } }";
        let data = api.data(query, json!({ "f": { "technology": "xmpp" } })).await;
        assert_eq!(data["events"]["nodes"], json!([]));
        let unknown = json!({ "technology": "iax2" });
        assert_eq!(api.error(query, json!({ "f": unknown })).await, "NOT_FOUND");
        let mut socket = Socket::open(server, &server.token).await;
        socket.subscribe("x", EVENTS, json!({ "after": start, "filter": unknown })).await;
        let message = socket.message().await;
        assert!(message.to_string().contains("NOT_FOUND"), "{message}");
    }

    /// A connection that drops, again and again: each event once, in order.
    async fn g142_a_resumed_feed_has_every_event_once(database: Database) {
        let world = World::start(&database).await;
        let World { server, api, alice, bob, .. } = &world;
        let start = api.event_cursor().await;
        let sends = async {
            for i in 0..40 {
                api.send(alice, bob, &format!("text {i}")).await;
            }
        };
        let reads = async {
            let mut events: Vec<Value> = Vec::new();
            let mut cursor = start.clone();
            // Each connection is cut after a few items, in the middle of the stream.
            'all: for cut_after in (1..8).cycle() {
                let mut feed = Feed::open(server, &cursor).await;
                for _ in 0..cut_after {
                    let item = feed.item().await;
                    if item["type"] != "CHECKPOINT" {
                        events.push(item);
                    }
                    if events.iter().filter(|e| e["type"] == "MESSAGE_OUT").count() == 40 {
                        break 'all;
                    }
                }
                cursor = feed.cursor.clone();
            }
            events
        };
        let ((), events) = futures_util::future::join(sends, reads).await;
        let texts: Vec<String> = events.iter().filter(|e| e["type"] == "MESSAGE_OUT").map(|e| text(&e["text"])).collect();
        assert_eq!(texts, (0..40).map(|i| format!("text {i}")).collect::<Vec<_>>());
        // The log itself agrees.
        let log: Vec<Value> = api.log(&[]).await;
        let from = log.iter().position(|e| e["id"] == events[0]["id"]).unwrap();
        assert_eq!(ids(&events), ids(&log[from..from + events.len()]));
    }

    /// A snapshot and the events after it give what a fresh look gives, whatever happens meanwhile.
    async fn h154_snapshot_and_events_equal_the_present(database: Database) {
        let world = World::start(&database).await;
        let World { server, api, alice, bob, .. } = &world;
        api.send(alice, bob, "before").await;
        // The cursor is read before the list of the same operation.
        let query = "{ eventCursor messages(first: 1000) { nodes { id status read } } }";
        let writes = async {
            for i in 0..30 {
                let sent = api.send(alice, bob, &format!("text {i}")).await;
                if i % 3 == 0 {
                    let incoming = api.messages(json!({ "endpointId": bob.id, "peer": "alice@example.test" })).await[0].clone();
                    api.mutate("markMessage", "message { id }", json!({ "id": incoming["id"] })).await;
                }
                assert!(sent["id"].is_string());
            }
        };
        let snapshots = join_all((0..10).map(|_| api.data(query, json!({}))));
        let ((), snapshots) = futures_util::future::join(writes, snapshots).await;
        let state = |nodes: &[Value]| nodes.iter().map(|m| text(&m["id"])).collect::<std::collections::BTreeSet<_>>();
        let end = api.send(alice, bob, "the end").await;
        let now = list(&api.data(query, json!({})).await["messages"]["nodes"]);
        for snapshot in snapshots {
            let mut seen = state(&list(&snapshot["messages"]["nodes"]));
            let mut feed = Feed::open(server, &text(&snapshot["eventCursor"])).await;
            let events = feed.all_until(|e| e["type"] == "MESSAGE_IN" && e["text"] == "the end").await;
            assert!(events.iter().any(|e| e["messageId"] == end["id"]));
            for event in &events {
                if matches!(event["type"].as_str(), Some("MESSAGE_IN" | "MESSAGE_OUT")) {
                    // Applying an event twice is harmless: it may be in the list already.
                    seen.insert(text(&event["messageId"]));
                }
            }
            assert_eq!(seen, state(&now));
        }
    }

    /// From now, from the oldest, after a cursor; wrong cursors are refused before the first item.
    async fn h155_a_feed_begins_where_it_is_told(database: Database) {
        let world = World::start(&database).await;
        let World { server, api, alice, bob, .. } = &world;
        api.send(alice, bob, "one").await;
        // "" begins at the oldest.
        let mut feed = Feed::open(server, "").await;
        let events = feed.all_until(|e| e["text"] == "one" && e["type"] == "MESSAGE_IN").await;
        let kinds: Vec<&Value> = events.iter().map(|e| &e["type"]).collect();
        assert_eq!(kinds, ["ENDPOINT_CREATED", "ENDPOINT_CREATED", "MESSAGE_OUT", "MESSAGE_IN"]);
        // After a cursor comes the next.
        let after_first = {
            let mut feed = Feed::open(server, "").await;
            feed.item().await;
            feed.cursor
        };
        let mut feed = Feed::open(server, &after_first).await;
        assert_eq!(feed.item().await["endpointId"], json!(bob.id));
        // Without a cursor only what is new. When it begins is not told, so that an event is caused until one comes.
        let mut socket = Socket::open(server, &server.token).await;
        socket.subscribe("now", EVENTS, json!({})).await;
        let first = loop {
            api.send(alice, bob, "new").await;
            match socket.see_within(Duration::from_millis(500)).await {
                Some(Seen::Message(message)) => break message["payload"]["data"]["events"]["node"].clone(),
                Some(end) => panic!("{end:?} instead of an event"),
                None => {}
            }
        };
        // It begins between two commits: with the first event of one of these.
        assert_eq!((&first["type"], &first["text"]), (&json!("MESSAGE_OUT"), &json!("new")));

        // Forged, foreign and cut cursors.
        server.cli(&["account", "create", "rival"]).await;
        let rival = Api::with(server, &server.token_create("rival", ALL_SCOPES, &[]).await);
        let foreign = rival.event_cursor().await;
        let own = api.event_cursor().await;
        let mut forged = own.clone();
        let last = if forged.pop() == Some('A') { 'B' } else { 'A' };
        for after in [foreign, format!("{forged}{last}"), own[..own.len() - 4].to_owned(), "nonsense".to_owned()] {
            let mut socket = Socket::open(server, &server.token).await;
            socket.subscribe("x", EVENTS, json!({ "after": after })).await;
            let message = socket.message().await;
            let errors = match message["type"].as_str() {
                Some("error") => message["payload"].clone(),
                _ => message["payload"]["errors"].clone(),
            };
            assert_eq!(errors[0]["extensions"]["code"], "BAD_USER_INPUT", "{after}: {message}");
            let response = api.gql("query($after: Cursor) { events(after: $after) { nodes { id } } }", json!({ "after": after })).await;
            assert_eq!(code(&response), Some("BAD_USER_INPUT"), "{after}: {response}");
        }
    }

    /// SIGTERM: a last item or Checkpoint with a cursor to go on from, then 1012, and never `complete`.
    async fn h157_a_stopping_server_says_where_to_resume(database: Database) {
        let mut world = World::start(&database).await;
        let (alice, bob) = (world.alice.clone(), world.bob.clone());
        let mut feed = Feed::open(&world.server, &world.api.event_cursor().await).await;
        world.api.send(&alice, &bob, "before").await;
        feed.next("MESSAGE_IN").await;
        let begin = Instant::now();
        world.server.terminate();
        let mut last = Value::Null;
        let end = loop {
            match feed.see().await {
                Ok(node) => last = node,
                Err(end) => break end,
            }
        };
        assert!(matches!(end, Seen::Close(1012, _)), "{end:?} after {last}");
        assert_eq!(last["type"], "CHECKPOINT");
        assert!(world.server.ended().await.success());
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
        world.server.run().await;
        let mut feed = Feed::open(&world.server, &feed.cursor).await;
        world.api.send(&alice, &bob, "after").await;
        let events = feed.all_until(|e| e["type"] == "MESSAGE_IN").await;
        assert_eq!(events.iter().filter(|e| e["type"] == "MESSAGE_IN").count(), 1);
        assert_eq!(events.last().unwrap()["text"], "after");
    }

    /// A revoked token's socket is closed with 4401 within two seconds; one that expires, at its time.
    async fn h157_a_revoked_token_is_closed(database: Database) {
        let world = World::start(&database).await;
        let World { server, api, .. } = &world;
        let mint = |expires: Value| async move {
            let input = json!({ "name": "browser", "scopes": ["endpoints.read", "messages.read"], "expiresInSeconds": expires });
            api.mutate("createApiToken", "apiToken { id } secret", input).await
        };
        let token = mint(Value::Null).await;
        let mut feed = Feed::open_with(server, &text(&token["secret"]), &api.event_cursor().await, Value::Null).await;
        // The subscription runs: it gives an event.
        api.endpoint_create(&world.domain, "carol").await;
        feed.next("ENDPOINT_CREATED").await;
        let begin = Instant::now();
        let payload = api.mutate("revokeApiToken", "apiToken { revokedAt }", json!({ "id": token["apiToken"]["id"] })).await;
        assert!(payload["apiToken"]["revokedAt"].is_string(), "{payload}");
        assert_eq!(feed.closed().await, 4401);
        assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
        let response = api.as_token(token["secret"].as_str()).gql("{ viewer { tokenName } }", json!({})).await;
        assert_eq!(code(&response), Some("UNAUTHENTICATED"), "{response}");

        let token = mint(json!(3)).await;
        let mut feed = Feed::open_with(server, &text(&token["secret"]), "", Value::Null).await;
        assert_eq!(feed.closed().await, 4401);
        let response = api.as_token(token["secret"].as_str()).gql("{ viewer { tokenName } }", json!({})).await;
        assert_eq!(code(&response), Some("UNAUTHENTICATED"), "{response}");
    }

    /// The list of events and the subscription are one log.
    async fn the_log_is_listed_in_pages(database: Database) {
        let world = World::start(&database).await;
        let World { server, api, alice, bob, .. } = &world;
        let mut phone = Phone::udp(server, bob).await;
        phone.come_online().await;
        for i in 0..10 {
            api.send(alice, bob, &format!("text {i}")).await;
            phone.take_message().await;
        }
        eventually("all being SENT", || async { (api.messages(json!({ "status": "SENT" })).await.len() == 10).then_some(()) }).await;
        let log = api.log(&[]).await;
        let mut feed = Feed::open(server, "").await;
        let mut live = Vec::new();
        while live.len() < log.len() {
            live.push(feed.item().await);
        }
        assert_eq!(ids(&live), ids(&log));
        // In the order of commits: a message is told before its status.
        let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for event in &live {
            if let Some(id) = event["messageId"].as_str() {
                told.entry(id.to_owned()).or_default().push(text(&event["type"]));
            }
        }
        for kinds in told.values() {
            assert!(kinds == &["MESSAGE_OUT", "MESSAGE_OUT_STATUS"] || kinds == &["MESSAGE_IN"], "{told:?}");
        }
        // Small pages, forward and backward, give the same.
        let query = "query($first: Int, $after: Cursor, $last: Int, $before: Cursor) { events(first: $first, after: $after, last: $last, before: $before) {
            edges { cursor node { id } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }";
        let (mut forward, mut after) = (Vec::new(), Value::Null);
        loop {
            let page = api.data(query, json!({ "first": 7, "after": after })).await["events"].clone();
            forward.extend(list(&page["edges"]).iter().map(|e| text(&e["node"]["id"])));
            after = page["pageInfo"]["endCursor"].clone();
            if page["pageInfo"]["hasNextPage"] == false {
                break;
            }
        }
        assert_eq!(forward, ids(&log));
        let (mut backward, mut before) = (Vec::new(), Value::Null);
        loop {
            let page = api.data(query, json!({ "last": 7, "before": before })).await["events"].clone();
            let mut part: Vec<String> = list(&page["edges"]).iter().map(|e| text(&e["node"]["id"])).collect();
            part.extend(backward);
            backward = part;
            before = page["pageInfo"]["startCursor"].clone();
            if page["pageInfo"]["hasPreviousPage"] == false {
                break;
            }
        }
        assert_eq!(backward, ids(&log));
    }

    /// Kinds that a token may not read: named, they are refused; unnamed, they are left out.
    async fn a_feed_gives_only_what_its_token_may_read(database: Database) {
        let world = World::start(&database).await;
        let World { server, api, alice, bob, .. } = &world;
        let token = server.token_create("acme", "endpoints.read", &[]).await;
        api.send(alice, bob, "private").await;
        let end = api.endpoint_create(&world.domain, "end").await;
        let mut feed = Feed::open_with(server, &token, "", Value::Null).await;
        let events = feed.all_until(|e| e["endpointId"] == json!(end.id)).await;
        assert!(events.iter().all(|e| e["type"] == "ENDPOINT_CREATED"), "{events:?}");
        let mut socket = Socket::open(server, &token).await;
        let response = socket.once("x", json!({ "query": EVENTS, "variables": { "filter": { "types": ["MESSAGE_IN"] } } })).await;
        assert_eq!(code(&response), Some("FORBIDDEN"), "{response}");
        let data = api.as_token(Some(&token)).data("{ viewer { readableEventTypes } }", json!({})).await;
        assert!(!list(&data["viewer"]["readableEventTypes"]).contains(&json!("MESSAGE_IN")), "{data}");
    }

    /// A reader that takes nothing is closed with 1013, disturbs nobody, and goes on where it was.
    async fn h157_a_slow_reader_is_closed_and_resumes(database: Database) {
        let world = World::start(&database).await;
        let World { server, api, alice, bob, .. } = &world;
        let start = api.event_cursor().await;
        let mut slow = Feed::open(server, &start).await;
        // More than all buffers between the server and the reader hold.
        let body = "x".repeat(50_000);
        for _ in 0..150 {
            api.send(alice, bob, &body).await;
        }
        let begin = Instant::now();
        let mut quick = Feed::open(server, &start).await;
        let all = ids(&quick.all_until(|e| e["type"] == "CHAT_UPDATED" && e["endpointId"] == json!(bob.id) && e["unreadCount"] == 150).await);
        assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
        eventually("the slow reader being closed", || async { (server.connections() <= 2).then_some(()) }).await;
        // It wakes up: what it had, then the end.
        let mut seen = Vec::new();
        let end = loop {
            match slow.see().await {
                Ok(event) => seen.push(event),
                Err(end) => break end,
            }
        };
        assert!(matches!(end, Seen::Close(1013, _) | Seen::Cut), "{end:?}");
        assert!(seen.len() < all.len(), "it was closed before it had everything");
        slow.resume().await.unwrap();
        while ids(&seen).last() != all.last() {
            seen.push(slow.item().await);
        }
        seen.retain(|e| e["type"] != "CHECKPOINT");
        assert_eq!(ids(&seen), all);
    }
}

//! Chats: one for each peer, ordered by activity, with their last message and count.

use crate::harness::graphql::{code, list, text};
use crate::harness::world::CHAT;
use crate::harness::{Feed, Phone, Value, World, both_backends, json};
use futures_util::future::{join, join_all};

both_backends! {
    /// One chat for one peer, in both directions; another peer has another.
    async fn f124_messages_with_one_peer_share_a_chat(database: Database) {
        let world = World::start(&database).await;
        let carol = world.api.endpoint_create(&world.domain, "carol").await;
        let World { api, alice, bob, .. } = &world;
        let there = api.send(alice, bob, "there").await;
        api.send(bob, alice, "and back").await;
        let other = api.send(alice, &carol, "another").await;
        let chats = api.chats(json!({ "endpointId": alice.id })).await;
        assert_eq!(chats.len(), 2, "{chats:?}");
        assert_ne!(there["chatId"], other["chatId"]);
        assert_eq!(api.bodies(json!({ "chatId": there["chatId"] })).await, ["and back", "there"]);
        assert_eq!(api.bodies(json!({ "chatId": other["chatId"] })).await, ["another"]);
        let chat = chats.iter().find(|c| c["id"] == there["chatId"]).unwrap();
        assert_eq!(
            (&chat["ownNumber"], &chat["peer"], &chat["messageCount"], &chat["endpointId"]),
            (&json!("alice@example.test"), &json!("bob@example.test"), &json!(2), &json!(alice.id))
        );
        // Bob has his own chat with alice.
        let bobs = api.chats(json!({ "endpointId": bob.id })).await;
        assert_eq!(bobs.len(), 1);
        assert_ne!(bobs[0]["id"], there["chatId"]);
        // A message to a chat goes to its peer and comes from its owner.
        let answer = api.send_input(json!({ "to": { "chatId": bobs[0]["id"] }, "body": "by chat" })).await;
        assert_eq!((&answer["chatId"], &answer["endpointId"], &answer["to"]), (&bobs[0]["id"], &json!(bob.id), &json!("sip:alice@example.test")));
    }

    /// Last active first, in pages, each with its last message and its count.
    async fn f125_the_last_active_chat_comes_first(database: Database) {
        let world = World::start(&database).await;
        let World { api, domain, alice, .. } = &world;
        let mut peers = Vec::new();
        for i in 0..5 {
            let peer = api.endpoint_create(domain, &format!("peer{i}")).await;
            api.send(&peer, alice, &format!("from peer{i}")).await;
            peers.push(peer);
        }
        // An old chat becomes active again.
        api.send(&peers[1], alice, "again").await;
        let query = format!(
            "query($id: ID!, $after: Cursor) {{ endpoint(by: {{ id: $id }}) {{ chats(first: 2, after: $after) {{
                totalCount nodes {{ {CHAT} }} pageInfo {{ hasNextPage endCursor }} }} }} }}"
        );
        let (mut seen, mut after) = (Vec::new(), Value::Null);
        loop {
            let data = api.data(&query, json!({ "id": alice.id, "after": after })).await;
            let page = &data["endpoint"]["chats"];
            assert_eq!(page["totalCount"], 5);
            seen.extend(list(&page["nodes"]));
            after = page["pageInfo"]["endCursor"].clone();
            if page["pageInfo"]["hasNextPage"] == false {
                break;
            }
        }
        let order: Vec<String> = seen.iter().map(|c| text(&c["peer"]).split('@').next().unwrap().to_owned()).collect();
        assert_eq!(order, ["peer1", "peer4", "peer3", "peer2", "peer0"]);
        assert_eq!((&seen[0]["lastMessage"]["body"], &seen[0]["unreadCount"], &seen[0]["messageCount"]), (&json!("again"), &json!(2), &json!(2)));
        assert_eq!((&seen[4]["lastMessage"]["body"], &seen[4]["unreadCount"]), (&json!("from peer0"), &json!(1)));
        assert_eq!(api.chats(json!({ "endpointId": alice.id, "unread": true })).await.len(), 5);
        assert_eq!(api.chats(json!({ "endpointId": alice.id, "unread": false })).await.len(), 0);
        assert_eq!(api.chats(json!({ "peer": "peer3@example.test" })).await.len(), 1);
        assert_eq!(api.chats(json!({ "ownNumber": "alice@example.test" })).await.len(), 5);
    }

    /// A chat's messages, in pages from the newest; from both ends.
    async fn f126_a_chats_messages_are_paged(database: Database) {
        let world = World::start(&database).await;
        let World { api, alice, bob, .. } = &world;
        let mut chat = Value::Null;
        for i in 0..5 {
            chat = api.send(alice, bob, &format!("text {i}")).await["chatId"].clone();
        }
        let query = "query($id: ID!, $first: Int, $after: Cursor, $last: Int, $before: Cursor) { chat(id: $id) {
            messages(first: $first, after: $after, last: $last, before: $before) {
                nodes { body seq } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } } }";
        let page = |variables: Value| async move {
            let data = api.data(query, variables).await;
            let page = data["chat"]["messages"].clone();
            let bodies: Vec<String> = list(&page["nodes"]).iter().map(|m| text(&m["body"])).collect();
            (bodies, page["pageInfo"].clone())
        };
        let (bodies, info) = page(json!({ "id": chat, "first": 3 })).await;
        assert_eq!(bodies, ["text 4", "text 3", "text 2"]);
        assert_eq!((&info["hasNextPage"], &info["hasPreviousPage"]), (&json!(true), &json!(false)));
        let (bodies, last) = page(json!({ "id": chat, "first": 3, "after": info["endCursor"] })).await;
        assert_eq!(bodies, ["text 1", "text 0"]);
        assert_eq!((&last["hasNextPage"], &last["hasPreviousPage"]), (&json!(false), &json!(true)));
        let (bodies, _) = page(json!({ "id": chat, "last": 2, "before": last["startCursor"] })).await;
        assert_eq!(bodies, ["text 3", "text 2"]);
        let (bodies, info) = page(json!({ "id": chat, "last": 2 })).await;
        assert_eq!(bodies, ["text 1", "text 0"]);
        assert_eq!((&info["hasNextPage"], &info["hasPreviousPage"]), (&json!(false), &json!(true)));
    }

    /// Marking a chat marks what came in to it, and nothing else.
    async fn f126_marking_a_chat_marks_all_of_it(database: Database) {
        let world = World::start(&database).await;
        let carol = world.api.endpoint_create(&world.domain, "carol").await;
        let World { api, alice, bob, .. } = &world;
        for i in 0..3 {
            api.send(bob, alice, &format!("text {i}")).await;
        }
        api.send(&carol, alice, "another").await;
        api.send(alice, bob, "own").await;
        let unread = |chats: Vec<Value>| chats.iter().map(|c| (text(&c["peer"]), c["unreadCount"].as_i64().unwrap())).collect::<Vec<_>>();
        let both = |bobs: i64| vec![("bob@example.test".to_owned(), bobs), ("carol@example.test".to_owned(), 1)];
        let chat = api.chats(json!({ "peer": "bob@example.test", "endpointId": alice.id })).await[0]["id"].clone();
        let select = "markedCount replayed chat { unreadCount }";
        let mut feed = Feed::open(&world.server, &api.event_cursor().await).await;
        for (read, marked, left) in [(true, 3, 0), (true, 0, 0), (false, 3, 3), (true, 3, 0)] {
            let payload = api.mutate("markChat", select, json!({ "id": chat, "read": read })).await;
            assert_eq!((&payload["markedCount"], &payload["chat"]["unreadCount"]), (&json!(marked), &json!(left)), "{payload}");
            assert_eq!(unread(api.chats(json!({ "endpointId": alice.id })).await), both(left));
            let incoming = api.messages(json!({ "chatId": chat, "direction": "IN" })).await;
            assert!(incoming.iter().all(|m| m["read"] == read), "{incoming:?}");
            if marked > 0 {
                let event = feed.next("CHAT_UPDATED").await;
                assert_eq!((&event["changedChatId"], &event["unreadCount"]), (&chat, &json!(left)));
            }
        }
        assert!(api.messages(json!({ "chatId": chat, "direction": "OUT" })).await.iter().all(|m| m["read"] == true));
        let input = json!({ "id": chat, "read": false, "idempotencyKey": "once" });
        assert_eq!(api.mutate("markChat", select, input.clone()).await["markedCount"], 3);
        api.mutate("markChat", select, json!({ "id": chat })).await;
        let again = api.mutate("markChat", select, input).await;
        assert_eq!((&again["replayed"], &again["markedCount"], &again["chat"]["unreadCount"]), (&json!(true), &Value::Null, &json!(0)));
        let other = json!({ "id": chat, "read": true, "idempotencyKey": "once" });
        api.refused_at("markChat", other, "IDEMPOTENCY_KEY_REUSED", "idempotencyKey").await;
    }

    /// What came after the message up to which a chat is marked stays unread, also when much comes in meanwhile.
    async fn h167_marking_up_to_a_message_leaves_the_later_ones(database: Database) {
        let world = World::start(&database).await;
        let World { api, alice, bob, .. } = &world;
        for i in 0..4 {
            api.send(bob, alice, &format!("early {i}")).await;
        }
        let incoming = api.messages(json!({ "endpointId": alice.id })).await;
        let (chat, second) = (&incoming[0]["chatId"], &incoming[2]["id"]);
        let sends = join_all((0..100).map(|i| async move { api.send(bob, alice, &format!("late {i}")).await }));
        let marks = join_all((0..10).map(|_| api.mutate("markChat", "markedCount", json!({ "id": chat, "upToMessageId": second }))));
        let (_, marks) = join(sends, marks).await;
        let marked: i64 = marks.iter().map(|m| m["markedCount"].as_i64().unwrap()).sum();
        assert_eq!(marked, 2, "{marks:?}");
        let unread = api.messages(json!({ "chatId": chat, "read": false })).await;
        assert_eq!(unread.len(), 102);
        assert!(unread.iter().all(|m| m["body"] != "early 0" && m["body"] != "early 1"));
        let counts = api.chats(json!({ "endpointId": alice.id })).await[0].clone();
        assert_eq!((&counts["unreadCount"], &counts["messageCount"]), (&json!(102), &json!(104)));
        let other = api.send(alice, bob, "elsewhere").await;
        let bobs = api.messages(json!({ "endpointId": bob.id, "direction": "IN" })).await;
        api.refused_at("markChat", json!({ "id": chat, "upToMessageId": bobs[0]["id"] }), "NOT_FOUND", "upToMessageId").await;
        // Unread again up to it; a message that was deleted is no place any more.
        assert_eq!(api.mutate("markChat", "markedCount", json!({ "id": chat, "upToMessageId": second, "read": false })).await["markedCount"], 2);
        let unread = api.chats(json!({ "endpointId": alice.id })).await[0]["unreadCount"].clone();
        assert_eq!(unread, 104);
        api.mutate("deleteMessage", "replayed", json!({ "id": second })).await;
        api.refused_at("markChat", json!({ "id": chat, "upToMessageId": second }), "NOT_FOUND", "upToMessageId").await;
        assert_eq!(api.chats(json!({ "endpointId": alice.id })).await[0]["unreadCount"], 103);
        // A sent message is a place in the chat too.
        assert_eq!(api.mutate("markChat", "markedCount", json!({ "id": chat, "upToMessageId": other["id"] })).await["markedCount"], 103);
    }

    /// Deleting its messages leaves an empty chat; deleting it makes room for another.
    async fn f127_a_chat_is_emptied_and_deleted(database: Database) {
        let world = World::start(&database).await;
        let World { server, api, alice, bob, .. } = &world;
        let start = api.event_cursor().await;
        let mut feed = Feed::open(server, &start).await;
        for i in 0..3 {
            api.send(bob, alice, &format!("text {i}")).await;
        }
        let chat = api.chats(json!({ "endpointId": alice.id })).await[0]["id"].clone();
        let select = "deletedCount replayed chat { unreadCount messageCount lastMessage { id } messages { totalCount } }";
        let empty = json!({ "unreadCount": 0, "messageCount": 0, "lastMessage": null, "messages": { "totalCount": 0 } });
        let input = json!({ "id": chat, "idempotencyKey": "once" });
        let payload = api.mutate("deleteChatMessages", select, input.clone()).await;
        assert_eq!((&payload["deletedCount"], &payload["chat"]), (&json!(3), &empty), "{payload}");
        let again = api.mutate("deleteChatMessages", select, input).await;
        assert_eq!((&again["replayed"], &again["deletedCount"]), (&json!(true), &Value::Null));
        assert_eq!(api.mutate("deleteChatMessages", select, json!({ "id": chat })).await["deletedCount"], 0);
        assert_eq!(api.chats(json!({ "endpointId": alice.id })).await.len(), 1, "it is still listed");
        assert_eq!(api.messages(json!({ "endpointId": alice.id })).await.len(), 0);
        assert_eq!(api.messages(json!({ "endpointId": bob.id })).await.len(), 3, "the other side keeps its own");
        let event = feed.until("the chat being empty", |e| e["type"] == "CHAT_UPDATED" && e["lastMessageId"].is_null()).await;
        assert_eq!((&event["changedChatId"], &event["unreadCount"]), (&chat, &json!(0)));
        // The texts are gone from the log, of alice's events alone.
        let filter = json!({ "types": ["MESSAGE_IN", "MESSAGE_OUT"] });
        let mut again = Feed::open_with(server, &server.token, &start, filter).await;
        for _ in 0..3 {
            assert!(again.next("MESSAGE_OUT").await["text"].is_string());
            assert_eq!(again.next("MESSAGE_IN").await["text"], Value::Null);
        }
        // What comes afterwards is there.
        api.send(bob, alice, "afterwards").await;
        let counts = api.chats(json!({ "endpointId": alice.id })).await[0].clone();
        assert_eq!((&counts["id"], &counts["unreadCount"], &counts["messageCount"], &counts["lastMessage"]["body"]), (&chat, &json!(1), &json!(1), &json!("afterwards")));
        let payload = api.mutate("deleteChat", "deletedChatId", json!({ "id": chat })).await;
        assert_eq!(payload["deletedChatId"], chat);
        let event = feed.next("CHAT_DELETED").await;
        assert_eq!((&event["changedChatId"], &event["endpointId"]), (&chat, &json!(alice.id)));
        let absent = api.gql("query($id: ID!) { chat(id: $id) { id } }", json!({ "id": chat })).await;
        assert_eq!(code(&absent), Some("NOT_FOUND"), "{absent}");
        api.refused_at("deleteChat", json!({ "id": chat }), "NOT_FOUND", "id").await;
        assert_eq!(api.messages(json!({ "endpointId": alice.id })).await.len(), 0);
        let anew = api.send(alice, bob, "anew").await;
        assert_ne!(anew["chatId"], chat);
        assert_eq!(api.bodies(json!({ "chatId": anew["chatId"] })).await, ["anew"]);
    }

    /// Sends, marks and deletions of one chat at one time leave counts that are those of its messages.
    async fn counts_are_right_when_all_happens_at_once(database: Database) {
        let world = World::start(&database).await;
        let World { api, alice, bob, .. } = &world;
        for i in 0..20 {
            api.send(bob, alice, &format!("early {i}")).await;
        }
        let incoming = api.messages(json!({ "endpointId": alice.id })).await;
        let chat = &incoming[0]["chatId"];
        let sends = join_all((0..30).map(|i| async move { api.send(bob, alice, &format!("late {i}")).await }));
        let marks = join_all(incoming.iter().take(10).map(|m| api.mutate("markMessage", "replayed", json!({ "id": m["id"] }))));
        let deletions = join_all(incoming.iter().skip(5).take(10).map(|m| api.mutate("deleteMessage", "replayed", json!({ "id": m["id"] }))));
        let whole = join_all([true, false, true].map(|read| api.mutate("markChat", "markedCount", json!({ "id": chat, "read": read }))));
        join(join(sends, marks), join(deletions, whole)).await;
        let (all, unread) = (api.messages(json!({ "chatId": chat })).await, api.messages(json!({ "chatId": chat, "read": false })).await);
        assert_eq!(all.len(), 40);
        let counts = api.chats(json!({ "endpointId": alice.id })).await[0].clone();
        assert_eq!((&counts["messageCount"], &counts["unreadCount"], &counts["lastMessage"]["id"]), (&json!(40), &json!(unread.len()), &all[0]["id"]));
    }

    /// The same key and input have one effect and one event, also for fifty at once and after a restart; another input is refused.
    async fn h145_each_change_of_messages_is_done_once(database: Database) {
        let mut world = World::start(&database).await;
        let World { server, api, alice, bob, .. } = &mut world;
        for body in ["one", "two", "three"] {
            api.send(bob, alice, body).await;
        }
        let sent = api.send(alice, bob, "four").await;
        let incoming = api.messages(json!({ "endpointId": alice.id, "direction": "IN" })).await;
        assert_eq!(incoming[0]["chatId"], sent["chatId"]);
        let chat = &sent["chatId"];
        let other_chat = api.chats(json!({ "endpointId": bob.id })).await[0]["id"].clone();
        let (marked, deleted) = (&incoming[0]["id"], &incoming[1]["id"]);
        let send = json!({ "from": { "endpointId": alice.id }, "to": { "endpointId": bob.id }, "body": "once" });
        // Each with the object that it answers with, the one event that it makes, and another input.
        let calls = [
            ("sendMessage", "message { id }", send, "MESSAGE_OUT", ("body", json!("twice"))),
            ("markMessage", "message { id }", json!({ "id": marked, "read": true }), "MESSAGE_UPDATED", ("read", json!(false))),
            ("markChat", "chat { id }", json!({ "id": chat, "read": true }), "CHAT_UPDATED", ("read", json!(false))),
            ("deleteMessage", "deletedMessageId", json!({ "id": deleted }), "MESSAGE_DELETED", ("id", marked.clone())),
            ("deleteChatMessages", "chat { id }", json!({ "id": chat }), "CHAT_UPDATED", ("id", other_chat.clone())),
            ("deleteChat", "deletedChatId", json!({ "id": chat }), "CHAT_DELETED", ("id", other_chat)),
        ];
        for (mutation, object, mut input, event, (field, value)) in calls {
            input["idempotencyKey"] = json!(format!("key of {mutation}"));
            let select = format!("{object} replayed");
            let before = api.log(&[event]).await.len();
            let (mut replay, replays) = api.mutate_fifty(mutation, &select, &input).await;
            replay["replayed"] = json!(true);
            assert!(replays.iter().all(|p| *p == replay), "{mutation}: {replay} {replays:?}");
            assert_eq!(api.log(&[event]).await.len(), before + 1, "{mutation}");
            server.kill_and_restart().await;
            let again = api.mutate(mutation, &select, input.clone()).await;
            assert_eq!(again, replay, "{mutation}");
            input[field] = value;
            api.refused_at(mutation, input, "IDEMPOTENCY_KEY_REUSED", "idempotencyKey").await;
            assert_eq!(api.log(&[event]).await.len(), before + 1, "{mutation}");
        }
    }

    /// Chats that changed in a time.
    async fn f119_chats_are_filtered_by_their_last_change(database: Database) {
        let world = World::start(&database).await;
        let carol = world.api.endpoint_create(&world.domain, "carol").await;
        let World { api, alice, bob, .. } = &world;
        api.send(alice, bob, "one").await;
        api.send(alice, &carol, "two").await;
        let chats = api.chats(json!({ "endpointId": alice.id })).await;
        let at = &chats[0]["updatedAt"];
        let peers = |filter: Value| async move { api.chats(filter).await.iter().map(|c| text(&c["peer"])).collect::<Vec<_>>() };
        assert_eq!(peers(json!({ "endpointId": alice.id, "updatedAt": { "from": at } })).await, ["carol@example.test"]);
        assert_eq!(peers(json!({ "endpointId": alice.id, "updatedAt": { "to": at } })).await, ["bob@example.test"]);
    }

    /// Unknown and foreign chats.
    async fn f128_an_unknown_chat_is_not_found(database: Database) {
        let world = World::start(&database).await;
        let sent = world.api.send(&world.alice, &world.bob, "hello").await;
        let bound = world.server.token_create("acme", "chats.manage,messages.manage", &[&world.bob.id]).await;
        let bound = world.api.as_token(Some(&bound));
        let query = "query($id: ID!) { chat(id: $id) { id } }";
        let absent = world.api.gql(query, json!({ "id": "nonsense" })).await;
        assert_eq!(absent["data"], json!({ "chat": null }), "{absent}");
        assert_eq!(code(&absent), Some("NOT_FOUND"), "{absent}");
        assert_eq!(bound.gql(query, json!({ "id": sent["chatId"] })).await, absent);
        for api in [&world.api, &bound] {
            let input = json!({ "to": { "chatId": "nonsense" }, "body": "x" });
            let errors = api.refused("sendMessage", input).await;
            assert!(errors.iter().all(|e| e["code"] == "NOT_FOUND"), "{errors:?}");
        }
        let input = json!({ "to": { "chatId": sent["chatId"] }, "body": "x" });
        let errors = bound.refused("sendMessage", input).await;
        assert!(errors.iter().all(|e| e["code"] == "NOT_FOUND"), "{errors:?}");
        assert_eq!(world.api.messages(json!({ "chatId": "nonsense" })).await.len(), 0);
        let query = "query($id: ID!) { chat(id: $id) { messages { nodes { id } } } }";
        for (api, id) in [(&world.api, json!("nonsense")), (&bound, sent["chatId"].clone())] {
            let absent = api.gql(query, json!({ "id": id })).await;
            assert_eq!((&absent["data"], code(&absent)), (&json!({ "chat": null }), Some("NOT_FOUND")), "{absent}");
        }
        for field in ["markChat", "deleteChatMessages", "deleteChat"] {
            for (api, id) in [(&world.api, json!("nonsense")), (&bound, sent["chatId"].clone())] {
                api.refused_at(field, json!({ "id": id }), "NOT_FOUND", "id").await;
            }
        }
        assert_eq!(world.api.chats(json!({})).await.len(), 2);
    }

    /// A chat tells of its changes, with the counts as they were.
    async fn a_chat_tells_of_its_changes(database: Database) {
        let world = World::start(&database).await;
        let World { server, api, alice, bob, .. } = &world;
        let filter = json!({ "types": ["CHAT_UPDATED"], "endpointIds": [bob.id] });
        let mut feed = Feed::open_with(server, &server.token, &api.event_cursor().await, filter).await;
        let mut phone = Phone::udp(server, alice).await;
        assert_eq!(phone.message(&bob.uri(), "one").await.status(), 202);
        assert_eq!(phone.message(&bob.uri(), "two").await.status(), 202);
        let incoming = api.messages(json!({ "endpointId": bob.id })).await;
        api.mutate("markMessage", "message { id }", json!({ "id": incoming[0]["id"] })).await;
        let chat = &incoming[0]["chatId"];
        for (unread, last) in [(1, &incoming[1]["id"]), (2, &incoming[0]["id"]), (1, &incoming[0]["id"])] {
            let event = feed.next("CHAT_UPDATED").await;
            assert_eq!((&event["changedChatId"], &event["unreadCount"], &event["lastMessageId"]), (chat, &json!(unread), last));
        }
    }
}

//! Chats: one for each peer, ordered by activity, with their last message and count.

use crate::harness::graphql::{code, list, text};
use crate::harness::world::CHAT;
use crate::harness::{Feed, Phone, Value, World, both_backends, json};

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

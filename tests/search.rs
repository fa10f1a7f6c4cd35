//! Searching the texts of messages: the same words are found on each database, soon after they were said, and never once
//! they are deleted.

use crate::harness::graphql::{code, text};
use crate::harness::{Database, Server, Value, World, both_backends, eventually, json};
use std::time::Duration;

/// Waits until a search finds as many messages as are there.
async fn found(world: &World, text: &str, many: usize) -> Vec<String> {
    eventually(&format!("{many} messages with {text:?}"), || async {
        let bodies = world
            .api
            .bodies(json!({ "text": text, "direction": "OUT" }))
            .await;
        (bodies.len() == many).then_some(bodies)
    })
    .await
}

async fn delete(world: &World, field: &str, id: &Value) {
    let payload = world
        .api
        .mutate(field, "replayed", json!({ "id": id }))
        .await;
    assert_eq!(payload["userErrors"], json!([]), "{field}");
}

both_backends! {
    /// All words, the last as the beginning of one, without case and accents, in every script.
    async fn h168_words_are_found_alike_on_each_database(database: Database) {
        let world = World::start(&database).await;
        let World { api, alice, bob, .. } = &world;
        for text in [
            "Élodie said: the café opens at nine",
            "the CAFE is closed, don't come",
            "Привет, увидимся завтра",
            "你好,世界",
            "100% sure_thing",
            "nothing of the kind",
        ] {
            api.send(alice, bob, text).await;
        }
        found(&world, "nothing", 1).await;
        for (search, bodies) in [
            ("cafe", vec!["the CAFE is closed, don't come", "Élodie said: the café opens at nine"]),
            ("CAFÉ the", vec!["the CAFE is closed, don't come", "Élodie said: the café opens at nine"]),
            ("elodie", vec!["Élodie said: the café opens at nine"]),
            ("opens caf", vec!["Élodie said: the café opens at nine"]),
            ("caf opens", vec![]),
            ("don't", vec!["the CAFE is closed, don't come"]),
            ("ПРИВЕТ", vec!["Привет, увидимся завтра"]),
            ("завтра уви", vec!["Привет, увидимся завтра"]),
            ("世界", vec!["你好,世界"]),
            ("界", vec!["你好,世界"]),
            ("100", vec!["100% sure_thing"]),
            ("thing", vec!["100% sure_thing"]),
            ("kind: \"the\" *", vec!["nothing of the kind"]),
            ("NEAR(the kind)", vec![]),
            ("the & !kind | '", vec!["nothing of the kind"]),
            ("absent", vec![]),
        ] {
            let seen = api.bodies(json!({ "text": search, "direction": "OUT" })).await;
            assert_eq!(seen, bodies, "{search}");
        }
        // A text without a word does not filter; the filter goes with the others.
        assert_eq!(api.bodies(json!({ "text": " !? ", "direction": "OUT" })).await.len(), 6);
        assert_eq!(api.bodies(json!({ "text": "cafe", "endpointId": bob.id })).await.len(), 2);
        assert_eq!(api.bodies(json!({ "text": "cafe", "endpointId": bob.id, "direction": "OUT" })).await.len(), 0);
        let count = "query($f: MessageFilter) { messages(first: 1, filter: $f) { totalCount nodes { body } pageInfo { hasNextPage } } }";
        let page = &api.data(count, json!({ "f": { "text": "cafe" } })).await["messages"];
        assert_eq!((&page["totalCount"], &page["pageInfo"]["hasNextPage"]), (&json!(4), &json!(true)));
        // So many words and no more: the last of them is the beginning of a word.
        let words = |n: usize| vec!["cafe"; 40].into_iter().map(str::to_owned).chain((1..n).map(|i| format!("word{i}"))).collect::<Vec<_>>().join(" ");
        assert_eq!(api.bodies(json!({ "text": words(32) })).await.len(), 0);
        for list in ["messages", "chats"] {
            let query = format!("query($f: {}) {{ {list}(filter: $f) {{ totalCount nodes {{ id }} }} }}", if list == "chats" { "ChatFilter" } else { "MessageFilter" });
            let response = api.gql(&query, json!({ "f": { "text": words(33) } })).await;
            assert_eq!(code(&response), Some("BAD_USER_INPUT"), "{response}");
        }
        // A chat is found by what was said in it.
        let carol = api.endpoint_create(&world.domain, "carol").await;
        api.send(alice, &carol, "just us").await;
        found(&world, "just us", 1).await;
        let chats = api.chats(json!({ "text": "JUST", "endpointId": alice.id })).await;
        assert_eq!(chats.iter().map(|c| text(&c["peer"])).collect::<Vec<_>>(), ["carol@example.test"]);
        assert_eq!(api.chats(json!({ "text": "nobody said this" })).await.len(), 0);
    }

    /// What is deleted is not found: a message, the messages of a chat, a chat, an endpoint.
    async fn h168_what_is_deleted_is_not_found(database: Database) {
        let world = World::start(&database).await;
        let carol = world.api.endpoint_create(&world.domain, "carol").await;
        let World { api, alice, bob, .. } = &world;
        let one = api.send(alice, bob, "secret one").await;
        api.send(alice, bob, "secret two").await;
        let other = api.send(alice, &carol, "secret three").await;
        found(&world, "secret", 3).await;
        delete(&world, "deleteMessage", &one["id"]).await;
        assert_eq!(api.bodies(json!({ "text": "secret", "direction": "OUT" })).await, ["secret three", "secret two"]);
        delete(&world, "deleteChatMessages", &one["chatId"]).await;
        assert_eq!(api.bodies(json!({ "text": "secret", "direction": "OUT" })).await, ["secret three"]);
        assert_eq!(api.chats(json!({ "text": "secret", "endpointId": alice.id })).await.len(), 1);
        delete(&world, "deleteChat", &other["chatId"]).await;
        assert_eq!(api.bodies(json!({ "text": "secret", "direction": "OUT" })).await.len(), 0);
        assert_eq!(api.bodies(json!({ "text": "secret" })).await.len(), 3, "the others keep theirs");
        delete(&world, "deleteEndpoint", &json!(bob.id)).await;
        assert_eq!(api.bodies(json!({ "text": "secret" })).await, ["secret three"]);
    }

    /// The index is filled behind the sends, also of what was stored before it began, and says how far it is behind.
    async fn the_index_follows_and_says_how_far_it_is(database: Database) {
        let world = World::on(Server::start_with(database.url(), &[("SIPGRAPH_METRICS_LISTEN", "127.0.0.1:0")]).await).await;
        world.api.send(&world.alice, &world.bob, "findable").await;
        found(&world, "findable", 1).await;
        let page = world.api.http.get(format!("{}/metrics", world.server.metrics)).send().await.unwrap().text().await.unwrap();
        let lag = page.lines().find_map(|line| line.strip_prefix("messages_search_lag_seconds ")).unwrap();
        assert!(lag.parse::<f64>().unwrap() >= 0.0, "{lag}");
    }

    /// Messages are kept for a time where the operator says so, and their chats are right afterwards.
    async fn messages_are_kept_for_a_time(database: Database) {
        kept_for_a_time(&database).await;
    }
}

async fn kept_for_a_time(database: &Database) {
    let mut world = World::start(database).await;
    let sent = world.api.send(&world.alice, &world.bob, "old").await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let server = &mut world.server;
    server
        .environment
        .push(("SIPGRAPH_MESSAGES_RETENTION_S".into(), "1".into()));
    server.kill_and_restart().await;
    eventually("the old message being gone", || async {
        let kept = world.api.bodies(json!({})).await;
        kept.iter().all(|body| body != "old").then_some(())
    })
    .await;
    let chats = world.api.chats(json!({})).await;
    assert_eq!(chats.len(), 2, "the chats stay");
    for chat in chats {
        let counts = (
            &chat["messageCount"],
            &chat["unreadCount"],
            &chat["lastMessage"],
        );
        assert_eq!(counts, (&json!(0), &json!(0), &Value::Null), "{chat}");
    }
    let deleted = world.api.log(&["MESSAGE_DELETED"]).await;
    assert_eq!(deleted.len(), 2, "{sent}");
}

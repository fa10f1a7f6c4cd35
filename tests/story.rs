//! The first journey, whole: from an empty database to two phones that chat, seen live through GraphQL.

use crate::harness::graphql::text;
use crate::harness::sipp::{Sipp, free_port};
use crate::harness::{Api, Baresip, Feed, Server, World, both_backends, eventually, json};

both_backends! {
    /// A softphone registers, a subscription shows it ONLINE, a mutation reaches the phone as SIP MESSAGE, and what a
    /// phone types comes to the subscription and to the chat.
    async fn two_phones_chat_and_graphql_shows_it(database: Database) {
        let server = Server::start(&database).await;
        assert_eq!(server.database, crate::harness::backend::name(database.backend()));
        let api = Api::of(&server);
        let domain = api.domain_create("example.test", true).await;
        let alice = api.endpoint_create(&domain, "alice").await;
        let bob = api.endpoint_create(&domain, "bob").await;
        assert_eq!(api.endpoint(&bob.id).await["state"], "UNKNOWN");
        let mut feed = Feed::open(&server, &api.event_cursor().await).await;

        // A real softphone registers.
        let softphone = Baresip::start(&server, &bob, "udp").await;
        let online = feed.next("ENDPOINT_STATE_CHANGED").await;
        assert_eq!((&online["endpointId"], &online["state"]), (&json!(bob.id), &json!("ONLINE")));
        let seen = api.endpoint(&bob.id).await;
        assert_eq!(seen["state"], "ONLINE");
        assert!(text(&seen["contacts"][0]["userAgent"]).starts_with("baresip"), "{seen}");

        // A mutation arrives on the phone as SIP MESSAGE.
        let sent = api.send(&alice, &bob, "hello from the API").await;
        assert_eq!(sent["status"], "ACCEPTED");
        softphone.shows("hello from the API").await;
        let status = feed.next("MESSAGE_OUT_STATUS").await;
        assert_eq!((&status["messageId"], &status["status"]), (&sent["id"], &json!("SENT")));

        // A message typed on another phone arrives in the subscription, in the chat, and on the first phone.
        Sipp::send(&server, &alice, &bob, "typed on a phone").await;
        let received = feed.next("TEXT_MESSAGE_RECEIVED").await;
        assert_eq!(received["body"], "typed on a phone");
        assert_eq!(received["from"], json!(alice.uri()));
        assert_eq!(received["sender"], json!(alice.id));
        let incoming = feed.next("MESSAGE_IN").await;
        assert_eq!(incoming["text"], "typed on a phone");
        assert_eq!(incoming["endpointId"], json!(bob.id));
        softphone.shows("typed on a phone").await;
        let chats = api.chats(json!({ "endpointId": bob.id })).await;
        assert_eq!(chats.len(), 1, "{chats:?}");
        assert_eq!(chats[0]["peer"], json!(alice.address()));
        assert_eq!(chats[0]["lastMessage"]["body"], "typed on a phone");
        let bodies = api.bodies(json!({ "chatId": chats[0]["id"] })).await;
        assert_eq!(bodies, ["typed on a phone", "hello from the API"]);

        // The phone is closed: it unregisters and is offline.
        softphone.quit().await;
        let offline = feed.next("ENDPOINT_STATE_CHANGED").await;
        assert_eq!((&offline["endpointId"], &offline["state"]), (&json!(bob.id), &json!("OFFLINE")));
    }

    /// The same softphone over TCP.
    async fn a_softphone_on_tcp_gets_a_message(database: Database) {
        let world = World::start(&database).await;
        let softphone = Baresip::start(&world.server, &world.bob, "tcp").await;
        world.api.state_is(&world.bob, "ONLINE").await;
        let contact = world.api.endpoint(&world.bob.id).await["contacts"][0].clone();
        assert_eq!(contact["transport"], "TCP");
        let sent = world.api.send(&world.alice, &world.bob, "over a stream").await;
        softphone.shows("over a stream").await;
        let sent = world.api.message_is(&text(&sent["id"]), "SENT").await;
        assert_eq!(sent["deliveries"][0]["transport"], "TCP");
        softphone.quit().await;
        world.api.state_is(&world.bob, "OFFLINE").await;
    }

    /// `SIPp` registers and takes a message on the same port.
    async fn sipp_registers_and_takes_a_message(database: Database) {
        let world = World::start(&database).await;
        let port = free_port();
        Sipp::register(&world.server, &world.bob, port).await;
        world.api.state_is(&world.bob, "ONLINE").await;
        let waiting = Sipp::receive(&world.server, &world.bob, port);
        let sent = world.api.send(&world.alice, &world.bob, "for SIPp").await;
        waiting.ends().await;
        let sent = eventually("the message being taken", || async {
            let message = world.api.message(&text(&sent["id"])).await;
            (message["status"] == "SENT").then_some(message)
        })
        .await;
        assert_eq!(sent["deliveries"][0]["sipStatus"], 200);
    }
}

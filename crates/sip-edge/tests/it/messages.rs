//! MESSAGE in both directions through real sockets and a real store.

use sipgraph_core::message::MessageStatus;

use crate::harness::{Harness, PASSWORD};
use crate::phone::Phone;

#[tokio::test]
async fn a_message_typed_on_one_phone_reaches_all_phones_of_the_other() {
    let harness = Harness::start().await;
    harness.endpoint("alice").await;
    harness.endpoint("bob").await;
    let mut bobs = harness.phones("bob").await;
    for bob in &mut bobs {
        assert_eq!(bob.register(600).await.status(), 200);
    }
    for mut alice in harness.phones("alice").await {
        let accepted = alice.message("bob", "h\u{e9}llo").await;
        assert_eq!(
            (accepted.status(), accepted.get("Content-Length")),
            (202, "0")
        );
        for bob in &mut bobs {
            let message = bob.incoming().await;
            assert!(
                message
                    .start()
                    .starts_with("MESSAGE sip:bob@198.51.100.1:9;transport="),
                "{message:?}"
            );
            assert_eq!(
                (message.body(), message.get("Content-Type")),
                ("h\u{e9}llo", "text/plain")
            );
            assert!(
                message
                    .get("From")
                    .starts_with("<sip:alice@example.com>;tag=")
            );
            assert_eq!(
                (message.get("To"), message.all("Contact").len()),
                ("<sip:bob@example.com>", 0)
            );
            assert!(!message.get("Date").is_empty() && !message.get("Expires").is_empty());
            assert!(message.all("Authorization").is_empty());
            bob.answer(&message, "200 OK").await;
        }
    }
}

#[tokio::test]
async fn a_sender_proves_who_it_is() {
    let harness = Harness::start().await;
    harness.endpoint("alice").await;
    harness.endpoint("bob").await;
    let mut alice = Phone::udp(harness.udp, "alice", "example.com", PASSWORD).await;
    let challenge = alice
        .ask("MESSAGE", "sip:bob@example.com", "", "hello")
        .await;
    assert_eq!(challenge.status(), 401);
    let authorization = alice.authorization(
        challenge.get("WWW-Authenticate"),
        "MESSAGE",
        "sip:bob@example.com",
    );
    let text = alice.request(
        "MESSAGE",
        "sip:bob@example.com",
        &format!("Authorization: {authorization}\r\n"),
        "hello",
    );
    alice
        .send(
            text.replace("From: <sip:alice", "From: <sip:bob")
                .as_bytes(),
        )
        .await;
    assert_eq!(alice.response().await.status(), 403);
    assert_eq!(harness.messages().await, 0);
}

#[tokio::test]
async fn refusals_have_their_own_status() {
    let harness = Harness::start().await;
    harness.endpoint("alice").await;
    harness.endpoint_with("bob", PASSWORD, false).await;
    let mut alice = Phone::tcp(harness.tcp, "alice", "example.com", PASSWORD).await;
    assert_eq!(alice.message("nobody", "hello").await.status(), 404);
    assert_eq!(alice.message("bob", "hello").await.status(), 480);
    let uri = "sip:alice@example.com";
    let html = alice
        .ask_authenticated("MESSAGE", uri, "Content-Type: text/html\r\n", "<b>")
        .await;
    assert_eq!(html.status(), 415);
    assert!(html.get("Accept").starts_with("text/plain, message/cpim"));
    let fields = "Content-Type: text/plain\r\nContent-Encoding: gzip\r\n";
    let packed = alice.ask_authenticated("MESSAGE", uri, fields, "x").await;
    assert_eq!(
        (packed.status(), packed.get("Accept-Encoding")),
        (415, "identity, deflate")
    );
    assert_eq!(
        alice
            .message("alice", &"x".repeat(61 * 1024))
            .await
            .status(),
        413
    );
    let mut bob = Phone::tcp(harness.tcp, "bob", "example.com", PASSWORD).await;
    assert_eq!(bob.message("alice", "hello").await.status(), 403);
    assert_eq!(harness.messages().await, 0);
}

#[tokio::test]
async fn a_repeated_message_is_stored_once() {
    let harness = Harness::start().await;
    harness.endpoint("alice").await;
    harness.endpoint("bob").await;
    let mut alice = Phone::udp(harness.udp, "alice", "example.com", PASSWORD).await;
    let uri = "sip:bob@example.com";
    let challenge = alice.ask("MESSAGE", uri, "", "hello").await;
    let authorization = alice.authorization(challenge.get("WWW-Authenticate"), "MESSAGE", uri);
    let text = alice.request(
        "MESSAGE",
        uri,
        &format!("Authorization: {authorization}\r\n"),
        "hello",
    );
    for _ in 0..3 {
        alice.send(text.as_bytes()).await;
        assert_eq!(alice.response().await.status(), 202);
    }
    // With another branch: the device has lost its transaction.
    alice
        .send(text.replace("branch=z9hG4bK", "branch=z9hG4bKx").as_bytes())
        .await;
    assert_eq!(alice.response().await.status(), 202);
    // Another message with the same digest is a theft.
    let stolen = text
        .replace("branch=z9hG4bK", "branch=z9hG4bKy")
        .replace("hello", "jello");
    alice.send(stolen.as_bytes()).await;
    assert_eq!(alice.response().await.status(), 401);
    // The same message over another transport, with the same Call-ID, CSeq and From tag.
    let mut again = Phone::tcp(harness.tcp, "alice", "example.com", PASSWORD).await;
    let challenge = again.ask("MESSAGE", uri, "", "hello").await;
    let authorization = again.authorization(challenge.get("WWW-Authenticate"), "MESSAGE", uri);
    let (head, tail) = text.split_once("Authorization: ").unwrap();
    let (_, tail) = tail.split_once("\r\n").unwrap();
    let repeated = format!("{head}Authorization: {authorization}\r\n{tail}")
        .replace("SIP/2.0/UDP", "SIP/2.0/TCP");
    again.send(repeated.as_bytes()).await;
    assert_eq!(again.response().await.status(), 202);
    // One copy for each side.
    assert_eq!(harness.messages().await, 2);
}

#[tokio::test]
async fn notifications_are_taken_and_make_no_message() {
    let harness = Harness::start().await;
    harness.endpoint("alice").await;
    let mut alice = Phone::udp(harness.udp, "alice", "example.com", PASSWORD).await;
    for content_type in ["message/imdn+xml", "application/im-iscomposing+xml"] {
        let fields = format!("Content-Type: {content_type}\r\n");
        let taken = alice
            .ask_authenticated("MESSAGE", "sip:alice@example.com", &fields, "<x/>")
            .await;
        assert_eq!(taken.status(), 200);
    }
    assert_eq!(harness.messages().await, 0);
}

#[tokio::test]
async fn the_answer_of_a_phone_ends_the_delivery() {
    let harness = Harness::start().await;
    for (status, expected) in [
        ("200 OK", MessageStatus::Sent),
        ("603 Decline", MessageStatus::Failed),
    ] {
        let user = format!("u{}", &status[..3]);
        harness.endpoint(&user).await;
        let mut phone = Phone::udp(harness.udp, &user, "example.com", PASSWORD).await;
        assert_eq!(phone.register(600).await.status(), 200);
        let id = harness.send(&user, "hello").await;
        let message = phone.incoming().await;
        phone.answer(&message, "100 Trying").await;
        phone.answer(&message, status).await;
        harness.status_becomes(id, expected).await;
    }
}

#[tokio::test]
async fn an_unanswered_datagram_is_sent_again() {
    let harness = Harness::start().await;
    harness.endpoint("alice").await;
    let mut phone = Phone::udp(harness.udp, "alice", "example.com", PASSWORD).await;
    assert_eq!(phone.register(600).await.status(), 200);
    let id = harness.send("alice", "hello").await;
    let (first, second) = (phone.incoming().await, phone.incoming().await);
    assert_eq!(first.0, second.0);
    phone.answer(&second, "200 OK").await;
    harness.status_becomes(id, MessageStatus::Sent).await;
}

#[tokio::test]
async fn a_contact_gets_one_message_at_a_time_in_order() {
    let harness = Harness::start().await;
    harness.endpoint("alice").await;
    let mut phone = Phone::tcp(harness.tcp, "alice", "example.com", PASSWORD).await;
    assert_eq!(phone.register(600).await.status(), 200);
    for n in 0..5 {
        harness.send("alice", &format!("message {n}")).await;
    }
    for n in 0..5 {
        let message = phone.incoming().await;
        assert_eq!(message.body(), format!("message {n}"));
        assert!(phone.is_silent().await, "the next one waits for the answer");
        phone.answer(&message, "200 OK").await;
    }
}

#[tokio::test]
async fn a_dead_contact_holds_up_no_other() {
    let harness = Harness::start().await;
    harness.endpoint("alice").await;
    let mut dead = Phone::udp(harness.udp, "alice", "example.com", PASSWORD).await;
    let mut live = Phone::tcp(harness.tcp, "alice", "example.com", PASSWORD).await;
    assert_eq!(dead.register(600).await.status(), 200);
    assert_eq!(live.register(600).await.status(), 200);
    for n in 0..3 {
        harness.send("alice", &format!("message {n}")).await;
        let message = live.incoming().await;
        assert_eq!(message.body(), format!("message {n}"));
        live.answer(&message, "200 OK").await;
    }
}

#[tokio::test]
async fn a_long_message_goes_over_streams_only() {
    let harness = Harness::start().await;
    let long = "x".repeat(1300);
    for user in ["alice", "bob"] {
        harness.endpoint(user).await;
    }
    let mut alice = Phone::udp(harness.udp, "alice", "example.com", PASSWORD).await;
    assert_eq!(alice.register(600).await.status(), 200);
    let id = harness.send("alice", &long).await;
    harness.status_becomes(id, MessageStatus::Failed).await;
    let mut bob = Phone::tcp(harness.tcp, "bob", "example.com", PASSWORD).await;
    assert_eq!(bob.register(600).await.status(), 200);
    let id = harness.send("bob", &long).await;
    let message = bob.incoming().await;
    assert_eq!(message.body(), long);
    bob.answer(&message, "200 OK").await;
    harness.status_becomes(id, MessageStatus::Sent).await;
    assert!(alice.is_silent().await);
}

#[tokio::test]
async fn an_answer_counts_only_from_where_the_message_went() {
    let harness = Harness::start().await;
    harness.endpoint("alice").await;
    let mut phone = Phone::tcp(harness.tcp, "alice", "example.com", PASSWORD).await;
    assert_eq!(phone.register(600).await.status(), 200);
    let id = harness.send("alice", "hello").await;
    let message = phone.incoming().await;
    let mut other = Phone::tcp(harness.tcp, "mallory", "example.com", PASSWORD).await;
    other.answer(&message, "603 Decline").await;
    assert_eq!(
        other
            .ask("OPTIONS", "sip:example.com", "", "")
            .await
            .status(),
        200
    );
    phone.answer(&message, "200 OK").await;
    harness.status_becomes(id, MessageStatus::Sent).await;
}

#[tokio::test]
async fn a_message_waits_for_a_phone_that_comes_back() {
    let harness = Harness::start().await;
    harness.endpoint("alice").await;
    let id = harness.send("alice", "hello").await;
    let mut phone = Phone::tcp(harness.tcp, "alice", "example.com", PASSWORD).await;
    assert_eq!(phone.register(600).await.status(), 200);
    let first = phone.incoming().await;
    // The connection breaks before the phone has answered: the message is of unknown outcome.
    drop(phone);
    let mut phone = Phone::tcp(harness.tcp, "alice", "example.com", PASSWORD).await;
    assert_eq!(phone.register(600).await.status(), 200);
    let again = phone.incoming().await;
    assert_eq!(again.body(), first.body());
    phone.answer(&again, "200 OK").await;
    harness.status_becomes(id, MessageStatus::Sent).await;
}

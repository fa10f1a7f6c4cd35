//! Methods and malformed requests: what is answered, with what, and what is not.

use crate::harness::Harness;
use crate::phone::Phone;

#[tokio::test]
async fn each_method_gets_the_answer_of_its_kind() {
    let harness = Harness::start().await;
    for mut phone in harness.phones("alice").await {
        let mut ask = async |method: &str| phone.ask(method, "sip:bob@example.com", "", "").await;
        let options = ask("OPTIONS").await;
        assert_eq!(options.status(), 200);
        assert_eq!(options.get("Allow"), "REGISTER, MESSAGE, OPTIONS");
        assert!(options.get("To").contains(";tag="));
        // Over UDP a stranger's address may be forged: what makes the answer long is left out.
        let accepts_text = options.get("Accept").contains("text/plain");
        assert_eq!(accepts_text, phone.is_stream());
        let mut ask = async |method: &str| phone.ask(method, "sip:bob@example.com", "", "").await;
        for method in ["INVITE", "SUBSCRIBE", "BYE", "PUBLISH"] {
            let refused = ask(method).await;
            assert_eq!(
                (refused.status(), refused.get("Allow")),
                (405, "REGISTER, MESSAGE, OPTIONS")
            );
        }
        assert_eq!(ask("CANCEL").await.status(), 481);
        assert_eq!(ask("PLAY").await.status(), 501);
        assert_eq!(ask("options").await.status(), 501);
    }
}

#[tokio::test]
async fn an_ack_is_never_answered() {
    let harness = Harness::start().await;
    for mut phone in harness.phones("alice").await {
        for text in [
            phone.request("ACK", "sip:bob@example.com", "", ""),
            phone.request("ACK", "sip:bob@example.com", "Bad Header\r\n", ""),
        ] {
            phone.send(text.as_bytes()).await;
        }
        assert_eq!(
            phone
                .ask("OPTIONS", "sip:example.com", "", "")
                .await
                .status(),
            200
        );
        assert!(phone.is_silent().await);
    }
}

#[tokio::test]
async fn checks_come_before_the_method_is_served() {
    let harness = Harness::start().await;
    for mut phone in harness.phones("alice").await {
        let refused = phone
            .ask("OPTIONS", "sip:example.com", "Require: 100rel, foo\r\n", "")
            .await;
        assert_eq!(
            (refused.status(), refused.get("Unsupported")),
            (420, "100rel, foo")
        );
        assert_eq!(
            phone
                .ask("MESSAGE", "tel:+12125551212", "", "")
                .await
                .status(),
            416
        );
        assert_eq!(
            phone
                .ask("REGISTER", "sip:elsewhere.org", "", "")
                .await
                .status(),
            404
        );
        assert_eq!(
            phone
                .ask("MESSAGE", "sip:bob@elsewhere.org", "", "")
                .await
                .status(),
            404
        );
    }
}

#[tokio::test]
async fn malformed_requests_are_answered_where_they_can_be() {
    let harness = Harness::start().await;
    for mut phone in harness.phones("alice").await {
        let good = phone.request("OPTIONS", "sip:example.com", "", "");
        for (bad, status) in [
            (good.replace("SIP/2.0\r\nVia", "SIP/7.0\r\nVia"), 505),
            (good.replace("OPTIONS\r\n", "INVITE\r\n"), 400),
            (good.replace("Max-Forwards: 70", "Max-Forwards 70"), 400),
            (
                good.replace("sip:example.com SIP", "<sip:example.com> SIP"),
                400,
            ),
            (
                good.replace("sip:example.com SIP", "sip:example.com?Route=x SIP"),
                400,
            ),
            (good.replace("<sip:alice", "\"open <sip:alice"), 400),
        ] {
            phone.send(bad.as_bytes()).await;
            assert_eq!(phone.response().await.status(), status, "{bad}");
        }
    }
    let mut phone = Phone::udp(harness.udp, "alice", "example.com", "").await;
    let good = phone.request("OPTIONS", "sip:example.com", "", "");
    let huge = phone.request("OPTIONS", "sip:example.com", "", &"x".repeat(5000));
    for (bad, status) in [
        (good.replace("Content-Length: 0", "Content-Length: 9"), 400),
        (good.replace("Content-Length: 0\r\n\r\n", ""), 400),
        (
            good.replace("Content-Length", &format!("X: {}\r\nl", "x".repeat(17_000))),
            513,
        ),
        (huge, 413),
    ] {
        phone.send(bad.as_bytes()).await;
        assert_eq!(phone.response().await.status(), status);
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_dropped_or_closed() {
    let harness = Harness::start().await;
    let mut phone = Phone::udp(harness.udp, "alice", "example.com", "").await;
    let good = phone.request("OPTIONS", "sip:example.com", "", "");
    for bad in [
        "GET / HTTP/1.1\r\n\r\n".to_owned(),
        good.replace("Call-ID", "X"),
        "\r\n\r\n".into(),
        "x".into(),
    ] {
        phone.send(bad.as_bytes()).await;
    }
    assert_eq!(
        phone
            .ask("OPTIONS", "sip:example.com", "", "")
            .await
            .status(),
        200
    );
    assert!(phone.is_silent().await);
    for bad in [
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".to_owned(),
        good.replace("Call-ID", "X"),
        good.replace("alice", "\u{7f}\u{1}"),
    ] {
        let mut phone = Phone::tcp(harness.tcp, "alice", "example.com", "").await;
        phone.send(bad.as_bytes()).await;
        assert!(phone.is_closed().await, "{bad}");
    }
}

#[tokio::test]
async fn a_stream_without_a_clear_length_is_answered_and_closed() {
    let harness = Harness::start().await;
    for (length, status) in [
        ("", 400),
        ("Content-Length: x\r\n", 400),
        ("Content-Length: -1\r\n", 400),
        ("Content-Length: 0\r\nContent-Length: 0\r\n", 400),
        ("Content-Length: 0\r\nl: 5\r\n", 400),
        ("Content-Length: 99999999\r\n", 413),
    ] {
        let mut phone = Phone::tcp(harness.tcp, "alice", "example.com", "").await;
        let text = phone.request("OPTIONS", "sip:example.com", "", "");
        phone
            .send(text.replace("Content-Length: 0\r\n", length).as_bytes())
            .await;
        assert_eq!(phone.response().await.status(), status, "{length}");
        assert!(phone.is_closed().await, "{length}");
    }
}

#[tokio::test]
async fn pipelined_requests_are_all_answered() {
    let harness = Harness::start().await;
    let mut phone = Phone::tcp(harness.tcp, "alice", "example.com", "").await;
    let texts: String = (0..20)
        .map(|_| phone.request("OPTIONS", "sip:example.com", "", ""))
        .collect();
    phone.send(format!("\r\n{texts}").as_bytes()).await;
    for _ in 0..20 {
        assert_eq!(phone.response().await.status(), 200);
    }
}

#[tokio::test]
async fn stopping_lets_answers_out_and_ends_connections() {
    let mut harness = Harness::start().await;
    let mut phone = Phone::tcp(harness.tcp, "alice", "example.com", "").await;
    assert_eq!(
        phone
            .ask("OPTIONS", "sip:example.com", "", "")
            .await
            .status(),
        200
    );
    harness.stop().await;
    assert!(phone.is_closed().await);
}

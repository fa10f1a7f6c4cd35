//! REGISTER: RFC 3261 section 10.3 through real sockets and a real store.

use sipgraph_core::digest::DigestAlgorithm;
use sipgraph_core::endpoint::EndpointState;
use sipgraph_testkit::eventually;

use crate::harness::{Harness, PASSWORD, PATIENCE};
use crate::phone::Phone;

#[tokio::test]
async fn the_right_digest_registers_and_the_endpoint_is_online() {
    let harness = Harness::start().await;
    let id = harness.endpoint("alice").await;
    for mut phone in harness.phones("alice").await {
        let ok = phone.register(600).await;
        assert_eq!(ok.status(), 200, "{ok:?}");
        assert!(
            ok.all("Contact")
                .contains(&format!("{};expires=600", phone.contact()).as_str()),
            "{ok:?}"
        );
        assert!(ok.get("Date").ends_with(" GMT"));
        harness.state_becomes(id, EndpointState::Online).await;
        let gone = phone.register(0).await;
        assert_eq!((gone.status(), gone.all("Contact").len()), (200, 0));
        harness.state_becomes(id, EndpointState::Offline).await;
    }
}

#[tokio::test]
async fn a_domain_chooses_its_algorithms() {
    let harness = Harness::start_with(&[DigestAlgorithm::Sha256, DigestAlgorithm::Md5]).await;
    harness.endpoint("alice").await;
    let mut phone = Phone::udp(harness.udp, "alice", "example.com", PASSWORD).await;
    // As long as a phone's: a shorter one gets no answer of two challenges over UDP.
    let contact = format!("Contact: {}\r\n", phone.contact());
    let challenge = phone.ask("REGISTER", "sip:example.com", &contact, "").await;
    let offered = challenge.all("WWW-Authenticate");
    assert!(offered[0].contains("algorithm=SHA-256") && offered[1].contains("algorithm=MD5"));
    for offer in offered {
        let authorization = phone.authorization(offer, "REGISTER", "sip:example.com");
        let text = format!("Authorization: {authorization}\r\n");
        // Both offers carry one nonce, so the second use is a replay of its count.
        let answer = phone.ask("REGISTER", "sip:example.com", &text, "").await;
        let is_first = offer.contains("SHA-256");
        assert_eq!(answer.status(), if is_first { 200 } else { 401 });
        assert_eq!(
            answer.get("WWW-Authenticate").contains("stale=true"),
            !is_first
        );
    }
}

#[tokio::test]
async fn unknown_users_and_wrong_passwords_look_alike() {
    let harness = Harness::start().await;
    harness.endpoint("alice").await;
    let mut answers = Vec::new();
    for (user, password) in [
        ("alice", "wrong-password"),
        ("nobody", PASSWORD),
        ("alice", &PASSWORD.to_uppercase()),
    ] {
        let mut phone = Phone::udp(harness.udp, user, "example.com", password).await;
        let refused = phone.register(600).await;
        let challenge = refused.get("WWW-Authenticate");
        assert!(!challenge.contains("stale"));
        let names: Vec<String> = refused
            .0
            .lines()
            .map(|line| line.split(':').next().unwrap().into())
            .collect();
        answers.push((refused.status(), challenge.len(), names));
    }
    assert_eq!(answers[0].0, 401);
    assert!(
        answers.iter().all(|answer| answer == &answers[0]),
        "{answers:?}"
    );
}

#[tokio::test]
async fn a_latin1_password_passes_in_both_encodings() {
    let harness = Harness::start().await;
    harness.endpoint_with("alice", "passw\u{f6}rd", true).await;
    for latin1 in [false, true] {
        let mut phone = Phone::udp(harness.udp, "alice", "example.com", "passw\u{f6}rd").await;
        phone.latin1 = latin1;
        assert_eq!(phone.register(600).await.status(), 200);
    }
}

#[tokio::test]
async fn a_disabled_endpoint_is_refused_after_authentication() {
    let harness = Harness::start().await;
    let id = harness.endpoint_with("alice", PASSWORD, false).await;
    let mut phone = Phone::udp(harness.udp, "alice", "example.com", PASSWORD).await;
    assert_eq!(
        phone
            .ask("REGISTER", "sip:example.com", "", "")
            .await
            .status(),
        401
    );
    assert_eq!(phone.register(600).await.status(), 403);
    assert_ne!(harness.state(id).await, EndpointState::Online);
}

#[tokio::test]
async fn each_endpoint_registers_itself_only() {
    let harness = Harness::start().await;
    harness.endpoint("alice").await;
    harness.endpoint("bob").await;
    let mut phone = Phone::udp(harness.udp, "alice", "example.com", PASSWORD).await;
    let challenge = phone.ask("REGISTER", "sip:example.com", "", "").await;
    let authorization = phone.authorization(
        challenge.get("WWW-Authenticate"),
        "REGISTER",
        "sip:example.com",
    );
    let text = phone.request(
        "REGISTER",
        "sip:example.com",
        &format!("Authorization: {authorization}\r\n"),
        "",
    );
    phone
        .send(text.replace("To: <sip:alice", "To: <sip:bob").as_bytes())
        .await;
    assert_eq!(phone.response().await.status(), 403);
}

#[tokio::test]
async fn a_digest_is_good_for_its_request_uri_only() {
    let harness = Harness::start().await;
    harness.endpoint("alice").await;
    let mut phone = Phone::udp(harness.udp, "alice", "example.com", PASSWORD).await;
    let challenge = phone.ask("REGISTER", "sip:example.com", "", "").await;
    let authorization = phone.authorization(
        challenge.get("WWW-Authenticate"),
        "REGISTER",
        "sip:example.org",
    );
    let fields = format!("Authorization: {authorization}\r\n");
    assert_eq!(
        phone
            .ask("REGISTER", "sip:example.com", &fields, "")
            .await
            .status(),
        400
    );
}

#[tokio::test]
async fn several_contacts_are_listed_refreshed_and_removed() {
    let harness = Harness::start().await;
    let id = harness.endpoint("alice").await;
    let mut phone = Phone::udp(harness.udp, "alice", "example.com", PASSWORD).await;
    let two = "Contact: \"a, b\" <sip:alice@198.51.100.1:1;ob>;expires=100, <sip:alice@198.51.100.2:2>\r\nExpires: 200\r\n";
    assert_eq!(phone.register_with(two).await.all("Contact").len(), 2);
    let listed = phone.register_with("").await;
    assert_eq!(listed.status(), 200);
    assert!(
        listed.0.contains("<sip:alice@198.51.100.1:1;ob>;expires=")
            && listed.0.contains("198.51.100.2")
    );
    let refreshed = phone
        .register_with("Contact: <sip:alice@198.51.100.1:1;ob>;expires=300\r\n")
        .await;
    assert!(
        refreshed.0.contains("198.51.100.1:1;ob>;expires=300")
            && refreshed.all("Contact").len() == 2
    );
    assert_eq!(
        phone
            .register_with("Contact: *\r\nExpires: 1\r\n")
            .await
            .status(),
        400
    );
    assert_eq!(
        phone
            .register_with("Contact: *\r\nExpires: 0\r\n")
            .await
            .all("Contact")
            .len(),
        0
    );
    harness.state_becomes(id, EndpointState::Offline).await;
}

#[tokio::test]
async fn a_time_too_brief_is_refused_and_one_too_long_is_cut() {
    let harness = Harness::start().await;
    harness.endpoint("alice").await;
    let mut phone = Phone::udp(harness.udp, "alice", "example.com", PASSWORD).await;
    let brief = phone.register(10).await;
    assert_eq!((brief.status(), brief.get("Min-Expires")), (423, "60"));
    assert!(
        phone
            .register(1_000_000)
            .await
            .get("Contact")
            .ends_with(";expires=7200")
    );
}

#[tokio::test]
async fn an_endpoint_has_at_most_ten_contacts() {
    let harness = Harness::start().await;
    harness.endpoint("alice").await;
    let mut phone = Phone::tcp(harness.tcp, "alice", "example.com", PASSWORD).await;
    let contacts = |count: usize| -> String {
        (0..count)
            .map(|n| format!("Contact: <sip:alice@198.51.100.1:{}>\r\n", n + 1))
            .collect()
    };
    assert_eq!(phone.register_with(&contacts(11)).await.status(), 403);
    assert_eq!(
        phone
            .register_with(&contacts(10))
            .await
            .all("Contact")
            .len(),
        10
    );
}

#[tokio::test]
async fn outbound_parameters_name_a_device() {
    let harness = Harness::start().await;
    harness.endpoint("alice").await;
    let mut phone = Phone::udp(harness.udp, "alice", "example.com", PASSWORD).await;
    let with = |port: u16| {
        format!(
            "Contact: <sip:alice@198.51.100.1:{port}>;+sip.instance=\"<urn:uuid:1>\";reg-id=1\r\n"
        )
    };
    assert_eq!(phone.register_with(&with(1)).await.status(), 200);
    let moved = phone.register_with(&with(2)).await;
    assert_eq!(moved.all("Contact").len(), 1, "{moved:?}");
    assert!(
        moved.0.contains("198.51.100.1:2>")
            && moved.0.contains("+sip.instance=\"<urn:uuid:1>\";reg-id=1")
    );
}

#[tokio::test]
async fn a_closed_connection_takes_its_contact_along() {
    let harness = Harness::start().await;
    let id = harness.endpoint("alice").await;
    let mut phone = Phone::tcp(harness.tcp, "alice", "example.com", PASSWORD).await;
    assert_eq!(phone.register(600).await.status(), 200);
    harness.state_becomes(id, EndpointState::Online).await;
    drop(phone);
    harness.state_becomes(id, EndpointState::Offline).await;
}

#[tokio::test]
async fn a_contact_goes_once_the_store_is_back_when_its_connection_closed_without_it() {
    let harness = Harness::start().await;
    let id = harness.endpoint("alice").await;
    let mut phone = Phone::tcp(harness.tcp, "alice", "example.com", PASSWORD).await;
    assert_eq!(phone.register(600).await.status(), 200);
    harness.break_bindings();
    // The edge closes its side once it has seen the end.
    phone.hang_up().await;
    assert!(phone.is_closed().await);
    // Every read of the edge fails as these do, for longer than its first pause.
    let mut failed = 0;
    let seen = eventually("reads that fail", PATIENCE, || {
        failed += 1;
        let app = &harness.app;
        async move { (app.connection_closed(1).await.is_err() && failed > 30).then_some(()) }
    });
    seen.await;
    harness.mend_bindings();
    harness.state_becomes(id, EndpointState::Offline).await;
}

#[tokio::test]
async fn a_retransmitted_register_gets_the_same_answer() {
    let harness = Harness::start().await;
    harness.endpoint("alice").await;
    let mut phone = Phone::udp(harness.udp, "alice", "example.com", PASSWORD).await;
    let challenge = phone.ask("REGISTER", "sip:example.com", "", "").await;
    let authorization = phone.authorization(
        challenge.get("WWW-Authenticate"),
        "REGISTER",
        "sip:example.com",
    );
    let fields = format!(
        "Contact: {}\r\nAuthorization: {authorization}\r\n",
        phone.contact()
    );
    let text = phone.request("REGISTER", "sip:example.com", &fields, "");
    phone.send(text.as_bytes()).await;
    let first = phone.response().await;
    phone.send(text.as_bytes()).await;
    assert_eq!(
        (first.status(), phone.response().await.0),
        (200, first.0.clone())
    );
    // A malformed request that names the same transaction is answered and changes nothing.
    phone
        .send(
            text.replace("Max-Forwards: 70", "Max-Forwards 70")
                .as_bytes(),
        )
        .await;
    assert_eq!(phone.response().await.status(), 400);
    phone.send(text.as_bytes()).await;
    assert_eq!(phone.response().await.0, first.0);
    // With another branch it is another request: its count was used, and its CSeq too.
    phone
        .send(text.replace("branch=z9hG4bK", "branch=z9hG4bKx").as_bytes())
        .await;
    let replayed = phone.response().await;
    assert!(replayed.status() == 401 && replayed.get("WWW-Authenticate").contains("stale=true"));
}

#[tokio::test]
async fn a_domain_is_known_by_its_aliases() {
    let harness = Harness::start().await;
    harness.endpoint("alice").await;
    for host in ["example.com", "EXAMPLE.com", "127.0.0.1"] {
        let mut phone = Phone::udp(harness.udp, "alice", host, PASSWORD).await;
        let uri = format!("sip:{host}");
        let challenge = phone.ask("REGISTER", &uri, "", "").await;
        assert!(
            challenge
                .get("WWW-Authenticate")
                .contains("realm=\"example.com\""),
            "{host}"
        );
        assert_eq!(phone.register(600).await.status(), 200, "{host}");
    }
}

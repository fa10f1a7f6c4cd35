//! Attempts at the addresses of trunks, through real sockets.

use sip_validate::message::frame::datagram;
use sip_validate::message::{Message, Name};
use sipgraph_core::AddressId;
use sipgraph_core::binding::Transport;
use sipgraph_core::keyring::Secret;
use sipgraph_core::message::Variables;
use sipgraph_core::ports::{Attempt, AttemptResult, AttemptTarget, TrunkAddress};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::harness::{Harness, PATIENCE};

/// The next MESSAGE that is not the one before, which is sent again while nothing answers it; and who sent it.
async fn next(carrier: &UdpSocket, before: &str) -> (Message, std::net::SocketAddr) {
    let mut buffer = vec![0; 65_535];
    loop {
        let received = timeout(PATIENCE, carrier.recv_from(&mut buffer)).await;
        let (length, from) = received.unwrap().unwrap();
        let request = datagram(&buffer[..length]).unwrap().unwrap();
        if request.get(Name::CSeq) != Some(before) {
            return (request, from);
        }
    }
}

/// An address that challenges and then says nothing has no more time than one that says nothing at all.
#[tokio::test]
async fn h163_an_attempt_at_a_trunk_ends_in_time() {
    let harness = Harness::start().await;
    let carrier = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let target = TrunkAddress {
        id: AddressId([1; 16]),
        host: "127.0.0.1".into(),
        port: carrier.local_addr().unwrap().port(),
        transport: Transport::Udp,
        request_uri: "sip:+4930123456@127.0.0.1".into(),
        credentials: Some(("acme".into(), Secret::new("secret"))),
        pace: None,
    };
    let attempt = Attempt {
        target: AttemptTarget::Address(Box::new(target)),
        simulation: None,
        number: 1,
        is_notice: false,
        from: "sip:+12125550100@example.com".into(),
        from_name: None,
        to: "sip:+4930123456@example.com".into(),
        body: "hello".into(),
        content_type: "text/plain".into(),
        variables: Variables::new(),
        call_id: "call".into(),
        from_tag: "tag".into(),
        cseq: 1,
        branch: "z9hG4bKtrunk".into(),
        expires_s: 60,
    };
    let ended = harness.technology.deliver(attempt);
    let challenges = async {
        let (request, from) = next(&carrier, "").await;
        let field = |name| request.get(name).unwrap().to_owned();
        let challenge = format!(
            "SIP/2.0 407 Proxy Authentication Required\r\nVia: {}\r\nFrom: {}\r\nTo: {};tag=1\r\nCall-ID: {}\r\nCSeq: {}\r\nProxy-Authenticate: Digest realm=\"carrier\", nonce=\"n\"\r\nContent-Length: 0\r\n\r\n",
            field(Name::Via),
            field(Name::From),
            field(Name::To),
            field(Name::CallId),
            field(Name::CSeq),
        );
        carrier.send_to(challenge.as_bytes(), from).await.unwrap();
        let (signed, _) = next(&carrier, &field(Name::CSeq)).await;
        assert_eq!(signed.get(Name::CSeq), Some("2 MESSAGE"));
        assert!(signed.get(Name::ProxyAuthorization).is_some());
    };
    // Timer F of the second request alone would be 32 s.
    let both = timeout(PATIENCE, async { tokio::join!(ended, challenges) }).await;
    assert_eq!(both.expect("an end in time").0, AttemptResult::Timeout);
}

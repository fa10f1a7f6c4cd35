//! Every transport of the SIP edge, and the certificates of those that are encrypted.

use crate::harness::graphql::list;
use crate::harness::phone::open_websocket;
use crate::harness::sip::unique;
use crate::harness::softphones::WebPhone;
use crate::harness::tls::{NAME, put_certificate};
use crate::harness::{
    Api, Phone, STEP, Server, Sip, Trust, World, both_backends, eventually, json,
};
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use sipgraph_testkit::certificates::Authority;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error, Message};

/// Alice on one transport and bob on another write to each other, and GraphQL shows both contacts.
async fn chat(world: &World, mut alice: Phone, mut bob: Phone, transports: [&str; 2]) {
    alice.come_online().await;
    bob.come_online().await;
    for (account, phone, transport) in [
        (&world.alice, &alice, transports[0]),
        (&world.bob, &bob, transports[1]),
    ] {
        let contacts = list(&world.api.endpoint(&account.id).await["contacts"]);
        assert_eq!(contacts.len(), 1, "{contacts:?}");
        assert_eq!(
            (&contacts[0]["uri"], &contacts[0]["transport"]),
            (&json!(phone.contact()), &json!(transport))
        );
    }
    let there = format!("{} to {}", transports[0], transports[1]);
    assert_eq!(alice.message(&world.bob.uri(), &there).await.status(), 202);
    let taken = bob.take_message().await;
    assert_eq!(taken.body, there);
    // The way back is the connection itself, and the Contact is named but never dialled.
    let via = taken.header("Via");
    assert!(
        via.starts_with(&format!("SIP/2.0/{} ", transports[1])),
        "{via}"
    );
    assert_eq!(taken.first, format!("MESSAGE {} SIP/2.0", bob.contact()));
    let back = format!("{} to {}", transports[1], transports[0]);
    assert_eq!(bob.message(&world.alice.uri(), &back).await.status(), 202);
    assert_eq!(alice.take_message().await.body, back);
    alice.hang_up().await;
    bob.hang_up().await;
    if transports[1] != "UDP" {
        // The stream is closed: the contact is gone at once, and not at its expiry in an hour.
        world.api.state_is(&world.bob, "OFFLINE").await;
    }
}

both_backends! {
    /// UDP, TCP, TLS and WebSocket, over IPv4 and IPv6, in pairs.
    async fn b043_phones_of_every_transport_reach_each_other(database: Database) {
        let authority = Authority::new();
        let trust = Trust::in_authority(&authority);
        let both = "127.0.0.1:0,[::1]:0";
        let listeners = [
            "SIPGRAPH_HTTP_LISTEN", "SIPGRAPH_SIP_UDP_LISTEN", "SIPGRAPH_SIP_TCP_LISTEN", "SIPGRAPH_SIP_TLS_LISTEN",
        ].map(|key| (key, both));
        let server = Server::start_tls(&database, &authority, &listeners).await;
        let world = World::on(server).await;
        for place in [0, 1] {
            let at = |kind: &str| -> SocketAddr { world.server.listener(kind, place).parse().unwrap() };
            let (udp, tcp, tls) = (at("udp"), at("tcp"), at("tls"));
            assert_eq!(udp.is_ipv6(), place == 1);
            let ws = format!("{}/sip", world.server.listener("http", place));
            let (alice, bob) = (&world.alice, &world.bob);
            chat(&world, Phone::tls_at(tls, &trust, alice).await, Phone::ws_at(&ws, None, bob).await, ["TLS", "WS"]).await;
            chat(&world, Phone::ws_at(&ws, None, alice).await, Phone::tcp_at(tcp, bob).await, ["WS", "TCP"]).await;
            chat(&world, Phone::tcp_at(tcp, alice).await, Phone::tls_at(tls, &trust, bob).await, ["TCP", "TLS"]).await;
            let mut phone = Phone::udp_at(udp, bob).await;
            phone.come_online().await;
            world.api.send(alice, bob, "over UDP").await;
            let taken = phone.take_message().await;
            let host = if place == 1 { "[::1]" } else { "127.0.0.1" };
            assert!(taken.header("Via").starts_with(&format!("SIP/2.0/UDP {host}:{}", udp.port())), "{taken:?}");
            // RFC 3261 section 18.2.1 and RFC 3581: where it came from, without brackets as the grammar has it.
            let request = phone.register_request();
            let answer = phone.ask(&request).await;
            let (ip, port) = (udp.ip(), phone.contact().rsplit(':').next().unwrap().to_owned());
            let via = answer.header("Via");
            assert!(via.contains(&format!(";received={ip}")) && via.contains(&format!(";rport={port}")), "{via}");
            assert_eq!(phone.register(0).await.status(), 200);
        }
    }

    /// HTTPS on the gateway's listener: GraphQL, and SIP over secure WebSocket.
    async fn the_http_listener_speaks_tls(database: Database) {
        let authority = Authority::new();
        let trust = Trust::in_authority(&authority);
        let mut world = World::start(&database).await;
        // Both demand encryption (line 98), which WSS is.
        for account in [&world.alice, &world.bob] {
            let input = json!({ "id": account.id, "patch": { "encryption": "REQUIRED" } });
            assert_eq!(world.api.mutate("updateEndpoint", "", input).await["userErrors"], json!([]));
        }
        world.server.kill().await;
        put_certificate(&authority, world.server.folder());
        for (key, file) in [("CERT", "cert.pem"), ("KEY", "key.pem")] {
            world.server.environment.push((format!("SIPGRAPH_HTTP_TLS_{key}"), file.to_owned()));
        }
        world.server.run().await;
        assert!(world.server.url.starts_with("https://"), "{}", world.server.url);
        let url = format!("{}/sip", world.server.url);
        let mut alice = Phone::ws_at(&url, Some(&trust), &world.alice).await;
        let mut bob = Phone::ws_at(&url, Some(&trust), &world.bob).await;
        alice.come_online().await;
        bob.come_online().await;
        assert_eq!(alice.message(&world.bob.uri(), "in private").await.status(), 202);
        let taken = bob.take_message().await;
        assert_eq!(taken.body, "in private");
        assert!(taken.header("Via").starts_with("SIP/2.0/WSS "), "{taken:?}");
        // A real phone, which checks the certificate.
        let mut jssip = WebPhone::start("jssip", "node", &world.server, &world.alice).await;
        jssip.send(&world.bob.uri(), "from JsSIP").await;
        assert_eq!(bob.take_message().await.body, "from JsSIP");
        jssip.quit().await;
        let address = world.server.url.trim_start_matches("https://").to_owned();
        let query = json!({ "query": "{ endpoints(first: 2) { nodes { name contacts { transport } } } }" });
        let seen = post_securely(&trust, &address, &world.server.token, &query).await;
        assert_eq!(seen["data"]["endpoints"]["nodes"], json!([
            { "name": "bob", "contacts": [{ "transport": "WSS" }] },
            { "name": "alice", "contacts": [{ "transport": "WSS" }] },
        ]), "{seen}");
        // Plain HTTP is no language of this listener.
        let plain = Api { url: format!("http://{address}/graphql"), ..Api::of(&world.server) };
        assert!(plain.try_gql("{ __typename }", json!({})).await.is_err());
    }

    /// A renewed certificate is taken without a restart: by itself, and at once with SIGHUP; a broken one is not.
    async fn certificates_are_renewed_without_a_restart(database: Database) {
        let authority = Authority::new();
        let trust = Trust::in_authority(&authority);
        let world = World::on(Server::start_tls(&database, &authority, &[]).await).await;
        let tls = world.server.tls();
        let mut phone = Phone::tls_at(tls, &trust, &world.bob).await;
        phone.come_online().await;
        let first = trust.certificate(tls).await;
        put_certificate(&authority, world.server.folder());
        eventually("a new certificate", || async { (trust.certificate(tls).await != first).then_some(()) }).await;
        let second = trust.certificate(tls).await;
        // A key that does not fit.
        std::fs::write(world.server.folder().join("key.pem"), authority.issue(&[NAME]).key_pem).unwrap();
        world.server.signal("-HUP");
        eventually("a complaint", || async {
            world.server.log().contains("sip.tls_key: key.pem does not belong to the certificate in cert.pem").then_some(())
        }).await;
        assert_eq!(trust.certificate(tls).await, second);
        std::fs::remove_file(world.server.folder().join("cert.pem")).unwrap();
        world.server.signal("-HUP");
        eventually("a complaint", || async {
            world.server.log().contains("sip.tls_cert: cert.pem can't be read").then_some(())
        }).await;
        assert_eq!(trust.certificate(tls).await, second);
        put_certificate(&authority, world.server.folder());
        world.server.signal("-HUP");
        eventually("a new certificate", || async { (trust.certificate(tls).await != second).then_some(()) }).await;
        // Connections of the old certificate go on.
        world.api.send(&world.alice, &world.bob, "still here").await;
        assert_eq!(phone.take_message().await.body, "still here");
    }

    /// RFC 7118: the sub-protocol is demanded, the page's origin must be allowed, one SIP message stands in each message.
    async fn a_websocket_speaks_sip_by_the_book(database: Database) {
        let server = Server::start_with(database.url(), &[("SIPGRAPH_HTTP_CORS_ORIGINS", "https://phone.example")]).await;
        let world = World::on(server).await;
        let url = format!("{}/sip", world.server.url);
        let sip = ("Sec-WebSocket-Protocol", "sip");
        let status = |result: Result<_, Error>| match result {
            Ok(_) => 101,
            Err(Error::Http(response)) => response.status().as_u16(),
            Err(error) => panic!("{error}"),
        };
        let other = ("Sec-WebSocket-Protocol", "graphql-transport-ws");
        let own = world.server.url.clone();
        for (headers, expected) in [
            (vec![], 400),
            (vec![other], 400),
            (vec![sip, ("Origin", "https://evil.example")], 403),
            (vec![sip, ("Origin", "null")], 403),
            (vec![sip, ("Host", "evil.example")], 421),
            (vec![sip, ("Origin", "https://phone.example")], 101),
            (vec![sip, ("Origin", own.as_str())], 101),
            (vec![("Sec-WebSocket-Protocol", "msrp, sip")], 101),
        ] {
            assert_eq!(status(open_websocket(&url, None, &headers).await), expected, "{headers:?}");
        }
        let answer = reqwest::get(&url).await.unwrap();
        assert!(answer.status().is_client_error(), "{answer:?}");

        let mut phone = Phone::ws(&world.server, &world.alice).await;
        let mut request = || phone.request("OPTIONS", "sip:example.test", "sip:example.test").write();
        let (one, two, three) = (request(), request(), request());
        let (_, mut socket) = open_websocket(&url, None, &[sip]).await.unwrap();
        // A text, an array of octets, and one with more behind its end, which is dropped.
        socket.send(Message::text(one.clone())).await.unwrap();
        socket.send(Message::binary(two.into_bytes())).await.unwrap();
        socket.send(Message::text(format!("{three}{one}"))).await.unwrap();
        for _ in 0..3 {
            let Message::Text(answer) = next(&mut socket).await.unwrap() else { panic!("a text") };
            assert_eq!(Sip::read(&answer).status(), 200, "{answer}");
        }
        // Keep-alives: of line ends, and of WebSocket itself.
        socket.send(Message::text("\r\n\r\n")).await.unwrap();
        assert_eq!(next(&mut socket).await, Some(Message::text("\r\n")));
        socket.send(Message::Ping("x".into())).await.unwrap();
        assert_eq!(next(&mut socket).await, Some(Message::Pong("x".into())));
        // A part of a message is refused, and its connection goes on.
        let part = phone.message_request(&world.bob.uri(), "a text").write().replace("Content-Length: 6", "Content-Length: 7");
        socket.send(Message::text(part)).await.unwrap();
        let Some(Message::Text(answer)) = next(&mut socket).await else { panic!("a text") };
        assert_eq!(Sip::read(&answer).status(), 400, "{answer}");
        // What cannot be answered, and what is too large, ends it.
        for bytes in ["hello".to_owned(), "x".repeat(200_000), format!("OPTIONS sip:a SIP/2.0\r\n{}", "X: y\r\n".repeat(5000))] {
            let (_, mut socket) = open_websocket(&url, None, &[sip]).await.unwrap();
            let _ = socket.send(Message::text(bytes)).await;
            while next(&mut socket).await.is_some() {}
        }
        assert_eq!(world.server.log().matches("panicked").count(), 0, "{}", world.server.log());
    }

    /// A page that is gone without a word, one that never says who it is, and more than one source may have.
    async fn websockets_are_bounded(database: Database) {
        let environment = [
            ("SIPGRAPH_SIP_WEBSOCKET_PING_S", "1"),
            ("SIPGRAPH_SIP_AUTHENTICATE_TIMEOUT_S", "2"),
            ("SIPGRAPH_SIP_CONNECTIONS_PER_SOURCE_MAX", "2"),
        ];
        let world = World::on(Server::start_with(database.url(), &environment).await).await;
        let url = format!("{}/sip", world.server.url);
        let sip = ("Sec-WebSocket-Protocol", "sip");
        // It answers pings by itself while it is read, and so stays for longer than two of them.
        let mut phone = Phone::ws(&world.server, &world.bob).await;
        phone.come_online().await;
        let (_, mut silent) = open_websocket(&url, None, &[sip]).await.unwrap();
        match open_websocket(&url, None, &[sip]).await {
            Err(Error::Http(response)) => assert_eq!(response.status().as_u16(), 503),
            other => panic!("{:?}", other.map(|(transport, _)| transport)),
        }
        // Nobody has shown who the silent one is: it gets pings, and then its end. Bob stays for longer than that.
        let ending = async {
            let mut pings = 0;
            loop {
                match next(&mut silent).await {
                    Some(Message::Ping(_)) => pings += 1,
                    other => break (pings, other),
                }
            }
        };
        let ((pings, end), request) = tokio::join!(ending, phone.next_request(Duration::from_secs(5)));
        assert!(pings > 0 && matches!(end, None | Some(Message::Close(_))), "{pings} {end:?}");
        assert!(request.is_none());
        world.api.state_is(&world.bob, "ONLINE").await;
        // Not read any more, it answers no ping: the contact goes, although nothing was closed.
        world.api.state_is(&world.bob, "OFFLINE").await;
        drop(phone);
    }

    /// At the end of the program the page is told to come again.
    async fn websockets_are_closed_at_the_end(database: Database) {
        let mut world = World::start(&database).await;
        let (_, mut socket) = open_websocket(&format!("{}/sip", world.server.url), None, &[("Sec-WebSocket-Protocol", "sip")]).await.unwrap();
        world.server.terminate();
        let closed = loop {
            match next(&mut socket).await {
                Some(Message::Ping(_)) => {}
                other => break other,
            }
        };
        let Some(Message::Close(Some(frame))) = closed else { panic!("{closed:?}") };
        assert_eq!(u16::from(frame.code), 1001);
        assert!(world.server.ended().await.success());
    }
}

/// A handshake that does not go on is given up, and so is one that speaks no TLS.
#[test]
fn a_handshake_must_come_to_its_end() {
    sipgraph_testkit::run(sipgraph_testkit::Backend::Sqlite, async |database| {
        let authority = Authority::new();
        let server = Server::start_tls(&database, &authority, &[]).await;
        let mut silent = TcpStream::connect(server.tls()).await.unwrap();
        let mut wrong = TcpStream::connect(server.tls()).await.unwrap();
        let request = format!(
            "OPTIONS sip:{NAME} SIP/2.0\r\nCall-ID: {}\r\n\r\n",
            unique()
        );
        tokio::io::AsyncWriteExt::write_all(&mut wrong, request.as_bytes())
            .await
            .unwrap();
        for stream in [&mut wrong, &mut silent] {
            let mut rest = Vec::new();
            // An alert of TLS may come, or a reset.
            let _ = timeout(STEP, stream.read_to_end(&mut rest))
                .await
                .expect("it is closed");
            assert!(!String::from_utf8_lossy(&rest).contains("SIP/2.0"));
        }
    });
}

/// What comes next on a WebSocket; nothing when it has ended.
async fn next<S>(socket: &mut tokio_tungstenite::WebSocketStream<S>) -> Option<Message>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let next = timeout(STEP, socket.next()).await.expect("something comes");
    next.and_then(Result::ok)
}

/// Posts a GraphQL request over HTTPS and gives its answer.
async fn post_securely(
    trust: &Trust,
    address: &str,
    token: &str,
    body: &serde_json::Value,
) -> serde_json::Value {
    let stream = trust
        .connect(TcpStream::connect(address).await.unwrap())
        .await
        .unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = hyper::Request::post("/graphql")
        .header("Host", address)
        .header("Authorization", format!("Bearer {token}"))
        .header("Content-Type", "application/json")
        .body(Full::new(bytes::Bytes::from(body.to_string())))
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    let octets = answer.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&octets).unwrap()
}

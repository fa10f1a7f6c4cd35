//! The SIP edge as a device, or a hostile one, sees it.

use crate::harness::graphql::text;
use crate::harness::sip::unique;
use crate::harness::{Account, Feed, Phone, Sip, World, both_backends, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long nothing must come before a test takes silence for granted.
const SILENCE: Duration = Duration::from_millis(700);

/// Asks OPTIONS, which answers without credentials; shows that the server still works.
async fn is_alive(world: &World) {
    for mut phone in [
        Phone::udp(&world.server, &world.alice).await,
        Phone::tcp(&world.server, &world.alice).await,
    ] {
        let request = phone.request("OPTIONS", "sip:example.test", "sip:example.test");
        let answer = phone.ask(&request).await;
        assert_eq!(answer.status(), 200, "{answer:?}");
        assert!(answer.header("Allow").contains("MESSAGE"), "{answer:?}");
    }
}

both_backends! {
    /// A device's MESSAGE raises an event with who, to whom, what; credentials are not among it.
    async fn e113_a_devices_message_raises_an_event(database: Database) {
        let world = World::start(&database).await;
        let mut feed = Feed::open(&world.server, &world.api.event_cursor().await).await;
        let mut phone = Phone::tcp(&world.server, &world.alice).await;
        assert_eq!(phone.message(&world.bob.uri(), "Grüße\r\n👋").await.status(), 202);
        let event = feed.next("TEXT_MESSAGE_RECEIVED").await;
        let expected = json!({
            "__typename": "TextMessageReceived", "type": "TEXT_MESSAGE_RECEIVED", "sender": world.alice.id, "from": world.alice.uri(),
            "to": world.bob.uri(), "body": "Grüße\r\n👋", "variables": {}, "id": event["id"], "at": event["at"],
        });
        assert_eq!(event, expected);
        assert!(!event.to_string().contains("Digest"), "{event}");
        let query = "subscription { events(after: \"\", filter: { types: [TEXT_MESSAGE_RECEIVED] }) { node { ... on TextMessageReceived { endpoint { name } } } } }";
        let mut socket = crate::harness::Socket::open(&world.server, &world.server.token).await;
        socket.subscribe("x", query, json!({})).await;
        assert_eq!(socket.message().await["payload"]["data"]["events"]["node"]["endpoint"]["name"], "alice");
    }

    /// The other header fields of a device's MESSAGE are its variables: told to its account, passed on to no device, and gone with
    /// the text.
    async fn e113_other_header_fields_are_variables(database: Database) {
        let world = World::start(&database).await;
        let World { server, api, alice, bob, .. } = &world;
        let start = api.event_cursor().await;
        let mut feed = Feed::open(server, &start).await;
        let (mut phone, mut other) = (Phone::tcp(server, alice).await, Phone::tcp(server, bob).await);
        other.come_online().await;
        let request = phone
            .message_request(&bob.uri(), "with more")
            .with("X-Foo", "bar")
            .with("s", "Grüße")
            .with("x-foo", "baz")
            .with("P-Asserted-Identity", "<sip:mallory@example.test>")
            .with("Proxy-Authorization", "Digest username=\"alice\", response=\"0123456789abcdef\"")
            .with("Reply-To", "<sip:mallory@example.test>");
        let (answer, signed) = phone.ask_signed(request).await;
        assert_eq!(answer.status(), 202, "{answer:?}");
        assert!(signed.get("Authorization").is_some(), "{signed:?}");
        let variables = json!({ "X-Foo": "bar, baz", "Subject": "Grüße" });
        assert_eq!(feed.next("TEXT_MESSAGE_RECEIVED").await["variables"], variables);
        let got = other.take_message().await;
        assert_eq!((got.body.as_str(), got.get("X-Foo"), got.get("Subject")), ("with more", None, None));
        let query = "{ messages(first: 9) { nodes { id direction variables } } }";
        let messages = api.data(query, json!({})).await["messages"]["nodes"].take();
        let messages = messages.as_array().unwrap();
        assert_eq!(messages.len(), 2, "both sides keep it");
        assert!(messages.iter().all(|message| message["variables"] == variables), "{messages:?}");
        for message in messages {
            let payload = api.mutate("deleteMessage", "", json!({ "id": message["id"] })).await;
            assert_eq!(payload["userErrors"], json!([]));
        }
        let mut replay = Feed::open(server, &start).await;
        let event = replay.next("TEXT_MESSAGE_RECEIVED").await;
        assert_eq!((&event["body"], &event["variables"]), (&json!(null), &json!({})));
        assert!(!server.log().contains("0123456789abcdef"), "credentials are in no log");
    }

    /// What is carried, and how the rest is refused.
    async fn e116_only_known_content_is_carried(database: Database) {
        let world = World::start(&database).await;
        let World { server, api, alice, bob, .. } = &world;
        let mut phone = Phone::udp(server, alice).await;
        for (kind, status) in [
            ("text/html", 415),
            ("application/sdp", 415),
            ("application/json", 415),
            ("image/png", 415),
            ("text/plain", 202),
            ("text/plain;charset=UTF-8", 202),
            ("TEXT/PLAIN; charset=utf-8", 202),
            ("message/imdn+xml", 200),
            ("application/im-iscomposing+xml", 200),
        ] {
            let request = phone.message_request(&bob.uri(), "a text").set("Content-Type", Some(kind));
            let (answer, _) = phone.ask_signed(request).await;
            assert_eq!(answer.status(), status, "{kind}: {answer:?}");
            if status == 415 {
                assert!(answer.header("Accept").contains("text/plain"), "{kind}: {answer:?}");
            }
        }
        let request = phone.message_request(&bob.uri(), "x").with("Content-Encoding", "gzip");
        let (answer, _) = phone.ask_signed(request).await;
        assert_eq!(answer.status(), 415, "{answer:?}");
        assert!(answer.get("Accept-Encoding").is_some(), "{answer:?}");
        // What a phone wraps by RFC 3862 is known by what is in it.
        for (kind, status) in [("text/plain;charset=utf-8", 202), ("text/html", 415)] {
            let wrapped = format!("From: <im:alice@example.test>\r\nSubject: x\r\n\r\nContent-Type: {kind}\r\n\r\nGrüße in CPIM");
            let request = phone.message_request(&bob.uri(), &wrapped).set("Content-Type", Some("message/cpim"));
            let (answer, _) = phone.ask_signed(request).await;
            assert_eq!(answer.status(), status, "{kind}: {answer:?}");
        }
        assert_eq!(api.bodies(json!({ "endpointId": bob.id })).await, ["Grüße in CPIM", "a text", "a text", "a text"]);

        // Without credentials nothing is taken.
        let request = phone.message_request(&bob.uri(), "unsigned");
        let answer = phone.ask(&request).await;
        assert!(matches!(answer.status(), 401 | 407), "{answer:?}");
        assert_eq!(api.messages(json!({ "endpointId": bob.id })).await.len(), 4);
    }

    /// A retransmitted request (same branch) and a repeated one (same Call-ID and CSeq) are one message.
    async fn r8_a_message_that_comes_again_is_one_message(database: Database) {
        let mut world = World::start(&database).await;
        let (alice, bob) = (world.alice.clone(), world.bob.clone());
        for mut phone in [Phone::udp(&world.server, &alice).await, Phone::tcp(&world.server, &alice).await] {
            let before = world.api.messages(json!({})).await.len();
            let request = phone.message_request(&bob.uri(), "once");
            let (first, signed) = phone.ask_signed(request).await;
            assert_eq!(first.status(), 202, "{first:?}");
            // The same bytes again: the transaction answers again, word for word.
            for _ in 0..3 {
                assert_eq!(phone.ask(&signed).await, first);
            }
            // The device has lost its transaction and asks again with a new branch.
            let via = signed.header("Via").replace(&signed.branch(), &format!("z9hG4bK{}", unique()));
            let again = signed.clone().set("Via", Some(&via));
            assert_eq!(phone.ask(&again).await.status(), 202);
            assert_eq!(world.api.messages(json!({})).await.len(), before + 2);
        }
        let events = world.api.log(&["TEXT_MESSAGE_RECEIVED"]).await;
        assert_eq!(events.len(), 2);

        // Also when the server was killed in between.
        let mut phone = Phone::udp(&world.server, &alice).await;
        let request = phone.message_request(&bob.uri(), "through a restart");
        let (first, signed) = phone.ask_signed(request).await;
        assert_eq!(first.status(), 202, "{first:?}");
        world.server.kill_and_restart().await;
        let again = phone.ask(&signed).await;
        let again = match again.status() {
            // A stale nonce: the phone signs the same request anew; Call-ID and From tag stay.
            401 => {
                let challenge = crate::harness::sip::Challenge::of(&again, phone.algorithm).unwrap();
                let request = phone.sign(signed.clone().set("Authorization", None), &challenge).set("CSeq", Some(signed.header("CSeq")));
                phone.ask(&request).await
            }
            _ => again,
        };
        assert_eq!(again.status(), 202, "{again:?}");
        assert_eq!(world.api.bodies(json!({ "endpointId": bob.id })).await.iter().filter(|b| *b == "through a restart").count(), 1);
    }

    /// Whom a device can't write to, and as whom it can't speak.
    async fn a_device_speaks_as_itself_to_those_who_are_there(database: Database) {
        let world = World::start(&database).await;
        let World { server, api, alice, bob, .. } = &world;
        let mut phone = Phone::udp(server, alice).await;
        for (to, status) in [
            ("sip:nobody@example.test", 404),
            ("sip:bob@elsewhere.test", 404),
            ("sip:bob@example.test", 202),
            ("sip:%62ob@EXAMPLE.test", 202),
        ] {
            assert_eq!(phone.message(to, "x").await.status(), status, "{to}");
        }
        // Another's name in From, with one's own credentials.
        let from = format!("<{}>;tag=x", bob.uri());
        let request = phone.message_request(&bob.uri(), "as bob").set("From", Some(&from));
        let (answer, _) = phone.ask_signed(request).await;
        assert_eq!(answer.status(), 403, "{answer:?}");
        let request = phone.register_request().set("To", Some(&format!("<{}>", bob.uri()))).with("Contact", format!("<{}>", phone.contact()));
        let (answer, _) = phone.ask_signed(request).await;
        assert!(matches!(answer.status(), 403 | 404), "{answer:?}");
        assert_eq!(api.endpoint(&bob.id).await["state"], "UNKNOWN");
        // A disabled recipient.
        let input = json!({ "domainId": world.domain, "name": "dora", "enabled": false, "credentials": { "password": "secret-of-dora" } });
        let payload = api.mutate("createEndpoint", "endpoint { id }", input).await;
        assert_eq!(phone.message("sip:dora@example.test", "x").await.status(), 480);
        let dora = Account { id: text(&payload["endpoint"]["id"]), user: "dora".into(), password: "secret-of-dora".into(), ..bob.clone() };
        let mut disabled = Phone::udp(server, &dora).await;
        assert_eq!(disabled.message(&bob.uri(), "x").await.status(), 403);
        assert_eq!(api.messages(json!({ "endpointId": bob.id })).await.len(), 2);
    }

    /// What is no part of this product: calls.
    async fn calls_are_refused_by_the_book(database: Database) {
        let world = World::start(&database).await;
        for mut phone in [Phone::udp(&world.server, &world.alice).await, Phone::tcp(&world.server, &world.alice).await] {
            for (method, status) in [("INVITE", 405), ("SUBSCRIBE", 405), ("BYE", 405), ("PUBLISH", 405), ("CANCEL", 481), ("BREW", 501)] {
                let uri = world.bob.uri();
                let request = phone.request(method, &uri, &uri);
                let answer = phone.ask(&request).await;
                // RFC 3261 section 15.1.2: a BYE outside of a dialog is 481.
                let expected = if method == "BYE" && answer.status() == 481 { 481 } else { status };
                assert_eq!(answer.status(), expected, "{method}: {answer:?}");
                if status == 405 && answer.status() == 405 {
                    assert!(answer.header("Allow").contains("REGISTER"), "{answer:?}");
                }
            }
            // ACK is never answered.
            let uri = world.bob.uri();
            let ack = phone.request("ACK", &uri, &uri);
            phone.send(&ack).await;
            assert_eq!(phone.anything(SILENCE).await, None);
            // Extensions that we do not know.
            let request = phone.request("OPTIONS", "sip:example.test", "sip:example.test").with("Require", "100rel, tea");
            let answer = phone.ask(&request).await;
            assert_eq!(answer.status(), 420, "{answer:?}");
            assert!(answer.header("Unsupported").contains("tea"), "{answer:?}");
            let request = phone.message_request("tel:+12125551212", "x");
            assert_eq!(phone.ask(&request).await.status(), 416);
        }
    }

    /// REGISTER by the rules of RFC 3261 section 10.3.
    async fn registrations_follow_the_rules(database: Database) {
        let world = World::start(&database).await;
        let mut phone = Phone::udp(&world.server, &world.bob).await;
        let answer = phone.register(30).await;
        assert_eq!(answer.status(), 423, "{answer:?}");
        assert_eq!(answer.header("Min-Expires"), "60");
        // More than the most is granted as the most.
        let answer = phone.register(100_000).await;
        assert!(answer.header("Contact").contains("expires=7200") || answer.header("Contact").contains("expires=7199"), "{answer:?}");
        for contact in ["<mailto:bob@example.test>", "<sip:bob@example.test", "*"] {
            let answer = phone.register_contact(contact).await;
            assert_eq!(answer.status(), 400, "{contact}: {answer:?}");
        }
        // A request that was overtaken.
        let contact = format!("<{}>;expires=600", phone.contact());
        let request = phone.register_request().with("Contact", contact.clone());
        let (answer, _) = phone.ask_signed(request).await;
        assert_eq!(answer.status(), 200, "{answer:?}");
        let request = phone.register_request().with("Contact", contact);
        let challenge = phone.challenge(&request).await;
        let signed = phone.sign(request, &challenge);
        let old = signed.clone().set("CSeq", Some("1 REGISTER"));
        let answer = phone.ask(&old).await;
        assert_eq!(answer.status(), 500, "{answer:?}");
        // Ten contacts are the most.
        for i in 0..9 {
            let contact = format!("<sip:bob@127.0.0.1:{}>;expires=600", 40_000 + i);
            assert_eq!(phone.register_contact(&contact).await.status(), 200, "{i}");
        }
        assert_eq!(phone.register_contact("<sip:bob@127.0.0.1:41000>;expires=600").await.status(), 403);
        assert_eq!(world.api.endpoint(&world.bob.id).await["contacts"].as_array().unwrap().len(), 10);
        // An unknown domain.
        let stranger = Account { domain: "elsewhere.test".into(), ..world.bob.clone() };
        let mut stranger = Phone::udp(&world.server, &stranger).await;
        let request = stranger.register_request();
        assert_eq!(stranger.ask(&request).await.status(), 404);
    }

    /// Malformed datagrams are answered 400 where an answer can be addressed, dropped otherwise, and harm nothing.
    async fn malformed_sip_on_udp_changes_nothing(database: Database) {
        let world = World::start(&database).await;
        let mut phone = Phone::udp(&world.server, &world.alice).await;
        let good = phone.message_request(&world.bob.uri(), "x").write();
        // Dropped: nobody could be answered, or nothing was asked.
        let dropped: Vec<Vec<u8>> = vec![
            b"".to_vec(),
            b"\r\n\r\n".to_vec(),
            b"hello\r\n\r\n".to_vec(),
            vec![0; 1000],
            vec![0xff; 65_000],
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            b"SIP/2.0 200 OK\r\n\r\n".to_vec(),
            good.replace("Via: ", "X-Via: ").into_bytes(),
            good.as_bytes()[..20].to_vec(),
        ];
        for bytes in &dropped {
            phone.send_bytes(bytes).await;
        }
        assert_eq!(phone.anything(SILENCE).await, None);
        // Refused.
        for (what, bytes) in [
            ("no Content-Type", good.replace("Content-Type: text/plain\r\n", "")),
            ("a longer length than the datagram", good.replace("Content-Length: 1", "Content-Length: 100")),
            ("two lengths", good.replace("Content-Length: 1", "Content-Length: 1\r\nContent-Length: 2")),
            ("a length that is no number", good.replace("Content-Length: 1", "Content-Length: +1")),
            ("another method in CSeq", good.replace(" MESSAGE\r\n", " OPTIONS\r\n")),
            ("a URI that is none", good.replace("MESSAGE sip:bob@example.test", "MESSAGE sip:b{ob@exa mple")),
            ("another version", good.replace(" SIP/2.0\r\n", " SIP/3.0\r\n")),
            ("too many headers", good.replace("Max-Forwards", &format!("{}Max-Forwards", "X: y\r\n".repeat(200)))),
        ] {
            let bytes = bytes.replace("branch=z9hG4bK", &format!("branch=z9hG4bK{}", unique()));
            phone.send_bytes(bytes.as_bytes()).await;
            if let Some(answer) = phone.anything(SILENCE).await {
                // Without a Content-Type the request is only challenged, because nobody has shown who asks.
                assert!((400..600).contains(&answer.status()), "{what}: {answer:?}");
            }
        }
        // A body that has no place on UDP.
        let large = "x".repeat(5000);
        let request = phone.message_request(&world.bob.uri(), &large);
        let answer = phone.ask(&request).await;
        let answer = if answer.status() == 401 { phone.ask_signed(request).await.0 } else { answer };
        assert_eq!(answer.status(), 413, "{answer:?}");
        assert_eq!(world.api.messages(json!({})).await.len(), 0);
        is_alive(&world).await;
        assert_eq!(world.server.log().matches("panicked").count(), 0, "{}", world.server.log());
    }

    /// Malformed streams are answered where that is possible and closed, because their framing is lost.
    async fn malformed_sip_on_tcp_changes_nothing(database: Database) {
        let world = World::start(&database).await;
        let mut phone = Phone::tcp(&world.server, &world.alice).await;
        let good = phone.message_request(&world.bob.uri(), "x").write();
        let many = format!("OPTIONS sip:a SIP/2.0\r\n{}", "X: y\r\n".repeat(5000));
        let attacks: Vec<(&str, Vec<u8>)> = vec![
            ("no length", good.replace("Content-Length: 1\r\n", "").into_bytes()),
            ("two lengths", good.replace("Content-Length: 1", "Content-Length: 1\r\nContent-Length: 2").into_bytes()),
            ("a signed length", good.replace("Content-Length: 1", "Content-Length: +1").into_bytes()),
            ("a huge length", good.replace("Content-Length: 1", "Content-Length: 99999999999999999999").into_bytes()),
            ("a body over the limit", good.replace("Content-Length: 1", "Content-Length: 70000").into_bytes()),
            ("a head without an end", many.into_bytes()),
            ("no SIP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
            ("binary", vec![0; 70_000]),
        ];
        for (what, bytes) in attacks {
            let mut stream = TcpStream::connect(world.server.tcp).await.unwrap();
            // The server may close in the middle of what we say.
            let _ = stream.write_all(&bytes).await;
            let mut answer = Vec::new();
            let end = tokio::time::timeout(crate::harness::STEP, stream.read_to_end(&mut answer)).await;
            assert!(end.is_ok(), "{what}: the connection stays open");
            let answer = String::from_utf8_lossy(&answer).into_owned();
            if !answer.is_empty() {
                let status = Sip::read(&answer).status();
                assert!(matches!(status, 400 | 413 | 513), "{what}: {answer}");
            }
        }
        // In pieces, several at once, and with keep-alives between: all by the book.
        let mut stream = TcpStream::connect(world.server.tcp).await.unwrap();
        let mut phone = Phone::tcp(&world.server, &world.alice).await;
        let mut request = || phone.request("OPTIONS", "sip:example.test", "sip:example.test").write();
        for piece in request().as_bytes().chunks(7) {
            stream.write_all(piece).await.unwrap();
            stream.flush().await.unwrap();
        }
        stream.write_all(format!("\r\n\r\n{}\r\n{}", request(), request()).as_bytes()).await.unwrap();
        let mut seen = String::new();
        while seen.matches("SIP/2.0 200").count() < 3 {
            let mut chunk = [0; 4096];
            let length = tokio::time::timeout(crate::harness::STEP, stream.read(&mut chunk)).await.unwrap().unwrap();
            assert!(length > 0, "closed after {seen}");
            seen.push_str(&String::from_utf8_lossy(&chunk[..length]));
        }
        assert_eq!(world.api.messages(json!({})).await.len(), 0);
        is_alive(&world).await;
        assert_eq!(world.server.log().matches("panicked").count(), 0, "{}", world.server.log());
    }

    /// A nonce is not good for ever, nor for another's realm, nor a second time with the same count.
    async fn a_recorded_request_is_not_good_again(database: Database) {
        let world = World::start(&database).await;
        let mut phone = Phone::udp(&world.server, &world.alice).await;
        let request = phone.message_request(&world.bob.uri(), "first");
        let challenge = phone.challenge(&request).await;
        assert!(!challenge.stale);
        assert_eq!(challenge.realm, "example.test");
        let signed = phone.sign(request, &challenge);
        assert_eq!(phone.ask(&signed).await.status(), 202);
        // A thief repeats the credentials in a request of his own.
        let stolen = phone.message_request(&world.bob.uri(), "stolen").with("Authorization", signed.header("Authorization"));
        let answer = phone.ask(&stolen).await;
        assert!(matches!(answer.status(), 401 | 407), "{answer:?}");
        // The next count of the same nonce is good.
        let request = phone.message_request(&world.bob.uri(), "second");
        let signed = phone.sign(request, &challenge);
        assert_eq!(phone.ask(&signed).await.status(), 202);
        // A nonce of another's making.
        let forged = crate::harness::sip::Challenge { nonce: "AAAAAAAAAAAAAAAAAAAAAAAAAAAA".into(), ..challenge };
        let request = phone.message_request(&world.bob.uri(), "forged");
        let signed = phone.sign(request, &forged);
        let answer = phone.ask(&signed).await;
        assert!(matches!(answer.status(), 401 | 407), "{answer:?}");
        assert_eq!(world.api.bodies(json!({ "endpointId": world.bob.id })).await, ["second", "first"]);
    }
}

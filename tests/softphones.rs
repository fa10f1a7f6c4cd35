//! Real softphones through the gateway, on every transport, two by two. docs/softphones.md says how people set them up; the
//! settings there are those that are used here.

use crate::harness::graphql::text;
use crate::harness::softphones::{Linphone, WebPhone};
use crate::harness::{Account, Feed, Server, World, both_backends, json};
use sipgraph_testkit::certificates::Authority;
use std::process::Stdio;
use tokio::process::Command;

/// Pages of this machine may open a WebSocket.
const PAGES: (&str, &str) = ("SIPGRAPH_HTTP_CORS_ORIGINS", "http://127.0.0.1:*");

/// Linphone replaces its password by an HA1 of the algorithm that it used, so that a domain's first algorithm stays its own.
async fn strong_world(database: &crate::harness::Database) -> (World, Account, Account) {
    let authority = Authority::new();
    let world = World::on(Server::start_tls(database, &authority, &[PAGES]).await).await;
    let input = json!({ "name": "strong.test", "digestAlgorithms": ["SHA_256", "MD5"], "recordInternalMessages": true });
    let payload = world
        .api
        .mutate("createDomain", "domain { id }", input)
        .await;
    let domain = text(&payload["domain"]["id"]);
    let alice = world.api.endpoint_create(&domain, "alice").await;
    let bob = world.api.endpoint_create(&domain, "bob").await;
    (world, alice, bob)
}

/// Waits for both events of a text, and finds it in the chat of its recipient.
async fn is_told(world: &World, feed: &mut Feed, from: &Account, to: &Account, body: &str) {
    let event = feed.next("TEXT_MESSAGE_RECEIVED").await;
    assert_eq!(
        (&event["from"], &event["to"], &event["body"]),
        (&json!(from.uri()), &json!(to.uri()), &json!(body))
    );
    let event = feed.next("MESSAGE_OUT_STATUS").await;
    assert_eq!(
        (&event["text"], &event["status"]),
        (&json!(body), &json!("SENT"))
    );
    let bodies = world.api.bodies(json!({ "endpointId": to.id })).await;
    assert!(bodies.iter().any(|b| b == body), "{bodies:?}");
}

async fn transport_of(world: &World, account: &Account) -> String {
    text(&world.api.endpoint(&account.id).await["contacts"][0]["transport"])
}

both_backends! {
    /// Linphone over TLS, with SHA-256, and a page in Chromium over WebSocket write to each other.
    async fn linphone_on_tls_and_a_page_on_websocket_chat(database: Database) {
        let authority = Authority::new();
        let world = World::on(Server::start_tls(&database, &authority, &[PAGES]).await).await;
        let ca = world.server.folder().join("ca.pem");
        let mut feed = Feed::open(&world.server, &world.api.event_cursor().await).await;
        let mut linphone = Linphone::start(world.server.tls(), &world.alice, "tls", &ca).await;
        world.api.state_is(&world.alice, "ONLINE").await;
        let mut page = WebPhone::start("jssip", "chromium", &world.server, &world.bob).await;
        assert_eq!((transport_of(&world, &world.alice).await, transport_of(&world, &world.bob).await), ("TLS".into(), "WS".into()));
        linphone.send(&world.bob.uri(), "is anybody in the page?").await;
        page.got(&world.alice.uri(), "is anybody in the page?").await;
        is_told(&world, &mut feed, &world.alice, &world.bob, "is anybody in the page?").await;
        page.send(&world.alice.uri(), "yes, over a WebSocket").await;
        linphone.got(&world.bob.uri(), "yes, over a WebSocket").await;
        page.sent().await;
        is_told(&world, &mut feed, &world.bob, &world.alice, "yes, over a WebSocket").await;
        let picture = page.quit().await.expect("a picture of the page");
        assert!(picture.len() > 3_000, "{} octets", picture.len());
        linphone.quit().await;
        for account in [&world.alice, &world.bob] {
            world.api.state_is(account, "OFFLINE").await;
        }
    }

    /// In a domain that asks for SHA-256 first Linphone uses it, over TLS and over TCP.
    async fn linphones_chat_with_sha_256(database: Database) {
        let (world, alice, bob) = strong_world(&database).await;
        let ca = world.server.folder().join("ca.pem");
        let mut feed = Feed::open(&world.server, &world.api.event_cursor().await).await;
        let mut secure = Linphone::start(world.server.tls(), &alice, "tls", &ca).await;
        let mut plain = Linphone::start(world.server.tcp, &bob, "tcp", &ca).await;
        world.api.state_is(&alice, "ONLINE").await;
        world.api.state_is(&bob, "ONLINE").await;
        assert_eq!((transport_of(&world, &alice).await, transport_of(&world, &bob).await), ("TLS".into(), "TCP".into()));
        secure.send(&bob.uri(), "from TLS to TCP").await;
        plain.got(&alice.uri(), "from TLS to TCP").await;
        is_told(&world, &mut feed, &alice, &bob, "from TLS to TCP").await;
        secure.was_delivered().await;
        plain.send(&alice.uri(), "from TCP to TLS").await;
        secure.got(&bob.uri(), "from TCP to TLS").await;
        is_told(&world, &mut feed, &bob, &alice, "from TCP to TLS").await;
        // It has forgotten the password and kept its hash: 64 digits of SHA-256.
        for settings in [secure.quit().await, plain.quit().await] {
            let ha1 = settings.lines().find_map(|line| line.strip_prefix("ha1=")).expect("an HA1");
            assert_eq!(ha1.len(), 64, "{ha1}");
            assert!(!settings.contains("secret-of"), "{settings}");
        }
    }

    /// The two libraries of the web, in Node.js and in Chromium.
    async fn web_phones_chat_over_websocket(database: Database) {
        let world = World::on(Server::start_with(database.url(), &[PAGES]).await).await;
        let (alice, bob) = (&world.alice, &world.bob);
        for (first, second) in [(("jssip", "node"), ("sip.js", "node")), (("jssip", "node"), ("sip.js", "chromium"))] {
            let mut one = WebPhone::start(first.0, first.1, &world.server, alice).await;
            let mut two = WebPhone::start(second.0, second.1, &world.server, bob).await;
            assert_eq!(transport_of(&world, alice).await, "WS");
            let (there, back) = (format!("grüße from {} 👋", first.0), format!("and from {}", second.0));
            one.send(&bob.uri(), &there).await;
            two.got(&alice.uri(), &there).await;
            one.sent().await;
            two.send(&alice.uri(), &back).await;
            one.got(&bob.uri(), &back).await;
            two.sent().await;
            world.api.send(alice, bob, "from the API").await;
            two.got(&alice.uri(), "from the API").await;
            one.quit().await;
            two.quit().await;
            world.api.state_is(alice, "OFFLINE").await;
            world.api.state_is(bob, "OFFLINE").await;
        }
    }

    /// `sipsak` asks for what we can do, and registers. Its message mode ends by itself with a fault of memory.
    async fn sipsak_registers(database: Database) {
        let server = Server::start(&database).await;
        let api = crate::harness::Api::of(&server);
        // It sends to the domain itself.
        let domain = api.domain_create("127.0.0.1", true).await;
        let alice = api.endpoint_create(&domain, "alice").await;
        let sipsak = async |arguments: &[&str]| {
            let output = Command::new("sipsak").args(arguments).stdin(Stdio::null()).output().await.expect("sipsak is installed (tests/setup/install.sh)");
            (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let (code, said) = sipsak(&["-v", "-s", &format!("sip:{}", server.udp)]).await;
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("SIP/2.0 200 OK") && said.contains("Allow: REGISTER, MESSAGE, OPTIONS"), "{said}");
        let uri = format!("sip:alice@{}", server.udp);
        let (code, said) = sipsak(&["-U", "-s", &uri, "-u", "alice", "-a", &alice.password, "-C", "sip:alice@127.0.0.1:5999", "-x", "600", "-v"]).await;
        assert_eq!(code, Some(0), "{said}");
        let contact = api.endpoint(&alice.id).await["contacts"][0].clone();
        assert_eq!((&contact["uri"], &contact["transport"]), (&json!("sip:alice@127.0.0.1:5999"), &json!("UDP")));
        let (code, said) = sipsak(&["-U", "-s", &uri, "-u", "alice", "-a", "wrong-password", "-C", "sip:alice@127.0.0.1:5999", "-x", "600", "-v"]).await;
        assert_ne!(code, Some(0), "{said}");
    }
}

//! `sipgraph trace`: what an operator sees of one endpoint's signalling.

use crate::harness::{Phone, STEP, Server, Value, World, both_backends};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout};
use tokio::time::timeout;

/// A running `sipgraph trace`.
struct Trace {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    stderr: BufReader<ChildStderr>,
}

impl Trace {
    /// Starts it and waits until it watches.
    async fn start(server: &Server, arguments: &[&str]) -> Self {
        let arguments = [&["trace"], arguments].concat();
        let mut child = server.command(&arguments).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains("Tracing ") {
            let read = timeout(STEP, stderr.read_line(&mut said)).await;
            assert_ne!(read.unwrap().unwrap(), 0, "{said}");
        }
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self {
            child,
            lines,
            stderr,
        }
    }

    /// Gives the next message as JSON.
    async fn next(&mut self) -> Value {
        let line = timeout(STEP, self.lines.next_line()).await.unwrap();
        serde_json::from_str(&line.unwrap().unwrap()).unwrap()
    }

    /// Gives everything that is printed until the command ends by itself.
    async fn rest(mut self) -> (Option<i32>, String, String) {
        let mut printed = String::new();
        while let Some(line) = timeout(STEP, self.lines.next_line())
            .await
            .unwrap()
            .unwrap()
        {
            printed.push_str(&line);
            printed.push('\n');
        }
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).await.unwrap();
        let status = timeout(STEP, self.child.wait()).await.unwrap().unwrap();
        (status.code(), printed, said)
    }
}

fn first_line(message: &Value) -> &str {
    message["head"].as_str().unwrap().lines().next().unwrap()
}

both_backends! {
    /// A registration, a message that arrives and one that is sent: each as it was on the wire, in order, without
    /// what proves the password; and nothing of another endpoint.
    async fn a_trace_shows_one_endpoint_without_its_credentials(database: Database) {
        let world = World::start(&database).await;
        let mut trace = Trace::start(&world.server, &["--json", &world.alice.address()]).await;
        let mut bob = Phone::udp(&world.server, &world.bob).await;
        bob.come_online().await;
        let mut alice = Phone::tcp(&world.server, &world.alice).await;
        alice.come_online().await;

        let expected = [
            ("in", "REGISTER sip:example.test SIP/2.0"),
            ("out", "SIP/2.0 401 Unauthorized"),
            ("in", "REGISTER sip:example.test SIP/2.0"),
            ("out", "SIP/2.0 200 OK"),
        ];
        let mut heads = Vec::new();
        for (direction, line) in expected {
            let seen = trace.next().await;
            assert_eq!(
                (seen["direction"].as_str().unwrap(), first_line(&seen)),
                (direction, line)
            );
            assert_eq!(seen["transport"], "TCP");
            assert_eq!(seen["local"], world.server.tcp.to_string());
            heads.push(seen["head"].as_str().unwrap().to_owned());
        }
        let signed = &heads[2];
        assert!(signed.contains("username=\"alice\""), "{signed}");
        assert!(signed.contains("response=(hidden)"), "{signed}");
        // The challenge is what everybody is told; the proof stands nowhere.
        assert!(heads[1].contains("WWW-Authenticate: Digest"), "{heads:?}");
        assert!(!signed.contains("response=\""), "{signed}");
        assert!(!heads.concat().contains(&world.alice.password));

        world.api.send(&world.bob, &world.alice, "psst").await;
        alice.take_message().await;
        let message = trace.next().await;
        assert_eq!(message["direction"], "out");
        assert!(first_line(&message).starts_with("MESSAGE sip:alice@"));
        assert_eq!(message["body_octets"], 4);
        assert!(message.get("body").is_none(), "{message}");
        let answer = trace.next().await;
        assert_eq!(
            (answer["direction"].as_str().unwrap(), first_line(&answer)),
            ("in", "SIP/2.0 200 OK")
        );
    }

    /// For people: a count ends it, bodies are shown when they are asked for, and a domain may be named by its alias.
    async fn a_trace_is_readable_and_ends_by_count(database: Database) {
        let world = World::start(&database).await;
        let arguments = ["--bodies", "--count", "2", "sip:alice@example.test"];
        let trace = Trace::start(&world.server, &arguments).await;
        let mut alice = Phone::udp(&world.server, &world.alice).await;
        let request = alice.message_request(&world.bob.uri(), "can you read this?");
        assert_eq!(alice.ask(&request).await.status(), 401);
        let (code, printed, _) = trace.rest().await;
        assert_eq!(code, Some(0));
        assert!(printed.contains(" <- UDP 127.0.0.1:"), "{printed}");
        assert!(printed.contains(" -> UDP 127.0.0.1:"), "{printed}");
        assert!(
            printed.contains("    MESSAGE sip:bob@example.test SIP/2.0\n"),
            "{printed}"
        );
        assert!(printed.contains("\n    can you read this?\n"), "{printed}");
        assert!(
            printed.contains("    SIP/2.0 401 Unauthorized\n"),
            "{printed}"
        );
    }

    /// What is no address, nobody's domain or no endpoint is said at once, and so is a server that does not run.
    async fn a_trace_says_what_it_can_not_show(database: Database) {
        let world = World::start(&database).await;
        for (address, why) in [
            ("alice@", "address: "),
            ("example.test", "Name a user"),
            ("alice@example.org", "address: "),
        ] {
            let output = world.server.cli_output(&["trace", address]).await;
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{address}: {said}");
            assert!(said.contains(why), "{address}: {said}");
        }
        // A phone that is set up with a wrong name is what a trace is for.
        let trace = Trace::start(&world.server, &["--count", "1", "alicia@example.test"]).await;
        let mut wrong = world.alice.clone();
        wrong.user = "alicia".to_owned();
        let mut phone = Phone::udp(&world.server, &wrong).await;
        let request = phone.register_request();
        phone.ask(&request).await;
        let (code, printed, _) = trace.rest().await;
        assert_eq!(code, Some(0));
        assert!(printed.contains("REGISTER "), "{printed}");

        let World { mut server, .. } = world;
        let trace = Trace::start(&server, &["alice@example.test"]).await;
        server.terminate();
        server.ended().await;
        let (code, _, said) = trace.rest().await;
        assert_eq!(code, Some(1));
        assert!(said.contains("The server has ended."), "{said}");
        let output = server.cli_output(&["trace", "alice@example.test"]).await;
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("No server answers at"), "{said}");
    }
}

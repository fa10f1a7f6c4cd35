//! Faults of the database: cut off in mid-commit, stopped, frozen. The answer is always true, and nobody has to restart
//! anything.

use crate::harness::graphql::{code, mutation, text};
use crate::harness::sip::unique;
use crate::harness::{Database, Feed, Phone, Server, Value, World, eventually, json};
use sipgraph_testkit::{Backend, Cluster, ClusterOptions, Proxy};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How often the connection is cut in mid-commit.
const CUTS: usize = 8;

/// Puts a relay between a database's address and whoever uses the address that this gives.
async fn through_proxy(database: &Database) -> (Proxy, String) {
    let address: SocketAddr = database
        .url()
        .split('@')
        .nth(1)
        .and_then(|rest| rest.split('/').next())
        .unwrap()
        .parse()
        .unwrap();
    let proxy = Proxy::start(address).await;
    let url = database
        .url()
        .replace(&address.to_string(), &proxy.address().to_string());
    (proxy, url)
}

fn send_under_key(world: &World, body: &str) -> (String, Value) {
    let input = json!({
        "from": { "endpointId": world.alice.id }, "to": { "endpointId": world.bob.id }, "body": body, "idempotencyKey": body,
    });
    mutation("sendMessage", "replayed message { id body }", input)
}

/// Asks again with the same key until there is an answer.
async fn ask_until_answered(world: &World, body: &str) -> Value {
    eventually("an answer to the repeated send", || async {
        let (query, variables) = send_under_key(world, body);
        let response = world.api.gql(&query, variables).await;
        response
            .get("errors")
            .is_none()
            .then(|| response["data"]["sendMessage"].clone())
    })
    .await
}

/// R3: Postgres is cut off after it got COMMIT and before its answer came back. Whatever the client is told is true;
/// asked again with the same key it is told the one true result.
#[test]
fn r3_a_commit_that_is_cut_off_has_one_true_result_on_postgres() {
    sipgraph_testkit::run(Backend::Postgres, |database| async move {
        let (proxy, url) = through_proxy(&database).await;
        let world = World::on(Server::start_with(&url, &[]).await).await;
        let start = world.api.event_cursor().await;
        let mut bodies = Vec::new();
        for round in 0..CUTS {
            let body = format!("cut {round} {}", unique());
            let (query, variables) = send_under_key(&world, &body);
            // After: Postgres commits. Before: it never hears of it.
            if round % 2 == 0 {
                proxy.cut_after(b"COMMIT");
            } else {
                proxy.cut_before(b"COMMIT");
            }
            let call = world.api.gql(&query, variables);
            let answer = if round < CUTS / 2 {
                // The database is away until the client has its answer.
                let answer = call.await;
                proxy.pass();
                answer
            } else {
                // The database is back at once: the store finds out what became of the commit.
                let (answer, ()) = futures_util::future::join(call, async {
                    proxy.was_cut().await;
                    proxy.pass();
                })
                .await;
                answer
            };
            proxy.pass();
            let told = match code(&answer) {
                None => Some(answer["data"]["sendMessage"]["message"]["id"].clone()),
                Some("UNKNOWN_OUTCOME" | "UNAVAILABLE" | "DEADLINE_EXCEEDED") => None,
                Some(_) => panic!("{answer}"),
            };
            let again = ask_until_answered(&world, &body).await;
            assert_eq!(again["message"]["body"], json!(body), "{again}");
            if let Some(told) = told {
                assert_eq!(
                    (&again["message"]["id"], &again["replayed"]),
                    (&told, &json!(true)),
                    "round {round}"
                );
            }
            bodies.push(body);
        }
        let mut stored: Vec<String> = world
            .api
            .messages_all(json!({ "direction": "OUT" }))
            .await
            .into_iter()
            .map(|(_, b)| b)
            .collect();
        stored.reverse();
        assert_eq!(stored, bodies, "each once");
        let mut feed = Feed::open(&world.server, &start).await;
        let last = bodies.last().unwrap().clone();
        let events = feed
            .all_until(|e| e["type"] == "MESSAGE_OUT" && e["text"] == json!(last))
            .await;
        let told: Vec<String> = events
            .iter()
            .filter(|e| e["type"] == "MESSAGE_OUT")
            .map(|e| text(&e["text"]))
            .collect();
        assert_eq!(told, bodies, "each told once");
    });
}

/// Postgres stops and comes back: a clear error meanwhile for every door, no restart, subscribers resume without a gap.
#[test]
fn a_database_that_goes_away_and_comes_back_is_survived_on_postgres() {
    sipgraph_testkit::block_on(async {
        let cluster = tokio::task::spawn_blocking(|| Cluster::start(ClusterOptions::default()))
            .await
            .unwrap();
        let cluster = Arc::new(cluster);
        let database = Database::on(&cluster).await;
        let world = World::on(Server::start_with(database.url(), &[]).await).await;
        let mut phone = Phone::udp(&world.server, &world.alice).await;
        let mut feed = Feed::open(&world.server, &world.api.event_cursor().await).await;
        world.api.send(&world.alice, &world.bob, "before").await;
        feed.next("MESSAGE_IN").await;
        let stopped = Arc::clone(&cluster);
        tokio::task::spawn_blocking(move || stopped.stop())
            .await
            .unwrap();

        let (query, variables) = send_under_key(&world, "meanwhile");
        let response = world.api.gql(&query, variables).await;
        assert!(
            matches!(code(&response), Some("UNAVAILABLE" | "UNKNOWN_OUTCOME")),
            "{response}"
        );
        let response = world
            .api
            .gql("{ endpoints { totalCount } }", json!({}))
            .await;
        assert_eq!(code(&response), Some("UNAVAILABLE"), "{response}");
        let message = response["errors"][0]["message"].as_str().unwrap();
        assert!(
            !message.contains("postgres") && !message.contains("127.0.0.1"),
            "nothing of the inside: {message}"
        );
        let request = phone.message_request(&world.bob.uri(), "by SIP");
        let answer = phone.ask(&request).await;
        assert!(matches!(answer.status(), 401 | 500 | 503), "{answer:?}");
        let answer = if answer.status() == 401 {
            phone.ask_signed(request).await.0
        } else {
            answer
        };
        assert!(matches!(answer.status(), 500 | 503), "{answer:?}");
        let base = world.server.url.clone();
        let status = |path: &'static str| {
            let url = format!("{base}{path}");
            let http = world.api.http.clone();
            async move { http.get(url).send().await.unwrap().status().as_u16() }
        };
        assert_eq!(status("/healthz").await / 100, 2);
        assert_eq!(status("/readyz").await, 503);

        let started = Arc::clone(&cluster);
        tokio::task::spawn_blocking(move || started.start_again())
            .await
            .unwrap();
        let payload = ask_until_answered(&world, "meanwhile").await;
        assert_eq!(payload["message"]["body"], "meanwhile");
        eventually("readiness", || async {
            (status("/readyz").await / 100 == 2).then_some(())
        })
        .await;
        let answer = eventually("SIP answers", || {
            let (server, alice, bob) = (&world.server, &world.alice, &world.bob);
            async move {
                let mut phone = Phone::udp(server, alice).await;
                let answer = phone.message(&bob.uri(), "by SIP again").await;
                (answer.status() == 202).then_some(answer)
            }
        })
        .await;
        assert_eq!(answer.status(), 202);
        // The subscriber's stream went on or was closed to be resumed: nothing is lost or doubled.
        let mut texts = Vec::new();
        while texts.last().map(String::as_str) != Some("by SIP again") {
            match feed.see().await {
                Ok(node) if node["type"] == "MESSAGE_IN" => texts.push(text(&node["text"])),
                Ok(node) => assert_ne!(node["type"], "GAP"),
                Err(_) => feed.resume().await.unwrap(),
            }
        }
        assert_eq!(texts, ["meanwhile", "by SIP again"]);
    });
}

/// Postgres freezes and thaws: requests end in time with a clear error, and later ones work.
#[test]
fn a_frozen_database_does_not_hang_a_request_on_postgres() {
    sipgraph_testkit::run(Backend::Postgres, |database| async move {
        let (proxy, url) = through_proxy(&database).await;
        let world = World::on(Server::start_with(&url, &[]).await).await;
        proxy.hold();
        let (query, variables) = send_under_key(&world, "into the void");
        let response =
            tokio::time::timeout(Duration::from_secs(29), world.api.gql(&query, variables))
                .await
                .expect("an answer in time");
        assert!(
            matches!(
                code(&response),
                Some("UNAVAILABLE" | "UNKNOWN_OUTCOME" | "DEADLINE_EXCEEDED" | "OVERLOADED")
            ),
            "{response}"
        );
        proxy.pass();
        let payload = ask_until_answered(&world, "into the void").await;
        assert_eq!(payload["message"]["body"], "into the void");
        let stored = world.api.messages_all(json!({ "direction": "OUT" })).await;
        assert_eq!(stored.len(), 1, "{stored:?}");
    });
}

/// Two servers on one file would each believe that it is the one writer.
#[test]
fn a_second_server_on_one_file_is_refused_on_sqlite() {
    sipgraph_testkit::run(Backend::Sqlite, |database| async move {
        let world = World::start(&database).await;
        let mut command = crate::harness::server::sipgraph();
        command
            .arg("serve")
            .envs(world.server.environment.iter().cloned());
        for key in [
            "SIPGRAPH_HTTP_LISTEN",
            "SIPGRAPH_SIP_UDP_LISTEN",
            "SIPGRAPH_SIP_TCP_LISTEN",
        ] {
            command.env(key, "127.0.0.1:0");
        }
        let output = tokio::time::timeout(crate::harness::STEP, command.output())
            .await
            .expect("it ends")
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert_eq!(world.api.endpoints_count().await, 2);
    });
}

//! What survives: SIGKILL at any moment, a restart, phones that stay where they are.

use crate::harness::graphql::{mutation, text};
use crate::harness::sip::unique;
use crate::harness::sipp::{Sipp, free_port};
use crate::harness::{
    Account, Api, Feed, Phone, STEP, Value, World, both_backends, eventually, json,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Senders at one time.
const SENDERS: usize = 8;

/// How long a server that was killed holds its messages where others may share the database with it.
const LEASE: Duration = Duration::from_secs(120);

/// How often the server is killed; the environment sets another number for a long run.
fn rounds() -> usize {
    std::env::var("SIPGRAPH_KILL_ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(3)
}

/// What the clients know: for each text that was sent its message's id, if the send was acknowledged.
type Journal = Arc<Mutex<BTreeMap<String, Option<String>>>>;

/// Sends until the server is gone. Each text is its own idempotency key.
async fn send_until_killed(
    api: Api,
    from: Account,
    to: Account,
    journal: Journal,
    acknowledged: Arc<AtomicUsize>,
) {
    loop {
        let body = unique();
        journal.lock().unwrap().insert(body.clone(), None);
        match acknowledge(&api, &from, &to, &body).await {
            Some(id) => {
                journal.lock().unwrap().insert(body, Some(id));
                acknowledged.fetch_add(1, Ordering::SeqCst);
            }
            None => return,
        }
    }
}

/// Sends a text under its key; gives the message's id when it was acknowledged.
async fn acknowledge(api: &Api, from: &Account, to: &Account, body: &str) -> Option<String> {
    let input = json!({
        "from": { "endpointId": from.id }, "to": { "endpointId": to.id }, "body": body, "idempotencyKey": body,
    });
    let (query, variables) = mutation("sendMessage", "message { id body }", input);
    let response = api.try_gql(&query, variables).await.ok()?;
    let payload = &response["data"]["sendMessage"];
    assert_eq!(payload["userErrors"], json!([]), "{response}");
    assert_eq!(payload["message"]["body"], json!(body), "{response}");
    Some(text(&payload["message"]["id"]))
}

/// Reads a feed for ever, through every loss of the connection, and counts each message-out.
async fn follow(mut feed: Feed, seen: Arc<Mutex<BTreeMap<String, usize>>>) {
    loop {
        match feed.see().await {
            Ok(node) if node["type"] == "MESSAGE_OUT" => {
                *seen.lock().unwrap().entry(text(&node["text"])).or_default() += 1;
            }
            Ok(node) => assert_ne!(node["type"], "GAP", "{node}"),
            // Gone: again and again until somebody listens.
            Err(_) => {
                while feed.resume().await.is_err() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        }
    }
}

/// Sends at one time, of which a kill interrupts some.
const SENDS_AT_ONCE: usize = 200;
/// Devices that count what they get.
const DEVICES: usize = 4;

/// Waits until no message is on its way: another run's leases end first where others may share the database.
async fn all_are_final(world: &World) {
    let deadline = std::time::Instant::now() + LEASE + STEP * 2;
    loop {
        let open = world.api.messages(json!({ "status": "ACCEPTED" })).await;
        if open.is_empty() {
            return;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "still on their way: {open:?}"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

both_backends! {
    /// SIGKILL under many sends to devices that count: every accepted message ends, each device got each of its messages, and
    /// none under two Call-IDs.
    async fn each_device_gets_each_message_through_kills(database: Database) {
        let mut world = World::start(&database).await;
        let mut devices = Vec::new();
        for i in 0..DEVICES {
            let account = world.api.endpoint_create(&world.domain, &format!("device{i}")).await;
            let port = free_port();
            Sipp::register(&world.server, &account, port).await;
            devices.push((account, Sipp::collect(port)));
        }
        let mut accepted: Vec<BTreeSet<String>> = vec![BTreeSet::new(); DEVICES];
        for round in 0..rounds() {
            let acknowledged = Arc::new(AtomicUsize::new(0));
            let sends: Vec<_> = (0..SENDS_AT_ONCE)
                .map(|i| {
                    let acknowledged = Arc::clone(&acknowledged);
                    let (api, from, to) = (Api::of(&world.server), world.alice.clone(), devices[i % DEVICES].0.clone());
                    let body = unique();
                    tokio::spawn(async move {
                        let id = acknowledge(&api, &from, &to, &body).await;
                        acknowledged.fetch_add(usize::from(id.is_some()), Ordering::SeqCst);
                        (i % DEVICES, id.map(|_| body))
                    })
                })
                .collect();
            // Another moment in each round: before, within and after the deliveries.
            let enough = round * 37 % 190 + 1;
            eventually("enough acknowledged sends", || async {
                (acknowledged.load(Ordering::SeqCst) >= enough).then_some(())
            })
            .await;
            world.server.kill().await;
            for send in sends {
                let (device, body) = send.await.unwrap();
                accepted[device].extend(body);
            }
            world.server.run().await;
        }
        all_are_final(&world).await;
        let sent = world.api.messages_all(json!({ "direction": "OUT", "status": "SENT" })).await;
        let all = world.api.messages_all(json!({ "direction": "OUT" })).await;
        assert_eq!(sent.len(), all.len(), "the devices took all");
        assert!(accepted.iter().any(|texts| !texts.is_empty()), "some sends were acknowledged");
        for ((account, sipp), accepted) in devices.iter().zip(&accepted) {
            let mut got: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
            for (call_id, text) in sipp.collected() {
                got.entry(text).or_default().insert(call_id);
            }
            for text in accepted {
                assert_eq!(got.get(text).map(BTreeSet::len), Some(1), "{}: {text} came under {:?}", account.user, got.get(text));
            }
            assert!(got.values().all(|calls| calls.len() == 1), "{}: {got:?}", account.user);
        }
    }

    /// SIGKILL in the middle of concurrent sends, again and again: no acknowledged message is missing, none is there
    /// twice, and a subscriber that resumes with its cursor has each event once.
    async fn no_acknowledged_message_is_lost_by_a_kill(database: Database) {
        let mut world = World::start(&database).await;
        let journal = Journal::default();
        let seen = Arc::<Mutex<BTreeMap<String, usize>>>::default();
        let feed = Feed::open(&world.server, &world.api.event_cursor().await).await;
        let follower = tokio::spawn(follow(feed, Arc::clone(&seen)));
        for round in 0..rounds() {
            let acknowledged = Arc::new(AtomicUsize::new(0));
            let senders: Vec<_> = (0..SENDERS)
                .map(|_| {
                    let (api, from, to) = (Api::of(&world.server), world.alice.clone(), world.bob.clone());
                    tokio::spawn(send_until_killed(api, from, to, Arc::clone(&journal), Arc::clone(&acknowledged)))
                })
                .collect();
            // Another moment of the batches in each round.
            let enough = 20 + 7 * round;
            eventually("enough acknowledged sends", || async {
                (acknowledged.load(Ordering::SeqCst) >= enough).then_some(())
            })
            .await;
            world.server.kill().await;
            for sender in senders {
                sender.await.unwrap();
            }
            world.server.run().await;

            // What was not acknowledged is asked for again with its key, and then is there as well.
            let open: Vec<String> = journal.lock().unwrap().iter().filter(|(_, id)| id.is_none()).map(|(body, _)| body.clone()).collect();
            let stored = world.api.messages_all(json!({ "direction": "OUT" })).await;
            for body in open {
                let id = acknowledge(&world.api, &world.alice, &world.bob, &body).await.expect("the server is back");
                if let Some((before, _)) = stored.iter().find(|(_, text)| *text == body) {
                    assert_eq!(&id, before, "the message of the killed request is the one true result");
                }
                journal.lock().unwrap().insert(body, Some(id));
            }
            for direction in ["OUT", "IN"] {
                let stored = world.api.messages_all(json!({ "direction": direction })).await;
                let journal = journal.lock().unwrap();
                let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
                for (id, body) in &stored {
                    *counts.entry(body).or_default() += 1;
                    let known = journal.get(body).and_then(Option::as_ref);
                    assert!(direction == "IN" || known == Some(id), "round {round}: {body} is {id}, acknowledged as {known:?}");
                }
                for body in journal.keys() {
                    assert_eq!(counts.get(body.as_str()), Some(&1), "round {round}: {body} {direction}");
                }
                assert_eq!(stored.len(), journal.len(), "round {round}: nothing else is there");
            }
        }
        let all = journal.lock().unwrap().len();
        eventually("every event at the subscriber", || async { (seen.lock().unwrap().len() >= all).then_some(()) }).await;
        // One more, so that whatever was on its way twice has come.
        world.api.send(&world.alice, &world.bob, "the end").await;
        eventually("the last event", || async { seen.lock().unwrap().contains_key("the end").then_some(()) }).await;
        follower.abort();
        let seen = seen.lock().unwrap();
        for body in journal.lock().unwrap().keys() {
            assert_eq!(seen.get(body), Some(&1), "the event of {body}");
        }
        assert_eq!(seen.len(), all + 1);
    }

    /// A phone on UDP does not notice that the server was killed.
    async fn a_udp_binding_survives_a_kill(database: Database) {
        let mut world = World::start(&database).await;
        let mut phone = Phone::udp(&world.server, &world.bob).await;
        phone.come_online().await;
        let before = world.api.endpoint(&world.bob.id).await;
        world.server.kill_and_restart().await;
        let after = world.api.endpoint(&world.bob.id).await;
        assert_eq!(after["state"], "ONLINE");
        assert_eq!(after["contacts"][0]["id"], before["contacts"][0]["id"]);
        let sent = world.api.send(&world.alice, &world.bob, "still there?").await;
        assert_eq!(phone.take_message().await.body, "still there?");
        world.api.message_is(&text(&sent["id"]), "SENT").await;
        assert_eq!(world.api.log(&["ENDPOINT_STATE_CHANGED"]).await.len(), 1, "nothing was told as a change");
        // Its refresh is a refresh.
        assert_eq!(phone.register(3600).await.status(), 200);
        assert_eq!(world.api.endpoint(&world.bob.id).await["contacts"].as_array().map(Vec::len), Some(1));
    }

    /// A phone on TCP comes back and gets what waited.
    async fn a_message_waits_for_a_phone_whose_stream_is_gone(database: Database) {
        let mut world = World::start(&database).await;
        let mut phone = Phone::tcp(&world.server, &world.bob).await;
        phone.come_online().await;
        world.server.kill_and_restart().await;
        let sent = world.api.send(&world.alice, &world.bob, "wait for me").await;
        assert_eq!(sent["status"], "ACCEPTED");
        let mut again = Phone::tcp(&world.server, &world.bob).await;
        again.come_online().await;
        assert_eq!(again.take_message().await.body, "wait for me");
        world.api.message_is(&text(&sent["id"]), "SENT").await;
    }

    /// What was stored but not delivered when the server was killed is delivered by the next run, once.
    async fn a_message_on_its_way_is_delivered_by_the_next_run(database: Database) {
        let mut world = World::start(&database).await;
        let mut phone = Phone::udp(&world.server, &world.bob).await;
        phone.come_online().await;
        // The phone is silent, so that the attempt is open when the server is killed.
        phone.reply = crate::harness::phone::Reply::Silence;
        let sent = world.api.send(&world.alice, &world.bob, "through a kill").await;
        let first = phone.take_message().await;
        world.server.kill_and_restart().await;
        phone.reply = crate::harness::phone::Reply::Status(200, "OK");
        // The outcome was not known: the same request, branch and all, so that a device answers from its transaction.
        let second = phone.next_request(LEASE + STEP).await.expect("the MESSAGE again");
        for header in ["Call-ID", "CSeq"] {
            assert_eq!(first.header(header), second.header(header));
        }
        assert_eq!(first.branch(), second.branch());
        let sent = world.api.message_is(&text(&sent["id"]), "SENT").await;
        assert_eq!(sent["deliveries"].as_array().map(Vec::len), Some(1), "{sent}");
    }

    /// SIGTERM lets running requests finish and ends with 0; everything is there afterwards.
    async fn a_stopped_server_leaves_nothing_behind(database: Database) {
        let mut world = World::start(&database).await;
        let mut phone = Phone::udp(&world.server, &world.bob).await;
        phone.come_online().await;
        // A refresh is written behind, at the latest when the server stops.
        assert_eq!(phone.register(7200).await.status(), 200);
        let before = world.api.endpoint(&world.bob.id).await;
        world.server.terminate();
        assert_eq!(world.server.ended().await.code(), Some(0), "{}", world.server.log());
        world.server.run().await;
        let after = world.api.endpoint(&world.bob.id).await;
        assert_eq!(after, before);
        assert_eq!(after["contacts"][0]["expiresAt"], before["contacts"][0]["expiresAt"]);
        assert_ne!(before, Value::Null);
    }
}

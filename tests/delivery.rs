//! Delivery as senders and recipients see it: order, trace, receipts, simulated endpoints, and what no chat keeps.

use crate::harness::graphql::{list, text};
use crate::harness::phone::Reply;
use crate::harness::{
    Account, Api, Feed, Phone, Seen, Server, Sip, Socket, Value, World, both_backends, eventually,
    json,
};
use miniz_oxide::deflate::compress_to_vec_zlib;
use std::time::{Duration, Instant};

/// All that says why a message did or did not arrive, in one query.
const TRACE: &str = "query($id: ID!) { message(id: $id) { status deliveredAt displayedAt
    failure { code sipStatus reason retryable hint rfc }
    deliveries { attempt contactUri transport callId startedAt finishedAt sipStatus reason outcome nextAttemptAt possibleDuplicate } } }";

async fn trace(api: &Api, message: &Value) -> Value {
    api.data(TRACE, json!({ "id": message["id"] })).await["message"].take()
}

/// Waits for a trace that is wanted; a phone that does not answer is given up after 32 s (RFC 3261 timer F).
async fn trace_until(
    api: &Api,
    message: &Value,
    what: &str,
    wanted: impl Fn(&Value) -> bool,
) -> Value {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let seen = trace(api, message).await;
        if wanted(&seen) {
            return seen;
        }
        assert!(Instant::now() < deadline, "{what}: {seen}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn failed(api: &Api, message: &Value) -> Value {
    trace_until(api, message, "a failure", |t| t["status"] == "FAILED").await
}

async fn send_for(api: &Api, from: &Account, to: &Account, body: &str, seconds: u32) -> Value {
    let input = json!({ "from": { "endpointId": from.id }, "to": { "endpointId": to.id }, "body": body, "expiresInSeconds": seconds });
    api.send_input(input).await
}

/// Waits until attempts of a message have ended so, beside others.
async fn outcomes_are(api: &Api, message: &Value, outcomes: &[&str]) -> Value {
    let is_so = |trace: &Value| {
        let deliveries = list(&trace["deliveries"]);
        let mut seen: Vec<String> = deliveries.iter().map(|d| text(&d["outcome"])).collect();
        outcomes.iter().all(|wanted| {
            let place = seen.iter().position(|outcome| outcome == wanted);
            place.map(|place| seen.swap_remove(place)).is_some()
        })
    };
    trace_until(api, message, &format!("{outcomes:?}"), is_so).await
}

/// A report of a device on a message that it got.
fn report(message_id: &str, kind: &str, status: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<imdn xmlns=\"urn:ietf:params:xml:ns:imdn\"><message-id>{message_id}</message-id>\
         <datetime>2026-11-21T12:00:00Z</datetime><{kind}><status><{status}/></status></{kind}></imdn>"
    )
}

/// Sends a MESSAGE whose body is bytes, and gives the status of the answer.
async fn send_raw(phone: &mut Phone, to: &str, fields: &[(&str, &str)], body: &[u8]) -> u16 {
    let mut request = phone.message_request(to, "x");
    for (name, value) in fields {
        request = request.set(name, Some(value));
    }
    let challenge = phone.challenge(&request).await;
    let signed = phone.sign(request, &challenge);
    let head = signed.write().replace(
        "Content-Length: 1\r\n",
        &format!("Content-Length: {}\r\n", body.len()),
    );
    let (head, _) = head.split_once("\r\n\r\n").unwrap();
    phone
        .send_bytes(&[head.as_bytes(), b"\r\n\r\n", body].concat())
        .await;
    phone.answer_to(&signed).await.status()
}

/// The media type of typing notices (RFC 3994).
const TYPING: &str = "application/im-iscomposing+xml";

/// Has a device tell that its user types, for 90 s, and gives the status of the answer.
async fn type_from(phone: &mut Phone, to: &str) -> u16 {
    let xml = "<?xml version=\"1.0\"?><isComposing xmlns=\"urn:ietf:params:xml:ns:im-iscomposing\"><state>active</state><refresh>90</refresh></isComposing>";
    send_raw(phone, to, &[("Content-Type", TYPING)], xml.as_bytes()).await
}

async fn simulated(world: &World, name: &str, simulation: &str) -> Account {
    let input = json!({ "domainId": world.domain, "name": name, "credentials": { "password": "secret-of-it" }, "simulation": simulation });
    let payload = world
        .api
        .mutate("createEndpoint", "endpoint { id simulation }", input)
        .await;
    assert_eq!(payload["endpoint"]["simulation"], simulation, "{payload}");
    Account {
        id: text(&payload["endpoint"]["id"]),
        user: name.into(),
        password: "secret-of-it".into(),
        ..world.alice.clone()
    }
}

/// Waits until a socket is told that somebody types in a chat, or no longer does. A notice that was asked for again comes twice
/// when the first one was only late.
async fn typing(socket: &mut Socket, chat: &Value, active: bool) -> Value {
    loop {
        let told = socket.message().await["payload"]["data"]["composing"].take();
        if told["chatId"] == *chat && told["active"] == active {
            return told;
        }
    }
}

both_backends! {
    /// A message that failed for now is tried again before those behind it; one that is refused for good holds up nobody.
    async fn f131_a_message_that_failed_for_now_goes_first(database: Database) {
        let world = World::start(&database).await;
        let World { server, api, alice, bob, .. } = &world;
        let mut phone = Phone::udp(server, bob).await;
        phone.come_online().await;
        phone.reply = Reply::Status(480, "Temporarily Unavailable");
        api.send(alice, bob, "one").await;
        assert_eq!(phone.take_message().await.body, "one");
        for body in ["two", "three"] {
            api.send(alice, bob, body).await;
        }
        // Nothing else comes before the first is tried again.
        let again = phone.take_message().await;
        assert_eq!(again.body, "one", "the first is still busy");
        phone.reply = Reply::Status(200, "OK");
        let mut bodies = Vec::new();
        for _ in 0..3 {
            bodies.push(phone.take_message().await.body);
        }
        assert_eq!(bodies, ["one", "two", "three"]);
        eventually("each being SENT", || async {
            (api.messages(json!({ "status": "SENT" })).await.len() == 3).then_some(())
        })
        .await;
        phone.reply = Reply::Status(603, "Decline");
        api.send(alice, bob, "refused").await;
        assert_eq!(phone.take_message().await.body, "refused");
        phone.reply = Reply::Status(200, "OK");
        api.send(alice, bob, "next").await;
        assert_eq!(phone.take_message().await.body, "next");
    }

    /// A device that is busy for now holds up what goes to it, and nothing that goes to another device of the endpoint; what
    /// waits for it goes when the first has expired.
    async fn f131_a_busy_device_holds_up_itself_alone(database: Database) {
        let world = World::start(&database).await;
        let World { server, api, alice, bob, .. } = &world;
        let (mut busy, mut free) = (Phone::udp(server, bob).await, Phone::tcp(server, bob).await);
        busy.come_online().await;
        free.come_online().await;
        busy.reply = Reply::Status(486, "Busy Here");
        let first = send_for(api, alice, bob, "first", 3).await;
        assert_eq!((busy.take_message().await.body, free.take_message().await.body), ("first".into(), "first".into()));
        let second = api.send(alice, bob, "second").await;
        assert_eq!(free.take_message().await.body, "second");
        api.message_is(&text(&second["id"]), "SENT").await;
        busy.reply = Reply::Status(200, "OK");
        assert_eq!(busy.take_message().await.body, "second", "the first expired");
        let first = trace(api, &first).await;
        assert_eq!(first["status"], "SENT", "the other device took it: {first}");
    }

    /// A device is left in peace for as long as it asks, whoever else registers or is tried meanwhile, and no other device waits
    /// for that.
    async fn f131_retry_after_holds_at_the_contact_that_asked(database: Database) {
        let world = World::start(&database).await;
        let World { server, api, alice, bob, .. } = &world;
        let (mut away, mut busy) = (Phone::udp(server, bob).await, Phone::tcp(server, bob).await);
        away.come_online().await;
        busy.come_online().await;
        // Beyond the end of the message, and within it.
        for seconds in [3600, 3 * 24 * 3600] {
            away.reply = Reply::NotBefore(480, 18_000);
            busy.reply = Reply::Status(486, "Busy Here");
            let sent = send_for(api, alice, bob, "one", seconds).await;
            assert_eq!(away.take_message().await.body, "one");
            assert_eq!(busy.take_message().await.body, "one");
            outcomes_are(api, &sent, &["RETRYING", "RETRYING"]).await;
            busy.reply = Reply::Status(200, "OK");
            assert_eq!(busy.take_message().await.body, "one");
            api.message_is(&text(&sent["id"]), "SENT").await;

            // The next one waits for the first at the one device only; a device that is new gets it at once.
            busy.reply = Reply::Status(503, "Service Unavailable");
            let sent = send_for(api, alice, bob, "two", seconds).await;
            assert_eq!(busy.take_message().await.body, "two");
            outcomes_are(api, &sent, &["RETRYING"]).await;
            let mut new = Phone::udp(server, bob).await;
            new.come_online().await;
            assert_eq!(new.take_message().await.body, "two");
            api.message_is(&text(&sent["id"]), "SENT").await;
            busy.reply = Reply::Status(200, "OK");
            assert_eq!(busy.take_message().await.body, "two");
            outcomes_are(api, &sent, &["DELIVERED", "DELIVERED", "RETRYING"]).await;
            assert_eq!(new.register(0).await.status(), 200);
            let again = away.next_request(Duration::from_millis(500)).await;
            assert!(again.is_none(), "{again:?}");
            // What waits for it does so no longer when it is back, and what it refuses for good makes nobody wait.
            away.reply = Reply::NotBefore(603, 18_000);
            away.lose_power();
            away.come_online().await;
            assert_eq!(away.take_message().await.body, "one");
            assert_eq!(away.take_message().await.body, "two");
        }
        busy.reply = Reply::Status(486, "Busy Here");
        let sent = api.send(alice, bob, "three").await;
        assert_eq!(away.take_message().await.body, "three");
        assert_eq!(busy.take_message().await.body, "three");
        outcomes_are(api, &sent, &["REFUSED", "RETRYING"]).await;
        busy.reply = Reply::Status(200, "OK");
        assert_eq!(busy.take_message().await.body, "three");
        api.message_is(&text(&sent["id"]), "SENT").await;
    }

    /// What may change is tried again until it arrives: each such status, silence, and a connection that breaks.
    async fn f131_what_failed_for_now_is_sent_at_last(database: Database) {
        let world = World::start(&database).await;
        let World { server, api, domain, alice, bob } = &world;
        let silent = api.endpoint_create(domain, "silent").await;
        let mut asleep = Phone::udp(server, &silent).await;
        asleep.come_online().await;
        asleep.reply = Reply::Silence;
        let timed_out = api.send(alice, &silent, "anybody?").await;
        let unanswered = asleep.take_message().await;

        let mut phones = Vec::new();
        for status in [408, 480, 486, 500, 503, 504] {
            let account = api.endpoint_create(domain, &format!("says{status}")).await;
            let mut phone = Phone::udp(server, &account).await;
            phone.come_online().await;
            phone.reply = Reply::Status(status, "Not Now");
            let sent = api.send(alice, &account, "later, then").await;
            phone.take_message().await;
            phone.reply = Reply::Status(200, "OK");
            phones.push((status, phone, sent));
        }
        for (status, phone, sent) in &mut phones {
            assert_eq!(phone.take_message().await.body, "later, then", "{status}");
            let sent = api.message_is(&text(&sent["id"]), "SENT").await;
            let outcomes: Vec<_> = list(&sent["deliveries"]).iter().map(|d| (text(&d["outcome"]), d["sipStatus"].clone())).collect();
            assert_eq!(outcomes, [("RETRYING".into(), json!(*status)), ("DELIVERED".into(), json!(200))]);
        }

        // Longer than the first wait, which is 5 s at most.
        let mut phone = Phone::udp(server, bob).await;
        phone.come_online().await;
        phone.reply = Reply::NotBefore(503, 7);
        let asked_at = Instant::now();
        let sent = api.send(alice, bob, "in seven seconds").await;
        let first = phone.take_message().await;
        phone.reply = Reply::Status(200, "OK");
        let second = phone.take_message().await;
        assert!(asked_at.elapsed() >= Duration::from_secs(7), "{:?}", asked_at.elapsed());
        assert_eq!((first.header("Call-ID"), second.body.as_str()), (second.header("Call-ID"), "in seven seconds"));
        api.message_is(&text(&sent["id"]), "SENT").await;
        assert_eq!(phone.register(0).await.status(), 200);

        let mut phone = Phone::tcp(server, bob).await;
        phone.come_online().await;
        phone.reply = Reply::Silence;
        let broken = api.send(alice, bob, "hold on").await;
        phone.take_message().await;
        phone.hang_up().await;
        outcomes_are(api, &broken, &["TRANSPORT_ERROR"]).await;
        let mut phone = Phone::tcp(server, bob).await;
        phone.come_online().await;
        assert_eq!(phone.take_message().await.body, "hold on");
        api.message_is(&text(&broken["id"]), "SENT").await;

        outcomes_are(api, &timed_out, &["TIMEOUT"]).await;
        asleep.reply = Reply::Status(200, "OK");
        // What it was sent again and again meanwhile is still to be read.
        let mut again = asleep.take_message().await;
        while again.branch() == unanswered.branch() {
            again = asleep.take_message().await;
        }
        assert_eq!(again.header("Call-ID"), unanswered.header("Call-ID"));
        api.message_is(&text(&timed_out["id"]), "SENT").await;
    }

    /// One query says why a message did or did not arrive: sent, busy, timed out, refused, expired, too long.
    async fn h159_one_query_says_why_it_did_not_arrive(database: Database) {
        let world = World::start(&database).await;
        let carol = world.api.endpoint_create(&world.domain, "carol").await;
        let World { server, api, alice, bob, .. } = &world;
        let mut silent = Phone::udp(server, &carol).await;
        silent.come_online().await;
        silent.reply = Reply::Silence;
        let timed_out = api.send(alice, &carol, "anybody?").await;

        let none = send_for(api, alice, bob, "to nobody", 1).await;
        let none = failed(api, &none).await;
        assert_eq!((&none["failure"]["code"], &none["failure"]["sipStatus"], &none["failure"]["retryable"]), (&json!("EXPIRED"), &Value::Null, &json!(true)));
        assert!(text(&none["failure"]["hint"]).contains("registered") && list(&none["deliveries"]).is_empty(), "{none}");

        let mut phone = Phone::udp(server, bob).await;
        phone.come_online().await;
        let sent = api.send(alice, bob, "well").await;
        phone.take_message().await;
        let sent = trace_until(api, &sent, "SENT", |t| t["status"] == "SENT").await;
        let delivery = &sent["deliveries"][0];
        assert_eq!((&sent["failure"], &delivery["outcome"], &delivery["sipStatus"], &delivery["reason"]), (&Value::Null, &json!("DELIVERED"), &json!(200), &json!("OK")));
        assert_eq!((&delivery["contactUri"], &delivery["transport"], &delivery["attempt"]), (&json!(phone.contact()), &json!("UDP"), &json!(1)));
        assert!(delivery["finishedAt"].as_str() >= delivery["startedAt"].as_str() && delivery["nextAttemptAt"].is_null(), "{delivery}");

        // The recipient's copy tells the same.
        let copy = api.messages(json!({ "endpointId": bob.id, "direction": "IN" })).await.swap_remove(0);
        assert_eq!((copy["body"].as_str(), copy["deliveries"].as_array().map(Vec::len)), (Some("well"), Some(1)), "{copy}");
        assert_eq!(copy["deliveries"][0]["callId"], delivery["callId"]);

        phone.reply = Reply::Status(603, "Decline");
        let refused = api.send(alice, bob, "no thanks").await;
        phone.take_message().await;
        let refused = failed(api, &refused).await;
        assert_eq!((&refused["failure"]["code"], &refused["failure"]["reason"], &refused["failure"]["retryable"]), (&json!("REFUSED"), &json!("Decline"), &json!(false)));
        assert_eq!(refused["deliveries"][0]["outcome"], "REFUSED");

        let long = api.send(alice, bob, &"long ".repeat(1000)).await;
        let long = failed(api, &long).await;
        assert_eq!((&long["failure"]["code"], &long["failure"]["rfc"]), (&json!("TOO_LARGE"), &json!("RFC 3428 section 8")), "{long}");

        phone.reply = Reply::Status(486, "Busy Here");
        let busy = send_for(api, alice, bob, "are you free?", 6).await;
        phone.take_message().await;
        let waiting = trace_until(api, &busy, "an attempt that ended", |t| t["deliveries"][0]["outcome"] == "RETRYING").await;
        let next = &waiting["deliveries"][0]["nextAttemptAt"];
        assert!(next.as_str() > waiting["deliveries"][0]["finishedAt"].as_str(), "{waiting}");
        phone.take_message().await;
        let busy = failed(api, &busy).await;
        assert_eq!((&busy["failure"]["code"], &busy["failure"]["sipStatus"], &busy["failure"]["reason"]), (&json!("EXPIRED"), &json!(486), &json!("Busy Here")), "{busy}");
        assert!(busy["deliveries"].as_array().unwrap().iter().all(|d| d["nextAttemptAt"].is_null() || d["outcome"] == "RETRYING"));

        let timed_out = trace_until(api, &timed_out, "a timeout", |t| t["deliveries"][0]["outcome"] == "TIMEOUT").await;
        assert_eq!(timed_out["deliveries"][0]["sipStatus"], Value::Null);
        assert!(timed_out["deliveries"][0]["reason"].is_string(), "{timed_out}");
    }

    /// What a device reports is noted at the sender's copy, and changes no status.
    async fn h160_receipts_are_noted(database: Database) {
        let world = World::start(&database).await;
        let carol = world.api.endpoint_create(&world.domain, "carol").await;
        let World { server, api, alice, bob, .. } = &world;
        let (mut phone, mut other) = (Phone::tcp(server, bob).await, Phone::tcp(server, &carol).await);
        phone.come_online().await;
        let mut feed = Feed::open(server, &api.event_cursor().await).await;
        let imdn = ("Content-Type", "message/imdn+xml");
        let deflate = ("Content-Encoding", "deflate");
        // Plain, compressed as Linphone does, and in CPIM.
        let plain = |xml: &str| (vec![imdn], xml.as_bytes().to_vec());
        let packed = |xml: &str| (vec![imdn, deflate], compress_to_vec_zlib(xml.as_bytes(), 6));
        let cpim = |xml: &str| {
            let wrapped = format!("From: <im:bob@example.test>\r\nNS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: 1\r\n\r\nContent-Type: message/imdn+xml\r\n\r\n{xml}");
            (vec![("Content-Type", "message/cpim")], wrapped.into_bytes())
        };
        type Form<'a> = &'a dyn Fn(&str) -> (Vec<(&'static str, &'static str)>, Vec<u8>);
        let forms: [Form<'_>; 3] = [&plain, &packed, &cpim];
        for form in forms {
            let sent = api.send(alice, bob, "did you see it?").await;
            let call_id = phone.take_message().await.header("Call-ID").to_owned();
            api.message_is(&text(&sent["id"]), "SENT").await;
            let delivered = report(&call_id, "delivery-notification", "delivered");
            // Another endpoint's report changes nothing, nor one on nothing.
            let (fields, body) = form(&delivered);
            assert_eq!(send_raw(&mut other, &alice.uri(), &fields, &body).await, 200);
            let (fields, body) = form(&report("1234", "delivery-notification", "delivered"));
            assert_eq!(send_raw(&mut phone, &alice.uri(), &fields, &body).await, 200);
            let seen = trace(api, &sent).await;
            assert_eq!((&seen["deliveredAt"], &seen["displayedAt"]), (&Value::Null, &Value::Null));
            let (fields, body) = form(&delivered);
            assert_eq!(send_raw(&mut phone, &alice.uri(), &fields, &body).await, 200);
            let seen = trace(api, &sent).await;
            assert!(seen["deliveredAt"].is_string() && seen["displayedAt"].is_null(), "{seen}");
            assert_eq!(feed.next("MESSAGE_UPDATED").await["messageId"], sent["id"]);
            let (fields, body) = form(&report(&call_id, "display-notification", "displayed"));
            assert_eq!(send_raw(&mut phone, &alice.uri(), &fields, &body).await, 200);
            assert_eq!(feed.next("MESSAGE_UPDATED").await["messageId"], sent["id"]);
            let again = trace(api, &sent).await;
            assert_eq!((&again["deliveredAt"], &again["status"]), (&seen["deliveredAt"], &json!("SENT")));
            assert!(again["displayedAt"].is_string(), "{again}");
        }
        // A report is no message, and one that inflates to too much is refused.
        assert_eq!(api.messages(json!({ "endpointId": bob.id, "direction": "OUT" })).await.len(), 0);
        // One of 100 MB is too long even before it is inflated, and ends the connection.
        for (mib, phone) in [(20, &mut phone), (100, &mut other)] {
            let bomb = compress_to_vec_zlib(&vec![b' '; mib * 1024 * 1024], 9);
            assert_eq!(send_raw(phone, &alice.uri(), &[imdn, deflate], &bomb).await, 413, "{mib} MiB");
        }
        let sent = api.send(alice, bob, "still there?").await;
        phone.take_message().await;
        api.message_is(&text(&sent["id"]), "SENT").await;
    }

    /// A phone gets the reports on what it wrote, by the Call-ID that it gave; on what the API sent it gets none.
    async fn h160_phones_get_the_reports_on_what_they_wrote(database: Database) {
        let world = World::start(&database).await;
        let World { server, api, alice, bob, .. } = &world;
        let (mut writer, mut reader) = (Phone::udp(server, alice).await, Phone::tcp(server, bob).await);
        writer.come_online().await;
        reader.come_online().await;
        let imdn = [("Content-Type", "message/imdn+xml")];
        let dispositions = [("delivery-notification", "delivered"), ("display-notification", "displayed")];
        let by_api = api.send(alice, bob, "by API").await;
        let call_id = reader.take_message().await.header("Call-ID").to_owned();
        let (kind, status) = dispositions[0];
        assert_eq!(send_raw(&mut reader, &alice.uri(), &imdn, report(&call_id, kind, status).as_bytes()).await, 200);
        assert!(trace(api, &by_api).await["deliveredAt"].is_string());

        let request = writer.message_request(&bob.uri(), "by phone").set("Call-ID", Some("a<b>c@phone"));
        let (answer, _) = writer.ask_signed(request).await;
        assert_eq!(answer.status(), 202, "{answer:?}");
        let call_id = reader.take_message().await.header("Call-ID").to_owned();
        for (kind, status) in dispositions {
            // What is told again is not passed on again.
            for _ in 0..2 {
                assert_eq!(send_raw(&mut reader, &alice.uri(), &imdn, report(&call_id, kind, status).as_bytes()).await, 200);
            }
            let told = writer.take_message().await;
            assert_eq!(told.header("Content-Type"), "message/imdn+xml", "{told:?}");
            assert!(told.header("From").contains(&bob.uri()), "{told:?}");
            for part in ["<message-id>a&lt;b&gt;c@phone</message-id>", "<datetime>20", &format!("<{kind}><status><{status}/></status></{kind}>")] {
                assert!(told.body.contains(part), "{part} in {told:?}");
            }
        }
        let query = "{ messages(first: 1, filter: { direction: OUT }) { nodes { body idempotencyKey deliveredAt displayedAt } } }";
        let sent = api.data(query, json!({})).await["messages"]["nodes"][0].take();
        assert_eq!((&sent["body"], &sent["idempotencyKey"]), (&json!("by phone"), &Value::Null));
        assert!(sent["deliveredAt"].is_string() && sent["displayedAt"].is_string(), "{sent}");
    }

    /// Typing reaches the other side's devices and those who look; it is neither stored nor told in the log.
    async fn h161_typing_is_told_live_and_kept_nowhere(database: Database) {
        let world = World::start(&database).await;
        let World { server, api, alice, bob, .. } = &world;
        let (mut phone, mut other) = (Phone::tcp(server, bob).await, Phone::udp(server, alice).await);
        phone.come_online().await;
        other.come_online().await;
        let sent = api.send(alice, bob, "hello").await;
        phone.take_message().await;
        api.message_is(&text(&sent["id"]), "SENT").await;
        let alices = api.chats(json!({ "endpointId": alice.id })).await[0]["id"].clone();
        let bobs = api.chats(json!({ "endpointId": bob.id })).await[0]["id"].clone();
        let mut socket = Socket::open(server, &server.token).await;
        let query = "subscription($c: [ID!], $e: [ID!]) { composing(chatIds: $c, endpointIds: $e) { chatId peer active expiresAt } }";
        socket.subscribe("typing", query, json!({ "c": [alices, bobs], "e": null })).await;
        let before = api.log(&[]).await.len();
        let mut seen = Vec::new();
        for active in [true, false] {
            // Again until the subscription has begun: what is told before it is lost.
            let notice = loop {
                let payload = api.mutate("setComposing", "active", json!({ "chatId": alices, "active": active })).await;
                assert_eq!(payload["active"], active, "{payload}");
                let notice = phone.take_message().await;
                assert!(notice.header("Content-Type").starts_with(TYPING), "{notice:?}");
                assert_eq!(notice.body.contains("<state>active</state>"), active, "{notice:?}");
                let told = typing(&mut socket, &bobs, active);
                if let Ok(notice) = tokio::time::timeout(Duration::from_millis(500), told).await {
                    break notice;
                }
            };
            assert_eq!(notice["peer"], "alice@example.test", "{notice}");
            seen.push(text(&notice["expiresAt"]));
        }
        assert!(seen[0] > seen[1], "typing lasts, not typing does not: {seen:?}");
        // A device's notice comes to those who look, and to the other side's devices.
        assert_eq!(type_from(&mut phone, &alice.uri()).await, 200);
        let notice = typing(&mut socket, &alices, true).await;
        assert_eq!(notice["peer"], "bob@example.test", "{notice}");
        let heard = other.take_message().await;
        assert!(heard.header("Content-Type").starts_with(TYPING) && heard.header("From").contains(&bob.uri()), "{heard:?}");
        assert!(heard.body.contains("<state>active</state>") && heard.body.contains("<refresh>90</refresh>"), "{heard:?}");
        // Who looks at one endpoint hears of its chats alone.
        let mut narrow = Socket::open(server, &server.token).await;
        narrow.subscribe("narrow", query, json!({ "c": null, "e": [alice.id] })).await;
        let notice = loop {
            api.mutate("setComposing", "active", json!({ "chatId": alices })).await;
            assert_eq!(type_from(&mut phone, &alice.uri()).await, 200);
            if let Some(Seen::Message(message)) = narrow.see_within(Duration::from_millis(500)).await {
                break message["payload"]["data"]["composing"].clone();
            }
        };
        assert_eq!(notice["chatId"], alices, "{notice}");
        assert_eq!(api.messages(json!({})).await.len(), 2);
        assert_eq!(api.log(&[]).await.len(), before, "nothing is in the log");
        api.refused_at("setComposing", json!({ "chatId": "nonsense" }), "NOT_FOUND", "chatId").await;
    }

    /// Phones hear of each other's typing also where no chat keeps what they say.
    async fn h161_phones_hear_of_typing_without_a_chat(database: Database) {
        let server = Server::start(&database).await;
        let api = Api::of(&server);
        let domain = api.domain_create("private.test", false).await;
        let (alice, bob) = (api.endpoint_create(&domain, "alice").await, api.endpoint_create(&domain, "bob").await);
        let (mut from, mut to) = (Phone::tcp(&server, &alice).await, Phone::udp(&server, &bob).await);
        to.come_online().await;
        let before = api.event_cursor().await;
        assert_eq!(type_from(&mut from, &bob.uri()).await, 200);
        let heard = to.take_message().await;
        assert!(heard.header("Content-Type").starts_with(TYPING) && heard.header("From").contains(&alice.uri()), "{heard:?}");
        assert_eq!(api.event_cursor().await, before, "nothing is in the log");
        assert_eq!(type_from(&mut from, "sip:nobody@private.test").await, 200);
        assert_eq!((api.messages(json!({})).await.len(), api.chats(json!({})).await.len()), (0, 0));
    }

    /// Every end of a delivery can be tried without a phone.
    async fn h165_simulated_endpoints_behave_as_they_are_called(database: Database) {
        let world = World::start(&database).await;
        let World { api, alice, .. } = &world;
        let echo = simulated(&world, "echo", "ECHO").await;
        let sent = api.send(alice, &echo, "hello?").await;
        let sent = trace_until(api, &sent, "SENT", |t| t["status"] == "SENT").await;
        assert_eq!((&sent["deliveries"][0]["outcome"], &sent["deliveries"][0]["sipStatus"]), (&json!("DELIVERED"), &json!(200)));
        assert!(text(&sent["deliveries"][0]["contactUri"]).contains("simulated.invalid"), "{sent}");
        eventually("the echo", || async {
            let heard = api.bodies(json!({ "endpointId": alice.id, "direction": "IN" })).await;
            (heard == ["hello?"]).then_some(())
        })
        .await;
        // Two echoes do not answer each other: an echo is stored before its message is SENT.
        let second = simulated(&world, "echo2", "ECHO").await;
        let between = api.send(&echo, &second, "hello, echo").await;
        trace_until(api, &between, "SENT", |t| t["status"] == "SENT").await;
        assert_eq!(api.messages(json!({ "endpointId": second.id, "direction": "OUT" })).await.len(), 0);
        let offline = simulated(&world, "offline", "OFFLINE").await;
        let lost = send_for(api, alice, &offline, "hello?", 1).await;
        let lost = failed(api, &lost).await;
        assert_eq!((&lost["failure"]["code"], list(&lost["deliveries"]).len()), (&json!("EXPIRED"), 0), "{lost}");
        let busy = simulated(&world, "busy", "BUSY").await;
        let refused = send_for(api, alice, &busy, "hello?", 2).await;
        let refused = failed(api, &refused).await;
        assert_eq!((&refused["failure"]["code"], &refused["failure"]["sipStatus"]), (&json!("EXPIRED"), &json!(486)), "{refused}");
        assert_eq!(refused["deliveries"][0]["outcome"], "RETRYING");
        let slow = simulated(&world, "slow", "SLOW").await;
        let late = api.send(alice, &slow, "hello?").await;
        assert_eq!(late["status"], "ACCEPTED");
        let late = trace_until(api, &late, "SENT", |t| t["status"] == "SENT").await;
        let delivery = &late["deliveries"][0];
        assert!(delivery["finishedAt"].as_str() > delivery["startedAt"].as_str(), "{late}");
        let flaky = simulated(&world, "flaky", "FLAKY").await;
        for _ in 0..2 {
            let sent = api.send(alice, &flaky, "hello?").await;
            let sent = trace_until(api, &sent, "SENT", |t| t["status"] == "SENT").await;
            let deliveries = list(&sent["deliveries"]);
            let seen: Vec<_> = deliveries.iter().map(|d| (&d["outcome"], &d["sipStatus"])).collect();
            assert_eq!(seen, [(&json!("RETRYING"), &json!(503)), (&json!("DELIVERED"), &json!(200))], "{sent}");
        }
        let taken = api.messages(json!({ "endpointId": slow.id, "direction": "IN" })).await;
        assert_eq!(taken.len(), 1, "a simulated endpoint has its chats too");
    }

    /// What two devices say and no chat keeps reaches a device that comes later, and its trace tells so without its text.
    async fn h166_an_unrecorded_message_is_delivered_and_traced(database: Database) {
        let mut server = Server::start(&database).await;
        let api = Api::of(&server);
        let domain = api.domain_create("private.test", false).await;
        let (alice, bob) = (api.endpoint_create(&domain, "alice").await, api.endpoint_create(&domain, "bob").await);
        let start = api.event_cursor().await;
        let mut from = Phone::udp(&server, &alice).await;
        assert_eq!(from.message(&bob.uri(), "between us").await.status(), 202);
        let mut late = Phone::udp(&server, &bob).await;
        late.come_online().await;
        let got: Sip = late.take_message().await;
        assert_eq!(got.body, "between us");
        assert_eq!(api.messages(json!({})).await.len(), 0);
        let query = "query($after: Cursor) { events(first: 1, after: $after, filter: { types: [TEXT_MESSAGE_RECEIVED] }) {
            edges { node { ... on TextMessageReceived { body deliveries { outcome callId sipStatus } } } } } }";
        let read = |api: Api, start: String| async move {
            let data = api.data(query, json!({ "after": start })).await;
            data["events"]["edges"][0]["node"].clone()
        };
        let event = eventually("the trace of the message", || async {
            let event = read(Api::of(&server), start.clone()).await;
            (event["deliveries"][0]["outcome"] == "DELIVERED").then_some(event)
        })
        .await;
        assert_eq!((&event["body"], &event["deliveries"][0]["callId"]), (&json!("between us"), &json!(got.header("Call-ID"))));
        // After the configured time the text is gone; the trace stays.
        server.environment.push(("SIPGRAPH_MESSAGES_UNRECORDED_TEXT_S".into(), "1".into()));
        tokio::time::sleep(Duration::from_millis(1100)).await;
        server.kill_and_restart().await;
        let event = eventually("the text being gone", || async {
            let event = read(Api::of(&server), start.clone()).await;
            event["body"].is_null().then_some(event)
        })
        .await;
        assert_eq!(event["deliveries"][0]["outcome"], "DELIVERED");
    }

    /// Where messages do not wait, a message fails at once when no device takes it.
    async fn f132_without_store_and_forward_a_message_fails_at_once(database: Database) {
        let world = World::on(Server::start_with(database.url(), &[("SIPGRAPH_MESSAGES_STORE_AND_FORWARD", "false")]).await).await;
        let World { server, api, alice, bob, .. } = &world;
        let nobody = api.send(alice, bob, "now or never").await;
        assert_eq!(failed(api, &nobody).await["failure"]["code"], "NO_CONTACT");
        let mut phone = Phone::udp(server, bob).await;
        phone.come_online().await;
        phone.reply = Reply::Status(486, "Busy Here");
        let busy = api.send(alice, bob, "busy?").await;
        phone.take_message().await;
        let busy = failed(api, &busy).await;
        assert_eq!((&busy["failure"]["code"], &busy["failure"]["sipStatus"], list(&busy["deliveries"]).len()), (&json!("UNREACHABLE"), &json!(486), 1), "{busy}");
        phone.reply = Reply::Status(200, "OK");
        let sent = api.send(alice, bob, "and now?").await;
        phone.take_message().await;
        api.message_is(&text(&sent["id"]), "SENT").await;
    }

    /// A device whose connection went with the server is not waited for either where messages do not wait.
    async fn f132_without_store_and_forward_nobody_waits_for_a_lost_connection(database: Database) {
        let mut world = World::on(Server::start_with(database.url(), &[("SIPGRAPH_MESSAGES_STORE_AND_FORWARD", "false")]).await).await;
        Phone::tcp(&world.server, &world.bob).await.come_online().await;
        world.server.kill_and_restart().await;
        let World { server, api, alice, bob, .. } = &world;
        let lost = api.send(alice, bob, "are you back?").await;
        let lost = failed(api, &lost).await;
        assert_eq!((&lost["failure"]["code"], &lost["deliveries"]), (&json!("UNREACHABLE"), &json!([])), "{lost}");
        let mut other = Phone::udp(server, bob).await;
        other.come_online().await;
        let sent = api.send(alice, bob, "to the other").await;
        assert_eq!(other.take_message().await.body, "to the other");
        api.message_is(&text(&sent["id"]), "SENT").await;
        other.reply = Reply::Status(603, "Decline");
        let refused = api.send(alice, bob, "to nobody").await;
        other.take_message().await;
        let refused = failed(api, &refused).await;
        assert_eq!((&refused["failure"]["code"], &refused["failure"]["sipStatus"]), (&json!("UNREACHABLE"), &json!(603)), "{refused}");
        // It is back, and nothing of all that waits for it.
        let mut back = Phone::tcp(server, bob).await;
        back.come_online().await;
        api.send(alice, bob, "welcome").await;
        assert_eq!(back.take_message().await.body, "welcome");
    }

    /// A message waits for a device whose connection went with the server, and fails with the end of that device's binding when all
    /// the others have refused.
    async fn f132_the_end_of_the_last_open_contact_decides(database: Database) {
        let mut world = World::start(&database).await;
        let mut lost = Phone::tcp(&world.server, &world.bob).await;
        lost.come_online().await;
        let mut refuses = Phone::udp(&world.server, &world.bob).await;
        refuses.come_online().await;
        world.server.kill_and_restart().await;
        let World { server, api, alice, bob, .. } = &world;
        let mut feed = Feed::open(server, &api.event_cursor().await).await;
        refuses.reply = Reply::Status(603, "Decline");
        let sent = api.send(alice, bob, "anybody else?").await;
        refuses.take_message().await;
        let open = outcomes_are(api, &sent, &["REFUSED"]).await;
        assert_eq!(open["status"], "ACCEPTED", "{open}");
        let answer = refuses.register_contact(&format!("<{}>;expires=0", lost.contact())).await;
        assert_eq!(answer.status(), 200, "{answer:?}");
        let ended = failed(api, &sent).await;
        assert_eq!((&ended["failure"]["code"], &ended["failure"]["sipStatus"]), (&json!("REFUSED"), &json!(603)), "{ended}");

        // A device that may be tried again only in an hour leaves: the same.
        lost = Phone::tcp(server, bob).await;
        lost.come_online().await;
        lost.reply = Reply::NotBefore(480, 3600);
        let second = api.send(alice, bob, "and now?").await;
        refuses.take_message().await;
        lost.take_message().await;
        outcomes_are(api, &second, &["REFUSED", "RETRYING"]).await;
        assert_eq!(lost.register(0).await.status(), 200);
        failed(api, &second).await;
        let end = json!(second["id"]);
        let told = feed.all_until(|event| event["type"] == "MESSAGE_OUT_STATUS" && event["messageId"] == end).await;
        let statuses = told.iter().filter(|event| event["type"] == "MESSAGE_OUT_STATUS");
        let statuses: Vec<_> = statuses.map(|event| (&event["messageId"], &event["status"])).collect();
        let failed = json!("FAILED");
        assert_eq!(statuses, [(&sent["id"], &failed), (&second["id"], &failed)]);
    }
}

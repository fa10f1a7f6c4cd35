//! What strangers may do: failures are visible and explained, scanners are banned, others are not.

use crate::harness::graphql::{list, text};
use crate::harness::server::ALL_SCOPES;
use crate::harness::sip::{Algorithm, Challenge};
use crate::harness::{
    Account, Api, Database, Feed, Phone, Server, Sip, Value, World, both_backends, eventually, json,
};
use std::time::{Duration, Instant};

const FAILURE: &str = "id at count reason aor source transport endpoint { name }";

/// How long nothing must come before a test takes silence for granted.
const SILENCE: Duration = Duration::from_millis(700);

/// The same account with another password.
fn with_password(account: &Account, password: &str) -> Account {
    Account {
        password: password.to_owned(),
        ..account.clone()
    }
}

fn named(account: &Account, user: &str) -> Account {
    Account {
        user: user.to_owned(),
        ..account.clone()
    }
}

async fn failures(api: &Api, filter: Value) -> Vec<Value> {
    let query = format!(
        "query($filter: RegistrationFailureFilter) {{ registrationFailures(first: 1000, filter: $filter) {{ nodes {{ {FAILURE} }} }} }}"
    );
    let data = api.data(&query, json!({ "filter": filter })).await;
    list(&data["registrationFailures"]["nodes"])
}

/// Waits for the failure of a reason at a source.
async fn failure(api: &Api, source: &str, reason: &str) -> Value {
    let what = format!("{reason} of {source}");
    eventually(&what, || async {
        let found = failures(api, json!({ "source": source, "reason": reason })).await;
        found.into_iter().next()
    })
    .await
}

/// Registers and gives the final answer, or nothing when there is none.
async fn answer_within(phone: &mut Phone, within: Duration) -> Option<Sip> {
    let request = phone.register_request();
    phone.send(&request).await;
    phone.anything(within).await
}

/// Fails on so many users from one address.
async fn scan(world: &World, address: &str, users: usize) {
    let mut phone = Phone::udp_from(address, &world.server, &world.bob).await;
    for n in 0..users {
        phone.account = named(&with_password(&world.bob, "guess"), &format!("user{n}"));
        assert_eq!(phone.register(600).await.status(), 401, "{n}");
    }
}

both_backends! {
    /// Each reason once, told by a phone; no secret among it.
    async fn j170_each_failure_tells_its_reason(database: Database) {
        let world = World::start(&database).await;
        let World { server, api, bob, .. } = &world;
        let mut feed = Feed::open(server, &api.event_cursor().await).await;
        let wrong = with_password(bob, "wrong-password");
        let input = json!({ "domainId": world.domain, "name": "dora", "enabled": false, "credentials": { "password": "secret-of-dora" } });
        let dora = text(&api.mutate("createEndpoint", "endpoint { id }", input).await["endpoint"]["id"]);

        assert_eq!(Phone::udp_from("127.0.0.11", server, &named(bob, "nobody")).await.register(600).await.status(), 401);
        let unknown = failure(api, "127.0.0.11", "UNKNOWN_USER").await;
        assert_eq!((&unknown["aor"], &unknown["endpoint"], &unknown["transport"]), (&json!("nobody@example.test"), &Value::Null, &json!("UDP")));

        let mut phone = Phone::tcp_from("127.0.0.12", server, &wrong).await;
        for _ in 0..3 {
            assert_eq!(phone.register(600).await.status(), 401);
        }
        let seen = eventually("three failures", || async {
            let seen = failure(api, "127.0.0.12", "WRONG_PASSWORD").await;
            (seen["count"] == 3).then_some(seen)
        }).await;
        assert_eq!((&seen["aor"], &seen["endpoint"]["name"], &seen["transport"]), (&json!("bob@example.test"), &json!("bob"), &json!("TCP")));

        // A proof that is used twice.
        let mut phone = Phone::udp_from("127.0.0.13", server, bob).await;
        let request = phone.register_request();
        let (answer, signed) = phone.ask_signed(request).await;
        assert_eq!(answer.status(), 200, "{answer:?}");
        let via = signed.header("Via").replace(&signed.branch(), "z9hG4bKagain");
        let again = phone.ask(&signed.clone().set("Via", Some(&via))).await;
        assert!(again.header("WWW-Authenticate").contains("stale=true"), "{again:?}");
        failure(api, "127.0.0.13", "STALE_NONCE").await;

        let disabled = Account { id: dora, user: "dora".into(), ..with_password(bob, "secret-of-dora") };
        assert_eq!(Phone::udp_from("127.0.0.14", server, &disabled).await.register(600).await.status(), 403);
        failure(api, "127.0.0.14", "DISABLED").await;

        let mut phone = Phone::udp_from("127.0.0.15", server, bob).await;
        assert_eq!(phone.register_contact("<mailto:bob@example.test>").await.status(), 400);
        let mut phone = Phone::tcp_from("127.0.0.16", server, bob).await;
        let request = phone.register_request().with("Authorization", "Digest realm=\"example.test\"");
        assert_eq!(phone.ask(&request).await.status(), 400);
        for source in ["127.0.0.15", "127.0.0.16"] {
            failure(api, source, "MALFORMED").await;
        }

        // The domain offers MD5 alone.
        let mut phone = Phone::udp_from("127.0.0.17", server, bob).await;
        let request = phone.register_request();
        let challenge = Challenge { algorithm: Algorithm::Sha256, ..phone.challenge(&request).await };
        let signed = phone.sign(request, &challenge);
        assert_eq!(phone.ask(&signed).await.status(), 401);
        failure(api, "127.0.0.17", "ALGORITHM").await;

        scan(&world, "127.0.0.18", 20).await;
        let banned = failure(api, "127.0.0.18", "BANNED").await;
        assert_eq!(banned["aor"], "user19@example.test");

        // The same as events, with the endpoint where there is one.
        let event = feed.next("REGISTRATION_FAILED").await;
        assert_eq!((&event["failure"], &event["source"], &event["aor"]), (&json!("UNKNOWN_USER"), &json!("127.0.0.11"), &json!("nobody@example.test")));
        let event = feed.next("REGISTRATION_FAILED").await;
        assert_eq!((&event["failure"], &event["sender"]), (&json!("WRONG_PASSWORD"), &json!(bob.id)));
        let log = server.log();
        for secret in ["wrong-password", "secret-of", "response="] {
            assert!(!log.contains(secret), "{secret} in the log");
        }
    }

    /// A banned source gets no answer at all, others do; `liftBan` lets it in at once.
    async fn j170_a_ban_is_silence_and_is_lifted_at_once(database: Database) {
        let world = World::start(&database).await;
        let World { server, api, bob, .. } = &world;
        scan(&world, "127.0.0.21", 20).await;
        let mut udp = Phone::udp_from("127.0.0.21", server, bob).await;
        let mut tcp = Phone::tcp_from("127.0.0.21", server, bob).await;
        assert_eq!(answer_within(&mut udp, SILENCE).await, None);
        assert_eq!(answer_within(&mut tcp, SILENCE).await, None);
        Phone::udp_from("127.0.0.22", server, bob).await.come_online().await;

        api.refused_at("liftBan", json!({ "source": "127.0.0.21:5060" }), "VALIDATION", "source").await;
        api.refused_at("liftBan", json!({ "source": "192.0.2.1" }), "NOT_FOUND", "source").await;
        let input = json!({ "source": "127.0.0.21", "idempotencyKey": "lift" });
        for replayed in [false, true] {
            let payload = api.mutate("liftBan", "source replayed", input.clone()).await;
            assert_eq!((&payload["source"], &payload["replayed"], &payload["userErrors"]), (&json!("127.0.0.21"), &json!(replayed), &json!([])));
        }
        Phone::tcp_from("127.0.0.21", server, bob).await.come_online().await;
        assert_eq!(udp.register(600).await.status(), 200);
    }

    /// Who may see failures and lift bans.
    async fn j170_failures_and_bans_need_their_scopes(database: Database) {
        let world = World::start(&database).await;
        let World { server, api, alice, bob, .. } = &world;
        for (address, account) in [("127.0.0.31", alice), ("127.0.0.32", bob)] {
            Phone::udp_from(address, server, &with_password(account, "wrong")).await.register(600).await;
            failure(api, address, "WRONG_PASSWORD").await;
        }
        let plain = server.token_create("acme", "endpoints.manage", &[]).await;
        let plain = api.as_token(Some(&plain));
        assert_eq!(plain.error("{ registrationFailures { nodes { id } } }", json!({})).await, "FORBIDDEN");
        let lift = "mutation { liftBan(input: { source: \"127.0.0.31\" }) { source } }";
        assert_eq!(plain.error(lift, json!({})).await, "FORBIDDEN");
        // A bound token sees those of its endpoints and lifts nothing.
        let bound = server.token_create("acme", ALL_SCOPES, &[&alice.id]).await;
        let bound = api.as_token(Some(&bound));
        let seen = failures(&bound, json!({})).await;
        assert_eq!(seen.iter().map(|f| text(&f["aor"])).collect::<Vec<_>>(), ["alice@example.test"]);
        bound.refused_at("liftBan", json!({ "source": "127.0.0.31" }), "NOT_FOUND", "source").await;
        // Another account sees none of it.
        server.cli(&["account", "create", "other"]).await;
        let other = server.token_create("other", ALL_SCOPES, &[]).await;
        let other = api.as_token(Some(&other));
        assert_eq!(failures(&other, json!({})).await, Vec::<Value>::new());
        other.refused_at("liftBan", json!({ "source": "127.0.0.31" }), "NOT_FOUND", "source").await;
        assert_eq!(api.error("{ registrationFailures(filter: { source: \"x\" }) { nodes { id } } }", json!({})).await, "BAD_USER_INPUT");
        // Pages.
        let data = api.data("{ registrationFailures(first: 1) { nodes { aor } pageInfo { hasNextPage endCursor } } }", json!({})).await;
        let page = &data["registrationFailures"];
        assert_eq!((&page["nodes"][0]["aor"], &page["pageInfo"]["hasNextPage"]), (&json!("bob@example.test"), &json!(true)));
        let query = "query($after: Cursor) { registrationFailures(first: 1, after: $after) { nodes { aor } pageInfo { hasNextPage } } }";
        let data = api.data(query, json!({ "after": page["pageInfo"]["endCursor"] })).await;
        assert_eq!(data["registrationFailures"], json!({ "nodes": [{ "aor": "alice@example.test" }], "pageInfo": { "hasNextPage": false } }));
    }

    /// Ten wrong passwords slow a phone, and do not lock it: with the right one it is back within a minute.
    async fn r16_a_corrected_phone_is_back_within_a_minute(database: Database) {
        let world = World::start(&database).await;
        let mut phone = Phone::udp_from("127.0.0.41", &world.server, &with_password(&world.bob, "wrong")).await;
        for _ in 0..10 {
            assert_eq!(phone.register(600).await.status(), 401);
        }
        let slowed = phone.register(600).await;
        assert_eq!(slowed.status(), 503, "{slowed:?}");
        let wait: u64 = slowed.header("Retry-After").parse().unwrap();
        assert!((1..=30).contains(&wait), "{slowed:?}");
        // Neither another phone of the source nor the same user elsewhere is slowed.
        Phone::udp_from("127.0.0.41", &world.server, &world.alice).await.come_online().await;
        Phone::udp_from("127.0.0.42", &world.server, &world.bob).await.come_online().await;
        phone.account = world.bob.clone();
        let corrected = Instant::now();
        let back = loop {
            let answer = phone.register(600).await;
            if answer.status() == 200 {
                break corrected.elapsed();
            }
            assert_eq!(answer.status(), 503, "{answer:?}");
            assert_eq!(phone.anything(Duration::from_secs(1)).await, None);
        };
        assert!(back < Duration::from_secs(60), "back after {back:?}");
    }

    /// Whoever writes another's address on its datagrams has nobody banned or slowed.
    async fn r16_a_forged_source_is_not_banned(database: Database) {
        let world = World::start(&database).await;
        let World { server, api, bob, .. } = &world;
        // The attacker has a nonce of its own; over UDP it is worth nothing at the victim's address.
        let mut attacker = Phone::udp_from("127.0.0.51", server, bob).await;
        let request = attacker.register_request();
        let challenge = attacker.challenge(&request).await;
        let mut victim = Phone::udp_from("127.0.0.52", server, bob).await;
        for n in 0..40 {
            victim.account = named(&with_password(bob, "guess"), &format!("user{n}"));
            let request = victim.register_request();
            let forged = victim.sign(request, &challenge);
            assert_eq!(victim.ask(&forged).await.status(), 401);
        }
        victim.account = bob.clone();
        victim.come_online().await;
        assert_eq!(failures(api, json!({ "source": "127.0.0.52" })).await, Vec::<Value>::new());
        assert!(!server.log().contains("source=127.0.0.52"), "fail2ban must not see it either");
    }

    /// An answer to a stranger over UDP is at most one and a half times as long as the request, a challenge at most twice.
    async fn strangers_get_no_long_answers(database: Database) {
        let world = World::start(&database).await;
        let mut phone = Phone::udp(&world.server, &world.bob).await;
        let uri = "sip:example.test";
        for method in ["OPTIONS", "REGISTER", "INVITE", "BREW", "CANCEL"] {
            let request = phone.request(method, uri, uri);
            let asked = request.write().len();
            let answer = phone.ask(&request).await;
            let answered = answer.write().len();
            let most = if answer.status() == 401 { asked * 2 } else { asked * 3 / 2 };
            assert!(answered <= most, "{method}: {answered} octets to {asked}: {answer:?}");
        }
    }
}

/// A flood of strangers is cut to what the operator allows; a phone that logs in is no stranger.
#[tokio::test]
async fn a_source_has_so_many_unsigned_requests_a_second() {
    let database = Database::sqlite();
    let server = Server::start_with(
        database.url(),
        &[("SIPGRAPH_SIP_UNAUTHENTICATED_PER_S", "5")],
    )
    .await;
    let world = World::on(server).await;
    let mut phone = Phone::udp_from("127.0.0.61", &world.server, &world.bob).await;
    for _ in 0..50 {
        let request = phone.request("OPTIONS", "sip:example.test", "sip:example.test");
        phone.send(&request).await;
    }
    let mut answers = 0;
    while phone.anything(SILENCE).await.is_some() {
        answers += 1;
    }
    assert!((5..=20).contains(&answers), "{answers} answers");
    // Another source is another bucket.
    Phone::udp_from("127.0.0.62", &world.server, &world.bob)
        .await
        .come_online()
        .await;
}

/// A trusted proxy is neither limited nor banned for what its phones do.
#[tokio::test]
async fn a_trusted_source_is_not_banned() {
    let database = Database::sqlite();
    let trusted = [
        ("SIPGRAPH_SIP_TRUSTED_SOURCES", "127.0.0.71"),
        ("SIPGRAPH_SIP_STRICT_DOMAIN", "true"),
    ];
    let world = World::on(Server::start_with(database.url(), &trusted).await).await;
    scan(&world, "127.0.0.71", 30).await;
    let mut phone = Phone::udp_from("127.0.0.71", &world.server, &world.bob).await;
    phone.come_online().await;
    // Strict: a stranger's domain gets no answer.
    phone.account.domain = "elsewhere.test".into();
    assert_eq!(answer_within(&mut phone, SILENCE).await, None);
}

/// The filter that comes with the product reads the real log: proven sources, and no other address however a user is named.
#[tokio::test]
async fn fail2ban_reads_the_log() {
    let database = Database::sqlite();
    let world = World::on(Server::start(&database).await).await;
    let forging = "x source=192.0.2.66 transport=UDP reason=wrong_password";
    let users = [
        "bob",
        "nobody",
        forging,
        "SIP authentication failed source=192.0.2.67 ",
    ];
    for user in users {
        let mut phone = Phone::tcp_from("127.0.0.81", &world.server, &world.bob).await;
        let request = phone.register_request();
        let challenge = phone.challenge(&request).await;
        phone.account = named(&with_password(&world.bob, "guess"), user);
        let signed = phone.sign(request, &challenge);
        assert_eq!(phone.ask(&signed).await.status(), 401, "{user}");
    }
    Phone::udp_from("127.0.0.82", &world.server, &world.bob)
        .await
        .come_online()
        .await;

    let path = world.server.folder().join("log");
    std::fs::write(&path, format!("{}\n", world.server.log())).unwrap();
    let filter = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../contrib/fail2ban/filter.d/sipgraph.conf"
    );
    let output = tokio::process::Command::new("fail2ban-regex")
        .args(["--out", "ip"])
        .arg(&path)
        .arg(filter)
        .output()
        .await
        .expect("fail2ban is installed by tests/setup/install.sh");
    assert!(output.status.success(), "{output:?}");
    let found = String::from_utf8(output.stdout).unwrap();
    let found: Vec<&str> = found.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(found, ["127.0.0.81"; 4], "{}", world.server.log());
}

/// How many users a scan tries: small here; `SIPGRAPH_TEST_SCAN_USERS=10000` is the full one.
fn scan_users() -> usize {
    let users = std::env::var("SIPGRAPH_TEST_SCAN_USERS").ok();
    users.map_or(200, |users| users.parse().unwrap())
}

/// How likely a value of one group is greater than one of the other: 0.5 for groups that cannot be told apart
/// (Mann and Whitney's U by the number of pairs). It is a matter of ranks, so that a busy machine does not change it.
fn separation(left: &[Duration], right: &[Duration]) -> f64 {
    let mut right = right.to_vec();
    right.sort();
    let halves: usize = left
        .iter()
        .map(|value| {
            let below = right.partition_point(|other| other < value);
            let up_to = right.partition_point(|other| other <= value);
            below + up_to
        })
        .sum();
    let pairs = left.len() * right.len();
    f64::from(u32::try_from(halves).unwrap()) / (2.0 * f64::from(u32::try_from(pairs).unwrap()))
}

#[test]
fn separation_is_a_matter_of_ranks() {
    let of = |values: &[u64]| {
        values
            .iter()
            .map(|v| Duration::from_millis(*v))
            .collect::<Vec<_>>()
    };
    assert_eq!(separation(&of(&[1, 2, 3]), &of(&[1, 2, 3])), 0.5);
    assert_eq!(separation(&of(&[4, 5]), &of(&[1, 2, 3])), 1.0);
    assert_eq!(separation(&of(&[1]), &of(&[2, 3])), 0.0);
}

/// A scan of many users with wrong passwords finds no account out: neither by status, nor by text, nor by time. From a
/// source that is not trusted it ends in a ban.
#[tokio::test]
async fn r16_a_scan_finds_no_account() {
    let database = Database::sqlite();
    let environment = [("SIPGRAPH_SIP_TRUSTED_SOURCES", "127.0.0.91")];
    let world = World::on(Server::start_with(database.url(), &environment).await).await;
    let users = scan_users();
    // Every other one is there.
    for n in (0..users).step_by(2) {
        world
            .api
            .endpoint_create(&world.domain, &format!("scan{n}"))
            .await;
    }
    let mut phone = Phone::udp_from("127.0.0.91", &world.server, &world.bob).await;
    let (mut there, mut not_there) = (Vec::new(), Vec::new());
    let mut shapes = std::collections::BTreeSet::new();
    for n in 0..users {
        phone.account = named(&with_password(&world.bob, "a guess"), &format!("scan{n}"));
        let request = phone.register_request();
        let challenge = phone.challenge(&request).await;
        let signed = phone.sign(request, &challenge);
        let asked = Instant::now();
        let answer = phone.ask(&signed).await;
        let group = if n % 2 == 0 {
            &mut there
        } else {
            &mut not_there
        };
        group.push(asked.elapsed());
        let names: Vec<&str> = answer
            .headers
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        let challenge = answer.header("WWW-Authenticate");
        let without_nonce: Vec<&str> = challenge
            .split(", ")
            .filter(|part| !part.starts_with("nonce="))
            .collect();
        shapes.insert(format!(
            "{} {names:?} {without_nonce:?} {}",
            answer.first, answer.body
        ));
    }
    assert_eq!(shapes.len(), 1, "{shapes:?}");
    let told_apart = separation(&there, &not_there);
    for times in [&mut there, &mut not_there] {
        times.sort();
    }
    let (there, not_there) = (there[there.len() / 2], not_there[not_there.len() / 2]);
    println!(
        "scan of {users} users: separation {told_apart:.3} (0.5 is none), medians {there:?} and {not_there:?}"
    );
    assert!(
        (0.35..=0.65).contains(&told_apart),
        "separation {told_apart}"
    );

    let mut stranger = Phone::tcp_from("127.0.0.92", &world.server, &world.bob).await;
    let mut tried = 0;
    while tried < users {
        stranger.account = named(
            &with_password(&world.bob, "a guess"),
            &format!("scan{tried}"),
        );
        let request = stranger.register_request();
        stranger.send(&request).await;
        let Some(first) = stranger.anything(SILENCE).await else {
            break;
        };
        let challenge = Challenge::of(&first, Algorithm::Md5).unwrap();
        let signed = stranger.sign(request, &challenge);
        stranger.send(&signed).await;
        if stranger.anything(SILENCE).await.is_none() {
            break;
        }
        tried += 1;
    }
    assert!(tried <= 20, "{tried} users tried before the ban");
}

/// What Prometheus reads: each family by its name in docs/metrics.md, on a listener of its own, without anything that a
/// stranger chose.
#[tokio::test]
async fn metrics_are_served_on_their_own_listener() {
    let database = Database::sqlite();
    let environment = [("SIPGRAPH_METRICS_LISTEN", "127.0.0.1:0")];
    let world = World::on(Server::start_with(database.url(), &environment).await).await;
    let url = format!("{}/metrics", world.server.metrics);
    let scrape = async || {
        let answer = world.api.http.get(&url).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert!(
            answer.headers()["content-type"]
                .to_str()
                .unwrap()
                .starts_with("application/openmetrics-text")
        );
        answer.text().await.unwrap()
    };
    Phone::tcp(&world.server, &world.bob)
        .await
        .register(600)
        .await;
    let mut phone = Phone::udp(&world.server, &world.alice).await;
    phone.come_online().await;
    let mut stranger = Phone::udp_from(
        "127.0.0.95",
        &world.server,
        &named(&world.bob, "stranger-name"),
    )
    .await;
    stranger.register(600).await;
    world
        .api
        .send(&world.bob, &world.alice, "a-text-of-people")
        .await;
    phone.take_message().await;
    let parts = [
        "sip_requests_total{method=\"REGISTER\",status=\"200\",transport=\"UDP\"} 1",
        "sip_requests_total{method=\"REGISTER\",status=\"401\",transport=\"UDP\"} 3",
        "sip_auth_failures_total{reason=\"unknown_user\",transport=\"UDP\"} 1",
        "sip_deliveries_total{outcome=\"taken\"} 1",
        "sip_bans_total 0",
        "sip_banned_sources 0",
        "sip_bindings 1",
        "messages_waiting 0",
        "sip_connections 0",
        "store_commits_waiting 0",
        "graphql_operations_total{kind=\"mutation\",outcome=\"ok\"}",
    ];
    // The connection that ended and the delivery are counted a moment later.
    let text = eventually("all being counted", || async {
        let text = scrape().await;
        parts.iter().all(|part| text.contains(part)).then_some(text)
    })
    .await;
    let count = |name: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().parse().unwrap()
    };
    let (commits, batches) = (count("store_commits_total "), count("store_batches_total "));
    assert!(0 < batches && batches <= commits, "{batches} {commits}");
    for never in ["stranger-name", "bob", "127.0.0", "a-text-of-people"] {
        assert!(!text.contains(never), "{never} in {text}");
    }
    // Every family is documented, and nothing else is served there.
    let documented = include_str!("../docs/metrics.md");
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let family = line.split(' ').next().unwrap();
        assert!(
            documented.contains(&format!("`{family}")),
            "{family} in docs/metrics.md"
        );
    }
    let other = format!("{}/graphql", world.server.metrics);
    assert_eq!(
        world.api.http.get(&other).send().await.unwrap().status(),
        404
    );
    let on_api = format!("{}/metrics", world.server.url);
    assert_eq!(
        world.api.http.get(&on_api).send().await.unwrap().status(),
        404
    );
}

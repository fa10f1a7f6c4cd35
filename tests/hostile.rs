//! The SIP edge on a hostile network: the torture messages of RFC 4475 and RFC 5118, malformed load, drips, idle connections
//! by the thousand, and a storm of mutated messages while a good phone goes on.
//!
//! Each attacker has a loopback address of its own, because answers over UDP without `rport` go to the port that its Via
//! names (RFC 3261 section 18.2.2), and because limits count by source.

use crate::harness::sip::{Algorithm, Challenge, unique};
use crate::harness::{
    Account, Api, Database, Phone, STEP, Server, Sip, Sipp, Value, World, eventually,
};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::time::timeout;

/// How long nothing must come before a test takes silence for granted.
const SILENCE: Duration = Duration::from_millis(1500);
/// How many connections only wait, of two sources.
const IDLE: usize = 2000;
/// What an idle connection may cost in memory: its buffer, its task and what is kept of it.
const IDLE_KIB_MAX: u64 = 24;
/// By how much a storm may make the server grow: full queues of the longest messages, and what the allocator keeps.
const STORM_KIB_MAX: u64 = 160 * 1024;
/// How long a storm lasts when `SIPGRAPH_STORM_S` does not say, in seconds.
const STORM_S: u64 = 20;

fn data(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../sip-validate/tests/data")
        .join(file)
}

fn cases(file: &str) -> Vec<Value> {
    let text = fs::read_to_string(data(file)).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn torture(case: &Value) -> Vec<u8> {
    fs::read(data("torture").join(case["file"].as_str().unwrap())).unwrap()
}

fn statuses(case: &Value) -> Vec<u16> {
    let all = case["status"].as_array().unwrap().iter();
    all.map(|status| u16::try_from(status.as_u64().unwrap()).unwrap())
        .collect()
}

/// A loopback address that nobody else in this run has.
fn address() -> IpAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let [high, low] = (NEXT.fetch_add(1, Ordering::Relaxed) + 257).to_be_bytes();
    let [.., a, b] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 1 | a | 64, high ^ b, low).into()
}

async fn udp(port: u16) -> UdpSocket {
    UdpSocket::bind((address(), port)).await.unwrap()
}

async fn tcp(server: &Server, from: IpAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(from, 0)).unwrap();
    socket.connect(server.tcp).await.unwrap()
}

/// The status of an answer.
fn status(octets: &[u8]) -> u16 {
    Sip::read(&String::from_utf8_lossy(octets)).status()
}

/// The next datagram.
async fn datagram(socket: &UdpSocket, within: Duration) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 65_535];
    let length = timeout(within, socket.recv(&mut buffer))
        .await
        .ok()?
        .unwrap();
    buffer.truncate(length);
    Some(buffer)
}

/// What comes over a stream until an answer is whole, the server closes, or the time is over; and whether it closed.
async fn answer(stream: &mut TcpStream, within: Duration) -> (Vec<u8>, bool) {
    let mut seen = Vec::new();
    let ended = timeout(within, async {
        while !seen.windows(4).any(|four| four == b"\r\n\r\n") {
            // A reset is an end too.
            if stream.read_buf(&mut seen).await.unwrap_or(0) == 0 {
                return true;
            }
        }
        false
    });
    let closed = ended.await.unwrap_or(false);
    (seen, closed)
}

/// Asks OPTIONS over both transports, which is answered without credentials, and looks for panics.
async fn is_well(server: &Server, account: &Account) {
    for mut phone in [
        Phone::udp(server, account).await,
        Phone::tcp(server, account).await,
    ] {
        let request = phone.request("OPTIONS", "sip:example.com", "sip:example.com");
        assert_eq!(phone.ask(&request).await.status(), 200);
    }
    let log = server.log();
    assert!(!log.contains("panicked"), "{log}");
}

/// A server with the domain of the messages, and alice and bob in it; and its database, which must outlive it.
async fn stage(environment: &[(&str, &str)]) -> (World, Database) {
    let database = Database::sqlite();
    let server = Server::start_with(database.url(), environment).await;
    let api = Api::of(&server);
    let domain = api.domain_create("example.com", true).await;
    let alice = api.endpoint_create(&domain, "alice").await;
    let bob = api.endpoint_create(&domain, "bob").await;
    let world = World {
        server,
        api,
        domain,
        alice,
        bob,
    };
    (world, database)
}

/// Which answers a torture message may get from this server, which serves REGISTER, MESSAGE and OPTIONS; and whether it
/// must get one.
fn allowed(case: &Value, octets: &[u8]) -> (Vec<u16>, bool) {
    if case["kind"] == "response" {
        return (Vec::new(), false);
    }
    let demanded = statuses(case);
    let method = octets
        .split(|octet| *octet == b' ')
        .next()
        .unwrap_or_default();
    let by_method: &[u16] = match method {
        b"INVITE" => &[405],
        b"BYE" => &[405, 481],
        // Of an unknown user of a known domain, or of a domain that is not ours.
        b"REGISTER" => &[401, 404],
        b"MESSAGE" => &[401, 404, 415],
        b"OPTIONS" => &[200],
        _ => &[501],
    };
    let served = [&b"REGISTER"[..], b"MESSAGE", b"OPTIONS"].contains(&method);
    match case["parse"].as_str().unwrap() {
        "reject" => (demanded, true),
        "accept" if served && !demanded.is_empty() => (demanded, true),
        "accept" => (by_method.to_vec(), true),
        _ => ([&demanded, by_method].concat(), false),
    }
}

/// Every message of RFC 4475 and RFC 5118 over UDP gets its answer, or none where there must be none.
#[tokio::test(flavor = "multi_thread")]
async fn torture_messages_over_udp_get_their_answers() {
    let (world, _database) = stage(&[]).await;
    let cases = cases("torture/index.jsonl");
    assert_eq!(cases.len(), 61);
    let mut open = Vec::new();
    for case in &cases {
        // The port that its top Via names.
        let port = match case["file"].as_str().unwrap() {
            "rfc4475-mpart01.dat" => 5070,
            "rfc4475-quotbal.dat" => 5050,
            "rfc5118-mult-ip-in-header.dat" => 6050,
            "rfc5118-ipv4-mapped-ipv6.dat" => 19_823,
            _ => 5060,
        };
        let (socket, octets) = (udp(port).await, torture(case));
        socket.send_to(&octets, world.server.udp).await.unwrap();
        open.push((case, socket, octets));
    }
    for (case, socket, octets) in open {
        let (file, (allowed, must)) = (&case["file"], allowed(case, &octets));
        // Where an answer must come, it is waited for; where it may, all had the time of those before.
        match datagram(&socket, if must { STEP } else { SILENCE }).await {
            Some(answer) => {
                let status = status(&answer);
                assert!(
                    allowed.contains(&status),
                    "{file}: {status} is none of {allowed:?}"
                );
            }
            None => assert!(!must, "{file}: no answer"),
        }
    }
    is_well(&world.server, &world.alice).await;
}

/// The same over TCP, in one piece and octet by octet: answered or closed, and the server goes on.
#[tokio::test(flavor = "multi_thread")]
async fn torture_messages_over_tcp_harm_nothing() {
    let (world, _database) = stage(&[]).await;
    for in_pieces in [false, true] {
        let mut open = Vec::new();
        for case in &cases("torture/index.jsonl") {
            let octets = torture(case);
            let mut stream = tcp(&world.server, address()).await;
            stream.set_nodelay(true).unwrap();
            let step = if in_pieces { 97 } else { octets.len() };
            for piece in octets.chunks(step) {
                // The server may have closed already.
                let _ = stream.write_all(piece).await;
            }
            open.push((case.clone(), stream, octets));
        }
        for (case, mut stream, octets) in open {
            let (file, (mut allowed, _)) = (&case["file"], allowed(&case, &octets));
            // Content-Length is mandatory here, and `dblreq` holds a second request, an INVITE.
            allowed.extend([400, 405, 413, 513]);
            let (seen, closed) = answer(&mut stream, SILENCE).await;
            if seen.is_empty() {
                continue;
            }
            let status = status(&seen);
            assert!(
                allowed.contains(&status),
                "{file}: {status} is none of {allowed:?}"
            );
            assert_ne!(
                case["kind"], "response",
                "{file}: a response was answered, closed: {closed}"
            );
        }
    }
    is_well(&world.server, &world.alice).await;
}

/// Each labelled request gets one of its answers, with credentials where it is asked for them.
#[tokio::test(flavor = "multi_thread")]
async fn labelled_requests_get_their_answers() {
    let (world, _database) = stage(&[]).await;
    let mut answered = 0;
    for case in cases("messages.jsonl") {
        let name = case["name"].as_str().unwrap();
        let demanded = statuses(&case);
        // What needs no answer, and what may do without.
        let must = !demanded.is_empty() && case["parse"] != "either";
        let within = if must { STEP } else { SILENCE };
        let mut text = case["data"].as_str().unwrap().to_owned();
        // A nonce is good for its source alone.
        let socket = udp(5060).await;
        let mut given = None;
        for wanted in [&[&demanded[..], &[401]].concat(), &demanded] {
            given = if case["transport"] == "UDP" {
                socket
                    .send_to(text.as_bytes(), world.server.udp)
                    .await
                    .unwrap();
                datagram(&socket, within).await
            } else {
                let mut stream = tcp(&world.server, address()).await;
                stream.write_all(text.as_bytes()).await.unwrap();
                answer_of(&mut stream, wanted, within).await
            };
            match &given {
                Some(octets) if status(octets) == 401 && !demanded.contains(&401) => {
                    text = signed(&text, octets, &world.alice);
                }
                _ => break,
            }
        }
        match given.map(|octets| status(&octets)) {
            None => assert!(!must, "{name}: no answer"),
            Some(status) => {
                answered += 1;
                assert!(
                    demanded.contains(&status),
                    "{name}: {status} is none of {demanded:?}"
                );
            }
        }
    }
    assert!(answered > 30, "only {answered} were answered");
    is_well(&world.server, &world.alice).await;
}

/// The first answer on a stream with one of these statuses, else the first of all; `None` when there is none.
async fn answer_of(stream: &mut TcpStream, wanted: &[u16], within: Duration) -> Option<Vec<u8>> {
    let mut seen = Vec::new();
    let wanted: Vec<String> = wanted
        .iter()
        .map(|status| format!("SIP/2.0 {status} "))
        .collect();
    let find = |seen: &[u8]| {
        let text = String::from_utf8_lossy(seen).into_owned();
        let whole = text
            .rfind("\r\n\r\n")
            .map(|end| text[..end + 4].to_owned())?;
        let at = wanted.iter().find_map(|start| whole.find(start))?;
        let end = whole[at..].find("\r\n\r\n")? + at + 4;
        Some(whole.as_bytes()[at..end].to_vec())
    };
    let reading = timeout(within, async {
        loop {
            if let Some(answer) = find(&seen) {
                return Some(answer);
            }
            if stream.read_buf(&mut seen).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    });
    let found = reading.await.ok().flatten();
    // The pong of a keep-alive is no answer (RFC 5626 section 4.4.1).
    let is_answer = seen.iter().any(|octet| !octet.is_ascii_whitespace());
    found.or(is_answer.then_some(seen))
}

/// The same request with credentials and another branch; everything else stays as odd as it is.
fn signed(text: &str, challenge: &[u8], account: &Account) -> String {
    let challenge = Sip::read(&String::from_utf8_lossy(challenge));
    let challenge = Challenge::of(&challenge, Algorithm::Md5).unwrap();
    let mut words = text.split(' ');
    let (method, uri) = (words.next().unwrap(), words.next().unwrap());
    let credentials =
        challenge.response(&account.user, account.password.as_bytes(), method, uri, 1);
    let (start, rest) = text.split_once("\r\n").unwrap();
    let rest = rest.replacen("branch=z9hG4bK", &format!("branch=z9hG4bK{}", unique()), 1);
    format!("{start}\r\nAuthorization: {credentials}\r\n{rest}")
}

/// A peer that sends one octet after the other is closed in the time for a first authenticated request, also when it is
/// never silent; one that says nothing, too.
#[tokio::test(flavor = "multi_thread")]
async fn drips_are_closed() {
    let (world, _database) = stage(&[("SIPGRAPH_SIP_AUTHENTICATE_TIMEOUT_S", "2")]).await;
    let endless = format!(
        "OPTIONS sip:example.com SIP/2.0\r\n{}",
        "X: y\r\n".repeat(2000)
    );
    let body = "OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:h>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nContent-Length: 65000\r\n\r\n";
    let body = format!("{body}{}", "b".repeat(60_000));
    let pings = "\r\n\r\n".repeat(10_000);
    for text in [endless.as_str(), &body, &pings, ""] {
        let mut stream = tcp(&world.server, address()).await;
        let (mut reader, mut writer) = stream.split();
        let drip = async {
            let mut tick = tokio::time::interval(Duration::from_millis(20));
            for octet in text.as_bytes().chunks(8) {
                tick.tick().await;
                if writer.write_all(octet).await.is_err() {
                    return;
                }
            }
            std::future::pending().await
        };
        let closed = async {
            let mut buffer = [0; 4096];
            while reader
                .read(&mut buffer)
                .await
                .is_ok_and(|length| length > 0)
            {}
        };
        let both = async {
            tokio::select! { () = drip => {}, () = closed => {} }
        };
        assert!(
            timeout(STEP, both).await.is_ok(),
            "stays open: {:?}",
            text.get(..20)
        );
    }
    is_well(&world.server, &world.alice).await;
}

/// Two thousand connections that only wait cost little and take nothing from a phone.
#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_idle_connections_harm_nobody() {
    rlimit::increase_nofile_limit(8192).unwrap();
    let (world, _database) = stage(&[("SIPGRAPH_SIP_AUTHENTICATE_TIMEOUT_S", "600")]).await;
    is_well(&world.server, &world.alice).await;
    let before = world.server.memory_kib();
    let (first, second) = (address(), address());
    let mut idle = Vec::with_capacity(IDLE);
    for at in 0..IDLE {
        let mut stream = tcp(&world.server, if at % 2 == 0 { first } else { second }).await;
        // Half of them have begun to say something.
        if at % 4 < 2 {
            stream.write_all(b"OPTIONS sip:").await.unwrap();
        }
        // What has been answered was accepted, and all before it. Of more than a listener's backlog the kernel drops some, which
        // come later, behind those that are to be refused.
        if at % 100 == 99 {
            stream.write_all(b"\r\n\r\n").await.unwrap();
            let mut pong = [0; 2];
            let answered = timeout(STEP, stream.read_exact(&mut pong)).await;
            answered.expect("a pong in time").unwrap();
            assert_eq!(&pong, b"\r\n");
        }
        idle.push(stream);
    }
    let mut phone = Phone::tcp(&world.server, &world.alice).await;
    phone.come_online().await;
    assert_eq!(
        phone.message(&world.bob.uri(), "still here").await.status(),
        202
    );
    let grown = world.server.memory_kib().saturating_sub(before);
    let each = grown / u64::try_from(IDLE).unwrap();
    assert!(
        each <= IDLE_KIB_MAX,
        "{IDLE} idle connections take {grown} KiB"
    );
    // One source has its share and no more; another one still gets in.
    let mut refused = tcp(&world.server, first).await;
    let (_, closed) = answer(&mut refused, STEP).await;
    assert!(closed, "the 1001st connection of a source stays open");
    drop(idle);
    is_well(&world.server, &world.alice).await;
}

/// `SIPp`'s load with one malformed request in ten: each is answered as it deserves, and none is lost.
#[tokio::test(flavor = "multi_thread")]
async fn load_with_malformed_requests_is_answered() {
    // All of it comes from one source, as from a proxy of the operator's.
    let (world, _database) = stage(&[("SIPGRAPH_SIP_TRUSTED_SOURCES", "127.0.0.1")]).await;
    Sipp::load(
        &world.server,
        "malformed",
        include_str!("harness/sipp/malformed.xml"),
        "example.com",
        500,
        100,
    )
    .ends()
    .await;
    is_well(&world.server, &world.alice).await;
}

/// A small generator, so that a storm can be repeated from its seed.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        // Xorshift64 of Marsaglia.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `end`, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).unwrap();
        usize::try_from(self.next() % end).unwrap()
    }

    /// One of the messages, changed in a few places.
    fn mutated(&mut self, messages: &[Vec<u8>]) -> Vec<u8> {
        let mut octets = messages[self.below(messages.len())].clone();
        for _ in 0..self.below(6) {
            let at = self.below(octets.len());
            match self.below(8) {
                0 => octets[at] = self.next().to_le_bytes()[0],
                1 => octets.truncate(at + 1),
                2 => octets.insert(
                    at,
                    *b"\r\n\0\xff;,<>\"\\@: %"[..].get(self.below(14)).unwrap(),
                ),
                3 => drop(octets.remove(at)),
                4 => {
                    // A piece of another message.
                    let other = &messages[self.below(messages.len())];
                    let from = self.below(other.len());
                    let piece = &other[from..(from + self.below(200)).min(other.len())];
                    octets.splice(at..at, piece.iter().copied());
                }
                5 => {
                    // A piece often.
                    let piece = octets[at..(at + 1 + self.below(40)).min(octets.len())].to_vec();
                    octets.splice(at..at, piece.repeat(self.below(100)));
                }
                6 => {
                    let number = self.next().to_string();
                    octets.splice(at..at, number.bytes());
                }
                _ => {
                    let end = (at + self.below(20)).min(octets.len());
                    octets.drain(at..end);
                }
            }
            if octets.is_empty() {
                octets.push(b'\r');
            }
        }
        octets.truncate(65_000);
        octets
    }
}

/// Datagrams and streams of mutated messages for `SIPGRAPH_STORM_S` seconds (20 by default, 600 by hand): the server stays
/// alive and of bounded memory, and a good phone registers and sends all the while.
#[tokio::test(flavor = "multi_thread")]
async fn a_storm_passes() {
    let given = std::env::var("SIPGRAPH_STORM_S").ok();
    let seconds = given.map_or(STORM_S, |seconds| {
        seconds
            .parse()
            .expect("SIPGRAPH_STORM_S is a number of seconds")
    });
    let end = Instant::now() + Duration::from_secs(seconds);
    let (world, _database) = stage(&[]).await;
    let mut messages: Vec<Vec<u8>> = cases("torture/index.jsonl").iter().map(torture).collect();
    messages.extend(
        cases("messages.jsonl")
            .iter()
            .map(|case| case["data"].as_str().unwrap().into()),
    );
    let before = world.server.memory_kib();
    let mut attackers = tokio::task::JoinSet::new();
    for seed in 1..=3_u64 {
        let (to, messages) = (world.server.udp, messages.clone());
        attackers.spawn(async move {
            let (mut chance, mut sent) = (Chance(seed), 0_u64);
            let socket = udp(0).await;
            while Instant::now() < end {
                let octets = chance.mutated(&messages);
                // A refusal by the system is no fault of the server.
                let _ = socket.send_to(&octets, to).await;
                sent += 1;
                if sent.is_multiple_of(64) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
            sent
        });
    }
    for seed in 11..=13_u64 {
        let (to, messages) = (world.server.tcp, messages.clone());
        attackers.spawn(async move {
            let (mut chance, mut sent, from) = (Chance(seed), 0_u64, address());
            while Instant::now() < end {
                let socket = TcpSocket::new_v4().unwrap();
                socket.bind(SocketAddr::new(from, 0)).unwrap();
                let Ok(Ok(mut stream)) = timeout(STEP, socket.connect(to)).await else {
                    continue;
                };
                for _ in 0..chance.below(8) {
                    let octets = chance.mutated(&messages);
                    let step = 1 + chance.below(2000);
                    for piece in octets.chunks(step) {
                        if stream.write_all(piece).await.is_err() {
                            break;
                        }
                    }
                    sent += 1;
                }
                // Most are dropped in the middle, some wait for what comes.
                if chance.below(4) == 0 {
                    let _ = answer(&mut stream, Duration::from_millis(50)).await;
                }
            }
            sent
        });
    }
    let (mut rounds, mut most) = (0_u32, before);
    while Instant::now() < end {
        let mut phone = Phone::tcp(&world.server, &world.alice).await;
        phone.come_online().await;
        assert_eq!(
            phone
                .message(&world.bob.uri(), "through the storm")
                .await
                .status(),
            202
        );
        most = most.max(world.server.memory_kib());
        rounds += 1;
    }
    let sent: u64 = attackers.join_all().await.into_iter().sum();
    let after = eventually("the end of what the storm left", || async {
        is_well(&world.server, &world.alice).await;
        Some(world.server.memory_kib())
    })
    .await;
    println!(
        "{sent} hostile messages in {seconds} s, {rounds} rounds of a phone; {before} KiB before, {most} at most, {after} after"
    );
    assert!(
        rounds > 1 && sent > 1000,
        "{sent} messages, {rounds} rounds"
    );
    assert!(
        most.max(after) <= before + STORM_KIB_MAX,
        "from {before} to {most} KiB"
    );
}

//! Phones that register, ask for options and write to each other over UDP: the load of the SIP benchmarks, the same for every
//! server.
//!
//! A phone keeps its socket, its Call-ID and its rising CSeq, as a real one does, and repeats an unanswered request at the
//! intervals of RFC 3261 section 17.1.2.2. A worker lets its phones call one after another; workers run at once, all on one
//! thread, so that the load takes one core at most.

use crate::Failure;
use futures_util::future::try_join_all;
use md5::{Digest as _, Md5};
use sipgraph_core::digest::{DigestAlgorithm, ha1_values, hex};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket as StdSocket};
use std::ops::Range;
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout_at};

/// The domain of all phones, and so their realm.
pub(crate) const REALM: &str = "phones.example";
/// How many call at once, unless each phone is a worker of its own.
pub(crate) const AT_ONCE: usize = 50;
/// How long a phone asks to be bound, in seconds.
const EXPIRES_S: u32 = 3600;
/// How many addresses are used by the phones of one worker: a source that asks too often is slowed down, and here many
/// phones must share a few sockets.
const SOCKETS_PER_WORKER: usize = 4;

/// Messages that phones got and nobody has looked at; beyond it a phone waits.
const GOT_MAX: usize = 10_000;

/// T1, T2 and timer F of RFC 3261 section 17.1.2.2.
const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);
const TIMER_F: Duration = Duration::from_secs(32);
/// The longest datagram that is read; answers have under 1,000 octets.
const ANSWER_MAX: usize = 4096;

/// The name of a phone's endpoint.
pub(crate) fn user(number: usize) -> String {
    format!("u{number:06}")
}

/// The password of a phone's endpoint.
pub(crate) fn password(number: usize) -> String {
    format!("pw{}", user(number))
}

/// What phones do in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// REGISTER, its challenge, REGISTER with the answer, and 200.
    Register,
    /// The same with a new Call-ID, as by a phone that lost its power, or by sipp.
    Restart,
    /// OPTIONS and 200.
    Options,
    /// MESSAGE to the phone whose number is so much higher, its challenge, MESSAGE with the answer, and 200 or 202. The text is
    /// the writer's user and CSeq.
    Message {
        /// What is added to the writer's number.
        ahead: usize,
    },
}

/// What came of a round.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    /// Calls that ended with 200 or 202.
    pub(crate) calls: u32,
    /// Calls that ended otherwise, or not within 32 s.
    pub(crate) failures: u32,
    /// Requests that were sent again.
    pub(crate) repeats: u32,
    /// From the first request to the last answer.
    pub(crate) wall: Duration,
}

impl Tally {
    /// Calls per second.
    pub(crate) fn rate(self) -> f64 {
        f64::from(self.calls) / self.wall.as_secs_f64()
    }

    fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.failures += other.failures;
        self.repeats += other.repeats;
    }
}

/// Phones of one server.
pub(crate) struct Fleet {
    workers: Vec<Worker>,
}

/// The text of a MESSAGE that a phone got, and when.
#[derive(Debug)]
pub(crate) struct Got {
    /// The text.
    pub(crate) text: String,
    /// When it came, again or for the first time.
    pub(crate) at: Instant,
}

struct Worker {
    sockets: Vec<StdSocket>,
    phones: Vec<Phone>,
}

struct Phone {
    number: usize,
    user: String,
    ha1: String,
    socket: usize,
    contact: SocketAddr,
    call_id: String,
    cseq: u32,
    /// Of the latest REGISTER that was answered 200.
    registered_cseq: u32,
}

impl Fleet {
    /// The phones of these numbers, which share the sockets of [`AT_ONCE`] workers.
    ///
    /// # Errors
    /// A socket can't be opened.
    pub(crate) fn sharing(server: SocketAddr, numbers: Range<usize>) -> Result<Self, Failure> {
        Self::new(server, numbers, AT_ONCE, SOCKETS_PER_WORKER)
    }

    /// Phones of which each has a socket and an address of its own, and all call at once.
    ///
    /// # Errors
    /// A socket can't be opened.
    pub(crate) fn apart(server: SocketAddr, phones: usize) -> Result<Self, Failure> {
        Self::new(server, 0..phones, phones, 1)
    }

    fn new(
        server: SocketAddr,
        numbers: Range<usize>,
        workers: usize,
        sockets: usize,
    ) -> Result<Self, Failure> {
        let phones = numbers.len();
        let workers = workers.min(phones);
        let mut all = Vec::with_capacity(workers);
        for worker in 0..workers {
            let opened: Result<Vec<_>, _> = (0..sockets)
                .map(|socket| open(server, worker * sockets + socket))
                .collect();
            let opened = opened?;
            let mut own = Vec::with_capacity(phones.div_ceil(workers));
            for place in (worker..phones).step_by(workers) {
                let (number, socket) = (numbers.start + place, place / workers % sockets);
                own.push(Phone::new(number, socket, opened[socket].local_addr()?)?);
            }
            all.push(Worker {
                sockets: opened,
                phones: own,
            });
        }
        Ok(Self { workers: all })
    }

    /// The CSeq of each phone's latest registration, in any order.
    pub(crate) fn registrations(&self) -> Vec<i64> {
        let phones = self.workers.iter().flat_map(|worker| &worker.phones);
        phones.map(|phone| phone.registered_cseq.into()).collect()
    }

    /// Has the phones answer each MESSAGE with 200, on a thread of their own, except the one that never answers. Gives what
    /// they got, until the receiver is dropped.
    ///
    /// # Errors
    /// The thread can't be started.
    pub(crate) fn answer(self, silent: Option<usize>) -> Result<mpsc::Receiver<Got>, Failure> {
        let (got, receiver) = mpsc::channel(GOT_MAX);
        let silent = silent.map(|number| format!("MESSAGE sip:{}@", user(number)));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        std::thread::Builder::new()
            .name("phones".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    let sockets = self.workers.into_iter().flat_map(|worker| worker.sockets);
                    let answering =
                        sockets.map(|socket| answer_all(socket, silent.as_deref(), &got));
                    // A socket that fails gets nothing more, which is seen as a message that does not come.
                    drop(try_join_all(answering).await);
                });
            })?;
        Ok(receiver)
    }

    /// Has the workers make so many calls in all, each of its phones one after another and round again. With a `spread`,
    /// the workers begin one after another over that time.
    ///
    /// # Errors
    /// The sockets fail.
    pub(crate) async fn round(
        mut self,
        call: Call,
        calls: usize,
        spread: Duration,
    ) -> Result<(Self, Tally), Failure> {
        tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let workers = self.workers.len();
            let begun = Instant::now();
            let tally = runtime.block_on(async {
                let working = self.workers.iter_mut().enumerate().map(|(place, worker)| {
                    let own = calls / workers + usize::from(place < calls % workers);
                    let delay = spread * u32::try_from(place).unwrap_or(0)
                        / u32::try_from(workers).unwrap_or(u32::MAX);
                    async move {
                        if !delay.is_zero() {
                            sleep(delay).await;
                        }
                        worker.call(call, own).await
                    }
                });
                try_join_all(working).await
            })?;
            let mut sum = Tally::default();
            tally.into_iter().for_each(|tally| sum.add(tally));
            sum.wall = begun.elapsed();
            Ok((self, sum))
        })
        .await?
    }
}

/// Answers what comes to a socket until nobody wants to know.
async fn answer_all(
    socket: StdSocket,
    silent: Option<&str>,
    got: &mpsc::Sender<Got>,
) -> Result<(), Failure> {
    let socket = UdpSocket::from_std(socket)?;
    let mut buffer = [0; ANSWER_MAX];
    loop {
        let Some(length) = lost(socket.recv(&mut buffer).await)? else {
            continue;
        };
        let at = Instant::now();
        let request = std::str::from_utf8(&buffer[..length])?;
        let is_silent = silent.is_some_and(|silent| request.starts_with(silent));
        if is_silent || !request.starts_with("MESSAGE ") {
            continue;
        }
        let (head, text) = request
            .split_once("\r\n\r\n")
            .ok_or("a MESSAGE without an end")?;
        lost(socket.send(accepted(head).as_bytes()).await)?;
        let text = text.to_owned();
        got.send(Got { text, at }).await?;
    }
}

/// The 200 to a request with this head (RFC 3261 section 8.2.6).
fn accepted(head: &str) -> String {
    let mut answer = "SIP/2.0 200 OK\r\n".to_owned();
    for line in head.lines() {
        if ["Via:", "From:", "To:", "Call-ID:", "CSeq:"]
            .iter()
            .any(|name| line.starts_with(name))
        {
            answer.push_str(line);
            if line.starts_with("To:") && !line.contains(";tag=") {
                answer.push_str(";tag=phone");
            }
            answer.push_str("\r\n");
        }
    }
    answer.push_str("Content-Length: 0\r\n\r\n");
    answer
}

/// A socket with an address of its own: all of 127.0.0.0/8 is this machine.
fn open(server: SocketAddr, number: usize) -> Result<StdSocket, Failure> {
    let part = |number: usize| u8::try_from(number % 250 + 1);
    let address = Ipv4Addr::new(
        127,
        part(number / 62_500 + 1)?,
        part(number / 250)?,
        part(number)?,
    );
    let socket = StdSocket::bind((address, 0))?;
    socket.connect(server)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

impl Worker {
    async fn call(&mut self, call: Call, calls: usize) -> Result<Tally, Failure> {
        let sockets: Result<Vec<_>, _> = self
            .sockets
            .iter()
            .map(|socket| UdpSocket::from_std(socket.try_clone()?))
            .collect();
        let sockets = sockets?;
        let mut tally = Tally::default();
        let count = self.phones.len();
        for number in 0..calls {
            let phone = &mut self.phones[number % count];
            let socket = &sockets[phone.socket];
            let is_right = match call {
                Call::Register => phone.register(socket, &mut tally).await?,
                Call::Restart => {
                    phone.call_id = hex(&random()?);
                    phone.register(socket, &mut tally).await?
                }
                Call::Options => phone.options(socket, &mut tally).await?,
                Call::Message { ahead } => phone.message(socket, ahead, &mut tally).await?,
            };
            if is_right {
                tally.calls += 1;
            } else {
                tally.failures += 1;
            }
        }
        Ok(tally)
    }
}

/// A request but for what every request of a phone has.
struct Asked {
    method: &'static str,
    uri: String,
    /// What stands before the domain in To: a user and `@`, or nothing.
    to: String,
    fields: String,
    /// Whether it has a text that tells it from others.
    with_text: bool,
}

impl Phone {
    fn new(number: usize, socket: usize, contact: SocketAddr) -> Result<Self, Failure> {
        let user = user(number);
        let algorithms = [DigestAlgorithm::Md5];
        let ha1 = ha1_values(&user, REALM, &password(number), &algorithms);
        Ok(Self {
            ha1: ha1.first().ok_or("no HA1")?.value.expose().to_owned(),
            call_id: hex(&random()?),
            cseq: 0,
            registered_cseq: 0,
            number,
            user,
            socket,
            contact,
        })
    }

    /// Registers, or refreshes: the server can't tell.
    async fn register(&mut self, socket: &UdpSocket, tally: &mut Tally) -> Result<bool, Failure> {
        let register = Asked {
            method: "REGISTER",
            uri: format!("sip:{REALM}"),
            to: format!("{}@", self.user),
            fields: format!(
                "Contact: <sip:{}@{}>\r\nExpires: {EXPIRES_S}\r\n",
                self.user, self.contact
            ),
            with_text: false,
        };
        let is_right = self.ask_signed(socket, register, tally).await?;
        if is_right {
            self.registered_cseq = self.cseq;
        }
        Ok(is_right)
    }

    async fn message(
        &mut self,
        socket: &UdpSocket,
        ahead: usize,
        tally: &mut Tally,
    ) -> Result<bool, Failure> {
        let to = format!("{}@", user(self.number + ahead));
        let message = Asked {
            method: "MESSAGE",
            uri: format!("sip:{to}{REALM}"),
            to,
            fields: "Content-Type: text/plain\r\n".to_owned(),
            with_text: true,
        };
        self.ask_signed(socket, message, tally).await
    }

    /// Sends a request, and again with the answer to its challenge; gives whether that is accepted.
    async fn ask_signed(
        &mut self,
        socket: &UdpSocket,
        mut asked: Asked,
        tally: &mut Tally,
    ) -> Result<bool, Failure> {
        let unsigned = asked.fields.clone();
        for attempt in 0..2 {
            self.cseq += 1;
            let Some(answer) = self.ask(socket, &asked, tally).await? else {
                return Ok(false);
            };
            match status(&answer) {
                Some("200" | "202") => return Ok(true),
                Some("401") if attempt == 0 => {
                    let authorization = self.authorization(&answer, &asked);
                    asked.fields = authorization.ok_or("a 401 without a nonce")? + &unsigned;
                }
                _ => return Ok(false),
            }
        }
        Ok(false)
    }

    async fn options(&mut self, socket: &UdpSocket, tally: &mut Tally) -> Result<bool, Failure> {
        self.cseq += 1;
        let options = Asked {
            method: "OPTIONS",
            uri: format!("sip:{REALM}"),
            to: String::new(),
            fields: String::new(),
            with_text: false,
        };
        let answer = self.ask(socket, &options, tally).await?;
        Ok(answer.is_some_and(|answer| status(&answer) == Some("200")))
    }

    /// The answer to a challenge with MD5 and `auth`.
    fn authorization(&self, challenge: &str, asked: &Asked) -> Option<String> {
        let (_, rest) = challenge.split_once("nonce=\"")?;
        let (nonce, _) = rest.split_once('"')?;
        let Asked { method, uri, .. } = asked;
        let ha2 = hex(&Md5::digest(format!("{method}:{uri}")));
        let text = format!("{}:{nonce}:00000001:0a4f113b:auth:{ha2}", self.ha1);
        let response = hex(&Md5::digest(text));
        Some(format!(
            "Authorization: Digest username=\"{}\", realm=\"{REALM}\", nonce=\"{nonce}\", uri=\"{uri}\", \
             response=\"{response}\", algorithm=MD5, cnonce=\"0a4f113b\", qop=auth, nc=00000001\r\n",
            self.user
        ))
    }

    /// Sends a request until its final answer comes; `None` when timer F fires.
    async fn ask(
        &self,
        socket: &UdpSocket,
        asked: &Asked,
        tally: &mut Tally,
    ) -> Result<Option<String>, Failure> {
        let Asked {
            method,
            uri,
            to,
            fields,
            with_text,
        } = asked;
        let Self {
            user,
            contact,
            call_id,
            cseq,
            ..
        } = self;
        let branch = format!("z9hG4bK{call_id}{cseq}{method}");
        let text = if *with_text {
            format!("{user} {cseq}")
        } else {
            String::new()
        };
        let request = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {contact};rport;branch={branch}\r\nMax-Forwards: 70\r\n\
             From: <sip:{user}@{REALM}>;tag={call_id}\r\nTo: <sip:{to}{REALM}>\r\nCall-ID: {call_id}\r\n\
             CSeq: {cseq} {method}\r\n{fields}User-Agent: bench\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        );
        let end = tokio::time::Instant::now() + TIMER_F;
        let mut interval = T1;
        let mut buffer = [0; ANSWER_MAX];
        loop {
            // While the server is down the system refuses: that is a loss, as any other.
            lost(socket.send(request.as_bytes()).await)?;
            let again = tokio::time::Instant::now() + interval;
            while let Ok(received) = timeout_at(again.min(end), socket.recv(&mut buffer)).await {
                let Some(length) = lost(received)? else {
                    continue;
                };
                let answer = std::str::from_utf8(&buffer[..length])?;
                let is_final = status(answer).is_some_and(|status| !status.starts_with('1'));
                // Another may be a late answer to an earlier request.
                if is_final && answer.contains(&branch) {
                    return Ok(Some(answer.to_owned()));
                }
            }
            if tokio::time::Instant::now() >= end {
                return Ok(None);
            }
            tally.repeats += 1;
            interval = (interval * 2).min(T2);
        }
    }
}

fn random() -> Result<[u8; 8], Failure> {
    let mut random = [0; 8];
    getrandom::fill(&mut random)?;
    Ok(random)
}

/// A refusal by the system as `None`.
fn lost(result: std::io::Result<usize>) -> Result<Option<usize>, Failure> {
    match result {
        Ok(length) => Ok(Some(length)),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The status of an answer.
fn status(answer: &str) -> Option<&str> {
    answer.strip_prefix("SIP/2.0 ")?.get(..3)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The request of RFC 2617 section 3.5 cannot be made here, so the answer is checked as a server does.
    #[test]
    fn a_challenge_is_answered() {
        let phone = Phone::new(7, 0, "127.1.1.1:5060".parse().unwrap()).unwrap();
        let challenge = "SIP/2.0 401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"r\", nonce=\"abc\"\r\n\r\n";
        let register = Asked {
            method: "REGISTER",
            uri: format!("sip:{REALM}"),
            to: String::new(),
            fields: String::new(),
            with_text: false,
        };
        let field = phone.authorization(challenge, &register).unwrap();
        let ha1 = hex(&Md5::digest(format!("u000007:{REALM}:pwu000007")));
        let ha2 = hex(&Md5::digest(format!("REGISTER:sip:{REALM}")));
        let response = hex(&Md5::digest(format!(
            "{ha1}:abc:00000001:0a4f113b:auth:{ha2}"
        )));
        assert!(
            field.contains(&format!("response=\"{response}\"")),
            "{field}"
        );
        assert_eq!(
            phone.authorization("SIP/2.0 200 OK\r\n\r\n", &register),
            None
        );
    }

    #[test]
    fn a_message_is_accepted() {
        let head = "MESSAGE sip:u000007@127.1.1.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bKb\r\nMax-Forwards: 70\r\n\
                    From: <sip:a@b>;tag=c\r\nTo: <sip:d@b>\r\nCall-ID: e\r\nCSeq: 1 MESSAGE\r\nContent-Length: 2";
        assert_eq!(
            accepted(head),
            "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a;branch=z9hG4bKb\r\nFrom: <sip:a@b>;tag=c\r\n\
             To: <sip:d@b>;tag=phone\r\nCall-ID: e\r\nCSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn each_socket_has_an_address() {
        let server = "127.0.0.1:5060".parse().unwrap();
        let addresses: std::collections::BTreeSet<_> = (0..600)
            .map(|number| open(server, number).unwrap().local_addr().unwrap().ip())
            .collect();
        assert_eq!(addresses.len(), 600);
    }

    #[tokio::test]
    async fn a_round_is_counted() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let fleet = Fleet::sharing(server.local_addr().unwrap(), 0..3).unwrap();
        let serving = tokio::spawn(async move {
            let mut buffer = [0; ANSWER_MAX];
            let mut seen = 0_u32;
            loop {
                let (length, from) = server.recv_from(&mut buffer).await.unwrap();
                let request = std::str::from_utf8(&buffer[..length]).unwrap();
                let (_, via) = request.split_once("Via: ").unwrap();
                let (via, _) = via.split_once("\r\n").unwrap();
                seen += 1;
                // The first one is lost.
                if seen > 1 {
                    let answer = format!("SIP/2.0 200 OK\r\nVia: {via}\r\n\r\n");
                    server.send_to(answer.as_bytes(), from).await.unwrap();
                }
            }
        });
        let (fleet, tally) = fleet.round(Call::Options, 3, Duration::ZERO).await.unwrap();
        assert_eq!((tally.calls, tally.failures, tally.repeats), (3, 0, 1));
        assert!(tally.rate() > 0.0);
        let (fleet, tally) = fleet
            .round(Call::Register, 2, Duration::ZERO)
            .await
            .unwrap();
        assert_eq!((tally.calls, tally.failures, tally.repeats), (2, 0, 0));
        let mut registrations = fleet.registrations();
        registrations.sort_unstable();
        assert_eq!(registrations, [0, 2, 2]);
        serving.abort();
    }
}

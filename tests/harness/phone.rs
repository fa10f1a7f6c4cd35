//! A SIP phone of our own, for exact and hostile cases: it registers, sends and answers MESSAGE over every transport, and
//! can send any bytes. It keeps answering what comes in while it waits for something else.

use super::sip::{Algorithm, Challenge, unique};
use super::tls::{Stream, Trust};
use super::{Account, STEP, Server, Sip};
use futures_util::{SinkExt as _, StreamExt as _};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};

/// More than any datagram.
const DATAGRAM_BYTES_MAX: usize = 65_535;

/// How a phone reaches the server.
enum Link {
    Udp(UdpSocket),
    Stream {
        stream: Box<dyn Stream>,
        read: Vec<u8>,
    },
    WebSocket(Box<WebSocketStream<Box<dyn Stream>>>),
}

/// How a phone answers a MESSAGE.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// With a status and a reason phrase.
    Status(u16, &'static str),
    /// With a status, and the wish not to be tried again for so many seconds.
    NotBefore(u16, u32),
    /// Not at all.
    Silence,
}

/// A phone.
pub(crate) struct Phone {
    /// Whom it speaks as.
    pub(crate) account: Account,
    /// The algorithm that it can do.
    pub(crate) algorithm: Algorithm,
    /// How it answers.
    pub(crate) reply: Reply,
    link: Link,
    /// As Via has it.
    transport: &'static str,
    /// Its address, or what a page has in place of one (RFC 7118 section 5.4).
    local: String,
    /// What came and was not asked for yet: requests first, then answers.
    requests: VecDeque<Sip>,
    answers: VecDeque<Sip>,
    /// Answers given, by method and branch, for retransmissions.
    given: HashMap<String, Sip>,
    /// How often a request came again.
    pub(crate) retransmissions: usize,
    call_id: String,
    cseq: u32,
    nc: u32,
}

impl Phone {
    /// A phone on UDP.
    pub(crate) async fn udp(server: &Server, account: &Account) -> Self {
        Self::udp_at(server.udp, account).await
    }

    /// A phone on UDP, for one of several listeners.
    pub(crate) async fn udp_at(listener: SocketAddr, account: &Account) -> Self {
        let socket = UdpSocket::bind((listener.ip(), 0)).await.unwrap();
        socket.connect(listener).await.unwrap();
        let local = socket.local_addr().unwrap().to_string();
        Self::on(Link::Udp(socket), "UDP", local, account)
    }

    /// A phone on UDP at an address of this machine, which is a source of its own.
    pub(crate) async fn udp_from(address: &str, server: &Server, account: &Account) -> Self {
        let socket = UdpSocket::bind((address, 0)).await.unwrap();
        socket.connect(server.udp).await.unwrap();
        let local = socket.local_addr().unwrap().to_string();
        Self::on(Link::Udp(socket), "UDP", local, account)
    }

    /// A phone on TCP.
    pub(crate) async fn tcp(server: &Server, account: &Account) -> Self {
        Self::tcp_at(server.tcp, account).await
    }

    /// A phone on TCP at an address of this machine, which is a source of its own.
    pub(crate) async fn tcp_from(address: &str, server: &Server, account: &Account) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket
            .bind(format!("{address}:0").parse().unwrap())
            .unwrap();
        let stream = socket.connect(server.tcp).await.unwrap();
        let local = stream.local_addr().unwrap().to_string();
        Self::stream(Box::new(stream), "TCP", local, account)
    }

    /// A phone on TCP, for one of several listeners.
    pub(crate) async fn tcp_at(listener: SocketAddr, account: &Account) -> Self {
        let stream = TcpStream::connect(listener).await.unwrap();
        let local = stream.local_addr().unwrap().to_string();
        Self::stream(Box::new(stream), "TCP", local, account)
    }

    /// A phone on TLS that trusts one authority.
    pub(crate) async fn tls_at(listener: SocketAddr, trust: &Trust, account: &Account) -> Self {
        let stream = TcpStream::connect(listener).await.unwrap();
        let local = stream.local_addr().unwrap().to_string();
        let stream = trust.connect(stream).await.unwrap();
        Self::stream(Box::new(stream), "TLS", local, account)
    }

    fn stream(
        stream: Box<dyn Stream>,
        transport: &'static str,
        local: String,
        account: &Account,
    ) -> Self {
        let read = Vec::new();
        Self::on(Link::Stream { stream, read }, transport, local, account)
    }

    /// A phone on WebSocket, as a page of no browser.
    pub(crate) async fn ws(server: &Server, account: &Account) -> Self {
        Self::ws_at(&format!("{}/sip", server.url), None, account).await
    }

    /// A phone on WebSocket at an `http:` or `https:` URL.
    pub(crate) async fn ws_at(url: &str, trust: Option<&Trust>, account: &Account) -> Self {
        let (transport, socket) = open_websocket(url, trust, &[("Sec-WebSocket-Protocol", "sip")])
            .await
            .expect("the upgrade is accepted");
        let local = format!("{}.invalid", unique());
        Self::on(Link::WebSocket(Box::new(socket)), transport, local, account)
    }

    fn on(link: Link, transport: &'static str, local: String, account: &Account) -> Self {
        Self {
            account: account.clone(),
            algorithm: Algorithm::Md5,
            reply: Reply::Status(200, "OK"),
            link,
            transport,
            local,
            requests: VecDeque::new(),
            answers: VecDeque::new(),
            given: HashMap::new(),
            retransmissions: 0,
            call_id: unique(),
            cseq: 0,
            nc: 0,
        }
    }

    /// Where it is bound.
    pub(crate) fn contact(&self) -> String {
        let transport = match self.transport {
            "UDP" => String::new(),
            // RFC 7118 section 5.4: `ws` for both.
            "WSS" => ";transport=ws".to_owned(),
            other => format!(";transport={}", other.to_ascii_lowercase()),
        };
        format!("sip:{}@{}{transport}", self.account.user, self.local)
    }

    /// Begins a request of its own, with a fresh branch and the next CSeq.
    pub(crate) fn request(&mut self, method: &str, uri: &str, to: &str) -> Sip {
        self.cseq += 1;
        let via = format!(
            "SIP/2.0/{} {};branch=z9hG4bK{};rport",
            self.transport,
            self.local,
            unique()
        );
        Sip::request(method, uri)
            .with("Via", via)
            .with("Max-Forwards", "70")
            .with("From", format!("<{}>;tag={}", self.account.uri(), unique()))
            .with("To", format!("<{to}>"))
            .with("Call-ID", self.call_id.clone())
            .with("CSeq", format!("{} {method}", self.cseq))
    }

    /// Sends bytes as they are.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        match &mut self.link {
            Link::Udp(socket) => {
                socket.send(bytes).await.unwrap();
            }
            // The server may have closed; what it did is seen when reading.
            Link::Stream { stream, .. } => {
                let _ = stream.write_all(bytes).await;
                let _ = stream.flush().await;
            }
            Link::WebSocket(socket) => {
                let message = match std::str::from_utf8(bytes) {
                    Ok(text) => Message::text(text),
                    Err(_) => Message::binary(bytes.to_vec()),
                };
                let _ = socket.send(message).await;
            }
        }
    }

    /// Sends a message.
    pub(crate) async fn send(&mut self, message: &Sip) {
        self.send_bytes(message.write().as_bytes()).await;
    }

    /// Sends a request and waits for its final answer.
    pub(crate) async fn ask(&mut self, request: &Sip) -> Sip {
        self.send(request).await;
        self.answer_to(request).await
    }

    /// Waits for the final answer to a request.
    pub(crate) async fn answer_to(&mut self, request: &Sip) -> Sip {
        let branch = request.branch();
        let deadline = Instant::now() + STEP;
        loop {
            let place = self
                .answers
                .iter()
                .position(|a| a.branch() == branch && a.status() >= 200);
            if let Some(answer) = place.and_then(|i| self.answers.remove(i)) {
                return answer;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                self.take_in(left).await,
                "no answer to {request:?}, only {:?}",
                self.answers
            );
        }
    }

    /// Sends a request, answers the challenge if there is one, and gives the final answer and the request that got it.
    pub(crate) async fn ask_signed(&mut self, request: Sip) -> (Sip, Sip) {
        let first = self.ask(&request).await;
        if !matches!(first.status(), 401 | 407) {
            return (first, request);
        }
        let challenge = Challenge::of(&first, self.algorithm)
            .unwrap_or_else(|| panic!("no {} in {first:?}", self.algorithm.token()));
        let signed = self.sign(request, &challenge);
        (self.ask(&signed).await, signed)
    }

    /// Sends a request that must be challenged with the phone's algorithm.
    pub(crate) async fn challenge(&mut self, request: &Sip) -> Challenge {
        let first = self.ask(request).await;
        assert!(
            matches!(first.status(), 401 | 407),
            "a challenge, not {first:?}"
        );
        Challenge::of(&first, self.algorithm)
            .unwrap_or_else(|| panic!("no {} in {first:?}", self.algorithm.token()))
    }

    /// Answers a challenge: the same request with credentials, the next CSeq and a fresh branch (RFC 3261 section 22.2).
    pub(crate) fn sign(&mut self, request: Sip, challenge: &Challenge) -> Sip {
        self.nc += 1;
        self.cseq += 1;
        let mut words = request.first.split(' ');
        let (method, uri) = (words.next().unwrap(), words.next().unwrap());
        let credentials = challenge.response(
            &self.account.user,
            self.account.password.as_bytes(),
            method,
            uri,
            self.nc,
        );
        let via = request
            .header("Via")
            .replace(&request.branch(), &format!("z9hG4bK{}", unique()));
        let cseq = format!("{} {method}", self.cseq);
        // A WWW-Authenticate challenge is answered by Authorization; our server is an end point, not a proxy.
        request
            .set("Via", Some(&via))
            .set("CSeq", Some(&cseq))
            .set("Authorization", Some(&credentials))
    }

    /// Registers its contact for so many seconds and gives the final answer.
    pub(crate) async fn register(&mut self, expires_s: u32) -> Sip {
        let contact = format!("<{}>;expires={expires_s}", self.contact());
        self.register_contact(&contact).await
    }

    /// Registers a Contact header as given.
    pub(crate) async fn register_contact(&mut self, contact: &str) -> Sip {
        let request = self.register_request().with("Contact", contact);
        self.ask_signed(request).await.0
    }

    /// Begins a REGISTER without a Contact.
    pub(crate) fn register_request(&mut self) -> Sip {
        let registrar = format!("sip:{}", self.account.domain);
        let aor = self.account.uri();
        self.request("REGISTER", &registrar, &aor)
    }

    /// Registers for an hour; it must be granted.
    pub(crate) async fn come_online(&mut self) {
        let answer = self.register(3600).await;
        assert_eq!(answer.status(), 200, "{answer:?}");
    }

    /// Forgets what it counted, as a phone does that lost its power; its address stays.
    pub(crate) fn lose_power(&mut self) {
        self.call_id = unique();
        self.cseq = 0;
    }

    /// Sends a text and gives the final answer.
    pub(crate) async fn message(&mut self, to: &str, body: &str) -> Sip {
        let request = self.message_request(to, body);
        self.ask_signed(request).await.0
    }

    /// Begins a MESSAGE, in a Call-ID of its own.
    pub(crate) fn message_request(&mut self, to: &str, body: &str) -> Sip {
        let call_id = unique();
        self.request("MESSAGE", to, to)
            .set("Call-ID", Some(&call_id))
            .with("Content-Type", "text/plain")
            .body(body)
    }

    /// Waits for the next MESSAGE, which was answered as [`Phone::reply`] says when it came.
    pub(crate) async fn take_message(&mut self) -> Sip {
        let message = self.next_request(STEP).await.expect("a MESSAGE");
        assert_eq!(message.method(), Some("MESSAGE"), "{message:?}");
        message
    }

    /// Waits for the next request, for at most `within`.
    pub(crate) async fn next_request(&mut self, within: Duration) -> Option<Sip> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(request) = self.requests.pop_front() {
                return Some(request);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !self.take_in(left).await {
                return None;
            }
        }
    }

    /// Waits for any message at all, for at most `within`; nothing when none came or the connection is closed.
    pub(crate) async fn anything(&mut self, within: Duration) -> Option<Sip> {
        if !self.take_in(within).await {
            return None;
        }
        self.answers
            .pop_front()
            .or_else(|| self.requests.pop_front())
    }

    /// Ends the connection without a word, as a phone that loses its network.
    pub(crate) async fn hang_up(self) {
        if let Link::Stream { mut stream, .. } = self.link {
            let _ = stream.shutdown().await;
        }
    }

    /// Reads one message, answers it when it is a request, and keeps it. Gives whether one came.
    async fn take_in(&mut self, within: Duration) -> bool {
        let read = match &mut self.link {
            Link::Udp(socket) => timeout(within, read_datagram(socket)).await,
            Link::Stream { stream, read } => timeout(within, read_framed(stream, read)).await,
            Link::WebSocket(socket) => timeout(within, read_message(socket)).await,
        };
        let Ok(Some(text)) = read else { return false };
        let message = Sip::read(&text);
        let Some(method) = message.method() else {
            self.answers.push_back(message);
            return true;
        };
        let transaction = format!("{method} {}", message.branch());
        if let Some(given) = self.given.get(&transaction).cloned() {
            self.retransmissions += 1;
            self.send(&given).await;
            return true;
        }
        let answer = |status, reason| message.answer(status, reason, &unique());
        let answer = match self.reply {
            Reply::Status(status, reason) => Some(answer(status, reason)),
            Reply::NotBefore(status, seconds) => {
                Some(answer(status, "Not Now").with("Retry-After", seconds.to_string()))
            }
            Reply::Silence => None,
        };
        if let Some(answer) = answer {
            self.send(&answer).await;
            self.given.insert(transaction, answer);
        }
        self.requests.push_back(message);
        true
    }
}

async fn read_datagram(socket: &UdpSocket) -> Option<String> {
    let mut bytes = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        // A restarting server makes the kernel report a refused port; the phone goes on listening.
        if let Ok(length) = socket.recv(&mut bytes).await {
            return String::from_utf8(bytes.get(..length)?.to_vec()).ok();
        }
    }
}

/// Opens a WebSocket at an `http:` or `https:` URL, and says its transport.
pub(crate) async fn open_websocket(
    url: &str,
    trust: Option<&Trust>,
    headers: &[(&'static str, &str)],
) -> Result<(&'static str, WebSocketStream<Box<dyn Stream>>), Error> {
    let mut request = url.replacen("http", "ws", 1).into_client_request()?;
    for (name, value) in headers {
        request
            .headers_mut()
            .insert(*name, HeaderValue::from_str(value).unwrap());
    }
    let address = url.split("://").nth(1).unwrap().split('/').next().unwrap();
    let stream = TcpStream::connect(address).await?;
    let (transport, stream): (_, Box<dyn Stream>) = match trust {
        None => ("WS", Box::new(stream)),
        Some(trust) => ("WSS", Box::new(trust.connect(stream).await?)),
    };
    let (socket, response) = tokio_tungstenite::client_async(request, stream).await?;
    let protocol = response.headers().get("Sec-WebSocket-Protocol").cloned();
    assert_eq!(protocol, Some(HeaderValue::from_static("sip")));
    Ok((transport, socket))
}

async fn read_message(socket: &mut WebSocketStream<Box<dyn Stream>>) -> Option<String> {
    loop {
        match socket.next().await?.ok()? {
            Message::Text(text) if !text.trim().is_empty() => return Some(text.to_string()),
            Message::Close(_) => return None,
            _ => {}
        }
    }
}

async fn read_framed(stream: &mut Box<dyn Stream>, read: &mut Vec<u8>) -> Option<String> {
    loop {
        // Keep-alives between messages (RFC 5626 section 3.5.1).
        while read.starts_with(b"\r\n") {
            read.drain(..2);
        }
        let text = String::from_utf8_lossy(read).into_owned();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let length: usize = head
                .lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(name, _)| name.eq_ignore_ascii_case("Content-Length"))
                .and_then(|(_, value)| value.trim().parse().ok())?;
            let whole = head.len() + 4 + length;
            if read.len() >= whole {
                let message: Vec<u8> = read.drain(..whole).collect();
                return String::from_utf8(message).ok();
            }
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(length) => read.extend_from_slice(chunk.get(..length)?),
        }
    }
}

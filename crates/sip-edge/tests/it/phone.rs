//! A phone for the tests: a SIP user agent on a real socket, with its own reading and writing of messages.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use md5::Md5;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// How long a phone waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a phone waits for what must not come, after an exchange has proved that all was handled.
const SILENCE: Duration = Duration::from_millis(100);

static NUMBER: AtomicU32 = AtomicU32::new(1);

fn number() -> u32 {
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

/// A received message.
#[derive(Debug, Clone)]
pub(crate) struct Packet(pub(crate) String);

impl Packet {
    pub(crate) fn start(&self) -> &str {
        self.0.lines().next().unwrap_or_default()
    }

    /// The status of a response, 0 for a request.
    pub(crate) fn status(&self) -> u16 {
        let code = self
            .start()
            .strip_prefix("SIP/2.0 ")
            .and_then(|rest| rest.get(..3));
        code.map_or(0, |code| code.parse().unwrap())
    }

    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let head = self.0.split("\r\n\r\n").next().unwrap_or_default();
        let fields = head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "));
        fields
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect()
    }

    pub(crate) fn get(&self, name: &str) -> &str {
        self.all(name).first().copied().unwrap_or_default()
    }

    pub(crate) fn body(&self) -> &str {
        self.0.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }
}

enum Socket {
    Udp(UdpSocket),
    Tcp(TcpStream, Vec<u8>),
}

/// A phone of one user.
pub(crate) struct Phone {
    socket: Socket,
    server: SocketAddr,
    pub(crate) user: String,
    pub(crate) domain: String,
    pub(crate) password: String,
    /// Hash a non-ASCII password over ISO 8859-1.
    pub(crate) latin1: bool,
    pub(crate) call_id: String,
    cseq: u32,
    /// Requests that came while a response was awaited.
    inbox: VecDeque<Packet>,
}

impl Phone {
    pub(crate) async fn udp(server: SocketAddr, user: &str, domain: &str, password: &str) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        Self::new(Socket::Udp(socket), server, user, domain, password)
    }

    pub(crate) async fn tcp(server: SocketAddr, user: &str, domain: &str, password: &str) -> Self {
        let stream = TcpStream::connect(server).await.unwrap();
        Self::new(
            Socket::Tcp(stream, Vec::new()),
            server,
            user,
            domain,
            password,
        )
    }

    fn new(socket: Socket, server: SocketAddr, user: &str, domain: &str, password: &str) -> Self {
        Self {
            socket,
            server,
            user: user.into(),
            domain: domain.into(),
            password: password.into(),
            latin1: false,
            call_id: format!("call{}.test", number()),
            cseq: 0,
            inbox: VecDeque::new(),
        }
    }

    fn transport(&self) -> &'static str {
        match self.socket {
            Socket::Udp(_) => "UDP",
            Socket::Tcp(..) => "TCP",
        }
    }

    pub(crate) fn is_stream(&self) -> bool {
        !matches!(self.socket, Socket::Udp(_))
    }

    /// Its Contact: a host that must never be dialled.
    pub(crate) fn contact(&self) -> String {
        format!(
            "<sip:{}@198.51.100.1:9;transport={}>",
            self.user,
            self.transport().to_lowercase()
        )
    }

    pub(crate) async fn send(&mut self, octets: &[u8]) {
        match &mut self.socket {
            Socket::Udp(socket) => drop(socket.send_to(octets, self.server).await.unwrap()),
            Socket::Tcp(stream, _) => stream.write_all(octets).await.unwrap(),
        }
    }

    /// The next message that arrives; `None` when the connection ended.
    async fn receive(&mut self) -> Option<Packet> {
        match &mut self.socket {
            Socket::Udp(socket) => {
                let mut buffer = vec![0; 65_535];
                let length = socket.recv(&mut buffer).await.unwrap();
                buffer.truncate(length);
                Some(Packet(String::from_utf8(buffer).unwrap()))
            }
            Socket::Tcp(stream, buffer) => loop {
                let text = String::from_utf8(buffer.clone()).unwrap();
                if let Some((head, rest)) = text.split_once("\r\n\r\n") {
                    let length: usize = Packet(head.into()).get("Content-Length").parse().unwrap();
                    if rest.len() >= length {
                        let whole = head.len() + 4 + length;
                        return Some(Packet(
                            String::from_utf8(buffer.drain(..whole).collect()).unwrap(),
                        ));
                    }
                }
                // A reset is an end too.
                if stream.read_buf(buffer).await.unwrap_or(0) == 0 {
                    return None;
                }
            },
        }
    }

    /// The next response.
    pub(crate) async fn response(&mut self) -> Packet {
        loop {
            let packet = timeout(PATIENCE, self.receive())
                .await
                .expect("a response in time")
                .expect("a response");
            if packet.status() > 0 {
                return packet;
            }
            self.inbox.push_back(packet);
        }
    }

    /// The next request that comes in.
    pub(crate) async fn incoming(&mut self) -> Packet {
        if let Some(packet) = self.inbox.pop_front() {
            return packet;
        }
        let packet = timeout(PATIENCE, self.receive())
            .await
            .expect("a request in time")
            .expect("a request");
        assert_eq!(packet.status(), 0, "{packet:?}");
        packet
    }

    /// Whether nothing arrives for a moment.
    pub(crate) async fn is_silent(&mut self) -> bool {
        self.inbox.is_empty() && timeout(SILENCE, self.receive()).await.is_err()
    }

    /// Ends its side of the connection.
    pub(crate) async fn hang_up(&mut self) {
        if let Socket::Tcp(stream, _) = &mut self.socket {
            stream.shutdown().await.unwrap();
        }
    }

    /// Whether the connection is ended by the other side.
    pub(crate) async fn is_closed(&mut self) -> bool {
        timeout(PATIENCE, self.receive())
            .await
            .expect("an end in time")
            .is_none()
    }

    /// Answers a request that came in.
    pub(crate) async fn answer(&mut self, request: &Packet, status: &str) {
        let fields: String = ["Via", "From", "Call-ID", "CSeq"]
            .map(|name| format!("{name}: {}\r\n", request.get(name)))
            .concat();
        let to = request.get("To");
        let text =
            format!("SIP/2.0 {status}\r\n{fields}To: {to};tag=phone\r\nContent-Length: 0\r\n\r\n");
        self.send(text.as_bytes()).await;
    }

    /// The text of a new request; `fields` end with line ends.
    pub(crate) fn request(&mut self, method: &str, uri: &str, fields: &str, body: &str) -> String {
        self.cseq += 1;
        let (user, domain, call_id, cseq) = (&self.user, &self.domain, &self.call_id, self.cseq);
        let to = if method == "REGISTER" {
            format!("sip:{user}@{domain}")
        } else {
            uri.to_owned()
        };
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/{} 198.51.100.1:9;branch=z9hG4bK{};rport\r\nMax-Forwards: 70\r\nFrom: <sip:{user}@{domain}>;tag=t{call_id}\r\nTo: <{to}>\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n{fields}Content-Length: {}\r\n\r\n{body}",
            self.transport(),
            number(),
            body.len()
        )
    }

    /// Sends a request and gives its final response.
    pub(crate) async fn ask(
        &mut self,
        method: &str,
        uri: &str,
        fields: &str,
        body: &str,
    ) -> Packet {
        let text = self.request(method, uri, fields, body);
        self.send(text.as_bytes()).await;
        self.response().await
    }

    /// Sends a request and answers its challenge.
    pub(crate) async fn ask_authenticated(
        &mut self,
        method: &str,
        uri: &str,
        fields: &str,
        body: &str,
    ) -> Packet {
        let challenge = self.ask(method, uri, fields, body).await;
        if challenge.status() != 401 {
            return challenge;
        }
        let authorization = self.authorization(challenge.get("WWW-Authenticate"), method, uri);
        self.ask(
            method,
            uri,
            &format!("{fields}Authorization: {authorization}\r\n"),
            body,
        )
        .await
    }

    /// Registers its contact for `expires` seconds.
    pub(crate) async fn register(&mut self, expires: u32) -> Packet {
        let fields = format!("Contact: {};expires={expires}\r\n", self.contact());
        self.register_with(&fields).await
    }

    pub(crate) async fn register_with(&mut self, fields: &str) -> Packet {
        let uri = format!("sip:{}", self.domain);
        self.ask_authenticated("REGISTER", &uri, fields, "").await
    }

    /// Sends a text to a user of its domain.
    pub(crate) async fn message(&mut self, to: &str, text: &str) -> Packet {
        let uri = format!("sip:{to}@{}", self.domain);
        self.ask_authenticated("MESSAGE", &uri, "Content-Type: text/plain\r\n", text)
            .await
    }

    /// The Authorization for a challenge.
    pub(crate) fn authorization(&self, challenge: &str, method: &str, uri: &str) -> String {
        let given = |name: &str| {
            let at = challenge.find(&format!("{name}=")).unwrap() + name.len() + 1;
            challenge[at..]
                .split(", ")
                .next()
                .unwrap()
                .trim_matches('"')
                .to_owned()
        };
        let (realm, nonce, algorithm) = (given("realm"), given("nonce"), given("algorithm"));
        let hash = |octets: &[u8]| -> String {
            let hex = |octets: &[u8]| octets.iter().map(|o| format!("{o:02x}")).collect();
            if algorithm == "MD5" {
                hex(&Md5::digest(octets))
            } else {
                hex(&Sha256::digest(octets))
            }
        };
        let password: Vec<u8> = if self.latin1 {
            self.password
                .chars()
                .map(|c| u8::try_from(u32::from(c)).unwrap())
                .collect()
        } else {
            self.password.clone().into_bytes()
        };
        let user = &self.user;
        let ha1 = hash(&[format!("{user}:{realm}:").as_bytes(), &password].concat());
        let ha2 = hash(format!("{method}:{uri}").as_bytes());
        let response = hash(format!("{ha1}:{nonce}:00000001:c:auth:{ha2}").as_bytes());
        format!(
            "Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", response=\"{response}\", algorithm={algorithm}, qop=auth, nc=00000001, cnonce=\"c\""
        )
    }
}

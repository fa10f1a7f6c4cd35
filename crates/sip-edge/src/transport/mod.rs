//! Sockets: listeners, flows, and sending over a flow.
//!
//! It must not know what a message means. Received messages go into one bounded queue; a flow is the only
//! way out: nothing is ever sent to an address that a message names.

mod connections;
mod stream;
mod udp;
mod websocket;

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sip_validate::message::{Malformed, Message};
use sipgraph_core::binding::{self, Transport};
use sipgraph_core::id::NodeId;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use connections::{Connections, Shared};
use stream::StreamListener;
use udp::UdpListener;

pub use websocket::HttpPeer;
pub(crate) use websocket::route as websocket_route;

/// The most messages received on streams that wait to be handled. Streams stop reading when it is full; datagrams
/// wait in the buffer of the system, or are lost and will be retransmitted.
const INBOUND_MAX: usize = 1024;

/// The threads that read a UDP listener: while one answers, the other reads.
const UDP_READERS: usize = 2;

/// The way to a peer: a connection, or a pair of addresses on UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Flow {
    pub(crate) transport: Transport,
    /// The address of our socket as it is bound.
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    /// The number of the connection in this run of the program; 0 on UDP.
    pub(crate) connection: i64,
}

impl Flow {
    /// The flow between a listener and a peer on UDP.
    pub(crate) fn udp(local: SocketAddr, remote: SocketAddr) -> Self {
        Self {
            transport: Transport::Udp,
            local,
            remote: plain(remote),
            connection: 0,
        }
    }

    /// The flow as core keeps it with a binding.
    pub(crate) fn to_core(self, node: NodeId) -> binding::Flow {
        binding::Flow {
            transport: self.transport,
            remote: self.remote.to_string(),
            local: self.local.to_string(),
            node,
            connection: self.connection,
        }
    }

    /// The flow of a binding; `None` for a connection of another run.
    pub(crate) fn from_core(flow: &binding::Flow, node: NodeId) -> Option<Self> {
        let is_here = !flow.transport.is_stream() || flow.node == node;
        is_here.then_some(())?;
        Some(Self {
            transport: flow.transport,
            local: flow.local.parse().ok()?,
            remote: flow.remote.parse().ok()?,
            connection: flow.connection,
        })
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.transport.as_str(), self.remote)
    }
}

/// An IPv4 peer of a dual-stack socket by its IPv4 address, so that it is one peer everywhere.
fn plain(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(v4) => (v4, address.port()).into(),
        // It keeps its scope, without which a link-local peer cannot be reached.
        IpAddr::V6(_) => address,
    }
}

/// What the sockets give.
#[derive(Debug)]
pub(crate) enum Inbound {
    /// A message.
    Message(Flow, Message),
    /// A message that breaks a rule. When it is unframed, its stream reads no more and is to be closed.
    Malformed(Flow, Malformed),
    /// The connection has ended; nothing can be sent over it any more.
    Closed {
        flow: Flow,
        /// Whether its peer ever authenticated itself.
        was_authenticated: bool,
    },
}

/// Why octets could not be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SendError {
    /// The connection has ended, or no listener fits the flow.
    Gone,
    /// The peer takes nothing; its connection was closed.
    QueueFull,
    /// The system refused.
    Io(String),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("the flow is gone"),
            Self::QueueFull => f.write_str("the queue of the connection is full"),
            Self::Io(error) => f.write_str(error),
        }
    }
}

/// Where a connection that we open leads: with the name that its certificate has.
type Destination = (Transport, SocketAddr, String);
/// A connection that we open, locked while it is made.
type Opened = Arc<tokio::sync::Mutex<Option<Flow>>>;

/// All sockets of the edge.
pub(crate) struct Transports {
    udp: Vec<UdpListener>,
    streams: Vec<StreamListener>,
    connections: Arc<Connections>,
    /// The listeners of the program beside these.
    others: Vec<SocketAddr>,
    /// The connections that we opened, by where they lead.
    opened: Mutex<HashMap<Destination, Opened>>,
    /// The client's side of TLS.
    tls_client: Option<Arc<rustls::ClientConfig>>,
    /// How often a WebSocket is pinged.
    websocket_ping: Duration,
    /// What a new WebSocket is served with; none before the start and after the end.
    shared: Mutex<Option<Shared>>,
}

impl Transports {
    /// Opens all listeners of the configuration.
    ///
    /// # Errors
    /// The first listener that cannot be opened, with its transport and address.
    pub(crate) async fn bind(
        config: &Config,
    ) -> Result<Self, (Transport, SocketAddr, std::io::Error)> {
        let mut udp = Vec::with_capacity(config.udp_listen.len());
        for address in &config.udp_listen {
            let listener = UdpListener::bind(*address);
            udp.push(listener.map_err(|error| (Transport::Udp, *address, error))?);
        }
        let tcp = config.tcp_listen.iter().map(|address| (address, None));
        let tls = config.tls.as_ref().map(|tls| {
            let acceptor = TlsAcceptor::from(Arc::clone(&tls.server));
            tls.listen
                .iter()
                .map(move |address| (address, Some(acceptor.clone())))
        });
        let mut streams = Vec::new();
        for (address, tls) in tcp.chain(tls.into_iter().flatten()) {
            let transport = match tls {
                None => Transport::Tcp,
                Some(_) => Transport::Tls,
            };
            let listener = StreamListener::bind(*address, tls).await;
            streams.push(listener.map_err(|error| (transport, *address, error))?);
        }
        Ok(Self {
            udp,
            streams,
            connections: Arc::new(Connections::new(config)),
            others: config.other_listeners.clone(),
            opened: Mutex::default(),
            tls_client: config.tls_client.clone(),
            websocket_ping: config.websocket_ping,
            shared: Mutex::default(),
        })
    }

    /// The addresses of the listeners, with the ports that the system chose.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = (Transport, SocketAddr)> {
        let udp = self.udp.iter().map(|l| (Transport::Udp, l.local));
        udp.chain(self.streams.iter().map(|l| (l.transport(), l.local)))
    }

    /// Starts to receive on streams, until `stop` is cancelled. Sending goes on until [`Transports::close_all`]; the
    /// queue ends when then every task has ended.
    pub(crate) fn start(&self, stop: &CancellationToken) -> mpsc::Receiver<Inbound> {
        let (inbound, receiver) = mpsc::channel(INBOUND_MAX);
        let shared = Shared {
            connections: Arc::clone(&self.connections),
            inbound,
            stop: stop.clone(),
        };
        for listener in &self.streams {
            tokio::spawn(listener.clone().accept(shared.clone()));
        }
        *self.shared.lock().unwrap_or_else(PoisonError::into_inner) = Some(shared);
        receiver
    }

    /// Starts to receive datagrams, until `stop` is cancelled: each listener has [`UDP_READERS`], and `take` makes what one
    /// gives its messages to.
    pub(crate) fn start_datagrams<T>(&self, stop: &CancellationToken, take: impl Fn() -> T)
    where
        T: FnMut(Inbound) + Send + 'static,
    {
        for listener in &self.udp {
            for _ in 0..UDP_READERS {
                listener.clone().receive(take(), stop.clone());
            }
        }
    }

    /// What a new WebSocket is served with, while connections are taken.
    fn shared(&self) -> Option<Shared> {
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.clone().filter(|s| !s.stop.is_cancelled())
    }

    /// Sends octets over a flow. On streams this puts them into the bounded queue of the connection.
    pub(crate) async fn send(&self, flow: &Flow, octets: Bytes) -> Result<(), SendError> {
        if flow.transport.is_stream() {
            return self.connections.send(flow.connection, octets);
        }
        // After a restart with port 0 the listener has another port: any of the same family will do.
        let same_family =
            |l: &&UdpListener| l.local.is_ipv4() == flow.remote.is_ipv4() || l.is_dual();
        let listener = self
            .udp
            .iter()
            .find(|l| l.local == flow.local)
            .or_else(|| self.udp.iter().find(same_family));
        listener.ok_or(SendError::Gone)?.send(&octets, flow.remote)
    }

    /// The way to an address that is not ours: over the socket of a listener on UDP; on TCP and TLS over the connection
    /// that was opened to it, or a new one. `host` is the name that a certificate must have.
    pub(crate) async fn connect(
        &self,
        transport: Transport,
        remote: SocketAddr,
        host: &str,
    ) -> Result<Flow, SendError> {
        if !transport.is_stream() {
            let fits = |l: &&UdpListener| l.local.is_ipv4() == remote.is_ipv4() || l.is_dual();
            let listener = self.udp.iter().find(fits).ok_or(SendError::Gone)?;
            return Ok(Flow::udp(listener.local, remote));
        }
        let place = self.opened_to((transport, remote, host.to_owned()));
        // Held over the connecting, so that messages that come together share one connection; each step has its limit.
        let mut opened = place.lock().await;
        if let Some(flow) = opened.filter(|flow| self.connections.is_open(flow.connection)) {
            return Ok(flow);
        }
        let shared = self.shared().ok_or(SendError::Gone)?;
        let client = stream::Client {
            tls: self.tls_client.clone(),
            transport,
            remote,
        };
        let flow = client.connect(host, shared).await?;
        *opened = Some(flow);
        Ok(flow)
    }

    /// The place of a connection that we open; those of closed ones are given up.
    fn opened_to(&self, key: Destination) -> Opened {
        let mut places = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        places.retain(|_, place| {
            // One that is being connected is locked.
            place.try_lock().map_or(true, |opened| {
                opened.is_some_and(|flow| self.connections.is_open(flow.connection))
            })
        });
        Arc::clone(places.entry(key).or_default())
    }

    /// Whether an address is that of a listener of the program.
    pub(crate) fn is_ours(&self, address: SocketAddr) -> bool {
        let is_here = |bound: IpAddr| {
            bound == address.ip()
                || bound.is_unspecified()
                    && (address.ip().is_loopback() || local_towards(address) == Some(address.ip()))
        };
        let bound = self.addresses().map(|(_, bound)| bound);
        bound
            .chain(self.others.iter().copied())
            .any(|bound| bound.port() == address.port() && is_here(bound.ip()))
    }

    /// Closes a connection once what is queued has been sent.
    pub(crate) fn close(&self, flow: &Flow) {
        self.connections.close(flow.connection);
    }

    /// Closes all connections once what is queued has been sent.
    pub(crate) fn close_all(&self) {
        let shared = self.shared.lock();
        drop(shared.unwrap_or_else(PoisonError::into_inner).take());
        self.connections.close_all();
    }

    /// How many connections are open.
    pub(crate) fn connections_open(&self) -> usize {
        self.connections.count()
    }

    /// Whether a flow can be sent over: always on UDP.
    pub(crate) fn is_open(&self, flow: &Flow) -> bool {
        !flow.transport.is_stream() || self.connections.is_open(flow.connection)
    }

    /// Notes that the peer has authenticated itself: its connection may then stay.
    pub(crate) fn authenticated(&self, flow: &Flow) {
        self.connections.authenticated(flow.connection);
    }
}

/// The local address from which the system would send to `remote`, for Via and where a listener is bound to
/// every address. Sends nothing.
pub(crate) fn local_towards(remote: SocketAddr) -> Option<IpAddr> {
    let any: SocketAddr = match remote {
        SocketAddr::V4(_) => ([0; 4], 0).into(),
        SocketAddr::V6(_) => ([0; 16], 0).into(),
    };
    let socket = std::net::UdpSocket::bind(any).ok()?;
    socket.connect(remote).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpStream, UdpSocket};
    use tokio::time::timeout;

    use super::*;

    const REQUEST: &str = "OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/TCP a;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:h>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";

    struct Fixture {
        transports: Transports,
        inbound: mpsc::Receiver<Inbound>,
        datagrams: mpsc::Receiver<Inbound>,
        stop: CancellationToken,
        udp: SocketAddr,
        tcp: SocketAddr,
    }

    impl Fixture {
        async fn start(change: impl FnOnce(&mut Config)) -> Self {
            let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
            let mut config = Config {
                udp_listen: vec![any],
                tcp_listen: vec![any],
                ..Config::default()
            };
            change(&mut config);
            let transports = Transports::bind(&config).await.unwrap();
            let stop = CancellationToken::new();
            let inbound = transports.start(&stop);
            let (queue, datagrams) = mpsc::channel(16);
            transports.start_datagrams(&stop, || {
                let queue = queue.clone();
                move |item| queue.blocking_send(item).unwrap()
            });
            let addresses: Vec<_> = transports.addresses().map(|(_, address)| address).collect();
            Self {
                transports,
                inbound,
                datagrams,
                stop,
                udp: addresses[0],
                tcp: addresses[1],
            }
        }

        async fn next(&mut self) -> Inbound {
            let next = async {
                tokio::select! {
                    Some(item) = self.inbound.recv() => item,
                    Some(item) = self.datagrams.recv() => item,
                }
            };
            timeout(Duration::from_secs(10), next).await.unwrap()
        }
    }

    /// What a peer reads until `end`, or until the connection ends.
    async fn read_until(stream: &mut TcpStream, end: &[u8]) -> Vec<u8> {
        let mut octets = Vec::new();
        while !octets.ends_with(end) || end.is_empty() {
            let read = timeout(Duration::from_secs(10), stream.read_buf(&mut octets)).await;
            // A reset is an end too.
            if read.unwrap().unwrap_or(0) == 0 {
                break;
            }
        }
        octets
    }

    #[tokio::test]
    async fn a_datagram_goes_in_and_out() {
        let mut fixture = Fixture::start(|_| {}).await;
        let phone = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        phone.send_to(b"\r\n\r\n", fixture.udp).await.unwrap();
        phone
            .send_to(REQUEST.as_bytes(), fixture.udp)
            .await
            .unwrap();
        let Inbound::Message(flow, message) = fixture.next().await else {
            panic!("no message")
        };
        assert_eq!(
            (message.method(), flow.remote),
            (Some("OPTIONS"), phone.local_addr().unwrap())
        );
        let node = NodeId::new(sipgraph_core::Timestamp(0), [0; 10]);
        assert_eq!(Flow::from_core(&flow.to_core(node), node), Some(flow));
        fixture
            .transports
            .send(&flow, Bytes::from_static(b"pong"))
            .await
            .unwrap();
        // After a restart the listener may have another port.
        let moved = Flow {
            local: "127.0.0.1:1".parse().unwrap(),
            ..flow
        };
        fixture
            .transports
            .send(&moved, Bytes::from_static(b"pong"))
            .await
            .unwrap();
        let mut buffer = [0; 10];
        for _ in 0..2 {
            assert_eq!(phone.recv(&mut buffer).await.unwrap(), 4);
        }
        let v6 = Flow {
            remote: "[2001:db8::1]:5060".parse().unwrap(),
            ..moved
        };
        assert_eq!(
            fixture.transports.send(&v6, Bytes::new()).await,
            Err(SendError::Gone)
        );
        fixture.stop.cancel();
    }

    #[tokio::test]
    async fn a_stream_answers_pings_and_tells_its_end() {
        let mut fixture = Fixture::start(|_| {}).await;
        let mut phone = TcpStream::connect(fixture.tcp).await.unwrap();
        phone.write_all(b"\r\n\r\n").await.unwrap();
        assert_eq!(read_until(&mut phone, b"\r\n").await, b"\r\n");
        phone.write_all(REQUEST.repeat(2).as_bytes()).await.unwrap();
        let Inbound::Message(flow, _) = fixture.next().await else {
            panic!("no message")
        };
        assert!(matches!(fixture.next().await, Inbound::Message(..)));
        assert!(fixture.transports.is_open(&flow));
        drop(phone);
        let closed = fixture.next().await;
        assert!(
            matches!(closed, Inbound::Closed { flow: f, was_authenticated: false } if f == flow)
        );
        assert!(!fixture.transports.is_open(&flow));
        assert_eq!(
            fixture.transports.send(&flow, Bytes::new()).await,
            Err(SendError::Gone)
        );
    }

    #[tokio::test]
    async fn a_broken_stream_gets_its_answer_and_is_closed() {
        let mut fixture = Fixture::start(|_| {}).await;
        let mut phone = TcpStream::connect(fixture.tcp).await.unwrap();
        phone
            .write_all(
                REQUEST
                    .replace("Content-Length: 0", "Content-Length: x")
                    .as_bytes(),
            )
            .await
            .unwrap();
        let Inbound::Malformed(flow, malformed) = fixture.next().await else {
            panic!("no fault")
        };
        assert!(malformed.unframed && malformed.request.is_some());
        fixture
            .transports
            .send(&flow, Bytes::from_static(b"400"))
            .await
            .unwrap();
        fixture.transports.close(&flow);
        assert_eq!(read_until(&mut phone, b"").await, b"400");
        assert!(matches!(fixture.next().await, Inbound::Closed { .. }));
    }

    #[tokio::test]
    async fn a_connection_must_authenticate_and_must_not_be_silent() {
        let mut fixture = Fixture::start(|config| {
            config.authenticate_timeout = Duration::from_millis(1);
            config.idle_timeout = Duration::from_secs(60);
        })
        .await;
        let mut phone = TcpStream::connect(fixture.tcp).await.unwrap();
        assert_eq!(read_until(&mut phone, b"").await, b"");
        assert!(matches!(fixture.next().await, Inbound::Closed { .. }));
        let mut fixture =
            Fixture::start(|config| config.idle_timeout = Duration::from_millis(1)).await;
        let mut phone = TcpStream::connect(fixture.tcp).await.unwrap();
        assert_eq!(read_until(&mut phone, b"").await, b"");
        assert!(matches!(fixture.next().await, Inbound::Closed { .. }));
    }

    #[tokio::test]
    async fn one_source_cannot_take_all_connections() {
        let mut fixture = Fixture::start(|config| config.connections_per_source_max = 1).await;
        let mut first = TcpStream::connect(fixture.tcp).await.unwrap();
        first.write_all(REQUEST.as_bytes()).await.unwrap();
        let Inbound::Message(flow, _) = fixture.next().await else {
            panic!("no message")
        };
        fixture.transports.authenticated(&flow);
        let mut second = TcpStream::connect(fixture.tcp).await.unwrap();
        assert_eq!(read_until(&mut second, b"").await, b"");
        drop(first);
        let closed = fixture.next().await;
        assert!(
            matches!(closed, Inbound::Closed { flow: f, was_authenticated: true } if f == flow)
        );
        let mut third = TcpStream::connect(fixture.tcp).await.unwrap();
        third.write_all(b"\r\n\r\n").await.unwrap();
        assert_eq!(read_until(&mut third, b"\r\n").await, b"\r\n");
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_is_closed() {
        let mut fixture = Fixture::start(|config| config.connections_per_source_max = 1).await;
        let mut phone = TcpStream::connect(fixture.tcp).await.unwrap();
        phone.write_all(REQUEST.as_bytes()).await.unwrap();
        let Inbound::Message(flow, _) = fixture.next().await else {
            panic!("no message")
        };
        let octets = Bytes::from(vec![b'x'; 1024 * 1024]);
        let mut result = Ok(());
        for _ in 0..200 {
            result = fixture.transports.send(&flow, octets.clone()).await;
            if result.is_err() {
                break;
            }
        }
        assert_eq!(result, Err(SendError::QueueFull));
        assert!(!fixture.transports.is_open(&flow));
        // It counts until nothing is written to it any more.
        let mut second = TcpStream::connect(fixture.tcp).await.unwrap();
        assert_eq!(read_until(&mut second, b"").await, b"");
        drop(phone);
        assert!(matches!(fixture.next().await, Inbound::Closed { .. }));
        let mut third = TcpStream::connect(fixture.tcp).await.unwrap();
        third.write_all(b"\r\n\r\n").await.unwrap();
        assert_eq!(read_until(&mut third, b"\r\n").await, b"\r\n");
    }

    #[tokio::test]
    async fn a_taken_address_is_named() {
        let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let taken_at = taken.local_addr().unwrap();
        let config = Config {
            tcp_listen: vec![taken_at],
            ..Config::default()
        };
        let (transport, address, _) = Transports::bind(&config).await.err().unwrap();
        assert_eq!((transport, address), (Transport::Tcp, taken_at));
    }
}

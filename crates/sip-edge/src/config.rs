//! What the operator can choose.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The configuration of the SIP edge.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen on UDP; port 0 lets the system choose one.
    pub udp_listen: Vec<SocketAddr>,
    /// Where to listen on TCP; port 0 lets the system choose one.
    pub tcp_listen: Vec<SocketAddr>,
    /// TLS; none without.
    pub tls: Option<Tls>,
    /// The host that Via names in requests of ours; by default the local address towards the device.
    pub advertised_host: Option<String>,
    /// What a device gets that asks for no time, in seconds.
    pub expires_s_default: u32,
    /// The most open connections.
    pub connections_max: usize,
    /// The most open connections of one source: an IPv4 address, or an IPv6 /64.
    pub connections_per_source_max: usize,
    /// How long a connection may stay without an authenticated request.
    pub authenticate_timeout: Duration,
    /// How long a connection may be silent; a keep-alive counts.
    pub idle_timeout: Duration,
    /// How often each device is asked whether it is there; `None` asks none.
    pub qualify: Option<Duration>,
    /// How often a WebSocket is pinged; one that says nothing for twice as long is closed.
    pub websocket_ping: Duration,
    /// Whether requests for a domain that is not here get no answer, rather than 404.
    pub strict_domain: bool,
}

/// The TLS listeners.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Where to listen; port 0 lets the system choose one.
    pub listen: Vec<SocketAddr>,
    /// The server's side of TLS, with its certificate.
    pub server: Arc<rustls::ServerConfig>,
}

impl Default for Config {
    /// The defaults of the program, without any listener.
    fn default() -> Self {
        Self {
            udp_listen: Vec::new(),
            tcp_listen: Vec::new(),
            tls: None,
            advertised_host: None,
            expires_s_default: 3600,
            connections_max: 20_000,
            connections_per_source_max: 1_000,
            authenticate_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(900),
            qualify: None,
            websocket_ping: Duration::from_secs(30),
            strict_domain: false,
        }
    }
}

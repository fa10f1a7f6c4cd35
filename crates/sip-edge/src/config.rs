//! What the operator can choose.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// Timer F (RFC 3261 section 17.1.2.2) and a little: core's lease outlasts it and the waits before it.
pub const TRUNK_TIMEOUT: Duration = Duration::from_secs(33);

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
    /// Networks of this machine or its neighbours in which addresses of trunks may lie; none by default.
    pub trunk_networks: Vec<Network>,
    /// The addresses of the program's listeners that are not the edge's; no trunk leads there.
    pub other_listeners: Vec<SocketAddr>,
    /// How long an attempt at an address of a trunk may take, from the resolution of the name to the answer to the request that
    /// answers a challenge.
    pub trunk_timeout: Duration,
    /// The client's side of TLS towards trunks; without it none is reached over TLS.
    pub tls_client: Option<Arc<rustls::ClientConfig>>,
    /// Whether requests for a domain that is not here get no answer, rather than 404.
    pub strict_domain: bool,
}

/// A network: an address and how many of its first bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether an address lies in it.
    #[must_use]
    pub fn has(&self, ip: IpAddr) -> bool {
        let prefix = u32::from(self.prefix);
        match (self.address, ip) {
            (IpAddr::V4(own), IpAddr::V4(ip)) => {
                let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
                own.to_bits() & mask == ip.to_bits() & mask
            }
            (IpAddr::V6(own), IpAddr::V6(ip)) => {
                let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
                own.to_bits() & mask == ip.to_bits() & mask
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    /// Reads `10.0.0.0/8`, `fd00::/8`, or an address alone.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text} is no network, such as 10.0.0.0/8");
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(prefix) => prefix.parse().map_err(|_| wrong())?,
        };
        if prefix > longest {
            return Err(wrong());
        }
        Ok(Self { address, prefix })
    }
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
            trunk_networks: Vec::new(),
            other_listeners: Vec::new(),
            trunk_timeout: TRUNK_TIMEOUT,
            tls_client: None,
            strict_domain: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_have_their_addresses() {
        let has =
            |network: &str, ip: &str| network.parse::<Network>().unwrap().has(ip.parse().unwrap());
        assert!(has("10.0.0.0/8", "10.255.0.1") && !has("10.0.0.0/8", "11.0.0.1"));
        assert!(has("127.0.0.1", "127.0.0.1") && !has("127.0.0.1", "127.0.0.2"));
        assert!(has("0.0.0.0/0", "192.0.2.1") && !has("0.0.0.0/0", "::1"));
        assert!(has("fd00::/8", "fd12::1") && !has("fd00::/8", "fe80::1") && has("::/0", "::1"));
        for wrong in ["", "10.0.0.0/33", "::/129", "10/8", "10.0.0.0/x", "host"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}

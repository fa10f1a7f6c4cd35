//! Bindings: which contact an endpoint registered, over which flow, and until when (RFC 3261 section 10).

use crate::event::ContactStatus;
use crate::id::NodeId;
use crate::{AccountId, BindingId, EndpointId, EndpointTokenId, Timestamp};
use std::time::Duration;

/// The most bindings of one endpoint.
pub const BINDINGS_MAX: usize = 10;

/// A transport of SIP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// WebSocket (RFC 7118).
    Ws,
    /// Secure WebSocket (RFC 7118).
    Wss,
}

impl Transport {
    /// Returns whether it is a connection: its bindings end with it.
    #[must_use]
    pub fn is_stream(self) -> bool {
        match self {
            Transport::Udp => false,
            Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => true,
        }
    }

    /// Returns whether it is encrypted.
    #[must_use]
    pub fn is_secure(self) -> bool {
        match self {
            Transport::Udp | Transport::Tcp | Transport::Ws => false,
            Transport::Tls | Transport::Wss => true,
        }
    }

    /// Returns its name as Via and the `transport` parameter spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
            Transport::Ws => "WS",
            Transport::Wss => "WSS",
        }
    }
}

/// The way back to a device: messages go over it and never to the host in its Contact.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Flow {
    /// The transport.
    pub transport: Transport,
    /// The device's address and port as seen here, `192.0.2.1:5060` or `[2001:db8::1]:5060`.
    pub remote: String,
    /// Our listener's address and port.
    pub local: String,
    /// The run of the program that holds a stream's connection.
    pub node: NodeId,
    /// The connection's number in that run; 0 for UDP, which has none.
    pub connection: i64,
}

/// A contact that an endpoint registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// Its id.
    pub id: BindingId,
    /// The owner.
    pub account: AccountId,
    /// The endpoint.
    pub endpoint: EndpointId,
    /// The Contact URI as given, without header parameters.
    pub contact_uri: String,
    /// The way to the device.
    pub flow: Flow,
    /// Call-ID of the REGISTER that last changed it.
    pub call_id: String,
    /// CSeq number of that REGISTER.
    pub cseq: u32,
    /// `+sip.instance` (RFC 5626).
    pub instance: Option<String>,
    /// `reg-id` (RFC 5626).
    pub reg_id: Option<u32>,
    /// Path of that REGISTER (RFC 3327): the proxies between, as a Route to the device names them.
    pub path: Option<String>,
    /// User-Agent of the device.
    pub user_agent: Option<String>,
    /// When the contact was first bound.
    pub registered_at: Timestamp,
    /// When it was last written or refreshed.
    pub refreshed_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Whether the device answered the last OPTIONS; `NonQualified` when none was sent.
    pub status: ContactStatus,
    /// How long that answer took; `None` without an answer.
    pub round_trip: Option<Duration>,
    /// When that OPTIONS ended.
    pub qualified_at: Option<Timestamp>,
    /// The endpoint token that it was registered with, whose end it does not outlive.
    pub token: Option<EndpointTokenId>,
}

/// What a refresh changes of a binding, which is written behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refresh {
    /// Call-ID of the refresh.
    pub call_id: String,
    /// CSeq of the refresh.
    pub cseq: u32,
    /// When it came.
    pub at: Timestamp,
    /// The new end.
    pub expires_at: Timestamp,
}

impl Refresh {
    /// Refreshes a binding, unless that was changed after the refresh came.
    pub fn apply_to(&self, binding: &mut Binding) {
        if binding.refreshed_at <= self.at {
            binding.call_id.clone_from(&self.call_id);
            binding.cseq = self.cseq;
            binding.refreshed_at = self.at;
            binding.expires_at = self.expires_at;
        }
    }
}

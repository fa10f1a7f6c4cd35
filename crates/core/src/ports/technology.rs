//! A technology carries messages to contacts: SIP, or a simulation.

use super::PortFuture;
use crate::binding::{Binding, Transport};
use crate::endpoint::Simulation;
use crate::keyring::Secret;
use crate::message::Variables;
use crate::{AddressId, EndpointId};
use std::num::NonZeroU32;
use std::time::Duration;

/// Where an attempt goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptTarget {
    /// To a contact, over its flow.
    Contact(Box<Binding>),
    /// To an address of a trunk.
    Address(Box<TrunkAddress>),
}

/// An address of a trunk, with what is needed to send to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrunkAddress {
    /// Its id.
    pub id: AddressId,
    /// An IP address or a host name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// UDP, TCP or TLS.
    pub transport: Transport,
    /// The Request-URI.
    pub request_uri: String,
    /// The user name and password for its digest challenge.
    pub credentials: Option<(String, Secret)>,
    /// How fast the trunk may be sent to, if it has a limit.
    pub pace: Option<Pace>,
}

/// How fast a trunk may be sent to: its `cpsLimit`. All that goes to the trunk from this node shares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The trunk.
    pub trunk: EndpointId,
    /// The most messages a second.
    pub per_second: NonZeroU32,
}

impl Pace {
    /// Returns the least time between two messages.
    #[must_use]
    pub fn interval(&self) -> Duration {
        Duration::from_secs(1) / self.per_second.get()
    }
}

/// The longest wait for the turn at a trunk: a lease must outlast it, the wait for those before to the same number, and the
/// attempt.
pub const TRUNK_WAIT_MAX: Duration = Duration::from_secs(40);

/// One MESSAGE to one target. All that identifies it is fixed, so that a repeated attempt is recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Where it goes; nothing is ever sent elsewhere.
    pub target: AttemptTarget,
    /// How the contact behaves when it is a simulated one.
    pub simulation: Option<Simulation>,
    /// Counts the attempts to this contact, from 1.
    pub number: i32,
    /// Whether it is a notice that nobody misses: it is not sent while others are outstanding at the contact, and holds up
    /// none.
    pub is_notice: bool,
    /// The From URI.
    pub from: String,
    /// The display name of From.
    pub from_name: Option<String>,
    /// The To URI.
    pub to: String,
    /// The body.
    pub body: String,
    /// The media type of the body.
    pub content_type: String,
    /// Header fields that go with it; none is one that a MESSAGE has of its own.
    pub variables: Variables,
    /// Call-ID.
    pub call_id: String,
    /// From tag.
    pub from_tag: String,
    /// CSeq number.
    pub cseq: u32,
    /// Via branch, with the magic cookie of RFC 3261 section 8.1.1.7.
    pub branch: String,
    /// Seconds until the message's time is up, for the Expires header.
    pub expires_s: u32,
}

/// How the attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptResult {
    /// A final answer came.
    Answered {
        /// The SIP status, 200 to 699.
        status: u16,
        /// The reason phrase.
        reason: String,
        /// Retry-After in seconds, if given.
        retry_after_s: Option<u32>,
    },
    /// No final answer came (timer F).
    Timeout,
    /// The flow is gone or failed.
    TransportError(String),
    /// Nothing was sent: an earlier message has to go first, too many wait for the contact, or the trunk's limit.
    NotSent,
}

/// Carries messages of one technology.
pub trait Technology: Send + Sync {
    /// Queues a MESSAGE for its target and returns its final answer. The place in the queue is taken by the call
    /// itself, not by the first poll; one MESSAGE at a time is outstanding at each contact. When that failed for now
    /// ([`crate::decide::delivery::holds`]), those that wait behind it are [`AttemptResult::NotSent`]. An answer comes within
    /// 64 seconds, the wait in the queue included and that for a trunk's turn not: what can't be sent by then is
    /// [`AttemptResult::NotSent`] too. An
    /// unreachable contact never delays another.
    fn deliver(&self, attempt: Attempt) -> PortFuture<'static, AttemptResult>;
}

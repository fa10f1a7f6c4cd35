//! Endpoints: what registers, sends and receives.

mod kind;
mod media;
mod nested;

pub use kind::{EndpointField, EndpointType, VOICEMAIL_PROPERTIES};
pub use media::{Cipher, Codec, Encryption, each_once};
pub use nested::{
    ADDRESSES_MAX, Address, AddressDirection, JSON_BYTES_MAX, JSON_DEPTH_MAX, Nested, NestedMode,
    PORT_DEFAULT, Transformation,
};

use crate::binding::Transport;
use crate::digest::DigestAlgorithm;
use crate::{AccountId, ApplicationId, DomainId, EndpointId, Timestamp};

/// The longest display name and caller id, in characters; what fits a phone's list without being cut by a database.
pub const DISPLAY_NAME_MAX: usize = 255;
/// The longest description, in characters.
pub const DESCRIPTION_MAX: usize = 1024;
/// What `sendAs` says in place of a number: any of the account's numbers, kept for a chat.
pub const SEND_AS_RANDOM: &str = "random";
/// The most numbers of an endpoint; they are read with it.
pub const NUMBERS_MAX: usize = 100;
/// The most endpoints that one call makes.
pub const BULK_MAX: usize = 1000;

/// Whether an endpoint can be reached, as ARI names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndpointState {
    /// It never registered.
    Unknown,
    /// It has at least one contact.
    Online,
    /// Its last contact is gone.
    Offline,
}

/// How an endpoint without a phone behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Simulation {
    /// Answers each message with its own text.
    Echo,
    /// Refuses each attempt for now: 486.
    Busy,
    /// Takes each message after some seconds.
    Slow,
    /// Refuses the first attempt of each message for now, 503, and takes the second.
    Flaky,
    /// Is never there.
    Offline,
}

impl Simulation {
    /// Returns whether it behaves as a registered device.
    #[must_use]
    pub fn is_there(self) -> bool {
        match self {
            Simulation::Echo | Simulation::Busy | Simulation::Slow | Simulation::Flaky => true,
            Simulation::Offline => false,
        }
    }
}

/// An endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// Its owner.
    pub account: AccountId,
    /// Its domain.
    pub domain: DomainId,
    /// The name of its domain; immutable as the domain's name is.
    pub domain_name: String,
    /// Counted per account from 1, never reused (the PBX's `extension_id`).
    pub external_id: i64,
    /// What it is; immutable.
    pub kind: EndpointType,
    /// The user part of its address-of-record as given; immutable.
    pub name: String,
    /// The canonical form of the name (RFC 3261 section 10.3 step 5); unique in its domain.
    pub canonical_name: String,
    /// The label for people.
    pub display_name: Option<String>,
    /// A note for people.
    pub description: Option<String>,
    /// Its application.
    pub application: Option<ApplicationId>,
    /// Whether it may register, send and receive.
    pub enabled: bool,
    /// Whether it has a password to register with.
    pub has_password: bool,
    /// Which digests of its password are kept, and so accepted; the challenge is its domain's.
    pub digest_algorithms: Vec<DigestAlgorithm>,
    /// The E.164 numbers on which it receives and from which it sends, in the order given.
    pub numbers: Vec<String>,
    /// The name that others see as the caller.
    pub caller_id: Option<String>,
    /// The E.164 number that it sends from, or [`SEND_AS_RANDOM`]; `None` means as the profile says.
    pub send_as: Option<String>,
    /// Whether it may reach numbers outside.
    pub allow_outside: bool,
    /// Its cipher suites, most preferred first; `None` means the profile's.
    pub ciphers: Option<Vec<Cipher>>,
    /// Its codecs, most preferred first; `None` means the profile's.
    pub codecs: Option<Vec<Codec>>,
    /// Whether encrypted transports are demanded; [`Endpoint::demands_tls`] says what comes of it.
    pub encryption: Encryption,
    /// Whether the account's profile demands encrypted transports of endpoints that leave it to the profile.
    pub profile_encrypts: bool,
    /// The most inbound calls at a time.
    pub capacity: i32,
    /// The most outbound calls a second; `None` means any number. The operator's to set.
    pub cps_limit: Option<i32>,
    /// Whether what it sends must be authenticated.
    pub auth_required: bool,
    /// Its addresses, attributes, properties and transformations.
    pub nested: Nested,
    /// The user name for digest challenges of a trunk.
    pub out_sip_username: Option<String>,
    /// Whether it has a password for digest challenges of a trunk.
    pub has_out_sip_password: bool,
    /// Set when no phone stands behind it.
    pub simulation: Option<Simulation>,
    /// Whether it can be reached.
    pub state: EndpointState,
    /// When it was made.
    pub created_at: Timestamp,
    /// When a field was last changed; presence does not count.
    pub updated_at: Timestamp,
    /// Counts the changes of its fields, from 1; presence does not count.
    pub version: i64,
    /// Counts the changes of its set of bindings, from 0.
    pub bindings_revision: i64,
}

impl Endpoint {
    /// Returns `canonical-user@domain`, which names it in chats and messages.
    #[must_use]
    pub fn address(&self) -> String {
        format!("{}@{}", self.canonical_name, self.domain_name)
    }

    /// Returns whether it must be reached over an encrypted transport: its effective encryption.
    #[must_use]
    pub fn demands_tls(&self) -> bool {
        match self.encryption {
            Encryption::Required => true,
            Encryption::Default => self.profile_encrypts,
            Encryption::Optional => false,
        }
    }

    /// Returns whether it may be reached over a transport, and may reach us over it.
    #[must_use]
    pub fn allows(&self, transport: Transport) -> bool {
        !self.demands_tls() || transport.is_secure()
    }

    /// Returns its address-of-record as a SIP URI.
    #[must_use]
    pub fn sip_uri(&self) -> String {
        format!("sip:{}@{}", self.name, self.domain_name)
    }
}

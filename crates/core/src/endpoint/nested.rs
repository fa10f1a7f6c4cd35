//! The nested objects of an endpoint: addresses, attributes, properties and transformations.

use crate::binding::Transport;
use crate::json::JsonObject;
use crate::transformation::Rule;
use crate::{AddressId, TransformationId};

/// The most addresses of an endpoint; each is tried in turn when a trunk fails over.
pub const ADDRESSES_MAX: usize = 32;
/// The most bytes of `attributes`, and of `properties`, as JSON text: they are read with every endpoint.
pub const JSON_BYTES_MAX: usize = 16 * 1024;
/// How deep `attributes` and `properties` may nest; readers of JSON recurse.
pub const JSON_DEPTH_MAX: usize = 16;
/// The port of an address when none is given (RFC 3261 section 19.1.2).
pub const PORT_DEFAULT: u16 = 5060;

/// For which calls and messages an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum AddressDirection {
    /// For both.
    #[default]
    Any,
    /// What comes from it.
    Inbound,
    /// What goes to it.
    Outbound,
}

/// Where a trunk stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Its id.
    pub id: AddressId,
    /// For what it is.
    pub direction: AddressDirection,
    /// An IP address or a host name, as given.
    pub ip: String,
    /// Its port.
    pub port: u16,
    /// The port of ours at which it may arrive.
    pub dst_port: u16,
    /// Lower is tried first.
    pub priority: i32,
    /// How it is reached.
    pub transport: Transport,
    /// Whether its media is encrypted with SRTP.
    pub srtp: bool,
    /// The caller's name of its location.
    pub location_sid: Option<String>,
    /// The user name for its digest challenge.
    pub sip_username: Option<String>,
    /// Whether it has a password for its digest challenge.
    pub has_sip_password: bool,
}

/// A rule on numbers with the id by which an update names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transformation {
    /// Its id.
    pub id: TransformationId,
    /// The rule.
    pub rule: Rule,
}

/// All nested objects of an endpoint; read and written together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Nested {
    /// Where it stands, in the order given.
    pub addresses: Vec<Address>,
    /// What the caller keeps with it.
    pub attributes: JsonObject,
    /// What its type needs.
    pub properties: JsonObject,
    /// Rules on numbers, in the order in which they are applied.
    pub transformations: Vec<Transformation>,
}

impl Nested {
    /// Returns whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self {
            addresses,
            attributes,
            properties,
            transformations,
        } = self;
        addresses.is_empty()
            && attributes.is_empty()
            && properties.is_empty()
            && transformations.is_empty()
    }
}

/// How nested objects of an update meet those that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum NestedMode {
    /// Maps per key, lists per item: what is not named stays.
    #[default]
    Merge,
    /// Exactly what is given.
    Replace,
}

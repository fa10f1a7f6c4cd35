//! SIP domains: the part of an address behind the `@`, and the realm of its endpoints' digests.

use crate::{AccountId, DomainId, Timestamp, digest::DigestAlgorithm};

/// The most domains that an account may have (the Bandwidth limit).
pub const DOMAINS_MAX: u32 = 100;
/// The most aliases of one domain; each is a row to look up and a name to keep unique.
pub const ALIASES_MAX: usize = 16;

/// A SIP domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    /// Its id.
    pub id: DomainId,
    /// Its owner.
    pub account: AccountId,
    /// Its host name in lower case; the digest realm; unique in the instance.
    pub name: String,
    /// Other host names or addresses that mean this domain, in lower case, sorted; unique in the instance.
    pub aliases: Vec<String>,
    /// A note for people.
    pub description: Option<String>,
    /// What its challenge offers, most preferred first; never empty.
    pub digest_algorithms: Vec<DigestAlgorithm>,
    /// Whether messages between two devices of the domain are kept in chats.
    pub record_internal_messages: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// Counts its changes, from 1.
    pub version: i64,
}

//! Endpoint tokens: short-lived passwords, which a device registers with in place of the endpoint's own.

use crate::digest::Ha1;
use crate::{AccountId, EndpointId, EndpointTokenId, Timestamp};

/// The most live tokens of one endpoint; each is a password to try at a login.
pub const LIVE_MAX: u32 = 20;
/// The longest life of a token, in seconds: a working day, and the night.
pub const LIFE_S_MAX: u32 = 24 * 3600;

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointToken {
    /// Its id.
    pub id: EndpointTokenId,
    /// The owner.
    pub account: AccountId,
    /// The endpoint that it is a password of.
    pub endpoint: EndpointId,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// A live token as the SIP edge needs it; secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenCredentials {
    /// Its id.
    pub id: EndpointTokenId,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Its HA1 values.
    pub ha1: Vec<Ha1>,
}

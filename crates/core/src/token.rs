//! API tokens: bearer secrets with scopes, an end, and optionally a set of endpoints.

use crate::access::Scope;
use crate::{AccountId, EndpointId, Timestamp, TokenId};

/// The longest name of a token, in characters.
pub const TOKEN_NAME_MAX: usize = 128;
/// The most endpoints that one token may be bound to; each request checks them.
pub const TOKEN_ENDPOINTS_MAX: usize = 100;

/// A token, without its secret, which is kept only as a hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// Its id.
    pub id: TokenId,
    /// The owner.
    pub account: AccountId,
    /// Its name, for people.
    pub name: String,
    /// What it may do, sorted.
    pub scopes: Vec<Scope>,
    /// The only endpoints it sees and acts as, sorted; `None` means all of the account.
    pub endpoints: Option<Vec<EndpointId>>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends; `None` means never.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

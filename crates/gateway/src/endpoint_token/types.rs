//! What clients see of endpoint tokens. Secrets are shown once, by the mutation that makes them.

use async_graphql::{ID, SimpleObject};
use sipgraph_core::endpoint_token;

use crate::{errors::UserError, id::NodeId, scalars::DateTime};

/// A short-lived password of an endpoint, without its secret. A phone registers with the endpoint's user name and this
/// password until it ends; its registration ends with it.
#[derive(SimpleObject)]
pub(crate) struct EndpointToken {
    /// Its opaque id.
    id: ID,
    /// When it ends.
    expires_at: DateTime,
    /// When it was revoked; null while it is not.
    revoked_at: Option<DateTime>,
}

impl EndpointToken {
    pub(super) fn new(row: &endpoint_token::EndpointToken) -> Self {
        Self {
            id: row.id.to_id(),
            expires_at: DateTime(row.expires_at),
            revoked_at: row.revoked_at.map(DateTime),
        }
    }
}

/// The answer to `createEndpointToken`.
#[derive(SimpleObject)]
pub(crate) struct CreateEndpointTokenPayload {
    /// The token; null when it was refused.
    pub(super) endpoint_token: Option<EndpointToken>,
    /// The password. It is told in this one answer; null when the call was refused, and in a replay.
    pub(super) secret: Option<String>,
    /// True when an earlier call with the same idempotency key made it.
    pub(super) replayed: bool,
    /// What the caller can mend; empty when the token was made.
    pub(super) user_errors: Vec<UserError>,
}

/// The answer to `revokeEndpointToken`.
#[derive(SimpleObject)]
pub(crate) struct RevokeEndpointTokenPayload {
    /// The token as it is now; null when it was refused.
    pub(super) endpoint_token: Option<EndpointToken>,
    /// True when an earlier call with the same idempotency key revoked it.
    pub(super) replayed: bool,
    /// What the caller can mend; empty when the token was revoked.
    pub(super) user_errors: Vec<UserError>,
}

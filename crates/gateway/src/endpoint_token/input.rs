//! What clients say about endpoint tokens.

use async_graphql::{ID, InputObject};
use sipgraph_core::{EndpointId, decide::endpoint_tokens::NewEndpointToken};

use crate::id::NodeId;

/// A short-lived password to make.
#[derive(InputObject)]
pub(crate) struct CreateEndpointTokenInput {
    /// The opaque id of the endpoint that it is a password of. An endpoint has at most 20 live tokens.
    endpoint_id: ID,
    /// How long it lives, in seconds: 1 to 86400; never longer than the token of this request.
    expires_in_seconds: i32,
    /// Makes the call safe to repeat: with the same key and input it is done once. Kept for 24 hours.
    pub(super) idempotency_key: Option<String>,
}

impl CreateEndpointTokenInput {
    pub(super) fn to_core(&self) -> NewEndpointToken {
        NewEndpointToken {
            endpoint: EndpointId::of(&self.endpoint_id),
            expires_in_s: self.expires_in_seconds.into(),
        }
    }
}

/// An endpoint token to revoke.
#[derive(InputObject)]
pub(crate) struct RevokeEndpointTokenInput {
    /// Its opaque id. What was registered with it is removed at once.
    pub(super) id: ID,
    /// Makes the call safe to repeat: with the same key and input it is done once. Kept for 24 hours.
    pub(super) idempotency_key: Option<String>,
}

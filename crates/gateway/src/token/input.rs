//! What clients say about tokens.

use async_graphql::{ID, InputObject};
use sipgraph_core::{EndpointId, decide::tokens::NewToken};

use crate::id::NodeId;

/// A token to make. It can have only what the token of this request has itself.
#[derive(InputObject)]
pub(crate) struct CreateApiTokenInput {
    /// Its name, for people; at most 128 characters.
    name: String,
    /// What it may do: `endpoints.read`, `messages.manage` and so on.
    scopes: Vec<String>,
    /// The only endpoints that it sees and acts as, at most 100; absent for those of the token of this request.
    endpoint_ids: Option<Vec<ID>>,
    /// How long it lives, in seconds; absent for as long as the token of this request.
    expires_in_seconds: Option<i32>,
    /// Makes the call safe to repeat: with the same key and input it is done once. Kept for 24 hours.
    pub(super) idempotency_key: Option<String>,
}

impl CreateApiTokenInput {
    pub(super) fn to_core(&self) -> NewToken {
        NewToken {
            name: self.name.clone(),
            scopes: self.scopes.clone(),
            endpoints: self.endpoint_ids.as_deref().map(EndpointId::all),
            expires_in_s: self.expires_in_seconds.map(i64::from),
        }
    }
}

/// A token to revoke.
#[derive(InputObject)]
pub(crate) struct RevokeApiTokenInput {
    /// Its opaque id. Its open sockets are closed within two seconds.
    pub(super) id: ID,
    /// Makes the call safe to repeat: with the same key and input it is done once. Kept for 24 hours.
    pub(super) idempotency_key: Option<String>,
}

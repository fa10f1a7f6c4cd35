//! What clients see of tokens. Secrets are shown once, by the mutation that makes them.

use async_graphql::{Context, ID, Object, SimpleObject};
use sipgraph_core::{access::Scope, token};

use crate::{
    connection::connection,
    errors::UserError,
    id::NodeId,
    resolve::{Plain, Row, plain},
    scalars::DateTime,
};

/// A token.
pub(crate) struct ApiToken {
    row: token::ApiToken,
}

impl ApiToken {
    pub(crate) fn new(row: token::ApiToken) -> Self {
        Self { row }
    }
}

/// A bearer token of this API, without its secret.
#[Object]
impl ApiToken {
    /// Its opaque id.
    pub(crate) async fn id(&self) -> ID {
        self.row.id.to_id()
    }

    /// Its name, for people.
    fn name(&self) -> &str {
        &self.row.name
    }

    /// What it may do, sorted; `<resource>.manage` includes the other scopes of its resource.
    async fn scopes(&self) -> Vec<&'static str> {
        self.row.scopes.iter().copied().map(Scope::as_str).collect()
    }

    /// The only endpoints that it sees and acts as; null when it sees all of its account.
    async fn endpoint_ids(&self) -> Option<Vec<ID>> {
        let bound = self.row.endpoints.as_ref()?;
        Some(bound.iter().map(|id| id.to_id()).collect())
    }

    /// When it was made.
    fn created_at(&self) -> DateTime {
        DateTime(self.row.created_at)
    }

    /// When it ends; null when it does not.
    fn expires_at(&self) -> Option<DateTime> {
        self.row.expires_at.map(DateTime)
    }

    /// When it was revoked; null while it is not.
    fn revoked_at(&self) -> Option<DateTime> {
        self.row.revoked_at.map(DateTime)
    }
}

impl Row for ApiToken {
    fn plain(name: &str) -> Option<Plain<Self>> {
        plain!(name,
            "id" => |token: &Self, _: &Context<'_>| token.row.id.to_id(),
            "name" => Self::name,
            "createdAt" => Self::created_at,
            "expiresAt" => Self::expires_at,
            "revokedAt" => Self::revoked_at,
        )
    }
}

connection!(
    /// A page of tokens, newest first.
    ApiTokenConnection,
    /// A token in a page.
    ApiTokenEdge,
    ApiToken
);

/// The answer to `createApiToken`.
#[derive(SimpleObject)]
pub(crate) struct CreateApiTokenPayload {
    /// The token; null when it was refused.
    pub(crate) api_token: Option<ApiToken>,
    /// The bearer secret. It is told in this one answer; null when the call was refused, and in a replay.
    pub(crate) secret: Option<String>,
    /// True when an earlier call with the same idempotency key made it.
    pub(crate) replayed: bool,
    /// What the caller can mend; empty when the token was made.
    pub(crate) user_errors: Vec<UserError>,
}

/// The answer to `revokeApiToken`.
#[derive(SimpleObject)]
pub(crate) struct RevokeApiTokenPayload {
    /// The token as it is now; null when it was refused.
    pub(crate) api_token: Option<ApiToken>,
    /// True when an earlier call with the same idempotency key revoked it.
    pub(crate) replayed: bool,
    /// What the caller can mend; empty when the token was revoked.
    pub(crate) user_errors: Vec<UserError>,
}

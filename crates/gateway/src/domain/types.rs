//! What clients see of domains.

use async_graphql::{Context, Enum, ID, Object, SimpleObject};
use sipgraph_core::{digest, domain};

use crate::{
    connection::connection,
    errors::UserError,
    id::NodeId,
    resolve::{Plain, Row, plain},
    scalars::DateTime,
};

/// A hash of SIP digest authentication.
#[derive(Clone, Copy, Debug, Enum, PartialEq, Eq)]
#[graphql(remote = "digest::DigestAlgorithm")]
pub(crate) enum DigestAlgorithm {
    /// SHA-256 (RFC 7616, RFC 8760).
    #[graphql(name = "SHA_256")]
    Sha256,
    /// SHA-512-256 (RFC 7616, RFC 8760); few phones know it.
    #[graphql(name = "SHA_512_256")]
    Sha512_256,
    /// MD5 (RFC 2617), which every phone can do.
    Md5,
}

/// A SIP domain.
pub(crate) struct Domain {
    row: domain::Domain,
}

impl Domain {
    pub(crate) fn new(row: domain::Domain) -> Self {
        Self { row }
    }
}

/// A SIP domain: what stands behind the `@` of an address, and the realm of its endpoints' passwords.
#[Object]
impl Domain {
    /// Its opaque id.
    pub(crate) async fn id(&self) -> ID {
        self.row.id.to_id()
    }

    /// Its host name in lower case, which is also the digest realm; unique in the instance, immutable.
    fn name(&self) -> &str {
        &self.row.name
    }

    /// Other host names or addresses that mean this domain, in lower case, sorted.
    fn aliases(&self) -> &[String] {
        &self.row.aliases
    }

    /// A note for people; null when there is none.
    fn description(&self) -> Option<&str> {
        self.row.description.as_deref()
    }

    /// What its challenge offers to phones, most preferred first.
    async fn digest_algorithms(&self) -> Vec<DigestAlgorithm> {
        let algorithms = self.row.digest_algorithms.iter().copied();
        algorithms.map(DigestAlgorithm::from).collect()
    }

    /// Whether messages between two phones of the domain are kept in chats. Messages of the API are always kept.
    async fn record_internal_messages(&self) -> bool {
        self.row.record_internal_messages
    }

    /// When it was made.
    async fn created_at(&self) -> DateTime {
        DateTime(self.row.created_at)
    }
}

impl Row for Domain {
    fn plain(name: &str) -> Option<Plain<Self>> {
        plain!(name,
            "id" => |domain: &Self, _: &Context<'_>| domain.row.id.to_id(),
            "name" => Self::name,
            "aliases" => Self::aliases,
            "description" => Self::description,
        )
    }
}

connection!(
    /// A page of domains, newest first.
    DomainConnection,
    /// A domain in a page.
    DomainEdge,
    Domain
);

/// The answer to `createDomain`.
#[derive(SimpleObject)]
pub(crate) struct CreateDomainPayload {
    /// The domain, with `dryRun` as it would be; null when it was refused.
    pub(crate) domain: Option<Domain>,
    /// True when nothing was stored, because a dry run was asked for.
    pub(crate) dry_run: bool,
    /// True when an earlier call with the same idempotency key made it.
    pub(crate) replayed: bool,
    /// What the caller can mend; empty when the domain was made.
    pub(crate) user_errors: Vec<UserError>,
}

/// The answer to `updateDomain`.
#[derive(SimpleObject)]
pub(crate) struct UpdateDomainPayload {
    /// The domain, with `dryRun` as it would be; null when it was refused.
    pub(crate) domain: Option<Domain>,
    /// The names of the fields that changed; empty in a replay.
    pub(crate) changed_fields: Vec<String>,
    /// True when nothing was stored, because a dry run was asked for.
    pub(crate) dry_run: bool,
    /// True when an earlier call with the same idempotency key changed it.
    pub(crate) replayed: bool,
    /// What the caller can mend; empty when nothing was refused.
    pub(crate) user_errors: Vec<UserError>,
}

/// The answer to `deleteDomain`.
#[derive(SimpleObject)]
pub(crate) struct DeleteDomainPayload {
    /// The id of the domain that is gone, with `dryRun` that would go; null when it was refused.
    pub(crate) deleted_domain_id: Option<ID>,
    /// True when nothing was deleted, because a dry run was asked for.
    pub(crate) dry_run: bool,
    /// True when an earlier call with the same idempotency key deleted it.
    pub(crate) replayed: bool,
    /// What the caller can mend; empty when the domain was deleted.
    pub(crate) user_errors: Vec<UserError>,
}

//! What clients say about domains.

use async_graphql::{ID, InputObject, OneofObject};
use sipgraph_core::decide::domains::NewDomain;

use super::types::DigestAlgorithm;

/// Which domain: exactly one of these.
#[derive(OneofObject)]
pub(crate) enum DomainLookup {
    /// By its opaque id.
    Id(ID),
    /// By its name or an alias, in any case.
    Name(String),
}

/// A domain to make.
#[derive(InputObject)]
pub(crate) struct CreateDomainInput {
    /// Its host name; unique in the instance.
    name: String,
    /// Other host names or addresses that mean it, at most 16.
    aliases: Option<Vec<String>>,
    /// A note for people, at most 1024 characters.
    description: Option<String>,
    /// What its challenge offers to phones, most preferred first; MD5 alone when absent.
    digest_algorithms: Option<Vec<DigestAlgorithm>>,
    /// Whether messages between two phones of the domain are kept in chats.
    #[graphql(default)]
    record_internal_messages: bool,
    /// Makes the call safe to repeat: with the same key and input it is done once. Kept for 24 hours.
    pub(super) idempotency_key: Option<String>,
}

impl CreateDomainInput {
    pub(super) fn to_core(&self) -> NewDomain {
        let algorithms = self.digest_algorithms.as_ref();
        NewDomain {
            name: self.name.clone(),
            aliases: self.aliases.clone().unwrap_or_default(),
            description: self.description.clone(),
            digest_algorithms: algorithms
                .map(|list| list.iter().copied().map(Into::into).collect()),
            record_internal_messages: self.record_internal_messages,
        }
    }
}

/// A domain to delete.
#[derive(InputObject)]
pub(crate) struct DeleteDomainInput {
    /// Its opaque id. It must have no endpoints.
    pub(super) id: ID,
    /// Makes the call safe to repeat: with the same key and input it is done once. Kept for 24 hours.
    pub(super) idempotency_key: Option<String>,
}

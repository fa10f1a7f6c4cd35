//! What clients say about domains.

use async_graphql::{ID, InputObject, MaybeUndefined, OneofObject};
use sipgraph_core::decide::domains::{DomainPatch, NewDomain};

use super::types::DigestAlgorithm;
use crate::patch::field;

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
    /// Only says what would come of it; nothing is stored and no key is used up.
    #[graphql(default)]
    pub(super) dry_run: bool,
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

/// What is to change of a domain: an absent field stays as it is, null clears it where that is possible.
#[derive(InputObject)]
#[graphql(name = "DomainPatch")]
pub(crate) struct DomainPatchInput {
    /// Accepted only when it is the name that the domain has: a name is immutable.
    name: MaybeUndefined<String>,
    /// All of its aliases from now on, at most 16; null or an empty list means none.
    aliases: MaybeUndefined<Vec<String>>,
    /// A note for people, at most 1024 characters.
    description: MaybeUndefined<String>,
    /// What its challenge offers to phones; null means MD5 alone. A phone whose password was set while an algorithm was not
    /// offered cannot answer with it until its password is set again.
    digest_algorithms: MaybeUndefined<Vec<DigestAlgorithm>>,
    /// Whether messages between two phones of the domain are kept in chats; null means not.
    record_internal_messages: MaybeUndefined<bool>,
}

impl DomainPatchInput {
    pub(super) fn to_core(&self) -> DomainPatch {
        let algorithms =
            |list: &Vec<DigestAlgorithm>| list.iter().copied().map(Into::into).collect();
        DomainPatch {
            name: field(&self.name, String::clone),
            aliases: field(&self.aliases, Vec::clone),
            description: field(&self.description, String::clone),
            digest_algorithms: field(&self.digest_algorithms, algorithms),
            record_internal_messages: field(&self.record_internal_messages, |keep| *keep),
        }
    }
}

/// A domain to change.
#[derive(InputObject)]
pub(crate) struct UpdateDomainInput {
    /// Its opaque id.
    pub(super) id: ID,
    /// What is to change.
    pub(super) patch: DomainPatchInput,
    /// Only says what would come of it; nothing is stored and no key is used up.
    #[graphql(default)]
    pub(super) dry_run: bool,
    /// Makes the call safe to repeat: with the same key and input it is done once. Kept for 24 hours.
    pub(super) idempotency_key: Option<String>,
}

/// A domain to delete.
#[derive(InputObject)]
pub(crate) struct DeleteDomainInput {
    /// Its opaque id.
    pub(super) id: ID,
    /// Whether its endpoints go with it. Without it the domain must have none. With it the domain is gone and its endpoints
    /// are disabled at once; they are deleted, each with its event, in the seconds or minutes after the answer. It needs the
    /// scope endpoints.delete too.
    #[graphql(default)]
    pub(super) cascade: bool,
    /// Only says what would come of it; nothing is deleted and no key is used up.
    #[graphql(default)]
    pub(super) dry_run: bool,
    /// Makes the call safe to repeat: with the same key and input it is done once. Kept for 24 hours.
    pub(super) idempotency_key: Option<String>,
}

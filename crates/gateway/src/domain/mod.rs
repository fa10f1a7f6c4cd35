//! SIP domains.

mod input;
mod mutation;
mod query;
mod types;

pub(crate) use mutation::DomainMutation;
pub(crate) use query::DomainQuery;
pub(crate) use types::{DigestAlgorithm, Domain};

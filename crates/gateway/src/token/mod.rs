//! API tokens.

mod input;
mod mutation;
mod query;
mod types;

pub(crate) use mutation::TokenMutation;
pub(crate) use query::TokenQuery;
pub(crate) use types::ApiToken;

//! The account, the token that looks at it, and the technologies of the instance.

mod input;
mod mutation;
mod query;
mod types;

pub(crate) use mutation::AccountMutation;
pub(crate) use query::AccountQuery;
pub(crate) use types::Account;

//! Applications: whom calls of endpoints are told to.

mod input;
mod mutation;
mod query;
mod types;

pub(crate) use mutation::ApplicationMutation;
pub(crate) use query::ApplicationQuery;
pub(crate) use types::Application;

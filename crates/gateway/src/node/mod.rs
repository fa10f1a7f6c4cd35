//! Any object by its id, as the Relay Node specification has it.

mod query;

pub(crate) use query::NodeQuery;

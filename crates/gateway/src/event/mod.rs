//! The event log, as history and live, and the presence of endpoints.

mod input;
mod query;
mod subscription;
mod types;

pub(crate) use query::EventQuery;
pub(crate) use subscription::EventSubscription;
pub(crate) use types::EventType;

//! Failed registrations, and the bans that they lead to.

mod input;
mod mutation;
mod query;
mod types;

pub(crate) use mutation::RegistrationMutation;
pub(crate) use query::RegistrationQuery;
pub(crate) use types::RegistrationFailureReason;

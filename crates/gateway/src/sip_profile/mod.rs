//! The SIP profile: what endpoints have that set nothing of their own.

mod input;
mod mutation;
mod query;
mod types;

pub(crate) use mutation::SipProfileMutation;
pub(crate) use query::SipProfileQuery;

//! Endpoint tokens: short-lived passwords.

mod input;
mod mutation;
mod types;

pub(crate) use mutation::EndpointTokenMutation;

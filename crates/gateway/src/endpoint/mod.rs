//! Endpoints: what registers, sends and receives.

mod input;
mod mutation;
mod query;
mod types;

pub(crate) use input::{EndpointFilterInput, EndpointResourceInput};
pub(crate) use mutation::EndpointMutation;
pub(crate) use query::EndpointQuery;
pub(crate) use types::{
    Cipher, Codec, Contact, ContactStatus, Encryption, Endpoint, EndpointState, Transport,
    milliseconds,
};

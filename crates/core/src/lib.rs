//! The domain of sipgraph: rules, use cases and ports, without any I/O.
//!
//! This crate knows endpoints, messages, chats, presence and the event log. It knows no socket, no SQL, no GraphQL,
//! no SIP syntax beyond names and URIs, no wall clock and no environment: those come in through [`ports`].
//!
//! # Reading order
//! 1. The nouns: [`account`], [`sip_profile`], [`domain`], [`endpoint`], [`binding`], [`message`], [`chat`], [`delivery`], [`token`], [`event`],
//!    [`endpoint_token`], [`registration_failure`].
//! 2. [`commit`]: how a decision reaches the store. A use case reads a snapshot, a pure function in [`decide`] turns it
//!    into a [`commit::Commit`] or a refusal, the store applies it under the account's lock.
//! 3. [`ports`]: what the outside provides.
//! 4. [`app`]: the use cases, the only API of the front doors.
//!
//! # Invariants
//! - Authorisation is decided in [`app`], deny by default, never in a front door.
//! - State and the events that tell of it are in one commit.
//! - Every account's events are numbered 1, 2, 3 … without a hole, in commit order.

pub mod access;
pub mod account;
pub mod address;
pub mod app;
pub mod application;
pub mod binding;
pub mod chat;
pub mod commit;
pub mod cursor;
pub mod decide;
pub mod defence;
pub mod delivery;
pub mod digest;
pub mod domain;
pub mod endpoint;
pub mod endpoint_token;
pub mod error;
pub mod event;
pub mod id;
pub mod json;
pub mod keyring;
pub mod message;
pub mod page;
pub mod patch;
pub mod ports;
pub mod registration_failure;
pub mod rotation;
pub mod search;
pub mod sip_profile;
pub mod time;
pub mod token;
pub mod transformation;

pub use app::App;
pub use error::{Error, ErrorKind, Fault, Problem, ProblemCode, ProblemDetail};
pub use id::{
    AccountId, AddressId, ApplicationId, BindingId, ChatId, DeliveryId, DomainId, EndpointId,
    EndpointTokenId, EventId, ExchangeId, MessageId, RegistrationFailureId, TokenId,
    TransformationId,
};
pub use time::Timestamp;

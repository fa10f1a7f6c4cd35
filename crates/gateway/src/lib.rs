//! The GraphQL front door of sipgraph.
//!
//! It converts what clients say into calls of `sipgraph_core::app`, one use case for each root field, and converts the
//! answers back. It must not contain SQL, SIP or a rule of the domain: whatever is allowed, valid or missing is decided
//! in core, so that the SIP edge and this crate cannot disagree.
//!
//! Reading order: `routes` (the addresses), `auth` (from token to caller), `executor` (what each operation gets), `validation`
//! (once for each document), `view` (what a reader sees, loaded in batches), `resolve` (objects and lists), `schema`, then a noun: `endpoint`, `message`, `chat`, `domain`,
//! `token`, `event`, `endpoint_token`, `registration`, `sip_profile`. Every noun folder has the same files: `types`, `input`, `query`, `mutation` or `subscription`.

mod account;
mod application;
mod auth;
mod chat;
mod config;
mod connection;
mod domain;
mod endpoint;
mod endpoint_token;
mod errors;
mod event;
mod executor;
mod graphiql;
mod id;
mod loaders;
mod message;
mod meters;
mod node;
mod patch;
mod registration;
mod resolve;
mod routes;
mod scalars;
mod schema;
mod sip_profile;
mod token;
mod transformation;
mod validation;
mod view;

pub use config::Config;
pub use id::endpoint_id;
pub use meters::Meters;
pub use routes::router;
pub use schema::sdl;
pub use sipgraph_graphql_transport::{Drain, Hosts, InvalidOrigin, Origins, loopback_hosts_only};

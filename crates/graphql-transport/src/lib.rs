//! GraphQL over HTTP and WebSocket for any `async_graphql` executor.
//!
//! The crate answers one route: POST and GET by the GraphQL-over-HTTP specification, and an
//! upgraded GET by the graphql-transport-ws protocol. Each document passes a gate, linear in its
//! size, before the executor sees it; one that passed is kept for its next request. Each error leaves with `extensions.code`.
//!
//! It must not know any schema, any domain or where credentials come from: the program gives an
//! [`async_graphql::Executor`] and an [`Authenticate`].
//!
//! Reading order: [`Transport`] (the route), `http`, `ws`, `documents`, `gate`, `error`, then `access`, the
//! rules for browsers and loopback listeners, which are layers around a whole router.
//!
//! | behaviour | source |
//! |---|---|
//! | status codes, media types, GET for queries only | GraphQL over HTTP, stage 2 draft |
//! | messages and close codes | graphql-transport-ws (`PROTOCOL.md` of npm `graphql-ws`) |
//! | merged root fields, one subscription root | GraphQL specification 5.2.3.1, 5.3.2, 6.2.2 |

mod access;
mod auth;
mod config;
mod documents;
mod drain;
mod error;
mod gate;
mod http;
pub mod json;
mod media;
mod request;
mod transport;
mod ws;

pub use access::{Hosts, InvalidOrigin, Origins, cors, loopback_hosts_only};
pub use auth::{Authenticate, Close, Refusal, Session};
pub use config::{Config, GateLimits, SocketLimits};
pub use documents::Validated;
pub use drain::Drain;
pub use error::{code, coded};
pub use transport::Transport;

//! What the end-to-end tests drive the program with: the real binary on a real database, GraphQL over HTTP and
//! WebSocket, and real SIP clients beside a small driver of our own for exact and hostile cases.
//!
//! It must not use our own crates for what it checks: digests, cursors and messages are read as a stranger reads them.

pub(crate) mod backend;
pub(crate) mod baresip;
pub(crate) mod graphql;
pub(crate) mod phone;
pub(crate) mod server;
pub(crate) mod sip;
pub(crate) mod sipp;
pub(crate) mod softphones;
pub(crate) mod tls;
pub(crate) mod world;
pub(crate) mod ws;

pub(crate) use backend::{Database, both_backends, eventually};
pub(crate) use baresip::Baresip;
pub(crate) use graphql::Api;
pub(crate) use phone::Phone;
pub(crate) use serde_json::{Value, json};
pub(crate) use server::Server;
pub(crate) use sip::Sip;
pub(crate) use sipp::Sipp;
pub(crate) use tls::Trust;
pub(crate) use world::{Account, World};
pub(crate) use ws::{Feed, Seen, Socket};

use std::time::Duration;

/// No single step of a test takes longer; generous, because the machine may be busy with other tests.
pub(crate) const STEP: Duration = Duration::from_secs(30);
/// For a command that writes thousands of rows, by a program that is not optimised, beside other tests.
pub(crate) const LONG: Duration = STEP.saturating_mul(6);

//! The contract of the store, as one suite for both backends, and what is special to each.
//!
//! Each body in `both_backends!` runs on SQLite and on Postgres, on a database of its own.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod batches;
mod commits;
mod doubt;
mod keys;
mod log;
mod outage;
mod plans;
mod queues;
mod reads;
mod registrations;
mod rotation;
mod schema;
mod search;
mod sqlite;
mod tls;
mod world;

//! The SIP edge on real sockets, in front of the real application on an SQLite file.
#![expect(clippy::unwrap_used, reason = "a test fails where its set-up does")]

mod digest;
mod harness;
mod messages;
mod methods;
mod phone;
mod registrar;
mod trunks;

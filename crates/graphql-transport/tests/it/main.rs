//! The transport over real sockets.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod abuse;
mod audits;
mod executor;
mod harness;
mod http;
mod schema;
mod stock;
mod websocket;

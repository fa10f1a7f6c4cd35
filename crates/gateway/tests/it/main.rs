//! The GraphQL front door on the real application and the real store.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod access;
mod counted;
mod harness;
mod live;
mod loading;
mod mutations;
mod page;
mod queries;

//! End-to-end tests: the real binary on SQLite and on Postgres, with real SIP clients, GraphQL clients and a browser.
//!
//! A test whose name begins like `a017_` proves the line of the product's acceptance list with that number; the letter
//! is the line's section. Each runs as `NAME::on_sqlite` and as `NAME::on_postgres`.
#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

mod applications;
mod authorisation;
mod chats;
mod cli;
mod defence;
mod delivery;
mod domains;
mod endpoint_bulk;
mod endpoint_model;
mod endpoint_tokens;
mod endpoint_updates;
mod endpoints;
mod faults;
mod graphiql;
mod harness;
mod hostile;
mod imports;
mod lists;
mod messages;
mod numbers;
mod presence;
mod readme;
mod restart;
mod routing;
mod schema;
mod search;
mod secrets;
mod sip;
mod sip_profile;
mod softphones;
mod story;
mod subscriptions;
mod tidy;
mod tokens;
mod trace;
mod transformations;
mod transports;
mod trunks;

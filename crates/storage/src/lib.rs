//! The store of sipgraph on SQLite and Postgres: `sipgraph_core::ports::Store`, and nothing of GraphQL, SIP or authorisation.
//!
//! | | SQLite | Postgres |
//! |---|---|---|
//! | for | one node | several nodes |
//! | commits | one writer thread, group commit, `synchronous=FULL` | writers per node, account to writer by hash, set-based batches |
//! | reads | reader threads | a pool of connections |
//! | ids, times | 16-byte BLOB, INTEGER µs | `uuid`, `timestamptz` |
//!
//! Both promise the same (`sipgraph_core::commit`); one contract suite, `tests/it`, runs on both.
//!
//! # Reading order
//! [`Storage`] in `store`; `apply`, how a batch of commits is decided and written; `queries`, the reads; `dialect`, which
//! compiles these two once per backend; `exec`, the threads and connections; `rows`, what the tables hold; `recent`, what SQLite
//! need not be asked for again.

mod dialect;
mod error;
mod exec;
mod migrate;
mod page;
mod recent;
mod rotation;
mod rows;
mod schema;
mod seal;
mod search;
mod sql;
mod start;
mod store;
mod types;

pub use error::{AddressError, StartError};
pub use exec::{
    Load,
    connect::{PostgresConnector, PostgresMessages},
    postgres::PostgresOptions,
    sqlite::{SqliteOptions, Synchronous},
};
pub use rotation::{RotationPlace, RotationStep};
pub use start::{Address, Inspection, Options, inspect, migrate};
pub use store::Storage;

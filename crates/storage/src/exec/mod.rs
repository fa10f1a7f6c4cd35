//! How work reaches a database: threads for SQLite, tasks and connections for Postgres. Nothing here knows a table.

pub(crate) mod connect;
pub(crate) mod postgres;
pub(crate) mod sqlite;

//! The store of sipgraph on SQLite and Postgres.

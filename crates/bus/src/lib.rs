//! Wakes readers of the event log: in process, or over Postgres.

//! What differs between the backends, and nothing else.
//!
//! Each of the two modules names its connection type and says how a statement over many rows is
//! run; then it compiles `queries` and `apply` as its own children. These are ordinary files,
//! written once, and see the backend as `super::{Conn, Db}`.

pub(crate) mod postgres;
pub(crate) mod sqlite;

//! Accounts: the tenants. Everything else belongs to one.

use crate::{AccountId, Timestamp};

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// Its name, unique in the instance, 1 to 128 characters.
    pub name: String,
    /// The E.164 numbers that the operator assigned to it, sorted.
    pub numbers: Vec<String>,
    /// Whether no two endpoints of all its domains have one name.
    pub unique_names: bool,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Where an account's event log begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogHead {
    /// Raised by each restore from a backup, so that older cursors are noticed.
    pub epoch: u32,
    /// The number of the newest event; 0 when there was none.
    pub seq: i64,
    /// The random check of the newest event; 0 when there was none.
    pub check: u32,
    /// Events up to and with this number are no longer kept; 0 when all are.
    pub trimmed: i64,
}

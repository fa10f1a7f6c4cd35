//! Accounts and their place in the log.

use diesel::prelude::*;
use sipgraph_core::account::{Account, LogHead};

use super::{Corrupt, unsigned};
use crate::{
    schema::accounts,
    types::{Id, Time},
};

/// An account without its numbers.
#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = accounts)]
pub(crate) struct AccountRow {
    pub(crate) id: Id,
    pub(crate) name: String,
    pub(crate) unique_names: bool,
    pub(crate) created_at: Time,
}

impl AccountRow {
    /// Joins the account with its numbers, which are sorted here.
    pub(crate) fn with_numbers(self, mut numbers: Vec<String>) -> Account {
        let Self {
            id,
            name,
            unique_names,
            created_at,
        } = self;
        numbers.sort();
        Account {
            id: id.into(),
            name,
            numbers,
            unique_names,
            created_at: created_at.into(),
        }
    }
}

/// Where an account's log is.
#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = accounts)]
pub(crate) struct LogRow {
    epoch: i64,
    head_seq: i64,
    head_check: i64,
    trimmed_seq: i64,
}

impl TryFrom<LogRow> for LogHead {
    type Error = Corrupt;

    fn try_from(row: LogRow) -> Result<Self, Corrupt> {
        let LogRow {
            epoch,
            head_seq,
            head_check,
            trimmed_seq,
        } = row;
        Ok(Self {
            epoch: unsigned("epoch", epoch)?,
            seq: head_seq,
            check: unsigned("event check", head_check)?,
            trimmed: trimmed_seq,
        })
    }
}

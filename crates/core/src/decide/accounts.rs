//! Accounts: what their tenants may change.

use super::Mint;
use crate::account::Account;
use crate::commit::{Commit, Precondition, Write};
use crate::error::{Problem, ProblemCode};
use crate::patch::Field;

/// What is to change of an account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountPatch {
    /// Whether no two endpoints of all its domains have one name; null means that they may.
    pub unique_names: Field<bool>,
}

/// A changed account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdatedAccount {
    /// The account as it is now.
    pub account: Account,
    /// The names of the fields that changed, as the API has them.
    pub changed: Vec<&'static str>,
}

/// Decides on changing an account; `twice` is a name that two of its endpoints have, if there is one. `None` for the commit
/// means that nothing changes.
///
/// # Errors
/// All that is wrong with the patch, below `patch`.
pub fn update(
    mint: &Mint<'_>,
    old: &Account,
    patch: &AccountPatch,
    twice: Option<&str>,
) -> Result<(Option<Commit>, UpdatedAccount), Vec<Problem>> {
    let account = Account {
        unique_names: patch.unique_names.over_default(&old.unique_names, false),
        ..old.clone()
    };
    if account.unique_names == old.unique_names {
        let changed = Vec::new();
        return Ok((None, UpdatedAccount { account, changed }));
    }
    let mut preconditions = vec![Precondition::NamesUnique(old.unique_names)];
    if account.unique_names {
        if let Some(name) = twice {
            return Err(vec![Problem::new(
                ProblemCode::Conflict,
                "patch.uniqueNamesAcrossAccount",
                format!("Endpoints of several domains have one name, for example {name}."),
            )]);
        }
        preconditions.push(Precondition::NoNameTwice);
    }
    let commit = Commit {
        preconditions,
        writes: vec![Write::NamesUniqueSet(account.unique_names)],
        ..Commit::empty(old.id, mint.now)
    };
    let changed = vec!["uniqueNamesAcrossAccount"];
    Ok((Some(commit), UpdatedAccount { account, changed }))
}

//! What clients say about their account.

use async_graphql::{InputObject, MaybeUndefined};
use sipgraph_core::decide::accounts::AccountPatch;

use crate::patch::field;

/// What is to change of the account: an absent field stays as it is.
#[derive(InputObject)]
#[graphql(name = "AccountPatch")]
pub(crate) struct AccountPatchInput {
    /// Whether no two endpoints of all its domains may have one name; null means that they may. CONFLICT while two have one.
    unique_names_across_account: MaybeUndefined<bool>,
}

impl AccountPatchInput {
    pub(super) fn to_core(&self) -> AccountPatch {
        AccountPatch {
            unique_names: field(&self.unique_names_across_account, |value| *value),
        }
    }
}

/// The account to change, which is that of the token.
#[derive(InputObject)]
pub(crate) struct UpdateAccountInput {
    /// What is to change.
    pub(super) patch: AccountPatchInput,
    /// Only says what would come of it; nothing is stored and no key is used up.
    #[graphql(default)]
    pub(super) dry_run: bool,
    /// Makes the call safe to repeat: with the same key and input it is done once. Kept for 24 hours.
    pub(super) idempotency_key: Option<String>,
}

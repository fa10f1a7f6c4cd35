//! Mutations of accounts.

use async_graphql::{Context, Object};

use super::{
    input::UpdateAccountInput,
    types::{Account, UpdateAccountPayload},
};
use crate::{
    errors::{Answer, Nullable},
    view::View,
};

/// The mutations of this noun.
#[derive(Default)]
pub(crate) struct AccountMutation;

#[Object]
impl AccountMutation {
    /// Changes the account of the token: only what the patch names. Needs the scope account.update.
    async fn update_account(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is to change.")] input: UpdateAccountInput,
    ) -> Nullable<UpdateAccountPayload> {
        let view = View::of(ctx).fresh();
        let key = input.idempotency_key.as_deref();
        let outcome = view
            .app()
            .account_update(view.caller(), &input.patch.to_core(), input.dry_run, key)
            .await;
        Some(Answer::of(outcome).map(|answer| {
            let (account, changed) = match answer.value {
                Some(updated) => (Some(updated.account), updated.changed),
                None => (None, Vec::new()),
            };
            UpdateAccountPayload {
                account: account.map(Account::new),
                changed_fields: changed.into_iter().map(str::to_owned).collect(),
                dry_run: input.dry_run,
                replayed: answer.replayed,
                user_errors: answer.user_errors,
            }
        }))
    }
}

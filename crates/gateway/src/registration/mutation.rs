//! Mutations of bans.

use async_graphql::{Context, Object};

use super::{input::LiftBanInput, types::LiftBanPayload};
use crate::{
    errors::{Answer, Nullable},
    view::View,
};

/// The mutations of this noun.
#[derive(Default)]
pub(crate) struct RegistrationMutation;

#[Object]
impl RegistrationMutation {
    /// Lets in a source at once that was banned or slowed after failed registrations, on every node within two seconds.
    /// Only a source that failed at addresses of this account. Needs the scope bans.manage.
    async fn lift_ban(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which source.")] input: LiftBanInput,
    ) -> Nullable<LiftBanPayload> {
        let view = View::of(ctx).fresh();
        let key = input.idempotency_key.as_deref();
        let outcome = view.app().ban_lift(view.caller(), &input.source, key).await;
        Some(Answer::of(outcome).map(|answer| LiftBanPayload {
            source: answer.value.map(|source| source.to_string()),
            replayed: answer.replayed,
            user_errors: answer.user_errors,
        }))
    }
}

//! Mutations of SIP profiles.

use async_graphql::{Context, Object};

use super::{
    input::UpdateSipProfileInput,
    types::{SipProfile, UpdateSipProfilePayload},
};
use crate::{
    errors::{Answer, Nullable},
    view::View,
};

/// The mutations of this noun.
#[derive(Default)]
pub(crate) struct SipProfileMutation;

#[Object]
impl SipProfileMutation {
    /// Changes the account's SIP profile: only what the patch names. What endpoints have by it changes at once. Needs the scope
    /// profile.update.
    async fn update_sip_profile(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is to change.")] input: UpdateSipProfileInput,
    ) -> Nullable<UpdateSipProfilePayload> {
        let view = View::of(ctx).fresh();
        let key = input.idempotency_key.as_deref();
        let outcome = view
            .app()
            .sip_profile_update(view.caller(), &input.patch.to_core(), input.dry_run, key)
            .await;
        Some(Answer::of(outcome).map(|answer| {
            let (profile, changed) = match answer.value {
                Some(updated) => (Some(updated.profile), updated.changed),
                None => (None, Vec::new()),
            };
            UpdateSipProfilePayload {
                sip_profile: profile.map(SipProfile::new),
                changed_fields: changed.into_iter().map(str::to_owned).collect(),
                dry_run: input.dry_run,
                replayed: answer.replayed,
                user_errors: answer.user_errors,
            }
        }))
    }
}

//! Queries for SIP profiles.

use async_graphql::{Context, Object};

use super::types::SipProfile;
use crate::{
    errors::{Nullable, nullable},
    view::View,
};

/// The queries of this noun.
#[derive(Default)]
pub(crate) struct SipProfileQuery;

#[Object]
impl SipProfileQuery {
    /// The account's SIP profile: what its endpoints have that set nothing of their own. Needs the scope profile.read.
    async fn sip_profile(&self, ctx: &Context<'_>) -> Nullable<SipProfile> {
        let view = View::of(ctx);
        let profile = view.app().sip_profile(view.caller()).await;
        nullable(profile.map(SipProfile::new))
    }
}

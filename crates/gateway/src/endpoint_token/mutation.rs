//! Mutations of endpoint tokens.

use async_graphql::{Context, Object};
use sipgraph_core::EndpointTokenId;

use super::{
    input::{CreateEndpointTokenInput, RevokeEndpointTokenInput},
    types::{CreateEndpointTokenPayload, EndpointToken, RevokeEndpointTokenPayload},
};
use crate::{
    errors::{Answer, Nullable},
    id::NodeId,
    view::View,
};

/// The mutations of this noun.
#[derive(Default)]
pub(crate) struct EndpointTokenMutation;

#[Object]
impl EndpointTokenMutation {
    /// Makes a short-lived password of an endpoint, such as a page gives to its softphone. Needs the scope
    /// endpoints.update; a token that is bound to endpoints makes those of its endpoints.
    async fn create_endpoint_token(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The token.")] input: CreateEndpointTokenInput,
    ) -> Nullable<CreateEndpointTokenPayload> {
        let view = View::of(ctx).fresh();
        let key = input.idempotency_key.as_deref();
        let outcome = view
            .app()
            .endpoint_token_create(view.caller(), &input.to_core(), key)
            .await;
        Some(Answer::of(outcome).map(|answer| {
            let (token, secret) = match answer.value {
                Some(created) => (Some(created.token), created.secret),
                None => (None, None),
            };
            CreateEndpointTokenPayload {
                endpoint_token: token.as_ref().map(EndpointToken::new),
                secret: secret.map(|secret| secret.expose().to_owned()),
                replayed: answer.replayed,
                user_errors: answer.user_errors,
            }
        }))
    }

    /// Revokes an endpoint token: nobody logs in with it from now on, and what was registered with it is removed. Needs
    /// the scope endpoints.update.
    async fn revoke_endpoint_token(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which token.")] input: RevokeEndpointTokenInput,
    ) -> Nullable<RevokeEndpointTokenPayload> {
        let view = View::of(ctx).fresh();
        let key = input.idempotency_key.as_deref();
        let outcome = view
            .app()
            .endpoint_token_revoke(view.caller(), EndpointTokenId::of(&input.id), key)
            .await;
        Some(
            Answer::of(outcome).map(|answer| RevokeEndpointTokenPayload {
                endpoint_token: answer.value.as_ref().map(EndpointToken::new),
                replayed: answer.replayed,
                user_errors: answer.user_errors,
            }),
        )
    }
}

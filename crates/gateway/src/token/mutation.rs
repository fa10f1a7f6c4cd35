//! Mutations of tokens.

use async_graphql::{Context, Object};
use sipgraph_core::TokenId;

use super::{
    input::{CreateApiTokenInput, RevokeApiTokenInput},
    types::{ApiToken, CreateApiTokenPayload, RevokeApiTokenPayload},
};
use crate::{
    errors::{Answer, Nullable},
    id::NodeId,
    view::View,
};

/// The mutations of this noun.
#[derive(Default)]
pub(crate) struct TokenMutation;

#[Object]
impl TokenMutation {
    /// Makes a token with a subset of the rights of the token of this request. Needs the scope tokens.create.
    async fn create_api_token(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The token.")] input: CreateApiTokenInput,
    ) -> Nullable<CreateApiTokenPayload> {
        let view = View::of(ctx).fresh();
        let key = input.idempotency_key.as_deref();
        let outcome = view
            .app()
            .token_create(view.caller(), &input.to_core(), key)
            .await;
        Some(Answer::of(outcome).map(|answer| {
            let (token, secret) = match answer.value {
                Some(created) => (Some(created.token), created.secret),
                None => (None, None),
            };
            CreateApiTokenPayload {
                api_token: token.map(ApiToken::new),
                secret: secret.map(|secret| secret.expose().to_owned()),
                replayed: answer.replayed,
                user_errors: answer.user_errors,
            }
        }))
    }

    /// Revokes a token: requests with it are refused from now on, its sockets are closed. Needs the scope tokens.delete.
    async fn revoke_api_token(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which token.")] input: RevokeApiTokenInput,
    ) -> Nullable<RevokeApiTokenPayload> {
        let view = View::of(ctx).fresh();
        let key = input.idempotency_key.as_deref();
        let outcome = view
            .app()
            .token_revoke(view.caller(), TokenId::of(&input.id), key)
            .await;
        Some(Answer::of(outcome).map(|answer| RevokeApiTokenPayload {
            api_token: answer.value.map(ApiToken::new),
            replayed: answer.replayed,
            user_errors: answer.user_errors,
        }))
    }
}

//! Mutations of endpoints.

use async_graphql::{Context, Object};
use sipgraph_core::{EndpointId, Fault};

use super::{
    input::{CreateEndpointInput, DeleteEndpointInput},
    types::{CreateEndpointPayload, DeleteEndpointPayload, Endpoint},
};
use crate::{
    errors::{Answer, Nullable},
    id::NodeId,
    view::View,
};

/// The mutations of this noun.
#[derive(Default)]
pub(crate) struct EndpointMutation;

#[Object]
impl EndpointMutation {
    /// Makes an endpoint. Needs the scope endpoints.create.
    async fn create_endpoint(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The endpoint.")] input: CreateEndpointInput,
    ) -> Nullable<CreateEndpointPayload> {
        let view = View::of(ctx).fresh();
        let key = input.idempotency_key.as_deref();
        let outcome = match input.to_core() {
            Ok(new) => view.app().endpoint_create(view.caller(), &new, key).await,
            Err(problem) => Err(Fault::from(problem)),
        };
        Some(Answer::of(outcome).map(|answer| {
            let (endpoint, password) = match answer.value {
                Some(created) => (Some(created.endpoint), created.generated_password),
                None => (None, None),
            };
            CreateEndpointPayload {
                endpoint: endpoint.map(|row| Endpoint::new(row, view)),
                generated_password: password.map(|secret| secret.expose().to_owned()),
                replayed: answer.replayed,
                user_errors: answer.user_errors,
            }
        }))
    }

    /// Deletes an endpoint with its chats and messages. Needs the scope endpoints.delete.
    async fn delete_endpoint(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which endpoint.")] input: DeleteEndpointInput,
    ) -> Nullable<DeleteEndpointPayload> {
        let view = View::of(ctx).fresh();
        let key = input.idempotency_key.as_deref();
        let outcome = view
            .app()
            .endpoint_delete(view.caller(), EndpointId::of(&input.id), key)
            .await;
        Some(Answer::of(outcome).map(|answer| DeleteEndpointPayload {
            deleted_endpoint_id: answer.value.map(NodeId::to_id),
            replayed: answer.replayed,
            user_errors: answer.user_errors,
        }))
    }
}

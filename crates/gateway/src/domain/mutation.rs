//! Mutations of domains.

use async_graphql::{Context, Object};
use sipgraph_core::DomainId;

use super::{
    input::{CreateDomainInput, DeleteDomainInput},
    types::{CreateDomainPayload, DeleteDomainPayload, Domain},
};
use crate::{
    errors::{Answer, Nullable},
    id::NodeId,
    view::View,
};

/// The mutations of this noun.
#[derive(Default)]
pub(crate) struct DomainMutation;

#[Object]
impl DomainMutation {
    /// Makes a domain. Needs the scope domains.create.
    async fn create_domain(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The domain.")] input: CreateDomainInput,
    ) -> Nullable<CreateDomainPayload> {
        let view = View::of(ctx).fresh();
        let key = input.idempotency_key.as_deref();
        let outcome = view
            .app()
            .domain_create(view.caller(), &input.to_core(), key)
            .await;
        Some(Answer::of(outcome).map(|answer| CreateDomainPayload {
            domain: answer.value.map(Domain::new),
            replayed: answer.replayed,
            user_errors: answer.user_errors,
        }))
    }

    /// Deletes a domain that has no endpoints. Needs the scope domains.delete.
    async fn delete_domain(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which domain.")] input: DeleteDomainInput,
    ) -> Nullable<DeleteDomainPayload> {
        let view = View::of(ctx).fresh();
        let key = input.idempotency_key.as_deref();
        let outcome = view
            .app()
            .domain_delete(view.caller(), DomainId::of(&input.id), key)
            .await;
        Some(Answer::of(outcome).map(|answer| DeleteDomainPayload {
            deleted_domain_id: answer.value.map(NodeId::to_id),
            replayed: answer.replayed,
            user_errors: answer.user_errors,
        }))
    }
}

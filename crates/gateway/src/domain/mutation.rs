//! Mutations of domains.

use async_graphql::{Context, Object};
use sipgraph_core::DomainId;

use super::{
    input::{CreateDomainInput, DeleteDomainInput, UpdateDomainInput},
    types::{CreateDomainPayload, DeleteDomainPayload, Domain, UpdateDomainPayload},
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
            .domain_create(view.caller(), &input.to_core(), input.dry_run, key)
            .await;
        Some(Answer::of(outcome).map(|answer| CreateDomainPayload {
            domain: answer.value.map(Domain::new),
            dry_run: input.dry_run,
            replayed: answer.replayed,
            user_errors: answer.user_errors,
        }))
    }

    /// Changes a domain: only what the patch names. Needs the scope domains.update.
    async fn update_domain(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which domain, and what is to change.")] input: UpdateDomainInput,
    ) -> Nullable<UpdateDomainPayload> {
        let view = View::of(ctx).fresh();
        let key = input.idempotency_key.as_deref();
        let (id, patch) = (DomainId::of(&input.id), input.patch.to_core());
        let outcome = view
            .app()
            .domain_update(view.caller(), id, &patch, input.dry_run, key)
            .await;
        Some(Answer::of(outcome).map(|answer| {
            let (domain, changed) = match answer.value {
                Some(updated) => (Some(updated.domain), updated.changed),
                None => (None, Vec::new()),
            };
            UpdateDomainPayload {
                domain: domain.map(Domain::new),
                changed_fields: changed.into_iter().map(str::to_owned).collect(),
                dry_run: input.dry_run,
                replayed: answer.replayed,
                user_errors: answer.user_errors,
            }
        }))
    }

    /// Deletes a domain: one that has no endpoints, or with `cascade` also its endpoints with their chats and messages. Needs
    /// the scope domains.delete.
    async fn delete_domain(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which domain.")] input: DeleteDomainInput,
    ) -> Nullable<DeleteDomainPayload> {
        let view = View::of(ctx).fresh();
        let key = input.idempotency_key.as_deref();
        let (id, cascade) = (DomainId::of(&input.id), input.cascade);
        let outcome = view
            .app()
            .domain_delete(view.caller(), id, cascade, input.dry_run, key)
            .await;
        Some(Answer::of(outcome).map(|answer| DeleteDomainPayload {
            deleted_domain_id: answer.value.map(NodeId::to_id),
            dry_run: input.dry_run,
            replayed: answer.replayed,
            user_errors: answer.user_errors,
        }))
    }
}

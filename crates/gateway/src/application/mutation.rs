//! Mutations of applications.

use async_graphql::{Context, Object};
use sipgraph_core::ApplicationId;

use super::{
    input::{CreateApplicationInput, DeleteApplicationInput, UpdateApplicationInput},
    types::{
        Application, CreateApplicationPayload, DeleteApplicationPayload, UpdateApplicationPayload,
    },
};
use crate::{
    errors::{Answer, Nullable},
    id::NodeId,
    view::View,
};

/// The mutations of this noun.
#[derive(Default)]
pub(crate) struct ApplicationMutation;

#[Object]
impl ApplicationMutation {
    /// Makes an application. Needs the scope applications.create.
    async fn create_application(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The application.")] input: CreateApplicationInput,
    ) -> Nullable<CreateApplicationPayload> {
        let view = View::of(ctx).fresh();
        let key = input.idempotency_key.as_deref();
        let outcome = view
            .app()
            .application_create(view.caller(), &input.to_core(), input.dry_run, key)
            .await;
        Some(Answer::of(outcome).map(|answer| CreateApplicationPayload {
            application: answer.value.map(Application::new),
            dry_run: input.dry_run,
            replayed: answer.replayed,
            user_errors: answer.user_errors,
        }))
    }

    /// Changes an application: only what the patch names. Needs the scope applications.update.
    async fn update_application(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which application, and what is to change.")]
        input: UpdateApplicationInput,
    ) -> Nullable<UpdateApplicationPayload> {
        let view = View::of(ctx).fresh();
        let key = input.idempotency_key.as_deref();
        let (id, patch) = (ApplicationId::of(&input.id), input.patch.to_core());
        let outcome = view
            .app()
            .application_update(view.caller(), id, &patch, input.dry_run, key)
            .await;
        Some(Answer::of(outcome).map(|answer| {
            let (application, changed) = match answer.value {
                Some(updated) => (Some(updated.application), updated.changed),
                None => (None, Vec::new()),
            };
            UpdateApplicationPayload {
                application: application.map(Application::new),
                changed_fields: changed.into_iter().map(str::to_owned).collect(),
                dry_run: input.dry_run,
                replayed: answer.replayed,
                user_errors: answer.user_errors,
            }
        }))
    }

    /// Deletes an application. Needs the scope applications.delete.
    async fn delete_application(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which application.")] input: DeleteApplicationInput,
    ) -> Nullable<DeleteApplicationPayload> {
        let view = View::of(ctx).fresh();
        let key = input.idempotency_key.as_deref();
        let outcome = view
            .app()
            .application_delete(view.caller(), ApplicationId::of(&input.id), key)
            .await;
        Some(Answer::of(outcome).map(|answer| DeleteApplicationPayload {
            deleted_application_id: answer.value.map(NodeId::to_id),
            replayed: answer.replayed,
            user_errors: answer.user_errors,
        }))
    }
}

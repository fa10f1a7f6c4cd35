//! Mutations of endpoints.

use async_graphql::{Context, Object};
use sipgraph_core::{EndpointId, Fault, decide::endpoints::UpdatedEndpoint};

use super::{
    input::{
        CreateEndpointInput, CreateEndpointsInput, DeleteEndpointInput, ReplaceEndpointInput,
        UpdateEndpointInput,
    },
    types::{
        CreateEndpointPayload, CreateEndpointsPayload, DeleteEndpointPayload, Endpoint,
        EndpointEdge, ReplaceEndpointPayload, UpdateEndpointPayload,
    },
};
use crate::{
    errors::{Answer, Nullable, UserError},
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
        let (dry_run, key) = (input.dry_run, input.idempotency_key.as_deref());
        let outcome = view
            .app()
            .endpoint_create(view.caller(), &input.to_core(), dry_run, key)
            .await;
        Some(Answer::of(outcome).map(|answer| {
            let (row, password) = match answer.value {
                Some(created) => (Some(created.endpoint), created.generated_password),
                None => (None, None),
            };
            let stored = row.clone().filter(|_| !dry_run);
            CreateEndpointPayload {
                endpoint_edge: stored.map(|row| EndpointEdge::new(row, view.clone())),
                endpoint: row.map(|row| Endpoint::new(row, view)),
                generated_password: password.map(|secret| secret.expose().to_owned()),
                dry_run,
                replayed: answer.replayed,
                user_errors: answer.user_errors,
            }
        }))
    }

    /// Makes up to 1,000 endpoints in one transaction: all or none, or, with `atomic: false`, those that are well. Needs the
    /// scope endpoints.create.
    async fn create_endpoints(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The endpoints.")] input: CreateEndpointsInput,
    ) -> Nullable<CreateEndpointsPayload> {
        let view = View::of(ctx).fresh();
        let (dry_run, key) = (input.dry_run, input.idempotency_key.as_deref());
        let (new, misplaced) = input.to_core();
        let is_fit = misplaced.is_empty();
        let (app, caller) = (view.app(), view.caller());
        // What is misplaced refuses the whole call; the dry run tells all else that is wrong with it.
        let (atomic, dry) = (input.atomic || !is_fit, dry_run || !is_fit);
        let key = key.filter(|_| is_fit);
        let outcome = match app.endpoints_create(caller, &new, atomic, dry, key).await {
            Ok(_) if !is_fit => Err(Fault::Refused(misplaced)),
            Err(Fault::Refused(problems)) => Err(Fault::Refused([misplaced, problems].concat())),
            outcome => outcome,
        };
        Some(Answer::of(outcome).map(|answer| {
            let (made, problems) = match answer.value {
                Some(created) => (created.endpoints, created.problems),
                None => (std::iter::repeat_n(None, input.len()).collect(), Vec::new()),
            };
            let (rows, passwords): (Vec<_>, Vec<_>) = made
                .into_iter()
                .map(|made| match made {
                    Some(made) => (Some(made.endpoint), made.generated_password),
                    None => (None, None),
                })
                .unzip();
            let rows = rows.into_iter();
            let passwords = passwords.into_iter();
            let mut user_errors = answer.user_errors;
            user_errors.extend(problems.into_iter().map(UserError::from));
            CreateEndpointsPayload {
                endpoints: rows
                    .map(|row| row.map(|row| Endpoint::new(row, view.clone())))
                    .collect(),
                generated_passwords: passwords
                    .map(|password| password.map(|secret| secret.expose().to_owned()))
                    .collect(),
                dry_run,
                replayed: answer.replayed,
                user_errors,
            }
        }))
    }

    /// Changes the fields of an endpoint that are given (PATCH): an absent field stays, null means its default. Needs the
    /// scope endpoints.update.
    async fn update_endpoint(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which endpoint, and what is to change.")] input: UpdateEndpointInput,
    ) -> Nullable<UpdateEndpointPayload> {
        let view = View::of(ctx).fresh();
        let (dry_run, key) = (input.dry_run, input.idempotency_key.as_deref());
        let outcome = view
            .app()
            .endpoint_update(view.caller(), &input.to_core(), dry_run, key)
            .await;
        Some(Answer::of(outcome).map(|answer| {
            let Updated {
                endpoint,
                changed_fields,
                generated_password,
            } = Updated::of(answer.value, view);
            UpdateEndpointPayload {
                endpoint,
                changed_fields,
                generated_password,
                dry_run,
                replayed: answer.replayed,
                user_errors: answer.user_errors,
            }
        }))
    }

    /// Changes an endpoint as a whole (PUT): every field that its type lets change must be given. Needs the scope
    /// endpoints.update.
    async fn replace_endpoint(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which endpoint, and the whole of it.")] input: ReplaceEndpointInput,
    ) -> Nullable<ReplaceEndpointPayload> {
        let view = View::of(ctx).fresh();
        let (dry_run, key) = (input.dry_run, input.idempotency_key.as_deref());
        let outcome = view
            .app()
            .endpoint_replace(view.caller(), &input.to_core(), dry_run, key)
            .await;
        Some(Answer::of(outcome).map(|answer| {
            let Updated {
                endpoint,
                changed_fields,
                generated_password,
            } = Updated::of(answer.value, view);
            ReplaceEndpointPayload {
                endpoint,
                changed_fields,
                generated_password,
                dry_run,
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

/// What both kinds of change answer.
struct Updated {
    endpoint: Option<Endpoint>,
    changed_fields: Vec<String>,
    generated_password: Option<String>,
}

impl Updated {
    fn of(value: Option<UpdatedEndpoint>, view: View) -> Self {
        let Some(updated) = value else {
            return Self {
                endpoint: None,
                changed_fields: Vec::new(),
                generated_password: None,
            };
        };
        let fields = updated.changed.iter().map(|name| name.as_str().to_owned());
        let password = updated.generated_password;
        Self {
            changed_fields: fields.collect(),
            generated_password: password.map(|secret| secret.expose().to_owned()),
            endpoint: Some(Endpoint::new(updated.endpoint, view)),
        }
    }
}

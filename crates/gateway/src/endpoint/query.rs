//! Queries for endpoints.

use async_graphql::{Context, ID, Object};
use sipgraph_core::{DomainId, page::PageRequest};

use super::{
    input::{
        EndpointFilterInput, EndpointLookup, EndpointOrder, EndpointOrderField, OrderDirection,
    },
    types::{Endpoint, EndpointConnection, NameCheck},
};
use crate::{
    connection::{Total, page_request},
    errors::{Nullable, UserError, nullable, problem_error},
    id::NodeId,
    resolve::Whole,
    scalars::Cursor,
    view::View,
};

/// The queries of this noun.
#[derive(Default)]
pub(crate) struct EndpointQuery;

#[Object]
impl EndpointQuery {
    /// One endpoint. Needs the scope endpoints.read. Null with the error `NOT_FOUND` when there is none.
    async fn endpoint(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which one.")] by: EndpointLookup,
    ) -> Nullable<Whole<Endpoint>> {
        let view = View::of(ctx);
        let row = match by.to_key() {
            Ok(key) => view.app().endpoint(view.caller(), key).await,
            Err(problem) => Err(problem_error(problem)),
        };
        nullable(row.map(|row| Whole(Endpoint::new(row, view))))
    }

    /// The endpoints of the account, newest first unless asked for otherwise. Needs the scope endpoints.read.
    #[expect(
        clippy::too_many_arguments,
        reason = "the arguments of a Relay connection"
    )]
    async fn endpoints(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first so many rows after `after`: 1 to 1000; 50 when absent.")]
        first: Option<i32>,
        #[graphql(desc = "Only rows after this one.")] after: Option<Cursor>,
        #[graphql(
            desc = "The last so many rows before `before`: 1 to 1000. Not together with `first`."
        )]
        last: Option<i32>,
        #[graphql(desc = "Only rows before this one.")] before: Option<Cursor>,
        #[graphql(desc = "Only rows that match all of its fields.")] filter: Option<
            EndpointFilterInput,
        >,
        #[graphql(desc = "The order of the list; newest first when absent.")] order_by: Option<
            EndpointOrder,
        >,
    ) -> Nullable<EndpointConnection> {
        let view = View::of(ctx);
        let filter = EndpointFilterInput::to_core(filter);
        let by_name = order_by
            .as_ref()
            .is_some_and(|order| order.field == EndpointOrderField::Name);
        let ascending = order_by.is_some_and(|order| order.direction == OrderDirection::Asc);
        let request = PageRequest {
            reversed: ascending,
            ..page_request(first, after, last, before)
        };
        let (app, caller) = (view.app(), view.caller());
        let page = if by_name {
            let read = app.endpoints_by_name(caller, filter.clone(), &request);
            view.page(&request, read).await
        } else {
            let read = app.endpoints(caller, filter.clone(), &request);
            view.page(&request, read).await
        };
        Some(page.map(|page| {
            let wrap = |row| Endpoint::new(row, view.clone());
            EndpointConnection::new(page, Total::Endpoints(filter), view.clone(), wrap)
        }))
    }

    /// What `createEndpoint` would say to a name. Needs the scope endpoints.read.
    async fn check_name(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The name.")] name: String,
        #[graphql(desc = "Says also whether the name is taken in this domain.")] domain_id: Option<
            ID,
        >,
    ) -> Nullable<NameCheck> {
        let view = View::of(ctx);
        let domain = domain_id.map(|id| DomainId::of(&id));
        let check = view.app().name_check(view.caller(), &name, domain).await;
        nullable(check.map(|check| NameCheck {
            valid: check.problems.is_empty(),
            canonical: check.canonical,
            errors: check.problems.into_iter().map(UserError::from).collect(),
        }))
    }
}

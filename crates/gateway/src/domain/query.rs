//! Queries for domains.

use async_graphql::{Context, Object};
use sipgraph_core::DomainId;

use super::{
    input::DomainLookup,
    types::{Domain, DomainConnection},
};
use crate::{
    connection::{Total, page_request},
    errors::{Nullable, nullable},
    id::NodeId,
    scalars::Cursor,
    view::View,
};

/// The queries of this noun.
#[derive(Default)]
pub(crate) struct DomainQuery;

#[Object]
impl DomainQuery {
    /// One domain. Needs the scope domains.read. Null with the error `NOT_FOUND` when there is none.
    async fn domain(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which one.")] by: DomainLookup,
    ) -> Nullable<Domain> {
        let view = View::of(ctx);
        let (app, caller) = (view.app(), view.caller());
        let row = match by {
            DomainLookup::Id(id) => app.domain(caller, DomainId::of(&id)).await,
            DomainLookup::Name(name) => app.domain_by_name(caller, &name).await,
        };
        nullable(row.map(Domain::new))
    }

    /// The domains of the account, newest first. Needs the scope domains.read.
    async fn domains(
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
    ) -> Nullable<DomainConnection> {
        let view = View::of(ctx);
        let request = page_request(first, after, last, before);
        let page = view
            .page(&request, view.app().domains(view.caller(), &request))
            .await;
        Some(
            page.map(|page| DomainConnection::new(page, Total::Domains, view.clone(), Domain::new)),
        )
    }
}

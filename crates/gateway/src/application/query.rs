//! Queries for applications.

use async_graphql::{Context, ID, Object};
use sipgraph_core::ApplicationId;

use super::types::{Application, ApplicationConnection};
use crate::{
    connection::{Total, page_request},
    errors::{Nullable, nullable},
    id::NodeId,
    scalars::Cursor,
    view::View,
};

/// The queries of this noun.
#[derive(Default)]
pub(crate) struct ApplicationQuery;

#[Object]
impl ApplicationQuery {
    /// One application. Needs the scope applications.read. Null with the error `NOT_FOUND` when there is none.
    async fn application(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Its opaque id.")] id: ID,
    ) -> Nullable<Application> {
        let view = View::of(ctx);
        let row = view
            .app()
            .application(view.caller(), ApplicationId::of(&id))
            .await;
        nullable(row.map(Application::new))
    }

    /// The applications of the account, newest first. Needs the scope applications.read.
    async fn applications(
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
    ) -> Nullable<ApplicationConnection> {
        let view = View::of(ctx);
        let request = page_request(first, after, last, before);
        let read = view.app().applications(view.caller(), &request);
        let page = view.page(&request, read).await;
        Some(page.map(|page| {
            ApplicationConnection::new(page, Total::Applications, view.clone(), Application::new)
        }))
    }
}

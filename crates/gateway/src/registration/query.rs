//! Queries for failed registrations.

use async_graphql::{Context, Object};

use super::{input::RegistrationFailureFilterInput, types::RegistrationFailureConnection};
use crate::{
    connection::page_request,
    errors::{self, Nullable},
    scalars::Cursor,
    view::View,
};

/// The queries of this noun.
#[derive(Default)]
pub(crate) struct RegistrationQuery;

#[Object]
impl RegistrationQuery {
    /// Why phones could not register, the latest first. A failure is listed within two seconds. Needs the scope
    /// registrations.read.
    async fn registration_failures(
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
        #[graphql(desc = "Only failures that match all of its fields.")] filter: Option<
            RegistrationFailureFilterInput,
        >,
    ) -> Nullable<RegistrationFailureConnection> {
        let view = View::of(ctx);
        let filter = match RegistrationFailureFilterInput::to_core(filter) {
            Ok(filter) => filter,
            Err(error) => return Some(Err(errors::error(error))),
        };
        let request = page_request(first, after, last, before);
        let read = view
            .app()
            .registration_failures(view.caller(), &filter, &request);
        let page = view.page(&request, read).await;
        Some(page.map(|page| RegistrationFailureConnection::new(page, &view)))
    }
}

//! The log as history.

use async_graphql::{Context, Object};

use super::{input::EventFilterInput, types::EventConnection};
use crate::{connection::page_request, errors::Nullable, scalars::Cursor, view::View};

/// The queries of this noun.
#[derive(Default)]
pub(crate) struct EventQuery;

#[Object]
impl EventQuery {
    /// The event log, oldest first, for as long as it is kept. Needs the read scope of each kind of event.
    async fn events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first so many events after `after`: 1 to 1000; 50 when absent.")]
        first: Option<i32>,
        #[graphql(
            desc = "Only events after this position; any cursor of the log, whatever its filter was."
        )]
        after: Option<Cursor>,
        #[graphql(
            desc = "The last so many events before `before`: 1 to 1000. Not together with `first`."
        )]
        last: Option<i32>,
        #[graphql(
            desc = "Only events before this position; any cursor of the log, whatever its filter was."
        )]
        before: Option<Cursor>,
        #[graphql(desc = "Only events that match all of its fields.")] filter: Option<
            EventFilterInput,
        >,
    ) -> Nullable<EventConnection> {
        let view = View::of(ctx);
        let request = page_request(first, after, last, before);
        let filter = EventFilterInput::to_core(filter);
        let read = view.app().events_page(view.caller(), &filter, &request);
        let page = view.page(&request, read).await;
        Some(page.map(|page| EventConnection::new(page, &view)))
    }
}

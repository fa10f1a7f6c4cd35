//! Queries for messages.

use async_graphql::{Context, ID, Object};
use sipgraph_core::{MessageId, page::PageRequest, ports::store::MessageFilter};

use super::{
    input::MessageFilterInput,
    types::{Message, MessageConnection},
};
use crate::{
    connection::{Total, page_request},
    errors::{Nullable, nullable},
    id::NodeId,
    resolve::Whole,
    scalars::Cursor,
    view::View,
};

/// The queries of this noun.
#[derive(Default)]
pub(crate) struct MessageQuery;

#[Object]
impl MessageQuery {
    /// One message. Needs the scope messages.read. Null with the error `NOT_FOUND` when there is none.
    async fn message(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Its opaque id.")] id: ID,
    ) -> Nullable<Whole<Message>> {
        let view = View::of(ctx);
        let row = view.app().message(view.caller(), MessageId::of(&id)).await;
        nullable(row.map(|row| Whole(Message::new(row, view))))
    }

    /// The messages of the account, newest first. Needs the scope messages.read.
    async fn messages(
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
            MessageFilterInput,
        >,
    ) -> Nullable<MessageConnection> {
        let filter = MessageFilterInput::to_core(filter);
        messages_page(
            &View::of(ctx),
            filter,
            page_request(first, after, last, before),
        )
        .await
    }
}

/// Returns a page of messages.
pub(crate) async fn messages_page(
    view: &View,
    filter: MessageFilter,
    request: PageRequest,
) -> Nullable<MessageConnection> {
    let read = view.app().messages(view.caller(), filter.clone(), &request);
    let page = view.page(&request, read).await;
    Some(page.map(|page| {
        let wrap = |row| Message::new(row, view.clone());
        MessageConnection::new(page, Total::Messages(filter), view.clone(), wrap)
    }))
}

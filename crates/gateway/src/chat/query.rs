//! Queries for chats.

use async_graphql::{Context, ID, Object};
use sipgraph_core::{ChatId, page::PageRequest, ports::store::ChatFilter};

use super::{
    input::ChatFilterInput,
    types::{Chat, ChatConnection},
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
pub(crate) struct ChatQuery;

#[Object]
impl ChatQuery {
    /// One chat. Needs the scope chats.read. Null with the error `NOT_FOUND` when there is none.
    async fn chat(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Its opaque id.")] id: ID,
    ) -> Nullable<Whole<Chat>> {
        let view = View::of(ctx);
        let row = view.app().chat(view.caller(), ChatId::of(&id)).await;
        nullable(row.map(|row| Whole(Chat::new(row, view))))
    }

    /// The chats of the account, the last active first. Needs the scope chats.read.
    async fn chats(
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
            ChatFilterInput,
        >,
    ) -> Nullable<ChatConnection> {
        let filter = ChatFilterInput::to_core(filter);
        chats_page(
            &View::of(ctx),
            filter,
            page_request(first, after, last, before),
        )
        .await
    }
}

/// Returns a page of chats.
pub(crate) async fn chats_page(
    view: &View,
    filter: ChatFilter,
    request: PageRequest,
) -> Nullable<ChatConnection> {
    let read = view.app().chats(view.caller(), filter.clone(), &request);
    let page = view.page(&request, read).await;
    Some(page.map(|page| {
        let wrap = |row| Chat::new(row, view.clone());
        ChatConnection::new(page, Total::Chats(filter), view.clone(), wrap)
    }))
}

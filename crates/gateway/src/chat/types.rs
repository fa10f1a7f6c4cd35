//! What clients see of chats.

use async_graphql::{ID, Object};
use sipgraph_core::chat;

use crate::{
    connection::{connection, page_request},
    endpoint::Endpoint,
    errors::{Nullable, optional},
    id::NodeId,
    message::{Message, MessageConnection, MessageFilterInput, messages_page},
    scalars::{Cursor, DateTime, int},
    view::View,
};

/// A chat.
pub(crate) struct Chat {
    row: chat::Chat,
    view: View,
}

impl Chat {
    pub(crate) fn new(row: chat::Chat, view: View) -> Self {
        Self { row, view }
    }
}

/// The messages of one endpoint, under one of its own numbers or addresses, with one peer.
#[Object]
impl Chat {
    /// Its opaque id.
    pub(crate) async fn id(&self) -> ID {
        self.row.id.to_id()
    }

    /// The id of the endpoint that has it.
    async fn endpoint_id(&self) -> ID {
        self.row.key.endpoint.to_id()
    }

    /// The endpoint that has it. Needs the scope endpoints.read; null without it.
    async fn endpoint(&self) -> Nullable<Endpoint> {
        optional(self.view.endpoint(self.row.key.endpoint).await)
    }

    /// The endpoint's own side: an E.164 number, else `user@domain`.
    async fn own_number(&self) -> &str {
        &self.row.key.own_number
    }

    /// The other side: an E.164 number, else `user@domain`.
    async fn peer(&self) -> &str {
        &self.row.key.peer
    }

    /// Its newest message; null when it has none. Needs the scope messages.read; null without it.
    async fn last_message(&self) -> Nullable<Message> {
        let id = self.row.last_message?;
        optional(self.view.message(id).await)
    }

    /// How many of the messages that came in are unread.
    async fn unread_count(&self) -> i32 {
        int(self.row.unread_count)
    }

    /// How many messages it has.
    async fn message_count(&self) -> i32 {
        int(self.row.message_count)
    }

    /// When it was made.
    async fn created_at(&self) -> DateTime {
        DateTime(self.row.created_at)
    }

    /// When it last changed.
    async fn updated_at(&self) -> DateTime {
        DateTime(self.row.updated_at)
    }

    /// Its messages, newest first by `seq`. Needs the scope messages.read.
    async fn messages(
        &self,
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
        let filter = MessageFilterInput::of_chat(filter, self.row.id);
        messages_page(&self.view, filter, page_request(first, after, last, before)).await
    }
}

connection!(
    /// A page of chats, the last active first. A chat that becomes active while you page moves before your cursor.
    ChatConnection,
    /// A chat in a page.
    ChatEdge,
    Chat
);

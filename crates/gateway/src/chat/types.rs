//! What clients see of chats.

use std::sync::Arc;

use async_graphql::{Context, ID, Lookahead, Object, SimpleObject};
use sipgraph_core::{app::composing, chat};

use crate::{
    connection::{connection, page_request},
    endpoint::Endpoint,
    errors::{Nullable, UserError, optional},
    id::NodeId,
    message::{Message, MessageConnection, MessageFilterInput, messages_page},
    resolve::{Plain, Row, Whole, plain},
    scalars::{Cursor, DateTime, int},
    view::View,
};

/// A chat.
pub(crate) struct Chat {
    row: Arc<chat::Chat>,
    view: View,
}

impl Chat {
    pub(crate) fn new(row: impl Into<Arc<chat::Chat>>, view: View) -> Self {
        let row = row.into();
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
    fn endpoint_id(&self) -> ID {
        self.row.key.endpoint.to_id()
    }

    /// The endpoint that has it. Needs the scope endpoints.read; null without it.
    async fn endpoint(&self) -> Nullable<Whole<Endpoint>> {
        optional(self.view.endpoint(self.row.key.endpoint).await)
    }

    /// The endpoint's own side: an E.164 number, else `user@domain`.
    fn own_number(&self) -> &str {
        &self.row.key.own_number
    }

    /// The other side: an E.164 number, else `user@domain`.
    fn peer(&self) -> &str {
        &self.row.key.peer
    }

    /// Its newest message; null when it has none. Needs the scope messages.read; null without it.
    async fn last_message(&self) -> Nullable<Whole<Message>> {
        let id = self.row.last_message?;
        optional(self.view.message(id).await)
    }

    /// How many of the messages that came in are unread.
    fn unread_count(&self) -> i32 {
        int(self.row.unread_count)
    }

    /// How many messages it has.
    fn message_count(&self) -> i32 {
        int(self.row.message_count)
    }

    /// When it was made.
    fn created_at(&self) -> DateTime {
        DateTime(self.row.created_at)
    }

    /// When it last changed.
    fn updated_at(&self) -> DateTime {
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
        // Boxed, as in `loaders::get`.
        let request = page_request(first, after, last, before);
        Box::pin(messages_page(&self.view, filter, request)).await
    }
}

impl Row for Chat {
    fn plain(name: &str) -> Option<Plain<Self>> {
        plain!(name,
            "id" => |chat: &Self, _: &Context<'_>| chat.row.id.to_id(),
            "endpointId" => Self::endpoint_id,
            "ownNumber" => Self::own_number,
            "peer" => Self::peer,
            "unreadCount" => Self::unread_count,
            "messageCount" => Self::message_count,
            "createdAt" => Self::created_at,
            "updatedAt" => Self::updated_at,
        )
    }

    async fn ahead(rows: &[&Self], asked: &Lookahead<'_>) {
        let Some(view) = rows.first().map(|first| &first.view) else {
            return;
        };
        let last = asked.field("lastMessage");
        // A message has the endpoint of its chat.
        if asked.field("endpoint").exists() || last.field("endpoint").exists() {
            let ids = rows.iter().map(|chat| chat.row.key.endpoint);
            view.endpoints_ahead(ids).await;
        }
        if last.exists() {
            let ids = rows.iter().filter_map(|chat| chat.row.last_message);
            view.messages_ahead(ids).await;
        }
        if last.field("chat").exists() {
            view.chats_ahead(rows.iter().map(|chat| chat.row.id)).await;
        }
    }
}

connection!(
    /// A page of chats, the last active first. A chat that becomes active while you page moves before your cursor.
    ChatConnection,
    /// A chat in a page.
    ChatEdge,
    Chat
);

/// The answer to `markChat`.
#[derive(SimpleObject)]
pub(crate) struct MarkChatPayload {
    /// The chat as it is now; null when it was refused.
    pub(crate) chat: Option<Chat>,
    /// How many messages did not have the mark before; null when it was refused, and in a replay.
    pub(crate) marked_count: Option<i32>,
    /// True when an earlier call with the same idempotency key marked them.
    pub(crate) replayed: bool,
    /// What the caller can mend; empty when the chat was marked.
    pub(crate) user_errors: Vec<UserError>,
}

/// The answer to `deleteChatMessages`.
#[derive(SimpleObject)]
pub(crate) struct DeleteChatMessagesPayload {
    /// The chat as it is now; null when it was refused.
    pub(crate) chat: Option<Chat>,
    /// How many messages it had; null when it was refused, and in a replay.
    pub(crate) deleted_count: Option<i32>,
    /// True when an earlier call with the same idempotency key deleted them.
    pub(crate) replayed: bool,
    /// What the caller can mend; empty when the messages were deleted.
    pub(crate) user_errors: Vec<UserError>,
}

/// The answer to `deleteChat`.
#[derive(SimpleObject)]
pub(crate) struct DeleteChatPayload {
    /// The id that the chat had; null when it was refused.
    pub(crate) deleted_chat_id: Option<ID>,
    /// True when an earlier call with the same idempotency key deleted it.
    pub(crate) replayed: bool,
    /// What the caller can mend; empty when the chat was deleted.
    pub(crate) user_errors: Vec<UserError>,
}

/// The answer to `setComposing`.
#[derive(SimpleObject)]
pub(crate) struct SetComposingPayload {
    /// What was told; null when it was refused.
    pub(crate) active: Option<bool>,
    /// What the caller can mend; empty when it was told.
    pub(crate) user_errors: Vec<UserError>,
}

/// Somebody types, or has stopped.
#[derive(SimpleObject)]
pub(crate) struct Composing {
    /// The id of the chat, of the side that is written to.
    chat_id: ID,
    /// Who types, as the chat's `peer` has it.
    peer: String,
    /// Whether it types.
    active: bool,
    /// When it is over unless it is told again.
    expires_at: DateTime,
}

impl From<composing::Composing> for Composing {
    fn from(notice: composing::Composing) -> Self {
        Self {
            chat_id: notice.chat.to_id(),
            peer: notice.peer,
            active: notice.active,
            expires_at: DateTime(notice.expires_at),
        }
    }
}

//! Mutations of chats.

use async_graphql::{Context, Object};
use sipgraph_core::{ChatId, MessageId, app::Outcome};

use super::{
    input::{DeleteChatInput, DeleteChatMessagesInput, MarkChatInput, SetComposingInput},
    types::{
        Chat, DeleteChatMessagesPayload, DeleteChatPayload, MarkChatPayload, SetComposingPayload,
    },
};
use crate::{
    errors::{Answer, Nullable},
    id::NodeId,
    scalars::int,
    view::View,
};

/// The mutations of this noun.
#[derive(Default)]
pub(crate) struct ChatMutation;

#[Object]
impl ChatMutation {
    /// Marks the messages that came in to a chat read or unread. It is told as one change of the chat (`CHAT_UPDATED`), not
    /// of each message. Needs the scopes chats.update and chats.read.
    async fn mark_chat(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which chat, and how.")] input: MarkChatInput,
    ) -> Nullable<MarkChatPayload> {
        let view = View::of(ctx).fresh();
        let key = input.idempotency_key.as_deref();
        let up_to = input.up_to_message_id.as_ref().map(MessageId::of);
        let id = ChatId::of(&input.id);
        let outcome = view
            .app()
            .chat_mark(view.caller(), id, input.read, up_to, key)
            .await;
        Some(Answer::of(outcome).map(|answer| {
            let (chat, count) = answer.value.map(|c| (c.chat, c.count)).unzip();
            MarkChatPayload {
                chat: chat.map(|row| Chat::new(row, view)),
                marked_count: count.flatten().map(int),
                replayed: answer.replayed,
                user_errors: answer.user_errors,
            }
        }))
    }

    /// Deletes the messages that a chat has; the chat stays, empty. They are gone from lists and searches, and their texts
    /// from the events that told of them. It is told as one change of the chat (`CHAT_UPDATED`). The other side keeps its own
    /// messages. Needs the scopes chats.delete and chats.read.
    async fn delete_chat_messages(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which chat.")] input: DeleteChatMessagesInput,
    ) -> Nullable<DeleteChatMessagesPayload> {
        let view = View::of(ctx).fresh();
        let key = input.idempotency_key.as_deref();
        let outcome = view
            .app()
            .chat_clear(view.caller(), ChatId::of(&input.id), key)
            .await;
        Some(Answer::of(outcome).map(|answer| {
            let (chat, count) = answer.value.map(|c| (c.chat, c.count)).unzip();
            DeleteChatMessagesPayload {
                chat: chat.map(|row| Chat::new(row, view)),
                deleted_count: count.flatten().map(int),
                replayed: answer.replayed,
                user_errors: answer.user_errors,
            }
        }))
    }

    /// Deletes a chat with its messages, as `deleteChatMessages` does. A new message with this peer opens another chat.
    /// Needs the scope chats.delete.
    async fn delete_chat(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which chat.")] input: DeleteChatInput,
    ) -> Nullable<DeleteChatPayload> {
        let view = View::of(ctx).fresh();
        let key = input.idempotency_key.as_deref();
        let outcome = view
            .app()
            .chat_delete(view.caller(), ChatId::of(&input.id), key)
            .await;
        Some(Answer::of(outcome).map(|answer| DeleteChatPayload {
            deleted_chat_id: answer.value.map(NodeId::to_id),
            replayed: answer.replayed,
            user_errors: answer.user_errors,
        }))
    }

    /// Tells the other side of a chat that its endpoint types (RFC 3994): who follows `composing`, and the phones. It is
    /// stored nowhere; tell it again at least every two minutes while it lasts. Needs the scope messages.create.
    async fn set_composing(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which chat, and whether it types.")] input: SetComposingInput,
    ) -> Nullable<SetComposingPayload> {
        let view = View::of(ctx).fresh();
        let chat = ChatId::of(&input.chat_id);
        let told = view
            .app()
            .composing_set(view.caller(), chat, input.active)
            .await;
        let outcome = told.map(|()| Outcome {
            value: (),
            replayed: false,
        });
        Some(Answer::of(outcome).map(|answer| SetComposingPayload {
            active: answer.value.map(|()| input.active),
            user_errors: answer.user_errors,
        }))
    }
}

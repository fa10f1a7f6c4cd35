//! Mutations of messages.

use async_graphql::{Context, Object};
use sipgraph_core::{MessageId, access::Scope};

use super::{
    input::{DeleteMessageInput, MarkMessageInput, SendMessageInput},
    types::{DeleteMessagePayload, MarkMessagePayload, Message, MessageRoute, SendMessagePayload},
};
use crate::{
    chat::Chat,
    errors::{Answer, Nullable},
    id::NodeId,
    view::View,
};

/// The mutations of this noun.
#[derive(Default)]
pub(crate) struct MessageMutation;

#[Object]
impl MessageMutation {
    /// Sends a message. It is stored and synced when this answers; delivery goes on afterwards. It goes to an endpoint of the
    /// account that is named, to the one that has the number, or out through a trunk of the account. Needs the scope
    /// messages.create.
    async fn send_message(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The message.")] input: SendMessageInput,
    ) -> Nullable<SendMessagePayload> {
        let view = View::of(ctx).fresh();
        let key = input.idempotency_key.as_deref();
        let dry_run = input.dry_run;
        let outcome = view
            .app()
            .message_send(view.caller(), &input.to_core(), dry_run, key)
            .await;
        let unroutable = MessageRoute::of_refusal(&outcome);
        Some(Answer::of(outcome).map(|answer| {
            let (message, route) = answer
                .value
                .map_or((None, None), |sent| (sent.message, sent.route));
            SendMessagePayload {
                message: message.map(|row| Message::new(row, view)),
                route: route.map(MessageRoute::from).or(unroutable),
                dry_run,
                replayed: answer.replayed,
                user_errors: answer.user_errors,
            }
        }))
    }

    /// Marks a received message read or unread. Needs the scopes messages.update and messages.read.
    async fn mark_message(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which message, and how.")] input: MarkMessageInput,
    ) -> Nullable<MarkMessagePayload> {
        let view = View::of(ctx).fresh();
        let key = input.idempotency_key.as_deref();
        let outcome = view
            .app()
            .message_mark(view.caller(), MessageId::of(&input.id), input.read, key)
            .await;
        Some(Answer::of(outcome).map(|answer| MarkMessagePayload {
            message: answer.value.map(|row| Message::new(row, view)),
            replayed: answer.replayed,
            user_errors: answer.user_errors,
        }))
    }

    /// Deletes a message that one endpoint keeps: it is gone from lists, chats and searches, and its text from the events
    /// that told of it. The other side keeps its own, and a message that is on its way is delivered. Needs the scope
    /// messages.delete.
    async fn delete_message(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which message.")] input: DeleteMessageInput,
    ) -> Nullable<DeleteMessagePayload> {
        let view = View::of(ctx).fresh();
        let key = input.idempotency_key.as_deref();
        let outcome = view
            .app()
            .message_delete(view.caller(), MessageId::of(&input.id), key)
            .await;
        Some(Answer::of(outcome).map(|answer| {
            DeleteMessagePayload {
                deleted_message_id: answer.value.is_some().then(|| input.id.clone()),
                chat: answer
                    .value
                    .flatten()
                    .filter(|_| view.may(Scope::ChatsRead))
                    .map(|row| Chat::new(row, view)),
                replayed: answer.replayed,
                user_errors: answer.user_errors,
            }
        }))
    }
}

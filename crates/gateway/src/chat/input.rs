//! What clients say about chats.

use async_graphql::{ID, InputObject};
use sipgraph_core::{EndpointId, ports::store::ChatFilter, search::Words};

use crate::{id::NodeId, message::TimeRange};

/// Which chats a list has: those that match all of its fields. An absent field does not filter.
#[derive(Default, InputObject)]
#[graphql(name = "ChatFilter")]
pub(crate) struct ChatFilterInput {
    /// Only of this endpoint.
    endpoint_id: Option<ID>,
    /// Only with this other side: an E.164 number, else `user@domain`.
    peer: Option<String>,
    /// Only under this own number or address of the endpoint.
    own_number: Option<String>,
    /// Only with, or only without unread messages.
    unread: Option<bool>,
    /// Only those that changed in this time.
    updated_at: Option<TimeRange>,
    /// Only with a message that has all of these words in its text, the last of them as the beginning of a word; case and
    /// accents do not matter. At most 32 different words, of which the first 64 letters count. A text without a word does not
    /// filter. A new message is found within two seconds.
    text: Option<String>,
}

impl ChatFilterInput {
    pub(super) fn to_core(filter: Option<Self>) -> ChatFilter {
        let filter = filter.unwrap_or_default();
        let time = filter.updated_at;
        ChatFilter {
            endpoint: filter.endpoint_id.map(|id| EndpointId::of(&id)),
            peer: filter.peer,
            own_number: filter.own_number,
            unread: filter.unread,
            from: time.as_ref().and_then(|t| t.from).map(|at| at.0),
            to: time.and_then(|t| t.to).map(|at| at.0),
            text: filter.text.as_deref().and_then(Words::to_find),
            visible: None,
        }
    }

    /// Narrows a filter to one endpoint; one that names another endpoint matches nothing.
    pub(crate) fn of_endpoint(filter: Option<Self>, id: EndpointId) -> ChatFilter {
        let filter = Self::to_core(filter);
        let other = filter.endpoint.is_some_and(|named| named != id);
        ChatFilter {
            endpoint: Some(if other { EndpointId([0; 16]) } else { id }),
            ..filter
        }
    }
}

/// A chat whose messages are to be marked.
#[derive(InputObject)]
pub(crate) struct MarkChatInput {
    /// Its opaque id.
    pub(super) id: ID,
    /// Read, or unread again.
    #[graphql(default = true)]
    pub(super) read: bool,
    /// Only messages up to and with this one, as they stand in the chat: what came after it stays as it is. All that the
    /// chat has when absent.
    pub(super) up_to_message_id: Option<ID>,
    /// Makes the call safe to repeat: with the same key and input it is done once. Kept for 24 hours.
    pub(super) idempotency_key: Option<String>,
}

/// A chat whose messages are to be deleted.
#[derive(InputObject)]
pub(crate) struct DeleteChatMessagesInput {
    /// Its opaque id.
    pub(super) id: ID,
    /// Makes the call safe to repeat: with the same key and input it is done once. Kept for 24 hours.
    pub(super) idempotency_key: Option<String>,
}

/// That the endpoint of a chat types.
#[derive(InputObject)]
pub(crate) struct SetComposingInput {
    /// The opaque id of the chat.
    pub(super) chat_id: ID,
    /// Typing, or no longer.
    #[graphql(default = true)]
    pub(super) active: bool,
}

/// A chat to delete.
#[derive(InputObject)]
pub(crate) struct DeleteChatInput {
    /// Its opaque id.
    pub(super) id: ID,
    /// Makes the call safe to repeat: with the same key and input it is done once. Kept for 24 hours.
    pub(super) idempotency_key: Option<String>,
}

//! What clients say about messages.

use async_graphql::{ID, InputObject, OneofObject};
use sipgraph_core::{
    ChatId, EndpointId,
    address::{Call, calls, dialled, endpoint_uri, own_number},
    app::messages::{NewMessage, Recipient},
    ports::store::{EndpointKey, MessageFilter},
    search::Words,
};

use super::types::{MessageDirection, MessageStatus};
use crate::{
    endpoint::EndpointResourceInput,
    id::NodeId,
    scalars::{DateTime, JSONObject},
};

/// A span of time.
#[derive(InputObject)]
pub(crate) struct TimeRange {
    /// At this time or later.
    pub(crate) from: Option<DateTime>,
    /// Before this time.
    pub(crate) to: Option<DateTime>,
}

/// Which messages a list has: those that match all of its fields. An absent field does not filter.
#[derive(Default, InputObject)]
#[graphql(name = "MessageFilter")]
pub(crate) struct MessageFilterInput {
    /// Only of this endpoint.
    endpoint_id: Option<ID>,
    /// Only of this chat.
    chat_id: Option<ID>,
    /// Only sent, or only received ones.
    direction: Option<MessageDirection>,
    /// Only read, or only unread ones.
    read: Option<bool>,
    /// Only with this status.
    status: Option<MessageStatus>,
    /// Only with this other side, as the chat's `peer` has it.
    peer: Option<String>,
    /// Only those stored in this time.
    created_at: Option<TimeRange>,
    /// Only with all of these words in the text, the last of them as the beginning of a word; case and accents do not
    /// matter. At most 32 different words, of which the first 64 letters count. A text without a word does not filter. A new
    /// message is found within two seconds.
    text: Option<String>,
}

impl MessageFilterInput {
    pub(super) fn to_core(filter: Option<Self>) -> MessageFilter {
        let filter = filter.unwrap_or_default();
        let time = filter.created_at;
        MessageFilter {
            endpoint: filter.endpoint_id.map(|id| EndpointId::of(&id)),
            chat: filter.chat_id.map(|id| ChatId::of(&id)),
            direction: filter.direction.map(Into::into),
            read: filter.read,
            status: filter.status.map(Into::into),
            peer: filter.peer,
            from: time.as_ref().and_then(|t| t.from).map(|at| at.0),
            to: time.and_then(|t| t.to).map(|at| at.0),
            text: filter.text.as_deref().and_then(Words::to_find),
            up_to_seq: None,
            visible: None,
        }
    }

    /// Narrows a filter to one endpoint; one that names another endpoint matches nothing.
    pub(crate) fn of_endpoint(filter: Option<Self>, id: EndpointId) -> MessageFilter {
        let filter = Self::to_core(filter);
        let other = filter.endpoint.is_some_and(|named| named != id);
        MessageFilter {
            endpoint: Some(if other { EndpointId([0; 16]) } else { id }),
            ..filter
        }
    }

    /// Narrows a filter to one chat; one that names another chat matches nothing.
    pub(crate) fn of_chat(filter: Option<Self>, id: ChatId) -> MessageFilter {
        let filter = Self::to_core(filter);
        let other = filter.chat.is_some_and(|named| named != id);
        MessageFilter {
            chat: Some(if other { ChatId([0; 16]) } else { id }),
            ..filter
        }
    }
}

/// Who sends: exactly one of these.
#[derive(OneofObject)]
pub(crate) enum MessageParty {
    /// An address: `sip:alice@example.com`, `pjsip:alice`.
    Uri(String),
    /// An endpoint by its opaque id.
    EndpointId(ID),
    /// An endpoint by technology and resource.
    Resource(EndpointResourceInput),
    /// The endpoint that has this number, in E.164 form; the message comes from the number.
    Number(String),
}

/// Who receives: exactly one of these.
#[derive(OneofObject)]
pub(crate) enum MessageTarget {
    /// An address: `sip:bob@example.com`, `pjsip:bob`, `pjsip:bob@example.com`; a number in a domain of the account,
    /// `sip:+12125550100@example.com`; or somebody behind a trunk, `pjsip:trunk/sip:zoe@elsewhere.example`,
    /// `pjsip:trunk/zoe@elsewhere.example`, `pjsip:PJSIP/12125550100@trunk`.
    Uri(String),
    /// An endpoint by its opaque id.
    EndpointId(ID),
    /// An endpoint by technology and resource.
    Resource(EndpointResourceInput),
    /// A number in E.164 form, or digits that a transformation makes one.
    Number(String),
    /// The other side of a chat by its opaque id.
    ChatId(ID),
}

/// A message to send.
#[derive(InputObject)]
pub(crate) struct SendMessageInput {
    /// The sender; may be left out when `to` is a chat, whose endpoint then sends.
    from: Option<MessageParty>,
    /// The recipient.
    to: MessageTarget,
    /// The text, at most 60 KiB. Absent or null sends an empty MESSAGE; "" is refused.
    body: Option<String>,
    /// The media type of the text: any, with parameters, at most 255 bytes. The text goes out in UTF-8, so that a charset can only
    /// be that. A phone that does not take the type refuses the message with 415.
    #[graphql(default = "text/plain")]
    content_type: String,
    /// Header fields that go with it, at most 32 with 4 KiB together: names that are tokens, values that are strings. Those that
    /// every MESSAGE has, or that say who sends, are refused. Source: ARI.
    variables: Option<JSONObject>,
    /// How long delivery is tried, in seconds; what the instance is configured with when absent.
    expires_in_seconds: Option<i32>,
    /// Only says how it would be routed; nothing is stored and no key is used up.
    #[graphql(default)]
    pub(super) dry_run: bool,
    /// Makes the call safe to repeat: with the same key and input it is done once. Kept for 24 hours.
    pub(super) idempotency_key: Option<String>,
}

impl SendMessageInput {
    pub(super) fn to_core(&self) -> NewMessage {
        let from = self.from.as_ref().map(|from| match from {
            MessageParty::Uri(uri) => endpoint_uri("from.uri", uri),
            MessageParty::EndpointId(id) => Ok(EndpointKey::Id(EndpointId::of(id))),
            MessageParty::Resource(resource) => resource.to_key("from.resource"),
            MessageParty::Number(text) => own_number("from.number", text),
        });
        let to = match &self.to {
            MessageTarget::Uri(uri) => calls("to.uri", uri).map(Recipient::Call),
            MessageTarget::EndpointId(id) => Ok(EndpointKey::Id(EndpointId::of(id)).into()),
            MessageTarget::Resource(resource) => {
                resource.to_key("to.resource").map(Recipient::from)
            }
            MessageTarget::Number(text) => {
                dialled("to.number", text).map(|text| Call::Number(text).into())
            }
            MessageTarget::ChatId(id) => Ok(Recipient::Chat(ChatId::of(id))),
        };
        NewMessage {
            from,
            to,
            body: self.body.clone(),
            content_type: self.content_type.clone(),
            variables: self.variables.clone().map(|map| map.0).unwrap_or_default(),
            expires_in_s: self.expires_in_seconds.map(i64::from),
        }
    }
}

/// A message to mark.
#[derive(InputObject)]
pub(crate) struct MarkMessageInput {
    /// Its opaque id.
    pub(super) id: ID,
    /// Read, or unread again.
    #[graphql(default = true)]
    pub(super) read: bool,
    /// Makes the call safe to repeat: with the same key and input it is done once. Kept for 24 hours.
    pub(super) idempotency_key: Option<String>,
}

/// A message to delete.
#[derive(InputObject)]
pub(crate) struct DeleteMessageInput {
    /// Its opaque id.
    pub(super) id: ID,
    /// Makes the call safe to repeat: with the same key and input it is done once. Kept for 24 hours.
    pub(super) idempotency_key: Option<String>,
}

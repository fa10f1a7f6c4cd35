//! What clients see of events.
//!
//! Scalar fields hold the values as they were; object fields show the present state and are null when the object is gone
//! or the token may not see it.

use std::net::SocketAddr;

use async_graphql::{ComplexObject, Enum, ID, Interface, Object, SimpleObject};
use sipgraph_core::{
    ExchangeId, Timestamp,
    access::Scope,
    app::events::{FeedItem, GapReason as CoreGapReason, StateUpdate},
    event::{self, EventBody, Subjects},
    page::Page,
};

use crate::{
    chat::Chat,
    connection::PageInfo,
    endpoint::{Contact, ContactStatus, Endpoint, EndpointState, milliseconds},
    errors::{Nullable, nullable, optional},
    id::NodeId,
    message::{Delivery, Message, MessageStatus},
    registration::RegistrationFailureReason,
    resolve::Whole,
    scalars::{Cursor, DateTime, JSONObject, SipUri, int},
    view::View,
};

/// Which kind of event it is. Expect new values.
#[derive(Clone, Copy, Debug, Enum, PartialEq, Eq)]
pub(crate) enum EventType {
    /// A message came in: `MessageIn`.
    MessageIn,
    /// A message was sent: `MessageOut`.
    MessageOut,
    /// A sent message got its final status: `MessageOutStatus`.
    MessageOutStatus,
    /// A phone sent a MESSAGE: `TextMessageReceived`.
    TextMessageReceived,
    /// An endpoint came online or went offline: `EndpointStateChanged`.
    EndpointStateChanged,
    /// A contact was registered or removed, or found reachable or not: `ContactStatusChanged`.
    ContactStatusChanged,
    /// An endpoint was made: `EndpointCreated`.
    EndpointCreated,
    /// An endpoint was deleted: `EndpointDeleted`.
    EndpointDeleted,
    /// A message was marked: `MessageUpdated`.
    MessageUpdated,
    /// A chat changed: `ChatUpdated`.
    ChatUpdated,
    /// The first phone of an endpoint came, or its last one went: `PeerStatusChanged`.
    PeerStatusChanged,
    /// Fields of an endpoint were changed: `EndpointUpdated`.
    EndpointUpdated,
    /// A phone could not register: `RegistrationFailed`.
    RegistrationFailed,
    /// A message was deleted: `MessageDeleted`.
    MessageDeleted,
    /// A chat was deleted: `ChatDeleted`.
    ChatDeleted,
    /// Nothing matched up to here: Checkpoint. Passes every filter.
    Checkpoint,
    /// History is missing: Gap. Passes every filter.
    Gap,
}

impl From<event::EventType> for EventType {
    fn from(kind: event::EventType) -> Self {
        match kind {
            event::EventType::MessageIn => Self::MessageIn,
            event::EventType::MessageOut => Self::MessageOut,
            event::EventType::MessageOutStatus => Self::MessageOutStatus,
            event::EventType::TextMessageReceived => Self::TextMessageReceived,
            event::EventType::EndpointStateChanged => Self::EndpointStateChanged,
            event::EventType::ContactStatusChanged => Self::ContactStatusChanged,
            event::EventType::EndpointCreated => Self::EndpointCreated,
            event::EventType::EndpointDeleted => Self::EndpointDeleted,
            event::EventType::MessageUpdated => Self::MessageUpdated,
            event::EventType::ChatUpdated => Self::ChatUpdated,
            event::EventType::PeerStatusChanged => Self::PeerStatusChanged,
            event::EventType::EndpointUpdated => Self::EndpointUpdated,
            event::EventType::RegistrationFailed => Self::RegistrationFailed,
            event::EventType::MessageDeleted => Self::MessageDeleted,
            event::EventType::ChatDeleted => Self::ChatDeleted,
        }
    }
}

impl EventType {
    /// Returns the kind of the log; CHECKPOINT and GAP are in no log and always told.
    pub(super) fn in_log(self) -> Option<event::EventType> {
        Some(match self {
            Self::MessageIn => event::EventType::MessageIn,
            Self::MessageOut => event::EventType::MessageOut,
            Self::MessageOutStatus => event::EventType::MessageOutStatus,
            Self::TextMessageReceived => event::EventType::TextMessageReceived,
            Self::EndpointStateChanged => event::EventType::EndpointStateChanged,
            Self::ContactStatusChanged => event::EventType::ContactStatusChanged,
            Self::EndpointCreated => event::EventType::EndpointCreated,
            Self::EndpointDeleted => event::EventType::EndpointDeleted,
            Self::MessageUpdated => event::EventType::MessageUpdated,
            Self::ChatUpdated => event::EventType::ChatUpdated,
            Self::PeerStatusChanged => event::EventType::PeerStatusChanged,
            Self::EndpointUpdated => event::EventType::EndpointUpdated,
            Self::RegistrationFailed => event::EventType::RegistrationFailed,
            Self::MessageDeleted => event::EventType::MessageDeleted,
            Self::ChatDeleted => event::EventType::ChatDeleted,
            Self::Checkpoint | Self::Gap => return None,
        })
    }
}

/// Why history is missing.
#[derive(Clone, Copy, Debug, Enum, PartialEq, Eq)]
#[graphql(remote = "CoreGapReason")]
pub(crate) enum GapReason {
    /// It is older than what is kept.
    Retention,
    /// The database was restored to an earlier state.
    Restored,
}

/// The objects that an event is about, as they are now.
pub(crate) struct Links {
    subjects: Subjects,
    view: View,
}

impl Links {
    /// Not seen is the same as gone here: the event itself was permitted, its objects need scopes of their own.
    async fn endpoint(&self) -> Nullable<Whole<Endpoint>> {
        let id = self
            .subjects
            .endpoint
            .filter(|_| self.view.may(Scope::EndpointsRead))?;
        optional(self.view.endpoint(id).await)
    }

    async fn message(&self) -> Nullable<Whole<Message>> {
        let id = self
            .subjects
            .message
            .filter(|_| self.view.may(Scope::MessagesRead))?;
        optional(self.view.message(id).await)
    }

    async fn chat(&self) -> Nullable<Whole<Chat>> {
        let id = self
            .subjects
            .chat
            .filter(|_| self.view.may(Scope::ChatsRead))?;
        optional(self.view.chat(id).await)
    }

    fn endpoint_id(&self) -> ID {
        self.subjects
            .endpoint
            .map(NodeId::to_id)
            .unwrap_or_default()
    }

    fn message_id(&self) -> ID {
        self.subjects.message.map(NodeId::to_id).unwrap_or_default()
    }

    fn chat_id(&self) -> Option<ID> {
        self.subjects.chat.map(NodeId::to_id)
    }
}

/// Something that happened. Expect new types.
#[derive(Interface)]
#[graphql(
    field(name = "id", ty = "&ID", desc = "Its opaque id; stable."),
    field(
        name = "type",
        ty = "&EventType",
        method = "kind",
        desc = "Which kind of event it is."
    ),
    field(name = "at", ty = "&DateTime", desc = "When it happened.")
)]
pub(crate) enum Event {
    MessageIn(MessageIn),
    MessageOut(MessageOut),
    MessageOutStatus(MessageOutStatus),
    TextMessageReceived(TextMessageReceived),
    EndpointStateChanged(EndpointStateChanged),
    ContactStatusChanged(ContactStatusChanged),
    EndpointCreated(EndpointCreated),
    EndpointUpdated(EndpointUpdated),
    EndpointDeleted(EndpointDeleted),
    MessageUpdated(MessageUpdated),
    ChatUpdated(ChatUpdated),
    PeerStatusChanged(PeerStatusChanged),
    RegistrationFailed(RegistrationFailed),
    MessageDeleted(MessageDeleted),
    ChatDeleted(ChatDeleted),
    Checkpoint(Checkpoint),
    Gap(Gap),
}

/// A phone could not register. The same source, address and reason are told once a minute, and of an account at most 60
/// failures a minute; `registrationFailures` counts them all.
#[derive(SimpleObject)]
pub(crate) struct RegistrationFailed {
    /// Its opaque id; stable.
    id: ID,
    /// Which kind of event it is.
    #[graphql(name = "type")]
    kind: EventType,
    /// When it happened.
    at: DateTime,
    /// The id of the endpoint; null when there is none with that name.
    endpoint_id: Option<ID>,
    /// Who the phone wanted to be: `user@domain`.
    aor: String,
    /// Why it failed.
    reason: RegistrationFailureReason,
    /// Where it came from: an IPv4 address, or an IPv6 network of 64 bits.
    source: String,
}

/// A message came in at an endpoint.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(crate) struct MessageIn {
    /// Its opaque id; stable.
    id: ID,
    /// Which kind of event it is.
    #[graphql(name = "type")]
    kind: EventType,
    /// When it happened.
    at: DateTime,
    /// The id of the receiving endpoint.
    endpoint_id: ID,
    /// The id of the message.
    message_id: ID,
    /// The id of its chat.
    chat_id: Option<ID>,
    /// The receiving endpoint as `user@domain`.
    endpoint_name: String,
    /// The endpoint's own number or address in the chat.
    own_number: String,
    /// The sender's number or address.
    src_number: String,
    /// The text; null once the message was deleted.
    text: Option<String>,
    #[graphql(skip)]
    links: Links,
}

#[ComplexObject]
impl MessageIn {
    /// The message as it is now; null when it is gone or the scope messages.read is missing.
    async fn message(&self) -> Nullable<Whole<Message>> {
        self.links.message().await
    }

    /// The receiving endpoint as it is now; null when it is gone or the scope endpoints.read is missing.
    async fn endpoint(&self) -> Nullable<Whole<Endpoint>> {
        self.links.endpoint().await
    }

    /// The chat as it is now; null when it is gone or the scope chats.read is missing.
    async fn chat(&self) -> Nullable<Whole<Chat>> {
        self.links.chat().await
    }
}

/// An endpoint sent a message.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(crate) struct MessageOut {
    /// Its opaque id; stable.
    id: ID,
    /// Which kind of event it is.
    #[graphql(name = "type")]
    kind: EventType,
    /// When it happened.
    at: DateTime,
    /// The id of the sending endpoint.
    endpoint_id: ID,
    /// The id of the message.
    message_id: ID,
    /// The id of its chat.
    chat_id: Option<ID>,
    /// The sending endpoint as `user@domain`.
    endpoint_name: String,
    /// The sender's number or address.
    src_number: String,
    /// The recipient's number or address.
    dst_number: String,
    /// The text; null once the message was deleted.
    text: Option<String>,
    #[graphql(skip)]
    links: Links,
}

#[ComplexObject]
impl MessageOut {
    /// The message as it is now; null when it is gone or the scope messages.read is missing.
    async fn message(&self) -> Nullable<Whole<Message>> {
        self.links.message().await
    }

    /// The sending endpoint as it is now; null when it is gone or the scope endpoints.read is missing.
    async fn endpoint(&self) -> Nullable<Whole<Endpoint>> {
        self.links.endpoint().await
    }

    /// The chat as it is now; null when it is gone or the scope chats.read is missing.
    async fn chat(&self) -> Nullable<Whole<Chat>> {
        self.links.chat().await
    }
}

/// A sent message got its final status.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(crate) struct MessageOutStatus {
    /// Its opaque id; stable.
    id: ID,
    /// Which kind of event it is.
    #[graphql(name = "type")]
    kind: EventType,
    /// When it happened.
    at: DateTime,
    /// The id of the sending endpoint.
    endpoint_id: ID,
    /// The id of the message.
    message_id: ID,
    /// The id of its chat.
    chat_id: Option<ID>,
    /// The sending endpoint as `user@domain`.
    endpoint_name: String,
    /// The sender's number or address.
    src_number: String,
    /// The recipient's number or address.
    dst_number: String,
    /// The text; null once the message was deleted.
    text: Option<String>,
    /// SENT or FAILED.
    status: MessageStatus,
    #[graphql(skip)]
    links: Links,
}

#[ComplexObject]
impl MessageOutStatus {
    /// The message as it is now; null when it is gone or the scope messages.read is missing.
    async fn message(&self) -> Nullable<Whole<Message>> {
        self.links.message().await
    }
}

/// A phone sent a MESSAGE, also one that no chat keeps.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(crate) struct TextMessageReceived {
    /// Its opaque id; stable.
    id: ID,
    /// Which kind of event it is.
    #[graphql(name = "type")]
    kind: EventType,
    /// When it happened.
    at: DateTime,
    /// The id of the endpoint that it came to; null when it came to none.
    endpoint_id: Option<ID>,
    /// The sender's address, a SIP URI.
    from: String,
    /// The recipient's address, a SIP URI.
    to: String,
    /// The text; null once it was deleted, and for a message that no chat keeps once the time is up that the instance is
    /// configured with.
    body: Option<String>,
    /// Header fields that came with it, strings by their names, at most 32 with 4 KiB together: not those that every MESSAGE has,
    /// nor who sent it, nor credentials. They are passed on to nobody. Empty when there are none, and once the text is null.
    variables: JSONObject,
    #[graphql(skip)]
    exchange: Option<ExchangeId>,
    #[graphql(skip)]
    links: Links,
}

#[ComplexObject]
impl TextMessageReceived {
    /// The trace of its delivery: one entry for each attempt and contact, oldest first; also of a message that no chat keeps.
    /// Which contacts they are is told to tokens for all endpoints with the scope endpoints.read. Null for an old event.
    async fn deliveries(&self) -> Nullable<Vec<Delivery>> {
        let view = &self.links.view;
        let trace = view.trace(self.exchange?).await;
        let contacts = view.caller().endpoints.is_none() && view.may(Scope::EndpointsRead);
        nullable(trace.map(|trace| Delivery::all(trace, contacts)))
    }

    /// The endpoint as it is now; null when it is gone or the scope endpoints.read is missing.
    async fn endpoint(&self) -> Nullable<Whole<Endpoint>> {
        self.links.endpoint().await
    }
}

/// An endpoint came online or went offline.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(crate) struct EndpointStateChanged {
    /// Its opaque id; stable.
    id: ID,
    /// Which kind of event it is.
    #[graphql(name = "type")]
    kind: EventType,
    /// When it happened.
    at: DateTime,
    /// The id of the endpoint.
    endpoint_id: ID,
    /// The state that it came to.
    state: EndpointState,
    #[graphql(skip)]
    links: Links,
}

#[ComplexObject]
impl EndpointStateChanged {
    /// The endpoint as it is now; null when it is gone or the scope endpoints.read is missing.
    async fn endpoint(&self) -> Nullable<Whole<Endpoint>> {
        self.links.endpoint().await
    }
}

/// The first phone of an endpoint came, or its last one went, with the evidence (ARI).
#[derive(SimpleObject)]
#[graphql(complex)]
pub(crate) struct PeerStatusChanged {
    /// Its opaque id; stable.
    id: ID,
    /// Which kind of event it is.
    #[graphql(name = "type")]
    kind: EventType,
    /// When it happened.
    at: DateTime,
    /// The id of the endpoint.
    endpoint_id: ID,
    /// `Reachable` or `Unreachable`, as ARI writes it. Expect new values.
    peer_status: &'static str,
    /// Why it is unreachable: `Unregistered`, `Expired`, `ConnectionClosed`, `Disabled`, `EncryptionRequired` or
    /// `TokenRevoked`; null when it is reachable. Expect new values.
    cause: Option<&'static str>,
    /// The IP address of the phone that came or went, as it is seen here; null when it is not known.
    address: Option<String>,
    /// The port of that phone; null when it is not known.
    port: Option<u16>,
    #[graphql(skip)]
    links: Links,
}

#[ComplexObject]
impl PeerStatusChanged {
    /// The endpoint as it is now; null when it is gone or the scope endpoints.read is missing.
    async fn endpoint(&self) -> Nullable<Whole<Endpoint>> {
        self.links.endpoint().await
    }
}

/// A contact of an endpoint was registered or removed, or found reachable or not.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(crate) struct ContactStatusChanged {
    /// Its opaque id; stable.
    id: ID,
    /// Which kind of event it is.
    #[graphql(name = "type")]
    kind: EventType,
    /// When it happened.
    at: DateTime,
    /// The id of the endpoint.
    endpoint_id: ID,
    /// The Contact URI.
    uri: SipUri,
    /// The status that it came to.
    contact_status: ContactStatus,
    /// How long the phone took to answer the OPTIONS, in milliseconds; null without one.
    round_trip_ms: Option<f64>,
    /// The endpoint's address-of-record, a SIP URI.
    aor: String,
    #[graphql(skip)]
    links: Links,
}

#[ComplexObject]
impl ContactStatusChanged {
    /// The endpoint as it is now; null when it is gone or the scope endpoints.read is missing.
    async fn endpoint(&self) -> Nullable<Whole<Endpoint>> {
        self.links.endpoint().await
    }
}

/// An endpoint was made.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(crate) struct EndpointCreated {
    /// Its opaque id; stable.
    id: ID,
    /// Which kind of event it is.
    #[graphql(name = "type")]
    kind: EventType,
    /// When it happened.
    at: DateTime,
    /// The id of the endpoint.
    endpoint_id: ID,
    #[graphql(skip)]
    links: Links,
}

#[ComplexObject]
impl EndpointCreated {
    /// The endpoint as it is now; null when it is gone or the scope endpoints.read is missing.
    async fn endpoint(&self) -> Nullable<Whole<Endpoint>> {
        self.links.endpoint().await
    }
}

/// Fields of an endpoint were changed.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(crate) struct EndpointUpdated {
    /// Its opaque id; stable.
    id: ID,
    /// Which kind of event it is.
    #[graphql(name = "type")]
    kind: EventType,
    /// When it happened.
    at: DateTime,
    /// The id of the endpoint.
    endpoint_id: ID,
    /// The names of the fields that changed, as `EndpointPatch` has them, in its order; `credentials` and `outSipPassword`
    /// without their values.
    changed_fields: Vec<String>,
    #[graphql(skip)]
    links: Links,
}

#[ComplexObject]
impl EndpointUpdated {
    /// The endpoint as it is now; null when it is gone or the scope endpoints.read is missing.
    async fn endpoint(&self) -> Nullable<Whole<Endpoint>> {
        self.links.endpoint().await
    }
}

/// An endpoint was deleted, with its chats and messages.
#[derive(SimpleObject)]
pub(crate) struct EndpointDeleted {
    /// Its opaque id; stable.
    id: ID,
    /// Which kind of event it is.
    #[graphql(name = "type")]
    kind: EventType,
    /// When it happened.
    at: DateTime,
    /// The id that the endpoint had.
    endpoint_id: ID,
}

/// A message was marked read or unread.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(crate) struct MessageUpdated {
    /// Its opaque id; stable.
    id: ID,
    /// Which kind of event it is.
    #[graphql(name = "type")]
    kind: EventType,
    /// When it happened.
    at: DateTime,
    /// The id of the endpoint that keeps the message.
    endpoint_id: ID,
    /// The id of the message.
    message_id: ID,
    /// The id of its chat.
    chat_id: Option<ID>,
    #[graphql(skip)]
    links: Links,
}

#[ComplexObject]
impl MessageUpdated {
    /// The message as it is now; null when it is gone or the scope messages.read is missing.
    async fn message(&self) -> Nullable<Whole<Message>> {
        self.links.message().await
    }
}

/// A message was deleted. Messages that go with their whole chat are not told of one by one.
#[derive(SimpleObject)]
pub(crate) struct MessageDeleted {
    /// Its opaque id; stable.
    id: ID,
    /// Which kind of event it is.
    #[graphql(name = "type")]
    kind: EventType,
    /// When it happened.
    at: DateTime,
    /// The id of the endpoint that kept the message.
    endpoint_id: ID,
    /// The id that the message had.
    message_id: ID,
    /// The id of its chat.
    chat_id: Option<ID>,
}

/// A chat was deleted, with its messages.
#[derive(SimpleObject)]
pub(crate) struct ChatDeleted {
    /// Its opaque id; stable.
    id: ID,
    /// Which kind of event it is.
    #[graphql(name = "type")]
    kind: EventType,
    /// When it happened.
    at: DateTime,
    /// The id of the endpoint that had the chat.
    endpoint_id: ID,
    /// The id that the chat had.
    chat_id: ID,
}

/// A chat got a message, or its counts changed.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(crate) struct ChatUpdated {
    /// Its opaque id; stable.
    id: ID,
    /// Which kind of event it is.
    #[graphql(name = "type")]
    kind: EventType,
    /// When it happened.
    at: DateTime,
    /// The id of the endpoint that has the chat.
    endpoint_id: ID,
    /// The id of the chat.
    chat_id: ID,
    /// How many of its messages were unread then.
    unread_count: i32,
    /// The id of its newest message then; null when it had none.
    last_message_id: Option<ID>,
    #[graphql(skip)]
    links: Links,
}

#[ComplexObject]
impl ChatUpdated {
    /// The chat as it is now; null when it is gone or the scope chats.read is missing.
    async fn chat(&self) -> Nullable<Whole<Chat>> {
        self.links.chat().await
    }
}

/// Nothing matched up to here; only the cursor of its edge matters. Told at most every 30 s, and last before the server
/// closes.
#[derive(SimpleObject)]
pub(crate) struct Checkpoint {
    /// Its opaque id.
    id: ID,
    /// CHECKPOINT.
    #[graphql(name = "type")]
    kind: EventType,
    /// When it was told.
    at: DateTime,
}

/// History is missing: it was not skipped in silence. Read anew what you keep, then go on with the cursor of its edge.
#[derive(SimpleObject)]
pub(crate) struct Gap {
    /// Its opaque id.
    id: ID,
    /// GAP.
    #[graphql(name = "type")]
    kind: EventType,
    /// When it was noticed.
    at: DateTime,
    /// The cursor that the subscription came with.
    from: Option<Cursor>,
    /// The position from which it goes on.
    to: Cursor,
    /// Why.
    reason: GapReason,
}

/// An event and its position in the log.
#[derive(SimpleObject)]
pub(crate) struct EventEdge {
    /// The position after this event: give it as `after` to go on behind it.
    cursor: Cursor,
    /// The event.
    node: Event,
}

impl EventEdge {
    /// Makes an edge of what a feed told.
    pub(super) fn of_feed(item: FeedItem, cursor: String, view: View) -> Self {
        let node = match item {
            FeedItem::Event(event) => Event::of_log(*event, view),
            // In no log: the position is what tells one from another.
            FeedItem::Checkpoint(at) => Event::Checkpoint(Checkpoint {
                id: ID(format!("checkpoint-{cursor}")),
                kind: EventType::Checkpoint,
                at: DateTime(at),
            }),
            FeedItem::Gap { from, reason, at } => Event::Gap(Gap {
                id: ID(format!("gap-{cursor}")),
                kind: EventType::Gap,
                at: DateTime(at),
                from: Some(Cursor(from)),
                to: Cursor(cursor.clone()),
                reason: reason.into(),
            }),
        };
        Self {
            cursor: Cursor(cursor),
            node,
        }
    }
}

impl Event {
    /// Makes it of a row of the log.
    fn of_log(event: event::Event, view: View) -> Self {
        let kind = event.body.event_type().into();
        let id = event.id.to_id();
        let at = DateTime(event.at);
        let links = Links {
            subjects: event.subjects,
            view,
        };
        let endpoint_id = links.endpoint_id();
        let message_id = links.message_id();
        let chat_id = links.chat_id();
        match event.body {
            EventBody::MessageIn {
                endpoint_name,
                own_number,
                src_number,
                text,
            } => Self::MessageIn(MessageIn {
                id,
                kind,
                at,
                endpoint_id,
                message_id,
                chat_id,
                endpoint_name,
                own_number,
                src_number,
                text,
                links,
            }),
            EventBody::MessageOut {
                endpoint_name,
                src_number,
                dst_number,
                text,
            } => Self::MessageOut(MessageOut {
                id,
                kind,
                at,
                endpoint_id,
                message_id,
                chat_id,
                endpoint_name,
                src_number,
                dst_number,
                text,
                links,
            }),
            EventBody::MessageOutStatus {
                endpoint_name,
                src_number,
                dst_number,
                text,
                status,
            } => Self::MessageOutStatus(MessageOutStatus {
                id,
                kind,
                at,
                endpoint_id,
                message_id,
                chat_id,
                endpoint_name,
                src_number,
                dst_number,
                text,
                status: status.into(),
                links,
            }),
            EventBody::TextMessageReceived {
                from,
                to,
                body,
                variables,
                exchange,
            } => Self::TextMessageReceived(TextMessageReceived {
                id,
                kind,
                at,
                endpoint_id: links.subjects.endpoint.map(NodeId::to_id),
                from,
                to,
                body,
                variables: JSONObject::of_variables(&variables),
                exchange,
                links,
            }),
            EventBody::EndpointStateChanged { state } => {
                Self::EndpointStateChanged(EndpointStateChanged {
                    id,
                    kind,
                    at,
                    endpoint_id,
                    state: state.into(),
                    links,
                })
            }
            EventBody::ContactStatusChanged {
                uri,
                aor,
                status,
                round_trip,
            } => Self::ContactStatusChanged(ContactStatusChanged {
                id,
                kind,
                at,
                endpoint_id,
                uri: SipUri(uri),
                contact_status: status.into(),
                round_trip_ms: round_trip.map(milliseconds),
                aor,
                links,
            }),
            EventBody::PeerStatusChanged {
                status,
                cause,
                remote,
            } => {
                let remote = remote.parse::<SocketAddr>().ok();
                Self::PeerStatusChanged(PeerStatusChanged {
                    id,
                    kind,
                    at,
                    endpoint_id,
                    peer_status: match status {
                        event::PeerStatus::Reachable => "Reachable",
                        event::PeerStatus::Unreachable => "Unreachable",
                    },
                    cause: cause.map(|cause| match cause {
                        event::BindingEnd::Unregistered => "Unregistered",
                        event::BindingEnd::Expired => "Expired",
                        event::BindingEnd::ConnectionClosed => "ConnectionClosed",
                        event::BindingEnd::Disabled => "Disabled",
                        event::BindingEnd::EncryptionRequired => "EncryptionRequired",
                        event::BindingEnd::TokenRevoked => "TokenRevoked",
                    }),
                    address: remote.map(|remote| remote.ip().to_string()),
                    port: remote.map(|remote| remote.port()),
                    links,
                })
            }
            EventBody::EndpointCreated => Self::EndpointCreated(EndpointCreated {
                id,
                kind,
                at,
                endpoint_id,
                links,
            }),
            EventBody::EndpointUpdated { changed_fields } => {
                Self::EndpointUpdated(EndpointUpdated {
                    id,
                    kind,
                    at,
                    endpoint_id,
                    changed_fields,
                    links,
                })
            }
            EventBody::EndpointDeleted => Self::EndpointDeleted(EndpointDeleted {
                id,
                kind,
                at,
                endpoint_id,
            }),
            EventBody::MessageDeleted => Self::MessageDeleted(MessageDeleted {
                id,
                kind,
                at,
                endpoint_id,
                message_id,
                chat_id,
            }),
            EventBody::ChatDeleted => Self::ChatDeleted(ChatDeleted {
                id,
                kind,
                at,
                endpoint_id,
                chat_id: chat_id.unwrap_or_default(),
            }),
            EventBody::MessageUpdated => Self::MessageUpdated(MessageUpdated {
                id,
                kind,
                at,
                endpoint_id,
                message_id,
                chat_id,
                links,
            }),
            EventBody::ChatUpdated {
                unread_count,
                last_message,
            } => Self::ChatUpdated(ChatUpdated {
                id,
                kind,
                at,
                endpoint_id,
                chat_id: chat_id.unwrap_or_default(),
                unread_count: int(unread_count),
                last_message_id: last_message.map(NodeId::to_id),
                links,
            }),
            EventBody::RegistrationFailed {
                aor,
                source,
                reason,
            } => Self::RegistrationFailed(RegistrationFailed {
                id,
                kind,
                at,
                endpoint_id: links.subjects.endpoint.map(NodeId::to_id),
                aor,
                reason: reason.into(),
                source,
            }),
        }
    }
}

/// A page of the log.
pub(crate) struct EventConnection {
    edges: Vec<EventEdge>,
    page_info: PageInfo,
}

impl EventConnection {
    pub(super) fn new(page: Page<(String, event::Event)>, view: &View) -> Self {
        Self {
            page_info: PageInfo::of(&page, String::clone),
            edges: page
                .items
                .into_iter()
                .map(|(cursor, event)| EventEdge {
                    cursor: Cursor(cursor),
                    node: Event::of_log(event, view.clone()),
                })
                .collect(),
        }
    }
}

/// A page of the event log, oldest first.
#[Object]
impl EventConnection {
    /// The events of the page with their positions, oldest first.
    async fn edges(&self) -> &[EventEdge] {
        &self.edges
    }

    /// The events of the page, oldest first.
    async fn nodes(&self) -> Vec<&Event> {
        self.edges.iter().map(|edge| &edge.node).collect()
    }

    /// Where the page lies in the log.
    async fn page_info(&self) -> &PageInfo {
        &self.page_info
    }
}

/// What an update tells of an endpoint.
#[derive(Clone, Copy, Debug, Enum, PartialEq, Eq)]
pub(crate) enum EndpointStateKind {
    /// An endpoint as it was when the subscription began.
    Initial,
    /// All of those were told.
    InitialDone,
    /// An endpoint changed, or came to match the filter.
    Changed,
    /// An endpoint was deleted, or no longer matches the filter.
    Removed,
}

/// The presence of an endpoint, as it was at the beginning or as it changed.
#[derive(SimpleObject)]
pub(crate) struct EndpointStateUpdate {
    /// What it tells.
    kind: EndpointStateKind,
    /// The id of the endpoint; null with `INITIAL_DONE`.
    endpoint_id: Option<ID>,
    /// Whether it can be reached; null with `INITIAL_DONE` and REMOVED.
    state: Option<EndpointState>,
    /// The endpoint; null with `INITIAL_DONE` and REMOVED.
    endpoint: Option<Endpoint>,
    /// Where it is registered, oldest first.
    contacts: Vec<Contact>,
    /// When it happened.
    at: DateTime,
}

impl EndpointStateUpdate {
    pub(super) fn new(update: StateUpdate, at: Timestamp, view: View) -> Self {
        let (kind, id, endpoint, contacts) = match update {
            StateUpdate::Initial(row, contacts) => (
                EndpointStateKind::Initial,
                Some(row.id),
                Some(row),
                contacts,
            ),
            StateUpdate::Changed(row, contacts) => (
                EndpointStateKind::Changed,
                Some(row.id),
                Some(row),
                contacts,
            ),
            StateUpdate::InitialDone => (EndpointStateKind::InitialDone, None, None, Vec::new()),
            StateUpdate::Removed(id) => (EndpointStateKind::Removed, Some(id), None, Vec::new()),
        };
        Self {
            kind,
            endpoint_id: id.map(NodeId::to_id),
            state: endpoint.as_ref().map(|row| row.state.into()),
            endpoint: endpoint.map(|row| Endpoint::new(*row, view)),
            contacts: contacts.into_iter().map(Contact::from).collect(),
            at: DateTime(at),
        }
    }
}

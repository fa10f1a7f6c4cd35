//! Events: what happened, in the order of commits, with the values as they were.

use crate::access::Scope;
use crate::endpoint::{Endpoint, EndpointState};
use crate::message::{MessageStatus, Variables};
use crate::registration_failure::FailureReason;
use crate::{AccountId, ChatId, DomainId, EndpointId, EventId, ExchangeId, MessageId, Timestamp};
use std::time::Duration;

/// Whether a contact can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContactStatus {
    /// Bound; reachability is not probed.
    NonQualified,
    /// The binding is gone.
    Removed,
    /// The device answered the last OPTIONS.
    Reachable,
    /// The device did not answer the last OPTIONS.
    Unreachable,
}

/// Whether the devices of an endpoint are there, in ARI's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PeerStatus {
    /// A first device is bound.
    Reachable,
    /// The last device is gone.
    Unreachable,
}

/// Why a binding ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BindingEnd {
    /// The device removed it.
    Unregistered,
    /// Its time was over.
    Expired,
    /// Its connection closed.
    ConnectionClosed,
    /// Its endpoint was disabled.
    Disabled,
    /// Its endpoint came to demand an encrypted transport.
    EncryptionRequired,
    /// The endpoint token that it was made with was revoked.
    TokenRevoked,
}

/// Which kind of event it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventType {
    /// A message came in.
    MessageIn,
    /// A message was sent.
    MessageOut,
    /// A sent message got its final status.
    MessageOutStatus,
    /// A device sent a MESSAGE (ARI).
    TextMessageReceived,
    /// An endpoint came online or went offline.
    EndpointStateChanged,
    /// A contact was bound or removed.
    ContactStatusChanged,
    /// An endpoint was created.
    EndpointCreated,
    /// An endpoint was deleted.
    EndpointDeleted,
    /// A message was marked.
    MessageUpdated,
    /// A chat got a message, or its counts changed.
    ChatUpdated,
    /// The first device of an endpoint came, or its last one went (ARI).
    PeerStatusChanged,
    /// Fields of an endpoint were changed.
    EndpointUpdated,
    /// A device could not register.
    RegistrationFailed,
    /// A message was deleted.
    MessageDeleted,
    /// A chat was deleted, with its messages.
    ChatDeleted,
}

impl EventType {
    /// Every kind.
    pub const ALL: &'static [EventType] = &[
        EventType::MessageIn,
        EventType::MessageOut,
        EventType::MessageOutStatus,
        EventType::TextMessageReceived,
        EventType::EndpointStateChanged,
        EventType::ContactStatusChanged,
        EventType::EndpointCreated,
        EventType::EndpointDeleted,
        EventType::MessageUpdated,
        EventType::ChatUpdated,
        EventType::PeerStatusChanged,
        EventType::EndpointUpdated,
        EventType::RegistrationFailed,
        EventType::MessageDeleted,
        EventType::ChatDeleted,
    ];

    /// Returns the scope that reading such an event needs.
    #[must_use]
    pub fn scope(self) -> Scope {
        match self {
            EventType::MessageIn
            | EventType::MessageOut
            | EventType::MessageOutStatus
            | EventType::TextMessageReceived
            | EventType::MessageUpdated
            | EventType::MessageDeleted => Scope::MessagesRead,
            EventType::EndpointStateChanged
            | EventType::ContactStatusChanged
            | EventType::PeerStatusChanged
            | EventType::EndpointCreated
            | EventType::EndpointDeleted
            | EventType::EndpointUpdated => Scope::EndpointsRead,
            EventType::ChatUpdated | EventType::ChatDeleted => Scope::ChatsRead,
            EventType::RegistrationFailed => Scope::RegistrationsRead,
        }
    }
}

/// The values of an event as they were; its subjects' ids are beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventBody {
    /// A message came in. `text` is `None` once the message was deleted.
    MessageIn {
        /// The receiving endpoint as `user@domain`.
        endpoint_name: String,
        /// The endpoint's own number or address in the chat.
        own_number: String,
        /// The sender's number or address.
        src_number: String,
        /// The text.
        text: Option<String>,
    },
    /// A message was sent.
    MessageOut {
        /// The sending endpoint as `user@domain`.
        endpoint_name: String,
        /// The sender's number or address.
        src_number: String,
        /// The recipient's number or address.
        dst_number: String,
        /// The text; `None` once the message was deleted.
        text: Option<String>,
    },
    /// A sent message got its final status.
    MessageOutStatus {
        /// The sending endpoint as `user@domain`.
        endpoint_name: String,
        /// The sender's number or address.
        src_number: String,
        /// The recipient's number or address.
        dst_number: String,
        /// The text; `None` once the message was deleted.
        text: Option<String>,
        /// `Sent` or `Failed`.
        status: MessageStatus,
    },
    /// A device sent a MESSAGE.
    TextMessageReceived {
        /// The From URI.
        from: String,
        /// The To URI.
        to: String,
        /// The text; `None` once it was deleted.
        body: Option<String>,
        /// Its header fields; empty once the text was deleted.
        variables: Variables,
        /// The message on its way, whose trace can be read also when no chat keeps it.
        exchange: Option<ExchangeId>,
    },
    /// An endpoint came online or went offline.
    EndpointStateChanged {
        /// The new state.
        state: EndpointState,
    },
    /// The first device of an endpoint came, or its last one went.
    PeerStatusChanged {
        /// The new status.
        status: PeerStatus,
        /// Why it is unreachable.
        cause: Option<BindingEnd>,
        /// The device's address as it is seen here, `192.0.2.1:5060` or `[2001:db8::1]:5060`.
        remote: String,
    },
    /// A contact was bound, removed, or found reachable or not.
    ContactStatusChanged {
        /// The Contact URI.
        uri: String,
        /// The address-of-record as a SIP URI.
        aor: String,
        /// The new status.
        status: ContactStatus,
        /// How long the device took to answer the OPTIONS.
        round_trip: Option<Duration>,
    },
    /// An endpoint was created.
    EndpointCreated,
    /// An endpoint was deleted.
    EndpointDeleted,
    /// A message was marked read or unread.
    MessageUpdated,
    /// A message was deleted.
    MessageDeleted,
    /// A chat was deleted, with its messages.
    ChatDeleted,
    /// A chat changed.
    ChatUpdated {
        /// Its unread messages afterwards.
        unread_count: i64,
        /// Its newest message afterwards.
        last_message: Option<MessageId>,
    },
    /// Fields of an endpoint were changed.
    EndpointUpdated {
        /// The names of the fields in the API.
        changed_fields: Vec<String>,
    },
    /// A device could not register.
    RegistrationFailed {
        /// Who it wanted to be: `user@domain`.
        aor: String,
        /// Where it came from, as [`crate::defence::Source`] is displayed.
        source: String,
        /// Why.
        reason: FailureReason,
    },
}

impl EventBody {
    /// Returns the kind of event that has these values.
    #[must_use]
    pub fn event_type(&self) -> EventType {
        match self {
            EventBody::MessageIn { .. } => EventType::MessageIn,
            EventBody::MessageOut { .. } => EventType::MessageOut,
            EventBody::MessageOutStatus { .. } => EventType::MessageOutStatus,
            EventBody::TextMessageReceived { .. } => EventType::TextMessageReceived,
            EventBody::EndpointStateChanged { .. } => EventType::EndpointStateChanged,
            EventBody::ContactStatusChanged { .. } => EventType::ContactStatusChanged,
            EventBody::PeerStatusChanged { .. } => EventType::PeerStatusChanged,
            EventBody::EndpointCreated => EventType::EndpointCreated,
            EventBody::EndpointDeleted => EventType::EndpointDeleted,
            EventBody::MessageUpdated => EventType::MessageUpdated,
            EventBody::MessageDeleted => EventType::MessageDeleted,
            EventBody::ChatDeleted => EventType::ChatDeleted,
            EventBody::ChatUpdated { .. } => EventType::ChatUpdated,
            EventBody::EndpointUpdated { .. } => EventType::EndpointUpdated,
            EventBody::RegistrationFailed { .. } => EventType::RegistrationFailed,
        }
    }
}

/// What an event is about; each list filter names one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Subjects {
    /// The endpoint.
    pub endpoint: Option<EndpointId>,
    /// The endpoint's domain.
    pub domain: Option<DomainId>,
    /// The chat.
    pub chat: Option<ChatId>,
    /// The message.
    pub message: Option<MessageId>,
}

impl Subjects {
    /// Returns what an event about an endpoint is about.
    #[must_use]
    pub fn of(endpoint: &Endpoint) -> Self {
        Self {
            endpoint: Some(endpoint.id),
            domain: Some(endpoint.domain),
            ..Self::default()
        }
    }
}

/// An event of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// The owner.
    pub account: AccountId,
    /// Its number in the account's log: 1, 2, 3 … without a hole.
    pub seq: i64,
    /// Random bits that tell this row from another with its number after a restore.
    pub check: u32,
    /// When it was decided.
    pub at: Timestamp,
    /// What it is about.
    pub subjects: Subjects,
    /// Its values.
    pub body: EventBody,
}

//! Delivery: a message on its way to an endpoint's contacts, and the trace of each attempt.

use crate::binding::Transport;
use crate::message::Variables;
use crate::{
    AccountId, AddressId, BindingId, DeliveryId, EndpointId, ExchangeId, MessageId, Timestamp,
};

/// How a message on its way leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// To the contacts of its recipient.
    Contacts,
    /// Through its recipient, a trunk, to a number, as the trunk wants it written.
    Number(String),
    /// Through its recipient, a trunk, to a SIP URI.
    Uri(String),
}

/// A message that waits for, or is on, its way to one endpoint. Deleted when nothing is left to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispatch {
    /// Its id, common to both copies of the message.
    pub id: ExchangeId,
    /// The owner.
    pub account: AccountId,
    /// The endpoint that sent it.
    pub sender: EndpointId,
    /// The endpoint whose contacts get it, or the trunk that it goes out by.
    pub recipient: EndpointId,
    /// How it leaves.
    pub way: Way,
    /// The sender's copy; `None` when the domain keeps no internal messages.
    pub out_message: Option<MessageId>,
    /// The From URI.
    pub from: String,
    /// The display name of From: the sender's caller id.
    pub from_name: Option<String>,
    /// The To URI.
    pub to: String,
    /// The body.
    pub body: String,
    /// The media type of the body.
    pub content_type: String,
    /// What goes with it as header fields.
    pub variables: Variables,
    /// Whether a contact has taken it; later contacts then do not get it.
    pub taken: bool,
    /// How many rounds of attempts ended without a contact taking it.
    pub rounds: i32,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// Until when delivery is tried.
    pub expires_at: Timestamp,
    /// When it is next due.
    pub due_at: Timestamp,
    /// Rises with each claim; a result with an old number is dropped.
    pub lease: i64,
}

/// Where an attempt goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryTarget {
    /// A contact of the recipient, over its flow; the binding may be gone meanwhile.
    Contact(BindingId),
    /// An address of the trunk that is the recipient; it may be gone meanwhile.
    Address(AddressId),
}

/// How one attempt ended, or that it has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryOutcome {
    /// Not yet known.
    Pending,
    /// The contact answered 2xx (or 482 to a repeated attempt).
    Delivered,
    /// A temporary status; it is tried again.
    Retrying,
    /// The contact refused for good.
    Refused,
    /// No final answer came in time; it is tried again.
    Timeout,
    /// The flow was gone or failed; it is tried again.
    TransportError,
}

impl DeliveryOutcome {
    /// Returns whether nothing more is sent to this contact for this message.
    #[must_use]
    pub fn is_final(self) -> bool {
        match self {
            DeliveryOutcome::Delivered | DeliveryOutcome::Refused => true,
            DeliveryOutcome::Pending
            | DeliveryOutcome::Retrying
            | DeliveryOutcome::Timeout
            | DeliveryOutcome::TransportError => false,
        }
    }
}

/// One attempt to deliver one message to one target. Stored before the first byte leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its id.
    pub id: DeliveryId,
    /// The owner.
    pub account: AccountId,
    /// The message on its way.
    pub exchange: ExchangeId,
    /// Where it goes.
    pub target: DeliveryTarget,
    /// The contact's URI, or that of the trunk's address.
    pub contact_uri: String,
    /// The transport to it.
    pub transport: Transport,
    /// Call-ID of the MESSAGE; the same for each attempt to this target.
    pub call_id: String,
    /// From tag of the MESSAGE; the same for each attempt to this target.
    pub from_tag: String,
    /// CSeq number of the MESSAGE; the same for each attempt to this target.
    pub cseq: u32,
    /// Via branch of the MESSAGE; new for each later attempt, repeated after an unknown outcome.
    pub branch: String,
    /// Counts the attempts to this target, from 1.
    pub attempt: i32,
    /// When it was stored.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// The final SIP status.
    pub sip_status: Option<u16>,
    /// The reason phrase, or what failed.
    pub reason: Option<String>,
    /// How it ended.
    pub outcome: DeliveryOutcome,
}

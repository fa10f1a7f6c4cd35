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

    /// Returns whether the attempt failed for now: later messages to the same target wait until this one has gone.
    #[must_use]
    pub fn is_temporary_failure(self) -> bool {
        match self {
            DeliveryOutcome::Retrying
            | DeliveryOutcome::Timeout
            | DeliveryOutcome::TransportError => true,
            DeliveryOutcome::Pending | DeliveryOutcome::Delivered | DeliveryOutcome::Refused => {
                false
            }
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
    /// The endpoint whose device gets it.
    pub recipient: EndpointId,
    /// The sender's copy; `None` when the domain keeps no internal messages.
    pub message: Option<MessageId>,
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
    /// When the target is tried again at the earliest; `None` unless the attempt failed for now, when its device has come
    /// back since, and for the address of a trunk that did not ask for it.
    pub retry_at: Option<Timestamp>,
}

/// The trace of a message: each attempt, oldest first, and when the next one is due.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trace {
    /// The attempts.
    pub deliveries: Vec<Delivery>,
    /// When it is tried again at the latest; `None` when nothing is left to do, or nothing can be done until a device comes.
    pub next_attempt_at: Option<Timestamp>,
}

/// Returns the Call-ID of a message to one of its targets. It begins with the message's id, so that a report which names it
/// (RFC 5438) is found without an index.
#[must_use]
pub fn call_id(exchange: ExchangeId, random: [u8; 8]) -> String {
    format!(
        "{}{}",
        crate::digest::hex(&exchange.0),
        crate::digest::hex(&random)
    )
}

/// Returns the message that a Call-ID of ours names.
#[must_use]
pub fn exchange_of_call(call_id: &str) -> Option<ExchangeId> {
    let (exchange, random) = call_id.split_at_checked(32)?;
    let is_ours = random.len() == 16 && random.bytes().all(|b| b.is_ascii_hexdigit());
    uuid::Uuid::try_parse(exchange)
        .ok()
        .filter(|_| is_ours)
        .map(|id| ExchangeId(id.into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_id_names_its_message() {
        let exchange = ExchangeId::new(Timestamp(1_767_225_600_000_000), [7; 10]);
        let call_id = call_id(exchange, [9; 8]);
        assert_eq!(exchange_of_call(&call_id), Some(exchange));
        for foreign in [
            "",
            "x@y",
            &call_id[1..],
            &format!("{call_id}0"),
            &"é".repeat(24),
        ] {
            assert_eq!(exchange_of_call(foreign), None, "{foreign}");
        }
    }
}

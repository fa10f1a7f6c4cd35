//! Messages as an endpoint keeps them.

use crate::access::Caller;
use crate::{AccountId, ChatId, EndpointId, ExchangeId, MessageId, Timestamp};
use std::collections::BTreeMap;

/// What goes with a message as header fields of its MESSAGE: names and texts, checked by
/// [`crate::decide::variables::variables`].
pub type Variables = BTreeMap<String, String>;

/// The most bytes of a message's text: what a stream transport accepts (64 KiB), less room for the head.
pub const BODY_BYTES_MAX: usize = 60 * 1024;

/// Whether the endpoint sent or received it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageDirection {
    /// Received by the endpoint.
    In,
    /// Sent by the endpoint.
    Out,
}

/// Where a message came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageOrigin {
    /// The API.
    Api,
    /// A device, by SIP.
    Sip,
    /// A trunk, by SIP.
    Trunk,
}

/// Where a message is on its way. OUT: `Accepted`, then once `Sent` or `Failed`. IN: `Received`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageStatus {
    /// Stored, on its way.
    Accepted,
    /// A device of the recipient took it (first 2xx).
    Sent,
    /// It will not arrive; see the failure.
    Failed,
    /// It came in.
    Received,
}

/// Why a message failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureCode {
    /// Its time was up before a device took it.
    Expired,
    /// Every contact refused it for good.
    Refused,
    /// The recipient was disabled.
    EndpointDisabled,
    /// The recipient was deleted.
    EndpointDeleted,
    /// The trunk did not accept our digest.
    AuthFailed,
    /// The trunk has no address left to send to.
    NoRoute,
    /// No device of the recipient was registered, and messages do not wait for one here.
    NoContact,
    /// It is too long for every contact: over UDP a request has at most 1300 octets.
    TooLarge,
    /// No contact could be reached, and messages are not tried again here.
    Unreachable,
}

/// Why and how a message failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The reason.
    pub code: FailureCode,
    /// The last SIP status that a contact gave, if one did.
    pub sip_status: Option<u16>,
    /// The reason phrase or the fault that came with it.
    pub reason: Option<String>,
}

impl Failure {
    /// Returns whether the same message may arrive when it is sent again later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self.code {
            FailureCode::Expired | FailureCode::NoContact | FailureCode::Unreachable => true,
            FailureCode::Refused
            | FailureCode::EndpointDisabled
            | FailureCode::EndpointDeleted
            | FailureCode::AuthFailed
            | FailureCode::NoRoute
            | FailureCode::TooLarge => false,
        }
    }

    /// Returns what a person can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self.code {
            FailureCode::Expired if self.sip_status.is_some() => {
                "The recipient's device answered, but did not take it in time. See what it answered, and send it again."
            }
            FailureCode::Expired => {
                "No device of the recipient took it in time. Check that one is registered, and send it again."
            }
            FailureCode::Refused => {
                "Each device of the recipient refused it for good. See the status that it answered."
            }
            FailureCode::EndpointDisabled => "Enable the recipient's endpoint, and send it again.",
            FailureCode::EndpointDeleted => {
                "The recipient's endpoint is gone; nothing can be sent to it."
            }
            FailureCode::NoContact => {
                "No device of the recipient was registered. Send it again when the endpoint is online, or let messages wait \
                 (messages.store_and_forward)."
            }
            FailureCode::TooLarge => {
                "The recipient's devices are registered over UDP, which takes 1300 octets. Register one over TCP, TLS or \
                 WebSocket, or send a shorter text."
            }
            FailureCode::AuthFailed => {
                "The trunk did not accept the user and password of its address, or the trunk's own. Correct them."
            }
            FailureCode::NoRoute => {
                "The trunk has no address to send to: none for outbound, or none that may be called. See docs/trunks.md."
            }
            FailureCode::Unreachable => {
                "No device of the recipient could be reached. Check its network, and send it again."
            }
        }
    }

    /// Returns the section of the RFC that has the rule, where there is one.
    #[must_use]
    pub fn rfc(&self) -> Option<&'static str> {
        match self.code {
            FailureCode::Expired => Some("RFC 3428 section 9"),
            FailureCode::TooLarge => Some("RFC 3428 section 8"),
            FailureCode::Refused => Some("RFC 3261 section 21"),
            FailureCode::AuthFailed => Some("RFC 3261 section 22"),
            FailureCode::Unreachable => Some("RFC 3261 section 17.1.2.2"),
            FailureCode::EndpointDisabled
            | FailureCode::EndpointDeleted
            | FailureCode::NoRoute
            | FailureCode::NoContact => None,
        }
    }
}

/// What a device reports of a message that it got (RFC 5438).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The message as the device knows it: the Call-ID that it came with.
    pub message_id: String,
    /// What became of it.
    pub disposition: Disposition,
}

/// What became of a message at a device (RFC 5438 section 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Disposition {
    /// It arrived.
    Delivered,
    /// A person saw it.
    Displayed,
}

/// A message in the store of one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// The owner.
    pub account: AccountId,
    /// Common to the sender's and the recipient's copy.
    pub exchange: ExchangeId,
    /// The endpoint that keeps this copy.
    pub endpoint: EndpointId,
    /// The chat that it is in.
    pub chat: ChatId,
    /// Its place in the chat: rises, with gaps after deletions.
    pub seq: i64,
    /// The number of its first event in the account's log; orders lists across chats.
    pub log_seq: i64,
    /// Sent or received.
    pub direction: MessageDirection,
    /// API or SIP.
    pub origin: MessageOrigin,
    /// The sender's SIP URI.
    pub from: String,
    /// The recipient's SIP URI.
    pub to: String,
    /// The E.164 number that it comes from, if it comes from one.
    pub from_number: Option<String>,
    /// The E.164 number that was called, if one was.
    pub to_number: Option<String>,
    /// The text; empty for an empty MESSAGE.
    pub body: String,
    /// The media type of the body.
    pub content_type: String,
    /// What goes with it as header fields, or went with it when it came in by SIP.
    pub variables: Variables,
    /// Where it is on its way.
    pub status: MessageStatus,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// Whether it was marked read; always true for OUT.
    pub read: bool,
    /// When it was stored.
    pub created_at: Timestamp,
    /// When its status last changed.
    pub status_at: Timestamp,
    /// Until when delivery is tried; `None` for IN.
    pub expires_at: Option<Timestamp>,
    /// When the recipient's device first reported that it arrived; only OUT.
    pub delivered_at: Option<Timestamp>,
    /// When the recipient's device first reported that it was seen; only OUT.
    pub displayed_at: Option<Timestamp>,
    /// What names the call that sent it, if that has a name; only OUT.
    pub call_key: Option<CallKey>,
}

impl Message {
    /// Returns the idempotency key that it was sent with; only the token that gave it learns it.
    #[must_use]
    pub fn idempotency_key(&self, caller: &Caller) -> Option<&str> {
        let given = self.call_key.as_ref();
        let own = given.filter(|given| given.actor == caller.token.0);
        own.map(|given| given.key.as_str())
    }

    /// Returns the Call-ID that a device of its endpoint sent it with, if one did.
    #[must_use]
    pub fn device_call_id(&self) -> Option<&str> {
        let given = self.call_key.as_ref();
        let device = given.filter(|given| given.actor == self.endpoint.0);
        device.map(|given| given.key.as_str())
    }
}

/// What names a call that sent a message among those of its actor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallKey {
    /// The id of the token that it was made with, or of the endpoint whose device sent a MESSAGE.
    pub actor: [u8; 16],
    /// The token's idempotency key, or the device's Call-ID.
    pub key: String,
}

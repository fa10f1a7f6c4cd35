//! Messages as an endpoint keeps them.

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
    /// What goes with it as header fields.
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
}

//! A technology carries messages to contacts: SIP, or a simulation.

use super::PortFuture;
use crate::binding::Binding;

/// One MESSAGE to one contact. All that identifies it is fixed, so that a repeated attempt is recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The contact and its flow; nothing is ever sent elsewhere.
    pub binding: Binding,
    /// The From URI.
    pub from: String,
    /// The To URI.
    pub to: String,
    /// The body.
    pub body: String,
    /// The media type of the body.
    pub content_type: String,
    /// Call-ID.
    pub call_id: String,
    /// From tag.
    pub from_tag: String,
    /// CSeq number.
    pub cseq: u32,
    /// Via branch, with the magic cookie of RFC 3261 section 8.1.1.7.
    pub branch: String,
    /// Seconds until the message's time is up, for the Expires header.
    pub expires_s: u32,
}

/// How the attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptResult {
    /// A final answer came.
    Answered {
        /// The SIP status, 200 to 699.
        status: u16,
        /// The reason phrase.
        reason: String,
        /// Retry-After in seconds, if given.
        retry_after_s: Option<u32>,
    },
    /// No final answer came (timer F).
    Timeout,
    /// The flow is gone or failed, or its queue is full.
    TransportError(String),
}

/// Carries messages of one technology.
pub trait Technology: Send + Sync {
    /// Queues a MESSAGE for its contact and returns its final answer. The place in the queue is taken by the call
    /// itself, not by the first poll; one MESSAGE at a time is outstanding at each contact. An answer comes within 64
    /// seconds, the wait in the queue included: what can't be sent by then is a [`AttemptResult::TransportError`]. An
    /// unreachable contact never delays another.
    fn deliver(&self, attempt: Attempt) -> PortFuture<'static, AttemptResult>;
}

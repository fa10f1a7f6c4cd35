//! What clients see of messages.

use std::sync::Arc;

use async_graphql::{Context, Enum, ID, Lookahead, Object, SimpleObject};
use sipgraph_core::{
    Fault, ProblemCode,
    access::Scope,
    app::{Outcome, messages},
    delivery, message,
};

use crate::{
    chat::Chat,
    connection::connection,
    endpoint::{Endpoint, Transport},
    errors::{Nullable, UserError, nullable, optional},
    id::NodeId,
    resolve::{Plain, Row, Whole, leaves, plain},
    scalars::{DateTime, JSONObject, SipUri, int},
    view::View,
};

/// Whether the endpoint sent or received it.
#[derive(Clone, Copy, Debug, Enum, PartialEq, Eq)]
#[graphql(remote = "message::MessageDirection")]
pub(crate) enum MessageDirection {
    /// Received by the endpoint.
    In,
    /// Sent by the endpoint.
    Out,
}

/// Where a message came from. Expect new values.
#[derive(Clone, Copy, Debug, Enum, PartialEq, Eq)]
#[graphql(remote = "message::MessageOrigin")]
pub(crate) enum MessageOrigin {
    /// This API.
    Api,
    /// A phone, by SIP.
    Sip,
    /// A trunk, by SIP.
    Trunk,
}

/// Where a message is on its way. One that was sent is ACCEPTED, then once SENT or FAILED; one that came in is RECEIVED.
#[derive(Clone, Copy, Debug, Enum, PartialEq, Eq)]
#[graphql(remote = "message::MessageStatus")]
pub(crate) enum MessageStatus {
    /// Stored, on its way.
    Accepted,
    /// A phone of the recipient took it.
    Sent,
    /// It will not arrive; `failure` says why.
    Failed,
    /// It came in.
    Received,
}

/// Why a message failed. Expect new values.
#[derive(Clone, Copy, Debug, Enum, PartialEq, Eq)]
#[graphql(remote = "message::FailureCode")]
pub(crate) enum DeliveryFailureCode {
    /// Its time was up before a phone took it.
    Expired,
    /// Every contact refused it for good.
    Refused,
    /// The recipient was disabled.
    EndpointDisabled,
    /// The recipient was deleted.
    EndpointDeleted,
    /// The trunk that it went out by did not accept the password.
    AuthFailed,
    /// The trunk that it was to go out by has no address to send to.
    NoRoute,
    /// No phone of the recipient was registered, and messages do not wait for one on this instance.
    NoContact,
    /// It is too long for the recipient's phones: over UDP a request has at most 1300 octets (RFC 3428 section 8).
    TooLarge,
    /// No phone of the recipient could be reached, and messages are not tried again on this instance.
    Unreachable,
}

/// How an attempt to deliver ended, or that it has not.
#[derive(Clone, Copy, Debug, Enum, PartialEq, Eq)]
#[graphql(remote = "delivery::DeliveryOutcome")]
pub(crate) enum DeliveryOutcome {
    /// Not yet known.
    Pending,
    /// The contact took it (2xx).
    Delivered,
    /// The contact refused it for now; it is tried again.
    Retrying,
    /// The contact refused it for good.
    Refused,
    /// No final answer came in time; it is tried again.
    Timeout,
    /// The way to the contact was gone or failed; it is tried again.
    TransportError,
}

leaves!(MessageDirection, MessageOrigin, MessageStatus);

/// A message.
pub(crate) struct Message {
    row: Arc<message::Message>,
    view: View,
}

impl Message {
    pub(crate) fn new(row: impl Into<Arc<message::Message>>, view: View) -> Self {
        let row = row.into();
        Self { row, view }
    }

    /// Returns whether the caller may see the contacts that the message went to: they are the recipient's. The sender's
    /// copy does not say which endpoint that is.
    fn may_see_contacts(&self) -> bool {
        let caller = self.view.caller();
        let recipient = match self.row.direction {
            message::MessageDirection::In => caller.sees(self.row.endpoint),
            message::MessageDirection::Out => caller.endpoints.is_none(),
        };
        recipient && self.view.may(Scope::EndpointsRead)
    }
}

/// A message as one endpoint keeps it. A message between two endpoints is two of these: OUT at the sender and IN at the
/// recipient, with one `exchangeId`.
#[Object]
impl Message {
    /// Its opaque id.
    pub(crate) async fn id(&self) -> ID {
        self.row.id.to_id()
    }

    /// Common to the sender's and the recipient's copy.
    fn exchange_id(&self) -> ID {
        self.row.exchange.to_id()
    }

    /// The id of the endpoint that keeps it.
    fn endpoint_id(&self) -> ID {
        self.row.endpoint.to_id()
    }

    /// The endpoint that keeps it. Needs the scope endpoints.read; null without it.
    async fn endpoint(&self) -> Nullable<Whole<Endpoint>> {
        optional(self.view.endpoint(self.row.endpoint).await)
    }

    /// The id of the chat that it is in.
    fn chat_id(&self) -> Option<ID> {
        Some(self.row.chat.to_id())
    }

    /// The chat that it is in. Needs the scope chats.read; null without it.
    async fn chat(&self) -> Nullable<Whole<Chat>> {
        optional(self.view.chat(self.row.chat).await)
    }

    /// Whether the endpoint sent or received it.
    fn direction(&self) -> MessageDirection {
        self.row.direction.into()
    }

    /// Where it came from.
    fn origin(&self) -> MessageOrigin {
        self.row.origin.into()
    }

    /// The sender's address, a SIP URI.
    fn from(&self) -> &str {
        &self.row.from
    }

    /// The recipient's address, a SIP URI.
    fn to(&self) -> &str {
        &self.row.to
    }

    /// The E.164 number that it comes from; null when it comes from none.
    #[graphql(name = "fromNumber")]
    fn sender_number(&self) -> Option<&str> {
        self.row.from_number.as_deref()
    }

    /// The E.164 number that was called; null when none was.
    fn to_number(&self) -> Option<&str> {
        self.row.to_number.as_deref()
    }

    /// The text; empty for an empty MESSAGE.
    fn body(&self) -> &str {
        &self.row.body
    }

    /// The media type of the text; of one that came by SIP always text/plain.
    fn content_type(&self) -> &str {
        &self.row.content_type
    }

    /// Header fields that go with it, strings by their names; of one that came by SIP those that came with it, without who sent it
    /// and what proves that. Empty when there are none.
    fn variables(&self) -> JSONObject {
        JSONObject::of_variables(&self.row.variables)
    }

    /// Where it is on its way.
    fn status(&self) -> MessageStatus {
        self.row.status.into()
    }

    /// Why it failed; null unless it is FAILED.
    fn failure(&self) -> Option<DeliveryFailure> {
        self.row.failure.clone().map(DeliveryFailure::from)
    }

    /// The trace of its delivery: one entry for each attempt and contact, oldest first. The same at the sender's and the
    /// recipient's copy.
    async fn deliveries(&self) -> Nullable<Vec<Delivery>> {
        let trace = self.view.trace(self.row.exchange).await;
        let contacts = self.may_see_contacts();
        nullable(trace.map(|trace| Delivery::all(trace, contacts)))
    }

    /// Whether it was marked read; always true for one that was sent.
    fn read(&self) -> bool {
        self.row.read
    }

    /// Its place in the chat: rises, with gaps where messages were deleted.
    fn seq(&self) -> Option<i32> {
        Some(int(self.row.seq))
    }

    /// The idempotency key that it was sent with, told to the token that sent it alone; null otherwise.
    fn idempotency_key(&self) -> Option<&str> {
        self.row.idempotency_key(self.view.caller())
    }

    /// When it was stored.
    fn created_at(&self) -> DateTime {
        DateTime(self.row.created_at)
    }

    /// When its status last changed.
    fn status_at(&self) -> DateTime {
        DateTime(self.row.status_at)
    }

    /// Until when delivery is tried; null for one that was received.
    fn expires_at(&self) -> Option<DateTime> {
        self.row.expires_at.map(DateTime)
    }

    /// When a phone of the recipient first reported that it arrived (RFC 5438); null when none did, and for one that was
    /// received. It never changes `status`.
    fn delivered_at(&self) -> Option<DateTime> {
        self.row.delivered_at.map(DateTime)
    }

    /// When a phone of the recipient first reported that it was seen (RFC 5438); null when none did, and for one that was
    /// received. It never changes `status`.
    fn displayed_at(&self) -> Option<DateTime> {
        self.row.displayed_at.map(DateTime)
    }
}

/// Why a message failed.
#[derive(SimpleObject)]
pub(crate) struct DeliveryFailure {
    /// The reason.
    code: DeliveryFailureCode,
    /// The last status that a phone answered with (RFC 3261 section 21); null when none did.
    sip_status: Option<i32>,
    /// The words that came with it; null when there were none.
    reason: Option<String>,
    /// Whether the same message may arrive when it is sent again later.
    retryable: bool,
    /// What a person can do about it.
    hint: &'static str,
    /// The section of the RFC that has the rule; null where there is none.
    rfc: Option<&'static str>,
}

impl From<message::Failure> for DeliveryFailure {
    fn from(failure: message::Failure) -> Self {
        let (retryable, hint, rfc) = (failure.is_retryable(), failure.hint(), failure.rfc());
        let message::Failure {
            code,
            sip_status,
            reason,
        } = failure;
        Self {
            code: code.into(),
            sip_status: sip_status.map(i32::from),
            reason,
            retryable,
            hint,
            rfc,
        }
    }
}

/// One attempt to deliver a message to one contact.
#[derive(SimpleObject)]
pub(crate) struct Delivery {
    /// Its opaque id.
    id: ID,
    /// The Contact URI of the recipient's phone. Needs the scope endpoints.read, and for a message that was sent a token for
    /// all endpoints; null without them.
    contact_uri: Option<SipUri>,
    /// The transport to that phone. Needs the scope endpoints.read, and for a message that was sent a token for all
    /// endpoints; null without them.
    transport: Option<Transport>,
    /// Call-ID of the MESSAGE, to find it in the phone's log; the same for all attempts to a contact.
    call_id: Option<String>,
    /// Counts the attempts to this contact from 1.
    attempt: i32,
    /// When it was about to be sent.
    started_at: DateTime,
    /// When it ended; null while it is on its way.
    finished_at: Option<DateTime>,
    /// The final status of the phone (RFC 3261 section 21); null when none came.
    sip_status: Option<i32>,
    /// The words that came with the status, or what failed; null when there are none.
    reason: Option<String>,
    /// How it ended, or that it has not.
    outcome: DeliveryOutcome,
    /// When the message is tried again at this contact at the latest; null when it is not, or when that waits for something:
    /// a phone that comes back, or an earlier message.
    next_attempt_at: Option<DateTime>,
    /// Whether the phone may have got the message before: the attempt before this one ended without an answer, and a phone
    /// that forgot it shows the message twice.
    possible_duplicate: bool,
}

impl Delivery {
    /// Makes the entries of a trace, which tell of the contacts only if `contacts` says so.
    pub(crate) fn all(trace: delivery::Trace, contacts: bool) -> Vec<Self> {
        let delivery::Trace {
            deliveries,
            next_attempt_at,
        } = trace;
        let outcomes: Vec<_> = deliveries.iter().map(|d| (d.target, d.outcome)).collect();
        let entry = |(at, row): (usize, delivery::Delivery)| {
            let of_contact = |entry: &&(_, delivery::DeliveryOutcome)| entry.0 == row.target;
            let before = outcomes.iter().take(at).rfind(of_contact);
            let is_last = !outcomes.iter().skip(at + 1).any(|e| e.0 == row.target);
            let unanswered = before.is_some_and(|(_, outcome)| match outcome {
                delivery::DeliveryOutcome::Timeout | delivery::DeliveryOutcome::TransportError => {
                    true
                }
                delivery::DeliveryOutcome::Pending
                | delivery::DeliveryOutcome::Delivered
                | delivery::DeliveryOutcome::Retrying
                | delivery::DeliveryOutcome::Refused => false,
            });
            // The message may be due earlier, for another contact.
            let next = next_attempt_at
                .filter(|_| is_last && row.outcome.is_temporary_failure())
                .map(|due_at| row.retry_at.map_or(due_at, |at| at.max(due_at)));
            Self::new(row, contacts, next.map(DateTime), unanswered)
        };
        deliveries.into_iter().enumerate().map(entry).collect()
    }

    fn new(
        row: delivery::Delivery,
        contact: bool,
        next_attempt_at: Option<DateTime>,
        possible_duplicate: bool,
    ) -> Self {
        Self {
            id: row.id.to_id(),
            contact_uri: contact.then_some(SipUri(row.contact_uri)),
            transport: contact.then(|| row.transport.into()),
            call_id: Some(row.call_id),
            attempt: row.attempt,
            started_at: DateTime(row.started_at),
            finished_at: row.finished_at.map(DateTime),
            sip_status: row.sip_status.map(i32::from),
            reason: row.reason,
            outcome: row.outcome.into(),
            next_attempt_at,
            possible_duplicate,
        }
    }
}

impl Row for Message {
    fn plain(name: &str) -> Option<Plain<Self>> {
        plain!(name,
            "id" => |message: &Self, _: &Context<'_>| message.row.id.to_id(),
            "exchangeId" => Self::exchange_id,
            "endpointId" => Self::endpoint_id,
            "chatId" => Self::chat_id,
            "direction" => Self::direction,
            "origin" => Self::origin,
            "from" => Self::from,
            "to" => Self::to,
            "fromNumber" => Self::sender_number,
            "toNumber" => Self::to_number,
            "body" => Self::body,
            "contentType" => Self::content_type,
            "status" => Self::status,
            "read" => Self::read,
            "seq" => Self::seq,
            "idempotencyKey" => Self::idempotency_key,
            "createdAt" => Self::created_at,
            "statusAt" => Self::status_at,
            "expiresAt" => Self::expires_at,
            "deliveredAt" => Self::delivered_at,
            "displayedAt" => Self::displayed_at,
        )
    }

    async fn ahead(rows: &[&Self], asked: &Lookahead<'_>) {
        let Some(view) = rows.first().map(|first| &first.view) else {
            return;
        };
        if asked.field("endpoint").exists() {
            let ids = rows.iter().map(|message| message.row.endpoint);
            view.endpoints_ahead(ids).await;
        }
        if asked.field("chat").exists() {
            view.chats_ahead(rows.iter().map(|message| message.row.chat))
                .await;
        }
    }
}

connection!(
    /// A page of messages, newest first.
    MessageConnection,
    /// A message in a page.
    MessageEdge,
    Message
);

/// Where a message goes.
#[derive(Clone, Copy, Debug, Enum, PartialEq, Eq)]
pub(crate) enum RouteKind {
    /// To an endpoint of the account.
    Endpoint,
    /// Out through a trunk of the account.
    Trunk,
    /// Nowhere.
    None,
}

/// How a message was or would be routed.
#[derive(SimpleObject)]
pub(crate) struct MessageRoute {
    /// Where it goes.
    kind: RouteKind,
    /// The endpoint that gets it; null unless it is ENDPOINT.
    endpoint_id: Option<ID>,
    /// The trunk that it goes out by; null unless it is TRUNK.
    trunk_id: Option<ID>,
    /// The E.164 number that was called; null when none was.
    number: Option<String>,
    /// What was looked at, in order, in words for people.
    steps: Vec<String>,
}

impl From<messages::MessageRoute> for MessageRoute {
    fn from(route: messages::MessageRoute) -> Self {
        let messages::MessageRoute {
            target,
            number,
            steps,
        } = route;
        let (kind, endpoint_id, trunk_id) = match target {
            messages::RouteTarget::Endpoint(id) => (RouteKind::Endpoint, Some(id.to_id()), None),
            messages::RouteTarget::Trunk(id) => (RouteKind::Trunk, None, Some(id.to_id())),
        };
        Self {
            kind,
            endpoint_id,
            trunk_id,
            number,
            steps,
        }
    }
}

impl MessageRoute {
    /// Makes one that leads nowhere of the refusals that say so.
    pub(super) fn of_refusal<T>(result: &Result<Outcome<T>, Fault>) -> Option<Self> {
        let Err(Fault::Refused(problems)) = result else {
            return None;
        };
        let leads_nowhere = |code: ProblemCode| {
            matches!(
                code,
                ProblemCode::NotFound
                    | ProblemCode::NoRoute
                    | ProblemCode::NoSenderNumber
                    | ProblemCode::TechnologyUnavailable
            )
        };
        let reasons = problems
            .iter()
            .filter(|problem| leads_nowhere(problem.code));
        let steps: Vec<String> = reasons.map(|problem| problem.message.clone()).collect();
        (!steps.is_empty()).then_some(Self {
            kind: RouteKind::None,
            endpoint_id: None,
            trunk_id: None,
            number: None,
            steps,
        })
    }
}

/// The answer to `sendMessage`.
#[derive(SimpleObject)]
pub(crate) struct SendMessagePayload {
    /// The sender's copy, stored and on its way; null when it was refused, and in a dry run.
    pub(crate) message: Option<Message>,
    /// How it was routed, or would be; null in a replay, and when it was refused for another reason.
    pub(crate) route: Option<MessageRoute>,
    /// Whether it was a dry run: nothing was stored.
    pub(crate) dry_run: bool,
    /// True when an earlier call with the same idempotency key sent it.
    pub(crate) replayed: bool,
    /// What the caller can mend; empty when the message was accepted.
    pub(crate) user_errors: Vec<UserError>,
}

/// The answer to `deleteMessage`.
#[derive(SimpleObject)]
pub(crate) struct DeleteMessagePayload {
    /// The id that the message had; null when nothing was deleted.
    pub(crate) deleted_message_id: Option<ID>,
    /// The chat that it was in, with its counts and last message as they are now; null when it is gone, or the scope
    /// chats.read is missing.
    pub(crate) chat: Option<Chat>,
    /// True when an earlier call with the same idempotency key deleted it.
    pub(crate) replayed: bool,
    /// What the caller can mend; empty when the message was deleted.
    pub(crate) user_errors: Vec<UserError>,
}

/// The answer to `markMessage`.
#[derive(SimpleObject)]
pub(crate) struct MarkMessagePayload {
    /// The message as it is now; null when it was refused.
    pub(crate) message: Option<Message>,
    /// True when an earlier call with the same idempotency key marked it.
    pub(crate) replayed: bool,
    /// What the caller can mend; empty when the message was marked.
    pub(crate) user_errors: Vec<UserError>,
}

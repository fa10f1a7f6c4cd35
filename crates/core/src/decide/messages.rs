//! Messages between endpoints: one message is two copies, OUT at the sender and IN at the recipient.

use super::Mint;
use crate::address::violation;
use crate::chat::ChatKey;
use crate::commit::{Commit, NewEvent, NewMessage, Precondition, Write};
use crate::delivery::{Dispatch, Way};
use crate::endpoint::{Endpoint, EndpointState};
use crate::error::{Problem, ProblemCode, ProblemDetail};
use crate::event::{EventBody, Subjects};
use crate::message::{
    BODY_BYTES_MAX, CallKey, Disposition, Message, MessageDirection, MessageOrigin, MessageStatus,
    Variables,
};
use crate::ports::store::Found;
use crate::{ChatId, ExchangeId, MessageId, Timestamp};
use sip_validate::MediaType;

/// The longest media type, in bytes: more than any that is registered, with room for parameters.
const CONTENT_TYPE_BYTES_MAX: usize = 255;

/// A message to send, whose parties are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// API, SIP or a trunk.
    pub origin: MessageOrigin,
    /// The text; empty for an empty MESSAGE.
    pub body: String,
    /// Its media type.
    pub content_type: String,
    /// What goes with it as header fields, or went with it when it came in.
    pub variables: Variables,
    /// Until when delivery is tried.
    pub expires_at: Timestamp,
    /// Whether it waits until then for a phone of a recipient that has none registered.
    pub waits: bool,
    /// What names the call that sends it, if that has a name.
    pub call_key: Option<CallKey>,
}

/// One side of a message, as chats and MESSAGE requests name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// The E.164 number that it is known by, else `user@domain`.
    pub address: String,
    /// Its SIP URI.
    pub uri: String,
    /// Its E.164 number, if it is known by one.
    pub number: Option<String>,
}

impl Side {
    /// Returns an endpoint by its address-of-record.
    #[must_use]
    pub fn of(endpoint: &Endpoint) -> Self {
        Self {
            address: endpoint.address(),
            uri: endpoint.sip_uri(),
            number: None,
        }
    }

    /// Returns a number, in a domain in which it can be called.
    #[must_use]
    pub fn of_number(number: &str, domain: &str) -> Self {
        Self {
            address: number.to_owned(),
            uri: format!("sip:{number}@{domain}"),
            number: Some(number.to_owned()),
        }
    }
}

/// Who sends, who gets it, and the chats that they have with each other.
#[derive(Debug, Clone)]
pub struct Parties<'e> {
    /// The endpoint that sends, or the trunk by which the message came in.
    pub sender: &'e Endpoint,
    /// The sender as the recipient sees it.
    pub from: Side,
    /// The endpoint that gets it, or the trunk by which it goes out.
    pub recipient: &'e Endpoint,
    /// The recipient as the sender called it.
    pub to: Side,
    /// How it leaves.
    pub way: Way,
    /// The sender's chat with the recipient.
    pub sender_chat: Option<ChatId>,
    /// The recipient's chat with the sender.
    pub recipient_chat: Option<ChatId>,
    /// Whether the sender's domain keeps what its devices say to each other.
    pub record_internal: bool,
}

impl Parties<'_> {
    /// Whether what a device sends is kept: what two endpoints of one domain say to each other only where the domain records it.
    fn is_recorded(&self) -> bool {
        let is_internal = self.way == Way::Contacts && self.sender.domain == self.recipient.domain;
        self.record_internal || !is_internal
    }

    /// Whether the sender keeps a copy: not one that came in by a trunk.
    fn is_sent(&self, outgoing: &Outgoing) -> bool {
        match outgoing.origin {
            MessageOrigin::Api => true,
            MessageOrigin::Sip => self.is_recorded(),
            MessageOrigin::Trunk => false,
        }
    }

    /// Whether the recipient keeps a copy: not one that goes out by a trunk.
    fn is_received(&self, outgoing: &Outgoing) -> bool {
        self.way == Way::Contacts
            && match outgoing.origin {
                MessageOrigin::Api | MessageOrigin::Trunk => true,
                MessageOrigin::Sip => self.is_recorded(),
            }
    }

    /// Returns the keys of the chats, the sender's first.
    #[must_use]
    pub fn chat_keys(&self) -> [ChatKey; 2] {
        let key = |endpoint: &Endpoint, own: &Side, peer: &Side| ChatKey {
            endpoint: endpoint.id,
            own_number: own.address.clone(),
            peer: peer.address.clone(),
        };
        [
            key(self.sender, &self.from, &self.to),
            key(self.recipient, &self.to, &self.from),
        ]
    }
}

/// What a send made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentIds {
    /// The message on its way.
    pub exchange: ExchangeId,
    /// The sender's copy, unless nobody keeps one.
    pub out_message: Option<MessageId>,
    /// Whether it is to be delivered now: its recipient may have a phone.
    pub is_due: bool,
}

/// Finds the sender of a message and refuses one that can't send.
///
/// # Errors
/// `NotFound`, `Validation` (ambiguous) or `EndpointDisabled`, at `from`.
pub fn sender(found: &Found<Endpoint>) -> Result<&Endpoint, Problem> {
    match found {
        Found::One(endpoint) if endpoint.enabled => Ok(endpoint),
        Found::One(endpoint) => Err(Problem::new(
            ProblemCode::EndpointDisabled,
            "from",
            format!("The endpoint {} is disabled.", endpoint.address()),
        )),
        Found::None => Err(Problem::not_found("from", "endpoint")),
        Found::Ambiguous => Err(ambiguous("from")),
    }
}

/// Returns the problem of a name that stands in several domains.
#[must_use]
pub fn ambiguous(field: &str) -> Problem {
    Problem::validation(
        field,
        "Several domains have an endpoint with this name; name the domain.",
    )
}

/// Checks the text of a message from the API.
#[must_use]
pub fn body_problems(body: Option<&str>, content_type: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    match body {
        Some("") => problems.push(Problem::validation(
            "body",
            "A body must not be empty; leave it out to send an empty message.",
        )),
        Some(text) if text.contains('\0') => problems.push(Problem::validation(
            "body",
            "A body can't contain the character NUL.",
        )),
        Some(text) if text.len() > BODY_BYTES_MAX => problems.push(
            Problem::validation(
                "body",
                format!("A body has at most {BODY_BYTES_MAX} bytes of UTF-8."),
            )
            .with_detail(ProblemDetail {
                limit: i64::try_from(BODY_BYTES_MAX).ok(),
                actual: i64::try_from(text.len()).ok(),
                ..ProblemDetail::default()
            }),
        ),
        _ => {}
    }
    problems.extend(content_type_problem(content_type, body.unwrap_or_default()));
    problems
}

/// Checks the media type of a text, which goes out in UTF-8 and on one line.
fn content_type_problem(content_type: &str, body: &str) -> Option<Problem> {
    const FIELD: &str = "contentType";
    if content_type.len() > CONTENT_TYPE_BYTES_MAX {
        let text = format!("A media type has at most {CONTENT_TYPE_BYTES_MAX} bytes.");
        return Some(Problem::validation(FIELD, text).with_detail(ProblemDetail {
            limit: i64::try_from(CONTENT_TYPE_BYTES_MAX).ok(),
            actual: i64::try_from(content_type.len()).ok(),
            ..ProblemDetail::default()
        }));
    }
    if content_type.contains(char::is_control) {
        let text = "A media type has no line break and no other control character.";
        return Some(Problem::validation(FIELD, text));
    }
    let media_type = match MediaType::parse(content_type) {
        Ok(media_type) => media_type,
        Err(found) => return Some(violation(FIELD, content_type, &found)),
    };
    let charset = media_type.parameter("charset")?;
    let is_fitting = charset.eq_ignore_ascii_case("utf-8")
        || charset.eq_ignore_ascii_case("us-ascii") && body.is_ascii();
    let text = "The text goes out in UTF-8: leave the charset out, or give utf-8.";
    (!is_fitting).then(|| Problem::validation(FIELD, text))
}

/// Decides on a message between two endpoints of one account, of which one may be a trunk.
#[must_use]
pub fn send(mint: &Mint<'_>, parties: &Parties<'_>, outgoing: &Outgoing) -> (Commit, SentIds) {
    let (sender, recipient) = (parties.sender, parties.recipient);
    let exchange = mint.id(ExchangeId::new);
    let mut commit = Commit {
        preconditions: vec![
            Precondition::EndpointAt(sender.id, sender.version),
            Precondition::EndpointAt(recipient.id, recipient.version),
        ],
        ..Commit::empty(sender.account, mint.now)
    };
    let told = (outgoing.origin != MessageOrigin::Api).then_some(commit.events.len());
    if told.is_some() {
        let body = EventBody::TextMessageReceived {
            from: parties.from.uri.clone(),
            to: parties.to.uri.clone(),
            body: Some(outgoing.body.clone()),
            variables: outgoing.variables.clone(),
            exchange: Some(exchange),
        };
        commit.events.push(mint.event(Subjects::of(sender), body));
    }
    let [sent, received] = record(mint, parties, outgoing, exchange, &mut commit);
    if let (Some((chat, id)), Some(event)) = (
        sent.or(received),
        told.and_then(|told| commit.events.get_mut(told)),
    ) {
        // Its text goes with the message.
        event.subjects = message_subjects(sender, chat, id);
    }
    let out_message = sent.map(|(_, id)| id);
    let is_due = !waits_for_contact(parties, outgoing);
    if !is_due {
        // A phone that registers meanwhile would not make it due.
        let seen = Precondition::BindingsAt(recipient.id, recipient.bindings_revision);
        commit.preconditions.push(seen);
    }
    commit.writes.push(Write::DispatchInsert(Dispatch {
        id: exchange,
        account: sender.account,
        sender: sender.id,
        recipient: recipient.id,
        way: parties.way.clone(),
        out_message,
        from: parties.from.uri.clone(),
        from_name: match outgoing.origin {
            MessageOrigin::Api | MessageOrigin::Sip => sender.caller_id.clone(),
            // Who speaks is not the trunk.
            MessageOrigin::Trunk => None,
        },
        to: parties.to.uri.clone(),
        body: outgoing.body.clone(),
        content_type: outgoing.content_type.clone(),
        variables: match outgoing.origin {
            MessageOrigin::Api => outgoing.variables.clone(),
            // What a phone or carrier says of itself is told to its account, and passed on to nobody.
            MessageOrigin::Sip | MessageOrigin::Trunk => Variables::new(),
        },
        taken: false,
        rounds: 0,
        created_at: mint.now,
        expires_at: outgoing.expires_at,
        due_at: if is_due {
            mint.now
        } else {
            outgoing.expires_at
        },
        lease: 0,
    }));
    let ids = SentIds {
        exchange,
        out_message,
        is_due,
    };
    (commit, ids)
}

/// Whether a message waits for a phone of its recipient, which makes it due when it registers: what the delivery would find, it
/// need not look for.
fn waits_for_contact(parties: &Parties<'_>, outgoing: &Outgoing) -> bool {
    let recipient = parties.recipient;
    // Presence is written with the bindings: who is enabled and not there has none.
    outgoing.waits
        && parties.way == Way::Contacts
        && recipient.enabled
        && recipient.simulation.is_none()
        && recipient.state != EndpointState::Online
}

/// Adds the copies that are kept, their chats and their events; returns the chat and the id of the sender's copy, and those of
/// the recipient's.
fn record(
    mint: &Mint<'_>,
    parties: &Parties<'_>,
    outgoing: &Outgoing,
    exchange: ExchangeId,
    commit: &mut Commit,
) -> [Option<(ChatId, MessageId)>; 2] {
    let [sender_key, recipient_key] = parties.chat_keys();
    let is_same = sender_key == recipient_key;
    let sent = parties.is_sent(outgoing).then(|| {
        let chat = chat(mint, sender_key, parties.sender_chat, commit);
        (chat, mint.id(MessageId::new))
    });
    let received = parties.is_received(outgoing).then(|| {
        let chat = match sent {
            Some((chat, _)) if is_same => chat,
            _ => chat(mint, recipient_key, parties.recipient_chat, commit),
        };
        (chat, mint.id(MessageId::new))
    });
    let (sender, recipient) = (parties.sender, parties.recipient);
    let (from, to) = (&parties.from, &parties.to);
    let text = Some(outgoing.body.clone());
    let first_event = commit.events.len();
    if let Some((chat, id)) = sent {
        let body = EventBody::MessageOut {
            endpoint_name: sender.address(),
            src_number: from.address.clone(),
            dst_number: to.address.clone(),
            text: text.clone(),
        };
        let subjects = message_subjects(sender, chat, id);
        commit.events.push(mint.event(subjects, body));
    }
    if let Some((chat, id)) = received {
        let body = EventBody::MessageIn {
            endpoint_name: recipient.address(),
            own_number: to.address.clone(),
            src_number: from.address.clone(),
            text,
        };
        let subjects = message_subjects(recipient, chat, id);
        commit.events.push(mint.event(subjects, body));
    }
    let sent_activity = commit.events.len();
    if let Some((chat, _)) = sent {
        commit.events.push(chat_updated(mint, sender, chat));
    }
    if let Some((chat, _)) = received
        && sent.is_none_or(|(sent_chat, _)| sent_chat != chat)
    {
        commit.events.push(chat_updated(mint, recipient, chat));
    }
    let last_event = commit.events.len().saturating_sub(1);
    let copy = |id, chat, endpoint: &Endpoint, direction, activity_event, first_event| NewMessage {
        id,
        exchange,
        endpoint: endpoint.id,
        chat,
        direction,
        origin: outgoing.origin,
        from: from.uri.clone(),
        to: to.uri.clone(),
        from_number: from.number.clone(),
        to_number: to.number.clone(),
        peer: match direction {
            MessageDirection::Out => to.address.clone(),
            MessageDirection::In => from.address.clone(),
        },
        body: outgoing.body.clone(),
        content_type: outgoing.content_type.clone(),
        variables: outgoing.variables.clone(),
        status: match direction {
            MessageDirection::Out => MessageStatus::Accepted,
            MessageDirection::In => MessageStatus::Received,
        },
        read: direction == MessageDirection::Out,
        expires_at: (direction == MessageDirection::Out).then_some(outgoing.expires_at),
        call_key: match direction {
            MessageDirection::Out => outgoing.call_key.clone(),
            MessageDirection::In => None,
        },
        first_event,
        activity_event,
    };
    if let Some((chat, id)) = sent {
        let out = MessageDirection::Out;
        let new = copy(id, chat, sender, out, sent_activity, first_event);
        commit.writes.push(Write::MessageInsert(new));
    }
    if let Some((chat, id)) = received {
        let event = first_event + usize::from(sent.is_some());
        let new = copy(id, chat, recipient, MessageDirection::In, last_event, event);
        commit.writes.push(Write::MessageInsert(new));
    }
    [sent, received]
}

/// Returns the chat with a key, adding it to the commit when it is new.
fn chat(mint: &Mint<'_>, key: ChatKey, known: Option<ChatId>, commit: &mut Commit) -> ChatId {
    if let Some(id) = known {
        commit.preconditions.push(Precondition::ChatThere(id));
        return id;
    }
    let id = mint.id(ChatId::new);
    commit
        .preconditions
        .push(Precondition::ChatKeyFree(key.clone()));
    commit.writes.push(Write::ChatInsert { id, key });
    id
}

fn message_subjects(endpoint: &Endpoint, chat: ChatId, message: MessageId) -> Subjects {
    Subjects {
        chat: Some(chat),
        message: Some(message),
        ..Subjects::of(endpoint)
    }
}

pub(super) fn chat_updated(mint: &Mint<'_>, endpoint: &Endpoint, chat: ChatId) -> NewEvent {
    mint.event(
        Subjects {
            chat: Some(chat),
            ..Subjects::of(endpoint)
        },
        // The store fills in the counts after this commit.
        EventBody::ChatUpdated {
            unread_count: 0,
            last_message: None,
        },
    )
}

/// Decides on deleting a message of an endpoint.
#[must_use]
pub fn delete(mint: &Mint<'_>, message: &Message, endpoint: &Endpoint) -> Commit {
    let subjects = message_subjects(endpoint, message.chat, message.id);
    let mut commit = unchanged(mint, message);
    commit.writes.push(Write::MessageDelete {
        id: message.id,
        chat: message.chat,
    });
    commit.events = vec![
        mint.event(subjects, EventBody::MessageDeleted),
        chat_updated(mint, endpoint, message.chat),
    ];
    commit
}

/// Makes a commit that changes nothing yet of a message and applies only while that is as it was read.
fn unchanged(mint: &Mint<'_>, message: &Message) -> Commit {
    Commit {
        preconditions: vec![Precondition::MessageAt(
            message.id,
            message.status,
            message.read,
        )],
        ..Commit::empty(message.account, mint.now)
    }
}

/// Decides on what a device reported of a message that was sent to it; `None` when that is known.
#[must_use]
pub fn receipt(
    mint: &Mint<'_>,
    message: &Message,
    sender: &Endpoint,
    disposition: Disposition,
) -> Option<Commit> {
    let known = match disposition {
        Disposition::Delivered => message.delivered_at,
        Disposition::Displayed => message.displayed_at,
    };
    if known.is_some() {
        return None;
    }
    let subjects = message_subjects(sender, message.chat, message.id);
    let mut commit = unchanged(mint, message);
    commit.writes.push(Write::MessageReceiptSet {
        id: message.id,
        disposition,
    });
    commit
        .events
        .push(mint.event(subjects, EventBody::MessageUpdated));
    Some(commit)
}

/// Decides on marking a message; there is no commit when it has the mark already. An OUT message is always read.
///
/// # Errors
/// `Validation` when an OUT message is to be unread.
pub fn mark(
    mint: &Mint<'_>,
    message: &Message,
    endpoint: &Endpoint,
    read: bool,
) -> Result<Option<Commit>, Problem> {
    if message.direction == MessageDirection::Out && !read {
        return Err(Problem::validation(
            "read",
            "A sent message is always read.",
        ));
    }
    if message.read == read {
        return Ok(None);
    }
    let mut commit = unchanged(mint, message);
    commit.writes.push(Write::MessageReadSet {
        id: message.id,
        chat: message.chat,
        read,
    });
    commit.events.push(mint.event(
        message_subjects(endpoint, message.chat, message.id),
        EventBody::MessageUpdated,
    ));
    commit
        .events
        .push(chat_updated(mint, endpoint, message.chat));
    Ok(Some(commit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::testing::{Seeded, endpoint};
    use crate::endpoint::Simulation;

    const NOW: Timestamp = Timestamp(1_000_000);
    const EXPIRES: Timestamp = Timestamp(9_000_000);

    /// When a message to this endpoint is due, whether that is told, and whether a registration meanwhile fails the send.
    fn due(recipient: &Endpoint, way: Way, waits: bool) -> (Timestamp, bool, bool) {
        let sender = endpoint("alice");
        let parties = Parties {
            sender: &sender,
            from: Side::of(&sender),
            recipient,
            to: Side::of(recipient),
            way,
            sender_chat: None,
            recipient_chat: None,
            record_internal: true,
        };
        let outgoing = Outgoing {
            origin: MessageOrigin::Api,
            body: "text".into(),
            content_type: "text/plain".into(),
            variables: Variables::new(),
            expires_at: EXPIRES,
            waits,
            call_key: None,
        };
        let entropy = Seeded::default();
        let (commit, ids) = send(&Mint::new(NOW, &entropy), &parties, &outgoing);
        let seen = Precondition::BindingsAt(recipient.id, recipient.bindings_revision);
        let is_guarded = commit.preconditions.contains(&seen);
        let mut due = commit.writes.iter().filter_map(|write| match write {
            Write::DispatchInsert(dispatch) => Some(dispatch.due_at),
            _ => None,
        });
        (due.next().unwrap(), ids.is_due, is_guarded)
    }

    #[test]
    fn only_what_a_registration_makes_due_waits_for_one() {
        let waits = (EXPIRES, false, true);
        let at_once = (NOW, true, false);
        let with_state = |state| Endpoint {
            state,
            ..endpoint("bob")
        };
        let (online, offline) = (EndpointState::Online, EndpointState::Offline);
        let simulated = Endpoint {
            simulation: Some(Simulation::Echo),
            ..endpoint("bob")
        };
        let disabled = Endpoint {
            enabled: false,
            ..endpoint("bob")
        };
        let trunk = Way::Number("+15550100".into());
        assert_eq!(due(&endpoint("bob"), Way::Contacts, true), waits);
        assert_eq!(due(&with_state(offline), Way::Contacts, true), waits);
        assert_eq!(due(&with_state(online), Way::Contacts, true), at_once);
        assert_eq!(due(&simulated, Way::Contacts, true), at_once);
        assert_eq!(due(&disabled, Way::Contacts, true), at_once);
        assert_eq!(due(&endpoint("bob"), trunk, true), at_once);
        assert_eq!(due(&endpoint("bob"), Way::Contacts, false), at_once);
    }
}

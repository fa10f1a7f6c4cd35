//! Messages between endpoints: one message is two copies, OUT at the sender and IN at the recipient.

use super::Mint;
use crate::chat::ChatKey;
use crate::commit::{Commit, NewEvent, NewMessage, Precondition, Write};
use crate::delivery::Dispatch;
use crate::endpoint::Endpoint;
use crate::error::{Problem, ProblemCode, ProblemDetail};
use crate::event::{EventBody, Subjects};
use crate::message::{BODY_BYTES_MAX, Message, MessageDirection, MessageOrigin, MessageStatus};
use crate::ports::store::{Found, SendSnapshot};
use crate::{ChatId, ExchangeId, MessageId, Timestamp};

/// A message to send, whose parties are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// API or SIP.
    pub origin: MessageOrigin,
    /// The text; empty for an empty MESSAGE.
    pub body: String,
    /// Its media type.
    pub content_type: String,
    /// Until when delivery is tried.
    pub expires_at: Timestamp,
}

/// What a send made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentIds {
    /// The message on its way.
    pub exchange: ExchangeId,
    /// The sender's copy, unless the domain keeps no internal messages.
    pub out_message: Option<MessageId>,
}

/// Finds the parties of a send and refuses what can't go.
///
/// # Errors
/// `NotFound`, `Validation` (ambiguous) or `EndpointDisabled` for each party.
pub fn parties(snapshot: &SendSnapshot) -> Result<(&Endpoint, &Endpoint), Vec<Problem>> {
    let mut problems = Vec::new();
    let sender = party("from", &snapshot.sender, &mut problems);
    let recipient = party("to", &snapshot.recipient, &mut problems);
    match (sender, recipient) {
        (Some(sender), Some(recipient)) => Ok((sender, recipient)),
        _ => Err(problems),
    }
}

fn party<'s>(
    field: &str,
    found: &'s Found<Endpoint>,
    problems: &mut Vec<Problem>,
) -> Option<&'s Endpoint> {
    match found {
        Found::One(endpoint) if endpoint.enabled => return Some(endpoint),
        Found::One(endpoint) => problems.push(Problem::new(
            ProblemCode::EndpointDisabled,
            field,
            format!("The endpoint {} is disabled.", endpoint.address()),
        )),
        Found::None => problems.push(Problem::not_found(field, "endpoint")),
        Found::Ambiguous => problems.push(Problem::validation(
            field,
            "Several domains have an endpoint with this name; name the domain.",
        )),
    }
    None
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
    let essence = content_type.split(';').next().unwrap_or("").trim();
    if !essence.eq_ignore_ascii_case("text/plain") || content_type.contains(['\r', '\n', '\0']) {
        problems.push(Problem::validation(
            "contentType",
            "Only text/plain is carried.",
        ));
    }
    problems
}

/// Decides on a send between two endpoints of one account.
#[must_use]
pub fn send(
    mint: &Mint<'_>,
    snapshot: &SendSnapshot,
    sender: &Endpoint,
    recipient: &Endpoint,
    outgoing: &Outgoing,
) -> (Commit, SentIds) {
    let exchange = mint.id(ExchangeId::new);
    let recorded = outgoing.origin == MessageOrigin::Api || snapshot.record_internal;
    let mut commit = Commit {
        account: sender.account,
        at: mint.now,
        idempotency: None,
        preconditions: vec![
            Precondition::EndpointAt(sender.id, sender.version),
            Precondition::EndpointAt(recipient.id, recipient.version),
        ],
        writes: Vec::new(),
        events: Vec::new(),
    };
    if outgoing.origin == MessageOrigin::Sip {
        let body = EventBody::TextMessageReceived {
            from: sender.sip_uri(),
            to: recipient.sip_uri(),
            body: Some(outgoing.body.clone()),
        };
        commit.events.push(mint.event(Subjects::of(sender), body));
    }
    let out_message = recorded.then(|| {
        record(
            mint,
            snapshot,
            (sender, recipient),
            outgoing,
            exchange,
            &mut commit,
        )
    });
    commit.writes.push(Write::DispatchInsert(Dispatch {
        id: exchange,
        account: sender.account,
        sender: sender.id,
        recipient: recipient.id,
        out_message,
        from: sender.sip_uri(),
        to: recipient.sip_uri(),
        body: outgoing.body.clone(),
        content_type: outgoing.content_type.clone(),
        taken: false,
        rounds: 0,
        created_at: mint.now,
        expires_at: outgoing.expires_at,
        due_at: mint.now,
        lease: 0,
    }));
    (
        commit,
        SentIds {
            exchange,
            out_message,
        },
    )
}

/// Adds both copies, their chats and their events; returns the id of the sender's copy.
fn record(
    mint: &Mint<'_>,
    snapshot: &SendSnapshot,
    (sender, recipient): (&Endpoint, &Endpoint),
    outgoing: &Outgoing,
    exchange: ExchangeId,
    commit: &mut Commit,
) -> MessageId {
    let sender_chat = chat(mint, sender, recipient, snapshot.sender_chat, commit);
    let recipient_chat = if sender.id == recipient.id {
        sender_chat
    } else {
        chat(mint, recipient, sender, snapshot.recipient_chat, commit)
    };
    let (out_id, in_id) = (mint.id(MessageId::new), mint.id(MessageId::new));
    let text = Some(outgoing.body.clone());
    let out_event = commit.events.len();
    commit.events.push(mint.event(
        message_subjects(sender, sender_chat, out_id),
        EventBody::MessageOut {
            endpoint_name: sender.address(),
            src_number: sender.address(),
            dst_number: recipient.address(),
            text: text.clone(),
        },
    ));
    commit.events.push(mint.event(
        message_subjects(recipient, recipient_chat, in_id),
        EventBody::MessageIn {
            endpoint_name: recipient.address(),
            own_number: recipient.address(),
            src_number: sender.address(),
            text,
        },
    ));
    commit.events.push(chat_updated(mint, sender, sender_chat));
    if recipient_chat != sender_chat {
        commit
            .events
            .push(chat_updated(mint, recipient, recipient_chat));
    }
    let last_event = commit.events.len() - 1;
    commit.writes.push(Write::MessageInsert(NewMessage {
        id: out_id,
        exchange,
        endpoint: sender.id,
        chat: sender_chat,
        direction: MessageDirection::Out,
        origin: outgoing.origin,
        from: sender.sip_uri(),
        to: recipient.sip_uri(),
        peer: recipient.address(),
        body: outgoing.body.clone(),
        content_type: outgoing.content_type.clone(),
        status: MessageStatus::Accepted,
        read: true,
        expires_at: Some(outgoing.expires_at),
        first_event: out_event,
        activity_event: out_event + 2,
    }));
    commit.writes.push(Write::MessageInsert(NewMessage {
        id: in_id,
        exchange,
        endpoint: recipient.id,
        chat: recipient_chat,
        direction: MessageDirection::In,
        origin: outgoing.origin,
        from: sender.sip_uri(),
        to: recipient.sip_uri(),
        peer: sender.address(),
        body: outgoing.body.clone(),
        content_type: outgoing.content_type.clone(),
        status: MessageStatus::Received,
        read: false,
        expires_at: None,
        first_event: out_event + 1,
        activity_event: last_event,
    }));
    out_id
}

/// Returns the owner's chat with the peer, adding it to the commit when it is new.
fn chat(
    mint: &Mint<'_>,
    owner: &Endpoint,
    peer: &Endpoint,
    known: Option<ChatId>,
    commit: &mut Commit,
) -> ChatId {
    if let Some(id) = known {
        commit.preconditions.push(Precondition::ChatThere(id));
        return id;
    }
    let id = mint.id(ChatId::new);
    let key = ChatKey {
        endpoint: owner.id,
        own_number: owner.address(),
        peer: peer.address(),
    };
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

fn chat_updated(mint: &Mint<'_>, endpoint: &Endpoint, chat: ChatId) -> NewEvent {
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

/// Decides on marking a message; nothing is written when it has the mark already. An OUT message is always read.
///
/// # Errors
/// `Validation` when an OUT message is to be unread.
pub fn mark(
    mint: &Mint<'_>,
    message: &Message,
    endpoint: &Endpoint,
    read: bool,
) -> Result<Commit, Problem> {
    if message.direction == MessageDirection::Out && !read {
        return Err(Problem::validation(
            "read",
            "A sent message is always read.",
        ));
    }
    let mut commit = Commit {
        account: message.account,
        at: mint.now,
        idempotency: None,
        preconditions: vec![Precondition::MessageAt(
            message.id,
            message.status,
            message.read,
        )],
        writes: Vec::new(),
        events: Vec::new(),
    };
    if message.read != read {
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
    }
    Ok(commit)
}

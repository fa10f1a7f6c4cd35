//! Messages: sent through the API, received from devices, listed and marked.

use super::tokens::visible;
use super::{App, Outcome, contended, key_reused, no_nul};
use crate::access::{Caller, Scope};
use crate::commit::{Answer, Commit, Idempotency, Write};
use crate::decide::messages::{Outgoing, SentIds, body_problems, mark, parties, send};
use crate::delivery::{Delivery, Dispatch};
use crate::endpoint::Endpoint;
use crate::error::{Problem, ProblemCode, ProblemDetail};
use crate::keyring::KeyUse;
use crate::message::{BODY_BYTES_MAX, Message, MessageDirection, MessageOrigin};
use crate::page::{ListKind, Page, PageCursors, PageKey, PageRequest};
use crate::ports::store::{EndpointKey, Found, MessageFilter, SendSnapshot};
use crate::{ChatId, EndpointId, Error, ExchangeId, Fault, MessageId, Timestamp};
use std::time::Duration;

/// A message to send through the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    /// The sender; the caller may speak only as its own endpoints. `None` only with a chat as target.
    pub from: Option<EndpointKey>,
    /// The recipient.
    pub to: EndpointKey,
    /// The text; `None` for an empty MESSAGE.
    pub body: Option<String>,
    /// Its media type.
    pub content_type: String,
    /// How long delivery is tried, in seconds.
    pub expires_in_s: Option<i64>,
}

/// A MESSAGE that a device sent and that was authenticated as its endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceMessage {
    /// The sender, by its digest.
    pub sender: Endpoint,
    /// The domain of the request-URI, in lower case.
    pub to_domain: String,
    /// The canonical user of the request-URI.
    pub to_user: String,
    /// The text.
    pub body: String,
    /// Its media type.
    pub content_type: String,
    /// Call-ID.
    pub call_id: String,
    /// CSeq number.
    pub cseq: u32,
    /// From tag.
    pub from_tag: String,
    /// The Expires header, in seconds.
    pub expires_s: Option<u32>,
}

impl App {
    /// Sends a message. Scope: `messages.create`.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub async fn message_send(
        &self,
        caller: &Caller,
        new: &NewMessage,
        key: Option<&str>,
    ) -> Result<Outcome<Message>, Fault> {
        caller.require(Scope::MessagesCreate)?;
        let input = format!("{new:?}");
        let idempotency = self.idempotency(caller, "sendMessage", key, &[input.as_bytes()])?;
        let chat_owner = match &new.to {
            EndpointKey::ChatPeer(chat) => Some(self.chat_owner(caller, *chat).await?),
            EndpointKey::Id(_) | EndpointKey::Name { .. } | EndpointKey::ChatOwner(_) => None,
        };
        let sender_key = match (&new.from, &new.to) {
            (Some(from), _) => from.clone(),
            (None, EndpointKey::ChatPeer(chat)) => EndpointKey::ChatOwner(*chat),
            (None, _) => {
                return Err(Problem::validation(
                    "from",
                    "Say who sends it; only a message to a chat can leave this out.",
                )
                .into());
            }
        };
        for _ in 0..super::ATTEMPTS {
            let mint = self.mint();
            let mut snapshot = self
                .store
                .send_snapshot(caller.account, sender_key.clone(), new.to.clone())
                .await?;
            hide_foreign(caller, &mut snapshot);
            if let (Some(owner), Found::One(sender)) = (chat_owner, &snapshot.sender)
                && sender.id != owner
            {
                return Err(Problem::validation(
                    "from",
                    "A message to a chat is sent by the endpoint that has the chat.",
                )
                .into());
            }
            let outgoing = self.outgoing(mint.now, new);
            let decided = match (parties(&snapshot), outgoing) {
                (Ok((sender, recipient)), Ok(outgoing)) => {
                    Ok(send(&mint, &snapshot, sender, recipient, &outgoing))
                }
                (parties, outgoing) => {
                    let mut problems = parties.err().unwrap_or_default();
                    problems.extend(outgoing.err().unwrap_or_default());
                    Err(problems)
                }
            };
            let (mut commit, ids) = match decided {
                Ok(decided) => decided,
                Err(problems) => {
                    let ids = self
                        .replay_of(caller, idempotency.as_ref(), problems)
                        .await?;
                    return self.message_replayed(caller, &ids).await;
                }
            };
            commit.idempotency = idempotency
                .clone()
                .map(|record| record.giving(ids.out_message.iter().map(|id| id.0).collect()));
            // What was stored is told from the commit: a read that fails afterwards must not say that nothing was done.
            let stored = stored_message(&commit);
            match self.commit(commit).await? {
                Answer::Applied(applied) => {
                    self.due.notify(usize::MAX);
                    let mut message =
                        stored.ok_or_else(|| Error::internal("a send kept no copy"))?;
                    (message.seq, message.log_seq) =
                        applied.message_seqs.first().copied().unwrap_or_default();
                    return Ok(Outcome {
                        value: message,
                        replayed: false,
                    });
                }
                Answer::Replayed(ids) => return self.message_replayed(caller, &ids).await,
                Answer::KeyReused => return Err(key_reused()),
                Answer::Failed(_) => {}
            }
        }
        Err(contended().into())
    }

    /// Returns the endpoint that has a chat which the caller sees.
    async fn chat_owner(&self, caller: &Caller, chat: ChatId) -> Result<EndpointId, Fault> {
        self.store
            .chats_by_ids(caller.account, vec![chat])
            .await?
            .first()
            .map(|chat| chat.key.endpoint)
            .filter(|owner| caller.sees(*owner))
            .ok_or_else(|| Problem::not_found("to.chatId", "chat").into())
    }

    fn outgoing(&self, now: Timestamp, new: &NewMessage) -> Result<Outgoing, Vec<Problem>> {
        let mut problems = body_problems(new.body.as_deref(), &new.content_type);
        let lifetime = match new.expires_in_s {
            None => self.policy.message_expiry,
            Some(seconds) => {
                let max = self.policy.message_expiry_max.as_secs();
                match u64::try_from(seconds) {
                    Ok(seconds) if (1..=max).contains(&seconds) => Duration::from_secs(seconds),
                    _ => {
                        problems.push(
                            Problem::validation(
                                "expiresInSeconds",
                                format!("Delivery can be tried for 1 to {max} seconds."),
                            )
                            .with_detail(ProblemDetail {
                                limit: i64::try_from(max).ok(),
                                actual: Some(seconds),
                                ..ProblemDetail::default()
                            }),
                        );
                        Duration::ZERO
                    }
                }
            }
        };
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Outgoing {
            origin: MessageOrigin::Api,
            body: new.body.clone().unwrap_or_default(),
            content_type: new.content_type.clone(),
            expires_at: now.plus(lifetime),
        })
    }

    async fn message_replayed(
        &self,
        caller: &Caller,
        ids: &[[u8; 16]],
    ) -> Result<Outcome<Message>, Fault> {
        let ids = ids.iter().copied().map(MessageId).collect();
        let found = self.store.messages_by_ids(caller.account, ids).await?;
        let value = found.into_iter().next();
        Ok(Outcome {
            value: value.ok_or_else(|| Error::not_found("message"))?,
            replayed: true,
        })
    }

    /// Takes a MESSAGE from a device: stored when this returns, delivered later. The same Call-ID, CSeq and From tag
    /// again is the same message.
    ///
    /// # Errors
    /// Problems on `to`: `NotFound` (404), `EndpointDisabled` (480). On `from`: `EndpointDisabled` (403). On `body`:
    /// `Validation` (413). An [`Error`] is answered 503 with Retry-After, or 500.
    pub async fn message_receive(&self, message: &DeviceMessage) -> Result<ExchangeId, Fault> {
        if message.body.len() > BODY_BYTES_MAX {
            return Err(Problem::validation("body", "The body is too large.").into());
        }
        let sender = &message.sender;
        let idempotency = Idempotency {
            actor: sender.id.0,
            operation: "MESSAGE",
            key: crate::digest::hex(&self.keys.mac(
                KeyUse::Idempotency,
                &[
                    message.call_id.as_bytes(),
                    &message.cseq.to_be_bytes(),
                    message.from_tag.as_bytes(),
                ],
            )),
            // The device's identifiers name the message; a proxy may have changed the rest on another way.
            input: [0; 32],
            result: Vec::new(),
        };
        let recipient = EndpointKey::Name {
            domain: Some(message.to_domain.clone()),
            canonical: message.to_user.clone(),
        };
        for _ in 0..super::ATTEMPTS {
            let mint = self.mint();
            let snapshot = self
                .store
                .send_snapshot(
                    sender.account,
                    EndpointKey::Id(sender.id),
                    recipient.clone(),
                )
                .await?;
            let (sender, recipient) = match parties(&snapshot) {
                Ok(parties) => parties,
                Err(problems) => {
                    // What was taken once is taken, though its recipient is gone meanwhile.
                    let taken = self
                        .store
                        .idempotent_result(message.sender.account, idempotency.clone())
                        .await?;
                    return match taken {
                        Some(Answer::Replayed(ids)) => Ok(exchange_of(&ids)),
                        _ => Err(Fault::Refused(problems)),
                    };
                }
            };
            let lifetime = match message.expires_s {
                Some(seconds) if seconds > 0 => {
                    Duration::from_secs(u64::from(seconds)).min(self.policy.message_expiry_max)
                }
                _ => self.policy.message_expiry,
            };
            let outgoing = Outgoing {
                origin: MessageOrigin::Sip,
                body: message.body.clone(),
                content_type: message.content_type.clone(),
                expires_at: mint.now.plus(lifetime),
            };
            let (mut commit, ids) = send(&mint, &snapshot, sender, recipient, &outgoing);
            commit.idempotency = Some(Idempotency {
                result: vec![ids.exchange.0],
                ..idempotency.clone()
            });
            match self.commit(commit).await? {
                Answer::Applied(_) => {
                    self.due.notify(usize::MAX);
                    return Ok(ids.exchange);
                }
                Answer::Replayed(ids) => {
                    return Ok(exchange_of(&ids));
                }
                Answer::KeyReused => return Err(key_reused()),
                Answer::Failed(_) => {}
            }
        }
        Err(contended().into())
    }

    /// Sends what a simulated endpoint answers. It speaks as itself, and only once for each message it got.
    pub(super) async fn message_echo(
        &self,
        from: EndpointId,
        dispatch: &Dispatch,
    ) -> Result<(), Fault> {
        for _ in 0..super::ATTEMPTS {
            let mint = self.mint();
            let snapshot = self
                .store
                .send_snapshot(
                    dispatch.account,
                    EndpointKey::Id(from),
                    EndpointKey::Id(dispatch.sender),
                )
                .await?;
            let (sender, recipient) = parties(&snapshot).map_err(Fault::Refused)?;
            if recipient.simulation.is_some() {
                // Two echoes would answer each other for ever.
                return Ok(());
            }
            let outgoing = Outgoing {
                // What a domain does not keep of its devices, it does not keep of an echo to them.
                origin: match dispatch.out_message {
                    Some(_) => MessageOrigin::Api,
                    None => MessageOrigin::Sip,
                },
                body: dispatch.body.clone(),
                content_type: dispatch.content_type.clone(),
                expires_at: mint.now.plus(self.policy.message_expiry),
            };
            let (mut commit, SentIds { exchange, .. }) =
                send(&mint, &snapshot, sender, recipient, &outgoing);
            commit.idempotency = Some(Idempotency {
                actor: from.0,
                operation: "echo",
                key: dispatch.id.to_string(),
                input: [0; 32],
                result: vec![exchange.0],
            });
            match self.commit(commit).await? {
                Answer::Failed(_) => {}
                Answer::Applied(_) | Answer::Replayed(_) | Answer::KeyReused => {
                    self.due.notify(usize::MAX);
                    return Ok(());
                }
            }
        }
        Err(contended().into())
    }

    /// Marks a received message read or unread. Scopes: `messages.update`, and `messages.read` because the message comes
    /// back. Marking it as it is changes nothing.
    ///
    /// # Errors
    /// `NotFound`; `Validation` when a sent message is to be unread.
    pub async fn message_mark(
        &self,
        caller: &Caller,
        id: MessageId,
        read: bool,
        key: Option<&str>,
    ) -> Result<Outcome<Message>, Fault> {
        caller.require(Scope::MessagesUpdate)?;
        caller.require(Scope::MessagesRead)?;
        let idempotency =
            self.idempotency(caller, "markMessage", key, &[&id.0, &[u8::from(read)]])?;
        let mut replayed = false;
        for _ in 0..super::ATTEMPTS {
            let message = self.message_seen(caller, id).await?;
            let Some(message) = message else {
                return Err(Problem::not_found("id", "message").into());
            };
            let endpoint = self
                .store
                .endpoint(caller.account, EndpointKey::Id(message.endpoint))
                .await?;
            let Found::One(endpoint) = endpoint else {
                return Err(Problem::not_found("id", "message").into());
            };
            if let Some(record) = &idempotency {
                match self
                    .store
                    .idempotent_result(caller.account, record.clone())
                    .await?
                {
                    Some(Answer::KeyReused) => return Err(key_reused()),
                    Some(_) => replayed = true,
                    None => {}
                }
            }
            let mut commit = mark(&self.mint(), &message, &endpoint, read)?;
            let unchanged = commit.writes.is_empty() && idempotency.is_none();
            if replayed || unchanged {
                return Ok(Outcome {
                    value: message,
                    replayed,
                });
            }
            commit.idempotency = idempotency.clone();
            match self.commit(commit).await? {
                Answer::Applied(_) => {
                    return Ok(Outcome {
                        value: Message { read, ..message },
                        replayed: false,
                    });
                }
                Answer::Replayed(_) => replayed = true,
                Answer::KeyReused => return Err(key_reused()),
                Answer::Failed(_) => {}
            }
        }
        Err(contended().into())
    }

    async fn message_seen(&self, caller: &Caller, id: MessageId) -> Result<Option<Message>, Error> {
        let found = self
            .store
            .messages_by_ids(caller.account, vec![id])
            .await?
            .into_iter()
            .next();
        Ok(found.filter(|message| caller.sees(message.endpoint)))
    }

    /// Returns a message. Scope: `messages.read`.
    ///
    /// # Errors
    /// `Forbidden`, `NotFound`.
    pub async fn message(&self, caller: &Caller, id: MessageId) -> Result<Message, Error> {
        caller.require(Scope::MessagesRead)?;
        self.message_seen(caller, id)
            .await?
            .ok_or_else(|| Error::not_found("message"))
    }

    /// Returns those of these messages that are there and seen, in any order. Scope: `messages.read`.
    ///
    /// # Errors
    /// `Forbidden`.
    pub async fn messages_by_ids(
        &self,
        caller: &Caller,
        ids: Vec<MessageId>,
    ) -> Result<Vec<Message>, Error> {
        caller.require(Scope::MessagesRead)?;
        let mut messages = self.store.messages_by_ids(caller.account, ids).await?;
        messages.retain(|message| caller.sees(message.endpoint));
        Ok(messages)
    }

    /// Lists messages, newest first, each with its cursor. Scope: `messages.read`.
    ///
    /// # Errors
    /// `Forbidden`; `Invalid` for a wrong page.
    pub async fn messages(
        &self,
        caller: &Caller,
        filter: MessageFilter,
        request: &PageRequest,
    ) -> Result<Page<(String, Message)>, Error> {
        caller.require(Scope::MessagesRead)?;
        no_nul(filter.peer.as_ref())?;
        let in_chat = filter.chat.is_some();
        let kind = if in_chat {
            ListKind::ChatMessages
        } else {
            ListKind::Messages
        };
        let cursors = PageCursors::new(&self.keys, caller.account, kind, format!("{filter:?}"));
        let slice = cursors.slice(request)?;
        let filter = MessageFilter {
            visible: visible(caller),
            ..filter
        };
        let page = self.store.messages(caller.account, filter, slice).await?;
        Ok(page.map(|message| {
            let position = if in_chat {
                message.seq
            } else {
                message.log_seq
            };
            let key = PageKey {
                position,
                tie: [0; 16],
            };
            (cursors.encode(key), message)
        }))
    }

    /// Counts messages. Scope: `messages.read`.
    ///
    /// # Errors
    /// `Forbidden`.
    pub async fn messages_count(
        &self,
        caller: &Caller,
        filter: MessageFilter,
    ) -> Result<i64, Error> {
        caller.require(Scope::MessagesRead)?;
        no_nul(filter.peer.as_ref())?;
        let filter = MessageFilter {
            visible: visible(caller),
            ..filter
        };
        self.store.messages_count(caller.account, filter).await
    }

    /// Returns the traces of messages that the caller was given: each attempt, oldest first within a message. Scope:
    /// `messages.read`.
    ///
    /// # Errors
    /// `Forbidden`.
    pub async fn deliveries(
        &self,
        caller: &Caller,
        exchanges: Vec<ExchangeId>,
    ) -> Result<Vec<Delivery>, Error> {
        caller.require(Scope::MessagesRead)?;
        self.store.deliveries(caller.account, exchanges).await
    }

    /// Returns the sender's copy of a message on its way, with the sender, if both are there.
    pub(super) async fn sent_message(
        &self,
        dispatch: &Dispatch,
    ) -> Result<Option<(Message, Endpoint)>, Error> {
        let Some(id) = dispatch.out_message else {
            return Ok(None);
        };
        let message = self
            .store
            .messages_by_ids(dispatch.account, vec![id])
            .await?
            .into_iter()
            .next();
        let Some(message) = message else {
            return Ok(None);
        };
        let sender = self
            .store
            .endpoint(dispatch.account, EndpointKey::Id(message.endpoint))
            .await?;
        Ok(match sender {
            Found::One(sender) => Some((message, sender)),
            Found::None | Found::Ambiguous => None,
        })
    }
}

/// A bound token speaks only as its endpoints; another sender reads as not there. It may write to anyone.
fn hide_foreign(caller: &Caller, snapshot: &mut SendSnapshot) {
    let hidden = match &snapshot.sender {
        Found::One(sender) => !caller.sees(sender.id),
        Found::Ambiguous => caller.endpoints.is_some(),
        Found::None => false,
    };
    if hidden {
        snapshot.sender = Found::None;
    }
}

/// Returns the sender's copy as a commit stores it, but for its numbers, which the store allots.
fn stored_message(commit: &Commit) -> Option<Message> {
    let new = commit.writes.iter().find_map(|write| match write {
        Write::MessageInsert(new) if new.direction == MessageDirection::Out => Some(new),
        _ => None,
    })?;
    Some(Message {
        id: new.id,
        account: commit.account,
        exchange: new.exchange,
        endpoint: new.endpoint,
        chat: new.chat,
        seq: 0,
        log_seq: 0,
        direction: new.direction,
        origin: new.origin,
        from: new.from.clone(),
        to: new.to.clone(),
        body: new.body.clone(),
        content_type: new.content_type.clone(),
        status: new.status,
        failure: None,
        read: new.read,
        created_at: commit.at,
        status_at: commit.at,
        expires_at: new.expires_at,
    })
}

fn exchange_of(ids: &[[u8; 16]]) -> ExchangeId {
    ExchangeId(ids.first().copied().unwrap_or_default())
}

/// Returns the problem codes of a refused device message that name its sender rather than its recipient.
#[must_use]
pub fn is_about_sender(problem: &Problem) -> bool {
    problem.code == ProblemCode::EndpointDisabled
        && problem.field.first().is_some_and(|f| f == "from")
}

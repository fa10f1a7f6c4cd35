//! Messages: sent through the API, listed and marked. Those that come in by SIP are [`super::received`]'s.

use super::notices::{News, Notice};
use super::settle::Decision;
use super::tokens::visible;
use super::{App, Outcome, contended, key_reused, no_nul};
use crate::access::{Caller, Scope};
use crate::address::Call;
use crate::chat::{Chat, ChatKey};
use crate::commit::{Answer, Commit, Idempotency, Write};
use crate::decide::Mint;
use crate::decide::delivery::canonical_address;
use crate::decide::messages::{
    Outgoing, Parties, SentIds, Side, ambiguous, body_problems, delete, mark,
    receipt as decide_receipt, send, sender,
};
use crate::decide::routing::{
    Destination, RouteFacts, Routed, SenderNumbers, call_back, enabled, is_dialable, is_e164,
    is_to_telephone, known_by, route, sender_number, transformed,
};
use crate::decide::variables::variables;
use crate::delivery::{Dispatch, Trace, Way, exchange_of_call};
use crate::endpoint::{Endpoint, EndpointType};
use crate::error::{Problem, ProblemDetail};
use crate::json::JsonObject;
use crate::message::{CallKey, Message, MessageDirection, MessageOrigin, Receipt, Variables};
use crate::page::{ListKind, Page, PageCursors, PageKey, PageRequest, RowCursor, Slice};
use crate::ports::store::{ChatFilter, EndpointKey, Found, MessageFilter, SendSnapshot};
use crate::search::Words;
use crate::{AccountId, ChatId, EndpointId, Error, ExchangeId, Fault, MessageId, Timestamp};
use futures_util::future::join_all;
use std::collections::HashMap;
use std::time::Duration;

/// A message to send through the API. What of its ends could not be read is refused with all else that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    /// The sender; the caller may speak only as its own endpoints and numbers. `None` only with a chat as target.
    pub from: Option<Result<EndpointKey, Problem>>,
    /// The recipient.
    pub to: Result<Recipient, Problem>,
    /// The text; `None` for an empty MESSAGE.
    pub body: Option<String>,
    /// Its media type.
    pub content_type: String,
    /// What goes with it as header fields; texts only, and none that a MESSAGE has of its own.
    pub variables: JsonObject,
    /// How long delivery is tried, in seconds.
    pub expires_in_s: Option<i64>,
}

/// Whom a message through the API is to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipient {
    /// The first of these readings of one address that leads somewhere; there is one at least.
    Call(Vec<Call>),
    /// The other side of a chat.
    Chat(ChatId),
}

impl From<Call> for Recipient {
    fn from(call: Call) -> Self {
        Recipient::Call(vec![call])
    }
}

impl From<EndpointKey> for Recipient {
    fn from(key: EndpointKey) -> Self {
        Call::from(key).into()
    }
}

/// How a message was routed, or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRoute {
    /// The endpoint of the account that gets it, or the trunk that it goes out by.
    pub target: RouteTarget,
    /// The E.164 number that was called, if one was.
    pub number: Option<String>,
    /// What was looked at, in order, in words for people.
    pub steps: Vec<String>,
}

/// Where a route ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteTarget {
    /// At the contacts of an endpoint.
    Endpoint(EndpointId),
    /// At the addresses of a trunk.
    Trunk(EndpointId),
}

/// What a send gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentMessage {
    /// The sender's copy; `None` in a dry run.
    pub message: Option<Message>,
    /// How it was or would be routed; `None` in a replay.
    pub route: Option<MessageRoute>,
}

/// What was read to decide on one message.
pub(super) struct Gathered {
    snapshot: SendSnapshot,
    /// The chat that the message is to, if it is to one.
    chat: Option<ChatKey>,
    call: Call,
    dialled: Option<String>,
    owner: Option<Endpoint>,
    trunks: Vec<Endpoint>,
}

/// Parties with the way between them.
pub(super) type Planned<'g> = (Parties<'g>, MessageRoute);

impl App {
    /// Sends a message, or, in a dry run, says how it would be routed. Scope: `messages.create`.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub async fn message_send(
        &self,
        caller: &Caller,
        new: &NewMessage,
        dry_run: bool,
        key: Option<&str>,
    ) -> Result<Outcome<SentMessage>, Fault> {
        caller.require(Scope::MessagesCreate)?;
        let input = format!("{new:?}");
        let idempotency = self.idempotency(caller, "sendMessage", key, &[input.as_bytes()])?;
        for _ in 0..super::ATTEMPTS {
            let decided = self.message_decide(caller, new, key).await;
            let (mut commit, ids, route) = match decided {
                Ok(decided) => decided,
                // The equal call that was done once may have rested on what is gone now.
                Err(Fault::Refused(problems)) if !dry_run => {
                    let ids = self
                        .replay_of(caller, idempotency.as_ref(), problems)
                        .await?;
                    return self.message_replayed(caller, &ids).await;
                }
                Err(fault) => return Err(fault),
            };
            if dry_run {
                return Ok(Outcome {
                    value: SentMessage {
                        message: None,
                        route: Some(route),
                    },
                    replayed: false,
                });
            }
            commit.idempotency = idempotency
                .clone()
                .map(|record| record.giving(ids.out_message.iter().map(|id| id.0).collect()));
            // What was stored is told from the commit: a read that fails afterwards must not say that nothing was done.
            let stored = stored_message(&commit);
            match self.commit(commit).await? {
                Answer::Applied(applied) => {
                    self.delivery_wake(ids);
                    let mut message =
                        stored.ok_or_else(|| Error::internal("a send kept no copy"))?;
                    (message.seq, message.log_seq) =
                        applied.message_seqs.first().copied().unwrap_or_default();
                    return Ok(Outcome {
                        value: SentMessage {
                            message: Some(message),
                            route: Some(route),
                        },
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

    /// Decides on a message through the API, or tells all that is wrong with it.
    async fn message_decide(
        &self,
        caller: &Caller,
        new: &NewMessage,
        key: Option<&str>,
    ) -> Result<(Commit, SentIds, MessageRoute), Fault> {
        let mint = self.mint();
        let given = match &new.from {
            Some(Ok(EndpointKey::Number(number))) => Some(number.as_str()),
            Some(Ok(EndpointKey::Id(_) | EndpointKey::Name { .. }) | Err(_)) | None => None,
        };
        let gathered = self.message_ends(caller, new).await?;
        let planned = match &gathered {
            Ok(gathered) => self.message_plan(&mint, gathered, given).await?,
            Err(problems) => Err(problems.clone()),
        };
        match (planned, self.outgoing(mint.now, caller, new, key)) {
            (Ok((parties, route)), Ok(outgoing)) => {
                let (commit, ids) = send(&mint, &parties, &outgoing);
                Ok((commit, ids, route))
            }
            (planned, outgoing) => {
                let mut problems = planned.err().unwrap_or_default();
                problems.extend(outgoing.err().unwrap_or_default());
                Err(Fault::Refused(problems))
            }
        }
    }

    /// Reads who sends a message through the API to whom. Of two ends of which one can't be read, the other is looked at all
    /// the same.
    async fn message_ends(
        &self,
        caller: &Caller,
        new: &NewMessage,
    ) -> Result<Result<Gathered, Vec<Problem>>, Error> {
        let account = caller.account;
        let to = match &new.to {
            Ok(Recipient::Call(calls)) => Ok((calls.clone(), None)),
            Ok(Recipient::Chat(id)) => match self.chat_seen(caller, *id, "to.chatId").await {
                Ok(chat) => Ok((vec![call_of_peer(&chat.key)], Some(chat.key))),
                Err(Fault::Refused(problems)) => Err(problems),
                Err(Fault::Error(error)) => return Err(error),
            },
            Err(problem) => Err(vec![problem.clone()]),
        };
        let is_to_chat = matches!(new.to, Ok(Recipient::Chat(_)));
        let from = match (&new.from, &to) {
            (Some(from), _) => from.clone(),
            (None, Ok((_, Some(chat)))) => Ok(EndpointKey::Id(chat.endpoint)),
            (None, Err(problems)) if is_to_chat => return Ok(Err(problems.clone())),
            (None, _) => Err(Problem::validation(
                "from",
                "Say who sends it; only a message to a chat can leave this out.",
            )),
        };
        match (from, to) {
            (Ok(from), Ok((calls, chat))) => {
                let mut gathered = self.message_gather(account, &from, &calls).await?;
                hide_foreign(caller, &mut gathered.snapshot);
                gathered.chat = chat;
                Ok(Ok(gathered))
            }
            (Ok(from), Err(mut problems)) => {
                let mut snapshot = self.store.send_snapshot(account, from, None).await?;
                hide_foreign(caller, &mut snapshot);
                problems.splice(0..0, sender(&snapshot.sender).err());
                Ok(Err(problems))
            }
            (Err(problem), Ok((calls, _))) => {
                let of_recipient = self.recipient_problem(account, &calls).await?;
                Ok(Err([problem].into_iter().chain(of_recipient).collect()))
            }
            (Err(problem), Err(mut problems)) => {
                problems.insert(0, problem);
                Ok(Err(problems))
            }
        }
    }

    /// Says what is wrong with a recipient, whoever sends.
    async fn recipient_problem(
        &self,
        account: AccountId,
        calls: &[Call],
    ) -> Result<Option<Problem>, Error> {
        for call in calls {
            let Some(key) = call.endpoint() else {
                return Ok(None);
            };
            match self.store.endpoint(account, key.clone()).await? {
                Found::One(endpoint) => return Ok(named_problem(call, Some(&endpoint))),
                Found::Ambiguous => return Ok(Some(ambiguous("to"))),
                Found::None => {}
            }
        }
        Ok(calls.first().and_then(|call| named_problem(call, None)))
    }

    /// Reads what a message is decided on, for the first of these calls that leads to an endpoint, or else for the first.
    pub(super) async fn message_gather(
        &self,
        account: AccountId,
        sender: &EndpointKey,
        calls: &[Call],
    ) -> Result<Gathered, Error> {
        let mut first = None;
        for call in calls {
            let key = call.endpoint().cloned();
            let snapshot = self
                .store
                .send_snapshot(account, sender.clone(), key)
                .await?;
            let leads = matches!(snapshot.recipient, Found::One(_) | Found::Ambiguous);
            if leads || first.is_none() {
                first = Some((snapshot, call.clone()));
            }
            if leads {
                break;
            }
        }
        let (snapshot, call) =
            first.ok_or_else(|| Error::internal("a message has no recipient"))?;
        let dialled = match &call {
            Call::Number(text) => Some(text.clone()),
            Call::Endpoint {
                user: Some(user), ..
            } if snapshot.is_own_domain && is_dialable(user) => Some(user.clone()),
            Call::Endpoint { .. } | Call::Through { .. } => None,
        };
        let mut gathered = Gathered {
            snapshot,
            chat: None,
            call,
            dialled,
            owner: None,
            trunks: Vec::new(),
        };
        if let (Found::One(sender), Found::None, Some(text)) = (
            &gathered.snapshot.sender,
            &gathered.snapshot.recipient,
            &gathered.dialled,
        ) && let Some(number) = transformed(sender, text).number
        {
            if is_e164(&number) {
                let key = EndpointKey::Number(number);
                if let Found::One(owner) = self.store.endpoint(account, key).await? {
                    gathered.owner = Some(owner);
                }
            }
            if gathered.owner.is_none() {
                gathered.trunks = self.store.trunks(account).await?;
            }
        }
        Ok(gathered)
    }

    /// Decides who is who, and where it goes. `given` is the sender's number that the message comes from; to a chat it comes
    /// from the number that the chat has, while that is the sender's.
    pub(super) async fn message_plan<'g>(
        &self,
        mint: &Mint<'_>,
        gathered: &'g Gathered,
        given: Option<&str>,
    ) -> Result<Result<Planned<'g>, Vec<Problem>>, Error> {
        let Gathered { snapshot, chat, .. } = gathered;
        let chat = chat.as_ref();
        let from = sender(&snapshot.sender).and_then(|sender| has_chat(sender, chat));
        let named = match &snapshot.recipient {
            Found::One(endpoint) => Some(endpoint),
            Found::Ambiguous => {
                let problems = from.err().into_iter().chain([ambiguous("to")]);
                return Ok(Err(problems.collect()));
            }
            Found::None => None,
        };
        let sender = match from {
            Ok(sender) => sender,
            Err(problem) => {
                // Without a sender a named recipient can still be looked at, so that all that is wrong comes at once.
                let mut problems = vec![problem];
                problems.extend(named_problem(&gathered.call, named));
                return Ok(Err(problems));
            }
        };
        let given = given.or(chat
            .map(|chat| chat.own_number.as_str())
            .filter(|own| sender.numbers.iter().any(|number| number == own)));
        let facts = RouteFacts {
            sender,
            named,
            dialled: gathered.dialled.as_deref(),
            owner: gathered.owner.as_ref(),
            trunks: &gathered.trunks,
        };
        let Routed {
            destination,
            number,
            steps,
        } = match route(&gathered.call, &facts) {
            Ok(routed) => routed,
            Err((problem, _)) => return Ok(Err(vec![problem])),
        };
        let (recipient, way, target) = match destination {
            Destination::Endpoint(endpoint) => {
                let target = RouteTarget::Endpoint(endpoint.id);
                (endpoint, Way::Contacts, target)
            }
            Destination::Trunk(trunk, way) => (trunk, way, RouteTarget::Trunk(trunk.id)),
        };
        let to = match (&number, &way) {
            (Some(number), _) => Side::of_number(number, &sender.domain_name),
            (None, Way::Contacts) => Side::of(recipient),
            (None, Way::Number(user)) => Side {
                address: format!("{user}@{}", recipient.domain_name),
                uri: format!("sip:{user}@{}", recipient.domain_name),
                number: None,
            },
            (None, Way::Uri(uri)) => Side {
                address: canonical_address(uri),
                uri: uri.clone(),
                number: None,
            },
        };
        let from = if way != Way::Contacts && (to.number.is_some() || is_to_telephone(&way)) {
            let account = self.store.numbers(sender.account, None).await?;
            let account: Vec<String> = account.into_iter().map(|(number, _)| number).collect();
            let latest = match chat {
                Some(chat) => Some(chat.own_number.clone()),
                None => self.latest_own_number(sender, &to.address).await?,
            };
            let profile = self.store.sip_profile(sender.account).await?;
            let numbers = SenderNumbers {
                given,
                account: &account,
                default_send_as: profile.default_send_as.as_deref(),
                latest: latest.as_deref(),
            };
            match sender_number(mint, sender, &numbers) {
                Ok(number) => Side::of_number(&number, &sender.domain_name),
                // Digits alone may be an extension of a PBX, which is written to from an address too.
                Err(_) if to.number.is_none() && !to.address.starts_with('+') => Side::of(sender),
                Err(problem) => return Ok(Err(vec![problem])),
            }
        } else {
            given.map_or_else(
                || Side::of(sender),
                |number| Side::of_number(number, &sender.domain_name),
            )
        };
        let mut parties = Parties {
            sender,
            from,
            recipient,
            to,
            way,
            sender_chat: snapshot.sender_chat,
            recipient_chat: snapshot.recipient_chat,
            record_internal: snapshot.record_internal,
        };
        if parties.from.number.is_some()
            || parties.to.number.is_some()
            || parties.way != Way::Contacts
        {
            let keys = parties.chat_keys();
            let [sender_chat, recipient_chat] = self.chats_with(sender.account, keys).await?;
            parties.sender_chat = sender_chat;
            parties.recipient_chat = recipient_chat;
        }
        let route = MessageRoute {
            target,
            number,
            steps,
        };
        Ok(Ok((parties, route)))
    }

    pub(super) async fn chats_with(
        &self,
        account: AccountId,
        keys: [ChatKey; 2],
    ) -> Result<[Option<ChatId>; 2], Error> {
        let found = self.store.chats_by_keys(account, keys.to_vec()).await?;
        Ok(keys.map(|key| {
            let chat = found.iter().find(|(known, _)| *known == key);
            chat.map(|(_, id)| *id)
        }))
    }

    /// Returns the own number of an endpoint's latest chat with a peer.
    async fn latest_own_number(
        &self,
        endpoint: &Endpoint,
        peer: &str,
    ) -> Result<Option<String>, Error> {
        let filter = ChatFilter {
            endpoint: Some(endpoint.id),
            peer: Some(peer.to_owned()),
            ..ChatFilter::default()
        };
        let slice = Slice {
            after: None,
            before: None,
            limit: 1,
            backward: false,
        };
        let page = self.store.chats(endpoint.account, filter, slice).await?;
        let latest = page.items.into_iter().next();
        Ok(latest.map(|chat| chat.key.own_number))
    }

    /// Wakes the delivery for a message that was stored and is due.
    pub(super) fn delivery_wake(&self, sent: SentIds) {
        if sent.is_due {
            self.due.notify(usize::MAX);
        }
    }

    fn outgoing(
        &self,
        now: Timestamp,
        caller: &Caller,
        new: &NewMessage,
        key: Option<&str>,
    ) -> Result<Outgoing, Vec<Problem>> {
        let mut problems = body_problems(new.body.as_deref(), &new.content_type);
        let variables = variables(&new.variables).unwrap_or_else(|found| {
            problems.extend(found);
            Variables::new()
        });
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
            variables,
            expires_at: now.plus(lifetime),
            waits: self.policy.store_and_forward,
            call_key: key.map(|key| CallKey {
                actor: caller.token.0,
                key: key.to_owned(),
            }),
        })
    }

    async fn message_replayed(
        &self,
        caller: &Caller,
        ids: &[[u8; 16]],
    ) -> Result<Outcome<SentMessage>, Fault> {
        let ids = ids.iter().copied().map(MessageId).collect();
        let found = self.store.messages_by_ids(caller.account, ids).await?;
        let message = found.into_iter().next();
        Ok(Outcome {
            value: SentMessage {
                message: Some(message.ok_or_else(|| Error::not_found("message"))?),
                route: None,
            },
            replayed: true,
        })
    }

    /// Sends what a simulated endpoint answers: as it was called, to whom it was called by, and only once for each message it
    /// got.
    pub(super) async fn message_echo(
        &self,
        from: EndpointId,
        dispatch: &Dispatch,
    ) -> Result<(), Fault> {
        let caller = EndpointKey::Id(dispatch.sender);
        let Found::One(caller) = self.store.endpoint(dispatch.account, caller).await? else {
            return Ok(());
        };
        let calls = [call_back(&caller, &dispatch.from)];
        let chat = ChatKey {
            endpoint: from,
            own_number: known_by(&dispatch.to),
            peer: known_by(&dispatch.from),
        };
        let from = EndpointKey::Id(from);
        for _ in 0..super::ATTEMPTS {
            let mint = self.mint();
            let mut gathered = self.message_gather(dispatch.account, &from, &calls).await?;
            gathered.chat = Some(chat.clone());
            let planned = self.message_plan(&mint, &gathered, None).await?;
            let (parties, _) = planned.map_err(Fault::Refused)?;
            if parties.recipient.simulation.is_some() {
                // Two echoes would answer each other for ever.
                return Ok(());
            }
            let outgoing = Outgoing {
                // What a domain does not keep of its devices, it does not keep of an echo to them.
                origin: match dispatch.out_message {
                    None if caller.kind != EndpointType::ThirdParty => MessageOrigin::Sip,
                    _ => MessageOrigin::Api,
                },
                body: dispatch.body.clone(),
                content_type: dispatch.content_type.clone(),
                variables: Variables::new(),
                expires_at: mint.now.plus(self.policy.message_expiry),
                waits: self.policy.store_and_forward,
                call_key: None,
            };
            let (mut commit, ids) = send(&mint, &parties, &outgoing);
            commit.idempotency = Some(Idempotency {
                actor: parties.sender.id.0,
                operation: "echo",
                key: dispatch.id.to_string(),
                input: [0; 32].into(),
                result: vec![ids.exchange.0],
            });
            match self.commit(commit).await? {
                Answer::Failed(_) => {}
                Answer::Applied(_) | Answer::Replayed(_) | Answer::KeyReused => {
                    self.delivery_wake(ids);
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
        let not_found = || Fault::from(Problem::not_found("id", "message"));
        let settled = self.settle(
            caller,
            idempotency,
            false,
            move || async move {
                let message = self.message_seen(caller, id).await?;
                let message = message.ok_or_else(not_found)?;
                let owner = EndpointKey::Id(message.endpoint);
                let Found::One(endpoint) = self.store.endpoint(caller.account, owner).await? else {
                    return Err(not_found());
                };
                Ok(Decision {
                    commit: mark(&self.mint(), &message, &endpoint, read)?,
                    gives: Vec::new(),
                    value: Message { read, ..message },
                })
            },
            move |_| async move {
                let message = self.message_seen(caller, id).await?;
                message.ok_or_else(not_found)
            },
        );
        Ok(settled.await?.into())
    }

    /// Deletes a message of one endpoint; the other side keeps its own, and one that is on its way is delivered. Scope:
    /// `messages.delete`. Gives its chat as it is afterwards.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn message_delete(
        &self,
        caller: &Caller,
        id: MessageId,
        key: Option<&str>,
    ) -> Result<Outcome<Option<Chat>>, Fault> {
        caller.require(Scope::MessagesDelete)?;
        let idempotency = self.idempotency(caller, "deleteMessage", key, &[&id.0])?;
        let settled = self.settle(
            caller,
            idempotency,
            false,
            move || async move {
                let not_found = || Fault::from(Problem::not_found("id", "message"));
                let message = self.message_seen(caller, id).await?;
                let message = message.ok_or_else(not_found)?;
                let commit = self.message_removal(&message).await?;
                Ok(Decision {
                    commit: Some(commit.ok_or_else(not_found)?),
                    gives: vec![message.chat.0],
                    value: Some(message.chat),
                })
            },
            move |chats| async move { Ok(chats.into_iter().next().map(ChatId)) },
        );
        let Outcome { value, replayed } = Outcome::from(settled.await?);
        // That only this look fails must not say that nothing was deleted.
        let chats = self
            .store
            .chats_by_ids(caller.account, value.into_iter().collect());
        Ok(Outcome {
            value: chats.await.ok().and_then(|found| found.into_iter().next()),
            replayed,
        })
    }

    /// Decides on deleting a message; `None` when its endpoint is gone.
    async fn message_removal(&self, message: &Message) -> Result<Option<Commit>, Error> {
        let owner = EndpointKey::Id(message.endpoint);
        Ok(match self.store.endpoint(message.account, owner).await? {
            Found::One(owner) => Some(delete(&self.mint(), message, &owner)),
            Found::None | Found::Ambiguous => None,
        })
    }

    /// Deletes some of the messages that are older than what is kept; gives whether more may be left.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) async fn messages_trim(&self) -> Result<bool, Error> {
        /// Messages a step: their commits are one batch.
        const STEP: u32 = 50;
        let Some(retention) = self.policy.message_retention else {
            return Ok(false);
        };
        let before = self.now().minus(retention);
        let old = self.store.messages_before(before, STEP).await?;
        let removals = old.iter().map(|message| async {
            match self.message_removal(message).await? {
                // One that was marked meanwhile has its turn in the next step.
                Some(commit) => self.commit(commit).await.map(|_| ()),
                None => Ok(()),
            }
        });
        for removed in join_all(removals).await {
            removed?;
        }
        Ok(u32::try_from(old.len()).unwrap_or(u32::MAX) >= STEP)
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
    ) -> Result<Page<(RowCursor, Message)>, Error> {
        caller.require(Scope::MessagesRead)?;
        no_nul(filter.peer.as_ref())?;
        filter.text.as_ref().map_or(Ok(()), Words::check_search)?;
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
        Ok(cursors.page(request, page, |message| PageKey {
            position: if in_chat {
                message.seq
            } else {
                message.log_seq
            },
            tie: [0; 16],
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
        filter.text.as_ref().map_or(Ok(()), Words::check_search)?;
        let filter = MessageFilter {
            visible: visible(caller),
            ..filter
        };
        self.store.messages_count(caller.account, filter).await
    }

    /// Returns the traces of messages that the caller was given. Scope: `messages.read`.
    ///
    /// # Errors
    /// `Forbidden`.
    pub async fn traces(
        &self,
        caller: &Caller,
        exchanges: Vec<ExchangeId>,
    ) -> Result<HashMap<ExchangeId, Trace>, Error> {
        caller.require(Scope::MessagesRead)?;
        let deliveries = self
            .store
            .deliveries(caller.account, exchanges.clone())
            .await?;
        let mut traces: HashMap<ExchangeId, Trace> = HashMap::new();
        for delivery in deliveries {
            let trace = traces.entry(delivery.exchange).or_default();
            trace.deliveries.push(delivery);
        }
        let now = self.now();
        for (exchange, due_at) in self.store.dispatches_due(caller.account, exchanges).await? {
            // What is due is in progress.
            traces.entry(exchange).or_default().next_attempt_at = Some(due_at.max(now));
        }
        Ok(traces)
    }

    /// Takes a report of a device on a message that it got, and tells it to the devices of the sender when one of them sent the
    /// message. What names no message that was sent to this endpoint changes nothing: the device could not mend it.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn receipt_receive(&self, device: &Endpoint, receipt: &Receipt) -> Result<(), Error> {
        let Some(exchange) = exchange_of_call(&receipt.message_id) else {
            return Ok(());
        };
        let trace = self
            .store
            .deliveries(device.account, vec![exchange])
            .await?;
        let delivery = trace
            .iter()
            .find(|d| d.call_id == receipt.message_id && d.recipient == device.id);
        let Some(id) = delivery.and_then(|delivery| delivery.message) else {
            return Ok(());
        };
        for _ in 0..super::ATTEMPTS {
            let Some((message, sender)) = self.sent_message_by_id(device.account, id).await? else {
                return Ok(());
            };
            let mint = self.mint();
            let disposition = receipt.disposition;
            let Some(commit) = decide_receipt(&mint, &message, &sender, disposition) else {
                return Ok(());
            };
            if matches!(self.commit(commit).await?, Answer::Applied(_)) {
                if let Some(call_id) = message.device_call_id() {
                    self.notices.send(Notice {
                        from: message.to.clone(),
                        from_name: device.caller_id.clone(),
                        to: message.from.clone(),
                        recipient: sender,
                        news: News::Report {
                            message_id: call_id.to_owned(),
                            sent_at: message.created_at,
                            disposition,
                        },
                    });
                }
                return Ok(());
            }
        }
        Err(contended())
    }

    /// Returns the sender's copy of a message on its way, with the sender, if both are there.
    pub(super) async fn sent_message(
        &self,
        dispatch: &Dispatch,
    ) -> Result<Option<(Message, Endpoint)>, Error> {
        match dispatch.out_message {
            Some(id) => self.sent_message_by_id(dispatch.account, id).await,
            None => Ok(None),
        }
    }

    /// Returns a message with the endpoint that keeps it, if both are there.
    async fn sent_message_by_id(
        &self,
        account: AccountId,
        id: MessageId,
    ) -> Result<Option<(Message, Endpoint)>, Error> {
        let message = self
            .store
            .messages_by_ids(account, vec![id])
            .await?
            .into_iter()
            .next();
        let Some(message) = message else {
            return Ok(None);
        };
        let sender = self
            .store
            .endpoint(account, EndpointKey::Id(message.endpoint))
            .await?;
        Ok(match sender {
            Found::One(sender) => Some((message, sender)),
            Found::None | Found::Ambiguous => None,
        })
    }
}

/// Returns whom a chat is with: an endpoint by its address, or a number.
fn call_of_peer(key: &ChatKey) -> Call {
    match key.peer.rsplit_once('@') {
        Some((canonical, domain)) => Call::Endpoint {
            key: EndpointKey::Name {
                domain: Some(domain.to_owned()),
                canonical: canonical.to_owned(),
            },
            user: None,
        },
        None => Call::Number(key.peer.clone()),
    }
}

/// Refuses a sender that is not the endpoint whose chat the message is to.
fn has_chat<'e>(sender: &'e Endpoint, chat: Option<&ChatKey>) -> Result<&'e Endpoint, Problem> {
    if chat.is_none_or(|chat| chat.endpoint == sender.id) {
        return Ok(sender);
    }
    Err(Problem::validation(
        "from",
        "A message to a chat is sent by the endpoint that has the chat.",
    ))
}

/// What is wrong with a named recipient, whoever sends; nothing when none is named.
fn named_problem(call: &Call, named: Option<&Endpoint>) -> Option<Problem> {
    match (call, named) {
        (Call::Number(_), _) | (Call::Endpoint { user: Some(_), .. }, None) => None,
        (_, Some(endpoint)) => enabled(endpoint).err(),
        (_, None) => Some(Problem::not_found("to", "endpoint")),
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
        from_number: new.from_number.clone(),
        to_number: new.to_number.clone(),
        body: new.body.clone(),
        content_type: new.content_type.clone(),
        variables: new.variables.clone(),
        status: new.status,
        failure: None,
        read: new.read,
        created_at: commit.at,
        status_at: commit.at,
        expires_at: new.expires_at,
        delivered_at: None,
        displayed_at: None,
        call_key: new.call_key.clone(),
    })
}

//! Applies a batch of commits in one transaction and answers each on its own; `sipgraph_core::commit` is the contract.
//!
//! The batch is decided in memory: what the preconditions need is loaded for all commits at once
//! ([`facts`]), the commits are gone through in order, and what they write is kept in rows
//! ([`plan`]) until one statement per table writes it. The facts of a row that the batch itself has
//! touched are stale: a commit that depends on it has the plan written and its facts loaded again.
//! The executors end the transaction, and they retry commits alone after a failed statement.

mod chats;
mod facts;
mod plan;

use std::collections::BTreeMap;

use diesel::QueryResult;
use sipgraph_core::{
    AccountId, ChatId, Error,
    commit::{Answer, Applied, Commit, CredentialsChange, NewMessage, Precondition, Write},
    event::{EventBody, EventType},
    message::MessageDirection,
};

use self::{
    facts::Facts,
    plan::{Plan, Touched},
};
use super::{
    Conn, FOR_UPDATE, Looks, Statements, insert_text, load_first, load_over,
    queries::{deliveries::hurry, instance},
    run_over,
};
use crate::{
    rows::{
        ChatCounters, ChatMarkRow, DispatchRow, EventRow, IdempotencyRow, MessageRow,
        MessageStatusChange, ids_to_bytes,
    },
    seal::{Seal, Sealing},
    types::Id,
};

/// What became of each commit: an answer, or an error that concerns it alone.
pub(crate) type Outcome = Result<Answer, Error>;

/// Applies commits in the order given. On SQLite the connection has an open transaction, on Postgres it is begun here; an error means
/// that it must be rolled back.
pub(crate) async fn apply(
    c: &mut Conn,
    sealing: &Sealing,
    commits: &[Commit],
) -> QueryResult<Vec<Outcome>> {
    let mut batch = Batch {
        accounts: facts::lock_accounts(c, commits).await?,
        seal: None,
        facts: Facts::default(),
        plan: Plan::default(),
        stale: Touched::default(),
    };
    if commits.iter().any(has_secrets) {
        // Held to the end: until then the key does not change, and nothing is sealed with one that was replaced.
        batch.seal = Some(instance::seal(c, sealing).await?);
    }
    batch.facts.load(c, commits).await?;
    let mut outcomes = Vec::with_capacity(commits.len());
    for commit in commits {
        outcomes.push(batch.step(c, commit).await?);
    }
    batch.write(c).await?;
    Ok(outcomes)
}

/// An account's counters, as of the commits so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct AccountState {
    head: i64,
    head_check: i64,
    last_external_id: i64,
}

struct Batch {
    accounts: BTreeMap<AccountId, AccountState>,
    /// What its secrets are sealed with, if it has any.
    seal: Option<Seal>,
    facts: Facts,
    plan: Plan,
    /// What the batch has touched since the facts were loaded.
    stale: Touched,
}

impl Batch {
    async fn step(&mut self, c: &mut Conn, commit: &Commit) -> QueryResult<Outcome> {
        let Some(&account) = self.accounts.get(&commit.account) else {
            return Ok(Err(Error::internal(
                "a commit names an account that is not there",
            )));
        };
        if let Some(call) = &commit.idempotency
            && let Some(answer) = self.facts.earlier_call(commit.account, call)
        {
            return Ok(Ok(answer));
        }
        if self.stale.has_read_of(commit) {
            self.write(c).await?;
            self.facts.load(c, std::slice::from_ref(commit)).await?;
        }
        if let Some(failed) = commit
            .preconditions
            .iter()
            .position(|precondition| !self.facts.holds(commit.account, precondition))
        {
            return Ok(Ok(Answer::Failed(failed)));
        }
        if let Err(error) = self.check_shape(commit) {
            return Ok(Err(error));
        }
        let mut state = account;
        let mut applied = Applied::default();
        for write in &commit.writes {
            self.add(c, commit, &mut state, &mut applied, write).await?;
        }
        self.tell(commit, &mut state)?;
        applied.head = state.head;
        if let Some(call) = &commit.idempotency {
            self.facts.remember_call(commit.account, call);
            self.plan.idempotency.push(IdempotencyRow {
                account_id: commit.account.into(),
                actor: Id(call.actor),
                operation: call.operation.to_owned(),
                call_key: call.key.clone(),
                input: call.input.stored.to_vec(),
                result: ids_to_bytes(call.result.iter().copied()),
                created_at: commit.at.into(),
            });
        }
        if state != account {
            self.accounts.insert(commit.account, state);
            self.plan.accounts.insert(commit.account);
        }
        Ok(Ok(Answer::Applied(applied)))
    }

    /// Refuses a commit that names a chat or an event which it does not bring along: a fault of core, found before it does harm.
    fn check_shape(&self, commit: &Commit) -> Result<(), Error> {
        let mut made: Vec<ChatId> = Vec::new();
        for write in &commit.writes {
            let chat = match write {
                Write::ChatInsert { id, .. } => {
                    made.push(*id);
                    continue;
                }
                Write::MessageInsert(message) => {
                    if message.first_event.max(message.activity_event) >= commit.events.len() {
                        return Err(Error::internal(
                            "a message names an event that is not in its commit",
                        ));
                    }
                    message.chat
                }
                Write::MessageReadSet { chat, .. } | Write::MessageDelete { chat, .. } => *chat,
                Write::ChatMark { id, .. } | Write::ChatClear(id) | Write::ChatDelete(id) => *id,
                _ => continue,
            };
            if !made.contains(&chat) && self.facts.chat(commit.account, chat).is_none() {
                return Err(Error::internal("a message names a chat that is not there"));
            }
        }
        Ok(())
    }

    /// Adds one write to the plan. When the plan already changes the same row, it is written first.
    async fn add(
        &mut self,
        c: &mut Conn,
        commit: &Commit,
        state: &mut AccountState,
        applied: &mut Applied,
        write: &Write,
    ) -> QueryResult<()> {
        // Deletions are written last: what takes the place of a deleted row must come behind them.
        let takes_a_place = matches!(write, Write::EndpointInsert { .. });
        if self.plan.touched.has_row_of(commit.account, write)
            || takes_a_place && self.plan.has_deletions()
        {
            self.write(c).await?;
        }
        let account = Id::from(commit.account);
        match write {
            Write::EndpointInsert {
                endpoint,
                credentials,
                secrets,
            } => {
                state.last_external_id += 1;
                let external_id = state.last_external_id;
                applied.external_ids.push(external_id);
                let seal = self.seal.as_ref();
                self.plan
                    .endpoint(seal, endpoint, external_id, credentials, secrets)?;
            }
            Write::EndpointUpdate {
                endpoint,
                credentials,
                secrets,
            } => {
                let seal = self.seal.as_ref();
                self.plan
                    .endpoint_update(seal, endpoint, credentials, secrets)?;
            }
            Write::ChatInsert { id, key } => {
                self.facts.chat_made(commit.account, *id, key, commit.at);
                self.plan.chat(account, *id, key, commit.at);
            }
            Write::MessageInsert(message) => {
                let numbers = self.count_message(commit, state.head, message);
                applied.message_seqs.push(numbers);
                self.plan.messages.push(MessageRow::new(
                    account,
                    commit.at,
                    message.clone(),
                    numbers.0,
                    numbers.1,
                )?);
            }
            Write::DispatchInsert(dispatch) => {
                self.plan
                    .dispatches
                    .push(DispatchRow::new(dispatch.clone())?);
            }
            Write::MessageStatusSet {
                id,
                status,
                failure,
            } => {
                let told = commit.events.iter().position(|event| {
                    event.subjects.message == Some(*id)
                        && event.body.event_type() == EventType::MessageOutStatus
                });
                self.plan.message_statuses.push(MessageStatusChange::new(
                    account,
                    commit.at,
                    (*id).into(),
                    *status,
                    failure.clone(),
                    told.map(|index| number(state.head, index)),
                ));
            }
            Write::MessageReadSet { id, chat, read } => {
                self.count_read(commit, *chat, *read);
                self.plan.message_read(account, *id, *read);
            }
            // All of them, so that the counter says how many they are, and the batch need not wait for their rows.
            Write::ChatMark {
                id,
                read: true,
                up_to_seq,
            } if self.is_all(commit.account, *id, *up_to_seq) => {
                let chat = self.facts.chat_mut(commit.account, *id);
                applied.counts.push(std::mem::take(&mut chat.unread_count));
                chat.updated_at = commit.at.into();
                // What a later commit of the batch puts into the chat stays unread.
                let mark = ChatMarkRow::new(commit.account, *id, true, chat.last_seq);
                self.plan.chats_counted.insert((commit.account, *id));
                self.plan.chat_marks.push(mark);
            }
            Write::MessageDelete { .. }
            | Write::ChatMark { .. }
            | Write::ChatClear(_)
            | Write::ChatDelete(_) => {
                self.write(c).await?;
                applied
                    .counts
                    .extend(self.change_chat(c, commit, state.head, write).await?);
            }
            Write::EndpointDelete(id) => {
                self.facts.endpoint_deleted(commit.account, *id);
                self.plan.row(account, commit.at, write);
            }
            Write::EndpointTokenInsert { token, ha1 } => {
                self.plan.endpoint_token(self.seal.as_ref(), token, ha1)?;
            }
            Write::DomainDelete(id) => {
                self.write(c).await?;
                plan::domain_delete(c, account, (*id).into()).await?;
            }
            other => self.plan.row(account, commit.at, other),
        }
        self.plan.touched.add(commit.account, write);
        self.stale.add(commit.account, write);
        Ok(())
    }

    /// Whether a chat has no message behind a `seq`.
    fn is_all(&self, account: AccountId, chat: ChatId, up_to_seq: i64) -> bool {
        let counters = self.facts.chat(account, chat);
        counters.is_some_and(|counters| counters.last_seq <= up_to_seq)
    }

    /// Counts a new message in its chat; gives its `seq` and `log_seq`.
    fn count_message(&mut self, commit: &Commit, head: i64, message: &NewMessage) -> (i64, i64) {
        let log_seq = number(head, message.first_event);
        let chat = self.facts.chat_mut(commit.account, message.chat);
        chat.last_seq += 1;
        chat.last_message_id = Some(message.id.into());
        chat.message_count += 1;
        chat.unread_count += i64::from(message.direction == MessageDirection::In && !message.read);
        chat.activity_seq = number(head, message.activity_event);
        chat.updated_at = commit.at.into();
        let seq = chat.last_seq;
        self.plan
            .chats_counted
            .insert((commit.account, message.chat));
        (seq, log_seq)
    }

    fn count_read(&mut self, commit: &Commit, chat_id: ChatId, read: bool) {
        let chat = self.facts.chat_mut(commit.account, chat_id);
        chat.unread_count += if read { -1 } else { 1 };
        chat.updated_at = commit.at.into();
        self.plan.chats_counted.insert((commit.account, chat_id));
    }

    /// Deletes a message, or changes all of a chat, once everything before it is written. Gives the number of messages that a
    /// change of a whole chat concerns.
    async fn change_chat(
        &mut self,
        c: &mut Conn,
        commit: &Commit,
        head: i64,
        write: &Write,
    ) -> QueryResult<Option<i64>> {
        let (account, at) = (commit.account, commit.at);
        let (id, count) = match write {
            Write::MessageDelete { id, chat } => {
                let was_unread = chats::message_delete(c, account, *id).await?;
                let newest = chats::newest(c, account, *chat).await?;
                let counters = self.facts.chat_mut(account, *chat);
                counters.message_count -= 1;
                counters.unread_count -= i64::from(was_unread);
                counters.last_message_id = newest;
                (*chat, None)
            }
            Write::ChatMark {
                id,
                read,
                up_to_seq,
            } => {
                let count = chats::mark(c, account, *id, *read, *up_to_seq).await?;
                let counters = self.facts.chat_mut(account, *id);
                counters.unread_count += if *read { -count } else { count };
                (*id, Some(count))
            }
            Write::ChatClear(id) => {
                let owner = self.facts.chat_owner(account, *id);
                let counters = self.facts.chat_mut(account, *id);
                if let Some(owner) = owner {
                    chats::clear(c, counters, owner, head, at).await?;
                }
                let count = counters.message_count;
                counters.message_count = 0;
                counters.unread_count = 0;
                counters.last_message_id = None;
                (*id, Some(count))
            }
            Write::ChatDelete(id) => {
                let Some((counters, owner)) = self.facts.chat_deleted(account, *id) else {
                    return Ok(None);
                };
                chats::clear(c, &counters, owner, head, at).await?;
                chats::delete(c, account, *id).await?;
                return Ok(Some(counters.message_count));
            }
            _ => return Ok(None),
        };
        self.facts.chat_mut(account, id).updated_at = at.into();
        self.plan.chats_counted.insert((account, id));
        Ok(count)
    }

    /// Numbers the commit's events and puts the counts after the commit into those that tell of a chat.
    fn tell(&mut self, commit: &Commit, state: &mut AccountState) -> QueryResult<()> {
        for event in &commit.events {
            let mut event = event.clone();
            if let EventBody::ChatUpdated {
                unread_count,
                last_message,
            } = &mut event.body
                && let Some(chat) = event
                    .subjects
                    .chat
                    .and_then(|chat| self.facts.chat(commit.account, chat))
            {
                *unread_count = chat.unread_count;
                *last_message = chat.last_message_id.map(Into::into);
            }
            state.head += 1;
            state.head_check = event.check.into();
            self.plan.events.push(EventRow::new(
                commit.account.into(),
                commit.at,
                state.head,
                event,
            )?);
        }
        Ok(())
    }

    /// Writes the plan: one statement a table.
    async fn write(&mut self, c: &mut Conn) -> QueryResult<()> {
        let plan = std::mem::take(&mut self.plan);
        let counters: Vec<ChatCounters> = plan
            .chats_counted
            .iter()
            .filter_map(|(account, chat)| self.facts.chat(*account, *chat).cloned())
            .collect();
        plan.write(c, &self.accounts, counters).await
    }
}

/// Whether a commit writes secrets, which are sealed.
fn has_secrets(commit: &Commit) -> bool {
    commit.writes.iter().any(|write| match write {
        Write::EndpointInsert {
            credentials,
            secrets,
            ..
        } => !credentials.is_empty() || !secrets.is_empty(),
        Write::EndpointUpdate {
            credentials,
            secrets,
            ..
        } => {
            matches!(credentials, CredentialsChange::Replace(values) if !values.is_empty())
                || secrets.iter().any(|(_, secret)| secret.is_some())
        }
        Write::EndpointTokenInsert { ha1, .. } => !ha1.is_empty(),
        _ => false,
    })
}

/// The number of an event of a commit, by its place there.
fn number(head: i64, index: usize) -> i64 {
    head.saturating_add(i64::try_from(index).unwrap_or(i64::MAX))
        .saturating_add(1)
}

/// The rows that a precondition reads and a write changes; both name them in the same words.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Row {
    Account(Id),
    SipProfile(Id),
    Domain(Id),
    Application(Id),
    Endpoint(Id),
    EndpointState(Id),
    Number(String),
    Message(Id),
    Dispatch(Id),
    Delivery(Id),
    Binding(Id),
    Token(Id),
    EndpointToken(Id),
    RegistrationFailure(Id),
    BanLift(String),
}

/// Sets of rows, of which a precondition asks whether they have something.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Set {
    DomainNames,
    ApplicationsOf(Id),
    /// The endpoints that refer to an application.
    UsersOf(Id),
    DomainsOf(Id),
    EndpointsOf(Id),
    /// The endpoints of an account.
    EndpointsIn(Id),
    /// Where an endpoint was deleted, of which neither the domain nor the name is said.
    Endpoints,
    EndpointName(Id, String),
    /// An endpoint with a name in any domain of an account.
    AccountName(Id, String),
    BindingsOf(Id),
    DispatchesTo(Id),
    /// Where messages were changed that are not named.
    Messages,
    EndpointTokensOf(Id),
}

/// The row and the sets that a precondition reads.
fn read_of(account: AccountId, precondition: &Precondition) -> (Option<Row>, Vec<Set>) {
    match precondition {
        Precondition::DomainNameFree(_) => (None, vec![Set::DomainNames]),
        Precondition::DomainsBelow(_) => (None, vec![Set::DomainsOf(account.into())]),
        Precondition::ApplicationsBelow(_) => (None, vec![Set::ApplicationsOf(account.into())]),
        Precondition::ApplicationAt(id, _) | Precondition::ApplicationThere(id) => {
            (Some(Row::Application((*id).into())), Vec::new())
        }
        Precondition::ApplicationUnused(id) => {
            (None, vec![Set::Endpoints, Set::UsersOf((*id).into())])
        }
        Precondition::DomainWithoutGateway(id) => (None, vec![Set::EndpointsOf((*id).into())]),
        Precondition::DomainAt(id, _) => (Some(Row::Domain((*id).into())), Vec::new()),
        Precondition::DomainEmpty(id) => {
            (None, vec![Set::Endpoints, Set::EndpointsOf((*id).into())])
        }
        Precondition::EndpointNameFree(domain, name) => (
            None,
            vec![
                Set::Endpoints,
                Set::EndpointName((*domain).into(), name.clone()),
            ],
        ),
        // Where an endpoint is deleted, its numbers become free.
        Precondition::NumberFor(number, _) => {
            (Some(Row::Number(number.clone())), vec![Set::Endpoints])
        }
        Precondition::NamesUnique(_) => (Some(Row::Account(account.into())), Vec::new()),
        Precondition::AccountNameFree(name) => (
            None,
            vec![
                Set::Endpoints,
                Set::DomainsOf(account.into()),
                Set::AccountName(account.into(), name.clone()),
            ],
        ),
        Precondition::NoNameTwice => (
            None,
            vec![
                Set::Endpoints,
                Set::DomainsOf(account.into()),
                Set::EndpointsIn(account.into()),
            ],
        ),
        Precondition::SipProfileAt(_) | Precondition::ProfileEncrypts(_) => {
            (Some(Row::SipProfile(account.into())), Vec::new())
        }
        Precondition::EndpointAt(id, _) => (Some(Row::Endpoint((*id).into())), Vec::new()),
        Precondition::BindingsAt(id, _) => (
            Some(Row::Endpoint((*id).into())),
            vec![Set::BindingsOf((*id).into())],
        ),
        Precondition::WaitingFor(id, _) => (None, vec![Set::DispatchesTo((*id).into())]),
        // Chats that the batch makes are known in memory.
        Precondition::ChatKeyFree(_) | Precondition::ChatThere(_) => (None, Vec::new()),
        Precondition::MessageAt(id, ..) => (Some(Row::Message((*id).into())), vec![Set::Messages]),
        Precondition::DispatchLeased(id, _) => (Some(Row::Dispatch((*id).into())), Vec::new()),
        Precondition::TokenLive(id) => (Some(Row::Token((*id).into())), Vec::new()),
        Precondition::EndpointTokenLive(id) => (Some(Row::EndpointToken((*id).into())), Vec::new()),
        Precondition::EndpointTokensLeft(endpoint, _) => {
            (None, vec![Set::EndpointTokensOf((*endpoint).into())])
        }
    }
}

/// The row and the sets that a write changes.
fn change_of(account: AccountId, write: &Write) -> (Option<Row>, Vec<Set>) {
    match write {
        Write::DomainInsert(domain) => (
            Some(Row::Domain(domain.id.into())),
            vec![Set::DomainNames, Set::DomainsOf(account.into())],
        ),
        Write::DomainUpdate { domain, .. } => {
            (Some(Row::Domain(domain.id.into())), vec![Set::DomainNames])
        }
        Write::DomainDeleteBegin(id) | Write::DomainDelete(id) => (
            Some(Row::Domain((*id).into())),
            vec![Set::DomainNames, Set::DomainsOf(account.into())],
        ),
        Write::NamesUniqueSet(_) => (Some(Row::Account(account.into())), Vec::new()),
        Write::SipProfilePut(_) | Write::SipProfileEnforced => {
            (Some(Row::SipProfile(account.into())), Vec::new())
        }
        Write::ApplicationInsert(application) => (
            Some(Row::Application(application.id.into())),
            vec![Set::ApplicationsOf(account.into())],
        ),
        Write::ApplicationUpdate(application) => {
            (Some(Row::Application(application.id.into())), Vec::new())
        }
        Write::ApplicationDelete(id) => (
            Some(Row::Application((*id).into())),
            vec![Set::ApplicationsOf(account.into())],
        ),
        Write::EndpointInsert { endpoint, .. } => (
            Some(Row::Endpoint(endpoint.id.into())),
            [
                Set::EndpointsOf(endpoint.domain.into()),
                Set::EndpointName(endpoint.domain.into(), endpoint.canonical_name.clone()),
                Set::EndpointsIn(account.into()),
                Set::AccountName(account.into(), endpoint.canonical_name.clone()),
            ]
            .into_iter()
            .chain(endpoint.application.map(|id| Set::UsersOf(id.into())))
            .collect(),
        ),
        // Which application it referred to before is not said: one that is no longer used may seem to be.
        Write::EndpointUpdate { endpoint, .. } => (
            Some(Row::Endpoint(endpoint.id.into())),
            Vec::from_iter(endpoint.application.map(|id| Set::UsersOf(id.into()))),
        ),
        Write::EndpointDelete(id) => (
            Some(Row::Endpoint((*id).into())),
            vec![Set::Endpoints, Set::BindingsOf((*id).into())],
        ),
        Write::NumberSet { number, .. } | Write::NumberRelease(number) => {
            (Some(Row::Number(number.clone())), Vec::new())
        }
        Write::EndpointStateSet(id, _) => (Some(Row::EndpointState((*id).into())), Vec::new()),
        Write::ChatInsert { .. } => (None, Vec::new()),
        Write::MessageInsert(message) => (Some(Row::Message(message.id.into())), Vec::new()),
        Write::MessageStatusSet { id, .. }
        | Write::MessageReadSet { id, .. }
        | Write::MessageReceiptSet { id, .. }
        | Write::MessageDelete { id, .. } => (Some(Row::Message((*id).into())), Vec::new()),
        Write::ChatMark { .. } | Write::ChatClear(_) | Write::ChatDelete(_) => {
            (None, vec![Set::Messages])
        }
        Write::DispatchInsert(dispatch) => (
            Some(Row::Dispatch(dispatch.id.into())),
            vec![Set::DispatchesTo(dispatch.recipient.into())],
        ),
        // Their times are in no precondition.
        Write::DispatchesWake(_) => (None, Vec::new()),
        Write::DispatchRelease { id, .. } | Write::DispatchTaken(id) => {
            (Some(Row::Dispatch((*id).into())), Vec::new())
        }
        Write::DispatchDelete { id, recipient } => (
            Some(Row::Dispatch((*id).into())),
            vec![Set::DispatchesTo((*recipient).into())],
        ),
        Write::DeliveryInsert(delivery) => (Some(Row::Delivery(delivery.id.into())), Vec::new()),
        Write::DeliveryFinish { id, .. } => (Some(Row::Delivery((*id).into())), Vec::new()),
        Write::BindingPut(binding) => (
            Some(Row::Binding(binding.id.into())),
            vec![Set::BindingsOf(binding.endpoint.into())],
        ),
        Write::BindingDelete(endpoint, id) => (
            Some(Row::Binding((*id).into())),
            vec![Set::BindingsOf((*endpoint).into())],
        ),
        Write::BindingQualify { id, .. } | Write::BindingRefresh { id, .. } => {
            (Some(Row::Binding((*id).into())), Vec::new())
        }
        Write::TokenInsert { token, .. } => (Some(Row::Token(token.id.into())), Vec::new()),
        Write::TokenRevoke(id) => (Some(Row::Token((*id).into())), Vec::new()),
        Write::EndpointTokenInsert { token, .. } => (
            Some(Row::EndpointToken(token.id.into())),
            vec![Set::EndpointTokensOf(token.endpoint.into())],
        ),
        // A count that is read before it is one too high at most.
        Write::EndpointTokenRevoke(id) => (Some(Row::EndpointToken((*id).into())), Vec::new()),
        Write::RegistrationFailurePut(failure) => (
            Some(Row::RegistrationFailure(failure.id.into())),
            Vec::new(),
        ),
        Write::BanLift(source) => (Some(Row::BanLift(source.to_string())), Vec::new()),
    }
}

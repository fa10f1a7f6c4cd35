//! The use cases: the only API of the front doors.
//!
//! Each checks what the caller may do, reads a snapshot, lets a pure function of [`crate::decide`] decide, and commits.
//! When a precondition no longer holds it reads and decides again, at most four times in all.

pub mod accounts;
pub mod applications;
pub mod chats;
pub mod composing;
pub mod deletions;
pub mod delivery;
pub mod domains;
mod endpoint_lists;
pub mod endpoint_tokens;
pub mod endpoints;
pub mod events;
pub mod messages;
pub mod notices;
pub mod presence;
pub mod received;
pub mod registrations;
pub mod search;
mod settle;
pub mod sip_profiles;
pub mod tokens;
pub mod transformations;
pub mod trunks;

use crate::access::Caller;
use crate::commit::{Answer, Applied, Commit, IDEMPOTENCY_KEPT, Idempotency, InputMac, Write};
use crate::decide::Mint;
use crate::decide::presence::RegistrationTimes;
use crate::defence::Limits;
use crate::error::Problem;
use crate::id::NodeId;
use crate::keyring::{KeyUse, Keyring};
use crate::ports::store::Totals;
use crate::ports::{Bus, Clock, Entropy, Store, Wake};
use crate::{Error, Fault, Timestamp};
use settle::{ATTEMPTS, contended, key_reused};
use std::sync::Arc;
use std::time::Duration;

/// The longest idempotency key, in bytes; part of an index.
const IDEMPOTENCY_KEY_MAX: usize = 255;

/// What the operator may set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// How long delivery is tried when the sender does not say.
    pub message_expiry: Duration,
    /// The longest that a sender may ask for.
    pub message_expiry_max: Duration,
    /// Bounds on how long a contact may be bound.
    pub registration: RegistrationTimes,
    /// Whether a message waits for a device of its recipient; if not, it fails when no device takes it at once.
    pub store_and_forward: bool,
    /// How long events carry the text of messages that no chat keeps.
    pub unrecorded_text: Duration,
    /// How long messages are kept; `None` for ever.
    pub message_retention: Option<Duration>,
    /// How long events are kept.
    pub event_retention: Duration,
    /// What sources cost that prove nobody.
    pub defence: Limits,
}

impl Default for Policy {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        Self {
            message_expiry: 3 * DAY,
            message_expiry_max: 7 * DAY,
            registration: RegistrationTimes {
                min_s: 60,
                max_s: 7200,
            },
            store_and_forward: true,
            unrecorded_text: DAY,
            message_retention: None,
            event_retention: 7 * DAY,
            defence: Limits::default(),
        }
    }
}

/// What an application is built of.
pub struct Parts {
    /// The truth.
    pub store: Arc<dyn Store>,
    /// What wakes readers.
    pub bus: Arc<dyn Bus>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The instance keys.
    pub keys: Keyring,
    /// What the operator may set.
    pub policy: Policy,
}

/// The application.
pub struct App {
    store: Arc<dyn Store>,
    bus: Arc<dyn Bus>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    keys: Keyring,
    policy: Policy,
    node: NodeId,
    started_at: Timestamp,
    logs: events::Logs,
    sessions: tokens::Sessions,
    checked: tokens::Checked,
    refreshes: presence::Refreshes,
    failures: registrations::Failures,
    queues: trunks::Queues,
    trunks: trunks::KnownTrunks,
    due: event_listener::Event,
    search_lag: search::Lag,
    composing: composing::Feeds,
    notices: notices::Notices,
}

/// What a use case that changes something gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome<T> {
    /// The object as it is now.
    pub value: T,
    /// Whether an earlier call with the same idempotency key did it.
    pub replayed: bool,
}

impl App {
    /// Builds the application. It does nothing by itself: the program calls its steps (`*_step`, `*_sweep`) in loops.
    #[must_use]
    pub fn new(parts: Parts) -> Arc<Self> {
        let Parts {
            store,
            bus,
            clock,
            entropy,
            keys,
            policy,
        } = parts;
        let started_at = clock.now();
        let node = Mint::new(started_at, &*entropy).id(NodeId::new);
        let failures = registrations::Failures::new(policy.defence.clone(), started_at);
        Arc::new(Self {
            store,
            bus,
            clock,
            entropy,
            keys,
            policy,
            node,
            started_at,
            logs: events::Logs::default(),
            sessions: tokens::Sessions::new(started_at),
            checked: tokens::Checked::default(),
            refreshes: presence::Refreshes::default(),
            failures,
            queues: trunks::Queues::default(),
            trunks: trunks::KnownTrunks::default(),
            due: event_listener::Event::new(),
            search_lag: search::Lag::default(),
            composing: composing::Feeds::default(),
            notices: notices::Notices::default(),
        })
    }

    /// Returns the id of this run, which names the owner of stream connections.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Returns the instance keys, from which the SIP edge derives its nonces.
    #[must_use]
    pub fn keys(&self) -> &Keyring {
        &self.keys
    }

    /// Returns the time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Returns what the operator set.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Returns how much there is, for metrics.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn totals(&self) -> Result<Totals, Error> {
        self.store.totals().await
    }

    /// Answers whether the database can be read.
    ///
    /// # Errors
    /// `Unavailable` when it can't.
    pub async fn ready(&self) -> Result<(), Error> {
        self.store.ready().await
    }

    /// Trims what is kept for a time only: messages, their traces, events, idempotency records, failures, ended tokens; in
    /// small steps. Gives whether more is left.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn retention_step(&self) -> Result<bool, Error> {
        /// Rows a step; small, so that no reader or writer waits long.
        const STEP: u32 = 500;
        let now = self.now();
        let events = self
            .store
            .events_trim(now.minus(self.policy.event_retention), STEP)
            .await?;
        let keys = self
            .store
            .idempotency_trim(now.minus(IDEMPOTENCY_KEPT), STEP)
            .await?;
        let failures = self
            .store
            .registration_failures_trim(now.minus(self.policy.event_retention), STEP)
            .await?;
        // So long a repeated call may ask for it.
        let tokens = self
            .store
            .endpoint_tokens_trim(now.minus(IDEMPOTENCY_KEPT), STEP)
            .await?;
        let traces = self
            .store
            .deliveries_trim(now.minus(self.policy.event_retention), STEP)
            .await?;
        let texts = self
            .store
            .unrecorded_blank(now.minus(self.policy.unrecorded_text), STEP)
            .await?;
        let most = [events, keys, failures, tokens, traces, texts]
            .into_iter()
            .max();
        let more_messages = self.messages_trim().await?;
        Ok(more_messages || most.unwrap_or(0) >= u64::from(STEP))
    }

    fn mint(&self) -> Mint<'_> {
        Mint::new(self.clock.now(), &*self.entropy)
    }

    /// Commits and wakes the readers of the account's log.
    async fn commit(&self, commit: Commit) -> Result<Answer, Error> {
        let account = commit.account;
        let revokes = commit
            .writes
            .iter()
            .any(|write| matches!(write, Write::TokenRevoke(_)));
        let answer = self.store.commit(commit).await;
        if revokes {
            // Whatever the answer: it may be stored although the answer was lost.
            self.checked.forget();
        }
        let answer = answer?;
        if let Answer::Applied(Applied { head, .. }) = &answer {
            self.bus.wake(Wake {
                account,
                seq: *head,
            });
        }
        Ok(answer)
    }

    /// Makes the idempotency record of a call, if it has a key. The MAC covers the input's parts.
    fn idempotency(
        &self,
        caller: &Caller,
        operation: &'static str,
        key: Option<&str>,
        input: &[&[u8]],
    ) -> Result<Option<Idempotency>, Fault> {
        let Some(key) = key else { return Ok(None) };
        if key.is_empty() || key.len() > IDEMPOTENCY_KEY_MAX || key.contains('\0') {
            return Err(Problem::validation(
                "idempotencyKey",
                format!("An idempotency key has 1 to {IDEMPOTENCY_KEY_MAX} bytes and no NUL."),
            )
            .into());
        }
        Ok(Some(Idempotency {
            actor: caller.token.0,
            operation,
            key: key.to_owned(),
            input: InputMac {
                stored: self.keys.mac(KeyUse::Idempotency, input),
                others: self.keys.other_macs(KeyUse::Idempotency, input),
            },
            result: Vec::new(),
        }))
    }
}

/// Refuses a filter's text that no database takes.
fn no_nul(text: Option<&String>) -> Result<(), Error> {
    if text.is_some_and(|text| text.contains('\0')) {
        return Err(Error::invalid("A filter can't contain the character NUL."));
    }
    Ok(())
}

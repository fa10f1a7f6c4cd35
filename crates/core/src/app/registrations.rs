//! Failed registrations: who may try at all, what is kept of a failure, and how a source is let in again.
//!
//! Failures are written behind, once a second, one row for each source, address and reason: a scan then costs a few
//! statements a second, however fast it is.

use super::tokens::visible;
use super::{App, Outcome, key_reused};
use crate::access::{Caller, Scope};
use crate::commit::{Answer, Commit, Write};
use crate::decide::Mint;
use crate::defence::{Admission, Consequence, Defence, Limits, Source, Target};
use crate::error::Problem;
use crate::event::{EventBody, Subjects};
use crate::page::{ListKind, Page, PageCursors, PageKey, PageRequest, RowCursor};
use crate::ports::store::RegistrationFailureFilter;
use crate::registration_failure::{
    AOR_MAX, FailedRegistration, FailureReason, KEPT_MAX, RegistrationFailure,
};
use crate::{AccountId, DomainId, Error, Fault, RegistrationFailureId, Timestamp};
use sha2::{Digest as _, Sha256};
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The most kinds of failures that wait to be written; more within one second are counted in the metrics only.
const WAITING_MAX: usize = 4096;
/// The most events of failures that an account gets in [`EVENT_PERIOD`]: enough for people, too few to fill a log.
const EVENTS_MAX: u32 = 60;
/// How often a failure of the same kind is an event again, and the time that [`EVENTS_MAX`] counts for.
const EVENT_PERIOD: Duration = Duration::from_secs(60);

/// What one row stands for.
type Kind = (AccountId, Source, String, FailureReason);

/// What this node knows of failures.
pub(super) struct Failures {
    defence: Mutex<Defence>,
    waiting: Mutex<HashMap<Kind, RegistrationFailure>>,
    told: Mutex<Told>,
    lifts: Mutex<Lifts>,
}

/// Which failures became events in the present period.
#[derive(Default)]
struct Told {
    since: Timestamp,
    kinds: HashSet<Kind>,
    of_account: HashMap<AccountId, u32>,
}

/// Which lifts of other nodes were done here.
struct Lifts {
    looked_at: Timestamp,
    done: HashMap<String, Timestamp>,
}

impl Failures {
    pub(super) fn new(limits: Limits, now: Timestamp) -> Self {
        Self {
            defence: Mutex::new(Defence::new(limits)),
            waiting: Mutex::default(),
            told: Mutex::default(),
            lifts: Mutex::new(Lifts {
                looked_at: now,
                done: HashMap::new(),
            }),
        }
    }

    fn defence(&self) -> MutexGuard<'_, Defence> {
        self.defence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Kind, RegistrationFailure>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    /// Returns whether a failure is to be an event, and notes it.
    fn tells(&mut self, kind: &Kind, now: Timestamp) -> bool {
        if now.since(self.since) >= EVENT_PERIOD {
            *self = Self {
                since: now,
                ..Self::default()
            };
        }
        let count = self.of_account.entry(kind.0).or_default();
        if *count >= EVENTS_MAX || self.kinds.contains(kind) {
            return false;
        }
        *count += 1;
        self.kinds.insert(kind.clone())
    }
}

/// Names whom a source tries to be, for the defence: the same for an endpoint that is there and one that is not.
#[must_use]
pub fn target(domain: DomainId, user: &str) -> Target {
    let hash = Sha256::new()
        .chain_update(domain.0)
        .chain_update(user)
        .finalize();
    let mut target = [0; 16];
    target.copy_from_slice(&hash[..16]);
    target
}

impl App {
    /// Takes a request of a source before anything else is done with it.
    pub fn source_admit(&self, source: Source) -> Admission {
        self.failures.defence().admit(source, Instant::now())
    }

    /// Gives back what a request took that turned out to be somebody's.
    pub fn source_refund(&self, source: Source) {
        self.failures.defence().refund(source, Instant::now());
    }

    /// Asks before a password is tried.
    ///
    /// # Errors
    /// How long the source is to wait.
    pub fn password_try(&self, source: Source, target: Target) -> Result<(), Duration> {
        self.failures
            .defence()
            .try_password(source, target, Instant::now())
    }

    /// Counts a failure of a source that is proven to be where it says.
    pub fn password_failed(&self, source: Source, target: Target) -> Consequence {
        self.failures
            .defence()
            .failed(source, target, Instant::now())
    }

    /// Notes that a source logged in.
    pub fn password_succeeded(&self, source: Source, target: Target) {
        self.failures
            .defence()
            .succeeded(source, target, Instant::now());
    }

    /// Returns how many sources are banned on this node.
    #[must_use]
    pub fn bans_count(&self) -> usize {
        self.failures.defence().bans(Instant::now())
    }

    /// Notes a failed registration; it is readable within two seconds.
    pub fn registration_failed(&self, mut failed: FailedRegistration) {
        failed.aor = printable(&failed.aor);
        let kind = (
            failed.account,
            failed.source,
            failed.aor.clone(),
            failed.reason,
        );
        let mint = self.mint();
        let mut waiting = self.failures.waiting();
        if let Some(known) = waiting.get_mut(&kind) {
            known.count += 1;
            known.at = mint.now;
            known.failed = failed;
        } else if waiting.len() < WAITING_MAX {
            let failure = RegistrationFailure {
                id: mint.id(RegistrationFailureId::new),
                at: mint.now,
                count: 1,
                failed,
            };
            waiting.insert(kind, failure);
        }
    }

    /// Writes the failures that wait. Called once a second and at the end.
    ///
    /// # Errors
    /// Those of the store; what is written is forgotten here, the rest waits on.
    pub async fn registration_failures_flush(&self) -> Result<(), Error> {
        let waiting = std::mem::take(&mut *self.failures.waiting());
        let mut accounts: HashMap<AccountId, Vec<(Kind, RegistrationFailure)>> = HashMap::new();
        for (kind, failure) in waiting {
            accounts.entry(kind.0).or_default().push((kind, failure));
        }
        let mut result = Ok(());
        for (account, mut failures) in accounts {
            failures.sort_by_key(|(_, failure)| failure.at);
            let commit = self.failures_commit(account, &failures);
            let written = match self.commit(commit).await {
                Ok(_) => {
                    self.store
                        .registration_failures_cap(account, KEPT_MAX)
                        .await
                }
                Err(error) => {
                    self.failures_wait_on(failures);
                    Err(error)
                }
            };
            result = result.and(written);
        }
        result
    }

    fn failures_commit(
        &self,
        account: AccountId,
        failures: &[(Kind, RegistrationFailure)],
    ) -> Commit {
        let mint = self.mint();
        let mut told = self
            .failures
            .told
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let events = failures
            .iter()
            .filter(|(kind, _)| told.tells(kind, mint.now))
            .map(|(_, failure)| event(&mint, &failure.failed));
        let writes = failures
            .iter()
            .map(|(_, failure)| Write::RegistrationFailurePut(failure.clone()));
        Commit {
            events: events.collect(),
            writes: writes.collect(),
            ..Commit::empty(account, mint.now)
        }
    }

    /// Puts back what could not be written.
    fn failures_wait_on(&self, failures: Vec<(Kind, RegistrationFailure)>) {
        let mut waiting = self.failures.waiting();
        for (kind, failure) in failures {
            if let Some(newer) = waiting.get_mut(&kind) {
                newer.count += failure.count;
            } else if waiting.len() < WAITING_MAX {
                waiting.insert(kind, failure);
            }
        }
    }

    /// Lists failed registrations, the latest first; those of the last second may be missing. Scope:
    /// `registrations.read`. A bound token sees those of its endpoints.
    ///
    /// # Errors
    /// `Forbidden`; `Invalid` for a wrong page.
    pub async fn registration_failures(
        &self,
        caller: &Caller,
        filter: &RegistrationFailureFilter,
        request: &PageRequest,
    ) -> Result<Page<(RowCursor, RegistrationFailure)>, Error> {
        caller.require(Scope::RegistrationsRead)?;
        let kind = ListKind::RegistrationFailures;
        let cursors = PageCursors::new(&self.keys, caller.account, kind, format!("{filter:?}"));
        let slice = cursors.slice(request)?;
        let filter = RegistrationFailureFilter {
            visible: visible(caller),
            ..filter.clone()
        };
        let page = self
            .store
            .registration_failures(caller.account, filter, slice)
            .await?;
        Ok(cursors.page(request, page, |failure| PageKey {
            position: failure.at.0,
            tie: failure.id.0,
        }))
    }

    /// Lets a banned or slowed source in at once, on every node within two seconds. Scope: `bans.manage`; not for a
    /// token bound to endpoints. Only a source that failed on this account's addresses: others are not its business.
    ///
    /// # Errors
    /// `Validation` for what is no address; `NotFound` for a source that did not fail here.
    pub async fn ban_lift(
        &self,
        caller: &Caller,
        source: &str,
        key: Option<&str>,
    ) -> Result<Outcome<Source>, Fault> {
        caller.require(Scope::BansManage)?;
        let idempotency = self.idempotency(caller, "liftBan", key, &[source.as_bytes()])?;
        let Some(source) = Source::parse(source) else {
            let message =
                "A source is an IPv4 address, an IPv6 address or an IPv6 network of 64 bits.";
            return Err(Problem::validation("source", message).into());
        };
        let done = |replayed| {
            Ok(Outcome {
                value: source,
                replayed,
            })
        };
        if caller.endpoints.is_some() || !self.has_failed(caller.account, source).await? {
            let unknown = vec![Problem::not_found(
                "source",
                "source of failed registrations",
            )];
            self.replay_of(caller, idempotency.as_ref(), unknown)
                .await?;
            return done(true);
        }
        let commit = Commit {
            account: caller.account,
            at: self.now(),
            idempotency,
            preconditions: Vec::new(),
            writes: vec![Write::BanLift(source)],
            events: Vec::new(),
        };
        match self.commit(commit).await? {
            Answer::Replayed(_) => done(true),
            Answer::KeyReused => Err(key_reused()),
            Answer::Applied(_) | Answer::Failed(_) => {
                self.failures.defence().lift(source);
                tracing::info!(%source, account = %caller.account, "a ban was lifted");
                done(false)
            }
        }
    }

    async fn has_failed(&self, account: AccountId, source: Source) -> Result<bool, Error> {
        let is_waiting = |(of, from, ..): &Kind| *of == account && *from == source;
        if self.failures.waiting().keys().any(is_waiting) {
            return Ok(true);
        }
        let filter = RegistrationFailureFilter {
            source: Some(source),
            ..RegistrationFailureFilter::default()
        };
        let cursors = PageCursors::new(
            &self.keys,
            account,
            ListKind::RegistrationFailures,
            String::new(),
        );
        let one = cursors.slice(&PageRequest {
            first: Some(1),
            ..PageRequest::default()
        })?;
        let page = self
            .store
            .registration_failures(account, filter, one)
            .await?;
        Ok(!page.items.is_empty())
    }

    /// Lets in the sources that other nodes let in since the last sweep. Called once a second.
    ///
    /// # Errors
    /// Those of the store; the next sweep covers the time.
    pub async fn bans_sweep(&self) -> Result<(), Error> {
        /// A lift is stamped when it is decided and seen when it is committed; this covers the time between.
        const OVERLAP: Duration = Duration::from_secs(10);
        let now = self.now();
        let since = {
            let lifts = self.failures.lifts.lock();
            lifts.unwrap_or_else(PoisonError::into_inner).looked_at
        };
        let found = self.store.ban_lifts_since(since.minus(OVERLAP)).await?;
        let mut lifts = self
            .failures
            .lifts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        lifts.looked_at = now;
        let keep_from = since.minus(2 * OVERLAP);
        lifts.done.retain(|_, at| *at >= keep_from);
        for (source, at) in found {
            // A lift ends the bans from before it, once.
            if lifts.done.get(&source).is_none_or(|done| *done < at)
                && let Some(banned) = Source::parse(&source)
            {
                self.failures.defence().lift(banned);
                lifts.done.insert(source, at);
            }
        }
        Ok(())
    }
}

fn event(mint: &Mint<'_>, failed: &FailedRegistration) -> crate::commit::NewEvent {
    let subjects = Subjects {
        endpoint: failed.endpoint,
        domain: Some(failed.domain),
        ..Subjects::default()
    };
    let body = EventBody::RegistrationFailed {
        aor: failed.aor.clone(),
        source: failed.source.to_string(),
        reason: failed.reason,
    };
    mint.event(subjects, body)
}

/// Keeps what a stranger says fit for storage and display.
fn printable(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(AOR_MAX)
        .collect()
}

//! How a call that changes something ends: read, decided and committed, again when others came first, or replayed by its
//! idempotency key. It must not know what is changed.

use super::{App, Outcome};
use crate::access::Caller;
use crate::commit::{Answer, Applied, Commit, Idempotency};
use crate::error::{Problem, ProblemCode};
use crate::{Error, ErrorKind, Fault};

/// How often a use case decides before it gives up: once, and three times again.
pub(super) const ATTEMPTS: usize = 4;

/// What a use case decided on what it read.
pub(super) struct Decision<T> {
    /// What to commit, without its idempotency record; `None` for a change of nothing, which only uses the key up.
    pub(super) commit: Option<Commit>,
    /// The ids that a call with the same idempotency key is answered from.
    pub(super) gives: Vec<[u8; 16]>,
    /// The answer once it is stored.
    pub(super) value: T,
}

/// How a call ended.
pub(super) enum Settled<T> {
    /// Nothing was changed.
    Nothing(T),
    /// It was stored, with what the store gave.
    Applied(T, Applied),
    /// An earlier call with the same idempotency key did it.
    Replayed(T),
}

impl<T> From<Settled<T>> for Outcome<T> {
    fn from(settled: Settled<T>) -> Self {
        let (value, replayed) = match settled {
            Settled::Nothing(value) | Settled::Applied(value, _) => (value, false),
            Settled::Replayed(value) => (value, true),
        };
        Self { value, replayed }
    }
}

impl App {
    /// Decides and commits until the commit applies, at most four times. A call whose key did it earlier is answered by
    /// `replay` from the ids that the earlier call gave. A `dry_run` ends with the first decision, and neither asks for its
    /// key nor uses it up.
    ///
    /// # Errors
    /// Those of `decide` and `replay`; `IdempotencyKeyReused`; `Overloaded` when others came first each time.
    // Closures that give futures: the future of an `AsyncFn` can't be asked to be `Send`.
    pub(super) async fn settle<T, D, R>(
        &self,
        caller: &Caller,
        idempotency: Option<Idempotency>,
        dry_run: bool,
        decide: impl Fn() -> D,
        replay: impl Fn(Vec<[u8; 16]>) -> R,
    ) -> Result<Settled<T>, Fault>
    where
        D: Future<Output = Result<Decision<T>, Fault>>,
        R: Future<Output = Result<T, Fault>>,
    {
        let idempotency = idempotency.filter(|_| !dry_run);
        for _ in 0..ATTEMPTS {
            if let Some(ids) = self.replayed(caller, idempotency.as_ref()).await? {
                return Ok(Settled::Replayed(replay(ids).await?));
            }
            let Decision {
                commit,
                gives,
                value,
            } = match decide().await {
                Ok(decision) if dry_run => return Ok(Settled::Nothing(decision.value)),
                Ok(decision) => decision,
                // An equal call may have come between the look at the key and the decision.
                Err(Fault::Refused(problems)) => {
                    let ids = self
                        .replay_of(caller, idempotency.as_ref(), problems)
                        .await?;
                    return Ok(Settled::Replayed(replay(ids).await?));
                }
                Err(fault) => return Err(fault),
            };
            let changes = commit.is_some();
            let mut commit = match commit {
                Some(commit) => commit,
                None if idempotency.is_none() => return Ok(Settled::Nothing(value)),
                None => Commit::empty(caller.account, self.mint().now),
            };
            commit.idempotency = idempotency.clone().map(|record| record.giving(gives));
            match self.commit(commit).await? {
                Answer::Applied(applied) if changes => return Ok(Settled::Applied(value, applied)),
                Answer::Applied(_) => return Ok(Settled::Nothing(value)),
                Answer::Replayed(ids) => return Ok(Settled::Replayed(replay(ids).await?)),
                Answer::KeyReused => return Err(key_reused()),
                Answer::Failed(_) => {}
            }
        }
        Err(contended().into())
    }

    /// Decides and commits until the commit applies, at most four times, for the operator, who has no key. Without a commit
    /// there is nothing to store.
    ///
    /// # Errors
    /// Those of `decide`; `Overloaded` when others came first each time.
    pub(super) async fn operate<T, D>(&self, decide: impl Fn() -> D) -> Result<T, Fault>
    where
        D: Future<Output = Result<(Option<Commit>, T), Fault>>,
    {
        for _ in 0..ATTEMPTS {
            let (commit, value) = decide().await?;
            let Some(commit) = commit else {
                return Ok(value);
            };
            if matches!(self.commit(commit).await?, Answer::Applied(_)) {
                return Ok(value);
            }
        }
        Err(contended().into())
    }

    /// Says what a call's key already did: the ids of that call, or nothing.
    pub(super) async fn replayed(
        &self,
        caller: &Caller,
        idempotency: Option<&Idempotency>,
    ) -> Result<Option<Vec<[u8; 16]>>, Fault> {
        let Some(record) = idempotency else {
            return Ok(None);
        };
        let earlier = self
            .store
            .idempotent_result(caller.account, record.clone())
            .await?;
        match earlier {
            Some(Answer::Replayed(ids)) => Ok(Some(ids)),
            Some(Answer::KeyReused) => Err(key_reused()),
            Some(Answer::Applied(_) | Answer::Failed(_)) | None => Ok(None),
        }
    }

    /// Says what a refused call's key already did, so that a call that can't be done twice is still repeatable.
    pub(super) async fn replay_of(
        &self,
        caller: &Caller,
        idempotency: Option<&Idempotency>,
        problems: Vec<Problem>,
    ) -> Result<Vec<[u8; 16]>, Fault> {
        match self.replayed(caller, idempotency).await? {
            Some(ids) => Ok(ids),
            None => Err(Fault::Refused(problems)),
        }
    }
}

pub(super) fn key_reused() -> Fault {
    Problem::new(
        ProblemCode::IdempotencyKeyReused,
        "idempotencyKey",
        "This idempotency key was used with another input.",
    )
    .into()
}

/// The answer when others changed the same thing at each attempt.
pub(super) fn contended() -> Error {
    Error::new(
        ErrorKind::Overloaded,
        "Others are changing the same object; try again.",
    )
}

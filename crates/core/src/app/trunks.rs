//! Trunks: which there are, and the messages that go out by them, one address at a time and no faster than the trunk's limit.

use super::App;
use super::delivery::{QUEUE_WAIT, attempt_of};
use crate::commit::{Answer, EndpointSecret};
use crate::decide::delivery::{close, release};
use crate::decide::trunks::{
    Arrival, CameBy, TrunkAttempt, TrunkPlan, attempts_seen, came_by, inward_names, next_at,
    numbers_called, of_domain, plan, standing_at, start,
};
use crate::delivery::{Delivery, DeliveryOutcome, Dispatch};
use crate::endpoint::{Address, Endpoint};
use crate::keyring::Secret;
use crate::ports::{
    Attempt, AttemptResult, AttemptTarget, Pace, PortFuture, TRUNK_WAIT_MAX, TrunkAddress,
};
use crate::{AccountId, EndpointId, Error, Timestamp};
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The most messages of one trunk that are on their way at once, whatever its limit: rounds are common to all recipients.
const ON_THEIR_WAY_MAX: u64 = 256;

/// How many messages each trunk with a limit has on its way, on this node: what goes out in [`TRUNK_WAIT_MAX`], so that none
/// waits longer for its turn, and as many as go out while the first waits in vain for its answer. Others wait in the store.
#[derive(Default)]
pub(super) struct Queues(Arc<Mutex<HashMap<EndpointId, u64>>>);

impl Queues {
    /// Takes a place among the messages to a trunk; says how long to wait before asking again when there is none.
    fn enter(&self, pace: Pace) -> Result<Queued, Duration> {
        let places = u64::from(pace.per_second.get()).saturating_mul(TRUNK_WAIT_MAX.as_secs());
        let places = places.min(ON_THEIR_WAY_MAX);
        let mut queues = lock(&self.0);
        let taken = queues.entry(pace.trunk).or_default();
        if *taken >= places {
            // Half of them have left by then.
            let half = u32::try_from(places / 2).unwrap_or(u32::MAX);
            return Err(pace.interval().saturating_mul(half));
        }
        *taken += 1;
        Ok(Queued {
            queues: Arc::clone(&self.0),
            trunk: pace.trunk,
        })
    }
}

fn lock(queues: &Mutex<HashMap<EndpointId, u64>>) -> MutexGuard<'_, HashMap<EndpointId, u64>> {
    queues.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A place among the messages to a trunk, given up when dropped.
struct Queued {
    queues: Arc<Mutex<HashMap<EndpointId, u64>>>,
    trunk: EndpointId,
}

impl Drop for Queued {
    fn drop(&mut self) {
        let mut queues = lock(&self.queues);
        if let Some(taken) = queues.get_mut(&self.trunk) {
            *taken = taken.saturating_sub(1);
            if *taken == 0 {
                queues.remove(&self.trunk);
            }
        }
    }
}

/// How fast a trunk may be sent to, if it has a limit.
fn pace(trunk: &Endpoint) -> Option<Pace> {
    let limit = trunk.cps_limit.and_then(|limit| u32::try_from(limit).ok());
    limit.and_then(NonZeroU32::new).map(|per_second| Pace {
        trunk: trunk.id,
        per_second,
    })
}

/// How long the trunks that are known are used before they are read again: so soon a change of one holds.
const TRUNKS_AGE_MAX: Duration = Duration::from_secs(1);

/// The trunks of the instance as they were read last.
#[derive(Default)]
pub(super) struct KnownTrunks(Mutex<LastRead>);

/// When the trunks were read, and which there were.
type LastRead = Option<(Timestamp, Arc<Vec<Endpoint>>)>;

impl KnownTrunks {
    fn last(&self) -> MutexGuard<'_, LastRead> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A message at an address of a trunk.
pub(super) struct TrunkRound {
    dispatch: Dispatch,
    trunk: Endpoint,
    trace: Vec<Delivery>,
    delivery: Delivery,
    target: TrunkAddress,
    now: Timestamp,
    _queued: Option<Queued>,
}

impl TrunkRound {
    /// Returns the MESSAGE to send.
    pub(super) fn attempt(&self) -> Attempt {
        let target = AttemptTarget::Address(Box::new(self.target.clone()));
        attempt_of(self.now, &self.dispatch, &self.delivery, target)
    }
}

impl App {
    /// Returns the trunks of the instance that stand somewhere, as they were within the last second.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn trunks_known(&self) -> Result<Arc<Vec<Endpoint>>, Error> {
        let now = self.now();
        if let Some((at, trunks)) = self.trunks.last().clone()
            && now.since(at) < TRUNKS_AGE_MAX
        {
            return Ok(trunks);
        }
        let trunks = Arc::new(self.store.trunks_of_instance().await?);
        *self.trunks.last() = Some((now, Arc::clone(&trunks)));
        Ok(trunks)
    }

    /// Returns the names at which a message could come in by a trunk of the instance, as the store has them now, each with the
    /// account that wrote it.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn trunk_names(&self) -> Result<Vec<(AccountId, String)>, Error> {
        let trunks = self.store.trunks_of_instance().await?;
        let names = inward_names(&trunks);
        Ok(names.map(|(who, name)| (who, name.to_owned())).collect())
    }

    /// Says by which trunk a message without a digest came, as far as its source tells. Where trunks of several accounts
    /// stand at one source, the account counts that has the domain of the Request-URI, then the one that has the called number;
    /// to the domain of an account that does neither stand there nor have the number, none of them sends.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn trunk_of_source(&self, arrival: &Arrival<'_>) -> Result<CameBy, Error> {
        let trunks = self.trunks_known().await?;
        let standing = standing_at(&trunks, arrival);
        let owned = arrival.realm.map(|realm| of_domain(&standing, realm));
        if let Some(owned) = owned.filter(|owned| !owned.is_empty()) {
            return Ok(came_by(&owned, arrival.realm));
        }
        let is_certain = match arrival.realm {
            None => standing.len() <= 1,
            Some(_) => standing.is_empty(),
        };
        if is_certain {
            return Ok(came_by(&standing, None));
        }
        let called = arrival.to_user.map(|user| numbers_called(&standing, user));
        if let Some(called) = called {
            let owners = self.store.number_accounts(called.all()).await?;
            let chosen = called.of_owners(&owners.into_iter().collect());
            if !chosen.is_empty() {
                return Ok(came_by(&chosen, None));
            }
        }
        Ok(match arrival.realm {
            None => came_by(&standing, None),
            Some(_) => CameBy::Unknown,
        })
    }

    /// Plans a dispatch that goes out by a trunk and stores its attempt.
    pub(super) async fn trunk_begin(
        &self,
        dispatch: Dispatch,
        trunk: &Endpoint,
        trace: Vec<Delivery>,
    ) -> Result<Option<TrunkRound>, Error> {
        let mint = self.mint();
        let attempt = match plan(&mint, &dispatch, trunk, &trace) {
            TrunkPlan::Attempt(attempt) => attempt,
            TrunkPlan::Wait(until) => {
                let commit = release(&mint, &dispatch, false, dispatch.rounds, until);
                self.commit(commit).await?;
                return Ok(None);
            }
            TrunkPlan::Done => {
                self.commit(close(&mint, &dispatch, None, None)).await?;
                return Ok(None);
            }
            TrunkPlan::Fail(failure) => {
                self.close_with_message(&dispatch, Some(failure)).await?;
                return Ok(None);
            }
        };
        let pace = pace(trunk);
        let queued = match pace.map(|pace| self.queues.enter(pace)).transpose() {
            Ok(queued) => queued,
            Err(wait) => {
                let due_at = mint.now.plus(wait).min(dispatch.expires_at);
                let commit = release(&mint, &dispatch, false, dispatch.rounds, due_at);
                self.commit(commit).await?;
                return Ok(None);
            }
        };
        if let Some(commit) = start(&mint, &dispatch, &attempt)
            && !matches!(self.commit(commit).await?, Answer::Applied(_))
        {
            // Another node has it, or it was deleted.
            return Ok(None);
        }
        let TrunkAttempt {
            address,
            request_uri,
            delivery,
            ..
        } = *attempt;
        let passwords = self.store.trunk_passwords(trunk.account, trunk.id).await?;
        let target = TrunkAddress {
            id: address.id,
            credentials: credentials(trunk, &address, passwords),
            host: address.ip,
            port: address.port,
            transport: address.transport,
            request_uri,
            pace,
        };
        Ok(Some(TrunkRound {
            dispatch,
            trunk: trunk.clone(),
            trace,
            delivery,
            target,
            now: mint.now,
            _queued: queued,
        }))
    }

    /// Takes the end of an attempt: the message is sent, or failed, or due again.
    pub(super) async fn trunk_finish(
        self: Arc<Self>,
        round: TrunkRound,
        answer: PortFuture<'static, AttemptResult>,
    ) {
        let result = answer.await;
        if let Err(error) = self.trunk_ended(&round, &result).await {
            // The attempt stays of unknown outcome; when the lease ends it is repeated with the same identifiers.
            tracing::warn!(%error, exchange = %round.dispatch.id, "an attempt's end could not be stored");
        }
    }

    async fn trunk_ended(&self, round: &TrunkRound, result: &AttemptResult) -> Result<(), Error> {
        let TrunkRound {
            dispatch,
            trunk,
            trace,
            delivery,
            ..
        } = round;
        if *result == AttemptResult::NotSent {
            // Stored and not sent: it keeps its identifiers for when it is.
            let mint = self.mint();
            let due_at = mint.now.plus(QUEUE_WAIT).min(dispatch.expires_at);
            let again = release(&mint, dispatch, false, dispatch.rounds, due_at);
            self.commit(again).await?;
            return Ok(());
        }
        let judged = Delivery {
            attempt: attempts_seen(trace, delivery),
            ..delivery.clone()
        };
        let (outcome, retry_at) = self.attempt_finish(dispatch, &judged, result).await?;
        let mint = self.mint();
        let end = if outcome == DeliveryOutcome::Delivered {
            close(&mint, dispatch, None, None)
        } else {
            let sip_status = match result {
                AttemptResult::Answered { status, .. } => Some(*status),
                AttemptResult::Timeout
                | AttemptResult::TransportError(_)
                | AttemptResult::NotSent => None,
            };
            let ended = (outcome, sip_status);
            let (rounds, due_at) =
                next_at(&mint, dispatch, trunk, trace, delivery, ended, retry_at);
            release(&mint, dispatch, false, rounds, due_at)
        };
        self.commit(end).await?;
        self.due.notify(usize::MAX);
        Ok(())
    }
}

/// Returns what answers the challenge of an address: its own user and password, else those of the trunk.
fn credentials(
    trunk: &Endpoint,
    address: &Address,
    passwords: Vec<(EndpointSecret, Secret)>,
) -> Option<(String, Secret)> {
    let of = |wanted: EndpointSecret| {
        let mut passwords = passwords.iter();
        let found = passwords.find(|(which, _)| *which == wanted);
        found.map(|(_, password)| password.clone())
    };
    let own = address
        .sip_username
        .clone()
        .zip(of(EndpointSecret::AddressPassword(address.id)));
    own.or_else(|| {
        trunk
            .out_sip_username
            .clone()
            .zip(of(EndpointSecret::OutSipPassword))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h163_a_trunk_with_a_limit_has_so_many_on_their_way() {
        let queues = Queues::default();
        let pace = |n: u8, per_second: u32| Pace {
            trunk: EndpointId([n; 16]),
            per_second: NonZeroU32::new(per_second).unwrap(),
        };
        let entered = |pace: Pace| -> Vec<Queued> {
            std::iter::from_fn(|| queues.enter(pace).ok()).collect()
        };
        let mut slow = entered(pace(1, 2));
        assert_eq!(slow.len(), 80, "40 s of two a second");
        assert_eq!(
            queues.enter(pace(1, 2)).err(),
            Some(Duration::from_secs(20))
        );
        assert_eq!(entered(pace(2, 1000)).len(), 256);
        slow.pop();
        assert_eq!(entered(pace(1, 2)).len(), 1);
        drop(slow);
        assert!(lock(&queues.0).is_empty(), "nobody is on the way");
    }
}

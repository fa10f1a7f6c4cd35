//! Trunks: which there are, and the messages that go out by them, one address at a time and no faster than the trunk's limit.

use super::App;
use super::delivery::{QUEUE_WAIT, attempt_of};
use crate::commit::{Answer, EndpointSecret};
use crate::decide::delivery::{close, release};
use crate::decide::trunks::{
    Arrival, CameBy, TrunkAttempt, TrunkPlan, came_by, inward_names, next_at, numbers_called,
    of_domain, plan, standing_at, start,
};
use crate::delivery::{Delivery, DeliveryOutcome, Dispatch};
use crate::endpoint::{Address, Endpoint};
use crate::keyring::Secret;
use crate::ports::{
    Attempt, AttemptResult, AttemptTarget, PortFuture, TRUNK_WAIT_MAX, TrunkAddress,
};
use crate::{AccountId, EndpointId, Error, Timestamp};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// When each trunk with a limit may send next, on this node. It has a trunk only while that lies ahead.
#[derive(Default)]
pub(super) struct Paces(Mutex<HashMap<EndpointId, Timestamp>>);

impl Paces {
    /// Takes the next turn at a trunk that sends at most so many messages a second: how long to wait for it. `None` when
    /// it is further away than [`TRUNK_WAIT_MAX`]; then no turn was taken.
    fn take(&self, trunk: EndpointId, limit: i32, now: Timestamp) -> Option<Duration> {
        let Some(limit) = u32::try_from(limit).ok().filter(|limit| *limit > 0) else {
            return Some(Duration::ZERO);
        };
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = turns.get(&trunk).copied().unwrap_or(now).max(now);
        let wait = turn.since(now);
        if wait > TRUNK_WAIT_MAX {
            return None;
        }
        turns.retain(|_, turn| *turn > now);
        turns.insert(trunk, turn.plus(Duration::from_secs(1) / limit));
        Some(wait)
    }
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
        let limit = trunk.cps_limit.unwrap_or(0);
        let Some(wait) = self.paces.take(trunk.id, limit, mint.now) else {
            let due_at = mint.now.plus(TRUNK_WAIT_MAX).min(dispatch.expires_at);
            let commit = release(&mint, &dispatch, false, dispatch.rounds, due_at);
            self.commit(commit).await?;
            return Ok(None);
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
            wait,
        };
        Ok(Some(TrunkRound {
            dispatch,
            trunk: trunk.clone(),
            trace,
            delivery,
            target,
            now: mint.now,
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
        let (outcome, retry_at) = self.attempt_finish(dispatch, delivery, result).await?;
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
    fn h163_turns_are_spread_over_the_second_and_bounded() {
        let paces = Paces::default();
        let (trunk, now) = (EndpointId([1; 16]), Timestamp(1_000_000));
        let waits: Vec<_> = (0..4).map(|_| paces.take(trunk, 2, now)).collect();
        let halves = |n: u64| Some(Duration::from_millis(500 * n));
        assert_eq!(waits, [halves(0), halves(1), halves(2), halves(3)]);
        assert_eq!(paces.take(EndpointId([2; 16]), 2, now), halves(0));
        assert_eq!(paces.take(trunk, 0, now), halves(0));
        let taken = (0..100).filter(|_| paces.take(trunk, 2, now).is_some());
        assert_eq!(
            taken.count(),
            37,
            "40 turns in 20 s and the one at their end, of which 4 are gone"
        );
        let later = now.plus(Duration::from_secs(60));
        assert_eq!(paces.take(trunk, 2, later), halves(0));
        assert_eq!(
            paces.0.lock().unwrap().len(),
            1,
            "what lies behind is forgotten"
        );
    }
}

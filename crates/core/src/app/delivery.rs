//! Delivery: claims what is due, sends it to the contacts of its recipient, and keeps the trace.
//!
//! The program runs [`App::delivery_step`] in a loop, with [`App::delivery_due`] or a second between; it claims, stores the
//! attempts, hands them to the technology in the order in which the messages were accepted, and ends each round in a
//! task of its own, so that a slow contact holds up nothing else.

use super::App;
use super::trunks::TrunkRound;
use crate::binding::Binding;
use crate::commit::Answer;
use crate::decide::delivery::{
    Around, Left, Plan, PlannedAttempt, RoundEnd, close, due_after, finish, plan, release,
    simulated, start,
};
use crate::delivery::{Delivery, DeliveryOutcome, Dispatch, Way};
use crate::endpoint::Simulation;
use crate::message::{Failure, FailureCode};
use crate::ports::store::{DispatchPlace, Tried};
use crate::ports::{Attempt, AttemptResult, AttemptTarget, PortFuture, Technology};
use crate::{BindingId, Error, Fault, Timestamp};
use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use std::sync::Arc;
use std::time::Duration;

/// Messages claimed at once: what one round of commits stores together.
const CLAIM: u32 = 64;
/// How long a claim holds. A technology answers an attempt within 64 s, queueing included, and one that waits for its turn by the
/// limit of a trunk within 104 s; the rest is for commits.
const LEASE: Duration = Duration::from_secs(120);

/// So many earlier messages are looked at for one that holds up a message. A message behind more of them is held up by the
/// first of them too.
const EARLIER: u32 = 64;
/// When a message is due again that could not be sent because of others to its contact.
pub(super) const QUEUE_WAIT: Duration = Duration::from_secs(1);

/// The rest of a round, to be awaited in a task of its own.
pub type Round = PortFuture<'static, ()>;

impl App {
    /// Returns a future that ends when a message may be due. It listens from this call on, so make it before
    /// [`App::delivery_step`] and await it only when that had nothing to do.
    #[must_use]
    pub fn delivery_due(&self) -> event_listener::EventListener {
        self.due.listen()
    }

    /// Ends the leases of an earlier run; only where this node is alone on its database.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn delivery_start_alone(&self) -> Result<(), Error> {
        self.store.dispatches_unlease().await
    }

    /// Claims what is due, at most `room` messages, and begins its rounds, which must each be spawned. `None` means that
    /// nothing was due; an empty list, that what was due needs no round.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn delivery_step(
        self: &Arc<Self>,
        technology: &Arc<dyn Technology>,
        room: u32,
    ) -> Result<Option<Vec<Round>>, Error> {
        let claimed = self
            .store
            .dispatches_claim(self.now(), LEASE, CLAIM.min(room))
            .await?;
        if claimed.is_empty() {
            return Ok(None);
        }
        let places = claimed.iter().map(place).collect();
        let tried = self.store.deliveries_tried(places, EARLIER).await?;
        let begun = claimed.into_iter().zip(tried);
        let begun =
            join_all(begun.map(|(dispatch, tried)| self.round_begin(dispatch, tried))).await;
        let mut rounds: Vec<Round> = Vec::new();
        for round in begun {
            match round {
                Ok(Some(Begun::Attempts(round))) => {
                    let Attempts {
                        dispatch,
                        planned,
                        seen,
                    } = *round;
                    // Handing over here, in order, is what keeps the order of messages to each contact.
                    let attempts = planned
                        .into_iter()
                        .map(|planned| {
                            let simulation = seen.simulation;
                            hand_over(&**technology, self.now(), &dispatch, simulation, planned)
                        })
                        .collect::<Vec<_>>();
                    rounds.push(Box::pin(
                        self.clone().round_finish(dispatch, seen, attempts),
                    ));
                }
                Ok(Some(Begun::Trunk(round))) => {
                    let answer = technology.deliver(round.attempt());
                    rounds.push(Box::pin(self.clone().trunk_finish(*round, answer)));
                }
                Ok(None) => {}
                // The lease runs out and the message is due again.
                Err(error) => tracing::warn!(%error, "a delivery could not begin"),
            }
        }
        Ok(Some(rounds))
    }

    /// Plans a dispatch and stores its attempts.
    async fn round_begin(&self, dispatch: Dispatch, tried: Tried) -> Result<Option<Begun>, Error> {
        let Some((recipient, bindings)) = self
            .store
            .endpoint_bindings(dispatch.account, dispatch.recipient)
            .await?
        else {
            let failure = Failure {
                code: FailureCode::EndpointDeleted,
                sip_status: None,
                reason: None,
            };
            self.close_with_message(&dispatch, Some(failure)).await?;
            return Ok(None);
        };
        if dispatch.way != Way::Contacts {
            let round = self.trunk_begin(dispatch, &recipient, tried.own).await?;
            return Ok(round.map(|round| Begun::Trunk(Box::new(round))));
        }
        let bindings = match recipient.simulation {
            Some(simulation) => simulated(&recipient, simulation, self.node),
            None => bindings,
        };
        let mint = self.mint();
        let around = Around {
            node: self.node,
            earlier: &tried.earlier,
            store_and_forward: self.policy.store_and_forward,
        };
        let held = bindings.iter().any(|binding| around.is_held(binding.id));
        let seen = Seen {
            simulation: recipient.simulation,
            held,
            left: Left::default(),
            bindings,
        };
        match plan(
            &mint,
            &around,
            &dispatch,
            &recipient,
            &seen.bindings,
            &tried.own,
        ) {
            Plan::Attempt {
                attempts: planned,
                left,
            } => {
                if let Some(commit) = start(&mint, &dispatch, &planned)
                    && !matches!(self.commit(commit).await?, Answer::Applied(_))
                {
                    // Another node has it, or it was deleted.
                    return Ok(None);
                }
                Ok(Some(Begun::Attempts(Box::new(Attempts {
                    dispatch,
                    planned,
                    seen: Seen { left, ..seen },
                }))))
            }
            Plan::Wait(until) => {
                let commit = release(&mint, &dispatch, dispatch.taken, dispatch.rounds, until);
                self.commit(commit).await?;
                self.hurry_if_changed(&dispatch, &seen).await?;
                Ok(None)
            }
            Plan::Done => {
                self.commit(close(&mint, &dispatch, None, None)).await?;
                Ok(None)
            }
            Plan::Fail(failure) => {
                self.close_with_message(&dispatch, Some(failure)).await?;
                Ok(None)
            }
        }
    }

    /// A contact that was bound, or an earlier message that has gone, between the look and the release would otherwise let
    /// this one wait for its expiry.
    async fn hurry_if_changed(&self, dispatch: &Dispatch, seen: &Seen) -> Result<(), Error> {
        let is_free = seen.held && {
            let places = vec![place(dispatch)];
            let tried = self.store.deliveries_tried(places, EARLIER).await?;
            let around = Around {
                node: self.node,
                earlier: tried.first().map_or(&[], |tried| &tried.earlier),
                store_and_forward: true,
            };
            !seen.bindings.iter().any(|b| around.is_held(b.id))
        };
        let returned = self.bindings_changed(dispatch, seen).await?;
        if is_free || returned.is_some() {
            let returned = returned.unwrap_or_default();
            self.store
                .dispatches_hurry(dispatch.account, dispatch.recipient, returned, self.now())
                .await?;
            self.due.notify(usize::MAX);
        }
        Ok(())
    }

    /// Returns the contacts whose devices came back another way since a look; `None` when no contact has changed at all.
    async fn bindings_changed(
        &self,
        dispatch: &Dispatch,
        seen: &Seen,
    ) -> Result<Option<Vec<BindingId>>, Error> {
        if seen.simulation.is_some() {
            return Ok(None);
        }
        let found = self
            .store
            .endpoint_bindings(dispatch.account, dispatch.recipient)
            .await?;
        let Some((_, bindings)) = found else {
            return Ok(Some(Vec::new()));
        };
        let pairs = || bindings.iter().zip(&seen.bindings);
        if bindings.len() == seen.bindings.len()
            && pairs().all(|(a, b)| a.id == b.id && a.flow == b.flow)
        {
            return Ok(None);
        }
        let is_back = |now: &&Binding| {
            let mut before = seen.bindings.iter();
            before.any(|before| before.id == now.id && before.flow != now.flow)
        };
        Ok(Some(
            bindings.iter().filter(is_back).map(|b| b.id).collect(),
        ))
    }

    /// Ends a dispatch; when its message was marked meanwhile, reads it again.
    pub(super) async fn close_with_message(
        &self,
        dispatch: &Dispatch,
        failure: Option<Failure>,
    ) -> Result<(), Error> {
        for _ in 0..super::ATTEMPTS {
            let sent = self.sent_message(dispatch).await?;
            let message = sent.as_ref().map(|(message, sender)| (message, sender));
            let commit = close(&self.mint(), dispatch, failure.clone(), message);
            if matches!(self.commit(commit).await?, Answer::Applied(_)) {
                break;
            }
        }
        Ok(())
    }

    async fn round_finish(
        self: Arc<Self>,
        dispatch: Dispatch,
        seen: Seen,
        attempts: Vec<PortFuture<'static, (Delivery, AttemptResult)>>,
    ) {
        let mut attempts: FuturesUnordered<_> = attempts.into_iter().collect();
        let mut round = RoundEnd {
            taken: dispatch.taken,
            is_open: seen.left.retry_at.is_some(),
            left: seen.left,
        };
        let mut not_sent = false;
        while let Some((delivery, result)) = attempts.next().await {
            if result == AttemptResult::NotSent {
                // Stored and not sent: it keeps its identifiers for when it is.
                not_sent = true;
                continue;
            }
            if seen.simulation == Some(Simulation::Echo) {
                // Before it is stored as taken, so that a killed server echoes when it is tried again; an echo goes once.
                match self.message_echo(dispatch.recipient, &dispatch).await {
                    // The sender is gone or disabled: nobody to answer.
                    Ok(()) | Err(Fault::Refused(_)) => {}
                    Err(Fault::Error(error)) => {
                        tracing::warn!(%error, exchange = %dispatch.id, "an echo could not be sent");
                        return;
                    }
                }
            }
            match self.attempt_finish(&dispatch, &delivery, &result).await {
                Ok((outcome, retry_at)) => {
                    round.taken |= outcome == DeliveryOutcome::Delivered;
                    round.is_open |= !outcome.is_final();
                    retry_at.into_iter().for_each(|at| round.left.retry(at));
                }
                // The attempt stays of unknown outcome; when the lease ends it is repeated with the same identifiers.
                Err(error) => {
                    tracing::warn!(%error, exchange = %dispatch.id, "an attempt's end could not be stored");
                    return;
                }
            }
        }
        let mint = self.mint();
        if not_sent {
            // An earlier message that holds it up makes it due when it has gone; the next look finds that.
            round.left.retry(mint.now.plus(QUEUE_WAIT));
        }
        let forward = self.policy.store_and_forward;
        let due_at = due_after(mint.now, &dispatch, &round, forward);
        let end = match due_at {
            Some(due_at) => {
                let rounds = dispatch.rounds.saturating_add(i32::from(round.is_open));
                release(&mint, &dispatch, round.taken, rounds, due_at)
            }
            None => close(&mint, &dispatch, None, None),
        };
        let waits = !not_sent && due_at.is_some_and(|due_at| due_at > mint.now);
        let ended = match self.commit(end).await {
            Ok(_) if waits => self.hurry_if_changed(&dispatch, &seen).await,
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        match ended {
            Ok(()) => {
                self.due.notify(usize::MAX);
            }
            Err(error) => {
                tracing::warn!(%error, exchange = %dispatch.id, "a round's end could not be stored");
            }
        }
    }

    /// Stores the end of an attempt: how it ended, and when its target may be tried again.
    pub(super) async fn attempt_finish(
        &self,
        dispatch: &Dispatch,
        delivery: &Delivery,
        result: &AttemptResult,
    ) -> Result<(DeliveryOutcome, Option<Timestamp>), Error> {
        let mut ended = (DeliveryOutcome::Pending, None);
        for _ in 0..super::ATTEMPTS {
            let sent = self.sent_message(dispatch).await?;
            let message = sent.as_ref().map(|(message, sender)| (message, sender));
            let (commit, decided) = finish(&self.mint(), dispatch, delivery, result, message);
            ended = decided;
            if matches!(self.commit(commit).await?, Answer::Applied(_)) {
                break;
            }
        }
        Ok(ended)
    }
}

/// Returns the place of a dispatch among those to its recipient.
fn place(dispatch: &Dispatch) -> DispatchPlace {
    DispatchPlace {
        account: dispatch.account,
        recipient: dispatch.recipient,
        created_at: dispatch.created_at,
        id: dispatch.id,
    }
}

enum Begun {
    Attempts(Box<Attempts>),
    Trunk(Box<TrunkRound>),
}

struct Attempts {
    dispatch: Dispatch,
    planned: Vec<PlannedAttempt>,
    seen: Seen,
}

/// What was seen when a round was planned.
struct Seen {
    bindings: Vec<Binding>,
    simulation: Option<Simulation>,
    /// Whether an earlier message goes first at some of them.
    held: bool,
    /// What those leave to be done that were not attempted.
    left: Left,
}

fn hand_over(
    technology: &dyn Technology,
    now: Timestamp,
    dispatch: &Dispatch,
    simulation: Option<Simulation>,
    planned: PlannedAttempt,
) -> PortFuture<'static, (Delivery, AttemptResult)> {
    let PlannedAttempt {
        binding, delivery, ..
    } = planned;
    let target = AttemptTarget::Contact(Box::new(binding));
    let result = technology.deliver(Attempt {
        simulation,
        ..attempt_of(now, dispatch, &delivery, target)
    });
    Box::pin(async move { (delivery, result.await) })
}

/// Makes the MESSAGE of an attempt.
pub(super) fn attempt_of(
    now: Timestamp,
    dispatch: &Dispatch,
    delivery: &Delivery,
    target: AttemptTarget,
) -> Attempt {
    let left = dispatch.expires_at.since(now).as_secs();
    Attempt {
        target,
        simulation: None,
        number: delivery.attempt,
        is_notice: false,
        from: dispatch.from.clone(),
        from_name: dispatch.from_name.clone(),
        to: dispatch.to.clone(),
        body: dispatch.body.clone(),
        content_type: dispatch.content_type.clone(),
        variables: dispatch.variables.clone(),
        call_id: delivery.call_id.clone(),
        from_tag: delivery.from_tag.clone(),
        cseq: delivery.cseq,
        branch: delivery.branch.clone(),
        expires_s: u32::try_from(left).unwrap_or(u32::MAX),
    }
}

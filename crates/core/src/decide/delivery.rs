//! Delivery: which contacts get a message, what an answer means, and when it is tried again.

use super::Mint;
use crate::binding::Binding;
use crate::commit::{Commit, Precondition, Write};
use crate::delivery::{Delivery, DeliveryOutcome, Dispatch};
use crate::endpoint::Endpoint;
use crate::event::{EventBody, Subjects};
use crate::id::NodeId;
use crate::message::{Failure, FailureCode, Message, MessageStatus};
use crate::ports::AttemptResult;
use crate::{DeliveryId, Timestamp};
use std::time::Duration;

/// The wait after the first round that no contact took; it doubles with each further one.
const BACKOFF_FIRST: Duration = Duration::from_secs(4);
/// The longest wait between two rounds.
const BACKOFF_MAX: Duration = Duration::from_secs(300);

/// What to do with a claimed dispatch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Attempt these contacts. Those marked are new and must be stored first; the others repeat an attempt of unknown
    /// outcome.
    Attempt(Vec<PlannedAttempt>),
    /// Nothing can be sent now; give it back until then.
    Wait(Timestamp),
    /// A contact took it and nothing else is to be done.
    Done,
    /// It will not arrive.
    Fail(Failure),
}

/// One attempt to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedAttempt {
    /// The contact.
    pub binding: Binding,
    /// The attempt as stored, or to be stored.
    pub delivery: Delivery,
    /// Whether it must be stored first.
    pub is_new: bool,
}

/// Plans the next round of a dispatch.
#[must_use]
pub fn plan(
    mint: &Mint<'_>,
    node: NodeId,
    dispatch: &Dispatch,
    recipient: &Endpoint,
    bindings: &[Binding],
    trace: &[Delivery],
) -> Plan {
    if mint.now >= dispatch.expires_at {
        return end(dispatch, trace, FailureCode::Expired);
    }
    if !recipient.enabled {
        return end(dispatch, trace, FailureCode::EndpointDisabled);
    }
    let mut attempts = Vec::new();
    let mut open = false;
    for binding in bindings {
        let latest = trace.iter().rev().find(|d| d.binding == binding.id);
        match latest {
            Some(latest) if latest.outcome.is_final() => continue,
            // A device that registers later gets only what no contact has taken.
            None if dispatch.taken => continue,
            _ => open = true,
        }
        let reachable = !binding.flow.transport.is_stream() || binding.flow.node == node;
        if reachable {
            attempts.push(attempt(mint, dispatch, binding, latest));
        }
    }
    if !attempts.is_empty() {
        return Plan::Attempt(attempts);
    }
    if open {
        // Stream bindings of an earlier run: their devices get the time to come back, which makes this due again.
        return Plan::Wait(dispatch.expires_at);
    }
    match () {
        () if dispatch.taken => Plan::Done,
        () if bindings.is_empty() => Plan::Wait(dispatch.expires_at),
        () => end(dispatch, trace, FailureCode::Refused),
    }
}

fn attempt(
    mint: &Mint<'_>,
    dispatch: &Dispatch,
    binding: &Binding,
    latest: Option<&Delivery>,
) -> PlannedAttempt {
    if let Some(pending) = latest.filter(|d| d.outcome == DeliveryOutcome::Pending) {
        return PlannedAttempt {
            binding: binding.clone(),
            delivery: pending.clone(),
            is_new: false,
        };
    }
    let token = || crate::digest::hex(&mint.bytes::<12>());
    PlannedAttempt {
        binding: binding.clone(),
        delivery: Delivery {
            id: mint.id(DeliveryId::new),
            account: dispatch.account,
            exchange: dispatch.id,
            binding: binding.id,
            contact_uri: binding.contact_uri.clone(),
            transport: binding.flow.transport,
            call_id: latest.map_or_else(token, |d| d.call_id.clone()),
            from_tag: latest.map_or_else(token, |d| d.from_tag.clone()),
            cseq: latest.map_or(1, |d| d.cseq),
            branch: format!("z9hG4bK{}", token()),
            attempt: latest.map_or(1, |d| d.attempt.saturating_add(1)),
            started_at: mint.now,
            finished_at: None,
            sip_status: None,
            reason: None,
            outcome: DeliveryOutcome::Pending,
        },
        is_new: true,
    }
}

fn end(dispatch: &Dispatch, trace: &[Delivery], code: FailureCode) -> Plan {
    if dispatch.taken {
        return Plan::Done;
    }
    let last = trace.iter().rev().find(|d| d.sip_status.is_some());
    Plan::Fail(Failure {
        code,
        sip_status: last.and_then(|d| d.sip_status),
        reason: last.and_then(|d| d.reason.clone()),
    })
}

/// Says what an answer means: RFC 3261 section 21, with the statuses that may change tried again.
#[must_use]
pub fn outcome(result: &AttemptResult, attempt: i32) -> DeliveryOutcome {
    match result {
        AttemptResult::Timeout => DeliveryOutcome::Timeout,
        AttemptResult::TransportError(_) => DeliveryOutcome::TransportError,
        AttemptResult::Answered { status, .. } => match status {
            200..300 => DeliveryOutcome::Delivered,
            // Loop detected: the device has seen this Call-ID and CSeq under another branch, so it has the message.
            482 if attempt > 1 => DeliveryOutcome::Delivered,
            408 | 480 | 486 | 500 | 503 | 504 => DeliveryOutcome::Retrying,
            _ => DeliveryOutcome::Refused,
        },
    }
}

/// Decides on storing a round's new attempts; `None` when there are none.
#[must_use]
pub fn start(mint: &Mint<'_>, dispatch: &Dispatch, planned: &[PlannedAttempt]) -> Option<Commit> {
    let writes: Vec<Write> = planned
        .iter()
        .filter(|p| p.is_new)
        .map(|p| Write::DeliveryInsert(p.delivery.clone()))
        .collect();
    (!writes.is_empty()).then(|| leased(mint, dispatch, writes))
}

/// Decides on the end of one attempt. `message` is the sender's copy with the sender; the first contact that takes it
/// makes it SENT.
#[must_use]
pub fn finish(
    mint: &Mint<'_>,
    dispatch: &Dispatch,
    delivery: &Delivery,
    result: &AttemptResult,
    message: Option<(&Message, &Endpoint)>,
) -> (Commit, DeliveryOutcome) {
    let outcome = outcome(result, delivery.attempt);
    let (sip_status, reason) = match result {
        AttemptResult::Answered { status, reason, .. } => (Some(*status), Some(reason.clone())),
        AttemptResult::Timeout => (None, Some("no final answer in time".to_owned())),
        AttemptResult::TransportError(what) => (None, Some(what.clone())),
    };
    let mut writes = vec![Write::DeliveryFinish {
        id: delivery.id,
        outcome,
        sip_status,
        reason,
    }];
    if outcome == DeliveryOutcome::Delivered {
        writes.push(Write::DispatchTaken(dispatch.id));
    }
    let mut commit = leased(mint, dispatch, writes);
    if let Some((message, sender)) = message.filter(|(m, _)| {
        outcome == DeliveryOutcome::Delivered && m.status == MessageStatus::Accepted
    }) {
        set_status(
            mint,
            &mut commit,
            message,
            sender,
            MessageStatus::Sent,
            None,
        );
    }
    (commit, outcome)
}

/// Decides on giving a dispatch back until it is due again.
#[must_use]
pub fn release(
    mint: &Mint<'_>,
    dispatch: &Dispatch,
    taken: bool,
    rounds: i32,
    due_at: Timestamp,
) -> Commit {
    leased(
        mint,
        dispatch,
        vec![Write::DispatchRelease {
            id: dispatch.id,
            taken,
            rounds,
            due_at,
        }],
    )
}

/// Returns when the next round is due after `rounds` rounds; a contact's Retry-After is the least wait.
#[must_use]
pub fn next_round_at(mint: &Mint<'_>, rounds: i32, retry_after_s: Option<u32>) -> Timestamp {
    let doublings = u32::try_from(rounds.clamp(1, 16)).unwrap_or(1) - 1;
    let backoff = BACKOFF_FIRST
        .saturating_mul(1 << doublings)
        .min(BACKOFF_MAX);
    // Up to a quarter more, so that messages that failed together do not come back together.
    let jitter = backoff / 4 * u32::from(mint.bytes::<1>()[0]) / 256;
    let asked = Duration::from_secs(u64::from(retry_after_s.unwrap_or(0)));
    mint.now.plus((backoff + jitter).max(asked))
}

/// Decides on the end of a dispatch: nothing more is done with it.
#[must_use]
pub fn close(
    mint: &Mint<'_>,
    dispatch: &Dispatch,
    failure: Option<Failure>,
    message: Option<(&Message, &Endpoint)>,
) -> Commit {
    let mut commit = leased(mint, dispatch, vec![Write::DispatchDelete(dispatch.id)]);
    if let (Some(failure), Some((message, sender))) = (failure, message)
        && message.status == MessageStatus::Accepted
    {
        set_status(
            mint,
            &mut commit,
            message,
            sender,
            MessageStatus::Failed,
            Some(failure),
        );
    }
    commit
}

/// Decides on the end of a dispatch that a simulated endpoint took.
#[must_use]
pub fn close_taken(
    mint: &Mint<'_>,
    dispatch: &Dispatch,
    message: Option<(&Message, &Endpoint)>,
) -> Commit {
    let mut commit = leased(mint, dispatch, vec![Write::DispatchDelete(dispatch.id)]);
    if let Some((message, sender)) = message.filter(|(m, _)| m.status == MessageStatus::Accepted) {
        set_status(
            mint,
            &mut commit,
            message,
            sender,
            MessageStatus::Sent,
            None,
        );
    }
    commit
}

fn leased(mint: &Mint<'_>, dispatch: &Dispatch, writes: Vec<Write>) -> Commit {
    Commit {
        account: dispatch.account,
        at: mint.now,
        idempotency: None,
        preconditions: vec![Precondition::DispatchLeased(dispatch.id, dispatch.lease)],
        writes,
        events: Vec::new(),
    }
}

/// Adds the one final status of a sent message, with its event.
pub(super) fn set_status(
    mint: &Mint<'_>,
    commit: &mut Commit,
    message: &Message,
    sender: &Endpoint,
    status: MessageStatus,
    failure: Option<Failure>,
) {
    commit.preconditions.push(Precondition::MessageAt(
        message.id,
        message.status,
        message.read,
    ));
    commit.writes.push(Write::MessageStatusSet {
        id: message.id,
        status,
        failure,
    });
    let subjects = Subjects {
        chat: Some(message.chat),
        message: Some(message.id),
        ..super::endpoints::subjects(sender)
    };
    let body = EventBody::MessageOutStatus {
        endpoint_name: sender.address(),
        src_number: sender.address(),
        dst_number: message.to.trim_start_matches("sip:").to_owned(),
        text: Some(message.body.clone()),
        status,
    };
    commit.events.push(mint.event(subjects, body));
}

//! Delivery: which contacts get a message, what an answer means, and when it is tried again.

use super::{Mint, printable};
use crate::binding::{Binding, Flow, Transport};
use crate::commit::{Commit, Precondition, Write};
use crate::delivery::{Delivery, DeliveryOutcome, DeliveryTarget, Dispatch, call_id};
use crate::endpoint::{Endpoint, Simulation};
use crate::event::{ContactStatus, EventBody, Subjects};
use crate::id::NodeId;
use crate::message::{Failure, FailureCode, Message, MessageStatus};
use crate::ports::AttemptResult;
use crate::{BindingId, DeliveryId, ExchangeId, Timestamp};
use sip_validate::SipUri;
use std::collections::BTreeMap;
use std::time::Duration;

/// The wait after the first attempt at a contact that failed for now; it doubles with each further one.
const BACKOFF_FIRST: Duration = Duration::from_secs(4);
/// The longest wait between two attempts, unless the contact asks for more.
const BACKOFF_MAX: Duration = Duration::from_secs(300);

/// What to do with a claimed dispatch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Attempt these contacts. Those marked are new and must be stored first; the others repeat an attempt of unknown
    /// outcome.
    Attempt {
        /// The contacts to attempt.
        attempts: Vec<PlannedAttempt>,
        /// What the other contacts leave to be done.
        left: Left,
    },
    /// Nothing can be sent now; give it back until then.
    Wait(Timestamp),
    /// A contact took it and nothing else is to be done.
    Done,
    /// It will not arrive.
    Fail(Failure),
}

/// What is left to be done with a dispatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Left {
    /// When the first of the contacts that failed for now may be tried again.
    pub retry_at: Option<Timestamp>,
    /// Whether contacts wait for something that makes the dispatch due: for their devices to come back, or for an earlier
    /// message to go.
    pub waits: bool,
}

impl Left {
    /// Adds a contact that may be tried again from then on.
    pub fn retry(&mut self, at: Timestamp) {
        self.retry_at = Some(self.retry_at.map_or(at, |first| first.min(at)));
    }

    /// Returns when the dispatch is due for it; `None` when nothing is left.
    fn due_at(self, dispatch: &Dispatch) -> Option<Timestamp> {
        let until = self.waits.then_some(dispatch.expires_at);
        let retry_at = self.retry_at.map(|at| at.min(dispatch.expires_at));
        retry_at.or(until)
    }
}

/// What a round came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoundEnd {
    /// Whether a contact has taken the message, then or before.
    pub taken: bool,
    /// Whether a contact failed for now, and was not tried again since.
    pub is_open: bool,
    /// What is left to be done.
    pub left: Left,
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

/// What else a plan depends on.
#[derive(Debug, Clone, Copy)]
pub struct Around<'a> {
    /// This run of the program.
    pub node: NodeId,
    /// The attempts of earlier messages to the recipient that are still on their way, oldest first within each.
    pub earlier: &'a [Delivery],
    /// Whether a message waits for a device.
    pub store_and_forward: bool,
}

impl Around<'_> {
    /// Whether an earlier message failed for now at a contact, and so goes first.
    #[must_use]
    pub fn is_held(&self, binding: BindingId) -> bool {
        let mut latest: BTreeMap<ExchangeId, DeliveryOutcome> = BTreeMap::new();
        let target = DeliveryTarget::Contact(binding);
        let here = self.earlier.iter().filter(|d| d.target == target);
        latest.extend(here.map(|d| (d.exchange, d.outcome)));
        latest
            .values()
            .any(|outcome| outcome.is_temporary_failure())
    }
}

/// Plans the next round of a dispatch.
#[must_use]
pub fn plan(
    mint: &Mint<'_>,
    around: &Around<'_>,
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
    if !around.store_and_forward && dispatch.rounds > 0 {
        return end(dispatch, trace, FailureCode::Unreachable);
    }
    // Those that a profile no longer allows go some time after it was changed. A simulated contact is on no network.
    let allowed = |binding: &&Binding| {
        recipient.simulation.is_some() || recipient.allows(binding.flow.transport)
    };
    let bindings: Vec<&Binding> = bindings.iter().filter(allowed).collect();
    let mut attempts = Vec::new();
    let (mut left, mut is_lost) = (Left::default(), false);
    for &binding in &bindings {
        let target = DeliveryTarget::Contact(binding.id);
        let latest = trace.iter().rev().find(|d| d.target == target);
        match latest {
            Some(latest) if latest.outcome.is_final() => continue,
            // A device that registers later gets only what no contact has taken.
            None if dispatch.taken && binding.registered_at > dispatch.created_at => continue,
            _ => {}
        }
        let retry_at = latest.and_then(|latest| latest.retry_at);
        if around.is_held(binding.id) {
            left.waits = true;
        } else if let Some(at) = retry_at.filter(|at| *at > mint.now) {
            left.retry(at);
        } else if !binding.flow.transport.is_stream() || binding.flow.node == around.node {
            attempts.push(attempt(mint, dispatch, binding, latest));
        } else if around.store_and_forward {
            // A stream of an earlier run: its device gets the time to come back. That, or the binding's end, makes this due.
            left.waits = true;
        } else {
            is_lost = true;
        }
    }
    if !attempts.is_empty() {
        return Plan::Attempt { attempts, left };
    }
    if let Some(due_at) = left.due_at(dispatch) {
        return Plan::Wait(due_at);
    }
    match () {
        () if dispatch.taken => Plan::Done,
        () if bindings.is_empty() && around.store_and_forward => Plan::Wait(dispatch.expires_at),
        () if bindings.is_empty() => end(dispatch, trace, FailureCode::NoContact),
        () if is_lost => end(dispatch, trace, FailureCode::Unreachable),
        () if trace.iter().any(is_too_large) => end(dispatch, trace, FailureCode::TooLarge),
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
            recipient: dispatch.recipient,
            message: dispatch.out_message,
            target: DeliveryTarget::Contact(binding.id),
            contact_uri: binding.contact_uri.clone(),
            transport: binding.flow.transport,
            call_id: latest
                .map_or_else(|| call_id(dispatch.id, mint.bytes()), |d| d.call_id.clone()),
            from_tag: latest.map_or_else(token, |d| d.from_tag.clone()),
            cseq: latest.map_or(1, |d| d.cseq),
            branch: format!("z9hG4bK{}", token()),
            attempt: latest.map_or(1, |d| d.attempt.saturating_add(1)),
            started_at: mint.now,
            finished_at: None,
            sip_status: None,
            reason: None,
            outcome: DeliveryOutcome::Pending,
            retry_at: None,
        },
        is_new: true,
    }
}

/// Whether a contact refused a message for its length: itself, or we in its place.
fn is_too_large(delivery: &Delivery) -> bool {
    matches!(delivery.sip_status, Some(413 | 513))
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
        AttemptResult::NotSent => DeliveryOutcome::Pending,
        AttemptResult::Answered { status, .. } => match status {
            200..300 => DeliveryOutcome::Delivered,
            // Loop detected: the device has seen this Call-ID and CSeq under another branch, so it has the message.
            482 if attempt > 1 => DeliveryOutcome::Delivered,
            408 | 480 | 486 | 500 | 503 | 504 => DeliveryOutcome::Retrying,
            _ => DeliveryOutcome::Refused,
        },
    }
}

/// Says whether later messages to a contact wait, because the outstanding one failed for now and goes first when it is tried
/// again.
#[must_use]
pub fn holds(result: &AttemptResult, attempt: i32) -> bool {
    outcome(result, attempt).is_temporary_failure()
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

/// Decides on the end of one attempt, and says how it ended and when the contact may be tried again. `message` is the
/// sender's copy with the sender; the first contact that takes it makes it SENT.
#[must_use]
pub fn finish(
    mint: &Mint<'_>,
    dispatch: &Dispatch,
    delivery: &Delivery,
    result: &AttemptResult,
    message: Option<(&Message, &Endpoint)>,
) -> (Commit, (DeliveryOutcome, Option<Timestamp>)) {
    let outcome = outcome(result, delivery.attempt);
    let (sip_status, reason, retry_after_s) = match result {
        AttemptResult::Answered {
            status,
            reason,
            retry_after_s,
        } => (Some(*status), Some(printable(reason)), *retry_after_s),
        AttemptResult::Timeout => (None, Some("no final answer in time".to_owned()), None),
        AttemptResult::TransportError(what) => (None, Some(printable(what)), None),
        AttemptResult::NotSent => (None, None, None),
    };
    let retry_at = match delivery.target {
        _ if !outcome.is_temporary_failure() => None,
        DeliveryTarget::Contact(_) => Some(next_attempt_at(mint, delivery.attempt, retry_after_s)),
        // The addresses of a trunk are tried in turn, with a pause when each was.
        DeliveryTarget::Address(_) => {
            retry_after_s.map(|asked| mint.now.plus(Duration::from_secs(asked.into())))
        }
    };
    let mut writes = vec![Write::DeliveryFinish {
        id: delivery.id,
        outcome,
        sip_status,
        reason,
        retry_at,
    }];
    if outcome == DeliveryOutcome::Delivered {
        writes.push(Write::DispatchTaken(dispatch.id));
    }
    if outcome.is_final() && delivery.attempt > 1 {
        // It held up others at this contact since it failed there for now.
        writes.push(Write::DispatchesWake(dispatch.recipient));
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
    (commit, (outcome, retry_at))
}

/// Returns when a dispatch is due again after a round; `None` when nothing is left to do with it.
#[must_use]
pub fn due_after(
    now: Timestamp,
    dispatch: &Dispatch,
    round: &RoundEnd,
    store_and_forward: bool,
) -> Option<Timestamp> {
    if round.is_open && !store_and_forward {
        // The plan finds that it failed.
        return Some(now);
    }
    // When every contact has refused, the plan finds it failed or a new contact.
    let refused = (!round.taken).then_some(now);
    round.left.due_at(dispatch).or(refused)
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

/// Returns when the next attempt is due after `failed` ones; a Retry-After is the least wait.
#[must_use]
pub fn next_attempt_at(mint: &Mint<'_>, failed: i32, retry_after_s: Option<u32>) -> Timestamp {
    let doublings = u32::try_from(failed.clamp(1, 16)).unwrap_or(1) - 1;
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
    let mut writes = vec![Write::DispatchDelete {
        id: dispatch.id,
        recipient: dispatch.recipient,
    }];
    if dispatch.rounds > 0 {
        writes.push(Write::DispatchesWake(dispatch.recipient));
    }
    let mut commit = leased(mint, dispatch, writes);
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

/// Returns the contacts of a simulated endpoint, which no device registered.
#[must_use]
pub fn simulated(endpoint: &Endpoint, simulation: Simulation, node: NodeId) -> Vec<Binding> {
    let contact = Binding {
        id: BindingId(endpoint.id.0),
        account: endpoint.account,
        endpoint: endpoint.id,
        contact_uri: format!("sip:{}@simulated.invalid", endpoint.name),
        flow: Flow {
            transport: Transport::Tcp,
            remote: String::new(),
            local: String::new(),
            node,
            connection: 0,
        },
        call_id: String::new(),
        cseq: 0,
        instance: None,
        reg_id: None,
        path: None,
        user_agent: None,
        registered_at: endpoint.created_at,
        refreshed_at: endpoint.created_at,
        expires_at: Timestamp(i64::MAX),
        status: ContactStatus::NonQualified,
        round_trip: None,
        qualified_at: None,
        token: None,
    };
    simulation
        .is_there()
        .then_some(contact)
        .into_iter()
        .collect()
}

/// Returns a SIP URI as chats name its endpoint: canonical user and domain.
#[must_use]
pub fn canonical_address(uri: &str) -> String {
    let Ok(aor) = SipUri::parse_received(uri).map(|parsed| parsed.aor()) else {
        return uri.to_owned();
    };
    match aor.user {
        Some(user) => format!("{user}@{}", aor.domain),
        None => uri.to_owned(),
    }
}

fn leased(mint: &Mint<'_>, dispatch: &Dispatch, writes: Vec<Write>) -> Commit {
    Commit {
        preconditions: vec![Precondition::DispatchLeased(dispatch.id, dispatch.lease)],
        writes,
        ..Commit::empty(dispatch.account, mint.now)
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
        ..Subjects::of(sender)
    };
    let body = EventBody::MessageOutStatus {
        endpoint_name: sender.address(),
        // As MESSAGE_OUT told them.
        src_number: message
            .from_number
            .clone()
            .unwrap_or_else(|| sender.address()),
        dst_number: message
            .to_number
            .clone()
            .unwrap_or_else(|| canonical_address(&message.to)),
        text: Some(message.body.clone()),
        status,
    };
    commit.events.push(mint.event(subjects, body));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::testing::{Seeded, dispatch, endpoint};
    use crate::{AccountId, AddressId, EndpointId};

    const NODE: NodeId = NodeId([1; 16]);
    /// A contact waits for its device or for an earlier message.
    const WAITS: Left = Left {
        retry_at: None,
        waits: true,
    };

    fn binding(n: u8, transport: Transport, node: NodeId) -> Binding {
        Binding {
            id: BindingId([n; 16]),
            account: AccountId([1; 16]),
            endpoint: EndpointId([3; 16]),
            contact_uri: format!("sip:alice@192.0.2.{n}"),
            flow: Flow {
                transport,
                remote: format!("192.0.2.{n}:5060"),
                local: "127.0.0.1:5060".into(),
                node,
                connection: 0,
            },
            call_id: "c".into(),
            cseq: 1,
            instance: None,
            reg_id: None,
            path: None,
            user_agent: None,
            registered_at: Timestamp(0),
            refreshed_at: Timestamp(0),
            expires_at: Timestamp(i64::MAX),
            status: ContactStatus::NonQualified,
            round_trip: None,
            qualified_at: None,
            token: None,
        }
    }

    fn plan_of(dispatch: &Dispatch, bindings: &[Binding], trace: &[Delivery]) -> Plan {
        plan_around(dispatch, bindings, trace, &[], true)
    }

    fn plan_around(
        dispatch: &Dispatch,
        bindings: &[Binding],
        trace: &[Delivery],
        earlier: &[Delivery],
        store_and_forward: bool,
    ) -> Plan {
        let entropy = Seeded::default();
        let mint = Mint::new(Timestamp(1_000_000), &entropy);
        let around = Around {
            node: NODE,
            earlier,
            store_and_forward,
        };
        plan(
            &mint,
            &around,
            dispatch,
            &endpoint("alice"),
            bindings,
            trace,
        )
    }

    fn attempted(bindings: &[Binding], outcome: DeliveryOutcome) -> Delivery {
        let Plan::Attempt {
            attempts: mut planned,
            ..
        } = plan_of(&dispatch(), bindings, &[])
        else {
            panic!("nothing was planned");
        };
        let mut delivery = planned.remove(0).delivery;
        delivery.outcome = outcome;
        delivery
    }

    /// A profile that begins to demand encryption holds at once, whatever contacts are still to be removed.
    #[test]
    fn d098_only_encrypted_contacts_are_attempted_where_encryption_is_demanded() {
        let recipient = Endpoint {
            profile_encrypts: true,
            ..endpoint("alice")
        };
        let entropy = Seeded::default();
        let mint = Mint::new(Timestamp(1_000_000), &entropy);
        let around = Around {
            node: NODE,
            earlier: &[],
            store_and_forward: true,
        };
        let planned = |recipient: &Endpoint, bindings: &[Binding]| {
            plan(&mint, &around, &dispatch(), recipient, bindings, &[])
        };
        let contacts = [
            binding(1, Transport::Udp, NODE),
            binding(2, Transport::Tls, NODE),
            binding(3, Transport::Ws, NODE),
        ];
        let Plan::Attempt { attempts, left } = planned(&recipient, &contacts) else {
            panic!("nothing was planned");
        };
        let attempted: Vec<_> = attempts.iter().map(|attempt| attempt.binding.id).collect();
        assert_eq!((attempted, left), (vec![contacts[1].id], Left::default()));
        // Without such a contact it waits for one.
        let Plan::Wait(_) = planned(&recipient, &contacts[..1]) else {
            panic!("it must wait");
        };
        // A simulated contact is on no network.
        let simulated = Endpoint {
            simulation: Some(Simulation::Echo),
            ..recipient
        };
        assert!(matches!(
            planned(&simulated, &contacts[..1]),
            Plan::Attempt { .. }
        ));
    }

    #[test]
    fn e043_each_contact_is_attempted() {
        let bindings = [
            binding(1, Transport::Udp, NodeId([9; 16])),
            binding(2, Transport::Tcp, NODE),
        ];
        let Plan::Attempt {
            attempts: planned, ..
        } = plan_of(&dispatch(), &bindings, &[])
        else {
            panic!("nothing was planned");
        };
        assert_eq!(planned.len(), 2);
        assert_ne!(planned[0].delivery.call_id, planned[1].delivery.call_id);
        assert!(
            planned
                .iter()
                .all(|p| p.is_new && p.delivery.branch.starts_with("z9hG4bK"))
        );
    }

    #[test]
    fn an_attempt_of_unknown_outcome_is_repeated_as_it_was() {
        let bindings = [binding(1, Transport::Udp, NODE)];
        let pending = attempted(&bindings, DeliveryOutcome::Pending);
        let Plan::Attempt {
            attempts: planned, ..
        } = plan_of(&dispatch(), &bindings, std::slice::from_ref(&pending))
        else {
            panic!("nothing was planned");
        };
        assert_eq!(planned[0].delivery, pending);
        assert!(!planned[0].is_new);
    }

    #[test]
    fn a_later_attempt_keeps_call_id_and_cseq_and_takes_a_new_branch() {
        let bindings = [binding(1, Transport::Udp, NODE)];
        let busy = attempted(&bindings, DeliveryOutcome::Retrying);
        let Plan::Attempt {
            attempts: planned, ..
        } = plan_of(&dispatch(), &bindings, std::slice::from_ref(&busy))
        else {
            panic!("nothing was planned");
        };
        let next = &planned[0].delivery;
        assert_eq!(
            (&next.call_id, &next.from_tag, next.cseq, next.attempt),
            (&busy.call_id, &busy.from_tag, busy.cseq, 2)
        );
        assert_ne!((next.id, &next.branch), (busy.id, &busy.branch));
    }

    #[test]
    fn a_device_that_comes_later_gets_nothing_that_was_taken() {
        let taken = Dispatch {
            taken: true,
            ..dispatch()
        };
        let mut later = binding(1, Transport::Udp, NODE);
        later.registered_at = Timestamp(1);
        assert_eq!(plan_of(&taken, &[later], &[]), Plan::Done);
    }

    #[test]
    fn a_device_whose_connection_was_lost_gets_it_when_it_comes_back() {
        let bindings = [
            binding(1, Transport::Udp, NODE),
            binding(2, Transport::Tcp, NodeId([9; 16])),
        ];
        let Plan::Attempt { attempts, left } = plan_of(&dispatch(), &bindings, &[]) else {
            panic!("nothing was planned");
        };
        assert_eq!((attempts.len(), left), (1, WAITS));
        let taken = Dispatch {
            taken: true,
            ..dispatch()
        };
        let delivered = attempted(&bindings, DeliveryOutcome::Delivered);
        assert_eq!(
            plan_of(&taken, &bindings, std::slice::from_ref(&delivered)),
            Plan::Wait(dispatch().expires_at)
        );
    }

    #[test]
    fn e132_without_a_contact_it_waits_until_its_time_is_up() {
        assert_eq!(
            plan_of(&dispatch(), &[], &[]),
            Plan::Wait(dispatch().expires_at)
        );
        let suspended = [binding(1, Transport::Tcp, NodeId([9; 16]))];
        assert_eq!(
            plan_of(&dispatch(), &suspended, &[]),
            Plan::Wait(dispatch().expires_at)
        );
        let late = Dispatch {
            expires_at: Timestamp(1_000_000),
            ..dispatch()
        };
        let Plan::Fail(failure) = plan_of(&late, &[], &[]) else {
            panic!("it goes on")
        };
        assert_eq!(failure.code, FailureCode::Expired);
    }

    #[test]
    fn e131_every_contact_refused_is_a_failure_with_the_status() {
        let bindings = [binding(1, Transport::Udp, NODE)];
        let mut refused = attempted(&bindings, DeliveryOutcome::Refused);
        refused.sip_status = Some(603);
        let Plan::Fail(failure) = plan_of(&dispatch(), &bindings, &[refused]) else {
            panic!("it goes on");
        };
        assert_eq!(
            (failure.code, failure.sip_status),
            (FailureCode::Refused, Some(603))
        );
    }

    #[test]
    fn e131_what_an_answer_means() {
        let of = |status, attempt| {
            let answered = AttemptResult::Answered {
                status,
                reason: String::new(),
                retry_after_s: None,
            };
            outcome(&answered, attempt)
        };
        for status in [200, 202, 299] {
            assert_eq!(of(status, 1), DeliveryOutcome::Delivered, "{status}");
        }
        for status in [408, 480, 486, 500, 503, 504] {
            assert_eq!(of(status, 1), DeliveryOutcome::Retrying, "{status}");
        }
        for status in [300, 302, 400, 403, 404, 415, 482, 488, 501, 600, 603] {
            assert_eq!(of(status, 1), DeliveryOutcome::Refused, "{status}");
        }
        assert_eq!(of(482, 2), DeliveryOutcome::Delivered);
    }

    #[test]
    fn an_earlier_message_that_failed_for_now_goes_first_at_its_contact_alone() {
        let bindings = [
            binding(1, Transport::Udp, NODE),
            binding(2, Transport::Udp, NODE),
        ];
        let mut busy = attempted(&bindings[..1], DeliveryOutcome::Retrying);
        busy.exchange = ExchangeId([4; 16]);
        let of = |earlier: &[Delivery], bindings: &[Binding]| {
            plan_around(&dispatch(), bindings, &[], earlier, true)
        };
        let Plan::Attempt { attempts, left } = of(std::slice::from_ref(&busy), &bindings) else {
            panic!("the other contact is free");
        };
        assert_eq!((attempts[0].binding.id, left), (bindings[1].id, WAITS));
        assert_eq!(
            of(std::slice::from_ref(&busy), &bindings[..1]),
            Plan::Wait(dispatch().expires_at)
        );
        // Refused for good, or taken at its next attempt: it holds nobody.
        for outcome in [DeliveryOutcome::Refused, DeliveryOutcome::Delivered] {
            let mut later = busy.clone();
            later.outcome = outcome;
            let plan = of(&[busy.clone(), later], &bindings[..1]);
            assert!(matches!(plan, Plan::Attempt { .. }), "{plan:?}");
        }
    }

    #[test]
    fn e132_without_store_and_forward_it_fails_at_once() {
        let of = |dispatch: &Dispatch, bindings: &[Binding], trace: &[Delivery]| match plan_around(
            dispatch,
            bindings,
            trace,
            &[],
            false,
        ) {
            Plan::Fail(failure) => Some(failure.code),
            _ => None,
        };
        let bindings = [binding(1, Transport::Udp, NODE)];
        assert_eq!(of(&dispatch(), &[], &[]), Some(FailureCode::NoContact));
        assert_eq!(of(&dispatch(), &bindings, &[]), None);
        let tried = Dispatch {
            rounds: 1,
            ..dispatch()
        };
        let silent = attempted(&bindings, DeliveryOutcome::Timeout);
        assert_eq!(
            of(&tried, &bindings, &[silent]),
            Some(FailureCode::Unreachable)
        );
        // A device whose connection is gone is not waited for, whatever the others say.
        let bindings = [
            binding(1, Transport::Udp, NODE),
            binding(2, Transport::Tcp, NodeId([9; 16])),
        ];
        assert_eq!(
            of(&dispatch(), &bindings[1..], &[]),
            Some(FailureCode::Unreachable)
        );
        assert_eq!(of(&dispatch(), &bindings, &[]), None);
        let refused = attempted(&bindings, DeliveryOutcome::Refused);
        assert_eq!(
            of(&dispatch(), &bindings, &[refused]),
            Some(FailureCode::Unreachable)
        );
        let taken = Dispatch {
            taken: true,
            ..dispatch()
        };
        let delivered = attempted(&bindings, DeliveryOutcome::Delivered);
        let plan = plan_around(&taken, &bindings, &[delivered], &[], false);
        assert_eq!(plan, Plan::Done);
    }

    #[test]
    fn e132_without_store_and_forward_an_earlier_message_still_goes_first() {
        let bindings = [binding(1, Transport::Udp, NODE)];
        let mut busy = attempted(&bindings, DeliveryOutcome::Retrying);
        busy.exchange = ExchangeId([4; 16]);
        assert_eq!(
            plan_around(&dispatch(), &bindings, &[], &[busy], false),
            Plan::Wait(dispatch().expires_at)
        );
    }

    #[test]
    fn e131_each_contact_waits_for_what_it_asked_itself() {
        let now = Timestamp(1_000_000);
        let bindings = [
            binding(1, Transport::Udp, NODE),
            binding(2, Transport::Udp, NODE),
        ];
        let failed = |binding: &Binding, retry_at: Option<Timestamp>| Delivery {
            retry_at,
            ..attempted(std::slice::from_ref(binding), DeliveryOutcome::Retrying)
        };
        let (soon, late) = (Timestamp(1_000_001), Timestamp(2_000_000));
        let of = |first: Option<Timestamp>, second: Option<Timestamp>| {
            let trace = [failed(&bindings[0], first), failed(&bindings[1], second)];
            plan_of(&dispatch(), &bindings, &trace)
        };
        assert_eq!(of(Some(late), Some(soon)), Plan::Wait(soon));
        // Its time has come, or its device came back.
        for over in [Some(now), None] {
            let Plan::Attempt { attempts, left } = of(Some(late), over) else {
                panic!("the second is not to wait");
            };
            let retry_at = Some(late);
            assert_eq!(
                (attempts.len(), attempts[0].binding.id),
                (1, bindings[1].id)
            );
            assert_eq!((left.retry_at, left.waits), (retry_at, false));
        }
        // A device that is new has not asked for anything.
        let Plan::Attempt { attempts, .. } =
            plan_of(&dispatch(), &bindings, &[failed(&bindings[0], Some(late))])
        else {
            panic!("the second is new");
        };
        assert_eq!(
            (attempts.len(), attempts[0].binding.id),
            (1, bindings[1].id)
        );
        // What lies beyond its time is looked at when that is up.
        let beyond = dispatch().expires_at.plus(Duration::from_secs(1));
        assert_eq!(
            of(Some(beyond), Some(beyond)),
            Plan::Wait(dispatch().expires_at)
        );
    }

    #[test]
    fn e131_retry_after_counts_where_it_is_tried_again() {
        let entropy = Seeded::default();
        let mint = Mint::new(Timestamp(0), &entropy);
        let bindings = [binding(1, Transport::Udp, NODE)];
        let pending = attempted(&bindings, DeliveryOutcome::Pending);
        let retry_at = |status| {
            let answered = AttemptResult::Answered {
                status,
                reason: String::new(),
                retry_after_s: Some(18_000),
            };
            let (commit, (_, retry_at)) = finish(&mint, &dispatch(), &pending, &answered, None);
            let stored = commit.writes.iter().find_map(|write| match write {
                Write::DeliveryFinish { retry_at, .. } => Some(*retry_at),
                _ => None,
            });
            assert_eq!(stored, Some(retry_at));
            retry_at.map(|at| at.since(Timestamp(0)).as_secs())
        };
        assert_eq!(retry_at(480), Some(18_000));
        assert_eq!((retry_at(603), retry_at(200)), (None, None));
        let at_trunk = Delivery {
            target: DeliveryTarget::Address(AddressId([1; 16])),
            ..pending
        };
        let (_, ended) = finish(&mint, &dispatch(), &at_trunk, &AttemptResult::Timeout, None);
        assert_eq!(ended, (DeliveryOutcome::Timeout, None));
        let unavailable = AttemptResult::Answered {
            status: 503,
            reason: String::new(),
            retry_after_s: Some(1),
        };
        let (_, (_, retry_at)) = finish(&mint, &dispatch(), &at_trunk, &unavailable, None);
        assert_eq!(retry_at, Some(Timestamp(1_000_000)));
    }

    #[test]
    fn what_failed_for_now_and_has_gone_wakes_those_behind_it() {
        let entropy = Seeded::default();
        let mint = Mint::new(Timestamp(0), &entropy);
        let pending = attempted(
            &[binding(1, Transport::Udp, NODE)],
            DeliveryOutcome::Pending,
        );
        let wakes = |attempt, status| {
            let answered = AttemptResult::Answered {
                status,
                reason: String::new(),
                retry_after_s: None,
            };
            let delivery = Delivery {
                attempt,
                ..pending.clone()
            };
            let (commit, _) = finish(&mint, &dispatch(), &delivery, &answered, None);
            let mut writes = commit.writes.iter();
            writes.any(|write| matches!(write, Write::DispatchesWake(_)))
        };
        assert!(wakes(2, 200) && wakes(2, 603));
        assert!(!wakes(1, 200) && !wakes(2, 486));
    }

    #[test]
    fn what_is_left_after_a_round_says_when_it_is_due() {
        let (now, soon) = (Timestamp(1_000_000), Timestamp(1_000_001));
        let retry = Left {
            retry_at: Some(soon),
            waits: true,
        };
        let of = |taken, is_open, left| {
            let round = RoundEnd {
                taken,
                is_open,
                left,
            };
            [true, false].map(|forward| due_after(now, &dispatch(), &round, forward))
        };
        assert_eq!(of(false, true, retry), [Some(soon), Some(now)]);
        assert_eq!(of(true, true, retry), [Some(soon), Some(now)]);
        assert_eq!(of(true, false, WAITS), [Some(dispatch().expires_at); 2]);
        assert_eq!(of(false, false, Left::default()), [Some(now); 2]);
        assert_eq!(of(true, false, Left::default()), [None; 2]);
    }

    #[test]
    fn what_is_too_long_for_each_contact_says_so() {
        let bindings = [binding(1, Transport::Udp, NODE)];
        let mut refused = attempted(&bindings, DeliveryOutcome::Refused);
        refused.sip_status = Some(513);
        let Plan::Fail(failure) = plan_of(&dispatch(), &bindings, &[refused]) else {
            panic!("it goes on");
        };
        assert_eq!(failure.code, FailureCode::TooLarge);
    }

    #[test]
    fn the_waits_grow_and_honour_retry_after() {
        let entropy = Seeded::default();
        let mint = Mint::new(Timestamp(0), &entropy);
        let wait = |failed, asked| next_attempt_at(&mint, failed, asked).since(Timestamp(0));
        assert!((4..=5).contains(&wait(1, None).as_secs()));
        assert!((8..=10).contains(&wait(2, None).as_secs()));
        assert!((300..=375).contains(&wait(40, None).as_secs()));
        assert_eq!(wait(1, Some(100)).as_secs(), 100);
    }
}

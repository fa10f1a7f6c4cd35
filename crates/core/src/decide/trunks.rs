//! Trunks: at which address a message leaves, and when the next one is tried.
//!
//! The addresses of a trunk are tried one after the other, the best first: to the next after silence, a broken connection or
//! a 5xx. What another status says, the system behind the trunk says. Which trunk a message goes by is
//! [`super::routing`]'s; by which one a message came that has no digest is decided here.

use super::Mint;
use super::delivery::next_attempt_at;
use super::routing::{is_e164, outward_addresses, transformed};
use crate::commit::{Commit, Precondition, Write};
use crate::delivery::{Delivery, DeliveryOutcome, DeliveryTarget, Dispatch, Way, call_id};
use crate::endpoint::{Address, AddressDirection, Endpoint, PORT_DEFAULT};
use crate::message::{Failure, FailureCode};
use crate::ports::store::Realm;
use crate::{AccountId, DeliveryId, Timestamp};
use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};

/// What to do with a claimed dispatch that goes out by a trunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrunkPlan {
    /// Attempt this address.
    Attempt(Box<TrunkAttempt>),
    /// Each address asked not to be tried before then.
    Wait(Timestamp),
    /// The trunk took it.
    Done,
    /// It will not arrive.
    Fail(Failure),
}

/// One attempt to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrunkAttempt {
    /// The address.
    pub address: Address,
    /// The Request-URI.
    pub request_uri: String,
    /// The attempt as stored, or to be stored.
    pub delivery: Delivery,
    /// Whether it must be stored first.
    pub is_new: bool,
}

/// Plans the next attempt of a dispatch: at the address that was tried the least, the best of those first, of those that did
/// not ask for more time; an attempt of unknown outcome is repeated.
#[must_use]
pub fn plan(
    mint: &Mint<'_>,
    dispatch: &Dispatch,
    trunk: &Endpoint,
    trace: &[Delivery],
) -> TrunkPlan {
    let last = trace.iter().rev().find(|d| d.sip_status.is_some());
    let fail = |code: FailureCode| {
        TrunkPlan::Fail(Failure {
            code,
            sip_status: last.and_then(|d| d.sip_status),
            reason: last.and_then(|d| d.reason.clone()),
        })
    };
    if dispatch.taken {
        return TrunkPlan::Done;
    }
    if mint.now >= dispatch.expires_at {
        return fail(FailureCode::Expired);
    }
    if !trunk.enabled {
        return fail(FailureCode::EndpointDisabled);
    }
    if let Some(refused) = trace.iter().rev().find(|d| ends_all(d)) {
        return fail(match refused.sip_status {
            Some(401 | 407) => FailureCode::AuthFailed,
            _ => FailureCode::Refused,
        });
    }
    let addresses = outward_addresses(trunk);
    if addresses.is_empty() {
        return fail(FailureCode::NoRoute);
    }
    let is_open = |address: &&Address| {
        let latest = latest(trace, address);
        latest.is_none_or(|delivery| !delivery.outcome.is_final())
    };
    let open: Vec<&Address> = addresses.into_iter().filter(is_open).collect();
    let rest = |address: &&Address| rests_until(trace, address, mint.now);
    let ready = open
        .iter()
        .copied()
        .filter(|address| rest(address).is_none());
    // Of equals `min_by_key` gives the first.
    if let Some(address) = ready.min_by_key(|address| attempts(trace, address)) {
        return TrunkPlan::Attempt(Box::new(attempt(mint, dispatch, trunk, address, trace)));
    }
    match open.iter().filter_map(rest).min() {
        Some(until) => TrunkPlan::Wait(until.min(dispatch.expires_at)),
        None => fail(FailureCode::Refused),
    }
}

/// Until when an address asked not to be tried again, if that lies ahead.
fn rests_until(trace: &[Delivery], address: &Address, now: Timestamp) -> Option<Timestamp> {
    latest(trace, address)?.retry_at.filter(|at| *at > now)
}

/// Whether an answer is that of the system behind the trunk, so that no other address is asked.
fn ends_all(delivery: &Delivery) -> bool {
    let is_of_address = delivery.sip_status.is_some_and(|status| status / 100 == 5);
    delivery.outcome == DeliveryOutcome::Refused && !is_of_address
}

fn latest<'t>(trace: &'t [Delivery], address: &Address) -> Option<&'t Delivery> {
    let target = DeliveryTarget::Address(address.id);
    trace
        .iter()
        .rev()
        .find(|delivery| delivery.target == target)
}

fn attempts(trace: &[Delivery], address: &Address) -> usize {
    let target = DeliveryTarget::Address(address.id);
    let ended = trace.iter().filter(|delivery| {
        delivery.target == target && delivery.outcome != DeliveryOutcome::Pending
    });
    ended.count()
}

fn attempt(
    mint: &Mint<'_>,
    dispatch: &Dispatch,
    trunk: &Endpoint,
    address: &Address,
    trace: &[Delivery],
) -> TrunkAttempt {
    let request_uri = request_uri(dispatch, address);
    let latest_here = latest(trace, address);
    if let Some(pending) = latest_here.filter(|d| d.outcome == DeliveryOutcome::Pending) {
        return TrunkAttempt {
            address: address.clone(),
            request_uri,
            delivery: pending.clone(),
            is_new: false,
        };
    }
    let token = || crate::digest::hex(&mint.bytes::<12>());
    // The addresses lead to one system: the same Call-ID and CSeq tell it that this is the same message.
    let any = trace.last();
    TrunkAttempt {
        delivery: Delivery {
            id: mint.id(DeliveryId::new),
            account: trunk.account,
            exchange: dispatch.id,
            recipient: dispatch.recipient,
            message: dispatch.out_message,
            target: DeliveryTarget::Address(address.id),
            contact_uri: format!("sip:{}", host_and_port(address)),
            transport: address.transport,
            call_id: any.map_or_else(|| call_id(dispatch.id, mint.bytes()), |d| d.call_id.clone()),
            from_tag: any.map_or_else(token, |d| d.from_tag.clone()),
            cseq: any.map_or(1, |d| d.cseq),
            branch: format!("z9hG4bK{}", token()),
            attempt: latest_here.map_or(1, |d| d.attempt.saturating_add(1)),
            started_at: mint.now,
            finished_at: None,
            sip_status: None,
            reason: None,
            outcome: DeliveryOutcome::Pending,
            retry_at: None,
        },
        address: address.clone(),
        request_uri,
        is_new: true,
    }
}

fn request_uri(dispatch: &Dispatch, address: &Address) -> String {
    match &dispatch.way {
        Way::Uri(uri) => uri.clone(),
        Way::Number(number) => {
            format!("sip:{}@{}", escaped(number), host_and_port(address))
        }
        Way::Contacts => dispatch.to.clone(),
    }
}

/// A number as the user part of a URI: what may not stand there is escaped (RFC 3261 section 19.1.2).
fn escaped(number: &str) -> String {
    let mut user = String::with_capacity(number.len());
    for c in number.chars() {
        let mut utf8 = [0; 4];
        let text: &str = c.encode_utf8(&mut utf8);
        if sip_validate::user(text).is_ok() {
            user.push(c);
        } else {
            user.extend(text.bytes().map(|octet| format!("%{octet:02X}")));
        }
    }
    user
}

/// The host of an address as a URI spells it, with the port unless it is the default.
fn host_and_port(address: &Address) -> String {
    let host = match address.ip.parse::<Ipv6Addr>() {
        Ok(v6) => format!("[{v6}]"),
        Err(_) => address.ip.clone(),
    };
    if address.port == PORT_DEFAULT {
        host
    } else {
        format!("{host}:{}", address.port)
    }
}

/// Counts the attempts that the system behind a trunk may have seen by the end of one: those at its address, and those at others
/// that it did not answer in time. They share Call-ID, From tag and CSeq, so that one more may be answered 482 (RFC 3261 section
/// 8.2.2.2) because the message is there.
#[must_use]
pub fn attempts_seen(trace: &[Delivery], ended: &Delivery) -> i32 {
    let is_open = |earlier: &&Delivery| {
        let silent = [DeliveryOutcome::Timeout, DeliveryOutcome::Pending];
        earlier.target != ended.target && silent.contains(&earlier.outcome)
    };
    let elsewhere = trace.iter().filter(is_open).count();
    let elsewhere = i32::try_from(elsewhere).unwrap_or(i32::MAX);
    ended.attempt.saturating_add(elsewhere)
}

/// Decides on storing a new attempt; `None` when it is there already.
#[must_use]
pub fn start(mint: &Mint<'_>, dispatch: &Dispatch, attempt: &TrunkAttempt) -> Option<Commit> {
    attempt.is_new.then(|| Commit {
        preconditions: vec![Precondition::DispatchLeased(dispatch.id, dispatch.lease)],
        writes: vec![Write::DeliveryInsert(attempt.delivery.clone())],
        ..Commit::empty(dispatch.account, mint.now)
    })
}

/// When a dispatch is due again whose attempt failed, and how many rounds have ended then: at once while another address was
/// tried less often and the fault is this address's, later when all were tried. `retry_at` is what this address asked for.
#[must_use]
pub fn next_at(
    mint: &Mint<'_>,
    dispatch: &Dispatch,
    trunk: &Endpoint,
    trace: &[Delivery],
    ended: &Delivery,
    (outcome, sip_status): (DeliveryOutcome, Option<u16>),
    retry_at: Option<Timestamp>,
) -> (i32, Timestamp) {
    let fails_over = match outcome {
        DeliveryOutcome::Timeout | DeliveryOutcome::TransportError | DeliveryOutcome::Refused => {
            true
        }
        DeliveryOutcome::Retrying => sip_status.is_some_and(|status| status / 100 == 5),
        DeliveryOutcome::Pending | DeliveryOutcome::Delivered => false,
    };
    let count = |address: &Address| {
        let this = DeliveryTarget::Address(address.id) == ended.target;
        attempts(trace, address) + usize::from(this)
    };
    let here = outward_addresses(trunk)
        .into_iter()
        .find(|address| DeliveryTarget::Address(address.id) == ended.target)
        .map(&count);
    let is_open = |address: &Address| {
        DeliveryTarget::Address(address.id) != ended.target
            && latest(trace, address).is_none_or(|delivery| !delivery.outcome.is_final())
    };
    let others: Vec<(&Address, Timestamp)> = outward_addresses(trunk)
        .into_iter()
        .filter(|address| is_open(address))
        .map(|address| {
            let rest = rests_until(trace, address, mint.now);
            (address, rest.unwrap_or(mint.now))
        })
        .collect();
    let has_other = others
        .iter()
        .any(|(address, ready_at)| *ready_at == mint.now && Some(count(address)) < here);
    if outcome == DeliveryOutcome::Refused || fails_over && has_other {
        return (dispatch.rounds, mint.now);
    }
    let rounds = dispatch.rounds.saturating_add(1);
    // What the system behind the trunk says holds for each address.
    let others = others.iter().map(|(_, ready_at)| *ready_at);
    let ready_at = others
        .filter(|_| fails_over)
        .fold(retry_at.unwrap_or(mint.now), Timestamp::min);
    let pause_end = next_attempt_at(mint, rounds, None);
    (rounds, pause_end.max(ready_at).min(dispatch.expires_at))
}

/// The most trunks of one account at one source whose rules are tried on a called number; more are one account's own
/// doing, and the rules cost time.
const TRIED_PER_ACCOUNT: usize = 8;

/// The addresses that the names of trunks lead to.
pub type NameAddresses = HashMap<String, Vec<IpAddr>>;

/// Where a message without a digest came from, and whom it calls.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// Its source, an IPv4 one as such.
    pub source: IpAddr,
    /// Our port at which it arrived.
    pub port: u16,
    /// What the names of trunks lead to.
    pub names: &'a NameAddresses,
    /// The user of the Request-URI, as it was written.
    pub to_user: Option<&'a str>,
    /// The domain of ours that the Request-URI names.
    pub realm: Option<&'a Realm>,
}

/// By which trunk a message without a digest came, as far as its source tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CameBy {
    /// By none that is known by its source.
    Unknown,
    /// By this one, which its source alone makes known.
    Source(Box<Endpoint>),
    /// By one that has to prove itself in the domain of this name.
    Digest(String),
    /// By one of several.
    Several,
}

/// Returns the enabled trunks that stand at the source of a message: one of its addresses for what comes in is the source,
/// or a name that leads to it, and has the port of ours at which the message arrived.
#[must_use]
pub fn standing_at<'t>(trunks: &'t [Endpoint], arrival: &Arrival<'_>) -> Vec<&'t Endpoint> {
    let fits = |address: &Address| {
        is_inward(address)
            && address.dst_port == arrival.port
            && match address.ip.parse::<IpAddr>() {
                Ok(ip) => ip.to_canonical() == arrival.source,
                Err(_) => arrival
                    .names
                    .get(&address.ip)
                    .is_some_and(|known| known.contains(&arrival.source)),
            }
    };
    let enabled = trunks.iter().filter(|trunk| trunk.enabled);
    enabled
        .filter(|trunk| trunk.nested.addresses.iter().any(fits))
        .collect()
}

fn is_inward(address: &Address) -> bool {
    address.direction != AddressDirection::Outbound
}

/// Returns the trunks of the account that has the domain of the Request-URI.
#[must_use]
pub fn of_domain<'t>(standing: &[&'t Endpoint], realm: &Realm) -> Vec<&'t Endpoint> {
    let owned = standing.iter().filter(|t| t.account == realm.account);
    owned.copied().collect()
}

/// Returns the numbers that a message may call: as its user was written, and as each trunk's rules make it.
#[must_use]
pub fn numbers_called<'t>(standing: &[&'t Endpoint], user: &str) -> NumbersCalled<'t> {
    let mut tried: HashMap<AccountId, usize> = HashMap::new();
    let made = standing.iter().filter_map(|trunk| {
        let tried = tried.entry(trunk.account).or_default();
        *tried += 1;
        let number = (*tried <= TRIED_PER_ACCOUNT).then(|| transformed(trunk, user).number)??;
        is_e164(&number).then_some((*trunk, number))
    });
    NumbersCalled {
        made: made.collect(),
        written: sip_validate::e164(user).ok().map(Cow::into_owned),
    }
}

/// The numbers that a message may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumbersCalled<'t> {
    written: Option<String>,
    made: Vec<(&'t Endpoint, String)>,
}

impl<'t> NumbersCalled<'t> {
    /// Returns them, each once.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        let made = self.made.iter().map(|(_, number)| number);
        let all: BTreeSet<&String> = self.written.iter().chain(made).collect();
        all.into_iter().cloned().collect()
    }

    /// Returns the trunks of the account that has the number as it was written; if none has it, those whose rules make it a
    /// number of their own account.
    #[must_use]
    pub fn of_owners(&self, owners: &HashMap<String, AccountId>) -> Vec<&'t Endpoint> {
        let owner = self.written.as_ref().and_then(|number| owners.get(number));
        let of_owner = |(trunk, _): &&(&Endpoint, String)| Some(&trunk.account) == owner;
        let takes =
            |(trunk, number): &&(&Endpoint, String)| owners.get(number) == Some(&trunk.account);
        let mut found: Vec<_> = self.made.iter().filter(of_owner).collect();
        if found.is_empty() {
            found = self.made.iter().filter(takes).collect();
        }
        found.into_iter().map(|(trunk, _)| *trunk).collect()
    }
}

/// Says by which of the trunks that stand at its source a message came. Those that must prove themselves are told apart by
/// their digest, so that only those known by their source alone can be too many.
#[must_use]
pub fn came_by(standing: &[&Endpoint], realm: Option<&Realm>) -> CameBy {
    if let [trunk] = standing
        && !trunk.auth_required
    {
        return CameBy::Source(Box::new((*trunk).clone()));
    }
    if standing.iter().any(|trunk| !trunk.auth_required) {
        return CameBy::Several;
    }
    let domains: BTreeSet<&str> = standing.iter().map(|t| t.domain_name.as_str()).collect();
    let asked = realm.map(|realm| realm.name.as_str());
    match (asked.filter(|name| domains.contains(name)), domains.first()) {
        (Some(name), _) => CameBy::Digest(name.to_owned()),
        (None, None) => CameBy::Unknown,
        (None, Some(name)) if domains.len() == 1 => CameBy::Digest((*name).to_owned()),
        (None, Some(_)) => CameBy::Several,
    }
}

/// Returns the names among the addresses at which a message could come in, each with the account that wrote it.
pub fn inward_names(trunks: &[Endpoint]) -> impl Iterator<Item = (AccountId, &str)> {
    let enabled = trunks.iter().filter(|trunk| trunk.enabled);
    let addresses = enabled.flat_map(|trunk| {
        let addresses = trunk.nested.addresses.iter();
        addresses.map(|address| (trunk.account, address))
    });
    addresses
        .filter(|(_, address)| is_inward(address) && address.ip.parse::<IpAddr>().is_err())
        .map(|(account, address)| (account, address.ip.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::delivery::outcome;
    use crate::decide::testing::{self, Seeded};
    use crate::endpoint::Transformation;
    use crate::ports::AttemptResult;
    use crate::transformation::Rule;
    use crate::{AddressId, TransformationId};
    use std::time::Duration;

    /// Two addresses, of which the second has a port of its own.
    fn address(n: u8, priority: i32) -> Address {
        Address {
            port: if n == 1 { 5060 } else { 5070 },
            ..testing::address(n, priority)
        }
    }

    fn trunk(addresses: Vec<Address>) -> Endpoint {
        testing::trunk("trunk", addresses)
    }

    fn dispatch() -> Dispatch {
        Dispatch {
            way: Way::Number("+12125550100".into()),
            ..testing::dispatch()
        }
    }

    fn planned(trunk: &Endpoint, trace: &[Delivery]) -> Result<TrunkAttempt, FailureCode> {
        let entropy = Seeded::default();
        let mint = Mint::new(Timestamp(1), &entropy);
        match plan(&mint, &dispatch(), trunk, trace) {
            TrunkPlan::Attempt(attempt) => Ok(*attempt),
            TrunkPlan::Fail(failure) => Err(failure.code),
            TrunkPlan::Done | TrunkPlan::Wait(_) => panic!("it goes on"),
        }
    }

    /// Makes the attempts that follow from these ends, and gives the address of each with whether it came at once.
    fn run(trunk: &Endpoint, ends: &[(DeliveryOutcome, Option<u16>)]) -> Vec<(String, bool)> {
        let entropy = Seeded::default();
        let mint = Mint::new(Timestamp(1), &entropy);
        let (mut trace, mut seen, mut at_once) = (Vec::new(), Vec::new(), true);
        for end in ends {
            let mut delivery = planned(trunk, &trace).unwrap().delivery;
            seen.push((delivery.contact_uri.clone(), at_once));
            let (_, due) = next_at(&mint, &dispatch(), trunk, &trace, &delivery, *end, None);
            at_once = due == mint.now;
            (delivery.outcome, delivery.sip_status) = *end;
            trace.push(delivery);
        }
        seen
    }

    #[test]
    fn h163_addresses_by_priority_with_fail_over() {
        let trunk = trunk(vec![address(2, 5), address(1, 0)]);
        let (one, two) = ("sip:192.0.2.1".to_owned(), "sip:192.0.2.2:5070".to_owned());
        let silent = (DeliveryOutcome::Timeout, None);
        let broken = (DeliveryOutcome::TransportError, None);
        let unavailable = (DeliveryOutcome::Retrying, Some(503));
        assert_eq!(
            run(&trunk, &[silent, unavailable, broken, silent, silent]),
            [
                (one.clone(), true),
                (two.clone(), true),
                (one.clone(), false),
                (two.clone(), true),
                (one.clone(), false),
            ]
        );
        // What the other side says for now holds for both addresses.
        let busy = (DeliveryOutcome::Retrying, Some(486));
        assert_eq!(run(&trunk, &[busy, busy]), [(one, true), (two, false)]);
    }

    #[test]
    fn e131_an_address_that_asked_for_time_is_left_out_of_its_turn() {
        let entropy = Seeded::default();
        let mint = Mint::new(Timestamp(1), &entropy);
        let trunk = trunk(vec![address(1, 0), address(2, 1)]);
        let later = Timestamp(1).plus(Duration::from_secs(60));
        let unavailable = (DeliveryOutcome::Retrying, Some(503));
        let ended = |trace: &[Delivery], retry_at| {
            let delivery = planned(&trunk, trace).unwrap().delivery;
            let (_, due_at) = next_at(
                &mint,
                &dispatch(),
                &trunk,
                trace,
                &delivery,
                unavailable,
                retry_at,
            );
            let (outcome, sip_status) = unavailable;
            let delivery = Delivery {
                outcome,
                sip_status,
                retry_at,
                ..delivery
            };
            (delivery, due_at)
        };
        let (first, due_at) = ended(&[], Some(later));
        assert_eq!(due_at, mint.now, "the other address is asked at once");
        let (second, due_at) = ended(std::slice::from_ref(&first), None);
        assert!(
            (4..=5).contains(&due_at.since(mint.now).as_secs()),
            "the pause alone"
        );
        let mut trace = vec![first, second];
        let third = planned(&trunk, &trace).unwrap();
        assert_eq!(third.address.id, AddressId([2; 16]));
        // Both asked for it: due when the first of both is over.
        let sooner = later.minus(Duration::from_secs(20));
        let (third, due_at) = ended(&trace, Some(sooner));
        assert_eq!(due_at, sooner);
        trace.push(third);
        let plan = plan(&mint, &dispatch(), &trunk, &trace);
        assert_eq!(plan, TrunkPlan::Wait(due_at));
    }

    #[test]
    fn h163_a_refusal_of_the_other_side_ends_it_and_one_of_an_address_does_not() {
        let trunk = trunk(vec![address(1, 0), address(2, 1)]);
        let ended = |trace: &[Delivery], outcome, status| {
            let mut delivery = planned(&trunk, trace).unwrap().delivery;
            (delivery.outcome, delivery.sip_status) = (outcome, Some(status));
            delivery
        };
        for (status, code) in [(404, FailureCode::Refused), (407, FailureCode::AuthFailed)] {
            let refused = ended(&[], DeliveryOutcome::Refused, status);
            assert_eq!(planned(&trunk, &[refused]), Err(code), "{status}");
        }
        let first = ended(&[], DeliveryOutcome::Refused, 501);
        let next = planned(&trunk, std::slice::from_ref(&first)).unwrap();
        assert_eq!(next.address.id, AddressId([2; 16]));
        assert_eq!(
            (&next.delivery.call_id, next.delivery.cseq),
            (&first.call_id, first.cseq)
        );
        assert_ne!(next.delivery.branch, first.branch);
        let second = ended(std::slice::from_ref(&first), DeliveryOutcome::Refused, 505);
        assert_eq!(planned(&trunk, &[first, second]), Err(FailureCode::Refused));
    }

    #[test]
    fn h163_an_attempt_of_unknown_outcome_is_repeated_as_it_was() {
        let trunk = trunk(vec![address(1, 0), address(2, 1)]);
        let pending = planned(&trunk, &[]).unwrap().delivery;
        let again = planned(&trunk, std::slice::from_ref(&pending)).unwrap();
        assert_eq!((&again.delivery, again.is_new), (&pending, false));
    }

    #[test]
    fn h163_a_482_after_silence_at_another_address_says_that_the_message_is_there() {
        let trunk = trunk(vec![address(1, 0), address(2, 1)]);
        let looped = AttemptResult::Answered {
            status: 482,
            reason: String::new(),
            retry_after_s: None,
        };
        for (first, status, meant) in [
            (DeliveryOutcome::Timeout, None, DeliveryOutcome::Delivered),
            (
                DeliveryOutcome::TransportError,
                None,
                DeliveryOutcome::Refused,
            ),
            (
                DeliveryOutcome::Retrying,
                Some(503),
                DeliveryOutcome::Refused,
            ),
        ] {
            let mut earlier = planned(&trunk, &[]).unwrap().delivery;
            (earlier.outcome, earlier.sip_status) = (first, status);
            let trace = [earlier];
            let next = planned(&trunk, &trace).unwrap().delivery;
            assert_ne!(next.target, trace[0].target);
            let seen = attempts_seen(&trace, &next);
            assert_eq!(outcome(&looped, seen), meant, "{first:?}");
        }
    }

    #[test]
    fn h163_a_number_is_called_at_the_address() {
        let mut v6 = address(2, 0);
        v6.ip = "2001:db8::1".into();
        assert_eq!(
            planned(&trunk(vec![address(1, 0)]), &[])
                .unwrap()
                .request_uri,
            "sip:+12125550100@192.0.2.1"
        );
        assert_eq!(
            planned(&trunk(vec![v6]), &[]).unwrap().request_uri,
            "sip:+12125550100@[2001:db8::1]:5070"
        );
        assert_eq!(escaped("#31#+12"), "%2331%23+12");
        let mut inward = address(1, 0);
        inward.direction = AddressDirection::Inbound;
        assert_eq!(
            planned(&trunk(vec![inward]), &[]),
            Err(FailureCode::NoRoute)
        );
    }

    fn open(name: &str, account: u8, addresses: Vec<Address>) -> Endpoint {
        Endpoint {
            account: AccountId([account; 16]),
            auth_required: false,
            ..testing::trunk(name, addresses)
        }
    }

    fn standing<'t>(trunks: &'t [Endpoint], source: &str, port: u16) -> Vec<&'t str> {
        let arrival = Arrival {
            source: source.parse().unwrap(),
            port,
            names: &HashMap::from([(
                "carrier.example".to_owned(),
                vec!["192.0.2.9".parse().unwrap()],
            )]),
            to_user: None,
            realm: None,
        };
        let found = standing_at(trunks, &arrival);
        found.iter().map(|trunk| trunk.name.as_str()).collect()
    }

    #[test]
    fn h163_a_trunk_is_known_by_source_and_port() {
        let mut named = open("named", 1, vec![address(9, 0)]);
        named.nested.addresses[0].ip = "carrier.example".into();
        let mut outward = open("outward", 1, vec![address(1, 0)]);
        outward.nested.addresses[0].direction = AddressDirection::Outbound;
        let disabled = Endpoint {
            enabled: false,
            ..named.clone()
        };
        let one = open("one", 1, vec![address(1, 0), address(2, 0)]);
        let trunks = [one, named, outward, disabled];
        assert_eq!(standing(&trunks, "192.0.2.1", 5060), ["one"]);
        assert_eq!(standing(&trunks, "192.0.2.9", 5060), ["named"]);
        assert_eq!(standing(&trunks, "192.0.2.3", 5060), [""; 0]);
        assert_eq!(standing(&trunks, "192.0.2.1", 5061), [""; 0]);
        let names = [(AccountId([1; 16]), "carrier.example")];
        assert_eq!(inward_names(&trunks).collect::<Vec<_>>(), names);
    }

    #[test]
    fn h163_only_trunks_known_by_their_source_alone_are_ambiguous() {
        let known = open("known", 1, vec![address(1, 0)]);
        let digest = trunk(vec![address(1, 0)]);
        let elsewhere = Endpoint {
            domain_name: "other.example".into(),
            ..digest.clone()
        };
        let realm = |name: &str| Realm {
            account: AccountId([1; 16]),
            domain: digest.domain,
            name: name.to_owned(),
            digest_algorithms: Vec::new(),
        };
        let example = CameBy::Digest("example.com".into());
        assert_eq!(came_by(&[], None), CameBy::Unknown);
        let source = CameBy::Source(Box::new(known.clone()));
        assert_eq!(came_by(&[&known], None), source);
        assert_eq!(came_by(&[&known, &known], None), CameBy::Several);
        assert_eq!(came_by(&[&known, &digest], None), CameBy::Several);
        assert_eq!(came_by(&[&digest, &digest], None), example);
        let both = [&digest, &elsewhere];
        assert_eq!(came_by(&both, None), CameBy::Several);
        assert_eq!(
            came_by(&both, Some(&realm("third.example"))),
            CameBy::Several
        );
        assert_eq!(came_by(&both, Some(&realm("example.com"))), example);
    }

    fn rewriting(pattern: &str, replace: &str) -> Vec<Transformation> {
        let rule = Rule::Rewrite {
            pattern: pattern.into(),
            replace: replace.into(),
        };
        let id = TransformationId([7; 16]);
        vec![Transformation { id, rule }]
    }

    #[test]
    fn h163_of_the_trunks_of_several_accounts_the_called_number_chooses() {
        let mut other = open("other", 2, vec![address(1, 0)]);
        other.nested.transformations = rewriting("^77", "+");
        let plain = open("plain", 1, vec![address(1, 0)]);
        let standing = [&plain, &other];
        let owners = HashMap::from([
            ("+12125550100".to_owned(), plain.account),
            ("+12125550200".to_owned(), other.account),
        ]);
        let chosen = |user: &str| {
            let called = numbers_called(&standing, user);
            let chosen = called.of_owners(&owners);
            (
                called.all(),
                chosen.iter().map(|t| t.name.clone()).collect::<Vec<_>>(),
            )
        };
        let numbers = |number: &str| vec![number.to_owned()];
        assert_eq!(
            chosen("+12125550100"),
            (numbers("+12125550100"), vec!["plain".to_owned()])
        );
        assert_eq!(
            chosen("7712125550200"),
            (numbers("+12125550200"), vec!["other".to_owned()])
        );
        assert_eq!(chosen("+12125550300"), (numbers("+12125550300"), vec![]));
        // The owner of the number as it was written goes before what another's rules would make of it.
        other.nested.transformations = rewriting("^.*$", "+12125550200");
        let standing = [&other, &plain];
        let chosen = numbers_called(&standing, "+12125550100").of_owners(&owners);
        assert_eq!(chosen, [&plain]);
    }
}

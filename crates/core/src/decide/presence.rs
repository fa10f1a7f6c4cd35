//! Presence: what a REGISTER changes (RFC 3261 section 10.3 steps 6 and 7), and when an endpoint is online.

use super::{Mint, printable};
use crate::binding::{BINDINGS_MAX, Binding, Flow, Refresh};
use crate::commit::{Commit, NewEvent, Precondition, Write};
use crate::endpoint::{Encryption, Endpoint, EndpointState};
use crate::event::{BindingEnd, ContactStatus, EventBody, PeerStatus, Subjects};
use crate::{BindingId, EndpointTokenId, Timestamp};
use sip_validate::SipUri;
use std::time::Duration;

/// A Contact of a REGISTER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContactUpdate {
    /// The URI, without header parameters.
    pub uri: String,
    /// How long to bind, in seconds; 0 removes.
    pub expires_s: u32,
    /// `+sip.instance` (RFC 5626).
    pub instance: Option<String>,
    /// `reg-id` (RFC 5626).
    pub reg_id: Option<u32>,
}

/// What a REGISTER asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contacts {
    /// No Contact: only tell the bindings.
    Query,
    /// `Contact: *` with `Expires: 0`: remove all.
    RemoveAll,
    /// Add, refresh or remove these.
    Update(Vec<ContactUpdate>),
}

/// An authenticated REGISTER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Call-ID.
    pub call_id: String,
    /// CSeq number.
    pub cseq: u32,
    /// What it asks for.
    pub contacts: Contacts,
    /// The way that it came.
    pub flow: Flow,
    /// Path (RFC 3327), as a Route to the device names it.
    pub path: Option<String>,
    /// User-Agent.
    pub user_agent: Option<String>,
    /// The endpoint token that it was authenticated with, and its end.
    pub token: Option<(EndpointTokenId, Timestamp)>,
}

/// Bounds on how long a contact may be bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegistrationTimes {
    /// The shortest, in seconds; less is answered 423.
    pub min_s: u32,
    /// The longest, in seconds; more is granted as this.
    pub max_s: u32,
}

/// Why a REGISTER is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegisterRefusal {
    /// 423 with Min-Expires of so many seconds.
    IntervalTooBrief(u32),
    /// 500: a REGISTER with this Call-ID and a higher CSeq came before.
    OutOfOrder,
    /// 403: the endpoint would have more than [`BINDINGS_MAX`] contacts.
    TooManyContacts,
    /// 403: the endpoint is disabled.
    Disabled,
    /// 403: the endpoint must be reached by TLS, and this came by a plain transport.
    TlsRequired,
}

/// What a REGISTER leads to.
#[derive(Debug, Clone)]
pub struct Registered {
    /// The bindings afterwards.
    pub bindings: Vec<Binding>,
    /// What must be committed before the 200; `None` when nothing changed but ends.
    pub commit: Option<Commit>,
    /// What may be written later.
    pub refreshes: Vec<(BindingId, Refresh)>,
    /// Whether a contact is there that was not: waiting messages are due, and the commit says so.
    pub gained_contact: bool,
    /// The contacts whose refresh has another Call-ID than the one before. A device keeps its Call-ID as long as it runs
    /// (RFC 3261 section 10.2), so it may have been away meanwhile: waiting messages are due.
    pub restarted: Vec<BindingId>,
}

/// Decides on a REGISTER.
///
/// # Errors
/// The reason, which the front door turns into its status.
pub fn register(
    mint: &Mint<'_>,
    times: RegistrationTimes,
    endpoint: &Endpoint,
    mut bindings: Vec<Binding>,
    registration: &Registration,
) -> Result<Registered, RegisterRefusal> {
    if !endpoint.enabled {
        return Err(RegisterRefusal::Disabled);
    }
    if !endpoint.allows(registration.flow.transport) {
        return Err(RegisterRefusal::TlsRequired);
    }
    let mut changes = Changes::default();
    match &registration.contacts {
        Contacts::Query => {}
        Contacts::RemoveAll => {
            for binding in bindings.drain(..) {
                in_order(&binding, registration)?;
                changes.removed.push(binding);
            }
        }
        Contacts::Update(updates) => {
            for update in updates {
                apply(
                    mint,
                    times,
                    endpoint,
                    registration,
                    update,
                    &mut bindings,
                    &mut changes,
                )?;
            }
        }
    }
    if bindings.len() > BINDINGS_MAX {
        return Err(RegisterRefusal::TooManyContacts);
    }
    let gained_contact = !changes.put.is_empty();
    let refreshes = std::mem::take(&mut changes.refreshed);
    let restarted = std::mem::take(&mut changes.restarted);
    Ok(Registered {
        commit: changes
            .into_commit(
                mint,
                endpoint,
                !bindings.is_empty(),
                BindingEnd::Unregistered,
            )
            .map(|commit| still_allowed(commit, endpoint, registration)),
        bindings,
        refreshes,
        gained_contact,
        restarted,
    })
}

/// Whoever registers with a token that is revoked at this moment comes too late, and so does a plain transport when the
/// account's profile begins to demand TLS.
fn still_allowed(mut commit: Commit, endpoint: &Endpoint, registration: &Registration) -> Commit {
    let token = registration.token.map(|(id, _)| id);
    let live = token.map(Precondition::EndpointTokenLive);
    commit.preconditions.extend(live);
    let is_plain = !registration.flow.transport.is_secure();
    if is_plain && endpoint.encryption == Encryption::Default {
        commit
            .preconditions
            .push(Precondition::ProfileEncrypts(endpoint.profile_encrypts));
    }
    commit
}

/// A contact that is bound or changed.
struct Put {
    binding: Binding,
    /// The binding as it is stored; `None` for a new one.
    before: Option<Binding>,
}

#[derive(Default)]
struct Changes {
    put: Vec<Put>,
    removed: Vec<Binding>,
    refreshed: Vec<(BindingId, Refresh)>,
    restarted: Vec<BindingId>,
}

impl Changes {
    /// Forgets what this request did to a binding, which it now treats again; returns the binding as it is stored, `None` for
    /// one that this request made.
    fn before(&mut self, current: &Binding) -> Option<Binding> {
        let id = current.id;
        self.refreshed.retain(|(refreshed, _)| *refreshed != id);
        match self.put.iter().position(|put| put.binding.id == id) {
            Some(i) => self.put.remove(i).before,
            None => Some(current.clone()),
        }
    }

    /// Returns whether this request has bound or refreshed the binding itself.
    fn has(&self, id: BindingId) -> bool {
        self.put.iter().any(|put| put.binding.id == id)
            || self.refreshed.iter().any(|(refreshed, _)| *refreshed == id)
    }

    fn into_commit(
        self,
        mint: &Mint<'_>,
        endpoint: &Endpoint,
        any_left: bool,
        cause: BindingEnd,
    ) -> Option<Commit> {
        if self.put.is_empty() && self.removed.is_empty() {
            return None;
        }
        let mut commit = Commit {
            preconditions: vec![
                Precondition::EndpointAt(endpoint.id, endpoint.version),
                Precondition::BindingsAt(endpoint.id, endpoint.bindings_revision),
            ],
            ..Commit::empty(endpoint.account, mint.now)
        };
        let last = |binding: Option<&Binding>| binding.map(|binding| binding.flow.remote.clone());
        let device = Device {
            came: last(self.put.last().map(|put| &put.binding)),
            went: last(self.removed.last()),
            cause,
        };
        removals(mint, &mut commit, endpoint, self.removed);
        for put in self.put {
            commit.events.extend(put.events(mint, endpoint));
            commit.writes.push(Write::BindingPut(put.binding));
        }
        state_change(mint, &mut commit, endpoint, any_left, device);
        Some(commit)
    }
}

impl Put {
    /// What is told of it: a contact that is known by another URI now is another one to whoever is told, and one of which nothing
    /// is known any more is as good as new.
    fn events(&self, mint: &Mint<'_>, endpoint: &Endpoint) -> Vec<NewEvent> {
        let Self { binding, before } = self;
        let told = |of, status| contact_event(mint, endpoint, of, status);
        let renamed = before
            .as_ref()
            .filter(|before| before.contact_uri != binding.contact_uri);
        let is_told = renamed.is_some()
            || before
                .as_ref()
                .is_none_or(|before| before.status != binding.status);
        let gone = renamed.map(|before| told(before, ContactStatus::Removed));
        let there = is_told.then(|| told(binding, binding.status));
        gone.into_iter().chain(there).collect()
    }
}

/// Of which device a change of presence comes.
struct Device {
    /// Where the last one that came is.
    came: Option<String>,
    /// Where the last one that went was.
    went: Option<String>,
    /// Why it went.
    cause: BindingEnd,
}

/// Returns the presence of an endpoint with or without bindings. A simulated endpoint is always there, a disabled one never.
pub(super) fn state(endpoint: &Endpoint, any_bindings: bool) -> EndpointState {
    let is_there = endpoint.enabled && (any_bindings || endpoint.simulation.is_some());
    match (is_there, endpoint.state) {
        (true, _) => EndpointState::Online,
        (false, EndpointState::Unknown) => EndpointState::Unknown,
        (false, EndpointState::Online | EndpointState::Offline) => EndpointState::Offline,
    }
}

/// Adds to a commit what takes these bindings from an endpoint, with their events; returns its presence then.
pub(super) fn remove_from(
    mint: &Mint<'_>,
    commit: &mut Commit,
    endpoint: &Endpoint,
    removed: Vec<Binding>,
    any_left: bool,
    cause: BindingEnd,
) -> EndpointState {
    let device = Device {
        came: None,
        went: removed.last().map(|binding| binding.flow.remote.clone()),
        cause,
    };
    removals(mint, commit, endpoint, removed);
    state_change(mint, commit, endpoint, any_left, device)
}

fn removals(mint: &Mint<'_>, commit: &mut Commit, endpoint: &Endpoint, removed: Vec<Binding>) {
    // All contacts that are left may have refused what waits for one of these.
    let wake = (!removed.is_empty()).then_some(Write::DispatchesWake(endpoint.id));
    for binding in removed {
        commit.events.push(contact_event(
            mint,
            endpoint,
            &binding,
            ContactStatus::Removed,
        ));
        commit
            .writes
            .push(Write::BindingDelete(endpoint.id, binding.id));
    }
    commit.writes.extend(wake);
}

fn contact_event(
    mint: &Mint<'_>,
    endpoint: &Endpoint,
    binding: &Binding,
    status: ContactStatus,
) -> NewEvent {
    mint.event(
        Subjects::of(endpoint),
        EventBody::ContactStatusChanged {
            uri: binding.contact_uri.clone(),
            aor: endpoint.sip_uri(),
            status,
            round_trip: None,
        },
    )
}

fn state_change(
    mint: &Mint<'_>,
    commit: &mut Commit,
    endpoint: &Endpoint,
    any_bindings: bool,
    device: Device,
) -> EndpointState {
    let state = state(endpoint, any_bindings);
    if state != endpoint.state {
        commit
            .writes
            .push(Write::EndpointStateSet(endpoint.id, state));
        let subjects = Subjects::of(endpoint);
        let event = EventBody::EndpointStateChanged { state };
        commit.events.push(mint.event(subjects, event));
        let (status, cause, remote) = match state {
            EndpointState::Online => (PeerStatus::Reachable, None, device.came),
            EndpointState::Offline | EndpointState::Unknown => {
                (PeerStatus::Unreachable, Some(device.cause), device.went)
            }
        };
        // That of a simulation comes of no device.
        if let Some(remote) = remote {
            let peer = EventBody::PeerStatusChanged {
                status,
                cause,
                remote,
            };
            commit.events.push(mint.event(subjects, peer));
        }
    }
    state
}

fn apply(
    mint: &Mint<'_>,
    times: RegistrationTimes,
    endpoint: &Endpoint,
    registration: &Registration,
    update: &ContactUpdate,
    after: &mut Vec<Binding>,
    changes: &mut Changes,
) -> Result<(), RegisterRefusal> {
    // Step 6: only an interval of under an hour may be refused as too brief.
    if update.expires_s > 0 && update.expires_s < times.min_s && update.expires_s < 3600 {
        return Err(RegisterRefusal::IntervalTooBrief(times.min_s));
    }
    let known = after.iter().position(|b| same_contact(b, update));
    if let Some(i) = known
        && !changes.has(after[i].id)
    {
        in_order(&after[i], registration)?;
    }
    if update.expires_s == 0 {
        let stored = known.and_then(|i| changes.before(&after.remove(i)));
        changes.removed.extend(stored);
        return Ok(());
    }
    // What was found out about a device holds while it stays where it is, under the URI that it was asked by.
    let found_out = known.map(|i| &after[i]).filter(|known| {
        same_flow(&known.flow, &registration.flow) && known.contact_uri == update.uri
    });
    let granted = Duration::from_secs(u64::from(update.expires_s.min(times.max_s)));
    let expires_at = mint.now.plus(granted);
    let expires_at = match registration.token {
        Some((_, end)) => expires_at.min(end),
        None => expires_at,
    };
    let binding = Binding {
        id: known.map_or_else(|| mint.id(BindingId::new), |i| after[i].id),
        account: endpoint.account,
        endpoint: endpoint.id,
        contact_uri: update.uri.clone(),
        flow: registration.flow.clone(),
        call_id: registration.call_id.clone(),
        cseq: registration.cseq,
        instance: update.instance.clone(),
        reg_id: update.reg_id,
        path: registration.path.clone(),
        user_agent: registration.user_agent.as_deref().map(printable),
        registered_at: known.map_or(mint.now, |i| after[i].registered_at),
        refreshed_at: mint.now,
        expires_at,
        status: found_out.map_or(ContactStatus::NonQualified, |known| known.status),
        round_trip: found_out.and_then(|known| known.round_trip),
        qualified_at: found_out.and_then(|known| known.qualified_at),
        token: registration.token.map(|(id, _)| id),
    };
    match known {
        Some(i)
            if only_refreshes(&after[i], &binding)
                && !ends_soon(&after[i], mint.now)
                && !changes.has(binding.id) =>
        {
            if after[i].call_id != binding.call_id {
                changes.restarted.push(binding.id);
            }
            let refresh = Refresh {
                call_id: binding.call_id.clone(),
                cseq: binding.cseq,
                at: mint.now,
                expires_at,
            };
            changes.refreshed.push((binding.id, refresh));
            after[i] = binding;
        }
        Some(i) => {
            let before = changes.before(&after[i]);
            after[i] = binding.clone();
            changes.put.push(Put { binding, before });
        }
        None => {
            after.push(binding.clone());
            let before = None;
            changes.put.push(Put { binding, before });
        }
    }
    Ok(())
}

/// Returns whether a Contact means a binding: the same instance and reg-id (RFC 5626 section 6), else the same URI.
fn same_contact(binding: &Binding, update: &ContactUpdate) -> bool {
    match (&binding.instance, &update.instance) {
        (Some(a), Some(b)) if binding.reg_id.is_some() || update.reg_id.is_some() => {
            a == b && binding.reg_id == update.reg_id
        }
        _ => same_uri(&binding.contact_uri, &update.uri),
    }
}

/// Compares Contact URIs (RFC 3261 section 19.1.4). URIs that can't be read are compared as text.
fn same_uri(a: &str, b: &str) -> bool {
    a == b
        || matches!(
            (SipUri::parse_received(a), SipUri::parse_received(b)),
            (Ok(a), Ok(b)) if a.is_equivalent(&b)
        )
}

/// A binding near its end is committed when it is refreshed: the sweep that is about to remove it then sees the change.
fn ends_soon(binding: &Binding, now: Timestamp) -> bool {
    binding.expires_at <= now.plus(Duration::from_secs(5))
}

/// Step 7: with the same Call-ID the CSeq must rise.
fn in_order(binding: &Binding, registration: &Registration) -> Result<(), RegisterRefusal> {
    if binding.call_id == registration.call_id && registration.cseq <= binding.cseq {
        return Err(RegisterRefusal::OutOfOrder);
    }
    Ok(())
}

fn same_flow(old: &Flow, new: &Flow) -> bool {
    old.transport == new.transport
        && old.remote == new.remote
        && old.local == new.local
        && (!new.transport.is_stream()
            || (old.node == new.node && old.connection == new.connection))
}

fn only_refreshes(old: &Binding, new: &Binding) -> bool {
    same_flow(&old.flow, &new.flow)
        && old.path == new.path
        && old.contact_uri == new.contact_uri
        && old.user_agent == new.user_agent
        && old.instance == new.instance
        && old.reg_id == new.reg_id
        && old.token == new.token
}

/// Decides on what a device's answer to an OPTIONS changes, or its silence; `None` when the binding that was asked is gone, or
/// leads elsewhere now. An event is raised when the status changes, not for each answer.
#[must_use]
pub fn qualify(
    mint: &Mint<'_>,
    endpoint: &Endpoint,
    bindings: &[Binding],
    asked: &Binding,
    round_trip: Option<Duration>,
) -> Option<Commit> {
    let binding = bindings.iter().find(|binding| {
        binding.id == asked.id
            && same_flow(&binding.flow, &asked.flow)
            && binding.contact_uri == asked.contact_uri
    })?;
    let status = match round_trip {
        Some(_) => ContactStatus::Reachable,
        None => ContactStatus::Unreachable,
    };
    let mut commit = Commit {
        writes: vec![Write::BindingQualify {
            endpoint: endpoint.id,
            id: binding.id,
            status,
            round_trip,
            at: mint.now,
        }],
        ..Commit::empty(endpoint.account, mint.now)
    };
    if status != binding.status {
        let revision = endpoint.bindings_revision;
        commit.preconditions = vec![Precondition::BindingsAt(endpoint.id, revision)];
        let changed = EventBody::ContactStatusChanged {
            uri: binding.contact_uri.clone(),
            aor: endpoint.sip_uri(),
            status,
            round_trip,
        };
        commit.events = vec![mint.event(Subjects::of(endpoint), changed)];
    }
    Some(commit)
}

/// Decides on removing some of an endpoint's bindings, which ended or whose connection closed; `None` when none of
/// them is there any more.
#[must_use]
pub fn remove(
    mint: &Mint<'_>,
    endpoint: &Endpoint,
    bindings: &[Binding],
    gone: impl Fn(&Binding) -> bool,
    cause: BindingEnd,
) -> Option<Commit> {
    let (removed, left): (Vec<_>, Vec<_>) = bindings.iter().cloned().partition(|b| gone(b));
    let changes = Changes {
        removed,
        ..Changes::default()
    };
    changes.into_commit(mint, endpoint, !left.is_empty(), cause)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binding::Transport;
    use crate::decide::testing::{Seeded, endpoint};
    use crate::event::EventBody;
    use crate::id::NodeId;

    const TIMES: RegistrationTimes = RegistrationTimes {
        min_s: 60,
        max_s: 7200,
    };

    fn flow(remote: &str) -> Flow {
        Flow {
            transport: Transport::Udp,
            remote: remote.into(),
            local: "127.0.0.1:5060".into(),
            node: NodeId([1; 16]),
            connection: 0,
        }
    }

    fn contact(uri: &str, expires_s: u32) -> ContactUpdate {
        ContactUpdate {
            uri: uri.into(),
            expires_s,
            instance: None,
            reg_id: None,
        }
    }

    fn registration(cseq: u32, contacts: Contacts) -> Registration {
        Registration {
            call_id: "c1".into(),
            cseq,
            contacts,
            flow: flow("192.0.2.1:5060"),
            path: None,
            user_agent: None,
            token: None,
        }
    }

    fn ask(
        bindings: &[Binding],
        registration: &Registration,
    ) -> Result<Registered, RegisterRefusal> {
        let entropy = Seeded::default();
        let mint = Mint::new(Timestamp(1_000_000), &entropy);
        let mut endpoint = endpoint("alice");
        if !bindings.is_empty() {
            endpoint.state = EndpointState::Online;
        }
        register(&mint, TIMES, &endpoint, bindings.to_vec(), registration)
    }

    #[test]
    fn the_first_contact_brings_the_endpoint_online() {
        let contacts = Contacts::Update(vec![contact("sip:alice@192.0.2.1", 9000)]);
        let done = ask(&[], &registration(1, contacts)).unwrap();
        assert!(done.gained_contact);
        assert_eq!(done.bindings.len(), 1);
        assert_eq!(
            done.bindings[0].expires_at,
            Timestamp(1_000_000).plus(Duration::from_secs(7200)),
            "granted at most the longest interval"
        );
        let commit = done.commit.unwrap();
        let online = EventBody::EndpointStateChanged {
            state: EndpointState::Online,
        };
        assert_eq!(commit.events[1].body, online);
        let reachable = EventBody::PeerStatusChanged {
            status: PeerStatus::Reachable,
            cause: None,
            remote: "192.0.2.1:5060".into(),
        };
        assert_eq!(commit.events[2].body, reachable);
        assert_eq!(commit.events.len(), 3);
    }

    #[test]
    fn e114_a_refresh_is_no_event_and_no_commit() {
        let update = || Contacts::Update(vec![contact("sip:alice@192.0.2.1", 60)]);
        let first = ask(&[], &registration(1, update())).unwrap();
        let again = ask(&first.bindings, &registration(2, update())).unwrap();
        assert!(again.commit.is_none());
        assert!(!again.gained_contact);
        assert_eq!(again.refreshes.len(), 1);
        assert_eq!(again.bindings[0].id, first.bindings[0].id);
        assert_eq!(again.restarted, []);
    }

    #[test]
    fn a_new_call_id_is_a_refresh_that_waiting_messages_need() {
        let update = || Contacts::Update(vec![contact("sip:alice@192.0.2.1", 60)]);
        let first = ask(&[], &registration(7, update())).unwrap();
        let mut restarted = registration(1, update());
        restarted.call_id = "c2".into();
        let again = ask(&first.bindings, &restarted).unwrap();
        assert!(again.commit.is_none());
        assert_eq!(again.restarted, [first.bindings[0].id]);
        let [(id, refresh)] = &again.refreshes[..] else {
            panic!("{:?}", again.refreshes)
        };
        assert_eq!(*id, first.bindings[0].id);
        assert_eq!((refresh.call_id.as_str(), refresh.cseq), ("c2", 1));
        // The order is that of the new Call-ID from now on.
        let mut binding = first.bindings[0].clone();
        refresh.apply_to(&mut binding);
        assert_eq!(
            ask(&[binding], &restarted).unwrap_err(),
            RegisterRefusal::OutOfOrder
        );
    }

    #[test]
    fn a_contact_on_another_way_is_committed() {
        let update = || Contacts::Update(vec![contact("sip:alice@192.0.2.1", 60)]);
        let first = ask(&[], &registration(1, update())).unwrap();
        let mut moved = registration(2, update());
        moved.flow = flow("192.0.2.1:6060");
        let again = ask(&first.bindings, &moved).unwrap();
        assert!(again.commit.is_some());
        assert_eq!(again.bindings.len(), 1);
        assert_eq!(again.bindings[0].flow.remote, "192.0.2.1:6060");
    }

    #[test]
    fn removing_the_last_contact_takes_it_offline() {
        let update = |expires| Contacts::Update(vec![contact("sip:alice@192.0.2.1", expires)]);
        let first = ask(&[], &registration(1, update(60))).unwrap();
        for contacts in [update(0), Contacts::RemoveAll] {
            let gone = ask(&first.bindings, &registration(2, contacts)).unwrap();
            assert_eq!(gone.bindings, []);
            let offline = EventBody::EndpointStateChanged {
                state: EndpointState::Offline,
            };
            let events = gone.commit.unwrap().events;
            assert_eq!(events[1].body, offline);
            let unreachable = EventBody::PeerStatusChanged {
                status: PeerStatus::Unreachable,
                cause: Some(BindingEnd::Unregistered),
                remote: "192.0.2.1:5060".into(),
            };
            assert_eq!(events[2].body, unreachable);
        }
    }

    #[test]
    fn a_status_that_changes_is_told_and_an_answer_like_the_last_is_only_kept() {
        let update = || Contacts::Update(vec![contact("sip:alice@192.0.2.1", 60)]);
        let mut bindings = ask(&[], &registration(1, update())).unwrap().bindings;
        let entropy = Seeded::default();
        let mint = Mint::new(Timestamp(1_000_000), &entropy);
        let (of_old, id) = (bindings[0].clone(), bindings[0].id);
        let asked = |bindings: &[Binding], answer: Option<u64>| {
            let answer = answer.map(Duration::from_millis);
            qualify(&mint, &endpoint("alice"), bindings, &of_old, answer)
        };
        for (answer, status, is_told) in [
            (Some(12), ContactStatus::Reachable, true),
            (Some(9), ContactStatus::Reachable, false),
            (None, ContactStatus::Unreachable, true),
            (None, ContactStatus::Unreachable, false),
            (Some(1), ContactStatus::Reachable, true),
        ] {
            let commit = asked(&bindings, answer).unwrap();
            let round_trip = answer.map(Duration::from_millis);
            let [
                Write::BindingQualify {
                    endpoint: _,
                    id: of,
                    status: found,
                    round_trip: took,
                    at,
                },
            ] = &commit.writes[..]
            else {
                panic!("{:?}", commit.writes)
            };
            assert_eq!((*of, *found, *took), (id, status, round_trip));
            assert_eq!(*at, Timestamp(1_000_000));
            assert_eq!(commit.events.len(), usize::from(is_told), "{answer:?}");
            (bindings[0].status, bindings[0].round_trip) = (status, round_trip);
        }
        // It holds over a refresh, and not where the device is elsewhere.
        let again = ask(&bindings, &registration(2, update())).unwrap();
        assert_eq!(again.bindings[0].status, ContactStatus::Reachable);
        let mut moved = registration(3, update());
        moved.flow = flow("192.0.2.1:6060");
        let again = ask(&bindings, &moved).unwrap();
        assert_eq!(again.bindings[0].status, ContactStatus::NonQualified);
        assert_eq!(again.bindings[0].round_trip, None);
        let reset = ("sip:alice@192.0.2.1", ContactStatus::NonQualified);
        assert_eq!(contacts_told(&again), [reset], "told once");
        // What was asked at the old place says nothing of the new one.
        assert!(asked(&again.bindings, None).is_none());
        assert!(asked(&[], Some(1)).is_none());
    }

    /// The contacts that a REGISTER tells of.
    fn contacts_told(done: &Registered) -> Vec<(&str, ContactStatus)> {
        let events = done.commit.iter().flat_map(|commit| &commit.events);
        let told = events.filter_map(|event| match &event.body {
            EventBody::ContactStatusChanged { uri, status, .. } => Some((uri.as_str(), *status)),
            _ => None,
        });
        told.collect()
    }

    #[test]
    fn e114_a_contact_that_gets_another_uri_is_another_contact() {
        let named = |uri: &str, expires_s| {
            Contacts::Update(vec![ContactUpdate {
                instance: Some("<urn:uuid:1>".into()),
                reg_id: Some(1),
                ..contact(uri, expires_s)
            }])
        };
        let (old, new) = ("sip:alice@192.0.2.1", "sip:alice@192.0.2.2");
        let first = ask(&[], &registration(1, named(old, 60))).unwrap();
        let moved = ask(&first.bindings, &registration(2, named(new, 60))).unwrap();
        let (removed, there) = (ContactStatus::Removed, ContactStatus::NonQualified);
        assert_eq!(contacts_told(&moved), [(old, removed), (new, there)]);
        assert_eq!(moved.commit.unwrap().events.len(), 2, "and stays online");
        let gone = ask(&moved.bindings, &registration(3, named(new, 0))).unwrap();
        assert_eq!(contacts_told(&gone), [(new, removed)]);
        // Known by its instance, it is removed by the URI that was told.
        let gone = ask(&moved.bindings, &registration(3, named(old, 0))).unwrap();
        assert_eq!(contacts_told(&gone), [(new, removed)]);
    }

    #[test]
    fn contacts_are_compared_as_uris() {
        for (a, b, same) in [
            ("sip:alice@Host.example", "sip:alice@host.example", true),
            ("sip:%61lice@h.example", "sip:alice@h.example", true),
            (
                "sip:alice@h.example;transport=TCP",
                "sip:alice@h.example;transport=tcp",
                true,
            ),
            ("sip:alice@h.example;ob", "sip:alice@h.example", true),
            (
                "sip:alice@h.example;transport=tcp",
                "sip:alice@h.example",
                false,
            ),
            ("sip:alice@h.example:5060", "sip:alice@h.example", false),
            ("sip:Alice@h.example", "sip:alice@h.example", false),
            ("sips:alice@h.example", "sip:alice@h.example", false),
            ("sip:a%3Bb@h.example", "sip:a;b@h.example", false),
            ("sip:alice@[2001:DB8::1]", "sip:alice@[2001:db8:0::1]", true),
            ("sip:alice@h.example?x=1", "sip:alice@h.example?x=2", false),
            ("sip:alice:pw@h.example", "sip:alice@h.example", false),
            (
                "sip:alice@h.example;x=1;lr",
                "sip:alice@h.example;LR;X=1",
                true,
            ),
        ] {
            assert_eq!(same_uri(a, b), same, "{a} {b}");
            assert_eq!(same_uri(b, a), same, "{b} {a}");
        }
    }

    #[test]
    fn a_refresh_at_the_last_moment_is_committed() {
        let update = |expires| Contacts::Update(vec![contact("sip:alice@192.0.2.1", expires)]);
        let mut first = ask(&[], &registration(1, update(60))).unwrap();
        first.bindings[0].expires_at = Timestamp(1_000_000).plus(Duration::from_secs(5));
        let again = ask(&first.bindings, &registration(2, update(60))).unwrap();
        assert!(again.commit.is_some());
    }

    #[test]
    fn one_contact_twice_in_a_request_is_one_binding() {
        let twice = vec![
            contact("sip:alice@192.0.2.1", 60),
            contact("sip:alice@192.0.2.1", 90),
        ];
        let done = ask(&[], &registration(1, Contacts::Update(twice))).unwrap();
        assert_eq!(done.bindings.len(), 1);
        assert_eq!(
            done.bindings[0].expires_at,
            Timestamp(1_000_000).plus(Duration::from_secs(90))
        );
    }

    #[test]
    fn e102_what_a_request_binds_and_removes_was_never_there() {
        let both = || {
            Contacts::Update(vec![
                contact("sip:alice@192.0.2.1", 600),
                contact("sip:alice@192.0.2.1", 0),
            ])
        };
        let done = ask(&[], &registration(1, both())).unwrap();
        assert_eq!(done.bindings, []);
        assert!(done.commit.is_none(), "{:?}", done.commit);
        assert!(!done.gained_contact);
        // One that was there is removed, whether it was refreshed or moved before.
        let bound = Contacts::Update(vec![contact("sip:alice@192.0.2.1", 60)]);
        let first = ask(&[], &registration(1, bound)).unwrap();
        for remote in ["192.0.2.1:5060", "192.0.2.1:6060"] {
            let mut request = registration(2, both());
            request.flow = flow(remote);
            let gone = ask(&first.bindings, &request).unwrap();
            assert_eq!(gone.bindings, []);
            assert_eq!(gone.refreshes, []);
            let told = [("sip:alice@192.0.2.1", ContactStatus::Removed)];
            assert_eq!(contacts_told(&gone), told);
            let mut writes = gone.commit.unwrap().writes.into_iter();
            let id = first.bindings[0].id;
            assert!(
                matches!(writes.next(), Some(Write::BindingDelete(_, removed)) if removed == id)
            );
            let follows = |write| match write {
                Write::DispatchesWake(_) => true,
                Write::EndpointStateSet(_, state) => state == EndpointState::Offline,
                _ => false,
            };
            assert!(writes.all(follows), "no binding is put");
        }
    }

    #[test]
    fn a_binding_ends_with_its_token() {
        let update = || Contacts::Update(vec![contact("sip:alice@192.0.2.1", 600)]);
        let end = Timestamp(1_000_000).plus(Duration::from_secs(5));
        let id = EndpointTokenId([9; 16]);
        let mut with_token = registration(1, update());
        with_token.token = Some((id, end));
        let first = ask(&[], &with_token).unwrap();
        assert_eq!(first.bindings[0].expires_at, end, "however short");
        let commit = first.commit.unwrap();
        assert!(
            commit
                .preconditions
                .contains(&Precondition::EndpointTokenLive(id))
        );
        // With the password it is bound anew, and no token's any more.
        let again = ask(&first.bindings, &registration(2, update())).unwrap();
        assert!(again.commit.is_some());
        assert_eq!(again.bindings[0].token, None);
    }

    #[test]
    fn refusals() {
        let update = |expires| Contacts::Update(vec![contact("sip:alice@192.0.2.1", expires)]);
        assert_eq!(
            ask(&[], &registration(1, update(59))).unwrap_err(),
            RegisterRefusal::IntervalTooBrief(60)
        );
        let first = ask(&[], &registration(5, update(60))).unwrap();
        for cseq in [4, 5] {
            for contacts in [update(60), update(0), Contacts::RemoveAll] {
                assert_eq!(
                    ask(&first.bindings, &registration(cseq, contacts)).unwrap_err(),
                    RegisterRefusal::OutOfOrder
                );
            }
        }
        let eleven = (0..11).map(|i| contact(&format!("sip:alice@192.0.2.{i}"), 60));
        assert_eq!(
            ask(&[], &registration(1, Contacts::Update(eleven.collect()))).unwrap_err(),
            RegisterRefusal::TooManyContacts
        );
    }
}

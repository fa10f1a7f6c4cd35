//! What was read lately of the endpoints that register, so that a refresh needs no statement. For a database that one process
//! writes; of another process's writes the caller has to tell.
//!
//! It never gives what a finished commit has changed: the writer tells it of every group of commits before they are answered, and
//! what was read before a change is not taken in after it. It knows no connection and no thread.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use sipgraph_core::{
    BindingId, DomainId, EndpointId,
    binding::{Binding, Refresh},
    commit::Write,
    endpoint::Endpoint,
    ports::store::{Credentials, Realm},
};

/// The most endpoints of a generation, of which there are two. With a binding an endpoint takes about 1.5 KiB: 12 MiB in all.
const ENDPOINTS_MAX: usize = 4096;
/// The most names of domains; a name is 30 octets.
const REALMS_MAX: usize = 1024;
/// Changes are remembered by the hash of their endpoint. When two fall together, what was read of the one is not kept: a loss
/// of speed only.
const CHANGES: usize = 4096;

/// How often it is looked for writes of other processes, while anybody asks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// For so long after a look it is relied on: another process's write holds after this time at the latest.
const LOOK_MAX: Duration = Duration::from_secs(2);

/// When a read began, in changes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticket(u64);

/// An endpoint with its bindings.
pub(crate) type Registered = (Arc<Endpoint>, Vec<Binding>);

/// What was read lately.
pub(crate) struct Recent {
    known: Mutex<Known>,
    hasher: RandomState,
    started: Instant,
    /// Milliseconds from `started` to the beginning of the last look, plus one; zero before the first.
    looked_at: AtomicU64,
    is_looking: AtomicBool,
}

struct Known {
    realms: HashMap<String, Arc<Realm>>,
    young: Generation,
    old: Generation,
    /// Changes so far.
    now: u64,
    /// By hash of the endpoint: its last change.
    changed: Box<[u64]>,
    /// The last change that may have concerned anything.
    all_changed: u64,
    /// SQLite's `data_version` at the last look.
    version: Option<i64>,
}

/// Endpoints by id, and their ids by name. When the young generation is full it becomes the old one; what is asked for of the
/// old one becomes young again.
#[derive(Default)]
struct Generation {
    endpoints: HashMap<EndpointId, Entry>,
    names: HashMap<(DomainId, String), EndpointId>,
}

#[derive(Default, Clone)]
struct Entry {
    credentials: Option<Arc<Credentials>>,
    registered: Option<Arc<Registered>>,
    /// Whether no message is on its way to it.
    awaits_nothing: bool,
}

impl Generation {
    fn remove(&mut self, id: EndpointId) -> Option<Entry> {
        let entry = self.endpoints.remove(&id)?;
        if let Some(credentials) = &entry.credentials {
            self.names.remove(&name_of(&credentials.endpoint));
        }
        Some(entry)
    }

    fn insert(&mut self, id: EndpointId, entry: Entry) {
        if let Some(credentials) = &entry.credentials {
            self.names.insert(name_of(&credentials.endpoint), id);
        }
        self.endpoints.insert(id, entry);
    }
}

fn name_of(endpoint: &Endpoint) -> (DomainId, String) {
    (endpoint.domain, endpoint.canonical_name.clone())
}

impl Known {
    /// Takes an entry out, to be put back as young.
    fn take(&mut self, id: EndpointId) -> Option<Entry> {
        self.young.remove(id).or_else(|| self.old.remove(id))
    }

    fn put(&mut self, id: EndpointId, entry: Entry) {
        if self.young.endpoints.len() >= ENDPOINTS_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id, entry);
    }

    /// What is known of an endpoint, which is young from now on.
    fn entry(&mut self, id: EndpointId) -> Option<&Entry> {
        if !self.young.endpoints.contains_key(&id) {
            let entry = self.old.remove(id)?;
            self.put(id, entry);
        }
        self.young.endpoints.get(&id)
    }

    fn forget_all(&mut self) {
        self.now += 1;
        self.all_changed = self.now;
        self.realms.clear();
        self.young = Generation::default();
        self.old = Generation::default();
    }
}

impl Default for Recent {
    fn default() -> Self {
        Self {
            known: Mutex::new(Known {
                realms: HashMap::new(),
                young: Generation::default(),
                old: Generation::default(),
                now: 0,
                changed: vec![0; CHANGES].into_boxed_slice(),
                all_changed: 0,
                version: None,
            }),
            hasher: RandomState::new(),
            started: Instant::now(),
            looked_at: AtomicU64::new(0),
            is_looking: AtomicBool::new(false),
        }
    }
}

impl Recent {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self, id: EndpointId) -> usize {
        let places = u64::try_from(CHANGES).unwrap_or(1);
        usize::try_from(self.hasher.hash_one(id) % places).unwrap_or(0)
    }

    /// Whether what is known may be given: it was looked for other processes' writes a short time ago. When it is time for
    /// another look, `look` is called, which is to have [`Recent::looked`] called; it gives whether that will happen.
    pub(crate) fn is_current(&self, look: impl FnOnce() -> bool) -> bool {
        let looked_at = self.looked_at.load(Ordering::Acquire);
        let age = match looked_at.checked_sub(1) {
            Some(looked_at) => self
                .started
                .elapsed()
                .saturating_sub(Duration::from_millis(looked_at)),
            None => Duration::MAX,
        };
        if age >= LOOK_EVERY && !self.is_looking.swap(true, Ordering::AcqRel) && !look() {
            self.is_looking.store(false, Ordering::Release);
        }
        age < LOOK_MAX
    }

    /// Takes the `data_version` of the writer's connection, which another process's commit changes, as of after `begun`.
    pub(crate) fn looked(&self, begun: Instant, version: Option<i64>) {
        let mut known = self.known();
        if version.is_none() || known.version != version {
            known.forget_all();
            known.version = version;
        }
        drop(known);
        let at = begun.saturating_duration_since(self.started).as_millis();
        let at = u64::try_from(at).unwrap_or(u64::MAX - 1) + 1;
        self.looked_at.store(at, Ordering::Release);
        self.is_looking.store(false, Ordering::Release);
    }

    /// To be taken before a read whose result is given here.
    pub(crate) fn ticket(&self) -> Ticket {
        Ticket(self.known().now)
    }

    pub(crate) fn realm(&self, name: &str) -> Option<Arc<Realm>> {
        self.known().realms.get(name).cloned()
    }

    pub(crate) fn realm_put(&self, ticket: Ticket, name: String, realm: &Arc<Realm>) {
        let mut known = self.known();
        if known.all_changed > ticket.0 {
            return;
        }
        if known.realms.len() >= REALMS_MAX {
            known.realms.clear();
        }
        known.realms.insert(name, Arc::clone(realm));
    }

    pub(crate) fn credentials(
        &self,
        domain: DomainId,
        canonical: &str,
    ) -> Option<Arc<Credentials>> {
        let name = (domain, canonical.to_owned());
        let mut known = self.known();
        let id = known.young.names.get(&name).or(known.old.names.get(&name));
        let id = *id?;
        known.entry(id)?.credentials.clone()
    }

    /// Takes credentials in, unless they have tokens: those end by themselves, and by writes that do not name the endpoint.
    pub(crate) fn credentials_put(&self, ticket: Ticket, credentials: &Arc<Credentials>) {
        if !credentials.tokens.is_empty() {
            return;
        }
        let credentials = Arc::clone(credentials);
        self.put(ticket, credentials.endpoint.id, |entry| {
            entry.credentials = Some(credentials);
        });
    }

    pub(crate) fn registered(&self, id: EndpointId) -> Option<Registered> {
        let found = self.known().entry(id)?.registered.clone()?;
        Some((*found).clone())
    }

    pub(crate) fn registered_put(&self, ticket: Ticket, registered: &Registered) {
        let registered = Arc::new(registered.clone());
        self.put(ticket, registered.0.id, |entry| {
            entry.registered = Some(registered);
        });
    }

    /// Whether it is known that no message is on its way to an endpoint.
    pub(crate) fn awaits_nothing(&self, id: EndpointId) -> bool {
        let mut known = self.known();
        known.entry(id).is_some_and(|entry| entry.awaits_nothing)
    }

    pub(crate) fn awaits_nothing_put(&self, ticket: Ticket, id: EndpointId) {
        self.put(ticket, id, |entry| entry.awaits_nothing = true);
    }

    fn put(&self, ticket: Ticket, id: EndpointId, set: impl FnOnce(&mut Entry)) {
        let place = self.place(id);
        let mut known = self.known();
        if known.all_changed.max(known.changed[place]) > ticket.0 {
            return;
        }
        let mut entry = known.take(id).unwrap_or_default();
        set(&mut entry);
        known.put(id, entry);
    }

    /// Forgets what a commit may have changed, whether it was applied or not. To be called once that can be read, and before
    /// anybody is told of it.
    pub(crate) fn committed(&self, writes: &[Write], is_applied: bool) {
        for write in writes {
            match write {
                // Its names and how it asks; an endpoint of a domain that goes is disabled; and what the profile demands is
                // read with each endpoint.
                Write::DomainUpdate { .. }
                | Write::DomainDeleteBegin(_)
                | Write::DomainDelete(_)
                | Write::SipProfilePut(_) => self.forget_all(),
                Write::EndpointUpdate { endpoint, .. } => self.forget(endpoint.id),
                Write::EndpointTokenInsert { token, .. } => self.forget(token.endpoint),
                Write::EndpointDelete(id)
                | Write::EndpointStateSet(id, _)
                | Write::BindingDelete(id, _)
                | Write::BindingQualify { endpoint: id, .. } => self.forget(*id),
                Write::BindingPut(binding) => self.forget(binding.endpoint),
                Write::BindingRefresh {
                    endpoint,
                    id,
                    refresh,
                } => {
                    if is_applied {
                        self.refresh(*endpoint, *id, refresh);
                    } else {
                        self.forget(*endpoint);
                    }
                }
                Write::DispatchInsert(dispatch) => {
                    self.change(dispatch.recipient, |entry| entry.awaits_nothing = false);
                }
                // What was not there is not remembered; nor is what has tokens.
                Write::DomainInsert(_)
                | Write::EndpointInsert { .. }
                | Write::EndpointTokenRevoke(_) => {}
                // The endpoint's own list is written with the endpoint.
                Write::NumberSet { .. } | Write::NumberRelease(_) => {}
                // Of these nothing is remembered.
                Write::ChatInsert { .. }
                | Write::MessageInsert(_)
                | Write::MessageStatusSet { .. }
                | Write::MessageReadSet { .. }
                | Write::MessageReceiptSet { .. }
                | Write::MessageDelete { .. }
                | Write::ChatMark { .. }
                | Write::ChatClear(_)
                | Write::ChatDelete(_)
                | Write::DispatchesWake(_)
                | Write::DispatchRelease { .. }
                | Write::DispatchTaken(_)
                | Write::DispatchDelete { .. }
                | Write::DeliveryInsert(_)
                | Write::DeliveryFinish { .. }
                | Write::TokenInsert { .. }
                | Write::TokenRevoke(_)
                | Write::RegistrationFailurePut(_)
                | Write::BanLift(_)
                | Write::NamesUniqueSet(_)
                | Write::SipProfileEnforced
                | Write::ApplicationInsert(_)
                | Write::ApplicationUpdate(_)
                | Write::ApplicationDelete(_) => {}
            }
        }
    }

    /// Forgets everything.
    pub(crate) fn forget_all(&self) {
        self.known().forget_all();
    }

    fn forget(&self, id: EndpointId) {
        let place = self.place(id);
        let mut known = self.known();
        known.now += 1;
        known.changed[place] = known.now;
        known.take(id);
    }

    /// Does to a binding what the statement does to its row, rather than forget it: every phone refreshes.
    fn refresh(&self, endpoint: EndpointId, id: BindingId, refresh: &Refresh) {
        self.change(endpoint, |entry| {
            let registered = entry.registered.as_mut();
            let bindings = registered.into_iter().flat_map(|r| &mut Arc::make_mut(r).1);
            bindings
                .filter(|binding| binding.id == id)
                .for_each(|binding| refresh.apply_to(binding));
        });
    }

    fn change(&self, id: EndpointId, change: impl FnOnce(&mut Entry)) {
        let place = self.place(id);
        let mut known = self.known();
        known.now += 1;
        known.changed[place] = known.now;
        let Known { young, old, .. } = &mut *known;
        let young = young.endpoints.get_mut(&id);
        if let Some(entry) = young.or_else(|| old.endpoints.get_mut(&id)) {
            change(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use sipgraph_core::{
        AccountId, EndpointTokenId, Timestamp,
        binding::{Flow, Transport},
        commit::CredentialsChange,
        digest::DigestAlgorithm,
        endpoint::{Encryption, EndpointState, EndpointType, Nested},
        endpoint_token::{EndpointToken, TokenCredentials},
        event::ContactStatus,
        id::NodeId,
    };

    use super::*;

    fn endpoint(number: u64) -> Endpoint {
        let mut id = [0; 16];
        id[8..].copy_from_slice(&number.to_be_bytes());
        Endpoint {
            id: EndpointId(id),
            account: AccountId([1; 16]),
            domain: DomainId([2; 16]),
            domain_name: "example.com".into(),
            external_id: 1,
            kind: EndpointType::SipUser,
            name: format!("Alice{number}"),
            canonical_name: format!("alice{number}"),
            display_name: None,
            description: None,
            application: None,
            enabled: true,
            has_password: true,
            digest_algorithms: vec![DigestAlgorithm::Md5],
            caller_id: None,
            numbers: Vec::new(),
            send_as: None,
            allow_outside: false,
            ciphers: None,
            codecs: None,
            encryption: Encryption::Default,
            profile_encrypts: false,
            capacity: 0,
            cps_limit: None,
            auth_required: true,
            nested: Nested::default(),
            out_sip_username: None,
            has_out_sip_password: false,
            simulation: None,
            state: EndpointState::Online,
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
            version: 1,
            bindings_revision: 1,
        }
    }

    fn credentials(number: u64) -> Arc<Credentials> {
        Arc::new(Credentials {
            endpoint: Arc::new(endpoint(number)),
            ha1: Vec::new(),
            tokens: Vec::new(),
        })
    }

    fn token(number: u64) -> EndpointToken {
        EndpointToken {
            id: EndpointTokenId([5; 16]),
            account: AccountId([1; 16]),
            endpoint: endpoint(number).id,
            created_at: Timestamp(0),
            expires_at: Timestamp(100),
            revoked_at: None,
        }
    }

    fn binding(number: u64) -> Binding {
        let endpoint = endpoint(number);
        Binding {
            id: BindingId(endpoint.id.0),
            account: endpoint.account,
            endpoint: endpoint.id,
            contact_uri: "sip:alice@192.0.2.1".into(),
            flow: Flow {
                transport: Transport::Udp,
                remote: "192.0.2.1:5060".into(),
                local: "127.0.0.1:5060".into(),
                node: NodeId([1; 16]),
                connection: 0,
            },
            call_id: "c".into(),
            cseq: 1,
            instance: None,
            reg_id: None,
            path: None,
            user_agent: None,
            registered_at: Timestamp(10),
            refreshed_at: Timestamp(10),
            expires_at: Timestamp(20),
            status: ContactStatus::NonQualified,
            round_trip: None,
            qualified_at: None,
            token: None,
        }
    }

    /// An endpoint with a binding, of which all is known.
    fn knowing(recent: &Recent, number: u64) -> Registered {
        let registered = (Arc::new(endpoint(number)), vec![binding(number)]);
        recent.credentials_put(recent.ticket(), &credentials(number));
        recent.registered_put(recent.ticket(), &registered);
        registered
    }

    fn found(recent: &Recent, number: u64) -> (bool, bool) {
        let endpoint = endpoint(number);
        let credentials = recent.credentials(endpoint.domain, &endpoint.canonical_name);
        (
            credentials.is_some(),
            recent.registered(endpoint.id).is_some(),
        )
    }

    #[test]
    fn what_a_commit_changes_is_forgotten() {
        let id = endpoint(1).id;
        for write in [
            Write::EndpointDelete(id),
            Write::EndpointStateSet(id, EndpointState::Offline),
            Write::BindingPut(binding(1)),
            Write::BindingDelete(id, binding(1).id),
            Write::BindingQualify {
                endpoint: id,
                id: binding(1).id,
                status: ContactStatus::Reachable,
                round_trip: None,
                at: Timestamp(0),
            },
            Write::EndpointUpdate {
                endpoint: Box::new(endpoint(1)),
                credentials: CredentialsChange::Keep,
                secrets: Vec::new(),
            },
            Write::EndpointTokenInsert {
                token: token(1),
                ha1: Vec::new(),
            },
        ] {
            let recent = Recent::default();
            knowing(&recent, 1);
            knowing(&recent, 2);
            assert_eq!(found(&recent, 1), (true, true));
            recent.committed(std::slice::from_ref(&write), true);
            assert_eq!(found(&recent, 1), (false, false), "{write:?}");
            assert_eq!(found(&recent, 2), (true, true), "{write:?}");
        }
    }

    #[test]
    fn what_was_read_before_a_change_is_not_taken_in_after_it() {
        let recent = Recent::default();
        let before = recent.ticket();
        recent.committed(&[Write::EndpointDelete(endpoint(1).id)], true);
        recent.credentials_put(before, &credentials(1));
        recent.registered_put(before, &(Arc::new(endpoint(1)), Vec::new()));
        assert_eq!(found(&recent, 1), (false, false));
        knowing(&recent, 1);
        assert_eq!(found(&recent, 1), (true, true));

        let before = recent.ticket();
        recent.forget_all();
        recent.credentials_put(before, &credentials(1));
        assert_eq!(found(&recent, 1), (false, false));
    }

    #[test]
    fn credentials_with_tokens_are_not_remembered() {
        let recent = Recent::default();
        let mut with_token = credentials(1);
        Arc::make_mut(&mut with_token)
            .tokens
            .push(TokenCredentials {
                id: EndpointTokenId([5; 16]),
                expires_at: Timestamp(100),
                ha1: Vec::new(),
            });
        recent.credentials_put(recent.ticket(), &with_token);
        assert_eq!(found(&recent, 1), (false, false));
    }

    #[test]
    fn a_refresh_is_done_to_what_is_known() {
        let recent = Recent::default();
        let (endpoint, bindings) = knowing(&recent, 1);
        let before = recent.ticket();
        let refresh = |cseq, at| Write::BindingRefresh {
            endpoint: endpoint.id,
            id: bindings[0].id,
            refresh: Refresh {
                call_id: format!("c{cseq}"),
                cseq,
                at: Timestamp(at),
                expires_at: Timestamp(at + 10),
            },
        };
        // One that came before the last change does nothing.
        recent.committed(&[refresh(5, 30), refresh(4, 29)], true);
        let known = || recent.registered(endpoint.id).unwrap().1.remove(0);
        assert_eq!(
            (known().cseq, known().refreshed_at, known().expires_at),
            (5, Timestamp(30), Timestamp(40))
        );
        recent.registered_put(before, &(endpoint.clone(), bindings.clone()));
        assert_eq!(known().cseq, 5, "read before the refresh was written");
        recent.committed(&[refresh(6, 31)], false);
        assert_eq!(recent.registered(endpoint.id), None, "nobody knows");
    }

    #[test]
    fn all_is_forgotten_with_a_change_of_a_domain() {
        let recent = Recent::default();
        knowing(&recent, 1);
        let realm = Arc::new(Realm {
            account: AccountId([1; 16]),
            domain: DomainId([2; 16]),
            name: "example.com".into(),
            digest_algorithms: Vec::new(),
        });
        let before = recent.ticket();
        recent.realm_put(before, "alias.example".into(), &realm);
        assert_eq!(recent.realm("alias.example"), Some(realm.clone()));
        recent.committed(&[Write::DomainDeleteBegin(realm.domain)], true);
        assert_eq!(recent.realm("alias.example"), None);
        assert_eq!(found(&recent, 1), (false, false));
        recent.realm_put(before, "alias.example".into(), &realm);
        assert_eq!(recent.realm("alias.example"), None);
    }

    #[test]
    fn what_is_asked_for_stays_and_the_rest_goes() {
        let recent = Recent::default();
        let count = u64::try_from(ENDPOINTS_MAX).unwrap();
        for number in 0..3 * count {
            knowing(&recent, number);
            assert_eq!(found(&recent, 0), (true, true));
        }
        assert_eq!(found(&recent, 1), (false, false));
        assert_eq!(found(&recent, 3 * count - 1), (true, true));
        let known = recent.known();
        for generation in [&known.young, &known.old] {
            assert!(generation.endpoints.len() <= ENDPOINTS_MAX);
            assert_eq!(generation.endpoints.len(), generation.names.len());
        }
    }

    #[test]
    fn nothing_is_relied_on_before_a_look_and_after_another_process_wrote() {
        let recent = Recent::default();
        assert!(!recent.is_current(|| true), "it was never looked");
        assert!(!recent.is_current(|| panic!("a look is on its way")));
        recent.looked(Instant::now(), Some(1));
        assert!(recent.is_current(|| panic!("it was looked just now")));
        knowing(&recent, 1);
        recent.looked(Instant::now(), Some(1));
        assert_eq!(found(&recent, 1), (true, true));
        recent.looked(Instant::now(), Some(2));
        assert_eq!(found(&recent, 1), (false, false));
        // A look that can't be made is tried again.
        let recent = Recent::default();
        assert!(!recent.is_current(|| false));
        let mut looks = 0;
        recent.is_current(|| {
            looks += 1;
            true
        });
        assert_eq!(looks, 1);
    }
}

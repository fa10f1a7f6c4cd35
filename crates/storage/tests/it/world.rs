//! Builders in the words of the domain: an account with endpoints that write to each other.

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU64, Ordering},
};

use sipgraph_core::{
    AccountId, ChatId, DomainId, EndpointId, EventId, ExchangeId, MessageId, Timestamp,
    binding::{Binding, Flow, Transport},
    chat::ChatKey,
    commit::{Answer, Applied, Commit, Idempotency, NewEvent, NewMessage, Precondition, Write},
    digest::{DigestAlgorithm, Ha1},
    domain::Domain,
    endpoint::{Encryption, Endpoint, EndpointState, EndpointType, Nested},
    event::{EventBody, Subjects},
    id::NodeId,
    message::{MessageDirection, MessageOrigin, MessageStatus, Variables},
    page::Slice,
    ports::Store as _,
};
use sipgraph_storage::{Options, Storage};
use sipgraph_testkit::Database;

/// 2026-01-01T00:00:00Z.
pub(crate) const START: Timestamp = Timestamp(1_767_225_600_000_000);

/// A store with an account.
pub(crate) struct World {
    pub(crate) store: Arc<Storage>,
    pub(crate) account: AccountId,
    ids: Arc<AtomicU64>,
    clock: Arc<AtomicI64>,
}

/// An endpoint and its domain's name.
pub(crate) type Phone = Endpoint;

impl World {
    pub(crate) async fn on(database: &Database) -> Self {
        Self::with(database, &Options::default()).await
    }

    pub(crate) async fn with(database: &Database, options: &Options) -> Self {
        Self::of(database.store_with(options).await).await
    }

    pub(crate) async fn of(store: Storage) -> Self {
        let mut world = Self {
            store: Arc::new(store),
            account: AccountId([0; 16]),
            ids: Arc::new(AtomicU64::new(1)),
            clock: Arc::new(AtomicI64::new(START.0)),
        };
        world.account = world.new_account("acme").await;
        world
    }

    /// Another account of the same store.
    pub(crate) async fn other(&self, name: &str) -> Self {
        let account = self.new_account(name).await;
        Self {
            store: Arc::clone(&self.store),
            account,
            ids: Arc::clone(&self.ids),
            clock: Arc::clone(&self.clock),
        }
    }

    /// The same account, as another store of its database has it.
    pub(crate) fn of_account(store: Storage, world: &Self) -> Self {
        Self {
            store: Arc::new(store),
            account: world.account,
            ids: Arc::clone(&world.ids),
            clock: Arc::clone(&world.clock),
        }
    }

    async fn new_account(&self, name: &str) -> AccountId {
        let id = AccountId(self.bytes());
        let made = self
            .store
            .account_create(id, name.to_owned(), self.now())
            .await
            .unwrap();
        made.unwrap().id
    }

    /// Each look at the clock is a microsecond later.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp(self.clock.fetch_add(1, Ordering::SeqCst))
    }

    /// An id that rises.
    pub(crate) fn bytes(&self) -> [u8; 16] {
        let number = self.ids.fetch_add(1, Ordering::SeqCst);
        let mut random = [0; 10];
        random[2..].copy_from_slice(&number.to_be_bytes());
        let mut bytes = EventId::new(START, random).0;
        // The random part begins with zeros, so the ids of one millisecond rise with their number.
        bytes[8..].copy_from_slice(&number.to_be_bytes());
        bytes[8] |= 0x80;
        bytes
    }

    pub(crate) fn commit(&self, writes: Vec<Write>) -> Commit {
        Commit {
            account: self.account,
            at: self.now(),
            idempotency: None,
            preconditions: Vec::new(),
            writes,
            events: Vec::new(),
        }
    }

    /// An event that tells of an endpoint.
    pub(crate) fn told(&self, endpoint: EndpointId, body: EventBody) -> NewEvent {
        NewEvent {
            id: EventId(self.bytes()),
            check: 7,
            subjects: Subjects {
                endpoint: Some(endpoint),
                ..Subjects::default()
            },
            body,
        }
    }

    pub(crate) async fn apply(&self, commit: Commit) -> Applied {
        applied(self.store.commit(commit).await.unwrap())
    }

    pub(crate) fn domain_of(&self, name: &str) -> Domain {
        Domain {
            id: DomainId(self.bytes()),
            account: self.account,
            name: name.to_owned(),
            aliases: Vec::new(),
            description: None,
            digest_algorithms: vec![DigestAlgorithm::Md5],
            record_internal_messages: true,
            created_at: self.now(),
            version: 1,
        }
    }

    pub(crate) async fn domain(&self, name: &str) -> Domain {
        let domain = self.domain_of(name);
        self.apply(self.commit(vec![Write::DomainInsert(domain.clone())]))
            .await;
        domain
    }

    pub(crate) fn phone_of(&self, domain: &Domain, name: &str) -> Phone {
        let now = self.now();
        Endpoint {
            id: EndpointId(self.bytes()),
            account: self.account,
            domain: domain.id,
            domain_name: domain.name.clone(),
            external_id: 0,
            kind: EndpointType::SipUser,
            name: name.to_owned(),
            canonical_name: name.to_lowercase(),
            display_name: None,
            description: None,
            application: None,
            profile_encrypts: false,
            enabled: true,
            has_password: false,
            digest_algorithms: vec![DigestAlgorithm::Sha256, DigestAlgorithm::Md5],
            numbers: Vec::new(),
            caller_id: None,
            send_as: None,
            allow_outside: false,
            ciphers: None,
            codecs: None,
            encryption: Encryption::Default,
            capacity: 0,
            cps_limit: None,
            auth_required: true,
            nested: Nested::default(),
            out_sip_username: None,
            has_out_sip_password: false,
            simulation: None,
            state: EndpointState::Unknown,
            created_at: now,
            updated_at: now,
            version: 1,
            bindings_revision: 0,
        }
    }

    pub(crate) fn create(&self, phone: &Phone, credentials: Vec<Ha1>) -> Commit {
        let mut commit = self.commit(vec![Write::EndpointInsert {
            endpoint: Box::new(phone.clone()),
            credentials,
            secrets: Vec::new(),
        }]);
        commit.preconditions = vec![Precondition::EndpointNameFree(
            phone.domain,
            phone.canonical_name.clone(),
        )];
        commit.events = vec![self.told(phone.id, EventBody::EndpointCreated)];
        commit
    }

    /// Makes an endpoint and gives it as the store has it.
    pub(crate) async fn phone(&self, domain: &Domain, name: &str) -> Phone {
        let mut phone = self.phone_of(domain, name);
        let applied = self.apply(self.create(&phone, Vec::new())).await;
        phone.external_id = applied.external_ids[0];
        phone
    }

    /// A binding of an endpoint over UDP for an hour.
    pub(crate) fn binding_of(&self, phone: &Phone) -> Binding {
        let now = self.now();
        Binding {
            id: sipgraph_core::BindingId(self.bytes()),
            account: self.account,
            endpoint: phone.id,
            contact_uri: format!("sip:{}@192.0.2.1:5060", phone.name),
            flow: Flow {
                transport: Transport::Udp,
                remote: "192.0.2.1:5060".to_owned(),
                local: "127.0.0.1:5060".to_owned(),
                node: NodeId([1; 16]),
                connection: 0,
            },
            call_id: "a@b".to_owned(),
            cseq: 1,
            instance: Some("<urn:uuid:0>".to_owned()),
            reg_id: Some(1),
            path: Some("<sip:edge.example;lr>".to_owned()),
            user_agent: None,
            registered_at: now,
            refreshed_at: now,
            expires_at: Timestamp(now.0 + 3_600_000_000),
            status: sipgraph_core::event::ContactStatus::NonQualified,
            round_trip: None,
            qualified_at: None,
            token: None,
        }
    }

    /// Makes the empty chat of an endpoint with a peer.
    pub(crate) async fn chat(&self, phone: &Phone, peer: &str) -> ChatId {
        let id = ChatId(self.bytes());
        let key = self.key(phone, peer);
        self.apply(self.commit(vec![Write::ChatInsert { id, key }]))
            .await;
        id
    }

    pub(crate) fn key(&self, phone: &Phone, peer: &str) -> ChatKey {
        ChatKey {
            endpoint: phone.id,
            own_number: phone.address(),
            peer: peer.to_owned(),
        }
    }

    /// A message that came into a chat, with its two events.
    pub(crate) fn receive(&self, phone: &Phone, chat: ChatId, body: &str) -> Commit {
        let id = MessageId(self.bytes());
        let subjects = Subjects {
            endpoint: Some(phone.id),
            domain: Some(phone.domain),
            chat: Some(chat),
            message: Some(id),
        };
        let event = |body| NewEvent {
            id: EventId(self.bytes()),
            check: 9,
            subjects,
            body,
        };
        let mut commit = self.commit(vec![Write::MessageInsert(NewMessage {
            id,
            exchange: ExchangeId(self.bytes()),
            endpoint: phone.id,
            chat,
            direction: MessageDirection::In,
            origin: MessageOrigin::Sip,
            from: "sip:peer@elsewhere.example".to_owned(),
            to: phone.sip_uri(),
            from_number: Some("+12".to_owned()),
            to_number: None,
            peer: "peer@elsewhere.example".to_owned(),
            body: body.to_owned(),
            content_type: "text/plain".to_owned(),
            variables: Variables::from([("X-Foo".to_owned(), "bar".to_owned())]),
            status: MessageStatus::Received,
            read: false,
            expires_at: None,
            call_key: None,
            first_event: 0,
            activity_event: 1,
        })]);
        commit.preconditions = vec![
            Precondition::EndpointAt(phone.id, phone.version),
            Precondition::ChatThere(chat),
        ];
        commit.events = vec![
            event(EventBody::MessageIn {
                endpoint_name: phone.address(),
                own_number: phone.address(),
                src_number: "peer@elsewhere.example".to_owned(),
                text: Some(body.to_owned()),
            }),
            event(EventBody::ChatUpdated {
                unread_count: -1,
                last_message: None,
            }),
        ];
        commit
    }

    /// The id of the message that a commit inserts.
    pub(crate) fn message_of(commit: &Commit) -> MessageId {
        commit
            .writes
            .iter()
            .find_map(|write| match write {
                Write::MessageInsert(message) => Some(message.id),
                _ => None,
            })
            .unwrap()
    }

    pub(crate) fn call(&self, key: &str, input: u8) -> Idempotency {
        Idempotency {
            actor: [5; 16],
            operation: "sendMessage",
            key: key.to_owned(),
            input: [input; 32].into(),
            result: vec![self.bytes()],
        }
    }

    /// The numbers of all events, oldest first.
    pub(crate) async fn seqs(&self) -> Vec<i64> {
        let mut seqs = Vec::new();
        loop {
            let after = seqs.last().copied().unwrap_or(0);
            let events = self
                .store
                .events_after(self.account, after, 500)
                .await
                .unwrap();
            if events.is_empty() {
                return seqs;
            }
            seqs.extend(events.iter().map(|event| event.seq));
        }
    }
}

/// The answer of a commit that went through.
#[track_caller]
pub(crate) fn applied(answer: Answer) -> Applied {
    match answer {
        Answer::Applied(applied) => applied,
        other => panic!("not applied: {other:?}"),
    }
}

/// The first so many rows.
pub(crate) fn first(limit: u32) -> Slice {
    Slice {
        backward: false,
        limit,
        after: None,
        before: None,
    }
}

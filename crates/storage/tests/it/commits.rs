//! Every kind of write and precondition.

use sipgraph_core::{
    ApplicationId, BindingId, ChatId, DeliveryId, DomainId, EndpointId, EventId, ExchangeId,
    MessageId, Timestamp, TokenId,
    access::Scope,
    application::{Application, HttpMethod},
    binding::{Binding, Refresh, Transport},
    commit::{Answer, Precondition, Write},
    delivery::{Delivery, DeliveryOutcome, DeliveryTarget, Dispatch, Way},
    digest::{DigestAlgorithm, Ha1, PasswordCharset},
    endpoint::{Codec, Encryption, Endpoint, EndpointState, EndpointType},
    event::{ContactStatus, EventBody},
    keyring::Secret,
    message::{
        CallKey, Disposition, Failure, FailureCode, MessageOrigin, MessageStatus, Variables,
    },
    ports::{
        Store as _,
        store::{
            AccountSettings, ChatFilter, DispatchPlace, EndpointFilter, EndpointKey, Found,
            MessageFilter, Tried,
        },
    },
    search::Words,
    sip_profile::SipProfile,
    token::ApiToken,
};
use sipgraph_testkit::both_backends;

use crate::world::{START, World, applied, first};

/// Applies a commit that has only a precondition and says whether it held.
async fn holds(world: &World, precondition: Precondition) -> bool {
    let mut commit = world.commit(Vec::new());
    commit.preconditions = vec![precondition];
    match world.store.commit(commit).await.unwrap() {
        Answer::Applied(_) => true,
        Answer::Failed(0) => false,
        other => panic!("{other:?}"),
    }
}

/// A message on its way to an endpoint, due at once.
pub(crate) fn dispatch_of(world: &World, recipient: EndpointId) -> Dispatch {
    let now = world.now();
    Dispatch {
        id: ExchangeId(world.bytes()),
        account: world.account,
        sender: EndpointId(world.bytes()),
        recipient,
        way: Way::Contacts,
        out_message: Some(MessageId(world.bytes())),
        from: "sip:a@b".to_owned(),
        from_name: Some("Ä \"B\"".to_owned()),
        to: "sip:c@d".to_owned(),
        body: "text".to_owned(),
        content_type: "text/plain".to_owned(),
        variables: Variables::from([("X-Foo".to_owned(), "b\tä".to_owned())]),
        taken: false,
        rounds: 0,
        created_at: now,
        expires_at: Timestamp(now.0 + 1_000_000),
        due_at: now,
        lease: 0,
    }
}

/// An attempt at a contact, on the way.
fn delivery_of(world: &World) -> Delivery {
    Delivery {
        id: DeliveryId(world.bytes()),
        account: world.account,
        exchange: ExchangeId(world.bytes()),
        recipient: EndpointId([7; 16]),
        message: Some(MessageId([8; 16])),
        target: DeliveryTarget::Contact(BindingId([6; 16])),
        contact_uri: "sip:a@192.0.2.1".to_owned(),
        transport: Transport::Udp,
        call_id: "call".to_owned(),
        from_tag: "tag".to_owned(),
        cseq: u32::MAX,
        branch: "z9hG4bK1".to_owned(),
        attempt: 1,
        started_at: world.now(),
        finished_at: None,
        sip_status: None,
        reason: None,
        outcome: DeliveryOutcome::Pending,
        retry_at: None,
    }
}

both_backends! {
    async fn settings_of_an_account_are_kept(database: Database) {
        let world = World::on(&database).await;
        let other = world.other("other").await;
        let settings = |world: &World| { let store = world.store.clone(); let account = world.account; async move { store.account_settings(account).await.unwrap() } };
        assert!(holds(&world, Precondition::NamesUnique(false)).await);
        assert!(holds(&world, Precondition::SipProfileAt(0)).await);
        assert!(holds(&world, Precondition::ProfileEncrypts(false)).await);
        let domain = world.domain("a.example").await;
        let alice = world.phone(&domain, "alice").await;
        let mut profile = world.store.sip_profile(world.account).await.unwrap();
        assert_eq!(profile, SipProfile::unchanged(world.account));
        profile.default_codecs = vec![Codec::Vp8, Codec::Opus];
        profile.default_encryption = Encryption::Required;
        profile.default_send_as = Some("+12125550100".to_owned());
        profile.version = 1;
        world.apply(world.commit(vec![Write::SipProfilePut(profile.clone()), Write::NamesUniqueSet(true)])).await;
        assert_eq!(world.store.sip_profile(world.account).await.unwrap(), profile);
        assert_eq!(world.store.sip_profile(other.account).await.unwrap(), SipProfile::unchanged(other.account));
        assert_eq!(settings(&world).await, AccountSettings { unique_names: true, profile_encrypts: true });
        assert_eq!(settings(&other).await, AccountSettings { unique_names: false, profile_encrypts: false });
        assert!(world.store.account(world.account).await.unwrap().unwrap().unique_names);
        for (precondition, expected) in [
            (Precondition::NamesUnique(true), true),
            (Precondition::NamesUnique(false), false),
            (Precondition::SipProfileAt(1), true),
            (Precondition::SipProfileAt(0), false),
            (Precondition::ProfileEncrypts(true), true),
            (Precondition::ProfileEncrypts(false), false),
        ] {
            assert_eq!(holds(&world, precondition.clone()).await, expected, "{precondition:?}");
        }
        assert!(holds(&other, Precondition::ProfileEncrypts(false)).await);
        // It is read with the endpoint, which is as it was.
        let key = EndpointKey::Id(alice.id);
        let Found::One(found) = world.store.endpoint(world.account, key.clone()).await.unwrap() else { panic!() };
        assert!(found.demands_tls());
        assert_eq!(Endpoint { profile_encrypts: false, ..found }, alice);

        // What began is told until it is done, and only plain contacts of those that leave it to the profile.
        assert_eq!(world.store.encryption_next(9).await.unwrap().map(|next| (next.profile, next.bindings.len())), Some((profile.clone(), 0)));
        let mut optional = world.phone_of(&domain, "bob");
        optional.encryption = Encryption::Optional;

        world.apply(world.commit(vec![Write::EndpointInsert { endpoint: Box::new(optional.clone()), credentials: Vec::new(), secrets: Vec::new() }])).await;
        let plain = world.binding_of(&alice);
        let mut secure = world.binding_of(&alice);
        secure.flow.transport = Transport::Tls;
        let of_optional = world.binding_of(&optional);
        world.apply(world.commit(vec![Write::BindingPut(plain.clone()), Write::BindingPut(secure), Write::BindingPut(of_optional)])).await;
        let next = world.store.encryption_next(9).await.unwrap().unwrap();
        assert_eq!(next.bindings.iter().map(|binding| binding.id).collect::<Vec<_>>(), [plain.id]);
        world.apply(world.commit(vec![Write::SipProfileEnforced])).await;
        assert_eq!(world.store.encryption_next(9).await.unwrap(), None);
        // It begins anew when it is switched on, not when something else changes.
        for (encryption, begun) in [(Encryption::Required, false), (Encryption::Optional, false), (Encryption::Required, true), (Encryption::Required, true), (Encryption::Optional, false)] {
            profile.default_encryption = encryption;
            profile.version += 1;
            world.apply(world.commit(vec![Write::SipProfilePut(profile.clone())])).await;
            assert_eq!(world.store.encryption_next(9).await.unwrap().is_some(), begun, "{profile:?}");
        }
    }

    async fn names_of_an_account_are_looked_at_together(database: Database) {
        let world = World::on(&database).await;
        let other = world.other("other").await;
        let (one, two) = (world.domain("one.example").await, world.domain("two.example").await);
        let free = |name: &str| Precondition::AccountNameFree(name.to_owned());
        assert!(holds(&world, free("alice")).await);
        world.phone(&one, "alice").await;
        assert!(!holds(&world, free("alice")).await);
        assert!(holds(&other, free("alice")).await);
        assert!(holds(&world, Precondition::NoNameTwice).await);
        assert_eq!(world.store.endpoint_name_twice(world.account).await.unwrap(), None);
        let taken = world.store.account_names_taken(world.account, vec!["bob".to_owned(), "alice".to_owned()]);
        assert_eq!(taken.await.unwrap(), ["alice"]);
        world.phone(&two, "alice").await;
        assert!(!holds(&world, Precondition::NoNameTwice).await);
        assert!(holds(&other, Precondition::NoNameTwice).await);
        assert_eq!(world.store.endpoint_name_twice(world.account).await.unwrap(), Some("alice".to_owned()));
        // What is being deleted has no names any more.
        world.apply(world.commit(vec![Write::DomainDeleteBegin(two.id)])).await;
        assert!(holds(&world, Precondition::NoNameTwice).await);
        world.apply(world.commit(vec![Write::DomainDeleteBegin(one.id)])).await;
        assert!(holds(&world, free("alice")).await);
        assert_eq!(world.store.endpoint_name_twice(world.account).await.unwrap(), None);
    }

    async fn applications_and_gateways_are_looked_for(database: Database) {
        let world = World::on(&database).await;
        let domain = world.domain("a.example").await;
        let application = ApplicationId(world.bytes());
        assert!(!holds(&world, Precondition::ApplicationThere(application)).await);
        let made = Application {
            id: application,
            account: world.account,
            name: "one".to_owned(),
            callback_url: None,
            callback_method: HttpMethod::Post,
            created_at: world.now(),
            version: 1,
        };
        world.apply(world.commit(vec![Write::ApplicationInsert(made)])).await;
        assert!(holds(&world, Precondition::ApplicationThere(application)).await);
        assert!(holds(&world, Precondition::ApplicationUnused(application)).await);
        assert!(holds(&world, Precondition::DomainWithoutGateway(domain.id)).await);
        let mut gateway = world.phone_of(&domain, "gateway");
        gateway.kind = EndpointType::SystemGateway;
        gateway.application = Some(application);
        world.apply(world.commit(vec![Write::EndpointInsert { endpoint: Box::new(gateway), credentials: Vec::new(), secrets: Vec::new() }])).await;
        assert!(!holds(&world, Precondition::ApplicationUnused(application)).await);
        assert!(!holds(&world, Precondition::DomainWithoutGateway(domain.id)).await);
        assert!(holds(&world, Precondition::ApplicationUnused(ApplicationId([9; 16]))).await);
        assert!(holds(&world, Precondition::DomainWithoutGateway(DomainId([9; 16]))).await);
    }

    async fn domains_are_kept_with_their_names(database: Database) {
        let world = World::on(&database).await;
        assert!(holds(&world, Precondition::DomainsBelow(1)).await);
        assert!(holds(&world, Precondition::DomainNameFree("a.example".to_owned())).await);
        let mut domain = world.domain_of("a.example");
        domain.aliases = vec!["192.0.2.1".to_owned(), "a.test".to_owned()];
        domain.description = Some("ä 'quoted' \"text\" ?".to_owned());
        domain.digest_algorithms = vec![DigestAlgorithm::Sha256, DigestAlgorithm::Md5];
        world.apply(world.commit(vec![Write::DomainInsert(domain.clone())])).await;
        for name in ["a.example", "a.test", "192.0.2.1"] {
            assert!(!holds(&world, Precondition::DomainNameFree(name.to_owned())).await, "{name}");
            let found = world.store.domain_by_name(world.account, name.to_owned()).await.unwrap();
            assert_eq!(found.as_ref(), Some(&domain), "{name}");
            let realm = world.store.realm(name.to_owned()).await.unwrap().unwrap();
            assert_eq!((realm.account, realm.domain, realm.name.as_str()), (world.account, domain.id, "a.example"));
        }
        assert!(!holds(&world, Precondition::DomainsBelow(1)).await);
        assert!(holds(&world, Precondition::DomainsBelow(2)).await);
        assert!(holds(&world, Precondition::DomainAt(domain.id, 1)).await);
        assert!(!holds(&world, Precondition::DomainAt(domain.id, 2)).await);
        assert!(!holds(&world, Precondition::DomainAt(DomainId([9; 16]), 1)).await);
        assert!(holds(&world, Precondition::DomainEmpty(domain.id)).await);
        world.phone(&domain, "alice").await;
        assert!(!holds(&world, Precondition::DomainEmpty(domain.id)).await);
        domain.aliases = ["0.test", "192.0.2.1", "z.test"].map(str::to_owned).to_vec();
        domain.description = None;
        domain.record_internal_messages = !domain.record_internal_messages;
        domain.version = 2;
        world.apply(world.commit(vec![Write::DomainUpdate {
            domain: domain.clone(),
            aliases_added: vec!["0.test".to_owned(), "z.test".to_owned()],
            aliases_removed: vec!["a.test".to_owned()],
        }])).await;
        assert!(holds(&world, Precondition::DomainAt(domain.id, 2)).await);
        let found = world.store.domain_by_name(world.account, "z.test".to_owned()).await.unwrap();
        assert_eq!(found.as_ref(), Some(&domain));
        let taken = world.store.domain_names_taken(vec!["a.test".into(), "z.test".into()]).await.unwrap();
        assert_eq!(taken, ["z.test"]);

        let empty = world.domain("b.example").await;
        assert_eq!(world.store.domains_count(world.account).await.unwrap(), 2);
        let page = world.store.domains(world.account, first(10)).await.unwrap();
        assert_eq!(page.items, [empty.clone(), domain.clone()]);
        world.apply(world.commit(vec![Write::DomainDelete(empty.id)])).await;
        assert!(holds(&world, Precondition::DomainNameFree("b.example".to_owned())).await);
        let kept = world.store.domains_by_ids(world.account, vec![empty.id, domain.id]).await.unwrap();
        assert_eq!(kept, [domain]);
    }

    async fn endpoints_are_kept_with_sealed_credentials(database: Database) {
        let world = World::on(&database).await;
        let domain = world.domain("a.example").await;
        let mut phone = world.phone_of(&domain, "Alice");
        phone.has_password = true;
        phone.display_name = Some("Alice 🙂".to_owned());
        let ha1 = |algorithm, charset, value: &str| Ha1 { algorithm, charset, value: Secret::new(value) };
        let values = vec![
            ha1(DigestAlgorithm::Sha256, PasswordCharset::Utf8, "aa"),
            ha1(DigestAlgorithm::Md5, PasswordCharset::Utf8, "bb"),
            ha1(DigestAlgorithm::Md5, PasswordCharset::Latin1, "cc"),
        ];
        assert!(holds(&world, Precondition::EndpointNameFree(domain.id, "alice".into())).await);
        let made = world.apply(world.create(&phone, values.clone())).await;
        assert_eq!(made.external_ids, [1]);
        phone.external_id = 1;
        assert!(!holds(&world, Precondition::EndpointNameFree(domain.id, "alice".into())).await);
        assert!(holds(&world, Precondition::EndpointAt(phone.id, 1)).await);
        assert!(!holds(&world, Precondition::EndpointAt(phone.id, 2)).await);
        let opened = world.store.credentials(domain.id, "alice".into(), START).await.unwrap().unwrap();
        assert_eq!((&*opened.endpoint, &opened.ha1), (&phone, &values));
        assert_eq!(world.store.credentials(domain.id, "Alice".into(), START).await.unwrap(), None);

        let state = world.commit(vec![Write::EndpointStateSet(phone.id, EndpointState::Online)]);
        world.apply(state).await;
        phone.state = EndpointState::Online;
        let found = world.store.endpoint(world.account, EndpointKey::Id(phone.id)).await.unwrap();
        assert_eq!(found, Found::One(phone.clone()));
        // Presence is no change of a field.
        assert!(holds(&world, Precondition::EndpointAt(phone.id, 1)).await);
        let other = world.phone(&domain, "bob").await;
        assert_eq!(other.external_id, 2);
    }

    async fn an_endpoint_goes_with_all_that_is_its(database: Database) {
        let world = World::on(&database).await;
        let domain = world.domain("a.example").await;
        let (alice, bob) = (world.phone(&domain, "alice").await, world.phone(&domain, "bob").await);
        let (hers, his) = (world.chat(&alice, "x").await, world.chat(&bob, "x").await);
        world.apply(world.receive(&alice, hers, "secret")).await;
        world.apply(world.receive(&bob, his, "kept")).await;
        world.apply(world.commit(vec![Write::BindingPut(world.binding_of(&alice))])).await;

        let mut delete = world.commit(vec![Write::EndpointDelete(alice.id)]);
        delete.preconditions = vec![Precondition::EndpointAt(alice.id, 1)];
        delete.events = vec![world.told(alice.id, EventBody::EndpointDeleted)];
        world.apply(delete).await;

        assert_eq!(world.store.endpoint(world.account, EndpointKey::Id(alice.id)).await.unwrap(), Found::None);
        assert_eq!(world.store.credentials(domain.id, "alice".into(), START).await.unwrap(), None);
        assert_eq!(world.store.bindings_by_endpoints(world.account, vec![alice.id]).await.unwrap(), []);
        assert_eq!(world.store.chats_count(world.account, ChatFilter::default()).await.unwrap(), 1);
        assert_eq!(world.store.endpoints_count(world.account, EndpointFilter::default()).await.unwrap(), 1);
        let events = world.store.events_after(world.account, 0, 100).await.unwrap();
        let texts: Vec<Option<String>> = events
            .into_iter()
            .filter_map(|event| match event.body {
                EventBody::MessageIn { text, .. } => Some(text),
                _ => None,
            })
            .collect();
        assert_eq!(texts, [None, Some("kept".to_owned())]);
        // The name is free again, its number is not.
        assert_eq!(world.phone(&domain, "alice").await.external_id, 3);
        // Nothing of it is written any more, and the rows go in steps.
        assert!(!holds(&world, Precondition::ChatThere(hers)).await);
        assert_eq!(world.store.chats_by_ids(world.account, vec![hers]).await.unwrap(), []);
        let mut gone = Vec::new();
        loop {
            match world.store.deleted_purge(1).await.unwrap() {
                0 => break,
                rows => gone.push(rows),
            }
        }
        // The message, the chat, the text of the event and the mark.
        assert_eq!(gone, [1, 1, 1, 1]);
        assert_eq!(world.store.chats_count(world.account, ChatFilter::default()).await.unwrap(), 1);
        assert!(holds(&world, Precondition::ChatThere(his)).await);
    }

    /// A trunk is told of what came by it; the text is its recipient's all the same.
    async fn what_came_by_a_trunk_loses_its_text_with_its_message(database: Database) {
        let world = World::on(&database).await;
        let domain = world.domain("a.example").await;
        let (alice, bob, trunk) = (world.phone(&domain, "alice").await, world.phone(&domain, "bob").await, world.phone(&domain, "trunk").await);
        let (cleared, kept, his) = (world.chat(&alice, "x").await, world.chat(&alice, "y").await, world.chat(&bob, "x").await);
        for (phone, chat, body) in [(&alice, cleared, "one"), (&alice, cleared, "two"), (&alice, kept, "kept"), (&bob, his, "three"), (&bob, his, "four")] {
            let mut receive = world.receive(phone, chat, body);
            let mut told = receive.events[0].clone();
            told.id = EventId(world.bytes());
            told.subjects.endpoint = Some(trunk.id);
            told.body = EventBody::TextMessageReceived {
                from: "sip:+12@carrier.example".to_owned(),
                to: phone.sip_uri(),
                body: Some(body.to_owned()),
                variables: Variables::default(),
                exchange: None,
            };
            receive.events.insert(0, told);
            for write in &mut receive.writes {
                if let Write::MessageInsert(message) = write {
                    message.origin = MessageOrigin::Trunk;
                    (message.first_event, message.activity_event) = (1, 2);
                }
            }
            world.apply(receive).await;
        }
        let bodies = async || -> Vec<Option<String>> {
            let events = world.store.events_after(world.account, 0, 100).await.unwrap();
            events.into_iter().filter_map(|event| match event.body { EventBody::TextMessageReceived { body, .. } => Some(body), _ => None }).collect()
        };
        assert_eq!(bodies().await.iter().flatten().count(), 5);
        let mut clear = world.commit(vec![Write::ChatClear(cleared)]);
        clear.preconditions = vec![Precondition::ChatThere(cleared)];
        world.apply(clear).await;
        world.apply(world.commit(vec![Write::EndpointDelete(bob.id)])).await;
        let left = [None, None, Some("kept".to_owned()), None, None];
        assert_eq!(bodies().await, left, "at once");
        while world.store.deleted_purge(1).await.unwrap() > 0 {}
        assert_eq!(bodies().await, left, "also when the marks are gone");
        assert_eq!(world.store.messages_count(world.account, MessageFilter::default()).await.unwrap(), 1);
    }

    /// A domain that is being deleted is gone for its readers at once, and its endpoints are disabled.
    async fn a_domain_is_deleted_in_steps(database: Database) {
        let world = World::on(&database).await;
        let domain = world.domain("a.example").await;
        let other = world.domain("b.example").await;
        let (alice, bob) = (world.phone(&domain, "alice").await, world.phone(&domain, "bob").await);
        let carol = world.phone(&other, "carol").await;
        assert_eq!(world.store.domain_deletion_next(10).await.unwrap(), None);
        world.apply(world.commit(vec![Write::DomainDeleteBegin(domain.id)])).await;

        assert!(!holds(&world, Precondition::DomainAt(domain.id, 1)).await);
        assert!(holds(&world, Precondition::DomainNameFree("a.example".into())).await);
        assert!(holds(&world, Precondition::DomainsBelow(2)).await);
        assert_eq!(world.store.domains_count(world.account).await.unwrap(), 1);
        assert_eq!(world.store.domains(world.account, first(10)).await.unwrap().items, std::slice::from_ref(&other));
        assert_eq!(world.store.domains_by_ids(world.account, vec![domain.id, other.id]).await.unwrap(), [other]);
        assert_eq!(world.store.domains_of_endpoints(world.account, vec![domain.id]).await.unwrap().len(), 1);
        assert_eq!(world.store.realm("a.example".into()).await.unwrap(), None);
        let found = world.store.endpoints(world.account, EndpointFilter::default(), first(10)).await.unwrap();
        let enabled: Vec<(EndpointId, bool)> = found.items.iter().map(|e| (e.id, e.enabled)).collect();
        assert_eq!(enabled, [(carol.id, true), (bob.id, false), (alice.id, false)]);
        let filter = EndpointFilter { enabled: Some(false), ..EndpointFilter::default() };
        assert_eq!(world.store.endpoints_count(world.account, filter).await.unwrap(), 2);
        // A name alone means an endpoint of a domain that is there.
        let by_name = |name: &str| world.store.endpoint(world.account, EndpointKey::Name { domain: None, canonical: name.into() });
        assert_eq!(by_name("alice").await.unwrap(), Found::None);
        assert!(matches!(by_name("carol").await.unwrap(), Found::One(_)));

        for left in [2, 1] {
            let next = world.store.domain_deletion_next(10).await.unwrap().unwrap();
            assert_eq!((next.account, next.domain, next.endpoints.len()), (world.account, domain.id, left));
            world.apply(world.commit(vec![Write::EndpointDelete(next.endpoints[0].id)])).await;
        }
        assert_eq!(world.store.domain_deletion_next(10).await.unwrap().unwrap().endpoints, []);
        assert!(holds(&world, Precondition::DomainEmpty(domain.id)).await);
        world.apply(world.commit(vec![Write::DomainDelete(domain.id)])).await;
        assert_eq!(world.store.domain_deletion_next(10).await.unwrap(), None);
    }

    async fn messages_are_counted_in_their_chat(database: Database) {
        let world = World::on(&database).await;
        let domain = world.domain("a.example").await;
        let alice = world.phone(&domain, "alice").await;
        let key = world.key(&alice, "peer@elsewhere.example");
        assert!(holds(&world, Precondition::ChatKeyFree(key.clone())).await);
        let chat = world.chat(&alice, &key.peer).await;
        assert!(!holds(&world, Precondition::ChatKeyFree(key.clone())).await);
        assert!(holds(&world, Precondition::ChatThere(chat)).await);
        assert!(!holds(&world, Precondition::ChatThere(ChatId([9; 16]))).await);

        let (one, two) = (world.receive(&alice, chat, "one"), world.receive(&alice, chat, ""));
        let (first_id, second_id) = (World::message_of(&one), World::message_of(&two));
        let (at, head) = (two.at, world.seqs().await.len());
        assert_eq!(world.apply(one).await.message_seqs, [(1, i64::try_from(head).unwrap() + 1)]);
        let second = world.apply(two).await;
        assert_eq!(second.message_seqs, [(2, i64::try_from(head).unwrap() + 3)]);
        let found = world.store.chat_by_key(world.account, key).await.unwrap().unwrap();
        assert_eq!(
            (found.last_seq, found.last_message, found.unread_count, found.message_count, found.activity_seq, found.updated_at),
            (2, Some(second_id), 2, 2, second.head, at)
        );
        // The event tells the counts after its commit, whatever the commit said.
        let told = world.store.events_before(world.account, second.head + 1, 1).await.unwrap();
        assert_eq!(told[0].body, EventBody::ChatUpdated { unread_count: 2, last_message: Some(second_id) });
        assert_eq!(world.store.unread_by_endpoints(world.account, vec![alice.id]).await.unwrap(), [(alice.id, 2)]);

        let at_received = |read| Precondition::MessageAt(first_id, MessageStatus::Received, read);
        assert!(holds(&world, at_received(false)).await);
        let mut mark = world.commit(vec![Write::MessageReadSet { id: first_id, chat, read: true }]);
        mark.preconditions = vec![at_received(false)];
        world.apply(mark.clone()).await;
        assert_eq!(world.store.commit(mark).await.unwrap(), Answer::Failed(0));
        let message = world.store.messages_by_ids(world.account, vec![first_id]).await.unwrap().pop().unwrap();
        assert!(message.read && message.body == "one" && message.chat == chat);
        let chats = world.store.chats_by_ids(world.account, vec![chat]).await.unwrap();
        assert_eq!((chats[0].unread_count, chats[0].message_count), (1, 2));
    }

    async fn a_message_keeps_the_key_of_its_call(database: Database) {
        let world = World::on(&database).await;
        let domain = world.domain("a.example").await;
        let alice = world.phone(&domain, "alice").await;
        let chat = world.chat(&alice, "x").await;
        let mut receive = world.receive(&alice, chat, "one");
        let id = World::message_of(&receive);
        let given = CallKey { actor: world.bytes(), key: "ä".repeat(127) };
        let [Write::MessageInsert(message)] = receive.writes.as_mut_slice() else { panic!("another write") };
        message.call_key = Some(given.clone());
        world.apply(receive).await;
        let message = world.store.messages_by_ids(world.account, vec![id]).await.unwrap().remove(0);
        assert_eq!(message.call_key, Some(given));
    }

    async fn a_status_is_kept_with_its_failure(database: Database) {
        let world = World::on(&database).await;
        let domain = world.domain("a.example").await;
        let alice = world.phone(&domain, "alice").await;
        let chat = world.chat(&alice, "x").await;
        let receive = world.receive(&alice, chat, "one");
        let id = World::message_of(&receive);
        world.apply(receive).await;
        let failure = Failure {
            code: FailureCode::Refused,
            sip_status: Some(603),
            reason: Some("Decline".to_owned()),
        };
        let set = world.commit(vec![Write::MessageStatusSet {
            id,
            status: MessageStatus::Failed,
            failure: Some(failure.clone()),
        }]);
        let at = set.at;
        world.apply(set).await;
        let message = world.store.messages_by_ids(world.account, vec![id]).await.unwrap().pop().unwrap();
        assert_eq!((message.status, message.failure, message.status_at), (MessageStatus::Failed, Some(failure), at));
    }

    async fn bindings_raise_the_revision_and_hurry_what_waits(database: Database) {
        let world = World::on(&database).await;
        let domain = world.domain("a.example").await;
        let alice = world.phone(&domain, "alice").await;
        let mut waiting = dispatch_of(&world, alice.id);
        waiting.due_at = Timestamp(world.now().0 + 60_000_000);
        world.apply(world.commit(vec![Write::DispatchInsert(waiting)])).await;
        assert!(holds(&world, Precondition::BindingsAt(alice.id, 0)).await);
        let mut binding = world.binding_of(&alice);
        world.apply(world.commit(vec![Write::BindingPut(binding.clone())])).await;
        assert!(!holds(&world, Precondition::BindingsAt(alice.id, 0)).await);
        assert!(holds(&world, Precondition::BindingsAt(alice.id, 1)).await);
        let waiting = world.store.dispatches_to(world.account, alice.id, 10).await.unwrap();
        assert_eq!(waiting[0].due_at, binding.refreshed_at);

        binding.contact_uri = "sip:alice@198.51.100.7".to_owned();
        binding.flow.transport = Transport::Tcp;
        binding.flow.connection = 17;
        let second = world.binding_of(&alice);
        world.apply(world.commit(vec![
            Write::BindingPut(binding.clone()),
            Write::BindingPut(second.clone()),
        ])).await;
        let (endpoint, bindings) = world.store.endpoint_bindings(world.account, alice.id).await.unwrap().unwrap();
        assert_eq!(endpoint.bindings_revision, 3);
        assert_eq!(bindings, [binding.clone(), second.clone()]);
        let of_connection = world.store.bindings_of_connection(binding.flow.node, 17).await.unwrap();
        assert_eq!(of_connection, [binding.clone()]);

        let refresh = |at, expires_at| Write::BindingRefresh {
            endpoint: alice.id, id: second.id, refresh: Refresh { call_id: "b@c".into(), cseq: 5, at, expires_at },
        };
        let later = Timestamp(second.refreshed_at.0 + 10);
        world.apply(world.commit(vec![refresh(later, Timestamp(later.0 + 5))])).await;
        // One that came before the last change is dropped, and so is one for a binding that is gone.
        world.apply(world.commit(vec![refresh(second.refreshed_at, second.expires_at)])).await;
        world.apply(world.commit(vec![Write::BindingRefresh {
            endpoint: alice.id, id: BindingId([9; 16]), refresh: Refresh { call_id: "x".into(), cseq: 1, at: later, expires_at: later },
        }])).await;
        let ended = world.store.bindings_ended(Timestamp(later.0 + 6), 10).await.unwrap();
        assert_eq!(ended.len(), 1);
        assert_eq!((ended[0].id, ended[0].cseq, ended[0].refreshed_at), (second.id, 5, later));
        assert_eq!(ended[0].call_id, "b@c");

        let until = Timestamp(binding.registered_at.0 + 120_000_000);
        world.store.bindings_suspend_streams(sipgraph_core::id::NodeId([2; 16]), until).await.unwrap();
        let (_, bindings) = world.store.endpoint_bindings(world.account, alice.id).await.unwrap().unwrap();
        assert_eq!(bindings[0].expires_at, until);
        world.apply(world.commit(vec![Write::BindingDelete(alice.id, binding.id)])).await;
        let (endpoint, bindings) = world.store.endpoint_bindings(world.account, alice.id).await.unwrap().unwrap();
        assert_eq!((endpoint.bindings_revision, bindings.len()), (4, 1));
    }

    async fn devices_are_asked_in_turn_and_their_answers_kept(database: Database) {
        let world = World::on(&database).await;
        let domain = world.domain("a.example").await;
        let alice = world.phone(&domain, "alice").await;
        let (node, other) = (sipgraph_core::id::NodeId([1; 16]), sipgraph_core::id::NodeId([2; 16]));
        let mut streams = [world.binding_of(&alice), world.binding_of(&alice)];
        for (binding, node) in streams.iter_mut().zip([node, other]) {
            (binding.flow.transport, binding.flow.node, binding.flow.connection) = (Transport::Wss, node, 1);
        }
        // Over UDP any node may ask.
        let mut datagram = world.binding_of(&alice);
        datagram.flow.node = other;
        let mut ended = world.binding_of(&alice);
        ended.expires_at = Timestamp(world.now().0 - 1);
        let all = streams.clone().into_iter().chain([datagram.clone(), ended]);
        world.apply(world.commit(all.map(Write::BindingPut).collect())).await;
        let due = async |before: i64| {
            let before = Timestamp(world.now().0 + before);
            let due = world.store.bindings_to_qualify(node, before, world.now(), 10).await.unwrap();
            due.into_iter().map(|binding| binding.id).collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(due(0).await, [streams[0].id, datagram.id].into());
        let at = world.now();
        let answer = |id, round_trip: Option<u64>| Write::BindingQualify {
            endpoint: alice.id,
            id,
            status: if round_trip.is_some() { ContactStatus::Reachable } else { ContactStatus::Unreachable },
            round_trip: round_trip.map(std::time::Duration::from_micros),
            at,
        };
        world.apply(world.commit(vec![answer(streams[0].id, Some(1234)), answer(BindingId([9; 16]), None)])).await;
        assert_eq!(due(-1_000_000).await, [datagram.id].into());
        world.apply(world.commit(vec![answer(datagram.id, None)])).await;
        assert_eq!(due(-1_000_000).await, [].into());
        assert_eq!(due(1_000_000).await, [streams[0].id, datagram.id].into());
        let (endpoint, bindings) = world.store.endpoint_bindings(world.account, alice.id).await.unwrap().unwrap();
        assert_eq!(endpoint.bindings_revision, 4, "an answer is no change of the bindings");
        let seen = |id| bindings.iter().find(|b| b.id == id).map(|b| (b.status, b.round_trip, b.qualified_at)).unwrap();
        let took = std::time::Duration::from_micros(1234);
        assert_eq!(seen(streams[0].id), (ContactStatus::Reachable, Some(took), Some(at)));
        assert_eq!(seen(datagram.id), (ContactStatus::Unreachable, None, Some(at)));
        assert_eq!(seen(streams[1].id), (ContactStatus::NonQualified, None, None));
    }

    async fn dispatches_are_claimed_in_order_and_by_lease(database: Database) {
        let world = World::on(&database).await;
        let recipient = EndpointId(world.bytes());
        assert!(holds(&world, Precondition::WaitingFor(recipient, 0)).await);
        let dispatches: Vec<Dispatch> = (0..3).map(|_| dispatch_of(&world, recipient)).collect();
        // Stored in another order than accepted.
        for dispatch in dispatches.iter().rev() {
            world.apply(world.commit(vec![Write::DispatchInsert(dispatch.clone())])).await;
        }
        assert!(holds(&world, Precondition::WaitingFor(recipient, 3)).await);
        let lease = std::time::Duration::from_secs(60);
        let now = world.now();
        let claimed = world.store.dispatches_claim(now, lease, 2).await.unwrap();
        assert_eq!(claimed.iter().map(|d| (d.id, d.lease)).collect::<Vec<_>>(), [(dispatches[0].id, 1), (dispatches[1].id, 1)]);
        assert_eq!(claimed[0].body, "text");
        let rest = world.store.dispatches_claim(now, lease, 2).await.unwrap();
        assert_eq!(rest.iter().map(|d| d.id).collect::<Vec<_>>(), [dispatches[2].id]);
        assert_eq!(world.store.dispatches_claim(now, lease, 2).await.unwrap(), []);

        let leased = |lease| Precondition::DispatchLeased(dispatches[0].id, lease);
        assert!(holds(&world, leased(1)).await);
        let release = world.commit(vec![Write::DispatchRelease { id: dispatches[0].id, taken: false, rounds: 1, due_at: now }]);
        world.apply(release).await;
        assert!(!holds(&world, leased(1)).await);
        let again = world.store.dispatches_claim(now, lease, 2).await.unwrap();
        assert_eq!((again.len(), again[0].id, again[0].rounds), (1, dispatches[0].id, 1));
        assert!(again[0].lease > 1);
        world.apply(world.commit(vec![Write::DispatchTaken(dispatches[1].id), Write::DispatchDelete { id: dispatches[2].id, recipient }])).await;
        let waiting = world.store.dispatches_to(world.account, recipient, 10).await.unwrap();
        assert_eq!(waiting.iter().map(|d| (d.id, d.taken)).collect::<Vec<_>>(), [(dispatches[0].id, false), (dispatches[1].id, true)]);

        world.store.dispatches_unlease().await.unwrap();
        assert_eq!(world.store.dispatches_claim(now, lease, 9).await.unwrap().len(), 2);
        world.apply(world.commit(vec![Write::DispatchRelease {
            id: dispatches[0].id, taken: false, rounds: 2, due_at: Timestamp(now.0 + 90_000_000),
        }])).await;
        world.store.dispatches_hurry(world.account, recipient, Vec::new(), now).await.unwrap();
        let hurried = world.store.dispatches_to(world.account, recipient, 1).await.unwrap();
        assert_eq!(hurried[0].due_at, now);
    }

    async fn attempts_are_traced(database: Database) {
        let world = World::on(&database).await;
        let exchange = ExchangeId(world.bytes());
        let attempt = |number| Delivery { exchange, attempt: number, ..delivery_of(&world) };
        let (one, mut two) = (attempt(1), attempt(2));
        world.apply(world.commit(vec![Write::DeliveryInsert(one.clone()), Write::DeliveryInsert(two.clone())])).await;
        let finish = world.commit(vec![Write::DeliveryFinish {
            id: two.id,
            outcome: DeliveryOutcome::Retrying,
            sip_status: Some(486),
            reason: Some("Busy Here".to_owned()),
            retry_at: Some(START),
        }]);
        two.finished_at = Some(finish.at);
        two.sip_status = Some(486);
        two.reason = Some("Busy Here".to_owned());
        two.outcome = DeliveryOutcome::Retrying;
        two.retry_at = Some(START);
        world.apply(finish).await;
        assert_eq!(world.store.deliveries(world.account, vec![exchange]).await.unwrap(), [one, two.clone()]);
        assert_eq!(world.store.deliveries(world.account, vec![exchange]).await.unwrap().last(), Some(&two));
    }

    async fn a_deleted_message_takes_its_text_along(database: Database) {
        let world = World::on(&database).await;
        let other = world.other("other").await;
        let domain = world.domain("a.example").await;
        let alice = world.phone(&domain, "alice").await;
        let chat = world.chat(&alice, "x").await;
        let receives: Vec<_> = ["one", "two", "three"].iter().map(|body| world.receive(&alice, chat, body)).collect();
        let ids: Vec<MessageId> = receives.iter().map(World::message_of).collect();
        for receive in receives {
            world.apply(receive).await;
        }
        let find = |text: &str| MessageFilter { text: Words::to_find(text), ..MessageFilter::default() };
        let texts = [(ids[0], Words::to_index("one")), (ids[2], Words::to_index("three"))];
        world.store.messages_index(world.account, i64::MAX, texts.into()).await.unwrap();
        assert_eq!(world.store.messages_count(world.account, find("three")).await.unwrap(), 1);
        let delete = |id| {
            let mut commit = world.commit(vec![Write::MessageDelete { id, chat }]);
            commit.preconditions = vec![Precondition::MessageAt(id, MessageStatus::Received, false)];
            commit.events = vec![world.told(alice.id, EventBody::MessageDeleted)];
            commit
        };
        world.apply(delete(ids[2])).await;
        assert_eq!(world.store.commit(delete(ids[2])).await.unwrap(), Answer::Failed(0), "it is gone");
        assert_eq!(world.store.messages_by_ids(world.account, vec![ids[2]]).await.unwrap(), []);
        assert_eq!(world.store.messages_count(world.account, find("three")).await.unwrap(), 0);
        assert_eq!(world.store.messages_count(world.account, find("one")).await.unwrap(), 1);
        let found = world.store.chats_by_ids(world.account, vec![chat]).await.unwrap().remove(0);
        assert_eq!((found.message_count, found.unread_count, found.last_message, found.last_seq), (2, 2, Some(ids[1]), 3));
        let texts: Vec<Option<String>> = world.store.events_after(world.account, 0, 100).await.unwrap().into_iter()
            .filter_map(|event| match event.body { EventBody::MessageIn { text, .. } => Some(text), _ => None })
            .collect();
        assert_eq!(texts, [Some("one".to_owned()), Some("two".to_owned()), None]);
        // Numbers are not used again, and an empty chat has no last message.
        world.apply(delete(ids[0])).await;
        world.apply(delete(ids[1])).await;
        let found = world.store.chats_by_ids(world.account, vec![chat]).await.unwrap().remove(0);
        assert_eq!((found.message_count, found.unread_count, found.last_message), (0, 0, None));
        let again = world.apply(world.receive(&alice, chat, "four")).await;
        assert_eq!(again.message_seqs[0].0, 4);
        assert_eq!(other.store.messages_count(other.account, MessageFilter::default()).await.unwrap(), 0);
    }

    async fn chats_are_marked_cleared_and_deleted(database: Database) {
        let world = World::on(&database).await;
        let domain = world.domain("a.example").await;
        let alice = world.phone(&domain, "alice").await;
        let (chat, kept) = (world.chat(&alice, "x").await, world.chat(&alice, "y").await);
        for body in ["one", "two", "three"] {
            world.apply(world.receive(&alice, chat, body)).await;
        }
        world.apply(world.receive(&alice, kept, "kept")).await;
        let look = async |id: ChatId| {
            let found = world.store.chats_by_ids(world.account, vec![id]).await.unwrap();
            found.into_iter().next().map(|chat| (chat.unread_count, chat.message_count))
        };
        let change = async |write: Write| {
            let mut commit = world.commit(vec![write]);
            commit.preconditions = vec![Precondition::ChatThere(chat)];
            world.apply(commit).await.counts
        };
        let mark = |read, up_to_seq| Write::ChatMark { id: chat, read, up_to_seq };
        assert_eq!(change(mark(true, 2)).await, [2]);
        assert_eq!(look(chat).await, Some((1, 3)));
        assert_eq!(change(mark(true, i64::MAX)).await, [1], "those that have the mark are not counted");
        assert_eq!(look(chat).await, Some((0, 3)));
        assert_eq!(change(mark(false, 1)).await, [1]);
        assert_eq!((look(chat).await, look(kept).await), (Some((1, 3)), Some((1, 1))));

        assert_eq!(change(Write::ChatClear(chat)).await, [3]);
        assert_eq!(look(chat).await, Some((0, 0)));
        let of_chat = MessageFilter { chat: Some(chat), ..MessageFilter::default() };
        assert_eq!(world.store.messages_count(world.account, of_chat.clone()).await.unwrap(), 0);
        let four = world.receive(&alice, chat, "four");
        let id = World::message_of(&four);
        assert_eq!(world.apply(four).await.message_seqs[0].0, 4);
        assert_eq!(look(chat).await, Some((1, 1)));
        assert_eq!(change(Write::ChatDelete(chat)).await, [1]);
        assert_eq!(look(chat).await, None);
        assert!(!holds(&world, Precondition::ChatThere(chat)).await);
        assert!(!holds(&world, Precondition::MessageAt(id, MessageStatus::Received, false)).await);
        let new = world.chat(&alice, "x").await;
        world.apply(world.receive(&alice, new, "five")).await;

        // No reader sees the texts, and the rows go in steps; what is kept stays.
        let texts = async || -> Vec<String> {
            let events = world.store.events_after(world.account, 0, 100).await.unwrap();
            events.into_iter().filter_map(|event| match event.body { EventBody::MessageIn { text, .. } => text, _ => None }).collect()
        };
        assert_eq!(texts().await, ["kept", "five"]);
        let mut rows = 0;
        loop {
            match world.store.deleted_purge(2).await.unwrap() {
                0 => break,
                gone => {
                    assert!(gone <= 2, "{gone}");
                    rows += gone;
                }
            }
        }
        assert!(rows >= 4, "four messages at least: {rows}");
        assert_eq!(texts().await, ["kept", "five"]);
        assert_eq!((look(kept).await, look(new).await), (Some((1, 1)), Some((1, 1))));
        assert_eq!(world.store.messages_count(world.account, MessageFilter::default()).await.unwrap(), 2);
    }

    async fn the_first_receipt_of_each_kind_stays(database: Database) {
        let world = World::on(&database).await;
        let domain = world.domain("a.example").await;
        let alice = world.phone(&domain, "alice").await;
        let chat = world.chat(&alice, "x").await;
        let receive = world.receive(&alice, chat, "one");
        let id = World::message_of(&receive);
        world.apply(receive).await;
        let mut times = Vec::new();
        for disposition in [Disposition::Delivered, Disposition::Delivered, Disposition::Displayed, Disposition::Displayed] {
            let commit = world.commit(vec![Write::MessageReceiptSet { id, disposition }]);
            times.push(commit.at);
            world.apply(commit).await;
        }
        let message = world.store.messages_by_ids(world.account, vec![id]).await.unwrap().remove(0);
        assert_eq!((message.delivered_at, message.displayed_at), (Some(times[0]), Some(times[2])));
    }

    async fn what_waits_for_another_message_is_woken(database: Database) {
        let world = World::on(&database).await;
        let (recipient, another) = (EndpointId(world.bytes()), EndpointId(world.bytes()));
        let later = Timestamp(world.now().0 + 3_600_000_000);
        let trunk = EndpointId(world.bytes());
        for (endpoint, way) in [(recipient, Way::Contacts), (another, Way::Contacts), (trunk, Way::Number("0049".into()))] {
            let waiting = Dispatch { due_at: later, expires_at: later, way, ..dispatch_of(&world, endpoint) };
            world.apply(world.commit(vec![Write::DispatchInsert(waiting)])).await;
        }
        let wake = world.commit(vec![Write::DispatchesWake(recipient), Write::DispatchesWake(trunk)]);
        let at = wake.at;
        world.apply(wake).await;
        let due = async |endpoint| world.store.dispatches_to(world.account, endpoint, 9).await.unwrap()[0].due_at;
        assert!(due(recipient).await <= at);
        assert_eq!(due(another).await, later);
        assert_eq!(due(trunk).await, later, "what goes out by a trunk keeps its time");
        let by_trunk = world.store.dispatches_to(world.account, trunk, 9).await.unwrap();
        assert_eq!(by_trunk[0].way, Way::Number("0049".into()));
    }

    /// Only what failed at a contact whose device came back need no longer wait: not at another contact, nor at a new one.
    async fn a_device_that_came_back_is_tried_again_at_once(database: Database) {
        let world = World::on(&database).await;
        let domain = world.domain("a.example").await;
        let alice = world.phone(&domain, "alice").await;
        let (one, other) = (world.binding_of(&alice), world.binding_of(&alice));
        let dispatch = dispatch_of(&world, alice.id);
        let failed = |binding: &Binding| Delivery {
            exchange: dispatch.id, recipient: alice.id, target: DeliveryTarget::Contact(binding.id),
            outcome: DeliveryOutcome::Retrying, retry_at: Some(Timestamp(START.0 + 3_600_000_000)), ..delivery_of(&world)
        };
        let failures = [failed(&one), failed(&other)];
        let mut writes = vec![Write::DispatchInsert(dispatch.clone())];
        writes.extend(failures.iter().map(|failure| Write::DeliveryInsert(failure.clone())));
        world.apply(world.commit(writes)).await;
        let wait = async || {
            let deliveries = world.store.deliveries(world.account, vec![dispatch.id]).await.unwrap();
            let wait = |failure: &Delivery| deliveries.iter().find(|d| d.id == failure.id).unwrap().retry_at.is_some();
            [wait(&failures[0]), wait(&failures[1])]
        };
        world.apply(world.commit(vec![Write::BindingPut(one.clone())])).await;
        assert_eq!(wait().await, [true, true], "it is new");
        let moved = Binding { refreshed_at: Timestamp(one.registered_at.0 + 1), ..one };
        world.apply(world.commit(vec![Write::BindingPut(moved)])).await;
        assert_eq!(wait().await, [false, true]);
        let now = world.now();
        world.store.dispatches_hurry(world.account, alice.id, vec![other.id], now).await.unwrap();
        assert_eq!(wait().await, [false, false]);
    }

    async fn what_was_tried_is_told_for_a_whole_claim(database: Database) {
        let world = World::on(&database).await;
        let other = world.other("other").await;
        let (recipient, another) = (EndpointId(world.bytes()), EndpointId(world.bytes()));
        let dispatches: Vec<Dispatch> = [recipient, recipient, recipient, another].iter().map(|to| dispatch_of(&world, *to)).collect();
        let foreign = dispatch_of(&other, recipient);
        for (world, dispatch) in dispatches.iter().map(|d| (&world, d)).chain([(&other, &foreign)]) {
            world.apply(world.commit(vec![Write::DispatchInsert(dispatch.clone())])).await;
        }
        let place = |dispatch: &Dispatch| DispatchPlace {
            account: dispatch.account, recipient: dispatch.recipient, created_at: dispatch.created_at, id: dispatch.id,
        };
        let places: Vec<DispatchPlace> = dispatches.iter().chain([&foreign]).map(place).collect();
        let nothing = world.store.deliveries_tried(places.clone(), 9).await.unwrap();
        assert_eq!(nothing, vec![Tried::default(); 5]);
        assert_eq!(world.store.deliveries_tried(Vec::new(), 9).await.unwrap(), []);
        let attempt = |dispatch: &Dispatch, number| Delivery { exchange: dispatch.id, recipient: dispatch.recipient, account: dispatch.account, attempt: number, ..delivery_of(&world) };
        let (one, again, two) = (attempt(&dispatches[0], 1), attempt(&dispatches[0], 2), attempt(&dispatches[1], 1));
        let (last, theirs) = (attempt(&dispatches[3], 1), attempt(&foreign, 1));
        world.apply(world.commit([&one, &again, &two, &last].map(|d| Write::DeliveryInsert(d.clone())).into())).await;
        other.apply(other.commit(vec![Write::DeliveryInsert(theirs.clone())])).await;
        let tried = |own: &[&Delivery], earlier: &[&Delivery]| Tried {
            own: own.iter().map(|d| (*d).clone()).collect(), earlier: earlier.iter().map(|d| (*d).clone()).collect(),
        };
        let expected = [
            tried(&[&one, &again], &[]),
            tried(&[&two], &[&one, &again]),
            tried(&[], &[&one, &again, &two]),
            tried(&[&last], &[]),
            tried(&[&theirs], &[]),
        ];
        assert_eq!(world.store.deliveries_tried(places.clone(), 9).await.unwrap(), expected);
        // Of many that wait the oldest are looked at.
        let fewer = world.store.deliveries_tried(places, 1).await.unwrap();
        assert_eq!(fewer[2], tried(&[], &[&one, &again]));
    }

    async fn old_traces_are_trimmed_but_not_of_what_is_on_its_way(database: Database) {
        let world = World::on(&database).await;
        let dispatch = dispatch_of(&world, EndpointId(world.bytes()));
        world.apply(world.commit(vec![Write::DispatchInsert(dispatch.clone())])).await;
        let old: Vec<Delivery> = (0..3).map(|_| delivery_of(&world)).collect();
        let waiting = Delivery { exchange: dispatch.id, ..delivery_of(&world) };
        let young = Delivery { id: DeliveryId::new(Timestamp(START.0 + 60_000_000), [1; 10]), ..delivery_of(&world) };
        let all = old.iter().chain([&waiting, &young]);
        world.apply(world.commit(all.map(|d| Write::DeliveryInsert(d.clone())).collect())).await;
        let before = Timestamp(START.0 + 30_000_000);
        assert_eq!(world.store.deliveries_trim(before, 2).await.unwrap(), 2);
        assert_eq!(world.store.deliveries_trim(before, 2).await.unwrap(), 1);
        assert_eq!(world.store.deliveries_trim(before, 2).await.unwrap(), 0);
        let exchanges = old.iter().chain([&waiting, &young]).map(|d| d.exchange).collect();
        let left = world.store.deliveries(world.account, exchanges).await.unwrap();
        assert_eq!(left, [waiting, young]);
    }

    async fn tokens_are_found_by_their_hash_and_revoked(database: Database) {
        let world = World::on(&database).await;
        let token = ApiToken {
            id: TokenId(world.bytes()),
            account: world.account,
            name: "browser".to_owned(),
            scopes: vec![Scope::EndpointsRead, Scope::MessagesCreate],
            endpoints: Some(vec![EndpointId([1; 16]), EndpointId([2; 16])]),
            created_at: world.now(),
            expires_at: Some(world.now()),
            revoked_at: None,
        };
        world.apply(world.commit(vec![Write::TokenInsert { token: token.clone(), hash: [3; 32] }])).await;
        assert_eq!(world.store.token_by_hash([3; 32]).await.unwrap(), Some(token.clone()));
        assert_eq!(world.store.token_by_hash([4; 32]).await.unwrap(), None);
        assert!(holds(&world, Precondition::TokenLive(token.id)).await);
        let revoke = world.commit(vec![Write::TokenRevoke(token.id)]);
        let at = revoke.at;
        world.apply(revoke).await;
        assert!(!holds(&world, Precondition::TokenLive(token.id)).await);
        let revoked = world.store.token(world.account, token.id).await.unwrap().unwrap();
        assert_eq!(revoked.revoked_at, Some(at));
        assert_eq!(world.store.tokens_revoked_since(at).await.unwrap(), [token.id]);
        assert_eq!(world.store.tokens_revoked_since(Timestamp(at.0 + 1)).await.unwrap(), []);
        assert_eq!(world.store.tokens_count(world.account).await.unwrap(), 1);
    }

    async fn a_failed_precondition_is_named_and_nothing_is_written(database: Database) {
        let world = World::on(&database).await;
        let domain = world.domain("a.example").await;
        let phone = world.phone_of(&domain, "alice");
        let mut commit = world.create(&phone, Vec::new());
        commit.preconditions.push(Precondition::DomainAt(domain.id, 5));
        assert_eq!(world.store.commit(commit).await.unwrap(), Answer::Failed(1));
        assert!(world.seqs().await.is_empty());
        assert_eq!(world.phone(&domain, "alice").await.external_id, 1);
    }

    async fn one_account_neither_sees_nor_changes_another(database: Database) {
        let world = World::on(&database).await;
        let other = world.other("other").await;
        let domain = world.domain("a.example").await;
        let alice = world.phone(&domain, "alice").await;
        let chat = world.chat(&alice, "x").await;
        world.apply(world.receive(&alice, chat, "mine")).await;
        assert!(!holds(&other, Precondition::EndpointAt(alice.id, 1)).await);
        assert!(!holds(&other, Precondition::ChatThere(chat)).await);
        assert!(!holds(&other, Precondition::DomainAt(domain.id, 1)).await);
        // The name of a domain is the instance's.
        assert!(!holds(&other, Precondition::DomainNameFree("a.example".into())).await);
        other.apply(other.commit(vec![
            Write::EndpointStateSet(alice.id, EndpointState::Online),
            Write::EndpointDelete(alice.id),
        ])).await;
        let found = world.store.endpoint(world.account, EndpointKey::Id(alice.id)).await.unwrap();
        assert_eq!(found, Found::One(alice.clone()));
        assert_eq!(other.store.endpoint(other.account, EndpointKey::Id(alice.id)).await.unwrap(), Found::None);
        assert_eq!(other.store.domain_by_name(other.account, "a.example".into()).await.unwrap(), None);
        assert_eq!(other.store.chats_by_ids(other.account, vec![chat]).await.unwrap(), []);
        let answer = other.store.commit(other.receive(&alice, chat, "theirs")).await.unwrap();
        assert_eq!(answer, Answer::Failed(0));
        assert_eq!(world.seqs().await.len(), 3);
        assert_eq!(applied(other.store.commit(other.commit(Vec::new())).await.unwrap()).head, 0);
    }
}

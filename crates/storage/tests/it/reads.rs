//! Look-ups, filters and pages.

use futures_util::future::join_all;
use sipgraph_core::{
    AccountId,
    chat::ChatKey,
    commit::Write,
    endpoint::EndpointState,
    message::{Message, MessageDirection, MessageStatus},
    page::{Page, PageKey, Slice},
    ports::{
        Store as _,
        store::{ChatFilter, EndpointFilter, EndpointKey, Found, MessageFilter},
    },
    search::Words,
};
use sipgraph_testkit::both_backends;

use crate::world::{Phone, World, first};

fn at(position: i64) -> PageKey {
    PageKey {
        position,
        tie: [0; 16],
    }
}

fn last(limit: u32) -> Slice {
    Slice {
        backward: true,
        ..first(limit)
    }
}

/// Reads a whole list page by page in one direction and gives the keys of its rows in the list's order.
async fn walk<T>(
    backward: bool,
    key: impl Fn(&T) -> PageKey,
    read: impl AsyncFn(Slice) -> Page<T>,
) -> Vec<PageKey> {
    let mut keys: Vec<PageKey> = Vec::new();
    loop {
        let slice = Slice {
            backward,
            limit: 2,
            after: keys.last().copied().filter(|_| !backward),
            before: keys.first().copied().filter(|_| backward),
        };
        let page = read(slice).await;
        let begun = !keys.is_empty();
        let found: Vec<PageKey> = page.items.iter().map(&key).collect();
        let more = if backward {
            assert_eq!(page.has_next, begun);
            keys.splice(0..0, found);
            page.has_previous
        } else {
            assert_eq!(page.has_previous, begun);
            keys.extend(found);
            page.has_next
        };
        if !more {
            return keys;
        }
    }
}

both_backends! {
    async fn accounts_have_names_and_numbers(database: Database) {
        let world = World::on(&database).await;
        let store = &world.store;
        store.ready().await.unwrap();
        let other = AccountId(world.bytes());
        assert_eq!(store.account_create(other, "acme".into(), world.now()).await.unwrap(), None);
        assert!(store.account_create(other, "other".into(), world.now()).await.unwrap().is_some());
        let numbers = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let assigned = store.numbers_assign(world.account, numbers(&["+12", "+11"])).await.unwrap();
        assert!(assigned.is_empty());
        // All or none; again is fine.
        let taken = store.numbers_assign(other, numbers(&["+13", "+11"])).await.unwrap();
        assert_eq!(taken, ["+11"]);
        assert!(store.numbers_assign(world.account, numbers(&["+11"])).await.unwrap().is_empty());
        assert!(store.numbers_assign(other, numbers(&["+14"])).await.unwrap().is_empty());
        let owners = store.number_accounts(numbers(&["+14", "+13", "+11"])).await.unwrap();
        assert_eq!(owners, [("+11".to_owned(), world.account), ("+14".to_owned(), other)]);
        let found = store.account_by_name("acme".into()).await.unwrap().unwrap();
        assert_eq!((found.id, found.numbers.as_slice()), (world.account, &numbers(&["+11", "+12"])[..]));
        assert_eq!(store.account(other).await.unwrap().unwrap().numbers, numbers(&["+14"]));
        assert_eq!(store.account(AccountId([9; 16])).await.unwrap(), None);
        assert_eq!(store.log_head(AccountId([9; 16])).await.unwrap(), None);
    }

    async fn endpoints_are_found_by_every_key(database: Database) {
        let world = World::on(&database).await;
        let mut one = world.domain_of("one.example");
        one.aliases = vec!["alias.example".to_owned()];
        world.apply(world.commit(vec![Write::DomainInsert(one.clone())])).await;
        let two = world.domain("two.example").await;
        let alice = world.phone(&one, "alice").await;
        let bob = world.phone(&one, "bob").await;
        world.phone(&two, "bob").await;
        let chat = world.chat(&alice, &bob.address()).await;
        let outside = world.chat(&alice, "+4930123456").await;
        let find = async |key: EndpointKey| world.store.endpoint(world.account, key).await.unwrap();
        let name = |domain: Option<&str>, canonical: &str| EndpointKey::Name {
            domain: domain.map(str::to_owned),
            canonical: canonical.to_owned(),
        };
        assert_eq!(find(name(None, "alice")).await, Found::One(alice.clone()));
        assert_eq!(find(name(None, "bob")).await, Found::Ambiguous);
        assert_eq!(find(name(Some("alias.example"), "bob")).await, Found::One(bob.clone()));
        assert_eq!(find(name(Some("two.example"), "alice")).await, Found::None);
        assert_eq!(find(name(Some("unknown.example"), "bob")).await, Found::None);
        let keys = vec![
            ChatKey { endpoint: alice.id, own_number: alice.address(), peer: "+4930123456".to_owned() },
            ChatKey { endpoint: bob.id, own_number: bob.address(), peer: alice.address() },
        ];
        let chats = world.store.chats_by_keys(world.account, keys.clone()).await.unwrap();
        assert_eq!(chats, [(keys[0].clone(), outside)]);
        assert!(world.store.numbers_assign(world.account, vec!["+11".into(), "+12".into()]).await.unwrap().is_empty());
        assert_eq!(find(EndpointKey::Number("+11".into())).await, Found::None);
        let number = Write::NumberSet { number: "+11".into(), endpoint: Some(bob.id) };
        world.apply(world.commit(vec![number])).await;
        assert_eq!(find(EndpointKey::Number("+11".into())).await, Found::One(bob.clone()));
        let stranger = world.other("outsider").await;
        let foreign = stranger.store.endpoint(stranger.account, EndpointKey::Number("+11".into())).await;
        assert_eq!(foreign.unwrap(), Found::None);
        let held = world.store.numbers(world.account, None).await.unwrap();
        assert_eq!(held, [("+11".to_owned(), Some(bob.id)), ("+12".to_owned(), None)]);

        let snapshot = world.store
            .send_snapshot(world.account, EndpointKey::Id(alice.id), Some(name(Some("one.example"), "bob")))
            .await
            .unwrap();
        assert_eq!((snapshot.sender, snapshot.recipient), (Found::One(alice.clone()), Found::One(bob)));
        assert_eq!((snapshot.sender_chat, snapshot.recipient_chat), (Some(chat), None));
        assert!(snapshot.record_internal && snapshot.is_own_domain);
        // A domain of another account is none of ours.
        let stranger = world.other("stranger").await;
        let snapshot = stranger.store
            .send_snapshot(stranger.account, name(None, "alice"), Some(name(Some("one.example"), "bob")))
            .await
            .unwrap();
        assert_eq!((snapshot.sender, snapshot.recipient), (Found::None, Found::None));
        assert!(!snapshot.record_internal && !snapshot.is_own_domain);
    }

    async fn look_ups_at_one_time_are_each_answered(database: Database) {
        let world = World::on(&database).await;
        let other = world.other("other").await;
        let (one, two) = (world.domain("one.example").await, other.domain("two.example").await);
        let (alice, bob) = (world.phone(&one, "alice").await, world.phone(&one, "bob").await);
        let carol = other.phone(&two, "carol").await;
        let chat = world.chat(&alice, &bob.address()).await;
        // Each account asks for the endpoints of both.
        let endpoints = [&world, &other].into_iter().flat_map(|asking| {
            let key = |phone: &Phone| EndpointKey::Id(phone.id);
            [&alice, &bob, &carol].map(|phone| asking.store.endpoint(asking.account, key(phone)))
        });
        let found: Result<Vec<_>, _> = join_all(endpoints).await.into_iter().collect();
        let known = |phone: &Phone| Found::One(phone.clone());
        assert_eq!(
            found.unwrap(),
            [known(&alice), known(&bob), Found::None, Found::None, Found::None, known(&carol)]
        );
        let chats = [&world, &other].map(|asking| asking.store.chats_by_ids(asking.account, vec![chat]));
        let counts = join_all(chats).await.into_iter().map(|found| found.unwrap().len());
        assert_eq!(counts.collect::<Vec<_>>(), [1, 0]);
        let id = |phone: &Phone| Some(EndpointKey::Id(phone.id));
        let name = |domain: &str, name: &str| {
            Some(EndpointKey::Name { domain: Some(domain.to_owned()), canonical: name.to_owned() })
        };
        let sends = [
            (&world, &alice, id(&bob)),
            (&world, &bob, name("one.example", "alice")),
            (&world, &alice, name("one.example", "nobody")),
            (&world, &alice, name("two.example", "carol")),
            (&world, &alice, id(&alice)),
            (&other, &carol, id(&alice)),
        ];
        let snapshots = sends.map(|(asking, from, to)| {
            asking.store.send_snapshot(asking.account, EndpointKey::Id(from.id), to)
        });
        let told = join_all(snapshots).await.into_iter().map(|snapshot| {
            let snapshot = snapshot.unwrap();
            (snapshot.recipient, snapshot.sender_chat, snapshot.recipient_chat, snapshot.is_own_domain)
        });
        assert_eq!(
            told.collect::<Vec<_>>(),
            [
                (known(&bob), Some(chat), None, false),
                (known(&alice), None, Some(chat), true),
                (Found::None, None, None, true),
                (Found::None, None, None, false),
                (known(&alice), None, None, false),
                (Found::None, None, None, false),
            ]
        );
    }

    async fn endpoints_are_paged_by_creation(database: Database) {
        let world = World::on(&database).await;
        let domain = world.domain("a.example").await;
        let moment = world.now();
        let mut expected = Vec::new();
        for number in 0..7 {
            let mut phone = world.phone_of(&domain, &format!("phone{number}"));
            // Most are of one microsecond: then the id decides.
            if number < 5 {
                phone.created_at = moment;
            }
            expected.push(PageKey { position: phone.created_at.0, tie: phone.id.0 });
            world.apply(world.create(&phone, Vec::new())).await;
        }
        expected.sort();
        expected.reverse();
        for backward in [false, true] {
            let keys = walk(
                backward,
                |phone: &sipgraph_core::endpoint::Endpoint| PageKey { position: phone.created_at.0, tie: phone.id.0 },
                async |slice| world.store.endpoints(world.account, EndpointFilter::default(), slice).await.unwrap(),
            ).await;
            assert_eq!(keys, expected, "backward: {backward}");
        }
        let between = Slice { after: Some(expected[0]), before: Some(expected[4]), ..first(10) };
        let page = world.store.endpoints(world.account, EndpointFilter::default(), between).await.unwrap();
        assert_eq!(page.items.len(), 3);
        assert!(page.has_previous && !page.has_next);
    }

    async fn endpoints_are_filtered(database: Database) {
        let world = World::on(&database).await;
        let (one, two) = (world.domain("one.example").await, world.domain("two.example").await);
        let alice = world.phone(&one, "alice").await;
        let mut bob = world.phone_of(&two, "bob");
        bob.enabled = false;
        world.apply(world.create(&bob, Vec::new())).await;
        world.apply(world.commit(vec![Write::EndpointStateSet(alice.id, EndpointState::Offline)])).await;
        let check = async |filter: EndpointFilter, expected: &[sipgraph_core::EndpointId]| {
            let page = world.store.endpoints(world.account, filter.clone(), first(10)).await.unwrap();
            let ids: Vec<_> = page.items.iter().map(|phone| phone.id).collect();
            assert_eq!(ids, expected, "{filter:?}");
            let count = world.store.endpoints_count(world.account, filter).await.unwrap();
            assert_eq!(count, i64::try_from(expected.len()).unwrap());
        };
        let none = EndpointFilter::default;
        check(none(), &[bob.id, alice.id]).await;
        check(EndpointFilter { ids: Some(vec![alice.id]), ..none() }, &[alice.id]).await;
        check(EndpointFilter { ids: Some(Vec::new()), ..none() }, &[]).await;
        check(EndpointFilter { ids: Some(vec![alice.id]), visible: Some(vec![bob.id]), ..none() }, &[]).await;
        check(EndpointFilter { domain: Some(two.id), ..none() }, &[bob.id]).await;
        check(EndpointFilter { enabled: Some(true), ..none() }, &[alice.id]).await;
        check(EndpointFilter { state: Some(EndpointState::Offline), ..none() }, &[alice.id]).await;
        check(EndpointFilter { state: Some(EndpointState::Offline), enabled: Some(false), ..none() }, &[]).await;
        let found = world.store.endpoints_by_ids(world.account, vec![bob.id]).await.unwrap();
        assert!(!found[0].enabled);
    }

    async fn messages_and_chats_are_paged_and_filtered(database: Database) {
        let world = World::on(&database).await;
        let domain = world.domain("a.example").await;
        let (alice, bob) = (world.phone(&domain, "alice").await, world.phone(&domain, "bob").await);
        let chats = [
            world.chat(&alice, "x").await,
            world.chat(&alice, "y").await,
            world.chat(&bob, "x").await,
        ];
        let mut times = Vec::new();
        let mut ids = Vec::new();
        for number in 0..9 {
            let phone = if number % 3 == 2 { &bob } else { &alice };
            let receive = world.receive(phone, chats[number % 3], &format!("text {number}"));
            times.push(receive.at);
            ids.push(World::message_of(&receive));
            world.apply(receive).await;
        }
        world.apply(world.commit(vec![Write::MessageReadSet { id: ids[0], chat: chats[0], read: true }])).await;
        let store = &world.store;
        for backward in [false, true] {
            let all = walk(
                backward,
                |message: &sipgraph_core::message::Message| at(message.log_seq),
                async |slice| store.messages(world.account, MessageFilter::default(), slice).await.unwrap(),
            ).await;
            assert_eq!(all.len(), 9);
            assert!(all.is_sorted_by(|a, b| a > b));
            let chat = MessageFilter { chat: Some(chats[1]), ..MessageFilter::default() };
            let of_chat = walk(
                backward,
                |message: &sipgraph_core::message::Message| at(message.seq),
                async |slice| store.messages(world.account, chat.clone(), slice).await.unwrap(),
            ).await;
            assert_eq!(of_chat, [at(3), at(2), at(1)]);
            let by_activity = walk(
                backward,
                |chat: &sipgraph_core::chat::Chat| at(chat.activity_seq),
                async |slice| store.chats(world.account, ChatFilter::default(), slice).await.unwrap(),
            ).await;
            assert_eq!(by_activity.len(), 3);
            assert!(by_activity.is_sorted_by(|a, b| a > b));
        }
        let none = MessageFilter::default;
        let check = async |filter: MessageFilter, expected: i64| {
            assert_eq!(store.messages_count(world.account, filter.clone()).await.unwrap(), expected, "{filter:?}");
            let page = store.messages(world.account, filter.clone(), last(100)).await.unwrap();
            assert_eq!(page.items.len(), usize::try_from(expected).unwrap(), "{filter:?}");
        };
        check(none(), 9).await;
        check(MessageFilter { endpoint: Some(bob.id), ..none() }, 3).await;
        check(MessageFilter { direction: Some(MessageDirection::Out), ..none() }, 0).await;
        check(MessageFilter { read: Some(true), ..none() }, 1).await;
        check(MessageFilter { status: Some(MessageStatus::Received), ..none() }, 9).await;
        check(MessageFilter { peer: Some("peer@elsewhere.example".into()), ..none() }, 9).await;
        check(MessageFilter { from: Some(times[2]), to: Some(times[5]), ..none() }, 3).await;
        check(MessageFilter { visible: Some(vec![alice.id]), endpoint: Some(bob.id), ..none() }, 0).await;
        check(MessageFilter { visible: Some(Vec::new()), ..none() }, 0).await;

        let count = async |filter: ChatFilter| store.chats_count(world.account, filter).await.unwrap();
        let none = ChatFilter::default;
        assert_eq!(count(ChatFilter { endpoint: Some(alice.id), ..none() }).await, 2);
        assert_eq!(count(ChatFilter { peer: Some("x".into()), ..none() }).await, 2);
        assert_eq!(count(ChatFilter { own_number: Some(bob.address()), ..none() }).await, 1);
        assert_eq!(count(ChatFilter { unread: Some(true), ..none() }).await, 3);
        assert_eq!(count(ChatFilter { unread: Some(false), ..none() }).await, 0);
        assert_eq!(count(ChatFilter { visible: Some(vec![bob.id]), ..none() }).await, 1);
        let mut unread = store.unread_by_endpoints(world.account, vec![alice.id, bob.id]).await.unwrap();
        unread.sort();
        assert_eq!(unread, [(alice.id, 5), (bob.id, 3)]);
    }

    async fn lists_of_some_endpoints_are_paged_as_the_whole_list_is(database: Database) {
        let world = World::on(&database).await;
        let domain = world.domain("a.example").await;
        let mut lines = Vec::new();
        for name in ["alice", "bob", "carol", "dave"] {
            let phone = world.phone(&domain, name).await;
            for peer in ["x", "y"] {
                lines.push((world.chat(&phone, peer).await, phone.clone()));
            }
        }
        // Alice has most of them, so that her list alone fills pages; Bob has the oldest, Dave none.
        for line in [2, 3, 0, 1, 0, 0, 4, 0, 1, 1, 5, 0, 4] {
            let (chat, phone) = &lines[line];
            world.apply(world.receive(phone, *chat, "text")).await;
        }
        let store = &world.store;
        let id = |line: usize| lines[line].1.id;
        for seen in [vec![id(0), id(2)], vec![id(2), id(0), id(6)], vec![id(4)], vec![id(6)]] {
            let messages = MessageFilter { visible: Some(seen.clone()), ..MessageFilter::default() };
            let chats = ChatFilter { visible: Some(seen.clone()), ..ChatFilter::default() };
            let all = store.messages(world.account, MessageFilter::default(), first(100)).await.unwrap().items;
            let expected: Vec<PageKey> = all.iter().filter(|m| seen.contains(&m.endpoint)).map(|m| at(m.log_seq)).collect();
            let every = store.chats(world.account, ChatFilter::default(), first(100)).await.unwrap().items;
            let active: Vec<PageKey> = every.iter().filter(|c| seen.contains(&c.key.endpoint)).map(|c| at(c.activity_seq)).collect();
            for backward in [false, true] {
                let walked = walk(
                    backward,
                    |message: &Message| at(message.log_seq),
                    async |slice| store.messages(world.account, messages.clone(), slice).await.unwrap(),
                ).await;
                assert_eq!(walked, expected, "{seen:?}, {backward}");
                let walked = walk(
                    backward,
                    |chat: &sipgraph_core::chat::Chat| at(chat.activity_seq),
                    async |slice| store.chats(world.account, chats.clone(), slice).await.unwrap(),
                ).await;
                assert_eq!(walked, active, "{seen:?}, {backward}");
            }
        }
    }

    async fn messages_with_words_are_paged_as_the_list_is(database: Database) {
        let world = World::on(&database).await;
        let other = world.other("other").await;
        let store = &world.store;
        for world in [&other, &world] {
            let domain = world.domain(&format!("{}.example", world.account.0[15])).await;
            let (alice, bob) = (world.phone(&domain, "alice").await, world.phone(&domain, "bob").await);
            let chats = [world.chat(&alice, "x").await, world.chat(&alice, "y").await, world.chat(&bob, "x").await];
            let mut words = Vec::new();
            for number in 0..60 {
                let phone = if number % 3 == 2 { &bob } else { &alice };
                let text = if number % 20 == 0 { format!("common rare{number}") } else { format!("common {number}") };
                let receive = world.receive(phone, chats[number % 3], &text);
                words.push((World::message_of(&receive), Words::to_index(&text)));
                world.apply(receive).await;
            }
            // The last ones wait to be indexed.
            words.truncate(57);
            store.messages_index(world.account, i64::MAX, words).await.unwrap();
        }
        let listed = async |filter: &MessageFilter, slice| store.messages(world.account, filter.clone(), slice).await.unwrap();
        let all = listed(&MessageFilter::default(), first(1000)).await.items;
        assert_eq!(all.len(), 60);
        let (chat, endpoint) = (all[4].chat, all[0].endpoint);
        let none = MessageFilter::default;
        let cases = [
            none(),
            MessageFilter { chat: Some(chat), ..none() },
            MessageFilter { endpoint: Some(endpoint), ..none() },
            MessageFilter { direction: Some(MessageDirection::Out), ..none() },
        ];
        for others in cases {
            let matches = |message: &Message| {
                others.chat.is_none_or(|chat| message.chat == chat)
                    && others.endpoint.is_none_or(|endpoint| message.endpoint == endpoint)
                    && others.direction.is_none_or(|direction| message.direction == direction)
            };
            for text in ["com", "rare", "common rare4", "absent", "common 7"] {
                let filter = MessageFilter { text: Words::to_find(text), ..others.clone() };
                let is_found = |body: &str| {
                    let mut words = text.split(' ');
                    let last = words.next_back().unwrap();
                    words.all(|word| body.split(' ').any(|w| w == word)) && body.split(' ').any(|w| w.starts_with(last))
                };
                let position = |message: &Message| at(if filter.chat.is_some() { message.seq } else { message.log_seq });
                let expected: Vec<PageKey> = all.iter().skip(3).filter(|m| matches(m) && is_found(&m.body)).map(position).collect();
                for backward in [false, true] {
                    let walked = walk(backward, position, async |slice| listed(&filter, slice).await).await;
                    assert_eq!(walked, expected, "{text} of {others:?}, {backward}");
                }
                let between = Slice { after: Some(position(&all[10])), before: Some(position(&all[40])), ..first(1000) };
                if filter.chat.is_none() {
                    let page = listed(&filter, between).await;
                    let inner: Vec<PageKey> = expected.iter().copied().filter(|key| *key < position(&all[10]) && *key > position(&all[40])).collect();
                    assert_eq!(page.items.iter().map(position).collect::<Vec<_>>(), inner, "{text}");
                }
            }
        }
    }

    async fn tokens_and_domains_are_paged(database: Database) {
        let world = World::on(&database).await;
        for number in 0..5_u8 {
            world.domain(&format!("d{number}.example")).await;
            let token = sipgraph_core::token::ApiToken {
                id: sipgraph_core::TokenId(world.bytes()),
                account: world.account,
                name: "t".to_owned(),
                scopes: Vec::new(),
                endpoints: None,
                created_at: world.now(),
                expires_at: None,
                revoked_at: None,
            };
            world.apply(world.commit(vec![Write::TokenInsert { token, hash: [number; 32] }])).await;
        }
        for backward in [false, true] {
            let tokens = walk(
                backward,
                |token: &sipgraph_core::token::ApiToken| PageKey { position: token.created_at.0, tie: token.id.0 },
                async |slice| world.store.tokens(world.account, slice).await.unwrap(),
            ).await;
            assert_eq!(tokens.len(), 5);
            let domains = walk(
                backward,
                |domain: &sipgraph_core::domain::Domain| PageKey { position: domain.created_at.0, tie: domain.id.0 },
                async |slice| world.store.domains(world.account, slice).await.unwrap(),
            ).await;
            assert_eq!(domains.len(), 5);
            assert!(domains.is_sorted_by(|a, b| a > b) && tokens.is_sorted_by(|a, b| a > b));
        }
    }
}

//! Commits that meet in one batch and depend on each other.

use futures_util::future::join_all;
use sipgraph_core::{
    ChatId, EndpointId, Timestamp,
    commit::{Answer, Commit, Precondition, Write},
    delivery::Dispatch,
    endpoint::EndpointState,
    ports::{
        Store as _,
        store::{EndpointKey, Found, MessageFilter},
    },
};
use sipgraph_testkit::both_backends;

use crate::{commits::dispatch_of, world::World};

/// Hands all commits to the store at once, in order.
async fn together(world: &World, commits: Vec<Commit>) -> Vec<Answer> {
    join_all(
        commits
            .into_iter()
            .map(|commit| async { world.store.commit(commit).await.unwrap() }),
    )
    .await
}

fn count(answers: &[Answer], wanted: impl Fn(&Answer) -> bool) -> usize {
    answers.iter().filter(|answer| wanted(answer)).count()
}

both_backends! {
    async fn a_name_is_given_once(database: Database) {
        let world = World::on(&database).await;
        let domain = world.domain("a.example").await;
        let commits = (0..20).map(|_| world.create(&world.phone_of(&domain, "alice"), Vec::new())).collect();
        let answers = together(&world, commits).await;
        assert_eq!(count(&answers, |a| matches!(a, Answer::Applied(_))), 1);
        assert_eq!(count(&answers, |a| *a == Answer::Failed(0)), 19);
    }

    /// The precondition says nothing of names, so the database's own constraint decides: the others are stored all the same.
    async fn the_one_at_fault_does_not_spoil_the_batch(database: Database) {
        let world = World::on(&database).await;
        let domain = world.domain("a.example").await;
        world.phone(&domain, "alice").await;
        let mut commits: Vec<Commit> = (0..8)
            .map(|n| world.create(&world.phone_of(&domain, &format!("phone{n}")), Vec::new()))
            .collect();
        let mut twin = world.create(&world.phone_of(&domain, "alice"), Vec::new());
        twin.preconditions.clear();
        commits.insert(4, twin);
        let outcomes = join_all(commits.into_iter().map(|commit| world.store.commit(commit))).await;
        for (index, outcome) in outcomes.iter().enumerate() {
            assert_eq!(outcome.is_ok(), index != 4, "{index}: {outcome:?}");
        }
        assert_eq!(world.seqs().await, (1..=9).collect::<Vec<i64>>());
    }

    async fn what_waits_for_an_endpoint_is_counted_within_a_batch(database: Database) {
        let world = World::on(&database).await;
        let [alice, bob] = [world.bytes(), world.bytes()].map(EndpointId);
        let dispatches = [alice, alice, bob].map(|recipient| dispatch_of(&world, recipient));
        let inserts = dispatches.iter().cloned().map(Write::DispatchInsert);
        world.apply(world.commit(inserts.collect())).await;
        let while_waiting = |recipient, count, gone: Option<&Dispatch>| {
            let gone = gone.map(|dispatch| Write::DispatchDelete { id: dispatch.id, recipient: dispatch.recipient });
            let mut commit = world.commit(gone.into_iter().collect());
            commit.preconditions = vec![Precondition::WaitingFor(recipient, count)];
            commit
        };
        let answers = together(&world, vec![
            while_waiting(bob, 1, None),
            while_waiting(alice, 2, Some(&dispatches[0])),
            while_waiting(bob, 1, Some(&dispatches[2])),
            while_waiting(alice, 2, None),
            while_waiting(alice, 1, Some(&dispatches[1])),
            while_waiting(bob, 0, None),
            while_waiting(alice, 1, None),
        ]).await;
        let applied: Vec<bool> = answers.iter().map(|a| matches!(a, Answer::Applied(_))).collect();
        assert_eq!(applied, [true, true, true, false, true, true, false]);
    }

    /// A commit sees what earlier ones of its batch wrote.
    async fn dependent_commits_are_applied_in_order(database: Database) {
        let world = World::on(&database).await;
        let domain = world.domain("a.example").await;
        let alice = world.phone(&domain, "alice").await;
        let mut commits = Vec::new();
        for revision in 0..10 {
            let mut put = world.commit(vec![
                Write::BindingPut(world.binding_of(&alice)),
                Write::EndpointStateSet(alice.id, if revision % 2 == 0 { EndpointState::Online } else { EndpointState::Offline }),
            ]);
            put.preconditions = vec![Precondition::BindingsAt(alice.id, revision)];
            commits.push(put);
        }
        let answers = together(&world, commits).await;
        assert_eq!(count(&answers, |a| matches!(a, Answer::Applied(_))), 10);
        let (endpoint, bindings) = world.store.endpoint_bindings(world.account, alice.id).await.unwrap().unwrap();
        assert_eq!((endpoint.bindings_revision, bindings.len()), (10, 10));
        assert_eq!(endpoint.state, EndpointState::Offline);
    }

    /// Only one of those that read the same revision goes through.
    async fn of_two_that_read_the_same_one_fails(database: Database) {
        let world = World::on(&database).await;
        let domain = world.domain("a.example").await;
        let alice = world.phone(&domain, "alice").await;
        let commits = (0..10).map(|_| {
            let mut put = world.commit(vec![Write::BindingPut(world.binding_of(&alice))]);
            put.preconditions = vec![Precondition::BindingsAt(alice.id, 0)];
            put
        }).collect();
        let answers = together(&world, commits).await;
        assert_eq!(count(&answers, |a| matches!(a, Answer::Applied(_))), 1);
        assert_eq!(count(&answers, |a| *a == Answer::Failed(0)), 9);
    }

    /// What waits for a phone is due with the registration, whichever of the two commits comes first.
    async fn a_registration_finds_what_waits_for_it(database: Database) {
        let world = World::on(&database).await;
        let domain = world.domain("a.example").await;
        let later = Timestamp(world.now().0 + 3_600_000_000);
        for (name, comes_first) in [("alice", true), ("bob", false)] {
            let phone = world.phone(&domain, name).await;
            let waiting = Dispatch { due_at: later, expires_at: later, ..dispatch_of(&world, phone.id) };
            let mut send = world.commit(vec![Write::DispatchInsert(waiting)]);
            send.preconditions = vec![Precondition::BindingsAt(phone.id, 0)];
            let put = world.commit(vec![Write::BindingPut(world.binding_of(&phone))]);
            let commits = if comes_first { vec![send, put] } else { vec![put, send] };
            let answers = together(&world, commits).await;
            let waits = world.store.dispatches_to(world.account, phone.id, 2).await.unwrap();
            if comes_first {
                assert_eq!(count(&answers, |a| matches!(a, Answer::Applied(_))), 2);
                assert!(waits[0].due_at < later, "{:?}", waits[0].due_at);
            } else {
                // It is decided again, with the phone there.
                assert_eq!(answers[1], Answer::Failed(0));
                assert_eq!(waits, []);
            }
        }
    }

    /// The first message makes the chat; those behind it in the batch use it.
    async fn a_chat_made_in_the_batch_is_used_by_it(database: Database) {
        let world = World::on(&database).await;
        let domain = world.domain("a.example").await;
        let alice = world.phone(&domain, "alice").await;
        let chat = ChatId(world.bytes());
        let key = world.key(&alice, "x");
        let mut first = world.receive(&alice, chat, "first");
        first.preconditions = vec![Precondition::ChatKeyFree(key.clone())];
        first.writes.insert(0, Write::ChatInsert { id: chat, key: key.clone() });
        let mut twin = world.receive(&alice, ChatId(world.bytes()), "twin");
        twin.preconditions = vec![Precondition::ChatKeyFree(key.clone())];
        twin.writes.insert(0, Write::ChatInsert { id: ChatId(world.bytes()), key: key.clone() });
        let mut commits = vec![first, twin];
        commits.extend((0..10).map(|_| world.receive(&alice, chat, "next")));
        let answers = together(&world, commits).await;
        assert_eq!(answers[1], Answer::Failed(0));
        assert_eq!(count(&answers, |a| matches!(a, Answer::Applied(_))), 11);
        let found = world.store.chat_by_key(world.account, key).await.unwrap().unwrap();
        assert_eq!((found.id, found.last_seq, found.unread_count, found.message_count), (chat, 11, 11, 11));
    }

    /// Marking a whole chat counts what came before it in the batch, and leaves what comes behind it.
    async fn chats_are_marked_in_the_order_of_the_batch(database: Database) {
        let world = World::on(&database).await;
        let domain = world.domain("a.example").await;
        let alice = world.phone(&domain, "alice").await;
        let (one, two) = (world.chat(&alice, "x").await, world.chat(&alice, "y").await);
        world.apply(world.receive(&alice, one, "before")).await;
        let mark = |id| {
            let mut commit = world.commit(vec![Write::ChatMark { id, read: true, up_to_seq: i64::MAX }]);
            commit.preconditions = vec![Precondition::ChatThere(id)];
            commit
        };
        let again = world.receive(&alice, one, "again");
        let read = World::message_of(&again);
        let answers = together(&world, vec![
            world.receive(&alice, one, "first"),
            world.receive(&alice, two, "other"),
            mark(one),
            mark(two),
            mark(two),
            world.receive(&alice, one, "behind"),
            again,
            mark(one),
            world.receive(&alice, one, "last"),
        ]).await;
        let counts: Vec<i64> = answers.iter().flat_map(|answer| match answer {
            Answer::Applied(applied) => applied.counts.clone(),
            other => panic!("{other:?}"),
        }).collect();
        assert_eq!(counts, [2, 1, 0, 2]);
        let chats = world.store.chats_by_ids(world.account, vec![one]).await.unwrap();
        assert_eq!((chats[0].unread_count, chats[0].message_count), (1, 5));
        let unread = MessageFilter { read: Some(false), ..MessageFilter::default() };
        assert_eq!(world.store.messages_count(world.account, unread).await.unwrap(), 1);
        assert!(world.store.messages_by_ids(world.account, vec![read]).await.unwrap()[0].read);
    }

    async fn what_was_deleted_in_the_batch_is_gone_for_it(database: Database) {
        let world = World::on(&database).await;
        let domain = world.domain("a.example").await;
        let alice = world.phone(&domain, "alice").await;
        let chat = world.chat(&alice, "x").await;
        let mut delete = world.commit(vec![Write::EndpointDelete(alice.id)]);
        delete.preconditions = vec![Precondition::EndpointAt(alice.id, 1)];
        let answers = together(&world, vec![
            world.receive(&alice, chat, "before"),
            delete.clone(),
            world.receive(&alice, chat, "after"),
            delete,
            world.create(&world.phone_of(&domain, "alice"), Vec::new()),
        ]).await;
        assert!(matches!(answers[0], Answer::Applied(_)));
        assert!(matches!(answers[1], Answer::Applied(_)));
        assert_eq!(answers[2], Answer::Failed(0));
        assert_eq!(answers[3], Answer::Failed(0));
        assert!(matches!(answers[4], Answer::Applied(_)));
        assert_eq!(world.store.endpoint(world.account, EndpointKey::Id(alice.id)).await.unwrap(), Found::None);
    }

    /// A fault of the caller's: it is told so, and the commits beside it go through.
    async fn a_commit_that_makes_no_sense_is_refused_alone(database: Database) {
        let world = World::on(&database).await;
        let domain = world.domain("a.example").await;
        let alice = world.phone(&domain, "alice").await;
        let chat = world.chat(&alice, "x").await;
        let mut lost = world.receive(&alice, ChatId([9; 16]), "x");
        lost.preconditions.clear();
        let mut stranger = world.commit(Vec::new());
        stranger.account = sipgraph_core::AccountId([9; 16]);
        let nul = world.receive(&alice, chat, "a\0b");
        let fine = world.receive(&alice, chat, "fine");
        let outcomes = join_all([lost, stranger, nul, fine].map(|commit| world.store.commit(commit))).await;
        assert!(outcomes[0].is_err() && outcomes[1].is_err());
        // Postgres can't hold a NUL, SQLite can.
        assert_eq!(outcomes[2].is_ok(), !world.store.is_shared(), "{:?}", outcomes[2]);
        assert!(matches!(outcomes[3], Ok(Answer::Applied(_))), "{:?}", outcomes[3]);
    }
}

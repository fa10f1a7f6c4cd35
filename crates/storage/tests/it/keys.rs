//! Calls that may be repeated.

use futures_util::future::join_all;
use sipgraph_core::{
    commit::Answer,
    ports::{Store as _, store::MessageFilter},
};
use sipgraph_testkit::both_backends;

use crate::world::{START, World};

both_backends! {
    async fn a_repeated_call_gives_the_first_result(database: Database) {
        let world = World::on(&database).await;
        let domain = world.domain("a.example").await;
        let alice = world.phone(&domain, "alice").await;
        let chat = world.chat(&alice, "x").await;
        let send = |key: &str, input| {
            let mut commit = world.receive(&alice, chat, "once");
            commit.idempotency = Some(world.call(key, input));
            commit
        };
        let first = send("k", 1);
        let result = first.idempotency.clone().unwrap().result;
        assert!(matches!(world.store.commit(first).await.unwrap(), Answer::Applied(_)));
        assert_eq!(world.store.commit(send("k", 1)).await.unwrap(), Answer::Replayed(result.clone()));
        assert_eq!(world.store.commit(send("k", 2)).await.unwrap(), Answer::KeyReused);
        assert!(matches!(world.store.commit(send("k2", 2)).await.unwrap(), Answer::Applied(_)));
        let look = |key: &str, input| world.store.idempotent_result(world.account, world.call(key, input));
        assert_eq!(look("k", 1).await.unwrap(), Some(Answer::Replayed(result)));
        assert_eq!(look("k", 3).await.unwrap(), Some(Answer::KeyReused));
        assert_eq!(look("unknown", 1).await.unwrap(), None);
        // Keys are of an account.
        let other = world.other("other").await;
        assert_eq!(other.store.idempotent_result(other.account, other.call("k", 1)).await.unwrap(), None);

        assert_eq!(world.store.idempotency_trim(START, 10).await.unwrap(), 0);
        assert_eq!(world.store.idempotency_trim(world.now(), 1).await.unwrap(), 1);
        assert_eq!(world.store.idempotency_trim(world.now(), 10).await.unwrap(), 1);
        assert_eq!(look("k", 1).await.unwrap(), None);
    }

    /// Fifty at once, so that several meet in one batch: one effect, and fifty times the same result.
    async fn equal_keys_in_one_batch_have_one_effect(database: Database) {
        let world = World::on(&database).await;
        let domain = world.domain("a.example").await;
        let alice = world.phone(&domain, "alice").await;
        let chat = world.chat(&alice, "x").await;
        let commits = (0..50).map(|_| {
            let mut commit = world.receive(&alice, chat, "once");
            commit.idempotency = Some(world.call("k", 1));
            commit
        });
        let results: Vec<_> = commits.map(|commit| {
            let own = commit.idempotency.clone().unwrap().result;
            let store = &world.store;
            async move { (own, store.commit(commit).await.unwrap()) }
        }).collect();
        let answers = join_all(results).await;
        let applied: Vec<_> = answers.iter().filter(|(_, a)| matches!(a, Answer::Applied(_))).collect();
        assert_eq!(applied.len(), 1);
        let result = applied[0].0.clone();
        for (_, answer) in answers.iter().filter(|(_, a)| !matches!(a, Answer::Applied(_))) {
            assert_eq!(*answer, Answer::Replayed(result.clone()));
        }
        assert_eq!(world.store.messages_count(world.account, MessageFilter::default()).await.unwrap(), 1);
    }

    /// A refused call uses up no key.
    async fn a_failed_call_leaves_its_key_unused(database: Database) {
        let world = World::on(&database).await;
        let domain = world.domain("a.example").await;
        let alice = world.phone(&domain, "alice").await;
        let chat = world.chat(&alice, "x").await;
        let mut wrong = world.receive(&alice, chat, "x");
        wrong.preconditions.push(sipgraph_core::commit::Precondition::EndpointAt(alice.id, 9));
        wrong.idempotency = Some(world.call("k", 1));
        assert_eq!(world.store.commit(wrong).await.unwrap(), Answer::Failed(2));
        let mut right = world.receive(&alice, chat, "x");
        right.idempotency = Some(world.call("k", 2));
        assert!(matches!(world.store.commit(right).await.unwrap(), Answer::Applied(_)));
    }
}

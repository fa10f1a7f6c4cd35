//! The log: numbers without a hole, in commit order, and trimming.

use std::sync::Arc;

use futures_util::future::join_all;
use sipgraph_core::{
    Timestamp,
    event::EventBody,
    ports::{Store as _, store::MessageFilter},
};
use sipgraph_testkit::both_backends;

use crate::world::{World, applied};

both_backends! {
    /// 64 writers, two accounts, and a reader that follows each log with a cursor meanwhile (R11).
    async fn numbers_have_no_hole_under_64_writers(database: Database) {
        const WRITERS: usize = 64;
        const EACH: usize = 8;
        let world = Arc::new(World::on(&database).await);
        let other = Arc::new(world.other("other").await);
        let mut writers = Vec::new();
        let mut readers = Vec::new();
        for world in [&world, &other] {
            let domain = world.domain(&format!("d{}.example", writers.len())).await;
            let alice = world.phone(&domain, "alice").await;
            let total = i64::try_from(WRITERS / 2 * EACH * 2 + 1).unwrap();
            let reading = Arc::clone(world);
            readers.push(tokio::spawn(async move {
                let mut seen = 0;
                while seen < total {
                    let events = reading.store.events_after(reading.account, seen, 100).await.unwrap();
                    for event in &events {
                        assert_eq!(event.seq, seen + 1, "a reader saw a hole");
                        seen = event.seq;
                    }
                    tokio::task::yield_now().await;
                }
            }));
            for _ in 0..WRITERS / 2 {
                let (world, alice) = (Arc::clone(world), alice.clone());
                let chat = world.chat(&alice, &format!("peer{}", writers.len())).await;
                writers.push(tokio::spawn(async move {
                    let mut last = 0;
                    for number in 1..=EACH {
                        let answer = world.store.commit(world.receive(&alice, chat, "x")).await.unwrap();
                        let seq = applied(answer).message_seqs[0];
                        assert_eq!(seq.0, i64::try_from(number).unwrap());
                        assert!(seq.1 > last);
                        last = seq.1;
                    }
                }));
            }
        }
        for done in join_all(writers.into_iter().chain(readers)).await {
            done.unwrap();
        }
        for world in [&world, &other] {
            let seqs = world.seqs().await;
            let count = world.store.messages_count(world.account, MessageFilter::default()).await.unwrap();
            assert_eq!(count, i64::try_from(WRITERS / 2 * EACH).unwrap());
            assert!(seqs.iter().copied().eq(1..=count * 2 + 1));
            let head = world.store.log_head(world.account).await.unwrap().unwrap();
            assert_eq!((head.seq, head.check, head.trimmed, head.epoch), (count * 2 + 1, 9, 0, 1));
        }
        let heads = world.store.log_heads(vec![world.account, other.account]).await.unwrap();
        assert_eq!(heads.len(), 2);
        assert!(heads.iter().all(|(_, seq)| *seq == 513));
    }

    async fn old_events_are_trimmed_in_steps(database: Database) {
        let world = World::on(&database).await;
        let other = world.other("other").await;
        for world in [&world, &other] {
            let domain = world.domain(&format!("{}.example", world.account.0[15])).await;
            let alice = world.phone(&domain, "alice").await;
            for _ in 0..4 {
                let mut commit = world.commit(Vec::new());
                commit.events = vec![world.told(alice.id, EventBody::EndpointCreated)];
                world.apply(commit).await;
            }
        }
        let before = world.now();
        let mut commit = world.commit(Vec::new());
        commit.events = vec![world.told(sipgraph_core::EndpointId([1; 16]), EventBody::EndpointCreated)];
        world.apply(commit).await;
        assert_eq!(world.store.events_trim(Timestamp(0), 100).await.unwrap(), 0);
        assert_eq!(world.store.events_trim(before, 3).await.unwrap(), 3);
        assert_eq!(world.store.events_trim(before, 100).await.unwrap(), 7);
        assert_eq!(world.store.events_trim(before, 100).await.unwrap(), 0);
        assert_eq!(world.seqs().await, [6]);
        let head = world.store.log_head(world.account).await.unwrap().unwrap();
        assert_eq!((head.seq, head.trimmed), (6, 5));
        let head = other.store.log_head(other.account).await.unwrap().unwrap();
        assert_eq!((head.seq, head.trimmed), (5, 5));
        world.store.epoch_raise().await.unwrap();
        assert_eq!(world.store.log_head(world.account).await.unwrap().unwrap().epoch, 2);
    }

    async fn events_are_read_in_both_directions(database: Database) {
        let world = World::on(&database).await;
        let domain = world.domain("a.example").await;
        let alice = world.phone(&domain, "alice").await;
        let mut commit = world.commit(Vec::new());
        commit.events = (0..4).map(|_| world.told(alice.id, EventBody::MessageUpdated)).collect();
        let at = commit.at;
        assert_eq!(world.apply(commit).await.head, 5);
        let seqs = |events: Vec<sipgraph_core::event::Event>| events.iter().map(|e| e.seq).collect::<Vec<_>>();
        let store = &world.store;
        assert_eq!(seqs(store.events_after(world.account, 1, 2).await.unwrap()), [2, 3]);
        assert_eq!(seqs(store.events_before(world.account, 4, 2).await.unwrap()), [3, 2]);
        assert!(store.events_after(world.account, 5, 2).await.unwrap().is_empty());
        let event = store.events_after(world.account, 4, 1).await.unwrap().pop().unwrap();
        assert_eq!((event.at, event.check, event.subjects.endpoint), (at, 7, Some(alice.id)));
    }
}

//! A database that goes away and comes back, or freezes: a clear error meanwhile, and no restart of ours.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use sipgraph_core::{ErrorKind, commit::Answer, ports::Store as _};
use sipgraph_testkit::{Cluster, ClusterOptions, Database, Proxy, block_on, eventually};

use crate::world::{World, applied};

#[test]
fn postgres_goes_away_and_comes_back() {
    block_on(async {
        let cluster = tokio::task::spawn_blocking(|| Cluster::start(ClusterOptions::default()))
            .await
            .unwrap();
        let database = Database::on(&cluster).await;
        let world = World::on(&database).await;
        let domain = world.domain("a.example").await;
        let alice = world.phone(&domain, "alice").await;
        let chat = world.chat(&alice, "x").await;
        for stop in [Cluster::stop, Cluster::crash] {
            stop(&cluster);
            let commit = world
                .store
                .commit(world.receive(&alice, chat, "lost"))
                .await;
            assert_eq!(commit.unwrap_err().kind, ErrorKind::Unavailable);
            assert_eq!(
                world.store.ready().await.unwrap_err().kind,
                ErrorKind::Unavailable
            );
            let claim = world
                .store
                .dispatches_claim(world.now(), Duration::from_secs(1), 1)
                .await;
            assert_eq!(claim.unwrap_err().kind, ErrorKind::Unavailable);
            cluster.start_again();
            // A server that has just started may still refuse for a moment.
            eventually(
                "a commit goes through again",
                Duration::from_secs(30),
                || async {
                    world
                        .store
                        .commit(world.receive(&alice, chat, "kept"))
                        .await
                        .ok()
                },
            )
            .await;
            world.store.ready().await.unwrap();
        }
    });
}

/// A server that freezes keeps its connections and says nothing: callers are told in time, and the lock on the account is not held
/// by us for ever.
#[test]
fn a_frozen_database_is_given_up() {
    block_on(async {
        let database = Database::postgres().await;
        let near = World::on(&database).await;
        let target = SocketAddr::from(([127, 0, 0, 1], Cluster::shared().port()));
        let proxy = Proxy::start(target).await;
        let far = database.through(proxy.address()).store().await;
        let domain = near.domain("a.example").await;
        let alice = near.phone(&domain, "alice").await;
        let chat = near.chat(&alice, "x").await;
        applied(far.commit(near.receive(&alice, chat, "x")).await.unwrap());
        far.ready().await.unwrap();
        proxy.hold();
        let (commit, read) =
            futures_util::future::join(far.commit(near.receive(&alice, chat, "x")), far.ready())
                .await;
        assert_eq!(commit.unwrap_err().kind, ErrorKind::Unavailable);
        assert_eq!(read.unwrap_err().kind, ErrorKind::Unavailable);
        // Another node goes on.
        applied(
            near.store
                .commit(near.receive(&alice, chat, "x"))
                .await
                .unwrap(),
        );
        proxy.pass();
        applied(far.commit(near.receive(&alice, chat, "x")).await.unwrap());
        far.ready().await.unwrap();
    });
}

/// R11: nodes that are slow between taking a number and committing it. A reader that follows the log never skips a row.
#[test]
fn a_reader_skips_nothing_while_committers_are_slow() {
    block_on(async {
        const SLOW: usize = 25;
        let database = Database::postgres().await;
        let one = Arc::new(World::on(&database).await);
        let two = Arc::new(database.store().await);
        let domain = one.domain("a.example").await;
        let alice = one.phone(&domain, "alice").await;
        let mut tasks = Vec::new();
        for number in 0..16 {
            let (one, two, alice) = (Arc::clone(&one), Arc::clone(&two), alice.clone());
            let chat = one.chat(&alice, &format!("peer{number}")).await;
            tasks.push(tokio::spawn(async move {
                for turn in 0..10 {
                    let commit = one.receive(&alice, chat, "x");
                    let store = if (turn + number) % 2 == 0 {
                        &*one.store
                    } else {
                        &*two
                    };
                    let answer = store.commit(commit).await.unwrap();
                    assert!(matches!(answer, Answer::Applied(_)));
                }
            }));
        }
        let (client, connection) = tokio_postgres::connect(database.url(), tokio_postgres::NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        tasks.push(tokio::spawn(async move {
            for _ in 0..SLOW {
                client
                    .batch_execute(
                        "BEGIN; \
                         UPDATE accounts SET head_seq = head_seq + 1; \
                         INSERT INTO events (account_id, seq, id, check_bits, happened_at, kind, body) \
                         SELECT id, head_seq, gen_random_uuid(), 1, now(), 8, '{\"v\":1}' FROM accounts; \
                         SELECT pg_sleep(0.02); \
                         COMMIT",
                    )
                    .await
                    .unwrap();
            }
        }));
        let total = i64::try_from(1 + 16 * 10 * 2 + SLOW).unwrap();
        let mut seen = 0;
        while seen < total {
            let events = one.store.events_after(one.account, seen, 50).await.unwrap();
            for event in events {
                assert_eq!(event.seq, seen + 1, "a reader saw a hole");
                seen = event.seq;
            }
            tokio::task::yield_now().await;
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(one.seqs().await.len(), usize::try_from(total).unwrap());
    });
}

//! Bounded queues, and the end of a store.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use sipgraph_core::{
    ErrorKind,
    commit::Answer,
    ports::{Store as _, store::MessageFilter},
};
use sipgraph_testkit::{Database, both_backends};
use tokio::sync::oneshot;

use crate::world::World;

/// Keeps the writer from writing until it is dropped: by the file's lock on SQLite, by the account's row on Postgres.
struct Block(
    Option<oneshot::Sender<()>>,
    Option<tokio::task::JoinHandle<()>>,
);

impl Block {
    async fn writers(database: &Database) -> Self {
        let (release, released) = oneshot::channel();
        let (blocked, is_blocked) = oneshot::channel();
        let task = match database.file() {
            Some(file) => tokio::task::spawn_blocking(move || {
                let connection = rusqlite::Connection::open(file).unwrap();
                connection
                    .execute_batch("PRAGMA busy_timeout = 5000; BEGIN IMMEDIATE")
                    .unwrap();
                blocked.send(()).unwrap();
                let _ = released.blocking_recv();
                connection.execute_batch("ROLLBACK").unwrap();
            }),
            None => {
                let url = database.url().to_owned();
                tokio::spawn(async move {
                    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
                        .await
                        .unwrap();
                    tokio::spawn(connection);
                    client
                        .batch_execute("BEGIN; SELECT 1 FROM accounts FOR UPDATE")
                        .await
                        .unwrap();
                    blocked.send(()).unwrap();
                    let _ = released.await;
                    client.batch_execute("ROLLBACK").await.unwrap();
                })
            }
        };
        is_blocked.await.unwrap();
        Self(Some(release), Some(task))
    }

    async fn release(mut self) {
        drop(self.0.take());
        self.1.take().unwrap().await.unwrap();
    }
}

both_backends! {
    async fn a_full_queue_refuses_at_once_and_loses_nothing(database: Database) {
        let world = Arc::new(World::on(&database).await);
        let domain = world.domain("a.example").await;
        let alice = world.phone(&domain, "alice").await;
        let chat = world.chat(&alice, "x").await;
        let block = Block::writers(&database).await;
        // The queue holds 1,024 and the batch that waits for the lock at most 128 more.
        let sends: Vec<_> = (0..1400).map(|_| {
            let commit = world.receive(&alice, chat, "x");
            let world = Arc::clone(&world);
            tokio::spawn(async move { world.store.commit(commit).await })
        }).collect();
        let mut refused = 0;
        let mut waiting = Vec::new();
        // Every task has run once when this one is scheduled behind them; those that were refused have ended.
        for send in sends {
            tokio::task::yield_now().await;
            if send.is_finished() {
                assert_eq!(send.await.unwrap().unwrap_err().kind, ErrorKind::Overloaded);
                refused += 1;
            } else {
                waiting.push(send);
            }
        }
        block.release().await;
        let mut stored = 0;
        for outcome in join_all(waiting).await {
            match outcome.unwrap() {
                Ok(Answer::Applied(_)) => stored += 1,
                Ok(other) => panic!("{other:?}"),
                Err(error) => {
                    assert_eq!(error.kind, ErrorKind::Overloaded);
                    refused += 1;
                }
            }
        }
        assert!(refused > 0 && stored >= 1024, "{refused} refused, {stored} stored");
        let count = world.store.messages_count(world.account, MessageFilter::default()).await.unwrap();
        assert_eq!(count, stored);
    }

    async fn a_closed_store_has_finished_and_refuses(database: Database) {
        let world = World::on(&database).await;
        let domain = world.domain("a.example").await;
        let alice = world.phone(&domain, "alice").await;
        let chat = world.chat(&alice, "x").await;
        let commits: Vec<_> = (0..50).map(|_| world.receive(&alice, chat, "x")).collect();
        let sends = join_all(commits.into_iter().map(|commit| world.store.commit(commit)));
        let closing = async {
            tokio::task::yield_now().await;
            world.store.close().await;
        };
        let (outcomes, ()) = tokio::time::timeout(Duration::from_secs(60), futures_util::future::join(sends, closing))
            .await
            .unwrap();
        let stored = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        let after = world.store.commit(world.receive(&alice, chat, "late")).await;
        assert_eq!(after.unwrap_err().kind, ErrorKind::Unavailable);
        assert!(world.store.ready().await.is_err());
        let again = database.store().await;
        let count = again.messages_count(world.account, MessageFilter::default()).await.unwrap();
        assert_eq!(count, i64::try_from(stored).unwrap());
    }
}

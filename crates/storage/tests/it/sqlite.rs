//! What is special to SQLite: a full file in the middle of a group, backups, other processes on the file.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use futures_util::future::{join, join_all};
use sipgraph_core::{
    ErrorKind, Timestamp,
    binding::Refresh,
    commit::Write,
    keyring::Keyring,
    ports::{Store as _, store::MessageFilter},
};
use sipgraph_storage::{Address, Options, SqliteOptions, Storage};
use sipgraph_testkit::{
    Backend, Database, SeededEntropy, block_on, database::TEST_KEY, eventually, run,
};

use crate::world::{World, applied};

const PATIENCE: Duration = Duration::from_secs(20);

async fn count(world: &World) -> i64 {
    world
        .store
        .messages_count(world.account, MessageFilter::default())
        .await
        .unwrap()
}

/// The file may grow by a few pages more; the group wants many. None of it is stored, also not what came before the statement
/// that failed, and the next group is.
#[test]
fn a_full_file_in_the_middle_of_a_group() {
    run(Backend::Sqlite, async |database: Database| {
        let first = database.store().await;
        first.close().await;
        let file = database.file().unwrap();
        let connection = rusqlite::Connection::open(&file).unwrap();
        let pages: u32 = connection
            .query_row("PRAGMA page_count", [], |row| row.get(0))
            .unwrap();
        let options = Options {
            sqlite: SqliteOptions {
                pages_max: Some(pages + 60),
                ..SqliteOptions::default()
            },
            ..Options::default()
        };
        let world = World::with(&database, &options).await;
        let domain = world.domain("a.example").await;
        let alice = world.phone(&domain, "alice").await;
        let chat = world.chat(&alice, "x").await;
        world.apply(world.receive(&alice, chat, "small")).await;
        let seqs = world.seqs().await;

        // While another process has the lock, a group gathers behind a job that waits for it and is never in a group.
        connection
            .execute_batch("PRAGMA busy_timeout = 5000; BEGIN IMMEDIATE")
            .unwrap();
        let waiting = world.store.epoch_raise();
        let text = "x".repeat(8 * 1024);
        let group: Vec<_> = (0..40)
            .map(|n| world.receive(&alice, chat, if n < 3 { "first" } else { &text }))
            .collect();
        let group = join_all(group.into_iter().map(|commit| world.store.commit(commit)));
        let release = async {
            // The futures above have put their commits into the queue when they were first polled.
            tokio::task::yield_now().await;
            connection.execute_batch("ROLLBACK").unwrap();
        };
        let (waited, outcomes, ()) = futures_util::future::join3(waiting, group, release).await;
        waited.unwrap();
        for outcome in outcomes {
            assert_eq!(outcome.unwrap_err().kind, ErrorKind::StorageFull);
        }
        assert_eq!(count(&world).await, 1);
        assert_eq!(world.seqs().await, seqs);
        let next = world.receive(&alice, chat, "the next group works");
        assert_eq!(world.apply(next).await.message_seqs[0].0, 2);
        assert_eq!(count(&world).await, 2);
        let chats = world
            .store
            .chats_by_ids(world.account, vec![chat])
            .await
            .unwrap();
        assert_eq!((chats[0].last_seq, chats[0].unread_count), (2, 2));
    });
}

#[test]
fn a_backup_is_a_whole_database() {
    run(Backend::Sqlite, async |database: Database| {
        let world = World::on(&database).await;
        let domain = world.domain("a.example").await;
        world.phone(&domain, "alice").await;
        let path = database.folder().unwrap().join("it's a backup.db");
        world.store.backup(&path).await.unwrap();
        assert!(
            world.store.backup(&path).await.is_err(),
            "a file is never overwritten"
        );
        world.phone(&domain, "later").await;
        let copy = Storage::open(
            &Address::Sqlite(path),
            Keyring::new(TEST_KEY),
            std::sync::Arc::new(SeededEntropy::new(2)),
            Timestamp(0),
            &Options::default(),
        )
        .await
        .unwrap();
        let events = copy.events_after(world.account, 0, 10).await.unwrap();
        assert_eq!(events.len(), 1);
    });
}

/// Reads until it is told to stop; each read transaction begins before the one before it ends. Gives their number.
fn read_without_a_break(file: &Path, stop: &AtomicBool) -> usize {
    let mut connections = [0, 1].map(|_| rusqlite::Connection::open(file).unwrap());
    let mut reads = 0;
    while !stop.load(Ordering::Relaxed) {
        connections[0]
            .execute_batch("BEGIN; SELECT count(*) FROM messages")
            .unwrap();
        if reads > 0 {
            connections[1].execute_batch("COMMIT").unwrap();
        }
        connections.swap(0, 1);
        reads += 1;
        thread::sleep(Duration::from_millis(5));
    }
    reads
}

/// At each moment somebody reads, so that passive checkpoints alone would never let the log start anew.
#[test]
fn the_log_stays_short_while_reads_overlap() {
    const LOG_PAGES_MAX: i32 = 256;
    run(Backend::Sqlite, async |database: Database| {
        let options = Options {
            sqlite: SqliteOptions {
                log_pages_max: LOG_PAGES_MAX,
                ..SqliteOptions::default()
            },
            ..Options::default()
        };
        let world = World::with(&database, &options).await;
        let domain = world.domain("a.example").await;
        let alice = world.phone(&domain, "alice").await;
        let chat = world.chat(&alice, "x").await;
        let file = database.file().unwrap();
        let log = file.with_extension("db-wal");
        let stop = Arc::new(AtomicBool::new(false));
        let reads = thread::spawn({
            let stop = Arc::clone(&stop);
            move || read_without_a_break(&file, &stop)
        });
        let text = "x".repeat(16 * 1024);
        let mut log_bytes_max = 0;
        // 32 MiB of messages with their events, through a log that may hold 1 MiB before the writer waits for readers.
        for _ in 0..256 {
            let commits = (0..8).map(|_| world.store.commit(world.receive(&alice, chat, &text)));
            for outcome in join_all(commits).await {
                outcome.unwrap();
            }
            log_bytes_max = log_bytes_max.max(std::fs::metadata(&log).unwrap().len());
        }
        stop.store(true, Ordering::Relaxed);
        assert!(reads.join().unwrap() > 2);
        let limit = 4096 * u64::try_from(LOG_PAGES_MAX).unwrap();
        assert!(
            log_bytes_max > limit,
            "the log was never too long: {log_bytes_max}"
        );
        assert!(
            log_bytes_max < 40 * limit,
            "the log grew to {log_bytes_max} octets"
        );
    });
}

/// Reads that run beside a commit leave nothing behind that the commit has changed.
#[test]
fn what_was_read_lately_is_as_new_as_the_last_commit() {
    run(Backend::Sqlite, async |database: Database| {
        let world = World::on(&database).await;
        let domain = world.domain("a.example").await;
        let alice = world.phone(&domain, "alice").await;
        let read = || world.store.endpoint_bindings(world.account, alice.id);
        for round in 1..=100 {
            let binding = world.binding_of(&alice);
            let commit = world.commit(vec![Write::BindingPut(binding.clone())]);
            let reads = join_all((0..8).map(|_| read()));
            let (_, answer) = join(reads, world.store.commit(commit)).await;
            applied(answer.unwrap());
            // The one may ask the file and the other not.
            for _ in 0..2 {
                let (endpoint, bindings) = read().await.unwrap().unwrap();
                assert_eq!(endpoint.bindings_revision, 2 * round - 1);
                assert_eq!(bindings, std::slice::from_ref(&binding));
                let known = world
                    .store
                    .credentials(domain.id, "alice".into(), world.now())
                    .await;
                assert_eq!(known.unwrap().unwrap().endpoint, endpoint);
            }
            let refreshed_at = Timestamp(binding.refreshed_at.0 + 1);
            let refresh = Write::BindingRefresh {
                endpoint: alice.id,
                id: binding.id,
                refresh: Refresh {
                    call_id: binding.call_id.clone(),
                    cseq: 7,
                    at: refreshed_at,
                    expires_at: binding.expires_at,
                },
            };
            world.apply(world.commit(vec![refresh])).await;
            let (_, bindings) = read().await.unwrap().unwrap();
            assert_eq!(
                (bindings[0].cseq, bindings[0].refreshed_at),
                (7, refreshed_at)
            );
            let gone = Write::BindingDelete(alice.id, binding.id);
            world.apply(world.commit(vec![gone])).await;
        }
        assert!(
            world
                .store
                .realm("a.example".into())
                .await
                .unwrap()
                .is_some()
        );
        for write in [
            Write::EndpointDelete(alice.id),
            Write::DomainDelete(domain.id),
        ] {
            world.apply(world.commit(vec![write])).await;
        }
        assert_eq!(world.store.realm("a.example".into()).await.unwrap(), None);
        assert_eq!(read().await.unwrap(), None);
        let known = world
            .store
            .credentials(domain.id, "alice".into(), world.now())
            .await;
        assert_eq!(known.unwrap(), None);
    });
}

/// What was read lately is looked at again once another process has written.
#[test]
fn what_another_process_writes_is_seen() {
    run(Backend::Sqlite, async |database: Database| {
        let world = World::on(&database).await;
        let domain = world.domain("a.example").await;
        let alice = world.phone(&domain, "alice").await;
        let read = async || {
            let found = world
                .store
                .credentials(domain.id, "alice".into(), world.now())
                .await;
            found.unwrap().unwrap().endpoint.enabled
        };
        let beside = rusqlite::Connection::open(database.file().unwrap()).unwrap();
        for enabled in [false, true] {
            assert_eq!(read().await, !enabled);
            beside
                .execute(
                    "UPDATE endpoints SET enabled = ?1 WHERE id = ?2",
                    (enabled, &alice.id.0[..]),
                )
                .unwrap();
            eventually("the change of another process", PATIENCE, || async {
                (read().await == enabled).then_some(())
            })
            .await;
        }
    });
}

/// The command line writes from another process while the server runs.
#[test]
fn two_stores_on_one_file_see_each_other() {
    block_on(async {
        let database = Database::sqlite();
        let world = World::on(&database).await;
        let beside = database.store().await;
        let domain = world.domain("a.example").await;
        assert!(
            beside
                .domain_by_name(world.account, domain.name.clone())
                .await
                .unwrap()
                .is_some()
        );
        assert!(
            beside
                .numbers_assign(world.account, vec!["+1".into()])
                .await
                .unwrap()
                .is_empty()
        );
        let account = world.store.account(world.account).await.unwrap().unwrap();
        assert_eq!(account.numbers, ["+1"]);
    });
}

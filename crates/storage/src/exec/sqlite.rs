//! SQLite: one writer thread with group commit, several reader threads, nothing of it on the async runtime.
//!
//! diesel-async's own wrapper sends every statement to another thread. Here a job runs whole on a
//! thread of ours: the wrapper's "spawn blocking" runs it inline, so each of its futures is ready
//! at the first poll.
//!
//! After `FULL`, `IOERR`, `NOMEM` or `INTERRUPT` SQLite may end the *group's* transaction by itself,
//! and a later statement would then commit alone. So after any error no further commit of the
//! group runs; the transaction is rolled back, and either all of the group are answered with the
//! error, or, when it is the fault of one row, each is applied in a transaction of its own.

use std::{
    collections::VecDeque,
    error::Error as StdError,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc},
    thread::JoinHandle,
    time::Instant,
};

use diesel::{
    QueryResult, SqliteConnection,
    connection::SimpleConnection as _,
    prelude::Connection as _,
    sql_types::{BigInt, Integer},
    sqlite::Sqlite as Db,
};
use diesel_async::{
    RunQueryDsl, SimpleAsyncConnection as _,
    sync_connection_wrapper::{SpawnBlocking, SyncConnectionWrapper},
};
use futures_util::{
    FutureExt as _,
    future::{BoxFuture, LocalBoxFuture},
};
use sipgraph_core::{
    Error,
    commit::{Answer, Commit, Write},
};
use tokio::sync::oneshot;

use super::{Load, Meters};
use crate::{
    dialect::sqlite::{
        BEGIN_READ,
        apply::{Outcome, apply},
    },
    error::{StartError, from_diesel, is_disk_failure, is_of_one_commit, overloaded, unavailable},
    recent::Recent,
    seal::Sealing,
    sql::Sql,
};

/// How SQLite is run.
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    /// Reader threads.
    pub readers: usize,
    /// How a commit reaches the disk.
    pub synchronous: Synchronous,
    /// The most commits of one group; 1 turns group commit off (for measuring).
    pub group_max: usize,
    /// The most pages of the file, as a quota; `None` is SQLite's own limit.
    pub pages_max: Option<u32>,
    /// The pages of the write-ahead log beyond which the writer waits for readers, so that the log starts anew.
    pub log_pages_max: i32,
}

/// How a commit reaches the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Synchronous {
    /// Acknowledged means synced: nothing is lost by a power failure.
    Full,
    /// Synced at checkpoints: a power failure loses the last moments.
    Normal,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            // A reader is a connection with its cache of 16 MiB; more threads than cores only wait.
            readers: std::thread::available_parallelism().map_or(2, |n| n.get().clamp(2, 8)),
            synchronous: Synchronous::Full,
            // A group of 128 already spends 50 times more on its rows than on its sync.
            group_max: 128,
            pages_max: None,
            // 64 MiB at pages of 4 KiB: reads search the log too, and a start after a crash reads all of it.
            log_pages_max: 16 * 1024,
        }
    }
}

/// Jobs that wait for a thread. At 7,000 sends a second a full queue is a wait of 0.15 s; more is better refused.
const QUEUE_MAX: usize = 1024;

/// Rows written between checkpoints: about 4,000 pages, 16 MiB. SQLite itself takes 1,000; but the pages that each send changes
/// are then copied into the file four times as often.
const ROWS_PER_CHECKPOINT: usize = 8000;

/// How long a connection waits for a lock: the command line writes from another process.
const BUSY_TIMEOUT_MS: u32 = 5000;
/// How long all writes wait for the reads of a log that has become too long. Most reads take a tenth of it.
const RESTART_TIMEOUT_MS: u32 = 200;

/// Runs a blocking task where it is: our threads may block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inline;

impl SpawnBlocking for Inline {
    fn spawn_blocking<'a, R>(
        &mut self,
        task: impl FnOnce() -> R + Send + 'static,
    ) -> BoxFuture<'a, Result<R, Box<dyn StdError + Send + Sync + 'static>>>
    where
        R: Send + 'static,
    {
        let result = task();
        Box::pin(std::future::ready(Ok(result)))
    }

    fn get_runtime() -> Self {
        Self
    }
}

/// A connection on a thread of ours.
pub(crate) type Connection = SyncConnectionWrapper<SqliteConnection, Inline>;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// The jobs that wait for a reader.
#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    /// A job came, or the last one did. Each job wakes one reader: behind a channel with a lock it would wake another, which then waits
    /// for the next.
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    is_closed: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, job: Job) -> Result<(), Error> {
        let mut waiting = self.lock();
        if waiting.is_closed {
            return Err(stopped());
        }
        if waiting.jobs.len() >= QUEUE_MAX {
            return Err(overloaded());
        }
        waiting.jobs.push_back(job);
        drop(waiting);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for a job; none when no more come.
    fn pop(&self) -> Option<Job> {
        let waiting = self.lock();
        let mut waiting = self
            .changed
            .wait_while(waiting, |waiting| {
                waiting.jobs.is_empty() && !waiting.is_closed
            })
            .unwrap_or_else(PoisonError::into_inner);
        waiting.jobs.pop_front()
    }

    /// Refuses what comes from now on.
    fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }
}

/// What the readers' threads end with.
struct Readers(Arc<Queue>);

impl Drop for Readers {
    fn drop(&mut self) {
        self.0.close();
    }
}

enum WriterJob {
    Commit(Box<Commit>, oneshot::Sender<Outcome>),
    /// A write that is no commit; it runs in a transaction of its own.
    Alone(Job),
    /// Looks whether another process has written.
    Look,
    Stop,
}

/// The threads of one database file.
pub(crate) struct Sqlite {
    path: PathBuf,
    meters: Arc<Meters>,
    writer: mpsc::SyncSender<WriterJob>,
    readers: Readers,
    recent: Arc<Recent>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Opens a connection with the pragmas of every connection.
pub(crate) fn open(path: &Path, synchronous: Synchronous) -> QueryResult<SqliteConnection> {
    let text = path.to_str().ok_or_else(|| {
        diesel::result::Error::QueryBuilderError("the database path is not UTF-8".into())
    })?;
    let mut connection = SqliteConnection::establish(text)
        .map_err(|error| diesel::result::Error::QueryBuilderError(Box::new(error)))?;
    let synchronous = match synchronous {
        Synchronous::Full => "FULL",
        Synchronous::Normal => "NORMAL",
    };
    // No mmap: a disk error would come as SIGBUS.
    connection.batch_execute(&format!(
        "PRAGMA busy_timeout={BUSY_TIMEOUT_MS}; PRAGMA journal_mode=WAL; PRAGMA synchronous={synchronous}; \
         PRAGMA foreign_keys=ON; PRAGMA cache_size=-16384; PRAGMA mmap_size=0"
    ))?;
    Ok(connection)
}

/// Runs work on a connection of its own, opened for it alone.
pub(crate) async fn once<T, F>(path: &Path, work: F) -> Result<T, StartError>
where
    T: Send + 'static,
    F: for<'c> FnOnce(&'c mut Connection) -> LocalBoxFuture<'c, QueryResult<T>> + Send + 'static,
{
    let path = path.to_owned();
    let working = tokio::task::spawn_blocking(move || {
        let connection = open(&path, Synchronous::Full)?;
        run(work(&mut SyncConnectionWrapper::with_runtime(
            connection, Inline,
        )))
    });
    working
        .await
        .map_err(|error| StartError::Database(error.to_string()))?
        .map_err(|error| StartError::Database(error.to_string()))
}

/// Runs a job's future: over [`Inline`] each future is ready at its first poll.
fn run<T>(future: impl Future<Output = T>) -> T {
    future
        .now_or_never()
        .expect("a job on a database thread awaits nothing but the database")
}

impl Sqlite {
    pub(crate) fn start(
        path: &Path,
        options: &SqliteOptions,
        sealing: Sealing,
    ) -> Result<Self, StartError> {
        let failed = |error: diesel::result::Error| StartError::Unreachable(error.to_string());
        let mut threads = Vec::new();
        let mut connection = open(path, options.synchronous).map_err(failed)?;
        // The writer checkpoints itself, after it has answered, so that it sees when a checkpoint's sync fails.
        connection
            .batch_execute(&format!(
                "PRAGMA wal_autocheckpoint=0; PRAGMA journal_size_limit={}",
                i64::from(options.log_pages_max) * 4096
            ))
            .map_err(failed)?;
        if let Some(pages) = options.pages_max {
            connection
                .batch_execute(&format!("PRAGMA max_page_count={pages}"))
                .map_err(failed)?;
        }
        let meters = Arc::<Meters>::default();
        let (writer, jobs) = mpsc::sync_channel(QUEUE_MAX);
        let recent = Arc::new(Recent::default());
        let state = Writer {
            recent: Arc::clone(&recent),
            connection: SyncConnectionWrapper::with_runtime(connection, Inline),
            sealing,
            meters: Arc::clone(&meters),
            group_max: options.group_max.max(1),
            rows_since_checkpoint: 0,
            log_pages_max: options.log_pages_max,
            restart_at: options.log_pages_max,
        };
        threads.push(spawn("sqlite-writer".to_owned(), move || {
            state.serve(&jobs)
        })?);
        let readers = Readers(Arc::default());
        for number in 0..options.readers.max(1) {
            let mut connection = open(path, options.synchronous).map_err(failed)?;
            connection
                .batch_execute("PRAGMA query_only=ON")
                .map_err(failed)?;
            let jobs = Arc::clone(&readers.0);
            let mut connection = SyncConnectionWrapper::with_runtime(connection, Inline);
            threads.push(spawn(format!("sqlite-reader-{number}"), move || {
                while let Some(job) = jobs.pop() {
                    contain(&mut connection, job);
                }
            })?);
        }
        Ok(Self {
            path: path.to_owned(),
            meters,
            writer,
            readers,
            recent,
            threads: Mutex::new(threads),
        })
    }

    /// What was read lately.
    pub(crate) fn recent(&self) -> &Recent {
        &self.recent
    }

    /// Whether what was read lately may be given; now and then has the writer look whether another process has written.
    pub(crate) fn is_recent_current(&self) -> bool {
        self.recent
            .is_current(|| self.writer.try_send(WriterJob::Look).is_ok())
    }

    pub(crate) fn load(&self) -> Load {
        self.meters.read()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Applies a commit with those that wait beside it.
    pub(crate) async fn commit(&self, commit: Commit) -> Result<Answer, Error> {
        let _waiting = self.meters.wait();
        let (reply, answer) = oneshot::channel();
        send(&self.writer, WriterJob::Commit(Box::new(commit), reply))?;
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Runs a read on a reader thread, in a read transaction when it has several statements.
    pub(crate) async fn read<T, F>(&self, in_transaction: bool, read: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Connection) -> LocalBoxFuture<'c, QueryResult<T>>
            + Send
            + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |c| {
            let result = if in_transaction {
                run(transaction(c, BEGIN_READ, read))
            } else {
                run(read(c))
            };
            let _ = reply.send(result.map_err(|error| from_diesel(&error)));
        });
        self.readers.0.push(job)?;
        answer.await.unwrap_or_else(|_| Err(lost()))
    }

    /// Runs a write that is no commit in a transaction of its own on the writer thread.
    pub(crate) async fn write<T, F>(&self, write: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Connection) -> LocalBoxFuture<'c, QueryResult<T>>
            + Send
            + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |c| {
            let result = run(transaction(c, "BEGIN IMMEDIATE", write));
            let _ = reply.send(result.map_err(|error| from_diesel(&error)));
        });
        send(&self.writer, WriterJob::Alone(job))?;
        answer.await.unwrap_or_else(|_| Err(lost()))
    }

    /// Finishes what waits, refuses what comes, and ends the threads.
    pub(crate) async fn close(&self) {
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let (writer, readers) = (self.writer.clone(), Arc::clone(&self.readers.0));
        let ended = tokio::task::spawn_blocking(move || {
            // An error means that the threads are gone.
            let _ = writer.send(WriterJob::Stop);
            readers.close();
            for thread in threads {
                let _ = thread.join();
            }
        });
        let _ = ended.await;
    }
}

fn spawn(name: String, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StartError> {
    std::thread::Builder::new()
        .name(name)
        .spawn(body)
        .map_err(|error| StartError::Unreachable(error.to_string()))
}

fn send(queue: &mpsc::SyncSender<WriterJob>, job: WriterJob) -> Result<(), Error> {
    queue.try_send(job).map_err(|error| match error {
        mpsc::TrySendError::Full(_) => overloaded(),
        mpsc::TrySendError::Disconnected(_) => stopped(),
    })
}

fn stopped() -> Error {
    unavailable("the store is shutting down")
}

/// The job's reply was dropped: it panicked, and its transaction was rolled back.
fn lost() -> Error {
    Error::internal("a database job panicked")
}

/// Runs work between a BEGIN and a COMMIT; rolls back after an error.
async fn transaction<T, F>(c: &mut Connection, begin: &str, work: F) -> QueryResult<T>
where
    F: for<'c> FnOnce(&'c mut Connection) -> LocalBoxFuture<'c, QueryResult<T>>,
{
    c.batch_execute(begin).await?;
    match work(c).await {
        Ok(value) => match c.batch_execute("COMMIT").await {
            Ok(()) => Ok(value),
            Err(error) => {
                end_on_disk_failure(&error);
                rollback(c).await;
                Err(error)
            }
        },
        Err(error) => {
            rollback(c).await;
            Err(error)
        }
    }
}

/// SQLite has rolled back by itself after some errors and then says that no transaction is active: just what is wanted.
async fn rollback(c: &mut Connection) {
    if let Err(error) = c.batch_execute("ROLLBACK").await {
        tracing::debug!(%error, "rollback");
    }
}

/// Ends the process: after a failed `fsync` nobody knows what the disk holds, and the next one would say that all is well.
fn end_on_disk_failure(error: &diesel::result::Error) {
    if is_disk_failure(error) {
        tracing::error!(%error, "the disk failed while the database was synced; ending, so that nothing is acknowledged that is not stored");
        std::process::exit(1);
    }
}

/// Runs a job; a panic ends the job, its reply is dropped, and the connection is made fit again.
fn contain(connection: &mut Connection, job: Job) {
    if catch_unwind(AssertUnwindSafe(|| job(connection))).is_err() {
        tracing::error!("a database job panicked");
        run(rollback(connection));
    }
}

/// The rows that a commit writes; a long text counts as the rows that would fill its pages.
fn weight(commit: &Commit) -> usize {
    /// Half a page, which is what a row changes on average.
    const ROW_BYTES: usize = 2048;
    let texts = commit.writes.iter().map(|write| match write {
        // Its event repeats the text.
        Write::MessageInsert(message) => 2 * message.body.len(),
        Write::DispatchInsert(dispatch) => dispatch.body.len(),
        _ => 0,
    });
    commit.writes.len() + commit.events.len() + 2 + texts.sum::<usize>() / ROW_BYTES
}

/// How an attempt to apply commits in one transaction ended.
enum Attempt {
    /// Committed and synced.
    Committed(Vec<Outcome>),
    /// Rolled back by the fault of one commit; the others succeed without it.
    OneAtFault(Error),
    /// Rolled back; none can succeed now.
    Failed(Error),
}

struct Writer {
    connection: Connection,
    recent: Arc<Recent>,
    sealing: Sealing,
    meters: Arc<Meters>,
    group_max: usize,
    rows_since_checkpoint: usize,
    log_pages_max: i32,
    /// The pages of the log at which it is next started anew.
    restart_at: i32,
}

impl Writer {
    fn serve(mut self, jobs: &mpsc::Receiver<WriterJob>) {
        let mut next = jobs.recv().ok();
        while let Some(job) = next.take() {
            match job {
                WriterJob::Stop => break,
                WriterJob::Look => self.look(),
                WriterJob::Alone(job) => {
                    contain(&mut self.connection, job);
                    self.rows_since_checkpoint += 1;
                }
                WriterJob::Commit(commit, reply) => {
                    let mut commits = vec![*commit];
                    let mut replies = vec![reply];
                    while commits.len() < self.group_max {
                        match jobs.try_recv() {
                            Ok(WriterJob::Commit(commit, reply)) => {
                                commits.push(*commit);
                                replies.push(reply);
                            }
                            Ok(other) => {
                                next = Some(other);
                                break;
                            }
                            Err(_) => break,
                        }
                    }
                    self.rows_since_checkpoint += commits.iter().map(weight).sum::<usize>();
                    let outcomes = self.group(&commits);
                    for (commit, outcome) in commits.iter().zip(&outcomes) {
                        let is_applied = matches!(outcome, Ok(Answer::Applied(_)));
                        self.recent.committed(&commit.writes, is_applied);
                    }
                    for (reply, outcome) in replies.into_iter().zip(outcomes) {
                        // A caller that has gone away needs no answer; its commit stands.
                        let _ = reply.send(outcome);
                    }
                }
            }
            if self.rows_since_checkpoint >= ROWS_PER_CHECKPOINT {
                self.rows_since_checkpoint = 0;
                self.checkpoint();
            }
            if next.is_none() {
                next = jobs.recv().ok();
            }
        }
        self.move_log("TRUNCATE");
    }

    /// Looks whether another process has written: this connection's own commits leave its `data_version` as it is, and the
    /// readers' connections write nothing.
    fn look(&mut self) {
        let begun = Instant::now();
        let query: Sql<'_, Db, BigInt> = Sql::new("PRAGMA data_version", Vec::new());
        let version: QueryResult<i64> = run(RunQueryDsl::get_result(query, &mut self.connection));
        if let Err(error) = &version {
            tracing::warn!(%error, "data_version");
        }
        self.recent.looked(begun, version.ok());
    }

    /// Applies a group and gives an outcome for each of its commits.
    fn group(&mut self, commits: &[Commit]) -> Vec<Outcome> {
        match self.attempt(commits) {
            Attempt::Committed(outcomes) => outcomes,
            Attempt::Failed(error) => commits.iter().map(|_| Err(error.clone())).collect(),
            Attempt::OneAtFault(error) if commits.len() == 1 => vec![Err(error)],
            Attempt::OneAtFault(_) => commits
                .iter()
                .flat_map(|commit| self.group(std::slice::from_ref(commit)))
                .collect(),
        }
    }

    fn attempt(&mut self, commits: &[Commit]) -> Attempt {
        let (c, sealing) = (&mut self.connection, &self.sealing);
        if let Err(error) = run(c.batch_execute("BEGIN IMMEDIATE")) {
            run(rollback(c));
            return Attempt::Failed(from_diesel(&error));
        }
        match catch_unwind(AssertUnwindSafe(|| run(apply(c, sealing, commits)))) {
            Err(_) => {
                run(rollback(c));
                Attempt::OneAtFault(lost())
            }
            Ok(Err(error)) => {
                run(rollback(c));
                if is_of_one_commit(&error) {
                    Attempt::OneAtFault(from_diesel(&error))
                } else {
                    Attempt::Failed(from_diesel(&error))
                }
            }
            Ok(Ok(outcomes)) => match run(c.batch_execute("COMMIT")) {
                Ok(()) => {
                    self.meters.batch(commits.len());
                    Attempt::Committed(outcomes)
                }
                Err(error) => {
                    end_on_disk_failure(&error);
                    run(rollback(c));
                    Attempt::Failed(from_diesel(&error))
                }
            },
        }
    }

    /// Moves the log's pages into the database file. A passive checkpoint waits for nobody, but while reads overlap there is always
    /// one that keeps the log from starting anew; so a log that has become too long is worth a wait.
    fn checkpoint(&mut self) {
        let Some((_, pages)) = self.move_log("PASSIVE") else {
            return;
        };
        if pages < self.restart_at {
            return;
        }
        self.wait_at_most(RESTART_TIMEOUT_MS);
        let restarted = matches!(self.move_log("RESTART"), Some((false, _)));
        self.wait_at_most(BUSY_TIMEOUT_MS);
        // A read that lasts longer must not stop the writes again and again.
        self.restart_at = if restarted {
            self.log_pages_max
        } else {
            pages.saturating_mul(2)
        };
    }

    /// Runs a checkpoint; gives whether another connection was in its way, and the pages of the log.
    fn move_log(&mut self, mode: &str) -> Option<(bool, i32)> {
        let pragma = format!("PRAGMA wal_checkpoint({mode})");
        let query: Sql<'_, Db, (Integer, Integer, Integer)> = Sql::new(&pragma, Vec::new());
        let result: QueryResult<(i32, i32, i32)> =
            run(RunQueryDsl::get_result(query, &mut self.connection));
        match result {
            Ok((busy, pages, _)) => Some((busy != 0, pages)),
            Err(error) => {
                end_on_disk_failure(&error);
                // Locked or full: the log keeps all, and the next checkpoint tries again.
                tracing::warn!(%error, "checkpoint");
                None
            }
        }
    }

    fn wait_at_most(&mut self, milliseconds: u32) {
        let pragma = format!("PRAGMA busy_timeout={milliseconds}");
        if let Err(error) = run(self.connection.batch_execute(&pragma)) {
            tracing::warn!(%error, "busy_timeout");
        }
    }
}

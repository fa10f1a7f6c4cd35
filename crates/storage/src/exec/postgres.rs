//! Postgres: writers that batch commits, each with a connection of its own, and a pool for everything else.
//!
//! An account's commits always go to the same writer of a node, so that they never wait for each
//! other's row lock there. Every unit of work runs in a task of its own: a caller that goes away
//! leaves no transaction open. A connection that was lost is replaced when it is next needed.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};

use deadpool::managed::{self, Metrics, PoolError, RecycleError, RecycleResult};
use diesel::{QueryResult, result::Error as Diesel};
use diesel_async::SimpleAsyncConnection as _;
use futures_util::{FutureExt as _, future::BoxFuture};
use sipgraph_core::{
    AccountId, Error, ErrorKind,
    commit::{Answer, Commit},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout, timeout_at},
};

use super::connect::{PostgresConnector, Session};
use super::{Load, Meters};
use crate::{
    dialect::postgres::{
        BEGIN_READ, Conn,
        apply::{Outcome, apply},
        doubt::was_committed,
    },
    error::{from_diesel, is_of_one_commit, overloaded, unavailable, unknown_outcome},
    seal::Sealing,
};

/// How Postgres is used.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// Connections for reads and for writes that are no commits.
    pub pool_size: usize,
    /// Writers, each with a connection of its own.
    pub writers: usize,
    /// The most commits of one batch; 1 turns batching off (for measuring).
    pub batch_max: usize,
    /// Start although `fsync` or `synchronous_commit` is off.
    pub allow_data_loss: bool,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            // Twice the cores of a usual database server; more connections only queue there instead of here.
            pool_size: 16,
            // Each batch is one sync, and syncs of several connections share one write of the log.
            writers: 4,
            batch_max: 64,
            allow_data_loss: false,
        }
    }
}

/// Commits that wait for one writer. At 18,000 a second a full queue is a wait of 0.06 s.
const QUEUE_MAX: usize = 1024;
/// Units of work that wait for a connection of the pool; beyond it they are refused at once.
const WAITING_MAX: usize = 1024;
/// A unit of work waits this long for a connection.
const POOL_WAIT: Duration = Duration::from_secs(2);
/// A batch or read that takes longer is given up: its connection is closed, and the server rolls back.
const WORK_DEADLINE: Duration = Duration::from_secs(10);
/// Within it, how long a COMMIT may take before its outcome counts as unknown.
const COMMIT_DEADLINE: Duration = Duration::from_secs(4);
/// How long the outcome of a commit whose answer was lost is looked for, which is a request's deadline.
const DOUBT_DEADLINE: Duration = Duration::from_secs(10);
/// The pause between two looks.
const DOUBT_PAUSE: Duration = Duration::from_millis(100);

/// Makes and checks the pool's connections.
struct Manager(PostgresConnector);

impl managed::Manager for Manager {
    type Type = Session;
    type Error = String;

    async fn create(&self) -> Result<Session, String> {
        self.0.open().await
    }

    async fn recycle(&self, session: &mut Session, _: &Metrics) -> RecycleResult<String> {
        if session.is_fit() {
            Ok(())
        } else {
            Err(RecycleError::message(
                "the connection is closed or was left in use",
            ))
        }
    }
}

enum Job {
    Commit(Box<Commit>, oneshot::Sender<Outcome>),
    /// Ends the writer; what was queued before is finished.
    Stop,
}

/// The connections to one database.
pub(crate) struct Postgres {
    connector: PostgresConnector,
    pool: managed::Pool<Manager>,
    meters: Arc<Meters>,
    writers: Vec<mpsc::Sender<Job>>,
}

impl Postgres {
    /// Starts the writers and the pool; no connection is made before it is needed.
    pub(crate) fn start(
        connector: PostgresConnector,
        options: &PostgresOptions,
        sealing: &Sealing,
    ) -> Self {
        let pool = managed::Pool::builder(Manager(connector.clone()))
            .max_size(options.pool_size.max(1))
            .wait_timeout(Some(POOL_WAIT))
            .runtime(deadpool::Runtime::Tokio1)
            .build()
            .expect("a pool with a runtime can have timeouts");
        let meters = Arc::<Meters>::default();
        let writers = (0..options.writers.max(1))
            .map(|_| {
                let (sender, jobs) = mpsc::channel(QUEUE_MAX);
                let writer = Writer {
                    connector: connector.clone(),
                    sealing: sealing.clone(),
                    meters: Arc::clone(&meters),
                    batch_max: options.batch_max.max(1),
                    session: None,
                };
                tokio::spawn(writer.serve(jobs));
                sender
            })
            .collect();
        Self {
            connector,
            pool,
            meters,
            writers,
        }
    }

    pub(crate) fn load(&self) -> Load {
        self.meters.read()
    }

    pub(crate) fn connector(&self) -> &PostgresConnector {
        &self.connector
    }

    /// Applies a commit with those that wait beside it.
    pub(crate) async fn commit(&self, commit: Commit) -> Result<Answer, Error> {
        let _waiting = self.meters.wait();
        let (reply, answer) = oneshot::channel();
        let writer = self.writer_of(commit.account);
        writer
            .try_send(Job::Commit(Box::new(commit), reply))
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => overloaded(),
                mpsc::error::TrySendError::Closed(_) => unavailable("the store is shutting down"),
            })?;
        answer
            .await
            .unwrap_or_else(|_| Err(unknown_outcome("the writer ended")))
    }

    fn writer_of(&self, account: AccountId) -> &mpsc::Sender<Job> {
        let mut hasher = DefaultHasher::new();
        account.hash(&mut hasher);
        let count = u64::try_from(self.writers.len()).unwrap_or(1);
        let index = usize::try_from(hasher.finish() % count).unwrap_or(0);
        &self.writers[index]
    }

    /// Runs a read on a connection of the pool, in a read transaction when it has several statements.
    pub(crate) async fn read<T, F>(&self, in_transaction: bool, read: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Conn) -> BoxFuture<'c, QueryResult<T>> + Send + 'static,
    {
        self.unit(move |c| {
            Box::pin(async move {
                if !in_transaction {
                    return read(c).await.map_err(|error| from_diesel(&error));
                }
                let result = async {
                    c.batch_execute(BEGIN_READ).await?;
                    let value = read(c).await?;
                    c.batch_execute("COMMIT").await?;
                    Ok(value)
                };
                result.await.map_err(|error: Diesel| from_diesel(&error))
            })
        })
        .await
    }

    /// Runs a read of one statement for a caller that is a task of its own.
    pub(crate) async fn read_here<T, F>(&self, read: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Conn) -> BoxFuture<'c, QueryResult<T>> + Send + 'static,
    {
        self.admit()?;
        on_connection(&self.pool, move |c| {
            Box::pin(async move { read(c).await.map_err(|error| from_diesel(&error)) })
        })
        .await
    }

    /// Runs a write that is no commit in a transaction of its own.
    pub(crate) async fn write<T, F>(&self, write: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Conn) -> BoxFuture<'c, QueryResult<T>> + Send + 'static,
    {
        self.unit(move |c| {
            Box::pin(async move {
                let writing = async {
                    c.batch_execute("BEGIN").await?;
                    write(c).await
                };
                let value = timeout(WORK_DEADLINE - COMMIT_DEADLINE, writing)
                    .await
                    .map_err(|_| unavailable("the database did not answer in time"))?
                    .map_err(|error: Diesel| from_diesel(&error))?;
                // Its own deadline, shorter than the work's: a COMMIT that hangs is in doubt, not undone.
                match timeout(COMMIT_DEADLINE, c.batch_execute("COMMIT")).await {
                    Ok(Ok(())) => Ok(value),
                    Ok(Err(error)) => Err(unknown_outcome(error.to_string())),
                    Err(_) => Err(unknown_outcome("the database did not answer in time")),
                }
            })
        })
        .await
    }

    /// Runs work on a connection of the pool in a task of its own; a connection on which it failed is not used again.
    async fn unit<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Conn) -> BoxFuture<'c, Result<T, Error>> + Send + 'static,
    {
        self.admit()?;
        let pool = self.pool.clone();
        tokio::spawn(async move { on_connection(&pool, work).await })
            .await
            .unwrap_or_else(|error| Err(Error::internal(format!("a database task ended: {error}"))))
    }

    /// Refuses work when too much of it waits for a connection.
    fn admit(&self) -> Result<(), Error> {
        if self.pool.status().waiting >= WAITING_MAX {
            return Err(overloaded());
        }
        Ok(())
    }

    /// Finishes what waits, refuses what comes, and closes the connections.
    pub(crate) async fn close(&self) {
        self.pool.close();
        for writer in &self.writers {
            // An error means that the writer is gone.
            let _ = writer.send(Job::Stop).await;
            writer.closed().await;
        }
    }
}

/// Runs work on a connection of the pool; one on which it failed, or whose caller went away, is not used again.
async fn on_connection<T, F>(pool: &managed::Pool<Manager>, work: F) -> Result<T, Error>
where
    F: for<'c> FnOnce(&'c mut Conn) -> BoxFuture<'c, Result<T, Error>> + Send,
{
    let mut session = pool.get().await.map_err(|error| match error {
        PoolError::Timeout(_) => overloaded(),
        PoolError::Backend(reason) => unavailable(reason),
        other => unavailable(other.to_string()),
    })?;
    session.in_use = true;
    let result = timeout(WORK_DEADLINE, work(&mut session.connection))
        .await
        .unwrap_or_else(|_| Err(unavailable("the database did not answer in time")));
    session.in_use = result.is_err();
    result
}

/// How an attempt to apply commits in one transaction ended.
enum Attempt {
    /// Committed and synced.
    Committed(Vec<Outcome>),
    /// Rolled back by the fault of one commit; the others succeed without it.
    OneAtFault(Error),
    /// The connection was lost before the commit; nothing is stored.
    Lost(Error),
    /// Rolled back; none can succeed now.
    Failed(Error),
}

struct Writer {
    connector: PostgresConnector,
    sealing: Sealing,
    meters: Arc<Meters>,
    batch_max: usize,
    session: Option<Session>,
}

impl Writer {
    async fn serve(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut stopped = false;
        while !stopped && let Some(Job::Commit(commit, reply)) = jobs.recv().await {
            let mut commits = vec![*commit];
            let mut replies = vec![reply];
            while commits.len() < self.batch_max {
                match jobs.try_recv() {
                    Ok(Job::Commit(commit, reply)) => {
                        commits.push(*commit);
                        replies.push(reply);
                    }
                    Ok(Job::Stop) => {
                        stopped = true;
                        break;
                    }
                    Err(_) => break,
                }
            }
            let outcomes = self.batch(&commits).await;
            for (reply, outcome) in replies.into_iter().zip(outcomes) {
                // A caller that has gone away needs no answer; its commit stands.
                let _ = reply.send(outcome);
            }
            // Those who were just answered may bring their next commit before this batch closes: fewer, larger batches.
            tokio::task::yield_now().await;
        }
    }

    /// Applies a batch and gives an outcome for each of its commits.
    async fn batch(&mut self, commits: &[Commit]) -> Vec<Outcome> {
        match self.attempt_again(commits).await {
            Attempt::Committed(outcomes) => outcomes,
            Attempt::Failed(error) | Attempt::Lost(error) => {
                commits.iter().map(|_| Err(error.clone())).collect()
            }
            Attempt::OneAtFault(_) => {
                let mut outcomes: Vec<Outcome> = Vec::with_capacity(commits.len());
                let mut is_away = false;
                for commit in commits {
                    // Once the database is away the rest would each wait for it in vain.
                    let outcome = if is_away {
                        Err(unavailable("the database went away"))
                    } else {
                        self.alone(commit).await
                    };
                    is_away |=
                        matches!(&outcome, Err(error) if error.kind == ErrorKind::Unavailable);
                    outcomes.push(outcome);
                }
                outcomes
            }
        }
    }

    /// Applies one commit alone. Its fault may have been that another node took a name in the same moment: then the second attempt
    /// finds the name taken and answers so.
    async fn alone(&mut self, commit: &Commit) -> Outcome {
        let commits = std::slice::from_ref(commit);
        let mut attempt = self.attempt_again(commits).await;
        if matches!(attempt, Attempt::OneAtFault(_)) {
            attempt = self.attempt_again(commits).await;
        }
        match attempt {
            Attempt::Committed(mut outcomes) => outcomes
                .pop()
                .unwrap_or_else(|| Err(Error::internal("a commit got no answer"))),
            Attempt::OneAtFault(error) | Attempt::Failed(error) | Attempt::Lost(error) => {
                Err(error)
            }
        }
    }

    /// Attempts, and once more on a new connection when an old one turned out to be lost: the database may be back already.
    async fn attempt_again(&mut self, commits: &[Commit]) -> Attempt {
        let had_session = self.session.is_some();
        match self.attempt(commits).await {
            Attempt::Lost(_) if had_session => self.attempt(commits).await,
            attempt => attempt,
        }
    }

    async fn attempt(&mut self, commits: &[Commit]) -> Attempt {
        let mut session = match self.session.take().filter(Session::is_fit) {
            Some(session) => session,
            None => match self.connector.open().await {
                Ok(session) => session,
                Err(reason) => return Attempt::Lost(unavailable(reason)),
            },
        };
        let c = &mut session.connection;
        let applying = apply(c, &self.sealing, commits);
        // A panic in one commit's rows must not end the writer.
        let applied = timeout(WORK_DEADLINE, AssertUnwindSafe(applying).catch_unwind()).await;
        let outcomes = match applied {
            Err(_) => return Attempt::Failed(unavailable("the database did not answer in time")),
            Ok(Err(_)) => {
                return Attempt::OneAtFault(Error::internal("a batch of commits panicked"));
            }
            Ok(Ok(Err(error))) => return self.rolled_back(session, &error).await,
            Ok(Ok(Ok(outcomes))) => outcomes,
        };
        match timeout(WORK_DEADLINE, c.batch_execute("COMMIT")).await {
            Ok(Ok(())) => {
                self.session = Some(session);
                self.meters.batch(commits.len());
                Attempt::Committed(outcomes)
            }
            Ok(Err(error)) => {
                drop(session);
                self.in_doubt(commits, outcomes, &error.to_string()).await
            }
            Err(_) => {
                drop(session);
                self.in_doubt(commits, outcomes, "the database did not answer in time")
                    .await
            }
        }
    }

    /// Rolls back after a failed statement and says whose fault it was.
    async fn rolled_back(&mut self, mut session: Session, error: &Diesel) -> Attempt {
        if is_of_one_commit(error) {
            let rollback = session.connection.batch_execute("ROLLBACK");
            if matches!(timeout(WORK_DEADLINE, rollback).await, Ok(Ok(()))) {
                self.session = Some(session);
            }
            return Attempt::OneAtFault(from_diesel(error));
        }
        // The connection is closed with the session, and the server rolls back.
        match from_diesel(error) {
            error if error.kind == ErrorKind::Unavailable => Attempt::Lost(error),
            error => Attempt::Failed(error),
        }
    }

    /// Finds out what became of a batch whose COMMIT was not answered.
    async fn in_doubt(
        &mut self,
        commits: &[Commit],
        outcomes: Vec<Outcome>,
        reason: &str,
    ) -> Attempt {
        tracing::warn!(
            reason,
            commits = commits.len(),
            "the answer to a COMMIT was lost"
        );
        if !outcomes.iter().any(|o| matches!(o, Ok(Answer::Applied(_)))) {
            // It wrote nothing: replays and refusals are true either way.
            return Attempt::Committed(outcomes);
        }
        let deadline = Instant::now() + DOUBT_DEADLINE;
        while Instant::now() < deadline {
            match timeout_at(deadline, self.look(commits, &outcomes)).await {
                Ok(Ok(Some(true))) => return Attempt::Committed(outcomes),
                Ok(Ok(Some(false))) => return Attempt::Failed(unavailable(reason)),
                Ok(Ok(None)) | Err(_) => break,
                Ok(Err(error)) => tracing::debug!(error, "the outcome is not yet known"),
            }
            tokio::time::sleep(DOUBT_PAUSE).await;
        }
        // Nobody knows, of the replays and refusals neither: they may rest on what this very batch wrote.
        Attempt::Failed(unknown_outcome(reason))
    }

    async fn look(
        &mut self,
        commits: &[Commit],
        outcomes: &[Outcome],
    ) -> Result<Option<bool>, String> {
        let mut session = self.connector.open().await?;
        let c = &mut session.connection;
        let looking = async {
            c.batch_execute("BEGIN").await?;
            let found = was_committed(c, commits, outcomes).await?;
            c.batch_execute("ROLLBACK").await?;
            Ok(found)
        };
        let found = timeout(WORK_DEADLINE, looking)
            .await
            .map_err(|_| "the database did not answer in time".to_owned())?
            .map_err(|error: Diesel| error.to_string())?;
        self.session = Some(session);
        Ok(found)
    }
}

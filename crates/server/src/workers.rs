//! The loops with timers around the steps of `core::app`. They decide nothing: each calls a step, logs its failure
//! once, and calls it again.

use crate::failure::Failure;
use crate::tls::{self, Certificate};
use futures_util::StreamExt as _;
use sipgraph_core::ports::{Bus, Technology};
use sipgraph_core::{App, Error};
use sipgraph_storage::Storage;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::Signal;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// The most rounds of delivery at once. A round waits for a phone, up to 64 s when that is gone, and takes a few KiB;
/// and its text up to 60 KiB; so many dead phones can be waited for before a living one has to.
const ROUNDS_MAX: usize = 1024;
/// The most notices that wait for a phone's answer at once; an unreachable phone answers none for 32 s.
const NOTICES_MAX: usize = 256;
/// How often to look for due messages that no wake told of: retries, other nodes' messages, the command line's.
const DELIVERY_TICK: Duration = Duration::from_secs(1);
/// How often ended bindings are removed: a phone shows offline within this time of its expiry.
const PRESENCE_TICK: Duration = Duration::from_secs(1);
/// How often contacts are looked for that a changed profile no longer allows; nothing is sent to them meanwhile.
const ENCRYPTION_TICK: Duration = Duration::from_secs(1);
/// How often refreshes are written; core promises 30 s at most.
const FLUSH_TICK: Duration = Duration::from_secs(10);
/// How often revoked tokens are looked for: their sockets must close within two seconds.
const SESSIONS_TICK: Duration = Duration::from_secs(1);
/// How often failed registrations are written: people look for them while they try.
const FAILURES_TICK: Duration = Duration::from_secs(1);
/// How often lifted bans are looked for: a source must be in within two seconds on every node.
const BANS_TICK: Duration = Duration::from_secs(1);
/// How often the heads of followed logs are looked at, for wakes that the bus lost.
const LOGS_TICK: Duration = Duration::from_secs(1);
/// How often texts are looked for that are not indexed: a message must be found within two seconds.
const SEARCH_TICK: Duration = Duration::from_millis(500);
/// How often old messages, events and idempotency keys are trimmed.
const RETENTION_TICK: Duration = Duration::from_secs(60);

/// How often it is looked which instance key is in use, and into the key file. Who copies it to several nodes waits for so long.
const KEYS_TICK: Duration = Duration::from_secs(5);
/// How often what is being deleted is looked for.
const DELETIONS_TICK: Duration = Duration::from_secs(1);
/// How long a step of a deletion is followed by a pause, in its own length: others have the database three quarters of the
/// time.
const DELETIONS_PAUSE: u32 = 3;

/// The running loops.
pub(crate) struct Workers {
    loops: JoinSet<&'static str>,
    stop: CancellationToken,
}

impl Workers {
    /// Starts every loop. They end when they are stopped or dropped.
    pub(crate) fn start(
        app: &Arc<App>,
        bus: &Arc<dyn Bus>,
        technology: Arc<dyn Technology>,
    ) -> Self {
        let stop = CancellationToken::new();
        let mut workers = Self {
            loops: JoinSet::new(),
            stop: stop.clone(),
        };
        let notices = Arc::clone(&technology);
        let wakes = bus.wakes();
        let woken = app.clone();
        workers.spawn("bus", async move {
            wakes
                .take_until(stop.clone().cancelled_owned())
                .for_each(|wake| {
                    woken.logs_wake(wake);
                    std::future::ready(())
                })
                .await;
        });
        workers.spawn(
            "delivery",
            deliver(app.clone(), technology, workers.stop.clone()),
        );
        workers.spawn(
            "notices",
            notify(app.clone(), notices, workers.stop.clone()),
        );
        workers.every("presence", PRESENCE_TICK, app, |app| async move {
            while app.presence_sweep().await? {}
            Ok(())
        });
        workers.every("encryption", ENCRYPTION_TICK, app, |app| async move {
            while app.encryption_step().await? {
                // Between two steps others get the writer.
                tokio::task::yield_now().await;
            }
            Ok(())
        });
        workers.every("refreshes", FLUSH_TICK, app, |app| async move {
            app.presence_flush().await
        });
        workers.every("sessions", SESSIONS_TICK, app, |app| async move {
            app.sessions_sweep().await
        });
        workers.every("failures", FAILURES_TICK, app, |app| async move {
            app.registration_failures_flush().await
        });
        workers.every("bans", BANS_TICK, app, |app| async move {
            app.bans_sweep().await
        });
        workers.every("logs", LOGS_TICK, app, |app| async move {
            app.logs_tick().await
        });
        workers.every("search", SEARCH_TICK, app, |app| async move {
            while app.search_step().await? {
                // Between two steps others get the writer.
                tokio::task::yield_now().await;
            }
            Ok(())
        });
        workers.every("retention", RETENTION_TICK, app, |app| async move {
            while app.retention_step().await? {
                // Between two steps others get the writer.
                tokio::task::yield_now().await;
            }
            Ok(())
        });
        let stop = workers.stop.clone();
        workers.every("deletions", DELETIONS_TICK, app, move |app| {
            let stop = stop.clone();
            async move {
                let mut begun = Instant::now();
                while app.deletion_step().await? {
                    let pause = begun.elapsed().saturating_mul(DELETIONS_PAUSE);
                    if !running(&stop, tokio::time::sleep(pause)).await {
                        break;
                    }
                    begun = Instant::now();
                }
                Ok(())
            }
        });
        workers
    }

    /// Adds the loop that reads changed certificates.
    pub(crate) fn watch(&mut self, certificates: Vec<Arc<Certificate>>, hang_up: Signal) {
        let stop = self.stop.clone();
        self.spawn("certificates", tls::watch(certificates, hang_up, stop));
    }

    /// Adds the loop that follows a rotation of the instance key.
    pub(crate) fn follow_keys(&mut self, app: &Arc<App>, storage: &Arc<Storage>, file: PathBuf) {
        let storage = Arc::clone(storage);
        self.every("keys", KEYS_TICK, app, move |app| {
            let (storage, file) = (Arc::clone(&storage), file.clone());
            async move {
                let Some(keys) = storage.keys().await? else {
                    return Ok(());
                };
                // A hundred bytes are read here: a thread of their own would stay in memory for ever.
                let is_there = app.keys().follow(keys.current);
                let missing = if is_there {
                    keys.missing(&app.keys().ids())
                } else {
                    Some(keys.current)
                };
                match missing {
                    None => Ok(()),
                    Some(key) => Err(Error::internal(format!(
                        "{} lacks the key {key}, with which secrets are sealed; copy it there",
                        file.display()
                    ))),
                }
            }
        });
    }

    /// Waits until a loop ends, which it does by itself only when it panicked: the program must not go on without it.
    pub(crate) async fn failed(&mut self) -> Failure {
        match self.loops.join_next().await {
            Some(Ok(name)) => Failure::Failed(format!("The worker {name} ended.")),
            Some(Err(error)) => Failure::failed("A worker failed", error),
            None => std::future::pending().await,
        }
    }

    /// Ends every loop after the step that it is in.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        while self.loops.join_next().await.is_some() {}
    }

    fn spawn(&mut self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.loops.spawn(async move {
            work.await;
            name
        });
    }

    fn every<F, Fut>(&mut self, name: &'static str, period: Duration, app: &Arc<App>, step: F)
    where
        F: Fn(Arc<App>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), Error>> + Send,
    {
        let (app, stop) = (app.clone(), self.stop.clone());
        self.spawn(name, async move {
            let mut ticks = tokio::time::interval(period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut health = Health::new(name);
            while running(&stop, ticks.tick()).await {
                health.note(&step(app.clone()).await);
            }
        });
    }
}

/// Waits for `event`; gives whether it came before the stop.
async fn running<T>(stop: &CancellationToken, event: impl Future<Output = T>) -> bool {
    tokio::select! {
        biased;
        () = stop.cancelled() => false,
        _ = event => true,
    }
}

/// Logs when a loop begins to fail and when it works again, not each time between.
struct Health {
    name: &'static str,
    is_failing: bool,
}

impl Health {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            is_failing: false,
        }
    }

    fn note<T>(&mut self, result: &Result<T, Error>) {
        match (result, self.is_failing) {
            (Err(error), false) => {
                tracing::warn!(worker = self.name, %error, "a worker fails; it goes on trying")
            }
            (Ok(_), true) => tracing::info!(worker = self.name, "a worker works again"),
            (Err(_), true) | (Ok(_), false) => {}
        }
        self.is_failing = result.is_err();
    }
}

/// Sends to devices that somebody types and what others report. What fails is forgotten.
async fn notify(app: Arc<App>, technology: Arc<dyn Technology>, stop: CancellationToken) {
    let mut sends = JoinSet::new();
    let mut health = Health::new("notices");
    while !stop.is_cancelled() {
        let due = app.notice_due();
        let next = app.notice_step(&technology).await;
        health.note(&next);
        match next {
            Ok(Some(devices)) => {
                for device in devices {
                    sends.spawn(device);
                }
            }
            Ok(None) => {
                running(&stop, due).await;
            }
            // The next one may have waited since before.
            Err(_) => {}
        }
        while sends.try_join_next().is_some() {}
        while sends.len() >= NOTICES_MAX && !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => {}
                _ = sends.join_next() => {}
            }
        }
    }
}

/// Claims due messages and runs their rounds, each in a task of its own.
async fn deliver(app: Arc<App>, technology: Arc<dyn Technology>, stop: CancellationToken) {
    let mut rounds = JoinSet::new();
    let mut health = Health::new("delivery");
    while !stop.is_cancelled() {
        // Listening begins before the look, so that what becomes due in between is not slept through.
        let due = app.delivery_due();
        let room = u32::try_from(ROUNDS_MAX.saturating_sub(rounds.len())).unwrap_or(u32::MAX);
        let begun = app.delivery_step(&technology, room).await;
        health.note(&begun);
        let found = begun.unwrap_or_default();
        let is_idle = found.is_none();
        for round in found.into_iter().flatten() {
            rounds.spawn(round);
        }
        while let Some(ended) = rounds.try_join_next() {
            note_panic(ended);
        }
        while rounds.len() >= ROUNDS_MAX && !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => {}
                Some(ended) = rounds.join_next() => note_panic(ended),
            }
        }
        if is_idle {
            let wake = async {
                tokio::select! {
                    () = due => {}
                    () = tokio::time::sleep(DELIVERY_TICK) => {}
                }
            };
            running(&stop, wake).await;
        }
    }
    // What a phone answers from now on is not waited for; the lease of its message ends, and the device recognises
    // the repeated attempt. What is answered already is stored.
    let _ = tokio::time::timeout(crate::shutdown::ROUNDS, async {
        while let Some(ended) = rounds.join_next().await {
            note_panic(ended);
        }
    })
    .await;
}

fn note_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a round of delivery failed");
    }
}

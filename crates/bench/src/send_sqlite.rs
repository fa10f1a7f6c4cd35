//! Sends on SQLite: what full durability costs, and what group commit gains.

use crate::meter::{self, Sync};
use crate::open::Instance;
use crate::report::{Limit, Report, median, micros};
use crate::senders::{Round, SENDERS, round};
use crate::world::{World, commit_each, message, refused};
use crate::{Failure, Size};
use sipgraph_storage::{Options, SqliteOptions, Synchronous};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The least share of its own rate at NORMAL that `sendMessage` must reach at FULL.
const FULL_TO_NORMAL_MIN: f64 = 0.8;
/// The least gain of group commit over one commit per send, where a sync is as slow as [`SLOW_SYNC`].
const GROUP_GAIN_MIN: f64 = 5.0;
/// Where a sync is faster than this, there is less to gain and the limit does not apply.
const SLOW_SYNC: Duration = Duration::from_millis(1);

/// A database with the application on it, ready to be sent through.
struct Bench {
    instance: Instance,
    world: Arc<World>,
    shared_memory: PathBuf,
    rates: Vec<f64>,
    sends: u32,
    transactions: u32,
}

impl Bench {
    async fn open(
        folder: &Path,
        name: &str,
        synchronous: Synchronous,
        group_max: Option<usize>,
    ) -> Result<Self, Failure> {
        let defaults = SqliteOptions::default();
        let options = Options {
            sqlite: SqliteOptions {
                synchronous,
                group_max: group_max.unwrap_or(defaults.group_max),
                ..defaults
            },
            ..Options::default()
        };
        let file = folder.join(format!("{name}.db"));
        let instance = Instance::open(&format!("sqlite:{}", file.display()), &options).await?;
        let world = Arc::new(World::make(&instance, "bench", SENDERS).await?);
        Ok(Self {
            instance,
            world,
            shared_memory: folder.join(format!("{name}.db-shm")),
            rates: Vec::new(),
            sends: 0,
            transactions: 0,
        })
    }

    /// Has every sender call the use case `sendMessage`.
    async fn through_app(&self, each: u32) -> Result<Round, Failure> {
        round(|sender| {
            let (app, world) = (self.instance.app.clone(), self.world.clone());
            async move {
                let (from, to) = world.pair(sender);
                for _ in 0..each {
                    app.message_send(&world.caller, &message(from, to), false, None)
                        .await
                        .map_err(refused)?;
                }
                Ok(each)
            }
        })
        .await
    }

    /// Has every sender commit what was decided before the clock started.
    async fn through_store(&self, each: u32) -> Result<Round, Failure> {
        let mut decided = Vec::with_capacity(SENDERS);
        for sender in 0..SENDERS {
            let commits: Result<Vec<_>, _> = (0..each).map(|_| self.world.decide(sender)).collect();
            decided.push(std::sync::Mutex::new(commits?));
        }
        let decided = &decided;
        round(|sender| {
            let commits = std::mem::take(
                &mut *decided[sender]
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner),
            );
            commit_each(self.instance.port(), commits)
        })
        .await
    }

    /// Notes a round that began when the database had seen `before` transactions.
    fn note(&mut self, round: Round, before: u32) -> Result<(), Failure> {
        self.rates.push(round.rate());
        self.sends += round.sends;
        self.transactions += self.transactions_seen()?.wrapping_sub(before);
        Ok(())
    }

    /// How many write transactions SQLite has counted: `iChange` in the header of the WAL index, the number at byte 8 of
    /// the `-shm` file (<https://www.sqlite.org/walformat.html>).
    fn transactions_seen(&self) -> Result<u32, Failure> {
        use std::os::unix::fs::FileExt as _;
        let mut count = [0; 4];
        File::open(&self.shared_memory)?.read_exact_at(&mut count, 8)?;
        Ok(u32::from_ne_bytes(count))
    }

    fn rate(&self) -> f64 {
        median(self.rates.clone())
    }

    fn sends_per_commit(&self) -> f64 {
        f64::from(self.sends) / f64::from(self.transactions.max(1))
    }
}

/// Measures both ratios.
///
/// # Errors
/// The database failed.
pub(crate) async fn run(size: Size, folder: &Path, report: &mut Report) -> Result<(), Failure> {
    let folder = tempfile::tempdir_in(folder)?;
    let disk = meter::fdatasync(folder.path())?;
    app(size, folder.path(), disk, report).await?;
    let disk = meter::fdatasync(folder.path())?;
    store(size, folder.path(), disk, report).await
}

fn tell_disk(report: &Report, disk: Sync) {
    report.figure(
        "fdatasync",
        format!("{} median, {} p95", micros(disk.median), micros(disk.p95)),
    );
}

fn tell(report: &Report, name: &str, bench: &Bench) {
    report.figure(
        name,
        format!(
            "{:.0} sends/s, {:.1} sends per commit",
            bench.rate(),
            bench.sends_per_commit()
        ),
    );
}

async fn app(size: Size, folder: &Path, disk: Sync, report: &mut Report) -> Result<(), Failure> {
    let each = size.pick(20, 400);
    let rounds = size.pick(2, 7);
    report.subject(&format!(
        "send-sqlite: sendMessage, {SENDERS} senders, {rounds} rounds of {each} each"
    ));
    let mut full = Bench::open(folder, "app-full", Synchronous::Full, None).await?;
    let mut normal = Bench::open(folder, "app-normal", Synchronous::Normal, None).await?;
    let mut ratios = Vec::new();
    for number in 0..=rounds {
        for bench in [&mut full, &mut normal] {
            let before = bench.transactions_seen()?;
            let round = bench.through_app(each).await?;
            // The first round fills caches and counts for nothing.
            if number > 0 {
                bench.note(round, before)?;
            }
        }
        if let (Some(full), Some(normal)) = (full.rates.last(), normal.rates.last()) {
            ratios.push(full / normal);
        }
    }
    tell_disk(report, disk);
    tell(report, "synchronous=FULL", &full);
    tell(report, "synchronous=NORMAL", &normal);
    report.limited(
        "FULL to NORMAL, median of the rounds",
        median(ratios),
        "",
        Limit::AtLeast(FULL_TO_NORMAL_MIN),
    );
    full.instance.store.close().await;
    normal.instance.store.close().await;
    Ok(())
}

async fn store(size: Size, folder: &Path, disk: Sync, report: &mut Report) -> Result<(), Failure> {
    let each = size.pick(20, 400);
    // One commit per send takes many times longer: it gets fewer.
    let each_alone = size.pick(4, 40);
    let rounds = size.pick(2, 7);
    report.subject(&format!(
        "send-sqlite: the store alone, {SENDERS} senders, {rounds} rounds of {each} each in groups, {each_alone} each alone"
    ));
    let mut groups = Bench::open(folder, "store-groups", Synchronous::Full, None).await?;
    let mut alone = Bench::open(folder, "store-alone", Synchronous::Full, Some(1)).await?;
    let mut ratios = Vec::new();
    for number in 0..=rounds {
        for (bench, each) in [(&mut groups, each), (&mut alone, each_alone)] {
            let before = bench.transactions_seen()?;
            let round = bench.through_store(each).await?;
            if number > 0 {
                bench.note(round, before)?;
            }
        }
        if let (Some(groups), Some(alone)) = (groups.rates.last(), alone.rates.last()) {
            ratios.push(groups / alone);
        }
    }
    tell_disk(report, disk);
    tell(report, "group commit", &groups);
    tell(report, "one commit per send", &alone);
    let name = "group commit to one commit per send, median of the rounds";
    let ratio = median(ratios);
    if disk.median >= SLOW_SYNC {
        report.limited(name, ratio, "", Limit::AtLeast(GROUP_GAIN_MIN));
    } else {
        report.unlimited(name, ratio, "fdatasync takes less than 1 ms here");
    }
    groups.instance.store.close().await;
    alone.instance.store.close().await;
    Ok(())
}

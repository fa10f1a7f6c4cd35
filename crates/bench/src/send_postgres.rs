//! Sends on Postgres through the store alone: what set-based batches gain, and what one account's order costs.

use crate::open::Instance;
use crate::report::{Limit, Report, median};
use crate::senders::{Round, SENDERS, round};
use crate::world::{World, commit_each};
use crate::{Failure, Size};
use sipgraph_storage::{Options, PostgresOptions};
use sipgraph_testkit::Database;
use std::sync::{Mutex, PoisonError};
use tokio_postgres::NoTls;

/// The least gain of batches over one transaction per send.
const BATCH_GAIN_MIN: f64 = 5.0;
/// The least share of the rate on many accounts that one account must reach.
const ONE_TO_MANY_MIN: f64 = 0.8;
/// The many accounts.
const ACCOUNTS: usize = 100;

/// A database with accounts, ready to be sent through.
struct Bench {
    instance: Instance,
    worlds: Vec<World>,
    observer: tokio_postgres::Client,
    rates: Vec<f64>,
    sends: u32,
    transactions: i64,
    // Dropped last: the database goes away with it.
    _database: Database,
}

impl Bench {
    /// Makes a database with some accounts that have, together, as many endpoints as there are senders or two each.
    async fn open(accounts: usize, batch_max: Option<usize>) -> Result<Self, Failure> {
        let database = Database::postgres().await;
        let defaults = PostgresOptions::default();
        let options = Options {
            postgres: PostgresOptions {
                batch_max: batch_max.unwrap_or(defaults.batch_max),
                ..defaults
            },
            ..Options::default()
        };
        let instance = Instance::open(database.url(), &options).await?;
        let mut worlds = Vec::with_capacity(accounts);
        for number in 0..accounts {
            let endpoints = (SENDERS / accounts).max(2);
            worlds.push(World::make(&instance, &format!("bench{number}"), endpoints).await?);
        }
        let (observer, connection) = tokio_postgres::connect(database.url(), NoTls).await?;
        tokio::spawn(connection);
        Ok(Self {
            instance,
            worlds,
            observer,
            rates: Vec::new(),
            sends: 0,
            transactions: 0,
            _database: database,
        })
    }

    /// Has every sender commit what was decided before the clock started. Each goes from account to account.
    async fn round(&mut self, each: usize, counts: bool) -> Result<(), Failure> {
        let mut decided = Vec::with_capacity(SENDERS);
        for sender in 0..SENDERS {
            let commits: Result<Vec<_>, Failure> = (0..each)
                .map(|n| self.worlds[(sender + n * SENDERS) % self.worlds.len()].decide(sender))
                .collect();
            decided.push(Mutex::new(commits?));
        }
        let before = self.transactions_seen().await?;
        let decided = &decided;
        let round: Round = round(|sender| {
            let commits = std::mem::take(
                &mut *decided[sender]
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner),
            );
            commit_each(self.instance.port(), commits)
        })
        .await?;
        // The first round fills caches and counts for nothing.
        if counts {
            self.rates.push(round.rate());
            self.sends += round.sends;
            // Asking takes a number itself.
            self.transactions += self.transactions_seen().await? - before - 1;
        }
        Ok(())
    }

    /// The number of the newest write transaction of the cluster; nobody else uses it.
    async fn transactions_seen(&self) -> Result<i64, Failure> {
        let row = self
            .observer
            .query_one("SELECT pg_current_xact_id()::text::bigint", &[])
            .await?;
        Ok(row.get(0))
    }

    fn tell(&self, report: &Report, name: &str) -> Result<(), Failure> {
        let transactions = f64::from(u32::try_from(self.transactions.max(1))?);
        report.figure(
            name,
            format!(
                "{:.0} sends/s, {:.1} sends per transaction",
                median(self.rates.clone()),
                f64::from(self.sends) / transactions
            ),
        );
        Ok(())
    }
}

/// Measures both ratios.
///
/// # Errors
/// Postgres is not installed, or failed.
pub(crate) async fn run(size: Size, report: &mut Report) -> Result<(), Failure> {
    let each = size.pick(20, 400);
    // One transaction per send takes many times longer: it gets fewer.
    let each_alone = size.pick(4, 40);
    let rounds = size.pick(2, 7);
    report.subject(&format!(
        "send-postgres: the store alone, {SENDERS} senders, {rounds} rounds of {each} each in batches, {each_alone} each alone"
    ));
    let mut batches = Bench::open(1, None).await?;
    let mut alone = Bench::open(1, Some(1)).await?;
    let mut many = Bench::open(size.pick(10, ACCOUNTS), None).await?;
    let (mut gains, mut shares) = (Vec::new(), Vec::new());
    for number in 0..=rounds {
        let counts = number > 0;
        batches.round(each, counts).await?;
        alone.round(each_alone, counts).await?;
        many.round(each, counts).await?;
        if let (Some(batches), Some(alone), Some(many)) =
            (batches.rates.last(), alone.rates.last(), many.rates.last())
        {
            gains.push(batches / alone);
            shares.push(batches / many);
        }
    }
    batches.tell(report, "one account, batches")?;
    alone.tell(report, "one account, one transaction per send")?;
    many.tell(report, &format!("{} accounts, batches", many.worlds.len()))?;
    report.limited(
        "batches to one transaction per send, median of the rounds",
        median(gains),
        "",
        Limit::AtLeast(BATCH_GAIN_MIN),
    );
    report.limited(
        "one account to many accounts, median of the rounds",
        median(shares),
        "",
        Limit::AtLeast(ONE_TO_MANY_MIN),
    );
    for bench in [batches, alone, many] {
        bench.instance.store.close().await;
    }
    Ok(())
}

//! The first page of a search in many endpoints: what it costs the database, against the best of the plans that there are.
//!
//! The plans are the newest first until the page is full, and the trigram index with a sort. Each is forced by the driver
//! itself, so that the yardstick is what a person who knows the data would have written for the case.

use crate::meter::{cpu, own_cpu};
use crate::open::Instance;
use crate::report::{Limit, Report, median, micros};
use crate::world::{World, domain_make};
use crate::{Failure, Size};
use sipgraph_core::page::Slice;
use sipgraph_core::ports::Store as _;
use sipgraph_core::ports::store::EndpointFilter;
use sipgraph_storage::Options;
use sipgraph_testkit::{Crowd, Database};
use std::path::Path;
use std::time::Duration;

/// The most that the store's way may cost, as a multiple of the best plan's.
const COST_MAX: f64 = 3.0;
/// The rows of a page.
const PAGE: u32 = 50;

/// What is searched for, and how common it is.
const CASES: [(&str, &str); 4] = [
    ("common: half of all", Crowd::COMMON),
    ("less common: one of two hundred", Crowd::SELDOM),
    ("rare: twenty of all", Crowd::RARE),
    ("absent", "nothing-like-it"),
];

/// Measures both databases.
///
/// # Errors
/// A database failed, or a plan read other rows than the store.
pub(crate) async fn run(size: Size, folder: &Path, report: &mut Report) -> Result<(), Failure> {
    on_sqlite(size, folder, report).await?;
    on_postgres(size, report).await
}

fn subject(size: Size, backend: &str, report: &Report) {
    report.subject(&format!(
        "search: the newest {PAGE} enabled endpoints with a text in their names, out of {} on {backend}",
        crowd(size)
    ));
}

fn crowd(size: Size) -> u32 {
    size.pick(20_000, 100_000)
}

fn judge(report: &mut Report, case: &str, own: Duration, plans: &[(&str, Duration)]) {
    report.figure(&format!("{case}: the store"), micros(own));
    for (name, cost) in plans {
        report.figure(&format!("{case}: {name}"), micros(*cost));
    }
    let best = plans
        .iter()
        .map(|(_, cost)| *cost)
        .min()
        .unwrap_or_default();
    report.limited(
        &format!("{case}: the store to the best plan"),
        own.as_secs_f64() / best.as_secs_f64(),
        "",
        Limit::AtMost(COST_MAX),
    );
}

async fn through_store(
    instance: &Instance,
    world: &World,
    text: &str,
) -> Result<Vec<String>, Failure> {
    let filter = EndpointFilter {
        enabled: Some(true),
        name_contains: Some(text.to_owned()),
        ..EndpointFilter::default()
    };
    let slice = Slice {
        backward: false,
        limit: PAGE,
        after: None,
        before: None,
    };
    let page = instance
        .store
        .endpoints(world.caller.account, filter, slice);
    Ok(page
        .await?
        .items
        .into_iter()
        .map(|endpoint| endpoint.name)
        .collect())
}

fn same(store: &[String], plan: &[String]) -> Result<(), Failure> {
    if store == plan {
        return Ok(());
    }
    Err(format!("the store read {store:?}, the plan {plan:?}").into())
}

/// The median cost of a call in some rounds.
async fn cost(
    rounds: u32,
    meter: impl Fn() -> Result<Duration, Failure>,
    mut call: impl AsyncFnMut() -> Result<Vec<String>, Failure>,
) -> Result<(Duration, Vec<String>), Failure> {
    /// Calls of a round, so that a page of microseconds is more than the meter's own noise.
    const CALLS: u32 = 10;
    let mut costs = Vec::new();
    let mut rows = call().await?;
    for _ in 0..rounds {
        let before = meter()?;
        for _ in 0..CALLS {
            rows = call().await?;
        }
        costs.push((meter()? - before).as_secs_f64() / f64::from(CALLS));
    }
    Ok((Duration::from_secs_f64(median(costs)), rows))
}

async fn on_sqlite(size: Size, folder: &Path, report: &mut Report) -> Result<(), Failure> {
    let folder = tempfile::tempdir_in(folder)?;
    let file = folder.path().join("search.db");
    let url = format!("sqlite:{}", file.display());
    let instance = Instance::open(&url, &Options::default()).await?;
    let world = World::make(&instance, "bench", 2).await?;
    let domain = domain_make(&instance.app, &world.caller, "crowd.example").await?;
    let fill = Crowd::of(world.caller.account, domain, crowd(size)).sqlite();
    let direct = rusqlite::Connection::open(&file)?;
    tokio::task::block_in_place(|| direct.execute_batch(&fill))?;
    // As the store's readers have it.
    direct.execute_batch("PRAGMA cache_size=-16384; PRAGMA mmap_size=0")?;
    subject(size, "SQLite", report);
    // The same columns as the store reads.
    let columns = "e.*";
    let newest = format!(
        "SELECT {columns} FROM endpoints e INDEXED BY endpoints_created WHERE e.account_id = ?1 AND e.enabled \
         AND e.name LIKE ?2 ORDER BY e.created_at DESC, e.id DESC LIMIT {}",
        PAGE + 1
    );
    // SQLite must not walk through the endpoints in the order of their creation and ask of each whether the index has it.
    let indexed = format!(
        "SELECT {columns} FROM _endpoint_search CROSS JOIN _endpoint_search_places p ON p.place = _endpoint_search.rowid \
         CROSS JOIN endpoints e ON e.account_id = p.account_id AND e.id = p.endpoint_id \
         WHERE _endpoint_search MATCH 'name : \"' || trim(?2, '%') || '\"' AND e.account_id = ?1 AND e.enabled \
         ORDER BY e.created_at DESC, e.id DESC LIMIT {}",
        PAGE + 1
    );
    let rounds = size.pick(3, 9);
    for (case, text) in CASES {
        let (own, rows) = cost(
            rounds,
            || Ok(own_cpu()),
            async || through_store(&instance, &world, text).await,
        )
        .await?;
        let mut plans = Vec::new();
        for (name, statement) in [("newest first", &newest), ("trigrams", &indexed)] {
            let mut select = direct.prepare(statement)?;
            let name_column = select.column_index("name")?;
            let mut read = || -> Result<Vec<String>, Failure> {
                let pattern = format!("%{text}%");
                let found = select.query_map((world.caller.account.0, pattern), |row| {
                    row.get::<_, String>(name_column)
                })?;
                let mut names = found.collect::<Result<Vec<_>, _>>()?;
                names.truncate(usize::try_from(PAGE).unwrap_or(usize::MAX));
                Ok(names)
            };
            let (plan, found) = cost(
                rounds,
                || Ok(own_cpu()),
                async || tokio::task::block_in_place(&mut read),
            )
            .await?;
            same(&rows, &found)?;
            plans.push((name, plan));
        }
        judge(report, case, own, &plans);
    }
    instance.store.close().await;
    Ok(())
}

async fn on_postgres(size: Size, report: &mut Report) -> Result<(), Failure> {
    let database = Database::postgres().await;
    let instance = Instance::open(database.url(), &Options::default()).await?;
    let world = World::make(&instance, "bench", 2).await?;
    let domain = domain_make(&instance.app, &world.caller, "crowd.example").await?;
    let (client, connection) =
        tokio_postgres::connect(database.url(), tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    let fill = Crowd::of(world.caller.account, domain, crowd(size)).postgres();
    client.batch_execute(&fill).await?;
    client.batch_execute("VACUUM ANALYZE endpoints").await?;
    subject(size, "Postgres", report);
    let rows = client
        .query(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'",
            &[],
        )
        .await?;
    let servers: Vec<String> = rows
        .iter()
        .map(|row| row.get::<_, i32>(0).to_string())
        .collect();
    let meter = || {
        servers
            .iter()
            .map(|pid| cpu(pid))
            .sum::<Result<Duration, Failure>>()
    };
    let account = format!("'{}'", uuid::Uuid::from_bytes(world.caller.account.0));
    let rounds = size.pick(3, 9);
    for (case, text) in CASES {
        let (own, rows) = cost(rounds, meter, async || {
            through_store(&instance, &world, text).await
        })
        .await?;
        let statement = format!(
            "SELECT * FROM endpoints WHERE account_id = {account} AND enabled AND lower(name COLLATE \"C\") LIKE '%{text}%' \
             ORDER BY created_at DESC, id DESC LIMIT {}",
            PAGE + 1
        );
        let mut plans = Vec::new();
        for (name, setting) in [
            (
                "newest first",
                "SET enable_bitmapscan = off; SET enable_seqscan = off; SET enable_indexscan = on",
            ),
            (
                "trigrams",
                "SET enable_bitmapscan = on; SET enable_seqscan = off; SET enable_indexscan = off",
            ),
        ] {
            client.batch_execute(setting).await?;
            let explained = client.query(&format!("EXPLAIN {statement}"), &[]).await?;
            let plan: Vec<String> = explained
                .iter()
                .map(|row| row.get::<_, String>(0))
                .collect();
            report.figure(&format!("{case}: {name}, the plan"), plan.join(" | "));
            let (plan, found) = cost(rounds, meter, async || {
                let rows = client.query(&statement, &[]).await?;
                let names = rows.iter().map(|row| row.get::<_, String>("name"));
                Ok(names.take(usize::try_from(PAGE)?).collect())
            })
            .await?;
            same(&rows, &found)?;
            plans.push((name, plan));
        }
        judge(report, case, own, &plans);
    }
    instance.store.close().await;
    Ok(())
}

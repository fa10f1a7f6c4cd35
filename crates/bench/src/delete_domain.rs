//! Deleting a domain with many endpoints while others of the account go on sending: what the senders notice of it.

use crate::open::Instance;
use crate::report::{Limit, Report, micros};
use crate::senders::round;
use crate::world::{World, domain_make, endpoint_make, message, refused};
use crate::{Failure, Size};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use sipgraph_core::{App, DomainId};
use sipgraph_storage::Options;
use sipgraph_testkit::Database;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// By how much the slowest hundredth of the sends may become slower.
const SLOWER_MAX: f64 = 2.0;
/// The pause behind each step, in its length; the program's worker has the same.
const PAUSE: u32 = 3;
/// How many are made at once.
const AT_ONCE: usize = 32;

/// Measures both databases.
///
/// # Errors
/// A database failed.
pub(crate) async fn run(size: Size, folder: &Path, report: &mut Report) -> Result<(), Failure> {
    let folder = tempfile::tempdir_in(folder)?;
    let url = format!("sqlite:{}", folder.path().join("delete.db").display());
    measure("SQLite", &url, size, report).await?;
    let database = Database::postgres().await;
    measure("Postgres", database.url(), size, report).await
}

async fn measure(backend: &str, url: &str, size: Size, report: &mut Report) -> Result<(), Failure> {
    let endpoints = size.pick(200, 2_000);
    report.subject(&format!(
        "delete-domain: {endpoints} endpoints with a chat each on {backend}, 64 senders meanwhile"
    ));
    let instance = Instance::open(url, &Options::default()).await?;
    let world = Arc::new(World::make(&instance, "bench", 64).await?);
    let doomed = domain_make(&instance.app, &world.caller, "doomed.example").await?;
    fill(&instance.app, &world, doomed, endpoints).await?;

    let still = Arc::new(AtomicBool::new(true));
    let quiet = tokio::spawn(latencies(
        instance.app.clone(),
        world.clone(),
        still.clone(),
    ));
    tokio::time::sleep(Duration::from_secs(size.pick(3, 15))).await;
    still.store(false, Ordering::Relaxed);
    let before = p99(quiet.await??)?;

    still.store(true, Ordering::Relaxed);
    let busy = tokio::spawn(latencies(
        instance.app.clone(),
        world.clone(),
        still.clone(),
    ));
    let start = Instant::now();
    instance
        .app
        .domain_delete(&world.caller, doomed, true, false, None)
        .await
        .map_err(refused)?;
    let answered = start.elapsed();
    let mut begun = Instant::now();
    while instance.app.deletion_step().await? {
        tokio::time::sleep(begun.elapsed() * PAUSE).await;
        begun = Instant::now();
    }
    let done = start.elapsed();
    still.store(false, Ordering::Relaxed);
    let during = p99(busy.await??)?;

    report.figure("deleteDomain was answered after", micros(answered));
    report.figure(
        "the last row was cleared away after",
        format!("{:.1} s", done.as_secs_f64()),
    );
    report.figure("p99 of a send before", micros(before));
    report.figure("p99 of a send meanwhile", micros(during));
    report.limited(
        "p99 of a send, meanwhile to before",
        during.as_secs_f64() / before.as_secs_f64(),
        "",
        Limit::AtMost(SLOWER_MAX),
    );
    instance.store.close().await;
    Ok(())
}

/// Makes the endpoints, each with a message from one that stays.
async fn fill(
    app: &Arc<App>,
    world: &World,
    domain: DomainId,
    endpoints: usize,
) -> Result<(), Failure> {
    stream::iter(0..endpoints)
        .map(async |number| {
            let id = endpoint_make(app, &world.caller, domain, &format!("doomed{number}")).await?;
            let (from, _) = world.pair(number);
            app.message_send(&world.caller, &message(from, id), false, None)
                .await
                .map_err(refused)?;
            Ok::<_, Failure>(())
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// Sends with many senders while `still` holds, and gives how long each send took.
async fn latencies(
    app: Arc<App>,
    world: Arc<World>,
    still: Arc<AtomicBool>,
) -> Result<Vec<Duration>, Failure> {
    let all = Arc::new(Mutex::new(Vec::new()));
    round(|sender| {
        let (app, world, still, all) = (app.clone(), world.clone(), still.clone(), all.clone());
        async move {
            let mut took = Vec::new();
            let (from, to) = world.pair(sender);
            while still.load(Ordering::Relaxed) {
                let start = Instant::now();
                app.message_send(&world.caller, &message(from, to), false, None)
                    .await
                    .map_err(refused)?;
                took.push(start.elapsed());
            }
            let sends = u32::try_from(took.len())?;
            all.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .append(&mut took);
            Ok(sends)
        }
    })
    .await?;
    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(std::mem::take(&mut *all))
}

fn p99(mut times: Vec<Duration>) -> Result<Duration, Failure> {
    times.sort_unstable();
    let place = times.len() * 99 / 100;
    times
        .get(place)
        .copied()
        .ok_or_else(|| "nothing was sent".into())
}

//! One page of a chat out of a million messages: the store's read against the same statement through the driver alone.

use crate::meter::{cpu, own_cpu};
use crate::million::{COLUMNS, Id, Million};
use crate::open::Instance;
use crate::report::{Limit, Report, median, micros};
use crate::world::World;
use crate::{Failure, Size};
use sipgraph_core::ChatId;
use sipgraph_core::page::Slice;
use sipgraph_core::ports::Store as _;
use sipgraph_core::ports::store::MessageFilter;
use sipgraph_storage::Options;
use sipgraph_testkit::Database;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};
use tokio_postgres::NoTls;

/// The most CPU that the store may take, as a multiple of the driver's.
const STORE_TO_DRIVER_MAX: f64 = 2.0;
/// The rows of a page.
const PAGE: u32 = 50;
/// The chats that the messages are in.
const CHATS: u32 = 2000;

/// Reads a row with the accessor of either driver, every column into an owned value, as any program would.
macro_rules! read {
    ($row:expr, $get:ident, $id:ty, $time:ty) => {{
        let row = $row;
        Row::<$id, $time> {
            ids: [
                row.$get(0)?,
                row.$get(1)?,
                row.$get(2)?,
                row.$get(3)?,
                row.$get(4)?,
            ],
            seq: row.$get(5)?,
            log_seq: row.$get(6)?,
            direction: row.$get(7)?,
            origin: row.$get(8)?,
            sender: row.$get(9)?,
            recipient: row.$get(10)?,
            peer: row.$get(11)?,
            body: row.$get(12)?,
            content_type: row.$get(13)?,
            status: row.$get(14)?,
            failure_code: row.$get(15)?,
            failure_sip_status: row.$get(16)?,
            failure_reason: row.$get(17)?,
            is_read: row.$get(18)?,
            created_at: row.$get(19)?,
            status_at: row.$get(20)?,
            expires_at: row.$get(21)?,
        }
    }};
}

#[expect(dead_code, reason = "read as a program would, looked at by nobody")]
struct Row<Id, Time> {
    ids: [Id; 5],
    seq: i64,
    log_seq: i64,
    direction: i16,
    origin: i16,
    sender: String,
    recipient: String,
    peer: String,
    body: String,
    content_type: String,
    status: i16,
    failure_code: Option<i16>,
    failure_sip_status: Option<i32>,
    failure_reason: Option<String>,
    is_read: bool,
    created_at: Time,
    status_at: Time,
    expires_at: Option<Time>,
}

/// What some reads took.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    wall: Duration,
    cpu: Duration,
    server: Duration,
}

/// The costs of several rounds.
#[derive(Default)]
struct Costs {
    rounds: Vec<Cost>,
    reads: u32,
}

impl Costs {
    fn add(&mut self, cost: Cost, reads: u32) {
        self.rounds.push(cost);
        self.reads = reads;
    }

    /// The median of the rounds, for one read.
    fn each(&self, of: impl Fn(&Cost) -> Duration) -> Duration {
        let seconds = median(
            self.rounds
                .iter()
                .map(|cost| of(cost).as_secs_f64())
                .collect(),
        );
        Duration::from_secs_f64(seconds / f64::from(self.reads.max(1)))
    }

    fn tell(&self, report: &Report, name: &str, with_server: bool) {
        let mut text = format!(
            "{} CPU, {} wall",
            micros(self.each(|cost| cost.cpu)),
            micros(self.each(|cost| cost.wall))
        );
        if with_server {
            text += &format!(
                ", {} CPU in Postgres",
                micros(self.each(|cost| cost.server))
            );
        }
        report.figure(name, text);
    }
}

fn judge(report: &mut Report, driver: &str, store: &Costs, direct: &Costs) {
    let pairs = store.rounds.iter().zip(&direct.rounds);
    let ratios = pairs.map(|(store, direct)| store.cpu.as_secs_f64() / direct.cpu.as_secs_f64());
    report.limited(
        &format!("CPU, store to {driver}, median of the rounds"),
        median(ratios.collect()),
        "",
        Limit::AtMost(STORE_TO_DRIVER_MAX),
    );
}

/// Measures both databases.
///
/// # Errors
/// A database failed, or the two ways read different rows.
pub(crate) async fn run(size: Size, folder: &Path, report: &mut Report) -> Result<(), Failure> {
    on_sqlite(size, folder, report).await?;
    on_postgres(size, report).await
}

fn subject(size: Size, million: &Million, backend: &str, report: &Report) {
    let messages = million.each * CHATS;
    report.subject(&format!(
        "read-page: {PAGE} messages of a chat out of {messages} on {backend}, {} rounds of {} reads",
        rounds(size),
        reads(size)
    ));
}

fn rounds(size: Size) -> u32 {
    size.pick(2, 7)
}

fn reads(size: Size) -> u32 {
    size.pick(500, 4000)
}

fn each(size: Size) -> u32 {
    size.pick(60, 500)
}

/// Which chat a read asks for: all of them, in an order that no cache likes. The step is prime to the number of chats.
fn chat_of(million: &Million, read: u32) -> ChatId {
    let place = usize::try_from(read.wrapping_mul(7919) % CHATS).unwrap_or(0);
    million.chats[place]
}

/// Reads through the store and gives the `seq` of all rows of the last page.
async fn through_store(
    instance: &Instance,
    million: &Million,
    reads: u32,
) -> Result<Vec<i64>, Failure> {
    let mut seqs = Vec::new();
    for read in 0..reads {
        let filter = MessageFilter {
            chat: Some(chat_of(million, read)),
            ..MessageFilter::default()
        };
        let slice = Slice {
            backward: false,
            limit: PAGE,
            after: None,
            before: None,
        };
        let page = instance
            .store
            .messages(million.account, filter, slice)
            .await?;
        seqs = page.items.iter().map(|message| message.seq).collect();
    }
    Ok(seqs)
}

/// The store's statement: one row more than the page tells whether there are more.
fn statement(account: &str, chat: &str) -> String {
    format!(
        "SELECT {COLUMNS} FROM messages WHERE account_id = {account} AND chat_id = {chat} ORDER BY seq DESC LIMIT {}",
        PAGE + 1
    )
}

fn same(store: &[i64], direct: &[i64]) -> Result<(), Failure> {
    let page = usize::try_from(PAGE)?;
    if store.len() == page && direct.get(..page) == Some(store) {
        return Ok(());
    }
    Err(format!("the store read {store:?}, the driver {direct:?}").into())
}

async fn on_sqlite(size: Size, folder: &Path, report: &mut Report) -> Result<(), Failure> {
    let folder = tempfile::tempdir_in(folder)?;
    let file = folder.path().join("million.db");
    let instance =
        Instance::open(&format!("sqlite:{}", file.display()), &Options::default()).await?;
    let world = World::make(&instance, "bench", 1).await?;
    let million = Million::plan(world.caller.account, world.endpoints[0], CHATS, each(size));
    tokio::task::block_in_place(|| million.fill_sqlite(&file))?;
    subject(size, &million, "SQLite", report);

    let direct = rusqlite::Connection::open(&file)?;
    // As the store's readers have it.
    direct.execute_batch("PRAGMA cache_size=-16384; PRAGMA mmap_size=0; PRAGMA query_only=ON")?;
    let mut select = direct.prepare(&statement("?1", "?2"))?;
    let mut through_driver = |reads: u32| -> Result<Vec<i64>, Failure> {
        let mut rows = Vec::new();
        for read in 0..reads {
            let chat = chat_of(&million, read);
            let found = select.query_map((million.account.0, chat.0), |row| {
                Ok(read!(row, get, [u8; 16], i64))
            })?;
            rows = found.collect::<Result<Vec<_>, _>>()?;
        }
        Ok(rows.iter().map(|row| row.seq).collect())
    };
    same(
        &through_store(&instance, &million, CHATS).await?,
        &tokio::task::block_in_place(|| through_driver(CHATS))?,
    )?;
    let reads = reads(size);
    let (mut store, mut driver) = (Costs::default(), Costs::default());
    for _ in 0..rounds(size) {
        let (start, before) = (Instant::now(), own_cpu());
        through_store(&instance, &million, reads).await?;
        let cost = Cost {
            wall: start.elapsed(),
            cpu: own_cpu() - before,
            ..Cost::default()
        };
        store.add(cost, reads);
        let (start, before) = (Instant::now(), own_cpu());
        tokio::task::block_in_place(|| through_driver(reads))?;
        let cost = Cost {
            wall: start.elapsed(),
            cpu: own_cpu() - before,
            ..Cost::default()
        };
        driver.add(cost, reads);
    }
    store.tell(report, "the store", false);
    driver.tell(report, "rusqlite, prepared", false);
    judge(report, "rusqlite", &store, &driver);
    instance.store.close().await;
    Ok(())
}

async fn on_postgres(size: Size, report: &mut Report) -> Result<(), Failure> {
    let database = Database::postgres().await;
    let instance = Instance::open(database.url(), &Options::default()).await?;
    let world = World::make(&instance, "bench", 1).await?;
    let million = Million::plan(world.caller.account, world.endpoints[0], CHATS, each(size));
    let (client, connection) = tokio_postgres::connect(database.url(), NoTls).await?;
    tokio::spawn(connection);
    million.fill_postgres(&client).await?;
    subject(size, &million, "Postgres", report);

    let select = client.prepare(&statement("$1", "$2")).await?;
    let through_driver = async |reads: u32| -> Result<Vec<i64>, Failure> {
        let mut rows = Vec::new();
        for read in 0..reads {
            let chat = chat_of(&million, read);
            let found = client
                .query(&select, &[&Id(million.account.0), &Id(chat.0)])
                .await?;
            rows = found
                .iter()
                .map(|row| Ok(read!(row, try_get, Id, SystemTime)))
                .collect::<Result<Vec<_>, tokio_postgres::Error>>()?;
        }
        Ok(rows.iter().map(|row| row.seq).collect())
    };
    same(
        &through_store(&instance, &million, CHATS).await?,
        &through_driver(CHATS).await?,
    )?;
    let servers = backends(&client).await?;
    let reads = reads(size);
    let (mut store, mut driver) = (Costs::default(), Costs::default());
    for _ in 0..rounds(size) {
        let (start, before, server) = (Instant::now(), own_cpu(), sum(&servers)?);
        through_store(&instance, &million, reads).await?;
        let cost = Cost {
            wall: start.elapsed(),
            cpu: own_cpu() - before,
            server: sum(&servers)? - server,
        };
        store.add(cost, reads);
        let (start, before, server) = (Instant::now(), own_cpu(), sum(&servers)?);
        through_driver(reads).await?;
        let cost = Cost {
            wall: start.elapsed(),
            cpu: own_cpu() - before,
            server: sum(&servers)? - server,
        };
        driver.add(cost, reads);
    }
    store.tell(report, "the store", true);
    driver.tell(report, "tokio-postgres, prepared", true);
    judge(report, "tokio-postgres", &store, &driver);
    instance.store.close().await;
    Ok(())
}

/// The server's processes that serve this database.
async fn backends(client: &tokio_postgres::Client) -> Result<Vec<String>, Failure> {
    let rows = client
        .query(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'",
            &[],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| row.get::<_, i32>(0).to_string())
        .collect())
}

fn sum(processes: &[String]) -> Result<Duration, Failure> {
    processes.iter().map(|pid| cpu(pid)).sum()
}

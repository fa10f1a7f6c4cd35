//! Registrations and OPTIONS over UDP, beside Kamailio in the same run.
//!
//! Both get the same phones. Kamailio keeps its contacts in memory and computes the passwords; the product reads its
//! endpoints from SQLite, commits new bindings before the 200, and writes refreshes behind. That they reach the database
//! is checked, and what it costs is counted.

use crate::kamailio::{self, Kamailio, Process};
use crate::phones::{Call, Fleet, Tally};
use crate::report::{Limit, Report, median, micros};
use crate::site::Site;
use crate::{Failure, Size};
use std::path::Path;
use std::time::{Duration, Instant};

/// How many phones there are.
const PHONES: usize = 2_000;
/// The least share of Kamailio's rate of refreshes.
const REFRESH_RATE_MIN: f64 = 1.0;
/// The most CPU of a refresh, in that of Kamailio.
const REFRESH_CPU_MAX: f64 = 1.0;
/// The least share of Kamailio's rate of OPTIONS.
const OPTIONS_RATE_MIN: f64 = 0.9;
/// Within this time a refresh has to be in the database.
const WRITTEN_BEHIND: Duration = Duration::from_secs(30);

/// One of the two servers, with its phones.
struct Side {
    name: &'static str,
    process: Process,
    /// Away only while it calls.
    fleet: Option<Fleet>,
}

impl Side {
    fn new(name: &'static str, process: Process) -> Result<Self, Failure> {
        let fleet = Fleet::sharing(process.udp()?, 0..PHONES)?;
        Ok(Self {
            name,
            process,
            fleet: Some(fleet),
        })
    }

    /// Has the phones call; all of the calls must succeed.
    async fn call(&mut self, call: Call, calls: usize) -> Result<Tally, Failure> {
        let fleet = self.fleet.take().ok_or("the phones are gone")?;
        let (fleet, tally) = fleet.round(call, calls, Duration::ZERO).await?;
        self.fleet = Some(fleet);
        if tally.failures > 0 {
            return Err(
                format!("{}: {} of {calls} calls failed", self.name, tally.failures).into(),
            );
        }
        Ok(tally)
    }
}

/// What the two sides made of the same calls.
struct Compared {
    /// Our rate to theirs.
    rate: f64,
    /// Our CPU of a call to theirs.
    cpu: f64,
}

/// Has the two sides called in turns. The CPU of a side is all that it used from the first round on, until ours has written
/// what it wrote behind.
async fn compare(
    report: &Report,
    site: &Site,
    (theirs, ours): (&mut Side, &mut Side),
    (what, call): (&str, Call),
    (rounds, calls): (usize, usize),
) -> Result<Compared, Failure> {
    let before = (theirs.process.cpu()?, ours.process.cpu()?);
    let (mut their_rates, mut our_rates) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        their_rates.push(theirs.call(call, calls).await?.rate());
        our_rates.push(ours.call(call, calls).await?.rate());
    }
    if call != Call::Options {
        written_behind(ours, site).await?;
    }
    let after = (theirs.process.cpu()?, ours.process.cpu()?);
    let calls = u32::try_from(rounds * calls)?;
    let (their_cpu, our_cpu) = ((after.0 - before.0) / calls, (after.1 - before.1) / calls);
    let ratios = our_rates.iter().zip(&their_rates).map(|(a, b)| a / b);
    let rate = median(ratios.collect());
    for (side, rates, cpu) in [(theirs, their_rates, their_cpu), (ours, our_rates, our_cpu)] {
        let rate = median(rates);
        let figure = format!("{rate:.0}/s, {} CPU each", micros(cpu));
        report.figure(&format!("{}: {what}", side.name), figure);
    }
    Ok(Compared {
        rate,
        cpu: our_cpu.as_secs_f64() / their_cpu.as_secs_f64(),
    })
}

/// Measures it.
///
/// # Errors
/// Kamailio is not installed, a server did not start, or a call failed.
pub(crate) async fn run(size: Size, folder: &Path, report: &mut Report) -> Result<(), Failure> {
    report.subject("sip-kamailio: REGISTER and OPTIONS over UDP, beside Kamailio");
    kamailio::binary()?;
    let site = Site::make(folder, PHONES).await?;
    let server = site.program.serve(&[]).await?;
    let kamailio = Kamailio::start(site.folder.path()).await?;
    let mut theirs = Side::new("Kamailio", Process::Kamailio(kamailio))?;
    let mut ours = Side::new("sipgraph", Process::Ours(server))?;

    let first = ("first registrations", Call::Register);
    compare(report, &site, (&mut theirs, &mut ours), first, (1, PHONES)).await?;
    // The first refreshes find what the first registrations left behind; they count for nothing.
    for side in [&mut theirs, &mut ours] {
        side.call(Call::Register, PHONES).await?;
    }
    let effort = size.pick((3, 4_000), (9, 20_000));
    for what in [
        ("refreshes", Call::Register),
        ("refreshes with a new Call-ID", Call::Restart),
    ] {
        let sides = (&mut theirs, &mut ours);
        let compared = compare(report, &site, sides, what, effort).await?;
        report.limited(
            &format!("rate of {} to Kamailio's", what.0),
            compared.rate,
            "",
            Limit::AtLeast(REFRESH_RATE_MIN),
        );
        report.limited(
            &format!("CPU of {} to Kamailio's", what.0),
            compared.cpu,
            "",
            Limit::AtMost(REFRESH_CPU_MAX),
        );
    }
    let sides = (&mut theirs, &mut ours);
    let compared = compare(report, &site, sides, ("OPTIONS", Call::Options), effort).await?;
    report.limited(
        "rate of OPTIONS to Kamailio's",
        compared.rate,
        "",
        Limit::AtLeast(OPTIONS_RATE_MIN),
    );
    Ok(())
}

/// Waits until the database holds the latest refresh of every phone.
async fn written_behind(ours: &Side, site: &Site) -> Result<(), Failure> {
    let fleet = ours.fleet.as_ref().ok_or("the phones are gone")?;
    let mut expected = fleet.registrations();
    expected.sort_unstable();
    let begun = Instant::now();
    let database = rusqlite::Connection::open_with_flags(
        &site.database,
        rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY,
    )?;
    loop {
        let mut statement = database.prepare("SELECT cseq FROM bindings ORDER BY cseq")?;
        let stored: Vec<i64> = statement
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        if stored == expected {
            return Ok(());
        }
        if begun.elapsed() > WRITTEN_BEHIND {
            return Err("refreshes were not written within 30 s".into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

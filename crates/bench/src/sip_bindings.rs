//! The memory that bindings take: the growth of a server over its size before any phone has registered.

use crate::meter::status_kib;
use crate::phones::{Call, Fleet};
use crate::report::{Limit, Report};
use crate::site::Site;
use crate::{Failure, Size};
use std::path::Path;
use std::time::{Duration, Instant};

/// The most growth of 100,000 bindings, in MB of a million octets.
const GROWTH_MAX: f64 = 100.0;
/// How often the size is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// For so long after the last registration the growth is looked at: answers are kept for 32 s, and go then.
const WATCHED: Duration = Duration::from_secs(40);

/// Measures it.
///
/// # Errors
/// The server did not start, or a registration failed.
pub(crate) async fn run(size: Size, folder: &Path, report: &mut Report) -> Result<(), Failure> {
    let phones = size.pick(2_000, 100_000);
    report.subject(&format!(
        "sip-bindings: resident memory of {phones} bindings on SQLite"
    ));
    let site = Site::make(folder, phones).await?;
    let server = site.program.serve(&[]).await?;
    let resident = || status_kib(server.pid, "VmRSS").map(|kib| f64::from(kib) * 1024.0 / 1e6);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let idle = resident()?;
    report.figure("resident before", format!("{idle:.1} MB"));

    let calling =
        Fleet::sharing(server.udp()?, 0..phones)?.round(Call::Register, phones, Duration::ZERO);
    let (_, tally) = calling.await?;
    if tally.failures > 0 {
        return Err(format!("{} registrations failed", tally.failures).into());
    }
    report.figure("registrations", format!("{:.0}/s", tally.rate()));
    let ended = Instant::now();
    let mut largest = resident()?;
    report.figure("resident after the last one", format!("{largest:.1} MB"));
    while ended.elapsed() < size.pick(Duration::from_secs(1), WATCHED) {
        tokio::time::sleep(LOOK).await;
        largest = largest.max(resident()?);
    }
    let settled = resident()?;
    report.figure("resident in the end", format!("{settled:.1} MB"));
    report.figure(
        "growth in the end",
        format!(
            "{:.1} MB, {:.0} octets a binding",
            settled - idle,
            (settled - idle) * 1e6 / f64::from(tally.calls)
        ),
    );
    match size {
        Size::Small => report.unlimited(
            "largest growth in MB",
            largest - idle,
            "it is one for 100,000 bindings",
        ),
        Size::Full => report.limited(
            "largest growth",
            largest - idle,
            " MB",
            Limit::AtMost(GROWTH_MAX),
        ),
    }
    Ok(())
}

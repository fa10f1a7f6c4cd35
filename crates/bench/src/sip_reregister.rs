//! A restart with all phones there: each registers again while the server is away, and goes on until it is answered.

use crate::phones::{Call, Fleet};
use crate::program::End;
use crate::report::{Limit, Report};
use crate::site::Site;
use crate::{Failure, Size};
use std::path::Path;
use std::time::{Duration, Instant};

/// Within this time after the server is ready again the last phone must be registered, in seconds.
const SECONDS_MAX: f64 = 10.0;
/// Over this time the phones begin, from the moment when the server ends.
const SPREAD: Duration = Duration::from_secs(2);
/// The most requests of the first registration at once; afterwards all phones come at once.
const FIRST_SPREAD_PER_PHONE: Duration = Duration::from_millis(1);

/// Measures both ends of a server: by SIGKILL and by SIGTERM.
///
/// # Errors
/// The server did not start, or the phones could not be registered in the first place.
pub(crate) async fn run(size: Size, folder: &Path, report: &mut Report) -> Result<(), Failure> {
    let phones: u32 = size.pick(1_000, 10_000);
    let count = usize::try_from(phones)?;
    report.subject(&format!(
        "sip-reregister: {phones} phones register again after a restart"
    ));
    // Each phone has a socket.
    rlimit::increase_nofile_limit(u64::MAX)?;
    let site = Site::make(folder, count).await?;
    let mut program = site.program;
    let mut server = program.serve(&[]).await?;
    program = program.listening_at(server.udp()?);
    let fleet = Fleet::apart(server.udp()?, count)?;
    let (mut fleet, tally) = fleet
        .round(Call::Register, count, FIRST_SPREAD_PER_PHONE * phones)
        .await?;
    if tally.failures > 0 {
        return Err(format!("{} first registrations failed", tally.failures).into());
    }
    for (how, name) in [(End::Kill, "SIGKILL"), (End::Terminate, "SIGTERM")] {
        let begun = Instant::now();
        let calling = tokio::spawn(fleet.round(Call::Register, count, SPREAD));
        server.end(how).await?;
        server = program.serve(&[]).await?;
        let ready = begun.elapsed();
        let tally;
        (fleet, tally) = calling.await??;
        report.figure(
            &format!("{name}: ready again after"),
            format!("{:.2} s", ready.as_secs_f64()),
        );
        report.figure(&format!("{name}: requests sent again"), tally.repeats);
        report.limited(
            &format!("{name}: failed registrations"),
            f64::from(tally.failures),
            "",
            Limit::AtMost(0.0),
        );
        report.limited(
            &format!("{name}: last phone registered after the start by"),
            tally.wall.saturating_sub(ready).as_secs_f64(),
            " s",
            Limit::AtMost(SECONDS_MAX),
        );
    }
    Ok(())
}

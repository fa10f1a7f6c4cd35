//! The resident memory of a server that has just started on SQLite and that nobody uses.

use crate::Failure;
use crate::meter::status_kib;
use crate::program::Program;
use crate::report::{Limit, Report};
use std::path::Path;
use std::time::Duration;

/// The limit, in MiB.
const RESIDENT_MAX: f64 = 40.0;
/// How often the size is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// It counts once it has not grown for so many looks.
const STEADY_LOOKS: u32 = 12;
/// The most looks: half a minute.
const LOOKS_MAX: u32 = 120;

/// Measures it.
///
/// # Errors
/// The server did not start.
pub(crate) async fn run(folder: &Path, report: &mut Report) -> Result<(), Failure> {
    report.subject("idle-memory: resident memory of an idle server on SQLite");
    let folder = tempfile::tempdir_in(folder)?;
    let url = format!("sqlite:{}", folder.path().join("idle.db").display());
    let program = Program::new(&url, folder.path())?;
    let server = program.serve(&[]).await?;
    let mut largest = 0;
    let mut steady = 0;
    for _ in 0..LOOKS_MAX {
        let resident = status_kib(server.pid, "VmRSS")?;
        if resident > largest {
            largest = resident;
            steady = 0;
        } else {
            steady += 1;
        }
        if steady == STEADY_LOOKS {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    let mib = |kib: u32| f64::from(kib) / 1024.0;
    for (name, what) in [
        ("RssAnon", "of it heap and stacks"),
        ("RssFile", "of it the program file and libraries"),
    ] {
        report.figure(
            what,
            format!("{:.1} MiB", mib(status_kib(server.pid, name)?)),
        );
    }
    report.figure("threads", threads(server.pid)?);
    report.limited(
        "resident",
        mib(largest),
        " MiB",
        Limit::AtMost(RESIDENT_MAX),
    );
    Ok(())
}

fn threads(pid: u32) -> Result<usize, Failure> {
    Ok(std::fs::read_dir(format!("/proc/{pid}/task"))?.count())
}

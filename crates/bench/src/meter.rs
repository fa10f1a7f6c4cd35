//! What the kernel says about time and memory, to the nanosecond where it has that.

use crate::Failure;
use rustix::time::{ClockId, clock_gettime};
use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

/// How often the disk is asked; its times scatter.
const SYNCS: usize = 200;
/// What one sync writes: about what one send adds to the write-ahead log.
const SYNC_BYTES: usize = 16 * 1024;

/// The CPU time that a process's living threads have used. It is for differences over a stretch in which no thread ends.
///
/// # Errors
/// There is no such process, or the kernel keeps no `schedstat`.
pub(crate) fn cpu(pid: &str) -> Result<Duration, Failure> {
    let mut nanos = 0_u64;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let path = task?.path().join("schedstat");
        // A thread that ended since the folder was read used nothing in the stretch that counts.
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        let used = text.split(' ').next().unwrap_or_default();
        nanos += used
            .parse::<u64>()
            .map_err(|_| format!("{} says {text:?}", path.display()))?;
    }
    if nanos == 0 {
        return Err("The kernel keeps no schedstat: CPU time can't be measured.".into());
    }
    Ok(Duration::from_nanos(nanos))
}

/// The CPU time of a process and of its children, which must not have children of their own.
///
/// # Errors
/// As [`cpu`].
pub(crate) fn cpu_with_children(pid: u32) -> Result<Duration, Failure> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    let mut sum = cpu(&pid.to_string())?;
    for child in children.split_whitespace() {
        sum += cpu(child)?;
    }
    Ok(sum)
}

/// The CPU time of this process, exact at this moment: what the scheduler says of a running thread is up to 10 ms old.
pub(crate) fn own_cpu() -> Duration {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        used.tv_sec.try_into().unwrap_or_default(),
        used.tv_nsec.try_into().unwrap_or_default(),
    )
}

/// A line of `/proc/PID/status` that is a size, in KiB.
///
/// # Errors
/// There is no such process or line.
pub(crate) fn status_kib(pid: u32, name: &str) -> Result<u32, Failure> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .and_then(|rest| rest.trim().strip_suffix(" kB")?.parse().ok())
        .ok_or_else(|| format!("/proc/{pid}/status has no {name}").into())
}

/// How long the disk of a folder takes to sync what was written to a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sync {
    /// The median.
    pub(crate) median: Duration,
    /// Of twenty, nineteen are faster.
    pub(crate) p95: Duration,
}

/// Measures `fdatasync` as SQLite uses it: after writes into a file that has its blocks already.
///
/// # Errors
/// The folder can't be written to.
pub(crate) fn fdatasync(folder: &Path) -> Result<Sync, Failure> {
    let mut file: File = tempfile::tempfile_in(folder)?;
    let block = [0xa5_u8; SYNC_BYTES];
    // The blocks are made first: a write-ahead log is written over and over again, too.
    for _ in 0..SYNCS {
        file.write_all(&block)?;
    }
    file.sync_all()?;
    file.seek(SeekFrom::Start(0))?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        file.write_all(&block)?;
        let start = Instant::now();
        file.sync_data()?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    let at = |place: usize| times.get(place).copied().ok_or("no sync was measured");
    Ok(Sync {
        median: at(SYNCS / 2)?,
        p95: at(SYNCS * 95 / 100)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_seen() {
        let before = own_cpu();
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(20) {
            std::hint::black_box(0);
        }
        assert!(own_cpu() > before);
        assert!(status_kib(std::process::id(), "VmRSS").unwrap() > 100);
        assert!(status_kib(std::process::id(), "VmNothing").is_err());
    }

    #[test]
    fn a_sync_takes_time() {
        let sync = fdatasync(&std::env::temp_dir()).unwrap();
        assert!(sync.median > Duration::ZERO && sync.p95 >= sync.median);
    }
}

//! How work reaches a database: threads for SQLite, tasks and connections for Postgres. Nothing here knows a table.

pub(crate) mod connect;
pub(crate) mod gather;
pub(crate) mod postgres;
pub(crate) mod sqlite;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What the writers of this process have done, and what is before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Commits that were applied.
    pub commits: u64,
    /// The transactions that they took; commits that wait at the same time share one.
    pub batches: u64,
    /// Commits that wait or are being applied now.
    pub waiting: usize,
}

/// Counts for [`Load`].
#[derive(Debug, Default)]
pub(crate) struct Meters {
    commits: AtomicU64,
    batches: AtomicU64,
    waiting: AtomicUsize,
}

impl Meters {
    /// Counts a transaction that applied so many commits.
    fn batch(&self, commits: usize) {
        let commits = u64::try_from(commits).unwrap_or(u64::MAX);
        self.commits.fetch_add(commits, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a commit as waiting until what this gives is dropped.
    pub(crate) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(self)
    }

    pub(crate) fn read(&self) -> Load {
        Load {
            commits: self.commits.load(Ordering::Relaxed),
            batches: self.batches.load(Ordering::Relaxed),
            waiting: self.waiting.load(Ordering::Relaxed),
        }
    }
}

/// A commit that waits.
pub(crate) struct Waiting<'a>(&'a Meters);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

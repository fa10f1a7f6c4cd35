//! One program at a time serves an SQLite file: deliveries of a second one would be sent twice, and a restore must
//! not replace the file beneath a running server. And one command at a time changes a key file.

use crate::config::{DatabaseUrl, beside};
use crate::failure::Failure;
use crate::files;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

/// The lock; it ends with this value or with the process, however that ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: Option<File>,
}

impl Lock {
    /// Takes the lock of a database. Postgres needs none: its leases are for several nodes.
    ///
    /// # Errors
    /// [`Failure::Failed`] while another process has it.
    pub(crate) fn take(url: &DatabaseUrl) -> Result<Self, Failure> {
        let DatabaseUrl::Sqlite(path) = url else {
            return Ok(Self { _file: None });
        };
        let busy = || Failure::Failed(format!("Another sipgraph serves {url}; stop it first."));
        Self::of_file(&beside(path, ".lock"), "database.url", busy)
    }

    /// Takes the lock of a key file, for as long as it is changed.
    ///
    /// # Errors
    /// [`Failure::Failed`] while another process has it.
    pub(crate) fn of_key_file(path: &Path) -> Result<Self, Failure> {
        let busy = || {
            Failure::Failed(format!(
                "Another command works on the keys of {} at this moment; wait for its end.",
                path.display()
            ))
        };
        Self::of_file(&beside(path, ".lock"), "secret_key_file", busy)
    }

    fn of_file(path: &Path, key: &str, busy: impl Fn() -> Failure) -> Result<Self, Failure> {
        let refused = |error| {
            Failure::key(
                key,
                format_args!("{} can't be opened: {error}", path.display()),
            )
        };
        // The file stays: removing it would let two processes lock two files of one name.
        files::make_folder(files::folder_of(path)).map_err(refused)?;
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .map_err(refused)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: Some(file) }),
            Err(TryLockError::WouldBlock) => Err(busy()),
            Err(TryLockError::Error(error)) => Err(refused(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_locked_once() {
        let folder = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::Sqlite(folder.path().join("a.db"));
        let lock = Lock::take(&url).unwrap();
        assert!(matches!(Lock::take(&url), Err(Failure::Failed(_))));
        drop(lock);
        Lock::take(&url).unwrap();
        let key_file = folder.path().join("a.key");
        let lock = Lock::of_key_file(&key_file).unwrap();
        assert!(matches!(
            Lock::of_key_file(&key_file),
            Err(Failure::Failed(_))
        ));
        drop(lock);
        Lock::of_key_file(&key_file).unwrap();
        let nowhere = DatabaseUrl::Sqlite("/dev/null/a.db".into());
        assert!(matches!(Lock::take(&nowhere), Err(Failure::Usage(_))));
    }
}

//! One program at a time serves an SQLite file: deliveries of a second one would be sent twice, and a restore must
//! not replace the file beneath a running server.

use crate::config::{DatabaseUrl, beside};
use crate::failure::Failure;
use crate::files;
use std::fs::{File, OpenOptions, TryLockError};

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
        let path = beside(path, ".lock");
        let refused = |error| {
            Failure::key(
                "database.url",
                format_args!("{} can't be opened: {error}", path.display()),
            )
        };
        // The file stays: removing it would let two processes lock two files of one name.
        files::make_folder(files::folder_of(&path)).map_err(refused)?;
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(refused)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: Some(file) }),
            Err(TryLockError::WouldBlock) => Err(Failure::Failed(format!(
                "Another sipgraph serves {url}; stop it first."
            ))),
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
        let nowhere = DatabaseUrl::Sqlite("/dev/null/a.db".into());
        assert!(matches!(Lock::take(&nowhere), Err(Failure::Usage(_))));
    }
}

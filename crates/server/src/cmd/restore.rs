//! `sipgraph restore`.

use crate::config::{Config, DatabaseUrl, beside};
use crate::failure::Failure;
use crate::files;
use crate::lock::Lock;
use crate::wiring::{self, Instance};
use sipgraph_storage::Address;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// What to restore.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The backup (SQLite).
    #[arg(required_unless_present = "restored", conflicts_with = "restored")]
    path: Option<PathBuf>,
    /// Only begins the new epoch: the database was restored by other means, such as `pg_restore`.
    #[arg(long)]
    restored: bool,
}

/// Puts a backup in the database's place and begins a new epoch of every event log, so that clients which saw later
/// events are told of the gap. The replaced database is kept.
///
/// # Errors
/// A server that runs, a backup that is none, a key file that is not the backup's.
pub(crate) async fn run(args: Args, config: &Config) -> Result<(), Failure> {
    match (args.path, &config.database.url) {
        (None, _) => {
            let _lock = Lock::take(&config.database.url)?;
            epoch_raise(config).await?;
            super::print("Began a new epoch of every event log.")
        }
        (Some(path), DatabaseUrl::Postgres(_)) => super::print(&format!(
            "A Postgres database is restored with its own tools. Stop every sipgraph, then:\n  \
             pg_restore --clean --if-exists --dbname='{}' {}\n  sipgraph restore --restored\n{}",
            config.database.url,
            path.display(),
            with_key(config)
        )),
        (Some(path), DatabaseUrl::Sqlite(target)) => {
            let _lock = Lock::take(&config.database.url)?;
            let kept = sqlite(&path, target, config).await?;
            let kept = match kept {
                Some(kept) => format!(" What was there before is now {}.", kept.display()),
                None => String::new(),
            };
            super::print(&format!(
                "Restored {} to {} and began a new epoch of every event log.{kept}\n{}",
                path.display(),
                target.display(),
                with_key(config)
            ))
        }
    }
}

fn with_key(config: &Config) -> String {
    format!(
        "The key file of the backup belongs to it; it must be at {}.",
        config.key_file().display()
    )
}

async fn epoch_raise(config: &Config) -> Result<(), Failure> {
    let instance = Instance::open(config).await?;
    let raised = instance.app.epoch_raise().await;
    instance.close().await;
    Ok(raised?)
}

/// Prepares a copy beside the target, so that a failure at any step leaves the database as it was, and puts it in
/// place. Gives where the replaced one is.
async fn sqlite(backup: &Path, target: &Path, config: &Config) -> Result<Option<PathBuf>, Failure> {
    if !backup.is_file() {
        return Err(Failure::Usage(format!(
            "PATH: there is no file {}",
            backup.display()
        )));
    }
    let copy = beside(target, ".restoring");
    let failed = |error| {
        Failure::failed(
            format_args!("{} can't be restored", backup.display()),
            error,
        )
    };
    remove(&copy).map_err(failed)?;
    let prepared = async {
        copy_file(backup, &copy).map_err(failed)?;
        let found = wiring::inspect(&Address::Sqlite(copy.clone())).await?;
        if found.keys.is_none() {
            return Err(Failure::Usage(format!(
                "PATH: {} is no database of sipgraph",
                backup.display()
            )));
        }
        let mut config = config.clone();
        // The key file stays that of the target.
        config.secret_key_file = Some(config.key_file());
        config.database.url = DatabaseUrl::Sqlite(copy.clone());
        epoch_raise(&config).await
    };
    if let Err(failure) = prepared.await {
        remove(&copy).map_err(failed)?;
        return Err(failure);
    }
    put_in_place(&copy, target).map_err(failed)
}

/// Copies a file, for its owner alone, and syncs it.
fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    let mut from = File::open(from)?;
    let mut to = files::create(to)?;
    io::copy(&mut from, &mut to)?;
    to.sync_all()
}

/// The file that SQLite keeps beside a database: commits that are not in it yet. It goes where its database goes.
const WAL: &str = "-wal";
/// The file of shared memory; made anew whenever it is missing.
const SHM: &str = "-shm";

fn put_in_place(copy: &Path, target: &Path) -> io::Result<Option<PathBuf>> {
    // Closing a database moves its log into it; one that is left holds what the copy lacks.
    if std::fs::metadata(beside(copy, WAL)).is_ok_and(|log| log.len() > 0) {
        return Err(io::Error::other(
            "the restored copy was not closed in order",
        ));
    }
    let kept = if target.exists() {
        let kept = (1_u32..)
            .map(|number| beside(target, &format!(".replaced-{number}")))
            .find(|path| !path.exists())
            .ok_or_else(|| io::Error::other("there is no free name for the replaced database"))?;
        let log = beside(target, WAL);
        if log.exists() {
            std::fs::rename(&log, beside(&kept, WAL))?;
        }
        std::fs::rename(target, &kept)?;
        Some(kept)
    } else {
        None
    };
    files::remove(&beside(target, SHM))?;
    std::fs::rename(copy, target)?;
    remove(copy)?;
    files::sync_folder(target)?;
    Ok(kept)
}

/// Removes a database with the files beside it.
fn remove(database: &Path) -> io::Result<()> {
    for ending in ["", WAL, SHM] {
        files::remove(&beside(database, ending))?;
    }
    Ok(())
}

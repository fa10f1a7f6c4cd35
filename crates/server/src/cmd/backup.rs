//! `sipgraph backup`.

use crate::config::{Config, DatabaseUrl};
use crate::failure::Failure;
use crate::files;
use crate::wiring::{self, Instance};
use std::path::PathBuf;

/// What to write.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file to make; it must not exist.
    path: PathBuf,
}

/// Copies an SQLite database as of one moment, also while a server runs. For Postgres it says what to run.
///
/// # Errors
/// A path that exists, a database that is empty or can't be read.
pub(crate) async fn run(args: Args, config: &Config) -> Result<(), Failure> {
    let Args { path } = args;
    let key_file = config.key_file();
    let with_key = format!(
        "Keep the key file {} with it, in a place as safe: without it no phone can log in to a restored database.",
        key_file.display()
    );
    if let DatabaseUrl::Postgres(_) = config.database.url {
        return super::print(&format!(
            "A Postgres database is backed up with its own tools:\n  pg_dump --format=custom --file={} '{}'\n{with_key}",
            path.display(),
            config.database.url
        ));
    }
    let found = wiring::inspect(&wiring::address(&config.database.url)?).await?;
    if found.keys.is_none() {
        return Err(Failure::key(
            "database.url",
            format_args!("{} has no data yet", config.database.url),
        ));
    }
    // Made first, for its owner alone: SQLite fills an empty file, and would make one that everybody can read.
    files::create(&path).map_err(|error| {
        Failure::Usage(format!("PATH: {} can't be made: {error}", path.display()))
    })?;
    let copied = async {
        let instance = Instance::open(config).await?;
        let copied = instance.storage.backup(&path).await;
        instance.close().await;
        copied.map_err(wiring::refusal)
    };
    if let Err(failure) = copied.await {
        // What is left of a failed copy must not be taken for a backup.
        let _ = std::fs::remove_file(&path);
        return Err(failure);
    }
    super::print(&format!("Wrote {}.\n{with_key}", path.display()))
}

//! `sipgraph migrate`.

use crate::config::Config;
use crate::failure::Failure;
use crate::wiring::Instance;

/// Opens the database as the server does, which migrates it, and closes it again.
///
/// # Errors
/// Those of the database; a missing or wrong key file.
pub(crate) async fn run(config: &Config) -> Result<(), Failure> {
    let instance = Instance::open(config).await?;
    instance.close().await;
    super::print(&format!(
        "{} has this version's schema; its key file is {}.",
        config.database.url,
        config.key_file().display()
    ))
}

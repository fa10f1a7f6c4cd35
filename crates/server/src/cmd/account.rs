//! `sipgraph account`.

use crate::config::Config;
use crate::failure::Failure;
use crate::wiring::Instance;

/// What to do with accounts.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Makes an account.
    Create {
        /// Its name, unique in this instance: 1 to 128 characters.
        name: String,
    },
}

/// Runs the command.
///
/// # Errors
/// A name that is taken or no name; those of the database.
pub(crate) async fn run(command: Command, config: &Config) -> Result<(), Failure> {
    let Command::Create { name } = command;
    let instance = Instance::open(config).await?;
    let created = instance.app.account_create(&name).await;
    instance.close().await;
    let account = created?;
    super::print(&format!("Made the account {}.", account.name))
}

//! `sipgraph endpoint`.

mod export;
mod import;

use crate::config::Config;
use crate::failure::Failure;
use crate::wiring::Instance;

/// What to do with endpoints that is the operator's alone.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Limits how many messages a second go out by a trunk, on each node; the others wait for their turn.
    Limit {
        /// The most messages a second; 0 for no limit.
        #[arg(long, value_name = "N")]
        cps: u32,
        /// The trunk's address, such as trunk@example.com.
        #[arg(value_name = "ENDPOINT")]
        endpoint: String,
    },
    /// Makes and changes endpoints as the rows of a file say. Without --apply it only tells what it would do.
    #[command(after_help = import::HELP)]
    Import(import::Args),
    /// Writes the endpoints of an account to a file that `import` reads, the oldest first.
    Export(export::Args),
}

/// Runs the command.
///
/// # Errors
/// An address that names no endpoint; rows that are bad; files that can't be read or written; those of the database.
pub(crate) async fn run(command: Command, config: &Config) -> Result<(), Failure> {
    match command {
        Command::Limit { cps, endpoint } => limit(cps, &endpoint, config).await,
        Command::Import(args) => import::run(args, config).await,
        Command::Export(args) => export::run(args, config).await,
    }
}

async fn limit(cps: u32, endpoint: &str, config: &Config) -> Result<(), Failure> {
    let instance = Instance::open(config).await?;
    let limited = instance.app.endpoint_limit(endpoint, cps).await;
    instance.close().await;
    let address = limited?.address();
    super::print(&match cps {
        0 => format!("Any number of messages a second go to {address}."),
        limit => format!("At most {limit} messages a second go to {address}."),
    })
}

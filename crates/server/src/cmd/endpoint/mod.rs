//! `sipgraph endpoint`.

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
}

/// Runs the command.
///
/// # Errors
/// An address that names no endpoint; those of the database.
pub(crate) async fn run(command: Command, config: &Config) -> Result<(), Failure> {
    let Command::Limit { cps, endpoint } = command;
    let instance = Instance::open(config).await?;
    let limited = instance.app.endpoint_limit(&endpoint, cps).await;
    instance.close().await;
    let address = limited?.address();
    super::print(&match cps {
        0 => format!("Any number of messages a second go to {address}."),
        limit => format!("At most {limit} messages a second go to {address}."),
    })
}

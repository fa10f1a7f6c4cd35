//! `sipgraph system-gateway`.

use crate::config::Config;
use crate::failure::Failure;
use crate::wiring::Instance;

/// What to do with system gateways, of which each account has at most one.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Makes the system gateway of an account: an endpoint that its tenant sees and can't change.
    Create {
        /// The account's name.
        #[arg(long, value_name = "NAME")]
        account: String,
        /// The name or alias of one of the account's domains.
        #[arg(long, value_name = "DOMAIN")]
        domain: String,
        /// The user part of its address.
        #[arg(long, value_name = "USER", default_value = "gateway")]
        name: String,
    },
}

/// Runs the command.
///
/// # Errors
/// An unknown account or domain; a name that is taken; an account that has a system gateway; those of the database.
pub(crate) async fn run(command: Command, config: &Config) -> Result<(), Failure> {
    let Command::Create {
        account,
        domain,
        name,
    } = command;
    let instance = Instance::open(config).await?;
    let made = async {
        let account = instance.account(&account).await?;
        let made = instance.app.system_gateway_create(&account, &domain, &name);
        Ok::<_, Failure>((made.await?, account))
    };
    let made = made.await;
    instance.close().await;
    let (gateway, account) = made?;
    super::print(&format!(
        "Made the system gateway {} of the account {}.",
        gateway.sip_uri(),
        account.name
    ))
}

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
    /// Deletes the system gateway of an account with all that belongs to it; its domain can be deleted then.
    Delete {
        /// The account's name.
        #[arg(long, value_name = "NAME")]
        account: String,
    },
}

/// Runs the command.
///
/// # Errors
/// An unknown account or domain; a name that is taken; an account that has a system gateway already, or none; those of the database.
pub(crate) async fn run(command: Command, config: &Config) -> Result<(), Failure> {
    let instance = Instance::open(config).await?;
    let told = told(command, &instance).await;
    instance.close().await;
    super::print(&told?)
}

/// Does what is asked and says what was done.
async fn told(command: Command, instance: &Instance) -> Result<String, Failure> {
    match command {
        Command::Create {
            account,
            domain,
            name,
        } => {
            let account = instance.account(&account).await?;
            let made = instance.app.system_gateway_create(&account, &domain, &name);
            let gateway = made.await?;
            Ok(format!(
                "Made the system gateway {} of the account {}.",
                gateway.sip_uri(),
                account.name
            ))
        }
        Command::Delete { account } => {
            let account = instance.account(&account).await?;
            let gateway = instance.app.system_gateway_delete(account.id).await?;
            Ok(format!(
                "Deleted the system gateway {} of the account {}.",
                gateway.sip_uri(),
                account.name
            ))
        }
    }
}

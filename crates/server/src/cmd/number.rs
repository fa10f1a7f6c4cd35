//! `sipgraph number`.

use crate::config::Config;
use crate::failure::Failure;
use crate::wiring::Instance;

/// What to do with telephone numbers.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Assigns telephone numbers to an account, all or none.
    Assign {
        /// The account's name.
        #[arg(long, value_name = "NAME")]
        account: String,
        /// The numbers in E.164 form, such as +12125550100.
        #[arg(required = true, value_name = "NUMBER")]
        numbers: Vec<String>,
    },
}

/// Runs the command.
///
/// # Errors
/// Numbers that are none or another account's; an unknown account; those of the database.
pub(crate) async fn run(command: Command, config: &Config) -> Result<(), Failure> {
    let Command::Assign { account, numbers } = command;
    let instance = Instance::open(config).await?;
    let assigned = async {
        let account = instance.account(&account).await?;
        instance.app.numbers_assign(account.id, &numbers).await?;
        Ok::<_, Failure>(account)
    };
    let assigned = assigned.await;
    instance.close().await;
    let account = assigned?;
    super::print(&format!(
        "Assigned {} to the account {}.",
        numbers.join(", "),
        account.name
    ))
}

//! `sipgraph number`.

use crate::config::Config;
use crate::failure::Failure;
use crate::wiring::Instance;
use sipgraph_core::endpoint::Endpoint;

/// What to do with telephone numbers.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Assigns telephone numbers to an account, all or none.
    Assign(Numbers),
    /// Lists the telephone numbers of an account, each with the endpoint that has it.
    List {
        /// The account's name.
        #[arg(long, value_name = "NAME")]
        account: String,
    },
    /// Takes telephone numbers from an account, and off the endpoints that have them.
    Release(Numbers),
}

/// Numbers of an account.
#[derive(Debug, clap::Args)]
pub(crate) struct Numbers {
    /// The account's name.
    #[arg(long, value_name = "NAME")]
    account: String,
    /// The numbers in E.164 form, such as +12125550100.
    #[arg(required = true, value_name = "NUMBER")]
    numbers: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// Numbers that are none, another account's or nobody's; an unknown account; those of the database.
pub(crate) async fn run(command: Command, config: &Config) -> Result<(), Failure> {
    let instance = Instance::open(config).await?;
    let told = told(command, &instance).await;
    instance.close().await;
    super::print(&told?)
}

/// Does what is asked and says what was done.
async fn told(command: Command, instance: &Instance) -> Result<String, Failure> {
    let app = &instance.app;
    match command {
        Command::Assign(Numbers { account, numbers }) => {
            let account = instance.account(&account).await?;
            app.numbers_assign(account.id, &numbers).await?;
            let numbers = numbers.join(", ");
            Ok(format!(
                "Assigned {numbers} to the account {}.",
                account.name
            ))
        }
        Command::List { account } => {
            let account = instance.account(&account).await?;
            let lines = app.numbers(account.id).await?.into_iter();
            let line = |(number, endpoint): (String, Option<Endpoint>)| match endpoint {
                Some(endpoint) => format!("{number} {}", endpoint.address()),
                None => number,
            };
            Ok(lines.map(line).collect::<Vec<_>>().join("\n"))
        }
        Command::Release(Numbers { account, numbers }) => {
            let account = instance.account(&account).await?;
            app.numbers_release(account.id, &numbers).await?;
            let numbers = numbers.join(", ");
            Ok(format!(
                "Released {numbers} from the account {}.",
                account.name
            ))
        }
    }
}

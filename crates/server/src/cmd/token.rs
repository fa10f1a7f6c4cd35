//! `sipgraph token`.

use crate::config::Config;
use crate::failure::Failure;
use crate::wiring::Instance;
use clap::builder::NonEmptyStringValueParser;
use sipgraph_core::access::Scope;
use sipgraph_core::app::App;
use sipgraph_core::decide::tokens::NewToken;
use sipgraph_core::keyring::Secret;
use sipgraph_core::{AccountId, EndpointId};

/// What to do with tokens.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Makes a token and prints it, alone, on standard output. It is shown this once.
    #[command(after_help = scopes_help())]
    Create(Create),
}

/// The token to make.
#[derive(Debug, clap::Args)]
pub(crate) struct Create {
    /// The account's name.
    #[arg(long, value_name = "NAME")]
    account: String,
    /// What the token is for, for people.
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    name: String,
    /// What it may do, separated by commas, such as endpoints.manage,messages.create.
    #[arg(long, required = true, value_delimiter = ',', value_name = "SCOPES", value_parser = scope)]
    scopes: Vec<Scope>,
    /// Binds the token to an endpoint, by its GraphQL id; may be given several times. Without it, it sees the account.
    #[arg(long = "endpoint", value_name = "ID", value_parser = endpoint)]
    endpoints: Vec<EndpointId>,
    /// How long it lives, in seconds. Without it, until it is revoked.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(i64).range(1..))]
    expires: Option<i64>,
}

fn scope(text: &str) -> Result<Scope, String> {
    Scope::parse(text).ok_or_else(|| "there is no such scope; see --help".to_owned())
}

fn endpoint(text: &str) -> Result<EndpointId, &'static str> {
    sipgraph_gateway::endpoint_id(text).ok_or("this is no id of an endpoint")
}

fn scopes_help() -> String {
    let names: Vec<&str> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
    format!("Scopes: {}", names.join(", "))
}

/// Runs the command.
///
/// # Errors
/// An unknown account or endpoint; those of the database.
pub(crate) async fn run(command: Command, config: &Config) -> Result<(), Failure> {
    let Command::Create(create) = command;
    let instance = Instance::open(config).await?;
    let made = async {
        let account = instance.account(&create.account).await?;
        issue(&instance.app, account.id, create).await
    };
    let made = made.await;
    instance.close().await;
    super::print(made?.expose())
}

async fn issue(app: &App, account: AccountId, create: Create) -> Result<Secret, Failure> {
    let Create {
        account: _,
        name,
        scopes,
        endpoints,
        expires,
    } = create;
    let new = NewToken {
        name,
        scopes: scopes
            .iter()
            .map(|scope| scope.as_str().to_owned())
            .collect(),
        endpoints: (!endpoints.is_empty()).then_some(endpoints),
        expires_in_s: expires,
    };
    app.token_issue(account, &new)
        .await?
        .secret
        .ok_or_else(|| Failure::Failed("The token's secret was not given.".to_owned()))
}

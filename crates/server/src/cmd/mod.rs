//! The commands, one file each. A command reads its arguments, calls use cases and prints; nothing else.

mod account;
mod backup;
mod check;
mod config;
mod demo;
mod endpoint;
mod migrate;
mod number;
mod progress;
mod restore;
mod schema;
mod secret;
mod serve;
mod system_gateway;
mod token;
mod trace;

use crate::config::Config;
use crate::failure::Failure;
use crate::telemetry;
use clap::Subcommand;
use std::path::Path;

/// What to do.
#[derive(Debug, Default, Subcommand)]
pub(crate) enum Command {
    /// Serves GraphQL and SIP (the default).
    #[default]
    Serve,
    /// Starts a playground: its own database, two phones' accounts, an echo, GraphiQL.
    Demo(demo::Args),
    /// Brings the database to this version's schema, and makes the key file of an empty one.
    Migrate,
    /// Prints the GraphQL schema (SDL).
    Schema,
    /// Prints every key of the configuration with its default, unit and variable.
    Config,
    /// Checks the configuration and the database, and changes nothing.
    Check,
    /// Manages accounts, the tenants.
    #[command(subcommand)]
    Account(account::Command),
    /// Imports and exports endpoints, and manages what the operator alone sets of them.
    #[command(subcommand)]
    Endpoint(endpoint::Command),
    /// Manages telephone numbers.
    #[command(subcommand)]
    Number(number::Command),
    /// Replaces the instance key, which seals every secret.
    #[command(subcommand)]
    Secret(secret::Command),
    /// Manages the gateways of the operator.
    #[command(subcommand)]
    SystemGateway(system_gateway::Command),
    /// Manages API tokens.
    #[command(subcommand)]
    Token(token::Command),
    /// Shows the SIP messages of one endpoint while the server runs.
    Trace(trace::Args),
    /// Writes a backup while the server runs (SQLite), or says what to run (Postgres).
    Backup(backup::Args),
    /// Puts a backup in the database's place and begins a new epoch.
    Restore(restore::Args),
}

/// Runs a command.
///
/// # Errors
/// Why it failed.
pub(crate) fn run(command: Command, file: Option<&Path>) -> Result<(), Failure> {
    // These need no configuration: they must work where it is wrong.
    match command {
        Command::Schema => return schema::run(),
        Command::Config => return config::run(),
        _ => {}
    }
    let config = Config::load(file)?;
    telemetry::start(&config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed("The runtime can't be started", error))?;
    let ended = runtime.block_on(async {
        match command {
            Command::Serve => serve::run(config).await,
            Command::Demo(args) => demo::run(args, config).await,
            Command::Migrate => migrate::run(&config).await,
            Command::Check => check::run(&config).await,
            Command::Account(command) => account::run(command, &config).await,
            Command::Endpoint(command) => endpoint::run(command, &config).await,
            Command::Number(command) => number::run(command, &config).await,
            Command::Secret(command) => secret::run(command, &config).await,
            Command::SystemGateway(command) => system_gateway::run(command, &config).await,
            Command::Token(command) => token::run(command, &config).await,
            Command::Trace(args) => trace::run(args, &config).await,
            Command::Backup(args) => backup::run(args, &config).await,
            Command::Restore(args) => restore::run(args, &config).await,
            Command::Schema | Command::Config => Ok(()),
        }
    });
    // What still blocks was given up under a deadline before; the program ends without it.
    runtime.shutdown_background();
    ended
}

/// Writes lines to standard output.
///
/// # Errors
/// [`Failure::Failed`] when it is closed, so that a token or a backup's path is not lost in silence.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        .map_err(|error| Failure::failed("Standard output can't be written", error))
}

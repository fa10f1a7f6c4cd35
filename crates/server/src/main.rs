//! The sipgraph program: reads the command line and the configuration, and runs one command.
//!
//! It is the only crate that names concrete types. It contains no rule of the product: a command converts what was
//! typed, calls the use cases of `sipgraph_core`, and prints.
//!
//! Reading order: `cmd` (a file for each command), `config`, `wiring` (what is plugged together), `serve` in `cmd`,
//! `workers` (loops around the use cases), `shutdown`.

mod cmd;
mod config;
mod control;
mod descriptors;
mod endpoint_file;
mod failure;
mod files;
mod http;
mod keyfile;
mod lock;
mod metrics;
mod playground;
mod server;
mod shutdown;
mod simulation;
mod telemetry;
mod tls;
mod wiring;
mod workers;

use clap::Parser;
use failure::Failure;
use std::path::PathBuf;
use std::process::ExitCode;

/// Small and steady in memory, where the system's allocator keeps what many threads once needed. It is built without huge pages: an
/// idle server held 16 MiB of them for 5 MiB of data.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A gateway that is the control plane of SIP endpoints, messages and chats, through one GraphQL API.
///
/// Without a command it serves. `sipgraph demo` starts everything on this machine without any configuration.
#[derive(Debug, Parser)]
#[command(name = "sipgraph", version, after_help = EXIT_CODES)]
struct Cli {
    /// Reads a TOML file over the defaults; `sipgraph config` shows every key.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<cmd::Command>,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 64 wrong usage or configuration (the key is named), 1 failure.\n\
    Each key of the configuration is also a variable, such as SIPGRAPH_DATABASE_URL: see `sipgraph config`.";

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output and are no failure; when nobody reads them, so be it.
            let _ = error.print();
            return if error.use_stderr() {
                Failure::Usage(String::new()).exit_code()
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match cmd::run(cli.command.unwrap_or_default(), cli.config.as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("sipgraph: {failure}");
            failure.exit_code()
        }
    }
}

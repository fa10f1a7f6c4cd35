//! The benchmarks of sipgraph, one subcommand each.
//!
//! Each prints figures, a ratio against a yardstick that is measured in the same run, the limit that the ratio has to keep,
//! and PASS or FAIL. Times of a shared machine are noise; ratios of one run are not. Nothing here is a test: a FAIL ends the
//! program with exit code 1 only under `--strict`. The figures of a known machine are in docs/MEASURED.md.
//!
//! What is measured is what ships: the use cases of `sipgraph-core`, the store of `sipgraph-storage`, and the binary
//! `sipgraph`, which is expected beside this one. Only the yardsticks are our own code. Without the feature `product` only
//! the benchmarks of `sip-validate` are built.

#![cfg_attr(
    not(feature = "product"),
    expect(
        dead_code,
        reason = "some of what measures and reports is for the product alone"
    )
)]

#[cfg(feature = "product")]
mod chat_list;
#[cfg(feature = "product")]
mod dead_contact;
#[cfg(feature = "product")]
mod delete_domain;
#[cfg(feature = "product")]
mod graphql;
#[cfg(feature = "product")]
mod idle_memory;
#[cfg(feature = "product")]
mod import;
#[cfg(feature = "product")]
mod kamailio;
mod meter;
#[cfg(feature = "product")]
mod million;
#[cfg(feature = "product")]
mod open;
mod parse_message;
#[cfg(feature = "product")]
mod phones;
#[cfg(feature = "product")]
mod program;
#[cfg(feature = "product")]
mod read_page;
mod report;
#[cfg(feature = "product")]
mod search;
#[cfg(feature = "product")]
mod send_http;
#[cfg(feature = "product")]
mod send_postgres;
#[cfg(feature = "product")]
mod send_sqlite;
#[cfg(feature = "product")]
mod senders;
#[cfg(feature = "product")]
mod sip_bindings;
#[cfg(feature = "product")]
mod sip_kamailio;
#[cfg(feature = "product")]
mod sip_relay;
#[cfg(feature = "product")]
mod sip_reregister;
#[cfg(feature = "product")]
mod site;
mod validate_uri;
#[cfg(feature = "product")]
mod world;

use clap::{Parser, Subcommand, ValueEnum};
use report::Report;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

/// Why a benchmark could not be run; it is only ever printed.
type Failure = Box<dyn Error + Send + Sync>;

/// Measures sipgraph against yardsticks of the same run.
#[derive(Debug, Parser)]
#[command(name = "sipgraph-bench", version)]
struct Arguments {
    /// How much to do.
    #[arg(long, global = true, value_enum, default_value_t = Size::Small)]
    size: Size,
    /// End with exit code 1 when a limit is not kept.
    #[arg(long, global = true)]
    strict: bool,
    /// Where SQLite databases are made; a folder on the disk that is to be measured. The system's temporary folder by default.
    #[arg(long, global = true, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    #[command(subcommand)]
    program: Program,
}

/// How much to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Size {
    /// Seconds: shows that the program works; its ratios are rough.
    Small,
    /// Minutes: what docs/MEASURED.md is filled with.
    Full,
}

impl Size {
    /// Picks one of two numbers.
    fn pick<T>(self, small: T, full: T) -> T {
        match self {
            Self::Small => small,
            Self::Full => full,
        }
    }
}

/// What to measure.
#[derive(Debug, Clone, Subcommand)]
enum Program {
    /// Sends on SQLite: FULL against NORMAL, group commit against one commit per send.
    #[cfg(feature = "product")]
    SendSqlite,
    /// Sends on Postgres: batches against one transaction per send, one account against a hundred.
    #[cfg(feature = "product")]
    SendPostgres,
    /// A page of chats through GraphQL: how many SQL statements it takes, and its CPU.
    #[cfg(feature = "product")]
    ChatList,
    /// A page of messages out of many, through the store and through the drivers alone.
    #[cfg(feature = "product")]
    ReadPage,
    /// A search in many endpoints: what its first page costs the database, against the best plan.
    #[cfg(feature = "product")]
    Search,
    /// Deleting a domain: what those who send meanwhile notice of it.
    #[cfg(feature = "product")]
    DeleteDomain,
    /// Importing endpoints from a file, against storing them alone.
    #[cfg(feature = "product")]
    Import,
    /// GraphQL requests: the CPU of the real binary against that of a stock server, which is built by itself.
    #[cfg(feature = "product")]
    Graphql(graphql::Arguments),
    /// Durable sends over HTTP: the CPU over the bare commits, one account against many, and the physical limit.
    #[cfg(feature = "product")]
    SendHttp(send_http::Arguments),
    /// Deliveries to two thousand phones: what the others notice of one that never answers.
    #[cfg(feature = "product")]
    DeadContact,
    /// The resident memory of an idle server.
    #[cfg(feature = "product")]
    IdleMemory,
    /// Registrations and OPTIONS over UDP, beside Kamailio, which must be installed. Not part of `all`.
    #[cfg(feature = "product")]
    SipKamailio,
    /// Messages between phones over UDP, beside Kamailio, which must be installed. Not part of `all`.
    #[cfg(feature = "product")]
    SipRelay,
    /// The memory that bindings of devices take.
    #[cfg(feature = "product")]
    SipBindings,
    /// All phones register again after a restart.
    #[cfg(feature = "product")]
    SipReregister,
    /// A whole request: sip-validate against rsip and ezk-sip-types, and its time over the size.
    ParseMessage,
    /// SIP URIs: sip-validate against rsip and ezk-sip-types, and the time over their length.
    ValidateUri,
    /// All of them but `graphql`, `send-http`, `sip-kamailio` and `sip-relay`, one after another.
    All,
}

impl Program {
    const EACH: &[Self] = &[
        #[cfg(feature = "product")]
        Self::SendSqlite,
        #[cfg(feature = "product")]
        Self::SendPostgres,
        #[cfg(feature = "product")]
        Self::ChatList,
        #[cfg(feature = "product")]
        Self::ReadPage,
        #[cfg(feature = "product")]
        Self::Search,
        #[cfg(feature = "product")]
        Self::DeleteDomain,
        #[cfg(feature = "product")]
        Self::Import,
        #[cfg(feature = "product")]
        Self::DeadContact,
        #[cfg(feature = "product")]
        Self::IdleMemory,
        #[cfg(feature = "product")]
        Self::SipBindings,
        #[cfg(feature = "product")]
        Self::SipReregister,
        Self::ParseMessage,
        Self::ValidateUri,
    ];

    async fn run(&self, arguments: &Arguments, report: &mut Report) -> Result<(), Failure> {
        let size = arguments.size;
        #[cfg(feature = "product")]
        let folder = arguments.folder.clone().unwrap_or_else(std::env::temp_dir);
        match self {
            #[cfg(feature = "product")]
            Self::SendSqlite => send_sqlite::run(size, &folder, report).await,
            #[cfg(feature = "product")]
            Self::SendPostgres => send_postgres::run(size, report).await,
            #[cfg(feature = "product")]
            Self::ChatList => chat_list::run(size, &folder, report).await,
            #[cfg(feature = "product")]
            Self::ReadPage => read_page::run(size, &folder, report).await,
            #[cfg(feature = "product")]
            Self::Search => search::run(size, &folder, report).await,
            #[cfg(feature = "product")]
            Self::DeleteDomain => delete_domain::run(size, &folder, report).await,
            #[cfg(feature = "product")]
            Self::Import => import::run(size, &folder, report).await,
            #[cfg(feature = "product")]
            Self::Graphql(asked) => graphql::run(asked, size, &folder, report).await,
            #[cfg(feature = "product")]
            Self::SendHttp(asked) => send_http::run(asked, size, &folder, report).await,
            #[cfg(feature = "product")]
            Self::DeadContact => dead_contact::run(size, &folder, report).await,
            #[cfg(feature = "product")]
            Self::IdleMemory => idle_memory::run(&folder, report).await,
            #[cfg(feature = "product")]
            Self::SipKamailio => sip_kamailio::run(size, &folder, report).await,
            #[cfg(feature = "product")]
            Self::SipRelay => sip_relay::run(size, &folder, report).await,
            #[cfg(feature = "product")]
            Self::SipBindings => sip_bindings::run(size, &folder, report).await,
            #[cfg(feature = "product")]
            Self::SipReregister => sip_reregister::run(size, &folder, report).await,
            Self::ParseMessage => parse_message::run(size, report),
            Self::ValidateUri => validate_uri::run(size, report),
            Self::All => {
                for program in Self::EACH {
                    Box::pin(program.run(arguments, report)).await?;
                }
                Ok(())
            }
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("The runtime can't be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut report = Report::default();
    report.machine();
    match runtime.block_on(arguments.program.run(&arguments, &mut report)) {
        Ok(()) if arguments.strict && report.failed() => ExitCode::FAILURE,
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  because: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

//! The log: lines on standard error, filtered by `log`. It must never be given a secret or a message's text.

use crate::failure::Failure;
use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;

/// Parts below us that at their finest levels log what passes through them: WebSocket messages with their tokens,
/// statements with their values. No filter of an operator may switch that on.
const QUIET: [&str; 4] = [
    "hyper=info",
    "tokio_postgres=warn",
    "tokio_tungstenite=info",
    "tungstenite=info",
];

/// Begins to log. Called once.
///
/// # Errors
/// [`Failure::Usage`] naming `log` for a filter that can't be read.
pub(crate) fn start(filter: &str) -> Result<(), Failure> {
    let mut filter = EnvFilter::builder()
        .parse(filter)
        .map_err(|error| Failure::key("log", error))?;
    for directive in QUIET {
        let directive = directive
            .parse()
            .map_err(|error| Failure::failed("The log can't be started", error))?;
        // It replaces one that the operator gave for the same part.
        filter = filter.add_directive(directive);
    }
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init()
        .map_err(|error| Failure::failed("The log can't be started", error))
}

//! The log: lines on standard error, filtered by `log`. It must never be given a secret or a message's text.

use crate::failure::Failure;
use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;

/// Begins to log. Called once.
///
/// # Errors
/// [`Failure::Usage`] naming `log` for a filter that can't be read.
pub(crate) fn start(filter: &str) -> Result<(), Failure> {
    let filter = EnvFilter::builder()
        .parse(filter)
        .map_err(|error| Failure::key("log", error))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init()
        .map_err(|error| Failure::failed("The log can't be started", error))
}

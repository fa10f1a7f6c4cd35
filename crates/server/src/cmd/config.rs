//! `sipgraph config`.

use crate::config::DEFAULTS;
use crate::failure::Failure;

/// Prints the documented defaults, which are a valid file for `--config`.
///
/// # Errors
/// When standard output is closed.
pub(crate) fn run() -> Result<(), Failure> {
    super::print(DEFAULTS.trim_end())
}

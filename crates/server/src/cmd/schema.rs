//! `sipgraph schema`.

use crate::failure::Failure;

/// Prints the SDL.
///
/// # Errors
/// When standard output is closed.
pub(crate) fn run() -> Result<(), Failure> {
    super::print(sipgraph_gateway::sdl().trim_end())
}

//! How a command fails: as an exit code and one line for the person who typed it.

use sipgraph_core::{Error, Fault, Problem};
use std::fmt;
use std::process::ExitCode;

/// Why a command ended without doing its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Wrong usage or configuration, which the text names; exit code 64 (`EX_USAGE` of `sysexits.h`).
    Usage(String),
    /// Anything else; exit code 1.
    Failed(String),
}

impl Failure {
    /// Makes a failure for a configuration key.
    pub(crate) fn key(key: &str, what: impl fmt::Display) -> Self {
        Self::Usage(format!("{key}: {what}"))
    }

    /// Makes a failure of an attempt to do something.
    pub(crate) fn failed(attempt: impl fmt::Display, cause: impl fmt::Display) -> Self {
        Self::Failed(format!("{attempt}: {cause}"))
    }

    /// Returns the exit code.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(64),
            Self::Failed(_) => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) | Self::Failed(text) => f.write_str(text),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Refused(problems) => Self::Failed(
                problems
                    .iter()
                    .map(problem_line)
                    .collect::<Vec<_>>()
                    .join("\n"),
            ),
            Fault::Error(error) => error.into(),
        }
    }
}

fn problem_line(problem: &Problem) -> String {
    let Problem {
        code: _,
        message,
        field,
        detail: _,
    } = problem;
    if field.is_empty() {
        message.clone()
    } else {
        format!("{}: {message}", field.join("."))
    }
}

//! Holds the validators against the labelled texts in `tests/data`, and against their own promises.
#![expect(
    clippy::unwrap_used,
    reason = "a broken data file should fail the test"
)]

mod corpus;
mod fuzzed;
mod generated;
mod messages;
mod properties;

use corpus::lines;

/// The example answers as the program that the labelled data were made for asks.
#[path = "../../examples/check.rs"]
#[expect(dead_code, reason = "its main function is not called here")]
mod check;

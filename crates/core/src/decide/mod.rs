//! The rules as pure functions: what was read and what is asked, to a commit or a refusal. They await nothing and take
//! time and randomness as values, so that a run can be repeated.

pub mod delivery;
pub mod domains;
pub mod endpoints;
pub mod messages;
pub mod mint;
pub mod presence;
#[cfg(test)]
mod testing;
pub mod tokens;

pub use mint::Mint;

/// Keeps what a device says fit for storage and display: no control characters, at most 256 characters.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(256).collect()
}

//! `token` and `callid`, of which headers are made.

use crate::chars::{self, ALPHANUM, TOKEN, WORD};
use crate::{Rule, Violation};

/// Checks `text` against `token` of RFC 3261 section 25.1, as methods and most names are.
///
/// # Errors
/// [`Rule::Token`] with the first offending octet.
///
/// ```
/// assert!(sip_validate::token("x-my~method'").is_ok() && sip_validate::token("a/b").is_err());
/// ```
pub fn token(text: &str) -> Result<(), Violation> {
    match chars::first_outside(text, ALPHANUM | TOKEN) {
        None if !text.is_empty() => Ok(()),
        at => Err(Violation::at(Rule::Token, text, at.unwrap_or(0))),
    }
}

/// Checks `text` against `callid` of RFC 3261 section 25.1: a word, or two with an `@` between.
///
/// A Call-ID is compared octet by octet, with its case (RFC 3261 section 20.8).
///
/// # Errors
/// [`Rule::CallId`] with the first offending octet.
///
/// ```
/// assert!(sip_validate::call_id("f81d4fae-7dec@[2001:db8::1]").is_ok());
/// assert_eq!(sip_validate::call_id("a@b@c").unwrap_err().byte_offset, 3);
/// ```
pub fn call_id(text: &str) -> Result<(), Violation> {
    let mut at = 0;
    for word in text.splitn(2, '@') {
        match chars::first_outside(word, ALPHANUM | WORD) {
            None if !word.is_empty() => at += word.len() + 1,
            foreign => {
                return Err(Violation::at(Rule::CallId, text, at + foreign.unwrap_or(0)));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_name_the_place() {
        for (given, at) in [("", 0), ("a b", 1), ("caf\u{e9}", 3), ("\u{665}", 0)] {
            assert_eq!(token(given).unwrap_err().byte_offset, at, "{given}");
        }
        for (given, at) in [
            ("", 0),
            ("@", 0),
            ("a@", 2),
            ("@a", 0),
            ("a@b@c", 3),
            ("a,b", 1),
        ] {
            assert_eq!(call_id(given).unwrap_err().byte_offset, at, "{given}");
        }
    }
}

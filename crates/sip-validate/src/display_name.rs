//! The name for people before an address in `<>`.

use std::borrow::Cow;

use crate::message::write::Quoted;
use crate::scan::{Scan, unquoted};
use crate::{Rule, Violation};

/// A `display-name` (RFC 3261 section 25.1): some tokens, or one quoted string.
///
/// One reader serves both what is created and what is received: the white space that the grammar demands after the
/// last token may be missing (RFC 4475 section 3.1.1.6).
///
/// ```
/// use sip_validate::DisplayName;
///
/// assert_eq!(DisplayName::parse("\"Bob \\\"the\\\" Builder\"")?.text(), "Bob \"the\" Builder");
/// assert_eq!(DisplayName::parse("Bob Builder ")?.text(), "Bob Builder");
/// assert!(DisplayName::parse("Bób").is_err());
/// assert_eq!(DisplayName::quote("Bób \"B\"")?, "\"Bób \\\"B\\\"\"");
/// assert!(DisplayName::quote("Bob\r\nVia: x").is_err());
/// # Ok::<(), sip_validate::Violation>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DisplayName<'a>(&'a str);

impl<'a> DisplayName<'a> {
    /// Reads a display name; an empty one is good.
    ///
    /// # Errors
    /// [`Rule::DisplayName`] or [`Rule::QuotedString`] with the first octet that does not fit.
    pub fn parse(text: &'a str) -> Result<Self, Violation> {
        let mut scan = Scan::new(text);
        let is_spaced = scan.lws();
        if scan.rest().starts_with('"') {
            scan.quoted()?;
            return match scan.is_done() {
                true => Ok(Self(text)),
                false => Err(scan.wrong(Rule::DisplayName)),
            };
        }
        if is_spaced {
            return Err(Violation::at(Rule::DisplayName, text, 0));
        }
        while scan.token().is_some() && scan.lws() {}
        match scan.is_done() {
            true => Ok(Self(text)),
            false => Err(scan.wrong(Rule::DisplayName)),
        }
    }

    /// The name for people: without quotes and escapes, with folds undone. An escape may bring a control character.
    #[must_use]
    pub fn text(&self) -> Cow<'a, str> {
        let text = self.0.trim_matches([' ', '\t', '\r', '\n']);
        if text.starts_with('"') || text.contains('\r') {
            Cow::Owned(unquoted(text))
        } else {
            Cow::Borrowed(text)
        }
    }

    /// Writes a name for people as a quoted string, with `"` and `\` escaped.
    ///
    /// # Errors
    /// [`Rule::DisplayNameControl`]: a line end or another control character could start a new header field.
    pub fn quote(name: &str) -> Result<String, Violation> {
        if let Some(at) = name.find(char::is_control) {
            return Err(Violation::at(Rule::DisplayNameControl, name, at));
        }
        Ok(Quoted(name).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        for (given, text) in [
            ("", ""),
            ("Bob", "Bob"),
            ("Bob  \t B. ", "Bob  \t B."),
            ("Bob\r\n Builder", "Bob Builder"),
            ("\"\"", ""),
            (" \r\n \"Bob\"", "Bob"),
            ("\"a\r\n b\\\\\\\"\"", "a b\\\""),
            ("\"b\u{f3}b\"", "b\u{f3}b"),
        ] {
            assert_eq!(DisplayName::parse(given).unwrap().text(), text, "{given:?}");
        }
    }

    #[test]
    fn refusals_name_the_place() {
        for (given, rule, at) in [
            (" ", Rule::DisplayName, 0),
            (" Bob", Rule::DisplayName, 0),
            ("Bob@", Rule::DisplayName, 3),
            ("b\u{f3}b", Rule::DisplayName, 1),
            ("a \"b\"", Rule::DisplayName, 2),
            ("\"a\" ", Rule::DisplayName, 3),
            ("\"a", Rule::QuotedString, 2),
            ("\"a\\", Rule::QuotedString, 2),
            ("\"a\\\"", Rule::QuotedString, 4),
            ("\"a\r\n\"", Rule::QuotedString, 2),
            ("\"a\\\u{e9}\"", Rule::QuotedString, 2),
            ("\"\0\"", Rule::QuotedString, 1),
        ] {
            let violation = DisplayName::parse(given).unwrap_err();
            assert_eq!(
                (violation.rule, violation.byte_offset),
                (rule, at),
                "{given:?}"
            );
        }
    }
}

//! The value of Content-Type.

use std::borrow::Cow;
use std::fmt;

use crate::scan::{Scan, unquoted};
use crate::{Rule, Violation};

/// A `media-type` (RFC 3261 section 25.1), as Content-Type has it.
///
/// ```
/// use sip_validate::MediaType;
///
/// let media = MediaType::parse("Text/Plain ; charset = \"UTF-8\"")?;
/// assert!(media.is("text", "plain"));
/// assert_eq!(media.parameter("Charset").as_deref(), Some("UTF-8"));
/// assert_eq!(MediaType::parse("text").unwrap_err().byte_offset, 4);
/// # Ok::<(), sip_validate::Violation>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaType<'a> {
    /// The type as written; compare it without regard to case.
    pub kind: &'a str,
    /// The subtype as written; compare it without regard to case.
    pub subtype: &'a str,
    /// What follows them as written, from the first `;`.
    parameters: &'a str,
}

impl<'a> MediaType<'a> {
    /// Reads a media type.
    ///
    /// # Errors
    /// [`Rule::MediaType`] or [`Rule::QuotedString`] with the first octet that does not fit.
    pub fn parse(text: &'a str) -> Result<Self, Violation> {
        let mut scan = Scan::new(text);
        let kind = token(&mut scan)?;
        separator(&mut scan, b'/')?;
        let subtype = token(&mut scan)?;
        let parameters = scan.rest();
        while !scan.is_done() {
            parameter(&mut scan)?;
        }
        Ok(Self {
            kind,
            subtype,
            parameters,
        })
    }

    /// Whether it is of this type and subtype, whatever its parameters are.
    #[must_use]
    pub fn is(&self, kind: &str, subtype: &str) -> bool {
        self.kind.eq_ignore_ascii_case(kind) && self.subtype.eq_ignore_ascii_case(subtype)
    }

    /// The parameters in the order of the text: name and value as written, a quoted string with its quotes.
    pub fn parameters(&self) -> impl Iterator<Item = (&'a str, &'a str)> + Clone + use<'a> {
        let mut scan = Scan::new(self.parameters);
        std::iter::from_fn(move || parameter(&mut scan).ok())
    }

    /// The value of the first parameter `name`, compared without regard to case; without quotes and escapes.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<Cow<'a, str>> {
        let mut parameters = self.parameters();
        let (_, value) = parameters.find(|(n, _)| n.eq_ignore_ascii_case(name))?;
        Some(if value.starts_with('"') {
            Cow::Owned(unquoted(value))
        } else {
            Cow::Borrowed(value)
        })
    }
}

fn token<'a>(scan: &mut Scan<'a>) -> Result<&'a str, Violation> {
    scan.token().ok_or_else(|| scan.wrong(Rule::MediaType))
}

fn separator(scan: &mut Scan<'_>, octet: u8) -> Result<(), Violation> {
    let is_next = scan.separator(octet);
    is_next
        .then_some(())
        .ok_or_else(|| scan.wrong(Rule::MediaType))
}

fn parameter<'a>(scan: &mut Scan<'a>) -> Result<(&'a str, &'a str), Violation> {
    separator(scan, b';')?;
    let name = token(scan)?;
    separator(scan, b'=')?;
    // A quoted string brings white space of its own, which may follow a fold after the `=`.
    let mut ahead = *scan;
    ahead.lws();
    if ahead.rest().starts_with('"') {
        *scan = ahead;
        return scan.quoted().map(|value| (name, value));
    }
    token(scan).map(|value| (name, value))
}

impl fmt::Display for MediaType<'_> {
    /// Writes it without the white space that it may have been read with.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.subtype)?;
        for (name, value) in self.parameters() {
            write!(f, ";{name}={value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_may_stand_round_separators() {
        let text = "multipart \r\n / mixed\t;\r\n boundary = \r\n \r\n \"a;\\\"b\" ;x=1";
        let media = MediaType::parse(text).unwrap();
        assert!(media.is("MULTIPART", "mixed"));
        assert_eq!(media.parameter("boundary").unwrap(), "a;\"b");
        assert_eq!(
            (media.parameter("X").unwrap(), media.parameter("y")),
            ("1".into(), None)
        );
        assert_eq!(
            media.to_string(),
            "multipart/mixed;boundary=\"a;\\\"b\";x=1"
        );
    }

    #[test]
    fn refusals_name_the_place() {
        for (given, rule, at) in [
            ("", Rule::MediaType, 0),
            ("text", Rule::MediaType, 4),
            ("text/", Rule::MediaType, 5),
            ("/plain", Rule::MediaType, 0),
            ("text/plain ", Rule::MediaType, 10),
            ("text/plain;", Rule::MediaType, 11),
            ("text/plain;a", Rule::MediaType, 12),
            ("text/plain;a=", Rule::MediaType, 13),
            ("text/plain;a=b c", Rule::MediaType, 14),
            ("text/plain;a=\"b", Rule::QuotedString, 15),
        ] {
            let violation = MediaType::parse(given).unwrap_err();
            assert_eq!(
                (violation.rule, violation.byte_offset),
                (rule, at),
                "{given}"
            );
        }
    }
}

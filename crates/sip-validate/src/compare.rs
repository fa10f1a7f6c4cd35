//! Comparing parts of URIs whose characters may be escaped (RFC 3261 section 19.1.4).

use crate::chars::{self, Octets, RESERVED};

/// Whether upper and lower case of ASCII letters differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    Sensitive,
    Insensitive,
}

/// Whether two texts are the same: an escape is its character, unless that is reserved.
pub(crate) fn texts(a: &str, b: &str, case: Case) -> bool {
    let as_written = match case {
        Case::Sensitive => a == b,
        Case::Insensitive => a.eq_ignore_ascii_case(b),
    };
    // Without an escape in either, what is written is what is meant.
    as_written || ((a.contains('%') || b.contains('%')) && meant(a, case).eq(meant(b, case)))
}

/// As [`texts`]; what is absent in one is absent in both.
pub(crate) fn options(a: Option<&str>, b: Option<&str>, case: Case) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => texts(a, b, case),
        (a, b) => a == b,
    }
}

/// The octets of a text, and whether each is an escape that differs from the character.
fn meant(text: &str, case: Case) -> impl Iterator<Item = (u8, bool)> + '_ {
    Octets(text.as_bytes()).map(move |(octet, is_escaped)| {
        let octet = match case {
            Case::Sensitive => octet,
            Case::Insensitive => octet.to_ascii_lowercase(),
        };
        (octet, is_escaped && chars::is(octet, RESERVED))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escape_is_its_character_unless_that_is_reserved() {
        for (a, b, same) in [
            ("%61", "a", true),
            ("%41", "a", false),
            ("%2a", "%2A", true),
            ("%3b", "%3B", true),
            ("%3B", ";", false),
            ("%40", "@", false),
            ("%00", "", false),
            ("%2561", "%61", false),
        ] {
            assert_eq!(texts(a, b, Case::Sensitive), same, "{a} {b}");
            assert_eq!(texts(b, a, Case::Sensitive), same, "{b} {a}");
        }
        assert!(texts("%41b", "aB", Case::Insensitive));
        assert!(!options(Some(""), None, Case::Sensitive));
    }
}

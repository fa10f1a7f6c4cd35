//! Telephone numbers as ITU-T E.164 writes them.

use std::borrow::Cow;

use crate::{Rule, Violation};

/// The most digits of an international number (ITU-T E.164 section 6.2); RFC 3966 itself has no limit.
pub const E164_DIGITS_MAX: usize = 15;

/// Gives the canonical form of a telephone number: `+` and 1 to 15 digits, the first from 1 to 9.
///
/// The visual separators of RFC 3966 section 5.1.1 (`-`, `.`, `(`, `)`) and spaces are dropped.
///
/// # Errors
/// [`Rule::NumberCountryCode`], [`Rule::NumberCharacter`] or [`Rule::NumberTooLong`].
pub fn e164(text: &str) -> Result<Cow<'_, str>, Violation> {
    let Some(rest) = text.strip_prefix('+') else {
        return Err(Violation::at(Rule::NumberCountryCode, text, 0));
    };
    let mut digits = 0;
    let mut canonical = true;
    for (at, octet) in rest.bytes().enumerate() {
        match octet {
            b'0'..=b'9' => {
                digits += 1;
                if digits == 1 && octet == b'0' {
                    return Err(Violation::at(Rule::NumberCountryCode, text, at + 1));
                }
                if digits > E164_DIGITS_MAX {
                    return Err(Violation::at(Rule::NumberTooLong, text, at + 1));
                }
            }
            b'-' | b'.' | b'(' | b')' | b' ' => canonical = false,
            _ => return Err(Violation::at(Rule::NumberCharacter, text, at + 1)),
        }
    }
    if digits == 0 {
        return Err(Violation::at(Rule::NumberCountryCode, text, text.len()));
    }
    Ok(if canonical {
        Cow::Borrowed(text)
    } else {
        text.chars()
            .filter(|c| *c == '+' || c.is_ascii_digit())
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_are_dropped() {
        for (given, canonical) in [
            ("+12125551212", "+12125551212"),
            ("+1 (212) 555-1212", "+12125551212"),
            ("+1.2", "+12"),
            ("+123456789012345", "+123456789012345"),
        ] {
            assert_eq!(e164(given).unwrap(), canonical);
        }
    }

    #[test]
    fn refusals_name_the_place() {
        for (given, rule, at) in [
            ("", Rule::NumberCountryCode, 0),
            ("12125551212", Rule::NumberCountryCode, 0),
            ("+", Rule::NumberCountryCode, 1),
            ("+-", Rule::NumberCountryCode, 2),
            ("+012", Rule::NumberCountryCode, 1),
            ("+1a", Rule::NumberCharacter, 2),
            ("++1", Rule::NumberCharacter, 1),
            ("+1\u{665}", Rule::NumberCharacter, 2),
            ("+1234567890123456", Rule::NumberTooLong, 16),
        ] {
            let violation = e164(given).unwrap_err();
            assert_eq!(
                (violation.rule, violation.byte_offset),
                (rule, at),
                "{given}"
            );
        }
    }
}

//! Telephone numbers as ITU-T E.164 writes them.

use std::borrow::Cow;

use crate::chars::{self, PHONE};
use crate::{Rule, Violation};

/// The most digits of an international number (ITU-T E.164 section 6.2); RFC 3966 itself has no limit.
pub const E164_DIGITS_MAX: usize = 15;

/// Gives the canonical form of a telephone number: `+` and 1 to 15 digits, the first from 1 to 9.
///
/// The visual separators of RFC 3966 section 5.1.1 (`-`, `.`, `(`, `)`) and spaces are dropped.
///
/// # Errors
/// [`Rule::NumberCountryCode`], [`Rule::NumberCharacter`] or [`Rule::NumberTooLong`].
///
/// ```
/// assert_eq!(sip_validate::e164("+1 (212) 555-1212")?, "+12125551212");
/// # Ok::<(), sip_validate::Violation>(())
/// ```
pub fn e164(text: &str) -> Result<Cow<'_, str>, Violation> {
    let Some(rest) = text.strip_prefix('+') else {
        return Err(Violation::at(Rule::NumberCountryCode, text, 0));
    };
    let is_foreign = |octet: u8| !chars::is(octet, PHONE) && octet != b' ';
    if let Some(at) = rest.bytes().position(is_foreign) {
        return Err(Violation::at(Rule::NumberCharacter, text, at + 1));
    }
    country_and_length(text)?;
    Ok(if rest.bytes().all(|octet| octet.is_ascii_digit()) {
        Cow::Borrowed(text)
    } else {
        text.chars()
            .filter(|c| *c == '+' || c.is_ascii_digit())
            .collect()
    })
}

/// Checks that the digits of a number start with a country code and are not too many; nothing else of it.
pub(crate) fn country_and_length(text: &str) -> Result<(), Violation> {
    let mut digits = 0;
    for (at, octet) in text.bytes().enumerate().filter(|(_, o)| o.is_ascii_digit()) {
        digits += 1;
        if digits == 1 && octet == b'0' {
            return Err(Violation::at(Rule::NumberCountryCode, text, at));
        }
        if digits > E164_DIGITS_MAX {
            return Err(Violation::at(Rule::NumberTooLong, text, at));
        }
    }
    if digits == 0 {
        return Err(Violation::at(Rule::NumberCountryCode, text, text.len()));
    }
    Ok(())
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

//! The `userinfo` of a SIP URI: its grammar, and the canonical form of the user of an
//! address-of-record.
//!
//! It must not know which names an endpoint may have; that is `name.rs`.

use std::borrow::Cow;

use crate::chars::{self, PASSWORD, UNRESERVED, USER};
use crate::{Rule, Violation};

/// Checks `text` against `user` of RFC 3261 section 25.1.
///
/// The second alternative of `userinfo`, `telephone-subscriber`, adds nothing here: its characters
/// outside `user` must be escaped inside a SIP URI (RFC 3261 section 19.1.2).
///
/// # Errors
/// [`Rule::UserEmpty`], [`Rule::UserCharacter`] or [`Rule::Escape`], with the first offending octet.
pub fn user(text: &str) -> Result<(), Violation> {
    if text.is_empty() {
        return Err(Violation::at(Rule::UserEmpty, text, 0));
    }
    allowed(text, UNRESERVED | USER, Rule::UserCharacter)
}

/// Checks `text` against `password` of RFC 3261 section 25.1, the part of a URI between `:` and `@`.
///
/// It may be empty. A password in a URI is discouraged: drop it before a URI is stored or logged.
///
/// # Errors
/// [`Rule::UriPassword`] or [`Rule::Escape`]; the violation never names a character.
pub fn uri_password(text: &str) -> Result<(), Violation> {
    allowed(text, UNRESERVED | PASSWORD, Rule::UriPassword).map_err(|violation| Violation {
        character: None,
        ..violation
    })
}

fn allowed(text: &str, classes: u16, rule: Rule) -> Result<(), Violation> {
    match chars::first_foreign(text.as_bytes(), classes) {
        None => Ok(()),
        Some(at) if text.as_bytes()[at] == b'%' => Err(Violation::at(Rule::Escape, text, at)),
        Some(at) => Err(Violation::at(rule, text, at)),
    }
}

/// Undoes every escape of `text` once and gives the octets; a `%` without two digits stays as it is.
#[must_use]
pub fn unescape(text: &str) -> Cow<'_, [u8]> {
    let octets = text.as_bytes();
    if !octets.contains(&b'%') {
        return Cow::Borrowed(octets);
    }
    let mut plain = Vec::with_capacity(octets.len());
    let mut at = 0;
    while let Some(octet) = octets.get(at) {
        match (*octet == b'%')
            .then(|| chars::escaped(octets, at))
            .flatten()
        {
            Some(value) => {
                plain.push(value);
                at += 3;
            }
            None => {
                plain.push(*octet);
                at += 1;
            }
        }
    }
    Cow::Owned(plain)
}

/// Gives the canonical form of the user of an address-of-record (RFC 3261 section 10.3 step 5).
///
/// Every escape is undone once; what `user` does not allow is escaped again, with upper-case digits.
/// The case is kept, because a user part is case-sensitive (section 19.1.4). Two user parts name the
/// same user exactly when their canonical forms are equal.
///
/// # Errors
/// Those of [`user`].
pub fn aor_user(text: &str) -> Result<Cow<'_, str>, Violation> {
    user(text)?;
    if !text.contains('%') {
        return Ok(Cow::Borrowed(text));
    }
    let mut canonical = String::with_capacity(text.len());
    for octet in unescape(text).iter() {
        if chars::is(*octet, UNRESERVED | USER) {
            canonical.push(char::from(*octet));
        } else {
            const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
            canonical.push('%');
            canonical.push(char::from(DIGITS[usize::from(octet >> 4)]));
            canonical.push(char::from(DIGITS[usize::from(octet & 15)]));
        }
    }
    Ok(Cow::Owned(canonical))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_teaches() {
        let violation = user("ab#c").unwrap_err();
        assert_eq!(
            (violation.rule, violation.byte_offset),
            (Rule::UserCharacter, 2)
        );
        let text = violation.to_string();
        assert!(text.starts_with("`#` at byte 2: ") && text.ends_with("(RFC 3261 section 25.1)"));
        assert!(
            user("caf\u{e9}")
                .unwrap_err()
                .to_string()
                .starts_with("U+00E9 at byte 3")
        );
        assert_eq!(user("a%4").unwrap_err().rule, Rule::Escape);
        assert_eq!(user("").unwrap_err().rule, Rule::UserEmpty);
    }

    #[test]
    fn a_password_in_a_uri_is_not_repeated() {
        assert_eq!(uri_password("se#cret").unwrap_err().character, None);
    }

    #[test]
    fn the_canonical_user_undoes_escapes_once() {
        for (given, canonical) in [
            ("alice", "alice"),
            ("%61lice", "alice"),
            ("a%2541", "a%2541"),
            ("a%23b", "a%23b"),
            ("a%c3%a9", "a%C3%A9"),
            ("%00", "%00"),
            ("Alice", "Alice"),
        ] {
            assert_eq!(aor_user(given).unwrap(), canonical, "{given}");
        }
    }
}

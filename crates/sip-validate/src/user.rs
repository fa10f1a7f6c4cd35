//! The `userinfo` of a SIP URI: its grammar, and the canonical form of the user of an
//! address-of-record.
//!
//! It must not know which names an endpoint may have; that is `name.rs`.

use std::borrow::Cow;

use crate::chars::{self, Octets, PASSWORD, UNRESERVED, USER};
use crate::{Rule, TelephoneSubscriber, Violation};

/// Checks `text` against `user` of RFC 3261 section 25.1.
///
/// The second alternative of `userinfo`, `telephone-subscriber`, adds nothing inside a SIP URI: its
/// characters outside `user` must be escaped there (RFC 3261 section 19.1.2).
///
/// # Errors
/// [`Rule::UserEmpty`], [`Rule::UserCharacter`] or [`Rule::Escape`], with the first offending octet.
///
/// ```
/// use sip_validate::user;
///
/// assert!(user("alice;x=1?").is_ok() && user("caf%C3%A9").is_ok());
/// assert_eq!(user("a b").unwrap_err().byte_offset, 1);
/// ```
pub fn user(text: &str) -> Result<(), Violation> {
    if text.is_empty() {
        return Err(Violation::at(Rule::UserEmpty, text, 0));
    }
    allowed(text, UNRESERVED | USER, Rule::UserCharacter)
}

/// Checks `text` against `user / telephone-subscriber`, both alternatives that a `userinfo` has by its
/// grammar (RFC 3261 section 25.1).
///
/// A text that only the second one takes, such as `#31#;phone-context=example.com`, must be escaped to stand
/// in a URI; what a product takes as a name is for its policy to say, as in [`endpoint_name`].
///
/// # Errors
/// Those of [`user`].
///
/// [`endpoint_name`]: crate::endpoint_name
///
/// ```
/// use sip_validate::user_or_subscriber;
///
/// assert!(user_or_subscriber("#31#;phone-context=example.com").is_ok());
/// assert!(user_or_subscriber("#31#").is_err());
/// ```
pub fn user_or_subscriber(text: &str) -> Result<(), Violation> {
    user(text).or_else(|violation| {
        TelephoneSubscriber::parse(text)
            .map(drop)
            .map_err(|_| violation)
    })
}

/// Checks `text` against `password` of RFC 3261 section 25.1, the part of a URI between `:` and `@`.
///
/// It may be empty. A password in a URI is discouraged: drop it before a URI is stored or logged.
///
/// # Errors
/// [`Rule::UriPassword`] or [`Rule::Escape`]; the violation never names a character.
pub fn uri_password(text: &str) -> Result<(), Violation> {
    allowed(text, UNRESERVED | PASSWORD, Rule::UriPassword).map_err(Violation::secret)
}

fn allowed(text: &str, classes: u16, rule: Rule) -> Result<(), Violation> {
    match chars::first_foreign(text.as_bytes(), classes) {
        None => Ok(()),
        Some(at) => Err(foreign(text, at, rule)),
    }
}

/// The violation of an octet of a text that is neither allowed nor part of an escape.
#[cold]
pub(crate) fn foreign(text: &str, at: usize, rule: Rule) -> Violation {
    let is_escape = text.as_bytes().get(at) == Some(&b'%');
    Violation::at(if is_escape { Rule::Escape } else { rule }, text, at)
}

/// Undoes every escape of `text` once and gives the octets; a `%` without two digits stays as it is.
///
/// ```
/// assert_eq!(*sip_validate::unescape("caf%C3%A9%25"), *"café%".as_bytes());
/// ```
#[must_use]
pub fn unescape(text: &str) -> Cow<'_, [u8]> {
    let octets = text.as_bytes();
    if octets.contains(&b'%') {
        Octets(octets).map(|(octet, _)| octet).collect()
    } else {
        Cow::Borrowed(octets)
    }
}

/// Gives the canonical form of the user of an address-of-record (RFC 3261 section 10.3 step 5).
///
/// Every escape is undone once; what `user` does not allow is escaped again, with upper-case digits.
/// The case is kept, because a user part is case-sensitive (section 19.1.4). Two user parts name the
/// same user exactly when their canonical forms are equal.
///
/// # Errors
/// Those of [`user`].
///
/// ```
/// use sip_validate::aor_user;
///
/// assert_eq!(aor_user("%61lice")?, "alice");
/// assert_eq!(aor_user("a%23%c3%a9")?, "a%23%C3%A9");
/// assert_ne!(aor_user("Alice")?, "alice");
/// # Ok::<(), sip_validate::Violation>(())
/// ```
pub fn aor_user(text: &str) -> Result<Cow<'_, str>, Violation> {
    user(text)?;
    Ok(canonical(text))
}

/// The canonical form of what is known to be a `user`.
pub(crate) fn canonical(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut canonical = String::with_capacity(text.len());
    for (octet, _) in Octets(text.as_bytes()) {
        chars::push(&mut canonical, octet, UNRESERVED | USER);
    }
    Cow::Owned(canonical)
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
        assert_eq!(user("a%4").unwrap_err().rule, Rule::Escape);
        assert_eq!(user("").unwrap_err().rule, Rule::UserEmpty);
    }

    #[test]
    fn a_password_in_a_uri_is_not_repeated() {
        for secret in ["se#cret", "se%cret"] {
            assert_eq!(uri_password(secret).unwrap_err().character, None);
        }
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

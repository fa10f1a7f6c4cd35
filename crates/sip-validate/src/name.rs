//! Which names an endpoint may have: a policy, narrower than the grammar of `user`.

use crate::chars::{self, UNRESERVED, USER};
use crate::{Rule, Violation};

/// The longest endpoint name, in octets. RFC 3261 sets no limit; this one keeps every address-of-record
/// inside one index key and one log line.
pub const ENDPOINT_NAME_BYTES_MAX: usize = 128;

/// Checks `text` against the rules for the name of an endpoint.
///
/// It is a `user` (RFC 3261 section 25.1) of at most [`ENDPOINT_NAME_BYTES_MAX`] octets in which no
/// escape hides white space, `@` or a control character: such a name could be mistaken for another
/// one wherever it is shown. Two names are the same when [`aor_user`](crate::aor_user) makes them equal.
///
/// # Errors
/// The first of [`endpoint_name_violations`].
///
/// ```
/// use sip_validate::{Rule, endpoint_name};
///
/// assert!(endpoint_name("1001*205").is_ok() && endpoint_name("caf%C3%A9").is_ok());
/// assert_eq!(endpoint_name("a%20b").unwrap_err().rule, Rule::NameEscapedCharacter);
/// ```
pub fn endpoint_name(text: &str) -> Result<(), Violation> {
    endpoint_name_violations(text).next().map_or(Ok(()), Err)
}

/// Everything that is wrong with a name, in the order of the text, its length last: what a form or an import shows.
///
/// At most one for each character and one for the length; none for a good name.
///
/// ```
/// use sip_validate::endpoint_name_violations;
///
/// let places: Vec<_> = endpoint_name_violations("a b#").map(|v| v.byte_offset).collect();
/// assert_eq!(places, [1, 3]);
/// ```
pub fn endpoint_name_violations(text: &str) -> impl Iterator<Item = Violation> + '_ {
    let empty = text
        .is_empty()
        .then(|| Violation::at(Rule::UserEmpty, text, 0));
    let mut at = 0;
    let characters = std::iter::from_fn(move || {
        while let Some(character) = text.get(at..).and_then(|rest| rest.chars().next()) {
            let here = at;
            let rule = match character {
                '%' => match chars::escaped(text.as_bytes(), at) {
                    Some(octet) => {
                        at += 3;
                        let is_hidden = octet <= b' ' || octet == 0x7f || octet == b'@';
                        is_hidden.then_some(Rule::NameEscapedCharacter)
                    }
                    None => {
                        at += 1;
                        Some(Rule::Escape)
                    }
                },
                _ => {
                    at += character.len_utf8();
                    let octet = u8::try_from(character);
                    let is_allowed = octet.is_ok_and(|o| chars::is(o, UNRESERVED | USER));
                    (!is_allowed).then_some(Rule::UserCharacter)
                }
            };
            if let Some(rule) = rule {
                return Some(Violation::at(rule, text, here));
            }
        }
        None
    });
    let too_long = (text.len() > ENDPOINT_NAME_BYTES_MAX)
        .then(|| Violation::at(Rule::NameTooLong, text, ENDPOINT_NAME_BYTES_MAX));
    empty.into_iter().chain(characters).chain(too_long)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_border_is_128_octets() {
        assert_eq!(endpoint_name(&"a".repeat(128)), Ok(()));
        let violation = endpoint_name(&"a".repeat(129)).unwrap_err();
        assert_eq!(
            (violation.rule, violation.byte_offset),
            (Rule::NameTooLong, 128)
        );
    }

    #[test]
    fn every_violation_is_told() {
        let text = format!("\u{e9} %4%20{}", "b".repeat(121));
        let found: Vec<_> = endpoint_name_violations(&text)
            .map(|v| (v.rule, v.byte_offset, v.character))
            .collect();
        assert_eq!(
            found,
            [
                (Rule::UserCharacter, 0, Some('\u{e9}')),
                (Rule::UserCharacter, 2, Some(' ')),
                (Rule::Escape, 3, Some('%')),
                (Rule::NameEscapedCharacter, 5, Some('%')),
                (Rule::NameTooLong, 128, Some('b')),
            ]
        );
        assert_eq!(endpoint_name_violations("").count(), 1);
    }
}

//! Which names an endpoint may have: a policy, narrower than the grammar of `user`.

use crate::{Rule, Violation, chars, user};

/// The longest endpoint name, in octets. RFC 3261 sets no limit; this one keeps every address-of-record
/// inside one index key and one log line.
pub const ENDPOINT_NAME_BYTES_MAX: usize = 128;

/// Checks `text` against the rules for the name of an endpoint.
///
/// It is a `user` (RFC 3261 section 25.1) of at most [`ENDPOINT_NAME_BYTES_MAX`] octets in which no
/// escape hides white space, `@` or a control character: such a name could be mistaken for another
/// one wherever it is shown.
///
/// # Errors
/// Those of [`user`], [`Rule::NameTooLong`] and [`Rule::NameEscapedCharacter`].
pub fn endpoint_name(text: &str) -> Result<(), Violation> {
    user(text)?;
    if text.len() > ENDPOINT_NAME_BYTES_MAX {
        return Err(Violation::at(
            Rule::NameTooLong,
            text,
            ENDPOINT_NAME_BYTES_MAX,
        ));
    }
    let octets = text.as_bytes();
    for (at, _) in octets.iter().enumerate().filter(|(_, o)| **o == b'%') {
        if chars::escaped(octets, at).is_some_and(|o| o <= 0x20 || o == 0x7f || o == b'@') {
            return Err(Violation::at(Rule::NameEscapedCharacter, text, at));
        }
    }
    Ok(())
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
}

//! Which passwords an endpoint may have. A violation names a place, never a character.

use crate::{Rule, Violation};

/// The least number of characters (not octets) of an endpoint password.
pub const ENDPOINT_PASSWORD_CHARS_MIN: usize = 6;

/// Checks `text` against the rules for the password of an endpoint.
///
/// At least [`ENDPOINT_PASSWORD_CHARS_MIN`] characters, each a graphic character or a space of
/// ISO 8859-1: at most U+00FF, no C0 or C1 control and no DEL. Passwords are case-sensitive.
///
/// # Errors
/// [`Rule::PasswordCharacter`] at the first such character, or [`Rule::PasswordTooShort`].
pub fn endpoint_password(text: &str) -> Result<(), Violation> {
    let refused = |rule, byte_offset| Violation {
        rule,
        byte_offset,
        character: None,
    };
    if let Some((at, _)) = text
        .char_indices()
        .find(|(_, c)| c.is_control() || *c > '\u{ff}')
    {
        return Err(refused(Rule::PasswordCharacter, at));
    }
    if text.chars().count() < ENDPOINT_PASSWORD_CHARS_MIN {
        return Err(refused(Rule::PasswordTooShort, text.len()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_never_in_the_error() {
        let violation = endpoint_password("geheim\u{20ac}").unwrap_err();
        assert_eq!(violation.character, None);
        assert!(!format!("{violation} {violation:?}").contains('\u{20ac}'));
    }
}

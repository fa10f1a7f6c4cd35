//! What is wrong with a text, so that a person can correct it.
//!
//! It must not carry the text itself: that may be a password.

use std::fmt;

/// A rule that a text can break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// A user part has at least one character.
    UserEmpty,
    /// A user part holds only `unreserved`, `escaped` and `user-unreserved`.
    UserCharacter,
    /// A `%` is followed by two hexadecimal digits.
    Escape,
    /// An endpoint name has at most [`crate::ENDPOINT_NAME_BYTES_MAX`] octets.
    NameTooLong,
    /// An endpoint name does not hide white space, `@` or a control character behind an escape.
    NameEscapedCharacter,
    /// A host is not empty.
    HostEmpty,
    /// A host name holds only letters, digits, `-` and `.`.
    HostCharacter,
    /// A label of a host name is not empty and neither starts nor ends with `-`.
    HostLabel,
    /// The last label of a host name starts with a letter.
    HostTopLabel,
    /// A host name has at most 253 octets and its labels at most 63.
    HostTooLong,
    /// An IPv4 address has four numbers from 0 to 255 without leading zeros.
    HostIpv4,
    /// An IPv6 address stands in brackets and has no zone.
    HostIpv6,
    /// A port is a decimal number from 1 to 65535.
    Port,
    /// The scheme is `sip` or `sips`.
    UriScheme,
    /// A password in a URI holds only `unreserved`, `escaped` and `&=+$,`.
    UriPassword,
    /// What follows the host starts with `:`, `;` or `?`.
    UriAfterHost,
    /// A URI parameter is a name, or a name and a value, of allowed characters.
    UriParameter,
    /// A known URI parameter has a value of its own form.
    UriParameterValue,
    /// A URI parameter occurs only once.
    UriParameterTwice,
    /// A URI has at most [`crate::URI_PARAMETERS_MAX`] parameters.
    UriParametersTooMany,
    /// A `sips` URI is not sent over UDP.
    UriSipsOverUdp,
    /// A URI header is a name, `=`, and a value of allowed characters.
    UriHeader,
    /// A password has at least [`crate::ENDPOINT_PASSWORD_CHARS_MIN`] characters.
    PasswordTooShort,
    /// A password holds only printable characters of ISO 8859-1.
    PasswordCharacter,
    /// A telephone number is `+`, digits and the separators `-`, `.`, `(`, `)` and space.
    NumberCharacter,
    /// A telephone number starts with `+` and a digit from 1 to 9.
    NumberCountryCode,
    /// A telephone number has at most [`crate::E164_DIGITS_MAX`] digits.
    NumberTooLong,
}

impl Rule {
    /// The rule as a sentence without a full stop, for people.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::UserEmpty => "a SIP user part needs at least one character",
            Self::UserCharacter => {
                "a SIP user part may hold letters, digits and -_.!~*'()&=+$,;?/ ; anything else is written as % and two hexadecimal digits"
            }
            Self::Escape => "a % must be followed by two hexadecimal digits",
            Self::NameTooLong => "an endpoint name has at most 128 octets",
            Self::NameEscapedCharacter => {
                "an endpoint name must not contain white space, @ or a control character, not even as an escape"
            }
            Self::HostEmpty => "a host must not be empty",
            Self::HostCharacter => "a host name may hold letters, digits, - and . only",
            Self::HostLabel => {
                "the labels of a host name are not empty and neither start nor end with -"
            }
            Self::HostTopLabel => "the last label of a host name starts with a letter",
            Self::HostTooLong => {
                "a host name has at most 253 octets and each label of it at most 63"
            }
            Self::HostIpv4 => {
                "an IPv4 address has four numbers from 0 to 255 without leading zeros"
            }
            Self::HostIpv6 => "an IPv6 address is written in brackets and without a zone",
            Self::Port => "a port is a number from 1 to 65535",
            Self::UriScheme => "a SIP URI starts with sip: or sips:",
            Self::UriPassword => {
                "the password of a SIP URI may hold letters, digits, escapes and -_.!~*'()&=+$, only"
            }
            Self::UriAfterHost => {
                "the host of a SIP URI may be followed by :port, ;parameters and ?headers only"
            }
            Self::UriParameter => "a URI parameter is ;name or ;name=value",
            Self::UriParameterValue => "this URI parameter has a value that it cannot take",
            Self::UriParameterTwice => "a URI parameter must not appear more than once",
            Self::UriParametersTooMany => "a URI has at most 32 parameters",
            Self::UriSipsOverUdp => "a sips URI needs a reliable transport, UDP is none",
            Self::UriHeader => "a URI header is name=value, separated by &",
            Self::PasswordTooShort => "a password needs at least 6 characters",
            Self::PasswordCharacter => {
                "a password may hold printable characters of ISO 8859-1 (up to U+00FF) only"
            }
            Self::NumberCharacter => {
                "a telephone number may hold digits and the separators - . ( ) and space only"
            }
            Self::NumberCountryCode => {
                "a telephone number starts with + and a country code, which does not start with 0"
            }
            Self::NumberTooLong => "a telephone number has at most 15 digits",
        }
    }

    /// Where the rule is written, such as `RFC 3261 section 25.1`; `policy` where it is our own choice.
    #[must_use]
    pub fn rfc(self) -> &'static str {
        match self {
            Self::UserEmpty
            | Self::UserCharacter
            | Self::Escape
            | Self::UriPassword
            | Self::UriParameter
            | Self::UriHeader => "RFC 3261 section 25.1",
            Self::HostEmpty | Self::HostCharacter | Self::HostLabel | Self::HostTopLabel => {
                "RFC 3261 section 25.1"
            }
            Self::HostTooLong => "RFC 1035 section 2.3.4",
            Self::HostIpv4 | Self::HostIpv6 => "RFC 5954 section 4.1",
            Self::Port => "RFC 3261 section 25.1, policy",
            Self::UriScheme
            | Self::UriAfterHost
            | Self::UriParameterValue
            | Self::UriParameterTwice => "RFC 3261 section 19.1.1",
            Self::UriSipsOverUdp => "RFC 3261 section 19.1.1",
            Self::NameTooLong
            | Self::NameEscapedCharacter
            | Self::UriParametersTooMany
            | Self::PasswordTooShort => "policy",
            Self::PasswordCharacter => "ISO 8859-1, policy",
            Self::NumberCharacter => "RFC 3966 section 3",
            Self::NumberCountryCode | Self::NumberTooLong => "ITU-T E.164 section 6.2",
        }
    }
}

/// A broken rule and the place where the text breaks it.
///
/// Its `Display` text is one sentence for the person who wrote the text. A violation of a password
/// rule names the place only, never a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation {
    /// The broken rule.
    pub rule: Rule,
    /// The offset, in octets of the UTF-8 text, where the rule is broken first.
    pub byte_offset: usize,
    /// The character at that place; `None` at the end of the text, and always for a password.
    pub character: Option<char>,
}

impl Violation {
    /// Where the rule is written; the same as [`Rule::rfc`].
    #[must_use]
    pub fn rfc(&self) -> &'static str {
        self.rule.rfc()
    }

    pub(crate) fn at(rule: Rule, text: &str, byte_offset: usize) -> Self {
        // The offset comes from a search over octets and always lies on the first octet of a character.
        let character = text.get(byte_offset..).and_then(|rest| rest.chars().next());
        Self {
            rule,
            byte_offset,
            character,
        }
    }

    /// The same violation seen from a text in which this one starts at `by`.
    pub(crate) fn moved(self, by: usize) -> Self {
        Self {
            byte_offset: self.byte_offset + by,
            ..self
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.character {
            Some(c) if c.is_ascii_graphic() => write!(f, "`{c}` at byte {}: ", self.byte_offset)?,
            Some(c) => write!(f, "U+{:04X} at byte {}: ", u32::from(c), self.byte_offset)?,
            None => write!(f, "at byte {}: ", self.byte_offset)?,
        }
        write!(f, "{} ({})", self.rule.text(), self.rfc())
    }
}

impl std::error::Error for Violation {}

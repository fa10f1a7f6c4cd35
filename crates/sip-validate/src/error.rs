//! What is wrong with a text, so that a person can correct it.
//!
//! It must not carry the text itself: that may be a password.

use std::fmt;

/// Declares [`Rule`]: each rule with its documentation, its sentence and its source in one place.
macro_rules! rules {
    ($($(#[$documentation:meta])+ $name:ident => $text:literal, $rfc:literal;)+) => {
        /// A rule that a text can break.
        ///
        /// The names are stable; new ones may come.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Rule {
            $($(#[$documentation])+ $name,)+
        }

        impl Rule {
            /// Every rule, in the order of this page.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The rule as a sentence without a full stop, for people.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }

            /// Where the rule is written, such as `RFC 3261 section 25.1`; `policy` where it is our own choice.
            #[must_use]
            pub fn rfc(self) -> &'static str {
                match self {
                    $(Self::$name => $rfc,)+
                }
            }
        }
    };
}

rules! {
    /// A user part has at least one character.
    UserEmpty => "a SIP user part needs at least one character", "RFC 3261 section 25.1";
    /// A user part holds only `unreserved`, `escaped` and `user-unreserved`.
    UserCharacter =>
        "a SIP user part may hold letters, digits and -_.!~*'()&=+$,;?/ ; anything else is written as % and two hexadecimal digits",
        "RFC 3261 section 25.1";
    /// A `%` is followed by two hexadecimal digits.
    Escape => "a % must be followed by two hexadecimal digits", "RFC 3261 section 25.1";
    /// An endpoint name has at most [`ENDPOINT_NAME_BYTES_MAX`](crate::ENDPOINT_NAME_BYTES_MAX) octets.
    NameTooLong => "an endpoint name has at most 128 octets", "policy";
    /// An endpoint name does not hide white space, `@` or a control character behind an escape.
    NameEscapedCharacter =>
        "an endpoint name must not contain white space, @ or a control character, not even as an escape",
        "policy";

    /// A host is not empty.
    HostEmpty => "a host must not be empty", "RFC 3261 section 25.1";
    /// A host name holds only letters, digits, `-` and `.`.
    HostCharacter => "a host name may hold letters, digits, - and . only", "RFC 3261 section 25.1";
    /// A label of a host name is not empty and neither starts nor ends with `-`.
    HostLabel => "the labels of a host name are not empty and neither start nor end with -", "RFC 3261 section 25.1";
    /// The last label of a host name starts with a letter.
    HostTopLabel => "the last label of a host name starts with a letter", "RFC 3261 section 25.1";
    /// A host name has at most 253 octets and its labels at most 63.
    HostTooLong => "a host name has at most 253 octets and each label of it at most 63", "RFC 1035 section 2.3.4";
    /// An IPv4 address has four numbers from 0 to 255 without leading zeros.
    HostIpv4 => "an IPv4 address has four numbers from 0 to 255 without leading zeros", "RFC 5954 section 4.1";
    /// An IPv6 address stands in brackets and has no zone.
    HostIpv6 => "an IPv6 address is written in brackets and without a zone", "RFC 5954 section 4.1";
    /// A port is a decimal number from 1 to 65535.
    Port => "a port is a number from 1 to 65535", "RFC 3261 section 25.1, policy";

    /// The scheme is `sip` or `sips`.
    UriScheme => "a SIP URI starts with sip: or sips:", "RFC 3261 section 19.1.1";
    /// A password in a URI holds only `unreserved`, `escaped` and `&=+$,`.
    UriPassword =>
        "the password of a SIP URI may hold letters, digits, escapes and -_.!~*'()&=+$, only",
        "RFC 3261 section 25.1";
    /// What follows the host starts with `:`, `;` or `?`.
    UriAfterHost =>
        "the host of a SIP URI may be followed by :port, ;parameters and ?headers only",
        "RFC 3261 section 19.1.1";
    /// A URI parameter is a name, or a name and a value, of allowed characters.
    UriParameter => "a URI parameter is ;name or ;name=value", "RFC 3261 section 25.1";
    /// A known URI parameter has a value of its own form.
    UriParameterValue =>
        "transport, user and method take a token without %, ttl a number up to 255, maddr a host, and lr no value",
        "RFC 3261 section 25.1";
    /// A URI parameter occurs only once.
    UriParameterTwice => "a URI parameter must not appear more than once", "RFC 3261 section 19.1.1";
    /// A URI has at most [`URI_PARAMETERS_MAX`](crate::URI_PARAMETERS_MAX) parameters.
    UriParametersTooMany => "a URI has at most 32 parameters", "policy";
    /// A `sips` URI is not sent over UDP.
    UriSipsOverUdp => "a sips URI needs a reliable transport, UDP is none", "RFC 3261 section 19.1.1";
    /// A URI header is a name, `=`, and a value of allowed characters.
    UriHeader => "a URI header is name=value, separated by &", "RFC 3261 section 25.1";
    /// A URI has at most [`URI_HEADERS_MAX`](crate::URI_HEADERS_MAX) headers.
    UriHeadersTooMany => "a URI has at most 32 headers", "policy";

    /// The scheme is `tel`.
    TelScheme => "a tel URI starts with tel:", "RFC 3966 section 3";
    /// A global number holds digits and separators; a local one also `A` to `F`, `*` and `#`.
    TelCharacter =>
        "a telephone number may hold digits and the separators - . ( ) and, without a +, also A to F, * and #",
        "RFC 3966 section 3";
    /// A number has at least one digit.
    TelDigits => "a telephone number has at least one digit", "RFC 3966 section 3";
    /// A local number says where it is valid.
    TelContextMissing => "a number without + needs ;phone-context=", "RFC 3966 section 5.1.5";
    /// A context is a domain name, or `+` and digits.
    TelContext => "phone-context is a domain name, or + and digits", "RFC 3966 section 5.1.5";
    /// A global number has no context.
    TelContextOnGlobal => "a number with + has no phone-context", "RFC 3966 section 5.1.5";
    /// A parameter is a name, or a name and a value, of allowed characters.
    TelParameter =>
        "a parameter of a telephone number is ;name or ;name=value, with a name of letters, digits and -",
        "RFC 3966 section 3";
    /// `ext` and `isub` have a value of their own form.
    TelParameterValue => "ext takes digits, and isub the characters of a URI but ;", "RFC 3966 section 3";
    /// A parameter occurs only once.
    TelParameterTwice => "a parameter of a telephone number must not appear more than once", "RFC 3966 section 3";
    /// A number has at most [`TEL_PARAMETERS_MAX`](crate::TEL_PARAMETERS_MAX) parameters.
    TelParametersTooMany => "a telephone number has at most 32 parameters", "policy";
    /// A number has an extension or an ISDN subaddress, not both.
    TelIsubAndExt => "a telephone number has isub or ext, not both", "RFC 3966 section 3";

    /// A telephone number is `+`, digits and the separators `-`, `.`, `(`, `)` and space.
    NumberCharacter => "a telephone number may hold digits and the separators - . ( ) and space only", "RFC 3966 section 3";
    /// A telephone number starts with `+` and a digit from 1 to 9.
    NumberCountryCode =>
        "a telephone number starts with + and a country code, which does not start with 0",
        "ITU-T E.164 section 6.2";
    /// A telephone number has at most [`E164_DIGITS_MAX`](crate::E164_DIGITS_MAX) digits.
    NumberTooLong => "a telephone number has at most 15 digits", "ITU-T E.164 section 6.2";

    /// A password has at least [`ENDPOINT_PASSWORD_CHARS_MIN`](crate::ENDPOINT_PASSWORD_CHARS_MIN) characters.
    PasswordTooShort => "a password needs at least 6 characters", "policy";
    /// A password holds only printable characters of ISO 8859-1.
    PasswordCharacter =>
        "a password may hold printable characters of ISO 8859-1 (up to U+00FF) only",
        "ISO 8859-1, policy";

    /// A token is not empty and holds only letters, digits and some marks.
    Token => "a token is one or more letters, digits and -.!%*_+`'~", "RFC 3261 section 25.1";
    /// A Call-ID is a word, or two with an `@` between.
    CallId =>
        "a Call-ID is one or more letters, digits and -.!%*_+`'~()<>:\\\"/[]?{} , with at most one @ between",
        "RFC 3261 section 25.1";
    /// CSeq is a number, white space and a method.
    CSeq => "CSeq is a number, white space and a method", "RFC 3261 section 25.1";
    /// The number of CSeq is less than 2^31 in what we write, and less than 2^32 in what we read.
    CSeqNumber => "the number of CSeq is less than 2147483648", "RFC 3261 section 8.1.1.5";
    /// A date has the form of RFC 1123 and ends with `GMT`.
    Date => "a date is written as in Sat, 13 Nov 2010 23:29:00 GMT", "RFC 3261 section 25.1";
    /// A date is in the calendar, and its day of the week is right.
    DateCalendar => "a date exists in the calendar, has its day of the week and a time of day", "RFC 3261 section 20.17";
    /// A display name is some tokens or one quoted string.
    DisplayName => "a display name is some tokens with white space between, or one quoted string", "RFC 3261 section 25.1";
    /// A quoted string ends with a `"` and has no bare line end.
    QuotedString => "a quoted string ends with \" and holds no line end", "RFC 3261 section 25.1";
    /// A display name that we write has no control characters.
    DisplayNameControl => "a display name must not contain control characters", "RFC 3261 section 25.1, policy";
    /// A media type is a type, a subtype and parameters.
    MediaType => "a media type is type/subtype, followed by parameters as in ;name=value", "RFC 3261 section 25.1";
}

/// A broken rule and the place where the text breaks it.
///
/// Its `Display` text is one sentence for the person who wrote the text. A violation of a password
/// rule names the place only, never a character.
///
/// ```
/// let violation = sip_validate::user("alice#1").unwrap_err();
/// assert_eq!(violation.rule, sip_validate::Rule::UserCharacter);
/// assert_eq!((violation.byte_offset, violation.character), (5, Some('#')));
/// assert_eq!(violation.rfc(), "RFC 3261 section 25.1");
/// assert!(violation.to_string().starts_with("`#` at byte 5 (written as %23 it is allowed): a SIP user part"));
/// ```
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

    #[cold]
    pub(crate) fn at(rule: Rule, text: &str, byte_offset: usize) -> Self {
        // An offset inside a character, as a limit of length may give it, names none.
        let character = text.get(byte_offset..).and_then(|rest| rest.chars().next());
        Self {
            rule,
            byte_offset,
            character,
        }
    }

    /// The same violation without the character, for texts that are secret.
    #[cold]
    pub(crate) fn secret(self) -> Self {
        Self {
            character: None,
            ..self
        }
    }

    /// The same violation seen from a text in which this one starts at `by`.
    #[cold]
    pub(crate) fn moved(self, by: usize) -> Self {
        Self {
            byte_offset: self.byte_offset.saturating_add(by),
            ..self
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.character {
            Some(c) if c.is_ascii_graphic() => write!(f, "`{c}` at byte {}", self.byte_offset)?,
            Some(c) => write!(f, "U+{:04X} at byte {}", u32::from(c), self.byte_offset)?,
            None => write!(f, "at byte {}", self.byte_offset)?,
        }
        if let (Rule::UserCharacter, Some(c)) = (self.rule, self.character) {
            // The policy for names refuses these even as an escape: then there is nothing to propose.
            if !c.is_whitespace() && !c.is_control() && c != '@' {
                f.write_str(" (written as ")?;
                for octet in c.encode_utf8(&mut [0; 4]).bytes() {
                    write!(f, "%{octet:02X}")?;
                }
                f.write_str(" it is allowed)")?;
            }
        }
        write!(f, ": {} ({})", self.rule.text(), self.rfc())
    }
}

impl std::error::Error for Violation {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_a_sentence_and_a_source() {
        for (at, rule) in Rule::ALL.iter().enumerate() {
            let (text, rfc) = (rule.text(), rule.rfc());
            assert!(!text.is_empty() && !text.ends_with('.'), "{rule:?}");
            assert!(
                ["RFC ", "ITU-T ", "ISO ", "policy"]
                    .iter()
                    .any(|source| rfc.starts_with(source)),
                "{rule:?}"
            );
            assert!(
                Rule::ALL
                    .iter()
                    .skip(at + 1)
                    .all(|other| other.text() != text),
                "{rule:?}"
            );
        }
    }

    #[test]
    fn a_violation_reads_well() {
        for (given, start) in [
            (
                "a#",
                "`#` at byte 1 (written as %23 it is allowed): a SIP user part may",
            ),
            (
                "caf\u{e9}",
                "U+00E9 at byte 3 (written as %C3%A9 it is allowed): a SIP user",
            ),
            ("a b", "U+0020 at byte 1: a SIP user part may"),
            (
                "",
                "at byte 0: a SIP user part needs at least one character (RFC 3261 section 25.1)",
            ),
            (
                "a%4",
                "`%` at byte 1: a % must be followed by two hexadecimal digits (RFC",
            ),
        ] {
            let text = crate::user(given).unwrap_err().to_string();
            assert!(text.starts_with(start), "{text}");
        }
    }
}

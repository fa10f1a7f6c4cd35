//! Telephone numbers as `tel` URIs and user parts carry them (RFC 3966), and their way into SIP URIs.
//!
//! It must not know which numbers exist or who has them.

use std::fmt;

use crate::chars::{
    self, ALPHANUM, Octets, PARAM, PHONE, PHONE_HEX, SEPARATOR, UNRESERVED, URIC, USER,
};
use crate::host::hostname;
use crate::number::country_and_length;
use crate::uri::{Mode, pairs};
use crate::{Host, Rule, Scheme, Violation};

/// The most parameters of one number. The grammar has no limit; without one, the check that no name
/// occurs twice would take quadratic time on hostile input.
pub const TEL_PARAMETERS_MAX: usize = 32;

/// A `tel` URI (RFC 3966) whose parts borrow from the text.
///
/// ```
/// use sip_validate::{Host, Scheme, TelUri};
///
/// let tel = TelUri::parse("TEL:+358-555-1234567;POSTD=PP22")?;
/// assert!(tel.is_equivalent(&TelUri::parse("tel:+3585551234567;postd=pp22")?));
/// assert_eq!(
///     tel.to_sip(Scheme::Sip, &Host::parse("foo.com")?),
///     "sip:+358-555-1234567;postd=pp22@foo.com;user=phone"
/// );
/// // A number without + must say where it is valid.
/// assert!(TelUri::parse("tel:1001").is_err() && TelUri::parse("tel:1001;phone-context=example.com").is_ok());
/// # Ok::<(), sip_validate::Violation>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TelUri<'a> {
    /// What follows `tel:`.
    pub subscriber: TelephoneSubscriber<'a>,
}

impl<'a> TelUri<'a> {
    /// Reads a URI strictly, as [`TelephoneSubscriber::parse`] reads its number.
    ///
    /// # Errors
    /// [`Rule::TelScheme`], or the violated rule; offsets count from the start of `text`.
    pub fn parse(text: &'a str) -> Result<Self, Violation> {
        Self::read(text, Mode::Strict)
    }

    /// Reads a URI tolerantly, as [`TelephoneSubscriber::parse_received`] reads its number.
    ///
    /// # Errors
    /// Those of [`TelUri::parse`].
    pub fn parse_received(text: &'a str) -> Result<Self, Violation> {
        Self::read(text, Mode::Received)
    }

    fn read(text: &'a str, mode: Mode) -> Result<Self, Violation> {
        match text.split_once(':') {
            Some((scheme, number)) if scheme.eq_ignore_ascii_case("tel") => {
                let subscriber = TelephoneSubscriber::read(number, mode)
                    .map_err(|v| v.moved(text.len() - number.len()))?;
                Ok(Self { subscriber })
            }
            _ => Err(Violation::at(Rule::TelScheme, text, 0)),
        }
    }

    /// Whether both URIs are equivalent (RFC 3966 section 4); see [`TelephoneSubscriber::is_equivalent`].
    #[must_use]
    pub fn is_equivalent(&self, other: &TelUri<'_>) -> bool {
        self.subscriber.is_equivalent(&other.subscriber)
    }

    /// The URI in its one form; see [`TelephoneSubscriber::canonical`].
    #[must_use]
    pub fn canonical(&self) -> String {
        self.subscriber.write("tel:", Form::Canonical)
    }

    /// The URI as the user part of a SIP URI (RFC 3261 section 19.1.6).
    ///
    /// All of it goes into the user part, in lower case, with its parameters ordered as RFC 3966 section 3 demands
    /// and with its separators; characters that `user` does not have are escaped; `user=phone` is added.
    /// [`SipUri::to_tel`](crate::SipUri::to_tel) goes back.
    #[must_use]
    pub fn to_sip(&self, scheme: Scheme, host: &Host<'_>) -> String {
        let prefix = match scheme {
            Scheme::Sip => "sip:",
            Scheme::Sips => "sips:",
        };
        let user = self.subscriber.write(prefix, Form::User);
        format!("{user}@{host};user=phone")
    }
}

impl fmt::Display for TelUri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tel:{}", self.subscriber)
    }
}

impl<'a> TryFrom<&'a str> for TelUri<'a> {
    type Error = Violation;

    /// Reads a URI strictly, as [`TelUri::parse`] does.
    fn try_from(text: &'a str) -> Result<Self, Violation> {
        Self::parse(text)
    }
}

/// A `telephone-subscriber` (RFC 3966 section 3): a number and its parameters, borrowed from the text.
///
/// A global number starts with `+`. A local one may have letters of hexadecimal digits, `*` and `#`, and has
/// a `phone-context`: `1001` alone is none, though it is a fine [`user`](crate::user).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TelephoneSubscriber<'a> {
    number: &'a str,
    parameters: &'a str,
}

impl<'a> TelephoneSubscriber<'a> {
    /// Reads a number strictly, as for one that a person creates.
    ///
    /// Beyond the grammar no parameter may occur twice, `isub` and `ext` not both, a global number has the form of
    /// E.164 and no `phone-context`. Parameters may stand in any order; [`canonical`](Self::canonical) has the
    /// order that a writer must keep.
    ///
    /// # Errors
    /// The violated rule with its place.
    pub fn parse(text: &'a str) -> Result<Self, Violation> {
        Self::read(text, Mode::Strict)
    }

    /// Reads a number tolerantly, as it may stand in a received message.
    ///
    /// Beyond [`parse`](Self::parse) it takes more than 15 digits, country codes with a leading 0, `isub` beside
    /// `ext`, a context on a global number, and known parameters with any value that an unknown one may have.
    ///
    /// # Errors
    /// Those of [`parse`](Self::parse).
    pub fn parse_received(text: &'a str) -> Result<Self, Violation> {
        Self::read(text, Mode::Received)
    }

    fn read(text: &'a str, mode: Mode) -> Result<Self, Violation> {
        let (number, parameters) = match text.split_once(';') {
            Some((number, parameters)) => (number, Some(parameters)),
            None => (text, None),
        };
        let subscriber = Self {
            number,
            parameters: parameters.unwrap_or_default(),
        };
        number_check(number, mode)?;
        let has_context = match parameters {
            Some(parameters) => parameters_check(parameters, subscriber.is_global(), mode)
                .map_err(|v| v.moved(number.len() + 1))?,
            None => false,
        };
        if has_context || subscriber.is_global() {
            Ok(subscriber)
        } else {
            Err(Violation::at(Rule::TelContextMissing, text, text.len()))
        }
    }

    /// Whether it is a global number, which starts with `+`.
    #[must_use]
    pub fn is_global(&self) -> bool {
        self.number.starts_with('+')
    }

    /// The number as written, with its `+` and its separators; [`e164`](crate::e164) normalises a global one.
    #[must_use]
    pub fn number(&self) -> &'a str {
        self.number
    }

    /// The parameters in the order of the text: name, and value when there is an `=`, both as written.
    pub fn parameters(&self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> + Clone + use<'a> {
        pairs(self.parameters, ';')
    }

    /// The value of the parameter `name`, compared without regard to case; `Some("")` when it has none.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&'a str> {
        let mut parameters = self.parameters();
        parameters.find_map(|(n, value)| {
            n.eq_ignore_ascii_case(name)
                .then(|| value.unwrap_or_default())
        })
    }

    /// Whether both are the same number (RFC 3966 section 4): the same digits and the same parameters in any order,
    /// without regard to separators and case.
    ///
    /// The RFC does not speak of escapes: here one is its character. Two numbers are equivalent exactly when
    /// their [canonical forms](Self::canonical) are equal.
    #[must_use]
    pub fn is_equivalent(&self, other: &TelephoneSubscriber<'_>) -> bool {
        let others = || other.parameters();
        let has = |(name, value): (&str, Option<&str>)| {
            let kind = Kind::of(name);
            let found = others().find(|(other, _)| other.eq_ignore_ascii_case(name));
            found.is_some_and(|(_, other)| match (value, other) {
                (Some(a), Some(b)) => folded(kind, a, true).eq(folded(kind, b, true)),
                (a, b) => a == b,
            })
        };
        digits(self.number).eq(digits(other.number))
            && self.parameters().count() == others().count()
            && self.parameters().all(has)
    }

    /// The number in its one form: without separators, in lower case, `isub` or `ext` first, then `phone-context`,
    /// then the rest by name, with only the escapes that are needed.
    ///
    /// ```
    /// use sip_validate::TelephoneSubscriber;
    ///
    /// let number = TelephoneSubscriber::parse("1-A;b=%41;Phone-Context=+49-(30);ext=1.2")?;
    /// assert_eq!(number.canonical(), "1a;ext=12;phone-context=+4930;b=a");
    /// # Ok::<(), sip_validate::Violation>(())
    /// ```
    #[must_use]
    pub fn canonical(&self) -> String {
        self.write("", Form::Canonical)
    }

    fn write(&self, prefix: &str, form: Form) -> String {
        let length = prefix.len() + self.number.len() + self.parameters.len() + 1;
        let mut text = String::with_capacity(length);
        text.push_str(prefix);
        for octet in self.number.bytes().map(|octet| octet.to_ascii_lowercase()) {
            if form == Form::User || !chars::is(octet, SEPARATOR) {
                form.push(&mut text, octet, PHONE_HEX | USER);
            }
        }
        let mut parameters: Vec<_> = self
            .parameters()
            .map(|(name, value)| (Kind::of(name), name.to_ascii_lowercase(), value))
            .collect();
        parameters.sort_unstable();
        for (kind, name, value) in parameters {
            text.push(';');
            text.push_str(&name);
            let Some(value) = value else { continue };
            text.push('=');
            let classes = match kind {
                Kind::Isub => UNRESERVED | URIC,
                Kind::Ext | Kind::Context | Kind::Other => UNRESERVED | PARAM,
            };
            let octets = folded(kind, value, form == Form::Canonical);
            octets.for_each(|octet| form.push(&mut text, octet, classes));
        }
        text
    }
}

impl fmt::Display for TelephoneSubscriber<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.number)?;
        if !self.parameters.is_empty() {
            write!(f, ";{}", self.parameters)?;
        }
        Ok(())
    }
}

/// What a number is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A key: without separators.
    Canonical,
    /// The user part of a SIP URI: with separators, and with what `user` does not allow escaped.
    User,
}

impl Form {
    fn push(self, text: &mut String, octet: u8, classes: u16) {
        let is_raw = match self {
            Self::Canonical => true,
            Self::User => chars::is(octet, UNRESERVED | USER),
        };
        chars::push(text, octet, if is_raw { classes } else { 0 });
    }
}

/// The parameters that have a production of their own, in the order in which they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Isub,
    Ext,
    Context,
    Other,
}

impl Kind {
    fn of(name: &str) -> Self {
        match name.len() {
            3 if name.eq_ignore_ascii_case("ext") => Self::Ext,
            4 if name.eq_ignore_ascii_case("isub") => Self::Isub,
            13 if name.eq_ignore_ascii_case("phone-context") => Self::Context,
            _ => Self::Other,
        }
    }

    /// Whether the value is of the parameter's own production.
    fn takes(self, value: Option<&str>) -> bool {
        match (self, value) {
            (Self::Other, value) => is_generic(value),
            (_, None) => false,
            (Self::Isub, Some(value)) => {
                !value.is_empty()
                    && chars::first_foreign(value.as_bytes(), UNRESERVED | URIC).is_none()
            }
            (Self::Ext, Some(value)) => !value.is_empty() && chars::all(value, PHONE),
            (Self::Context, Some(value)) => match value.strip_prefix('+') {
                Some(digits) => chars::all(digits, PHONE) && has_digit(digits),
                None => hostname(value).is_ok(),
            },
        }
    }
}

/// Whether a parameter may have the value if it was an unknown one.
fn is_generic(value: Option<&str>) -> bool {
    value.is_none_or(|value| {
        !value.is_empty() && chars::first_foreign(value.as_bytes(), UNRESERVED | PARAM).is_none()
    })
}

fn has_digit(text: &str) -> bool {
    text.bytes().any(|octet| octet.is_ascii_digit())
}

/// The digits of a number that count, in lower case, after its `+`.
fn digits(number: &str) -> impl Iterator<Item = u8> + '_ {
    let octets = number.bytes().filter(|octet| !chars::is(*octet, SEPARATOR));
    octets.map(|octet| octet.to_ascii_lowercase())
}

/// The octets of a value that count, in lower case and with escapes undone. Separators are left out of digits,
/// if asked for; where nothing else is there, they stay, because no value is empty.
fn folded(kind: Kind, value: &str, strip: bool) -> impl Iterator<Item = u8> + '_ {
    let octets = || Octets(value.as_bytes()).map(|(octet, _)| octet);
    let is_number = strip
        && matches!(kind, Kind::Ext | Kind::Context)
        && octets().all(|octet| octet == b'+' || chars::is(octet, PHONE))
        && octets().any(|octet| octet.is_ascii_digit());
    octets()
        .filter(move |octet| !is_number || !chars::is(*octet, SEPARATOR))
        .map(|octet| octet.to_ascii_lowercase())
}

fn number_check(number: &str, mode: Mode) -> Result<(), Violation> {
    let wrong = |rule, at| Err(Violation::at(rule, number, at));
    let (classes, digits) = match number.strip_prefix('+') {
        Some(digits) => (PHONE, digits),
        None => (PHONE_HEX, number),
    };
    if let Some(at) = chars::first_outside(digits, classes) {
        return wrong(Rule::TelCharacter, number.len() - digits.len() + at);
    }
    if chars::all(digits, SEPARATOR) {
        return wrong(Rule::TelDigits, number.len());
    }
    if mode == Mode::Strict && classes == PHONE {
        country_and_length(number)?;
    }
    Ok(())
}

/// Checks parameters and returns whether there is a context that makes a local number complete.
fn parameters_check(text: &str, is_global: bool, mode: Mode) -> Result<bool, Violation> {
    let mut at = 0;
    let mut names = [""; TEL_PARAMETERS_MAX];
    let (mut has_context, mut has_isub_or_ext) = (false, false);
    for (count, parameter) in text.split(';').enumerate() {
        let wrong = |rule, offset: usize| Err(Violation::at(rule, text, at + offset));
        let Some((earlier, [slot, ..])) = names.split_at_mut_checked(count) else {
            return wrong(Rule::TelParametersTooMany, 0);
        };
        let (name, value) = match parameter.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (parameter, None),
        };
        let foreign = |octet: u8| !chars::is(octet, ALPHANUM) && octet != b'-';
        if name.is_empty() || name.bytes().any(foreign) {
            let offset = name.bytes().position(foreign).unwrap_or(0);
            return wrong(Rule::TelParameter, offset);
        }
        if earlier.iter().any(|other| other.eq_ignore_ascii_case(name)) {
            return wrong(Rule::TelParameterTwice, 0);
        }
        let kind = Kind::of(name);
        let is_own = kind.takes(value);
        let is_tolerated = mode == Mode::Received && is_generic(value);
        let value_at = (name.len() + 1).min(parameter.len());
        match kind {
            Kind::Other if !is_own => {
                let value = value.unwrap_or_default();
                let foreign = chars::first_foreign(value.as_bytes(), UNRESERVED | PARAM);
                return wrong(Rule::TelParameter, value_at + foreign.unwrap_or(0));
            }
            Kind::Context if is_global => match mode {
                Mode::Strict => return wrong(Rule::TelContextOnGlobal, 0),
                Mode::Received if !is_own && !is_tolerated => {
                    return wrong(Rule::TelContext, value_at);
                }
                Mode::Received => {}
            },
            Kind::Context if !is_own => return wrong(Rule::TelContext, value_at),
            Kind::Context => {
                if let (Mode::Strict, Some(value)) = (mode, value)
                    && value.starts_with('+')
                {
                    country_and_length(value).map_err(|v| v.moved(at + value_at))?;
                }
                has_context = true;
            }
            Kind::Isub | Kind::Ext if !is_own && !is_tolerated => {
                return wrong(Rule::TelParameterValue, value_at);
            }
            Kind::Isub | Kind::Ext => {
                if has_isub_or_ext && mode == Mode::Strict {
                    return wrong(Rule::TelIsubAndExt, 0);
                }
                has_isub_or_ext = true;
            }
            Kind::Other => {}
        }
        *slot = name;
        at += parameter.len() + 1;
    }
    Ok(has_context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_splits_into_its_parts() {
        let tel = TelUri::parse("tel:7042-#;phone-context=example.com;x").unwrap();
        let number = tel.subscriber;
        assert_eq!((number.number(), number.is_global()), ("7042-#", false));
        assert_eq!(number.parameter("Phone-Context"), Some("example.com"));
        assert_eq!(
            (number.parameter("x"), number.parameter("y")),
            (Some(""), None)
        );
        assert_eq!(tel.to_string(), "tel:7042-#;phone-context=example.com;x");
        assert!(TelephoneSubscriber::parse("+1").unwrap().is_global());
    }

    #[test]
    fn refusals_count_from_the_start() {
        for (given, rule, at) in [
            ("", Rule::TelScheme, 0),
            ("sip:+1", Rule::TelScheme, 0),
            ("tel:", Rule::TelDigits, 4),
            ("tel:+", Rule::TelDigits, 5),
            ("tel:-", Rule::TelDigits, 5),
            ("tel:+1a", Rule::TelCharacter, 6),
            ("tel:1g;phone-context=a.b", Rule::TelCharacter, 5),
            ("tel:+1 2", Rule::TelCharacter, 6),
            ("tel:+012", Rule::NumberCountryCode, 5),
            ("tel:+1234567890123456", Rule::NumberTooLong, 20),
            ("tel:1001", Rule::TelContextMissing, 8),
            ("tel:1;phone-context=", Rule::TelContext, 20),
            ("tel:1;phone-context=a_b", Rule::TelContext, 20),
            ("tel:1;phone-context=+0", Rule::NumberCountryCode, 21),
            ("tel:+1;phone-context=a.b", Rule::TelContextOnGlobal, 7),
            ("tel:+1;", Rule::TelParameter, 7),
            ("tel:+1;a_b", Rule::TelParameter, 8),
            ("tel:+1;a=", Rule::TelParameter, 9),
            ("tel:+1;a=b,", Rule::TelParameter, 10),
            ("tel:+1;ext=a", Rule::TelParameterValue, 11),
            ("tel:+1;isub", Rule::TelParameterValue, 11),
            ("tel:+1;a;A", Rule::TelParameterTwice, 9),
            ("tel:+1;isub=1;ext=2", Rule::TelIsubAndExt, 14),
        ] {
            let violation = TelUri::parse(given).unwrap_err();
            assert_eq!(
                (violation.rule, violation.byte_offset),
                (rule, at),
                "{given}"
            );
        }
    }

    #[test]
    fn a_received_number_may_be_odd() {
        for given in [
            "+0123",
            "+1234567890123456",
            "+1;phone-context=-",
            "+1;isub=1;ext=2",
            "+1;isub;ext=[",
            "1;phone-context=+0",
        ] {
            assert!(TelephoneSubscriber::parse(given).is_err(), "{given}");
            assert!(
                TelephoneSubscriber::parse_received(given).is_ok(),
                "{given}"
            );
        }
        for given in [
            "+1;a;a",
            "+1;isub=;x",
            "+1;ext=",
            "1;phone-context=-",
            "+1;isub=a;;b",
        ] {
            assert!(
                TelephoneSubscriber::parse_received(given).is_err(),
                "{given}"
            );
        }
    }

    #[test]
    fn parameters_are_bounded() {
        let with =
            |count: usize| (0..count).fold("+1".to_owned(), |text, i| format!("{text};p{i}"));
        assert!(TelephoneSubscriber::parse(&with(TEL_PARAMETERS_MAX)).is_ok());
        let violation = TelephoneSubscriber::parse(&with(TEL_PARAMETERS_MAX + 1)).unwrap_err();
        assert_eq!(violation.rule, Rule::TelParametersTooMany);
    }

    #[test]
    fn what_the_rfc_leaves_open_is_decided() {
        for (a, b, same) in [
            ("+1;isub=%3A", "+1;isub=:", true),
            ("+1;x=%41", "+1;x=a", true),
            ("+1;x=%c3", "+1;X=%C3", true),
            ("+1;ext=-", "+1;ext=.", false),
            ("+1;x", "+1;x=1", false),
            ("+1;x", "+1;y", false),
            ("1;phone-context=a.b.", "1;phone-context=a.b", false),
        ] {
            let (left, right) = (
                TelephoneSubscriber::parse(a).unwrap(),
                TelephoneSubscriber::parse(b).unwrap(),
            );
            assert_eq!(left.is_equivalent(&right), same, "{a} {b}");
            assert_eq!(right.is_equivalent(&left), same, "{b} {a}");
            assert_eq!(left.canonical() == right.canonical(), same, "{a} {b}");
        }
    }

    #[test]
    fn a_tel_uri_becomes_a_sip_uri() {
        let host = Host::parse("foo.com").unwrap();
        for (tel, sip) in [
            (
                "tel:+358-555-1234567;postd=pp22",
                "sip:+358-555-1234567;postd=pp22@foo.com;user=phone",
            ),
            (
                "tel:+358-555-1234567;POSTD=PP22;isub=1411",
                "sip:+358-555-1234567;isub=1411;postd=pp22@foo.com;user=phone",
            ),
            (
                "tel:#31#A;phone-context=Example.COM;x=[%41:]",
                "sip:%2331%23a;phone-context=example.com;x=%5Ba%3A%5D@foo.com;user=phone",
            ),
        ] {
            let tel = TelUri::parse(tel).unwrap();
            assert_eq!(tel.to_sip(Scheme::Sip, &host), sip);
            let back = crate::SipUri::parse(sip).unwrap().to_tel().unwrap();
            assert!(TelUri::parse(&back).unwrap().is_equivalent(&tel), "{back}");
        }
    }
}

//! `host` and `port` of a SIP URI, and the canonical form of a domain.
//!
//! Two ways to read a host: the strict one for what people create, and the tolerant one for what
//! arrives from the network. Nothing here asks the DNS.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::address;
use crate::automaton::{Automaton, START, State};
use crate::chars::{self, ALPHANUM, HOST, LABEL};
use crate::uri::Mode;
use crate::{Rule, Violation};

/// The longest name and the longest label of the DNS (RFC 1035 section 2.3.4), in octets as text.
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// A `host` (RFC 3261 section 25.1, corrected by RFC 5954 section 4.1).
///
/// ```
/// use sip_validate::Host;
///
/// assert_eq!(Host::parse("Example.COM.")?.canonical(), "example.com");
/// assert!(Host::parse("[2001:DB8::1]")?.is_equivalent(&Host::parse("[2001:db8:0:0::1]")?));
/// // A name ends with a label that starts with a letter, and an IPv4 address has no leading zeros ...
/// assert!(Host::parse("example.123").is_err() && Host::parse("192.0.2.010").is_err());
/// // ... but devices send such addresses.
/// assert_eq!(Host::parse_received("192.0.2.010")?.to_string(), "192.0.2.10");
/// # Ok::<(), sip_validate::Violation>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host<'a> {
    /// A host name, as written; compare it without regard to case.
    Name(&'a str),
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address, written in brackets.
    V6(Ipv6Addr),
}

impl<'a> Host<'a> {
    /// Reads a host strictly, as for a name that a person creates.
    ///
    /// Adds the DNS limits of 63 octets a label and 253 a name, which the grammar does not have.
    ///
    /// # Errors
    /// One of the `Host*` rules with the first offending octet.
    pub fn parse(text: &'a str) -> Result<Self, Violation> {
        Self::whole(text, Mode::Strict)
    }

    /// Reads a host tolerantly, as it may stand in a received message.
    ///
    /// Beyond [`Host::parse`] it takes `:::` in an IPv6 address (RFC 5118 section 4.10) and leading
    /// zeros in an IPv4 address, which RFC 3261 allowed and which count as decimal.
    ///
    /// # Errors
    /// Those of [`Host::parse`].
    pub fn parse_received(text: &'a str) -> Result<Self, Violation> {
        Self::whole(text, Mode::Received)
    }

    fn whole(text: &'a str, mode: Mode) -> Result<Self, Violation> {
        match Self::take(text, 0, mode) {
            Ok((host, "")) => Ok(host),
            Ok((Host::V6(_), _)) => Err(Violation::at(Rule::HostIpv6, text, 0)),
            Ok((Host::Name(_) | Host::V4(_), rest)) => Err(foreign(text, text.len() - rest.len())),
            Err(violation) => Err(explained(text, violation)),
        }
    }

    /// Reads a host at a place of a text, up to a `:`, `;` or `?`, and returns what follows it; an IPv6 address may be followed
    /// by anything. Offsets of violations count from the place.
    #[inline]
    pub(crate) fn take(text: &'a str, at: usize, mode: Mode) -> Result<(Self, &'a str), Violation> {
        let host = text.get(at..).unwrap_or_default();
        if host.starts_with('[') {
            let address = address::v6_at(text.as_bytes(), at + 1).or_else(|| match mode {
                Mode::Strict => None,
                Mode::Received => three_colons_at(text, at + 1),
            });
            let host_and_rest =
                address.and_then(|(address, end)| Some((Host::V6(address), text.get(end + 1..)?)));
            return host_and_rest.ok_or_else(|| Violation::at(Rule::HostIpv6, host, 0));
        }
        let (state, end) = HOSTNAME.front(host.as_bytes());
        let (name, rest) = host.split_at_checked(end).unwrap_or((host, ""));
        if !matches!(rest.as_bytes(), [] | [b':' | b';' | b'?', ..]) {
            return Err(Violation::at(Rule::HostCharacter, host, end));
        }
        match state {
            // So short a name has no label that is too long.
            TOP | TOP_DOT if end <= LABEL_BYTES_MAX => Ok((Host::Name(name), rest)),
            NUMBER => {
                let strict = address::v4_at(text.as_bytes(), at)
                    .and_then(|(address, behind)| (behind == at + end).then_some(address));
                let address = strict.or_else(|| match mode {
                    Mode::Strict => None,
                    Mode::Received => leading_zeros(name),
                });
                let host_and_rest = address.map(|address| (Host::V4(address), rest));
                host_and_rest.ok_or_else(|| Violation::at(Rule::HostIpv4, host, 0))
            }
            _ => match hostname_by_rule(name) {
                Ok(()) => Ok((Host::Name(name), rest)),
                // Only an address has a last label of digits, and then nothing but digits and dots.
                Err(_) if end > 0 && name.bytes().all(|o| o.is_ascii_digit() || o == b'.') => {
                    Err(Violation::at(Rule::HostIpv4, host, 0))
                }
                Err(violation) => Err(violation),
            },
        }
    }

    /// The address, when the host is one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Host::Name(_) => None,
            Host::V4(address) => Some(IpAddr::V4(*address)),
            Host::V6(address) => Some(IpAddr::V6(*address)),
        }
    }

    /// Whether both are the same host in a URI (RFC 3261 section 19.1.4, RFC 5954 section 4.2): addresses by
    /// value, names without regard to case.
    ///
    /// A name and the address that it leads to are not the same, and neither are a name with and one without
    /// a final dot; [`Host::canonical`] gives the latter two one form.
    #[must_use]
    pub fn is_equivalent(&self, other: &Host<'_>) -> bool {
        match (self, other) {
            (Host::Name(a), Host::Name(b)) => a.eq_ignore_ascii_case(b),
            (a, b) => a.address().is_some() && a.address() == b.address(),
        }
    }

    /// The host as a domain is stored: names in lower case and without the final dot, addresses in
    /// their shortest form.
    #[must_use]
    pub fn canonical(&self) -> Cow<'a, str> {
        match self {
            Host::Name(name) => {
                let name = name.strip_suffix('.').unwrap_or(name);
                if name.bytes().any(|o| o.is_ascii_uppercase()) {
                    Cow::Owned(name.to_ascii_lowercase())
                } else {
                    Cow::Borrowed(name)
                }
            }
            Host::V4(_) | Host::V6(_) => Cow::Owned(self.to_string()),
        }
    }
}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::V4(address) => address.fmt(f),
            Host::V6(address) => write!(f, "[{address}]"),
        }
    }
}

/// What is wrong with a host that was not taken: an octet that no host has before anything that it leads to.
#[cold]
fn explained(host: &str, violation: Violation) -> Violation {
    match chars::first_outside(host, HOST) {
        Some(at) if !host.starts_with('[') => foreign(host, at),
        _ => violation,
    }
}

/// The violation of an octet that no host name has.
#[cold]
fn foreign(host: &str, at: usize) -> Violation {
    // An address without its brackets is a common slip and deserves its own sentence.
    let rule = match host.parse::<Ipv6Addr>() {
        Ok(_) => Rule::HostIpv6,
        Err(_) => Rule::HostCharacter,
    };
    Violation::at(rule, host, at)
}

/// In a label that may be the last one, behind a letter or digit.
const TOP: State = State::new(2);
/// Behind the dot of such a label.
const TOP_DOT: State = State::new(3);

/// In the last one of nothing but digits with dots between.
const NUMBER: State = State::new(7);

/// `hostname` without the limits of the DNS, `*( domainlabel "." ) toplabel [ "." ]`, and what may be an IPv4 address.
static HOSTNAME: Automaton = {
    const TOP_HYPHEN: State = State::new(4);
    // A label that starts with a digit must have another one behind it.
    const OTHER: State = State::new(5);
    const OTHER_HYPHEN: State = State::new(6);
    const OTHER_DOT: State = State::new(8);
    const WRONG: State = State::new(9);
    const DIGITS: &[u8] = b"0123456789";
    Automaton::NOTHING
        .class(START, ALPHANUM, TOP)
        .octets(START, DIGITS, NUMBER)
        .class(NUMBER, ALPHANUM, OTHER)
        .octets(NUMBER, DIGITS, NUMBER)
        .octet(NUMBER, b'-', OTHER_HYPHEN)
        .octet(NUMBER, b'.', START)
        .octets(START, b"-.", WRONG)
        .class(TOP, ALPHANUM, TOP)
        .octet(TOP, b'-', TOP_HYPHEN)
        .octet(TOP, b'.', TOP_DOT)
        .class(TOP_HYPHEN, ALPHANUM, TOP)
        .octet(TOP_HYPHEN, b'-', TOP_HYPHEN)
        .octet(TOP_HYPHEN, b'.', WRONG)
        .class(TOP_DOT, ALPHANUM, TOP)
        .octets(TOP_DOT, DIGITS, OTHER)
        .octets(TOP_DOT, b"-.", WRONG)
        .class(OTHER, ALPHANUM, OTHER)
        .octet(OTHER, b'-', OTHER_HYPHEN)
        .octet(OTHER, b'.', OTHER_DOT)
        .class(OTHER_HYPHEN, ALPHANUM, OTHER)
        .octet(OTHER_HYPHEN, b'-', OTHER_HYPHEN)
        .octet(OTHER_HYPHEN, b'.', WRONG)
        .class(OTHER_DOT, ALPHANUM, TOP)
        .octets(OTHER_DOT, DIGITS, OTHER)
        .octets(OTHER_DOT, b"-.", WRONG)
        .class(WRONG, HOST, WRONG)
};

/// Checks a `hostname` with the limits of the DNS.
pub(crate) fn hostname(text: &str) -> Result<(), Violation> {
    match HOSTNAME.front(text.as_bytes()) {
        (TOP | TOP_DOT, end) if end == text.len() && end <= LABEL_BYTES_MAX => Ok(()),
        _ => hostname_by_rule(text),
    }
}

/// As [`hostname`], and slower where nothing is wrong.
#[cold]
fn hostname_by_rule(text: &str) -> Result<(), Violation> {
    let wrong = |(rule, at)| Err(Violation::at(rule, text, at));
    if text.is_empty() {
        return wrong((Rule::HostEmpty, 0));
    }
    let (mut label, mut top) = (0, 0);
    for (at, octet) in text.bytes().enumerate() {
        if chars::is(octet, LABEL) {
            continue;
        }
        if octet != b'.' {
            return Err(foreign(text, at));
        }
        if let Some(fault) = label_fault(text, label, at) {
            return wrong(fault);
        }
        (top, label) = (label, at + 1);
    }
    let is_dotted = label == text.len();
    if !is_dotted {
        if let Some(fault) = label_fault(text, label, text.len()) {
            return wrong(fault);
        }
        top = label;
    }
    if text.len() - usize::from(is_dotted) > NAME_BYTES_MAX {
        return wrong((Rule::HostTooLong, NAME_BYTES_MAX));
    }
    let starts_well = |octet: &u8| octet.is_ascii_alphabetic();
    if !text.as_bytes().get(top).is_some_and(starts_well) {
        return wrong((Rule::HostTopLabel, top));
    }
    Ok(())
}

/// What is wrong with the label from `start` to `end`, and where.
fn label_fault(text: &str, start: usize, end: usize) -> Option<(Rule, usize)> {
    match text.as_bytes().get(start..end).unwrap_or_default() {
        [] | [b'-', ..] => Some((Rule::HostLabel, start)),
        [.., b'-'] => Some((Rule::HostLabel, end - 1)),
        label if label.len() > LABEL_BYTES_MAX => {
            Some((Rule::HostTooLong, start + LABEL_BYTES_MAX))
        }
        _ => None,
    }
}

/// Reads an IPv6 address with `:::` for `::` at a place of a text, up to a `]`, and returns where that stands.
#[cold]
fn three_colons_at(text: &str, at: usize) -> Option<(Ipv6Addr, usize)> {
    let (address, _) = text.get(at..)?.split_once(']')?;
    let (head, tail) = address.split_once(":::")?;
    // The longest text of an IPv6 address has 45 octets.
    let mut buffer = [0; 45];
    let mut length = 0;
    for part in [head, "::", tail] {
        let end = length + part.len();
        buffer
            .get_mut(length..end)?
            .copy_from_slice(part.as_bytes());
        length = end;
    }
    let text = std::str::from_utf8(buffer.get(..length)?).ok()?;
    Some((text.parse().ok()?, at + address.len()))
}

#[cold]
fn leading_zeros(text: &str) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut numbers = text.split('.');
    for octet in &mut octets {
        let number = numbers.next().filter(|n| (1..=3).contains(&n.len()))?;
        *octet = number.parse().ok()?;
    }
    numbers.next().is_none().then(|| octets.into())
}

/// Reads a `port`: decimal digits with a value from 1 to 65535.
///
/// # Errors
/// [`Rule::Port`] at the first character that is no digit, or at the start.
///
/// ```
/// assert_eq!(sip_validate::port("5061"), Ok(5061));
/// assert!(sip_validate::port("65536").is_err() && sip_validate::port("+1").is_err());
/// ```
pub fn port(text: &str) -> Result<u16, Violation> {
    if let Some(at) = text.bytes().position(|o| !o.is_ascii_digit()) {
        return Err(Violation::at(Rule::Port, text, at));
    }
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(Violation::at(Rule::Port, text, 0)),
    }
}

/// Reads the `port` at a place of a URI, up to its parameters or headers, and returns what follows it. Offsets of violations
/// count from the place.
#[inline]
pub(crate) fn port_at(text: &str, at: usize) -> Result<(u16, &str), Violation> {
    let (number, length) = number_at(text.as_bytes(), at);
    match text.get(at + length..) {
        Some(rest) if number > 0 && matches!(rest.as_bytes(), [] | [b';' | b'?', ..]) => {
            Ok((number, rest))
        }
        _ => port_by_rule(text.get(at..).unwrap_or_default()),
    }
}

/// As [`port_at`], for ports that are wrong and for those of many zeros.
#[cold]
fn port_by_rule(text: &str) -> Result<(u16, &str), Violation> {
    let end = text.bytes().position(|octet| matches!(octet, b';' | b'?'));
    let (digits, rest) = text
        .split_at_checked(end.unwrap_or(text.len()))
        .unwrap_or((text, ""));
    Ok((port(digits)?, rest))
}

/// The number of up to eight decimal digits, and how many they are; 0 when it is larger than a port.
///
/// How many digits a port has is chance: eight octets are taken as one word, whose halves, quarters and eighths are added.
#[inline]
fn number_at(text: &[u8], at: usize) -> (u16, usize) {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let word = chars::eight_at(text, at) ^ (EACH * 0x30);
    // The highest bit of the first octet that is no digit; those behind it may have one or not.
    let foreign = (word.wrapping_add(EACH * 0x76) | word) & (EACH * 0x80);
    let bits = foreign.trailing_zeros() & !7;
    let digits = word.checked_shl(64 - bits).unwrap_or(0);
    let twos = digits.wrapping_mul(10).wrapping_add(digits >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = twos.wrapping_mul(100).wrapping_add(twos >> 16) & 0x0000_ffff_0000_ffff;
    let number = fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xffff_ffff;
    (u16::try_from(number).unwrap_or(0), chars::offset(bits / 8))
}

/// Gives the canonical form of a domain: a host, in lower case, without a final dot.
///
/// # Errors
/// Those of [`Host::parse`].
///
/// ```
/// assert_eq!(sip_validate::domain("Example.COM.")?, "example.com");
/// # Ok::<(), sip_validate::Violation>(())
/// ```
pub fn domain(text: &str) -> Result<Cow<'_, str>, Violation> {
    Host::parse(text).map(|host| host.canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_name_the_place() {
        for (given, rule, at) in [
            ("", Rule::HostEmpty, 0),
            ("a_b.com", Rule::HostCharacter, 1),
            ("a..com", Rule::HostLabel, 2),
            ("a-.com", Rule::HostLabel, 1),
            (".com", Rule::HostLabel, 0),
            ("example.1com", Rule::HostTopLabel, 8),
            ("256.0.0.1", Rule::HostIpv4, 0),
            ("1.2.3", Rule::HostIpv4, 0),
            ("2001:db8::1", Rule::HostIpv6, 4),
            ("[::1%eth0]", Rule::HostIpv6, 0),
            ("b\u{fc}cher.de", Rule::HostCharacter, 1),
        ] {
            let violation = Host::parse(given).unwrap_err();
            assert_eq!(
                (violation.rule, violation.byte_offset),
                (rule, at),
                "{given}"
            );
        }
    }

    #[test]
    fn names_have_the_limits_of_the_dns() {
        let label = "a".repeat(63);
        assert!(Host::parse(&label).is_ok());
        assert_eq!(
            Host::parse(&format!("{label}a")).unwrap_err().rule,
            Rule::HostTooLong
        );
        let name = [&label[..], &label, &label, &label[..61]].join(".");
        assert!(Host::parse(&name).is_ok() && Host::parse(&format!("{name}.")).is_ok());
        assert_eq!(
            Host::parse(&format!("{name}a")).unwrap_err().rule,
            Rule::HostTooLong
        );
    }

    #[test]
    fn a_received_host_may_have_three_colons_or_leading_zeros() {
        for (given, address) in [
            ("[2001:db8:::192.0.2.1]", "2001:db8::192.0.2.1"),
            ("[2001:db8::192.0.2.1]", "2001:db8::192.0.2.1"),
            ("192.000.002.001", "192.0.2.1"),
        ] {
            assert_eq!(
                Host::parse_received(given).unwrap().address(),
                address.parse().ok()
            );
        }
        for bad in [
            "[::::]",
            "[1:::2:::3]",
            "1.2.3.456",
            "0001.2.3.4",
            "[]",
            "[",
            "[::1",
        ] {
            assert!(Host::parse_received(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn domains_have_one_form() {
        for (given, canonical) in [
            ("Example.COM.", "example.com"),
            ("example.com", "example.com"),
            ("[2001:DB8:0:0:0:0:0:1]", "[2001:db8::1]"),
            ("192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(domain(given).unwrap(), canonical);
        }
    }

    #[test]
    fn ports_end_at_65535() {
        assert_eq!(
            (port("1"), port("65535"), port("05060")),
            (Ok(1), Ok(65535), Ok(5060))
        );
        for bad in [
            "",
            "0",
            "65536",
            "-1",
            "+1",
            "99999999999999999999",
            "5060 ",
        ] {
            assert_eq!(port(bad).unwrap_err().rule, Rule::Port, "{bad}");
        }
    }
}

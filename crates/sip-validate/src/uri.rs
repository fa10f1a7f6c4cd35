//! SIP and SIPS URIs, split into borrowed parts.
//!
//! Strict for URIs that people create, tolerant for received ones. It must not decide what a part is
//! used for: which parts count in a Request-URI or a Contact is the business of the caller.

use std::borrow::Cow;
use std::fmt;
use std::hint::select_unpredictable;

use memchr::memrchr;

use crate::automaton::{Automaton, START, State};
use crate::chars::{
    self, ALPHANUM, HEADER, Octets, PARAM, PASSWORD, PHONE, PHONE_HEX, TOKEN, UNRESERVED, USER,
};
use crate::compare::{self, Case};
use crate::user::{canonical, foreign};
use crate::{Host, Rule, TelephoneSubscriber, Violation, host, uri_password, user};

/// The most parameters of one URI. The grammar has no limit; without one, the check that no name
/// occurs twice would take quadratic time on hostile input.
pub const URI_PARAMETERS_MAX: usize = 32;

/// The most headers of one URI. The grammar has no limit; without one, comparing two URIs would take
/// quadratic time on hostile input.
pub const URI_HEADERS_MAX: usize = 32;

/// The scheme of a URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// `sip`
    Sip,
    /// `sips`, over TLS only.
    Sips,
}

impl Scheme {
    /// The scheme as it is written, without the colon.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sip => "sip",
            Self::Sips => "sips",
        }
    }

    /// Reads the scheme and its colon from the front of a URI and returns what follows them.
    #[inline]
    fn at_front(text: &str) -> Result<(Self, &str), Violation> {
        if let [b's' | b'S', b'i' | b'I', b'p' | b'P', behind @ ..] = text.as_bytes() {
            let is_sips = matches!(behind, [b's' | b'S', ..]);
            let colon = 3 + usize::from(is_sips);
            if text.as_bytes().get(colon) == Some(&b':') {
                let scheme = select_unpredictable(is_sips, Self::Sips, Self::Sip);
                return Ok((scheme, split(text, colon + 1).1));
            }
        }
        Err(Violation::at(Rule::UriScheme, text, 0))
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether a value was created here or received from the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Strict,
    Received,
}

/// A SIP or SIPS URI (RFC 3261 section 19.1.1) whose parts borrow from the text.
///
/// `==` compares the parts as they are written; use [`SipUri::is_equivalent`] for Contacts and
/// [`SipUri::aor`] for a key. Neither [`Display`](fmt::Display) nor [`Debug`] shows a password.
///
/// ```
/// use sip_validate::{Host, Scheme, SipUri};
///
/// let uri = SipUri::parse("sip:alice@Example.COM:5061;transport=tcp;lr?Subject=hi")?;
/// assert_eq!((uri.scheme, uri.user, uri.port), (Scheme::Sip, Some("alice"), Some(5061)));
/// assert_eq!(uri.host, Host::Name("Example.COM"));
/// assert_eq!((uri.transport(), uri.is_loose_router(), uri.maddr()), (Some("tcp"), true, None));
/// assert_eq!(uri.headers().collect::<Vec<_>>(), [("Subject", "hi")]);
/// assert_eq!(uri.aor().to_string(), "sip:alice@example.com");
///
/// let violation = SipUri::parse("sip:alice@example.com;ttl=999").unwrap_err();
/// assert_eq!((violation.rule, violation.byte_offset), (sip_validate::Rule::UriParameterValue, 22));
/// assert!(SipUri::parse_received("sip:alice@example.com;ttl=999").is_ok());
/// # Ok::<(), sip_validate::Violation>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SipUri<'a> {
    /// The scheme.
    pub scheme: Scheme,
    /// The user part as written, with its escapes; `None` when there is no `@`.
    pub user: Option<&'a str>,
    /// The password as written; private, so that nobody prints it by chance.
    password: Option<&'a str>,
    /// The host.
    pub host: Host<'a>,
    /// The port, when one is written.
    pub port: Option<u16>,
    /// The parameters as written, without the first `;`; empty when there are none.
    parameters: &'a str,
    /// The headers as written, without the `?`; empty when there are none.
    headers: &'a str,
}

impl<'a> SipUri<'a> {
    /// Reads a URI strictly, as for one that a person creates.
    ///
    /// Known parameters must have a value of their own form, no parameter may occur twice, a `sips`
    /// URI may not ask for UDP, and the port is from 1 to 65535.
    ///
    /// # Errors
    /// The violated rule; offsets count from the start of `text`.
    pub fn parse(text: &'a str) -> Result<Self, Violation> {
        Self::read(text, Mode::Strict)
    }

    /// Reads a URI tolerantly, as it may stand in a received message.
    ///
    /// Unlike [`SipUri::parse`] it takes a known parameter with a value of the wrong form (`;lr=on`,
    /// `;ttl=999`), and UDP for `sips`; what the parameter means is then ignored, as if it was unknown. The
    /// host is read with [`Host::parse_received`].
    ///
    /// # Errors
    /// The violated rule; offsets count from the start of `text`.
    pub fn parse_received(text: &'a str) -> Result<Self, Violation> {
        Self::read(text, Mode::Received)
    }

    fn read(text: &'a str, mode: Mode) -> Result<Self, Violation> {
        let (scheme, behind_scheme) = Scheme::at_front(text)?;
        let (user, password, rest) = userinfo_at_front(behind_scheme);
        // Each step takes a part from the front: what is left is always an end of the text.
        let place = |behind: &str| text.len() - behind.len();
        let wrong = |behind: &str, violation: Violation| {
            with_userinfo(text, behind_scheme, rest, violation.moved(place(behind)))
        };
        let (host, behind) = Host::take(text, place(rest), mode).map_err(|v| wrong(rest, v))?;
        if !matches!(first(behind), None | Some(b':' | b';' | b'?')) {
            return Err(wrong(behind, Violation::at(Rule::UriAfterHost, behind, 0)));
        }
        let (port, behind) = match behind.strip_prefix(':') {
            None => (None, behind),
            Some(port) => {
                let (port, behind) =
                    host::port_at(text, place(port)).map_err(|v| wrong(port, v))?;
                (Some(port), behind)
            }
        };
        let (parameters, behind) = match behind.strip_prefix(';') {
            None => ("", behind),
            Some(parameters) => {
                let length = parameters_check(text, place(parameters), mode, scheme)
                    .map_err(|v| wrong(parameters, v))?;
                split(parameters, length)
            }
        };
        let headers = behind.strip_prefix('?');
        if let Some(headers) = headers {
            headers_check(headers).map_err(|v| wrong(headers, v))?;
        }
        Ok(Self {
            scheme,
            user,
            password,
            host,
            port,
            parameters,
            headers: headers.unwrap_or_default(),
        })
    }

    /// The password as written, with its escapes. A password in a URI is no secret from anyone who sees the
    /// message: never store, log or send it (RFC 3261 section 19.1.1).
    #[must_use]
    pub fn password(&self) -> Option<&'a str> {
        self.password
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

    /// The value of a known parameter, unless it has not the form that the parameter demands.
    fn known(&self, known: Known) -> Option<&'a str> {
        self.parameters()
            .find(|(name, _)| Known::of(name) == Some(known))
            .filter(|(_, value)| known.takes(*value))
            .map(|(_, value)| value.unwrap_or_default())
    }

    /// The value of `transport`: a token, compared without regard to case.
    #[must_use]
    pub fn transport(&self) -> Option<&'a str> {
        self.known(Known::Transport)
    }

    /// The value of the parameter `user`, which says what the user part is: `phone`, `ip` or another token.
    #[must_use]
    pub fn user_type(&self) -> Option<&'a str> {
        self.known(Known::User)
    }

    /// The value of `method`: a method, compared with regard to case.
    #[must_use]
    pub fn method(&self) -> Option<&'a str> {
        self.known(Known::Method)
    }

    /// The value of `ttl`.
    #[must_use]
    pub fn ttl(&self) -> Option<u8> {
        self.known(Known::Ttl).and_then(|ttl| ttl.parse().ok())
    }

    /// The value of `maddr`.
    #[must_use]
    pub fn maddr(&self) -> Option<Host<'a>> {
        self.known(Known::Maddr)
            .and_then(|host| Host::parse(host).ok())
    }

    /// Whether there is an `lr`, with a value or not: old stacks write `;lr=on`.
    #[must_use]
    pub fn is_loose_router(&self) -> bool {
        self.parameter("lr").is_some()
    }

    /// The headers in the order of the text: name and value, both as written.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a str)> + Clone + use<'a> {
        pairs(self.headers, '&').map(|(name, value)| (name, value.unwrap_or_default()))
    }

    /// Whether the URI has headers (`?name=value`), which most places of a message do not allow.
    #[must_use]
    pub fn has_headers(&self) -> bool {
        !self.headers.is_empty()
    }

    /// Whether both URIs are equivalent (RFC 3261 section 19.1.4, RFC 5954 section 4.2): whether two Contacts
    /// are one binding.
    ///
    /// - `sip` is never `sips`. User and password count with their case, all else but a method without.
    /// - An escape is its character, unless that is reserved (`;/?:@&=+$,`).
    /// - What stands in one URI only makes a difference, even the default port, but for parameters: only
    ///   `user`, `ttl`, `method`, `maddr` and `transport` do then.
    /// - Addresses are compared by value, in `maddr` too. The DNS is not asked.
    ///
    /// This is symmetric, but not transitive: `sip:a@h;x=1` and `sip:a@h;x=2` differ, though both are equivalent
    /// to `sip:a@h`. It is no use as a key; [`SipUri::aor`] is one.
    ///
    /// ```
    /// use sip_validate::SipUri;
    ///
    /// let one = SipUri::parse("sip:%61lice@atlanta.com;transport=TCP")?;
    /// let two = SipUri::parse("sip:alice@AtLanTa.CoM;Transport=tcp;ob")?;
    /// assert!(one.is_equivalent(&two));
    /// assert!(!one.is_equivalent(&SipUri::parse("sip:alice@atlanta.com")?));
    /// # Ok::<(), sip_validate::Violation>(())
    /// ```
    #[must_use]
    pub fn is_equivalent(&self, other: &SipUri<'_>) -> bool {
        self.scheme == other.scheme
            && self.port == other.port
            && self.host.is_equivalent(&other.host)
            && compare::options(self.user, other.user, Case::Sensitive)
            && compare::options(self.password, other.password, Case::Sensitive)
            && parameters_agree(self, other)
            && parameters_agree(other, self)
            && headers_agree(self, other)
    }

    /// The address-of-record that this URI names, in its one form (RFC 3261 section 10.3 step 5): a key.
    ///
    /// ```
    /// use sip_validate::SipUri;
    ///
    /// let uri = SipUri::parse("sip:%61lice:pw@Example.COM.:5060;transport=tcp?Subject=hi")?;
    /// assert_eq!(uri.aor(), SipUri::parse("sip:alice@example.com")?.aor());
    /// # Ok::<(), sip_validate::Violation>(())
    /// ```
    #[must_use]
    pub fn aor(&self) -> Aor<'a> {
        Aor {
            scheme: self.scheme,
            user: self.user.map(canonical),
            domain: self.host.canonical(),
        }
    }

    /// The `tel` URI whose number is the user part (RFC 3261 sections 19.1.1 and 19.1.6).
    ///
    /// `None` unless the URI says `user=phone` and its user part is a `telephone-subscriber`, in which
    /// characters that `user` does not have are escaped. Host and parameters of the SIP URI are dropped.
    ///
    /// ```
    /// use sip_validate::SipUri;
    ///
    /// let uri = SipUri::parse("sip:%2331%23;phone-context=example.com@gateway.example;user=phone")?;
    /// assert_eq!(uri.to_tel().as_deref(), Some("tel:#31#;phone-context=example.com"));
    /// # Ok::<(), sip_validate::Violation>(())
    /// ```
    #[must_use]
    pub fn to_tel(&self) -> Option<String> {
        let is_phone = self.user_type()?.eq_ignore_ascii_case("phone");
        let user = self.user.filter(|_| is_phone)?;
        let (number, parameters) = match user.split_once(';') {
            Some((number, parameters)) => (number, Some(parameters)),
            None => (user, None),
        };
        let mut tel = String::with_capacity("tel:".len() + user.len());
        tel.push_str("tel:");
        // Parameters of a tel URI may hold escapes; its number may not.
        for (octet, _) in Octets(number.as_bytes()) {
            if octet != b'+' && !chars::is(octet, PHONE | PHONE_HEX) {
                return None;
            }
            tel.push(char::from(octet));
        }
        if let Some(parameters) = parameters {
            tel.push(';');
            tel.push_str(parameters);
        }
        let subscriber = tel.strip_prefix("tel:").unwrap_or_default();
        TelephoneSubscriber::parse_received(subscriber)
            .is_ok()
            .then_some(tel)
    }
}

impl fmt::Display for SipUri<'_> {
    /// Writes the URI without a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.scheme)?;
        if let Some(user) = self.user {
            write!(f, "{user}@")?;
        }
        write!(f, "{}", self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        if !self.parameters.is_empty() {
            write!(f, ";{}", self.parameters)?;
        }
        if !self.headers.is_empty() {
            write!(f, "?{}", self.headers)?;
        }
        Ok(())
    }
}

impl fmt::Debug for SipUri<'_> {
    /// Writes the URI without a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SipUri({self})")
    }
}

impl<'a> TryFrom<&'a str> for SipUri<'a> {
    type Error = Violation;

    /// Reads a URI strictly, as [`SipUri::parse`] does.
    fn try_from(text: &'a str) -> Result<Self, Violation> {
        Self::parse(text)
    }
}

/// An address-of-record in its one form: equal exactly when it is the same address-of-record.
///
/// Every escape of the user is undone once, what `user` demands is escaped again; the domain is a
/// [canonical host](Host::canonical). Port, parameters and headers are no part of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Aor<'a> {
    /// The scheme. A product that knows a user by both schemes leaves it out of its key.
    pub scheme: Scheme,
    /// The canonical user; `None` for an address without one, which names the domain itself.
    pub user: Option<Cow<'a, str>>,
    /// The canonical domain.
    pub domain: Cow<'a, str>,
}

impl fmt::Display for Aor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.scheme)?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        f.write_str(&self.domain)
    }
}

/// In a user, behind a character.
const USER_END: State = State::new(2);
/// In a password, which may be empty.
const PASSWORD_END: State = State::new(3);

/// `user [ ":" password ]`
static USERINFO: Automaton = {
    const USER_ESCAPE: [State; 2] = [State::new(4), State::new(5)];
    const PASSWORD_ESCAPE: [State; 2] = [State::new(6), State::new(7)];
    Automaton::NOTHING
        .class(START, UNRESERVED | USER, USER_END)
        .escape(START, USER_ESCAPE, USER_END)
        .class(USER_END, UNRESERVED | USER, USER_END)
        .escape(USER_END, USER_ESCAPE, USER_END)
        .octet(USER_END, b':', PASSWORD_END)
        .class(PASSWORD_END, UNRESERVED | PASSWORD, PASSWORD_END)
        .escape(PASSWORD_END, PASSWORD_ESCAPE, PASSWORD_END)
};

/// Takes a `userinfo` and its `@` from the front of a text, if they are there: user, password, and what follows.
#[inline]
fn userinfo_at_front(text: &str) -> (Option<&str>, Option<&str>, &str) {
    let (state, end) = USERINFO.front(text.as_bytes());
    if text.as_bytes().get(end) != Some(&b'@') || !matches!(state, USER_END | PASSWORD_END) {
        return (None, None, text);
    }
    let (userinfo, behind) = split(text, end);
    let behind = behind.get(1..).unwrap_or_default();
    if state == USER_END {
        return (Some(userinfo), None, behind);
    }
    let colon = userinfo.bytes().position(|octet| octet == b':');
    let (user, password) = split(userinfo, colon.unwrap_or(end));
    (Some(user), password.get(1..), behind)
}

/// What is wrong with a URI when `violation` is, with `rest` taken for what stands behind the userinfo.
#[cold]
fn with_userinfo(text: &str, behind_scheme: &str, rest: &str, violation: Violation) -> Violation {
    // An `@` cannot occur behind the userinfo. If there is one, then the userinfo reaches to the last of them, and something
    // in it is wrong: else it would have been taken.
    let Some(end) = memrchr(b'@', rest.as_bytes()) else {
        return violation;
    };
    let start = text.len() - behind_scheme.len();
    let userinfo = text.get(start..text.len() - rest.len() + end);
    match userinfo.map(userinfo_by_rule) {
        Some(Err(violation)) => violation.moved(start),
        _ => violation,
    }
}

/// Checks a `userinfo` without its `@`.
#[cold]
fn userinfo_by_rule(text: &str) -> Result<(), Violation> {
    let end = chars::first_foreign(text.as_bytes(), UNRESERVED | USER).unwrap_or(text.len());
    let (name, rest) = split(text, end);
    if name.is_empty() {
        // Something else than the end or a password may begin here: the whole says it best.
        user(text.split(':').next().unwrap_or_default())?;
    }
    match rest.strip_prefix(':') {
        Some(password) => uri_password(password).map_err(|v| v.moved(end + 1)),
        None if rest.is_empty() => Ok(()),
        None => Err(foreign(text, end, Rule::UserCharacter)),
    }
}

fn first(text: &str) -> Option<u8> {
    text.as_bytes().first().copied()
}

/// Splits at an octet that is known to be ASCII.
fn split(text: &str, at: usize) -> (&str, &str) {
    text.split_at_checked(at).unwrap_or((text, ""))
}

/// The parts of a list of names and values.
pub(crate) fn pairs(
    text: &str,
    separator: char,
) -> impl Iterator<Item = (&str, Option<&str>)> + Clone {
    let parts = (!text.is_empty()).then(|| text.split(separator));
    parts.into_iter().flatten().map(pair)
}

fn pair(part: &str) -> (&str, Option<&str>) {
    match part.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (part, None),
    }
}

/// A parameter that RFC 3261 section 25.1 gives its own production.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Transport,
    User,
    Method,
    Ttl,
    Maddr,
    Lr,
}

impl Known {
    fn is_token(self) -> bool {
        matches!(self, Self::Transport | Self::User | Self::Method)
    }

    fn of(name: &str) -> Option<Self> {
        Self::at(name.as_bytes(), 0, name.len())
    }

    /// The parameter whose name stands at a place of a text. Which one it is, is chance: the name is compared with all of them
    /// as a number, without a branch.
    #[inline]
    fn at(text: &[u8], start: usize, length: usize) -> Option<Self> {
        /// A name as a number, its first octet lowest.
        const fn number(name: &[u8]) -> u128 {
            let mut octets = [0; 16];
            octets.split_at_mut(name.len()).0.copy_from_slice(name);
            u128::from_le_bytes(octets)
        }
        const ALL: [(u128, Known); 6] = [
            (number(b"transport"), Known::Transport),
            (number(b"user"), Known::User),
            (number(b"method"), Known::Method),
            (number(b"ttl"), Known::Ttl),
            (number(b"maddr"), Known::Maddr),
            (number(b"lr"), Known::Lr),
        ];
        // This bit makes an upper-case letter a lower-case one, and of nothing else a letter.
        const LOWER_CASE: u128 = u128::MAX / 0xff * 0x20;
        let bits = u32::try_from(8 * length).ok()?;
        // The sixteen octets before the end of the name; those before the name are shifted out.
        let before = text.get(..start + length)?;
        let sixteen = before.last_chunk().copied().unwrap_or_else(|| {
            let mut sixteen = [0; 16];
            for (to, from) in sixteen.iter_mut().rev().zip(before.iter().rev()) {
                *to = *from;
            }
            sixteen
        });
        let name = u128::from_le_bytes(sixteen) | LOWER_CASE;
        let name = name.checked_shr(128_u32.checked_sub(bits)?)?;
        ALL.iter().fold(None, |found, (spelling, known)| {
            select_unpredictable(name == *spelling, Some(*known), found)
        })
    }

    /// Whether the value is of the parameter's own production. A `%` may stand in a token by the grammar, but
    /// is read as the start of an escape by some: none of ours has one.
    fn takes(self, value: Option<&str>) -> bool {
        match (self, value) {
            (Self::Lr, value) => value.is_none(),
            (_, None) => false,
            (Self::Transport | Self::User | Self::Method, Some(value)) => {
                let is_plain = |octet| chars::is(octet, ALPHANUM | TOKEN) && octet != b'%';
                !value.is_empty() && value.bytes().all(is_plain)
            }
            (Self::Ttl, Some(value)) => {
                value.len() <= 3
                    && value.bytes().all(|o| o.is_ascii_digit())
                    && value.parse::<u8>().is_ok()
            }
            (Self::Maddr, Some(value)) => Host::parse(value).is_ok(),
        }
    }

    /// The rule that the value breaks in a URI of a scheme.
    fn fault(self, value: Option<&str>, scheme: Scheme) -> Option<Rule> {
        if !self.takes(value) {
            return Some(Rule::UriParameterValue);
        }
        let is_udp = || value.is_some_and(|value| value.eq_ignore_ascii_case("udp"));
        (scheme == Scheme::Sips && self == Self::Transport && is_udp())
            .then_some(Rule::UriSipsOverUdp)
    }
}

/// In the name of a parameter, behind a character.
const PARAMETER_NAME: State = State::new(2);
/// In the value of a parameter, behind a character.
const PARAMETER_VALUE: State = State::new(3);

/// `other-param *( ";" other-param )`, with a first mark at the end of each name and value,
/// and a second one at what no token of ours has.
static PARAMETERS: Automaton = {
    const EQUALS: State = State::new(4);
    const NAME_ESCAPE: [State; 2] = [State::new(5), State::new(6)];
    const VALUE_ESCAPE: [State; 2] = [State::new(7), State::new(8)];
    Automaton::NOTHING
        .class(START, UNRESERVED | PARAM, PARAMETER_NAME)
        .escape(START, NAME_ESCAPE, PARAMETER_NAME)
        .class(PARAMETER_NAME, UNRESERVED | PARAM, PARAMETER_NAME)
        .escape(PARAMETER_NAME, NAME_ESCAPE, PARAMETER_NAME)
        .octet(PARAMETER_NAME, b';', START)
        .octet(PARAMETER_NAME, b'=', EQUALS)
        .class(EQUALS, UNRESERVED | PARAM, PARAMETER_VALUE)
        .escape(EQUALS, VALUE_ESCAPE, PARAMETER_VALUE)
        .class(PARAMETER_VALUE, UNRESERVED | PARAM, PARAMETER_VALUE)
        .escape(PARAMETER_VALUE, VALUE_ESCAPE, PARAMETER_VALUE)
        .octet(PARAMETER_VALUE, b';', START)
        .marked(0, b"=;")
        .marked(1, b"%[]/:&$()")
};

/// Checks the parameters at a place of a URI, behind the first `;`, and returns their length, up to the headers. Offsets of
/// violations count from the place.
fn parameters_check(uri: &str, at: usize, mode: Mode, scheme: Scheme) -> Result<usize, Violation> {
    match parameters_at_once(uri, at, mode, scheme) {
        Some(length) => Ok(length),
        None => parameters_by_rule(uri.get(at..).unwrap_or_default(), mode, scheme),
    }
}

/// The length of parameters in which nothing is wrong. What is rare is left to [`parameters_by_rule`]: long parameters, names
/// that look alike, and the characters that only a `token` has.
#[inline]
fn parameters_at_once(uri: &str, at: usize, mode: Mode, scheme: Scheme) -> Option<usize> {
    let text = uri.get(at..).unwrap_or_default();
    let (state, length, [ends, not_token]) = PARAMETERS.front_and_marks(text.as_bytes());
    // So few octets have a bit each, and cannot be too many parameters.
    if length >= 2 * URI_PARAMETERS_MAX
        || !matches!(state, PARAMETER_NAME | PARAMETER_VALUE)
        || !matches!(text.as_bytes().get(length), None | Some(b'?'))
    {
        return None;
    }
    // The end of the last one is an end, too.
    let mut ends = ends | 1 << length;
    let mut next_end = || {
        let end = chars::offset(ends.trailing_zeros());
        ends &= ends.wrapping_sub(1);
        end
    };
    let mut seen = Names::default();
    let mut start = 0;
    loop {
        let name_end = next_end();
        let has_value = text.as_bytes().get(name_end) == Some(&b'=');
        let end = if has_value { next_end() } else { name_end };
        if mode == Mode::Strict {
            let known = Known::at(uri.as_bytes(), at + start, name_end - start);
            // Of the 64 bits those from the `=` to the end.
            let is_token = has_value && not_token >> name_end << (64 - (end - name_end)) == 0;
            // Which parameters a URI has is chance: this is arithmetic, and only what is rare a branch.
            let is_wrong = (known.is_some_and(Known::is_token) & !is_token)
                | ((known == Some(Known::Lr)) & has_value);
            let is_rare = matches!(known, Some(Known::Ttl | Known::Maddr))
                | ((known == Some(Known::Transport)) & (scheme == Scheme::Sips));
            let is_fault = |known: Known| {
                let value = if has_value {
                    text.get(name_end + 1..end)
                } else {
                    None
                };
                known.fault(value, scheme).is_some()
            };
            if is_wrong || (is_rare && known.is_some_and(is_fault)) {
                return None;
            }
        }
        let is_last = end == length;
        let is_alone = is_last && start == 0;
        if !is_alone && seen.may_have(text.get(start..name_end).unwrap_or_default()) {
            return None;
        }
        if is_last {
            return Some(length);
        }
        start = end + 1;
    }
}

/// As [`parameters_check`], and slower where nothing is wrong.
#[cold]
fn parameters_by_rule(text: &str, mode: Mode, scheme: Scheme) -> Result<usize, Violation> {
    let mut at = 0;
    let mut seen = Names::default();
    for count in 0.. {
        let rest = text.get(at..).unwrap_or_default();
        let wrong = |rule, offset: usize| Err(Violation::at(rule, text, at + offset));
        if count == URI_PARAMETERS_MAX {
            return wrong(Rule::UriParametersTooMany, 0);
        }
        let end = chars::first_foreign(rest.as_bytes(), UNRESERVED | PARAM).unwrap_or(rest.len());
        let (name, after) = split(rest, end);
        if name.is_empty() {
            return wrong(Rule::UriParameter, 0);
        }
        let known = Known::of(name);
        let (value, after) = match after.strip_prefix('=') {
            None => (None, after),
            Some(after) => {
                let length = value_length(after, known);
                if length == 0 {
                    return wrong(Rule::UriParameter, end + 1);
                }
                let (value, after) = split(after, length);
                (Some(value), after)
            }
        };
        if !matches!(first(after), None | Some(b';' | b'?')) {
            return wrong(Rule::UriParameter, rest.len() - after.len());
        }
        if mode == Mode::Strict
            && let Some(rule) = known.and_then(|known| known.fault(value, scheme))
        {
            return wrong(rule, 0);
        }
        if seen.has(name, text.get(..at).unwrap_or_default()) {
            return wrong(Rule::UriParameterTwice, 0);
        }
        at += rest.len() - after.len();
        if !after.starts_with(';') {
            break;
        }
        at += 1;
    }
    Ok(at)
}

/// The length of the value of a parameter at the front of a text.
fn value_length(text: &str, known: Option<Known>) -> usize {
    let is_end = |at| matches!(text.as_bytes().get(at), None | Some(b';' | b'?'));
    let generic = chars::first_foreign(text.as_bytes(), UNRESERVED | PARAM).unwrap_or(text.len());
    // A `token` may hold a backquote and a lone `%`, which a generic parameter may not.
    if !is_end(generic) && known.is_some_and(Known::is_token) {
        let token = chars::first_outside(text, ALPHANUM | TOKEN).unwrap_or(text.len());
        if is_end(token) {
            return token;
        }
    }
    generic
}

/// Which names have been there, so that most new ones are known to be new at once.
#[derive(Debug, Default)]
struct Names {
    /// A bit for each sum of first and last letter, with escapes undone.
    sums: u64,
}

impl Names {
    /// Adds a name and returns whether it is among the parameters of `earlier`.
    fn has(&mut self, name: &str, earlier: &str) -> bool {
        self.may_have(name)
            && pairs(earlier, ';').any(|(other, _)| compare::texts(other, name, Case::Insensitive))
    }

    /// Adds a name and returns whether it may have been there.
    #[inline]
    fn may_have(&mut self, name: &str) -> bool {
        let octets = name.as_bytes();
        let first = match octets {
            [b'%', ..] => chars::escaped(octets, 0),
            _ => octets.first().copied(),
        };
        let last = match octets {
            [.., b'%', _, _] => chars::escaped(octets, octets.len() - 3),
            _ => octets.last().copied(),
        };
        let [first, last] =
            [first, last].map(|octet| octet.unwrap_or_default().to_ascii_lowercase());
        let bit = 1_u64 << (first.wrapping_add(last.wrapping_mul(7)) % 64);
        let may_be_there = self.sums & bit != 0;
        self.sums |= bit;
        may_be_there
    }
}

/// In the value of a header, which may be empty.
const HEADER_VALUE: State = State::new(2);
/// In an escape of a header, behind its `%`.
const HEADER_NAME_PERCENT: State = State::new(3);
const HEADER_VALUE_PERCENT: State = State::new(4);
/// In an escape of a header, behind its first digit.
const HEADER_NAME_DIGIT: State = State::new(5);
const HEADER_VALUE_DIGIT: State = State::new(6);

/// `header *( "&" header )`
static HEADERS: Automaton = {
    const NAME: State = State::new(7);
    const NAME_ESCAPE: [State; 2] = [HEADER_NAME_PERCENT, HEADER_NAME_DIGIT];
    const VALUE_ESCAPE: [State; 2] = [HEADER_VALUE_PERCENT, HEADER_VALUE_DIGIT];
    Automaton::NOTHING
        .class(START, UNRESERVED | HEADER, NAME)
        .escape(START, NAME_ESCAPE, NAME)
        .class(NAME, UNRESERVED | HEADER, NAME)
        .escape(NAME, NAME_ESCAPE, NAME)
        .octet(NAME, b'=', HEADER_VALUE)
        .class(HEADER_VALUE, UNRESERVED | HEADER, HEADER_VALUE)
        .escape(HEADER_VALUE, VALUE_ESCAPE, HEADER_VALUE)
        .octet(HEADER_VALUE, b'&', START)
};

/// Shorter headers cannot be too many: each has a name, a `=` and an `&`.
const HEADERS_OCTETS_SAFE: usize = 3 * URI_HEADERS_MAX;

/// Checks the headers after the `?`.
fn headers_check(text: &str) -> Result<(), Violation> {
    let (state, end) = HEADERS.front(text.as_bytes());
    if end == text.len() && state == HEADER_VALUE && end < HEADERS_OCTETS_SAFE {
        return Ok(());
    }
    headers_by_rule(text, state, end)
}

/// As [`headers_check`], for headers that are wrong or long: those from `end` on are not read, and `state` is that before it.
#[cold]
fn headers_by_rule(text: &str, state: State, end: usize) -> Result<(), Violation> {
    if end >= HEADERS_OCTETS_SAFE {
        let separators = text.bytes().take(end).enumerate();
        let mut headers = separators.filter(|(_, octet)| *octet == b'&');
        if let Some((at, _)) = headers.nth(URI_HEADERS_MAX - 1) {
            return Err(Violation::at(Rule::UriHeadersTooMany, text, at + 1));
        }
    }
    let at = match state {
        HEADER_VALUE if end == text.len() => return Ok(()),
        // An escape that is not whole is wrong at its `%`.
        HEADER_NAME_PERCENT | HEADER_VALUE_PERCENT => end - 1,
        HEADER_NAME_DIGIT | HEADER_VALUE_DIGIT => end - 2,
        _ => end,
    };
    Err(Violation::at(Rule::UriHeader, text, at))
}

/// Whether every parameter of `from` has its equal in `to`, or may be missing there.
fn parameters_agree(from: &SipUri<'_>, to: &SipUri<'_>) -> bool {
    from.parameters().all(|(name, value)| {
        let mut others = to.parameters();
        let other = others.find(|(other, _)| compare::texts(name, other, Case::Insensitive));
        match (Known::of(name), other) {
            (None | Some(Known::Lr), None) => true,
            (Some(_), None) => false,
            (Some(Known::Method), Some((_, other))) => {
                compare::options(value, other, Case::Sensitive)
            }
            (known, Some((_, other))) => {
                compare::options(value, other, Case::Insensitive)
                    || (known == Some(Known::Maddr) && is_same_host(value, other))
            }
        }
    })
}

fn is_same_host(a: Option<&str>, b: Option<&str>) -> bool {
    let host = |text: Option<&str>| {
        text.and_then(|text| Host::parse(text).ok())
            .map(|h| h.address())
    };
    matches!((host(a), host(b)), (Some(Some(a)), Some(Some(b))) if a == b)
}

/// Whether both have the same headers in any order; one that is there twice counts twice.
fn headers_agree(a: &SipUri<'_>, b: &SipUri<'_>) -> bool {
    if a.headers == b.headers {
        return true;
    }
    let mut taken = [false; URI_HEADERS_MAX];
    let is_same = |(name, value): (&str, &str), (other, other_value): (&str, &str)| {
        compare::texts(name, other, Case::Insensitive)
            && compare::texts(value, other_value, Case::Insensitive)
    };
    a.headers().count() == b.headers().count()
        && a.headers().all(|header| {
            let mut others = b.headers().zip(&mut taken);
            let found = others.find(|(other, taken)| !**taken && is_same(header, *other));
            found.map(|(_, taken)| *taken = true).is_some()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_splits_into_its_parts() {
        let text = "sips:user;par=u%40example.net:pw@Example.COM:5061;transport=tcp;lr?Subject=x&Priority=urgent";
        let uri = SipUri::parse(text).unwrap();
        assert_eq!(
            (uri.scheme, uri.user, uri.port),
            (Scheme::Sips, Some("user;par=u%40example.net"), Some(5061))
        );
        assert_eq!(uri.host, Host::Name("Example.COM"));
        assert_eq!(
            (
                uri.parameter("TRANSPORT"),
                uri.parameter("lr"),
                uri.parameter("x")
            ),
            (Some("tcp"), Some(""), None)
        );
        assert!(uri.has_headers());
        assert_eq!(uri.to_string(), text.replace(":pw@", "@"));
        let aor = uri.aor();
        assert_eq!(
            (aor.user.as_deref(), &*aor.domain),
            (Some("user;par=u%40example.net"), "example.com")
        );
    }

    #[test]
    fn a_password_is_given_but_not_shown() {
        let uri = SipUri::parse("sip:a:geheim@h.example").unwrap();
        assert_eq!(uri.password(), Some("geheim"));
        assert!(!format!("{uri} {uri:?}").contains("geheim"));
    }

    #[test]
    fn refusals_count_from_the_start_of_the_uri() {
        for (given, rule, at) in [
            ("", Rule::UriScheme, 0),
            ("sip", Rule::UriScheme, 0),
            ("tel:+1", Rule::UriScheme, 0),
            ("sip:", Rule::HostEmpty, 4),
            ("sip:@a.com", Rule::UserEmpty, 4),
            ("sip:a b@a.com", Rule::UserCharacter, 5),
            ("sip:a@b@a.com", Rule::UserCharacter, 5),
            ("sip:a%4@a.com", Rule::Escape, 5),
            ("sip:a:p;w@a.com", Rule::UriPassword, 7),
            ("sip:a@a_b", Rule::HostCharacter, 7),
            ("sip:a@[::1]x", Rule::UriAfterHost, 11),
            ("sip:a@[::1", Rule::HostIpv6, 6),
            ("sip:a@a.com:0", Rule::Port, 12),
            ("sip:a@a.com:5060x", Rule::Port, 16),
            ("sip:a@a.com;", Rule::UriParameter, 12),
            ("sip:a@a.com;a=", Rule::UriParameter, 14),
            ("sip:a@a.com;a=1;A", Rule::UriParameterTwice, 16),
            ("sip:a@a.com;a=1;%41", Rule::UriParameterTwice, 16),
            ("sip:a@a.com;lr=on", Rule::UriParameterValue, 12),
            ("sip:a@a.com;ttl=256", Rule::UriParameterValue, 12),
            ("sip:a@a.com;transport=%41", Rule::UriParameterValue, 12),
            ("sips:a@a.com;transport=udp", Rule::UriSipsOverUdp, 13),
            ("sip:a@a.com?", Rule::UriHeader, 12),
            ("sip:a@a.com?a", Rule::UriHeader, 13),
            ("sip:a@a.com?a=1&=2", Rule::UriHeader, 16),
            ("sip:a@a.com?a={", Rule::UriHeader, 14),
        ] {
            let violation = SipUri::parse(given).unwrap_err();
            assert_eq!(
                (violation.rule, violation.byte_offset),
                (rule, at),
                "{given}"
            );
        }
    }

    #[test]
    fn a_received_uri_may_have_odd_values() {
        for given in [
            "sip:a@a.com;lr=on",
            "sip:a@a.com;ttl=9999",
            "sip:a@a.com;transport=%;method=[]",
            "sips:a@a.com;transport=udp",
            "sip:a@010.0.0.1",
        ] {
            assert!(
                SipUri::parse(given).is_err() && SipUri::parse_received(given).is_ok(),
                "{given}"
            );
        }
        assert!(SipUri::parse_received("sip:a@a.com;x;x").is_err());
    }

    #[test]
    fn odd_values_are_ignored() {
        let uri = "sip:a@a.com;lr=on;ttl=9999;maddr=[;transport;user=[];method=%41";
        let uri = SipUri::parse_received(uri).unwrap();
        assert_eq!(
            (uri.ttl(), uri.maddr(), uri.transport()),
            (None, None, None)
        );
        assert_eq!((uri.user_type(), uri.method()), (None, None));
        assert!(uri.is_loose_router());
        let uri = "sip:a@a.com;ttl=15;maddr=239.0.0.1;transport=UDP;user=phone;method=MESSAGE";
        let uri = SipUri::parse(uri).unwrap();
        assert_eq!((uri.ttl(), uri.transport()), (Some(15), Some("UDP")));
        assert_eq!(uri.maddr(), Host::parse("239.0.0.1").ok());
        assert_eq!(
            (uri.user_type(), uri.method()),
            (Some("phone"), Some("MESSAGE"))
        );
        assert!(!uri.is_loose_router());
    }

    #[test]
    fn parameters_and_headers_are_bounded() {
        let with = |first: &str, separator: &str, count: usize| {
            let parts: Vec<_> = (0..count).map(|i| format!("p{i}=")).collect();
            format!("sip:a@a.com{first}{}", parts.join(separator))
        };
        let parameters = |count| with(";", "1;", count) + "1";
        assert!(SipUri::parse(&parameters(URI_PARAMETERS_MAX)).is_ok());
        let violation = SipUri::parse(&parameters(URI_PARAMETERS_MAX + 1)).unwrap_err();
        assert_eq!(violation.rule, Rule::UriParametersTooMany);
        let headers = |count| with("?", "&", count);
        assert!(SipUri::parse(&headers(URI_HEADERS_MAX)).is_ok());
        let violation = SipUri::parse(&headers(URI_HEADERS_MAX + 1)).unwrap_err();
        assert_eq!(violation.rule, Rule::UriHeadersTooMany);
    }

    #[test]
    fn what_the_rfc_leaves_open_is_decided() {
        for (a, b, same) in [
            ("sip:a@h.example.", "sip:a@h.example", false),
            ("sip:a@h.example:05060", "sip:a@h.example:5060", true),
            ("sip:a:@h.example", "sip:a@h.example", false),
            (
                "sip:a@h.example;method=Info",
                "sip:a@h.example;method=INFO",
                false,
            ),
            (
                "sip:a@h.example?subject=Hi",
                "sip:a@h.example?subject=hi",
                true,
            ),
            (
                "sip:a@h.example?r=1&r=1&r=2",
                "sip:a@h.example?r=1&r=2&r=2",
                false,
            ),
            (
                "sip:a@h.example?r=1&r=2&r=1",
                "sip:a@h.example?r=1&r=1&r=2",
                true,
            ),
            (
                "sip:a@h.example;maddr=[::1]",
                "sip:a@h.example;maddr=[0::1]",
                true,
            ),
            ("sip:a@h.example;%78=1", "sip:a@h.example;x=2", false),
            ("sip:a@h.example;x=%41", "sip:a@h.example;x=a", true),
            ("sip:a@h.example;x=%3A", "sip:a@h.example;x=:", false),
        ] {
            let (left, right) = (SipUri::parse(a).unwrap(), SipUri::parse(b).unwrap());
            assert_eq!(left.is_equivalent(&right), same, "{a} {b}");
            assert_eq!(right.is_equivalent(&left), same, "{b} {a}");
        }
    }

    #[test]
    fn a_number_in_a_uri_becomes_a_tel_uri() {
        for (uri, tel) in [
            ("sip:+1-212@g.example;user=phone", Some("tel:+1-212")),
            ("sip:+1;ext=5:pw@g.example;USER=Phone", Some("tel:+1;ext=5")),
            ("sip:%2B1@g.example;user=phone", Some("tel:+1")),
            (
                "sip:+1;isub=%3B@g.example;user=phone",
                Some("tel:+1;isub=%3B"),
            ),
            ("sip:+1%3Bext=5@g.example;user=phone", None),
            ("sip:+1@g.example", None),
            ("sip:+1@g.example;user=ip", None),
            ("sip:alice@g.example;user=phone", None),
            ("sip:1001@g.example;user=phone", None),
            ("sip:g.example;user=phone", None),
        ] {
            let uri = SipUri::parse(uri).unwrap();
            assert_eq!(uri.to_tel().as_deref(), tel, "{uri}");
        }
    }
}

//! Header values: lists, parameters, Via, name-addr, CSeq and digest credentials, borrowed from the text.
//!
//! The functions here are strict where RFC 4475 wants a refusal (empty parameters, open quotes, a `?`
//! outside brackets) and tolerant where real phones need it (white space round separators).

use std::borrow::Cow;

use memchr::{memchr, memchr3};

use super::{Fault, Invalid};
use crate::chars::{self, ALPHANUM};

/// What a malformed or too large `expires` of a Contact counts as, in seconds (RFC 3261 section 10.2.1.1).
pub const EXPIRES_S_MALFORMED: u32 = 3600;

/// Where `part`, a piece of `whole`, starts in it.
fn offset(part: &str, whole: &str) -> usize {
    offset_in(part, whole.as_bytes())
}

/// Where `part`, a piece of `whole`, starts in it.
pub(super) fn offset_in(part: &str, whole: &[u8]) -> usize {
    part.as_ptr().addr().saturating_sub(whole.as_ptr().addr())
}

/// The offset of the first `wanted` in `text` outside a quoted string and, when `angles` is set, outside
/// `<>`; or an error for an open quoted string or bracket.
fn position(text: &str, angles: bool, wanted: u8) -> Result<Option<usize>, Invalid> {
    let octets = text.as_bytes();
    let Some(start) = memchr3(b'"', b'<', wanted, octets) else {
        return Ok(None);
    };
    // Where the open quoted string or bracket began.
    let (mut quoted, mut bracketed) = (None, None);
    let mut escaped = false;
    for (at, octet) in octets.iter().enumerate().skip(start) {
        match *octet {
            _ if escaped => escaped = false,
            b'\\' if quoted.is_some() => escaped = true,
            b'"' if bracketed.is_none() => quoted = quoted.is_none().then_some(at),
            _ if quoted.is_some() => {}
            octet if bracketed.is_none() && octet == wanted => return Ok(Some(at)),
            b'<' if angles && bracketed.is_none() => bracketed = Some(at),
            b'>' if angles => bracketed = None,
            _ => {}
        }
    }
    match (quoted, bracketed) {
        (Some(at), _) => Err(Invalid::new(Fault::QuotedString, at)),
        (_, Some(at)) => Err(Invalid::new(Fault::Brackets, at)),
        _ => Ok(None),
    }
}

/// The elements of a comma-separated list, trimmed; commas in quoted strings and in `<>` do not count.
///
/// An open quoted string or bracket gives one error and ends the list. An empty element is given as an
/// empty text, which no grammar of an element allows.
pub fn list(text: &str) -> impl Iterator<Item = Result<&str, Invalid>> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let part = rest?;
        match position(part, true, b',') {
            Ok(Some(at)) => {
                rest = Some(&part[at + 1..]);
                Some(Ok(trim(&part[..at])))
            }
            Ok(None) => {
                rest = None;
                Some(Ok(trim(part)))
            }
            Err(invalid) => {
                rest = None;
                Some(Err(invalid.moved(offset(part, text))))
            }
        }
    })
}

/// The text without white space round it. The white space of SIP is space and tab; line ends of folded
/// fields are spaces by now.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// Parameters of a header value: `*( ";" name [ "=" value ] )`, checked when made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params<'a>(&'a str);

impl<'a> Params<'a> {
    /// Reads what follows a value: nothing, or `;` and parameters.
    fn parse(text: &'a str) -> Result<Self, Invalid> {
        let inner = trim(text);
        if inner.is_empty() {
            return Ok(Self(""));
        }
        let at = offset(inner, text);
        let inner = inner
            .strip_prefix(';')
            .ok_or(Invalid::new(Fault::Parameter, at))?;
        let whole = Self(inner);
        // A `;` alone is an empty parameter, which no grammar allows.
        if inner.is_empty() {
            return Err(Invalid::new(Fault::Parameter, at));
        }
        for parameter in whole.iter() {
            let (name, value) = parameter.map_err(|invalid| invalid.moved(at + 1))?;
            let value_is_good = value.is_none_or(|value| match value.strip_prefix('"') {
                Some(rest) => closing_quote(rest).is_some_and(|at| at + 1 == rest.len()),
                None => is_gen_value(value),
            });
            if !chars::is_token(name.as_bytes()) || !value_is_good {
                return Err(Invalid::new(Fault::Parameter, offset(name, text)));
            }
        }
        Ok(whole)
    }

    /// Parameters that [`Params::text`] gave.
    pub(super) fn checked(text: &'a str) -> Self {
        Self(text)
    }

    /// The parameters as written, without the first `;`.
    pub(super) fn text(self) -> &'a str {
        self.0
    }

    /// The parameters in order: name, and value when there is a `=`.
    ///
    /// # Errors
    /// None for parameters of this type, which were checked when they were read.
    pub fn iter(self) -> impl Iterator<Item = Result<(&'a str, Option<&'a str>), Invalid>> {
        let whole = self.0;
        let mut rest = (!whole.is_empty()).then_some(whole);
        std::iter::from_fn(move || {
            let text = rest?;
            let parameter = match position(text, false, b';') {
                Ok(Some(at)) => {
                    rest = Some(&text[at + 1..]);
                    &text[..at]
                }
                Ok(None) => {
                    rest = None;
                    text
                }
                Err(invalid) => {
                    rest = None;
                    return Some(Err(invalid.moved(offset(text, whole))));
                }
            };
            let (name, value) = match memchr(b'=', parameter.as_bytes()) {
                Some(at) => (&parameter[..at], Some(trim(&parameter[at + 1..]))),
                None => (parameter, None),
            };
            Some(Ok((trim(name), value)))
        })
    }

    /// The value of the parameter `name` (without regard to case): `Some("")` when it has none. Quoted
    /// values keep their quotes; see [`unquote`].
    #[must_use]
    pub fn get(self, name: &str) -> Option<&'a str> {
        let mut found = self
            .iter()
            .flatten()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.unwrap_or_default())
    }
}

/// Whether `value` may be a token or a host: a gen-value without quotes. `received` of old stacks is a
/// bare IPv6 address (RFC 5118 section 4.5).
fn is_gen_value(value: &str) -> bool {
    let is_good = |o: &u8| o.is_ascii_graphic() && !b"\"(),;<=>@\\{}".contains(o);
    !value.is_empty() && value.as_bytes().iter().all(is_good)
}

/// The text of a quoted string without quotes and escapes; any other text as it is.
#[must_use]
pub fn unquote(text: &str) -> Cow<'_, str> {
    let Some(inner) = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) else {
        return Cow::Borrowed(text);
    };
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    let mut plain = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        plain.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    Cow::Owned(plain)
}

/// One element of Via (RFC 3261 section 20.42).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Via<'a> {
    /// The transport, as written.
    pub transport: &'a str,
    /// The host of sent-by, as written.
    pub host: &'a str,
    /// The port of sent-by.
    pub port: Option<u16>,
    /// The parameters.
    pub params: Params<'a>,
}

impl<'a> Via<'a> {
    /// Reads one element: `SIP / 2.0 / transport host [: port] *( ; parameter )`.
    ///
    /// # Errors
    /// [`Fault::Via`], or [`Fault::Parameter`].
    pub fn parse(text: &'a str) -> Result<Self, Invalid> {
        let wrong = |part: &str| Invalid::new(Fault::Via, offset(part, text));
        let mut rest = text;
        let mut part = || {
            let at = memchr(b'/', rest.as_bytes()).ok_or(wrong(rest))?;
            let part = trim(&rest[..at]);
            rest = &rest[at + 1..];
            Ok(part)
        };
        let (protocol, version) = (part()?, part()?);
        if !protocol.eq_ignore_ascii_case("SIP") || version != "2.0" {
            return Err(wrong(protocol));
        }
        let rest = trim(rest);
        let (transport, rest) = rest.split_once([' ', '\t']).ok_or(wrong(rest))?;
        let rest = trim(rest);
        let end = memchr(b';', rest.as_bytes()).unwrap_or(rest.len());
        let (sent_by, params) = rest.split_at(end);
        let sent_by = trim(sent_by);
        let host_end = match sent_by.strip_prefix('[') {
            Some(inner) => inner.find(']').ok_or(wrong(sent_by))? + 2,
            None => sent_by.find(':').unwrap_or(sent_by.len()),
        };
        let (host, port) = sent_by.split_at(host_end);
        let port = match trim(port) {
            "" => None,
            port => Some(
                port.strip_prefix(':')
                    .and_then(|p| crate::port(trim(p)).ok())
                    .ok_or(wrong(port))?,
            ),
        };
        let host = trim(host);
        // Received names are often no host names by the grammar (underscores, digits): only octets
        // that could confuse a reader are refused.
        let is_good = |o: &u8| chars::is(*o, ALPHANUM) || b".-_[]:".contains(o);
        if !chars::is_token(transport.as_bytes()) {
            return Err(wrong(transport));
        }
        if host.is_empty() || !host.as_bytes().iter().all(is_good) {
            return Err(wrong(sent_by));
        }
        let params_at = offset(params, text);
        Ok(Self {
            transport,
            host,
            port,
            params: Params::parse(params).map_err(|invalid| invalid.moved(params_at))?,
        })
    }

    /// The branch, when it names a transaction by RFC 3261 section 8.1.1.7: the magic cookie and more. A
    /// bare cookie names none (RFC 4475 section 3.2.1).
    #[must_use]
    pub fn branch(&self) -> Option<&'a str> {
        const COOKIE: &str = "z9hG4bK";
        let branch = self.params.get("branch")?;
        let cookie = branch.get(..COOKIE.len())?;
        (cookie.eq_ignore_ascii_case(COOKIE) && branch.len() > COOKIE.len()).then_some(branch)
    }
}

/// A `name-addr` or `addr-spec` with its header parameters: From, To and Contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameAddr<'a> {
    /// The display name as written: words, or a quoted string with its quotes; see [`unquote`].
    pub display_name: Option<&'a str>,
    /// The URI, of any scheme.
    pub uri: &'a str,
    /// The header parameters; not those of the URI.
    pub params: Params<'a>,
}

impl<'a> NameAddr<'a> {
    /// Reads one element. The URI is matched from the first `<` outside quotes, because a later parameter
    /// (`+sip.instance="<urn:uuid:..>"`) may hold brackets too.
    ///
    /// # Errors
    /// [`Fault::Address`], [`Fault::AddressBrackets`], [`Fault::Brackets`], [`Fault::DisplayName`],
    /// [`Fault::QuotedString`] or [`Fault::Parameter`].
    pub fn parse(text: &'a str) -> Result<Self, Invalid> {
        let wrong = |fault, part: &str| Invalid::new(fault, offset(part, text));
        let (display_name, uri, params) = match position(text, false, b'<')? {
            Some(at) => {
                let name = trim(&text[..at]);
                if !is_display_name(name) {
                    return Err(wrong(Fault::DisplayName, name));
                }
                let end = memchr(b'>', &text.as_bytes()[at..])
                    .ok_or(Invalid::new(Fault::Brackets, at))?;
                let name = (!name.is_empty()).then_some(name);
                (name, &text[at + 1..at + end], &text[at + end + 1..])
            }
            None => {
                // Without brackets, what follows the first `;` are header parameters, and `?` and `,`
                // are not allowed at all (RFC 3261 section 20).
                let end = memchr(b';', text.as_bytes()).unwrap_or(text.len());
                let (uri, params) = text.split_at(end);
                if let Some(at) = uri.find(['?', ',', '"']) {
                    return Err(Invalid::new(Fault::AddressBrackets, at));
                }
                (None, trim(uri), params)
            }
        };
        if !is_absolute_uri(uri) {
            return Err(wrong(Fault::Address, uri));
        }
        let params_at = offset(params, text);
        Ok(Self {
            display_name,
            uri,
            params: Params::parse(params).map_err(|invalid| invalid.moved(params_at))?,
        })
    }

    /// Reads From or To, whose tag is there once at most and has a value: readers that took different ones of
    /// two would see different dialogs.
    ///
    /// # Errors
    /// [`Fault::Tag`], and those of [`NameAddr::parse`].
    pub(super) fn parse_party(text: &'a str) -> Result<Self, Invalid> {
        let address = Self::parse(text)?;
        let parameters = address.params.iter().flatten();
        let mut tags = parameters.filter(|(name, _)| name.eq_ignore_ascii_case("tag"));
        match (tags.next(), tags.next()) {
            (Some((name, None)), _) | (Some(_), Some((name, _))) => {
                Err(Invalid::new(Fault::Tag, offset(name, text)))
            }
            _ => Ok(address),
        }
    }

    /// The `tag` parameter.
    #[must_use]
    pub fn tag(&self) -> Option<&'a str> {
        self.params.get("tag").filter(|tag| !tag.is_empty())
    }

    /// The `expires` parameter of a Contact in seconds; [`EXPIRES_S_MALFORMED`] when it is there and not a
    /// number below 2^32 (RFC 3261 section 10.2.1.1).
    #[must_use]
    pub fn expires_s(&self) -> Option<u32> {
        let value = self.params.get("expires")?;
        Some(delta_seconds(&unquote(value)).unwrap_or(EXPIRES_S_MALFORMED))
    }
}

/// Whether `text` is a scheme, `:`, and printable octets that cannot end a bracket or a quoted string.
pub(super) fn is_absolute_uri(text: &str) -> bool {
    let octets = text.as_bytes();
    let Some(colon) = memchr(b':', octets) else {
        return false;
    };
    let is_scheme = |o: &u8| o.is_ascii_alphanumeric() || b"+-.".contains(o);
    let is_good = |o: &u8| o.is_ascii_graphic() && !matches!(o, b'<' | b'>' | b'"');
    octets[0].is_ascii_alphabetic()
        && octets[..colon].iter().all(is_scheme)
        && octets[colon..].iter().all(is_good)
}

fn is_display_name(text: &str) -> bool {
    match text.strip_prefix('"') {
        Some(rest) => closing_quote(rest).is_some_and(|at| at + 1 == rest.len()),
        // A comma would start another element; other octets outside `token` are tolerated.
        None => !text.contains(['"', ',', ';', '>']),
    }
}

/// The offset of the quote that ends a quoted string, of which `text` is what follows the first quote.
fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|octet| {
        let closes = octet == b'"' && !escaped;
        escaped = octet == b'\\' && !escaped;
        closes
    })
}

/// Reads CSeq: a number below 2^32 and a method.
///
/// # Errors
/// [`Fault::CSeq`].
pub fn cseq(text: &str) -> Result<(u32, &str), Invalid> {
    let wrong = |at| Invalid::new(Fault::CSeq, at);
    let (number, rest) = text.split_once([' ', '\t']).ok_or(wrong(text.len()))?;
    let method = trim(rest);
    if !chars::is_token(method.as_bytes()) {
        return Err(wrong(offset(method, text)));
    }
    let number = delta_seconds(number).ok_or(wrong(0))?;
    Ok((number, method))
}

/// Reads the seconds of Expires or `expires=`, or another number of digits alone below 2^32.
#[must_use]
pub fn delta_seconds(text: &str) -> Option<u32> {
    // `parse` alone would take a sign.
    let is_number = text.bytes().all(|o| o.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

/// The value of a Digest `Authorization` (RFC 3261 section 22.4, RFC 7616 section 3.4), without quotes.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Credentials<'a> {
    /// `username`.
    pub username: Cow<'a, str>,
    /// `realm`.
    pub realm: Cow<'a, str>,
    /// `nonce`.
    pub nonce: Cow<'a, str>,
    /// `uri`, the digest URI.
    pub uri: Cow<'a, str>,
    /// `response`.
    pub response: Cow<'a, str>,
    /// `algorithm`.
    pub algorithm: Option<Cow<'a, str>>,
    /// `cnonce`.
    pub cnonce: Option<Cow<'a, str>>,
    /// `qop`.
    pub qop: Option<Cow<'a, str>>,
    /// `nc`, as written.
    pub nc: Option<Cow<'a, str>>,
}

impl<'a> Credentials<'a> {
    /// Reads the value: `None` for another scheme, an error for a Digest that is none.
    pub fn parse(text: &'a str) -> Option<Result<Self, Invalid>> {
        let (scheme, rest) = text.split_once([' ', '\t'])?;
        scheme
            .eq_ignore_ascii_case("Digest")
            .then(|| Self::parameters(rest).map_err(|invalid| invalid.moved(offset(rest, text))))
    }

    fn parameters(text: &'a str) -> Result<Self, Invalid> {
        let mut credentials = Self::default();
        let mut required = 0;
        for parameter in list(text) {
            let parameter = parameter?;
            let wrong = Invalid::new(Fault::Credentials, offset(parameter, text));
            let (name, value) = parameter.split_once('=').ok_or(wrong)?;
            let value = unquote(trim(value));
            let name = trim(name);
            if !chars::is_token(name.as_bytes()) {
                return Err(wrong);
            }
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            let optional = if is("algorithm") {
                &mut credentials.algorithm
            } else if is("cnonce") {
                &mut credentials.cnonce
            } else if is("qop") {
                &mut credentials.qop
            } else if is("nc") {
                &mut credentials.nc
            } else {
                let (slot, bit) = if is("username") {
                    (&mut credentials.username, 1)
                } else if is("realm") {
                    (&mut credentials.realm, 2)
                } else if is("nonce") {
                    (&mut credentials.nonce, 4)
                } else if is("uri") {
                    (&mut credentials.uri, 8)
                } else if is("response") {
                    (&mut credentials.response, 16)
                } else {
                    continue;
                };
                if required & bit != 0 {
                    return Err(wrong);
                }
                required |= bit;
                *slot = value;
                continue;
            };
            if optional.replace(value).is_some() {
                return Err(wrong);
            }
        }
        if required == 31 {
            Ok(credentials)
        } else {
            Err(Invalid::new(Fault::Credentials, text.len()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elements(text: &str) -> Vec<Result<&str, Invalid>> {
        list(text).collect()
    }

    #[test]
    fn lists_split_outside_quotes_and_brackets() {
        assert_eq!(
            elements(r#""a, \"b" <sip:x,y@h>;q=1 , <sip:z@h>"#),
            [Ok(r#""a, \"b" <sip:x,y@h>;q=1"#), Ok("<sip:z@h>")]
        );
        assert_eq!(elements("a,,b"), [Ok("a"), Ok(""), Ok("b")]);
        assert!(elements(r#"a, "open"#)[1].is_err());
    }

    #[test]
    fn via_allows_white_space_round_separators() {
        let via =
            Via::parse("SIP  / 2.0  /UDP     192.0.2.2 ; branch=z9hG4bK390skdjuw; rport").unwrap();
        assert_eq!(
            (via.transport, via.host, via.port),
            ("UDP", "192.0.2.2", None)
        );
        assert_eq!(
            (via.branch(), via.params.get("rport")),
            (Some("z9hG4bK390skdjuw"), Some(""))
        );
        let via = Via::parse("SIP/2.0/TCP [2001:db8::9:1]:5070;received=2001:db8::9:255").unwrap();
        assert_eq!((via.host, via.port), ("[2001:db8::9:1]", Some(5070)));
        for bad in [
            "",
            "SIP/2.0/UDP",
            "SIP/7.0/UDP a",
            "SIP/2.0/UDP 192.0.2.15;;",
            "SIP/2.0/UDP a:0",
            "SIP/2.0/UDP a;=1",
            "SIP/2.0/U@P a",
        ] {
            assert!(Via::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_bare_cookie_is_no_branch() {
        assert_eq!(
            Via::parse("SIP/2.0/UDP a;branch=z9hG4bK").unwrap().branch(),
            None
        );
        assert_eq!(Via::parse("SIP/2.0/UDP a;branch=1").unwrap().branch(), None);
    }

    #[test]
    fn the_uri_is_in_the_first_brackets_outside_quotes() {
        let text = r#""<x>" <sip:a@h;lr>;+sip.instance="<urn:uuid:1>";expires=60"#;
        let contact = NameAddr::parse(text).unwrap();
        assert_eq!(contact.uri, "sip:a@h;lr");
        assert_eq!(
            unquote(contact.params.get("+SIP.instance").unwrap()),
            "<urn:uuid:1>"
        );
        assert_eq!(contact.params.get("expires"), Some("60"));
        assert_eq!(
            NameAddr::parse("sip:a@h;x=1").unwrap().params.get("x"),
            Some("1")
        );
        assert_eq!(
            NameAddr::parse("caller<sip:a@h>;tag=3").unwrap().tag(),
            Some("3")
        );
        for bad in [
            "",
            "\"open <sip:a@h>",
            "<sip:a@h",
            "sip:a@h?x=1",
            "<sip:a@h>;;",
            "sip a@h",
            "<>",
            "a, b <sip:a@h>",
            "\"a\" b <sip:a@h>",
            "<sip:a@h>x",
        ] {
            assert!(NameAddr::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn cseq_ends_below_2_to_32() {
        assert_eq!(cseq("0009  INVITE"), Ok((9, "INVITE")));
        assert_eq!(cseq("4294967295 MESSAGE"), Ok((u32::MAX, "MESSAGE")));
        for bad in [
            "",
            "1",
            "-1 MESSAGE",
            "+1 MESSAGE",
            "4294967296 MESSAGE",
            "1 MES SAGE",
            " MESSAGE",
        ] {
            assert!(cseq(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn credentials_need_five_parameters_once_each() {
        let good = r#"Digest username="a\"b", realm="r", nonce="n", uri="sip:h", response="00", qop=auth, nc=00000001, cnonce="c, d", x=1"#;
        let credentials = Credentials::parse(good).unwrap().unwrap();
        assert_eq!(
            (&*credentials.username, credentials.cnonce.as_deref()),
            ("a\"b", Some("c, d"))
        );
        assert!(Credentials::parse("NoOneKnowsThisScheme opaque-data=here").is_none());
        assert!(
            Credentials::parse(&good.replace("x=1", "realm=\"s\""))
                .unwrap()
                .is_err()
        );
        assert!(
            Credentials::parse(&good.replace("uri=", "url="))
                .unwrap()
                .is_err()
        );
        assert!(Credentials::parse("Digest x").unwrap().is_err());
    }
}

//! Header values: lists, parameters, Via, name-addr, CSeq and digest credentials, borrowed from the text.
//!
//! The functions here are strict where RFC 4475 wants a refusal (empty parameters, open quotes, a `?`
//! outside brackets) and tolerant where real phones need it (white space round separators).

use std::borrow::Cow;

use crate::chars;

/// A value that its grammar does not allow; the text says which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invalid(pub &'static str);

/// The offset of the first octet of `text` that satisfies `found` outside a quoted string and, when
/// `angles` is set, outside `<>`; or an error for an open quoted string or bracket.
fn position(
    text: &str,
    angles: bool,
    found: impl Fn(u8) -> bool,
) -> Result<Option<usize>, Invalid> {
    let (mut quoted, mut escaped, mut bracketed) = (false, false, false);
    for (at, octet) in text.bytes().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' if !bracketed => quoted = !quoted,
            _ if quoted => {}
            _ if !bracketed && found(octet) => return Ok(Some(at)),
            b'<' if angles => bracketed = true,
            b'>' if angles => bracketed = false,
            _ => {}
        }
    }
    match (quoted, bracketed) {
        (true, _) => Err(Invalid("a quoted string does not end")),
        (_, true) => Err(Invalid("a < has no >")),
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
        let text = rest?;
        match position(text, true, |octet| octet == b',') {
            Ok(Some(at)) => {
                rest = Some(&text[at + 1..]);
                Some(Ok(text[..at].trim()))
            }
            Ok(None) => {
                rest = None;
                Some(Ok(text.trim()))
            }
            Err(invalid) => {
                rest = None;
                Some(Err(invalid))
            }
        }
    })
}

/// Parameters of a header value: `*( ";" name [ "=" value ] )`, checked when made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params<'a>(&'a str);

impl<'a> Params<'a> {
    /// Reads what follows a value: nothing, or `;` and parameters.
    fn parse(text: &'a str) -> Result<Self, Invalid> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Self(""));
        }
        let text = text
            .strip_prefix(';')
            .ok_or(Invalid("a parameter starts with ;"))?;
        for parameter in Self(text).iter() {
            let (name, value) = parameter?;
            let value_is_good = value.is_none_or(|value| {
                // A gen-value is a token, a host or a quoted string; `received` of old stacks is a bare
                // IPv6 address (RFC 5118 section 4.5).
                if value.starts_with('"') {
                    return value.len() > 1 && value.ends_with('"');
                }
                !value.is_empty()
                    && value
                        .bytes()
                        .all(|o| o.is_ascii_graphic() && !b"\"(),;<=>@\\{}".contains(&o))
            });
            if !chars::is_token(name.as_bytes()) || !value_is_good {
                return Err(Invalid("a parameter is name or name=value"));
            }
        }
        Ok(Self(text))
    }

    /// The parameters in order: name, and value when there is a `=`.
    pub(super) fn iter(self) -> impl Iterator<Item = Result<(&'a str, Option<&'a str>), Invalid>> {
        let mut rest = (!self.0.is_empty()).then_some(self.0);
        std::iter::from_fn(move || {
            let text = rest?;
            let parameter = match position(text, false, |octet| octet == b';') {
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
                    return Some(Err(invalid));
                }
            };
            let (name, value) = match parameter.split_once('=') {
                Some((name, value)) => (name, Some(value.trim())),
                None => (parameter, None),
            };
            Some(Ok((name.trim(), value)))
        })
    }

    /// The value of the parameter `name` (without regard to case): `Some("")` when it has none. Quoted
    /// values keep their quotes; see [`unquote`].
    pub fn get(self, name: &str) -> Option<&'a str> {
        let mut found = self
            .iter()
            .flatten()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.unwrap_or_default())
    }
}

/// The text of a quoted string without quotes and escapes; any other text as it is.
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
    pub fn parse(text: &'a str) -> Result<Self, Invalid> {
        const INVALID: Invalid = Invalid("Via is SIP/2.0/transport host:port;parameters");
        let mut parts = text.splitn(3, '/');
        let mut next = || parts.next().map(str::trim).ok_or(INVALID);
        let (protocol, version, rest) = (next()?, next()?, next()?);
        if !protocol.eq_ignore_ascii_case("SIP") || version != "2.0" {
            return Err(INVALID);
        }
        let (transport, rest) = rest.split_once([' ', '\t']).ok_or(INVALID)?;
        let rest = rest.trim_start();
        let end = rest.find(';').unwrap_or(rest.len());
        let (sent_by, params) = rest.split_at(end);
        let sent_by = sent_by.trim_end();
        let host_end = match sent_by.strip_prefix('[') {
            Some(inner) => inner.find(']').ok_or(INVALID)? + 2,
            None => sent_by.find(':').unwrap_or(sent_by.len()),
        };
        let (host, port) = sent_by.split_at(host_end);
        let port = match port.trim() {
            "" => None,
            port => Some(
                port.strip_prefix(':')
                    .and_then(|p| crate::port(p.trim()).ok())
                    .ok_or(INVALID)?,
            ),
        };
        let host = host.trim_end();
        // Received names are often no host names by the grammar (underscores, digits): only octets
        // that could confuse a reader are refused.
        let host_is_good = !host.is_empty()
            && host
                .bytes()
                .all(|o| o.is_ascii_alphanumeric() || b".-_[]:".contains(&o));
        if !chars::is_token(transport.as_bytes()) || !host_is_good {
            return Err(INVALID);
        }
        Ok(Self {
            transport,
            host,
            port,
            params: Params::parse(params)?,
        })
    }

    /// The branch that names a transaction by RFC 3261: with the magic cookie and something after it.
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
    /// The URI, of any scheme.
    pub uri: &'a str,
    /// The header parameters; not those of the URI.
    pub params: Params<'a>,
}

impl<'a> NameAddr<'a> {
    /// Reads one element. The URI is matched from the first `<` outside quotes, because a later parameter
    /// (`+sip.instance="<urn:uuid:..>"`) may hold brackets too.
    pub fn parse(text: &'a str) -> Result<Self, Invalid> {
        let text = text.trim();
        let (uri, params) = match position(text, false, |octet| octet == b'<')? {
            Some(at) => {
                display_name(text[..at].trim())?;
                let end = text[at..].find('>').ok_or(Invalid("a < has no >"))? + at;
                (&text[at + 1..end], &text[end + 1..])
            }
            None => {
                // Without brackets, what follows the first `;` are header parameters, and `?` and `,`
                // are not allowed at all (RFC 3261 section 20).
                let (uri, params) = text.split_at(text.find(';').unwrap_or(text.len()));
                if uri.contains(['?', ',', '"']) {
                    return Err(Invalid("a URI with ? or , stands in <>"));
                }
                (uri.trim_end(), params)
            }
        };
        let scheme = uri
            .split_once(':')
            .map(|(scheme, _)| scheme)
            .unwrap_or_default();
        let scheme_is_good = scheme
            .bytes()
            .all(|o| o.is_ascii_alphanumeric() || b"+-.".contains(&o))
            && scheme.starts_with(|c: char| c.is_ascii_alphabetic());
        if !scheme_is_good
            || !uri
                .bytes()
                .all(|o| o.is_ascii_graphic() && !b"<>\"".contains(&o))
        {
            return Err(Invalid("an address has a URI without white space"));
        }
        Ok(Self {
            uri,
            params: Params::parse(params)?,
        })
    }

    /// The `tag` parameter.
    pub fn tag(&self) -> Option<&'a str> {
        self.params.get("tag").filter(|tag| !tag.is_empty())
    }
}

fn display_name(text: &str) -> Result<(), Invalid> {
    let is_good = match text.strip_prefix('"') {
        Some(rest) => closing_quote(rest).is_some_and(|at| at + 1 == rest.len()),
        // A comma would start another element; other octets outside `token` are tolerated.
        None => !text.contains(['"', ',', ';', '>']),
    };
    is_good
        .then_some(())
        .ok_or(Invalid("a display name is a quoted string or words"))
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|octet| {
        let closes = octet == b'"' && !escaped;
        escaped = octet == b'\\' && !escaped;
        closes
    })
}

/// CSeq: a number below 2^32 and a method.
pub fn cseq(text: &str) -> Result<(u32, &str), Invalid> {
    const INVALID: Invalid = Invalid("CSeq is a number below 2^32 and a method");
    let (number, method) = text.split_once([' ', '\t']).ok_or(INVALID)?;
    let method = method.trim_start();
    if !number.bytes().all(|o| o.is_ascii_digit()) || !chars::is_token(method.as_bytes()) {
        return Err(INVALID);
    }
    Ok((number.parse().map_err(|_| INVALID)?, method))
}

/// The seconds of Expires or `expires=`: digits below 2^32.
pub fn delta_seconds(text: &str) -> Option<u32> {
    text.bytes()
        .all(|o| o.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
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
            .then(|| Self::parameters(rest))
    }

    fn parameters(text: &'a str) -> Result<Self, Invalid> {
        const INVALID: Invalid =
            Invalid("digest credentials are name=value, each once, separated by commas");
        let mut credentials = Self::default();
        let mut required = 0;
        for parameter in list(text) {
            let (name, value) = parameter?.split_once('=').ok_or(INVALID)?;
            let value = unquote(value.trim());
            let name = name.trim();
            if !chars::is_token(name.as_bytes()) {
                return Err(INVALID);
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
                    return Err(INVALID);
                }
                required |= bit;
                *slot = value;
                continue;
            };
            if optional.replace(value).is_some() {
                return Err(INVALID);
            }
        }
        if required == 31 {
            Ok(credentials)
        } else {
            Err(INVALID)
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

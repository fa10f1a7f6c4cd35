//! SIP and SIPS URIs, split into borrowed parts.
//!
//! Strict for URIs that people create, tolerant for received ones. It must not decide what a part is
//! used for: which parts count in a Request-URI or a Contact is the business of the caller.

use std::fmt;

use crate::chars::{self, HEADER, PARAM, UNRESERVED};
use crate::{Host, Rule, Violation, aor_user, port, uri_password, user};

/// The most parameters of one URI. The grammar has no limit; without one, the check that no name
/// occurs twice would take quadratic time on hostile input.
pub const URI_PARAMETERS_MAX: usize = 32;

/// The scheme of a URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `sip:`
    Sip,
    /// `sips:`, over TLS only.
    Sips,
}

/// A SIP or SIPS URI (RFC 3261 section 19.1.1) whose parts borrow from the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SipUri<'a> {
    /// The scheme.
    pub scheme: Scheme,
    /// The user part as written, with its escapes; `None` when there is no `@`.
    pub user: Option<&'a str>,
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
    /// URI may not ask for UDP, and the port is from 1 to 65535. A password in the URI is checked and
    /// dropped.
    ///
    /// # Errors
    /// The violated rule; offsets count from the start of `text`.
    pub fn parse(text: &'a str) -> Result<Self, Violation> {
        Self::read(text, true)
    }

    /// Reads a URI tolerantly, as it may stand in a received message.
    ///
    /// Unlike [`SipUri::parse`] it ignores the value of a known parameter that has the wrong form
    /// (`;lr=on`), and reads the host with [`Host::parse_received`].
    ///
    /// # Errors
    /// The violated rule; offsets count from the start of `text`.
    pub fn parse_received(text: &'a str) -> Result<Self, Violation> {
        Self::read(text, false)
    }

    fn read(text: &'a str, strict: bool) -> Result<Self, Violation> {
        let scheme = text.split(':').next().unwrap_or_default();
        let (scheme, mut at) = match scheme {
            s if s.eq_ignore_ascii_case("sip") && text.len() > 3 => (Scheme::Sip, 4),
            s if s.eq_ignore_ascii_case("sips") && text.len() > 4 => (Scheme::Sips, 5),
            _ => return Err(Violation::at(Rule::UriScheme, text, 0)),
        };
        // An `@` cannot occur after the userinfo, whereas `;` and `?` can occur in it.
        let mut name = None;
        if let Some(end) = text[at..].rfind('@') {
            let info = &text[at..at + end];
            let (before, password) = info
                .split_once(':')
                .map_or((info, None), |(u, p)| (u, Some(p)));
            user(before).map_err(|violation| violation.moved(at))?;
            if let Some(password) = password {
                uri_password(password).map_err(|v| v.moved(at + before.len() + 1))?;
            }
            name = Some(before);
            at += end + 1;
        }
        let rest = &text[at..];
        let host_end = match rest.strip_prefix('[') {
            Some(inner) => inner.find(']').map_or(rest.len(), |end| end + 2),
            None => rest.find([':', ';', '?']).unwrap_or(rest.len()),
        };
        let host = if strict {
            Host::parse
        } else {
            Host::parse_received
        };
        let host = host(&rest[..host_end]).map_err(|violation| violation.moved(at))?;
        at += host_end;
        let mut number = None;
        if let Some(digits) = text[at..].strip_prefix(':') {
            let end = digits.find([';', '?']).unwrap_or(digits.len());
            number = Some(port(&digits[..end]).map_err(|violation| violation.moved(at + 1))?);
            at += 1 + end;
        }
        let (parameters, headers) = text[at..]
            .split_once('?')
            .map_or((&text[at..], None), |(p, h)| (p, Some(h)));
        let headers_at = at + parameters.len() + 1;
        let parameters = match parameters.strip_prefix(';') {
            Some(parameters) => {
                parameters_check(parameters, strict, scheme).map_err(|v| v.moved(at + 1))?;
                parameters
            }
            None if parameters.is_empty() => parameters,
            None => return Err(Violation::at(Rule::UriAfterHost, text, at)),
        };
        if let Some(headers) = headers {
            headers_check(headers).map_err(|violation| violation.moved(headers_at))?;
        }
        Ok(Self {
            scheme,
            user: name,
            host,
            port: number,
            parameters,
            headers: headers.unwrap_or_default(),
        })
    }

    /// The parameters in the order of the text: name, and value when there is an `=`.
    pub fn parameters(&self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> + use<'a> {
        self.parameters
            .split(';')
            .filter(|parameter| !parameter.is_empty())
            .map(|parameter| {
                parameter
                    .split_once('=')
                    .map_or((parameter, None), |(n, v)| (n, Some(v)))
            })
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

    /// Whether the URI has headers (`?name=value`), which most places of a message do not allow.
    #[must_use]
    pub fn has_headers(&self) -> bool {
        !self.headers.is_empty()
    }

    /// The canonical user and domain of the address-of-record that this URI names; the user is `None`
    /// for a URI without one. Scheme, port, parameters and headers do not count.
    ///
    /// # Errors
    /// None for a URI of this type; the result mirrors [`aor_user`].
    pub fn aor(&self) -> Result<(Option<String>, String), Violation> {
        let user = self
            .user
            .map(aor_user)
            .transpose()?
            .map(|user| user.into_owned());
        Ok((user, self.host.canonical().into_owned()))
    }
}

impl fmt::Display for SipUri<'_> {
    /// Writes the URI without a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.scheme {
            Scheme::Sip => "sip:",
            Scheme::Sips => "sips:",
        })?;
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

fn parameters_check(text: &str, strict: bool, scheme: Scheme) -> Result<(), Violation> {
    let mut at = 0;
    for (count, parameter) in text.split(';').enumerate() {
        let wrong = |rule, offset: usize| Err(Violation::at(rule, text, at + offset));
        if count == URI_PARAMETERS_MAX {
            return wrong(Rule::UriParametersTooMany, 0);
        }
        let (name, value) = parameter
            .split_once('=')
            .map_or((parameter, None), |(n, v)| (n, Some(v)));
        // A `token` may hold a lone `%` and a backquote, which a generic parameter may not.
        let known = known(name);
        let part = |text: &str| {
            (!text.is_empty()).then(|| chars::first_foreign(text.as_bytes(), UNRESERVED | PARAM))
        };
        match part(name) {
            Some(None) => {}
            foreign => return wrong(Rule::UriParameter, foreign.flatten().unwrap_or(0)),
        }
        if let Some(value) = value {
            let value_at = name.len() + 1;
            let as_known = known.is_some_and(|check| check(Some(value)));
            match part(value) {
                _ if as_known => {}
                Some(None) => {}
                foreign => {
                    return wrong(
                        Rule::UriParameter,
                        value_at + foreign.flatten().unwrap_or(0),
                    );
                }
            }
        }
        if strict && known.is_some_and(|check| !check(value)) {
            return wrong(Rule::UriParameterValue, 0);
        }
        let is_udp = name.eq_ignore_ascii_case("transport")
            && value.is_some_and(|v| v.eq_ignore_ascii_case("udp"));
        if strict && scheme == Scheme::Sips && is_udp {
            return wrong(Rule::UriSipsOverUdp, 0);
        }
        let earlier = text[..at].split_terminator(';');
        if earlier
            .map(|p| p.split('=').next().unwrap_or_default())
            .any(|n| n.eq_ignore_ascii_case(name))
        {
            return wrong(Rule::UriParameterTwice, 0);
        }
        at += parameter.len() + 1;
    }
    Ok(())
}

type ValueCheck = fn(Option<&str>) -> bool;

/// The check of the value of a parameter that RFC 3261 section 25.1 gives its own production.
fn known(name: &str) -> Option<ValueCheck> {
    fn token(value: Option<&str>) -> bool {
        value.is_some_and(|v| chars::is_token(v.as_bytes()))
    }
    fn ttl(value: Option<&str>) -> bool {
        value.is_some_and(|v| {
            v.len() <= 3 && v.bytes().all(|o| o.is_ascii_digit()) && v.parse::<u8>().is_ok()
        })
    }
    const KNOWN: [(&str, ValueCheck); 6] = [
        ("transport", token),
        ("user", token),
        ("method", token),
        ("ttl", ttl),
        ("maddr", |value| {
            value.is_some_and(|v| Host::parse(v).is_ok())
        }),
        ("lr", |value| value.is_none()),
    ];
    KNOWN
        .iter()
        .find(|(n, _)| n.eq_ignore_ascii_case(name))
        .map(|(_, check)| *check)
}

fn headers_check(text: &str) -> Result<(), Violation> {
    let mut at = 0;
    for header in text.split('&') {
        let foreign = |part: &str| chars::first_foreign(part.as_bytes(), UNRESERVED | HEADER);
        let wrong = match header.split_once('=') {
            None => Some(header.len()),
            Some(("", _)) => Some(0),
            Some((name, value)) => {
                foreign(name).or_else(|| foreign(value).map(|at| name.len() + 1 + at))
            }
        };
        if let Some(offset) = wrong {
            return Err(Violation::at(Rule::UriHeader, text, at + offset));
        }
        at += header.len() + 1;
    }
    Ok(())
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
        assert_eq!(
            uri.aor().unwrap(),
            (
                Some("user;par=u%40example.net".into()),
                "example.com".into()
            )
        );
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
            ("sip:a:p;w@a.com", Rule::UriPassword, 7),
            ("sip:a@a_b", Rule::HostCharacter, 7),
            ("sip:a@[::1]x", Rule::UriAfterHost, 11),
            ("sip:a@a.com:0", Rule::Port, 12),
            ("sip:a@a.com:5060x", Rule::Port, 16),
            ("sip:a@a.com;", Rule::UriParameter, 12),
            ("sip:a@a.com;a=", Rule::UriParameter, 14),
            ("sip:a@a.com;a=1;A", Rule::UriParameterTwice, 16),
            ("sip:a@a.com;lr=on", Rule::UriParameterValue, 12),
            ("sip:a@a.com;ttl=256", Rule::UriParameterValue, 12),
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
    fn parameters_are_bounded() {
        let with = |count: usize| {
            let parameters: String = (0..count).map(|i| format!(";p{i}")).collect();
            format!("sip:a@a.com{parameters}")
        };
        assert!(SipUri::parse(&with(URI_PARAMETERS_MAX)).is_ok());
        let violation = SipUri::parse(&with(URI_PARAMETERS_MAX + 1)).unwrap_err();
        assert_eq!(violation.rule, Rule::UriParametersTooMany);
    }
}

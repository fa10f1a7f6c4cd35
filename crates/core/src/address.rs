//! How callers name endpoints: SIP URIs, the forms of ARI (`technology:resource`), and canonical names.

use crate::error::{Problem, ProblemCode, ProblemDetail};
use crate::ports::store::EndpointKey;
use sip_validate::{SipUri, Violation};

/// A technology and its other names, as ARI spells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TechnologyName {
    /// The name.
    pub name: &'static str,
    /// Other names, in lower case.
    pub aliases: &'static [&'static str],
    /// Whether this instance can carry messages of it.
    pub available: bool,
}

/// The technologies that the product knows.
pub const TECHNOLOGIES: &[TechnologyName] = &[
    TechnologyName {
        name: "SIP",
        aliases: &["sip", "pjsip"],
        available: true,
    },
    TechnologyName {
        name: "XMPP",
        aliases: &["xmpp"],
        available: false,
    },
];

/// Finds a technology by name or alias, in any case.
#[must_use]
pub fn technology(name: &str) -> Option<&'static TechnologyName> {
    TECHNOLOGIES.iter().find(|t| {
        t.aliases
            .iter()
            .any(|alias| alias.eq_ignore_ascii_case(name))
    })
}

/// Reads `sip:user@domain`, `sips:…`, `pjsip:resource` or `pjsip:resource@domain`.
///
/// # Errors
/// `Validation` for an empty or malformed one, `NotFound` for an unknown scheme or a URI without a user,
/// `TechnologyUnavailable` for `xmpp:`.
pub fn endpoint_uri(field: &str, text: &str) -> Result<EndpointKey, Problem> {
    if text.is_empty() {
        return Err(Problem::validation(field, "An address must not be empty."));
    }
    let Some((scheme, rest)) = text.split_once(':') else {
        return Err(Problem::validation(
            field,
            "An address starts with a technology: sip:, sips: or pjsip:.",
        ));
    };
    if scheme.eq_ignore_ascii_case("sips") || scheme.eq_ignore_ascii_case("sip") {
        let uri = SipUri::parse(text).map_err(|v| violation(field, text, &v))?;
        let aor = uri.aor();
        let Some(canonical) = aor.user else {
            return Err(Problem::not_found(field, "endpoint"));
        };
        return Ok(EndpointKey::Name {
            domain: Some(aor.domain.into_owned()),
            canonical: canonical.into_owned(),
        });
    }
    require_technology(field, scheme)?;
    match rest.rsplit_once('@') {
        Some((resource, domain)) => resource_key(field, resource, Some(domain)),
        None => resource_key(field, rest, None),
    }
}

/// Whom a message is to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// An endpoint of the account.
    Endpoint {
        /// Which.
        key: EndpointKey,
        /// The user part of its address as it was written, which may be a number.
        user: Option<String>,
    },
    /// A number, or digits that a transformation makes one.
    Number(String),
    /// Somebody behind an endpoint of the account, which is a trunk.
    Through {
        /// The trunk.
        trunk: EndpointKey,
        /// Whom it leads to.
        through: Through,
    },
}

/// Whom a trunk leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Through {
    /// A user or number of the system behind it.
    User(String),
    /// A SIP address.
    Uri(String),
}

impl From<EndpointKey> for Call {
    fn from(key: EndpointKey) -> Self {
        Call::Endpoint { key, user: None }
    }
}

impl Call {
    /// Returns the endpoint that is named, if one is.
    #[must_use]
    pub fn endpoint(&self) -> Option<&EndpointKey> {
        match self {
            Call::Endpoint { key, .. } => Some(key),
            Call::Through { trunk, .. } => Some(trunk),
            Call::Number(_) => None,
        }
    }
}

/// Reads whom a message is to: the forms of [`endpoint_uri`] and those of ARI that name a way: `pjsip:endpoint/aor`,
/// `pjsip:endpoint/user@host`, `pjsip:endpoint/sip:user@host`, `pjsip:sip:user@host` and `pjsip:PJSIP/user@endpoint`. An endpoint's
/// name may have a slash: of several readings the first that leads somewhere counts, so all are given, never none.
///
/// # Errors
/// As [`endpoint_uri`].
pub fn calls(field: &str, text: &str) -> Result<Vec<Call>, Problem> {
    let Some((scheme, rest)) = text.split_once(':') else {
        return Err(endpoint_uri(field, text)
            .err()
            .unwrap_or_else(|| Problem::not_found(field, "endpoint")));
    };
    let is_sip =
        |scheme: &str| scheme.eq_ignore_ascii_case("sip") || scheme.eq_ignore_ascii_case("sips");
    if text.is_empty() || is_sip(scheme) {
        return sip_call(field, text).map(|call| vec![call]);
    }
    require_technology(field, scheme)?;
    if rest
        .split_once(':')
        .is_some_and(|(scheme, _)| is_sip(scheme))
    {
        return sip_call(field, rest).map(|call| vec![call]);
    }
    let Some((before, behind)) = rest.split_once('/') else {
        return endpoint_uri(field, text).map(|key| vec![key.into()]);
    };
    if behind
        .split_once(':')
        .is_some_and(|(scheme, _)| is_sip(scheme))
    {
        return through_uri(field, before, behind).map(|call| vec![call]);
    }
    let mut calls = Vec::new();
    calls.extend(endpoint_uri(field, text).ok().map(Call::from));
    let user_and_place = behind.rsplit_once('@');
    if let Some((user, endpoint)) = user_and_place
        && technology(before).is_some_and(|known| known.available)
    {
        calls.extend(through_user(field, endpoint, user).ok());
    }
    match user_and_place {
        Some(_) => calls.extend(through_uri(field, before, &format!("sip:{behind}")).ok()),
        None => calls.extend(through_user(field, before, behind).ok()),
    }
    if calls.is_empty() {
        return Err(Problem::not_found(field, "endpoint"));
    }
    Ok(calls)
}

fn sip_call(field: &str, text: &str) -> Result<Call, Problem> {
    let key = endpoint_uri(field, text)?;
    let user = SipUri::parse(text).ok().and_then(|uri| uri.user);
    Ok(Call::Endpoint {
        user: user.map(str::to_owned),
        key,
    })
}

fn through_uri(field: &str, endpoint: &str, uri: &str) -> Result<Call, Problem> {
    let parsed = SipUri::parse(uri).map_err(|v| violation(field, uri, &v))?;
    if parsed.user.is_none() {
        return Err(Problem::not_found(field, "endpoint"));
    }
    Ok(Call::Through {
        trunk: resource_key(field, endpoint, None)?,
        through: Through::Uri(uri.to_owned()),
    })
}

fn through_user(field: &str, endpoint: &str, user: &str) -> Result<Call, Problem> {
    sip_validate::aor_user(user).map_err(|_| Problem::not_found(field, "endpoint"))?;
    Ok(Call::Through {
        trunk: resource_key(field, endpoint, None)?,
        through: Through::User(user.to_owned()),
    })
}

/// Reads a (technology, resource) pair of ARI, with the domain that makes the resource unique.
///
/// # Errors
/// `NotFound` for an unknown technology, `TechnologyUnavailable` for one that is not available, `Validation` for an
/// empty resource or a malformed domain.
pub fn endpoint_resource(
    field: &str,
    technology: &str,
    resource: &str,
    domain: Option<&str>,
) -> Result<EndpointKey, Problem> {
    require_technology(field, technology)?;
    resource_key(field, resource, domain)
}

fn require_technology(field: &str, name: &str) -> Result<(), Problem> {
    match technology(name) {
        None => Err(Problem::not_found(field, "technology")),
        Some(known) if !known.available => Err(Problem::new(
            ProblemCode::TechnologyUnavailable,
            field,
            format!("{} is not available on this instance.", known.name),
        )),
        Some(_) => Ok(()),
    }
}

fn resource_key(field: &str, resource: &str, domain: Option<&str>) -> Result<EndpointKey, Problem> {
    if resource.is_empty() {
        return Err(Problem::validation(field, "A resource must not be empty."));
    }
    let domain = domain
        .map(|text| sip_validate::domain(text).map_err(|v| violation(field, text, &v)))
        .transpose()?
        .map(std::borrow::Cow::into_owned);
    // A resource that is no SIP user names no endpoint: that is "not found", not a broken rule (ARI answers 404).
    let canonical = sip_validate::aor_user(resource)
        .map_err(|_| Problem::not_found(field, "endpoint"))?
        .into_owned();
    Ok(EndpointKey::Name { domain, canonical })
}

/// Reads a number of the account, by which an endpoint is named.
///
/// # Errors
/// `Validation` for what is no E.164 number.
pub fn own_number(field: &str, text: &str) -> Result<EndpointKey, Problem> {
    match sip_validate::e164(text) {
        Ok(number) => Ok(EndpointKey::Number(number.into_owned())),
        Err(v) => Err(violation(field, text, &v)),
    }
}

/// Reads a number as a caller writes it: in E.164 form, visual separators dropped, or digits as they are dialled.
///
/// # Errors
/// `Validation` for what can be no number.
pub fn dialled(field: &str, text: &str) -> Result<String, Problem> {
    if let Ok(number) = sip_validate::e164(text) {
        return Ok(number.into_owned());
    }
    crate::transformation::number(field, text)?;
    Ok(text.to_owned())
}

/// Turns a broken rule of SIP's grammar into a problem at a field, with the place in UTF-16 code units.
#[must_use]
pub fn violation(field: &str, text: &str, violation: &Violation) -> Problem {
    let before = text.get(..violation.byte_offset).unwrap_or(text);
    Problem::validation(field, format!("{violation}.")).with_detail(ProblemDetail {
        rule: Some(violation.rule.text().to_owned()),
        offset: Some(before.encode_utf16().count()),
        byte_offset: Some(violation.byte_offset),
        character: violation.character.map(String::from),
        rfc: Some(violation.rfc().to_owned()),
        ..ProblemDetail::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(domain: Option<&str>, canonical: &str) -> EndpointKey {
        EndpointKey::Name {
            domain: domain.map(str::to_owned),
            canonical: canonical.to_owned(),
        }
    }

    #[test]
    fn e104_forms_of_an_address() {
        for (text, key) in [
            ("sip:alice@Example.COM", name(Some("example.com"), "alice")),
            ("sips:alice@example.com", name(Some("example.com"), "alice")),
            ("pjsip:alice", name(None, "alice")),
            (
                "PJSIP:%61lice@example.com",
                name(Some("example.com"), "alice"),
            ),
        ] {
            assert_eq!(endpoint_uri("to", text), Ok(key), "{text}");
        }
    }

    fn through(trunk: &str, through: Through) -> Call {
        Call::Through {
            trunk: name(None, trunk),
            through,
        }
    }

    #[test]
    fn e104_forms_that_name_a_way() {
        let uri = |text: &str| Through::Uri(text.to_owned());
        let user = |text: &str| Through::User(text.to_owned());
        let plain = |domain: Option<&str>, canonical: &str| Call::from(name(domain, canonical));
        let dialled = Call::Endpoint {
            key: name(Some("example.com"), "+12125550100"),
            user: Some("+12125550100".to_owned()),
        };
        for (text, expected) in [
            ("sip:+12125550100@example.com", vec![dialled.clone()]),
            ("pjsip:sip:+12125550100@example.com", vec![dialled]),
            ("pjsip:bob", vec![plain(None, "bob")]),
            (
                "pjsip:gw/sip:zoe@host.test;transport=tcp",
                vec![through("gw", uri("sip:zoe@host.test;transport=tcp"))],
            ),
            (
                "pjsip:gw/zoe@host.test",
                vec![
                    plain(Some("host.test"), "gw/zoe"),
                    through("gw", uri("sip:zoe@host.test")),
                ],
            ),
            (
                "pjsip:gw/zoe",
                vec![plain(None, "gw/zoe"), through("gw", user("zoe"))],
            ),
            (
                "pjsip:PJSIP/+1212@gw",
                vec![
                    through("gw", user("+1212")),
                    through("PJSIP", uri("sip:+1212@gw")),
                ],
            ),
        ] {
            let mut found = calls("to", text).unwrap();
            found.retain(|call| expected.contains(call));
            assert_eq!(found, expected, "{text}");
        }
        for (text, code) in [
            ("", ProblemCode::Validation),
            ("bob", ProblemCode::Validation),
            ("foo:x/y", ProblemCode::NotFound),
            ("xmpp:a/b@c", ProblemCode::TechnologyUnavailable),
            ("pjsip:gw/sip:a b@c", ProblemCode::Validation),
        ] {
            assert_eq!(calls("to", text).unwrap_err().code, code, "{text}");
        }
    }

    #[test]
    fn e106_addresses_that_lead_nowhere() {
        for (text, code) in [
            ("", ProblemCode::Validation),
            ("alice", ProblemCode::Validation),
            ("foo:x", ProblemCode::NotFound),
            ("iax2:x", ProblemCode::NotFound),
            ("xmpp:a@b", ProblemCode::TechnologyUnavailable),
            ("sip:example.com", ProblemCode::NotFound),
            ("sip:a b@example.com", ProblemCode::Validation),
        ] {
            assert_eq!(endpoint_uri("to", text).unwrap_err().code, code, "{text}");
        }
    }
}

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

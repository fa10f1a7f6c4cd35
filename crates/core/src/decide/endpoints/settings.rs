//! What a caller may give of an endpoint, and what becomes of an endpoint by it: the rules of every field, once for
//! create, update and replace.

use super::numbers::numbers;
use crate::address::violation;
use crate::binding::Transport;
use crate::commit::EndpointSecret;
use crate::decide::domains::text_limit;
use crate::decide::{Mint, http_url};
use crate::digest::{DigestAlgorithm, Ha1, ha1_values};
use crate::domain::Domain;
use crate::endpoint::{
    ADDRESSES_MAX, Address, AddressDirection, Cipher, Codec, DESCRIPTION_MAX, DISPLAY_NAME_MAX,
    Encryption, Endpoint, EndpointField, EndpointType, JSON_BYTES_MAX, JSON_DEPTH_MAX, NestedMode,
    PORT_DEFAULT, SEND_AS_RANDOM, Simulation, Transformation, each_once,
};
use crate::error::{Problem, ProblemCode, ProblemDetail};
use crate::json::{Extent, Json, JsonObject, extent};
use crate::keyring::Secret;
use crate::patch::Field;
use crate::transformation::{GivenRule, Rule, Transformations};
use crate::{AddressId, ApplicationId, TransformationId};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sip_validate::Host;

/// The longest user name for a digest challenge, in characters; as long as the user part of an address.
const USERNAME_MAX: usize = 128;
/// The longest password for a digest challenge of another system, in characters.
const PASSWORD_MAX: usize = 256;
/// The longest name of a location, in characters.
const LOCATION_MAX: usize = 255;
/// The longest key of attributes and properties, in characters.
const KEY_MAX: usize = 128;
/// The longest URL, in characters; what browsers and servers take.
const URL_MAX: usize = 2048;

/// A password to register with: given, or generated, or known by its digests alone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewCredentials {
    /// The password. Null would remove it, which is refused.
    pub password: Field<Secret>,
    /// Whether one is made here and told once.
    pub generate: bool,
    /// HA1 values that another system kept for the endpoint's name and domain. Those given with a password must be its own.
    /// Only the operator gives them: whoever has them can register.
    pub digests: Vec<Ha1>,
}

impl NewCredentials {
    /// Returns a given password.
    #[must_use]
    pub fn password(text: &str) -> Self {
        Self {
            password: Field::Value(Secret::new(text)),
            ..Self::default()
        }
    }

    /// Asks for a generated password.
    #[must_use]
    pub fn generated() -> Self {
        Self {
            generate: true,
            ..Self::default()
        }
    }

    /// Returns digests of a password that is not known.
    #[must_use]
    pub fn digests(digests: Vec<Ha1>) -> Self {
        Self {
            digests,
            ..Self::default()
        }
    }
}

/// An address, or changes of one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AddressSettings {
    /// Which address is meant; `None` for a new one.
    pub id: Option<AddressId>,
    /// For what it is.
    pub direction: Field<AddressDirection>,
    /// An IP address or a host name.
    pub ip: Field<String>,
    /// Its port.
    pub port: Field<i32>,
    /// The port of ours at which it may arrive.
    pub dst_port: Field<i32>,
    /// Lower is tried first.
    pub priority: Field<i32>,
    /// How it is reached.
    pub transport: Field<Transport>,
    /// Whether its media is encrypted with SRTP.
    pub srtp: Field<bool>,
    /// The caller's name of its location.
    pub location_sid: Field<String>,
    /// The user name for its digest challenge.
    pub sip_username: Field<String>,
    /// The password for its digest challenge.
    pub sip_password: Field<Secret>,
}

/// A transformation, or a change of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransformationSettings {
    /// Which transformation is meant; `None` for a new one.
    pub id: Option<TransformationId>,
    /// The rule.
    pub rule: GivenRule,
}

/// What a caller gives of an endpoint. Null means a field's default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EndpointSettings {
    /// The password.
    pub credentials: Field<NewCredentials>,
    /// The label for people.
    pub display_name: Field<String>,
    /// A note for people.
    pub description: Field<String>,
    /// Its application.
    pub application: Field<ApplicationId>,
    /// Whether it may register, send and receive; by default it may.
    pub enabled: Field<bool>,
    /// The numbers on which it receives and from which it sends; none by default.
    pub numbers: Field<Vec<String>>,
    /// The name that others see as the caller.
    pub caller_id: Field<String>,
    /// The number that it sends from.
    pub send_as: Field<String>,
    /// Whether it may reach numbers outside; by default it may not.
    pub allow_outside: Field<bool>,
    /// Its cipher suites; an empty list means the profile's.
    pub ciphers: Field<Vec<Cipher>>,
    /// Its codecs; an empty list means the profile's.
    pub codecs: Field<Vec<Codec>>,
    /// Whether encrypted transports are demanded.
    pub encryption: Field<Encryption>,
    /// Which digests are kept; by default all that its domain may come to ask for.
    pub digest_algorithms: Field<Vec<DigestAlgorithm>>,
    /// The most inbound calls at a time; 0 by default.
    pub capacity: Field<i32>,
    /// Whether what it sends must be authenticated; by default it must.
    pub auth_required: Field<bool>,
    /// Where a trunk stands.
    pub addresses: Field<Vec<AddressSettings>>,
    /// What the caller keeps with it.
    pub attributes: Field<JsonObject>,
    /// What its type needs.
    pub properties: Field<JsonObject>,
    /// Rules on numbers.
    pub transformations: Field<Vec<TransformationSettings>>,
    /// The user name for digest challenges of a trunk.
    pub out_sip_username: Field<String>,
    /// The password for digest challenges of a trunk.
    pub out_sip_password: Field<Secret>,
    /// How it behaves when no phone stands behind it.
    pub simulation: Field<Simulation>,
}

impl EndpointSettings {
    /// Returns whether the caller named a field.
    #[must_use]
    pub fn gives(&self, field: EndpointField) -> bool {
        match field {
            EndpointField::Credentials => self.credentials.is_given(),
            EndpointField::DisplayName => self.display_name.is_given(),
            EndpointField::Description => self.description.is_given(),
            EndpointField::Application => self.application.is_given(),
            EndpointField::Enabled => self.enabled.is_given(),
            EndpointField::Numbers => self.numbers.is_given(),
            EndpointField::CallerId => self.caller_id.is_given(),
            EndpointField::SendAs => self.send_as.is_given(),
            EndpointField::AllowOutside => self.allow_outside.is_given(),
            EndpointField::Ciphers => self.ciphers.is_given(),
            EndpointField::Codecs => self.codecs.is_given(),
            EndpointField::Encryption => self.encryption.is_given(),
            EndpointField::DigestAlgorithms => self.digest_algorithms.is_given(),
            EndpointField::Capacity => self.capacity.is_given(),
            EndpointField::AuthRequired => self.auth_required.is_given(),
            EndpointField::Addresses => self.addresses.is_given(),
            EndpointField::Attributes => self.attributes.is_given(),
            EndpointField::Properties => self.properties.is_given(),
            EndpointField::Transformations => self.transformations.is_given(),
            EndpointField::OutSipUsername => self.out_sip_username.is_given(),
            EndpointField::OutSipPassword => self.out_sip_password.is_given(),
            EndpointField::Simulation => self.simulation.is_given(),
        }
    }

    /// Returns the texts of all secrets in it, which its `Debug` hides, in an order of its own: for the MAC of a call
    /// that may be repeated.
    #[must_use]
    pub fn secrets(&self) -> Vec<&str> {
        let password = self.credentials.value().and_then(|c| c.password.value());
        let digests = self.credentials.value().into_iter();
        let digests = digests.flat_map(|c| &c.digests).map(|digest| &digest.value);
        let addresses = self.addresses.value().into_iter().flatten();
        password
            .into_iter()
            .chain(self.out_sip_password.value())
            .chain(addresses.filter_map(|address| address.sip_password.value()))
            .chain(digests)
            .map(Secret::expose)
            .collect()
    }
}

/// What becomes of an endpoint.
pub(super) struct Applied {
    /// The endpoint afterwards; its version and its time of change are as before.
    pub(super) endpoint: Endpoint,
    /// The password, when there is a new one.
    pub(super) password: Option<Secret>,
    /// Whether the password was made here.
    pub(super) is_generated: bool,
    /// Digests of a new password that is not known.
    pub(super) digests: Vec<Ha1>,
    /// Secrets that are set, or removed by `None`.
    pub(super) secrets: Vec<(EndpointSecret, Option<Secret>)>,
    /// What is wrong; the rest means nothing then.
    pub(super) problems: Vec<Problem>,
}

impl Applied {
    /// Returns the HA1 values of the new password; `None` when those before stay.
    pub(super) fn ha1(&self) -> Option<Vec<Ha1>> {
        let Endpoint {
            name,
            domain_name,
            digest_algorithms,
            ..
        } = &self.endpoint;
        match &self.password {
            Some(password) => {
                let text = password.expose();
                Some(ha1_values(name, domain_name, text, digest_algorithms))
            }
            None => {
                let is_kept = |ha1: &&Ha1| digest_algorithms.contains(&ha1.algorithm);
                let kept: Vec<Ha1> = self.digests.iter().filter(is_kept).cloned().collect();
                (!kept.is_empty()).then_some(kept)
            }
        }
    }

    /// Returns which fields differ from those before, in the order of the API.
    pub(super) fn changed(&self, before: &Endpoint) -> Vec<EndpointField> {
        let after = &self.endpoint;
        let sets = |kind: fn(&EndpointSecret) -> bool| self.secrets.iter().any(|(s, _)| kind(s));
        let differs = |field: &EndpointField| match field {
            EndpointField::Credentials => self.password.is_some() || !self.digests.is_empty(),
            EndpointField::DisplayName => after.display_name != before.display_name,
            EndpointField::Description => after.description != before.description,
            EndpointField::Application => after.application != before.application,
            EndpointField::Enabled => after.enabled != before.enabled,
            EndpointField::Numbers => after.numbers != before.numbers,
            EndpointField::CallerId => after.caller_id != before.caller_id,
            EndpointField::SendAs => after.send_as != before.send_as,
            EndpointField::AllowOutside => after.allow_outside != before.allow_outside,
            EndpointField::Ciphers => after.ciphers != before.ciphers,
            EndpointField::Codecs => after.codecs != before.codecs,
            EndpointField::Encryption => after.encryption != before.encryption,
            EndpointField::DigestAlgorithms => after.digest_algorithms != before.digest_algorithms,
            EndpointField::Capacity => after.capacity != before.capacity,
            EndpointField::AuthRequired => after.auth_required != before.auth_required,
            EndpointField::Addresses => {
                after.nested.addresses != before.nested.addresses
                    || sets(|secret| matches!(secret, EndpointSecret::AddressPassword(_)))
            }
            EndpointField::Attributes => after.nested.attributes != before.nested.attributes,
            EndpointField::Properties => after.nested.properties != before.nested.properties,
            EndpointField::Transformations => {
                after.nested.transformations != before.nested.transformations
            }
            EndpointField::OutSipUsername => after.out_sip_username != before.out_sip_username,
            EndpointField::OutSipPassword => {
                sets(|secret| matches!(secret, EndpointSecret::OutSipPassword))
            }
            EndpointField::Simulation => after.simulation != before.simulation,
        };
        EndpointField::ALL
            .iter()
            .copied()
            .filter(|field| differs(field))
            .collect()
    }
}

/// Which digests are kept by default: SHA-256 and all that the domain asks for, so that MD5 is not kept where it has
/// been ruled out.
pub(super) fn default_algorithms(domain: &Domain) -> Vec<DigestAlgorithm> {
    let offered = |algorithm: &DigestAlgorithm| {
        *algorithm == DigestAlgorithm::Sha256 || domain.digest_algorithms.contains(algorithm)
    };
    DigestAlgorithm::ALL.into_iter().filter(offered).collect()
}

/// Gives an endpoint its settings. All that is wrong is found, with fields from inside the settings.
pub(super) fn apply(
    mint: &Mint<'_>,
    before: &Endpoint,
    domain: &Domain,
    settings: &EndpointSettings,
    mode: NestedMode,
) -> Applied {
    let mut applied = Applied {
        endpoint: before.clone(),
        password: None,
        is_generated: false,
        digests: Vec::new(),
        secrets: Vec::new(),
        problems: Vec::new(),
    };
    plain(&mut applied, before, domain, settings);
    password(mint, &mut applied, before, settings);
    addresses(mint, &mut applied, before, &settings.addresses, mode);
    let kind = before.kind;
    let nested = &mut applied.endpoint.nested;
    let problems = &mut applied.problems;
    merge(&mut nested.attributes, &settings.attributes, mode);
    merge(&mut nested.properties, &settings.properties, mode);
    problems.extend(json_limits("attributes", &nested.attributes));
    problems.extend(json_limits("properties", &nested.properties));
    problems.extend(property_problems(kind, &settings.properties, mode));
    transformations(mint, &mut applied, before, &settings.transformations, mode);
    applied
}

/// The fields that need nothing but their own value.
fn plain(applied: &mut Applied, before: &Endpoint, domain: &Domain, settings: &EndpointSettings) {
    let Applied {
        endpoint,
        secrets,
        problems,
        ..
    } = applied;
    if let Some(text) = settings.display_name.value() {
        problems.extend(text_limit("displayName", text, DISPLAY_NAME_MAX));
    }
    endpoint.display_name = settings.display_name.over(&before.display_name);
    if let Some(text) = settings.description.value() {
        problems.extend(text_limit("description", text, DESCRIPTION_MAX));
    }
    endpoint.description = settings.description.over(&before.description);
    endpoint.application = settings.application.over(&before.application);
    endpoint.enabled = settings.enabled.over_default(&before.enabled, true);
    match numbers(&settings.numbers, &before.numbers) {
        Ok(numbers) => endpoint.numbers = numbers,
        Err(found) => problems.extend(found),
    }
    if let Some(text) = settings.caller_id.value() {
        problems.extend(line("callerId", text, DISPLAY_NAME_MAX));
    }
    endpoint.caller_id = settings.caller_id.over(&before.caller_id);
    endpoint.send_as = match settings.send_as.value() {
        // A wrong one stays as it is, so that all that is wrong with it is found.
        Some(text) => Some(send_as("sendAs", text).unwrap_or_else(|found| {
            problems.push(found);
            text.clone()
        })),
        None => settings.send_as.over(&before.send_as),
    };
    endpoint.allow_outside = settings
        .allow_outside
        .over_default(&before.allow_outside, false);
    endpoint.ciphers = own_list(&settings.ciphers, &before.ciphers);
    endpoint.codecs = own_list(&settings.codecs, &before.codecs);
    endpoint.encryption = settings
        .encryption
        .over_default(&before.encryption, Encryption::Default);
    let mut algorithms = settings
        .digest_algorithms
        .over_default(&before.digest_algorithms, default_algorithms(domain));
    algorithms.sort_unstable();
    algorithms.dedup();
    if algorithms.is_empty() {
        problems.push(Problem::validation(
            "digestAlgorithms",
            "Give at least one digest algorithm.",
        ));
    }
    endpoint.digest_algorithms = algorithms;
    endpoint.capacity = settings.capacity.over_default(&before.capacity, 0);
    if endpoint.capacity < 0 {
        problems.push(at_least("capacity", 0, endpoint.capacity));
    }
    endpoint.auth_required = settings
        .auth_required
        .over_default(&before.auth_required, true);
    if let Some(text) = settings.out_sip_username.value() {
        problems.extend(username("outSipUsername", text));
    }
    endpoint.out_sip_username = settings.out_sip_username.over(&before.out_sip_username);
    endpoint.has_out_sip_password = secret(
        "outSipPassword",
        EndpointSecret::OutSipPassword,
        &settings.out_sip_password,
        before.has_out_sip_password,
        secrets,
        problems,
    );
    endpoint.simulation = settings.simulation.over(&before.simulation);
}

fn own_list<T: Copy + PartialEq>(given: &Field<Vec<T>>, before: &Option<Vec<T>>) -> Option<Vec<T>> {
    given
        .over(before)
        .map(|list| each_once(&list))
        .filter(|list| !list.is_empty())
}

/// Sets or removes a secret of another system's challenge; returns whether there is one afterwards.
fn secret(
    field: &str,
    which: EndpointSecret,
    given: &Field<Secret>,
    was_there: bool,
    secrets: &mut Vec<(EndpointSecret, Option<Secret>)>,
    problems: &mut Vec<Problem>,
) -> bool {
    match given {
        Field::Absent => was_there,
        Field::Null => {
            if was_there {
                secrets.push((which, None));
            }
            false
        }
        Field::Value(text) => {
            let length = text.expose().chars().count();
            if !(1..=PASSWORD_MAX).contains(&length) || text.expose().chars().any(char::is_control)
            {
                problems.push(Problem::validation(
                    field,
                    format!(
                        "A password has 1 to {PASSWORD_MAX} characters and no control characters."
                    ),
                ));
            }
            secrets.push((which, Some(text.clone())));
            true
        }
    }
}

/// The password to register with, and which digests of it are kept.
fn password(
    mint: &Mint<'_>,
    applied: &mut Applied,
    before: &Endpoint,
    settings: &EndpointSettings,
) {
    const FIELD: &str = "credentials.password";
    let problems = &mut applied.problems;
    match &settings.credentials {
        Field::Absent => {}
        Field::Null => {
            if before.has_password {
                problems.push(cannot_remove(FIELD));
            }
        }
        Field::Value(NewCredentials {
            password,
            generate,
            digests,
        }) => match (password, generate) {
            (Field::Value(_), true) => problems.push(Problem::validation(
                "credentials",
                "Give a password or have one generated, not both.",
            )),
            (Field::Absent | Field::Null, true) => {
                // 20 random bytes: 160 bits, 27 characters that every phone can type.
                let made = URL_SAFE_NO_PAD.encode(mint.bytes::<20>());
                applied.password = Some(Secret::new(made));
                applied.is_generated = true;
            }
            (Field::Value(given), false) => {
                if let Err(v) = sip_validate::endpoint_password(given.expose()) {
                    // The violation has no character, so that places alone come out of a secret.
                    problems.push(violation(FIELD, given.expose(), &v));
                }
                problems.extend(foreign_digests(before, given, digests));
                applied.password = Some(given.clone());
            }
            (Field::Null | Field::Absent, false) if !digests.is_empty() => {
                problems.extend(malformed_digests(digests));
                let algorithms = &mut applied.endpoint.digest_algorithms;
                if settings.digest_algorithms.value().is_none() {
                    algorithms.clear();
                    algorithms.extend(digests.iter().map(|digest| digest.algorithm));
                    algorithms.sort_unstable();
                    algorithms.dedup();
                }
                problems.extend(missing_digests(algorithms, digests));
                applied.digests = digests.iter().map(lower).collect();
            }
            (Field::Null, false) => {
                if before.has_password {
                    problems.push(cannot_remove(FIELD));
                }
            }
            (Field::Absent, false) => {}
        },
    }
    let endpoint = &mut applied.endpoint;
    let is_given = applied.password.is_some() || !applied.digests.is_empty();
    endpoint.has_password = before.has_password || is_given;
    let is_phone = endpoint.kind == EndpointType::SipUser && endpoint.simulation.is_none();
    if is_phone && !endpoint.has_password && problems_at(problems, "credentials").is_none() {
        problems.push(Problem::validation(
            FIELD,
            "Give a password of at least 6 characters, or ask for a generated one.",
        ));
    }
    let is_wider = endpoint
        .digest_algorithms
        .iter()
        .any(|algorithm| !before.digest_algorithms.contains(algorithm));
    if before.has_password && !is_given && is_wider {
        problems.push(Problem::validation(
            "digestAlgorithms",
            "Only digests of the password are kept: give the password too, to have another kind of digest made.",
        ));
    }
}

/// A digest as it is kept: in lower case.
pub(super) fn lower(digest: &Ha1) -> Ha1 {
    Ha1 {
        value: Secret::new(digest.value.expose().to_ascii_lowercase()),
        ..digest.clone()
    }
}

/// The field of a digest, for problems.
fn digest_field(algorithm: DigestAlgorithm) -> String {
    format!("credentials.digests.{}", algorithm.token())
}

/// What is wrong with the form of digests; their characters are not told.
fn malformed_digests(digests: &[Ha1]) -> Vec<Problem> {
    let problem = |digest: &Ha1| {
        let text = digest.value.expose();
        let length = digest.algorithm.hash(&[]).len();
        let wrong = text.bytes().position(|octet| !octet.is_ascii_hexdigit());
        let at = wrong.or_else(|| (text.len() != length).then_some(text.len().min(length)))?;
        let message = format!("A digest has {length} hexadecimal digits.");
        let place = ProblemDetail {
            offset: Some(at),
            byte_offset: Some(at),
            ..ProblemDetail::default()
        };
        Some(Problem::validation(&digest_field(digest.algorithm), message).with_detail(place))
    };
    digests.iter().filter_map(problem).collect()
}

/// The problems of digests that are not those of the password given with them.
fn foreign_digests(endpoint: &Endpoint, password: &Secret, digests: &[Ha1]) -> Vec<Problem> {
    let Endpoint {
        name, domain_name, ..
    } = endpoint;
    let is_own = |digest: &&Ha1| {
        let own = ha1_values(name, domain_name, password.expose(), &[digest.algorithm]);
        own.contains(&lower(digest))
    };
    let problem = |digest: &Ha1| {
        let message = format!(
            "This is not the digest of {name}:{domain_name} with the password given beside it: the other system has another              realm, or one of the two is not in use. Leave out the one that its phones do not use."
        );
        Problem::validation(&digest_field(digest.algorithm), message)
    };
    let digests = digests.iter().filter(|digest| !is_own(digest));
    digests.map(problem).collect()
}

/// The problem of algorithms of which no digest is given.
fn missing_digests(algorithms: &[DigestAlgorithm], digests: &[Ha1]) -> Option<Problem> {
    let is_given = |algorithm: &DigestAlgorithm| digests.iter().any(|d| d.algorithm == *algorithm);
    let missing = algorithms.iter().find(|algorithm| !is_given(algorithm))?;
    Some(Problem::validation(
        "digestAlgorithms",
        format!(
            "There is neither a {} digest nor the password of which one could be made.",
            missing.token()
        ),
    ))
}

fn problems_at<'p>(problems: &'p [Problem], field: &str) -> Option<&'p Problem> {
    problems
        .iter()
        .find(|problem| problem.field.first().is_some_and(|first| first == field))
}

fn cannot_remove(field: &str) -> Problem {
    Problem::validation(
        field,
        "A password can be changed but not removed; disable the endpoint to shut it out.",
    )
}

/// Checks what an endpoint sends from, and gives it in its one form, which that of the account's numbers is.
pub(in crate::decide) fn send_as(field: &str, text: &str) -> Result<String, Problem> {
    if text == SEND_AS_RANDOM {
        return Ok(text.to_owned());
    }
    match sip_validate::e164(text) {
        Ok(number) => Ok(number.into_owned()),
        Err(found) => {
            let problem = violation(field, text, &found);
            Err(Problem {
                message: format!(
                    "Give an E.164 number or `{SEND_AS_RANDOM}`. {}",
                    problem.message
                ),
                ..problem
            })
        }
    }
}

/// A text that stands in a line of SIP.
fn line(field: &str, text: &str, max: usize) -> Option<Problem> {
    if let Some((at, c)) = text.char_indices().find(|(_, c)| c.is_control()) {
        return Some(
            Problem::validation(field, "A line of text can't contain control characters.")
                .with_detail(ProblemDetail {
                    offset: Some(text[..at].encode_utf16().count()),
                    byte_offset: Some(at),
                    character: Some(c.into()),
                    ..ProblemDetail::default()
                }),
        );
    }
    text_limit(field, text, max)
}

fn username(field: &str, text: &str) -> Option<Problem> {
    if text.is_empty() {
        return Some(Problem::validation(
            field,
            "A user name must not be empty; give null for none.",
        ));
    }
    line(field, text, USERNAME_MAX)
}

fn at_least(field: &str, least: i32, actual: i32) -> Problem {
    Problem::validation(field, format!("The least is {least}, not {actual}.")).with_detail(
        ProblemDetail {
            limit: Some(i64::from(least)),
            actual: Some(i64::from(actual)),
            ..ProblemDetail::default()
        },
    )
}

/// Merges a map per key, where null deletes, or takes exactly what is given.
fn merge(map: &mut JsonObject, given: &Field<JsonObject>, mode: NestedMode) {
    match (given, mode) {
        (Field::Absent, _) => {}
        (Field::Null, _) => map.clear(),
        (Field::Value(given), NestedMode::Replace) => map.clone_from(given),
        (Field::Value(given), NestedMode::Merge) => {
            for (key, value) in given {
                if *value == Json::Null {
                    map.remove(key);
                } else {
                    map.insert(key.clone(), value.clone());
                }
            }
        }
    }
}

fn json_limits(field: &str, map: &JsonObject) -> Option<Problem> {
    let limit = |what: &str, max: usize, actual: usize| {
        Problem::validation(field, format!("At most {max} {what} are allowed.")).with_detail(
            ProblemDetail {
                limit: i64::try_from(max).ok(),
                actual: i64::try_from(actual).ok(),
                ..ProblemDetail::default()
            },
        )
    };
    let Extent { bytes, depth } = extent(map);
    if bytes > JSON_BYTES_MAX {
        return Some(limit("bytes", JSON_BYTES_MAX, bytes));
    }
    if depth > JSON_DEPTH_MAX {
        return Some(limit("levels", JSON_DEPTH_MAX, depth));
    }
    let longest = map.keys().map(|key| key.chars().count()).max()?;
    (longest > KEY_MAX).then(|| limit("characters of a key", KEY_MAX, longest))
}

/// What is wrong with the properties that a voice mailbox is given.
fn property_problems(
    kind: EndpointType,
    given: &Field<JsonObject>,
    mode: NestedMode,
) -> Vec<Problem> {
    let (Some(allowed), Some(given)) = (kind.property_keys(), given.value()) else {
        return Vec::new();
    };
    let mut problems = Vec::new();
    for (key, value) in given {
        let problem = if !allowed.contains(&key.as_str()) {
            Some(super::not_updatable(
                kind,
                "properties",
                &format!(
                    "An endpoint of type {} has no such property.",
                    kind.as_str()
                ),
            ))
        } else {
            match (key.as_str(), value) {
                // It removes the property; in a whole object there is nothing to remove.
                (_, Json::Null) if mode == NestedMode::Merge => None,
                ("callback_method", Json::String(method)) => (!["GET", "POST"]
                    .contains(&method.as_str()))
                .then(|| Problem::validation("properties", "The method is GET or POST.")),
                ("callback_url", Json::String(url)) => text_limit("properties", url, URL_MAX)
                    .or_else(|| http_url("properties", url).err()),
                (_, Json::String(_)) => None,
                _ => Some(Problem::validation("properties", "The value is a string.")),
            }
        };
        problems.extend(problem.map(|mut problem| {
            // The key may have dots in it.
            problem.field.push(key.clone());
            problem
        }));
    }
    problems
}

fn addresses(
    mint: &Mint<'_>,
    applied: &mut Applied,
    before: &Endpoint,
    given: &Field<Vec<AddressSettings>>,
    mode: NestedMode,
) {
    let old = &before.nested.addresses;
    let items: &[AddressSettings] = match given {
        Field::Absent => return,
        Field::Null => &[],
        Field::Value(items) => items,
    };
    let mut list = match (given, mode) {
        (Field::Value(_), NestedMode::Merge) => old.clone(),
        _ => Vec::new(),
    };
    let Applied {
        endpoint,
        secrets,
        problems,
        ..
    } = applied;
    for (i, item) in items.iter().enumerate() {
        let at = |name: &str| format!("addresses.{i}.{name}");
        let base = match item.id {
            None => None,
            Some(id) => {
                if items[..i].iter().any(|earlier| earlier.id == Some(id)) {
                    problems.push(Problem::validation(&at("id"), "This id is given twice."));
                    continue;
                }
                let Some(base) = old.iter().find(|address| address.id == id) else {
                    problems.push(Problem::not_found(&at("id"), "address"));
                    continue;
                };
                Some(base)
            }
        };
        let fresh = Address {
            id: base.map_or_else(|| mint.id(AddressId::new), |base| base.id),
            direction: AddressDirection::Any,
            ip: String::new(),
            port: PORT_DEFAULT,
            dst_port: PORT_DEFAULT,
            priority: 0,
            transport: Transport::Udp,
            srtp: false,
            location_sid: None,
            sip_username: None,
            has_sip_password: base.is_some_and(|base| base.has_sip_password),
        };
        // In a whole list an absent field has its default, but for the secret, which can't be read back.
        let start = match (base, mode) {
            (Some(base), NestedMode::Merge) => base,
            _ => &fresh,
        };
        let address = address(&at, start, &fresh, item, secrets, problems);
        match list.iter_mut().find(|known| known.id == address.id) {
            Some(known) => *known = address,
            None => list.push(address),
        }
    }
    if list.len() > ADDRESSES_MAX {
        problems.push(
            Problem::validation(
                "addresses",
                format!("At most {ADDRESSES_MAX} addresses are allowed."),
            )
            .with_detail(ProblemDetail {
                limit: i64::try_from(ADDRESSES_MAX).ok(),
                actual: i64::try_from(list.len()).ok(),
                ..ProblemDetail::default()
            }),
        );
    }
    for gone in old {
        let is_there = list.iter().any(|address| address.id == gone.id);
        if gone.has_sip_password && !is_there {
            secrets.push((EndpointSecret::AddressPassword(gone.id), None));
        }
    }
    endpoint.nested.addresses = list;
}

/// One address: what is given over what it starts from; null means what a new one has.
fn address(
    at: &impl Fn(&str) -> String,
    start: &Address,
    fresh: &Address,
    item: &AddressSettings,
    secrets: &mut Vec<(EndpointSecret, Option<Secret>)>,
    problems: &mut Vec<Problem>,
) -> Address {
    let ip = item.ip.over_default(&start.ip, String::new());
    if ip.is_empty() {
        problems.push(Problem::validation(
            &at("ip"),
            "Give an IP address or a host name.",
        ));
    } else if ip.parse::<std::net::Ipv6Addr>().is_err()
        && let Err(v) = Host::parse(&ip)
    {
        problems.push(violation(&at("ip"), &ip, &v));
    }
    let mut port = |name: &str, given: &Field<i32>, start: u16| match given {
        Field::Absent => start,
        Field::Null => PORT_DEFAULT,
        Field::Value(value) => match u16::try_from(*value) {
            Ok(port) if port > 0 => port,
            _ => {
                problems.push(
                    Problem::validation(&at(name), "A port is a number from 1 to 65535.")
                        .with_detail(ProblemDetail {
                            limit: Some(65535),
                            actual: Some(i64::from(*value)),
                            ..ProblemDetail::default()
                        }),
                );
                start
            }
        },
    };
    let own_port = port("port", &item.port, start.port);
    let dst_port = port("dstPort", &item.dst_port, start.dst_port);
    let priority = item.priority.over_default(&start.priority, fresh.priority);
    if priority < 0 {
        problems.push(at_least(&at("priority"), 0, priority));
    }
    if let Some(text) = item.location_sid.value() {
        problems.extend(line(&at("locationSid"), text, LOCATION_MAX));
    }
    if let Some(text) = item.sip_username.value() {
        problems.extend(username(&at("sipUsername"), text));
    }
    let has_sip_password = secret(
        &at("sipPassword"),
        EndpointSecret::AddressPassword(fresh.id),
        &item.sip_password,
        start.has_sip_password,
        secrets,
        problems,
    );
    Address {
        id: fresh.id,
        direction: item
            .direction
            .over_default(&start.direction, fresh.direction),
        ip,
        port: own_port,
        dst_port,
        priority,
        transport: item
            .transport
            .over_default(&start.transport, fresh.transport),
        srtp: item.srtp.over_default(&start.srtp, fresh.srtp),
        location_sid: item.location_sid.over(&start.location_sid),
        sip_username: item.sip_username.over(&start.sip_username),
        has_sip_password,
    }
}

fn transformations(
    mint: &Mint<'_>,
    applied: &mut Applied,
    before: &Endpoint,
    given: &Field<Vec<TransformationSettings>>,
    mode: NestedMode,
) {
    const FIELD: &str = "transformations";
    let old = &before.nested.transformations;
    let items: &[TransformationSettings] = match given {
        Field::Absent => return,
        Field::Null => &[],
        Field::Value(items) => items,
    };
    let mut list = match (given, mode) {
        (Field::Value(_), NestedMode::Merge) => old.clone(),
        _ => Vec::new(),
    };
    let problems = &mut applied.problems;
    for (i, item) in items.iter().enumerate() {
        let at = format!("{FIELD}.{i}.id");
        let id = match item.id {
            None => mint.id(TransformationId::new),
            Some(id) if items[..i].iter().any(|earlier| earlier.id == Some(id)) => {
                problems.push(Problem::validation(&at, "This id is given twice."));
                continue;
            }
            Some(id) if old.iter().any(|known| known.id == id) => id,
            Some(_) => {
                problems.push(Problem::not_found(&at, "transformation"));
                continue;
            }
        };
        // One that is refused is told below.
        let Some(rule) = item.rule.rule().cloned() else {
            continue;
        };
        match list.iter_mut().find(|known| known.id == id) {
            Some(known) => known.rule = rule,
            None => list.push(Transformation { id, rule }),
        }
    }
    // What is given is checked at its own index, the whole list for its length alone: the rest was checked when it came.
    let rules: Vec<GivenRule> = items.iter().map(|item| item.rule.clone()).collect();
    if let Err(found) = Transformations::compile_given(FIELD, &rules) {
        problems.extend(found);
    } else if list.len() > items.len() {
        let rules: Vec<Rule> = list.iter().map(|known| known.rule.clone()).collect();
        problems.extend(
            Transformations::compile(FIELD, &rules)
                .err()
                .unwrap_or_default(),
        );
    }
    applied.endpoint.nested.transformations = list;
}

/// Returns the problem of a field that this type of endpoint has no say in.
pub(super) fn not_updatable(kind: EndpointType, field: &str, message: &str) -> Problem {
    Problem::new(ProblemCode::FieldNotUpdatableForType, field, message).with_detail(ProblemDetail {
        writable_fields: Some(kind.writable_paths()),
        ..ProblemDetail::default()
    })
}

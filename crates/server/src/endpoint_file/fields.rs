//! The columns of a file of endpoints: one table by which rows are read and written, in every format.
//!
//! A column has the name and the form that its field has in the GraphQL API, as far as there is one. This module knows neither
//! lines nor how a format writes a value: a row is a list of JSON values by name.

use sipgraph_core::Problem;
use sipgraph_core::app::endpoints::import::ExportedEndpoint;
use sipgraph_core::binding::Transport;
use sipgraph_core::commit::EndpointSecret;
use sipgraph_core::decide::endpoints::{
    AddressSettings, EndpointSettings, ImportRow, NewCredentials, TransformationSettings,
};
use sipgraph_core::digest::{DigestAlgorithm, Ha1, PasswordCharset};
use sipgraph_core::endpoint::{
    Address, AddressDirection, Cipher, Codec, Encryption, Endpoint, EndpointType, Simulation,
    Transformation,
};
use sipgraph_core::json::{Json, JsonObject};
use sipgraph_core::keyring::Secret;
use sipgraph_core::patch::Field;
use sipgraph_core::transformation::{GivenRule, Rule};

/// The form of a column where a value is plain text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A text.
    Text,
    /// A text that stays as it is where the cell is empty: what can't be read back, or can't be changed.
    Kept,
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Number,
    /// Words with spaces between them.
    Words,
    /// Words that stay as they are where the cell is empty.
    KeptWords,
    /// A JSON value.
    Json,
}

/// Every column, in the order in which it is written, with its form.
pub(super) const COLUMNS: &[(&str, Form)] = &[
    ("domain", Form::Kept),
    ("name", Form::Kept),
    ("type", Form::Kept),
    ("password", Form::Kept),
    ("ha1Md5", Form::Kept),
    ("ha1Sha256", Form::Kept),
    ("ha1Sha512256", Form::Kept),
    ("ha1Md5Latin1", Form::Kept),
    ("ha1Sha256Latin1", Form::Kept),
    ("ha1Sha512256Latin1", Form::Kept),
    ("digestAlgorithms", Form::KeptWords),
    ("displayName", Form::Text),
    ("description", Form::Text),
    ("application", Form::Text),
    ("enabled", Form::Flag),
    ("numbers", Form::Words),
    ("callerId", Form::Text),
    ("sendAs", Form::Text),
    ("allowOutside", Form::Flag),
    ("ciphers", Form::Words),
    ("codecs", Form::Words),
    ("encryption", Form::Text),
    ("capacity", Form::Number),
    ("cpsLimit", Form::Number),
    ("authRequired", Form::Flag),
    ("addresses", Form::Json),
    ("attributes", Form::Json),
    ("properties", Form::Json),
    ("transformations", Form::Json),
    ("outSipUsername", Form::Text),
    ("outSipPassword", Form::Kept),
    ("simulation", Form::Text),
];

/// The columns that hold an HA1 value each.
const DIGESTS: &[(&str, DigestAlgorithm, PasswordCharset)] = &[
    ("ha1Md5", DigestAlgorithm::Md5, PasswordCharset::Utf8),
    ("ha1Sha256", DigestAlgorithm::Sha256, PasswordCharset::Utf8),
    (
        "ha1Sha512256",
        DigestAlgorithm::Sha512_256,
        PasswordCharset::Utf8,
    ),
    (
        "ha1Md5Latin1",
        DigestAlgorithm::Md5,
        PasswordCharset::Latin1,
    ),
    (
        "ha1Sha256Latin1",
        DigestAlgorithm::Sha256,
        PasswordCharset::Latin1,
    ),
    (
        "ha1Sha512256Latin1",
        DigestAlgorithm::Sha512_256,
        PasswordCharset::Latin1,
    ),
];

/// Returns whether a column holds a secret.
pub(super) fn is_secret(column: &str) -> bool {
    ["password", "outSipPassword"].contains(&column)
        || DIGESTS.iter().any(|(digest, ..)| *digest == column)
}

/// Returns a column's own name and form, by its name in any case.
pub(super) fn column(name: &str) -> Option<(&'static str, Form)> {
    let mut all = COLUMNS.iter().copied();
    all.find(|(known, _)| known.eq_ignore_ascii_case(name))
}

/// Returns the column in which a field of a problem stands, and the path inside of it.
pub(super) fn column_of(field: &[String]) -> (&str, &[String]) {
    let parts: Vec<&str> = field.iter().map(String::as_str).collect();
    match parts[..] {
        ["credentials", "digests", token, ..] => {
            let mut known = DIGESTS.iter();
            let known = known.find(|(_, algorithm, _)| algorithm.token() == token);
            (known.map_or("password", |(name, ..)| name), &[])
        }
        ["credentials", ..] => ("password", &[]),
        ["domainId"] => ("domain", &[]),
        ["applicationId"] => ("application", &[]),
        _ => match field.split_first() {
            Some((first, rest)) => (first, rest),
            None => ("", &[]),
        },
    }
}

/// The names of the values of an enumeration, as in the API.
trait Named: Copy + PartialEq + 'static {
    const ALL: &'static [(&'static str, Self)];

    fn name(self) -> &'static str {
        let mut all = Self::ALL.iter();
        all.find(|(_, value)| *value == self)
            .map_or("", |(name, _)| name)
    }
}

macro_rules! named {
    ($($kind:ident { $($name:literal $value:ident)+ })+) => {$(
        impl Named for $kind {
            const ALL: &'static [(&'static str, Self)] = &[$(($name, $kind::$value)),+];
        }
    )+};
}

named! {
    EndpointType {
        "SIP_USER" SipUser "THIRD_PARTY" ThirdParty "MEDIATOR" Mediator "FLEXML" Flexml "CONFERENCE" Conference
        "CONFERENCE_V2" ConferenceV2 "CONFERENCE_PLAYBACK" ConferencePlayback "VOICEMAIL" Voicemail
        "SYSTEM_GATEWAY" SystemGateway
    }
    Cipher {
        "AEAD_AES_256_GCM_8" AeadAes256Gcm8 "AES_256_CM_HMAC_SHA1_80" Aes256CmHmacSha1With80
        "AES_CM_128_HMAC_SHA1_80" AesCm128HmacSha1With80 "AES_256_CM_HMAC_SHA1_32" Aes256CmHmacSha1With32
        "AES_CM_128_HMAC_SHA1_32" AesCm128HmacSha1With32
    }
    Codec { "OPUS" Opus "G722" G722 "PCMU" Pcmu "PCMA" Pcma "VP8" Vp8 "H264" H264 }
    Encryption { "DEFAULT" Default "REQUIRED" Required "OPTIONAL" Optional }
    DigestAlgorithm { "SHA_256" Sha256 "SHA_512_256" Sha512_256 "MD5" Md5 }
    Simulation { "ECHO" Echo "BUSY" Busy "SLOW" Slow "FLAKY" Flaky "OFFLINE" Offline }
    Transport { "UDP" Udp "TCP" Tcp "TLS" Tls "WS" Ws "WSS" Wss }
    AddressDirection { "ANY" Any "INBOUND" Inbound "OUTBOUND" Outbound }
}

/// Reads values and gathers what is wrong with them.
struct Reader {
    problems: Vec<Problem>,
}

impl Reader {
    fn wrong<T>(&mut self, field: &str, what: &str) -> Field<T> {
        self.problems.push(Problem::validation(field, what));
        Field::Absent
    }

    fn text(&mut self, field: &str, value: Json) -> Field<String> {
        match value {
            Json::Null => Field::Null,
            Json::String(text) => Field::Value(text),
            _ => self.wrong(field, "Give a text."),
        }
    }

    fn secret(&mut self, field: &str, value: Json) -> Field<Secret> {
        self.text(field, value).map(Secret::new)
    }

    fn flag(&mut self, field: &str, value: Json) -> Field<bool> {
        match value {
            Json::Null => Field::Null,
            Json::Bool(value) => Field::Value(value),
            _ => self.wrong(field, "Give true or false."),
        }
    }

    fn number(&mut self, field: &str, value: Json) -> Field<i32> {
        match value {
            Json::Null => Field::Null,
            Json::Number(text) => match text.parse() {
                Ok(number) => Field::Value(number),
                Err(_) => self.wrong(field, "Give a whole number of 32 bits."),
            },
            _ => self.wrong(field, "Give a whole number."),
        }
    }

    fn one<T: Named>(&mut self, field: &str, value: Json) -> Field<T> {
        let text = match self.text(field, value) {
            Field::Value(text) => text,
            Field::Null => return Field::Null,
            Field::Absent => return Field::Absent,
        };
        match T::ALL.iter().find(|(name, _)| *name == text) {
            Some((_, value)) => Field::Value(*value),
            None => {
                let names: Vec<&str> = T::ALL.iter().map(|(name, _)| *name).collect();
                self.wrong(field, &format!("Give one of {}.", names.join(", ")))
            }
        }
    }

    fn items(&mut self, field: &str, value: Json) -> Field<Vec<Json>> {
        match value {
            Json::Null => Field::Null,
            Json::List(items) => Field::Value(items),
            _ => self.wrong(field, "Give a list."),
        }
    }

    fn each<T>(
        &mut self,
        field: &str,
        value: Json,
        mut read: impl FnMut(&mut Self, &str, Json) -> Option<T>,
    ) -> Field<Vec<T>> {
        self.items(field, value).map(|items| {
            let items = items.into_iter().enumerate();
            items
                .filter_map(|(i, item)| read(self, &format!("{field}.{i}"), item))
                .collect()
        })
    }

    fn many<T: Named>(&mut self, field: &str, value: Json) -> Field<Vec<T>> {
        self.each(field, value, |reader, field, item| {
            reader.required(field, item, Self::one)
        })
    }

    fn texts(&mut self, field: &str, value: Json) -> Field<Vec<String>> {
        self.each(field, value, |reader, field, item| {
            reader.required(field, item, Self::text)
        })
    }

    /// Reads what can't be null.
    fn required<T>(
        &mut self,
        field: &str,
        value: Json,
        read: impl FnOnce(&mut Self, &str, Json) -> Field<T>,
    ) -> Option<T> {
        match read(self, field, value) {
            Field::Value(value) => Some(value),
            Field::Null => {
                self.wrong::<T>(field, "This can't be null.");
                None
            }
            Field::Absent => None,
        }
    }

    fn map(&mut self, field: &str, value: Json) -> Field<JsonObject> {
        match value {
            Json::Null => Field::Null,
            Json::Object(map) => Field::Value(map),
            _ => self.wrong(field, "Give a JSON object."),
        }
    }

    fn address(&mut self, field: &str, value: Json) -> Option<AddressSettings> {
        let map = self.required(field, value, Self::map)?;
        let mut address = AddressSettings::default();
        for (key, value) in map {
            let at = format!("{field}.{key}");
            match key.as_str() {
                "direction" => address.direction = self.one(&at, value),
                "ip" => address.ip = self.text(&at, value),
                "port" => address.port = self.number(&at, value),
                "dstPort" => address.dst_port = self.number(&at, value),
                "priority" => address.priority = self.number(&at, value),
                "transport" => address.transport = self.one(&at, value),
                "srtp" => address.srtp = self.flag(&at, value),
                "locationSid" => address.location_sid = self.text(&at, value),
                "sipUsername" => address.sip_username = self.text(&at, value),
                "sipPassword" => address.sip_password = self.secret(&at, value),
                _ => drop(self.wrong::<()>(&at, "An address has no such field.")),
            }
        }
        Some(address)
    }

    fn transformation(&mut self, field: &str, value: Json) -> Option<TransformationSettings> {
        const WHAT: &str = "Give an object with one of rewrite, set, condition, reject.";
        let map = self.required(field, value, Self::map)?;
        let mut rules = map.into_iter();
        let (Some((name, rule)), None) = (rules.next(), rules.next()) else {
            self.wrong::<()>(field, WHAT);
            return None;
        };
        let at = format!("{field}.{name}");
        let mut rule = self.required(&at, rule, Self::map)?;
        let mut text = |reader: &mut Self, key: &str| {
            let value = rule.remove(key).unwrap_or(Json::Null);
            reader.required(&format!("{at}.{key}"), value, Self::text)
        };
        let rule = match name.as_str() {
            "rewrite" => Rule::Rewrite {
                pattern: text(self, "pattern")?,
                replace: text(self, "replace")?,
            },
            "set" => Rule::Set {
                value: text(self, "value")?,
            },
            "condition" => Rule::Condition {
                pattern: text(self, "pattern")?,
                negate: match rule.remove("negate") {
                    Some(value) => self.required(&at, value, Self::flag)?,
                    None => false,
                },
            },
            "reject" => Rule::Reject {
                pattern: text(self, "pattern")?,
            },
            _ => {
                self.wrong::<()>(field, WHAT);
                return None;
            }
        };
        Some(TransformationSettings {
            id: None,
            rule: GivenRule::Rule(rule),
        })
    }
}

/// Reads a row from its values by column. A value that can't be read is told and left out.
pub(super) fn row(values: Vec<(String, Json)>) -> (ImportRow, Vec<Problem>) {
    let mut reader = Reader {
        problems: Vec::new(),
    };
    let mut row = ImportRow {
        domain: String::new(),
        name: String::new(),
        kind: None,
        application: Field::Absent,
        cps_limit: Field::Absent,
        settings: EndpointSettings::default(),
    };
    let mut credentials = NewCredentials::default();
    let settings = &mut row.settings;
    for (name, value) in values {
        let r = &mut reader;
        let Some((column, form)) = column(&name) else {
            r.wrong::<()>(&name, "There is no such column.");
            continue;
        };
        if matches!(form, Form::Kept | Form::KeptWords) && value == Json::Null {
            continue;
        }
        match column {
            "domain" => row.domain = r.required(column, value, Reader::text).unwrap_or_default(),
            "name" => row.name = r.required(column, value, Reader::text).unwrap_or_default(),
            "type" => row.kind = r.required(column, value, Reader::one),
            "password" => credentials.password = r.secret(column, value),
            "digestAlgorithms" => settings.digest_algorithms = r.many(column, value),
            "displayName" => settings.display_name = r.text(column, value),
            "description" => settings.description = r.text(column, value),
            "application" => row.application = r.text(column, value),
            "enabled" => settings.enabled = r.flag(column, value),
            "numbers" => settings.numbers = r.texts(column, value),
            "callerId" => settings.caller_id = r.text(column, value),
            "sendAs" => settings.send_as = r.text(column, value),
            "allowOutside" => settings.allow_outside = r.flag(column, value),
            "ciphers" => settings.ciphers = r.many(column, value),
            "codecs" => settings.codecs = r.many(column, value),
            "encryption" => settings.encryption = r.one(column, value),
            "capacity" => settings.capacity = r.number(column, value),
            "cpsLimit" => row.cps_limit = r.number(column, value),
            "authRequired" => settings.auth_required = r.flag(column, value),
            "addresses" => settings.addresses = r.each(column, value, Reader::address),
            "attributes" => settings.attributes = r.map(column, value),
            "properties" => settings.properties = r.map(column, value),
            "transformations" => {
                settings.transformations = r.each(column, value, Reader::transformation);
            }
            "outSipUsername" => settings.out_sip_username = r.text(column, value),
            "outSipPassword" => settings.out_sip_password = r.secret(column, value),
            "simulation" => settings.simulation = r.one(column, value),
            _ => {
                let digest = DIGESTS.iter().find(|(name, ..)| *name == column);
                let value = r.required(column, value, Reader::secret);
                if let (Some((_, algorithm, charset)), Some(value)) = (digest, value) {
                    credentials.digests.push(Ha1 {
                        algorithm: *algorithm,
                        charset: *charset,
                        value,
                    });
                }
            }
        }
    }
    if credentials != NewCredentials::default() {
        settings.credentials = Field::Value(credentials);
    }
    (row, reader.problems)
}

fn text(value: Option<&str>) -> Json {
    value.map_or(Json::Null, |text| Json::String(text.to_owned()))
}

fn number(value: impl ToString) -> Json {
    Json::Number(value.to_string())
}

fn names<T: Named>(values: &[T]) -> Json {
    let names = values.iter().map(|value| text(Some(value.name())));
    Json::List(names.collect())
}

fn address(address: &Address, password: Option<&Secret>) -> Json {
    let Address {
        id: _,
        direction,
        ip,
        port,
        dst_port,
        priority,
        transport,
        srtp,
        location_sid,
        sip_username,
        has_sip_password: _,
    } = address;
    let mut map = JsonObject::from([
        ("direction".to_owned(), text(Some(direction.name()))),
        ("ip".to_owned(), text(Some(ip))),
        ("port".to_owned(), number(port)),
        ("dstPort".to_owned(), number(dst_port)),
        ("priority".to_owned(), number(priority)),
        ("transport".to_owned(), text(Some(transport.name()))),
        ("srtp".to_owned(), Json::Bool(*srtp)),
        ("locationSid".to_owned(), text(location_sid.as_deref())),
        ("sipUsername".to_owned(), text(sip_username.as_deref())),
    ]);
    if let Some(password) = password {
        map.insert("sipPassword".to_owned(), text(Some(password.expose())));
    }
    Json::Object(map)
}

fn transformation(transformation: &Transformation) -> Json {
    let rule = &transformation.rule;
    let fields = match rule {
        Rule::Rewrite { pattern, replace } => vec![
            ("pattern", text(Some(pattern))),
            ("replace", text(Some(replace))),
        ],
        Rule::Set { value } => vec![("value", text(Some(value)))],
        Rule::Condition { pattern, negate } => vec![
            ("pattern", text(Some(pattern))),
            ("negate", Json::Bool(*negate)),
        ],
        Rule::Reject { pattern } => vec![("pattern", text(Some(pattern)))],
    };
    let fields = fields
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value));
    Json::Object([(rule.name().to_owned(), Json::Object(fields.collect()))].into())
}

/// Gives the values of an endpoint for the columns, in their order; `None` for one that it does not have, as a secret that was not
/// asked for.
pub(super) fn values(exported: &ExportedEndpoint) -> Vec<Option<Json>> {
    COLUMNS
        .iter()
        .map(|(column, _)| value(exported, column))
        .collect()
}

fn value(exported: &ExportedEndpoint, column: &str) -> Option<Json> {
    let ExportedEndpoint {
        endpoint,
        application,
        secrets,
    } = exported;
    let Endpoint { nested, .. } = endpoint;
    let secret = |which: EndpointSecret| {
        let known = secrets.iter().flat_map(|secrets| &secrets.others);
        let mut known = known.filter(|(kept, _)| *kept == which);
        known.next().map(|(_, secret)| secret)
    };
    Some(match column {
        "domain" => text(Some(&endpoint.domain_name)),
        "name" => text(Some(&endpoint.name)),
        "type" => text(Some(endpoint.kind.name())),
        // Only its digests are kept.
        "password" => return None,
        "digestAlgorithms" => names(&endpoint.digest_algorithms),
        "displayName" => text(endpoint.display_name.as_deref()),
        "description" => text(endpoint.description.as_deref()),
        "application" => text(application.as_deref()),
        "enabled" => Json::Bool(endpoint.enabled),
        "numbers" => {
            let numbers = endpoint.numbers.iter();
            Json::List(numbers.map(|number| text(Some(number))).collect())
        }
        "callerId" => text(endpoint.caller_id.as_deref()),
        "sendAs" => text(endpoint.send_as.as_deref()),
        "allowOutside" => Json::Bool(endpoint.allow_outside),
        "ciphers" => endpoint.ciphers.as_deref().map_or(Json::Null, names),
        "codecs" => endpoint.codecs.as_deref().map_or(Json::Null, names),
        "encryption" => text(Some(endpoint.encryption.name())),
        "capacity" => number(endpoint.capacity),
        "cpsLimit" => endpoint.cps_limit.map_or(Json::Null, number),
        "authRequired" => Json::Bool(endpoint.auth_required),
        "addresses" => {
            let addresses = nested.addresses.iter().map(|a| {
                let password = secret(EndpointSecret::AddressPassword(a.id));
                address(a, password)
            });
            Json::List(addresses.collect())
        }
        "attributes" => Json::Object(nested.attributes.clone()),
        "properties" => Json::Object(nested.properties.clone()),
        "transformations" => {
            Json::List(nested.transformations.iter().map(transformation).collect())
        }
        "outSipUsername" => text(endpoint.out_sip_username.as_deref()),
        "outSipPassword" => text(Some(secret(EndpointSecret::OutSipPassword)?.expose())),
        "simulation" => endpoint
            .simulation
            .map_or(Json::Null, |s| text(Some(s.name()))),
        _ => {
            let (_, algorithm, charset) = DIGESTS.iter().find(|(name, ..)| *name == column)?;
            let mut known = secrets.iter().flat_map(|secrets| &secrets.ha1);
            let ha1 = known.find(|h| h.algorithm == *algorithm && h.charset == *charset)?;
            text(Some(ha1.value.expose()))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_read() {
        for (name, form) in COLUMNS {
            let value = match form {
                Form::Text | Form::Kept => Json::String("x".into()),
                Form::Flag => Json::Bool(true),
                Form::Number => Json::Number("1".into()),
                Form::Words | Form::KeptWords => Json::List(Vec::new()),
                Form::Json => Json::Null,
            };
            let (row, problems) = row(vec![((*name).to_owned(), value)]);
            let empty = super::row(Vec::new()).0;
            assert!(row != empty || !problems.is_empty(), "{name}");
        }
    }

    #[test]
    fn what_is_of_another_type_is_told_with_its_place() {
        let wrong = |name: &str, text: &str| {
            let value = crate::endpoint_file::json::read(text).unwrap();
            let (_, problems) = row(vec![(name.to_owned(), value)]);
            let fields = problems.iter().map(|p| p.field.join("."));
            fields.collect::<Vec<_>>()
        };
        for (name, value, field) in [
            ("enabled", "1", "enabled"),
            ("capacity", "1.5", "capacity"),
            ("codecs", "[\"OPUS\", \"G723\"]", "codecs.1"),
            ("type", "\"PHONE\"", "type"),
            ("numbers", "[1]", "numbers.0"),
            ("addresses", "[{\"ip\": 1}]", "addresses.0.ip"),
            ("addresses", "[{\"host\": \"a\"}]", "addresses.0.host"),
            (
                "transformations",
                "[{\"set\": {}}]",
                "transformations.0.set.value",
            ),
            ("transformations", "[{\"lookup\": {}}]", "transformations.0"),
            ("colour", "1", "colour"),
        ] {
            assert_eq!(wrong(name, value), [field], "{name} {value}");
        }
    }
}

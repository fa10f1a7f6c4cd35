//! The nested objects of an endpoint as one versioned JSON document, read and written with its row.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer, ser::Error as _};
use serde_json::value::RawValue;
use sipgraph_core::{
    AddressId, TransformationId,
    endpoint::{Address, AddressDirection, Nested, Transformation},
    json::{Json, JsonObject},
    transformation::Rule,
};

use super::{Corrupt, binding, numbers};

/// The version of the document that is written; each version that was ever written stays readable.
const VERSION: u8 = 1;

numbers! {
    "address direction" AddressDirection: direction_number direction { Any = 0, Inbound = 1, Outbound = 2 }
}

#[derive(Serialize)]
struct Written {
    v: u8,
    addresses: Vec<AddressV1>,
    attributes: BTreeMap<String, Text>,
    properties: BTreeMap<String, Text>,
    transformations: Vec<TransformationV1>,
}

#[derive(Deserialize)]
struct Read {
    v: u8,
    addresses: Vec<AddressV1>,
    attributes: BTreeMap<String, Box<RawValue>>,
    properties: BTreeMap<String, Box<RawValue>>,
    transformations: Vec<TransformationV1>,
}

#[derive(Serialize, Deserialize)]
struct AddressV1 {
    id: String,
    direction: i16,
    ip: String,
    port: u16,
    dst_port: u16,
    priority: i32,
    transport: i16,
    srtp: bool,
    location_sid: Option<String>,
    sip_username: Option<String>,
    has_sip_password: bool,
}

#[derive(Serialize, Deserialize)]
struct TransformationV1 {
    id: String,
    rule: RuleV1,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RuleV1 {
    Rewrite { pattern: String, replace: String },
    Set { value: String },
    Condition { pattern: String, negate: bool },
    Reject { pattern: String },
}

/// A value of the caller's, whose numbers are written as they came.
struct Text(Json);

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        raw(&self.0)
            .map_err(S::Error::custom)?
            .serialize(serializer)
    }
}

fn raw(value: &Json) -> serde_json::Result<Box<RawValue>> {
    match value {
        Json::Null => serde_json::value::to_raw_value(&()),
        Json::Bool(value) => serde_json::value::to_raw_value(value),
        Json::Number(text) => RawValue::from_string(text.clone()),
        Json::String(text) => serde_json::value::to_raw_value(text),
        Json::List(items) => {
            let items: Result<Vec<_>, _> = items.iter().map(raw).collect();
            serde_json::value::to_raw_value(&items?)
        }
        Json::Object(map) => {
            let map: Result<BTreeMap<_, _>, _> = map
                .iter()
                .map(|(key, value)| raw(value).map(|value| (key, value)))
                .collect();
            serde_json::value::to_raw_value(&map?)
        }
    }
}

/// Reads a value; how deep it nests was bounded when it was written.
fn cooked(value: &RawValue) -> serde_json::Result<Json> {
    let text = value.get();
    Ok(match text.as_bytes().first() {
        Some(b'n') => Json::Null,
        Some(b't') => Json::Bool(true),
        Some(b'f') => Json::Bool(false),
        Some(b'"') => Json::String(serde_json::from_str(text)?),
        Some(b'[') => {
            let items: Vec<Box<RawValue>> = serde_json::from_str(text)?;
            Json::List(
                items
                    .iter()
                    .map(|item| cooked(item))
                    .collect::<Result<_, _>>()?,
            )
        }
        Some(b'{') => Json::Object(object(serde_json::from_str(text)?)?),
        _ => Json::Number(text.to_owned()),
    })
}

fn object(map: BTreeMap<String, Box<RawValue>>) -> serde_json::Result<JsonObject> {
    map.into_iter()
        .map(|(key, value)| cooked(&value).map(|value| (key, value)))
        .collect()
}

fn texts(map: JsonObject) -> BTreeMap<String, Text> {
    map.into_iter()
        .map(|(key, value)| (key, Text(value)))
        .collect()
}

/// Writes nested objects; none at all is no document.
pub(super) fn write(nested: Nested) -> diesel::QueryResult<Option<String>> {
    if nested.is_empty() {
        return Ok(None);
    }
    let Nested {
        addresses,
        attributes,
        properties,
        transformations,
    } = nested;
    let document = Written {
        v: VERSION,
        addresses: addresses.into_iter().map(AddressV1::from).collect(),
        attributes: texts(attributes),
        properties: texts(properties),
        transformations: transformations
            .into_iter()
            .map(TransformationV1::from)
            .collect(),
    };
    serde_json::to_string(&document)
        .map(Some)
        .map_err(|error| diesel::result::Error::SerializationError(Box::new(error)))
}

/// Reads nested objects.
pub(super) fn read(document: Option<&str>) -> Result<Nested, Corrupt> {
    let Some(document) = document else {
        return Ok(Nested::default());
    };
    let wrong = |error: serde_json::Error| Corrupt::new(format!("endpoint document: {error}"));
    let Read {
        v,
        addresses,
        attributes,
        properties,
        transformations,
    } = serde_json::from_str(document).map_err(wrong)?;
    if v != VERSION {
        return Err(Corrupt::new(format!("endpoint document version {v}")));
    }
    Ok(Nested {
        addresses: addresses
            .into_iter()
            .map(Address::try_from)
            .collect::<Result<_, _>>()?,
        attributes: object(attributes).map_err(wrong)?,
        properties: object(properties).map_err(wrong)?,
        transformations: transformations
            .into_iter()
            .map(Transformation::try_from)
            .collect::<Result<_, _>>()?,
    })
}

impl From<Address> for AddressV1 {
    fn from(address: Address) -> Self {
        let Address {
            id,
            direction,
            ip,
            port,
            dst_port,
            priority,
            transport,
            srtp,
            location_sid,
            sip_username,
            has_sip_password,
        } = address;
        Self {
            id: id_text(id.0),
            direction: direction_number(direction),
            ip,
            port,
            dst_port,
            priority,
            transport: binding::transport_number(transport),
            srtp,
            location_sid,
            sip_username,
            has_sip_password,
        }
    }
}

impl TryFrom<AddressV1> for Address {
    type Error = Corrupt;

    fn try_from(address: AddressV1) -> Result<Self, Corrupt> {
        let AddressV1 {
            id,
            direction: direction_number,
            ip,
            port,
            dst_port,
            priority,
            transport,
            srtp,
            location_sid,
            sip_username,
            has_sip_password,
        } = address;
        Ok(Self {
            id: AddressId(id_bytes(&id)?),
            direction: direction(direction_number)?,
            ip,
            port,
            dst_port,
            priority,
            transport: binding::transport(transport)?,
            srtp,
            location_sid,
            sip_username,
            has_sip_password,
        })
    }
}

impl From<Transformation> for TransformationV1 {
    fn from(Transformation { id, rule }: Transformation) -> Self {
        Self {
            id: id_text(id.0),
            rule: match rule {
                Rule::Rewrite { pattern, replace } => RuleV1::Rewrite { pattern, replace },
                Rule::Set { value } => RuleV1::Set { value },
                Rule::Condition { pattern, negate } => RuleV1::Condition { pattern, negate },
                Rule::Reject { pattern } => RuleV1::Reject { pattern },
            },
        }
    }
}

impl TryFrom<TransformationV1> for Transformation {
    type Error = Corrupt;

    fn try_from(TransformationV1 { id, rule }: TransformationV1) -> Result<Self, Corrupt> {
        Ok(Self {
            id: TransformationId(id_bytes(&id)?),
            rule: match rule {
                RuleV1::Rewrite { pattern, replace } => Rule::Rewrite { pattern, replace },
                RuleV1::Set { value } => Rule::Set { value },
                RuleV1::Condition { pattern, negate } => Rule::Condition { pattern, negate },
                RuleV1::Reject { pattern } => Rule::Reject { pattern },
            },
        })
    }
}

fn id_text(id: [u8; 16]) -> String {
    uuid::Uuid::from_bytes(id).to_string()
}

fn id_bytes(text: &str) -> Result<[u8; 16], Corrupt> {
    uuid::Uuid::try_parse(text)
        .map(uuid::Uuid::into_bytes)
        .map_err(|_| Corrupt::new("id in an endpoint's document"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sipgraph_core::binding::Transport;

    #[test]
    fn what_is_written_is_read_again() {
        let nested = Nested {
            addresses: vec![Address {
                id: AddressId([7; 16]),
                direction: AddressDirection::Outbound,
                ip: "2001:db8::1".to_owned(),
                port: 5061,
                dst_port: 5060,
                priority: 3,
                transport: Transport::Tls,
                srtp: true,
                location_sid: Some("a \"b\"".to_owned()),
                sip_username: None,
                has_sip_password: true,
            }],
            attributes: JsonObject::from([
                ("number".to_owned(), Json::Number("1.10".to_owned())),
                (
                    "list".to_owned(),
                    Json::List(vec![
                        Json::Null,
                        Json::Bool(true),
                        Json::Bool(false),
                        Json::String("\0\n\u{1f600}".to_owned()),
                    ]),
                ),
            ]),
            properties: JsonObject::from([(
                "inner".to_owned(),
                Json::Object(JsonObject::from([(
                    String::new(),
                    Json::Number("12345678901234567890123".to_owned()),
                )])),
            )]),
            transformations: vec![
                Transformation {
                    id: TransformationId([8; 16]),
                    rule: Rule::Rewrite {
                        pattern: "^0".to_owned(),
                        replace: "+49".to_owned(),
                    },
                },
                Transformation {
                    id: TransformationId([9; 16]),
                    rule: Rule::Set {
                        value: "+1".to_owned(),
                    },
                },
            ],
        };
        let document = write(nested.clone()).unwrap();
        assert_eq!(read(document.as_deref()).unwrap(), nested);
        assert_eq!(write(Nested::default()).unwrap(), None);
        assert_eq!(read(None).unwrap(), Nested::default());
        assert!(read(Some(r#"{"v":2}"#)).is_err());
    }
}

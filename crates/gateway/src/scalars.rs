//! The scalars of the schema and the numbers that GraphQL can hold.

use async_graphql::{
    InputValueError, InputValueResult, Name, Scalar, ScalarType, Value, indexmap::IndexMap,
};
use sipgraph_core::{
    Timestamp,
    json::{Json, JsonObject},
    message::Variables,
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::resolve::Leaf;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DateTime(pub(crate) Timestamp);

/// A point in time as RFC 3339 writes it, in UTC with microseconds: `2026-11-21T12:00:00.000000Z`. As input any offset
/// is understood.
#[Scalar(specified_by_url = "https://scalars.graphql.org/andimarek/date-time")]
impl ScalarType for DateTime {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(text) = &value else {
            return Err(InputValueError::expected_type(value));
        };
        let time = OffsetDateTime::parse(text, &Rfc3339)
            .map_err(|error| InputValueError::custom(error.to_string()))?;
        let micros = i64::try_from(time.unix_timestamp_nanos() / 1000)
            .map_err(|_| InputValueError::custom("the time is out of range"))?;
        Ok(Self(Timestamp(micros)))
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.rfc3339())
    }
}

impl Leaf for DateTime {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(b'"');
        out.extend_from_slice(&self.0.rfc3339_ascii());
        out.push(b'"');
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JSONObject(pub(crate) JsonObject);

impl JSONObject {
    /// Makes it of the variables of a message.
    pub(crate) fn of_variables(variables: &Variables) -> Self {
        let text = |(name, text): (&String, &String)| (name.clone(), Json::String(text.clone()));
        Self(variables.iter().map(text).collect())
    }
}

/// A map from strings to any JSON values. Numbers come back as they were given.
#[Scalar(name = "JSONObject")]
impl ScalarType for JSONObject {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::Object(map) => Ok(Self(object(map))),
            value => Err(InputValueError::expected_type(value)),
        }
    }

    fn to_value(&self) -> Value {
        json_object(&self.0)
    }
}

fn object(map: IndexMap<Name, Value>) -> JsonObject {
    map.into_iter()
        .map(|(key, value)| (key.to_string(), json(value)))
        .collect()
}

fn json(value: Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Boolean(value) => Json::Bool(value),
        Value::Number(number) => Json::Number(number.to_string()),
        Value::String(text) => Json::String(text),
        Value::Enum(name) => Json::String(name.to_string()),
        Value::List(items) => Json::List(items.into_iter().map(json).collect()),
        Value::Object(map) => Json::Object(object(map)),
        // There is no JSON from which this comes.
        Value::Binary(_) => Json::Null,
    }
}

fn json_object(map: &JsonObject) -> Value {
    Value::Object(
        map.iter()
            .map(|(key, value)| (Name::new(key), json_value(value)))
            .collect(),
    )
}

fn json_value(value: &Json) -> Value {
    match value {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Boolean(*value),
        // A number came as JSON, so it can be read as such.
        Json::Number(text) => text.parse().map_or(Value::Null, Value::Number),
        Json::String(text) => Value::String(text.clone()),
        Json::List(items) => Value::List(items.iter().map(json_value).collect()),
        Json::Object(map) => json_object(map),
    }
}

macro_rules! text_scalars {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub(crate) struct $name(pub(crate) String);

        $(#[$doc])*
        #[Scalar]
        impl ScalarType for $name {
            fn parse(value: Value) -> InputValueResult<Self> {
                match value {
                    Value::String(text) => Ok(Self(text)),
                    value => Err(InputValueError::expected_type(value)),
                }
            }

            fn to_value(&self) -> Value {
                Value::String(self.0.clone())
            }
        }

        impl Leaf for $name {
            fn write(&self, out: &mut Vec<u8>) {
                self.0.write(out);
            }
        }
    )*};
}

text_scalars! {
    /// An opaque position: of a row in a page of a list, or in the event log. Keep it as it is; what is in it may change.
    Cursor;
    /// A `sip:` or `sips:` URI (RFC 3261 section 19.1).
    SipUri;
}

/// Returns a count as GraphQL's 32-bit `Int`; what is larger is told as the largest.
pub(crate) fn int(value: i64) -> i32 {
    i32::try_from(value).unwrap_or(if value < 0 { i32::MIN } else { i32::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_six_digits_and_are_read_with_any_offset() {
        let at = DateTime(Timestamp(1_763_726_400_000_001));
        assert_eq!(at.to_value(), Value::from("2025-11-21T12:00:00.000001Z"));
        let read = |text: &str| DateTime::parse(Value::from(text));
        assert_eq!(read("2025-11-21T12:00:00.000001Z").ok(), Some(at));
        assert_eq!(read("2025-11-21T13:00:00.000001+01:00").ok(), Some(at));
        assert!(read("2025-11-21").is_err());
        assert!(DateTime::parse(Value::from(1)).is_err());
    }

    #[test]
    fn a_map_comes_back_as_it_was_given() {
        let text = r#"{"a":[1,-2.5,1e3,{"b":null,"":true}],"c":"d"}"#;
        let value = Value::from_json(serde_json::from_str(text).unwrap()).unwrap();
        let map = JSONObject::parse(value.clone()).unwrap();
        assert_eq!(map.to_value(), value);
        assert!(JSONObject::parse(Value::from("a")).is_err());
        assert!(JSONObject::parse(Value::List(Vec::new())).is_err());
    }

    #[test]
    fn numbers_saturate() {
        assert_eq!(int(7), 7);
        assert_eq!(int(i64::MAX), i32::MAX);
        assert_eq!(int(i64::MIN), i32::MIN);
    }
}

//! The messages of graphql-transport-ws as they stand on the wire.

use axum::extract::ws::Utf8Bytes;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{Close, error::to_json, request::Params};

/// A message from the client, checked as far as the protocol goes.
pub(super) enum ClientMessage {
    ConnectionInit(Map<String, Value>),
    Ping(Option<Value>),
    Pong,
    Subscribe { id: String, params: Box<Params> },
    Complete { id: String },
}

impl ClientMessage {
    /// Reads a message.
    ///
    /// # Errors
    /// The close with 4400 that the protocol demands for anything else.
    pub(super) fn parse(text: &str) -> Result<Self, Close> {
        let Ok(Value::Object(mut object)) = serde_json::from_str(text) else {
            return Err(bad("Invalid message: not a JSON object"));
        };
        let Some(Value::String(kind)) = object.remove("type") else {
            return Err(bad("Invalid message: type must be a string"));
        };
        let payload = object.remove("payload").filter(|value| !value.is_null());
        match kind.as_str() {
            "connection_init" => Ok(Self::ConnectionInit(map(payload)?.unwrap_or_default())),
            "ping" => Ok(Self::Ping(map(payload)?.map(Value::Object))),
            "pong" => map(payload).map(|_| Self::Pong),
            "complete" => Ok(Self::Complete {
                id: id(&mut object)?,
            }),
            "subscribe" => {
                let id = id(&mut object)?;
                let payload = map(payload)?
                    .ok_or_else(|| bad("Invalid message: payload must be an object"))?;
                let params = Params::from_json(Value::Object(payload))
                    .map_err(|reason| bad(format!("Invalid message: {reason}")))?;
                Ok(Self::Subscribe {
                    id,
                    params: Box::new(params),
                })
            }
            _ => Err(bad("Invalid message: unknown type")),
        }
    }
}

fn bad(reason: impl Into<std::borrow::Cow<'static, str>>) -> Close {
    Close::new(4400, reason)
}

fn map(payload: Option<Value>) -> Result<Option<Map<String, Value>>, Close> {
    match payload {
        None => Ok(None),
        Some(Value::Object(map)) => Ok(Some(map)),
        Some(_) => Err(bad("Invalid message: payload must be an object")),
    }
}

fn id(object: &mut Map<String, Value>) -> Result<String, Close> {
    match object.remove("id") {
        Some(Value::String(id)) if !id.is_empty() => Ok(id),
        _ => Err(bad(
            "Invalid message: id must be a string that is not empty",
        )),
    }
}

#[derive(Serialize)]
struct Plain<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a Value>,
}

/// Returns the answer to an accepted `connection_init`.
pub(super) fn connection_ack() -> Utf8Bytes {
    Utf8Bytes::from_static(r#"{"type":"connection_ack"}"#)
}

/// Returns the answer to `ping`, with its payload.
pub(super) fn pong(payload: Option<&Value>) -> Utf8Bytes {
    let message = Plain {
        r#type: "pong",
        id: None,
        payload,
    };
    to_json(&message).into()
}

/// Returns the end of an operation.
pub(super) fn complete(id: &str) -> Utf8Bytes {
    let message = Plain {
        r#type: "complete",
        id: Some(id),
        payload: None,
    };
    to_json(&message).into()
}

/// Returns a result; `body` is the JSON of an execution result.
pub(super) fn next(id: &str, body: &str) -> Utf8Bytes {
    with_payload("next", id, body)
}

/// Returns the refusal of an operation; `errors` is the JSON of a list of errors.
pub(super) fn error(id: &str, errors: &str) -> Utf8Bytes {
    with_payload("error", id, errors)
}

/// The payload is JSON already: large results are not parsed and written again.
fn with_payload(kind: &str, id: &str, payload: &str) -> Utf8Bytes {
    let id = to_json(&id);
    format!(r#"{{"type":"{kind}","id":{id},"payload":{payload}}}"#).into()
}

//! JSON text as the values of core and back; numbers stay as they are written.

use serde_json::value::RawValue;
use sipgraph_core::endpoint::JSON_DEPTH_MAX;
use sipgraph_core::json::Json;
use std::collections::BTreeMap;

/// How deep a row may nest: what an endpoint may keep, and the row and its field around it. The reader recurses.
const DEPTH_MAX: usize = JSON_DEPTH_MAX + 2;

/// Reads one JSON value.
///
/// # Errors
/// Where the text ceases to be JSON, in bytes from its start, and why.
pub(super) fn read(text: &str) -> Result<Json, (usize, String)> {
    let fault = |error: serde_json::Error| {
        let before: usize = text
            .split_inclusive('\n')
            .take(error.line().saturating_sub(1))
            .map(str::len)
            .sum();
        // The column is that of the last character read.
        let at = if error.is_eof() {
            text.len()
        } else {
            before + error.column().saturating_sub(1)
        };
        (at.min(text.len()), error.to_string())
    };
    let value: &RawValue = serde_json::from_str(text).map_err(fault)?;
    cooked(value, DEPTH_MAX).map_err(|why| (0, why))
}

fn cooked(value: &RawValue, depth: usize) -> Result<Json, String> {
    let text = value.get();
    let below = depth
        .checked_sub(1)
        .ok_or_else(|| format!("it nests deeper than {DEPTH_MAX} levels"));
    let wrong = |error: serde_json::Error| error.to_string();
    Ok(match text.as_bytes().first() {
        Some(b'n') => Json::Null,
        Some(b't') => Json::Bool(true),
        Some(b'f') => Json::Bool(false),
        Some(b'"') => Json::String(serde_json::from_str(text).map_err(wrong)?),
        Some(b'[') => {
            let below = below?;
            let items: Vec<&RawValue> = serde_json::from_str(text).map_err(wrong)?;
            let items: Result<Vec<Json>, String> =
                items.into_iter().map(|item| cooked(item, below)).collect();
            Json::List(items?)
        }
        Some(b'{') => {
            let below = below?;
            let map: BTreeMap<String, &RawValue> = serde_json::from_str(text).map_err(wrong)?;
            let map: Result<BTreeMap<String, Json>, String> = map
                .into_iter()
                .map(|(key, value)| Ok((key, cooked(value, below)?)))
                .collect();
            Json::Object(map?)
        }
        _ => Json::Number(text.to_owned()),
    })
}

/// Writes a value as JSON text on one line.
pub(super) fn write(value: &Json, out: &mut String) {
    match value {
        Json::Null => out.push_str("null"),
        Json::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Json::Number(text) => out.push_str(text),
        Json::String(text) => out.push_str(&serde_json::Value::from(text.as_str()).to_string()),
        Json::List(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        Json::Object(map) => {
            let fields = map.iter().map(|(key, value)| (key.as_str(), value));
            write_object(fields, out);
        }
    }
}

/// Writes fields as a JSON object, in the order given.
pub(super) fn write_object<'f>(
    fields: impl IntoIterator<Item = (&'f str, &'f Json)>,
    out: &mut String,
) {
    out.push('{');
    for (i, (key, value)) in fields.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        out.push_str(&serde_json::Value::from(key).to_string());
        out.push(':');
        write(value, out);
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_as_they_were_written() {
        let text = r#"{"a":[1,-2.50,1e3,{"b":null,"ü":true}],"c":"d\"\n"}"#;
        let mut out = String::new();
        write(&read(text).unwrap(), &mut out);
        assert_eq!(out, text);
    }

    #[test]
    fn what_is_no_json_is_told_with_its_place() {
        assert_eq!(read("{\"a\": x}").unwrap_err().0, 6);
        assert!(read("").is_err());
        let deep = format!("{}{}", "[".repeat(30), "]".repeat(30));
        assert!(read(&deep).unwrap_err().1.contains("deeper"));
    }
}

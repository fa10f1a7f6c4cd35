//! The JSON of results.
//!
//! A schema may give a part of a result as JSON that it has written itself: as [`Value::Binary`], of which GraphQL has none
//! otherwise. It goes out as it is.

use async_graphql::Value;

/// Appends a value. The recursion is as deep as the document, which the gate bounds, and below it as an object that was stored,
/// which was bounded when it was taken in.
pub fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Boolean(true) => out.extend_from_slice(b"true"),
        Value::Boolean(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::String(text) => write_text(text, out),
        Value::Enum(name) => write_text(name, out),
        Value::Binary(json) => out.extend_from_slice(json),
        Value::List(items) => {
            out.push(b'[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                write(item, out);
            }
            out.push(b']');
        }
        Value::Object(members) => {
            out.push(b'{');
            for (place, (name, member)) in members.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                write_text(name, out);
                out.push(b':');
                write(member, out);
            }
            out.push(b'}');
        }
    }
}

/// Appends a string.
pub fn write_text(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("memory takes every octet");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_the_library_writes_them() {
        let text = r#"{"a":[null,true,false,1,-2.5,1e300,[],{}],"":"\"\\\n\u0001\u2028\u00e9","b":{"c":"d"}}"#;
        let value = Value::from_json(serde_json::from_str(text).unwrap()).unwrap();
        let mut out = Vec::new();
        write(&value, &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            serde_json::to_string(&value).unwrap()
        );
    }

    #[test]
    fn what_is_written_already_goes_out_as_it_is() {
        let mut out = Vec::new();
        let written = Value::Binary(r#"{"a":1}"#.into());
        write(&Value::List(vec![written.clone(), written]), &mut out);
        assert_eq!(out, br#"[{"a":1},{"a":1}]"#);
    }
}

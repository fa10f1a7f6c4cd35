//! Errors on their way out: each with a code, none with internals, bounded in number and length.

use async_graphql::{ErrorExtensionValues, Pos, Response, ServerError, Value};
use serde::Serialize;

use crate::{Config, json};

/// The codes that the transport itself puts into `extensions.code`.
pub mod code {
    /// The document is not GraphQL.
    pub const GRAPHQL_PARSE_FAILED: &str = "GRAPHQL_PARSE_FAILED";
    /// The document does not fit the schema or the specification.
    pub const GRAPHQL_VALIDATION_FAILED: &str = "GRAPHQL_VALIDATION_FAILED";
    /// `operationName` selects no operation of the document.
    pub const OPERATION_RESOLUTION_FAILURE: &str = "OPERATION_RESOLUTION_FAILURE";
    /// The document asks for more than the limits allow.
    pub const QUERY_TOO_COMPLEX: &str = "QUERY_TOO_COMPLEX";
    /// A variable or argument has a wrong value.
    pub const BAD_USER_INPUT: &str = "BAD_USER_INPUT";
    /// The HTTP request is not a GraphQL request.
    pub const BAD_REQUEST: &str = "BAD_REQUEST";
    /// The method does not fit the operation.
    pub const METHOD_NOT_ALLOWED: &str = "METHOD_NOT_ALLOWED";
    /// No media type of `Accept` can be produced.
    pub const NOT_ACCEPTABLE: &str = "NOT_ACCEPTABLE";
    /// The body's media type is not `application/json` in UTF-8.
    pub const UNSUPPORTED_MEDIA_TYPE: &str = "UNSUPPORTED_MEDIA_TYPE";
    /// The body is too long.
    pub const PAYLOAD_TOO_LARGE: &str = "PAYLOAD_TOO_LARGE";
    /// The body did not come in time.
    pub const REQUEST_TIMEOUT: &str = "REQUEST_TIMEOUT";
    /// The host name is none of this listener's.
    pub const MISDIRECTED_REQUEST: &str = "MISDIRECTED_REQUEST";
    /// The browser's origin is not allowed.
    pub const ORIGIN_NOT_ALLOWED: &str = "ORIGIN_NOT_ALLOWED";
    /// A socket runs as many operations as it may.
    pub const LIMIT_REACHED: &str = "LIMIT_REACHED";
    /// No credentials, or wrong ones.
    pub const UNAUTHENTICATED: &str = "UNAUTHENTICATED";
    /// The server is overloaded or ends; try again.
    pub const UNAVAILABLE: &str = "UNAVAILABLE";
    /// A fault of the server; its log says more.
    pub const INTERNAL_SERVER_ERROR: &str = "INTERNAL_SERVER_ERROR";
}

/// Returns an error with `extensions.code`.
pub fn coded(code: &'static str, message: impl Into<String>, at: Option<Pos>) -> ServerError {
    let mut error = ServerError::new(message, at);
    set_code(&mut error, code);
    error
}

fn set_code(error: &mut ServerError, code: &'static str) {
    error
        .extensions
        .get_or_insert_with(ErrorExtensionValues::default)
        .set("code", code);
}

/// Returns whether execution never began, so that the response has no `data` entry.
pub(crate) fn is_request_error(response: &Response) -> bool {
    !response.errors.is_empty()
        && response.data == Value::Null
        && response.errors.iter().all(|error| error.path.is_empty())
}

/// Gives each error a code, hides the internals of uncoded ones and cuts what is too much.
pub(crate) fn finish(errors: &mut Vec<ServerError>, config: &Config) {
    let beyond = errors.len().saturating_sub(config.errors_max);
    errors.truncate(config.errors_max);
    for error in errors.iter_mut() {
        let has_code = error
            .extensions
            .as_ref()
            .is_some_and(|extensions| extensions.get("code").is_some());
        if !has_code {
            classify(error);
        }
        cut(&mut error.message, config.error_message_chars_max);
    }
    if let Some(last) = errors.last_mut().filter(|_| beyond > 0) {
        last.message
            .push_str(&format!(" (and {beyond} more errors)"));
    }
}

/// Codes an error of `async_graphql` itself, which has no code.
///
/// One without a path comes from validation. One with a path comes from a resolver, or from an
/// argument that does not convert: the two texts below are those of `InputValueError`, and the
/// library gives nothing else to tell them apart. A resolver's uncoded error is a fault of ours,
/// and its text is for the log alone.
fn classify(error: &mut ServerError) {
    if error.path.is_empty() {
        set_code(error, code::GRAPHQL_VALIDATION_FAILED);
    } else if error.message.starts_with("Failed to parse \"")
        || error.message.starts_with("Expected input type \"")
    {
        set_code(error, code::BAD_USER_INPUT);
    } else {
        tracing::error!(error.message = %error.message, error.path = ?error.path, "a resolver failed");
        error.message = "Internal server error".into();
        set_code(error, code::INTERNAL_SERVER_ERROR);
    }
}

fn cut(message: &mut String, chars_max: usize) {
    if let Some((at, _)) = message.char_indices().nth(chars_max) {
        message.truncate(at);
        message.push('…');
    }
}

/// Returns the JSON of a finished response, in the order that the specification recommends; `data` is absent in a request error.
pub(crate) fn encode(response: &Response, request_error: bool) -> String {
    let mut out = Vec::new();
    let begin = |out: &mut Vec<u8>, name: &str| {
        out.push(if out.is_empty() { b'{' } else { b',' });
        json::write_text(name, out);
        out.push(b':');
    };
    if !response.errors.is_empty() {
        begin(&mut out, "errors");
        out.extend_from_slice(to_json(&response.errors).as_bytes());
    }
    if !request_error {
        begin(&mut out, "data");
        json::write(&response.data, &mut out);
    }
    if !response.extensions.is_empty() {
        begin(&mut out, "extensions");
        out.extend_from_slice(to_json(&response.extensions).as_bytes());
    }
    out.push(b'}');
    String::from_utf8(out).unwrap_or_else(|error| unwritable(&error))
}

/// Returns the JSON of a body that holds one error.
pub(crate) fn encode_error(error: &ServerError) -> String {
    encode(&Response::from_errors(vec![error.clone()]), true)
}

/// Returns the JSON of `value`, whose maps have string keys.
pub(crate) fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|error| unwritable(&error))
}

fn unwritable(error: &(dyn std::error::Error + 'static)) -> String {
    tracing::error!(error, "a response cannot be written as JSON");
    format!(
        r#"{{"errors":[{{"message":"Internal server error","extensions":{{"code":"{}"}}}}]}}"#,
        code::INTERNAL_SERVER_ERROR
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_graphql::PathSegment;

    fn code_of(error: &ServerError) -> Option<&Value> {
        error.extensions.as_ref()?.get("code")
    }

    #[test]
    fn internals_stay_inside() {
        let mut fault = ServerError::new("connection to 10.0.0.1 refused", None);
        fault.path = vec![PathSegment::Field("a".into())];
        let mut errors = vec![fault, ServerError::new("Unknown type", None)];
        finish(&mut errors, &Config::default());
        assert_eq!(errors[0].message, "Internal server error");
        assert_eq!(
            code_of(&errors[0]),
            Some(&Value::from(code::INTERNAL_SERVER_ERROR))
        );
        assert_eq!(
            code_of(&errors[1]),
            Some(&Value::from(code::GRAPHQL_VALIDATION_FAILED))
        );
    }

    #[test]
    fn errors_are_bounded_in_number_and_length() {
        let mut errors = vec![ServerError::new("ä".repeat(9000), None); 9000];
        finish(&mut errors, &Config::default());
        assert_eq!(errors.len(), 50);
        assert_eq!(errors[0].message.chars().count(), 501);
        assert!(errors[49].message.ends_with("(and 8950 more errors)"));
    }
}

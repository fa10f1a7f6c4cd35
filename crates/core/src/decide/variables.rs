//! Variables of a message: names and texts that become header fields of its MESSAGE (ARI's `variables`).

use crate::error::{Problem, ProblemDetail};
use crate::json::{Json, JsonObject};
use crate::message::Variables;

/// The most variables of a message.
pub const VARIABLES_MAX: usize = 32;
/// The most bytes of all names and texts together; a quarter of the longest head.
pub const VARIABLES_BYTES_MAX: usize = 4 * 1024;

/// Names that say who sends, where it goes, what it carries or who vouches for it: never a caller's to set. Compact forms
/// (RFC 3261 section 7.3.3 and the registry of header fields) are among them.
const RESERVED: &[&str] = &[
    "to",
    "t",
    "from",
    "f",
    "via",
    "v",
    "route",
    "record-route",
    "contact",
    "m",
    "call-id",
    "i",
    "cseq",
    "max-forwards",
    "allow",
    "authorization",
    "proxy-authorization",
    "www-authenticate",
    "proxy-authenticate",
    "p-asserted-identity",
    "p-preferred-identity",
    "identity",
    "y",
    "privacy",
    "path",
    "service-route",
    "require",
    "proxy-require",
    "supported",
    "k",
    "expires",
    "date",
    "user-agent",
    "reply-to",
    "referred-by",
    "b",
    "request-uri",
    "c",
    "e",
    "l",
    "a",
];
/// Beginnings of names that are reserved as a whole.
const RESERVED_PREFIXES: &[&str] = &["content-", "accept"];

/// Returns whether a header field is not a caller's to set, whatever its case.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    RESERVED.contains(&name.as_str())
        || RESERVED_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

/// Takes the variables of a MESSAGE that came in from its header fields: those that a caller may set too, so neither who sent
/// it nor what proves that. Fields of one name are one variable (RFC 3261 section 7.3.1). What is no text, and what goes
/// beyond the bounds of a message's variables, is left out.
#[must_use]
pub fn received<'f>(fields: impl IntoIterator<Item = (&'f str, &'f str)>) -> Variables {
    let mut variables = Variables::new();
    let mut room = VARIABLES_BYTES_MAX;
    for (name, text) in fields {
        if !is_token(name) || is_reserved(name) || !is_printable(text) {
            continue;
        }
        let is_known = |known: &&String| known.eq_ignore_ascii_case(name);
        let known = variables.keys().find(is_known).cloned();
        let added = match &known {
            Some(_) => ", ".len() + text.len(),
            None if variables.len() < VARIABLES_MAX => name.len() + text.len(),
            None => continue,
        };
        let Some(left) = room.checked_sub(added) else {
            continue;
        };
        room = left;
        variables
            .entry(known.unwrap_or_else(|| name.to_owned()))
            .and_modify(|texts| *texts = format!("{texts}, {text}"))
            .or_insert_with(|| text.to_owned());
    }
    variables
}

/// Whether a text is a token of RFC 3261 section 25.1.
fn is_token(name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-.!%*_+`'~".contains(c);
    !name.is_empty() && name.chars().all(is_part)
}

fn is_printable(text: &str) -> bool {
    !text.contains(|c: char| c.is_control() && c != '\t')
}

/// Reads the variables of a message.
///
/// # Errors
/// All that is wrong with them, each at its name below `variables`.
pub fn variables(given: &JsonObject) -> Result<Variables, Vec<Problem>> {
    const FIELD: &str = "variables";
    let limit = |message: String, limit: usize, actual: usize| {
        Problem::validation(FIELD, message).with_detail(ProblemDetail {
            limit: i64::try_from(limit).ok(),
            actual: i64::try_from(actual).ok(),
            ..ProblemDetail::default()
        })
    };
    let mut problems = Vec::new();
    if given.len() > VARIABLES_MAX {
        let message = format!("A message has at most {VARIABLES_MAX} variables.");
        problems.push(limit(message, VARIABLES_MAX, given.len()));
    }
    let mut variables = Variables::new();
    let mut bytes = 0;
    for (name, value) in given {
        let at = |message: &str| {
            let mut problem = Problem::validation(FIELD, message);
            // Not through a path, because a name may have dots.
            problem.field.push(name.clone());
            problem
        };
        if !is_token(name) {
            problems.push(at(
                "The name of a variable is a token of RFC 3261 section 25.1.",
            ));
        } else if is_reserved(name) {
            problems.push(at("This header field is not the caller's to set."));
        }
        let Json::String(text) = value else {
            problems.push(at("The value of a variable is a string."));
            continue;
        };
        if !is_printable(text) {
            problems.push(at(
                "The value of a variable has no line break, no NUL and no other control character.",
            ));
        }
        bytes += name.len() + text.len();
        variables.insert(name.clone(), text.clone());
    }
    if bytes > VARIABLES_BYTES_MAX {
        let message = format!("Variables have at most {VARIABLES_BYTES_MAX} bytes together.");
        problems.push(limit(message, VARIABLES_BYTES_MAX, bytes));
    }
    if problems.is_empty() {
        Ok(variables)
    } else {
        Err(problems)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, value: Json) -> Result<Variables, Vec<Problem>> {
        variables(&JsonObject::from([(name.to_owned(), value)]))
    }

    fn text(value: &str) -> Json {
        Json::String(value.to_owned())
    }

    #[test]
    fn e108_texts_are_taken_as_they_are() {
        let taken = of("X-Foo", text("b\tä r")).unwrap();
        assert_eq!(taken.get("X-Foo").map(String::as_str), Some("b\tä r"));
        assert!(of("X.Y_z~1", text("")).is_ok());
    }

    #[test]
    fn e110_reserved_names_and_injections_are_refused() {
        for name in [
            "To",
            "t",
            "FROM",
            "f",
            "via",
            "V",
            "Route",
            "Record-Route",
            "m",
            "Call-ID",
            "i",
            "CSeq",
            "Max-Forwards",
            "allow",
            "Content-Type",
            "Content-X",
            "c",
            "L",
            "e",
            "Accept",
            "Accept-Contact",
            "a",
            "Authorization",
            "Proxy-Authorization",
            "WWW-Authenticate",
            "Proxy-Authenticate",
            "P-Asserted-Identity",
            "P-Preferred-Identity",
            "Identity",
            "y",
            "Privacy",
            "Path",
            "Service-Route",
            "Require",
            "Proxy-Require",
            "Supported",
            "k",
            "Expires",
            "Date",
            "User-Agent",
            "Reply-To",
            "Referred-By",
            "b",
            "Request-URI",
            "",
            "X Y",
            "X:Y",
            "X\r\nVia",
            "X\n",
            "Ä",
        ] {
            let problems = of(name, text("x")).unwrap_err();
            assert_eq!(problems.len(), 1, "{name}");
            assert_eq!(problems[0].field, ["variables".to_owned(), name.to_owned()]);
        }
        for value in ["a\r\nVia: x", "a\n", "a\0", "\u{7f}"] {
            assert_eq!(of("X-Foo", text(value)).unwrap_err().len(), 1);
        }
    }

    #[test]
    fn e109_a_value_is_a_string() {
        for value in [
            Json::Null,
            Json::Bool(true),
            Json::Number("1".into()),
            Json::Object(JsonObject::new()),
        ] {
            assert_eq!(of("X-Foo", value).unwrap_err().len(), 1);
        }
    }

    #[test]
    fn e113_what_says_or_proves_who_sent_it_is_no_variable() {
        let taken = received([
            ("From", "<sip:a@b>"),
            ("Authorization", "Digest response=\"00\""),
            ("Proxy-Authorization", "x"),
            ("P-Asserted-Identity", "<sip:a@b>"),
            ("Content-Type", "text/plain"),
            ("X-Foo", "bar"),
            ("Subject", "lunch"),
            ("x-foo", "baz"),
            ("X-Bell", "\u{7}"),
            ("No Token", "x"),
        ]);
        let expected = [("Subject", "lunch"), ("X-Foo", "bar, baz")];
        let expected = expected.map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert_eq!(taken, Variables::from(expected));
    }

    #[test]
    fn e113_variables_that_came_in_are_bounded() {
        let names: Vec<String> = (0..40).map(|n| format!("X-{n:02}")).collect();
        let many = received(names.iter().map(|name| (name.as_str(), "x")));
        assert_eq!(many.len(), VARIABLES_MAX);
        let long = "x".repeat(VARIABLES_BYTES_MAX);
        assert_eq!(received([("X-Long", &*long), ("X-Foo", "bar")]).len(), 1);
        let half = &long[..VARIABLES_BYTES_MAX / 2];
        let twice = received([("X-Half", half), ("x-half", half)]);
        assert_eq!(twice.get("X-Half").map(String::len), Some(half.len()));
    }

    #[test]
    fn e110_variables_are_bounded() {
        let many: JsonObject = (0..33).map(|i| (format!("X-{i}"), text(""))).collect();
        assert_eq!(variables(&many).unwrap_err().len(), 1);
        assert!(of("X", text(&"a".repeat(VARIABLES_BYTES_MAX - 1))).is_ok());
        assert!(of("X", text(&"a".repeat(VARIABLES_BYTES_MAX))).is_err());
    }
}

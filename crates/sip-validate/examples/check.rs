//! Answers which of many texts are valid, for use as a filter and by programs that compare validators.
//!
//! Reads lines of a rule, a tab and a JSON value from standard input, and answers each with `valid` or `invalid` on a
//! line of standard output; `unsupported` for a rule that is not known. The value is a text, or for `uri-equal` and
//! `tel-equal` a list of two.
//!
//! ```sh
//! printf 'sip-uri\t"sip:alice@example.com"\nuri-equal\t["sip:a@b.c","sip:%%61@B.C"]\n' |
//!     cargo run -p sip-validate --example check
//! ```

use std::io::{self, BufRead as _, BufWriter, Write as _};

use serde_json::Value;
use sip_validate::{
    CSeq, DisplayName, Host, MediaType, SipDate, SipUri, TelUri, TelephoneSubscriber, Violation,
    call_id, endpoint_name, endpoint_password, token, uri_password, user, user_or_subscriber,
};

fn main() -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().lines() {
        let line = line?;
        let (rule, json) = line.split_once('\t').unwrap_or((&line, ""));
        let value = serde_json::from_str(json)?;
        writeln!(out, "{}", answer(rule, &value))?;
    }
    out.flush()
}

/// The answer to one line.
pub(crate) fn answer(rule: &str, value: &Value) -> &'static str {
    let valid = match value {
        Value::String(text) => check(rule, text).map(|checked| checked.is_ok()),
        Value::Array(pair) => match &pair[..] {
            [Value::String(a), Value::String(b)] => equal(rule, a, b),
            _ => None,
        },
        _ => None,
    };
    match valid {
        Some(true) => "valid",
        Some(false) => "invalid",
        None => "unsupported",
    }
}

/// Checks a text strictly; `None` for a rule that is not known.
pub(crate) fn check(rule: &str, text: &str) -> Option<Result<(), Violation>> {
    Some(match rule {
        "callid" => call_id(text),
        "cseq" => CSeq::parse(text).map(drop),
        "display-name" => DisplayName::parse(text).map(drop),
        "endpoint-name" => user_or_subscriber(text),
        "endpoint-name-policy" => endpoint_name(text),
        "endpoint-password" => endpoint_password(text),
        "host" => Host::parse(text).map(drop),
        "media-type" => MediaType::parse(text).map(drop),
        "password" => uri_password(text),
        "sip-date" => SipDate::parse(text).map(drop),
        "sip-uri" => SipUri::parse(text).map(drop),
        "tel-uri" => TelUri::parse(text).map(drop),
        "telephone-subscriber" => TelephoneSubscriber::parse(text).map(drop),
        "token" => token(text),
        "user" => user(text),
        _ => return None,
    })
}

/// Compares two URIs; one that can't be read is equal to none.
fn equal(rule: &str, a: &str, b: &str) -> Option<bool> {
    match rule {
        "uri-equal" => Some(match (SipUri::parse(a), SipUri::parse(b)) {
            (Ok(a), Ok(b)) => a.is_equivalent(&b),
            _ => false,
        }),
        "tel-equal" => Some(match (TelUri::parse(a), TelUri::parse(b)) {
            (Ok(a), Ok(b)) => a.is_equivalent(&b),
            _ => false,
        }),
        _ => None,
    }
}

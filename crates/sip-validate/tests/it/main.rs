//! Holds the validators against the labelled texts in `tests/data`: every line must agree.
#![expect(
    clippy::unwrap_used,
    reason = "a broken data file should fail the test"
)]

mod fuzzed;
mod messages;
mod properties;

use std::fs;
use std::io::Read as _;
use std::path::Path;

use flate2::read::GzDecoder;
use proptest::prelude::*;
use serde_json::Value;
use sip_validate::{
    Host, SipUri, aor_user, domain, e164, endpoint_name, endpoint_password, uri_password, user,
};

/// The lines of a file of `tests/data`, which may be compressed.
fn lines(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(file);
    let raw = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut text = String::new();
    if file.ends_with(".gz") {
        GzDecoder::new(&raw[..]).read_to_string(&mut text).unwrap();
    } else {
        text = String::from_utf8(raw).unwrap();
    }
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Checks that `accepts` agrees with the label `label` of the text `key` in every line of `file`.
#[track_caller]
fn agree(file: &str, key: &str, label: &str, accepts: impl Fn(&str) -> Result<(), String>) {
    let cases = lines(file);
    assert!(!cases.is_empty());
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let text = case[key].as_str().unwrap();
            let answer = accepts(text);
            (answer.is_ok() != case[label].as_bool().unwrap())
                .then(|| format!("{text:?}: {answer:?}"))
        })
        .collect();
    let shown = wrong
        .iter()
        .take(20)
        .cloned()
        .collect::<Vec<_>>()
        .join("\n");
    assert!(
        wrong.is_empty(),
        "{} of {} disagree:\n{shown}",
        wrong.len(),
        cases.len()
    );
}

fn verdict<T>(result: Result<T, sip_validate::Violation>) -> Result<(), String> {
    result.map(drop).map_err(|violation| violation.to_string())
}

#[test]
fn users_agree_with_the_grammar() {
    agree("user.jsonl.gz", "input", "valid", |text| {
        verdict(user(text))
    });
    agree("name-vectors.jsonl", "name", "rfc3261_user", |text| {
        verdict(user(text))
    });
}

#[test]
fn passwords_of_uris_agree_with_the_grammar() {
    agree("password.jsonl.gz", "input", "valid", |text| {
        verdict(uri_password(text))
    });
}

#[test]
fn hosts_agree_with_the_grammar() {
    agree("host.jsonl.gz", "input", "valid", |text| {
        verdict(Host::parse(text))
    });
}

#[test]
fn uris_agree_with_the_grammar() {
    agree("sip-uri.jsonl.gz", "input", "valid", |text| {
        verdict(SipUri::parse(text))
    });
}

#[test]
fn endpoint_names_agree_with_the_policy() {
    agree("name-vectors.jsonl", "name", "accept", |text| {
        verdict(endpoint_name(text))
    });
}

#[test]
fn endpoint_passwords_agree_with_the_policy() {
    agree("password-vectors.jsonl", "password", "accept", |text| {
        verdict(endpoint_password(text))
    });
    agree("endpoint-password.jsonl.gz", "input", "valid", |text| {
        verdict(endpoint_password(text))
    });
}

#[test]
fn equal_names_have_one_canonical_form() {
    for case in lines("name-equality.jsonl") {
        let canonical = |key: &str| aor_user(case[key].as_str().unwrap()).unwrap().into_owned();
        assert_eq!(
            canonical("a") == canonical("b"),
            case["same_name"].as_bool().unwrap(),
            "{case}"
        );
    }
}

proptest! {
    #[test]
    fn no_text_makes_a_validator_panic(text in any::<String>(), uri in "sips?:[\\PC:@;?=&%\\[\\]]{0,40}") {
        for text in [&text, &uri] {
            let _ = (user(text), uri_password(text), endpoint_name(text), endpoint_password(text), e164(text));
            let _ = (Host::parse_received(text), SipUri::parse(text), SipUri::parse_received(text), domain(text));
        }
    }

    #[test]
    fn canonical_forms_are_fixed_points(text in "([a-zA-Z0-9;?/&=+$,_.!~*'()-]|%[0-9a-fA-F]{2}){1,40}") {
        let once = aor_user(&text).unwrap().into_owned();
        // An escaped `%` stays escaped, so that a second pass changes nothing.
        prop_assert_eq!(aor_user(&once).unwrap(), once.as_str());
    }

    #[test]
    fn a_written_uri_reads_back(text in "sip:(([a-z0-9;?%]|%[0-9A-F]{2}){1,8}@)?[a-z][a-z0-9.-]{0,8}(:[0-9]{1,5})?(;[a-z]{1,3}(=[a-z0-9]{1,3})?){0,3}") {
        if let Ok(uri) = SipUri::parse(&text) {
            let written = uri.to_string();
            let again = SipUri::parse(&written).unwrap();
            prop_assert_eq!((again.user, again.host, again.port), (uri.user, uri.host, uri.port));
        }
    }
}

//! The labelled texts: every line must agree.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::path::Path;

use flate2::read::GzDecoder;
use serde_json::{Value, json};
use sip_validate::{
    CSeq, Host, Rule, SipUri, TelUri, TelephoneSubscriber, Violation, aor_user, endpoint_name,
    endpoint_password, user,
};

use crate::check;

/// The text of a file of `tests/data`, which may be compressed.
fn text(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(file);
    let raw = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if file.ends_with(".gz") {
        let mut text = String::new();
        GzDecoder::new(&raw[..]).read_to_string(&mut text).unwrap();
        text
    } else {
        String::from_utf8(raw).unwrap()
    }
}

/// The lines of a file of `tests/data`.
pub(crate) fn lines(file: &str) -> Vec<Value> {
    let text = text(file);
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

/// Fails with the first disagreements, if there are any.
#[track_caller]
fn none_of(wrong: &[String], cases: usize) {
    let shown = wrong.iter().take(20).cloned().collect::<Vec<_>>();
    assert!(
        wrong.is_empty(),
        "{} of {cases} disagree:\n{}",
        wrong.len(),
        shown.join("\n")
    );
}

/// The labelled lines of the grammar: rule, label and JSON.
fn grammar(text: &str) -> impl Iterator<Item = [&str; 3]> {
    text.lines().map(|line| {
        let (rule, rest) = line.split_once('\t').unwrap();
        let (label, json) = rest.split_once('\t').unwrap();
        [rule, label, json]
    })
}

/// Every labelled text of the grammar, with its rule.
pub(crate) fn labelled() -> Vec<(String, String)> {
    let text = text("grammar.tsv.gz");
    grammar(&text)
        .map(|[rule, _, json]| (rule.to_owned(), serde_json::from_str(json).unwrap()))
        .collect()
}

#[test]
fn every_text_has_the_verdict_of_the_grammar() {
    let text = text("grammar.tsv.gz");
    let mut counts = BTreeMap::<&str, usize>::new();
    let mut wrong = Vec::new();
    for [rule, label, json] in grammar(&text) {
        *counts.entry(rule).or_default() += 1;
        let given = serde_json::from_str(json).unwrap();
        let answer = check::answer(rule, &given);
        if answer != label {
            wrong.push(format!("{rule} {json}: {answer}"));
        }
    }
    none_of(&wrong, text.lines().count());
    // Six thousand for each rule of names, hosts, URIs and numbers, and 1,600 for each of header values.
    assert_eq!((counts.len(), counts.values().sum::<usize>()), (13, 51_600));
}

#[test]
fn uris_are_equal_as_labelled() {
    for (file, rule, count) in [
        ("uri-equal.jsonl.gz", "uri-equal", 451),
        ("tel-equal.jsonl", "tel-equal", 13),
    ] {
        let cases = lines(file);
        let wrong: Vec<_> = cases
            .iter()
            .filter(|case| {
                let label = if case["equal"] == json!(true) {
                    "valid"
                } else {
                    "invalid"
                };
                let ways = [[&case["a"], &case["b"]], [&case["b"], &case["a"]]];
                ways.iter()
                    .any(|pair| check::answer(rule, &json!(pair)) != label)
            })
            .map(Value::to_string)
            .collect();
        none_of(&wrong, cases.len());
        assert_eq!(cases.len(), count, "{file}");
    }
}

/// Checks that `accepts` agrees with the label `label` of the text `key` in every line of `file`.
#[track_caller]
fn agree(file: &str, key: &str, label: &str, accepts: impl Fn(&str) -> bool) {
    let cases = lines(file);
    assert!(!cases.is_empty());
    let wrong: Vec<_> = cases
        .iter()
        .filter(|case| accepts(case[key].as_str().unwrap()) != case[label].as_bool().unwrap())
        .map(Value::to_string)
        .collect();
    none_of(&wrong, cases.len());
}

#[test]
fn endpoint_names_agree_with_the_policy() {
    let file = "name-vectors.jsonl";
    agree(file, "name", "accept", |text| endpoint_name(text).is_ok());
    agree(file, "name", "rfc3261_user", |text| user(text).is_ok());
}

#[test]
fn endpoint_passwords_agree_with_the_policy() {
    let is_good = |text: &str| endpoint_password(text).is_ok();
    agree("password-vectors.jsonl", "password", "accept", is_good);
    agree("endpoint-password.jsonl.gz", "input", "valid", is_good);
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

/// What we take where grammar and prose of the RFCs disagree: for new data, and from the network; the table of the
/// crate's documentation in other words. `None` where it depends on the text.
const DECISIONS: &[(&str, bool, Option<bool>)] = &[
    // Numbers
    (
        "RFC 3966 s3: a parameter MUST NOT appear more than once",
        false,
        Some(false),
    ),
    (
        "RFC 3966 s3: order isub/ext, phone-context, others",
        true,
        Some(true),
    ),
    (
        "RFC 3966 s3: other parameters in lexicographical order",
        true,
        Some(true),
    ),
    ("both isub and ext", false, Some(true)),
    ("raw ';' inside isub", false, Some(false)),
    ("ext parsed as generic parameter", false, Some(true)),
    (
        "empty ;ext= (RFC 3966 ABNF read literally lets phonedigit be empty)",
        false,
        Some(false),
    ),
    ("phone-context on a global number", false, Some(true)),
    (
        "phone-context parsed as generic parameter",
        false,
        Some(true),
    ),
    ("E.164: country code starting with 0", false, Some(true)),
    ("E.164: more than 15 digits", false, Some(true)),
    (
        "E.164: phone-context prefix out of range",
        false,
        Some(true),
    ),
    // URIs and hosts
    (
        "RFC 3261 s19.1.1: SIPS transport MUST be reliable",
        false,
        Some(true),
    ),
    (
        "RFC 3261 s19.1.1: a parameter name MUST NOT appear more than once",
        false,
        Some(false),
    ),
    (
        "RFC 3261 s19.1.2: telephone-subscriber characters outside the user alphabet MUST be escaped",
        false,
        Some(false),
    ),
    ("port outside 1..65535", false, Some(false)),
    ("ttl outside 0..255", false, Some(true)),
    ("escape inside a known parameter", false, Some(true)),
    (
        "known parameter with a value outside its own production: maddr",
        false,
        Some(true),
    ),
    (
        "known parameter with a value outside its own production: transport",
        false,
        Some(true),
    ),
    (
        "known parameter with a value outside its own production: user",
        false,
        Some(true),
    ),
    // Taken where it is still an address: with leading zeros or three colons.
    (
        "accepted only by RFC 3261's own IPv4/IPv6 grammar (before RFC 5954)",
        false,
        None,
    ),
    // Header values
    // Taken below 2**32.
    (
        "RFC 3261 s8.1.1.5: CSeq number must be below 2**31",
        false,
        None,
    ),
    (
        "last token without LWS: ABNF rejects, RFC 4475 s3.1.1.6 says accept before <",
        true,
        Some(true),
    ),
    ("not a calendar date/time", false, Some(false)),
    ("time of day out of range", false, Some(false)),
    ("weekday does not match the date", false, Some(false)),
];

/// Whether a verdict is the decided one. A text may break another rule beside the one that it stands for.
fn holds(verdict: Result<(), Violation>, decided: Option<bool>) -> bool {
    match verdict.map_err(|violation| violation.rule) {
        Err(
            Rule::UriParameterTwice
            | Rule::TelParameterTwice
            | Rule::TelContext
            | Rule::NumberCountryCode,
        ) => true,
        verdict => decided.is_none_or(|decided| verdict.is_ok() == decided),
    }
}

#[test]
fn where_rfcs_disagree_with_themselves_the_documented_choice_holds() {
    let mut unused: BTreeSet<_> = DECISIONS.iter().map(|(why, ..)| *why).collect();
    let cases = lines("edge.jsonl.gz");
    let mut wrong = Vec::new();
    for case in &cases {
        let field = |key: &str| case[key].as_str().unwrap();
        let (rule, text, why) = (field("rule"), field("input"), field("why"));
        let decision = DECISIONS.iter().find(|(reason, ..)| *reason == why);
        let (why, new, received) = *decision.unwrap_or_else(|| panic!("undecided: {case}"));
        unused.remove(why);
        let strict = check::check(rule, text).unwrap();
        let tolerant = match rule {
            "cseq" => CSeq::parse_received(text).map(drop),
            "host" => Host::parse_received(text).map(drop),
            "sip-uri" => SipUri::parse_received(text).map(drop),
            "tel-uri" => TelUri::parse_received(text).map(drop),
            "telephone-subscriber" => TelephoneSubscriber::parse_received(text).map(drop),
            // These are read in one way; and a name of our own is never received.
            "display-name" | "sip-date" | "endpoint-name" => strict,
            _ => panic!("{case}"),
        };
        let received = if rule == "endpoint-name" {
            None
        } else {
            received
        };
        if !holds(strict, Some(new)) || !holds(tolerant, received) {
            wrong.push(format!("{case}: {strict:?} {tolerant:?}"));
        }
    }
    none_of(&wrong, cases.len());
    assert!(unused.is_empty() && cases.len() == 694, "{unused:?}");
}

//! SIP URIs validated by `sip-validate`, by rsip and by ezk-sip-types, and the time over the length of what is validated.
//!
//! Two sets of texts: URIs as devices send them, and the labelled ones of `sip-validate`, which were made to find errors. How
//! often each side is right is told beside its speed: who accepts anything has less to do.

use crate::report::{Limit, Report};
use crate::{Failure, Size};
use bytes::Bytes;
use ezk_sip_types::parse::Parse as _;
use flate2::read::GzDecoder;
use sip_validate::{
    SipUri, TelUri, URI_HEADERS_MAX, URI_PARAMETERS_MAX, aor_user, endpoint_name_violations,
};
use std::hint::black_box;
use std::io::Read as _;
use std::time::{Duration, Instant};

/// How many times as many URIs ours must validate in the same time.
const RATIO_MIN: f64 = 5.0;
/// How much longer an octet of the longest text may take than one of the shortest.
const GROWTH_MAX: f64 = 2.0;
/// The sizes over which the time is to be linear, in octets.
const SIZES: [usize; 4] = [1 << 10, 4 << 10, 16 << 10, 64 << 10];
const LABELLED: &[u8] = include_bytes!("../../sip-validate/tests/data/grammar.tsv.gz");

/// A labelled URI, in the forms that the three take without further work.
struct Labelled {
    text: &'static str,
    octets: Bytes,
    is_valid: bool,
}

fn labelled() -> Result<Vec<Labelled>, Failure> {
    let mut all = String::new();
    GzDecoder::new(LABELLED).read_to_string(&mut all)?;
    let mut found = Vec::new();
    for line in all.lines() {
        let Some(rest) = line.strip_prefix("sip-uri\t") else {
            continue;
        };
        let (label, json) = rest.split_once('\t').ok_or("a line has three columns")?;
        // Kept to the end of the program, so that no side pays for a copy of it.
        let text: &'static str = Box::leak(serde_json::from_str::<String>(json)?.into_boxed_str());
        found.push(Labelled {
            text,
            octets: Bytes::from_static(text.as_bytes()),
            is_valid: label == "valid",
        });
    }
    Ok(found)
}

type Validator = fn(&Labelled) -> bool;

fn ours(uri: &Labelled) -> bool {
    SipUri::parse(uri.text).is_ok()
}

fn rsip(uri: &Labelled) -> bool {
    rsip::Uri::try_from(uri.text).is_ok()
}

fn ezk(uri: &Labelled) -> bool {
    let read = ezk_sip_types::uri::SipUri::parse(&uri.octets)(uri.text);
    read.is_ok_and(|(rest, _)| rest.is_empty())
}

/// SIP URIs as they stand in requests of real devices and in the examples of RFC 3261.
const TYPICAL: [&str; 8] = [
    "sip:alice@example.com",
    "sip:bob@192.0.2.4:5060",
    "sip:alice@192.0.2.15:40312;transport=tcp;ob",
    "sips:carol@chicago.example;transport=tls",
    "sip:+12125551212@gateway.example;user=phone",
    "sip:p2.domain.example;lr",
    "sip:1001*205@[2001:db8::9:1]:5070;transport=ws",
    "sip:alice@atlanta.example?subject=project%20x&priority=urgent",
];

/// How many URIs are timed together: short enough that other work on the machine leaves some slices alone.
const SLICE: usize = 60;

fn took(validate: Validator, slice: &[Labelled]) -> Duration {
    let start = Instant::now();
    for uri in slice {
        black_box(validate(black_box(uri)));
    }
    start.elapsed()
}

/// Validates the URIs slice by slice, sides in turns, and compares the sums of each slice's fastest rounds.
fn compare(uris: &[Labelled], rounds: usize, report: &mut Report) -> Result<(), Failure> {
    let sides: [(&str, Validator); 3] = [
        ("sip-validate", ours),
        ("rsip 0.4", rsip),
        ("ezk-sip-types 0.6", ezk),
    ];
    let count = f64::from(u32::try_from(uris.len())?);
    let mut fastest = vec![[Duration::MAX; 3]; uris.len().div_ceil(SLICE)];
    for _ in 0..rounds {
        for (slice, fastest) in uris.chunks(SLICE).zip(&mut fastest) {
            for ((_, validate), fastest) in sides.iter().zip(fastest) {
                *fastest = (*fastest).min(took(*validate, slice));
            }
        }
    }
    let sum = |side: usize| {
        fastest
            .iter()
            .filter_map(|slice| slice.get(side))
            .sum::<Duration>()
    };
    let nanos = [0, 1, 2].map(|side| sum(side).as_secs_f64() * 1e9 / count);
    for ((side, validate), nanos) in sides.iter().zip(nanos) {
        let right = uris
            .iter()
            .filter(|uri| validate(uri) == uri.is_valid)
            .count();
        let share = 100.0 * f64::from(u32::try_from(right)?) / count;
        report.figure(
            side,
            format!("{nanos:.0} ns a URI, right about {share:.1} %"),
        );
    }
    for ((side, _), theirs) in sides.iter().zip(nanos).skip(1) {
        let name = format!("throughput to that of {side}");
        report.limited(&name, theirs / nanos[0], "", Limit::AtLeast(RATIO_MIN));
    }
    Ok(())
}

pub(crate) fn run(size: Size, report: &mut Report) -> Result<(), Failure> {
    let typical = TYPICAL.iter().cycle().take(SLICE).map(|text| Labelled {
        text,
        octets: Bytes::from_static(text.as_bytes()),
        is_valid: true,
    });
    let rounds = size.pick(20, 400);
    report.subject("typical SIP URIs, the fastest slices of 60");
    compare(&typical.collect::<Vec<_>>(), rounds * 20, report)?;
    let uris = labelled()?;
    let octets: usize = uris.iter().map(|uri| uri.text.len()).sum();
    report.subject(&format!(
        "{} labelled SIP URIs of {octets} octets, half of them wrong, the fastest slices of 60",
        uris.len()
    ));
    compare(&uris, rounds, report)?;
    linear(size, report)
}

/// A kind of text that could take long: its name, how one of about so many octets is made, and what is done with it.
type Shape = (&'static str, fn(usize) -> String, fn(&str));

const SHAPES: &[Shape] = &[
    (
        "a long user part",
        |n| format!("sip:{}@h", "a".repeat(n)),
        uri,
    ),
    (
        "a user part of escapes",
        |n| format!("sip:{}@h", "%41".repeat(n / 3)),
        uri,
    ),
    ("the key of escapes", |n| "%c3".repeat(n / 3), key),
    (
        "a long password",
        |n| format!("sip:a:{}@h", "p".repeat(n)),
        uri,
    ),
    (
        "a long host",
        |n| format!("sip:{}h", "h.".repeat(n / 2)),
        uri,
    ),
    (
        "colons in brackets",
        |n| format!("sip:[{}]", ":".repeat(n)),
        uri,
    ),
    (
        "a port of zeros",
        |n| format!("sip:h:{}", "0".repeat(n)),
        uri,
    ),
    ("many @", |n| format!("sip:{}", "@".repeat(n)), uri),
    ("many ;", |n| format!("sip:h{}", ";".repeat(n)), uri),
    (
        "parameters whose names end differently",
        |n| parameters(n, "n", false),
        uri,
    ),
    (
        "parameters whose names are escapes",
        |n| parameters(n, "%6E", false),
        uri,
    ),
    (
        "too many parameters",
        |n| format!("sip:h{}", ";a".repeat(n / 2)),
        uri,
    ),
    (
        "parameters in two orders, compared",
        |n| both(n, "n", parameters),
        pair,
    ),
    (
        "parameters of escapes in two orders, compared",
        |n| both(n, "%6E", parameters),
        pair,
    ),
    (
        "headers in two orders, compared",
        |n| both(n, "n", headers),
        pair,
    ),
    (
        "a local number",
        |n| format!("tel:{};phone-context=h", "*".repeat(n)),
        tel,
    ),
    (
        "separators of a number",
        |n| format!("tel:+{}1", "-".repeat(n)),
        tel,
    ),
    (
        "isub of escapes",
        |n| format!("tel:+1;isub={}", "%41".repeat(n / 3)),
        tel,
    ),
    ("every violation of a name", |n| "#".repeat(n), name),
];

fn uri(text: &str) {
    let _ = black_box(SipUri::parse(text));
    let _ = black_box(SipUri::parse_received(text));
}

fn key(text: &str) {
    let _ = black_box(aor_user(text));
}

fn pair(text: &str) {
    let uris = text
        .split_once(' ')
        .map(|(a, b)| (SipUri::parse(a), SipUri::parse(b)));
    if let Some((Ok(a), Ok(b))) = uris {
        black_box(a.is_equivalent(&b));
    }
}

fn tel(text: &str) {
    if let Ok(tel) = TelUri::parse(text) {
        black_box(tel.canonical());
    }
}

fn name(text: &str) {
    black_box(endpoint_name_violations(text).count());
}

/// As many names as are allowed, which differ in their last character only.
fn names(octets: usize, count: usize, letter: &str) -> Vec<String> {
    let length = (octets / count / letter.len()).saturating_sub(1);
    ('0'..='z')
        .filter(char::is_ascii_alphanumeric)
        // Upper and lower case are one name.
        .filter(|last| !last.is_ascii_uppercase())
        .take(count)
        .map(|last| format!("{}{last}", letter.repeat(length)))
        .collect()
}

fn parameters(octets: usize, letter: &str, turned: bool) -> String {
    let mut names = names(octets, URI_PARAMETERS_MAX, letter);
    if turned {
        names.reverse();
    }
    format!("sip:h;{}", names.join(";"))
}

fn headers(octets: usize, letter: &str, turned: bool) -> String {
    let mut names = names(octets, URI_HEADERS_MAX, letter);
    if turned {
        names.reverse();
    }
    format!("sip:h?{}=", names.join("=&"))
}

fn both(octets: usize, letter: &str, write: fn(usize, &str, bool) -> String) -> String {
    let [one, other] = [false, true].map(|turned| write(octets / 2, letter, turned));
    format!("{one} {other}")
}

/// The time over the length of texts, of the kinds that take longest.
fn linear(size: Size, report: &mut Report) -> Result<(), Failure> {
    report.subject("nanoseconds an octet, for 1, 4, 16 and 64 KiB");
    let slices = size.pick(40, 1_000);
    let mut worst = 0_f64;
    for (name, make, read) in SHAPES {
        let mut each = Vec::new();
        for length in SIZES {
            let text = make(length);
            // Short ones are read so often that a slice is longer than what it takes to ask for the time.
            let count = SIZES[3] / length;
            let mut fastest = Duration::MAX;
            for _ in 0..slices {
                let start = Instant::now();
                for _ in 0..count {
                    read(black_box(&text));
                }
                fastest = fastest.min(start.elapsed());
            }
            let octets = f64::from(u32::try_from(count * text.len())?);
            each.push(fastest.as_secs_f64() * 1e9 / octets);
        }
        let [shortest, .., longest] = each[..] else {
            return Err("there are several sizes".into());
        };
        let figures: Vec<_> = each.iter().map(|each| format!("{each:.2}")).collect();
        worst = worst.max(longest / shortest);
        report.figure(name, figures.join("  "));
    }
    report.limited(
        "an octet of the longest to one of the shortest, at worst",
        worst,
        "",
        Limit::AtMost(GROWTH_MAX),
    );
    Ok(())
}

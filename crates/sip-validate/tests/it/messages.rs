//! Holds parser and framing against the messages of `tests/data`, and against arbitrary octets.

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::Value;

use crate::lines;
use crate::properties::{frames as stream, message_on_stream, message_on_udp};

use sip_validate::message::frame::{Frame, datagram, websocket};
use sip_validate::message::write::reply_to;
use sip_validate::message::{Fault, Malformed, Message, Name, Response};

fn data(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(file)
}

/// Answers as the edge would, so that a salvaged message is written too.
fn answer(malformed: &Malformed) -> Option<u16> {
    let request = malformed.request.as_ref()?;
    let source = "192.0.2.1:5060".parse().unwrap();
    let octets =
        Response::new(request, source, "t", malformed.status(), malformed.reason()).finish();
    // What was wrong is repeated in the answer, which then cannot be read either; but its first line can.
    let status = malformed.status();
    assert!(
        octets.starts_with(format!("SIP/2.0 {status} ").as_bytes())
            && octets.ends_with(b"\r\n\r\n")
    );
    Some(status)
}

#[track_caller]
fn judge(case: &Value, name: &str, result: Option<&Result<Message, Malformed>>) {
    let demanded: Vec<u64> = case["status"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s.as_u64().unwrap())
        .collect();
    match (case["parse"].as_str().unwrap(), result) {
        ("accept", Some(Ok(_))) | ("either", None | Some(Ok(_))) | ("incomplete", None) => {}
        ("reject" | "either", Some(Err(malformed))) => {
            let status = answer(malformed).map(u64::from);
            let is_request = case["kind"].as_str() != Some("response");
            if is_request && case["parse"] == "reject" {
                assert!(status.is_some(), "{name}: no answer, {malformed:?}");
            }
            assert!(
                status.is_none_or(|s| demanded.contains(&s)),
                "{name}: answered {status:?}"
            );
        }
        (wanted, result) => panic!("{name}: {wanted} wanted, got {result:?}"),
    }
}

#[test]
fn torture_messages_get_their_verdict() {
    let cases = lines("torture/index.jsonl");
    assert_eq!(
        cases.len(),
        fs::read_dir(data("torture")).unwrap().count() - 1
    );
    for case in cases {
        let name = case["file"].as_str().unwrap();
        let octets = fs::read(data("torture").join(name)).unwrap();
        judge(&case, name, datagram(&octets).as_ref());
        message_on_udp(&octets);
        message_on_stream(&octets);
    }
}

#[test]
fn request_vectors_get_their_verdict() {
    for case in lines("messages.jsonl") {
        let (name, text) = (
            case["name"].as_str().unwrap(),
            case["data"].as_str().unwrap(),
        );
        if case["transport"] == "TCP" {
            for step in [1, 7, text.len()] {
                let result =
                    stream(text.as_bytes(), step)
                        .into_iter()
                        .find_map(|frame| match frame {
                            Frame::Ping => None,
                            Frame::Message(message) => Some(Ok(message)),
                            Frame::Malformed(malformed) => Some(Err(malformed)),
                        });
                judge(&case, name, result.as_ref());
            }
        } else {
            judge(&case, name, datagram(text.as_bytes()).as_ref());
        }
    }
}

const MESSAGE: &str = "MESSAGE sip:bob@example.com SIP/2.0\r\nv: SIP/2.0/TCP pc.example.com;branch=z9hG4bK1\r\nf: <sip:alice@example.com>;tag=4\r\nt: Bob\r\n\t<sip:bob@example.com>\r\ni: a@b\r\nCSeq: 1 MESSAGE\r\nX-Note : odd;;,,\"\r\nl: 5\r\n\r\nhello";

fn messages(frames: Vec<Frame>) -> Vec<Message> {
    let frames = frames.into_iter();
    frames
        .filter_map(|f| {
            if let Frame::Message(message) = f {
                Some(message)
            } else {
                None
            }
        })
        .collect()
}

#[test]
fn a_stream_gives_each_message_however_it_is_cut() {
    let octets = format!("\r\n{MESSAGE}\r\n\r\n{MESSAGE}\r\n{MESSAGE}");
    for step in 1..octets.len() {
        let frames = stream(octets.as_bytes(), step);
        assert_eq!(
            frames.iter().filter(|f| matches!(f, Frame::Ping)).count(),
            1,
            "{step}"
        );
        let messages = messages(frames);
        assert_eq!(messages.len(), 3, "{step}");
        let message = &messages[1];
        assert_eq!(&message.body[..], b"hello");
        assert_eq!(message.get(Name::To), Some("Bob  \t<sip:bob@example.com>"));
        assert_eq!(message.get(Name::Other), Some("odd;;,,\""));
    }
}

#[test]
fn a_stream_with_an_unclear_length_is_answered_and_given_up() {
    for (octets, status) in [
        (MESSAGE.replace("l: 5", "l: 5\r\nContent-Length: 5"), 400),
        (MESSAGE.replace("l: 5", "l: 5\r\nContent-Length: 9"), 400),
        (MESSAGE.replace("l: 5", "l: -5"), 400),
        (MESSAGE.replace("l: 5", "l: 5, 5"), 400),
        (MESSAGE.replace("l: 5", "l: 99999999999999999999999"), 400),
        (MESSAGE.replace("l: 5\r\n", ""), 400),
        (MESSAGE.replace("l: 5", "l: 65537"), 413),
        (
            MESSAGE.replace("X-Note : odd", &"X-Note : odd\r\n".repeat(100)),
            513,
        ),
        (MESSAGE.replace("odd", &"o".repeat(20_000)), 513),
    ] {
        let frames = stream(octets.as_bytes(), 1000);
        let [Frame::Malformed(malformed)] = &frames[..] else {
            panic!("{octets}: {frames:?}")
        };
        assert!(malformed.unframed, "{octets}");
        // A head that is too long may lack the needed fields in the part that was read.
        assert_eq!(malformed.status(), status, "{octets}");
    }
}

#[test]
fn the_borders_of_the_limits_hold() {
    let with_body = |length: usize| {
        MESSAGE.replace(
            "l: 5\r\n\r\nhello",
            &format!("l: {length}\r\n\r\n{}", "x".repeat(length)),
        )
    };
    assert!(datagram(with_body(4096).as_bytes()).unwrap().is_ok());
    assert_eq!(
        datagram(with_body(4097).as_bytes())
            .unwrap()
            .unwrap_err()
            .status(),
        413
    );
    assert_eq!(
        messages(stream(with_body(65_536).as_bytes(), 4096)).len(),
        1
    );
    let with_fields =
        |count: usize| MESSAGE.replace("X-Note : odd;;,,\"\r\n", &"a: b\r\n".repeat(count - 6));
    assert!(datagram(with_fields(96).as_bytes()).unwrap().is_ok());
    assert_eq!(
        datagram(with_fields(97).as_bytes())
            .unwrap()
            .unwrap_err()
            .status(),
        513
    );
}

#[test]
fn what_is_never_answered_is_marked_so() {
    for octets in [
        MESSAGE.replace("MESSAGE sip", "ACK sip"),
        MESSAGE.replace("i: a@b\r\n", ""),
        MESSAGE.replace("MESSAGE sip:bob@example.com SIP/2.0", "SIP/2.0 99 No"),
        "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "hello".to_owned(),
    ] {
        let malformed = datagram(octets.as_bytes()).unwrap().unwrap_err();
        assert!(malformed.request.is_none(), "{octets}");
    }
    assert!(
        datagram(b"\r\n\r\n").is_none() && datagram(b"").is_none() && datagram(b"\0").is_none()
    );
}

/// [`MESSAGE`] with one octet that no UTF-8 has in place of the first of `text`.
fn with_odd_octet(text: &str) -> Vec<u8> {
    let mut octets = MESSAGE.as_bytes().to_vec();
    let at = MESSAGE.find(text).unwrap();
    octets[at] = 0xff;
    octets
}

#[test]
fn octets_that_are_not_utf8_stay_as_they_are_in_free_text() {
    let octets = with_odd_octet("odd");
    for message in [
        datagram(&octets).unwrap().unwrap(),
        messages(stream(&octets, 5)).remove(0),
    ] {
        let names: Vec<_> = message.fields().map(|(name, _)| name).collect();
        assert_eq!(names, ["v", "f", "t", "i", "CSeq", "X-Note", "l"]);
        assert_eq!(message.other("x-note"), None);
        let (_, value) = message.fields().nth(5).unwrap();
        assert_eq!(value, b"\xffdd;;,,\"");
        let again = datagram(&message.to_bytes()).unwrap().unwrap();
        assert_eq!(again.fields().nth(5).unwrap().1, value);
    }
}

#[test]
fn octets_that_are_not_utf8_are_refused_where_they_are_read() {
    // Not repeated in an answer, where nobody can say what they are.
    let malformed = datagram(&with_odd_octet("alice")).unwrap().unwrap_err();
    assert_eq!((malformed.fault, malformed.at), (Fault::NotUtf8, 92));
    assert!(malformed.request.is_none() && malformed.unframed);
    let octets = MESSAGE.replace("X-Note : odd", "m: <sip:x@h>");
    let mut octets = octets.into_bytes();
    let at = octets.iter().position(|o| *o == b'x').unwrap();
    octets[at] = 0xff;
    let malformed = datagram(&octets).unwrap().unwrap_err();
    assert_eq!(
        (malformed.status(), malformed.request.is_some()),
        (400, true)
    );
}

#[test]
fn refusals_name_the_rule_and_the_place() {
    let replaced = |old: &str, new: &str| {
        assert!(MESSAGE.contains(old), "{old}");
        MESSAGE.replace(old, new)
    };
    for (octets, fault, at) in [
        (
            replaced("MESSAGE sip", "MES@SAGE sip"),
            Fault::Method,
            "MES@",
        ),
        (
            replaced(" SIP/2.0\r", "  SIP/2.0\r"),
            Fault::RequestLine,
            "sip:bob",
        ),
        (
            replaced("SIP/2.0\r", "SIP/2.1\r"),
            Fault::Version,
            "SIP/2.1\r",
        ),
        (
            replaced("sip:bob@example.com SIP", "sip:bob@-x SIP"),
            Fault::RequestUri,
            "sip:bob@-",
        ),
        (
            replaced("sip:bob@example.com SIP", "sip:b@h?a=b SIP"),
            Fault::RequestUri,
            "sip:b@h",
        ),
        (
            replaced("X-Note :", "X-Note ;"),
            Fault::HeaderColon,
            "\r\nl: 5",
        ),
        (
            replaced("X-Note :", "X Note :"),
            Fault::HeaderName,
            "X Note",
        ),
        (replaced("odd", "o\u{1}d"), Fault::ControlCharacter, "\u{1}"),
        (replaced("odd", "o\rd"), Fault::ControlCharacter, "\rd"),
        (replaced("odd", "\"\\\r\""), Fault::ControlCharacter, "\r\""),
        (replaced("TCP pc", "T@P pc"), Fault::Via, "T@P"),
        (
            replaced("pc.example.com;", "pc.example.com:0;"),
            Fault::Via,
            ":0",
        ),
        (
            replaced(";branch=", ";=branch="),
            Fault::Parameter,
            "=branch",
        ),
        (
            replaced("<sip:alice", "\"a <sip:alice"),
            Fault::QuotedString,
            "\"a",
        ),
        (
            replaced("alice@example.com>", "alice@example.com"),
            Fault::Brackets,
            "<sip:alice",
        ),
        (replaced("Bob\r\n\t", "Bob, "), Fault::DisplayName, "Bob"),
        (replaced("<sip:alice@", "<alice@"), Fault::Address, "alice@"),
        (
            replaced("<sip:alice@example.com>", "sip:a@h?x"),
            Fault::AddressBrackets,
            "?x",
        ),
        (replaced("i: a@b", "i: a@b@c"), Fault::CallId, "a@b@c"),
        (
            replaced("CSeq: 1 ", "CSeq: 4294967296 "),
            Fault::CSeq,
            "4294967296",
        ),
        (
            replaced("CSeq: 1 MESSAGE", "CSeq: 1 INFO"),
            Fault::CSeqMethod,
            "1 INFO",
        ),
        (
            replaced("X-Note : odd;;,,\"", "f: <sip:a@h>"),
            Fault::HeaderRepeated(Name::From),
            "<sip:a@h>",
        ),
        (
            replaced("t: Bob", "x: Bob"),
            Fault::HeaderMissing(Name::To),
            "\r\nhello",
        ),
        (replaced("l: 5", "l: 5a"), Fault::ContentLengthValue, "5a"),
        (
            replaced("X-Note : odd;;,,\"", "l: 5"),
            Fault::ContentLengthRepeated,
            "5\r\n\r",
        ),
        (
            replaced("l: 5", "l: 6"),
            Fault::ContentLengthBeyond,
            "hello",
        ),
    ] {
        let malformed = datagram(octets.as_bytes()).unwrap().unwrap_err();
        let found = octets.get(malformed.at..).unwrap_or_default();
        assert_eq!(malformed.fault, fault, "{octets}");
        assert!(found.starts_with(at), "{fault:?} at {found:?}");
        assert!(!fault.text().is_empty() && !fault.rfc().is_empty());
        assert!(malformed.to_string().contains(fault.rfc()));
    }
}

#[test]
fn control_characters_are_taken_and_repeated_behind_a_backslash() {
    let text = MESSAGE.replace("t: Bob", "t: \"a\\\u{0}\\\u{7f}\"");
    let request = datagram(text.as_bytes()).unwrap().unwrap();
    assert_eq!(
        request.to().unwrap().display_name,
        Some("\"a\\\u{0}\\\u{7f}\"")
    );
    let source = "192.0.2.1:4000".parse().unwrap();
    let octets = Response::new(&request, source, "t", 200, "OK").finish();
    let answer = datagram(&octets).unwrap().unwrap();
    assert_eq!(
        answer.to().unwrap().display_name,
        request.to().unwrap().display_name
    );
}

#[test]
fn a_contact_tells_its_expiry() {
    let contacts = "m: <sip:a@h>, \"b, c\" <sip:b@h;x=y>;expires=\"60\"\r\nContact: sip:c@h;expires=soon\r\nm: *";
    let text = MESSAGE.replace("X-Note : odd;;,,\"", contacts);
    let message = datagram(text.as_bytes()).unwrap().unwrap();
    let given: Vec<_> = message
        .contacts()
        .map(|contact| contact.map(|c| (c.uri, c.expires_s())))
        .collect();
    assert_eq!(
        given,
        [
            Some(("sip:a@h", None)),
            Some(("sip:b@h;x=y", Some(60))),
            Some(("sip:c@h", Some(3600))),
            None
        ]
    );
}

#[test]
fn a_websocket_message_may_have_a_long_body() {
    let text = MESSAGE.replace("l: 5\r\n\r\nhello", &format!("\r\n{}", "x".repeat(65_536)));
    assert_eq!(
        websocket(text.as_bytes()).unwrap().unwrap().body.len(),
        65_536
    );
    let malformed = websocket(format!("{text}x").as_bytes())
        .unwrap()
        .unwrap_err();
    assert_eq!(malformed.fault, Fault::BodyTooLong);
    assert!(websocket(b"\r\n\r\n").is_none());
}

#[test]
fn a_written_message_reads_back() {
    let text = MESSAGE.replace("l: 5\r\n", "");
    let message = datagram(text.as_bytes()).unwrap().unwrap();
    let written = message.to_bytes();
    let [frame] = &stream(&written, 7)[..] else {
        panic!("{written:?}")
    };
    assert!(
        matches!(frame, Frame::Message(again) if again.body == message.body && again.get(Name::To) == message.get(Name::To))
    );
    assert!(written.ends_with(b"X-Note: odd;;,,\"\r\nContent-Length: 5\r\n\r\nhello"));
}

#[test]
fn a_response_tells_where_its_request_came_from() {
    let response = |via: &str, source: &str| {
        let text = MESSAGE.replace("SIP/2.0/TCP pc.example.com;branch=z9hG4bK1", via);
        let request = datagram(text.as_bytes()).unwrap().unwrap();
        let source = source.parse().unwrap();
        let octets = Response::new(&request, source, "tag1", 200, "OK").finish();
        let response = datagram(&octets).unwrap().unwrap();
        assert_eq!(response.to().unwrap().tag(), Some("tag1"));
        let to = reply_to(&request, source);
        (response.get(Name::Via).unwrap().to_owned(), to.to_string())
    };
    for (via, source, written, to) in [
        (
            "SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bK1",
            "192.0.2.1:4000",
            "SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bK1",
            "192.0.2.1:5070",
        ),
        (
            "SIP/2.0/UDP h;branch=z9hG4bK1",
            "192.0.2.1:4000",
            "SIP/2.0/UDP h;branch=z9hG4bK1;received=192.0.2.1",
            "192.0.2.1:5060",
        ),
        (
            "SIP/2.0/UDP 10.0.0.1;rport;branch=z9hG4bK1;received=1.1.1.1, SIP/2.0/TCP x",
            "192.0.2.1:4000",
            "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1;received=192.0.2.1;rport=4000",
            "192.0.2.1:4000",
        ),
        (
            "SIP/2.0/UDP [2001:db8::1];rport",
            "[2001:db8::1]:4000",
            "SIP/2.0/UDP [2001:db8::1];received=2001:db8::1;rport=4000",
            "[2001:db8::1]:4000",
        ),
    ] {
        assert_eq!(
            response(via, source),
            (written.to_owned(), to.to_owned()),
            "{via}"
        );
    }
}

#[test]
fn written_values_cannot_start_a_field() {
    let source = "192.0.2.1:4000".parse().unwrap();
    let request = datagram(MESSAGE.as_bytes()).unwrap().unwrap();
    let octets = Response::new(&request, source, "t", 200, "OK\r\nEvil: 1")
        .field("A", "b\r\nEvil: 1\u{0}")
        .finish();
    let text = String::from_utf8(octets.to_vec()).unwrap();
    assert!(text.contains("Evil") && !text.contains("\nEvil"));
}

proptest! {
    #[test]
    fn any_octets_keep_the_properties(octets in proptest::collection::vec(any::<u8>(), 0..400)) {
        message_on_udp(&octets);
        message_on_stream(&octets);
    }

    #[test]
    fn any_change_of_a_message_keeps_the_properties(
        at in 0..MESSAGE.len(),
        octet in any::<u8>(),
        cut in 0..MESSAGE.len(),
    ) {
        let mut octets = MESSAGE.as_bytes().to_vec();
        octets[at] = octet;
        message_on_udp(&octets);
        message_on_stream(&octets[cut..]);
        octets.remove(at);
        message_on_stream(&octets);
    }
}

//! Holds parser and framing against the messages of `tests/data`, and against arbitrary octets.

use std::fs;
use std::path::PathBuf;

use bytes::BytesMut;
use proptest::prelude::*;
use serde_json::Value;

use crate::lines;

use sip_validate::message::frame::{Frame, StreamDecoder, datagram};
use sip_validate::message::write::reply_to;
use sip_validate::message::{Malformed, Message, Name, Response};

fn data(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(file)
}

/// All that a whole stream gives, fed in pieces of `step` octets.
fn stream(octets: &[u8], step: usize) -> Vec<Frame> {
    let (mut decoder, mut buffer, mut frames) =
        (StreamDecoder::default(), BytesMut::new(), Vec::new());
    for piece in octets.chunks(step) {
        buffer.extend_from_slice(piece);
        while let Some(frame) = decoder.decode(&mut buffer) {
            let is_over = matches!(&frame, Frame::Malformed(m) if m.unframed);
            frames.push(frame);
            if is_over {
                return frames;
            }
        }
    }
    frames
}

/// Answers as the edge would, so that a salvaged message is written too.
fn answer(malformed: &Malformed) -> Option<u16> {
    let request = malformed.request.as_ref()?;
    let source = "192.0.2.1:5060".parse().unwrap();
    let octets = Response::new(request, source, "t", malformed.status, malformed.reason).finish();
    let answer = datagram(&octets);
    Some(answer.map_or(malformed.status, |a| {
        a.map_or(malformed.status, |a| a.status().unwrap().0)
    }))
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
        for step in [1, octets.len()] {
            assert!(stream(&octets, step).len() <= 2, "{name}");
        }
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
        assert_eq!(malformed.status, status, "{octets}");
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
            .status,
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
            .status,
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

#[test]
fn octets_that_are_not_utf8_are_refused_and_not_repeated() {
    let mut octets = MESSAGE.replace("odd", "o\u{1}").into_bytes();
    let at = octets.iter().position(|o| *o == 1).unwrap();
    octets[at] = 0xff;
    let malformed = datagram(&octets).unwrap().unwrap_err();
    assert_eq!((malformed.status, malformed.request.is_some()), (400, true));
    let mut octets = MESSAGE.replace("alice", "\u{1}").into_bytes();
    let at = octets.iter().position(|o| *o == 1).unwrap();
    octets[at] = 0xff;
    assert!(datagram(&octets).unwrap().unwrap_err().request.is_none());
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
    fn no_octets_make_the_parser_panic(octets in proptest::collection::vec(any::<u8>(), 0..400), step in 1_usize..50) {
        let _ = datagram(&octets);
        let _ = stream(&octets, step);
    }

    #[test]
    fn no_change_of_a_message_makes_the_parser_panic(
        at in 0..MESSAGE.len(),
        octet in any::<u8>(),
        cut in 0..MESSAGE.len(),
    ) {
        let mut octets = MESSAGE.as_bytes().to_vec();
        octets[at] = octet;
        let whole = datagram(&octets).unwrap();
        if let Err(malformed) = &whole {
            let _ = answer(malformed);
        }
        let _ = datagram(&octets[cut..]);
        let _ = stream(&octets, 3);
    }
}

//! What must hold for any octets: the properties that the fuzz targets of `fuzz/` look for counterexamples to.
//!
//! The tests run them over the labelled messages and over everything that fuzzing ever found.

use bytes::BytesMut;
use sip_validate::message::frame::{Frame, StreamDecoder, datagram, websocket};
use sip_validate::message::{Fault, Malformed, Message, Response};
use sip_validate::{Host, SipUri, Violation};

fn violation_is_inside(violation: Violation, text: &str) {
    assert!(
        text.is_char_boundary(violation.byte_offset),
        "{violation:?} in {text:?}"
    );
}

/// A URI that is good strictly is good tolerantly, and what is written of it reads back.
pub(crate) fn uri(octets: &[u8]) {
    let Ok(text) = std::str::from_utf8(octets) else {
        return;
    };
    let (strict, tolerant) = (SipUri::parse(text), SipUri::parse_received(text));
    for violation in [strict.err(), tolerant.err()].into_iter().flatten() {
        violation_is_inside(violation, text);
    }
    assert!(
        strict.is_err() || tolerant.is_ok(),
        "strict alone takes {text:?}"
    );
    if let Ok(uri) = strict {
        uri_reads_back(&uri, |written| SipUri::parse(written));
    }
    if let Ok(uri) = tolerant {
        uri_reads_back(&uri, |written| SipUri::parse_received(written));
    }
}

fn uri_reads_back(uri: &SipUri<'_>, parse: impl Fn(&str) -> Result<SipUri<'_>, Violation>) {
    let written = uri.to_string();
    let again = parse(&written).unwrap_or_else(|violation| panic!("{written:?}: {violation}"));
    assert_eq!(
        (again.scheme, again.user, again.host, again.port),
        (uri.scheme, uri.user, uri.host, uri.port),
        "{written:?}"
    );
    assert!(again.parameters().eq(uri.parameters()), "{written:?}");
    assert_eq!(again.to_string(), written);
    // Nothing of a URI can end the header field or the brackets that it stands in.
    assert!(
        written
            .bytes()
            .all(|o| o.is_ascii_graphic() && !b"<>\"".contains(&o))
    );
}

/// A host that is good strictly is good tolerantly, and its canonical form is its own canonical form.
pub(crate) fn host(octets: &[u8]) {
    let Ok(text) = std::str::from_utf8(octets) else {
        return;
    };
    let (strict, tolerant) = (Host::parse(text), Host::parse_received(text));
    for violation in [strict.err(), tolerant.err()].into_iter().flatten() {
        violation_is_inside(violation, text);
    }
    assert!(strict.is_err() || tolerant == strict, "{text:?}");
    if let Ok(host) = tolerant {
        let written = host.to_string();
        assert_eq!(Host::parse(&written), Ok(host), "{text:?}");
        let canonical = host.canonical();
        let again = Host::parse(&canonical).map(|host| host.canonical());
        assert_eq!(again.as_deref(), Ok(&*canonical), "{text:?}");
    }
}

/// What is compared of a message: everything that it tells, but its Content-Length.
fn told(message: &Message) -> impl PartialEq + std::fmt::Debug {
    let fields: Vec<_> = message
        .fields()
        .filter(|(name, _)| !["content-length", "l"].contains(&&*name.to_ascii_lowercase()))
        .map(|(name, value)| (name.to_owned(), value.to_vec()))
        .collect();
    let start = (message.method(), message.uri(), message.status());
    (format!("{start:?}"), fields, message.body.clone())
}

/// Only a limit may keep a message that was made longer from being read back.
fn is_limit(malformed: &Malformed) -> bool {
    matches!(malformed.fault, Fault::HeadTooLong | Fault::HeadersTooMany)
}

fn message_holds(message: &Message) {
    message.via().unwrap();
    message.from().unwrap();
    message.to().unwrap();
    message.cseq().unwrap();
    for contact in message.contacts().flatten() {
        assert!(contact.params.iter().all(|parameter| parameter.is_ok()));
    }
    let written = message.to_bytes();
    match websocket(&written) {
        Some(Ok(again)) => assert_eq!(told(&again), told(message)),
        Some(Err(malformed)) => assert!(is_limit(&malformed), "{malformed:?}"),
        None => panic!("a message was written as a keep-alive"),
    }
    if message.method().is_some() {
        match datagram(&answer(message, 200, "OK")) {
            Some(Ok(answer)) => {
                assert_eq!(answer.status(), Some((200, "OK")));
                assert_eq!(answer.call_id(), message.call_id());
                let tag = message.to().unwrap().tag();
                assert_eq!(answer.to().unwrap().tag(), tag.or(Some("tag")));
            }
            Some(Err(malformed)) => assert!(is_limit(&malformed), "{malformed:?}"),
            None => panic!("an answer was written as a keep-alive"),
        }
    }
}

/// Writes an answer; nothing of the request can end a line of it.
fn answer(request: &Message, status: u16, reason: &str) -> bytes::Bytes {
    let source = "192.0.2.1:5060".parse().unwrap();
    let octets = Response::new(request, source, "tag", status, reason).finish();
    let text: Vec<&[u8]> = octets.split(|octet| *octet == b'\n').collect();
    let [lines @ .., before, last] = &text[..] else {
        panic!("an answer has lines")
    };
    assert!(
        *before == b"\r" && last.is_empty(),
        "an answer ends with an empty line"
    );
    assert!(
        lines
            .iter()
            .all(|line| line.len() > 1 && line.ends_with(b"\r"))
    );
    octets
}

fn malformed_holds(malformed: &Malformed, octets: usize) {
    assert!(malformed.at <= octets, "{malformed:?}");
    assert!([400, 413, 505, 513].contains(&malformed.status()));
    if let Some(request) = &malformed.request {
        assert_ne!(request.method(), Some("ACK"));
        answer(request, malformed.status(), malformed.reason());
    }
}

/// A datagram gives a message that reads back as it is written, or a fault inside it.
pub(crate) fn message_on_udp(octets: &[u8]) {
    for result in [datagram(octets), websocket(octets)].into_iter().flatten() {
        match result {
            Ok(message) => message_holds(&message),
            Err(malformed) => malformed_holds(&malformed, octets.len()),
        }
    }
}

/// All that a stream gives, fed in pieces of `step` octets.
pub(crate) fn frames(octets: &[u8], step: usize) -> Vec<Frame> {
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
        assert!(
            buffer.len() <= StreamDecoder::BUFFER_BYTES_MAX,
            "the buffer grows"
        );
    }
    frames
}

/// A stream gives the same however it is cut.
pub(crate) fn message_on_stream(octets: &[u8]) {
    let whole = frames(octets, octets.len().max(1));
    let last = octets.last().copied().unwrap_or_default();
    for step in [1, 2 + usize::from(last), 1460] {
        let cut = frames(octets, step);
        let is_same = whole.len() == cut.len()
            && whole.iter().zip(&cut).all(|pair| match pair {
                (Frame::Ping, Frame::Ping) => true,
                (Frame::Message(a), Frame::Message(b)) => told(a) == told(b),
                (Frame::Malformed(a), Frame::Malformed(b)) => {
                    (a.fault, a.unframed, a.request.is_some())
                        == (b.fault, b.unframed, b.request.is_some())
                }
                _ => false,
            });
        assert!(
            is_same,
            "in pieces of {step}: {cut:?}\nas a whole: {whole:?}"
        );
    }
    for frame in &whole {
        match frame {
            Frame::Ping => {}
            Frame::Message(message) => message_holds(message),
            Frame::Malformed(malformed) => malformed_holds(malformed, octets.len()),
        }
    }
}

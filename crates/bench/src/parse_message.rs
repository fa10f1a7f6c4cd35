//! A whole request read by `sip-validate`, by rsip and by ezk-sip-types, and the time over the size of a request.
//!
//! All three deliver the same: method, parts of the Request-URI, branch of the top Via, tags of From and To, Call-ID, CSeq,
//! every Contact with its expiry, and the body. That they found the same is checked before anything is timed.

use crate::report::{Limit, Report};
use crate::{Failure, Size};
use bytes::Bytes;
use ezk_sip_types::header::typed::{CSeq, Contact, FromTo, Via};
use ezk_sip_types::msg::{Line, MessageLine, PullParser};
use ezk_sip_types::parse::Parse as _;
use ezk_sip_types::uri::SipUriUserPart;
use ezk_sip_types::{Headers, Name as EzkName};
use rsip::message::HeadersExt as _;
use rsip::prelude::{ToTypedHeader as _, UntypedHeader as _};
use sip_validate::message::frame;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// The most of their time that ours may take.
const SHARE_MAX: f64 = 0.5;
/// How much longer an octet may take in the longest request than in the shortest.
const GROWTH_MAX: f64 = 2.0;
/// How many readings are timed together: short enough that other work on the machine leaves some slices alone.
const SLICE: u32 = 100;

/// What is delivered of a request, with texts by their length so that it costs nobody anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Delivered {
    method: usize,
    uri_user: usize,
    uri_host: usize,
    uri_port: Option<u16>,
    branch: usize,
    from_tag: usize,
    to_tag: usize,
    call_id: usize,
    cseq: u32,
    cseq_method: usize,
    contacts: usize,
    contact_users: usize,
    expires_s: u32,
    body: usize,
}

fn ours(octets: &Bytes) -> Result<Delivered, Failure> {
    let request = frame::datagram(octets).ok_or("a keep-alive")??;
    let uri = request.request_uri().ok_or("no SIP URI")?;
    let (cseq, cseq_method) = request.cseq()?;
    let mut delivered = Delivered {
        method: request.method().unwrap_or_default().len(),
        uri_user: uri.user.unwrap_or_default().len(),
        uri_host: uri.host.to_string().len(),
        uri_port: uri.port,
        branch: request.via()?.branch().unwrap_or_default().len(),
        from_tag: request.from()?.tag().unwrap_or_default().len(),
        to_tag: request.to()?.tag().unwrap_or_default().len(),
        call_id: request.call_id().len(),
        cseq,
        cseq_method: cseq_method.len(),
        body: request.body.len(),
        ..Delivered::default()
    };
    for contact in request.contacts() {
        let contact = contact.ok_or("a contact is expected")?;
        let uri = sip_validate::SipUri::parse_received(contact.uri).map_err(|v| v.to_string())?;
        delivered.contacts += 1;
        delivered.contact_users += uri.user.unwrap_or_default().len();
        delivered.expires_s += contact.expires_s().unwrap_or_default();
    }
    Ok(delivered)
}

fn rsip(octets: &Bytes) -> Result<Delivered, Failure> {
    let request = rsip::Request::try_from(&octets[..])?;
    let cseq = request.cseq_header()?.typed()?;
    let via = request.via_header()?.typed()?;
    let (from, to) = (
        request.from_header()?.typed()?,
        request.to_header()?.typed()?,
    );
    let mut delivered = Delivered {
        method: request.method.to_string().len(),
        uri_user: request.uri.user().unwrap_or_default().len(),
        uri_host: request.uri.host_with_port.host.to_string().len(),
        uri_port: request
            .uri
            .host_with_port
            .port
            .as_ref()
            .map(|port| *port.value()),
        branch: via.branch().map_or(0, |branch| branch.value().len()),
        from_tag: from.tag().map_or(0, |tag| tag.value().len()),
        to_tag: to.tag().map_or(0, |tag| tag.value().len()),
        call_id: request.call_id_header()?.value().len(),
        cseq: cseq.seq,
        cseq_method: cseq.method.to_string().len(),
        body: request.body.len(),
        ..Delivered::default()
    };
    for contact in request.contact_headers() {
        let contact = contact.typed()?;
        delivered.contacts += 1;
        delivered.contact_users += contact.uri.user().unwrap_or_default().len();
        delivered.expires_s += match contact.expires() {
            Some(expires) => expires.seconds()?,
            None => 0,
        };
    }
    Ok(delivered)
}

fn ezk(octets: &Bytes) -> Result<Delivered, Failure> {
    let user = |uri: &ezk_sip_types::uri::SipUri| match &uri.user_part {
        SipUriUserPart::Empty => 0,
        SipUriUserPart::User(user) => user.len(),
        SipUriUserPart::UserPw(both) => both.user.len(),
    };
    let mut lines = PullParser::new(octets, 0);
    let start = lines
        .next()
        .ok_or("no line")?
        .map_err(|error| format!("{error:?}"))?;
    let (_, start) =
        MessageLine::parse(octets)(std::str::from_utf8(start)?).map_err(|e| e.to_string())?;
    let MessageLine::Request(start) = start else {
        return Err("a request is expected".into());
    };
    let mut headers = Headers::new();
    for line in &mut lines {
        let line = std::str::from_utf8(line.map_err(|error| format!("{error:?}"))?)?;
        let (_, line) = Line::parse(octets, line).map_err(|error| error.to_string())?;
        headers.insert(line.name, line.value);
    }
    let body = octets.len() - lines.head_end();
    let via: Via = headers.get_named()?;
    let cseq: CSeq = headers.get_named()?;
    let (from, to): (FromTo, FromTo) = (headers.get(EzkName::FROM)?, headers.get(EzkName::TO)?);
    let call_id: ezk_sip_types::header::typed::CallID = headers.get_named()?;
    let mut delivered = Delivered {
        method: start.method.to_string().len(),
        uri_user: user(&start.uri),
        uri_host: start.uri.host_port.host.to_string().len(),
        uri_port: start.uri.host_port.port,
        branch: via
            .params
            .get_val("branch")
            .map_or(0, |branch| branch.len()),
        from_tag: from.tag.map_or(0, |tag| tag.len()),
        to_tag: to.tag.map_or(0, |tag| tag.len()),
        call_id: call_id.0.len(),
        cseq: cseq.cseq,
        cseq_method: cseq.method.to_string().len(),
        body,
        ..Delivered::default()
    };
    if let Some(contacts) = headers.try_get_named::<Vec<Contact>>() {
        for contact in contacts? {
            delivered.contacts += 1;
            delivered.contact_users += user(&contact.uri.uri);
            delivered.expires_s += match contact.params.get_val("expires") {
                Some(expires) => expires.parse()?,
                None => 0,
            };
        }
    }
    Ok(delivered)
}

/// A MESSAGE as a phone sends it.
const MESSAGE: &str = "MESSAGE sip:bob@example.com:5070 SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.15:5060;branch=z9hG4bK776sgdkse;rport\r\n\
    Max-Forwards: 70\r\n\
    From: \"Alice\" <sip:alice@example.com>;tag=49583\r\n\
    To: <sip:bob@example.com>\r\n\
    Call-ID: asd88asd77a-1.2.3.4\r\n\
    CSeq: 1 MESSAGE\r\n\
    Allow: REGISTER, MESSAGE, OPTIONS\r\n\
    User-Agent: Some Phone/5.1.65 (belle-sip/5.2.0)\r\n\
    Date: Sat, 21 Nov 2026 12:00:00 GMT\r\n\
    Content-Type: text/plain\r\n\
    Content-Length: 18\r\n\r\n\
    Watson, come here.";

/// A REGISTER with credentials and two contacts.
const REGISTER: &str = "REGISTER sip:example.com SIP/2.0\r\n\
    Via: SIP/2.0/TCP 192.0.2.15:40312;branch=z9hG4bK.pAmSHmEhg;rport\r\n\
    From: <sip:alice@example.com>;tag=GTGZaOdOd\r\n\
    To: <sip:alice@example.com>\r\n\
    Call-ID: RRkAdNAeFh\r\n\
    CSeq: 21 REGISTER\r\n\
    Max-Forwards: 70\r\n\
    Supported: replaces, outbound, gruu, path\r\n\
    Contact: <sip:alice@192.0.2.15:40312;transport=tcp>;expires=3600\r\n\
    Contact: <sip:alice@192.0.2.16:5060>;expires=60\r\n\
    Expires: 3600\r\n\
    User-Agent: Some Phone/5.1.65 (belle-sip/5.2.0)\r\n\
    Authorization: Digest realm=\"example.com\", nonce=\"84a4cc6f3082121f32b42a2187831a9e\", algorithm=MD5, \
    username=\"alice\", uri=\"sip:example.com\", response=\"7587245234b3434cc3412213e5f113a5\", \
    cnonce=\"0a4f113b\", nc=00000001, qop=auth\r\n\
    Content-Length: 0\r\n\r\n";

type Reader = fn(&Bytes) -> Result<Delivered, Failure>;

/// The time of so many readings.
fn took(read: Reader, octets: &Bytes, count: u32) -> Result<Duration, Failure> {
    let start = Instant::now();
    for _ in 0..count {
        black_box(read(black_box(octets))?);
    }
    Ok(start.elapsed())
}

pub(crate) fn run(size: Size, report: &mut Report) -> Result<(), Failure> {
    let slices = size.pick(200, 4_000);
    for (name, text) in [("MESSAGE", MESSAGE), ("REGISTER", REGISTER)] {
        report.subject(&format!(
            "{name} of {} octets: the fastest of {slices} slices of {SLICE} readings",
            text.len()
        ));
        let octets = Bytes::from_static(text.as_bytes());
        let expected = ours(&octets)?;
        let sides: [(&str, Reader); 3] = [
            ("sip-validate", ours),
            ("rsip 0.4", rsip),
            ("ezk-sip-types 0.6", ezk),
        ];
        for (side, read) in sides {
            let delivered = read(&octets)?;
            if delivered != expected {
                return Err(format!("{side} delivers {delivered:?}, we {expected:?}").into());
            }
        }
        let mut fastest = [Duration::MAX; 3];
        for _ in 0..slices {
            for ((_, read), fastest) in sides.iter().zip(&mut fastest) {
                *fastest = (*fastest).min(took(*read, &octets, SLICE)?);
            }
        }
        let nanos = fastest.map(|time| time.as_secs_f64() * 1e9 / f64::from(SLICE));
        for ((side, _), nanos) in sides.iter().zip(nanos) {
            report.figure(side, format!("{nanos:.0} ns"));
        }
        for ((side, _), theirs) in sides.iter().zip(nanos).skip(1) {
            let name = format!("share of the time of {side}");
            report.limited(&name, nanos[0] / theirs, "", Limit::AtMost(SHARE_MAX));
        }
    }
    linear(size, report)
}

/// A request of a size, made to be slow to read.
struct Shape {
    name: &'static str,
    /// The sizes over which the time is to be linear, in octets.
    sizes: &'static [usize],
    /// How many octets come at once.
    piece: usize,
    /// Fills a head up to a size.
    fill: fn(&mut String, usize),
}

/// What fits into a body, and what fits into a head.
const BODY_SIZES: &[usize] = &[1 << 10, 4 << 10, 16 << 10, 64 << 10];
const HEAD_SIZES: &[usize] = &[1 << 10, 4 << 10, 15 << 10];

const SHAPES: [Shape; 6] = [
    Shape {
        name: "a body",
        sizes: BODY_SIZES,
        piece: SEGMENT,
        fill: |_, _| {},
    },
    Shape {
        name: "a body, octet by octet",
        sizes: BODY_SIZES,
        piece: 1,
        fill: |_, _| {},
    },
    Shape {
        name: "a head, octet by octet",
        sizes: HEAD_SIZES,
        piece: 1,
        fill: |head, octets| repeat(head, octets, "X-Note: ", "some words ", "\r\n"),
    },
    Shape {
        name: "a list of contacts",
        sizes: HEAD_SIZES,
        piece: SEGMENT,
        fill: |head, octets| {
            repeat(
                head,
                octets,
                "Contact: <sip:a@h>",
                ", \"b, c\" <sip:b@h>;q=1",
                "\r\n",
            )
        },
    },
    Shape {
        name: "parameters of a Via",
        sizes: HEAD_SIZES,
        piece: SEGMENT,
        fill: |head, octets| repeat(head, octets, "Via: SIP/2.0/UDP h", ";p=\"a\\\"b\"", "\r\n"),
    },
    Shape {
        name: "folded lines",
        sizes: HEAD_SIZES,
        piece: SEGMENT,
        fill: |head, octets| repeat(head, octets, "X-Note: a", "\r\n b", "\r\n"),
    },
];

/// What one segment of a network brings.
const SEGMENT: usize = 1460;

fn repeat(head: &mut String, octets: usize, start: &str, piece: &str, end: &str) {
    // Leaves room for the last lines.
    let octets = octets.saturating_sub(80);
    head.push_str(start);
    while head.len() + piece.len() < octets {
        head.push_str(piece);
    }
    head.push_str(end);
}

/// A request of exactly so many octets.
fn shaped(shape: &Shape, octets: usize) -> Bytes {
    let mut text = MESSAGE
        .split("Content-Length")
        .next()
        .unwrap_or_default()
        .to_owned();
    (shape.fill)(&mut text, octets);
    // Five digits always, so that the length does not depend on itself.
    let rest = octets - text.len() - "Content-Length: 00000\r\n\r\n".len();
    text.push_str(&format!("Content-Length: {rest:05}\r\n\r\n"));
    text.push_str(&"b".repeat(rest));
    text.into()
}

fn by_pieces(octets: &Bytes, piece: usize) -> Result<Delivered, Failure> {
    let mut decoder = frame::StreamDecoder::default();
    let mut buffer = bytes::BytesMut::new();
    for piece in octets.chunks(piece) {
        buffer.extend_from_slice(piece);
        match decoder.decode(&mut buffer) {
            None => {}
            Some(frame::Frame::Message(request)) => {
                return Ok(Delivered {
                    branch: request.via()?.branch().unwrap_or_default().len(),
                    contacts: request.contacts().count(),
                    body: request.body.len(),
                    ..Delivered::default()
                });
            }
            Some(other) => return Err(format!("{other:?}").into()),
        }
    }
    Err("the request does not end".into())
}

/// The time over the size, also of requests that an attacker would choose.
fn linear(size: Size, report: &mut Report) -> Result<(), Failure> {
    let slices = size.pick(50, 1_000);
    for shape in &SHAPES {
        report.subject(&format!("{}: the fastest of {slices} readings", shape.name));
        let mut per_octet = Vec::new();
        for octets in shape.sizes {
            let text = shaped(shape, *octets);
            let mut fastest = Duration::MAX;
            for _ in 0..slices {
                let start = Instant::now();
                black_box(by_pieces(black_box(&text), shape.piece)?);
                fastest = fastest.min(start.elapsed());
            }
            let each = fastest.as_secs_f64() * 1e9 / f64::from(u32::try_from(*octets)?);
            report.figure(
                &format!("{octets} octets"),
                format!("{each:.3} ns an octet"),
            );
            per_octet.push(each);
        }
        if let [shortest, .., longest] = per_octet[..] {
            let name = "an octet of the longest to one of the shortest";
            report.limited(name, longest / shortest, "", Limit::AtMost(GROWTH_MAX));
        }
    }
    Ok(())
}

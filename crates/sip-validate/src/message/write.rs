//! Writes requests and responses.
//!
//! Every value is made safe on its way out: no line end or other control character of a value can start
//! a new field.

use std::fmt::{Display, Write as _};
use std::net::SocketAddr;

use crate::Host;
use bytes::Bytes;

use super::{Message, Name, Via, list};

/// The head of a message while it is written.
struct Head(Vec<u8>);

impl Head {
    /// Adds a field whose value is made safe.
    fn field(&mut self, name: &str, value: impl Display) {
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b": ");
        // Writing into memory cannot fail.
        let _ = write!(Clean(&mut self.0), "{value}");
        self.0.extend_from_slice(b"\r\n");
    }

    /// Adds a field of a message that was read: it holds no line end, and must stay as it is.
    fn copied(&mut self, name: &str, value: &[u8]) {
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b": ");
        self.0.extend_from_slice(value);
        self.0.extend_from_slice(b"\r\n");
    }

    fn finish(mut self, body: &[u8]) -> Bytes {
        self.field("Content-Length", body.len());
        self.0.extend_from_slice(b"\r\n");
        self.0.extend_from_slice(body);
        self.0.into()
    }
}

/// Replaces control characters by spaces.
struct Clean<'a>(&'a mut Vec<u8>);

impl std::fmt::Write for Clean<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(char::is_control) {
            self.0.extend_from_slice(&rest.as_bytes()[..at]);
            self.0.push(b' ');
            let mut after = rest[at..].chars();
            after.next();
            rest = after.as_str();
        }
        self.0.extend_from_slice(rest.as_bytes());
        Ok(())
    }
}

/// Writes a message that was read, with exactly one Content-Length.
pub(super) fn copy(start: [&[u8]; 3], message: &Message) -> Bytes {
    let mut head = Head(start.join(&b' '));
    head.0.extend_from_slice(b"\r\n");
    for (name, value) in message.fields() {
        if Name::read(name) != Name::ContentLength {
            head.copied(name, value);
        }
    }
    head.finish(&message.body)
}

/// A text as a quoted string: in quotes, with `"` and `\` escaped.
pub struct Quoted<'a>(pub &'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_char('"')?;
        let mut rest = self.0;
        while let Some(at) = rest.find(['"', '\\']) {
            let (before, escaped) = rest.split_at(at);
            f.write_str(before)?;
            f.write_char('\\')?;
            f.write_str(&escaped[..1])?;
            rest = &escaped[1..];
        }
        f.write_str(rest)?;
        f.write_char('"')
    }
}

/// A response to a request (RFC 3261 section 8.2.6).
pub struct Response(Head);

impl Response {
    /// Starts a response to `request`, which came from `source`. `to_tag` is added to To when it has no
    /// tag; a repetition of the request must get the same one.
    #[must_use]
    pub fn new(
        request: &Message,
        source: SocketAddr,
        to_tag: &str,
        status: u16,
        reason: &str,
    ) -> Self {
        let mut head = Head(Vec::with_capacity(512));
        let _ = write!(Clean(&mut head.0), "SIP/2.0 {status} {reason}");
        head.0.extend_from_slice(b"\r\n");
        for (at, via) in request.all(Name::Via).enumerate() {
            match (at, request.via()) {
                (0, Ok(top)) => {
                    head.field("Via", with_source(&top, source));
                    for lower in list(via).skip(1).flatten() {
                        head.field("Via", lower);
                    }
                }
                _ => head.copied("Via", via.as_bytes()),
            }
        }
        // Quoted control characters in From and To are copied as they came: a dialog is known by them.
        let mut copied = |name: Name| {
            let value = request.get(name).unwrap_or_default();
            head.copied(name.text(), value.as_bytes());
        };
        copied(Name::From);
        copied(Name::CallId);
        copied(Name::CSeq);
        let to = request.get(Name::To).unwrap_or_default();
        if request.to().is_ok_and(|to| to.params.get("tag").is_some()) {
            head.copied("To", to.as_bytes());
        } else {
            let tag = format!(";tag={to_tag}");
            head.copied("To", &[to.as_bytes(), tag.as_bytes()].concat());
        }
        Self(head)
    }

    /// Adds a field.
    #[must_use]
    pub fn field(mut self, name: &str, value: impl Display) -> Self {
        self.0.field(name, value);
        self
    }

    /// The octets of the response, without a body.
    #[must_use]
    pub fn finish(self) -> Bytes {
        self.0.finish(&[])
    }
}

/// The top Via with `received` and `rport` as RFC 3261 section 18.2.1 and RFC 3581 section 4 demand.
fn with_source(via: &Via<'_>, source: SocketAddr) -> String {
    let mut text = ["SIP/2.0/", via.transport, " ", via.host].concat();
    if let Some(port) = via.port {
        let _ = write!(text, ":{port}");
    }
    let mut wants_port = false;
    for (name, value) in via.params.iter().flatten() {
        if name.eq_ignore_ascii_case("rport") {
            wants_port = true;
            continue;
        }
        if name.eq_ignore_ascii_case("received") {
            continue;
        }
        text.push(';');
        text.push_str(name);
        if let Some(value) = value {
            text.push('=');
            text.push_str(value);
        }
    }
    let is_same =
        Host::parse_received(via.host).is_ok_and(|host| host.address() == Some(source.ip()));
    if wants_port || !is_same {
        let _ = write!(text, ";received={}", source.ip());
    }
    if wants_port {
        let _ = write!(text, ";rport={}", source.port());
    }
    text
}

/// Where a response to a request over UDP goes: to its source address, and there to its source port when
/// it has `rport`, else to the port of sent-by (RFC 3261 section 18.2.2, RFC 3581 section 4). Never to the
/// host of sent-by or `maddr`: that would send to whom the peer names.
#[must_use]
pub fn reply_to(request: &Message, source: SocketAddr) -> SocketAddr {
    match request.via() {
        Ok(via) if via.params.get("rport").is_none() => {
            SocketAddr::new(source.ip(), via.port.unwrap_or(5060))
        }
        _ => source,
    }
}

/// A request of ours.
pub struct Request(Head);

impl Request {
    /// Starts a request.
    #[must_use]
    pub fn new(method: &str, uri: &str) -> Self {
        let mut head = Head(Vec::with_capacity(1024));
        let _ = write!(Clean(&mut head.0), "{method} {uri} SIP/2.0");
        head.0.extend_from_slice(b"\r\n");
        Self(head)
    }

    /// Adds a field.
    #[must_use]
    pub fn field(mut self, name: &str, value: impl Display) -> Self {
        self.0.field(name, value);
        self
    }

    /// The octets of the request.
    #[must_use]
    pub fn finish(self, body: &[u8]) -> Bytes {
        self.0.finish(body)
    }
}

//! A SIP message: its start line, its header fields and its body, checked once when it is read.
//!
//! The head is kept as one text; fields are ranges of it. What a message must have by itself, whatever
//! its method means, is checked here (RFC 3261 sections 7, 8.1.1 and 20); a fault keeps the message, so
//! that it can be answered.

use std::ops::Range;

use crate::{SipUri, chars};
use bytes::Bytes;

use super::header::{self, Invalid, NameAddr, Via};
use super::{HEADERS_MAX, list};

/// A header field that the edge reads; compact forms are the same names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// `Authorization`.
    Authorization,
    /// `Call-ID`.
    CallId,
    /// `Contact`.
    Contact,
    /// `Content-Encoding`.
    ContentEncoding,
    /// `Content-Length`.
    ContentLength,
    /// `Content-Type`.
    ContentType,
    /// `CSeq`.
    CSeq,
    /// `Date`.
    Date,
    /// `Expires`.
    Expires,
    /// `From`.
    From,
    /// `Proxy-Authorization`.
    ProxyAuthorization,
    /// `Require`.
    Require,
    /// `Retry-After`.
    RetryAfter,
    /// `To`.
    To,
    /// `User-Agent`.
    UserAgent,
    /// `Via`.
    Via,
    /// Any other field.
    Other,
}

impl Name {
    fn read(text: &str) -> Self {
        const NAMES: [(&str, Name); 24] = [
            ("Via", Name::Via),
            ("v", Name::Via),
            ("From", Name::From),
            ("f", Name::From),
            ("To", Name::To),
            ("t", Name::To),
            ("Call-ID", Name::CallId),
            ("i", Name::CallId),
            ("CSeq", Name::CSeq),
            ("Contact", Name::Contact),
            ("m", Name::Contact),
            ("Content-Length", Name::ContentLength),
            ("l", Name::ContentLength),
            ("Content-Type", Name::ContentType),
            ("c", Name::ContentType),
            ("Authorization", Name::Authorization),
            ("Proxy-Authorization", Name::ProxyAuthorization),
            ("Expires", Name::Expires),
            ("User-Agent", Name::UserAgent),
            ("Require", Name::Require),
            ("Content-Encoding", Name::ContentEncoding),
            ("e", Name::ContentEncoding),
            ("Date", Name::Date),
            ("Retry-After", Name::RetryAfter),
        ];
        let known = NAMES
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(text));
        known.map_or(Name::Other, |(_, name)| *name)
    }
}

#[derive(Debug, Clone)]
struct Field {
    name: Name,
    value_at: Range<usize>,
}

#[derive(Debug, Clone)]
enum Start {
    Request {
        method: Range<usize>,
        uri: Range<usize>,
    },
    Response {
        status: u16,
        reason: Range<usize>,
    },
}

/// A request or a response.
#[derive(Debug, Clone)]
pub struct Message {
    head: String,
    start: Start,
    fields: Vec<Field>,
    /// The body, of exactly Content-Length octets.
    pub body: Bytes,
}

/// A message that breaks a rule of SIP itself.
#[derive(Debug)]
pub struct Malformed {
    /// The status that says so: 400, 413, 505 or 513.
    pub status: u16,
    /// What is wrong; the reason phrase of the answer.
    pub reason: &'static str,
    /// The request to be answered; `None` for what is never answered (responses, ACK), and where Via,
    /// From, To, Call-ID or CSeq cannot be read.
    pub request: Option<Box<Message>>,
    /// Whether the end of the message is not known, so that a stream is of no more use.
    pub unframed: bool,
}

/// A head that has been read, and what its body must be.
pub(super) struct Head {
    message: Message,
    fault: Option<Fault>,
    /// What Content-Length says; `None` when it is absent.
    pub(super) content_length: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
struct Fault {
    status: u16,
    reason: &'static str,
    unframed: bool,
}

impl Fault {
    fn bad(reason: &'static str) -> Self {
        Self {
            status: 400,
            reason,
            unframed: false,
        }
    }

    fn unframed(reason: &'static str) -> Self {
        Self {
            status: 400,
            reason,
            unframed: true,
        }
    }
}

impl Head {
    /// Reads a start line and a header section, up to and without the empty line.
    pub(super) fn read(mut octets: Vec<u8>) -> Self {
        unfold(&mut octets);
        let mut fault = None;
        let head = String::from_utf8(octets).unwrap_or_else(|error| {
            fault = Some(Fault::bad("Not UTF-8"));
            String::from_utf8_lossy(error.as_bytes()).into_owned()
        });
        let mut lines = Lines { text: &head, at: 0 };
        let (start, start_fault) = start_line(&head, lines.next().unwrap_or(0..0));
        let mut fault = fault.or(start_fault);
        let mut content_length = None;
        let mut fields = Vec::with_capacity(16);
        for line in lines {
            if fields.len() == HEADERS_MAX {
                fault = Some(Fault {
                    status: 513,
                    reason: "Too Many Headers",
                    unframed: true,
                });
                break;
            }
            let field = match field(&head, line) {
                Ok(field) => field,
                Err(reason) => {
                    fault.get_or_insert(Fault::bad(reason));
                    continue;
                }
            };
            if field.name == Name::ContentLength {
                match (content_length, length(&head[field.value_at.clone()])) {
                    (None, Some(length)) => content_length = Some(length),
                    (Some(_), _) => fault = Some(Fault::unframed("Several Content-Length")),
                    (_, None) => fault = Some(Fault::unframed("Bad Content-Length")),
                }
            }
            fields.push(field);
        }
        let message = Message {
            fields,
            start,
            body: Bytes::new(),
            head,
        };
        let fault = fault.or_else(|| message.check().err());
        Self {
            message,
            fault,
            content_length,
        }
    }

    /// Gives the head back unless the end of the message cannot be known.
    pub(super) fn framed(self) -> Result<Self, Box<Malformed>> {
        match self.fault {
            Some(fault) if fault.unframed => {
                Err(Box::new(self.refuse(fault.status, fault.reason, true)))
            }
            _ => Ok(self),
        }
    }

    /// Adds the body and gives the message, or its fault.
    pub(super) fn finish(mut self, body: Bytes) -> Result<Message, Malformed> {
        match self.fault {
            None => {
                self.message.body = body;
                Ok(self.message)
            }
            Some(Fault {
                status,
                reason,
                unframed,
            }) => Err(self.refuse(status, reason, unframed)),
        }
    }

    /// Gives the message as refused, for a fault of its framing.
    pub(super) fn refuse(self, status: u16, reason: &'static str, unframed: bool) -> Malformed {
        let message = self.message;
        let readable = [Name::Via, Name::From, Name::To, Name::CallId, Name::CSeq]
            .iter()
            .all(|name| {
                message
                    .get(*name)
                    .is_some_and(|value| !value.is_empty() && !value.contains('\u{fffd}'))
            });
        let method = message.method();
        let is_answered = method.is_some_and(|m| m != "ACK" && chars::is_token(m.as_bytes()));
        // A stream whose peer sends what cannot be read is of no more use either.
        let unframed =
            unframed || method.is_some_and(|m| !readable || !chars::is_token(m.as_bytes()));
        let request = (readable && is_answered).then(|| Box::new(message));
        Malformed {
            status,
            reason,
            request,
            unframed,
        }
    }
}

/// Replaces the line ends of folded fields by spaces; the length stays (RFC 3261 section 7.3.1).
fn unfold(octets: &mut [u8]) {
    for at in 1..octets.len().saturating_sub(1) {
        if octets[at] == b'\n' && octets[at - 1] == b'\r' && matches!(octets[at + 1], b' ' | b'\t')
        {
            octets[at - 1] = b' ';
            octets[at] = b' ';
        }
    }
}

/// The lines of a head as ranges, without their line feeds.
struct Lines<'a> {
    text: &'a str,
    at: usize,
}

impl Iterator for Lines<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty())?;
        let start = self.at;
        let end = rest.find('\n').map_or(self.text.len(), |end| start + end);
        self.at = end + 1;
        Some(start..end)
    }
}

fn start_line(head: &str, line: Range<usize>) -> (Start, Option<Fault>) {
    let text = &head[line.clone()];
    let Some(text) = text.strip_suffix('\r') else {
        return (
            request_start(text, line.start),
            Some(Fault::bad("Line Without CR")),
        );
    };
    if text
        .get(..4)
        .is_some_and(|s| s.eq_ignore_ascii_case("SIP/"))
    {
        return status_line(text, line.start);
    }
    let start = request_start(text, line.start);
    let mut parts = text.split(' ');
    let (method, uri, version) = (parts.next(), parts.next(), parts.next());
    let is_method = method.is_some_and(|m| chars::is_token(m.as_bytes()));
    let fault = match version {
        _ if !is_method => Some(Fault::bad("Bad Method")),
        Some(v) if uri != Some("") && parts.next().is_none() => match v {
            v if v.eq_ignore_ascii_case("SIP/2.0") => None,
            v if v.get(..4).is_some_and(|s| s.eq_ignore_ascii_case("SIP/")) => Some(Fault {
                status: 505,
                reason: "Version Not Supported",
                unframed: false,
            }),
            _ => Some(Fault::bad("Bad Request Line")),
        },
        _ => Some(Fault::bad("Bad Request Line")),
    };
    (start, fault)
}

fn request_start(text: &str, at: usize) -> Start {
    let method = text.find(' ').unwrap_or(text.len());
    let uri_at = (method + 1).min(text.len());
    let uri = text[uri_at..]
        .find(' ')
        .map_or(text.len(), |end| uri_at + end);
    Start::Request {
        method: at..at + method,
        uri: at + uri_at..at + uri,
    }
}

fn status_line(text: &str, at: usize) -> (Start, Option<Fault>) {
    let mut parts = text.splitn(3, ' ');
    let version = parts.next().unwrap_or_default();
    let code = parts.next().unwrap_or_default();
    let status = (code.len() == 3 && code.bytes().all(|o| o.is_ascii_digit()))
        .then(|| code.parse().ok())
        .flatten();
    let reason_at = at + (version.len() + 1 + code.len() + 1).min(text.len());
    let status = status
        .filter(|status| (100..700).contains(status) && version.eq_ignore_ascii_case("SIP/2.0"));
    let fault = status.is_none().then_some(Fault::bad("Bad Status Line"));
    (
        Start::Response {
            status: status.unwrap_or_default(),
            reason: reason_at..at + text.len(),
        },
        fault,
    )
}

fn field(head: &str, line: Range<usize>) -> Result<Field, &'static str> {
    let text = head[line.clone()]
        .strip_suffix('\r')
        .ok_or("Line Without CR")?;
    let colon = text.find(':').ok_or("Header Without Colon")?;
    let name = text[..colon].trim_end_matches([' ', '\t']);
    if !chars::is_token(name.as_bytes()) {
        return Err("Bad Header Name");
    }
    let value = text[colon + 1..].trim_matches([' ', '\t']);
    if value.bytes().any(|o| (o < b' ' && o != b'\t') || o == 0x7f) {
        return Err("Control Character In Header");
    }
    let rest = &text[colon + 1..];
    let value_at =
        line.start + colon + 1 + (rest.len() - rest.trim_start_matches([' ', '\t']).len());
    Ok(Field {
        name: Name::read(name),
        value_at: value_at..value_at + value.len(),
    })
}

fn length(text: &str) -> Option<usize> {
    let is_number = !text.is_empty() && text.bytes().all(|o| o.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

impl Message {
    fn check(&self) -> Result<(), Fault> {
        let bad = |Invalid(reason)| Fault::bad(reason);
        for name in [Name::From, Name::To, Name::CallId, Name::CSeq] {
            let mut values = self.all(name);
            match (values.next(), values.next()) {
                (Some(value), None) if !value.is_empty() => {}
                (Some(_), Some(_)) => return Err(Fault::bad("Header Repeated")),
                _ => return Err(Fault::bad("Header Missing")),
            }
        }
        if self.get(Name::Via).is_none() {
            return Err(Fault::bad("Header Missing"));
        }
        for via in self.all(Name::Via).flat_map(list) {
            via.and_then(Via::parse).map_err(bad)?;
        }
        self.from().map_err(bad)?;
        self.to().map_err(bad)?;
        if !chars::is_callid(self.call_id().as_bytes()) {
            return Err(Fault::bad("Bad Call-ID"));
        }
        for contact in self.contacts() {
            contact.map_err(bad)?;
        }
        let (_, method) = self.cseq().map_err(bad)?;
        if let (Some(own), Some(uri)) = (self.method(), self.uri()) {
            request_uri(uri)?;
            if method != own {
                return Err(Fault::bad("CSeq Has Another Method"));
            }
        }
        Ok(())
    }

    fn text(&self, at: &Range<usize>) -> &str {
        &self.head[at.clone()]
    }

    /// The method of a request.
    pub fn method(&self) -> Option<&str> {
        match &self.start {
            Start::Request { method, .. } => Some(self.text(method)),
            Start::Response { .. } => None,
        }
    }

    /// The Request-URI of a request.
    pub fn uri(&self) -> Option<&str> {
        match &self.start {
            Start::Request { uri, .. } => Some(self.text(uri)),
            Start::Response { .. } => None,
        }
    }

    /// The status code and the reason phrase of a response.
    pub fn status(&self) -> Option<(u16, &str)> {
        match &self.start {
            Start::Request { .. } => None,
            Start::Response { status, reason } => Some((*status, self.text(reason))),
        }
    }

    /// The values of the fields with this name, in order.
    pub fn all(&self, name: Name) -> impl Iterator<Item = &str> {
        let fields = self.fields.iter().filter(move |field| field.name == name);
        fields.map(|field| self.text(&field.value_at))
    }

    /// The value of the first field with this name.
    pub fn get(&self, name: Name) -> Option<&str> {
        self.all(name).next()
    }

    /// The topmost Via.
    pub fn via(&self) -> Result<Via<'_>, Invalid> {
        let first = self.get(Name::Via).and_then(|value| list(value).next());
        first
            .unwrap_or(Err(Invalid("Via is missing")))
            .and_then(Via::parse)
    }

    /// From.
    pub fn from(&self) -> Result<NameAddr<'_>, Invalid> {
        NameAddr::parse(self.get(Name::From).unwrap_or_default())
    }

    /// To.
    pub fn to(&self) -> Result<NameAddr<'_>, Invalid> {
        NameAddr::parse(self.get(Name::To).unwrap_or_default())
    }

    /// Call-ID.
    pub fn call_id(&self) -> &str {
        self.get(Name::CallId).unwrap_or_default()
    }

    /// The number and the method of CSeq.
    pub fn cseq(&self) -> Result<(u32, &str), Invalid> {
        header::cseq(self.get(Name::CSeq).unwrap_or_default())
    }

    /// The contacts: `None` for `*`.
    pub fn contacts(&self) -> impl Iterator<Item = Result<Option<NameAddr<'_>>, Invalid>> {
        self.all(Name::Contact)
            .flat_map(list)
            .map(|contact| match contact? {
                "*" => Ok(None),
                contact => NameAddr::parse(contact).map(Some),
            })
    }

    /// The option tags of Require.
    pub fn require(&self) -> impl Iterator<Item = &str> {
        let tags = self.all(Name::Require).flat_map(|value| value.split(','));
        tags.map(str::trim).filter(|tag| !tag.is_empty())
    }
}

/// Checks a Request-URI: an absolute URI without white space; a SIP URI by its grammar and without
/// headers (RFC 3261 section 19.1.1 table 1). Other schemes are left to the caller.
fn request_uri(uri: &str) -> Result<(), Fault> {
    const BAD: Fault = Fault {
        status: 400,
        reason: "Bad Request-URI",
        unframed: false,
    };
    if !uri
        .bytes()
        .all(|o| o.is_ascii_graphic() && !b"<>\"".contains(&o))
    {
        return Err(BAD);
    }
    let (scheme, _) = uri.split_once(':').ok_or(BAD)?;
    if scheme.eq_ignore_ascii_case("sip") || scheme.eq_ignore_ascii_case("sips") {
        let uri = SipUri::parse_received(uri).map_err(|_| BAD)?;
        if uri.has_headers() {
            return Err(BAD);
        }
    }
    Ok(())
}

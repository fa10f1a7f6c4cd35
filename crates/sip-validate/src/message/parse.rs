//! A SIP message: its start line, its header fields and its body, checked once when it is read.
//!
//! The head is kept as it came, fields are ranges of it. What a message must have by itself, whatever its
//! method means, is checked here (RFC 3261 sections 7, 8.1.1 and 20); a fault keeps the message, so that it
//! can be answered.

use std::ops::Range;

use bytes::Bytes;
use memchr::memchr;

use super::header::{self, NameAddr, Params, Via, is_absolute_uri, offset_in, trim};
use super::{Fault, HEADERS_MAX, Invalid, Malformed, Name, list, write};
use crate::{SipUri, chars};

/// A part of the head. Two octets suffice for an offset: a head is bounded by [`super::HEAD_BYTES_MAX`].
#[derive(Debug, Clone, Copy, Default)]
struct Span {
    start: u16,
    end: u16,
}

impl Span {
    fn new(start: usize, end: usize) -> Self {
        let short = |at: usize| u16::try_from(at).unwrap_or(u16::MAX);
        Self {
            start: short(start),
            end: short(end),
        }
    }

    /// The place of `part` in the head of which it is a piece; nothing of an empty one counts.
    fn of(part: &str, head: &[u8]) -> Self {
        if part.is_empty() {
            return Self::default();
        }
        let start = offset_in(part, head);
        Self::new(start, start + part.len())
    }

    fn range(self) -> Range<usize> {
        usize::from(self.start)..usize::from(self.end)
    }
}

#[derive(Debug, Clone, Copy)]
struct Field {
    name: Name,
    name_at: Span,
    value_at: Span,
}

#[derive(Debug, Clone, Copy)]
enum Start {
    Request { method: Span, uri: Span },
    Response { status: u16, reason: Span },
}

/// Where the parts of a Via are, so that nothing is read twice.
#[derive(Debug, Clone, Copy)]
struct ViaAt {
    transport: Span,
    host: Span,
    port: Option<u16>,
    params: Span,
}

/// Where the parts of an address are.
#[derive(Debug, Clone, Copy)]
struct NameAddrAt {
    display_name: Option<Span>,
    uri: Span,
    params: Span,
}

impl NameAddrAt {
    fn of(address: &NameAddr<'_>, head: &[u8]) -> Self {
        Self {
            display_name: address.display_name.map(|name| Span::of(name, head)),
            uri: Span::of(address.uri, head),
            params: Span::of(address.params.text(), head),
        }
    }
}

/// What was found when the message was checked; empty where a fault came first.
#[derive(Debug, Clone, Default)]
struct Found {
    via: Option<ViaAt>,
    from: Option<NameAddrAt>,
    to: Option<NameAddrAt>,
    /// `None` is `*`.
    contacts: Vec<Option<NameAddrAt>>,
}

/// A request or a response.
///
/// It owns its octets without copying them where the source allows it; a clone shares them.
#[derive(Debug, Clone)]
pub struct Message {
    /// The start line and the header section without the empty line, unfolded.
    head: Bytes,
    start: Start,
    fields: Vec<Field>,
    found: Found,
    /// The body, of exactly Content-Length octets.
    pub body: Bytes,
}

/// A head that has been read, and what its body must be.
#[derive(Debug)]
pub(super) struct Head {
    message: Message,
    invalid: Option<Invalid>,
    /// What Content-Length says; `None` when it is absent.
    pub(super) content_length: Option<usize>,
}

impl Head {
    /// Reads a start line and a header section, up to and without the empty line.
    pub(super) fn read(mut head: Bytes, is_folded: bool) -> Self {
        if is_folded {
            let mut octets = Vec::from(head);
            unfold(&mut octets);
            head = octets.into();
        }
        let mut lines = Lines {
            octets: &head,
            at: 0,
        };
        let (start, mut invalid) = start_line(&head, lines.next().unwrap_or(0..0));
        let mut content_length = None;
        let mut fields = Vec::with_capacity(16);
        for line in lines {
            if fields.len() == HEADERS_MAX {
                invalid = Some(Invalid::new(Fault::HeadersTooMany, line.start));
                break;
            }
            let field = match field(&head, line) {
                Ok(field) => field,
                Err(wrong) => {
                    invalid.get_or_insert(wrong);
                    continue;
                }
            };
            if field.name == Name::ContentLength {
                // Two that agree are refused too: whoever is between us may have read another one.
                let fault = match (content_length, length(&head[field.value_at.range()])) {
                    (None, Some(length)) => {
                        content_length = Some(length);
                        None
                    }
                    (Some(_), _) => Some(Fault::ContentLengthRepeated),
                    (None, None) => Some(Fault::ContentLengthValue),
                };
                if let Some(fault) = fault
                    && !invalid.is_some_and(|invalid| invalid.fault.is_unframed())
                {
                    invalid = Some(Invalid::new(fault, field.value_at.range().start));
                }
            }
            fields.push(field);
        }
        let mut message = Message {
            fields,
            start,
            found: Found::default(),
            body: Bytes::new(),
            head,
        };
        if invalid.is_none() {
            let mut found = Found::default();
            invalid = message.check(&mut found).err();
            message.found = found;
        }
        Self {
            message,
            invalid,
            content_length,
        }
    }

    /// The fault that leaves the end of the message unknown.
    pub(super) fn unframed(&self) -> Option<Invalid> {
        self.invalid.filter(|invalid| invalid.fault.is_unframed())
    }

    /// Adds the body and gives the message, or its fault.
    pub(super) fn finish(mut self, body: Bytes) -> Result<Message, Malformed> {
        match self.invalid {
            None => {
                self.message.body = body;
                Ok(self.message)
            }
            Some(invalid) => Err(self.refuse(invalid, invalid.fault.is_unframed())),
        }
    }

    /// Gives the message as refused.
    pub(super) fn refuse(self, invalid: Invalid, unframed: bool) -> Malformed {
        let message = self.message;
        let readable = [Name::Via, Name::From, Name::To, Name::CallId, Name::CSeq]
            .iter()
            .all(|name| message.get(*name).is_some_and(|value| !value.is_empty()));
        let method = message.method();
        let has_method = method.is_some_and(|m| chars::is_token(m.as_bytes()));
        let is_answered = has_method && method != Some("ACK");
        // A stream whose peer sends what cannot be read is of no more use either.
        let unframed = unframed || method.is_some() && !(readable && has_method);
        let request = (readable && is_answered).then(|| Box::new(message));
        Malformed {
            fault: invalid.fault,
            at: invalid.at,
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
    octets: &'a [u8],
    at: usize,
}

impl Iterator for Lines<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let rest = self.octets.get(self.at..).filter(|rest| !rest.is_empty())?;
        let start = self.at;
        let end = memchr(b'\n', rest).map_or(self.octets.len(), |end| start + end);
        self.at = end + 1;
        Some(start..end)
    }
}

fn start_line(head: &[u8], line: Range<usize>) -> (Start, Option<Invalid>) {
    let at = line.start;
    let Some(text) = head[line.clone()].strip_suffix(b"\r") else {
        let wrong = Invalid::new(Fault::LineEnd, line.end);
        return (request_start(&head[line], at), Some(wrong));
    };
    if is_version_start(text) {
        return status_line(text, at);
    }
    let start = request_start(text, at);
    let mut parts = text.split(|octet| *octet == b' ');
    let (method, uri, version) = (parts.next(), parts.next(), parts.next());
    let fault = match version {
        _ if !method.is_some_and(chars::is_token) => Some(Fault::Method),
        Some(version) if uri != Some(b"") && parts.next().is_none() => match version {
            v if v.eq_ignore_ascii_case(b"SIP/2.0") => None,
            v if is_version_start(v) => Some(Fault::Version),
            _ => Some(Fault::RequestLine),
        },
        _ => Some(Fault::RequestLine),
    };
    let Start::Request { uri, .. } = start else {
        return (start, None);
    };
    let fault_at = match fault {
        Some(Fault::Method) => at,
        Some(Fault::Version) => uri.range().end + 1,
        _ => uri.range().start,
    };
    let invalid = fault.map(|fault| Invalid::new(fault, fault_at));
    (start, invalid)
}

fn is_version_start(text: &[u8]) -> bool {
    text.get(..4)
        .is_some_and(|start| start.eq_ignore_ascii_case(b"SIP/"))
}

fn request_start(text: &[u8], at: usize) -> Start {
    let method = memchr(b' ', text).unwrap_or(text.len());
    let uri_at = (method + 1).min(text.len());
    let uri = memchr(b' ', &text[uri_at..]).map_or(text.len(), |end| uri_at + end);
    Start::Request {
        method: Span::new(at, at + method),
        uri: Span::new(at + uri_at, at + uri),
    }
}

fn status_line(text: &[u8], at: usize) -> (Start, Option<Invalid>) {
    let mut parts = text.splitn(3, |octet| *octet == b' ');
    let version = parts.next().unwrap_or_default();
    let code = parts.next().unwrap_or_default();
    let reason = parts.next().unwrap_or_default();
    let status = match code {
        [a @ b'1'..=b'6', b @ b'0'..=b'9', c @ b'0'..=b'9'] => {
            let digit = |octet: u8| u16::from(octet - b'0');
            Some(digit(*a) * 100 + digit(*b) * 10 + digit(*c))
        }
        _ => None,
    };
    let is_good =
        version.eq_ignore_ascii_case(b"SIP/2.0") && status.is_some() && !has_control(reason);
    let reason_at = at + text.len() - reason.len();
    let start = Start::Response {
        status: status.unwrap_or_default(),
        reason: Span::new(reason_at, at + text.len()),
    };
    (
        start,
        (!is_good).then_some(Invalid::new(Fault::StatusLine, at)),
    )
}

fn field(head: &[u8], line: Range<usize>) -> Result<Field, Invalid> {
    let wrong = |fault, at: usize| Err(Invalid::new(fault, line.start + at));
    let Some(octets) = head[line.clone()].strip_suffix(b"\r") else {
        return wrong(Fault::LineEnd, line.len());
    };
    let Some(colon) = memchr(b':', octets) else {
        return wrong(Fault::HeaderColon, octets.len());
    };
    let is_space = |octet: &u8| matches!(octet, b' ' | b'\t');
    let name_end = octets[..colon]
        .iter()
        .rposition(|octet| !is_space(octet))
        .map_or(0, |at| at + 1);
    let name = std::str::from_utf8(&octets[..name_end])
        .ok()
        .filter(|name| chars::is_token(name.as_bytes()));
    let Some(name) = name else {
        return wrong(Fault::HeaderName, 0);
    };
    let rest = &octets[colon + 1..];
    let before = rest.iter().take_while(|octet| is_space(octet)).count();
    let value = &rest[before..];
    let after = value.iter().rev().take_while(|o| is_space(o)).count();
    let value = &value[..value.len() - after];
    let value_at = colon + 1 + before;
    if has_control(value)
        && let Some(at) = bare_control(value)
    {
        return wrong(Fault::ControlCharacter, value_at + at);
    }
    let name = Name::read(name);
    if !name.is_free_text()
        && let Err(error) = std::str::from_utf8(value)
    {
        return wrong(Fault::NotUtf8, value_at + error.valid_up_to());
    }
    let start = line.start;
    Ok(Field {
        name,
        name_at: Span::new(start, start + name_end),
        value_at: Span::new(start + value_at, start + value_at + value.len()),
    })
}

fn is_control(octet: u8) -> bool {
    (octet < b' ' && octet != b'\t') || octet == 0x7f
}

/// Whether there is a control character other than a tab. Looks at every octet, which is faster than to stop.
fn has_control(octets: &[u8]) -> bool {
    octets
        .iter()
        .fold(false, |found, octet| found | is_control(*octet))
}

/// The offset of the first control character that is no quoted-pair of a quoted string. CR and LF are
/// never one (RFC 3261 section 25.1, RFC 4475 section 3.1.1.2).
fn bare_control(octets: &[u8]) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    octets.iter().position(|octet| {
        let is_pair = std::mem::take(&mut escaped);
        match octet {
            b'\r' | b'\n' => return true,
            _ if is_pair => {}
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            octet => return is_control(*octet),
        }
        false
    })
}

fn length(octets: &[u8]) -> Option<usize> {
    let is_number = !octets.is_empty() && octets.iter().all(u8::is_ascii_digit);
    is_number
        .then(|| std::str::from_utf8(octets).ok()?.parse().ok())
        .flatten()
}

impl Message {
    /// Returns how many octets it has, without the end of the head and what its folded lines were folded with.
    #[must_use]
    pub fn size(&self) -> usize {
        self.head.len() + self.body.len()
    }

    /// Checks what every message must keep, and notes where its parts are.
    fn check(&self, found: &mut Found) -> Result<(), Invalid> {
        const ONCE: [Name; 4] = [Name::From, Name::To, Name::CallId, Name::CSeq];
        let mut seen = [false; ONCE.len()];
        let mut has_via = false;
        for field in &self.fields {
            let at = usize::from(field.value_at.start);
            let moved = |invalid: Invalid| invalid.moved(at);
            let value = self.text(field.value_at);
            match field.name {
                Name::From => {
                    let from = NameAddr::parse_party(value).map_err(moved)?;
                    found.from = Some(NameAddrAt::of(&from, &self.head));
                }
                Name::To => {
                    let to = NameAddr::parse_party(value).map_err(moved)?;
                    found.to = Some(NameAddrAt::of(&to, &self.head));
                }
                Name::CallId if crate::call_id(value).is_err() => {
                    return Err(Invalid::new(Fault::CallId, at));
                }
                Name::CSeq => {
                    let (_, method) = header::cseq(value).map_err(moved)?;
                    if self.method().is_some_and(|own| own != method) {
                        return Err(Invalid::new(Fault::CSeqMethod, at));
                    }
                }
                Name::Via => {
                    has_via = true;
                    for via in list(value) {
                        let via = via.and_then(Via::parse).map_err(moved)?;
                        found.via.get_or_insert_with(|| ViaAt {
                            transport: Span::of(via.transport, &self.head),
                            host: Span::of(via.host, &self.head),
                            port: via.port,
                            params: Span::of(via.params.text(), &self.head),
                        });
                    }
                }
                Name::Contact => {
                    for contact in list(value) {
                        let contact = contact.and_then(contact_of).map_err(moved)?;
                        let contact = contact.map(|c| NameAddrAt::of(&c, &self.head));
                        found.contacts.push(contact);
                    }
                }
                _ => {}
            }
            if let Some(slot) = ONCE.iter().position(|name| *name == field.name)
                && std::mem::replace(&mut seen[slot], true)
            {
                return Err(Invalid::new(Fault::HeaderRepeated(field.name), at));
            }
        }
        let missing = |name| Err(Invalid::new(Fault::HeaderMissing(name), self.head.len()));
        if !has_via {
            return missing(Name::Via);
        }
        if let Some(slot) = seen.iter().position(|seen| !seen) {
            return missing(ONCE[slot]);
        }
        match self.start {
            Start::Request { uri, .. } if !is_request_uri(self.text(uri)) => {
                Err(Invalid::new(Fault::RequestUri, uri.range().start))
            }
            _ => Ok(()),
        }
    }

    /// A part as text; empty when it is not UTF-8, which only free text can be.
    fn text(&self, at: Span) -> &str {
        std::str::from_utf8(self.octets(at)).unwrap_or_default()
    }

    fn octets(&self, at: Span) -> &[u8] {
        &self.head[at.range()]
    }

    fn name_addr(&self, at: NameAddrAt) -> NameAddr<'_> {
        NameAddr {
            display_name: at.display_name.map(|name| self.text(name)),
            uri: self.text(at.uri),
            params: Params::checked(self.text(at.params)),
        }
    }

    /// The method of a request.
    #[must_use]
    pub fn method(&self) -> Option<&str> {
        match self.start {
            Start::Request { method, .. } => Some(self.text(method)),
            Start::Response { .. } => None,
        }
    }

    /// The Request-URI of a request, as written.
    #[must_use]
    pub fn uri(&self) -> Option<&str> {
        match self.start {
            Start::Request { uri, .. } => Some(self.text(uri)),
            Start::Response { .. } => None,
        }
    }

    /// The parts of the Request-URI; `None` for a response and for a URI that is neither SIP nor SIPS.
    #[must_use]
    pub fn request_uri(&self) -> Option<SipUri<'_>> {
        self.uri().and_then(|uri| SipUri::parse_received(uri).ok())
    }

    /// The status code and the reason phrase of a response; the phrase is empty when it is not UTF-8.
    #[must_use]
    pub fn status(&self) -> Option<(u16, &str)> {
        match self.start {
            Start::Request { .. } => None,
            Start::Response { status, reason } => Some((status, self.text(reason))),
        }
    }

    /// The values of the fields with this name, in order. Leaves out what is not UTF-8, which only free
    /// text can be; see [`Message::fields`].
    pub fn all(&self, name: Name) -> impl Iterator<Item = &str> {
        let fields = self.fields.iter().filter(move |field| field.name == name);
        fields.filter_map(|field| std::str::from_utf8(self.octets(field.value_at)).ok())
    }

    /// The value of the first field with this name.
    #[must_use]
    pub fn get(&self, name: Name) -> Option<&str> {
        self.all(name).next()
    }

    /// All fields in order: the name as written, and the octets of the value without white space round it.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields
            .iter()
            .map(|field| (self.text(field.name_at), self.octets(field.value_at)))
    }

    /// The value of the first field with another name than [`Name`] knows, compared without regard to case.
    #[must_use]
    pub fn other(&self, name: &str) -> Option<&str> {
        let mut others = self.fields.iter().filter(|f| f.name == Name::Other);
        let found = others.find(|field| self.text(field.name_at).eq_ignore_ascii_case(name))?;
        std::str::from_utf8(self.octets(found.value_at)).ok()
    }

    /// The topmost Via.
    ///
    /// # Errors
    /// What is wrong with it; none for a message without fault.
    pub fn via(&self) -> Result<Via<'_>, Invalid> {
        if let Some(at) = self.found.via {
            return Ok(Via {
                transport: self.text(at.transport),
                host: self.text(at.host),
                port: at.port,
                params: Params::checked(self.text(at.params)),
            });
        }
        let first = self.get(Name::Via).and_then(|value| list(value).next());
        first
            .unwrap_or(Err(Invalid::new(Fault::HeaderMissing(Name::Via), 0)))
            .and_then(Via::parse)
    }

    /// From.
    ///
    /// # Errors
    /// What is wrong with it; none for a message without fault.
    pub fn from(&self) -> Result<NameAddr<'_>, Invalid> {
        match self.found.from {
            Some(at) => Ok(self.name_addr(at)),
            None => NameAddr::parse(self.get(Name::From).unwrap_or_default()),
        }
    }

    /// To.
    ///
    /// # Errors
    /// What is wrong with it; none for a message without fault.
    pub fn to(&self) -> Result<NameAddr<'_>, Invalid> {
        match self.found.to {
            Some(at) => Ok(self.name_addr(at)),
            None => NameAddr::parse(self.get(Name::To).unwrap_or_default()),
        }
    }

    /// Call-ID.
    #[must_use]
    pub fn call_id(&self) -> &str {
        self.get(Name::CallId).unwrap_or_default()
    }

    /// The number and the method of CSeq.
    ///
    /// # Errors
    /// What is wrong with it; none for a message without fault.
    pub fn cseq(&self) -> Result<(u32, &str), Invalid> {
        header::cseq(self.get(Name::CSeq).unwrap_or_default())
    }

    /// The contacts in order: `None` for `*`. Those before the fault in a message that has one.
    pub fn contacts(&self) -> impl Iterator<Item = Option<NameAddr<'_>>> {
        let contacts = self.found.contacts.iter();
        contacts.map(|contact| contact.map(|at| self.name_addr(at)))
    }

    /// The option tags of Require.
    pub fn require(&self) -> impl Iterator<Item = &str> {
        self.tags(Name::Require)
    }

    /// Whether Supported lists an option tag, which is a token.
    #[must_use]
    pub fn supports(&self, tag: &str) -> bool {
        self.tags(Name::Supported)
            .any(|supported| supported.eq_ignore_ascii_case(tag))
    }

    fn tags(&self, name: Name) -> impl Iterator<Item = &str> {
        let tags = self.all(name).flat_map(|value| value.split(','));
        tags.map(trim).filter(|tag| !tag.is_empty())
    }

    /// Writes the message anew: unfolded, one Content-Length, everything else as it came.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        match self.start {
            Start::Request { method, uri } => {
                write::copy([self.octets(method), self.octets(uri), b"SIP/2.0"], self)
            }
            Start::Response { status, reason } => {
                let digits = status.to_string();
                write::copy([b"SIP/2.0", digits.as_bytes(), self.octets(reason)], self)
            }
        }
    }
}

/// One contact: `None` for `*`.
fn contact_of(text: &str) -> Result<Option<NameAddr<'_>>, Invalid> {
    match text {
        "*" => Ok(None),
        text => NameAddr::parse(text).map(Some),
    }
}

/// Checks a Request-URI: an absolute URI without white space; a SIP URI by its grammar and without
/// headers (RFC 3261 section 19.1.1 table 1). Other schemes are left to the caller.
fn is_request_uri(uri: &str) -> bool {
    let scheme = uri.split(':').next().unwrap_or_default();
    if scheme.eq_ignore_ascii_case("sip") || scheme.eq_ignore_ascii_case("sips") {
        return SipUri::parse_received(uri).is_ok_and(|uri| !uri.has_headers());
    }
    is_absolute_uri(uri)
}

//! What is wrong with a message, and whether its sender may be told.

use std::fmt;

use super::{Message, Name};

/// A rule that a message can break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// Start line and header section have at most [`super::HEAD_BYTES_MAX`] octets.
    HeadTooLong,
    /// A header section ends with an empty line.
    HeadUnended,
    /// A message has at most [`super::HEADERS_MAX`] header fields.
    HeadersTooMany,
    /// A body has at most [`super::BODY_BYTES_MAX_UDP`] or [`super::BODY_BYTES_MAX_STREAM`] octets.
    BodyTooLong,
    /// A message on a stream has a Content-Length.
    ContentLengthMissing,
    /// Content-Length is a number of digits.
    ContentLengthValue,
    /// There is only one Content-Length.
    ContentLengthRepeated,
    /// A datagram holds all octets that its Content-Length tells.
    ContentLengthBeyond,
    /// A line ends with CR LF.
    LineEnd,
    /// A method is a token.
    Method,
    /// A request line is a method, a URI and a version with one space between them.
    RequestLine,
    /// The version is SIP/2.0.
    Version,
    /// A status line is SIP/2.0, a status from 100 to 699 and a reason phrase.
    StatusLine,
    /// A header field has a colon.
    HeaderColon,
    /// The name of a header field is a token.
    HeaderName,
    /// Control characters stand in quoted strings behind a backslash only.
    ControlCharacter,
    /// What is not free text is UTF-8.
    NotUtf8,
    /// Every message has Via, From, To, Call-ID and CSeq.
    HeaderMissing(Name),
    /// From, To, Call-ID and CSeq occur once.
    HeaderRepeated(Name),
    /// A quoted string ends.
    QuotedString,
    /// A `<` is followed by a `>`.
    Brackets,
    /// Parameters are `;name` or `;name=value`.
    Parameter,
    /// From and To have one tag at most, and it has a value.
    Tag,
    /// Via is `SIP/2.0/transport host:port;parameters`.
    Via,
    /// A display name is a quoted string or words.
    DisplayName,
    /// An address is a URI without white space.
    Address,
    /// An address with `?` or `,` stands in brackets.
    AddressBrackets,
    /// A Call-ID is a word, or two words with an @ between them.
    CallId,
    /// CSeq is a number below 2^32 and a method.
    CSeq,
    /// CSeq has the method of the request.
    CSeqMethod,
    /// The Request-URI is an absolute URI; a SIP URI keeps the grammar and has no headers.
    RequestUri,
    /// Digest credentials are `name=value`, each once, separated by commas.
    Credentials,
}

impl Fault {
    /// The status that tells a sender about it: 400, 413, 505 or 513.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::HeadTooLong | Self::HeadersTooMany => 513,
            Self::BodyTooLong => 413,
            Self::Version => 505,
            _ => 400,
        }
    }

    /// The fault in a few words, fit for a reason phrase.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::HeadTooLong => "Message Too Large",
            Self::HeadUnended => "Headers Do Not End",
            Self::HeadersTooMany => "Too Many Headers",
            Self::BodyTooLong => "Request Entity Too Large",
            Self::ContentLengthMissing => "Content-Length Missing",
            Self::ContentLengthValue => "Bad Content-Length",
            Self::ContentLengthRepeated => "Several Content-Length",
            Self::ContentLengthBeyond => "Content-Length Beyond Datagram",
            Self::LineEnd => "Line Without CR",
            Self::Method => "Bad Method",
            Self::RequestLine => "Bad Request Line",
            Self::Version => "Version Not Supported",
            Self::StatusLine => "Bad Status Line",
            Self::HeaderColon => "Header Without Colon",
            Self::HeaderName => "Bad Header Name",
            Self::ControlCharacter => "Control Character In Header",
            Self::NotUtf8 => "Not UTF-8",
            Self::HeaderMissing(Name::Via) => "Via Missing",
            Self::HeaderMissing(Name::From) => "From Missing",
            Self::HeaderMissing(Name::To) => "To Missing",
            Self::HeaderMissing(Name::CallId) => "Call-ID Missing",
            Self::HeaderMissing(Name::CSeq) => "CSeq Missing",
            Self::HeaderMissing(_) => "Header Missing",
            Self::HeaderRepeated(Name::From) => "Several From",
            Self::HeaderRepeated(Name::To) => "Several To",
            Self::HeaderRepeated(Name::CallId) => "Several Call-ID",
            Self::HeaderRepeated(Name::CSeq) => "Several CSeq",
            Self::HeaderRepeated(_) => "Header Repeated",
            Self::QuotedString => "Quoted String Does Not End",
            Self::Brackets => "Bracket Does Not End",
            Self::Parameter => "Bad Header Parameter",
            Self::Tag => "Bad Tag",
            Self::Via => "Bad Via",
            Self::DisplayName => "Bad Display Name",
            Self::Address => "Bad Address",
            Self::AddressBrackets => "Address Needs Brackets",
            Self::CallId => "Bad Call-ID",
            Self::CSeq => "Bad CSeq",
            Self::CSeqMethod => "CSeq Has Another Method",
            Self::RequestUri => "Bad Request-URI",
            Self::Credentials => "Bad Credentials",
        }
    }

    /// Where the rule is written, such as `RFC 3261 section 7.3.1`; `policy` where it is our own choice.
    #[must_use]
    pub fn rfc(self) -> &'static str {
        match self {
            Self::HeadTooLong | Self::HeadersTooMany | Self::BodyTooLong => "policy",
            Self::HeadUnended | Self::LineEnd => "RFC 3261 section 7",
            Self::ContentLengthMissing | Self::ContentLengthBeyond => "RFC 3261 section 18.3",
            Self::ContentLengthValue | Self::ContentLengthRepeated => "RFC 3261 section 20.14",
            Self::Method | Self::RequestLine | Self::Version => "RFC 3261 section 7.1",
            Self::StatusLine => "RFC 3261 section 7.2",
            Self::HeaderColon | Self::HeaderName | Self::NotUtf8 => "RFC 3261 section 7.3.1",
            Self::ControlCharacter | Self::QuotedString => "RFC 3261 section 25.1",
            Self::HeaderMissing(_) => "RFC 3261 section 8.1.1",
            Self::HeaderRepeated(_) => "RFC 3261 section 7.3.1",
            Self::Brackets | Self::AddressBrackets => "RFC 3261 section 20",
            Self::Parameter | Self::DisplayName | Self::Address => "RFC 3261 section 25.1",
            Self::Tag => "RFC 3261 section 19.3",
            Self::Via => "RFC 3261 section 20.42",
            Self::CallId => "RFC 3261 section 20.8",
            Self::CSeq => "RFC 3261 section 20.16",
            Self::CSeqMethod => "RFC 3261 section 8.1.1.5",
            Self::RequestUri => "RFC 3261 section 19.1.1",
            Self::Credentials => "RFC 3261 section 22.4",
        }
    }

    /// Whether the end of a message with this fault is unknown, so that a stream is of no more use.
    pub(super) fn is_unframed(self) -> bool {
        matches!(
            self,
            Self::HeadersTooMany | Self::ContentLengthValue | Self::ContentLengthRepeated
        )
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.text(), self.rfc())
    }
}

/// A value that breaks a rule, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invalid {
    /// The broken rule.
    pub fault: Fault,
    /// The offset of the first offending octet in the text that was read.
    pub at: usize,
}

impl Invalid {
    pub(super) fn new(fault: Fault, at: usize) -> Self {
        Self { fault, at }
    }

    /// The same seen from a text in which this one starts at `by`.
    pub(super) fn moved(self, by: usize) -> Self {
        Self {
            at: self.at + by,
            ..self
        }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at octet {}", self.fault, self.at)
    }
}

impl std::error::Error for Invalid {}

/// A message that breaks a rule of SIP itself.
#[derive(Debug)]
pub struct Malformed {
    /// The broken rule; it tells the status and the reason phrase of an answer.
    pub fault: Fault,
    /// The offset of the first offending octet from the start line on.
    pub at: usize,
    /// The request to be answered, without its body; `None` for what is never answered (responses, ACK),
    /// and where Via, From, To, Call-ID or CSeq cannot be read.
    pub request: Option<Box<Message>>,
    /// Whether the end of the message is not known, or its sender cannot be told, so that a stream is of
    /// no more use.
    pub unframed: bool,
}

impl Malformed {
    /// The status of the answer; the same as [`Fault::status`].
    #[must_use]
    pub fn status(&self) -> u16 {
        self.fault.status()
    }

    /// The reason phrase of the answer; the same as [`Fault::text`].
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.fault.text()
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Invalid::new(self.fault, self.at).fmt(f)
    }
}

impl std::error::Error for Malformed {}

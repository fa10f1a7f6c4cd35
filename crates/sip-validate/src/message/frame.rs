//! Where a message begins and ends in a datagram, a WebSocket message and a stream (RFC 3261 sections 7.5
//! and 18.3, RFC 7118 section 5).
//!
//! It must not know sockets: it turns octets into messages, faults and keep-alives.

use std::ops::ControlFlow;

use bytes::{Bytes, BytesMut};
use memchr::memchr;

use super::parse::Head;
use super::{
    BODY_BYTES_MAX_STREAM, BODY_BYTES_MAX_UDP, Fault, HEAD_BYTES_MAX, Invalid, Malformed, Message,
};

/// Reads the one message of a datagram; `None` for a keep-alive of line ends or of one zero octet.
///
/// The body ends at Content-Length, octets after it are dropped; without Content-Length it ends with
/// the datagram. It has at most [`BODY_BYTES_MAX_UDP`] octets.
#[must_use]
pub fn datagram(octets: &[u8]) -> Option<Result<Message, Malformed>> {
    whole(octets, BODY_BYTES_MAX_UDP)
}

/// Reads the one message of a WebSocket message (RFC 7118 section 5); `None` for a keep-alive.
///
/// As [`datagram`], but the body has at most [`BODY_BYTES_MAX_STREAM`] octets.
#[must_use]
pub fn websocket(octets: &[u8]) -> Option<Result<Message, Malformed>> {
    whole(octets, BODY_BYTES_MAX_STREAM)
}

fn whole(octets: &[u8], body_bytes_max: usize) -> Option<Result<Message, Malformed>> {
    let is_text = |octet: &u8| !matches!(octet, b'\r' | b'\n');
    let octets = &octets[octets.iter().position(is_text).unwrap_or(octets.len())..];
    // Some NAT keep-alives are a single zero octet.
    if octets.is_empty() || octets == [0] {
        return None;
    }
    let mut search = EndSearch::default();
    let (head_end, body_at) = match search.find(octets) {
        Some((end, body)) if end <= HEAD_BYTES_MAX => (end, body),
        _ => return Some(Err(no_end(octets))),
    };
    // One copy of what is kept, head and body together.
    let copy = |end: usize| Bytes::copy_from_slice(&octets[..end]);
    let body_bytes = octets.len() - body_at;
    let kept = match octets.len() {
        length if body_bytes <= body_bytes_max => copy(length),
        _ => copy((body_at + body_bytes_max).min(octets.len())),
    };
    let head = Head::read(kept.slice(..head_end), search.is_folded);
    let length = head.content_length.unwrap_or(body_bytes);
    Some(if length > body_bytes {
        Err(head.refuse(Invalid::new(Fault::ContentLengthBeyond, body_at), false))
    } else if length > body_bytes_max {
        Err(head.refuse(Invalid::new(Fault::BodyTooLong, body_at), false))
    } else {
        head.finish(kept.slice(body_at..body_at + length))
    })
}

/// A search for the end of a head that can go on where it stopped, so that octets are looked at once.
#[derive(Debug, Default)]
struct EndSearch {
    /// Everything before was looked at.
    at: usize,
    /// Whether a line of the head continues the one before it.
    is_folded: bool,
}

impl EndSearch {
    /// The end of the head (with its last line end) and the start of the body. A head that ends in bare
    /// line feeds is found too, so that its sender gets an answer and does not hold a stream open.
    fn find(&mut self, octets: &[u8]) -> Option<(usize, usize)> {
        while let Some(found) = memchr(b'\n', &octets[self.at..]) {
            let next = self.at + found + 1;
            match octets[next..] {
                [b'\r', b'\n', ..] => return Some((next, next + 2)),
                [b'\n', ..] => return Some((next, next + 1)),
                // What follows decides: look at this line feed again.
                [] | [b'\r'] => {
                    self.at = next - 1;
                    return None;
                }
                [b' ' | b'\t', ..] => self.is_folded = true,
                _ => {}
            }
            self.at = next;
        }
        self.at = octets.len();
        None
    }
}

/// The fault of a head that is too long or does not end, with as much of it as may be read.
fn no_end(octets: &[u8]) -> Malformed {
    let part = &octets[..octets.len().min(HEAD_BYTES_MAX)];
    let lines = part
        .iter()
        .rposition(|octet| *octet == b'\n')
        .map_or(0, |at| at + 1);
    let head = Head::read(Bytes::copy_from_slice(&part[..lines]), true);
    let fault = if octets.len() > HEAD_BYTES_MAX {
        Fault::HeadTooLong
    } else {
        Fault::HeadUnended
    };
    head.refuse(Invalid::new(fault, part.len()), true)
}

/// What a stream gives next.
#[derive(Debug)]
pub enum Frame {
    /// A keep-alive ping of RFC 5626 section 4.4.1; it is answered with one line end.
    Ping,
    /// A message.
    Message(Message),
    /// A message that breaks a rule.
    Malformed(Malformed),
}

/// Cuts a stream into messages. After an unframed [`Malformed`] it must not be used any more.
///
/// It remembers how far it has looked, so that the time is linear in the octets however small the pieces
/// are in which they come.
#[derive(Debug, Default)]
pub struct StreamDecoder {
    search: EndSearch,
    /// A head that waits for its body of so many octets.
    waiting: Option<(Head, usize)>,
}

impl StreamDecoder {
    /// The most octets that may be needed before the next frame is whole: the size for a buffer.
    pub const BUFFER_BYTES_MAX: usize = HEAD_BYTES_MAX + BODY_BYTES_MAX_STREAM + 4;

    /// Takes the next frame from the front of `buffer`; `None` when more octets are needed. Between two
    /// calls octets may only be added at the end of `buffer`.
    ///
    /// Messages share the memory of `buffer` and copy nothing but folded heads.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Option<Frame> {
        if self.waiting.is_none()
            && let ControlFlow::Break(frame) = self.head(buffer)
        {
            return frame;
        }
        let (head, length) = self
            .waiting
            .take_if(|(_, length)| buffer.len() >= *length)?;
        Some(match head.finish(buffer.split_to(length).freeze()) {
            Ok(message) => Frame::Message(message),
            Err(malformed) => Frame::Malformed(malformed),
        })
    }

    /// Reads the next head into `waiting`, or breaks with a frame, or with `None` for want of octets.
    fn head(&mut self, buffer: &mut BytesMut) -> ControlFlow<Option<Frame>> {
        // Line ends before a message are pings (two), pongs (one), or separators to be skipped
        // (RFC 3261 section 7.5). A line end alone may be the first half of a ping: wait.
        while self.search.at == 0 && buffer.starts_with(b"\r\n") {
            if buffer.starts_with(b"\r\n\r\n") {
                drop(buffer.split_to(4));
                return ControlFlow::Break(Some(Frame::Ping));
            }
            if buffer.len() < 4 && b"\r\n\r\n".starts_with(buffer) {
                return ControlFlow::Break(None);
            }
            drop(buffer.split_to(2));
        }
        // Half a line end is no start of a head.
        if self.search.at == 0 && buffer[..] == *b"\r" {
            return ControlFlow::Break(None);
        }
        let found = self.search.find(buffer);
        let too_long = found.map_or(buffer.len(), |(end, _)| end) > HEAD_BYTES_MAX;
        let Some((end, body_at)) = found.filter(|_| !too_long) else {
            return ControlFlow::Break(too_long.then(|| Frame::Malformed(no_end(buffer))));
        };
        let search = std::mem::take(&mut self.search);
        let octets = buffer.split_to(body_at).freeze();
        let head = Head::read(octets.slice(..end), search.is_folded);
        let invalid = match (head.unframed(), head.content_length) {
            (Some(invalid), _) => invalid,
            (None, Some(length)) if length <= BODY_BYTES_MAX_STREAM => {
                self.waiting = Some((head, length));
                return ControlFlow::Continue(());
            }
            (None, Some(_)) => Invalid::new(Fault::BodyTooLong, body_at),
            (None, None) => Invalid::new(Fault::ContentLengthMissing, body_at),
        };
        ControlFlow::Break(Some(Frame::Malformed(head.refuse(invalid, true))))
    }
}

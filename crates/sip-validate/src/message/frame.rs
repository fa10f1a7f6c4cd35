//! Where a message begins and ends in a datagram and in a stream (RFC 3261 sections 7.5 and 18.3).
//!
//! It must not know sockets: it turns octets into messages, faults and keep-alives.

use bytes::{Bytes, BytesMut};

use super::parse::{Head, Malformed, Message};
use super::{BODY_BYTES_MAX_STREAM, BODY_BYTES_MAX_UDP, HEAD_BYTES_MAX};

/// Reads the one message of a datagram; `None` for a keep-alive of line ends.
///
/// The body ends at Content-Length, octets after it are dropped; without Content-Length it ends with
/// the datagram.
pub fn datagram(octets: &[u8]) -> Option<Result<Message, Malformed>> {
    let skipped = octets
        .iter()
        .take_while(|o| matches!(o, b'\r' | b'\n'))
        .count();
    let octets = &octets[skipped..];
    // Some NAT keep-alives are a single zero octet.
    if octets.is_empty() || octets == [0] {
        return None;
    }
    let (head_end, body_at) = match head_end(octets, 0) {
        Some((end, body)) if end <= HEAD_BYTES_MAX => (end, body),
        _ => return Some(Err(no_end(octets))),
    };
    let head = Head::read(octets[..head_end].to_vec());
    let body = &octets[body_at..];
    let body = match head.content_length {
        Some(length) if length > body.len() => {
            return Some(Err(head.refuse(
                400,
                "Content-Length Beyond Datagram",
                false,
            )));
        }
        Some(length) => &body[..length],
        None => body,
    };
    if body.len() > BODY_BYTES_MAX_UDP {
        return Some(Err(head.refuse(413, "Request Entity Too Large", false)));
    }
    Some(head.finish(Bytes::copy_from_slice(body)))
}

/// The end of the head (with its last line end) and the start of the body. A head that ends in bare line
/// feeds is found too, so that its sender gets an answer and does not hold a stream open.
fn head_end(octets: &[u8], from: usize) -> Option<(usize, usize)> {
    let mut at = from;
    while let Some(found) = octets[at..].iter().position(|o| *o == b'\n') {
        at += found + 1;
        match octets[at..] {
            [b'\r', b'\n', ..] => return Some((at, at + 2)),
            [b'\n', ..] => return Some((at, at + 1)),
            _ => {}
        }
    }
    None
}

/// The fault of a head that is too long or does not end, with as much of it as may be read.
fn no_end(octets: &[u8]) -> Malformed {
    let part = &octets[..octets.len().min(HEAD_BYTES_MAX)];
    let whole = part
        .iter()
        .rposition(|o| *o == b'\n')
        .map_or(0, |at| at + 1);
    let head = Head::read(part[..whole].to_vec());
    if octets.len() > HEAD_BYTES_MAX {
        head.refuse(513, "Message Too Large", true)
    } else {
        head.refuse(400, "Headers Do Not End", true)
    }
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
#[derive(Default)]
pub struct StreamDecoder {
    /// How much of the buffer holds no end of a head; saves a second search.
    searched: usize,
    /// A head that waits for its body of so many octets.
    waiting: Option<(Head, usize)>,
}

impl StreamDecoder {
    /// The most octets that may be needed before the next frame is whole: the size for a buffer.
    pub const BUFFER_BYTES_MAX: usize = HEAD_BYTES_MAX + BODY_BYTES_MAX_STREAM + 4;

    /// Takes the next frame from the front of `buffer`; `None` when more octets are needed.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Option<Frame> {
        if self.waiting.is_none() {
            match self.head(buffer)? {
                Ok(head) => self.waiting = Some(head),
                Err(frame) => return Some(frame),
            }
        }
        let (head, length) = self
            .waiting
            .take_if(|(_, length)| buffer.len() >= *length)?;
        let body = buffer.split_to(length).freeze();
        Some(match head.finish(body) {
            Ok(message) => Frame::Message(message),
            Err(malformed) => Frame::Malformed(malformed),
        })
    }

    fn head(&mut self, buffer: &mut BytesMut) -> Option<Result<(Head, usize), Frame>> {
        // Line ends before a message are pings (two), pongs (one), or separators to be skipped
        // (RFC 3261 section 7.5). A line end alone may be the first half of a ping: wait.
        while self.searched == 0 && buffer.starts_with(b"\r\n") {
            if buffer.starts_with(b"\r\n\r\n") {
                drop(buffer.split_to(4));
                return Some(Err(Frame::Ping));
            }
            if buffer.len() < 4 && b"\r\n\r\n".starts_with(buffer) {
                return None;
            }
            drop(buffer.split_to(2));
        }
        let found = head_end(buffer, self.searched);
        let too_long = found.map_or(buffer.len(), |(end, _)| end) > HEAD_BYTES_MAX;
        let Some((end, body_at)) = found.filter(|_| !too_long) else {
            // The last line feed may be the first half of the end.
            self.searched = buffer.len().saturating_sub(2);
            return too_long.then(|| Err(Frame::Malformed(no_end(buffer))));
        };
        self.searched = 0;
        let octets = buffer.split_to(body_at);
        let refused = match Head::read(octets[..end].to_vec()).framed() {
            Ok(head) => match head.content_length {
                Some(length) if length <= BODY_BYTES_MAX_STREAM => return Some(Ok((head, length))),
                Some(_) => head.refuse(413, "Request Entity Too Large", true),
                None => head.refuse(400, "Content-Length Missing", true),
            },
            Err(malformed) => *malformed,
        };
        Some(Err(Frame::Malformed(refused)))
    }
}

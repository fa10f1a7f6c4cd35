//! Whole SIP messages as octets: a bounded parser, accessors for header values, and a writer.
//!
//! It must not know sockets, transactions or what a request means. Nothing here allocates more than
//! the message has octets, and no input makes it take more than linear time.

pub mod frame;
pub mod header;
mod parse;
pub mod write;

pub use header::{Credentials, NameAddr, Via, list};
pub use parse::{Malformed, Message, Name};
pub use write::{Request, Response};

/// The longest start line and header section. A SIP message of a phone has 0.5 to 2 KiB; requests that
/// passed many proxies, and long certificates, stay well below this.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

/// The most header fields of a message.
pub const HEADERS_MAX: usize = 96;

/// The longest body over UDP. A sender may not pass 1300 octets (RFC 3428 section 8); this leaves room
/// for those that do so on a local network.
pub const BODY_BYTES_MAX_UDP: usize = 4 * 1024;

/// The longest body over a stream.
pub const BODY_BYTES_MAX_STREAM: usize = 64 * 1024;

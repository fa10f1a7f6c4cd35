//! Whole SIP messages as octets: framing, a bounded parser, accessors for header values, and a writer.
//!
//! It must not know sockets, transactions or what a request means. Nothing here allocates more than the
//! message has octets and a list of its fields, nothing calls itself, and no input makes it take more
//! than linear time.
//!
//! A message comes from a datagram ([`frame::datagram`]), from a WebSocket message ([`frame::websocket`])
//! or from a stream ([`frame::StreamDecoder`]). It is checked once, when it is read: what RFC 3261 demands
//! of every message whatever its method. What breaks a rule is a [`Malformed`]: which [`Fault`], at which
//! octet, where the rule is written, and the request itself when it may be answered.
//!
//! ```
//! use sip_validate::message::{Name, Response, frame};
//!
//! let octets = b"REGISTER sip:example.com SIP/2.0\r\n\
//!     v: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK776\r\n\
//!     f: <sip:alice@example.com>;tag=49583\r\n\
//!     t: <sip:alice@example.com>\r\n\
//!     i: a84b4c76e66710\r\n\
//!     CSeq: 1 REGISTER\r\n\
//!     m: <sip:alice@192.0.2.1>;expires=60, \"Office, 2\" <sip:alice@192.0.2.2>\r\n\r\n";
//! let request = frame::datagram(octets).expect("no keep-alive").expect("no fault");
//! assert_eq!(request.method(), Some("REGISTER"));
//! assert_eq!(request.via()?.branch(), Some("z9hG4bK776"));
//! assert_eq!((request.from()?.tag(), request.to()?.tag()), (Some("49583"), None));
//! assert_eq!(request.cseq()?, (1, "REGISTER"));
//! let expires: Vec<_> = request.contacts().flatten().map(|c| c.expires_s()).collect();
//! assert_eq!(expires, [Some(60), None]);
//!
//! let source = "192.0.2.1:5060".parse().expect("an address");
//! let answer = Response::new(&request, source, "1928301774", 200, "OK").finish();
//! assert!(answer.starts_with(b"SIP/2.0 200 OK\r\n"));
//! # Ok::<(), sip_validate::message::Invalid>(())
//! ```
//!
//! | rule | source | what is accepted |
//! |---|---|---|
//! | line ends | RFC 3261 section 7 | CR LF only; a head of bare LF is found, refused and answered |
//! | folded fields | section 7.3.1 | yes; a fold counts as spaces |
//! | compact names | section 7.3.3 | yes, also `Name :` with white space |
//! | body of a datagram | section 18.3 | by Content-Length, or to the end; a longer Content-Length: 400 |
//! | body on a stream | section 18.3 | exactly one Content-Length, digits only; else 400, and the stream is over |
//! | octets that are not UTF-8 | section 7.3.1 | in free text and unknown fields, kept as they are; else 400 |
//! | control characters | section 25.1 | in quoted strings behind `\`, never CR or LF |
//! | Via, From, To, Call-ID, CSeq | section 8.1.1 | there, well formed, and but for Via only once |
//! | tag of From and To | sections 7.3.1 and 19.3 | none, or one with a value |
//! | Request-URI | sections 7.1 and 19.1.1 | absolute; a SIP URI by its grammar and without headers |
//! | version | section 7.1 | `SIP/2.0` in any case; another one: 505 |

mod error;
pub mod frame;
pub mod header;
mod name;
mod parse;
pub mod write;

pub use error::{Fault, Invalid, Malformed};
pub use header::{Credentials, NameAddr, Via, list};
pub use name::Name;
pub use parse::Message;
pub use write::{Request, Response};

/// The longest start line and header section. A SIP message of a phone has 0.5 to 2 KiB; requests that
/// passed many proxies, and long certificates, stay well below this.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

/// The most header fields of a message.
pub const HEADERS_MAX: usize = 96;

/// The longest body over UDP. A sender may not pass 1300 octets (RFC 3428 section 8); this leaves room
/// for those that do so on a local network.
pub const BODY_BYTES_MAX_UDP: usize = 4 * 1024;

/// The longest body over a stream, and in a WebSocket message.
pub const BODY_BYTES_MAX_STREAM: usize = 64 * 1024;

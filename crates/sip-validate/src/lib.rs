//! Validators and parsers for SIP names, hosts, ports, URIs, passwords, numbers and messages.
//!
//! This crate knows the grammar of RFC 3261 and what later RFCs corrected in it, and the few policies
//! of a SIP gateway that are pure text rules. It must not know any I/O or our domain:
//! it is useful without the rest of sipgraph. Everything works on bytes and borrows from its input;
//! only whole messages and canonical forms allocate, the latter only when the input is not canonical already.
//!
//! | rule | function | source |
//! |---|---|---|
//! | `user` of a URI | [`user`] | RFC 3261 section 25.1 |
//! | `password` of a URI | [`uri_password`] | RFC 3261 section 25.1 |
//! | `host` | [`Host::parse`], [`Host::parse_received`] | RFC 3261 section 25.1 as corrected by RFC 5954 section 4.1, RFC 5118 |
//! | `port` | [`port`] | RFC 3261 section 25.1 |
//! | SIP and SIPS URI | [`SipUri::parse`], [`SipUri::parse_received`] | RFC 3261 sections 19.1.1 and 25.1 |
//! | user of an address-of-record | [`aor_user`] | RFC 3261 section 10.3 step 5 |
//! | domain of an address-of-record | [`domain`] | RFC 3261 section 19.1.4 |
//! | endpoint name (policy) | [`endpoint_name`] | `user` and the limits of this crate |
//! | endpoint password (policy) | [`endpoint_password`] | ISO 8859-1, at least six characters |
//! | whole message | [`message::frame`] | RFC 3261 sections 7, 18.3 and 20 |
//! | telephone number | [`e164`] | ITU-T E.164, RFC 3966 section 5.1.4 |
//!
//! Every refusal is a [`Violation`]: which [`Rule`] is broken, at which byte, by which character, and
//! where the rule is written.

pub mod chars;
mod error;
mod host;
pub mod message;
mod name;
mod number;
mod password;
mod uri;
mod user;

pub use error::{Rule, Violation};
pub use host::{Host, domain, port};
pub use name::{ENDPOINT_NAME_BYTES_MAX, endpoint_name};
pub use number::{E164_DIGITS_MAX, e164};
pub use password::{ENDPOINT_PASSWORD_CHARS_MIN, endpoint_password};
pub use uri::{Scheme, SipUri, URI_PARAMETERS_MAX};
pub use user::{aor_user, unescape, uri_password, user};

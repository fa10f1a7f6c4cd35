//! Validators and parsers for SIP names, hosts, ports, URIs, passwords, numbers, header values and messages.
//!
//! This crate knows the grammar of RFC 3261 and what later RFCs corrected in it, and the few policies
//! of a SIP gateway that are pure text rules. It must not know any I/O or our domain:
//! it is useful without the rest of sipgraph. Everything works on bytes, borrows from its input and takes
//! linear time; only whole messages, canonical forms and conversions allocate. Nothing here panics or recurses on any input.
//!
//! ```
//! use sip_validate::{SipUri, user};
//!
//! let uri = SipUri::parse("sip:%61lice@Example.COM;transport=tcp")?;
//! assert_eq!(uri.aor().to_string(), "sip:alice@example.com");
//!
//! let violation = user("alice#1").unwrap_err();
//! assert_eq!(
//!     violation.to_string(),
//!     "`#` at byte 5 (written as %23 it is allowed): a SIP user part may hold letters, digits and \
//!      -_.!~*'()&=+$,;?/ ; anything else is written as % and two hexadecimal digits (RFC 3261 section 25.1)"
//! );
//! # Ok::<(), sip_validate::Violation>(())
//! ```
//!
//! # Strict and tolerant
//!
//! `parse` is for what people create: by the grammar, and without anything that the prose of an RFC forbids or that
//! another implementation may read in another way. `parse_received` is for what arrives from the network: it takes
//! what is known to be sent and does no harm. Whatever `parse` takes, `parse_received` takes, with the same result.
//! Where the second column has no `parse_received` there is one way to read.
//!
//! | rule | read by | source | strict (`parse`) | tolerant (`parse_received`) |
//! |---|---|---|---|---|
//! | `user` | [`user`] | RFC 3261 s25.1, s19.1.2 | ASCII; not empty; `#` and the like only as escapes | same |
//! | `user / telephone-subscriber` | [`user_or_subscriber`] | RFC 3261 s25.1 | either of both | - |
//! | `password` of a URI | [`uri_password`] | RFC 3261 s25.1 | may be empty; no `;`, `?` or `/` | same |
//! | `hostname` | [`Host`] | RFC 3261 s25.1, RFC 1035 s2.3.4 | the last label starts with a letter; a final dot is good; no `_`, no `%`; labels to 63 octets, names to 253 | same |
//! | `IPv4address` | [`Host`] | RFC 5954 s4.1 | 0 to 255, no leading zeros | leading zeros, read as decimal |
//! | `IPv6reference` | [`Host`] | RFC 5954 s4.1, RFC 5118 s4.10 | RFC 3986 in brackets, no zone | `:::` read as `::` |
//! | `port` | [`port`] | RFC 3261 s25.1, policy | 1 to 65535, leading zeros are good | same |
//! | SIP and SIPS URI | [`SipUri`] | RFC 3261 s19.1.1, s25.1 | as its parts; telephone numbers only with escapes | same |
//! | known URI parameters | [`SipUri`] | RFC 3261 s25.1 | `transport`, `user`, `method` a token without `%`, `ttl` to 255, `maddr` a host, `lr` without value | any value; one that is none of the parameter's own is ignored |
//! | `sips` over UDP | [`SipUri`] | RFC 3261 s19.1.1 | refused | taken |
//! | a URI parameter twice | [`SipUri`] | RFC 3261 s19.1.1 | refused, also if one has escapes | same |
//! | URI parameters, URI headers | [`SipUri`] | policy | at most 32 of each | same |
//! | `tel` URI, `telephone-subscriber` | [`TelUri`], [`TelephoneSubscriber`] | RFC 3966 s3 | RFC 3966, not RFC 2806; a local number has a `phone-context` | same |
//! | parameters of a number | [`TelephoneSubscriber`] | RFC 3966 s3 | any order, none twice, at most 32; no `;` in `isub`, no empty `ext` | same |
//! | `isub` and `ext` together | [`TelephoneSubscriber`] | RFC 3966 s3 | refused | taken |
//! | `ext`, `isub` with another value | [`TelephoneSubscriber`] | RFC 3966 s3 | refused | taken if an unknown parameter may have it |
//! | `phone-context` of a global number | [`TelephoneSubscriber`] | RFC 3966 s5.1.5 | refused | taken if an unknown parameter may have it |
//! | digits of a global number or context | [`TelephoneSubscriber`] | ITU-T E.164 s6.2 | 1 to 15, the first is not 0 | any |
//! | telephone number (policy) | [`e164`] | ITU-T E.164 | `+`, separators and spaces dropped | - |
//! | `display-name` | [`DisplayName`] | RFC 3261 s25.1, RFC 4475 s3.1.1.6 | white space after the last token may be missing | - |
//! | `callid` | [`call_id`] | RFC 3261 s25.1 | one or two words | - |
//! | `media-type` | [`MediaType`] | RFC 3261 s25.1 | white space and folds round separators | - |
//! | CSeq | [`CSeq`] | RFC 3261 s8.1.1.5, s20.16 | less than 2^31 | less than 2^32 |
//! | `SIP-date` | [`SipDate`] | RFC 3261 s20.17 | in the calendar, with its day of the week | - (the receiver ignores another one) |
//! | `token` | [`token`] | RFC 3261 s25.1 | as the grammar | - |
//! | whole message | [`message::frame`] | RFC 3261 s7, s18.3, s20 | - | bounded; a fault keeps the message, so that it can be answered |
//! | name of an endpoint (policy) | [`endpoint_name`] | `user` | at most 128 octets; no white space, `@` or control character behind an escape | - |
//! | password of an endpoint (policy) | [`endpoint_password`] | ISO 8859-1 | at least 6 characters, no control characters | - |
//!
//! Letters and digits are those of ASCII; names of schemes and parameters are read in any case.
//!
//! # Equality
//!
//! - [`SipUri::is_equivalent`] compares two URIs by RFC 3261 section 19.1.4, as Contacts need it. It is not transitive.
//! - [`SipUri::aor`] gives the address-of-record of RFC 3261 section 10.3 step 5 in its one form: a key for maps and
//!   indexes. [`aor_user`] and [`domain`] give its halves.
//! - [`TelUri::is_equivalent`] compares by RFC 3966 section 4; [`TelUri::canonical`] is its key.
//! - [`TelUri::to_sip`] and [`SipUri::to_tel`] convert by RFC 3261 section 19.1.6.
//!
//! What the RFCs leave open is decided so: a name with a final dot is another host than one without it, but the
//! same domain; `:05060` is `:5060`; an absent password is not an empty one; the value of `method` counts with its case,
//! that of a URI header without; in a `tel` URI an escape is always its character.
//!
//! # Refusals
//!
//! Every refusal is a [`Violation`]: which [`Rule`] is broken, at which byte, by which character, and
//! where the rule is written. It never holds a character of a password.

// Input of any kind comes here from the network: what could panic is not written at all.
#![cfg_attr(
    not(test),
    warn(
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unreachable
    )
)]

mod address;
mod automaton;
mod chars;
mod compare;
mod cseq;
mod date;
mod display_name;
mod error;
mod host;
mod media_type;
#[cfg_attr(
    not(test),
    expect(
        clippy::indexing_slicing,
        clippy::string_slice,
        reason = "ranges of one head, found by searching it"
    )
)]
pub mod message;
mod name;
mod number;
mod password;
mod scan;
mod tel;
mod token;
mod uri;
mod user;

pub use cseq::CSeq;
pub use date::SipDate;
pub use display_name::DisplayName;
pub use error::{Rule, Violation};
pub use host::{Host, domain, port};
pub use media_type::MediaType;
pub use name::{ENDPOINT_NAME_BYTES_MAX, endpoint_name, endpoint_name_violations};
pub use number::{E164_DIGITS_MAX, e164};
pub use password::{ENDPOINT_PASSWORD_CHARS_MIN, endpoint_password};
pub use tel::{TEL_PARAMETERS_MAX, TelUri, TelephoneSubscriber};
pub use token::{call_id, token};
pub use uri::{Aor, Scheme, SipUri, URI_HEADERS_MAX, URI_PARAMETERS_MAX};
pub use user::{aor_user, unescape, uri_password, user, user_or_subscriber};

/// The examples of the README are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

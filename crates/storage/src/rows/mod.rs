//! Rows as the tables hold them, and how they become core's types and back.
//!
//! Core's types are destructured without `..`, so that a new field stops the compiler here. Values
//! of enumerations are numbers that are never reused.

mod account;
mod application;
mod binding;
mod chat;
mod delivery;
mod domain;
mod endpoint;
mod event;
mod keys;
mod message;
mod nested;
mod registration;
mod sealed;
mod sip_profile;
mod token;

pub(crate) use account::{AccountRow, LogRow};
pub(crate) use application::ApplicationRow;
pub(crate) use binding::{BindingRow, micros, transport_number};
pub(crate) use chat::{ChatCounters, ChatRow};
pub(crate) use delivery::{
    DeliveryEnd, DeliveryRow, DispatchReleaseRow, DispatchRow, outcome_number,
};
pub(crate) use domain::{DomainNameRow, DomainRow, digest_algorithms};
pub(crate) use endpoint::{
    CredentialKey, CredentialRow, EndpointChangeRow, EndpointRow, SecretKey, SecretRow,
    algorithm_number, enabled_now, encryption_number, kind_number, open_credentials, open_secret,
    seal_credentials, seal_secret, state_number,
};
pub(crate) use event::{EventRow, contact_number};
pub(crate) use keys::{
    AccountKey, CallKey, ChatClearing, ChatKeyRow, ChatMarkRow, DomainDeletionRow,
    EndpointDeletionRow, Hurry, IdempotencyRow, NameKey, NumberChange, NumberKey, ObjectKey,
    Qualified, Refresh, Returned, RevisionRaise, SearchPosition, StateChange, TokenRevocation,
    ids_from_bytes, ids_to_bytes,
};
pub(crate) use message::{
    MessageRead, MessageReceipt, MessageRow, MessageStatusChange, MessageWords, direction_number,
    origin_number, status_number,
};
pub(crate) use registration::{
    BanLiftKey, BanLiftRow, EndpointTokenRow, RegistrationFailureRow, TokenCredentialRow,
    open_tokens, reason_number, seal_token,
};
pub(crate) use sealed::{SealedRow, opened, sealed};
pub(crate) use sip_profile::SipProfileRow;
pub(crate) use token::TokenRow;

use sipgraph_core::message::Variables;
use std::fmt;

/// A row holds something that no version of ours writes.
#[derive(Debug)]
pub(crate) struct Corrupt(String);

impl Corrupt {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the database holds an unknown {}", self.0)
    }
}

impl std::error::Error for Corrupt {}

impl From<Corrupt> for diesel::result::Error {
    fn from(corrupt: Corrupt) -> Self {
        Self::DeserializationError(Box::new(corrupt))
    }
}

/// Reads an unsigned number that core keeps in 32 bits from its column.
fn unsigned(what: &str, value: i64) -> Result<u32, Corrupt> {
    u32::try_from(value).map_err(|_| Corrupt::new(format!("{what} {value}")))
}

/// Reads a SIP status from its column.
fn sip_status(value: Option<i32>) -> Result<Option<u16>, Corrupt> {
    value
        .map(|value| u16::try_from(value).map_err(|_| Corrupt::new(format!("SIP status {value}"))))
        .transpose()
}

/// Writes the header fields of a message; none for the many that have none.
fn variables_text(variables: &Variables) -> diesel::QueryResult<Option<String>> {
    if variables.is_empty() {
        return Ok(None);
    }
    let text = serde_json::to_string(variables);
    text.map(Some)
        .map_err(|error| diesel::result::Error::SerializationError(Box::new(error)))
}

/// Reads what [`variables_text`] wrote.
fn variables(text: Option<&str>) -> Result<Variables, Corrupt> {
    let Some(text) = text else {
        return Ok(Variables::new());
    };
    serde_json::from_str(text).map_err(|_| Corrupt::new("list of variables"))
}

/// Converts every row of a result.
pub(crate) fn convert<R, T>(rows: Vec<R>) -> diesel::QueryResult<Vec<T>>
where
    T: TryFrom<R, Error = Corrupt>,
{
    rows.into_iter()
        .map(|row| T::try_from(row).map_err(Into::into))
        .collect()
}

/// Declares the numbers that stand for an enumeration's values.
macro_rules! numbers {
    ($($what:literal $enum:ty: $to:ident $from:ident { $($variant:ident = $number:literal),+ $(,)? })+) => {$(
        pub(crate) fn $to(value: $enum) -> i16 {
            match value { $(<$enum>::$variant => $number),+ }
        }

        pub(crate) fn $from(number: i16) -> Result<$enum, $crate::rows::Corrupt> {
            match number {
                $($number => Ok(<$enum>::$variant),)+
                _ => Err($crate::rows::Corrupt::new(format!(concat!($what, " {}"), number))),
            }
        }
    )+};
}
use numbers;

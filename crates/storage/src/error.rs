//! What goes wrong in the database, as core's errors; and why a store does not start.

use std::fmt;

use diesel::result::{DatabaseErrorKind, Error as Diesel};
use sipgraph_core::{Error, ErrorKind, keyring::KeyId};

/// A database address that can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressError(String);

impl AddressError {
    pub(crate) fn new(reason: String) -> Self {
        Self(reason)
    }
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the database address is wrong: {}", self.0)
    }
}

impl std::error::Error for AddressError {}

/// Why a store does not start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartError {
    /// The address is wrong.
    Address(AddressError),
    /// The database can't be reached or opened; the text says why.
    Unreachable(String),
    /// The schema was made by a later version of the program; this one would not understand it.
    NewerSchema {
        /// The migration that is not known here.
        migration: String,
    },
    /// The schema is older than this program needs, and it was told not to change it.
    OlderSchema {
        /// The first migration that is missing.
        migration: String,
    },
    /// A migration failed; the database is as before it.
    Migration(String),
    /// Postgres is set up to lose acknowledged data (`fsync` or `synchronous_commit` is off).
    NotDurable {
        /// The setting that is off.
        setting: &'static str,
    },
    /// Secrets in the database were sealed by another key than those given.
    WrongKey {
        /// The key that the database needs.
        needed: KeyId,
        /// The keys that were given.
        given: Vec<KeyId>,
    },
    /// The database answered with an error; the text says which.
    Database(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(error) => error.fmt(f),
            Self::Unreachable(reason) => write!(f, "the database can't be reached: {reason}"),
            Self::NewerSchema { migration } => write!(
                f,
                "the database was made by a later version of sipgraph (it has the migration {migration}); use that version"
            ),
            Self::OlderSchema { migration } => write!(
                f,
                "the database lacks the migration {migration}; run `sipgraph migrate`"
            ),
            Self::Migration(reason) => write!(f, "a migration failed: {reason}"),
            Self::NotDurable { setting } => write!(
                f,
                "Postgres runs with {setting} = off and would lose acknowledged messages; turn it on, or allow it in the configuration"
            ),
            Self::WrongKey { needed, given } => {
                write!(
                    f,
                    "the database needs the secret key {needed}, but the key file holds "
                )?;
                let given: Vec<String> = given.iter().map(ToString::to_string).collect();
                f.write_str(&given.join(" and "))
            }
            Self::Database(reason) => write!(f, "the database failed: {reason}"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<AddressError> for StartError {
    fn from(error: AddressError) -> Self {
        Self::Address(error)
    }
}

/// The database is away; nothing was stored.
pub(crate) fn unavailable(context: impl Into<String>) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "The database can't be reached. Nothing was stored; try again later.",
    )
    .with_context(context)
}

/// A queue is full.
pub(crate) fn overloaded() -> Error {
    Error::new(
        ErrorKind::Overloaded,
        "Too much work is waiting for the database. Nothing was stored; try again later.",
    )
}

/// The database was lost during its commit and did not come back in time.
pub(crate) fn unknown_outcome(context: impl Into<String>) -> Error {
    Error::new(
        ErrorKind::UnknownOutcome,
        "The database was lost while it committed. Ask again with the same idempotency key.",
    )
    .with_context(context)
}

fn storage_full(context: String) -> Error {
    Error::new(
        ErrorKind::StorageFull,
        "The disk or the database is full. Nothing was stored.",
    )
    .with_context(context)
}

/// What SQLite says after a disk error; it comes from reads, writes and `fsync` alike.
const DISK_ERROR: &str = "disk I/O error";

/// The texts of errors that pass without our doing anything else than waiting. diesel hands on no
/// error code, so the text is what there is; an unknown one is taken for a fault of ours.
const OUTAGES: &[&str] = &[
    // SQLite: sqlite3_errstr() of IOERR, NOMEM, INTERRUPT, BUSY, LOCKED, CANTOPEN, READONLY, PROTOCOL.
    DISK_ERROR,
    "out of memory",
    "interrupted",
    "database is locked",
    "database table is locked",
    "unable to open database file",
    "attempt to write a readonly database",
    "locking protocol",
    // Postgres: classes 53, 55, 57 and 40 of its error codes.
    "terminating connection",
    "the database system is",
    "canceling statement due to",
    "too many clients",
    "too many connections",
    "remaining connection slots",
    "deadlock detected",
    "could not serialize access",
    "cannot execute",
    "connection closed",
];

/// The texts of "no space".
const FULL: &[&str] = &["database or disk is full", "No space left on device"];

fn says(text: &str, any_of: &[&str]) -> bool {
    any_of.iter().any(|part| text.contains(part))
}

/// Whether a failed COMMIT or checkpoint of SQLite may have been a failed `fsync`: what the disk holds is then unknown, and trying
/// again would report success for pages that the kernel has dropped.
pub(crate) fn is_disk_failure(error: &Diesel) -> bool {
    matches!(error, Diesel::DatabaseError(_, info) if info.message().contains(DISK_ERROR))
}

/// Whether the error belongs to one commit of a batch, so that the others succeed without it.
pub(crate) fn is_of_one_commit(error: &Diesel) -> bool {
    match error {
        Diesel::DatabaseError(
            DatabaseErrorKind::UniqueViolation
            | DatabaseErrorKind::ForeignKeyViolation
            | DatabaseErrorKind::NotNullViolation
            | DatabaseErrorKind::CheckViolation
            | DatabaseErrorKind::RestrictViolation
            | DatabaseErrorKind::ExclusionViolation,
            _,
        )
        | Diesel::SerializationError(_)
        | Diesel::DeserializationError(_) => true,
        // A text that the database can't hold (a NUL on Postgres), a number out of range: one row's fault.
        Diesel::DatabaseError(DatabaseErrorKind::Unknown, info) => {
            !says(info.message(), OUTAGES) && !says(info.message(), FULL)
        }
        _ => false,
    }
}

/// Core's error for the database's. The text of the database goes into the context, never to the caller.
pub(crate) fn from_diesel(error: &Diesel) -> Error {
    let context = error.to_string();
    match error {
        Diesel::DatabaseError(
            DatabaseErrorKind::UnableToSendCommand
            | DatabaseErrorKind::ClosedConnection
            | DatabaseErrorKind::SerializationFailure
            | DatabaseErrorKind::ReadOnlyTransaction,
            _,
        ) => unavailable(context),
        _ if says(&context, FULL) => storage_full(context),
        Diesel::DatabaseError(DatabaseErrorKind::Unknown, _) if says(&context, OUTAGES) => {
            unavailable(context)
        }
        _ => Error::internal(context),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sqlite(text: &str) -> Diesel {
        Diesel::DatabaseError(DatabaseErrorKind::Unknown, Box::new(text.to_owned()))
    }

    #[test]
    fn errors_are_sorted_by_what_can_be_done() {
        let kind = |text| from_diesel(&sqlite(text)).kind;
        assert_eq!(kind("database or disk is full"), ErrorKind::StorageFull);
        assert_eq!(kind("disk I/O error"), ErrorKind::Unavailable);
        assert_eq!(kind("interrupted"), ErrorKind::Unavailable);
        assert_eq!(kind("no such table: x"), ErrorKind::Internal);
    }

    #[test]
    fn a_full_disk_or_an_outage_concerns_the_whole_batch() {
        assert!(!is_of_one_commit(&sqlite("database or disk is full")));
        assert!(!is_of_one_commit(&sqlite("out of memory")));
        assert!(!is_of_one_commit(&sqlite("disk I/O error")));
        assert!(is_of_one_commit(&sqlite(
            "invalid byte sequence for encoding \"UTF8\": 0x00"
        )));
    }

    #[test]
    fn only_a_disk_error_ends_the_process() {
        assert!(is_disk_failure(&sqlite("disk I/O error")));
        assert!(!is_disk_failure(&sqlite("database or disk is full")));
    }
}

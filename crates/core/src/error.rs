//! What can go wrong, sorted by what the caller can do about it.
//!
//! A [`Problem`] is something the caller can mend in its input; it becomes a `userErrors` entry of a mutation or a SIP
//! status. An [`Error`] ends the whole operation. The context of an error is for the log and never reaches the wire.

use crate::access::Scope;
use std::borrow::Cow;

/// What the caller of a use case can do about an [`Error`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorKind {
    /// An argument is wrong; change it (`BAD_USER_INPUT`).
    Invalid,
    /// There is no such object that this caller may see (`NOT_FOUND`).
    NotFound,
    /// No valid token came with the request (`UNAUTHENTICATED`).
    Unauthenticated,
    /// The token lacks a scope; any one of those given would do (`FORBIDDEN`).
    Forbidden(Vec<Scope>),
    /// The database can't be reached; try again later (`UNAVAILABLE`).
    Unavailable,
    /// The disk or database is full; nothing was stored (`STORAGE_FULL`).
    StorageFull,
    /// Too much work is waiting; try again later (`OVERLOADED`).
    Overloaded,
    /// The time for the operation is up; nothing was stored (`DEADLINE_EXCEEDED`).
    DeadlineExceeded,
    /// The database was lost while it committed; ask again with the same idempotency key (`UNKNOWN_OUTCOME`).
    UnknownOutcome,
    /// The operation would read too much; ask for less (`QUERY_TOO_COMPLEX`).
    TooComplex,
    /// A fault of ours (`INTERNAL_SERVER_ERROR`).
    Internal,
}

/// An error that ends an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What the caller can do.
    pub kind: ErrorKind,
    /// A sentence for the caller.
    pub message: Cow<'static, str>,
    /// What happened, for the log only.
    pub context: Option<String>,
}

impl Error {
    /// Makes an error with a sentence for the caller.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            message: message.into(),
            context: None,
        }
    }

    /// Adds what happened, for the log.
    #[must_use]
    pub fn with_context(mut self, context: impl Into<String>) -> Self {
        self.context = Some(context.into());
        self
    }

    /// Makes an error for a wrong argument.
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// Makes an error for an object that is not there or may not be seen; both read the same.
    #[must_use]
    pub fn not_found(what: &'static str) -> Self {
        Self::new(ErrorKind::NotFound, format!("There is no such {what}."))
    }

    /// Makes an error for a fault of ours; the context goes to the log alone.
    pub fn internal(context: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, "An internal error occurred.").with_context(context)
    }

    /// Returns whether the same call may succeed later without a change.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self.kind {
            ErrorKind::Unavailable
            | ErrorKind::StorageFull
            | ErrorKind::Overloaded
            | ErrorKind::DeadlineExceeded
            | ErrorKind::UnknownOutcome => true,
            ErrorKind::Invalid
            | ErrorKind::NotFound
            | ErrorKind::Unauthenticated
            | ErrorKind::Forbidden(_)
            | ErrorKind::TooComplex
            | ErrorKind::Internal => false,
        }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        if let Some(context) = &self.context {
            write!(f, " ({context})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// What the caller can mend, as the `UserErrorCode` of the API names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProblemCode {
    /// A value breaks a rule.
    Validation,
    /// The value is taken, or the object was changed meanwhile.
    Conflict,
    /// The object named is not there or may not be seen.
    NotFound,
    /// The field can't be changed once the object is made.
    ImmutableField,
    /// The field is not the caller's to set.
    ReadOnlyField,
    /// The field can't be changed for an endpoint of this type.
    FieldNotUpdatableForType,
    /// The endpoint is disabled.
    EndpointDisabled,
    /// A limit of the account is reached.
    LimitReached,
    /// The idempotency key was used with another input.
    IdempotencyKeyReused,
    /// The technology is known but not available here.
    TechnologyUnavailable,
    /// Nothing here can carry the message to its target.
    NoRoute,
    /// There is no number that the message can come from.
    NoSenderNumber,
}

/// Details of a [`Problem`] that a program can use.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProblemDetail {
    /// The name of the broken rule.
    pub rule: Option<String>,
    /// Where in the value, in UTF-16 code units, as a browser counts.
    pub offset: Option<usize>,
    /// Where in the value, in bytes of UTF-8.
    pub byte_offset: Option<usize>,
    /// The offending character; never given for a password.
    pub character: Option<String>,
    /// The section of the RFC that the rule comes from.
    pub rfc: Option<String>,
    /// The limit that was passed.
    pub limit: Option<i64>,
    /// The value that passed it.
    pub actual: Option<i64>,
    /// The version of the object now, when the caller's is stale.
    pub current_version: Option<i64>,
    /// The paths that may be changed for an endpoint of this type.
    pub writable_fields: Option<Vec<String>>,
}

/// Something in the input that the caller can mend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which kind of problem it is.
    pub code: ProblemCode,
    /// A sentence that says the rule, never a secret.
    pub message: String,
    /// The path to the field, from inside the input; list indexes as decimal strings.
    pub field: Vec<String>,
    /// Details for programs.
    pub detail: Option<Box<ProblemDetail>>,
}

impl Problem {
    /// Makes a problem at a field path, given as `a.b.0`.
    pub fn new(code: ProblemCode, field: &str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            field: field
                .split('.')
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect(),
            detail: None,
        }
    }

    /// Makes a validation problem at a field path.
    pub fn validation(field: &str, message: impl Into<String>) -> Self {
        Self::new(ProblemCode::Validation, field, message)
    }

    /// Makes a not-found problem at a field path.
    #[must_use]
    pub fn not_found(field: &str, what: &str) -> Self {
        Self::new(
            ProblemCode::NotFound,
            field,
            format!("There is no such {what}."),
        )
    }

    /// Puts the field below another: `name` under `endpoints.3` becomes `endpoints.3.name`.
    #[must_use]
    pub fn under(mut self, parent: &str) -> Self {
        let parents = parent.split('.').filter(|part| !part.is_empty());
        self.field
            .splice(0..0, parents.map(str::to_owned).collect::<Vec<_>>());
        self
    }

    /// Adds details.
    #[must_use]
    pub fn with_detail(mut self, detail: ProblemDetail) -> Self {
        self.detail = Some(Box::new(detail));
        self
    }
}

/// How a use case that changes something fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The caller can mend these; nothing was stored.
    Refused(Vec<Problem>),
    /// The operation ended.
    Error(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Self::Refused(vec![problem])
    }
}

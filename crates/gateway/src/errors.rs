//! Errors of core as clients see them: `userErrors` for what the caller can mend in its input, top-level errors with
//! `extensions.code` for the rest. The context of an error goes to the log and no further.

use async_graphql::{Enum, Error, ErrorExtensions, SimpleObject, Value};
use sipgraph_core::{
    Error as CoreError, ErrorKind, Fault, Problem, ProblemCode, ProblemDetail, app::Outcome,
};
use sipgraph_graphql_transport::code;

use crate::scalars::int;

/// A nullable field that can fail: an error nulls this field alone, not its parent.
pub(crate) type Nullable<T> = Option<async_graphql::Result<T>>;

/// Returns a field that is null only when it fails.
pub(crate) fn nullable<T>(result: Result<T, CoreError>) -> Nullable<T> {
    Some(result.map_err(error))
}

/// Returns a field that is null when there is nothing, or when it fails.
pub(crate) fn optional<T>(result: Result<Option<T>, CoreError>) -> Nullable<T> {
    result.map_err(error).transpose()
}

/// Returns the top-level error of an operation that ended.
pub(crate) fn error(error: CoreError) -> Error {
    let CoreError {
        kind,
        message,
        context,
    } = error;
    if kind == ErrorKind::Internal {
        tracing::error!(context, "a use case failed");
    } else {
        tracing::debug!(?kind, context, "a use case ended with an error");
    }
    let code = match &kind {
        ErrorKind::Invalid => "BAD_USER_INPUT",
        ErrorKind::NotFound => "NOT_FOUND",
        ErrorKind::Unauthenticated => "UNAUTHENTICATED",
        ErrorKind::Forbidden(_) => "FORBIDDEN",
        ErrorKind::Unavailable => "UNAVAILABLE",
        ErrorKind::StorageFull => "STORAGE_FULL",
        ErrorKind::Overloaded => "OVERLOADED",
        ErrorKind::DeadlineExceeded => "DEADLINE_EXCEEDED",
        ErrorKind::UnknownOutcome => "UNKNOWN_OUTCOME",
        ErrorKind::TooComplex => code::QUERY_TOO_COMPLEX,
        ErrorKind::Internal => "INTERNAL_SERVER_ERROR",
    };
    Error::new(message).extend_with(|_, extensions| {
        extensions.set("code", code);
        if let ErrorKind::Forbidden(scopes) = &kind {
            let names = scopes.iter().map(|scope| Value::from(scope.as_str()));
            extensions.set("requiredScopes", Value::List(names.collect()));
        }
    })
}

/// Returns the top-level error of a list that would bring the rows of its operation above a limit.
pub(crate) fn too_many_rows(max: i64) -> Error {
    let message = format!(
        "The lists of one operation have at most {max} rows together. Ask for fewer with `first` or `last`, above all in \
         lists below lists, or ask in several operations."
    );
    Error::new(message).extend_with(|_, extensions| extensions.set("code", code::QUERY_TOO_COMPLEX))
}

/// Returns the top-level error of a wrong argument of a query, where there are no `userErrors`.
pub(crate) fn problem_error(problem: Problem) -> CoreError {
    let kind = match problem.code {
        // An object of a technology that is not there is not there either.
        ProblemCode::NotFound | ProblemCode::TechnologyUnavailable => ErrorKind::NotFound,
        ProblemCode::Validation
        | ProblemCode::Conflict
        | ProblemCode::ImmutableField
        | ProblemCode::ReadOnlyField
        | ProblemCode::FieldNotUpdatableForType
        | ProblemCode::EndpointDisabled
        | ProblemCode::LimitReached
        | ProblemCode::IdempotencyKeyReused
        | ProblemCode::NoRoute
        | ProblemCode::NoSenderNumber => ErrorKind::Invalid,
    };
    CoreError::new(kind, problem.message)
}

/// The object of a mutation, whether an earlier call made it, and what the caller can mend.
pub(crate) struct Answer<T> {
    pub(crate) value: Option<T>,
    pub(crate) replayed: bool,
    pub(crate) user_errors: Vec<UserError>,
}

impl<T> Answer<T> {
    /// Sorts the result of a use case; only an error that ends the operation is an error here.
    pub(crate) fn of(result: Result<Outcome<T>, Fault>) -> async_graphql::Result<Self> {
        match result {
            Ok(Outcome { value, replayed }) => Ok(Self {
                value: Some(value),
                replayed,
                user_errors: Vec::new(),
            }),
            Err(Fault::Refused(problems)) => Ok(Self {
                value: None,
                replayed: false,
                user_errors: problems.into_iter().map(UserError::from).collect(),
            }),
            Err(Fault::Error(fault)) => Err(error(fault)),
        }
    }
}

/// What kind of thing the caller can mend. Expect new values.
#[derive(Clone, Copy, Debug, Enum, PartialEq, Eq)]
pub(crate) enum UserErrorCode {
    /// A value breaks a rule; `detail` says which and where.
    Validation,
    /// The value is taken, or the object is in use.
    Conflict,
    /// The object named is not there, or this token may not see it.
    NotFound,
    /// The field can't be changed once the object is made.
    ImmutableField,
    /// The field is not the caller's to set; it is accepted only as it is.
    ReadOnlyField,
    /// The field can't be changed for an endpoint of this type; `detail.writableFields` says which can.
    FieldNotUpdatableForType,
    /// The endpoint is disabled.
    EndpointDisabled,
    /// A limit of the account is reached; `detail` says which.
    LimitReached,
    /// The idempotency key was used with another input.
    IdempotencyKeyReused,
    /// The technology is known but not available on this instance.
    TechnologyUnavailable,
    /// Nothing here can carry the message to its target.
    NoRoute,
    /// A message to an outside number needs a number that it comes from, and there is none.
    NoSenderNumber,
}

/// Something in the input that the caller can mend. Nothing was stored.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct UserError {
    /// What kind of thing it is.
    code: UserErrorCode,
    /// A sentence for people that says the rule.
    message: String,
    /// The path to the value, beginning inside `input`; list indexes as decimal strings: `["aliases", "0"]`.
    field: Vec<String>,
    /// Details for programs; null when there are none.
    detail: Option<UserErrorDetail>,
}

/// Details of a user error for programs. Each field is null where it does not apply.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct UserErrorDetail {
    /// The broken rule, in words.
    rule: Option<String>,
    /// Where in the value, in UTF-16 code units, as a browser counts.
    offset: Option<i32>,
    /// Where in the value, in bytes of UTF-8.
    byte_offset: Option<i32>,
    /// The offending character; never told for a password.
    character: Option<String>,
    /// The section of the RFC that has the rule.
    rfc: Option<String>,
    /// The limit that was passed.
    limit: Option<i32>,
    /// The value that passed it.
    actual: Option<i32>,
    /// The version of the object now, when the one given is stale.
    current_version: Option<i32>,
    /// The paths that can be changed for an endpoint of this type.
    writable_fields: Option<Vec<String>>,
}

impl From<Problem> for UserError {
    fn from(problem: Problem) -> Self {
        let Problem {
            code,
            message,
            field,
            detail,
        } = problem;
        Self {
            code: match code {
                ProblemCode::Validation => UserErrorCode::Validation,
                ProblemCode::Conflict => UserErrorCode::Conflict,
                ProblemCode::NotFound => UserErrorCode::NotFound,
                ProblemCode::ImmutableField => UserErrorCode::ImmutableField,
                ProblemCode::ReadOnlyField => UserErrorCode::ReadOnlyField,
                ProblemCode::FieldNotUpdatableForType => UserErrorCode::FieldNotUpdatableForType,
                ProblemCode::EndpointDisabled => UserErrorCode::EndpointDisabled,
                ProblemCode::LimitReached => UserErrorCode::LimitReached,
                ProblemCode::IdempotencyKeyReused => UserErrorCode::IdempotencyKeyReused,
                ProblemCode::TechnologyUnavailable => UserErrorCode::TechnologyUnavailable,
                ProblemCode::NoRoute => UserErrorCode::NoRoute,
                ProblemCode::NoSenderNumber => UserErrorCode::NoSenderNumber,
            },
            message,
            field,
            detail: detail.map(|detail| UserErrorDetail::from(*detail)),
        }
    }
}

impl From<ProblemDetail> for UserErrorDetail {
    fn from(detail: ProblemDetail) -> Self {
        let ProblemDetail {
            rule,
            offset,
            byte_offset,
            character,
            rfc,
            limit,
            actual,
            current_version,
            writable_fields,
        } = detail;
        let place = |offset: usize| int(i64::try_from(offset).unwrap_or(i64::MAX));
        Self {
            rule,
            offset: offset.map(place),
            byte_offset: byte_offset.map(place),
            character,
            rfc,
            limit: limit.map(int),
            actual: actual.map(int),
            current_version: current_version.map(int),
            writable_fields,
        }
    }
}

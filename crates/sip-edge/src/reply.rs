//! The answer to a request before it is written: status, fields, and whether it is kept.

use std::time::Duration;

use sipgraph_core::{Error, ErrorKind};

/// The methods that the edge serves, as Allow lists them.
pub(crate) const ALLOW: &str = "REGISTER, MESSAGE, OPTIONS";

/// Seconds after which a request may be tried again when we could not serve it. Long enough for a database
/// to come back, short enough for a person who waits.
const RETRY_AFTER_S: u32 = 5;

/// The status that is never written.
pub(crate) const SILENCE: u16 = 0;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) reason: &'static str,
    pub(crate) fields: Vec<(&'static str, String)>,
    /// Whether it is kept for retransmissions of the request. Answers to peers that have not authenticated
    /// themselves are made again instead, so that nobody can fill the memory.
    pub(crate) is_kept: bool,
}

impl Reply {
    /// An answer that is kept, with the reason phrase of RFC 3261 section 21.
    pub(crate) fn new(status: u16) -> Self {
        let reason = match status {
            200 => "OK",
            202 => "Accepted",
            400 => "Bad Request",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            413 => "Request Entity Too Large",
            415 => "Unsupported Media Type",
            416 => "Unsupported URI Scheme",
            420 => "Bad Extension",
            423 => "Interval Too Brief",
            480 => "Temporarily Unavailable",
            481 => "Call/Transaction Does Not Exist",
            501 => "Not Implemented",
            503 => "Service Unavailable",
            _ => "Server Internal Error",
        };
        Self {
            status,
            reason,
            fields: Vec::new(),
            is_kept: true,
        }
    }

    /// An answer to a request whose sender is not known.
    pub(crate) fn stateless(status: u16) -> Self {
        Self {
            is_kept: false,
            ..Self::new(status)
        }
    }

    /// 503 with Retry-After, for what may succeed later. Not kept: the device's next try shall be a new one.
    pub(crate) fn unavailable() -> Self {
        Self::stateless(503).with("Retry-After", RETRY_AFTER_S.to_string())
    }

    /// 503 with the time to wait: the source tried too many wrong passwords here.
    pub(crate) fn slowed(wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        Self::stateless(503).with("Retry-After", seconds.to_string())
    }

    /// No answer at all.
    pub(crate) fn silence() -> Self {
        Self::stateless(SILENCE)
    }

    /// 400 that says what is wrong.
    pub(crate) fn bad(reason: &'static str) -> Self {
        Self {
            reason,
            ..Self::new(400)
        }
    }

    /// The same, not kept: its sender is not known.
    pub(crate) fn unkept(self) -> Self {
        Self {
            is_kept: false,
            ..self
        }
    }

    /// Another reason phrase.
    pub(crate) fn because(self, reason: &'static str) -> Self {
        Self { reason, ..self }
    }

    /// Adds a field.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }
}

impl From<Error> for Reply {
    /// 503 with Retry-After for what may succeed later, else 500. Logs what is our fault, here and nowhere
    /// else. Not kept: the device's next try shall be a new one.
    fn from(error: Error) -> Self {
        if error.kind == ErrorKind::NotFound {
            // Deleted between the look-up and the change.
            return Self::stateless(404);
        }
        if error.retryable() {
            tracing::warn!(%error, "a SIP request could not be served");
            return Self::unavailable();
        }
        tracing::error!(%error, "a SIP request failed");
        Self::stateless(500)
    }
}

//! What the program tells the transport about a caller. It knows no tokens and no users.

use std::{borrow::Cow, future::pending};

use async_graphql::Data;
use axum::http::{HeaderMap, StatusCode};
use futures_util::{FutureExt, future::BoxFuture};
use serde_json::{Map, Value};

use crate::code;

/// Decides who sends a request.
pub trait Authenticate: Send + Sync + 'static {
    /// Returns the data of a request over HTTP, from its headers.
    ///
    /// # Errors
    /// A [`Refusal`]; the operation is not looked at.
    fn http<'a>(&'a self, headers: &'a HeaderMap) -> BoxFuture<'a, Result<Data, Refusal>>;

    /// Returns the session of a WebSocket, from the payload of `connection_init` (empty when it
    /// had none) and the headers of the upgrade.
    ///
    /// # Errors
    /// A [`Refusal`]; the socket closes with 4403, or 1013 when the refusal is a 5xx.
    fn websocket<'a>(
        &'a self,
        init: &'a Map<String, Value>,
        headers: &'a HeaderMap,
    ) -> BoxFuture<'a, Result<Session, Refusal>>;
}

/// An accepted WebSocket.
pub struct Session {
    /// Data of each operation on the socket.
    pub data: Data,
    /// Resolves when the socket must be closed: an expired or revoked token, for example.
    pub ended: BoxFuture<'static, Close>,
}

impl Session {
    /// Returns a session that lasts as long as its socket.
    #[must_use]
    pub fn new(data: Data) -> Self {
        Self {
            data,
            ended: pending().boxed(),
        }
    }
}

/// Why and how a WebSocket is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// Close code, RFC 6455 7.4 or graphql-transport-ws.
    pub code: u16,
    /// Reason for people; RFC 6455 5.5 leaves 123 bytes, the rest is cut.
    pub reason: Cow<'static, str>,
}

impl Close {
    /// Returns a close with `code` and `reason`.
    pub fn new(code: u16, reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            reason: reason.into(),
        }
    }

    /// Returns the close for credentials that are missing or no longer valid (4401).
    pub fn unauthorized(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(4401, reason)
    }
}

/// A request that is refused before its operation is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: StatusCode,
    /// Value of `extensions.code`.
    pub code: &'static str,
    /// Text for people.
    pub message: Cow<'static, str>,
}

impl Refusal {
    /// Returns the refusal of missing or wrong credentials: 401, `UNAUTHENTICATED`.
    pub fn unauthenticated(message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            code: code::UNAUTHENTICATED,
            message: message.into(),
        }
    }

    /// Returns the refusal of a server that cannot check credentials now: 503, `UNAVAILABLE`.
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: code::UNAVAILABLE,
            message: message.into(),
        }
    }
}

/// Anyone may call, without data: for schemas without access rules.
impl Authenticate for () {
    fn http<'a>(&'a self, _headers: &'a HeaderMap) -> BoxFuture<'a, Result<Data, Refusal>> {
        async { Ok(Data::default()) }.boxed()
    }

    fn websocket<'a>(
        &'a self,
        _init: &'a Map<String, Value>,
        _headers: &'a HeaderMap,
    ) -> BoxFuture<'a, Result<Session, Refusal>> {
        async { Ok(Session::new(Data::default())) }.boxed()
    }
}

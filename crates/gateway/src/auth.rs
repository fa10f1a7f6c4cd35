//! From a bearer token to the caller of core, and from the end of a token to the end of its sockets.

use std::{sync::Arc, time::Duration};

use async_graphql::{Context, Data};
use axum::http::{HeaderMap, StatusCode, header};
use futures_util::{FutureExt, future::BoxFuture};
use serde_json::{Map, Value};
use sipgraph_core::{App, Error, ErrorKind, Timestamp, access::Caller};
use sipgraph_graphql_transport::{Authenticate, Close, Refusal, Session, code};
use tokio::sync::Notify;

/// Checks the token of each request and each socket.
pub(crate) struct BearerTokens {
    pub(crate) app: Arc<App>,
}

/// Closes the socket that a stream runs on; the client resumes on another.
#[derive(Clone, Default)]
pub(crate) struct SocketCloser(Arc<Notify>);

impl SocketCloser {
    /// Returns the closer of the operation's socket.
    pub(crate) fn of(ctx: &Context<'_>) -> Self {
        ctx.data_opt::<Self>().cloned().unwrap_or_default()
    }

    pub(crate) fn close(&self) {
        self.0.notify_one();
    }
}

impl BearerTokens {
    async fn check(&self, authorization: Option<&str>) -> Result<Caller, Refusal> {
        let Some(secret) = authorization.and_then(bearer) else {
            return Err(Refusal::unauthenticated(
                "Send a token: Authorization: Bearer TOKEN.",
            ));
        };
        self.app.token_check(secret).await.map_err(refusal)
    }
}

/// RFC 6750 section 2.1: the scheme is compared without regard to case.
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, secret) = authorization.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("Bearer")
        .then(|| secret.trim())
        .filter(|secret| !secret.is_empty())
}

fn refusal(error: Error) -> Refusal {
    match error.kind {
        ErrorKind::Unauthenticated => Refusal::unauthenticated(error.message),
        ErrorKind::Internal => {
            tracing::error!(context = error.context, "a token cannot be checked");
            Refusal {
                status: StatusCode::INTERNAL_SERVER_ERROR,
                code: code::INTERNAL_SERVER_ERROR,
                message: "Internal server error".into(),
            }
        }
        ErrorKind::Invalid
        | ErrorKind::NotFound
        | ErrorKind::Forbidden(_)
        | ErrorKind::Unavailable
        | ErrorKind::StorageFull
        | ErrorKind::Overloaded
        | ErrorKind::TooComplex
        | ErrorKind::DeadlineExceeded
        | ErrorKind::UnknownOutcome => Refusal::unavailable("Tokens cannot be checked now"),
    }
}

fn authorization(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()
}

impl Authenticate for BearerTokens {
    fn http<'a>(&'a self, headers: &'a HeaderMap) -> BoxFuture<'a, Result<Data, Refusal>> {
        async move {
            let caller = self.check(authorization(headers)).await?;
            let mut data = Data::default();
            data.insert(caller);
            Ok(data)
        }
        .boxed()
    }

    /// A browser cannot set headers on a WebSocket, so that the payload comes first.
    fn websocket<'a>(
        &'a self,
        init: &'a Map<String, Value>,
        headers: &'a HeaderMap,
    ) -> BoxFuture<'a, Result<Session, Refusal>> {
        async move {
            let said = ["authorization", "Authorization"]
                .into_iter()
                .find_map(|name| init.get(name)?.as_str());
            let caller = self.check(said.or_else(|| authorization(headers))).await?;
            let closer = SocketCloser::default();
            let mut data = Data::default();
            data.insert(closer.clone());
            data.insert(caller.clone());
            let ended = ended(Arc::clone(&self.app), caller, closer).boxed();
            Ok(Session { data, ended })
        }
        .boxed()
    }
}

/// Waits until a socket must be closed.
async fn ended(app: Arc<App>, caller: Caller, closer: SocketCloser) -> Close {
    tokio::select! {
        () = app.token_revoked(caller.token) => Close::unauthorized("The token was revoked"),
        () = expired(&app, caller.expires_at) => Close::unauthorized("The token has expired"),
        () = closer.0.notified() => Close::new(1013, "The log cannot be read; resume later"),
    }
}

/// Waits for a time by the wall clock, which may be set: it is looked at once a minute.
async fn expired(app: &App, at: Option<Timestamp>) {
    const LOOK: Duration = Duration::from_secs(60);
    let Some(at) = at else {
        return std::future::pending().await;
    };
    loop {
        let left = at.since(app.now());
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(LOOK)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_is_bearer() {
        let table = [
            ("Bearer abc", Some("abc")),
            ("bearer  abc ", Some("abc")),
            ("Basic abc", None),
            ("Bearer", None),
            ("Bearer ", None),
            ("abc", None),
        ];
        for (text, expected) in table {
            assert_eq!(bearer(text), expected, "{text}");
        }
    }
}

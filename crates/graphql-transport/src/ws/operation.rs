//! One operation on a socket, in a task of its own: a busy stream cannot starve the others, and a
//! panic ends one operation only.

use std::{panic::AssertUnwindSafe, sync::Arc};

use async_graphql::{Data, Executor, Response, ServerError, Value, parser::types::OperationType};
use axum::extract::ws::Utf8Bytes;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::message;
use crate::{
    Authenticate, code, coded,
    error::{encode, finish, is_request_error, to_json},
    request::Operation,
    transport::Shared,
};

/// What an operation hands to its socket.
pub(super) struct Output {
    /// The operation's id and its number on the socket: an id may be used again.
    pub(super) id: Arc<str>,
    pub(super) serial: u64,
    /// What is sent; nothing when a live stream ends because the server drains.
    pub(super) text: Option<Utf8Bytes>,
    /// Nothing follows.
    pub(super) last: bool,
}

/// An operation that runs.
pub(super) struct Task<E, A> {
    pub(super) shared: Arc<Shared<E, A>>,
    pub(super) session: Arc<Data>,
    pub(super) operation: Operation,
    pub(super) id: Arc<str>,
    pub(super) serial: u64,
    pub(super) out: mpsc::Sender<Output>,
    /// Held by queries and mutations until they have run, which they do although the socket may close.
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

impl<E: Executor, A: Authenticate> Task<E, A> {
    /// Runs the operation until it ends or its socket is gone.
    pub(super) async fn run(self) {
        let Self {
            shared,
            session,
            operation,
            id,
            serial,
            out,
            mut permit,
        } = self;
        let running = permit.is_some().then(|| shared.drain.running());
        let live = operation.kind == OperationType::Subscription;
        let send = async |text, last| {
            let output = Output {
                id: Arc::clone(&id),
                serial,
                text,
                last,
            };
            out.send(output).await.is_ok()
        };
        let mut stream = shared
            .executor
            .execute_stream(operation.request, Some(session));
        let mut opening = live;
        loop {
            // The stream is dropped after a panic, so that no broken state of it is seen.
            let item = AssertUnwindSafe(stream.next()).catch_unwind().await;
            // It has run: a client that is slow to take the result must not keep others from theirs.
            drop(permit.take());
            let response = match item {
                Ok(Some(response)) => response,
                Ok(None) => break,
                Err(_) => {
                    tracing::error!("an operation panicked");
                    let error = coded(code::INTERNAL_SERVER_ERROR, "Internal server error", None);
                    send(Some(message::error(&id, &to_json(&[error]))), true).await;
                    return;
                }
            };
            // A live stream that fails instead of a first event was never opened.
            let unopened = opening && !response.errors.is_empty() && response.data == Value::Null;
            opening = false;
            let (text, last) = encoded(&shared, &id, response, unopened);
            if !send(Some(text), last).await || last {
                return;
            }
        }
        // A client resumes a live stream after a close with 1012, but not after a complete.
        let text = (!live || !shared.drain.is_begun()).then(|| message::complete(&id));
        send(text, true).await;
        drop(running);
    }
}

/// Returns a result as a message, and whether it ends the operation: a request error does, and a subscription that could
/// not be opened (GraphQL specification 6.2.3.1).
fn encoded<E, A>(
    shared: &Shared<E, A>,
    id: &str,
    mut response: Response,
    unopened: bool,
) -> (Utf8Bytes, bool) {
    let request_error = unopened || is_request_error(&response);
    finish(&mut response.errors, &shared.config);
    if request_error {
        (message::error(id, &to_json(&response.errors)), true)
    } else {
        (message::next(id, &encode(&response, false)), false)
    }
}

/// Returns the refusal of an operation that does not begin.
pub(super) fn refused<E, A>(shared: &Shared<E, A>, id: &str, error: ServerError) -> Utf8Bytes {
    let mut errors = vec![error];
    finish(&mut errors, &shared.config);
    message::error(id, &to_json(&errors))
}

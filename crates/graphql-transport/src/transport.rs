//! The route: one address for POST, GET and WebSocket.

use std::sync::Arc;

use async_graphql::Executor;
use axum::{
    extract::{Request, State},
    response::Response,
    routing::{MethodRouter, any},
};
use tokio::sync::Semaphore;

use crate::{Authenticate, Config, Drain, documents::Documents, http, ws};

/// A GraphQL route. Clones share their limits.
pub struct Transport<E, A> {
    pub(crate) shared: Arc<Shared<E, A>>,
}

impl<E, A> Clone for Transport<E, A> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

/// What all requests and sockets of a route share.
pub(crate) struct Shared<E, A> {
    pub(crate) executor: E,
    pub(crate) authenticator: A,
    pub(crate) config: Config,
    pub(crate) drain: Drain,
    pub(crate) documents: Documents,
    /// Queries and mutations that may still begin.
    pub(crate) operations: Arc<Semaphore>,
    /// Sockets that may still open.
    pub(crate) sockets: Arc<Semaphore>,
}

impl<E: Executor, A: Authenticate> Transport<E, A> {
    /// Returns a route for `executor` that ends when `drain` begins.
    pub fn new(executor: E, authenticator: A, config: Config, drain: Drain) -> Self {
        let operations = Arc::new(Semaphore::new(config.operations_max));
        let sockets = Arc::new(Semaphore::new(config.sockets.sockets_max));
        Self {
            shared: Arc::new(Shared {
                executor,
                authenticator,
                config,
                drain,
                documents: Documents::default(),
                operations,
                sockets,
            }),
        }
    }

    /// Returns the handler of all methods, to be given a path of a router.
    pub fn into_route<S: Clone + Send + Sync + 'static>(self) -> MethodRouter<S> {
        any(handle::<E, A>).with_state(self)
    }
}

async fn handle<E: Executor, A: Authenticate>(
    State(transport): State<Transport<E, A>>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    if ws::is_upgrade(&parts.headers) {
        ws::open(transport.shared, parts).await
    } else {
        http::answer(&transport.shared, &parts, body).await
    }
}

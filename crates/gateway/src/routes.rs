//! The addresses of the HTTP listener.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::get,
};
use sipgraph_core::App;
use sipgraph_graphql_transport::{Drain, Transport, cors};

use crate::{
    auth::BearerTokens, config::Config, executor::Operations, graphiql::Assets, schema::build,
    validation::Validation,
};

/// Returns the HTTP front door: `/graphql` (POST, GET, WebSocket), `/` with GraphiQL, `/healthz` and `/readyz`.
///
/// To end it, begin `drain`, then call [`App::drain`], so that live streams tell their last cursor before their sockets
/// close, then wait for [`Drain::finished`] under a deadline. A router for a loopback listener is to be wrapped in
/// [`crate::loopback_hosts_only`].
pub fn router(app: Arc<App>, config: Config, drain: Drain) -> Router {
    let Config {
        origins,
        mut transport,
        meters,
    } = config;
    transport.origins = origins.clone();
    let operations = Operations {
        schema: build(),
        app: Arc::clone(&app),
        meters,
        validation: Validation::default(),
    };
    let authenticator = BearerTokens {
        app: Arc::clone(&app),
    };
    let graphql = Transport::new(operations, authenticator, transport, drain.clone());
    let page = Router::new()
        .route("/", get(index))
        .route("/{*path}", get(asset))
        .with_state(Arc::new(Assets::load()));
    let router = Router::new()
        .route("/graphql", graphql.into_route())
        .route("/healthz", get(async || StatusCode::NO_CONTENT))
        .route("/readyz", get(ready))
        .with_state(Readiness { app, drain })
        .merge(page);
    cors(router, origins)
}

/// What readiness is asked of.
#[derive(Clone)]
struct Readiness {
    app: Arc<App>,
    drain: Drain,
}

/// 204 when requests can be served; 503 when the database cannot be read or the program ends.
async fn ready(State(Readiness { app, drain }): State<Readiness>) -> Response {
    if drain.is_begun() {
        return (StatusCode::SERVICE_UNAVAILABLE, "the server ends\n").into_response();
    }
    match app.ready().await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => {
            tracing::debug!(%error, "not ready");
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "the database cannot be read\n",
            )
                .into_response()
        }
    }
}

async fn index(State(assets): State<Arc<Assets>>, headers: HeaderMap) -> Response {
    answer(&assets, "", &headers)
}

async fn asset(
    State(assets): State<Arc<Assets>>,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Response {
    answer(&assets, &path, &headers)
}

fn answer(assets: &Assets, path: &str, headers: &HeaderMap) -> Response {
    assets
        .answer(path, headers)
        .unwrap_or_else(|| (StatusCode::NOT_FOUND, "there is nothing here\n").into_response())
}

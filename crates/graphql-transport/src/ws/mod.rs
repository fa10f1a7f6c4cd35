//! graphql-transport-ws: the upgrade of a request, and the life of its socket.

mod connection;
mod message;
mod operation;

use std::sync::Arc;

use async_graphql::Executor;
use axum::{
    extract::{FromRequestParts, WebSocketUpgrade},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::Response,
};
use futures_util::StreamExt;

use crate::{Authenticate, code, http::error_response, transport::Shared};
use connection::Connection;

/// The only sub-protocol spoken here.
const PROTOCOL: &str = "graphql-transport-ws";

/// Returns whether a request asks for a WebSocket.
pub(crate) fn is_upgrade(headers: &HeaderMap) -> bool {
    headers
        .get(header::UPGRADE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
}

/// Upgrades a request, or says why not.
pub(crate) async fn open<E: Executor, A: Authenticate>(
    shared: Arc<Shared<E, A>>,
    mut parts: Parts,
) -> Response {
    if shared.drain.is_begun() {
        return error_response(
            StatusCode::SERVICE_UNAVAILABLE,
            code::UNAVAILABLE,
            "The server ends; try again",
        );
    }
    if !shared.config.origins.may_open(&parts.headers) {
        return error_response(
            StatusCode::FORBIDDEN,
            code::ORIGIN_NOT_ALLOWED,
            "This origin may not open a WebSocket; the operator can allow it",
        );
    }
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade,
        Err(error) => {
            return error_response(error.status(), code::BAD_REQUEST, &error.body_text());
        }
    };
    if !upgrade.requested_protocols().any(|offer| offer == PROTOCOL) {
        return error_response(
            StatusCode::BAD_REQUEST,
            code::BAD_REQUEST,
            "Offer the WebSocket sub-protocol graphql-transport-ws",
        );
    }
    let Ok(slot) = Arc::clone(&shared.sockets).try_acquire_owned() else {
        return error_response(
            StatusCode::SERVICE_UNAVAILABLE,
            code::UNAVAILABLE,
            "The server has as many sockets as it can hold",
        );
    };
    let message_bytes_max = shared.config.sockets.message_bytes_max;
    upgrade
        .protocols([PROTOCOL])
        .max_message_size(message_bytes_max)
        .max_frame_size(message_bytes_max)
        // The default of 128 KiB is what most of a quiet socket's memory would be.
        .read_buffer_size(4096)
        .write_buffer_size(0)
        .on_upgrade(async move |socket| {
            let running = shared.drain.running();
            let (sink, stream) = socket.split();
            Connection::new(shared, parts.headers, sink)
                .serve(stream)
                .await;
            drop((running, slot));
        })
}

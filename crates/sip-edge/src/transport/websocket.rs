//! SIP over WebSocket (RFC 7118): the route `/sip` of an HTTP listener, one SIP message in each message.
//!
//! It must not know who may call from a browser, nor whether the listener speaks TLS: whoever serves the route says
//! both. A socket that was opened is a connection like any other: same limits, same queue, same end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, any};
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use sip_validate::message::frame::{self, StreamDecoder};
use sipgraph_core::binding::Transport;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;

use super::connections::{Ended, Reading, WRITE_S_MAX, serve};
use super::{Flow, Inbound, Transports};

/// The only sub-protocol spoken here (RFC 7118 section 4.1).
const PROTOCOL: &str = "sip";
/// The octets to read at once; the library's 128 KiB would be most of what a quiet socket takes.
const READ_BYTES: usize = 4 * 1024;

/// Both ends of an HTTP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpPeer {
    /// The listener's address.
    pub local: SocketAddr,
    /// The client's address.
    pub remote: SocketAddr,
    /// Whether the connection is encrypted.
    pub is_secure: bool,
}

/// What the route needs.
struct Route<A> {
    transports: Arc<Transports>,
    admit: A,
}

/// Returns the route. `admit` says who asks, or nothing when a page of that origin may not.
pub(crate) fn route<A>(transports: Arc<Transports>, admit: A) -> MethodRouter
where
    A: Fn(&Parts) -> Option<HttpPeer> + Send + Sync + 'static,
{
    any(open::<A>).with_state(Arc::new(Route { transports, admit }))
}

/// Upgrades a request, or says why not.
async fn open<A>(State(route): State<Arc<Route<A>>>, request: Request) -> Response
where
    A: Fn(&Parts) -> Option<HttpPeer> + Send + Sync + 'static,
{
    let refuse = |status, text: &'static str| (status, text).into_response();
    let (mut parts, _) = request.into_parts();
    let Some(peer) = (route.admit)(&parts) else {
        return refuse(
            StatusCode::FORBIDDEN,
            "This origin may not open a WebSocket; the operator can allow it\n",
        );
    };
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    if !upgrade.requested_protocols().any(|offer| offer == PROTOCOL) {
        return refuse(
            StatusCode::BAD_REQUEST,
            "Offer the WebSocket sub-protocol sip\n",
        );
    }
    let transport = if peer.is_secure {
        Transport::Wss
    } else {
        Transport::Ws
    };
    let Some(shared) = route.transports.shared() else {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "The server ends\n");
    };
    let opened = shared.connections.open(transport, peer.local, peer.remote);
    let Some((flow, ends)) = opened else {
        return refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            "There are as many connections as there may be\n",
        );
    };
    let ping_every = route.transports.websocket_ping;
    upgrade
        .protocols([PROTOCOL])
        .max_message_size(StreamDecoder::BUFFER_BYTES_MAX)
        .max_frame_size(StreamDecoder::BUFFER_BYTES_MAX)
        .read_buffer_size(READ_BYTES)
        // Each message is written at once.
        .write_buffer_size(0)
        .on_upgrade(async move |socket| {
            let (sink, stream) = socket.split();
            let read = |reading| read(stream, flow, reading, ping_every);
            let write = |out, stop| write(sink, out, stop, ping_every);
            serve(flow, ends, shared, read, write).await;
        })
}

/// Reads until the peer closes, breaks the protocol, or answers no ping.
async fn read(
    mut stream: SplitStream<WebSocket>,
    flow: Flow,
    reading: Reading,
    ping_every: Duration,
) -> Ended {
    loop {
        // A browser answers each ping: who says nothing for two is gone, although its connection seems to be open.
        let next = timeout(ping_every * 2, stream.next());
        let message = match reading.next(next).await {
            Ok(Ok(Some(Ok(message)))) => message,
            Ok(Ok(Some(Err(error)))) => {
                tracing::debug!(%flow, %error, "connection lost");
                return Ended;
            }
            Ok(Err(_)) => {
                tracing::debug!(%flow, "connection closed: no answer to a ping");
                return Ended;
            }
            Ok(Ok(None)) | Err(Ended) => return Ended,
        };
        let octets = match message {
            Message::Text(text) => Bytes::from(text),
            Message::Binary(octets) => octets,
            Message::Ping(_) | Message::Pong(_) => continue,
            Message::Close(_) => return Ended,
        };
        let taken = match frame::websocket(&octets) {
            Some(Ok(message)) => reading.give(Inbound::Message(flow, message)).await,
            Some(Err(malformed)) => reading.give(Inbound::Malformed(flow, malformed)).await,
            // Line ends alone keep the way open (RFC 7118 section 6).
            None => reading.pong(),
        };
        if taken.is_err() {
            return Ended;
        }
    }
}

/// Writes what is queued, and pings between, until the queue is closed and empty, or a write fails.
async fn write(
    mut sink: SplitSink<WebSocket, Message>,
    mut out: mpsc::Receiver<Bytes>,
    stop: CancellationToken,
    ping_every: Duration,
) {
    let mut pings = interval_at(Instant::now() + ping_every, ping_every);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let message = tokio::select! {
            queued = out.recv() => match queued {
                Some(octets) => message(octets),
                None => break,
            },
            _ = pings.tick() => Message::Ping(Bytes::new()),
        };
        match timeout(WRITE_S_MAX, sink.send(message)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => {
                stop.cancel();
                return;
            }
        }
    }
    let close = CloseFrame {
        code: close_code::AWAY,
        reason: "".into(),
    };
    let _ = timeout(WRITE_S_MAX, sink.send(Message::Close(Some(close)))).await;
}

/// A text, as browsers expect, unless it can be none.
fn message(octets: Bytes) -> Message {
    match octets.clone().try_into() {
        Ok(text) => Message::Text(text),
        Err(_) => Message::Binary(octets),
    }
}

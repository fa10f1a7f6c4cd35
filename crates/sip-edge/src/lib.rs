//! The SIP front door: it registers devices, takes their messages and brings them theirs.
//!
//! It converts: a request becomes one call of a use case of core, and the answer becomes a status. It must
//! not contain rules about endpoints, messages or presence, nor SQL, nor GraphQL.
//!
//! # Reading order
//! 1. `sip_validate::message`: octets to messages and back, bounded.
//! 2. `transport`: sockets and flows. Nothing is sent but over a flow, and never to a host that a message names.
//! 3. `transaction`: retransmissions and timers, as pure state machines.
//! 4. `edge`: the way of a message through the parts, and the checks that each request gets.
//! 5. `authenticate`, `digest` and `defend`, `registrar`, `message_in`, `message_out`, `trunk`, `pace`, `names`, `qualify`: what a request means.
//! 6. `trace`: what is shown to an operator who watches one endpoint.
//!
//! # Invariants
//! - Every queue, table, buffer and wait has a bound, named beside it.
//! - Peers that have not authenticated themselves leave no memory behind and get one answer a request.
//! - Authorization and bodies are never logged; a trace shows bodies when asked, credentials never.

mod authenticate;
mod config;
mod defend;
mod digest;
mod edge;
mod message_in;
mod message_out;
mod meters;
mod names;
mod notices;
mod pace;
mod qualify;
mod registrar;
mod reply;
mod trace;
mod transaction;
mod transport;
mod trunk;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::request::Parts;
use axum::routing::MethodRouter;
use sipgraph_core::App;
use sipgraph_core::ports::Technology;
use tokio_util::sync::CancellationToken;

pub use config::{Config, Network, TRUNK_TIMEOUT, Tls};
pub use sipgraph_core::binding::Transport;
pub use trace::{Trace, Traced, Watched};
pub use transport::HttpPeer;

use edge::Edge;
use message_out::Sip;
use meters::Connections;
use prometheus_client::registry::Registry;
use transport::Transports;

/// The SIP edge with its listeners open, before it serves.
///
/// Config / build / task: [`SipEdge::bind`] opens the listeners, [`SipEdge::serve`] is the task.
pub struct SipEdge {
    edge: Arc<Edge>,
}

/// Begins traces of an edge.
#[derive(Clone)]
pub struct Traces(Arc<Edge>);

impl Traces {
    /// Begins to show the messages from and to an endpoint; `None` while too many watch already.
    #[must_use]
    pub fn watch(&self, watched: Watched) -> Option<Trace> {
        self.0.watchers.watch(watched)
    }
}

/// A listener could not be opened.
#[derive(Debug)]
pub struct BindError {
    /// What it is for: UDP, TCP or TLS.
    pub transport: Transport,
    /// The address of the listener.
    pub address: SocketAddr,
    /// What the system says.
    pub source: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot listen for SIP over {} on {}: {}",
            self.transport.as_str(),
            self.address,
            self.source
        )
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

impl SipEdge {
    /// Opens the listeners of `config`. Datagrams and connections that arrive now wait in the system until
    /// [`SipEdge::serve`].
    ///
    /// # Errors
    /// The first listener that cannot be opened.
    pub async fn bind(config: Config, app: Arc<App>) -> Result<Self, BindError> {
        let transports = Transports::bind(&config).await;
        let transports = transports.map_err(|(transport, address, source)| BindError {
            transport,
            address,
            source,
        })?;
        Ok(Self {
            edge: Arc::new(Edge::new(config, app, Arc::new(transports))),
        })
    }

    /// Returns the addresses of the listeners, UDP, TCP, TLS, each in the order of the configuration, with the
    /// ports that the system chose for port 0.
    #[must_use]
    pub fn addresses(&self) -> Vec<(Transport, SocketAddr)> {
        self.edge.transports.addresses().collect()
    }

    /// Returns the route of SIP over WebSocket (RFC 7118) for an HTTP listener. `admit` says who asks, or nothing when
    /// the request comes from a page that may not. Before [`SipEdge::serve`] and after its end it answers 503.
    pub fn websocket_route<A>(&self, admit: A) -> MethodRouter
    where
        A: Fn(&Parts) -> Option<HttpPeer> + Send + Sync + 'static,
    {
        transport::websocket_route(Arc::clone(&self.edge.transports), admit)
    }

    /// Puts the counters of the edge under their names (docs/metrics.md).
    pub fn register_meters(&self, registry: &mut Registry) {
        self.edge.meters.register(registry);
        let connections = Connections(Arc::clone(&self.edge.transports));
        registry.register_collector(Box::new(connections));
    }

    /// Returns what begins traces of this edge's signalling.
    #[must_use]
    pub fn traces(&self) -> Traces {
        Traces(Arc::clone(&self.edge))
    }

    /// Returns the technology `sip`, which delivers over the flows of this edge. Answers are received only
    /// while [`SipEdge::serve`] runs.
    #[must_use]
    pub fn technology(&self) -> Arc<dyn Technology> {
        Arc::new(Sip(Arc::clone(&self.edge)))
    }

    /// Serves until `stop` is cancelled; then closes the connections, waits up to 5 s for requests in
    /// progress, and returns. Bindings of the connections stay: core suspends them at the next start.
    /// Messages whose answer is still awaited stay of unknown outcome, as after a crash.
    ///
    /// Connections are taken as soon as this is called; the future is the task.
    pub fn serve(self, stop: CancellationToken) -> impl Future<Output = ()> + Send + 'static {
        let inbound = self.edge.transports.start(&stop);
        self.edge.run(inbound, stop)
    }
}

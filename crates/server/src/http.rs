//! The HTTP listeners: sockets, connections and their limits. It must not know what the router answers.
//!
//! `axum::serve` has neither a limit of connections nor a time limit for a request's head, so that one client could
//! hold the server with slow headers; hyper is driven here instead.

use crate::failure::Failure;
use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
#[cfg(target_os = "linux")]
use socket2::SockRef;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;

/// How long a client may take for a request's head, and how long a connection is kept between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client may leave unread what it was sent: as long as a head may take.
#[cfg(target_os = "linux")]
const UNREAD_TIMEOUT: Duration = HEAD_TIMEOUT;
/// How long a TLS handshake may take: many times what a slow client on a slow network needs.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait after the system refused a connection (no descriptor left), so that the loop does not spin.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// What to do about an address that can't be opened.
pub(crate) const TAKEN: &str = "Stop what uses it, or choose another (`sipgraph config` shows how; the demo takes --http-port and --sip-port).";

/// A listener that is open.
pub(crate) struct Listener {
    socket: TcpListener,
    /// Its real address.
    pub(crate) address: SocketAddr,
}

impl Listener {
    /// Opens a listener.
    ///
    /// # Errors
    /// [`Failure::Failed`] naming the key and the address.
    pub(crate) async fn open(key: &str, address: SocketAddr) -> Result<Self, Failure> {
        let refused = |error: std::io::Error| {
            Failure::failed(
                format_args!("{key}: {address} can't be opened"),
                format_args!("{error}. {TAKEN}"),
            )
        };
        let socket = TcpListener::bind(address).await.map_err(refused)?;
        let address = socket.local_addr().map_err(refused)?;
        Ok(Self { socket, address })
    }
}

/// Both ends of the connection that a request came by; an extension of each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The listener's address.
    pub(crate) local: SocketAddr,
    /// The client's address.
    pub(crate) remote: SocketAddr,
    /// Whether the connection is encrypted.
    pub(crate) is_secure: bool,
}

/// What all listeners share.
#[derive(Clone)]
pub(crate) struct Connections {
    free: Arc<Semaphore>,
    open: TaskTracker,
    stop: CancellationToken,
}

impl Connections {
    /// Prepares for at most `max` connections.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS))),
            open: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Accepts connections of a listener until [`Connections::stop`], with TLS if there is some.
    pub(crate) fn accept(&self, listener: Listener, tls: Option<TlsAcceptor>, router: Router) {
        let shared = self.clone();
        self.open.spawn(async move {
            loop {
                // A full server leaves newcomers in the system's queue.
                let permit = tokio::select! {
                    () = shared.stop.cancelled() => return,
                    permit = shared.free.clone().acquire_owned() => permit,
                };
                let accepted = tokio::select! {
                    () = shared.stop.cancelled() => return,
                    accepted = listener.socket.accept() => accepted,
                };
                match accepted {
                    Ok((stream, remote)) => {
                        let peer = Peer {
                            local: listener.address,
                            remote,
                            is_secure: tls.is_some(),
                        };
                        let (tls, router) = (tls.clone(), router.clone());
                        let stop = shared.stop.clone();
                        shared.open.spawn(async move {
                            connection(stream, peer, tls, router, stop).await;
                            drop(permit);
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(REFUSED_PAUSE).await;
                    }
                }
            }
        });
    }

    /// Closes the listeners; each connection ends after the request that it is in.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
        self.open.close();
    }

    /// Waits until no connection is open. Call it after [`Connections::stop`], under a deadline.
    pub(crate) async fn finished(&self) {
        self.open.wait().await;
    }
}

/// Serves one connection, after its handshake when there is TLS.
async fn connection(
    stream: TcpStream,
    peer: Peer,
    tls: Option<TlsAcceptor>,
    router: Router,
    stop: CancellationToken,
) {
    if let Err(error) = prepare(&stream) {
        tracing::debug!(%error, "a connection's options could not be set");
    }
    let Some(tls) = tls else {
        return requests(stream, peer, router, stop).await;
    };
    let accepted = tokio::select! {
        accepted = timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)) => accepted,
        () = stop.cancelled() => return,
    };
    match accepted {
        Ok(Ok(stream)) => requests(stream, peer, router, stop).await,
        Ok(Err(error)) => tracing::debug!(remote = %peer.remote, %error, "a TLS handshake failed"),
        Err(_) => tracing::debug!(remote = %peer.remote, "a TLS handshake took too long"),
    }
}

/// Serves the requests of one connection. A WebSocket leaves it at its upgrade; the transport counts and ends those.
async fn requests(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    router: Router,
    stop: CancellationToken,
) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        // A router is always ready.
        router.clone().call(request)
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut serving = std::pin::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}

/// Sets the options of a connection.
fn prepare(stream: &TcpStream) -> std::io::Result<()> {
    // Events are small and must not wait for more.
    stream.set_nodelay(true)?;
    // Neither hyper nor the WebSocket limits a write: a client that never reads would hold its place for good. Other
    // systems have no such option (RFC 5482); there the limit of connections is the only one.
    #[cfg(target_os = "linux")]
    SockRef::from(stream).set_tcp_user_timeout(Some(UNREAD_TIMEOUT))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::Notify;

    const DEADLINE: Duration = Duration::from_secs(20);

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_client_that_never_reads_is_given_up_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        let (_client, (stream, _)) = (client.unwrap(), accepted.unwrap());
        prepare(&stream).unwrap();
        let limit = SockRef::from(&stream).tcp_user_timeout().unwrap();
        assert_eq!(limit, Some(UNREAD_TIMEOUT));
    }

    #[tokio::test]
    async fn a_stop_closes_the_listener_and_lets_the_running_request_end() {
        let (entered, released) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (enter, release) = (entered.clone(), released.clone());
        let router = Router::new().route(
            "/",
            get(async move || {
                enter.notify_one();
                release.notified().await;
                "done"
            }),
        );
        let listener = Listener::open("http.listen", SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .unwrap();
        let address = listener.address;
        assert!(
            Listener::open("http.listen", address).await.is_err(),
            "it is taken"
        );

        let connections = Connections::new(10);
        connections.accept(listener, None, router);
        let mut client = TcpStream::connect(address).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
        client.write_all(request).await.unwrap();
        entered.notified().await;

        connections.stop();
        released.notify_one();
        let mut answer = String::new();
        // The connection is kept alive by HTTP/1.1 and closed by the stop alone.
        timeout(DEADLINE, client.read_to_string(&mut answer))
            .await
            .unwrap()
            .unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.ends_with("done"),
            "{answer}"
        );
        timeout(DEADLINE, connections.finished()).await.unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }
}

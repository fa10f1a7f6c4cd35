//! The HTTP listeners: sockets, connections and their limits. It must not know what the router answers.
//!
//! `axum::serve` has neither a limit of connections nor a time limit for a request's head, so that one client could
//! hold the server with slow headers; hyper is driven here instead.

use crate::failure::Failure;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
#[cfg(target_os = "linux")]
use socket2::SockRef;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a client may take for a request's head, and how long a connection is kept between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client may leave unread what it was sent: as long as a head may take.
#[cfg(target_os = "linux")]
const UNREAD_TIMEOUT: Duration = HEAD_TIMEOUT;
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
    /// [`Failure::Failed`] naming `http.listen` and the address.
    pub(crate) async fn open(address: SocketAddr) -> Result<Self, Failure> {
        let refused = |error: std::io::Error| {
            Failure::failed(
                format_args!("http.listen: {address} can't be opened"),
                format_args!("{error}. {TAKEN}"),
            )
        };
        let socket = TcpListener::bind(address).await.map_err(refused)?;
        let address = socket.local_addr().map_err(refused)?;
        Ok(Self { socket, address })
    }
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

    /// Accepts connections of a listener until [`Connections::stop`].
    pub(crate) fn accept(&self, listener: Listener, router: Router) {
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
                    Ok((stream, _)) => {
                        let (router, stop) = (router.clone(), shared.stop.clone());
                        shared.open.spawn(async move {
                            connection(stream, router, stop).await;
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

/// Serves one connection. A WebSocket leaves it at its upgrade; the transport counts and ends those.
async fn connection(stream: TcpStream, router: Router, stop: CancellationToken) {
    if let Err(error) = prepare(&stream) {
        tracing::debug!(%error, "a connection's options could not be set");
    }
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
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
    use tokio::time::timeout;

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
        let listener = Listener::open(SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .unwrap();
        let address = listener.address;
        assert!(Listener::open(address).await.is_err(), "it is taken");

        let connections = Connections::new(10);
        connections.accept(listener, router);
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

//! The open connections of every transport that has some: their queues, their limits, and how they are closed.
//!
//! It must not know sockets. Each connection has a task that reads, one that writes, and a bounded queue between
//! the edge and the writer.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sipgraph_core::binding::Transport;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{Flow, Inbound, SendError, plain};
use crate::config::Config;

/// The most messages that wait to be written to one connection; a peer that lets them pile up is closed.
const OUT_MAX: usize = 64;
/// How long one write may take, and all that is left once the connection is closed.
pub(super) const WRITE_S_MAX: Duration = Duration::from_secs(10);

/// What the tasks of a connection hold.
pub(super) struct Ends {
    pub(super) out: mpsc::Receiver<Bytes>,
    pub(super) authenticated: CancellationToken,
    /// Cancelled when the connection is closed.
    pub(super) stop: CancellationToken,
    pub(super) place: Place,
}

/// What a connection takes of the limits, until its socket is closed.
pub(super) struct Place {
    connections: Arc<Connections>,
    source: IpAddr,
    number: i64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.connections.lock();
        // It is there still when the connection ended before it was served, such as in its handshake.
        open.connections.remove(&self.number);
        open.places -= 1;
        if let Some(count) = open.per_source.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                open.per_source.remove(&self.source);
            }
        }
    }
}

struct Connection {
    /// Dropped to close: the writer then ends after the last message.
    out: mpsc::Sender<Bytes>,
    authenticated: CancellationToken,
    stop: CancellationToken,
}

/// The open connections.
pub(super) struct Connections {
    open: Mutex<Open>,
    connections_max: usize,
    per_source_max: usize,
    authenticate_s: Duration,
    idle_s: Duration,
}

#[derive(Default)]
struct Open {
    /// Those that can be sent over.
    connections: HashMap<i64, Connection>,
    /// Those whose socket is open: also the closed ones whose last messages are being written.
    places: usize,
    /// The same by their source.
    per_source: HashMap<IpAddr, usize>,
    opened: i64,
}

/// The address that limits count by: an IPv6 customer has a whole /64.
fn source_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
    }
}

impl Connections {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            open: Mutex::default(),
            connections_max: config.connections_max,
            per_source_max: config.connections_per_source_max,
            authenticate_s: config.authenticate_timeout,
            idle_s: config.idle_timeout,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection, unless there are too many.
    pub(super) fn open(
        self: &Arc<Self>,
        transport: Transport,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Option<(Flow, Ends)> {
        let remote = plain(remote);
        let source = source_of(remote.ip());
        let mut open = self.lock();
        let of_source = open.per_source.get(&source).copied().unwrap_or(0);
        if open.places >= self.connections_max || of_source >= self.per_source_max {
            tracing::debug!(%remote, "connection refused: too many are open");
            return None;
        }
        open.places += 1;
        open.per_source.insert(source, of_source + 1);
        open.opened += 1;
        let number = open.opened;
        let (sender, receiver) = mpsc::channel(OUT_MAX);
        let (authenticated, stop) = (CancellationToken::new(), CancellationToken::new());
        let ends = Ends {
            out: receiver,
            authenticated: authenticated.clone(),
            stop: stop.clone(),
            place: Place {
                connections: Arc::clone(self),
                source,
                number,
            },
        };
        open.connections.insert(
            number,
            Connection {
                out: sender,
                authenticated,
                stop,
            },
        );
        let flow = Flow {
            transport,
            local,
            remote,
            connection: number,
        };
        Some((flow, ends))
    }

    pub(super) fn send(&self, number: i64, octets: Bytes) -> Result<(), SendError> {
        let mut open = self.lock();
        let connection = open.connections.get(&number).ok_or(SendError::Gone)?;
        match connection.out.try_send(octets) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(SendError::Gone),
            Err(mpsc::error::TrySendError::Full(_)) => {
                if let Some(connection) = open.connections.remove(&number) {
                    connection.stop.cancel();
                }
                Err(SendError::QueueFull)
            }
        }
    }

    pub(super) fn close(&self, number: i64) {
        // The reader is stopped, the writer ends by itself when the queue is empty.
        if let Some(connection) = self.lock().connections.remove(&number) {
            connection.stop.cancel();
        }
    }

    pub(super) fn close_all(&self) {
        for (_, connection) in self.lock().connections.drain() {
            connection.stop.cancel();
        }
    }

    /// How many can be sent over.
    pub(super) fn count(&self) -> usize {
        self.lock().connections.len()
    }

    pub(super) fn is_open(&self, number: i64) -> bool {
        self.lock().connections.contains_key(&number)
    }

    pub(super) fn authenticated(&self, number: i64) {
        if let Some(connection) = self.lock().connections.get(&number) {
            connection.authenticated.cancel();
        }
    }

    /// Waits until the edge has closed a connection whose framing is lost, for as long as its answer may take.
    async fn closed(&self, number: i64) {
        let stop = self.lock().connections.get(&number).map(|c| c.stop.clone());
        if let Some(stop) = stop {
            let _ = timeout(WRITE_S_MAX, stop.cancelled()).await;
        }
    }
}

/// What whoever accepts connections has.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) connections: Arc<Connections>,
    pub(super) inbound: mpsc::Sender<Inbound>,
    /// Cancelled when nothing more is to be received.
    pub(super) stop: CancellationToken,
}

/// The side of a connection that reads: its time limits, and where its messages go.
pub(super) struct Reading {
    flow: Flow,
    authenticated: CancellationToken,
    authenticate_by: Instant,
    shared: Shared,
}

/// Nothing more is to be read: the connection is to be closed.
pub(super) struct Ended;

impl Reading {
    /// Waits for the next octets, until the peer has been silent or unknown for too long.
    pub(super) async fn next<T>(&self, read: impl Future<Output = T>) -> Result<T, Ended> {
        let idle_by = Instant::now() + self.shared.connections.idle_s;
        let mut read = std::pin::pin!(read);
        let taken = if self.authenticated.is_cancelled() {
            timeout_at(idle_by, read).await
        } else {
            tokio::select! {
                taken = timeout_at(self.authenticate_by.min(idle_by), read.as_mut()) => taken,
                // The answer to the first authenticated request lifts the limit.
                () = self.authenticated.cancelled() => timeout_at(idle_by, read).await,
            }
        };
        taken.map_err(|_| {
            let flow = self.flow;
            tracing::debug!(%flow, "connection closed: silent or not authenticated for too long");
            Ended
        })
    }

    /// Answers a ping of line ends with the pong of RFC 5626 section 4.4.1.
    pub(super) fn pong(&self) -> Result<(), Ended> {
        self.shared
            .connections
            .send(self.flow.connection, Bytes::from_static(b"\r\n"))
            .map_err(|_| Ended)
    }

    /// Gives what came to the edge. What follows a message without an end cannot be understood: the edge answers
    /// and closes.
    pub(super) async fn give(&self, item: Inbound) -> Result<(), Ended> {
        let is_over = matches!(&item, Inbound::Malformed(_, malformed) if malformed.unframed);
        self.shared.inbound.send(item).await.map_err(|_| Ended)?;
        if is_over {
            self.shared.connections.closed(self.flow.connection).await;
            return Err(Ended);
        }
        Ok(())
    }
}

/// Serves a connection to its end: `read` gives what the peer sends, `write` sends what is queued.
pub(super) async fn serve<R, W>(
    flow: Flow,
    ends: Ends,
    shared: Shared,
    read: impl FnOnce(Reading) -> R,
    write: impl FnOnce(mpsc::Receiver<Bytes>, CancellationToken) -> W,
) where
    R: Future<Output = Ended>,
    W: Future<Output = ()> + Send + 'static,
{
    let Ends {
        out,
        authenticated,
        stop,
        place,
    } = ends;
    let writing = tokio::spawn(write(out, stop.clone()));
    let reading = Reading {
        flow,
        authenticated: authenticated.clone(),
        authenticate_by: Instant::now() + shared.connections.authenticate_s,
        shared: shared.clone(),
    };
    tokio::select! {
        Ended = read(reading) => {}
        () = stop.cancelled() => {}
        // Answers to requests in progress still go out before the edge closes it.
        () = shared.stop.cancelled() => stop.cancelled().await,
    }
    shared.connections.close(flow.connection);
    end_within(writing, WRITE_S_MAX).await;
    drop(place);
    let was_authenticated = authenticated.is_cancelled();
    let _ = shared
        .inbound
        .send(Inbound::Closed {
            flow,
            was_authenticated,
        })
        .await;
}

/// Waits for the end of a writer, and ends it when its time is over: a peer that reads slowly must not keep its
/// socket.
async fn end_within(mut writing: JoinHandle<()>, time: Duration) {
    if timeout(time, &mut writing).await.is_err() {
        writing.abort();
        let _ = writing.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_writer_ends_in_its_time() {
        let (socket, closed) = tokio::sync::oneshot::channel::<()>();
        let writing = tokio::spawn(async move {
            let _socket = socket;
            std::future::pending().await
        });
        end_within(writing, Duration::from_millis(1)).await;
        assert!(closed.await.is_err());
        let (sender, mut written) = tokio::sync::oneshot::channel();
        let writing = tokio::spawn(async move { sender.send(()).unwrap() });
        end_within(writing, Duration::MAX).await;
        assert_eq!(written.try_recv(), Ok(()));
    }

    #[test]
    fn a_connection_that_was_never_served_gives_its_place_back() {
        let config = Config {
            connections_max: 1,
            ..Config::default()
        };
        let connections = Arc::new(Connections::new(&config));
        let (local, remote) = ("127.0.0.1:5061".parse().unwrap(), "192.0.2.1:9".parse());
        let open = || connections.open(Transport::Tls, local, remote.clone().unwrap());
        let (flow, ends) = open().unwrap();
        assert!(connections.is_open(flow.connection) && open().is_none());
        drop(ends);
        assert!(!connections.is_open(flow.connection) && open().is_some());
    }

    #[test]
    fn sources_are_ipv4_addresses_and_ipv6_networks() {
        for (address, source) in [
            ("192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("::1", "::"),
        ] {
            assert_eq!(source_of(address.parse().unwrap()).to_string(), source);
        }
    }
}

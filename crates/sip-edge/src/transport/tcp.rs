//! SIP over TCP: messages framed by Content-Length, keep-alives of RFC 5626.
//!
//! Each connection has a task that reads, one that writes, and a bounded queue between the edge and the
//! writer. A peer that does not read, does not authenticate itself, or says nothing, is closed.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use sip_validate::message::frame::{Frame, StreamDecoder};
use sipgraph_core::binding::Transport;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{Flow, Inbound, SendError, plain};
use crate::config::Config;

/// The most messages that wait to be written to one connection; a peer that lets them pile up is closed.
const OUT_MAX: usize = 64;
/// How long one write may take, and all that is left once the connection is closed.
const WRITE_S_MAX: Duration = Duration::from_secs(10);
/// The octets to read at once.
const READ_BYTES: usize = 4 * 1024;

/// A listening socket.
#[derive(Clone)]
pub(crate) struct TcpListener {
    listener: Arc<tokio::net::TcpListener>,
    pub(crate) local: SocketAddr,
}

impl TcpListener {
    pub(crate) async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = tokio::net::TcpListener::bind(address).await?;
        let local = listener.local_addr()?;
        Ok(Self {
            listener: Arc::new(listener),
            local,
        })
    }

    pub(crate) async fn accept(
        self,
        connections: Arc<Connections>,
        inbound: mpsc::Sender<Inbound>,
        stop: CancellationToken,
    ) {
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            let (stream, remote) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Mostly: no file descriptors left. A pause lets some be closed.
                    tracing::warn!(local = %self.local, %error, "accepting over TCP failed");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let Some((flow, ends)) = connections.open(self.local, plain(remote)) else {
                tracing::debug!(%remote, "connection refused: too many are open");
                continue;
            };
            // Messages are small and each is written at once.
            let _ = stream.set_nodelay(true);
            let (connections, inbound) = (Arc::clone(&connections), inbound.clone());
            tokio::spawn(serve(
                stream,
                flow,
                ends,
                connections,
                inbound,
                stop.clone(),
            ));
        }
    }
}

/// What the tasks of a connection hold.
pub(crate) struct Ends {
    out: mpsc::Receiver<Bytes>,
    authenticated: CancellationToken,
    stop: CancellationToken,
    place: Place,
}

/// What a connection takes of the limits, until its socket is closed.
struct Place {
    connections: Arc<Connections>,
    source: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.connections.lock();
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
pub(crate) struct Connections {
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
    pub(crate) fn new(config: &Config) -> Self {
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
    fn open(self: &Arc<Self>, local: SocketAddr, remote: SocketAddr) -> Option<(Flow, Ends)> {
        let source = source_of(remote.ip());
        let mut open = self.lock();
        let of_source = open.per_source.get(&source).copied().unwrap_or(0);
        if open.places >= self.connections_max || of_source >= self.per_source_max {
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
        Some((
            Flow {
                transport: Transport::Tcp,
                local,
                remote,
                connection: number,
            },
            ends,
        ))
    }

    pub(crate) fn send(&self, number: i64, octets: Bytes) -> Result<(), SendError> {
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

    pub(crate) fn close(&self, number: i64) {
        // The reader is stopped, the writer ends by itself when the queue is empty.
        if let Some(connection) = self.lock().connections.remove(&number) {
            connection.stop.cancel();
        }
    }

    pub(crate) fn close_all(&self) {
        for (_, connection) in self.lock().connections.drain() {
            connection.stop.cancel();
        }
    }

    pub(crate) fn is_open(&self, number: i64) -> bool {
        self.lock().connections.contains_key(&number)
    }

    pub(crate) fn authenticated(&self, number: i64) {
        if let Some(connection) = self.lock().connections.get(&number) {
            connection.authenticated.cancel();
        }
    }
}

async fn serve(
    stream: TcpStream,
    flow: Flow,
    ends: Ends,
    connections: Arc<Connections>,
    inbound: mpsc::Sender<Inbound>,
    drain: CancellationToken,
) {
    let Ends {
        out,
        authenticated,
        stop,
        place,
    } = ends;
    let (reader, writer) = stream.into_split();
    let writing = tokio::spawn(write(writer, out, stop.clone()));
    tokio::select! {
        () = read(reader, flow, &authenticated, &connections, &inbound) => {}
        () = stop.cancelled() => {}
        // Answers to requests in progress still go out before the edge closes it.
        () = drain.cancelled() => stop.cancelled().await,
    }
    connections.close(flow.connection);
    end_within(writing, WRITE_S_MAX).await;
    drop(place);
    let was_authenticated = authenticated.is_cancelled();
    let _ = inbound
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

/// Reads until the peer closes, breaks the framing or is silent for too long.
async fn read(
    mut stream: OwnedReadHalf,
    flow: Flow,
    authenticated: &CancellationToken,
    connections: &Connections,
    inbound: &mpsc::Sender<Inbound>,
) {
    let mut decoder = StreamDecoder::default();
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    let authenticate_by = Instant::now() + connections.authenticate_s;
    loop {
        // The buffer cannot grow: all whole messages were taken from it, and a partial one is bounded.
        debug_assert!(
            buffer.len() <= StreamDecoder::BUFFER_BYTES_MAX,
            "the decoder bounds what it leaves"
        );
        buffer.reserve(READ_BYTES);
        let idle_by = Instant::now() + connections.idle_s;
        let length = if authenticated.is_cancelled() {
            timeout_at(idle_by, stream.read_buf(&mut buffer)).await
        } else {
            tokio::select! {
                length = timeout_at(authenticate_by.min(idle_by), stream.read_buf(&mut buffer)) => length,
                // The answer to the first authenticated request lifts the limit.
                () = authenticated.cancelled() => continue,
            }
        };
        match length {
            Ok(Ok(length)) if length > 0 => {}
            Ok(Ok(_)) => return,
            Ok(Err(error)) => {
                tracing::debug!(%flow, %error, "connection lost");
                return;
            }
            Err(_) => {
                tracing::debug!(%flow, "connection closed: silent or not authenticated for too long");
                return;
            }
        }
        while let Some(frame) = decoder.decode(&mut buffer) {
            let (item, is_over) = match frame {
                Frame::Ping => {
                    // The pong of RFC 5626 section 4.4.1.
                    if connections
                        .send(flow.connection, Bytes::from_static(b"\r\n"))
                        .is_err()
                    {
                        return;
                    }
                    continue;
                }
                Frame::Message(message) => (Inbound::Message(flow, message), false),
                Frame::Malformed(malformed) => {
                    let is_over = malformed.unframed;
                    (Inbound::Malformed(flow, malformed), is_over)
                }
            };
            if inbound.send(item).await.is_err() {
                return;
            }
            if is_over {
                // The edge answers and closes; what follows cannot be understood.
                let _ = timeout(WRITE_S_MAX, connections_closed(connections, flow)).await;
                return;
            }
        }
    }
}

/// Waits until the edge has closed the connection.
async fn connections_closed(connections: &Connections, flow: Flow) {
    let stop = connections
        .lock()
        .connections
        .get(&flow.connection)
        .map(|c| c.stop.clone());
    if let Some(stop) = stop {
        stop.cancelled().await;
    }
}

/// Writes what is queued until the queue is closed and empty, or a write fails.
async fn write(
    mut stream: OwnedWriteHalf,
    mut out: mpsc::Receiver<Bytes>,
    stop: CancellationToken,
) {
    while let Some(octets) = out.recv().await {
        match timeout(WRITE_S_MAX, stream.write_all(&octets)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => {
                stop.cancel();
                return;
            }
        }
    }
    let _ = stream.shutdown().await;
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
}

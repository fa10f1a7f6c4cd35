//! SIP over TCP and over TLS: messages framed by Content-Length, keep-alives of RFC 5626.
//!
//! A peer that does not read, does not end its handshake, does not authenticate itself, or says nothing, is closed.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rustls::pki_types::ServerName;
use sip_validate::message::frame::{Frame, StreamDecoder};
use sipgraph_core::binding::Transport;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::sync::CancellationToken;

use super::connections::{Ended, Ends, Reading, Shared, WRITE_S_MAX, serve};
use super::{Flow, Inbound, SendError};

/// The octets to read at once.
const READ_BYTES: usize = 4 * 1024;
/// How long a TLS handshake may take: many times what a slow phone on a slow network needs.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long connecting may take: a lost SYN is sent again after 1 s and 3 s.
const CONNECT: Duration = Duration::from_secs(8);

/// A listening socket.
#[derive(Clone)]
pub(super) struct StreamListener {
    listener: Arc<tokio::net::TcpListener>,
    pub(super) local: SocketAddr,
    /// The server's side of TLS; none on TCP.
    tls: Option<TlsAcceptor>,
}

impl StreamListener {
    pub(super) async fn bind(address: SocketAddr, tls: Option<TlsAcceptor>) -> io::Result<Self> {
        let listener = tokio::net::TcpListener::bind(address).await?;
        let local = listener.local_addr()?;
        Ok(Self {
            listener: Arc::new(listener),
            local,
            tls,
        })
    }

    pub(super) fn transport(&self) -> Transport {
        match self.tls {
            None => Transport::Tcp,
            Some(_) => Transport::Tls,
        }
    }

    pub(super) async fn accept(self, shared: Shared) {
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = shared.stop.cancelled() => return,
            };
            let (stream, remote) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Mostly: no file descriptors left. A pause lets some be closed.
                    tracing::warn!(local = %self.local, %error, "accepting a connection failed");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let opened = shared
                .connections
                .open(self.transport(), self.local, remote);
            let Some((flow, ends)) = opened else {
                continue;
            };
            // Messages are small and each is written at once.
            let _ = stream.set_nodelay(true);
            let (tls, shared) = (self.tls.clone(), shared.clone());
            tokio::spawn(async move {
                match tls {
                    None => {
                        let (reader, writer) = stream.into_split();
                        run(reader, writer, flow, ends, shared).await;
                    }
                    Some(tls) => {
                        let Some(stream) = shake_hands(&tls, stream, &flow, &shared.stop).await
                        else {
                            return;
                        };
                        let (reader, writer) = tokio::io::split(stream);
                        run(reader, writer, flow, ends, shared).await;
                    }
                }
            });
        }
    }
}

/// A connection that we open.
pub(super) struct Client {
    pub(super) tls: Option<Arc<rustls::ClientConfig>>,
    pub(super) transport: Transport,
    pub(super) remote: SocketAddr,
}

impl Client {
    /// Connects and serves the connection in a task of its own; `host` is the name that a certificate must have.
    pub(super) async fn connect(self, host: &str, shared: Shared) -> Result<Flow, SendError> {
        let failed = |error: io::Error| SendError::Io(error.to_string());
        let slow = || SendError::Io("the connection was not made in time".to_owned());
        let connected = timeout(CONNECT, TcpStream::connect(self.remote)).await;
        let stream = connected.map_err(|_| slow())?.map_err(failed)?;
        let _ = stream.set_nodelay(true);
        let local = stream.local_addr().map_err(failed)?;
        let connections = Arc::clone(&shared.connections);
        let serve = |shared: &Shared| {
            let opened = shared.connections.open(self.transport, local, self.remote);
            let (flow, ends) = opened.ok_or(SendError::QueueFull)?;
            // Who it is we know: we called.
            connections.authenticated(flow.connection);
            Ok::<_, SendError>((flow, ends))
        };
        if self.transport == Transport::Tcp {
            let (flow, ends) = serve(&shared)?;
            let (reader, writer) = stream.into_split();
            tokio::spawn(run(reader, writer, flow, ends, shared));
            return Ok(flow);
        }
        let tls = self.tls.filter(|_| self.transport == Transport::Tls);
        let tls = tls.ok_or_else(|| SendError::Io("the transport can't be opened".to_owned()))?;
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| SendError::Io(format!("no certificate has the name {host}")))?;
        let shaken = timeout(HANDSHAKE, TlsConnector::from(tls).connect(name, stream)).await;
        let stream = shaken.map_err(|_| slow())?.map_err(failed)?;
        let (flow, ends) = serve(&shared)?;
        let (reader, writer) = tokio::io::split(stream);
        tokio::spawn(run(reader, writer, flow, ends, shared));
        Ok(flow)
    }
}

async fn shake_hands(
    tls: &TlsAcceptor,
    stream: TcpStream,
    flow: &Flow,
    stop: &CancellationToken,
) -> Option<tokio_rustls::server::TlsStream<TcpStream>> {
    let accepted = tokio::select! {
        accepted = timeout(HANDSHAKE, tls.accept(stream)) => accepted,
        () = stop.cancelled() => return None,
    };
    match accepted {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(%flow, %error, "the TLS handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!(%flow, "the TLS handshake took too long");
            None
        }
    }
}

async fn run(
    reader: impl AsyncRead + Unpin,
    writer: impl AsyncWrite + Unpin + Send + 'static,
    flow: Flow,
    ends: Ends,
    shared: Shared,
) {
    let read = |reading| read(reader, flow, reading);
    let write = |out, stop| write(writer, out, stop);
    serve(flow, ends, shared, read, write).await;
}

/// Reads until the peer closes, breaks the framing or is silent for too long.
async fn read(mut stream: impl AsyncRead + Unpin, flow: Flow, reading: Reading) -> Ended {
    let mut decoder = StreamDecoder::default();
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    loop {
        // The buffer cannot grow: all whole messages were taken from it, and a partial one is bounded.
        debug_assert!(
            buffer.len() <= StreamDecoder::BUFFER_BYTES_MAX,
            "the decoder bounds what it leaves"
        );
        buffer.reserve(READ_BYTES);
        match reading.next(stream.read_buf(&mut buffer)).await {
            Ok(Ok(length)) if length > 0 => {}
            Ok(Ok(_)) => return Ended,
            Ok(Err(error)) => {
                tracing::debug!(%flow, %error, "connection lost");
                return Ended;
            }
            Err(Ended) => return Ended,
        }
        while let Some(frame) = decoder.decode(&mut buffer) {
            let taken = match frame {
                Frame::Ping => reading.pong(),
                Frame::Message(message) => reading.give(Inbound::Message(flow, message)).await,
                Frame::Malformed(malformed) => {
                    reading.give(Inbound::Malformed(flow, malformed)).await
                }
            };
            if taken.is_err() {
                return Ended;
            }
        }
    }
}

/// Writes what is queued until the queue is closed and empty, or a write fails.
async fn write(
    mut stream: impl AsyncWrite + Unpin,
    mut out: mpsc::Receiver<Bytes>,
    stop: CancellationToken,
) {
    while let Some(octets) = out.recv().await {
        let written = timeout(WRITE_S_MAX, async {
            stream.write_all(&octets).await?;
            stream.flush().await
        });
        match written.await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => {
                stop.cancel();
                return;
            }
        }
    }
    let _ = stream.shutdown().await;
}

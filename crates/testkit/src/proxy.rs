//! A TCP relay that a test can cut, hold, or make cut itself in the middle of a commit.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    sync::watch,
    task::JoinHandle,
};

/// One copy step of the relay; larger than any message of these tests.
const CHUNK_BYTES: usize = 64 * 1024;

/// What the relay does with the bytes that pass.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Mode {
    /// Hand them on.
    Pass,
    /// Close every connection and refuse new ones.
    Cut,
    /// Keep connections open and hand nothing on, in either direction.
    Hold,
    /// Hand on until a client sends these bytes: hand them on too, then cut before any answer comes back.
    CutAfter(Vec<u8>),
    /// Hand on until a client sends these bytes: cut before they are handed on.
    CutBefore(Vec<u8>),
}

/// A relay on 127.0.0.1 in front of one address.
pub struct Proxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    connections: Arc<AtomicUsize>,
    accept: JoinHandle<()>,
}

impl Proxy {
    /// Starts a relay to `target` on a port of its own.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .expect("a port is free");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let (mode, _) = watch::channel(Mode::Pass);
        let connections = Arc::new(AtomicUsize::new(0));
        let accept = tokio::spawn(accept(
            listener,
            target,
            mode.clone(),
            Arc::clone(&connections),
        ));
        Self {
            address,
            mode,
            connections,
            accept,
        }
    }

    /// Where the relay listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it has handed on since its start.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Closes every connection and refuses new ones until [`Proxy::pass`].
    pub fn cut(&self) {
        self.mode.send_replace(Mode::Cut);
    }

    /// Keeps connections open and hands nothing on until [`Proxy::pass`].
    pub fn hold(&self) {
        self.mode.send_replace(Mode::Hold);
    }

    /// Hands everything on (also what was held).
    pub fn pass(&self) {
        self.mode.send_replace(Mode::Pass);
    }

    /// Cuts once a client has sent `bytes`, after handing them on: the server gets them, their answer is lost.
    pub fn cut_after(&self, bytes: &[u8]) {
        self.mode.send_replace(Mode::CutAfter(bytes.to_vec()));
    }

    /// Cuts once a client has sent `bytes`, before handing them on: the server never sees them.
    pub fn cut_before(&self, bytes: &[u8]) {
        self.mode.send_replace(Mode::CutBefore(bytes.to_vec()));
    }

    /// Waits until the relay has cut itself after [`Proxy::cut_after`] or [`Proxy::cut_before`].
    pub async fn was_cut(&self) {
        let mut mode = self.mode.subscribe();
        let _ = mode.wait_for(|mode| *mode == Mode::Cut).await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
        self.accept.abort();
    }
}

async fn accept(
    listener: TcpListener,
    target: SocketAddr,
    mode: watch::Sender<Mode>,
    connections: Arc<AtomicUsize>,
) {
    while let Ok((client, _)) = listener.accept().await {
        if *mode.borrow() == Mode::Cut {
            continue;
        }
        let mode = mode.clone();
        let connections = Arc::clone(&connections);
        tokio::spawn(async move {
            let Ok(server) = TcpStream::connect(target).await else {
                return;
            };
            connections.fetch_add(1, Ordering::SeqCst);
            let (client_read, client_write) = client.into_split();
            let (server_read, server_write) = server.into_split();
            let mut cut = mode.subscribe();
            tokio::select! {
                () = copy(client_read, server_write, &mode, true) => {}
                () = copy(server_read, client_write, &mode, false) => {}
                _ = cut.wait_for(|mode| *mode == Mode::Cut) => {}
            }
        });
    }
}

/// Copies one direction until an end or a cut.
async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mode: &watch::Sender<Mode>,
    from_client: bool,
) {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut changes = mode.subscribe();
    loop {
        let read = match from.read(&mut chunk).await {
            Ok(0) | Err(_) => return,
            Ok(read) => read,
        };
        let bytes = chunk.get(..read).unwrap_or_default();
        if changes.wait_for(|mode| *mode != Mode::Hold).await.is_err() {
            return;
        }
        let now = mode.borrow().clone();
        match now {
            Mode::CutBefore(wanted) if from_client && contains(bytes, &wanted) => {
                mode.send_replace(Mode::Cut);
                return;
            }
            Mode::CutAfter(wanted) if from_client && contains(bytes, &wanted) => {
                // The answer cannot overtake the cut: both directions end when the mode changes,
                // and this task changes it before it yields to the one that reads the answer.
                let written = to.try_write(bytes);
                mode.send_replace(Mode::Cut);
                if written.is_ok() {
                    let _ = to.shutdown().await;
                }
                return;
            }
            _ => {}
        }
        if to.write_all(bytes).await.is_err() {
            return;
        }
    }
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

//! SIP over UDP: one message a datagram.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sip_validate::message::frame;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Flow, Inbound, SendError, plain};

/// The longest datagram; longer ones cannot exist.
const DATAGRAM_BYTES_MAX: usize = 65_535;

/// A socket that receives and sends.
#[derive(Clone)]
pub(crate) struct UdpListener {
    socket: Arc<UdpSocket>,
    pub(crate) local: SocketAddr,
}

impl UdpListener {
    pub(crate) async fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(address).await?;
        let local = socket.local_addr()?;
        Ok(Self {
            socket: Arc::new(socket),
            local,
        })
    }

    /// Whether it also takes IPv4, as the system lets a listener on `[::]` do.
    pub(crate) fn is_dual(&self) -> bool {
        self.local.is_ipv6() && self.local.ip().is_unspecified()
    }

    pub(crate) async fn receive(self, inbound: mpsc::Sender<Inbound>, stop: CancellationToken) {
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        loop {
            let received = tokio::select! {
                received = self.socket.recv_from(&mut buffer) => received,
                () = stop.cancelled() => return,
            };
            let (length, remote) = match received {
                Ok(received) => received,
                Err(error) => {
                    // Some systems report here that an earlier datagram was refused. A pause keeps a
                    // lasting error from taking a whole processor.
                    tracing::debug!(local = %self.local, %error, "receiving over UDP failed");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                }
            };
            let flow = Flow::udp(self.local, remote);
            let item = match frame::datagram(&buffer[..length]) {
                Some(Ok(message)) => Inbound::Message(flow, message),
                Some(Err(malformed)) => Inbound::Malformed(flow, malformed),
                None => continue,
            };
            if inbound.try_send(item).is_err() {
                tracing::debug!(%flow, "datagram dropped: too much waits");
            }
        }
    }

    pub(crate) async fn send(&self, octets: &[u8], remote: SocketAddr) -> Result<(), SendError> {
        let remote = match remote {
            SocketAddr::V4(v4) if self.is_dual() => {
                SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port())
            }
            other => other,
        };
        debug_assert!(
            plain(remote) == remote || self.is_dual(),
            "a mapped address needs a dual-stack socket"
        );
        match self.socket.send_to(octets, remote).await {
            Ok(_) => Ok(()),
            Err(error) => Err(SendError::Io(error.to_string())),
        }
    }
}

//! SIP over UDP: one message a datagram.
//!
//! Datagrams are read by a thread of their own, which waits for them in the system and for nothing else. A task would have the
//! runtime ask the system for each of them whether there is one, and wake another thread to look for more work.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use sip_validate::message::frame;
use tokio_util::sync::CancellationToken;

use super::{Flow, Inbound, SendError, plain};

/// The longest datagram; longer ones cannot exist.
const DATAGRAM_BYTES_MAX: usize = 65_535;
/// How soon the reading thread sees that it is to stop.
const STOP_LOOK: Duration = Duration::from_millis(100);
/// How long the system may take a datagram; its buffer is full only while the network is. What is not taken is lost, as it may
/// be anywhere on its way.
const SEND_MAX: Duration = Duration::from_millis(10);

/// A socket that receives and sends.
#[derive(Clone)]
pub(crate) struct UdpListener {
    socket: Arc<UdpSocket>,
    pub(crate) local: SocketAddr,
}

impl UdpListener {
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(address)?;
        socket.set_read_timeout(Some(STOP_LOOK))?;
        socket.set_write_timeout(Some(SEND_MAX))?;
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

    /// Gives each message to `take`, on a thread of its own, until `stop` is cancelled.
    pub(crate) fn receive(
        self,
        mut take: impl FnMut(Inbound) + Send + 'static,
        stop: CancellationToken,
    ) {
        let local = self.local;
        let reading = std::thread::Builder::new().name("sip-udp".to_owned());
        let reading = reading.spawn(move || {
            let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
            while !stop.is_cancelled() {
                if let Some(item) = self.read(&mut buffer) {
                    take(item);
                }
            }
        });
        if let Err(error) = reading {
            tracing::error!(%local, %error, "no thread reads this listener");
        }
    }

    /// Waits for a message; `None` when none came, or something that is none.
    fn read(&self, buffer: &mut [u8]) -> Option<Inbound> {
        let (length, remote) = match self.socket.recv_from(buffer) {
            Ok(received) => received,
            Err(error) => {
                let waited = [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut];
                if !waited.contains(&error.kind()) {
                    // Some systems report here that an earlier datagram was refused. A pause keeps a
                    // lasting error from taking a whole processor.
                    tracing::debug!(local = %self.local, %error, "receiving over UDP failed");
                    std::thread::sleep(Duration::from_millis(10));
                }
                return None;
            }
        };
        let flow = Flow::udp(self.local, remote);
        Some(match frame::datagram(&buffer[..length])? {
            Ok(message) => Inbound::Message(flow, message),
            Err(malformed) => Inbound::Malformed(flow, malformed),
        })
    }

    pub(crate) fn send(&self, octets: &[u8], remote: SocketAddr) -> Result<(), SendError> {
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
        match self.socket.send_to(octets, remote) {
            Ok(_) => Ok(()),
            Err(error) => Err(SendError::Io(error.to_string())),
        }
    }
}

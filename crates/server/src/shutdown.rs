//! When and how long to drain: the signals, and the deadlines of each phase. Together the phases take less than the
//! ten seconds that the program promises.

use crate::failure::Failure;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// For running requests and sockets to end, and for rounds of delivery whose phone answers just now.
pub(crate) const FRONT: Duration = Duration::from_secs(4);
/// Within [`FRONT`]: for rounds of delivery.
pub(crate) const ROUNDS: Duration = Duration::from_secs(3);
/// For requests of devices to be answered.
pub(crate) const SIP: Duration = Duration::from_secs(3);
/// For what waits in memory to be written.
pub(crate) const FLUSH: Duration = Duration::from_millis(1500);
/// For the database to be closed.
pub(crate) const CLOSE: Duration = Duration::from_millis(1000);

/// The signals that end the program.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Begins to listen, so that a signal during the start is not lost.
    ///
    /// # Errors
    /// When the system refuses it.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let refused = |error| Failure::failed("Signals can't be received", error);
        Ok(Self {
            terminate: signal(SignalKind::terminate()).map_err(refused)?,
            interrupt: signal(SignalKind::interrupt()).map_err(refused)?,
        })
    }

    /// Waits for the next signal.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

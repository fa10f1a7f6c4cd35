//! Many senders at once, each sending one message after another, as many clients do.

use crate::Failure;
use futures_util::future::try_join_all;
use std::time::{Duration, Instant};

/// How many send at once; the number of the promise.
pub(crate) const SENDERS: usize = 64;

/// What a round of sends took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Round {
    /// How many were sent.
    pub(crate) sends: u32,
    /// From the first to the last acknowledgement.
    pub(crate) wall: Duration,
}

impl Round {
    /// Sends per second.
    pub(crate) fn rate(self) -> f64 {
        f64::from(self.sends) / self.wall.as_secs_f64()
    }
}

/// Runs one task per sender and waits for all of them. `sender` is given the sender's number and gives how many it sent.
///
/// # Errors
/// A send failed.
pub(crate) async fn round<F, Sending>(sender: F) -> Result<Round, Failure>
where
    F: Fn(usize) -> Sending,
    Sending: Future<Output = Result<u32, Failure>> + Send + 'static,
{
    let start = Instant::now();
    let tasks: Vec<_> = (0..SENDERS).map(|n| tokio::spawn(sender(n))).collect();
    let sent = try_join_all(tasks).await?;
    let wall = start.elapsed();
    let mut sends = 0;
    for sent in sent {
        sends += sent?;
    }
    Ok(Round { sends, wall })
}

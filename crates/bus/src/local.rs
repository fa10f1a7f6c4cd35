//! Wakes within one process.

use futures_util::stream::{self, BoxStream, StreamExt as _};
use sipgraph_core::ports::{Bus, Wake};
use tokio::sync::broadcast::{self, error::RecvError};

/// Wakes kept for a reader that is slow; it misses older ones, which is harmless, because a newer wake of the same account
/// tells more and the look once a second finds the rest.
const KEPT: usize = 1024;

/// A bus for one node.
#[derive(Debug, Clone)]
pub struct LocalBus {
    wakes: broadcast::Sender<Wake>,
}

impl LocalBus {
    /// Makes a bus without readers.
    #[must_use]
    pub fn new() -> Self {
        Self {
            wakes: broadcast::Sender::new(KEPT),
        }
    }
}

impl Default for LocalBus {
    fn default() -> Self {
        Self::new()
    }
}

impl Bus for LocalBus {
    fn wake(&self, wake: Wake) {
        // An error means that nobody listens.
        let _ = self.wakes.send(wake);
    }

    fn wakes(&self) -> BoxStream<'static, Wake> {
        stream::unfold(self.wakes.subscribe(), |mut receiver| async {
            loop {
                match receiver.recv().await {
                    Ok(wake) => return Some((wake, receiver)),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                }
            }
        })
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sipgraph_core::AccountId;

    #[tokio::test]
    async fn every_reader_is_woken_and_a_slow_one_misses_only_old_wakes() {
        let bus = LocalBus::new();
        let wake = |seq| Wake {
            account: AccountId([1; 16]),
            seq,
        };
        bus.wake(wake(1));
        let (mut one, mut two) = (bus.wakes(), bus.wakes());
        bus.wake(wake(2));
        assert_eq!(one.next().await, Some(wake(2)));
        for seq in 3..5000 {
            bus.wake(wake(seq));
        }
        let mut last = 0;
        while last < 4999 {
            last = two.next().await.unwrap().seq;
        }
        drop(bus);
        assert_eq!(two.next().await, None);
    }
}

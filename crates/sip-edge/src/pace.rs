//! The pace of a trunk with a limit: its messages leave one after the other, each so long after the one before.
//!
//! It must not know what is sent, or decide which message goes first: they go as they ask.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sipgraph_core::EndpointId;
use sipgraph_core::ports::{Pace, TRUNK_WAIT_MAX};
use tokio::sync::{Mutex as Line, OwnedMutexGuard};
use tokio::time::{Instant, sleep_until, timeout};

/// When the next message may go to each trunk with a limit. Whoever has the turn holds the line, and gives it to the next in
/// the order of asking.
#[derive(Default)]
pub(crate) struct Paces(Mutex<HashMap<EndpointId, Arc<Line<Instant>>>>);

/// A turn to send one message: until it is dropped nobody else has one at the trunk.
pub(crate) struct Turn {
    next: OwnedMutexGuard<Instant>,
    interval: Duration,
}

impl Drop for Turn {
    fn drop(&mut self) {
        *self.next = Instant::now() + self.interval;
    }
}

/// The turn did not come within [`TRUNK_WAIT_MAX`].
pub(crate) struct TooSlow;

impl Paces {
    /// Waits for the turn at a trunk, to be dropped when the message has left; none is needed without a limit.
    pub(crate) async fn turn(&self, pace: Option<Pace>) -> Result<Option<Turn>, TooSlow> {
        let Some(pace) = pace else {
            return Ok(None);
        };
        let line = self.line(pace.trunk);
        let turn = async {
            let next = line.lock_owned().await;
            sleep_until(*next).await;
            let interval = pace.interval();
            Turn { next, interval }
        };
        timeout(TRUNK_WAIT_MAX, turn)
            .await
            .map(Some)
            .map_err(|_| TooSlow)
    }

    /// The line at a trunk; those that nobody waits in, and that hold nobody up, are given up.
    fn line(&self, trunk: EndpointId) -> Arc<Line<Instant>> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        lines.retain(|_, line| {
            Arc::strong_count(line) > 1 || line.try_lock().map_or(true, |next| *next > now)
        });
        Arc::clone(
            lines
                .entry(trunk)
                .or_insert_with(|| Arc::new(Line::new(now))),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;

    fn pace(n: u8, per_second: u32) -> Option<Pace> {
        Some(Pace {
            trunk: EndpointId([n; 16]),
            per_second: NonZeroU32::new(per_second).unwrap(),
        })
    }

    #[tokio::test]
    async fn h163_messages_leave_so_long_after_each_other() {
        let paces = Arc::new(Paces::default());
        let (interval, takes) = (Duration::from_millis(20), Duration::from_millis(30));
        let turns: Vec<_> = (0..5_u32)
            .map(|place| {
                let paces = Arc::clone(&paces);
                tokio::spawn(async move {
                    let turn = paces.turn(pace(1, 50)).await.ok().flatten();
                    let begun = Instant::now();
                    // What a message takes to leave bunches nothing.
                    sleep_until(begun + takes * (place % 2)).await;
                    let left = Instant::now();
                    drop(turn.expect("a turn"));
                    (begun, left)
                })
            })
            .collect();
        let mut times = Vec::new();
        for turn in turns {
            times.push(turn.await.unwrap());
        }
        times.sort();
        for (before, after) in times.iter().zip(times.iter().skip(1)) {
            assert!(after.0 - before.1 >= interval, "{times:?}");
        }
    }

    #[tokio::test]
    async fn h163_a_trunk_holds_up_no_other() {
        let paces = Paces::default();
        let held = paces.turn(pace(1, 1)).await.ok().flatten();
        assert!(held.is_some());
        for other in [pace(2, 1), None, None] {
            let turn = paces.turn(other).await.ok();
            assert_eq!(turn.map(|turn| turn.is_some()), Some(other.is_some()));
        }
        assert_eq!(paces.0.lock().unwrap().len(), 2);
        drop(held);
        // The first may go again in a second, and is not forgotten until then.
        drop(paces.turn(pace(3, 1)).await);
        assert!(paces.0.lock().unwrap().contains_key(&EndpointId([1; 16])));
    }
}

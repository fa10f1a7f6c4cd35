//! Asks registered devices whether they are there, and how far away, where the operator wants it.
//!
//! It must not decide what an answer means: that is a use case of core.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::edge::Edge;

/// How often to look who is to be asked.
const LOOK: Duration = Duration::from_secs(1);
/// How many devices are asked at once: few beside the messages that may be on their way.
const AT_ONCE: u32 = 256;
/// How long a device may take: four transmissions over UDP.
const LIMIT: Duration = Duration::from_secs(4);

/// Asks each device every so often, until the stop.
pub(crate) async fn run(edge: Arc<Edge>, every: Duration, stop: CancellationToken) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = looks.tick() => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = round(&edge, every) => {}
        }
    }
}

/// Asks those who are due, and waits for all of them.
async fn round(edge: &Arc<Edge>, every: Duration) {
    let due = match edge.app.contacts_to_qualify(every, AT_ONCE).await {
        Ok(due) => due,
        Err(error) => {
            tracing::debug!(%error, "who is to be asked could not be read");
            return;
        }
    };
    let mut asked = JoinSet::new();
    for binding in due {
        let edge = Arc::clone(edge);
        asked.spawn(async move {
            let round_trip = edge.probe(&binding, LIMIT).await;
            if let Err(error) = edge.app.contact_qualified(&binding, round_trip).await {
                tracing::debug!(%error, "an answer to OPTIONS could not be kept");
            }
        });
    }
    while asked.join_next().await.is_some() {}
}

//! Simulated contacts: they take messages as a device would, each in its own way, so that every end of a delivery can be tried
//! without a phone. What becomes of a message is decided where it always is.

use sipgraph_core::endpoint::Simulation;
use sipgraph_core::ports::{Attempt, AttemptResult, PortFuture, Technology};
use std::sync::Arc;
use std::time::Duration;

/// How long a slow contact takes; the schema says so.
const SLOW: Duration = Duration::from_secs(3);

/// A technology with simulated contacts beside its own.
pub(crate) struct WithSimulation(pub(crate) Arc<dyn Technology>);

impl Technology for WithSimulation {
    fn deliver(&self, attempt: Attempt) -> PortFuture<'static, AttemptResult> {
        let Some(simulation) = attempt.simulation else {
            return self.0.deliver(attempt);
        };
        Box::pin(async move {
            match simulation {
                Simulation::Echo => answered(200, "OK"),
                Simulation::Busy => answered(486, "Busy Here"),
                Simulation::Slow => {
                    tokio::time::sleep(SLOW).await;
                    answered(200, "OK")
                }
                Simulation::Flaky if attempt.number % 2 == 0 => answered(200, "OK"),
                Simulation::Flaky => answered(503, "Service Unavailable"),
                Simulation::Offline => AttemptResult::TransportError("it is never there".into()),
            }
        })
    }
}

fn answered(status: u16, reason: &str) -> AttemptResult {
    AttemptResult::Answered {
        status,
        reason: reason.to_owned(),
        retry_after_s: None,
    }
}

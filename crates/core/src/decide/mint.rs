//! Makes ids, checks and secrets for one decision, from one time and one source of randomness.

use crate::commit::NewEvent;
use crate::event::{EventBody, Subjects};
use crate::ports::Entropy;
use crate::{EventId, Timestamp};
use std::time::Duration;

/// The time of a decision and its source of randomness.
pub struct Mint<'e> {
    /// The time of the decision.
    pub now: Timestamp,
    entropy: &'e dyn Entropy,
}

impl<'e> Mint<'e> {
    /// Prepares for one decision.
    #[must_use]
    pub fn new(now: Timestamp, entropy: &'e dyn Entropy) -> Self {
        Self { now, entropy }
    }

    /// Prepares for a part of the decision that counts as a little later, so that what it makes stands behind the part before.
    #[must_use]
    pub fn later(&self, by: Duration) -> Self {
        Self::new(self.now.plus(by), self.entropy)
    }

    /// Returns random bytes.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.entropy.fill(&mut bytes);
        bytes
    }

    /// Makes an id: `mint.id(MessageId::new)`.
    pub fn id<T>(&self, new: impl FnOnce(Timestamp, [u8; 10]) -> T) -> T {
        new(self.now, self.bytes())
    }

    /// Makes an event.
    #[must_use]
    pub fn event(&self, subjects: Subjects, body: EventBody) -> NewEvent {
        NewEvent {
            id: self.id(EventId::new),
            check: u32::from_be_bytes(self.bytes()),
            subjects,
            body,
        }
    }
}

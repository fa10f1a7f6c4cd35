//! Time and randomness, which core never takes by itself, so that a run can be repeated.

use crate::Timestamp;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Returns the wall-clock time.
    fn now(&self) -> Timestamp;
}

/// Gives random bytes fit for keys.
pub trait Entropy: Send + Sync {
    /// Fills a buffer.
    fn fill(&self, buffer: &mut [u8]);
}

//! The bus: it only wakes readers of the log. It may lose, repeat or reorder wakes without harm, because each node
//! also looks at the log's heads once a second.

use crate::AccountId;
use futures_util::stream::BoxStream;

/// Says that an account's log reaches at least to `seq`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wake {
    /// The account.
    pub account: AccountId,
    /// The number of an event that is committed.
    pub seq: i64,
}

/// Carries wakes between the nodes of an instance.
pub trait Bus: Send + Sync {
    /// Sends a wake after a commit; never blocks and never fails.
    fn wake(&self, wake: Wake);

    /// Returns the wakes of all nodes, this one's included, from now on.
    fn wakes(&self) -> BoxStream<'static, Wake>;
}

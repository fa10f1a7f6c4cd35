//! Deleting what is large, in steps: the endpoints of a domain, and the rows that deleted endpoints and chats left.
//!
//! What was asked for is done for every reader when the mutation is answered; these steps clear away behind it. Their
//! queue is in the database, so that a restart goes on where the last run ended, and nodes that take the same step do
//! no harm: each commit has its preconditions.

use super::App;
use crate::Error;
use crate::decide::domains::delete_end;
use crate::decide::endpoints::{delete, fail_some};
use crate::endpoint::Endpoint;
use futures_util::future::join_all;

/// The endpoints of a domain that one step deletes. So few that the batch they are in holds the account for a few
/// milliseconds, as a batch of sends does.
const ENDPOINTS_A_STEP: u32 = 20;
/// The rows that one step clears away; fewer than a full batch of sends writes.
const ROWS_A_STEP: u32 = 200;

impl App {
    /// Takes one step of what is being deleted; gives whether more is left. The program pauses between two steps, so that
    /// what others ask for is answered meanwhile.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn deletion_step(&self) -> Result<bool, Error> {
        let purged = self.store.deleted_purge(ROWS_A_STEP).await?;
        let Some(next) = self.store.domain_deletion_next(ENDPOINTS_A_STEP).await? else {
            return Ok(purged > 0);
        };
        if next.endpoints.is_empty() {
            // A failed precondition means that another node did it.
            self.commit(delete_end(&self.mint(), next.account, next.domain))
                .await?;
            return Ok(true);
        }
        let removed = next.endpoints.iter().map(|e| self.endpoint_remove(e));
        for result in join_all(removed).await {
            result?;
        }
        Ok(true)
    }

    /// Deletes an endpoint, or fails some of the messages on their way to it when they are too many for one transaction.
    async fn endpoint_remove(&self, endpoint: &Endpoint) -> Result<(), Error> {
        let waiting = self.waiting_for(endpoint).await?;
        let commit = if waiting.len() >= super::endpoints::WAITING_MAX {
            fail_some(&self.mint(), endpoint, &waiting)
        } else {
            delete(&self.mint(), endpoint, &waiting)
        };
        // A failed precondition means that it changed, or that another node did it; the next step looks again.
        self.commit(commit).await?;
        Ok(())
    }
}

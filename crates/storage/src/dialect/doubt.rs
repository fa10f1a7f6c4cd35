//! What became of a batch whose `COMMIT` was not answered. Only a network has such doubts, so this is for Postgres alone.

use diesel::{QueryResult, prelude::*};
use diesel_async::RunQueryDsl;
use sipgraph_core::commit::{Answer, Commit};

use super::{
    Conn,
    apply::Outcome,
    queries::{account_lock, accounts::idempotent_result},
};
use crate::{schema::events, types::Id};

/// Whether a batch was committed; asked in a transaction on a new connection.
///
/// Taking the account row waits for the transaction in doubt. A batch is one transaction, so one trace of it stands for all:
/// a commit's last event, which has the number that its answer gives as the head, or the record of its call. `None` when no
/// commit of the batch left such a trace.
pub(crate) async fn was_committed(
    c: &mut Conn,
    commits: &[Commit],
    outcomes: &[Outcome],
) -> QueryResult<Option<bool>> {
    let mut wrote = false;
    for (commit, outcome) in commits.iter().zip(outcomes) {
        let Ok(Answer::Applied(applied)) = outcome else {
            continue;
        };
        wrote = true;
        let Some(event) = commit.events.last() else {
            if let Some(call) = &commit.idempotency {
                account_lock(c, commit.account).await?;
                let known = idempotent_result(c, commit.account, call).await?;
                return Ok(Some(known == Some(Answer::Replayed(call.result.clone()))));
            }
            continue;
        };
        account_lock(c, commit.account).await?;
        let there: Option<Id> = events::table
            .find((Id::from(commit.account), applied.head))
            .select(events::id)
            .first(c)
            .await
            .optional()?;
        return Ok(Some(there == Some(event.id.into())));
    }
    // Replays and refusals are true either way.
    Ok(if wrote { None } else { Some(true) })
}

//! What is being deleted: hidden at once by a mark, cleared away in steps.
//!
//! The marks are few and mostly none, so that each read of what they hide looks into an empty table once.

use diesel::{
    QueryResult,
    prelude::*,
    sql_types::{BigInt, Bool},
};
use diesel_async::RunQueryDsl;
use sipgraph_core::{message::MessageOrigin, ports::store::DomainDeletion};

use super::{Conn, Db, EVENTS_WITH_TEXT, FOR_UPDATE_SKIP_LOCKED, run_over};
use crate::{
    rows::{ChatClearing, EndpointRow, ObjectKey, convert, origin_number},
    schema::{domain_deletions, endpoints},
    sql::{Fixed, Sql},
    types::{DbId, DbTime, Id, Time},
};

/// Which chats are there.
pub(crate) fn chat_there() -> Fixed<Bool> {
    Fixed::new("chats.endpoint_id NOT IN (SELECT endpoint_id FROM endpoint_deletions)")
}

/// Which messages are there.
pub(crate) fn message_there() -> Fixed<Bool> {
    Fixed::new(
        "messages.endpoint_id NOT IN (SELECT endpoint_id FROM endpoint_deletions) \
         AND NOT EXISTS (SELECT 1 FROM chat_clearings c WHERE c.account_id = messages.account_id \
         AND c.chat_id = messages.chat_id AND messages.seq <= c.up_to_seq)",
    )
}

/// Which events lost their text with their endpoint, their chat or the endpoint of their message: that a message came by a trunk is
/// told of the trunk.
pub(crate) fn event_blanked() -> Fixed<Bool> {
    Fixed::new(
        "(COALESCE(events.endpoint_id IN (SELECT endpoint_id FROM endpoint_deletions), FALSE) \
         OR EXISTS (SELECT 1 FROM chat_clearings c WHERE c.account_id = events.account_id \
         AND c.chat_id = events.chat_id AND events.seq <= c.up_to_event) \
         OR EXISTS (SELECT 1 FROM endpoint_deletions d CROSS JOIN messages m WHERE m.account_id = events.account_id \
         AND m.id = events.message_id AND m.endpoint_id = d.endpoint_id))",
    )
}

/// The text of a statement that blanks what tells of trunks that messages came by them, before the messages of a step are deleted.
/// It is told by the event before a message's own. The ids come first, by themselves: for more of its columns SQLite would walk
/// through all messages of the account.
fn trunks_blank(messages: &str) -> String {
    let trunk = origin_number(MessageOrigin::Trunk);
    format!(
        "UPDATE events SET text = NULL WHERE (account_id, seq) IN (SELECT e.account_id, e.seq \
         FROM (SELECT t.account_id, t.id {messages}) k CROSS JOIN messages m CROSS JOIN events e \
         WHERE m.account_id = k.account_id AND m.id = k.id AND m.origin = {trunk} \
         AND e.account_id = m.account_id AND e.seq = m.log_seq - 1 AND e.message_id = m.id AND e.text IS NOT NULL)"
    )
}

/// The text of a statement that deletes the messages of a step.
fn messages_delete(messages: &str) -> String {
    format!("DELETE FROM messages WHERE (account_id, id) IN (SELECT t.account_id, t.id {messages})")
}

/// Which endpoints are in a domain that is there: names in one whose deletion has begun are free.
pub(crate) fn endpoint_there() -> Fixed<Bool> {
    Fixed::new("endpoints.domain_id NOT IN (SELECT domain_id FROM domain_deletions)")
}

/// Which domains are there.
pub(crate) fn domain_there() -> Fixed<Bool> {
    Fixed::new("domains.id NOT IN (SELECT domain_id FROM domain_deletions)")
}

/// The oldest mark of a domain, with up to `limit` of its endpoints; one read transaction.
pub(crate) async fn domain_deletion_next(
    c: &mut Conn,
    limit: u32,
) -> QueryResult<Option<DomainDeletion>> {
    let oldest: Option<(Id, Id)> = domain_deletions::table
        .order((domain_deletions::created_at, domain_deletions::domain_id))
        .select((domain_deletions::account_id, domain_deletions::domain_id))
        .first(c)
        .await
        .optional()?;
    let Some((account, domain)) = oldest else {
        return Ok(None);
    };
    let rows = endpoints::table
        .filter(endpoints::account_id.eq(account))
        .filter(endpoints::domain_id.eq(domain))
        .order(endpoints::canonical_name)
        .limit(limit.into())
        .select(EndpointRow::as_select())
        .load(c)
        .await?;
    Ok(Some(DomainDeletion {
        account: account.into(),
        domain: domain.into(),
        endpoints: convert(rows)?,
    }))
}

/// At most so many endpoints are dealt with in one step: a domain's endpoints mostly left little.
const MARKS_A_STEP: u32 = 50;

/// Clears away up to `limit` rows of deleted endpoints and chats, oldest first, and the marks of those that have none left;
/// one write transaction.
pub(crate) async fn deleted_purge(c: &mut Conn, limit: u32) -> QueryResult<u64> {
    let gone = endpoints_purge(c, limit).await?;
    if gone >= u64::from(limit) {
        return Ok(gone);
    }
    Ok(gone + chats_purge(c, limit).await?)
}

/// Clears away rows of chats whose messages were deleted.
async fn chats_purge(c: &mut Conn, limit: u32) -> QueryResult<u64> {
    let text = format!(
        "SELECT t.account_id, t.chat_id, t.endpoint_id, t.up_to_seq, t.up_to_event, t.created_at \
         FROM chat_clearings t ORDER BY t.created_at, t.chat_id LIMIT {MARKS_A_STEP}{FOR_UPDATE_SKIP_LOCKED}"
    );
    type Row = (DbId, DbId, DbId, BigInt, BigInt, DbTime);
    let query: Sql<'_, Db, Row> = Sql::new(&text, Vec::new());
    let marks: Vec<(Id, Id, Id, i64, i64, Time)> =
        diesel_async::RunQueryDsl::load(query, c).await?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let messages = "FROM {rows} JOIN messages t ON t.account_id = k.account_id AND t.chat_id = k.chat_id \
                    AND t.seq <= k.up_to_seq ORDER BY t.seq LIMIT {limit}";
    let mut gone = 0;
    for (account_id, chat_id, endpoint_id, up_to_seq, up_to_event, created_at) in marks {
        for text in [
            &trunks_blank(messages),
            &messages_delete(messages),
            "UPDATE events SET text = NULL WHERE (account_id, seq) IN (SELECT t.account_id, t.seq FROM {rows} JOIN {events} \
             ON t.account_id = k.account_id AND t.endpoint_id = k.endpoint_id AND t.seq <= k.up_to_event \
             WHERE t.chat_id = k.chat_id AND t.text IS NOT NULL ORDER BY t.seq LIMIT {limit})",
            // Not when the chat was cleared again meanwhile.
            "DELETE FROM chat_clearings WHERE (account_id, chat_id, up_to_seq, up_to_event) IN \
             (SELECT k.account_id, k.chat_id, k.up_to_seq, k.up_to_event FROM {rows})",
        ] {
            let text = text
                .replace("{limit}", &limit.to_string())
                .replace("{events}", EVENTS_WITH_TEXT);
            let row = ChatClearing {
                account_id,
                chat_id,
                endpoint_id,
                up_to_seq,
                up_to_event,
                created_at,
            };
            gone += run_over(c, &text, vec![row]).await?;
            if gone >= limit {
                return Ok(u64::try_from(gone).unwrap_or(u64::MAX));
            }
        }
    }
    Ok(u64::try_from(gone).unwrap_or(u64::MAX))
}

async fn endpoints_purge(c: &mut Conn, limit: u32) -> QueryResult<u64> {
    // Only one node deals with a mark at a time: where another took the rows of a step, a step of ours would find fewer than
    // its limit, and take the mark for done.
    let text = format!(
        "SELECT t.account_id, t.endpoint_id FROM endpoint_deletions t ORDER BY t.created_at, t.endpoint_id \
         LIMIT {MARKS_A_STEP}{FOR_UPDATE_SKIP_LOCKED}"
    );
    let query: Sql<'_, Db, (DbId, DbId)> = Sql::new(&text, Vec::new());
    let marks: Vec<(Id, Id)> = diesel_async::RunQueryDsl::load(query, c).await?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let messages = "FROM {rows} JOIN messages t ON t.account_id = k.account_id AND t.endpoint_id = k.id \
                    ORDER BY t.log_seq LIMIT {limit}";
    let mut gone = 0;
    for (account_id, id) in marks {
        for text in [
            &trunks_blank(messages),
            &messages_delete(messages),
            "DELETE FROM chats WHERE (account_id, id) IN (SELECT t.account_id, t.id FROM {rows} JOIN chats t \
             ON t.account_id = k.account_id AND t.endpoint_id = k.id ORDER BY t.activity_seq LIMIT {limit})",
            "UPDATE events SET text = NULL WHERE (account_id, seq) IN (SELECT t.account_id, t.seq FROM {rows} JOIN {events} \
             ON t.account_id = k.account_id AND t.endpoint_id = k.id WHERE t.text IS NOT NULL ORDER BY t.seq LIMIT {limit})",
            "DELETE FROM endpoint_deletions WHERE (account_id, endpoint_id) IN (SELECT k.account_id, k.id FROM {rows})",
        ] {
            // One that deals with fewer than its limit leaves none. A step may go over the limit once, because the text
            // stays the same for the statement cache.
            let text = text
                .replace("{limit}", &limit.to_string())
                .replace("{events}", EVENTS_WITH_TEXT);
            gone += run_over(c, &text, vec![ObjectKey { account_id, id }]).await?;
            if gone >= limit {
                return Ok(u64::try_from(gone).unwrap_or(u64::MAX));
            }
        }
    }
    Ok(u64::try_from(gone).unwrap_or(u64::MAX))
}

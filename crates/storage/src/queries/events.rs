//! The log: reading by number, and trimming.

use diesel::{QueryResult, prelude::*};
use diesel_async::RunQueryDsl;
use sipgraph_core::{AccountId, Timestamp, event::Event};

use super::{Conn, Db, account_lock, deletions::event_blanked, load_up_to, run_over};
use crate::{
    rows::{EventRow, convert},
    schema::{accounts, events},
    sql::columns,
    types::{DbTime, Id, Time},
};

columns! {
    /// A time.
    #[derive(Debug)]
    struct Moment {
        moment: DbTime => Time,
    }
}

fn of_account(account: AccountId) -> events::BoxedQuery<'static, Db> {
    events::table
        .filter(events::account_id.eq(Id::from(account)))
        .into_boxed()
}

/// Makes events of rows, without the text that went with its endpoint.
fn events_of(rows: Vec<(EventRow, bool)>) -> QueryResult<Vec<Event>> {
    let rows = rows.into_iter().map(|(mut row, is_blanked)| {
        row.text = row.text.filter(|_| !is_blanked);
        row
    });
    convert(rows.collect())
}

pub(crate) async fn events_after(
    c: &mut Conn,
    account: AccountId,
    after: i64,
    limit: u32,
) -> QueryResult<Vec<Event>> {
    let rows = load_up_to(
        c,
        of_account(account)
            .filter(events::seq.gt(after))
            .order(events::seq.asc())
            .select((EventRow::as_select(), event_blanked())),
        limit.into(),
    )
    .await?;
    events_of(rows)
}

pub(crate) async fn events_before(
    c: &mut Conn,
    account: AccountId,
    before: i64,
    limit: u32,
) -> QueryResult<Vec<Event>> {
    let rows = load_up_to(
        c,
        of_account(account)
            .filter(events::seq.lt(before))
            .order(events::seq.desc())
            .select((EventRow::as_select(), event_blanked())),
        limit.into(),
    )
    .await?;
    events_of(rows)
}

/// At most so many accounts are trimmed in one go; the rest have their turn in the next.
const TRIM_ACCOUNTS_MAX: i64 = 1000;

/// Finds accounts whose oldest event is older than a time, or that still have rows which are marked as trimmed.
pub(crate) async fn trim_candidates(
    c: &mut Conn,
    before: Timestamp,
) -> QueryResult<Vec<AccountId>> {
    let oldest = events::table
        .filter(events::account_id.eq(accounts::id))
        .filter(events::seq.le(accounts::trimmed_seq + 1))
        .filter(events::happened_at.lt(Time::from(before)));
    let ids: Vec<Id> = accounts::table
        .filter(diesel::dsl::exists(oldest))
        .order(accounts::id)
        .limit(TRIM_ACCOUNTS_MAX)
        .select(accounts::id)
        .load(c)
        .await?;
    Ok(ids.into_iter().map(Into::into).collect())
}

/// Marks up to `limit` of an account's oldest events as trimmed where they are older than a time; one write transaction. The rows
/// go later, outside the account's lock: from the mark on, readers take them for gone. Gives the last one marked.
pub(crate) async fn trim_mark(
    c: &mut Conn,
    account: AccountId,
    before: Timestamp,
    limit: u32,
) -> QueryResult<i64> {
    let oldest: Vec<(i64, Time)> = of_account(account)
        .order(events::seq.asc())
        .limit(limit.into())
        .select((events::seq, events::happened_at))
        .load(c)
        .await?;
    let up_to = oldest
        .into_iter()
        .take_while(|(_, at)| *at < Time::from(before))
        .last()
        .map_or(0, |(seq, _)| seq);
    account_lock(c, account).await?;
    diesel::update(accounts::table.find(Id::from(account)))
        .filter(accounts::trimmed_seq.lt(up_to))
        .set(accounts::trimmed_seq.eq(up_to))
        .execute(c)
        .await?;
    Ok(up_to)
}

/// Blanks old texts of devices' messages that no chat keeps; one write transaction.
pub(crate) async fn unrecorded_blank(
    c: &mut Conn,
    before: Timestamp,
    limit: u32,
) -> QueryResult<u64> {
    let text = format!(
        "UPDATE events SET text = NULL WHERE (account_id, seq) IN (SELECT t.account_id, t.seq FROM {{rows}} \
         JOIN events t ON t.happened_at < k.moment WHERE t.kind = 3 AND t.message_id IS NULL \
         AND t.text IS NOT NULL ORDER BY t.happened_at LIMIT {limit})"
    );
    let row = Moment {
        moment: before.into(),
    };
    let gone = run_over(c, &text, vec![row]).await?;
    Ok(u64::try_from(gone).unwrap_or(u64::MAX))
}

/// Deletes the events up to and with a number that was marked as trimmed.
pub(crate) async fn trim_delete(c: &mut Conn, account: AccountId, up_to: i64) -> QueryResult<u64> {
    let gone = diesel::delete(
        events::table
            .filter(events::account_id.eq(Id::from(account)))
            .filter(events::seq.le(up_to)),
    )
    .execute(c)
    .await?;
    Ok(u64::try_from(gone).unwrap_or(u64::MAX))
}

//! Messages on their way and their attempts.

use std::time::Duration;

use diesel::{QueryResult, prelude::*};
use diesel_async::RunQueryDsl;
use sipgraph_core::{
    AccountId, DeliveryId, EndpointId, ExchangeId, Timestamp,
    delivery::{Delivery, Dispatch},
    ports::store::DispatchPlace,
};

use super::{Conn, Db, FOR_UPDATE_SKIP_LOCKED, claim_time, load_over, run_over};
use crate::{
    rows::{DeliveryRow, DispatchRow, ObjectKey, convert},
    schema::{deliveries, dispatches},
    sql::{Sql, columns},
    types::{DbId, DbTime, Id, Time},
};

columns! {
    /// A claim: when.
    #[derive(Debug)]
    struct Claim {
        moment: DbTime => Time,
    }

    /// A claimed dispatch.
    #[derive(Debug)]
    struct Lease {
        account_id: DbId => Id,
        id: DbId => Id,
        leased_until: DbTime => Time,
    }
}

/// Claims what is due; one write transaction.
pub(crate) async fn dispatches_claim(
    c: &mut Conn,
    now: Timestamp,
    lease: Duration,
    limit: u32,
) -> QueryResult<Vec<Dispatch>> {
    let moment = claim_time(c, now.into()).await?;
    let leased_until = Time::from(Timestamp::from(moment).plus(lease));
    // Raw because diesel has no SKIP LOCKED for both backends. It waits for nobody, so it takes no account row.
    let text = format!(
        "SELECT t.account_id, t.id FROM {{rows}} JOIN dispatches t ON t.due_at <= k.moment \
         AND (t.leased_until IS NULL OR t.leased_until <= k.moment) \
         ORDER BY t.created_at, t.id LIMIT {limit}{FOR_UPDATE_SKIP_LOCKED}"
    );
    let due: Vec<(Id, Id)> =
        load_over::<_, (DbId, DbId), (Id, Id)>(c, &text, vec![Claim { moment }]).await?;
    let leases: Vec<Lease> = due
        .iter()
        .map(|&(account_id, id)| Lease {
            account_id,
            id,
            leased_until,
        })
        .collect();
    let text = "UPDATE dispatches AS t SET lease = t.lease + 1, leased_until = k.leased_until \
                FROM {rows} WHERE t.account_id = k.account_id AND t.id = k.id";
    run_over(c, text, leases).await?;
    let accounts: Vec<Id> = due.iter().map(|(account, _)| *account).collect();
    let ids: Vec<Id> = due.iter().map(|(_, id)| *id).collect();
    let rows = dispatches::table
        .filter(dispatches::account_id.eq_any(&accounts))
        .filter(dispatches::id.eq_any(&ids))
        .order((dispatches::created_at, dispatches::id))
        .select(DispatchRow::as_select())
        .load(c)
        .await?;
    convert(rows)
}

pub(crate) async fn dispatches_unlease(c: &mut Conn) -> QueryResult<()> {
    diesel::update(dispatches::table.filter(dispatches::leased_until.is_not_null()))
        .set((
            dispatches::leased_until.eq(None::<Time>),
            dispatches::lease.eq(dispatches::lease + 1),
        ))
        .execute(c)
        .await
        .map(|_| ())
}

/// Makes dispatches due; one write transaction, which takes the account row first as every write of an account does.
pub(crate) async fn dispatches_hurry(
    c: &mut Conn,
    account: AccountId,
    recipient: EndpointId,
    now: Timestamp,
) -> QueryResult<()> {
    super::account_lock(c, account).await?;
    diesel::update(
        dispatches::table
            .filter(dispatches::account_id.eq(Id::from(account)))
            .filter(dispatches::recipient_id.eq(Id::from(recipient)))
            .filter(dispatches::due_at.gt(Time::from(now))),
    )
    .set(dispatches::due_at.eq(Time::from(now)))
    .execute(c)
    .await
    .map(|_| ())
}

pub(crate) async fn dispatches_to(
    c: &mut Conn,
    account: AccountId,
    recipient: EndpointId,
    limit: u32,
) -> QueryResult<Vec<Dispatch>> {
    let rows = dispatches::table
        .filter(dispatches::account_id.eq(Id::from(account)))
        .filter(dispatches::recipient_id.eq(Id::from(recipient)))
        .order((dispatches::created_at, dispatches::id))
        .limit(limit.into())
        .select(DispatchRow::as_select())
        .load(c)
        .await?;
    convert(rows)
}

/// The attempts of messages that were accepted for the same endpoint before a dispatch; one read transaction.
pub(crate) async fn deliveries_before(
    c: &mut Conn,
    place: DispatchPlace,
    limit: u32,
) -> QueryResult<Vec<Delivery>> {
    let (at, id) = (Time::from(place.created_at), Id::from(place.id));
    let earlier: Vec<Id> = dispatches::table
        .filter(dispatches::account_id.eq(Id::from(place.account)))
        .filter(dispatches::recipient_id.eq(Id::from(place.recipient)))
        .filter(dispatches::created_at.le(at))
        .filter(dispatches::created_at.lt(at).or(dispatches::id.lt(id)))
        .order((dispatches::created_at, dispatches::id))
        .limit(limit.into())
        .select(dispatches::id)
        .load(c)
        .await?;
    if earlier.is_empty() {
        return Ok(Vec::new());
    }
    let earlier: Vec<ExchangeId> = earlier.into_iter().map(Into::into).collect();
    deliveries(c, place.account, &earlier).await
}

pub(crate) async fn dispatches_due(
    c: &mut Conn,
    account: AccountId,
    exchanges: &[ExchangeId],
) -> QueryResult<Vec<(ExchangeId, Timestamp)>> {
    let exchanges: Vec<Id> = exchanges.iter().copied().map(Id::from).collect();
    let rows: Vec<(Id, Time)> = dispatches::table
        .filter(dispatches::account_id.eq(Id::from(account)))
        .filter(dispatches::id.eq_any(exchanges))
        .filter(dispatches::due_at.lt(dispatches::expires_at))
        .select((dispatches::id, dispatches::due_at))
        .load(c)
        .await?;
    Ok(rows
        .into_iter()
        .map(|(id, at)| (id.into(), at.into()))
        .collect())
}

/// Deletes old attempts of what is not on its way; one write transaction.
pub(crate) async fn deliveries_trim(
    c: &mut Conn,
    before: Timestamp,
    limit: u32,
) -> QueryResult<u64> {
    // Ids begin with their time, so that the primary key finds the oldest.
    let first_after = Id::from(DeliveryId::new(before, [0; 10]));
    let text = "SELECT a.id FROM accounts a WHERE EXISTS (SELECT 1 FROM deliveries t \
                WHERE t.account_id = a.id AND t.id < ? AND t.exchange_id NOT IN \
                (SELECT d.id FROM dispatches d WHERE d.account_id = a.id)) ORDER BY a.id LIMIT 1";
    let bound = crate::sql::bind::<Db, DbId, _>(first_after);
    let query: Sql<'_, Db, DbId> = Sql::new(text, vec![bound]);
    let accounts: Vec<Id> = diesel_async::RunQueryDsl::load(query, c).await?;
    let keys = accounts.into_iter().map(|account_id| ObjectKey {
        account_id,
        id: first_after,
    });
    let text = format!(
        "DELETE FROM deliveries WHERE (account_id, id) IN (SELECT t.account_id, t.id FROM {{rows}} \
         JOIN deliveries t ON t.account_id = k.account_id AND t.id < k.id \
         WHERE t.exchange_id NOT IN (SELECT d.id FROM dispatches d WHERE d.account_id = k.account_id) \
         ORDER BY t.id LIMIT {limit})"
    );
    let gone = run_over(c, &text, keys.collect()).await?;
    Ok(u64::try_from(gone).unwrap_or(u64::MAX))
}

pub(crate) async fn deliveries(
    c: &mut Conn,
    account: AccountId,
    exchanges: &[ExchangeId],
) -> QueryResult<Vec<Delivery>> {
    let exchanges: Vec<Id> = exchanges.iter().copied().map(Id::from).collect();
    let rows = deliveries::table
        .filter(deliveries::account_id.eq(Id::from(account)))
        .filter(deliveries::exchange_id.eq_any(exchanges))
        .order((deliveries::started_at, deliveries::id))
        .select(DeliveryRow::as_select())
        .load(c)
        .await?;
    convert(rows)
}

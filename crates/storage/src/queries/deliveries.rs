//! Messages on their way and their attempts.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use diesel::{QueryResult, prelude::*};
use diesel_async::RunQueryDsl;
use sipgraph_core::{
    AccountId, BindingId, DeliveryId, EndpointId, ExchangeId, Timestamp,
    delivery::{Delivery, Dispatch},
    ports::store::{DispatchPlace, Tried},
};

use super::{
    Conn, Db, FOR_UPDATE_SKIP_LOCKED, Statements, claim_time, first_of_each, load_over, run_over,
};
use crate::{
    rows::{DeliveryRow, DispatchRow, Hurry, ObjectKey, Returned, convert},
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

    /// The messages on their way to an endpoint.
    #[derive(Debug)]
    struct Queue {
        account_id: DbId => Id,
        recipient_id: DbId => Id,
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
    returned: &[BindingId],
    now: Timestamp,
) -> QueryResult<()> {
    super::account_lock(c, account).await?;
    let (account_id, recipient_id) = (Id::from(account), Id::from(recipient));
    let due = Hurry {
        account_id,
        recipient_id,
        due_at: now.into(),
    };
    let returned = returned.iter().map(|contact| Returned {
        account_id,
        contact_id: (*contact).into(),
    });
    let mut all = Statements::default();
    hurry(&mut all, vec![due], returned.collect());
    all.run(c).await
}

/// Adds what makes dispatches to contacts due, and lets what failed for now be tried again at those whose devices came back.
pub(crate) fn hurry(all: &mut Statements, due: Vec<Hurry>, returned: Vec<Returned>) {
    // Those that go out by a trunk wait for nothing but their own time. Joined with itself, because SQLite would rather walk
    // through the account by the primary key than look up the rows that an index names.
    let text = "UPDATE dispatches AS t SET due_at = k.due_at FROM {rows} \
                JOIN dispatches d ON d.account_id = k.account_id AND d.recipient_id = k.recipient_id \
                WHERE t.account_id = d.account_id AND t.id = d.id AND t.due_at > k.due_at AND t.way = 0";
    all.add(text, due);
    let text = "UPDATE deliveries AS t SET retry_at = NULL FROM {rows} \
                WHERE t.account_id = k.account_id AND t.target_id = k.contact_id AND t.retry_at IS NOT NULL";
    all.add(text, returned);
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

/// What was tried for dispatches, and for those that were accepted for the same endpoint before them; one read transaction.
pub(crate) async fn deliveries_tried(
    c: &mut Conn,
    places: &[DispatchPlace],
    limit: u32,
) -> QueryResult<Vec<Tried>> {
    let queues: BTreeSet<(AccountId, EndpointId)> = places
        .iter()
        .map(|place| (place.account, place.recipient))
        .collect();
    let queues = queues.into_iter().map(|(account, recipient)| Queue {
        account_id: account.into(),
        recipient_id: recipient.into(),
    });
    let text = first_of_each(
        "t.account_id, t.recipient_id, t.created_at, t.id",
        "dispatches t",
        &format!(
            "WHERE t.account_id = k.account_id AND t.recipient_id = k.recipient_id \
             ORDER BY t.created_at, t.id LIMIT {limit}"
        ),
    );
    let oldest: Vec<(Id, Id, Time, Id)> =
        load_over::<_, (DbId, DbId, DbTime, DbId), _>(c, &text, queues.collect()).await?;
    let oldest: Vec<DispatchPlace> = oldest
        .into_iter()
        .map(|(account, recipient, created_at, id)| DispatchPlace {
            account: account.into(),
            recipient: recipient.into(),
            created_at: created_at.into(),
            id: id.into(),
        })
        .collect();
    let looked_at = places.iter().chain(&oldest);
    let looked_at: BTreeSet<(AccountId, ExchangeId)> =
        looked_at.map(|place| (place.account, place.id)).collect();
    let keys = looked_at.into_iter().map(|(account, id)| ObjectKey {
        account_id: account.into(),
        id: id.into(),
    });
    // Mostly there are none.
    let text = "SELECT DISTINCT t.account_id, t.exchange_id FROM {rows} \
                JOIN deliveries t ON t.account_id = k.account_id AND t.exchange_id = k.id";
    let attempted: Vec<(Id, Id)> = load_over::<_, (DbId, DbId), _>(c, text, keys.collect()).await?;
    if attempted.is_empty() {
        return Ok(vec![Tried::default(); places.len()]);
    }
    let (accounts, exchanges): (BTreeSet<Id>, Vec<Id>) = attempted.into_iter().unzip();
    let rows = deliveries::table
        .filter(deliveries::account_id.eq_any(accounts))
        .filter(deliveries::exchange_id.eq_any(exchanges))
        .order((deliveries::started_at, deliveries::id))
        .select(DeliveryRow::as_select())
        .load(c)
        .await?;
    let mut tried: BTreeMap<(AccountId, ExchangeId), Vec<Delivery>> = BTreeMap::new();
    for delivery in convert::<_, Delivery>(rows)? {
        let key = (delivery.account, delivery.exchange);
        tried.entry(key).or_default().push(delivery);
    }
    let of = |place: &DispatchPlace| {
        let attempts = tried.get(&(place.account, place.id));
        attempts.into_iter().flatten().cloned()
    };
    let order = |place: &DispatchPlace| (place.created_at, place.id);
    let each = places.iter().map(|place| Tried {
        own: of(place).collect(),
        earlier: oldest
            .iter()
            .filter(|other| other.account == place.account && other.recipient == place.recipient)
            .filter(|other| order(other) < order(place))
            .flat_map(of)
            .collect(),
    });
    Ok(each.collect())
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

//! Endpoint tokens, failed registrations and lifted bans.

use diesel::{QueryResult, prelude::*};
use diesel_async::RunQueryDsl;
use sipgraph_core::{
    AccountId, EndpointTokenId, Timestamp,
    endpoint_token::EndpointToken,
    page::{Page, Slice},
    ports::store::{RegistrationFailureFilter, Totals},
    registration_failure::RegistrationFailure,
};

use super::{Conn, Db, load_up_to, run_over};
use crate::{
    page::{by_creation, page, rows_to_read},
    rows::{
        BanLiftKey, EndpointTokenRow, ObjectKey, RegistrationFailureRow, convert, reason_number,
    },
    schema::{ban_lifts, bindings, dispatches, endpoint_tokens, registration_failures},
    types::{Id, Time},
};

pub(crate) async fn endpoint_token(
    c: &mut Conn,
    account: AccountId,
    id: EndpointTokenId,
) -> QueryResult<Option<EndpointToken>> {
    let row = endpoint_tokens::table
        .find((Id::from(account), Id::from(id)))
        .select(EndpointTokenRow::as_select())
        .get_result(c)
        .await
        .optional()?;
    Ok(row.map(EndpointToken::from))
}

/// Deletes tokens that ended, with their credentials.
pub(crate) async fn endpoint_tokens_trim(
    c: &mut Conn,
    before: Timestamp,
    limit: u32,
) -> QueryResult<u64> {
    let keys: Vec<(Id, Id)> = endpoint_tokens::table
        .filter(endpoint_tokens::expires_at.lt(Time::from(before)))
        .order(endpoint_tokens::expires_at)
        .limit(limit.into())
        .select((endpoint_tokens::account_id, endpoint_tokens::id))
        .load(c)
        .await?;
    gone(c, "endpoint_tokens", keys).await
}

async fn gone(c: &mut Conn, table: &str, keys: Vec<(Id, Id)>) -> QueryResult<u64> {
    let keys = keys
        .into_iter()
        .map(|(account_id, id)| ObjectKey { account_id, id })
        .collect();
    let text = format!(
        "DELETE FROM {table} WHERE (account_id, id) IN (SELECT k.account_id, k.id FROM {{rows}})"
    );
    let gone = run_over(c, &text, keys).await?;
    Ok(u64::try_from(gone).unwrap_or(u64::MAX))
}

fn filtered(
    account: AccountId,
    filter: &RegistrationFailureFilter,
) -> registration_failures::BoxedQuery<'static, Db> {
    let RegistrationFailureFilter {
        endpoint,
        source,
        reason,
        from,
        to,
        visible,
    } = filter;
    let mut query = registration_failures::table
        .filter(registration_failures::account_id.eq(Id::from(account)))
        .into_boxed();
    if let Some(endpoint) = endpoint {
        query = query.filter(registration_failures::endpoint_id.eq(Id::from(*endpoint)));
    }
    if let Some(source) = source {
        query = query.filter(registration_failures::source.eq(source.to_string()));
    }
    if let Some(reason) = reason {
        query = query.filter(registration_failures::reason.eq(reason_number(*reason)));
    }
    if let Some(from) = from {
        query = query.filter(registration_failures::failed_at.ge(Time::from(*from)));
    }
    if let Some(to) = to {
        query = query.filter(registration_failures::failed_at.lt(Time::from(*to)));
    }
    if let Some(visible) = visible {
        let ids: Vec<Id> = visible.iter().map(|id| (*id).into()).collect();
        query = query.filter(registration_failures::endpoint_id.eq_any(ids));
    }
    query
}

pub(crate) async fn registration_failures(
    c: &mut Conn,
    account: AccountId,
    filter: &RegistrationFailureFilter,
    slice: &Slice,
) -> QueryResult<Page<RegistrationFailure>> {
    let query = filtered(account, filter);
    let rows = load_up_to(
        c,
        by_creation!(
            query,
            registration_failures::failed_at,
            registration_failures::id,
            slice
        )
        .select(RegistrationFailureRow::as_select()),
        rows_to_read(slice),
    )
    .await?;
    Ok(page(slice, convert(rows)?))
}

/// Deletes all but the latest of an account; one write transaction.
pub(crate) async fn registration_failures_cap(
    c: &mut Conn,
    account: AccountId,
    keep: u32,
) -> QueryResult<()> {
    let keys: Vec<(Id, Id)> = registration_failures::table
        .filter(registration_failures::account_id.eq(Id::from(account)))
        .order((
            registration_failures::failed_at.desc(),
            registration_failures::id.desc(),
        ))
        // Those of one flush at most are above the limit.
        .limit(10_000)
        .offset(keep.into())
        .select((registration_failures::account_id, registration_failures::id))
        .load(c)
        .await?;
    gone(c, "registration_failures", keys).await.map(|_| ())
}

/// Deletes old failures and lifts; one write transaction.
pub(crate) async fn registration_failures_trim(
    c: &mut Conn,
    before: Timestamp,
    limit: u32,
) -> QueryResult<u64> {
    let keys: Vec<(Id, Id)> = registration_failures::table
        .filter(registration_failures::failed_at.lt(Time::from(before)))
        .order(registration_failures::failed_at)
        .limit(limit.into())
        .select((registration_failures::account_id, registration_failures::id))
        .load(c)
        .await?;
    let failures = gone(c, "registration_failures", keys).await?;
    let lifts: Vec<(Id, String)> = ban_lifts::table
        .filter(ban_lifts::lifted_at.lt(Time::from(before)))
        .order(ban_lifts::lifted_at)
        .limit(limit.into())
        .select((ban_lifts::account_id, ban_lifts::source))
        .load(c)
        .await?;
    let lifts = lifts
        .into_iter()
        .map(|(account_id, source)| BanLiftKey { account_id, source })
        .collect();
    let text = "DELETE FROM ban_lifts WHERE (account_id, source) IN \
                (SELECT k.account_id, k.source FROM {rows})";
    let lifts = run_over(c, text, lifts).await?;
    Ok(failures.max(u64::try_from(lifts).unwrap_or(u64::MAX)))
}

/// Those of the whole instance, for every node.
pub(crate) async fn ban_lifts_since(
    c: &mut Conn,
    at: Timestamp,
) -> QueryResult<Vec<(String, Timestamp)>> {
    let lifts: Vec<(String, Time)> = ban_lifts::table
        .filter(ban_lifts::lifted_at.ge(Time::from(at)))
        .order(ban_lifts::lifted_at)
        .select((ban_lifts::source, ban_lifts::lifted_at))
        .load(c)
        .await?;
    Ok(lifts
        .into_iter()
        .map(|(source, at)| (source, at.into()))
        .collect())
}

/// Counts what metrics show, of the whole instance.
pub(crate) async fn totals(c: &mut Conn) -> QueryResult<Totals> {
    Ok(Totals {
        bindings: bindings::table.count().get_result(c).await?,
        dispatches: dispatches::table.count().get_result(c).await?,
    })
}

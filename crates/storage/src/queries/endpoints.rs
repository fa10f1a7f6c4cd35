//! Endpoints: look-ups, lists, credentials.

use diesel::{QueryResult, prelude::*};
use diesel_async::RunQueryDsl;
use sipgraph_core::{
    AccountId, DomainId, EndpointId,
    endpoint::Endpoint,
    page::{Page, Slice},
    ports::store::{Credentials, EndpointFilter, EndpointKey, Found},
};

use super::{Conn, Db, domains, load, load_up_to};
use crate::{
    page::{by_creation, page, rows_to_read},
    rows::{CredentialRow, EndpointRow, convert, state_number},
    schema::{chats, credentials, endpoints},
    seal::Sealing,
    types::Id,
};

fn of_account(account: AccountId) -> endpoints::BoxedQuery<'static, Db> {
    endpoints::table
        .filter(endpoints::account_id.eq(Id::from(account)))
        .into_boxed()
}

fn ids_of(ids: &[EndpointId]) -> Vec<Id> {
    ids.iter().map(|id| (*id).into()).collect()
}

fn filtered(account: AccountId, filter: &EndpointFilter) -> endpoints::BoxedQuery<'static, Db> {
    let EndpointFilter {
        ids,
        domain,
        state,
        enabled,
        visible,
    } = filter;
    let mut query = of_account(account);
    for ids in [ids, visible].into_iter().flatten() {
        query = query.filter(endpoints::id.eq_any(ids_of(ids)));
    }
    if let Some(domain) = domain {
        query = query.filter(endpoints::domain_id.eq(Id::from(*domain)));
    }
    if let Some(state) = state {
        query = query.filter(endpoints::state.eq(state_number(*state)));
    }
    if let Some(enabled) = enabled {
        query = query.filter(endpoints::enabled.eq(*enabled));
    }
    query
}

fn only_one(mut rows: Vec<EndpointRow>) -> QueryResult<Found<Endpoint>> {
    Ok(match (rows.pop(), rows.is_empty()) {
        (None, _) => Found::None,
        (Some(row), true) => Found::One(row.try_into()?),
        (Some(_), false) => Found::Ambiguous,
    })
}

async fn by_id_in_txn(c: &mut Conn, account: AccountId, id: Id) -> QueryResult<Found<Endpoint>> {
    let rows = load(
        c,
        of_account(account)
            .filter(endpoints::id.eq(id))
            .select(EndpointRow::as_select()),
    )
    .await?;
    only_one(rows)
}

async fn by_name_in_txn(
    c: &mut Conn,
    account: AccountId,
    domain: Option<&str>,
    canonical: &str,
) -> QueryResult<Found<Endpoint>> {
    let mut query = of_account(account).filter(endpoints::canonical_name.eq(canonical.to_owned()));
    if let Some(name) = domain {
        let Some(id) = domains::domain_id(c, account, name).await? else {
            return Ok(Found::None);
        };
        query = query.filter(endpoints::domain_id.eq(id));
    }
    let rows = load(c, query.select(EndpointRow::as_select())).await?;
    only_one(rows)
}

/// Finds an endpoint; one read transaction.
pub(crate) async fn endpoint(
    c: &mut Conn,
    account: AccountId,
    key: &EndpointKey,
) -> QueryResult<Found<Endpoint>> {
    match key {
        EndpointKey::Id(id) => by_id_in_txn(c, account, (*id).into()).await,
        EndpointKey::Name { domain, canonical } => {
            by_name_in_txn(c, account, domain.as_deref(), canonical).await
        }
        EndpointKey::ChatPeer(chat) => {
            let peer: Option<String> = chats::table
                .find((Id::from(account), Id::from(*chat)))
                .select(chats::peer)
                .get_result(c)
                .await
                .optional()?;
            match peer.as_deref().and_then(|peer| peer.rsplit_once('@')) {
                Some((canonical, domain)) => {
                    by_name_in_txn(c, account, Some(domain), canonical).await
                }
                None => Ok(Found::None),
            }
        }
        EndpointKey::ChatOwner(chat) => {
            let owner: Option<Id> = chats::table
                .find((Id::from(account), Id::from(*chat)))
                .select(chats::endpoint_id)
                .get_result(c)
                .await
                .optional()?;
            match owner {
                Some(owner) => by_id_in_txn(c, account, owner).await,
                None => Ok(Found::None),
            }
        }
    }
}

pub(crate) async fn endpoints_by_ids(
    c: &mut Conn,
    account: AccountId,
    ids: &[EndpointId],
) -> QueryResult<Vec<Endpoint>> {
    let rows = load(
        c,
        of_account(account)
            .filter(endpoints::id.eq_any(ids_of(ids)))
            .select(EndpointRow::as_select()),
    )
    .await?;
    convert(rows)
}

pub(crate) async fn endpoints(
    c: &mut Conn,
    account: AccountId,
    filter: &EndpointFilter,
    slice: &Slice,
) -> QueryResult<Page<Endpoint>> {
    let query = filtered(account, filter);
    let rows = load_up_to(
        c,
        by_creation!(query, endpoints::created_at, endpoints::id, slice)
            .select(EndpointRow::as_select()),
        rows_to_read(slice),
    )
    .await?;
    Ok(page(slice, convert(rows)?))
}

pub(crate) async fn endpoints_count(
    c: &mut Conn,
    account: AccountId,
    filter: &EndpointFilter,
) -> QueryResult<i64> {
    filtered(account, filter).count().get_result(c).await
}

/// Reads an endpoint by its name in a domain, with its HA1 values opened.
pub(crate) async fn endpoint_credentials(
    c: &mut Conn,
    sealing: &Sealing,
    domain: DomainId,
    canonical: &str,
) -> QueryResult<Option<Credentials>> {
    let Some(row) = endpoints::table
        .filter(endpoints::domain_id.eq(Id::from(domain)))
        .filter(endpoints::canonical_name.eq(canonical))
        .select(EndpointRow::as_select())
        .get_result(c)
        .await
        .optional()?
    else {
        return Ok(None);
    };
    let sealed = credentials::table
        .filter(credentials::account_id.eq(row.account_id))
        .filter(credentials::endpoint_id.eq(row.id))
        .order((credentials::algorithm, credentials::charset))
        .select(CredentialRow::as_select())
        .load(c)
        .await?;
    Ok(Some(Credentials {
        endpoint: row.try_into()?,
        ha1: sealing.open(sealed)?,
    }))
}

//! Domains and their names.

use std::{collections::HashMap, sync::Arc};

use diesel::{QueryResult, prelude::*};
use diesel_async::RunQueryDsl;
use sipgraph_core::{
    AccountId, DomainId,
    domain::Domain,
    page::{Page, Slice},
    ports::store::Realm,
};

use super::{Conn, Db, deletions::domain_there, load_up_to};
use crate::{
    page::{by_creation, page, rows_to_read},
    rows::{DomainRow, digest_algorithms},
    schema::{domain_names, domains},
    types::Id,
};

fn of_account(account: AccountId) -> domains::BoxedQuery<'static, Db> {
    domains::table
        .filter(domains::account_id.eq(Id::from(account)))
        .filter(domain_there())
        .into_boxed()
}

/// Reads the aliases of these domains and joins them.
async fn aliases_in_txn(
    c: &mut Conn,
    account: AccountId,
    rows: Vec<DomainRow>,
) -> QueryResult<Vec<Domain>> {
    let ids: Vec<Id> = rows.iter().map(|row| row.id).collect();
    let names: Vec<(Id, String)> = domain_names::table
        .filter(domain_names::account_id.eq(Id::from(account)))
        .filter(domain_names::domain_id.eq_any(&ids))
        .filter(domain_names::is_alias)
        .select((domain_names::domain_id, domain_names::name))
        .load(c)
        .await?;
    let mut aliases: HashMap<Id, Vec<String>> = HashMap::new();
    for (domain, name) in names {
        aliases.entry(domain).or_default().push(name);
    }
    rows.into_iter()
        .map(|row| {
            let aliases = aliases.remove(&row.id).unwrap_or_default();
            row.with_aliases(aliases).map_err(Into::into)
        })
        .collect()
}

/// Finds a domain by name or alias, whoever owns it.
pub(crate) async fn realm(c: &mut Conn, name: &str) -> QueryResult<Option<Arc<Realm>>> {
    let found: Option<(Id, Id, String, String)> = domain_names::table
        .inner_join(
            domains::table.on(domains::account_id
                .eq(domain_names::account_id)
                .and(domains::id.eq(domain_names::domain_id))),
        )
        .filter(domain_names::name.eq(name))
        .select((
            domains::account_id,
            domains::id,
            domains::name,
            domains::digest_algorithms,
        ))
        .get_result(c)
        .await
        .optional()?;
    let Some((account, domain, name, algorithms)) = found else {
        return Ok(None);
    };
    Ok(Some(Arc::new(Realm {
        account: account.into(),
        domain: domain.into(),
        name,
        digest_algorithms: digest_algorithms(&algorithms)?,
    })))
}

pub(crate) async fn domains_by_ids(
    c: &mut Conn,
    account: AccountId,
    ids: &[DomainId],
) -> QueryResult<Vec<Domain>> {
    let ids: Vec<Id> = ids.iter().map(|id| (*id).into()).collect();
    let rows = of_account(account)
        .filter(domains::id.eq_any(&ids))
        .select(DomainRow::as_select())
        .load(c)
        .await?;
    aliases_in_txn(c, account, rows).await
}

/// Those of endpoints, also where the deletion has begun.
pub(crate) async fn domains_of_endpoints(
    c: &mut Conn,
    account: AccountId,
    ids: &[DomainId],
) -> QueryResult<Vec<Domain>> {
    let ids: Vec<Id> = ids.iter().map(|id| (*id).into()).collect();
    let rows = domains::table
        .filter(domains::account_id.eq(Id::from(account)))
        .filter(domains::id.eq_any(&ids))
        .select(DomainRow::as_select())
        .load(c)
        .await?;
    aliases_in_txn(c, account, rows).await
}

/// The id of the account's domain with this name or alias.
pub(crate) async fn domain_id(
    c: &mut Conn,
    account: AccountId,
    name: &str,
) -> QueryResult<Option<Id>> {
    domain_names::table
        .filter(domain_names::name.eq(name))
        .filter(domain_names::account_id.eq(Id::from(account)))
        .select(domain_names::domain_id)
        .get_result(c)
        .await
        .optional()
}

pub(crate) async fn domain_by_name(
    c: &mut Conn,
    account: AccountId,
    name: &str,
) -> QueryResult<Option<Domain>> {
    match domain_id(c, account, name).await? {
        Some(id) => Ok(domains_by_ids(c, account, &[id.into()]).await?.pop()),
        None => Ok(None),
    }
}

pub(crate) async fn domain_names_taken(c: &mut Conn, names: &[String]) -> QueryResult<Vec<String>> {
    domain_names::table
        .filter(domain_names::name.eq_any(names))
        .select(domain_names::name)
        .order(domain_names::name)
        .load(c)
        .await
}

pub(crate) async fn domains(
    c: &mut Conn,
    account: AccountId,
    slice: &Slice,
) -> QueryResult<Page<Domain>> {
    let rows = load_up_to(
        c,
        by_creation!(of_account(account), domains::created_at, domains::id, slice)
            .select(DomainRow::as_select()),
        rows_to_read(slice),
    )
    .await?;
    Ok(page(slice, aliases_in_txn(c, account, rows).await?))
}

pub(crate) async fn domains_count(c: &mut Conn, account: AccountId) -> QueryResult<i64> {
    of_account(account).count().get_result(c).await
}

//! Applications.

use diesel::{QueryResult, prelude::*};
use diesel_async::RunQueryDsl;
use sipgraph_core::{
    AccountId, ApplicationId,
    application::Application,
    page::{Page, Slice},
};

use super::{Conn, Db, load, load_up_to};
use crate::{
    page::{by_creation, page, rows_to_read},
    rows::{ApplicationRow, convert},
    schema::applications,
    types::Id,
};

fn of_account(account: AccountId) -> applications::BoxedQuery<'static, Db> {
    applications::table
        .filter(applications::account_id.eq(Id::from(account)))
        .into_boxed()
}

pub(crate) async fn applications_by_ids(
    c: &mut Conn,
    account: AccountId,
    ids: &[ApplicationId],
) -> QueryResult<Vec<Application>> {
    let ids: Vec<Id> = ids.iter().map(|id| (*id).into()).collect();
    let rows = load(
        c,
        of_account(account)
            .filter(applications::id.eq_any(ids))
            .select(ApplicationRow::as_select()),
    )
    .await?;
    convert(rows)
}

pub(crate) async fn applications(
    c: &mut Conn,
    account: AccountId,
    slice: &Slice,
) -> QueryResult<Page<Application>> {
    let query = of_account(account);
    let query = by_creation!(query, applications::created_at, applications::id, slice);
    let query = query.select(ApplicationRow::as_select());
    let rows = load_up_to(c, query, rows_to_read(slice)).await?;
    Ok(page(slice, convert(rows)?))
}

pub(crate) async fn applications_count(c: &mut Conn, account: AccountId) -> QueryResult<i64> {
    of_account(account).count().get_result(c).await
}

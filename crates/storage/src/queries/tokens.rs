//! API tokens.

use diesel::{QueryResult, prelude::*};
use diesel_async::RunQueryDsl;
use sipgraph_core::{
    AccountId, Timestamp, TokenId,
    page::{Page, Slice},
    token::ApiToken,
};

use super::{Conn, Db, load_up_to};
use crate::{
    page::{by_creation, page, rows_to_read},
    rows::{TokenRow, convert},
    schema::tokens,
    types::{Id, Time},
};

pub(crate) async fn token_by_hash(c: &mut Conn, hash: [u8; 32]) -> QueryResult<Option<ApiToken>> {
    let row = tokens::table
        .filter(tokens::secret_hash.eq(&hash[..]))
        .select(TokenRow::as_select())
        .get_result(c)
        .await
        .optional()?;
    Ok(row.map(ApiToken::try_from).transpose()?)
}

pub(crate) async fn token(
    c: &mut Conn,
    account: AccountId,
    id: TokenId,
) -> QueryResult<Option<ApiToken>> {
    let row = tokens::table
        .find((Id::from(account), Id::from(id)))
        .select(TokenRow::as_select())
        .get_result(c)
        .await
        .optional()?;
    Ok(row.map(ApiToken::try_from).transpose()?)
}

pub(crate) async fn tokens(
    c: &mut Conn,
    account: AccountId,
    slice: &Slice,
) -> QueryResult<Page<ApiToken>> {
    let query = tokens::table
        .filter(tokens::account_id.eq(Id::from(account)))
        .into_boxed::<Db>();
    let rows = load_up_to(
        c,
        by_creation!(query, tokens::created_at, tokens::id, slice).select(TokenRow::as_select()),
        rows_to_read(slice),
    )
    .await?;
    Ok(page(slice, convert(rows)?))
}

pub(crate) async fn tokens_count(c: &mut Conn, account: AccountId) -> QueryResult<i64> {
    tokens::table
        .filter(tokens::account_id.eq(Id::from(account)))
        .count()
        .get_result(c)
        .await
}

/// Those of the whole instance, for every node's cache of tokens.
pub(crate) async fn tokens_revoked_since(c: &mut Conn, at: Timestamp) -> QueryResult<Vec<TokenId>> {
    let ids: Vec<Id> = tokens::table
        .filter(tokens::revoked_at.ge(Time::from(at)))
        .select(tokens::id)
        .load(c)
        .await?;
    Ok(ids.into_iter().map(Into::into).collect())
}

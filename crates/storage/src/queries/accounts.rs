//! Accounts, their numbers, and the records of calls that may be repeated.

use diesel::{QueryResult, prelude::*};
use diesel_async::RunQueryDsl;
use sipgraph_core::{
    AccountId, EndpointId, Timestamp,
    account::{Account, LogHead},
    commit::{Answer, Idempotency},
};

use super::{Conn, load};
use crate::{
    rows::{AccountRow, LogRow, ids_from_bytes},
    schema::{account_numbers, accounts, idempotency},
    types::{Id, Time},
};

pub(crate) async fn ready(c: &mut Conn) -> QueryResult<()> {
    accounts::table
        .select(accounts::id)
        .limit(1)
        .load::<Id>(c)
        .await
        .map(|_| ())
}

/// Makes an account; none when the name is taken.
pub(crate) async fn account_create(
    c: &mut Conn,
    id: AccountId,
    name: &str,
    at: Timestamp,
) -> QueryResult<Option<Account>> {
    let made = diesel::insert_into(accounts::table)
        .values((
            accounts::id.eq(Id::from(id)),
            accounts::name.eq(name),
            accounts::created_at.eq(Time::from(at)),
        ))
        .on_conflict(accounts::name)
        .do_nothing()
        .execute(c)
        .await?;
    if made == 0 {
        return Ok(None);
    }
    account(c, id).await
}

async fn numbers_in_txn(c: &mut Conn, row: Option<AccountRow>) -> QueryResult<Option<Account>> {
    let Some(row) = row else { return Ok(None) };
    let numbers = account_numbers::table
        .filter(account_numbers::account_id.eq(row.id))
        .select(account_numbers::number)
        .load(c)
        .await?;
    Ok(Some(row.with_numbers(numbers)))
}

pub(crate) async fn account(c: &mut Conn, id: AccountId) -> QueryResult<Option<Account>> {
    let row = accounts::table
        .find(Id::from(id))
        .select(AccountRow::as_select())
        .get_result(c)
        .await
        .optional()?;
    numbers_in_txn(c, row).await
}

pub(crate) async fn account_by_name(c: &mut Conn, name: &str) -> QueryResult<Option<Account>> {
    let row = accounts::table
        .filter(accounts::name.eq(name))
        .select(AccountRow::as_select())
        .get_result(c)
        .await
        .optional()?;
    numbers_in_txn(c, row).await
}

/// Assigns numbers; gives those that another account has, and then assigns none. One write transaction.
pub(crate) async fn numbers_assign(
    c: &mut Conn,
    account: AccountId,
    numbers: &[String],
) -> QueryResult<Vec<String>> {
    let mut assigned: Vec<&String> = Vec::new();
    for number in numbers {
        let new = diesel::insert_into(account_numbers::table)
            .values((
                account_numbers::number.eq(number),
                account_numbers::account_id.eq(Id::from(account)),
            ))
            .on_conflict_do_nothing()
            .execute(c)
            .await?;
        if new > 0 {
            assigned.push(number);
        }
    }
    let taken: Vec<String> = account_numbers::table
        .filter(account_numbers::number.eq_any(numbers))
        .filter(account_numbers::account_id.ne(Id::from(account)))
        .select(account_numbers::number)
        .order(account_numbers::number)
        .load(c)
        .await?;
    if !taken.is_empty() {
        diesel::delete(account_numbers::table.filter(account_numbers::number.eq_any(assigned)))
            .execute(c)
            .await?;
    }
    Ok(taken)
}

/// Returns those of these numbers that an account has, or all of its numbers, each with the endpoint that has it.
pub(crate) async fn numbers(
    c: &mut Conn,
    account: AccountId,
    numbers: Option<Vec<String>>,
) -> QueryResult<Vec<(String, Option<EndpointId>)>> {
    let mut query = account_numbers::table
        .filter(account_numbers::account_id.eq(Id::from(account)))
        .order(account_numbers::number)
        .select((account_numbers::number, account_numbers::endpoint_id))
        .into_boxed();
    if let Some(numbers) = numbers {
        query = query.filter(account_numbers::number.eq_any(numbers));
    }
    let rows: Vec<(String, Option<Id>)> = load(c, query).await?;
    Ok(rows
        .into_iter()
        .map(|(number, endpoint)| (number, endpoint.map(Into::into)))
        .collect())
}

/// Returns those of these numbers that any account has.
pub(crate) async fn number_accounts(
    c: &mut Conn,
    numbers: Vec<String>,
) -> QueryResult<Vec<(String, AccountId)>> {
    let query = account_numbers::table
        .filter(account_numbers::number.eq_any(numbers))
        .order(account_numbers::number)
        .select((account_numbers::number, account_numbers::account_id));
    let rows: Vec<(String, Id)> = load(c, query.into_boxed()).await?;
    let owned = rows.into_iter().map(|(number, id)| (number, id.into()));
    Ok(owned.collect())
}

pub(crate) async fn epoch_raise(c: &mut Conn) -> QueryResult<()> {
    diesel::update(accounts::table)
        .set(accounts::epoch.eq(accounts::epoch + 1))
        .execute(c)
        .await
        .map(|_| ())
}

pub(crate) async fn log_head(c: &mut Conn, account: AccountId) -> QueryResult<Option<LogHead>> {
    let row = accounts::table
        .find(Id::from(account))
        .select(LogRow::as_select())
        .get_result(c)
        .await
        .optional()?;
    Ok(row.map(LogHead::try_from).transpose()?)
}

pub(crate) async fn log_heads(
    c: &mut Conn,
    ids: &[AccountId],
) -> QueryResult<Vec<(AccountId, i64)>> {
    let ids: Vec<Id> = ids.iter().map(|id| (*id).into()).collect();
    let heads: Vec<(Id, i64)> = accounts::table
        .filter(accounts::id.eq_any(&ids))
        .select((accounts::id, accounts::head_seq))
        .load(c)
        .await?;
    Ok(heads
        .into_iter()
        .map(|(id, seq)| (id.into(), seq))
        .collect())
}

pub(crate) async fn idempotent_result(
    c: &mut Conn,
    account: AccountId,
    call: &Idempotency,
) -> QueryResult<Option<Answer>> {
    let found: Option<(Vec<u8>, Vec<u8>)> = idempotency::table
        .find((
            Id::from(account),
            Id(call.actor),
            call.operation,
            call.key.as_str(),
        ))
        .select((idempotency::input, idempotency::result))
        .get_result(c)
        .await
        .optional()?;
    let Some((input, result)) = found else {
        return Ok(None);
    };
    Ok(Some(if call.input.is_that_of(&input) {
        Answer::Replayed(ids_from_bytes(&result)?)
    } else {
        Answer::KeyReused
    }))
}

/// Deletes old records of calls.
pub(crate) async fn idempotency_trim(
    c: &mut Conn,
    before: Timestamp,
    limit: u32,
) -> QueryResult<u64> {
    let keys: Vec<(Id, Id, String, String)> = idempotency::table
        .filter(idempotency::created_at.lt(Time::from(before)))
        .order(idempotency::created_at)
        .limit(limit.into())
        .select((
            idempotency::account_id,
            idempotency::actor,
            idempotency::operation,
            idempotency::call_key,
        ))
        .load(c)
        .await?;
    let keys: Vec<crate::rows::CallKey> = keys
        .into_iter()
        .map(
            |(account_id, actor, operation, call_key)| crate::rows::CallKey {
                account_id,
                actor,
                operation,
                call_key,
            },
        )
        .collect();
    let text = "DELETE FROM idempotency WHERE (account_id, actor, operation, call_key) IN \
                (SELECT k.account_id, k.actor, k.operation, k.call_key FROM {rows})";
    let gone = super::run_over(c, text, keys).await?;
    Ok(u64::try_from(gone).unwrap_or(u64::MAX))
}

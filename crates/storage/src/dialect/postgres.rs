//! Postgres: a statement over many rows is run once, over arrays.

use diesel::{
    QueryResult, deserialize::FromSqlRow, expression::QueryMetadata, query_dsl::CompatibleType,
};
use diesel_async::RunQueryDsl;

use crate::{
    sql::{Columns, Sql},
    types::{DbTime, Time},
};

#[path = "../apply/mod.rs"]
pub(crate) mod apply;
#[path = "doubt.rs"]
pub(crate) mod doubt;
#[path = "../queries/mod.rs"]
pub(crate) mod queries;

pub(crate) type Conn = diesel_async::AsyncPgConnection;
pub(crate) type Db = diesel::pg::Pg;

/// Begins a read transaction: one snapshot for all its statements.
pub(crate) const BEGIN_READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
/// Keeps a row that is read for another statement of the same transaction.
pub(crate) const FOR_UPDATE: &str = " FOR UPDATE OF t";
/// What claimed rows are kept with: those that another node claims at this moment are passed over.
pub(crate) const FOR_UPDATE_SKIP_LOCKED: &str = " FOR UPDATE OF t SKIP LOCKED";

/// The time that claims go by: the database's, because the clocks of nodes differ.
pub(crate) async fn claim_time(c: &mut Conn, _caller: Time) -> QueryResult<Time> {
    let query: Sql<'_, Db, DbTime> = Sql::new("SELECT now()".to_owned(), Vec::new());
    query.get_result(c).await
}

fn rows_of<K: Columns>() -> String {
    let marks = vec!["?"; K::NAMES.len()].join(", ");
    format!("unnest({marks}) AS k({})", K::NAMES.join(", "))
}

/// Runs a statement over rows; `{rows}` in the text becomes `... AS k(columns)`. Gives how many rows it changed.
pub(crate) async fn run_over<K: Columns>(
    c: &mut Conn,
    text: &str,
    rows: &[K],
) -> QueryResult<usize> {
    if rows.is_empty() {
        return Ok(0);
    }
    let text = text.replace("{rows}", &rows_of::<K>());
    let statement: Sql<'_, Db, ()> = Sql::new(text, K::arrays(rows));
    statement.execute(c).await
}

/// Runs a query over rows, as [`run_over`]; `ST` is the SQL type of what it selects.
pub(crate) async fn load_over<K, ST, U>(c: &mut Conn, text: &str, rows: &[K]) -> QueryResult<Vec<U>>
where
    K: Columns,
    ST: CompatibleType<U, Db> + 'static,
    ST::SqlType: 'static,
    U: FromSqlRow<ST::SqlType, Db> + Send + 'static,
    Db: QueryMetadata<ST>,
{
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let text = text.replace("{rows}", &rows_of::<K>());
    let query: Sql<'_, Db, ST> = Sql::new(text, K::arrays(rows));
    query.load(c).await
}

/// Inserts rows into a table.
pub(crate) async fn insert<K: Columns>(
    c: &mut Conn,
    table: &str,
    rows: &[K],
) -> QueryResult<usize> {
    let names = K::NAMES.join(", ");
    run_over(
        c,
        &format!("INSERT INTO {table} ({names}) SELECT {names} FROM {{rows}}"),
        rows,
    )
    .await
}

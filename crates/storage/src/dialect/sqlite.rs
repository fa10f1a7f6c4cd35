//! SQLite: a statement over many rows is a prepared statement run for each; there is no network between.

use diesel::{
    QueryResult, deserialize::FromSqlRow, expression::QueryMetadata, query_dsl::CompatibleType,
};
use diesel_async::RunQueryDsl;

use crate::{
    sql::{Columns, Sql},
    types::Time,
};

#[expect(clippy::duplicate_mod, reason = "one file, compiled once per backend")]
#[path = "../apply/mod.rs"]
pub(crate) mod apply;
#[expect(clippy::duplicate_mod, reason = "one file, compiled once per backend")]
#[path = "../queries/mod.rs"]
pub(crate) mod queries;

pub(crate) type Conn = crate::exec::sqlite::Connection;
pub(crate) type Db = diesel::sqlite::Sqlite;

/// Begins a read transaction: one snapshot for all its statements.
pub(crate) const BEGIN_READ: &str = "BEGIN";
/// There is one writer: no row needs to be kept.
pub(crate) const FOR_UPDATE: &str = "";
/// There is one writer: no row is claimed by another at this moment.
pub(crate) const FOR_UPDATE_SKIP_LOCKED: &str = "";

/// The time that claims go by: the caller's, because there is one node.
pub(crate) async fn claim_time(_c: &mut Conn, caller: Time) -> QueryResult<Time> {
    Ok(caller)
}

fn row_of<K: Columns>() -> String {
    let values: Vec<String> = K::NAMES.iter().map(|name| format!("? AS {name}")).collect();
    format!("(SELECT {}) AS k", values.join(", "))
}

/// Runs a statement over rows; `{rows}` in the text becomes `... AS k`. Gives how many rows it changed.
pub(crate) async fn run_over<K: Columns>(
    c: &mut Conn,
    text: &str,
    rows: &[K],
) -> QueryResult<usize> {
    let text = text.replace("{rows}", &row_of::<K>());
    let mut changed = 0;
    for row in rows {
        let statement: Sql<'_, Db, ()> = Sql::new(text.clone(), row.scalars());
        changed += statement.execute(c).await?;
    }
    Ok(changed)
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
    let text = text.replace("{rows}", &row_of::<K>());
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        let query: Sql<'_, Db, ST> = Sql::new(text.clone(), row.scalars());
        found.append(&mut query.load(c).await?);
    }
    Ok(found)
}

/// Inserts rows into a table.
pub(crate) async fn insert<K: Columns>(
    c: &mut Conn,
    table: &str,
    rows: &[K],
) -> QueryResult<usize> {
    let names = K::NAMES.join(", ");
    let marks = vec!["?"; K::NAMES.len()].join(", ");
    run_over(
        c,
        &format!("INSERT INTO {table} ({names}) VALUES ({marks})"),
        rows,
    )
    .await
}

/// Copies the database as of this moment into a new file.
pub(crate) async fn copy_into(c: &mut Conn, path: &str) -> QueryResult<()> {
    let path = crate::sql::bind::<Db, diesel::sql_types::Text, _>(path);
    let statement: Sql<'_, Db, ()> = Sql::new("VACUUM INTO ?".to_owned(), vec![path]);
    statement.execute(c).await.map(|_| ())
}

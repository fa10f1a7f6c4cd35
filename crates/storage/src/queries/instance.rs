//! The row that says which key sealed the database's secrets.

use diesel::{QueryResult, prelude::*};
use diesel_async::RunQueryDsl;
use sipgraph_core::Timestamp;

use super::Conn;
use crate::{schema::instance, types::Time};

/// The one row's id.
const ONLY: i16 = 1;

pub(crate) async fn key_id(c: &mut Conn) -> QueryResult<Option<String>> {
    instance::table
        .find(ONLY)
        .select(instance::key_id)
        .get_result(c)
        .await
        .optional()
}

/// Notes the key of a new database, and gives the key that it has now.
pub(crate) async fn key_note(c: &mut Conn, key_id: &str, at: Timestamp) -> QueryResult<String> {
    diesel::insert_into(instance::table)
        .values((
            instance::id.eq(ONLY),
            instance::key_id.eq(key_id),
            instance::created_at.eq(Time::from(at)),
        ))
        .on_conflict_do_nothing()
        .execute(c)
        .await?;
    instance::table
        .find(ONLY)
        .select(instance::key_id)
        .get_result(c)
        .await
}

//! The row that says which keys the database's secrets are sealed with. It is taken for the shortest time: all that seals reads it.

use diesel::{QueryResult, prelude::*, sql_types::Text};
use diesel_async::RunQueryDsl;
use sipgraph_core::{
    Timestamp,
    keyring::KeyId,
    rotation::{InstanceKeys, PreviousKey},
};

use super::{Conn, Db, KEY_IN_USE};
use crate::{
    rows::Corrupt,
    schema::instance,
    seal::{Seal, Sealing},
    sql::Sql,
    types::Time,
};

/// The one row's id.
const ONLY: i16 = 1;

fn id_of(text: &str) -> Result<KeyId, Corrupt> {
    KeyId::parse(text).ok_or_else(|| Corrupt::new(format!("instance key {text}")))
}

/// The key of a database that is older than rotations.
pub(crate) async fn first_key(c: &mut Conn) -> QueryResult<Option<InstanceKeys>> {
    let id: Option<String> = instance::table
        .find(ONLY)
        .select(instance::key_id)
        .get_result(c)
        .await
        .optional()?;
    let Some(id) = id else { return Ok(None) };
    Ok(Some(InstanceKeys {
        current: id_of(&id)?,
        previous: None,
    }))
}

pub(crate) async fn keys(c: &mut Conn) -> QueryResult<Option<InstanceKeys>> {
    let found: Option<(String, Option<String>, Option<Time>)> = instance::table
        .find(ONLY)
        .select((
            instance::key_id,
            instance::previous_key_id,
            instance::key_replaced_at,
        ))
        .get_result(c)
        .await
        .optional()?;
    let Some((current, previous, replaced_at)) = found else {
        return Ok(None);
    };
    let previous = previous.map(|id| {
        Ok::<_, Corrupt>(PreviousKey {
            id: id_of(&id)?,
            replaced_at: replaced_at.map(Into::into),
        })
    });
    Ok(Some(InstanceKeys {
        current: id_of(&current)?,
        previous: previous.transpose()?,
    }))
}

/// Notes the key of a new database, and gives the keys that it has now.
pub(crate) async fn key_note(
    c: &mut Conn,
    key: KeyId,
    at: Timestamp,
) -> QueryResult<Option<InstanceKeys>> {
    diesel::insert_into(instance::table)
        .values((
            instance::id.eq(ONLY),
            instance::key_id.eq(key.to_string()),
            instance::created_at.eq(Time::from(at)),
        ))
        .on_conflict_do_nothing()
        .execute(c)
        .await?;
    keys(c).await
}

/// Gives what seals in this transaction. Until its end no other key is noted.
pub(crate) async fn seal(c: &mut Conn, sealing: &Sealing) -> QueryResult<Seal> {
    let query: Sql<'_, Db, Text> = Sql::new(KEY_IN_USE, Vec::new());
    let id: String = RunQueryDsl::get_result(query, c).await?;
    Ok(sealing.with(id_of(&id)?)?)
}

/// Puts a new key in the place of the one in use, unless another has; what seals at this moment is waited for.
pub(crate) async fn rotation_begin(c: &mut Conn, from: KeyId, to: KeyId) -> QueryResult<bool> {
    let changed = diesel::update(instance::table.find(ONLY))
        .filter(instance::key_id.eq(from.to_string()))
        .filter(instance::previous_key_id.is_null())
        .set((
            instance::key_id.eq(to.to_string()),
            instance::previous_key_id.eq(from.to_string()),
        ))
        .execute(c)
        .await?;
    Ok(changed == 1)
}

/// Notes that nothing is sealed with the key before any more, unless that was noted.
pub(crate) async fn rotation_end(c: &mut Conn, at: Timestamp) -> QueryResult<bool> {
    let changed = diesel::update(instance::table.find(ONLY))
        .filter(instance::previous_key_id.is_not_null())
        .filter(instance::key_replaced_at.is_null())
        .set(instance::key_replaced_at.eq(Time::from(at)))
        .execute(c)
        .await?;
    Ok(changed == 1)
}

/// Forgets the key before, whose rotation has ended.
pub(crate) async fn previous_forget(c: &mut Conn, id: KeyId) -> QueryResult<bool> {
    let changed = diesel::update(instance::table.find(ONLY))
        .filter(instance::previous_key_id.eq(id.to_string()))
        .filter(instance::key_replaced_at.is_not_null())
        .set((
            instance::previous_key_id.eq(None::<String>),
            instance::key_replaced_at.eq(None::<Time>),
        ))
        .execute(c)
        .await?;
    Ok(changed == 1)
}

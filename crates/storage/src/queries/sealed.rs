//! What an earlier instance key sealed, and how it is sealed anew.

use diesel::{
    QueryResult,
    deserialize::FromSqlRow,
    expression::QueryMetadata,
    prelude::*,
    query_dsl::CompatibleType,
    sql_types::{Binary, SmallInt, Text},
};
use diesel_async::RunQueryDsl;

use super::{Conn, Db, FOR_UPDATE_SKIP_LOCKED, instance, run_over};
use crate::{
    rotation::{RotationPlace, RotationStep, SealedTable},
    rows::{CredentialRow, SealedRow, SecretRow, TokenCredentialRow},
    schema::{credentials, endpoint_secrets, endpoint_token_credentials},
    seal::{Seal, Sealing},
    sql::{Sql, bind},
    types::{DbId, Id},
};

/// How many rows are sealed anew at a time: a transaction of some ten milliseconds, for which others wait.
const STEP: usize = 500;

/// Seals anew what comes from a place on and was sealed by another key than the one in use. Rows that somebody changes at this
/// moment are left to a later pass, so that nobody waits for each other.
pub(crate) async fn rotation_step(
    c: &mut Conn,
    sealing: &Sealing,
    place: RotationPlace,
) -> QueryResult<RotationStep> {
    let seal = instance::seal(c, sealing).await?;
    let from = (place.account, place.owner);
    let (done, last) = match place.table {
        SealedTable::Credentials => {
            anew::<(DbId, DbId, SmallInt, SmallInt, Text, Binary), CredentialRow>(
                c, sealing, &seal, from,
            )
            .await?
        }
        SealedTable::EndpointSecrets => {
            anew::<(DbId, DbId, SmallInt, DbId, Text, Binary), SecretRow>(c, sealing, &seal, from)
                .await?
        }
        SealedTable::TokenCredentials => {
            anew::<(DbId, DbId, SmallInt, Text, Binary), TokenCredentialRow>(
                c, sealing, &seal, from,
            )
            .await?
        }
    };
    let next = match last {
        Some((account, owner)) if done == STEP => Some(RotationPlace {
            table: place.table,
            account,
            owner,
        }),
        _ => place.table.next().map(RotationPlace::first_of),
    };
    Ok(RotationStep {
        done: u64::try_from(done).unwrap_or(u64::MAX),
        next,
    })
}

/// Seals rows of a table anew; gives how many, and the account and owner of the last.
async fn anew<ST, R>(
    c: &mut Conn,
    sealing: &Sealing,
    seal: &Seal,
    (account, owner): (Id, Id),
) -> QueryResult<(usize, Option<(Id, Id)>)>
where
    R: SealedRow + FromSqlRow<ST::SqlType, Db>,
    ST: CompatibleType<R, Db> + 'static,
    ST::SqlType: 'static,
    Db: QueryMetadata<ST>,
{
    let columns = prefixed(R::NAMES);
    let order = prefixed(&R::KEY[..2]);
    let text = format!(
        "SELECT {columns} FROM {} t WHERE t.key_id <> ? AND ({order}) >= (?, ?) \
         ORDER BY {order} LIMIT {STEP}{FOR_UPDATE_SKIP_LOCKED}",
        R::TABLE
    );
    let binds = vec![
        bind::<Db, Text, _>(seal.key().to_string()),
        bind::<Db, DbId, _>(account),
        bind::<Db, DbId, _>(owner),
    ];
    let query: Sql<'_, Db, ST> = Sql::new(&text, binds);
    let mut rows: Vec<R> = RunQueryDsl::load(query, c).await?;
    for row in &mut rows {
        sealing.anew(seal, row)?;
    }
    let last = rows.last().map(R::place);
    let key: Vec<String> = R::KEY
        .iter()
        .map(|name| format!("t.{name} = k.{name}"))
        .collect();
    let text = format!(
        "UPDATE {} AS t SET key_id = k.key_id, sealed = k.sealed FROM {{rows}} WHERE {}",
        R::TABLE,
        key.join(" AND ")
    );
    let done = run_over(c, &text, rows).await?;
    Ok((done, last))
}

fn prefixed(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("t.{name}")).collect();
    names.join(", ")
}

/// How many values other keys sealed than the one in use; reads all of them.
pub(crate) async fn rotation_left(c: &mut Conn) -> QueryResult<u64> {
    let Some(keys) = instance::keys(c).await? else {
        return Ok(0);
    };
    let current = keys.current.to_string();
    let of_endpoints: i64 = credentials::table
        .filter(credentials::key_id.ne(&current))
        .count()
        .get_result(c)
        .await?;
    let secrets: i64 = endpoint_secrets::table
        .filter(endpoint_secrets::key_id.ne(&current))
        .count()
        .get_result(c)
        .await?;
    let of_tokens: i64 = endpoint_token_credentials::table
        .filter(endpoint_token_credentials::key_id.ne(&current))
        .count()
        .get_result(c)
        .await?;
    Ok(u64::try_from(of_endpoints + secrets + of_tokens).unwrap_or_default())
}

//! Where the database is, what state it is in, and how a store is opened on it.

use std::{path::PathBuf, sync::Arc};

use diesel::{
    QueryResult,
    dsl::sql,
    sql_types::{Bool, Text},
};
use diesel_async::RunQueryDsl as _;
use sipgraph_core::{Timestamp, keyring::Keyring, ports::Entropy, rotation::InstanceKeys};

use crate::{
    AddressError, PostgresConnector, PostgresOptions, SqliteOptions, StartError,
    dialect::{
        postgres::{
            Conn,
            queries::{instance as postgres, sealed as on_postgres},
        },
        sqlite::queries::{instance as sqlite, sealed as on_sqlite},
    },
    exec::{self, postgres::Postgres, sqlite::Sqlite},
    migrate::{self as migrations, Mode},
    seal::Sealing,
    search::TextIndex,
    store::Storage,
};

/// Where a database is.
#[derive(Debug, Clone)]
pub enum Address {
    /// An SQLite file.
    Sqlite(PathBuf),
    /// A Postgres database.
    Postgres(Box<PostgresConnector>),
}

impl Address {
    /// Reads `sqlite:PATH` or `postgres://...`.
    ///
    /// # Errors
    /// It is neither, the path is empty or names a database in memory, or the Postgres address is wrong.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            // Readers and the writer are several connections: each would have a memory of its own.
            if path.is_empty() || path.starts_with(':') || path.starts_with("file:") {
                return Err(AddressError::new(
                    "sqlite: needs the path of a file".to_owned(),
                ));
            }
            return Ok(Self::Sqlite(PathBuf::from(path)));
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return PostgresConnector::parse(text).map(|c| Self::Postgres(Box::new(c)));
        }
        Err(AddressError::new(
            "it must begin with sqlite: or postgres://".to_owned(),
        ))
    }
}

/// How a store is run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// For an SQLite file.
    pub sqlite: SqliteOptions,
    /// For a Postgres database.
    pub postgres: PostgresOptions,
}

/// What was found in a database without changing it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The migrations that are missing, oldest first; all of them for an empty or absent database.
    pub pending: Vec<String>,
    /// The keys that its secrets are sealed with; `None` before the first start.
    pub keys: Option<InstanceKeys>,
    /// How many secrets are still sealed with the key before the one in use.
    pub sealed_before: u64,
    /// Settings of Postgres that would lose acknowledged data: `fsync`, `synchronous_commit`.
    pub not_durable: Vec<&'static str>,
    /// What a database administrator has to run before parts of texts are found by an index; empty where they are, and before
    /// the migration that makes it.
    pub search_statements: Vec<&'static str>,
}

/// What the migrations of the search indexes could not do, where the role may not create the extension. The same as in
/// `migrations/postgres/2026-11-21-142000_search` and `2026-11-21-170000_endpoint_filters`.
const SEARCH_STATEMENTS: &[&str] = &[
    "CREATE EXTENSION IF NOT EXISTS pg_trgm;",
    "CREATE INDEX IF NOT EXISTS endpoints_search ON endpoints USING gin (lower(name COLLATE \"C\") gin_trgm_ops) WITH (fastupdate = off);",
    "ALTER INDEX endpoints_search ALTER COLUMN 1 SET STATISTICS 1000;",
    "CREATE INDEX IF NOT EXISTS endpoints_caller_search ON endpoints USING gin (lower(caller_id COLLATE \"C\") gin_trgm_ops) \
     WITH (fastupdate = off) WHERE caller_id IS NOT NULL;",
    "ALTER INDEX endpoints_caller_search ALTER COLUMN 1 SET STATISTICS 1000;",
];

/// The migration since which a database notes the key before the one in use.
const ROTATIONS_SINCE: &str = "20261122010000";

/// What a database has noted of its keys.
enum Keys {
    None,
    One,
    Rotated,
}

impl Keys {
    fn of(state: &migrations::State) -> Self {
        let is_missing = |version: &String| version == ROTATIONS_SINCE;
        match state {
            state if state.empty => Self::None,
            state if state.pending.iter().any(is_missing) => Self::One,
            _ => Self::Rotated,
        }
    }
}

fn is_rotating(keys: Option<&InstanceKeys>) -> bool {
    let previous = keys.and_then(|keys| keys.previous);
    previous.is_some_and(|previous| previous.replaced_at.is_none())
}

/// Looks at a database and changes nothing; an SQLite file that is not there is not made.
///
/// # Errors
/// It can't be reached, or its schema is newer than this program.
pub async fn inspect(address: &Address) -> Result<Inspection, StartError> {
    match address {
        Address::Sqlite(path) => {
            let state = migrations::sqlite(path, Mode::Look).await?;
            let keys = match Keys::of(&state) {
                Keys::None => None,
                Keys::One => exec::sqlite::once(path, |c| Box::pin(sqlite::first_key(c))).await?,
                Keys::Rotated => exec::sqlite::once(path, |c| Box::pin(sqlite::keys(c))).await?,
            };
            let sealed_before = if is_rotating(keys.as_ref()) {
                exec::sqlite::once(path, |c| Box::pin(on_sqlite::rotation_left(c))).await?
            } else {
                0
            };
            Ok(Inspection {
                pending: state.pending,
                keys,
                sealed_before,
                not_durable: Vec::new(),
                search_statements: Vec::new(),
            })
        }
        Address::Postgres(connector) => {
            let state = migrations::postgres(connector, Mode::Look).await?;
            let mut session = connector.open().await.map_err(StartError::Unreachable)?;
            let c = &mut session.connection;
            let not_durable = not_durable(c).await.map_err(failed)?;
            let keys = match Keys::of(&state) {
                Keys::None => None,
                Keys::One => postgres::first_key(c).await.map_err(failed)?,
                Keys::Rotated => postgres::keys(c).await.map_err(failed)?,
            };
            let sealed_before = if is_rotating(keys.as_ref()) {
                on_postgres::rotation_left(c).await.map_err(failed)?
            } else {
                0
            };
            let is_searchable = !state.pending.is_empty()
                || text_index(c).await.map_err(failed)? == TextIndex::Planned;
            let search_statements = if is_searchable {
                Vec::new()
            } else {
                SEARCH_STATEMENTS.to_vec()
            };
            Ok(Inspection {
                pending: state.pending,
                keys,
                sealed_before,
                not_durable,
                search_statements,
            })
        }
    }
}

/// Runs the migrations that are missing and gives their names, oldest first. The folder of an SQLite file is made if need be.
///
/// # Errors
/// The database can't be reached, its schema is newer than this program, or a migration fails.
pub async fn migrate(address: &Address) -> Result<Vec<String>, StartError> {
    let state = match address {
        Address::Sqlite(path) => {
            if let Some(folder) = path
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty())
            {
                std::fs::create_dir_all(folder).map_err(|error| {
                    StartError::Unreachable(format!("{}: {error}", folder.display()))
                })?;
            }
            migrations::sqlite(path, Mode::Run).await?
        }
        Address::Postgres(connector) => migrations::postgres(connector, Mode::Run).await?,
    };
    Ok(state.pending)
}

impl Storage {
    /// Opens the store on a database whose migrations are all there ([`migrate`]), and checks the instance keys against those that sealed its secrets; a new
    /// database takes the newest. The keyring makes MACs with the one in use.
    ///
    /// # Errors
    /// The database can't be reached, its schema is older or newer, a key is missing, or Postgres is set up to lose acknowledged data.
    pub async fn open(
        address: &Address,
        keyring: Keyring,
        entropy: Arc<dyn Entropy>,
        now: Timestamp,
        options: &Options,
    ) -> Result<Self, StartError> {
        let key = keyring.id();
        let sealing = Sealing::new(keyring.clone(), entropy);
        match address {
            Address::Sqlite(path) => {
                up_to_date(&migrations::sqlite(path, Mode::Look).await?)?;
                let noted = exec::sqlite::once(path, move |c| {
                    Box::pin(async move { sqlite::key_note(c, key, now).await })
                });
                use_keys(&keyring, noted.await?)?;
                let threads = Sqlite::start(path, &options.sqlite, sealing.clone())?;
                Ok(Self::on_sqlite(threads, sealing))
            }
            Address::Postgres(connector) => {
                up_to_date(&migrations::postgres(connector, Mode::Look).await?)?;
                let mut session = connector.open().await.map_err(StartError::Unreachable)?;
                let c = &mut session.connection;
                let not_durable = not_durable(c).await.map_err(failed)?;
                if let [setting, ..] = not_durable[..]
                    && !options.postgres.allow_data_loss
                {
                    return Err(StartError::NotDurable { setting });
                }
                let noted = postgres::key_note(c, key, now).await.map_err(failed)?;
                use_keys(&keyring, noted)?;
                let text_index = text_index(c).await.map_err(failed)?;
                let connections =
                    Postgres::start((**connector).clone(), &options.postgres, &sealing);
                Ok(Self::on_postgres(connections, sealing, text_index))
            }
        }
    }
}

fn failed(error: diesel::result::Error) -> StartError {
    StartError::Database(error.to_string())
}

fn up_to_date(state: &migrations::State) -> Result<(), StartError> {
    match &state.pending[..] {
        [migration, ..] => Err(StartError::OlderSchema {
            migration: migration.clone(),
        }),
        [] => Ok(()),
    }
}

/// Checks that the keys are there which a database needs, and uses the one that it uses.
fn use_keys(keyring: &Keyring, noted: Option<InstanceKeys>) -> Result<(), StartError> {
    let given = keyring.ids();
    let noted = noted.ok_or_else(|| StartError::Database("it has noted no key".to_owned()))?;
    if let Some(needed) = noted.missing(&given) {
        return Err(StartError::WrongKey { needed, given });
    }
    keyring.follow(noted.current);
    Ok(())
}

/// Whether Postgres has the indexes of trigrams.
async fn text_index(c: &mut Conn) -> QueryResult<TextIndex> {
    let is_there: bool = diesel::select(sql::<Bool>(
        "to_regclass('endpoints_search') IS NOT NULL AND to_regclass('endpoints_caller_search') IS NOT NULL",
    ))
    .get_result(c)
    .await?;
    Ok(if is_there {
        TextIndex::Planned
    } else {
        TextIndex::Missing
    })
}

/// The settings under which an acknowledged commit can be lost.
async fn not_durable(c: &mut Conn) -> QueryResult<Vec<&'static str>> {
    let (fsync, synchronous_commit): (String, String) = diesel::select((
        sql::<Text>("current_setting('fsync')"),
        sql::<Text>("current_setting('synchronous_commit')"),
    ))
    .get_result(c)
    .await?;
    let off = [("fsync", fsync), ("synchronous_commit", synchronous_commit)];
    Ok(off
        .into_iter()
        .filter(|(_, value)| value == "off")
        .map(|(name, _)| name)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let path = |text| match Address::parse(text) {
            Ok(Address::Sqlite(path)) => path.display().to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(path("sqlite:data/x.db"), "data/x.db");
        assert_eq!(path("sqlite:///var/x.db"), "/var/x.db");
        for wrong in [
            "sqlite:",
            "sqlite::memory:",
            "sqlite:file:x?mode=memory",
            "mysql://x",
            "",
        ] {
            assert!(Address::parse(wrong).is_err(), "{wrong}");
        }
    }
}

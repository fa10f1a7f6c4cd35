//! Where the database is, what state it is in, and how a store is opened on it.

use std::{path::PathBuf, sync::Arc};

use diesel::{
    QueryResult,
    dsl::sql,
    sql_types::{Bool, Text},
};
use diesel_async::RunQueryDsl as _;
use sipgraph_core::{Timestamp, keyring::Keyring, ports::Entropy};

use crate::{
    AddressError, PostgresConnector, PostgresOptions, SqliteOptions, StartError,
    dialect::{
        postgres::{Conn, queries::instance as postgres},
        sqlite::queries::instance as sqlite,
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
    /// The id of the key that sealed its secrets (`Keyring::id_text`); `None` before the first start.
    pub key_id: Option<String>,
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

/// Looks at a database and changes nothing; an SQLite file that is not there is not made.
///
/// # Errors
/// It can't be reached, or its schema is newer than this program.
pub async fn inspect(address: &Address) -> Result<Inspection, StartError> {
    match address {
        Address::Sqlite(path) => {
            let state = migrations::sqlite(path, Mode::Look).await?;
            let key_id = if state.empty {
                None
            } else {
                exec::sqlite::once(path, |c| Box::pin(sqlite::key_id(c))).await?
            };
            Ok(Inspection {
                pending: state.pending,
                key_id,
                not_durable: Vec::new(),
                search_statements: Vec::new(),
            })
        }
        Address::Postgres(connector) => {
            let state = migrations::postgres(connector, Mode::Look).await?;
            let mut session = connector.open().await.map_err(StartError::Unreachable)?;
            let c = &mut session.connection;
            let not_durable = not_durable(c).await.map_err(failed)?;
            let key_id = if state.empty {
                None
            } else {
                postgres::key_id(c).await.map_err(failed)?
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
                key_id,
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
    /// Opens the store on a database whose migrations are all there ([`migrate`]), and checks the instance key against the one that sealed its secrets; a new
    /// database takes the key.
    ///
    /// # Errors
    /// The database can't be reached, its schema is older or newer, the key is another, or Postgres is set up to lose acknowledged data.
    pub async fn open(
        address: &Address,
        keyring: Keyring,
        entropy: Arc<dyn Entropy>,
        now: Timestamp,
        options: &Options,
    ) -> Result<Self, StartError> {
        let given = keyring.id_text();
        let sealing = Sealing::new(keyring, entropy);
        let key = given.clone();
        match address {
            Address::Sqlite(path) => {
                up_to_date(&migrations::sqlite(path, Mode::Look).await?)?;
                let needed = exec::sqlite::once(path, move |c| {
                    Box::pin(async move { sqlite::key_note(c, &key, now).await })
                });
                same_key(needed.await?, given)?;
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
                same_key(
                    postgres::key_note(c, &key, now).await.map_err(failed)?,
                    given,
                )?;
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

fn same_key(needed: String, given: String) -> Result<(), StartError> {
    if needed == given {
        Ok(())
    } else {
        Err(StartError::WrongKey { needed, given })
    }
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

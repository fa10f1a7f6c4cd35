//! Migrations, embedded for both backends: run what is missing, refuse what is newer.

use std::path::Path;

use diesel::{
    QueryDsl as _, QueryResult, SqliteConnection,
    migration::{Migration, MigrationSource, MigrationVersion},
};
use diesel_async::{AsyncMigrationHarness, AsyncPgConnection, SimpleAsyncConnection as _};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use crate::{
    error::StartError,
    exec::{
        connect::PostgresConnector,
        sqlite::{Synchronous, open},
    },
};

const SQLITE: EmbeddedMigrations = embed_migrations!("../../migrations/sqlite");
const POSTGRES: EmbeddedMigrations = embed_migrations!("../../migrations/postgres");

/// Only one node migrates at a time; any number does, as long as nobody else uses it ("sipgraph" as bytes).
const ADVISORY_LOCK: i64 = 0x7369_7067_7261_7068;

/// Which migrations a database has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    /// Those that are missing (for [`Mode::Run`]: that were, and are now run), oldest first.
    pub(crate) pending: Vec<String>,
    /// Whether none was applied before.
    pub(crate) empty: bool,
}

/// Whether migrations are run or only looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Run,
    Look,
}

/// Runs or looks at the migrations of an SQLite file. Looking at a file that is not there makes none.
pub(crate) async fn sqlite(path: &Path, mode: Mode) -> Result<State, StartError> {
    let path = path.to_owned();
    let work = move || {
        if mode == Mode::Look && !path.exists() {
            return state_of::<diesel::sqlite::Sqlite>(&SQLITE, &[]);
        }
        let mut connection = open(&path, Synchronous::Full)
            .map_err(|error| StartError::Unreachable(error.to_string()))?;
        match mode {
            Mode::Run => migrate_sqlite(&mut connection),
            Mode::Look => {
                let applied = applied_sqlite(&mut connection)
                    .map_err(|error| StartError::Database(error.to_string()))?;
                state_of::<diesel::sqlite::Sqlite>(&SQLITE, &applied)
            }
        }
    };
    blocking(work).await
}

/// Several processes may start on one file: the transaction keeps the others out.
fn migrate_sqlite(connection: &mut SqliteConnection) -> Result<State, StartError> {
    connection
        .immediate_transaction(|connection| {
            let applied = connection
                .applied_migrations()
                .map_err(|error| Failed(StartError::Migration(error.to_string())))?;
            let state = state_of::<diesel::sqlite::Sqlite>(&SQLITE, &names(&applied))?;
            connection
                .run_pending_migrations(SQLITE)
                .map_err(|error| Failed(StartError::Migration(error.to_string())))?;
            Ok::<State, Failed>(state)
        })
        .map_err(|Failed(error)| error)
}

/// An error that a transaction's own errors can become.
struct Failed(StartError);

impl From<StartError> for Failed {
    fn from(error: StartError) -> Self {
        Self(error)
    }
}

impl From<diesel::result::Error> for Failed {
    fn from(error: diesel::result::Error) -> Self {
        Self(StartError::Migration(error.to_string()))
    }
}

diesel::table! {
    /// diesel's own list of what was applied.
    __diesel_schema_migrations (version) {
        version -> VarChar,
        run_on -> Timestamp,
    }
}

/// Reads the list without making it.
fn applied_sqlite(connection: &mut SqliteConnection) -> QueryResult<Vec<String>> {
    use diesel::RunQueryDsl as _;
    let there: bool = diesel::select(diesel::dsl::sql::<diesel::sql_types::Bool>(
        "EXISTS (SELECT 1 FROM sqlite_master WHERE name = '__diesel_schema_migrations')",
    ))
    .get_result(connection)?;
    if !there {
        return Ok(Vec::new());
    }
    __diesel_schema_migrations::table
        .select(__diesel_schema_migrations::version)
        .load(connection)
}

/// Runs or looks at the migrations of a Postgres database.
pub(crate) async fn postgres(
    connector: &PostgresConnector,
    mode: Mode,
) -> Result<State, StartError> {
    let mut session = connector.open().await.map_err(StartError::Unreachable)?;
    let failed = |error: diesel::result::Error| StartError::Database(error.to_string());
    if mode == Mode::Look {
        let applied = applied_postgres(&mut session.connection)
            .await
            .map_err(failed)?;
        return state_of::<diesel::pg::Pg>(&POSTGRES, &applied);
    }
    // Another node's migration may take minutes; so may ours. The lock goes with the connection.
    session
        .connection
        .batch_execute(&format!(
            "SET lock_timeout = 0; SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; \
             SELECT pg_advisory_lock({ADVISORY_LOCK})"
        ))
        .await
        .map_err(failed)?;
    let connection = session.connection;
    blocking(move || {
        let mut harness = AsyncMigrationHarness::new(connection);
        let applied = harness
            .applied_migrations()
            .map_err(|error| StartError::Migration(error.to_string()))?;
        let state = state_of::<diesel::pg::Pg>(&POSTGRES, &names(&applied))?;
        harness
            .run_pending_migrations(POSTGRES)
            .map_err(|error| StartError::Migration(error.to_string()))?;
        Ok(state)
    })
    .await
}

async fn applied_postgres(connection: &mut AsyncPgConnection) -> QueryResult<Vec<String>> {
    use diesel_async::RunQueryDsl as _;
    let there: bool = diesel::select(diesel::dsl::sql::<diesel::sql_types::Bool>(
        "to_regclass('__diesel_schema_migrations') IS NOT NULL",
    ))
    .get_result(connection)
    .await?;
    if !there {
        return Ok(Vec::new());
    }
    __diesel_schema_migrations::table
        .select(__diesel_schema_migrations::version)
        .load(connection)
        .await
}

fn names(versions: &[MigrationVersion<'_>]) -> Vec<String> {
    versions.iter().map(ToString::to_string).collect()
}

/// Compares what was applied with what is embedded.
fn state_of<DB: diesel::backend::Backend>(
    embedded: &EmbeddedMigrations,
    applied: &[String],
) -> Result<State, StartError> {
    let known: Vec<Box<dyn Migration<DB>>> = embedded
        .migrations()
        .map_err(|error| StartError::Migration(error.to_string()))?;
    let mut known: Vec<String> = known
        .iter()
        .map(|migration| migration.name().version().to_string())
        .collect();
    known.sort();
    if let Some(unknown) = applied.iter().find(|version| !known.contains(version)) {
        return Err(StartError::NewerSchema {
            migration: unknown.clone(),
        });
    }
    known.retain(|version| !applied.contains(version));
    Ok(State {
        pending: known,
        empty: applied.is_empty(),
    })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StartError> + Send + 'static,
) -> Result<T, StartError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(StartError::Database(error.to_string())))
}

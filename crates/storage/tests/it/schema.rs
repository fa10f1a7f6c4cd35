//! Migrations, versions of the schema, the instance key.

use std::sync::Arc;

use futures_util::future::join_all;
use sipgraph_core::{
    Timestamp,
    keyring::{Keyring, key_id},
    rotation::InstanceKeys,
};
use sipgraph_storage::{Address, Options, PostgresOptions, StartError, Storage, inspect, migrate};
use sipgraph_testkit::{Database, SeededEntropy, block_on, both_backends, database::TEST_KEY};

async fn open(address: &Address, key: [u8; 32], options: &Options) -> Result<Storage, StartError> {
    let entropy = Arc::new(SeededEntropy::new(1));
    Storage::open(address, Keyring::new(key), entropy, Timestamp(0), options).await
}

/// Runs statements past the store.
async fn run_sql(database: &Database, sql: &str) {
    match database.file() {
        Some(file) => rusqlite::Connection::open(file)
            .unwrap()
            .execute_batch(sql)
            .unwrap(),
        None => {
            let (client, connection) =
                tokio_postgres::connect(database.url(), tokio_postgres::NoTls)
                    .await
                    .unwrap();
            tokio::spawn(connection);
            client.batch_execute(sql).await.unwrap();
        }
    }
}

both_backends! {
    async fn migrations_run_once_however_many_start(database: Database) {
        let address = Address::parse(database.url()).unwrap();
        let before = inspect(&address).await.unwrap();
        assert!(!before.pending.is_empty());
        assert_eq!(before.keys, None);
        assert!(database.file().is_none_or(|file| !file.exists()), "looking makes nothing");
        let error = open(&address, TEST_KEY, &Options::default()).await.unwrap_err();
        assert!(matches!(error, StartError::OlderSchema { .. }), "{error:?}");
        let runs = join_all((0..4).map(|_| migrate(&address))).await;
        let mut ran: Vec<String> = runs.into_iter().flat_map(Result::unwrap).collect();
        ran.sort();
        assert_eq!(ran, before.pending);
        assert!(inspect(&address).await.unwrap().pending.is_empty());
        assert!(migrate(&address).await.unwrap().is_empty());
    }

    async fn a_newer_schema_is_refused(database: Database) {
        let address = Address::parse(database.url()).unwrap();
        migrate(&address).await.unwrap();
        run_sql(&database, "INSERT INTO __diesel_schema_migrations (version) VALUES ('99990101000000')").await;
        let newer = StartError::NewerSchema { migration: "99990101000000".to_owned() };
        assert_eq!(migrate(&address).await.unwrap_err(), newer);
        assert_eq!(inspect(&address).await.unwrap_err(), newer);
        assert_eq!(open(&address, TEST_KEY, &Options::default()).await.unwrap_err(), newer);
    }

    async fn another_key_is_refused(database: Database) {
        let address = Address::parse(database.url()).unwrap();
        migrate(&address).await.unwrap();
        open(&address, TEST_KEY, &Options::default()).await.unwrap().close().await;
        let error = open(&address, [8; 32], &Options::default()).await.unwrap_err();
        let (needed, given) = (key_id(TEST_KEY), vec![key_id([8; 32])]);
        assert_eq!(error, StartError::WrongKey { needed, given });
        let keys = InstanceKeys { current: needed, previous: None };
        assert_eq!(inspect(&address).await.unwrap().keys, Some(keys));
        open(&address, TEST_KEY, &Options::default()).await.unwrap();
    }

    /// `down.sql` undoes `up.sql`, and `up.sql` can be run after it.
    async fn migrations_can_be_undone(database: Database) {
        let address = Address::parse(database.url()).unwrap();
        migrate(&address).await.unwrap();
        let sqlite = database.file().is_some();
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations/");
        let folder = std::path::Path::new(folder).join(if sqlite { "sqlite" } else { "postgres" });
        let mut migrations: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        migrations.sort();
        for migration in migrations.iter().rev() {
            run_sql(&database, &std::fs::read_to_string(migration.join("down.sql")).unwrap()).await;
        }
        for migration in &migrations {
            run_sql(&database, &std::fs::read_to_string(migration.join("up.sql")).unwrap()).await;
        }
        open(&address, TEST_KEY, &Options::default()).await.unwrap();
    }
}

#[test]
fn postgres_that_would_lose_data_is_refused() {
    block_on(async {
        let database = Database::postgres().await;
        let address = Address::parse(database.url()).unwrap();
        migrate(&address).await.unwrap();
        let name = database.url().rsplit_once('/').unwrap().1;
        run_sql(
            &database,
            &format!("ALTER DATABASE {name} SET synchronous_commit = off"),
        )
        .await;
        let setting = "synchronous_commit";
        assert_eq!(inspect(&address).await.unwrap().not_durable, [setting]);
        let error = open(&address, TEST_KEY, &Options::default())
            .await
            .unwrap_err();
        assert_eq!(error, StartError::NotDurable { setting });
        let allowed = Options {
            postgres: PostgresOptions {
                allow_data_loss: true,
                ..PostgresOptions::default()
            },
            ..Options::default()
        };
        open(&address, TEST_KEY, &allowed).await.unwrap();
    });
}

#[test]
fn a_database_that_is_not_there_is_said_to_be_unreachable() {
    block_on(async {
        let address = Address::parse("postgres://u@127.0.0.1:1/x").unwrap();
        assert!(matches!(
            migrate(&address).await,
            Err(StartError::Unreachable(_))
        ));
        let address = Address::Sqlite("/proc/nothing/x.db".into());
        assert!(matches!(
            migrate(&address).await,
            Err(StartError::Unreachable(_))
        ));
    });
}

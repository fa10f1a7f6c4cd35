//! A database of its own for each test, on either backend.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use sipgraph_core::{Timestamp, keyring::Keyring};
use sipgraph_storage::{Address, Options, Storage, migrate};
use tempfile::TempDir;
use tokio_postgres::NoTls;

use crate::{clock::SeededEntropy, cluster::Cluster};

/// The instance key of every test.
pub const TEST_KEY: [u8; 32] = [7; 32];

/// The two databases that sipgraph runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// A file in a temporary folder. Not `:memory:`, because readers and the writer are several connections.
    Sqlite,
    /// A fresh database on the cluster that this process's tests share.
    Postgres,
}

/// An empty database; the temporary folder of an SQLite one goes away with it.
pub struct Database {
    backend: Backend,
    url: String,
    folder: Option<TempDir>,
}

impl Database {
    /// Makes an empty database of `backend`.
    pub async fn create(backend: Backend) -> Self {
        match backend {
            Backend::Sqlite => Self::sqlite(),
            Backend::Postgres => Self::postgres().await,
        }
    }

    /// Makes an empty SQLite database in a temporary folder.
    #[must_use]
    pub fn sqlite() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("sipgraph")
            .tempdir()
            .expect("a temporary folder can be made");
        let url = format!("sqlite:{}", folder.path().join("test.db").display());
        Self {
            backend: Backend::Sqlite,
            url,
            folder: Some(folder),
        }
    }

    /// Makes an empty database on the shared cluster, which the first call starts.
    pub async fn postgres() -> Self {
        let cluster = tokio::task::spawn_blocking(Cluster::shared)
            .await
            .expect("the cluster starts");
        Self::on(cluster).await
    }

    /// Makes an empty database on a private cluster.
    pub async fn on(cluster: &Cluster) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let name = format!("test{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let admin = format!(
            "host={} port={} user=postgres dbname=postgres",
            cluster.socket_folder().display(),
            cluster.port()
        );
        let (client, connection) = tokio_postgres::connect(&admin, NoTls)
            .await
            .expect("the cluster answers");
        let connection = tokio::spawn(connection);
        client
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .await
            .expect("a database can be made");
        drop(client);
        let _ = connection.await;
        Self {
            backend: Backend::Postgres,
            url: cluster.url(&name),
            folder: None,
        }
    }

    /// The same Postgres database by another address, as a relay in front of it has; it owns nothing.
    #[must_use]
    pub fn through(&self, relay: std::net::SocketAddr) -> Self {
        let (_, name) = self
            .url
            .rsplit_once('/')
            .expect("an address names a database");
        Self {
            backend: self.backend,
            url: format!("postgres://postgres@{relay}/{name}"),
            folder: None,
        }
    }

    /// Which of the two it is.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Migrates the database and opens a store on it, with [`TEST_KEY`] and the default options.
    pub async fn store(&self) -> Storage {
        self.store_with(&Options::default()).await
    }

    /// Migrates the database and opens a store on it, with [`TEST_KEY`].
    pub async fn store_with(&self, options: &Options) -> Storage {
        let address = Address::parse(&self.url).expect("a test's address is right");
        migrate(&address).await.expect("the migrations run");
        let entropy = Arc::new(SeededEntropy::new(1));
        Storage::open(
            &address,
            Keyring::new(TEST_KEY),
            entropy,
            Timestamp(0),
            options,
        )
        .await
        .expect("the store opens")
    }

    /// The address, as `SIPGRAPH_DATABASE_URL` takes it.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The folder of an SQLite database; none for Postgres.
    #[must_use]
    pub fn folder(&self) -> Option<&std::path::Path> {
        self.folder.as_ref().map(TempDir::path)
    }

    /// The file of an SQLite database; none for Postgres.
    #[must_use]
    pub fn file(&self) -> Option<std::path::PathBuf> {
        self.folder().map(|folder| folder.join("test.db"))
    }
}

//! The only place that picks a backend, a bus and a technology, and plugs them into the application.

use crate::config::{BusUrl, Config, DatabaseUrl};
use crate::failure::Failure;
use crate::files;
use crate::keyfile;
use sipgraph_bus::{Connect, LocalBus, PostgresBus};
use sipgraph_core::account::Account;
use sipgraph_core::app::{App, Parts, Policy};
use sipgraph_core::decide::presence::RegistrationTimes;
use sipgraph_core::defence::Limits;
use sipgraph_core::keyring::Keyring;
use sipgraph_core::ports::{Bus, Clock, Entropy};
use sipgraph_core::{ErrorKind, Timestamp};
use sipgraph_storage::{
    Address, Inspection, Options, PostgresConnector, PostgresOptions, SqliteOptions, StartError,
    Storage,
};
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// The application on its database.
pub(crate) struct Instance {
    /// The use cases.
    pub(crate) app: Arc<App>,
    /// The bus that the application wakes.
    pub(crate) bus: Arc<dyn Bus>,
    /// The store, for what is not the application's: backups and closing.
    pub(crate) storage: Arc<Storage>,
}

impl Instance {
    /// Opens the database for a command: migrates it, makes the key file of an empty one. Nobody here reads wakes;
    /// running servers see the change at their next look, within a second.
    ///
    /// # Errors
    /// A wrong address or key file; a database that can't be opened.
    pub(crate) async fn open(config: &Config) -> Result<Self, Failure> {
        Self::open_with(config, BusUrl::Local).await
    }

    /// Opens the database to serve it.
    ///
    /// # Errors
    /// Those of [`Instance::open`].
    pub(crate) async fn open_to_serve(config: &Config) -> Result<Self, Failure> {
        Self::open_with(config, config.bus()).await
    }

    async fn open_with(config: &Config, bus: BusUrl) -> Result<Self, Failure> {
        let address = address(&config.database.url)?;
        let found = inspect(&address).await?;
        let known = known_key(config, &found)?;
        if let DatabaseUrl::Sqlite(path) = &config.database.url {
            private_file(path)?;
        }
        for migration in sipgraph_storage::migrate(&address).await.map_err(refusal)? {
            tracing::info!(migration, "the schema was brought up to date");
        }
        let keys = match known {
            Some(keys) => keys,
            None => keyfile::create(&config.key_file())?,
        };
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
        let clock = Arc::new(SystemClock);
        let options = storage_options(config);
        let opening = Storage::open(
            &address,
            keys.clone(),
            entropy.clone(),
            clock.now(),
            &options,
        );
        let storage = Arc::new(opening.await.map_err(refusal)?);
        let bus: Arc<dyn Bus> = match (bus, storage.postgres_connector()) {
            (BusUrl::Postgres, Some(connector)) => {
                Arc::new(PostgresBus::start(connections(connector)))
            }
            (BusUrl::Local, _) | (BusUrl::Postgres, None) => Arc::new(LocalBus::new()),
        };
        let app = App::new(Parts {
            store: storage.clone(),
            bus: bus.clone(),
            clock,
            entropy,
            keys,
            policy: policy(config),
        });
        Ok(Self { app, bus, storage })
    }

    /// Returns an account by its name.
    ///
    /// # Errors
    /// [`Failure::Failed`] naming it when there is none.
    pub(crate) async fn account(&self, name: &str) -> Result<Account, Failure> {
        match self.app.account_by_name(name).await {
            Err(error) if error.kind == ErrorKind::NotFound => Err(Failure::Failed(format!(
                "There is no account with the name {name}."
            ))),
            found => Ok(found?),
        }
    }

    /// Closes the database.
    pub(crate) async fn close(&self) {
        self.storage.close().await;
    }
}

/// Reads the database's address.
///
/// # Errors
/// [`Failure::Usage`] naming `database.url`.
pub(crate) fn address(url: &DatabaseUrl) -> Result<Address, Failure> {
    Address::parse(&url.expose()).map_err(|error| Failure::key("database.url", error))
}

/// Looks at a database and changes nothing.
///
/// # Errors
/// When it can't be read, or is newer than this program.
pub(crate) async fn inspect(address: &Address) -> Result<Inspection, Failure> {
    sipgraph_storage::inspect(address).await.map_err(refusal)
}

/// Lets the bus connect as the store does, with its TLS and session settings.
fn connections(connector: PostgresConnector) -> Connect {
    Arc::new(move || {
        let connector = connector.clone();
        Box::pin(async move { Ok(connector.connect().await?) })
    })
}

/// Makes the file of an SQLite database that is not there yet, for its owner alone: it holds what people wrote. SQLite
/// fills an empty file, and gives the files beside it the same mode.
fn private_file(path: &Path) -> Result<(), Failure> {
    match files::create(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(Failure::key(
            "database.url",
            format_args!("{} can't be made: {error}", path.display()),
        )),
        _ => Ok(()),
    }
}

/// Returns the keys of the file, checked against the database; none when neither has one yet.
///
/// # Errors
/// [`Failure::Usage`] naming `secret_key_file` when the database needs a key and the file does not hold it.
pub(crate) fn known_key(config: &Config, found: &Inspection) -> Result<Option<Keyring>, Failure> {
    let path = config.key_file();
    let given = keyfile::read(&path)?;
    let ids = given.as_ref().map(Keyring::ids).unwrap_or_default();
    let needed = found.keys.and_then(|keys| keys.missing(&ids));
    match needed {
        Some(needed) if given.is_none() => Err(keyfile::missing(&path, needed)),
        Some(needed) => Err(keyfile::wrong(&path, &ids, needed)),
        None => Ok(given),
    }
}

/// Says why a store does not start: as a configuration key where one mends it.
pub(crate) fn refusal(error: StartError) -> Failure {
    match error {
        StartError::Address(error) => Failure::key("database.url", error),
        StartError::WrongKey { .. } => Failure::key("secret_key_file", error),
        StartError::NotDurable { .. } => Failure::key("database.allow_data_loss", error),
        StartError::Unreachable(_)
        | StartError::NewerSchema { .. }
        | StartError::OlderSchema { .. }
        | StartError::Migration(_)
        | StartError::Database(_) => Failure::Failed(error.to_string()),
    }
}

fn storage_options(config: &Config) -> Options {
    let database = &config.database;
    Options {
        sqlite: SqliteOptions {
            pages_max: (database.sqlite_pages_max > 0).then_some(database.sqlite_pages_max),
            ..SqliteOptions::default()
        },
        postgres: PostgresOptions {
            pool_size: database.postgres_pool_size,
            writers: database.postgres_writers,
            allow_data_loss: database.allow_data_loss,
            ..PostgresOptions::default()
        },
    }
}

fn policy(config: &Config) -> Policy {
    Policy {
        message_expiry: config.messages.expiry,
        message_expiry_max: config.messages.expiry_max,
        registration: RegistrationTimes {
            min_s: config.sip.expires_s_min,
            max_s: config.sip.expires_s_max,
        },
        store_and_forward: config.messages.store_and_forward,
        unrecorded_text: config.messages.unrecorded_text,
        message_retention: config.message_retention(),
        event_retention: config.events.retention,
        defence: Limits {
            unauthenticated_per_s: config.sip.unauthenticated_per_s,
            trusted: config.sip.trusted_sources.clone(),
        },
    }
}

/// The wall clock of this machine.
struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        // A clock before 1970 is unset; times of the past are then safer than a panic.
        let since_1970 = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::default().plus(since_1970)
    }
}

/// The random numbers of the operating system.
struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        // A predictable token or key would be worse than none. The kernel's generator fails only before it is seeded
        // at boot, and the key file or the node's id was made by it before anything is served.
        getrandom::fill(buffer).expect("the operating system gives random bytes");
    }
}

//! Opens the store and the application as the program does, with the system's clock and randomness.

use crate::Failure;
use sipgraph_bus::LocalBus;
use sipgraph_core::app::{Parts, Policy};
use sipgraph_core::keyring::Keyring;
use sipgraph_core::ports::{Clock, Entropy, Store};
use sipgraph_core::{App, Timestamp};
use sipgraph_storage::{Address, Options, Storage, migrate};
use std::sync::Arc;
use std::time::SystemTime;

/// The system's clock and randomness.
#[derive(Debug, Clone, Copy)]
pub(crate) struct System;

impl Clock for System {
    fn now(&self) -> Timestamp {
        let since_1970 = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        Timestamp::default().plus(since_1970)
    }
}

impl Entropy for System {
    fn fill(&self, buffer: &mut [u8]) {
        getrandom::fill(buffer).expect("the system has randomness");
    }
}

/// An open store, and an application on it.
pub(crate) struct Instance {
    /// The store.
    pub(crate) store: Arc<Storage>,
    /// The application.
    pub(crate) app: Arc<App>,
}

impl Instance {
    /// Brings a database to the newest schema and opens it.
    ///
    /// # Errors
    /// The database can't be opened.
    pub(crate) async fn open(url: &str, options: &Options) -> Result<Self, Failure> {
        Self::sealed(url, options, Keyring::new([7; 32])).await
    }

    /// Opens a database whose secrets are sealed with this key.
    ///
    /// # Errors
    /// The database can't be opened, or its key is another.
    pub(crate) async fn sealed(
        url: &str,
        options: &Options,
        keys: Keyring,
    ) -> Result<Self, Failure> {
        let address = Address::parse(url)?;
        migrate(&address).await?;
        let storage = Storage::open(
            &address,
            keys.clone(),
            Arc::new(System),
            System.now(),
            options,
        );
        let store = Arc::new(storage.await?);
        let app = App::new(Parts {
            store: store.clone(),
            bus: Arc::new(LocalBus::new()),
            clock: Arc::new(System),
            entropy: Arc::new(System),
            keys,
            policy: Policy::default(),
        });
        Ok(Self { store, app })
    }

    /// The store as the application sees it.
    pub(crate) fn port(&self) -> Arc<dyn Store> {
        self.store.clone()
    }
}

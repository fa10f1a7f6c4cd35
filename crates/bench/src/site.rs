//! A database with an endpoint for every phone, and the program on it.

use crate::Failure;
use crate::open::Instance;
use crate::phones::{REALM, password, user};
use crate::program::Program;
use crate::world::{caller_make, domain_make, endpoint_make_with};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use sipgraph_core::decide::endpoints::NewCredentials;
use sipgraph_storage::Options;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The account that owns all of it.
pub(crate) const ACCOUNT: &str = "bench";
/// How many endpoints are made at once: a full group of the writer.
const AT_ONCE: usize = 128;

/// A database with endpoints, and what is needed to run the program on it.
pub(crate) struct Site {
    /// The program.
    pub(crate) program: Program,
    /// The database file.
    pub(crate) database: PathBuf,
    /// Where other files may be put.
    pub(crate) folder: TempDir,
}

impl Site {
    /// Makes the database, with so many endpoints of one domain.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) async fn make(folder: &Path, endpoints: usize) -> Result<Self, Failure> {
        let folder = tempfile::tempdir_in(folder)?;
        let database = folder.path().join("phones.db");
        let url = format!("sqlite:{}", database.display());
        let program = Program::new(&url, folder.path())?;
        // The program makes its key; what is made here has to be sealed with the same.
        program.run(&["account", "create", ACCOUNT]).await?;
        let instance = Instance::sealed(&url, &Options::default(), program.keyring()?).await?;
        let app = &instance.app;
        let account = app.account_by_name(ACCOUNT).await?;
        let caller = caller_make(app, account.id).await?;
        let domain = domain_make(app, &caller, REALM).await?;
        stream::iter(0..endpoints)
            .map(|number| {
                let password = NewCredentials::password(&password(number));
                let name = user(number);
                let caller = &caller;
                async move { endpoint_make_with(app, caller, domain, &name, password).await }
            })
            .buffer_unordered(AT_ONCE)
            .try_for_each(async |_| Ok(()))
            .await?;
        instance.store.close().await;
        Ok(Self {
            program,
            database,
            folder,
        })
    }
}

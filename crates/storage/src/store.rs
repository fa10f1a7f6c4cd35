//! `impl Store for Storage`: picks the backend and the kind of transaction, and nothing else.

use std::{path::Path, sync::Arc, time::Duration};

use sipgraph_core::{
    AccountId, ApplicationId, BindingId, ChatId, DomainId, EndpointId, EndpointTokenId, Error,
    ErrorKind, ExchangeId, MessageId, Timestamp, TokenId,
    account::{Account, LogHead},
    application::Application,
    binding::Binding,
    chat::{Chat, ChatKey},
    commit::{Answer, Commit, EndpointSecret, Idempotency},
    delivery::{Delivery, Dispatch},
    domain::Domain,
    endpoint::Endpoint,
    endpoint_token::EndpointToken,
    event::Event,
    id::NodeId,
    keyring::{KeyId, Secret},
    message::Message,
    page::{NameKey, Page, Slice},
    ports::{
        Store,
        store::{
            AccountSettings, ChatFilter, Credentials, DispatchPlace, DomainDeletion,
            EncryptionBegun, EndpointFilter, EndpointKey, EndpointSecrets, Found, MessageFilter,
            Realm, RegistrationFailureFilter, SendSnapshot, StoreFuture, Totals, Tried,
        },
    },
    registration_failure::RegistrationFailure,
    rotation::InstanceKeys,
    search::{Unindexed, Words},
    sip_profile::SipProfile,
    token::ApiToken,
};

use crate::{
    PostgresConnector, StartError,
    dialect::{
        postgres::{
            queries as on_postgres,
            together::{self, SendAsked},
        },
        sqlite::{copy_into, queries as on_sqlite},
    },
    exec::{
        Load,
        gather::Gather,
        postgres::Postgres,
        sqlite::{Sqlite, once},
    },
    recent::Recent,
    rotation::{RotationPlace, RotationStep},
    seal::Sealing,
    search::{Plan, SCANS, TextIndex},
};

/// A store on either database.
pub struct Storage {
    backend: Backend,
    sealing: Sealing,
    text_index: TextIndex,
}

enum Backend {
    Sqlite(Sqlite),
    Postgres(Box<Shared>),
}

/// Postgres, with the look-ups that requests have in common.
struct Shared {
    postgres: Arc<Postgres>,
    tokens: Gather<[u8; 32], Option<ApiToken>>,
    endpoints: Gather<(AccountId, EndpointId), Found<Endpoint>>,
    chats: Gather<(AccountId, ChatId), Option<Chat>>,
    sends: Gather<SendAsked, SendSnapshot>,
}

/// Calls a function of `queries` on whichever backend is open: `run!(self, read(false), chats::chats(account, &filter))`.
macro_rules! run {
    ($self:ident, $how:ident($($mode:expr)?), $module:ident::$name:ident($($arg:expr),*)) => {
        Box::pin(async move {
            match &$self.backend {
                Backend::Sqlite(sqlite) => {
                    sqlite
                        .$how($($mode,)? move |c| {
                            Box::pin(async move { on_sqlite::$module::$name(c, $($arg),*).await })
                        })
                        .await
                }
                Backend::Postgres(shared) => {
                    shared
                        .postgres
                        .$how($($mode,)? move |c| {
                            Box::pin(async move { on_postgres::$module::$name(c, $($arg),*).await })
                        })
                        .await
                }
            }
        })
    };
}

/// A read of one statement.
macro_rules! read {
    ($self:ident, $($call:tt)+) => { run!($self, read(false), $($call)+) };
}

/// A read of several statements, which see one snapshot.
macro_rules! snapshot {
    ($self:ident, $($call:tt)+) => { run!($self, read(true), $($call)+) };
}

/// A write that is no commit, in a transaction of its own. One that changes what a REGISTER reads has to tell [`Recent`].
macro_rules! write {
    ($self:ident, $($call:tt)+) => { run!($self, write(), $($call)+) };
}

/// Looks something up with what others ask for at the same time: `together!(shared.tokens, hash, tokens_by_hashes)`.
macro_rules! together {
    ($shared:ident.$gather:ident, $key:expr, $name:ident) => {{
        let postgres = Arc::clone(&$shared.postgres);
        Box::pin($shared.$gather.get($key, move |keys| {
            let postgres = Arc::clone(&postgres);
            async move {
                postgres
                    .read_here(move |c| Box::pin(together::$name(c, keys)))
                    .await
            }
        }))
    }};
}

/// The answer to what needs no read; none of its state is made then.
fn known<T: Send + 'static>(value: T) -> StoreFuture<'static, T> {
    Box::pin(std::future::ready(Ok(value)))
}

/// The answer to a search for a text that no index helps with, in an account with too many endpoints to look at each.
fn too_many_to_search() -> Error {
    let most = SCANS.iter().copied().max().unwrap_or_default();
    Error::new(
        ErrorKind::TooComplex,
        format!(
            "Too few of the newest {most} endpoints match. Search for a text with three or more letters or digits in a row, \
             or filter by something else too."
        ),
    )
}

impl Storage {
    pub(crate) fn on_sqlite(threads: Sqlite, sealing: Sealing) -> Self {
        Self {
            backend: Backend::Sqlite(threads),
            sealing,
            text_index: TextIndex::Asked,
        }
    }

    pub(crate) fn on_postgres(
        connections: Postgres,
        sealing: Sealing,
        text_index: TextIndex,
    ) -> Self {
        Self {
            backend: Backend::Postgres(Box::new(Shared {
                postgres: Arc::new(connections),
                tokens: Gather::default(),
                endpoints: Gather::default(),
                chats: Gather::default(),
                sends: Gather::default(),
            })),
            sealing,
            text_index,
        }
    }

    /// Returns what the writers of this process have done, and what is before them.
    #[must_use]
    pub fn load(&self) -> Load {
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.load(),
            Backend::Postgres(shared) => shared.postgres.load(),
        }
    }

    /// Whether several nodes may share this database; if not, this one is alone on it.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self.backend, Backend::Postgres(_))
    }

    /// Makes connections to the same Postgres database, for the bus to listen on; `None` on SQLite.
    #[must_use]
    pub fn postgres_connector(&self) -> Option<PostgresConnector> {
        match &self.backend {
            Backend::Sqlite(_) => None,
            Backend::Postgres(shared) => Some(shared.postgres.connector().clone()),
        }
    }

    /// Copies an SQLite database, as of one moment and synced, to a file that must not exist yet. The instance key file belongs to it and is not copied.
    ///
    /// # Errors
    /// The file can't be written; or the database is Postgres, which has its own tools (`pg_dump`, `pg_basebackup`).
    pub async fn backup(&self, to: &Path) -> Result<(), StartError> {
        let Backend::Sqlite(sqlite) = &self.backend else {
            return Err(StartError::Database(
                "a Postgres database is backed up with pg_dump or pg_basebackup".to_owned(),
            ));
        };
        let path = to
            .to_str()
            .ok_or_else(|| StartError::Database(format!("{} is not UTF-8", to.display())))?
            .to_owned();
        let target = to.to_owned();
        once(sqlite.path(), move |c| {
            Box::pin(async move { copy_into(c, &path).await })
        })
        .await?;
        // VACUUM INTO leaves the sync to the operating system.
        let synced = tokio::task::spawn_blocking(move || {
            std::fs::File::open(target).and_then(|file| file.sync_all())
        });
        synced
            .await
            .map_err(|error| StartError::Database(error.to_string()))?
            .map_err(|error| StartError::Database(error.to_string()))
    }

    /// Reads which keys the secrets are sealed with; `None` before the first start.
    ///
    /// # Errors
    /// The database can't be reached.
    pub async fn keys(&self) -> Result<Option<InstanceKeys>, Error> {
        let keys: StoreFuture<'_, _> = read!(self, instance::keys());
        keys.await
    }

    /// Puts a new key in the place of the one in use: from now on it alone seals, on every node. Gives false when another key is in
    /// use, or the one before it is not forgotten.
    ///
    /// # Errors
    /// The database can't be reached.
    pub async fn rotation_begin(&self, from: KeyId, to: KeyId) -> Result<bool, Error> {
        let begun: StoreFuture<'_, _> = write!(self, instance::rotation_begin(from, to));
        begun.await
    }

    /// Seals anew, with the key in use, some of what other keys sealed. What is changed at the same time is left out.
    ///
    /// # Errors
    /// The database can't be reached, or the keyring lacks a key.
    pub async fn rotation_step(&self, place: RotationPlace) -> Result<RotationStep, Error> {
        let sealing = self.sealing.clone();
        let step: StoreFuture<'_, _> = write!(self, sealed::rotation_step(&sealing, place));
        step.await
    }

    /// Counts what other keys sealed than the one in use.
    ///
    /// # Errors
    /// The database can't be reached.
    pub async fn rotation_left(&self) -> Result<u64, Error> {
        let left: StoreFuture<'_, _> = snapshot!(self, sealed::rotation_left());
        left.await
    }

    /// Notes that the key before seals nothing any more. To be called when nothing is left; no node seals with it since the
    /// rotation began. Gives false when that was noted already.
    ///
    /// # Errors
    /// The database can't be reached.
    pub async fn rotation_end(&self, at: Timestamp) -> Result<bool, Error> {
        let ended: StoreFuture<'_, _> = write!(self, instance::rotation_end(at));
        ended.await
    }

    /// Forgets the key before the one in use. Gives false when it is another, or its rotation did not end.
    ///
    /// # Errors
    /// The database can't be reached.
    pub async fn previous_key_forget(&self, key: KeyId) -> Result<bool, Error> {
        let forgotten: StoreFuture<'_, _> = write!(self, instance::previous_forget(key));
        forgotten.await
    }

    /// Finishes the commits that wait, refuses new work, and closes the connections.
    pub async fn close(&self) {
        match &self.backend {
            Backend::Sqlite(sqlite) => sqlite.close().await,
            Backend::Postgres(shared) => shared.postgres.close().await,
        }
    }

    /// What was read lately. Several nodes write to one Postgres, so there each read asks the database.
    fn recent(&self) -> Option<&Recent> {
        match &self.backend {
            Backend::Sqlite(sqlite) => Some(sqlite.recent()),
            Backend::Postgres(_) => None,
        }
    }

    /// What was read lately, if it may be given.
    fn current(&self) -> Option<&Recent> {
        match &self.backend {
            Backend::Sqlite(sqlite) if sqlite.is_recent_current() => Some(sqlite.recent()),
            Backend::Sqlite(_) | Backend::Postgres(_) => None,
        }
    }

    /// Trims one account; gives how many events went.
    async fn account_trim(
        &self,
        account: AccountId,
        before: Timestamp,
        limit: u32,
    ) -> Result<u64, Error> {
        let marked: StoreFuture<'_, i64> = write!(self, events::trim_mark(account, before, limit));
        let up_to = marked.await?;
        if up_to == 0 {
            return Ok(0);
        }
        let deleted: StoreFuture<'_, u64> = write!(self, events::trim_delete(account, up_to));
        deleted.await
    }
}

impl std::fmt::Debug for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.backend {
            Backend::Sqlite(_) => "Storage(SQLite)",
            Backend::Postgres(_) => "Storage(Postgres)",
        })
    }
}

impl Store for Storage {
    fn commit(&self, commit: Commit) -> StoreFuture<'_, Answer> {
        Box::pin(async move {
            match &self.backend {
                Backend::Sqlite(sqlite) => sqlite.commit(commit).await,
                Backend::Postgres(shared) => shared.postgres.commit(commit).await,
            }
        })
    }

    fn idempotent_result(
        &self,
        account: AccountId,
        key: Idempotency,
    ) -> StoreFuture<'_, Option<Answer>> {
        read!(self, accounts::idempotent_result(account, &key))
    }

    fn ready(&self) -> StoreFuture<'_, ()> {
        read!(self, accounts::ready())
    }

    fn account_create(
        &self,
        id: AccountId,
        name: String,
        at: Timestamp,
    ) -> StoreFuture<'_, Option<Account>> {
        write!(self, accounts::account_create(id, &name, at))
    }

    fn account(&self, id: AccountId) -> StoreFuture<'_, Option<Account>> {
        snapshot!(self, accounts::account(id))
    }

    fn account_by_name(&self, name: String) -> StoreFuture<'_, Option<Account>> {
        snapshot!(self, accounts::account_by_name(&name))
    }

    fn numbers_assign(
        &self,
        account: AccountId,
        numbers: Vec<String>,
    ) -> StoreFuture<'_, Vec<String>> {
        write!(self, accounts::numbers_assign(account, &numbers))
    }

    fn numbers(
        &self,
        account: AccountId,
        numbers: Option<Vec<String>>,
    ) -> StoreFuture<'_, Vec<(String, Option<EndpointId>)>> {
        read!(self, accounts::numbers(account, numbers.clone()))
    }

    fn number_accounts(&self, numbers: Vec<String>) -> StoreFuture<'_, Vec<(String, AccountId)>> {
        read!(self, accounts::number_accounts(numbers.clone()))
    }

    fn account_settings(&self, account: AccountId) -> StoreFuture<'_, AccountSettings> {
        read!(self, sip_profiles::account_settings(account))
    }

    fn sip_profile(&self, account: AccountId) -> StoreFuture<'_, SipProfile> {
        read!(self, sip_profiles::sip_profile(account))
    }

    fn encryption_next(&self, limit: u32) -> StoreFuture<'_, Option<EncryptionBegun>> {
        snapshot!(self, sip_profiles::encryption_next(limit))
    }

    fn epoch_raise(&self) -> StoreFuture<'_, ()> {
        write!(self, accounts::epoch_raise())
    }

    fn token_by_hash(&self, hash: [u8; 32]) -> StoreFuture<'_, Option<ApiToken>> {
        if let Backend::Postgres(shared) = &self.backend {
            return together!(shared.tokens, hash, tokens_by_hashes);
        }
        read!(self, tokens::token_by_hash(hash))
    }

    fn token(&self, account: AccountId, id: TokenId) -> StoreFuture<'_, Option<ApiToken>> {
        read!(self, tokens::token(account, id))
    }

    fn tokens(&self, account: AccountId, slice: Slice) -> StoreFuture<'_, Page<ApiToken>> {
        read!(self, tokens::tokens(account, &slice))
    }

    fn tokens_count(&self, account: AccountId) -> StoreFuture<'_, i64> {
        read!(self, tokens::tokens_count(account))
    }

    fn tokens_revoked_since(&self, at: Timestamp) -> StoreFuture<'_, Vec<TokenId>> {
        read!(self, tokens::tokens_revoked_since(at))
    }

    fn realm(&self, name: String) -> StoreFuture<'_, Option<Arc<Realm>>> {
        if let Some(realm) = self.current().and_then(|recent| recent.realm(&name)) {
            return known(Some(realm));
        }
        Box::pin(async move {
            let ticket = self.recent().map(Recent::ticket);
            let asked = name.clone();
            let reading: StoreFuture<'_, Option<Arc<Realm>>> = read!(self, domains::realm(&asked));
            let found = reading.await?;
            if let (Some(recent), Some(ticket), Some(realm)) = (self.recent(), ticket, &found) {
                recent.realm_put(ticket, name, realm);
            }
            Ok(found)
        })
    }

    fn domains_by_ids(
        &self,
        account: AccountId,
        ids: Vec<DomainId>,
    ) -> StoreFuture<'_, Vec<Domain>> {
        snapshot!(self, domains::domains_by_ids(account, &ids))
    }

    fn domains_of_endpoints(
        &self,
        account: AccountId,
        ids: Vec<DomainId>,
    ) -> StoreFuture<'_, Vec<Domain>> {
        snapshot!(self, domains::domains_of_endpoints(account, &ids))
    }

    fn domain_by_name(&self, account: AccountId, name: String) -> StoreFuture<'_, Option<Domain>> {
        snapshot!(self, domains::domain_by_name(account, &name))
    }

    fn domain_names_taken(&self, names: Vec<String>) -> StoreFuture<'_, Vec<String>> {
        read!(self, domains::domain_names_taken(&names))
    }

    fn domains(&self, account: AccountId, slice: Slice) -> StoreFuture<'_, Page<Domain>> {
        snapshot!(self, domains::domains(account, &slice))
    }

    fn domains_count(&self, account: AccountId) -> StoreFuture<'_, i64> {
        read!(self, domains::domains_count(account))
    }

    fn domain_deletion_next(&self, limit: u32) -> StoreFuture<'_, Option<DomainDeletion>> {
        snapshot!(self, deletions::domain_deletion_next(limit))
    }

    fn applications_by_ids(
        &self,
        account: AccountId,
        ids: Vec<ApplicationId>,
    ) -> StoreFuture<'_, Vec<Application>> {
        read!(self, applications::applications_by_ids(account, &ids))
    }

    fn applications(&self, account: AccountId, slice: Slice) -> StoreFuture<'_, Page<Application>> {
        read!(self, applications::applications(account, &slice))
    }

    fn applications_count(&self, account: AccountId) -> StoreFuture<'_, i64> {
        read!(self, applications::applications_count(account))
    }

    fn endpoint(&self, account: AccountId, key: EndpointKey) -> StoreFuture<'_, Found<Endpoint>> {
        if let (Backend::Postgres(shared), EndpointKey::Id(id)) = (&self.backend, &key) {
            return together!(shared.endpoints, (account, *id), endpoints_by_places);
        }
        // By its id it is one statement.
        let several = !matches!(key, EndpointKey::Id(_));
        run!(self, read(several), endpoints::endpoint(account, &key))
    }

    fn endpoints_by_ids(
        &self,
        account: AccountId,
        ids: Vec<EndpointId>,
    ) -> StoreFuture<'_, Vec<Endpoint>> {
        read!(self, endpoints::endpoints_by_ids(account, &ids))
    }

    fn endpoints(
        &self,
        account: AccountId,
        filter: EndpointFilter,
        slice: Slice,
    ) -> StoreFuture<'_, Page<Endpoint>> {
        let plan = Plan::of(&filter, self.text_index);
        let page: StoreFuture<'_, Option<Page<Endpoint>>> = run!(
            self,
            read(plan == Plan::Scan),
            endpoints::endpoints(account, &filter, &slice, plan)
        );
        Box::pin(async move { page.await?.ok_or_else(too_many_to_search) })
    }

    fn endpoints_by_name(
        &self,
        account: AccountId,
        filter: EndpointFilter,
        slice: Slice<NameKey>,
    ) -> StoreFuture<'_, Page<Endpoint>> {
        let plan = Plan::of(&filter, self.text_index);
        let page: StoreFuture<'_, Option<Page<Endpoint>>> = run!(
            self,
            read(plan == Plan::Scan),
            endpoints::endpoints_by_name(account, &filter, &slice, plan)
        );
        Box::pin(async move { page.await?.ok_or_else(too_many_to_search) })
    }

    fn endpoints_count(&self, account: AccountId, filter: EndpointFilter) -> StoreFuture<'_, i64> {
        let plan = Plan::of(&filter, self.text_index);
        let count: StoreFuture<'_, Option<i64>> = run!(
            self,
            read(plan == Plan::Scan),
            endpoints::endpoints_count(account, &filter, plan)
        );
        Box::pin(async move { count.await?.ok_or_else(too_many_to_search) })
    }

    fn endpoint_names_taken(
        &self,
        account: AccountId,
        names: Vec<(DomainId, String)>,
    ) -> StoreFuture<'_, Vec<(DomainId, String)>> {
        read!(self, endpoints::endpoint_names_taken(account, names))
    }

    fn endpoints_by_names(
        &self,
        account: AccountId,
        names: Vec<(DomainId, String)>,
    ) -> StoreFuture<'_, Vec<Endpoint>> {
        snapshot!(self, endpoints::endpoints_by_names(account, names.clone()))
    }

    fn endpoint_secrets(
        &self,
        account: AccountId,
        ids: Vec<EndpointId>,
    ) -> StoreFuture<'_, Vec<EndpointSecrets>> {
        let sealing = self.sealing.clone();
        snapshot!(self, endpoints::endpoint_secrets(&sealing, account, &ids))
    }

    fn account_names_taken(
        &self,
        account: AccountId,
        names: Vec<String>,
    ) -> StoreFuture<'_, Vec<String>> {
        read!(self, endpoints::account_names_taken(account, names))
    }

    fn endpoint_name_twice(&self, account: AccountId) -> StoreFuture<'_, Option<String>> {
        read!(self, endpoints::endpoint_name_twice(account))
    }

    fn has_system_gateway(&self, account: AccountId) -> StoreFuture<'_, bool> {
        read!(self, endpoints::has_system_gateway(account))
    }

    fn voip_tokens(
        &self,
        account: AccountId,
        ids: Vec<EndpointId>,
    ) -> StoreFuture<'_, Vec<(EndpointId, Secret)>> {
        let sealing = self.sealing.clone();
        read!(self, endpoints::voip_tokens(&sealing, account, &ids))
    }

    fn credentials(
        &self,
        domain: DomainId,
        canonical: String,
        now: Timestamp,
    ) -> StoreFuture<'_, Option<Arc<Credentials>>> {
        let recent = self.current();
        if let Some(found) = recent.and_then(|recent| recent.credentials(domain, &canonical)) {
            return known(Some(found));
        }
        Box::pin(async move {
            let ticket = self.recent().map(Recent::ticket);
            let sealing = self.sealing.clone();
            let reading: StoreFuture<'_, Option<Arc<Credentials>>> = snapshot!(
                self,
                endpoints::endpoint_credentials(&sealing, domain, &canonical, now)
            );
            let found = reading.await?;
            if let (Some(recent), Some(ticket), Some(found)) = (self.recent(), ticket, &found) {
                recent.credentials_put(ticket, found);
            }
            Ok(found)
        })
    }

    fn endpoint_token(
        &self,
        account: AccountId,
        id: EndpointTokenId,
    ) -> StoreFuture<'_, Option<EndpointToken>> {
        read!(self, registrations::endpoint_token(account, id))
    }

    fn endpoint_tokens_trim(&self, before: Timestamp, limit: u32) -> StoreFuture<'_, u64> {
        write!(self, registrations::endpoint_tokens_trim(before, limit))
    }

    fn registration_failures(
        &self,
        account: AccountId,
        filter: RegistrationFailureFilter,
        slice: Slice,
    ) -> StoreFuture<'_, Page<RegistrationFailure>> {
        read!(
            self,
            registrations::registration_failures(account, &filter, &slice)
        )
    }

    fn registration_failures_cap(&self, account: AccountId, keep: u32) -> StoreFuture<'_, ()> {
        write!(
            self,
            registrations::registration_failures_cap(account, keep)
        )
    }

    fn registration_failures_trim(&self, before: Timestamp, limit: u32) -> StoreFuture<'_, u64> {
        write!(
            self,
            registrations::registration_failures_trim(before, limit)
        )
    }

    fn ban_lifts_since(&self, at: Timestamp) -> StoreFuture<'_, Vec<(String, Timestamp)>> {
        read!(self, registrations::ban_lifts_since(at))
    }

    fn totals(&self) -> StoreFuture<'_, Totals> {
        snapshot!(self, registrations::totals())
    }

    fn endpoint_bindings(
        &self,
        account: AccountId,
        id: EndpointId,
    ) -> StoreFuture<'_, Option<(Arc<Endpoint>, Vec<Binding>)>> {
        if let Some(found) = self.current().and_then(|recent| recent.registered(id))
            && found.0.account == account
        {
            return known(Some(found));
        }
        Box::pin(async move {
            let ticket = self.recent().map(Recent::ticket);
            let reading: StoreFuture<'_, Option<(Arc<Endpoint>, Vec<Binding>)>> =
                snapshot!(self, bindings::endpoint_bindings(account, id));
            let found = reading.await?;
            if let (Some(recent), Some(ticket), Some(found)) = (self.recent(), ticket, &found) {
                recent.registered_put(ticket, found);
            }
            Ok(found)
        })
    }

    fn bindings_by_endpoints(
        &self,
        account: AccountId,
        ids: Vec<EndpointId>,
    ) -> StoreFuture<'_, Vec<Binding>> {
        read!(self, bindings::bindings_by_endpoints(account, &ids))
    }

    fn bindings_ended(&self, before: Timestamp, limit: u32) -> StoreFuture<'_, Vec<Binding>> {
        read!(self, bindings::bindings_ended(before, limit))
    }

    fn bindings_of_connection(
        &self,
        node: NodeId,
        connection: i64,
    ) -> StoreFuture<'_, Vec<Binding>> {
        read!(self, bindings::bindings_of_connection(node, connection))
    }

    fn bindings_to_qualify(
        &self,
        node: NodeId,
        asked_before: Timestamp,
        now: Timestamp,
        limit: u32,
    ) -> StoreFuture<'_, Vec<Binding>> {
        read!(
            self,
            bindings::bindings_to_qualify(node, asked_before, now, limit)
        )
    }

    fn bindings_suspend_streams(&self, node: NodeId, until: Timestamp) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let writing: StoreFuture<'_, ()> =
                write!(self, bindings::bindings_suspend_streams(node, until));
            let written = writing.await;
            // No commit, of which the writer would have told.
            if let Some(recent) = self.recent() {
                recent.forget_all();
            }
            written
        })
    }

    fn send_snapshot(
        &self,
        account: AccountId,
        sender: EndpointKey,
        recipient: Option<EndpointKey>,
    ) -> StoreFuture<'_, SendSnapshot> {
        if let Backend::Postgres(shared) = &self.backend
            && let Some(asked) = SendAsked::new(account, &sender, recipient.as_ref())
        {
            return together!(shared.sends, asked, send_snapshots);
        }
        snapshot!(
            self,
            chats::send_snapshot(account, &sender, recipient.as_ref())
        )
    }

    fn chats_by_keys(
        &self,
        account: AccountId,
        keys: Vec<ChatKey>,
    ) -> StoreFuture<'_, Vec<(ChatKey, ChatId)>> {
        read!(self, chats::chats_by_keys(account, keys.clone()))
    }

    fn trunks_of_instance(&self) -> StoreFuture<'_, Vec<Endpoint>> {
        read!(self, endpoints::trunks_of_instance())
    }

    fn trunk_passwords(
        &self,
        account: AccountId,
        trunk: EndpointId,
    ) -> StoreFuture<'_, Vec<(EndpointSecret, Secret)>> {
        let sealing = self.sealing.clone();
        read!(self, endpoints::trunk_passwords(&sealing, account, trunk))
    }

    fn trunks(&self, account: AccountId) -> StoreFuture<'_, Vec<Endpoint>> {
        read!(self, endpoints::trunks(account))
    }

    fn messages_by_ids(
        &self,
        account: AccountId,
        ids: Vec<MessageId>,
    ) -> StoreFuture<'_, Vec<Message>> {
        read!(self, messages::messages_by_ids(account, &ids))
    }

    fn messages(
        &self,
        account: AccountId,
        filter: MessageFilter,
        slice: Slice,
    ) -> StoreFuture<'_, Page<Message>> {
        let is_merged = match &self.backend {
            Backend::Sqlite(_) => on_sqlite::messages::lists_merged(&filter).is_some(),
            Backend::Postgres(_) => on_postgres::messages::lists_merged(&filter).is_some(),
        };
        run!(
            self,
            read(is_merged),
            messages::messages(account, &filter, &slice)
        )
    }

    fn messages_count(&self, account: AccountId, filter: MessageFilter) -> StoreFuture<'_, i64> {
        read!(self, messages::messages_count(account, &filter))
    }

    fn messages_before(&self, before: Timestamp, limit: u32) -> StoreFuture<'_, Vec<Message>> {
        snapshot!(self, messages::messages_before(before, limit))
    }

    fn messages_unindexed(
        &self,
        after: AccountId,
        limit: u32,
    ) -> StoreFuture<'_, Option<Unindexed>> {
        snapshot!(self, messages::messages_unindexed(after, limit))
    }

    fn messages_index(
        &self,
        account: AccountId,
        up_to: i64,
        words: Vec<(MessageId, Words)>,
    ) -> StoreFuture<'_, ()> {
        write!(self, messages::messages_index(account, up_to, words))
    }

    fn chats_by_ids(&self, account: AccountId, ids: Vec<ChatId>) -> StoreFuture<'_, Vec<Chat>> {
        if let (Backend::Postgres(shared), [id]) = (&self.backend, ids.as_slice()) {
            let found: StoreFuture<'_, Option<Chat>> =
                together!(shared.chats, (account, *id), chats_by_places);
            return Box::pin(async move { Ok(found.await?.into_iter().collect()) });
        }
        read!(self, chats::chats_by_ids(account, &ids))
    }

    fn chat_by_key(&self, account: AccountId, key: ChatKey) -> StoreFuture<'_, Option<Chat>> {
        read!(self, chats::chat_by_key(account, &key))
    }

    fn chats(
        &self,
        account: AccountId,
        filter: ChatFilter,
        slice: Slice,
    ) -> StoreFuture<'_, Page<Chat>> {
        let is_merged = match &self.backend {
            Backend::Sqlite(_) => on_sqlite::chats::lists_merged(&filter).is_some(),
            Backend::Postgres(_) => on_postgres::chats::lists_merged(&filter).is_some(),
        };
        run!(
            self,
            read(is_merged),
            chats::chats(account, &filter, &slice)
        )
    }

    fn chats_count(&self, account: AccountId, filter: ChatFilter) -> StoreFuture<'_, i64> {
        read!(self, chats::chats_count(account, &filter))
    }

    fn unread_by_endpoints(
        &self,
        account: AccountId,
        ids: Vec<EndpointId>,
    ) -> StoreFuture<'_, Vec<(EndpointId, i64)>> {
        read!(self, chats::unread_by_endpoints(account, &ids))
    }

    fn dispatches_claim(
        &self,
        now: Timestamp,
        lease: Duration,
        limit: u32,
    ) -> StoreFuture<'_, Vec<Dispatch>> {
        write!(self, deliveries::dispatches_claim(now, lease, limit))
    }

    fn dispatches_unlease(&self) -> StoreFuture<'_, ()> {
        write!(self, deliveries::dispatches_unlease())
    }

    fn dispatches_hurry(
        &self,
        account: AccountId,
        recipient: EndpointId,
        returned: Vec<BindingId>,
        now: Timestamp,
    ) -> StoreFuture<'_, ()> {
        write!(
            self,
            deliveries::dispatches_hurry(account, recipient, &returned, now)
        )
    }

    fn dispatches_to(
        &self,
        account: AccountId,
        recipient: EndpointId,
        limit: u32,
    ) -> StoreFuture<'_, Vec<Dispatch>> {
        let recent = self.current();
        if recent.is_some_and(|recent| recent.awaits_nothing(recipient)) {
            return known(Vec::new());
        }
        Box::pin(async move {
            let ticket = self.recent().map(Recent::ticket);
            let reading: StoreFuture<'_, Vec<Dispatch>> =
                read!(self, deliveries::dispatches_to(account, recipient, limit));
            let found = reading.await?;
            if let (Some(recent), Some(ticket), true) =
                (self.recent(), ticket, limit > 0 && found.is_empty())
            {
                recent.awaits_nothing_put(ticket, recipient);
            }
            Ok(found)
        })
    }

    fn deliveries_tried(
        &self,
        dispatches: Vec<DispatchPlace>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<Tried>> {
        snapshot!(self, deliveries::deliveries_tried(&dispatches, limit))
    }

    fn dispatches_due(
        &self,
        account: AccountId,
        exchanges: Vec<ExchangeId>,
    ) -> StoreFuture<'_, Vec<(ExchangeId, Timestamp)>> {
        read!(self, deliveries::dispatches_due(account, &exchanges))
    }

    fn deliveries_trim(&self, before: Timestamp, limit: u32) -> StoreFuture<'_, u64> {
        write!(self, deliveries::deliveries_trim(before, limit))
    }

    fn deliveries(
        &self,
        account: AccountId,
        exchanges: Vec<ExchangeId>,
    ) -> StoreFuture<'_, Vec<Delivery>> {
        read!(self, deliveries::deliveries(account, &exchanges))
    }

    fn log_head(&self, account: AccountId) -> StoreFuture<'_, Option<LogHead>> {
        read!(self, accounts::log_head(account))
    }

    fn log_heads(&self, accounts: Vec<AccountId>) -> StoreFuture<'_, Vec<(AccountId, i64)>> {
        read!(self, accounts::log_heads(&accounts))
    }

    fn events_after(
        &self,
        account: AccountId,
        after: i64,
        limit: u32,
    ) -> StoreFuture<'_, Vec<Event>> {
        read!(self, events::events_after(account, after, limit))
    }

    fn events_before(
        &self,
        account: AccountId,
        before: i64,
        limit: u32,
    ) -> StoreFuture<'_, Vec<Event>> {
        read!(self, events::events_before(account, before, limit))
    }

    fn deleted_purge(&self, limit: u32) -> StoreFuture<'_, u64> {
        write!(self, deletions::deleted_purge(limit))
    }

    fn unrecorded_blank(&self, before: Timestamp, limit: u32) -> StoreFuture<'_, u64> {
        write!(self, events::unrecorded_blank(before, limit))
    }

    fn idempotency_trim(&self, before: Timestamp, limit: u32) -> StoreFuture<'_, u64> {
        write!(self, accounts::idempotency_trim(before, limit))
    }

    fn events_trim(&self, before: Timestamp, limit: u32) -> StoreFuture<'_, u64> {
        Box::pin(async move {
            let candidates: StoreFuture<'_, Vec<AccountId>> =
                read!(self, events::trim_candidates(before));
            let mut gone = 0;
            for account in candidates.await? {
                let left = limit.saturating_sub(u32::try_from(gone).unwrap_or(u32::MAX));
                if left == 0 {
                    break;
                }
                gone += self.account_trim(account, before, left).await?;
            }
            Ok(gone)
        })
    }
}

//! A store that notes which reads it was asked for. Every one noted is one statement (`read!` in the storage crate) but
//! for those that say they are several.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sipgraph_core::{
    AccountId, ApplicationId, BindingId, ChatId, DomainId, EndpointId, EndpointTokenId, ExchangeId,
    MessageId, Timestamp, TokenId,
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
    keyring::Secret,
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
    search::{Unindexed, Words},
    sip_profile::SipProfile,
    token::ApiToken,
};
use sipgraph_storage::Storage;

/// The real store, with a list of the calls since [`Counted::take`].
pub(crate) struct Counted {
    inner: Storage,
    calls: Mutex<Vec<&'static str>>,
}

impl Counted {
    pub(crate) fn new(inner: Storage) -> Self {
        Self {
            inner,
            calls: Mutex::default(),
        }
    }

    /// Returns the names of the calls so far and forgets them.
    pub(crate) fn take(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, name: &'static str) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.push(name);
    }
}

macro_rules! forward {
    ($($name:ident($($arg:ident: $ty:ty),*) -> $answer:ty;)*) => {
        impl Store for Counted {
            $(fn $name(&self, $($arg: $ty),*) -> StoreFuture<'_, $answer> {
                self.note(stringify!($name));
                self.inner.$name($($arg),*)
            })*
        }
    };
}

forward! {
    commit(commit: Commit) -> Answer;
    idempotent_result(account: AccountId, key: Idempotency) -> Option<Answer>;
    ready() -> ();
    account_create(id: AccountId, name: String, at: Timestamp) -> Option<Account>;
    account(id: AccountId) -> Option<Account>;
    account_by_name(name: String) -> Option<Account>;
    numbers_assign(account: AccountId, numbers: Vec<String>) -> Vec<String>;
    numbers(account: AccountId, numbers: Option<Vec<String>>) -> Vec<(String, Option<EndpointId>)>;
    number_accounts(numbers: Vec<String>) -> Vec<(String, AccountId)>;
    account_settings(account: AccountId) -> AccountSettings;
    sip_profile(account: AccountId) -> SipProfile;
    encryption_next(limit: u32) -> Option<EncryptionBegun>;
    epoch_raise() -> ();
    token_by_hash(hash: [u8; 32]) -> Option<ApiToken>;
    token(account: AccountId, id: TokenId) -> Option<ApiToken>;
    tokens(account: AccountId, slice: Slice) -> Page<ApiToken>;
    tokens_count(account: AccountId) -> i64;
    tokens_revoked_since(at: Timestamp) -> Vec<TokenId>;
    realm(name: String) -> Option<Arc<Realm>>;
    domains_by_ids(account: AccountId, ids: Vec<DomainId>) -> Vec<Domain>;
    domains_of_endpoints(account: AccountId, ids: Vec<DomainId>) -> Vec<Domain>;
    domain_deletion_next(limit: u32) -> Option<DomainDeletion>;
    deleted_purge(limit: u32) -> u64;
    messages_before(before: Timestamp, limit: u32) -> Vec<Message>;
    messages_unindexed(after: AccountId, limit: u32) -> Option<Unindexed>;
    messages_index(account: AccountId, up_to: i64, words: Vec<(MessageId, Words)>) -> ();
    domain_by_name(account: AccountId, name: String) -> Option<Domain>;
    domain_names_taken(names: Vec<String>) -> Vec<String>;
    domains(account: AccountId, slice: Slice) -> Page<Domain>;
    domains_count(account: AccountId) -> i64;
    applications_by_ids(account: AccountId, ids: Vec<ApplicationId>) -> Vec<Application>;
    applications(account: AccountId, slice: Slice) -> Page<Application>;
    applications_count(account: AccountId) -> i64;
    endpoint(account: AccountId, key: EndpointKey) -> Found<Endpoint>;
    endpoints_by_ids(account: AccountId, ids: Vec<EndpointId>) -> Vec<Endpoint>;
    endpoints(account: AccountId, filter: EndpointFilter, slice: Slice) -> Page<Endpoint>;
    endpoints_by_name(account: AccountId, filter: EndpointFilter, slice: Slice<NameKey>) -> Page<Endpoint>;
    endpoints_count(account: AccountId, filter: EndpointFilter) -> i64;
    endpoints_by_names(account: AccountId, names: Vec<(DomainId, String)>) -> Vec<Endpoint>;
    endpoint_secrets(account: AccountId, ids: Vec<EndpointId>) -> Vec<EndpointSecrets>;
    endpoint_names_taken(account: AccountId, names: Vec<(DomainId, String)>) -> Vec<(DomainId, String)>;
    account_names_taken(account: AccountId, names: Vec<String>) -> Vec<String>;
    endpoint_name_twice(account: AccountId) -> Option<String>;
    has_system_gateway(account: AccountId) -> bool;
    voip_tokens(account: AccountId, ids: Vec<EndpointId>) -> Vec<(EndpointId, Secret)>;
    credentials(domain: DomainId, canonical: String, now: Timestamp) -> Option<Arc<Credentials>>;
    endpoint_token(account: AccountId, id: EndpointTokenId) -> Option<EndpointToken>;
    endpoint_tokens_trim(before: Timestamp, limit: u32) -> u64;
    registration_failures(account: AccountId, filter: RegistrationFailureFilter, slice: Slice) -> Page<RegistrationFailure>;
    registration_failures_cap(account: AccountId, keep: u32) -> ();
    registration_failures_trim(before: Timestamp, limit: u32) -> u64;
    ban_lifts_since(at: Timestamp) -> Vec<(String, Timestamp)>;
    totals() -> Totals;
    endpoint_bindings(account: AccountId, id: EndpointId) -> Option<(Arc<Endpoint>, Vec<Binding>)>;
    bindings_by_endpoints(account: AccountId, ids: Vec<EndpointId>) -> Vec<Binding>;
    bindings_ended(before: Timestamp, limit: u32) -> Vec<Binding>;
    bindings_of_connection(node: NodeId, connection: i64) -> Vec<Binding>;
    bindings_to_qualify(node: NodeId, asked_before: Timestamp, now: Timestamp, limit: u32) -> Vec<Binding>;
    bindings_suspend_streams(node: NodeId, until: Timestamp) -> ();
    send_snapshot(account: AccountId, sender: EndpointKey, recipient: Option<EndpointKey>) -> SendSnapshot;
    chats_by_keys(account: AccountId, keys: Vec<ChatKey>) -> Vec<(ChatKey, ChatId)>;
    trunks(account: AccountId) -> Vec<Endpoint>;
    trunks_of_instance() -> Vec<Endpoint>;
    trunk_passwords(account: AccountId, trunk: EndpointId) -> Vec<(EndpointSecret, Secret)>;
    messages_by_ids(account: AccountId, ids: Vec<MessageId>) -> Vec<Message>;
    messages(account: AccountId, filter: MessageFilter, slice: Slice) -> Page<Message>;
    messages_count(account: AccountId, filter: MessageFilter) -> i64;
    chats_by_ids(account: AccountId, ids: Vec<ChatId>) -> Vec<Chat>;
    chat_by_key(account: AccountId, key: ChatKey) -> Option<Chat>;
    chats(account: AccountId, filter: ChatFilter, slice: Slice) -> Page<Chat>;
    chats_count(account: AccountId, filter: ChatFilter) -> i64;
    unread_by_endpoints(account: AccountId, ids: Vec<EndpointId>) -> Vec<(EndpointId, i64)>;
    dispatches_claim(now: Timestamp, lease: Duration, limit: u32) -> Vec<Dispatch>;
    dispatches_unlease() -> ();
    dispatches_hurry(account: AccountId, recipient: EndpointId, returned: Vec<BindingId>, now: Timestamp) -> ();
    dispatches_to(account: AccountId, recipient: EndpointId, limit: u32) -> Vec<Dispatch>;
    deliveries_tried(dispatches: Vec<DispatchPlace>, limit: u32) -> Vec<Tried>;
    dispatches_due(account: AccountId, exchanges: Vec<ExchangeId>) -> Vec<(ExchangeId, Timestamp)>;
    deliveries_trim(before: Timestamp, limit: u32) -> u64;
    unrecorded_blank(before: Timestamp, limit: u32) -> u64;
    deliveries(account: AccountId, exchanges: Vec<ExchangeId>) -> Vec<Delivery>;
    log_head(account: AccountId) -> Option<LogHead>;
    log_heads(accounts: Vec<AccountId>) -> Vec<(AccountId, i64)>;
    events_after(account: AccountId, after: i64, limit: u32) -> Vec<Event>;
    events_before(account: AccountId, before: i64, limit: u32) -> Vec<Event>;
    events_trim(before: Timestamp, limit: u32) -> u64;
    idempotency_trim(before: Timestamp, limit: u32) -> u64;
}

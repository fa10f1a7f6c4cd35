//! The store: reads, and the one way to write.

use super::PortFuture;
use crate::account::{Account, LogHead};
use crate::application::Application;
use crate::binding::Binding;
use crate::chat::{Chat, ChatKey};
use crate::commit::{Answer, Commit, EndpointSecret};
use crate::defence::Source;
use crate::delivery::{Delivery, Dispatch};
use crate::digest::{DigestAlgorithm, Ha1};
use crate::domain::Domain;
use crate::endpoint::{Endpoint, EndpointState, EndpointType};
use crate::endpoint_token::{EndpointToken, TokenCredentials};
use crate::event::Event;
use crate::id::NodeId;
use crate::keyring::Secret;
use crate::message::{Message, MessageDirection, MessageStatus};
use crate::page::{NameKey, Page, Slice};
use crate::registration_failure::{FailureReason, RegistrationFailure};
use crate::search::{Unindexed, Words};
use crate::sip_profile::SipProfile;
use crate::token::ApiToken;
use crate::{
    AccountId, ApplicationId, BindingId, ChatId, DomainId, EndpointId, EndpointTokenId, Error,
    ExchangeId, MessageId, Timestamp, TokenId,
};
use std::sync::Arc;
use std::time::Duration;

/// What a port's call gives.
pub type StoreFuture<'a, T> = PortFuture<'a, Result<T, Error>>;

/// The most trunks of an account that messages are routed by: each is looked at for a number outside.
pub const TRUNKS_MAX: u32 = 100;

/// The most trunks of an instance that are known by their addresses: each is looked at for a request of a stranger.
pub const INSTANCE_TRUNKS_MAX: u32 = 10_000;

/// Which endpoints a list has. Fields combine with AND; `None` does not filter; an empty list matches nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndpointFilter {
    /// Only these.
    pub ids: Option<Vec<EndpointId>>,
    /// Only of this technology, by its name or an alias. The use case resolves it: the store need not look at it.
    pub technology: Option<String>,
    /// Only of this domain.
    pub domain: Option<DomainId>,
    /// Only of this application.
    pub application: Option<ApplicationId>,
    /// Only of this type.
    pub kind: Option<EndpointType>,
    /// Only in this state.
    pub state: Option<EndpointState>,
    /// Only the one with this number, in E.164 form.
    pub number: Option<String>,
    /// Only enabled or only disabled ones.
    pub enabled: Option<bool>,
    /// Made at this time or later.
    pub from: Option<Timestamp>,
    /// Made before this time.
    pub to: Option<Timestamp>,
    /// Only with this text in their names: literally, but for the case of ASCII letters.
    pub name_contains: Option<String>,
    /// Only with this text in their caller ids, as in names; those without a caller id never.
    pub caller_id_contains: Option<String>,
    /// Only what a bound token sees. Set by the use case.
    pub visible: Option<Vec<EndpointId>>,
}

impl EndpointFilter {
    /// Returns the texts that are searched for.
    pub fn searched(&self) -> impl Iterator<Item = &String> {
        self.name_contains.iter().chain(&self.caller_id_contains)
    }
}

/// Which messages a list has. Fields combine with AND.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageFilter {
    /// Only of this endpoint.
    pub endpoint: Option<EndpointId>,
    /// Only of this chat; the list is then ordered by `seq`.
    pub chat: Option<ChatId>,
    /// Only sent or only received ones.
    pub direction: Option<MessageDirection>,
    /// Only read or only unread ones.
    pub read: Option<bool>,
    /// Only with this status.
    pub status: Option<MessageStatus>,
    /// Only with this peer, as in the chat's key.
    pub peer: Option<String>,
    /// Stored at this time or later.
    pub from: Option<Timestamp>,
    /// Stored before this time.
    pub to: Option<Timestamp>,
    /// Only with all of these words in their texts.
    pub text: Option<Words>,
    /// Only up to and with this `seq` of the chat. Set by the use case.
    pub up_to_seq: Option<i64>,
    /// Only what a bound token sees. Set by the use case.
    pub visible: Option<Vec<EndpointId>>,
}

/// Which chats a list has. Fields combine with AND.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChatFilter {
    /// Only of this endpoint.
    pub endpoint: Option<EndpointId>,
    /// Only with this peer.
    pub peer: Option<String>,
    /// Only with this own number.
    pub own_number: Option<String>,
    /// Only with, or only without, unread messages.
    pub unread: Option<bool>,
    /// Changed at this time or later.
    pub from: Option<Timestamp>,
    /// Changed before this time.
    pub to: Option<Timestamp>,
    /// Only with a message that has all of these words in its text.
    pub text: Option<Words>,
    /// Only what a bound token sees. Set by the use case.
    pub visible: Option<Vec<EndpointId>>,
}

/// How a caller names an endpoint of its account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointKey {
    /// By id.
    Id(EndpointId),
    /// By canonical name and, unless the name is unique in the account, a domain's name or alias in lower case.
    Name {
        /// The domain's name or alias.
        domain: Option<String>,
        /// The canonical user part.
        canonical: String,
    },
    /// The endpoint that has a number, in E.164 form.
    Number(String),
}

/// What a look-up by [`EndpointKey`] gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found<T> {
    /// Exactly one.
    One(T),
    /// None.
    None,
    /// The name stands in more than one domain of the account.
    Ambiguous,
}

/// What a send is decided on; read in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendSnapshot {
    /// The sender.
    pub sender: Found<Endpoint>,
    /// The recipient.
    pub recipient: Found<Endpoint>,
    /// Whether the sender's domain keeps messages between devices. False without a sender.
    pub record_internal: bool,
    /// The sender's chat with the recipient (own number and peer are the endpoints' addresses).
    pub sender_chat: Option<ChatId>,
    /// The recipient's chat with the sender.
    pub recipient_chat: Option<ChatId>,
    /// Whether a domain of the account has the name or alias in the recipient's key; `false` when it names none.
    pub is_own_domain: bool,
}

/// What an account's settings mean for a new endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountSettings {
    /// Whether names must be unique in all of the account.
    pub unique_names: bool,
    /// Whether its SIP profile demands encryption.
    pub profile_encrypts: bool,
}

/// An account that began to demand encryption.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncryptionBegun {
    /// Its profile.
    pub profile: SipProfile,
    /// Some of the contacts that the profile does not allow; none when no such is left.
    pub bindings: Vec<Binding>,
}

/// A domain whose deletion has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainDeletion {
    /// The owner.
    pub account: AccountId,
    /// The domain.
    pub domain: DomainId,
    /// Some of its endpoints; none when nothing but the domain is left.
    pub endpoints: Vec<Endpoint>,
}

/// What the SIP edge needs to check a digest; secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// The HA1 values of its password.
    pub ha1: Vec<Ha1>,
    /// Its live tokens, at most [`crate::endpoint_token::LIVE_MAX`].
    pub tokens: Vec<TokenCredentials>,
}

/// All secrets of an endpoint, opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSecrets {
    /// Whose they are.
    pub endpoint: EndpointId,
    /// The HA1 values of its password; none without one.
    pub ha1: Vec<Ha1>,
    /// Its other secrets.
    pub others: Vec<(EndpointSecret, Secret)>,
}

impl EndpointSecrets {
    /// Returns the secrets of an endpoint that has none.
    #[must_use]
    pub fn none(endpoint: EndpointId) -> Self {
        Self {
            endpoint,
            ha1: Vec::new(),
            others: Vec::new(),
        }
    }
}

/// Which failed registrations a list has. Fields combine with AND.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistrationFailureFilter {
    /// Only of this endpoint.
    pub endpoint: Option<EndpointId>,
    /// Only from this source.
    pub source: Option<Source>,
    /// Only for this reason.
    pub reason: Option<FailureReason>,
    /// Last failed at this time or later.
    pub from: Option<Timestamp>,
    /// Last failed before this time.
    pub to: Option<Timestamp>,
    /// Only what a bound token sees. Set by the use case.
    pub visible: Option<Vec<EndpointId>>,
}

/// The place of a dispatch among those to its recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DispatchPlace {
    /// The owner.
    pub account: AccountId,
    /// The endpoint that it is for.
    pub recipient: EndpointId,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// Its id, which decides between those of one time.
    pub id: ExchangeId,
}

/// What was tried so far for a dispatch, and before it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tried {
    /// Its own attempts, oldest first.
    pub own: Vec<Delivery>,
    /// Those of the messages that were accepted for the same endpoint before it and are still on their way; oldest first within
    /// each message.
    pub earlier: Vec<Delivery>,
}

/// How much there is, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Bindings of all endpoints.
    pub bindings: i64,
    /// Messages on their way.
    pub dispatches: i64,
}

/// A domain as the SIP edge sees it: found by name or alias, whoever owns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Realm {
    /// The owner.
    pub account: AccountId,
    /// The domain.
    pub domain: DomainId,
    /// The domain's name, which is the digest realm.
    pub name: String,
    /// What its challenge offers, most preferred first.
    pub digest_algorithms: Vec<DigestAlgorithm>,
}

/// A place that holds the truth. A read of several statements is one read transaction.
pub trait Store: Send + Sync {
    /// Applies a commit with others in one transaction; see [`crate::commit`].
    ///
    /// # Errors
    /// `Unavailable`, `StorageFull`, `Overloaded`: nothing was stored. `UnknownOutcome`: it is not known.
    fn commit(&self, commit: Commit) -> StoreFuture<'_, Answer>;

    /// Returns the ids that a repeated call would give, or that its key was used with another input.
    fn idempotent_result(
        &self,
        account: AccountId,
        key: crate::commit::Idempotency,
    ) -> StoreFuture<'_, Option<Answer>>;

    /// Answers whether the database can be read; for readiness.
    fn ready(&self) -> StoreFuture<'_, ()>;

    // --- accounts (the operator's, from the command line)

    /// Makes an account. `None` when the name is taken.
    fn account_create(
        &self,
        id: AccountId,
        name: String,
        at: Timestamp,
    ) -> StoreFuture<'_, Option<Account>>;

    /// Returns an account.
    fn account(&self, id: AccountId) -> StoreFuture<'_, Option<Account>>;

    /// Returns an account by its name.
    fn account_by_name(&self, name: String) -> StoreFuture<'_, Option<Account>>;

    /// Assigns E.164 numbers to an account, all or none. Gives those that another account has; empty means done.
    fn numbers_assign(
        &self,
        account: AccountId,
        numbers: Vec<String>,
    ) -> StoreFuture<'_, Vec<String>>;

    /// Returns those of these numbers that the account has, or all of its numbers, each with the endpoint that has it;
    /// sorted.
    fn numbers(
        &self,
        account: AccountId,
        numbers: Option<Vec<String>>,
    ) -> StoreFuture<'_, Vec<(String, Option<EndpointId>)>>;

    /// Returns those of these numbers that any account has, each with its account; sorted.
    fn number_accounts(&self, numbers: Vec<String>) -> StoreFuture<'_, Vec<(String, AccountId)>>;

    /// Returns what an account's settings mean for a new endpoint.
    fn account_settings(&self, account: AccountId) -> StoreFuture<'_, AccountSettings>;

    /// Returns an account's SIP profile; that of an account that never changed it is [`SipProfile::unchanged`].
    fn sip_profile(&self, account: AccountId) -> StoreFuture<'_, SipProfile>;

    /// Returns an account of the instance whose profile began to demand encryption and has not been enforced, with up to
    /// `limit` of the contacts that it does not allow.
    fn encryption_next(&self, limit: u32) -> StoreFuture<'_, Option<EncryptionBegun>>;

    /// Raises the epoch of every account's log; done by a restore.
    fn epoch_raise(&self) -> StoreFuture<'_, ()>;

    // --- tokens

    /// Returns the token whose secret has this SHA-256, also when it is revoked or expired.
    fn token_by_hash(&self, hash: [u8; 32]) -> StoreFuture<'_, Option<ApiToken>>;

    /// Returns a token.
    fn token(&self, account: AccountId, id: TokenId) -> StoreFuture<'_, Option<ApiToken>>;

    /// Lists tokens, newest first.
    fn tokens(&self, account: AccountId, slice: Slice) -> StoreFuture<'_, Page<ApiToken>>;

    /// Counts tokens.
    fn tokens_count(&self, account: AccountId) -> StoreFuture<'_, i64>;

    /// Returns the tokens of the whole instance that were revoked at or after a time.
    fn tokens_revoked_since(&self, at: Timestamp) -> StoreFuture<'_, Vec<TokenId>>;

    // --- domains

    /// Returns a domain by its name or an alias, whoever owns it.
    fn realm(&self, name: String) -> StoreFuture<'_, Option<Arc<Realm>>>;

    /// Returns the account's domains with these ids, in any order; unknown ones, and those whose deletion has begun, are
    /// left out.
    fn domains_by_ids(
        &self,
        account: AccountId,
        ids: Vec<DomainId>,
    ) -> StoreFuture<'_, Vec<Domain>>;

    /// Returns the domains of endpoints: as [`Store::domains_by_ids`], with those whose deletion has begun, which have
    /// endpoints until it ends.
    fn domains_of_endpoints(
        &self,
        account: AccountId,
        ids: Vec<DomainId>,
    ) -> StoreFuture<'_, Vec<Domain>>;

    /// Returns the account's domain with this name or alias.
    fn domain_by_name(&self, account: AccountId, name: String) -> StoreFuture<'_, Option<Domain>>;

    /// Returns which of these names and aliases are taken in the instance.
    fn domain_names_taken(&self, names: Vec<String>) -> StoreFuture<'_, Vec<String>>;

    /// Lists domains, newest first, without those whose deletion has begun.
    fn domains(&self, account: AccountId, slice: Slice) -> StoreFuture<'_, Page<Domain>>;

    /// Counts domains, without those whose deletion has begun.
    fn domains_count(&self, account: AccountId) -> StoreFuture<'_, i64>;

    /// Returns the domain of the instance whose deletion began first and has not ended, with up to `limit` of its
    /// endpoints.
    fn domain_deletion_next(&self, limit: u32) -> StoreFuture<'_, Option<DomainDeletion>>;

    // --- applications

    /// Returns the account's applications with these ids, in any order; unknown ones are left out.
    fn applications_by_ids(
        &self,
        account: AccountId,
        ids: Vec<ApplicationId>,
    ) -> StoreFuture<'_, Vec<Application>>;

    /// Lists applications, newest first.
    fn applications(&self, account: AccountId, slice: Slice) -> StoreFuture<'_, Page<Application>>;

    /// Counts applications.
    fn applications_count(&self, account: AccountId) -> StoreFuture<'_, i64>;

    // --- endpoints

    /// Finds an endpoint.
    fn endpoint(&self, account: AccountId, key: EndpointKey) -> StoreFuture<'_, Found<Endpoint>>;

    /// Returns the account's endpoints with these ids, in any order; unknown ones are left out.
    fn endpoints_by_ids(
        &self,
        account: AccountId,
        ids: Vec<EndpointId>,
    ) -> StoreFuture<'_, Vec<Endpoint>>;

    /// Returns the endpoints with these canonical names in these domains, in any order; unknown ones are left out.
    fn endpoints_by_names(
        &self,
        account: AccountId,
        names: Vec<(DomainId, String)>,
    ) -> StoreFuture<'_, Vec<Endpoint>>;

    /// Returns all secrets of endpoints; those without any are left out.
    fn endpoint_secrets(
        &self,
        account: AccountId,
        ids: Vec<EndpointId>,
    ) -> StoreFuture<'_, Vec<EndpointSecrets>>;

    /// Lists endpoints, newest first.
    ///
    /// # Errors
    /// `TooComplex` when a text that no index helps with is not found often enough among the newest endpoints.
    fn endpoints(
        &self,
        account: AccountId,
        filter: EndpointFilter,
        slice: Slice,
    ) -> StoreFuture<'_, Page<Endpoint>>;

    /// Lists endpoints by name, the last byte by byte first.
    ///
    /// # Errors
    /// As [`Store::endpoints`].
    fn endpoints_by_name(
        &self,
        account: AccountId,
        filter: EndpointFilter,
        slice: Slice<NameKey>,
    ) -> StoreFuture<'_, Page<Endpoint>>;

    /// Counts endpoints.
    ///
    /// # Errors
    /// As [`Store::endpoints`].
    fn endpoints_count(&self, account: AccountId, filter: EndpointFilter) -> StoreFuture<'_, i64>;

    /// Returns which of these canonical names are taken in their domains.
    fn endpoint_names_taken(
        &self,
        account: AccountId,
        names: Vec<(DomainId, String)>,
    ) -> StoreFuture<'_, Vec<(DomainId, String)>>;

    /// Returns the trunks of an account (type `THIRD_PARTY`), the oldest first, at most [`TRUNKS_MAX`].
    fn trunks(&self, account: AccountId) -> StoreFuture<'_, Vec<Endpoint>>;

    /// Returns the trunks of the instance that stand somewhere, whoever owns them; at most [`INSTANCE_TRUNKS_MAX`].
    fn trunks_of_instance(&self) -> StoreFuture<'_, Vec<Endpoint>>;

    /// Returns the passwords of a trunk for digest challenges: its own, and those of its addresses.
    fn trunk_passwords(
        &self,
        account: AccountId,
        trunk: EndpointId,
    ) -> StoreFuture<'_, Vec<(EndpointSecret, Secret)>>;

    /// Returns which of these canonical names an endpoint of the account has, in a domain that is not being deleted.
    fn account_names_taken(
        &self,
        account: AccountId,
        names: Vec<String>,
    ) -> StoreFuture<'_, Vec<String>>;

    /// Returns a canonical name that several endpoints of the account have, in domains that are not being deleted.
    fn endpoint_name_twice(&self, account: AccountId) -> StoreFuture<'_, Option<String>>;

    /// Answers whether an account has its system gateway.
    fn has_system_gateway(&self, account: AccountId) -> StoreFuture<'_, bool>;

    /// Returns the tokens for VoIP clients of endpoints; those without one are left out.
    fn voip_tokens(
        &self,
        account: AccountId,
        ids: Vec<EndpointId>,
    ) -> StoreFuture<'_, Vec<(EndpointId, Secret)>>;

    /// Returns an endpoint of a domain by canonical name, with its HA1 values opened and those of its tokens that are
    /// live at a time. For a name that is not there the same is read, so that the time tells nothing.
    fn credentials(
        &self,
        domain: DomainId,
        canonical: String,
        now: Timestamp,
    ) -> StoreFuture<'_, Option<Arc<Credentials>>>;

    // --- endpoint tokens

    /// Returns an endpoint token, also a revoked or expired one.
    fn endpoint_token(
        &self,
        account: AccountId,
        id: EndpointTokenId,
    ) -> StoreFuture<'_, Option<EndpointToken>>;

    /// Deletes up to `limit` endpoint tokens that expired before a time. Gives how many went.
    fn endpoint_tokens_trim(&self, before: Timestamp, limit: u32) -> StoreFuture<'_, u64>;

    // --- failed registrations and bans

    /// Lists failed registrations, the latest first.
    fn registration_failures(
        &self,
        account: AccountId,
        filter: RegistrationFailureFilter,
        slice: Slice,
    ) -> StoreFuture<'_, Page<RegistrationFailure>>;

    /// Deletes all but the latest `keep` kinds of failures of an account.
    fn registration_failures_cap(&self, account: AccountId, keep: u32) -> StoreFuture<'_, ()>;

    /// Deletes up to `limit` failures and lifts of the instance that are older than a time. Gives how many went.
    fn registration_failures_trim(&self, before: Timestamp, limit: u32) -> StoreFuture<'_, u64>;

    /// Returns the sources that were let in at or after a time by any account, with the time.
    fn ban_lifts_since(&self, at: Timestamp) -> StoreFuture<'_, Vec<(String, Timestamp)>>;

    /// Returns how much there is.
    fn totals(&self) -> StoreFuture<'_, Totals>;

    // --- bindings

    /// Returns the endpoint with all its bindings, oldest first.
    fn endpoint_bindings(
        &self,
        account: AccountId,
        id: EndpointId,
    ) -> StoreFuture<'_, Option<(Arc<Endpoint>, Vec<Binding>)>>;

    /// Returns the bindings of several endpoints, oldest first within each.
    fn bindings_by_endpoints(
        &self,
        account: AccountId,
        ids: Vec<EndpointId>,
    ) -> StoreFuture<'_, Vec<Binding>>;

    /// Returns bindings of the whole instance that ended before a time, oldest end first.
    fn bindings_ended(&self, before: Timestamp, limit: u32) -> StoreFuture<'_, Vec<Binding>>;

    /// Returns the bindings over one connection of one run of the program.
    fn bindings_of_connection(
        &self,
        node: NodeId,
        connection: i64,
    ) -> StoreFuture<'_, Vec<Binding>>;

    /// Returns bindings of the whole instance whose device was not asked since a time, or never, and that end after
    /// `now`: those over UDP, and those over connections of this run.
    fn bindings_to_qualify(
        &self,
        node: NodeId,
        asked_before: Timestamp,
        now: Timestamp,
        limit: u32,
    ) -> StoreFuture<'_, Vec<Binding>>;

    /// Shortens the end of every stream binding of runs other than `node` to `until`, where it is later. Their
    /// connections are gone; the devices get until then to come back.
    fn bindings_suspend_streams(&self, node: NodeId, until: Timestamp) -> StoreFuture<'_, ()>;

    // --- messages and chats

    /// Reads what a send is decided on.
    fn send_snapshot(
        &self,
        account: AccountId,
        sender: EndpointKey,
        recipient: Option<EndpointKey>,
    ) -> StoreFuture<'_, SendSnapshot>;

    /// Returns those of the chats with these keys that are there.
    fn chats_by_keys(
        &self,
        account: AccountId,
        keys: Vec<ChatKey>,
    ) -> StoreFuture<'_, Vec<(ChatKey, ChatId)>>;

    /// Returns the account's messages with these ids, in any order; unknown ones are left out.
    fn messages_by_ids(
        &self,
        account: AccountId,
        ids: Vec<MessageId>,
    ) -> StoreFuture<'_, Vec<Message>>;

    /// Lists messages, newest first: by `seq` in one chat, by `log_seq` across chats.
    fn messages(
        &self,
        account: AccountId,
        filter: MessageFilter,
        slice: Slice,
    ) -> StoreFuture<'_, Page<Message>>;

    /// Counts messages.
    fn messages_count(&self, account: AccountId, filter: MessageFilter) -> StoreFuture<'_, i64>;

    /// Returns up to `limit` messages of the instance that were stored before a time, oldest first within an account.
    fn messages_before(&self, before: Timestamp, limit: u32) -> StoreFuture<'_, Vec<Message>>;

    /// Returns up to `limit` messages of one account, in the order of the log, whose texts are in no index yet; `None` when
    /// each text is.
    ///
    /// Accounts have their turns in the order of their ids, the one behind `after` first.
    fn messages_unindexed(
        &self,
        after: AccountId,
        limit: u32,
    ) -> StoreFuture<'_, Option<Unindexed>>;

    /// Puts the words of messages into the index of their texts and notes how far the account's log is indexed. Messages
    /// that were deleted meanwhile are left out.
    fn messages_index(
        &self,
        account: AccountId,
        up_to: i64,
        words: Vec<(MessageId, Words)>,
    ) -> StoreFuture<'_, ()>;

    /// Returns the account's chats with these ids, in any order; unknown ones are left out.
    fn chats_by_ids(&self, account: AccountId, ids: Vec<ChatId>) -> StoreFuture<'_, Vec<Chat>>;

    /// Returns the chat with a key.
    fn chat_by_key(&self, account: AccountId, key: ChatKey) -> StoreFuture<'_, Option<Chat>>;

    /// Lists chats by last activity, newest first.
    fn chats(
        &self,
        account: AccountId,
        filter: ChatFilter,
        slice: Slice,
    ) -> StoreFuture<'_, Page<Chat>>;

    /// Counts chats.
    fn chats_count(&self, account: AccountId, filter: ChatFilter) -> StoreFuture<'_, i64>;

    /// Returns the unread messages of each endpoint; endpoints without any are left out.
    fn unread_by_endpoints(
        &self,
        account: AccountId,
        ids: Vec<EndpointId>,
    ) -> StoreFuture<'_, Vec<(EndpointId, i64)>>;

    // --- delivery

    /// Claims dispatches of the whole instance that are due and not leased, oldest first, for a time. Each gets the next
    /// lease number. The times are the database's on Postgres and the given one on SQLite.
    ///
    /// Dispatches are claimed in the order in which they were accepted, so that each recipient gets its messages in
    /// order.
    fn dispatches_claim(
        &self,
        now: Timestamp,
        lease: Duration,
        limit: u32,
    ) -> StoreFuture<'_, Vec<Dispatch>>;

    /// Ends every lease; done once at start by a node that is alone on its database (SQLite).
    fn dispatches_unlease(&self) -> StoreFuture<'_, ()>;

    /// Makes the dispatches to the contacts of an endpoint due now, if they are due later. What failed for now at those of
    /// `returned`, whose devices came back, may be tried again at once.
    fn dispatches_hurry(
        &self,
        account: AccountId,
        recipient: EndpointId,
        returned: Vec<BindingId>,
        now: Timestamp,
    ) -> StoreFuture<'_, ()>;

    /// Returns the dispatches to an endpoint, oldest first.
    fn dispatches_to(
        &self,
        account: AccountId,
        recipient: EndpointId,
        limit: u32,
    ) -> StoreFuture<'_, Vec<Dispatch>>;

    /// Returns what was tried for each of these dispatches, in their order; of the messages before one the `limit` oldest to its
    /// endpoint are looked at.
    fn deliveries_tried(
        &self,
        dispatches: Vec<DispatchPlace>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<Tried>>;

    /// Returns when those of these exchanges are due that are still on their way.
    fn dispatches_due(
        &self,
        account: AccountId,
        exchanges: Vec<ExchangeId>,
    ) -> StoreFuture<'_, Vec<(ExchangeId, Timestamp)>>;

    /// Deletes up to `limit` attempts that are older than a time, of messages that are not on their way. Gives how many went.
    fn deliveries_trim(&self, before: Timestamp, limit: u32) -> StoreFuture<'_, u64>;

    /// Returns the attempts of several exchanges, oldest first within each.
    fn deliveries(
        &self,
        account: AccountId,
        exchanges: Vec<ExchangeId>,
    ) -> StoreFuture<'_, Vec<Delivery>>;

    // --- the log

    /// Returns where an account's log ends.
    fn log_head(&self, account: AccountId) -> StoreFuture<'_, Option<LogHead>>;

    /// Returns the ends of several logs as (account, seq); for the look once a second.
    fn log_heads(&self, accounts: Vec<AccountId>) -> StoreFuture<'_, Vec<(AccountId, i64)>>;

    /// Returns events with a number above `after`, in order.
    fn events_after(
        &self,
        account: AccountId,
        after: i64,
        limit: u32,
    ) -> StoreFuture<'_, Vec<Event>>;

    /// Returns events with a number below `before`, newest first.
    fn events_before(
        &self,
        account: AccountId,
        before: i64,
        limit: u32,
    ) -> StoreFuture<'_, Vec<Event>>;

    /// Deletes up to `limit` of the oldest events of the instance that are older than a time and notes it in their
    /// accounts, outside the account lock's longer work. Gives how many went.
    fn events_trim(&self, before: Timestamp, limit: u32) -> StoreFuture<'_, u64>;

    /// Deletes up to `limit` rows that deleted endpoints and chats left: messages, chats, and the text of events. No reader
    /// sees them and no commit changes them, so it takes no account's row. Gives how many rows it dealt with; 0 means that
    /// nothing is left.
    fn deleted_purge(&self, limit: u32) -> StoreFuture<'_, u64>;

    /// Blanks up to `limit` texts of messages that no chat keeps, in events that are older than a time. Gives how many went.
    fn unrecorded_blank(&self, before: Timestamp, limit: u32) -> StoreFuture<'_, u64>;

    /// Deletes up to `limit` idempotency records older than a time. Gives how many went.
    fn idempotency_trim(&self, before: Timestamp, limit: u32) -> StoreFuture<'_, u64>;
}

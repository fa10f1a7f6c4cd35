//! What a use case hands to the store: preconditions, writes, events and the idempotency record, as plain data.
//!
//! # What the store promises
//! It applies many commits, also of many accounts, in one database transaction, and answers each on its own:
//!
//! 1. It takes the rows of all accounts in the batch, in the order of their ids (`FOR UPDATE` on Postgres, as its own
//!    statement; on SQLite there is one writer). Nothing else orders an account's log.
//! 2. It goes through the commits in the order of arrival. A commit whose idempotency key is known is answered
//!    [`Answer::Replayed`] or [`Answer::KeyReused`]. One of its preconditions does not hold: [`Answer::Failed`], and
//!    nothing of it is written. Otherwise its events get the account's next numbers, its messages the next `seq` of
//!    their chats, its endpoints the next `external_id`, and it is [`Answer::Applied`].
//! 3. A commit sees what earlier commits of the batch wrote: when it depends on a row that one of them touched, the
//!    writes so far are flushed before it is checked. Chat counters are the exception: they are counted in memory.
//! 4. One set-based statement per table writes it all, then one `COMMIT`. Answers are given after it succeeded: an
//!    answer means committed and synced.
//! 5. A statement that fails for a reason other than the connection (a unique name taken by another account in the
//!    same moment) has the batch rolled back and each commit applied alone; the one at fault is [`Answer::Failed`].
//! 6. When the answer to `COMMIT` is lost, the store reconnects, takes the account rows (which waits for the
//!    transaction in doubt), looks for the batch's events, and answers truthfully.

use crate::application::Application;
use crate::binding::{Binding, Refresh};
use crate::chat::ChatKey;
use crate::defence::Source;
use crate::delivery::{Delivery, DeliveryOutcome, Dispatch};
use crate::digest::{DigestAlgorithm, Ha1};
use crate::domain::Domain;
use crate::endpoint::{Endpoint, EndpointState};
use crate::endpoint_token::EndpointToken;
use crate::event::{ContactStatus, EventBody, Subjects};
use crate::keyring::Secret;
use crate::message::{
    CallKey, Disposition, Failure, MessageDirection, MessageOrigin, MessageStatus, Variables,
};
use crate::registration_failure::RegistrationFailure;
use crate::sip_profile::SipProfile;
use crate::token::ApiToken;
use crate::{
    AccountId, AddressId, ApplicationId, BindingId, ChatId, DeliveryId, DomainId, EndpointId,
    EndpointTokenId, EventId, ExchangeId, MessageId, Timestamp, TokenId,
};
use std::time::Duration;

/// All that one decision changes, for one account.
#[derive(Debug, Clone)]
pub struct Commit {
    /// The account that owns everything in it.
    pub account: AccountId,
    /// The time of the decision; the store stamps rows with it, never with its own clock.
    pub at: Timestamp,
    /// The key of the call, if it has one.
    pub idempotency: Option<Idempotency>,
    /// What must still hold under the account's lock.
    pub preconditions: Vec<Precondition>,
    /// What is written, in order.
    pub writes: Vec<Write>,
    /// What is told, in order. A commit with writes but no event still takes the account row.
    pub events: Vec<NewEvent>,
}

impl Commit {
    /// Returns a commit that changes nothing.
    #[must_use]
    pub const fn empty(account: AccountId, at: Timestamp) -> Self {
        Self {
            account,
            at,
            idempotency: None,
            preconditions: Vec::new(),
            writes: Vec::new(),
            events: Vec::new(),
        }
    }
}

/// How long the record of a call that may be repeated is kept.
pub const IDEMPOTENCY_KEPT: Duration = Duration::from_secs(24 * 3600);

/// The record of a call that may be repeated. Kept for [`IDEMPOTENCY_KEPT`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// Whose key it is: the id of the token, or of the endpoint for a SIP MESSAGE.
    pub actor: [u8; 16],
    /// The operation, for example `sendMessage`.
    pub operation: &'static str,
    /// The key, 1 to 255 bytes.
    pub key: String,
    /// The canonical input.
    pub input: InputMac,
    /// The ids of the objects that the call made or changed, for the replay.
    pub result: Vec<[u8; 16]>,
}

impl Idempotency {
    /// Returns the record of a call that made or changed these objects.
    #[must_use]
    pub fn giving(self, result: Vec<[u8; 16]>) -> Self {
        Self { result, ..self }
    }
}

/// HMACs of the canonical input of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputMac {
    /// Under the instance key in use; it is stored.
    pub stored: [u8; 32],
    /// Under the other instance keys while one is rotated: an earlier call had one of them.
    pub others: Vec<[u8; 32]>,
}

impl InputMac {
    /// Returns whether an earlier call, by its stored HMAC, had the same input.
    #[must_use]
    pub fn is_that_of(&self, stored: &[u8]) -> bool {
        self.stored == stored || self.others.iter().any(|other| other == stored)
    }
}

impl From<[u8; 32]> for InputMac {
    fn from(stored: [u8; 32]) -> Self {
        Self {
            stored,
            others: Vec::new(),
        }
    }
}

/// Something that was read and must still hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// No domain of the instance has this name or alias.
    DomainNameFree(String),
    /// The account has fewer domains than this.
    DomainsBelow(u32),
    /// The domain is there, at this version.
    DomainAt(DomainId, i64),
    /// The domain has no endpoint.
    DomainEmpty(DomainId),
    /// The domain has no system gateway.
    DomainWithoutGateway(DomainId),
    /// The account has fewer applications than this.
    ApplicationsBelow(u32),
    /// The application is there, at this version.
    ApplicationAt(ApplicationId, i64),
    /// The application is there.
    ApplicationThere(ApplicationId),
    /// No endpoint refers to the application.
    ApplicationUnused(ApplicationId),
    /// No endpoint of the domain has this canonical name.
    EndpointNameFree(DomainId, String),
    /// The account has the number, and no other endpoint than this one has it.
    NumberFor(String, EndpointId),
    /// The account demands that names be unique in all of it, or does not.
    NamesUnique(bool),
    /// No endpoint of the account has this canonical name, in none of its domains.
    AccountNameFree(String),
    /// No two endpoints of the account have one canonical name.
    NoNameTwice,
    /// The account's SIP profile is at this version; 0 when it was never changed.
    SipProfileAt(i64),
    /// The account's SIP profile demands encryption, or does not.
    ProfileEncrypts(bool),
    /// The endpoint is there, at this version.
    EndpointAt(EndpointId, i64),
    /// The endpoint's set of bindings is at this revision.
    BindingsAt(EndpointId, i64),
    /// So many messages are on their way to the endpoint.
    WaitingFor(EndpointId, i64),
    /// The endpoint has no chat with this key.
    ChatKeyFree(ChatKey),
    /// The chat is there.
    ChatThere(ChatId),
    /// The message is there, with this status and this read mark.
    MessageAt(MessageId, MessageStatus, bool),
    /// The dispatch is there, with this lease number.
    DispatchLeased(ExchangeId, i64),
    /// The token is there and not revoked.
    TokenLive(TokenId),
    /// The endpoint token is there and not revoked.
    EndpointTokenLive(EndpointTokenId),
    /// Fewer tokens of the endpoint are live at this time than [`crate::endpoint_token::LIVE_MAX`].
    EndpointTokensLeft(EndpointId, Timestamp),
}

/// One change of a row.
#[derive(Debug, Clone)]
pub enum Write {
    /// Inserts a domain with its aliases.
    DomainInsert(Domain),
    /// Changes a domain: its description, algorithms, recording and version are written as given, and so are its names.
    DomainUpdate {
        /// The domain afterwards.
        domain: Domain,
        /// Aliases that it did not have before.
        aliases_added: Vec<String>,
        /// Aliases that it had before.
        aliases_removed: Vec<String>,
    },
    /// Begins to delete a domain: frees its names, raises its version, takes it out of every list and disables its
    /// endpoints, all by one mark. [`crate::app::App::deletion_step`] deletes the endpoints, and the domain at last.
    DomainDeleteBegin(DomainId),
    /// Deletes a domain with its names and its mark.
    DomainDelete(DomainId),
    /// Sets whether names must be unique in all of the account.
    NamesUniqueSet(bool),
    /// Writes the account's SIP profile as given. When it begins to demand encryption, a mark is set, which
    /// [`crate::ports::Store::encryption_next`] goes by.
    SipProfilePut(SipProfile),
    /// Removes the mark of the account's SIP profile.
    SipProfileEnforced,
    /// Inserts an application.
    ApplicationInsert(Application),
    /// Changes an application: all of its fields are written as given.
    ApplicationUpdate(Application),
    /// Deletes an application.
    ApplicationDelete(ApplicationId),
    /// Inserts an endpoint; its `external_id` is allotted by the store.
    EndpointInsert {
        /// The endpoint.
        endpoint: Box<Endpoint>,
        /// Its HA1 values, sealed by the store.
        credentials: Vec<Ha1>,
        /// Its other secrets, sealed by the store.
        secrets: Vec<(EndpointSecret, Secret)>,
    },
    /// Changes an endpoint: all of its fields but its state and the revision of its bindings are written as given. Its
    /// version must be one more than the one in the precondition.
    EndpointUpdate {
        /// The endpoint afterwards.
        endpoint: Box<Endpoint>,
        /// What becomes of its HA1 values.
        credentials: CredentialsChange,
        /// Secrets that are set, or removed by `None`; the others stay.
        secrets: Vec<(EndpointSecret, Option<Secret>)>,
    },
    /// Deletes an endpoint with its credentials and bindings. Its chats, its messages and the text of its events are gone
    /// for every reader at once, by one mark; their rows go later ([`crate::ports::Store::deleted_purge`]), because a
    /// million of them would hold up the account.
    EndpointDelete(EndpointId),
    /// Puts a number of the account on an endpoint, or takes it off the one that has it. The endpoint's own list is
    /// written with the endpoint.
    NumberSet {
        /// The number.
        number: String,
        /// The endpoint that has it from now on.
        endpoint: Option<EndpointId>,
    },
    /// Takes a number from the account.
    NumberRelease(String),
    /// Sets an endpoint's presence.
    EndpointStateSet(EndpointId, EndpointState),
    /// Inserts an empty chat.
    ChatInsert {
        /// Its id.
        id: ChatId,
        /// Its key.
        key: ChatKey,
    },
    /// Inserts a message, allots its `seq`, and counts it in its chat: `last_seq`, `last_message`, `message_count`,
    /// `unread_count` (IN, unread), `activity_seq` and `updated_at`.
    MessageInsert(NewMessage),
    /// Sets the status of a message.
    MessageStatusSet {
        /// The message.
        id: MessageId,
        /// Its new status.
        status: MessageStatus,
        /// Why it failed.
        failure: Option<Failure>,
    },
    /// Notes what devices reported of a sent message; the first report of each kind stays.
    MessageReceiptSet {
        /// The message.
        id: MessageId,
        /// What was reported; when is the commit's time.
        disposition: Disposition,
    },
    /// Sets the read mark of an IN message and moves its chat's `unread_count` by one the other way.
    MessageReadSet {
        /// The message.
        id: MessageId,
        /// Its chat.
        chat: ChatId,
        /// The new mark, which differs from the old one by precondition.
        read: bool,
    },
    /// Deletes a message: its row, its words in the index, and the text of the events that tell of it; and counts it out
    /// of its chat. A message on its way is delivered all the same.
    MessageDelete {
        /// The message.
        id: MessageId,
        /// Its chat.
        chat: ChatId,
    },
    /// Sets the read mark of the IN messages of a chat that do not have it, and the chat's `unread_count`. How many they
    /// were is the next of [`Applied::counts`].
    ChatMark {
        /// The chat.
        id: ChatId,
        /// The new mark.
        read: bool,
        /// Only messages up to and with this `seq`.
        up_to_seq: i64,
    },
    /// Deletes the messages that a chat has, for every reader at once, by one mark; the rows and the text of their events
    /// go later ([`crate::ports::Store::deleted_purge`]). How many they were is the next of [`Applied::counts`].
    ChatClear(ChatId),
    /// Deletes a chat with its messages, as [`Write::ChatClear`] does. Its key is free for another chat.
    ChatDelete(ChatId),
    /// Inserts a message on its way.
    DispatchInsert(Dispatch),
    /// Gives a leased dispatch back, to be claimed again when it is due. Its lease ends.
    DispatchRelease {
        /// Which.
        id: ExchangeId,
        /// Whether a contact has taken it.
        taken: bool,
        /// How many rounds ended without a contact taking it.
        rounds: i32,
        /// When it is next due.
        due_at: Timestamp,
    },
    /// Notes that a contact has taken a dispatch; the lease goes on.
    DispatchTaken(ExchangeId),
    /// Makes the messages on their way to the contacts of an endpoint due: another one has gone, or a contact.
    DispatchesWake(EndpointId),
    /// Removes a dispatch with which nothing is left to do.
    DispatchDelete {
        /// Which.
        id: ExchangeId,
        /// To whom it was.
        recipient: EndpointId,
    },
    /// Inserts an attempt.
    DeliveryInsert(Delivery),
    /// Ends an attempt.
    DeliveryFinish {
        /// Which.
        id: DeliveryId,
        /// How.
        outcome: DeliveryOutcome,
        /// The final SIP status.
        sip_status: Option<u16>,
        /// The reason phrase, or what failed.
        reason: Option<String>,
        /// When the target is tried again at the earliest.
        retry_at: Option<Timestamp>,
    },
    /// Inserts or replaces a binding, raises the endpoint's `bindings_revision`, and makes the messages on their way to
    /// the endpoint's contacts due at the binding's `refreshed_at`, if they were due later. What failed for now at this
    /// contact may be tried again at once.
    BindingPut(Binding),
    /// Removes a binding and raises the endpoint's `bindings_revision`.
    BindingDelete(EndpointId, BindingId),
    /// Writes a refresh behind: nothing else of the binding changed. A binding that is gone, or was changed after the
    /// refresh came, is left so.
    BindingRefresh {
        /// Whose binding.
        endpoint: EndpointId,
        /// Which.
        id: BindingId,
        /// What it changes.
        refresh: Refresh,
    },
    /// Writes whether a device answered an OPTIONS: nothing else of the binding changed. A binding that is gone is left so.
    BindingQualify {
        /// Whose binding.
        endpoint: EndpointId,
        /// Which.
        id: BindingId,
        /// Reachable or not.
        status: ContactStatus,
        /// How long the answer took.
        round_trip: Option<Duration>,
        /// When it ended.
        at: Timestamp,
    },
    /// Inserts a token.
    TokenInsert {
        /// The token.
        token: ApiToken,
        /// SHA-256 of its secret.
        hash: [u8; 32],
    },
    /// Revokes a token.
    TokenRevoke(TokenId),
    /// Inserts an endpoint token.
    EndpointTokenInsert {
        /// The token.
        token: EndpointToken,
        /// The HA1 values of its secret, sealed by the store.
        ha1: Vec<Ha1>,
    },
    /// Revokes an endpoint token; its bindings are removed by writes of their own.
    EndpointTokenRevoke(EndpointTokenId),
    /// Inserts a kind of failed registration, or adds to the one with its account, source, address and reason.
    RegistrationFailurePut(RegistrationFailure),
    /// Lets a source in that was banned, on every node.
    BanLift(Source),
}

/// A secret of an endpoint besides its password; one of each at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndpointSecret {
    /// The password for digest challenges of a trunk.
    OutSipPassword,
    /// The token for VoIP clients; the one secret that can be read.
    VoipToken,
    /// The password for digest challenges of one address.
    AddressPassword(AddressId),
}

/// What becomes of an endpoint's HA1 values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialsChange {
    /// They stay.
    Keep,
    /// Only those of these algorithms stay.
    KeepOnly(Vec<DigestAlgorithm>),
    /// These take their place.
    Replace(Vec<Ha1>),
}

/// A message to insert; the store allots `seq` and `log_seq`.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// Its id.
    pub id: MessageId,
    /// Common to both copies.
    pub exchange: ExchangeId,
    /// The endpoint that keeps it.
    pub endpoint: EndpointId,
    /// The chat, which is there or inserted earlier in the same commit.
    pub chat: ChatId,
    /// Sent or received.
    pub direction: MessageDirection,
    /// API or SIP.
    pub origin: MessageOrigin,
    /// The sender's SIP URI.
    pub from: String,
    /// The recipient's SIP URI.
    pub to: String,
    /// The E.164 number that it comes from, if it comes from one.
    pub from_number: Option<String>,
    /// The E.164 number that was called, if one was.
    pub to_number: Option<String>,
    /// The other side as in the chat's key, for filters.
    pub peer: String,
    /// The text.
    pub body: String,
    /// Its media type.
    pub content_type: String,
    /// What goes with it as header fields.
    pub variables: Variables,
    /// `Accepted` or `Received`.
    pub status: MessageStatus,
    /// Whether it counts as read.
    pub read: bool,
    /// Until when delivery is tried.
    pub expires_at: Option<Timestamp>,
    /// What names the call that sends it, if that has a name.
    pub call_key: Option<CallKey>,
    /// The index, in the commit's `events`, of its first event, whose number becomes `log_seq`.
    pub first_event: usize,
    /// The index, in the commit's `events`, of the event whose number becomes the chat's `activity_seq`.
    pub activity_event: usize,
}

/// An event to append; the store allots its number.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// Its id.
    pub id: EventId,
    /// Its random check.
    pub check: u32,
    /// What it is about.
    pub subjects: Subjects,
    /// Its values. In [`EventBody::ChatUpdated`] the store replaces the counts by those after this commit.
    pub body: EventBody,
}

/// What became of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Committed and synced.
    Applied(Applied),
    /// The same call was applied before; these are the ids of its objects.
    Replayed(Vec<[u8; 16]>),
    /// The key was used before with another input; nothing was written.
    KeyReused,
    /// The precondition with this index does not hold; nothing was written.
    Failed(usize),
}

/// What the store allotted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Applied {
    /// The number of the account's newest event afterwards (as of this commit, not of the batch).
    pub head: i64,
    /// The `external_id`s of the endpoints inserted, in order.
    pub external_ids: Vec<i64>,
    /// Of the messages inserted, in order: (`seq`, `log_seq`).
    pub message_seqs: Vec<(i64, i64)>,
    /// Of the marks, clearings and deletions of chats, in order: how many messages each changed.
    pub counts: Vec<i64>,
}

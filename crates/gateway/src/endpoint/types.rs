//! What clients see of endpoints.

use std::{sync::Arc, time::Duration};

use async_graphql::{Context, Enum, ID, Lookahead, Object, Result, SimpleObject};
use sipgraph_core::{binding, endpoint, event};

use crate::{
    account::Account,
    application::Application,
    chat::{ChatConnection, ChatFilterInput, chats_page},
    connection::{connection, page_request},
    domain::{DigestAlgorithm, Domain},
    errors::{Nullable, UserError, error, nullable, optional},
    id::NodeId,
    message::{MessageConnection, MessageFilterInput, messages_page},
    resolve::{Plain, Row, Whole, leaves, plain},
    scalars::{Cursor, DateTime, JSONObject, SipUri, int},
    transformation::Transformation,
    view::{View, found},
};

/// Whether an endpoint can be reached, as ARI names it.
#[derive(Clone, Copy, Debug, Enum, PartialEq, Eq)]
#[graphql(remote = "endpoint::EndpointState")]
pub(crate) enum EndpointState {
    /// It never registered.
    Unknown,
    /// It has at least one contact.
    Online,
    /// Its last contact is gone.
    Offline,
}

/// How an endpoint without a phone behaves; for trying things out.
#[derive(Clone, Copy, Debug, Enum, PartialEq, Eq)]
#[graphql(remote = "endpoint::Simulation")]
pub(crate) enum Simulation {
    /// It takes each message, and answers it with the message's own text, from the number or address that it was sent to. What came by
    /// a trunk it answers only with `allowOutside`.
    Echo,
    /// It refuses each attempt for now (486 Busy Here), so that a message ends EXPIRED.
    Busy,
    /// It takes each message after three seconds.
    Slow,
    /// It refuses the first attempt of each message for now (503 Service Unavailable) and takes the second.
    Flaky,
    /// It is never there: a message waits until it ends EXPIRED.
    Offline,
}

/// A transport of SIP.
#[derive(Clone, Copy, Debug, Enum, PartialEq, Eq)]
#[graphql(remote = "binding::Transport")]
pub(crate) enum Transport {
    /// UDP (RFC 3261 section 18).
    Udp,
    /// TCP (RFC 3261 section 18).
    Tcp,
    /// TLS over TCP (RFC 3261 section 26.2).
    Tls,
    /// WebSocket (RFC 7118).
    Ws,
    /// Secure WebSocket (RFC 7118).
    Wss,
}

/// What an endpoint is. It cannot be changed. Source: CarrierX; `SIP_USER` is the phone of the others.
#[derive(Clone, Copy, Debug, Enum, PartialEq, Eq)]
#[graphql(remote = "endpoint::EndpointType")]
pub(crate) enum EndpointType {
    /// A phone or softphone. Every field can be changed.
    #[graphql(name = "SIP_USER")]
    SipUser,
    /// A trunk to another system. Every field can be changed.
    #[graphql(name = "THIRD_PARTY")]
    ThirdParty,
    /// A mediator. Of it displayName, description, enabled and capacity can be changed.
    #[graphql(name = "MEDIATOR")]
    Mediator,
    /// A FlexML application. Of it displayName, description, enabled and capacity can be changed.
    #[graphql(name = "FLEXML")]
    Flexml,
    /// A conference. Of it displayName, description, enabled and capacity can be changed.
    #[graphql(name = "CONFERENCE")]
    Conference,
    /// A conference of the second kind. Of it displayName, description, enabled and capacity can be changed.
    #[graphql(name = "CONFERENCE_V2")]
    ConferenceV2,
    /// A playback of conferences. Of it displayName, description, enabled and capacity can be changed.
    #[graphql(name = "CONFERENCE_PLAYBACK")]
    ConferencePlayback,
    /// A voice mailbox. Of it displayName, description, enabled, capacity and the properties `callback_method`, `callback_url`,
    /// `container_sid` and greeting can be changed; it has no other properties.
    #[graphql(name = "VOICEMAIL")]
    Voicemail,
    /// The operator's gateway: one per account, made on the command line. Nothing of it can be changed.
    #[graphql(name = "SYSTEM_GATEWAY")]
    SystemGateway,
}

/// A cipher suite of SRTP. Source: SignalWire.
#[derive(Clone, Copy, Debug, Enum, PartialEq, Eq)]
#[graphql(remote = "endpoint::Cipher")]
pub(crate) enum Cipher {
    /// AES-256 in Galois/Counter Mode with a tag of 8 octets (RFC 7714).
    #[graphql(name = "AEAD_AES_256_GCM_8")]
    AeadAes256Gcm8,
    /// AES-256 in Counter Mode with HMAC-SHA1 of 80 bits (RFC 6188).
    #[graphql(name = "AES_256_CM_HMAC_SHA1_80")]
    Aes256CmHmacSha1With80,
    /// AES-128 in Counter Mode with HMAC-SHA1 of 80 bits (RFC 3711).
    #[graphql(name = "AES_CM_128_HMAC_SHA1_80")]
    AesCm128HmacSha1With80,
    /// AES-256 in Counter Mode with HMAC-SHA1 of 32 bits (RFC 6188).
    #[graphql(name = "AES_256_CM_HMAC_SHA1_32")]
    Aes256CmHmacSha1With32,
    /// AES-128 in Counter Mode with HMAC-SHA1 of 32 bits (RFC 3711).
    #[graphql(name = "AES_CM_128_HMAC_SHA1_32")]
    AesCm128HmacSha1With32,
}

/// An audio or video codec. Source: SignalWire.
#[derive(Clone, Copy, Debug, Enum, PartialEq, Eq)]
#[graphql(remote = "endpoint::Codec")]
pub(crate) enum Codec {
    /// Opus (RFC 6716).
    #[graphql(name = "OPUS")]
    Opus,
    /// G.722.
    #[graphql(name = "G722")]
    G722,
    /// G.711 µ-law.
    #[graphql(name = "PCMU")]
    Pcmu,
    /// G.711 A-law.
    #[graphql(name = "PCMA")]
    Pcma,
    /// VP8 (RFC 6386).
    #[graphql(name = "VP8")]
    Vp8,
    /// H.264.
    #[graphql(name = "H264")]
    H264,
}

/// Whether an endpoint must be reached over an encrypted transport. Source: SignalWire.
#[derive(Clone, Copy, Debug, Enum, PartialEq, Eq)]
#[graphql(remote = "endpoint::Encryption")]
pub(crate) enum Encryption {
    /// As the account's profile says.
    Default,
    /// Only TLS and secure WebSocket; contacts over other transports are removed when it is switched on.
    Required,
    /// Any transport.
    Optional,
}

/// For which calls and messages an address of a trunk is.
#[derive(Clone, Copy, Debug, Enum, PartialEq, Eq)]
#[graphql(remote = "endpoint::AddressDirection")]
pub(crate) enum AddressDirection {
    /// For both directions.
    Any,
    /// For what comes from it.
    Inbound,
    /// For what goes to it.
    Outbound,
}

/// How nested objects of an update meet those that are there. Source: CarrierX (`nested_objects`).
#[derive(Clone, Copy, Debug, Enum, PartialEq, Eq)]
#[graphql(remote = "endpoint::NestedMode")]
pub(crate) enum NestedMode {
    /// Maps are merged by key, where null deletes a key. In lists an item with an id is changed in the fields that are given,
    /// an item without one is appended, and what is not named stays.
    Merge,
    /// There is afterwards exactly what is given, in the order given. An item with an id keeps its id and, when it gives no
    /// password, its password.
    Replace,
}

/// Whether a contact can be reached.
#[derive(Clone, Copy, Debug, Enum, PartialEq, Eq)]
#[graphql(remote = "event::ContactStatus")]
pub(crate) enum ContactStatus {
    /// It is registered; whether it answers is not tried.
    NonQualified,
    /// It is no longer registered.
    Removed,
    /// Its phone answered the last OPTIONS.
    Reachable,
    /// Its phone did not answer the last OPTIONS; it is still registered, and messages are still sent to it.
    Unreachable,
}

leaves!(EndpointState, Simulation, EndpointType, Encryption);

/// An endpoint.
pub(crate) struct Endpoint {
    row: Arc<endpoint::Endpoint>,
    view: View,
}

impl Endpoint {
    pub(crate) fn new(row: impl Into<Arc<endpoint::Endpoint>>, view: View) -> Self {
        let row = row.into();
        Self { row, view }
    }
}

/// What registers, sends and receives: a phone, a softphone or a simulation.
#[Object]
impl Endpoint {
    /// Its opaque id.
    pub(crate) async fn id(&self) -> ID {
        self.row.id.to_id()
    }

    /// Its number in the account, counted from 1 and never used again.
    fn external_id(&self) -> i32 {
        int(self.row.external_id)
    }

    /// The account that owns it.
    async fn account(&self) -> Result<Account> {
        self.view.account().await.map_err(error)
    }

    /// The kind of record, as SignalWire names it: `sip_endpoint`.
    fn record_type(&self) -> &'static str {
        "sip_endpoint"
    }

    /// What it is. It cannot be changed. Source: CarrierX.
    #[graphql(name = "type")]
    fn kind(&self) -> EndpointType {
        self.row.kind.into()
    }

    /// Its domain.
    async fn domain(&self) -> Result<Domain> {
        let domain = self.view.domain(self.row.domain).await;
        found(domain, "domain").map_err(error)
    }

    /// Its technology: `SIP`.
    fn technology(&self) -> &'static str {
        "SIP"
    }

    /// Its name within the technology, as ARI's `resource`: equal to `name`.
    fn resource(&self) -> &str {
        &self.row.name
    }

    /// The user part of its address (RFC 3261 section 19.1.1) as it was given; unique in its domain by canonical form,
    /// immutable.
    fn name(&self) -> &str {
        &self.row.name
    }

    /// The label for people, at most 255 characters; null when there is none. It can be changed. Source: CarrierX `name`.
    fn display_name(&self) -> Option<&str> {
        self.row.display_name.as_deref()
    }

    /// A note for people, at most 1024 characters; null when there is none. It can be changed. Source: Bandwidth.
    fn description(&self) -> Option<&str> {
        self.row.description.as_deref()
    }

    /// Whom calls of it are told to; null when nobody is. It can be changed. Source: Bandwidth `applicationId`.
    async fn application(&self) -> Nullable<Application> {
        let id = self.row.application?;
        optional(self.view.application(id).await)
    }

    /// Whether it may register, send and receive; true unless told otherwise. It can be changed: when it becomes false, its
    /// contacts are removed at once. Source: Bandwidth.
    fn enabled(&self) -> bool {
        self.row.enabled
    }

    /// What a phone registers with. A password is never readable.
    fn credentials(&self) -> EndpointCredentials {
        EndpointCredentials {
            username: self.row.name.clone(),
            realm: self.row.domain_name.clone(),
            has_password: self.row.has_password,
        }
    }

    /// Which digests of its password are kept, and so which answers are accepted; the challenge depends on its domain alone.
    /// When it was not given: SHA-256 and what its domain asked for. To add one, give the password too.
    fn digest_algorithms(&self) -> Vec<DigestAlgorithm> {
        let algorithms = self.row.digest_algorithms.iter().copied();
        algorithms.map(DigestAlgorithm::from).collect()
    }

    /// Its address-of-record (RFC 3261 section 6).
    fn sip_uri(&self) -> SipUri {
        SipUri(self.row.sip_uri())
    }

    /// The E.164 numbers on which it receives and from which it sends, in the order given; at most 100. The operator assigns
    /// numbers to the account (`Account.numbers`), of which each is on one endpoint at most. They can be changed.
    fn numbers(&self) -> &[String] {
        &self.row.numbers
    }

    /// Whether it can be reached.
    fn state(&self) -> EndpointState {
        self.row.state.into()
    }

    /// Where it is registered now, oldest first; empty unless it is ONLINE.
    async fn contacts(&self) -> Result<Vec<Contact>> {
        let contacts = self.view.contacts(self.row.id).await.map_err(error)?;
        Ok(contacts.into_iter().map(Contact::from).collect())
    }

    /// The ids of its active calls, as ARI has them. This gateway makes no calls: always empty.
    fn channel_ids(&self) -> Vec<String> {
        Vec::new()
    }

    /// The name that others see as the caller, the display name of From; at most 255 characters; null when there is none. It
    /// can be changed. Source: SignalWire.
    fn caller_id(&self) -> Option<&str> {
        self.row.caller_id.as_deref()
    }

    /// The E.164 number that it sends from, or `random`: any number of the account, kept for a chat. Null: as the account's
    /// profile says. It can be changed. Source: SignalWire.
    fn send_as(&self) -> Option<&str> {
        self.row.send_as.as_deref()
    }

    /// Whether it may reach numbers outside; false unless told otherwise. It can be changed.
    fn allow_outside(&self) -> bool {
        self.row.allow_outside
    }

    /// Its own cipher suites, most preferred first; null: those of the account's profile. It can be changed; an empty list
    /// or null unsets it. Source: SignalWire.
    fn ciphers(&self) -> Option<Vec<Cipher>> {
        let list = self.row.ciphers.as_ref()?;
        Some(list.iter().copied().map(Cipher::from).collect())
    }

    /// Its own codecs, most preferred first; null: those of the account's profile. It can be changed; an empty list or null
    /// unsets it. Source: SignalWire.
    fn codecs(&self) -> Option<Vec<Codec>> {
        let list = self.row.codecs.as_ref()?;
        Some(list.iter().copied().map(Codec::from).collect())
    }

    /// Whether it must be reached over an encrypted transport; DEFAULT unless told otherwise. It can be changed. Source:
    /// SignalWire.
    fn encryption(&self) -> Encryption {
        self.row.encryption.into()
    }

    /// The cipher suites that calls of it use: its own, or those of the account's profile as it is now. Never empty.
    async fn effective_ciphers(&self) -> Result<Vec<Cipher>> {
        let list = match &self.row.ciphers {
            Some(own) => own,
            None => {
                &self
                    .view
                    .sip_profile()
                    .await
                    .map_err(error)?
                    .default_ciphers
            }
        };
        Ok(list.iter().copied().map(Cipher::from).collect())
    }

    /// The codecs that calls of it use: its own, or those of the account's profile as it is now. Never empty.
    async fn effective_codecs(&self) -> Result<Vec<Codec>> {
        let list = match &self.row.codecs {
            Some(own) => own,
            None => &self.view.sip_profile().await.map_err(error)?.default_codecs,
        };
        Ok(list.iter().copied().map(Codec::from).collect())
    }

    /// Whether it must be reached over an encrypted transport: its own encryption or, where that is DEFAULT, that of the
    /// account's profile as it is now. REQUIRED or OPTIONAL.
    async fn effective_encryption(&self) -> Result<Encryption> {
        Ok(match self.row.encryption {
            endpoint::Encryption::Default => {
                let profile = self.view.sip_profile().await.map_err(error)?;
                profile.default_encryption.into()
            }
            own => own.into(),
        })
    }

    /// What it sends from to numbers outside: its own `sendAs`, or that of the account's profile as it is now. An E.164 number, or
    /// `random`; null when neither says anything: then its first number.
    async fn effective_send_as(&self) -> Nullable<String> {
        if let Some(own) = &self.row.send_as {
            return Some(Ok(own.clone()));
        }
        let profile = self.view.sip_profile().await;
        optional(profile.map(|profile| profile.default_send_as.clone()))
    }

    /// The most inbound calls at a time; 0 unless told otherwise, never negative. It can be changed. Source: CarrierX.
    fn capacity(&self) -> i32 {
        self.row.capacity
    }

    /// The most outbound calls a second; null: any number. Only the operator sets it. Source: CarrierX.
    fn cps_limit(&self) -> Option<i32> {
        self.row.cps_limit
    }

    /// Whether what a trunk sends must be authenticated; true unless told otherwise. It can be changed. Source: CarrierX.
    fn auth_required(&self) -> bool {
        self.row.auth_required
    }

    /// Where a trunk stands, in the order given. They can be changed. Source: CarrierX.
    fn addresses(&self) -> Vec<Address> {
        let addresses = self.row.nested.addresses.iter().cloned();
        addresses.map(Address::from).collect()
    }

    /// What the caller keeps with it: any JSON, at most 16 KiB and 16 levels; empty unless given. It can be changed.
    /// Source: CarrierX.
    fn attributes(&self) -> JSONObject {
        JSONObject(self.row.nested.attributes.clone())
    }

    /// What its type needs: any JSON, at most 16 KiB and 16 levels; empty unless given. Of a voice mailbox `callback_method`
    /// (GET or POST), `callback_url` (http or https), `container_sid` and greeting can be changed, and it has no others. Source:
    /// CarrierX.
    fn properties(&self) -> JSONObject {
        JSONObject(self.row.nested.properties.clone())
    }

    /// Rules on its numbers, in the order in which they are applied; at most 32. They can be changed. Source: CarrierX.
    fn transformations(&self) -> Vec<Transformation> {
        let transformations = self.row.nested.transformations.iter().cloned();
        transformations.map(Transformation::from).collect()
    }

    /// The user name for digest challenges of the system behind a trunk, where its address has none; null when there is
    /// none. It can be changed. Source: CarrierX.
    fn out_sip_username(&self) -> Option<&str> {
        self.row.out_sip_username.as_deref()
    }

    /// Whether there is a password for digest challenges of the system behind a trunk. The password is never readable.
    fn has_out_sip_password(&self) -> bool {
        self.row.has_out_sip_password
    }

    /// Its token for VoIP clients, a UUID; null for hosted types, which are all but `SIP_USER` and `THIRD_PARTY`. It cannot be
    /// changed. Needs the scope endpoints.secrets, which no other scope implies; each read is logged. Source: CarrierX.
    async fn voip_token(&self) -> Nullable<String> {
        let token = self.view.voip_token(self.row.id).await;
        optional(token.map(|token| token.map(|secret| secret.expose().to_owned())))
    }

    /// How it behaves when no phone stands behind it; null for a real endpoint. It can be changed.
    fn simulation(&self) -> Option<Simulation> {
        self.row.simulation.map(Simulation::from)
    }

    /// When it was made.
    fn created_at(&self) -> DateTime {
        DateTime(self.row.created_at)
    }

    /// When a field of it was last changed; its presence does not count.
    fn updated_at(&self) -> DateTime {
        DateTime(self.row.updated_at)
    }

    /// Counts the changes of its fields from 1; its presence does not count.
    fn version(&self) -> i32 {
        int(self.row.version)
    }

    /// Its messages, newest first. Needs the scope messages.read.
    async fn messages(
        &self,
        #[graphql(desc = "The first so many rows after `after`: 1 to 1000; 50 when absent.")]
        first: Option<i32>,
        #[graphql(desc = "Only rows after this one.")] after: Option<Cursor>,
        #[graphql(
            desc = "The last so many rows before `before`: 1 to 1000. Not together with `first`."
        )]
        last: Option<i32>,
        #[graphql(desc = "Only rows before this one.")] before: Option<Cursor>,
        #[graphql(desc = "Only rows that match all of its fields.")] filter: Option<
            MessageFilterInput,
        >,
    ) -> Nullable<MessageConnection> {
        let filter = MessageFilterInput::of_endpoint(filter, self.row.id);
        // Boxed, as in `loaders::get`.
        let request = page_request(first, after, last, before);
        Box::pin(messages_page(&self.view, filter, request)).await
    }

    /// Its chats, the last active first. Needs the scope chats.read.
    async fn chats(
        &self,
        #[graphql(desc = "The first so many rows after `after`: 1 to 1000; 50 when absent.")]
        first: Option<i32>,
        #[graphql(desc = "Only rows after this one.")] after: Option<Cursor>,
        #[graphql(
            desc = "The last so many rows before `before`: 1 to 1000. Not together with `first`."
        )]
        last: Option<i32>,
        #[graphql(desc = "Only rows before this one.")] before: Option<Cursor>,
        #[graphql(desc = "Only rows that match all of its fields.")] filter: Option<
            ChatFilterInput,
        >,
    ) -> Nullable<ChatConnection> {
        let filter = ChatFilterInput::of_endpoint(filter, self.row.id);
        let request = page_request(first, after, last, before);
        Box::pin(chats_page(&self.view, filter, request)).await
    }

    /// How many of the messages it received are unread. Needs the scope messages.read; null without it.
    async fn unread_count(&self) -> Nullable<i32> {
        nullable(self.view.unread_count(self.row.id).await.map(int))
    }
}

/// What a phone registers with.
#[derive(SimpleObject)]
pub(crate) struct EndpointCredentials {
    /// The user name of digest authentication: the endpoint's name.
    username: String,
    /// The realm of digest authentication: the domain's name.
    realm: String,
    /// Whether it has a password.
    has_password: bool,
}

/// Where a trunk stands. Source: CarrierX.
#[derive(SimpleObject)]
pub(crate) struct Address {
    /// Its opaque id, by which an update names it.
    id: ID,
    /// For what it is; ANY unless told otherwise.
    direction: AddressDirection,
    /// An IPv4 or IPv6 address or a host name, as given.
    ip: String,
    /// Its port; 5060 unless told otherwise.
    port: i32,
    /// The port of ours at which what it sends must arrive; 5060 unless told otherwise.
    dst_port: i32,
    /// Lower is tried first; 0 unless told otherwise.
    priority: i32,
    /// How it is reached; UDP unless told otherwise.
    transport: Transport,
    /// Whether its media is encrypted with SRTP; false unless told otherwise.
    srtp: bool,
    /// The caller's name of its location; null when there is none.
    location_sid: Option<String>,
    /// The user name for its digest challenges; null: that of the endpoint.
    sip_username: Option<String>,
    /// Whether there is a password for its digest challenges. The password is never readable.
    has_sip_password: bool,
}

impl From<endpoint::Address> for Address {
    fn from(address: endpoint::Address) -> Self {
        Self {
            id: address.id.to_id(),
            direction: address.direction.into(),
            ip: address.ip,
            port: address.port.into(),
            dst_port: address.dst_port.into(),
            priority: address.priority,
            transport: address.transport.into(),
            srtp: address.srtp,
            location_sid: address.location_sid,
            sip_username: address.sip_username,
            has_sip_password: address.has_sip_password,
        }
    }
}

/// Where an endpoint is registered: one phone, or one line of it (RFC 3261 section 10).
#[derive(SimpleObject)]
pub(crate) struct Contact {
    /// Its opaque id.
    id: ID,
    /// The Contact URI that the phone gave.
    uri: SipUri,
    /// The transport of its registration.
    transport: Transport,
    /// What the phone calls itself; null when it does not say.
    user_agent: Option<String>,
    /// Whether its phone answers. `NON_QUALIFIED` unless the operator has phones asked (`sip.qualify_s`).
    status: ContactStatus,
    /// How long its phone took to answer the last OPTIONS, in milliseconds; null without an answer.
    round_trip_ms: Option<f64>,
    /// When the contact was first registered.
    registered_at: DateTime,
    /// When the registration ends unless the phone renews it.
    expires_at: DateTime,
}

impl From<binding::Binding> for Contact {
    fn from(binding: binding::Binding) -> Self {
        Self {
            id: binding.id.to_id(),
            uri: SipUri(binding.contact_uri),
            transport: binding.flow.transport.into(),
            user_agent: binding.user_agent,
            status: binding.status.into(),
            round_trip_ms: binding.round_trip.map(milliseconds),
            registered_at: DateTime(binding.registered_at),
            expires_at: DateTime(binding.expires_at),
        }
    }
}

/// Milliseconds with the microseconds behind the point.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

impl Row for Endpoint {
    fn plain(name: &str) -> Option<Plain<Self>> {
        plain!(name,
            "id" => |endpoint: &Self, _: &Context<'_>| endpoint.row.id.to_id(),
            "externalId" => Self::external_id,
            "recordType" => Self::record_type,
            "type" => Self::kind,
            "technology" => Self::technology,
            "resource" => Self::resource,
            "name" => Self::name,
            "displayName" => Self::display_name,
            "description" => Self::description,
            "enabled" => Self::enabled,
            "sipUri" => Self::sip_uri,
            "numbers" => Self::numbers,
            "state" => Self::state,
            "callerId" => Self::caller_id,
            "sendAs" => Self::send_as,
            "allowOutside" => Self::allow_outside,
            "encryption" => Self::encryption,
            "capacity" => Self::capacity,
            "cpsLimit" => Self::cps_limit,
            "authRequired" => Self::auth_required,
            "outSipUsername" => Self::out_sip_username,
            "hasOutSipPassword" => Self::has_out_sip_password,
            "simulation" => Self::simulation,
            "createdAt" => Self::created_at,
            "updatedAt" => Self::updated_at,
            "version" => Self::version,
        )
    }

    async fn ahead(rows: &[&Self], asked: &Lookahead<'_>) {
        if let Some(first) = rows.first()
            && asked.field("domain").exists()
        {
            let ids = rows.iter().map(|endpoint| endpoint.row.domain);
            first.view.domains_ahead(ids).await;
        }
    }
}

connection!(
    /// A page of endpoints, newest first unless asked for otherwise.
    EndpointConnection,
    /// An endpoint in a page.
    EndpointEdge,
    Endpoint
);

/// What `createEndpoint` would say to a name.
#[derive(SimpleObject)]
pub(crate) struct NameCheck {
    /// Whether it would be accepted.
    pub(crate) valid: bool,
    /// The form by which names are compared (RFC 3261 section 10.3); null for a name that is not well-formed.
    pub(crate) canonical: Option<String>,
    /// What is wrong with it; empty when it would be accepted.
    pub(crate) errors: Vec<UserError>,
}

impl EndpointEdge {
    /// Makes the edge of an endpoint in the unfiltered list.
    pub(super) fn new(row: endpoint::Endpoint, view: View) -> Self {
        let cursor = view.app().endpoint_cursor(view.caller(), &row);
        Self {
            cursor,
            node: Whole(Endpoint::new(row, view)),
        }
    }
}

/// The answer to `createEndpoint`.
#[derive(SimpleObject)]
pub(crate) struct CreateEndpointPayload {
    /// The endpoint, in a dry run as it would be, with the externalId 0; null when it was refused.
    pub(crate) endpoint: Option<Endpoint>,
    /// The endpoint with its cursor in the unfiltered list, for caches of Relay; null when it was refused and in a dry run.
    pub(crate) endpoint_edge: Option<EndpointEdge>,
    /// The password that was generated. It is told in this one answer; null when none was, in a dry run and in a replay.
    pub(crate) generated_password: Option<String>,
    /// Whether nothing was stored because only a dry run was asked for.
    pub(crate) dry_run: bool,
    /// True when an earlier call with the same idempotency key made it.
    pub(crate) replayed: bool,
    /// What the caller can mend; empty when the endpoint was made.
    pub(crate) user_errors: Vec<UserError>,
}

/// The answer to `createEndpoints`.
#[derive(SimpleObject)]
pub(crate) struct CreateEndpointsPayload {
    /// One place for each endpoint of the input, in its order: the endpoint, in a dry run as it would be; null where it was
    /// refused or not made because of another, and in a replay where it is gone since.
    pub(crate) endpoints: Vec<Option<Endpoint>>,
    /// The passwords that were generated, by the same places. They are told in this one answer; null where none was.
    pub(crate) generated_passwords: Vec<Option<String>>,
    /// Whether nothing was stored because only a dry run was asked for.
    pub(crate) dry_run: bool,
    /// True when an earlier call with the same idempotency key made them. What was refused then is null without its reason.
    pub(crate) replayed: bool,
    /// What the caller can mend, each with its place: `["endpoints", "3", "name"]`.
    pub(crate) user_errors: Vec<UserError>,
}

/// The answer to `updateEndpoint`.
#[derive(SimpleObject)]
pub(crate) struct UpdateEndpointPayload {
    /// The whole endpoint, in a dry run as it would be; null when it was refused.
    pub(crate) endpoint: Option<Endpoint>,
    /// The names of the fields that changed, as `EndpointPatch` has them; empty when nothing did, and in a replay.
    pub(crate) changed_fields: Vec<String>,
    /// The password that was generated. It is told in this one answer; null when none was, in a dry run and in a replay.
    pub(crate) generated_password: Option<String>,
    /// Whether nothing was stored because only a dry run was asked for.
    pub(crate) dry_run: bool,
    /// True when an earlier call with the same idempotency key did it.
    pub(crate) replayed: bool,
    /// What the caller can mend; empty when the endpoint is as it was asked for.
    pub(crate) user_errors: Vec<UserError>,
}

/// The answer to `replaceEndpoint`.
#[derive(SimpleObject)]
pub(crate) struct ReplaceEndpointPayload {
    /// The whole endpoint, in a dry run as it would be; null when it was refused.
    pub(crate) endpoint: Option<Endpoint>,
    /// The names of the fields that changed, as `EndpointPatch` has them; empty when nothing did, and in a replay.
    pub(crate) changed_fields: Vec<String>,
    /// The password that was generated. It is told in this one answer; null when none was, in a dry run and in a replay.
    pub(crate) generated_password: Option<String>,
    /// Whether nothing was stored because only a dry run was asked for.
    pub(crate) dry_run: bool,
    /// True when an earlier call with the same idempotency key did it.
    pub(crate) replayed: bool,
    /// What the caller can mend; empty when the endpoint is as it was asked for.
    pub(crate) user_errors: Vec<UserError>,
}

/// The answer to `deleteEndpoint`.
#[derive(SimpleObject)]
pub(crate) struct DeleteEndpointPayload {
    /// The id of the endpoint that is gone; null when it was refused.
    pub(crate) deleted_endpoint_id: Option<ID>,
    /// True when an earlier call with the same idempotency key deleted it.
    pub(crate) replayed: bool,
    /// What the caller can mend; empty when the endpoint was deleted.
    pub(crate) user_errors: Vec<UserError>,
}

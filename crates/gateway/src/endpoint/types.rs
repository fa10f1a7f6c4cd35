//! What clients see of endpoints.

use std::time::Duration;

use async_graphql::{Enum, ID, Object, Result, SimpleObject};
use sipgraph_core::{binding, endpoint, event};

use crate::{
    account::Account,
    chat::{ChatConnection, ChatFilterInput, chats_page},
    connection::{connection, page_request},
    domain::Domain,
    errors::{Nullable, UserError, error, nullable},
    id::NodeId,
    message::{MessageConnection, MessageFilterInput, messages_page},
    scalars::{Cursor, DateTime, SipUri, int},
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
    /// It answers each message with the message's own text.
    Echo,
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

/// An endpoint.
pub(crate) struct Endpoint {
    row: endpoint::Endpoint,
    view: View,
}

impl Endpoint {
    pub(crate) fn new(row: endpoint::Endpoint, view: View) -> Self {
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
    async fn external_id(&self) -> i32 {
        int(self.row.external_id)
    }

    /// The account that owns it.
    async fn account(&self) -> Result<Account> {
        self.view.account().await.map_err(error)
    }

    /// Its domain.
    async fn domain(&self) -> Result<Domain> {
        let domain = self.view.domain(self.row.domain).await;
        found(domain, "domain").map_err(error)
    }

    /// Its technology: `SIP`.
    async fn technology(&self) -> &'static str {
        "SIP"
    }

    /// Its name within the technology, as ARI's `resource`: equal to `name`.
    async fn resource(&self) -> &str {
        &self.row.name
    }

    /// The user part of its address (RFC 3261 section 19.1.1) as it was given; unique in its domain by canonical form,
    /// immutable.
    async fn name(&self) -> &str {
        &self.row.name
    }

    /// The label for people; null when there is none.
    async fn display_name(&self) -> Option<&str> {
        self.row.display_name.as_deref()
    }

    /// A note for people; null when there is none.
    async fn description(&self) -> Option<&str> {
        self.row.description.as_deref()
    }

    /// Whether it may register, send and receive.
    async fn enabled(&self) -> bool {
        self.row.enabled
    }

    /// What a phone registers with. A password is never readable.
    async fn credentials(&self) -> EndpointCredentials {
        EndpointCredentials {
            username: self.row.name.clone(),
            realm: self.row.domain_name.clone(),
            has_password: self.row.has_password,
        }
    }

    /// Its address-of-record (RFC 3261 section 6).
    async fn sip_uri(&self) -> SipUri {
        SipUri(self.row.sip_uri())
    }

    /// Whether it can be reached.
    async fn state(&self) -> EndpointState {
        self.row.state.into()
    }

    /// Where it is registered now, oldest first; empty unless it is ONLINE.
    async fn contacts(&self) -> Result<Vec<Contact>> {
        let contacts = self.view.contacts(self.row.id).await.map_err(error)?;
        Ok(contacts.into_iter().map(Contact::from).collect())
    }

    /// How it behaves when no phone stands behind it; null for a real endpoint.
    async fn simulation(&self) -> Option<Simulation> {
        self.row.simulation.map(Simulation::from)
    }

    /// When it was made.
    async fn created_at(&self) -> DateTime {
        DateTime(self.row.created_at)
    }

    /// When a field of it was last changed; its presence does not count.
    async fn updated_at(&self) -> DateTime {
        DateTime(self.row.updated_at)
    }

    /// Counts the changes of its fields from 1; its presence does not count.
    async fn version(&self) -> i32 {
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
        messages_page(&self.view, filter, page_request(first, after, last, before)).await
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
        chats_page(&self.view, filter, page_request(first, after, last, before)).await
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

/// The answer to `createEndpoint`.
#[derive(SimpleObject)]
pub(crate) struct CreateEndpointPayload {
    /// The endpoint; null when it was refused.
    pub(crate) endpoint: Option<Endpoint>,
    /// The password that was generated. It is told in this one answer; null when none was, and in a replay.
    pub(crate) generated_password: Option<String>,
    /// True when an earlier call with the same idempotency key made it.
    pub(crate) replayed: bool,
    /// What the caller can mend; empty when the endpoint was made.
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

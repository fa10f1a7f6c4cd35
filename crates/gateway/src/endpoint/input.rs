//! What clients say about endpoints.

use async_graphql::{Enum, ID, InputObject, OneofObject};
use sipgraph_core::{
    DomainId, EndpointId, Problem,
    address::{endpoint_resource, endpoint_uri},
    decide::endpoints::{NewEndpoint, NewPassword},
    keyring::Secret,
    ports::store::{EndpointFilter, EndpointKey},
};

use super::types::{EndpointState, Simulation};
use crate::{id::NodeId, message::TimeRange};

/// Which endpoint: exactly one of these.
#[derive(OneofObject)]
pub(crate) enum EndpointLookup {
    /// By its opaque id.
    Id(ID),
    /// By technology and resource, as ARI does.
    Resource(EndpointResourceInput),
    /// By its address: `sip:`, `sips:` or `pjsip:`.
    SipUri(String),
}

impl EndpointLookup {
    pub(super) fn to_key(&self) -> Result<EndpointKey, Problem> {
        match self {
            Self::Id(id) => Ok(EndpointKey::Id(EndpointId::of(id))),
            Self::Resource(resource) => resource.to_key("by.resource"),
            Self::SipUri(uri) => endpoint_uri("by.sipUri", uri),
        }
    }
}

/// An endpoint by technology and resource, as ARI names it.
#[derive(InputObject)]
pub(crate) struct EndpointResourceInput {
    /// The technology or an alias of it, in any case: `SIP`, `PJSIP`.
    technology: String,
    /// The endpoint's name.
    resource: String,
    /// The domain's name or alias; may be left out while the resource is unique in the account.
    domain: Option<String>,
}

impl EndpointResourceInput {
    /// Reads it; `field` is the path to it for problems.
    pub(crate) fn to_key(&self, field: &str) -> Result<EndpointKey, Problem> {
        endpoint_resource(
            field,
            &self.technology,
            &self.resource,
            self.domain.as_deref(),
        )
    }
}

/// Which endpoints a list has: those that match all of its fields. An absent field does not filter; an empty list matches
/// nothing.
#[derive(InputObject)]
#[graphql(name = "EndpointFilter")]
pub(crate) struct EndpointFilterInput {
    /// Only these.
    ids: Option<Vec<ID>>,
    /// Only of this technology: a name or alias of `technologies`, in any case. An unknown one is NOT_FOUND.
    technology: Option<String>,
    /// Only of this domain.
    domain_id: Option<ID>,
    /// Only in this state.
    state: Option<EndpointState>,
    /// Only enabled, or only disabled ones.
    enabled: Option<bool>,
    /// Only what was made in this time.
    created_at: Option<TimeRange>,
    /// Only with this text in their names. It is taken literally, `%` and `_` too; ASCII letters match in either case. An empty
    /// text does not filter. With fewer than three letters or digits in a row only the newest 20,000 endpoints are looked at:
    /// when these do not fill the page, the error is `QUERY_TOO_COMPLEX`.
    name_contains: Option<String>,
}

impl EndpointFilterInput {
    pub(crate) fn to_core(filter: Option<Self>) -> EndpointFilter {
        let Some(filter) = filter else {
            return EndpointFilter::default();
        };
        let created_at = filter.created_at;
        EndpointFilter {
            ids: filter.ids.map(|ids| EndpointId::all(&ids)),
            technology: filter.technology,
            domain: filter.domain_id.map(|id| DomainId::of(&id)),
            state: filter.state.map(Into::into),
            enabled: filter.enabled,
            from: created_at.as_ref().and_then(|t| t.from).map(|at| at.0),
            to: created_at.as_ref().and_then(|t| t.to).map(|at| at.0),
            name_contains: filter.name_contains,
            visible: None,
        }
    }
}

/// What endpoints are ordered by.
#[derive(Clone, Copy, Debug, Enum, PartialEq, Eq)]
pub(crate) enum EndpointOrderField {
    /// When they were made.
    CreatedAt,
    /// Their names, byte by byte: capital letters before small ones.
    Name,
}

/// The direction of an order.
#[derive(Clone, Copy, Debug, Enum, PartialEq, Eq)]
pub(crate) enum OrderDirection {
    /// Smallest, or oldest, first.
    Asc,
    /// Largest, or newest, first.
    Desc,
}

/// The order of a list of endpoints; ties are in the order of their ids.
#[derive(InputObject)]
pub(crate) struct EndpointOrder {
    /// What they are ordered by.
    #[graphql(default_with = "EndpointOrderField::CreatedAt")]
    pub(super) field: EndpointOrderField,
    /// In which direction.
    #[graphql(default_with = "OrderDirection::Desc")]
    pub(super) direction: OrderDirection,
}

/// A password to register with: given, or generated.
#[derive(InputObject)]
pub(crate) struct EndpointCredentialsInput {
    /// The password: at least 6 characters, all of ISO 8859-1. It is never readable afterwards.
    password: Option<String>,
    /// Whether a password is generated; it is told once, in the answer.
    #[graphql(default)]
    generate: bool,
}

/// An endpoint to make.
#[derive(InputObject)]
pub(crate) struct CreateEndpointInput {
    /// Its domain.
    domain_id: ID,
    /// The user part of its address (RFC 3261 section 19.1.1). It cannot be changed later.
    name: String,
    /// Its password. Required unless it is a simulation.
    credentials: Option<EndpointCredentialsInput>,
    /// The label for people, at most 128 characters.
    display_name: Option<String>,
    /// A note for people, at most 1024 characters.
    description: Option<String>,
    /// Whether it may register, send and receive.
    #[graphql(default = true)]
    enabled: bool,
    /// How it behaves when no phone stands behind it; absent for a real endpoint.
    simulation: Option<Simulation>,
    /// Makes the call safe to repeat: with the same key and input it is done once. Kept for 24 hours.
    pub(super) idempotency_key: Option<String>,
}

impl CreateEndpointInput {
    pub(super) fn to_core(&self) -> Result<NewEndpoint, Problem> {
        let password = match &self.credentials {
            Some(EndpointCredentialsInput {
                password: Some(_),
                generate: true,
            }) => {
                return Err(Problem::validation(
                    "credentials",
                    "Give a password or have one generated, not both.",
                ));
            }
            Some(EndpointCredentialsInput {
                password: Some(password),
                generate: false,
            }) => NewPassword::Given(Secret::new(password.as_str())),
            Some(EndpointCredentialsInput {
                password: None,
                generate: true,
            }) => NewPassword::Generate,
            Some(_) | None => NewPassword::Missing,
        };
        Ok(NewEndpoint {
            domain: DomainId::of(&self.domain_id),
            name: self.name.clone(),
            password,
            display_name: self.display_name.clone(),
            description: self.description.clone(),
            enabled: self.enabled,
            simulation: self.simulation.map(Into::into),
        })
    }
}

/// An endpoint to delete.
#[derive(InputObject)]
pub(crate) struct DeleteEndpointInput {
    /// Its opaque id. Its chats and messages go with it; messages on their way to it fail.
    pub(super) id: ID,
    /// Makes the call safe to repeat: with the same key and input it is done once. Kept for 24 hours.
    pub(super) idempotency_key: Option<String>,
}

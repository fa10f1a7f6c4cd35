//! What clients say about endpoints.

use async_graphql::{Enum, ID, InputObject, MaybeUndefined, OneofObject};
use sipgraph_core::{
    AccountId, AddressId, ApplicationId, DomainId, EndpointId, Problem,
    address::{endpoint_resource, endpoint_uri},
    decide::endpoints::{
        AddressSettings, EndpointChange, EndpointReplacement, EndpointSettings, NewCredentials,
        NewEndpoint,
    },
    keyring::Secret,
    patch::Field,
    ports::store::{EndpointFilter, EndpointKey},
};

use super::types::{
    AddressDirection, Cipher, Codec, Encryption, EndpointState, EndpointType, NestedMode,
    Simulation, Transport,
};
use crate::{
    domain::DigestAlgorithm,
    id::NodeId,
    message::TimeRange,
    patch::field,
    scalars::{DateTime, JSONObject},
    transformation::TransformationInput,
};

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
    /// Only of this technology: a name or alias of `technologies`, in any case. An unknown one is `NOT_FOUND`.
    technology: Option<String>,
    /// Only of this domain.
    domain_id: Option<ID>,
    /// Only of this application.
    application_id: Option<ID>,
    /// Only of this type.
    #[graphql(name = "type")]
    kind: Option<EndpointType>,
    /// Only in this state.
    state: Option<EndpointState>,
    /// Only the one with this number, in E.164 form; visual separators do not matter. An empty text does not filter.
    number: Option<String>,
    /// Only enabled, or only disabled ones.
    enabled: Option<bool>,
    /// Only what was made in this time.
    created_at: Option<TimeRange>,
    /// Only with this text in their names. It is taken literally, `%` and `_` too; ASCII letters match in either case. An empty
    /// text does not filter. With fewer than three letters or digits in a row only the newest 20,000 endpoints are looked at:
    /// when these do not fill the page, the error is `QUERY_TOO_COMPLEX`.
    name_contains: Option<String>,
    /// Only with this text in their caller ids, as in `nameContains`. Those without a caller id never have it.
    caller_id_contains: Option<String>,
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
            application: filter.application_id.map(|id| ApplicationId::of(&id)),
            kind: filter.kind.map(Into::into),
            state: filter.state.map(Into::into),
            number: filter.number,
            enabled: filter.enabled,
            from: created_at.as_ref().and_then(|t| t.from).map(|at| at.0),
            to: created_at.as_ref().and_then(|t| t.to).map(|at| at.0),
            name_contains: filter.name_contains,
            caller_id_contains: filter.caller_id_contains,
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
    password: MaybeUndefined<String>,
    /// Whether a password is generated; it is told once, in the answer.
    #[graphql(default)]
    generate: bool,
}

impl EndpointCredentialsInput {
    fn to_core(&self) -> NewCredentials {
        NewCredentials {
            password: field(&self.password, |text| Secret::new(text.as_str())),
            generate: self.generate,
            ..NewCredentials::default()
        }
    }
}

/// An address of a trunk, or changes of one. Null means the default of a field.
#[derive(InputObject)]
pub(crate) struct AddressInput {
    /// Which address of the endpoint is meant; absent for a new one.
    id: Option<ID>,
    /// For what it is; ANY for a new one.
    direction: MaybeUndefined<AddressDirection>,
    /// An IPv4 or IPv6 address or a host name; required for a new one.
    ip: MaybeUndefined<String>,
    /// Its port, 1 to 65535; 5060 for a new one.
    port: MaybeUndefined<i32>,
    /// The port of ours at which what it sends must arrive, 1 to 65535; 5060 for a new one.
    dst_port: MaybeUndefined<i32>,
    /// Lower is tried first, not negative; 0 for a new one.
    priority: MaybeUndefined<i32>,
    /// How it is reached; UDP for a new one.
    transport: MaybeUndefined<Transport>,
    /// Whether its media is encrypted with SRTP; false for a new one.
    srtp: MaybeUndefined<bool>,
    /// The caller's name of its location, at most 255 characters.
    location_sid: MaybeUndefined<String>,
    /// The user name for its digest challenges, at most 128 characters.
    sip_username: MaybeUndefined<String>,
    /// The password for its digest challenges, at most 256 characters; null removes it. It is never readable.
    sip_password: MaybeUndefined<String>,
}

impl AddressInput {
    fn to_core(&self) -> AddressSettings {
        AddressSettings {
            id: self.id.as_ref().map(AddressId::of),
            direction: field(&self.direction, |value| (*value).into()),
            ip: field(&self.ip, String::clone),
            port: field(&self.port, |value| *value),
            dst_port: field(&self.dst_port, |value| *value),
            priority: field(&self.priority, |value| *value),
            transport: field(&self.transport, |value| (*value).into()),
            srtp: field(&self.srtp, |value| *value),
            location_sid: field(&self.location_sid, String::clone),
            sip_username: field(&self.sip_username, String::clone),
            sip_password: field(&self.sip_password, |text| Secret::new(text.as_str())),
        }
    }
}

/// What is to change of an endpoint. A field that is absent stays as it is, null means its default.
#[derive(InputObject)]
#[graphql(name = "EndpointPatch")]
pub(crate) struct EndpointPatchInput {
    /// Its name, which is accepted only as it is: it cannot be changed.
    name: MaybeUndefined<String>,
    /// The password. Give one, or have one generated; it is never readable. It cannot be removed.
    credentials: MaybeUndefined<EndpointCredentialsInput>,
    /// The label for people, at most 255 characters.
    display_name: MaybeUndefined<String>,
    /// A note for people, at most 1024 characters.
    description: MaybeUndefined<String>,
    /// Its application, one of the account's.
    application_id: MaybeUndefined<ID>,
    /// Whether it may register, send and receive; null means true. When it becomes false, its contacts are removed at once.
    enabled: MaybeUndefined<bool>,
    /// The E.164 numbers on which it receives and from which it sends, at most 100, each assigned to the account and on no
    /// other endpoint; null means none. The list is taken as a whole, also with MERGE.
    numbers: MaybeUndefined<Vec<String>>,
    /// The name that others see as the caller, at most 255 characters without control characters.
    caller_id: MaybeUndefined<String>,
    /// The E.164 number that it sends from, or `random`; null means as the profile says.
    send_as: MaybeUndefined<String>,
    /// Whether it may reach numbers outside; null means false.
    allow_outside: MaybeUndefined<bool>,
    /// Its cipher suites, most preferred first, each kept once; null or an empty list means those of the profile.
    ciphers: MaybeUndefined<Vec<Cipher>>,
    /// Its codecs, most preferred first, each kept once; null or an empty list means those of the profile.
    codecs: MaybeUndefined<Vec<Codec>>,
    /// Whether it must be reached over an encrypted transport; null means DEFAULT.
    encryption: MaybeUndefined<Encryption>,
    /// Which digests of its password are kept; null means SHA-256 and what its domain asks for. To add one, give the
    /// password too.
    digest_algorithms: MaybeUndefined<Vec<DigestAlgorithm>>,
    /// The most inbound calls at a time, not negative; null means 0.
    capacity: MaybeUndefined<i32>,
    /// Whether what a trunk sends must be authenticated; null means true.
    auth_required: MaybeUndefined<bool>,
    /// Where a trunk stands, at most 32; null means none.
    addresses: MaybeUndefined<Vec<AddressInput>>,
    /// What the caller keeps with it; null means nothing.
    attributes: MaybeUndefined<JSONObject>,
    /// What its type needs; null means nothing.
    properties: MaybeUndefined<JSONObject>,
    /// Rules on its numbers in their order, at most 32; null means none.
    transformations: MaybeUndefined<Vec<TransformationInput>>,
    /// The user name for digest challenges of the system behind a trunk, at most 128 characters.
    out_sip_username: MaybeUndefined<String>,
    /// The password for digest challenges of the system behind a trunk, at most 256 characters; null removes it. It is never
    /// readable.
    out_sip_password: MaybeUndefined<String>,
    /// How it behaves when no phone stands behind it; null for a real endpoint.
    simulation: MaybeUndefined<Simulation>,
}

impl EndpointPatchInput {
    fn to_core(&self) -> EndpointSettings {
        EndpointSettings {
            credentials: field(&self.credentials, EndpointCredentialsInput::to_core),
            display_name: field(&self.display_name, String::clone),
            description: field(&self.description, String::clone),
            application: field(&self.application_id, ApplicationId::of),
            enabled: field(&self.enabled, |value| *value),
            numbers: field(&self.numbers, Vec::clone),
            caller_id: field(&self.caller_id, String::clone),
            send_as: field(&self.send_as, String::clone),
            allow_outside: field(&self.allow_outside, |value| *value),
            ciphers: field(&self.ciphers, |list| all(list)),
            codecs: field(&self.codecs, |list| all(list)),
            encryption: field(&self.encryption, |value| (*value).into()),
            digest_algorithms: field(&self.digest_algorithms, |list| all(list)),
            capacity: field(&self.capacity, |value| *value),
            auth_required: field(&self.auth_required, |value| *value),
            addresses: field(&self.addresses, |list| {
                list.iter().map(AddressInput::to_core).collect()
            }),
            attributes: field(&self.attributes, |map| map.0.clone()),
            properties: field(&self.properties, |map| map.0.clone()),
            transformations: field(&self.transformations, |list| {
                list.iter().map(TransformationInput::to_settings).collect()
            }),
            out_sip_username: field(&self.out_sip_username, String::clone),
            out_sip_password: field(&self.out_sip_password, |text| Secret::new(text.as_str())),
            simulation: field(&self.simulation, |value| (*value).into()),
        }
    }
}

fn all<T: Copy + Into<U>, U>(list: &[T]) -> Vec<U> {
    list.iter().copied().map(Into::into).collect()
}

/// An endpoint to make. What its type does not let change later can be given here.
#[derive(InputObject)]
pub(crate) struct CreateEndpointInput {
    /// Its domain.
    domain_id: ID,
    /// The user part of its address (RFC 3261 section 19.1.1). It cannot be changed later.
    name: String,
    /// What it is. `SYSTEM_GATEWAY` is refused: the operator makes it.
    #[graphql(name = "type", default_with = "EndpointType::SipUser")]
    kind: EndpointType,
    /// Its password. Required for a `SIP_USER` that is no simulation.
    credentials: Option<EndpointCredentialsInput>,
    /// The label for people, at most 255 characters.
    display_name: Option<String>,
    /// A note for people, at most 1024 characters.
    description: Option<String>,
    /// Its application, one of the account's.
    application_id: Option<ID>,
    /// Whether it may register, send and receive.
    #[graphql(default = true)]
    enabled: bool,
    /// The E.164 numbers on which it receives and from which it sends, at most 100, each assigned to the account and on no
    /// other endpoint.
    numbers: Option<Vec<String>>,
    /// The name that others see as the caller, at most 255 characters without control characters.
    caller_id: Option<String>,
    /// The E.164 number that it sends from, or `random`; absent means as the profile says.
    send_as: Option<String>,
    /// Whether it may reach numbers outside.
    #[graphql(default)]
    allow_outside: bool,
    /// Its cipher suites, most preferred first, each kept once; absent or an empty list means those of the profile.
    ciphers: Option<Vec<Cipher>>,
    /// Its codecs, most preferred first, each kept once; absent or an empty list means those of the profile.
    codecs: Option<Vec<Codec>>,
    /// Whether it must be reached over an encrypted transport.
    #[graphql(default_with = "Encryption::Default")]
    encryption: Encryption,
    /// Which digests of its password are kept; absent means SHA-256 and what its domain asks for.
    digest_algorithms: Option<Vec<DigestAlgorithm>>,
    /// The most inbound calls at a time, not negative.
    #[graphql(default)]
    capacity: i32,
    /// Whether what a trunk sends must be authenticated.
    #[graphql(default = true)]
    auth_required: bool,
    /// Where a trunk stands, at most 32.
    addresses: Option<Vec<AddressInput>>,
    /// What the caller keeps with it.
    attributes: Option<JSONObject>,
    /// What its type needs.
    properties: Option<JSONObject>,
    /// Rules on its numbers in their order, at most 32.
    transformations: Option<Vec<TransformationInput>>,
    /// The user name for digest challenges of the system behind a trunk, at most 128 characters.
    out_sip_username: Option<String>,
    /// The password for digest challenges of the system behind a trunk, at most 256 characters. It is never readable.
    out_sip_password: Option<String>,
    /// How it behaves when no phone stands behind it; absent for a real endpoint.
    simulation: Option<Simulation>,
    /// Only says what would come of it; nothing is stored and no key is used up. Not within `createEndpoints`.
    #[graphql(default)]
    pub(super) dry_run: bool,
    /// Makes the call safe to repeat: with the same key and input it is done once. Kept for 24 hours. Not within
    /// `createEndpoints`.
    pub(super) idempotency_key: Option<String>,
}

impl CreateEndpointInput {
    pub(super) fn to_core(&self) -> NewEndpoint {
        fn given<T, U>(value: Option<&T>, convert: impl FnOnce(&T) -> U) -> Field<U> {
            value.map_or(Field::Absent, |value| Field::Value(convert(value)))
        }
        let settings = EndpointSettings {
            credentials: given(self.credentials.as_ref(), EndpointCredentialsInput::to_core),
            display_name: given(self.display_name.as_ref(), String::clone),
            description: given(self.description.as_ref(), String::clone),
            application: given(self.application_id.as_ref(), ApplicationId::of),
            enabled: Field::Value(self.enabled),
            numbers: given(self.numbers.as_ref(), Vec::clone),
            caller_id: given(self.caller_id.as_ref(), String::clone),
            send_as: given(self.send_as.as_ref(), String::clone),
            allow_outside: Field::Value(self.allow_outside),
            ciphers: given(self.ciphers.as_ref(), |list| all(list)),
            codecs: given(self.codecs.as_ref(), |list| all(list)),
            encryption: Field::Value(self.encryption.into()),
            digest_algorithms: given(self.digest_algorithms.as_ref(), |list| all(list)),
            capacity: Field::Value(self.capacity),
            auth_required: Field::Value(self.auth_required),
            addresses: given(self.addresses.as_ref(), |list| {
                list.iter().map(AddressInput::to_core).collect()
            }),
            attributes: given(self.attributes.as_ref(), |map| map.0.clone()),
            properties: given(self.properties.as_ref(), |map| map.0.clone()),
            transformations: given(self.transformations.as_ref(), |list| {
                list.iter().map(TransformationInput::to_settings).collect()
            }),
            out_sip_username: given(self.out_sip_username.as_ref(), String::clone),
            out_sip_password: given(self.out_sip_password.as_ref(), |text| {
                Secret::new(text.as_str())
            }),
            simulation: given(self.simulation.as_ref(), |value| (*value).into()),
        };
        NewEndpoint {
            domain: DomainId::of(&self.domain_id),
            name: self.name.clone(),
            kind: self.kind.into(),
            settings,
        }
    }
}

/// Endpoints to make at once.
#[derive(InputObject)]
pub(crate) struct CreateEndpointsInput {
    /// The endpoints, 1 to 1000. Each without a `dryRun` and an `idempotencyKey` of its own.
    endpoints: Vec<CreateEndpointInput>,
    /// Whether one that is refused refuses all; else the others are made.
    #[graphql(default = true)]
    pub(super) atomic: bool,
    /// Only says what would come of it; nothing is stored and no key is used up.
    #[graphql(default)]
    pub(super) dry_run: bool,
    /// Makes the call safe to repeat: with the same key and input it is done once. Kept for 24 hours.
    pub(super) idempotency_key: Option<String>,
}

impl CreateEndpointsInput {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.endpoints.len()
    }

    /// Reads them, and tells what belongs to the whole call and stands in one of them.
    pub(super) fn to_core(&self) -> (Vec<NewEndpoint>, Vec<Problem>) {
        let mut problems = Vec::new();
        let mut read = Vec::with_capacity(self.endpoints.len());
        for (i, input) in self.endpoints.iter().enumerate() {
            let own = [
                ("dryRun", input.dry_run),
                ("idempotencyKey", input.idempotency_key.is_some()),
            ];
            problems.extend(
                own.into_iter()
                    .filter(|(_, given)| *given)
                    .map(|(name, _)| {
                        Problem::validation(
                            &format!("endpoints.{i}.{name}"),
                            "This belongs to the whole call, not to one of its endpoints.",
                        )
                    }),
            );
            read.push(input.to_core());
        }
        (read, problems)
    }
}

/// A change of some fields of an endpoint.
#[derive(InputObject)]
pub(crate) struct UpdateEndpointInput {
    /// Its opaque id.
    id: ID,
    /// What is to change. Without any difference nothing is stored and no event is told.
    patch: EndpointPatchInput,
    /// How addresses, attributes, properties and transformations meet those that are there.
    #[graphql(default_with = "NestedMode::Merge")]
    nested_objects: NestedMode,
    /// The version that the caller has seen: CONFLICT when the endpoint was changed since. Absent: not checked.
    version: Option<i32>,
    /// Only says what would come of it; nothing is stored and no key is used up.
    #[graphql(default)]
    pub(super) dry_run: bool,
    /// Makes the call safe to repeat: with the same key and input it is done once. Kept for 24 hours.
    pub(super) idempotency_key: Option<String>,
}

impl UpdateEndpointInput {
    pub(super) fn to_core(&self) -> EndpointChange {
        EndpointChange {
            id: EndpointId::of(&self.id),
            name: field(&self.patch.name, String::clone),
            settings: self.patch.to_core(),
            mode: self.nested_objects.into(),
            version: self.version,
        }
    }
}

/// An endpoint as a whole: every field of `EndpointPatch` that its type lets change must be there, null means its default.
/// `credentials` and `outSipPassword` may be absent and are kept then. `name` and the fields below cannot be changed and are
/// accepted only as they are.
#[derive(InputObject)]
#[graphql(name = "EndpointReplacement")]
pub(crate) struct EndpointReplacementInput {
    #[graphql(flatten)]
    patch: EndpointPatchInput,
    /// Its opaque id.
    id: MaybeUndefined<ID>,
    /// What it is.
    #[graphql(name = "type")]
    kind: MaybeUndefined<EndpointType>,
    /// Its domain.
    domain_id: MaybeUndefined<ID>,
    /// Its account.
    account_id: MaybeUndefined<ID>,
    /// Its token for VoIP clients.
    voip_token: MaybeUndefined<String>,
    /// Its limit of outbound calls a second.
    cps_limit: MaybeUndefined<i32>,
    /// When it was made.
    created_at: MaybeUndefined<DateTime>,
}

/// An endpoint to change as a whole.
#[derive(InputObject)]
pub(crate) struct ReplaceEndpointInput {
    /// Its opaque id.
    id: ID,
    /// The whole endpoint. Addresses, attributes, properties and transformations are exactly those given.
    endpoint: EndpointReplacementInput,
    /// The version that the caller has seen: CONFLICT when the endpoint was changed since. Absent: not checked.
    version: Option<i32>,
    /// Only says what would come of it; nothing is stored and no key is used up.
    #[graphql(default)]
    pub(super) dry_run: bool,
    /// Makes the call safe to repeat: with the same key and input it is done once. Kept for 24 hours.
    pub(super) idempotency_key: Option<String>,
}

impl ReplaceEndpointInput {
    pub(super) fn to_core(&self) -> EndpointReplacement {
        let given = &self.endpoint;
        EndpointReplacement {
            target: EndpointId::of(&self.id),
            settings: given.patch.to_core(),
            name: field(&given.patch.name, String::clone),
            id: field(&given.id, EndpointId::of),
            kind: field(&given.kind, |value| (*value).into()),
            domain: field(&given.domain_id, DomainId::of),
            account: field(&given.account_id, AccountId::of),
            voip_token: field(&given.voip_token, |text| Secret::new(text.as_str())),
            cps_limit: field(&given.cps_limit, |value| *value),
            created_at: field(&given.created_at, |time| time.0),
            version: self.version,
        }
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

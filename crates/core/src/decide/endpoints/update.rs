//! Changing an endpoint: in part (PATCH) or as a whole (PUT).

use super::numbers::{Numbers, put, taken};
use super::settings::{Applied, EndpointSettings, apply, not_updatable};
use super::system_gateway;
use crate::binding::Binding;
use crate::commit::{Commit, CredentialsChange, Precondition, Write};
use crate::decide::{Mint, presence};
use crate::domain::Domain;
use crate::endpoint::{Encryption, Endpoint, EndpointField, EndpointType, NestedMode};
use crate::error::{Problem, ProblemCode, ProblemDetail};
use crate::event::{BindingEnd, EventBody, Subjects};
use crate::keyring::Secret;
use crate::patch::Field;
use crate::{AccountId, ApplicationId, DomainId, EndpointId, Timestamp};
use std::collections::BTreeSet;

/// A change of some fields of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointChange {
    /// Which endpoint.
    pub id: EndpointId,
    /// Its name, which can only be given as it is.
    pub name: Field<String>,
    /// What is changed; what is absent stays.
    pub settings: EndpointSettings,
    /// How nested objects meet those that are there.
    pub mode: NestedMode,
    /// The version that the caller has seen.
    pub version: Option<i32>,
}

/// An endpoint as a whole: every field that its type may have changed, but for those that can't be read back, and, if the
/// caller likes, those that can't be changed, as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointReplacement {
    /// Which endpoint.
    pub target: EndpointId,
    /// What can be changed.
    pub settings: EndpointSettings,
    /// Its name.
    pub name: Field<String>,
    /// Its id.
    pub id: Field<EndpointId>,
    /// Its type.
    pub kind: Field<EndpointType>,
    /// Its domain.
    pub domain: Field<DomainId>,
    /// Its account.
    pub account: Field<AccountId>,
    /// Its token for VoIP clients.
    pub voip_token: Field<Secret>,
    /// Its limit of calls a second.
    pub cps_limit: Field<i32>,
    /// When it was made.
    pub created_at: Field<Timestamp>,
    /// The version that the caller has seen.
    pub version: Option<i32>,
}

/// What must be known to change an endpoint; read in one transaction with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateSnapshot {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// Its domain.
    pub domain: Domain,
    /// Its bindings.
    pub bindings: Vec<Binding>,
    /// Those of the applications named that are there.
    pub applications: BTreeSet<ApplicationId>,
    /// Those of the numbers named that the account has.
    pub numbers: Numbers,
    /// Its token for VoIP clients; read only when the caller gives one.
    pub voip_token: Option<Secret>,
}

/// An endpoint that was just changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdatedEndpoint {
    /// The endpoint as it is now.
    pub endpoint: Endpoint,
    /// Which fields changed, in the order of the API.
    pub changed: Vec<EndpointField>,
    /// The password, when it was made here; shown once.
    pub generated_password: Option<Secret>,
}

/// Decides on a partial change. Without any difference there is nothing in the commit, and no event.
///
/// # Errors
/// All that is wrong with it; fields of the settings stand under `patch`.
pub fn update(
    mint: &Mint<'_>,
    change: &EndpointChange,
    snapshot: &UpdateSnapshot,
) -> Result<(Commit, UpdatedEndpoint), Vec<Problem>> {
    let endpoint = &snapshot.endpoint;
    if endpoint.kind == EndpointType::SystemGateway {
        return Err(vec![system_gateway()]);
    }
    let mut problems = Vec::new();
    problems.extend(stale(endpoint, change.version));
    let below = "patch";
    problems.extend(name_problem(endpoint, &change.name).map(|p| p.under(below)));
    let settings = &change.settings;
    let alone = BTreeSet::new();
    finish(
        mint,
        snapshot,
        settings,
        change.mode,
        below,
        &alone,
        problems,
    )
}

/// Decides on a row of an import for an endpoint that is there: what it gives is taken, and nested objects as a whole. The numbers
/// are those that earlier rows give to others. Fields stand as in the settings.
///
/// # Errors
/// All that is wrong with it, and the problems given.
pub(super) fn restate(
    mint: &Mint<'_>,
    snapshot: &UpdateSnapshot,
    settings: &EndpointSettings,
    name: &str,
    numbers: &BTreeSet<String>,
    mut problems: Vec<Problem>,
) -> Result<(Commit, UpdatedEndpoint), Vec<Problem>> {
    let endpoint = &snapshot.endpoint;
    if endpoint.kind == EndpointType::SystemGateway {
        problems.push(system_gateway());
        return Err(problems);
    }
    problems.extend(name_problem(endpoint, &Field::Value(name.to_owned())));
    let mode = NestedMode::Replace;
    finish(mint, snapshot, settings, mode, "", numbers, problems)
}

/// Decides on a whole change; nested objects are replaced.
///
/// # Errors
/// All that is wrong with it, each missing field among it; fields stand under `endpoint`.
pub fn replace(
    mint: &Mint<'_>,
    replacement: &EndpointReplacement,
    snapshot: &UpdateSnapshot,
) -> Result<(Commit, UpdatedEndpoint), Vec<Problem>> {
    let endpoint = &snapshot.endpoint;
    if endpoint.kind == EndpointType::SystemGateway {
        return Err(vec![system_gateway()]);
    }
    let mut problems = Vec::new();
    problems.extend(stale(endpoint, replacement.version));
    let below = "endpoint";
    let settings = &replacement.settings;
    let fixed = name_problem(endpoint, &replacement.name)
        .into_iter()
        .chain(read_only_problems(snapshot, replacement));
    problems.extend(fixed.map(|p| p.under(below)));
    for field in endpoint.kind.writable_fields() {
        if !settings.gives(*field) && !field.is_write_only() {
            let message =
                "A whole endpoint has every field that can be changed; give null for the default.";
            problems.push(
                Problem::validation(field.as_str(), message)
                    .with_detail(ProblemDetail {
                        writable_fields: Some(endpoint.kind.writable_paths()),
                        ..ProblemDetail::default()
                    })
                    .under(below),
            );
        }
    }
    let mode = NestedMode::Replace;
    let alone = BTreeSet::new();
    finish(mint, snapshot, settings, mode, below, &alone, problems)
}

fn stale(endpoint: &Endpoint, version: Option<i32>) -> Option<Problem> {
    let version = version.map(i64::from)?;
    (version != endpoint.version).then(|| {
        Problem::new(
            ProblemCode::Conflict,
            "version",
            format!(
                "The endpoint was changed meanwhile: its version is {}.",
                endpoint.version
            ),
        )
        .with_detail(ProblemDetail {
            current_version: Some(endpoint.version),
            ..ProblemDetail::default()
        })
    })
}

fn name_problem(endpoint: &Endpoint, name: &Field<String>) -> Option<Problem> {
    let is_same = match name {
        Field::Absent => true,
        Field::Null => false,
        Field::Value(name) => *name == endpoint.name,
    };
    (!is_same).then(|| {
        Problem::new(
            ProblemCode::ImmutableField,
            "name",
            "The name of an endpoint can't be changed; `displayName` is the label that can.",
        )
    })
}

/// What is given and never the caller's to change, and differs.
fn read_only_problems(snapshot: &UpdateSnapshot, given: &EndpointReplacement) -> Vec<Problem> {
    fn differs<T: PartialEq>(given: &Field<T>, now: Option<&T>) -> bool {
        match given {
            Field::Absent => false,
            Field::Null => now.is_some(),
            Field::Value(value) => now != Some(value),
        }
    }
    let endpoint = &snapshot.endpoint;
    [
        ("id", differs(&given.id, Some(&endpoint.id))),
        ("type", differs(&given.kind, Some(&endpoint.kind))),
        ("domainId", differs(&given.domain, Some(&endpoint.domain))),
        (
            "accountId",
            differs(&given.account, Some(&endpoint.account)),
        ),
        (
            "voipToken",
            differs(&given.voip_token, snapshot.voip_token.as_ref()),
        ),
        (
            "cpsLimit",
            differs(&given.cps_limit, endpoint.cps_limit.as_ref()),
        ),
        (
            "createdAt",
            differs(&given.created_at, Some(&endpoint.created_at)),
        ),
    ]
    .into_iter()
    .filter(|(_, differs)| *differs)
    .map(|(field, _)| {
        Problem::new(
            ProblemCode::ReadOnlyField,
            field,
            "This field can't be changed; leave it out or give it as it is.",
        )
    })
    .collect()
}

/// Applies the settings, checks what the type allows, and puts the commit together. `others` are numbers that other changes of
/// the same commit take.
fn finish(
    mint: &Mint<'_>,
    snapshot: &UpdateSnapshot,
    settings: &EndpointSettings,
    mode: NestedMode,
    below: &str,
    others: &BTreeSet<String>,
    mut problems: Vec<Problem>,
) -> Result<(Commit, UpdatedEndpoint), Vec<Problem>> {
    let UpdateSnapshot {
        endpoint: before,
        domain,
        bindings,
        applications,
        numbers,
        voip_token: _,
    } = snapshot;
    let applied = apply(mint, before, domain, settings, mode);
    let changed = applied.changed(before);
    let ha1 = applied.ha1();
    let Applied {
        mut endpoint,
        password,
        is_generated,
        digests: _,
        secrets,
        problems: mut found,
    } = applied;
    for field in &changed {
        if !before.kind.writable_fields().contains(field) {
            let message = format!(
                "This field can't be changed for an endpoint of type {}.",
                before.kind.as_str()
            );
            found.push(not_updatable(before.kind, field.as_str(), &message));
        }
    }
    if let Some(id) = settings.application.value()
        && before.application != Some(*id)
        && !applications.contains(id)
    {
        found.push(Problem::not_found("applicationId", "application"));
    }
    if changed.contains(&EndpointField::Numbers) {
        found.extend(taken(before.id, &endpoint.numbers, numbers, others));
    }
    problems.extend(found.into_iter().map(|problem| problem.under(below)));
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut commit = Commit {
        preconditions: vec![Precondition::EndpointAt(before.id, before.version)],
        ..Commit::empty(before.account, mint.now)
    };
    if endpoint.application != before.application
        && let Some(id) = endpoint.application
    {
        commit
            .preconditions
            .push(Precondition::ApplicationThere(id));
    }
    if !changed.is_empty() {
        endpoint.version += 1;
        endpoint.updated_at = mint.now;
        let credentials = match ha1 {
            Some(values) => CredentialsChange::Replace(values),
            None if endpoint.digest_algorithms != before.digest_algorithms => {
                CredentialsChange::KeepOnly(endpoint.digest_algorithms.clone())
            }
            None => CredentialsChange::Keep,
        };
        commit.writes.push(Write::EndpointUpdate {
            endpoint: Box::new(endpoint.clone()),
            credentials,
            secrets,
        });
        put(&mut commit, endpoint.id, &before.numbers, &endpoint.numbers);
        let changed_fields = changed.iter().map(|field| field.as_str().to_owned());
        commit.events.push(mint.event(
            Subjects::of(&endpoint),
            EventBody::EndpointUpdated {
                changed_fields: changed_fields.collect(),
            },
        ));
        if endpoint.encryption != before.encryption && endpoint.encryption == Encryption::Default {
            // So that a profile that begins to demand it at this moment does not miss this endpoint's contacts.
            commit
                .preconditions
                .push(Precondition::ProfileEncrypts(endpoint.profile_encrypts));
        }
        let is_switched_on = endpoint.demands_tls() && !before.demands_tls();
        let is_gone = |binding: &Binding| {
            !endpoint.enabled || is_switched_on && !endpoint.allows(binding.flow.transport)
        };
        let (gone, left): (Vec<_>, Vec<_>) = bindings.iter().cloned().partition(is_gone);
        if !gone.is_empty() || presence::state(&endpoint, !left.is_empty()) != endpoint.state {
            commit.preconditions.push(Precondition::BindingsAt(
                before.id,
                before.bindings_revision,
            ));
            let cause = if endpoint.enabled {
                BindingEnd::EncryptionRequired
            } else {
                BindingEnd::Disabled
            };
            let any_left = !left.is_empty();
            endpoint.state =
                presence::remove_from(mint, &mut commit, &endpoint, gone, any_left, cause);
        }
    }
    Ok((
        commit,
        UpdatedEndpoint {
            endpoint,
            changed,
            generated_password: password.filter(|_| is_generated),
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binding::{Flow, Transport};
    use crate::decide::endpoints::{AddressSettings, NewCredentials};
    use crate::decide::testing::{Seeded, endpoint};
    use crate::digest::DigestAlgorithm;
    use crate::endpoint::EndpointState;
    use crate::event::{ContactStatus, PeerStatus};
    use crate::id::NodeId;
    use crate::json::{Json, JsonObject};
    use crate::{BindingId, DomainId};

    fn snapshot(kind: EndpointType) -> UpdateSnapshot {
        UpdateSnapshot {
            endpoint: Endpoint {
                kind,
                ..endpoint("alice")
            },
            domain: Domain {
                id: DomainId([2; 16]),
                account: AccountId([1; 16]),
                name: "example.com".into(),
                aliases: Vec::new(),
                description: None,
                digest_algorithms: vec![DigestAlgorithm::Md5],
                record_internal_messages: false,
                created_at: Timestamp(0),
                version: 1,
            },
            bindings: Vec::new(),
            applications: BTreeSet::new(),
            numbers: Numbers::new(),
            voip_token: None,
        }
    }

    fn binding(transport: Transport) -> Binding {
        Binding {
            id: BindingId([9; 16]),
            account: AccountId([1; 16]),
            endpoint: EndpointId([3; 16]),
            contact_uri: "sip:alice@192.0.2.1".into(),
            flow: Flow {
                transport,
                remote: "192.0.2.1:5060".into(),
                local: "127.0.0.1:5060".into(),
                node: NodeId([1; 16]),
                connection: 0,
            },
            call_id: "c".into(),
            cseq: 1,
            instance: None,
            reg_id: None,
            token: None,
            path: None,
            user_agent: None,
            registered_at: Timestamp(0),
            refreshed_at: Timestamp(0),
            expires_at: Timestamp(9),
            status: ContactStatus::NonQualified,
            round_trip: None,
            qualified_at: None,
        }
    }

    fn patch(
        snapshot: &UpdateSnapshot,
        settings: EndpointSettings,
    ) -> Result<(Commit, UpdatedEndpoint), Vec<Problem>> {
        let entropy = Seeded::default();
        let change = EndpointChange {
            id: snapshot.endpoint.id,
            name: Field::Absent,
            settings,
            mode: NestedMode::Merge,
            version: None,
        };
        update(&Mint::new(Timestamp(5), &entropy), &change, snapshot)
    }

    fn fields(problems: &[Problem]) -> Vec<String> {
        problems.iter().map(|p| p.field.join(".")).collect()
    }

    #[test]
    fn c047_what_is_as_it_was_is_not_written() {
        let settings = EndpointSettings {
            enabled: true.into(),
            codecs: Vec::new().into(),
            attributes: JsonObject::from([("gone".into(), Json::Null)]).into(),
            addresses: Vec::new().into(),
            ..EndpointSettings::default()
        };
        let snapshot = snapshot(EndpointType::SipUser);
        let (commit, updated) = patch(&snapshot, settings).unwrap();
        assert!(commit.writes.is_empty() && commit.events.is_empty());
        assert_eq!(updated.endpoint, snapshot.endpoint);
        assert_eq!(updated.changed, []);
    }

    #[test]
    fn b039_disabling_removes_every_binding_with_its_event() {
        let mut snapshot = snapshot(EndpointType::SipUser);
        snapshot.endpoint.state = EndpointState::Online;
        snapshot.bindings = vec![binding(Transport::Udp), binding(Transport::Tls)];
        let settings = EndpointSettings {
            enabled: false.into(),
            ..EndpointSettings::default()
        };
        let (commit, updated) = patch(&snapshot, settings).unwrap();
        assert_eq!(updated.endpoint.state, EndpointState::Offline);
        let at_revision = Precondition::BindingsAt(snapshot.endpoint.id, 0);
        assert!(commit.preconditions.contains(&at_revision));
        let removed = commit.events.iter().filter(|event| {
            matches!(&event.body, EventBody::ContactStatusChanged { status, .. } if *status == ContactStatus::Removed)
        });
        assert_eq!(removed.count(), 2);
        let bodies: Vec<&EventBody> = commit.events.iter().map(|event| &event.body).collect();
        assert_eq!(
            bodies[3..],
            [
                &EventBody::EndpointStateChanged {
                    state: EndpointState::Offline
                },
                &EventBody::PeerStatusChanged {
                    status: PeerStatus::Unreachable,
                    cause: Some(BindingEnd::Disabled),
                    remote: "192.0.2.1:5060".into()
                }
            ]
        );
    }

    #[test]
    fn d098_required_encryption_removes_plain_bindings_alone() {
        let mut snapshot = snapshot(EndpointType::SipUser);
        snapshot.endpoint.state = EndpointState::Online;
        snapshot.bindings = vec![binding(Transport::Ws), binding(Transport::Wss)];
        let settings = EndpointSettings {
            encryption: Encryption::Required.into(),
            ..EndpointSettings::default()
        };
        let (commit, updated) = patch(&snapshot, settings.clone()).unwrap();
        assert_eq!(updated.endpoint.state, EndpointState::Online);
        let removed = |commit: &Commit| {
            let writes = commit.writes.iter();
            writes
                .filter(|write| matches!(write, Write::BindingDelete(..)))
                .count()
        };
        assert_eq!(removed(&commit), 1);
        // Where the profile demands it already, nothing is switched on.
        snapshot.endpoint.profile_encrypts = true;
        assert_eq!(removed(&patch(&snapshot, settings).unwrap().0), 0);
    }

    #[test]
    fn c064_all_that_is_wrong_comes_at_once() {
        let settings = EndpointSettings {
            capacity: (-1).into(),
            send_as: "bob".to_owned().into(),
            addresses: vec![AddressSettings {
                ip: "192.0.2.1".to_owned().into(),
                port: 0.into(),
                ..AddressSettings::default()
            }]
            .into(),
            ..EndpointSettings::default()
        };
        let found = patch(&snapshot(EndpointType::Flexml), settings).unwrap_err();
        assert_eq!(
            fields(&found),
            [
                "patch.sendAs",
                "patch.capacity",
                "patch.addresses.0.port",
                "patch.sendAs",
                "patch.addresses"
            ]
        );
    }

    #[test]
    fn digests_are_narrowed_without_the_password_and_widened_with_it() {
        let narrow = EndpointSettings {
            digest_algorithms: vec![DigestAlgorithm::Sha256].into(),
            ..EndpointSettings::default()
        };
        let mut snapshot = snapshot(EndpointType::SipUser);
        let (commit, updated) = patch(&snapshot, narrow).unwrap();
        assert!(commit.writes.iter().any(|write| matches!(
            write,
            Write::EndpointUpdate { credentials: CredentialsChange::KeepOnly(kept), .. } if *kept == [DigestAlgorithm::Sha256]
        )));
        snapshot.endpoint = updated.endpoint;
        let mut widen = EndpointSettings {
            digest_algorithms: Field::Null,
            ..EndpointSettings::default()
        };
        let found = patch(&snapshot, widen.clone()).unwrap_err();
        assert_eq!(fields(&found), ["patch.digestAlgorithms"]);
        widen.credentials = NewCredentials::password("secret").into();
        let (commit, updated) = patch(&snapshot, widen).unwrap();
        assert_eq!(
            updated.changed,
            [EndpointField::Credentials, EndpointField::DigestAlgorithms]
        );
        assert!(commit.writes.iter().any(|write| matches!(
            write,
            Write::EndpointUpdate { credentials: CredentialsChange::Replace(values), .. } if values.len() == 2
        )));
    }

    #[test]
    fn c050_a_whole_endpoint_is_whole() {
        let entropy = Seeded::default();
        let snapshot = snapshot(EndpointType::Voicemail);
        let replacement = EndpointReplacement {
            target: snapshot.endpoint.id,
            settings: EndpointSettings {
                enabled: Field::Null,
                ..EndpointSettings::default()
            },
            name: "alice".to_owned().into(),
            id: Field::Absent,
            kind: EndpointType::SipUser.into(),
            domain: Field::Absent,
            account: Field::Absent,
            voip_token: Field::Null,
            cps_limit: Field::Null,
            created_at: Field::Absent,
            version: Some(2),
        };
        let mint = Mint::new(Timestamp(5), &entropy);
        let found = replace(&mint, &replacement, &snapshot).unwrap_err();
        assert_eq!(
            fields(&found),
            [
                "version",
                "endpoint.type",
                "endpoint.displayName",
                "endpoint.description",
                "endpoint.capacity",
                "endpoint.properties"
            ]
        );
    }
}

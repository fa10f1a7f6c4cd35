//! Endpoints: names that are unique by canonical form, passwords that are kept only as HA1 values.

use super::Mint;
use super::domains::text_limit;
use crate::address::violation;
use crate::commit::{Commit, Precondition, Write};
use crate::delivery::Dispatch;
use crate::digest::{DigestAlgorithm, ha1_values};
use crate::domain::Domain;
use crate::endpoint::{DESCRIPTION_MAX, DISPLAY_NAME_MAX, Endpoint, EndpointState, Simulation};
use crate::error::{Problem, ProblemCode};
use crate::event::{EventBody, Subjects};
use crate::keyring::Secret;
use crate::message::{Failure, FailureCode, Message, MessageStatus};
use crate::{DomainId, EndpointId};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The password of a new endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewPassword {
    /// Given by the caller.
    Given(Secret),
    /// Made here and told once.
    Generate,
    /// Missing; refused.
    Missing,
}

/// What an endpoint is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEndpoint {
    /// Its domain.
    pub domain: DomainId,
    /// The user part of its address-of-record.
    pub name: String,
    /// Its password.
    pub password: NewPassword,
    /// The label for people.
    pub display_name: Option<String>,
    /// A note for people.
    pub description: Option<String>,
    /// Whether it may register, send and receive.
    pub enabled: bool,
    /// Set when no phone stands behind it.
    pub simulation: Option<Simulation>,
}

/// What must be known to make an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSnapshot {
    /// Its domain, if it is there.
    pub domain: Option<Domain>,
    /// Whether its canonical name is taken in that domain.
    pub taken: bool,
}

/// An endpoint that was just made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedEndpoint {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// The password, when it was made here; shown once.
    pub generated_password: Option<Secret>,
}

/// Checks a name against the grammar and the product's policy and returns its canonical form.
///
/// # Errors
/// The first violation, at field `name`.
pub fn name(text: &str) -> Result<String, Problem> {
    sip_validate::endpoint_name(text)
        .and_then(|()| sip_validate::aor_user(text))
        .map(std::borrow::Cow::into_owned)
        .map_err(|v| violation("name", text, &v))
}

/// Returns the violations of the rules for names, in the order of their places; none exactly when [`name`] accepts it.
#[must_use]
pub fn name_problems(text: &str) -> Vec<Problem> {
    /// So many that a person sees what is wrong with any name; a text of a megabyte has as many as letters.
    const TOLD_MAX: usize = 32;
    sip_validate::endpoint_name_violations(text)
        .take(TOLD_MAX)
        .map(|v| violation("name", text, &v))
        .collect()
}

/// Returns the problem of a name that is taken.
#[must_use]
pub fn name_taken(text: &str) -> Problem {
    Problem::new(
        ProblemCode::Conflict,
        "name",
        format!(
            "The domain already has an endpoint with the name {text}, or one that means the same."
        ),
    )
}

/// Decides on a new endpoint.
///
/// # Errors
/// All that is wrong with it.
pub fn create(
    mint: &Mint<'_>,
    new: &NewEndpoint,
    snapshot: &EndpointSnapshot,
) -> Result<(Commit, CreatedEndpoint), Vec<Problem>> {
    let mut problems = Vec::new();
    let canonical = name(&new.name).unwrap_or_else(|problem| {
        problems.push(problem);
        String::new()
    });
    if snapshot.taken {
        problems.push(name_taken(&new.name));
    }
    if snapshot.domain.is_none() {
        problems.push(Problem::not_found("domainId", "domain"));
    }
    let mut generated = None;
    let password = match &new.password {
        NewPassword::Given(given) => {
            if let Err(v) = sip_validate::endpoint_password(given.expose()) {
                // The text goes in empty: the offset alone must come out of a secret.
                problems.push(violation("credentials.password", "", &v));
            }
            given.clone()
        }
        NewPassword::Generate => {
            // 20 random bytes: 160 bits, 27 characters that every phone can type.
            let made = Secret::new(URL_SAFE_NO_PAD.encode(mint.bytes::<20>()));
            generated = Some(made.clone());
            made
        }
        NewPassword::Missing => {
            if new.simulation.is_none() {
                problems.push(Problem::validation(
                    "credentials.password",
                    "Give a password of at least 6 characters, or ask for a generated one.",
                ));
            }
            Secret::new("")
        }
    };
    if let Some(text) = &new.display_name {
        problems.extend(text_limit("displayName", text, DISPLAY_NAME_MAX));
    }
    if let Some(text) = &new.description {
        problems.extend(text_limit("description", text, DESCRIPTION_MAX));
    }
    let (Some(domain), true) = (&snapshot.domain, problems.is_empty()) else {
        return Err(problems);
    };
    let has_password = new.password != NewPassword::Missing;
    let endpoint = Endpoint {
        id: mint.id(EndpointId::new),
        account: domain.account,
        domain: domain.id,
        domain_name: domain.name.clone(),
        external_id: 0,
        name: new.name.clone(),
        canonical_name: canonical.clone(),
        display_name: new.display_name.clone(),
        description: new.description.clone(),
        enabled: new.enabled,
        has_password,
        simulation: new.simulation,
        state: match new.simulation {
            // A simulated endpoint is always there.
            Some(Simulation::Echo) => EndpointState::Online,
            None => EndpointState::Unknown,
        },
        created_at: mint.now,
        updated_at: mint.now,
        version: 1,
        bindings_revision: 0,
    };
    let credentials = if has_password {
        ha1_values(
            &endpoint.name,
            &domain.name,
            password.expose(),
            kept_algorithms(domain),
        )
    } else {
        Vec::new()
    };
    let commit = Commit {
        account: domain.account,
        at: mint.now,
        idempotency: None,
        preconditions: vec![
            Precondition::DomainAt(domain.id, domain.version),
            Precondition::EndpointNameFree(domain.id, canonical),
        ],
        writes: vec![Write::EndpointInsert {
            endpoint: endpoint.clone(),
            credentials,
        }],
        events: vec![mint.event(Subjects::of(&endpoint), EventBody::EndpointCreated)],
    };
    Ok((
        commit,
        CreatedEndpoint {
            endpoint,
            generated_password: generated,
        },
    ))
}

/// Which HA1 values are kept: all that the domain may come to ask for, but no MD5 where it has been ruled out.
fn kept_algorithms(domain: &Domain) -> &'static [DigestAlgorithm] {
    if domain.digest_algorithms.contains(&DigestAlgorithm::Md5) {
        &[DigestAlgorithm::Sha256, DigestAlgorithm::Md5]
    } else {
        &[DigestAlgorithm::Sha256]
    }
}

/// A message on its way to an endpoint, with the sender's copy and the sender, if there is one.
pub type Waiting = (Dispatch, Option<(Message, Endpoint)>);

/// Decides on deleting an endpoint: the messages on their way to it, all of which are given, fail first.
#[must_use]
pub fn delete(mint: &Mint<'_>, endpoint: &Endpoint, waiting: &[Waiting]) -> Commit {
    let count = i64::try_from(waiting.len()).unwrap_or(i64::MAX);
    let mut commit = Commit {
        account: endpoint.account,
        at: mint.now,
        idempotency: None,
        preconditions: vec![
            Precondition::EndpointAt(endpoint.id, endpoint.version),
            Precondition::WaitingFor(endpoint.id, count),
        ],
        writes: Vec::new(),
        events: Vec::new(),
    };
    for (dispatch, message) in waiting {
        let message = message.as_ref().map(|(message, sender)| (message, sender));
        fail_waiting(mint, &mut commit, dispatch, message);
    }
    commit.writes.push(Write::EndpointDelete(endpoint.id));
    commit
        .events
        .push(mint.event(Subjects::of(endpoint), EventBody::EndpointDeleted));
    commit
}

/// Decides on failing some of the messages on their way to an endpoint that is about to be deleted.
#[must_use]
pub fn fail_some(mint: &Mint<'_>, endpoint: &Endpoint, waiting: &[Waiting]) -> Commit {
    let mut commit = Commit {
        account: endpoint.account,
        at: mint.now,
        idempotency: None,
        preconditions: Vec::new(),
        writes: Vec::new(),
        events: Vec::new(),
    };
    for (dispatch, message) in waiting {
        let message = message.as_ref().map(|(message, sender)| (message, sender));
        fail_waiting(mint, &mut commit, dispatch, message);
    }
    commit
}

fn fail_waiting(
    mint: &Mint<'_>,
    commit: &mut Commit,
    dispatch: &Dispatch,
    message: Option<(&Message, &Endpoint)>,
) {
    commit
        .preconditions
        .push(Precondition::DispatchLeased(dispatch.id, dispatch.lease));
    commit.writes.push(Write::DispatchDelete(dispatch.id));
    if let Some((message, sender)) = message.filter(|(m, _)| m.status == MessageStatus::Accepted) {
        super::delivery::set_status(
            mint,
            commit,
            message,
            sender,
            MessageStatus::Failed,
            Some(Failure {
                code: FailureCode::EndpointDeleted,
                sip_status: None,
                reason: None,
            }),
        );
    }
}

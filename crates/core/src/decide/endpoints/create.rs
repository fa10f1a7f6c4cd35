//! Making endpoints, one or many in one commit.

use super::numbers::{Numbers, put, taken};
use super::settings::{Applied, EndpointSettings, apply, default_algorithms};
use super::{name, name_taken, name_taken_in_account};
use crate::commit::{Commit, EndpointSecret, Precondition, Write};
use crate::decide::{Mint, presence};
use crate::domain::Domain;
use crate::endpoint::{Encryption, Endpoint, EndpointState, EndpointType, Nested, NestedMode};
use crate::error::{Problem, ProblemCode};
use crate::event::{EventBody, Subjects};
use crate::keyring::Secret;
use crate::{AccountId, ApplicationId, DomainId, EndpointId};
use std::collections::{BTreeMap, BTreeSet};

/// What an endpoint is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEndpoint {
    /// Its domain.
    pub domain: DomainId,
    /// The user part of its address-of-record.
    pub name: String,
    /// What it is.
    pub kind: EndpointType,
    /// All else.
    pub settings: EndpointSettings,
}

/// What must be known to make endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EndpointsSnapshot {
    /// Those of their domains that are there.
    pub domains: Vec<Domain>,
    /// Those of their canonical names that are taken.
    pub taken: BTreeSet<(DomainId, String)>,
    /// Whether names must be unique in all of the account.
    pub unique_names: bool,
    /// Those of their canonical names that any endpoint of the account has. Looked at only where they must be unique.
    pub taken_in_account: BTreeSet<String>,
    /// Whether the account's profile demands encryption.
    pub profile_encrypts: bool,
    /// Those of their applications that are there.
    pub applications: BTreeSet<ApplicationId>,
    /// Those of their numbers that the account has.
    pub numbers: Numbers,
    /// Whether the account has a system gateway. Looked at only for another one.
    pub has_system_gateway: bool,
    /// Whether the operator makes them, who alone may make a system gateway.
    pub by_operator: bool,
}

/// An endpoint that was just made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedEndpoint {
    /// The endpoint. Its `external_id` is 0 until it is committed.
    pub endpoint: Endpoint,
    /// The password, when it was made here; shown once.
    pub generated_password: Option<Secret>,
}

/// Decides on a new endpoint.
///
/// # Errors
/// All that is wrong with it.
pub fn create(
    mint: &Mint<'_>,
    account: AccountId,
    new: &NewEndpoint,
    snapshot: &EndpointsSnapshot,
) -> Result<(Commit, CreatedEndpoint), Vec<Problem>> {
    let mut batch = Batch::new(mint, account, snapshot);
    let created = batch.add(new, Vec::new())?;
    Ok((batch.commit, created))
}

/// Decides on many new endpoints in one commit. Gives what became of each, in their order, each problem with a field from
/// inside its endpoint; the commit makes those that are well.
#[must_use]
pub fn create_all(
    mint: &Mint<'_>,
    account: AccountId,
    new: &[NewEndpoint],
    snapshot: &EndpointsSnapshot,
) -> (Commit, Vec<Result<CreatedEndpoint, Vec<Problem>>>) {
    let mut batch = Batch::new(mint, account, snapshot);
    let results = new.iter().map(|new| batch.add(new, Vec::new())).collect();
    (batch.commit, results)
}

pub(super) struct Batch<'s> {
    mint: &'s Mint<'s>,
    snapshot: &'s EndpointsSnapshot,
    pub(super) commit: Commit,
    /// Names that endpoints of the batch itself have.
    names: BTreeSet<(DomainId, String)>,
    /// The same without their domains, where names must be unique in all of the account.
    names_in_account: BTreeSet<String>,
    /// Numbers that endpoints of the batch itself have.
    pub(super) numbers: BTreeSet<String>,
    /// The numbers that are given and that the account has, without those endpoints that the batch takes them off.
    pub(super) numbers_known: Numbers,
    /// Those that endpoints of the batch lose, with the endpoints that had them.
    pub(super) numbers_freed: BTreeMap<String, EndpointId>,
    /// Domains that the commit looks at already.
    domains: BTreeSet<DomainId>,
    /// Applications that the commit looks at already.
    applications: BTreeSet<ApplicationId>,
    /// Whether the account has a system gateway, or gets one by the batch.
    has_system_gateway: bool,
}

impl<'s> Batch<'s> {
    pub(super) fn new(
        mint: &'s Mint<'s>,
        account: AccountId,
        snapshot: &'s EndpointsSnapshot,
    ) -> Self {
        Self {
            mint,
            snapshot,
            commit: Commit::empty(account, mint.now),
            names: BTreeSet::new(),
            names_in_account: BTreeSet::new(),
            numbers: BTreeSet::new(),
            numbers_known: snapshot.numbers.clone(),
            numbers_freed: BTreeMap::new(),
            domains: BTreeSet::new(),
            applications: BTreeSet::new(),
            has_system_gateway: snapshot.has_system_gateway,
        }
    }

    /// Has what comes be made at another time.
    pub(super) fn at(&mut self, mint: &'s Mint<'s>) {
        self.mint = mint;
    }

    /// What is known of the account.
    pub(super) fn snapshot(&self) -> &'s EndpointsSnapshot {
        self.snapshot
    }

    /// Decides on one endpoint and, when it is well and no problem is given, adds it to the commit.
    pub(super) fn add(
        &mut self,
        new: &NewEndpoint,
        mut problems: Vec<Problem>,
    ) -> Result<CreatedEndpoint, Vec<Problem>> {
        let (mint, snapshot) = (self.mint, self.snapshot);
        let canonical = name(&new.name).unwrap_or_else(|found| {
            problems.extend(found);
            String::new()
        });
        let key = (new.domain, canonical);
        if snapshot.taken.contains(&key) || self.names.contains(&key) {
            problems.push(name_taken(&new.name));
        } else if snapshot.unique_names
            && (snapshot.taken_in_account.contains(&key.1)
                || self.names_in_account.contains(&key.1))
        {
            problems.push(name_taken_in_account(&new.name));
        }
        let domain = snapshot.domains.iter().find(|d| d.id == new.domain);
        if domain.is_none() {
            problems.push(Problem::not_found("domainId", "domain"));
        }
        if new.kind == EndpointType::SystemGateway {
            problems.extend(self.system_gateway_problem());
        }
        if let Some(id) = new.settings.application.value()
            && !snapshot.applications.contains(id)
        {
            problems.push(Problem::not_found("applicationId", "application"));
        }
        // Without its domain the settings can still be looked at, so that all that is wrong comes at once.
        let nowhere = nowhere(self.commit.account);
        let domain = domain.unwrap_or(&nowhere);
        let mut blank = blank(mint, domain, new, key.1.clone());
        blank.profile_encrypts = snapshot.profile_encrypts;
        let applied = apply(mint, &blank, domain, &new.settings, NestedMode::Replace);
        let credentials = applied.ha1().unwrap_or_default();
        let Applied {
            mut endpoint,
            password,
            is_generated,
            digests: _,
            secrets,
            problems: found,
        } = applied;
        problems.extend(found);
        problems.extend(taken(
            endpoint.id,
            &endpoint.numbers,
            &self.numbers_known,
            &self.numbers,
        ));
        if !problems.is_empty() {
            return Err(problems);
        }
        endpoint.state = presence::state(&endpoint, false);
        let mut secrets: Vec<_> = secrets
            .into_iter()
            .filter_map(|(which, secret)| Some((which, secret?)))
            .collect();
        if !endpoint.kind.is_hosted() {
            secrets.push((EndpointSecret::VoipToken, voip_token(mint)));
        }
        if self.domains.insert(domain.id) {
            self.commit
                .preconditions
                .push(Precondition::DomainAt(domain.id, domain.version));
        }
        if let Some(id) = endpoint.application
            && self.applications.insert(id)
        {
            self.commit
                .preconditions
                .push(Precondition::ApplicationThere(id));
        }
        self.commit
            .preconditions
            .push(Precondition::EndpointNameFree(key.0, key.1.clone()));
        if self.names.is_empty() {
            self.commit
                .preconditions
                .push(Precondition::NamesUnique(snapshot.unique_names));
        }
        if snapshot.unique_names {
            self.commit
                .preconditions
                .push(Precondition::AccountNameFree(key.1.clone()));
            self.names_in_account.insert(key.1.clone());
        }
        self.names.insert(key);
        self.has_system_gateway |= endpoint.kind == EndpointType::SystemGateway;
        self.commit.writes.push(Write::EndpointInsert {
            endpoint: Box::new(endpoint.clone()),
            credentials,
            secrets,
        });
        put(&mut self.commit, endpoint.id, &[], &endpoint.numbers);
        self.numbers.extend(endpoint.numbers.iter().cloned());
        self.commit
            .events
            .push(mint.event(Subjects::of(&endpoint), EventBody::EndpointCreated));
        Ok(CreatedEndpoint {
            endpoint,
            generated_password: password.filter(|_| is_generated),
        })
    }

    fn system_gateway_problem(&self) -> Option<Problem> {
        if !self.snapshot.by_operator {
            return Some(Problem::validation(
                "type",
                "A system gateway is made by the operator of the instance.",
            ));
        }
        self.has_system_gateway.then(|| {
            Problem::new(
                ProblemCode::Conflict,
                "type",
                "The account already has a system gateway.",
            )
        })
    }
}

/// A token for VoIP clients: a random UUID, as CarrierX has them.
fn voip_token(mint: &Mint<'_>) -> Secret {
    let id = uuid::Builder::from_random_bytes(mint.bytes()).into_uuid();
    Secret::new(id.to_string())
}

/// An endpoint with nothing but defaults.
fn blank(mint: &Mint<'_>, domain: &Domain, new: &NewEndpoint, canonical: String) -> Endpoint {
    Endpoint {
        id: mint.id(EndpointId::new),
        account: domain.account,
        domain: domain.id,
        domain_name: domain.name.clone(),
        external_id: 0,
        kind: new.kind,
        name: new.name.clone(),
        canonical_name: canonical,
        display_name: None,
        description: None,
        application: None,
        enabled: true,
        has_password: false,
        digest_algorithms: default_algorithms(domain),
        numbers: Vec::new(),
        caller_id: None,
        send_as: None,
        allow_outside: false,
        ciphers: None,
        codecs: None,
        encryption: Encryption::Default,
        profile_encrypts: false,
        capacity: 0,
        cps_limit: None,
        auth_required: true,
        nested: Nested::default(),
        out_sip_username: None,
        has_out_sip_password: false,
        simulation: None,
        state: EndpointState::Unknown,
        created_at: mint.now,
        updated_at: mint.now,
        version: 1,
        bindings_revision: 0,
    }
}

/// What stands for a domain that is not there.
fn nowhere(account: AccountId) -> Domain {
    Domain {
        id: DomainId([0; 16]),
        account,
        name: String::new(),
        aliases: Vec::new(),
        description: None,
        digest_algorithms: Vec::new(),
        record_internal_messages: false,
        created_at: crate::Timestamp(0),
        version: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::endpoints::NewCredentials;
    use crate::decide::testing::Seeded;
    use crate::digest::DigestAlgorithm;
    use crate::{DomainId, Timestamp};

    const DOMAIN: DomainId = DomainId([2; 16]);

    fn snapshot() -> EndpointsSnapshot {
        EndpointsSnapshot {
            domains: vec![Domain {
                id: DOMAIN,
                name: "example.com".into(),
                digest_algorithms: vec![DigestAlgorithm::Md5],
                version: 7,
                ..nowhere(AccountId([1; 16]))
            }],
            ..EndpointsSnapshot::default()
        }
    }

    fn new(name: &str, kind: EndpointType) -> NewEndpoint {
        NewEndpoint {
            domain: DOMAIN,
            name: name.into(),
            kind,
            settings: EndpointSettings {
                credentials: NewCredentials::generated().into(),
                ..EndpointSettings::default()
            },
        }
    }

    fn made(
        new: &[NewEndpoint],
        snapshot: &EndpointsSnapshot,
    ) -> (Commit, Vec<Result<CreatedEndpoint, Vec<Problem>>>) {
        let entropy = Seeded::default();
        let mint = Mint::new(Timestamp(5), &entropy);
        create_all(&mint, AccountId([1; 16]), new, snapshot)
    }

    #[test]
    fn h148_a_name_twice_in_a_bulk_is_taken() {
        let kinds = EndpointType::SipUser;
        let (commit, results) = made(
            &[new("a", kinds), new("%61", kinds), new("b", kinds)],
            &snapshot(),
        );
        assert!(results[0].is_ok() && results[2].is_ok());
        assert_eq!(
            results[1].as_ref().unwrap_err()[0].code,
            ProblemCode::Conflict
        );
        assert_eq!((commit.writes.len(), commit.events.len()), (2, 2));
        assert_eq!(
            commit.preconditions,
            [
                Precondition::DomainAt(DOMAIN, 7),
                Precondition::EndpointNameFree(DOMAIN, "a".into()),
                Precondition::NamesUnique(false),
                Precondition::EndpointNameFree(DOMAIN, "b".into()),
            ]
        );
    }

    #[test]
    fn phones_and_trunks_alone_have_a_voip_token() {
        for (kind, count) in [
            (EndpointType::SipUser, 1),
            (EndpointType::ThirdParty, 1),
            (EndpointType::Voicemail, 0),
        ] {
            let (commit, _) = made(&[new("a", kind)], &snapshot());
            let Write::EndpointInsert {
                secrets,
                credentials,
                ..
            } = &commit.writes[0]
            else {
                panic!("{:?}", commit.writes);
            };
            assert_eq!((secrets.len(), credentials.len()), (count, 2), "{kind:?}");
        }
    }

    #[test]
    fn c068_a_system_gateway_is_the_operators_and_one() {
        let gateway = [new("gw", EndpointType::SystemGateway)];
        let refusal = |snapshot: &EndpointsSnapshot| {
            let (_, mut results) = made(&gateway, snapshot);
            results.remove(0).map(|_| ()).map_err(|found| found[0].code)
        };
        let mut snapshot = snapshot();
        assert_eq!(refusal(&snapshot), Err(ProblemCode::Validation));
        snapshot.by_operator = true;
        assert_eq!(refusal(&snapshot), Ok(()));
        snapshot.has_system_gateway = true;
        assert_eq!(refusal(&snapshot), Err(ProblemCode::Conflict));
    }
}

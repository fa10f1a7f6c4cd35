//! Rows of a file that the operator imports: each makes an endpoint, or changes the one that is there, by the rules of create and
//! replace. It knows neither files nor their columns.
//!
//! A second run over the same rows changes nothing: secrets are compared with those that are kept, and nested objects are found
//! again by what they say, because rows have no ids.

use super::create::{Batch, EndpointsSnapshot, NewEndpoint};
use super::settings::{EndpointSettings, default_algorithms, lower};
use super::update::{UpdateSnapshot, restate};
use super::{limit_set, name};
use crate::application::Application;
use crate::binding::{Binding, Transport};
use crate::commit::{Commit, EndpointSecret, Precondition, Write};
use crate::decide::Mint;
use crate::digest::ha1_values;
use crate::domain::Domain;
use crate::endpoint::{Address, Endpoint, EndpointType, PORT_DEFAULT, Transformation};
use crate::error::{Problem, ProblemCode};
use crate::keyring::Secret;
use crate::patch::Field;
use crate::ports::store::EndpointSecrets;
use crate::{AccountId, ApplicationId, DomainId, EndpointId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A row of an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportRow {
    /// The name or an alias of one of the account's domains.
    pub domain: String,
    /// The user part of its address-of-record.
    pub name: String,
    /// What it is. `None`: what it is, and a SIP user for a new one.
    pub kind: Option<EndpointType>,
    /// The name of its application.
    pub application: Field<String>,
    /// The most messages a second that go out by it; null and 0 for any number.
    pub cps_limit: Field<i32>,
    /// All else. Its own `application` is not looked at; null means a field's default, and nested objects are given as a whole.
    pub settings: EndpointSettings,
}

/// An endpoint that is there, with all that a row can be compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEndpoint {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// Its bindings, read no earlier than the endpoint.
    pub bindings: Vec<Binding>,
    /// Its secrets, read no earlier than the endpoint.
    pub secrets: EndpointSecrets,
}

/// What must be known to decide on rows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImportSnapshot {
    /// What new endpoints are decided on; its names that are taken are not looked at.
    pub account: EndpointsSnapshot,
    /// The domains that the rows name, by the name as it stands in them.
    pub domains: BTreeMap<String, DomainId>,
    /// The account's applications, if a row names one.
    pub applications: Vec<Application>,
    /// The endpoints that the rows name and that are there.
    pub there: Vec<StoredEndpoint>,
}

/// Whom the rows are about, so that no two rows of one file undo each other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Met {
    /// The endpoints.
    pub names: BTreeSet<(DomainId, String)>,
    /// Their names without the domains.
    pub account_names: BTreeSet<String>,
    /// The numbers that they get.
    pub numbers: BTreeSet<String>,
    /// The numbers that they lose, with the endpoints that had them.
    pub numbers_freed: BTreeMap<String, EndpointId>,
}

impl Met {
    /// Takes in what further rows are about.
    pub fn extend(&mut self, more: Met) {
        self.names.extend(more.names);
        self.account_names.extend(more.account_names);
        self.numbers.extend(more.numbers);
        self.numbers_freed.extend(more.numbers_freed);
    }
}

/// What becomes of a row that is well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Imported {
    /// It makes an endpoint.
    Made,
    /// It changes these fields of the endpoint that is there, named as in the API.
    Changed(Vec<&'static str>),
    /// The endpoint is so already.
    Unchanged,
}

/// Decides on rows, of which those that are well are in the commit. Gives what becomes of each, with problems at fields from inside
/// the row, and whom they are about. `earlier` has the rows before; the snapshot counts their names and numbers as taken.
#[must_use]
pub fn import(
    mint: &Mint<'_>,
    account: AccountId,
    rows: &[ImportRow],
    snapshot: &ImportSnapshot,
    earlier: &Met,
) -> (Commit, Vec<Result<Imported, Vec<Problem>>>, Met) {
    // Lists are ordered by the time at which endpoints were made: each row is a microsecond behind the one before it.
    let micros = (0..).map(Duration::from_micros);
    let mints: Vec<Mint<'_>> = micros.take(rows.len()).map(|by| mint.later(by)).collect();
    let mut batch = Batch::new(mint, account, &snapshot.account);
    let mut met = Met::default();
    let results = rows.iter().zip(&mints).map(|(row, mint)| {
        batch.at(mint);
        let domain = snapshot.domains.get(&row.domain).copied();
        let key = domain.zip(name(&row.name).ok());
        let mut problems = Vec::new();
        if let Some((_, canonical)) = &key {
            met.account_names.insert(canonical.clone());
        }
        if let Some(key) = &key
            && (earlier.names.contains(key) || !met.names.insert(key.clone()))
        {
            problems.push(Problem::new(
                ProblemCode::Conflict,
                "name",
                "An earlier row is about the same endpoint, or one whose name means the same.",
            ));
        }
        let application = application(row, snapshot);
        let mut settings = row.settings.clone();
        settings.application = application.unwrap_or_else(|problem| {
            problems.push(problem);
            Field::Absent
        });
        let limit = limit(&row.cps_limit);
        problems.extend(limit.as_ref().err().cloned());
        let limit = limit.unwrap_or_default();
        let is_here = |stored: &&StoredEndpoint| {
            let Endpoint {
                domain,
                canonical_name,
                ..
            } = &stored.endpoint;
            key.as_ref()
                .is_some_and(|key| key.0 == *domain && key.1 == *canonical_name)
        };
        match snapshot.there.iter().find(is_here) {
            Some(stored) => change(&mut batch, mint, row, settings, limit, stored, problems),
            None => make(&mut batch, mint, row, settings, limit, domain, problems),
        }
    });
    let results = results.collect();
    met.numbers_freed = batch.numbers_freed;
    met.numbers = batch.numbers;
    (batch.commit, results, met)
}

fn make(
    batch: &mut Batch<'_>,
    mint: &Mint<'_>,
    row: &ImportRow,
    settings: EndpointSettings,
    limit: Field<i32>,
    domain: Option<DomainId>,
    problems: Vec<Problem>,
) -> Result<Imported, Vec<Problem>> {
    let new = NewEndpoint {
        domain: domain.unwrap_or(DomainId([0; 16])),
        name: row.name.clone(),
        kind: row.kind.unwrap_or_default(),
        settings,
    };
    let created = batch.add(&new, problems).map_err(|mut problems| {
        // Of two rows about one endpoint the second is told once.
        let mut is_told = false;
        problems.retain(|p| {
            let is_name = p.code == ProblemCode::Conflict && p.field == ["name"];
            !is_name || !std::mem::replace(&mut is_told, true)
        });
        problems
    })?;
    numbers_moved(batch, &[], &created.endpoint);
    if let Field::Value(limit) = limit {
        limit_put(batch, mint, &created.endpoint, Some(limit));
    }
    Ok(Imported::Made)
}

fn change(
    batch: &mut Batch<'_>,
    mint: &Mint<'_>,
    row: &ImportRow,
    settings: EndpointSettings,
    limit: Field<i32>,
    stored: &StoredEndpoint,
    mut problems: Vec<Problem>,
) -> Result<Imported, Vec<Problem>> {
    let endpoint = &stored.endpoint;
    if row.kind.is_some_and(|kind| kind != endpoint.kind) {
        problems.push(Problem::new(
            ProblemCode::ReadOnlyField,
            "type",
            format!(
                "The type of an endpoint can't be changed; it is {}.",
                endpoint.kind.as_str()
            ),
        ));
    }
    let account = batch.snapshot();
    let Some(domain) = account.domains.iter().find(|d| d.id == endpoint.domain) else {
        problems.push(Problem::not_found("domainId", "domain"));
        return Err(problems);
    };
    let settings = against(settings, stored, domain);
    let given = settings.numbers.value().into_iter().flatten();
    let canonical = given.filter_map(|text| sip_validate::e164(text).ok());
    let snapshot = UpdateSnapshot {
        endpoint: endpoint.clone(),
        domain: domain.clone(),
        bindings: stored.bindings.clone(),
        applications: settings.application.value().copied().into_iter().collect(),
        numbers: canonical
            .filter_map(|number| batch.numbers_known.get_key_value(&*number))
            .map(|(number, holder)| (number.clone(), *holder))
            .collect(),
        voip_token: None,
    };
    let numbers = &batch.numbers;
    let (commit, updated) = restate(mint, &snapshot, &settings, &row.name, numbers, problems)?;
    let Commit {
        preconditions,
        writes,
        events,
        ..
    } = commit;
    let mut changed: Vec<&'static str> = updated.changed.iter().map(|f| f.as_str()).collect();
    if !changed.is_empty() {
        batch.commit.preconditions.extend(preconditions);
        batch.commit.writes.extend(writes);
        batch.commit.events.extend(events);
        batch.numbers.extend(updated.endpoint.numbers.clone());
        numbers_moved(batch, &endpoint.numbers, &updated.endpoint);
    }
    let limit = match limit {
        Field::Absent => endpoint.cps_limit,
        Field::Null => None,
        Field::Value(limit) => Some(limit),
    };
    if limit != endpoint.cps_limit {
        changed.push("cpsLimit");
        limit_put(batch, mint, &updated.endpoint, limit);
    }
    Ok(if changed.is_empty() {
        Imported::Unchanged
    } else {
        Imported::Changed(changed)
    })
}

/// Notes the numbers that an endpoint loses, which are free for the rows behind it, and has those that it gets from an endpoint of
/// the same commit go from one to the other in one step.
fn numbers_moved(batch: &mut Batch<'_>, before: &[String], after: &Endpoint) {
    for number in before.iter().filter(|n| !after.numbers.contains(n)) {
        if let Some(holder) = batch.numbers_known.get_mut(number) {
            *holder = None;
        }
        batch.numbers_freed.insert(number.clone(), after.id);
    }
    for number in after.numbers.iter().filter(|n| !before.contains(n)) {
        let Some(from) = batch.numbers_freed.remove(number) else {
            continue;
        };
        // Preconditions are of the state before the commit.
        for precondition in &mut batch.commit.preconditions {
            if let Precondition::NumberFor(moved, holder) = precondition
                && moved == number
            {
                *holder = from;
            }
        }
        let frees = |write: &Write| matches!(write, Write::NumberSet { number: moved, endpoint: None } if moved == number);
        batch.commit.writes.retain(|write| !frees(write));
    }
}

/// Adds the operator's limit for an endpoint that the commit makes, changes or leaves. Only for one that it leaves, the version is
/// a precondition.
fn limit_put(batch: &mut Batch<'_>, mint: &Mint<'_>, endpoint: &Endpoint, limit: Option<i32>) {
    let (commit, _) = limit_set(mint, endpoint, limit);
    let is_left = !batch.commit.writes.iter().any(|write| match write {
        Write::EndpointInsert { endpoint: e, .. } | Write::EndpointUpdate { endpoint: e, .. } => {
            e.id == endpoint.id
        }
        _ => false,
    });
    if is_left {
        batch.commit.preconditions.extend(commit.preconditions);
    }
    batch.commit.writes.extend(commit.writes);
    batch.commit.events.extend(commit.events);
}

fn application(
    row: &ImportRow,
    snapshot: &ImportSnapshot,
) -> Result<Field<ApplicationId>, Problem> {
    const FIELD: &str = "applicationId";
    let name = match &row.application {
        Field::Absent => return Ok(Field::Absent),
        Field::Null => return Ok(Field::Null),
        Field::Value(name) => name,
    };
    let mut found = snapshot.applications.iter().filter(|a| a.name == *name);
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(Field::Value(only.id)),
        (Some(_), Some(_)) => Err(Problem::validation(
            FIELD,
            format!("Several applications have the name {name}; give them names of their own."),
        )),
        (None, _) => Err(Problem::not_found(FIELD, "application")),
    }
}

/// Reads a limit: 0 means none.
fn limit(given: &Field<i32>) -> Result<Field<i32>, Problem> {
    match given {
        Field::Value(0) => Ok(Field::Null),
        Field::Value(limit) if *limit < 0 => Err(Problem::validation(
            "cpsLimit",
            "Give a number that is not negative; 0 for any number.",
        )),
        given => Ok(given.clone()),
    }
}

/// Leaves out of a row the secrets that are kept already, and gives its nested objects the ids of those that say the same.
fn against(
    mut settings: EndpointSettings,
    stored: &StoredEndpoint,
    domain: &Domain,
) -> EndpointSettings {
    let StoredEndpoint {
        endpoint, secrets, ..
    } = stored;
    if let Field::Value(given) = &settings.credentials
        && !given.generate
    {
        let algorithms = settings
            .digest_algorithms
            .over_default(&endpoint.digest_algorithms, default_algorithms(domain));
        let Endpoint {
            name, domain_name, ..
        } = endpoint;
        let password = given.password.value();
        let own = password.map(|p| ha1_values(name, domain_name, p.expose(), &algorithms));
        let given_digests = given.digests.iter().map(lower);
        let mut wanted = own.into_iter().flatten().chain(given_digests).peekable();
        // A password that the rules refuse is told even where its digests are kept.
        let is_fit = password.is_none_or(|p| sip_validate::endpoint_password(p.expose()).is_ok());
        let is_known =
            is_fit && wanted.peek().is_some() && wanted.all(|ha1| secrets.ha1.contains(&ha1));
        let is_password = password.is_some();
        if is_known {
            settings.credentials = Field::Absent;
            if !is_password && settings.digest_algorithms == Field::Null {
                settings.digest_algorithms = Field::Absent;
            }
        }
    }
    let kept = |which: EndpointSecret, given: &Field<Secret>| {
        let is_same = |(kept, secret): &(EndpointSecret, Secret)| {
            *kept == which && given.value() == Some(secret)
        };
        secrets.others.iter().any(is_same)
    };
    if kept(EndpointSecret::OutSipPassword, &settings.out_sip_password) {
        settings.out_sip_password = Field::Absent;
    }
    if let Field::Value(items) = &mut settings.addresses {
        let mut left: Vec<_> = endpoint.nested.addresses.iter().collect();
        for item in items.iter_mut().filter(|item| item.id.is_none()) {
            let port = item
                .port
                .over_default(&PORT_DEFAULT.into(), PORT_DEFAULT.into());
            let transport = item.transport.over_default(&Transport::Udp, Transport::Udp);
            let is_meant = |address: &&Address| {
                item.ip.value() == Some(&address.ip)
                    && port == i32::from(address.port)
                    && transport == address.transport
            };
            if let Some(at) = left.iter().position(is_meant) {
                item.id = Some(left.remove(at).id);
            }
            if let Some(id) = item.id
                && kept(EndpointSecret::AddressPassword(id), &item.sip_password)
            {
                item.sip_password = Field::Absent;
            }
        }
    }
    if let Field::Value(items) = &mut settings.transformations {
        let mut left: Vec<_> = endpoint.nested.transformations.iter().collect();
        for item in items.iter_mut().filter(|item| item.id.is_none()) {
            let is_meant = |t: &&Transformation| item.rule.rule() == Some(&t.rule);
            if let Some(at) = left.iter().position(is_meant) {
                item.id = Some(left.remove(at).id);
            }
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;
    use crate::decide::endpoints::NewCredentials;
    use crate::decide::testing::{Seeded, endpoint};
    use crate::digest::{DigestAlgorithm, Ha1};

    /// Alice, whose password is `secret-1`, in the only domain.
    fn snapshot() -> ImportSnapshot {
        let mut endpoint = endpoint("alice");
        endpoint.has_password = true;
        let Endpoint {
            account,
            domain,
            domain_name,
            ..
        } = endpoint.clone();
        let ha1 = ha1_values(
            "alice",
            &domain_name,
            "secret-1",
            &endpoint.digest_algorithms,
        );
        let mut snapshot = ImportSnapshot::default();
        snapshot.domains.insert("d".into(), domain);
        snapshot.account.domains.push(Domain {
            id: domain,
            account,
            name: domain_name,
            aliases: Vec::new(),
            description: None,
            digest_algorithms: vec![DigestAlgorithm::Md5],
            record_internal_messages: false,
            created_at: Timestamp(0),
            version: 1,
        });
        let mut secrets = EndpointSecrets::none(endpoint.id);
        secrets.ha1 = ha1;
        snapshot.there.push(StoredEndpoint {
            endpoint,
            bindings: Vec::new(),
            secrets,
        });
        snapshot
    }

    fn row(name: &str, credentials: NewCredentials) -> ImportRow {
        ImportRow {
            domain: "d".into(),
            name: name.into(),
            kind: None,
            application: Field::Absent,
            cps_limit: Field::Absent,
            settings: EndpointSettings {
                credentials: credentials.into(),
                ..EndpointSettings::default()
            },
        }
    }

    fn decided(
        rows: &[ImportRow],
        snapshot: &ImportSnapshot,
    ) -> (Commit, Vec<Result<Imported, Vec<Problem>>>) {
        let entropy = Seeded::default();
        let mint = Mint::new(Timestamp(5), &entropy);
        let account = AccountId([1; 16]);
        let (commit, results, _) = import(&mint, account, rows, snapshot, &Met::default());
        (commit, results)
    }

    #[test]
    fn h171_what_is_kept_already_is_no_change() {
        let snapshot = snapshot();
        let kept = &snapshot.there[0].secrets.ha1;
        let upper = |ha1: &Ha1| Ha1 {
            value: Secret::new(ha1.value.expose().to_ascii_uppercase()),
            ..ha1.clone()
        };
        for credentials in [
            NewCredentials::default(),
            NewCredentials::password("secret-1"),
            NewCredentials::digests(kept.clone()),
            NewCredentials::digests(vec![upper(&kept[0])]),
        ] {
            let (commit, results) = decided(&[row("alice", credentials.clone())], &snapshot);
            assert_eq!(results, [Ok(Imported::Unchanged)], "{credentials:?}");
            assert!(commit.writes.is_empty() && commit.events.is_empty());
        }
        let (commit, results) = decided(
            &[row("alice", NewCredentials::password("secret-2"))],
            &snapshot,
        );
        assert_eq!(results, [Ok(Imported::Changed(vec!["credentials"]))]);
        assert_eq!((commit.writes.len(), commit.events.len()), (1, 1));
    }

    #[test]
    fn h171_two_rows_about_one_endpoint_are_refused() {
        let new = || NewCredentials::password("secret-1");
        for names in [["alice", "%61lice"], ["bob", "bob"]] {
            let (_, results) = decided(&names.map(|name| row(name, new())), &snapshot());
            assert!(results[0].is_ok(), "{names:?}");
            let problems = results[1].as_ref().unwrap_err();
            let conflicts = problems.iter().filter(|p| p.code == ProblemCode::Conflict);
            assert_eq!(conflicts.count(), 1, "{problems:?}");
        }
    }

    #[test]
    fn h171_a_number_goes_from_a_row_to_one_behind_it() {
        let mut snapshot = snapshot();
        let alice = snapshot.there[0].endpoint.id;
        snapshot.there[0].endpoint.numbers = vec!["+12".into(), "+13".into()];
        for number in ["+12", "+13"] {
            let numbers = &mut snapshot.account.numbers;
            numbers.insert(number.into(), Some(alice));
        }
        let with = |name: &str, numbers: &[&str]| {
            let mut row = row(name, NewCredentials::password("secret-1"));
            let numbers = numbers.iter().map(ToString::to_string).collect();
            row.settings.numbers = Field::Value(numbers);
            row
        };
        let rows = [with("alice", &["+13"]), with("bob", &["+12"])];
        let (commit, results) = decided(&rows, &snapshot);
        let changed = Imported::Changed(vec!["numbers"]);
        assert_eq!(results, [Ok(changed), Ok(Imported::Made)]);
        let held = commit.preconditions.iter().filter_map(|p| match p {
            Precondition::NumberFor(number, holder) => Some((number.as_str(), *holder)),
            _ => None,
        });
        assert_eq!(held.collect::<Vec<_>>(), [("+12", alice)]);
        let set = commit.writes.iter().filter_map(|write| match write {
            Write::NumberSet { number, endpoint } => Some((number.as_str(), *endpoint)),
            _ => None,
        });
        let set: Vec<_> = set.collect();
        assert_eq!(set.len(), 1, "{set:?}");
        assert!(set[0].0 == "+12" && ![None, Some(alice)].contains(&set[0].1));
        // Before that row it is hers still, and it goes once.
        for (rows, refused) in [
            ([with("bob", &["+12"]), with("alice", &[])], 0),
            ([with("alice", &["+12", "+13"]), with("bob", &["+13"])], 1),
        ] {
            let (_, results) = decided(&rows, &snapshot);
            let problems = results[refused].as_ref().unwrap_err();
            assert_eq!(problems[0].field, ["numbers", "0"], "{problems:?}");
        }
    }

    #[test]
    fn h171_digests_are_those_of_the_password_beside_them() {
        let digest = |text: &str| Ha1 {
            algorithm: DigestAlgorithm::Md5,
            charset: crate::digest::PasswordCharset::Utf8,
            value: Secret::new(text),
        };
        let mut snapshot = snapshot();
        let own = snapshot.there.remove(0).secrets.ha1;
        let with = |digests: Vec<Ha1>| NewCredentials {
            digests,
            ..NewCredentials::password("secret-1")
        };
        let fields = |credentials: NewCredentials| {
            let (_, mut results) = decided(&[row("alice", credentials)], &snapshot);
            let problems = results.remove(0).err().unwrap_or_default();
            let fields = problems.iter().map(|p| p.field.join("."));
            fields.collect::<Vec<_>>()
        };
        assert_eq!(fields(with(own)), [""; 0]);
        let foreign = "0123456789abcdef0123456789abcdef";
        assert_eq!(
            fields(with(vec![digest(foreign)])),
            ["credentials.digests.MD5"]
        );
        assert_eq!(
            fields(NewCredentials::digests(vec![digest(foreign)])),
            [""; 0]
        );
        for wrong in ["", "0g", &foreign[1..], "0123456789abcdef0123456789abcdefa"] {
            let credentials = NewCredentials::digests(vec![digest(wrong)]);
            assert_eq!(fields(credentials), ["credentials.digests.MD5"], "{wrong}");
        }
    }
}

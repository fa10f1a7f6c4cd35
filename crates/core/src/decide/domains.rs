//! Domains: made with names that nobody else has, changed, deleted when empty or step by step with all that is theirs.

use super::Mint;
use crate::address::violation;
use crate::commit::{Commit, Precondition, Write};
use crate::digest::DigestAlgorithm;
use crate::domain::{ALIASES_MAX, DOMAINS_MAX, Domain};
use crate::endpoint::DESCRIPTION_MAX;
use crate::error::{Problem, ProblemCode, ProblemDetail};
use crate::patch::Field;
use crate::{AccountId, DomainId};

/// What a domain is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDomain {
    /// Its name.
    pub name: String,
    /// Other names for it.
    pub aliases: Vec<String>,
    /// A note for people.
    pub description: Option<String>,
    /// What its challenge offers; `None` means MD5 alone, which every phone can do.
    pub digest_algorithms: Option<Vec<DigestAlgorithm>>,
    /// Whether messages between its devices are kept.
    pub record_internal_messages: bool,
}

/// What must be known to make a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainSnapshot {
    /// Those of its names that are taken.
    pub taken: Vec<String>,
    /// How many domains the account has.
    pub count: i64,
}

/// Checks the names of a domain and returns them in canonical form: the name, then the aliases.
///
/// # Errors
/// Every name that is no host.
pub fn names(new: &NewDomain) -> Result<Vec<String>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut names = Vec::new();
    match sip_validate::domain(&new.name) {
        Ok(name) => names.push(name.into_owned()),
        Err(v) => problems.push(violation("name", &new.name, &v)),
    }
    match aliases("aliases", &new.aliases) {
        Ok(found) => names.extend(found),
        Err(found) => problems.extend(found),
    }
    if problems.is_empty() {
        Ok(names)
    } else {
        Err(problems)
    }
}

/// Checks aliases and returns them in canonical form, in the order given.
///
/// # Errors
/// Every one that is no host.
pub fn aliases(field: &str, given: &[String]) -> Result<Vec<String>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut names = Vec::new();
    for (i, text) in given.iter().enumerate() {
        match sip_validate::domain(text) {
            Ok(name) => names.push(name.into_owned()),
            Err(v) => problems.push(violation(&format!("{field}.{i}"), text, &v)),
        }
    }
    if problems.is_empty() {
        Ok(names)
    } else {
        Err(problems)
    }
}

/// Decides on a new domain.
///
/// # Errors
/// All that is wrong with it.
pub fn create(
    mint: &Mint<'_>,
    account: AccountId,
    new: &NewDomain,
    snapshot: &DomainSnapshot,
) -> Result<(Commit, Domain), Vec<Problem>> {
    let mut problems = Vec::new();
    let names = names(new).unwrap_or_else(|found| {
        problems.extend(found);
        Vec::new()
    });
    for (i, name) in names.iter().enumerate() {
        let field = match i {
            0 => "name".to_owned(),
            _ => format!("aliases.{}", i - 1),
        };
        if names[..i].contains(name) {
            problems.push(Problem::validation(&field, "This name is given twice."));
        } else if snapshot.taken.contains(name) {
            problems.push(taken(&field, name));
        }
    }
    if new.aliases.len() > ALIASES_MAX {
        problems.push(limit("aliases", ALIASES_MAX, new.aliases.len()));
    }
    if let Some(text) = &new.description {
        problems.extend(text_limit("description", text, DESCRIPTION_MAX));
    }
    let digest_algorithms = new
        .digest_algorithms
        .clone()
        .unwrap_or_else(default_algorithms);
    if digest_algorithms.is_empty() {
        problems.push(no_algorithm("digestAlgorithms"));
    }
    if snapshot.count >= i64::from(DOMAINS_MAX) {
        problems.push(
            Problem::new(
                ProblemCode::LimitReached,
                "name",
                format!("An account has at most {DOMAINS_MAX} domains."),
            )
            .with_detail(ProblemDetail {
                limit: Some(i64::from(DOMAINS_MAX)),
                actual: Some(snapshot.count),
                ..ProblemDetail::default()
            }),
        );
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut preconditions: Vec<_> = names
        .iter()
        .cloned()
        .map(Precondition::DomainNameFree)
        .collect();
    preconditions.push(Precondition::DomainsBelow(DOMAINS_MAX));
    let mut names = names.into_iter();
    let domain = Domain {
        id: mint.id(DomainId::new),
        account,
        name: names.next().unwrap_or_default(),
        aliases: sorted(names.collect()),
        description: new.description.clone(),
        digest_algorithms: challenge_order(&digest_algorithms),
        record_internal_messages: new.record_internal_messages,
        created_at: mint.now,
        version: 1,
    };
    let commit = Commit {
        preconditions,
        writes: vec![Write::DomainInsert(domain.clone())],
        ..Commit::empty(account, mint.now)
    };
    Ok((commit, domain))
}

/// What is to change of a domain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DomainPatch {
    /// Its name, which may only be the one that it has.
    pub name: Field<String>,
    /// All of its aliases from now on; null means none.
    pub aliases: Field<Vec<String>>,
    /// A note for people.
    pub description: Field<String>,
    /// What its challenge offers; null means MD5 alone.
    pub digest_algorithms: Field<Vec<DigestAlgorithm>>,
    /// Whether messages between its devices are kept; null means not.
    pub record_internal_messages: Field<bool>,
}

/// A changed domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdatedDomain {
    /// The domain as it is now.
    pub domain: Domain,
    /// The names of the fields that changed, as the API has them.
    pub changed: Vec<&'static str>,
}

/// Decides on changing a domain; `taken` are those of the patch's aliases that any domain of the instance has. `None` for
/// the commit means that nothing changes.
///
/// # Errors
/// All that is wrong with the patch, below `patch`.
pub fn update(
    mint: &Mint<'_>,
    old: &Domain,
    patch: &DomainPatch,
    taken_names: &[String],
) -> Result<(Option<Commit>, UpdatedDomain), Vec<Problem>> {
    let DomainPatch {
        name,
        aliases: given_aliases,
        description,
        digest_algorithms,
        record_internal_messages,
    } = patch;
    let mut problems = Vec::new();
    match name {
        Field::Absent => {}
        Field::Value(given)
            if sip_validate::domain(given).is_ok_and(|given| *given == *old.name) => {}
        Field::Null | Field::Value(_) => problems.push(Problem::new(
            ProblemCode::ImmutableField,
            "patch.name",
            "A domain's name can't be changed; it is the realm of its endpoints' passwords.",
        )),
    }
    let new_aliases = match given_aliases {
        Field::Absent => old.aliases.clone(),
        Field::Null => Vec::new(),
        Field::Value(given) => aliases("patch.aliases", given).unwrap_or_else(|found| {
            problems.extend(found);
            Vec::new()
        }),
    };
    for (i, alias) in new_aliases.iter().enumerate() {
        let field = format!("patch.aliases.{i}");
        if new_aliases[..i].contains(alias) || *alias == old.name {
            problems.push(Problem::validation(&field, "This name is given twice."));
        } else if taken_names.contains(alias) && !old.aliases.contains(alias) {
            problems.push(taken(&field, alias));
        }
    }
    if new_aliases.len() > ALIASES_MAX {
        problems.push(limit("patch.aliases", ALIASES_MAX, new_aliases.len()));
    }
    if let Field::Value(text) = description {
        problems.extend(text_limit("patch.description", text, DESCRIPTION_MAX));
    }
    let algorithms = digest_algorithms.over_default(&old.digest_algorithms, default_algorithms());
    if algorithms.is_empty() {
        problems.push(no_algorithm("patch.digestAlgorithms"));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut domain = Domain {
        aliases: sorted(new_aliases),
        description: description.over(&old.description),
        digest_algorithms: challenge_order(&algorithms),
        record_internal_messages: record_internal_messages
            .over_default(&old.record_internal_messages, false),
        ..old.clone()
    };
    let changed: Vec<&'static str> = [
        ("aliases", domain.aliases != old.aliases),
        ("description", domain.description != old.description),
        (
            "digestAlgorithms",
            domain.digest_algorithms != old.digest_algorithms,
        ),
        (
            "recordInternalMessages",
            domain.record_internal_messages != old.record_internal_messages,
        ),
    ]
    .into_iter()
    .filter_map(|(name, is_changed)| is_changed.then_some(name))
    .collect();
    if changed.is_empty() {
        return Ok((None, UpdatedDomain { domain, changed }));
    }
    domain.version += 1;
    let only_in = |these: &[String], those: &[String]| -> Vec<String> {
        let only = these.iter().filter(|name| !those.contains(name));
        only.cloned().collect()
    };
    let aliases_added = only_in(&domain.aliases, &old.aliases);
    let mut preconditions = vec![Precondition::DomainAt(old.id, old.version)];
    preconditions.extend(
        aliases_added
            .iter()
            .cloned()
            .map(Precondition::DomainNameFree),
    );
    let commit = Commit {
        preconditions,
        writes: vec![Write::DomainUpdate {
            aliases_removed: only_in(&old.aliases, &domain.aliases),
            aliases_added,
            domain: domain.clone(),
        }],
        ..Commit::empty(old.account, mint.now)
    };
    Ok((Some(commit), UpdatedDomain { domain, changed }))
}

/// Decides on deleting an empty domain; the second precondition is that it is.
#[must_use]
pub fn delete(mint: &Mint<'_>, domain: &Domain) -> Commit {
    Commit {
        preconditions: vec![
            Precondition::DomainAt(domain.id, domain.version),
            Precondition::DomainEmpty(domain.id),
        ],
        writes: vec![Write::DomainDelete(domain.id)],
        ..Commit::empty(domain.account, mint.now)
    }
}

/// Decides on beginning to delete a domain with all that is its.
#[must_use]
pub fn delete_begin(mint: &Mint<'_>, domain: &Domain) -> Commit {
    Commit {
        preconditions: vec![
            Precondition::DomainAt(domain.id, domain.version),
            Precondition::DomainWithoutGateway(domain.id),
        ],
        writes: vec![Write::DomainDeleteBegin(domain.id)],
        ..Commit::empty(domain.account, mint.now)
    }
}

/// Decides on ending the deletion of a domain whose endpoints are all deleted.
#[must_use]
pub fn delete_end(mint: &Mint<'_>, account: AccountId, domain: DomainId) -> Commit {
    Commit {
        preconditions: vec![Precondition::DomainEmpty(domain)],
        writes: vec![Write::DomainDelete(domain)],
        ..Commit::empty(account, mint.now)
    }
}

/// Returns the problem of a domain that has endpoints and is to be deleted alone.
#[must_use]
pub fn not_empty() -> Problem {
    Problem::new(
        ProblemCode::Conflict,
        "id",
        "The domain has endpoints; delete them first, or ask for `cascade`.",
    )
}

/// Returns the problem of a domain whose deletion would take the operator's gateway along.
#[must_use]
pub fn has_gateway() -> Problem {
    Problem::new(
        ProblemCode::Conflict,
        "id",
        "The domain has the system gateway, which only the operator can delete.",
    )
}

fn taken(field: &str, name: &str) -> Problem {
    Problem::new(
        ProblemCode::Conflict,
        field,
        format!("The domain name {name} is taken."),
    )
}

fn no_algorithm(field: &str) -> Problem {
    Problem::validation(field, "Give at least one digest algorithm.")
}

fn default_algorithms() -> Vec<DigestAlgorithm> {
    vec![DigestAlgorithm::Md5]
}

/// Orders algorithms as a challenge must: SHA-256 first, because phones that keep only one header take the last and
/// phones that know both take the first (measured with real phones); each once.
fn challenge_order(given: &[DigestAlgorithm]) -> Vec<DigestAlgorithm> {
    let mut algorithms = given.to_vec();
    algorithms.sort_unstable();
    algorithms.dedup();
    algorithms
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort_unstable();
    names
}

/// Returns a problem when a text has more characters than allowed, or one that no database keeps.
pub(crate) fn text_limit(field: &str, text: &str, max: usize) -> Option<Problem> {
    if text.contains('\0') {
        return Some(Problem::validation(
            field,
            "A text can't contain the character NUL.",
        ));
    }
    let count = text.chars().count();
    (count > max).then(|| limit(field, max, count))
}

fn limit(field: &str, max: usize, actual: usize) -> Problem {
    Problem::validation(field, format!("At most {max} are allowed, not {actual}.")).with_detail(
        ProblemDetail {
            limit: i64::try_from(max).ok(),
            actual: i64::try_from(actual).ok(),
            ..ProblemDetail::default()
        },
    )
}

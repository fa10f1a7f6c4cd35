//! Domains: made with names that nobody else has, deleted when empty.

use super::Mint;
use crate::address::violation;
use crate::commit::{Commit, Precondition, Write};
use crate::digest::DigestAlgorithm;
use crate::domain::{ALIASES_MAX, DOMAINS_MAX, Domain};
use crate::endpoint::DESCRIPTION_MAX;
use crate::error::{Problem, ProblemCode, ProblemDetail};
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
    let fields = std::iter::once("name".to_owned())
        .chain((0..new.aliases.len()).map(|i| format!("aliases.{i}")));
    for (field, text) in fields.zip(std::iter::once(&new.name).chain(&new.aliases)) {
        match sip_validate::domain(text) {
            Ok(name) => names.push(name.into_owned()),
            Err(v) => problems.push(violation(&field, text, &v)),
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
            problems.push(Problem::new(
                ProblemCode::Conflict,
                &field,
                format!("The domain name {name} is taken."),
            ));
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
        .unwrap_or_else(|| vec![DigestAlgorithm::Md5]);
    if digest_algorithms.is_empty() {
        problems.push(Problem::validation(
            "digestAlgorithms",
            "Give at least one digest algorithm.",
        ));
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
        account,
        at: mint.now,
        idempotency: None,
        preconditions,
        writes: vec![Write::DomainInsert(domain.clone())],
        events: Vec::new(),
    };
    Ok((commit, domain))
}

/// Decides on another alias of a domain; `is_taken` says whether any domain of the instance has the name.
///
/// # Errors
/// All that is wrong with it, at `alias`.
pub fn alias_add(
    mint: &Mint<'_>,
    domain: &Domain,
    alias: &str,
    is_taken: bool,
) -> Result<(Commit, Domain), Vec<Problem>> {
    let name = match sip_validate::domain(alias) {
        Ok(name) => name.into_owned(),
        Err(v) => return Err(vec![violation("alias", alias, &v)]),
    };
    if is_taken {
        return Err(vec![Problem::new(
            ProblemCode::Conflict,
            "alias",
            format!("The domain name {name} is taken."),
        )]);
    }
    let mut aliases = domain.aliases.clone();
    aliases.push(name.clone());
    if aliases.len() > ALIASES_MAX {
        return Err(vec![limit("alias", ALIASES_MAX, aliases.len())]);
    }
    let commit = Commit {
        account: domain.account,
        at: mint.now,
        idempotency: None,
        preconditions: vec![
            Precondition::DomainAt(domain.id, domain.version),
            Precondition::DomainNameFree(name.clone()),
        ],
        writes: vec![Write::DomainAliasInsert {
            domain: domain.id,
            name,
        }],
        events: Vec::new(),
    };
    let changed = Domain {
        aliases: sorted(aliases),
        version: domain.version + 1,
        ..domain.clone()
    };
    Ok((commit, changed))
}

/// Decides on deleting an empty domain.
#[must_use]
pub fn delete(mint: &Mint<'_>, domain: &Domain) -> Commit {
    Commit {
        account: domain.account,
        at: mint.now,
        idempotency: None,
        preconditions: vec![
            Precondition::DomainAt(domain.id, domain.version),
            Precondition::DomainEmpty(domain.id),
        ],
        writes: vec![Write::DomainDelete(domain.id)],
        events: Vec::new(),
    }
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

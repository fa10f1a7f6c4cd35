//! Tokens: a caller mints only a subset of its own rights.

use super::Mint;
use super::domains::text_limit;
use crate::access::{Caller, Scope};
use crate::commit::{Commit, Precondition, Write};
use crate::error::{Problem, ProblemCode};
use crate::keyring::Secret;
use crate::token::{ApiToken, TOKEN_ENDPOINTS_MAX, TOKEN_NAME_MAX};
use crate::{AccountId, EndpointId, TokenId};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use std::time::Duration;

/// The longest limited life of a token: ten years.
const LIFE_MAX_S: u64 = 10 * 365 * 24 * 3600;

/// What a token is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    /// Its name, for people.
    pub name: String,
    /// The names of its scopes.
    pub scopes: Vec<String>,
    /// The only endpoints it sees and acts as; `None` means those of the caller.
    pub endpoints: Option<Vec<EndpointId>>,
    /// How long it lives; `None` means as long as the caller's token.
    pub expires_in_s: Option<i64>,
}

/// A token that was just made, with its secret, which is shown once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedToken {
    /// The token.
    pub token: ApiToken,
    /// The bearer secret; `None` in a replay.
    pub secret: Option<Secret>,
}

/// Returns what is kept of a bearer secret. It has 256 random bits, so that one hash is enough.
#[must_use]
pub fn secret_hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// Decides on a new token. `minter` is `None` for the operator, who may grant all; `known` are those of the endpoints
/// asked for that are there.
///
/// # Errors
/// All that is wrong with it.
pub fn create(
    mint: &Mint<'_>,
    account: AccountId,
    minter: Option<&Caller>,
    new: &NewToken,
    known: &[EndpointId],
) -> Result<(Commit, CreatedToken), Vec<Problem>> {
    let mut problems = Vec::new();
    if new.name.trim().is_empty() {
        problems.push(Problem::validation("name", "A token needs a name."));
    }
    problems.extend(text_limit("name", &new.name, TOKEN_NAME_MAX));
    let scopes = scopes(minter, &new.scopes, &mut problems);
    let endpoints = endpoints(minter, new, known, &mut problems);
    let own_end = match new.expires_in_s.map(u64::try_from) {
        None => None,
        Some(Ok(seconds)) if (1..=LIFE_MAX_S).contains(&seconds) => {
            Some(mint.now.plus(Duration::from_secs(seconds)))
        }
        Some(_) => {
            problems.push(Problem::validation(
                "expiresInSeconds",
                format!("A token lives for 1 to {LIFE_MAX_S} seconds, or for ever."),
            ));
            None
        }
    };
    if !problems.is_empty() {
        return Err(problems);
    }
    let minters_end = minter.and_then(|caller| caller.expires_at);
    let expires_at = [own_end, minters_end].into_iter().flatten().min();
    let secret = format!("sg_{}", URL_SAFE_NO_PAD.encode(mint.bytes::<32>()));
    let token = ApiToken {
        id: mint.id(TokenId::new),
        account,
        name: new.name.clone(),
        scopes,
        endpoints,
        created_at: mint.now,
        expires_at,
        revoked_at: None,
    };
    let commit = Commit {
        preconditions: minter
            .map(|caller| Precondition::TokenLive(caller.token))
            .into_iter()
            .collect(),
        writes: vec![Write::TokenInsert {
            token: token.clone(),
            hash: secret_hash(&secret),
        }],
        ..Commit::empty(account, mint.now)
    };
    let created = CreatedToken {
        token,
        secret: Some(Secret::new(secret)),
    };
    Ok((commit, created))
}

fn scopes(minter: Option<&Caller>, names: &[String], problems: &mut Vec<Problem>) -> Vec<Scope> {
    if names.is_empty() {
        problems.push(Problem::validation(
            "scopes",
            "A token needs at least one scope.",
        ));
    }
    let mut scopes = Vec::new();
    for (i, name) in names.iter().enumerate() {
        let field = format!("scopes.{i}");
        match Scope::parse(name) {
            None => {
                let known: Vec<&str> = Scope::ALL.iter().map(|s| s.as_str()).collect();
                problems.push(Problem::validation(
                    &field,
                    format!(
                        "There is no scope {name}. The scopes are: {}.",
                        known.join(", ")
                    ),
                ));
            }
            Some(scope) if minter.is_some_and(|caller| !caller.has(scope)) => {
                problems.push(Problem::validation(
                    &field,
                    format!("A token can't grant {name}, which it does not have itself."),
                ));
            }
            Some(scope) => scopes.push(scope),
        }
    }
    scopes.sort_unstable();
    scopes.dedup();
    scopes
}

fn endpoints(
    minter: Option<&Caller>,
    new: &NewToken,
    known: &[EndpointId],
    problems: &mut Vec<Problem>,
) -> Option<Vec<EndpointId>> {
    let Some(asked) = &new.endpoints else {
        return minter.and_then(|caller| caller.endpoints.as_ref().map(|bound| bound.to_vec()));
    };
    if asked.is_empty() || asked.len() > TOKEN_ENDPOINTS_MAX {
        problems.push(Problem::validation(
            "endpointIds",
            format!("Give 1 to {TOKEN_ENDPOINTS_MAX} endpoints, or leave it out for all."),
        ));
    }
    for (i, id) in asked.iter().enumerate() {
        let hidden = minter.is_some_and(|caller| !caller.sees(*id));
        if hidden || !known.contains(id) {
            problems.push(Problem::not_found(&format!("endpointIds.{i}"), "endpoint"));
        }
    }
    let mut endpoints = asked.clone();
    endpoints.sort_unstable();
    endpoints.dedup();
    Some(endpoints)
}

/// Decides on revoking a token.
#[must_use]
pub fn revoke(mint: &Mint<'_>, token: &ApiToken) -> Commit {
    Commit {
        preconditions: vec![Precondition::TokenLive(token.id)],
        writes: vec![Write::TokenRevoke(token.id)],
        ..Commit::empty(token.account, mint.now)
    }
}

/// Returns the problem of a token that is not there.
#[must_use]
pub fn unknown() -> Problem {
    Problem::new(ProblemCode::NotFound, "id", "There is no such token.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;
    use crate::decide::testing::Seeded;

    fn minter(scopes: &[Scope], endpoints: Option<Vec<EndpointId>>) -> Caller {
        Caller {
            account: AccountId([1; 16]),
            token: TokenId([1; 16]),
            token_name: "minter".into(),
            scopes: scopes.into(),
            endpoints: endpoints.map(Into::into),
            expires_at: Some(Timestamp(60_000_000)),
        }
    }

    fn ask(minter: &Caller, new: &NewToken, known: &[EndpointId]) -> Result<ApiToken, Vec<String>> {
        let entropy = Seeded::default();
        let mint = Mint::new(Timestamp(0), &entropy);
        create(&mint, minter.account, Some(minter), new, known)
            .map(|(_, created)| created.token)
            .map_err(|problems| problems.iter().map(|p| p.field.join(".")).collect())
    }

    fn new(scopes: &[&str], endpoints: Option<Vec<EndpointId>>) -> NewToken {
        NewToken {
            name: "phone".into(),
            scopes: scopes.iter().map(|s| (*s).to_owned()).collect(),
            endpoints,
            expires_in_s: None,
        }
    }

    #[test]
    fn h152_a_token_mints_no_more_than_its_own_rights() {
        let (a, b) = (EndpointId([1; 16]), EndpointId([2; 16]));
        let bound = minter(&[Scope::MessagesManage], Some(vec![a]));
        let token = ask(&bound, &new(&["messages.read"], None), &[]).unwrap();
        assert_eq!(token.endpoints, Some(vec![a]), "bound as its minter is");
        assert_eq!(
            token.expires_at,
            Some(Timestamp(60_000_000)),
            "ends with it"
        );
        assert_eq!(
            ask(
                &bound,
                &new(&["endpoints.read", "nonsense"], Some(vec![b])),
                &[a, b]
            ),
            Err(vec![
                "scopes.0".into(),
                "scopes.1".into(),
                "endpointIds.0".into()
            ])
        );
    }

    #[test]
    fn an_unknown_endpoint_reads_as_one_that_may_not_be_seen() {
        let whole = minter(&[Scope::MessagesManage], None);
        let unknown = EndpointId([7; 16]);
        assert_eq!(
            ask(&whole, &new(&["messages.read"], Some(vec![unknown])), &[]),
            Err(vec!["endpointIds.0".into()])
        );
    }
}

//! Endpoint tokens: short-lived passwords of one endpoint, and what ends with them.

use super::Mint;
use super::presence;
use crate::access::Caller;
use crate::binding::Binding;
use crate::commit::{Commit, Precondition, Write};
use crate::digest::{DigestAlgorithm, ha1_values};
use crate::endpoint::Endpoint;
use crate::endpoint_token::{EndpointToken, LIFE_S_MAX, LIVE_MAX};
use crate::error::{Problem, ProblemCode, ProblemDetail};
use crate::event::BindingEnd;
use crate::keyring::Secret;
use crate::{EndpointId, EndpointTokenId};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::time::Duration;

/// What an endpoint token is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewEndpointToken {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// How long it lives.
    pub expires_in_s: i64,
}

/// A token that was just made, with its secret, which is shown once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedEndpointToken {
    /// The token.
    pub token: EndpointToken,
    /// The password; `None` in a replay.
    pub secret: Option<Secret>,
}

/// Decides on a new token of an endpoint, `None` when it is not there for the caller. It ends no later than the
/// caller's own token: nobody leaves rights behind.
///
/// # Errors
/// All that is wrong with it.
pub fn create(
    mint: &Mint<'_>,
    caller: &Caller,
    endpoint: Option<&Endpoint>,
    new: &NewEndpointToken,
) -> Result<(Commit, CreatedEndpointToken), Vec<Problem>> {
    let mut problems = Vec::new();
    let life_s = u32::try_from(new.expires_in_s)
        .ok()
        .filter(|seconds| (1..=LIFE_S_MAX).contains(seconds));
    if life_s.is_none() {
        let message = format!("An endpoint token lives for 1 to {LIFE_S_MAX} seconds.");
        problems.push(Problem::validation("expiresInSeconds", message));
    }
    if endpoint.is_none() {
        problems.push(Problem::not_found("endpointId", "endpoint"));
    }
    if endpoint.is_some_and(|endpoint| endpoint.simulation.is_some()) {
        problems.push(Problem::validation(
            "endpointId",
            "No phone stands behind a simulated endpoint: it needs no token.",
        ));
    }
    let (Some(endpoint), Some(life_s), true) = (endpoint, life_s, problems.is_empty()) else {
        return Err(problems);
    };
    let own_end = mint.now.plus(Duration::from_secs(life_s.into()));
    let secret = URL_SAFE_NO_PAD.encode(mint.bytes::<24>());
    let ha1 = ha1_values(
        &endpoint.name,
        &endpoint.domain_name,
        &secret,
        &DigestAlgorithm::ALL,
    );
    let token = EndpointToken {
        id: mint.id(EndpointTokenId::new),
        account: endpoint.account,
        endpoint: endpoint.id,
        created_at: mint.now,
        expires_at: caller.expires_at.map_or(own_end, |end| end.min(own_end)),
        revoked_at: None,
    };
    let commit = Commit {
        preconditions: vec![
            Precondition::TokenLive(caller.token),
            Precondition::EndpointAt(endpoint.id, endpoint.version),
            Precondition::EndpointTokensLeft(endpoint.id, mint.now),
        ],
        writes: vec![Write::EndpointTokenInsert {
            token: token.clone(),
            ha1,
        }],
        ..Commit::empty(endpoint.account, mint.now)
    };
    let created = CreatedEndpointToken {
        token,
        secret: Some(Secret::new(secret)),
    };
    Ok((commit, created))
}

/// The place of the precondition in [`create`]'s commit that tells that the endpoint has too many live tokens.
pub const TOO_MANY_AT: usize = 2;

/// Returns the refusal of a token beyond [`LIVE_MAX`].
#[must_use]
pub fn too_many() -> Problem {
    let message = format!("An endpoint has at most {LIVE_MAX} live tokens; revoke one.");
    Problem::new(ProblemCode::LimitReached, "endpointId", message).with_detail(ProblemDetail {
        limit: Some(LIVE_MAX.into()),
        ..ProblemDetail::default()
    })
}

/// Decides on revoking a live token: what was registered with it goes in the same commit.
#[must_use]
pub fn revoke(
    mint: &Mint<'_>,
    endpoint: &Endpoint,
    bindings: &[Binding],
    token: &EndpointToken,
) -> Commit {
    let of_token = |binding: &Binding| binding.token == Some(token.id);
    let removal = presence::remove(mint, endpoint, bindings, of_token, BindingEnd::TokenRevoked);
    let mut commit = removal.unwrap_or_else(|| Commit {
        // A binding that is made with it at this moment is to be seen.
        preconditions: vec![Precondition::BindingsAt(
            endpoint.id,
            endpoint.bindings_revision,
        )],
        ..Commit::empty(endpoint.account, mint.now)
    });
    commit
        .preconditions
        .push(Precondition::EndpointTokenLive(token.id));
    commit.writes.push(Write::EndpointTokenRevoke(token.id));
    commit
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Scope;
    use crate::decide::testing::{Seeded, endpoint};
    use crate::{AccountId, Timestamp, TokenId};

    fn caller(expires_at: Option<Timestamp>) -> Caller {
        Caller {
            account: AccountId([1; 16]),
            token: TokenId([1; 16]),
            token_name: "backend".into(),
            scopes: [Scope::EndpointsUpdate].into(),
            endpoints: None,
            expires_at,
        }
    }

    fn ask(
        caller: &Caller,
        endpoint: Option<&Endpoint>,
        expires_in_s: i64,
    ) -> Result<(Commit, CreatedEndpointToken), Vec<String>> {
        let entropy = Seeded::default();
        let new = NewEndpointToken {
            endpoint: EndpointId([3; 16]),
            expires_in_s,
        };
        create(&Mint::new(Timestamp(0), &entropy), caller, endpoint, &new)
            .map_err(|problems| problems.iter().map(|p| p.field.join(".")).collect())
    }

    #[test]
    fn a_token_ends_with_its_own_time_or_its_minters() {
        let alice = endpoint("alice");
        let (commit, created) = ask(&caller(None), Some(&alice), 60).unwrap();
        assert_eq!(created.token.expires_at, Timestamp(60_000_000));
        assert_eq!(created.secret.unwrap().expose().len(), 32);
        assert_eq!(
            commit.preconditions[TOO_MANY_AT],
            Precondition::EndpointTokensLeft(alice.id, Timestamp(0))
        );
        let minter = caller(Some(Timestamp(5_000_000)));
        let (_, created) = ask(&minter, Some(&alice), 60).unwrap();
        assert_eq!(created.token.expires_at, Timestamp(5_000_000));
    }

    #[test]
    fn all_that_is_wrong_is_told_together() {
        let echo = Endpoint {
            simulation: Some(crate::endpoint::Simulation::Echo),
            ..endpoint("echo")
        };
        for seconds in [0, -1, i64::from(LIFE_S_MAX) + 1, i64::MAX] {
            for found in [None, Some(&echo)] {
                let fields = ask(&caller(None), found, seconds).unwrap_err();
                assert_eq!(fields, ["expiresInSeconds", "endpointId"]);
            }
        }
    }
}

//! Endpoint tokens: minting and revoking short-lived passwords.

use super::settle::Decision;
use super::{App, Outcome, contended, key_reused};
use crate::access::{Caller, Scope};
use crate::commit::Answer;
use crate::decide::endpoint_tokens::{
    CreatedEndpointToken, NewEndpointToken, TOO_MANY_AT, create, revoke, too_many,
};
use crate::endpoint_token::EndpointToken;
use crate::error::Problem;
use crate::ports::store::{EndpointKey, Found};
use crate::{EndpointTokenId, Error, Fault};

impl App {
    /// Makes a short-lived password of an endpoint. Scope: `endpoints.update`; a bound token makes those of its
    /// endpoints, which end with it.
    ///
    /// # Errors
    /// All that is wrong with it. In a replay the secret is `None`.
    pub async fn endpoint_token_create(
        &self,
        caller: &Caller,
        new: &NewEndpointToken,
        key: Option<&str>,
    ) -> Result<Outcome<CreatedEndpointToken>, Fault> {
        caller.require(Scope::EndpointsUpdate)?;
        let input = format!("{new:?}");
        let idempotency =
            self.idempotency(caller, "createEndpointToken", key, &[input.as_bytes()])?;
        for _ in 0..super::ATTEMPTS {
            let found = self
                .store
                .endpoint(caller.account, EndpointKey::Id(new.endpoint))
                .await?;
            let endpoint = match &found {
                Found::One(endpoint) if caller.sees(endpoint.id) => Some(endpoint),
                Found::One(_) | Found::None | Found::Ambiguous => None,
            };
            let problems = match create(&self.mint(), caller, endpoint, new) {
                Err(problems) => problems,
                Ok((mut commit, created)) => {
                    commit.idempotency = idempotency
                        .clone()
                        .map(|record| record.giving(vec![created.token.id.0]));
                    match self.commit(commit).await? {
                        Answer::Applied(_) => {
                            return Ok(Outcome {
                                value: created,
                                replayed: false,
                            });
                        }
                        Answer::Replayed(ids) => return self.token_replayed(caller, &ids).await,
                        Answer::KeyReused => return Err(key_reused()),
                        Answer::Failed(TOO_MANY_AT) => vec![too_many()],
                        Answer::Failed(_) => continue,
                    }
                }
            };
            let ids = self
                .replay_of(caller, idempotency.as_ref(), problems)
                .await?;
            return self.token_replayed(caller, &ids).await;
        }
        Err(contended().into())
    }

    async fn token_replayed(
        &self,
        caller: &Caller,
        ids: &[[u8; 16]],
    ) -> Result<Outcome<CreatedEndpointToken>, Fault> {
        let id = EndpointTokenId(ids.first().copied().unwrap_or_default());
        let token = self.store.endpoint_token(caller.account, id).await?;
        Ok(Outcome {
            value: CreatedEndpointToken {
                token: token.ok_or_else(|| Error::not_found("endpoint token"))?,
                secret: None,
            },
            replayed: true,
        })
    }

    /// Revokes an endpoint token and removes what was registered with it. Scope: `endpoints.update`.
    ///
    /// # Errors
    /// `NotFound` for an unknown or revoked one.
    pub async fn endpoint_token_revoke(
        &self,
        caller: &Caller,
        id: EndpointTokenId,
        key: Option<&str>,
    ) -> Result<Outcome<EndpointToken>, Fault> {
        caller.require(Scope::EndpointsUpdate)?;
        let idempotency = self.idempotency(caller, "revokeEndpointToken", key, &[&id.0])?;
        let settled = self.settle(
            caller,
            idempotency,
            false,
            move || async move {
                let token = self.store.endpoint_token(caller.account, id).await?;
                let live =
                    token.filter(|token| caller.sees(token.endpoint) && token.revoked_at.is_none());
                let unknown = || Fault::from(Problem::not_found("id", "endpoint token"));
                let token = live.ok_or_else(unknown)?;
                let bound = self
                    .store
                    .endpoint_bindings(caller.account, token.endpoint)
                    .await?;
                let (endpoint, mut bindings) = bound.ok_or_else(unknown)?;
                self.refreshes.overlay(&mut bindings);
                let commit = revoke(&self.mint(), &endpoint, &bindings, &token);
                let revoked_at = Some(commit.at);
                Ok(Decision {
                    commit: Some(commit),
                    gives: vec![id.0],
                    value: EndpointToken {
                        revoked_at,
                        ..token
                    },
                })
            },
            move |_| async move {
                let token = self.store.endpoint_token(caller.account, id).await?;
                let visible = token.filter(|token| caller.sees(token.endpoint));
                Ok(visible.ok_or_else(|| Error::not_found("endpoint token"))?)
            },
        );
        Ok(settled.await?.into())
    }
}

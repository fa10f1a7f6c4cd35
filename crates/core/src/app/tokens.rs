//! Tokens: checking, minting, revoking, and ending the sessions of those that are gone.

use super::{App, Outcome, contended, key_reused};
use crate::access::{Caller, Scope};
use crate::commit::Answer;
use crate::decide::tokens::{CreatedToken, NewToken, create, revoke, secret_hash, unknown};
use crate::page::{ListKind, Page, PageCursors, PageKey, PageRequest};
use crate::ports::store::EndpointFilter;
use crate::token::ApiToken;
use crate::{AccountId, EndpointId, Error, ErrorKind, Fault, Timestamp, TokenId};
use event_listener::Event;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Who waits for the end of which token's sessions.
pub(super) struct Sessions {
    waiting: Mutex<HashMap<TokenId, Waiting>>,
    swept_to: Mutex<Timestamp>,
}

#[derive(Default)]
struct Waiting {
    sessions: usize,
    revoked: bool,
    ended: std::sync::Arc<Event>,
}

impl Sessions {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            waiting: Mutex::default(),
            swept_to: Mutex::new(now),
        }
    }
}

impl App {
    /// Finds the holder of a bearer secret.
    ///
    /// # Errors
    /// `Unauthenticated` for an unknown, revoked or expired one; all read the same.
    pub async fn token_check(&self, secret: &str) -> Result<Caller, Error> {
        let token = self.store.token_by_hash(secret_hash(secret)).await?;
        let now = self.now();
        match token {
            Some(token)
                if token.revoked_at.is_none() && token.expires_at.is_none_or(|end| now < end) =>
            {
                Ok(Caller {
                    account: token.account,
                    token: token.id,
                    token_name: token.name.into(),
                    scopes: token.scopes.into(),
                    endpoints: token.endpoints.map(Into::into),
                    expires_at: token.expires_at,
                })
            }
            _ => Err(Error::new(
                ErrorKind::Unauthenticated,
                "The token is unknown, revoked or expired.",
            )),
        }
    }

    /// Mints a token for the operator.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub async fn token_issue(
        &self,
        account: AccountId,
        new: &NewToken,
    ) -> Result<CreatedToken, Fault> {
        let known = self.known_endpoints(account, new).await?;
        let (commit, created) =
            create(&self.mint(), account, None, new, &known).map_err(Fault::Refused)?;
        match self.commit(commit).await? {
            Answer::Applied(_) => Ok(created),
            Answer::Replayed(_) | Answer::KeyReused | Answer::Failed(_) => Err(contended().into()),
        }
    }

    /// Mints a token with a subset of the caller's rights. Scope: `tokens.create`.
    ///
    /// # Errors
    /// All that is wrong with it. In a replay the secret is `None`.
    pub async fn token_create(
        &self,
        caller: &Caller,
        new: &NewToken,
        key: Option<&str>,
    ) -> Result<Outcome<CreatedToken>, Fault> {
        caller.require(Scope::TokensCreate)?;
        let input = format!("{new:?}");
        let idempotency = self.idempotency(caller, "createApiToken", key, &[input.as_bytes()])?;
        let known = self.known_endpoints(caller.account, new).await?;
        let ids = match create(&self.mint(), caller.account, Some(caller), new, &known) {
            Err(problems) => {
                self.replay_of(caller, idempotency.as_ref(), problems)
                    .await?
            }
            Ok((mut commit, created)) => {
                commit.idempotency =
                    idempotency.map(|record| record.giving(vec![created.token.id.0]));
                match self.commit(commit).await? {
                    Answer::Applied(_) => {
                        return Ok(Outcome {
                            value: created,
                            replayed: false,
                        });
                    }
                    Answer::Replayed(ids) => ids,
                    Answer::KeyReused => return Err(key_reused()),
                    // The caller's own token was revoked meanwhile.
                    Answer::Failed(_) => {
                        return Err(Error::new(
                            ErrorKind::Unauthenticated,
                            "The token is unknown, revoked or expired.",
                        )
                        .into());
                    }
                }
            }
        };
        let id = TokenId(ids.first().copied().unwrap_or_default());
        let token = self.store.token(caller.account, id).await?;
        let token = token.ok_or_else(|| Error::not_found("token"))?;
        Ok(Outcome {
            value: CreatedToken {
                token,
                secret: None,
            },
            replayed: true,
        })
    }

    async fn known_endpoints(
        &self,
        account: AccountId,
        new: &NewToken,
    ) -> Result<Vec<EndpointId>, Error> {
        let Some(ids) = &new.endpoints else {
            return Ok(Vec::new());
        };
        let ids = ids
            .iter()
            .copied()
            .take(crate::token::TOKEN_ENDPOINTS_MAX)
            .collect();
        let found = self.store.endpoints_by_ids(account, ids).await?;
        Ok(found.into_iter().map(|endpoint| endpoint.id).collect())
    }

    /// Revokes a token. Scope: `tokens.delete`. Its open streams end within two seconds.
    ///
    /// # Errors
    /// `NotFound` for an unknown or revoked one.
    pub async fn token_revoke(
        &self,
        caller: &Caller,
        id: TokenId,
        key: Option<&str>,
    ) -> Result<Outcome<ApiToken>, Fault> {
        caller.require(Scope::TokensDelete)?;
        let idempotency = self.idempotency(caller, "revokeApiToken", key, &[&id.0])?;
        let token = self.store.token(caller.account, id).await?;
        match token.filter(|t| t.revoked_at.is_none() && may_manage(caller, t)) {
            None => {
                self.replay_of(caller, idempotency.as_ref(), vec![unknown()])
                    .await?;
            }
            Some(token) => {
                let mut commit = revoke(&self.mint(), &token);
                let revoked_at = Some(commit.at);
                commit.idempotency = idempotency.map(|record| record.giving(vec![id.0]));
                match self.commit(commit).await? {
                    Answer::Applied(_) => {
                        return Ok(Outcome {
                            value: ApiToken {
                                revoked_at,
                                ..token
                            },
                            replayed: false,
                        });
                    }
                    Answer::Replayed(_) => {}
                    Answer::KeyReused => return Err(key_reused()),
                    Answer::Failed(_) => return Err(unknown().into()),
                }
            }
        }
        let token = self.store.token(caller.account, id).await?;
        Ok(Outcome {
            value: token.ok_or_else(|| Error::not_found("token"))?,
            replayed: true,
        })
    }

    /// Lists tokens, newest first. Scope: `tokens.read`. A bound token sees none: tokens are the account's.
    ///
    /// # Errors
    /// `Forbidden`; `Invalid` for a wrong page.
    pub async fn tokens(
        &self,
        caller: &Caller,
        request: &PageRequest,
    ) -> Result<Page<(String, ApiToken)>, Error> {
        caller.require(Scope::TokensRead)?;
        let cursors = PageCursors::new(&self.keys, caller.account, ListKind::Tokens, String::new());
        let slice = cursors.slice(request)?;
        if caller.endpoints.is_some() {
            return Ok(Page {
                items: Vec::new(),
                has_next: false,
                has_previous: false,
            });
        }
        let page = self.store.tokens(caller.account, slice).await?;
        Ok(page.map(|token| {
            let key = PageKey {
                position: token.created_at.0,
                tie: token.id.0,
            };
            (cursors.encode(key), token)
        }))
    }

    /// Counts tokens. Scope: `tokens.read`.
    ///
    /// # Errors
    /// `Forbidden`.
    pub async fn tokens_count(&self, caller: &Caller) -> Result<i64, Error> {
        caller.require(Scope::TokensRead)?;
        if caller.endpoints.is_some() {
            return Ok(0);
        }
        self.store.tokens_count(caller.account).await
    }

    /// Returns a token. Scope: `tokens.read`.
    ///
    /// # Errors
    /// `Forbidden`, `NotFound`.
    pub async fn token(&self, caller: &Caller, id: TokenId) -> Result<ApiToken, Error> {
        caller.require(Scope::TokensRead)?;
        self.store
            .token(caller.account, id)
            .await?
            .filter(|token| may_manage(caller, token))
            .ok_or_else(|| Error::not_found("token"))
    }

    /// Waits until a token is revoked. It never returns for a token that stays valid; its expiry is the caller's to
    /// time, from [`Caller::expires_at`].
    pub async fn token_revoked(&self, id: TokenId) {
        let session = Session::open(self, id);
        loop {
            let listener = session.ended.listen();
            if self.revoked(id) {
                return;
            }
            listener.await;
        }
    }

    fn revoked(&self, id: TokenId) -> bool {
        let waiting = self
            .sessions
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        waiting.get(&id).is_some_and(|w| w.revoked)
    }

    /// Ends the sessions of tokens that were revoked since the last sweep, on any node or by the command line. Called
    /// once a second.
    ///
    /// # Errors
    /// Those of the store; the next sweep covers the time.
    pub async fn sessions_sweep(&self) -> Result<(), Error> {
        /// A revocation is stamped when it is decided and seen when it is committed; this covers the time between.
        const OVERLAP: Duration = Duration::from_secs(10);
        let now = self.now();
        let since = *self
            .sessions
            .swept_to
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let revoked = self
            .store
            .tokens_revoked_since(since.minus(OVERLAP))
            .await?;
        let mut waiting = self
            .sessions
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for id in revoked {
            if let Some(token) = waiting.get_mut(&id) {
                token.revoked = true;
                token.ended.notify(usize::MAX);
            }
        }
        drop(waiting);
        *self
            .sessions
            .swept_to
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = now;
        Ok(())
    }
}

/// A bound token manages only tokens that are bound within its own endpoints.
fn may_manage(caller: &Caller, token: &ApiToken) -> bool {
    match (&caller.endpoints, &token.endpoints) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(_), Some(bound)) => bound.iter().all(|id| caller.sees(*id)),
    }
}

/// One waiting session; leaves the register when it is dropped.
struct Session<'a> {
    app: &'a App,
    id: TokenId,
    ended: std::sync::Arc<Event>,
}

impl<'a> Session<'a> {
    fn open(app: &'a App, id: TokenId) -> Self {
        let mut waiting = app
            .sessions
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let entry = waiting.entry(id).or_default();
        entry.sessions += 1;
        let ended = entry.ended.clone();
        Self { app, id, ended }
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        let mut waiting = self
            .app
            .sessions
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = waiting.get_mut(&self.id) {
            entry.sessions -= 1;
            if entry.sessions == 0 {
                waiting.remove(&self.id);
            }
        }
    }
}

/// Narrows a filter to what a caller sees.
pub(super) fn visible(caller: &Caller) -> Option<Vec<EndpointId>> {
    caller.endpoints.as_ref().map(|bound| bound.to_vec())
}

/// Narrows an endpoint filter to what a caller sees.
pub(super) fn narrowed(caller: &Caller, filter: EndpointFilter) -> EndpointFilter {
    EndpointFilter {
        visible: visible(caller),
        ..filter
    }
}

//! Tokens: checking, minting, revoking, and ending the sessions of those that are gone.

use super::{App, Outcome, contended, key_reused};
use crate::access::{Caller, Scope};
use crate::commit::Answer;
use crate::decide::tokens::{CreatedToken, NewToken, create, revoke, secret_hash, unknown};
use crate::page::{ListKind, Page, PageCursors, PageKey, PageRequest, RowCursor};
use crate::ports::store::EndpointFilter;
use crate::token::ApiToken;
use crate::{AccountId, EndpointId, Error, ErrorKind, Fault, Timestamp, TokenId};
use event_listener::Event;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
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

/// How long a token that was good is taken as good without another look. Its revocation holds at once on the node that revokes it,
/// and after this time on all others.
const CHECK_HOLDS: Duration = Duration::from_secs(1);
/// The most tokens that are known at a time, of at most about two KiB each: one may be bound to a hundred endpoints.
const CHECKED_MAX: usize = 1024;

/// Holders of the secrets that were looked up within [`CHECK_HOLDS`].
#[derive(Default)]
pub(super) struct Checked(Mutex<Holders>);

#[derive(Default)]
struct Holders {
    /// When each was looked up, by the hashes of their secrets.
    callers: HashMap<[u8; 32], (Timestamp, Caller)>,
    /// Revocations so far: what was read before one is not taken in after it.
    revocations: u64,
}

impl Checked {
    fn holders(&self) -> MutexGuard<'_, Holders> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the holder, or how many revocations there were before it has to be looked up.
    fn get(&self, hash: &[u8; 32], now: Timestamp) -> Result<Caller, u64> {
        let holders = self.holders();
        match holders.callers.get(hash) {
            // A clock that was set back would let it hold for longer.
            Some((at, caller)) if *at <= now && now.since(*at) < CHECK_HOLDS => Ok(caller.clone()),
            _ => Err(holders.revocations),
        }
    }

    fn put(&self, hash: [u8; 32], at: Timestamp, caller: &Caller, revocations: u64) {
        let mut holders = self.holders();
        if holders.revocations != revocations {
            return;
        }
        if holders.callers.len() >= CHECKED_MAX {
            holders.callers.clear();
        }
        holders.callers.insert(hash, (at, caller.clone()));
    }

    /// Forgets all, once a token may have been revoked.
    pub(super) fn forget(&self) {
        let mut holders = self.holders();
        holders.callers.clear();
        holders.revocations += 1;
    }
}

impl App {
    /// Finds the holder of a bearer secret. It is looked up at most once a second.
    ///
    /// # Errors
    /// `Unauthenticated` for an unknown, revoked or expired one; all read the same.
    pub async fn token_check(&self, secret: &str) -> Result<Caller, Error> {
        let hash = secret_hash(secret);
        let asked_at = self.now();
        let caller = match self.checked.get(&hash, asked_at) {
            Ok(caller) => Some(caller),
            Err(revocations) => {
                let token = self.store.token_by_hash(hash).await?;
                let caller = token
                    .filter(|token| token.revoked_at.is_none())
                    .map(|token| Caller {
                        account: token.account,
                        token: token.id,
                        token_name: token.name.into(),
                        scopes: token.scopes.into(),
                        endpoints: token.endpoints.map(Into::into),
                        expires_at: token.expires_at,
                    });
                if let Some(caller) = &caller {
                    self.checked.put(hash, asked_at, caller, revocations);
                }
                caller
            }
        };
        let now = self.now();
        caller
            .filter(|caller| caller.expires_at.is_none_or(|end| now < end))
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::Unauthenticated,
                    "The token is unknown, revoked or expired.",
                )
            })
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
    ) -> Result<Page<(RowCursor, ApiToken)>, Error> {
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
        Ok(cursors.page(request, page, |token| PageKey {
            position: token.created_at.0,
            tie: token.id.0,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn caller() -> Caller {
        Caller {
            account: AccountId([1; 16]),
            token: TokenId([2; 16]),
            token_name: "t".into(),
            scopes: [].into(),
            endpoints: None,
            expires_at: None,
        }
    }

    #[test]
    fn a_look_up_holds_for_a_second() {
        assert_eq!(CHECK_HOLDS, Duration::from_secs(1));
        let checked = Checked::default();
        let at = Timestamp(5_000_000);
        let revocations = checked.get(&[7; 32], at).unwrap_err();
        checked.put([7; 32], at, &caller(), revocations);
        assert_eq!(
            checked.get(&[7; 32], at.plus(CHECK_HOLDS / 2)),
            Ok(caller())
        );
        assert!(checked.get(&[8; 32], at).is_err());
        assert!(checked.get(&[7; 32], at.plus(CHECK_HOLDS)).is_err());
        // The clock was set back.
        assert!(checked.get(&[7; 32], at.minus(CHECK_HOLDS)).is_err());
    }

    #[test]
    fn what_was_read_before_a_revocation_is_not_taken_in_after_it() {
        let checked = Checked::default();
        let at = Timestamp(5_000_000);
        let revocations = checked.get(&[7; 32], at).unwrap_err();
        checked.put([8; 32], at, &caller(), revocations);
        checked.forget();
        checked.put([7; 32], at, &caller(), revocations);
        assert!(checked.get(&[7; 32], at).is_err());
        assert!(checked.get(&[8; 32], at).is_err());
    }
}

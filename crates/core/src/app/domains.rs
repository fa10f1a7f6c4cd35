//! Domains.

use super::{App, Outcome, contended, key_reused};
use crate::access::{Caller, Scope};
use crate::commit::Answer;
use crate::decide::domains::{DomainSnapshot, NewDomain, alias_add, create, delete, names};
use crate::domain::Domain;
use crate::error::{Problem, ProblemCode};
use crate::page::{ListKind, Page, PageCursors, PageKey, PageRequest};
use crate::{DomainId, Error, Fault};

impl App {
    /// Makes a domain. Scope: `domains.create`; not for a token bound to endpoints.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub async fn domain_create(
        &self,
        caller: &Caller,
        new: &NewDomain,
        key: Option<&str>,
    ) -> Result<Outcome<Domain>, Fault> {
        require_whole(caller, Scope::DomainsCreate)?;
        let input = format!("{new:?}");
        let idempotency = self.idempotency(caller, "createDomain", key, &[input.as_bytes()])?;
        for _ in 0..super::ATTEMPTS {
            let snapshot = DomainSnapshot {
                taken: match names(new) {
                    Ok(names) => self.store.domain_names_taken(names).await?,
                    Err(_) => Vec::new(),
                },
                count: self.store.domains_count(caller.account).await?,
            };
            let (mut commit, domain) = match create(&self.mint(), caller.account, new, &snapshot) {
                Ok(decided) => decided,
                Err(problems) => {
                    let ids = self
                        .replay_of(caller, idempotency.as_ref(), problems)
                        .await?;
                    return self.domain_replayed(caller, &ids).await;
                }
            };
            commit.idempotency = idempotency
                .clone()
                .map(|record| record.giving(vec![domain.id.0]));
            match self.commit(commit).await? {
                Answer::Applied(_) => {
                    return Ok(Outcome {
                        value: domain,
                        replayed: false,
                    });
                }
                Answer::Replayed(ids) => return self.domain_replayed(caller, &ids).await,
                Answer::KeyReused => return Err(key_reused()),
                Answer::Failed(_) => {}
            }
        }
        Err(contended().into())
    }

    async fn domain_replayed(
        &self,
        caller: &Caller,
        ids: &[[u8; 16]],
    ) -> Result<Outcome<Domain>, Fault> {
        let ids = ids.iter().copied().map(DomainId).collect();
        let found = self.store.domains_by_ids(caller.account, ids).await?;
        let value = found.into_iter().next();
        Ok(Outcome {
            value: value.ok_or_else(|| Error::not_found("domain"))?,
            replayed: true,
        })
    }

    /// Adds an alias to a domain and returns the domain; an alias that it has already changes nothing. Scope:
    /// `domains.update`; not for a token bound to endpoints.
    ///
    /// # Errors
    /// `NotFound`; all that is wrong with the alias.
    pub async fn domain_alias_add(
        &self,
        caller: &Caller,
        id: DomainId,
        alias: &str,
    ) -> Result<Domain, Fault> {
        require_whole(caller, Scope::DomainsUpdate)?;
        let canonical = sip_validate::domain(alias).ok();
        for _ in 0..super::ATTEMPTS {
            let domain = self
                .store
                .domains_by_ids(caller.account, vec![id])
                .await?
                .into_iter()
                .next()
                .ok_or_else(|| Fault::from(Problem::not_found("id", "domain")))?;
            let is_taken = match &canonical {
                Some(name) if domain.aliases.iter().any(|alias| alias == name) => {
                    return Ok(domain);
                }
                Some(name) => {
                    let names = vec![name.clone().into_owned()];
                    !self.store.domain_names_taken(names).await?.is_empty()
                }
                None => false,
            };
            let (commit, changed) =
                alias_add(&self.mint(), &domain, alias, is_taken).map_err(Fault::Refused)?;
            match self.commit(commit).await? {
                Answer::Applied(_) => return Ok(changed),
                Answer::Replayed(_) | Answer::KeyReused | Answer::Failed(_) => {}
            }
        }
        Err(contended().into())
    }

    /// Deletes a domain without endpoints. Scope: `domains.delete`; not for a token bound to endpoints.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` while it has endpoints.
    pub async fn domain_delete(
        &self,
        caller: &Caller,
        id: DomainId,
        key: Option<&str>,
    ) -> Result<Outcome<DomainId>, Fault> {
        require_whole(caller, Scope::DomainsDelete)?;
        let idempotency = self.idempotency(caller, "deleteDomain", key, &[&id.0])?;
        for _ in 0..super::ATTEMPTS {
            let found = self
                .store
                .domains_by_ids(caller.account, vec![id])
                .await?
                .into_iter()
                .next();
            let Some(domain) = found else {
                let problems = vec![Problem::not_found("id", "domain")];
                self.replay_of(caller, idempotency.as_ref(), problems)
                    .await?;
                return Ok(Outcome {
                    value: id,
                    replayed: true,
                });
            };
            let mut commit = delete(&self.mint(), &domain);
            commit.idempotency = idempotency.clone();
            match self.commit(commit).await? {
                Answer::Applied(_) => {
                    return Ok(Outcome {
                        value: id,
                        replayed: false,
                    });
                }
                Answer::Replayed(_) => {
                    return Ok(Outcome {
                        value: id,
                        replayed: true,
                    });
                }
                Answer::KeyReused => return Err(key_reused()),
                // The second precondition: it has endpoints.
                Answer::Failed(1) => {
                    return Err(Problem::new(
                        ProblemCode::Conflict,
                        "id",
                        "The domain has endpoints; delete them first.",
                    )
                    .into());
                }
                Answer::Failed(_) => {}
            }
        }
        Err(contended().into())
    }

    /// Returns a domain. Scope: `domains.read` or, as part of an endpoint, `endpoints.read`.
    ///
    /// # Errors
    /// `Forbidden`, `NotFound`.
    pub async fn domain(&self, caller: &Caller, id: DomainId) -> Result<Domain, Error> {
        require_whole(caller, Scope::DomainsRead)?;
        self.store
            .domains_by_ids(caller.account, vec![id])
            .await?
            .into_iter()
            .next()
            .ok_or_else(|| Error::not_found("domain"))
    }

    /// Returns a domain by its name or an alias. Scope: `domains.read`.
    ///
    /// # Errors
    /// `Forbidden`, `NotFound`.
    pub async fn domain_by_name(&self, caller: &Caller, name: &str) -> Result<Domain, Error> {
        require_whole(caller, Scope::DomainsRead)?;
        let name = sip_validate::domain(name).map_err(|_| Error::not_found("domain"))?;
        self.store
            .domain_by_name(caller.account, name.into_owned())
            .await?
            .ok_or_else(|| Error::not_found("domain"))
    }

    /// Returns the domains of endpoints that the caller was given. Scope: `endpoints.read`.
    ///
    /// # Errors
    /// `Forbidden`.
    pub async fn domains_by_ids(
        &self,
        caller: &Caller,
        ids: Vec<DomainId>,
    ) -> Result<Vec<Domain>, Error> {
        caller.require(Scope::EndpointsRead)?;
        self.store.domains_by_ids(caller.account, ids).await
    }

    /// Lists domains, newest first. Scope: `domains.read`.
    ///
    /// # Errors
    /// `Forbidden`; `Invalid` for a wrong page.
    pub async fn domains(
        &self,
        caller: &Caller,
        request: &PageRequest,
    ) -> Result<Page<(String, Domain)>, Error> {
        require_whole(caller, Scope::DomainsRead)?;
        let cursors =
            PageCursors::new(&self.keys, caller.account, ListKind::Domains, String::new());
        let page = self
            .store
            .domains(caller.account, cursors.slice(request)?)
            .await?;
        Ok(page.map(|domain| {
            let key = PageKey {
                position: domain.created_at.0,
                tie: domain.id.0,
            };
            (cursors.encode(key), domain)
        }))
    }

    /// Counts domains. Scope: `domains.read`.
    ///
    /// # Errors
    /// `Forbidden`.
    pub async fn domains_count(&self, caller: &Caller) -> Result<i64, Error> {
        require_whole(caller, Scope::DomainsRead)?;
        self.store.domains_count(caller.account).await
    }
}

/// Domains are the account's: a token bound to endpoints sees them only through its endpoints.
fn require_whole(caller: &Caller, scope: Scope) -> Result<(), Error> {
    caller.require(scope)?;
    if caller.endpoints.is_some() {
        return Err(Error::not_found("domain"));
    }
    Ok(())
}

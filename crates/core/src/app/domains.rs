//! Domains.

use super::settle::Decision;
use super::{App, Outcome};
use crate::access::{Caller, Scope};
use crate::decide::domains::{
    DomainPatch, DomainSnapshot, NewDomain, UpdatedDomain, aliases, create, delete, delete_begin,
    has_gateway, names, not_empty, update,
};
use crate::domain::Domain;
use crate::endpoint::EndpointType;
use crate::error::Problem;
use crate::page::{ListKind, Page, PageCursors, PageKey, PageRequest, RowCursor};
use crate::patch::Field;
use crate::ports::store::EndpointFilter;
use crate::{DomainId, Error, Fault};

impl App {
    /// Makes a domain, or with `dry_run` only says what would come of it. Scope: `domains.create`; not for a token bound to
    /// endpoints.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub async fn domain_create(
        &self,
        caller: &Caller,
        new: &NewDomain,
        dry_run: bool,
        key: Option<&str>,
    ) -> Result<Outcome<Domain>, Fault> {
        caller.require_whole(Scope::DomainsCreate, "domain")?;
        let input = format!("{new:?}");
        let idempotency = self.idempotency(caller, "createDomain", key, &[input.as_bytes()])?;
        let settled = self.settle(
            caller,
            idempotency,
            dry_run,
            move || async move {
                let snapshot = DomainSnapshot {
                    taken: match names(new) {
                        Ok(names) => self.store.domain_names_taken(names).await?,
                        Err(_) => Vec::new(),
                    },
                    count: self.store.domains_count(caller.account).await?,
                };
                let (commit, domain) =
                    create(&self.mint(), caller.account, new, &snapshot).map_err(Fault::Refused)?;
                Ok(Decision {
                    commit: Some(commit),
                    gives: vec![domain.id.0],
                    value: domain,
                })
            },
            move |ids| async move { self.domain_of(caller, &ids).await },
        );
        Ok(settled.await?.into())
    }

    async fn domain_of(&self, caller: &Caller, ids: &[[u8; 16]]) -> Result<Domain, Fault> {
        let ids = ids.iter().copied().map(DomainId).collect();
        let found = self.store.domains_by_ids(caller.account, ids).await?;
        let domain = found.into_iter().next();
        Ok(domain.ok_or_else(|| Error::not_found("domain"))?)
    }

    /// Changes a domain, or with `dry_run` only says what would come of it. Scope: `domains.update`; not for a token bound to
    /// endpoints.
    ///
    /// # Errors
    /// `NotFound`; all that is wrong with the patch. In a replay no field is told as changed.
    pub async fn domain_update(
        &self,
        caller: &Caller,
        id: DomainId,
        patch: &DomainPatch,
        dry_run: bool,
        key: Option<&str>,
    ) -> Result<Outcome<UpdatedDomain>, Fault> {
        caller.require_whole(Scope::DomainsUpdate, "domain")?;
        let input = format!("{patch:?}");
        let idempotency =
            self.idempotency(caller, "updateDomain", key, &[&id.0, input.as_bytes()])?;
        let settled = self.settle(
            caller,
            idempotency,
            dry_run,
            move || async move {
                let domain = self.domain_to_change(caller, id).await?;
                let taken = match &patch.aliases {
                    Field::Value(given) => match aliases("", given) {
                        Ok(names) => self.store.domain_names_taken(names).await?,
                        Err(_) => Vec::new(),
                    },
                    Field::Absent | Field::Null => Vec::new(),
                };
                let (commit, updated) =
                    update(&self.mint(), &domain, patch, &taken).map_err(Fault::Refused)?;
                Ok(Decision {
                    commit,
                    gives: vec![id.0],
                    value: updated,
                })
            },
            move |ids| async move {
                Ok(UpdatedDomain {
                    domain: self.domain_of(caller, &ids).await?,
                    changed: Vec::new(),
                })
            },
        );
        Ok(settled.await?.into())
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
        caller.require_whole(Scope::DomainsUpdate, "domain")?;
        let mut all = self.domain_to_change(caller, id).await?.aliases;
        if !all.iter().any(|known| known.eq_ignore_ascii_case(alias)) {
            all.push(alias.to_owned());
        }
        let patch = DomainPatch {
            aliases: Field::Value(all),
            ..DomainPatch::default()
        };
        let outcome = self.domain_update(caller, id, &patch, false, None).await?;
        Ok(outcome.value.domain)
    }

    /// Deletes a domain, or with `dry_run` only says what would come of it. Without `cascade` it must have no endpoints; with
    /// it, its names are free, its lists are without it and its endpoints are disabled at once, and [`App::deletion_step`]
    /// deletes these. Scope: `domains.delete`, with `cascade` also `endpoints.delete`; not for a token bound to endpoints.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` while it has endpoints, unless `cascade`, and while it has the system gateway in any case.
    pub async fn domain_delete(
        &self,
        caller: &Caller,
        id: DomainId,
        cascade: bool,
        dry_run: bool,
        key: Option<&str>,
    ) -> Result<Outcome<DomainId>, Fault> {
        caller.require_whole(Scope::DomainsDelete, "domain")?;
        if cascade {
            caller.require(Scope::EndpointsDelete)?;
        }
        let input: &[&[u8]] = &[&id.0, &[u8::from(cascade)]];
        let idempotency = self.idempotency(caller, "deleteDomain", key, input)?;
        let settled = self.settle(
            caller,
            idempotency,
            dry_run,
            move || async move {
                let domain = self.domain_to_change(caller, id).await?;
                let of_domain = EndpointFilter {
                    domain: Some(id),
                    ..EndpointFilter::default()
                };
                let gateways = EndpointFilter {
                    kind: Some(EndpointType::SystemGateway),
                    ..of_domain.clone()
                };
                let is_empty = !self.has_endpoints(caller.account, of_domain).await?;
                if !is_empty && !cascade {
                    return Err(not_empty().into());
                }
                if !is_empty && self.has_endpoints(caller.account, gateways).await? {
                    return Err(has_gateway().into());
                }
                let commit = if is_empty {
                    delete(&self.mint(), &domain)
                } else {
                    delete_begin(&self.mint(), &domain)
                };
                Ok(Decision {
                    commit: Some(commit),
                    gives: Vec::new(),
                    value: id,
                })
            },
            move |_| async move { Ok(id) },
        );
        Ok(settled.await?.into())
    }

    async fn domain_to_change(&self, caller: &Caller, id: DomainId) -> Result<Domain, Fault> {
        let found = self.store.domains_by_ids(caller.account, vec![id]).await?;
        found
            .into_iter()
            .next()
            .ok_or_else(|| Problem::not_found("id", "domain").into())
    }

    /// Returns a domain. Scope: `domains.read` or, as part of an endpoint, `endpoints.read`.
    ///
    /// # Errors
    /// `Forbidden`, `NotFound`.
    pub async fn domain(&self, caller: &Caller, id: DomainId) -> Result<Domain, Error> {
        caller.require_whole(Scope::DomainsRead, "domain")?;
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
        caller.require_whole(Scope::DomainsRead, "domain")?;
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
        self.store.domains_of_endpoints(caller.account, ids).await
    }

    /// Lists domains, newest first. Scope: `domains.read`.
    ///
    /// # Errors
    /// `Forbidden`; `Invalid` for a wrong page.
    pub async fn domains(
        &self,
        caller: &Caller,
        request: &PageRequest,
    ) -> Result<Page<(RowCursor, Domain)>, Error> {
        caller.require_whole(Scope::DomainsRead, "domain")?;
        let cursors =
            PageCursors::new(&self.keys, caller.account, ListKind::Domains, String::new());
        let page = self
            .store
            .domains(caller.account, cursors.slice(request)?)
            .await?;
        Ok(cursors.page(request, page, |domain| PageKey {
            position: domain.created_at.0,
            tie: domain.id.0,
        }))
    }

    /// Counts domains. Scope: `domains.read`.
    ///
    /// # Errors
    /// `Forbidden`.
    pub async fn domains_count(&self, caller: &Caller) -> Result<i64, Error> {
        caller.require_whole(Scope::DomainsRead, "domain")?;
        self.store.domains_count(caller.account).await
    }
}

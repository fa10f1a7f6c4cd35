//! Making endpoints: one, or up to a thousand at once.

use crate::access::{Caller, Scope};
use crate::account::Account;
use crate::app::settle::{Decision, Settled};
use crate::app::{App, Outcome};
use crate::decide::endpoints::{
    CreatedEndpoint, EndpointSettings, EndpointsSnapshot, NewEndpoint, create, create_all, name,
};
use crate::endpoint::{BULK_MAX, Endpoint, EndpointType};
use crate::error::{Problem, ProblemDetail};
use crate::{AccountId, DomainId, EndpointId, Error, Fault};
use std::collections::{BTreeSet, HashMap};

/// What became of a bulk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedEndpoints {
    /// What was made, by its place in the input; `None` where one was refused, and, in a replay, where one is gone since.
    pub endpoints: Vec<Option<CreatedEndpoint>>,
    /// Why the others were refused, with fields that begin with `endpoints` and the place. Empty in a replay.
    pub problems: Vec<Problem>,
}

impl App {
    /// Makes an endpoint, or, in a dry run, says what would be made: without a number and a generated password. Scope:
    /// `endpoints.create`; not for a token bound to endpoints.
    ///
    /// # Errors
    /// All that is wrong with it. In a replay the generated password is `None`.
    pub async fn endpoint_create(
        &self,
        caller: &Caller,
        new: &NewEndpoint,
        dry_run: bool,
        key: Option<&str>,
    ) -> Result<Outcome<CreatedEndpoint>, Fault> {
        may_create(caller)?;
        let (input, secrets) = (format!("{new:?}"), new.settings.secrets());
        let parts: Vec<&[u8]> = std::iter::once(&input[..])
            .chain(secrets)
            .map(str::as_bytes)
            .collect();
        let idempotency = self.idempotency(caller, "createEndpoint", key, &parts)?;
        let settled = self.settle(
            caller,
            idempotency,
            dry_run,
            move || async move {
                let snapshot = self
                    .endpoints_snapshot(caller.account, std::slice::from_ref(new))
                    .await?;
                let (commit, mut created) =
                    create(&self.mint(), caller.account, new, &snapshot).map_err(Fault::Refused)?;
                if dry_run {
                    created.generated_password = None;
                }
                Ok(Decision {
                    commit: Some(commit),
                    gives: vec![created.endpoint.id.0],
                    value: created,
                })
            },
            move |ids| async move { self.endpoint_created(caller, &ids).await },
        );
        let mut settled = settled.await?;
        if let Settled::Applied(created, applied) = &mut settled {
            created.endpoint.external_id =
                applied.external_ids.first().copied().unwrap_or_default();
        }
        Ok(settled.into())
    }

    /// Makes endpoints in one commit: all or none when `atomic`, else those that are well. A dry run is as that of
    /// [`App::endpoint_create`]. Scope: `endpoints.create`; not for a token bound to endpoints.
    ///
    /// # Errors
    /// All that is wrong with them, when nothing was made.
    pub async fn endpoints_create(
        &self,
        caller: &Caller,
        new: &[NewEndpoint],
        atomic: bool,
        dry_run: bool,
        key: Option<&str>,
    ) -> Result<Outcome<CreatedEndpoints>, Fault> {
        may_create(caller)?;
        within_bulk(new)?;
        let mode = if atomic { "all or none" } else { "each" };
        let inputs: Vec<String> = new.iter().map(|new| format!("{new:?}")).collect();
        let secrets = new.iter().flat_map(|new| new.settings.secrets());
        let parts: Vec<&[u8]> = std::iter::once(mode)
            .chain(inputs.iter().map(String::as_str))
            .chain(secrets)
            .map(str::as_bytes)
            .collect();
        let idempotency = self.idempotency(caller, "createEndpoints", key, &parts)?;
        let settled = self.settle(
            caller,
            idempotency,
            dry_run,
            move || async move {
                let snapshot = self.endpoints_snapshot(caller.account, new).await?;
                let (commit, results) = create_all(&self.mint(), caller.account, new, &snapshot);
                let mut created = collected(results);
                if !created.problems.is_empty() && (atomic || commit.writes.is_empty()) {
                    return Err(Fault::Refused(created.problems));
                }
                if dry_run {
                    for made in created.endpoints.iter_mut().flatten() {
                        made.generated_password = None;
                    }
                }
                // A place that was refused is kept as the nil id, which no endpoint has.
                let ids = created.endpoints.iter();
                let gives =
                    ids.map(|made| made.as_ref().map_or([0; 16], |made| made.endpoint.id.0));
                Ok(Decision {
                    commit: Some(commit),
                    gives: gives.collect(),
                    value: created,
                })
            },
            move |ids| async move { self.endpoints_created(caller, &ids).await },
        );
        let mut settled = settled.await?;
        if let Settled::Applied(created, applied) = &mut settled {
            let made = created.endpoints.iter_mut().flatten();
            for (made, external_id) in made.zip(&applied.external_ids) {
                made.endpoint.external_id = *external_id;
            }
        }
        Ok(settled.into())
    }

    /// Makes the system gateway of an account, of which there is at most one; for the operator, so there is no caller.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub async fn system_gateway_create(
        &self,
        account: &Account,
        domain: &str,
        name: &str,
    ) -> Result<Endpoint, Fault> {
        let domain = match sip_validate::domain(domain) {
            Ok(canonical) => {
                let canonical = canonical.into_owned();
                self.store.domain_by_name(account.id, canonical).await?
            }
            Err(_) => None,
        };
        let Some(domain) = domain else {
            return Err(Problem::not_found("domain", "domain").into());
        };
        let new = NewEndpoint {
            domain: domain.id,
            name: name.to_owned(),
            kind: EndpointType::SystemGateway,
            settings: EndpointSettings::default(),
        };
        let new = &new;
        self.operate(move || async move {
            let mut snapshot = self
                .endpoints_snapshot(account.id, std::slice::from_ref(new))
                .await?;
            snapshot.has_system_gateway = self.store.has_system_gateway(account.id).await?;
            snapshot.by_operator = true;
            let (commit, created) =
                create(&self.mint(), account.id, new, &snapshot).map_err(Fault::Refused)?;
            Ok((Some(commit), created.endpoint))
        })
        .await
    }

    async fn endpoints_snapshot(
        &self,
        account: AccountId,
        new: &[NewEndpoint],
    ) -> Result<EndpointsSnapshot, Error> {
        let domains: BTreeSet<DomainId> = new.iter().map(|new| new.domain).collect();
        let domains = domains.into_iter().collect();
        let domains = self.store.domains_by_ids(account, domains).await?;
        let names: Vec<(DomainId, String)> = new
            .iter()
            .filter_map(|new| Some((new.domain, name(&new.name).ok()?)))
            .collect();
        let settings = self.store.account_settings(account).await?;
        let taken_in_account = if settings.unique_names {
            let names = names.iter().map(|(_, name)| name.clone()).collect();
            let taken = self.store.account_names_taken(account, names).await?;
            taken.into_iter().collect()
        } else {
            BTreeSet::new()
        };
        let taken = self.store.endpoint_names_taken(account, names).await?;
        let given = new.iter().filter_map(|new| new.settings.numbers.value());
        let numbers = self.numbers_named(account, given).await?;
        let applications = new.iter().map(|new| &new.settings.application);
        Ok(EndpointsSnapshot {
            domains,
            taken: taken.into_iter().collect(),
            unique_names: settings.unique_names,
            taken_in_account,
            profile_encrypts: settings.profile_encrypts,
            applications: self.applications_named(account, applications).await?,
            numbers,
            ..EndpointsSnapshot::default()
        })
    }

    async fn endpoint_created(
        &self,
        caller: &Caller,
        ids: &[[u8; 16]],
    ) -> Result<CreatedEndpoint, Fault> {
        let ids = ids.iter().copied().map(EndpointId).collect();
        let found = self.store.endpoints_by_ids(caller.account, ids).await?;
        let endpoint = found.into_iter().next();
        Ok(CreatedEndpoint {
            endpoint: endpoint.ok_or_else(|| Error::not_found("endpoint"))?,
            generated_password: None,
        })
    }

    async fn endpoints_created(
        &self,
        caller: &Caller,
        ids: &[[u8; 16]],
    ) -> Result<CreatedEndpoints, Fault> {
        let ids: Vec<EndpointId> = ids.iter().copied().map(EndpointId).collect();
        let found = self
            .store
            .endpoints_by_ids(caller.account, ids.clone())
            .await?;
        let mut found: HashMap<EndpointId, Endpoint> =
            found.into_iter().map(|e| (e.id, e)).collect();
        let endpoints = ids.iter().map(|id| {
            found.remove(id).map(|endpoint| CreatedEndpoint {
                endpoint,
                generated_password: None,
            })
        });
        Ok(CreatedEndpoints {
            endpoints: endpoints.collect(),
            problems: Vec::new(),
        })
    }
}

fn may_create(caller: &Caller) -> Result<(), Fault> {
    caller.require(Scope::EndpointsCreate)?;
    if caller.endpoints.is_some() {
        return Err(Problem::not_found("domainId", "domain").into());
    }
    Ok(())
}

fn within_bulk(new: &[NewEndpoint]) -> Result<(), Fault> {
    if (1..=BULK_MAX).contains(&new.len()) {
        return Ok(());
    }
    let problem = Problem::validation(
        "endpoints",
        format!("Give 1 to {BULK_MAX} endpoints, not {}.", new.len()),
    );
    Err(problem
        .with_detail(ProblemDetail {
            limit: i64::try_from(BULK_MAX).ok(),
            actual: i64::try_from(new.len()).ok(),
            ..ProblemDetail::default()
        })
        .into())
}

/// Puts each problem under the place of its endpoint.
fn collected(results: Vec<Result<CreatedEndpoint, Vec<Problem>>>) -> CreatedEndpoints {
    let mut problems = Vec::new();
    let mut endpoints = Vec::with_capacity(results.len());
    for (i, result) in results.into_iter().enumerate() {
        endpoints.push(result.map_or_else(
            |found| {
                let place = format!("endpoints.{i}");
                problems.extend(found.into_iter().map(|problem| problem.under(&place)));
                None
            },
            Some,
        ));
    }
    CreatedEndpoints {
        endpoints,
        problems,
    }
}

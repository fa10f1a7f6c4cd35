//! Importing and exporting the endpoints of an account, which the operator does from the command line: there is no caller.

use crate::app::App;
use crate::application::{APPLICATIONS_MAX, Application};
use crate::decide::endpoints::{
    EndpointsSnapshot, ImportRow, ImportSnapshot, Imported, Met, StoredEndpoint, import_rows, name,
};
use crate::domain::Domain;
use crate::endpoint::{Endpoint, EndpointType};
use crate::error::Problem;
use crate::page::{PageKey, Slice};
use crate::ports::store::{EndpointFilter, EndpointSecrets};
use crate::{AccountId, DomainId, EndpointId, Error, Fault};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The most rows of one commit: some 100 ms of a disk's and a writer's time, for which other sends of the account wait.
pub const IMPORT_BATCH: usize = 250;

/// The endpoints of one page of an export.
const EXPORT_PAGE: u32 = 500;

/// An import that is under way.
#[derive(Debug)]
pub struct EndpointImport {
    account: AccountId,
    met: Met,
}

impl EndpointImport {
    /// Begins an import into an account, or begins it again from its first row.
    #[must_use]
    pub fn new(account: AccountId) -> Self {
        Self {
            account,
            met: Met::default(),
        }
    }
}

/// An endpoint as an export gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportedEndpoint {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// The name of its application.
    pub application: Option<String>,
    /// Its secrets, where they were asked for.
    pub secrets: Option<EndpointSecrets>,
}

impl App {
    /// Imports rows, at most [`IMPORT_BATCH`], in one commit, or with `dry_run` only says what would become of them. Rows that are
    /// refused are left out of it; whether the others shall be stored then is for the caller to decide, by a dry run of all rows
    /// before. Gives what became of each row, with problems at fields from inside the row.
    ///
    /// # Errors
    /// Those of the store; `Overloaded` when others changed the same endpoints each time. Then nothing of these rows is stored.
    pub async fn endpoints_import(
        &self,
        import: &mut EndpointImport,
        rows: &[ImportRow],
        dry_run: bool,
    ) -> Result<Vec<Result<Imported, Vec<Problem>>>, Fault> {
        let begun = &*import;
        let decide = move || async move {
            let snapshot = self.import_snapshot(begun, rows).await?;
            let (commit, results, met) =
                import_rows(&self.mint(), begun.account, rows, &snapshot, &begun.met);
            let is_stored = !dry_run && !commit.writes.is_empty();
            Ok((is_stored.then_some(commit), (results, met)))
        };
        let (results, met) = self.operate(decide).await?;
        import.met.extend(met);
        Ok(results)
    }

    async fn import_snapshot(
        &self,
        import: &EndpointImport,
        rows: &[ImportRow],
    ) -> Result<ImportSnapshot, Error> {
        let EndpointImport { account, met } = import;
        let account = *account;
        let mut domains: BTreeMap<&str, Option<Domain>> = BTreeMap::new();
        for row in rows {
            if !domains.contains_key(row.domain.as_str()) {
                let found = match sip_validate::domain(&row.domain) {
                    Ok(known) => {
                        self.store
                            .domain_by_name(account, known.into_owned())
                            .await?
                    }
                    Err(_) => None,
                };
                domains.insert(&row.domain, found);
            }
        }
        let domain_of = |row: &ImportRow| domains.get(row.domain.as_str())?.as_ref();
        let names: Vec<_> = rows
            .iter()
            .filter_map(|row| Some((domain_of(row)?.id, name(&row.name).ok()?)))
            .collect();
        let settings = self.store.account_settings(account).await?;
        let mut taken_in_account = BTreeSet::new();
        if settings.unique_names {
            let all: Vec<String> = names.iter().map(|(_, name)| name.clone()).collect();
            let earlier = all.iter().filter(|name| met.account_names.contains(*name));
            taken_in_account.extend(earlier.cloned());
            taken_in_account.extend(self.store.account_names_taken(account, all).await?);
        }
        let there = self.endpoints_whole(account, names).await?;
        let given = rows.iter().filter_map(|row| row.settings.numbers.value());
        let mut numbers = self.numbers_named(account, given).await?;
        for (number, holder) in &mut numbers {
            // In a dry run what earlier rows change is not so yet.
            holder.take_if(|from| met.numbers_freed.get(number) == Some(from));
            if holder.is_none() && met.numbers.contains(number) {
                // No endpoint has this id.
                *holder = Some(EndpointId([0; 16]));
            }
        }
        let applications = match rows.iter().any(|row| row.application.value().is_some()) {
            true => self.applications_all(account).await?,
            false => Vec::new(),
        };
        let known = domains.iter().filter_map(|(name, domain)| {
            let id = domain.as_ref()?.id;
            Some(((*name).to_owned(), id))
        });
        Ok(ImportSnapshot {
            domains: known.collect(),
            account: EndpointsSnapshot {
                unique_names: settings.unique_names,
                taken_in_account,
                profile_encrypts: settings.profile_encrypts,
                applications: applications.iter().map(|a| a.id).collect(),
                numbers,
                domains: domains.into_values().flatten().collect(),
                ..EndpointsSnapshot::default()
            },
            applications,
            there,
        })
    }

    /// Reads the endpoints with these names, with all that belongs to them.
    async fn endpoints_whole(
        &self,
        account: AccountId,
        names: Vec<(DomainId, String)>,
    ) -> Result<Vec<StoredEndpoint>, Error> {
        let endpoints = self.store.endpoints_by_names(account, names).await?;
        let ids: Vec<EndpointId> = endpoints.iter().map(|endpoint| endpoint.id).collect();
        let mut bindings: HashMap<EndpointId, Vec<_>> = HashMap::new();
        for binding in self
            .store
            .bindings_by_endpoints(account, ids.clone())
            .await?
        {
            bindings.entry(binding.endpoint).or_default().push(binding);
        }
        let mut secrets = self.secrets_of(account, ids).await?;
        let whole = |endpoint: Endpoint| StoredEndpoint {
            bindings: bindings.remove(&endpoint.id).unwrap_or_default(),
            secrets: secrets
                .remove(&endpoint.id)
                .unwrap_or_else(|| EndpointSecrets::none(endpoint.id)),
            endpoint,
        };
        Ok(endpoints.into_iter().map(whole).collect())
    }

    async fn secrets_of(
        &self,
        account: AccountId,
        ids: Vec<EndpointId>,
    ) -> Result<HashMap<EndpointId, EndpointSecrets>, Error> {
        let secrets = self.store.endpoint_secrets(account, ids).await?;
        Ok(secrets.into_iter().map(|s| (s.endpoint, s)).collect())
    }

    async fn applications_all(&self, account: AccountId) -> Result<Vec<Application>, Error> {
        let all = Slice {
            backward: false,
            limit: APPLICATIONS_MAX,
            after: None,
            before: None,
        };
        Ok(self.store.applications(account, all).await?.items)
    }

    /// Returns how many endpoints an account has.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn endpoints_total(&self, account: AccountId) -> Result<i64, Error> {
        let all = EndpointFilter::default();
        self.store.endpoints_count(account, all).await
    }

    /// Returns the next endpoints of an export, the oldest first, and where the page behind them begins; `None` behind the last.
    /// The system gateway is left out: the operator makes it. Secrets are given only where they are asked for, which is logged.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn endpoints_export(
        &self,
        account: AccountId,
        from: Option<PageKey>,
        with_secrets: bool,
    ) -> Result<(Vec<ExportedEndpoint>, Option<PageKey>), Error> {
        let slice = Slice {
            backward: true,
            limit: EXPORT_PAGE,
            after: None,
            before: from,
        };
        let all = EndpointFilter::default();
        let page = self.store.endpoints(account, all, slice).await?;
        let next = page.items.first().filter(|_| page.has_previous);
        let next = next.map(|endpoint| PageKey {
            position: endpoint.created_at.0,
            tie: endpoint.id.0,
        });
        let applications = match page.items.iter().any(|e| e.application.is_some()) {
            true => self.applications_all(account).await?,
            false => Vec::new(),
        };
        let mut secrets = HashMap::new();
        if with_secrets {
            let ids: Vec<EndpointId> = page.items.iter().map(|endpoint| endpoint.id).collect();
            tracing::info!(%account, endpoints = ids.len(), "secrets of endpoints are exported");
            secrets = self.secrets_of(account, ids).await?;
        }
        let own = |endpoint: &Endpoint| endpoint.kind != EndpointType::SystemGateway;
        let exported = page.items.into_iter().rev().filter(own).map(|endpoint| {
            let id = endpoint.application;
            let application = applications.iter().find(|a| Some(a.id) == id);
            ExportedEndpoint {
                application: application.map(|a| a.name.clone()),
                secrets: with_secrets.then(|| {
                    let known = secrets.remove(&endpoint.id);
                    known.unwrap_or_else(|| EndpointSecrets::none(endpoint.id))
                }),
                endpoint,
            }
        });
        Ok((exported.collect(), next))
    }
}

//! Changing endpoints.

use crate::access::{Caller, Scope};
use crate::app::settle::Decision;
use crate::app::{App, Outcome};
use crate::commit::Commit;
use crate::decide::Mint;
use crate::decide::endpoints::{
    EndpointChange, EndpointReplacement, EndpointSettings, UpdateSnapshot, UpdatedEndpoint,
    replace, update,
};
use crate::error::Problem;
use crate::ports::store::{EndpointKey, Found};
use crate::{EndpointId, Error, Fault};
use std::sync::Arc;

/// A change of either kind.
enum Change<'c> {
    Part(&'c EndpointChange),
    Whole(&'c EndpointReplacement),
}

impl Change<'_> {
    fn id(&self) -> EndpointId {
        match self {
            Change::Part(change) => change.id,
            Change::Whole(replacement) => replacement.target,
        }
    }

    fn operation(&self) -> &'static str {
        match self {
            Change::Part(_) => "updateEndpoint",
            Change::Whole(_) => "replaceEndpoint",
        }
    }

    fn settings(&self) -> &EndpointSettings {
        match self {
            Change::Part(change) => &change.settings,
            Change::Whole(replacement) => &replacement.settings,
        }
    }

    /// What the MAC of a call that may be repeated covers: all that is given, and the secrets that `Debug` hides.
    fn parts(&self) -> Vec<String> {
        let (input, token) = match self {
            Change::Part(change) => (format!("{change:?}"), None),
            Change::Whole(replacement) => {
                (format!("{replacement:?}"), replacement.voip_token.value())
            }
        };
        let secrets = self.settings().secrets().into_iter();
        let secrets = secrets.chain(token.map(crate::keyring::Secret::expose));
        std::iter::once(input)
            .chain(secrets.map(str::to_owned))
            .collect()
    }

    fn decide(
        &self,
        mint: &Mint<'_>,
        snapshot: &UpdateSnapshot,
    ) -> Result<(Commit, UpdatedEndpoint), Vec<Problem>> {
        match self {
            Change::Part(change) => update(mint, change, snapshot),
            Change::Whole(replacement) => replace(mint, replacement, snapshot),
        }
    }
}

impl App {
    /// Changes some fields of an endpoint, or, in a dry run, says what would become of it. Scope: `endpoints.update`.
    ///
    /// # Errors
    /// All that is wrong with it. In a replay the generated password is `None` and no field is told as changed.
    pub async fn endpoint_update(
        &self,
        caller: &Caller,
        change: &EndpointChange,
        dry_run: bool,
        key: Option<&str>,
    ) -> Result<Outcome<UpdatedEndpoint>, Fault> {
        self.endpoint_change(caller, &Change::Part(change), dry_run, key)
            .await
    }

    /// Changes an endpoint as a whole, or, in a dry run, says what would become of it. Scope: `endpoints.update`.
    ///
    /// # Errors
    /// All that is wrong with it. In a replay the generated password is `None` and no field is told as changed.
    pub async fn endpoint_replace(
        &self,
        caller: &Caller,
        replacement: &EndpointReplacement,
        dry_run: bool,
        key: Option<&str>,
    ) -> Result<Outcome<UpdatedEndpoint>, Fault> {
        self.endpoint_change(caller, &Change::Whole(replacement), dry_run, key)
            .await
    }

    async fn endpoint_change(
        &self,
        caller: &Caller,
        change: &Change<'_>,
        dry_run: bool,
        key: Option<&str>,
    ) -> Result<Outcome<UpdatedEndpoint>, Fault> {
        caller.require(Scope::EndpointsUpdate)?;
        let parts = change.parts();
        let parts: Vec<&[u8]> = parts.iter().map(String::as_bytes).collect();
        let idempotency = self.idempotency(caller, change.operation(), key, &parts)?;
        let settled = self.settle(
            caller,
            idempotency,
            dry_run,
            move || async move {
                let snapshot = self.update_snapshot(caller, change).await?;
                let snapshot = snapshot.ok_or_else(|| Problem::not_found("id", "endpoint"))?;
                let (commit, mut updated) = change
                    .decide(&self.mint(), &snapshot)
                    .map_err(Fault::Refused)?;
                if dry_run {
                    updated.generated_password = None;
                }
                Ok(Decision {
                    commit: Some(commit),
                    gives: vec![change.id().0],
                    value: updated,
                })
            },
            move |_| async move { self.endpoint_changed(caller, change.id()).await },
        );
        Ok(settled.await?.into())
    }

    /// Reads what a change is decided on; `None` when the caller has no such endpoint.
    async fn update_snapshot(
        &self,
        caller: &Caller,
        change: &Change<'_>,
    ) -> Result<Option<UpdateSnapshot>, Error> {
        let id = change.id();
        if !caller.sees(id) {
            return Ok(None);
        }
        let Some((endpoint, bindings)) = self.store.endpoint_bindings(caller.account, id).await?
        else {
            return Ok(None);
        };
        let domains = vec![endpoint.domain];
        let domains = self.store.domains_by_ids(caller.account, domains).await?;
        let Some(domain) = domains.into_iter().next() else {
            return Ok(None);
        };
        let voip_token = match change {
            Change::Whole(replacement) if replacement.voip_token.is_given() => {
                let tokens = self.store.voip_tokens(caller.account, vec![id]).await?;
                tokens.into_iter().next().map(|(_, token)| token)
            }
            Change::Part(_) | Change::Whole(_) => None,
        };
        let given = change.settings().numbers.value();
        let numbers = self.numbers_named(caller.account, given).await?;
        let named = [&change.settings().application];
        let applications = self.applications_named(caller.account, named).await?;
        Ok(Some(UpdateSnapshot {
            endpoint: Arc::unwrap_or_clone(endpoint),
            domain,
            bindings,
            applications,
            numbers,
            voip_token,
        }))
    }

    async fn endpoint_changed(
        &self,
        caller: &Caller,
        id: EndpointId,
    ) -> Result<UpdatedEndpoint, Fault> {
        let found = self
            .store
            .endpoint(caller.account, EndpointKey::Id(id))
            .await?;
        let Found::One(endpoint) = found else {
            return Err(Error::not_found("endpoint").into());
        };
        Ok(UpdatedEndpoint {
            endpoint,
            changed: Vec::new(),
            generated_password: None,
        })
    }
}

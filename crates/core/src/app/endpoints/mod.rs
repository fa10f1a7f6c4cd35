//! Endpoints: look-ups and lists here, what changes them in the modules below.

mod create;
mod delete;
pub mod import;
mod operator;
mod update;

pub(super) use delete::WAITING_MAX;
pub use operator::KnownAddress;

use super::App;
use crate::access::{Caller, Scope};
use crate::binding::Binding;
use crate::decide::endpoints::{Numbers, name, name_taken, name_taken_in_account};
use crate::endpoint::Endpoint;
use crate::error::Problem;
use crate::keyring::Secret;
use crate::patch::Field;
use crate::ports::store::{EndpointKey, Found};
use crate::{AccountId, ApplicationId, DomainId, EndpointId, Error, ErrorKind};
use std::collections::BTreeSet;

/// What `createEndpoint` would say to a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameCheck {
    /// The canonical form of a name that is well-formed.
    pub canonical: Option<String>,
    /// What is wrong with it; empty when it would be accepted.
    pub problems: Vec<Problem>,
}

impl App {
    /// Says what [`App::endpoint_create`] would say to a name; with a domain also whether it is taken there. Scope:
    /// `endpoints.read`.
    ///
    /// # Errors
    /// `Forbidden`; `NotFound` for the domain.
    pub async fn name_check(
        &self,
        caller: &Caller,
        text: &str,
        domain: Option<DomainId>,
    ) -> Result<NameCheck, Error> {
        caller.require(Scope::EndpointsRead)?;
        let checked = name(text);
        let mut problems = Vec::new();
        if let Some(id) = domain {
            if caller.endpoints.is_some() {
                return Err(Error::not_found("domain"));
            }
            let ids = vec![id];
            if self
                .store
                .domains_by_ids(caller.account, ids)
                .await?
                .is_empty()
            {
                return Err(Error::not_found("domain"));
            }
            if let Ok(canonical) = &checked {
                let key = vec![(id, canonical.clone())];
                let taken = self.store.endpoint_names_taken(caller.account, key).await?;
                if !taken.is_empty() {
                    problems.push(name_taken(text));
                } else if self
                    .store
                    .account_settings(caller.account)
                    .await?
                    .unique_names
                {
                    let names = vec![canonical.clone()];
                    let taken = self
                        .store
                        .account_names_taken(caller.account, names)
                        .await?;
                    problems.extend((!taken.is_empty()).then(|| name_taken_in_account(text)));
                }
            }
        }
        let canonical = checked.map_err(|found| problems.extend(found)).ok();
        Ok(NameCheck {
            canonical,
            problems,
        })
    }

    /// Returns those of some numbers, as callers write them, that the account has.
    async fn numbers_named<'n>(
        &self,
        account: AccountId,
        given: impl IntoIterator<Item = &'n Vec<String>>,
    ) -> Result<Numbers, Error> {
        let numbers: Vec<String> = given
            .into_iter()
            .flatten()
            .filter_map(|text| sip_validate::e164(text).ok())
            .map(std::borrow::Cow::into_owned)
            .collect();
        if numbers.is_empty() {
            return Ok(Numbers::new());
        }
        let found = self.store.numbers(account, Some(numbers)).await?;
        Ok(found.into_iter().collect())
    }

    /// Returns those of the applications named that are there.
    async fn applications_named<'n>(
        &self,
        account: AccountId,
        named: impl IntoIterator<Item = &'n Field<ApplicationId>>,
    ) -> Result<BTreeSet<ApplicationId>, Error> {
        let ids: BTreeSet<ApplicationId> = named
            .into_iter()
            .filter_map(Field::value)
            .copied()
            .collect();
        if ids.is_empty() {
            return Ok(ids);
        }
        let found = self
            .store
            .applications_by_ids(account, ids.into_iter().collect());
        Ok(found.await?.into_iter().map(|found| found.id).collect())
    }

    /// Finds an endpoint. Scope: `endpoints.read`.
    ///
    /// # Errors
    /// `Forbidden`, `NotFound`; `Invalid` for a name that stands in several domains.
    pub async fn endpoint(&self, caller: &Caller, key: EndpointKey) -> Result<Endpoint, Error> {
        caller.require(Scope::EndpointsRead)?;
        match self.store.endpoint(caller.account, key).await? {
            Found::One(endpoint) if caller.sees(endpoint.id) => Ok(endpoint),
            Found::Ambiguous if caller.endpoints.is_none() => Err(Error::new(
                ErrorKind::Invalid,
                "Several domains have an endpoint with this name; name the domain.",
            )),
            Found::One(_) | Found::None | Found::Ambiguous => Err(Error::not_found("endpoint")),
        }
    }

    /// Returns those of these endpoints that are there and seen, in any order. Scope: `endpoints.read`.
    ///
    /// # Errors
    /// `Forbidden`.
    pub async fn endpoints_by_ids(
        &self,
        caller: &Caller,
        mut ids: Vec<EndpointId>,
    ) -> Result<Vec<Endpoint>, Error> {
        caller.require(Scope::EndpointsRead)?;
        ids.retain(|id| caller.sees(*id));
        self.store.endpoints_by_ids(caller.account, ids).await
    }

    /// Returns the contacts of endpoints, with the ends as they are now. Scope: `endpoints.read`.
    ///
    /// # Errors
    /// `Forbidden`.
    pub async fn contacts_by_endpoints(
        &self,
        caller: &Caller,
        mut ids: Vec<EndpointId>,
    ) -> Result<Vec<Binding>, Error> {
        caller.require(Scope::EndpointsRead)?;
        ids.retain(|id| caller.sees(*id));
        let mut bindings = self
            .store
            .bindings_by_endpoints(caller.account, ids)
            .await?;
        self.refreshes.overlay(&mut bindings);
        Ok(bindings)
    }

    /// Returns how many unread messages endpoints have; those without any are left out. Scope: `messages.read`.
    ///
    /// # Errors
    /// `Forbidden`.
    pub async fn unread_by_endpoints(
        &self,
        caller: &Caller,
        mut ids: Vec<EndpointId>,
    ) -> Result<Vec<(EndpointId, i64)>, Error> {
        caller.require(Scope::MessagesRead)?;
        ids.retain(|id| caller.sees(*id));
        self.store.unread_by_endpoints(caller.account, ids).await
    }

    /// Returns the tokens for VoIP clients of endpoints; hosted types have none. Scope: `endpoints.secrets`. Each endpoint
    /// read is logged with the caller's token.
    ///
    /// # Errors
    /// `Forbidden`.
    pub async fn voip_tokens(
        &self,
        caller: &Caller,
        mut ids: Vec<EndpointId>,
    ) -> Result<Vec<(EndpointId, Secret)>, Error> {
        caller.require(Scope::EndpointsSecrets)?;
        ids.retain(|id| caller.sees(*id));
        let tokens = self.store.voip_tokens(caller.account, ids).await?;
        for (endpoint, _) in &tokens {
            tracing::info!(token = %caller.token, %endpoint, "a voipToken was read");
        }
        Ok(tokens)
    }
}

//! Endpoints as the operator names and limits them from the command line, whoever owns them; so there is no caller.

use crate::address::violation;
use crate::app::App;
use crate::decide::endpoints::limit_set;
use crate::endpoint::Endpoint;
use crate::error::Problem;
use crate::ports::store::{EndpointKey, Found, Realm};
use crate::{Error, Fault};
use sip_validate::SipUri;
use std::sync::Arc;

/// An address-of-record in a domain of the instance, whoever owns that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownAddress {
    /// The canonical user part.
    pub user: String,
    /// The name of the domain and its aliases, in lower case; the name comes first.
    pub domains: Vec<String>,
    /// Whether there is an endpoint with this address.
    pub is_endpoint: bool,
}

impl App {
    /// Finds what an address such as `alice@example.com` or `sip:alice@example.com` means here.
    ///
    /// # Errors
    /// `Validation` for what is no address with a user, `NotFound` for a domain that nobody has.
    pub async fn address_find(&self, address: &str) -> Result<KnownAddress, Fault> {
        let (realm, user) = self.address_read("address", address).await?;
        let found = self.endpoint_at(&realm, &user).await?;
        let domain = self
            .store
            .domain_by_name(realm.account, realm.name.clone())
            .await?;
        let domain = domain.ok_or_else(|| Problem::not_found("address", "domain"))?;
        Ok(KnownAddress {
            user,
            is_endpoint: matches!(found, Found::One(_)),
            domains: std::iter::once(domain.name).chain(domain.aliases).collect(),
        })
    }

    /// Limits how many messages a second go out by an endpoint, which is named as for [`App::address_find`]; 0 for any
    /// number.
    ///
    /// # Errors
    /// `NotFound`; `Validation` for what is no address with a user or a number that is too large.
    pub async fn endpoint_limit(&self, address: &str, limit: u32) -> Result<Endpoint, Fault> {
        let (realm, user) = &self.address_read("endpoint", address).await?;
        let limit = i32::try_from(limit)
            .map_err(|_| Problem::validation("cps", "The limit is too large."))?;
        let limit = (limit > 0).then_some(limit);
        self.operate(move || async move {
            let Found::One(endpoint) = self.endpoint_at(realm, user).await? else {
                return Err(Problem::not_found("endpoint", "endpoint").into());
            };
            let (commit, limited) = limit_set(&self.mint(), &endpoint, limit);
            Ok((Some(commit), limited))
        })
        .await
    }

    /// Reads an address: its domain, which is one of the instance, and its canonical user part.
    async fn address_read(
        &self,
        field: &str,
        address: &str,
    ) -> Result<(Arc<Realm>, String), Fault> {
        let with_scheme = format!("sip:{address}");
        let uri = SipUri::parse(address).or_else(|_| SipUri::parse(&with_scheme));
        let uri = uri.map_err(|v| Fault::from(violation(field, address, &v)))?;
        let aor = uri.aor();
        let Some(user) = aor.user else {
            let problem = Problem::validation(field, "Name a user: alice@example.com.");
            return Err(problem.into());
        };
        let realm = self.store.realm(aor.domain.into_owned()).await?;
        let realm = realm.ok_or_else(|| Problem::not_found(field, "domain"))?;
        Ok((realm, user.into_owned()))
    }

    async fn endpoint_at(&self, realm: &Realm, user: &str) -> Result<Found<Endpoint>, Error> {
        let key = EndpointKey::Name {
            domain: Some(realm.name.clone()),
            canonical: user.to_owned(),
        };
        self.store.endpoint(realm.account, key).await
    }
}

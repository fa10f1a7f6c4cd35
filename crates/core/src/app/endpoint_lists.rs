//! Lists of endpoints: filtered, in one of two orders, read from either end.

use super::App;
use super::tokens::narrowed;
use crate::access::{Caller, Scope};
use crate::address::technology;
use crate::endpoint::Endpoint;
use crate::page::{ListKind, NameKey, Page, PageCursors, PageKey, PageRequest, RowCursor, Slice};
use crate::ports::store::EndpointFilter;
use crate::{AccountId, Error};

impl App {
    /// Lists endpoints, newest first, each with its cursor. Scope: `endpoints.read`.
    ///
    /// # Errors
    /// `Forbidden`; `Invalid` for a wrong page or filter; `NotFound` for an unknown technology; `TooComplex` for a short text
    /// that too few of the newest endpoints have.
    pub async fn endpoints(
        &self,
        caller: &Caller,
        filter: EndpointFilter,
        request: &PageRequest,
    ) -> Result<Page<(RowCursor, Endpoint)>, Error> {
        caller.require(Scope::EndpointsRead)?;
        let cursors = self.endpoint_cursors(caller, ListKind::Endpoints, &filter);
        let slice = cursors.slice(request)?;
        let filter = resolved(caller, filter)?;
        let page = self.store.endpoints(caller.account, filter, slice).await?;
        Ok(cursors.page(request, page, place))
    }

    /// Returns the cursor of an endpoint in the list without a filter, newest first.
    #[must_use]
    pub fn endpoint_cursor(&self, caller: &Caller, endpoint: &Endpoint) -> RowCursor {
        let filter = EndpointFilter::default();
        self.endpoint_cursors(caller, ListKind::Endpoints, &filter)
            .cursor(&place(endpoint))
    }

    /// Lists endpoints by name, the last byte by byte first, each with its cursor. Scope: `endpoints.read`.
    ///
    /// # Errors
    /// As [`App::endpoints`].
    pub async fn endpoints_by_name(
        &self,
        caller: &Caller,
        filter: EndpointFilter,
        request: &PageRequest,
    ) -> Result<Page<(RowCursor, Endpoint)>, Error> {
        caller.require(Scope::EndpointsRead)?;
        let cursors = self.endpoint_cursors(caller, ListKind::EndpointNames, &filter);
        let slice = cursors.slice(request)?;
        let filter = resolved(caller, filter)?;
        let page = self
            .store
            .endpoints_by_name(caller.account, filter, slice)
            .await?;
        Ok(cursors.page(request, page, |endpoint| NameKey {
            name: endpoint.name.clone(),
            id: endpoint.id.0,
        }))
    }

    /// Counts endpoints. Scope: `endpoints.read`.
    ///
    /// # Errors
    /// As [`App::endpoints`].
    pub async fn endpoints_count(
        &self,
        caller: &Caller,
        filter: EndpointFilter,
    ) -> Result<i64, Error> {
        caller.require(Scope::EndpointsRead)?;
        let filter = resolved(caller, filter)?;
        self.store.endpoints_count(caller.account, filter).await
    }

    /// Answers whether the account has an endpoint that matches; for decisions, so the caller's view does not narrow it.
    pub(super) async fn has_endpoints(
        &self,
        account: AccountId,
        filter: EndpointFilter,
    ) -> Result<bool, Error> {
        let only_one = Slice {
            backward: false,
            limit: 1,
            after: None,
            before: None,
        };
        let found = self.store.endpoints(account, filter, only_one).await?;
        Ok(!found.items.is_empty())
    }

    fn endpoint_cursors(
        &self,
        caller: &Caller,
        kind: ListKind,
        filter: &EndpointFilter,
    ) -> PageCursors {
        PageCursors::new(&self.keys, caller.account, kind, format!("{filter:?}"))
    }
}

/// The place of an endpoint in a list, newest first.
fn place(endpoint: &Endpoint) -> PageKey {
    PageKey {
        position: endpoint.created_at.0,
        tie: endpoint.id.0,
    }
}

/// Checks a filter and puts what it says into the words of the store.
fn resolved(caller: &Caller, filter: EndpointFilter) -> Result<EndpointFilter, Error> {
    filter
        .searched()
        .try_for_each(|text| super::no_nul(Some(text)))?;
    let mut filter = narrowed(caller, filter);
    // An empty text is in every text, and so is no filter.
    filter.name_contains.take_if(|text| text.is_empty());
    filter.number.take_if(|text| text.is_empty());
    if let Some(text) = &filter.number {
        match sip_validate::e164(text) {
            Ok(number) => filter.number = Some(number.into_owned()),
            // What is no number is on no endpoint.
            Err(_) => filter.ids = Some(Vec::new()),
        }
    }
    filter.caller_id_contains.take_if(|text| text.is_empty());
    if let Some(name) = filter.technology.take() {
        let known = technology(&name).ok_or_else(|| Error::not_found("technology"))?;
        if !known.available {
            filter.ids = Some(Vec::new());
        }
    }
    Ok(filter)
}

//! Applications.

use super::settle::Decision;
use super::{App, Outcome};
use crate::access::{Caller, Scope};
use crate::application::Application;
use crate::decide::applications::{
    ApplicationPatch, NewApplication, UpdatedApplication, create, delete, update,
};
use crate::error::Problem;
use crate::page::{ListKind, Page, PageCursors, PageKey, PageRequest, RowCursor};
use crate::ports::store::EndpointFilter;
use crate::{ApplicationId, Error, Fault};

impl App {
    /// Makes an application, or with `dry_run` only says what would come of it. Scope: `applications.create`; not for a token
    /// bound to endpoints.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub async fn application_create(
        &self,
        caller: &Caller,
        new: &NewApplication,
        dry_run: bool,
        key: Option<&str>,
    ) -> Result<Outcome<Application>, Fault> {
        caller.require_whole(Scope::ApplicationsCreate, "application")?;
        let input = format!("{new:?}");
        let idempotency =
            self.idempotency(caller, "createApplication", key, &[input.as_bytes()])?;
        let settled = self.settle(
            caller,
            idempotency,
            dry_run,
            move || async move {
                let count = self.store.applications_count(caller.account).await?;
                let (commit, application) =
                    create(&self.mint(), caller.account, new, count).map_err(Fault::Refused)?;
                Ok(Decision {
                    commit: Some(commit),
                    gives: vec![application.id.0],
                    value: application,
                })
            },
            move |ids| async move { self.application_of(caller, &ids).await },
        );
        Ok(settled.await?.into())
    }

    /// Changes an application, or with `dry_run` only says what would come of it. Scope: `applications.update`; not for a
    /// token bound to endpoints.
    ///
    /// # Errors
    /// `NotFound`; all that is wrong with the patch. In a replay no field is told as changed.
    pub async fn application_update(
        &self,
        caller: &Caller,
        id: ApplicationId,
        patch: &ApplicationPatch,
        dry_run: bool,
        key: Option<&str>,
    ) -> Result<Outcome<UpdatedApplication>, Fault> {
        caller.require_whole(Scope::ApplicationsUpdate, "application")?;
        let input = format!("{patch:?}");
        let input: &[&[u8]] = &[&id.0, input.as_bytes()];
        let idempotency = self.idempotency(caller, "updateApplication", key, input)?;
        let settled = self.settle(
            caller,
            idempotency,
            dry_run,
            move || async move {
                let application = self.application_to_change(caller, id).await?;
                let (commit, updated) =
                    update(&self.mint(), &application, patch).map_err(Fault::Refused)?;
                Ok(Decision {
                    commit,
                    gives: vec![id.0],
                    value: updated,
                })
            },
            move |ids| async move {
                Ok(UpdatedApplication {
                    application: self.application_of(caller, &ids).await?,
                    changed: Vec::new(),
                })
            },
        );
        Ok(settled.await?.into())
    }

    /// Deletes an application. Scope: `applications.delete`; not for a token bound to endpoints.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` while an endpoint refers to it.
    pub async fn application_delete(
        &self,
        caller: &Caller,
        id: ApplicationId,
        key: Option<&str>,
    ) -> Result<Outcome<ApplicationId>, Fault> {
        caller.require_whole(Scope::ApplicationsDelete, "application")?;
        let idempotency = self.idempotency(caller, "deleteApplication", key, &[&id.0])?;
        let settled = self.settle(
            caller,
            idempotency,
            false,
            move || async move {
                let application = self.application_to_change(caller, id).await?;
                let filter = EndpointFilter {
                    application: Some(id),
                    ..EndpointFilter::default()
                };
                let is_used = self.has_endpoints(caller.account, filter).await?;
                Ok(Decision {
                    commit: Some(delete(&self.mint(), &application, is_used)?),
                    gives: Vec::new(),
                    value: id,
                })
            },
            move |_| async move { Ok(id) },
        );
        Ok(settled.await?.into())
    }

    /// Returns an application. Scope: `applications.read`.
    ///
    /// # Errors
    /// `Forbidden`, `NotFound`.
    pub async fn application(
        &self,
        caller: &Caller,
        id: ApplicationId,
    ) -> Result<Application, Error> {
        caller.require_whole(Scope::ApplicationsRead, "application")?;
        let found = self.store.applications_by_ids(caller.account, vec![id]);
        found
            .await?
            .into_iter()
            .next()
            .ok_or_else(|| Error::not_found("application"))
    }

    /// Returns the applications of endpoints that the caller was given. Scope: `endpoints.read`.
    ///
    /// # Errors
    /// `Forbidden`.
    pub async fn applications_by_ids(
        &self,
        caller: &Caller,
        ids: Vec<ApplicationId>,
    ) -> Result<Vec<Application>, Error> {
        caller.require(Scope::EndpointsRead)?;
        self.store.applications_by_ids(caller.account, ids).await
    }

    /// Lists applications, newest first. Scope: `applications.read`.
    ///
    /// # Errors
    /// `Forbidden`; `Invalid` for a wrong page.
    pub async fn applications(
        &self,
        caller: &Caller,
        request: &PageRequest,
    ) -> Result<Page<(RowCursor, Application)>, Error> {
        caller.require_whole(Scope::ApplicationsRead, "application")?;
        let kind = ListKind::Applications;
        let cursors = PageCursors::new(&self.keys, caller.account, kind, String::new());
        let slice = cursors.slice(request)?;
        let page = self.store.applications(caller.account, slice).await?;
        Ok(cursors.page(request, page, |application| PageKey {
            position: application.created_at.0,
            tie: application.id.0,
        }))
    }

    /// Counts applications. Scope: `applications.read`.
    ///
    /// # Errors
    /// `Forbidden`.
    pub async fn applications_count(&self, caller: &Caller) -> Result<i64, Error> {
        caller.require_whole(Scope::ApplicationsRead, "application")?;
        self.store.applications_count(caller.account).await
    }

    async fn application_to_change(
        &self,
        caller: &Caller,
        id: ApplicationId,
    ) -> Result<Application, Fault> {
        let found = self.store.applications_by_ids(caller.account, vec![id]);
        found
            .await?
            .into_iter()
            .next()
            .ok_or_else(|| Problem::not_found("id", "application").into())
    }

    async fn application_of(
        &self,
        caller: &Caller,
        ids: &[[u8; 16]],
    ) -> Result<Application, Fault> {
        let ids = ids.iter().copied().map(ApplicationId).collect();
        let found = self.store.applications_by_ids(caller.account, ids).await?;
        let application = found.into_iter().next();
        Ok(application.ok_or_else(|| Error::not_found("application"))?)
    }
}

//! Applications.

use super::{App, Outcome, contended, key_reused};
use crate::access::{Caller, Scope};
use crate::application::Application;
use crate::commit::Answer;
use crate::decide::applications::{
    ApplicationPatch, NewApplication, UpdatedApplication, create, delete, update,
};
use crate::error::Problem;
use crate::page::{ListKind, Page, PageCursors, PageKey, PageRequest};
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
        require_whole(caller, Scope::ApplicationsCreate)?;
        let key = key.filter(|_| !dry_run);
        let input = format!("{new:?}");
        let idempotency =
            self.idempotency(caller, "createApplication", key, &[input.as_bytes()])?;
        for _ in 0..super::ATTEMPTS {
            if let Some(ids) = self.replayed(caller, idempotency.as_ref()).await? {
                return self.application_replayed(caller, &ids).await;
            }
            let count = self.store.applications_count(caller.account).await?;
            let (mut commit, application) =
                create(&self.mint(), caller.account, new, count).map_err(Fault::Refused)?;
            if dry_run {
                return Ok(Outcome::tried(application));
            }
            commit.idempotency = idempotency
                .clone()
                .map(|record| record.giving(vec![application.id.0]));
            match self.commit(commit).await? {
                Answer::Applied(_) => {
                    return Ok(Outcome {
                        value: application,
                        replayed: false,
                    });
                }
                Answer::Replayed(ids) => return self.application_replayed(caller, &ids).await,
                Answer::KeyReused => return Err(key_reused()),
                Answer::Failed(_) => {}
            }
        }
        Err(contended().into())
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
        require_whole(caller, Scope::ApplicationsUpdate)?;
        let key = key.filter(|_| !dry_run);
        let input = format!("{patch:?}");
        let input: &[&[u8]] = &[&id.0, input.as_bytes()];
        let idempotency = self.idempotency(caller, "updateApplication", key, input)?;
        for _ in 0..super::ATTEMPTS {
            if let Some(ids) = self.replayed(caller, idempotency.as_ref()).await? {
                let outcome = self.application_replayed(caller, &ids).await?;
                return Ok(Outcome {
                    value: UpdatedApplication {
                        application: outcome.value,
                        changed: Vec::new(),
                    },
                    replayed: true,
                });
            }
            let application = self.application_to_change(caller, id).await?;
            let (commit, updated) =
                update(&self.mint(), &application, patch).map_err(Fault::Refused)?;
            let Some(mut commit) = commit.filter(|_| !dry_run) else {
                return Ok(Outcome::tried(updated));
            };
            commit.idempotency = idempotency.clone().map(|record| record.giving(vec![id.0]));
            match self.commit(commit).await? {
                Answer::Applied(_) => {
                    return Ok(Outcome {
                        value: updated,
                        replayed: false,
                    });
                }
                // An equal call came first: the next look finds its record.
                Answer::Replayed(_) | Answer::Failed(_) => {}
                Answer::KeyReused => return Err(key_reused()),
            }
        }
        Err(contended().into())
    }

    /// Deletes an application. Scope: `applications.delete`; not for a token bound to endpoints.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn application_delete(
        &self,
        caller: &Caller,
        id: ApplicationId,
        key: Option<&str>,
    ) -> Result<Outcome<ApplicationId>, Fault> {
        require_whole(caller, Scope::ApplicationsDelete)?;
        let idempotency = self.idempotency(caller, "deleteApplication", key, &[&id.0])?;
        let done = |replayed| {
            Ok(Outcome {
                value: id,
                replayed,
            })
        };
        for _ in 0..super::ATTEMPTS {
            if self.replayed(caller, idempotency.as_ref()).await?.is_some() {
                return done(true);
            }
            let application = self.application_to_change(caller, id).await?;
            let mut commit = delete(&self.mint(), &application);
            commit.idempotency = idempotency.clone();
            match self.commit(commit).await? {
                Answer::Applied(_) => return done(false),
                Answer::Replayed(_) => return done(true),
                Answer::KeyReused => return Err(key_reused()),
                Answer::Failed(_) => {}
            }
        }
        Err(contended().into())
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
        require_whole(caller, Scope::ApplicationsRead)?;
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
    ) -> Result<Page<(String, Application)>, Error> {
        require_whole(caller, Scope::ApplicationsRead)?;
        let kind = ListKind::Applications;
        let cursors = PageCursors::new(&self.keys, caller.account, kind, String::new());
        let slice = cursors.slice(request)?;
        let page = self.store.applications(caller.account, slice).await?;
        Ok(page.map(|application| {
            let key = PageKey {
                position: application.created_at.0,
                tie: application.id.0,
            };
            (cursors.encode(key), application)
        }))
    }

    /// Counts applications. Scope: `applications.read`.
    ///
    /// # Errors
    /// `Forbidden`.
    pub async fn applications_count(&self, caller: &Caller) -> Result<i64, Error> {
        require_whole(caller, Scope::ApplicationsRead)?;
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

    async fn application_replayed(
        &self,
        caller: &Caller,
        ids: &[[u8; 16]],
    ) -> Result<Outcome<Application>, Fault> {
        let ids = ids.iter().copied().map(ApplicationId).collect();
        let found = self.store.applications_by_ids(caller.account, ids).await?;
        let value = found.into_iter().next();
        Ok(Outcome {
            value: value.ok_or_else(|| Error::not_found("application"))?,
            replayed: true,
        })
    }
}

/// Applications are the account's: a token bound to endpoints sees them only through its endpoints.
fn require_whole(caller: &Caller, scope: Scope) -> Result<(), Error> {
    caller.require(scope)?;
    if caller.endpoints.is_some() {
        return Err(Error::not_found("application"));
    }
    Ok(())
}

//! SIP profiles: what endpoints have that set nothing of their own.

use super::settle::Decision;
use super::{App, Outcome};
use crate::access::{Caller, Scope};
use crate::decide::sip_profiles::{SipProfilePatch, UpdatedSipProfile, enforced, update};
use crate::event::BindingEnd;
use crate::sip_profile::SipProfile;
use crate::{Error, Fault};

/// The contacts that one step removes of an account that began to demand encryption; each is a commit.
const CONTACTS_A_STEP: u32 = 50;

impl App {
    /// Returns the account's profile. Scope: `profile.read`; not for a token bound to endpoints.
    ///
    /// # Errors
    /// `Forbidden`, `NotFound`.
    pub async fn sip_profile(&self, caller: &Caller) -> Result<SipProfile, Error> {
        caller.require_whole(Scope::ProfileRead, "SIP profile")?;
        self.store.sip_profile(caller.account).await
    }

    /// Returns the profile of endpoints that the caller was given. Scope: `endpoints.read`.
    ///
    /// # Errors
    /// `Forbidden`.
    pub async fn sip_profile_of_endpoints(&self, caller: &Caller) -> Result<SipProfile, Error> {
        caller.require(Scope::EndpointsRead)?;
        self.store.sip_profile(caller.account).await
    }

    /// Changes the account's profile, or with `dry_run` only says what would come of it. When it begins to demand encryption,
    /// that holds at once, and [`App::encryption_step`] removes the contacts that it no longer allows. Scope:
    /// `profile.update`; not for a token bound to endpoints.
    ///
    /// # Errors
    /// All that is wrong with the patch. In a replay no field is told as changed.
    pub async fn sip_profile_update(
        &self,
        caller: &Caller,
        patch: &SipProfilePatch,
        dry_run: bool,
        key: Option<&str>,
    ) -> Result<Outcome<UpdatedSipProfile>, Fault> {
        caller.require_whole(Scope::ProfileUpdate, "SIP profile")?;
        let input = format!("{patch:?}");
        let idempotency = self.idempotency(caller, "updateSipProfile", key, &[input.as_bytes()])?;
        let settled = self.settle(
            caller,
            idempotency,
            dry_run,
            move || async move {
                let profile = self.store.sip_profile(caller.account).await?;
                let (commit, updated) =
                    update(&self.mint(), &profile, patch).map_err(Fault::Refused)?;
                Ok(Decision {
                    commit,
                    gives: Vec::new(),
                    value: updated,
                })
            },
            move |_| async move {
                Ok(UpdatedSipProfile {
                    profile: self.store.sip_profile(caller.account).await?,
                    changed: Vec::new(),
                })
            },
        );
        Ok(settled.await?.into())
    }

    /// Removes some of the contacts that profiles no longer allow; gives whether more may be left. What is to be done stands
    /// in the database, so that a restart goes on where the last run ended.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn encryption_step(&self) -> Result<bool, Error> {
        let Some(next) = self.store.encryption_next(CONTACTS_A_STEP).await? else {
            return Ok(false);
        };
        if next.bindings.is_empty() {
            // A failed precondition means that the profile was changed meanwhile; the next step looks again.
            self.commit(enforced(&self.mint(), &next.profile)).await?;
            return Ok(true);
        }
        self.bindings_remove(
            &next.bindings,
            |binding| !binding.flow.transport.is_secure(),
            BindingEnd::EncryptionRequired,
        )
        .await?;
        Ok(true)
    }
}

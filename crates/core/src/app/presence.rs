//! Presence: registrations of devices, and what ends them.

use super::{App, contended};
use crate::access::Caller;
use crate::binding::{BINDINGS_MAX, Binding, Refresh};
use crate::commit::{Answer, Commit, Write};
use crate::decide::presence::{
    RegisterRefusal, Registered, Registration, qualify, register, remove,
};
use crate::endpoint::Endpoint;
use crate::event::BindingEnd;
use crate::ports::store::{Credentials, Realm};
use crate::{AccountId, BindingId, DomainId, EndpointId, Error, Timestamp};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long after a stop a UDP binding outlives its stored end, because its last refresh may not have been written.
const CRASH_GRACE: Duration = Duration::from_secs(60);
/// How long the devices of a stopped node's connections have to come back.
const SUSPENSION: Duration = Duration::from_secs(120);

/// A refresh that is not written yet.
#[derive(Clone, PartialEq, Eq)]
struct Waiting {
    account: AccountId,
    endpoint: EndpointId,
    refresh: Refresh,
}

/// Refreshes that are not written yet; one entry a binding, so never more than there are bindings.
#[derive(Default)]
pub(super) struct Refreshes {
    waiting: Mutex<HashMap<BindingId, Waiting>>,
}

impl Refreshes {
    fn waiting(&self) -> MutexGuard<'_, HashMap<BindingId, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives bindings what is not written yet.
    pub(super) fn overlay(&self, bindings: &mut [Binding]) {
        let waiting = self.waiting();
        for binding in bindings {
            if let Some(of_binding) = waiting.get(&binding.id) {
                of_binding.refresh.apply_to(binding);
            }
        }
    }

    fn put(&self, endpoint: &Endpoint, refreshes: Vec<(BindingId, Refresh)>) {
        let mut waiting = self.waiting();
        for (id, refresh) in refreshes {
            let of_binding = Waiting {
                account: endpoint.account,
                endpoint: endpoint.id,
                refresh,
            };
            waiting.insert(id, of_binding);
        }
    }

    fn by_account(&self) -> HashMap<AccountId, Vec<(BindingId, Waiting)>> {
        let mut accounts: HashMap<AccountId, Vec<(BindingId, Waiting)>> = HashMap::new();
        for (id, of_binding) in &*self.waiting() {
            let of_account = accounts.entry(of_binding.account).or_default();
            of_account.push((*id, of_binding.clone()));
        }
        accounts
    }

    /// Forgets refreshes that are committed, but not newer ones of the same bindings.
    fn written(&self, refreshes: &[(BindingId, Waiting)]) {
        let mut waiting = self.waiting();
        for (id, refresh) in refreshes {
            if waiting.get(id) == Some(refresh) {
                waiting.remove(id);
            }
        }
    }
}

impl App {
    /// Returns the domain that a host names, whoever owns it: whom to challenge for.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn realm(&self, host: &str) -> Result<Option<Arc<Realm>>, Error> {
        match sip_validate::domain(host) {
            Ok(name) => self.store.realm(name.into_owned()).await,
            Err(_) => Ok(None),
        }
    }

    /// Returns what is needed to check the digest of a canonical user of a domain.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn credentials(
        &self,
        domain: DomainId,
        canonical: &str,
    ) -> Result<Option<Arc<Credentials>>, Error> {
        self.store
            .credentials(domain, canonical.to_owned(), self.now())
            .await
    }

    /// Applies an authenticated REGISTER and returns the endpoint's bindings afterwards, oldest first, with their ends.
    /// A new, changed or removed binding is committed when this returns; a refresh is written within 30 s.
    ///
    /// # Errors
    /// `Ok(Err(_))` for a refusal with a status of its own; `Err(_)` is answered 503 with Retry-After, or 500.
    pub async fn contacts_register(
        &self,
        endpoint: &Endpoint,
        registration: &Registration,
    ) -> Result<Result<Vec<Binding>, RegisterRefusal>, Error> {
        // Devices of one endpoint may all come at once: with each attempt at least one of them gets through.
        for _ in 0..super::ATTEMPTS + BINDINGS_MAX {
            let Some((endpoint, mut bindings)) = self
                .store
                .endpoint_bindings(endpoint.account, endpoint.id)
                .await?
            else {
                return Err(Error::not_found("endpoint"));
            };
            self.refreshes.overlay(&mut bindings);
            let decided = register(
                &self.mint(),
                self.policy.registration,
                &endpoint,
                bindings,
                registration,
            );
            let Registered {
                bindings,
                commit,
                refreshes,
                gained_contact,
                restarted,
            } = match decided {
                Ok(registered) => registered,
                Err(refusal) => return Ok(Err(refusal)),
            };
            if let Some(commit) = commit {
                match self.commit(commit).await? {
                    Answer::Applied(_) => {}
                    Answer::Replayed(_) | Answer::KeyReused | Answer::Failed(_) => continue,
                }
            }
            self.refreshes.put(&endpoint, refreshes);
            if !restarted.is_empty() {
                self.waiting_hurry(&endpoint, restarted).await?;
            }
            if gained_contact {
                self.due.notify(usize::MAX);
            }
            return Ok(Ok(bindings));
        }
        Err(contended())
    }

    /// Makes what waits for devices due that have come back as they were, so that no binding changed.
    async fn waiting_hurry(
        &self,
        endpoint: &Endpoint,
        returned: Vec<BindingId>,
    ) -> Result<(), Error> {
        let (account, id) = (endpoint.account, endpoint.id);
        let waiting = self.store.dispatches_to(account, id, 1).await?;
        if !waiting.is_empty() {
            let hurry = self
                .store
                .dispatches_hurry(account, id, returned, self.now());
            hurry.await?;
            self.due.notify(usize::MAX);
        }
        Ok(())
    }

    /// Removes the bindings of a connection of this run that closed.
    ///
    /// # Errors
    /// Those of the store; the expiry sweep removes the bindings then.
    pub async fn connection_closed(&self, connection: i64) -> Result<(), Error> {
        let gone = self
            .store
            .bindings_of_connection(self.node, connection)
            .await?;
        let is_gone = |binding: &Binding| {
            binding.flow.node == self.node && binding.flow.connection == connection
        };
        self.bindings_remove(&gone, is_gone, BindingEnd::ConnectionClosed)
            .await
    }

    /// Returns contacts whose devices were not asked for so long whether they are there, and can be asked here.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn contacts_to_qualify(
        &self,
        every: Duration,
        limit: u32,
    ) -> Result<Vec<Binding>, Error> {
        let now = self.now();
        self.store
            .bindings_to_qualify(self.node, now.minus(every), now, limit)
            .await
    }

    /// Keeps how long a device took to answer an OPTIONS, or that it did not.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn contact_qualified(
        &self,
        binding: &Binding,
        round_trip: Option<Duration>,
    ) -> Result<(), Error> {
        for _ in 0..super::ATTEMPTS {
            let found = self
                .store
                .endpoint_bindings(binding.account, binding.endpoint)
                .await?;
            let Some((endpoint, bindings)) = found else {
                return Ok(());
            };
            let decided = qualify(&self.mint(), &endpoint, &bindings, binding, round_trip);
            let Some(commit) = decided else {
                return Ok(());
            };
            match self.commit(commit).await? {
                Answer::Failed(_) => {}
                Answer::Applied(_) | Answer::Replayed(_) | Answer::KeyReused => return Ok(()),
            }
        }
        Err(contended())
    }

    /// Suspends the bindings of other runs' connections; called once at start, before a listener opens.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn presence_start(&self) -> Result<(), Error> {
        let until = self.now().plus(SUSPENSION);
        self.store.bindings_suspend_streams(self.node, until).await
    }

    /// Removes bindings that ended. Called once a second; gives whether more are left.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn presence_sweep(&self) -> Result<bool, Error> {
        /// Bindings a step, so that one commit stays small.
        const STEP: u32 = 500;
        let now = self.now();
        let mut ended = self.store.bindings_ended(now, STEP).await?;
        let more = ended.len() >= usize::try_from(STEP).unwrap_or(usize::MAX);
        self.refreshes.overlay(&mut ended);
        ended.retain(|binding| self.has_ended(binding, now));
        let progress = !ended.is_empty();
        let has_ended = |binding: &Binding| self.has_ended(binding, now);
        self.bindings_remove(&ended, has_ended, BindingEnd::Expired)
            .await?;
        Ok(more && progress)
    }

    fn has_ended(&self, binding: &Binding, now: Timestamp) -> bool {
        let written_by_earlier_run = binding.refreshed_at < self.started_at;
        // No binding outlives the token that it was made with.
        let may_last = !binding.flow.transport.is_stream() && binding.token.is_none();
        let end = if written_by_earlier_run && may_last {
            binding.expires_at.plus(CRASH_GRACE)
        } else {
            binding.expires_at
        };
        end <= now
    }

    pub(super) async fn bindings_remove(
        &self,
        gone: &[Binding],
        is_gone: impl Fn(&Binding) -> bool,
        cause: BindingEnd,
    ) -> Result<(), Error> {
        let endpoints: BTreeSet<(AccountId, EndpointId)> =
            gone.iter().map(|b| (b.account, b.endpoint)).collect();
        for (account, id) in endpoints {
            for attempt in 0.. {
                let Some((endpoint, mut bindings)) =
                    self.store.endpoint_bindings(account, id).await?
                else {
                    break;
                };
                self.refreshes.overlay(&mut bindings);
                let Some(commit) = remove(&self.mint(), &endpoint, &bindings, &is_gone, cause)
                else {
                    break;
                };
                match self.commit(commit).await? {
                    Answer::Failed(_) if attempt < super::ATTEMPTS => {}
                    _ => break,
                }
            }
        }
        Ok(())
    }

    /// Writes the refreshes that wait. Called every few seconds, at most 30, and at the end.
    ///
    /// # Errors
    /// Those of the store; the refreshes wait on.
    pub async fn presence_flush(&self) -> Result<(), Error> {
        /// Refreshes a commit, so that one commit stays small.
        const STEP: usize = 500;
        let mut result = Ok(());
        for (account, refreshes) in self.refreshes.by_account() {
            for step in refreshes.chunks(STEP) {
                let writes = step
                    .iter()
                    .map(|(id, of_binding)| Write::BindingRefresh {
                        endpoint: of_binding.endpoint,
                        id: *id,
                        refresh: of_binding.refresh.clone(),
                    })
                    .collect();
                let commit = Commit {
                    writes,
                    ..Commit::empty(account, self.now())
                };
                match self.commit(commit).await {
                    Ok(_) => self.refreshes.written(step),
                    Err(error) => result = Err(error),
                }
            }
        }
        result
    }

    /// Returns the contacts of one endpoint as a device or a test sees them.
    ///
    /// # Errors
    /// `Forbidden`.
    pub async fn contacts(&self, caller: &Caller, id: EndpointId) -> Result<Vec<Binding>, Error> {
        self.contacts_by_endpoints(caller, vec![id]).await
    }
}

//! Endpoints.

use super::{App, Outcome, contended, key_reused};
use crate::access::{Caller, Scope};
use crate::binding::Binding;
use crate::commit::Answer;
use crate::decide::endpoints::{
    CreatedEndpoint, EndpointSnapshot, NewEndpoint, NewPassword, Waiting, create, delete,
    fail_some, name, name_problems, name_taken,
};
use crate::endpoint::Endpoint;
use crate::error::Problem;
use crate::ports::store::{EndpointKey, Found};
use crate::{DomainId, EndpointId, Error, ErrorKind, Fault};

/// The most messages on their way that fail in the transaction that deletes their recipient.
pub(super) const WAITING_MAX: usize = 1000;

/// What `createEndpoint` would say to a name, of which it tells the first violation alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameCheck {
    /// The canonical form of a name that is well-formed.
    pub canonical: Option<String>,
    /// What is wrong with it; empty when it would be accepted.
    pub problems: Vec<Problem>,
}

impl App {
    /// Makes an endpoint. Scope: `endpoints.create`; not for a token bound to endpoints.
    ///
    /// # Errors
    /// All that is wrong with it. In a replay the generated password is `None`.
    pub async fn endpoint_create(
        &self,
        caller: &Caller,
        new: &NewEndpoint,
        key: Option<&str>,
    ) -> Result<Outcome<CreatedEndpoint>, Fault> {
        caller.require(Scope::EndpointsCreate)?;
        if caller.endpoints.is_some() {
            return Err(Problem::not_found("domainId", "domain").into());
        }
        let password = match &new.password {
            NewPassword::Given(given) => given.expose(),
            NewPassword::Generate | NewPassword::Missing => "",
        };
        let input = format!("{new:?}");
        let idempotency = self.idempotency(
            caller,
            "createEndpoint",
            key,
            &[input.as_bytes(), password.as_bytes()],
        )?;
        for _ in 0..super::ATTEMPTS {
            let snapshot = self
                .endpoint_snapshot(caller, new.domain, &new.name)
                .await?;
            let (mut commit, mut created) = match create(&self.mint(), new, &snapshot) {
                Ok(decided) => decided,
                Err(problems) => {
                    let ids = self
                        .replay_of(caller, idempotency.as_ref(), problems)
                        .await?;
                    return self.endpoint_replayed(caller, &ids).await;
                }
            };
            commit.idempotency = idempotency
                .clone()
                .map(|record| record.giving(vec![created.endpoint.id.0]));
            match self.commit(commit).await? {
                Answer::Applied(applied) => {
                    created.endpoint.external_id =
                        applied.external_ids.first().copied().unwrap_or_default();
                    return Ok(Outcome {
                        value: created,
                        replayed: false,
                    });
                }
                Answer::Replayed(ids) => return self.endpoint_replayed(caller, &ids).await,
                Answer::KeyReused => return Err(key_reused()),
                Answer::Failed(_) => {}
            }
        }
        Err(contended().into())
    }

    async fn endpoint_snapshot(
        &self,
        caller: &Caller,
        domain: DomainId,
        text: &str,
    ) -> Result<EndpointSnapshot, Error> {
        let domain = self
            .store
            .domains_by_ids(caller.account, vec![domain])
            .await?
            .into_iter()
            .next();
        let taken = match (&domain, name(text)) {
            (Some(domain), Ok(canonical)) => {
                let key = EndpointKey::Name {
                    domain: Some(domain.name.clone()),
                    canonical,
                };
                self.store.endpoint(caller.account, key).await? != Found::None
            }
            _ => false,
        };
        Ok(EndpointSnapshot { domain, taken })
    }

    async fn endpoint_replayed(
        &self,
        caller: &Caller,
        ids: &[[u8; 16]],
    ) -> Result<Outcome<CreatedEndpoint>, Fault> {
        let ids = ids.iter().copied().map(EndpointId).collect();
        let found = self.store.endpoints_by_ids(caller.account, ids).await?;
        let endpoint = found.into_iter().next();
        Ok(Outcome {
            value: CreatedEndpoint {
                endpoint: endpoint.ok_or_else(|| Error::not_found("endpoint"))?,
                generated_password: None,
            },
            replayed: true,
        })
    }

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
        let mut problems = Vec::new();
        if let Some(id) = domain {
            if caller.endpoints.is_some() {
                return Err(Error::not_found("domain"));
            }
            let snapshot = self.endpoint_snapshot(caller, id, text).await?;
            if snapshot.domain.is_none() {
                return Err(Error::not_found("domain"));
            }
            if snapshot.taken {
                problems.push(name_taken(text));
            }
        }
        problems.extend(name_problems(text));
        let canonical = name(text).ok();
        Ok(NameCheck {
            canonical,
            problems,
        })
    }

    /// Deletes an endpoint with all that belongs to it; messages on their way to it fail first. Scope:
    /// `endpoints.delete`.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn endpoint_delete(
        &self,
        caller: &Caller,
        id: EndpointId,
        key: Option<&str>,
    ) -> Result<Outcome<EndpointId>, Fault> {
        caller.require(Scope::EndpointsDelete)?;
        let idempotency = self.idempotency(caller, "deleteEndpoint", key, &[&id.0])?;
        let done = |replayed| {
            Ok(Outcome {
                value: id,
                replayed,
            })
        };
        let mut attempts = 0;
        while attempts < super::ATTEMPTS {
            let found = self
                .store
                .endpoint(caller.account, EndpointKey::Id(id))
                .await?;
            let (Found::One(endpoint), true) = (found, caller.sees(id)) else {
                let problems = vec![Problem::not_found("id", "endpoint")];
                self.replay_of(caller, idempotency.as_ref(), problems)
                    .await?;
                return done(true);
            };
            if let Some(record) = &idempotency {
                match self
                    .store
                    .idempotent_result(caller.account, record.clone())
                    .await?
                {
                    Some(Answer::KeyReused) => return Err(key_reused()),
                    Some(Answer::Replayed(_)) => return done(true),
                    Some(Answer::Applied(_) | Answer::Failed(_)) | None => {}
                }
            }
            let waiting = self.waiting_for(&endpoint).await?;
            if waiting.len() >= WAITING_MAX {
                // Too many for one transaction: a step of them fails first.
                self.commit(fail_some(&self.mint(), &endpoint, &waiting))
                    .await?;
                continue;
            }
            attempts += 1;
            let mut commit = delete(&self.mint(), &endpoint, &waiting);
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

    /// Returns messages on their way to an endpoint with the sender's copies, at most [`WAITING_MAX`].
    pub(super) async fn waiting_for(&self, endpoint: &Endpoint) -> Result<Vec<Waiting>, Error> {
        let limit = u32::try_from(WAITING_MAX).unwrap_or(u32::MAX);
        let dispatches = self
            .store
            .dispatches_to(endpoint.account, endpoint.id, limit)
            .await?;
        let copies = dispatches.iter().filter_map(|d| d.out_message).collect();
        let messages = self.store.messages_by_ids(endpoint.account, copies).await?;
        let senders = dispatches.iter().map(|d| d.sender).collect();
        let senders = self
            .store
            .endpoints_by_ids(endpoint.account, senders)
            .await?;
        let mut waiting = Vec::with_capacity(dispatches.len());
        for dispatch in dispatches {
            let message = messages.iter().find(|m| Some(m.id) == dispatch.out_message);
            let sender = senders.iter().find(|e| e.id == dispatch.sender);
            let copy = message.cloned().zip(sender.cloned());
            waiting.push((dispatch, copy));
        }
        Ok(waiting)
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
}

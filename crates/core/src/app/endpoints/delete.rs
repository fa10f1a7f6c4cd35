//! Deleting endpoints.

use crate::access::{Caller, Scope};
use crate::app::{ATTEMPTS, App, Outcome, contended, key_reused};
use crate::commit::Answer;
use crate::decide::endpoints::{Waiting, deletable, delete, fail_some};
use crate::endpoint::Endpoint;
use crate::error::Problem;
use crate::ports::store::{EndpointKey, Found};
use crate::{EndpointId, Error, Fault};

/// The most messages on their way that fail in the transaction that deletes their recipient.
pub(in crate::app) const WAITING_MAX: usize = 1000;

impl App {
    /// Deletes an endpoint with all that belongs to it; messages on their way to it fail first. Scope:
    /// `endpoints.delete`.
    ///
    /// # Errors
    /// `NotFound`; `FieldNotUpdatableForType` for a system gateway.
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
        while attempts < ATTEMPTS {
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
            deletable(&endpoint)?;
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
    pub(in crate::app) async fn waiting_for(
        &self,
        endpoint: &Endpoint,
    ) -> Result<Vec<Waiting>, Error> {
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
}

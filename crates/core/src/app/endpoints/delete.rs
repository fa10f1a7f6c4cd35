//! Deleting endpoints.

use crate::access::{Caller, Scope};
use crate::app::settle::Decision;
use crate::app::{ATTEMPTS, App, Outcome, contended};
use crate::commit::Answer;
use crate::decide::endpoints::{Waiting, deletable, delete, fail_some};
use crate::endpoint::{Endpoint, EndpointType};
use crate::error::Problem;
use crate::page::Slice;
use crate::ports::store::{EndpointFilter, EndpointKey, Found};
use crate::{AccountId, EndpointId, Error, Fault};

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
        let settled = self.settle(
            caller,
            idempotency,
            false,
            move || async move {
                loop {
                    let found = self
                        .store
                        .endpoint(caller.account, EndpointKey::Id(id))
                        .await?;
                    let (Found::One(endpoint), true) = (found, caller.sees(id)) else {
                        return Err(Problem::not_found("id", "endpoint").into());
                    };
                    deletable(&endpoint)?;
                    let waiting = self.waiting_for(&endpoint).await?;
                    if waiting.len() < WAITING_MAX {
                        return Ok(Decision {
                            commit: Some(delete(&self.mint(), &endpoint, &waiting)),
                            gives: Vec::new(),
                            value: id,
                        });
                    }
                    // Too many for one transaction: a step of them fails first.
                    self.commit(fail_some(&self.mint(), &endpoint, &waiting))
                        .await?;
                }
            },
            move |_| async move { Ok(id) },
        );
        Ok(settled.await?.into())
    }

    /// Deletes the system gateway of an account with all that belongs to it, as [`App::endpoint_delete`] does others; for the
    /// operator, so there is no caller.
    ///
    /// # Errors
    /// `NotFound` when the account has none.
    pub async fn system_gateway_delete(&self, account: AccountId) -> Result<Endpoint, Fault> {
        let mut failed = 0;
        while failed < ATTEMPTS {
            let filter = EndpointFilter {
                kind: Some(EndpointType::SystemGateway),
                ..EndpointFilter::default()
            };
            let only = Slice {
                backward: false,
                limit: 1,
                after: None,
                before: None,
            };
            let found = self.store.endpoints(account, filter, only).await?;
            let Some(gateway) = found.items.into_iter().next() else {
                return Err(Problem::not_found("account", "system gateway").into());
            };
            let waiting = self.waiting_for(&gateway).await?;
            if waiting.len() < WAITING_MAX {
                let commit = delete(&self.mint(), &gateway, &waiting);
                if matches!(self.commit(commit).await?, Answer::Applied(_)) {
                    return Ok(gateway);
                }
                failed += 1;
            } else {
                // Too many for one transaction: a step of them fails first.
                self.commit(fail_some(&self.mint(), &gateway, &waiting))
                    .await?;
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

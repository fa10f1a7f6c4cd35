//! Deleting an endpoint: the messages on their way to it fail first.

use crate::commit::{Commit, Precondition, Write};
use crate::decide::{Mint, delivery};
use crate::delivery::Dispatch;
use crate::endpoint::{Endpoint, EndpointType};
use crate::error::Problem;
use crate::event::{EventBody, Subjects};
use crate::message::{Failure, FailureCode, Message, MessageStatus};

/// A message on its way to an endpoint, with the sender's copy and the sender, if there is one.
pub type Waiting = (Dispatch, Option<(Message, Endpoint)>);

/// Refuses to delete what is not the tenant's to delete.
///
/// # Errors
/// An endpoint of the type `SYSTEM_GATEWAY`.
pub fn deletable(endpoint: &Endpoint) -> Result<(), Problem> {
    if endpoint.kind == EndpointType::SystemGateway {
        return Err(super::system_gateway());
    }
    Ok(())
}

/// Decides on deleting an endpoint: the messages on their way to it, all of which are given, fail first.
#[must_use]
pub fn delete(mint: &Mint<'_>, endpoint: &Endpoint, waiting: &[Waiting]) -> Commit {
    let count = i64::try_from(waiting.len()).unwrap_or(i64::MAX);
    let mut commit = Commit {
        preconditions: vec![
            Precondition::EndpointAt(endpoint.id, endpoint.version),
            Precondition::WaitingFor(endpoint.id, count),
        ],
        ..Commit::empty(endpoint.account, mint.now)
    };
    for (dispatch, message) in waiting {
        let message = message.as_ref().map(|(message, sender)| (message, sender));
        fail_waiting(mint, &mut commit, dispatch, message);
    }
    commit.writes.push(Write::EndpointDelete(endpoint.id));
    commit
        .events
        .push(mint.event(Subjects::of(endpoint), EventBody::EndpointDeleted));
    commit
}

/// Decides on failing some of the messages on their way to an endpoint that is about to be deleted.
#[must_use]
pub fn fail_some(mint: &Mint<'_>, endpoint: &Endpoint, waiting: &[Waiting]) -> Commit {
    let mut commit = Commit::empty(endpoint.account, mint.now);
    for (dispatch, message) in waiting {
        let message = message.as_ref().map(|(message, sender)| (message, sender));
        fail_waiting(mint, &mut commit, dispatch, message);
    }
    commit
}

fn fail_waiting(
    mint: &Mint<'_>,
    commit: &mut Commit,
    dispatch: &Dispatch,
    message: Option<(&Message, &Endpoint)>,
) {
    commit
        .preconditions
        .push(Precondition::DispatchLeased(dispatch.id, dispatch.lease));
    commit.writes.push(Write::DispatchDelete {
        id: dispatch.id,
        recipient: dispatch.recipient,
    });
    if let Some((message, sender)) = message.filter(|(m, _)| m.status == MessageStatus::Accepted) {
        delivery::set_status(
            mint,
            commit,
            message,
            sender,
            MessageStatus::Failed,
            Some(Failure {
                code: FailureCode::EndpointDeleted,
                sip_status: None,
                reason: None,
            }),
        );
    }
}

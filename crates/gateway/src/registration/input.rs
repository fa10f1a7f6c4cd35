//! What clients say about failed registrations.

use async_graphql::{ID, InputObject};
use sipgraph_core::{EndpointId, Error, defence::Source, ports::store::RegistrationFailureFilter};

use super::types::RegistrationFailureReason;
use crate::{id::NodeId, message::TimeRange};

/// Which failed registrations a list has: those that match all of its fields. An absent field does not filter.
#[derive(Default, InputObject)]
#[graphql(name = "RegistrationFailureFilter")]
pub(crate) struct RegistrationFailureFilterInput {
    /// Only of this endpoint.
    endpoint_id: Option<ID>,
    /// Only from this source: an IPv4 address, an IPv6 address or its network of 64 bits.
    source: Option<String>,
    /// Only for this reason.
    reason: Option<RegistrationFailureReason>,
    /// Only those that last failed in this time.
    at: Option<TimeRange>,
}

impl RegistrationFailureFilterInput {
    pub(super) fn to_core(filter: Option<Self>) -> Result<RegistrationFailureFilter, Error> {
        let filter = filter.unwrap_or_default();
        let source = match filter.source {
            Some(text) => {
                let source = Source::parse(&text);
                Some(source.ok_or_else(|| Error::invalid("`source` is not an IP address."))?)
            }
            None => None,
        };
        let time = filter.at;
        Ok(RegistrationFailureFilter {
            endpoint: filter.endpoint_id.map(|id| EndpointId::of(&id)),
            source,
            reason: filter.reason.map(Into::into),
            from: time.as_ref().and_then(|t| t.from).map(|at| at.0),
            to: time.and_then(|t| t.to).map(|at| at.0),
            visible: None,
        })
    }
}

/// A source to let in again.
#[derive(InputObject)]
pub(crate) struct LiftBanInput {
    /// Its address, as `RegistrationFailure.source` has it.
    pub(super) source: String,
    /// Makes the call safe to repeat: with the same key and input it is done once. Kept for 24 hours.
    pub(super) idempotency_key: Option<String>,
}

//! What clients say about events.

use async_graphql::{ID, InputObject};
use sipgraph_core::{ChatId, DomainId, EndpointId, app::events::EventFilter};

use super::types::EventType;
use crate::id::NodeId;

/// Which events a list or a subscription has: those that match all of its fields. An absent field does not filter; an
/// empty list matches nothing. CHECKPOINT and GAP pass every filter.
#[derive(Default, InputObject)]
#[graphql(name = "EventFilter")]
pub(crate) struct EventFilterInput {
    /// Only of these kinds. A kind whose scope the token lacks is FORBIDDEN; without this field such kinds are left out.
    types: Option<Vec<EventType>>,
    /// Only about these endpoints.
    endpoint_ids: Option<Vec<ID>>,
    /// Only about endpoints of these domains.
    domain_ids: Option<Vec<ID>>,
    /// Only about endpoints of this technology: a name or alias of `technologies`, in any case. An unknown one is `NOT_FOUND`.
    technology: Option<String>,
    /// Only about these chats.
    chat_ids: Option<Vec<ID>>,
}

impl EventFilterInput {
    pub(super) fn to_core(filter: Option<Self>) -> EventFilter {
        let filter = filter.unwrap_or_default();
        EventFilter {
            types: filter
                .types
                .map(|types| types.into_iter().filter_map(EventType::in_log).collect()),
            endpoints: filter.endpoint_ids.map(|ids| EndpointId::all(&ids)),
            domains: filter.domain_ids.map(|ids| DomainId::all(&ids)),
            technology: filter.technology,
            chats: filter.chat_ids.map(|ids| ChatId::all(&ids)),
        }
    }
}

//! What clients say about chats.

use async_graphql::{ID, InputObject};
use sipgraph_core::{EndpointId, ports::store::ChatFilter};

use crate::id::NodeId;

/// Which chats a list has: those that match all of its fields. An absent field does not filter.
#[derive(Default, InputObject)]
#[graphql(name = "ChatFilter")]
pub(crate) struct ChatFilterInput {
    /// Only of this endpoint.
    endpoint_id: Option<ID>,
    /// Only with this other side: an E.164 number, else `user@domain`.
    peer: Option<String>,
    /// Only under this own number or address of the endpoint.
    own_number: Option<String>,
    /// Only with, or only without unread messages.
    unread: Option<bool>,
}

impl ChatFilterInput {
    pub(super) fn to_core(filter: Option<Self>) -> ChatFilter {
        let filter = filter.unwrap_or_default();
        ChatFilter {
            endpoint: filter.endpoint_id.map(|id| EndpointId::of(&id)),
            peer: filter.peer,
            own_number: filter.own_number,
            unread: filter.unread,
            visible: None,
        }
    }

    /// Narrows a filter to one endpoint; one that names another endpoint matches nothing.
    pub(crate) fn of_endpoint(filter: Option<Self>, id: EndpointId) -> ChatFilter {
        let filter = Self::to_core(filter);
        let other = filter.endpoint.is_some_and(|named| named != id);
        ChatFilter {
            endpoint: Some(if other { EndpointId([0; 16]) } else { id }),
            ..filter
        }
    }
}

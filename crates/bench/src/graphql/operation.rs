//! The operations: what is asked of each server, how often, and what it may cost.

use super::fill::{Chats, Pair};
use crate::Size;
use clap::ValueEnum;
use serde_json::{Value, json};

/// Different requests of an operation that reads.
const BODIES: usize = 500;

/// An operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Operation {
    /// An endpoint by its id, twelve fields.
    Q1,
    /// The newest fifty enabled endpoints with a text in their names.
    Q2,
    /// Fifty chats of an endpoint, each with its last message, an endpoint, the unread count and the peer.
    Q3,
    /// A hundred messages of a chat, after a cursor.
    Q4,
    /// A message is sent.
    M1,
    /// A chat with unread messages is marked read.
    M2,
    /// A chat without unread messages is marked read.
    M2Again,
}

/// Whose CPU is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    /// That of the server alone.
    Server,
    /// That of the server and of its connections in Postgres.
    WithPostgres,
}

/// A request of each server; they ask for the same.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// To the product.
    pub(crate) ours: Value,
    /// To the reference.
    pub(crate) theirs: Value,
}

/// What the operations are done with.
pub(crate) struct Known {
    /// Endpoints from all of the list, by their ids on both sides.
    pub(crate) endpoints: Vec<[String; 2]>,
    /// The chats.
    pub(crate) chats: Chats,
}

impl Operation {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Q1 => "Q1, an endpoint by its id",
            Self::Q2 => "Q2, the newest 50 enabled endpoints with a text in their names",
            Self::Q3 => {
                "Q3, 50 chats of an endpoint with last message, endpoint, unread count and peer"
            }
            Self::Q4 => "Q4, 100 messages of a chat after a cursor",
            Self::M1 => "M1, sendMessage with an idempotency key",
            Self::M2 => "M2, markChat of a chat with unread messages",
            Self::M2Again => "M2 again, markChat of a chat without unread messages",
        }
    }

    /// The documents of the product and of the reference; they ask for as many fields.
    pub(crate) fn documents(self) -> [&'static str; 2] {
        match self {
            Self::Q1 => [
                "query Q1($id: ID!) { endpoint(by: {id: $id}) { id name displayName description enabled state callerId sendAs \
                 encryption capacity createdAt updatedAt } }",
                "query Q1($id: ID!) { endpoint(id: $id) { id username type description enabled encryption callerId sendAs \
                 transport capacity createdAt updatedAt } }",
            ],
            Self::Q2 => [
                "query Q2($q: String!) { endpoints(first: 50, filter: {nameContains: $q, enabled: true}) { nodes { id name \
                 callerId enabled encryption createdAt } pageInfo { hasNextPage endCursor } } }",
                "query Q2($q: String!) { endpoints(first: 50, filter: {usernameContains: $q, enabled: true}) { nodes { id \
                 username callerId enabled encryption createdAt } pageInfo { hasNextPage endCursor } } }",
            ],
            Self::Q3 => [
                "query Q3($id: ID!) { endpoint(by: {id: $id}) { chats(first: 50) { nodes { id ownNumber peer unreadCount \
                 messageCount updatedAt lastMessage { id body status createdAt direction from to endpoint { id name } } } \
                 pageInfo { hasNextPage endCursor } } } }",
                "query Q3($id: ID!) { chats(endpointId: $id, first: 50) { nodes { unreadCount lastMessageAt chat { id kind title } \
                 lastMessage { id body status createdAt sender { id username } } peer { id username callerId enabled } } \
                 pageInfo { hasNextPage endCursor } } }",
            ],
            Self::Q4 => [
                "query Q4($id: ID!, $after: Cursor) { chat(id: $id) { messages(first: 100, after: $after) { nodes { id body \
                 status direction createdAt } pageInfo { hasNextPage endCursor } } } }",
                "query Q4($id: ID!, $before: ID) { messages(chatId: $id, first: 100, before: $before) { nodes { id senderId body \
                 status createdAt } pageInfo { hasNextPage endCursor } } }",
            ],
            Self::M1 => [
                "mutation M1($chat: ID!, $body: String!, $key: String!) { sendMessage(input: {to: {chatId: $chat}, body: $body, \
                 idempotencyKey: $key}) { message { id chatId endpointId body status createdAt } userErrors { code } } }",
                "mutation M1($chat: ID!, $sender: ID!, $body: String!, $key: String!) { sendMessage(chatId: $chat, senderId: \
                 $sender, body: $body, key: $key) { id chatId senderId body status createdAt } }",
            ],
            Self::M2 => [
                "mutation M2($chat: ID!) { markChat(input: {id: $chat}) { chat { id unreadCount } markedCount userErrors { code } } }",
                "mutation M2($chat: ID!, $endpoint: ID!) { markChat(chatId: $chat, endpointId: $endpoint) { id unreadCount \
                 markedCount } }",
            ],
            Self::M2Again => [
                "mutation M2($chat: ID!) { markChat(input: {id: $chat}) { chat { id unreadCount } userErrors { code } } }",
                "mutation M2($chat: ID!, $endpoint: ID!) { setChatRead(chatId: $chat, endpointId: $endpoint) { id unreadCount } }",
            ],
        }
    }

    /// The variables of a number of requests. What changes something has as many as a round has requests, so that each chat is
    /// changed once.
    pub(crate) fn variables(self, known: &Known, size: Size) -> Vec<Request> {
        let pairs = |each: fn(&Pair) -> Request, most: usize| {
            let pairs = known.chats.pairs.iter();
            pairs
                .filter(|pair| pair.is_enabled)
                .take(most)
                .map(each)
                .collect()
        };
        let changed = usize::try_from(self.requests(size)).unwrap_or(usize::MAX);
        match self {
            Self::Q1 => {
                let endpoints = known.endpoints.iter();
                let ask = |[ours, theirs]: &[String; 2]| Request {
                    ours: json!({ "id": ours }),
                    theirs: json!({ "id": theirs }),
                };
                endpoints.map(ask).collect()
            }
            Self::Q2 => {
                let ask = |q| Request {
                    ours: json!({ "q": q }),
                    theirs: json!({ "q": q }),
                };
                super::fill::words().map(ask).collect()
            }
            Self::Q3 => {
                let hubs = known.chats.hubs.iter().take(BODIES);
                let ask = |[ours, theirs]: &[String; 2]| Request {
                    ours: json!({ "id": ours }),
                    theirs: json!({ "id": theirs }),
                };
                hubs.map(ask).collect()
            }
            Self::Q4 => {
                let long = known.chats.long.iter().take(BODIES);
                let ask = |long: &super::fill::Long| Request {
                    ours: json!({ "id": long.chat[0], "after": long.after[0] }),
                    theirs: json!({ "id": long.chat[1], "before": long.after[1] }),
                };
                long.map(ask).collect()
            }
            Self::M1 => pairs(
                |pair| Request {
                    ours: json!({ "chat": pair.chat[0], "body": crate::world::BODY }),
                    theirs: json!({ "chat": pair.chat[1], "sender": pair.endpoint, "body": crate::world::BODY }),
                },
                changed,
            ),
            Self::M2 | Self::M2Again => pairs(
                |pair| Request {
                    ours: json!({ "chat": pair.chat[0] }),
                    theirs: json!({ "chat": pair.chat[1], "endpoint": pair.endpoint }),
                },
                changed,
            ),
        }
    }

    /// The fields in which both answers must have the same values.
    pub(crate) fn compared(self) -> [&'static str; 2] {
        match self {
            Self::Q1 | Self::Q2 => ["name", "username"],
            Self::Q3 | Self::Q4 | Self::M1 => ["body", "body"],
            Self::M2 | Self::M2Again => ["unreadCount", "unreadCount"],
        }
    }

    /// The most CPU that a request may cost, as a multiple of the reference's, and whose.
    pub(crate) fn limit(self) -> (f64, Counted) {
        match self {
            Self::Q1 | Self::M2 | Self::M2Again => (1.0, Counted::Server),
            Self::Q2 => (0.6, Counted::WithPostgres),
            Self::Q3 => (0.6, Counted::Server),
            Self::Q4 => (0.8, Counted::Server),
            Self::M1 => (0.4, Counted::Server),
        }
    }

    /// Requests of a round.
    pub(crate) fn requests(self, size: Size) -> u32 {
        match self {
            Self::Q1 => size.pick(2_000, 10_000),
            Self::Q2 => size.pick(300, 2_000),
            Self::Q3 => size.pick(300, 2_000),
            Self::Q4 => size.pick(600, 4_000),
            Self::M1 | Self::M2 => size.pick(300, 2_000),
            Self::M2Again => size.pick(600, 2_000),
        }
    }
}

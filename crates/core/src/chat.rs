//! Chats: the messages of one endpoint's own address with one peer.

use crate::{AccountId, ChatId, EndpointId, MessageId, Timestamp};

/// What makes a chat one chat.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChatKey {
    /// The endpoint that has it.
    pub endpoint: EndpointId,
    /// The endpoint's own side: an E.164 number, else `user@domain`.
    pub own_number: String,
    /// The other side: an E.164 number, else `user@domain`.
    pub peer: String,
}

/// A chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chat {
    /// Its id.
    pub id: ChatId,
    /// The owner.
    pub account: AccountId,
    /// Endpoint, own number and peer.
    pub key: ChatKey,
    /// The `seq` of its newest message ever; 0 before the first.
    pub last_seq: i64,
    /// The newest message that is still there.
    pub last_message: Option<MessageId>,
    /// How many IN messages are unread.
    pub unread_count: i64,
    /// How many messages are there.
    pub message_count: i64,
    /// The number of the event that tells of its last activity; orders lists of chats.
    pub activity_seq: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

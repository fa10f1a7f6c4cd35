//! Chats: the messages of one endpoint with one peer.

mod input;
mod mutation;
mod query;
mod types;

pub(crate) use input::ChatFilterInput;
pub(crate) use mutation::ChatMutation;
pub(crate) use query::{ChatQuery, chats_page};
pub(crate) use types::{Chat, ChatConnection, Composing};

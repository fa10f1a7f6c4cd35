//! Chats: the messages of one endpoint with one peer.

mod input;
mod query;
mod types;

pub(crate) use input::ChatFilterInput;
pub(crate) use query::{ChatQuery, chats_page};
pub(crate) use types::{Chat, ChatConnection};

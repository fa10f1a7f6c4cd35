//! Messages as endpoints keep them.

mod input;
mod mutation;
mod query;
mod types;

pub(crate) use input::{MessageFilterInput, TimeRange};
pub(crate) use mutation::MessageMutation;
pub(crate) use query::{MessageQuery, messages_page};
pub(crate) use types::{Delivery, Message, MessageConnection, MessageStatus};

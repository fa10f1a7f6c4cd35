//! Chats as a whole: marked, cleared and deleted.

use super::Mint;
use super::messages::chat_updated;
use crate::chat::Chat;
use crate::commit::{Commit, Precondition, Write};
use crate::endpoint::Endpoint;
use crate::event::{EventBody, Subjects};

/// Decides on marking the messages of a chat up to and with a `seq`. It is one change of the chat: the messages are not
/// told of one by one.
#[must_use]
pub fn mark(mint: &Mint<'_>, chat: &Chat, owner: &Endpoint, read: bool, up_to_seq: i64) -> Commit {
    let write = Write::ChatMark {
        id: chat.id,
        read,
        up_to_seq,
    };
    let mut commit = changed(mint, chat, write);
    commit.events.push(chat_updated(mint, owner, chat.id));
    commit
}

/// Decides on deleting the messages of a chat, which stays.
#[must_use]
pub fn clear(mint: &Mint<'_>, chat: &Chat, owner: &Endpoint) -> Commit {
    let mut commit = changed(mint, chat, Write::ChatClear(chat.id));
    commit.events.push(chat_updated(mint, owner, chat.id));
    commit
}

/// Decides on deleting a chat with its messages.
#[must_use]
pub fn delete(mint: &Mint<'_>, chat: &Chat, owner: &Endpoint) -> Commit {
    let mut commit = changed(mint, chat, Write::ChatDelete(chat.id));
    let subjects = Subjects {
        chat: Some(chat.id),
        ..Subjects::of(owner)
    };
    commit
        .events
        .push(mint.event(subjects, EventBody::ChatDeleted));
    commit
}

fn changed(mint: &Mint<'_>, chat: &Chat, write: Write) -> Commit {
    Commit {
        preconditions: vec![Precondition::ChatThere(chat.id)],
        writes: vec![write],
        ..Commit::empty(chat.account, mint.now)
    }
}

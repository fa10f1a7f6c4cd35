//! Chats.

use super::settle::{Decision, Settled};
use super::tokens::visible;
use super::{App, Outcome, no_nul};
use crate::access::{Caller, Scope};
use crate::chat::Chat;
use crate::decide::chats::{clear, delete, mark};
use crate::endpoint::Endpoint;
use crate::error::Problem;
use crate::message::MessageDirection;
use crate::page::{ListKind, Page, PageCursors, PageKey, PageRequest, RowCursor};
use crate::ports::store::{ChatFilter, EndpointKey, Found, MessageFilter};
use crate::search::Words;
use crate::{ChatId, Error, Fault, MessageId};

/// A chat whose messages were changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedChat {
    /// The chat afterwards.
    pub chat: Chat,
    /// How many of its messages were changed; `None` in a replay.
    pub count: Option<i64>,
}

impl App {
    /// Marks the messages that came in to a chat read or unread, all or only up to one of them. Scopes: `chats.update`, and
    /// `chats.read` because the chat comes back. Messages that have the mark stay as they are.
    ///
    /// # Errors
    /// `NotFound`, also for a message that is not in the chat.
    pub async fn chat_mark(
        &self,
        caller: &Caller,
        id: ChatId,
        read: bool,
        up_to: Option<MessageId>,
        key: Option<&str>,
    ) -> Result<Outcome<ChangedChat>, Fault> {
        caller.require(Scope::ChatsUpdate)?;
        caller.require(Scope::ChatsRead)?;
        let input = format!("{id:?} {read} {up_to:?}");
        let idempotency = self.idempotency(caller, "markChat", key, &[input.as_bytes()])?;
        let settled = self.settle(
            caller,
            idempotency,
            false,
            move || async move {
                let chat = self.chat_seen(caller, id, "id").await?;
                let up_to_seq = self.last_to_mark(&chat, up_to).await?;
                let count = match up_to {
                    None if read => chat.unread_count,
                    _ => {
                        let filter = MessageFilter {
                            chat: Some(id),
                            direction: Some(MessageDirection::In),
                            read: Some(!read),
                            up_to_seq: Some(up_to_seq),
                            ..MessageFilter::default()
                        };
                        self.store.messages_count(caller.account, filter).await?
                    }
                };
                let mut commit = None;
                if count > 0 {
                    let owner = self.chat_owner(&chat).await?;
                    commit = Some(mark(&self.mint(), &chat, &owner, read, up_to_seq));
                }
                Ok(Decision {
                    commit,
                    gives: vec![id.0],
                    value: ChangedChat::replayed(chat),
                })
            },
            move |_| self.chat_replayed(caller, id),
        );
        Ok(match settled.await? {
            Settled::Applied(before, applied) => {
                let count = applied.counts.first().copied().unwrap_or_default();
                let step = if read { -count } else { count };
                let told = Chat {
                    unread_count: before.chat.unread_count + step,
                    ..before.chat
                };
                self.chat_changed(told, count).await
            }
            unchanged => unchanged_chat(unchanged),
        })
    }

    /// Deletes the messages of a chat, which stays. Scopes: `chats.delete`, and `chats.read` because the chat comes back.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn chat_clear(
        &self,
        caller: &Caller,
        id: ChatId,
        key: Option<&str>,
    ) -> Result<Outcome<ChangedChat>, Fault> {
        caller.require(Scope::ChatsDelete)?;
        caller.require(Scope::ChatsRead)?;
        let idempotency = self.idempotency(caller, "deleteChatMessages", key, &[&id.0])?;
        let settled = self.settle(
            caller,
            idempotency,
            false,
            move || async move {
                let chat = self.chat_seen(caller, id, "id").await?;
                let mut commit = None;
                if chat.message_count > 0 {
                    let owner = self.chat_owner(&chat).await?;
                    commit = Some(clear(&self.mint(), &chat, &owner));
                }
                Ok(Decision {
                    commit,
                    gives: vec![id.0],
                    value: ChangedChat::replayed(chat),
                })
            },
            move |_| self.chat_replayed(caller, id),
        );
        Ok(match settled.await? {
            Settled::Applied(before, applied) => {
                let count = applied.counts.first().copied().unwrap_or_default();
                let told = Chat {
                    last_message: None,
                    unread_count: 0,
                    message_count: 0,
                    ..before.chat
                };
                self.chat_changed(told, count).await
            }
            unchanged => unchanged_chat(unchanged),
        })
    }

    /// Deletes a chat with its messages. Scope: `chats.delete`.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn chat_delete(
        &self,
        caller: &Caller,
        id: ChatId,
        key: Option<&str>,
    ) -> Result<Outcome<ChatId>, Fault> {
        caller.require(Scope::ChatsDelete)?;
        let idempotency = self.idempotency(caller, "deleteChat", key, &[&id.0])?;
        let settled = self.settle(
            caller,
            idempotency,
            false,
            move || async move {
                let chat = self.chat_seen(caller, id, "id").await?;
                let owner = self.chat_owner(&chat).await?;
                Ok(Decision {
                    commit: Some(delete(&self.mint(), &chat, &owner)),
                    gives: Vec::new(),
                    value: id,
                })
            },
            move |_| async move { Ok(id) },
        );
        Ok(settled.await?.into())
    }

    /// Returns the `seq` up to which messages of a chat are marked.
    async fn last_to_mark(&self, chat: &Chat, up_to: Option<MessageId>) -> Result<i64, Fault> {
        let Some(message) = up_to else {
            return Ok(chat.last_seq);
        };
        let found = self.store.messages_by_ids(chat.account, vec![message]);
        let found = found.await?.into_iter().next();
        let found = found.filter(|message| message.chat == chat.id);
        Ok(found
            .ok_or_else(|| Problem::not_found("upToMessageId", "message"))?
            .seq)
    }

    /// Returns a chat that the caller sees; `field` is the argument that names it.
    pub(super) async fn chat_seen(
        &self,
        caller: &Caller,
        id: ChatId,
        field: &str,
    ) -> Result<Chat, Fault> {
        let found = self.store.chats_by_ids(caller.account, vec![id]).await?;
        found
            .into_iter()
            .next()
            .filter(|chat| caller.sees(chat.key.endpoint))
            .ok_or_else(|| Problem::not_found(field, "chat").into())
    }

    /// Returns the endpoint that has a chat.
    async fn chat_owner(&self, chat: &Chat) -> Result<Endpoint, Fault> {
        let owner = EndpointKey::Id(chat.key.endpoint);
        match self.store.endpoint(chat.account, owner).await? {
            Found::One(owner) => Ok(owner),
            Found::None | Found::Ambiguous => Err(Problem::not_found("id", "chat").into()),
        }
    }

    async fn chat_replayed(&self, caller: &Caller, id: ChatId) -> Result<ChangedChat, Fault> {
        let chat = self.chat_seen(caller, id, "id").await?;
        Ok(ChangedChat::replayed(chat))
    }

    /// Returns a changed chat as it is now. A read that fails must not say that nothing was changed: it then is as told.
    async fn chat_changed(&self, told: Chat, count: i64) -> Outcome<ChangedChat> {
        let read = self.store.chats_by_ids(told.account, vec![told.id]).await;
        let chat = read
            .ok()
            .and_then(|found| found.into_iter().next())
            .unwrap_or(told);
        Outcome {
            value: ChangedChat {
                chat,
                count: Some(count),
            },
            replayed: false,
        }
    }

    /// Returns a chat. Scope: `chats.read`.
    ///
    /// # Errors
    /// `Forbidden`, `NotFound`.
    pub async fn chat(&self, caller: &Caller, id: ChatId) -> Result<Chat, Error> {
        self.chats_by_ids(caller, vec![id])
            .await?
            .into_iter()
            .next()
            .ok_or_else(|| Error::not_found("chat"))
    }

    /// Returns those of these chats that are there and seen, in any order. Scope: `chats.read`.
    ///
    /// # Errors
    /// `Forbidden`.
    pub async fn chats_by_ids(
        &self,
        caller: &Caller,
        ids: Vec<ChatId>,
    ) -> Result<Vec<Chat>, Error> {
        caller.require(Scope::ChatsRead)?;
        let mut chats = self.store.chats_by_ids(caller.account, ids).await?;
        chats.retain(|chat| caller.sees(chat.key.endpoint));
        Ok(chats)
    }

    /// Lists chats by last activity, newest first, each with its cursor. Scope: `chats.read`.
    ///
    /// # Errors
    /// `Forbidden`; `Invalid` for a wrong page.
    pub async fn chats(
        &self,
        caller: &Caller,
        filter: ChatFilter,
        request: &PageRequest,
    ) -> Result<Page<(RowCursor, Chat)>, Error> {
        caller.require(Scope::ChatsRead)?;
        no_nul(filter.peer.as_ref())?;
        no_nul(filter.own_number.as_ref())?;
        filter.text.as_ref().map_or(Ok(()), Words::check_search)?;
        let cursors = PageCursors::new(
            &self.keys,
            caller.account,
            ListKind::Chats,
            format!("{filter:?}"),
        );
        let slice = cursors.slice(request)?;
        let filter = ChatFilter {
            visible: visible(caller),
            ..filter
        };
        let page = self.store.chats(caller.account, filter, slice).await?;
        Ok(cursors.page(request, page, |chat| PageKey {
            position: chat.activity_seq,
            tie: [0; 16],
        }))
    }

    /// Counts chats. Scope: `chats.read`.
    ///
    /// # Errors
    /// `Forbidden`.
    pub async fn chats_count(&self, caller: &Caller, filter: ChatFilter) -> Result<i64, Error> {
        caller.require(Scope::ChatsRead)?;
        no_nul(filter.peer.as_ref())?;
        no_nul(filter.own_number.as_ref())?;
        filter.text.as_ref().map_or(Ok(()), Words::check_search)?;
        let filter = ChatFilter {
            visible: visible(caller),
            ..filter
        };
        self.store.chats_count(caller.account, filter).await
    }
}

impl ChangedChat {
    fn replayed(chat: Chat) -> Self {
        Self { chat, count: None }
    }
}

/// The answer when nothing was stored now: nothing was to change, or an earlier call changed it.
fn unchanged_chat(settled: Settled<ChangedChat>) -> Outcome<ChangedChat> {
    let mut outcome = Outcome::from(settled);
    if !outcome.replayed {
        outcome.value.count = Some(0);
    }
    outcome
}

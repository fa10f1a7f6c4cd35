//! Chats.

use super::tokens::visible;
use super::{App, no_nul};
use crate::access::{Caller, Scope};
use crate::chat::Chat;
use crate::page::{ListKind, Page, PageCursors, PageKey, PageRequest};
use crate::ports::store::ChatFilter;
use crate::{ChatId, Error};

impl App {
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
    ) -> Result<Page<(String, Chat)>, Error> {
        caller.require(Scope::ChatsRead)?;
        no_nul(filter.peer.as_ref())?;
        no_nul(filter.own_number.as_ref())?;
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
        Ok(page.map(|chat| {
            let key = PageKey {
                position: chat.activity_seq,
                tie: [0; 16],
            };
            (cursors.encode(key), chat)
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
        let filter = ChatFilter {
            visible: visible(caller),
            ..filter
        };
        self.store.chats_count(caller.account, filter).await
    }
}

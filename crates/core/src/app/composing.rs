//! Who is typing (RFC 3994): told live to those who look, and to the devices of the other side. It is in no store and no log:
//! what nobody hears is lost.

use super::App;
use super::events::FeedEnd;
use super::notices::{News, Notice, Typing};
use super::received::device_call;
use crate::access::{Caller, Scope};
use crate::chat::ChatKey;
use crate::decide::messages::{Side, sender};
use crate::delivery::Way;
use crate::endpoint::Endpoint;
use crate::ports::store::{EndpointKey, Found};
use crate::{AccountId, ChatId, EndpointId, Error, Fault, Timestamp};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// So many notices are kept for feeds that are behind; a feed that is further behind misses some.
const KEPT: usize = 256;
/// How long typing lasts when the device does not say (RFC 3994 section 3.2).
const REFRESH: Duration = Duration::from_secs(120);
/// The longest that a device may say.
const REFRESH_MAX: Duration = Duration::from_secs(600);

/// Somebody types, or has stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Composing {
    /// The chat of the side that looks.
    pub chat: ChatId,
    /// The endpoint that has the chat.
    pub endpoint: EndpointId,
    /// Who types, as the chat's key has it.
    pub peer: String,
    /// Whether it types.
    pub active: bool,
    /// When it is over unless it is told again.
    pub expires_at: Timestamp,
}

/// A device's notice that its user types, authenticated as its endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceNotice {
    /// The sender, by its digest.
    pub sender: Endpoint,
    /// The domain of the request-URI, in lower case.
    pub to_domain: String,
    /// The user of the request-URI as it was written.
    pub to_user: String,
    /// Whether it types.
    pub active: bool,
    /// How long that holds, in seconds, if it says so.
    pub refresh_s: Option<u32>,
}

/// What those who look on this node are told.
#[derive(Default)]
pub(super) struct Feeds {
    told: Mutex<Told>,
    news: event_listener::Event,
}

impl Feeds {
    /// Wakes every feed, so that it sees that the program drains.
    pub(super) fn wake(&self) {
        self.news.notify(usize::MAX);
    }

    /// Tells those who look.
    fn tell(&self, account: AccountId, notice: Composing) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.notices.len() == KEPT {
            told.notices.pop_front();
            told.first += 1;
        }
        told.notices.push_back((account, notice));
        drop(told);
        self.wake();
    }
}

/// The last notices, of which the first has a number.
#[derive(Default)]
struct Told {
    first: u64,
    notices: VecDeque<(AccountId, Composing)>,
}

/// Which notices a feed has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ComposingFilter {
    /// Only of these chats.
    pub chats: Option<Vec<ChatId>>,
    /// Only of chats of these endpoints.
    pub endpoints: Option<Vec<EndpointId>>,
}

/// A live feed of notices.
pub struct ComposingFeed {
    app: Arc<App>,
    caller: Caller,
    filter: ComposingFilter,
    next: u64,
}

impl ComposingFeed {
    /// Waits for the next notice.
    ///
    /// # Errors
    /// [`FeedEnd::Draining`] when the program stops.
    pub async fn next(&mut self) -> Result<Composing, FeedEnd> {
        loop {
            if self.app.is_draining() {
                return Err(FeedEnd::Draining);
            }
            let news = self.app.composing.news.listen();
            if let Some(notice) = self.take() {
                return Ok(notice);
            }
            news.await;
        }
    }

    /// Takes the next notice that is there and wanted.
    fn take(&mut self) -> Option<Composing> {
        let told = self
            .app
            .composing
            .told
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let skipped = usize::try_from(self.next.saturating_sub(told.first)).unwrap_or(usize::MAX);
        self.next = self.next.max(told.first);
        for (account, notice) in told.notices.iter().skip(skipped) {
            self.next += 1;
            let ComposingFilter { chats, endpoints } = &self.filter;
            if *account == self.caller.account
                && self.caller.sees(notice.endpoint)
                && chats.as_ref().is_none_or(|ids| ids.contains(&notice.chat))
                && endpoints
                    .as_ref()
                    .is_none_or(|ids| ids.contains(&notice.endpoint))
            {
                return Some(notice.clone());
            }
        }
        None
    }
}

impl App {
    /// Opens a feed of who types, from now on. Scope: `chats.read`.
    ///
    /// # Errors
    /// `Forbidden`.
    pub fn composing(
        self: &Arc<Self>,
        caller: &Caller,
        filter: ComposingFilter,
    ) -> Result<ComposingFeed, Error> {
        caller.require(Scope::ChatsRead)?;
        let told = self
            .composing
            .told
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let many = u64::try_from(told.notices.len()).unwrap_or(u64::MAX);
        let next = told.first.saturating_add(many);
        drop(told);
        Ok(ComposingFeed {
            app: Arc::clone(self),
            caller: caller.clone(),
            filter,
            next,
        })
    }

    /// Tells the other side of a chat that its endpoint types: those who look, and the other side's devices. Scope:
    /// `messages.create`.
    ///
    /// # Errors
    /// `NotFound`; `EndpointDisabled`.
    pub async fn composing_set(
        &self,
        caller: &Caller,
        chat: ChatId,
        active: bool,
    ) -> Result<(), Fault> {
        caller.require(Scope::MessagesCreate)?;
        let chat = self.chat_seen(caller, chat, "chatId").await?;
        let owner = EndpointKey::Id(chat.key.endpoint);
        let found = self.store.endpoint(caller.account, owner).await?;
        let from = sender(&found)?;
        let ChatKey {
            own_number, peer, ..
        } = &chat.key;
        let key = match peer.rsplit_once('@') {
            Some((user, domain)) => EndpointKey::Name {
                domain: Some(domain.to_owned()),
                canonical: user.to_owned(),
            },
            None => EndpointKey::Number(peer.clone()),
        };
        // A trunk is told of nobody's typing.
        let Found::One(to) = self.store.endpoint(caller.account, key).await? else {
            return Ok(());
        };
        let sides = [side(from, own_number), side(&to, peer)];
        let typing = Typing {
            active,
            refresh: REFRESH,
        };
        Ok(self.composing_tell(from, to, sides, typing).await?)
    }

    /// Takes a notice of a device for those who look and for the devices of the other side, also where no chat keeps what the
    /// two say. It goes where a message of the device would go; one to nobody here is heard by nobody.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn composing_receive(&self, notice: &DeviceNotice) -> Result<(), Error> {
        let Some(call) = device_call(&notice.to_domain, &notice.to_user) else {
            return Ok(());
        };
        let from = EndpointKey::Id(notice.sender.id);
        let gathered = self
            .message_gather(notice.sender.account, &from, &[call])
            .await?;
        let planned = self.message_plan(&self.mint(), &gathered, None).await?;
        let Ok((parties, _)) = planned else {
            return Ok(());
        };
        // A trunk is told of nobody's typing.
        if parties.way != Way::Contacts {
            return Ok(());
        }
        let (recipient, sides) = (parties.recipient.clone(), [parties.from, parties.to]);
        let typing = Typing {
            active: notice.active,
            refresh: notice.refresh_s.map_or(REFRESH, |seconds| {
                Duration::from_secs(seconds.into()).min(REFRESH_MAX)
            }),
        };
        self.composing_tell(parties.sender, recipient, sides, typing)
            .await
    }

    /// Tells a notice to those who look, where there is a chat, and has it sent to the devices of the other side.
    async fn composing_tell(
        &self,
        sender: &Endpoint,
        recipient: Endpoint,
        [from, to]: [Side; 2],
        typing: Typing,
    ) -> Result<(), Error> {
        let Typing { active, refresh } = typing;
        let key = ChatKey {
            endpoint: recipient.id,
            own_number: to.address,
            peer: from.address,
        };
        if let Some(chat) = self.store.chat_by_key(recipient.account, key).await? {
            let lasts = if active { refresh } else { Duration::ZERO };
            let told = Composing {
                chat: chat.id,
                endpoint: recipient.id,
                peer: chat.key.peer,
                active,
                expires_at: self.now().plus(lasts),
            };
            self.composing.tell(recipient.account, told);
        }
        self.notices.send(Notice {
            from: from.uri,
            from_name: sender.caller_id.clone(),
            to: to.uri,
            recipient,
            news: News::Typing(typing),
        });
        Ok(())
    }
}

/// An endpoint as a chat with it names it: by a number of its own, else by its address.
fn side(endpoint: &Endpoint, known_by: &str) -> Side {
    match endpoint.numbers.iter().find(|number| *number == known_by) {
        Some(number) => Side::of_number(number, &endpoint.domain_name),
        None => Side::of(endpoint),
    }
}

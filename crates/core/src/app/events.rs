//! The event log as clients read it: pages of history, and feeds that replay and then follow without a gap.
//!
//! A feed first registers for wakes and then reads the log until it is empty, again and again. Wakes may be lost or
//! repeated: once a second [`App::logs_tick`] looks at the heads of all logs that somebody follows.

use super::App;
use super::tokens::visible;
use crate::access::{Caller, Scope};
use crate::account::LogHead;
use crate::address::technology;
use crate::binding::Binding;
use crate::cursor::EventCursor;
use crate::endpoint::Endpoint;
use crate::event::{Event, EventBody, EventType};
use crate::page::{PAGE_DEFAULT, PAGE_MAX, Page, PageRequest};
use crate::ports::Wake;
use crate::ports::store::EndpointFilter;
use crate::{AccountId, ChatId, DomainId, EndpointId, Error, ErrorKind, Timestamp};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// Events read at once; each feed may hold so many, and a text has up to 60 KiB.
const READ: u32 = 100;
/// How long a feed that yields nothing waits at least before it tells how far it came.
const CHECKPOINT: Duration = Duration::from_secs(30);
/// How many ticks of a second pass between two looks of idle feeds at the clock.
const CHECKPOINT_LOOK: u64 = 10;
/// How long a feed waits for a log that can't be read before it ends, to be resumed elsewhere.
const PATIENCE: Duration = Duration::from_secs(5);

/// Which events a reader wants. Fields combine with AND; an empty list matches nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Only of these kinds.
    pub types: Option<Vec<EventType>>,
    /// Only about these endpoints.
    pub endpoints: Option<Vec<EndpointId>>,
    /// Only about endpoints of these domains.
    pub domains: Option<Vec<DomainId>>,
    /// Only about endpoints of this technology, by its name or an alias in any case.
    pub technology: Option<String>,
    /// Only about these chats.
    pub chats: Option<Vec<ChatId>>,
}

/// Where a feed begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum After {
    /// From now on.
    Now,
    /// From the oldest event that is kept.
    Oldest,
    /// After a cursor.
    Cursor(String),
}

/// Why history is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GapReason {
    /// It is older than what is kept.
    Retention,
    /// The database was restored to an earlier state.
    Restored,
}

/// What a feed gives; each has a cursor to resume after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedItem {
    /// An event.
    Event(Box<Event>),
    /// Nothing matched up to here.
    Checkpoint(Timestamp),
    /// History is missing.
    Gap {
        /// The cursor that the reader came with.
        from: String,
        /// Why.
        reason: GapReason,
        /// When it was noticed.
        at: Timestamp,
    },
}

/// Why a feed ended; the reader resumes with its last cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedEnd {
    /// The program stops.
    Draining,
    /// The log can't be read.
    Unavailable,
}

/// The logs that somebody follows.
#[derive(Default)]
pub(super) struct Logs {
    heads: Mutex<HashMap<AccountId, Weak<Head>>>,
    draining: AtomicBool,
    /// Counts seconds, for feeds that wait for the database or a checkpoint.
    ticks: AtomicU64,
}

/// How far an account's log reaches, as far as this node knows.
struct Head {
    seq: AtomicI64,
    moved: event_listener::Event,
}

impl Logs {
    fn follow(&self, account: AccountId) -> Arc<Head> {
        let mut heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(head) = heads.get(&account).and_then(Weak::upgrade) {
            return head;
        }
        heads.retain(|_, head| head.strong_count() > 0);
        let head = Arc::new(Head {
            seq: AtomicI64::new(0),
            moved: event_listener::Event::new(),
        });
        heads.insert(account, Arc::downgrade(&head));
        head
    }

    fn followed(&self) -> Vec<(AccountId, Arc<Head>)> {
        let heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        heads
            .iter()
            .filter_map(|(account, head)| Some((*account, head.upgrade()?)))
            .collect()
    }
}

impl Head {
    fn reaches(&self, seq: i64) {
        if self.seq.fetch_max(seq, Ordering::AcqRel) < seq {
            self.moved.notify(usize::MAX);
        }
    }
}

impl App {
    /// Passes on a wake of the bus.
    pub fn logs_wake(&self, wake: Wake) {
        let heads = self
            .logs
            .heads
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let head = heads.get(&wake.account).and_then(Weak::upgrade);
        drop(heads);
        if let Some(head) = head {
            head.reaches(wake.seq);
        }
    }

    /// Looks at the heads of all logs that somebody follows, one statement for all. Called once a second.
    ///
    /// # Errors
    /// Those of the store; feeds that wait longer than they should end themselves.
    pub async fn logs_tick(&self) -> Result<(), Error> {
        self.logs.ticks.fetch_add(1, Ordering::AcqRel);
        let followed = self.logs.followed();
        let looked = if followed.is_empty() {
            Ok(Vec::new())
        } else {
            let accounts = followed.iter().map(|(account, _)| *account).collect();
            self.store.log_heads(accounts).await
        };
        // Feeds that wait for the database, or for their next checkpoint, look at the clock.
        let look_at_clock = self
            .logs
            .ticks
            .load(Ordering::Acquire)
            .is_multiple_of(CHECKPOINT_LOOK)
            || looked.is_err();
        match looked {
            Ok(heads) => {
                let heads: HashMap<AccountId, i64> = heads.into_iter().collect();
                for (account, head) in &followed {
                    head.reaches(heads.get(account).copied().unwrap_or(0));
                    if look_at_clock {
                        head.moved.notify(usize::MAX);
                    }
                }
                Ok(())
            }
            Err(error) => {
                for (_, head) in &followed {
                    head.moved.notify(usize::MAX);
                }
                Err(error)
            }
        }
    }

    /// Ends every feed, each with a last checkpoint.
    pub fn drain(&self) {
        self.logs.draining.store(true, Ordering::Release);
        for (_, head) in self.logs.followed() {
            head.moved.notify(usize::MAX);
        }
        self.composing.wake();
    }

    /// Returns whether feeds are to end.
    pub(super) fn is_draining(&self) -> bool {
        self.logs.draining.load(Ordering::Acquire)
    }

    /// Returns the cursor at the head of the caller's log.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn event_cursor(&self, caller: &Caller) -> Result<String, Error> {
        let head = self.log_head(caller.account).await?;
        Ok(EventCursor::at_head(&head).encode(&self.keys, caller.account))
    }

    async fn log_head(&self, account: AccountId) -> Result<LogHead, Error> {
        self.store
            .log_head(account)
            .await?
            .ok_or_else(|| Error::not_found("account"))
    }

    /// Returns the cursor of an event.
    #[must_use]
    pub fn cursor_of(&self, epoch: u32, event: &Event) -> String {
        EventCursor {
            epoch,
            seq: event.seq,
            check: event.check,
        }
        .encode(&self.keys, event.account)
    }

    /// Returns the kinds of events that a caller may read.
    #[must_use]
    pub fn readable_event_types(&self, caller: &Caller) -> Vec<EventType> {
        EventType::ALL
            .iter()
            .copied()
            .filter(|kind| caller.has(kind.scope()))
            .collect()
    }

    /// Lists events of the log, oldest first, each with its cursor. Kinds that the caller may not read are left out,
    /// unless the filter names them.
    ///
    /// # Errors
    /// `Forbidden` for a kind named without its scope; `NotFound` for an unknown technology; `Invalid` for a wrong page or cursor.
    pub async fn events_page(
        &self,
        caller: &Caller,
        filter: &EventFilter,
        request: &PageRequest,
    ) -> Result<Page<(String, Event)>, Error> {
        /// Events examined for one page at most; a filter that matches little then gives a short page.
        const EXAMINED_MAX: usize = 100_000;
        let wanted = Wanted::new(caller, filter)?;
        let limit = match (request.first, request.last) {
            (Some(_), Some(_)) => {
                return Err(Error::invalid("Give `first` or `last`, not both."));
            }
            (None, None) => usize::try_from(PAGE_DEFAULT).unwrap_or_default(),
            (Some(n), None) | (None, Some(n)) => usize::try_from(n)
                .ok()
                .filter(|_| (1..=PAGE_MAX).contains(&n))
                .ok_or_else(|| {
                    Error::invalid(format!("A page has 1 to {PAGE_MAX} rows, not {n}."))
                })?,
        };
        let head = self.log_head(caller.account).await?;
        let place = |text: &Option<String>| -> Result<Option<i64>, Error> {
            match text.as_deref() {
                None | Some("") => Ok(None),
                Some(text) => {
                    let cursor = EventCursor::decode(text, &self.keys, caller.account)?;
                    if cursor.epoch != head.epoch || cursor.seq > head.seq {
                        return Err(Error::invalid(
                            "The log was restored to an earlier state; read it from the start.",
                        ));
                    }
                    Ok(Some(cursor.seq))
                }
            }
        };
        let after = place(&request.after)?.unwrap_or(0);
        let before = place(&request.before)?.unwrap_or(i64::MAX);
        let backward = request.last.is_some();
        let mut items = Vec::new();
        let (mut low, mut high) = (after, before);
        let mut examined = 0;
        let mut more = false;
        'read: loop {
            let batch = if backward {
                self.store.events_before(caller.account, high, READ).await?
            } else {
                self.store.events_after(caller.account, low, READ).await?
            };
            if batch.is_empty() {
                break;
            }
            for event in batch {
                if event.seq <= after || event.seq >= before {
                    break 'read;
                }
                (low, high) = (event.seq, event.seq);
                examined += 1;
                if wanted.matches(&event) {
                    if items.len() == limit {
                        more = true;
                        break 'read;
                    }
                    items.push((self.cursor_of(head.epoch, &event), event));
                }
            }
            if examined >= EXAMINED_MAX {
                if items.is_empty() {
                    return Err(Error::invalid(
                        "The filter matches nothing in a hundred thousand events; begin elsewhere in the log.",
                    ));
                }
                more = true;
                break;
            }
        }
        if backward {
            items.reverse();
        }
        Ok(Page {
            items,
            has_next: if backward { before != i64::MAX } else { more },
            has_previous: if backward { more } else { after > 0 },
        })
    }

    /// Opens a feed: everything after a place, then live.
    ///
    /// # Errors
    /// `Forbidden` for a kind named without its scope; `NotFound` for an unknown technology; `Invalid` for a cursor that is forged
    /// or another account's.
    pub async fn events(
        self: &Arc<Self>,
        caller: &Caller,
        filter: &EventFilter,
        after: &After,
    ) -> Result<EventFeed, Error> {
        let wanted = Wanted::new(caller, filter)?;
        let cursor = match after {
            After::Cursor(text) => Some(EventCursor::decode(text, &self.keys, caller.account)?),
            After::Now | After::Oldest => None,
        };
        // Registered before the first read, so that no wake is missed between them.
        let head = self.logs.follow(caller.account);
        let log = self.log_head(caller.account).await?;
        let mut feed = EventFeed {
            app: self.clone(),
            account: caller.account,
            wanted,
            head,
            place: EventCursor::at_head(&log),
            buffer: VecDeque::new(),
            gap: None,
            told_at: self.now(),
            told_seq: log.seq,
            failing_since: None,
            ended: None,
        };
        if *after == After::Oldest {
            feed.place = oldest(&log);
        }
        if let Some(cursor) = cursor {
            feed.resume(cursor, &log).await?;
        }
        feed.told_seq = feed.place.seq;
        Ok(feed)
    }
}

fn oldest(log: &LogHead) -> EventCursor {
    if log.trimmed == log.seq {
        return EventCursor::at_head(log);
    }
    EventCursor {
        epoch: log.epoch,
        seq: log.trimmed,
        // The row is gone, so nothing is left to compare with.
        check: 0,
    }
}

/// A filter together with what the caller may read.
struct Wanted {
    types: Vec<EventType>,
    filter: EventFilter,
    /// Whether only events about endpoints are wanted: each endpoint is one of the technology that is available.
    of_endpoints: bool,
    visible: Option<Vec<EndpointId>>,
}

impl Wanted {
    fn new(caller: &Caller, filter: &EventFilter) -> Result<Self, Error> {
        let mut types = match &filter.types {
            Some(types) => {
                for kind in types {
                    caller.require(kind.scope())?;
                }
                types.clone()
            }
            None => {
                let readable: Vec<_> = EventType::ALL
                    .iter()
                    .copied()
                    .filter(|kind| caller.has(kind.scope()))
                    .collect();
                if readable.is_empty() {
                    caller.require(Scope::EndpointsRead)?;
                }
                readable
            }
        };
        let known = |name: &String| technology(name).ok_or_else(|| Error::not_found("technology"));
        let technology = filter.technology.as_ref().map(known).transpose()?;
        if technology.is_some_and(|technology| !technology.available) {
            types.clear();
        }
        Ok(Self {
            types,
            filter: filter.clone(),
            of_endpoints: technology.is_some(),
            visible: visible(caller),
        })
    }

    fn matches(&self, event: &Event) -> bool {
        fn one_of<T: PartialEq>(list: Option<&Vec<T>>, value: Option<T>) -> bool {
            list.is_none_or(|list| value.is_some_and(|value| list.contains(&value)))
        }
        self.types.contains(&event.body.event_type())
            && (!self.of_endpoints || event.subjects.endpoint.is_some())
            && one_of(self.filter.endpoints.as_ref(), event.subjects.endpoint)
            && one_of(self.filter.domains.as_ref(), event.subjects.domain)
            && one_of(self.filter.chats.as_ref(), event.subjects.chat)
            && one_of(self.visible.as_ref(), event.subjects.endpoint)
    }
}

/// A reader's way through the log.
pub struct EventFeed {
    app: Arc<App>,
    account: AccountId,
    wanted: Wanted,
    head: Arc<Head>,
    /// Up to where the log was examined.
    place: EventCursor,
    buffer: VecDeque<Event>,
    gap: Option<FeedItem>,
    /// When something was last given.
    told_at: Timestamp,
    /// Up to where the reader was told.
    told_seq: i64,
    failing_since: Option<Timestamp>,
    ended: Option<FeedEnd>,
}

impl EventFeed {
    /// Sets the place after a cursor whose MAC is good, or notes the gap.
    async fn resume(&mut self, cursor: EventCursor, log: &LogHead) -> Result<(), Error> {
        let reason = if cursor.epoch != log.epoch || cursor.seq > log.seq {
            Some(GapReason::Restored)
        } else if cursor.seq < log.trimmed {
            Some(GapReason::Retention)
        } else if cursor.seq == log.trimmed || cursor.seq == 0 {
            None
        } else {
            let rows = self
                .app
                .store
                .events_after(self.account, cursor.seq - 1, 1)
                .await?;
            let same = rows
                .first()
                .is_some_and(|row| row.seq == cursor.seq && row.check == cursor.check);
            (!same).then_some(GapReason::Restored)
        };
        self.place = match reason {
            None => cursor,
            Some(GapReason::Retention) => oldest(log),
            Some(GapReason::Restored) => EventCursor::at_head(log),
        };
        self.gap = reason.map(|reason| FeedItem::Gap {
            from: cursor.encode(&self.app.keys, self.account),
            reason,
            at: self.app.now(),
        });
        Ok(())
    }

    /// Waits for the next item and its cursor. After an end it gives the same end again. Dropping the future before it
    /// ends loses nothing.
    ///
    /// # Errors
    /// Why the feed ended; the reader resumes with its last cursor.
    pub async fn next(&mut self) -> Result<(FeedItem, String), FeedEnd> {
        loop {
            if let Some(gap) = self.gap.take() {
                return Ok(self.tell(gap));
            }
            while let Some(event) = self.buffer.pop_front() {
                self.place.seq = event.seq;
                self.place.check = event.check;
                if self.wanted.matches(&event) {
                    return Ok(self.tell(FeedItem::Event(Box::new(event))));
                }
            }
            if let Some(end) = self.ended {
                return Err(end);
            }
            let head = self.head.clone();
            let listener = head.moved.listen();
            let now = self.app.now();
            if self.app.is_draining() {
                self.ended = Some(FeedEnd::Draining);
                return Ok(self.tell(FeedItem::Checkpoint(now)));
            }
            if self.place.seq > self.told_seq && now.since(self.told_at) >= CHECKPOINT {
                return Ok(self.tell(FeedItem::Checkpoint(now)));
            }
            self.read().await;
            if self.gap.is_some() || !self.buffer.is_empty() {
                continue;
            }
            if self
                .failing_since
                .is_some_and(|since| now.since(since) >= PATIENCE)
            {
                self.ended = Some(FeedEnd::Unavailable);
                return Ok(self.tell(FeedItem::Checkpoint(now)));
            }
            listener.await;
        }
    }

    /// Reads on, where the head says that there is something.
    async fn read(&mut self) {
        let first_look = self.head.seq.load(Ordering::Acquire) == 0;
        if self.head.seq.load(Ordering::Acquire) <= self.place.seq
            && !first_look
            && self.failing_since.is_none()
        {
            return;
        }
        match self
            .app
            .store
            .events_after(self.account, self.place.seq, READ)
            .await
        {
            Ok(events) => {
                self.failing_since = None;
                if let Some(last) = events.last() {
                    self.head.reaches(last.seq);
                }
                if let Some(first) = events.first()
                    && first.seq > self.place.seq + 1
                {
                    self.overtaken(first.seq - 1);
                }
                self.buffer.extend(events);
            }
            Err(error) => {
                tracing::debug!(%error, account = %self.account, "the log can't be read");
                self.failing_since.get_or_insert(self.app.now());
            }
        }
    }

    /// Retention trimmed what this reader had not reached: numbers have no holes of their own.
    fn overtaken(&mut self, trimmed: i64) {
        self.gap = Some(FeedItem::Gap {
            from: self.place.encode(&self.app.keys, self.account),
            reason: GapReason::Retention,
            at: self.app.now(),
        });
        self.place.seq = trimmed;
        // The row is gone, so nothing is left to compare with.
        self.place.check = 0;
    }

    fn tell(&mut self, item: FeedItem) -> (FeedItem, String) {
        self.told_at = self.app.now();
        self.told_seq = self.place.seq;
        (item, self.place.encode(&self.app.keys, self.account))
    }
}

/// What a presence feed tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateUpdate {
    /// An endpoint that matched when the feed was opened.
    Initial(Box<Endpoint>, Vec<Binding>),
    /// All of those were told.
    InitialDone,
    /// An endpoint changed, or came to match.
    Changed(Box<Endpoint>, Vec<Binding>),
    /// An endpoint was deleted, or no longer matches.
    Removed(EndpointId),
}

/// The presence of endpoints: as it is, then as it changes.
pub struct StateFeed {
    feed: EventFeed,
    caller: Caller,
    filter: EndpointFilter,
    initial: VecDeque<(Endpoint, Vec<Binding>)>,
    next_page: Option<PageRequest>,
    initial_done: bool,
    known: std::collections::HashSet<EndpointId>,
}

impl App {
    /// Opens a presence feed. Scope: `endpoints.read`.
    ///
    /// # Errors
    /// `Forbidden`.
    pub async fn endpoint_states(
        self: &Arc<Self>,
        caller: &Caller,
        filter: EndpointFilter,
    ) -> Result<StateFeed, Error> {
        caller.require(Scope::EndpointsRead)?;
        let types = vec![
            EventType::EndpointStateChanged,
            EventType::ContactStatusChanged,
            EventType::EndpointCreated,
            // It may come to match, or no longer.
            EventType::EndpointUpdated,
            EventType::EndpointDeleted,
        ];
        // Opened before the list is read: what changes meanwhile is told again, never missed.
        let event_filter = EventFilter {
            types: Some(types),
            ..EventFilter::default()
        };
        let feed = self.events(caller, &event_filter, &After::Now).await?;
        Ok(StateFeed {
            feed,
            caller: caller.clone(),
            filter,
            initial: VecDeque::new(),
            next_page: Some(PageRequest {
                first: Some(PAGE_MAX),
                ..PageRequest::default()
            }),
            initial_done: false,
            known: std::collections::HashSet::new(),
        })
    }
}

impl StateFeed {
    /// Waits for the next update and when it happened. Dropping the future before it ends loses its update: hold it.
    ///
    /// # Errors
    /// Why the feed ended. The reader opens a new one.
    pub async fn next(&mut self) -> Result<(StateUpdate, Timestamp), FeedEnd> {
        let app = self.feed.app.clone();
        loop {
            if let Some((endpoint, contacts)) = self.initial.pop_front() {
                self.known.insert(endpoint.id);
                return Ok((
                    StateUpdate::Initial(Box::new(endpoint), contacts),
                    app.now(),
                ));
            }
            if let Some(request) = self.next_page.take() {
                let page = app
                    .endpoints(&self.caller, self.filter.clone(), &request)
                    .await
                    .map_err(|error| unavailable(&error))?;
                if page.has_next {
                    self.next_page = Some(PageRequest {
                        after: page.items.last().map(|(cursor, _)| cursor.text()),
                        ..request
                    });
                }
                let ids = page.items.iter().map(|(_, endpoint)| endpoint.id).collect();
                let mut contacts: HashMap<EndpointId, Vec<Binding>> = HashMap::new();
                for binding in app
                    .contacts_by_endpoints(&self.caller, ids)
                    .await
                    .map_err(|error| unavailable(&error))?
                {
                    contacts.entry(binding.endpoint).or_default().push(binding);
                }
                self.initial
                    .extend(page.items.into_iter().map(|(_, endpoint)| {
                        let contacts = contacts.remove(&endpoint.id).unwrap_or_default();
                        (endpoint, contacts)
                    }));
                continue;
            }
            if !self.initial_done {
                self.initial_done = true;
                return Ok((StateUpdate::InitialDone, app.now()));
            }
            let (item, _) = self.feed.next().await?;
            let FeedItem::Event(event) = item else {
                continue;
            };
            let Some(id) = event.subjects.endpoint else {
                continue;
            };
            if event.body == EventBody::EndpointDeleted {
                if self.known.remove(&id) {
                    return Ok((StateUpdate::Removed(id), event.at));
                }
                continue;
            }
            let filter = EndpointFilter {
                ids: Some(match &self.filter.ids {
                    Some(ids) if !ids.contains(&id) => Vec::new(),
                    _ => vec![id],
                }),
                ..self.filter.clone()
            };
            let page = app
                .endpoints(&self.caller, filter, &PageRequest::default())
                .await
                .map_err(|error| unavailable(&error))?;
            match page.items.into_iter().next() {
                Some((_, endpoint)) => {
                    self.known.insert(id);
                    let contacts = self.contacts(&app, id).await?;
                    return Ok((StateUpdate::Changed(Box::new(endpoint), contacts), event.at));
                }
                None if self.known.remove(&id) => {
                    return Ok((StateUpdate::Removed(id), event.at));
                }
                None => {}
            }
        }
    }

    async fn contacts(&self, app: &App, id: EndpointId) -> Result<Vec<Binding>, FeedEnd> {
        app.contacts(&self.caller, id)
            .await
            .map_err(|error| unavailable(&error))
    }
}

fn unavailable(error: &Error) -> FeedEnd {
    if error.kind == ErrorKind::Internal {
        tracing::error!(%error, "a presence feed failed");
    }
    FeedEnd::Unavailable
}

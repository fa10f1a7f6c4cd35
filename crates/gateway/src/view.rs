//! What one caller sees at one time: the application, the caller, and a set of loaders.
//!
//! A query operation has one view. Each root field of a mutation and each event of a subscription has one of its own,
//! because a kept one would show values from before the write. Every object of the schema carries the view that it was
//! read in, so that its fields cannot mix two.
//!
//! A view also knows how many rows its operation may still list: lists in lists multiply, and the document alone does not
//! tell by how much.

use std::{
    hash::Hash,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI64, Ordering},
    },
};

use ::dataloader::BatchFn;
use async_graphql::Context;
use sipgraph_core::{
    App, ApplicationId, ChatId, DomainId, EndpointId, Error, ErrorKind, ExchangeId, MessageId,
    access::{Caller, Scope},
    account, application,
    binding::Binding,
    chat, delivery, domain, endpoint,
    keyring::Secret,
    message,
    page::{PAGE_DEFAULT, PAGE_MAX, Page, PageRequest},
    sip_profile::SipProfile,
};
use tokio::sync::OnceCell;

use crate::{
    account::Account,
    application::Application,
    chat::Chat,
    domain::Domain,
    endpoint::Endpoint,
    errors,
    loaders::{Answer, Batch, Loader, ahead, get, loader},
    message::Message,
    resolve::Whole,
};

/// The most rows that the lists of one operation, or of one event of a subscription, may have together: twenty of the
/// longest pages, or a full page of rows with fifteen rows below each.
const ROWS_MAX: i64 = 20_000;

/// What one caller sees at one time. Clones share their loaders.
#[derive(Clone)]
pub(crate) struct View(Arc<Inner>);

struct Inner {
    app: Arc<App>,
    caller: Caller,
    /// Shared by all views of one operation.
    rows_left: Arc<AtomicI64>,
    account: OnceCell<account::Account>,
    sip_profile: OnceCell<SipProfile>,
    endpoints: OnceLock<Loader<EndpointId, Arc<endpoint::Endpoint>>>,
    domains: OnceLock<Loader<DomainId, domain::Domain>>,
    applications: OnceLock<Loader<ApplicationId, application::Application>>,
    messages: OnceLock<Loader<MessageId, Arc<message::Message>>>,
    chats: OnceLock<Loader<ChatId, Arc<chat::Chat>>>,
    contacts: OnceLock<Loader<EndpointId, Vec<Binding>>>,
    unread: OnceLock<Loader<EndpointId, i64>>,
    voip_tokens: OnceLock<Loader<EndpointId, Secret>>,
    traces: OnceLock<Loader<ExchangeId, delivery::Trace>>,
}

impl View {
    pub(crate) fn new(app: Arc<App>, caller: Caller) -> Self {
        Self::with_rows(app, caller, Arc::new(AtomicI64::new(ROWS_MAX)))
    }

    fn with_rows(app: Arc<App>, caller: Caller, rows_left: Arc<AtomicI64>) -> Self {
        Self(Arc::new(Inner {
            app,
            caller,
            rows_left,
            account: OnceCell::new(),
            sip_profile: OnceCell::new(),
            endpoints: OnceLock::new(),
            domains: OnceLock::new(),
            applications: OnceLock::new(),
            messages: OnceLock::new(),
            chats: OnceLock::new(),
            contacts: OnceLock::new(),
            unread: OnceLock::new(),
            voip_tokens: OnceLock::new(),
            traces: OnceLock::new(),
        }))
    }

    /// Returns the view of the operation that a resolver works for.
    pub(crate) fn of(ctx: &Context<'_>) -> Self {
        ctx.data_unchecked::<Self>().clone()
    }

    /// Returns a view of the same operation that knows nothing yet; for a root field of a mutation.
    pub(crate) fn fresh(&self) -> Self {
        let Inner {
            app,
            caller,
            rows_left,
            ..
        } = &*self.0;
        Self::with_rows(Arc::clone(app), caller.clone(), Arc::clone(rows_left))
    }

    /// Returns a view that knows nothing yet and may list as many rows as an operation; for an event of a subscription.
    pub(crate) fn of_event(&self) -> Self {
        Self::new(Arc::clone(&self.0.app), self.0.caller.clone())
    }

    /// Reads a page of a list, unless the lists of the operation would have too many rows together.
    ///
    /// The rows asked for are reserved before the read, because the lists of one level are read at one time. What the page
    /// does not fill is given back, all but one row: an empty page is a read too.
    ///
    /// # Errors
    /// `QUERY_TOO_COMPLEX`, or what the read fails with.
    pub(crate) async fn page<T>(
        &self,
        request: &PageRequest,
        read: impl Future<Output = Result<Page<T>, Error>>,
    ) -> async_graphql::Result<Page<T>> {
        // Core refuses a number out of range before it reads a row.
        let asked = request
            .first
            .or(request.last)
            .map_or(PAGE_DEFAULT.into(), i64::from);
        let asked = asked.clamp(1, PAGE_MAX.into());
        let left = &self.0.rows_left;
        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            (left >= asked).then_some(left - asked)
        })
        .map_err(|_| errors::too_many_rows(ROWS_MAX))?;
        let page = read.await;
        let rows = page.as_ref().map_or(0, |page| page.items.len());
        let used = i64::try_from(rows).unwrap_or(asked).clamp(1, asked);
        left.fetch_add(asked - used, Ordering::Relaxed);
        page.map_err(errors::error)
    }

    pub(crate) fn app(&self) -> &Arc<App> {
        &self.0.app
    }

    pub(crate) fn caller(&self) -> &Caller {
        &self.0.caller
    }

    pub(crate) async fn account(&self) -> Result<Account, Error> {
        let read = || self.0.app.account(&self.0.caller);
        let account = Box::pin(self.0.account.get_or_try_init(read)).await?;
        Ok(Account::new(account.clone()))
    }

    /// Returns what endpoints have that set nothing of their own.
    pub(crate) async fn sip_profile(&self) -> Result<&SipProfile, Error> {
        let read = || self.0.app.sip_profile_of_endpoints(&self.0.caller);
        Box::pin(self.0.sip_profile.get_or_try_init(read)).await
    }

    fn loader<K, V>(&self, of: impl Fn(&Inner) -> &OnceLock<Loader<K, V>>) -> &Loader<K, V>
    where
        K: Eq + Hash + Clone + std::fmt::Debug,
        V: Clone,
        Batch: BatchFn<K, Answer<V>>,
    {
        of(&self.0).get_or_init(|| loader(&self.0.app, &self.0.caller))
    }

    /// Looks up endpoints that rows are going to ask for one by one.
    pub(crate) async fn endpoints_ahead(&self, ids: impl Iterator<Item = EndpointId>) {
        ahead(self.loader(|of| &of.endpoints), ids).await;
    }

    /// Looks up domains that rows are going to ask for one by one.
    pub(crate) async fn domains_ahead(&self, ids: impl Iterator<Item = DomainId>) {
        ahead(self.loader(|of| &of.domains), ids).await;
    }

    /// Looks up chats that rows are going to ask for one by one.
    pub(crate) async fn chats_ahead(&self, ids: impl Iterator<Item = ChatId>) {
        ahead(self.loader(|of| &of.chats), ids).await;
    }

    /// Looks up messages that rows are going to ask for one by one.
    pub(crate) async fn messages_ahead(&self, ids: impl Iterator<Item = MessageId>) {
        ahead(self.loader(|of| &of.messages), ids).await;
    }

    pub(crate) async fn endpoint(&self, id: EndpointId) -> Result<Option<Whole<Endpoint>>, Error> {
        let row = get(self.loader(|of| &of.endpoints), id).await?;
        Ok(row.map(|row| Whole(Endpoint::new(row, self.clone()))))
    }

    pub(crate) async fn domain(&self, id: DomainId) -> Result<Option<Domain>, Error> {
        Ok(get(self.loader(|of| &of.domains), id)
            .await?
            .map(Domain::new))
    }

    pub(crate) async fn application(
        &self,
        id: ApplicationId,
    ) -> Result<Option<Application>, Error> {
        Ok(get(self.loader(|of| &of.applications), id)
            .await?
            .map(Application::new))
    }

    pub(crate) async fn message(&self, id: MessageId) -> Result<Option<Whole<Message>>, Error> {
        let row = get(self.loader(|of| &of.messages), id).await?;
        Ok(row.map(|row| Whole(Message::new(row, self.clone()))))
    }

    pub(crate) async fn chat(&self, id: ChatId) -> Result<Option<Whole<Chat>>, Error> {
        let row = get(self.loader(|of| &of.chats), id).await?;
        Ok(row.map(|row| Whole(Chat::new(row, self.clone()))))
    }

    pub(crate) async fn contacts(&self, id: EndpointId) -> Result<Vec<Binding>, Error> {
        Ok(get(self.loader(|of| &of.contacts), id)
            .await?
            .unwrap_or_default())
    }

    pub(crate) async fn unread_count(&self, id: EndpointId) -> Result<i64, Error> {
        Ok(get(self.loader(|of| &of.unread), id)
            .await?
            .unwrap_or_default())
    }

    pub(crate) async fn voip_token(&self, id: EndpointId) -> Result<Option<Secret>, Error> {
        get(self.loader(|of| &of.voip_tokens), id).await
    }

    pub(crate) async fn trace(&self, exchange: ExchangeId) -> Result<delivery::Trace, Error> {
        let trace = get(self.loader(|of| &of.traces), exchange).await?;
        Ok(trace.unwrap_or_default())
    }

    /// Returns whether the caller has a scope; for fields that are null, and no error, without it.
    pub(crate) fn may(&self, scope: Scope) -> bool {
        self.0.caller.has(scope)
    }
}

/// Returns the row of a look-up, or "not found", which for a row of ours means that it went meanwhile.
pub(crate) fn found<T>(row: Result<Option<T>, Error>, what: &'static str) -> Result<T, Error> {
    row?.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("There is no such {what}.")))
}

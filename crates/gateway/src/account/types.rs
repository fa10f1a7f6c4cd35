//! What clients see of accounts, tokens in use and technologies.

use async_graphql::{ID, Object, SimpleObject};
use sipgraph_core::{
    access::Scope, account, address::TechnologyName, ports::store::EndpointFilter,
};

use crate::{
    errors::{Nullable, UserError, error, nullable},
    event::EventType,
    id::NodeId,
    scalars::{DateTime, int},
    view::View,
};

/// A tenant; everything else belongs to one.
pub(crate) struct Account {
    row: account::Account,
}

impl Account {
    pub(crate) fn new(row: account::Account) -> Self {
        Self { row }
    }
}

/// A tenant. Every other object belongs to one, and a token sees only those of its own.
#[Object]
impl Account {
    /// Its opaque id.
    pub(crate) async fn id(&self) -> ID {
        self.row.id.to_id()
    }

    /// Its name, unique in the instance.
    async fn name(&self) -> &str {
        &self.row.name
    }

    /// Whether no two endpoints of all its domains may have one name, by canonical form; false unless told otherwise. Names are
    /// unique in their domains in any case.
    async fn unique_names_across_account(&self) -> bool {
        self.row.unique_names
    }

    /// The telephone numbers (E.164) that the operator assigned to it, sorted.
    async fn numbers(&self) -> &[String] {
        &self.row.numbers
    }

    /// When it was made.
    async fn created_at(&self) -> DateTime {
        DateTime(self.row.created_at)
    }
}

/// The answer to `updateAccount`.
#[derive(SimpleObject)]
pub(crate) struct UpdateAccountPayload {
    /// The account, with `dryRun` as it would be; null when it was refused.
    pub(crate) account: Option<Account>,
    /// The names of the fields that changed; empty in a replay.
    pub(crate) changed_fields: Vec<String>,
    /// True when nothing was stored, because a dry run was asked for.
    pub(crate) dry_run: bool,
    /// True when an earlier call with the same idempotency key changed it.
    pub(crate) replayed: bool,
    /// What the caller can mend; empty when nothing was refused.
    pub(crate) user_errors: Vec<UserError>,
}

/// The token of the request.
pub(crate) struct Viewer {
    pub(crate) view: View,
}

/// Who is asking: the token of this request, its account and what it may do.
#[Object]
impl Viewer {
    /// The opaque id of the token.
    pub(crate) async fn id(&self) -> ID {
        self.view.caller().token.to_id()
    }

    /// The account whose objects the token sees.
    async fn account(&self) -> async_graphql::Result<Account> {
        self.view.account().await.map_err(error)
    }

    /// The name of the token.
    async fn token_name(&self) -> &str {
        &self.view.caller().token_name
    }

    /// What the token may do, as granted, sorted; `<resource>.manage` includes the other scopes of its resource.
    async fn scopes(&self) -> Vec<&'static str> {
        let scopes = &self.view.caller().scopes;
        scopes.iter().copied().map(Scope::as_str).collect()
    }

    /// The only endpoints that the token sees and acts as; null when it sees all of its account.
    async fn endpoint_ids(&self) -> Option<Vec<ID>> {
        let bound = self.view.caller().endpoints.as_ref()?;
        Some(bound.iter().map(|id| id.to_id()).collect())
    }

    /// When the token ends; null when it does not.
    async fn expires_at(&self) -> Option<DateTime> {
        self.view.caller().expires_at.map(DateTime)
    }

    /// The kinds of events that the token may read. CHECKPOINT and GAP come besides these.
    async fn readable_event_types(&self) -> Vec<EventType> {
        let types = self.view.app().readable_event_types(self.view.caller());
        types.into_iter().map(EventType::from).collect()
    }
}

/// A technology that endpoints can have.
pub(crate) struct Technology {
    pub(crate) name: &'static TechnologyName,
    pub(crate) view: View,
}

/// A technology that carries messages to endpoints, as ARI names it.
#[Object]
impl Technology {
    /// Its name.
    async fn name(&self) -> &str {
        self.name.name
    }

    /// Names that mean it as a URI's scheme or as `technology`, in lower case.
    async fn aliases(&self) -> &[&'static str] {
        self.name.aliases
    }

    /// Whether this instance can carry messages of it.
    async fn available(&self) -> bool {
        self.name.available
    }

    /// How many endpoints that the token sees have it. Needs the scope endpoints.read; null without it.
    async fn endpoint_count(&self) -> Nullable<i32> {
        if !self.name.available {
            return Some(Ok(0));
        }
        let filter = EndpointFilter::default();
        let count = self.view.app().endpoints_count(self.view.caller(), filter);
        nullable(count.await.map(int))
    }
}

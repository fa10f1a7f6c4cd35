//! What clients see of applications.

use async_graphql::{Context, Enum, ID, Object, SimpleObject};
use sipgraph_core::application;

use crate::{
    connection::connection,
    errors::UserError,
    id::NodeId,
    resolve::{Plain, Row, plain},
    scalars::DateTime,
};

/// A method of HTTP by which a callback is made.
#[derive(Clone, Copy, Debug, Enum, PartialEq, Eq)]
#[graphql(remote = "application::HttpMethod")]
pub(crate) enum HttpMethod {
    /// Values in the query string.
    Get,
    /// Values in the body.
    Post,
}

/// An application.
pub(crate) struct Application {
    row: application::Application,
}

impl Application {
    pub(crate) fn new(row: application::Application) -> Self {
        Self { row }
    }
}

/// An application, to which endpoints refer: whom calls of them are told to (Bandwidth's `applicationId`).
#[Object]
impl Application {
    /// Its opaque id.
    pub(crate) async fn id(&self) -> ID {
        self.row.id.to_id()
    }

    /// Its name, for people.
    fn name(&self) -> &str {
        &self.row.name
    }

    /// Whom it calls back; null when nobody is.
    fn callback_url(&self) -> Option<&str> {
        self.row.callback_url.as_deref()
    }

    /// By which method it calls back.
    async fn callback_method(&self) -> HttpMethod {
        self.row.callback_method.into()
    }

    /// When it was made.
    fn created_at(&self) -> DateTime {
        DateTime(self.row.created_at)
    }
}

impl Row for Application {
    fn plain(name: &str) -> Option<Plain<Self>> {
        plain!(name,
            "id" => |application: &Self, _: &Context<'_>| application.row.id.to_id(),
            "name" => Self::name,
            "callbackUrl" => Self::callback_url,
            "createdAt" => Self::created_at,
        )
    }
}

connection!(
    /// A page of applications, newest first.
    ApplicationConnection,
    /// An application in a page.
    ApplicationEdge,
    Application
);

/// The answer to `createApplication`.
#[derive(SimpleObject)]
pub(crate) struct CreateApplicationPayload {
    /// The application, with `dryRun` as it would be; null when it was refused.
    pub(crate) application: Option<Application>,
    /// True when nothing was stored, because a dry run was asked for.
    pub(crate) dry_run: bool,
    /// True when an earlier call with the same idempotency key made it.
    pub(crate) replayed: bool,
    /// What the caller can mend; empty when the application was made.
    pub(crate) user_errors: Vec<UserError>,
}

/// The answer to `updateApplication`.
#[derive(SimpleObject)]
pub(crate) struct UpdateApplicationPayload {
    /// The application, with `dryRun` as it would be; null when it was refused.
    pub(crate) application: Option<Application>,
    /// The names of the fields that changed; empty in a replay.
    pub(crate) changed_fields: Vec<String>,
    /// True when nothing was stored, because a dry run was asked for.
    pub(crate) dry_run: bool,
    /// True when an earlier call with the same idempotency key changed it.
    pub(crate) replayed: bool,
    /// What the caller can mend; empty when nothing was refused.
    pub(crate) user_errors: Vec<UserError>,
}

/// The answer to `deleteApplication`.
#[derive(SimpleObject)]
pub(crate) struct DeleteApplicationPayload {
    /// The id of the application that is gone; null when it was refused.
    pub(crate) deleted_application_id: Option<ID>,
    /// True when an earlier call with the same idempotency key deleted it.
    pub(crate) replayed: bool,
    /// What the caller can mend; empty when the application was deleted.
    pub(crate) user_errors: Vec<UserError>,
}

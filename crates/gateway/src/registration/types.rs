//! What clients see of failed registrations.

use async_graphql::{Enum, ID, Object, SimpleObject};
use sipgraph_core::{
    access::Scope,
    page::{Page, RowCursor},
    registration_failure,
};

use crate::{
    connection::PageInfo,
    endpoint::{Endpoint, Transport},
    errors::{Nullable, UserError, optional},
    id::NodeId,
    resolve::Whole,
    scalars::{Cursor, DateTime, int},
    view::View,
};

/// Why a registration failed.
#[derive(Clone, Copy, Debug, Enum, PartialEq, Eq)]
#[graphql(remote = "registration_failure::FailureReason")]
pub(crate) enum RegistrationFailureReason {
    /// The domain has no such user. The phone is told the same as with a wrong password.
    UnknownUser,
    /// The password is wrong.
    WrongPassword,
    /// The password is right, but its proof was used before or made for another address: the phone's address changes on
    /// the way, or a recorded request was played again.
    StaleNonce,
    /// The endpoint is disabled.
    Disabled,
    /// The endpoint registers over TLS only.
    TlsRequired,
    /// The source is banned for ten minutes, because it failed on 20 addresses or more; `liftBan` lets it in.
    Banned,
    /// The request breaks a rule of SIP.
    Malformed,
    /// The phone used an algorithm that the domain does not offer or that the password was not kept for: set the
    /// password anew.
    Algorithm,
}

/// A failed registration, with those of the same source at the same address for the same reason.
pub(crate) struct RegistrationFailure {
    row: registration_failure::RegistrationFailure,
    view: View,
}

/// Registrations that failed: of one source, at one address, for one reason. Up to 1000 are kept of an account.
#[Object]
impl RegistrationFailure {
    /// Its opaque id; the same when it fails again.
    async fn id(&self) -> ID {
        self.row.id.to_id()
    }

    /// When it failed last.
    async fn at(&self) -> DateTime {
        DateTime(self.row.at)
    }

    /// How often it failed.
    async fn count(&self) -> i32 {
        int(self.row.count)
    }

    /// Why.
    async fn reason(&self) -> RegistrationFailureReason {
        self.row.failed.reason.into()
    }

    /// Who the phone wanted to be: `user@domain`.
    async fn aor(&self) -> &str {
        &self.row.failed.aor
    }

    /// Where it came from: an IPv4 address, or an IPv6 network of 64 bits.
    async fn source(&self) -> String {
        self.row.failed.source.to_string()
    }

    /// How it came, last.
    async fn transport(&self) -> Transport {
        self.row.failed.transport.into()
    }

    /// The endpoint; null when there is none with that name, or the scope endpoints.read is missing.
    async fn endpoint(&self) -> Nullable<Whole<Endpoint>> {
        let id = self
            .row
            .failed
            .endpoint
            .filter(|_| self.view.may(Scope::EndpointsRead))?;
        optional(self.view.endpoint(id).await)
    }
}

/// A page of failed registrations.
pub(crate) struct RegistrationFailureConnection {
    edges: Vec<RegistrationFailureEdge>,
    page_info: PageInfo,
}

impl RegistrationFailureConnection {
    pub(super) fn new(
        page: Page<(RowCursor, registration_failure::RegistrationFailure)>,
        view: &View,
    ) -> Self {
        Self {
            page_info: PageInfo::of(&page, RowCursor::text),
            edges: page
                .items
                .into_iter()
                .map(|(cursor, row)| RegistrationFailureEdge {
                    cursor: Cursor(cursor.text()),
                    node: RegistrationFailure {
                        row,
                        view: view.clone(),
                    },
                })
                .collect(),
        }
    }
}

/// A page of failed registrations, the latest first.
#[Object]
impl RegistrationFailureConnection {
    /// The rows of the page with their cursors, the latest first.
    async fn edges(&self) -> &[RegistrationFailureEdge] {
        &self.edges
    }

    /// The rows of the page, the latest first.
    async fn nodes(&self) -> Vec<&RegistrationFailure> {
        self.edges.iter().map(|edge| &edge.node).collect()
    }

    /// Where the page lies in the list.
    async fn page_info(&self) -> &PageInfo {
        &self.page_info
    }
}

/// A failed registration in a page.
#[derive(SimpleObject)]
pub(crate) struct RegistrationFailureEdge {
    /// The position of the row in the list.
    cursor: Cursor,
    /// The row.
    node: RegistrationFailure,
}

/// The answer to `liftBan`.
#[derive(SimpleObject)]
pub(crate) struct LiftBanPayload {
    /// The source that was let in, as `RegistrationFailure.source` has it; null when it was refused.
    pub(super) source: Option<String>,
    /// True when an earlier call with the same idempotency key did it.
    pub(super) replayed: bool,
    /// What the caller can mend; empty when the source was let in.
    pub(super) user_errors: Vec<UserError>,
}

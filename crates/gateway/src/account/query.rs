//! Queries about the caller and the instance.

use async_graphql::{Context, Object, Result};
use sipgraph_core::address::TECHNOLOGIES;

use super::types::{Technology, Viewer};
use crate::{errors::error, executor::CursorAtStart, scalars::Cursor, view::View};

/// The queries of this noun.
#[derive(Default)]
pub(crate) struct AccountQuery;

#[Object]
impl AccountQuery {
    /// The token of this request.
    async fn viewer(&self, ctx: &Context<'_>) -> Viewer {
        Viewer {
            view: View::of(ctx),
        }
    }

    /// The technologies that this product knows, also those not available on this instance.
    async fn technologies(&self, ctx: &Context<'_>) -> Vec<Technology> {
        let view = View::of(ctx);
        TECHNOLOGIES
            .iter()
            .map(|name| Technology {
                name,
                view: view.clone(),
            })
            .collect()
    }

    /// The head of the event log, read before any other field of this operation: take a snapshot in this operation, then
    /// subscribe to `events(after:)` with this cursor, and nothing is missed.
    async fn event_cursor(&self, ctx: &Context<'_>) -> Result<Cursor> {
        let CursorAtStart(cursor) = ctx.data_unchecked();
        cursor.clone().map(Cursor).map_err(error)
    }
}

//! Pages of core as Relay connections.
//!
//! The connection types of `async_graphql` have String cursors, fixed descriptions and errors without codes; these are
//! small enough to have of our own.

use async_graphql::SimpleObject;
use sipgraph_core::{
    Error,
    page::{Page, PageRequest},
    ports::store::{ChatFilter, EndpointFilter, MessageFilter},
};

use crate::{scalars::Cursor, view::View};

/// Where a page lies in its list.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct PageInfo {
    /// Rows follow after `endCursor`.
    has_next_page: bool,
    /// Rows precede `startCursor`.
    has_previous_page: bool,
    /// The cursor of the first row; null for an empty page.
    start_cursor: Option<Cursor>,
    /// The cursor of the last row; null for an empty page. Give it as `after` to read on.
    end_cursor: Option<Cursor>,
}

impl PageInfo {
    pub(crate) fn of<C, T>(page: &Page<(C, T)>, text: impl Fn(&C) -> String) -> Self {
        let cursor = |item: Option<&(C, T)>| item.map(|(cursor, _)| Cursor(text(cursor)));
        Self {
            has_next_page: page.has_next,
            has_previous_page: page.has_previous,
            start_cursor: cursor(page.items.first()),
            end_cursor: cursor(page.items.last()),
        }
    }
}

/// Returns the arguments of a list as core takes them.
pub(crate) fn page_request(
    first: Option<i32>,
    after: Option<Cursor>,
    last: Option<i32>,
    before: Option<Cursor>,
) -> PageRequest {
    PageRequest {
        first,
        after: after.map(|cursor| cursor.0),
        last,
        before: before.map(|cursor| cursor.0),
        reversed: false,
    }
}

/// Which rows `totalCount` counts; nothing is counted unless it is selected.
pub(crate) enum Total {
    Endpoints(EndpointFilter),
    Domains,
    Applications,
    Messages(MessageFilter),
    Chats(ChatFilter),
    Tokens,
}

impl Total {
    pub(crate) async fn count(&self, view: &View) -> Result<i64, Error> {
        let (app, caller) = (view.app(), view.caller());
        match self {
            Self::Endpoints(filter) => app.endpoints_count(caller, filter.clone()).await,
            Self::Domains => app.domains_count(caller).await,
            Self::Applications => app.applications_count(caller).await,
            Self::Messages(filter) => app.messages_count(caller, filter.clone()).await,
            Self::Chats(filter) => app.chats_count(caller, filter.clone()).await,
            Self::Tokens => app.tokens_count(caller).await,
        }
    }
}

/// Defines the connection and the edge of a noun.
macro_rules! connection {
    (
        $(#[$doc:meta])* $connection:ident,
        $(#[$edge_doc:meta])* $edge:ident,
        $node:ty
    ) => {
        pub(crate) struct $connection {
            edges: Vec<$edge>,
            page_info: $crate::connection::PageInfo,
            total: $crate::connection::Total,
            view: $crate::view::View,
        }

        impl $connection {
            /// Makes a page of rows, of which `wrap` makes nodes.
            pub(crate) fn new<R>(
                page: sipgraph_core::page::Page<(sipgraph_core::page::RowCursor, R)>,
                total: $crate::connection::Total,
                view: $crate::view::View,
                wrap: impl Fn(R) -> $node,
            ) -> Self {
                Self {
                    page_info: $crate::connection::PageInfo::of(&page, |cursor| cursor.text()),
                    edges: page
                        .items
                        .into_iter()
                        .map(|(cursor, row)| $edge {
                            cursor,
                            node: $crate::resolve::Whole(wrap(row)),
                        })
                        .collect(),
                    total,
                    view,
                }
            }
        }

        $(#[$doc])*
        #[async_graphql::Object]
        impl $connection {
            /// The rows of the page with their cursors, in the order of the list.
            fn edges(&self) -> $crate::resolve::Rows<'_, $edge> {
                $crate::resolve::Rows(self.edges.iter().collect())
            }

            /// The rows of the page, in the order of the list.
            fn nodes(&self) -> $crate::resolve::Rows<'_, $node> {
                $crate::resolve::Rows(self.edges.iter().map(|edge| &edge.node.0).collect())
            }

            /// Where the page lies in the list.
            fn page_info(&self) -> &$crate::connection::PageInfo {
                &self.page_info
            }

            /// How many rows the whole list has under the same filter. Counted only when it is selected.
            async fn total_count(&self) -> async_graphql::Result<i32> {
                // Boxed, as in `loaders::get`.
                let count = Box::pin(self.total.count(&self.view)).await;
                count.map($crate::scalars::int).map_err($crate::errors::error)
            }
        }

        pub(crate) struct $edge {
            cursor: sipgraph_core::page::RowCursor,
            node: $crate::resolve::Whole<$node>,
        }

        $(#[$edge_doc])*
        #[async_graphql::Object]
        impl $edge {
            /// The position of the row in the list.
            fn cursor(&self) -> $crate::scalars::Cursor {
                $crate::scalars::Cursor(self.cursor.text())
            }

            /// The row.
            fn node(&self) -> &$crate::resolve::Whole<$node> {
                &self.node
            }
        }

        impl $crate::resolve::Row for $edge {
            fn plain(name: &str) -> Option<$crate::resolve::Plain<Self>> {
                $crate::resolve::plain!(name, "cursor" => Self::cursor,)
            }

            async fn ahead(rows: &[&Self], asked: &async_graphql::Lookahead<'_>) {
                let nodes: Vec<&$node> = rows.iter().map(|edge| &edge.node.0).collect();
                <$node as $crate::resolve::Row>::ahead(&nodes, &asked.field("node")).await;
            }
        }
    };
}
pub(crate) use connection;

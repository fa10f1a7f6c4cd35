//! Queries for tokens.

use async_graphql::{Context, Object};

use super::types::{ApiToken, ApiTokenConnection};
use crate::{
    connection::{Total, page_request},
    errors::Nullable,
    scalars::Cursor,
    view::View,
};

/// The queries of this noun.
#[derive(Default)]
pub(crate) struct TokenQuery;

#[Object]
impl TokenQuery {
    /// The tokens of the account, newest first, also those that ended. Needs the scope tokens.read.
    async fn api_tokens(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first so many rows after `after`: 1 to 1000; 50 when absent.")]
        first: Option<i32>,
        #[graphql(desc = "Only rows after this one.")] after: Option<Cursor>,
        #[graphql(
            desc = "The last so many rows before `before`: 1 to 1000. Not together with `first`."
        )]
        last: Option<i32>,
        #[graphql(desc = "Only rows before this one.")] before: Option<Cursor>,
    ) -> Nullable<ApiTokenConnection> {
        let view = View::of(ctx);
        let request = page_request(first, after, last, before);
        let page = view
            .page(&request, view.app().tokens(view.caller(), &request))
            .await;
        Some(
            page.map(|page| {
                ApiTokenConnection::new(page, Total::Tokens, view.clone(), ApiToken::new)
            }),
        )
    }
}

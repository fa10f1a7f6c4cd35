//! Live streams: the log from a position on, and the presence of endpoints.
//!
//! A stream of ours never completes: when the program drains it ends behind its last checkpoint and the transport closes
//! the socket with 1012; when the log cannot be read the socket is closed with 1013. The client resumes in both cases.

use std::future::pending;

use async_graphql::{Context, ID, Result, Subscription};
use futures_util::{Stream, stream};
use sipgraph_core::{
    ChatId, EndpointId,
    app::{
        composing::ComposingFilter,
        events::{After, FeedEnd},
    },
};

use super::{
    input::EventFilterInput,
    types::{EndpointStateUpdate, EventEdge},
};
use crate::{
    auth::SocketCloser, chat::Composing, endpoint::EndpointFilterInput, errors::error, id::NodeId,
    scalars::Cursor, view::View,
};

/// The subscriptions.
#[derive(Default)]
pub(crate) struct EventSubscription;

#[Subscription]
impl EventSubscription {
    /// The event log from a position on: what came after it, then live, without a gap and without a repeat. Needs the read
    /// scope of each kind of event. After a lost connection subscribe again with the cursor of the last event.
    async fn events(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Where to begin: absent for now, \"\" for the oldest event kept, else after this position."
        )]
        after: Option<Cursor>,
        #[graphql(desc = "Only events that match all of its fields.")] filter: Option<
            EventFilterInput,
        >,
    ) -> Result<impl Stream<Item = EventEdge> + use<>> {
        let view = View::of(ctx);
        let closer = SocketCloser::of(ctx);
        let after = match after {
            None => After::Now,
            Some(Cursor(text)) if text.is_empty() => After::Oldest,
            Some(Cursor(text)) => After::Cursor(text),
        };
        let filter = EventFilterInput::to_core(filter);
        let feed = view
            .app()
            .events(view.caller(), &filter, &after)
            .await
            .map_err(error)?;
        Ok(stream::unfold(
            (feed, view, closer),
            |(mut feed, view, closer)| async {
                match feed.next().await {
                    Ok((item, cursor)) => {
                        let edge = EventEdge::of_feed(item, cursor, view.of_event());
                        Some((edge, (feed, view, closer)))
                    }
                    Err(end) => {
                        ended(end, &closer).await;
                        None
                    }
                }
            },
        ))
    }

    /// The presence of endpoints: INITIAL for each, then `INITIAL_DONE`, then CHANGED and REMOVED as they happen. Needs the
    /// scope endpoints.read. After a lost connection subscribe again: it begins anew.
    async fn endpoint_states(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only endpoints that match all of its fields.")] filter: Option<
            EndpointFilterInput,
        >,
    ) -> Result<impl Stream<Item = EndpointStateUpdate> + use<>> {
        let view = View::of(ctx);
        let closer = SocketCloser::of(ctx);
        let feed = view
            .app()
            .endpoint_states(view.caller(), EndpointFilterInput::to_core(filter))
            .await
            .map_err(error)?;
        Ok(stream::unfold(
            (feed, view, closer),
            |(mut feed, view, closer)| async {
                match feed.next().await {
                    Ok((update, at)) => {
                        let update = EndpointStateUpdate::new(update, at, view.of_event());
                        Some((update, (feed, view, closer)))
                    }
                    Err(end) => {
                        ended(end, &closer).await;
                        None
                    }
                }
            },
        ))
    }

    /// Who types in chats of the account's endpoints, from now on (RFC 3994). It is in no log: what is not heard is lost. Needs
    /// the scope chats.read.
    async fn composing(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only in these chats.")] chat_ids: Option<Vec<ID>>,
        #[graphql(desc = "Only in chats of these endpoints.")] endpoint_ids: Option<Vec<ID>>,
    ) -> Result<impl Stream<Item = Composing> + use<>> {
        let view = View::of(ctx);
        let closer = SocketCloser::of(ctx);
        let filter = ComposingFilter {
            chats: chat_ids.as_deref().map(ChatId::all),
            endpoints: endpoint_ids.as_deref().map(EndpointId::all),
        };
        let feed = view.app().composing(view.caller(), filter).map_err(error)?;
        Ok(stream::unfold((feed, closer), |(mut feed, closer)| async {
            match feed.next().await {
                Ok(notice) => Some((notice.into(), (feed, closer))),
                Err(end) => {
                    ended(end, &closer).await;
                    None
                }
            }
        }))
    }
}

/// Returns when a stream may end: at once when the program drains, else never, for its socket is closed.
async fn ended(end: FeedEnd, closer: &SocketCloser) {
    match end {
        FeedEnd::Draining => {}
        FeedEnd::Unavailable => {
            closer.close();
            pending().await
        }
    }
}

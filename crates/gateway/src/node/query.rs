//! Queries for any object.

use async_graphql::{Context, ID, Interface, Object, Result};
use futures_util::future::join_all;
use sipgraph_core::{
    AccountId, ApplicationId, ChatId, DomainId, EndpointId, Error, MessageId, TokenId,
};

use crate::{
    account::Account,
    application::Application,
    chat::Chat,
    domain::Domain,
    endpoint::Endpoint,
    errors::{Nullable, error, nullable},
    id::{NodeId, kind},
    message::Message,
    token::ApiToken,
    view::{View, found},
};

/// The most ids of one `nodes`: one batch of each kind.
const IDS_MAX: usize = 1000;

/// An object with an id of its own.
#[derive(Interface)]
#[graphql(field(name = "id", ty = "ID", desc = "Its opaque id."))]
pub(crate) enum Node {
    Account(Account),
    ApiToken(ApiToken),
    Application(Application),
    Chat(Chat),
    Domain(Domain),
    Endpoint(Endpoint),
    Message(Message),
}

/// The queries of this noun.
#[derive(Default)]
pub(crate) struct NodeQuery;

#[Object]
impl NodeQuery {
    /// Any object by its id. Needs the read scope of its kind. Null with the error `NOT_FOUND` when there is none.
    async fn node(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Its opaque id.")] id: ID,
    ) -> Nullable<Node> {
        nullable(node(&View::of(ctx), &id).await)
    }

    /// Any objects by their ids, in the order of the ids. Needs the read scopes of their kinds. One that is not there is
    /// null, with the error `NOT_FOUND` at its place.
    async fn nodes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Their opaque ids, at most 1000.")] ids: Vec<ID>,
    ) -> Result<Vec<Nullable<Node>>> {
        if ids.len() > IDS_MAX {
            let message = format!("`ids` has at most {IDS_MAX} ids, not {}.", ids.len());
            return Err(error(Error::invalid(message)));
        }
        let view = View::of(ctx);
        let nodes = join_all(ids.iter().map(|id| node(&view, id))).await;
        Ok(nodes.into_iter().map(nullable).collect())
    }
}

async fn node(view: &View, id: &ID) -> std::result::Result<Node, Error> {
    let (app, caller) = (view.app(), view.caller());
    match kind(id) {
        Some(AccountId::KIND) if AccountId::of(id) == caller.account => {
            view.account().await.map(Node::Account)
        }
        Some(ApplicationId::KIND) => {
            let row = app.application(caller, ApplicationId::of(id)).await?;
            Ok(Node::Application(Application::new(row)))
        }
        Some(ChatId::KIND) => {
            found(view.chat(ChatId::of(id)).await, "chat").map(|chat| Node::Chat(chat.0))
        }
        Some(DomainId::KIND) => {
            let row = app.domain(caller, DomainId::of(id)).await?;
            Ok(Node::Domain(Domain::new(row)))
        }
        Some(EndpointId::KIND) => found(view.endpoint(EndpointId::of(id)).await, "endpoint")
            .map(|endpoint| Node::Endpoint(endpoint.0)),
        Some(MessageId::KIND) => found(view.message(MessageId::of(id)).await, "message")
            .map(|message| Node::Message(message.0)),
        Some(TokenId::KIND) => {
            let row = app.token(caller, TokenId::of(id)).await?;
            Ok(Node::ApiToken(ApiToken::new(row)))
        }
        _ => Err(Error::not_found("object")),
    }
}

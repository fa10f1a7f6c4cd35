//! What clients see.

use std::{collections::HashMap, sync::Arc};

use async_graphql::{
    ComplexObject, Context, Error, ID, InputObject, Object, Result, SimpleObject,
    dataloader::{DataLoader, Loader},
};
use chrono::{DateTime, SecondsFormat, Utc};
use deadpool_postgres::Pool;
use tokio_postgres::Row;

use crate::sql;

pub(crate) fn time(of: &DateTime<Utc>) -> String {
    of.to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[derive(Clone)]
pub(crate) struct Endpoint(pub(crate) Arc<Row>);

#[Object]
impl Endpoint {
    async fn id(&self) -> ID {
        self.0.get::<_, i64>(0).into()
    }

    async fn domain_id(&self) -> ID {
        self.0.get::<_, i64>(1).into()
    }

    async fn username(&self) -> &str {
        self.0.get(2)
    }

    async fn r#type(&self) -> &str {
        self.0.get(3)
    }

    async fn caller_id(&self) -> Option<&str> {
        self.0.get(4)
    }

    async fn send_as(&self) -> Option<&str> {
        self.0.get(5)
    }

    async fn description(&self) -> Option<&str> {
        self.0.get(6)
    }

    async fn enabled(&self) -> bool {
        self.0.get(7)
    }

    async fn encryption(&self) -> &str {
        self.0.get(8)
    }

    async fn codecs(&self) -> Vec<&str> {
        self.0.get::<_, &str>(9).split(',').collect()
    }

    async fn ciphers(&self) -> Vec<&str> {
        self.0.get::<_, &str>(10).split(',').collect()
    }

    async fn transport(&self) -> &str {
        self.0.get(11)
    }

    async fn capacity(&self) -> i32 {
        self.0.get(12)
    }

    async fn created_at(&self) -> String {
        time(&self.0.get(13))
    }

    async fn updated_at(&self) -> String {
        time(&self.0.get(14))
    }
}

#[derive(Clone)]
pub(crate) struct Message {
    pub(crate) id: i64,
    chat_id: i64,
    sender_id: i64,
    body: String,
    status: String,
    pub(crate) created_at: DateTime<Utc>,
}

impl Message {
    pub(crate) fn of(row: &Row) -> Self {
        Self {
            id: row.get(0),
            chat_id: row.get(1),
            sender_id: row.get(2),
            body: row.get(3),
            status: row.get(4),
            created_at: row.get(5),
        }
    }
}

#[Object]
impl Message {
    async fn id(&self) -> ID {
        self.id.into()
    }

    async fn chat_id(&self) -> ID {
        self.chat_id.into()
    }

    async fn sender_id(&self) -> ID {
        self.sender_id.into()
    }

    async fn body(&self) -> &str {
        &self.body
    }

    async fn status(&self) -> &str {
        &self.status
    }

    async fn created_at(&self) -> String {
        time(&self.created_at)
    }

    async fn sender(&self, ctx: &Context<'_>) -> Result<Endpoint> {
        let loader = ctx.data_unchecked::<DataLoader<Rows>>();
        let sender = loader.load_one(EndpointId(self.sender_id)).await;
        let sender = sender.map_err(Error::new)?;
        sender.ok_or_else(|| Error::new("the sender is gone"))
    }
}

#[derive(SimpleObject)]
pub(crate) struct Chat {
    pub(crate) id: ID,
    pub(crate) kind: String,
    pub(crate) title: Option<String>,
}

#[derive(SimpleObject)]
#[graphql(complex)]
pub(crate) struct ChatMembership {
    pub(crate) chat: Chat,
    pub(crate) unread_count: i32,
    pub(crate) last_message_at: String,
    #[graphql(skip)]
    pub(crate) last_message: Option<i64>,
    #[graphql(skip)]
    pub(crate) peer: i64,
}

#[ComplexObject]
impl ChatMembership {
    async fn last_message(&self, ctx: &Context<'_>) -> Result<Option<Message>> {
        let Some(id) = self.last_message else {
            return Ok(None);
        };
        let loader = ctx.data_unchecked::<DataLoader<Rows>>();
        loader.load_one(MessageId(id)).await.map_err(Error::new)
    }

    async fn peer(&self, ctx: &Context<'_>) -> Result<Option<Endpoint>> {
        let loader = ctx.data_unchecked::<DataLoader<Rows>>();
        let peer = loader.load_one(EndpointId(self.peer)).await;
        peer.map_err(Error::new)
    }
}

#[derive(SimpleObject)]
pub(crate) struct MarkedChat {
    pub(crate) id: ID,
    pub(crate) unread_count: i32,
    pub(crate) marked_count: Option<i32>,
}

#[derive(SimpleObject)]
pub(crate) struct PageInfo {
    pub(crate) has_next_page: bool,
    pub(crate) end_cursor: Option<String>,
}

#[derive(SimpleObject)]
pub(crate) struct EndpointConnection {
    pub(crate) nodes: Vec<Endpoint>,
    pub(crate) page_info: PageInfo,
}

#[derive(SimpleObject)]
pub(crate) struct ChatConnection {
    pub(crate) nodes: Vec<ChatMembership>,
    pub(crate) page_info: PageInfo,
}

#[derive(SimpleObject)]
pub(crate) struct MessageConnection {
    pub(crate) nodes: Vec<Message>,
    pub(crate) page_info: PageInfo,
}

#[derive(InputObject)]
pub(crate) struct EndpointFilter {
    pub(crate) username_contains: Option<String>,
    pub(crate) enabled: Option<bool>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct EndpointId(i64);

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct MessageId(i64);

/// What one level of a query asks for is read at once, also across requests; nothing is kept.
pub(crate) struct Rows(pub(crate) Pool);

impl Rows {
    async fn read(&self, statement: &str, ids: Vec<i64>) -> Result<Vec<Row>, String> {
        let db = self.0.get().await.map_err(|error| error.to_string())?;
        let statement = db.prepare_cached(statement).await;
        let statement = statement.map_err(|error| error.to_string())?;
        let rows = db.query(&statement, &[&ids]).await;
        rows.map_err(|error| error.to_string())
    }
}

impl Loader<EndpointId> for Rows {
    type Value = Endpoint;
    type Error = String;

    async fn load(&self, keys: &[EndpointId]) -> Result<HashMap<EndpointId, Endpoint>, String> {
        let ids = keys.iter().map(|key| key.0).collect();
        let rows = self.read(sql::ENDPOINTS_BY_IDS, ids).await?;
        let entry = |row: Row| (EndpointId(row.get(0)), Endpoint(Arc::new(row)));
        Ok(rows.into_iter().map(entry).collect())
    }
}

impl Loader<MessageId> for Rows {
    type Value = Message;
    type Error = String;

    async fn load(&self, keys: &[MessageId]) -> Result<HashMap<MessageId, Message>, String> {
        let ids = keys.iter().map(|key| key.0).collect();
        let rows = self.read(sql::MESSAGES_BY_IDS, ids).await?;
        let entry = |row: &Row| (MessageId(row.get(0)), Message::of(row));
        Ok(rows.iter().map(entry).collect())
    }
}

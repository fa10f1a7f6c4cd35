//! A stock server of async-graphql, axum and tokio-postgres: what a careful team would write in a day. It is the yardstick of
//! `sipgraph-bench graphql` and no more: no tokens, no accounts, no checks of what is asked, nothing delivered.
//!
//! It reads the address of its database from `PGURL` and says on stderr where it listens. One worker thread, a pool of eight
//! connections, named prepared statements, one DataLoader for all requests, the allocator of the product.

mod limit;
mod sql;
mod types;

use std::sync::Arc;

use async_graphql::{
    Context, EmptySubscription, Error, ID, Object, Result, Schema, dataloader::DataLoader,
};
use async_graphql_axum::GraphQL;
use axum::serve::ListenerExt as _;
use chrono::{DateTime, Utc};
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use tokio::net::TcpListener;
use tokio_postgres::NoTls;

use types::{
    Chat, ChatConnection, ChatMembership, Endpoint, EndpointConnection, EndpointFilter, MarkedChat,
    Message, MessageConnection, PageInfo, Rows, time,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CONNECTIONS: usize = 8;

struct Query;

#[Object]
impl Query {
    async fn endpoint(&self, ctx: &Context<'_>, id: ID) -> Result<Option<Endpoint>> {
        let id: i64 = id.parse()?;
        let db = ctx.data_unchecked::<Pool>().get().await?;
        let statement = db.prepare_cached(sql::ENDPOINT).await?;
        let row = db.query_opt(&statement, &[&id]).await?;
        Ok(row.map(|row| Endpoint(Arc::new(row))))
    }

    async fn endpoints(
        &self,
        ctx: &Context<'_>,
        first: i64,
        filter: Option<EndpointFilter>,
    ) -> Result<EndpointConnection> {
        let (enabled, contained) = match filter {
            Some(filter) => (filter.enabled, filter.username_contains),
            None => (None, None),
        };
        let db = ctx.data_unchecked::<Pool>().get().await?;
        let statement = db.prepare_cached(sql::ENDPOINTS).await?;
        let mut rows = db
            .query(
                &statement,
                &[
                    &enabled.unwrap_or(true),
                    &contained.unwrap_or_default(),
                    &(first + 1),
                ],
            )
            .await?;
        let has_next_page = cut(&mut rows, first)?;
        let end_cursor = rows.last().map(|row| {
            let created_at: DateTime<Utc> = row.get(13);
            let id: i64 = row.get(0);
            format!("{}_{id}", created_at.timestamp_millis())
        });
        Ok(EndpointConnection {
            nodes: rows
                .into_iter()
                .map(|row| Endpoint(Arc::new(row)))
                .collect(),
            page_info: PageInfo {
                has_next_page,
                end_cursor,
            },
        })
    }

    async fn chats(
        &self,
        ctx: &Context<'_>,
        endpoint_id: ID,
        first: i64,
    ) -> Result<ChatConnection> {
        let endpoint: i64 = endpoint_id.parse()?;
        let db = ctx.data_unchecked::<Pool>().get().await?;
        let statement = db.prepare_cached(sql::CHATS).await?;
        let mut rows = db.query(&statement, &[&endpoint, &(first + 1)]).await?;
        let has_next_page = cut(&mut rows, first)?;
        let end_cursor = rows.last().map(|row| {
            let at: DateTime<Utc> = row.get(4);
            format!("{}_{}", at.timestamp_millis(), row.get::<_, i64>(0))
        });
        let nodes = rows.iter().map(|row| ChatMembership {
            chat: Chat {
                id: row.get::<_, i64>(0).into(),
                kind: row.get(1),
                title: row.get(2),
            },
            unread_count: row.get(3),
            last_message_at: time(&row.get(4)),
            peer: row.get(5),
            last_message: row.get(6),
        });
        Ok(ChatConnection {
            nodes: nodes.collect(),
            page_info: PageInfo {
                has_next_page,
                end_cursor,
            },
        })
    }

    async fn messages(
        &self,
        ctx: &Context<'_>,
        chat_id: ID,
        first: i64,
        before: Option<ID>,
    ) -> Result<MessageConnection> {
        let chat: i64 = chat_id.parse()?;
        let before: i64 = before.map_or(Ok(i64::MAX), |id| id.parse())?;
        let db = ctx.data_unchecked::<Pool>().get().await?;
        let statement = db.prepare_cached(sql::MESSAGES).await?;
        let mut rows = db
            .query(&statement, &[&chat, &before, &(first + 1)])
            .await?;
        let has_next_page = cut(&mut rows, first)?;
        let end_cursor = rows.last().map(|row| row.get::<_, i64>(0).to_string());
        Ok(MessageConnection {
            nodes: rows.iter().map(Message::of).collect(),
            page_info: PageInfo {
                has_next_page,
                end_cursor,
            },
        })
    }
}

/// Leaves the page of its rows, and says whether there are more.
fn cut<T>(rows: &mut Vec<T>, first: i64) -> Result<bool> {
    let first = usize::try_from(first).map_err(|error| Error::new(error.to_string()))?;
    let more = rows.len() > first;
    rows.truncate(first);
    Ok(more)
}

struct Mutation;

#[Object]
impl Mutation {
    /// Writes what the product writes: both copies, both chats, the message on its way, four events in the order of the commits,
    /// and the key.
    async fn send_message(
        &self,
        ctx: &Context<'_>,
        chat_id: ID,
        sender_id: ID,
        body: String,
        key: String,
    ) -> Result<Message> {
        let (chat, sender): (i64, i64) = (chat_id.parse()?, sender_id.parse()?);
        let mut db = ctx.data_unchecked::<Pool>().get().await?;
        let transaction = db.transaction().await?;
        let statement = transaction.prepare_cached(sql::SEND_CHAT).await?;
        let sides = transaction.query_one(&statement, &[&chat, &sender]).await?;
        let (other, recipient): (i64, i64) = (sides.get(0), sides.get(1));
        let statement = transaction.prepare_cached(sql::TAKE_NUMBERS).await?;
        let head: i64 = transaction.query_one(&statement, &[&4_i64]).await?.get(0);
        let statement = transaction.prepare_cached(sql::SEND_MESSAGES).await?;
        let copies = transaction
            .query(&statement, &[&chat, &other, &sender, &body])
            .await?;
        let [sent, received] = copies.as_slice() else {
            return Err(Error::new("a send has two copies"));
        };
        let (sent, received) = (Message::of(sent), Message::of(received));
        let at = sent.created_at;
        let statement = transaction.prepare_cached(sql::SEND_CHATS).await?;
        transaction
            .execute(&statement, &[&chat, &other, &sent.id, &received.id, &at])
            .await?;
        let statement = transaction.prepare_cached(sql::SEND_DISPATCH).await?;
        transaction
            .execute(&statement, &[&sent.id, &sender, &recipient, &body, &at])
            .await?;
        let statement = transaction.prepare_cached(sql::SEND_EVENTS).await?;
        transaction
            .execute(
                &statement,
                &[&head, &chat, &other, &sent.id, &received.id, &body, &at],
            )
            .await?;
        let statement = transaction.prepare_cached(sql::SEND_KEY).await?;
        transaction
            .execute(&statement, &[&key, &sent.id, &at])
            .await?;
        transaction.commit().await?;
        Ok(sent)
    }

    /// Writes what the product writes when it marks a chat that has unread messages: these, the chat, and one event in the order
    /// of the commits.
    async fn mark_chat(
        &self,
        ctx: &Context<'_>,
        chat_id: ID,
        endpoint_id: ID,
    ) -> Result<MarkedChat> {
        let (chat, endpoint): (i64, i64) = (chat_id.parse()?, endpoint_id.parse()?);
        let mut db = ctx.data_unchecked::<Pool>().get().await?;
        let transaction = db.transaction().await?;
        let statement = transaction.prepare_cached(sql::TAKE_NUMBERS).await?;
        let head: i64 = transaction.query_one(&statement, &[&1_i64]).await?.get(0);
        let statement = transaction.prepare_cached(sql::MARK_MESSAGES).await?;
        let marked = transaction.execute(&statement, &[&chat]).await?;
        let statement = transaction.prepare_cached(sql::MARK_CHAT).await?;
        let row = transaction
            .query_one(&statement, &[&chat, &endpoint])
            .await?;
        let statement = transaction.prepare_cached(sql::MARK_EVENT).await?;
        transaction.execute(&statement, &[&head, &chat]).await?;
        transaction.commit().await?;
        Ok(MarkedChat {
            id: chat_id,
            unread_count: row.get(0),
            marked_count: Some(i32::try_from(marked)?),
        })
    }

    /// Sets the count to zero, and no more: what marking a chat costs at least.
    async fn set_chat_read(
        &self,
        ctx: &Context<'_>,
        chat_id: ID,
        endpoint_id: ID,
    ) -> Result<MarkedChat> {
        let (chat, endpoint): (i64, i64) = (chat_id.parse()?, endpoint_id.parse()?);
        let db = ctx.data_unchecked::<Pool>().get().await?;
        let statement = db.prepare_cached(sql::MARK_CHAT).await?;
        let row = db.query_one(&statement, &[&chat, &endpoint]).await?;
        Ok(MarkedChat {
            id: chat_id,
            unread_count: row.get(0),
            marked_count: None,
        })
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    let served = match runtime {
        Ok(runtime) => runtime.block_on(serve()),
        Err(error) => Err(error.into()),
    };
    if let Err(error) = served {
        eprintln!("{error}: {:?}", error.source());
        std::process::exit(1);
    }
}

async fn serve() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let database: tokio_postgres::Config = std::env::var("PGURL")?.parse()?;
    let config = ManagerConfig {
        recycling_method: RecyclingMethod::Fast,
    };
    let manager = Manager::from_config(database, NoTls, config);
    let pool = Pool::builder(manager).max_size(CONNECTIONS).build()?;
    let schema = Schema::build(Query, Mutation, EmptySubscription)
        .data(DataLoader::new(Rows(pool.clone()), tokio::spawn))
        .data(pool.clone())
        .finish();
    let app = axum::Router::new()
        .route(
            "/graphql",
            axum::routing::post_service(GraphQL::new(schema)),
        )
        .merge(limit::routes(pool));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    eprintln!("ready http=http://{}", listener.local_addr()?);
    let listener = listener.tap_io(|stream| {
        // A stream that can't be told so is only slower.
        drop(stream.set_nodelay(true));
    });
    Ok(axum::serve(listener, app).await?)
}

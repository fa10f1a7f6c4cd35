//! A stock server of async-graphql, axum and tokio-postgres: what a careful team would write in a day. It is the yardstick of
//! `sipgraph-bench graphql` and no more: no tokens, no accounts, no checks of what is asked.
//!
//! It reads the address of its database from `PGURL` and says on stderr where it listens. One worker thread, a pool of eight
//! connections, named prepared statements, the allocator of the product.

use async_graphql::{
    Context, EmptyMutation, EmptySubscription, Error, ID, InputObject, Object, Result, Schema,
    SimpleObject,
};
use async_graphql_axum::GraphQL;
use axum::serve::ListenerExt as _;
use chrono::{DateTime, SecondsFormat, Utc};
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use tokio::net::TcpListener;
use tokio_postgres::{NoTls, Row};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CONNECTIONS: usize = 8;
const ENDPOINT: &str = "SELECT id, domain_id, username, type, caller_id, send_as, description, enabled, encryption, codecs, \
     ciphers, transport, capacity, created_at, updated_at FROM endpoints WHERE id = $1";
const ENDPOINTS: &str = "SELECT id, domain_id, username, type, caller_id, send_as, description, enabled, encryption, codecs, \
     ciphers, transport, capacity, created_at, updated_at FROM endpoints WHERE enabled = $1 AND username LIKE '%' || $2 || '%' \
     ORDER BY created_at DESC, id DESC LIMIT $3";

struct Endpoint(Row);

fn time(of: &DateTime<Utc>) -> String {
    of.to_rfc3339_opts(SecondsFormat::Millis, true)
}

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

#[derive(SimpleObject)]
struct PageInfo {
    has_next_page: bool,
    end_cursor: Option<String>,
}

#[derive(SimpleObject)]
struct EndpointConnection {
    nodes: Vec<Endpoint>,
    page_info: PageInfo,
}

#[derive(InputObject)]
struct EndpointFilter {
    username_contains: Option<String>,
    enabled: Option<bool>,
}

struct Query;

#[Object]
impl Query {
    async fn endpoint(&self, ctx: &Context<'_>, id: ID) -> Result<Option<Endpoint>> {
        let id: i64 = id.parse()?;
        let db = ctx.data_unchecked::<Pool>().get().await?;
        let statement = db.prepare_cached(ENDPOINT).await?;
        Ok(db.query_opt(&statement, &[&id]).await?.map(Endpoint))
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
        let statement = db.prepare_cached(ENDPOINTS).await?;
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
        let first = usize::try_from(first).map_err(|error| Error::new(error.to_string()))?;
        let has_next_page = rows.len() > first;
        rows.truncate(first);
        let end_cursor = rows.last().map(|row| {
            let created_at: DateTime<Utc> = row.get(13);
            let id: i64 = row.get(0);
            format!("{}_{id}", created_at.timestamp_millis())
        });
        Ok(EndpointConnection {
            nodes: rows.into_iter().map(Endpoint).collect(),
            page_info: PageInfo {
                has_next_page,
                end_cursor,
            },
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
    let schema = Schema::build(Query, EmptyMutation, EmptySubscription)
        .data(pool)
        .finish();
    let app = axum::Router::new().route(
        "/graphql",
        axum::routing::post_service(GraphQL::new(schema)),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    eprintln!("ready http=http://{}", listener.local_addr()?);
    let listener = listener.tap_io(|stream| {
        // A stream that can't be told so is only slower.
        drop(stream.set_nodelay(true));
    });
    Ok(axum::serve(listener, app).await?)
}

//! Serves the schema of the tests, to point a GraphQL client or the audits at:
//!
//! ```text
//! cargo run -p sipgraph-graphql-transport --example echo_server -- 127.0.0.1:4000
//! (cd crates/graphql-transport/tests/conformance && npm ci && node audit.mjs http://127.0.0.1:4000/graphql)
//! ```

use axum::Router;
use sipgraph_graphql_transport::{Config, Transport};
use tokio::net::TcpListener;

#[path = "../tests/it/schema.rs"]
mod schema;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:0".into());
    let listener = TcpListener::bind(address).await?;
    println!("http://{}/graphql", listener.local_addr()?);
    let world = schema::World::default();
    let transport = Transport::new(
        schema::schema(&world),
        schema::ByName(world.clone()),
        Config::default(),
        world.drain,
    );
    let router = Router::new().route("/graphql", transport.into_route());
    axum::serve(listener, router).await
}

//! The integration that comes with the library, beside ours: equal where both are right, and why ours exists. When one of
//! the differences is gone, look at whether a part of ours can go too.

use async_graphql_axum::GraphQL;
use axum::Router;
use serde_json::json;

use crate::{
    harness::Server,
    schema::{World, schema},
};

async fn stock() -> Server {
    let world = World::default();
    let service = GraphQL::new(schema(&world));
    Server::of(Router::new().route_service("/graphql", service), world).await
}

#[tokio::test]
async fn plain_requests_are_answered_alike() {
    let (stock, ours) = (stock().await, Server::start().await);
    for query in [
        "{hello late quick}",
        "{parent{fine} coded}",
        "mutation{add(by:1){by calls}}",
        "{__schema{queryType{name}}}",
    ] {
        let (left, right) = (stock.query(query).await, ours.query(query).await);
        assert_eq!(
            (left.status, left.body),
            (right.status, right.body),
            "{query}"
        );
    }
}

#[tokio::test]
async fn the_stock_integration_still_lets_other_sites_write() {
    let stock = stock().await;
    let mutation = "/graphql?query=mutation%7Badd(by:1)%7Bby%7D%7D";
    let by_get = stock.send(&format!("GET {mutation}"), &[], "").await;
    assert_eq!(by_get.body, json!({"data": {"add": {"by": 1}}}));
    let headers = [("Content-Type", "text/plain")];
    let body = r#"{"query":"mutation{add(by:1){by}}"}"#;
    let as_text = stock.send("POST /graphql", &headers, body).await;
    assert_eq!(as_text.body, json!({"data": {"add": {"by": 1}}}));
    let invalid = stock.query("{nothing}").await;
    assert_eq!(invalid.status, 200, "400 by the specification");
}

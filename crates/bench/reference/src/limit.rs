//! The physical limit of a durable send over HTTP: no GraphQL, no checks, hand-written JSON, one call of one function of the
//! database, which writes the same rows in one transaction.

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use chrono::{DateTime, Utc};
use deadpool_postgres::Pool;
use serde::{Deserialize, Serialize};

use crate::types::time;

const SEND: &str = "SELECT id, created_at FROM send_message($1, $2, $3, $4)";

#[derive(Deserialize)]
struct Send {
    chat: i64,
    sender: i64,
    body: String,
    key: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sent<'a> {
    id: String,
    chat_id: String,
    sender_id: String,
    body: &'a str,
    status: &'a str,
    created_at: String,
}

pub(crate) fn routes(pool: Pool) -> Router {
    Router::new()
        .route("/limit/send", post(send))
        .with_state(pool)
}

async fn send(State(pool): State<Pool>, Json(send): Json<Send>) -> Response {
    match stored(&pool, &send).await {
        Ok((id, at)) => Json(Sent {
            id: id.to_string(),
            chat_id: send.chat.to_string(),
            sender_id: send.sender.to_string(),
            body: &send.body,
            status: "accepted",
            created_at: time(&at),
        })
        .into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn stored(
    pool: &Pool,
    send: &Send,
) -> Result<(i64, DateTime<Utc>), Box<dyn std::error::Error + core::marker::Send + Sync>> {
    let db = pool.get().await?;
    let statement = db.prepare_cached(SEND).await?;
    let row = db
        .query_one(
            &statement,
            &[&send.chat, &send.sender, &send.body, &send.key],
        )
        .await?;
    Ok((row.get(0), row.get(1)))
}

//! GraphQL over HTTP: POST for all but subscriptions, GET for queries.

use std::sync::Arc;

use async_graphql::{
    Executor, Response as GraphqlResponse, ServerError, parser::types::OperationType,
};
use axum::{
    body::Body,
    extract::Query,
    http::{HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use futures_util::StreamExt;
use serde_json::{Map, Value};

use crate::{
    Authenticate, Refusal, code, coded,
    error::{encode, encode_error, finish, is_request_error},
    media::{self, Media},
    request::{Operation, Params, prepare},
    transport::Shared,
};

/// A request that gets no further, and how it is answered.
struct Stop {
    status: StatusCode,
    error: Box<ServerError>,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Stop {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            error: Box::new(coded(code, message, None)),
            header: None,
        }
    }

    fn with_header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.header = Some((name, HeaderValue::from_static(value)));
        self
    }

    fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code::BAD_REQUEST, message)
    }

    fn unavailable(message: &'static str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code::UNAVAILABLE, message)
            .with_header(header::RETRY_AFTER, "1")
    }

    fn into_response(self, media: Media) -> Response {
        let mut response = reply(self.status, media, encode_error(&self.error));
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        let stop = Self::new(refusal.status, refusal.code, refusal.message);
        match refusal.status {
            // RFC 6750 3: the challenge names the scheme.
            StatusCode::UNAUTHORIZED => stop.with_header(header::WWW_AUTHENTICATE, "Bearer"),
            StatusCode::SERVICE_UNAVAILABLE => stop.with_header(header::RETRY_AFTER, "1"),
            _ => stop,
        }
    }
}

/// Answers a request that is no upgrade.
pub(crate) async fn answer<E: Executor, A: Authenticate>(
    shared: &Arc<Shared<E, A>>,
    parts: &Parts,
    body: Body,
) -> Response {
    let Some(media) = media::negotiate(&parts.headers) else {
        let stop = Stop::new(
            StatusCode::NOT_ACCEPTABLE,
            code::NOT_ACCEPTABLE,
            "Accept application/graphql-response+json or application/json",
        );
        return stop.into_response(Media::Json);
    };
    match run(shared, parts, body, media).await {
        Ok(response) => response,
        Err(stop) => stop.into_response(media),
    }
}

async fn run<E: Executor, A: Authenticate>(
    shared: &Arc<Shared<E, A>>,
    parts: &Parts,
    body: Body,
    media: Media,
) -> Result<Response, Stop> {
    if shared.drain.is_begun() {
        return Err(Stop::unavailable("The server ends; try again")
            .with_header(header::CONNECTION, "close"));
    }
    let running = shared.drain.running();
    let get = parts.method == Method::GET;
    if !get && parts.method != Method::POST {
        return Err(method_not_allowed("Use POST or GET", "GET, POST"));
    }
    if !get && !media::is_json(&parts.headers) {
        return Err(Stop::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            code::UNSUPPORTED_MEDIA_TYPE,
            "Send application/json in UTF-8",
        ));
    }
    let data = shared.authenticator.http(&parts.headers).await?;
    let value = if get {
        from_query(parts)?
    } else {
        from_body(shared, parts, body).await?
    };
    let params = Params::from_json(value).map_err(Stop::bad_request)?;
    let prepared = prepare(params, data, &shared.documents, &shared.config.gate);
    let Operation { request, kind } = match prepared {
        Ok(operation) => operation,
        Err(error) => {
            return Ok(executed(
                shared,
                media,
                GraphqlResponse::from_errors(vec![error]),
            ));
        }
    };
    match kind {
        OperationType::Mutation if get => {
            return Err(method_not_allowed("A mutation needs POST", "POST"));
        }
        OperationType::Subscription => {
            return Err(Stop::new(
                StatusCode::NOT_ACCEPTABLE,
                code::NOT_ACCEPTABLE,
                "A subscription needs a WebSocket with the sub-protocol graphql-transport-ws",
            ));
        }
        OperationType::Query | OperationType::Mutation => {}
    }
    let permit = Arc::clone(&shared.operations)
        .try_acquire_owned()
        .map_err(|_| Stop::unavailable("The server runs as many operations as it can"))?;
    let executor = shared.executor.clone();
    // The operation runs to its end although the client may leave: a half-done one would take the
    // leader of a batch of look-ups away from the others.
    let task = tokio::spawn(async move {
        let response = executor.execute(request).await;
        drop((running, permit));
        response
    });
    let response = task.await.map_err(|error| {
        tracing::error!(%error, "an operation panicked");
        Stop::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            code::INTERNAL_SERVER_ERROR,
            "Internal server error",
        )
    })?;
    Ok(executed(shared, media, response))
}

fn method_not_allowed(message: &'static str, allow: &'static str) -> Stop {
    let status = StatusCode::METHOD_NOT_ALLOWED;
    Stop::new(status, code::METHOD_NOT_ALLOWED, message).with_header(header::ALLOW, allow)
}

fn from_query(parts: &Parts) -> Result<Value, Stop> {
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
        .map_err(|_| Stop::bad_request("The query string cannot be read"))?;
    let mut object = Map::new();
    for (name, text) in pairs {
        // An empty value is how a form sends none.
        if text.is_empty() {
            continue;
        }
        let value = match name.as_str() {
            "variables" | "extensions" => serde_json::from_str(&text).map_err(|error| {
                Stop::bad_request(format!("The parameter {name} is not JSON: {error}"))
            })?,
            _ => Value::String(text),
        };
        object.insert(name, value);
    }
    Ok(Value::Object(object))
}

async fn from_body<E, A>(shared: &Shared<E, A>, parts: &Parts, body: Body) -> Result<Value, Stop> {
    let max = shared.config.body_bytes_max;
    let too_large = || {
        Stop::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            code::PAYLOAD_TOO_LARGE,
            format!("The request body is longer than {max} bytes"),
        )
    };
    let announced = parts
        .headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > max) {
        return Err(too_large());
    }
    let read = async {
        let mut bytes = Vec::with_capacity(announced.unwrap_or_default());
        let mut chunks = body.into_data_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| Stop::bad_request("The request body is cut off"))?;
            if bytes.len().saturating_add(chunk.len()) > max {
                return Err(too_large());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    };
    let bytes = tokio::time::timeout(shared.config.body_timeout, read)
        .await
        .map_err(|_| {
            Stop::new(
                StatusCode::REQUEST_TIMEOUT,
                code::REQUEST_TIMEOUT,
                "The request body did not come in time",
            )
        })??;
    serde_json::from_slice(&bytes)
        .map_err(|error| Stop::bad_request(format!("The request body is not JSON: {error}")))
}

fn executed<E, A>(shared: &Shared<E, A>, media: Media, mut response: GraphqlResponse) -> Response {
    let request_error = is_request_error(&response);
    finish(&mut response.errors, &shared.config);
    let status = if request_error && media == Media::GraphqlResponse {
        StatusCode::BAD_REQUEST
    } else {
        StatusCode::OK
    };
    reply(status, media, encode(&response, request_error))
}

fn reply(status: StatusCode, media: Media, body: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, media.content_type()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Answers depend on the caller; no cache on the way may keep them.
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, headers, body).into_response()
}

/// Returns a response that holds one error, for refusals outside the route's own handler.
pub(crate) fn error_response(status: StatusCode, code: &'static str, message: &str) -> Response {
    Stop::new(status, code, message).into_response(Media::Json)
}

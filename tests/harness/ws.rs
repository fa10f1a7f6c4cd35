//! A graphql-transport-ws client that sees every frame, and on it a feed that resumes as a front end would.

use super::{STEP, Server, Value, json};
use futures_util::{SinkExt as _, StreamExt as _};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// What is asked of each event. Aliases stand where two kinds give one field different nullability.
pub(crate) const EVENTS: &str = "subscription($after: Cursor, $filter: EventFilter) {
  events(after: $after, filter: $filter) { cursor node { __typename id type at
    ... on MessageIn { endpointId messageId chatId endpointName ownNumber srcNumber text }
    ... on MessageOut { endpointId messageId chatId endpointName srcNumber dstNumber text }
    ... on MessageOutStatus { endpointId messageId chatId endpointName srcNumber dstNumber text status }
    ... on TextMessageReceived { sender: endpointId from to body variables }
    ... on EndpointStateChanged { endpointId state }
    ... on ContactStatusChanged { endpointId uri contactStatus aor roundTripMs }
    ... on PeerStatusChanged { endpointId peerStatus cause address port }
    ... on EndpointCreated { endpointId }
    ... on EndpointUpdated { endpointId changedFields }
    ... on EndpointDeleted { endpointId }
    ... on MessageUpdated { endpointId messageId chatId }
    ... on ChatUpdated { endpointId changedChatId: chatId unreadCount lastMessageId }
    ... on RegistrationFailed { sender: endpointId aor failure: reason source }
    ... on MessageDeleted { endpointId messageId chatId }
    ... on ChatDeleted { endpointId changedChatId: chatId }
    ... on Gap { gapFrom: from gapTo: to reason }
  } }
}";

/// A graphql-transport-ws connection.
pub(crate) struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

/// What a client sees.
#[derive(Debug, PartialEq)]
pub(crate) enum Seen {
    /// A message of the protocol.
    Message(Value),
    /// A close frame.
    Close(u16, String),
    /// The connection ended without a close.
    Cut,
}

impl Socket {
    /// Opens a connection that has its `connection_ack`.
    pub(crate) async fn open(server: &Server, token: &str) -> Self {
        Self::open_at(&server.ws_url(), token)
            .await
            .expect("the upgrade is accepted")
    }

    /// Opens a connection that has its `connection_ack`; an error when nobody listens.
    pub(crate) async fn open_at(url: &str, token: &str) -> Result<Self, Error> {
        let mut socket = Self::connect_at(url, &[]).await?;
        let payload = json!({ "authorization": format!("Bearer {token}") });
        socket
            .send(json!({ "type": "connection_init", "payload": payload }))
            .await;
        match socket.see().await {
            Seen::Message(message) if message["type"] == "connection_ack" => Ok(socket),
            Seen::Message(message) => panic!("no acknowledgement but {message}"),
            Seen::Close(code, reason) => panic!("no acknowledgement but {code} {reason}"),
            Seen::Cut => Err(Error::ConnectionClosed),
        }
    }

    /// Opens a connection with further headers and says nothing.
    pub(crate) async fn connect(
        server: &Server,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, Error> {
        Self::connect_at(&server.ws_url(), headers).await
    }

    async fn connect_at(url: &str, headers: &[(&'static str, &str)]) -> Result<Self, Error> {
        let mut request = url.into_client_request()?;
        request.headers_mut().insert(
            "Sec-WebSocket-Protocol",
            HeaderValue::from_static("graphql-transport-ws"),
        );
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let (inner, _) = timeout(STEP, connect_async(request)).await.unwrap()?;
        Ok(Self(inner))
    }

    /// Sends a message of the protocol.
    pub(crate) async fn send(&mut self, message: Value) {
        // The server may have closed already; what it said is read afterwards.
        let _ = self.0.send(Message::text(message.to_string())).await;
    }

    /// Starts an operation.
    pub(crate) async fn subscribe(&mut self, id: &str, query: &str, variables: Value) {
        let payload = json!({ "query": query, "variables": variables });
        self.send(json!({ "type": "subscribe", "id": id, "payload": payload }))
            .await;
    }

    /// Waits for what comes next.
    pub(crate) async fn see(&mut self) -> Seen {
        self.see_within(STEP).await.expect("something in time")
    }

    /// Waits for what comes next, for at most `within`.
    pub(crate) async fn see_within(&mut self, within: Duration) -> Option<Seen> {
        let next = async {
            loop {
                return match self.0.next().await {
                    Some(Ok(Message::Text(text))) => {
                        let message: Value = serde_json::from_str(&text).unwrap();
                        if message["type"] == "ping" {
                            self.send(json!({ "type": "pong" })).await;
                            continue;
                        }
                        Seen::Message(message)
                    }
                    Some(Ok(Message::Close(Some(frame)))) => {
                        Seen::Close(frame.code.into(), frame.reason.to_string())
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                    _ => Seen::Cut,
                };
            }
        };
        timeout(within, next).await.ok()
    }

    /// Waits for a message of the protocol.
    pub(crate) async fn message(&mut self) -> Value {
        match self.see().await {
            Seen::Message(message) => message,
            other => panic!("{other:?} instead of a message"),
        }
    }

    /// Runs an operation that gives one result and gives that.
    pub(crate) async fn once(&mut self, id: &str, payload: Value) -> Value {
        self.send(json!({ "type": "subscribe", "id": id, "payload": payload }))
            .await;
        loop {
            let mut message = self.message().await;
            match message["type"].as_str() {
                Some("next") if message["id"] == id => return message["payload"].take(),
                // Errors before the first result come alone.
                Some("error") if message["id"] == id => {
                    return json!({ "errors": message["payload"] });
                }
                _ => {}
            }
        }
    }
}

/// A subscription to `events` that remembers its cursor.
pub(crate) struct Feed {
    socket: Socket,
    url: String,
    token: String,
    filter: Value,
    /// The cursor of the last item.
    pub(crate) cursor: String,
}

impl Feed {
    /// Opens a feed of everything after a cursor.
    pub(crate) async fn open(server: &Server, after: &str) -> Self {
        Self::open_with(server, &server.token, after, Value::Null).await
    }

    /// Opens a feed with another token and a filter.
    pub(crate) async fn open_with(
        server: &Server,
        token: &str,
        after: &str,
        filter: Value,
    ) -> Self {
        let socket = Socket::open(server, token).await;
        let mut feed = Self {
            socket,
            url: server.ws_url(),
            token: token.to_owned(),
            filter,
            cursor: after.to_owned(),
        };
        feed.subscribe().await;
        feed
    }

    /// Connects again and goes on after the last cursor; an error when nobody listens.
    pub(crate) async fn resume(&mut self) -> Result<(), Error> {
        self.socket = Socket::open_at(&self.url, &self.token).await?;
        self.subscribe().await;
        Ok(())
    }

    async fn subscribe(&mut self) {
        let variables = json!({ "after": self.cursor, "filter": self.filter });
        self.socket.subscribe("feed", EVENTS, variables).await;
    }

    /// Waits for the next item, whatever it is.
    pub(crate) async fn item(&mut self) -> Value {
        match self.see().await {
            Ok(node) => node,
            Err(end) => panic!("the feed ended: {end:?}"),
        }
    }

    /// Waits for the next item or the end.
    pub(crate) async fn see(&mut self) -> Result<Value, Seen> {
        match self.socket.see().await {
            Seen::Message(mut message) if message["type"] == "next" => {
                let edge = &mut message["payload"]["data"]["events"];
                let Some(cursor) = edge["cursor"].as_str() else {
                    return Err(Seen::Message(message));
                };
                self.cursor = cursor.to_owned();
                Ok(edge["node"].take())
            }
            other => Err(other),
        }
    }

    /// Waits for the next event of a kind and drops those before it.
    pub(crate) async fn next(&mut self, kind: &str) -> Value {
        self.until(kind, |node| node["type"] == kind).await
    }

    /// Waits for the next event that is wanted and drops those before it.
    pub(crate) async fn until(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut dropped = Vec::new();
        let look = async {
            loop {
                let node = self.item().await;
                if wanted(&node) {
                    return node;
                }
                dropped.push(node["type"].clone());
            }
        };
        match timeout(STEP, look).await {
            Ok(node) => node,
            Err(_) => panic!("no {what} came, only {dropped:?}"),
        }
    }

    /// Gives every event up to the one that ends it, with that one, in order. Checkpoints are left out.
    pub(crate) async fn all_until(&mut self, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut all = Vec::new();
        loop {
            let node = self.item().await;
            if node["type"] == "CHECKPOINT" {
                continue;
            }
            let done = wanted(&node);
            all.push(node);
            if done {
                return all;
            }
        }
    }

    /// Waits for the close of the connection and gives its code; items before it move the cursor.
    pub(crate) async fn closed(&mut self) -> u16 {
        loop {
            match self.see().await {
                Ok(_) => {}
                Err(Seen::Close(code, _)) => return code,
                Err(other) => panic!("{other:?} instead of a close"),
            }
        }
    }
}

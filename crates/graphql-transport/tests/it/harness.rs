//! A server on a port of its own, and clients that see every byte.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use axum::Router;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use sipgraph_graphql_transport::{
    Config, Hosts, Origins, SocketLimits, Transport, cors, loopback_hosts_only,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};

use crate::schema::{ByName, World, schema};

/// No step of a test takes longer.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) world: World,
}

/// Limits with timers that a test can wait for.
pub(crate) fn config() -> Config {
    Config {
        origins: Origins::parse(["http://app.example:*"]).unwrap(),
        body_timeout: Duration::from_millis(400),
        sockets: SocketLimits {
            init_timeout: Duration::from_millis(400),
            drain_grace: Duration::from_millis(400),
            operations_max: 5,
            message_bytes_max: 64 * 1024,
            ..SocketLimits::default()
        },
        ..Config::default()
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(config()).await
    }

    pub(crate) async fn with(config: Config) -> Self {
        let world = World::default();
        let origins = config.origins.clone();
        let transport = Transport::new(
            schema(&world),
            ByName(world.clone()),
            config,
            world.drain.clone(),
        );
        let router = Router::new().route("/graphql", transport.into_route());
        let router = loopback_hosts_only(cors(router, origins), Hosts::default());
        Self::of(router, world).await
    }

    /// Serves any router.
    pub(crate) async fn of(router: Router, world: World) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, world }
    }

    /// Sends bytes and reads the whole answer.
    pub(crate) async fn raw(&self, request: &[u8]) -> Answer {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        socket.write_all(request).await.unwrap();
        let mut bytes = Vec::new();
        timeout(DEADLINE, socket.read_to_end(&mut bytes))
            .await
            .expect("the server answers")
            .unwrap();
        Answer::parse(&bytes)
    }

    /// Sends a request with `Host` and `Connection: close`.
    pub(crate) async fn send(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut text = format!("{line} HTTP/1.1\r\nConnection: close\r\n");
        if !headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("host"))
        {
            text.push_str(&format!("Host: {}\r\n", self.address));
        }
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        text.push_str("\r\n");
        text.push_str(body);
        self.raw(text.as_bytes()).await
    }

    /// Posts JSON and asks for the specification's media type.
    pub(crate) async fn post(&self, body: &Value) -> Answer {
        let headers = [
            ("Content-Type", "application/json"),
            ("Accept", "application/graphql-response+json"),
        ];
        self.send("POST /graphql", &headers, &body.to_string())
            .await
    }

    /// Posts a document.
    pub(crate) async fn query(&self, query: &str) -> Answer {
        self.post(&json!({ "query": query })).await
    }

    /// Opens a WebSocket.
    pub(crate) async fn socket(&self) -> Socket {
        self.socket_with(&[])
            .await
            .expect("the upgrade is accepted")
    }

    pub(crate) async fn socket_with(
        &self,
        headers: &[(&'static str, &str)],
    ) -> Result<Socket, tokio_tungstenite::tungstenite::Error> {
        let mut request = format!("ws://{}/graphql", self.address)
            .into_client_request()
            .unwrap();
        let protocol = HeaderValue::from_static("graphql-transport-ws");
        request
            .headers_mut()
            .insert("Sec-WebSocket-Protocol", protocol);
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let (inner, response) = timeout(DEADLINE, connect_async(request)).await.unwrap()?;
        assert_eq!(
            response.headers().get("Sec-WebSocket-Protocol").unwrap(),
            "graphql-transport-ws"
        );
        Ok(Socket(inner))
    }

    /// Opens a WebSocket that has its `connection_ack`.
    pub(crate) async fn session(&self) -> Socket {
        let mut socket = self.socket().await;
        socket.init().await;
        socket
    }
}

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Value,
    pub(crate) text: String,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").expect("a whole head");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self {
            status,
            head: head.to_ascii_lowercase(),
            body: serde_json::from_str(body).unwrap_or(Value::Null),
            text: body.to_owned(),
        }
    }

    pub(crate) fn code(&self) -> &str {
        self.body["errors"][0]["extensions"]["code"]
            .as_str()
            .unwrap_or("none")
    }

    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.code()), (status, code), "{self:?}");
        assert!(self.body.get("data").is_none(), "{self:?}");
    }

    #[track_caller]
    pub(crate) fn data(&self) -> &Value {
        assert_eq!(self.status, 200, "{self:?}");
        assert!(self.body.get("errors").is_none(), "{self:?}");
        &self.body["data"]
    }
}

/// A graphql-transport-ws client.
pub(crate) struct Socket(pub(crate) WebSocketStream<MaybeTlsStream<TcpStream>>);

/// What a client sees.
#[derive(Debug, PartialEq)]
pub(crate) enum Seen {
    Message(Value),
    Close(u16, String),
    /// The connection ended without a close.
    Cut,
}

impl Socket {
    pub(crate) async fn send(&mut self, message: Value) {
        self.text(&message.to_string()).await;
    }

    pub(crate) async fn text(&mut self, text: &str) {
        // The server may have closed already; what it said is read afterwards.
        let _ = self.0.send(Message::text(text)).await;
    }

    pub(crate) async fn init(&mut self) {
        self.send(json!({"type": "connection_init"})).await;
        self.expect(json!({"type": "connection_ack"})).await;
    }

    pub(crate) async fn subscribe(&mut self, id: &str, query: &str) {
        self.send(json!({"type": "subscribe", "id": id, "payload": {"query": query}}))
            .await;
    }

    pub(crate) async fn see(&mut self) -> Seen {
        let begin = Instant::now();
        loop {
            let left = DEADLINE.saturating_sub(begin.elapsed());
            let next = timeout(left, self.0.next())
                .await
                .expect("a message in time");
            return match next {
                Some(Ok(Message::Text(text))) => {
                    Seen::Message(serde_json::from_str(&text).unwrap())
                }
                Some(Ok(Message::Close(Some(frame)))) => {
                    Seen::Close(frame.code.into(), frame.reason.to_string())
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                _ => Seen::Cut,
            };
        }
    }

    pub(crate) async fn message(&mut self) -> Value {
        match self.see().await {
            Seen::Message(message) => message,
            other => panic!("{other:?} instead of a message"),
        }
    }

    pub(crate) async fn expect(&mut self, expected: Value) {
        assert_eq!(self.message().await, expected);
    }

    pub(crate) async fn closed(&mut self, code: u16) -> String {
        match self.see().await {
            Seen::Close(seen, reason) if seen == code => reason,
            other => panic!("{other:?} instead of a close with {code}"),
        }
    }

    /// Checks that nothing is on the way: the answer to a ping comes next.
    pub(crate) async fn silent(&mut self) {
        self.send(json!({"type": "ping", "payload": {"n": 1}}))
            .await;
        self.expect(json!({"type": "pong", "payload": {"n": 1}}))
            .await;
    }
}

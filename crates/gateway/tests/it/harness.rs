//! A gateway on a database and a port of its own, and its clients.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use futures_util::{SinkExt, StreamExt, stream::BoxStream};
use serde_json::{Value, json};
use sipgraph_core::{
    App, Timestamp,
    access::Scope,
    app::{Parts, Policy},
    decide::tokens::NewToken,
    keyring::Keyring,
    ports::{Bus, Clock, Entropy, Wake},
};
use sipgraph_gateway::{Config, Drain, Origins, router};
use sipgraph_storage::{Address, Options, Storage, migrate};
use sipgraph_testkit::Database;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::broadcast,
    time::timeout,
};
use tokio_stream::wrappers::BroadcastStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};

use crate::counted::Counted;

/// No step of a test takes longer.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

struct WallClock;

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Timestamp(i64::try_from(since.as_micros()).unwrap())
    }
}

struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        getrandom::fill(buffer).unwrap();
    }
}

/// Wakes within this process.
struct Wakes(broadcast::Sender<Wake>);

impl Bus for Wakes {
    fn wake(&self, wake: Wake) {
        // Nobody may be listening.
        let _ = self.0.send(wake);
    }

    fn wakes(&self) -> BoxStream<'static, Wake> {
        let wakes = BroadcastStream::new(self.0.subscribe());
        wakes.filter_map(async |wake| wake.ok()).boxed()
    }
}

/// A gateway with two accounts.
pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    pub(crate) app: Arc<App>,
    pub(crate) store: Arc<Counted>,
    pub(crate) drain: Drain,
    /// A token of the first account with every scope.
    pub(crate) token: String,
    /// A token of another account with every scope.
    pub(crate) stranger: String,
    _database: Database,
}

impl Gateway {
    pub(crate) async fn start() -> Self {
        let database = Database::sqlite();
        let address = Address::parse(database.url()).unwrap();
        migrate(&address).await.unwrap();
        let keys = Keyring::new([7; 32]);
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
        let options = Options::default();
        let storage = Storage::open(
            &address,
            keys.clone(),
            Arc::clone(&entropy),
            WallClock.now(),
            &options,
        );
        let store = Arc::new(Counted::new(storage.await.unwrap()));
        let bus = Arc::new(Wakes(broadcast::channel(64).0));
        let app = App::new(Parts {
            store: store.clone(),
            bus: bus.clone(),
            clock: Arc::new(WallClock),
            entropy,
            keys,
            policy: Policy::default(),
        });
        keep_awake(&app, &bus);
        let drain = Drain::default();
        let config = Config {
            origins: Origins::parse(["http://app.example"]).unwrap(),
            ..Config::default()
        };
        let router = router(app.clone(), config, drain.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let all: Vec<_> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
        let token = issue(&app, "ours", &all).await;
        let stranger = issue(&app, "theirs", &all).await;
        Self {
            address,
            app,
            store,
            drain,
            token,
            stranger,
            _database: database,
        }
    }

    /// Makes a token of the first account.
    pub(crate) async fn token_with(&self, scopes: &[&str]) -> String {
        issue_for(&self.app, "ours", scopes).await
    }

    /// Sends raw bytes and returns the status, the head and the body.
    pub(crate) async fn raw(&self, request: &str) -> (u16, String, Vec<u8>) {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        timeout(DEADLINE, socket.read_to_end(&mut bytes))
            .await
            .expect("an answer in time")
            .unwrap();
        let split = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        let head = String::from_utf8_lossy(&bytes[..split]).into_owned();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head, bytes[split + 4..].to_vec())
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, String, Vec<u8>) {
        let host = self.address;
        self.raw(&format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        ))
        .await
    }

    /// Runs an operation with a token and returns the whole response.
    pub(crate) async fn run_as(&self, token: &str, query: &str, variables: Value) -> Value {
        let body = json!({"query": query, "variables": variables}).to_string();
        let request = format!(
            "POST /graphql HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        let (_, _, body) = self.raw(&request).await;
        serde_json::from_slice(&body).unwrap()
    }

    /// Runs an operation that must have no errors and returns its data.
    pub(crate) async fn data(&self, query: &str, variables: Value) -> Value {
        let mut response = self.run_as(&self.token, query, variables).await;
        assert!(response.get("errors").is_none(), "{query}: {response}");
        response["data"].take()
    }

    /// Makes a domain and returns its id.
    pub(crate) async fn domain(&self, name: &str) -> String {
        let query =
            "mutation($n:String!){createDomain(input:{name:$n}){domain{id} userErrors{message}}}";
        let data = self.data(query, json!({ "n": name })).await;
        text(&data["createDomain"]["domain"]["id"])
    }

    /// Makes an endpoint and returns its id.
    pub(crate) async fn endpoint(&self, domain: &str, name: &str) -> String {
        let query = "mutation($d:ID!,$n:String!){createEndpoint(input:{domainId:$d,name:$n,credentials:{generate:true}})
            {endpoint{id} userErrors{message}}}";
        let data = self.data(query, json!({"d": domain, "n": name})).await;
        text(&data["createEndpoint"]["endpoint"]["id"])
    }

    /// Sends a message between two endpoints and returns the id of the sender's copy.
    pub(crate) async fn message(&self, from: &str, to: &str, body: &str) -> String {
        let query = "mutation($f:ID!,$t:ID!,$b:String){sendMessage(input:{from:{endpointId:$f},to:{endpointId:$t},body:$b})
            {message{id} userErrors{message}}}";
        let data = self
            .data(query, json!({"f": from, "t": to, "b": body}))
            .await;
        text(&data["sendMessage"]["message"]["id"])
    }

    /// Opens a socket whose session has begun.
    pub(crate) async fn socket(&self, token: &str) -> Socket {
        let mut socket = self.bare_socket().await;
        let payload = json!({"authorization": format!("Bearer {token}")});
        socket
            .send(json!({"type": "connection_init", "payload": payload}))
            .await;
        assert_eq!(socket.message().await["type"], "connection_ack");
        socket
    }

    pub(crate) async fn bare_socket(&self) -> Socket {
        let mut request = format!("ws://{}/graphql", self.address)
            .into_client_request()
            .unwrap();
        let protocol = HeaderValue::from_static("graphql-transport-ws");
        request
            .headers_mut()
            .insert("Sec-WebSocket-Protocol", protocol);
        let (inner, _) = timeout(DEADLINE, connect_async(request))
            .await
            .unwrap()
            .unwrap();
        Socket(inner)
    }
}

/// Does what the program's loops do.
fn keep_awake(app: &Arc<App>, bus: &Arc<Wakes>) {
    let (waking, mut wakes) = (app.clone(), bus.wakes());
    tokio::spawn(async move {
        while let Some(wake) = wakes.next().await {
            waking.logs_wake(wake);
        }
    });
    let ticking = app.clone();
    tokio::spawn(async move {
        let mut seconds = tokio::time::interval(Duration::from_millis(200));
        loop {
            seconds.tick().await;
            ticking.logs_tick().await.unwrap();
            ticking.sessions_sweep().await.unwrap();
        }
    });
}

async fn issue(app: &App, account: &str, scopes: &[&str]) -> String {
    app.account_create(account).await.unwrap();
    issue_for(app, account, scopes).await
}

async fn issue_for(app: &App, account: &str, scopes: &[&str]) -> String {
    let account = app.account_by_name(account).await.unwrap();
    let new = NewToken {
        name: "test".into(),
        scopes: scopes.iter().map(|&scope| scope.into()).collect(),
        endpoints: None,
        expires_in_s: None,
    };
    let created = app.token_issue(account.id, &new).await.unwrap();
    created.secret.unwrap().expose().to_owned()
}

pub(crate) fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no text"))
        .to_owned()
}

/// Returns the codes of a response's errors, in order.
pub(crate) fn codes(response: &Value) -> Vec<&str> {
    let errors = response["errors"].as_array().map_or(&[][..], Vec::as_slice);
    errors
        .iter()
        .map(|error| error["extensions"]["code"].as_str().unwrap_or("none"))
        .collect()
}

/// A graphql-transport-ws client.
pub(crate) struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

/// What a client sees.
#[derive(Debug)]
pub(crate) enum Seen {
    Message(Value),
    Close(u16),
    Cut,
}

impl Socket {
    pub(crate) async fn send(&mut self, message: Value) {
        let _ = self.0.send(Message::text(message.to_string())).await;
    }

    pub(crate) async fn subscribe(&mut self, query: &str, variables: Value) {
        let payload = json!({"query": query, "variables": variables});
        self.send(json!({"type": "subscribe", "id": "1", "payload": payload}))
            .await;
    }

    pub(crate) async fn see(&mut self) -> Seen {
        let begin = Instant::now();
        loop {
            let left = DEADLINE.saturating_sub(begin.elapsed());
            return match timeout(left, self.0.next())
                .await
                .expect("a message in time")
            {
                Some(Ok(Message::Text(text))) => {
                    Seen::Message(serde_json::from_str(&text).unwrap())
                }
                Some(Ok(Message::Close(Some(frame)))) => Seen::Close(frame.code.into()),
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

    /// Returns the data of the next result.
    pub(crate) async fn next(&mut self) -> Value {
        let mut message = self.message().await;
        assert_eq!(message["type"], "next", "{message}");
        assert!(message["payload"].get("errors").is_none(), "{message}");
        message["payload"]["data"].take()
    }

    pub(crate) async fn closed(&mut self) -> u16 {
        match self.see().await {
            Seen::Close(code) => code,
            other => panic!("{other:?} instead of a close"),
        }
    }
}

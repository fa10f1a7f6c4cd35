//! One socket: its messages, timers and close codes.
//!
//! | code | when |
//! |---|---|
//! | 1009 | a message is too long |
//! | 1011 | nothing came between two pings |
//! | 1012 | the server drains; resume on a new socket |
//! | 1013 | the client does not take its messages, or the server cannot check credentials now |
//! | 4400 | the message is none of the protocol's |
//! | 4401 | `subscribe` before `connection_ack`; the session has ended |
//! | 4403 | `connection_init` is refused |
//! | 4408 | no `connection_init` in time |
//! | 4409 | the id is in use |
//! | 4429 | a second `connection_init` |

use std::{collections::HashMap, future::pending, sync::Arc};

use async_graphql::{Data, Executor, ServerError, parser::types::OperationType};
use axum::{
    Error,
    extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket},
    http::{HeaderMap, StatusCode},
};
use futures_util::{
    FutureExt, SinkExt, StreamExt,
    future::BoxFuture,
    stream::{SplitSink, SplitStream},
};
use serde_json::{Map, Value};
use tokio::{
    sync::mpsc,
    task::AbortHandle,
    time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout},
};

use super::{
    message::{self, ClientMessage},
    operation::{Output, Task, refused},
};
use crate::{
    Authenticate, Close, SocketLimits, code, coded,
    request::{Operation, Params, prepare},
    transport::Shared,
};

/// Why a socket ends.
enum End {
    /// We close it.
    Close(Close),
    /// The client has closed or left.
    Gone,
}

impl From<Close> for End {
    fn from(close: Close) -> Self {
        Self::Close(close)
    }
}

/// The socket side of one client.
pub(super) struct Connection<E, A> {
    shared: Arc<Shared<E, A>>,
    headers: HeaderMap,
    sink: SplitSink<WebSocket, Message>,
    /// Data of the accepted session; none before `connection_ack`.
    session: Option<Arc<Data>>,
    /// Resolves when the session must end.
    ended: BoxFuture<'static, Close>,
    operations: HashMap<Arc<str>, Running>,
    /// Operations begun on this socket.
    begun: u64,
    out: mpsc::Sender<Output>,
    results: mpsc::Receiver<Output>,
    /// When the socket closes because the server drains.
    closes_at: Option<Instant>,
}

struct Running {
    serial: u64,
    /// Ends a live stream. Queries and mutations have none: they run to their end.
    abort: Option<AbortHandle>,
}

impl Running {
    fn stop(self) {
        if let Some(abort) = self.abort {
            abort.abort();
        }
    }
}

impl<E: Executor, A: Authenticate> Connection<E, A> {
    pub(super) fn new(
        shared: Arc<Shared<E, A>>,
        headers: HeaderMap,
        sink: SplitSink<WebSocket, Message>,
    ) -> Self {
        let (out, results) = mpsc::channel(shared.config.sockets.queue_max);
        Self {
            shared,
            headers,
            sink,
            session: None,
            ended: pending().boxed(),
            operations: HashMap::new(),
            begun: 0,
            out,
            results,
            closes_at: None,
        }
    }

    fn limits(&self) -> &SocketLimits {
        &self.shared.config.sockets
    }

    /// Serves the socket to its end.
    pub(super) async fn serve(mut self, mut stream: SplitStream<WebSocket>) {
        let end = match self.run(&mut stream).await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        for (_, operation) in self.operations.drain() {
            operation.stop();
        }
        let patience = self.limits().close_timeout;
        if let End::Close(close) = end {
            let frame = CloseFrame {
                code: close.code,
                reason: reason(&close.reason),
            };
            // A slow reader may still take what is on the way, and then learns why.
            let _ = timeout(patience, self.sink.send(Message::Close(Some(frame)))).await;
        }
        // Reading on sends the answer to the client's close, or takes its answer to ours: a socket
        // with unread input would be reset, and the client would see 1006 instead of the code.
        let _ = timeout(patience, async {
            while let Some(Ok(_)) = stream.next().await {}
        })
        .await;
    }

    async fn run(
        &mut self,
        stream: &mut SplitStream<WebSocket>,
    ) -> Result<std::convert::Infallible, End> {
        let drain = self.shared.drain.clone();
        let init_by = Instant::now() + self.limits().init_timeout;
        let period = self.limits().keep_alive;
        let mut pings = interval_at(Instant::now() + period, period);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = true;
        loop {
            let draining = self.closes_at.is_some();
            tokio::select! {
                () = sleep_until(init_by), if self.session.is_none() => {
                    return Err(Close::new(4408, "Connection initialisation timeout").into());
                }
                close = &mut self.ended => return Err(close.into()),
                () = drain.begun(), if !draining => {
                    self.closes_at = Some(Instant::now() + self.limits().drain_grace);
                    self.close_when_drained()?;
                }
                () = until(self.closes_at), if draining => return Err(restart()),
                _ = pings.tick() => {
                    if !heard {
                        return Err(Close::new(1011, "No answer to pings").into());
                    }
                    heard = false;
                    self.send(Message::Ping(Default::default())).await?;
                }
                Some(output) = self.results.recv() => self.deliver(output).await?,
                message = stream.next() => {
                    heard = true;
                    self.receive(message).await?;
                }
            }
        }
    }

    async fn send(&mut self, message: Message) -> Result<(), End> {
        match timeout(self.limits().write_timeout, self.sink.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => Err(Close::new(1013, "The client reads too slowly; try again later").into()),
        }
    }

    async fn send_text(&mut self, text: Utf8Bytes) -> Result<(), End> {
        self.send(Message::Text(text)).await
    }

    /// Passes on a result, unless the client has completed its operation meanwhile.
    async fn deliver(&mut self, output: Output) -> Result<(), End> {
        let current = self
            .operations
            .get(&output.id)
            .is_some_and(|running| running.serial == output.serial);
        if !current {
            return Ok(());
        }
        if output.last {
            self.operations.remove(&output.id);
        }
        if let Some(text) = output.text {
            self.send_text(text).await?;
        }
        self.close_when_drained()
    }

    /// Ends a draining socket as soon as nothing runs on it.
    fn close_when_drained(&self) -> Result<(), End> {
        if self.closes_at.is_some() && self.operations.is_empty() {
            return Err(restart());
        }
        Ok(())
    }

    async fn receive(&mut self, message: Option<Result<Message, Error>>) -> Result<(), End> {
        let text = match message {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Binary(_))) => {
                return Err(Close::new(4400, "Invalid message: not text").into());
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => return Ok(()),
            Some(Ok(Message::Close(_))) | None => return Err(End::Gone),
            Some(Err(error)) => return Err(broken(&error)),
        };
        match ClientMessage::parse(&text)? {
            ClientMessage::ConnectionInit(payload) => self.init(payload).await,
            ClientMessage::Ping(payload) => self.send_text(message::pong(payload.as_ref())).await,
            ClientMessage::Pong => Ok(()),
            ClientMessage::Complete { id } => {
                if let Some(running) = self.operations.remove(id.as_str()) {
                    running.stop();
                }
                self.close_when_drained()
            }
            ClientMessage::Subscribe { id, params } => self.subscribe(id, *params).await,
        }
    }

    async fn init(&mut self, payload: Map<String, Value>) -> Result<(), End> {
        if self.session.is_some() {
            return Err(Close::new(4429, "Too many initialisation requests").into());
        }
        let check = self.shared.authenticator.websocket(&payload, &self.headers);
        let session = match timeout(self.limits().init_timeout, check).await {
            Ok(Ok(session)) => session,
            Ok(Err(refusal)) => {
                let code = match refusal.status {
                    StatusCode::INTERNAL_SERVER_ERROR | StatusCode::SERVICE_UNAVAILABLE => 1013,
                    _ => 4403,
                };
                return Err(Close::new(code, refusal.message).into());
            }
            Err(_) => return Err(Close::new(1013, "Credentials cannot be checked now").into()),
        };
        self.session = Some(Arc::new(session.data));
        self.ended = session.ended;
        self.send_text(message::connection_ack()).await
    }

    async fn subscribe(&mut self, id: String, params: Params) -> Result<(), End> {
        let Some(session) = self.session.clone() else {
            return Err(Close::unauthorized("Unauthorized").into());
        };
        if self.operations.contains_key(id.as_str()) {
            return Err(Close::new(4409, format!("Subscriber for {id} already exists")).into());
        }
        if self.closes_at.is_some() {
            // The client subscribes again on its next socket.
            return Ok(());
        }
        let id: Arc<str> = id.into();
        match self.begin(&id, session, params) {
            Ok(()) => Ok(()),
            Err(error) => {
                let text = refused(&self.shared, &id, error);
                self.send_text(text).await
            }
        }
    }

    fn begin(
        &mut self,
        id: &Arc<str>,
        session: Arc<Data>,
        params: Params,
    ) -> Result<(), ServerError> {
        let max = self.limits().operations_max;
        if self.operations.len() >= max {
            return Err(coded(
                code::LIMIT_REACHED,
                format!("This socket runs {max} operations already"),
                None,
            ));
        }
        let operation = prepare(
            params,
            Data::default(),
            &self.shared.documents,
            &self.shared.config.gate,
        )?;
        let permit = self.permit(&operation)?;
        let detached = permit.is_some();
        self.begun += 1;
        let task = Task {
            shared: Arc::clone(&self.shared),
            session,
            operation,
            id: Arc::clone(id),
            serial: self.begun,
            out: self.out.clone(),
            permit,
        };
        let handle = tokio::spawn(task.run()).abort_handle();
        let running = Running {
            serial: self.begun,
            abort: (!detached).then_some(handle),
        };
        self.operations.insert(Arc::clone(id), running);
        Ok(())
    }

    /// Returns the permit of a query or a mutation; live streams are bounded by socket.
    fn permit(
        &self,
        operation: &Operation,
    ) -> Result<Option<tokio::sync::OwnedSemaphorePermit>, ServerError> {
        if operation.kind == OperationType::Subscription {
            return Ok(None);
        }
        Arc::clone(&self.shared.operations)
            .try_acquire_owned()
            .map(Some)
            .map_err(|_| {
                coded(
                    code::UNAVAILABLE,
                    "The server runs as many operations as it can",
                    None,
                )
            })
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}

fn restart() -> End {
    Close::new(1012, "The server restarts; resume on a new socket").into()
}

/// axum hides the type of the library's error; its text tells a message over the limit from a
/// connection that broke.
fn broken(error: &Error) -> End {
    if error.to_string().contains("too long") {
        Close::new(1009, "The message is too long").into()
    } else {
        End::Gone
    }
}

/// RFC 6455 5.5: a control frame holds 125 bytes, two of them are the code.
fn reason(text: &str) -> Utf8Bytes {
    let end = (0..=text.len().min(123))
        .rev()
        .find(|end| text.is_char_boundary(*end))
        .unwrap_or_default();
    text.get(..end).unwrap_or_default().into()
}

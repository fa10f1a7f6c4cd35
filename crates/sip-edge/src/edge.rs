//! What all parts of the edge share, and the way of a message through it: transactions, the checks that
//! every request gets, and the choice by method.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sipgraph_core::App;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::digest::Authenticator;
use crate::message_out::{ClientKey, Outbox, Sent};
use crate::reply::{ALLOW, Reply};
use crate::transaction::{ClientTable, Fired, Received, ServerKey, ServerTable};
use crate::transport::{Flow, Inbound, Transports};
use crate::wire::{Malformed, Message, Response, write};
use crate::{message_in, registrar};

/// The most requests in progress: enough for the store to commit many together, and a bound on what an
/// attacker can make us hold.
const IN_PROGRESS_MAX: usize = 512;
/// How often timers are looked at. The shortest, timer E, is 500 ms.
const TICK: Duration = Duration::from_millis(100);
/// How long requests in progress may take after the edge was told to stop.
const DRAIN: Duration = Duration::from_secs(5);

/// The state of the edge.
pub(crate) struct Edge {
    pub(crate) app: Arc<App>,
    pub(crate) config: Config,
    pub(crate) transports: Transports,
    pub(crate) authenticator: Authenticator,
    pub(crate) outbox: Outbox,
    servers: Mutex<ServerTable>,
    clients: Mutex<ClientTable<ClientKey, Sent>>,
}

/// A request in progress. Should its handling panic, its transaction is forgotten, so that a retransmission
/// is not ignored for ever.
struct Handling {
    edge: Arc<Edge>,
    key: ServerKey,
}

impl Drop for Handling {
    fn drop(&mut self) {
        self.edge.servers().give_up(self.key);
    }
}

impl Edge {
    pub(crate) fn new(config: Config, app: Arc<App>, transports: Transports) -> Self {
        // The id of a run ends with random octets.
        let mut salt = [0; 8];
        salt.copy_from_slice(&app.node().0[8..]);
        Self {
            authenticator: Authenticator::new(app.keys().clone(), salt),
            outbox: Outbox::default(),
            servers: Mutex::default(),
            clients: Mutex::new(ClientTable::new()),
            app,
            config,
            transports,
        }
    }

    fn servers(&self) -> MutexGuard<'_, ServerTable> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn clients(&self) -> MutexGuard<'_, ClientTable<ClientKey, Sent>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Handles what the sockets give until `stop` is cancelled; then lets requests in progress end.
    pub(crate) async fn run(
        self: Arc<Self>,
        mut inbound: mpsc::Receiver<Inbound>,
        stop: CancellationToken,
    ) {
        let in_progress = Arc::new(Semaphore::new(IN_PROGRESS_MAX));
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let item = tokio::select! {
                () = stop.cancelled() => break,
                _ = ticks.tick() => {
                    self.tick().await;
                    continue;
                }
                item = inbound.recv() => item,
            };
            match item {
                None => break,
                Some(Inbound::Message(flow, message)) => {
                    self.receive(flow, message, &in_progress).await
                }
                Some(Inbound::Malformed(flow, malformed)) => self.refuse(&flow, &malformed).await,
                Some(Inbound::Closed(flow)) => {
                    self.outbox_closed(&flow);
                    let edge = Arc::clone(&self);
                    tokio::spawn(async move { edge.connection_closed(flow).await });
                }
            }
        }
        // The sockets receive no more, but answers still go out.
        let drained = async {
            let all = u32::try_from(IN_PROGRESS_MAX).unwrap_or(u32::MAX);
            let _ = in_progress.acquire_many(all).await;
            self.transports.close_all();
            // Every task of a socket holds a sender until it has written what was queued.
            while inbound.recv().await.is_some() {}
        };
        let _ = tokio::time::timeout(DRAIN, drained).await;
    }

    pub(crate) async fn connection_closed(&self, flow: Flow) {
        if let Err(error) = self.app.connection_closed(flow.connection).await {
            // The expiry of its bindings ends them instead.
            tracing::warn!(%flow, %error, "the bindings of a closed connection could not be removed");
        }
    }

    async fn tick(&self) {
        let now = Instant::now();
        self.servers().tick(now);
        let mut due: Vec<(Flow, Bytes)> = Vec::new();
        self.clients().tick(now, |fired| match fired {
            Fired::Resend(sent) => due.push((sent.flow, sent.octets.clone())),
            Fired::Timeout(sent) => sent.timed_out(),
        });
        for (flow, octets) in due {
            // When it fails, timer F ends the transaction.
            let _ = self.transports.send(&flow, octets).await;
        }
    }

    /// Answers a malformed request where that is possible, and gives a stream up that cannot go on.
    async fn refuse(&self, flow: &Flow, malformed: &Malformed) {
        tracing::debug!(%flow, status = malformed.status, reason = malformed.reason, "malformed message");
        if let Some(request) = &malformed.request {
            let key = ServerKey::of(request, flow);
            let reply = Reply::stateless(malformed.status).because(malformed.reason);
            self.answer(flow, request, key, reply).await;
        }
        if malformed.unframed && flow.transport.is_stream() {
            self.transports.close(flow);
        }
    }

    async fn receive(self: &Arc<Self>, flow: Flow, message: Message, in_progress: &Arc<Semaphore>) {
        if message.status().is_some() {
            self.response(&flow, &message);
            return;
        }
        // ACK belongs to an INVITE, which was refused; it is never answered (RFC 3261 section 17).
        if message.method() == Some("ACK") {
            return;
        }
        let key = ServerKey::of(&message, &flow);
        let received = self.servers().receive(key);
        match received {
            Received::InProgress => {}
            Received::Answered(octets) => self.send_answer(&flow, &message, octets).await,
            Received::New => {
                let Ok(permit) = Arc::clone(in_progress).acquire_owned().await else {
                    return;
                };
                let handling = Handling {
                    edge: Arc::clone(self),
                    key,
                };
                tokio::spawn(async move {
                    let reply = handling.edge.handle(&flow, &message).await;
                    handling.edge.answer(&flow, &message, key, reply).await;
                    drop((handling, permit));
                });
            }
        }
    }

    async fn answer(&self, flow: &Flow, request: &Message, key: ServerKey, reply: Reply) {
        let Reply {
            status,
            reason,
            fields,
            is_kept,
        } = reply;
        let mut response = Response::new(request, flow.remote, &key.to_tag(), status, reason);
        for (name, value) in fields {
            response = response.field(name, value);
        }
        let octets = response.finish();
        if is_kept {
            let is_stream = flow.transport.is_stream();
            self.servers()
                .answered(key, octets.clone(), is_stream, Instant::now());
        } else {
            self.servers().forget(key);
        }
        tracing::debug!(%flow, method = request.method(), status, "answered");
        self.send_answer(flow, request, octets).await;
    }

    async fn send_answer(&self, flow: &Flow, request: &Message, octets: Bytes) {
        let remote = if flow.transport.is_stream() {
            flow.remote
        } else {
            write::reply_to(request, flow.remote)
        };
        if let Err(error) = self
            .transports
            .send(&Flow { remote, ..*flow }, octets)
            .await
        {
            tracing::debug!(%flow, %error, "an answer could not be sent");
        }
    }

    /// The checks of RFC 3261 section 8.2 that do not depend on the method, and the choice by method.
    async fn handle(&self, flow: &Flow, request: &Message) -> Reply {
        let method = request.method().unwrap_or_default();
        match method {
            "REGISTER" | "MESSAGE" | "OPTIONS" => {}
            // Nothing that we serve can be cancelled: it is answered at once.
            "CANCEL" => return Reply::stateless(481),
            "BYE" | "INFO" | "INVITE" | "NOTIFY" | "PRACK" | "PUBLISH" | "REFER" | "SUBSCRIBE"
            | "UPDATE" => {
                return Reply::stateless(405).with("Allow", ALLOW);
            }
            _ => return Reply::stateless(501).with("Allow", ALLOW),
        }
        let scheme = request
            .uri()
            .and_then(|uri| uri.split_once(':'))
            .map(|(scheme, _)| scheme);
        if !scheme.is_some_and(|s| s.eq_ignore_ascii_case("sip") || s.eq_ignore_ascii_case("sips"))
        {
            return Reply::stateless(416);
        }
        let required: Vec<&str> = request.require().collect();
        if !required.is_empty() {
            return Reply::stateless(420).with("Unsupported", required.join(", "));
        }
        let reply = match method {
            "REGISTER" => registrar::register(self, flow, request).await,
            "MESSAGE" => message_in::receive(self, flow, request).await,
            _ => {
                let accept = message_in::ACCEPT;
                Ok(Reply::stateless(200)
                    .with("Allow", ALLOW)
                    .with("Accept", accept))
            }
        };
        reply.unwrap_or_else(|refusal| refusal)
    }
}

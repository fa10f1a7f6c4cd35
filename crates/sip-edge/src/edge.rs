//! What all parts of the edge share, and the way of a message through it: transactions, the checks that
//! every request gets, and the choice by method.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{FutureExt as _, poll};
use sip_validate::message::{Malformed, Message, Response, write};
use sipgraph_core::App;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::{CancellationToken, ReusableBoxFuture};

use crate::config::Config;
use crate::defend::{self, fitted};
use crate::digest::Authenticator;
use crate::message_out::{ClientKey, Outbox, Sent};
use crate::meters::Meters;
use crate::names::Names;
use crate::pace::Paces;
use crate::reply::{ALLOW, Reply, SILENCE};
use crate::trace::Watchers;
use crate::transaction::{ClientTable, Fired, Received, ServerKey, ServerTable};
use crate::transport::{Flow, Inbound, SendError, Transports};
use crate::{message_in, names, qualify, registrar};

/// The most requests in progress: enough for the store to commit many together, and a bound on what an
/// attacker can make us hold.
const IN_PROGRESS_MAX: usize = 512;
/// How often timers are looked at. The shortest, timer E, is 500 ms.
const TICK: Duration = Duration::from_millis(100);
/// The first pause before the bindings of a closed connection are removed again after a failure; it doubles.
const CLOSED_PAUSE_FIRST: Duration = Duration::from_millis(100);
/// The longest such pause: for so long a device may seem to be online once the store is back.
const CLOSED_PAUSE_MAX: Duration = Duration::from_secs(10);
/// How long requests in progress may take after the edge was told to stop.
const DRAIN: Duration = Duration::from_secs(5);

/// The state of the edge.
pub(crate) struct Edge {
    pub(crate) app: Arc<App>,
    pub(crate) config: Config,
    pub(crate) transports: Arc<Transports>,
    pub(crate) authenticator: Authenticator,
    pub(crate) outbox: Outbox,
    pub(crate) names: Names,
    pub(crate) paces: Paces,
    pub(crate) meters: Meters,
    pub(crate) watchers: Watchers,
    servers: Mutex<ServerTable>,
    clients: Mutex<ClientTable<ClientKey, Sent>>,
    /// How many devices were asked whether they are there.
    probes: AtomicU64,
    /// Cancelled when [`Edge::run`] ends.
    ended: CancellationToken,
}

/// A request in progress. When it ends, also by a panic, its transaction is forgotten unless the answer is kept:
/// a retransmission is then not ignored for ever.
struct Handling {
    edge: Arc<Edge>,
    key: ServerKey,
}

impl Drop for Handling {
    fn drop(&mut self) {
        self.edge.servers().forget(self.key);
    }
}

/// What begins requests: one for the streams, and one for each thread that reads datagrams.
struct Begun {
    /// Common to all of them.
    in_progress: Arc<Semaphore>,
    /// The place of the latest one: most end at once, and the next takes the same memory.
    work: Work,
}

/// A request that is handled, or the panic that ended it.
type Work = ReusableBoxFuture<'static, std::thread::Result<()>>;

impl Begun {
    fn new(in_progress: &Arc<Semaphore>) -> Self {
        Self {
            in_progress: Arc::clone(in_progress),
            work: Self::nothing(),
        }
    }

    fn nothing() -> Work {
        ReusableBoxFuture::new(std::future::ready(Ok(())))
    }
}

impl Edge {
    pub(crate) fn new(config: Config, app: Arc<App>, transports: Arc<Transports>) -> Self {
        // The id of a run ends with random octets.
        let mut salt = [0; 8];
        salt.copy_from_slice(&app.node().0[8..]);
        Self {
            authenticator: Authenticator::new(app.keys().clone(), salt),
            outbox: Outbox::default(),
            names: Names::default(),
            paces: Paces::default(),
            meters: Meters::default(),
            watchers: Watchers::default(),
            servers: Mutex::default(),
            clients: Mutex::new(ClientTable::new()),
            probes: AtomicU64::new(0),
            ended: CancellationToken::new(),
            app,
            config,
            transports,
        }
    }

    /// A name for an OPTIONS of ours that no other has, in no run.
    pub(crate) fn probe_name(&self) -> String {
        let number = self.probes.fetch_add(1, Ordering::Relaxed);
        format!(
            "{}-{number}",
            sipgraph_core::digest::hex(&self.app.node().0)
        )
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
        let _ended = self.ended.clone().drop_guard();
        if let Some(every) = self.config.qualify {
            tokio::spawn(qualify::run(Arc::clone(&self), every, stop.clone()));
        }
        tokio::spawn(names::run(Arc::clone(&self), stop.clone()));
        let in_progress = Arc::new(Semaphore::new(IN_PROGRESS_MAX));
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stopped = pin!(stop.cancelled());
        self.transports.start_datagrams(&stop, || {
            let (edge, runtime) = (Arc::clone(&self), Handle::current());
            let mut begun = Begun::new(&in_progress);
            move |item| {
                let _entered = runtime.enter();
                // It waits for nothing: what has to is made a task, and a datagram is sent at once.
                let taken = edge.take(item, &mut begun).now_or_never();
                debug_assert!(taken.is_some(), "a datagram was waited for");
            }
        });
        let mut begun = Begun::new(&in_progress);
        loop {
            let item = tokio::select! {
                () = &mut stopped => break,
                _ = ticks.tick() => {
                    self.tick().await;
                    continue;
                }
                item = inbound.recv() => item,
            };
            let Some(item) = item else { break };
            self.take(item, &mut begun).await;
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
        self.watchers.end();
    }

    async fn take(self: &Arc<Self>, item: Inbound, begun: &mut Begun) {
        match item {
            Inbound::Message(flow, message) => self.receive(flow, message, begun).await,
            Inbound::Malformed(flow, malformed) => self.refuse(&flow, &malformed).await,
            Inbound::Closed {
                flow,
                was_authenticated,
            } => {
                self.outbox_closed(&flow);
                // Without authentication nothing was bound to it.
                if was_authenticated {
                    self.connection_closed(flow);
                }
            }
        }
    }

    /// Removes the bindings of a closed connection, and tries again until that succeeds or the edge ends: a
    /// device that hung up must not seem to be online. One task for a connection that authenticated itself.
    pub(crate) fn connection_closed(self: &Arc<Self>, flow: Flow) {
        let edge = Arc::clone(self);
        tokio::spawn(async move {
            let mut pause = CLOSED_PAUSE_FIRST;
            while let Err(error) = edge.app.connection_closed(flow.connection).await {
                tracing::warn!(%flow, %error, ?pause, "the bindings of a closed connection could not be removed yet");
                tokio::select! {
                    () = edge.ended.cancelled() => return,
                    () = sleep(pause) => pause = (pause * 2).min(CLOSED_PAUSE_MAX),
                }
            }
        });
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
            let _ = self.transmit(&flow, octets).await;
        }
    }

    /// Sends octets over a flow, and shows them to those who watch.
    pub(crate) async fn transmit(&self, flow: &Flow, octets: Bytes) -> Result<(), SendError> {
        self.watchers.sent(flow, &octets, || self.app.now());
        self.transports.send(flow, octets).await
    }

    /// Answers a malformed request where that is possible, and gives a stream up that cannot go on. It is no
    /// transaction: a well-formed request with the same key goes on as if it had not come.
    async fn refuse(self: &Arc<Self>, flow: &Flow, malformed: &Malformed) {
        if let Some(request) = &malformed.request {
            self.watchers.received(flow, request, || self.app.now());
        }
        if !self.admits(flow, malformed.request.as_deref()).await {
            return;
        }
        tracing::debug!(%flow, fault = %malformed, "malformed message");
        if let Some(request) = &malformed.request {
            let key = ServerKey::of(request, flow);
            let reply = Reply::stateless(malformed.status()).because(malformed.reason());
            self.answer(flow, request, key, reply).await;
        }
        if malformed.unframed && flow.transport.is_stream() {
            self.transports.close(flow);
        }
    }

    async fn receive(self: &Arc<Self>, flow: Flow, message: Message, begun: &mut Begun) {
        self.watchers.received(&flow, &message, || self.app.now());
        if message.status().is_some() {
            self.response(&flow, &message);
            return;
        }
        // ACK belongs to an INVITE, which was refused; it is never answered (RFC 3261 section 17).
        if message.method() == Some("ACK") {
            return;
        }
        if !self.admits(&flow, Some(&message)).await {
            return;
        }
        let key = ServerKey::of(&message, &flow);
        let received = self.servers().receive(key);
        match received {
            Received::InProgress => {}
            Received::Answered(octets) => {
                // It was somebody's the first time.
                self.app.source_refund(defend::source(&flow));
                self.send_answer(&flow, &message, octets).await;
            }
            Received::New => {
                let handling = Handling {
                    edge: Arc::clone(self),
                    key,
                };
                // Never waits: timers and responses come by the same loop.
                let Ok(permit) = Arc::clone(&begun.in_progress).try_acquire_owned() else {
                    tracing::debug!(%flow, "request not handled: too many are in progress");
                    self.meters.dropped("busy");
                    // On UDP it will be retransmitted.
                    if flow.transport.is_stream() {
                        self.answer(&flow, &message, key, Reply::unavailable())
                            .await;
                    }
                    return;
                };
                let work = async move {
                    let reply = handling.edge.handle(&flow, &message).await;
                    handling.edge.answer(&flow, &message, key, reply).await;
                    drop((handling, permit));
                };
                // A challenge and most refreshes need nothing but memory: they are answered here. What has to wait goes on as
                // a task. A panic ends neither this loop nor the thread.
                begun.work.set(AssertUnwindSafe(work).catch_unwind());
                match poll!(&mut begun.work) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => tracing::error!("the handling of a request panicked"),
                    Poll::Pending => {
                        let work = std::mem::replace(&mut begun.work, Begun::nothing());
                        tokio::spawn(work);
                    }
                }
            }
        }
    }

    pub(crate) async fn answer(
        &self,
        flow: &Flow,
        request: &Message,
        key: ServerKey,
        reply: Reply,
    ) {
        let status = reply.status;
        if status == SILENCE {
            return;
        }
        let is_stream = flow.transport.is_stream();
        if !reply.is_kept {
            // Before it is sent: whoever repeats the request once it is answered gets an answer again.
            self.servers().forget(key);
        }
        let octets = if reply.is_kept {
            let octets = written(flow, request, key, &reply);
            self.servers()
                .answered(key, octets.clone(), is_stream, Instant::now());
            octets
        } else if is_stream {
            written(flow, request, key, &reply)
        } else if let Some(octets) = fitted(flow, request, key, reply) {
            octets
        } else {
            self.meters.dropped("amplification");
            return;
        };
        let method = request.method().unwrap_or_default();
        self.meters.answered(method, status, flow.transport);
        tracing::debug!(%flow, method = request.method(), status, "answered");
        self.send_answer(flow, request, octets).await;
    }

    async fn send_answer(&self, flow: &Flow, request: &Message, octets: Bytes) {
        let remote = if flow.transport.is_stream() {
            flow.remote
        } else {
            write::reply_to(request, flow.remote)
        };
        if let Err(error) = self.transmit(&Flow { remote, ..*flow }, octets).await {
            tracing::debug!(%flow, %error, "an answer could not be sent");
        }
    }

    /// The checks of RFC 3261 section 8.2 that do not depend on the method, and the choice by method.
    async fn handle(self: &Arc<Self>, flow: &Flow, request: &Message) -> Reply {
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
        let is_served = |tag: &str| {
            method == "REGISTER"
                && registrar::EXTENSIONS
                    .iter()
                    .any(|e| e.eq_ignore_ascii_case(tag))
        };
        let required: Vec<&str> = request.require().filter(|tag| !is_served(tag)).collect();
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

/// The octets of an answer.
pub(crate) fn written(flow: &Flow, request: &Message, key: ServerKey, reply: &Reply) -> Bytes {
    let (status, reason) = (reply.status, reply.reason);
    let response = Response::new(request, flow.remote, &key.to_tag(), status, reason);
    let fields = reply.fields.iter();
    fields
        .fold(response, |response, (name, value)| {
            response.field(name, value)
        })
        .finish()
}

#[cfg(test)]
mod tests {
    use futures_util::stream::{self, BoxStream, StreamExt as _};
    use sipgraph_core::app::{Parts, Policy};
    use sipgraph_core::keyring::Keyring;
    use sipgraph_core::ports::{Bus, Wake};
    use sipgraph_testkit::{Database, SeededEntropy, SettableClock};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpStream, UdpSocket};
    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Nobody reads the log in these tests, so nobody is woken.
    struct Unheard;

    impl Bus for Unheard {
        fn wake(&self, _: Wake) {}

        fn wakes(&self) -> BoxStream<'static, Wake> {
            stream::pending().boxed()
        }
    }

    async fn edge() -> (Arc<Edge>, Database) {
        let database = Database::sqlite();
        let app = App::new(Parts {
            store: Arc::new(database.store().await),
            bus: Arc::new(Unheard),
            clock: Arc::new(SettableClock::default()),
            entropy: Arc::new(SeededEntropy::new(2)),
            keys: Keyring::new([3; 32]),
            policy: Policy::default(),
        });
        let any = "127.0.0.1:0".parse().unwrap();
        let config = Config {
            udp_listen: vec![any],
            tcp_listen: vec![any],
            ..Config::default()
        };
        let transports = Transports::bind(&config).await.unwrap();
        (
            Arc::new(Edge::new(config, app, Arc::new(transports))),
            database,
        )
    }

    fn options(transport: &str) -> String {
        format!(
            "OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/{transport} a;branch=z9hG4bK1;rport\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:h>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        )
    }

    #[tokio::test]
    async fn with_too_many_in_progress_a_stream_is_told_and_a_datagram_is_dropped() {
        let (edge, _database) = edge().await;
        let stop = CancellationToken::new();
        let mut inbound = edge.transports.start(&stop);
        let (queue, mut datagrams) = mpsc::channel(16);
        edge.transports.start_datagrams(&stop, || {
            let queue = queue.clone();
            move |item| queue.blocking_send(item).unwrap()
        });
        let addresses: Vec<_> = edge.transports.addresses().map(|(_, at)| at).collect();
        let free = Arc::new(Semaphore::new(1));
        let mut begun = [&Arc::new(Semaphore::new(0)), &free].map(Begun::new);
        let message = |item| match item {
            Some(Inbound::Message(flow, message)) => (flow, message),
            other => panic!("{other:?}"),
        };

        let mut phone = TcpStream::connect(addresses[1]).await.unwrap();
        for (begun, status) in begun.iter_mut().zip(["SIP/2.0 503 ", "SIP/2.0 200 "]) {
            phone.write_all(options("TCP").as_bytes()).await.unwrap();
            let received = timeout(PATIENCE, inbound.recv()).await.unwrap();
            let (flow, request) = message(received);
            edge.receive(flow, request, begun).await;
            let mut answer = Vec::new();
            while !answer.ends_with(b"\r\n\r\n") {
                let read = timeout(PATIENCE, phone.read_buf(&mut answer)).await;
                assert_ne!(read.unwrap().unwrap(), 0);
            }
            let answer = String::from_utf8(answer).unwrap();
            assert!(answer.starts_with(status), "{answer}");
            assert_eq!(
                answer.contains("\r\nRetry-After: 5\r\n"),
                status.contains("503")
            );
        }

        let phone = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        // The permit is given back once the answer is sent.
        let permit = timeout(PATIENCE, free.acquire()).await.unwrap();
        drop(permit);
        for begun in &mut begun {
            let text = options("UDP");
            phone.send_to(text.as_bytes(), addresses[0]).await.unwrap();
            let received = timeout(PATIENCE, datagrams.recv()).await.unwrap();
            let (flow, request) = message(received);
            edge.receive(flow, request, begun).await;
        }
        stop.cancel();
        let mut answer = vec![0; 1024];
        let received = timeout(PATIENCE, phone.recv(&mut answer)).await;
        answer.truncate(received.unwrap().unwrap());
        assert!(
            answer.starts_with(b"SIP/2.0 200 "),
            "the first answer is to the retransmission"
        );
    }
}

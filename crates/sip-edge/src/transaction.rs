//! Non-INVITE transactions (RFC 3261 section 17) as pure state machines: input is a message or the time.
//!
//! They must not know sockets, clocks or tasks: the caller brings the time and sends what it is told to.
//! Both tables are bounded.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::hash::Hash;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use sip_validate::message::{Message, Name};

use crate::transport::Flow;

/// The estimate of the round-trip time (RFC 3261 section 17.1.1.1).
const T1: Duration = Duration::from_millis(500);
/// The longest interval between retransmissions (section 17.1.2.2).
const T2: Duration = Duration::from_secs(4);
/// How long a message stays in the network (section 17.1.2.2): timer K on UDP.
const T4: Duration = Duration::from_secs(5);
/// 64 * T1: timer F, after which a request without an answer has failed, and timer J on UDP, for which a
/// final answer is kept for retransmissions.
const T1_64: Duration = Duration::from_secs(32);

/// The most answers kept for retransmissions; 32 s at 4,000 requests/s over UDP.
const ANSWERS_MAX: usize = 128 * 1024;
/// The most octets of answers kept for retransmissions; 32 s at 2,000 registrations/s.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;
/// The most requests of ours that wait for an answer; each holds one message of at most 64 KiB.
const CLIENTS_MAX: usize = 16 * 1024;

/// What names a server transaction: branch, sent-by and method (RFC 3261 section 17.2.3), or, for a
/// branch without the magic cookie, the fields of RFC 2543. The address of the peer is part of it, so
/// that nobody else can fetch an answer by guessing a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ServerKey([u8; 16]);

impl ServerKey {
    /// The key of a request that came over `flow`.
    pub(crate) fn of(request: &Message, flow: &Flow) -> Self {
        let mut hash = Sha256::new();
        // Each part has a length of its own, or ends with an octet that it cannot hold, so that parts cannot run into
        // each other.
        match flow.remote {
            SocketAddr::V4(v4) => hash.update(v4.ip().octets()),
            SocketAddr::V6(v6) => {
                hash.update(v6.ip().octets());
                hash.update(v6.scope_id().to_be_bytes());
            }
        }
        hash.update(flow.remote.port().to_be_bytes());
        hash.update(flow.connection.to_be_bytes());
        let mut add = |part: &str| {
            hash.update(part.as_bytes());
            hash.update([0]);
        };
        add(flow.transport.as_str());
        add(request.method().unwrap_or_default());
        let via = request.via();
        match via.as_ref().ok().and_then(|via| Some((via, via.branch()?))) {
            Some((via, branch)) => {
                add(branch);
                add(&via.host.to_ascii_lowercase());
                add(&via.port.unwrap_or(5060).to_string());
            }
            None => {
                add(request.uri().unwrap_or_default());
                add(request.call_id());
                for name in [Name::Via, Name::CSeq, Name::From, Name::To] {
                    add(request.get(name).unwrap_or_default());
                }
            }
        }
        let mut key = [0; 16];
        key.copy_from_slice(&hash.finalize()[..16]);
        Self(key)
    }

    /// A To tag for the answers to this request: the same for its retransmissions, without any state.
    pub(crate) fn to_tag(self) -> String {
        sipgraph_core::digest::hex(&self.0[..8])
    }
}

/// What to do with a received request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// It is new: handle it, then call [`ServerTable::answered`] or [`ServerTable::forget`].
    New,
    /// It is a retransmission of one that is being handled: do nothing.
    InProgress,
    /// It is a retransmission of one that was answered: send the answer again.
    Answered(Bytes),
}

/// The server transactions (RFC 3261 section 17.2.2).
#[derive(Default)]
pub(crate) struct ServerTable {
    /// `None` while it is handled (Trying), the final answer afterwards (Completed).
    transactions: HashMap<ServerKey, Option<Bytes>>,
    /// The answered ones with the end of their timer J; all have the same length, so they are in order.
    answered: VecDeque<(Instant, ServerKey)>,
    answer_bytes: usize,
}

impl ServerTable {
    /// Takes a request. The number of those in progress is bounded by the caller.
    pub(crate) fn receive(&mut self, key: ServerKey) -> Received {
        match self.transactions.get(&key) {
            None => {
                self.transactions.insert(key, None);
                Received::New
            }
            Some(None) => Received::InProgress,
            Some(Some(answer)) => Received::Answered(answer.clone()),
        }
    }

    /// Keeps the final answer for retransmissions: 32 s on UDP (timer J), not at all on streams. When the
    /// table is full the oldest answer is given up: retransmissions come within the first seconds, and a
    /// MESSAGE that is handled twice is still stored once.
    pub(crate) fn answered(
        &mut self,
        key: ServerKey,
        answer: Bytes,
        is_stream: bool,
        now: Instant,
    ) {
        if is_stream {
            self.transactions.remove(&key);
            return;
        }
        // A buffer that was written into is up to twice as long as what is in it.
        let answer = Bytes::copy_from_slice(&answer);
        self.answer_bytes += answer.len();
        if let Some(Some(earlier)) = self.transactions.insert(key, Some(answer)) {
            // It keeps its place among the answered and the end of its timer J.
            self.answer_bytes -= earlier.len();
        } else {
            self.answered.push_back((now + T1_64, key));
        }
        while !self.answered.is_empty()
            && (self.answered.len() > ANSWERS_MAX || self.answer_bytes > ANSWER_BYTES_MAX)
        {
            self.drop_oldest();
        }
    }

    /// Forgets a request that has no kept answer: a retransmission is handled as a new one. A kept answer stays
    /// until its timer J.
    pub(crate) fn forget(&mut self, key: ServerKey) {
        if self.transactions.get(&key).is_some_and(Option::is_none) {
            self.transactions.remove(&key);
        }
    }

    /// Drops the answers whose timer J has fired.
    pub(crate) fn tick(&mut self, now: Instant) {
        while self.answered.front().is_some_and(|(end, _)| *end <= now) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((_, key)) = self.answered.pop_front()
            && let Some(Some(answer)) = self.transactions.remove(&key)
        {
            self.answer_bytes -= answer.len();
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClientState {
    Trying,
    Proceeding,
    Completed,
}

/// One client transaction (RFC 3261 section 17.1.2): timers E and F, and K once it is completed.
#[derive(Debug)]
struct Client<T> {
    state: ClientState,
    /// The interval of timer E, `None` on streams.
    interval: Option<Duration>,
    /// When timer E fires.
    resend_at: Option<Instant>,
    /// When timer F fires, or K in `Completed`.
    end_at: Instant,
    /// What the caller keeps with it, until the final answer or timer F.
    payload: Option<T>,
    /// Tells a transaction from an earlier one with the same key in the queue of timers.
    number: u64,
}

impl<T> Client<T> {
    fn next_at(&self) -> Instant {
        self.resend_at.map_or(self.end_at, |at| at.min(self.end_at))
    }
}

/// What the time brings to a client transaction.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fired<'a, T> {
    /// Timer E: send the request again.
    Resend(&'a T),
    /// Timer F: no final answer came.
    Timeout(T),
}

/// The client transactions, by a key (the branch).
pub(crate) struct ClientTable<K, T> {
    transactions: HashMap<K, Client<T>>,
    /// When to look at which transaction; entries of transactions that have moved on are skipped.
    timers: BinaryHeap<Reverse<(Instant, u64, K)>>,
    started: u64,
}

impl<K: Clone + Eq + Hash + Ord, T> ClientTable<K, T> {
    pub(crate) fn new() -> Self {
        Self {
            transactions: HashMap::new(),
            timers: BinaryHeap::new(),
            started: 0,
        }
    }

    /// Starts a transaction whose request is about to be sent; gives the payload back when the key is in
    /// use or the table is full.
    pub(crate) fn start(
        &mut self,
        key: K,
        payload: T,
        is_stream: bool,
        now: Instant,
    ) -> Result<(), T> {
        if self.transactions.len() >= CLIENTS_MAX || self.transactions.contains_key(&key) {
            return Err(payload);
        }
        self.started += 1;
        let interval = (!is_stream).then_some(T1);
        let client = Client {
            state: ClientState::Trying,
            interval,
            resend_at: interval.map(|interval| now + interval),
            end_at: now + T1_64,
            payload: Some(payload),
            number: self.started,
        };
        self.timers
            .push(Reverse((client.next_at(), client.number, key.clone())));
        self.transactions.insert(key, client);
        Ok(())
    }

    /// What the caller keeps with a transaction that waits for its final answer.
    pub(crate) fn payload(&self, key: &K) -> Option<&T> {
        self.transactions.get(key)?.payload.as_ref()
    }

    /// Takes the status of a response; gives the payload at the first final one.
    pub(crate) fn response(&mut self, key: &K, status: u16, now: Instant) -> Option<T> {
        let client = self.transactions.get_mut(key)?;
        if client.state == ClientState::Completed {
            return None;
        }
        if status < 200 {
            client.state = ClientState::Proceeding;
            return None;
        }
        let payload = client.payload.take();
        if client.interval.is_some() {
            client.state = ClientState::Completed;
            client.resend_at = None;
            client.end_at = now + T4;
            self.timers
                .push(Reverse((client.end_at, client.number, key.clone())));
        } else {
            self.transactions.remove(key);
        }
        payload
    }

    /// Ends a transaction that nobody waits for any more.
    pub(crate) fn cancel(&mut self, key: &K) -> Option<T> {
        if self.transactions.get(key)?.state == ClientState::Completed {
            return None;
        }
        self.transactions.remove(key)?.payload
    }

    /// Ends the transactions that a test of their payload picks, and gives their payloads.
    pub(crate) fn cancel_where(&mut self, is_picked: impl Fn(&T) -> bool) -> Vec<T> {
        let picked = |client: &mut Client<T>| client.payload.take_if(|payload| is_picked(payload));
        let ended: Vec<T> = self.transactions.values_mut().filter_map(picked).collect();
        self.transactions
            .retain(|_, client| client.payload.is_some() || client.state == ClientState::Completed);
        ended
    }

    /// Fires the timers that are due.
    pub(crate) fn tick(&mut self, now: Instant, mut fired: impl FnMut(Fired<'_, T>)) {
        while self
            .timers
            .peek()
            .is_some_and(|Reverse((at, ..))| *at <= now)
        {
            let Some(Reverse((at, number, key))) = self.timers.pop() else {
                break;
            };
            let Some(client) = self.transactions.get_mut(&key) else {
                continue;
            };
            if client.number != number || client.next_at() != at {
                continue;
            }
            if client.end_at <= now {
                let payload = self
                    .transactions
                    .remove(&key)
                    .and_then(|client| client.payload);
                if let Some(payload) = payload {
                    fired(Fired::Timeout(payload));
                }
                continue;
            }
            // Timer E doubles up to T2; after a provisional answer it is T2 (section 17.1.2.2).
            let interval = match client.state {
                ClientState::Trying => client.interval.map(|i| (i * 2).min(T2)),
                ClientState::Proceeding | ClientState::Completed => client.interval.map(|_| T2),
            };
            client.interval = interval;
            client.resend_at = interval.map(|interval| now + interval);
            if let Some(payload) = &client.payload {
                fired(Fired::Resend(payload));
            }
            self.timers.push(Reverse((client.next_at(), number, key)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sip_validate::message::frame::datagram;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn key(text: &str, remote: &str) -> ServerKey {
        let flow = Flow::udp("192.0.2.9:5060".parse().unwrap(), remote.parse().unwrap());
        ServerKey::of(&datagram(text.as_bytes()).unwrap().unwrap(), &flow)
    }

    #[test]
    fn requests_are_told_apart_as_rfc_3261_says() {
        let text = "OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/UDP a:5060;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:h>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\r\n";
        let one = key(text, "192.0.2.1:5060");
        let same = |changed: String| key(&changed, "192.0.2.1:5060") == one;
        assert!(same(text.replace("Call-ID: 1", "Call-ID: 2")));
        assert!(same(text.replace("UDP a:5060", "UDP A")));
        assert!(!same(text.replace("z9hG4bK1", "z9hG4bK2")));
        assert!(!same(text.replace("UDP a", "UDP b")));
        assert!(!same(text.replace("OPTIONS", "MESSAGE")));
        assert_ne!(key(text, "192.0.2.2:5060"), one);
        let old = text.replace("z9hG4bK1", "z9hG4bK");
        assert_ne!(
            key(&old, "192.0.2.1:5060"),
            key(&old.replace("Call-ID: 1", "Call-ID: 2"), "192.0.2.1:5060")
        );
        assert_eq!(one.to_tag().len(), 16);
    }

    #[test]
    fn a_retransmission_is_absorbed_and_answered_for_32_seconds() {
        let (mut table, now, key) = (ServerTable::default(), Instant::now(), ServerKey([1; 16]));
        assert_eq!(table.receive(key), Received::New);
        assert_eq!(table.receive(key), Received::InProgress);
        table.answered(key, Bytes::from_static(b"200"), false, now);
        assert_eq!(
            table.receive(key),
            Received::Answered(Bytes::from_static(b"200"))
        );
        table.forget(key);
        table.tick(now + T1_64 - MS(1));
        assert_eq!(
            table.receive(key),
            Received::Answered(Bytes::from_static(b"200"))
        );
        table.tick(now + T1_64);
        assert_eq!(table.receive(key), Received::New);
        assert_eq!(table.answer_bytes, 0);
    }

    #[test]
    fn a_stream_keeps_no_answer() {
        let (mut table, key) = (ServerTable::default(), ServerKey([1; 16]));
        assert_eq!(table.receive(key), Received::New);
        table.answered(key, Bytes::from_static(b"200"), true, Instant::now());
        assert_eq!(table.receive(key), Received::New);
        table.forget(key);
        assert_eq!(table.receive(key), Received::New);
    }

    #[test]
    fn kept_answers_are_bounded() {
        let (mut table, now) = (ServerTable::default(), Instant::now());
        let big = Bytes::from(vec![0; ANSWER_BYTES_MAX / 4]);
        for n in 0..9 {
            table.answered(ServerKey([n; 16]), big.clone(), false, now);
        }
        assert_eq!((table.answered.len(), table.transactions.len()), (4, 4));
    }

    #[test]
    fn an_answer_is_counted_once_and_until_it_is_dropped() {
        let (mut table, now, key) = (ServerTable::default(), Instant::now(), ServerKey([1; 16]));
        table.answered(key, Bytes::from_static(b"200"), false, now);
        table.forget(key);
        assert_eq!((table.transactions.len(), table.answer_bytes), (1, 3));
        table.answered(key, Bytes::from_static(b"20000"), false, now + MS(1));
        assert_eq!((table.answered.len(), table.answer_bytes), (1, 5));
        table.tick(now + T1_64);
        assert_eq!((table.transactions.len(), table.answered.len()), (0, 0));
        assert_eq!(table.answer_bytes, 0);
        // One that is larger than the whole table is not kept, and the table goes on.
        let huge = Bytes::from(vec![0; ANSWER_BYTES_MAX + 1]);
        table.answered(key, huge, false, now);
        assert_eq!((table.transactions.len(), table.answer_bytes), (0, 0));
    }

    fn fired(table: &mut ClientTable<&'static str, u8>, now: Instant) -> Vec<&'static str> {
        let mut seen = Vec::new();
        table.tick(now, |event| {
            seen.push(match event {
                Fired::Resend(_) => "resend",
                Fired::Timeout(_) => "timeout",
            });
        });
        seen
    }

    #[test]
    fn timer_e_doubles_up_to_t2_and_timer_f_ends_it() {
        let (mut table, start) = (ClientTable::new(), Instant::now());
        table.start("b", 7, false, start).unwrap();
        assert_eq!(table.start("b", 8, false, start), Err(8));
        let mut resent = Vec::new();
        for ms in (0..=32_000).step_by(100) {
            match fired(&mut table, start + MS(ms))[..] {
                [] => {}
                ["resend"] => resent.push(ms),
                ["timeout"] => assert_eq!(ms, 32_000),
                ref other => panic!("{other:?}"),
            }
        }
        // RFC 3261 section 17.1.2.2: after 500 ms, 1 s, 2 s, 4 s, 4 s ...
        assert_eq!(
            resent,
            [
                500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500
            ]
        );
        assert!(table.transactions.is_empty() && table.timers.is_empty());
    }

    #[test]
    fn a_provisional_answer_slows_timer_e_down() {
        let (mut table, start) = (ClientTable::new(), Instant::now());
        table.start("b", 7, false, start).unwrap();
        assert_eq!(table.response(&"b", 100, start + MS(100)), None);
        assert_eq!(fired(&mut table, start + MS(500)), ["resend"]);
        assert!(fired(&mut table, start + MS(4400)).is_empty());
        assert_eq!(fired(&mut table, start + MS(4500)), ["resend"]);
    }

    #[test]
    fn the_first_final_answer_counts_and_later_ones_are_absorbed() {
        let (mut table, start) = (ClientTable::new(), Instant::now());
        table.start("b", 7, false, start).unwrap();
        assert_eq!(table.response(&"b", 200, start + MS(100)), Some(7));
        assert_eq!(table.response(&"b", 200, start + MS(200)), None);
        assert!(fired(&mut table, start + MS(5000)).is_empty());
        assert_eq!(table.start("b", 8, false, start), Err(8));
        assert!(fired(&mut table, start + MS(5100)).is_empty());
        assert!(table.transactions.is_empty() && fired(&mut table, start + MS(40_000)).is_empty());
    }

    #[test]
    fn a_stream_sends_once() {
        let (mut table, start) = (ClientTable::new(), Instant::now());
        table.start("b", 7, true, start).unwrap();
        assert!(fired(&mut table, start + MS(31_999)).is_empty());
        assert_eq!(fired(&mut table, start + MS(32_000)), ["timeout"]);
        table.start("b", 7, true, start).unwrap();
        assert_eq!(table.response(&"b", 486, start), Some(7));
        table.start("b", 7, true, start).unwrap();
        assert_eq!((table.cancel(&"b"), table.cancel(&"b")), (Some(7), None));
    }
}

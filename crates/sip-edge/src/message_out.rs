//! Requests to a device over the flow of its registration: MESSAGE, one at a time to each contact, and OPTIONS.
//!
//! It must not decide what is sent again: it reports how an attempt ended.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sip_validate::message::{Message, Name, Request, list};
use sip_validate::{DisplayName, Scheme, SipUri};
use sipgraph_core::binding::Binding;
use sipgraph_core::decide::delivery::holds;
use sipgraph_core::ports::{Attempt, AttemptResult, AttemptTarget, PortFuture, Technology};
use sipgraph_core::{AddressId, BindingId};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::edge::Edge;
use crate::message_in::ACCEPT;
use crate::registrar::date;
use crate::transport::{Flow, local_towards};

/// The most messages that wait for one contact; core keeps the others.
const WAITING_MAX: usize = 64;
/// How long a message waits for those before it. With timer F an attempt ends within 64 s.
const WAIT: Duration = Duration::from_secs(31);
/// How long no message overtakes one that failed for now: until core, which stored that, plans no other before it. Core tries
/// none again sooner.
const HOLD: Duration = Duration::from_secs(4);
/// How long a notice that nobody misses waits: longer, and it tells of the past.
const NOTICE_WAIT: Duration = Duration::from_secs(2);
/// The longest request over UDP when the path is not known (RFC 3261 section 18.1.1, RFC 3428 section 8).
const UDP_BYTES_MAX: usize = 1300;
/// The longest reason phrase that is reported, in characters.
const REASON_MAX: usize = 128;

/// What names a client transaction: the branch of its Via, which no two requests of ours share.
pub(crate) type ClientKey = String;

/// How a request of ours ended.
pub(crate) struct Answer {
    pub(crate) result: AttemptResult,
    /// The challenges of a 401 or 407.
    pub(crate) challenges: Vec<String>,
}

impl From<AttemptResult> for Answer {
    fn from(result: AttemptResult) -> Self {
        Self {
            result,
            challenges: Vec::new(),
        }
    }
}

/// A MESSAGE as it goes to one target.
pub(crate) struct Outbound<'a> {
    /// The Request-URI.
    pub(crate) uri: &'a str,
    /// The URI of To.
    pub(crate) to: &'a str,
    /// The proxies on the way.
    pub(crate) route: Option<&'a str>,
    pub(crate) branch: String,
    pub(crate) cseq: u32,
    /// The name and value of the field that answers a challenge.
    pub(crate) authorization: Option<(&'static str, String)>,
}

/// A request of ours that waits for its answer.
pub(crate) struct Sent {
    pub(crate) flow: Flow,
    pub(crate) octets: Bytes,
    answer: oneshot::Sender<Answer>,
}

impl Sent {
    /// Timer F has fired.
    pub(crate) fn timed_out(self) {
        // The receiver may have been dropped with the round that waited.
        let _ = self.answer.send(AttemptResult::Timeout.into());
    }
}

/// Whom messages wait for, one at a time: a contact, or whom an address of a trunk leads to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Place {
    Contact(BindingId),
    Called(AddressId, String),
}

/// Who waits for which place: a place has an entry while a message is outstanding at it, and for a while after one failed for
/// now.
#[derive(Default, Clone)]
pub(crate) struct Outbox(Arc<Mutex<HashMap<Place, Line>>>);

/// The messages to one place.
#[derive(Default)]
struct Line {
    is_busy: bool,
    waiting: VecDeque<oneshot::Sender<()>>,
    /// The Call-ID of a message that failed for now, and until when others must not overtake it.
    held: Option<(String, Instant)>,
}

impl Outbox {
    /// Takes the next turn at a place, at once, for the message with a Call-ID; `None` when too many wait, or an earlier
    /// message goes first.
    fn enqueue(&self, place: Place, call_id: &str, now: Instant) -> Option<Turn> {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = places.entry(place.clone()).or_default();
        match &line.held {
            Some((first, until)) if first != call_id && now < *until => return None,
            _ => line.held = None,
        }
        let granted = if line.is_busy {
            // Those that gave up are still in the queue.
            line.waiting.retain(|sender| !sender.is_closed());
            if line.waiting.len() == WAITING_MAX {
                return None;
            }
            let (sender, receiver) = oneshot::channel();
            line.waiting.push_back(sender);
            Some(receiver)
        } else {
            line.is_busy = true;
            None
        };
        Some(Turn {
            outbox: self.clone(),
            place,
            granted,
        })
    }

    /// Sends those away that wait behind a message that failed for now, and lets none overtake it before `until`.
    fn hold(&self, place: Place, call_id: &str, now: Instant, until: Instant) {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |line: &Line| line.held.as_ref().is_none_or(|(_, until)| *until <= now);
        places.retain(|_, line| line.is_busy || !is_over(line));
        let line = places.entry(place).or_default();
        line.waiting.clear();
        line.held = Some((call_id.to_owned(), until));
    }

    /// Gives the turn to the next that waits.
    fn next(&self, place: &Place) {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(line) = places.get_mut(place) else {
            return;
        };
        while let Some(sender) = line.waiting.pop_front() {
            if sender.send(()).is_ok() {
                return;
            }
        }
        line.is_busy = false;
        if line.held.is_none() {
            places.remove(place);
        }
    }
}

/// A turn at a place, given up when dropped.
struct Turn {
    outbox: Outbox,
    place: Place,
    /// Fires when it is our turn; `None` when it is already.
    granted: Option<oneshot::Receiver<()>>,
}

impl Turn {
    /// Waits until it is our turn; gives whether it is, or was given to nobody in time, or taken away.
    async fn wait(&mut self, limit: Duration) -> bool {
        match &mut self.granted {
            None => true,
            Some(granted) => {
                let is_granted = matches!(timeout(limit, granted).await, Ok(Ok(())));
                if is_granted {
                    self.granted = None;
                }
                is_granted
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let is_ours = match &mut self.granted {
            None => true,
            Some(granted) => {
                // Closed first, so that the turn cannot be given to us after the look.
                granted.close();
                granted.try_recv().is_ok()
            }
        };
        if is_ours {
            self.outbox.next(&self.place);
        }
    }
}

/// Ends a client transaction when nobody waits for it any more.
pub(crate) struct Ending<'a> {
    edge: &'a Edge,
    key: ClientKey,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        drop(self.edge.clients().cancel(&self.key));
    }
}

/// A request that was sent, or could not be.
pub(crate) enum Begun<'a> {
    Sent(oneshot::Receiver<Answer>, Ending<'a>),
    Failed(String),
}

impl Begun<'_> {
    /// Waits for the final answer or timer F.
    pub(crate) async fn answer(self) -> Answer {
        match self {
            Self::Sent(answered, _ending) => answered
                .await
                .unwrap_or_else(|_| failed("the attempt was given up").into()),
            Self::Failed(reason) => failed(reason).into(),
        }
    }
}

/// The technology `sip` of core.
pub(crate) struct Sip(pub(crate) Arc<Edge>);

impl Technology for Sip {
    fn deliver(&self, attempt: Attempt) -> PortFuture<'static, AttemptResult> {
        let edge = Arc::clone(&self.0);
        let place = match &attempt.target {
            AttemptTarget::Contact(binding) => Place::Contact(binding.id),
            AttemptTarget::Address(address) => {
                Place::Called(address.id, address.request_uri.clone())
            }
        };
        let turn = edge
            .outbox
            .enqueue(place.clone(), &attempt.call_id, Instant::now());
        Box::pin(async move {
            let Some(mut turn) = turn else {
                return AttemptResult::NotSent;
            };
            let limit = if attempt.is_notice { NOTICE_WAIT } else { WAIT };
            if !turn.wait(limit).await {
                return AttemptResult::NotSent;
            }
            // The turn is ours until the attempt has ended.
            let result = edge.send(&attempt).await;
            // The addresses of a trunk are tried one after the other; a message at one of them holds up no others there.
            let is_contact = matches!(place, Place::Contact(_));
            if is_contact && !attempt.is_notice && holds(&result, attempt.number) {
                let now = Instant::now();
                edge.outbox.hold(place, &attempt.call_id, now, now + HOLD);
            }
            drop(turn);
            edge.meters.delivered(&result);
            result
        })
    }
}

pub(crate) fn failed(text: impl Into<String>) -> AttemptResult {
    AttemptResult::TransportError(text.into())
}

impl Edge {
    /// Sends a MESSAGE and waits for its final answer or timer F.
    async fn send(&self, attempt: &Attempt) -> AttemptResult {
        match &attempt.target {
            AttemptTarget::Contact(binding) => self.send_to_contact(attempt, binding).await,
            AttemptTarget::Address(address) => self.send_by_trunk(attempt, address).await,
        }
    }

    async fn send_to_contact(&self, attempt: &Attempt, binding: &Binding) -> AttemptResult {
        let Some(flow) = Flow::from_core(&binding.flow, self.app.node()) else {
            return failed("the connection is not open here");
        };
        let Some(uri) = request_uri(&binding.contact_uri) else {
            return failed("the contact is no SIP URI");
        };
        let outbound = Outbound {
            uri: &uri,
            to: &attempt.to,
            route: binding.path.as_deref(),
            branch: attempt.branch.clone(),
            cseq: attempt.cseq,
            authorization: None,
        };
        let octets = self.request(attempt, &flow, &outbound);
        if !flow.transport.is_stream() && too_large(&octets) {
            return local_513();
        }
        self.exchange(outbound.branch, flow, octets).await.result
    }

    /// Sends a request and waits for its final answer or timer F; when the wait is given up, so is the transaction.
    pub(crate) async fn exchange(&self, key: ClientKey, flow: Flow, octets: Bytes) -> Answer {
        self.begin(key, flow, octets).await.answer().await
    }

    /// Sends a request, whose final answer is then to be waited for; when that is given up, so is the transaction.
    pub(crate) async fn begin(&self, key: ClientKey, flow: Flow, octets: Bytes) -> Begun<'_> {
        let (answer, answered) = oneshot::channel();
        let sent = Sent {
            flow,
            octets: octets.clone(),
            answer,
        };
        let started = self.clients().start(
            key.clone(),
            sent,
            flow.transport.is_stream(),
            Instant::now(),
        );
        if started.is_err() {
            let reason = "too many requests are on their way, or this one is already";
            return Begun::Failed(reason.to_owned());
        }
        let ending = Ending { edge: self, key };
        match self.transmit(&flow, octets).await {
            Ok(()) => Begun::Sent(answered, ending),
            Err(error) => Begun::Failed(error.to_string()),
        }
    }

    /// Asks a device whether it is there: OPTIONS outside of any dialog (RFC 3261 section 11). Gives how long it took to
    /// answer, whatever it answered; `None` when it did not within `limit`.
    pub(crate) async fn probe(&self, binding: &Binding, limit: Duration) -> Option<Duration> {
        let flow = Flow::from_core(&binding.flow, self.app.node())?;
        let name = self.probe_name();
        let branch = format!("z9hG4bK{name}");
        let host = self.our_host(&flow);
        let uri = request_uri(&binding.contact_uri)?;
        let octets = self
            .begun("OPTIONS", &uri, binding.path.as_deref(), &flow, &branch)
            .field("From", format_args!("<sip:{host}>;tag={name}"))
            .field("To", format_args!("<{uri}>"))
            .field("Call-ID", &name)
            .field("CSeq", "1 OPTIONS")
            .field("Accept", ACCEPT)
            .finish(&[]);
        let asked = Instant::now();
        let answer = timeout(limit, self.exchange(branch, flow, octets)).await;
        match answer.map(|answer| answer.result) {
            Ok(AttemptResult::Answered { .. }) => Some(asked.elapsed()),
            Ok(
                AttemptResult::Timeout | AttemptResult::TransportError(_) | AttemptResult::NotSent,
            )
            | Err(_) => None,
        }
    }

    /// Begins a request: it goes to a URI, by the proxies between, which for a contact are those that its REGISTER came
    /// by (RFC 3327).
    fn begun(
        &self,
        method: &str,
        uri: &str,
        route: Option<&str>,
        flow: &Flow,
        branch: &str,
    ) -> Request {
        let transport = flow.transport.as_str();
        let sent_by = self.sent_by(flow);
        let via = format_args!("SIP/2.0/{transport} {sent_by};branch={branch};rport");
        let request = Request::new(method, uri)
            .field("Via", via)
            .field("Max-Forwards", 70);
        match route {
            Some(route) => request.field("Route", route),
            None => request,
        }
    }

    /// Writes a MESSAGE.
    pub(crate) fn request(&self, attempt: &Attempt, flow: &Flow, outbound: &Outbound<'_>) -> Bytes {
        let Outbound {
            uri,
            to,
            route,
            branch,
            cseq,
            authorization,
        } = outbound;
        let peer = flow.remote.ip();
        let from = answerable(&attempt.from, peer, || self.our_host(flow));
        let to = answerable(to, peer, || self.our_host(flow));
        let name = display_name(attempt.from_name.as_deref());
        let tag = &attempt.from_tag;
        let request = self
            .begun("MESSAGE", uri, *route, flow, branch)
            .field("From", format_args!("{name}<{from}>;tag={tag}"))
            .field("To", format_args!("<{to}>"))
            .field("Call-ID", &attempt.call_id)
            .field("CSeq", format_args!("{cseq} MESSAGE"))
            .field("Date", date(self.app.now()))
            .field("Expires", attempt.expires_s);
        let answer = authorization.iter();
        let request = answer.fold(request, |request, (field, value)| {
            request.field(field, value)
        });
        let variables = attempt.variables.iter();
        let request = variables.fold(request, |request, (field, text)| request.field(field, text));
        let request = request.field("Content-Type", &attempt.content_type);
        request.finish(attempt.body.as_bytes())
    }

    fn sent_by(&self, flow: &Flow) -> String {
        format!("{}:{}", self.our_host(flow), flow.local.port())
    }

    /// Our host towards a device, as a URI spells it.
    fn our_host(&self, flow: &Flow) -> String {
        if let Some(host) = &self.config.advertised_host {
            return host.clone();
        }
        let bound = flow.local.ip();
        let address = if bound.is_unspecified() {
            local_towards(flow.remote).unwrap_or(bound)
        } else {
            bound
        };
        match address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        }
    }

    /// Takes a response: it counts when it comes back over the flow of its request (on UDP: from its
    /// address), with our Via alone (RFC 3261 sections 8.1.3.3 and 17.1.3).
    pub(crate) fn response(&self, flow: &Flow, response: &Message) {
        let Some((status, reason)) = response.status() else {
            return;
        };
        let is_ours = response.all(Name::Via).flat_map(list).count() == 1
            && response
                .cseq()
                .is_ok_and(|(_, method)| matches!(method, "MESSAGE" | "OPTIONS"));
        let key = response
            .via()
            .ok()
            .and_then(|via| via.branch())
            .map(str::to_owned);
        let Some(key) = key.filter(|_| is_ours) else {
            return;
        };
        let retry_after_s = response.get(Name::RetryAfter).and_then(retry_after);
        let mut clients = self.clients();
        let same_flow = |sent: &Sent| {
            sent.flow.transport == flow.transport
                && sent.flow.connection == flow.connection
                && sent.flow.remote.ip() == flow.remote.ip()
        };
        if !clients.payload(&key).is_some_and(same_flow) {
            return;
        }
        if let Some(sent) = clients.response(&key, status, Instant::now()) {
            let reason = reason.chars().take(REASON_MAX).collect();
            let challenge = match status {
                401 => Some(Name::WwwAuthenticate),
                407 => Some(Name::ProxyAuthenticate),
                _ => None,
            };
            let challenges = challenge.into_iter().flat_map(|name| response.all(name));
            let answer = Answer {
                result: AttemptResult::Answered {
                    status,
                    reason,
                    retry_after_s,
                },
                challenges: challenges.map(str::to_owned).collect(),
            };
            // The receiver may have been dropped with the round that waited.
            let _ = sent.answer.send(answer);
        }
    }

    /// Ends what waits for an answer over a connection that has ended.
    pub(crate) fn outbox_closed(&self, flow: &Flow) {
        for sent in self.clients().cancel_where(|sent| sent.flow == *flow) {
            let _ = sent.answer.send(failed("the connection was closed").into());
        }
    }
}

/// A display name with the space behind it; nothing for one that cannot be written.
fn display_name(name: Option<&str>) -> String {
    name.and_then(|name| DisplayName::quote(name).ok())
        .map_or_else(String::new, |quoted| format!("{quoted} "))
}

/// Whether a request is too long for UDP.
pub(crate) fn too_large(octets: &Bytes) -> bool {
    octets.len() > UDP_BYTES_MAX
}

/// What the next hop would have to answer to one that is too large; another target may be on TCP.
pub(crate) fn local_513() -> AttemptResult {
    AttemptResult::Answered {
        status: 513,
        reason: format!("More than {UDP_BYTES_MAX} octets over UDP"),
        retry_after_s: None,
    }
}

/// An address of ours as a device can answer to it: a domain that is named by a loopback address means us only on this
/// machine, so elsewhere our address stands in its place.
fn answerable(uri: &str, device: IpAddr, our_host: impl FnOnce() -> String) -> Cow<'_, str> {
    let Ok(parsed) = SipUri::parse_received(uri) else {
        return Cow::Borrowed(uri);
    };
    let is_loopback = parsed.host.address().is_some_and(|host| host.is_loopback());
    match parsed.user {
        Some(user) if is_loopback && !device.is_loopback() => {
            Cow::Owned(format!("sip:{user}@{}", our_host()))
        }
        _ => Cow::Borrowed(uri),
    }
}

/// The Request-URI that a contact asks for: its URI without headers and without `method`
/// (RFC 3261 sections 19.1.1 table 1 and 19.1.5).
fn request_uri(contact: &str) -> Option<String> {
    let uri = SipUri::parse_received(contact).ok()?;
    let mut text = match uri.scheme {
        Scheme::Sip => "sip:".to_owned(),
        Scheme::Sips => "sips:".to_owned(),
    };
    if let Some(user) = uri.user {
        text.push_str(user);
        text.push('@');
    }
    text.push_str(&uri.host.to_string());
    if let Some(port) = uri.port {
        text.push_str(&format!(":{port}"));
    }
    for (name, value) in uri
        .parameters()
        .filter(|(name, _)| !name.eq_ignore_ascii_case("method"))
    {
        text.push(';');
        text.push_str(name);
        if let Some(value) = value {
            text.push('=');
            text.push_str(value);
        }
    }
    Some(text)
}

/// The seconds of Retry-After, which a comment and parameters may follow (RFC 3261 section 20.33).
fn retry_after(text: &str) -> Option<u32> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_elsewhere_can_answer_to_a_domain_named_by_loopback() {
        let here = || "192.0.2.1".to_owned();
        for (uri, device, seen) in [
            ("sip:bob@127.0.0.1", "192.0.2.9", "sip:bob@192.0.2.1"),
            ("sip:bob@127.0.0.1", "127.0.0.1", "sip:bob@127.0.0.1"),
            ("sip:bob@example.com", "192.0.2.9", "sip:bob@example.com"),
        ] {
            assert_eq!(
                answerable(uri, device.parse().unwrap(), here),
                seen,
                "{uri} {device}"
            );
        }
    }
    use sipgraph_core::Timestamp;

    #[test]
    fn the_request_uri_is_the_contact_without_headers_and_method() {
        for (contact, uri) in [
            (
                "sip:alice@192.0.2.1:5070;transport=tcp;ob",
                Some("sip:alice@192.0.2.1:5070;transport=tcp;ob"),
            ),
            (
                "sips:a@[2001:DB8::1];method=INVITE;x=1?Route=%3Csip:evil%3E",
                Some("sips:a@[2001:db8::1];x=1"),
            ),
            ("sip:pc.invalid", Some("sip:pc.invalid")),
            ("mailto:a@b", None),
        ] {
            assert_eq!(request_uri(contact).as_deref(), uri, "{contact}");
        }
    }

    #[test]
    fn retry_after_may_have_a_comment() {
        assert_eq!(retry_after("18000;duration=3600"), Some(18000));
        assert_eq!(retry_after("120 (I'm in a meeting)"), Some(120));
        assert_eq!(
            (retry_after("soon"), retry_after("99999999999")),
            (None, None)
        );
    }

    fn binding(n: u8) -> Place {
        Place::Contact(BindingId::new(Timestamp(0), [n; 10]))
    }

    fn turn(outbox: &Outbox, n: u8, call_id: &str) -> Option<Turn> {
        outbox.enqueue(binding(n), call_id, Instant::now())
    }

    #[tokio::test]
    async fn turns_come_in_the_order_of_the_calls() {
        let outbox = Outbox::default();
        let mut first = turn(&outbox, 1, "a").unwrap();
        let second = turn(&outbox, 1, "b").unwrap();
        let mut third = turn(&outbox, 1, "c").unwrap();
        assert!(first.wait(WAIT).await && turn(&outbox, 2, "d").unwrap().wait(WAIT).await);
        drop(first);
        // The second was given the turn and never looked: it goes on to the third.
        drop(second);
        assert!(third.wait(WAIT).await);
        drop(third);
        assert!(outbox.0.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_queue_is_bounded_and_those_that_gave_up_do_not_count() {
        let outbox = Outbox::default();
        let _first = turn(&outbox, 1, "a").unwrap();
        let mut waiting: Vec<Turn> = (0..WAITING_MAX)
            .map(|i| turn(&outbox, 1, &i.to_string()).unwrap())
            .collect();
        assert!(turn(&outbox, 1, "x").is_none());
        waiting.truncate(WAITING_MAX - 1);
        assert!(turn(&outbox, 1, "x").is_some());
    }

    #[tokio::test]
    async fn a_turn_that_does_not_come_is_given_up() {
        let outbox = Outbox::default();
        let first = turn(&outbox, 1, "a").unwrap();
        let mut second = turn(&outbox, 1, "b").unwrap();
        assert!(!second.wait(Duration::ZERO).await);
        drop((second, first));
        assert!(outbox.0.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn nobody_overtakes_a_message_that_failed_for_now() {
        let outbox = Outbox::default();
        let first = turn(&outbox, 1, "a").unwrap();
        let mut second = turn(&outbox, 1, "b").unwrap();
        let now = Instant::now();
        outbox.hold(binding(1), "a", now, now + HOLD);
        assert!(!second.wait(WAIT).await, "it is sent away at once");
        drop((second, first));
        assert!(turn(&outbox, 1, "b").is_none());
        assert!(
            turn(&outbox, 2, "b").is_some(),
            "at another contact it is free"
        );
        let mut again = turn(&outbox, 1, "a").unwrap();
        assert!(again.wait(Duration::ZERO).await);
        let mut behind = turn(&outbox, 1, "b").unwrap();
        drop(again);
        assert!(behind.wait(Duration::ZERO).await);
        drop(behind);
        // One that never came again holds nobody for ever.
        outbox.hold(binding(1), "a", now, now);
        assert!(turn(&outbox, 1, "b").is_some());
        outbox.hold(binding(3), "a", now + HOLD, now + HOLD * 2);
        assert_eq!(
            outbox.0.lock().unwrap().len(),
            1,
            "what is over is forgotten"
        );
    }
}

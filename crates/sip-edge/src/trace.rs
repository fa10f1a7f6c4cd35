//! Watching what one endpoint says and is told, while it happens. Messages are shown to those who watch and to nobody
//! else, and are not kept. It must not show credentials: what proves a password is taken out here.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sip_validate::message::{Message, Name, frame};
use sip_validate::{SipUri, aor_user};
use sipgraph_core::Timestamp;
use sipgraph_core::binding::Transport;
use tokio::sync::mpsc;

use crate::transport::Flow;

/// The most who watch at once: each costs a look at every message.
const WATCHERS_MAX: usize = 8;
/// The most messages that wait for one who watches; what comes while it is full is counted as missed.
const WAITING_MAX: usize = 256;
/// What stands in the place of a credential.
const HIDDEN: &str = "(hidden)";

/// Whom a trace is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// The canonical user part of its address.
    pub user: String,
    /// The canonical names of its domain.
    pub domains: BTreeSet<String>,
    /// Whether bodies are shown.
    pub bodies: bool,
}

/// A message that was seen on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traced {
    /// When it was received, or given to the system to be sent.
    pub at: Timestamp,
    /// Whether it is one of ours.
    pub is_sent: bool,
    /// What carried it.
    pub transport: Transport,
    /// Our address.
    pub local: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
    /// Start line and headers, a line each, without credentials.
    pub head: String,
    /// The size of the body, in octets.
    pub body_octets: usize,
    /// The body, when it was asked for; what is no UTF-8 is replaced.
    pub body: Option<String>,
}

/// A running trace; it ends when it is dropped.
#[derive(Debug)]
pub struct Trace {
    seen: mpsc::Receiver<Traced>,
    missed: Arc<AtomicU64>,
}

impl Trace {
    /// Waits for the next message; `None` once the edge has ended.
    pub async fn next(&mut self) -> Option<Traced> {
        self.seen.recv().await
    }

    /// Returns how many messages were not shown since the last call, because they came faster than they were taken.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed.swap(0, Ordering::Relaxed)
    }
}

struct Watcher {
    watched: Watched,
    seen: mpsc::Sender<Traced>,
    missed: Arc<AtomicU64>,
}

/// Those who watch. While there is nobody, a message costs the look at a flag.
#[derive(Default)]
pub(crate) struct Watchers {
    is_watched: AtomicBool,
    list: Mutex<Vec<Watcher>>,
}

impl Watchers {
    /// Begins a trace; `None` while there are too many.
    pub(crate) fn watch(&self, watched: Watched) -> Option<Trace> {
        let mut list = self.list();
        list.retain(|watcher| !watcher.seen.is_closed());
        if list.len() == WATCHERS_MAX {
            return None;
        }
        let (sender, seen) = mpsc::channel(WAITING_MAX);
        let missed = Arc::new(AtomicU64::new(0));
        list.push(Watcher {
            watched,
            seen: sender,
            missed: Arc::clone(&missed),
        });
        self.is_watched.store(true, Ordering::Relaxed);
        Some(Trace { seen, missed })
    }

    /// Ends all traces.
    pub(crate) fn end(&self) {
        self.list().clear();
        self.is_watched.store(false, Ordering::Relaxed);
    }

    /// Shows a message that was received.
    pub(crate) fn received(&self, flow: &Flow, message: &Message, now: impl Fn() -> Timestamp) {
        if self.is_watched.load(Ordering::Relaxed) {
            self.show(false, flow, message, now());
        }
    }

    /// Shows what is sent.
    pub(crate) fn sent(&self, flow: &Flow, octets: &[u8], now: impl Fn() -> Timestamp) {
        if !self.is_watched.load(Ordering::Relaxed) {
            return;
        }
        // Bounds are wider for streams, and what we wrote is within them.
        if let Some(Ok(message)) = frame::websocket(octets) {
            self.show(true, flow, &message, now());
        }
    }

    fn show(&self, is_sent: bool, flow: &Flow, message: &Message, at: Timestamp) {
        let mut list = self.list();
        list.retain(|watcher| !watcher.seen.is_closed());
        if list.is_empty() {
            self.is_watched.store(false, Ordering::Relaxed);
            return;
        }
        let parties = parties(message);
        for watcher in list.iter() {
            let Watched {
                user,
                domains,
                bodies,
            } = &watcher.watched;
            let is_about = |(name, host): &(String, Host)| {
                name == user
                    && match host {
                        // How a phone writes its own address, and one that is set up with our address ours.
                        Host::Address => true,
                        Host::Name(name) => domains.contains(name),
                    }
            };
            if !parties.iter().any(is_about) {
                continue;
            }
            let traced = Traced {
                at,
                is_sent,
                transport: flow.transport,
                local: flow.local,
                remote: flow.remote,
                head: head(message),
                body_octets: message.body.len(),
                body: bodies.then(|| String::from_utf8_lossy(&message.body).into_owned()),
            };
            if watcher.seen.try_send(traced).is_err() {
                watcher.missed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn list(&self) -> MutexGuard<'_, Vec<Watcher>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Host {
    Address,
    Name(String),
}

/// Whom a message is from and to: canonical users with their hosts.
fn parties(message: &Message) -> Vec<(String, Host)> {
    let from = message.from();
    let to = message.to();
    let named = [from, to].into_iter().flatten();
    let parties = named.filter_map(|party| {
        let uri = SipUri::parse_received(party.uri).ok()?;
        let user = aor_user(uri.user?).ok()?.into_owned();
        let host = match uri.host.address() {
            Some(IpAddr::V4(_) | IpAddr::V6(_)) => Host::Address,
            None => Host::Name(uri.host.canonical().into_owned()),
        };
        Some((user, host))
    });
    parties.collect()
}

/// Start line and headers without credentials.
fn head(message: &Message) -> String {
    let mut head = match (message.method(), message.uri(), message.status()) {
        (Some(method), uri, _) => {
            format!(
                "{method} {} SIP/2.0\n",
                without_passwords(uri.unwrap_or_default())
            )
        }
        (None, _, Some((status, reason))) => format!("SIP/2.0 {status} {reason}\n"),
        (None, _, None) => String::new(),
    };
    for (name, value) in message.fields() {
        let value = String::from_utf8_lossy(value);
        let value = match Name::read(name) {
            Name::Authorization | Name::ProxyAuthorization => without_proof(&value),
            _ => without_passwords(&value),
        };
        // Writing to a string can't fail.
        let _ = writeln!(head, "{name}: {value}");
    }
    head
}

/// The value of an Authorization field of which only that is left which says who asks for what and how.
fn without_proof(value: &str) -> String {
    const SHOWN: [&str; 6] = ["username", "realm", "uri", "algorithm", "qop", "nc"];
    let (scheme, parameters) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("Digest") {
        return format!("{scheme} {HIDDEN}");
    }
    let mut shown = Vec::new();
    for parameter in elements(parameters) {
        let (name, _) = parameter.split_once('=').unwrap_or((parameter, ""));
        if SHOWN.iter().any(|s| s.eq_ignore_ascii_case(name.trim())) {
            shown.push(without_passwords(parameter));
        } else {
            shown.push(format!("{}={HIDDEN}", name.trim()));
        }
    }
    format!("{scheme} {}", shown.join(", "))
}

/// The elements of a list, whose quoted strings may hold commas.
fn elements(list: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    list.split(move |c| {
        let is_escaped = std::mem::take(&mut escaped);
        match c {
            '"' if !is_escaped => quoted = !quoted,
            '\\' if quoted && !is_escaped => escaped = true,
            ',' => return !quoted,
            _ => {}
        }
        false
    })
    .map(str::trim)
    .filter(|element| !element.is_empty())
}

/// A text in which the password of each SIP URI is hidden.
fn without_passwords(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    // The user and password of a URI: from the colon of its scheme to the `@`, if nothing between ends it.
    while let Some(colon) = rest.find(':') {
        let (before, after) = rest.split_at(colon + 1);
        shown.push_str(before);
        rest = after;
        let is_sip = ["sip:", "sips:"].iter().any(|scheme| {
            let start = before.len().saturating_sub(scheme.len());
            before
                .get(start..)
                .is_some_and(|end| end.eq_ignore_ascii_case(scheme))
        });
        let end = rest.find(['@', '>', '"', ' ', ',']);
        let userinfo = end
            .filter(|end| is_sip && rest[*end..].starts_with('@'))
            .map(|end| &rest[..end]);
        if let Some((user, password)) = userinfo.and_then(|userinfo| userinfo.split_once(':')) {
            shown.push_str(user);
            shown.push(':');
            shown.push_str(HIDDEN);
            rest = &rest[user.len() + 1 + password.len()..];
        }
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_keeps_who_and_how_and_loses_the_proof() {
        let value = r#"Digest username="a, \"b\"", realm="h",nonce="n",uri="sip:h",response="secret", cnonce="c",qop=auth, nc=00000001,algorithm=MD5, opaque="o""#;
        assert_eq!(
            without_proof(value),
            r#"Digest username="a, \"b\"", realm="h", nonce=(hidden), uri="sip:h", response=(hidden), cnonce=(hidden), qop=auth, nc=00000001, algorithm=MD5, opaque=(hidden)"#
        );
        assert_eq!(without_proof("Basic YTpi"), "Basic (hidden)");
        assert_eq!(without_proof("nonsense"), "nonsense (hidden)");
    }

    #[test]
    fn passwords_of_uris_are_hidden_wherever_they_stand() {
        for (text, shown) in [
            ("sip:a:pw@h", "sip:a:(hidden)@h"),
            (
                "\"A: b\" <SIPS:a:p:w@h:5061>;x=sip:c:d@e",
                "\"A: b\" <SIPS:a:(hidden)@h:5061>;x=sip:c:(hidden)@e",
            ),
            ("<sip:h:5060>, <sip:b@h>", "<sip:h:5060>, <sip:b@h>"),
            ("<sip:h:5060>;n=a@b", "<sip:h:5060>;n=a@b"),
            ("SIP/2.0/UDP h:5060;rport", "SIP/2.0/UDP h:5060;rport"),
            ("sip:é:ü@h", "sip:é:(hidden)@h"),
        ] {
            assert_eq!(without_passwords(text), shown);
        }
    }
}

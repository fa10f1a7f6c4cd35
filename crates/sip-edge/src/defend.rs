//! What the edge does about strangers: whom it looks at, what it tells the operator of failures, and how long
//! answers to strangers may be.
//!
//! It must not decide who is banned or slowed: that is a state machine of core, which this feeds.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sip_validate::message::{Message, NameAddr};
use sip_validate::{SipUri, aor_user};
use sipgraph_core::EndpointId;
use sipgraph_core::defence::{Admission, Consequence, Source, Target};
use sipgraph_core::ports::store::Realm;
use sipgraph_core::registration_failure::{FailedRegistration, FailureReason};

use crate::edge::{Edge, written};
use crate::reply::Reply;
use crate::transaction::ServerKey;
use crate::transport::Flow;

/// How soon a wrong answer to a challenge is told at the earliest. What looking for a user takes is far less, so that
/// the time tells nothing about it.
pub(crate) const WRONG_AFTER: Duration = Duration::from_millis(20);

/// The field of a challenge.
pub(crate) const CHALLENGE: &str = "WWW-Authenticate";

/// Where a flow comes from.
pub(crate) fn source(flow: &Flow) -> Source {
    Source::of(flow.remote.ip())
}

/// Whom a request claims to come from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim<'a> {
    /// The domain.
    pub(crate) realm: &'a Realm,
    /// The user, as given.
    pub(crate) user: &'a str,
    /// The endpoint, where there is one.
    pub(crate) endpoint: Option<EndpointId>,
    /// Names user and domain to the defence.
    pub(crate) target: Target,
}

impl Edge {
    /// Decides whether a request is looked at; what is not is dropped here without an answer, but for a stream that
    /// sends too much.
    pub(crate) async fn admits(self: &Arc<Self>, flow: &Flow, request: Option<&Message>) -> bool {
        match self.app.source_admit(source(flow)) {
            Admission::Admitted => true,
            Admission::TooMany => {
                tracing::debug!(%flow, "request dropped: its source sends too many");
                self.meters.dropped("rate");
                if flow.transport.is_stream()
                    && let Some(request) = request
                {
                    let key = ServerKey::of(request, flow);
                    self.answer(flow, request, key, Reply::unavailable()).await;
                }
                false
            }
            Admission::Banned { tell } => {
                self.meters.dropped("banned");
                if flow.transport.is_stream() {
                    self.transports.close(flow);
                }
                if tell && let Some(request) = request {
                    self.tell_of_ban(*flow, request);
                }
                false
            }
        }
    }

    /// Records that a banned source was refused, for the account whose phone that may be. Once a minute for a ban, so
    /// that its look-up costs nothing.
    fn tell_of_ban(self: &Arc<Self>, flow: Flow, request: &Message) {
        if request.method() != Some("REGISTER") {
            return;
        }
        let to = request.to().ok().and_then(|to| owned(&to));
        let Some((user, host)) = to else { return };
        let edge = Arc::clone(self);
        tokio::spawn(async move {
            if let Ok(Some(realm)) = edge.app.realm(&host).await {
                let claim = edge.claim(&realm, &user);
                edge.record(&flow, &claim, FailureReason::Banned);
            }
        });
    }

    /// Names who a request claims to be.
    pub(crate) fn claim<'a>(&self, realm: &'a Realm, user: &'a str) -> Claim<'a> {
        let canonical = aor_user(user);
        let name = canonical.as_deref().unwrap_or(user);
        Claim {
            realm,
            user,
            endpoint: None,
            target: sipgraph_core::app::registrations::target(realm.domain, name),
        }
    }

    /// Counts a failure of a source that is proven, and writes the line that fail2ban reads (contrib/fail2ban). The
    /// source stands first, before anything that a stranger chose.
    pub(crate) fn failed(
        &self,
        flow: &Flow,
        method: &str,
        claim: &Claim<'_>,
        reason: FailureReason,
    ) {
        tracing::warn!(
            source = %flow.remote.ip(),
            transport = flow.transport.as_str(),
            reason = reason.as_str(),
            method,
            realm = %claim.realm.name,
            user = %claim.user.escape_debug(),
            "SIP authentication failed"
        );
        self.meters.failed(reason, flow.transport);
        if method == "REGISTER" {
            self.record(flow, claim, reason);
        }
        let consequence = self.app.password_failed(source(flow), claim.target);
        if consequence == Consequence::Banned {
            self.meters.banned();
            tracing::warn!(source = %source(flow), "a source was banned for ten minutes: it failed on too many addresses");
            if method == "REGISTER" {
                self.record(flow, claim, FailureReason::Banned);
            }
            if flow.transport.is_stream() {
                self.transports.close(flow);
            }
        }
    }

    /// Makes a failed registration visible to its account.
    pub(crate) fn record(&self, flow: &Flow, claim: &Claim<'_>, reason: FailureReason) {
        self.app.registration_failed(FailedRegistration {
            account: claim.realm.account,
            domain: claim.realm.domain,
            endpoint: claim.endpoint,
            aor: format!("{}@{}", claim.user, claim.realm.name),
            source: source(flow),
            transport: flow.transport,
            reason,
        });
    }
}

fn owned(address: &NameAddr<'_>) -> Option<(String, String)> {
    let uri = SipUri::parse_received(address.uri).ok()?;
    Some((uri.user?.to_owned(), uri.host.canonical().into_owned()))
}

/// Writes an answer to a peer over UDP that has proven nothing: its address may be forged, and the answer must not
/// be worth the forgery. It has at most one and a half times the octets of the request; advice is left out for that.
/// Challenges are not, because a phone takes the one that it knows: with them, or where nothing is left to leave out,
/// an answer goes out up to twice the request. Beyond that there is none.
pub(crate) fn fitted(
    flow: &Flow,
    request: &Message,
    key: ServerKey,
    mut reply: Reply,
) -> Option<Bytes> {
    let asked = request.size();
    loop {
        let octets = written(flow, request, key, &reply);
        if octets.len() * 2 <= asked * 3 {
            return Some(octets);
        }
        let is_advice = |(name, _): &(&'static str, String)| *name != CHALLENGE;
        match reply.fields.iter().rposition(is_advice) {
            Some(last) => drop(reply.fields.remove(last)),
            None if octets.len() <= asked * 2 => return Some(octets),
            None => {
                tracing::debug!(%flow, "no answer: it would be much longer than the request");
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sip_validate::message::frame::datagram;

    fn fields(padding: usize, reply: Reply) -> Option<Vec<String>> {
        let text = format!(
            "OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:h>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nX: {}\r\n\r\n",
            "x".repeat(padding)
        );
        let request = datagram(text.as_bytes()).unwrap().unwrap();
        let address = "192.0.2.1:5060".parse().unwrap();
        let flow = Flow::udp(address, address);
        let octets = fitted(&flow, &request, ServerKey::of(&request, &flow), reply)?;
        assert!(
            octets.len() <= 2 * text.len(),
            "{} {}",
            octets.len(),
            text.len()
        );
        let answer = String::from_utf8(octets.to_vec()).unwrap();
        let names = answer.lines().filter_map(|line| line.split_once(": "));
        Some(names.map(|(name, _)| name.to_owned()).collect())
    }

    fn count(padding: usize, reply: Reply, name: &str) -> Option<usize> {
        let names = fields(padding, reply)?;
        Some(names.iter().filter(|n| *n == name).count())
    }

    #[test]
    fn an_answer_to_a_stranger_is_not_much_longer_than_the_request() {
        let options = || {
            Reply::stateless(200)
                .with("Allow", "REGISTER, MESSAGE, OPTIONS")
                .with("Accept", "x".repeat(80))
        };
        assert_eq!(count(0, options(), "Accept"), Some(0));
        assert_eq!(count(200, options(), "Accept"), Some(1));
        let challenged = |n: usize| {
            let challenge = "c".repeat(130);
            (0..n).fold(Reply::stateless(401), |reply, _| {
                reply.with(CHALLENGE, challenge.clone())
            })
        };
        assert_eq!(count(400, challenged(2), CHALLENGE), Some(2));
        let advised = challenged(2).with("Allow", "x");
        assert_eq!(
            count(150, advised, CHALLENGE),
            Some(2),
            "a phone may know the second alone"
        );
        assert_eq!(count(40, challenged(1), CHALLENGE), Some(1));
        for (padding, challenges) in [(0, 1), (40, 2)] {
            assert_eq!(count(padding, challenged(challenges), CHALLENGE), None);
        }
    }
}

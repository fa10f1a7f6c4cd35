//! MESSAGE to the address of a trunk: where it may go, the connection to it, and the answer to its challenge.
//!
//! It must not choose the address or the trunk: core does. A name is resolved at each attempt, and what it resolves to is
//! checked then, so that no name leads to what must not be reached.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use sip_validate::message::header::unquote;
use sip_validate::message::list;
use sip_validate::message::write::Quoted;
use sipgraph_core::digest::DigestAlgorithm;
use sipgraph_core::keyring::Secret;
use sipgraph_core::ports::{Attempt, AttemptResult, TrunkAddress};
use tokio::net::lookup_host;
use tokio::time::timeout;

use crate::edge::Edge;
use crate::message_out::{Answer, Outbound, failed, too_large};
use crate::pace::Turn;
use crate::transport::Flow;

/// How long the resolution of a name may take; resolvers ask again after some seconds.
const RESOLVE: Duration = Duration::from_secs(10);
/// Addresses at which clouds tell secrets of the machine to whoever asks from it.
const METADATA: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

impl Edge {
    /// Sends a MESSAGE to an address of a trunk, and once more when it is challenged.
    pub(crate) async fn send_by_trunk(
        &self,
        attempt: &Attempt,
        address: &TrunkAddress,
    ) -> AttemptResult {
        let begun = Instant::now();
        let limit = self.config.trunk_timeout;
        let flow = match timeout(limit, self.reach(address)).await {
            Ok(Ok(flow)) => flow,
            Ok(Err(reason)) => return failed(reason),
            Err(_) => return AttemptResult::Timeout,
        };
        let left = limit.saturating_sub(begun.elapsed());
        // Last of all, so that what goes before delays one message and bunches none.
        let Ok(turn) = self.paces.turn(address.pace).await else {
            return AttemptResult::NotSent;
        };
        let sending = self.send_and_answer(attempt, address, flow, turn);
        match timeout(left, sending).await {
            Ok(result) => result,
            Err(_) => AttemptResult::Timeout,
        }
    }

    async fn send_and_answer(
        &self,
        attempt: &Attempt,
        address: &TrunkAddress,
        flow: Flow,
        turn: Option<Turn>,
    ) -> AttemptResult {
        let mut outbound = Outbound {
            uri: &address.request_uri,
            to: &address.request_uri,
            route: None,
            branch: attempt.branch.clone(),
            cseq: attempt.cseq,
            authorization: None,
        };
        let first = self.request(attempt, &flow, &outbound);
        if !flow.transport.is_stream() && too_large(&first) {
            return crate::message_out::local_513();
        }
        let sent = self.begin(outbound.branch.clone(), flow, first).await;
        drop(turn);
        let Answer { result, challenges } = sent.answer().await;
        let (Some((username, password)), false) = (&address.credentials, challenges.is_empty())
        else {
            return result;
        };
        let header = match &result {
            AttemptResult::Answered { status: 407, .. } => "Proxy-Authorization",
            _ => "Authorization",
        };
        let Some(challenge) = best(&challenges) else {
            return result;
        };
        let asked = Asked {
            uri: &address.request_uri,
            body: attempt.body.as_bytes(),
            // As new as the branch, which no other request has.
            cnonce: &DigestAlgorithm::Md5.hash(attempt.branch.as_bytes()),
        };
        let authorization = challenge.answer(username, password, &asked);
        outbound.authorization = Some((header, authorization));
        // RFC 3261 section 22.2: the same Call-ID, the next CSeq.
        outbound.cseq = attempt.cseq.saturating_add(1);
        outbound.branch.push_str("-1");
        let second = self.request(attempt, &flow, &outbound);
        if !flow.transport.is_stream() && too_large(&second) {
            return crate::message_out::local_513();
        }
        let branch = outbound.branch.clone();
        self.exchange(branch, flow, second).await.result
    }

    /// The way to an address: a socket on UDP, an open connection or a new one on TCP and TLS.
    async fn reach(&self, address: &TrunkAddress) -> Result<Flow, String> {
        let remotes = self.resolve(&address.host, address.port).await?;
        let mut reason = "the name has no address".to_owned();
        for remote in remotes {
            if let Some(refusal) = self.refusal(remote) {
                reason = format!("{remote} is not sent to: {refusal}");
                continue;
            }
            let (transport, host) = (address.transport, &address.host);
            match self.transports.connect(transport, remote, host).await {
                Ok(flow) => return Ok(flow),
                Err(error) => reason = format!("{remote} can't be reached: {error}"),
            }
        }
        Err(reason)
    }

    /// What a host leads to now.
    pub(crate) async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        match timeout(RESOLVE, lookup_host((host, port))).await {
            Ok(Ok(found)) => Ok(found.collect()),
            Ok(Err(error)) => Err(format!("{host} can't be resolved: {error}")),
            Err(_) => Err(format!("{host} can't be resolved in time")),
        }
    }

    /// Why nothing may be sent to an address, whoever named it.
    fn refusal(&self, remote: SocketAddr) -> Option<&'static str> {
        let ip = remote.ip().to_canonical();
        if self.transports.is_ours(SocketAddr::new(ip, remote.port())) {
            return Some("it is a listener of this server");
        }
        if METADATA.contains(&ip) {
            return Some("it is a metadata service");
        }
        if ip.is_unspecified() || ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
            return Some("it is no address of one host");
        }
        let is_allowed = self.config.trunk_networks.iter().any(|net| net.has(ip));
        (is_inner(ip) && !is_allowed).then_some("its network is not in sip.trunk_networks")
    }
}

/// Whether an address leads to this machine or its neighbours.
fn is_inner(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            // RFC 6598: between a provider and its customers.
            let is_shared = a == 100 && (64..128).contains(&b);
            ip.is_loopback() || ip.is_link_local() || ip.is_private() || is_shared || a == 0
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// A challenge of another system.
#[derive(Debug, PartialEq, Eq)]
struct Challenge {
    algorithm: DigestAlgorithm,
    /// The algorithm as it was written; none when it was not.
    written: Option<String>,
    realm: String,
    nonce: String,
    opaque: Option<String>,
    /// `auth` or `auth-int`; none as before RFC 2617.
    qop: Option<&'static str>,
}

/// The request that an answer is for.
struct Asked<'a> {
    uri: &'a str,
    body: &'a [u8],
    cnonce: &'a str,
}

/// The challenge with the strongest algorithm of those that can be answered.
fn best(challenges: &[String]) -> Option<Challenge> {
    let place = |challenge: &Challenge| {
        DigestAlgorithm::ALL
            .iter()
            .position(|known| *known == challenge.algorithm)
    };
    let known = challenges.iter().filter_map(|text| Challenge::parse(text));
    known.min_by_key(place)
}

impl Challenge {
    /// Reads a challenge that we can answer: Digest, of a known algorithm without `-sess`.
    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once([' ', '\t'])?;
        if !scheme.eq_ignore_ascii_case("Digest") {
            return None;
        }
        let (mut realm, mut nonce, mut opaque, mut qop, mut written) =
            (None, None, None, None, None);
        for parameter in list(rest) {
            let (name, value) = parameter.ok()?.split_once('=')?;
            let value = Some(unquote(value.trim()).into_owned());
            match name.trim().to_ascii_lowercase().as_str() {
                "realm" => realm = value,
                "nonce" => nonce = value,
                "opaque" => opaque = value,
                "qop" => qop = value,
                "algorithm" => written = value,
                _ => {}
            }
        }
        let offers = |wanted: &str| {
            let offered = qop.as_deref().unwrap_or_default();
            offered
                .split(',')
                .any(|one| one.trim().eq_ignore_ascii_case(wanted))
        };
        let algorithm = match &written {
            None => DigestAlgorithm::Md5,
            Some(name) => DigestAlgorithm::parse(name)?,
        };
        Some(Self {
            algorithm,
            qop: match &qop {
                None => None,
                Some(_) if offers("auth") => Some("auth"),
                Some(_) if offers("auth-int") => Some("auth-int"),
                Some(_) => return None,
            },
            written,
            realm: realm?,
            nonce: nonce?,
            opaque,
        })
    }

    /// The value of Authorization (RFC 7616 section 3.4).
    fn answer(&self, username: &str, password: &Secret, asked: &Asked<'_>) -> String {
        let hash = |text: String| self.algorithm.hash(text.as_bytes());
        let Self { realm, nonce, .. } = self;
        let Asked { uri, body, cnonce } = asked;
        let ha1 = hash(format!("{username}:{realm}:{}", password.expose()));
        let ha2 = match self.qop {
            Some("auth-int") => hash(format!("MESSAGE:{uri}:{}", self.algorithm.hash(body))),
            _ => hash(format!("MESSAGE:{uri}")),
        };
        let response = match self.qop {
            None => hash(format!("{ha1}:{nonce}:{ha2}")),
            Some(qop) => hash(format!("{ha1}:{nonce}:00000001:{cnonce}:{qop}:{ha2}")),
        };
        let mut value = format!(
            "Digest username={}, realm={}, nonce={}, uri={}, response=\"{response}\"",
            Quoted(username),
            Quoted(realm),
            Quoted(nonce),
            Quoted(uri),
        );
        if let Some(written) = &self.written {
            value.push_str(&format!(", algorithm={written}"));
        }
        if let Some(qop) = self.qop {
            value.push_str(&format!(", qop={qop}, nc=00000001, cnonce=\"{cnonce}\""));
        }
        if let Some(opaque) = &self.opaque {
            value.push_str(&format!(", opaque={}", Quoted(opaque)));
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h163_addresses_of_this_machine_and_its_neighbours_are_inner() {
        for inner in [
            "127.0.0.1",
            "127.9.9.9",
            "0.1.2.3",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.1.1",
            "100.64.0.1",
            "::1",
            "fe80::1",
            "fd00::1",
        ] {
            assert!(is_inner(inner.parse().unwrap()), "{inner}");
        }
        for outer in [
            "192.0.2.1",
            "8.8.8.8",
            "172.32.0.1",
            "100.128.0.1",
            "2001:db8::1",
        ] {
            assert!(!is_inner(outer.parse().unwrap()), "{outer}");
        }
    }

    #[test]
    fn h163_the_strongest_challenge_is_answered() {
        let md5 =
            r#"Digest realm="a \"b\"", nonce="n1", algorithm=MD5, qop="auth,auth-int", opaque="o""#;
        let sha = r#"Digest realm="r", nonce="n2", algorithm=SHA-256, qop="auth""#;
        let chosen =
            |texts: &[&str]| best(&texts.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(chosen(&[md5, sha]).unwrap().nonce, "n2");
        assert_eq!(chosen(&[md5]).unwrap().realm, "a \"b\"");
        assert_eq!(
            chosen(&[
                "Basic realm=\"r\"",
                "Digest realm=\"r\", nonce=\"n\", algorithm=MD5-sess"
            ]),
            None
        );
        assert_eq!(
            chosen(&["Digest realm=\"r\", nonce=\"n\", qop=\"other\""]),
            None
        );
    }

    #[test]
    fn h163_an_answer_as_before_rfc_2617() {
        // The user, realm and nonce of RFC 2617 section 3.5, whose HA1 is known.
        let challenge = Challenge::parse(
            r#"Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093""#,
        )
        .unwrap();
        let asked = Asked {
            uri: "sip:a@b",
            body: b"",
            cnonce: "c",
        };
        let answer = challenge.answer("Mufasa", &Secret::new("Circle Of Life"), &asked);
        let ha2 = DigestAlgorithm::Md5.hash(b"MESSAGE:sip:a@b");
        let expected = DigestAlgorithm::Md5.hash(
            format!("939e7578ed9e3c518a452acee763bce9:dcd98b7102dd2f0e8b11d0f600bfb0c093:{ha2}")
                .as_bytes(),
        );
        assert!(
            answer.contains(&format!("response=\"{expected}\"")),
            "{answer}"
        );
        assert!(
            !answer.contains("qop") && !answer.contains("algorithm") && !answer.contains("Circle")
        );
    }
}

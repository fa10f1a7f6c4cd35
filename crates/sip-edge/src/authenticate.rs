//! Who sent a request: finds the domain, challenges, and checks the answer (RFC 3261 section 22).
//!
//! Unknown users and wrong passwords get the same answer after the same work, and no sooner than both are done.

use std::net::IpAddr;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use sip_validate::message::{Credentials, Message, Name};
use sip_validate::{SipUri, aor_user};
use sipgraph_core::endpoint::Endpoint;
use sipgraph_core::ports::store::Realm;
use sipgraph_core::registration_failure::FailureReason;
use sipgraph_core::{EndpointTokenId, Timestamp};
use tokio::time::{Instant, sleep_until};

use crate::defend::{CHALLENGE, WRONG_AFTER, source};
use crate::digest::{self, Challenge, Mistake, Passwords, Verdict};
use crate::edge::Edge;
use crate::reply::Reply;
use crate::transport::{Flow, local_towards};

/// The longest URI and Call-ID that are stored, in octets; those of phones have 30 to 300.
pub(crate) const STORED_BYTES_MAX: usize = 1024;
/// The most Authorization fields of a MESSAGE that are looked at for a domain of ours: each takes a look-up.
const SIGNED_MAX: usize = 4;

/// The SIP URI of an address, or 400 that says where it stands.
pub(crate) fn sip_uri<'a>(uri: &'a str, wrong: &'static str) -> Result<SipUri<'a>, Reply> {
    SipUri::parse_received(uri).map_err(|violation| {
        tracing::debug!(%violation, wrong, "a URI was refused");
        Reply::bad(wrong).unkept()
    })
}

/// The Call-ID of a request that is stored, or 400 for one that no phone makes.
pub(crate) fn call_id(request: &Message) -> Result<&str, Reply> {
    let call_id = request.call_id();
    if call_id.len() > STORED_BYTES_MAX {
        return Err(Reply::bad("Call-ID Too Long"));
    }
    Ok(call_id)
}

/// The domain that a host names, or 404; no answer at all where domains are strict.
pub(crate) async fn realm(edge: &Edge, uri: &SipUri<'_>) -> Result<Arc<Realm>, Reply> {
    let realm = edge.app.realm(&uri.host.canonical()).await?;
    realm.ok_or_else(|| unknown_domain(edge))
}

/// What a request for a domain gets that is not here.
pub(crate) fn unknown_domain(edge: &Edge) -> Reply {
    if edge.config.strict_domain {
        Reply::silence()
    } else {
        Reply::stateless(404).because("Unknown Domain")
    }
}

/// The domain of ours that a request is signed for, well or badly.
pub(crate) async fn signed_for(
    edge: &Edge,
    request: &Message,
) -> Result<Option<Arc<Realm>>, Reply> {
    for value in request.all(Name::Authorization).take(SIGNED_MAX) {
        if let Some(Ok(given)) = Credentials::parse(value)
            && let Some(realm) = edge.app.realm(&given.realm).await?
            && realm.name == given.realm
        {
            return Ok(Some(realm));
        }
    }
    Ok(None)
}

/// Who sent a request, and how it proved that.
#[derive(Debug)]
pub(crate) struct Authenticated {
    pub(crate) endpoint: Arc<Endpoint>,
    /// The endpoint token that served as password, and its end.
    pub(crate) token: Option<(EndpointTokenId, Timestamp)>,
}

/// The endpoint that a request proves to come from, or 401.
pub(crate) async fn authenticate(
    edge: &Edge,
    flow: &Flow,
    request: &Message,
    realm: &Realm,
) -> Result<Authenticated, Reply> {
    let begun = Instant::now();
    let challenge = Challenge {
        realm: &realm.name,
        algorithms: &realm.digest_algorithms,
        source: (!flow.transport.is_stream()).then_some(flow.remote.ip()),
        now_s: edge.app.now().unix_seconds(),
    };
    let ask = |stale: bool| {
        let values = edge.authenticator.challenge(&challenge, stale).into_iter();
        values.fold(Reply::stateless(401), |reply, value| {
            reply.with(CHALLENGE, value)
        })
    };
    let method = request.method().unwrap_or_default();
    let mut credentials = None;
    for value in request.all(Name::Authorization) {
        match Credentials::parse(value) {
            Some(Ok(given)) if given.realm == realm.name => credentials = Some(given),
            // Another scheme or realm: it may be meant for someone else.
            Some(Ok(_)) | None => {}
            Some(Err(_)) => {
                // Over UDP anybody may have sent it.
                if method == "REGISTER" && flow.transport.is_stream() {
                    edge.record(flow, &edge.claim(realm, ""), FailureReason::Malformed);
                }
                return Err(Reply::bad("Bad Authorization").unkept());
            }
        }
    }
    let Some(credentials) = credentials else {
        return Err(ask(false));
    };
    let mut claim = edge.claim(realm, &credentials.username);
    let source = source(flow);
    if let Err(wait) = edge.app.password_try(source, claim.target) {
        tracing::debug!(%flow, ?wait, "a password was not tried: too many were wrong");
        return Err(Reply::slowed(wait));
    }
    let found = match aor_user(&credentials.username) {
        Ok(canonical) => edge.app.credentials(realm.domain, &canonical).await?,
        // What cannot be a name is looked for too: it takes the same time.
        Err(_) => edge.app.credentials(realm.domain, "").await?,
    };
    claim.endpoint = found.as_ref().map(|found| found.endpoint.id);
    let passwords = found.as_ref().map(|found| Passwords {
        ha1: &found.ha1,
        tokens: &found.tokens,
    });
    let given = digest::Request {
        method,
        identity: identity(request),
        body: &request.body,
    };
    let passwords = passwords.unwrap_or_default();
    let verdict = edge
        .authenticator
        .check(&credentials, &challenge, &given, &passwords);
    let reason = match (verdict, found) {
        (Verdict::Right(token), Some(found)) => {
            if !same_target(&credentials.uri, request, flow) {
                // Its digest is good for another request (RFC 7616 section 3.4.6).
                if method == "REGISTER" {
                    edge.record(flow, &claim, FailureReason::Malformed);
                }
                return Err(Reply::bad("Digest URI Differs").unkept());
            }
            edge.app.password_succeeded(source, claim.target);
            edge.transports.authenticated(flow);
            let token = token.and_then(|place| found.tokens.get(place));
            return Ok(Authenticated {
                token: token.map(|token| (token.id, token.expires_at)),
                endpoint: Arc::clone(&found.endpoint),
            });
        }
        (Verdict::Stale { has_expired }, _) => {
            if method == "REGISTER" && !has_expired {
                edge.record(flow, &claim, FailureReason::StaleNonce);
            }
            return Err(ask(true));
        }
        (_, None) => FailureReason::UnknownUser,
        (Verdict::Wrong(Mistake::Algorithm), Some(_)) => FailureReason::Algorithm,
        (Verdict::Wrong(Mistake::Parameters), Some(_)) => FailureReason::Malformed,
        (Verdict::Wrong(Mistake::Response), Some(_)) => FailureReason::WrongPassword,
    };
    // Over UDP a stranger could have others banned, or slowed, by writing their address on its datagrams.
    if flow.transport.is_stream() || edge.authenticator.is_proven(&credentials, &challenge) {
        edge.failed(flow, method, &claim, reason);
    }
    sleep_until(begun + WRONG_AFTER).await;
    Err(ask(false))
}

/// What a MESSAGE is known by. It may come again with the same digest, from a proxy or a device that lost its
/// transaction: it is stored once. A REGISTER may not: it would bind again what was unbound meanwhile.
fn identity(request: &Message) -> Option<u64> {
    if request.method() != Some("MESSAGE") {
        return None;
    }
    let mut hash = Sha256::new();
    for name in [Name::CallId, Name::CSeq, Name::From] {
        hash.update(request.get(name).unwrap_or_default());
        hash.update([0]);
    }
    hash.update(request.uri().unwrap_or_default());
    hash.update([0]);
    hash.update(&request.body);
    let hash = hash.finalize();
    hash.first_chunk().map(|first| u64::from_be_bytes(*first))
}

/// Whether the digest's `uri` means the Request-URI: the same host, or this listener's address, and the same user, if it
/// names one. Proxies and phones differ in the parameters, and sipp signs the address that it sends to.
fn same_target(uri: &str, request: &Message, flow: &Flow) -> bool {
    let request_uri = request.uri().unwrap_or_default();
    match (
        SipUri::parse_received(uri),
        SipUri::parse_received(request_uri),
    ) {
        (Ok(signed), Ok(asked)) => {
            let host = signed.host.is_equivalent(&asked.host)
                || signed
                    .host
                    .address()
                    .is_some_and(|address| Some(address) == here(flow));
            let user =
                signed.user.is_none() || signed.user.map(aor_user) == asked.user.map(aor_user);
            host && user
        }
        _ => uri == request_uri,
    }
}

/// The address at which a device reaches us.
fn here(flow: &Flow) -> Option<IpAddr> {
    if flow.local.ip().is_unspecified() {
        local_towards(flow.remote)
    } else {
        Some(flow.local.ip())
    }
}

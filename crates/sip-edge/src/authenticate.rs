//! Who sent a request: finds the domain, challenges, and checks the answer (RFC 3261 section 22).
//!
//! Unknown users and wrong passwords get the same answer after the same work.

use std::net::IpAddr;

use sha2::{Digest as _, Sha256};
use sip_validate::message::{Credentials, Message, Name};
use sip_validate::{SipUri, aor_user};
use sipgraph_core::endpoint::Endpoint;
use sipgraph_core::ports::store::Realm;

use crate::digest::{self, Challenge, Verdict};
use crate::edge::Edge;
use crate::reply::Reply;
use crate::transport::{Flow, local_towards};

/// The SIP URI of an address, or 400 that says where it stands.
pub(crate) fn sip_uri<'a>(uri: &'a str, wrong: &'static str) -> Result<SipUri<'a>, Reply> {
    SipUri::parse_received(uri).map_err(|violation| {
        tracing::debug!(%violation, wrong, "a URI was refused");
        Reply {
            is_kept: false,
            ..Reply::bad(wrong)
        }
    })
}

/// The domain that a host names, or 404.
pub(crate) async fn realm(edge: &Edge, uri: &SipUri<'_>) -> Result<Realm, Reply> {
    let realm = edge.app.realm(&uri.host.canonical()).await?;
    realm.ok_or_else(|| Reply::stateless(404).because("Unknown Domain"))
}

/// The endpoint that a request proves to come from, or 401.
pub(crate) async fn authenticate(
    edge: &Edge,
    flow: &Flow,
    request: &Message,
    realm: &Realm,
) -> Result<Endpoint, Reply> {
    let challenge = Challenge {
        realm: &realm.name,
        algorithms: &realm.digest_algorithms,
        source: (!flow.transport.is_stream()).then_some(flow.remote.ip()),
        now_s: edge.app.now().unix_seconds(),
    };
    let ask = |stale: bool| {
        let values = edge.authenticator.challenge(&challenge, stale).into_iter();
        values.fold(Reply::stateless(401), |reply, value| {
            reply.with("WWW-Authenticate", value)
        })
    };
    let mut credentials = None;
    for value in request.all(Name::Authorization) {
        match Credentials::parse(value) {
            Some(Ok(given)) if given.realm == realm.name => credentials = Some(given),
            // Another scheme or realm: it may be meant for someone else.
            Some(Ok(_)) | None => {}
            Some(Err(_)) => {
                return Err(Reply {
                    is_kept: false,
                    ..Reply::bad("Bad Authorization")
                });
            }
        }
    }
    let Some(credentials) = credentials else {
        return Err(ask(false));
    };
    let found = match aor_user(&credentials.username) {
        Ok(canonical) => edge.app.credentials(realm.domain, &canonical).await?,
        Err(_) => None,
    };
    let ha1 = found.as_ref().map_or(&[][..], |found| &found.ha1);
    let given = digest::Request {
        method: request.method().unwrap_or_default(),
        identity: identity(request),
    };
    let verdict = edge
        .authenticator
        .check(&credentials, &challenge, &given, ha1);
    match (verdict, found) {
        (Verdict::Right, Some(found)) if same_target(&credentials.uri, request, flow) => {
            edge.transports.authenticated(flow);
            Ok(found.endpoint)
        }
        // Its digest is good for another request (RFC 7616 section 3.4.6).
        (Verdict::Right, Some(_)) => Err(Reply {
            is_kept: false,
            ..Reply::bad("Digest URI Differs")
        }),
        (Verdict::Stale, _) => Err(ask(true)),
        (Verdict::Right | Verdict::Wrong, _) => {
            tracing::info!(
                %flow,
                user = %credentials.username.escape_debug(),
                realm = %realm.name,
                "SIP authentication failed"
            );
            Err(ask(false))
        }
    }
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

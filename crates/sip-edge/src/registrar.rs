//! REGISTER (RFC 3261 section 10.3, in the order of its steps).
//!
//! It must not decide what a registration changes: that is a use case of core.

use std::sync::Arc;

use sip_validate::message::header::{EXPIRES_S_MALFORMED, delta_seconds, unquote};
use sip_validate::message::write::Quoted;
use sip_validate::message::{Message, Name, NameAddr, list};
use sip_validate::{SipDate, SipUri, aor_user};
use sipgraph_core::Timestamp;
use sipgraph_core::binding::Binding;
use sipgraph_core::decide::presence::{ContactUpdate, Contacts, RegisterRefusal, Registration};
use sipgraph_core::registration_failure::FailureReason;

use crate::authenticate::{Authenticated, STORED_BYTES_MAX, authenticate, call_id, realm, sip_uri};
use crate::edge::Edge;
use crate::reply::Reply;
use crate::transport::Flow;

/// The longest `+sip.instance` that is stored; a `urn:uuid` has 45 octets.
const INSTANCE_BYTES_MAX: usize = 256;
/// The longest User-Agent that is stored, in characters; the rest is cut.
const USER_AGENT_MAX: usize = 255;
/// The extensions that a REGISTER may require, and that its answer says to be there.
pub(crate) const EXTENSIONS: [&str; 2] = ["path", "outbound"];
/// How long a device may say nothing on a flow, in seconds, before it should think that it is gone (RFC 5626 section 9).
const FLOW_TIMER_S: u32 = 120;

/// Handles a REGISTER.
pub(crate) async fn register(
    edge: &Arc<Edge>,
    flow: &Flow,
    request: &Message,
) -> Result<Reply, Reply> {
    // Step 1; step 2, Require, was checked for every method.
    let request_uri = sip_uri(request.uri().unwrap_or_default(), "Bad Request-URI")?;
    let to = request
        .to()
        .map_err(|invalid| Reply::bad(invalid.fault.text()).unkept())?;
    let to = sip_uri(to.uri, "Bad To")?;
    let from = request.from();
    let from = from.map_err(|invalid| Reply::bad(invalid.fault.text()).unkept())?;
    let from = sip_uri(from.uri, "Bad From")?;
    let realm_asked = realm(edge, &request_uri).await?;
    // Step 3.
    let Authenticated { endpoint, token } = authenticate(edge, flow, request, &realm_asked).await?;
    let record = |reason| {
        let mut claim = edge.claim(&realm_asked, &endpoint.name);
        claim.endpoint = Some(endpoint.id);
        edge.record(flow, &claim, reason);
    };
    let malformed = |refusal: Reply| {
        if refusal.status == 400 {
            record(FailureReason::Malformed);
        }
        refusal
    };
    // Step 5 before 4: who may change an address-of-record is known once it is known to be one. The domain
    // may be named by an alias.
    let is_asked = to.host.is_equivalent(&request_uri.host)
        || realm(edge, &to)
            .await
            .map_err(|refusal| Reply {
                is_kept: true,
                ..refusal
            })?
            .domain
            == realm_asked.domain;
    let user = to.user.map(aor_user).transpose().ok().flatten();
    if !is_asked {
        return Err(Reply::new(404));
    }
    // Step 4: each endpoint registers itself only.
    if user.as_deref() != Some(endpoint.canonical_name.as_str()) {
        return Err(Reply::new(403).because("To Is Another User"));
    }
    let from_user = from.user.map(aor_user).transpose().ok().flatten();
    if from_user != user {
        return Err(Reply::new(403).because("From Is Another User"));
    }
    // Steps 6 and 7.
    let cseq = request
        .cseq()
        .map_err(|invalid| Reply::bad(invalid.fault.text()));
    let (cseq, _) = cseq.map_err(malformed)?;
    let registration = Registration {
        call_id: call_id(request).map_err(malformed)?.to_owned(),
        cseq,
        contacts: contacts(request, edge.config.expires_s_default).map_err(malformed)?,
        flow: flow.to_core(edge.app.node()),
        path: path(request)?,
        user_agent: request
            .get(Name::UserAgent)
            .map(|agent| agent.chars().take(USER_AGENT_MAX).collect()),
        token,
    };
    let bindings = match edge.app.contacts_register(&endpoint, &registration).await? {
        Ok(bindings) => bindings,
        Err(refusal) => {
            let reason = match refusal {
                RegisterRefusal::Disabled => Some(FailureReason::Disabled),
                RegisterRefusal::TlsRequired => Some(FailureReason::TlsRequired),
                RegisterRefusal::IntervalTooBrief(_)
                | RegisterRefusal::OutOfOrder
                | RegisterRefusal::TooManyContacts => None,
            };
            if let Some(reason) = reason {
                record(reason);
            }
            return Err(refused(refusal));
        }
    };
    if !edge.transports.is_open(flow) {
        // It ended while this ran, perhaps before the binding was there to be removed.
        edge.connection_closed(*flow);
    }
    // Step 8.
    let now = edge.app.now();
    let mut ok = Reply::new(200)
        .with("Date", date(now))
        .with("Supported", EXTENSIONS.join(", "));
    if let Some(path) = registration
        .path
        .as_ref()
        .filter(|_| request.supports("path"))
    {
        ok = ok.with("Path", path);
    }
    if is_outbound(flow, request, &registration) {
        ok = ok
            .with("Require", "outbound")
            .with("Flow-Timer", FLOW_TIMER_S.to_string());
    }
    Ok(bindings.iter().fold(ok, |reply, binding| {
        reply.with("Contact", contact(binding, now))
    }))
}

/// The proxies that a REGISTER names in Path (RFC 3327), nearest to us first; `None` without any. They are told to each
/// other in Route; nothing is ever sent to them but over the flow that the REGISTER came by.
fn path(request: &Message) -> Result<Option<String>, Reply> {
    let mut path = String::new();
    for proxy in request.all(Name::Path).flat_map(list) {
        let proxy = proxy.map_err(|_| Reply::bad("Bad Path"))?;
        let uri = NameAddr::parse(proxy)
            .map_err(|_| Reply::bad("Bad Path"))?
            .uri;
        SipUri::parse_received(uri).map_err(|_| Reply::bad("Bad Path"))?;
        if !path.is_empty() {
            path.push_str(", ");
        }
        path.push_str(proxy);
    }
    if path.len() > STORED_BYTES_MAX {
        return Err(Reply::bad("Path Too Long"));
    }
    Ok((!path.is_empty()).then_some(path))
}

/// Whether a device may rely on its flow (RFC 5626 section 6): it asks for that, and its first hop keeps flows. We are
/// that hop when the request has no other Via; a proxy is, when its URI, the last of Path, has `ob`. Over UDP we are
/// not: devices would keep such a flow open by STUN.
fn is_outbound(flow: &Flow, request: &Message, registration: &Registration) -> bool {
    let Contacts::Update(updates) = &registration.contacts else {
        return false;
    };
    let asks = request.supports("outbound")
        && updates
            .iter()
            .any(|update| update.reg_id.is_some() && update.instance.is_some());
    let hops = request.all(Name::Via).flat_map(list).count();
    let edge = registration
        .path
        .as_deref()
        .and_then(|path| list(path).last());
    let keeps = match edge {
        Some(proxy) => proxy
            .and_then(NameAddr::parse)
            .ok()
            .and_then(|proxy| SipUri::parse_received(proxy.uri).ok())
            .is_some_and(|uri| {
                uri.parameters()
                    .any(|(name, _)| name.eq_ignore_ascii_case("ob"))
            }),
        None => hops == 1 && flow.transport.is_stream(),
    };
    asks && keeps
}

fn refused(refusal: RegisterRefusal) -> Reply {
    match refusal {
        RegisterRefusal::IntervalTooBrief(min_s) => {
            Reply::new(423).with("Min-Expires", min_s.to_string())
        }
        RegisterRefusal::OutOfOrder => Reply::new(500).because("Out Of Order"),
        RegisterRefusal::TooManyContacts => Reply::new(403).because("Too Many Contacts"),
        RegisterRefusal::Disabled => Reply::new(403).because("Endpoint Disabled"),
        RegisterRefusal::TlsRequired => Reply::new(403).because("TLS Required"),
    }
}

/// What a REGISTER asks for, or 400.
fn contacts(request: &Message, expires_s_default: u32) -> Result<Contacts, Reply> {
    let expires_s = match request.get(Name::Expires) {
        Some(value) => delta_seconds(value).unwrap_or(EXPIRES_S_MALFORMED),
        None => expires_s_default,
    };
    let mut updates = Vec::new();
    let mut is_all = false;
    for given in request.contacts() {
        match given {
            Some(given) => updates.push(update(&given, expires_s)?),
            None => is_all = true,
        }
    }
    match (is_all, updates.is_empty()) {
        // `*` stands alone and with Expires 0 (section 10.2.2).
        (true, true) if request.get(Name::Expires).and_then(delta_seconds) == Some(0) => {
            Ok(Contacts::RemoveAll)
        }
        (true, _) => Err(Reply::bad("Bad Contact *")),
        (false, true) => Ok(Contacts::Query),
        (false, false) => Ok(Contacts::Update(updates)),
    }
}

fn update(given: &NameAddr<'_>, expires_s: u32) -> Result<ContactUpdate, Reply> {
    if given.uri.len() > STORED_BYTES_MAX {
        return Err(Reply::bad("Contact Too Long"));
    }
    // A URI in <> may hold a comma or `;`; what it says is checked, but never dialled.
    SipUri::parse_received(given.uri).map_err(|_| Reply::bad("Bad Contact"))?;
    let instance = given
        .params
        .get("+sip.instance")
        .map(|value| unquote(value).into_owned());
    Ok(ContactUpdate {
        uri: given.uri.to_owned(),
        expires_s: given.expires_s().unwrap_or(expires_s),
        instance: instance
            .filter(|instance| !instance.is_empty() && instance.len() <= INSTANCE_BYTES_MAX),
        reg_id: given.params.get("reg-id").and_then(delta_seconds),
    })
}

/// A binding as the 200 lists it, with what is left of its time, rounded up.
fn contact(binding: &Binding, now: Timestamp) -> String {
    let left = binding.expires_at.since(now);
    let left_s = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    let mut text = format!("<{}>;expires={left_s}", binding.contact_uri);
    if let Some(instance) = &binding.instance {
        text.push_str(";+sip.instance=");
        text.push_str(&Quoted(instance).to_string());
    }
    if let Some(reg_id) = binding.reg_id {
        text.push_str(&format!(";reg-id={reg_id}"));
    }
    text
}

/// A time as the SIP-date of RFC 3261 section 20.17: `Sat, 13 Nov 2010 23:29:00 GMT`.
pub(crate) fn date(at: Timestamp) -> String {
    let seconds = i64::try_from(at.unix_seconds()).unwrap_or_default();
    let date = SipDate::from_unix_s(seconds).map(|date| date.to_string());
    date.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sip_validate::message::frame::datagram;

    fn asked(fields: &str) -> Result<Contacts, u16> {
        let text = format!(
            "REGISTER sip:h SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:a@h>\r\nCall-ID: 1\r\nCSeq: 1 REGISTER\r\n{fields}\r\n"
        );
        contacts(&datagram(text.as_bytes()).unwrap().unwrap(), 1800).map_err(|reply| reply.status)
    }

    fn times(fields: &str) -> Vec<u32> {
        match asked(fields) {
            Ok(Contacts::Update(updates)) => {
                updates.iter().map(|update| update.expires_s).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_time_of_a_contact_is_its_own_then_the_fields_then_the_default() {
        assert_eq!(
            times("m: <sip:a@b>;expires=10, <sip:c@d>\r\nExpires: 20\r\n"),
            [10, 20]
        );
        assert_eq!(
            times("Contact: <sip:a@b>\r\nContact: \"x, y\" <sip:c@d>;expires=\"7\"\r\n"),
            [1800, 7]
        );
        assert_eq!(
            times("Contact: <sip:a@b>;expires=soon, <sip:c@d>;expires=4294967296\r\n"),
            [3600, 3600]
        );
        assert_eq!(
            times("Contact: sip:a@b;expires=5\r\nExpires: never\r\n"),
            [5]
        );
    }

    #[test]
    fn a_star_stands_alone_with_expires_0() {
        assert_eq!(
            asked("Contact: *\r\nExpires: 0\r\n"),
            Ok(Contacts::RemoveAll)
        );
        for wrong in [
            "Contact: *\r\n",
            "Contact: *\r\nExpires: 1\r\n",
            "Contact: *, <sip:a@b>\r\nExpires: 0\r\n",
        ] {
            assert_eq!(asked(wrong), Err(400), "{wrong}");
        }
        assert_eq!(asked(""), Ok(Contacts::Query));
    }

    #[test]
    fn contacts_are_sip_uris_of_a_length() {
        assert_eq!(asked("Contact: <mailto:a@b>\r\n"), Err(400));
        assert_eq!(
            asked(&format!("Contact: <sip:{}@b>\r\n", "a".repeat(1024))),
            Err(400)
        );
    }

    #[test]
    fn outbound_parameters_are_read_and_written() {
        let Ok(Contacts::Update(updates)) =
            asked("Contact: <sip:a@b>;reg-id=1;+sip.instance=\"<urn:uuid:1>\"\r\n")
        else {
            panic!("no contacts")
        };
        assert_eq!(
            (updates[0].instance.as_deref(), updates[0].reg_id),
            (Some("<urn:uuid:1>"), Some(1))
        );
    }

    #[test]
    fn dates_are_those_of_rfc_3261() {
        assert_eq!(
            date(Timestamp(1_289_690_940_000_000)),
            "Sat, 13 Nov 2010 23:29:00 GMT"
        );
    }
}

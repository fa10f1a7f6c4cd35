//! MESSAGE from a device or a trunk (RFC 3428): authenticated, or known by its source; stored by core, answered 202; delivered
//! later.
//!
//! It must not decide who may write to whom: that is a use case of core.

use std::borrow::Cow;
use std::sync::Arc;

use miniz_oxide::inflate::{
    TINFLStatus, decompress_to_vec_with_limit, decompress_to_vec_zlib_with_limit,
};
use sip_validate::message::header::{delta_seconds, unquote};
use sip_validate::message::{Message, Name};
use sip_validate::{SipUri, aor_user};
use sipgraph_core::app::composing::DeviceNotice;
use sipgraph_core::app::received::{DeviceMessage, Received, TrunkMessage, is_about_sender};
use sipgraph_core::decide::trunks::{Arrival, CameBy};
use sipgraph_core::decide::variables::received;
use sipgraph_core::endpoint::{Endpoint, EndpointType};
use sipgraph_core::message::{BODY_BYTES_MAX, Receipt, Variables};
use sipgraph_core::ports::store::Realm;
use sipgraph_core::{Fault, Problem, ProblemCode};

use crate::authenticate::{
    Authenticated, STORED_BYTES_MAX, authenticate, call_id, signed_for, sip_uri, unknown_domain,
};
use crate::defend::source;
use crate::edge::Edge;
use crate::notices::{self, Typing};
use crate::reply::Reply;
use crate::transport::Flow;

/// The media types that a MESSAGE may have, as Accept lists them.
pub(crate) const ACCEPT: &str =
    "text/plain, message/cpim, message/imdn+xml, application/im-iscomposing+xml";

const TEXT: &str = "text/plain";

/// Handles a MESSAGE. A digest says who sends; the source says it only of those who give none and are no device.
pub(crate) async fn receive(edge: &Edge, flow: &Flow, request: &Message) -> Result<Reply, Reply> {
    let to = sip_uri(request.uri().unwrap_or_default(), "Bad Request-URI")?;
    let from = request.from();
    let from = from.map_err(|invalid| Reply::bad(invalid.fault.text()).unkept())?;
    let from_tag = from.tag().unwrap_or_default();
    let from_uri = from.uri;
    let from = sip_uri(from.uri, "Bad From")?;
    let realm_of_from = edge.app.realm(&from.host.canonical()).await?;
    let realm_of_to = if from.host.is_equivalent(&to.host) {
        realm_of_from.clone()
    } else {
        edge.app.realm(&to.host.canonical()).await?
    };
    let device = match &realm_of_from {
        Some(realm) if is_device(edge, realm, &from).await? => Some(realm),
        Some(_) | None => None,
    };
    let realm = match device {
        Some(_) if realm_of_to.is_none() => return Err(unknown_domain(edge)),
        Some(realm) => Arc::clone(realm),
        None => match signed_for(edge, request).await? {
            Some(realm) => realm,
            None => match by_source(edge, flow, &to, realm_of_to.as_deref()).await? {
                CameBy::Source(trunk) => {
                    demand_tls(&trunk, flow)?;
                    edge.transports.authenticated(flow);
                    edge.app.source_refund(source(flow));
                    let sender = Sender::Trunk(*trunk, from_uri);
                    return take(edge, flow, request, sender, &to, &from, from_tag).await;
                }
                CameBy::Digest(name) => edge.app.realm(&name).await?.ok_or_else(unknown_source)?,
                CameBy::Several => {
                    return Err(Reply::stateless(403).because("Ambiguous Source"));
                }
                CameBy::Unknown => {
                    to_prove(edge, realm_of_from.as_ref(), realm_of_to.as_ref()).await?
                }
            },
        },
    };
    let Authenticated {
        endpoint: sender, ..
    } = authenticate(edge, flow, request, &realm).await?;
    if !sender.enabled {
        return Err(Reply::new(403).because("Endpoint Disabled"));
    }
    demand_tls(&sender, flow)?;
    let sender = Arc::unwrap_or_clone(sender);
    let from_user = from.user.map(aor_user).transpose().ok().flatten();
    let sender = match (device, realm_of_to) {
        (Some(_), Some(realm_of_to)) if from_user.as_deref() == Some(&sender.canonical_name) => {
            Sender::Device(sender, realm_of_to.name.clone())
        }
        _ if sender.kind == EndpointType::ThirdParty => Sender::Trunk(sender, from_uri),
        _ => return Err(Reply::new(403).because("From Is Another User")),
    };
    take(edge, flow, request, sender, &to, &from, from_tag).await
}

/// Refuses a plain transport where encryption is demanded.
fn demand_tls(sender: &Endpoint, flow: &Flow) -> Result<(), Reply> {
    if !sender.allows(flow.transport) {
        return Err(Reply::new(403).because("TLS Required"));
    }
    Ok(())
}

/// Who sent a MESSAGE.
enum Sender<'r> {
    /// A device of an endpoint, to this domain of ours.
    Device(Endpoint, String),
    /// A trunk, with the URI of From.
    Trunk(Endpoint, &'r str),
}

/// Has core take a MESSAGE whose sender is known.
async fn take(
    edge: &Edge,
    flow: &Flow,
    request: &Message,
    sender: Sender<'_>,
    to: &SipUri<'_>,
    from: &SipUri<'_>,
    from_tag: &str,
) -> Result<Reply, Reply> {
    let body = match (content(request)?, &sender) {
        (Content::Text(body), _) => body,
        // Neither is a message of a chat.
        (Content::Report(Some(receipt)), Sender::Device(sender, _)) => {
            edge.app.receipt_receive(sender, &receipt).await?;
            return Ok(Reply::new(200));
        }
        (Content::Typing(Some(typing)), Sender::Device(sender, to_domain)) => {
            let notice = DeviceNotice {
                sender: sender.clone(),
                to_domain: to_domain.clone(),
                to_user: to.user.ok_or(Reply::new(404))?.to_owned(),
                active: typing.active,
                refresh_s: typing.refresh_s,
            };
            edge.app.composing_receive(&notice).await?;
            return Ok(Reply::new(200));
        }
        // One that tells nothing, or that came by a trunk, which has no part in a chat.
        (Content::Report(_) | Content::Typing(_), _) => {
            tracing::debug!(%flow, "a notification was taken and dropped");
            return Ok(Reply::new(200));
        }
    };
    let (cseq, _) = request
        .cseq()
        .map_err(|invalid| Reply::bad(invalid.fault.text()))?;
    let Some(to_user) = to.user else {
        return Err(Reply::new(404));
    };
    let to_user = to_user.to_owned();
    let received = Received {
        body,
        content_type: TEXT.to_owned(),
        variables: variables(request),
        call_id: call_id(request)?.to_owned(),
        cseq,
        from_tag: from_tag.to_owned(),
        expires_s: request.get(Name::Expires).and_then(delta_seconds),
    };
    let taken = match sender {
        Sender::Device(sender, to_domain) => {
            let message = DeviceMessage {
                sender,
                to_domain,
                to_user,
                received,
            };
            edge.app.message_receive(&message).await
        }
        Sender::Trunk(_, from_uri) if from_uri.len() > STORED_BYTES_MAX => {
            return Err(Reply::bad("From Too Long"));
        }
        Sender::Trunk(trunk, from_uri) => {
            let message = TrunkMessage {
                trunk,
                from_uri: from_uri.to_owned(),
                from_user: from.user.map(str::to_owned),
                to_user,
                received,
            };
            edge.app.trunk_receive(&message).await
        }
    };
    match taken {
        Ok(_) => Ok(Reply::new(202)),
        Err(Fault::Refused(problems)) => Err(refused(&problems)),
        Err(Fault::Error(error)) => Err(error.into()),
    }
}

/// What else a MESSAGE tells, by the full names of its header fields.
fn variables(request: &Message) -> Variables {
    received(request.fields().filter_map(|(name, octets)| {
        let full = Name::read(name).text();
        let name = if full.is_empty() { name } else { full };
        Some((name, std::str::from_utf8(octets).ok()?))
    }))
}

/// The trunk that a request without a digest came by, as its source and our port say.
async fn by_source(
    edge: &Edge,
    flow: &Flow,
    to: &SipUri<'_>,
    realm: Option<&Realm>,
) -> Result<CameBy, Reply> {
    let arrival = Arrival {
        source: flow.remote.ip(),
        port: flow.local.port(),
        names: &edge.names.known(),
        to_user: to.user,
        realm,
    };
    Ok(edge.app.trunk_of_source(&arrival).await?)
}

/// The domain in which a sender that its source does not make known may prove itself.
async fn to_prove(
    edge: &Edge,
    realm_of_from: Option<&Arc<Realm>>,
    realm_of_to: Option<&Arc<Realm>>,
) -> Result<Arc<Realm>, Reply> {
    let realm_of_to = realm_of_to.ok_or_else(|| unknown_domain(edge))?;
    // A carrier speaks from its own domain: it can prove itself as a trunk in ours, if there is one with a password.
    match realm_of_from {
        Some(realm) => Ok(Arc::clone(realm)),
        None if has_trunk_with_password(edge, realm_of_to).await? => Ok(Arc::clone(realm_of_to)),
        None if edge.config.strict_domain => Err(Reply::silence()),
        None => Err(unknown_source()),
    }
}

fn unknown_source() -> Reply {
    Reply::stateless(403).because("Unknown Source")
}

/// Whether a sender in a domain of ours is named as a device, which proves itself wherever it stands: a phone may be behind
/// the address of a trunk. A number that names no device of the domain is what a carrier may write.
async fn is_device(edge: &Edge, realm: &Realm, from: &SipUri<'_>) -> Result<bool, Reply> {
    let Some(user) = from.user else {
        return Ok(false);
    };
    if sip_validate::e164(user).is_err() {
        return Ok(true);
    }
    let Ok(canonical) = aor_user(user) else {
        return Ok(false);
    };
    let found = edge.app.credentials(realm.domain, &canonical).await?;
    Ok(found.is_some_and(|found| found.endpoint.kind != EndpointType::ThirdParty))
}

/// Whether a trunk of a domain's account can prove itself by digest.
async fn has_trunk_with_password(edge: &Edge, realm: &Realm) -> Result<bool, Reply> {
    let trunks = edge.app.trunks_known().await?;
    let mut of_account = trunks.iter().filter(|trunk| trunk.account == realm.account);
    Ok(of_account.any(|trunk| trunk.has_password))
}

fn refused(problems: &[Problem]) -> Reply {
    let about = |field: &str, code: ProblemCode| {
        problems
            .iter()
            .any(|p| p.code == code && p.field.first().is_some_and(|f| f == field))
    };
    if problems.iter().any(is_about_sender) {
        Reply::new(403)
    } else if about("to", ProblemCode::NotFound) || about("to", ProblemCode::NoRoute) {
        Reply::new(404)
    } else if about("to", ProblemCode::EndpointDisabled) {
        Reply::new(480)
    } else if about("body", ProblemCode::Validation) {
        Reply::new(413)
    } else {
        Reply::new(403)
    }
}

/// What a MESSAGE carries.
#[derive(Debug, PartialEq, Eq)]
enum Content {
    /// A text for people.
    Text(String),
    /// A delivery report (RFC 5438); none when it tells nothing of use.
    Report(Option<Receipt>),
    /// A typing notice (RFC 3994); none when it tells nothing of use.
    Typing(Option<Typing>),
}

fn content(request: &Message) -> Result<Content, Reply> {
    let content_type = request.get(Name::ContentType).unwrap_or(TEXT);
    let body = decoded(request)?;
    if !essence(content_type).eq_ignore_ascii_case("message/cpim") {
        return plain_content(content_type, &body);
    }
    let (content_type, body) = cpim(&body).ok_or(Reply::bad("Bad message/cpim"))?;
    plain_content(content_type, body)
}

fn plain_content(content_type: &str, body: &[u8]) -> Result<Content, Reply> {
    let essence = essence(content_type);
    if essence.eq_ignore_ascii_case("message/imdn+xml") {
        Ok(Content::Report(notices::receipt(body)))
    } else if essence.eq_ignore_ascii_case("application/im-iscomposing+xml") {
        Ok(Content::Typing(notices::typing(body)))
    } else {
        text(content_type, body)
    }
}

/// The body without its encoding. Linphone compresses its reports; what it inflates to is bounded as a body is.
fn decoded(request: &Message) -> Result<Cow<'_, [u8]>, Reply> {
    let encoding = request.get(Name::ContentEncoding).unwrap_or("identity");
    if encoding.eq_ignore_ascii_case("identity") {
        return Ok(Cow::Borrowed(&request.body));
    }
    if !encoding.eq_ignore_ascii_case("deflate") {
        return Err(Reply::new(415).with("Accept-Encoding", "identity, deflate"));
    }
    // The name stands for the zlib format (RFC 9110 section 8.4.1.2); some send the bare one.
    let inflated = match decompress_to_vec_zlib_with_limit(&request.body, BODY_BYTES_MAX) {
        Err(error) if error.status != TINFLStatus::HasMoreOutput => {
            decompress_to_vec_with_limit(&request.body, BODY_BYTES_MAX)
        }
        inflated => inflated,
    };
    inflated.map(Cow::Owned).map_err(|error| {
        if error.status == TINFLStatus::HasMoreOutput {
            Reply::new(413)
        } else {
            Reply::bad("Bad deflate")
        }
    })
}

fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

/// The text of a body of the type `text/plain` in UTF-8 (which ASCII is) or ISO 8859-1.
fn text(content_type: &str, body: &[u8]) -> Result<Content, Reply> {
    let unsupported = || Reply::new(415).with("Accept", ACCEPT);
    if !essence(content_type).eq_ignore_ascii_case(TEXT) {
        return Err(unsupported());
    }
    let charset = content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("charset")
            .then(|| unquote(value.trim()).to_ascii_lowercase())
    });
    let text = match charset.as_deref() {
        None | Some("utf-8" | "us-ascii") => {
            let text = std::str::from_utf8(body).map_err(|_| Reply::bad("Body Is Not UTF-8"))?;
            text.to_owned()
        }
        Some("iso-8859-1") => body.iter().map(|octet| char::from(*octet)).collect(),
        Some(_) => return Err(unsupported()),
    };
    // No display has a use for it, and not every database can store it.
    if text.contains('\0') {
        return Err(Reply::bad("NUL In Body"));
    }
    Ok(Content::Text(text))
}

/// The content type and the content of a `message/cpim` body (RFC 3862 section 2): message headers, an empty
/// line, MIME headers, an empty line, content. Its own From and To are not used: the digest says who it is.
fn cpim(body: &[u8]) -> Option<(&str, &[u8])> {
    let (_, rest) = split_at_empty_line(body)?;
    let (mime, content) = split_at_empty_line(rest)?;
    let mime = std::str::from_utf8(mime).ok()?;
    let content_type = mime.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim()
            .eq_ignore_ascii_case("Content-Type")
            .then(|| value.trim())
    });
    Some((content_type.unwrap_or(TEXT), content))
}

fn split_at_empty_line(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = octets.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some((&octets[..at], &octets[at + 4..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use miniz_oxide::deflate::compress_to_vec_zlib;
    use sip_validate::message::frame::datagram;

    fn carried(fields: &str, body: &[u8]) -> Result<Option<String>, (u16, &'static str)> {
        let head = format!(
            "MESSAGE sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\nCall-ID: 1\r\nCSeq: 1 MESSAGE\r\n{fields}\r\n"
        );
        let request = datagram(&[head.as_bytes(), body].concat())
            .unwrap()
            .unwrap();
        match content(&request) {
            Ok(Content::Text(text)) => Ok(Some(text)),
            Ok(Content::Report(receipt)) => Ok(receipt.map(|r| r.message_id)),
            Ok(Content::Typing(_)) => Ok(None),
            Err(reply) => Err((
                reply.status,
                reply.fields.first().map_or("", |field| field.0),
            )),
        }
    }

    #[test]
    fn text_is_read_in_its_charset() {
        let yes = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(carried("", b"hi"), yes("hi"));
        assert_eq!(carried("c: text/plain\r\n", b""), yes(""));
        assert_eq!(
            carried("c: Text/Plain; charset=\"UTF-8\"\r\n", "\u{e9}".as_bytes()),
            yes("\u{e9}")
        );
        assert_eq!(
            carried("c: text/plain;charset=ISO-8859-1\r\n", &[0xe9]),
            yes("\u{e9}")
        );
        assert_eq!(carried("c: text/plain\r\n", &[0xe9]), Err((400, "")));
        assert_eq!(carried("c: text/plain\r\n", b"a\0b"), Err((400, "")));
        assert_eq!(
            carried("c: text/plain;charset=utf-16\r\n", b"a"),
            Err((415, "Accept"))
        );
    }

    #[test]
    fn other_types_and_encodings_are_refused_with_what_is_accepted() {
        assert_eq!(carried("c: text/html\r\n", b"a"), Err((415, "Accept")));
        assert_eq!(
            carried("c: text/plain\r\ne: gzip\r\n", b"a"),
            Err((415, "Accept-Encoding"))
        );
        assert_eq!(
            carried("c: text/plain\r\ne: identity\r\n", b"a"),
            Ok(Some("a".to_owned()))
        );
    }

    #[test]
    fn notifications_are_no_messages() {
        let report = b"<imdn><message-id>x</message-id><status><delivered/></status></imdn>";
        assert_eq!(
            carried("c: message/imdn+xml\r\n", report),
            Ok(Some("x".to_owned()))
        );
        // Linphone compresses its delivery reports.
        for packed in [
            compress_to_vec_zlib(report, 6),
            miniz_oxide::deflate::compress_to_vec(report, 6),
        ] {
            let read = carried("c: message/imdn+xml\r\ne: deflate\r\n", &packed);
            assert_eq!(read, Ok(Some("x".to_owned())));
        }
        assert_eq!(
            carried("c: application/im-iscomposing+xml\r\n", b"x"),
            Ok(None)
        );
    }

    #[test]
    fn what_inflates_to_too_much_is_refused() {
        let bomb = compress_to_vec_zlib(&vec![b'x'; 10 * BODY_BYTES_MAX], 9);
        for kind in ["text/plain", "message/imdn+xml"] {
            let refused = carried(&format!("c: {kind}\r\ne: deflate\r\n"), &bomb);
            assert_eq!(refused, Err((413, "")), "{kind}");
        }
        let longest = compress_to_vec_zlib(&vec![b'x'; BODY_BYTES_MAX], 9);
        assert!(carried("c: text/plain\r\ne: deflate\r\n", &longest).is_ok());
        assert_eq!(
            carried("c: text/plain\r\ne: deflate\r\n", b"\xff\xff nonsense"),
            Err((400, ""))
        );
    }

    #[test]
    fn cpim_is_unwrapped() {
        let cpim = |mime: &str| {
            format!(
                "From: <im:a@h>\r\nNS: imdn <urn:ietf:params:imdn>\r\n\r\n{mime}\r\n\r\nhello\r\n\r\nworld"
            )
        };
        let wrapped = carried(
            "c: message/cpim\r\n",
            cpim("Content-Type: text/plain; charset=utf-8").as_bytes(),
        );
        assert_eq!(wrapped, Ok(Some("hello\r\n\r\nworld".to_owned())));
        assert_eq!(
            carried(
                "c: message/cpim\r\n",
                cpim("content-type: message/imdn+xml").as_bytes()
            ),
            Ok(None)
        );
        assert_eq!(
            carried(
                "c: message/cpim\r\n",
                cpim("Content-Type: image/png").as_bytes()
            ),
            Err((415, "Accept"))
        );
        assert_eq!(carried("c: message/cpim\r\n", b"hello"), Err((400, "")));
    }
}

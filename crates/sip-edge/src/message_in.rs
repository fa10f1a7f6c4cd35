//! MESSAGE from a device (RFC 3428): authenticated, stored by core, answered 202; delivered later.
//!
//! It must not decide who may write to whom: that is a use case of core.

use std::borrow::Cow;

use sip_validate::aor_user;
use sip_validate::message::header::{delta_seconds, unquote};
use sip_validate::message::{Message, Name};
use sipgraph_core::app::messages::{DeviceMessage, is_about_sender};
use sipgraph_core::{Fault, Problem, ProblemCode};

use crate::authenticate::{Authenticated, authenticate, realm, sip_uri};
use crate::edge::Edge;
use crate::reply::Reply;
use crate::transport::Flow;

/// The media types that a MESSAGE may have, as Accept lists them.
pub(crate) const ACCEPT: &str =
    "text/plain, message/cpim, message/imdn+xml, application/im-iscomposing+xml";

const TEXT: &str = "text/plain";

/// Handles a MESSAGE.
pub(crate) async fn receive(edge: &Edge, flow: &Flow, request: &Message) -> Result<Reply, Reply> {
    let to = sip_uri(request.uri().unwrap_or_default(), "Bad Request-URI")?;
    let from = request.from();
    let from = from.map_err(|invalid| Reply::bad(invalid.fault.text()).unkept())?;
    let from_tag = from.tag().unwrap_or_default();
    let from = sip_uri(from.uri, "Bad From")?;
    let realm_of_to = realm(edge, &to).await?;
    let realm_of_from = if from.host.is_equivalent(&to.host) {
        realm_of_to.clone()
    } else {
        realm(edge, &from).await?
    };
    let Authenticated {
        endpoint: sender, ..
    } = authenticate(edge, flow, request, &realm_of_from).await?;
    let from_user = from.user.map(aor_user).transpose().ok().flatten();
    if from_user.as_deref() != Some(sender.canonical_name.as_str()) {
        return Err(Reply::new(403).because("From Is Another User"));
    }
    if !sender.enabled {
        return Err(Reply::new(403).because("Endpoint Disabled"));
    }
    let Content::Text(body) = content(request)? else {
        // Delivery reports and typing notices are no messages of a chat.
        tracing::debug!(%flow, "a notification was taken and dropped");
        return Ok(Reply::new(200));
    };
    let (cseq, _) = request
        .cseq()
        .map_err(|invalid| Reply::bad(invalid.fault.text()))?;
    let Some(to_user) = to.user else {
        return Err(Reply::new(404));
    };
    let message = DeviceMessage {
        sender,
        to_domain: realm_of_to.name,
        to_user: to_user.to_owned(),
        body: body.into_owned(),
        content_type: TEXT.to_owned(),
        call_id: request.call_id().to_owned(),
        cseq,
        from_tag: from_tag.to_owned(),
        expires_s: request.get(Name::Expires).and_then(delta_seconds),
    };
    match edge.app.message_receive(&message).await {
        Ok(_) => Ok(Reply::new(202)),
        Err(Fault::Refused(problems)) => Err(refused(&problems)),
        Err(Fault::Error(error)) => Err(error.into()),
    }
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
enum Content<'a> {
    /// A text for people.
    Text(Cow<'a, str>),
    /// A delivery report (RFC 5438) or a typing notice (RFC 3994).
    Notification,
}

fn content(request: &Message) -> Result<Content<'_>, Reply> {
    let content_type = request.get(Name::ContentType).unwrap_or(TEXT);
    if is_notification(essence(content_type)) {
        return Ok(Content::Notification);
    }
    let encoding = request.get(Name::ContentEncoding).unwrap_or("identity");
    if !encoding.eq_ignore_ascii_case("identity") {
        return Err(Reply::new(415).with("Accept-Encoding", "identity"));
    }
    if !essence(content_type).eq_ignore_ascii_case("message/cpim") {
        return text(content_type, &request.body);
    }
    let (content_type, body) = cpim(&request.body).ok_or(Reply::bad("Bad message/cpim"))?;
    if is_notification(essence(content_type)) {
        Ok(Content::Notification)
    } else {
        text(content_type, body)
    }
}

fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

fn is_notification(essence: &str) -> bool {
    essence.eq_ignore_ascii_case("message/imdn+xml")
        || essence.eq_ignore_ascii_case("application/im-iscomposing+xml")
}

/// The text of a body of the type `text/plain` in UTF-8 (which ASCII is) or ISO 8859-1.
fn text<'a>(content_type: &str, body: &'a [u8]) -> Result<Content<'a>, Reply> {
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
            Cow::Borrowed(std::str::from_utf8(body).map_err(|_| Reply::bad("Body Is Not UTF-8"))?)
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
    use sip_validate::message::frame::datagram;

    fn carried(fields: &str, body: &[u8]) -> Result<Option<String>, (u16, &'static str)> {
        let head = format!(
            "MESSAGE sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\nCall-ID: 1\r\nCSeq: 1 MESSAGE\r\n{fields}\r\n"
        );
        let request = datagram(&[head.as_bytes(), body].concat())
            .unwrap()
            .unwrap();
        match content(&request) {
            Ok(Content::Text(text)) => Ok(Some(text.into_owned())),
            Ok(Content::Notification) => Ok(None),
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
            carried("c: text/plain\r\ne: deflate\r\n", b"a"),
            Err((415, "Accept-Encoding"))
        );
        assert_eq!(
            carried("c: text/plain\r\ne: identity\r\n", b"a"),
            Ok(Some("a".to_owned()))
        );
    }

    #[test]
    fn notifications_are_no_messages() {
        // Linphone compresses its delivery reports; what is dropped need not be unpacked.
        assert_eq!(
            carried("c: message/imdn+xml\r\ne: deflate\r\n", b"x"),
            Ok(None)
        );
        assert_eq!(
            carried("c: application/im-iscomposing+xml\r\n", b"x"),
            Ok(None)
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

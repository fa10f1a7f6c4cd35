//! What devices tell that is no text for people: delivery reports (RFC 5438) and that somebody types (RFC 3994). It reads a
//! few elements of XML and knows no document type, no entity but the five of XML, and nothing that could grow.

use sipgraph_core::message::{Disposition, Receipt};

/// Reads a body of the type `message/imdn+xml`. `None` for what is none, or tells of something else: that it failed at the
/// device, which its answer told before.
pub(crate) fn receipt(body: &[u8]) -> Option<Receipt> {
    let mut message_id = None;
    let mut disposition = None;
    for (name, text) in elements(body)? {
        match name {
            "message-id" => message_id = Some(unescape(text)),
            "delivered" => disposition = Some(Disposition::Delivered),
            "displayed" => disposition = Some(Disposition::Displayed),
            _ => {}
        }
    }
    Some(Receipt {
        message_id: message_id?,
        disposition: disposition?,
    })
}

/// Whether somebody types, and for how many seconds that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Typing {
    pub(crate) active: bool,
    pub(crate) refresh_s: Option<u32>,
}

/// Reads a body of the type `application/im-iscomposing+xml`; `None` for what is none. An unknown state is idle (RFC 3994
/// section 3.3).
pub(crate) fn typing(body: &[u8]) -> Option<Typing> {
    let elements = elements(body)?;
    let text = |wanted: &str| elements.iter().find(|(name, _)| *name == wanted);
    let (_, state) = text("state")?;
    Some(Typing {
        active: *state == "active",
        refresh_s: text("refresh").and_then(|(_, seconds)| seconds.parse().ok()),
    })
}

/// The start tags of a document, each by its local name with the text behind it; `None` for what is no text, or ends in a tag.
fn elements(body: &[u8]) -> Option<Vec<(&str, &str)>> {
    let mut rest = std::str::from_utf8(body).ok()?;
    let mut elements = Vec::new();
    while let Some((_, from_tag)) = rest.split_once('<') {
        let (tag, content) = from_tag.split_once('>')?;
        let text = content.split('<').next().unwrap_or_default();
        elements.push((local_name(tag), text.trim()));
        rest = content;
    }
    Some(elements)
}

/// The name of an element without its prefix; empty for an end tag, a comment or a declaration.
fn local_name(tag: &str) -> &str {
    let name = tag
        .split(|c: char| c.is_ascii_whitespace() || c == '/')
        .next()
        .unwrap_or_default();
    name.rsplit(':').next().unwrap_or_default()
}

fn unescape(text: &str) -> String {
    let mut text = text.to_owned();
    // The ampersand last, so that what it gives is not read again.
    for (entity, character) in [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&apos;", "'"),
        ("&amp;", "&"),
    ] {
        text = text.replace(entity, character);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_devices_send_is_read() {
        let linphone = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"no\" ?>\n<imdn xmlns=\"urn:ietf:params:xml:ns:imdn\" \
            xmlns:linphoneimdn=\"http://www.linphone.org/xsds/imdn.xsd\"><message-id>abc&amp;1</message-id>\
            <datetime>2026-11-21T12:00:00Z</datetime><delivery-notification><status><delivered/></status></delivery-notification></imdn>";
        let read = receipt(linphone.as_bytes()).unwrap();
        assert_eq!(
            (read.message_id.as_str(), read.disposition),
            ("abc&1", Disposition::Delivered)
        );
        let prefixed = "<i:imdn xmlns:i=\"urn:ietf:params:xml:ns:imdn\"><i:message-id> x </i:message-id>\
            <i:display-notification><i:status><i:displayed /></i:status></i:display-notification></i:imdn>";
        let read = receipt(prefixed.as_bytes()).unwrap();
        assert_eq!(
            (read.message_id.as_str(), read.disposition),
            ("x", Disposition::Displayed)
        );
    }

    #[test]
    fn typing_is_read() {
        let active = "<?xml version=\"1.0\"?><isComposing xmlns=\"urn:ietf:params:xml:ns:im-iscomposing\"><state>active</state>\
            <contenttype>text/plain</contenttype><refresh>90</refresh></isComposing>";
        let typing_of = |active, refresh_s| Some(Typing { active, refresh_s });
        assert_eq!(typing(active.as_bytes()), typing_of(true, Some(90)));
        let idle = "<i:isComposing><i:state> idle </i:state></i:isComposing>";
        assert_eq!(typing(idle.as_bytes()), typing_of(false, None));
        assert_eq!(
            typing(b"<state>dancing</state><refresh>-1</refresh>"),
            typing_of(false, None)
        );
        assert_eq!(typing(b"hello"), None);
    }

    #[test]
    fn what_is_no_receipt_is_none() {
        for body in [
            "",
            "<imdn><message-id>x</message-id></imdn>",
            "<imdn><delivered/></imdn>",
            "<imdn><message-id>x</message-id><delivery-notification><status><failed/></status></delivery-notification></imdn>",
            "<<<<>>>>",
        ] {
            assert_eq!(receipt(body.as_bytes()), None, "{body}");
        }
        assert_eq!(receipt(&[0xff, b'<']), None);
    }
}

//! Runs the properties over the labelled texts, and over what fuzzing found.

use sip_validate::message::{Fault, frame::datagram};

use crate::{corpus, properties};

#[test]
fn labelled_texts_keep_the_properties() {
    for (rule, text) in corpus::labelled() {
        match &*rule {
            "sip-uri" => properties::uri(text.as_bytes()),
            "host" => properties::host(text.as_bytes()),
            _ => {}
        }
    }
}

/// Found by `message-udp`: the answer to it could not be read.
#[test]
fn an_empty_parameter_at_the_end_is_refused() {
    let text = "OPTIONS sip:a@h SIP/2.0\r\nTo: sip:user@example.com;\r\nFrom: sip:a@h;tag=1\r\n\
        Call-ID: a\r\nCSeq: 1 OPTIONS\r\nVia: SIP/2.0/TCP h\r\n\r\n";
    let malformed = datagram(text.as_bytes()).unwrap().unwrap_err();
    assert_eq!(malformed.fault, Fault::Parameter);
    assert!(
        datagram(text.replace("com;", "com").as_bytes())
            .unwrap()
            .is_ok()
    );
    properties::message_on_udp(text.as_bytes());
}

/// Found by `message-udp`: an answer got a second tag, which readers did not see.
#[test]
fn a_tag_without_value_and_a_second_tag_are_refused() {
    let text = |to: &str, from: &str| {
        format!(
            "OPTIONS sip:a@h SIP/2.0\r\nTo: sip:b@h{to}\r\nFrom: sip:a@h{from}\r\nCall-ID: a\r\n\
            CSeq: 1 OPTIONS\r\nVia: SIP/2.0/TCP h\r\n\r\n"
        )
    };
    for (to, from) in [
        (";x=1;tag;y=2", ";tag=1"),
        ("", ";tag=1;Tag=2"),
        ("", ";TAG"),
    ] {
        let text = text(to, from);
        let malformed = datagram(text.as_bytes()).unwrap().unwrap_err();
        assert_eq!(malformed.fault, Fault::Tag, "{text}");
        assert_eq!(text[malformed.at..][..3].to_ascii_lowercase(), "tag");
        assert!(malformed.request.is_some());
        properties::message_on_udp(text.as_bytes());
    }
    let good = text(";x=1", ";tag=1");
    assert!(datagram(good.as_bytes()).unwrap().is_ok());
}

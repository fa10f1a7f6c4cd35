//! Promises that hold for every text, not only for the labelled ones.

use std::fmt::Debug;

use proptest::collection::vec;
use proptest::prelude::*;
use sip_validate::{
    CSeq, DisplayName, Host, MediaType, Rule, Scheme, SipDate, SipUri, TelUri, TelephoneSubscriber,
    Violation, aor_user, call_id, domain, e164, endpoint_name, endpoint_name_violations,
    endpoint_password, port, token, unescape, uri_password, user, user_or_subscriber,
};

/// Texts near the grammar of SIP: its words and separators in any order, with anything between.
fn near() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "sip:",
        "SIPS:",
        "tel:",
        "alice",
        "+1",
        "%41",
        "%3b",
        "%",
        "%4",
        "@",
        ":",
        ";",
        "?",
        "&",
        "=",
        ",",
        "[",
        "]",
        "[::1]",
        "[1:::2]",
        "192.0.2.1",
        "010.1.1.1",
        "h.example",
        ".",
        "-",
        "5060",
        "0",
        "70000",
        "transport=udp",
        "lr",
        "ttl=",
        "maddr=",
        "user=phone",
        "method=",
        ";phone-context=",
        ";ext=",
        ";isub=",
        "#",
        "*",
        "(",
        "\"",
        "\\",
        " ",
        "\t",
        "\r\n ",
        "\r\n",
        "text/plain",
        "1 INVITE",
        "Sat, 13 Nov 2010 23:29:00 GMT",
        "\u{e9}",
        "\u{665}",
        "\0",
    ]);
    let parts =
        prop_oneof![4 => words.prop_map(str::to_owned), 1 => any::<char>().prop_map(String::from)];
    vec(parts, 0..12).prop_map(|parts| parts.concat())
}

/// A user part that is good.
fn user_part() -> impl Strategy<Value = String> {
    "([a-zA-Z0-9;?/&=+$,_.!~*'()-]|%[0-9a-fA-F]{2}){1,12}"
}

fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        "([a-zA-Z0-9]{1,5}\\.){0,2}[a-zA-Z][a-zA-Z0-9]{0,4}\\.?",
        any::<[u8; 4]>().prop_map(|octets| std::net::Ipv4Addr::from(octets).to_string()),
        any::<[u16; 8]>().prop_map(|groups| format!("[{}]", std::net::Ipv6Addr::from(groups))),
    ]
}

/// A SIP URI that is good but for a parameter that may be there twice.
fn sip_uri() -> impl Strategy<Value = String> {
    let parameter = prop_oneof![
        "(transport|TRANSPORT|user|method)=(udp|TCP|phone|INVITE)",
        "(ttl=[12]?[0-9])|lr|LR|(maddr=(192\\.0\\.2\\.1|\\[::1\\]|\\[0::1\\]))",
        "([a-c]|%6[1-3]|%4[1-3])(=[xX]|=%78|=%3[aA]|=:)?",
    ];
    let header = "([ab]|%61)=([xX:]|%3A|%78)?";
    (
        "sips?|SIP",
        prop::option::of((user_part(), "(:[a-z%41&]{0,3})?")),
        host(),
        prop::option::of(1..=u16::MAX),
        vec(parameter, 0..4),
        vec(header, 0..4),
    )
        .prop_map(|(scheme, info, host, port, parameters, headers)| {
            let mut uri = format!("{scheme}:");
            if let Some((user, password)) = info {
                uri.push_str(&format!("{user}{password}@"));
            }
            uri.push_str(&host);
            if let Some(port) = port {
                uri.push_str(&format!(":{port}"));
            }
            for parameter in parameters {
                uri.push_str(&format!(";{parameter}"));
            }
            if !headers.is_empty() {
                uri.push_str(&format!("?{}", headers.join("&")));
            }
            uri
        })
}

/// A number that is good but for a parameter that may be there twice.
fn subscriber() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        "\\+[-.()]{0,2}[1-9][0-9.()-]{0,8}",
        "[0-9a-fA-F*#.()-]{0,4}[0-9A-Fa-f*#];phone-context=(Example\\.com|h\\.|\\+1-[0-9]{1,3})",
    ];
    let parameter = prop_oneof![
        "(ext|EXT)=[0-9.-]{1,3}",
        "isub=([a-cA-C/?:@&=+$,]|%[0-9a-fA-F]{2}){1,3}",
        "[a-cA-C]-?(=([a-cA-C\\[\\]/:&+$]|%[0-9a-fA-F]{2}){1,3})?",
    ];
    (number, vec(parameter, 0..4)).prop_map(|(number, parameters)| {
        parameters
            .iter()
            .fold(number, |text, parameter| format!("{text};{parameter}"))
    })
}

/// Checks that what a strict reader takes, a tolerant one takes in the same way.
fn strict_in_tolerant<T: PartialEq + Debug>(
    strict: Result<T, Violation>,
    tolerant: Result<T, Violation>,
) -> Result<(), TestCaseError> {
    if strict.is_ok() {
        prop_assert_eq!(strict, tolerant);
    }
    Ok(())
}

/// Checks that a refusal names a place of the text and the character there.
fn place<T>(text: &str, read: Result<T, Violation>) -> Result<(), TestCaseError> {
    if let Err(violation) = read {
        prop_assert!(violation.byte_offset <= text.len(), "{violation:?}");
        let there = text
            .get(violation.byte_offset..)
            .and_then(|rest| rest.chars().next());
        prop_assert!(
            violation.character.is_none() || violation.character == there,
            "{violation:?}"
        );
        prop_assert!(violation.to_string().ends_with(')'));
    }
    Ok(())
}

/// Hands a text to everything that reads texts.
fn read_all(text: &str) -> Result<(), TestCaseError> {
    place(text, user(text))?;
    place(text, user_or_subscriber(text))?;
    place(text, uri_password(text))?;
    place(text, endpoint_name(text))?;
    place(text, endpoint_password(text))?;
    place(text, e164(text))?;
    place(text, domain(text))?;
    place(text, port(text))?;
    place(text, token(text))?;
    place(text, call_id(text))?;
    place(text, aor_user(text))?;
    place(text, DisplayName::parse(text).map(|name| name.text()))?;
    place(text, DisplayName::quote(text))?;
    place(text, MediaType::parse(text).map(|media| media.to_string()))?;
    place(text, SipDate::parse(text))?;
    place(text, CSeq::parse(text))?;
    place(text, CSeq::parse_received(text))?;
    place(text, Host::parse(text))?;
    place(text, Host::parse_received(text))?;
    place(text, SipUri::parse(text))?;
    place(
        text,
        SipUri::parse_received(text).map(|uri| (uri.aor(), uri.to_tel())),
    )?;
    place(text, TelUri::parse(text))?;
    place(
        text,
        TelUri::parse_received(text).map(|tel| tel.canonical()),
    )?;
    place(text, TelephoneSubscriber::parse(text))?;
    place(
        text,
        TelephoneSubscriber::parse_received(text).map(|number| number.canonical()),
    )?;
    let _ = unescape(text);
    strict_in_tolerant(CSeq::parse(text), CSeq::parse_received(text))?;
    strict_in_tolerant(Host::parse(text), Host::parse_received(text))?;
    strict_in_tolerant(SipUri::parse(text), SipUri::parse_received(text))?;
    strict_in_tolerant(TelUri::parse(text), TelUri::parse_received(text))?;
    Ok(())
}

proptest! {
    #[test]
    fn no_octets_make_a_reader_panic(octets in vec(any::<u8>(), 0..80)) {
        read_all(&String::from_utf8_lossy(&octets))?;
    }

    #[test]
    fn no_text_near_the_grammar_makes_a_reader_panic(text in near()) {
        read_all(&text)?;
    }

    #[test]
    fn a_written_uri_reads_back(text in sip_uri()) {
        if let Ok(uri) = SipUri::parse_received(&text) {
            let written = uri.to_string();
            let again = SipUri::parse_received(&written).unwrap();
            prop_assert_eq!((again.scheme, again.user, again.host, again.port), (uri.scheme, uri.user, uri.host, uri.port));
            prop_assert!(again.parameters().eq(uri.parameters()) && again.headers().eq(uri.headers()));
            prop_assert_eq!(again.password(), None);
            prop_assert_eq!(again.is_equivalent(&uri), uri.password().is_none());
            prop_assert_eq!(again.to_string(), written);
        }
    }

    #[test]
    fn equivalence_of_uris_is_reflexive_and_symmetric(a in sip_uri(), b in sip_uri()) {
        // The same URI in another case is equivalent at times.
        let turned = a.replace("sip:", "SIP:").replace(";lr", ";LR").replace("%6", "%4");
        for (a, b) in [(&a, &a), (&a, &b), (&a, &turned)] {
            if let (Ok(left), Ok(right)) = (SipUri::parse(a), SipUri::parse(b)) {
                prop_assert!(left.is_equivalent(&left));
                prop_assert_eq!(left.is_equivalent(&right), right.is_equivalent(&left));
                if left.is_equivalent(&right) && !a.contains('.') {
                    prop_assert_eq!(left.aor().domain, right.aor().domain);
                }
            }
        }
    }

    #[test]
    fn equivalent_uris_have_one_address_of_record(info in user_part(), at in 0_usize..12) {
        // Escaping a character that is not reserved changes neither.
        let octet = info.as_bytes().get(at % info.len()).copied().unwrap();
        if octet.is_ascii_alphabetic() && !info.contains('%') {
            let place = at % info.len();
            let escaped = format!("{}%{octet:02x}{}", &info[..place], &info[place + 1..]);
            let (plain, escaped) = (format!("sip:{info}@H.example"), format!("sip:{escaped}@h.EXAMPLE"));
            let (plain, escaped) = (SipUri::parse(&plain).unwrap(), SipUri::parse(&escaped).unwrap());
            prop_assert!(plain.is_equivalent(&escaped));
            prop_assert_eq!(plain.aor(), escaped.aor());
        }
    }

    #[test]
    fn the_key_of_a_key_is_itself(text in sip_uri()) {
        if let Ok(uri) = SipUri::parse_received(&text) {
            let key = uri.aor();
            let written = key.to_string();
            let again = SipUri::parse(&written).unwrap();
            prop_assert_eq!(again.aor(), key.clone());
            prop_assert_eq!(again.to_string(), written.as_str());
            if let (Some(user), Some(canonical)) = (uri.user, key.user) {
                // The same octets, now and then written in another way.
                prop_assert_eq!(unescape(user), unescape(&canonical));
                prop_assert_eq!(aor_user(&canonical).unwrap(), canonical.as_ref());
            }
            prop_assert_eq!(domain(&key.domain).unwrap(), key.domain.as_ref());
        }
    }

    #[test]
    fn equivalence_of_numbers_is_equality_of_keys(a in subscriber(), b in subscriber()) {
        if let (Ok(left), Ok(right)) = (TelephoneSubscriber::parse_received(&a), TelephoneSubscriber::parse_received(&b)) {
            prop_assert!(left.is_equivalent(&left));
            prop_assert_eq!(left.is_equivalent(&right), right.is_equivalent(&left));
            prop_assert_eq!(left.is_equivalent(&right), left.canonical() == right.canonical());
            let key = left.canonical();
            let again = TelephoneSubscriber::parse_received(&key).unwrap();
            prop_assert!(again.is_equivalent(&left));
            prop_assert_eq!(again.canonical(), key.as_str());
            prop_assert_eq!(&left.to_string(), &a);
        }
        if TelephoneSubscriber::parse(&a).is_ok() {
            let number = TelephoneSubscriber::parse(&a).unwrap();
            prop_assert!(TelephoneSubscriber::parse(&number.canonical()).is_ok(), "{}", number.canonical());
        }
    }

    #[test]
    fn a_number_survives_its_way_through_a_sip_uri(number in subscriber(), host in host()) {
        let text = format!("tel:{number}");
        if let Ok(tel) = TelUri::parse(&text) {
            let sip = tel.to_sip(Scheme::Sips, &Host::parse(&host).unwrap());
            let uri = SipUri::parse(&sip).unwrap();
            let back = uri.to_tel().unwrap();
            prop_assert!(TelUri::parse(&back).unwrap().is_equivalent(&tel), "{sip} {back}");
            // What means the same becomes the same, but for separators.
            let again = TelUri::parse(&back).unwrap().to_sip(Scheme::Sips, &Host::parse(&host).unwrap());
            prop_assert_eq!(again, sip);
        }
    }

    #[test]
    fn what_is_good_as_a_name_has_no_violations(text in near()) {
        let all: Vec<_> = endpoint_name_violations(&text).collect();
        prop_assert_eq!(endpoint_name(&text), all.first().map_or(Ok(()), |first| Err(*first)));
        prop_assert!(all.len() <= text.chars().count().max(1) + 1);
        let only_policy = |v: &Violation| matches!(v.rule, Rule::NameTooLong | Rule::NameEscapedCharacter);
        prop_assert_eq!(user(&text).is_ok(), all.iter().all(only_policy));
    }

    #[test]
    fn no_refusal_shows_a_password(secret in "[a-z]{3}[#\u{e9};\"%]{1,3}[g-z]{3}") {
        for violation in [uri_password(&secret).unwrap_err(), SipUri::parse(&format!("sip:a:{secret}@h.example")).unwrap_err()] {
            prop_assert_eq!(violation.character, None);
        }
        if let Err(violation) = endpoint_password(&format!("{secret}\u{20ac}")) {
            prop_assert_eq!(violation.character, None);
        }
    }

    #[test]
    fn a_display_name_survives_quoting(name in "\\PC{0,20}") {
        if let Ok(quoted) = DisplayName::quote(&name) {
            prop_assert_eq!(DisplayName::parse(&quoted).unwrap().text(), name.as_str());
        }
    }

    #[test]
    fn a_date_survives_writing(seconds in -62_135_596_800_i64..253_402_300_800) {
        let date = SipDate::from_unix_s(seconds).unwrap();
        prop_assert_eq!(SipDate::parse(&date.to_string()), Ok(date));
        prop_assert_eq!(date.unix_s(), seconds);
    }

    #[test]
    fn a_number_has_one_form(text in "\\+[1-9][0-9 .()-]{0,20}") {
        if let Ok(number) = e164(&text) {
            prop_assert_eq!(e164(&number).unwrap(), number.as_ref());
        }
    }

    #[test]
    fn a_media_type_survives_writing(text in "[a-z]{1,4} ?/ ?[a-z]{1,4}( ?; ?[a-z]{1,3} ?= ?([a-z]{1,3}|\"[a-z ;]{0,4}\")){0,3}") {
        let media = MediaType::parse(&text).unwrap();
        let written = media.to_string();
        let again = MediaType::parse(&written).unwrap();
        prop_assert!(again.is(media.kind, media.subtype) && again.parameters().eq(media.parameters()));
    }
}

//! IPv4 and IPv6 addresses as RFC 5954 section 4.1 and RFC 3986 section 3.2.2 write them.
//!
//! The parsers of the standard library take the same; these take a third of their time, which is much of a URI's.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Reads an IPv4 address: four numbers from 0 to 255 without leading zeros.
pub(crate) fn v4(text: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut parts = text.split(|octet| *octet == b'.');
    for octet in &mut octets {
        let number = match parts.next()? {
            [one] => digit(*one)?,
            [b'0', ..] => return None,
            [ten, one] => digit(*ten)? * 10 + digit(*one)?,
            [hundred, ten, one] => (digit(*hundred)? * 10 + digit(*ten)?) * 10 + digit(*one)?,
            _ => return None,
        };
        *octet = u8::try_from(number).ok()?;
    }
    parts.next().is_none().then(|| octets.into())
}

fn digit(octet: u8) -> Option<u16> {
    octet.is_ascii_digit().then(|| u16::from(octet - b'0'))
}

/// Reads an IPv6 address without its brackets: eight groups, of which `::` stands for one or more, and the last two of
/// which may be an IPv4 address.
pub(crate) fn v6(text: &[u8]) -> Option<Ipv6Addr> {
    let mut groups = [0_u16; 8];
    let mut count = 0;
    let mut gap = None;
    let mut rest = text;
    if let [b':', b':', after @ ..] = rest {
        (gap, rest) = (Some(0), after);
    }
    while !rest.is_empty() {
        let mut group = 0;
        let mut length = 0;
        while let Some(value) = rest.get(length).copied().and_then(hex) {
            // A fifth digit shows as what may not follow four.
            if length == 4 {
                return None;
            }
            group = group << 4 | value;
            length += 1;
        }
        let after = rest.get(length..)?;
        if after.first() == Some(&b'.') {
            let [a, b, c, d] = v4(rest)?.octets();
            let last_two = groups.get_mut(count..)?.first_chunk_mut::<2>()?;
            *last_two = [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])];
            count += 2;
            break;
        }
        if length == 0 {
            return None;
        }
        *groups.get_mut(count)? = group;
        count += 1;
        rest = match after {
            [] => break,
            [b':', b':', after @ ..] if gap.is_none() => {
                gap = Some(count);
                after
            }
            [b':', after @ ..] if !after.is_empty() => after,
            _ => return None,
        };
    }
    match gap {
        None if count == 8 => {}
        Some(gap) if count < 8 => {
            groups.get_mut(gap..)?.rotate_right(8 - count);
        }
        _ => return None,
    }
    Some(groups.into())
}

fn hex(octet: u8) -> Option<u16> {
    match octet {
        b'0'..=b'9' => Some(u16::from(octet - b'0')),
        b'a'..=b'f' => Some(u16::from(octet - b'a') + 10),
        b'A'..=b'F' => Some(u16::from(octet - b'A') + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn as_the_standard_library(text: &str) {
        assert_eq!(v4(text.as_bytes()), text.parse().ok(), "{text:?}");
        assert_eq!(v6(text.as_bytes()), text.parse().ok(), "{text:?}");
    }

    #[test]
    fn borders() {
        for text in [
            "",
            ".",
            ":",
            "::",
            ":::",
            "::1",
            "1::",
            "1:",
            ":1",
            "1::2::3",
            "1:2:3:4:5:6:7:8",
            "1:2:3:4:5:6:7::",
            "::2:3:4:5:6:7:8",
            "1:2:3:4::5:6:7:8",
            "1:2:3:4:5:6:7:8:9",
            "1:2:3:4:5:6:7",
            "12345::",
            "1:2:3:4:5:6:1.2.3.4",
            "1:2:3:4:5:6:7:1.2.3.4",
            "::1.2.3.4",
            "::1.2.3",
            "::1.2.3.4:5",
            "::ffff:01.2.3.4",
            "::%eth0",
            "1.2.3.4",
            "1.2.3.4.",
            "0.0.0.0",
            "255.255.255.255",
            "256.1.1.1",
            "01.2.3.4",
            "00.2.3.4",
            "1.2.3",
            "1..2.3",
            "1.2.3.4.5",
            "+1.2.3.4",
            "::g",
            "fe80::1%1",
            "::1:",
            "1::1.2.3.4::",
            "::1.2.3.4::",
            "abcd:ef01::",
        ] {
            as_the_standard_library(text);
        }
    }

    proptest! {
        #[test]
        fn texts_near_addresses_are_read_as_by_the_standard_library(text in "([0-9a-fA-F]{0,4}|::?|\\.|[0-9]{1,3}\\.){0,18}") {
            as_the_standard_library(&text);
        }

        #[test]
        fn addresses_are_read_as_by_the_standard_library(six in any::<[u16; 8]>(), zeros in any::<u8>(), four in any::<[u8; 4]>()) {
            let mut groups = six;
            for (at, group) in groups.iter_mut().enumerate() {
                *group &= if zeros >> at & 1 == 1 { 0 } else { u16::MAX };
            }
            as_the_standard_library(&Ipv6Addr::from(groups).to_string());
            as_the_standard_library(&Ipv4Addr::from(four).to_string());
            as_the_standard_library(&format!("::{:x}:{}", groups[0], Ipv4Addr::from(four)));
        }
    }
}

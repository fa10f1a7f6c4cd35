//! IPv4 and IPv6 addresses as RFC 5954 section 4.1 and RFC 3986 section 3.2.2 write them.
//!
//! The parsers of the standard library take the same; these take a third of their time, which is much of a URI's.

use std::hint::select_unpredictable;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::chars;

/// Reads an IPv4 address at a place of a text, four numbers from 0 to 255 without leading zeros, and returns where it ends.
#[inline]
pub(crate) fn v4_at(text: &[u8], start: usize) -> Option<(Ipv4Addr, usize)> {
    let mut octets = [0; 4];
    let mut at = start;
    for octet in &mut octets {
        if at > start {
            if text.get(at) != Some(&b'.') {
                return None;
            }
            at += 1;
        }
        // How many digits a number has is chance: three are read, and then those that count are taken.
        let [a, b, c, ..] = chars::eight_at(text, at).to_le_bytes();
        let [a, b, c] = [a, b, c].map(|octet| u16::from(octet.wrapping_sub(b'0')));
        let (has_two, has_three) = (b < 10, (b < 10) & (c < 10));
        let number = select_unpredictable(has_two, a * 10 + b, a);
        let number = select_unpredictable(has_three, number * 10 + c, number);
        if a >= 10 || (a == 0 && has_two) {
            return None;
        }
        *octet = u8::try_from(number).ok()?;
        at += 1 + usize::from(has_two) + usize::from(has_three);
    }
    Some((octets.into(), at))
}

/// Reads an IPv6 address at a place of a text, up to a `]`, and returns where that stands: eight groups, of which `::` stands
/// for one or more, and the last two of which may be an IPv4 address.
#[inline]
pub(crate) fn v6_at(text: &[u8], start: usize) -> Option<(Ipv6Addr, usize)> {
    let mut groups = 0_u128;
    let mut count = 0;
    let mut gap = None;
    let mut at = start;
    if let Some([b':', b':', ..]) = text.get(start..) {
        (gap, at) = (Some(0), start + 2);
    }
    // Behind `::` the address may end.
    while text.get(at) != Some(&b']') || gap != Some(count) {
        let (group, length) = group(text, at);
        // Nine groups are too many, and as many as this counts.
        if length == 0 || count == 9 {
            return None;
        }
        let end = at + length;
        let behind = *text.get(end)?;
        if behind == b'.' {
            let (address, end) = v4_at(text, at)?;
            groups = groups << 32 | u128::from(address.to_bits());
            count += 2;
            at = end;
            break;
        }
        groups = groups << 16 | u128::from(group);
        count += 1;
        at = end;
        if behind != b':' {
            break;
        }
        at += 1;
        if gap.is_none() && text.get(at) == Some(&b':') {
            gap = Some(count);
            at += 1;
        }
    }
    if text.get(at) != Some(&b']') {
        return None;
    }
    let address = match gap {
        None if count == 8 => groups,
        Some(gap) if count < 8 => {
            let behind = 16 * (count - gap);
            let before = (groups >> behind).checked_shl(16 * (8 - gap));
            before.unwrap_or(0) | groups & ((1 << behind) - 1)
        }
        _ => return None,
    };
    Some((Ipv6Addr::from_bits(address), at))
}

/// As many hexadecimal digits as there are, up to four, as a number, and how many they are.
#[inline]
fn group(text: &[u8], at: usize) -> (u32, usize) {
    let [a, b, c, d, ..] = chars::eight_at(text, at).to_le_bytes();
    let digits = [a, b, c, d].map(chars::hex_value);
    let number = digits
        .iter()
        .fold(0, |number, digit| number << 4 | u32::from(digit & 0xf));
    // A bit for the first octet that is no digit, or for the one behind all four.
    let foreign = u64::from(u32::from_le_bytes(digits) & 0x1010_1010) | 0x10 << 32;
    let length = foreign.trailing_zeros() / 8;
    (number >> (16 - 4 * length), chars::offset(length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn as_the_standard_library(text: &str) {
        let four = v4_at(text.as_bytes(), 0).filter(|(_, end)| *end == text.len());
        assert_eq!(
            four.map(|(address, _)| address),
            text.parse().ok(),
            "{text:?}"
        );
        let bracketed = format!("sip:[{text}]:5060");
        let six = v6_at(bracketed.as_bytes(), 5);
        assert_eq!(
            six,
            text.parse().ok().map(|address| (address, 5 + text.len())),
            "{text:?}"
        );
        assert_eq!(v6_at(text.as_bytes(), 0), None, "{text:?}");
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

//! IPv4 and IPv6 addresses as RFC 5954 section 4.1 and RFC 3986 section 3.2.2 write them.
//!
//! The parsers of the standard library take the same; these take a third of their time, which is much of a URI's.

use std::hint::select_unpredictable;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Reads an IPv4 address: four numbers from 0 to 255 without leading zeros.
pub(crate) fn v4(text: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut rest = text;
    for (at, octet) in octets.iter_mut().enumerate() {
        // How many digits a number has is chance: three are read, and then those that count are taken.
        let [a, b, c] = window(rest).map(|octet| u16::from(octet.wrapping_sub(b'0')));
        let (has_two, has_three) = (b < 10, (b < 10) & (c < 10));
        let number = select_unpredictable(has_two, a * 10 + b, a);
        let number = select_unpredictable(has_three, number * 10 + c, number);
        let length = 1 + usize::from(has_two) + usize::from(has_three);
        if a >= 10 || (a == 0 && has_two) {
            return None;
        }
        *octet = u8::try_from(number).ok()?;
        rest = match rest.get(length..)? {
            [b'.', after @ ..] if at < 3 => after,
            [] if at == 3 => return Some(octets.into()),
            _ => return None,
        };
    }
    None
}

/// Reads an IPv6 address without its brackets: eight groups, of which `::` stands for one or more, and the last two of
/// which may be an IPv4 address.
pub(crate) fn v6(text: &[u8]) -> Option<Ipv6Addr> {
    let mut groups = 0_u128;
    let mut count = 0;
    let mut gap = None;
    let mut rest = text;
    if let [b':', b':', after @ ..] = rest {
        (gap, rest) = (Some(0), after);
    }
    while !rest.is_empty() {
        // As many digits as there are, up to four: a fifth one shows as what may not follow.
        let mut group = 0;
        let mut length = 0;
        let mut is_digit = true;
        for value in window::<4>(rest).map(hex) {
            is_digit &= value != NO_HEX;
            group = select_unpredictable(is_digit, group << 4 | value, group);
            length += usize::from(is_digit);
        }
        let after = rest.get(length..)?;
        if after.first() == Some(&b'.') {
            groups = groups << 32 | u128::from(v4(rest)?.to_bits());
            count += 2;
            break;
        }
        // Nine groups are too many, and as many as this counts.
        if length == 0 || count == 9 {
            return None;
        }
        groups = groups << 16 | u128::from(group);
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
        None if count == 8 => Some(Ipv6Addr::from_bits(groups)),
        Some(gap) if count < 8 => {
            let behind = 16 * (count - gap);
            let before = (groups >> behind).checked_shl(16 * (8 - gap));
            let behind = groups & ((1 << behind) - 1);
            Some(Ipv6Addr::from_bits(before.unwrap_or(0) | behind))
        }
        _ => None,
    }
}

/// The first octets, with zeros for those that are not there.
fn window<const N: usize>(text: &[u8]) -> [u8; N] {
    std::array::from_fn(|at| text.get(at).copied().unwrap_or(0))
}

/// What [`hex`] says of an octet that is no hexadecimal digit.
const NO_HEX: u16 = 0xff;

fn hex(octet: u8) -> u16 {
    let decimal = octet.wrapping_sub(b'0');
    let letter = (octet | 0x20).wrapping_sub(b'a');
    let value = select_unpredictable(letter < 6, u16::from(letter) + 10, NO_HEX);
    select_unpredictable(decimal < 10, u16::from(decimal), value)
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

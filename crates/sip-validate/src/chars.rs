//! The character classes of RFC 3261 section 25.1 as one lookup table, and escapes.
//!
//! Each octet has a set of classes, so that a test is one load and one mask. Only ASCII octets are in
//! any class: the Unicode predicates of `char` accept digits and letters that SIP does not know.

use std::fmt::Write as _;

/// The letters and digits of `alphanum`.
pub(crate) const ALPHANUM: u16 = 1;
/// The octets of `mark`, which with `alphanum` make `unreserved`.
pub(crate) const MARK: u16 = 1 << 1;
/// The octets of `user-unreserved`.
pub(crate) const USER: u16 = 1 << 2;
/// The reserved octets that a `password` of a URI may hold.
pub(crate) const PASSWORD: u16 = 1 << 3;
/// The octets of `param-unreserved`, which RFC 3966 has too.
pub(crate) const PARAM: u16 = 1 << 4;
/// The octets of `hnv-unreserved`.
pub(crate) const HEADER: u16 = 1 << 5;
/// The octets of a `token` beside `alphanum`.
pub(crate) const TOKEN: u16 = 1 << 6;
/// The octets of a `word` beside `alphanum`.
pub(crate) const WORD: u16 = 1 << 7;
/// The octets of `reserved`.
pub(crate) const RESERVED: u16 = 1 << 8;
/// The octets of `uric` but `;`, which ends a parameter (RFC 3966 section 3).
pub(crate) const URIC: u16 = 1 << 9;
/// The octets of a host name.
pub(crate) const HOST: u16 = 1 << 10;
/// The octets of `phonedigit` (RFC 3966 section 3).
pub(crate) const PHONE: u16 = 1 << 11;
/// The octets of `phonedigit-hex` (RFC 3966 section 3).
pub(crate) const PHONE_HEX: u16 = 1 << 12;
/// The octets of `visual-separator` (RFC 3966 section 3).
pub(crate) const SEPARATOR: u16 = 1 << 13;
/// The octets of a label of a host name.
pub(crate) const LABEL: u16 = 1 << 15;
/// The hexadecimal digits.
pub(crate) const HEX: u16 = 1 << 14;

/// The classes of `unreserved`.
pub(crate) const UNRESERVED: u16 = ALPHANUM | MARK;

pub(crate) const CLASSES: [u16; 256] = {
    let mut table = [0; 256];
    table = mark(
        table,
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
        ALPHANUM | HOST | LABEL,
    );
    table = mark(table, b"-_.!~*'()", MARK);
    table = mark(table, b"&=+$,;?/", USER);
    table = mark(table, b"&=+$,", PASSWORD);
    table = mark(table, b"[]/:&+$", PARAM);
    table = mark(table, b"[]/?:+$", HEADER);
    table = mark(table, b"-.!%*_+`'~", TOKEN);
    table = mark(table, b"-.!%*_+`'~()<>:\\\"/[]?{}", WORD);
    table = mark(table, b";/?:@&=+$,", RESERVED);
    table = mark(table, b"/?:@&=+$,", URIC);
    table = mark(table, b"-.", HOST);
    table = mark(table, b"-", LABEL);
    table = mark(table, b"0123456789-.()", PHONE | PHONE_HEX);
    table = mark(table, b"ABCDEFabcdef*#", PHONE_HEX);
    table = mark(table, b"-.()", SEPARATOR);
    mark(table, b"0123456789ABCDEFabcdef", HEX)
};

const fn mark(mut table: [u16; 256], octets: &[u8], class: u16) -> [u16; 256] {
    let mut i = 0;
    while i < octets.len() {
        #[expect(
            clippy::as_conversions,
            clippy::indexing_slicing,
            reason = "evaluated when the crate is built; From is not const, and u8 to usize is lossless"
        )]
        {
            table[octets[i] as usize] |= class;
        }
        i += 1;
    }
    table
}

/// Whether `octet` is in one of `classes`.
#[inline]
pub(crate) fn is(octet: u8, classes: u16) -> bool {
    #[expect(
        clippy::indexing_slicing,
        reason = "an octet is less than 256, the length of the table"
    )]
    let of = CLASSES[usize::from(octet)];
    of & classes != 0
}

/// Whether all octets are in one of `classes`.
#[inline]
pub(crate) fn all(text: &str, classes: u16) -> bool {
    text.bytes().all(|octet| is(octet, classes))
}

/// The offset of the first octet that is in none of `classes`.
#[inline]
pub(crate) fn first_outside(text: &str, classes: u16) -> Option<usize> {
    text.bytes().position(|octet| !is(octet, classes))
}

/// Whether `octets` is a `token` (RFC 3261 section 25.1): not empty, only token characters.
#[inline]
pub(crate) fn is_token(octets: &[u8]) -> bool {
    !octets.is_empty() && octets.iter().all(|o| is(*o, ALPHANUM | TOKEN))
}

/// Eight octets of a text from a place on as one word, the first one lowest, with zeros for those that are not there.
#[inline]
pub(crate) fn eight_at(text: &[u8], at: usize) -> u64 {
    let rest = text.get(at..).unwrap_or_default();
    match rest.first_chunk() {
        Some(eight) => u64::from_le_bytes(*eight),
        None => few_at_end(text, rest),
    }
}

/// The less than eight octets at the end of a text as one word.
#[inline(never)]
fn few_at_end(text: &[u8], rest: &[u8]) -> u64 {
    match text.last_chunk() {
        // How many there are is chance: the last eight of the text are taken, and shifted.
        Some(eight) => {
            let bits = u32::try_from(64 - 8 * rest.len()).unwrap_or(u32::MAX);
            u64::from_le_bytes(*eight).checked_shr(bits).unwrap_or(0)
        }
        None => rest
            .iter()
            .rev()
            .fold(0, |word, octet| word << 8 | u64::from(*octet)),
    }
}

/// A number of bits or octets of a word as an offset.
#[inline]
pub(crate) fn offset(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// The value of a hexadecimal digit; 16 for any other octet.
#[inline]
pub(crate) fn hex_value(octet: u8) -> u8 {
    const VALUES: [u8; 256] = {
        let digits = b"0123456789abcdef";
        let mut values = [0x10; 256];
        let mut value = 0;
        while value < 16 {
            #[expect(
                clippy::as_conversions,
                clippy::indexing_slicing,
                reason = "evaluated when the crate is built; From is not const, and u8 to usize is lossless"
            )]
            {
                let digit = digits[value as usize];
                values[digit as usize] = value;
                values[digit.to_ascii_uppercase() as usize] = value;
            }
            value += 1;
        }
        values
    };
    #[expect(
        clippy::indexing_slicing,
        reason = "an octet is less than 256, the length of the table"
    )]
    VALUES[usize::from(octet)]
}

/// The value of the two hexadecimal digits after the `%` at `octets[at]`, if they are there.
pub(crate) fn escaped(octets: &[u8], at: usize) -> Option<u8> {
    let digit = |at: usize| {
        let digit = char::from(*octets.get(at)?).to_digit(16)?;
        u8::try_from(digit).ok()
    };
    let (high, low) = (digit(at.checked_add(1)?)?, digit(at.checked_add(2)?)?);
    Some(high << 4 | low)
}

/// The offset of the first octet that is neither in `classes` nor part of a whole `escaped`.
#[inline]
pub(crate) fn first_foreign(octets: &[u8], classes: u16) -> Option<usize> {
    let mut at = 0;
    while let Some(octet) = octets.get(at) {
        if is(*octet, classes) {
            at += 1;
        } else if *octet == b'%'
            && let Some([high, low]) = octets.get(at + 1..at + 3)
            && is(*high, HEX)
            && is(*low, HEX)
        {
            at += 3;
        } else {
            return Some(at);
        }
    }
    None
}

/// The octets of a text with each escape undone once, each with whether it was escaped. A `%` without two
/// digits stays as it is.
#[derive(Debug, Clone)]
pub(crate) struct Octets<'a>(pub(crate) &'a [u8]);

impl Iterator for Octets<'_> {
    type Item = (u8, bool);

    fn next(&mut self) -> Option<(u8, bool)> {
        let (first, rest) = self.0.split_first()?;
        if *first == b'%'
            && let Some(value) = escaped(self.0, 0)
        {
            self.0 = self.0.get(3..).unwrap_or_default();
            return Some((value, true));
        }
        self.0 = rest;
        Some((*first, false))
    }
}

/// Appends an octet as itself if it is in one of `classes`, and else as an escape with upper-case digits.
pub(crate) fn push(to: &mut String, octet: u8, classes: u16) {
    if is(octet, classes) {
        to.push(char::from(octet));
    } else {
        // Writing into a `String` cannot fail.
        let _ = write!(to, "%{octet:02X}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ascii_is_in_any_class() {
        assert!((0x80..=0xff_u8).all(|o| !is(o, u16::MAX)));
        assert!((0..=0x20_u8).all(|o| !is(o, u16::MAX)) && !is(0x7f, u16::MAX));
    }

    #[test]
    fn escapes_need_two_hexadecimal_digits() {
        assert_eq!(escaped(b"%c3", 0), Some(0xc3));
        for bad in [&b"%"[..], b"%4", b"%g1", b"%1g", b"%+1"] {
            assert_eq!(escaped(bad, 0), None, "{bad:?}");
        }
        let octets: Vec<_> = Octets(b"%41%4%").collect();
        assert_eq!(
            octets,
            [(b'A', true), (b'%', false), (b'4', false), (b'%', false)]
        );
    }
}

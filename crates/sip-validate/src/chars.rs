//! The character classes of RFC 3261 section 25.1 as one lookup table.
//!
//! Each octet has a set of classes, so that a test is one load and one mask. Only ASCII octets are in
//! any class: the Unicode predicates of `char` accept digits and letters that SIP does not know.

/// The letters and digits of `alphanum`.
pub const ALPHANUM: u16 = 1;
/// The octets of `mark`, which with `alphanum` make `unreserved`.
pub const MARK: u16 = 1 << 1;
/// The octets of `user-unreserved`.
pub const USER: u16 = 1 << 2;
/// The reserved octets that a `password` of a URI may hold.
pub const PASSWORD: u16 = 1 << 3;
/// The octets of `param-unreserved`.
pub const PARAM: u16 = 1 << 4;
/// The octets of `hnv-unreserved`.
pub const HEADER: u16 = 1 << 5;
/// The octets of a `token` beside `alphanum`.
pub const TOKEN: u16 = 1 << 6;
/// The octets of `word` beside `alphanum`.
pub const WORD: u16 = 1 << 7;

/// The classes of `unreserved`.
pub const UNRESERVED: u16 = ALPHANUM | MARK;

const CLASSES: [u16; 256] = {
    let mut table = [0; 256];
    table = mark(
        table,
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
        ALPHANUM,
    );
    table = mark(table, b"-_.!~*'()", MARK);
    table = mark(table, b"&=+$,;?/", USER);
    table = mark(table, b"&=+$,", PASSWORD);
    table = mark(table, b"[]/:&+$", PARAM);
    table = mark(table, b"[]/?:+$", HEADER);
    table = mark(table, b"-.!%*_+`'~", TOKEN);
    mark(table, b"-.!%*_+`'~()<>:\\\"/[]?{}", WORD)
};

const fn mark(mut table: [u16; 256], octets: &[u8], class: u16) -> [u16; 256] {
    let mut i = 0;
    while i < octets.len() {
        #[expect(
            clippy::as_conversions,
            reason = "From is not const; u8 to usize is lossless"
        )]
        let at = octets[i] as usize;
        table[at] |= class;
        i += 1;
    }
    table
}

/// Whether `octet` is in one of `classes`.
#[must_use]
#[inline]
pub fn is(octet: u8, classes: u16) -> bool {
    CLASSES[usize::from(octet)] & classes != 0
}

/// Whether `octets` is a `token` (RFC 3261 section 25.1): not empty, only token characters.
#[must_use]
pub fn is_token(octets: &[u8]) -> bool {
    !octets.is_empty() && octets.iter().all(|o| is(*o, ALPHANUM | TOKEN))
}

/// Whether `octets` is a `callid`: a `word`, or two with an `@` between (RFC 3261 section 25.1).
#[must_use]
pub fn is_callid(octets: &[u8]) -> bool {
    let is_word = |w: &[u8]| !w.is_empty() && w.iter().all(|o| is(*o, ALPHANUM | WORD));
    match octets.iter().position(|o| *o == b'@') {
        Some(at) => is_word(&octets[..at]) && is_word(&octets[at + 1..]),
        None => is_word(octets),
    }
}

/// The value of the two hexadecimal digits after the `%` at `octets[at]`, if they are there.
#[must_use]
pub fn escaped(octets: &[u8], at: usize) -> Option<u8> {
    let digit = |o: &u8| {
        char::from(*o)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    Some(digit(octets.get(at + 1)?)? * 16 + digit(octets.get(at + 2)?)?)
}

/// The offset of the first octet that is neither in `classes` nor part of a whole `escaped`.
pub(crate) fn first_foreign(octets: &[u8], classes: u16) -> Option<usize> {
    let mut at = 0;
    while let Some(octet) = octets.get(at) {
        if is(*octet, classes) {
            at += 1;
        } else if *octet == b'%' && escaped(octets, at).is_some() {
            at += 3;
        } else {
            return Some(at);
        }
    }
    None
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
    fn callid_takes_one_at() {
        assert!(is_callid(b"a84b4c76e66710@pc33.atlanta.com") && is_callid(b"1"));
        for bad in [&b""[..], b"@", b"a@", b"@a", b"a@b@c", b"a b", b"a,b"] {
            assert!(!is_callid(bad), "{bad:?}");
        }
    }

    #[test]
    fn escapes_need_two_hexadecimal_digits() {
        assert_eq!(escaped(b"%c3", 0), Some(0xc3));
        for bad in [&b"%"[..], b"%4", b"%g1", b"%1g", b"%+1"] {
            assert_eq!(escaped(bad, 0), None, "{bad:?}");
        }
    }
}

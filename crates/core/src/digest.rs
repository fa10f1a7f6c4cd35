//! Digest credentials (RFC 7616, RFC 8760): which algorithms exist and how a password becomes HA1 values.

use crate::keyring::Secret;
use md5::Md5;
use sha2::{Digest as _, Sha256, Sha512_256};

/// A digest algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DigestAlgorithm {
    /// `SHA-256` (RFC 7616).
    Sha256,
    /// `SHA-512-256` (RFC 7616); few phones know it.
    Sha512_256,
    /// `MD5`, for old phones.
    Md5,
}

impl DigestAlgorithm {
    /// Every algorithm, strong ones first.
    pub const ALL: [DigestAlgorithm; 3] = [
        DigestAlgorithm::Sha256,
        DigestAlgorithm::Sha512_256,
        DigestAlgorithm::Md5,
    ];

    /// Returns its name in a challenge (RFC 8760 section 2.1).
    #[must_use]
    pub fn token(self) -> &'static str {
        match self {
            DigestAlgorithm::Sha256 => "SHA-256",
            DigestAlgorithm::Sha512_256 => "SHA-512-256",
            DigestAlgorithm::Md5 => "MD5",
        }
    }

    /// Reads a name of a challenge; case does not matter.
    #[must_use]
    pub fn parse(token: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|algorithm| algorithm.token().eq_ignore_ascii_case(token))
    }

    /// Returns how many characters a hash has.
    #[must_use]
    pub fn hash_chars(self) -> usize {
        match self {
            DigestAlgorithm::Sha256 | DigestAlgorithm::Sha512_256 => 64,
            DigestAlgorithm::Md5 => 32,
        }
    }

    /// Hashes octets into lower-case hexadecimal of [`DigestAlgorithm::hash_chars`].
    #[must_use]
    pub fn hash(self, octets: &[u8]) -> String {
        match self {
            DigestAlgorithm::Sha256 => hex(&Sha256::digest(octets)),
            DigestAlgorithm::Sha512_256 => hex(&Sha512_256::digest(octets)),
            DigestAlgorithm::Md5 => hex(&Md5::digest(octets)),
        }
    }
}

/// The encoding under which a non-ASCII password was hashed; phones differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PasswordCharset {
    /// UTF-8 (RFC 7616 section 4).
    Utf8,
    /// ISO 8859-1.
    Latin1,
}

/// One `H(username:realm:password)` of an endpoint; equal to the password for its realm and algorithm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ha1 {
    /// The hash function.
    pub algorithm: DigestAlgorithm,
    /// How the password was encoded.
    pub charset: PasswordCharset,
    /// Lower-case hexadecimal text of the hash: 32 or 64 characters.
    pub value: Secret,
}

/// Hashes `username:realm:password` for each algorithm, and for a non-ASCII password also over ISO 8859-1.
///
/// The password must have passed the endpoint password rule: all characters are at most U+00FF.
#[must_use]
pub fn ha1_values(
    username: &str,
    realm: &str,
    password: &str,
    algorithms: &[DigestAlgorithm],
) -> Vec<Ha1> {
    let mut values = Vec::new();
    for &algorithm in algorithms {
        values.push(ha1(
            username,
            realm,
            password.as_bytes(),
            algorithm,
            PasswordCharset::Utf8,
        ));
        if !password.is_ascii() {
            let latin1: Vec<u8> = password
                .chars()
                .map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?'))
                .collect();
            values.push(ha1(
                username,
                realm,
                &latin1,
                algorithm,
                PasswordCharset::Latin1,
            ));
        }
    }
    values
}

fn ha1(
    username: &str,
    realm: &str,
    password: &[u8],
    algorithm: DigestAlgorithm,
    charset: PasswordCharset,
) -> Ha1 {
    let mut input = Vec::with_capacity(username.len() + realm.len() + password.len() + 2);
    input.extend_from_slice(username.as_bytes());
    input.push(b':');
    input.extend_from_slice(realm.as_bytes());
    input.push(b':');
    input.extend_from_slice(password);
    Ha1 {
        algorithm,
        charset,
        value: Secret::new(algorithm.hash(&input)),
    }
}

/// Feeds parts to a hash, each behind its length, so that no two lists of parts are the same octets.
pub(crate) fn framed(parts: &[&[u8]], mut feed: impl FnMut(&[u8])) {
    for part in parts {
        feed(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        feed(part);
    }
}

/// Writes bytes as lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn md5_of_rfc_2617_section_3_5() {
        let values = ha1_values(
            "Mufasa",
            "testrealm@host.com",
            "Circle Of Life",
            &[DigestAlgorithm::Md5],
        );
        assert_eq!(values.len(), 1);
        assert_eq!(values[0].value.expose(), "939e7578ed9e3c518a452acee763bce9");
    }

    #[test]
    fn a_non_ascii_password_is_hashed_twice() {
        let values = ha1_values("a", "b", "passwörd", &[DigestAlgorithm::Md5]);
        assert_eq!(values.len(), 2);
        assert_ne!(values[0].value, values[1].value);
    }
}

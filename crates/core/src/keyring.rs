//! The instance key and what is derived from it: MACs of cursors, encryption of secrets at rest, digest nonces.

use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};
use std::fmt;
use zeroize::Zeroizing;

/// A text that no log, error or answer may show.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// Returns the text; the name of this function is what a reviewer looks for.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        subtle::ConstantTimeEq::ct_eq(self.0.as_bytes(), other.0.as_bytes()).into()
    }
}

impl Eq for Secret {}

/// Which use a derived key has; keys of different uses never meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyUse {
    /// MACs of event and page cursors.
    Cursor,
    /// MACs of idempotent inputs.
    Idempotency,
    /// Digest nonces of the SIP edge.
    Nonce,
}

/// A key for one use.
type UseKey = Zeroizing<[u8; 32]>;

/// What the instance key, 32 random bytes from the key file, is used as. Derived once: cursors are made for every row.
#[derive(Clone)]
pub struct Keyring {
    id: [u8; 4],
    cursor: UseKey,
    idempotency: UseKey,
    nonce: UseKey,
    seal: UseKey,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({})", self.id_text())
    }
}

/// A sealed value could not be opened: another key, or it was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenError;

impl Keyring {
    /// Makes the keyring of an instance key.
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        let digest = Sha256::new()
            .chain_update(b"sipgraph key id")
            .chain_update(key)
            .finalize();
        let mut id = [0; 4];
        id.copy_from_slice(&digest[..4]);
        let key = Zeroizing::new(key);
        let derive = |label: &[u8]| -> UseKey {
            let mut mac = hmac_of(&key);
            mac.update(label);
            Zeroizing::new(mac.finalize().into_bytes().into())
        };
        Self {
            id,
            cursor: derive(b"cursor"),
            idempotency: derive(b"idempotency"),
            nonce: derive(b"nonce"),
            seal: derive(b"seal"),
        }
    }

    /// Returns the key's id as stored beside what it sealed: eight hexadecimal digits, not secret.
    #[must_use]
    pub fn id_text(&self) -> String {
        crate::digest::hex(&self.id)
    }

    /// Returns HMAC-SHA-256 of the parts, each preceded by its length, under the key of one use.
    #[must_use]
    pub fn mac(&self, usage: KeyUse, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = hmac_of(match usage {
            KeyUse::Cursor => &self.cursor,
            KeyUse::Idempotency => &self.idempotency,
            KeyUse::Nonce => &self.nonce,
        });
        for part in parts {
            mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// Encrypts a value with XChaCha20-Poly1305. Shape of the result: the 24 bytes of `nonce`, then the ciphertext.
    ///
    /// `bound_to` is authenticated with it, so that a value can't be moved to another row.
    #[must_use]
    pub fn seal(&self, nonce: [u8; 24], value: &[u8], bound_to: &[u8]) -> Vec<u8> {
        let cipher = XChaCha20Poly1305::new((&*self.seal).into());
        let mut sealed = nonce.to_vec();
        let payload = Payload {
            msg: value,
            aad: bound_to,
        };
        // Encryption fails only for a value of more than 256 GiB, which no row holds.
        sealed.extend(
            cipher
                .encrypt(&XNonce::from(nonce), payload)
                .unwrap_or_default(),
        );
        sealed
    }

    /// Decrypts what [`Keyring::seal`] made.
    ///
    /// # Errors
    /// [`OpenError`] when the key or `bound_to` is another, or the value was changed.
    pub fn open(&self, sealed: &[u8], bound_to: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let (nonce, msg) = sealed.split_first_chunk::<24>().ok_or(OpenError)?;
        let cipher = XChaCha20Poly1305::new((&*self.seal).into());
        cipher
            .decrypt(&XNonce::from(*nonce), Payload { msg, aad: bound_to })
            .map(Zeroizing::new)
            .map_err(|_| OpenError)
    }
}

fn hmac_of(key: &[u8; 32]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_only_in_its_place_and_with_its_key() {
        let keys = Keyring::new([1; 32]);
        let sealed = keys.seal([9; 24], b"secret", b"row 1");
        assert_eq!(&**keys.open(&sealed, b"row 1").unwrap(), b"secret");
        assert_eq!(keys.open(&sealed, b"row 2"), Err(OpenError));
        assert_eq!(
            Keyring::new([2; 32]).open(&sealed, b"row 1"),
            Err(OpenError)
        );
    }

    #[test]
    fn a_mac_depends_on_where_its_parts_end() {
        let keys = Keyring::new([1; 32]);
        assert_ne!(
            keys.mac(KeyUse::Cursor, &[b"ab", b"c"]),
            keys.mac(KeyUse::Cursor, &[b"a", b"bc"])
        );
    }
}

//! The instance keys and what is derived from them: MACs of cursors, encryption of secrets at rest, digest nonces.
//!
//! It must not know where keys are kept, nor how far a rotation is; [`crate::rotation`] decides that.

use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
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

/// Which instance key it is: the beginning of a digest of it, not secret. Written as eight hexadecimal digits beside what the key
/// sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId(u32);

impl KeyId {
    /// Reads what its `Display` writes; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_id = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = is_id.then(|| u32::from_str_radix(text, 16).ok());
        number.flatten().map(Self)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// A key for one use.
type UseKey = Zeroizing<[u8; 32]>;

/// What an instance key, 32 random bytes from the key file, is used as. Derived once: cursors are made for every row.
struct InstanceKey {
    id: KeyId,
    cursor: UseKey,
    idempotency: UseKey,
    nonce: UseKey,
    seal: UseKey,
}

impl InstanceKey {
    fn new(key: [u8; 32]) -> Self {
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
            id: KeyId(u32::from_be_bytes(id)),
            cursor: derive(b"cursor"),
            idempotency: derive(b"idempotency"),
            nonce: derive(b"nonce"),
            seal: derive(b"seal"),
        }
    }

    fn mac(&self, usage: KeyUse, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = hmac_of(match usage {
            KeyUse::Cursor => &self.cursor,
            KeyUse::Idempotency => &self.idempotency,
            KeyUse::Nonce => &self.nonce,
        });
        crate::digest::framed(parts, |octets| mac.update(octets));
        mac.finalize().into_bytes().into()
    }
}

/// Returns the id of an instance key.
#[must_use]
pub fn key_id(key: [u8; 32]) -> KeyId {
    InstanceKey::new(key).id
}

/// Where the instance keys come from. A keyring looks there again for one that it lacks, because a rotation may have begun since.
pub trait KeySource: Send + Sync {
    /// Gives the keys as they are now, the newest first; none when they can't be read.
    fn keys(&self) -> Vec<[u8; 32]>;
}

/// The keys at one time.
struct Keys {
    /// The newest first: one, and while it is rotated two.
    all: Vec<Arc<InstanceKey>>,
    /// The place of the one that MACs are made with.
    used: usize,
}

impl Keys {
    fn used(&self) -> &Arc<InstanceKey> {
        &self.all[self.used]
    }

    fn get(&self, id: KeyId) -> Option<&Arc<InstanceKey>> {
        self.all.iter().find(|key| key.id == id)
    }

    /// All but the one that MACs are made with.
    fn others(&self) -> impl Iterator<Item = &Arc<InstanceKey>> {
        let used = self.used;
        let all = self.all.iter().enumerate();
        all.filter(move |(place, _)| *place != used)
            .map(|(_, key)| key)
    }
}

struct Shared {
    keys: RwLock<Arc<Keys>>,
    /// Held while the keys are changed.
    source: Mutex<Option<Box<dyn KeySource>>>,
}

/// The instance keys. Clones share them.
///
/// The store tells which of them is in use ([`Keyring::sealer`], [`Keyring::follow`]): that one seals and makes MACs. Any of them
/// opens what it sealed and proves its MACs, so that nothing that was given out is lost while the key is rotated.
#[derive(Clone)]
pub struct Keyring(Arc<Shared>);

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keyring").field(&self.ids()).finish()
    }
}

/// A sealed value could not be opened: its key is not here, or it was changed or moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenError;

impl Keyring {
    /// Makes the keyring of one key that stays the only one.
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        Self::of(key, &[], None)
    }

    /// Makes a keyring that has other keys besides the newest, and where more are looked for. Until the store says otherwise, the
    /// newest is in use.
    #[must_use]
    pub fn of(newest: [u8; 32], older: &[[u8; 32]], source: Option<Box<dyn KeySource>>) -> Self {
        let all = std::iter::once(&newest).chain(older);
        let keys = Keys {
            all: all.map(|key| Arc::new(InstanceKey::new(*key))).collect(),
            used: 0,
        };
        Self(Arc::new(Shared {
            keys: RwLock::new(Arc::new(keys)),
            source: Mutex::new(source),
        }))
    }

    fn keys(&self) -> Arc<Keys> {
        let keys = self.0.keys.read();
        Arc::clone(&keys.unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts keys in place of those that are here. In use is the one given, or else what was, or else the newest.
    fn put(&self, all: Vec<Arc<InstanceKey>>, used: Option<KeyId>) {
        let was = self.keys().used().id;
        let place = |id: KeyId| all.iter().position(|key| key.id == id);
        let used = used.and_then(place).or_else(|| place(was)).unwrap_or(0);
        let keys = self.0.keys.write();
        *keys.unwrap_or_else(PoisonError::into_inner) = Arc::new(Keys { all, used });
    }

    /// Finds a key, at the source if it is not here.
    fn find(&self, id: KeyId) -> Option<Arc<InstanceKey>> {
        if let Some(key) = self.keys().get(id) {
            return Some(Arc::clone(key));
        }
        let source = self.0.source.lock();
        let source = source.unwrap_or_else(PoisonError::into_inner);
        // Another may have brought it meanwhile.
        if self.keys().get(id).is_none() {
            let all = read(source.as_deref()?);
            if all.iter().any(|key| key.id == id) {
                self.put(all, None);
            }
        }
        self.keys().get(id).cloned()
    }

    /// Takes the keys as the source has them now, and uses the one given. Gives whether the source has it; if not, the keys that are
    /// here stay: a file that was taken away or replaced by mistake stops no running server.
    pub fn follow(&self, id: KeyId) -> bool {
        let source = self.0.source.lock();
        let source = source.unwrap_or_else(PoisonError::into_inner);
        let known = self.keys();
        let Some(source) = source.as_deref() else {
            self.put(known.all.clone(), Some(id));
            return known.get(id).is_some();
        };
        let all = read(source);
        let is_there = all.iter().any(|key| key.id == id);
        let all = if is_there { all } else { known.all.clone() };
        let ids = |keys: &[Arc<InstanceKey>]| keys.iter().map(|key| key.id).collect::<Vec<_>>();
        if ids(&all) != ids(&known.all) || known.used().id != id {
            self.put(all, Some(id));
        }
        is_there
    }

    /// Returns the ids of the keys that are here, the newest first.
    #[must_use]
    pub fn ids(&self) -> Vec<KeyId> {
        self.keys().all.iter().map(|key| key.id).collect()
    }

    /// Returns the id of the key in use.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.keys().used().id
    }

    /// Returns HMAC-SHA-256 of the parts, each preceded by its length, under the key in use for one use.
    #[must_use]
    pub fn mac(&self, usage: KeyUse, parts: &[&[u8]]) -> [u8; 32] {
        self.keys().used().mac(usage, parts)
    }

    /// Returns the MACs of the parts under the keys that are not in use; none unless the key is being rotated.
    #[must_use]
    pub fn other_macs(&self, usage: KeyUse, parts: &[&[u8]]) -> Vec<[u8; 32]> {
        let keys = self.keys();
        keys.others().map(|key| key.mac(usage, parts)).collect()
    }

    /// Returns whether `given` is the beginning of what [`Keyring::mac`] makes of the parts with any of the keys.
    #[must_use]
    pub fn verify(&self, usage: KeyUse, parts: &[&[u8]], given: &[u8]) -> bool {
        let keys = self.keys();
        std::iter::once(keys.used())
            .chain(keys.others())
            .any(|key| {
                let mac = key.mac(usage, parts);
                let begins = mac.get(..given.len()).filter(|known| !known.is_empty());
                begins.is_some_and(|known| subtle::ConstantTimeEq::ct_eq(known, given).into())
            })
    }

    /// Returns what seals with the key of an id, which the store gives as the one in use; from now on MACs are made with it. `None`
    /// when it is neither here nor at the source.
    #[must_use]
    pub fn sealer(&self, id: KeyId) -> Option<Sealer> {
        let keys = self.keys();
        if keys.used().id == id {
            return Some(Sealer(Arc::clone(keys.used())));
        }
        let key = self.find(id)?;
        let source = self.0.source.lock();
        let _changing = source.unwrap_or_else(PoisonError::into_inner);
        self.put(self.keys().all.clone(), Some(id));
        Some(Sealer(key))
    }

    /// Decrypts what [`Sealer::seal`] made with the key of this id.
    ///
    /// # Errors
    /// [`OpenError`] when the key is not here, `bound_to` is another, or the value was changed.
    pub fn open(
        &self,
        id: KeyId,
        sealed: &[u8],
        bound_to: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let (nonce, msg) = sealed.split_first_chunk::<24>().ok_or(OpenError)?;
        let key = self.find(id).ok_or(OpenError)?;
        let cipher = XChaCha20Poly1305::new((&*key.seal).into());
        cipher
            .decrypt(&XNonce::from(*nonce), Payload { msg, aad: bound_to })
            .map(Zeroizing::new)
            .map_err(|_| OpenError)
    }
}

fn read(source: &dyn KeySource) -> Vec<Arc<InstanceKey>> {
    let keys = source.keys().into_iter();
    keys.map(|key| Arc::new(InstanceKey::new(key))).collect()
}

/// The key that secrets are sealed with.
#[derive(Clone)]
pub struct Sealer(Arc<InstanceKey>);

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sealer").field(&self.0.id).finish()
    }
}

impl Sealer {
    /// Returns which key it is; stored beside what it seals.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.0.id
    }

    /// Encrypts a value with XChaCha20-Poly1305. Shape of the result: the 24 bytes of `nonce`, then the ciphertext.
    ///
    /// `bound_to` is authenticated with it, so that a value can't be moved to another row.
    #[must_use]
    pub fn seal(&self, nonce: [u8; 24], value: &[u8], bound_to: &[u8]) -> Vec<u8> {
        let cipher = XChaCha20Poly1305::new((&*self.0.seal).into());
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
}

fn hmac_of(key: &[u8; 32]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key file that changes.
    #[derive(Clone, Default)]
    struct File(Arc<Mutex<Vec<[u8; 32]>>>);

    impl File {
        fn put(&self, keys: &[[u8; 32]]) {
            *self.0.lock().unwrap() = keys.to_vec();
        }
    }

    impl KeySource for File {
        fn keys(&self) -> Vec<[u8; 32]> {
            self.0.lock().unwrap().clone()
        }
    }

    const OLD: [u8; 32] = [1; 32];
    const NEW: [u8; 32] = [2; 32];

    #[test]
    fn what_was_sealed_opens_only_in_its_place_and_with_its_key() {
        let keys = Keyring::new(OLD);
        let id = keys.id();
        let sealed = keys.sealer(id).unwrap().seal([9; 24], b"secret", b"row 1");
        assert_eq!(&**keys.open(id, &sealed, b"row 1").unwrap(), b"secret");
        assert_eq!(keys.open(id, &sealed, b"row 2"), Err(OpenError));
        let other = Keyring::new(NEW);
        assert_eq!(other.open(id, &sealed, b"row 1"), Err(OpenError));
        assert_eq!(other.open(other.id(), &sealed, b"row 1"), Err(OpenError));
        assert!(other.sealer(id).is_none());
        assert_eq!(keys.open(id, &sealed[..23], b"row 1"), Err(OpenError));
    }

    #[test]
    fn ids_are_read_back() {
        let id = key_id(OLD);
        assert_eq!(KeyId::parse(&id.to_string()), Some(id));
        assert_ne!(id, key_id(NEW));
        for wrong in ["", "1234567", "123456789", "+1234567", "1234567g"] {
            assert_eq!(KeyId::parse(wrong), None, "{wrong}");
        }
    }

    /// A server whose key file got a second key, before and after the store has turned to it.
    #[test]
    fn a_rotation_is_followed() {
        let file = File::default();
        file.put(&[OLD]);
        let keys = Keyring::of(OLD, &[], Some(Box::new(file.clone())));
        let shared = keys.clone();
        let (old, new) = (key_id(OLD), key_id(NEW));
        let made = |keys: &Keyring| keys.mac(KeyUse::Cursor, &[b"a"]);
        let is_known =
            |keys: &Keyring, mac: [u8; 32]| keys.verify(KeyUse::Cursor, &[b"a"], &mac[..8]);
        let by_old = made(&keys);
        assert!(!keys.follow(new), "nobody has the key");
        assert_eq!((keys.ids(), keys.id()), (vec![old], old));

        file.put(&[NEW, OLD]);
        assert!(keys.follow(old));
        assert_eq!((shared.ids(), shared.id()), (vec![new, old], old));
        assert_eq!(made(&shared), by_old, "others may not know the new key yet");
        let sealed = Keyring::new(NEW)
            .sealer(new)
            .unwrap()
            .seal([9; 24], b"secret", b"");
        assert!(keys.open(new, &sealed, b"").is_ok());
        assert_eq!(keys.id(), old);

        assert_eq!(keys.sealer(new).unwrap().id(), new);
        let by_new = made(&shared);
        assert_ne!(by_new, by_old);
        assert_eq!(shared.other_macs(KeyUse::Cursor, &[b"a"]), [by_old]);
        assert!(is_known(&shared, by_old) && is_known(&shared, by_new));

        // Taken away by mistake, then the old key alone.
        for wrong in [&[][..], &[[3; 32]]] {
            file.put(wrong);
            assert!(!keys.follow(new));
            assert_eq!(keys.ids(), [new, old]);
        }
        file.put(&[NEW]);
        assert!(keys.follow(new));
        assert!(!is_known(&shared, by_old) && is_known(&shared, by_new));
        assert_eq!(shared.other_macs(KeyUse::Cursor, &[b"a"]), [[0; 32]; 0]);
    }

    /// A server that was asked to open or seal before it has looked into its file.
    #[test]
    fn a_key_that_came_later_is_looked_for() {
        let file = File::default();
        file.put(&[OLD]);
        let keys = Keyring::of(OLD, &[], Some(Box::new(file.clone())));
        let (old, new) = (key_id(OLD), key_id(NEW));
        let sealed = Keyring::new(NEW)
            .sealer(new)
            .unwrap()
            .seal([9; 24], b"secret", b"");
        assert_eq!(keys.open(new, &sealed, b""), Err(OpenError));
        assert!(keys.sealer(new).is_none());
        file.put(&[NEW, OLD]);
        assert!(keys.open(new, &sealed, b"").is_ok());
        assert_eq!((keys.ids(), keys.id()), (vec![new, old], old));
        let late = Keyring::of(OLD, &[], Some(Box::new(file)));
        assert_eq!(late.sealer(new).unwrap().id(), new);
        assert_eq!(late.id(), new);
    }

    #[test]
    fn no_mac_is_too_short_or_too_long() {
        let keys = Keyring::new(OLD);
        let mac = keys.mac(KeyUse::Nonce, &[b"a"]);
        assert!(keys.verify(KeyUse::Nonce, &[b"a"], &mac));
        assert!(!keys.verify(KeyUse::Cursor, &[b"a"], &mac));
        assert!(!keys.verify(KeyUse::Nonce, &[b"a"], b""));
        let longer = [&mac[..], b"x"].concat();
        assert!(!keys.verify(KeyUse::Nonce, &[b"a"], &longer));
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

//! Event cursors: a place in one account's log that survives restarts and can't be forged.

use crate::account::LogHead;
use crate::keyring::{KeyUse, Keyring};
use crate::{AccountId, Error};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A place in an account's log: everything up to and with `seq` was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventCursor {
    /// The log's epoch when it was given out.
    pub epoch: u32,
    /// The number of the last event seen; 0 before the first.
    pub seq: i64,
    /// The random check of that event; 0 before the first.
    pub check: u32,
}

impl EventCursor {
    /// Returns the place at a log's end.
    #[must_use]
    pub fn at_head(head: &LogHead) -> Self {
        Self {
            epoch: head.epoch,
            seq: head.seq,
            check: head.check,
        }
    }

    /// Writes it as opaque text for clients of one account.
    #[must_use]
    pub fn encode(&self, keys: &Keyring, account: AccountId) -> String {
        let mut bytes = Vec::with_capacity(24);
        bytes.extend(self.epoch.to_be_bytes());
        bytes.extend(self.seq.to_be_bytes());
        bytes.extend(self.check.to_be_bytes());
        let mac = keys.mac(KeyUse::Cursor, &parts(&account, &bytes));
        bytes.extend(&mac[..8]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads what [`EventCursor::encode`] wrote for the same account.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] for a forged, cut or foreign one.
    pub fn decode(text: &str, keys: &Keyring, account: AccountId) -> Result<Self, Error> {
        let wrong = || Error::invalid("`after` is not an event cursor of this account.");
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| wrong())?;
        let bytes: [u8; 24] = bytes.try_into().map_err(|_| wrong())?;
        let (data, given) = bytes.split_at(16);
        if !keys.verify(KeyUse::Cursor, &parts(&account, data), given) {
            return Err(wrong());
        }
        let (epoch, rest) = data.split_at(4);
        let (seq, check) = rest.split_at(8);
        Ok(Self {
            epoch: u32::from_be_bytes(epoch.try_into().map_err(|_| wrong())?),
            seq: i64::from_be_bytes(seq.try_into().map_err(|_| wrong())?),
            check: u32::from_be_bytes(check.try_into().map_err(|_| wrong())?),
        })
    }
}

/// What the MAC of a cursor covers.
fn parts<'p>(account: &'p AccountId, data: &'p [u8]) -> [&'p [u8]; 3] {
    [b"event", &account.0, data]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_bound_to_its_account_and_key() {
        let keys = Keyring::new([1; 32]);
        let (ours, theirs) = (AccountId([1; 16]), AccountId([2; 16]));
        let cursor = EventCursor {
            epoch: 3,
            seq: 17,
            check: 99,
        };
        let text = cursor.encode(&keys, ours);
        assert_eq!(EventCursor::decode(&text, &keys, ours), Ok(cursor));
        assert!(EventCursor::decode(&text, &keys, theirs).is_err());
        assert!(EventCursor::decode(&text, &Keyring::new([2; 32]), ours).is_err());
        assert!(EventCursor::decode("", &keys, ours).is_err());
    }
}

//! Pages of lists: what is asked, what comes back, and positions that can't be forged.

use crate::keyring::{KeyUse, Keyring};
use crate::{AccountId, Error};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The most rows of one page.
pub const PAGE_MAX: i32 = 1000;
/// The rows of a page when the caller does not say.
pub const PAGE_DEFAULT: u32 = 50;

/// A place in a list: the value that orders it and, where two rows can share it, the row's id.
///
/// Endpoints, domains and tokens: creation time in microseconds and id. Messages of a chat: `seq`. Messages across
/// chats: `log_seq`. Chats: `activity_seq`. The tie is zero where the position alone is unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PageKey {
    /// The ordering value.
    pub position: i64,
    /// The tie-breaking id.
    pub tie: [u8; 16],
}

/// What a caller asks of a list; not yet checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageRequest {
    /// The first so many rows after `after`.
    pub first: Option<i32>,
    /// An opaque position.
    pub after: Option<String>,
    /// The last so many rows before `before`.
    pub last: Option<i32>,
    /// An opaque position.
    pub before: Option<String>,
}

/// Which rows of a list are wanted, in the list's own order (newest first).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    /// From the end rather than from the start.
    pub backward: bool,
    /// How many rows at most, 1 to [`PAGE_MAX`].
    pub limit: u32,
    /// Only rows after this place in the list.
    pub after: Option<PageKey>,
    /// Only rows before this place in the list.
    pub before: Option<PageKey>,
}

/// Rows of a list in its order, and whether there are more on either side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows, in the list's order.
    pub items: Vec<T>,
    /// Rows follow.
    pub has_next: bool,
    /// Rows precede.
    pub has_previous: bool,
}

impl<T> Page<T> {
    /// Changes each row.
    pub fn map<U>(self, change: impl FnMut(T) -> U) -> Page<U> {
        Page {
            items: self.items.into_iter().map(change).collect(),
            has_next: self.has_next,
            has_previous: self.has_previous,
        }
    }
}

/// Which list a position belongs to; part of the position, with the filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListKind {
    /// Endpoints, by creation.
    Endpoints,
    /// Domains, by creation.
    Domains,
    /// Tokens, by creation.
    Tokens,
    /// Messages of one chat.
    ChatMessages,
    /// Messages across chats.
    Messages,
    /// Chats, by activity.
    Chats,
}

/// Makes and reads the opaque positions of one list of one account under one filter.
#[derive(Debug, Clone)]
pub struct PageCursors<'k> {
    keys: &'k Keyring,
    account: AccountId,
    kind: ListKind,
    filter: String,
}

impl<'k> PageCursors<'k> {
    /// Prepares for a list; `filter` is any text that is the same for the same filter (its `Debug` form).
    #[must_use]
    pub fn new(keys: &'k Keyring, account: AccountId, kind: ListKind, filter: String) -> Self {
        Self {
            keys,
            account,
            kind,
            filter,
        }
    }

    /// Writes a position as opaque text.
    #[must_use]
    pub fn encode(&self, key: PageKey) -> String {
        let mut bytes = Vec::with_capacity(32);
        bytes.extend(key.position.to_be_bytes());
        bytes.extend(key.tie);
        bytes.extend(&self.mac(&bytes)[..8]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Checks a request and reads its positions.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] for `first` or `last` out of 1..=1000, for both, or for a position that is forged
    /// or belongs to another list, filter or account.
    pub fn slice(&self, request: &PageRequest) -> Result<Slice, Error> {
        let (backward, limit) = match (request.first, request.last) {
            (Some(_), Some(_)) => {
                return Err(Error::invalid("Give `first` or `last`, not both."));
            }
            (None, None) => (false, PAGE_DEFAULT),
            (Some(n), None) => (false, in_range("first", n)?),
            (None, Some(n)) => (true, in_range("last", n)?),
        };
        Ok(Slice {
            backward,
            limit,
            after: request
                .after
                .as_deref()
                .map(|c| self.decode("after", c))
                .transpose()?,
            before: request
                .before
                .as_deref()
                .map(|c| self.decode("before", c))
                .transpose()?,
        })
    }

    fn decode(&self, argument: &str, text: &str) -> Result<PageKey, Error> {
        let wrong = || {
            Error::invalid(format!(
                "`{argument}` is not a cursor of this list with this filter."
            ))
        };
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| wrong())?;
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| wrong())?;
        let (data, mac) = bytes.split_at(24);
        if !bool::from(subtle::ConstantTimeEq::ct_eq(mac, &self.mac(data)[..8])) {
            return Err(wrong());
        }
        let (position, tie) = data.split_at(8);
        Ok(PageKey {
            position: i64::from_be_bytes(position.try_into().map_err(|_| wrong())?),
            tie: tie.try_into().map_err(|_| wrong())?,
        })
    }

    fn mac(&self, data: &[u8]) -> [u8; 32] {
        let kind: &[u8] = match self.kind {
            ListKind::Endpoints => b"endpoints",
            ListKind::Domains => b"domains",
            ListKind::Tokens => b"tokens",
            ListKind::ChatMessages => b"chat messages",
            ListKind::Messages => b"messages",
            ListKind::Chats => b"chats",
        };
        self.keys.mac(
            KeyUse::Cursor,
            &[kind, &self.account.0, self.filter.as_bytes(), data],
        )
    }
}

fn in_range(argument: &str, n: i32) -> Result<u32, Error> {
    u32::try_from(n)
        .ok()
        .filter(|n| (1..=PAGE_MAX.unsigned_abs()).contains(n))
        .ok_or_else(|| Error::invalid(format!("`{argument}` must be 1 to {PAGE_MAX}, not {n}.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursors(keys: &Keyring, filter: &str) -> PageCursors<'static> {
        let keys: &'static Keyring = Box::leak(Box::new(keys.clone()));
        PageCursors::new(keys, AccountId([1; 16]), ListKind::Endpoints, filter.into())
    }

    #[test]
    fn a_position_is_read_back_only_by_its_own_list() {
        let keys = Keyring::new([7; 32]);
        let key = PageKey {
            position: -5,
            tie: [3; 16],
        };
        let text = cursors(&keys, "a").encode(key);
        let request = PageRequest {
            after: Some(text.clone()),
            ..PageRequest::default()
        };
        assert_eq!(
            cursors(&keys, "a").slice(&request).unwrap().after,
            Some(key)
        );
        assert!(cursors(&keys, "b").slice(&request).is_err());
        let cut = PageRequest {
            after: Some(text[1..].into()),
            ..PageRequest::default()
        };
        assert!(cursors(&keys, "a").slice(&cut).is_err());
    }

    #[test]
    fn a085_page_sizes() {
        let keys = Keyring::new([7; 32]);
        let ask = |first| {
            cursors(&keys, "").slice(&PageRequest {
                first,
                ..PageRequest::default()
            })
        };
        assert_eq!(ask(None).unwrap().limit, 50);
        assert_eq!(ask(Some(1)).unwrap().limit, 1);
        assert_eq!(ask(Some(1000)).unwrap().limit, 1000);
        for wrong in [0, -1, 1001, i32::MIN] {
            assert!(ask(Some(wrong)).is_err(), "{wrong}");
        }
        let both = PageRequest {
            first: Some(1),
            last: Some(1),
            ..PageRequest::default()
        };
        assert!(cursors(&keys, "").slice(&both).is_err());
    }
}

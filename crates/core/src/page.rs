//! Pages of lists: what is asked, what comes back, and positions that can't be forged.

use crate::keyring::{KeyUse, Keyring};
use crate::{AccountId, Error};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// The most rows of one page.
pub const PAGE_MAX: i32 = 1000;
/// The rows of a page when the caller does not say.
pub const PAGE_DEFAULT: u32 = 50;

/// The bytes of a cursor's MAC: 64 bits, which nobody guesses by asking.
const MAC_BYTES: usize = 8;

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

/// A place in a list of endpoints by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NameKey {
    /// The name, which orders them byte by byte.
    pub name: String,
    /// The tie-breaking id.
    pub id: [u8; 16],
}

/// A place in a list that can be written into a cursor.
pub trait Position: Sized {
    /// Writes it.
    fn to_bytes(&self) -> Vec<u8>;

    /// Reads what [`Position::to_bytes`] wrote; `None` for anything else.
    fn from_bytes(bytes: &[u8]) -> Option<Self>;
}

impl Position for PageKey {
    fn to_bytes(&self) -> Vec<u8> {
        [&self.position.to_be_bytes()[..], &self.tie].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (position, tie) = bytes.split_at_checked(8)?;
        Some(Self {
            position: i64::from_be_bytes(position.try_into().ok()?),
            tie: tie.try_into().ok()?,
        })
    }
}

impl Position for NameKey {
    fn to_bytes(&self) -> Vec<u8> {
        [&self.id, self.name.as_bytes()].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (id, name) = bytes.split_at_checked(16)?;
        Some(Self {
            name: String::from_utf8(name.to_vec()).ok()?,
            id: id.try_into().ok()?,
        })
    }
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
    /// Whether the list runs the other way round: what is first there is last here.
    pub reversed: bool,
}

/// Which rows of a list are wanted, in the list's own order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice<K = PageKey> {
    /// From the end rather than from the start.
    pub backward: bool,
    /// How many rows at most, 1 to [`PAGE_MAX`].
    pub limit: u32,
    /// Only rows after this place in the list.
    pub after: Option<K>,
    /// Only rows before this place in the list.
    pub before: Option<K>,
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
    /// Endpoints, by name.
    EndpointNames,
    /// Applications, by creation.
    Applications,
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
    /// Failed registrations, by their last time.
    RegistrationFailures,
}

/// Makes and reads the opaque positions of one list of one account under one filter.
#[derive(Debug, Clone)]
pub struct PageCursors {
    keys: Keyring,
    account: AccountId,
    kind: ListKind,
    /// A digest: each row of a page has a cursor, and the filter's text is long.
    filter: [u8; 32],
}

impl PageCursors {
    /// Prepares for a list; `filter` is any text that is the same for the same filter (its `Debug` form).
    #[must_use]
    pub fn new(keys: &Keyring, account: AccountId, kind: ListKind, filter: String) -> Self {
        Self {
            keys: keys.clone(),
            account,
            kind,
            filter: Sha256::digest(filter).into(),
        }
    }

    /// Gives each row of a page its cursor; the page is in the list's own order and comes out in that of the request.
    #[must_use]
    pub fn page<T, K: Position>(
        self,
        request: &PageRequest,
        mut page: Page<T>,
        place: impl Fn(&T) -> K,
    ) -> Page<(RowCursor, T)> {
        let of = Arc::new(self);
        if request.reversed {
            page.items.reverse();
            (page.has_next, page.has_previous) = (page.has_previous, page.has_next);
        }
        page.map(|row| {
            let place = place(&row).to_bytes();
            let of = Arc::clone(&of);
            (RowCursor { of, place }, row)
        })
    }

    /// Returns the cursor of a position.
    #[must_use]
    pub fn cursor<K: Position>(self, key: &K) -> RowCursor {
        RowCursor {
            place: key.to_bytes(),
            of: Arc::new(self),
        }
    }

    /// Checks a request and reads its positions; the slice is in the list's own order.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] for `first` or `last` out of 1..=1000, for both, or for a position that is forged
    /// or belongs to another list, filter or account.
    pub fn slice<K: Position>(&self, request: &PageRequest) -> Result<Slice<K>, Error> {
        let (backward, limit) = match (request.first, request.last) {
            (Some(_), Some(_)) => {
                return Err(Error::invalid("Give `first` or `last`, not both."));
            }
            (None, None) => (false, PAGE_DEFAULT),
            (Some(n), None) => (false, in_range("first", n)?),
            (None, Some(n)) => (true, in_range("last", n)?),
        };
        let position = |argument, cursor: &Option<String>| {
            let cursor = cursor.as_deref();
            cursor.map(|c| self.decode(argument, c)).transpose()
        };
        let after = position("after", &request.after)?;
        let before = position("before", &request.before)?;
        Ok(if request.reversed {
            Slice {
                backward: !backward,
                limit,
                after: before,
                before: after,
            }
        } else {
            Slice {
                backward,
                limit,
                after,
                before,
            }
        })
    }

    fn decode<K: Position>(&self, argument: &str, text: &str) -> Result<K, Error> {
        let read = || {
            let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
            let (data, mac) = bytes.split_at_checked(bytes.len().checked_sub(MAC_BYTES)?)?;
            let is_ours = self.keys.verify(KeyUse::Cursor, &self.parts(data), mac);
            K::from_bytes(data).filter(|_| is_ours)
        };
        read().ok_or_else(|| {
            Error::invalid(format!(
                "`{argument}` is not a cursor of this list with this filter."
            ))
        })
    }

    /// What the MAC of a cursor covers.
    fn parts<'p>(&'p self, data: &'p [u8]) -> [&'p [u8]; 4] {
        let kind: &[u8] = match self.kind {
            ListKind::Endpoints => b"endpoints",
            ListKind::EndpointNames => b"endpoint names",
            ListKind::Applications => b"applications",
            ListKind::Domains => b"domains",
            ListKind::Tokens => b"tokens",
            ListKind::ChatMessages => b"chat messages",
            ListKind::Messages => b"messages",
            ListKind::Chats => b"chats",
            ListKind::RegistrationFailures => b"registration failures",
        };
        [kind, &self.account.0, &self.filter, data]
    }
}

/// The position of a row in its list. It becomes text, which takes a MAC, when somebody wants to see it.
#[derive(Debug, Clone)]
pub struct RowCursor {
    of: Arc<PageCursors>,
    place: Vec<u8>,
}

impl RowCursor {
    /// Writes it as opaque text.
    #[must_use]
    pub fn text(&self) -> String {
        let mac = self
            .of
            .keys
            .mac(KeyUse::Cursor, &self.of.parts(&self.place));
        URL_SAFE_NO_PAD.encode([&self.place[..], &mac[..MAC_BYTES]].concat())
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

    fn cursors(keys: &Keyring, filter: &str) -> PageCursors {
        PageCursors::new(keys, AccountId([1; 16]), ListKind::Endpoints, filter.into())
    }

    #[test]
    fn a_position_is_read_back_only_by_its_own_list() {
        let keys = Keyring::new([7; 32]);
        let key = PageKey {
            position: -5,
            tie: [3; 16],
        };
        let text = cursors(&keys, "a").cursor(&key).text();
        let request = PageRequest {
            after: Some(text.clone()),
            ..PageRequest::default()
        };
        assert_eq!(
            cursors(&keys, "a").slice(&request).unwrap().after,
            Some(key)
        );
        assert!(cursors(&keys, "b").slice::<PageKey>(&request).is_err());
        let cut = PageRequest {
            after: Some(text[1..].into()),
            ..PageRequest::default()
        };
        assert!(cursors(&keys, "a").slice::<PageKey>(&cut).is_err());
        let named = NameKey {
            name: "alice".into(),
            id: [4; 16],
        };
        let text = cursors(&keys, "a").cursor(&named).text();
        let request = PageRequest {
            before: Some(text),
            ..PageRequest::default()
        };
        assert_eq!(
            cursors(&keys, "a").slice(&request).unwrap().before,
            Some(named)
        );
        for none in ["", "AAAA", "!"] {
            let request = PageRequest {
                after: Some(none.into()),
                ..PageRequest::default()
            };
            assert!(
                cursors(&keys, "a").slice::<NameKey>(&request).is_err(),
                "{none}"
            );
        }
    }

    #[test]
    fn a085_page_sizes() {
        let keys = Keyring::new([7; 32]);
        let ask = |first| {
            cursors(&keys, "").slice::<PageKey>(&PageRequest {
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
        assert!(cursors(&keys, "").slice::<PageKey>(&both).is_err());
    }
}

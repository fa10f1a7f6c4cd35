//! JSON values that callers keep with an object and that mean nothing to us.
//!
//! Numbers stay text, so that what comes back is what was given. This module knows no JSON text: the front door and the
//! store convert.

use std::collections::BTreeMap;

/// A string-keyed map of JSON values.
pub type JsonObject = BTreeMap<String, Json>;

/// A JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as its JSON text.
    Number(String),
    /// A string.
    String(String),
    /// A list.
    List(Vec<Json>),
    /// A map.
    Object(JsonObject),
}

impl Json {
    /// Returns how many bytes the value takes as text, about, and how deep it nests: 0 for what is no list and no map.
    #[must_use]
    pub fn extent(&self) -> Extent {
        match self {
            Json::Null | Json::Bool(_) => Extent { bytes: 5, depth: 0 },
            Json::Number(text) | Json::String(text) => Extent {
                bytes: text.len() + 2,
                depth: 0,
            },
            Json::List(items) => Extent::around(items.iter().map(Json::extent)),
            Json::Object(map) => extent(map),
        }
    }
}

/// The size of a JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extent {
    /// Bytes as text, about.
    pub bytes: usize,
    /// How many lists and maps are inside each other.
    pub depth: usize,
}

impl Extent {
    fn around(items: impl Iterator<Item = Extent>) -> Self {
        let mut whole = Self { bytes: 2, depth: 0 };
        for item in items {
            whole.bytes += item.bytes + 1;
            whole.depth = whole.depth.max(item.depth);
        }
        whole.depth += 1;
        whole
    }
}

/// Returns the size of a map.
#[must_use]
pub fn extent(map: &JsonObject) -> Extent {
    Extent::around(map.iter().map(|(key, value)| {
        let Extent { bytes, depth } = value.extent();
        Extent {
            bytes: bytes + key.len() + 3,
            depth,
        }
    }))
}

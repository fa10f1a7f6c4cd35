//! Keyset pages: lists run newest first, a page is read forward or backward, and one row more than asked tells whether there are more.

use sipgraph_core::page::{Page, PageKey, Slice};

/// How many rows to read for a slice: one more than it holds.
pub(crate) fn rows_to_read<K>(slice: &Slice<K>) -> i64 {
    i64::from(slice.limit) + 1
}

/// Makes a page of the rows read for a slice; they come in reading order, at most one more than the limit.
pub(crate) fn page<T, K>(slice: &Slice<K>, mut items: Vec<T>) -> Page<T> {
    let limit = usize::try_from(slice.limit).unwrap_or(usize::MAX);
    let more = items.len() > limit;
    items.truncate(limit);
    if slice.backward {
        items.reverse();
        Page {
            items,
            has_next: slice.before.is_some(),
            has_previous: more,
        }
    } else {
        Page {
            items,
            has_next: more,
            has_previous: slice.after.is_some(),
        }
    }
}

/// The rows of a page out of several lists that each have the page's order: no list is read further than the page may reach.
pub(crate) struct Merged<T> {
    slice: Slice,
    rows: Vec<T>,
}

impl<T> Merged<T> {
    /// Begins with no list read.
    pub(crate) fn new(slice: &Slice) -> Self {
        Self {
            slice: *slice,
            rows: Vec::new(),
        }
    }

    /// Which rows of the next list may still be on the page.
    pub(crate) fn slice(&self) -> &Slice {
        &self.slice
    }

    /// Adds the rows of a list, which were read for [`Self::slice`].
    pub(crate) fn add(&mut self, rows: Vec<T>, position: impl Fn(&T) -> i64) {
        self.rows.extend(rows);
        let backward = self.slice.backward;
        self.rows.sort_by_key(|row| {
            let place = position(row);
            if backward { place } else { -place }
        });
        let wanted = usize::try_from(rows_to_read(&self.slice)).unwrap_or(usize::MAX);
        self.rows.truncate(wanted);
        if self.rows.len() == wanted {
            let edge = self.rows.last().map(|row| PageKey {
                position: position(row),
                tie: [0; 16],
            });
            if backward {
                self.slice.after = edge;
            } else {
                self.slice.before = edge;
            }
        }
    }

    /// The rows, in reading order.
    pub(crate) fn into_rows(self) -> Vec<T> {
        self.rows
    }
}

/// Restricts and orders a boxed query by one unique number, newest first.
macro_rules! by_position {
    ($query:expr, $column:expr, $slice:expr) => {{
        let mut query = $query;
        if let Some(key) = $slice.after {
            query = query.filter($column.lt(key.position));
        }
        if let Some(key) = $slice.before {
            query = query.filter($column.gt(key.position));
        }
        if $slice.backward {
            query.order($column.asc())
        } else {
            query.order($column.desc())
        }
    }};
}
pub(crate) use by_position;

/// Restricts and orders a boxed query by creation time, then id, newest first.
///
/// The first comparison alone lets an index be entered; the second decides between rows of the same microsecond.
macro_rules! by_creation {
    ($query:expr, $at:expr, $id:expr, $slice:expr) => {{
        let mut query = $query;
        if let Some(key) = $slice.after {
            let (at, id) = (
                $crate::types::Time(key.position),
                $crate::types::Id(key.tie),
            );
            query = query.filter($at.le(at)).filter($at.lt(at).or($id.lt(id)));
        }
        if let Some(key) = $slice.before {
            let (at, id) = (
                $crate::types::Time(key.position),
                $crate::types::Id(key.tie),
            );
            query = query.filter($at.ge(at)).filter($at.gt(at).or($id.gt(id)));
        }
        if $slice.backward {
            query.order(($at.asc(), $id.asc()))
        } else {
            query.order(($at.desc(), $id.desc()))
        }
    }};
}
pub(crate) use by_creation;

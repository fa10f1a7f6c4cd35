//! Searching endpoints for a part of a text: what an index of trigrams can help with, and in which order SQLite's has them.
//! And searching messages for words: how SQLite's index is told them.
//!
//! SQLite's full-text index gives its rows in the order of their numbers. The number of an endpoint is its creation time in
//! microseconds with 11 bits below it for endpoints of the same microsecond, so that the newest of any text are found without
//! a look at the others' rows. For a common text that still costs far more than a look at the newest endpoints, which comes
//! once the index has told that more than a few have the text. Postgres's planner chooses between its trigram index and the newest first by how common a
//! text is. This module knows no connection.

use sipgraph_core::{digest::hex, ports::store::EndpointFilter};

use crate::{sql::Condition, types::Id};

/// How many bits stand below the microsecond in SQLite's numbers; the migration has the same. They hold until 2112.
const SLOT_BITS: u32 = 11;
/// The fewest letters and digits in a row with which a trigram index helps.
const TRIGRAM: usize = 3;
/// How many of the newest endpoints are looked at for a text that no index helps with, in two steps: mostly the first is
/// enough, and both together take milliseconds.
pub(crate) const SCANS: [i64; 2] = [1_000, 20_000];
/// The most candidates that are all read at once, before any other endpoint is looked at.
pub(crate) const FEW: usize = 48;
/// How many of the newest endpoints are looked at for a text of which SQLite's index has more: a third of them fills a page.
pub(crate) const FIRST_LOOK: i64 = 160;

/// What a database has to find a part of a text by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextIndex {
    /// Nothing: Postgres without the extension `pg_trgm`.
    Missing,
    /// One that the planner chooses when it is the cheaper way: Postgres.
    Planned,
    /// One that is asked by statements of its own: SQLite.
    Asked,
}

/// How a list of endpoints is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plan {
    /// By one statement: nothing is searched for, or the database plans the search.
    One,
    /// From a full-text index where few have the text; else from the newest, and where these do not fill the page, from all
    /// candidates of the index.
    Candidates,
    /// From the newest, up to a number of rows.
    Scan,
}

impl Plan {
    /// Chooses. A list of given endpoints is short, whatever is searched for in it.
    pub(crate) fn of(filter: &EndpointFilter, index: TextIndex) -> Self {
        let is_searched = filter.searched().next().is_some();
        if !is_searched || filter.ids.is_some() || filter.visible.is_some() {
            return Self::One;
        }
        let is_indexed = filter.searched().any(|text| is_indexed(text));
        match (index, is_indexed) {
            (TextIndex::Planned, true) => Self::One,
            (TextIndex::Asked, true) => Self::Candidates,
            (TextIndex::Missing, _) | (_, false) => Self::Scan,
        }
    }
}

/// A step of a search in SQLite's full-text index.
pub(crate) struct Search<'s> {
    pub(crate) account: Id,
    /// What the index is asked for.
    pub(crate) terms: &'s str,
    /// The smallest place.
    pub(crate) from: i64,
    /// The largest place.
    pub(crate) to: i64,
    /// From the oldest rather than from the newest.
    pub(crate) backward: bool,
    pub(crate) limit: i64,
}

/// The candidates of a full-text index for a text, where they are few.
pub(crate) enum Few {
    /// No endpoint has the text.
    None,
    /// Those that have it meet this condition.
    These(Condition),
    /// They are more.
    More,
}

/// A look for messages in SQLite's full-text index.
pub(crate) struct MessageSearch<'s> {
    pub(crate) account: Id,
    /// The chat whose numbers the positions are; those of the log without one.
    pub(crate) chat: Option<Id>,
    /// What the index is asked for.
    pub(crate) terms: &'s str,
    /// Only before this position.
    pub(crate) older_than: Option<i64>,
    /// Only after this position.
    pub(crate) newer_than: Option<i64>,
    /// From the oldest rather than from the newest.
    pub(crate) backward: bool,
    pub(crate) limit: i64,
}

/// Whether a trigram index of either database helps to find a text: Postgres's takes letters and digits alone.
pub(crate) fn is_indexed(text: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric())
        .any(|run| run.len() >= TRIGRAM)
}

/// Returns what SQLite's index is asked for to find a text in a column.
pub(crate) fn term(column: &str, text: &str) -> String {
    format!("{column} : \"{}\"", text.replace('"', "\"\""))
}

/// Returns the pattern of LIKE that finds a text literally, with `\` as its escape. Small ASCII letters stand for both cases.
pub(crate) fn pattern(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c.to_ascii_lowercase());
    }
    pattern.push('%');
    pattern
}

/// Returns the word that stands for an account in the index of messages: no message has it, because of its length.
pub(crate) fn account_word(account: Id) -> String {
    let digits = hex(&account.0);
    format!("account{digits}{digits}")
}

/// Returns a word in the letters and digits of ASCII, which SQLite's index takes for one word, whatever it knows of
/// Unicode. The beginning of a word becomes the beginning of what the word becomes.
pub(crate) fn ascii_word(word: &str) -> String {
    let mut ascii = String::with_capacity(word.len());
    for c in word.chars() {
        if c.is_ascii_alphanumeric() {
            ascii.push(c);
        } else {
            ascii.push_str(&format!("_{:x}_", u32::from(c)));
        }
    }
    ascii
}

/// Returns the creation time of a place.
pub(crate) fn time_of(place: i64) -> i64 {
    place >> SLOT_BITS
}

/// Returns the first and last place of a creation time.
pub(crate) fn places_of(time: i64) -> (i64, i64) {
    let first = time << SLOT_BITS;
    (first, first | ((1 << SLOT_BITS) - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_literally() {
        assert_eq!(pattern("a_B%\\É"), "%a\\_b\\%\\\\É%");
        assert_eq!(term("name", "a\"b"), "name : \"a\"\"b\"");
    }

    #[test]
    fn three_letters_or_digits_in_a_row_are_indexed() {
        for (text, indexed) in [
            ("abc", true),
            ("a-b_c", false),
            ("-x12", true),
            ("ab", false),
            ("äöü", false),
        ] {
            assert_eq!(is_indexed(text), indexed, "{text}");
        }
    }

    #[test]
    fn words_become_ascii_and_keep_their_beginnings() {
        assert_eq!(ascii_word("abc1"), "abc1");
        let whole = ascii_word("привет");
        assert!(
            whole.is_ascii() && whole.starts_with(&ascii_word("при")),
            "{whole}"
        );
    }

    #[test]
    fn places_keep_the_order_of_time() {
        let (first, last) = places_of(1_763_726_400_000_001);
        assert_eq!(
            (time_of(first), time_of(last)),
            (1_763_726_400_000_001, 1_763_726_400_000_001)
        );
        assert_eq!(places_of(1_763_726_400_000_002).0, last + 1);
    }
}

//! The words of a text, as they are indexed and searched for: the same on every database, whatever it takes for a word.
//!
//! It knows no index. Letters are decomposed (Unicode NFKD) and lose their marks and their case; a word is a run of letters
//! and digits. Scripts that are written without spaces are cut into single characters, so that each part of a sentence is
//! found.

use crate::{AccountId, Error, MessageId, Timestamp};
use std::collections::BTreeSet;
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// The most characters of a word that count; longer ones are base64 and the like.
const WORD_CHARS_MAX: usize = 64;
/// The most words of one search: more than people type, and each one costs a look into the index.
const SEARCHED_MAX: usize = 32;

/// Words to index or to search for, without marks and case. Each is letters and digits alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words(Vec<String>);

impl Words {
    /// Returns the words of a text to index, each once, in no order of the text.
    #[must_use]
    pub fn to_index(text: &str) -> Self {
        let each: BTreeSet<String> = words(text).into_iter().collect();
        Self(each.into_iter().collect())
    }

    /// Returns what a person searches for: all of these words, the last of them as the beginning of a word. `None` when the
    /// text has no word. They may be more than a search can have.
    #[must_use]
    pub fn to_find(text: &str) -> Option<Self> {
        let mut words = words(text);
        let last = words.pop()?;
        let mut seen = BTreeSet::new();
        words.retain(|word| seen.insert(word.clone()));
        words.push(last);
        Some(Self(words))
    }

    /// Checks that these are not more than a search can have.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] for more than 32.
    pub fn check_search(&self) -> Result<(), Error> {
        if self.0.len() > SEARCHED_MAX {
            let why = format!("Search for at most {SEARCHED_MAX} different words in `text`.");
            return Err(Error::invalid(why));
        }
        Ok(())
    }

    /// The words. Of a search the last one is the beginning of a word.
    #[must_use]
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

/// Messages whose texts are in no index yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unindexed {
    /// Their account.
    pub account: AccountId,
    /// Their ids and texts.
    pub texts: Vec<(MessageId, String)>,
    /// When the oldest of them was stored; `None` without any.
    pub oldest: Option<Timestamp>,
    /// The number in the account's log up to which all is indexed with them.
    pub up_to: i64,
}

fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut chars = 0;
    for c in text.nfkd().filter(|c| !is_combining_mark(*c)) {
        if !c.is_alphanumeric() {
            words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty()));
            chars = 0;
        } else if is_ideograph(c) {
            words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty()));
            words.push(c.to_string());
            chars = 0;
        } else if chars < WORD_CHARS_MAX {
            word.extend(c.to_lowercase().map(final_sigma));
            chars += 1;
        }
    }
    words.extend(Some(word).filter(|word| !word.is_empty()));
    words
}

/// The letter that ends Greek words is another one in lower case alone.
fn final_sigma(c: char) -> char {
    if c == 'ς' { 'σ' } else { c }
}

/// Whether a character is of a script without spaces: Hiragana, Katakana, and the ideographs of Unicode's blocks.
fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_lose_marks_and_case() {
        assert_eq!(
            words("Grüße an ÉLODIE, don't 42!"),
            ["gruße", "an", "elodie", "don", "t", "42"]
        );
        assert_eq!(words("ΟΔΟΣ οδος ﬁn Ⅳ"), ["οδοσ", "οδοσ", "fin", "iv"]);
        assert_eq!(words("Привет"), words("привет"));
        assert_eq!(words(" ,.- 👋 "), [""; 0]);
    }

    #[test]
    fn scripts_without_spaces_are_cut_into_characters() {
        assert_eq!(words("你好 worldです"), ["你", "好", "world", "て", "す"]);
    }

    #[test]
    fn a_search_without_a_word_is_none() {
        assert_eq!(Words::to_find("!?"), None);
        assert_eq!(Words::to_find("b a").unwrap().as_slice(), ["b", "a"]);
        assert_eq!(Words::to_index("b a b").as_slice(), ["a", "b"]);
    }

    #[test]
    fn words_and_searches_are_bounded() {
        assert_eq!(words(&"x".repeat(1000)), ["x".repeat(WORD_CHARS_MAX)]);
        let search = |words: usize| {
            let words: Vec<String> = (0..words).map(|n| n.to_string()).collect();
            Words::to_find(&words.join(" ")).unwrap().check_search()
        };
        assert_eq!(search(SEARCHED_MAX), Ok(()));
        search(SEARCHED_MAX + 1).unwrap_err();
        let same = Words::to_find(&"w ".repeat(1000)).unwrap();
        assert_eq!(same.as_slice(), ["w", "w"]);
    }
}

//! Small automata that read the front of a text without a branch for each kind of octet.
//!
//! Where an escape or a separator stands is chance to the processor. A loop that branches on it waits for a wrong guess at
//! almost every one, which takes longer than all the rest of a validation. Here the state is a number of bits by which the row of
//! the next octet is shifted: an octet costs a load and a shift, whatever it is.
//!
//! An automaton knows where a text stops being good, and in which state. It must not know which rule that breaks: functions
//! named `.._by_rule` read again what was refused, and say so.

use crate::chars::{CLASSES, HEX};

/// A state: the place of its field in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State(u64);

/// The bits of a field. Ten fields go into a row.
const FIELD: u64 = 6;
/// The bits of a shift.
const SHIFT: u64 = (1 << FIELD) - 1;

/// The bits of a row that are no part of a field: the octet has the first mark, or the second one.
const MARKS: [u64; 2] = [62, 63];

/// The state that is never left and never good.
const DEAD: State = State::new(0);
/// The state before the first octet.
pub(crate) const START: State = State::new(1);

impl State {
    /// The state with a number from 2 to 9.
    pub(crate) const fn new(number: u64) -> Self {
        assert!(number <= 9, "a row has ten fields");
        Self(number * FIELD)
    }
}

/// The rows of an automaton, one for each octet: in the field of a state stands the next state.
#[derive(Debug)]
pub(crate) struct Automaton([u64; 256]);

impl Automaton {
    /// The automaton that takes nothing.
    pub(crate) const NOTHING: Self = Self([DEAD.0; 256]);

    /// Adds: `octet` leads from one state to another.
    pub(crate) const fn octet(mut self, from: State, octet: u8, to: State) -> Self {
        #[expect(
            clippy::as_conversions,
            clippy::indexing_slicing,
            reason = "evaluated when the crate is built; From is not const, and u8 to usize is lossless"
        )]
        {
            let row = &mut self.0[octet as usize];
            // An escape may be added from more than one state: it sets what is set already.
            *row = *row & !(SHIFT << from.0) | to.0 << from.0;
        }
        self
    }

    /// Adds: each of `octets` leads from one state to another, whatever was said of it before.
    pub(crate) const fn octets(mut self, from: State, octets: &[u8], to: State) -> Self {
        let mut rest = octets;
        while let [first, after @ ..] = rest {
            self = self.octet(from, *first, to);
            rest = after;
        }
        self
    }

    /// Adds: an octet of `classes` leads from one state to another.
    pub(crate) const fn class(mut self, from: State, classes: u16, to: State) -> Self {
        let mut octet = 0;
        loop {
            #[expect(
                clippy::as_conversions,
                clippy::indexing_slicing,
                reason = "evaluated when the crate is built; From is not const, and u8 to usize is lossless"
            )]
            if CLASSES[octet as usize] & classes != 0 {
                self = self.octet(from, octet, to);
            }
            if octet == u8::MAX {
                return self;
            }
            octet += 1;
        }
    }

    /// Adds: an escape leads from one state to another, by a state behind the `%` and one behind the first digit.
    pub(crate) const fn escape(self, from: State, [percent, digit]: [State; 2], to: State) -> Self {
        self.octet(from, b'%', percent)
            .class(percent, HEX, digit)
            .class(digit, HEX, to)
    }

    /// Adds: where each of `octets` stands is told by the first or second of the marks of [`Automaton::front_and_marks`].
    pub(crate) const fn marked(mut self, mark: usize, octets: &[u8]) -> Self {
        let mut rest = octets;
        while let [first, after @ ..] = rest {
            #[expect(
                clippy::as_conversions,
                clippy::indexing_slicing,
                reason = "evaluated when the crate is built; From is not const, and u8 to usize is lossless"
            )]
            {
                self.0[*first as usize] |= 1 << MARKS[mark];
            }
            rest = after;
        }
        self
    }

    /// As [`Automaton::front`] of at most 64 octets, and for each of the two marks a bit for each octet that has it.
    #[inline]
    pub(crate) fn front_and_marks(&self, octets: &[u8]) -> (State, usize, [u64; 2]) {
        let mut state = START.0;
        let mut marks = [0; 2];
        let mut end = 0;
        for octet in octets.iter().take(64) {
            let row = self.row(*octet);
            let next = row >> state & SHIFT;
            if next == DEAD.0 {
                break;
            }
            state = next;
            for (mark, bit) in marks.iter_mut().zip(MARKS) {
                *mark |= (row >> bit & 1) << end;
            }
            end += 1;
        }
        (State(state), end, marks)
    }

    /// The state behind the octets at the front that lead on, and how many they are.
    #[inline]
    pub(crate) fn front(&self, octets: &[u8]) -> (State, usize) {
        let mut state = START.0;
        for (at, octet) in octets.iter().enumerate() {
            let next = self.row(*octet) >> state & SHIFT;
            if next == DEAD.0 {
                return (State(state), at);
            }
            state = next;
        }
        (State(state), octets.len())
    }

    #[inline]
    fn row(&self, octet: u8) -> u64 {
        #[expect(
            clippy::indexing_slicing,
            reason = "an octet is less than 256, the length of the table"
        )]
        let row = self.0[usize::from(octet)];
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chars::ALPHANUM;

    const WORD: State = State::new(2);
    const ESCAPE: [State; 2] = [State::new(3), State::new(9)];
    /// Words of letters, digits and escapes, each but the last with a `;` behind it.
    static WORDS: Automaton = Automaton::NOTHING
        .class(START, ALPHANUM, WORD)
        .octets(START, b"09", DEAD)
        .class(WORD, ALPHANUM, WORD)
        .escape(WORD, ESCAPE, WORD)
        .octet(WORD, b';', START)
        .marked(0, b";")
        .marked(1, b"b");

    #[test]
    fn the_front_ends_where_nothing_leads_on() {
        for (given, state, end) in [
            ("", START, 0),
            ("ab1", WORD, 3),
            ("a;", START, 2),
            ("a;;b", START, 2),
            ("a%", ESCAPE[0], 2),
            ("a%4", ESCAPE[1], 3),
            ("a%4g", ESCAPE[1], 3),
            ("a%4A", WORD, 4),
            ("%41", START, 0),
            ("0", START, 0),
            ("1a0", WORD, 3),
            ("caf\u{e9}", WORD, 3),
        ] {
            assert_eq!(WORDS.front(given.as_bytes()), (state, end), "{given}");
        }
    }

    #[test]
    fn marks_tell_where_an_octet_stands() {
        assert_eq!(
            WORDS.front_and_marks(b"a;bc;d e;"),
            (WORD, 6, [0b10010, 0b100])
        );
        let long = "a;".repeat(40);
        assert_eq!(
            WORDS.front_and_marks(long.as_bytes()),
            (START, 64, [0xaaaa_aaaa_aaaa_aaaa, 0])
        );
    }
}

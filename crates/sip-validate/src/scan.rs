//! White space, folding and quoted strings of header values (RFC 3261 section 25.1), read from the front.

use crate::chars::{self, ALPHANUM, TOKEN};
use crate::{Rule, Violation};

/// What is left of a value while it is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scan<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, rest: text }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn rest(&self) -> &'a str {
        self.rest
    }

    /// The violation of a rule here.
    pub(crate) fn wrong(&self, rule: Rule) -> Violation {
        Violation::at(rule, self.text, self.text.len() - self.rest.len())
    }

    fn advance(&mut self, octets: usize) -> &'a str {
        let (taken, rest) = self
            .rest
            .split_at_checked(octets)
            .unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    /// Takes an ASCII character, if it is next.
    pub(crate) fn eat(&mut self, octet: u8) -> bool {
        let is_next = self.rest.as_bytes().first() == Some(&octet);
        if is_next {
            self.advance(1);
        }
        is_next
    }

    /// Takes a decimal digit, if it is next, and returns its value.
    pub(crate) fn digit(&mut self) -> Option<u32> {
        let digit = self.rest.chars().next()?.to_digit(10)?;
        self.advance(1);
        Some(digit)
    }

    /// Takes a `token`, if it is next.
    pub(crate) fn token(&mut self) -> Option<&'a str> {
        let end = chars::first_outside(self.rest, ALPHANUM | TOKEN).unwrap_or(self.rest.len());
        (end > 0).then(|| self.advance(end))
    }

    /// Takes an `LWS`, `[*WSP CRLF] 1*WSP`, if it is next.
    pub(crate) fn lws(&mut self) -> bool {
        let spaces = |text: &str| text.len() - text.trim_start_matches([' ', '\t']).len();
        let before = spaces(self.rest);
        let folded = self
            .rest
            .get(before..)
            .and_then(|rest| rest.strip_prefix("\r\n"))
            .map_or(0, spaces);
        let length = match folded {
            0 => before,
            after => before + 2 + after,
        };
        self.advance(length);
        length > 0
    }

    /// Takes a separator with the white space round it, if it is next; else nothing.
    pub(crate) fn separator(&mut self, octet: u8) -> bool {
        let start = *self;
        self.lws();
        let is_next = self.eat(octet);
        if is_next {
            self.lws();
        } else {
            *self = start;
        }
        is_next
    }

    /// Takes a quoted string, whose first `"` is next, and returns it with its quotes.
    pub(crate) fn quoted(&mut self) -> Result<&'a str, Violation> {
        let start = *self;
        self.advance(1);
        loop {
            let plain =
                |octet: u8| octet == b'\t' || !matches!(octet, b'"' | b'\\' | 0..=0x1f | 0x7f);
            let end = self.rest.bytes().position(|octet| !plain(octet));
            self.advance(end.unwrap_or(self.rest.len()));
            match self.rest.as_bytes() {
                [b'"', ..] => {
                    self.advance(1);
                    let length = start.rest.len() - self.rest.len();
                    return Ok(start.rest.get(..length).unwrap_or_default());
                }
                // A backslash takes any ASCII character but a line end.
                [b'\\', escaped, ..] if escaped.is_ascii() && !b"\r\n".contains(escaped) => {
                    self.advance(2);
                }
                _ if self.lws() => {}
                _ => return Err(self.wrong(Rule::QuotedString)),
            }
        }
    }
}

/// The text that a quoted string, given with its quotes, stands for: without them, without escapes, and with its
/// folds undone.
pub(crate) fn unquoted(quoted: &str) -> String {
    let inner = quoted.strip_prefix('"').unwrap_or(quoted);
    let inner = inner.strip_suffix('"').unwrap_or(inner);
    let mut plain = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => plain.extend(characters.next()),
            // The line end of a fold; the white space after it stays.
            '\r' | '\n' => {}
            other => plain.push(other),
        }
    }
    plain
}

//! What can only be seen in the text: the number of tokens, open brackets, and input fields that
//! are given twice (the parser keeps the last one in silence).

use std::collections::HashSet;

use async_graphql::{Pos, ServerError};

use crate::{GateLimits, code, coded};

/// Refuses a text with too many tokens or open brackets, or with a repeated input field.
///
/// A text that is not GraphQL passes: the parser words its error.
pub(super) fn check(source: &str, limits: &GateLimits) -> Result<(), ServerError> {
    let mut scope = Scope::default();
    let mut tokens = 0;
    let mut name = None;
    let mut lexer = Lexer { source, at: 0 };
    while let Some(token) = lexer.next() {
        tokens += 1;
        if tokens > limits.tokens_max {
            return Err(coded(
                code::QUERY_TOO_COMPLEX,
                format!("The document has more than {} tokens", limits.tokens_max),
                None,
            ));
        }
        match token {
            Token::Name(text) => {
                name = Some(text);
                continue;
            }
            Token::Open(bracket) => {
                scope.open(bracket);
                if scope.open.len() > limits.nesting_max {
                    return Err(coded(
                        code::QUERY_TOO_COMPLEX,
                        format!(
                            "The document has more than {} brackets in each other",
                            limits.nesting_max
                        ),
                        Some(lexer.position()),
                    ));
                }
            }
            Token::Close => scope.close(),
            Token::Colon => {
                if let Some(field) = name.filter(|field| !scope.add(field)) {
                    return Err(coded(
                        code::GRAPHQL_VALIDATION_FAILED,
                        format!("The input field \"{field}\" is given twice"),
                        Some(lexer.position()),
                    ));
                }
            }
            Token::Other => {}
        }
        name = None;
    }
    Ok(())
}

/// The brackets that are open.
#[derive(Default)]
struct Scope<'a> {
    /// For each open bracket the names given so far, when it is an input object's.
    open: Vec<Option<HashSet<&'a str>>>,
    /// Open round brackets. Selection sets never stand inside these and input objects always do,
    /// so that they tell the two uses of `{` apart.
    round: Vec<usize>,
}

impl<'a> Scope<'a> {
    fn open(&mut self, bracket: u8) {
        if bracket == b'(' {
            self.round.push(self.open.len());
        }
        let object = bracket == b'{' && !self.round.is_empty();
        self.open.push(object.then(HashSet::new));
    }

    fn close(&mut self) {
        self.open.pop();
        if self.round.last() == Some(&self.open.len()) {
            self.round.pop();
        }
    }

    /// Returns false when the innermost bracket is an input object that has the name.
    fn add(&mut self, name: &'a str) -> bool {
        match self.open.last_mut() {
            Some(Some(names)) => names.insert(name),
            _ => true,
        }
    }
}

enum Token<'a> {
    Name(&'a str),
    Open(u8),
    Close,
    Colon,
    /// A number, a string or another punctuator.
    Other,
}

/// A reader of lexical tokens, GraphQL specification 2.1.
struct Lexer<'a> {
    source: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a [u8] {
        self.source.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn skip_while(&mut self, keep: impl Fn(u8) -> bool) {
        self.at += self.rest().iter().take_while(|byte| keep(**byte)).count();
    }

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            self.skip_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b','));
            match self.rest() {
                [b'#', ..] => self.skip_while(|byte| byte != b'\n' && byte != b'\r'),
                [0xEF, 0xBB, 0xBF, ..] => self.at += 3,
                _ => break,
            }
        }
        let begin = self.at;
        let first = *self.rest().first()?;
        self.at += 1;
        Some(match first {
            b'{' | b'[' | b'(' => Token::Open(first),
            b'}' | b']' | b')' => Token::Close,
            b':' => Token::Colon,
            b'"' => {
                self.string();
                Token::Other
            }
            b'.' => {
                self.skip_while(|byte| byte == b'.');
                Token::Other
            }
            b'-' | b'0'..=b'9' => {
                self.skip_while(|byte| {
                    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'+' | b'-')
                });
                Token::Other
            }
            _ if first == b'_' || first.is_ascii_alphabetic() => {
                self.skip_while(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
                Token::Name(self.source.get(begin..self.at).unwrap_or_default())
            }
            _ => Token::Other,
        })
    }

    /// Reads on after the first quotation mark.
    fn string(&mut self) {
        let block = self.rest().starts_with(b"\"\"");
        if block {
            self.at += 2;
        }
        loop {
            self.at += match self.rest() {
                [] => return,
                [b'\\', b'"', b'"', b'"', ..] if block => 4,
                [b'"', b'"', b'"', ..] if block => {
                    self.at += 3;
                    return;
                }
                [b'\\', _, ..] if !block => 2,
                [b'"' | b'\n' | b'\r', ..] if !block => {
                    self.at += 1;
                    return;
                }
                [_, ..] => 1,
            };
        }
    }

    /// Returns the line and column of the last token, counted from 1.
    fn position(&self) -> Pos {
        let read = self.source.get(..self.at).unwrap_or_default();
        let line = read.matches('\n').count() + 1;
        let column = read.rsplit('\n').next().unwrap_or_default().chars().count();
        Pos { line, column }
    }
}

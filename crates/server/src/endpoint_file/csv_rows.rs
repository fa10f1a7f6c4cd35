//! Rows of comma-separated values.

use super::fields::{self, Form};
use super::{KAMAILIO, Origin, Read, json, read, unreadable};
use sipgraph_core::Problem;
use sipgraph_core::error::ProblemDetail;
use sipgraph_core::json::Json;

/// Looks at a header before the first row is read.
///
/// # Errors
/// A text for the person who gave the file.
pub(super) fn check_header(
    header: &str,
    delimiter: u8,
    origin: Option<Origin>,
    has_domain: bool,
) -> Result<(), String> {
    let names = names(header, delimiter);
    let has = |name: &str| names.iter().any(|given| given.eq_ignore_ascii_case(name));
    let is_known = |name: &&String| origin.is_some() || fields::column(name).is_some();
    let unknown: Vec<&str> = names
        .iter()
        .filter(|n| !is_known(n))
        .map(String::as_str)
        .collect();
    if !unknown.is_empty() {
        return Err(format!(
            "line 1: there are no such columns: {}; those known are listed by --help",
            unknown.join(", ")
        ));
    }
    let (user, named) = match origin {
        Some(Origin::KamailioSubscriber) => ("username", "domain"),
        Some(Origin::AsteriskPjsip) | None => ("name", "domain"),
    };
    if !has(user) {
        return Err(format!(
            "line 1: the header has no column {user}; its columns are: {}",
            names.join(", ")
        ));
    }
    if !has(named) && !has_domain {
        return Err(format!(
            "line 1: the header has no column {named}; add it, or give --domain"
        ));
    }
    let twice = names.iter().enumerate().find(|(i, name)| {
        let mut earlier = names.iter().take(*i);
        earlier.any(|other| other.eq_ignore_ascii_case(name))
    });
    match twice {
        Some((_, name)) => Err(format!("line 1: the column {name} stands there twice")),
        None => Ok(()),
    }
}

fn reader(text: &str, delimiter: u8) -> csv::Reader<&[u8]> {
    csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .flexible(true)
        .has_headers(false)
        .from_reader(text.as_bytes())
}

fn names(header: &str, delimiter: u8) -> Vec<String> {
    let mut record = csv::StringRecord::new();
    match reader(header, delimiter).read_record(&mut record) {
        Ok(true) => record.iter().map(|name| name.trim().to_owned()).collect(),
        Ok(false) | Err(_) => Vec::new(),
    }
}

/// The rows of a file behind its header.
pub(super) struct CsvRows<'t> {
    text: &'t str,
    /// Up to where lines were counted, in bytes, and which line begins there.
    counted: (usize, u64),
    reader: csv::Reader<&'t [u8]>,
    names: Vec<String>,
    origin: Option<Origin>,
    domain: Option<&'t str>,
}

impl<'t> CsvRows<'t> {
    pub(super) fn new(
        text: &'t str,
        delimiter: u8,
        origin: Option<Origin>,
        domain: Option<&'t str>,
    ) -> Self {
        let mut reader = reader(text, delimiter);
        let mut header = csv::StringRecord::new();
        let names = match reader.read_record(&mut header) {
            Ok(true) => header.iter().map(|name| name.trim().to_owned()).collect(),
            Ok(false) | Err(_) => Vec::new(),
        };
        Self {
            text,
            counted: (0, 1),
            reader,
            names,
            origin,
            domain,
        }
    }

    /// The line on which a record begins. The reader counts the end of a line to the record behind it, so that it is a line short
    /// where lines end with CR and LF.
    fn line(&mut self, record: Option<&csv::Position>) -> u64 {
        let (from, line) = self.counted;
        let start = record.map_or(0, csv::Position::byte);
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        let rest = self.text.get(start..).unwrap_or_default();
        let ends = rest.len() - rest.trim_start_matches(['\r', '\n']).len();
        let between = self.text.get(from..start + ends).unwrap_or_default();
        let lines = between.bytes().filter(|octet| *octet == b'\n').count();
        let line = line.saturating_add(u64::try_from(lines).unwrap_or(u64::MAX));
        self.counted = (from.max(start + ends), line);
        line
    }
}

impl Iterator for CsvRows<'_> {
    type Item = Read;

    fn next(&mut self) -> Option<Read> {
        let mut record = csv::StringRecord::new();
        let is_there = self.reader.read_record(&mut record);
        let byte = self.reader.position().byte();
        let line = self.line(record.position());
        match is_there {
            Ok(true) => {}
            Ok(false) => return None,
            // The file is text in memory: what remains to fail is a record larger than the memory.
            Err(error) => return Some(unreadable(line, byte, None, &format!("{error}."))),
        }
        if record.len() != self.names.len() {
            let why = format!(
                "The row has {} cells, but the header has {}; text with separators or quotes stands in quotes.",
                record.len(),
                self.names.len()
            );
            return Some(unreadable(line, byte, None, &why));
        }
        let mut problems = Vec::new();
        let mut values = Vec::with_capacity(record.len());
        for (name, cell) in self.names.iter().zip(&record) {
            match value(name, cell, self.origin) {
                Ok(value) => values.push((name.clone(), value)),
                Err(problem) => problems.push(problem),
            }
        }
        let mut row = read(line, byte, values, self.origin, self.domain);
        problems.append(&mut row.problems);
        row.problems = problems;
        Some(row)
    }
}

/// Reads a cell by the form of its column. An empty one is null.
fn value(name: &str, cell: &str, origin: Option<Origin>) -> Result<Json, Problem> {
    if cell.is_empty() {
        return Ok(Json::Null);
    }
    let ours = match origin {
        Some(Origin::KamailioSubscriber) => {
            let known = KAMAILIO
                .iter()
                .find(|(theirs, _)| theirs.eq_ignore_ascii_case(name));
            known.map_or(name, |(_, ours)| ours)
        }
        Some(Origin::AsteriskPjsip) | None => name,
    };
    let form = fields::column(ours).map_or(Form::Text, |(_, form)| form);
    let wrong = |what: &str, at: usize| {
        Problem::validation(ours, what).with_detail(ProblemDetail {
            byte_offset: Some(at),
            ..ProblemDetail::default()
        })
    };
    match form {
        Form::Text | Form::Kept => Ok(Json::String(cell.to_owned())),
        Form::Flag => match cell.to_ascii_lowercase().as_str() {
            "true" | "yes" | "1" => Ok(Json::Bool(true)),
            "false" | "no" | "0" => Ok(Json::Bool(false)),
            _ => Err(wrong("Give true or false.", 0)),
        },
        Form::Number => match cell.parse::<i32>() {
            Ok(number) => Ok(Json::Number(number.to_string())),
            Err(_) => Err(wrong("Give a whole number of 32 bits.", 0)),
        },
        Form::Words | Form::KeptWords => {
            let words = cell.split_ascii_whitespace();
            Ok(Json::List(
                words.map(|w| Json::String(w.to_owned())).collect(),
            ))
        }
        Form::Json => json::read(cell)
            .map_err(|(at, why)| wrong(&format!("This is no JSON, at byte {at}: {why}."), at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_whatever_they_end_with() {
        for end in ["\n", "\r\n"] {
            let lines = ["name,domain", "a,d", "\"b", "c\",d", "", "e,d", "f"].join(end);
            let rows = CsvRows::new(&lines, b',', None, None);
            let lines: Vec<u64> = rows.map(|row| row.line).collect();
            assert_eq!(lines, [2, 3, 6, 7], "{end:?}");
        }
    }
}

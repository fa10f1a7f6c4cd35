//! Files of endpoints: what an import reads and an export writes.
//!
//! A file is read from memory, row by row and as often as asked, so that an import can look at all of it before it stores
//! anything. What is wrong with a row is told with its line and column; the rules themselves are in core. It knows no database.

mod csv_rows;
mod fields;
mod json;
mod pjsip;
mod write;

pub(crate) use write::Writer;

use csv_rows::CsvRows;
use sipgraph_core::Problem;
use sipgraph_core::decide::endpoints::ImportRow;
use sipgraph_core::error::ProblemDetail;
use sipgraph_core::json::Json;
use std::path::Path;

/// The largest file that is read, in bytes: it is kept in memory. Two million rows of users, names and digests.
pub(crate) const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Comma-separated values with a header line (RFC 4180); with tabs where the header has tabs.
    Csv,
    /// JSON Lines: one object a line.
    Jsonl,
}

impl Format {
    /// Returns the format that a file's name says: `.jsonl` and `.ndjson`, else CSV for `.csv` and `.tsv`.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "csv" | "tsv" => Some(Self::Csv),
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            _ => None,
        }
    }
}

/// Whose columns a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Origin {
    /// Kamailio's table `subscriber`: username, domain, password, ha1.
    KamailioSubscriber,
    /// Asterisk's pjsip.conf: the sections endpoint, auth and aor.
    AsteriskPjsip,
}

/// A row as it was read.
pub(crate) struct Read {
    /// The line on which it begins, from 1.
    pub(crate) line: u64,
    /// How far it is in the file, in bytes.
    pub(crate) byte: u64,
    /// The row; `None` when nothing of it could be read.
    pub(crate) row: Option<ImportRow>,
    /// What could not be read of it, with fields as core has them.
    pub(crate) problems: Vec<Problem>,
    /// The lines of columns that stand on lines of their own.
    pub(crate) lines: Vec<(&'static str, u64)>,
}

/// A file of endpoints.
pub(crate) struct EndpointFile {
    text: String,
    layout: Layout,
    /// The domain of rows that name none.
    domain: Option<String>,
}

enum Layout {
    Csv {
        delimiter: u8,
        origin: Option<Origin>,
    },
    Jsonl {
        origin: Option<Origin>,
    },
    Pjsip,
}

/// The names of Kamailio's columns, and ours; the others of its table mean nothing here.
const KAMAILIO: &[(&str, &str)] = &[
    ("username", "name"),
    ("domain", "domain"),
    ("password", "password"),
    ("ha1", "ha1Md5"),
];

impl EndpointFile {
    /// Prepares a file. `domain` is that of rows that name none.
    ///
    /// # Errors
    /// A text for the person who gave the file: it is not UTF-8, its header lacks a column, or there is no domain.
    pub(crate) fn new(
        bytes: Vec<u8>,
        format: Format,
        origin: Option<Origin>,
        domain: Option<String>,
    ) -> Result<Self, String> {
        let text = String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            let before = error.as_bytes().get(..at).unwrap_or_default();
            let line = before.iter().filter(|octet| **octet == b'\n').count() + 1;
            format!("line {line}: byte {at} of the file is not UTF-8; convert it, for example with iconv")
        })?;
        // Programs of Windows begin their files with it.
        let text = match text.strip_prefix('\u{feff}') {
            Some(rest) => rest.to_owned(),
            None => text,
        };
        let layout = match (origin, format) {
            (Some(Origin::AsteriskPjsip), _) if domain.is_none() => {
                return Err("pjsip.conf names no domain: give it with --domain".to_owned());
            }
            (Some(Origin::AsteriskPjsip), _) => Layout::Pjsip,
            (_, Format::Jsonl) => Layout::Jsonl { origin },
            (_, Format::Csv) => {
                let header = text.lines().next().unwrap_or_default();
                let delimiter = if header.contains('\t') { b'\t' } else { b',' };
                csv_rows::check_header(header, delimiter, origin, domain.is_some())?;
                Layout::Csv { delimiter, origin }
            }
        };
        Ok(Self {
            text,
            layout,
            domain,
        })
    }

    /// Its size in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        u64::try_from(self.text.len()).unwrap_or(u64::MAX)
    }

    /// Its rows, from the first.
    pub(crate) fn rows(&self) -> Box<dyn Iterator<Item = Read> + Send + '_> {
        let domain = self.domain.as_deref();
        match &self.layout {
            Layout::Csv { delimiter, origin } => {
                Box::new(CsvRows::new(&self.text, *delimiter, *origin, domain))
            }
            Layout::Jsonl { origin } => Box::new(json_rows(&self.text, *origin, domain)),
            Layout::Pjsip => {
                Box::new(pjsip::rows(&self.text, domain.unwrap_or_default()).into_iter())
            }
        }
    }

    /// Says where in the file a problem of a row is: `LINE: COLUMN`.
    pub(crate) fn place(&self, read: &Read, problem: &Problem) -> String {
        let (column, rest) = fields::column_of(&problem.field);
        let line = read.lines.iter().find(|(known, _)| *known == column);
        let line = line.map_or(read.line, |(_, line)| *line);
        let origin = match &self.layout {
            Layout::Csv { origin, .. } | Layout::Jsonl { origin } => *origin,
            Layout::Pjsip => Some(Origin::AsteriskPjsip),
        };
        let name = match origin {
            None => column,
            Some(Origin::KamailioSubscriber) => {
                let known = KAMAILIO.iter().find(|(_, ours)| *ours == column);
                known.map_or(column, |(theirs, _)| theirs)
            }
            Some(Origin::AsteriskPjsip) => pjsip::option_of(column),
        };
        let mut place = line.to_string();
        if !name.is_empty() {
            place.push_str(": ");
            place.push_str(name);
        }
        for part in rest {
            place.push('.');
            place.push_str(part);
        }
        place
    }
}

/// A row that could not be read at all.
fn unreadable(line: u64, byte: u64, at: Option<usize>, why: &str) -> Read {
    let problem = Problem::validation("", why);
    let problem = match at {
        Some(at) => problem.with_detail(ProblemDetail {
            byte_offset: Some(at),
            ..ProblemDetail::default()
        }),
        None => problem,
    };
    Read {
        line,
        byte,
        row: None,
        problems: vec![problem],
        lines: Vec::new(),
    }
}

/// Reads a row from values by the names of its file's columns.
fn read(
    line: u64,
    byte: u64,
    values: Vec<(String, Json)>,
    origin: Option<Origin>,
    domain: Option<&str>,
) -> Read {
    let mut values = match origin {
        Some(Origin::KamailioSubscriber) => ours(values),
        Some(Origin::AsteriskPjsip) | None => values,
    };
    let is_named = values
        .iter()
        .any(|(name, value)| name.eq_ignore_ascii_case("domain") && *value != Json::Null);
    if let Some(domain) = domain.filter(|_| !is_named) {
        values.retain(|(name, _)| !name.eq_ignore_ascii_case("domain"));
        values.push(("domain".to_owned(), Json::String(domain.to_owned())));
    }
    let (row, problems) = fields::row(values);
    Read {
        line,
        byte,
        row: Some(row),
        problems,
        lines: Vec::new(),
    }
}

/// Gives the columns of Kamailio our names; its empty texts and NULLs, as the databases' tools write them, are absent.
fn ours(values: Vec<(String, Json)>) -> Vec<(String, Json)> {
    let is_nothing = |value: &Json| matches!(value, Json::String(text) if ["", "NULL", "\\N"].contains(&text.as_str()));
    values
        .into_iter()
        .filter_map(|(name, value)| {
            let mut known = KAMAILIO.iter();
            let (_, ours) = known.find(|(theirs, _)| theirs.eq_ignore_ascii_case(&name))?;
            let value = if is_nothing(&value) {
                Json::Null
            } else {
                value
            };
            Some(((*ours).to_owned(), value))
        })
        .collect()
}

fn json_rows<'t>(
    text: &'t str,
    origin: Option<Origin>,
    domain: Option<&'t str>,
) -> impl Iterator<Item = Read> + Send + 't {
    let mut byte = 0;
    let lines = text
        .split_inclusive('\n')
        .zip(1..)
        .map(move |(line, number)| {
            byte += u64::try_from(line.len()).unwrap_or(u64::MAX);
            (line.trim_end_matches(['\r', '\n']), number, byte)
        });
    lines
        .filter(|(line, ..)| !line.trim().is_empty())
        .map(move |(line, number, byte)| match json::read(line) {
            Ok(Json::Object(map)) => read(number, byte, map.into_iter().collect(), origin, domain),
            Ok(_) => unreadable(number, byte, Some(0), "Each line is a JSON object."),
            Err((at, why)) => {
                let why = format!("This is no JSON, at byte {at}: {why}.");
                unreadable(number, byte, Some(at), &why)
            }
        })
}

//! Writing rows.

use super::Format;
use super::fields::{COLUMNS, Form, is_secret, values};
use super::json;
use sipgraph_core::app::endpoints::import::ExportedEndpoint;
use sipgraph_core::json::Json;
use std::io::{self, Write};

/// Writes endpoints as rows.
pub(crate) struct Writer<W: Write> {
    rows: Rows<W>,
    with_secrets: bool,
}

enum Rows<W: Write> {
    Csv(Box<csv::Writer<W>>),
    Jsonl(W),
}

impl<W: Write> Writer<W> {
    /// Begins a file, with its header if it has one.
    ///
    /// # Errors
    /// It can't be written.
    pub(crate) fn new(out: W, format: Format, with_secrets: bool) -> io::Result<Self> {
        let rows = match format {
            Format::Jsonl => Rows::Jsonl(out),
            Format::Csv => {
                let mut csv = csv::Writer::from_writer(out);
                let names = COLUMNS.iter().map(|(name, _)| *name);
                csv.write_record(names.filter(|name| is_written(name, with_secrets)))?;
                Rows::Csv(Box::new(csv))
            }
        };
        Ok(Self { rows, with_secrets })
    }

    /// Writes an endpoint.
    ///
    /// # Errors
    /// It can't be written.
    pub(crate) fn put(&mut self, endpoint: &ExportedEndpoint) -> io::Result<()> {
        let columns = COLUMNS.iter().zip(values(endpoint));
        let columns = columns.filter(|((name, _), _)| is_written(name, self.with_secrets));
        match &mut self.rows {
            Rows::Jsonl(out) => {
                let given: Vec<(&str, Json)> = columns
                    .filter_map(|((name, _), value)| Some((*name, value?)))
                    .collect();
                let mut line = String::new();
                json::write_object(given.iter().map(|(name, value)| (*name, value)), &mut line);
                line.push('\n');
                out.write_all(line.as_bytes())
            }
            Rows::Csv(csv) => {
                let cells = columns
                    .map(|((_, form), value)| value.map_or_else(String::new, |v| cell(*form, v)));
                Ok(csv.write_record(cells)?)
            }
        }
    }

    /// Ends the file and gives what it was written to.
    ///
    /// # Errors
    /// It can't be written.
    pub(crate) fn end(self) -> io::Result<W> {
        let mut out = match self.rows {
            Rows::Jsonl(out) => out,
            Rows::Csv(csv) => csv.into_inner().map_err(csv::IntoInnerError::into_error)?,
        };
        out.flush()?;
        Ok(out)
    }
}

/// A password can't be read back, so it has no column.
fn is_written(column: &str, with_secrets: bool) -> bool {
    column != "password" && (with_secrets || !is_secret(column))
}

fn cell(form: Form, value: Json) -> String {
    match (form, value) {
        (_, Json::Null) => String::new(),
        (_, Json::String(text)) => text,
        (Form::Words | Form::KeptWords, Json::List(items)) => {
            let words = items.into_iter().filter_map(|item| match item {
                Json::String(word) => Some(word),
                _ => None,
            });
            words.collect::<Vec<_>>().join(" ")
        }
        (_, Json::List(items)) if items.is_empty() => String::new(),
        (_, Json::Object(map)) if map.is_empty() => String::new(),
        (_, value) => {
            let mut text = String::new();
            json::write(&value, &mut text);
            text
        }
    }
}

//! `sipgraph endpoint import`.
//!
//! The whole file is decided on first. Only then, and only if every row is well or bad ones may be left out, a second pass stores
//! it, a commit for some hundred rows. It works on the database directly, beside running servers, as every command does: they see
//! the endpoints at their next look, within two seconds.

use crate::cmd::progress::Progress;
use crate::config::Config;
use crate::endpoint_file::{EndpointFile, FILE_BYTES_MAX, Format, Origin, Read};
use crate::failure::Failure;
use crate::wiring::Instance;
use sipgraph_core::AccountId;
use sipgraph_core::Problem;
use sipgraph_core::app::App;
use sipgraph_core::app::endpoints::import::{EndpointImport, IMPORT_BATCH};
use sipgraph_core::decide::endpoints::{ImportRow, Imported};
use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// What `--help` ends with.
pub(super) const HELP: &str = "\
Columns (CSV) and keys (JSON Lines) are the fields of the GraphQL API: domain, name, type, password, digestAlgorithms,
displayName, description, application (its name), enabled, numbers, callerId, sendAs, allowOutside, ciphers, codecs,
encryption, capacity, cpsLimit, authRequired, addresses, attributes, properties, transformations, outSipUsername,
outSipPassword, simulation; and in place of a password its digests: ha1Md5, ha1Sha256, ha1Sha512256, and the same with Latin1
at the end. In CSV lists of words have spaces between them; addresses, attributes, properties and transformations are JSON.

A row for an endpoint that is there changes what it gives. Running it again changes nothing, and after a break it goes on.
See docs/import.md.";

/// What is imported.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The account's name.
    #[arg(long, value_name = "NAME")]
    account: String,
    /// Stores it. Without it nothing is stored.
    #[arg(long)]
    apply: bool,
    /// Stores the rows that are well even if others are bad.
    #[arg(long, requires = "apply")]
    skip_bad: bool,
    /// How rows are written; by default as the file's name ends, .csv, .tsv or .jsonl.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Whose file it is, if it is not one of ours.
    #[arg(long, value_enum, value_name = "ORIGIN")]
    from: Option<Origin>,
    /// The domain of rows that name none; one of the account's.
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<String>,
    /// How many problems are told at most; the others are counted.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    problems: u64,
    /// The file; - for standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// What became of the rows.
#[derive(Debug, Default)]
struct Counts {
    made: u64,
    changed: u64,
    unchanged: u64,
    problems: u64,
    /// Which rows are bad, counted from 0.
    bad: HashSet<usize>,
}

/// Runs the command.
///
/// # Errors
/// A file that can't be read, rows that are bad, an unknown account; those of the database.
pub(super) async fn run(args: Args, config: &Config) -> Result<(), Failure> {
    let file = opened(&args)?;
    let instance = Instance::open(config).await?;
    let ended = import(&args, &file, &instance).await;
    instance.close().await;
    ended
}

async fn import(args: &Args, file: &EndpointFile, instance: &Instance) -> Result<(), Failure> {
    let account = instance.account(&args.account).await?.id;
    let app = &instance.app;
    let told = Told {
        file,
        name: name_of(&args.file),
        most: args.problems,
    };
    let found = pass(app, account, &told, Pass::Look).await?;
    let Counts {
        made,
        changed,
        unchanged,
        problems,
        bad,
    } = found;
    if problems > args.problems {
        crate::cmd::print(&format!(
            "… and {} more problems.",
            problems - args.problems
        ))?;
    }
    let is_refused = !bad.is_empty() && !args.skip_bad;
    if !args.apply || is_refused {
        crate::cmd::print(&format!(
            "Would make {made} endpoints, change {changed} and leave {unchanged} as they are. Nothing was stored."
        ))?;
        if !bad.is_empty() {
            return Err(Failure::Failed(format!("{} rows are bad.", bad.len())));
        }
        if made + changed > 0 {
            crate::cmd::print("Run it again with --apply to store it.")?;
        }
        return Ok(());
    }
    let stored = pass(app, account, &told, Pass::Store { without: &bad }).await?;
    crate::cmd::print(&format!(
        "Made {} endpoints, changed {} and left {} as they were.",
        stored.made, stored.changed, stored.unchanged
    ))?;
    if !stored.bad.is_empty() {
        // Others changed endpoints between the two passes.
        return Err(Failure::Failed(format!(
            "{} rows became bad meanwhile and were left out; run it again.",
            stored.bad.len()
        )));
    }
    if !bad.is_empty() {
        crate::cmd::print(&format!("Left out {} bad rows.", bad.len()))?;
    }
    Ok(())
}

fn opened(args: &Args) -> Result<EndpointFile, Failure> {
    let name = name_of(&args.file);
    let refused =
        |error: std::io::Error| Failure::failed(format_args!("{name} can't be read"), error);
    let is_pjsip = args.from == Some(Origin::AsteriskPjsip);
    let format = args.format.or_else(|| Format::of(&args.file));
    let format = match (format, args.from) {
        (Some(format), _) => format,
        (None, Some(_)) => Format::Csv,
        (None, None) => {
            return Err(Failure::Usage(format!(
                "{name}: say with --format whether it is csv or jsonl"
            )));
        }
    };
    if is_pjsip && args.format.is_some() {
        return Err(Failure::Usage(
            "pjsip.conf has a format of its own; leave out --format".to_owned(),
        ));
    }
    let mut bytes = Vec::new();
    let most = FILE_BYTES_MAX + 1;
    if is_standard(&args.file) {
        std::io::stdin().lock().take(most).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(&args.file).and_then(|file| file.take(most).read_to_end(&mut bytes))
    }
    .map_err(refused)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
        return Err(Failure::Failed(format!(
            "{name} has more than {} MiB; import it in parts.",
            FILE_BYTES_MAX / (1024 * 1024)
        )));
    }
    EndpointFile::new(bytes, format, args.from, args.domain.clone())
        .map_err(|why| Failure::Failed(format!("{name}: {why}")))
}

fn is_standard(path: &Path) -> bool {
    path == Path::new("-")
}

fn name_of(path: &Path) -> String {
    if is_standard(path) {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    }
}

/// What is told of problems.
struct Told<'f> {
    file: &'f EndpointFile,
    name: String,
    most: u64,
}

impl Told<'_> {
    /// Writes the problems of a row, each on a line, as far as they are told; `earlier` were told before.
    fn problems(
        &self,
        read: &Read,
        problems: &[Problem],
        earlier: u64,
        progress: &Progress,
    ) -> Result<(), Failure> {
        let left = usize::try_from(self.most.saturating_sub(earlier)).unwrap_or(usize::MAX);
        let mut lines = String::new();
        for problem in problems.iter().take(left) {
            if !lines.is_empty() {
                lines.push('\n');
            }
            let place = self.file.place(read, problem);
            // Writing to a text can't fail.
            let _ = write!(lines, "{}:{place}: {}", self.name, problem.message);
            let at = problem
                .detail
                .as_ref()
                .and_then(|detail| detail.byte_offset);
            if let Some(at) = at
                && !problem.message.contains("at byte")
            {
                let _ = write!(lines, " (at byte {at})");
            }
        }
        if lines.is_empty() {
            return Ok(());
        }
        progress.beside(|| crate::cmd::print(&lines))
    }
}

/// What is done with the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass<'b> {
    /// All of them are decided on and what is wrong is told.
    Look,
    /// They are stored.
    Store {
        /// Those that were bad when they were looked at. They would be well now where what was wrong was a row before them.
        without: &'b HashSet<usize>,
    },
}

async fn pass(
    app: &App,
    account: AccountId,
    told: &Told<'_>,
    pass: Pass<'_>,
) -> Result<Counts, Failure> {
    let none = HashSet::new();
    let (what, without) = match pass {
        Pass::Look => ("Looking", &none),
        Pass::Store { without } => ("Storing", without),
    };
    let progress = Progress::new(what, told.file.bytes());
    let mut import = EndpointImport::new(account);
    let mut counts = Counts::default();
    let rows = told.file.rows().enumerate();
    let mut rows = rows
        .filter(|(number, _)| !without.contains(number))
        .peekable();
    while rows.peek().is_some() {
        let mut batch: Vec<(usize, Read)> = rows.by_ref().take(IMPORT_BATCH).collect();
        let (places, given): (Vec<&mut Read>, Vec<ImportRow>) = batch
            .iter_mut()
            .filter_map(|(_, read)| {
                let row = read.row.take()?;
                Some((read, row))
            })
            .unzip();
        let results = app
            .endpoints_import(&mut import, &given, pass == Pass::Look)
            .await?;
        for (read, result) in places.into_iter().zip(results) {
            match result {
                Ok(_) if !read.problems.is_empty() => {}
                Ok(Imported::Made) => counts.made += 1,
                Ok(Imported::Changed(_)) => counts.changed += 1,
                Ok(Imported::Unchanged) => counts.unchanged += 1,
                Err(found) => {
                    // A value that could not be read is missing for the rules; that is told once.
                    let is_new = |problem: &Problem| {
                        let mut known = read.problems.iter();
                        !known.any(|p| p.field.first() == problem.field.first())
                    };
                    let found: Vec<Problem> = found.into_iter().filter(is_new).collect();
                    read.problems.extend(found);
                }
            }
        }
        for (number, read) in batch.iter().filter(|(_, read)| !read.problems.is_empty()) {
            counts.bad.insert(*number);
            if pass == Pass::Look {
                told.problems(read, &read.problems, counts.problems, &progress)?;
            }
            counts.problems += u64::try_from(read.problems.len()).unwrap_or(u64::MAX);
        }
        progress.at(batch.last().map_or(0, |(_, read)| read.byte));
    }
    Ok(counts)
}

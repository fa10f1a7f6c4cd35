//! `sipgraph endpoint export`.

use crate::cmd::progress::Progress;
use crate::config::Config;
use crate::endpoint_file::{Format, Writer};
use crate::failure::Failure;
use crate::files;
use crate::wiring::Instance;
use sipgraph_core::AccountId;
use std::fs::File;
use std::io::{BufWriter, IsTerminal as _, Write};
use std::path::{Path, PathBuf};

/// What is exported.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The account's name.
    #[arg(long, value_name = "NAME")]
    account: String,
    /// Writes the digests of passwords, and the passwords for other systems in clear. Who has the digests can register.
    #[arg(long)]
    secrets: bool,
    /// How rows are written; by default as the file's name ends, and CSV on standard output.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// The file, which must not exist yet; only its owner can read it. Standard output without it, or with -.
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// A file that is there already or can't be written, an unknown account; those of the database.
pub(super) async fn run(args: Args, config: &Config) -> Result<(), Failure> {
    let is_standard = args.file == Path::new("-");
    let format = args.format.or_else(|| match is_standard {
        true => Some(Format::Csv),
        false => Format::of(&args.file),
    });
    let name = args.file.display().to_string();
    let format = format.ok_or_else(|| {
        Failure::Usage(format!(
            "{name}: say with --format whether it is csv or jsonl"
        ))
    })?;
    if is_standard && args.secrets && std::io::stdout().is_terminal() {
        return Err(Failure::Usage(
            "--secrets: name a file, so that they do not stand on the terminal".to_owned(),
        ));
    }
    let instance = Instance::open(config).await?;
    let ended = async {
        let account = instance.account(&args.account).await?.id;
        if is_standard {
            let out = BufWriter::new(std::io::stdout().lock());
            return export(&instance, account, &args, format, out)
                .await
                .map(|_| ());
        }
        let refused = |error| Failure::failed(format_args!("{name} can't be made"), error);
        let out = BufWriter::new(files::create(&args.file).map_err(refused)?);
        let written = export(&instance, account, &args, format, out).await;
        let kept = written.and_then(|out| kept(&out, &args.file));
        if kept.is_err() {
            // Half a file would be taken for a whole one.
            files::remove(&args.file).map_err(refused)?;
        }
        kept
    };
    let ended = ended.await;
    instance.close().await;
    ended
}

/// Writes all rows and gives what they were written to.
async fn export<W: Write>(
    instance: &Instance,
    account: AccountId,
    args: &Args,
    format: Format,
    out: W,
) -> Result<W, Failure> {
    let refused = |error| Failure::failed("The rows can't be written", error);
    let total = instance.app.endpoints_total(account).await?;
    let progress = Progress::new("Exporting", u64::try_from(total).unwrap_or_default());
    let mut writer = Writer::new(out, format, args.secrets).map_err(refused)?;
    let (mut from, mut done) = (None, 0);
    loop {
        let page = instance.app.endpoints_export(account, from, args.secrets);
        let (endpoints, next) = page.await?;
        for endpoint in &endpoints {
            writer.put(endpoint).map_err(refused)?;
            done += 1;
        }
        progress.at(done);
        if next.is_none() {
            return writer.end().map_err(refused);
        }
        from = next;
    }
}

/// Syncs a file, so that it is whole after a power cut.
fn kept(out: &BufWriter<File>, path: &Path) -> Result<(), Failure> {
    out.get_ref()
        .sync_all()
        .and_then(|()| files::sync_folder(path))
        .map_err(|error| Failure::failed("The file can't be synced", error))
}

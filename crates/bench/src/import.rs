//! Importing 5,000 endpoints from a file: the whole command, as an operator runs it, against the same rows as commits that are
//! decided already and only have to be stored.

use crate::open::{Instance, System};
use crate::program::Program;
use crate::report::{Limit, Report, median};
use crate::world::{caller_make, domain_make};
use crate::{Failure, Size};
use sipgraph_core::app::endpoints::import::IMPORT_BATCH;
use sipgraph_core::commit::{Answer, Commit};
use sipgraph_core::decide::Mint;
use sipgraph_core::decide::endpoints::{
    EndpointSettings, ImportRow, ImportSnapshot, Met, NewCredentials, import_rows,
};
use sipgraph_core::domain::Domain;
use sipgraph_core::patch::Field;
use sipgraph_core::ports::{Clock as _, Store as _};
use sipgraph_storage::Options;
use sipgraph_testkit::Database;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

/// How many rows are imported.
const ROWS: usize = 5_000;
/// The most that the command may take, in times of storing alone.
const SLOWER_MAX: f64 = 3.0;
/// The account that gets them.
const ACCOUNT: &str = "bench";

/// Measures both databases.
///
/// # Errors
/// A database failed, or the program.
pub(crate) async fn run(size: Size, folder: &Path, report: &mut Report) -> Result<(), Failure> {
    let files = tempfile::tempdir_in(folder)?;
    let url = format!("sqlite:{}", files.path().join("import.db").display());
    measure("SQLite", &url, files.path(), size, report).await?;
    let database = Database::postgres().await;
    let files = tempfile::tempdir_in(folder)?;
    measure("Postgres", database.url(), files.path(), size, report).await
}

async fn measure(
    backend: &str,
    url: &str,
    folder: &Path,
    size: Size,
    report: &mut Report,
) -> Result<(), Failure> {
    let rounds = size.pick(2, 7);
    report.subject(&format!(
        "import: {ROWS} rows with passwords on {backend}, {rounds} rounds"
    ));
    let program = Program::new(url, folder)?;
    // The program makes its key; what is stored here has to be sealed with the same.
    program.run(&["account", "create", ACCOUNT]).await?;
    let (mut commands, mut repeats, mut stores) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let instance = Instance::sealed(url, &Options::default(), program.keyring()?).await?;
        let account = instance.app.account_by_name(ACCOUNT).await?.id;
        let caller = caller_make(&instance.app, account).await?;
        domain_make(&instance.app, &caller, &format!("file{round}.example")).await?;
        let straight = format!("straight{round}.example");
        let id = domain_make(&instance.app, &caller, &straight).await?;
        let domain = instance.store.domains_by_ids(account, vec![id]).await?;
        let domain = domain.into_iter().next().ok_or("the domain is gone")?;

        // Storing alone: the commits are decided before the clock runs.
        let commits = decided(&domain);
        let start = Instant::now();
        for commit in commits {
            match instance.store.commit(commit).await? {
                Answer::Applied(_) => {}
                other => return Err(format!("a commit was not applied: {other:?}").into()),
            }
        }
        stores.push(start.elapsed().as_secs_f64());
        instance.store.close().await;

        let file = folder.join(format!("{round}.csv"));
        std::fs::write(&file, rows(&format!("file{round}.example")))?;
        let file = file.display().to_string();
        let arguments = ["endpoint", "import", "--account", ACCOUNT, "--apply", &file];
        for (times, expected) in [(&mut commands, "Made 5000 "), (&mut repeats, "Made 0 ")] {
            let start = Instant::now();
            let said = program.run(&arguments).await?;
            times.push(start.elapsed().as_secs_f64());
            if !said.contains(expected) {
                return Err(format!("the import said: {said}").into());
            }
        }
    }
    let (command, repeat, store) = (median(commands), median(repeats), median(stores));
    report.figure("the command, dry run and all", format!("{command:.2} s"));
    report.figure(
        "the command again, which changes nothing",
        format!("{repeat:.2} s"),
    );
    report.figure("storing the same rows alone", format!("{store:.2} s"));
    report.limited(
        "the command to storing alone",
        command / store,
        "",
        Limit::AtMost(SLOWER_MAX),
    );
    Ok(())
}

fn rows(domain: &str) -> String {
    let mut text = "domain,name,password,displayName\n".to_owned();
    for number in 0..ROWS {
        // Writing to a text can't fail.
        let _ = writeln!(
            text,
            "{domain},desk{number},secret-of-{number},Desk {number}"
        );
    }
    text
}

/// The same rows as commits, as an import decides them.
fn decided(domain: &Domain) -> Vec<Commit> {
    let mut snapshot = ImportSnapshot::default();
    snapshot.domains.insert(domain.name.clone(), domain.id);
    snapshot.account.domains.push(domain.clone());
    let rows: Vec<ImportRow> = (0..ROWS)
        .map(|number| ImportRow {
            domain: domain.name.clone(),
            name: format!("desk{number}"),
            kind: None,
            application: Field::Absent,
            cps_limit: Field::Absent,
            settings: EndpointSettings {
                credentials: NewCredentials::password(&format!("secret-of-{number}")).into(),
                display_name: format!("Desk {number}").into(),
                ..EndpointSettings::default()
            },
        })
        .collect();
    let batches = rows.chunks(IMPORT_BATCH).map(|rows| {
        let mint = Mint::new(System.now(), &System);
        import_rows(&mint, domain.account, rows, &snapshot, &Met::default()).0
    });
    batches.collect()
}

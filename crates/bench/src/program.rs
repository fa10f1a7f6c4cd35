//! Runs the binary `sipgraph` that lies beside this one, as its users do.

use crate::Failure;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// A start takes less than a second; a loaded machine gets this long.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// The lines that are kept of the start, to say why there was none.
const LINES_MAX: usize = 100;

/// A database and how the program is told of it.
pub(crate) struct Program {
    binary: PathBuf,
    folder: PathBuf,
    database_url: String,
}

/// A running server; it is killed when this is dropped.
pub(crate) struct Server {
    /// The address of its HTTP listener, as `http://127.0.0.1:PORT`.
    pub(crate) url: String,
    /// Its process id.
    pub(crate) pid: u32,
    _process: Child,
}

impl Program {
    /// Prepares for a database; what the program keeps beside it goes into `folder`.
    ///
    /// # Errors
    /// The binary is not there.
    pub(crate) fn new(database_url: &str, folder: &Path) -> Result<Self, Failure> {
        let binary = std::env::current_exe()?.with_file_name("sipgraph");
        if !binary.is_file() {
            return Err(format!(
                "{} is not there; build it with the same profile: \
                 cargo build --profile bench -p sipgraph-server -p sipgraph-bench",
                binary.display()
            )
            .into());
        }
        Ok(Self {
            binary,
            folder: folder.to_owned(),
            database_url: database_url.to_owned(),
        })
    }

    /// Where the instance key lies.
    pub(crate) fn key_file(&self) -> PathBuf {
        self.folder.join("secret.key")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(arguments)
            .env_clear()
            .env("SIPGRAPH_DATABASE_URL", &self.database_url)
            .env("SIPGRAPH_SECRET_KEY_FILE", self.key_file())
            .env("SIPGRAPH_HTTP_LISTEN", "127.0.0.1:0")
            .env("SIPGRAPH_SIP_UDP_LISTEN", "127.0.0.1:0")
            .env("SIPGRAPH_SIP_TCP_LISTEN", "127.0.0.1:0")
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Runs a command and gives what it printed.
    ///
    /// # Errors
    /// It failed.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Result<String, Failure> {
        let output = timeout(START_DEADLINE, self.command(arguments).output()).await??;
        if !output.status.success() {
            let reason = String::from_utf8_lossy(&output.stderr);
            return Err(format!("sipgraph {}: {reason}", arguments.join(" ")).into());
        }
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Starts the server with further variables and waits until every listener is open.
    ///
    /// # Errors
    /// It ended, or was not ready in time.
    pub(crate) async fn serve(&self, environment: &[(&str, &str)]) -> Result<Server, Failure> {
        let mut command = self.command(&["serve"]);
        command.envs(environment.iter().copied());
        started(command, "sipgraph ready ").await
    }
}

/// Starts a server and waits for the line of its stderr that begins so and names its address as `http=`.
///
/// # Errors
/// It ended, or was not ready in time.
pub(crate) async fn started(mut command: Command, ready: &str) -> Result<Server, Failure> {
    let mut process = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let pid = process.id().ok_or("the server ended at once")?;
    let stderr = process.stderr.take().ok_or("the server has no stderr")?;
    let mut lines = BufReader::new(stderr).lines();
    let reading = async {
        let mut seen = Vec::new();
        while let Some(line) = lines.next_line().await? {
            if let Some(fields) = line.strip_prefix(ready) {
                let url = fields
                    .split_whitespace()
                    .find_map(|field| field.strip_prefix("http="))
                    .ok_or_else(|| format!("no address in {line:?}"))?;
                return Ok::<_, Failure>(url.to_owned());
            }
            if seen.len() < LINES_MAX {
                seen.push(line);
            }
        }
        Err(format!("the server did not start:\n{}", seen.join("\n")).into())
    };
    let url = timeout(START_DEADLINE, reading).await??;
    // What it logs from now on is read, so that it never waits for a full pipe.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok(Server {
        url,
        pid,
        _process: process,
    })
}

//! Runs the binary `sipgraph` that lies beside this one, as its users do.

use crate::Failure;
use sipgraph_core::keyring::Keyring;
use std::net::SocketAddr;
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
    /// Where it listens for devices over UDP.
    udp_listen: SocketAddr,
}

/// A running server; it is killed when this is dropped.
pub(crate) struct Server {
    /// The address of its HTTP listener, as `http://127.0.0.1:PORT`.
    pub(crate) url: String,
    /// The address of its listener for devices over UDP; a stock server has none.
    udp: Option<SocketAddr>,
    /// Its process id.
    pub(crate) pid: u32,
    process: Child,
}

/// How a server is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// SIGKILL: at once, as by a power failure.
    Kill,
    /// SIGTERM: it drains.
    Terminate,
}

impl Server {
    /// The address of its listener for devices over UDP.
    ///
    /// # Errors
    /// It has none.
    pub(crate) fn udp(&self) -> Result<SocketAddr, Failure> {
        self.udp
            .ok_or_else(|| "the server has no UDP listener".into())
    }

    /// Ends the server and waits until it is gone.
    ///
    /// # Errors
    /// The signal can't be sent.
    pub(crate) async fn end(mut self, how: End) -> Result<(), Failure> {
        match how {
            End::Kill => self.process.start_kill()?,
            End::Terminate => {
                let pid = self.pid.to_string();
                let sent = Command::new("kill").args(["-TERM", &pid]).status().await?;
                if !sent.success() {
                    return Err("kill -TERM failed".into());
                }
            }
        }
        timeout(START_DEADLINE, self.process.wait()).await??;
        Ok(())
    }
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
            udp_listen: ([127, 0, 0, 1], 0).into(),
        })
    }

    /// Has it listen for devices at an address of its own, so that they find it again after a restart.
    pub(crate) fn listening_at(self, udp_listen: SocketAddr) -> Self {
        Self { udp_listen, ..self }
    }

    /// Where the instance key lies.
    pub(crate) fn key_file(&self) -> PathBuf {
        self.folder.join("secret.key")
    }

    /// The instance key, which the first command has made.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn keyring(&self) -> Result<Keyring, Failure> {
        let text = std::fs::read_to_string(self.key_file())?;
        let text = text.trim();
        let mut key = [0; 32];
        for (place, byte) in key.iter_mut().enumerate() {
            let digits = text.get(2 * place..2 * place + 2);
            *byte = u8::from_str_radix(digits.ok_or("the key file is too short")?, 16)?;
        }
        Ok(Keyring::new(key))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(arguments)
            .env_clear()
            .env("SIPGRAPH_DATABASE_URL", &self.database_url)
            .env("SIPGRAPH_SECRET_KEY_FILE", self.key_file())
            .env("SIPGRAPH_HTTP_LISTEN", "127.0.0.1:0")
            .env("SIPGRAPH_SIP_UDP_LISTEN", self.udp_listen.to_string())
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
                let field = |name: &str| {
                    let mut fields = fields.split_whitespace();
                    fields.find_map(|field| field.strip_prefix(name))
                };
                let url = field("http=").ok_or_else(|| format!("no address in {line:?}"))?;
                let udp = field("udp=").map(str::parse).transpose()?;
                return Ok::<_, Failure>((url.to_owned(), udp));
            }
            if seen.len() < LINES_MAX {
                seen.push(line);
            }
        }
        Err(format!("the server did not start:\n{}", seen.join("\n")).into())
    };
    let (url, udp) = timeout(START_DEADLINE, reading).await??;
    // What it logs from now on is read, so that it never waits for a full pipe.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok(Server {
        url,
        udp,
        pid,
        process,
    })
}

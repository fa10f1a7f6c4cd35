//! The control socket: how a command on the same machine talks with the running server. A request is one line of JSON,
//! what comes back are lines of JSON until either side ends. It must not know what a trace is made of.

use crate::config::Config;
use crate::failure::Failure;
use crate::files;
use serde::{Deserialize, Serialize};
use sipgraph_sip_edge::{Traced, Traces, Watched};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The longest request, in bytes: an address with all names of its domain.
const REQUEST_MAX: u64 = 64 * 1024;
/// How long a command may take for its request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait after the system refused a connection, so that the loop does not spin.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// What a command asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Request {
    /// Show what an endpoint says and is told.
    Trace {
        /// The canonical user part of its address.
        user: String,
        /// The names of its domain.
        domains: Vec<String>,
        /// Whether bodies are shown.
        bodies: bool,
    },
}

/// What the server answers, a line each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Line {
    /// The trace has begun.
    Tracing,
    /// A message.
    Message(Seen),
    /// So many messages came too fast to be shown.
    Missed(u64),
    /// The request was refused, for this reason.
    Refused(String),
}

/// A message as a line of a trace; this is also what `sipgraph trace --json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// When: RFC 3339 with microseconds, in UTC.
    pub(crate) at: String,
    /// `in` or `out`.
    pub(crate) direction: Direction,
    /// UDP, TCP, TLS, WS or WSS.
    pub(crate) transport: String,
    /// The server's address.
    pub(crate) local: String,
    /// The peer's address.
    pub(crate) remote: String,
    /// Start line and headers, without credentials.
    pub(crate) head: String,
    /// The size of the body.
    pub(crate) body_octets: usize,
    /// The body, when it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<String>,
}

/// Who sent a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Direction {
    /// The peer.
    In,
    /// The server.
    Out,
}

impl Seen {
    /// Returns it as one line of JSON.
    pub(crate) fn json(&self) -> String {
        serde_json::json!(self).to_string()
    }
}

impl From<Traced> for Seen {
    fn from(traced: Traced) -> Self {
        Self {
            at: traced.at.rfc3339(),
            direction: if traced.is_sent {
                Direction::Out
            } else {
                Direction::In
            },
            transport: traced.transport.as_str().to_owned(),
            local: traced.local.to_string(),
            remote: traced.remote.to_string(),
            head: traced.head,
            body_octets: traced.body_octets,
            body: traced.body,
        }
    }
}

/// The open socket; its file goes with it.
pub(crate) struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Control {
    /// Opens the socket of the configuration, for the server's user alone. `None` when another server has it: then that
    /// one answers.
    ///
    /// # Errors
    /// [`Failure::Usage`] naming the key, where no socket can be made.
    pub(crate) async fn open(config: &Config) -> Result<Option<Self>, Failure> {
        let path = config.control_socket();
        if UnixStream::connect(&path).await.is_ok() {
            tracing::warn!(
                path = %path.display(),
                "another server has this control socket, which `sipgraph trace` will ask; give this one its own control_socket"
            );
            return Ok(None);
        }
        let refused = |error: io::Error| {
            Failure::key(
                "control_socket",
                format_args!("{} can't be made: {error}", path.display()),
            )
        };
        files::make_folder(files::folder_of(&path)).map_err(refused)?;
        // Left by a server that was killed.
        files::remove(&path).map_err(refused)?;
        let listener = UnixListener::bind(&path).map_err(refused)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(refused)?;
        Ok(Some(Self { listener, path }))
    }

    /// Answers requests until `stop` is cancelled.
    pub(crate) async fn serve(self, traces: Traces, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        let owner = std::fs::metadata(&self.path).map(|file| file.uid()).ok();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) if is_allowed(&stream, owner) => {
                    let (traces, stop) = (traces.clone(), stop.clone());
                    tasks.spawn(async move {
                        tokio::select! {
                            () = stop.cancelled() => {}
                            // It has gone, or what it asked was answered.
                            _ = answer(stream, &traces) => {}
                        }
                    });
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "the control socket refused a connection");
                    tokio::time::sleep(REFUSED_PAUSE).await;
                }
            }
        }
        tasks.close();
        tasks.wait().await;
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // Nobody could be told.
        let _ = files::remove(&self.path);
    }
}

/// The socket's mode says it already, but not before it is set.
fn is_allowed(stream: &UnixStream, owner: Option<u32>) -> bool {
    let peer = stream.peer_cred().map(|peer| peer.uid()).ok();
    peer.is_some() && (peer == owner || peer == Some(0))
}

async fn answer(stream: UnixStream, traces: &Traces) -> io::Result<()> {
    let (reading, mut writing) = stream.into_split();
    let mut request = String::new();
    let mut reading = BufReader::new(reading.take(REQUEST_MAX));
    timeout(REQUEST_TIMEOUT, reading.read_line(&mut request)).await??;
    let Request::Trace {
        user,
        domains,
        bodies,
    } = match serde_json::from_str(&request) {
        Ok(request) => request,
        Err(error) => return write(&mut writing, &Line::Refused(error.to_string())).await,
    };
    let watched = Watched {
        user,
        domains: domains.into_iter().collect(),
        bodies,
    };
    let Some(mut trace) = traces.watch(watched) else {
        let refused = "Too many traces run already; end one first.";
        return write(&mut writing, &Line::Refused(refused.to_owned())).await;
    };
    write(&mut writing, &Line::Tracing).await?;
    let mut rest = [0; 1];
    loop {
        let traced = tokio::select! {
            traced = trace.next() => traced,
            // Nothing more is said by a command: it has ended.
            _ = reading.read(&mut rest) => return Ok(()),
        };
        let Some(traced) = traced else { return Ok(()) };
        write(&mut writing, &Line::Message(traced.into())).await?;
        let missed = trace.missed();
        if missed > 0 {
            write(&mut writing, &Line::Missed(missed)).await?;
        }
    }
}

async fn write(writing: &mut OwnedWriteHalf, line: &Line) -> io::Result<()> {
    let mut text = serde_json::to_string(line)?;
    text.push('\n');
    writing.write_all(text.as_bytes()).await
}

/// A command's side of the socket.
pub(crate) struct Client {
    lines: tokio::io::Lines<BufReader<UnixStream>>,
}

impl Client {
    /// Asks the running server.
    ///
    /// # Errors
    /// [`Failure::Failed`] when no server answers at `path`.
    pub(crate) async fn ask(path: &Path, request: &Request) -> Result<Self, Failure> {
        let asked = async {
            let mut stream = UnixStream::connect(path).await?;
            let mut text = serde_json::to_string(request)?;
            text.push('\n');
            stream.write_all(text.as_bytes()).await?;
            io::Result::Ok(stream)
        };
        let stream = asked.await.map_err(|error| {
            Failure::failed(
                format_args!("No server answers at {}", path.display()),
                format_args!(
                    "{error}. Start it first, and give this command its configuration and its user"
                ),
            )
        })?;
        Ok(Self {
            lines: BufReader::new(stream).lines(),
        })
    }

    /// Waits for the next line; `None` when the server has ended.
    ///
    /// # Errors
    /// [`Failure::Failed`] for what is none of ours.
    pub(crate) async fn next(&mut self) -> Result<Option<Line>, Failure> {
        let wrong = |error: io::Error| Failure::failed("The server's answer can't be read", error);
        let Some(line) = self.lines.next_line().await.map_err(wrong)? else {
            return Ok(None);
        };
        let line = serde_json::from_str(&line).map_err(|error| wrong(error.into()))?;
        Ok(Some(line))
    }
}

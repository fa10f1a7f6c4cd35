//! The program under test: started, killed, stopped and started again as an operator would.

use super::tls::put_certificate;
use super::{Database, STEP};
use sipgraph_testkit::certificates::Authority;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Every scope that concerns nouns; a `manage` implies the others of its noun.
pub(crate) const ALL_SCOPES: &str = "endpoints.manage,endpoints.secrets,messages.manage,chats.manage,domains.manage,applications.manage,profile.manage,account.manage,tokens.manage,registrations.read,bans.manage";

/// The name of the account that [`Server::start`] makes.
pub(crate) const ACCOUNT: &str = "acme";

/// Returns a command of the program with nothing of our environment.
pub(crate) fn sipgraph() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sipgraph"));
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .kill_on_drop(true);
    command
}

/// A running `sipgraph serve`.
pub(crate) struct Server {
    /// The address of its HTTP listener, as `http://127.0.0.1:PORT`.
    pub(crate) url: String,
    /// Where it listens for SIP on UDP.
    pub(crate) udp: SocketAddr,
    /// Where it listens for SIP on TCP.
    pub(crate) tcp: SocketAddr,
    /// Every listener as the ready line has it: `http`, `udp`, `tcp` and `tls` with their lists.
    pub(crate) listeners: Vec<(String, Vec<String>)>,
    /// The address of its metrics, as `http://127.0.0.1:PORT`; empty without them.
    pub(crate) metrics: String,
    /// Which database its ready line names.
    pub(crate) database: String,
    /// A token of [`ACCOUNT`] with every scope.
    pub(crate) token: String,
    /// What it is configured with, besides its listeners.
    pub(crate) environment: Vec<(String, String)>,
    folder: TempDir,
    log: Arc<Mutex<Vec<String>>>,
    process: Option<Child>,
}

impl Server {
    /// Starts it on a database, with an account and a token made by the command line.
    pub(crate) async fn start(database: &Database) -> Self {
        Self::start_with(database.url(), &[]).await
    }

    /// Starts it on a database by its address, with further configuration.
    pub(crate) async fn start_with(url: &str, environment: &[(&str, &str)]) -> Self {
        Self::prepared(url, environment).begun().await
    }

    /// Starts it with a listener for SIP on TLS more, whose certificate an authority has signed.
    pub(crate) async fn start_tls(
        database: &Database,
        authority: &Authority,
        environment: &[(&str, &str)],
    ) -> Self {
        let tls = [
            ("SIPGRAPH_SIP_TLS_LISTEN", "127.0.0.1:0"),
            ("SIPGRAPH_SIP_TLS_CERT", "cert.pem"),
            ("SIPGRAPH_SIP_TLS_KEY", "key.pem"),
        ];
        let server = Self::prepared(database.url(), &[&tls, environment].concat());
        put_certificate(authority, server.folder());
        server.begun().await
    }

    async fn begun(self) -> Self {
        let mut server = self;
        server.cli(&["account", "create", ACCOUNT]).await;
        server.token = server.token_create(ACCOUNT, ALL_SCOPES, &[]).await;
        server.run().await;
        server
    }

    /// Returns one that is configured and not started.
    pub(crate) fn prepared(url: &str, environment: &[(&str, &str)]) -> Self {
        let folder = TempDir::with_prefix("sipgraph-e2e").unwrap();
        let key_file = folder.path().join("secret.key");
        let mut all = vec![
            ("SIPGRAPH_DATABASE_URL".to_owned(), url.to_owned()),
            (
                "SIPGRAPH_SECRET_KEY_FILE".to_owned(),
                key_file.display().to_string(),
            ),
        ];
        all.extend(
            environment
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned())),
        );
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            url: "http://127.0.0.1:0".to_owned(),
            udp: nowhere,
            tcp: nowhere,
            listeners: Vec::new(),
            metrics: String::new(),
            database: String::new(),
            token: String::new(),
            environment: all,
            folder,
            log: Arc::default(),
            process: None,
        }
    }

    /// A folder of its own, gone after the test.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The address of the WebSocket.
    pub(crate) fn ws_url(&self) -> String {
        format!("{}/graphql", self.url.replacen("http", "ws", 1))
    }

    /// Runs a command of the program on the same database and gives its trimmed output.
    pub(crate) async fn cli(&self, arguments: &[&str]) -> String {
        let output = self.cli_output(arguments).await;
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// A command of the program on the same database, whose output is kept for whoever spawns it.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = sipgraph();
        command
            .args(arguments)
            .envs(self.environment.iter().cloned())
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a command of the program on the same database.
    pub(crate) async fn cli_output(&self, arguments: &[&str]) -> Output {
        self.cli_output_within(STEP, arguments).await
    }

    /// Runs a command of the program on the same database that ends within a time.
    pub(crate) async fn cli_output_within(&self, within: Duration, arguments: &[&str]) -> Output {
        timeout(within, self.command(arguments).output())
            .await
            .unwrap_or_else(|_| panic!("{arguments:?} did not end"))
            .unwrap()
    }

    /// Mints a token as the operator does.
    pub(crate) async fn token_create(
        &self,
        account: &str,
        scopes: &str,
        endpoints: &[&str],
    ) -> String {
        let mut arguments = vec![
            "token",
            "create",
            "--account",
            account,
            "--name",
            "e2e",
            "--scopes",
            scopes,
        ];
        for id in endpoints {
            arguments.extend(["--endpoint", id]);
        }
        self.cli(&arguments).await
    }

    /// Starts the process and waits until every listener is open. A restart takes the same ports.
    pub(crate) async fn run(&mut self) {
        let http = self.url.split("://").nth(1).unwrap().to_owned();
        let mut command = sipgraph();
        command
            .arg("serve")
            .env("SIPGRAPH_HTTP_LISTEN", http)
            .env("SIPGRAPH_SIP_UDP_LISTEN", self.udp.to_string())
            .env("SIPGRAPH_SIP_TCP_LISTEN", self.tcp.to_string())
            .envs(self.environment.iter().cloned())
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (ready, is_ready) = oneshot::channel();
        let stderr = child.stderr.take().unwrap();
        tokio::spawn(read_log(stderr, self.log.clone(), ready));
        self.process = Some(child);
        let Ok(Ok(line)) = timeout(STEP, is_ready).await else {
            panic!("the server is not ready:\n{}", self.log());
        };
        self.listeners = line
            .split_whitespace()
            .filter_map(|part| part.split_once('='))
            .map(|(name, list)| {
                (
                    name.to_owned(),
                    list.split(',').map(str::to_owned).collect(),
                )
            })
            .collect();
        let first = |name: &str| self.listener(name, 0);
        let metrics = first("metrics");
        (self.url, self.database) = (first("http"), first("database"));
        self.metrics = metrics;
        self.udp = self.listener("udp", 0).parse().unwrap();
        self.tcp = self.listener("tcp", 0).parse().unwrap();
    }

    /// One listener of a kind, as the ready line has it.
    pub(crate) fn listener(&self, kind: &str, place: usize) -> String {
        let list = self.listeners.iter().find(|(name, _)| name == kind);
        let listener = list.and_then(|(_, list)| list.get(place));
        listener
            .unwrap_or_else(|| panic!("no {kind} {place} in {:?}", self.listeners))
            .clone()
    }

    /// Where it listens for SIP on TLS.
    pub(crate) fn tls(&self) -> SocketAddr {
        self.listener("tls", 0).parse().unwrap()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        signal(name, self.process.as_ref().and_then(Child::id).unwrap());
    }

    /// Ends it as a power cut would: SIGKILL, in the middle of whatever it does.
    pub(crate) async fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().await.unwrap();
        }
    }

    /// Asks it to stop: SIGTERM. It goes on draining; see [`Server::ended`].
    pub(crate) fn terminate(&self) {
        self.signal("-TERM");
    }

    /// Waits until the process has ended.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let mut process = self.process.take().unwrap();
        timeout(STEP, process.wait())
            .await
            .expect("the server stops")
            .unwrap()
    }

    /// Kills it and starts it on the same database and ports.
    pub(crate) async fn kill_and_restart(&mut self) {
        self.kill().await;
        self.run().await;
    }

    /// How many connections of its HTTP listener are established now, as the kernel has it.
    pub(crate) fn connections(&self) -> usize {
        let port: u16 = self
            .url
            .rsplit(':')
            .next()
            .and_then(|port| port.parse().ok())
            .unwrap();
        let local = format!(":{port:04X}");
        std::fs::read_to_string("/proc/net/tcp")
            .unwrap()
            .lines()
            .skip(1)
            .filter(|line| {
                let mut fields = line.split_whitespace().skip(1);
                let of_listener = fields
                    .next()
                    .is_some_and(|address| address.ends_with(&local));
                // 01 is ESTABLISHED.
                of_listener && fields.nth(1) == Some("01")
            })
            .count()
    }

    /// Its resident memory now, in KiB.
    pub(crate) fn memory_kib(&self) -> u64 {
        let pid = self.process.as_ref().and_then(Child::id).unwrap();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|rest| rest.split_whitespace().next());
        number.and_then(|number| number.parse().ok()).unwrap()
    }

    /// Everything that it wrote to stderr.
    pub(crate) fn log(&self) -> String {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines.get(lines.len().saturating_sub(40)..).unwrap_or(&[]);
            eprintln!("the server's log ends with:\n{}", tail.join("\n"));
        }
    }
}

/// Sends a signal by the ordinary command, so that no test needs unsafe code.
pub(crate) fn signal(name: &str, pid: u32) {
    let status = std::process::Command::new("kill")
        .args([name, &pid.to_string()])
        .status()
        .unwrap();
    assert!(status.success(), "kill {name} {pid}: {status}");
}

async fn read_log(
    stderr: tokio::process::ChildStderr,
    log: Arc<Mutex<Vec<String>>>,
    ready: oneshot::Sender<String>,
) {
    let mut ready = Some(ready);
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if line.starts_with("sipgraph ready ")
            && let Some(ready) = ready.take()
        {
            let _ = ready.send(line.clone());
        }
        log.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line);
    }
}

//! A real Postgres cluster for tests: made by `initdb` in a temporary folder, gone when the test process ends.
//!
//! One shell process stands between us and the server and holds the read end of a pipe. However
//! this process ends (also by SIGKILL or an abort), the pipe closes, and the shell stops the
//! server and removes its folder. `PR_SET_PDEATHSIG` would be wrong here: it follows the *thread*
//! that started the server, and every test runs on a thread of its own.

use std::{
    ffi::OsString,
    fs,
    io::Write as _,
    net::TcpListener,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use crate::certificates::ServerCertificate;

/// A cluster answers within this time of its start; a loaded two-core machine needs a few seconds.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// The watcher: it runs the server, waits for a word or for the end of its input, and cleans up.
/// `$1` is the data folder's parent, the rest is the server's command line.
const WATCHER: &str = r#"
folder=$1; shift
"$@" >>"$folder/log" 2>&1 </dev/null &
server=$!
echo "$server" >"$folder/server.pid"
read -r word
if [ "$word" = stop ]; then kill -INT "$server"; wait "$server"; exit 0; fi
kill -QUIT "$server"; kill -CONT "$server"; wait "$server"
if [ "$word" != crash ]; then rm -rf "$folder"; fi
"#;

/// What a cluster is started with.
#[derive(Default)]
pub struct ClusterOptions {
    /// Serve TLS with this certificate; TCP connections without TLS are then refused.
    pub tls: Option<ServerCertificate>,
    /// Further settings, as in `postgresql.conf`.
    pub settings: Vec<(&'static str, String)>,
}

/// A Postgres server on 127.0.0.1 and on a Unix socket, user `postgres`, without a password.
pub struct Cluster {
    folder: PathBuf,
    binaries: PathBuf,
    owner: Option<Owner>,
    port: u16,
    settings: Vec<(&'static str, String)>,
    running: Mutex<Option<Child>>,
}

/// The user that the server runs as when we are root (Postgres refuses to run as root).
#[derive(Clone, Copy)]
struct Owner {
    uid: u32,
    gid: u32,
}

impl Cluster {
    /// The one cluster that this process's tests share; it is started at the first call.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(ClusterOptions::default()))
    }

    /// Makes and starts a private cluster, to be stopped or frozen at will; dropping it removes it.
    ///
    /// Blocks for a few seconds (`initdb`).
    #[must_use]
    pub fn start(options: ClusterOptions) -> Self {
        let ClusterOptions { tls, settings } = options;
        let binaries = find_binaries();
        let owner = am_root().then(unprivileged_user);
        // Short, because a Unix socket's path may have at most 107 bytes.
        let folder = tempfile::Builder::new()
            .prefix("sgpg")
            .tempdir()
            .expect("a temporary folder can be made")
            .keep();
        give(&folder, owner);
        let mut cluster = Self {
            folder,
            binaries,
            owner,
            port: 0,
            settings,
            running: Mutex::new(None),
        };
        cluster.init();
        if let Some(tls) = tls {
            cluster.install(&tls);
        }
        // The port is free when we ask and may be taken when the server binds it: then another is tried.
        for attempt in 1..=5 {
            cluster.port = free_port();
            if cluster.resume_or_start() {
                return cluster;
            }
            assert!(attempt < 5, "Postgres does not start:\n{}", cluster.log());
        }
        cluster
    }

    /// The TCP port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of the Unix socket, to be used as a host.
    #[must_use]
    pub fn socket_folder(&self) -> &Path {
        &self.folder
    }

    /// The address of `database` over TCP, without a query part.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Stops the server in good order (fast shutdown) and keeps its data.
    pub fn stop(&self) {
        self.end("stop");
    }

    /// Stops the server as a crash would (immediate shutdown) and keeps its data.
    pub fn crash(&self) {
        self.end("crash");
    }

    /// Starts the server again on the same port after [`Cluster::stop`] or [`Cluster::crash`].
    pub fn start_again(&self) {
        assert!(
            self.resume_or_start(),
            "Postgres does not start again:\n{}",
            self.log()
        );
    }

    /// Freezes the server and all its processes (SIGSTOP): connections stay open and nothing answers.
    pub fn suspend(&self) {
        self.signal("-STOP");
    }

    /// Lets a frozen server go on (SIGCONT).
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    /// What the server has logged; for the message of a failed test.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    fn init(&self) {
        let mut command = self.as_owner(self.binaries.join("initdb"));
        command
            .arg("--pgdata")
            .arg(self.folder.join("data"))
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8"])
            .args(["--locale=C", "--no-sync", "--no-instructions"]);
        let output = command.output().expect("initdb can be run");
        assert!(
            output.status.success(),
            "initdb failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Puts certificate and key in place and refuses TCP without TLS.
    fn install(&mut self, tls: &ServerCertificate) {
        let data = self.folder.join("data");
        for (name, text) in [
            ("server.crt", &tls.certificate_pem),
            ("server.key", &tls.key_pem),
        ] {
            let path = data.join(name);
            fs::write(&path, text).expect("a file in our own folder can be written");
            // Postgres refuses a key that others can read.
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("we own the file");
            give(&path, self.owner);
        }
        let rules = "local all all trust\nhostssl all all all trust\n";
        fs::write(data.join("pg_hba.conf"), rules)
            .expect("a file in our own folder can be written");
        self.settings.push(("ssl", "on".to_owned()));
    }

    /// Starts the server; false when it ended before it was ready.
    fn resume_or_start(&self) -> bool {
        let settings = [
            ("listen_addresses", "127.0.0.1".to_owned()),
            ("port", self.port.to_string()),
            (
                "unix_socket_directories",
                self.folder.to_string_lossy().into_owned(),
            ),
            // The product refuses fsync=off, so it stays on; these two cost nothing in truth.
            ("fsync", "on".to_owned()),
            ("full_page_writes", "off".to_owned()),
            ("shared_buffers", "64MB".to_owned()),
            ("max_connections", "300".to_owned()),
        ];
        let mut line: Vec<OsString> = Vec::new();
        if let Some(Owner { uid, gid }) = self.owner {
            line.push("setpriv".into());
            line.push(format!("--reuid={uid}").into());
            line.push(format!("--regid={gid}").into());
            line.push("--clear-groups".into());
        }
        line.push(self.binaries.join("postgres").into());
        line.push("-D".into());
        line.push(self.folder.join("data").into());
        for (name, value) in settings.iter().chain(&self.settings) {
            line.push("-c".into());
            line.push(format!("{name}={value}").into());
        }
        let _ = fs::remove_file(self.folder.join("data/postmaster.pid"));
        let mut watcher = Command::new("sh")
            .args(["-c", WATCHER, "watcher"])
            .arg(&self.folder)
            .args(&line)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A group of its own: Ctrl-C ends the test and leaves the watcher to clean up.
            .process_group(0)
            .spawn()
            .expect("sh can be run");
        let deadline = Instant::now() + START_DEADLINE;
        while Instant::now() < deadline {
            if self.is_ready() {
                *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(watcher);
                return true;
            }
            if self.has_ended() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        tell(&mut watcher, "crash");
        let _ = watcher.wait();
        false
    }

    /// The eighth line of `postmaster.pid` says when connections are accepted.
    fn is_ready(&self) -> bool {
        fs::read_to_string(self.folder.join("data/postmaster.pid"))
            .is_ok_and(|text| text.lines().nth(7).is_some_and(|s| s.trim() == "ready"))
    }

    fn has_ended(&self) -> bool {
        self.server().is_some_and(
            |pid| match fs::read_to_string(format!("/proc/{pid}/stat")) {
                Ok(stat) => stat.contains(") Z "),
                Err(_) => true,
            },
        )
    }

    fn server(&self) -> Option<u32> {
        fs::read_to_string(self.folder.join("server.pid"))
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    fn end(&self, word: &str) {
        let watcher = self
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(mut watcher) = watcher {
            tell(&mut watcher, word);
            let _ = watcher.wait();
            let _ = fs::remove_file(self.folder.join("server.pid"));
        }
    }

    fn signal(&self, signal: &str) {
        let server = self.server().expect("the cluster runs");
        // The parent first, so that it starts no process that we miss.
        let mut ids = vec![server.to_string()];
        kill(signal, &ids);
        let children = fs::read_to_string(format!("/proc/{server}/task/{server}/children"))
            .expect("the kernel lists the children of a process");
        ids = children.split_whitespace().map(str::to_owned).collect();
        kill(signal, &ids);
    }

    fn as_owner(&self, program: PathBuf) -> Command {
        let mut command = match self.owner {
            Some(Owner { uid, gid }) => {
                let mut command = Command::new("setpriv");
                command
                    .arg(format!("--reuid={uid}"))
                    .arg(format!("--regid={gid}"))
                    .arg("--clear-groups")
                    .arg(program);
                command
            }
            None => Command::new(program),
        };
        command.current_dir(&self.folder);
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.end("remove");
        // Stopped before it was dropped: then no watcher is left to do it.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn tell(watcher: &mut Child, word: &str) {
    if let Some(mut stdin) = watcher.stdin.take() {
        let _ = writeln!(stdin, "{word}");
    }
}

fn kill(signal: &str, ids: &[String]) {
    if !ids.is_empty() {
        // A process of the list may have ended meanwhile: no error for us.
        let _ = Command::new("kill")
            .arg(signal)
            .args(ids)
            .stderr(Stdio::null())
            .status();
    }
}

/// The folder of `initdb` and `postgres`: from the PATH, else where Debian keeps its versions (the newest).
fn find_binaries() -> PathBuf {
    let on_path = std::env::var_os("PATH")
        .into_iter()
        .flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let mut packaged: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .collect();
    packaged.sort();
    packaged.reverse();
    on_path
        .chain(packaged)
        .find(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file())
        .expect("the tests need a Postgres server: install the package postgresql")
}

fn am_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// `postgres` where the package made it, else `nobody`.
fn unprivileged_user() -> Owner {
    let users = fs::read_to_string("/etc/passwd").expect("/etc/passwd can be read");
    let find = |name: &str| {
        let line = users
            .lines()
            .find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some(Owner {
            uid: fields.next()?.parse().ok()?,
            gid: fields.next()?.parse().ok()?,
        })
    };
    find("postgres")
        .or_else(|| find("nobody"))
        .expect("root needs an unprivileged user to run Postgres as")
}

fn give(path: &Path, owner: Option<Owner>) {
    if let Some(Owner { uid, gid }) = owner {
        chown(path, Some(uid), Some(gid)).expect("root may give a file away");
    }
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .expect("a port is free")
        .port()
}

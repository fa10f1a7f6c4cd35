//! `SIPp`, the test tool of the field: it registers, sends and receives MESSAGE by scenarios. Version 3.6 knows MD5 only.

use super::{Account, STEP, Server};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// A scenario that runs.
pub(crate) struct Sipp {
    name: &'static str,
    process: Child,
    folder: TempDir,
}

/// Returns a port of the loopback that is free for UDP and TCP now, below those that Linux gives to whoever asks for any
/// (32768 and more): no other test takes it before it is used.
pub(crate) fn free_port() -> u16 {
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 12_000;
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    loop {
        // Runs at the same time begin at different ports.
        let number = std::process::id() * 97 + GIVEN.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(FIRST + number % COUNT).unwrap();
        let address = (Ipv4Addr::LOCALHOST, port);
        if UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok() {
            return port;
        }
    }
}

impl Sipp {
    /// Registers an account from a port; the port then is its contact.
    pub(crate) async fn register(server: &Server, account: &Account, port: u16) {
        let data = format!("{};{}", account.user, credentials(account));
        let scenario = include_str!("sipp/register.xml");
        Self::start(
            server,
            "register",
            scenario,
            &account.domain,
            &data,
            port,
            (1, 10),
        )
        .ends()
        .await;
    }

    /// Sends a text from an account to the user of another; it must be answered with 202.
    pub(crate) async fn send(server: &Server, from: &Account, to: &Account, text: &str) {
        let data = format!("{};{};{};{text}", from.user, credentials(from), to.user);
        let scenario = include_str!("sipp/send.xml");
        Self::start(
            server,
            "send",
            scenario,
            &from.domain,
            &data,
            free_port(),
            (1, 10),
        )
        .ends()
        .await;
    }

    /// Waits on a port for one MESSAGE and answers it with 200.
    pub(crate) fn receive(server: &Server, account: &Account, port: u16) -> Self {
        let scenario = include_str!("sipp/receive.xml");
        Self::start(
            server,
            "receive",
            scenario,
            &account.domain,
            "",
            port,
            (1, 10),
        )
    }

    /// Stands for a carrier at a port, over `u1` (UDP) or `t1` (TCP): challenges as many messages as are named, and takes those of
    /// the user `acme`.
    pub(crate) fn trunk(server: &Server, port: u16, transport: &str, calls: u32) -> Self {
        let scenario = include_str!("sipp/trunk.xml");
        Self::start_over(
            transport,
            server,
            "trunk",
            scenario,
            "",
            "",
            port,
            (calls, 10),
        )
    }

    /// Runs a scenario for so many calls, so many a second.
    pub(crate) fn load(
        server: &Server,
        name: &'static str,
        scenario: &str,
        realm: &str,
        calls: u32,
        calls_per_s: u32,
    ) -> Self {
        Self::start(
            server,
            name,
            scenario,
            realm,
            "",
            free_port(),
            (calls, calls_per_s),
        )
    }

    /// Waits on a port for MESSAGE requests until it is dropped, answers each with 200 and notes it; see [`Sipp::collected`].
    pub(crate) fn collect(port: u16) -> Self {
        let folder = TempDir::with_prefix("sipp").unwrap();
        let scenario = include_str!("sipp/collect.xml");
        std::fs::write(folder.path().join("scenario.xml"), scenario).unwrap();
        let process = Command::new("sipp")
            .current_dir(folder.path())
            .args(["-sf", "scenario.xml", "-nostdin", "-trace_logs"])
            .args(["-log_file", "collected.log", "-max_reconnect", "0"])
            // Otherwise it ignores a Call-ID that it had for 33 s, which is how a message comes again after a kill.
            .args(["-deadcall_wait", "0"])
            .args(["-i", "127.0.0.1", "-p", &port.to_string()])
            .env("TERM", "dumb")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("SIPp is installed (tests/setup/install.sh)");
        Self {
            name: "collect",
            process,
            folder,
        }
    }

    /// What came so far: pairs of Call-ID and text, one for each time that a MESSAGE came.
    pub(crate) fn collected(&self) -> Vec<(String, String)> {
        let log = std::fs::read_to_string(self.folder.path().join("collected.log"));
        let pair = |line: &str| {
            let (call_id, text) = line.strip_prefix("got ")?.split_once(' ')?;
            Some((call_id.to_owned(), text.to_owned()))
        };
        log.unwrap_or_default().lines().filter_map(pair).collect()
    }

    fn start(
        server: &Server,
        name: &'static str,
        scenario: &str,
        realm: &str,
        data: &str,
        port: u16,
        pace: (u32, u32),
    ) -> Self {
        Self::start_over("u1", server, name, scenario, realm, data, port, pace)
    }

    #[expect(clippy::too_many_arguments, reason = "each is an argument of SIPp")]
    fn start_over(
        transport: &str,
        server: &Server,
        name: &'static str,
        scenario: &str,
        realm: &str,
        data: &str,
        port: u16,
        (calls, calls_per_s): (u32, u32),
    ) -> Self {
        let folder = TempDir::with_prefix("sipp").unwrap();
        std::fs::write(folder.path().join("scenario.xml"), scenario).unwrap();
        let mut command = Command::new("sipp");
        if !data.is_empty() {
            std::fs::write(
                folder.path().join("data.csv"),
                format!(
                    "SEQUENTIAL
{data}
"
                ),
            )
            .unwrap();
            command.args(["-inf", "data.csv"]);
        }
        let process = command
            .current_dir(folder.path())
            .args(["-sf", "scenario.xml", "-nostdin"])
            .args(["-m", &calls.to_string(), "-r", &calls_per_s.to_string()])
            .args(["-i", "127.0.0.1", "-p", &port.to_string()])
            .args(["-t", transport, "-key", "realm", realm, "-timeout", "30"])
            .arg(server.udp.to_string())
            .env("TERM", "dumb")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("SIPp is installed (tests/setup/install.sh)");
        Self {
            name,
            process,
            folder,
        }
    }

    /// Waits until the scenario is done; it must have gone as written.
    pub(crate) async fn ends(self) {
        let output = timeout(STEP, self.process.wait_with_output())
            .await
            .unwrap_or_else(|_| panic!("SIPp's scenario {} does not end", self.name))
            .unwrap();
        assert!(
            output.status.success(),
            "SIPp's scenario {} failed: {}",
            self.name,
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

fn credentials(account: &Account) -> String {
    format!(
        "[authentication username={} password={}]",
        account.user, account.password
    )
}

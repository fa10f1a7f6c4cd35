//! Runs Kamailio as a registrar and relay that keeps everything in memory: the yardstick of the SIP benchmarks.

use crate::Failure;
use crate::meter::{cpu, cpu_with_children};
use crate::phones::REALM;
use crate::program::Server;
use std::net::{SocketAddr, UdpSocket as StdSocket};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Its configuration; the passwords are `pw` and the user, so that it reads none.
const CONFIGURATION: &str = include_str!("../kamailio.cfg");
/// Where distributions put it; `/usr/sbin` is not in everybody's `PATH`.
const PLACES: [&str; 3] = [
    "/usr/sbin/kamailio",
    "/usr/local/sbin/kamailio",
    "/usr/bin/kamailio",
];
/// How often it is asked whether it is there, 100 ms apart.
const LOOKS_MAX: u32 = 100;

/// A running Kamailio; it ends, with its children, when this is dropped.
pub(crate) struct Kamailio {
    /// Where it listens.
    pub(crate) udp: SocketAddr,
    /// The process whose children serve.
    pub(crate) pid: u32,
    process: Child,
}

/// Its binary.
///
/// # Errors
/// It is not installed; says how to.
pub(crate) fn binary() -> Result<PathBuf, Failure> {
    let found = PLACES.iter().map(PathBuf::from).find(|path| path.is_file());
    found.ok_or_else(|| {
        "Kamailio, the yardstick of this benchmark, is not installed: apt-get install kamailio (5.6 or newer)"
            .into()
    })
}

impl Kamailio {
    /// Starts it with two worker processes.
    ///
    /// # Errors
    /// It is not installed, or does not answer.
    pub(crate) async fn start(folder: &Path) -> Result<Self, Failure> {
        let configuration = folder.join("kamailio.cfg");
        std::fs::write(&configuration, CONFIGURATION)?;
        // It can't choose a port; this one was free a moment ago.
        let udp = StdSocket::bind("127.0.0.1:0")?.local_addr()?;
        let mut process = Command::new(binary()?)
            .arg("-f")
            .arg(&configuration)
            // In the foreground, so that its end is seen.
            .args(["-DD", "-E", "-Y"])
            .arg(folder)
            // A transaction stays for 5 s: with the 64 MiB that it has by default it refuses work after some 10,000.
            .args(["-m", "1024"])
            .args(["-l", &format!("udp:{udp}"), "-A"])
            .arg(format!("REALM=\"{REALM}\""))
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.join("kamailio.log"))?)
            .spawn()?;
        let pid = process.id().ok_or("kamailio ended at once")?;
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        socket.connect(udp).await?;
        let request = format!(
            "OPTIONS sip:{REALM} SIP/2.0\r\nVia: SIP/2.0/UDP {at};rport;branch=z9hG4bKlook\r\n\
             From: <sip:look@{REALM}>;tag=1\r\nTo: <sip:{REALM}>\r\nCall-ID: look\r\nCSeq: 1 OPTIONS\r\n\
             Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
            at = socket.local_addr()?
        );
        for _ in 0..LOOKS_MAX {
            // Refused until it listens.
            let _ = socket.send(request.as_bytes()).await;
            let mut answer = [0; 2048];
            let pause = Duration::from_millis(100);
            match timeout(pause, socket.recv(&mut answer)).await {
                Ok(Ok(_)) => return Ok(Self { udp, pid, process }),
                Ok(Err(_)) => tokio::time::sleep(pause).await,
                Err(_) => {}
            }
            if process.try_wait()?.is_some() {
                break;
            }
        }
        let log = std::fs::read_to_string(folder.join("kamailio.log")).unwrap_or_default();
        Err(format!("kamailio did not start:\n{log}").into())
    }
}

/// A server that is measured: the yardstick, or the product.
pub(crate) enum Process {
    Kamailio(Kamailio),
    Ours(Server),
}

impl Process {
    /// Where it listens.
    ///
    /// # Errors
    /// It has no UDP listener.
    pub(crate) fn udp(&self) -> Result<SocketAddr, Failure> {
        match self {
            Self::Kamailio(kamailio) => Ok(kamailio.udp),
            Self::Ours(server) => server.udp(),
        }
    }

    /// The CPU time that it has used.
    ///
    /// # Errors
    /// It has ended.
    pub(crate) fn cpu(&self) -> Result<Duration, Failure> {
        match self {
            Self::Kamailio(kamailio) => cpu_with_children(kamailio.pid),
            Self::Ours(server) => cpu(&server.pid.to_string()),
        }
    }
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        // The first process ends its children, so it must not be killed before it has.
        let pid = self.process.id().map(|pid| pid.to_string());
        let _ = std::process::Command::new("kill")
            .arg("-TERM")
            .args(pid)
            .status();
    }
}

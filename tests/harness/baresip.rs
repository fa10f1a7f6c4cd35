//! baresip, a real softphone, without a screen: it registers, and its SIP trace shows the messages that it gets.

use super::{Account, STEP, Server, eventually};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// What it is configured with: no sound device, no other network than the loopback.
const CONFIG: &str = "\
poll_method epoll
sip_listen 127.0.0.1:0
audio_player aufile,/dev/null
audio_source ausine,400
audio_alert aufile,/dev/null
module_path /usr/lib/baresip/modules
module g711.so
module_app account.so
module_app contact.so
module_app menu.so
";

/// A running baresip.
pub(crate) struct Baresip {
    process: Child,
    output: Arc<Mutex<Vec<u8>>>,
    _folder: TempDir,
}

impl Baresip {
    /// Starts one that registers over `udp` or `tcp`.
    pub(crate) async fn start(server: &Server, account: &Account, transport: &str) -> Self {
        let folder = TempDir::with_prefix("baresip").unwrap();
        let proxy = match transport {
            "udp" => server.udp,
            _ => server.tcp,
        };
        let line = format!(
            "<{}>;auth_user={};auth_pass=\"{}\";outbound=\"sip:{proxy};transport={transport}\";regint=600\n",
            account.uri(),
            account.user,
            account.password
        );
        for (name, text) in [("config", CONFIG), ("accounts", &line), ("contacts", "")] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        // Its output is to be read while it runs, not when a buffer is full.
        let mut process = Command::new("stdbuf")
            .args(["-o0", "baresip", "-s", "-f"])
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("baresip is installed (tests/setup/install.sh)");
        let output = Arc::default();
        let stdout = process.stdout.take().unwrap();
        tokio::spawn(collect(stdout, Arc::clone(&output)));
        Self {
            process,
            output,
            _folder: folder,
        }
    }

    /// What it has shown so far.
    pub(crate) fn shown(&self) -> String {
        let output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&output).into_owned()
    }

    /// Waits until it shows a text.
    pub(crate) async fn shows(&self, text: &str) {
        let what = format!("baresip showing {text:?}");
        eventually(&what, || async {
            self.shown().contains(text).then_some(())
        })
        .await;
    }

    /// Closes it in good order: it unregisters.
    pub(crate) async fn quit(mut self) {
        super::server::signal("-TERM", self.process.id().unwrap());
        timeout(STEP, self.process.wait())
            .await
            .expect("baresip ends")
            .unwrap();
    }
}

async fn collect(mut stdout: tokio::process::ChildStdout, output: Arc<Mutex<Vec<u8>>>) {
    let mut chunk = [0; 4096];
    while let Ok(length) = stdout.read(&mut chunk).await {
        if length == 0 {
            return;
        }
        output
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(chunk.get(..length).unwrap_or_default());
    }
}

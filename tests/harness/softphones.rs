//! Real softphones beside baresip: Linphone on its command line, `JsSIP` and `SIP.js` in Node.js and in a page of headless
//! Chromium. Each is a program that is told what to send and shows what it got.

use super::{Account, STEP, Server, Value, eventually, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

/// A program that is typed to.
struct Program {
    process: Child,
    input: Option<ChildStdin>,
    output: Arc<Mutex<Vec<u8>>>,
}

impl Program {
    fn start(command: &mut Command) -> Self {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("it is installed (tests/setup/install.sh)");
        let output = Arc::default();
        let (stdout, stderr) = (process.stdout.take(), process.stderr.take());
        tokio::spawn(collect(stdout.unwrap(), Arc::clone(&output)));
        tokio::spawn(collect(stderr.unwrap(), Arc::clone(&output)));
        Self {
            input: process.stdin.take(),
            process,
            output,
        }
    }

    async fn say(&mut self, line: &str) {
        let input = self.input.as_mut().unwrap();
        input.write_all(line.as_bytes()).await.unwrap();
        input.write_all(b"\n").await.unwrap();
        input.flush().await.unwrap();
    }

    fn shown(&self) -> String {
        let output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&output).into_owned()
    }

    async fn shows(&self, text: &str) {
        let what = format!("a softphone showing {text:?}");
        let shown = async || self.shown().contains(text).then_some(());
        eventually(&what, shown).await;
    }

    /// Ends its input and waits for its end.
    async fn ends(mut self) -> (ExitStatus, String) {
        drop(self.input.take());
        let status = timeout(STEP, self.process.wait()).await;
        (status.expect("it ends").unwrap(), self.shown())
    }
}

async fn collect(mut stream: impl AsyncRead + Unpin, output: Arc<Mutex<Vec<u8>>>) {
    let mut chunk = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut chunk).await {
        let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
        output.extend_from_slice(chunk.get(..length).unwrap_or_default());
    }
}

/// The file in which `linphonec` says what it does.
const LOG: &str = "linphone.log";

/// `linphonec`. It keeps its settings in a folder: an account, a proxy and whom it trusts.
pub(crate) struct Linphone {
    program: Program,
    folder: TempDir,
}

impl Linphone {
    /// Starts one that registers over `tcp` or `tls` at a listener whose certificate the authority of `trusted` signed.
    pub(crate) async fn start(
        listener: SocketAddr,
        account: &Account,
        transport: &str,
        trusted: &Path,
    ) -> Self {
        let folder = TempDir::with_prefix("linphone").unwrap();
        // It does not start without the place of its databases.
        std::fs::create_dir_all(folder.path().join(".local/share/linphone")).unwrap();
        let Account {
            user,
            domain,
            password,
            ..
        } = account;
        // The certificate is checked by its name, and never by an address.
        let proxy = format!("sip:localhost:{};transport={transport}", listener.port());
        let settings = format!(
            "[sip]\nsip_port=-1\nsip_tcp_port=-1\nsip_tls_port=-1\nguess_hostname=0\ndefault_proxy=0\nroot_ca={}\n\
             [proxy_0]\nreg_proxy=<{proxy}>\nreg_route=<{proxy};lr>\nreg_identity=sip:{user}@{domain}\n\
             reg_expires=600\nreg_sendregister=1\npublish=0\n\
             [auth_info_0]\nusername={user}\npasswd={password}\nrealm={domain}\ndomain={domain}\n",
            trusted.display()
        );
        std::fs::write(folder.path().join("linphonerc"), settings).unwrap();
        let mut command = Command::new("stdbuf");
        command
            .args(["-o0", "linphonec", "-c", "linphonerc"])
            .args(["-d", "6", "-l", LOG])
            .env("HOME", folder.path())
            .current_dir(folder.path());
        Self {
            program: Program::start(&mut command),
            folder,
        }
    }

    /// Sends a text.
    pub(crate) async fn send(&mut self, to: &str, text: &str) {
        self.program.say(&format!("chat {to} {text}")).await;
    }

    /// Waits until it shows a text from somebody.
    pub(crate) async fn got(&self, from: &str, text: &str) {
        let line = format!("Message received from {from}: {text}");
        self.program.shows(&line).await;
    }

    /// Waits until it was told that a text of its own arrived at the other phone.
    pub(crate) async fn was_delivered(&self) {
        let log = self.folder.path().join(LOG);
        eventually("the report on its text", || async {
            let log = std::fs::read_to_string(&log).unwrap_or_default();
            log.contains("moving from Delivered to DeliveredToUser")
                .then_some(())
        })
        .await;
    }

    /// Closes it in good order: it unregisters. Gives its settings as it left them.
    pub(crate) async fn quit(mut self) -> String {
        self.program.say("quit").await;
        self.program.ends().await;
        std::fs::read_to_string(self.folder.path().join("linphonerc")).unwrap()
    }
}

/// A softphone of the web.
pub(crate) struct WebPhone {
    program: Program,
    picture: PathBuf,
    _folder: TempDir,
}

impl WebPhone {
    /// Starts `jssip` or `sip.js`, in `node` or in a page of `chromium`, and waits until it has registered.
    pub(crate) async fn start(kind: &str, place: &str, server: &Server, account: &Account) -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/phones");
        let folder = TempDir::with_prefix("webphone").unwrap();
        let picture = folder.path().join("phone.png");
        let url = format!("{}/sip", server.url.replacen("http", "ws", 1));
        let mut command = Command::new("node");
        command
            .arg(format!("{place}.mjs"))
            .args([kind, &url, &account.uri(), &account.user, &account.password])
            .arg(&picture)
            .current_dir(here);
        let authority = server.folder().join("ca.pem");
        if authority.exists() {
            command.env("NODE_EXTRA_CA_CERTS", authority);
        }
        let phone = Self {
            program: Program::start(&mut command),
            picture,
            _folder: folder,
        };
        phone.program.shows(r#"{"event":"registered"}"#).await;
        phone
    }

    /// Sends a text.
    pub(crate) async fn send(&mut self, to: &str, text: &str) {
        let line = json!({ "to": to, "body": text });
        self.program.say(&line.to_string()).await;
    }

    /// Waits until it shows a text from somebody.
    pub(crate) async fn got(&self, from: &str, text: &str) {
        let event: Value = json!({ "event": "message", "from": from, "body": text });
        // As JavaScript writes it: in the order of its properties.
        let line = format!(
            r#"{{"event":"message","from":{},"body":{}}}"#,
            event["from"], event["body"]
        );
        self.program.shows(&line).await;
    }

    /// Waits until it was told that a text was taken.
    pub(crate) async fn sent(&self) {
        self.program.shows(r#"{"event":"sent","status":202}"#).await;
    }

    /// Closes it in good order: it unregisters. Gives the picture of its page, if it has one.
    pub(crate) async fn quit(self) -> Option<Vec<u8>> {
        let (status, shown) = self.program.ends().await;
        assert!(status.success(), "{status}: {shown}");
        std::fs::read(self.picture).ok()
    }
}

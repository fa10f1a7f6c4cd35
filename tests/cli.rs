//! The program's face: commands, exit codes, configuration, backup and restore, the demo.

use crate::harness::graphql::{list, text};
use crate::harness::server::sipgraph;
use crate::harness::tls::put_certificate;
use crate::harness::{Account, Api, Feed, Phone, STEP, Server, World, both_backends, json};
use sipgraph_testkit::certificates::Authority;
use sipgraph_testkit::{Backend, Database};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::time::timeout;

/// Runs the program with these arguments and variables in an empty folder.
async fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let folder = TempDir::with_prefix("sipgraph-cli").unwrap();
    let mut command = sipgraph();
    command
        .args(arguments)
        .envs(variables.iter().copied())
        .current_dir(folder.path());
    timeout(STEP, command.output())
        .await
        .unwrap_or_else(|_| panic!("{arguments:?} {variables:?} did not end"))
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A role that may not make extensions is told what to have run, and works without: parts of names are found all the same.
#[test]
fn check_says_what_an_administrator_has_to_run() {
    sipgraph_testkit::block_on(async {
        let database = Database::postgres().await;
        let (admin, connection) = tokio_postgres::connect(database.url(), tokio_postgres::NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        let (rest, name) = database.url().rsplit_once('/').unwrap();
        let (_, host) = rest.rsplit_once('@').unwrap();
        // Roles belong to the cluster, which other tests share.
        let role = format!("weak_{name}");
        admin
            .batch_execute(&format!(
                "CREATE ROLE {role} LOGIN; GRANT CREATE, USAGE ON SCHEMA public TO {role}"
            ))
            .await
            .unwrap();
        let url = format!("postgres://{role}@{host}/{name}");
        let mut server = Server::start_with(&url, &[]).await;
        let api = Api::of(&server);
        let domain = api.domain_create("example.test", false).await;
        api.endpoint_create(&domain, "frontdesk").await;
        let query = "{ endpoints(filter: { nameContains: \"desk\" }) { nodes { name } } }";
        let found = json!([{ "name": "frontdesk" }]);
        assert_eq!(
            api.data(query, json!({})).await["endpoints"]["nodes"],
            found
        );

        let told = server.cli(&["check"]).await;
        let statements: Vec<&str> = told.lines().filter(|line| line.ends_with(';')).collect();
        assert!(told.contains("pg_trgm") && statements.len() > 3, "{told}");
        admin.batch_execute(&statements.join("\n")).await.unwrap();
        let told = server.cli(&["check"]).await;
        assert!(!told.contains("pg_trgm"), "{told}");
        server.kill_and_restart().await;
        assert_eq!(
            api.data(query, json!({})).await["endpoints"]["nodes"],
            found
        );
    });
}

/// Each command explains itself.
#[test]
fn every_command_has_help() {
    sipgraph_testkit::block_on(async {
        for arguments in [
            &[][..],
            &["serve"],
            &["demo"],
            &["migrate"],
            &["schema"],
            &["config"],
            &["check"],
            &["account"],
            &["account", "create"],
            &["endpoint", "limit"],
            &["number", "assign"],
            &["number", "list"],
            &["number", "release"],
            &["system-gateway", "create"],
            &["system-gateway", "delete"],
            &["endpoint", "limit"],
            &["endpoint", "import"],
            &["endpoint", "export"],
            &["token", "create"],
            &["trace"],
            &["backup"],
            &["restore"],
        ] {
            let mut with_help = arguments.to_vec();
            with_help.push("--help");
            let output = run(&with_help, &[]).await;
            assert_eq!(output.status.code(), Some(0), "{with_help:?}: {output:?}");
            assert!(
                stdout(&output).contains("Usage:"),
                "{with_help:?}: {output:?}"
            );
        }
        let output = run(&["--version"], &[]).await;
        assert!(stdout(&output).starts_with("sipgraph "), "{output:?}");
    });
}

/// Wrong usage ends with 64 and says what is wrong.
#[test]
fn wrong_usage_ends_with_64() {
    sipgraph_testkit::block_on(async {
        for (arguments, named) in [
            (&["dance"][..], "dance"),
            (&["--colour"], "--colour"),
            (&["account"], "create"),
            (&["account", "create"], "NAME"),
            (&["token", "create", "--account", "a"], "--name"),
            (
                &[
                    "token",
                    "create",
                    "--account",
                    "a",
                    "--name",
                    "x",
                    "--scopes",
                    "tea.make",
                ],
                "tea.make",
            ),
            (
                &[
                    "token",
                    "create",
                    "--account",
                    "a",
                    "--name",
                    "x",
                    "--scopes",
                    "endpoints.read",
                    "--expires",
                    "0",
                ],
                "--expires",
            ),
            (&["number", "assign", "--account", "a"], "NUMBER"),
            (&["backup"], "PATH"),
            (
                &["serve", "--config", "/nowhere/sipgraph.toml"],
                "/nowhere/sipgraph.toml",
            ),
        ] {
            let output = run(arguments, &[]).await;
            assert_eq!(output.status.code(), Some(64), "{arguments:?}: {output:?}");
            assert!(stderr(&output).contains(named), "{arguments:?}: {output:?}");
        }
    });
}

/// A wrong configuration ends with 64 and names the key, wherever the value came from.
#[test]
fn a_wrong_configuration_ends_with_64_and_names_the_key() {
    sipgraph_testkit::block_on(async {
        for (variable, value, key) in [
            (
                "SIPGRAPH_DATABASE_URL",
                "mysql://localhost/x",
                "database.url",
            ),
            ("SIPGRAPH_DATABASE_URL", "sqlite:", "database.url"),
            ("SIPGRAPH_HTTP_LISTEN", "nowhere", "http.listen"),
            ("SIPGRAPH_HTTP_LISTEN", "", "http.listen"),
            (
                "SIPGRAPH_SIP_UDP_LISTEN",
                "127.0.0.1:99999",
                "sip.udp_listen",
            ),
            (
                "SIPGRAPH_SIP_TLS_LISTEN",
                "127.0.0.1:5061",
                "sip.tls_cert: ",
            ),
            ("SIPGRAPH_SIP_TLS_CERT", "x.pem", "sip.tls_key: "),
            ("SIPGRAPH_HTTP_TLS_CERT", "x.pem", "http.tls_key: "),
            ("SIPGRAPH_HTTP_TLS_KEY", "x.pem", "http.tls_cert: "),
            (
                "SIPGRAPH_HTTP_TRUSTED_PROXIES",
                "10.0.0.1",
                "http.trusted_proxies",
            ),
            ("SIPGRAPH_METRICS_LISTEN", "9464", "metrics.listen"),
            ("SIPGRAPH_BUS_URL", "nats://localhost", "bus.url"),
            ("SIPGRAPH_BUS_URL", "postgres:", "bus.url"),
            (
                "SIPGRAPH_HTTP_CORS_ORIGINS",
                "example.com/path",
                "http.cors_origins",
            ),
            (
                "SIPGRAPH_SIP__EXPIRES_S_MIN",
                "an hour",
                "sip.expires_s_min",
            ),
            ("SIPGRAPH_SIP_EXPIRES_S_MIN", "3600", "sip.expires_s_min"),
            ("SIPGRAPH_TEA", "green", "SIPGRAPH_TEA"),
        ] {
            let output = run(&["serve"], &[(variable, value)]).await;
            assert_eq!(
                output.status.code(),
                Some(64),
                "{variable}={value}: {output:?}"
            );
            assert!(
                stderr(&output).contains(key),
                "{variable}={value}: {output:?}"
            );
        }
        // A secret in a wrong address is not repeated.
        let output = run(
            &["serve"],
            &[("SIPGRAPH_DATABASE_URL", "mysql://root:hunter2@localhost/x")],
        )
        .await;
        assert!(!stderr(&output).contains("hunter2"), "{output:?}");
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("sipgraph.toml");
        for (content, key) in [
            ("[http]\nlissten = []\n", "http.lissten"),
            (
                "[sip]\ntls_listen = [\"127.0.0.1:5061\"]\n",
                "sip.tls_cert: ",
            ),
            ("[http\n", "--config"),
        ] {
            std::fs::write(&file, content).unwrap();
            let output = run(&["--config", file.to_str().unwrap(), "serve"], &[]).await;
            assert_eq!(output.status.code(), Some(64), "{content}: {output:?}");
            assert!(stderr(&output).contains(key), "{content}: {output:?}");
        }
    });
}

/// A certificate that is missing or wrong is named by its key, by `serve` and by `check`, and nothing listens.
#[test]
fn a_certificate_that_cannot_be_used_ends_with_64_and_names_the_key() {
    sipgraph_testkit::block_on(async {
        let folder = TempDir::new().unwrap();
        let authority = Authority::new();
        put_certificate(&authority, folder.path());
        let path = |file: &str| folder.path().join(file).display().to_string();
        let other = authority.issue(&["other.test"]).key_pem;
        std::fs::write(folder.path().join("other.pem"), other).unwrap();
        for (cert, key, wrong) in [
            ("missing.pem", "key.pem", "cert"),
            ("cert.pem", "missing.pem", "key"),
            ("key.pem", "key.pem", "cert"),
            ("cert.pem", "cert.pem", "key"),
            ("cert.pem", "other.pem", "key"),
        ] {
            let (cert, key) = (path(cert), path(key));
            for (command, table) in [("serve", "SIP"), ("serve", "HTTP"), ("check", "SIP")] {
                let names = ["CERT", "KEY"].map(|name| format!("SIPGRAPH_{table}_TLS_{name}"));
                let listen = ("SIPGRAPH_SIP_TLS_LISTEN", "127.0.0.1:0");
                let mut variables = vec![(names[0].as_str(), cert.as_str()), (&names[1], &key)];
                variables.extend((table == "SIP").then_some(listen));
                let output = run(&[command], &variables).await;
                let key = format!("{}.tls_{wrong}: ", table.to_ascii_lowercase());
                assert_eq!(
                    output.status.code(),
                    Some(64),
                    "{command} {cert} {key}: {output:?}"
                );
                assert!(
                    stderr(&output).contains(&key),
                    "{command} {cert} {key}: {output:?}"
                );
            }
        }
    });
}

/// `sipgraph config` names every key with its variable; what it prints is a valid file.
#[test]
fn the_printed_configuration_is_a_valid_file() {
    sipgraph_testkit::block_on(async {
        let output = run(&["config"], &[]).await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let printed = stdout(&output);
        for name in [
            "SIPGRAPH_DATABASE_URL",
            "SIPGRAPH_HTTP_LISTEN",
            "SIPGRAPH_HTTP_CORS_ORIGINS",
            "SIPGRAPH_SIP_UDP_LISTEN",
            "SIPGRAPH_SIP_TCP_LISTEN",
            "SIPGRAPH_SIP_TLS_LISTEN",
            "SIPGRAPH_SIP_ADVERTISED_HOST",
            "SIPGRAPH_METRICS_LISTEN",
            "SIPGRAPH_BUS_URL",
            "SIPGRAPH_SECRET_KEY_FILE",
            "SIPGRAPH_LOG",
        ] {
            assert!(printed.contains(name), "{name}");
        }
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("all.toml");
        std::fs::write(&file, printed).unwrap();
        let database = format!("sqlite:{}", folder.path().join("x.db").display());
        let output = run(
            &["--config", file.to_str().unwrap(), "migrate"],
            &[("SIPGRAPH_DATABASE_URL", &database)],
        )
        .await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let mode = |name: &str| {
            std::fs::metadata(folder.path().join(name))
                .unwrap()
                .permissions()
                .mode()
                & 0o777
        };
        assert_eq!(
            mode("x.db.key"),
            0o600,
            "the key beside the database is its owner's alone"
        );
    });
}

both_backends! {
    /// A token of the command line is alone on standard output; wrong names end with 1.
    async fn accounts_and_tokens_are_made_by_the_operator(database: Database) {
        let server = Server::start(&database).await;
        let output = server.cli_output(&["token", "create", "--account", "acme", "--name", "x", "--scopes", "endpoints.read"]).await;
        assert_eq!(stdout(&output).split_whitespace().count(), 1, "{output:?}");
        let api = Api::with(&server, stdout(&output).trim());
        assert_eq!(api.endpoints_count().await, 0);
        for arguments in [
            &["account", "create", "acme"][..],
            &["token", "create", "--account", "nobody", "--name", "x", "--scopes", "endpoints.read"],
            &["number", "assign", "--account", "nobody", "+12125551212"],
        ] {
            let output = server.cli_output(arguments).await;
            assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
            assert!(stderr(&output).len() > 10, "{arguments:?}: {output:?}");
        }
    }

    /// `check` tells whether a start would work, and changes nothing.
    async fn check_changes_nothing(database: Database) {
        let mut server = Server::prepared(database.url(), &[]);
        let empty = server.cli_output(&["check"]).await;
        assert!(empty.status.success(), "an empty database is fine: {empty:?}");
        assert!(!server.folder().join("secret.key").exists(), "and nothing was made");
        if let Some(file) = database.file() {
            assert!(!file.exists());
        }
        server.cli(&["migrate"]).await;
        server.cli(&["migrate"]).await;
        server.cli(&["check"]).await;
        // Another key than the database's refuses the start.
        let key = server.folder().join("secret.key");
        let right = std::fs::read(&key).unwrap();
        std::fs::write(&key, "ab".repeat(32)).unwrap();
        for command in ["check", "serve"] {
            let output = server.cli_output(&[command]).await;
            assert!(matches!(output.status.code(), Some(1 | 64)), "{command}: {output:?}");
            assert!(stderr(&output).contains("key"), "{command}: {output:?}");
        }
        std::fs::remove_file(&key).unwrap();
        let output = server.cli_output(&["serve"]).await;
        assert!(matches!(output.status.code(), Some(1 | 64)), "a missing key with an existing database: {output:?}");
        assert!(!key.exists(), "no new key was made");
        std::fs::write(&key, right).unwrap();
        server.run().await;
        assert_eq!(server.database, crate::harness::backend::name(database.backend()));
    }

    /// Health and readiness.
    async fn health_is_told(database: Database) {
        let server = Server::start(&database).await;
        for path in ["/healthz", "/readyz", "/"] {
            let response = reqwest::get(format!("{}{path}", server.url)).await.unwrap();
            assert!(response.status().is_success(), "{path}: {}", response.status());
        }
        let response = reqwest::get(format!("{}/nowhere", server.url)).await.unwrap();
        assert_eq!(response.status().as_u16(), 404);
    }
}

/// A backup taken while the server works, restored: what came later is gone, and every client is told of the gap.
#[test]
fn a_restored_backup_begins_a_new_epoch_on_sqlite() {
    sipgraph_testkit::run(Backend::Sqlite, |database| async move {
        let mut world = World::start(&database).await;
        let (alice, bob) = (world.alice.clone(), world.bob.clone());
        world.api.send(&alice, &bob, "kept").await;
        let path = world.server.folder().join("backup.db");
        let said = world.server.cli(&["backup", path.to_str().unwrap()]).await;
        assert!(said.contains("key"), "{said}");
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let again = world
            .server
            .cli_output(&["backup", path.to_str().unwrap()])
            .await;
        assert_eq!(
            again.status.code(),
            Some(64),
            "an existing file is not overwritten: {again:?}"
        );
        world.api.send(&alice, &bob, "lost").await;
        let old = world.api.event_cursor().await;
        let running = world
            .server
            .cli_output(&["restore", path.to_str().unwrap()])
            .await;
        assert_eq!(
            running.status.code(),
            Some(1),
            "not under a running server: {running:?}"
        );
        assert_eq!(
            world.api.bodies(json!({ "direction": "OUT" })).await,
            ["lost", "kept"]
        );

        world.server.terminate();
        assert!(world.server.ended().await.success());
        let said = world.server.cli(&["restore", path.to_str().unwrap()]).await;
        assert!(said.contains("key"), "{said}");
        world.server.run().await;
        assert_eq!(
            world.api.bodies(json!({ "direction": "OUT" })).await,
            ["kept"]
        );
        // The phone's password still works: the key belongs to the backup.
        Phone::udp(&world.server, &bob).await.come_online().await;
        let mut feed = Feed::open(&world.server, &old).await;
        let gap = feed.item().await;
        assert_eq!(
            (&gap["type"], &gap["reason"]),
            (&json!("GAP"), &json!("RESTORED"))
        );
        world.api.send(&alice, &bob, "onwards").await;
        assert_eq!(feed.next("MESSAGE_OUT").await["text"], "onwards");
        // A cursor from before the backup is of the old epoch too.
        let no_backup = world.server.folder().join("secret.key");
        let output = world
            .server
            .cli_output(&["restore", no_backup.to_str().unwrap()])
            .await;
        assert!(!output.status.success(), "{output:?}");
    });
}

/// Postgres has tools of its own; the program says which, and raises the epoch after them.
#[test]
fn postgres_is_backed_up_by_its_own_tools_on_postgres() {
    sipgraph_testkit::run(Backend::Postgres, |database| async move {
        let mut world = World::start(&database).await;
        let old = world.api.event_cursor().await;
        let said = world.server.cli(&["backup", "backup.dump"]).await;
        assert!(said.contains("pg_dump") && said.contains("key"), "{said}");
        let said = world.server.cli(&["restore", "backup.dump"]).await;
        assert!(
            said.contains("pg_restore") && said.contains("restore --restored"),
            "{said}"
        );
        world.server.terminate();
        assert!(world.server.ended().await.success());
        world.server.cli(&["restore", "--restored"]).await;
        world.server.run().await;
        let mut feed = Feed::open(&world.server, &old).await;
        let gap = feed.item().await;
        assert_eq!(
            (&gap["type"], &gap["reason"]),
            (&json!("GAP"), &json!("RESTORED"))
        );
    });
}

/// A full database refuses what would grow it, says so, and goes on reading.
#[test]
fn a_full_database_says_so_on_sqlite() {
    sipgraph_testkit::run(Backend::Sqlite, |database| async move {
        let mut world = World::start(&database).await;
        world.server.kill().await;
        let pages = std::fs::metadata(database.file().unwrap()).unwrap().len() / 4096;
        world.server.environment.push((
            "SIPGRAPH_DATABASE_SQLITE_PAGES_MAX".to_owned(),
            (pages + 40).to_string(),
        ));
        world.server.run().await;
        let body = "x".repeat(30_000);
        let mut sent = 0;
        let (query, variables) = crate::harness::graphql::mutation(
            "sendMessage",
            "message { id }",
            json!({ "from": { "endpointId": world.alice.id }, "to": { "endpointId": world.bob.id }, "body": body }),
        );
        let refused = loop {
            let response = world.api.gql(&query, variables.clone()).await;
            if response.get("errors").is_some() {
                break response;
            }
            sent += 1;
            assert!(sent < 100, "the quota holds");
        };
        assert_eq!(
            refused["errors"][0]["extensions"]["code"], "STORAGE_FULL",
            "{refused}"
        );
        let stored = world.api.messages_all(json!({ "direction": "OUT" })).await;
        assert_eq!(stored.len(), sent, "what was refused is not there");
        world.server.kill().await;
        world.server.environment.pop();
        world.server.run().await;
        world.api.send(&world.alice, &world.bob, "room again").await;
    });
}

/// A demo that runs, with what it printed.
pub(crate) struct Demo {
    process: tokio::process::Child,
    printed: String,
    ready: String,
}

impl Demo {
    /// Starts `sipgraph ARGUMENTS` in a folder, on ports of its own, and waits until it is ready.
    pub(crate) async fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut command = sipgraph();
        command
            .args(arguments)
            .current_dir(folder)
            .env("SIPGRAPH_HTTP_LISTEN", "127.0.0.1:0")
            .env("SIPGRAPH_SIP_UDP_LISTEN", "127.0.0.1:0")
            .env("SIPGRAPH_SIP_TCP_LISTEN", "127.0.0.1:0")
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let look = async {
            let mut log = String::new();
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.starts_with("sipgraph ready ") {
                    return line;
                }
                log.push_str(&line);
            }
            panic!("the demo ended: {log}");
        };
        let ready = timeout(STEP, look).await.expect("the demo is ready");
        // The rest of the log is of no interest, but must not stop the demo.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut printed = String::new();
        while !printed.contains("echo@") {
            let line = timeout(STEP, lines.next_line())
                .await
                .expect("the demo says what to do")
                .unwrap()
                .unwrap();
            printed.push_str(&line);
            printed.push('\n');
        }
        Self {
            process,
            printed,
            ready,
        }
    }

    /// The word after a label of a printed line; the second one for bob.
    fn printed(&self, label: &str, column: usize) -> String {
        let line = self
            .printed
            .lines()
            .find(|l| l.trim_start().starts_with(label))
            .unwrap_or_else(|| panic!("{}", self.printed));
        line.split_whitespace().nth(column).unwrap().to_owned()
    }

    fn address(&self, name: &str) -> String {
        self.ready
            .split_whitespace()
            .find_map(|part| part.strip_prefix(name))
            .unwrap()
            .to_owned()
    }

    /// Logs two phones in as a newcomer would, lets them chat, and looks at it through GraphQL.
    pub(crate) async fn is_a_place_to_chat(&self) {
        let graphiql = self
            .printed
            .split_whitespace()
            .find(|word| word.contains("/#token="))
            .unwrap();
        let (base, token) = graphiql.split_once("/#token=").unwrap();
        let page = reqwest::get(base).await.unwrap();
        assert_eq!(page.status().as_u16(), 200);
        let mut server = Server::prepared("sqlite:elsewhere.db", &[]);
        server.url = base.to_owned();
        server.udp = self.address("udp=").parse().unwrap();
        server.tcp = self.address("tcp=").parse().unwrap();
        token.clone_into(&mut server.token);
        let api = Api::of(&server);
        let domain = text(
            &api.data("{ domains { nodes { name } } }", json!({})).await["domains"]["nodes"][0]["name"],
        );
        let names = list(
            &api.data("{ endpoints { nodes { id name simulation } } }", json!({}))
                .await["endpoints"]["nodes"],
        );
        let account = |name: &str, column| {
            let endpoint = names
                .iter()
                .find(|e| e["name"] == *name)
                .unwrap_or_else(|| panic!("{names:?}"));
            Account {
                id: text(&endpoint["id"]),
                user: name.to_owned(),
                domain: domain.clone(),
                password: self.printed("Password", column),
            }
        };
        let (alice, bob) = (account("alice", 1), account("bob", 2));
        let mut feed = Feed::open(&server, &api.event_cursor().await).await;
        let (mut hers, mut his) = (
            Phone::udp(&server, &alice).await,
            Phone::tcp(&server, &bob).await,
        );
        hers.come_online().await;
        his.come_online().await;
        api.state_is(&alice, "ONLINE").await;
        // They write to the host that they were told, which is an alias of the domain.
        assert_eq!(
            hers.message("sip:bob@127.0.0.1", "hello bob")
                .await
                .status(),
            202
        );
        assert_eq!(his.take_message().await.body, "hello bob");
        assert_eq!(his.message(&alice.uri(), "hello alice").await.status(), 202);
        assert_eq!(hers.take_message().await.body, "hello alice");
        assert_eq!(
            hers.message("sip:echo@127.0.0.1", "anybody?")
                .await
                .status(),
            202
        );
        assert_eq!(hers.take_message().await.body, "anybody?");
        feed.until("the chat in the subscription", |e| {
            e["type"] == "MESSAGE_IN" && e["text"] == "hello alice"
        })
        .await;
    }

    /// Ends it as Ctrl-C does.
    pub(crate) async fn stop(mut self) {
        crate::harness::server::signal("-INT", self.process.id().unwrap());
        let status = timeout(STEP, self.process.wait())
            .await
            .expect("the demo ends")
            .unwrap();
        assert!(status.success(), "{status}");
    }
}

/// The demo needs nothing, and running it twice keeps everything.
#[test]
fn the_demo_can_be_run_twice() {
    sipgraph_testkit::block_on(async {
        let folder = TempDir::with_prefix("sipgraph-demo").unwrap();
        let first = Demo::start(folder.path(), &["demo"]).await;
        first.is_a_place_to_chat().await;
        let passwords = (first.printed("Password", 1), first.printed("Password", 2));
        first.stop().await;
        let second = Demo::start(folder.path(), &["demo"]).await;
        assert_eq!(
            (second.printed("Password", 1), second.printed("Password", 2)),
            passwords
        );
        second.is_a_place_to_chat().await;
        second.stop().await;
        let private = std::fs::metadata(folder.path().join("sipgraph-demo"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777;
        assert_eq!(private, 0o700, "passwords are its owner's alone");
    });
}

/// The demo for a local network prints its address and a code for the phone.
#[test]
fn the_demo_shows_a_code_for_phones_of_the_network() {
    sipgraph_testkit::block_on(async {
        let folder = TempDir::with_prefix("sipgraph-demo").unwrap();
        let demo = Demo::start(folder.path(), &["demo", "--lan=127.0.0.2"]).await;
        assert!(demo.address("udp=").contains("127.0.0.1"), "{}", demo.ready);
        assert!(demo.printed.contains("127.0.0.2"), "{}", demo.printed);
        demo.stop().await;
    });
}

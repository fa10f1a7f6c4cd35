//! GraphiQL in a real browser: it opens, takes its token, answers, and shows a live event.

use crate::harness::{World, both_backends};
use std::path::Path;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::Command;

both_backends! {
    /// The page is driven by tests/browser/graphiql.mjs; this causes the event that it waits for.
    async fn graphiql_answers_and_shows_live_events(database: Database) {
        let world = World::start(&database).await;
        let browser = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/browser");
        let mut process = Command::new("node")
            .arg("graphiql.mjs")
            .args([&world.server.url, &world.server.token])
            .arg(world.server.folder().join("graphiql.png"))
            .current_dir(&browser)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("Node.js is installed (tests/setup/install.sh)");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut said = Vec::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            let subscribed = line == "SUBSCRIBED";
            said.push(line);
            if subscribed {
                world.api.send(&world.alice, &world.bob, "hello, browser").await;
            }
        }
        let mut complaint = String::new();
        process.stderr.take().unwrap().read_to_string(&mut complaint).await.unwrap();
        let status = process.wait().await.unwrap();
        assert!(status.success(), "{said:?}\n{complaint}");
        assert!(said.iter().any(|line| line.starts_with("EVENT ")), "{said:?}");
        let picture = std::fs::metadata(world.server.folder().join("graphiql.png")).unwrap();
        assert!(picture.len() > 10_000, "a picture of the page");
    }
}

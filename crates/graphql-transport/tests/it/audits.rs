//! The public audits of GraphQL over HTTP, npm `graphql-http`.

use std::{path::Path, process::Stdio};

use tokio::process::Command;

use crate::harness::Server;

#[tokio::test(flavor = "multi_thread")]
async fn the_graphql_over_http_audits_pass() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
    if !folder.join("node_modules").exists() {
        let installed = Command::new("npm")
            .args(["ci", "--no-audit", "--no-fund"])
            .current_dir(&folder)
            .stdin(Stdio::null())
            .output()
            .await
            .expect("npm is installed");
        assert!(installed.status.success(), "npm ci: {installed:?}");
    }
    let server = Server::start().await;
    let output = Command::new("node")
        .arg("audit.mjs")
        .arg(format!("http://{}/graphql", server.address))
        .current_dir(&folder)
        .output()
        .await
        .expect("node is installed");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("61 of 61 audits ok"), "{text}");
}

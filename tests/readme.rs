//! The README's two commands do what it says.

use crate::cli::Demo;
use std::path::Path;
use tempfile::TempDir;

/// The commands of the fenced `sh` blocks, one by one.
fn commands() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("README.md")).unwrap();
    let mut commands = Vec::new();
    let mut in_block = false;
    for line in text.lines() {
        if line.starts_with("```") {
            in_block = line == "```sh";
        } else if in_block {
            commands.push(line.split('#').next().unwrap().trim().to_owned());
        }
    }
    commands
}

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The first command is all that a newcomer needs. Cargo has built the program already when this runs, so that the
/// program is started with the command's arguments and not built a second time.
#[test]
fn the_first_command_leads_to_two_phones_that_chat() {
    let first = commands().into_iter().next().unwrap();
    let arguments = first
        .strip_prefix("cargo run -- ")
        .unwrap_or_else(|| panic!("{first}"));
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(
        manifest.contains("default-members = [\"crates/server\"]"),
        "`cargo run` at the root runs the program"
    );
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    sipgraph_testkit::block_on(async {
        let folder = TempDir::with_prefix("sipgraph-readme").unwrap();
        let demo = Demo::start(folder.path(), &arguments).await;
        demo.is_a_place_to_chat().await;
        demo.stop().await;
    });
}

/// The test command is there, can be run, and is the one that the checks before a change run.
#[test]
fn the_test_command_is_the_one_that_is_checked() {
    use std::os::unix::fs::PermissionsExt as _;
    let command = "tests/run.sh";
    assert!(commands().iter().any(|c| c == command), "{:?}", commands());
    let mode = std::fs::metadata(root().join(command))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o111, 0o111, "it can be run");
    let checks = std::fs::read_to_string(root().join(".ci/run")).unwrap();
    assert!(
        checks
            .lines()
            .any(|line| line.starts_with("step ") && line.trim_end().ends_with(command)),
        "{checks}"
    );
}
/// Pictures and documents that it points to are there.
#[test]
fn what_the_readme_points_to_is_there() {
    let text = std::fs::read_to_string(root().join("README.md")).unwrap();
    let mut missing = Vec::new();
    for part in text.split("](").skip(1) {
        let target = part.split(')').next().unwrap();
        if !target.contains("://") && !root().join(target).exists() {
            missing.push(target.to_owned());
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
}

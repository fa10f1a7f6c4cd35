//! Rules of this repository that no other tool checks.

use crate::harness::graphql::{list, text};
use crate::harness::{Api, Server, both_backends};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Who may import whom, of our own crates; a new edge is a change of design and is argued where it is made.
const EDGES: &[(&str, &[&str], &[&str])] = &[
    // crate, dependencies, further ones of its tests
    ("sip-validate", &[], &[]),
    ("core", &["sip-validate"], &[]),
    ("storage", &["core"], &["testkit"]),
    ("bus", &["core"], &["testkit", "storage"]),
    (
        "sip-edge",
        &["core", "sip-validate"],
        &["storage", "testkit"],
    ),
    ("graphql-transport", &[], &[]),
    (
        "gateway",
        &["core", "graphql-transport"],
        &["storage", "testkit"],
    ),
    (
        "server",
        &[
            "core",
            "storage",
            "bus",
            "sip-edge",
            "gateway",
            "sip-validate",
        ],
        &["testkit"],
    ),
    ("testkit", &["core", "storage"], &[]),
    (
        "bench",
        &["core", "storage", "bus", "testkit", "sip-validate"],
        &[],
    ),
];

/// Third-party crates that only these of ours may name, besides tests.
const OWNERS: &[(&str, &[&str])] = &[
    ("diesel", &["storage"]),
    ("diesel-async", &["storage"]),
    ("async-graphql", &["graphql-transport", "gateway"]),
    ("async-graphql-axum", &[]),
    ("figment", &["server"]),
    ("clap", &["server", "bench"]),
];

/// What core must stay free of: everything that waits, listens or remembers for itself.
const NOT_IN_CORE: &[&str] = &[
    "tokio",
    "diesel",
    "axum",
    "async-graphql",
    "serde",
    "reqwest",
    "hyper",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// The names under `[dependencies]` and under `[dev-dependencies]`.
fn dependencies(manifest: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut normal, mut dev) = (BTreeSet::new(), BTreeSet::new());
    let mut section = String::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']).to_owned();
            continue;
        }
        let name: String = line
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c))
            .collect();
        if name.is_empty() {
            continue;
        }
        match section.as_str() {
            "dependencies" | "build-dependencies" => normal.insert(name),
            "dev-dependencies" => dev.insert(name),
            _ => false,
        };
    }
    (normal, dev)
}

fn ours(names: &BTreeSet<String>) -> BTreeSet<String> {
    names
        .iter()
        .filter_map(|n| {
            n.strip_prefix("sipgraph-")
                .or((n == "sip-validate").then_some("sip-validate"))
        })
        .map(str::to_owned)
        .collect()
}

/// Every file below a folder with an ending, but not what was generated or fetched.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let name = entry.file_name().into_string().unwrap();
        if path.is_dir() {
            if !["target", "node_modules", ".git"].contains(&name.as_str()) {
                found.extend(files(&path, ending));
            }
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// A dependency between our crates that nobody argued for.
#[test]
fn crates_import_only_whom_they_may() {
    let known: BTreeSet<&str> = EDGES.iter().map(|(name, ..)| *name).collect();
    let there: BTreeSet<String> = fs::read_dir(root().join("crates"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(
        there.iter().map(String::as_str).collect::<BTreeSet<_>>(),
        known,
        "the crates of this workspace"
    );
    for (name, allowed, in_tests) in EDGES {
        let manifest =
            fs::read_to_string(root().join("crates").join(name).join("Cargo.toml")).unwrap();
        let (normal, dev) = dependencies(&manifest);
        for import in ours(&normal) {
            assert!(
                allowed.contains(&import.as_str()),
                "{name} must not import {import}"
            );
        }
        for import in ours(&dev) {
            assert!(
                allowed.contains(&import.as_str()) || in_tests.contains(&import.as_str()),
                "the tests of {name} must not import {import}"
            );
        }
        for (package, owners) in OWNERS {
            assert!(
                !normal.contains(*package) || owners.contains(name),
                "{name} must not import {package}"
            );
        }
        if *name == "core" {
            for package in NOT_IN_CORE {
                assert!(!normal.contains(*package), "core must not import {package}");
            }
        }
        let of_its_own = manifest
            .lines()
            .skip_while(|line| !line.starts_with("[dependencies]"))
            .find(|line| line.contains("version"));
        assert_eq!(
            of_its_own, None,
            "{name}: versions stand in the workspace's manifest only"
        );
    }
}

/// What a reviewer would otherwise have to look for in every change.
#[test]
fn the_code_has_nothing_unfinished_or_silenced() {
    // Written in two parts, so that this file does not find itself.
    let forbidden = [
        concat!("#[ign", "ore"),
        concat!("dbg", "!("),
        concat!("tod", "o!("),
        concat!("unimplemen", "ted!("),
        concat!("#[all", "ow("),
        concat!("#![all", "ow("),
        concat!("#[should_", "panic"),
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
    ];
    let mut found = Vec::new();
    for folder in ["crates", "tests"] {
        for path in files(&root().join(folder), ".rs") {
            let text = fs::read_to_string(&path).unwrap();
            for (i, line) in text.lines().enumerate() {
                for word in forbidden {
                    if line.contains(word) {
                        found.push(format!(
                            "{}:{}: {word}",
                            path.strip_prefix(root()).unwrap().display(),
                            i + 1
                        ));
                    }
                }
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// Nothing of the machine that it was written on.
#[test]
fn the_repository_stands_alone() {
    let mut found = Vec::new();
    for ending in [
        ".rs", ".toml", ".md", ".sh", ".mjs", ".sql", ".graphql", ".js", ".json", ".yml",
    ] {
        for path in files(&root(), ending) {
            let text = fs::read_to_string(&path).unwrap();
            for word in [concat!("/wo", "rk/"), concat!("/ro", "ot/")] {
                if text.contains(word) {
                    found.push(format!(
                        "{}: {word}",
                        path.strip_prefix(root()).unwrap().display()
                    ));
                }
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// A migration exists for both backends, in the same order, with the same name.
#[test]
fn migrations_exist_for_both_backends() {
    let names = |backend: &str| -> Vec<String> {
        let folder = root().join("migrations").join(backend);
        let mut names: Vec<String> = fs::read_dir(&folder)
            .unwrap()
            .map(|e| e.unwrap().path())
            .filter(|p| p.is_dir())
            .map(|p| {
                assert!(p.join("up.sql").is_file(), "{}", p.display());
                p.file_name().unwrap().to_str().unwrap().to_owned()
            })
            .collect();
        names.sort();
        names
    };
    let sqlite = names("sqlite");
    assert!(!sqlite.is_empty());
    assert_eq!(sqlite, names("postgres"));
}

/// Every `.rs` file of a crate says at its top what it is for.
#[test]
fn every_module_says_what_it_is_for() {
    let mut silent = Vec::new();
    for path in files(&root().join("crates"), ".rs")
        .into_iter()
        .chain(files(&root().join("tests"), ".rs"))
    {
        let text = fs::read_to_string(&path).unwrap();
        if !text
            .lines()
            .find(|l| !l.trim().is_empty())
            .is_some_and(|l| l.starts_with("//!"))
        {
            silent.push(path.strip_prefix(root()).unwrap().display().to_string());
        }
    }
    assert!(silent.is_empty(), "{silent:#?}");
}

/// The section of the acceptance list that a line's number is in.
fn section(number: u32) -> char {
    match number {
        1..=29 => 'a',
        30..=45 => 'b',
        46..=75 => 'c',
        76..=98 => 'd',
        99..=116 => 'e',
        117..=140 => 'f',
        141..=144 => 'g',
        _ => 'h',
    }
}

/// A test that proves a line of the acceptance list runs on both backends and has the line's number and section.
#[test]
fn acceptance_tests_run_once_on_each_backend() {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .arg("--list")
        .output()
        .unwrap();
    let listed = String::from_utf8(output.stdout).unwrap();
    let mut variants: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for test in listed
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
    {
        let parts: Vec<&str> = test.split("::").collect();
        let Some((i, name)) = parts
            .iter()
            .enumerate()
            .find(|(_, part)| numbered(part).is_some())
        else {
            continue;
        };
        let (letter, number) = numbered(name).unwrap();
        assert_eq!(
            letter,
            section(number),
            "{name}: line {number} is in section {}",
            section(number)
        );
        variants
            .entry(parts[..=i].join("::"))
            .or_default()
            .push(parts[i + 1..].join("::"));
    }
    assert!(variants.len() > 60, "{variants:?}");
    for (test, mut backends) in variants {
        backends.sort();
        assert_eq!(backends, ["on_postgres", "on_sqlite"], "{test}");
    }
}

/// Reads `a017_...` as section and number.
fn numbered(name: &str) -> Option<(char, u32)> {
    let mut chars = name.chars();
    let letter = chars.next().filter(|c| ('a'..='h').contains(c))?;
    let digits = chars.as_str().get(..3)?;
    (chars.as_str().get(3..4)? == "_").then_some(())?;
    Some((letter, digits.parse().ok()?))
}

both_backends! {
    /// Everything in the schema is described for who reads it in an editor.
    async fn everything_in_the_schema_is_described(database: Database) {
        let server = Server::start(&database).await;
        let mut silent = Vec::new();
        for kind in crate::schema::types(&Api::of(&server)).await {
            let name = text(&kind["name"]);
            let mut look = |what: String, described: &crate::harness::Value| {
                if described["description"].as_str().is_none_or(|d| d.trim().len() < 3) {
                    silent.push(what);
                }
            };
            if !["Boolean", "Float", "ID", "Int", "String"].contains(&name.as_str()) {
                look(name.clone(), &kind);
            }
            for part in ["fields", "inputFields", "enumValues"] {
                for member in kind[part].as_array().into_iter().flatten() {
                    let path = format!("{name}.{}", text(&member["name"]));
                    look(path.clone(), member);
                    for argument in list(member.get("args").unwrap_or(&crate::harness::json!([]))) {
                        look(format!("{path}({})", text(&argument["name"])), &argument);
                    }
                }
            }
        }
        assert!(silent.is_empty(), "without a description: {silent:#?}");
    }
}

//! The schema: what the program prints, what the repository holds, and what a client is told, are one.

use crate::harness::graphql::{list, text};
use crate::harness::{Api, Server, Value, both_backends, json};
use std::collections::BTreeMap;
use std::path::Path;

/// What the program prints.
async fn printed() -> String {
    let output = crate::harness::server::sipgraph()
        .arg("schema")
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// `schema.graphql` is what `sipgraph schema` prints; `UPDATE_SCHEMA=1` writes it anew.
#[test]
fn schema_graphql_is_what_the_program_prints() {
    sipgraph_testkit::block_on(async {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schema.graphql");
        let printed = printed().await;
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::write(&path, &printed).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap();
        assert!(
            kept == printed,
            "schema.graphql is not what the program prints; `UPDATE_SCHEMA=1 cargo test -p sipgraph-server --test e2e schema` writes it"
        );
    });
}

/// The types with their members, as a client is told them.
pub(crate) const INTROSPECTION: &str = "{ __schema {
    types { kind name description
        fields(includeDeprecated: true) { name description args { name description } type { ...Type } }
        inputFields { name description type { ...Type } }
        enumValues(includeDeprecated: true) { name description } } } }
    fragment Type on __Type { kind name ofType { kind name ofType { kind name ofType { kind name } } } }";

/// The types of the live schema without those of GraphQL itself.
pub(crate) async fn types(api: &Api) -> Vec<Value> {
    let data = api.data(INTROSPECTION, json!({})).await;
    let types = list(&data["__schema"]["types"]);
    types
        .into_iter()
        .filter(|t| !text(&t["name"]).starts_with("__"))
        .collect()
}

/// A type reference as SDL writes it.
fn written(reference: &Value) -> String {
    match reference["kind"].as_str() {
        Some("NON_NULL") => format!("{}!", written(&reference["ofType"])),
        Some("LIST") => format!("[{}]", written(&reference["ofType"])),
        _ => text(&reference["name"]),
    }
}

/// The names and types of the members of each type in SDL; enough to compare with introspection.
fn members(sdl: &str) -> BTreeMap<String, Vec<String>> {
    let mut types = BTreeMap::new();
    let mut current: Option<String> = None;
    let mut in_description = false;
    let mut depth = 0_i32;
    for line in sdl.lines() {
        let line = line.trim();
        let quotes = line.matches("\"\"\"").count();
        if in_description || quotes > 0 {
            if quotes == 1 {
                in_description = !in_description;
            }
            continue;
        }
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        if current.is_none() {
            if matches!(first, "type" | "input" | "interface" | "enum") && line.ends_with('{') {
                let name = words.next().unwrap_or_default().to_owned();
                types.insert(name.clone(), Vec::new());
                current = Some(name);
            }
            continue;
        }
        if line == "}" {
            current = None;
            continue;
        }
        let opened = depth;
        depth += i32::try_from(line.matches('(').count()).unwrap()
            - i32::try_from(line.matches(')').count()).unwrap();
        // Arguments stand between brackets, on lines of their own; only what stands outside is a member.
        if opened == 0 && !first.is_empty() && !first.starts_with(['"', '#', '@']) {
            let name: String = first
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect();
            types
                .entry(current.clone().unwrap())
                .or_default()
                .push(name);
        }
    }
    for members in types.values_mut() {
        members.sort();
    }
    types
}

both_backends! {
    /// A client is told the schema that is printed.
    async fn the_live_schema_is_the_printed_one(database: Database) {
        let server = Server::start(&database).await;
        let printed = members(&printed().await);
        let mut live = BTreeMap::new();
        for kind in types(&Api::of(&server)).await {
            let members = ["fields", "inputFields", "enumValues"].iter().find_map(|m| kind[*m].as_array());
            if let Some(members) = members {
                let mut names: Vec<String> = members.iter().map(|m| text(&m["name"])).collect();
                names.sort();
                live.insert(text(&kind["name"]), names);
            }
        }
        assert_eq!(live, printed);
    }

    /// What cannot fail is never null, and what can fail is nullable, so that a failure stays where it is.
    async fn what_can_fail_is_nullable(database: Database) {
        let server = Server::start(&database).await;
        let types = types(&Api::of(&server)).await;
        let fields = |name: &str| {
            let kind = types.iter().find(|t| t["name"] == *name).unwrap_or_else(|| panic!("no {name}"));
            list(&kind["fields"])
        };
        for field in fields("Query") {
            let name = text(&field["name"]);
            let nullable = !written(&field["type"]).ends_with('!');
            let never_fails = ["viewer", "technologies", "eventCursor", "nodes"].contains(&name.as_str());
            assert_eq!(nullable, !never_fails, "Query.{name}: {}", written(&field["type"]));
        }
        for field in fields("Mutation") {
            assert!(!written(&field["type"]).ends_with('!'), "Mutation.{}", field["name"]);
            let payload = written(&field["type"]);
            let members: Vec<String> = fields(&payload).iter().map(|f| format!("{}: {}", text(&f["name"]), written(&f["type"]))).collect();
            for wanted in ["replayed: Boolean!", "userErrors: [UserError!]!"] {
                // What is stored nowhere is not replayed.
                if payload == "SetComposingPayload" && wanted.starts_with("replayed") {
                    continue;
                }
                assert!(members.iter().any(|m| m == wanted), "{payload} has {members:?}");
            }
        }
        for (parent, name) in [
            ("Endpoint", "messages"), ("Endpoint", "chats"), ("Endpoint", "unreadCount"), ("Message", "endpoint"), ("Message", "chat"),
            ("Message", "deliveries"), ("Chat", "endpoint"), ("Chat", "messages"), ("Chat", "lastMessage"),
        ] {
            let field = fields(parent).into_iter().find(|f| f["name"] == *name).unwrap_or_else(|| panic!("{parent}.{name}"));
            assert!(!written(&field["type"]).ends_with('!'), "{parent}.{name}");
        }
        // Every mutation that stores something takes an idempotency key.
        for kind in &types {
            let name = text(&kind["name"]);
            if name.ends_with("Input") && ["Create", "Delete", "Send", "Mark", "Revoke"].iter().any(|verb| name.starts_with(verb)) {
                assert!(list(&kind["inputFields"]).iter().any(|f| f["name"] == "idempotencyKey"), "{name}");
            }
        }
    }
}

//! A page of chats with last message, sender, unread count and peer, through GraphQL as a client asks for it.
//!
//! The statements are counted where they arrive: in the log of Postgres. What the program's loops ask for by themselves is
//! known from a while in which nobody asks for anything.

use crate::meter::cpu;
use crate::program::{Program, Server};
use crate::report::{Limit, Report, micros};
use crate::senders::SENDERS;
use crate::{Failure, Size};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};
use sipgraph_core::access::Scope;
use sipgraph_testkit::{Cluster, ClusterOptions, Database};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

/// The most SQL statements of one page, the look-up of the token aside.
const STATEMENTS_MAX: f64 = 3.0;
/// The sizes of the pages.
const PAGES: [u32; 2] = [50, 200];
/// How many chats there are; a little more than the largest page.
const CHATS: u32 = 210;
/// Requests whose statements are counted.
const COUNTED: u32 = 20;
/// How long the program is watched doing nothing: each of its loops comes round several times.
const IDLE: Duration = Duration::from_millis(3500);
/// What stands before a statement in the log of Postgres.
const PREFIX: &str = "sipgraph|";

const QUERY: &str = "query Chats($endpoint: ID!, $first: Int!) {
  chats(first: $first, filter: { endpointId: $endpoint }) {
    nodes {
      id peer ownNumber unreadCount messageCount updatedAt
      endpoint { id name }
      lastMessage { id body direction status read from to createdAt endpoint { id name displayName } }
    }
    pageInfo { hasNextPage endCursor }
  }
}";

/// Measures both databases.
///
/// # Errors
/// The server did not start, or answered with errors.
pub(crate) async fn run(size: Size, folder: &Path, report: &mut Report) -> Result<(), Failure> {
    on_postgres(size, folder, report).await?;
    on_sqlite(size, folder, report).await
}

/// A client of a server with chats.
struct Client {
    http: reqwest::Client,
    server: Server,
    token: String,
    endpoint: Value,
}

impl Client {
    /// Starts a server and makes one endpoint that everybody has written to.
    async fn start(program: &Program) -> Result<Self, Failure> {
        program.run(&["account", "create", "bench"]).await?;
        let scopes: Vec<&str> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
        let scopes = scopes.join(",");
        let token = program
            .run(&[
                "token",
                "create",
                "--account",
                "bench",
                "--name",
                "bench",
                "--scopes",
                &scopes,
            ])
            .await?;
        let mut client = Self {
            http: reqwest::Client::new(),
            server: program.serve(&[]).await?,
            token,
            endpoint: Value::Null,
        };
        let domain = client
            .change(
                "createDomain",
                "domain { id }",
                json!({ "name": "bench.example" }),
            )
            .await?;
        let domain = &domain["domain"]["id"];
        let endpoints: Vec<Value> = stream::iter(0..=CHATS)
            .map(|n| {
                let client = &client;
                async move {
                    let input = json!({
                        "domainId": domain, "name": format!("phone{n}"), "displayName": format!("Phone {n}"),
                        "credentials": { "generate": true },
                    });
                    let made = client.change("createEndpoint", "endpoint { id }", input).await?;
                    Ok::<_, Failure>(made["endpoint"]["id"].clone())
                }
            })
            .buffered(SENDERS)
            .try_collect()
            .await?;
        let (center, others) = endpoints.split_first().ok_or("no endpoints")?;
        client
            .send_all(others.iter().map(|other| (other, center)))
            .await?;
        // To every second one it has answered, so that last messages go both ways.
        client
            .send_all(others.iter().step_by(2).map(|other| (center, other)))
            .await?;
        client.endpoint = center.clone();
        Ok(client)
    }

    async fn send_all<'a>(
        &self,
        pairs: impl Iterator<Item = (&'a Value, &'a Value)>,
    ) -> Result<(), Failure> {
        let pairs: Vec<_> = pairs.collect();
        stream::iter(pairs)
            .map(async |(from, to)| {
                let input = json!({
                    "from": { "endpointId": from }, "to": { "endpointId": to }, "body": crate::world::BODY,
                });
                self.change("sendMessage", "message { id }", input).await
            })
            .buffer_unordered(SENDERS)
            .try_for_each(async |_| Ok(()))
            .await
    }

    async fn change(
        &self,
        mutation: &str,
        selection: &str,
        input: Value,
    ) -> Result<Value, Failure> {
        let type_name = format!("{}{}Input", &mutation[..1].to_uppercase(), &mutation[1..]);
        let query = format!(
            "mutation($input: {type_name}!) {{ {mutation}(input: $input) {{ {selection} userErrors {{ code message }} }} }}"
        );
        let mut data = self.ask(&query, &json!({ "input": input })).await?;
        let payload = data[mutation].take();
        match payload["userErrors"].as_array() {
            Some(errors) if errors.is_empty() => Ok(payload),
            _ => Err(format!("{mutation}: {payload}").into()),
        }
    }

    async fn ask(&self, query: &str, variables: &Value) -> Result<Value, Failure> {
        let mut answer: Value = self
            .http
            .post(format!("{}/graphql", self.server.url))
            .bearer_auth(&self.token)
            .json(&json!({ "query": query, "variables": variables }))
            .send()
            .await?
            .json()
            .await?;
        match answer.get("errors") {
            None => Ok(answer["data"].take()),
            Some(errors) => Err(format!("{errors}").into()),
        }
    }

    /// Asks for a page and makes sure that it is whole.
    async fn page(&self, first: u32) -> Result<(), Failure> {
        let variables = json!({ "endpoint": self.endpoint, "first": first });
        let data = self.ask(QUERY, &variables).await?;
        let nodes = data["chats"]["nodes"].as_array().ok_or("no chats")?;
        let whole = |chat: &Value| {
            chat["lastMessage"]["endpoint"]["name"].is_string()
                && chat["peer"].is_string()
                && chat["unreadCount"] == 1
        };
        if nodes.len() == usize::try_from(first)? && nodes.iter().all(whole) {
            return Ok(());
        }
        Err(format!(
            "a page of {first} chats has {} or not all of their fields",
            nodes.len()
        )
        .into())
    }

    /// Tells the server's CPU and the time of one page.
    async fn tell_cost(&self, size: Size, report: &Report) -> Result<(), Failure> {
        let pages = size.pick(50, 500);
        let pid = self.server.pid.to_string();
        for first in PAGES {
            for _ in 0..COUNTED {
                self.page(first).await?;
            }
            let (start, before) = (Instant::now(), cpu(&pid)?);
            for _ in 0..pages {
                self.page(first).await?;
            }
            let (wall, used) = (start.elapsed(), cpu(&pid)? - before);
            report.figure(
                &format!("a page of {first} chats"),
                format!(
                    "{} CPU of the server, {} wall",
                    micros(used / pages),
                    micros(wall / pages)
                ),
            );
        }
        Ok(())
    }
}

async fn on_sqlite(size: Size, folder: &Path, report: &Report) -> Result<(), Failure> {
    report.subject("chat-list: pages of chats through GraphQL on SQLite");
    let folder = tempfile::tempdir_in(folder)?;
    let url = format!("sqlite:{}", folder.path().join("chats.db").display());
    let program = Program::new(&url, folder.path())?;
    Client::start(&program).await?.tell_cost(size, report).await
}

async fn on_postgres(size: Size, folder: &Path, report: &mut Report) -> Result<(), Failure> {
    report.subject("chat-list: pages of chats through GraphQL on Postgres");
    let options = ClusterOptions {
        settings: vec![
            ("log_statement", "all".to_owned()),
            ("log_line_prefix", "%a|".to_owned()),
        ],
        ..ClusterOptions::default()
    };
    let cluster = tokio::task::spawn_blocking(|| Cluster::start(options)).await?;
    let database = Database::on(&cluster).await;
    let folder = tempfile::tempdir_in(folder)?;
    let program = Program::new(database.url(), folder.path())?;
    let client = Client::start(&program).await?;

    let before = cluster.log().len();
    tokio::time::sleep(IDLE).await;
    let own = statements(&cluster, before);
    let own: BTreeSet<&str> = own.iter().map(String::as_str).collect();
    for first in PAGES {
        client.page(first).await?;
        let before = cluster.log().len();
        for _ in 0..COUNTED {
            client.page(first).await?;
        }
        let mut counts = BTreeMap::new();
        for text in statements(&cluster, before) {
            if !own.contains(text.as_str()) {
                *counts.entry(text).or_insert(0_u32) += 1;
            }
        }
        let each = |count: u32| f64::from(count) / f64::from(COUNTED);
        let mut of_page = 0;
        for (text, count) in &counts {
            let short: String = text.chars().take(90).collect();
            report.figure(&format!("{:.2} a page", each(*count)), short);
            if !is_of_token(text) {
                of_page += count;
            }
        }
        report.limited(
            &format!("SQL statements for {first} chats, besides the token's"),
            each(of_page),
            "",
            Limit::AtMost(STATEMENTS_MAX),
        );
    }
    client.tell_cost(size, report).await
}

/// Whether a statement looks up the bearer token: once a second, whatever is asked.
fn is_of_token(text: &str) -> bool {
    text.contains("secret_hash")
}

/// The statements in the log of Postgres from a place on.
fn statements(cluster: &Cluster, from: usize) -> Vec<String> {
    let log = cluster.log();
    let lines = log.get(from..).unwrap_or_default().lines();
    lines.filter_map(statement).map(str::to_owned).collect()
}

/// The text of the statement that a line of the log tells of: `LOG:  execute s1: TEXT` or `LOG:  statement: TEXT`.
fn statement(line: &str) -> Option<&str> {
    let rest = line.strip_prefix(PREFIX)?.strip_prefix("LOG:  ")?;
    if let Some(text) = rest.strip_prefix("statement: ") {
        return Some(text);
    }
    let (_, text) = rest.strip_prefix("execute ")?.split_once(": ")?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_found_in_a_log() {
        for (line, expected) in [
            ("sipgraph|LOG:  execute s3: SELECT 1", Some("SELECT 1")),
            (
                "sipgraph|LOG:  execute <unnamed>: SELECT ':'",
                Some("SELECT ':'"),
            ),
            ("sipgraph|LOG:  statement: BEGIN", Some("BEGIN")),
            ("sipgraph|DETAIL:  parameters: $1 = '2'", None),
            ("psql|LOG:  statement: SELECT 1", None),
            ("\tcontinued", None),
        ] {
            assert_eq!(statement(line), expected, "{line}");
        }
    }
}

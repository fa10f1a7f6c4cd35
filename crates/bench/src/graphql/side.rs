//! One of the servers with its database: starts it, asks it, and measures what an answer costs.

use crate::Failure;
use crate::meter::cpu;
use crate::program::{Program, Server, started};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};
use sipgraph_core::access::Scope;
use sipgraph_testkit::Database;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::process::Command;
use tokio_postgres::{Client, NoTls};

/// What the reference reads and writes.
const REFERENCE_SCHEMA: &str = include_str!("../../reference/schema.sql");
/// One worker, as the reference has.
const ONE_WORKER: [(&str, &str); 1] = [("TOKIO_WORKER_THREADS", "1")];

/// One of the servers with its database.
pub(crate) struct Side {
    server: Server,
    token: Option<Arc<str>>,
    database: Option<Client>,
    /// Its database where that is SQLite.
    pub(crate) file: Option<PathBuf>,
    http: reqwest::Client,
}

/// A request to a server.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    /// The token of who asks, where that is not the side's own.
    pub(crate) token: Option<Arc<str>>,
    /// The body, which is JSON.
    pub(crate) body: String,
}

impl From<String> for Ask {
    fn from(body: String) -> Self {
        Self { token: None, body }
    }
}

/// What a request costs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) server: Duration,
    pub(crate) postgres: Duration,
    /// Of the answer.
    pub(crate) octets: usize,
    /// Requests a second.
    pub(crate) rate: f64,
}

/// A new client of a database.
///
/// # Errors
/// It can't be reached.
pub(crate) async fn connect(database: &Database) -> Result<Client, Failure> {
    let (client, connection) = tokio_postgres::connect(database.url(), NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

impl Side {
    /// Starts the product with one account and one domain.
    pub(crate) async fn ours(database: &Database, folder: &Path) -> Result<Self, Failure> {
        let program = Program::new(database.url(), folder)?;
        program.run(&["account", "create", "bench"]).await?;
        let token = token_make(&program, "bench").await?;
        let side = Self {
            server: program.serve(&ONE_WORKER).await?,
            token: Some(token),
            database: Some(connect(database).await?),
            file: None,
            http: reqwest::Client::new(),
        };
        let document =
            "mutation { createDomain(input: { name: \"bench.example\" }) { domain { id } } }";
        side.data(document, Value::Null).await?;
        Ok(side)
    }

    /// Starts the product on an SQLite copy of its Postgres database: with the same ids, and the same token.
    pub(crate) async fn ours_on_sqlite(
        &self,
        database: &Database,
        folder: &Path,
    ) -> Result<Self, Failure> {
        let file = folder.join("copy.db");
        let program = Program::new(&format!("sqlite:{}", file.display()), folder)?;
        program.run(&["account", "create", "bench"]).await?;
        super::fill::copy(database, &file).await?;
        Ok(Self {
            server: program.serve(&ONE_WORKER).await?,
            token: self.token.clone(),
            database: None,
            file: Some(file),
            http: reqwest::Client::new(),
        })
    }

    /// The product that runs already, on a database that has its accounts; without a token each request brings its own.
    pub(crate) fn running(server: Server, token: Option<Arc<str>>) -> Self {
        Self {
            server,
            token,
            database: None,
            file: None,
            http: reqwest::Client::new(),
        }
    }

    /// Starts the reference.
    pub(crate) async fn theirs(database: &Database, binary: &Path) -> Result<Self, Failure> {
        let client = connect(database).await?;
        client.batch_execute(REFERENCE_SCHEMA).await?;
        let mut command = Command::new(binary);
        command.env_clear().env("PGURL", database.url());
        Ok(Self {
            server: started(command, "ready ").await?,
            token: None,
            database: Some(client),
            file: None,
            http: reqwest::Client::new(),
        })
    }

    /// Whether it is the product.
    pub(crate) fn is_ours(&self) -> bool {
        self.token.is_some()
    }

    /// Its database where that is Postgres.
    ///
    /// # Errors
    /// It is SQLite.
    pub(crate) fn database(&self) -> Result<&Client, Failure> {
        self.database
            .as_ref()
            .ok_or_else(|| "its database is SQLite".into())
    }

    /// Sends a request to a path and gives its answer, which must have no errors.
    pub(crate) async fn post(&self, path: &str, ask: Ask) -> Result<String, Failure> {
        let mut request = self
            .http
            .post(format!("{}{path}", self.server.url))
            .header("Content-Type", "application/json")
            .body(ask.body);
        if let Some(token) = ask.token.as_ref().or(self.token.as_ref()) {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await?.error_for_status()?.text().await?;
        if answer.contains("\"errors\"") || answer.contains("\"userErrors\":[{") {
            return Err(format!("a request failed: {answer}").into());
        }
        Ok(answer)
    }

    /// Sends a GraphQL request.
    pub(crate) async fn ask(&self, ask: impl Into<Ask>) -> Result<String, Failure> {
        self.post("/graphql", ask.into()).await
    }

    /// Sends a GraphQL request and gives its data.
    pub(crate) async fn data(&self, document: &str, variables: Value) -> Result<Value, Failure> {
        let body = json!({ "query": document, "variables": variables });
        let answer: Value = serde_json::from_str(&self.ask(body.to_string()).await?)?;
        Ok(answer["data"].clone())
    }

    /// Has these requests answered, so many at a time, and gives what each cost.
    pub(crate) async fn round(
        &self,
        path: &str,
        requests: Vec<Ask>,
        at_once: usize,
    ) -> Result<Cost, Failure> {
        let count = u32::try_from(requests.len())?;
        let pid = self.server.pid.to_string();
        let (server, postgres) = (cpu(&pid)?, self.backends().await?);
        let begun = Instant::now();
        let octets = stream::iter(requests)
            .map(|ask| self.post(path, ask))
            .buffer_unordered(at_once)
            .try_fold(0, |octets, answer| async move { Ok(octets + answer.len()) })
            .await?;
        let wall = begun.elapsed();
        let server = cpu(&pid)? - server;
        let mut of_postgres = Duration::ZERO;
        let after = self.backends().await?;
        if postgres.keys().any(|pid| !after.contains_key(pid)) {
            return Err("a connection to Postgres went within a round".into());
        }
        for (pid, used) in after {
            of_postgres += used - postgres.get(&pid).copied().unwrap_or_default();
        }
        Ok(Cost {
            server: server / count,
            postgres: of_postgres / count,
            octets: octets / usize::try_from(count)?,
            rate: f64::from(count) / wall.as_secs_f64(),
        })
    }

    /// What the processes of Postgres that serve this side have used.
    async fn backends(&self) -> Result<BTreeMap<i32, Duration>, Failure> {
        let Some(database) = &self.database else {
            return Ok(BTreeMap::new());
        };
        let rows = database
            .query(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend' \
                 AND pid <> pg_backend_pid()",
                &[],
            )
            .await?;
        let pids = rows.iter().map(|row| row.get::<_, i32>(0));
        pids.map(|pid| Ok((pid, cpu(&pid.to_string())?))).collect()
    }
}

/// Makes a token of an account with every scope.
///
/// # Errors
/// The program failed.
pub(crate) async fn token_make(program: &Program, account: &str) -> Result<Arc<str>, Failure> {
    let scopes: Vec<&str> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
    let scopes = scopes.join(",");
    let mut create = vec!["token", "create", "--account", account];
    create.extend(["--name", "bench", "--scopes", &scopes]);
    Ok(program.run(&create).await?.into())
}

/// All endpoints, newest first: their ids, and this field of them.
///
/// # Errors
/// The server failed.
pub(crate) async fn endpoints(ours: &Side, field: &str) -> Result<Vec<[String; 2]>, Failure> {
    let document = format!(
        "query($after: Cursor) {{ endpoints(first: 1000, after: $after) {{ nodes {{ id {field} }} \
         pageInfo {{ hasNextPage endCursor }} }} }}"
    );
    let mut all = Vec::new();
    let mut after = Value::Null;
    loop {
        let data = ours.data(&document, json!({ "after": after })).await?;
        let page = &data["endpoints"];
        for node in page["nodes"].as_array().into_iter().flatten() {
            let id = node["id"].as_str().ok_or("an endpoint has no id")?;
            let value = &node[field];
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            all.push([id.to_owned(), value]);
        }
        if page["pageInfo"]["hasNextPage"] != json!(true) {
            return Ok(all);
        }
        after = page["pageInfo"]["endCursor"].clone();
    }
}

/// Some endpoints from all of the list, by their ids on both sides.
///
/// # Errors
/// The server failed.
pub(crate) async fn sample(ours: &Side, count: usize) -> Result<Vec<[String; 2]>, Failure> {
    let all = endpoints(ours, "externalId").await?;
    let step = (all.len() / count).max(1);
    Ok(all.into_iter().step_by(step).collect())
}

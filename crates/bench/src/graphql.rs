//! GraphQL requests as clients send them: the real binary against a stock server of async-graphql, on one Postgres, with the same
//! endpoints.
//!
//! Both run with one worker thread and answer the same closed loop in turns. What counts is the CPU that a request costs the
//! server, and for lists also what it costs Postgres. The product looks up the bearer token of each request and keeps accounts
//! apart; the reference does neither.

use crate::meter::cpu;
use crate::program::{Program, Server, started};
use crate::report::{Limit, Report, median, micros};
use crate::{Failure, Size};
use clap::ValueEnum;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};
use sipgraph_core::access::Scope;
use sipgraph_testkit::Database;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::Command;
use tokio_postgres::{Client, NoTls};

/// How many requests are under way at a time.
const CONNECTIONS: usize = 16;
/// Different requests of each operation.
const BODIES: usize = 500;
/// What the reference reads.
const REFERENCE_SCHEMA: &str = include_str!("../reference/schema.sql");

const FIRST_NAMES: &str = "james,mary,john,linda,robert,susan,david,karen,maria,ivan,olga,anna,peter,yuki,chen,ahmed,fatima,carlos,\
    lucia,emma,noah,liam,lars,sven,nina,omar,priya,ravi,kofi,jorge,elena,boris,dmitri,sofia,hugo,marta,wei";
const LAST_NAMES: &str = "smith,jones,brown,garcia,miller,davis,wilson,moore,taylor,thomas,white,harris,clark,lewis,young,wright,hill,\
    green,baker,adams,nelson,carter,mitchell,perez,roberts,turner,phillips,campbell,parker,evans,edwards,collins,ivanov,petrov,\
    tanaka,nguyen,singh,king,walker,allen,scott";
const DEVICES: &str = "mobile,desk,soft,web,lobby,home,fax,door,conf,lab";

/// What to measure, and against what.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    /// The binary of the reference; crates/bench/reference/README.md says how to build it.
    #[arg(long, value_name = "FILE")]
    reference: PathBuf,
    /// The operations.
    #[arg(value_enum, default_values_t = [Operation::Q1, Operation::Q2])]
    operations: Vec<Operation>,
}

/// An operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Operation {
    /// An endpoint by its id, twelve fields.
    Q1,
    /// The newest fifty enabled endpoints with a text in their names.
    Q2,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Q1 => "Q1, an endpoint by its id",
            Self::Q2 => "Q2, the newest 50 enabled endpoints with a text in their names",
        }
    }

    /// The documents of the product and of the reference; they ask for as many fields.
    fn documents(self) -> [&'static str; 2] {
        match self {
            Self::Q1 => [
                "query Q1($id: ID!) { endpoint(by: {id: $id}) { id name displayName description enabled state callerId sendAs \
                 encryption capacity createdAt updatedAt } }",
                "query Q1($id: ID!) { endpoint(id: $id) { id username type description enabled encryption callerId sendAs \
                 transport capacity createdAt updatedAt } }",
            ],
            Self::Q2 => [
                "query Q2($q: String!) { endpoints(first: 50, filter: {nameContains: $q, enabled: true}) { nodes { id name \
                 callerId enabled encryption createdAt } pageInfo { hasNextPage endCursor } } }",
                "query Q2($q: String!) { endpoints(first: 50, filter: {usernameContains: $q, enabled: true}) { nodes { id \
                 username callerId enabled encryption createdAt } pageInfo { hasNextPage endCursor } } }",
            ],
        }
    }

    /// The variables of a number of requests, of the product and of the reference; they ask for the same endpoints.
    fn variables(self, endpoints: &[(String, String)]) -> Vec<[Value; 2]> {
        match self {
            Self::Q1 => endpoints
                .iter()
                .map(|(ours, theirs)| [json!({ "id": ours }), json!({ "id": theirs })])
                .collect(),
            Self::Q2 => words()
                .map(|q| [json!({ "q": q }), json!({ "q": q })])
                .collect(),
        }
    }

    /// The most CPU that a request may cost, as a multiple of the reference's, and whether that of Postgres is counted too.
    fn limit(self) -> (f64, bool) {
        match self {
            Self::Q1 => (1.0, false),
            Self::Q2 => (0.6, true),
        }
    }

    fn requests(self, size: Size) -> u32 {
        match self {
            Self::Q1 => size.pick(2_000, 20_000),
            Self::Q2 => size.pick(300, 3_000),
        }
    }
}

/// Parts of names, of which one of forty to one of four thousand has each.
fn words() -> impl Iterator<Item = String> {
    let first = FIRST_NAMES
        .split(',')
        .map(|name| name.chars().take(4).collect());
    let last = LAST_NAMES
        .split(',')
        .map(|name| name.chars().skip(1).take(4).collect());
    let both = LAST_NAMES.split(',').take(20).flat_map(|name| {
        let end: String = name.chars().skip(name.len() - 3).collect();
        DEVICES
            .split(',')
            .take(5)
            .map(move |device| format!("{end}_{}", &device[..2]))
    });
    first
        .chain(last)
        .chain(both)
        .filter(|word: &String| word.len() > 3)
}

/// The name of endpoint `i` in SQL; the steps are prime to the numbers of names.
fn name_in_sql() -> String {
    let array = |names: &str| format!("(string_to_array('{names}', ','))");
    format!(
        "{}[1 + (i * 7919) % {}] || '.' || {}[1 + (i * 104729 / 7) % {}] || '_' || {}[1 + i % {}] || i",
        array(FIRST_NAMES),
        FIRST_NAMES.split(',').count(),
        array(LAST_NAMES),
        LAST_NAMES.split(',').count(),
        array(DEVICES),
        DEVICES.split(',').count(),
    )
}

/// One of the two servers with its database.
struct Side {
    server: Server,
    token: Option<String>,
    database: Client,
    http: reqwest::Client,
}

/// What a request costs.
#[derive(Debug, Clone, Copy)]
struct Cost {
    server: Duration,
    postgres: Duration,
    /// Of the answer.
    octets: usize,
}

impl Side {
    /// Sends a request and gives its answer, which must have no errors.
    async fn ask(&self, body: String) -> Result<String, Failure> {
        let url = format!("{}/graphql", self.server.url);
        let mut request = self
            .http
            .post(url)
            .header("Content-Type", "application/json")
            .body(body);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await?.error_for_status()?.text().await?;
        if answer.contains("\"errors\"") {
            return Err(format!("a request failed: {answer}").into());
        }
        Ok(answer)
    }

    async fn data(&self, document: &str, variables: Value) -> Result<Value, Failure> {
        let body = json!({ "query": document, "variables": variables });
        let answer: Value = serde_json::from_str(&self.ask(body.to_string()).await?)?;
        Ok(answer["data"].clone())
    }

    /// The processes of Postgres that serve this side.
    async fn backends(&self) -> Result<Vec<String>, Failure> {
        let rows = self
            .database
            .query(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend' \
                 AND pid <> pg_backend_pid() ORDER BY pid",
                &[],
            )
            .await?;
        Ok(rows
            .iter()
            .map(|row| row.get::<_, i32>(0).to_string())
            .collect())
    }

    /// Answers so many requests, and gives the octets of all answers.
    async fn answer(&self, bodies: &[String], requests: usize) -> Result<usize, Failure> {
        stream::iter(bodies.iter().cycle().take(requests))
            .map(|body| self.ask(body.clone()))
            .buffer_unordered(CONNECTIONS)
            .try_fold(0, |octets, answer| async move { Ok(octets + answer.len()) })
            .await
    }

    /// Answers so many requests, and gives what each cost.
    async fn round(&self, bodies: &[String], requests: u32) -> Result<Cost, Failure> {
        let backends = self.backends().await?;
        let postgres =
            || -> Result<Duration, Failure> { backends.iter().map(|pid| cpu(pid)).sum() };
        let pid = self.server.pid.to_string();
        let (server_before, postgres_before) = (cpu(&pid)?, postgres()?);
        let octets = self.answer(bodies, usize::try_from(requests)?).await?;
        let (server, postgres) = (cpu(&pid)? - server_before, postgres()? - postgres_before);
        if self.backends().await? != backends {
            return Err("connections to Postgres came or went within a round".into());
        }
        Ok(Cost {
            server: server / requests,
            postgres: postgres / requests,
            octets: octets / usize::try_from(requests)?,
        })
    }
}

/// Measures the operations asked for.
///
/// # Errors
/// A server did not start, or answered with errors, or the two answered differently.
pub(crate) async fn run(
    arguments: &Arguments,
    size: Size,
    folder: &Path,
    report: &mut Report,
) -> Result<(), Failure> {
    let folder = tempfile::tempdir_in(folder)?;
    let count = size.pick(20_000, 100_000);
    let databases = [Database::postgres().await, Database::postgres().await];
    let ours = product(&databases[0], folder.path(), count).await?;
    let theirs = reference(&databases[1], &arguments.reference, count).await?;
    let endpoints = sample(&ours).await?;
    for operation in &arguments.operations {
        report.subject(&format!(
            "graphql: {}, {count} endpoints, {CONNECTIONS} requests at a time",
            operation.name()
        ));
        measure(*operation, size, [&ours, &theirs], &endpoints, report).await?;
    }
    Ok(())
}

async fn measure(
    operation: Operation,
    size: Size,
    sides: [&Side; 2],
    endpoints: &[(String, String)],
    report: &mut Report,
) -> Result<(), Failure> {
    let documents = operation.documents();
    let mut bodies = [Vec::new(), Vec::new()];
    for variables in operation.variables(endpoints) {
        for ((bodies, document), variables) in bodies.iter_mut().zip(documents).zip(variables) {
            bodies.push(json!({ "query": document, "variables": variables }).to_string());
        }
    }
    for (ours, theirs) in bodies[0].iter().zip(&bodies[1]).take(20) {
        same(
            &sides[0].ask(ours.clone()).await?,
            &sides[1].ask(theirs.clone()).await?,
        )?;
    }
    let requests = operation.requests(size);
    // Connections are opened and caches are filled.
    for (side, bodies) in sides.iter().zip(&bodies) {
        side.answer(bodies, usize::try_from(requests / 4)?).await?;
    }
    let mut costs = [Vec::new(), Vec::new()];
    for _ in 0..size.pick(2, 7) {
        for ((side, bodies), costs) in sides.iter().zip(&bodies).zip(&mut costs) {
            costs.push(side.round(bodies, requests).await?);
        }
    }
    judge(operation, &costs, report);
    Ok(())
}

fn judge(operation: Operation, costs: &[Vec<Cost>; 2], report: &mut Report) {
    for (name, costs) in ["sipgraph", "the reference"].iter().zip(costs) {
        let each = |of: fn(&Cost) -> Duration| {
            let seconds = costs.iter().map(|cost| of(cost).as_secs_f64());
            micros(Duration::from_secs_f64(median(seconds.collect())))
        };
        report.figure(
            &format!("{name}, of the server and of Postgres"),
            format!(
                "{} and {}, {} octets",
                each(|cost| cost.server),
                each(|cost| cost.postgres),
                costs.first().map_or(0, |cost| cost.octets)
            ),
        );
    }
    let (limit, with_postgres) = operation.limit();
    let counted = |cost: &Cost| {
        let postgres = if with_postgres {
            cost.postgres
        } else {
            Duration::ZERO
        };
        (cost.server + postgres).as_secs_f64()
    };
    let ratios = costs[0].iter().zip(&costs[1]);
    let ratios = ratios.map(|(ours, theirs)| counted(ours) / counted(theirs));
    let what = if with_postgres {
        "server and Postgres"
    } else {
        "server"
    };
    report.limited(
        &format!("CPU of {what}, sipgraph to the reference"),
        median(ratios.collect()),
        "",
        Limit::AtMost(limit),
    );
}

/// Compares the names in two answers.
fn same(ours: &str, theirs: &str) -> Result<(), Failure> {
    fn names(of: &Value, field: &str, found: &mut Vec<String>) {
        match of {
            Value::Object(map) => {
                found.extend(map.get(field).and_then(Value::as_str).map(str::to_owned));
                map.values().for_each(|value| names(value, field, found));
            }
            Value::Array(list) => list.iter().for_each(|value| names(value, field, found)),
            _ => {}
        }
    }
    let mut lists = [Vec::new(), Vec::new()];
    for ((text, field), list) in [(ours, "name"), (theirs, "username")]
        .into_iter()
        .zip(&mut lists)
    {
        names(&serde_json::from_str(text)?, field, list);
    }
    if lists[0].is_empty() || lists[0] != lists[1] {
        return Err(format!("sipgraph answered {ours}, the reference {theirs}").into());
    }
    Ok(())
}

async fn connect(database: &Database) -> Result<Client, Failure> {
    let (client, connection) = tokio_postgres::connect(database.url(), NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Starts the product on an account with so many endpoints in one domain.
async fn product(database: &Database, folder: &Path, count: u32) -> Result<Side, Failure> {
    let program = Program::new(database.url(), folder)?;
    program.run(&["account", "create", "bench"]).await?;
    let scopes: Vec<&str> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
    let scopes = scopes.join(",");
    let mut create = vec!["token", "create", "--account", "bench"];
    create.extend(["--name", "bench", "--scopes", &scopes]);
    let token = program.run(&create).await?;
    let side = Side {
        server: program.serve(&[("TOKIO_WORKER_THREADS", "1")]).await?,
        token: Some(token),
        database: connect(database).await?,
        http: reqwest::Client::new(),
    };
    let document =
        "mutation { createDomain(input: { name: \"bench.example\" }) { domain { id } } }";
    side.data(document, Value::Null).await?;
    let name = name_in_sql();
    side.database
        .batch_execute(&format!(
            "INSERT INTO endpoints (account_id, id, domain_id, domain_name, external_id, name, canonical_name, display_name, \
             description, caller_id, send_as, enabled, has_password, state, created_at, updated_at, version, bindings_revision, \
             capacity) SELECT d.account_id, gen_random_uuid(), d.id, d.name, i, {name}, {name}, 'phone', 'the phone of ' || i, \
             'Caller ' || i, '+1415' || (1000000 + i), i % 10 <> 0, FALSE, 0, to_timestamp(1700000000 + i), \
             to_timestamp(1700000000 + i), 1, 0, i % 3 FROM domains d, generate_series(1, {count}) AS n(i); \
             VACUUM ANALYZE endpoints"
        ))
        .await?;
    Ok(side)
}

/// Starts the reference on the same endpoints.
async fn reference(database: &Database, binary: &Path, count: u32) -> Result<Side, Failure> {
    let client = connect(database).await?;
    client.batch_execute(REFERENCE_SCHEMA).await?;
    let name = name_in_sql();
    client
        .batch_execute(&format!(
            "INSERT INTO endpoints SELECT i, 1, {name}, 'phone', 'Caller ' || i, '+1415' || (1000000 + i), 'the phone of ' || i, \
             i % 10 <> 0, 'default', 'OPUS,G722', 'AES_CM_128_HMAC_SHA1_80', 'udp', i % 3, to_timestamp(1700000000 + i), \
             to_timestamp(1700000000 + i) FROM generate_series(1, {count}) AS n(i); VACUUM ANALYZE endpoints"
        ))
        .await?;
    let mut command = Command::new(binary);
    command.env_clear().env("PGURL", database.url());
    Ok(Side {
        server: started(command, "ready ").await?,
        token: None,
        database: client,
        http: reqwest::Client::new(),
    })
}

/// Some endpoints from all of the list, by their ids on both sides.
async fn sample(ours: &Side) -> Result<Vec<(String, String)>, Failure> {
    const PAGE: &str = "query($after: Cursor) { endpoints(first: 1000, after: $after) { nodes { id externalId } \
         pageInfo { hasNextPage endCursor } } }";
    let mut all = Vec::new();
    let mut after = Value::Null;
    loop {
        let data = ours.data(PAGE, json!({ "after": after })).await?;
        let page = &data["endpoints"];
        for node in page["nodes"].as_array().into_iter().flatten() {
            let id = node["id"].as_str().ok_or("an endpoint has no id")?;
            all.push((id.to_owned(), node["externalId"].to_string()));
        }
        if page["pageInfo"]["hasNextPage"] != json!(true) {
            break;
        }
        after = page["pageInfo"]["endCursor"].clone();
    }
    let step = (all.len() / BODIES).max(1);
    Ok(all.into_iter().step_by(step).collect())
}

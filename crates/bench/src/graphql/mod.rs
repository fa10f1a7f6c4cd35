//! GraphQL requests as clients send them: the real binary against a stock server of async-graphql, on one Postgres, with the same
//! endpoints, chats and messages; and on SQLite against itself on Postgres.
//!
//! All run with one worker thread and answer the same closed loop in turns. What counts is the CPU that a request costs the
//! server, and for some also what it costs Postgres. The product checks the bearer token of each request and keeps accounts
//! apart; the reference does neither.

pub(crate) mod fill;
mod operation;
pub(crate) mod side;

use crate::report::{Limit, Report, median, micros};
use crate::{Failure, Size};
use fill::World;
use operation::{Counted, Known, Operation, Request};
use serde_json::{Value, json};
use side::{Ask, Cost, Side, sample};
use sipgraph_testkit::Database;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How many requests are under way at a time.
const CONNECTIONS: usize = 16;
/// Endpoints that are asked for.
const ENDPOINTS: usize = 500;
/// What the product's CPU on SQLite may be at most, as a multiple of what it and Postgres use there.
const SQLITE_MAX: f64 = 1.0;

/// What to measure, and against what.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    /// The binary of the reference; crates/bench/reference/README.md says how to build it.
    #[arg(long, value_name = "FILE")]
    reference: PathBuf,
    /// The operations; all of them when none is named.
    #[arg(value_enum)]
    operations: Vec<Operation>,
}

/// Measures the operations asked for.
///
/// # Errors
/// A server did not start, or answered with errors, or two answered differently.
pub(crate) async fn run(
    arguments: &Arguments,
    size: Size,
    folder: &Path,
    report: &mut Report,
) -> Result<(), Failure> {
    let folder = tempfile::tempdir_in(folder)?;
    let world = World::of(size);
    let databases = [Database::postgres().await, Database::postgres().await];
    let ours = Side::ours(&databases[0], folder.path()).await?;
    fill::fill_ours(&ours, world).await?;
    let theirs = Side::theirs(&databases[1], &arguments.reference).await?;
    fill::fill_theirs(&theirs, world).await?;
    let sqlite = ours.ours_on_sqlite(&databases[0], folder.path()).await?;
    let known = Known {
        endpoints: sample(&ours, ENDPOINTS).await?,
        chats: fill::chats(&ours, world).await?,
    };
    let mut operations = arguments.operations.clone();
    if operations.is_empty() {
        operations = <Operation as clap::ValueEnum>::value_variants().to_vec();
    }
    // Those that change something come last.
    operations.sort_unstable();
    for operation in operations {
        report.subject(&format!(
            "graphql: {}, {} endpoints, {CONNECTIONS} requests at a time",
            operation.name(),
            world.endpoints,
        ));
        let sides = [&ours, &theirs, &sqlite];
        measure(operation, size, world, sides, &known, report).await?;
    }
    Ok(())
}

async fn measure(
    operation: Operation,
    size: Size,
    world: World,
    sides: [&Side; 3],
    known: &Known,
    report: &mut Report,
) -> Result<(), Failure> {
    let requests = operation.variables(known, size);
    if requests.is_empty() {
        return Err("there is nothing to ask for".into());
    }
    let asks = |side: usize, round: usize, count: usize| -> Vec<Ask> {
        let requests = requests.iter().cycle().take(count).enumerate();
        let ask = |(number, request)| {
            Ask::from(body(operation, request, side, &format!("{round}-{number}")))
        };
        requests.map(ask).collect()
    };
    if operation == Operation::M2Again {
        // Each chat is read before.
        for (place, side) in sides.iter().enumerate() {
            let asks = asks(place, 0, requests.len());
            side.round("/graphql", asks, CONNECTIONS).await?;
        }
    }
    let firsts: [Vec<Ask>; 3] = std::array::from_fn(|side| asks(side, 1, 20));
    for number in 0..firsts[0].len() {
        let mut answers = Vec::new();
        for (side, asks) in sides.iter().zip(&firsts) {
            answers.push(side.ask(asks[number].clone()).await?);
        }
        same(operation, &answers)?;
    }
    let count = usize::try_from(operation.requests(size))?;
    let mut costs = [Vec::new(), Vec::new(), Vec::new()];
    // In the first round connections are opened and caches are filled.
    for round in 0..=size.pick(2, 7) {
        if operation == Operation::M2 {
            fill::unread(&sides, world).await?;
        }
        for (place, (side, costs)) in sides.iter().zip(&mut costs).enumerate() {
            let asks = asks(place, round + 2, count);
            let cost = side.round("/graphql", asks, CONNECTIONS).await?;
            if round > 0 {
                costs.push(cost);
            }
        }
    }
    judge(operation, &costs, report);
    Ok(())
}

/// The body of a request to one side; one that must not be equal to another says so with a key.
fn body(operation: Operation, request: &Request, side: usize, key: &str) -> String {
    let [ours, theirs] = operation.documents();
    let (document, variables) = if side == 1 {
        (theirs, &request.theirs)
    } else {
        (ours, &request.ours)
    };
    let mut variables = variables.clone();
    if operation == Operation::M1 {
        variables["key"] = json!(format!("key-{key}"));
    }
    json!({ "query": document, "variables": variables }).to_string()
}

fn judge(operation: Operation, costs: &[Vec<Cost>; 3], report: &mut Report) {
    for (name, costs) in ["sipgraph", "the reference", "sipgraph on SQLite"]
        .iter()
        .zip(costs)
    {
        let each = |of: fn(&Cost) -> Duration| {
            let seconds = costs.iter().map(|cost| of(cost).as_secs_f64());
            micros(Duration::from_secs_f64(median(seconds.collect())))
        };
        report.figure(
            &format!("{name}, of the server and of Postgres"),
            format!(
                "{} and {}, {} octets, {:.0} requests/s",
                each(|cost| cost.server),
                each(|cost| cost.postgres),
                costs.first().map_or(0, |cost| cost.octets),
                median(costs.iter().map(|cost| cost.rate).collect()),
            ),
        );
    }
    let (limit, counted) = operation.limit();
    let ratio = |ours: &[Cost], theirs: &[Cost], counted: Counted| {
        let seconds = |cost: &Cost| match counted {
            Counted::Server => cost.server.as_secs_f64(),
            Counted::WithPostgres => (cost.server + cost.postgres).as_secs_f64(),
        };
        let each = ours.iter().zip(theirs);
        median(
            each.map(|(ours, theirs)| seconds(ours) / seconds(theirs))
                .collect(),
        )
    };
    let what = match counted {
        Counted::Server => "server",
        Counted::WithPostgres => "server and Postgres",
    };
    report.limited(
        &format!("CPU of {what}, sipgraph to the reference"),
        ratio(&costs[0], &costs[1], counted),
        "",
        Limit::AtMost(limit),
    );
    report.limited(
        "CPU, sipgraph on SQLite to sipgraph and Postgres",
        ratio(&costs[2], &costs[0], Counted::WithPostgres),
        "",
        Limit::AtMost(SQLITE_MAX),
    );
}

/// Compares what the answers have in common.
fn same(operation: Operation, answers: &[String]) -> Result<(), Failure> {
    fn values(of: &Value, field: &str, found: &mut Vec<Value>) {
        match of {
            Value::Object(map) => {
                found.extend(map.get(field).filter(|value| !value.is_null()).cloned());
                map.values().for_each(|value| values(value, field, found));
            }
            Value::Array(list) => list.iter().for_each(|value| values(value, field, found)),
            _ => {}
        }
    }
    let [ours, theirs] = operation.compared();
    let mut lists = Vec::new();
    for (answer, field) in answers.iter().zip([ours, theirs, ours]) {
        let mut list = Vec::new();
        values(&serde_json::from_str(answer)?, field, &mut list);
        lists.push(list);
    }
    if lists[0].is_empty() || lists.iter().any(|list| *list != lists[0]) {
        return Err(format!("the answers differ: {}", answers.join("\n")).into());
    }
    Ok(())
}

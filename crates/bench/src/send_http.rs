//! Durable sends over HTTP, as 64 clients send them: what the way through HTTP and GraphQL costs over the bare commits, what the
//! order of one account costs, and how near the physical limit comes.

use crate::graphql::fill;
use crate::graphql::side::{Ask, Cost, Side};
use crate::meter::own_cpu;
use crate::open::Instance;
use crate::program::Program;
use crate::report::{Limit, Report, median, micros};
use crate::senders::{SENDERS, round};
use crate::world::{BODY, World, commit_each, secret_make};
use crate::{Failure, Size};
use serde_json::{Value, json};
use sipgraph_core::commit::{Commit, Idempotency};
use sipgraph_storage::Options;
use sipgraph_testkit::{Backend, Database};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The most CPU of the server for a send, as a multiple of what its commit costs alone.
const CPU_MAX: f64 = 4.0;
/// The least share of the rate on many accounts that one account must reach.
const ONE_TO_MANY_MIN: f64 = 0.8;
/// The least share of the rate of the physical limit.
const LIMIT_MIN: f64 = 0.9;
/// The many accounts.
const ACCOUNTS: usize = 100;

const SEND: &str = "mutation Send($input: SendMessageInput!) { sendMessage(input: $input) { message { id chatId endpointId body \
     status createdAt } userErrors { code } } }";

/// What to measure against.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    /// The binary that has the physical limit; crates/bench/reference/README.md says how to build it.
    #[arg(long, value_name = "FILE")]
    reference: PathBuf,
}

/// An account whose endpoints send to each other.
struct Tenant {
    token: Arc<str>,
    endpoints: Vec<Value>,
}

/// The rates and costs of some rounds.
#[derive(Default)]
struct Series(Vec<Cost>);

impl Series {
    fn rate(&self) -> f64 {
        median(self.0.iter().map(|cost| cost.rate).collect())
    }

    fn cpu(&self) -> f64 {
        let seconds = self.0.iter().map(|cost| cost.server.as_secs_f64());
        median(seconds.collect())
    }

    /// The median of what each round gives beside the other series' same round.
    fn beside(&self, other: &Self, of: fn(&Cost) -> f64) -> f64 {
        let rounds = self.0.iter().zip(&other.0);
        median(rounds.map(|(own, other)| of(own) / of(other)).collect())
    }
}

/// Measures both databases.
///
/// # Errors
/// A server did not start, or did not take a send.
pub(crate) async fn run(
    arguments: &Arguments,
    size: Size,
    folder: &Path,
    report: &mut Report,
) -> Result<(), Failure> {
    for backend in [Backend::Postgres, Backend::Sqlite] {
        on(backend, arguments, size, folder, report).await?;
    }
    Ok(())
}

async fn on(
    backend: Backend,
    arguments: &Arguments,
    size: Size,
    folder: &Path,
    report: &mut Report,
) -> Result<(), Failure> {
    let folder = tempfile::tempdir_in(folder)?;
    let database = Database::create(backend).await;
    let program = Program::new(database.url(), folder.path())?;
    // The program makes its key; what is made here has to be sealed with the same.
    program.run(&["account", "create", "first"]).await?;
    let options = Options::default();
    let instance = Instance::sealed(database.url(), &options, program.keyring()?).await?;
    let mut secrets = vec![tenant(&instance, "one", SENDERS).await?];
    for number in 0..size.pick(10, ACCOUNTS) {
        secrets.push(tenant(&instance, &format!("many{number}"), 2).await?);
    }
    instance.store.close().await;
    let side = Side::running(program.serve(&[]).await?, None);
    let mut tenants = Vec::with_capacity(secrets.len());
    for secret in secrets {
        tenants.push(Tenant::known(&side, secret).await?);
    }
    let (one, many) = tenants.split_at(1);

    let alone = Database::create(backend).await;
    let alone = (Instance::open(alone.url(), &options).await?, alone);
    let world = World::make(&alone.0, "alone", SENDERS).await?;

    let limit = match backend {
        Backend::Postgres => Some(Physical::start(&arguments.reference).await?),
        Backend::Sqlite => None,
    };

    let sends = size.pick(10, 100) * SENDERS;
    let rounds = size.pick(2, 7);
    report.subject(&format!(
        "send-http: {backend:?}, {SENDERS} senders, {rounds} rounds of {sends}, one account and {} accounts",
        many.len()
    ));
    let (mut of_one, mut of_many, mut of_store, mut of_limit) =
        <(Series, Series, Series, Series)>::default();
    for number in 0..=rounds {
        let cost = side
            .round("/graphql", asks(one, number, sends), SENDERS)
            .await?;
        let costs = [
            (&mut of_one, Some(cost)),
            (
                &mut of_many,
                Some(
                    side.round("/graphql", asks(many, number, sends), SENDERS)
                        .await?,
                ),
            ),
            (
                &mut of_store,
                Some(commits(&alone.0, &world, number, sends).await?),
            ),
            (
                &mut of_limit,
                match &limit {
                    Some(limit) => Some(limit.round(number, sends).await?),
                    None => None,
                },
            ),
        ];
        for (series, cost) in costs {
            // The first round fills caches and counts for nothing.
            series.0.extend(cost.filter(|_| number > 0));
        }
    }
    alone.0.store.close().await;
    for (name, series) in [
        ("sends on one account", &of_one),
        ("sends on many accounts", &of_many),
        ("the same commits, straight to the store", &of_store),
        ("the physical limit, one account", &of_limit),
    ] {
        if !series.0.is_empty() {
            let cpu = micros(Duration::from_secs_f64(series.cpu()));
            report.figure(name, format!("{:.0}/s, {cpu} CPU each", series.rate()));
        }
    }
    report.limited(
        "CPU of the server for a send, to that of its commit",
        of_one.beside(&of_store, |cost| cost.server.as_secs_f64()),
        "",
        Limit::AtMost(CPU_MAX),
    );
    report.limited(
        "rate on one account to many accounts",
        of_one.beside(&of_many, |cost| cost.rate),
        "",
        Limit::AtLeast(ONE_TO_MANY_MIN),
    );
    if limit.is_some() {
        report.limited(
            "rate on one account to the physical limit",
            of_one.beside(&of_limit, |cost| cost.rate),
            "",
            Limit::AtLeast(LIMIT_MIN),
        );
    }
    Ok(())
}

/// Makes an account whose endpoints have chats with each other; gives the secret of a token.
async fn tenant(instance: &Instance, name: &str, endpoints: usize) -> Result<String, Failure> {
    let world = World::make(instance, name, endpoints).await?;
    secret_make(&instance.app, world.caller.account).await
}

impl Tenant {
    /// Learns the ids of the endpoints, in the order in which they were made.
    async fn known(side: &Side, secret: String) -> Result<Self, Failure> {
        let body = json!({ "query": "{ endpoints(first: 1000) { nodes { id } } }" });
        let token: Arc<str> = secret.into();
        let ask = Ask {
            token: Some(Arc::clone(&token)),
            body: body.to_string(),
        };
        let answer: Value = serde_json::from_str(&side.ask(ask).await?)?;
        let nodes = answer["data"]["endpoints"]["nodes"].as_array();
        let nodes = nodes.ok_or("an account has no endpoints")?;
        Ok(Self {
            token,
            endpoints: nodes.iter().rev().map(|node| node["id"].clone()).collect(),
        })
    }
}

/// So many sends, from account to account, and in each from endpoint to endpoint.
fn asks(tenants: &[Tenant], round: usize, sends: usize) -> Vec<Ask> {
    (0..sends)
        .map(|number| {
            let tenant = &tenants[number % tenants.len()];
            let from = number / tenants.len() % tenant.endpoints.len();
            let to = (from + 1) % tenant.endpoints.len();
            let input = json!({
                "from": { "endpointId": tenant.endpoints[from] }, "to": { "endpointId": tenant.endpoints[to] },
                "body": BODY, "idempotencyKey": key(round, number),
            });
            Ask {
                token: Some(Arc::clone(&tenant.token)),
                body: json!({ "query": SEND, "variables": { "input": input } }).to_string(),
            }
        })
        .collect()
}

fn key(round: usize, number: usize) -> String {
    format!("send-{round}-{number}")
}

/// Hands commits that were decided before to the store, and gives what each cost this process.
async fn commits(
    instance: &Instance,
    world: &World,
    number: usize,
    sends: usize,
) -> Result<Cost, Failure> {
    let mut decided = Vec::with_capacity(SENDERS);
    for sender in 0..SENDERS {
        let commits: Result<Vec<Commit>, Failure> = (sender..sends)
            .step_by(SENDERS)
            .map(|send| {
                let mut commit = world.decide(sender)?;
                commit.idempotency = Some(Idempotency {
                    actor: world.caller.token.0,
                    operation: "sendMessage",
                    key: key(number, send),
                    input: [7; 32].into(),
                    result: vec![[7; 16]],
                });
                Ok(commit)
            })
            .collect();
        decided.push(Mutex::new(commits?));
    }
    let decided = &decided;
    let before = own_cpu();
    let round = round(|sender| {
        let mut commits = decided[sender]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        commit_each(instance.port(), std::mem::take(&mut *commits))
    })
    .await?;
    Ok(Cost {
        server: (own_cpu() - before) / round.sends,
        postgres: Duration::ZERO,
        octets: 0,
        rate: round.rate(),
    })
}

/// A server that does no more than store.
struct Physical {
    side: Side,
    _database: Database,
}

impl Physical {
    async fn start(binary: &Path) -> Result<Self, Failure> {
        let database = Database::postgres().await;
        let side = Side::theirs(&database, binary).await?;
        fill::fill_theirs(&side, fill::World::of(Size::Small)).await?;
        Ok(Self {
            side,
            _database: database,
        })
    }

    async fn round(&self, round: usize, sends: usize) -> Result<Cost, Failure> {
        let asks = (0..sends).map(|number| {
            // Both sides of a chat take turns; each of them is of one endpoint.
            let (chat, sender) = fill::chat_of(number % SENDERS);
            let body =
                json!({ "chat": chat, "sender": sender, "body": BODY, "key": key(round, number) });
            Ask::from(body.to_string())
        });
        self.side
            .round("/limit/send", asks.collect(), SENDERS)
            .await
    }
}

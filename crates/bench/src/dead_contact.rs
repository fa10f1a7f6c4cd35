//! A phone that never answers, among two thousand: what those notice of it to whom messages are delivered meanwhile.
//!
//! Two servers get the same load in turns. One message in ten goes to the same phone, which on one of the two never answers; so
//! many are on their way to it at any time as there would be. Timed is each message to another phone, from the request that sends
//! it until it is there.

use crate::graphql::side::{Side, endpoints, token_make};
use crate::phones::{Call, Fleet, Got};
use crate::report::{Limit, Report, median};
use crate::site::{ACCOUNT, Site};
use crate::{Failure, Size};
use futures_util::future::try_join_all;
use serde_json::json;
use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout_at};

/// The phones; the first of them sends.
const PHONES: usize = 2_000;
/// Which never answers.
const SILENT: usize = 7;
/// One message of so many is to that phone.
const EACH: usize = 10;
/// Messages a second.
const RATE: u32 = 100;
/// How long the last ones of a round may take.
const TAIL: Duration = Duration::from_secs(10);
/// The most p99 with it, as a multiple of that without it.
const P99_MAX: f64 = 1.2;

const SEND: &str = "mutation($input: SendMessageInput!) { sendMessage(input: $input) { message { id } userErrors { code } } }";

/// A server with its phones.
struct Scene {
    side: Side,
    /// The ids of the endpoints, in the order of the phones.
    endpoints: Vec<String>,
    got: mpsc::Receiver<Got>,
    // Dropped last: the database goes away with it.
    _site: Site,
}

impl Scene {
    async fn open(folder: &Path, silent: Option<usize>) -> Result<Self, Failure> {
        let site = Site::make(folder, PHONES).await?;
        let token = token_make(&site.program, ACCOUNT).await?;
        let server = site.program.serve(&[]).await?;
        let fleet = Fleet::sharing(server.udp()?, 0..PHONES)?;
        let (fleet, tally) = fleet.round(Call::Register, PHONES, Duration::ZERO).await?;
        if tally.failures > 0 {
            return Err(format!("{} phones could not register", tally.failures).into());
        }
        let side = Side::running(server, Some(token));
        let mut named = endpoints(&side, "name").await?;
        // The names rise with the numbers of the phones.
        named.sort_unstable_by(|[_, a], [_, b]| a.cmp(b));
        Ok(Self {
            side,
            endpoints: named.into_iter().map(|[id, _]| id).collect(),
            got: fleet.answer(silent)?,
            _site: site,
        })
    }

    /// Sends so many messages, at a fixed rate; gives the times of those to others, sorted.
    async fn round(&mut self, round: usize, count: usize) -> Result<Vec<Duration>, Failure> {
        let begun = Instant::now();
        let pause = Duration::from_secs(1) / RATE;
        let (side, endpoints) = (&self.side, &self.endpoints);
        let sending = (0_u32..).take(count).zip(0_usize..).map(|(turn, number)| async move {
            let due = begun + pause * turn;
            sleep_until(due.into()).await;
            let is_timed = number % EACH != 0;
            let to = if is_timed {
                1 + SILENT + number % (PHONES - 1 - SILENT)
            } else {
                SILENT
            };
            let text = format!("{round}-{number}");
            let input = json!({
                "from": { "endpointId": endpoints[0] }, "to": { "endpointId": endpoints[to] }, "body": text,
            });
            let body = json!({ "query": SEND, "variables": { "input": input } });
            side.ask(body.to_string()).await?;
            // Counted from when it was due: a server that takes none in time is late for them all.
            Ok::<_, Failure>(is_timed.then_some((text, due)))
        });
        let sending = try_join_all(sending);
        let timed = count - count.div_ceil(EACH);
        let until = begun + pause * u32::try_from(count)? + TAIL;
        let got = &mut self.got;
        let receiving = async {
            let mut arrived = HashMap::with_capacity(count);
            let own = format!("{round}-");
            while arrived.len() < timed {
                let got = timeout_at(until.into(), got.recv()).await;
                let got = got.map_err(|_| "messages did not arrive in time")?;
                let Got { text, at } = got.ok_or("the phones stopped")?;
                let number = text
                    .strip_prefix(&own)
                    .and_then(|n| n.parse::<usize>().ok());
                if number.is_some_and(|number| number % EACH != 0) {
                    arrived.entry(text).or_insert(at);
                }
            }
            Ok::<_, Failure>(arrived)
        };
        let (sent, arrived) = tokio::try_join!(sending, receiving)?;
        let mut times = Vec::with_capacity(timed);
        for (text, due) in sent.into_iter().flatten() {
            let at = arrived.get(&text).ok_or("a message did not arrive")?;
            times.push(at.duration_since(due));
        }
        times.sort_unstable();
        Ok(times)
    }
}

/// Measures it.
///
/// # Errors
/// A server did not start, or a message did not arrive.
pub(crate) async fn run(size: Size, folder: &Path, report: &mut Report) -> Result<(), Failure> {
    let (rounds, count) = size.pick((2, 300), (7, 2_000));
    report.subject(&format!(
        "dead-contact: {PHONES} phones on SQLite, {RATE} messages a second, {rounds} rounds of {count}"
    ));
    let mut without = Scene::open(folder, None).await?;
    let mut with = Scene::open(folder, Some(SILENT)).await?;
    let mut tails = [Vec::new(), Vec::new()];
    let mut middles = [Vec::new(), Vec::new()];
    for round in 0..=rounds {
        for ((scene, tails), middles) in [&mut without, &mut with]
            .into_iter()
            .zip(&mut tails)
            .zip(&mut middles)
        {
            let times = scene.round(round, count).await?;
            // The first round fills caches and counts for nothing.
            if round > 0 {
                tails.push(at(&times, 99)?);
                middles.push(at(&times, 50)?);
            }
        }
    }
    let [without, with] = &tails;
    let ratios = with
        .iter()
        .zip(without)
        .map(|(with, without)| with / without);
    let ratios = median(ratios.collect());
    for (name, place) in [("without it", 0), ("with it", 1)] {
        report.figure(
            &format!("delivery to the others, {name}"),
            format!(
                "p50 {:.2} ms, p99 {:.2} ms",
                median(middles[place].clone()) * 1e3,
                median(tails[place].clone()) * 1e3
            ),
        );
    }
    report.limited(
        "p99 with it to p99 without it, median of the rounds",
        ratios,
        "",
        Limit::AtMost(P99_MAX),
    );
    Ok(())
}

/// The time, in seconds, that so many of a hundred do not pass.
fn at(times: &[Duration], percent: usize) -> Result<f64, Failure> {
    let place = (times.len() * percent).div_ceil(100).saturating_sub(1);
    let time = times.get(place).ok_or("no message was timed")?;
    Ok(time.as_secs_f64())
}

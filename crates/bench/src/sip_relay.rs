//! Messages between phones over UDP, beside Kamailio in the same run.
//!
//! Kamailio relays a MESSAGE and keeps nothing; the product stores it on SQLite with both copies, both chats and their events,
//! answers 202, delivers it to the recipient's phone and stores what became of it. On both sides a message counts once it has
//! reached the phone and its sender has the final answer.

use crate::kamailio::{self, Kamailio, Process};
use crate::phones::{Call, Fleet, Got};
use crate::report::{Limit, Report, median, micros};
use crate::site::Site;
use crate::{Failure, Size};
use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::time::timeout_at;

/// How many phones write, and how many are written to.
const PHONES: usize = 1_000;
/// The least share of Kamailio's rate.
const RATE_MIN: f64 = 0.5;
/// For how long after its round the last message is waited for.
const TAIL: Duration = Duration::from_secs(60);

/// One of the two servers, with its phones.
struct Side {
    name: &'static str,
    process: Process,
    /// Those who write; away only while they do.
    writers: Option<Fleet>,
    /// What the others get.
    got: mpsc::Receiver<Got>,
    /// The texts that came. One may come twice, also in a later round: at least once is what is promised.
    seen: HashSet<String>,
}

impl Side {
    /// Registers all phones.
    async fn new(name: &'static str, process: Process) -> Result<Self, Failure> {
        let server = process.udp()?;
        let mut fleets = Vec::new();
        for numbers in [0..PHONES, PHONES..2 * PHONES] {
            let fleet = Fleet::sharing(server, numbers)?;
            let (fleet, tally) = fleet.round(Call::Register, PHONES, Duration::ZERO).await?;
            if tally.failures > 0 {
                return Err(format!("{name}: {} phones did not register", tally.failures).into());
            }
            fleets.push(fleet);
        }
        let (readers, writers) = (fleets.pop(), fleets.pop());
        Ok(Self {
            name,
            process,
            writers,
            got: readers.ok_or("there are no phones")?.answer(None)?,
            seen: HashSet::new(),
        })
    }

    /// Has so many messages sent and waits until each has arrived; gives their rate.
    async fn round(&mut self, messages: usize) -> Result<f64, Failure> {
        let writers = self.writers.take().ok_or("the phones are gone")?;
        let begun = Instant::now();
        let sending = writers.round(Call::Message { ahead: PHONES }, messages, Duration::ZERO);
        let (name, got, seen) = (self.name, &mut self.got, &mut self.seen);
        let until = begun + TAIL;
        let receiving = async {
            let (mut arrived, mut last) = (0, begun);
            while arrived < messages {
                let next = timeout_at(until.into(), got.recv()).await;
                let next =
                    next.map_err(|_| format!("{name}: {arrived} of {messages} messages arrived"))?;
                let Got { text, at } = next.ok_or("the phones stopped")?;
                if seen.insert(text) {
                    arrived += 1;
                    last = last.max(at);
                }
            }
            Ok::<_, Failure>(last)
        };
        let (sent, last) = tokio::join!(sending, receiving);
        let (writers, tally) = sent?;
        self.writers = Some(writers);
        if tally.failures > 0 {
            return Err(format!("{name}: {} messages were refused", tally.failures).into());
        }
        let last = last?;
        let wall = last.duration_since(begun).max(tally.wall);
        Ok(f64::from(tally.calls) / wall.as_secs_f64())
    }
}

/// Measures it.
///
/// # Errors
/// Kamailio is not installed, a server did not start, or a message did not arrive.
pub(crate) async fn run(size: Size, folder: &Path, report: &mut Report) -> Result<(), Failure> {
    let (rounds, messages) = size.pick((2, 2_000), (7, 20_000));
    report.subject(&format!(
        "sip-relay: MESSAGE over UDP between {PHONES} pairs of phones, {rounds} rounds of {messages}, beside Kamailio"
    ));
    kamailio::binary()?;
    let site = Site::make(folder, 2 * PHONES).await?;
    let server = site.program.serve(&[]).await?;
    let kamailio = Kamailio::start(site.folder.path()).await?;
    let mut theirs = Side::new("Kamailio, which keeps none", Process::Kamailio(kamailio)).await?;
    let mut ours = Side::new("sipgraph, stored on SQLite", Process::Ours(server)).await?;
    let mut rates = [Vec::new(), Vec::new()];
    let mut spent = [Duration::ZERO; 2];
    for round in 0..=rounds {
        for (place, side) in [&mut theirs, &mut ours].into_iter().enumerate() {
            let before = side.process.cpu()?;
            let rate = side.round(messages).await?;
            // The first round fills caches and counts for nothing.
            if round > 0 {
                rates[place].push(rate);
                spent[place] += side.process.cpu()? - before;
            }
        }
    }
    let count = u32::try_from(rounds * messages)?;
    let [their_rates, our_rates] = &rates;
    let ratios = our_rates
        .iter()
        .zip(their_rates)
        .map(|(ours, theirs)| ours / theirs);
    let ratio = median(ratios.collect());
    for ((side, rates), spent) in [&theirs, &ours].into_iter().zip(rates).zip(spent) {
        let figure = format!("{:.0}/s, {} CPU each", median(rates), micros(spent / count));
        report.figure(side.name, figure);
    }
    report.limited("rate to Kamailio's", ratio, "", Limit::AtLeast(RATE_MIN));
    Ok(())
}

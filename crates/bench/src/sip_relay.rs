//! Messages between phones over UDP, beside Kamailio in the same run.
//!
//! Kamailio relays a MESSAGE and keeps nothing; the product stores it on SQLite with both copies, both chats and their events,
//! answers 202, delivers it to the recipient's phone and stores what became of it. On both sides a message counts once it has
//! reached the phone and its sender has the final answer. Kamailio may lose or refuse a few of a round, which do not count; the
//! product none.

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
/// For how long after the beginning of its round the last message is waited for.
const TAIL: Duration = Duration::from_secs(60);
/// Of how many messages Kamailio may lose one.
const ONE_LOST_OF: usize = 1_000;
/// After so long without a message what is missing of Kamailio's is lost.
const PAUSE: Duration = Duration::from_secs(5);

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
    /// Whether a few messages may be lost.
    may_lose: bool,
    /// How many were lost or refused.
    lost: usize,
}

impl Side {
    /// Registers all phones.
    async fn new(name: &'static str, process: Process, may_lose: bool) -> Result<Self, Failure> {
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
            may_lose,
            lost: 0,
        })
    }

    /// Has so many messages sent and waits until each has arrived that is not lost; gives their rate.
    async fn round(&mut self, messages: usize) -> Result<f64, Failure> {
        let writers = self.writers.take().ok_or("the phones are gone")?;
        let begun = Instant::now();
        let sending = writers.round(Call::Message { ahead: PHONES }, messages, Duration::ZERO);
        let (name, got, seen) = (self.name, &mut self.got, &mut self.seen);
        // One of the round before that came after it was given up is none of this.
        while let Ok(late) = got.try_recv() {
            seen.insert(late.text);
        }
        let may_lose = self.may_lose;
        let lost_max = if may_lose { messages / ONE_LOST_OF } else { 0 };
        let until = begun + TAIL;
        let receiving = async {
            let (mut arrived, mut last) = (0, begun);
            while arrived < messages {
                let end = if may_lose {
                    Instant::now() + PAUSE
                } else {
                    until
                };
                let next = match timeout_at(end.into(), got.recv()).await {
                    Ok(next) => next,
                    Err(_) if messages - arrived <= lost_max => break,
                    Err(_) => {
                        return Err(format!("{name}: {arrived} of {messages} messages arrived"));
                    }
                };
                let Got { text, at } = next.ok_or("the phones stopped")?;
                if seen.insert(text) {
                    arrived += 1;
                    last = last.max(at);
                }
            }
            Ok((arrived, last))
        };
        let (sent, received) = tokio::join!(sending, receiving);
        let (writers, tally) = sent?;
        self.writers = Some(writers);
        let failures = usize::try_from(tally.failures)?;
        if failures > lost_max {
            return Err(format!("{name}: {failures} messages were refused").into());
        }
        let (arrived, last) = received?;
        let lost = failures.max(messages - arrived);
        self.lost += lost;
        let mut wall = last.duration_since(begun);
        if lost == 0 {
            // Who waits in vain for an answer must not make Kamailio slow.
            wall = wall.max(tally.wall);
        }
        Ok(f64::from(u32::try_from(messages - lost)?) / wall.as_secs_f64())
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
    let mut theirs = Side::new(
        "Kamailio, which keeps none",
        Process::Kamailio(kamailio),
        true,
    )
    .await?;
    let mut ours = Side::new("sipgraph, stored on SQLite", Process::Ours(server), false).await?;
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
    for ((side, rates), spent) in [&theirs, &ours].into_iter().zip(&rates).zip(spent) {
        let [least, most] = [f64::min, f64::max].map(|of| extreme(rates, of));
        let figure = format!(
            "{:.0}/s ({:.0} to {:.0}), {} CPU each, {} lost",
            median(rates.clone()),
            least,
            most,
            micros(spent / count),
            side.lost
        );
        report.figure(side.name, figure);
    }
    // One datagram that must be repeated makes a round of Kamailio's wait for seconds: its best round is what it can do.
    let [theirs, ours] = rates;
    let ratio = median(ours) / extreme(&theirs, f64::max);
    report.limited(
        "rate to that of Kamailio's best round",
        ratio,
        "",
        Limit::AtLeast(RATE_MIN),
    );
    Ok(())
}

/// The smallest or the largest of some rates.
fn extreme(rates: &[f64], of: fn(f64, f64) -> f64) -> f64 {
    rates.iter().copied().reduce(of).unwrap_or_default()
}

//! What the names of trunks lead to, by which a MESSAGE without a digest is known: looked up in the background, and only read
//! when one comes, so that no name of anybody holds up a request.
//!
//! It must not decide which trunk a request came by: core does. Where messages are sent to, a name is resolved anew.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sipgraph_core::AccountId;
use sipgraph_core::decide::trunks::NameAddresses;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::edge::Edge;

/// How often to look which names the trunks have: so soon a new one is looked up.
const LOOK: Duration = Duration::from_secs(5);
/// How many names are looked up at once. Each takes a thread until the resolver gives up.
const AT_ONCE: usize = 16;
/// How many of them are of one account, so that nobody's names wait for those of another.
const AT_ONCE_OF_ACCOUNT: usize = 4;
/// The most names of an account that are followed.
const OF_ACCOUNT_MAX: usize = 256;
/// The most addresses of a name that are used.
const ADDRESSES_MAX: usize = 64;
/// How long after an answer a name is looked up again. It doubles with each failure, up to [`AGAIN_MAX`].
const AGAIN: Duration = Duration::from_secs(30);
/// The longest time between two look-ups of a name.
const AGAIN_MAX: Duration = Duration::from_secs(300);
/// How long an answer is used when no other comes: a resolver that is away for a while makes no carrier unknown.
const AGE_MAX: Duration = Duration::from_secs(600);

/// The addresses of names, as they are known now.
#[derive(Default)]
pub(crate) struct Names(Mutex<Arc<NameAddresses>>);

impl Names {
    /// Returns what is known.
    pub(crate) fn known(&self) -> Arc<NameAddresses> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put(&self, known: NameAddresses) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
    }
}

/// Keeps the names of the trunks looked up, until the stop.
pub(crate) async fn run(edge: Arc<Edge>, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = keep(&edge) => {}
    }
}

async fn keep(edge: &Edge) {
    let mut followed = Followed::default();
    let mut looked_at: Option<Instant> = None;
    loop {
        if looked_at.is_none_or(|at| at.elapsed() >= LOOK) {
            looked_at = Some(Instant::now());
            match edge.app.trunk_names().await {
                Ok(names) => followed.follow(names, Instant::now()),
                Err(error) => tracing::debug!(%error, "the names of trunks could not be read"),
            }
        }
        let due = followed.due(Instant::now());
        let answers = due.iter().map(|name| edge.resolve(name, 0));
        for (name, answer) in due.iter().zip(join_all(answers).await) {
            let found = answer.inspect_err(|reason| tracing::debug!(reason, "a trunk's name"));
            let found = found.unwrap_or_default();
            let found = found.iter().map(|at| at.ip().to_canonical());
            followed.answered(name, found.take(ADDRESSES_MAX).collect(), Instant::now());
        }
        edge.names.put(followed.known(Instant::now()));
        if due.is_empty() {
            sleep(LOOK).await;
        }
    }
}

/// The names that the trunks have.
#[derive(Default)]
struct Followed(BTreeMap<String, Name>);

/// What is known of a name.
struct Name {
    /// Who wrote it, or wrote it first.
    account: AccountId,
    addresses: Vec<IpAddr>,
    /// When the addresses were found, or since when there are none.
    found_at: Instant,
    due_at: Instant,
    /// How many look-ups have failed since.
    failures: u32,
}

impl Followed {
    /// Takes up the names of the trunks as they are now, and forgets others.
    fn follow(&mut self, names: impl IntoIterator<Item = (AccountId, String)>, now: Instant) {
        let mut before = std::mem::take(&mut self.0);
        let mut of_account: HashMap<AccountId, usize> = HashMap::new();
        for (account, name) in names {
            if self.0.contains_key(&name) {
                continue;
            }
            let count = of_account.entry(account).or_default();
            if *count == OF_ACCOUNT_MAX {
                continue;
            }
            *count += 1;
            let new = || Name {
                account,
                addresses: Vec::new(),
                found_at: now,
                due_at: now,
                failures: 0,
            };
            let known = before.remove(&name).unwrap_or_else(new);
            self.0.insert(name, Name { account, ..known });
        }
    }

    /// The names to look up next: those that fail last, and not too many of one account.
    fn due(&self, now: Instant) -> Vec<String> {
        let mut due: Vec<_> = self.0.iter().filter(|(_, n)| n.due_at <= now).collect();
        due.sort_by_key(|(_, name)| (name.failures, name.due_at));
        let mut of_account: HashMap<AccountId, usize> = HashMap::new();
        due.retain(|(_, name)| {
            let count = of_account.entry(name.account).or_default();
            *count += 1;
            *count <= AT_ONCE_OF_ACCOUNT
        });
        due.truncate(AT_ONCE);
        due.into_iter().map(|(name, _)| name.clone()).collect()
    }

    /// Takes what a look-up found; nothing when it failed.
    fn answered(&mut self, name: &str, found: Vec<IpAddr>, now: Instant) {
        let Some(known) = self.0.get_mut(name) else {
            return;
        };
        if found.is_empty() {
            known.failures = known.failures.saturating_add(1);
        } else {
            known.failures = 0;
            known.found_at = now;
            known.addresses = found;
        }
        let doublings = known.failures.min(8);
        known.due_at = now + AGAIN.saturating_mul(1 << doublings).min(AGAIN_MAX);
    }

    /// What the names lead to.
    fn known(&self, now: Instant) -> NameAddresses {
        let is_young = |name: &Name| now.duration_since(name.found_at) < AGE_MAX;
        let known = self.0.iter().filter(|(_, name)| is_young(name));
        known
            .map(|(name, known)| (name.clone(), known.addresses.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn account(n: u8) -> AccountId {
        AccountId([n; 16])
    }

    #[test]
    fn h163_a_name_is_looked_up_again_and_its_last_answer_used_for_a_while() {
        let (mut followed, start) = (Followed::default(), Instant::now());
        let names = || [(account(1), "a.example".to_owned())];
        let leads = |followed: &Followed, now| {
            let known = followed.known(now);
            known
                .get("a.example")
                .is_some_and(|found| !found.is_empty())
        };
        followed.follow(names(), start);
        assert_eq!(followed.due(start), ["a.example"]);
        assert!(!leads(&followed, start));
        followed.answered("a.example", vec!["192.0.2.1".parse().unwrap()], start);
        assert!(leads(&followed, start));
        followed.follow(names(), start);
        assert_eq!(followed.due(start + AGAIN - SECOND), [""; 0]);
        assert_eq!(followed.due(start + AGAIN), ["a.example"]);
        // It fails: asked less and less often, and the last answer holds meanwhile.
        followed.answered("a.example", Vec::new(), start + AGAIN);
        assert_eq!(followed.due(start + AGAIN * 3 - SECOND), [""; 0]);
        assert_eq!(followed.due(start + AGAIN * 3), ["a.example"]);
        assert!(leads(&followed, start + AGE_MAX - SECOND));
        assert!(!leads(&followed, start + AGE_MAX));
        for _ in 0..100 {
            followed.answered("a.example", Vec::new(), start);
        }
        assert_eq!(followed.due(start + AGAIN_MAX), ["a.example"]);
        // No trunk has it any more.
        followed.follow([], start);
        assert!(followed.known(start).is_empty());
    }

    #[test]
    fn h163_nobodys_names_wait_for_those_of_another() {
        let (mut followed, now) = (Followed::default(), Instant::now());
        let names = (0..1000).map(|n| (account(1), format!("{n}.silent.example")));
        let names = names.chain([(account(2), "z.example".to_owned())]);
        followed.follow(names, now);
        assert_eq!(followed.0.len(), OF_ACCOUNT_MAX + 1);
        let due = followed.due(now);
        assert_eq!(due.len(), AT_ONCE_OF_ACCOUNT + 1);
        assert!(due.contains(&"z.example".to_owned()));
    }
}

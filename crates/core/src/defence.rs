//! Who may try to log in, and how often: what sources cost and how they are slowed and banned.
//!
//! Pure state machines: the caller brings the time and tells what happened. They must not know sockets, digests or
//! what an endpoint is. Every table is bounded and forgets by itself, so that a scan fills no memory; when a table is
//! full its oldest entry goes, which lets somebody in rather than keeping somebody out.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// The most sources whose rate is remembered: more than an attacker without a botnet has addresses.
const SOURCES_MAX: usize = 64 * 1024;
/// The most pairs of a source and an address whose failures are remembered.
const PAIRS_MAX: usize = 64 * 1024;
/// The most bans.
const BANS_MAX: usize = 16 * 1024;
/// How many failures in [`FAILURES_PERIOD`] slow a pair.
const FAILURES_MAX: usize = 10;
/// In what time so many failures slow a pair.
const FAILURES_PERIOD: Duration = Duration::from_secs(600);
/// How often a slowed pair may try: a phone whose password was corrected is back within this time.
const SLOWED_PERIOD: Duration = Duration::from_secs(30);
/// On how many addresses a source must fail to be banned.
const BAN_ADDRESSES: usize = 20;
/// How long a ban lasts.
const BAN: Duration = Duration::from_secs(600);
/// For how long a success keeps a source from being banned: the longest usual registration, so that an office whose
/// phones are registered stays in.
const PROVEN: Duration = Duration::from_secs(7200);
/// How often the drops of one ban are told of.
const TELL_PERIOD: Duration = Duration::from_secs(60);

/// Where requests come from, as limits count it: an IPv4 address, or the /64 that an IPv6 customer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(IpAddr);

impl Source {
    /// Returns the source that an address belongs to.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(v4) => v4.into(),
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        })
    }

    /// Reads an address, or a source as it is displayed.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let address: IpAddr = text.strip_suffix("/64").unwrap_or(text).parse().ok()?;
        (address.is_ipv6() || !text.ends_with("/64")).then(|| Self::of(address))
    }
}

impl fmt::Display for Source {
    /// `192.0.2.1` or `2001:db8:1:2::/64`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(v4) => v4.fmt(f),
            IpAddr::V6(v6) => write!(f, "{v6}/64"),
        }
    }
}

/// The first octets of the hash of an address-of-record: who was tried.
pub type Target = [u8; 16];

/// What the operator may set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The most requests a second of one source that prove nobody, and in one burst.
    pub unauthenticated_per_s: u32,
    /// Sources that nothing here applies to: own proxies, whose clients would all be one source.
    pub trusted: Vec<Source>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            unauthenticated_per_s: 200,
            trusted: Vec::new(),
        }
    }
}

/// Whether a request is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is.
    Admitted,
    /// Its source sends too many.
    TooMany,
    /// Its source is banned. `tell` is true for one request a minute, to be shown to the account.
    Banned {
        /// Whether to record this one.
        tell: bool,
    },
}

/// What a failure led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consequence {
    /// It was counted, or its source is trusted.
    None,
    /// The source may try this address less often from now on.
    Slowed,
    /// The source is banned from now on.
    Banned,
}

/// A map of at most `max` entries, each for `life` after it was last touched.
struct Fading<K, V> {
    entries: HashMap<K, (Instant, V)>,
    /// Each key once, in the order of insertion or of the last look at its age.
    order: VecDeque<K>,
    life: Duration,
    max: usize,
}

impl<K: Clone + Eq + Hash, V> Fading<K, V> {
    fn new(life: Duration, max: usize) -> Self {
        Self {
            entries: HashMap::new(),
            order: VecDeque::new(),
            life,
            max,
        }
    }

    /// The value of a key that is alive.
    fn get(&mut self, key: &K, now: Instant) -> Option<&mut V> {
        let (touched, value) = self.entries.get_mut(key)?;
        (now.saturating_duration_since(*touched) < self.life).then_some(value)
    }

    /// The value of a key, which lives on from now; made when it is not alive.
    fn touch(&mut self, key: &K, now: Instant, new: impl FnOnce() -> V) -> &mut V {
        self.expire(now);
        if !self.entries.contains_key(key) {
            if self.entries.len() >= self.max
                && let Some(oldest) = self.order.pop_front()
            {
                self.entries.remove(&oldest);
            }
            self.order.push_back(key.clone());
        } else if self.get(key, now).is_none() {
            self.entries.remove(key);
        }
        let entry = self
            .entries
            .entry(key.clone())
            .or_insert_with(|| (now, new()));
        entry.0 = now;
        &mut entry.1
    }

    fn remove(&mut self, key: &K) -> Option<V> {
        let (_, value) = self.entries.remove(key)?;
        // Seldom: a success after failures, or a lifted ban.
        self.order.retain(|known| known != key);
        Some(value)
    }

    fn remove_if(&mut self, gone: impl Fn(&K) -> bool) {
        self.entries.retain(|key, _| !gone(key));
        self.order.retain(|key| !gone(key));
    }

    /// Drops what has faded at the front; what was touched since goes to the back. At most two steps a call, so that
    /// no call is long, and more than one, so that the table shrinks faster than it grows.
    fn expire(&mut self, now: Instant) {
        for _ in 0..2 {
            let Some(key) = self.order.front() else {
                return;
            };
            let touched = self.entries.get(key).map(|(touched, _)| *touched);
            let is_alive =
                touched.is_some_and(|touched| now.saturating_duration_since(touched) < self.life);
            if let Some(key) = self.order.pop_front() {
                if is_alive {
                    self.order.push_back(key);
                } else {
                    self.entries.remove(&key);
                }
            }
        }
    }
}

/// The failures of a source at one address.
struct Pair {
    /// When the latest were, oldest first; at most [`FAILURES_MAX`].
    failures: VecDeque<Instant>,
    /// When a slowed pair may try again.
    next_try: Instant,
}

impl Pair {
    fn is_slowed(&self, now: Instant) -> bool {
        self.failures.len() >= FAILURES_MAX
            && self
                .failures
                .front()
                .is_some_and(|at| now.saturating_duration_since(*at) < FAILURES_PERIOD)
    }
}

/// What is known of the sources of one node.
pub struct Defence {
    limits: Limits,
    /// When the bucket of a source is full again.
    buckets: Fading<Source, Instant>,
    pairs: Fading<(Source, Target), Pair>,
    /// The addresses that a source failed on, at most [`BAN_ADDRESSES`].
    suspects: Fading<Source, Vec<Target>>,
    proven: Fading<Source, ()>,
    /// Banned ones, with the time when a drop was last told of.
    bans: Fading<Source, Instant>,
}

impl Defence {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            // A bucket is full after a second of rest.
            buckets: Fading::new(Duration::from_secs(2), SOURCES_MAX),
            pairs: Fading::new(FAILURES_PERIOD, PAIRS_MAX),
            suspects: Fading::new(FAILURES_PERIOD, SOURCES_MAX / 4),
            proven: Fading::new(PROVEN, SOURCES_MAX),
            bans: Fading::new(BAN, BANS_MAX),
            limits,
        }
    }

    fn is_trusted(&self, source: Source) -> bool {
        self.limits.trusted.contains(&source)
    }

    /// The time that one request takes of its source's bucket.
    fn interval(&self) -> Duration {
        Duration::from_secs(1) / self.limits.unauthenticated_per_s.max(1)
    }

    /// Takes a request of a source, before anything else is done with it.
    pub fn admit(&mut self, source: Source, now: Instant) -> Admission {
        if self.is_trusted(source) {
            return Admission::Admitted;
        }
        if let Some(told_at) = self.bans.get(&source, now) {
            let tell = now.saturating_duration_since(*told_at) >= TELL_PERIOD;
            if tell {
                *told_at = now;
            }
            return Admission::Banned { tell };
        }
        let interval = self.interval();
        let full_at = self.buckets.touch(&source, now, || now);
        let next = (*full_at).max(now) + interval;
        if next > now + Duration::from_secs(1) {
            return Admission::TooMany;
        }
        *full_at = next;
        Admission::Admitted
    }

    /// Gives back what [`Defence::admit`] took: the request was somebody's.
    pub fn refund(&mut self, source: Source, now: Instant) {
        let interval = self.interval();
        if let Some(full_at) = self.buckets.get(&source, now) {
            *full_at = full_at.checked_sub(interval).unwrap_or(*full_at);
        }
    }

    /// Asks before a password is tried.
    ///
    /// # Errors
    /// How long to wait.
    pub fn try_password(
        &mut self,
        source: Source,
        target: Target,
        now: Instant,
    ) -> Result<(), Duration> {
        let Some(pair) = self.pairs.get(&(source, target), now) else {
            return Ok(());
        };
        if !pair.is_slowed(now) {
            return Ok(());
        }
        if now < pair.next_try {
            return Err(pair.next_try - now);
        }
        // Of several at once one is let through.
        pair.next_try = now + SLOWED_PERIOD;
        Ok(())
    }

    /// Counts a failure of a source that is proven to be where it says.
    pub fn failed(&mut self, source: Source, target: Target, now: Instant) -> Consequence {
        if self.is_trusted(source) {
            return Consequence::None;
        }
        let pair = self.pairs.touch(&(source, target), now, || Pair {
            failures: VecDeque::new(),
            next_try: now,
        });
        if pair.failures.len() >= FAILURES_MAX {
            pair.failures.pop_front();
        }
        pair.failures.push_back(now);
        pair.next_try = now + SLOWED_PERIOD;
        let is_slowed = pair.is_slowed(now);
        if self.proven.get(&source, now).is_none() {
            let targets = self.suspects.touch(&source, now, Vec::new);
            if !targets.contains(&target) {
                targets.push(target);
            }
            if targets.len() >= BAN_ADDRESSES {
                self.suspects.remove(&source);
                self.bans.touch(&source, now, || now);
                return Consequence::Banned;
            }
        }
        if is_slowed {
            Consequence::Slowed
        } else {
            Consequence::None
        }
    }

    /// Notes that somebody logged in.
    pub fn succeeded(&mut self, source: Source, target: Target, now: Instant) {
        self.refund(source, now);
        if self.is_trusted(source) {
            return;
        }
        if self.pairs.get(&(source, target), now).is_some() {
            self.pairs.remove(&(source, target));
        }
        if self.suspects.get(&source, now).is_some() {
            self.suspects.remove(&source);
        }
        self.proven.touch(&source, now, || ());
    }

    /// Lets a source in at once: ends its ban, and forgets what it failed on.
    pub fn lift(&mut self, source: Source) {
        self.bans.remove(&source);
        self.suspects.remove(&source);
        self.pairs.remove_if(|(known, _)| *known == source);
    }

    /// How many bans last at this time.
    #[must_use]
    pub fn bans(&self, now: Instant) -> usize {
        let bans = self.bans.entries.values();
        bans.filter(|(since, _)| now.saturating_duration_since(*since) < BAN)
            .count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn source(last: u8) -> Source {
        Source::of([192, 0, 2, last].into())
    }

    fn target(n: usize) -> Target {
        let mut target = [0; 16];
        target[..8].copy_from_slice(&n.to_be_bytes());
        target
    }

    fn defence() -> (Defence, Instant) {
        (Defence::new(Limits::default()), Instant::now())
    }

    #[test]
    fn a_source_is_an_address_or_an_ipv6_customer() {
        let of = |text: &str| Source::of(text.parse().unwrap());
        assert_eq!(of("::ffff:192.0.2.1"), source(1));
        assert_eq!(of("2001:db8:1:2:3::4"), of("2001:db8:1:2:ffff::1"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("2001:db8:1:2:3::4").to_string(), "2001:db8:1:2::/64");
        for text in ["192.0.2.1", "2001:db8:1:2::/64"] {
            assert_eq!(Source::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "192.0.2.1/64",
            "192.0.2.1/32",
            "example.com",
            "192.0.2.1:5060",
        ] {
            assert_eq!(Source::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_bucket_empties_and_fills() {
        let (mut defence, now) = defence();
        let mut admitted = |now| {
            (0..500)
                .filter(|_| defence.admit(source(1), now) == Admission::Admitted)
                .count()
        };
        assert_eq!(admitted(now), 200);
        assert_eq!(admitted(now + SECOND / 2), 100);
        assert_eq!(admitted(now + 60 * SECOND), 200);
        assert_eq!(defence.admit(source(2), now), Admission::Admitted);
        // Whoever logs in costs nothing.
        for _ in 0..1000 {
            assert_eq!(defence.admit(source(3), now), Admission::Admitted);
            defence.succeeded(source(3), target(1), now);
        }
    }

    #[test]
    fn a_pair_is_slowed_and_never_locked() {
        let (mut defence, start) = defence();
        let mut now = start;
        for n in 1..=10 {
            assert_eq!(defence.try_password(source(1), target(1), now), Ok(()));
            let consequence = defence.failed(source(1), target(1), now);
            assert_eq!(consequence == Consequence::Slowed, n == 10);
            now += SECOND;
        }
        assert_eq!(
            defence.try_password(source(1), target(1), now),
            Err(29 * SECOND)
        );
        assert_eq!(
            defence.try_password(source(1), target(2), now),
            Ok(()),
            "another address"
        );
        assert_eq!(
            defence.try_password(source(2), target(1), now),
            Ok(()),
            "another source"
        );
        for _ in 0..100 {
            now += 30 * SECOND;
            assert_eq!(defence.try_password(source(1), target(1), now), Ok(()));
            assert_eq!(
                defence.try_password(source(1), target(1), now),
                Err(30 * SECOND),
                "one at a time"
            );
            assert_eq!(
                defence.failed(source(1), target(1), now),
                Consequence::Slowed
            );
        }
        // The password was corrected.
        now += 30 * SECOND;
        assert_eq!(defence.try_password(source(1), target(1), now), Ok(()));
        defence.succeeded(source(1), target(1), now);
        assert_eq!(defence.failed(source(1), target(1), now), Consequence::None);
        assert_eq!(defence.try_password(source(1), target(1), now), Ok(()));
    }

    #[test]
    fn ten_failures_in_a_longer_time_slow_nobody() {
        let (mut defence, start) = defence();
        for n in 0..100 {
            let now = start + n * 70 * SECOND;
            assert_eq!(defence.failed(source(1), target(1), now), Consequence::None);
        }
    }

    #[test]
    fn a_scanner_is_banned_for_ten_minutes() {
        let (mut defence, now) = defence();
        for n in 1..=20 {
            assert_eq!(defence.admit(source(1), now), Admission::Admitted);
            let consequence = defence.failed(source(1), target(n), now);
            assert_eq!(consequence == Consequence::Banned, n == 20);
        }
        assert_eq!(defence.bans(now), 1);
        let told: Vec<bool> = [1, 2, 61, 62, 599]
            .map(|s| defence.admit(source(1), now + s * SECOND))
            .map(|admission| admission == Admission::Banned { tell: true })
            .into();
        assert_eq!(told, [false, false, true, false, true]);
        assert_eq!(defence.admit(source(2), now), Admission::Admitted);
        assert_eq!(
            defence.admit(source(1), now + 600 * SECOND),
            Admission::Admitted
        );
        assert_eq!(defence.bans(now + 600 * SECOND), 0);
    }

    #[test]
    fn a_success_keeps_an_office_in() {
        let (mut defence, mut now) = defence();
        for n in 0..19 {
            defence.failed(source(1), target(n), now);
        }
        defence.succeeded(source(1), target(100), now);
        for n in 0..100 {
            now += 60 * SECOND;
            assert_ne!(
                defence.failed(source(1), target(n), now),
                Consequence::Banned
            );
        }
        // Two hours after its last success it is as any other.
        now += PROVEN;
        let last = (0..20)
            .map(|n| defence.failed(source(1), target(n), now))
            .last();
        assert_eq!(last, Some(Consequence::Banned));
    }

    #[test]
    fn a_lifted_source_is_in_at_once() {
        let (mut defence, now) = defence();
        for n in 0..20 {
            for _ in 0..10 {
                defence.failed(source(1), target(n), now);
            }
        }
        assert_eq!(
            defence.admit(source(1), now),
            Admission::Banned { tell: false }
        );
        defence.lift(source(1));
        assert_eq!(defence.admit(source(1), now), Admission::Admitted);
        assert_eq!(defence.try_password(source(1), target(1), now), Ok(()));
        assert_eq!(defence.failed(source(1), target(1), now), Consequence::None);
    }

    #[test]
    fn a_trusted_source_is_neither_limited_nor_banned() {
        let mut defence = Defence::new(Limits {
            unauthenticated_per_s: 1,
            trusted: vec![source(1)],
        });
        let now = Instant::now();
        for n in 0..100 {
            assert_eq!(defence.admit(source(1), now), Admission::Admitted);
            assert_eq!(defence.failed(source(1), target(n), now), Consequence::None);
        }
    }

    #[test]
    fn tables_are_bounded_and_forget() {
        let now = Instant::now();
        let mut fading = Fading::new(10 * SECOND, 100);
        for n in 0..1000 {
            *fading.touch(&n, now, || 0) += 1;
        }
        assert_eq!((fading.entries.len(), fading.order.len()), (100, 100));
        assert_eq!(fading.get(&899, now), None, "the oldest went");
        assert!(fading.get(&900, now).is_some());
        *fading.touch(&950, now + 5 * SECOND, || 0) += 1;
        for n in 0..60 {
            fading.touch(&(5000 + n), now + 11 * SECOND, || 0);
        }
        assert_eq!(fading.get(&999, now + 11 * SECOND), None, "faded");
        assert_eq!(
            *fading.touch(&950, now + 12 * SECOND, || 0),
            2,
            "touched since"
        );
        assert_eq!(
            *fading.touch(&950, now + 30 * SECOND, || 0),
            0,
            "faded and made anew"
        );
        assert!(fading.entries.len() <= 100 && fading.order.len() == fading.entries.len());
    }
}

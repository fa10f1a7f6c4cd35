//! What a benchmark says: figures, ratios and whether they keep their limits. It measures nothing.

use std::fmt::Display;
use std::time::Duration;

/// What a figure must keep.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Limit {
    /// It must not be less.
    AtLeast(f64),
    /// It must not be more.
    AtMost(f64),
}

impl Limit {
    fn keeps(self, value: f64) -> bool {
        match self {
            Self::AtLeast(limit) => value >= limit,
            Self::AtMost(limit) => value <= limit,
        }
    }
}

impl Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtLeast(limit) => write!(f, "at least {limit}"),
            Self::AtMost(limit) => write!(f, "at most {limit}"),
        }
    }
}

/// Prints as it is told, and remembers whether a limit was not kept.
#[derive(Debug, Default)]
pub(crate) struct Report {
    failed: bool,
}

impl Report {
    /// Whether a limit was not kept.
    pub(crate) fn failed(&self) -> bool {
        self.failed
    }

    /// Says what it is measured on.
    pub(crate) fn machine(&self) {
        let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let info = read("/proc/cpuinfo");
        let model = info
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .map_or("unknown processor", |rest| {
                rest.trim_start_matches([' ', '\t', ':'])
            });
        let load = read("/proc/loadavg");
        println!(
            "{cores} cores of {model}, Linux {}, load {}",
            read("/proc/sys/kernel/osrelease").trim(),
            load.split(' ').next().unwrap_or("unknown"),
        );
        if cfg!(debug_assertions) {
            println!("This is a debug build: its figures mean nothing.");
        }
    }

    /// Begins the figures of one subject.
    pub(crate) fn subject(&self, text: &str) {
        println!("\n== {text}");
    }

    /// Tells a figure.
    pub(crate) fn figure(&self, name: &str, value: impl Display) {
        println!("{name:<58} {value}");
    }

    /// Tells a figure that has a limit.
    pub(crate) fn limited(&mut self, name: &str, value: f64, unit: &str, limit: Limit) {
        let keeps = limit.keeps(value);
        self.failed |= !keeps;
        let verdict = if keeps { "PASS" } else { "FAIL" };
        println!("{name:<58} {value:.2}{unit}   {limit}{unit}: {verdict}");
    }

    /// Tells a figure whose limit is not asked for here, and why.
    pub(crate) fn unlimited(&self, name: &str, value: f64, why: &str) {
        println!("{name:<58} {value:.2}   no limit: {why}");
    }
}

/// A time in microseconds, as it is printed.
pub(crate) fn micros(time: Duration) -> String {
    format!("{:.1} µs", time.as_secs_f64() * 1e6)
}

/// The middle one of some figures; of an even number, the mean of the two in the middle. Zero of none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle.wrapping_sub(1)), values.get(middle)) {
        (Some(low), Some(high)) if values.len().is_multiple_of(2) => f64::midpoint(*low, *high),
        (_, Some(only)) => *only,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_include_their_own_value() {
        assert!(Limit::AtLeast(5.0).keeps(5.0) && !Limit::AtLeast(5.0).keeps(4.9));
        assert!(Limit::AtMost(2.0).keeps(2.0) && !Limit::AtMost(2.0).keeps(2.1));
    }

    #[test]
    fn a_limit_that_is_not_kept_is_remembered() {
        let mut report = Report::default();
        report.limited("kept", 6.0, "", Limit::AtLeast(5.0));
        assert!(!report.failed());
        report.limited("not kept", 4.0, "", Limit::AtLeast(5.0));
        report.limited("kept", 6.0, "", Limit::AtLeast(5.0));
        assert!(report.failed());
    }

    #[test]
    fn medians() {
        for (values, expected) in [
            (vec![], 0.0),
            (vec![3.0], 3.0),
            (vec![4.0, 1.0], 2.5),
            (vec![9.0, 1.0, 2.0], 2.0),
        ] {
            assert_eq!(
                median(values.clone()).total_cmp(&expected),
                std::cmp::Ordering::Equal,
                "{values:?}"
            );
        }
    }
}

//! Points in time as the product keeps them: microseconds since 1970, UTC.

use std::time::Duration;
use time::OffsetDateTime;

/// A point in time: microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Returns this point moved by a duration, saturating.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(micros(by)))
    }

    /// Returns this point moved back by a duration, saturating.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(micros(by)))
    }

    /// Returns the time from `earlier` to here, zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Returns this point as RFC 3339 writes it, in UTC with microseconds: `2026-11-21T12:00:00.000000Z`. One outside the years
    /// 0 to 9999, which no clock gives, is told as 1970.
    #[must_use]
    pub fn rfc3339(self) -> String {
        String::from_utf8_lossy(&self.rfc3339_ascii()).into_owned()
    }

    /// Returns the characters of [`Self::rfc3339`], without the machinery of `format!`: rows of long lists have several.
    #[must_use]
    pub fn rfc3339_ascii(self) -> [u8; 27] {
        let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1000)
            .ok()
            .filter(|time| (0..=9999).contains(&time.year()))
            .unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        let mut put = |from: usize, to: usize, mut number: u32| {
            for place in (from..to).rev() {
                text[place] = b'0' + u8::try_from(number % 10).unwrap_or_default();
                number /= 10;
            }
        };
        put(0, 4, time.year().unsigned_abs());
        put(5, 7, u8::from(time.month()).into());
        put(8, 10, time.day().into());
        put(11, 13, time.hour().into());
        put(14, 16, time.minute().into());
        put(17, 19, time.second().into());
        put(20, 26, time.microsecond());
        text
    }

    /// Returns whole milliseconds since 1970, as UUIDv7 wants them; zero before 1970.
    #[must_use]
    pub fn unix_millis(self) -> u64 {
        u64::try_from(self.0.div_euclid(1000)).unwrap_or(0)
    }

    /// Returns whole seconds since 1970, zero before it.
    #[must_use]
    pub fn unix_seconds(self) -> u64 {
        u64::try_from(self.0.div_euclid(1_000_000)).unwrap_or(0)
    }
}

fn micros(by: Duration) -> i64 {
    i64::try_from(by.as_micros()).unwrap_or(i64::MAX)
}

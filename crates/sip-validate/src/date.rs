//! The value of Date.

use std::fmt;

use crate::{Rule, Violation};

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
const SECONDS_OF_DAY: i64 = 24 * 60 * 60;
/// Days from 1 January of the year 1 to 1 January 1970.
const DAYS_TO_1970: i64 = 719_162;

/// A `SIP-date` (RFC 3261 section 20.17): a time of the years 1 to 9999, to the second, in GMT.
///
/// There is one reader only: a device's Date that is none is ignored as if it was absent.
///
/// ```
/// use sip_validate::SipDate;
///
/// let date = SipDate::parse("Sat, 13 Nov 2010 23:29:00 GMT")?;
/// assert_eq!(date.unix_s(), 1_289_690_940);
/// assert_eq!(SipDate::from_unix_s(1_289_690_940), Some(date));
/// assert_eq!(date.to_string(), "Sat, 13 Nov 2010 23:29:00 GMT");
/// assert!(SipDate::parse("Fri, 13 Nov 2010 23:29:00 GMT").is_err(), "it was a Saturday");
/// # Ok::<(), sip_validate::Violation>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SipDate {
    year: u16,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
}

impl SipDate {
    /// Reads a date. Names of days and months are taken in any case, and 60 as the second of a leap second.
    ///
    /// # Errors
    /// [`Rule::Date`] where the form ends to fit, [`Rule::DateCalendar`] where a part can't be or the day of the week
    /// is another one.
    pub fn parse(text: &str) -> Result<Self, Violation> {
        let mut form = Form { text, at: 0 };
        let weekday = form.name(&DAYS)?;
        form.literal(", ")?;
        let day_at = form.at;
        let day = form.number(2)?;
        form.literal(" ")?;
        let month = form.name(&MONTHS)? + 1;
        form.literal(" ")?;
        let year_at = form.at;
        let year = form.number(4)?;
        form.literal(" ")?;
        let time_at = form.at;
        let hour = form.number(2)?;
        form.literal(":")?;
        let minute = form.number(2)?;
        form.literal(":")?;
        let second = form.number(2)?;
        form.literal(" GMT")?;
        if form.at != text.len() {
            return Err(Violation::at(Rule::Date, text, form.at));
        }
        let impossible = |at| Err(Violation::at(Rule::DateCalendar, text, at));
        if year == 0 {
            return impossible(year_at);
        }
        if !(1..=days_of_month(year, month)).contains(&day) {
            return impossible(day_at);
        }
        let is_leap_second = (hour, minute, second) == (23, 59, 60);
        if !is_leap_second && (hour > 23 || minute > 59 || second > 59) {
            return impossible(time_at);
        }
        let days = days_before(year) + days_before_month(year, month) + i64::from(day) - 1;
        // The first day of the year 1 was a Monday.
        if days % 7 != i64::from(weekday) {
            return impossible(0);
        }
        let small = |number: u16| u8::try_from(number).unwrap_or(u8::MAX);
        Ok(Self {
            year,
            month: small(month),
            day: small(day),
            hour: small(hour),
            minute: small(minute),
            second: small(second),
        })
    }

    /// The date of a time, given in seconds since the start of 1970; `None` outside the years 1 to 9999.
    #[must_use]
    pub fn from_unix_s(seconds: i64) -> Option<Self> {
        let days = seconds
            .div_euclid(SECONDS_OF_DAY)
            .checked_add(DAYS_TO_1970)?;
        if !(0..days_before(10_000)).contains(&days) {
            return None;
        }
        // A year has 365.2425 days on average: the guess is off by at most one.
        let guess = u16::try_from(days * 400 / 146_097 + 1).ok()?;
        let year = (guess.saturating_sub(1).max(1)..=guess.saturating_add(1))
            .rev()
            .find(|year| days_before(*year) <= days)?;
        let day_of_year = days - days_before(year);
        let month = (1..=12)
            .rev()
            .find(|month| days_before_month(year, *month) <= day_of_year)?;
        let day = day_of_year - days_before_month(year, month) + 1;
        let second = seconds.rem_euclid(SECONDS_OF_DAY);
        Some(Self {
            year,
            month: u8::try_from(month).ok()?,
            day: u8::try_from(day).ok()?,
            hour: u8::try_from(second / 3600).ok()?,
            minute: u8::try_from(second / 60 % 60).ok()?,
            second: u8::try_from(second % 60).ok()?,
        })
    }

    /// The time in seconds since the start of 1970; a leap second is the second after it.
    #[must_use]
    pub fn unix_s(&self) -> i64 {
        let of_day =
            (i64::from(self.hour) * 60 + i64::from(self.minute)) * 60 + i64::from(self.second);
        (self.days() - DAYS_TO_1970) * SECONDS_OF_DAY + of_day
    }

    /// The days since 1 January of the year 1.
    fn days(&self) -> i64 {
        let of_year = days_before_month(self.year, self.month.into()) + i64::from(self.day) - 1;
        days_before(self.year) + of_year
    }
}

impl fmt::Display for SipDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |names: &[&'static str], at: Option<usize>| {
            at.and_then(|at| names.get(at)).copied().unwrap_or_default()
        };
        write!(
            f,
            "{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT",
            name(&DAYS, usize::try_from(self.days() % 7).ok()),
            self.day,
            name(&MONTHS, usize::from(self.month).checked_sub(1)),
            self.year,
            self.hour,
            self.minute,
            self.second
        )
    }
}

fn is_leap(year: u16) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_of_month(year: u16, month: u16) -> u16 {
    match month {
        2 => 28 + u16::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The days of the years before this one, from the year 1 on.
fn days_before(year: u16) -> i64 {
    let years = i64::from(year) - 1;
    years * 365 + years / 4 - years / 100 + years / 400
}

fn days_before_month(year: u16, month: u16) -> i64 {
    (1..month).map(|m| i64::from(days_of_month(year, m))).sum()
}

/// What is left of a date while it is read.
struct Form<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Form<'a> {
    fn take(&self, length: usize) -> Option<&'a str> {
        self.text.get(self.at..self.at.checked_add(length)?)
    }

    fn wrong<T>(&self) -> Result<T, Violation> {
        Err(Violation::at(Rule::Date, self.text, self.at))
    }

    fn literal(&mut self, literal: &str) -> Result<(), Violation> {
        match self.take(literal.len()) {
            Some(found) if found.eq_ignore_ascii_case(literal) => {
                self.at += literal.len();
                Ok(())
            }
            _ => self.wrong(),
        }
    }

    /// A number of so many digits.
    fn number(&mut self, digits: usize) -> Result<u16, Violation> {
        match self.take(digits).map(|found| (found, found.parse())) {
            Some((found, Ok(number))) if found.bytes().all(|o| o.is_ascii_digit()) => {
                self.at += digits;
                Ok(number)
            }
            _ => self.wrong(),
        }
    }

    /// The place of a name in a list of names with three letters.
    fn name(&mut self, names: &[&str]) -> Result<u16, Violation> {
        let found = self.take(3).unwrap_or_default();
        let place = (0_u16..)
            .zip(names)
            .find(|(_, name)| name.eq_ignore_ascii_case(found));
        match place {
            Some((place, _)) => {
                self.at += 3;
                Ok(place)
            }
            None => self.wrong(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_seconds_are_the_same() {
        for (text, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Wed, 31 Dec 1969 23:59:59 GMT", -1),
            ("Tue, 29 Feb 2000 12:00:00 GMT", 951_825_600),
            ("Sat, 13 Nov 2010 23:29:00 GMT", 1_289_690_940),
            ("Mon, 01 Jan 0001 00:00:00 GMT", -62_135_596_800),
            ("Fri, 31 Dec 9999 23:59:59 GMT", 253_402_300_799),
        ] {
            let date = SipDate::parse(text).unwrap();
            assert_eq!(date.unix_s(), seconds, "{text}");
            assert_eq!(SipDate::from_unix_s(seconds), Some(date), "{text}");
            assert_eq!(date.to_string(), text);
        }
        for seconds in [-62_135_596_801, 253_402_300_800, i64::MIN, i64::MAX] {
            assert_eq!(SipDate::from_unix_s(seconds), None, "{seconds}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_goes_both_ways() {
        for day in -1000..147_000 {
            let seconds = day * SECONDS_OF_DAY + 86_399;
            let date = SipDate::from_unix_s(seconds).unwrap();
            assert_eq!(date.unix_s(), seconds);
            assert_eq!(SipDate::parse(&date.to_string()), Ok(date));
        }
    }

    #[test]
    fn refusals_name_the_place() {
        for (given, rule, at) in [
            ("", Rule::Date, 0),
            ("Sut, 13 Nov 2010 23:29:00 GMT", Rule::Date, 0),
            ("Sat 13 Nov 2010 23:29:00 GMT", Rule::Date, 3),
            ("Sat, 1 Nov 2010 23:29:00 GMT", Rule::Date, 5),
            ("Sat, +1 Nov 2010 23:29:00 GMT", Rule::Date, 5),
            ("Sat, 13 Nov 2010 23:29:00 EST", Rule::Date, 25),
            ("Sat, 13 Nov 2010 23:29:00 GMT ", Rule::Date, 29),
            ("Sat, 13 Nov\u{e9}2010 23:29:00 GMT", Rule::Date, 11),
            ("Sun, 13 Nov 2010 23:29:00 GMT", Rule::DateCalendar, 0),
            ("Mon, 29 Feb 2100 23:29:00 GMT", Rule::DateCalendar, 5),
            ("Sat, 00 Nov 2010 23:29:00 GMT", Rule::DateCalendar, 5),
            ("Sat, 13 Nov 0000 23:29:00 GMT", Rule::DateCalendar, 12),
            ("Sat, 13 Nov 2010 24:29:00 GMT", Rule::DateCalendar, 17),
            ("Sat, 13 Nov 2010 23:29:60 GMT", Rule::DateCalendar, 17),
        ] {
            let violation = SipDate::parse(given).unwrap_err();
            assert_eq!(
                (violation.rule, violation.byte_offset),
                (rule, at),
                "{given}"
            );
        }
    }

    #[test]
    fn a_leap_second_is_the_second_after_it() {
        let leap = SipDate::parse("sat, 31 dec 2016 23:59:60 gmt").unwrap();
        assert_eq!(
            SipDate::from_unix_s(leap.unix_s()),
            SipDate::parse("Sun, 01 Jan 2017 00:00:00 GMT").ok()
        );
        assert_eq!(leap.to_string(), "Sat, 31 Dec 2016 23:59:60 GMT");
    }
}

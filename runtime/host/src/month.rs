//! A calendar month, UTC: the window of the account of fuel. It reads no clock.

use std::fmt;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use serde::Deserialize;

/// A month. Months order as time does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Month(Date);

impl Month {
    /// The month of a moment.
    pub(crate) fn of(now: Timestamp) -> Self {
        Self(TimeZone::UTC.to_datetime(now).date().first_of_month())
    }

    /// When the next month begins.
    pub(crate) fn end(self) -> Timestamp {
        // Only the last month of the calendar, in the year 9999, has no next one.
        let next = self.0.checked_add(1.month()).unwrap_or(Date::MAX);
        TimeZone::UTC.to_timestamp(next.to_datetime(jiff::civil::Time::MIN)).unwrap_or(Timestamp::MAX)
    }

    /// So many months earlier; the calendar's first at the earliest.
    pub(crate) fn earlier(self, months: i32) -> Self {
        Self(self.0.checked_sub(months.months()).unwrap_or(Date::MIN))
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.0.year(), self.0.month())
    }
}

impl<'de> Deserialize<'de> for Month {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A text that is no month.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("wanted a month such as 2026-11")]
pub struct InvalidMonth;

impl std::str::FromStr for Month {
    type Err = InvalidMonth;

    fn from_str(text: &str) -> Result<Self, InvalidMonth> {
        let (year, month) =
            text.split_once('-').filter(|(year, month)| year.len() == 4 && month.len() == 2).ok_or(InvalidMonth)?;
        let number = |digits: &str| {
            digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<i16>().ok()).flatten()
        };
        let (year, month) = number(year).zip(number(month)).ok_or(InvalidMonth)?;
        let month = i8::try_from(month).map_err(|_| InvalidMonth)?;
        Date::new(year, month, 1).map(Self).map_err(|_| InvalidMonth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_ends_where_the_next_begins() {
        let check = |now: &str, month: &str, end: &str| {
            let found = Month::of(now.parse().unwrap());
            assert_eq!((found.to_string(), found.end().to_string()), (month.to_owned(), end.to_owned()));
        };
        check("2026-11-30T23:59:59.999Z", "2026-11", "2026-12-01T00:00:00Z");
        check("2026-12-01T00:00:00Z", "2026-12", "2027-01-01T00:00:00Z");
        check("2028-02-29T12:00:00Z", "2028-02", "2028-03-01T00:00:00Z");
    }

    #[test]
    fn only_a_month_is_one() {
        assert_eq!("2026-11".parse::<Month>().unwrap().to_string(), "2026-11");
        assert_eq!("2026-03".parse::<Month>().unwrap().earlier(24).to_string(), "2024-03");
        for text in ["", "2026", "2026-13", "2026-00", "2026-1", "26-11", "2026-+1", "2026-11-01", "٢٠٢٦-11"] {
            assert_eq!(text.parse::<Month>(), Err(InvalidMonth), "{text}");
        }
    }
}

//! Times as people give them: `03:12`, `-10m`, RFC 3339.

use std::{str::FromStr, time::Duration};

use jiff::{
    SignedDuration, Timestamp, ToSpan, Zoned,
    civil::{DateTime, Time},
    tz::TimeZone,
};

use crate::cli::values::duration;

/// A point in a recording.
#[derive(Clone, Debug, PartialEq)]
pub enum When {
    /// An instant.
    At(Timestamp),
    /// A date and time in the local time zone.
    Local(DateTime),
    /// A time of day: the last such time before the end.
    OfDay(Time),
    /// This long before the end.
    Before(Duration),
    /// This long before another time.
    Earlier(Box<Self>, Duration),
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text == "now" {
            return Ok(Self::Before(Duration::ZERO));
        }
        if let Some(ago) = text.strip_prefix('-') {
            return duration(ago).map(Self::Before);
        }
        if let Ok(instant) = text.parse() {
            return Ok(Self::At(instant));
        }
        // `Time` also reads a date, which would be lost.
        let has_date = text.len() > "00:00:00.000000000".len() || text.matches('-').count() == 2;
        if has_date && let Ok(local) = text.parse() {
            return Ok(Self::Local(local));
        }
        if !has_date
            && text.contains(':')
            && let Ok(time) = text.parse()
        {
            return Ok(Self::OfDay(time));
        }
        Err("must be a time such as `03:12`, `2026-11-30T03:12:00Z` or `-10m`".to_owned())
    }
}

impl When {
    /// The instant that is meant in a recording that ends at `end`.
    pub fn resolve(&self, end: Timestamp, zone: &TimeZone) -> Timestamp {
        let local = |at: DateTime| zone.to_timestamp(at).ok();
        match self {
            Self::At(instant) => *instant,
            Self::Local(at) => local(*at).unwrap_or(end),
            Self::OfDay(time) => {
                let end: Zoned = end.to_zoned(zone.clone());
                let today = end.date();
                let on = |date: jiff::civil::Date| local(date.to_datetime(*time));
                match on(today).filter(|at| *at <= end.timestamp()) {
                    Some(at) => at,
                    None => {
                        let yesterday = today.checked_sub(1.day()).unwrap_or(today);
                        on(yesterday).unwrap_or_else(|| end.timestamp())
                    }
                }
            }
            Self::Before(ago) => earlier(end, *ago),
            Self::Earlier(time, by) => earlier(time.resolve(end, zone), *by),
        }
    }
}

fn earlier(time: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    time.checked_sub(by).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_people() {
        let end: Timestamp = "2026-11-30T08:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("03:12", "2026-11-30T03:12:00Z"),
            ("03:12:30", "2026-11-30T03:12:30Z"),
            ("09:00", "2026-11-29T09:00:00Z"),
            ("-10m", "2026-11-30T07:50:00Z"),
            ("now", "2026-11-30T08:00:00Z"),
            ("2026-11-28T03:12:00+01:00", "2026-11-28T02:12:00Z"),
            ("2026-11-28T03:12:00", "2026-11-28T03:12:00Z"),
            ("2026-11-28 03:12", "2026-11-28T03:12:00Z"),
        ] {
            let when: When = text.parse().unwrap();
            let found = when.resolve(end, &TimeZone::UTC);
            assert_eq!(found, expected.parse().unwrap(), "{text}");
        }
        for text in ["", "3", "-10", "yesterday", "25:00", "2026-13-01T00:00:00Z"] {
            assert!(text.parse::<When>().is_err(), "{text}");
        }
    }
}

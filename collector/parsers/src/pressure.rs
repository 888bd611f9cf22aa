//! Pressure stall information (PSI): `cpu.pressure`, `memory.pressure`, `io.pressure`.

use crate::text::{lines, number, words};
use serde::{Deserialize, Serialize};

/// The pressures of a cgroup with all its descendants; `None` where the kernel does not account for
/// it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Pressures {
    pub cpu: Option<Pressure>,
    pub memory: Option<Pressure>,
    pub io: Option<Pressure>,
}

/// How long tasks waited for one resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Pressure {
    /// Some task waited.
    pub some: Stall,
    /// No task could do anything but wait. For CPU since Linux 5.13.
    pub full: Stall,
}

/// One line of a pressure file. `None` is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Stall {
    /// Since the cgroup was made.
    pub total_microseconds: Option<u64>,
    /// Share of the last 10 s, in hundredths of a percent.
    pub avg10: Option<u16>,
    /// Share of the last 60 s, in hundredths of a percent.
    pub avg60: Option<u16>,
    /// Share of the last 300 s, in hundredths of a percent.
    pub avg300: Option<u16>,
}

/// Reads a pressure file (`kernel/sched/psi.c`, `psi_show`).
pub fn parse_pressure(text: &[u8]) -> Pressure {
    let mut pressure = Pressure::default();
    for line in lines(text) {
        let mut words = words(line);
        match words.next() {
            Some(b"some") => pressure.some = parse_stall(words),
            Some(b"full") => pressure.full = parse_stall(words),
            _ => {}
        }
    }
    pressure
}

/// `avg10=0.12 avg60=0.02 avg300=0.00 total=25522`
fn parse_stall<'a>(words: impl Iterator<Item = &'a [u8]>) -> Stall {
    let mut stall = Stall::default();
    for word in words {
        let Some(equals) = word.iter().position(|byte| *byte == b'=') else { continue };
        let value = &word[equals + 1..];
        match &word[..equals] {
            b"total" => stall.total_microseconds = number(value),
            b"avg10" => stall.avg10 = average(value),
            b"avg60" => stall.avg60 = average(value),
            b"avg300" => stall.avg300 = average(value),
            _ => {}
        }
    }
    stall
}

/// An average, which is 100 % at most.
fn average(digits: &[u8]) -> Option<u16> {
    hundredths(digits)?.try_into().ok()
}

/// A number with exactly two decimals, as the kernel writes averages.
pub fn hundredths(digits: &[u8]) -> Option<u64> {
    let (whole, decimals) = digits.split_at_checked(digits.len().checked_sub(3)?)?;
    let decimals = decimals.strip_prefix(b".")?;
    number(whole)?.checked_mul(100)?.checked_add(number(decimals)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "some avg10=97.89 avg60=98.94 avg300=0.05 total=2729856881\n\
        full avg10=0.00 avg60=100.00 avg300=0.00 total=7\n";

    #[test]
    fn both_lines_are_read() {
        let some = Stall {
            total_microseconds: Some(2_729_856_881),
            avg10: Some(9789),
            avg60: Some(9894),
            avg300: Some(5),
        };
        let full = Stall {
            total_microseconds: Some(7),
            avg10: Some(0),
            avg60: Some(10_000),
            avg300: Some(0),
        };
        assert_eq!(parse_pressure(TEXT.as_bytes()), Pressure { some, full });
    }

    #[test]
    fn what_is_not_said_is_unknown() {
        let pressure = parse_pressure(b"some avg10=1.5 avg60=.00 total=x\nfull\nodd total=3\n");
        assert_eq!(pressure, Pressure::default());
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(text: Vec<u8>) {
            parse_pressure(&text);
        }

        #[test]
        fn any_words_are_taken(text in "(some|full|avg10=|total=|[0-9]{1,21}|[.= \n])*") {
            parse_pressure(text.as_bytes());
        }

        #[test]
        fn every_average_is_read_back(value in 0_u64..1_000_000) {
            let text = format!("{}.{:02}", value / 100, value % 100);
            prop_assert_eq!(hundredths(text.as_bytes()), Some(value));
        }
    }
}

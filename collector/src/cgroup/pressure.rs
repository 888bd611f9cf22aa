//! Pressure stall information (PSI): for how long tasks waited for a resource.
//!
//! The same text for the host (`/proc/pressure/*`) and for a cgroup (`*.pressure`), written by
//! `psi_show` in `kernel/sched/psi.c`.

use crate::cgroup::text::{lines, number, words};

/// What a pressure file tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PressureUsage {
    /// At least one task waited.
    pub some: Option<Stall>,
    /// No task could do anything but wait. Not there for the CPU before Linux 5.13; there it is 0
    /// for the host, because some task always runs when others wait.
    pub full: Option<Stall>,
}

/// How long something waited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stall {
    /// Since boot, or since the cgroup was made.
    pub total_microseconds: u64,
    /// Hundredths of a percent of the last 10, 60 and 300 seconds.
    pub averages: [u32; 3],
}

/// Reads a pressure file.
pub fn parse_pressure(text: &[u8]) -> PressureUsage {
    let mut usage = PressureUsage::default();
    for line in lines(text) {
        let mut words = words(line);
        match words.next() {
            Some(b"some") => usage.some = stall(words),
            Some(b"full") => usage.full = stall(words),
            _ => {}
        }
    }
    usage
}

/// `avg10=0.27 avg60=0.93 avg300=1.79 total=2123819128`
fn stall<'a>(mut words: impl Iterator<Item = &'a [u8]>) -> Option<Stall> {
    let mut value = |name: &[u8]| words.next()?.strip_prefix(name);
    let averages = [
        hundredths(value(b"avg10=")?)?,
        hundredths(value(b"avg60=")?)?,
        hundredths(value(b"avg300=")?)?,
    ];
    Some(Stall { averages, total_microseconds: number(value(b"total=")?)? })
}

/// A number with two decimals, times 100.
pub(crate) fn hundredths(text: &[u8]) -> Option<u32> {
    let (whole, [point, tens, ones]) = text.split_last_chunk()?;
    let decimals = number(&[*tens, *ones]).filter(|_| *point == b'.')?;
    u32::try_from(number(whole)?.checked_mul(100)?.checked_add(decimals)?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_lines_are_read() {
        let text = b"some avg10=0.27 avg60=12.93 avg300=100.00 total=2123819128\n\
            full avg10=0.00 avg60=0.00 avg300=0.01 total=7\n";
        let some = Stall { averages: [27, 1293, 10_000], total_microseconds: 2_123_819_128 };
        let full = Stall { averages: [0, 0, 1], total_microseconds: 7 };
        assert_eq!(parse_pressure(text), PressureUsage { some: Some(some), full: Some(full) });
    }

    #[test]
    fn what_is_not_told_is_unknown() {
        let some = b"some avg10=0.00 avg60=0.00 avg300=0.00 total=1\n";
        assert_eq!(parse_pressure(some).full, None);
        assert_eq!(
            parse_pressure(b"some avg10=0.00 avg60=0.00\nfull total=1\n"),
            Default::default()
        );
    }

    #[test]
    fn hundredths_have_two_decimals() {
        assert_eq!(hundredths(b"100.91"), Some(10_091));
        for text in ["", ".91", "1", "1.9", "1,91", "x.91", "99999999999.00"] {
            assert_eq!(hundredths(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(text: Vec<u8>, line in "(some|full)( [a-z0-9]{0,6}=?[0-9.]{0,22}){0,5}") {
            parse_pressure(&text);
            parse_pressure(line.as_bytes());
        }
    }
}

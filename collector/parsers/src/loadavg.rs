//! `/proc/loadavg` and `/proc/uptime`.

use crate::{
    pressure::hundredths,
    text::{number, words},
};

/// Parses the load averages over 1, 5 and 15 minutes in `/proc/loadavg`, in hundredths of tasks.
///
/// The kernel prints two decimals (`fs/proc/loadavg.c`, `loadavg_proc_show`). `None` if one of the
/// three is missing or has another form.
pub fn parse_loadavg(text: &[u8]) -> Option<[u64; 3]> {
    let mut averages = words(text).map(hundredths);
    let mut next = || averages.next().flatten();
    Some([next()?, next()?, next()?])
}

/// Parses how many tasks run or wait for a CPU at this instant, from `/proc/loadavg`: the number
/// before the slash (`fs/proc/loadavg.c`, `loadavg_proc_show`).
pub fn parse_runnable_tasks(text: &[u8]) -> Option<u64> {
    let tasks = words(text).nth(3)?;
    number(tasks.split(|byte| *byte == b'/').next()?)
}

/// Parses the uptime in `/proc/uptime`, in hundredths of seconds since boot, suspend included
/// (`fs/proc/uptime.c`, `uptime_proc_show`).
pub fn parse_uptime(text: &[u8]) -> Option<u64> {
    let (whole, [point, tenths, hundredths]) = words(text).next()?.split_last_chunk()?;
    let decimals = number(&[*tenths, *hundredths]).filter(|_| *point == b'.')?;
    number(whole)?.checked_mul(100)?.checked_add(decimals)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn averages_are_hundredths() {
        assert_eq!(parse_loadavg(b"0.15 12.64 100.91 1/234 5678\n"), Some([15, 1_264, 10_091]));
        for text in ["", "0.15 0.64", "0.15 x.64 0.91", "0,15 0.64 0.91", "15 64 91"] {
            assert_eq!(parse_loadavg(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn runnable_tasks_are_before_the_slash() {
        assert_eq!(parse_runnable_tasks(b"0.15 12.64 100.91 1/234 5678\n"), Some(1));
        for text in ["", "0.15 0.64 0.91", "0.15 0.64 0.91 /7 8", "0.15 0.64 0.91 x/7 8"] {
            assert_eq!(parse_runnable_tasks(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn uptime_is_hundredths() {
        assert_eq!(parse_uptime(b"350735.47 234388.90\n"), Some(35_073_547));
        for text in ["", "1", "1.5 2.00", "18446744073709551615.00"] {
            assert_eq!(parse_uptime(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_accepted(text: Vec<u8>, value: u64) {
            parse_loadavg(&text);
            parse_runnable_tasks(&text);
            parse_uptime(&text);
            parse_uptime(format!("{value}.00").as_bytes());
        }
    }
}

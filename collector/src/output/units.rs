//! Numbers as `docker stats` writes them.
//!
//! There is one deliberate difference: for 999,999 bytes Docker prints `1e+03kB`, Tare `1MB`.

const BINARY: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
const DECIMAL: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];

/// Memory: units of 1,024 and four significant digits, such as `1.207MiB`.
pub fn bytes_size(bytes: u64) -> String {
    scaled(bytes, 1024.0, &BINARY, 4)
}

/// Network and block I/O: units of 1,000 and three significant digits, such as `10.5MB`.
pub fn human_size(bytes: u64) -> String {
    scaled(bytes, 1000.0, &DECIMAL, 3)
}

/// A percentage with two decimals, such as `12.35%`.
pub fn percent(value: f64) -> String {
    format!("{value:.2}%")
}

/// A time with three significant digits, such as `1.05ms`.
pub fn duration(seconds: f64) -> String {
    let units = [(1.0, "s"), (1e-3, "ms"), (1e-6, "µs")];
    let fitting = units.into_iter().find(|(size, _)| seconds >= *size);
    let (size, unit) = fitting.unwrap_or((1e-9, "ns"));
    // No exponent for thousands of seconds.
    let value = seconds / size;
    if value >= 1000.0 {
        format!("{value:.0}{unit}")
    } else {
        format!("{}{unit}", general(value, 3))
    }
}

/// A duration in its two largest units, such as `3 d 4 h`.
pub fn span(seconds: f64) -> String {
    // The conversion saturates; a negative duration becomes 0 s.
    let seconds = seconds as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match () {
        () if days > 0 => format!("{days} d {} h", hours % 24),
        () if hours > 0 => format!("{hours} h {} min", minutes % 60),
        () if minutes > 0 => format!("{minutes} min {} s", seconds % 60),
        () => format!("{seconds} s"),
    }
}

fn scaled(bytes: u64, base: f64, units: &[&str], digits: usize) -> String {
    let mut value = bytes as f64;
    let mut unit = 0;
    let last = units.len() - 1;
    while unit < last && (value >= base || value >= too_long(digits)) {
        value /= base;
        unit += 1;
    }
    format!("{}{}", general(value, digits), units[unit])
}

/// From this value on, a number has more digits before the point than `digits`.
fn too_long(digits: usize) -> f64 {
    10_f64.powi(digits as i32) - 0.5
}

/// C's `%.<digits>g`.
fn general(value: f64, digits: usize) -> String {
    if (1.0..too_long(digits)).contains(&value) {
        // A value that rounds up to the next power of ten gets one decimal too many, which is a
        // zero.
        let whole = (value as u64).ilog10() as usize + 1;
        return trimmed(&format!("{value:.*}", digits - whole)).to_owned();
    }
    let scientific = format!("{value:.*e}", digits - 1);
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return scientific; // not a finite number
    };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if exponent < -4 || exponent >= digits as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trimmed(mantissa), exponent.abs());
    }
    let decimals = (digits as i32 - 1 - exponent).max(0) as usize;
    trimmed(&format!("{value:.decimals$}")).to_owned()
}

/// Removes trailing zeros of a fraction.
fn trimmed(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn memory_like_docker() {
        let gib = 1024.0 * 1024.0 * 1024.0;
        let table = [
            (0, "0B"),
            (1, "1B"),
            (1023, "1023B"),
            (1024, "1KiB"),
            (643_072, "628KiB"),
            (1_048_575, "1024KiB"),
            (1_048_576, "1MiB"),
            (1_265_664, "1.207MiB"),
            ((3.42 * gib) as u64, "3.42GiB"),
            ((23.47 * gib) as u64, "23.47GiB"),
            ((5.372 * 1024.0 * gib) as u64, "5.372TiB"),
            ((2.22 * 1024.0 * 1024.0 * gib) as u64, "2.22PiB"),
            (u64::MAX, "16EiB"),
        ];
        for (bytes, text) in table {
            assert_eq!(bytes_size(bytes), text);
        }
    }

    #[test]
    fn io_like_docker() {
        let table = [
            (0, "0B"),
            (656, "656B"),
            (1_000, "1kB"),
            (1_032, "1.03kB"),
            (1_024, "1.02kB"),
            (10_500_000, "10.5MB"),
            (999_499, "999kB"),
            (999_999, "1MB"),
            (120_000_000, "120MB"),
            (3_420_000_000, "3.42GB"),
            (u64::MAX, "18.4EB"),
        ];
        for (bytes, text) in table {
            assert_eq!(human_size(bytes), text);
        }
    }

    #[test]
    fn percentages() {
        assert_eq!(percent(0.0), "0.00%");
        assert_eq!(percent(12.345), "12.35%");
        assert_eq!(percent(799.999), "800.00%");
    }

    #[test]
    fn durations() {
        let table = [
            (0.0, "0ns"),
            (512e-9, "512ns"),
            (0.000_016_384, "16.4µs"),
            (0.001_048_576, "1.05ms"),
            (1.5, "1.5s"),
            (8_589.9, "8590s"),
        ];
        for (seconds, text) in table {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn general_like_c() {
        let table = [
            (1000.0, 3, "1e+03"),
            (999.5, 3, "1e+03"),
            (0.00001234, 3, "1.23e-05"),
            (0.0001, 3, "0.0001"),
            (100.0, 3, "100"),
            (1023.96, 4, "1024"),
        ];
        for (value, digits, text) in table {
            assert_eq!(general(value, digits), text);
        }
    }

    proptest! {
        #[test]
        fn always_short_and_without_an_exponent(bytes: u64) {
            for text in [bytes_size(bytes), human_size(bytes)] {
                prop_assert!(text.len() <= 8 && !text.contains('e'), "{text}");
            }
        }

        #[test]
        fn rounded_once_and_to_so_many_digits(value in 0.0..1100.0, digits in 1_usize..=4) {
            let rounded: f64 = format!("{value:.*e}", digits - 1).parse().unwrap();
            prop_assert_eq!(general(value, digits).parse::<f64>().unwrap(), rounded);
        }
    }
}

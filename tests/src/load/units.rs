//! Sizes and durations with units.

use std::time::Duration;

/// `1000`, `10MB` (decimal) or `64MiB` (binary).
pub(super) fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let factor: u64 = match unit {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(format!("unknown unit `{unit}`; use B, kB, MB, GB, KiB, MiB or GiB")),
    };
    let number: u64 = number.parse().map_err(|e| format!("`{number}` is no whole number: {e}"))?;
    number.checked_mul(factor).ok_or_else(|| "more than 64 bits hold".to_owned())
}

/// A size that a buffer can have: at least one byte.
pub(super) fn buffer_size(text: &str) -> Result<usize, String> {
    match usize::try_from(size(text)?) {
        Ok(0) => Err("must not be 0".to_owned()),
        Ok(bytes) => Ok(bytes),
        Err(_) => Err("more than this machine can address".to_owned()),
    }
}

/// `5s`, `200ms`, `50us` or `1m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let number: u64 = number.parse().map_err(|e| format!("`{number}` is no whole number: {e}"))?;
    match unit {
        "us" => Ok(Duration::from_micros(number)),
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs).ok_or_else(|| "too long".to_owned()),
        _ => Err(format!("unknown unit `{unit}`; use us, ms, s or m")),
    }
}

fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_decimal_or_binary_as_written() {
        assert_eq!(size("1000"), Ok(1000));
        assert_eq!(size("10MB"), Ok(10_000_000));
        assert_eq!(size("64MiB"), Ok(67_108_864));
        for bad in ["", "MB", "1.5MB", "-1", "10 MB", "1TB", "99999999999GiB"] {
            assert!(size(bad).is_err(), "{bad:?}");
        }
        assert!(buffer_size("0").is_err());
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("200ms"), Ok(Duration::from_millis(200)));
        assert_eq!(duration("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "5", "s", "1h", "18446744073709551615m"] {
            assert!(duration(bad).is_err(), "{bad:?}");
        }
    }
}

//! Parsers of option values.

use std::time::Duration;

use clap::builder::{StringValueParser, TypedValueParser, ValueParser};

use crate::cli::{MAX_INTERVAL, MIN_INTERVAL};
use crate::identity::{KeyFilter, Socket};

/// A path, `auto` or `off`.
pub(super) fn socket() -> ValueParser {
    let parse = |text: String| match text.as_str() {
        "" => Err("give a path, `auto` or `off`"),
        "auto" => Ok(Socket::Auto),
        "off" => Ok(Socket::Off),
        path => Ok(Socket::Path(path.strip_prefix("unix://").unwrap_or(path).into())),
    };
    ValueParser::new(StringValueParser::new().try_map(parse))
}

/// Keys, separated by commas; a `*` at the end of a key matches any ending.
pub(super) fn keys() -> ValueParser {
    let parse = |text: String| {
        let keys = text.split(',').map(str::trim).filter(|key| !key.is_empty());
        KeyFilter::new(keys)
    };
    ValueParser::new(StringValueParser::new().map(parse))
}

/// Time between two samples.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    let duration = duration(text)?;
    if (MIN_INTERVAL..=MAX_INTERVAL).contains(&duration) {
        Ok(duration)
    } else {
        Err("must be from 100ms to 1h".to_owned())
    }
}

/// A number and its unit, such as `64MiB` or `1.5GiB`; bytes without a unit.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let scale = match unit {
        "" | "B" => 1_u64,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err("must be a number of bytes, KiB, MiB or GiB, such as `64MiB`".to_owned()),
    };
    let number: f64 = number.parse().map_err(|_| format!("`{number}` is not a number"))?;
    Ok((number * scale as f64) as u64)
}

/// An interval, or 0.
pub(super) fn window(text: &str) -> Result<Duration, String> {
    if matches!(text.trim(), "0" | "0s") { Ok(Duration::ZERO) } else { interval(text) }
}

/// A number and its unit, such as `500ms`, `1.5s`, `2m` or `1h`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "" if !number.is_empty() => return Err(format!("needs a unit, such as `{number}s`")),
        _ => return Err("must be a number with ms, s, m or h, such as `500ms`".to_owned()),
    };
    let number: f64 = number.parse().map_err(|_| format!("`{number}` is not a number"))?;
    Duration::try_from_secs_f64(number * seconds).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_a_unit() {
        for (text, millis) in [("500ms", 500), ("1s", 1_000), ("1.5s", 1_500), ("2m", 120_000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)));
        }
        for text in ["", "s", "1", "1d", "-1s", "1..5s", "1e3s", "99999999999999999999999h"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(interval("1h").is_ok() && interval("1.001h").is_err());
    }

    #[test]
    fn a_size_has_a_binary_unit_or_none() {
        for (text, number) in [("0", 0), ("512B", 512), ("1.5KiB", 1536), ("64MiB", 64 << 20)] {
            assert_eq!(bytes(text), Ok(number));
        }
        for text in ["", "MiB", "1MB", "-1", "1 MiB"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}

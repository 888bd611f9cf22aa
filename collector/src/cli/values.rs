//! Parsers for the values of options.

use std::time::Duration;

use clap::builder::{StringValueParser, TypedValueParser, ValueParser};
use jiff::SignedDuration;

use crate::{
    cli::{MAX_INTERVAL, MIN_INTERVAL},
    identity::{KeyFilter, Socket},
};

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

/// Keys, separated by commas; a key that ends with `*` is a prefix.
pub(super) fn keys() -> ValueParser {
    let parse = |text: String| {
        let keys = text.split(',').map(str::trim).filter(|key| !key.is_empty());
        KeyFilter::new(keys)
    };
    ValueParser::new(StringValueParser::new().map(parse))
}

/// Time between two samples.
pub(crate) fn interval(text: &str) -> Result<Duration, String> {
    let duration = duration(text)?;
    if (MIN_INTERVAL..=MAX_INTERVAL).contains(&duration) {
        Ok(duration)
    } else {
        Err("must be from 100ms to 1h".to_owned())
    }
}

/// Bytes, such as `64MiB` or `1.5GiB`. `MB` and `M` are refused: programs disagree on their
/// meaning.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    const PARSER: parse_size::Config = parse_size::Config::new().with_binary();
    let message = |()| "must be a number of bytes, KiB, MiB or GiB, such as `64MiB`".to_owned();
    let text = text.trim();
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    if !["", "B", "KiB", "MiB", "GiB"].contains(&unit) {
        return Err(message(()));
    }
    PARSER.parse_size(text).map_err(|_| message(()))
}

/// A share in per cent, not negative.
pub(super) fn percent(text: &str) -> Result<f64, String> {
    let number = text.trim().trim_end_matches('%').parse::<f64>().ok();
    let number = number.filter(|number| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| "must be a number that is not negative, such as `10`".to_owned())
}

/// An interval, or 0.
pub(super) fn window(text: &str) -> Result<Duration, String> {
    if matches!(text.trim(), "0" | "0s") { Ok(Duration::ZERO) } else { interval(text) }
}

/// A time with its unit, such as `500ms`, `1.5s`, `2m` or `1h 30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if !text.is_empty() && is_number(text) {
        return Err(format!("needs a unit, such as `{text}s`"));
    }
    let zero = if text.starts_with('.') { "0" } else { "" };
    let parsed = format!("{zero}{text}").parse::<SignedDuration>();
    let message = |_| "must be a number with ms, s, m or h, such as `500ms`".to_owned();
    let duration = parsed.map_err(message)?;
    Duration::try_from(duration).map_err(|_| "must not be negative".to_owned())
}

/// The same, or days such as `7d`.
pub(crate) fn age(text: &str) -> Result<Duration, String> {
    const DAY_SECONDS: u64 = 24 * 3600;
    let Some(days) = text.trim().strip_suffix('d') else { return duration(text) };
    let seconds = days.parse().ok().and_then(|days: u64| days.checked_mul(DAY_SECONDS));
    seconds.map(Duration::from_secs).ok_or_else(|| "must be a number with s, m, h or d".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_a_unit() {
        for (text, millis) in [("500ms", 500), ("1s", 1_000), ("1.5s", 1_500), ("2m", 120_000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)));
        }
        assert_eq!(duration("1h 30m"), duration("1.5h"));
        assert_eq!(duration(".5s"), duration("500ms"));
        for text in ["", "s", "1", "1d", "-1s", "1..5s", "1e3s", "99999999999999999999999h"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(interval("1h").is_ok() && interval("1.001h").is_err());
    }

    #[test]
    fn an_age_may_be_in_days() {
        assert_eq!(age("7d"), age("168h"));
        for text in ["d", "1.5d", "-1d", "7", "999999999999999999d"] {
            assert!(age(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_size_has_a_binary_unit_or_none() {
        for (text, number) in [("0", 0), ("512B", 512), ("1.5KiB", 1536), ("64MiB", 64 << 20)] {
            assert_eq!(bytes(text), Ok(number));
        }
        for text in ["", "MiB", "1MB", "-1", "1 MiB", "1 MiBs", "1MiB2", "99999999999GiB"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}

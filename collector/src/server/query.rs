//! Parsers for the headers and the query of a request. Pure.

use std::time::Duration;

use jiff::Timestamp;

use crate::{output::prometheus::Exposition, published::excerpt::Span};

/// The format that `Accept` prefers; text unless the client prefers another one.
pub(crate) fn exposition(accept: &str) -> Exposition {
    let weight = |wanted: fn(&Alternative) -> bool| {
        alternatives(accept).filter(wanted).map(|one| one.weight).fold(0.0, f64::max)
    };
    let open_metrics = weight(|one| {
        one.name == "application/openmetrics-text"
            && one.version().is_none_or(|version| ["1.0.0", "0.0.1"].contains(&version))
    });
    let protobuf = weight(|one| {
        let is = |name, value| parameter(one.parameters, name) == Some(value);
        one.name == "application/vnd.google.protobuf"
            && is("proto", "io.prometheus.client.MetricFamily")
            && is("encoding", "delimited")
    });
    let text = weight(|one| one.name == "text/plain");
    if protobuf > 0.0 && protobuf >= open_metrics.max(text) {
        Exposition::Protobuf
    } else if open_metrics > 0.0 && open_metrics >= text {
        Exposition::OpenMetrics
    } else {
        Exposition::Text
    }
}

/// Whether `Accept-Encoding` allows gzip.
pub(crate) fn accepts_gzip(accept_encoding: &str) -> bool {
    let named = alternatives(accept_encoding).find(|one| one.name.eq_ignore_ascii_case("gzip"));
    let any = || alternatives(accept_encoding).find(|one| one.name == "*");
    named.or_else(any).is_some_and(|one| one.weight > 0.0)
}

/// Reads `from`, `to`, `step` and `latency`.
///
/// # Errors
///
/// Which of them is wrong.
pub(crate) fn span(get: impl Fn(&str) -> Option<String>) -> Result<Span, String> {
    let time = |name: &str| {
        let parse = |text: String| {
            let message = || format!("`{name}` is neither RFC 3339 nor seconds since 1970: {text}");
            parse_time(&text).ok_or_else(message)
        };
        get(name).map(parse).transpose()
    };
    let step = seconds("step", get("step"))?.unwrap_or_default();
    let latency = match get("latency").as_deref() {
        None | Some("false") => false,
        Some("" | "true") => true,
        Some(other) => return Err(format!("`latency` is neither true nor false: {other}")),
    };
    Ok(Span { from: time("from")?, to: time("to")?, step, latency })
}

/// Reads a number of seconds, if there is one.
///
/// # Errors
///
/// What is wrong with it.
pub(crate) fn seconds(name: &str, text: Option<String>) -> Result<Option<Duration>, String> {
    let parse = |text: String| {
        let seconds = text.strip_suffix('s').unwrap_or(&text).parse().ok();
        let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        duration.ok_or_else(|| format!("`{name}` is no number of seconds: {text}"))
    };
    text.map(parse).transpose()
}

fn parse_time(text: &str) -> Option<Timestamp> {
    if let Ok(seconds) = text.parse::<f64>() {
        let milliseconds = seconds * 1e3;
        return Timestamp::from_millisecond(milliseconds as i64).ok();
    }
    text.parse().ok()
}

/// One alternative of an `Accept` header.
struct Alternative<'a> {
    name: &'a str,
    parameters: &'a str,
    weight: f64,
}

impl Alternative<'_> {
    fn version(&self) -> Option<&str> {
        parameter(self.parameters, "version")
    }
}

fn alternatives(header: &str) -> impl Iterator<Item = Alternative<'_>> {
    header.split(',').map(|text| {
        let (name, parameters) = text.split_once(';').unwrap_or((text, ""));
        let weight = parameter(parameters, "q").and_then(|weight| weight.parse().ok());
        Alternative { name: name.trim(), parameters, weight: weight.unwrap_or(1.0) }
    })
}

fn parameter<'a>(parameters: &'a str, wanted: &str) -> Option<&'a str> {
    parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim().trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn prometheus_gets_open_metrics_and_other_clients_get_text() {
        let prometheus = "application/openmetrics-text;version=1.0.0,\
                          application/openmetrics-text;version=0.0.1;q=0.75,\
                          text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(exposition(prometheus), Exposition::OpenMetrics);
        let protobuf = "application/vnd.google.protobuf;\
                        proto=io.prometheus.client.MetricFamily;encoding=delimited";
        let with_native_histograms = format!("{protobuf},{prometheus}");
        assert_eq!(exposition(&with_native_histograms), Exposition::Protobuf);
        assert_eq!(exposition(&format!("{protobuf};q=0.4,text/plain")), Exposition::Text);
        for accept in [
            "",
            "*/*",
            "application/vnd.google.protobuf;proto=another;encoding=delimited",
            "application/vnd.google.protobuf",
            "text/plain",
            "application/openmetrics-text;version=2.0.0",
            "application/openmetrics-text;q=0.5, text/plain",
            "application/openmetrics-text;q=0",
        ] {
            assert_eq!(exposition(accept), Exposition::Text, "{accept}");
        }
    }

    #[test]
    fn gzip_only_where_it_is_allowed() {
        for header in ["gzip", "deflate, GZIP;q=0.5", "*"] {
            assert!(accepts_gzip(header), "{header}");
        }
        for header in ["", "identity", "gzip;q=0", "gzip;q=0, *", "br"] {
            assert!(!accepts_gzip(header), "{header}");
        }
    }

    fn read(query: &str) -> Result<Span, String> {
        span(|name| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(found, _)| *found == name).map(|(_, value)| value.to_owned())
        })
    }

    #[test]
    fn a_span_is_read_or_the_wrong_parameter_is_named() {
        let span = read("from=1.5&to=2026-01-02T03:04:05Z&step=5s").unwrap();
        assert_eq!(span.from.unwrap().as_millisecond(), 1_500);
        assert_eq!(span.to.unwrap().to_string(), "2026-01-02T03:04:05Z");
        assert_eq!(span.step, Duration::from_secs(5));
        assert_eq!(read("").unwrap().step, Duration::ZERO);
        for wrong in ["from=yesterday", "to=", "step=-1", "step=NaN", "step=1h"] {
            let name = wrong.split('=').next().unwrap();
            assert!(read(wrong).unwrap_err().contains(name), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_without_a_panic(text: String) {
            exposition(&text);
            accepts_gzip(&text);
            let _ = span(|_| Some(text.clone()));
        }
    }
}

//! What requests ask for. Pure.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

/// Readings that version 2 answers with unless asked for more or fewer.
const COUNT: usize = 64;

/// The same of version 1.
const NUM_STATS: usize = 60;

/// How the name in a path is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IdType {
    /// The path of a cgroup.
    Name,
    /// An id or a name of this runtime.
    Runtime(&'static str),
}

/// The parameters of version 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) id_type: IdType,
    /// The latest readings, at most.
    pub(super) count: usize,
    pub(super) is_recursive: bool,
}

/// The body of requests of version 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InfoQuery {
    /// The latest readings, at most.
    pub(super) count: usize,
    pub(super) start: Option<Timestamp>,
    pub(super) end: Option<Timestamp>,
}

/// Which events are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct EventQuery {
    pub(super) is_stream: bool,
    /// Whether containers below the named one count too.
    pub(super) has_subcontainers: bool,
    /// Names of the wanted types.
    pub(super) types: Vec<&'static str>,
    /// The latest events, at most.
    pub(super) count: usize,
    pub(super) start: Option<Timestamp>,
    pub(super) end: Option<Timestamp>,
}

/// The absolute path of a cgroup that a request names.
pub(super) fn absolute(rest: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in rest.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    format!("/{}", parts.join("/"))
}

impl Options {
    pub(super) fn parse(get: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let get = |name| get(name).filter(|text| !text.is_empty());
        let id_type = match get("type").as_deref() {
            None | Some("name") => IdType::Name,
            Some("docker") => IdType::Runtime("docker"),
            Some("podman") => IdType::Runtime("podman"),
            Some(other) => return Err(format!("unknown 'type' {other:?}")),
        };
        let count = match get("count") {
            None => COUNT,
            Some(text) if text == "-1" => usize::MAX,
            Some(text) => match text.parse::<u32>() {
                Ok(count) => count as usize,
                Err(_) => return Err(format!("failed to parse 'count' option: {text}")),
            },
        };
        if let Some(text) = get("max_age") {
            // Every reading is as old as a sample: it is checked only.
            parse_duration(&text).ok_or_else(|| {
                format!("failed to parse 'max_age' option: time: invalid duration {text:?}")
            })?;
        }
        let is_recursive = get("recursive").as_deref() == Some("true");
        Ok(Self { id_type, count, is_recursive })
    }
}

impl InfoQuery {
    pub(super) fn parse(body: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        #[serde(default)]
        struct Body {
            num_stats: i64,
            start: Option<Timestamp>,
            end: Option<Timestamp>,
        }
        impl Default for Body {
            fn default() -> Self {
                Self { num_stats: NUM_STATS as i64, start: None, end: None }
            }
        }
        let is_empty = body.iter().all(u8::is_ascii_whitespace);
        let parsed = if is_empty { Ok(Body::default()) } else { serde_json::from_slice(body) };
        let Body { num_stats, start, end } =
            parsed.map_err(|error| format!("unable to decode the json value: {error}"))?;
        // Go's zero time stands for none.
        let is_set = |time: &Timestamp| *time > Timestamp::UNIX_EPOCH;
        Ok(Self {
            count: usize::try_from(num_stats).unwrap_or(usize::MAX),
            start: start.filter(is_set),
            end: end.filter(is_set),
        })
    }
}

impl EventQuery {
    /// Like cAdvisor, takes no notice of what it does not understand.
    pub(super) fn parse(get: impl Fn(&str) -> Option<String>) -> Self {
        let flag = |name| get(name).and_then(|text| parse_bool(&text));
        let time = |name| get(name).and_then(|text| text.parse().ok());
        let all = flag("all_events") == Some(true);
        let types = [
            ("oom_events", "oom"),
            ("oom_kill_events", "oomKill"),
            ("creation_events", "containerCreation"),
            ("deletion_events", "containerDeletion"),
        ];
        let types = types.into_iter().filter(|(option, _)| all || flag(option) == Some(true));
        let count = get("max_events").and_then(|text| text.parse::<i64>().ok()).unwrap_or(10);
        Self {
            is_stream: flag("stream") == Some(true),
            has_subcontainers: flag("subcontainers") == Some(true),
            types: types.map(|(_, name)| name).collect(),
            count: usize::try_from(count).ok().filter(|count| *count > 0).unwrap_or(usize::MAX),
            start: time("start_time"),
            end: time("end_time"),
        }
    }
}

fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// A duration as Go writes it, such as `1m30s` or `1.5h`.
fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut seconds = 0.0;
    loop {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let length = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        seconds += number
            * match &rest[..length] {
                "ns" => 1e-9,
                "us" | "µs" | "μs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        rest = &rest[length..];
        if rest.is_empty() {
            return Duration::try_from_secs_f64(seconds).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn options(query: &str) -> Result<Options, String> {
        Options::parse(|name| pick(query, name))
    }

    fn pick(query: &str, name: &str) -> Option<String> {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(found, _)| *found == name).map(|(_, value)| value.to_owned()).next()
    }

    #[test]
    fn the_parameters_of_version_2_or_the_words_of_cadvisor() {
        let usual = Options { id_type: IdType::Name, count: 64, is_recursive: false };
        assert_eq!(options(""), Ok(usual));
        assert_eq!(options("recursive=1&max_age=1m30.5s"), Ok(usual));
        let docker = Options { id_type: IdType::Runtime("docker"), count: 2, is_recursive: true };
        assert_eq!(options("type=docker&count=2&recursive=true"), Ok(docker));
        assert_eq!(options("count=-1").map(|options| options.count), Ok(usize::MAX));
        for (query, words) in [
            ("type=rkt", "unknown 'type' \"rkt\""),
            ("count=x", "failed to parse 'count' option: x"),
            ("max_age=1", "failed to parse 'max_age' option: time: invalid duration \"1\""),
        ] {
            assert_eq!(options(query), Err(words.to_owned()));
        }
    }

    #[test]
    fn the_body_of_version_1_may_be_absent() {
        let usual = InfoQuery { count: 60, start: None, end: None };
        assert_eq!(InfoQuery::parse(b" "), Ok(usual));
        let body = br#"{"num_stats":-1,"start":"0001-01-01T00:00:00Z"}"#;
        assert_eq!(InfoQuery::parse(body), Ok(InfoQuery { count: usize::MAX, ..usual }));
        let end = InfoQuery::parse(br#"{"end":"2026-01-01T00:00:00Z"}"#).map(|query| query.end);
        assert_eq!(end, Ok("2026-01-01T00:00:00Z".parse().ok()));
        assert!(InfoQuery::parse(b"{").unwrap_err().starts_with("unable to decode the json value"));
    }

    #[test]
    fn events_are_chosen_as_cadvisor_does() {
        let parse = |query: &str| EventQuery::parse(|name| pick(query, name));
        assert_eq!(parse("").types, Vec::<&str>::new());
        assert_eq!(parse("all_events=true&stream=1").types.len(), 4);
        let some = parse("oom_events=t&creation_events=nonsense&max_events=-1&subcontainers=T");
        assert_eq!(
            (some.types, some.count, some.has_subcontainers),
            (vec!["oom"], usize::MAX, true)
        );
        assert_eq!((parse("").count, parse("max_events=3").count), (10, 3));
    }

    #[test]
    fn paths_are_made_absolute() {
        let paths = ["", "/", "docker/abc/", "//a/./b/../c", "../../x"];
        let clean = ["/", "/", "/docker/abc", "/a/c", "/x"];
        assert_eq!(paths.map(absolute), clean);
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text: String) {
            let _ = Options::parse(|_| Some(text.clone()));
            let _ = InfoQuery::parse(text.as_bytes());
            EventQuery::parse(|_| Some(text.clone()));
            parse_duration(&text);
            absolute(&text);
        }
    }
}

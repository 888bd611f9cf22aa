//! Every column of a table, which is every placeholder of a template as well: one list.

pub(crate) mod cells;

use crate::output::nearest::did_you_mean;
use crate::output::row::Row;
use crate::output::text::{align, printable};

/// Explains the mark behind NET I/O.
pub(super) const HOST_SOCKETS: &str =
    "* on the host's network: bytes at its own sockets, not those of the host's devices";

/// Asks for the list of columns instead of a report.
pub const HELP: &str = "help";

/// The columns of `docker stats`.
const DEFAULT: [&str; 8] =
    ["id", "name", "cpu", "memory", "memory-percent", "net", "block", "pids"];

/// What a receipt has to tell.
const ENDED: [&str; 9] =
    ["id", "name", "ended", "cpu-time", "memory-peak", "net", "block", "oom-kills", "totals"];

/// What there is to know of a row in one place.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// How `--columns` calls it.
    pub name: &'static str,
    /// How a template calls it.
    pub placeholder: &'static str,
    /// Its title in a table.
    pub title: &'static str,
    /// What it tells, in one line.
    pub about: &'static str,
    cell: fn(&Row<'_>) -> String,
}

impl PartialEq for Column {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Column {}

impl Column {
    /// The text of its cell, safe on a terminal.
    pub fn text(&self, row: &Row<'_>) -> String {
        printable(&(self.cell)(row)).into_owned()
    }
}

macro_rules! columns {
    ($($name:literal $placeholder:ident $title:literal $cell:ident $about:literal,)*) => {
        &[$(Column {
            name: $name,
            placeholder: stringify!($placeholder),
            title: $title,
            about: $about,
            cell: cells::$cell,
        }),*]
    };
}

/// All columns. A new one is a line here and a function in `cells`.
#[rustfmt::skip]
pub const COLUMNS: &[Column] = columns![
    "id" ID "CONTAINER ID" id "the first 12 characters of the id; all with --no-trunc",
    "container" Container "CONTAINER" container "the name or id as it was asked for, or else the id",
    "name" Name "NAME" name "the name that people gave it",
    "image" Image "IMAGE" image "the image reference",
    "runtime" Runtime "RUNTIME" runtime "docker, containerd, cri-o, podman, lxc, nspawn, systemd",
    "pod" Pod "POD" pod "the Kubernetes pod: its name where labels tell it, or else its uid",
    "namespace" Namespace "NAMESPACE" namespace "the Kubernetes namespace, where labels tell it",
    "labels" Labels "LABELS" labels "the runtime's labels",
    "environment" Environment "ENVIRONMENT" environment "environment variables, as far as --environment asks for them",
    "cgroup" Cgroup "CGROUP" cgroup "the cgroup's path",
    "state" State "STATE" state "running, frozen or ended",
    "started" Started "STARTED" started "when its first process started, as its runtime tells",
    "to-exec" ToExec "TO EXEC" to_exec "from the making of its cgroup to its first program",
    "to-listen" ToListen "TO LISTEN" to_listen "from the making of its cgroup to its first listening socket",
    "ended" Ended "ENDED" ended "how long ago it ended",
    "totals" Totals "TOTALS" totals "how sure the totals of an ended container are",
    "cpu" CPUPerc "CPU %" cpu "share of one CPU over the interval; 100% is one CPU",
    "cpu-time" CPUTime "CPU TIME" cpu_time "CPU time used so far",
    "cpu-limit" CPULimit "CPU LIMIT" cpu_limit "CPUs that its quota allows",
    "throttled" Throttled "THROTTLED" throttled "share of its scheduling periods in which its quota stopped it",
    "throttled-time" ThrottledTime "THROTTLED TIME" throttled_time "for how long its quota stopped it so far",
    "cpu-pressure" CPUPressure "CPU PRESSURE" cpu_pressure "time so far in which some / all tasks waited for a CPU",
    "memory" MemUsage "MEM USAGE / LIMIT" memory "working set and limit, as Docker counts them",
    "memory-percent" MemPerc "MEM %" memory_percent "working set as a share of the limit",
    "working-set" WorkingSet "WORKING SET" working_set "memory without inactive page cache",
    "memory-total" MemTotal "MEM TOTAL" memory_total "all memory charged to it, page cache included",
    "memory-limit" MemLimit "MEM LIMIT" memory_limit "the most memory that it may use",
    "rss" RSS "RSS" rss "anonymous memory",
    "cache" Cache "CACHE" cache "page cache",
    "swap" Swap "SWAP" swap "swap in use",
    "memory-peak" MemPeak "MEM PEAK" memory_peak "the most memory that it used so far",
    "oom-kills" OOMKills "OOM" oom_kills "processes killed for want of memory",
    "memory-pressure" MemPressure "MEM PRESSURE" memory_pressure "time so far in which some / all tasks waited for memory",
    "net" NetIO "NET I/O" net "bytes received / sent by its network devices",
    "sockets" Sockets "SOCKET I/O" sockets "bytes received / sent by its own sockets",
    "retransmits" Retransmits "RETRANS" retransmits "TCP segments sent again",
    "connections" Connections "CONNECTIONS" connections "TCP connections opened / accepted so far",
    "failed-connections" FailedConnections "CONN FAILED" failed_connections "TCP connections refused, timed out or given up",
    "block" BlockIO "BLOCK I/O" block "bytes read / written on block devices",
    "block-ops" BlockOps "BLOCK OPS" block_ops "requests read / written",
    "block-errors" BlockErrors "BLOCK ERRORS" block_errors "requests that failed",
    "in-flight" InFlight "IN FLIGHT" in_flight "requests that the device has now",
    "read-p50" ReadP50 "READ P50" read_p50 "half of the reads so far took at most this (bound of a power of two)",
    "read-p99" ReadP99 "READ P99" read_p99 "99% of the reads so far took at most this",
    "write-p50" WriteP50 "WRITE P50" write_p50 "half of the writes so far took at most this",
    "write-p99" WriteP99 "WRITE P99" write_p99 "99% of the writes so far took at most this",
    "pids" PIDs "PIDS" pids "processes and threads",
    "pids-limit" PIDsLimit "PIDS LIMIT" pids_limit "the most that may exist",
];

/// One word of `--columns`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// This column.
    Only(&'static Column),
    /// The columns that would be shown anyway, then this one.
    Also(&'static Column),
    /// The list of all columns.
    Help,
}

/// Reads one word of `--columns`.
///
/// # Errors
///
/// If there is no such column; the message offers those with names like it.
pub fn parse(word: &str) -> Result<Choice, String> {
    let (name, choice): (_, fn(_) -> _) = match word.strip_prefix('+') {
        Some(name) => (name, Choice::Also),
        None => (word, Choice::Only),
    };
    if name == HELP {
        return Ok(Choice::Help);
    }
    let found = COLUMNS.iter().find(|column| column.name == name);
    found.map(choice).ok_or_else(|| {
        let meant = did_you_mean(name, COLUMNS.iter().map(|column| column.name));
        format!("there is no column `{}`{meant}; `--columns help` lists all", printable(name))
    })
}

/// The columns that are shown when nobody asks for others.
pub fn usual(ended: bool, all: bool) -> Vec<&'static Column> {
    let names: &[&str] = if ended { &ENDED } else { &DEFAULT };
    let state = (all && !ended).then_some("state");
    names.iter().copied().chain(state).filter_map(named).collect()
}

/// The columns that `choices` ask for, each once; `usual` ones if they only add.
pub fn chosen(choices: &[Choice], usual: Vec<&'static Column>) -> Vec<&'static Column> {
    let only = choices.iter().any(|choice| matches!(choice, Choice::Only(_)));
    let mut columns = if only { Vec::new() } else { usual };
    for choice in choices {
        if let Choice::Only(column) | Choice::Also(column) = choice
            && !columns.contains(column)
        {
            columns.push(column);
        }
    }
    columns
}

/// The column that a template calls so.
pub fn by_placeholder(name: &str) -> Option<&'static Column> {
    COLUMNS.iter().find(|column| column.placeholder == name)
}

/// All columns with what they tell, for people.
pub fn help() -> String {
    let mut lines = "COLUMN\tPLACEHOLDER\tMEANING\n".to_owned();
    for Column { name, placeholder, about, .. } in COLUMNS {
        lines += &format!("{name}\t{{{{.{placeholder}}}}}\t{about}\n");
    }
    align(&lines)
}

fn named(name: &str) -> Option<&'static Column> {
    COLUMNS.iter().find(|column| column.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use jiff::Timestamp;

    use super::*;
    use crate::model::{Ended, Family, Finality, Histogram, Kind, Latency, Pressure};
    use crate::output::fixture;
    use crate::output::table::Options;

    #[test]
    fn names_are_unique_and_the_usual_ones_exist() {
        let names: HashSet<_> = COLUMNS.iter().map(|column| column.name).collect();
        let placeholders: HashSet<_> = COLUMNS.iter().map(|column| column.placeholder).collect();
        assert_eq!((names.len(), placeholders.len()), (COLUMNS.len(), COLUMNS.len()));
        assert_eq!(usual(false, false).len(), DEFAULT.len());
        assert_eq!(usual(false, true).len(), DEFAULT.len() + 1);
        assert_eq!(usual(true, false).len(), ENDED.len());
    }

    #[test]
    fn chosen_alone_or_besides() {
        let names = |words: &[&str]| {
            let choices: Vec<_> = words.iter().map(|word| parse(word).unwrap()).collect();
            let columns = chosen(&choices, usual(false, false));
            columns.into_iter().map(|column| column.name).collect::<Vec<_>>()
        };
        assert_eq!(names(&["name", "swap", "name"]), ["name", "swap"]);
        assert_eq!(names(&["name", "+swap"]), ["name", "swap"]);
        assert_eq!(names(&["+swap", "+cpu"]), [&DEFAULT[..], &["swap"]].concat());
    }

    #[test]
    fn a_wrong_name_is_answered_with_the_nearest() {
        let error = parse("+memry").unwrap_err();
        assert!(error.starts_with("there is no column `memry`; did you mean memory?"), "{error}");
        assert_eq!(
            parse("zzz").unwrap_err(),
            "there is no column `zzz`; `--columns help` lists all"
        );
        assert_eq!(parse("help"), Ok(Choice::Help));
    }

    fn shown(row: &Row<'_>) -> String {
        let cells = COLUMNS.iter().map(|column| format!("{}={}", column.name, column.text(row)));
        cells.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn unknown_is_never_a_number() {
        let container = fixture::unknown(Kind::Container, fixture::ID);
        let (now, options) = (Timestamp::UNIX_EPOCH, Options::default());
        let row = Row { container: &container, ended: None, now, options: &options, marks: true };
        for column in COLUMNS {
            let (name, text) = (column.name, column.text(&row));
            let expected = match name {
                "id" | "container" => &fixture::ID[..12],
                "cgroup" => &container.cgroup,
                "state" => "running",
                "labels" | "environment" => "",
                "memory" => "-- / --",
                _ => "--",
            };
            assert_eq!(text, expected, "{name}");
        }
    }

    #[test]
    fn what_an_ended_container_shows() {
        let at = |millis| Timestamp::from_millisecond(millis).unwrap();
        let mut web = fixture::web();
        web.state = "ended".into();
        web.startup.made_at = Some(at(1_000));
        web.startup.exec_at = Some(at(1_050));
        web.cpu.usage_seconds = Some(0.0274);
        (web.cpu.periods, web.cpu.throttled_periods) = (Some(8), Some(2));
        let pressure = Pressure { some_seconds: Some(0.5), ..Pressure::default() };
        web.cpu.pressure = Some(pressure);
        web.memory.oom_kills = Some(2);
        let none = Histogram { buckets: vec![0; 3], count: 0, sum_seconds: 0.0 };
        let read = Histogram { buckets: vec![1, 1, 1], count: 3, sum_seconds: 1.0 };
        let le_seconds = vec![0.000_016_384, 0.001_048_576];
        web.block.latency = Some(Latency { le_seconds, read, write: none });
        let late = Finality { state: "last_sample".into(), age_seconds: Some(0.25) };
        let finality = BTreeMap::from([(Family::Cpu, late)]);
        let ended = Ended { container: web, ended_at: at(2_000), finality };
        let options = Options { no_trunc: true, ..Options::default() };
        let container = &ended.container;
        let (now, ended) = (at(3_500), Some(&ended));
        let shown = shown(&Row { container, ended, now, options: &options, marks: true });
        for line in [
            "state=ended",
            "ended=1.5 s ago",
            "totals=0.2 s before the end",
            "to-exec=0.050 s",
            "to-listen=--",
            "cpu-time=0.027 s",
            "throttled=25.00%",
            "cpu-pressure=0.500 s / --",
            "oom-kills=2",
            "read-p50=1.05ms",
            "read-p99=>1.05ms",
            "write-p99=--",
            "memory-limit=23.47GiB",
        ] {
            assert!(shown.lines().any(|found| found == line), "{line} in\n{shown}");
        }
        assert!(shown.starts_with(&format!("id={}\n", fixture::ID)));
    }

    #[test]
    fn help_lists_every_column() {
        assert_eq!(help().lines().count(), COLUMNS.len() + 1);
    }
}

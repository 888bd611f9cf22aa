//! The columns of tables, which are also the placeholders of templates.

pub(crate) mod cells;

use crate::output::{
    nearest::did_you_mean,
    row::Row,
    text::{align, printable},
};

/// Explains the `*` behind NET I/O.
pub(super) const HOST_SOCKETS: &str =
    "* on the host's network: bytes at its own sockets, not those of the host's devices";

/// The word that asks for the list of columns instead of a report.
pub const HELP: &str = "help";

/// The default columns: those of `docker stats`.
const DEFAULT: [&str; 8] =
    ["id", "name", "cpu", "memory", "memory-percent", "net", "block", "pids"];

/// The default columns of ended containers.
const ENDED: [&str; 9] =
    ["id", "name", "ended", "cpu-time", "memory-peak", "net", "block", "oom-kills", "totals"];

/// A column of tables.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// The name for `--columns`.
    pub name: &'static str,
    /// The name in templates.
    pub placeholder: &'static str,
    /// The title in a table.
    pub title: &'static str,
    /// The meaning, in one line.
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
    /// The text of a cell, safe on a terminal.
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

/// All columns. A column is one line here and one function in `cells`.
#[rustfmt::skip]
pub const COLUMNS: &[Column] = columns![
    "id" ID "CONTAINER ID" id "the first 12 characters of the id; all with --no-trunc",
    "container" Container "CONTAINER" container "the name or id as given on the command line, or else the id",
    "name" Name "NAME" name "the name",
    "image" Image "IMAGE" image "the image reference",
    "runtime" Runtime "RUNTIME" runtime "docker, containerd, cri-o, podman, lxc, nspawn, systemd",
    "pod" Pod "POD" pod "the Kubernetes pod: its name if labels hold it, or else its uid",
    "namespace" Namespace "NAMESPACE" namespace "the Kubernetes namespace, if labels hold it",
    "labels" Labels "LABELS" labels "the runtime's labels",
    "environment" Environment "ENVIRONMENT" environment "the environment variables that --environment asks for",
    "cgroup" Cgroup "CGROUP" cgroup "the cgroup's path",
    "state" State "STATE" state "running, frozen or ended",
    "started" Started "STARTED" started "when its first process started, as reported by the runtime",
    "to-exec" ToExec "TO EXEC" to_exec "time from the creation of the cgroup to the first exec",
    "to-listen" ToListen "TO LISTEN" to_listen "time from the creation of the cgroup to the first listening socket",
    "ended" Ended "ENDED" ended "how long ago it ended",
    "totals" Totals "TOTALS" totals "whether the totals of an ended container are final",
    "cpu" CPUPerc "CPU %" cpu "share of one CPU over the interval; 100% is one CPU",
    "cpu-time" CPUTime "CPU TIME" cpu_time "CPU time used so far",
    "cpu-limit" CPULimit "CPU LIMIT" cpu_limit "CPUs that the quota allows",
    "throttled" Throttled "THROTTLED" throttled "share of the quota periods in which it was throttled",
    "throttled-time" ThrottledTime "THROTTLED TIME" throttled_time "time so far for which it was throttled",
    "cpu-pressure" CPUPressure "CPU PRESSURE" cpu_pressure "time so far in which some / all tasks waited for a CPU",
    "memory" MemUsage "MEM USAGE / LIMIT" memory "working set and limit, as Docker counts them",
    "memory-percent" MemPerc "MEM %" memory_percent "working set as a share of the limit",
    "working-set" WorkingSet "WORKING SET" working_set "memory without inactive page cache",
    "memory-total" MemTotal "MEM TOTAL" memory_total "all memory charged to it, including page cache",
    "memory-limit" MemLimit "MEM LIMIT" memory_limit "the memory limit",
    "rss" RSS "RSS" rss "anonymous memory",
    "cache" Cache "CACHE" cache "page cache",
    "swap" Swap "SWAP" swap "swap in use",
    "memory-peak" MemPeak "MEM PEAK" memory_peak "the highest memory usage so far",
    "oom-kills" OOMKills "OOM" oom_kills "processes killed by the out-of-memory killer",
    "memory-pressure" MemPressure "MEM PRESSURE" memory_pressure "time so far in which some / all tasks waited for memory",
    "net" NetIO "NET I/O" net "bytes received / sent by its network devices",
    "sockets" Sockets "SOCKET I/O" sockets "bytes received / sent by its own sockets",
    "retransmits" Retransmits "RETRANS" retransmits "TCP segments retransmitted",
    "connections" Connections "CONNECTIONS" connections "TCP connections opened / accepted so far",
    "failed-connections" FailedConnections "CONN FAILED" failed_connections "TCP connections refused, timed out or given up",
    "block" BlockIO "BLOCK I/O" block "bytes read / written on block devices",
    "block-ops" BlockOps "BLOCK OPS" block_ops "requests read / written",
    "block-errors" BlockErrors "BLOCK ERRORS" block_errors "requests that failed",
    "in-flight" InFlight "IN FLIGHT" in_flight "requests in flight",
    "read-p50" ReadP50 "READ P50" read_p50 "50% of the reads so far took at most this (bucket bound)",
    "read-p99" ReadP99 "READ P99" read_p99 "99% of the reads so far took at most this",
    "write-p50" WriteP50 "WRITE P50" write_p50 "50% of the writes so far took at most this",
    "write-p99" WriteP99 "WRITE P99" write_p99 "99% of the writes so far took at most this",
    "load" Load "LOAD 1 5 15 MIN" load "tasks running, ready to run or in uninterruptible sleep, averaged over 1, 5 and 15 minutes",
    "runnable" Runnable "RUNNABLE" runnable "tasks running and ready to run",
    "blocked" Blocked "BLOCKED" blocked "tasks in uninterruptible sleep",
    "run-wait" RunWait "RUN WAIT" run_wait "tasks that waited for a CPU, on average over the last seconds, and their time so far",
    "zombies" Zombies "ZOMBIES" zombies "tasks that ended and were not waited for",
    "descriptors" Descriptors "FDS" descriptors "open file descriptors",
    "pids" PIDs "PIDS" pids "processes and threads",
    "pids-limit" PIDsLimit "PIDS LIMIT" pids_limit "the limit of processes and threads",
];

/// One argument of `--columns`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// This column instead of the default ones.
    Only(&'static Column),
    /// The default columns and this one.
    Also(&'static Column),
    /// The list of all columns.
    Help,
}

/// Parses one argument of `--columns`.
///
/// # Errors
///
/// If the column does not exist. The message offers similar names.
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

/// The default columns.
pub fn usual(ended: bool, all: bool) -> Vec<&'static Column> {
    let names: &[&str] = if ended { &ENDED } else { &DEFAULT };
    let state = (all && !ended).then_some("state");
    names.iter().copied().chain(state).filter_map(named).collect()
}

/// The columns that `choices` ask for, each once; after the `usual` ones if they all only add.
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

/// The column with this name in templates.
pub fn by_placeholder(name: &str) -> Option<&'static Column> {
    COLUMNS.iter().find(|column| column.placeholder == name)
}

/// All columns with their meaning, as a table.
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

    use tare_model::{Ended, Family, Finality, Histogram, Kind, Latency, Pressure};

    use super::*;
    use crate::output::{fixture, table::Options};

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
        let row = Row { container: &container, ended: None, now, cells: options.cells(true) };
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
        let shown = shown(&Row { container, ended, now, cells: options.cells(true) });
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

//! The documents say what the code does: limits, quoted measurements, options and links.

#![allow(clippy::expect_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use clap::CommandFactory as _;
use tare::Cli;
use tare_ebpf::event::{Ended, Event, Made, RING_BYTES};

/// Header of a record in a BPF ring buffer (`kernel/bpf/ringbuf.c`, `BPF_RINGBUF_HDR_SZ`).
const RECORD_HEADER_BYTES: usize = 8;

#[test]
fn the_limits_table_has_the_numbers_of_the_code() {
    let expected = BTreeMap::from([
        ("counter slots, for sockets and for block I/O each", grouped(default("slots"))),
        ("receipts", grouped(default("receipts"))),
        ("age of a receipt", default("receipt-ttl")),
        ("ring of kernel events", ring()),
        ("cgroups in one walk", number("MAX_CGROUPS")),
        ("levels of cgroups in one walk", number("cgroup/walk.rs MAX_DEPTH")),
        ("containers whose metadata is kept", number("identity/cache.rs MAX_CONTAINERS")),
        (
            "containers waiting for an answer of one runtime",
            number("identity/queue.rs MAX_PENDING"),
        ),
        ("a saved snapshot, unpacked", size("snapshot/file.rs MAX_BYTES")),
        ("a template", bytes("MAX_TEMPLATE_BYTES")),
        ("a cell that a template makes", bytes("MAX_CELL_BYTES")),
        ("sockets of a protocol in a network namespace", number("socket_states.rs SOCKETS_MAX")),
        (
            "descriptors of `--perf-events`: events × CPUs × containers",
            format!("{}, and half of the limit of open files", number("DESCRIPTORS_MAX")),
        ),
        ("connections", number("CONNECTIONS_MAX")),
        ("connections with the Docker API", number("DOCKER_CONNECTIONS_MAX")),
        (
            "events that Docker clients can look back on",
            number("docker/log.rs EVENTS_REMEMBERED_MAX"),
        ),
        (
            "events that clients of cAdvisor's API can look back on",
            number("cadvisor/events.rs EVENTS_REMEMBERED_MAX"),
        ),
        ("events that wait for one Docker client", number("docker/log.rs EVENTS_WAITING_MAX")),
        (
            "events that wait for one client of cAdvisor's API",
            number("cadvisor/events.rs EVENTS_WAITING_MAX"),
        ),
        (
            "processes in `docker top` and in the list of cAdvisor's API",
            number("processes/mod.rs PROCESSES_MAX"),
        ),
        ("websockets", format!("1 of {} connections", value("CONNECTIONS_SHARE"))),
        ("different subscriptions of websockets", number("live/mod.rs SUBSCRIPTIONS_MAX")),
        ("ended containers in a message of `/api/v1/live`", number("live/picture.rs ENDED_MAX")),
        ("event streams", number("LISTENERS_MAX")),
        ("events that wait for one reader", number("QUEUE_MAX")),
        ("head of a request", size("HEADER_BYTES_MAX")),
        ("headers of a request", number("HEADERS_MAX")),
        ("time for the head of a request", seconds("HEADER_TIMEOUT")),
        ("time in which a client takes nothing", seconds("WRITE_TIMEOUT")),
        ("time for a whole answer", seconds("ANSWER_TIMEOUT")),
        ("history", format!("{}, {}", default("history"), default("history-memory"))),
        ("scrapes of one sample that are kept for further clients", number("SCRAPES_MAX")),
        ("ended containers in `/metrics`", grouped(default("ended-metrics"))),
        ("queue of a sink", size("config/sink.rs QUEUE_BYTES")),
        ("receipts that wait for a sink", number("export/mod.rs RECEIPTS_MAX")),
        (
            "spool of a sink",
            format!("{}, {}", default("sink-spool-size"), default("sink-spool-age")),
        ),
        ("recording", format!("{}, {}", default("record-size"), default("record-age"))),
        ("samples from disk in `/api/v1/history`", number("RECORDED_SAMPLES_MAX")),
        ("clients that read the recording at a time", number("RECORDING_READERS_MAX")),
        ("samples that wait to be recorded", number("RECORD_QUEUE_MAX")),
    ]);
    let documented: BTreeMap<String, String> = table("docs/limits.md", "| what | limit |")
        .into_iter()
        .map(|row| (row[0].clone(), row[1].clone()))
        .collect();
    let expected: BTreeMap<String, String> =
        expected.into_iter().map(|(row, limit)| (row.to_owned(), limit)).collect();
    assert_eq!(documented, expected);
}

#[test]
fn other_documents_repeat_the_default_of_slots() {
    let slots = default("slots");
    assert!(read("README.md").contains(&format!(" {} slots by default", grouped(slots.clone()))));
    assert!(read("docs/cost.md").contains(&format!("With {slots} slots")));
}

#[test]
fn the_readme_quotes_the_measurements_of_the_benchmark_page() {
    let measured = read("docs/benchmarks.md");
    let measured: BTreeSet<&str> = measured.split([' ', '|', '\n']).collect();
    let rows = table("README.md", "| measured |");
    assert!(rows.len() > 3, "{rows:?}");
    for row in rows {
        for cell in &row[1..] {
            for quoted in cell.split(' ').filter(|word| word.starts_with(|c: char| c.is_numeric()))
            {
                assert!(measured.contains(quoted), "{quoted} of {row:?} was not measured");
            }
        }
    }
}

#[test]
fn the_documents_name_options_that_exist() {
    let mut command = Cli::command();
    command.build();
    let commands = command.get_subcommands().chain([&command]);
    let known: BTreeSet<&str> = commands
        .flat_map(clap::Command::get_arguments)
        .filter_map(clap::Arg::get_long)
        .chain(FOREIGN_OPTIONS)
        .collect();
    for document in documents() {
        let text = read(&document);
        for word in text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-') {
            let name = word.strip_prefix("--").unwrap_or_default();
            let is_option = name.starts_with(|c: char| c.is_ascii_lowercase());
            assert!(!is_option || known.contains(name), "{document}: there is no {word}");
        }
    }
}

#[test]
fn links_between_documents_lead_to_a_file_and_a_heading() {
    for document in documents() {
        let text = read(&document);
        let directory = root().join(&document);
        let directory = directory.parent().expect("a file is in a directory");
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.starts_with("http") {
                continue;
            }
            let (path, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = if path.is_empty() { root().join(&document) } else { directory.join(path) };
            assert!(file.exists(), "{document}: {target} does not exist");
            if !heading.is_empty() {
                let text = fs::read_to_string(&file).expect("a linked document");
                let mut headings = text.lines().filter(|line| line.starts_with('#')).map(anchor);
                assert!(headings.any(|found| found == heading), "{document}: no {target}");
            }
        }
    }
}

/// Options of other programs: cargo and xtask, Docker, curl, Helm, systemctl and systemd-cgtop.
const FOREIGN_OPTIONS: [&str; 36] = [
    "arch",
    "batch",
    "bless",
    "cap-add",
    "cap-drop",
    "cgroupns",
    "client",
    "containers",
    "create-namespace",
    "detach",
    "example",
    "input",
    "iterations",
    "load-everywhere",
    "name",
    "namespace",
    "network",
    "now",
    "only",
    "output",
    "pid",
    "pids-limit",
    "privileged",
    "publish",
    "quick",
    "read-only",
    "release",
    "rm",
    "runs",
    "seconds",
    "set",
    "sizes",
    "test",
    "tmpfs",
    "unix-socket",
    "volume",
];

/// The documents, as paths below the root of the project.
fn documents() -> Vec<String> {
    let entries = fs::read_dir(root().join("docs")).expect("docs");
    let files =
        entries.map(|entry| entry.expect("an entry")).filter(|entry| entry.path().is_file());
    let names = files.map(|entry| entry.file_name());
    let mut all: Vec<String> =
        names.map(|name| format!("docs/{}", name.to_string_lossy())).collect();
    all.extend(["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"].map(str::to_owned));
    all
}

/// The anchor of a heading, as forges make it.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The rows of all tables of a document whose head begins like this.
fn table(document: &str, head: &str) -> Vec<Vec<String>> {
    let text = read(document);
    let mut rows = Vec::new();
    let mut lines = text.lines();
    while lines.by_ref().any(|line| line.starts_with(head)) {
        for line in lines.by_ref().skip(1).take_while(|line| line.starts_with('|')) {
            let cells = line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned());
            rows.push(cells.collect());
        }
    }
    assert!(!rows.is_empty(), "{document} has no table `{head}`");
    rows
}

fn ring() -> String {
    let record = RECORD_HEADER_BYTES + size_of::<Event>();
    let made = RECORD_HEADER_BYTES + size_of::<Made>();
    let ended = RECORD_HEADER_BYTES + size_of::<Ended>();
    let events = RING_BYTES as usize / record;
    format!(
        "{} MiB: {} events; a new cgroup takes the room of {}, what a removed one had used that of \
         {} in each hierarchy",
        RING_BYTES >> 20,
        grouped(events.to_string()),
        made.div_ceil(record),
        ended.div_ceil(record)
    )
}

/// The default of an option.
fn default(option: &str) -> String {
    let mut command = Cli::command();
    command.build();
    let run = command.find_subcommand("run").expect("the command `run`");
    let mut options = run.get_arguments();
    let option = options.find(|it| it.get_long() == Some(option)).expect(option);
    option.get_default_values()[0].to_string_lossy().into_owned()
}

fn number(constant: &str) -> String {
    grouped(value(constant).to_string())
}

fn bytes(constant: &str) -> String {
    format!("{} bytes", number(constant))
}

fn seconds(constant: &str) -> String {
    format!("{} s", value(constant))
}

fn size(constant: &str) -> String {
    let bytes = value(constant);
    if bytes.is_multiple_of(1 << 20) {
        format!("{} MiB", bytes >> 20)
    } else {
        format!("{} KiB", bytes >> 10)
    }
}

/// Digits in groups of three.
fn grouped(digits: String) -> String {
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The value of a constant in the sources, most of which are private to their module. `FILE NAME`
/// looks only in files whose path ends like this.
fn value(constant: &str) -> u64 {
    let (file, name) = constant.split_once(' ').unwrap_or(("", constant));
    let start = format!("const {name}: ");
    let mut found = Vec::new();
    for path in sources(&root()) {
        if path.to_string_lossy().ends_with(file) {
            let text = fs::read_to_string(&path).expect("a source");
            let lines =
                text.lines().filter_map(|line| line.split_once(&start)?.1.split_once(" = "));
            found.extend(lines.map(|(_, value)| value.to_owned()));
        }
    }
    assert_eq!(found.len(), 1, "{constant} is defined as {found:?}");
    let text = found[0].trim_end_matches(';').replace('_', "");
    let text = text.trim_start_matches("Duration::fromsecs(").trim_end_matches(')');
    let parse = |text: &str| text.trim().parse::<u64>().expect(text);
    match text.split_once("<<") {
        Some((left, right)) => parse(left) << parse(right),
        None => text.split('*').map(parse).product(),
    }
}

/// The Rust sources below a directory, without those of tests and build tools.
fn sources(directory: &Path) -> Vec<PathBuf> {
    const OTHERS: [&str; 4] = ["target", "tests", "xtask", "examples"];
    let entries = fs::read_dir(directory).expect("a directory of sources");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let (directories, files): (Vec<_>, Vec<_>) = paths.partition(|path| path.is_dir());
    let rust = files.into_iter().filter(|path| path.extension().is_some_and(|it| it == "rs"));
    let own = directories.iter().filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        !name.starts_with('.') && !OTHERS.contains(&&*name)
    });
    rust.chain(own.flat_map(|directory| sources(directory))).collect()
}

fn read(document: &str) -> String {
    fs::read_to_string(root().join(document)).expect(document)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

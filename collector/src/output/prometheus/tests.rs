//! What holds for every scrape.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use prost::Message;
use tare_model::{
    Compose, Container, Histogram, Kind, Latency, Level, NamespaceId, NamespaceSockets, Pod,
    Report, Sockets, UdpSockets,
};

use super::*;
use crate::{
    exposition::{
        MetricKind,
        protobuf::{LabelPair, MetricMessage},
        write_label,
    },
    output::{
        fixture,
        prometheus::network_owner::{Candidate, network_owners},
    },
    telemetry::Telemetry,
};

pub(super) fn scrape(
    containers: Vec<Container>,
    options: &Options,
    exposition: Exposition,
) -> String {
    scrape_of(&fixture::report(containers), options, exposition)
}

fn scrape_of(report: &Report, options: &Options, exposition: Exposition) -> String {
    String::from_utf8(bytes_of(report, options, exposition)).unwrap()
}

fn bytes_of(report: &Report, options: &Options, exposition: Exposition) -> Vec<u8> {
    let mut out = Vec::new();
    let containers = report.containers.iter();
    let scrape = Scrape::new(report, containers, &Telemetry::default(), options, exposition);
    let chunks = Chunks::new(scrape.into());
    let length = chunks.length();
    chunks.write(&mut out).unwrap();
    assert_eq!(out.len(), length);
    out
}

fn lines<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let of = |line: &&str| line.starts_with(name) && line[name.len()..].starts_with(['{', ' ']);
    text.lines().filter(of).collect()
}

#[test]
fn metrics_are_sorted_and_their_names_unique_and_well_formed() {
    let names: Vec<_> = METRICS.iter().map(|(_, metric)| metric.name).collect();
    let open_metrics: HashSet<_> =
        names.iter().map(|name| name.strip_suffix("_total").unwrap_or(name)).collect();
    assert_eq!(open_metrics.len(), names.len(), "a name is there twice");
    assert!(names.is_sorted());
    // cAdvisor's names.
    let gauges = [
        "container_fs_inodes_total",
        "container_network_advance_tcp_stats_total",
        "container_network_tcp6_usage_total",
        "container_network_tcp_usage_total",
        "container_network_udp6_usage_total",
        "container_network_udp_usage_total",
    ];
    for (_, metric) in METRICS.iter() {
        let is_counter = metric.name.ends_with("_total") && !gauges.contains(&metric.name);
        assert_eq!(metric.kind == MetricKind::Counter, is_counter, "{}", metric.name);
        assert!(metric.help.ends_with('.') && !metric.help.contains(['\n', '\\', '"']));
    }
}

#[test]
fn a_long_scrape_is_written_in_chunks() {
    let rows = (0..300).map(|number| fixture::unknown(Kind::Container, &format!("{number:064}")));
    let report = fixture::report(rows.collect());
    let telemetry = Telemetry::default();
    let options = Options::default();
    let scrape = || {
        let containers = report.containers.iter();
        Chunks::new(
            Scrape::new(&report, containers, &telemetry, &options, Exposition::OpenMetrics).into(),
        )
    };
    let mut whole = Vec::new();
    scrape().write(&mut whole).unwrap();
    let (mut chunks, mut chunk, mut lengths) = (scrape(), Vec::new(), Vec::new());
    let mut rest = whole.as_slice();
    while chunks.next(&mut chunk) {
        rest = rest.strip_prefix(chunk.as_slice()).unwrap();
        assert_eq!(chunks.length(), rest.len());
        lengths.push(chunk.len());
        chunk.clear();
    }
    assert!(lengths.len() > 1 && lengths.iter().all(|length| *length <= Chunks::BYTES_MAX));
    assert!(rest.is_empty() && whole.ends_with(b"# EOF\n"));
}

#[test]
fn a_head_is_written_once_wherever_a_chunk_ends() {
    let report = fixture::report(vec![fixture::web()]);
    let telemetry = Telemetry::default();
    let chunks = || {
        let containers = report.containers.iter();
        let options = Options::default();
        let scrape = Scrape::new(&report, containers, &telemetry, &options, Exposition::Text);
        Chunks::new(scrape.into())
    };
    let mut whole = Vec::new();
    chunks().write(&mut whole).unwrap();
    for room in 1..whole.len() {
        let (mut chunks, mut chunk) = (chunks(), vec![0; Chunks::BYTES - room]);
        let mut found = Vec::new();
        let mut start = chunk.len();
        while chunks.next(&mut chunk) {
            found.extend_from_slice(&chunk[start..]);
            chunk.clear();
            start = 0;
        }
        assert!(found == whole, "the first chunk had room for {room} bytes");
    }
}

#[test]
fn an_unknown_value_is_not_exported() {
    let text = scrape(
        vec![fixture::unknown(Kind::Container, "3f4e")],
        &Options::default(),
        Exposition::Text,
    );
    let exported: Vec<_> = text.lines().filter(|line| line.starts_with("container_")).collect();
    assert_eq!(exported, ["container_last_seen{id=\"/3f4e\",image=\"\",name=\"\"} 0.0"]);
    assert!(!text.contains("container_cpu_usage_seconds_total"));
}

#[test]
fn cgroups_above_containers_have_only_the_metrics_of_cadvisor() {
    let mut report = fixture::report(vec![fixture::unknown(Kind::Container, "kubepods/pod1/3f4e")]);
    let mut pod = fixture::unknown(Kind::Other, "kubepods/pod1");
    pod.pod = Some(Pod { name: Some("web-0".to_owned()), ..Pod::default() });
    pod.cpu.usage_seconds = Some(2.5);
    report.parents = vec![pod];
    let options = Options { label_set: LabelSet::Kubelet, ..Options::default() };
    let text = scrape_of(&report, &options, Exposition::Text);
    let expected = "container_cpu_usage_seconds_total{container=\"\",id=\"/kubepods/pod1\",image=\"\",\
        name=\"\",namespace=\"\",pod=\"web-0\",cpu=\"total\"} 2.5";
    assert_eq!(lines(&text, "container_cpu_usage_seconds_total"), [expected]);
    assert_eq!(lines(&text, "tare_container_info").len(), 1, "{text}");
    assert_eq!(lines(&text, "tare_containers"), ["tare_containers 1"]);
}

#[test]
fn values_of_labels_are_escaped() {
    let mut row = fixture::unknown(Kind::Container, "a");
    row.name = Some("we\"b\\\n".to_owned());
    row.labels = BTreeMap::from([("com.example/x-y".to_owned(), "ü".to_owned())]);
    let text = scrape(vec![row], &Options::default(), Exposition::Text);
    let expected = r#"container_last_seen{id="/a",image="",name="we\"b\\\n",container_label_com_example_x_y="ü"} 0.0"#;
    assert_eq!(lines(&text, "container_last_seen"), [expected]);
}

#[test]
fn the_devices_of_a_shared_namespace_are_counted_once() {
    let member = |id: &str, namespace: u64| {
        let mut row = fixture::web();
        (row.id, row.cgroup) = (id.to_owned(), format!("/{id}"));
        row.network.namespace = Some(NamespaceId(namespace));
        row.network.namespace_sockets = Some(NamespaceSockets {
            read_at: Timestamp::UNIX_EPOCH,
            tcp: None,
            tcp6: None,
            udp: Some(UdpSockets::default()),
            udp6: None,
            tcp_counters: BTreeMap::new(),
        });
        row.network.sockets = Some(Sockets {
            level: Level::Payload,
            since: None,
            rx_bytes: 7,
            tx_bytes: 0,
            tcp: None,
            udp: None,
            rx_packets: None,
            tx_packets: None,
            loopback: None,
        });
        row
    };
    let mut sandbox = member("c", 1);
    sandbox.sandbox = Some(true);
    let mut host = member("e", 3);
    host.network.host_namespace = Some(true);
    let [mut joined, mut owner] = [member("f", 4), member("g", 4)];
    (joined.cgroup_id, owner.cgroup_id) = (Some(9), Some(5));
    let rows = vec![member("a", 1), member("b", 1), sandbox, member("d", 2), host, joined, owner];
    let candidates: Vec<_> = rows.iter().map(Candidate::new).collect();
    assert_eq!(network_owners(&candidates), [false, false, true, true, false, false, true]);
    let text = scrape(rows, &Options::default(), Exposition::Text);
    let found = lines(&text, "container_network_receive_bytes_total");
    let ids: Vec<_> = found.iter().filter(|line| line.contains("eth0")).collect();
    assert_eq!(ids.len(), 3, "{found:?}");
    let found = lines(&text, "container_network_udp_usage_total");
    assert_eq!(found.iter().filter(|line| line.contains("\"listen\"")).count(), 3, "{found:?}");
    let own = lines(&text, "tare_container_socket_receive_bytes_total");
    assert_eq!(own.len(), 7, "each has its own: {own:?}");
}

#[test]
fn an_unknown_namespace_has_no_owner() {
    assert_eq!(network_owners(&[Candidate::new(&fixture::web())]), [false]);
}

#[test]
fn open_metrics_has_its_own_family_names_times_and_end() {
    let options = Options { timestamps: true, ..Options::default() };
    let text = scrape(vec![fixture::web()], &options, Exposition::OpenMetrics);
    assert!(text.ends_with("# EOF\n"));
    assert!(text.contains("# TYPE tare_samples counter\ntare_samples_total 0\n"));
    assert!(text.contains("# TYPE machine_cpu_cores gauge\nmachine_cpu_cores{boot_id=\""));
    assert_eq!(lines(&text, "container_memory_usage_bytes").len(), 1);
    assert!(lines(&text, "container_memory_usage_bytes")[0].ends_with(" 9999999 0.0"));
    let plain = scrape(vec![fixture::web()], &options, Exposition::Text);
    assert!(lines(&plain, "container_memory_usage_bytes")[0].ends_with(" 9999999 0"));
    assert!(plain.contains("# TYPE tare_samples_total counter\n"));
}

#[test]
fn a_histogram_is_cumulative_and_absent_when_empty() {
    let mut row = fixture::unknown(Kind::Container, "a");
    let empty = Histogram { buckets: vec![0, 0, 0], count: 0, sum_seconds: 0.0 };
    let read = Histogram { buckets: vec![1, 2, 3], count: 6, sum_seconds: 1.5 };
    row.block.latency =
        Some(Latency { le_seconds: vec![2_f64.powi(-18), 1.0], read, write: empty });
    let options = Options { histograms: true, ..Options::default() };
    let text = scrape(vec![row.clone()], &options, Exposition::Text);
    let found: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("tare_container_block_latency_seconds_"))
        .collect();
    let base = "id=\"/a\",image=\"\",name=\"\",operation=\"read\"";
    assert_eq!(
        found,
        [
            format!("bucket{{{base},le=\"3.814697265625e-6\"}} 1"),
            format!("bucket{{{base},le=\"1.0\"}} 3"),
            format!("bucket{{{base},le=\"+Inf\"}} 6"),
            format!("sum{{{base}}} 1.5"),
            format!("count{{{base}}} 6"),
        ]
    );
    let without = scrape(vec![row], &Options::default(), Exposition::Text);
    assert!(!without.contains("latency"));
}

#[derive(Clone, PartialEq, Message)]
struct MetricFamily {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    help: String,
    #[prost(int32, tag = "3")]
    kind: i32,
    #[prost(message, repeated, tag = "4")]
    metrics: Vec<MetricMessage>,
}

impl MetricFamily {
    /// It as text.
    fn text(&self) -> String {
        let Self { name, help, kind, .. } = self;
        let kind = ["counter", "gauge", "summary", "untyped", "histogram"][*kind as usize];
        let mut text = format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for metric in &self.metrics {
            let line = |suffix: &str, bound: Option<f64>, number: f64| {
                let bound = bound.map(|bound| match bound {
                    f64::INFINITY => LabelPair::new("le", "+Inf"),
                    bound => LabelPair::new("le", &format!("{bound:?}")),
                });
                let (mut labels, mut first) = (Vec::new(), true);
                for LabelPair { name, value } in metric.labels.iter().chain(&bound) {
                    write_label(&mut labels, &mut first, name, value);
                }
                let labels = String::from_utf8(labels).unwrap();
                let labels = if first { labels } else { format!("{{{labels}}}") };
                format!("{name}{suffix}{labels} {number:?}\n")
            };
            let number =
                metric.counter.as_ref().or(metric.gauge.as_ref()).or(metric.untyped.as_ref());
            if let Some(number) = number {
                text += &line("", None, number.value.unwrap());
            }
            if let Some(histogram) = &metric.histogram {
                for bucket in &histogram.buckets {
                    let count = bucket.cumulative_count.unwrap() as f64;
                    text += &line("_bucket", bucket.upper_bound, count);
                }
                text += &line("_sum", None, histogram.sum.unwrap());
                text += &line("_count", None, histogram.count.unwrap() as f64);
            }
        }
        text
    }
}

/// The text with each number written in one way.
fn plain(text: &str) -> String {
    let number = |line: &str| {
        let (what, number) = line.rsplit_once(' ')?;
        Some(format!("{what} {:?}\n", number.parse::<f64>().ok()?))
    };
    let plain = |line| number(line).filter(|_| !line.starts_with('#'));
    text.lines().map(|line| plain(line).unwrap_or_else(|| format!("{line}\n"))).collect()
}

#[test]
fn protobuf_holds_what_text_holds() {
    let mut row = fixture::web();
    let read = Histogram { buckets: vec![1, 2, 3], count: 6, sum_seconds: 1.5 };
    let le_seconds = vec![0.25, 0.5];
    row.block.latency = Some(Latency { le_seconds, write: read.clone(), read });
    row.image = Some("a\"b\\c".to_owned());
    let other = fixture::unknown(Kind::Container, &"b".repeat(200));
    let mut report = fixture::report(vec![row, other]);
    report.parents = vec![fixture::unknown(Kind::Other, "pod")];
    let options = Options { histograms: true, ..Options::default() };
    let bytes = bytes_of(&report, &options, Exposition::Protobuf);
    let (mut rest, mut text) = (&bytes[..], String::new());
    while !rest.is_empty() {
        text += &MetricFamily::decode_length_delimited(&mut rest).unwrap().text();
    }
    assert!(text.contains("container_memory_usage_bytes{"));
    assert_eq!(text, plain(&scrape_of(&report, &options, Exposition::Text)));

    let stamped = Options { timestamps: true, ..Options::default() };
    let bytes = bytes_of(&report, &stamped, Exposition::Protobuf);
    let mut families = Vec::new();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        families.push(MetricFamily::decode_length_delimited(&mut rest).unwrap());
    }
    let seen = families.iter().find(|metric| metric.name == "container_last_seen").unwrap();
    assert_eq!(seen.metrics[0].timestamp_ms, Some(0));
}

#[test]
fn the_labels_of_the_kubelet() {
    let mut row = fixture::web();
    row.pod = Some(Pod {
        name: Some("shop-1".to_owned()),
        namespace: Some("prod".to_owned()),
        container: Some("web".to_owned()),
        ..Pod::default()
    });
    let options = Options { label_set: LabelSet::Kubelet, ..Options::default() };
    let text = scrape(vec![row], &options, Exposition::Text);
    let expected = format!(
        "container_memory_usage_bytes{{container=\"web\",id=\"/{}\",image=\"\",name=\"web\",\
         namespace=\"prod\",pod=\"shop-1\"}} 9999999",
        fixture::ID
    );
    assert_eq!(lines(&text, "container_memory_usage_bytes"), [expected]);
}

#[test]
fn docker_compose_is_labelled_as_by_cadvisor() {
    let mut row = fixture::unknown(Kind::Container, "a");
    row.compose = Some(Compose { project: "shop".to_owned(), service: Some("web".to_owned()) });
    let name = "com.docker.compose.project".to_owned();
    row.labels = BTreeMap::from([(name, "shop".to_owned())]);
    let text = scrape(vec![row], &Options::default(), Exposition::Text);
    let expected = "container_last_seen{id=\"/a\",image=\"\",name=\"\",\
                    container_label_com_docker_compose_project=\"shop\",\
                    container_label_com_docker_compose_service=\"web\"} 0.0";
    assert_eq!(lines(&text, "container_last_seen"), [expected]);
}

fn patterns(text: &str) -> Vec<MetricPattern> {
    text.split(',').map(|one| one.parse().unwrap()).collect()
}

fn names_of(selection: Selection) -> Vec<&'static str> {
    let all = METRICS.iter().enumerate();
    let selected = all.filter(|(position, _)| selection.has(*position));
    selected.map(|(_, (_, metric))| metric.name).collect()
}

#[test]
fn metrics_are_selected_by_group_or_by_name() {
    let all = || Selection::default();
    assert_eq!(names_of(all()).len(), METRICS.len());
    let cpu = names_of(all().only(&patterns("cpu")));
    assert!(cpu.contains(&"container_cpu_usage_seconds_total"), "{cpu:?}");
    assert!(!cpu.iter().any(|name| name.contains("memory")), "{cpu:?}");
    let rest = names_of(all().without(&patterns("cpu,container_memory_*")));
    assert!(!rest.iter().any(|name| name.starts_with("container_memory_")), "{rest:?}");
    assert!(rest.contains(&"container_oom_events_total"), "{rest:?}");
    assert!(!rest.iter().any(|name| cpu.contains(name)), "{rest:?}");
    // What is disabled cannot be collected.
    assert!(names_of(all().without(&patterns("cpu")).only(&patterns("cpu"))).is_empty());
    let groups: Vec<_> = groups().map(|group| group.name).collect();
    assert_eq!(names_of(all().without(&patterns(&groups.join(",")))), Vec::<&str>::new());
}

#[test]
fn a_pattern_that_names_no_metric_is_refused_with_the_nearest_group() {
    let error = |text: &str| text.parse::<MetricPattern>().unwrap_err();
    assert!(error("memroy").ends_with("did you mean `memory`?"), "{}", error("memroy"));
    assert!(error("container_referenced_bytes").contains("block, cpu,"));
    assert!(error("").contains("no metric ``") && error("containers_*").contains("no metric"));
}

#[test]
fn a_scrape_has_the_selected_metrics_only_and_ends_even_without_any() {
    let report = fixture::report(vec![Container::unknown(Kind::Container, "a".to_owned())]);
    let options = |names: &str| Options {
        selection: Selection::default().only(&patterns(names)),
        ..Options::default()
    };
    let text = scrape_of(&report, &options("tare_containers"), Exposition::OpenMetrics);
    let expected = "# HELP tare_containers Running containers; with --scope, services or cgroups.\n\
                    # TYPE tare_containers gauge\n\
                    tare_containers 1\n# EOF\n";
    assert_eq!(text, expected);
    let selection = Selection::default().without(&patterns("*"));
    let nothing = Options { selection, ..Options::default() };
    assert_eq!(scrape_of(&report, &nothing, Exposition::OpenMetrics), "# EOF\n");
    assert_eq!(scrape_of(&report, &nothing, Exposition::Text), "");
}

/// All files below a directory.
fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let (directories, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    files.into_iter().chain(directories.iter().flat_map(|path| files_below(path))).collect()
}

#[test]
fn dashboards_and_rules_name_metrics_that_exist() {
    const LABELS: [&str; 1] = ["container_id"];
    let mut known: HashSet<String> = HashSet::new();
    for (_, metric) in METRICS.iter() {
        known.insert(metric.name.to_owned());
        if metric.kind == MetricKind::Histogram {
            let parts = ["_bucket", "_sum", "_count"];
            known.extend(parts.map(|part| format!("{}{part}", metric.name)));
        }
    }
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    let mut named = HashSet::new();
    for file in ["grafana", "prometheus"].iter().flat_map(|name| files_below(&deploy.join(name))) {
        let text = fs::read_to_string(&file).unwrap();
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        // The names of recording rules have colons.
        for word in text.split(|c| !is_part(c)).filter(|word| !word.contains(':')) {
            let starts = ["container_", "tare_", "machine_", "process_"];
            if starts.iter().any(|start| word.starts_with(start)) && !LABELS.contains(&word) {
                assert!(known.contains(word), "{}: there is no {word}", file.display());
                named.insert(word.to_owned());
            }
        }
    }
    assert!(named.len() > 50, "{named:?}");
}

//! The metrics that others expect, held against those that there are, and the tables of
//! `docs/cadvisor.md`, which are made of both.

use std::{collections::BTreeMap, env, fs, path::PathBuf};

use tare_model::{
    Container, Count, Device, HugePages, Interface, Kind, NamespaceId, Pressure, RootFilesystem,
    WritableLayer,
};

use crate::{
    exposition::{Exposition, Metric, MetricGroup, Origin},
    output::{
        fixture,
        prometheus::{LabelSet, METRICS, Options, groups, tests::scrape},
    },
};

const DOCUMENT: &str = "docs/cadvisor.md";
const CADVISOR: &str = "cadvisor-0.60.5.txt";
const CRI: &str = "cri-1.37.txt";

#[test]
fn every_name_of_cadvisor_is_there_or_has_a_reason() {
    let (names, absent) = (names(CADVISOR), absent());
    assert_eq!(names.len(), 100);
    for name in &names {
        let is_there = METRICS.iter().any(|(_, metric)| metric.name == name);
        assert!(is_there != absent.contains_key(name), "{name}: there: {is_there}");
    }
    for name in absent.keys() {
        assert!(names.contains(name), "{name} is none of cAdvisor's");
    }
}

#[test]
fn the_document_has_every_name() {
    for (mark, table) in [
        ("groups", groups_table()),
        ("cadvisor", names_table(&names(CADVISOR))),
        ("cri", names_table(&names(CRI))),
    ] {
        ensure_documented(mark, &table);
    }
}

#[test]
fn an_exception_is_a_metric_of_its_group() {
    for MetricGroup { name, origin, metrics } in groups() {
        let Origin { source, kernel, cost, exceptions } = origin;
        assert!([source, kernel, cost].iter().all(|text| !text.is_empty()), "{name}");
        for (exception, ..) in *exceptions {
            assert!(metrics.iter().any(|metric| metric.name == *exception), "{name}: {exception}");
        }
    }
}

/// KEP-2371: the kubelet takes these from the runtime once it does without cAdvisor.
#[test]
fn a_pod_has_every_name_that_kubernetes_asks_of_a_runtime() {
    let (names, absent) = (names(CRI), absent());
    assert_eq!(names.len(), 56);
    for runtime in ["docker", "containerd", "cri-o", "podman"] {
        for label_set in [LabelSet::Kubelet, LabelSet::Standalone] {
            let options = Options { label_set, ..Options::default() };
            let text = scrape(vec![known(runtime)], &options, Exposition::Text);
            let has =
                |name: &String| text.lines().any(|line| line.starts_with(&format!("{name}{{")));
            let missing: Vec<_> = names.iter().filter(|name| !has(name)).collect();
            let expected: Vec<_> = names.iter().filter(|name| absent.contains_key(*name)).collect();
            assert_eq!(missing, expected, "{runtime}");
        }
    }
}

/// A container of which everything that Kubernetes asks is known.
fn known(runtime: &'static str) -> Container {
    let mut row = fixture::unknown(Kind::Container, fixture::ID);
    row.runtime = Some(runtime.into());
    row.started_at = Some(jiff::Timestamp::UNIX_EPOCH);
    let pressure =
        Pressure { some_seconds: Some(1.0), full_seconds: Some(0.5), ..Pressure::default() };
    let cpu = &mut row.cpu;
    (cpu.usage_seconds, cpu.user_seconds, cpu.system_seconds) = (Some(3.0), Some(2.0), Some(1.0));
    (cpu.periods, cpu.throttled_periods, cpu.throttled_seconds) = (Some(9), Some(2), Some(0.2));
    (cpu.settings.period_seconds, cpu.settings.quota_seconds) = (Some(0.1), Some(0.05));
    (cpu.settings.weight, cpu.pressure) = (Some(100), Some(pressure));
    let memory = &mut row.memory;
    for bytes in [
        &mut memory.usage_bytes,
        &mut memory.working_set_bytes,
        &mut memory.rss_bytes,
        &mut memory.cache_bytes,
        &mut memory.swap_bytes,
        &mut memory.peak_bytes,
        &mut memory.limits.max_bytes,
        &mut memory.limits.low_bytes,
        &mut memory.limits.swap_max_bytes,
        &mut memory.oom_kills,
        &mut memory.events.max,
    ] {
        *bytes = Some(4096);
    }
    memory.pressure = Some(pressure);
    memory.stat = [("kernel", 1), ("file_mapped", 2), ("pgfault", 3), ("pgmajfault", 4)]
        .into_iter()
        .collect();
    let pages = HugePages { usage_bytes: Some(0), peak_bytes: Some(0), ..HugePages::default() };
    memory.huge_pages.insert("2MB".to_owned(), pages);
    row.network.namespace = Some(NamespaceId(7));
    let devices = BTreeMap::from([("eth0".to_owned(), Interface::default())]);
    row.network.interfaces = Some(devices);
    let numbers = Some(1);
    let count = Count {
        read_bytes: numbers,
        write_bytes: numbers,
        read_ops: numbers,
        write_ops: numbers,
        ..Count::default()
    };
    let disk = Device { name: Some("vda".to_owned()), stacked: false, count };
    row.block.devices.insert("254:0".to_owned(), disk);
    row.block.pressure = Some(pressure);
    let pids = &mut row.pids;
    (pids.current, pids.processes, pids.limit) = (Some(3), Some(2), Some(100));
    pids.open_files_limit = Some(1024);
    row.root_filesystem = Some(RootFilesystem::default());
    row.writable_layer = Some(WritableLayer {
        read_at: jiff::Timestamp::UNIX_EPOCH,
        used_bytes: 1,
        inodes_used: None,
    });
    (row.tasks.file_descriptors, row.tasks.sockets) = (Some(5), Some(1));
    row
}

/// The lines of a list of names, without its head.
fn names(list: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join("tests/fixtures/names").join(list)).unwrap();
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

/// Why names are absent.
fn absent() -> BTreeMap<String, String> {
    let split = |line: String| {
        let (name, reason) = line.split_once(": ").unwrap();
        (name.to_owned(), reason.to_owned())
    };
    names("absent.txt").into_iter().map(split).collect()
}

fn groups_table() -> String {
    let mut table =
        "| group | source | kernel | read how often, at what cost |\n|---|---|---|---|\n"
            .to_owned();
    for MetricGroup { name, origin, .. } in groups() {
        let Origin { source, kernel, cost, .. } = origin;
        table += &format!("| `{name}` | {source} | {kernel} | {cost} |\n");
    }
    table
}

fn names_table(names: &[String]) -> String {
    let absent = absent();
    let mut table = "| name | meaning, or why it is absent | group | source | kernel |\n|---|---|---|---|---|\n".to_owned();
    for name in names {
        let found = groups().find_map(|group| {
            let metric = group.metrics.iter().find(|metric| metric.name == name)?;
            Some((group, metric))
        });
        let row = match found {
            Some((group, metric)) => row_of(group, metric),
            None => format!("**absent**: {} | – | – | –", absent[name]),
        };
        table += &format!("| `{name}` | {row} |\n");
    }
    table
}

/// What a row says after the name.
fn row_of(group: &MetricGroup, metric: &Metric) -> String {
    let MetricGroup { name, origin, .. } = group;
    let exception = origin.exceptions.iter().find(|(name, ..)| *name == metric.name);
    let (source, kernel) =
        exception.map_or(("as the group", origin.kernel), |(_, source, kernel)| (*source, *kernel));
    format!("{} | `{name}` | {source} | {kernel}", metric.help)
}

/// Compares a table with the document, between two marks; `TARE_UPDATE_GOLDEN=1` writes it.
fn ensure_documented(mark: &str, table: &str) {
    let path = root().join(DOCUMENT);
    let text = fs::read_to_string(&path).unwrap();
    let (start, end) = (format!("<!-- {mark} -->\n"), format!("<!-- end of {mark} -->"));
    let (before, rest) = text.split_once(&start).unwrap();
    let (documented, after) = rest.split_once(&end).unwrap();
    if env::var_os("TARE_UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        fs::write(&path, format!("{before}{start}{table}{end}{after}")).unwrap();
        return;
    }
    for (documented, expected) in documented.lines().zip(table.lines()) {
        assert_eq!(documented, expected, "{DOCUMENT}; TARE_UPDATE_GOLDEN=1 writes it");
    }
    assert_eq!(documented.len(), table.len(), "{DOCUMENT}; TARE_UPDATE_GOLDEN=1 writes it");
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

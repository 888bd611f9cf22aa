use std::fs;

use proptest::prelude::*;

use super::*;
use crate::cgroup::find_hierarchies;

fn write(root: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{text}\n")).unwrap();
    }
}

fn files(root: &Path) -> SettingsFiles {
    let hierarchies = find_hierarchies(Path::new("/proc"), Some(root)).unwrap();
    SettingsFiles::open(&hierarchies, "/pod/abc").unwrap().unwrap()
}

fn read(root: &Path) -> Settings {
    let mut settings = Arc::default();
    files(root).refresh(&mut Vec::new(), &mut settings).unwrap();
    Settings::clone(&settings)
}

#[test]
fn v2_is_read_whole() {
    let tree = tempfile::tempdir().unwrap();
    let all = [
        ("cgroup.controllers", "cpu memory"),
        ("pod/cpu.max", "20000 100000"),
        ("pod/memory.max", "1000"),
        ("pod/abc/cpu.max", "50000 200000"),
        ("pod/abc/cpu.max.burst", "7"),
        ("pod/abc/cpu.weight", "39"),
        ("pod/abc/cpuset.cpus", ""),
        ("pod/abc/cpuset.cpus.effective", "0-3,8"),
        ("pod/abc/cpuset.mems", "0"),
        ("pod/abc/cpuset.mems.effective", "0-1"),
        ("pod/abc/memory.max", "max"),
        ("pod/abc/memory.high", "900"),
        ("pod/abc/memory.low", "8"),
        ("pod/abc/memory.min", "0"),
        ("pod/abc/memory.swap.max", "0"),
        ("pod/abc/memory.swap.high", "max"),
        ("pod/abc/memory.swap.peak", "5"),
        ("pod/abc/pids.max", "50"),
        ("pod/abc/pids.peak", "12"),
        ("pod/abc/pids.events", "max 2"),
        ("pod/abc/cgroup.stat", "nr_descendants 3\nnr_dying_descendants 1"),
    ];
    write(tree.path(), &all);
    let expected = Settings {
        cpu: CpuSettings {
            quota_microseconds: Some(50_000),
            period_microseconds: Some(200_000),
            burst_microseconds: Some(7),
            tightest: Some((20_000, 100_000)),
            weight: Some(39),
            shares: None,
            cpus: String::new(),
            effective_cpus: "0-3,8".to_owned(),
            mems: "0".to_owned(),
            effective_mems: "0-1".to_owned(),
            memory_migrate: None,
        },
        memory: MemorySettings {
            tightest_max_bytes: Some(1000),
            high_bytes: Some(900),
            low_bytes: Some(8),
            min_bytes: Some(0),
            swap_max_bytes: Some(0),
            swap_peak_bytes: Some(5),
            ..MemorySettings::default()
        },
        pids_limit: Some(50),
        pids_peak: Some(12),
        pids_limit_hits: Some(2),
        descendants: Some(3),
        dying_descendants: Some(1),
        ..Settings::default()
    };
    assert_eq!(read(tree.path()), expected);
}

#[test]
fn v1_is_read_whole() {
    let tree = tempfile::tempdir().unwrap();
    let none = "9223372036854771712";
    let all = [
        ("cpu/pod/cpu.cfs_quota_us", "-1"),
        ("cpu/pod/cpu.cfs_period_us", "100000"),
        ("cpu/pod/abc/cpu.cfs_quota_us", "150000"),
        ("cpu/pod/abc/cpu.cfs_period_us", "100000"),
        ("cpu/pod/abc/cpu.cfs_burst_us", "0"),
        ("cpu/pod/abc/cpu.shares", "512"),
        ("cpuacct/pod/abc/cpuacct.usage_percpu", "22437763 832965 "),
        ("cpuset/pod/abc/cpuset.cpus", "0-1"),
        ("cpuset/pod/abc/cpuset.effective_cpus", "0"),
        ("cpuset/pod/abc/cpuset.memory_migrate", "1"),
        ("memory/pod/abc/memory.limit_in_bytes", "4096"),
        ("memory/pod/abc/memory.soft_limit_in_bytes", none),
        ("memory/pod/abc/memory.memsw.limit_in_bytes", none),
        ("memory/pod/abc/memory.memsw.max_usage_in_bytes", "77"),
        ("memory/pod/abc/memory.memsw.failcnt", "6"),
        ("pids/pod/abc/pids.max", "max"),
    ];
    write(tree.path(), &all);
    let expected = Settings {
        cpu: CpuSettings {
            quota_microseconds: Some(150_000),
            period_microseconds: Some(100_000),
            burst_microseconds: Some(0),
            tightest: Some((150_000, 100_000)),
            shares: Some(512),
            cpus: "0-1".to_owned(),
            effective_cpus: "0".to_owned(),
            memory_migrate: Some(true),
            ..CpuSettings::default()
        },
        per_cpu_nanoseconds: vec![22_437_763, 832_965],
        memory: MemorySettings {
            max_bytes: Some(4096),
            memory_and_swap_peak_bytes: Some(77),
            memory_and_swap_limit_hits: Some(6),
            ..MemorySettings::default()
        },
        ..Settings::default()
    };
    assert_eq!(read(tree.path()), expected);
}

#[test]
fn a_removed_cgroup_keeps_what_was_read() {
    let tree = tempfile::tempdir().unwrap();
    write(tree.path(), &[("cgroup.controllers", ""), ("pod/abc/pids.max", "9")]);
    let mut files = files(tree.path());
    let (mut buffer, mut settings) = (Vec::new(), Arc::default());
    files.refresh(&mut buffer, &mut settings).unwrap();
    fs::remove_dir_all(tree.path().join("pod")).unwrap();
    let error = files.refresh(&mut buffer, &mut settings).unwrap_err();
    assert!(matches!(error, ReadError::Vanished));
    assert_eq!(settings.pids_limit, Some(9));
}

#[test]
fn one_file_that_cannot_be_read_costs_its_own_number_only() {
    let tree = tempfile::tempdir().unwrap();
    write(tree.path(), &[("cgroup.controllers", ""), ("pod/abc/pids.max", "9")]);
    fs::create_dir(tree.path().join("pod/abc/cpu.weight")).unwrap();
    let mut files = files(tree.path());
    let mut settings = Arc::default();
    let error = files.refresh(&mut Vec::new(), &mut settings).unwrap_err();
    assert!(error.to_string().ends_with("/pod/abc/cpu.weight"), "{error}");
    assert_eq!(settings.pids_limit, Some(9));
}

#[test]
fn the_smaller_share_of_a_cpu_is_tighter() {
    let half = (50_000, 100_000);
    assert_eq!(tighter(None, half), Some(half));
    assert_eq!(tighter(Some(half), (90_000, 100_000)), Some(half));
    assert_eq!(tighter(Some(half), (10_000, 100_000)), Some((10_000, 100_000)));
    assert_eq!(tighter(Some(half), (10_000, 0)), Some(half));
    assert_eq!(tighter(None, (10_000, 0)), None);
    assert_eq!(tighter(Some((u64::MAX, 1)), (u64::MAX, 2)), Some((u64::MAX, 2)));
}

proptest! {
    #[test]
    fn any_bytes_are_taken(text: Vec<u8>, one: (u64, u64), other: (u64, u64)) {
        parse_cpu_max(&text);
        tighter(Some(one), other);
    }

    #[test]
    fn every_quota_is_read_back(quota: u64, period: u64) {
        let text = format!("{quota} {period}\n");
        prop_assert_eq!(parse_cpu_max(text.as_bytes()), (Some(quota), Some(period)));
    }
}

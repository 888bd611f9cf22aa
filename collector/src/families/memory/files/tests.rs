use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use tare_parsers::{memory::MemoryEvents, stat_kinds::stat_kind, text::named_numbers};

use super::*;
use crate::cgroup::{find_hierarchies, walk};

const V1_STAT: &str = "cache 9342976\nrss 7602176\nrss_huge 0\nshmem 9084928\nswap 0\n\
    pgfault 40239\ninactive_file 8192\nactive_file 249856\nunevictable 15155200\n\
    hierarchical_memory_limit 9223372036854771712\n\
    hierarchical_memsw_limit 9223372036854771712\n\
    total_cache 861159424\ntotal_rss 13664256\ntotal_swap 4096\n\
    total_inactive_file 418217984\ntotal_active_file 433856512\n";
const V2_STAT: &str = "anon 1765376\nfile 5947392\nkernel 1028096\nkernel_stack 65536\n\
    shmem 0\ninactive_anon 1671168\nactive_anon 20480\ninactive_file 4153344\n\
    active_file 1794048\npgfault 3513\n";

fn refresh(
    files: &mut MemoryFiles,
    whole: bool,
    memory_stat_interval: Duration,
    now: Instant,
    usage: &mut MemoryUsage,
) -> Result<(), ReadError> {
    let mut buffer = Vec::new();
    let mut context = ReadContext { memory_stat_interval, ..ReadContext::new(now, &mut buffer) };
    context.due.memory = whole;
    files.read(&mut context, usage)
}

fn read(root: &str, files: &[(&str, &str)]) -> (MemoryUsage, tempfile::TempDir) {
    let tree = tempfile::tempdir().unwrap();
    let directory = tree.path().join(root).join("docker/abc");
    fs::create_dir_all(&directory).unwrap();
    if root.is_empty() {
        fs::write(tree.path().join("cgroup.controllers"), "memory").unwrap();
    }
    for (name, content) in files {
        fs::write(directory.join(name), content).unwrap();
    }
    let hierarchies = find_hierarchies(Path::new("/proc"), Some(tree.path())).unwrap();
    let mut files = MemoryFiles::open(&hierarchies, "/docker/abc").unwrap().unwrap();
    let mut usage = MemoryUsage::default();
    refresh(&mut files, true, Duration::ZERO, Instant::now(), &mut usage).unwrap();
    assert!(MemoryFiles::open(&hierarchies, "/docker/gone").unwrap().is_none());
    (usage, tree)
}

#[test]
fn v1_is_read_whole() {
    let files = [
        ("memory.usage_in_bytes", "874614784\n"),
        ("memory.failcnt", "9\n"),
        ("memory.max_usage_in_bytes", "900000000\n"),
        ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"),
        ("memory.stat", V1_STAT),
    ];
    let (usage, _tree) = read("memory", &files);
    assert_eq!(usage.usage_bytes, Some(874_614_784));
    assert_eq!(usage.hierarchical_limit_bytes(), None);
    assert_eq!(usage.swap_bytes, Some(4096));
    assert_eq!(usage.peak_bytes, Some(900_000_000));
    let events = MemoryEvents {
        max: Some(9),
        oom_kill: Some(2),
        under_oom: Some(false),
        ..MemoryEvents::default()
    };
    assert_eq!(usage.events, events);
    assert_eq!(usage.inactive_file_bytes(), Some(418_217_984));
    assert_eq!(usage.rss_bytes(), Some(13_664_256));
    assert_eq!(usage.cache_bytes(), Some(861_159_424));
}

#[test]
fn v2_is_read_whole() {
    let files = [
        ("memory.current", "8912896\n"),
        ("memory.swap.current", "8192\n"),
        ("memory.peak", "9000000\n"),
        ("memory.events", "low 0\nhigh 0\nmax 5\noom 1\noom_kill 3\noom_group_kill 0\n"),
        ("memory.events.local", "low 0\nhigh 0\nmax 4\noom 1\noom_kill 2\n"),
        ("memory.stat", V2_STAT),
    ];
    let (usage, _tree) = read("", &files);
    assert_eq!(usage.usage_bytes, Some(8_912_896));
    assert_eq!(usage.swap_bytes, Some(8192));
    assert_eq!(usage.peak_bytes, Some(9_000_000));
    let events = MemoryEvents {
        low: Some(0),
        high: Some(0),
        max: Some(5),
        oom: Some(1),
        oom_kill: Some(3),
        oom_group_kill: Some(0),
        under_oom: None,
    };
    assert_eq!(usage.events, events);
    let local = MemoryEvents { max: Some(4), oom_kill: Some(2), ..events };
    assert_eq!(usage.events_local, MemoryEvents { oom_group_kill: None, ..local });
    assert_eq!(usage.inactive_file_bytes(), Some(4_153_344));
    assert_eq!(usage.rss_bytes(), Some(1_765_376));
    assert_eq!(usage.cache_bytes(), Some(5_947_392));
    assert_eq!(usage.stat.len(), 10);
}

#[test]
fn what_an_old_kernel_lacks_is_unknown() {
    let files = [("memory.current", "1\n"), ("memory.stat", V2_STAT)];
    let (usage, _tree) = read("", &files);
    assert_eq!((usage.swap_bytes, usage.peak_bytes), (None, None));
    assert_eq!(usage.events, MemoryEvents::default());
}

#[test]
fn no_limit_is_recognised_for_every_page_size() {
    let mut usage = MemoryUsage::default();
    for page in [4096, 16 << 10, 64 << 10] {
        let most = i64::MAX as u64 / page * page;
        usage.stat.parse_into(format!("hierarchical_memory_limit {most}").as_bytes());
        assert_eq!(usage.hierarchical_limit_bytes(), None, "{page}");
    }
    usage.stat.parse_into(b"hierarchical_memory_limit 1000");
    assert_eq!(usage.hierarchical_limit_bytes(), Some(1000));
}

/// A v1 cgroup with usage 1 and 7 page faults.
fn small() -> (MemoryFiles, tempfile::TempDir) {
    let files = [("memory.usage_in_bytes", "1\n"), ("memory.stat", "rss 0\npgfault 7\n")];
    let (_, tree) = read("memory", &files);
    let hierarchies = find_hierarchies(Path::new("/proc"), Some(tree.path())).unwrap();
    (MemoryFiles::open(&hierarchies, "/docker/abc").unwrap().unwrap(), tree)
}

#[test]
fn what_could_not_be_read_is_unknown() {
    let (mut files, tree) = small();
    let file = |name: &str| tree.path().join("memory/docker/abc").join(name);
    let mut usage = MemoryUsage::default();
    let mut read = |files: &mut MemoryFiles| {
        let now = Instant::now();
        let read = refresh(files, true, Duration::ZERO, now, &mut usage).is_ok();
        (read, usage.usage_bytes, usage.stat.get("pgfault"))
    };
    assert_eq!(read(&mut files), (true, Some(1), Some(7)));
    fs::write(file("memory.usage_in_bytes"), "?").unwrap();
    assert_eq!(read(&mut files), (false, None, None));
    fs::write(file("memory.usage_in_bytes"), "1").unwrap();
    assert_eq!(read(&mut files), (true, Some(1), Some(7)));
    for garbage in ["", "\0\u{1}garbage", "pgfault 8\n"] {
        fs::write(file("memory.stat"), garbage).unwrap();
        assert_eq!(read(&mut files), (false, Some(1), None), "{garbage:?}");
    }
}

#[test]
fn an_endless_stat_is_refused_by_its_path() {
    let (mut files, tree) = small();
    let garbage = "x y\n".repeat(MAX_STAT_BYTES / 4 + 1);
    fs::write(tree.path().join("memory/docker/abc/memory.stat"), garbage).unwrap();
    let mut usage = MemoryUsage::default();
    let error = refresh(&mut files, true, Duration::ZERO, Instant::now(), &mut usage);
    let error = error.unwrap_err().to_string();
    assert!(error.ends_with("docker/abc/memory.stat: too long for a memory.stat"), "{error}");
}

#[test]
fn a_long_stat_has_its_own_pace_and_keeps_the_usage_of_its_time() {
    let (mut files, tree) = small();
    let file = |name: &str| tree.path().join("memory/docker/abc").join(name);
    let start = Instant::now();
    let mut usage = MemoryUsage::default();
    let read = |files: &mut MemoryFiles, usage: &mut MemoryUsage, seconds, written: u64| {
        fs::write(file("memory.stat"), format!("rss 0\npgfault {written}\n")).unwrap();
        fs::write(file("memory.usage_in_bytes"), format!("{written}\n")).unwrap();
        let at = start + Duration::from_secs(seconds);
        let interval = Duration::from_secs(5);
        refresh(files, true, interval, at, usage).unwrap();
        assert_eq!(usage.usage_bytes, Some(written));
        assert_eq!(usage.stat.get("pgfault"), usage.stat_usage_bytes);
        (usage.stat_usage_bytes.unwrap(), usage.stat_read_at.unwrap().instant - start)
    };
    assert_eq!(read(&mut files, &mut usage, 0, 1), (1, Duration::ZERO));
    assert_eq!(read(&mut files, &mut usage, 4, 2), (1, Duration::ZERO));
    assert_eq!(read(&mut files, &mut usage, 5, 3), (3, Duration::from_secs(5)));
    usage.stat_read_at = None;
    assert_eq!(read(&mut files, &mut usage, 6, 4), (4, Duration::from_secs(6)));
}

#[test]
fn local_events_are_read_when_events_have_changed() {
    let events = |kills: u64| format!("oom {kills}\noom_kill {kills}\n");
    let (one, two) = (events(1), events(2));
    let files = [("memory.current", "1"), ("memory.events", &one), ("memory.events.local", &one)];
    let (_, tree) = read("", &files);
    let file = |name: &str| tree.path().join("docker/abc").join(name);
    let hierarchies = find_hierarchies(Path::new("/proc"), Some(tree.path())).unwrap();
    let mut files = MemoryFiles::open(&hierarchies, "/docker/abc").unwrap().unwrap();
    let mut usage = MemoryUsage::default();
    let mut local = |files: &mut MemoryFiles| {
        let now = Instant::now();
        refresh(files, true, Duration::ZERO, now, &mut usage).unwrap();
        usage.events_local.oom_kill
    };
    assert_eq!(local(&mut files), Some(1));
    fs::write(file("memory.events.local"), &two).unwrap();
    assert_eq!(local(&mut files), Some(1));
    fs::write(file("memory.events"), &two).unwrap();
    assert_eq!(local(&mut files), Some(2));
    fs::remove_file(file("memory.events.local")).unwrap();
    fs::write(file("memory.events"), events(3)).unwrap();
    assert_eq!(local(&mut files), None);
}

#[test]
fn memory_of_the_same_size_is_not_read_again_before_it_is_due() {
    let (mut files, tree) = small();
    let file = |name: &str| tree.path().join("memory/docker/abc").join(name);
    let mut usage = MemoryUsage::default();
    let mut faults = |files: &mut MemoryFiles, whole, written: u64| {
        fs::write(file("memory.stat"), format!("rss 0\npgfault {written}\n")).unwrap();
        let now = Instant::now();
        refresh(files, whole, Duration::ZERO, now, &mut usage).unwrap();
        usage.stat.get("pgfault")
    };
    assert_eq!(faults(&mut files, false, 1), Some(1));
    assert_eq!(faults(&mut files, false, 2), Some(1));
    assert_eq!(faults(&mut files, true, 3), Some(3));
    assert_eq!(faults(&mut files, false, 4), Some(3));
    fs::write(file("memory.usage_in_bytes"), "2\n").unwrap();
    assert_eq!(faults(&mut files, false, 5), Some(5));
    assert_eq!(faults(&mut files, false, 6), Some(5));
    assert_eq!(faults(&mut files, true, 7), Some(7));
}

/// Every field that this kernel and the fixtures have is known.
#[test]
fn real_files_have_known_fields() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
    let trees = fs::read_dir(fixtures).unwrap().map(|entry| entry.unwrap().path());
    let mut roots = vec![None];
    roots.extend(trees.filter(|tree| tree.is_dir()).map(|tree| Some(tree.join("cgroup"))));
    let mut fields = 0;
    for root in &roots {
        let found = find_hierarchies(Path::new("/proc"), root.as_deref()).unwrap();
        let Some(memory) = found.controller("memory") else { continue };
        let mut nodes = Vec::new();
        walk(memory.root, &mut nodes).unwrap();
        for node in &nodes {
            let file = memory.root.join(node.path.trim_start_matches('/')).join("memory.stat");
            let Ok(text) = fs::read(file) else { continue };
            for (name, _) in named_numbers(&text) {
                let name = std::str::from_utf8(name).unwrap();
                assert!(stat_kind(name).is_some(), "{name}");
                fields += 1;
            }
        }
    }
    assert!(fields > 100, "{fields} fields");
}

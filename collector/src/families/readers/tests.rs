use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::{Duration, Instant},
};

use tare_parsers::{pressure::Pressures, state::CgroupState};

use super::*;
use crate::{
    cgroup::find_hierarchies,
    families::memory::MemoryUsage,
    kernel::walk::fixture::{CPU_PERIOD, CPU_QUOTA, CPU_USAGE, PRESSURE, TASKS, Written},
};

/// What all families read at a time, in a sample's order.
fn read_at(readers: &mut Readers, now: Instant, reads_block: bool) -> Arc<Readings> {
    let (mut buffer, mut readings) = (Vec::new(), Arc::default());
    let mut context = ReadContext { reads_block, ..ReadContext::new(now, &mut buffer) };
    let latest = readers.begin(&mut readings);
    for step in Readers::STEPS {
        step(readers, &mut context, latest).unwrap();
    }
    readers.keep(&readings, None);
    readings
}

#[test]
fn families_without_files_are_unknown_and_the_others_are_read() {
    let tree = tempfile::tempdir().unwrap();
    let directory = tree.path().join("docker/abc");
    fs::create_dir_all(&directory).unwrap();
    fs::write(tree.path().join("cgroup.controllers"), "cpu memory\n").unwrap();
    fs::write(directory.join("cpu.stat"), "usage_usec 5\n").unwrap();
    fs::write(directory.join("memory.current"), "4096\n").unwrap();
    let hierarchies = find_hierarchies(Path::new("/proc"), Some(tree.path())).unwrap();
    let mut files = Readers::open(&hierarchies, "/docker/abc").unwrap();
    let readings = read_at(&mut files, Instant::now(), true);
    assert_eq!(readings.cpu.usage_nanoseconds, Some(5000));
    assert_eq!(readings.memory.usage_bytes, Some(4096));
    assert_eq!(readings.pids, None);
    assert_eq!(readings.state, CgroupState::default());
    assert_eq!(readings.pressure, Pressures::default());
    assert!(readings.block.is_none());

    let mut files = Readers::open(&hierarchies, "/docker/gone").unwrap();
    assert_eq!(read_at(&mut files, Instant::now(), false).memory, MemoryUsage::default());
}

#[test]
fn an_idle_cgroup_is_read_whole_when_it_runs_or_after_a_while() {
    let tree = tempfile::tempdir().unwrap();
    let directory = tree.path().join("docker/abc");
    fs::create_dir_all(&directory).unwrap();
    fs::write(tree.path().join("cgroup.controllers"), "cpu pids\n").unwrap();
    let hierarchies = find_hierarchies(Path::new("/proc"), Some(tree.path())).unwrap();
    let start = Instant::now();
    let tasks = |files: &mut Readers, seconds, used: u64, tasks: u64| {
        fs::write(directory.join("cpu.stat"), format!("usage_usec {used}\n")).unwrap();
        fs::write(directory.join("pids.current"), format!("{tasks}\n")).unwrap();
        read_at(files, start + Duration::from_secs(seconds), false).pids
    };
    fs::write(directory.join("cpu.stat"), "").unwrap();
    fs::write(directory.join("pids.current"), "").unwrap();
    let mut files = Readers::open(&hierarchies, "/docker/abc").unwrap();
    assert_eq!(tasks(&mut files, 0, 7, 1), Some(1));
    assert_eq!(tasks(&mut files, 20, 8, 2), Some(2), "it ran");
    assert_eq!(tasks(&mut files, 21, 8, 3), Some(2), "it did not");
    assert_eq!(tasks(&mut files, 22, 9, 4), Some(4), "it ran again");
    assert_eq!(tasks(&mut files, 31, 9, 5), Some(4), "it is taken at its word");
    assert_eq!(tasks(&mut files, 32, 9, 6), Some(6), "for a while");
    files.expire();
    assert_eq!(tasks(&mut files, 33, 9, 7), Some(7), "nothing will be read later");
}

#[test]
fn what_others_may_do_to_an_idle_cgroup_is_read_more_often_than_the_rest() {
    let tree = tempfile::tempdir().unwrap();
    let directory = tree.path().join("docker/abc");
    fs::create_dir_all(&directory).unwrap();
    fs::write(tree.path().join("cgroup.controllers"), "cpu memory pids\n").unwrap();
    fs::write(directory.join("cpu.stat"), "usage_usec 7\n").unwrap();
    fs::write(directory.join("memory.current"), "4096\n").unwrap();
    let hierarchies = find_hierarchies(Path::new("/proc"), Some(tree.path())).unwrap();
    let start = Instant::now();
    let read = |files: &mut Readers, seconds: u64| {
        fs::write(directory.join("pids.current"), format!("{seconds}\n")).unwrap();
        fs::write(directory.join("memory.peak"), format!("{seconds}\n")).unwrap();
        let readings = read_at(files, start + Duration::from_secs(seconds), false);
        (readings.pids, readings.memory.peak_bytes)
    };
    fs::write(directory.join("pids.current"), "").unwrap();
    fs::write(directory.join("memory.peak"), "").unwrap();
    let mut files = Readers::open(&hierarchies, "/docker/abc").unwrap();
    assert_eq!(read(&mut files, 1), (Some(1), Some(1)));
    assert_eq!(read(&mut files, 100), (Some(100), Some(100)), "its turn has come");
    assert_eq!(read(&mut files, 109), (Some(100), Some(100)));
    assert_eq!(read(&mut files, 110), (Some(110), Some(100)), "tasks may have been moved");
    assert_eq!(read(&mut files, 119), (Some(110), Some(100)));
    assert_eq!(read(&mut files, 121), (Some(121), Some(100)));
    assert_eq!(read(&mut files, 160), (Some(160), Some(160)), "all of it");
}

#[test]
fn cpu_time_does_not_fall_even_if_the_files_are_opened_again() {
    let tree = tempfile::tempdir().unwrap();
    fs::write(tree.path().join("cgroup.controllers"), "cpu\n").unwrap();
    let write = |user| {
        let text = format!("usage_usec 9\nuser_usec {user}\n");
        fs::write(tree.path().join("cpu.stat"), text).unwrap();
    };
    write(5);
    let hierarchies = find_hierarchies(Path::new("/proc"), Some(tree.path())).unwrap();
    let mut files = Readers::open(&hierarchies, "/").unwrap();
    let user = |files: &mut Readers| read_at(files, Instant::now(), false).cpu.user_nanoseconds;
    assert_eq!(user(&mut files), Some(5000));
    write(4);
    assert_eq!(user(&mut files), Some(5000));
    let mut anew = Readers::open(&hierarchies, "/").unwrap();
    anew.succeed(&mut files);
    assert_eq!(user(&mut anew), Some(5000));
}

/// A cgroup in another one, whose records a test writes.
struct WalkedTree {
    written: Written,
    hierarchies: Hierarchies,
    layout: WalkLayout,
    readers: Readers,
    start: Instant,
    _root: tempfile::TempDir,
}

impl WalkedTree {
    const PATH: &str = "/pod/abc";

    fn new() -> Self {
        let tree = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(tree.path()).unwrap();
        fs::create_dir_all(root.join("pod/abc")).unwrap();
        fs::write(root.join("cgroup.controllers"), "cpu memory pids\n").unwrap();
        let hierarchies = find_hierarchies(Path::new("/proc"), Some(&root)).unwrap();
        let ids = ["", "pod", "pod/abc"].map(|path| fs::metadata(root.join(path)).unwrap().ino());
        let written = Written::new(&root, &ids);
        let layout = WalkLayout::new(&hierarchies, written.records(), &[]);
        let readers = Readers::open_beside_walk(&hierarchies, Self::PATH, &layout).unwrap();
        Self { written, hierarchies, layout, readers, start: Instant::now(), _root: tree }
    }

    fn read(&mut self, seconds: u64) -> Arc<Readings> {
        let Self { written, hierarchies, layout, readers, start, .. } = self;
        let (mut buffer, mut readings) = (Vec::new(), Arc::default());
        let records = layout.find(written.records(), readers.ids()).unwrap();
        let walked = Some(WalkedCgroup { records, stat: None });
        let place = Place::of(readers, hierarchies, Self::PATH, Some(layout), false);
        let now = *start + Duration::from_secs(seconds);
        let mut context = ReadContext { walked, place, ..ReadContext::new(now, &mut buffer) };
        readers.read_all(&mut context, &mut readings, |error| panic!("{error}"));
        readings
    }
}

#[test]
fn readings_are_kept_while_a_walk_finds_the_same_and_nothing_else_is_due() {
    let mut tree = WalkedTree::new();
    // Of a new cgroup files are read, too, which the records do not decide.
    tree.read(0);
    let first = tree.read(1);
    assert_eq!((first.cpu.usage_nanoseconds, first.pids), (Some(0), Some(0)));
    assert!(Arc::ptr_eq(&first, &tree.read(2)), "nothing has changed");

    tree.written.set(2, TASKS, 3);
    tree.written.set(2, CPU_USAGE, 5_000);
    let other = tree.read(3);
    assert_eq!((other.cpu.usage_nanoseconds, other.pids), (Some(5_000), Some(3)));
    assert_eq!((first.cpu.usage_nanoseconds, first.pids), (Some(0), Some(0)), "of its own time");
    assert!(Arc::ptr_eq(&other, &tree.read(4)));

    tree.written.set(1, TASKS, 9);
    assert!(Arc::ptr_eq(&other, &tree.read(5)), "the one above has changed, but not its limits");
    tree.written.set(1, CPU_PERIOD, 100_000_000);
    tree.written.set(1, CPU_QUOTA, 50_000_000);
    assert_eq!(other.settings.cpu.tightest, None);
    let limited = tree.read(6);
    assert_eq!(limited.settings.cpu.tightest, Some((50_000, 100_000)), "above it");
    assert!(Arc::ptr_eq(&limited, &tree.read(7)));
    assert!(!Arc::ptr_eq(&limited, &tree.read(300)), "everything is due");
}

#[test]
fn pressure_fades_although_its_record_stays_the_same() {
    let mut tree = WalkedTree::new();
    let average = |readings: &Readings| readings.pressure.io.unwrap().some.avg10;
    tree.written.set(2, PRESSURE, 2048);
    tree.read(0);
    let first = tree.read(1);
    assert_eq!(average(&first), Some(81));
    assert!(Arc::ptr_eq(&first, &tree.read(2)), "it is the same until the next period");
    tree.written.set_clock(10);
    let faded = tree.read(3);
    assert!(average(&faded) < Some(40));
    tree.written.set_clock(1000);
    let gone = tree.read(4);
    assert_eq!(average(&gone), Some(0));
    tree.written.set_clock(2000);
    assert!(Arc::ptr_eq(&gone, &tree.read(5)));
}

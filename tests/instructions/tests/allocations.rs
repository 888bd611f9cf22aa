//! A sample of known containers allocates nothing.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    fs,
    path::Path,
};

use tare::internals::{Follow, Sampler};
use tare_instructions::Roots;

/// The system's allocator with a count of allocations for each thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    ALLOCATIONS.with(|count| count.set(count.get() + 1));
}

// SAFETY: every call is forwarded to the system's allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract, which is that of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above; the memory came from `System`.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CONTAINERS: usize = 50;

/// A container's files on v2. `@` stands for a number that each write changes.
const V2: &[(&str, &str)] = &[
    ("cpu.stat", "usage_usec @\nuser_usec 5\nsystem_usec 6\nnr_periods 1\nnr_throttled 0\n"),
    ("cpu.max", "50000 100000\n"),
    ("cpu.weight", "100\n"),
    ("cpu.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=@\n"),
    ("cpuset.cpus.effective", "0-1\n"),
    ("memory.current", "@\n"),
    ("memory.peak", "@\n"),
    ("memory.swap.current", "0\n"),
    ("memory.events", "low 0\nhigh 0\nmax @\noom 0\noom_kill 0\noom_group_kill 0\n"),
    ("memory.stat", "anon @\nfile 3\ninactive_file 4\npgfault @\n"),
    ("memory.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=@\n"),
    ("memory.max", "max\n"),
    ("hugetlb.2MB.current", "0\n"),
    ("hugetlb.2MB.max", "max\n"),
    ("pids.current", "@\n"),
    ("pids.max", "100\n"),
    ("pids.peak", "@\n"),
    ("io.stat", "8:0 rbytes=@ wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n"),
    ("io.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=@\n"),
    ("cgroup.events", "populated 1\nfrozen 0\n"),
    ("cgroup.stat", "nr_descendants 0\nnr_dying_descendants @\n"),
];

/// The same on v1, by hierarchy.
const V1: &[(&str, &str)] = &[
    ("cpu/cpu.stat", "nr_periods @\nnr_throttled 0\nthrottled_time 0\n"),
    ("cpu/cpu.cfs_quota_us", "-1\n"),
    ("cpu/cpu.cfs_period_us", "100000\n"),
    ("cpuacct/cpuacct.usage", "@\n"),
    ("cpuacct/cpuacct.stat", "user @\nsystem 3\n"),
    ("cpuacct/cpuacct.usage_percpu", "@ 0 0 0\n"),
    ("cpuset/cpuset.cpus", "0-1\n"),
    ("memory/memory.usage_in_bytes", "@\n"),
    ("memory/memory.max_usage_in_bytes", "@\n"),
    ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
    ("memory/memory.failcnt", "@\n"),
    ("memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n"),
    ("memory/memory.stat", "cache 1\ntotal_rss @\ntotal_swap 0\ntotal_inactive_file 4\n"),
    ("pids/pids.current", "@\n"),
    ("pids/pids.max", "max\n"),
    ("freezer/freezer.state", "THAWED\n"),
    ("blkio/blkio.throttle.io_service_bytes", "8:0 Read @\n8:0 Write 2\nTotal 3\n"),
    ("blkio/blkio.throttle.io_serviced", "8:0 Read @\n8:0 Write 2\nTotal 3\n"),
];

/// Writes the files of all containers with another number in them.
fn write(root: &Path, files: &[(&str, &str)], number: usize) {
    for container in 0..CONTAINERS {
        let id = format!("{container:064x}");
        for (name, text) in files {
            let (hierarchy, file) = name.split_once('/').unwrap_or(("", name));
            let directory = root.join(hierarchy).join("docker").join(&id);
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join(file), text.replace('@', &number.to_string())).unwrap();
        }
    }
}

fn sampler(cgroup: Option<&Path>, follow: Follow) -> Sampler {
    let roots = Roots { cgroup, proc: Path::new("/proc"), sys: Path::new("/sys") };
    tare_instructions::sampler(roots, follow).unwrap()
}

/// The allocations of the next sample, and the number of containers in it.
fn measure(sampler: &mut Sampler) -> (u64, usize) {
    let before = ALLOCATIONS.get();
    let sample = sampler.measure();
    (ALLOCATIONS.get() - before, sample.usages.len())
}

/// From the third sample on nothing is allocated, whichever files are due.
fn check(files: &[(&str, &str)], unified: bool) {
    let tree = tempfile::tempdir().unwrap();
    if unified {
        fs::write(tree.path().join("cgroup.controllers"), "cpu memory pids io\n").unwrap();
    }
    write(tree.path(), files, 10);
    let mut sampler = sampler(Some(tree.path()), Follow::Containers);
    sampler.take();
    sampler.take();
    for number in 11..14 {
        write(tree.path(), files, number);
        assert_eq!(measure(&mut sampler), (0, CONTAINERS), "with number {number}");
        let sample = sampler.measure();
        let usage = &sample.usages[7];
        let number = Some(u64::try_from(number).unwrap());
        assert_eq!((usage.readings.pids, usage.readings.memory.usage_bytes), (number, number));
        assert_eq!(usage.readings.block.as_ref().map(|io| io.devices[0].1.read_bytes), number);
    }
    for number in 14..17 {
        write(tree.path(), files, number);
        for tracked in sampler.registry.tracked_mut() {
            tracked.readers.as_mut().unwrap().expire();
        }
        assert_eq!(measure(&mut sampler), (0, CONTAINERS), "with all files due");
    }
}

#[test]
fn v2_allocates_nothing() {
    check(V2, true);
}

#[test]
fn v1_allocates_nothing() {
    check(V1, false);
}

#[test]
fn this_host_allocates_nothing() {
    let mut sampler = sampler(None, Follow::All);
    sampler.take();
    // Cgroups may appear meanwhile, so the best of some samples counts.
    let least = (0..20).map(|_| measure(&mut sampler)).min().unwrap();
    assert_eq!(least.0, 0);
    assert!(least.1 > 0, "no cgroup was read");
}

#[test]
fn a_sample_that_is_still_held_is_not_overwritten() {
    let tree = tempfile::tempdir().unwrap();
    fs::write(tree.path().join("cgroup.controllers"), "").unwrap();
    write(tree.path(), V2, 1);
    let mut sampler = sampler(Some(tree.path()), Follow::All);
    let held = sampler.take();
    for number in 2..5 {
        write(tree.path(), V2, number);
        let sample = sampler.take();
        assert_eq!(sample.usages[0].readings.pids, Some(u64::try_from(number).unwrap()));
    }
    assert_eq!(held.usages[0].readings.pids, Some(1));
}

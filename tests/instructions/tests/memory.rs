//! What the sampling loop keeps of a container.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    fs,
    path::Path,
    sync::atomic::{AtomicIsize, Ordering},
};

use tare::internals::Follow;
use tare_instructions::Roots;

/// The system's allocator with a count of the bytes that are in use.
struct Counting;

static IN_USE: AtomicIsize = AtomicIsize::new(0);

fn add(bytes: isize) {
    IN_USE.fetch_add(bytes, Ordering::Relaxed);
}

// SAFETY: every call is forwarded to the system's allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size().cast_signed());
        // SAFETY: the caller keeps the contract, which is that of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        add(-layout.size().cast_signed());
        // SAFETY: as above; the memory came from `System`.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        add(size.cast_signed() - layout.size().cast_signed());
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CONTAINERS: usize = 500;

/// What a container may take, three samples and all readers of files included. It is 12 % more than
/// was measured.
const BYTES_MAX: isize = 6_500;

const FILES: &[(&str, &str)] = &[
    ("cpu.stat", "usage_usec 7\nuser_usec 5\nsystem_usec 6\nnr_periods 1\nnr_throttled 0\n"),
    ("cpu.max", "50000 100000\n"),
    ("cpu.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=3\n"),
    ("memory.current", "4096\n"),
    ("memory.events", "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n"),
    ("memory.stat", "anon 2\nfile 3\ninactive_file 4\npgfault 5\n"),
    ("memory.max", "max\n"),
    ("pids.current", "1\n"),
    ("pids.max", "100\n"),
    ("cgroup.procs", ""),
];

fn write(root: &Path, containers: usize) {
    for container in 0..containers {
        let directory = root.join("docker").join(format!("{container:064x}"));
        fs::create_dir_all(&directory).unwrap();
        for (name, text) in FILES {
            fs::write(directory.join(name), text).unwrap();
        }
    }
}

/// What is in use after some samples of so many containers.
fn in_use(containers: usize) -> isize {
    let tree = tempfile::tempdir().unwrap();
    fs::write(tree.path().join("cgroup.controllers"), "cpu memory pids io\n").unwrap();
    write(tree.path(), containers);
    let roots =
        Roots { cgroup: Some(tree.path()), proc: Path::new("/proc"), sys: Path::new("/sys") };
    let before = IN_USE.load(Ordering::Relaxed);
    let mut sampler = tare_instructions::sampler(roots, Follow::Containers).unwrap();
    for _ in 0..5 {
        assert_eq!(sampler.take().usages.len(), containers);
    }
    IN_USE.load(Ordering::Relaxed) - before
}

#[test]
fn a_container_takes_little_memory() {
    let each = (in_use(2 * CONTAINERS) - in_use(CONTAINERS)) / CONTAINERS.cast_signed();
    assert!((1_000..BYTES_MAX).contains(&each), "{each} bytes for each container");
}

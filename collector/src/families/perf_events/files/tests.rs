use std::{path::Path, time::Instant};

use super::*;
use crate::families::perf_events::PerfEvent;

fn read(files: &mut PerfEventFiles, wanted: &PerfEvents, latest: &mut Vec<PerfCount>) {
    let mut buffer = Vec::new();
    let mut context = ReadContext::new(Instant::now(), &mut buffer);
    assert!(!PerfEventFiles::is_due(&context), "nothing is wanted");
    context.perf_events = Some(wanted);
    assert!(PerfEventFiles::is_due(&context));
    files.read(&mut context, latest).unwrap();
}

/// A directory that is no cgroup has no events, whatever the rights of the test are.
#[test]
fn what_the_kernel_refuses_is_unknown_and_not_zero() {
    let tree = tempfile::tempdir().unwrap();
    let unified = Some(tree.path().to_owned());
    let hierarchies = Hierarchies { unified, ..Hierarchies::default() };
    let none = PerfEvents::start(&hierarchies, Path::new("/sys"), &[]);
    assert!(none.is_none());
    let event = PerfEvent::PageFaults;
    let wanted = PerfEvents::start(&hierarchies, Path::new("/sys"), &[event, event]).unwrap();
    assert_eq!((wanted.events.len(), wanted.refused.len()), (0, 1), "{wanted:?}");

    let wanted = PerfEvents { events: vec![event], refused: Vec::new(), ..wanted };
    let mut files = PerfEventFiles::open(&hierarchies, "/").unwrap().unwrap();
    let mut latest = Vec::new();
    read(&mut files, &wanted, &mut latest);
    assert!(latest.is_empty() && files.is_refused());
    assert!(wanted.budget.reserve(wanted.limit()).is_some(), "its room is free again");
}

#[test]
fn there_is_room_for_so_many_descriptors_only() {
    let hierarchies = Hierarchies::default();
    let wanted = PerfEvents::start(&hierarchies, Path::new("/sys"), &[PerfEvent::Cycles]).unwrap();
    let all = wanted.budget.reserve(wanted.limit()).unwrap();
    assert!(wanted.budget.reserve(1).is_none());
    drop(all);
    assert!(wanted.budget.reserve(1).is_some());
}

use proptest::prelude::*;

use super::*;

const DISK: u32 = 8;
const BLOCK: u64 = 4096;

/// A disk whose requests pass our programs, unless these miss them, and then the kernel's book.
#[derive(Clone, Debug, Default)]
struct Disk {
    told: Completed,
    counted: BlockCell,
    under_way: u64,
    missed: u64,
}

/// What happens on a disk.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Our programs see a completion.
    Seen,
    /// The kernel enters one that was seen.
    Entered,
    /// One that our programs miss.
    OverflowTracker,
    /// Somebody looks.
    Looked,
}

impl Disk {
    fn step(&mut self, step: Step) {
        match step {
            Step::Seen => {
                self.counted.write.ops += 1;
                self.counted.write.bytes += BLOCK;
                self.under_way += 1;
            }
            Step::Entered if self.under_way > 0 => {
                self.under_way -= 1;
                self.enter();
            }
            Step::OverflowTracker => {
                self.missed += 1;
                self.enter();
            }
            Step::Entered | Step::Looked => {}
        }
    }

    fn enter(&mut self) {
        self.told.ops += 1;
        self.told.bytes += BLOCK;
    }

    fn settle(&mut self) {
        while self.under_way > 0 {
            self.step(Step::Entered);
        }
    }

    fn told(&self) -> KernelTotals {
        KernelTotals::from([(DISK, self.told)])
    }

    fn counts(&self) -> OwnTotals {
        let mut counts = OwnTotals::default();
        counts.devices.entry(DISK).or_default().add(&self.counted);
        counts
    }

    /// A comparison that was opened while a request was under way, and the disk went on.
    fn comparison(&mut self) -> Comparison {
        let mut comparison = Comparison::default();
        assert!(comparison.has_new(&self.told()));
        let first = (self.counts(), self.told());
        self.settle();
        let second = (self.counts(), self.told());
        comparison.start((&first.0, &first.1), (&second.0, &second.1));
        assert!(!comparison.has_new(&self.told()));
        comparison
    }

    fn look(&self, comparison: &mut Comparison) -> ReconciledCounts {
        comparison.compare(&self.told(), || self.counts());
        comparison.entry(DISK).unwrap()
    }
}

#[test]
fn what_was_before_is_no_loss() {
    let mut disk = Disk { told: Completed { ops: 900, bytes: 7000 }, ..Disk::default() };
    disk.step(Step::Seen);
    let mut comparison = disk.comparison();
    assert_eq!(disk.look(&mut comparison), ReconciledCounts::default());
    disk.step(Step::Seen);
    disk.settle();
    assert_eq!(
        disk.look(&mut comparison),
        ReconciledCounts { expected: 1, counted: 1, lost: 0, lost_bytes: Some(0) }
    );
}

#[test]
fn a_loss_is_told_and_stays() {
    let mut disk = Disk::default();
    let mut comparison = disk.comparison();
    disk.step(Step::OverflowTracker);
    let lost = ReconciledCounts { expected: 1, counted: 0, lost: 1, lost_bytes: Some(BLOCK) };
    assert_eq!(disk.look(&mut comparison), lost);
    // Ahead of the kernel's book, which hides it.
    disk.step(Step::Seen);
    assert_eq!(disk.look(&mut comparison), ReconciledCounts { counted: 1, ..lost });
}

#[test]
fn a_slot_whose_key_shows_late_is_no_loss() {
    let mut disk = Disk::default();
    let mut comparison = disk.comparison();
    disk.step(Step::Seen);
    disk.settle();
    let looks = std::cell::Cell::new(0);
    comparison.compare(&disk.told(), || {
        looks.set(looks.get() + 1);
        if looks.get() == 1 { OwnTotals::default() } else { disk.counts() }
    });
    assert_eq!((looks.get(), comparison.entry(DISK).unwrap().lost), (2, 0));
}

#[test]
fn what_is_in_the_overflow_may_be_any_devices() {
    let mut disk = Disk::default();
    let mut comparison = disk.comparison();
    disk.step(Step::OverflowTracker);
    disk.step(Step::OverflowTracker);
    let mut counts = disk.counts();
    counts.overflow = OwnCounts { ops: 1, bytes: BLOCK, ..OwnCounts::default() };
    comparison.compare(&disk.told(), || counts.clone());
    let entry = comparison.entry(DISK).unwrap();
    assert_eq!((entry.lost, entry.lost_bytes), (1, Some(BLOCK)));
}

#[test]
fn failed_requests_are_operations_of_unknown_length() {
    let mut disk = Disk::default();
    let mut comparison = disk.comparison();
    disk.counted.errors = 1;
    disk.enter();
    let entry = disk.look(&mut comparison);
    assert_eq!((entry.expected, entry.counted, entry.lost), (1, 1, 0));
    assert_eq!(entry.lost_bytes, None);
}

#[test]
fn requests_of_other_kinds_may_be_in_the_kernels_book() {
    let mut disk = Disk::default();
    let mut comparison = disk.comparison();
    disk.counted.others = 2;
    disk.enter();
    assert_eq!(disk.look(&mut comparison).lost, 0);
}

#[test]
fn flushes_may_be_missing_in_the_kernels_book() {
    let mut disk = Disk::default();
    let mut comparison = disk.comparison();
    (disk.counted.write.ops, disk.counted.flush_ops) = (1, 1);
    disk.look(&mut comparison);
    assert_eq!(disk.look(&mut comparison).lost, 0);
    disk.step(Step::OverflowTracker);
    let entry = disk.look(&mut comparison);
    assert_eq!((entry.lost, entry.lost_bytes), (1, Some(BLOCK)), "its bytes prove it");
}

#[test]
fn a_book_that_stands_still_proves_nothing() {
    let mut disk = Disk::default();
    let mut comparison = disk.comparison();
    disk.step(Step::Seen);
    disk.look(&mut comparison);
    comparison.compare(&disk.told(), || disk.counts());
    assert_eq!(comparison.entry(DISK), None);
}

#[test]
fn another_device_of_the_same_number_starts_anew() {
    let mut disk = Disk { told: Completed { ops: 50, bytes: 50 * BLOCK }, ..Disk::default() };
    let mut comparison = disk.comparison();
    disk.step(Step::OverflowTracker);
    disk.look(&mut comparison);
    disk.told = Completed::default();
    assert!(comparison.has_new(&disk.told()));
    assert_eq!(disk.look(&mut comparison).lost, 1);
    let same = (disk.counts(), disk.told());
    comparison.start((&same.0, &same.1), (&same.0, &same.1));
    disk.step(Step::OverflowTracker);
    let lost = ReconciledCounts { expected: 2, counted: 0, lost: 2, lost_bytes: Some(2 * BLOCK) };
    assert_eq!(disk.look(&mut comparison), lost);
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => Just(Step::Seen),
        5 => Just(Step::Entered),
        1 => Just(Step::OverflowTracker),
        2 => Just(Step::Looked),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    /// However looks and completions fall together: never more than is true, never less than
    /// before, and all of it when nothing is under way.
    #[test]
    fn what_is_told_is_never_too_much(before in steps(), steps in steps()) {
        let mut disk = Disk::default();
        before.into_iter().for_each(|step| disk.step(step));
        let mut comparison = disk.comparison();
        let missed = disk.missed;
        let mut last = 0;
        for step in steps {
            let told = disk.told();
            disk.step(step);
            if let Step::Looked = step {
                // What completes between the two readings is in ours only.
                let mut later = disk.clone();
                later.step(Step::Seen);
                comparison.compare(&told, || later.counts());
                disk = later;
                disk.settle();
                let Some(entry) = comparison.entry(DISK) else {
                    return Err(TestCaseError::fail("the books can be compared"));
                };
                prop_assert!(entry.lost <= disk.missed - missed);
                prop_assert!(entry.lost >= last);
                last = entry.lost;
            }
        }
        disk.settle();
        let entry = disk.look(&mut comparison);
        prop_assert_eq!(entry.lost, disk.missed - missed);
        prop_assert_eq!(entry.lost_bytes, Some(entry.lost * BLOCK));
        prop_assert_eq!(entry.expected - entry.counted, entry.lost);
    }

    #[test]
    fn any_numbers_are_taken(numbers: [u64; 8]) {
        let [ops, bytes, more, much, a, b, c, d] = numbers;
        let told = KernelTotals::from([(DISK, Completed { ops, bytes })]);
        let later = KernelTotals::from([(DISK, Completed { ops: more, bytes: much })]);
        let counts = |ops, bytes| OwnTotals {
            devices: BTreeMap::from([(
                DISK,
                OwnCounts { ops, bytes, failed: bytes, others: ops, flushes: bytes },
            )]),
            overflow: OwnCounts { ops: bytes, bytes, failed: ops, others: ops, flushes: ops },
        };
        let mut comparison = Comparison::default();
        comparison.start((&counts(a, b), &told), (&counts(c, d), &later));
        comparison.compare(&told, || counts(b, a));
        comparison.compare(&later, || counts(d, c));
    }
}

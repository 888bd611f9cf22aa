use proptest::prelude::*;

use super::*;

const DISK: u32 = 8;
const BLOCK: u64 = 4096;

/// A disk. Our programs count its requests, unless they miss some, and the kernel counts them all.
#[derive(Clone, Debug, Default)]
struct Disk {
    kernel: Completed,
    counted: BlockCell,
    under_way: u64,
    missed: u64,
}

/// What happens on a disk.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Our programs see a completion.
    Seen,
    /// The kernel counts one that our programs have seen.
    Counted,
    /// One that our programs miss.
    Missed,
    /// The totals are compared.
    Compared,
}

impl Disk {
    fn step(&mut self, step: Step) {
        match step {
            Step::Seen => {
                self.counted.write.ops += 1;
                self.counted.write.bytes += BLOCK;
                self.under_way += 1;
            }
            Step::Counted if self.under_way > 0 => {
                self.under_way -= 1;
                self.count_in_kernel();
            }
            Step::Missed => {
                self.missed += 1;
                self.count_in_kernel();
            }
            Step::Counted | Step::Compared => {}
        }
    }

    fn count_in_kernel(&mut self) {
        self.kernel.ops += 1;
        self.kernel.bytes += BLOCK;
    }

    fn settle(&mut self) {
        while self.under_way > 0 {
            self.step(Step::Counted);
        }
    }

    fn kernel_totals(&self) -> KernelTotals {
        KernelTotals::from([(DISK, self.kernel)])
    }

    fn counts(&self) -> OwnTotals {
        let mut counts = OwnTotals::default();
        counts.devices.entry(DISK).or_default().add(&self.counted);
        counts
    }

    /// A comparison that was opened while a request was under way, and the disk went on.
    fn comparison(&mut self) -> Comparison {
        let mut comparison = Comparison::default();
        assert!(comparison.has_new(&self.kernel_totals()));
        let first = (self.counts(), self.kernel_totals());
        self.settle();
        let second = (self.counts(), self.kernel_totals());
        comparison.start((&first.0, &first.1), (&second.0, &second.1));
        assert!(!comparison.has_new(&self.kernel_totals()));
        comparison
    }

    fn look(&self, comparison: &mut Comparison) -> ReconciledCounts {
        comparison.compare(&self.kernel_totals(), || self.counts());
        comparison.entry(DISK).unwrap()
    }
}

#[test]
fn what_was_before_is_no_loss() {
    let mut disk = Disk { kernel: Completed { ops: 900, bytes: 7000 }, ..Disk::default() };
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
fn a_loss_is_reported_and_stays() {
    let mut disk = Disk::default();
    let mut comparison = disk.comparison();
    disk.step(Step::Missed);
    let lost = ReconciledCounts { expected: 1, counted: 0, lost: 1, lost_bytes: Some(BLOCK) };
    assert_eq!(disk.look(&mut comparison), lost);
    // Ahead of the kernel's total, which hides it.
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
    comparison.compare(&disk.kernel_totals(), || {
        looks.set(looks.get() + 1);
        if looks.get() == 1 { OwnTotals::default() } else { disk.counts() }
    });
    assert_eq!((looks.get(), comparison.entry(DISK).unwrap().lost), (2, 0));
}

#[test]
fn what_is_in_the_overflow_may_be_any_devices() {
    let mut disk = Disk::default();
    let mut comparison = disk.comparison();
    disk.step(Step::Missed);
    disk.step(Step::Missed);
    let mut counts = disk.counts();
    counts.overflow = OwnCounts { ops: 1, bytes: BLOCK, ..OwnCounts::default() };
    comparison.compare(&disk.kernel_totals(), || counts.clone());
    let entry = comparison.entry(DISK).unwrap();
    assert_eq!((entry.lost, entry.lost_bytes), (1, Some(BLOCK)));
}

#[test]
fn failed_requests_are_operations_of_unknown_length() {
    let mut disk = Disk::default();
    let mut comparison = disk.comparison();
    disk.counted.errors = 1;
    disk.count_in_kernel();
    let entry = disk.look(&mut comparison);
    assert_eq!((entry.expected, entry.counted, entry.lost), (1, 1, 0));
    assert_eq!(entry.lost_bytes, None);
}

#[test]
fn requests_of_other_kinds_may_be_in_the_kernels_total() {
    let mut disk = Disk::default();
    let mut comparison = disk.comparison();
    disk.counted.others = 2;
    disk.count_in_kernel();
    assert_eq!(disk.look(&mut comparison).lost, 0);
}

#[test]
fn flushes_may_be_missing_in_the_kernels_total() {
    let mut disk = Disk::default();
    let mut comparison = disk.comparison();
    (disk.counted.write.ops, disk.counted.flush_ops) = (1, 1);
    disk.look(&mut comparison);
    assert_eq!(disk.look(&mut comparison).lost, 0);
    disk.step(Step::Missed);
    let entry = disk.look(&mut comparison);
    assert_eq!((entry.lost, entry.lost_bytes), (1, Some(BLOCK)), "its bytes prove it");
}

#[test]
fn a_total_that_stands_still_proves_nothing() {
    let mut disk = Disk::default();
    let mut comparison = disk.comparison();
    disk.step(Step::Seen);
    disk.look(&mut comparison);
    comparison.compare(&disk.kernel_totals(), || disk.counts());
    assert_eq!(comparison.entry(DISK), None);
}

#[test]
fn another_device_of_the_same_number_starts_anew() {
    let mut disk = Disk { kernel: Completed { ops: 50, bytes: 50 * BLOCK }, ..Disk::default() };
    let mut comparison = disk.comparison();
    disk.step(Step::Missed);
    disk.look(&mut comparison);
    disk.kernel = Completed::default();
    assert!(comparison.has_new(&disk.kernel_totals()));
    assert_eq!(disk.look(&mut comparison).lost, 1);
    let same = (disk.counts(), disk.kernel_totals());
    comparison.start((&same.0, &same.1), (&same.0, &same.1));
    disk.step(Step::Missed);
    let lost = ReconciledCounts { expected: 2, counted: 0, lost: 2, lost_bytes: Some(2 * BLOCK) };
    assert_eq!(disk.look(&mut comparison), lost);
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => Just(Step::Seen),
        5 => Just(Step::Counted),
        1 => Just(Step::Missed),
        2 => Just(Step::Compared),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    /// However looks and completions fall together: never more than is true, never less than
    /// before, and all of it when nothing is under way.
    #[test]
    fn the_reported_loss_is_never_too_high(before in steps(), steps in steps()) {
        let mut disk = Disk::default();
        before.into_iter().for_each(|step| disk.step(step));
        let mut comparison = disk.comparison();
        let missed = disk.missed;
        let mut last = 0;
        for step in steps {
            let totals = disk.kernel_totals();
            disk.step(step);
            if let Step::Compared = step {
                // What completes between the two readings is in ours only.
                let mut later = disk.clone();
                later.step(Step::Seen);
                comparison.compare(&totals, || later.counts());
                disk = later;
                disk.settle();
                let Some(entry) = comparison.entry(DISK) else {
                    return Err(TestCaseError::fail("the totals can be compared"));
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
        let totals = KernelTotals::from([(DISK, Completed { ops, bytes })]);
        let later = KernelTotals::from([(DISK, Completed { ops: more, bytes: much })]);
        let counts = |ops, bytes| OwnTotals {
            devices: BTreeMap::from([(
                DISK,
                OwnCounts { ops, bytes, failed: bytes, others: ops, flushes: bytes },
            )]),
            overflow: OwnCounts { ops: bytes, bytes, failed: ops, others: ops, flushes: ops },
        };
        let mut comparison = Comparison::default();
        comparison.start((&counts(a, b), &totals), (&counts(c, d), &later));
        comparison.compare(&totals, || counts(b, a));
        comparison.compare(&later, || counts(d, c));
    }
}

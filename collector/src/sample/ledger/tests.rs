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

    fn told(&self) -> Told {
        Told::from([(DISK, self.told)])
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        counts.devices.entry(DISK).or_default().add(&self.counted);
        counts
    }

    /// A ledger that was opened while a request was under way, and the disk went on.
    fn ledger(&mut self) -> Ledger {
        let mut ledger = Ledger::default();
        assert!(ledger.has_new(&self.told()));
        let first = (self.counts(), self.told());
        self.settle();
        let second = (self.counts(), self.told());
        ledger.open((&first.0, &first.1), (&second.0, &second.1));
        assert!(!ledger.has_new(&self.told()));
        ledger
    }

    fn look(&self, ledger: &mut Ledger) -> Tally {
        ledger.compare(&self.told(), || self.counts());
        ledger.entry(DISK).unwrap()
    }
}

#[test]
fn what_was_before_is_no_loss() {
    let mut disk = Disk { told: Completed { ops: 900, bytes: 7000 }, ..Disk::default() };
    disk.step(Step::Seen);
    let mut ledger = disk.ledger();
    assert_eq!(disk.look(&mut ledger), Tally::default());
    disk.step(Step::Seen);
    disk.settle();
    assert_eq!(
        disk.look(&mut ledger),
        Tally { expected: 1, counted: 1, lost: 0, lost_bytes: Some(0) }
    );
}

#[test]
fn a_loss_is_told_and_stays() {
    let mut disk = Disk::default();
    let mut ledger = disk.ledger();
    disk.step(Step::OverflowTracker);
    let lost = Tally { expected: 1, counted: 0, lost: 1, lost_bytes: Some(BLOCK) };
    assert_eq!(disk.look(&mut ledger), lost);
    // Ahead of the kernel's book, which hides it.
    disk.step(Step::Seen);
    assert_eq!(disk.look(&mut ledger), Tally { counted: 1, ..lost });
}

#[test]
fn a_slot_whose_key_shows_late_is_no_loss() {
    let mut disk = Disk::default();
    let mut ledger = disk.ledger();
    disk.step(Step::Seen);
    disk.settle();
    let looks = std::cell::Cell::new(0);
    ledger.compare(&disk.told(), || {
        looks.set(looks.get() + 1);
        if looks.get() == 1 { Counts::default() } else { disk.counts() }
    });
    assert_eq!((looks.get(), ledger.entry(DISK).unwrap().lost), (2, 0));
}

#[test]
fn what_is_in_the_overflow_may_be_any_devices() {
    let mut disk = Disk::default();
    let mut ledger = disk.ledger();
    disk.step(Step::OverflowTracker);
    disk.step(Step::OverflowTracker);
    let mut counts = disk.counts();
    counts.overflow = Counted { ops: 1, bytes: BLOCK, ..Counted::default() };
    ledger.compare(&disk.told(), || counts.clone());
    let entry = ledger.entry(DISK).unwrap();
    assert_eq!((entry.lost, entry.lost_bytes), (1, Some(BLOCK)));
}

#[test]
fn failed_requests_are_operations_of_unknown_length() {
    let mut disk = Disk::default();
    let mut ledger = disk.ledger();
    disk.counted.errors = 1;
    disk.enter();
    let entry = disk.look(&mut ledger);
    assert_eq!((entry.expected, entry.counted, entry.lost), (1, 1, 0));
    assert_eq!(entry.lost_bytes, None);
}

#[test]
fn requests_of_other_kinds_may_be_in_the_kernels_book() {
    let mut disk = Disk::default();
    let mut ledger = disk.ledger();
    disk.counted.others = 2;
    disk.enter();
    assert_eq!(disk.look(&mut ledger).lost, 0);
}

#[test]
fn flushes_may_be_missing_in_the_kernels_book() {
    let mut disk = Disk::default();
    let mut ledger = disk.ledger();
    (disk.counted.write.ops, disk.counted.flush_ops) = (1, 1);
    disk.look(&mut ledger);
    assert_eq!(disk.look(&mut ledger).lost, 0);
    disk.step(Step::OverflowTracker);
    let entry = disk.look(&mut ledger);
    assert_eq!((entry.lost, entry.lost_bytes), (1, Some(BLOCK)), "its bytes prove it");
}

#[test]
fn a_book_that_stands_still_proves_nothing() {
    let mut disk = Disk::default();
    let mut ledger = disk.ledger();
    disk.step(Step::Seen);
    disk.look(&mut ledger);
    ledger.compare(&disk.told(), || disk.counts());
    assert_eq!(ledger.entry(DISK), None);
}

#[test]
fn another_device_of_the_same_number_starts_anew() {
    let mut disk = Disk { told: Completed { ops: 50, bytes: 50 * BLOCK }, ..Disk::default() };
    let mut ledger = disk.ledger();
    disk.step(Step::OverflowTracker);
    disk.look(&mut ledger);
    disk.told = Completed::default();
    assert!(ledger.has_new(&disk.told()));
    assert_eq!(disk.look(&mut ledger).lost, 1);
    let same = (disk.counts(), disk.told());
    ledger.open((&same.0, &same.1), (&same.0, &same.1));
    disk.step(Step::OverflowTracker);
    let lost = Tally { expected: 2, counted: 0, lost: 2, lost_bytes: Some(2 * BLOCK) };
    assert_eq!(disk.look(&mut ledger), lost);
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
        let mut ledger = disk.ledger();
        let missed = disk.missed;
        let mut last = 0;
        for step in steps {
            let told = disk.told();
            disk.step(step);
            if let Step::Looked = step {
                // What completes between the two readings is in ours only.
                let mut later = disk.clone();
                later.step(Step::Seen);
                ledger.compare(&told, || later.counts());
                disk = later;
                disk.settle();
                let Some(entry) = ledger.entry(DISK) else {
                    return Err(TestCaseError::fail("the books can be compared"));
                };
                prop_assert!(entry.lost <= disk.missed - missed);
                prop_assert!(entry.lost >= last);
                last = entry.lost;
            }
        }
        disk.settle();
        let entry = disk.look(&mut ledger);
        prop_assert_eq!(entry.lost, disk.missed - missed);
        prop_assert_eq!(entry.lost_bytes, Some(entry.lost * BLOCK));
        prop_assert_eq!(entry.expected - entry.counted, entry.lost);
    }

    #[test]
    fn any_numbers_are_taken(numbers: [u64; 8]) {
        let [ops, bytes, more, much, a, b, c, d] = numbers;
        let told = Told::from([(DISK, Completed { ops, bytes })]);
        let later = Told::from([(DISK, Completed { ops: more, bytes: much })]);
        let counts = |ops, bytes| Counts {
            devices: BTreeMap::from([(DISK, Counted { ops, bytes, failed: bytes, others: ops, flushes: bytes })]),
            overflow: Counted { ops: bytes, bytes, failed: ops, others: ops, flushes: ops },
        };
        let mut ledger = Ledger::default();
        ledger.open((&counts(a, b), &told), (&counts(c, d), &later));
        ledger.compare(&told, || counts(b, a));
        ledger.compare(&later, || counts(d, c));
    }
}

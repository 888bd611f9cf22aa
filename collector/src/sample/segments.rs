//! Whether our count of TCP segments sent again adds up to the kernel's own.
//!
//! The kernel counts a segment in its namespace, sends it, and then tells our programs
//! (`__tcp_retransmit_skb`, `net/ipv4/tcp_output.c`), so its book is compared with what we have
//! counted by the next sample. Ours is of all cgroups; namespaces that we do not know, and SYNs,
//! which the kernel's book does not tell from SYN-ACKs, are in ours only. So less may be proved
//! than is lost, never more.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tare_ebpf::{Cell, NetCell};

use crate::{
    cgroup::{ReadError, first_pid},
    kernel::Table,
    kernel_totals::{Rounding, read_retransmits},
    network::NamespaceId,
    sample::{Reconciliation, Sampler, Tally, Usage},
};

/// How often the kernel's books are read: two files for each namespace.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// Compares TCP segments that are sent again.
#[derive(Debug)]
pub struct SegmentReconciler {
    proc_root: PathBuf,
    book: Book,
    /// What slots that were given back had counted.
    released: u64,
    looked: Option<Instant>,
    since: Timestamp,
    proof: Option<Reconciliation>,
}

/// The kernel's book of all known namespaces, and ours.
#[derive(Debug, Default)]
struct Book {
    /// What each namespace's count was at first and at last.
    namespaces: HashMap<NamespaceId, (u64, u64)>,
    /// What was counted in namespaces that are gone.
    gone: u64,
    /// Our count at first.
    opened: Option<u64>,
    /// The kernel's count, until ours is known to have what is in it.
    expected: Option<u64>,
    lost: u64,
}

impl Book {
    /// Enters the kernel's counts of the namespaces that are known now.
    fn look(&mut self, told: &HashMap<NamespaceId, u64>) {
        let gone = &mut self.gone;
        self.namespaces.retain(|namespace, (first, last)| {
            let stays = told.get(namespace).is_some_and(|told| told >= last);
            if !stays {
                *gone = gone.saturating_add(*last - *first);
            }
            stays
        });
        for (namespace, told) in told {
            self.namespaces.entry(*namespace).or_insert((*told, *told)).1 = *told;
        }
        let grown = self.namespaces.values().map(|(first, last)| last - first);
        self.expected = Some(grown.fold(self.gone, u64::saturating_add));
    }

    /// Compares what was entered with what we counted by now.
    fn compare(&mut self, counted: u64) -> Option<Tally> {
        let counted = counted.saturating_sub(*self.opened.get_or_insert(counted));
        let expected = self.expected.take()?;
        self.lost = self.lost.max(expected.saturating_sub(counted));
        Some(Tally { expected, counted, lost: self.lost, lost_bytes: None })
    }
}

impl SegmentReconciler {
    /// Reads the kernel's books in this `/proc`.
    pub fn new(proc_root: &Path) -> Self {
        Self {
            proc_root: proc_root.to_owned(),
            book: Book::default(),
            released: 0,
            looked: None,
            since: Timestamp::now(),
            proof: None,
        }
    }

    /// What the last comparison proved; `None` before the first.
    pub fn proof(&self) -> Option<&Reconciliation> {
        self.proof.as_ref()
    }

    /// Keeps what a slot had counted that is given back.
    pub(super) fn released(&mut self, cell: &NetCell) {
        self.released = self.released.wrapping_add(cell.tcp_events.retransmits);
    }

    fn counted(&self, table: &Table<NetCell>) -> u64 {
        let mut sum = NetCell::default();
        table.for_each(|_, _, cell| sum.add(cell));
        sum.add(&table.overflow());
        self.released.wrapping_add(sum.tcp_events.retransmits)
    }

    /// The kernel's book of one namespace.
    fn told(&self, pid: u32, namespace: NamespaceId) -> Result<Option<u64>, ReadError> {
        let known = self.book.namespaces.contains_key(&namespace);
        let rounding = if known { Rounding::Down } else { Rounding::Up };
        read_retransmits(&self.proc_root, pid, namespace, rounding)
    }
}

impl Sampler {
    /// Compares our count with the kernel's of the last look, and looks again where that is due.
    pub(super) fn reconcile_segments(&mut self, usages: &[Usage]) {
        let Self { kernel, segments, .. } = self;
        let Some(table) = kernel.net.as_ref().filter(|_| kernel.retransmits.is_ok()) else {
            return;
        };
        let due = segments.looked.is_none_or(|looked| looked.elapsed() >= LOOK_INTERVAL);
        if !due && segments.book.expected.is_none() {
            return;
        }
        let counted = segments.counted(table);
        if let Some(total) = segments.book.compare(counted) {
            let covered = segments.book.namespaces.len() as u64;
            let since = segments.since;
            segments.proof =
                Some(Reconciliation { since, total, covered, uncovered: 0, losers: Vec::new() });
        }
        if due {
            segments.looked = Some(Instant::now());
            self.look_at_segments(usages);
        }
    }

    /// Reads the kernel's books of the namespaces that are in use, and of the host's.
    fn look_at_segments(&mut self, usages: &[Usage]) {
        let Self { registry, segments, .. } = self;
        let mut told = HashMap::new();
        let mut faults = Vec::new();
        if let Some(host) = registry.namespaces().host() {
            // The first process may be hidden where kernel threads are not.
            let count = [1, 2].into_iter().find_map(|pid| segments.told(pid, host).ok().flatten());
            told.extend(count.map(|count| (host, count)));
        }
        let mut read = |pid, namespace| match segments.told(pid, namespace) {
            Ok(Some(count)) => drop(told.insert(namespace, count)),
            Ok(None) | Err(ReadError::Vanished) => {}
            Err(fault) => faults.push(fault),
        };
        let mut seen = HashSet::new();
        for usage in usages {
            let Some(namespace) = usage.namespace.filter(|namespace| !seen.contains(namespace))
            else {
                continue;
            };
            // The next one may be alive if this one has no process left.
            if let Ok(Some(pid)) = first_pid(registry.hierarchies(), &usage.instance.path) {
                read(pid, namespace);
                seen.insert(namespace);
            }
        }
        segments.book.look(&told);
        for fault in faults {
            registry.tell(&fault);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(counts: &[(u64, u64)]) -> HashMap<NamespaceId, u64> {
        counts.iter().map(|(namespace, count)| (NamespaceId(*namespace), *count)).collect()
    }

    fn tally(expected: u64, counted: u64, lost: u64) -> Option<Tally> {
        Some(Tally { expected, counted, lost, lost_bytes: None })
    }

    #[test]
    fn a_segment_that_nobody_saw_is_lost_for_good() {
        let mut book = Book::default();
        assert_eq!(book.compare(100), None);
        book.look(&told(&[(1, 70), (2, 9)]));
        assert_eq!(book.compare(103), tally(0, 3, 0));
        book.look(&told(&[(1, 75), (2, 10)]));
        assert_eq!(book.compare(104), tally(6, 4, 2));
        assert_eq!(book.compare(104), None, "compared once");
        book.look(&told(&[(1, 75), (2, 10)]));
        assert_eq!(book.compare(190), tally(6, 90, 2), "others hide it, and it is known");
    }

    #[test]
    fn what_a_namespace_did_before_and_after_is_nobodys_loss() {
        let mut book = Book::default();
        book.compare(0);
        book.look(&told(&[(1, 5)]));
        book.compare(0);
        book.look(&told(&[(1, 8), (2, 500)]));
        assert_eq!(book.compare(3), tally(3, 3, 0));
        book.look(&told(&[(2, 501)]));
        assert_eq!(book.compare(4), tally(4, 4, 0), "the first one is gone");
        book.look(&told(&[(2, 0)]));
        assert_eq!(book.compare(4), tally(4, 4, 0), "another one of the same number");
    }

    proptest! {
        #[test]
        fn whatever_is_hidden_no_loss_is_invented(
            steps in prop::collection::vec((0..4u64, 0..50u64, 0..20u64, any::<bool>()), 0..40),
        ) {
            let mut book = Book::default();
            let (mut counts, mut counted) = (HashMap::new(), 0);
            book.compare(counted);
            for (namespace, segments, elsewhere, leaves) in steps {
                *counts.entry(NamespaceId(namespace)).or_insert(7) += segments;
                counted += segments + elsewhere;
                if leaves {
                    counts.remove(&NamespaceId(namespace));
                }
                book.look(&counts);
                prop_assert_eq!(book.compare(counted).map(|tally| tally.lost), Some(0));
            }
        }
    }
}

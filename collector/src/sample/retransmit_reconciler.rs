//! Compares our count of TCP segments that are sent again with the kernel's own.
//!
//! The kernel counts a segment in its namespace, sends it, and then runs our program
//! (`__tcp_retransmit_skb`, `net/ipv4/tcp_output.c`), so its counts are compared with ours of the
//! next sample. Ours include all cgroups; segments of unknown namespaces, and SYNs, which the
//! kernel does not distinguish from SYN-ACKs, are in ours only. So losses may be hidden, never
//! invented.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tare_ebpf::{Cell, NetCell};

use crate::{
    cgroup::{ReadError, first_pid},
    kernel::{Kernel, Table},
    kernel_totals::{Rounding, read_retransmits},
    network::NamespaceId,
    registry::Registry,
    sample::{
        Usage,
        reconcilers::{ReconciledCounts, Reconciliation},
    },
};

/// How often the kernel's counts are read: two files for each namespace.
const READ_INTERVAL: Duration = Duration::from_secs(10);

/// Compares TCP segments that are sent again.
#[derive(Debug)]
pub struct RetransmitReconciler {
    proc_root: PathBuf,
    comparison: Comparison,
    /// Counts of slots that were freed.
    released: u64,
    read_at: Option<Instant>,
    since: Timestamp,
    result: Option<Reconciliation>,
}

/// The kernel's counts of all known namespaces, and ours.
#[derive(Debug, Default)]
struct Comparison {
    /// Each namespace's count at first and at last.
    namespaces: HashMap<NamespaceId, (u64, u64)>,
    /// Counts of namespaces that are gone.
    gone: u64,
    /// Our count at first.
    first: Option<u64>,
    /// The kernel's count, until the next sample's count is compared with it.
    expected: Option<u64>,
    lost: u64,
}

impl RetransmitReconciler {
    /// Reads the kernel's counts in this `/proc`.
    pub fn new(proc_root: &Path) -> Self {
        Self {
            proc_root: proc_root.to_owned(),
            comparison: Comparison::default(),
            released: 0,
            read_at: None,
            since: Timestamp::now(),
            result: None,
        }
    }

    /// The result of the last comparison; `None` before the first.
    pub fn result(&self) -> Option<&Reconciliation> {
        self.result.as_ref()
    }

    /// Keeps the counts of a slot that is freed.
    pub(super) fn released(&mut self, cell: &NetCell) {
        self.released = self.released.wrapping_add(cell.tcp_events.retransmits);
    }

    /// Compares our count with the kernel's last counts, and reads these again where that is due.
    pub(super) fn compare(
        &mut self,
        registry: &Registry,
        kernel: &Kernel,
        usages: &[Usage],
    ) -> Vec<ReadError> {
        let Some(table) = kernel.net.as_ref().filter(|_| kernel.retransmits.is_ok()) else {
            return Vec::new();
        };
        let is_due = self.read_at.is_none_or(|at| at.elapsed() >= READ_INTERVAL);
        if !is_due && self.comparison.expected.is_none() {
            return Vec::new();
        }
        if let Some(total) = self.comparison.compare(self.count(table)) {
            let covered = self.comparison.namespaces.len() as u64;
            let since = self.since;
            self.result =
                Some(Reconciliation { since, total, covered, uncovered: 0, losers: Vec::new() });
        }
        if !is_due {
            return Vec::new();
        }
        self.read_at = Some(Instant::now());
        self.read_kernel(registry, usages)
    }

    fn count(&self, table: &Table<NetCell>) -> u64 {
        let mut sum = NetCell::default();
        table.for_each(|_, _, cell| sum.add(cell));
        sum.add(&table.overflow());
        self.released.wrapping_add(sum.tcp_events.retransmits)
    }

    /// Reads the kernel's counts of the namespaces that are in use, and of the host's.
    fn read_kernel(&mut self, registry: &Registry, usages: &[Usage]) -> Vec<ReadError> {
        let mut counts = HashMap::new();
        let mut errors = Vec::new();
        if let Some(host) = registry.namespaces().host() {
            // The first process may be hidden where kernel threads are not.
            let read = |pid| self.read_namespace(pid, host).ok().flatten();
            counts.extend([1, 2].into_iter().find_map(read).map(|count| (host, count)));
        }
        let mut seen = HashSet::new();
        for usage in usages {
            let Some(namespace) = usage.namespace.filter(|namespace| !seen.contains(namespace))
            else {
                continue;
            };
            // If this instance has no process left, the next one may have.
            if let Ok(Some(pid)) = first_pid(registry.hierarchies(), &usage.instance.path) {
                match self.read_namespace(pid, namespace) {
                    Ok(Some(count)) => drop(counts.insert(namespace, count)),
                    Ok(None) | Err(ReadError::Vanished) => {}
                    Err(error) => errors.push(error),
                }
                seen.insert(namespace);
            }
        }
        self.comparison.update(&counts);
        errors
    }

    fn read_namespace(&self, pid: u32, namespace: NamespaceId) -> Result<Option<u64>, ReadError> {
        let known = self.comparison.namespaces.contains_key(&namespace);
        let rounding = if known { Rounding::Down } else { Rounding::Up };
        read_retransmits(&self.proc_root, pid, namespace, rounding)
    }
}

impl Comparison {
    /// Takes over the kernel's counts of the namespaces that are known now.
    fn update(&mut self, counts: &HashMap<NamespaceId, u64>) {
        let gone = &mut self.gone;
        self.namespaces.retain(|namespace, (first, last)| {
            let stays = counts.get(namespace).is_some_and(|count| count >= last);
            if !stays {
                *gone = gone.saturating_add(*last - *first);
            }
            stays
        });
        for (namespace, count) in counts {
            self.namespaces.entry(*namespace).or_insert((*count, *count)).1 = *count;
        }
        let grown = self.namespaces.values().map(|(first, last)| last - first);
        self.expected = Some(grown.fold(self.gone, u64::saturating_add));
    }

    /// Compares the kernel's counts with our count of now.
    fn compare(&mut self, counted: u64) -> Option<ReconciledCounts> {
        let counted = counted.saturating_sub(*self.first.get_or_insert(counted));
        let expected = self.expected.take()?;
        self.lost = self.lost.max(expected.saturating_sub(counted));
        Some(ReconciledCounts { expected, counted, lost: self.lost, lost_bytes: None })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counts(counts: &[(u64, u64)]) -> HashMap<NamespaceId, u64> {
        counts.iter().map(|(namespace, count)| (NamespaceId(*namespace), *count)).collect()
    }

    fn result(expected: u64, counted: u64, lost: u64) -> Option<ReconciledCounts> {
        Some(ReconciledCounts { expected, counted, lost, lost_bytes: None })
    }

    #[test]
    fn a_segment_that_no_program_saw_is_lost_for_good() {
        let mut comparison = Comparison::default();
        assert_eq!(comparison.compare(100), None);
        comparison.update(&counts(&[(1, 70), (2, 9)]));
        assert_eq!(comparison.compare(103), result(0, 3, 0));
        comparison.update(&counts(&[(1, 75), (2, 10)]));
        assert_eq!(comparison.compare(104), result(6, 4, 2));
        assert_eq!(comparison.compare(104), None, "compared once");
        comparison.update(&counts(&[(1, 75), (2, 10)]));
        assert_eq!(comparison.compare(190), result(6, 90, 2), "others hide it, and it is known");
    }

    #[test]
    fn what_a_namespace_did_before_and_after_is_not_lost() {
        let mut comparison = Comparison::default();
        comparison.compare(0);
        comparison.update(&counts(&[(1, 5)]));
        comparison.compare(0);
        comparison.update(&counts(&[(1, 8), (2, 500)]));
        assert_eq!(comparison.compare(3), result(3, 3, 0));
        comparison.update(&counts(&[(2, 501)]));
        assert_eq!(comparison.compare(4), result(4, 4, 0), "the first one is gone");
        comparison.update(&counts(&[(2, 0)]));
        assert_eq!(comparison.compare(4), result(4, 4, 0), "another one of the same number");
    }

    proptest! {
        #[test]
        fn no_loss_is_invented(
            steps in prop::collection::vec((0..4u64, 0..50u64, 0..20u64, any::<bool>()), 0..40),
        ) {
            let mut comparison = Comparison::default();
            let (mut counts, mut counted) = (HashMap::new(), 0);
            comparison.compare(counted);
            for (namespace, segments, elsewhere, leaves) in steps {
                *counts.entry(NamespaceId(namespace)).or_insert(7) += segments;
                counted += segments + elsewhere;
                if leaves {
                    counts.remove(&NamespaceId(namespace));
                }
                comparison.update(&counts);
                prop_assert_eq!(comparison.compare(counted).map(|result| result.lost), Some(0));
            }
        }
    }
}

//! What has happened to containers since the last sample: starts, OOM kills and ends.

use jiff::Timestamp;

use crate::{
    hashing::{HashMap, HashSet},
    published::Published,
    registry::InstanceId,
    sample::{Receipts, Usage},
};

/// What is known of OOM kills in an instance.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct OomKills {
    count: Option<u64>,
    last: Option<Timestamp>,
}

impl OomKills {
    fn is_more_than(self, before: Self) -> bool {
        self.last > before.last || self.count.unwrap_or(0) > before.count.unwrap_or(0)
    }
}

pub(super) fn observed(usage: &Usage) -> (InstanceId, OomKills) {
    let last = usage.oom_kill.as_ref().map(|kill| kill.at);
    (usage.instance.id, OomKills { count: usage.readings.memory.events.oom_kill, last })
}

/// What events have reported so far.
#[derive(Debug, Default)]
pub(super) struct Reported {
    /// Instances that are alive, or whose end is not reported yet.
    started: HashMap<InstanceId, OomKills>,
    /// Instances with a receipt whose end is reported.
    ended: HashSet<InstanceId>,
}

#[derive(Debug, PartialEq)]
pub(super) enum Change {
    Started(InstanceId),
    OutOfMemory(InstanceId),
    Ended(InstanceId),
}

impl Change {
    /// What it happened to.
    pub(super) fn instance(&self) -> InstanceId {
        match self {
            Self::Started(id) | Self::OutOfMemory(id) | Self::Ended(id) => *id,
        }
    }
}

impl Reported {
    /// Follows samples: what is new in this one. What was there at the first sample is no change.
    pub(super) fn follow(
        reported: &mut Option<Self>,
        latest: &Published,
        receipts: &Receipts,
    ) -> Vec<Change> {
        let usages = latest.pair.newer.usages.iter();
        let alive = usages.filter(|usage| usage.instance.is_container()).map(observed);
        let ended = receipts.iter().map(|receipt| observed(&receipt.usage));
        match reported {
            None => {
                *reported = Some(Self::at_first(alive, ended));
                Vec::new()
            }
            Some(reported) => reported.compare(alive, ended),
        }
    }

    /// What was there at the first sample is no change.
    fn at_first(
        alive: impl Iterator<Item = (InstanceId, OomKills)>,
        ended: impl Iterator<Item = (InstanceId, OomKills)>,
    ) -> Self {
        Self { started: alive.collect(), ended: ended.map(|(id, _)| id).collect() }
    }

    /// A further sample with its receipts.
    fn compare(
        &mut self,
        alive: impl Iterator<Item = (InstanceId, OomKills)>,
        ended: impl Iterator<Item = (InstanceId, OomKills)>,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut present = HashSet::default();
        for (id, oom) in alive {
            present.insert(id);
            self.observe(id, oom, &mut changes);
        }
        let receipts: HashSet<_> = ended.map(|(id, _)| id).collect();
        self.ended.retain(|id| receipts.contains(id));
        self.started.retain(|id, _| present.contains(id) || receipts.contains(id));
        changes
    }

    /// An instance has ended. Of one that started since the last sample, its start is reported
    /// first.
    pub(super) fn end(&mut self, id: InstanceId, oom: OomKills) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.ended.insert(id) {
            self.observe(id, oom, &mut changes);
            self.started.remove(&id);
            changes.push(Change::Ended(id));
        }
        changes
    }

    fn observe(&mut self, id: InstanceId, oom: OomKills, changes: &mut Vec<Change>) {
        let before = self.started.insert(id, oom);
        if before.is_none() {
            changes.push(Change::Started(id));
        }
        if oom.is_more_than(before.unwrap_or_default()) {
            changes.push(Change::OutOfMemory(id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn id(number: u64) -> InstanceId {
        InstanceId(number)
    }

    fn all(rows: &[(u64, u64)]) -> impl Iterator<Item = (InstanceId, OomKills)> {
        rows.iter().map(|(number, kills)| (id(*number), oom(*kills)))
    }

    fn oom(kills: u64) -> OomKills {
        OomKills { count: Some(kills), last: None }
    }

    #[test]
    fn starts_and_ends_are_reported_once_and_in_order() {
        let mut reported = Reported::at_first(all(&[(1, 0), (2, 0)]), all(&[(0, 0)]));
        assert_eq!(reported.compare(all(&[(1, 0), (2, 0)]), all(&[(0, 0)])), []);
        assert_eq!(reported.end(id(0), oom(0)), [], "it was there before");
        assert_eq!(reported.end(id(1), oom(0)), [Change::Ended(id(1))]);
        let short = [Change::Started(id(3)), Change::OutOfMemory(id(3)), Change::Ended(id(3))];
        assert_eq!(reported.end(id(3), oom(1)), short);
        let expected = [Change::OutOfMemory(id(2)), Change::Started(id(4))];
        let ended = [(0, 0), (1, 0), (3, 1)];
        assert_eq!(reported.compare(all(&[(2, 1), (4, 0)]), all(&ended)), expected);
        assert_eq!(reported.compare(all(&[(2, 1), (4, 0)]), all(&ended)), []);
        for (number, kills) in ended {
            assert_eq!(reported.end(id(number), oom(kills)), []);
        }
    }

    #[test]
    fn an_end_that_waits_for_its_runtime_is_not_a_second_start() {
        let mut reported = Reported::at_first(all(&[(1, 2)]), all(&[]));
        // Its receipt is there, and its end is not reported yet.
        assert_eq!(reported.compare(all(&[]), all(&[(1, 2)])), []);
        assert_eq!(reported.end(id(1), oom(2)), [Change::Ended(id(1))]);
        assert_eq!(reported.compare(all(&[]), all(&[(1, 2)])), []);
    }

    #[test]
    fn an_instance_that_vanishes_without_a_receipt_is_forgotten() {
        let mut reported = Reported::at_first(all(&[(1, 0)]), all(&[]));
        assert_eq!(reported.compare(all(&[]), all(&[])), []);
        assert!(reported.started.is_empty());
    }
}

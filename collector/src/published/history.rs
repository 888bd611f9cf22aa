//! The last minutes of every container: a few numbers per sample, bounded in time and memory.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use tare_model::{Ends, POINT_FIELDS, Point, Window};

use crate::{
    identity::Metadata,
    published::{
        excerpt::{Excerpt, Missing, Span},
        operations::Operations,
        ring::Ring,
    },
    registry::{Instance, InstanceId},
    report::{block_operations, host_working_set, point},
    sample::{Sample, Usage},
};

/// The history of every instance that was alive in its time.
pub(crate) struct History {
    samples_max: usize,
    interval: Duration,
    bytes_max: usize,
    moments: VecDeque<Moment>,
    /// How many samples were dropped: the number of the oldest one in `moments`.
    dropped: u64,
    /// Boxed, because nodes of the map are half empty.
    series: BTreeMap<InstanceId, Box<Series>>,
}

/// What is kept of a sample besides its rows.
#[derive(Clone, Copy)]
struct Moment {
    time: Timestamp,
    /// CPU time of all CPUs together, idle time included.
    system_nanoseconds: Option<u64>,
    /// The used part of it.
    busy_nanoseconds: Option<u64>,
    /// The working set of everything.
    memory_bytes: Option<u64>,
}

/// The rows of one instance.
struct Series {
    instance: Arc<Instance>,
    metadata: Option<Arc<Metadata>>,
    /// The number of the sample that its first row is of.
    first: u64,
    ring: Ring<{ POINT_FIELDS.len() }>,
    operations: Operations,
}

impl History {
    /// Keeps samples for `age_max` in at most `bytes_max` bytes.
    pub(crate) fn new(age_max: Duration, bytes_max: usize, interval: Duration) -> Self {
        let mut history = Self {
            samples_max: 0,
            interval,
            bytes_max,
            moments: VecDeque::new(),
            dropped: 0,
            series: BTreeMap::new(),
        };
        history.limit(age_max, interval);
        history
    }

    /// Changes how long samples are kept.
    pub(crate) fn limit(&mut self, age_max: Duration, interval: Duration) {
        let samples = age_max.as_nanos() / interval.as_nanos().max(1);
        self.samples_max = usize::try_from(samples).unwrap_or(usize::MAX);
        self.interval = interval;
    }

    /// Adds a sample and returns the memory that the history takes, in bytes. `older` is the sample
    /// before.
    pub(crate) fn record(&mut self, older: Option<&Sample>, sample: &Sample) -> usize {
        if self.samples_max == 0 {
            self.dropped += self.moments.len() as u64;
            self.moments = VecDeque::new();
            self.series.clear();
            return 0;
        }
        let last = self.moments.back().map(|moment| moment.time);
        let older = older.filter(|older| Some(older.time) == last);
        self.moments.push_back(Moment {
            time: sample.time,
            system_nanoseconds: sample.host.system_nanoseconds,
            busy_nanoseconds: sample.host.busy_nanoseconds,
            memory_bytes: host_working_set(sample),
        });
        self.add_rows(older.map_or(&[], |older| &older.usages), sample);
        while self.moments.len() > self.samples_max {
            self.drop_oldest();
        }
        let mut size = self.size();
        while size > self.bytes_max && !self.moments.is_empty() {
            // An eighth at once, because a ring returns memory in steps.
            (0..=self.moments.len() / 8).for_each(|_| self.drop_oldest());
            self.series.values_mut().for_each(|series| series.shrink());
            size = self.size();
        }
        size
    }

    /// The history of one container, by its exact name, its id, or the beginning of its id. Of
    /// several containers that had the same name, it is the last one.
    ///
    /// # Errors
    ///
    /// If there is no such container, or if several ids begin so.
    pub(crate) fn excerpt(&self, wanted: &str, span: Span) -> Result<Excerpt, Missing> {
        let series = self.find(wanted)?;
        let mut excerpt = Excerpt::new(series.id(), series.name(), span);
        let mut last: Option<Timestamp> = None;
        let skipped = (series.first - self.dropped) as usize;
        let known = self.moments.iter().map(|moment| moment.time).skip(skipped);
        let rows = series.ring.rows().zip(series.operations.rows(series.first));
        for (time, (row, operations)) in known.zip(rows) {
            if span.from.is_some_and(|from| time < from) || span.to.is_some_and(|to| time > to) {
                continue;
            }
            let since = last.map(|last| time.duration_since(last).unsigned_abs());
            // Samples are some milliseconds early or late.
            if since.is_some_and(|since| since + self.interval / 2 < span.step) {
                continue;
            }
            last = Some(time);
            excerpt.push(time, row, operations);
        }
        Ok(excerpt)
    }

    /// The points of an instance from a time on, the oldest first.
    pub(crate) fn points(
        &self,
        instance: InstanceId,
        from: Option<Timestamp>,
    ) -> Vec<(Timestamp, Point)> {
        let Some(series) = self.series.get(&instance) else { return Vec::new() };
        let skipped = (series.first - self.dropped) as usize;
        let times = self.moments.iter().map(|moment| moment.time).skip(skipped);
        let points = times.zip(series.ring.rows());
        points.filter(|(time, _)| from.is_none_or(|from| *time >= from)).collect()
    }

    /// CPU time of the host in nanoseconds and its working set, from a time on, the oldest first.
    pub(crate) fn host(&self, from: Timestamp) -> Vec<(Timestamp, Option<u64>, Option<u64>)> {
        let moments = self.moments.iter().filter(|moment| moment.time >= from);
        moments.map(|moment| (moment.time, moment.busy_nanoseconds, moment.memory_bytes)).collect()
    }

    /// The time between the sample at `end` and the earlier sample for which it comes closest to
    /// `length`; `None` without an earlier sample.
    pub(crate) fn window(&self, end: Timestamp, length: Duration) -> Option<Window> {
        let last = self.moments.iter().rposition(|moment| moment.time <= end)?;
        let to = self.moments.get(last)?;
        let off =
            |moment: &Moment| to.time.duration_since(moment.time).unsigned_abs().abs_diff(length);
        let earlier = self.moments.iter().enumerate().take(last);
        let (first, from) = earlier.min_by_key(|(_, moment)| off(moment))?;
        let grown = |of: fn(&Moment) -> Option<u64>| of(to)?.checked_sub(of(from)?);
        let numbers = [first, last].map(|at| self.dropped + at as u64);
        let ends = |series: &Series| Some((series.instance.path.clone(), series.ends(numbers)?));
        Some(Window {
            from: from.time,
            to: to.time,
            system_nanoseconds: grown(|moment| moment.system_nanoseconds),
            busy_nanoseconds: grown(|moment| moment.busy_nanoseconds),
            rows: self.all().filter_map(ends).collect(),
        })
    }

    /// Adds a row for each instance in the sample that was added last. All are in the order of
    /// their numbers.
    fn add_rows(&mut self, mut older: &[Usage], sample: &Sample) {
        let number = self.dropped + self.moments.len() as u64 - 1;
        let mut all = self.series.iter_mut().peekable();
        let mut new = Vec::new();
        for usage in &sample.usages {
            let id = usage.instance.id;
            while all.next_if(|(known, _)| **known < id).is_some() {}
            let Some((_, series)) = all.next_if(|(known, _)| **known == id) else {
                new.push(usage);
                continue;
            };
            let gone = older.iter().take_while(|older| older.instance.id < id).count();
            older = &older[gone..];
            let before = older.first().filter(|older| older.instance.id == id);
            let is_same = |before: &Usage| Arc::ptr_eq(&before.readings, &usage.readings);
            series.push(number, usage, sample, before.is_some_and(is_same));
        }
        for usage in new {
            let mut series = Series::new(&usage.instance, number);
            series.push(number, usage, sample, false);
            self.series.insert(usage.instance.id, Box::new(series));
        }
    }

    fn all(&self) -> impl DoubleEndedIterator<Item = &Series> {
        self.series.values().map(|series| &**series)
    }

    fn find(&self, wanted: &str) -> Result<&Series, Missing> {
        let exact = |series: &&Series| series.id() == wanted || series.name() == Some(wanted);
        if let Some(series) = self.all().rev().find(exact) {
            return Ok(series);
        }
        let begun = |series: &&Series| !wanted.is_empty() && series.id().starts_with(wanted);
        let mut found = self.all().rev().filter(begun);
        let series = found.next().ok_or(Missing::Unknown)?;
        match found.all(|other| other.id() == series.id()) {
            true => Ok(series),
            false => Err(Missing::Ambiguous),
        }
    }

    fn drop_oldest(&mut self) {
        if self.moments.pop_front().is_none() {
            return;
        }
        let oldest = self.dropped;
        self.dropped += 1;
        self.series.retain(|_, series| {
            if series.first == oldest {
                series.ring.pop();
                series.operations.pop(oldest);
                series.first += 1;
            }
            series.ring.len() > 0
        });
    }

    fn size(&self) -> usize {
        const ENTRY: usize =
            size_of::<(InstanceId, Series)>() - size_of::<Ring<{ POINT_FIELDS.len() }>>();
        let moments = self.moments.capacity() * size_of::<Moment>();
        self.series.values().fold(moments, |sum, series| sum + ENTRY + series.size())
    }
}

impl Series {
    fn new(instance: &Arc<Instance>, first: u64) -> Self {
        Self {
            instance: Arc::clone(instance),
            metadata: None,
            first,
            ring: Ring::new(),
            operations: Operations::default(),
        }
    }

    /// Adds the row of a sample. `is_same` says that the readings are those of the sample before.
    fn push(&mut self, number: u64, usage: &Usage, sample: &Sample, is_same: bool) {
        // The runtime may know more by now. Counting references would write to memory that is only
        // read otherwise.
        if let Some(metadata) = &usage.metadata
            && self.metadata.as_ref().is_none_or(|known| !Arc::ptr_eq(known, metadata))
        {
            self.metadata = Some(Arc::clone(metadata));
        }
        let former = self.ring.last().filter(|_| is_same && self.next() == number);
        // A sample in which it could not be read.
        while self.next() < number {
            self.ring.push([None; POINT_FIELDS.len()]);
        }
        self.ring.push(point(usage, sample, former));
        self.operations.push(number, block_operations(usage, sample));
    }

    fn id(&self) -> &str {
        self.instance.identity.as_ref().map_or(&self.instance.path, |identity| &identity.id)
    }

    fn name(&self) -> Option<&str> {
        self.metadata.as_ref().map(|metadata| metadata.name.as_str())
    }

    /// Its rows of two samples; `None` if it was not alive at the second sample.
    fn ends(&self, numbers: [u64; 2]) -> Option<Ends> {
        let [from, to] = numbers.map(|number| number.checked_sub(self.first));
        let mut rows = self.ring.rows();
        let mut next = 0;
        let mut row = |wanted: u64| -> Option<Point> {
            let found = rows.nth(usize::try_from(wanted.checked_sub(next)?).ok()?);
            next = wanted + 1;
            found
        };
        let from = from.and_then(&mut row);
        Some(Ends { from, to: row(to?)? })
    }

    /// The memory that its numbers take, in bytes.
    fn size(&self) -> usize {
        self.ring.size() + self.operations.size()
    }

    /// Frees memory that is not needed.
    fn shrink(&mut self) {
        self.ring.shrink();
        self.operations.shrink();
    }

    /// The number of the sample that its next row will be of.
    fn next(&self) -> u64 {
        self.first + self.ring.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::block::ByDevice;

    fn sample(second: i64, lives: &[u64]) -> Sample {
        let mut sample = Sample::empty();
        sample.time = Timestamp::new(second, 0).unwrap();
        sample.usages = lives
            .iter()
            .map(|id| {
                let mut usage = Usage::of_path(*id, &format!("/life-{id}"));
                usage.readings_mut().memory.usage_bytes = Some(second as u64 * 10);
                usage.readings_mut().memory.stat.parse_into(b"anon 0\n");
                usage
            })
            .collect();
        sample
    }

    fn history(samples: u64, bytes: usize) -> History {
        History::new(Duration::from_secs(samples), bytes, Duration::from_secs(1))
    }

    fn column(excerpt: &Excerpt) -> Vec<(i64, Option<u64>)> {
        let numbers = excerpt.column("memory_working_set_bytes");
        excerpt.times().iter().map(|time| time.as_second()).zip(numbers.iter().copied()).collect()
    }

    #[test]
    fn the_latest_samples_are_kept_of_the_living_and_the_dead() {
        let mut history = history(3, usize::MAX);
        history.record(None, &sample(1, &[7]));
        history.record(None, &sample(2, &[7, 8]));
        history.record(None, &sample(3, &[8]));
        history.record(None, &sample(4, &[8]));
        let of = |name: &str| history.excerpt(name, Span::default()).map(|e| column(&e));
        assert_eq!(of("/life-7"), Ok(vec![(2, Some(20))]));
        assert_eq!(of("/life-8"), Ok(vec![(2, Some(20)), (3, Some(30)), (4, Some(40))]));
        assert_eq!(of("/life-9"), Err(Missing::Unknown));
        assert_eq!(of("/life"), Err(Missing::Ambiguous));
        history.record(None, &sample(5, &[8]));
        assert_eq!(history.excerpt("/life-7", Span::default()).err(), Some(Missing::Unknown));
    }

    #[test]
    fn a_gap_is_unknown() {
        let mut history = history(9, usize::MAX);
        history.record(None, &sample(1, &[7]));
        history.record(None, &sample(2, &[]));
        history.record(None, &sample(3, &[7]));
        let excerpt = history.excerpt("/life-7", Span::default()).unwrap();
        assert_eq!(column(&excerpt), [(1, Some(10)), (2, None), (3, Some(30))]);
    }

    #[test]
    fn latencies_are_those_of_the_sample() {
        let mut history = history(3, usize::MAX);
        for second in 1..=5 {
            let mut sample = sample(second, &[7]);
            sample.usages[0].block = Some(ByDevice::new());
            let cell = sample.usages[0].latency.get_or_default(8);
            cell.read.buckets[3] = second.cast_unsigned().saturating_sub(3);
            history.record(None, &sample);
        }
        let span = Span { latency: true, ..Span::default() };
        let excerpt = history.excerpt("/life-7", span).unwrap();
        let reads = excerpt.operations().iter().map(|one| one.unwrap().read[3]);
        assert_eq!(reads.collect::<Vec<_>>(), [0, 1, 2]);
        let text = serde_json::to_value(&excerpt).unwrap();
        assert_eq!(text["block_latency"]["read"][3], serde_json::json!([0, 1, 2]));
        assert_eq!(text["block_latency"]["read"][4], serde_json::json!([]));
        let without = history.excerpt("/life-7", Span::default()).unwrap();
        assert!(serde_json::to_value(&without).unwrap().get("block_latency").is_none());
    }

    #[test]
    fn a_part_in_steps() {
        let mut history = history(99, usize::MAX);
        (0..20).for_each(|second| _ = history.record(None, &sample(second, &[7])));
        let at = |second| Timestamp::new(second, 0).ok();
        let span =
            Span { from: at(5), to: at(15), step: Duration::from_secs(4), ..Span::default() };
        let excerpt = history.excerpt("/life-7", span).unwrap();
        assert_eq!(column(&excerpt), [(5, Some(50)), (9, Some(90)), (13, Some(130))]);
    }

    #[test]
    fn a_window_begins_where_it_should_or_where_history_does() {
        let mut history = history(99, usize::MAX);
        let mut record = |second, lives| {
            let mut sample = sample(second, lives);
            sample.host.system_nanoseconds = Some(second as u64);
            history.record(None, &sample);
        };
        record(1, &[7]);
        record(2, &[7, 8]);
        record(3, &[7, 9]);
        record(4, &[7, 9]);
        let at = |second| Timestamp::new(second, 0).unwrap();
        let look = |end, seconds| {
            let window = history.window(at(end), Duration::from_secs(seconds))?;
            let number = |point: Point| point[1];
            let rows = window.rows.into_iter();
            let rows: Vec<_> =
                rows.map(|(path, ends)| (path, ends.from.map(number), number(ends.to))).collect();
            Some((window.from.as_second(), window.system_nanoseconds, rows))
        };
        let seven = |from, to| ("/life-7".to_owned(), Some(Some(from)), Some(to));
        let nine = |to| ("/life-9".to_owned(), None, Some(to));
        assert_eq!(look(4, 2), Some((2, Some(2), vec![seven(20, 40), nine(40)])));
        assert_eq!(look(3, 1), Some((2, Some(1), vec![seven(20, 30), nine(30)])));
        assert_eq!(look(9, 99), Some((1, Some(3), vec![seven(10, 40), nine(40)])));
        assert_eq!((look(1, 1), look(0, 1)), (None, None));
    }

    #[test]
    fn memory_is_bounded() {
        let lives: Vec<u64> = (0..50).collect();
        let bytes_max = 40_000;
        let mut history = history(100_000, bytes_max);
        for second in 0..2_000 {
            assert!(history.record(None, &sample(second, &lives)) <= bytes_max);
        }
        let excerpt = history.excerpt("/life-7", Span::default()).unwrap();
        assert_eq!(column(&excerpt).last(), Some(&(1_999, Some(19_990))));
    }

    #[test]
    fn without_a_time_to_keep_no_history_is_kept() {
        assert_eq!(history(0, usize::MAX).record(None, &sample(1, &[7])), 0);
    }
}

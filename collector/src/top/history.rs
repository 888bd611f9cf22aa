//! What the last reports said of each row, as far as sparklines, rates and events need it.

use std::collections::{HashMap, HashSet, VecDeque, hash_map::Entry};

use jiff::Timestamp;

use crate::{
    model::{Container, Report},
    top::{
        events::{EVENTS_MAX, Events, What},
        figures::{Counters, Figure, Figures},
    },
};

/// Values that a series keeps; older ones go.
pub const VALUES_MAX: usize = 60;

/// What has a sparkline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Series {
    /// Share of one CPU, in percent.
    Cpu,
    /// Working set, in bytes.
    Memory,
    /// Bytes received and sent per second.
    Network,
    /// Bytes read and written per second.
    Block,
}

/// The rows of the last report: their figures and what they were before.
#[derive(Debug, Default)]
pub struct Histories {
    by_cgroup: HashMap<String, History>,
    figures: Vec<Figures>,
    /// The ended that are known already.
    ended: HashSet<(String, Timestamp)>,
    reports: u64,
}

/// What is remembered of a row.
#[derive(Debug, Default)]
pub struct History {
    series: [VecDeque<f32>; 4],
    counters: Counters,
    made_at: Option<Timestamp>,
    oom: Oom,
    /// Where the row is in the last report.
    index: usize,
    /// The last report that had the row.
    report: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Oom {
    kills: Option<u64>,
    last: Option<Timestamp>,
}

impl Histories {
    /// Takes the next report in, and tells what happened since the one before.
    pub fn take(&mut self, report: &Report, events: &mut Events) {
        let is_first = self.reports == 0;
        self.reports += 1;
        self.take_ended(report, events, is_first);
        self.figures.clear();
        for (index, row) in report.containers.iter().enumerate() {
            let (history, is_known) = match self.by_cgroup.entry(row.cgroup.clone()) {
                Entry::Occupied(entry) => {
                    let history = entry.into_mut();
                    if history.is_of_another_life(row) {
                        *history = History::default();
                        (history, false)
                    } else {
                        (history, true)
                    }
                }
                Entry::Vacant(entry) => (entry.insert(History::default()), false),
            };
            if !is_known && !is_first {
                events.push(row.startup.made_at.unwrap_or(report.time), row, What::Started);
            }
            if !is_first {
                // What happened before the first report is no news.
                history.tell_oom(report, row, events);
            }
            history.index = index;
            history.report = self.reports;
            let interval = report.interval_seconds.filter(|_| is_known);
            self.figures.push(history.advance(row, interval));
        }
        self.by_cgroup.retain(|_, history| history.report == self.reports);
        events.learn(|cgroup| {
            let ended = || report.ended.iter().take(EVENTS_MAX).map(|ended| &ended.container);
            self.find(report, cgroup).or_else(|| ended().find(|row| row.cgroup == cgroup))
        });
    }

    /// The figures of the report's containers, in its order.
    pub fn figures(&self) -> &[Figures] {
        &self.figures
    }

    /// The row of a cgroup in the last report, which must be the one that was taken in.
    pub fn find<'a>(&self, report: &'a Report, cgroup: &str) -> Option<&'a Container> {
        report.containers.get(self.by_cgroup.get(cgroup)?.index)
    }

    /// Where the row of a cgroup is in the last report.
    pub fn index(&self, cgroup: &str) -> Option<usize> {
        self.by_cgroup.get(cgroup).map(|history| history.index)
    }

    /// The last values of a row, oldest first; not a number where they were unknown.
    pub fn values(
        &self,
        cgroup: &str,
        series: Series,
    ) -> impl DoubleEndedIterator<Item = f32> + ExactSizeIterator {
        const NONE: &VecDeque<f32> = &VecDeque::new();
        let history = self.by_cgroup.get(cgroup);
        history.map_or(NONE, |history| &history.series[series as usize]).iter().copied()
    }

    fn take_ended(&mut self, report: &Report, events: &mut Events, is_first: bool) {
        let before = std::mem::take(&mut self.ended);
        // The latest is first, and events are told in their order.
        for ended in report.ended.iter().rev() {
            let key = (ended.container.cgroup.clone(), ended.ended_at);
            if !is_first && !before.contains(&key) {
                let row = &ended.container;
                if let Some(history) = self.by_cgroup.get_mut(&row.cgroup) {
                    history.tell_oom(report, row, events);
                } else {
                    // It came and went between two reports.
                    if let Some(made_at) = row.startup.made_at {
                        events.push(made_at, row, What::Started);
                    }
                    History::default().tell_oom(report, row, events);
                }
                events.push(ended.ended_at, row, What::Ended);
            }
            self.ended.insert(key);
        }
    }
}

impl History {
    /// Whether the row has the same cgroup path as one that was there before it.
    fn is_of_another_life(&self, row: &Container) -> bool {
        self.report > 0 && row.startup.made_at.is_some() && self.made_at != row.startup.made_at
    }

    fn tell_oom(&mut self, report: &Report, row: &Container, events: &mut Events) {
        let last = row.memory.last_oom_kill.as_ref();
        let now = Oom { kills: row.memory.oom_kills, last: last.map(|kill| kill.at) };
        let before = std::mem::replace(&mut self.oom, now);
        if let Some(kill) = last.filter(|kill| before.last != Some(kill.at)) {
            events.push(kill.at, row, What::OomKill(Some(kill.command.clone())));
        } else if last.is_none() && now.kills > before.kills.or(Some(0)) {
            events.push(report.time, row, What::OomKill(None));
        }
    }

    fn advance(&mut self, row: &Container, interval: Option<f64>) -> Figures {
        let counters = Counters::of(row);
        let before = interval.map(|seconds| (&self.counters, seconds));
        let figures = Figures::of(row, &counters, before);
        self.counters = counters;
        self.made_at = row.startup.made_at;
        self.oom = Oom {
            kills: row.memory.oom_kills,
            last: row.memory.last_oom_kill.as_ref().map(|kill| kill.at),
        };
        let values = [
            figures.get(Figure::Cpu),
            figures.get(Figure::Memory),
            figures.both([Figure::Rx, Figure::Tx]),
            figures.both([Figure::Read, Figure::Write]),
        ];
        for (series, value) in self.series.iter_mut().zip(values) {
            if series.len() == VALUES_MAX {
                series.pop_front();
            }
            series.push_back(value.map_or(f32::NAN, |value| value as f32));
        }
        figures
    }
}

//! The last values of each row, for sparklines, rates and events.

use std::collections::{HashMap, HashSet, VecDeque, hash_map::Entry};

use jiff::Timestamp;
use tare_model::{Container, Report};

use crate::top::{
    events::{EVENTS_MAX, EventKind, Events},
    figures::{Counters, Figure, Figures},
};

/// How many values a series keeps.
pub(super) const VALUES_MAX: usize = 60;

/// A number that has a sparkline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Series {
    /// Share of one CPU, in percent.
    Cpu,
    /// Working set, in bytes.
    Memory,
    /// Bytes received and sent per second.
    Network,
    /// Bytes read and written per second.
    Block,
}

/// The figures of the rows of the last report, and their last values.
#[derive(Debug, Default)]
pub(super) struct Histories {
    by_cgroup: HashMap<String, History>,
    figures: Vec<Figures>,
    /// Ended containers that earlier reports had: cgroup and time of the end.
    ended: HashSet<(String, Timestamp)>,
    reports: u64,
}

/// What is kept about a row.
#[derive(Debug, Default)]
pub(super) struct History {
    series: [VecDeque<f32>; 4],
    counters: Counters,
    made_at: Option<Timestamp>,
    oom: Oom,
    /// The index of the row in the last report.
    index: usize,
    /// The number of the last report that had the row.
    report: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Oom {
    kills: Option<u64>,
    last: Option<Timestamp>,
}

impl Histories {
    /// Adds a report, and the events since the previous one.
    pub(super) fn update(&mut self, report: &Report, events: &mut Events) {
        let is_first = self.reports == 0;
        self.reports += 1;
        self.add_ended(report, events, is_first);
        self.figures.clear();
        for (index, row) in report.containers.iter().enumerate() {
            let (history, is_known) = match self.by_cgroup.entry(row.cgroup.clone()) {
                Entry::Occupied(entry) => {
                    let history = entry.into_mut();
                    if history.is_other_instance(row) {
                        *history = History::default();
                        (history, false)
                    } else {
                        (history, true)
                    }
                }
                Entry::Vacant(entry) => (entry.insert(History::default()), false),
            };
            if !is_known && !is_first {
                events.push(row.startup.made_at.unwrap_or(report.time), row, EventKind::Started);
            }
            if !is_first {
                // The first report holds what happened before the start.
                history.report_oom_kills(report, row, events);
            }
            history.index = index;
            history.report = self.reports;
            let interval = report.interval_seconds.filter(|_| is_known);
            self.figures.push(history.advance(row, interval));
        }
        self.by_cgroup.retain(|_, history| history.report == self.reports);
        events.set_names(|cgroup| {
            let ended = || report.ended.iter().take(EVENTS_MAX).map(|ended| &ended.container);
            self.find(report, cgroup).or_else(|| ended().find(|row| row.cgroup == cgroup))
        });
    }

    /// The figures of the containers of the last report, in its order.
    pub(super) fn figures(&self) -> &[Figures] {
        &self.figures
    }

    /// The row of a cgroup in `report`, which must be the last one that was added.
    pub(super) fn find<'a>(&self, report: &'a Report, cgroup: &str) -> Option<&'a Container> {
        report.containers.get(self.by_cgroup.get(cgroup)?.index)
    }

    /// The index of the row of a cgroup in the last report.
    pub(super) fn index(&self, cgroup: &str) -> Option<usize> {
        self.by_cgroup.get(cgroup).map(|history| history.index)
    }

    /// The last values of a row, the oldest first. NaN is unknown.
    pub(super) fn values(
        &self,
        cgroup: &str,
        series: Series,
    ) -> impl DoubleEndedIterator<Item = f32> + ExactSizeIterator {
        const NONE: &VecDeque<f32> = &VecDeque::new();
        let history = self.by_cgroup.get(cgroup);
        history.map_or(NONE, |history| &history.series[series as usize]).iter().copied()
    }

    fn add_ended(&mut self, report: &Report, events: &mut Events, is_first: bool) {
        let before = std::mem::take(&mut self.ended);
        // The report has the latest first, events come in their order.
        for ended in report.ended.iter().rev() {
            let key = (ended.container.cgroup.clone(), ended.ended_at);
            if !is_first && !before.contains(&key) {
                let row = &ended.container;
                if let Some(history) = self.by_cgroup.get_mut(&row.cgroup) {
                    history.report_oom_kills(report, row, events);
                } else {
                    // The container started and ended between two reports.
                    if let Some(made_at) = row.startup.made_at {
                        events.push(made_at, row, EventKind::Started);
                    }
                    History::default().report_oom_kills(report, row, events);
                }
                events.push(ended.ended_at, row, EventKind::Ended);
            }
            self.ended.insert(key);
        }
    }
}

impl History {
    /// Whether the row is a later container with the same cgroup path.
    fn is_other_instance(&self, row: &Container) -> bool {
        self.report > 0 && row.startup.made_at.is_some() && self.made_at != row.startup.made_at
    }

    fn report_oom_kills(&mut self, report: &Report, row: &Container, events: &mut Events) {
        let last = row.memory.last_oom_kill.as_ref();
        let now = Oom { kills: row.memory.oom_kills, last: last.map(|kill| kill.at) };
        let before = std::mem::replace(&mut self.oom, now);
        if let Some(kill) = last.filter(|kill| before.last != Some(kill.at)) {
            events.push(kill.at, row, EventKind::OomKill(Some(kill.command.clone())));
        } else if last.is_none() && now.kills > before.kills.or(Some(0)) {
            events.push(report.time, row, EventKind::OomKill(None));
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

//! What is shown, and what keys and reports make of it. Pure: no clock, no terminal.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    cli::{MAX_INTERVAL, MIN_INTERVAL},
    config::Top,
    model::{Container, Ended, Report},
    output::{Scope, Sort},
    top::{
        events::Events,
        history::Histories,
        keys::Action,
        rows::{self, Line, Lines, Wanted, label},
        view::Areas,
    },
};

/// The intervals that `+` and `-` go through.
const INTERVALS: [Duration; 9] = [
    MIN_INTERVAL,
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(60),
    MAX_INTERVAL,
];

/// Characters that a filter or a search may have.
const PROMPT_MAX: usize = 64;

/// Lines that a turn of the mouse's wheel goes.
const WHEEL_LINES: isize = 3;

/// Everything that a frame is drawn from.
#[derive(Debug)]
pub struct State {
    /// The last report.
    pub report: Option<Report>,
    /// What the ones before it said.
    pub histories: Histories,
    /// What happened lately.
    pub events: Events,
    /// What the list is to show.
    pub wanted: Wanted,
    /// What it shows.
    pub lines: Lines,
    /// The line that is marked.
    pub cursor: usize,
    /// The line at the top.
    pub top: usize,
    /// The page of one container, over the list.
    pub detail: Option<Detail>,
    /// The line that is being typed.
    pub prompt: Option<Prompt>,
    /// Whether the help is over everything.
    pub is_help: bool,
    /// Whether reports are held back.
    pub is_paused: bool,
    /// Time between two samples.
    pub interval: Duration,
    /// Lines of the page that is shown, as it was drawn last.
    pub page_lines: usize,
    /// Who the marked line stands for, once somebody has moved the mark.
    marked: Option<Key>,
}

/// The page of one container.
#[derive(Clone, Debug)]
pub struct Detail {
    /// Whose.
    pub key: Key,
    /// The row as it was in the report before, for rates.
    pub before: Option<Container>,
    /// The first line that is shown.
    pub scroll: usize,
}

/// Who a line stands for, whatever place it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// A group, by name.
    Group(String),
    /// A row, by cgroup.
    Row(String),
    /// Who ended, by cgroup and time.
    Ended(String, Timestamp),
}

/// A line that is being typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// What it is for.
    pub purpose: Purpose,
    /// What was typed so far.
    pub text: String,
}

/// What a typed line is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Shows only what matches.
    Filter,
    /// Goes to what matches.
    Search,
}

impl State {
    /// Before the first report.
    pub fn new(top: &Top) -> Self {
        let wanted = Wanted {
            scope: top.scope,
            sort: top.sort,
            filter: top.filter.clone(),
            ..Wanted::default()
        };
        Self {
            report: None,
            histories: Histories::default(),
            events: Events::default(),
            wanted,
            lines: Lines::default(),
            cursor: 0,
            top: 0,
            detail: None,
            prompt: None,
            is_help: false,
            is_paused: false,
            interval: top.interval,
            page_lines: 1,
            marked: None,
        }
    }

    /// Takes the next report in.
    pub fn take(&mut self, report: Report) {
        if let Some(detail) = &mut self.detail {
            let Key::Row(cgroup) = &detail.key else { return self.replace(report) };
            let old = self.report.as_ref();
            detail.before = old.and_then(|old| self.histories.find(old, cgroup)).cloned();
        }
        self.replace(report);
    }

    fn replace(&mut self, report: Report) {
        self.histories.take(&report, &mut self.events);
        self.report = Some(report);
        self.relist();
    }

    /// The container whose page is shown; `Ended` if it ended.
    pub fn shown(&self) -> Option<(&Container, Option<&Ended>)> {
        let report = self.report.as_ref()?;
        let ended = |is_it: &dyn Fn(&Ended) -> bool| {
            let ended = report.ended.iter().find(|ended| is_it(ended))?;
            Some((&ended.container, Some(ended)))
        };
        match &self.detail.as_ref()?.key {
            Key::Group(_) => None,
            Key::Row(cgroup) => self
                .histories
                .find(report, cgroup)
                .map(|row| (row, None))
                .or_else(|| ended(&|ended| ended.container.cgroup == *cgroup)),
            Key::Ended(cgroup, at) => {
                ended(&|ended| ended.container.cgroup == *cgroup && ended.ended_at == *at)
            }
        }
    }

    /// Does what a key asks for. Leaving and suspending are the loop's.
    pub fn act(&mut self, action: Action) {
        match action {
            Action::Move(by) => self.go(by),
            Action::Pages(by) => self.go(by.saturating_mul(self.page_lines.max(1) as isize)),
            Action::Wheel(by) => self.go(by * WHEEL_LINES),
            Action::First => self.go(isize::MIN),
            Action::Last => self.go(isize::MAX),
            Action::Click(line) => self.click(line),
            Action::Open => self.open(),
            Action::Back => self.back(),
            Action::Help => self.is_help = !self.is_help,
            Action::Pause => self.is_paused = !self.is_paused,
            Action::Faster => self.interval = step(self.interval, false),
            Action::Slower => self.interval = step(self.interval, true),
            Action::SortBy(sort) => self.sort_by(sort),
            Action::NextSort(by) => self.next_sort(by),
            Action::Reverse => self.relisted(|wanted| wanted.is_reversed = !wanted.is_reversed),
            Action::Tree => self.relisted(|wanted| {
                wanted.is_tree = !wanted.is_tree;
                wanted.is_ended = false;
            }),
            Action::Ended => self.relisted(|wanted| wanted.is_ended = !wanted.is_ended),
            Action::Scope => self.relisted(|wanted| {
                wanted.scope = match wanted.scope {
                    Scope::Containers => Scope::Services,
                    Scope::Services => Scope::All,
                    Scope::All => Scope::Containers,
                };
            }),
            Action::Collapse => self.fold(Some(true)),
            Action::Expand => self.fold(Some(false)),
            Action::Prompt(purpose) => self.ask(purpose),
            Action::Type(character) => self.type_in(|text| {
                if text.chars().count() < PROMPT_MAX {
                    text.push(character);
                }
            }),
            Action::Erase => self.type_in(|text| {
                text.pop();
            }),
            Action::Accept => self.prompt = None,
            Action::Dismiss => self.dismiss(),
            Action::Next => self.search(true),
            Action::Quit | Action::Suspend | Action::Redraw => {}
        }
    }

    /// Learns from a frame how much of everything has found a place.
    pub fn drawn(&mut self, areas: &Areas) {
        self.top = areas.top;
        self.page_lines = areas.page_lines;
        if let Some(detail) = &mut self.detail {
            detail.scroll = areas.scroll;
        }
    }

    fn relisted(&mut self, change: impl FnOnce(&mut Wanted)) {
        change(&mut self.wanted);
        self.relist();
    }

    /// Finds the lines anew, and keeps the mark on who it was on.
    fn relist(&mut self) {
        let Some(report) = &self.report else { return };
        self.lines = rows::lines(report, self.histories.figures(), &self.wanted);
        let kept = self.marked.as_ref().and_then(|key| self.place(key));
        let last = self.lines.lines.len().saturating_sub(1);
        self.cursor = kept.unwrap_or(self.cursor).min(last);
        if self.marked.is_none() {
            // Nobody chose a row: what is biggest stays in sight.
            self.cursor = 0;
        }
    }

    fn place(&self, key: &Key) -> Option<usize> {
        self.lines.lines.iter().position(|line| match (key, line) {
            (Key::Group(name), Line::Group(index)) => self.lines.groups[*index].name == *name,
            (Key::Row(cgroup), Line::Row(index)) => {
                self.histories.index(cgroup).is_some_and(|place| place == *index)
            }
            (Key::Ended(cgroup, at), Line::Ended(index)) => {
                let ended = self.report.as_ref().and_then(|report| report.ended.get(*index));
                ended.is_some_and(|e| e.container.cgroup == *cgroup && e.ended_at == *at)
            }
            _ => false,
        })
    }

    /// Who a line stands for.
    fn key(&self, line: usize) -> Option<Key> {
        let report = self.report.as_ref()?;
        Some(match *self.lines.lines.get(line)? {
            Line::Group(index) => Key::Group(self.lines.groups.get(index)?.name.clone()),
            Line::Row(index) => Key::Row(report.containers.get(index)?.cgroup.clone()),
            Line::Ended(index) => {
                let ended = report.ended.get(index)?;
                Key::Ended(ended.container.cgroup.clone(), ended.ended_at)
            }
        })
    }

    fn go(&mut self, by: isize) {
        if let Some(detail) = &mut self.detail {
            // Drawing knows how long the page is, and keeps this in it.
            detail.scroll = detail.scroll.saturating_add_signed(by);
            return;
        }
        let last = self.lines.lines.len().saturating_sub(1);
        self.mark(self.cursor.saturating_add_signed(by).min(last));
    }

    fn mark(&mut self, line: usize) {
        self.cursor = line;
        self.marked = self.key(line);
    }

    /// A click marks a line; another one on the same opens it.
    fn click(&mut self, line: usize) {
        if line == self.cursor && self.marked.is_some() {
            self.open();
        } else if line < self.lines.lines.len() {
            self.mark(line);
        }
    }

    fn open(&mut self) {
        match self.key(self.cursor) {
            Some(Key::Group(_)) => self.fold(None),
            Some(key) => {
                self.mark(self.cursor);
                self.detail = Some(Detail { key, before: None, scroll: 0 });
            }
            None => {}
        }
    }

    /// Leaves what is on top: the help, the page, the filter.
    fn back(&mut self) {
        if self.is_help {
            self.is_help = false;
        } else if self.detail.is_some() {
            self.detail = None;
        } else {
            self.relisted(|wanted| wanted.filter.clear());
        }
    }

    /// Hides or shows the rows of the group that the mark is in.
    fn fold(&mut self, hide: Option<bool>) {
        let above = self.lines.lines.iter().take(self.cursor + 1).rev();
        let mut groups = above.filter_map(|line| match line {
            Line::Group(index) => self.lines.groups.get(*index),
            _ => None,
        });
        let Some(group) = groups.next() else { return };
        let (name, is_collapsed) = (group.name.clone(), group.is_collapsed);
        if hide.unwrap_or(!is_collapsed) {
            self.wanted.collapsed.insert(name.clone());
        } else {
            self.wanted.collapsed.remove(&name);
        }
        self.marked =
            if hide == Some(false) { self.key(self.cursor) } else { Some(Key::Group(name)) };
        self.relist();
    }

    /// Another column, biggest first; the same column, the other way round.
    fn sort_by(&mut self, sort: Sort) {
        self.relisted(|wanted| {
            wanted.is_reversed = wanted.sort == sort && !wanted.is_reversed;
            wanted.sort = sort;
        });
    }

    fn next_sort(&mut self, by: isize) {
        const SORTS: [Sort; 6] =
            [Sort::Name, Sort::Cpu, Sort::Memory, Sort::Network, Sort::Block, Sort::Pids];
        let now = SORTS.iter().position(|sort| *sort == self.wanted.sort).unwrap_or(0) as isize;
        let next = (now + by).rem_euclid(SORTS.len() as isize) as usize;
        self.relisted(|wanted| (wanted.sort, wanted.is_reversed) = (SORTS[next], false));
    }

    fn ask(&mut self, purpose: Purpose) {
        let text = match purpose {
            Purpose::Filter => self.wanted.filter.clone(),
            Purpose::Search => String::new(),
        };
        self.prompt = Some(Prompt { purpose, text });
    }

    fn type_in(&mut self, change: impl FnOnce(&mut String)) {
        let Some(prompt) = &mut self.prompt else { return };
        change(&mut prompt.text);
        match prompt.purpose {
            Purpose::Filter => {
                let text = prompt.text.clone();
                self.relisted(|wanted| wanted.filter = text);
            }
            Purpose::Search => self.search(false),
        }
    }

    fn dismiss(&mut self) {
        let prompt = self.prompt.take();
        if prompt.is_some_and(|prompt| prompt.purpose == Purpose::Filter) {
            self.relisted(|wanted| wanted.filter.clear());
        }
    }

    /// Marks the first match from the mark on, or the one after it.
    fn search(&mut self, next: bool) {
        let Some(Prompt { purpose: Purpose::Search, text }) = &self.prompt else { return };
        let lower = text.to_lowercase();
        let count = self.lines.lines.len();
        let from = self.cursor + usize::from(next);
        let found = (from..from + count)
            .map(|line| line % count)
            .find(|&line| !lower.is_empty() && self.is_match(line, &lower));
        if let Some(line) = found {
            self.mark(line);
        }
    }

    fn is_match(&self, line: usize, lower: &str) -> bool {
        let Some(report) = &self.report else { return false };
        match self.lines.lines[line] {
            Line::Group(index) => self.lines.groups[index].name.to_lowercase().contains(lower),
            Line::Row(index) => label(&report.containers[index]).to_lowercase().contains(lower),
            Line::Ended(index) => {
                label(&report.ended[index].container).to_lowercase().contains(lower)
            }
        }
    }
}

/// The next longer or shorter interval.
fn step(interval: Duration, longer: bool) -> Duration {
    let found = if longer {
        INTERVALS.iter().find(|step| **step > interval)
    } else {
        INTERVALS.iter().rev().find(|step| **step < interval)
    };
    found.copied().unwrap_or(interval)
}

#[cfg(test)]
mod tests;

//! What is shown, and how actions and reports change it. Pure: no clock, no terminal.

use std::time::Duration;

use jiff::Timestamp;
use tare_model::{Container, Ended, Report};

use crate::{
    cli::{MAX_INTERVAL, MIN_INTERVAL},
    config::Top,
    output::{Scope, Sort},
    top::{
        action::{Action, Jump, Purpose},
        areas::Areas,
        events::Events,
        history::Histories,
        rows::{self, List, ListLine, ListOptions, label},
    },
};

/// The intervals that `+` and `-` choose from.
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

/// The most characters of a filter or a search.
const PROMPT_MAX: usize = 64;

/// Lines per turn of the mouse wheel.
const WHEEL_LINES: isize = 3;

/// Everything that a frame is made from.
#[derive(Debug)]
pub(super) struct State {
    /// The last report.
    pub report: Option<Report>,
    /// The last values of its rows.
    pub histories: Histories,
    /// The last events.
    pub events: Events,
    /// Which lines the list shows.
    pub options: ListOptions,
    /// The list.
    pub list: List,
    /// The index of the marked line.
    pub cursor: usize,
    /// The index of the first visible line.
    pub top: usize,
    /// The detail view of one container, which hides the list.
    pub detail: Option<Detail>,
    /// The prompt, while it is open.
    pub prompt: Option<Prompt>,
    /// Whether the help is shown.
    pub is_help: bool,
    /// Whether new reports are not shown.
    pub is_paused: bool,
    /// The instant of a recording that is shown.
    pub shown_at: Option<Shown>,
    /// What the last key could not do.
    pub notice: Option<String>,
    /// Time between two samples.
    pub interval: Duration,
    /// How many lines fit on the screen.
    pub page_lines: usize,
    /// The row of the marked line, once the user has marked one.
    marked: Option<RowKey>,
}

/// The instant of a recording that is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    /// The first recorded instant.
    pub first: Timestamp,
    /// This one.
    pub at: Timestamp,
    /// The last one.
    pub last: Timestamp,
    /// How many parts were found damaged.
    pub problems: usize,
}

/// What is live, while a recording is shown.
#[derive(Debug)]
pub(super) struct Live {
    report: Option<Report>,
    histories: Histories,
    events: Events,
}

/// The detail view of one container.
#[derive(Clone, Debug)]
pub(super) struct Detail {
    /// The container.
    pub key: RowKey,
    /// Its row in the previous report, for rates.
    pub before: Option<Container>,
    /// The index of the first visible line.
    pub scroll: usize,
}

/// What a line is about, whatever its index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RowKey {
    /// A group, by name.
    Group(String),
    /// A row, by cgroup.
    Row(String),
    /// An ended container, by cgroup and time of its end.
    Ended(String, Timestamp),
}

/// A line that the user types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Prompt {
    /// What it is for.
    pub purpose: Purpose,
    /// The text so far.
    pub text: String,
}

impl State {
    /// The state before the first report.
    pub(super) fn new(top: &Top) -> Self {
        let options = ListOptions {
            scope: top.scope,
            sort: top.sort,
            filter: top.filter.clone(),
            ..ListOptions::default()
        };
        Self {
            report: None,
            histories: Histories::default(),
            events: Events::default(),
            options,
            list: List::default(),
            cursor: 0,
            top: 0,
            detail: None,
            prompt: None,
            is_help: false,
            is_paused: false,
            shown_at: None,
            notice: None,
            interval: top.interval,
            page_lines: 1,
            marked: None,
        }
    }

    /// Puts what is live aside, to show what was recorded.
    pub(super) fn put_aside(&mut self) -> Live {
        let (histories, events) = (Histories::default(), Events::default());
        let live = Live {
            report: self.report.take(),
            histories: std::mem::replace(&mut self.histories, histories),
            events: std::mem::replace(&mut self.events, events),
        };
        self.is_paused = true;
        live
    }

    /// Shows what is live again.
    pub(super) fn take_back(&mut self, live: Live) {
        self.forget();
        (self.report, self.histories, self.events) = (live.report, live.histories, live.events);
        self.shown_at = None;
        self.is_paused = false;
    }

    /// Forgets the reports so far, because the next one is not later.
    pub(super) fn forget(&mut self) {
        self.histories = Histories::default();
        self.events = Events::default();
        self.report = None;
        if let Some(detail) = &mut self.detail {
            detail.before = None;
        }
    }

    /// Takes the next report.
    pub(super) fn update(&mut self, report: Report) {
        if let Some(detail) = &mut self.detail {
            let RowKey::Row(cgroup) = &detail.key else { return self.replace(report) };
            let old = self.report.as_ref();
            detail.before = old.and_then(|old| self.histories.find(old, cgroup)).cloned();
        }
        self.replace(report);
    }

    fn replace(&mut self, report: Report) {
        self.histories.update(&report, &mut self.events);
        self.report = Some(report);
        self.update_list();
    }

    /// The container of the detail view, with its receipt if it has ended.
    pub(super) fn shown(&self) -> Option<(&Container, Option<&Ended>)> {
        let report = self.report.as_ref()?;
        let ended = |is_it: &dyn Fn(&Ended) -> bool| {
            let ended = report.ended.iter().find(|ended| is_it(ended))?;
            Some((&ended.container, Some(ended)))
        };
        match &self.detail.as_ref()?.key {
            RowKey::Group(_) => None,
            RowKey::Row(cgroup) => self
                .histories
                .find(report, cgroup)
                .map(|row| (row, None))
                .or_else(|| ended(&|ended| ended.container.cgroup == *cgroup)),
            RowKey::Ended(cgroup, at) => {
                ended(&|ended| ended.container.cgroup == *cgroup && ended.ended_at == *at)
            }
        }
    }

    /// Does an action. `Quit`, `Suspend` and `Redraw` are done by the loop, and so is a jump in a
    /// recording.
    pub(super) fn act(&mut self, action: Action) -> Option<Jump> {
        match action {
            Action::Step(by) => return Some(Jump::Instants(by)),
            Action::Seconds(by) => return Some(Jump::Seconds(by)),
            Action::Event { forward } => return Some(Jump::Event { forward }),
            Action::Now => return Some(Jump::Now),
            Action::Accept => return self.accept(),
            Action::Move(by) => self.move_by(by),
            Action::Pages(by) => self.move_by(by.saturating_mul(self.page_lines.max(1) as isize)),
            Action::Wheel(by) => self.move_by(by * WHEEL_LINES),
            Action::First => self.move_by(isize::MIN),
            Action::Last => self.move_by(isize::MAX),
            Action::Click(line) => self.click(line),
            Action::Open => self.open(),
            Action::Back => self.back(),
            Action::Help => self.is_help = !self.is_help,
            Action::Pause => self.is_paused = !self.is_paused,
            Action::Faster => self.interval = step(self.interval, false),
            Action::Slower => self.interval = step(self.interval, true),
            Action::SortBy(sort) => self.sort_by(sort),
            Action::NextSort(by) => self.next_sort(by),
            Action::Reverse => {
                self.change_list(|options| options.is_reversed = !options.is_reversed);
            }
            Action::Tree => self.change_list(|options| {
                options.is_tree = !options.is_tree;
                options.is_ended = false;
            }),
            Action::Ended => self.change_list(|options| options.is_ended = !options.is_ended),
            Action::Scope => self.change_list(|options| {
                options.scope = match options.scope {
                    Scope::Containers => Scope::Services,
                    Scope::Services => Scope::All,
                    Scope::All => Scope::Containers,
                };
            }),
            Action::Collapse => self.fold(Some(true)),
            Action::Expand => self.fold(Some(false)),
            Action::Prompt(purpose) => self.open_prompt(purpose),
            Action::Type(character) => self.edit_prompt(|text| {
                if text.chars().count() < PROMPT_MAX {
                    text.push(character);
                }
            }),
            Action::Erase => self.edit_prompt(|text| {
                text.pop();
            }),
            Action::Dismiss => self.cancel_prompt(),
            Action::Next => self.search(true),
            Action::Quit | Action::Suspend | Action::Redraw => {}
        }
        None
    }

    /// Closes the prompt; the time that was typed.
    fn accept(&mut self) -> Option<Jump> {
        let Prompt { purpose, text } = self.prompt.take()?;
        (purpose == Purpose::Time).then_some(Jump::To(text))
    }

    /// Takes the positions of the frame that was drawn.
    pub(super) fn drawn(&mut self, areas: &Areas) {
        self.top = areas.top;
        self.page_lines = areas.page_lines;
        if let Some(detail) = &mut self.detail {
            detail.scroll = areas.scroll;
        }
    }

    fn change_list(&mut self, change: impl FnOnce(&mut ListOptions)) {
        change(&mut self.options);
        self.update_list();
    }

    /// Makes the list again. The marked row stays marked.
    fn update_list(&mut self) {
        let Some(report) = &self.report else { return };
        self.list = rows::lines(report, self.histories.figures(), &self.options);
        let kept = self.marked.as_ref().and_then(|key| self.index_of(key));
        let last = self.list.lines.len().saturating_sub(1);
        self.cursor = kept.unwrap_or(self.cursor).min(last);
        if self.marked.is_none() {
            // The user has marked no row: the first one stays visible.
            self.cursor = 0;
        }
    }

    fn index_of(&self, key: &RowKey) -> Option<usize> {
        self.list.lines.iter().position(|line| match (key, line) {
            (RowKey::Group(name), ListLine::Group(index)) => self.list.groups[*index].name == *name,
            (RowKey::Row(cgroup), ListLine::Row(index)) => {
                self.histories.index(cgroup).is_some_and(|place| place == *index)
            }
            (RowKey::Ended(cgroup, at), ListLine::Ended(index)) => {
                let ended = self.report.as_ref().and_then(|report| report.ended.get(*index));
                ended.is_some_and(|e| e.container.cgroup == *cgroup && e.ended_at == *at)
            }
            _ => false,
        })
    }

    /// What a line is about.
    fn key(&self, line: usize) -> Option<RowKey> {
        let report = self.report.as_ref()?;
        Some(match *self.list.lines.get(line)? {
            ListLine::Group(index) => RowKey::Group(self.list.groups.get(index)?.name.clone()),
            ListLine::Row(index) => RowKey::Row(report.containers.get(index)?.cgroup.clone()),
            ListLine::Ended(index) => {
                let ended = report.ended.get(index)?;
                RowKey::Ended(ended.container.cgroup.clone(), ended.ended_at)
            }
        })
    }

    fn move_by(&mut self, by: isize) {
        if let Some(detail) = &mut self.detail {
            // Drawing limits it to the length of the view.
            detail.scroll = detail.scroll.saturating_add_signed(by);
            return;
        }
        let last = self.list.lines.len().saturating_sub(1);
        self.mark(self.cursor.saturating_add_signed(by).min(last));
    }

    fn mark(&mut self, line: usize) {
        self.cursor = line;
        self.marked = self.key(line);
    }

    /// A click marks a line. A second one on the same line opens it.
    fn click(&mut self, line: usize) {
        if line == self.cursor && self.marked.is_some() {
            self.open();
        } else if line < self.list.lines.len() {
            self.mark(line);
        }
    }

    fn open(&mut self) {
        match self.key(self.cursor) {
            Some(RowKey::Group(_)) => self.fold(None),
            Some(key) => {
                self.mark(self.cursor);
                self.detail = Some(Detail { key, before: None, scroll: 0 });
            }
            None => {}
        }
    }

    /// Closes the help, or else the detail view, or else removes the filter.
    fn back(&mut self) {
        if self.is_help {
            self.is_help = false;
        } else if self.detail.is_some() {
            self.detail = None;
        } else {
            self.change_list(|options| options.filter.clear());
        }
    }

    /// Hides or shows the rows of the group that the marked line is in.
    fn fold(&mut self, hide: Option<bool>) {
        let above = self.list.lines.iter().take(self.cursor + 1).rev();
        let mut groups = above.filter_map(|line| match line {
            ListLine::Group(index) => self.list.groups.get(*index),
            _ => None,
        });
        let Some(group) = groups.next() else { return };
        let (name, is_collapsed) = (group.name.clone(), group.is_collapsed);
        if hide.unwrap_or(!is_collapsed) {
            self.options.collapsed.insert(name.clone());
        } else {
            self.options.collapsed.remove(&name);
        }
        self.marked =
            if hide == Some(false) { self.key(self.cursor) } else { Some(RowKey::Group(name)) };
        self.update_list();
    }

    /// Sorts by another column, the biggest first. The same column again reverses the order.
    fn sort_by(&mut self, sort: Sort) {
        self.change_list(|options| {
            options.is_reversed = options.sort == sort && !options.is_reversed;
            options.sort = sort;
        });
    }

    fn next_sort(&mut self, by: isize) {
        const SORTS: [Sort; 6] =
            [Sort::Name, Sort::Cpu, Sort::Memory, Sort::Network, Sort::Block, Sort::Pids];
        let now = SORTS.iter().position(|sort| *sort == self.options.sort).unwrap_or(0) as isize;
        let next = (now + by).rem_euclid(SORTS.len() as isize) as usize;
        self.change_list(|options| (options.sort, options.is_reversed) = (SORTS[next], false));
    }

    fn open_prompt(&mut self, purpose: Purpose) {
        let text = match purpose {
            Purpose::Filter => self.options.filter.clone(),
            Purpose::Search | Purpose::Time => String::new(),
        };
        self.prompt = Some(Prompt { purpose, text });
    }

    fn edit_prompt(&mut self, change: impl FnOnce(&mut String)) {
        let Some(prompt) = &mut self.prompt else { return };
        change(&mut prompt.text);
        match prompt.purpose {
            Purpose::Filter => {
                let text = prompt.text.clone();
                self.change_list(|options| options.filter = text);
            }
            Purpose::Search => self.search(false),
            Purpose::Time => {}
        }
    }

    fn cancel_prompt(&mut self) {
        let prompt = self.prompt.take();
        if prompt.is_some_and(|prompt| prompt.purpose == Purpose::Filter) {
            self.change_list(|options| options.filter.clear());
        }
    }

    /// Marks the first match from the marked line on, or the first one after it.
    fn search(&mut self, next: bool) {
        let Some(Prompt { purpose: Purpose::Search, text }) = &self.prompt else { return };
        let lower = text.to_lowercase();
        let count = self.list.lines.len();
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
        match self.list.lines[line] {
            ListLine::Group(index) => self.list.groups[index].name.to_lowercase().contains(lower),
            ListLine::Row(index) => label(&report.containers[index]).to_lowercase().contains(lower),
            ListLine::Ended(index) => {
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

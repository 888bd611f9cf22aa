//! What happened lately: the last of it, and no more than that.

use std::collections::VecDeque;

use jiff::Timestamp;

use crate::{
    model::{Container, Kind},
    top::rows::label,
};

/// Events that are kept; older ones go.
pub const EVENTS_MAX: usize = 256;

/// The last events, in the order in which they were noticed.
#[derive(Debug, Default)]
pub struct Events(VecDeque<Event>);

/// Something that happened to a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What it happened to.
    pub kind: Kind,
    /// Its cgroup.
    pub cgroup: String,
    /// What people call it.
    pub label: String,
    /// Whether a runtime has told that name; if not, it may come later.
    pub is_named: bool,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// It was made.
    Started,
    /// Its last process ended.
    Ended,
    /// The kernel killed a process of it for want of memory: its command, if that is known.
    OomKill(Option<String>),
}

impl Events {
    /// Keeps one more.
    pub fn push(&mut self, at: Timestamp, row: &Container, what: What) {
        if self.0.len() == EVENTS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Event {
            at,
            kind: row.kind,
            cgroup: row.cgroup.clone(),
            label: label(row).to_owned(),
            is_named: row.name.is_some() || row.kind != Kind::Container,
            what,
        });
    }

    /// The latest first.
    pub fn latest(&self) -> impl Iterator<Item = &Event> {
        self.0.iter().rev()
    }

    /// Gives names to events whose container got its name later.
    pub fn learn<'a>(&mut self, row_of: impl Fn(&str) -> Option<&'a Container>) {
        for event in self.0.iter_mut().filter(|event| !event.is_named) {
            if let Some(row) = row_of(&event.cgroup).filter(|row| row.name.is_some()) {
                event.label = label(row).to_owned();
                event.is_named = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::fixture;

    #[test]
    fn only_the_last_ones_are_kept() {
        let mut events = Events::default();
        for second in 0..=EVENTS_MAX as i64 {
            let at = Timestamp::from_second(second).unwrap();
            events.push(at, &fixture::web(), What::Started);
        }
        assert_eq!(events.latest().count(), EVENTS_MAX);
        assert_eq!(events.latest().last().unwrap().at, Timestamp::from_second(1).unwrap());
    }

    #[test]
    fn a_name_may_come_later() {
        let mut events = Events::default();
        let mut row = fixture::unknown(Kind::Container, fixture::ID);
        events.push(Timestamp::UNIX_EPOCH, &row, What::Started);
        events.learn(|_| None);
        assert_eq!(events.latest().next().unwrap().label, "3f4e1b2a9c8d");
        row.name = Some("web".to_owned());
        events.learn(|cgroup| (cgroup == row.cgroup).then_some(&row));
        assert_eq!(events.latest().next().unwrap().label, "web");
    }
}

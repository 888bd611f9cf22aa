//! The last events of containers, a bounded number of them.

use std::collections::VecDeque;

use jiff::Timestamp;
use tare_model::{Container, Kind};

use crate::top::rows::label;

/// How many events are kept.
pub(super) const EVENTS_MAX: usize = 256;

/// The last events, in the order in which they were noticed.
#[derive(Debug, Default)]
pub(super) struct Events(VecDeque<Event>);

/// Something that happened to a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// When.
    pub at: Timestamp,
    /// The kind of row that it happened to.
    pub row_kind: Kind,
    /// The cgroup of the row.
    pub cgroup: String,
    /// The name of the row.
    pub label: String,
    /// Whether the name is final. If not, the runtime may still report one.
    pub is_named: bool,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum EventKind {
    /// Its cgroup was created.
    Started,
    /// Its last process ended.
    Ended,
    /// The out-of-memory killer ended one of its processes. Holds the command, if known.
    OomKill(Option<String>),
}

impl Events {
    /// Adds an event. The oldest one is dropped when there are too many.
    pub(super) fn push(&mut self, at: Timestamp, row: &Container, kind: EventKind) {
        if self.0.len() == EVENTS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Event {
            at,
            row_kind: row.kind,
            cgroup: row.cgroup.clone(),
            label: label(row).to_owned(),
            is_named: row.name.is_some() || row.kind != Kind::Container,
            kind,
        });
    }

    /// The latest first.
    pub(super) fn latest(&self) -> impl Iterator<Item = &Event> {
        self.0.iter().rev()
    }

    /// Sets the name of events whose container got its name later.
    pub(super) fn set_names<'a>(&mut self, row_of: impl Fn(&str) -> Option<&'a Container>) {
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
            events.push(at, &fixture::web(), EventKind::Started);
        }
        assert_eq!(events.latest().count(), EVENTS_MAX);
        assert_eq!(events.latest().last().unwrap().at, Timestamp::from_second(1).unwrap());
    }

    #[test]
    fn a_name_may_come_later() {
        let mut events = Events::default();
        let mut row = fixture::unknown(Kind::Container, fixture::ID);
        events.push(Timestamp::UNIX_EPOCH, &row, EventKind::Started);
        events.set_names(|_| None);
        assert_eq!(events.latest().next().unwrap().label, "3f4e1b2a9c8d");
        row.name = Some("web".to_owned());
        events.set_names(|cgroup| (cgroup == row.cgroup).then_some(&row));
        assert_eq!(events.latest().next().unwrap().label, "web");
    }
}

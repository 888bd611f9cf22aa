//! `events`: what happened to containers lately, and what happens.

use hyper::body::Bytes;
use jiff::Timestamp;
use serde::Serialize;

use super::{Answered, Refusal, catalog::created_at, request::EventQuery};
use crate::{
    faces::{
        body::{json, json_answer},
        changes::{Change, Reported, observed},
        event_buffer::EventBuffer,
    },
    published::{Latest, Published, is_complete},
    sample::{Receipts, Usage},
    server::{
        Request,
        answer::{JSON, streamed},
    },
};

/// Events that are remembered.
const EVENTS_REMEMBERED_MAX: usize = 4096;

/// Events that wait for a slow client. Beyond that its stream ends, since cAdvisor has no word for
/// events that were lost.
const EVENTS_WAITING_MAX: usize = 1024;

/// Streams at a time; more are refused, so that scrapers find a connection.
const STREAMS_MAX: usize = 32;

/// The events of all containers.
pub(super) struct EventLog {
    /// `None` before the first sample.
    reported: Option<Reported>,
    events: EventBuffer<Event>,
}

#[derive(Debug, Serialize)]
struct Event {
    container_name: String,
    timestamp: Timestamp,
    event_type: &'static str,
    event_data: Data,
}

#[derive(Debug, Default, Serialize)]
struct Data {
    #[serde(skip_serializing_if = "Option::is_none")]
    oom: Option<OomKill>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container_deletion: Option<Deletion>,
}

#[derive(Debug, Serialize)]
struct OomKill {
    pid: u32,
    process_name: String,
}

#[derive(Debug, Serialize)]
struct Deletion {
    exit_code: i64,
}

impl Default for EventLog {
    fn default() -> Self {
        Self { reported: None, events: EventBuffer::new(EVENTS_REMEMBERED_MAX, EVENTS_WAITING_MAX) }
    }
}

impl EventLog {
    /// Reports what is new in a sample.
    pub(super) fn sampled(&mut self, latest: &Published, receipts: &Receipts) {
        let is_first = self.reported.is_none();
        let changes = Reported::follow(&mut self.reported, latest, receipts);
        let sample = &latest.pair.newer;
        if is_first {
            // Like cAdvisor, says when those were made that are there already.
            for usage in sample.usages.iter().filter(|usage| usage.instance.is_container()) {
                if let Some(made_at) = created_at(usage) {
                    self.send("containerCreation", usage, made_at, Data::default());
                }
            }
        }
        for change in changes {
            if let Some(usage) = sample.usage(change.instance()) {
                self.report(&change, usage, sample.time);
            }
        }
    }

    /// Reports ends as soon as their receipts are complete.
    pub(super) fn receipts_published(&mut self, latest: &Latest) {
        for receipt in latest.receipts.iter().filter(|receipt| is_complete(receipt)) {
            let Some(reported) = &mut self.reported else { return };
            let (id, oom) = observed(&receipt.usage);
            for change in reported.end(id, oom) {
                match change {
                    Change::Ended(_) => {
                        let code = receipt.end.and_then(|end| end.exit_code);
                        let container_deletion = code.map(|exit_code| Deletion { exit_code });
                        let data = Data { container_deletion, ..Data::default() };
                        self.send("containerDeletion", &receipt.usage, receipt.ended_at, data);
                    }
                    other => self.report(&other, &receipt.usage, receipt.ended_at),
                }
            }
        }
    }

    fn report(&mut self, change: &Change, usage: &Usage, now: Timestamp) {
        match change {
            Change::Started(_) => {
                let made_at = created_at(usage).unwrap_or(now);
                self.send("containerCreation", usage, made_at, Data::default());
            }
            Change::OutOfMemory(_) => {
                let kill = usage.oom_kill.as_ref();
                let at = kill.map_or(now, |kill| kill.at);
                self.send("oom", usage, at, Data::default());
                let oom =
                    kill.map(|kill| OomKill { pid: kill.pid, process_name: kill.command.clone() });
                self.send("oomKill", usage, at, Data { oom, ..Data::default() });
            }
            Change::Ended(_) => {}
        }
    }

    fn send(&mut self, event_type: &'static str, usage: &Usage, at: Timestamp, event_data: Data) {
        let container_name = usage.instance.path.clone();
        self.events.send(Event { container_name, timestamp: at, event_type, event_data });
    }

    /// The events that a request asks for.
    pub(super) fn answer(&self, request: &Request, name: &str) -> Answered {
        let query = EventQuery::parse(|name| request.query(name));
        if !query.is_stream {
            let mut found: Vec<_> =
                self.events.remembered().filter(|event| event.fits(&query, name)).collect();
            found.sort_by_key(|event| event.timestamp);
            found.drain(..found.len().saturating_sub(query.count));
            return Ok(json_answer(&found));
        }
        if query.start.is_some() || query.end.is_some() {
            return Err(Refusal(
                "for a call to watch, request.StartTime and request.EndTime must be uninitialized"
                    .to_owned(),
            ));
        }
        if self.events.clients() >= STREAMS_MAX {
            return Err(Refusal("too many streams of events".to_owned()));
        }
        let name = name.to_owned();
        let written = move |event: &Event| {
            // One a line.
            event.fits(&query, &name).then(|| Bytes::from(json(event)))
        };
        Ok(streamed(JSON, self.events.live(written)))
    }
}

impl Event {
    fn fits(&self, query: &EventQuery, name: &str) -> bool {
        let is_below = || {
            let rest = self.container_name.strip_prefix(name.trim_end_matches('/'));
            rest.is_some_and(|rest| rest.starts_with('/'))
        };
        query.types.contains(&self.event_type)
            && query.start.is_none_or(|start| self.timestamp >= start)
            && query.end.is_none_or(|end| self.timestamp <= end)
            && (self.container_name == name || (query.has_subcontainers && is_below()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_chosen_by_type_time_and_container() {
        let mut log = EventLog::default();
        for (id, second) in [(1, 10), (2, 20)] {
            let usage = Usage::of_path(id, &format!("/docker/{id}"));
            let at = Timestamp::from_second(second).unwrap();
            log.send("containerCreation", &usage, at, Data::default());
        }
        let found = |query: &str, name: &str| {
            let get = |name: &str| {
                let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
                pairs.find(|(found, _)| *found == name).map(|(_, value)| value.to_owned())
            };
            let query = EventQuery::parse(get);
            log.events.remembered().filter(|event| event.fits(&query, name)).count()
        };
        assert_eq!(found("creation_events=true", "/docker/1"), 1);
        assert_eq!(found("creation_events=true", "/docker"), 0);
        assert_eq!(found("creation_events=true&subcontainers=true", "/"), 2);
        assert_eq!(found("all_events=true&subcontainers=true", "/dock"), 0);
        let late = "all_events=1&subcontainers=1&start_time=1970-01-01T00:00:15Z";
        assert_eq!((found(late, "/"), found("oom_events=true", "/docker/1")), (1, 0));
        assert_eq!(found("subcontainers=true", "/"), 0);
    }

    #[test]
    fn memory_is_bounded() {
        let mut log = EventLog::default();
        let usage = Usage::of_path(1, "/docker/1");
        for _ in 0..=EVENTS_REMEMBERED_MAX {
            log.send("oom", &usage, Timestamp::UNIX_EPOCH, Data::default());
        }
        assert_eq!(log.events.remembered().len(), EVENTS_REMEMBERED_MAX);
    }
}

//! `/api/v1/events`: server-sent events of what is created, starts, ends and runs out of memory.
//!
//! `created` is sent as soon as the kernel reports it, `ended` as soon as there is a receipt (a
//! receipt that lacks its name or exit code waits up to [`RUNTIME_WAIT`](crate::published::RUNTIME_WAIT)), the others with the next
//! sample. The times in them are the kernel's. Nothing is written while there are no listeners.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use futures_util::{Stream, stream};
use hyper::{StatusCode, body::Bytes};
use jiff::Timestamp;
use serde_json::json;
use tokio::{
    sync::broadcast::{self, error::RecvError},
    time,
};

use crate::{
    model::Container,
    published::{Latest, Published, is_complete},
    registry::InstanceId,
    report::ReportOptions,
    sample::Usage,
    server::{
        Context, Face, Request, Route,
        answer::{Answer, event_stream, failure},
    },
};

/// Silence after which a comment is sent, so that both sides notice when the other one is gone.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// `/api/v1/events`.
pub(super) struct Events {
    context: Rc<Context>,
    /// `None` before the first sample.
    reported: RefCell<Option<Reported>>,
}

impl Face for Events {
    const ROUTES: &'static [Route<Self>] = &[Route::get(
        "/api/v1/events",
        Self::stream,
        "created, started, ended and oom, as they happen",
    )];

    fn sampled(&self, latest: &Arc<Published>) -> bool {
        let receipts = self.context.shared.receipts();
        let mut reported = self.reported.borrow_mut();
        let usages = latest.pair.newer.usages.iter();
        let alive = usages.filter(|usage| usage.instance.is_container()).map(observed);
        let ended = receipts.iter().map(|receipt| observed(&receipt.usage));
        match &mut *reported {
            None => *reported = Some(Reported::at_first(alive, ended)),
            Some(reported) => {
                let changes = reported.compare(alive, ended);
                self.send_changes(latest, &changes);
            }
        }
        false
    }

    fn receipts_published(&self, latest: &Latest) {
        let Some(published) = &latest.published else { return };
        let Some(reported) = &mut *self.reported.borrow_mut() else { return };
        let mut builder = None;
        for receipt in latest.receipts.iter().filter(|receipt| is_complete(receipt)) {
            let (id, oom) = observed(&receipt.usage);
            let changes = reported.end(id, oom);
            if changes.is_empty() || !self.context.shared.events.has_listeners() {
                continue;
            }
            let builder =
                builder.get_or_insert_with(|| published.pair.builder(ReportOptions::FRAME));
            let row = builder.ended(receipt);
            for change in changes {
                match change {
                    Change::Ended(_) => self.context.shared.events.send("ended", &row),
                    started_or_oom => self.send(&started_or_oom, &row.container),
                }
            }
        }
    }
}

impl Events {
    pub(super) fn new(context: &Rc<Context>) -> Self {
        Self { context: Rc::clone(context), reported: RefCell::default() }
    }

    fn stream(&self, _: Request) -> Answer {
        match self.context.shared.events.subscribe() {
            Some(receiver) => event_stream(events(receiver)),
            None => failure(StatusCode::SERVICE_UNAVAILABLE, "too many streams of events"),
        }
    }

    fn send_changes(&self, published: &Published, changes: &[Change]) {
        if changes.is_empty() || !self.context.shared.events.has_listeners() {
            return;
        }
        let options = ReportOptions { ended_max: 0, ..ReportOptions::WHOLE };
        let builder = published.pair.builder(options);
        for change in changes {
            if let Some(usage) = published.pair.newer.usage(change.instance()) {
                self.send(change, &builder.container(usage));
            }
        }
    }

    fn send(&self, change: &Change, row: &Container) {
        let events = &self.context.shared.events;
        match change {
            Change::Started(_) => events.send("started", row),
            Change::OutOfMemory(_) => {
                let data = json!({
                    "id": row.id,
                    "name": row.name,
                    "oom_kills": row.memory.oom_kills,
                    "last_oom_kill": row.memory.last_oom_kill,
                });
                events.send("oom", &data);
            }
            Change::Ended(_) => {}
        }
    }
}

/// The events of a listener, from a greeting on.
fn events(receiver: broadcast::Receiver<Bytes>) -> impl Stream<Item = Bytes> + Send {
    let greeting = Bytes::from_static(b": events of tare\n\n");
    stream::unfold((receiver, Some(greeting)), |(mut receiver, greeting)| async {
        let event = match greeting {
            Some(greeting) => greeting,
            None => next(&mut receiver).await?,
        };
        Some((event, (receiver, None)))
    })
}

async fn next(receiver: &mut broadcast::Receiver<Bytes>) -> Option<Bytes> {
    match time::timeout(HEARTBEAT, receiver.recv()).await {
        Ok(Ok(event)) => Some(event),
        Ok(Err(RecvError::Lagged(count))) => {
            Some(Bytes::from(format!("event: lost\ndata: {{\"count\":{count}}}\n\n")))
        }
        Ok(Err(RecvError::Closed)) => None,
        Err(_) => Some(Bytes::from_static(b":\n\n")),
    }
}

/// What is known of OOM kills in an instance.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct OomKills {
    count: Option<u64>,
    last: Option<Timestamp>,
}

impl OomKills {
    fn is_more_than(self, before: Self) -> bool {
        self.last > before.last || self.count.unwrap_or(0) > before.count.unwrap_or(0)
    }
}

fn observed(usage: &Usage) -> (InstanceId, OomKills) {
    let last = usage.oom_kill.as_ref().map(|kill| kill.at);
    (usage.instance.id, OomKills { count: usage.readings.memory.events.oom_kill, last })
}

/// What events have reported so far.
#[derive(Debug, Default)]
struct Reported {
    /// Instances that are alive, or whose end is not reported yet.
    started: HashMap<InstanceId, OomKills>,
    /// Instances with a receipt whose end is reported.
    ended: HashSet<InstanceId>,
}

#[derive(Debug, PartialEq)]
enum Change {
    Started(InstanceId),
    OutOfMemory(InstanceId),
    Ended(InstanceId),
}

impl Change {
    fn instance(&self) -> InstanceId {
        match self {
            Self::Started(id) | Self::OutOfMemory(id) | Self::Ended(id) => *id,
        }
    }
}

impl Reported {
    /// What was there at the first sample is no news.
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
        let mut present = HashSet::new();
        for (id, oom) in alive {
            present.insert(id);
            self.observe(id, oom, &mut changes);
        }
        let receipts: HashSet<_> = ended.map(|(id, _)| id).collect();
        self.ended.retain(|id| receipts.contains(id));
        self.started.retain(|id, _| present.contains(id) || receipts.contains(id));
        changes
    }

    /// An instance has ended. Of one that started since the last sample, this is the first news.
    fn end(&mut self, id: InstanceId, oom: OomKills) -> Vec<Change> {
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
    fn births_and_deaths_are_reported_once_and_in_order() {
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

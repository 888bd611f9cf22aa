//! Server-sent events: what was created and started, what ended with its receipt, what ran out of
//! memory.
//!
//! That something was created is told when the kernel tells it. The others come of the difference
//! between two samples, at the end of each interval; the times in them are the kernel's. Nothing is
//! written while nobody listens.

use std::{collections::HashMap, rc::Rc, sync::Arc, time::Duration};

use futures_util::{Stream, stream};
use hyper::body::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use tokio::{
    sync::broadcast::{self, error::RecvError},
    time,
};

use crate::{
    collector::SamplePair,
    daemon::{published::Published, routes::Service},
    model::{Container, Ended, Kind},
    registry::{InstanceId, TrackedCgroup},
    sample::Usage,
};

/// Streams at a time; more are refused, so that scrapers find a connection.
const STREAMS_MAX: usize = 32;

/// Events that wait for a slow reader; it is told how many it missed.
const QUEUE_MAX: usize = 1024;

/// Silence after which a comment is sent, so that both sides notice when the other is gone.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Everyone who listens.
pub(super) struct Events {
    sender: broadcast::Sender<Bytes>,
}

impl Default for Events {
    fn default() -> Self {
        Self { sender: broadcast::Sender::new(QUEUE_MAX) }
    }
}

impl Events {
    /// A stream of what happens from now on; `None` if there are too many.
    pub(super) fn subscribe(&self) -> Option<impl Stream<Item = Bytes> + Send + use<>> {
        if self.sender.receiver_count() >= STREAMS_MAX {
            return None;
        }
        let receiver = self.sender.subscribe();
        let hello = Bytes::from_static(b": events of tare\n\n");
        Some(stream::unfold((receiver, Some(hello)), |(mut receiver, hello)| async {
            let event = match hello {
                Some(hello) => hello,
                None => next(&mut receiver).await?,
            };
            Some((event, (receiver, None)))
        }))
    }

    /// A container's cgroup was made. The sampling loop says so as soon as it hears of it: a name,
    /// numbers and processes come later.
    pub(super) fn created(&self, tracked: &TrackedCgroup) {
        let TrackedCgroup { instance, startup, .. } = tracked;
        if instance.preexisting || self.sender.receiver_count() == 0 {
            return;
        }
        if let Some(identity) = instance.identity.as_ref().filter(|_| instance.is_container()) {
            let data = json!({
                "id": identity.id,
                "runtime": identity.runtime.as_str(),
                "cgroup": instance.path,
                "pod_uid": identity.pod.as_ref().map(|pod| &pod.uid),
                "made_at": startup.made_at,
            });
            self.send("created", Some(data));
        }
    }

    fn send(&self, name: &str, data: Option<impl Serialize>) {
        if let Some(data) = data
            && let Ok(data) = serde_json::to_string(&data)
        {
            // Nobody may listen by now.
            let _ = self.sender.send(Bytes::from(format!("event: {name}\ndata: {data}\n\n")));
        }
    }
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

/// Compares samples for as long as the server runs, and forgets what was made of older ones.
pub(super) async fn tell(service: Rc<Service>) {
    let mut latest = service.state.watch();
    let mut known: Option<Known> = None;
    while latest.changed().await.is_ok() {
        let Some(shot) = latest.borrow_and_update().clone() else { continue };
        service.forget_all_but(&shot);
        let now = Known::of(&shot.pair);
        let changes = known.map_or_else(Vec::new, |before| before.changes(&now));
        if !changes.is_empty() && service.state.events.sender.receiver_count() > 0 {
            send(&service, &shot, &changes);
        }
        known = Some(now);
    }
}

/// What events are found by.
#[derive(Debug, Default, PartialEq)]
struct Known {
    alive: HashMap<InstanceId, Seen>,
    ended: HashMap<InstanceId, Seen>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Seen {
    oom_kills: Option<u64>,
    last_oom_kill: Option<Timestamp>,
}

#[derive(Debug, PartialEq)]
enum Change {
    Started(InstanceId),
    Ended(InstanceId),
    OutOfMemory(InstanceId),
}

impl Known {
    fn of(pair: &SamplePair) -> Self {
        let seen = |usage: &Usage| {
            let last_oom_kill = usage.oom_kill.as_ref().map(|kill| kill.at);
            let seen = Seen { oom_kills: usage.readings.memory.events.oom_kill, last_oom_kill };
            (usage.instance.id, seen)
        };
        let containers = pair.newer.usages.iter().filter(|usage| usage.instance.is_container());
        Self {
            alive: containers.map(seen).collect(),
            ended: pair.receipts.iter().map(|receipt| seen(&receipt.usage)).collect(),
        }
    }

    /// In the order in which they must have happened. Whoever started and ended in between is only
    /// in the receipts.
    fn changes(&self, now: &Self) -> Vec<Change> {
        let Self { alive, ended } = self;
        let is_new = |id: &InstanceId| !alive.contains_key(id) && !ended.contains_key(id);
        let mut ids: Vec<_> = now.alive.keys().chain(now.ended.keys()).copied().collect();
        ids.sort_unstable();
        ids.dedup();
        let mut changes = Vec::new();
        for id in ids {
            let before = alive.get(&id).or_else(|| ended.get(&id));
            let seen = now.ended.get(&id).or_else(|| now.alive.get(&id));
            if is_new(&id) {
                changes.push(Change::Started(id));
            }
            if let Some(seen) = seen
                && seen.is_worse_than(before)
            {
                changes.push(Change::OutOfMemory(id));
            }
            if now.ended.contains_key(&id) && !ended.contains_key(&id) {
                changes.push(Change::Ended(id));
            }
        }
        changes
    }
}

impl Seen {
    fn is_worse_than(&self, before: Option<&Self>) -> bool {
        let nothing = Self::default();
        let before = before.unwrap_or(&nothing);
        self.last_oom_kill > before.last_oom_kill
            || self.oom_kills.unwrap_or(0) > before.oom_kills.unwrap_or(0)
    }
}

fn send(service: &Service, shot: &Arc<Published>, changes: &[Change]) {
    let report = service.report(shot);
    let SamplePair { newer, receipts, .. } = &shot.pair;
    // Rows come in the order of what they were made of.
    let containers = newer.usages.iter().filter(|usage| usage.instance.is_container());
    let rows = report.containers.iter().filter(|row| row.kind == Kind::Container);
    let alive: HashMap<InstanceId, &Container> = ids(containers).zip(rows).collect();
    let last = receipts.iter().rev().map(|receipt| &receipt.usage);
    let ended: HashMap<InstanceId, &Ended> = ids(last).zip(&report.ended).collect();
    let row = |id| {
        let of_ended = || ended.get(id).map(|ended| &ended.container);
        alive.get(id).copied().or_else(of_ended)
    };
    for change in changes {
        match change {
            Change::Started(id) => service.state.events.send("started", row(id)),
            Change::Ended(id) => service.state.events.send("ended", ended.get(id).copied()),
            Change::OutOfMemory(id) => {
                let data = row(id).map(|row| {
                    json!({
                        "id": row.id,
                        "name": row.name,
                        "oom_kills": row.memory.oom_kills,
                        "last_oom_kill": row.memory.last_oom_kill,
                    })
                });
                service.state.events.send("oom", data);
            }
        }
    }
}

fn ids<'a>(usages: impl Iterator<Item = &'a Usage>) -> impl Iterator<Item = InstanceId> {
    usages.map(|usage| usage.instance.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(alive: &[(u64, u64)], ended: &[(u64, u64)]) -> Known {
        let seen = |(id, oom_kills): &(u64, u64)| {
            let seen = Seen { oom_kills: Some(*oom_kills), last_oom_kill: None };
            (InstanceId(*id), seen)
        };
        Known { alive: alive.iter().map(seen).collect(), ended: ended.iter().map(seen).collect() }
    }

    #[test]
    fn births_and_deaths_are_told_once_and_in_order() {
        let before = known(&[(1, 0), (2, 0)], &[(0, 0)]);
        assert_eq!(before.changes(&before), []);
        let now = known(&[(2, 1), (4, 0)], &[(0, 0), (1, 0), (3, 1)]);
        let expected = [
            Change::Ended(InstanceId(1)),
            Change::OutOfMemory(InstanceId(2)),
            Change::Started(InstanceId(3)),
            Change::OutOfMemory(InstanceId(3)),
            Change::Ended(InstanceId(3)),
            Change::Started(InstanceId(4)),
        ];
        assert_eq!(before.changes(&now), expected);
        assert_eq!(now.changes(&now), []);
    }
}

//! `/events`: what happens to containers, and what happened lately.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use tokio::time;

use super::{
    Answered, Failure,
    events::{self, Actor, Event},
    filters::Filters,
};
use crate::{
    faces::{
        changes::{Change, Reported, observed},
        event_buffer::EventBuffer,
    },
    identity::Runtime,
    published::{Latest, Published, is_complete_after},
    registry::InstanceId,
    sample::{Receipt, Receipts, Usage},
    server::{
        Request,
        answer::{JSON, streamed},
    },
};

/// Events that are remembered for `since`.
const EVENTS_REMEMBERED_MAX: usize = 1024;

/// Events that wait for a slow client. Beyond that its stream ends, since the Engine has no word
/// for events that were lost.
const EVENTS_WAITING_MAX: usize = 1024;

/// How long `die` waits for the name and the exit code. Receipts are published again with the next
/// sample, so it is sent with that at the latest.
const EXIT_CODE_WAIT: Duration = Duration::from_millis(500);

/// The events of all containers.
pub(super) struct EventLog {
    /// `None` before the first sample.
    reported: Option<Reported>,
    /// Containers whose end was reported, and whose removal was not.
    ended: HashMap<InstanceId, Actor>,
    events: EventBuffer<Event>,
}

impl Default for EventLog {
    fn default() -> Self {
        Self {
            reported: None,
            ended: HashMap::new(),
            events: EventBuffer::new(EVENTS_REMEMBERED_MAX, EVENTS_WAITING_MAX),
        }
    }
}

impl EventLog {
    /// Reports what is new in a sample.
    pub(super) fn sampled(&mut self, latest: &Published, receipts: &Receipts) {
        let is_first = self.reported.is_none();
        let changes = Reported::follow(&mut self.reported, latest, receipts);
        let sample = &latest.pair.newer;
        for change in changes {
            if let Some(usage) = sample.usage(change.instance()) {
                self.report(&change, usage, sample.time);
            }
        }
        if is_first {
            let known = receipts.iter().filter(|receipt| !is_destroyed(receipt));
            let known = known.filter_map(|receipt| {
                Some((receipt.usage.instance.id, Actor::of(&receipt.usage)?))
            });
            self.ended = known.collect();
        }
        self.forget(latest, receipts);
    }

    /// Reports ends as soon as their receipts are complete, and removals after them.
    pub(super) fn receipts_published(&mut self, latest: &Latest) {
        for receipt in latest.receipts.iter().filter(|receipt| is_complete(receipt)) {
            let Some(reported) = &mut self.reported else { return };
            let (id, oom) = observed(&receipt.usage);
            for change in reported.end(id, oom) {
                match change {
                    Change::Ended(_) => {
                        let Some(actor) = Actor::of(&receipt.usage) else { continue };
                        let code = receipt.end.and_then(|end| end.exit_code);
                        self.ended.insert(id, actor.clone());
                        self.events.send(Event::new("die", receipt.ended_at, actor, code));
                    }
                    other => self.report(&other, &receipt.usage, receipt.ended_at),
                }
            }
            if is_destroyed(receipt)
                && let Some(actor) = self.ended.remove(&id)
            {
                self.events.send(Event::new("destroy", Timestamp::now(), actor, None));
            }
        }
    }

    fn report(&mut self, change: &Change, usage: &Usage, now: Timestamp) {
        let Some(actor) = Actor::of(usage) else { return };
        let startup = &usage.startup;
        match change {
            Change::Started(_) => {
                let made_at = startup.made_at.unwrap_or(now);
                // One that has run before was created then.
                if !self.ended.values().any(|ended| ended.id == actor.id) {
                    self.events.send(Event::new("create", made_at, actor.clone(), None));
                }
                let started_at = startup.executed_at.unwrap_or(made_at);
                self.events.send(Event::new("start", started_at, actor, None));
            }
            Change::OutOfMemory(_) => {
                let at = usage.oom_kill.as_ref().map_or(now, |kill| kill.at);
                self.events.send(Event::new("oom", at, actor, None));
            }
            Change::Ended(_) => {}
        }
    }

    /// Reports as destroyed what has no receipt any more: it is not listed any more either.
    fn forget(&mut self, latest: &Published, receipts: &Receipts) {
        if self.ended.is_empty() {
            return;
        }
        let kept: HashSet<_> = receipts.iter().map(|receipt| receipt.usage.instance.id).collect();
        let gone: Vec<_> = self.ended.extract_if(|id, _| !kept.contains(id)).collect();
        if gone.is_empty() {
            return;
        }
        let living = latest.pair.newer.usages.iter().filter_map(Actor::of).map(|actor| actor.id);
        let ended = self.ended.values().map(|actor| actor.id.clone());
        let known: HashSet<_> = living.chain(ended).collect();
        for (_, actor) in gone.into_iter().filter(|(_, actor)| !known.contains(&actor.id)) {
            self.events.send(Event::new("destroy", latest.pair.newer.time, actor, None));
        }
    }

    /// The events that a request asks for.
    pub(super) fn stream(&self, request: &Request) -> Answered {
        let filters = Filters::of(request, &events::FILTERS, &events::OF_THE_ENGINE)?;
        let (since, until) = (moment(request, "since")?, moment(request, "until")?);
        if since.zip(until).is_some_and(|(since, until)| since > until) {
            return Err(Failure::bad("`since` time cannot be after `until` time"));
        }
        let in_time = |event: &&Event| {
            since.is_none_or(|since| event.at >= since)
                && until.is_none_or(|until| event.at <= until)
        };
        let asks_for_past = since.is_some() || until.is_some();
        let past = self.events.remembered().filter(|_| asks_for_past).filter(in_time);
        let past = past.filter(|event| event.fits(&filters)).map(|event| event.line.clone());
        let past = stream::iter(past.collect::<Vec<_>>());
        let rest = until.map(|until| until.duration_since(Timestamp::now()));
        let rest = rest.map(|rest| Duration::try_from(rest).unwrap_or_default());
        let live = self.events.live(move |event| event.fits(&filters).then(|| event.line.clone()));
        let live = live.take_until(async move {
            match rest {
                Some(rest) => time::sleep(rest).await,
                None => std::future::pending().await,
            }
        });
        Ok(streamed(JSON, past.chain(live)))
    }
}

/// Whether the runtime has said what `die` says of an end, or has had its time to.
fn is_complete(receipt: &Receipt) -> bool {
    is_complete_after(receipt, EXIT_CODE_WAIT, |end| end.exit_code.is_some())
}

/// Whether an ended container is gone for good. Docker and Podman keep it until it is removed, and
/// say so. Of other runtimes nothing is left when the cgroup is gone.
fn is_destroyed(receipt: &Receipt) -> bool {
    let runtime = receipt.usage.instance.identity.as_ref().map(|identity| identity.runtime);
    receipt.removed || !matches!(runtime, Some(Runtime::Docker | Runtime::Podman))
}

/// A time in seconds since 1970, with a fraction, or in RFC 3339.
fn moment(request: &Request, name: &str) -> Result<Option<Timestamp>, Failure> {
    let Some(text) = request.query(name).filter(|text| !text.is_empty()) else { return Ok(None) };
    let parsed = parse_moment(&text).or_else(|| text.parse().ok());
    let moment = parsed.ok_or_else(|| Failure::bad(&format!("`{name}` is no time: {text}")))?;
    Ok(Some(moment))
}

fn parse_moment(text: &str) -> Option<Timestamp> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanoseconds: i32 = format!("{fraction:0<9}").parse().ok()?;
    Timestamp::new(seconds.parse().ok()?, nanoseconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_in_seconds_with_a_fraction() {
        let nanoseconds = |text| parse_moment(text).map(Timestamp::as_nanosecond);
        assert_eq!(nanoseconds("1700000000"), Some(1_700_000_000_000_000_000));
        assert_eq!(nanoseconds("1700000000.5"), Some(1_700_000_000_500_000_000));
        assert_eq!(nanoseconds("1700000000.000000007"), Some(1_700_000_000_000_000_007));
        for bad in ["", "x", "1.x", "1.0000000001", "99999999999999", "1.-5"] {
            assert_eq!(nanoseconds(bad), None, "{bad}");
        }
    }
}

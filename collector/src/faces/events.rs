//! `/api/v1/events`: server-sent events of what is created, starts, ends and runs out of memory.
//!
//! `created` is sent as soon as the kernel reports it, `ended` as soon as there is a receipt (a
//! receipt that lacks its name or exit code waits up to
//! [`RUNTIME_WAIT`](crate::published::RUNTIME_WAIT)), the others with the next
//! sample. The times in them are the kernel's. Nothing is written while there are no listeners.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use futures_util::{Stream, stream};
use hyper::{StatusCode, body::Bytes};
use serde_json::json;
use tare_model::Container;
use tokio::{
    sync::broadcast::{self, error::RecvError},
    time,
};

use crate::{
    faces::changes::{Change, Reported, observed},
    published::{Latest, Published, is_complete},
    report::ReportOptions,
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
        let changes = Reported::follow(&mut self.reported.borrow_mut(), latest, &receipts);
        self.send_changes(latest, &changes);
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

/// The events of a listener, after a first comment.
fn events(receiver: broadcast::Receiver<Bytes>) -> impl Stream<Item = Bytes> + Send {
    let comment = Bytes::from_static(b": events of tare\n\n");
    stream::unfold((receiver, Some(comment)), |(mut receiver, comment)| async {
        let event = match comment {
            Some(comment) => comment,
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

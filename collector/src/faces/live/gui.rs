//! The events of acadock's GUI of 2013, for clients that ask for its subprotocol.

use std::cell::RefCell;

use hyper::body::Bytes;
use tare_model::{Report, Snapshot};
use tokio::sync::watch;

use crate::{
    config::AcadockApi,
    faces::{
        acadock,
        live::{
            group::Feed,
            picture::fit,
            subscription::{Selection, Subscription},
        },
    },
    output::{Scope, select},
    published::Published,
    report::{ReportOptions, kind},
    sample::Usage,
};

/// The clients of one subscription. Events tell whole values, so one that is late misses some.
pub(super) struct GuiGroup {
    pub(super) subscription: Subscription,
    view: AcadockApi,
    latest: RefCell<Vec<Bytes>>,
    tick: watch::Sender<u64>,
}

impl GuiGroup {
    /// A group without clients and events.
    pub(super) fn new(subscription: Subscription, view: AcadockApi) -> Self {
        Self { subscription, view, latest: RefCell::default(), tick: watch::Sender::new(0) }
    }

    /// Whether there are events at this sample.
    pub(super) fn is_due(&self, samples: u64) -> bool {
        samples.is_multiple_of(self.subscription.every.into())
    }

    /// Makes the events of a sample, and wakes the clients.
    pub(super) fn advance(&self, published: &Published, scope: Scope) {
        let snapshot = self.snapshot(published, scope);
        let rows = snapshot.report.containers.iter();
        let events = rows.flat_map(|row| acadock::gui_events(row, &snapshot, self.view));
        *self.latest.borrow_mut() = events.collect();
        self.tick.send_modify(|tick| *tick += 1);
    }

    /// The wanted containers, and what changed since the sample before.
    fn snapshot(&self, published: &Published, scope: Scope) -> Snapshot {
        let builder = published.pair.builder(ReportOptions::FRAME);
        let usages = published.pair.newer.usages.iter();
        let usages = usages.filter(|usage| select::in_scope(kind(usage), scope));
        let wanted: Vec<&Usage> = match &self.subscription.selection {
            Selection::One(name) => {
                let fits = usages.filter_map(|usage| Some((fit(usage, name)?, usage)));
                let best = fits.max_by_key(|(exact, usage)| (*exact, usage.instance.id.0));
                best.map(|(_, usage)| usage).into_iter().collect()
            }
            Selection::Rows(_) => usages.collect(),
        };
        let rows = wanted.iter().map(|usage| builder.container(usage));
        let containers = match &self.subscription.selection {
            Selection::One(_) => rows.collect(),
            Selection::Rows(filters) => rows.filter(|row| filters.fit(row)).collect(),
        };
        let before = published.pair.before();
        let older = before.as_ref().map(|before| {
            let builder = before.builder(ReportOptions::FRAME);
            let known = wanted.iter().filter_map(|usage| before.newer.usage(usage.instance.id));
            let containers = known.map(|usage| builder.container(usage)).collect();
            Report { containers, ..builder.frame }
        });
        Snapshot::new(older.as_ref(), Report { containers, ..builder.frame })
    }
}

impl Feed for GuiGroup {
    fn ticks(&self) -> watch::Receiver<u64> {
        self.tick.subscribe()
    }

    fn messages(&self, last: &mut Option<u64>) -> Vec<Bytes> {
        let tick = *self.tick.borrow();
        match last.replace(tick) {
            Some(known) if known == tick => Vec::new(),
            _ => self.latest.borrow().clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::filter::Filters;

    #[test]
    fn a_client_gets_the_events_of_a_sample_once() {
        let selection = Selection::Rows(Filters::default());
        let gui = GuiGroup::new(Subscription { selection, every: 2 }, AcadockApi::Host);
        assert!(gui.is_due(4) && !gui.is_due(5));
        *gui.latest.borrow_mut() = vec![Bytes::from_static(b"[]")];
        gui.tick.send_modify(|tick| *tick += 1);
        let mut last = None;
        assert_eq!((gui.messages(&mut last).len(), gui.messages(&mut last).len()), (1, 0));
        gui.tick.send_modify(|tick| *tick += 2);
        assert_eq!(gui.messages(&mut last).len(), 1);
    }
}

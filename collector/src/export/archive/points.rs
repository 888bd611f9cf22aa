//! Recorded instants → the points that sinks get, for formats with a line for each point.

use std::{
    collections::{HashMap, HashSet},
    io::Write,
    sync::Arc,
};

use anyhow::Result;

use crate::{
    export::{
        archive::{Instant, Writer},
        collect::{self, Options, for_each_row, owners_of},
        subject::{CATALOG, Row, Subject},
    },
    output::{Scope, prometheus::LabelSet},
    registry::InstanceId,
    sample::Receipt,
};

/// A format with a line for each point.
pub(super) trait Lines {
    /// What comes before all lines.
    const HEAD: &str;

    /// What comes after them.
    const TAIL: &str;

    /// Adds the points of a subject.
    fn add(&mut self, subject: &Subject<'_>, out: &mut Vec<u8>);
}

/// Gives a format the points of one instant after the other.
pub(super) struct Points<F> {
    format: F,
    points: collect::Points,
    /// Who ended and has had a last point.
    ended: HashSet<InstanceId>,
    text: Vec<u8>,
}

/// All containers, with the labels of cAdvisor.
const OPTIONS: Options = Options { scope: Scope::All, label_set: LabelSet::Standalone };

impl<F: Lines> Points<F> {
    pub(super) fn new(format: F) -> Self {
        // Tare's own metrics are not recorded.
        let wanted = CATALOG.iter().map(|entry| entry.family != "tare").collect();
        Self {
            format,
            points: collect::Points::new(wanted),
            ended: HashSet::new(),
            text: Vec::new(),
        }
    }
}

impl<F: Lines> Writer for Points<F> {
    fn add(&mut self, instant: &Instant<'_>, out: &mut dyn Write) -> Result<()> {
        let Self { format, points, ended, text } = self;
        let Instant { pair, is_first, is_last } = *instant;
        let owners: HashMap<InstanceId, bool> = owners_of(&pair.newer, OPTIONS.scope);
        text.clear();
        if is_first {
            text.extend_from_slice(F::HEAD.as_bytes());
        }
        let mut each = |points: &collect::Points, row: Row<'_>, own: &[(String, String)]| {
            let mut labels: Vec<_> =
                own.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            labels.sort_by_key(|(name, _)| *name);
            format.add(&points.subject(row, &labels), text);
        };
        let id = |receipt: &Arc<Receipt>| receipt.usage.instance.id;
        if is_first {
            // They ended before.
            ended.extend(pair.receipts.shared().map(id));
        }
        // One that lacks what its runtime said later waits.
        let is_complete = |receipt: &Receipt| {
            receipt.usage.metadata.is_some()
                && receipt.end.is_some_and(|end| end.oom_killed.is_some())
        };
        let is_due = |receipt: &&Arc<Receipt>| {
            !ended.contains(&id(receipt)) && (is_last || is_complete(receipt))
        };
        let due: Vec<_> = pair.receipts.shared().filter(is_due).cloned().collect();
        if !due.is_empty() {
            collect::for_each_ended(pair, &due, &OPTIONS, &owners, points, &mut each);
        }
        ended.extend(due.iter().map(id));
        for_each_row(pair, &OPTIONS, true, &owners, points, &mut each);
        out.write_all(text)?;
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn Write) -> Result<()> {
        out.write_all(F::TAIL.as_bytes())?;
        Ok(())
    }
}

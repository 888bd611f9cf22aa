//! What the clients of one subscription know, and the messages that bring them up to date.

use std::{cell::RefMut, collections::BTreeMap, time::Instant};

use hyper::body::Bytes;
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use tare_model::Container;

use crate::{
    faces::{
        body::json,
        live::{
            merge::patch,
            row::{Row, Totals},
            subscription::{Selection, Subscription},
        },
    },
    output::{Scope, filter::Filters, select},
    published::Published,
    report::{ReportBuilder, ReportOptions, kind},
    sample::{Receipts, Usage},
    server::Context,
};

/// Ended containers in a picture, the latest.
const ENDED_MAX: usize = 256;

/// What the clients of one subscription know.
pub(super) struct Picture {
    every: u32,
    /// The number of the last message; 0 before the first one.
    tick: u64,
    time: Timestamp,
    /// When the sample of the last message was taken.
    taken_at: Option<Instant>,
    interval_seconds: Option<f64>,
    /// What is not about containers: host, sources and Tare itself.
    frame: Value,
    content: Content,
    /// The message from the tick before to this one.
    changes: Bytes,
    /// The message for clients that know nothing. Made when one asks for it.
    full: Option<Bytes>,
}

enum Content {
    Rows(Rows),
    One {
        name: String,
        /// `container` or `ended`, with all that is known; neither if there is none.
        document: Value,
        changes: Value,
    },
}

/// The rows of a list.
struct Rows {
    filters: Filters,
    totals: BTreeMap<u64, Totals>,
    living: Table,
    ended: Table,
    /// The receipts that `ended` was made of.
    generation: Option<u64>,
}

/// Rows by their keys, and how they differ from those of the tick before.
#[derive(Default)]
struct Table {
    tick: u64,
    /// Each with the tick that it was last put in.
    rows: BTreeMap<u64, (Row, u64)>,
    /// The changed rows, each as it was before.
    changed: BTreeMap<u64, Option<Row>>,
    gone: Vec<u64>,
}

/// Changed rows as JSON, by their keys.
struct Changed<'a>(&'a Table);

/// All rows as JSON, by their keys.
struct All<'a>(&'a Table);

impl Picture {
    /// The picture that a subscription gets from the latest sample.
    pub(super) fn new(subscription: &Subscription) -> Self {
        let content = match &subscription.selection {
            Selection::Rows(filters) => Content::Rows(Rows {
                filters: filters.clone(),
                totals: BTreeMap::new(),
                living: Table::default(),
                ended: Table::default(),
                generation: None,
            }),
            Selection::One(name) => {
                Content::One { name: name.clone(), document: json!({}), changes: json!({}) }
            }
        };
        Self {
            every: subscription.every,
            tick: 0,
            time: Timestamp::UNIX_EPOCH,
            taken_at: None,
            interval_seconds: None,
            frame: json!({}),
            content,
            changes: Bytes::new(),
            full: None,
        }
    }

    /// The number of the last message; 0 before the first one.
    pub(super) fn tick(&self) -> u64 {
        self.tick
    }

    /// The messages for a client whose last one had this number; `None` for a client that has had
    /// none. A client that has missed some learns how many, and gets the whole picture.
    pub(super) fn messages(&mut self, last: Option<u64>) -> Vec<Bytes> {
        match last {
            _ if self.tick == 0 => Vec::new(),
            Some(last) if last >= self.tick => Vec::new(),
            Some(last) if last + 1 == self.tick => vec![self.changes.clone()],
            Some(last) => {
                let skipped = json!({"type": "skipped", "ticks": self.tick - last - 1});
                vec![json(&skipped).into(), self.full()]
            }
            None => vec![self.full()],
        }
    }

    fn full(&mut self) -> Bytes {
        if let Some(full) = &self.full {
            return full.clone();
        }
        let full = Bytes::from(self.write("full", &self.frame));
        self.full = Some(full.clone());
        full
    }

    fn write(&self, kind: &'static str, frame: &Value) -> Vec<u8> {
        let is_full = kind == "full";
        let Self { tick, time, every, interval_seconds, .. } = *self;
        let head = Head { kind, tick, time, every, interval_seconds, frame };
        match &self.content {
            Content::One { document, changes, .. } => {
                json(&OneMessage { head, body: if is_full { document } else { changes } })
            }
            Content::Rows(Rows { living, ended, .. }) if is_full => {
                let (rows, ended) = (All(living), All(ended));
                json(&RowsMessage { head, rows, ended, gone: &[], ended_gone: &[] })
            }
            Content::Rows(Rows { living, ended, .. }) => {
                let (gone, ended_gone) = (&living.gone, &ended.gone);
                let (rows, ended) = (Changed(living), Changed(ended));
                json(&RowsMessage { head, rows, ended, gone, ended_gone })
            }
        }
    }
}

/// Brings pictures up to the latest sample. Each container is derived once for all of them.
pub(super) fn advance(due: &mut [RefMut<'_, Picture>], context: &Context, published: &Published) {
    if due.is_empty() {
        return;
    }
    let scope = context.config().run.scope;
    let neighbours = due.iter().any(|picture| matches!(picture.content, Content::One { .. }));
    let options = ReportOptions { neighbours, ..ReportOptions::FRAME };
    let builder = published.pair.builder(options);
    let frame = frame(context, published, &builder);
    let receipts = context.shared.receipts();
    let mut lists = Vec::new();
    for picture in due {
        let step = picture.begin(published, scope);
        match &mut picture.content {
            Content::Rows(rows) => {
                rows.living.begin();
                rows.follow_receipts(&builder, &receipts);
            }
            Content::One { name, document, changes } => {
                let found = one(&builder, published, &receipts, scope, name);
                *changes = patch(document, &found).unwrap_or_else(|| json!({}));
                *document = found;
            }
        }
        lists.push((picture, step));
    }
    let is_list = |picture: &Picture| matches!(picture.content, Content::Rows(_));
    if lists.iter().any(|(picture, _)| is_list(picture)) {
        for (id, container) in builder.rows(|kind| select::in_scope(kind, scope)) {
            for (picture, step) in &mut lists {
                if let Content::Rows(rows) = &mut picture.content {
                    rows.offer(id.0, &container, *step);
                }
            }
        }
    }
    for (picture, _) in lists {
        picture.finish(published, &frame);
    }
}

/// The time that rates are about.
#[derive(Clone, Copy)]
struct Step {
    seconds: Option<f64>,
    /// Whether it is that of the report.
    is_interval: bool,
}

impl Picture {
    fn begin(&mut self, published: &Published, scope: Scope) -> Step {
        let newer = &published.pair.newer;
        let is_first = self.taken_at.is_none();
        if let Some(before) = published.pair.before().filter(|_| is_first) {
            if let Content::Rows(rows) = &mut self.content {
                let builder = before.builder(ReportOptions::FRAME);
                let known = builder.rows(|kind| select::in_scope(kind, scope));
                rows.totals = known.map(|(id, row)| (id.0, Totals::of(&row))).collect();
            }
            self.taken_at = Some(before.newer.taken_at);
        }
        let since = self.taken_at.map(|taken| newer.taken_at.saturating_duration_since(taken));
        let seconds = since.map(|since| since.as_secs_f64()).filter(|seconds| *seconds > 0.0);
        self.interval_seconds = seconds;
        self.taken_at = Some(newer.taken_at);
        Step { seconds, is_interval: is_first || self.every == 1 }
    }

    fn finish(&mut self, published: &Published, frame: &Value) {
        if let Content::Rows(rows) = &mut self.content {
            rows.living.finish();
            let Rows { totals, living, .. } = rows;
            totals.retain(|id, _| living.rows.contains_key(id));
        }
        self.tick += 1;
        self.time = published.pair.newer.time;
        let changed = patch(&self.frame, frame).unwrap_or_else(|| json!({}));
        self.changes = self.write("changes", &changed).into();
        self.frame.clone_from(frame);
        self.full = None;
    }
}

impl Rows {
    fn offer(&mut self, id: u64, container: &Container, step: Step) {
        if !self.filters.fit(container) {
            return;
        }
        let totals = Totals::of(container);
        let before = self.totals.insert(id, totals);
        let rates =
            before.zip(step.seconds).map(|(before, seconds)| totals.since(&before, seconds));
        let mut rates = rates.unwrap_or_default();
        if step.is_interval {
            rates = rates.with_cpu(container.cpu.percent);
        }
        self.living.put(id, Row::new(container, &rates));
    }

    fn follow_receipts(&mut self, builder: &ReportBuilder<'_>, receipts: &Receipts) {
        self.ended.begin();
        let generation = receipts.generation();
        if self.generation == Some(generation) {
            self.ended.put_all();
        } else {
            for receipt in receipts.iter().rev().take(ENDED_MAX) {
                let ended = builder.ended(receipt);
                if self.filters.fit(&ended.container) {
                    self.ended.put(receipt.usage.instance.id.0, Row::ended(&ended));
                }
            }
        }
        self.ended.finish();
        self.generation = Some(generation);
    }
}

impl Table {
    /// Begins a tick: rows that are not put again until [`Table::finish`] are gone.
    fn begin(&mut self) {
        self.tick += 1;
        self.changed.clear();
    }

    fn put(&mut self, id: u64, row: Row) {
        let older = self.rows.insert(id, (row, self.tick)).map(|(row, _)| row);
        let newer = self.rows.get(&id).map(|(row, _)| row);
        if older.is_none() || older.as_ref() != newer {
            self.changed.insert(id, older);
        }
    }

    /// Puts all rows again as they are.
    fn put_all(&mut self) {
        self.rows.values_mut().for_each(|(_, tick)| *tick = self.tick);
    }

    fn finish(&mut self) {
        let gone = self.rows.iter().filter(|(_, (_, tick))| *tick != self.tick);
        self.gone = gone.map(|(id, _)| *id).collect();
        self.gone.iter().for_each(|id| _ = self.rows.remove(id));
    }
}

/// The one container of this name that is alive, or else the latest receipt. Of several, it is the
/// one that was made last; an exact name or id comes before the beginning of an id.
fn one(
    builder: &ReportBuilder<'_>,
    published: &Published,
    receipts: &Receipts,
    scope: Scope,
    wanted: &str,
) -> Value {
    let fit = |usage: &Usage| fit(usage, wanted).map(|exact| (exact, usage.instance.id.0));
    let living =
        published.pair.newer.usages.iter().filter(|usage| select::in_scope(kind(usage), scope));
    if let Some((_, usage)) =
        living.filter_map(|usage| Some((fit(usage)?, usage))).max_by_key(|(fit, _)| *fit)
    {
        let instance = usage.instance.id.0;
        return json!({"instance": instance, "container": builder.container(usage)});
    }
    let ended = receipts.iter().filter_map(|receipt| Some((fit(&receipt.usage)?, receipt)));
    match ended.max_by_key(|(fit, _)| *fit) {
        Some((_, receipt)) => {
            let instance = receipt.usage.instance.id.0;
            json!({"instance": instance, "ended": builder.ended(receipt)})
        }
        None => json!({}),
    }
}

/// Whether a name or id is that of a container; if it is, whether it is the whole.
pub(super) fn fit(usage: &Usage, wanted: &str) -> Option<bool> {
    let instance = &usage.instance;
    let id = instance.identity.as_ref().map_or(instance.path.as_str(), |identity| &identity.id);
    let name = usage.metadata.as_ref().map(|metadata| metadata.name.as_str());
    match () {
        () if name == Some(wanted) || id == wanted => Some(true),
        () if id.starts_with(wanted) => Some(false),
        () => None,
    }
}

/// What is not about containers.
fn frame(context: &Context, published: &Published, builder: &ReportBuilder<'_>) -> Value {
    let own = context.own(published);
    let runs = own.sampling.bpf_runs.as_deref().filter(|runs| runs.seconds > 0.0);
    let bpf_percent = runs.map(|runs| {
        let busy: f64 = runs.programs.values().map(|program| program.seconds).sum();
        busy / runs.seconds * 100.0
    });
    json!({
        "host": builder.frame.host,
        "sources": builder.frame.sources,
        "tare": {
            "version": env!("CARGO_PKG_VERSION"),
            "started_at": context.started_at,
            "cpu_seconds": own.process.cpu_seconds,
            "resident_bytes": own.process.resident_bytes,
            "bpf_percent": bpf_percent,
            "bpf_bytes": own.sampling.map_bytes,
            "history_bytes": own.sampling.history_bytes,
            "interval_seconds": own.sampling.interval_seconds,
            "sample_seconds": own.sampling.last_seconds,
            "missed_samples": own.sampling.missed,
            "lost_events": own.sampling.lost_events,
            "connections": own.server.connections,
        },
    })
}

#[derive(Serialize)]
struct Head<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    tick: u64,
    time: Timestamp,
    every: u32,
    interval_seconds: Option<f64>,
    #[serde(flatten)]
    frame: &'a Value,
}

#[derive(Serialize)]
struct OneMessage<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    #[serde(flatten)]
    body: &'a Value,
}

#[derive(Serialize)]
struct RowsMessage<'a, R> {
    #[serde(flatten)]
    head: Head<'a>,
    rows: R,
    ended: R,
    #[serde(skip_serializing_if = "<[u64]>::is_empty")]
    gone: &'a [u64],
    #[serde(skip_serializing_if = "<[u64]>::is_empty")]
    ended_gone: &'a [u64],
}

impl Serialize for All<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.rows.iter().map(|(id, (row, _))| (id, row.since(None))))
    }
}

impl Serialize for Changed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Table { rows, changed, .. } = self.0;
        let changed = changed
            .iter()
            .filter_map(|(id, older)| rows.get(id).map(|(row, _)| (id, row.since(older.as_ref()))));
        serializer.collect_map(changed)
    }
}

#[cfg(test)]
mod tests {
    use tare_model::Kind;

    use super::*;
    use crate::output::fixture;

    fn picture() -> Picture {
        Picture::new(&Subscription { selection: Selection::Rows(Filters::default()), every: 1 })
    }

    fn kinds(messages: &[Bytes]) -> Vec<Value> {
        let parse = |message: &Bytes| serde_json::from_slice::<Value>(message).unwrap();
        let kind = |message: Value| match message["type"].as_str() {
            Some("skipped") => message["ticks"].clone(),
            _ => message["type"].clone(),
        };
        messages.iter().map(parse).map(kind).collect()
    }

    #[test]
    fn a_client_gets_the_change_it_needs_or_the_whole_picture_and_the_number_it_missed() {
        let mut picture = picture();
        assert!(picture.messages(None).is_empty(), "there was no sample");
        picture.tick = 9;
        picture.changes = Bytes::from(picture.write("changes", &json!({})));
        assert_eq!(kinds(&picture.messages(None)), ["full"]);
        assert_eq!(kinds(&picture.messages(Some(8))), ["changes"]);
        assert_eq!(kinds(&picture.messages(Some(5))), [json!(3), json!("full")]);
        assert!(picture.messages(Some(9)).is_empty());
        let [one, other] = [picture.messages(None), picture.messages(None)];
        assert_eq!(one[0].as_ptr(), other[0].as_ptr(), "it was written twice");
    }

    #[test]
    fn a_table_knows_what_changed_and_what_is_gone() {
        let row = |id: &str| Row::new(&fixture::unknown(Kind::Container, id), &Default::default());
        let mut table = Table::default();
        let tick = |table: &mut Table, rows: &[(u64, &str)]| {
            table.begin();
            rows.iter().for_each(|(key, id)| table.put(*key, row(id)));
            table.finish();
            serde_json::to_value(Changed(table)).unwrap()
        };
        let changed = tick(&mut table, &[(1, "a"), (2, "b")]);
        assert_eq!((changed["1"]["id"].clone(), table.gone.len()), (json!("a"), 0));
        assert_eq!(
            tick(&mut table, &[(1, "a"), (2, "c")])["2"],
            json!({"id": "c", "cgroup": "/c"})
        );
        assert_eq!(tick(&mut table, &[(2, "c")]), json!({}));
        assert_eq!(table.gone, [1]);
        table.begin();
        table.put_all();
        table.finish();
        assert_eq!((table.gone.len(), table.rows.len()), (0, 1));
    }
}

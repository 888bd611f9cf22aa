//! What is recorded of one instant, and how it is put together again.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tare_model::{NamespaceId, Sources};
use tare_record::{Moment, Tick};

use crate::{
    collector::{PairParts, SamplePair},
    families::block::BlockContext,
    hashing::HashMap,
    host::{HostFacts, HostUsage},
    kernel::SocketLevel,
    network::{Interfaces, SocketStates},
    record::same::Comparison,
    sample::{Receipt, Receipts, Sample, Usage},
};

/// The kinds of things in a recording. A kind keeps its name and its meaning.
const FRAME: &str = "frame";
const FACTS: &str = "host_facts";
const SOURCES: &str = "sources";
const USAGE: &str = "usage";
const POD: &str = "pod";
const INTERFACES: &str = "interfaces";
const SOCKETS: &str = "namespace_sockets";
const RECEIPT: &str = "receipt";

/// A sample without what it has many of.
#[derive(Debug, Deserialize, Serialize)]
struct Frame {
    #[serde(with = "jiff::fmt::serde::timestamp::nanosecond::required")]
    time: Timestamp,
    #[serde(with = "crate::clock::instant")]
    taken_at: Instant,
    host: HostUsage,
    sockets: Option<SocketLevel>,
    retransmits: bool,
    connections: bool,
    #[serde(with = "jiff::fmt::serde::timestamp::nanosecond::required")]
    counting_since: Timestamp,
    host_namespace: Option<NamespaceId>,
    block: BlockContext,
    layout: String,
    receipts_dropped: u64,
}

/// What the last tick had. What is still the same is taken over without being taken apart.
#[derive(Debug, Default)]
pub(super) struct Known {
    sample: Option<Arc<Sample>>,
    comparison: Comparison,
    /// In their order, each with its place in the order of all ends.
    receipts: VecDeque<(u64, Arc<Receipt>)>,
    /// How many receipts there were.
    ended: u64,
}

/// Adds a sample and all that belongs to it to a tick.
pub(super) fn put(
    tick: &mut Tick<'_>,
    pair: &SamplePair,
    known: &mut Known,
) -> Result<(), tare_record::Error> {
    let sample = &*pair.newer;
    let frame = Frame {
        time: sample.time,
        taken_at: sample.taken_at,
        host: sample.host,
        sockets: sample.sockets,
        retransmits: sample.retransmits,
        connections: sample.connections,
        counting_since: sample.counting_since,
        host_namespace: sample.host_namespace,
        block: sample.block.clone(),
        layout: pair.layout().to_owned(),
        receipts_dropped: pair.receipts.dropped,
    };
    tick.put(FRAME, 0, &frame)?;
    tick.put(FACTS, 0, pair.host_facts())?;
    tick.put(SOURCES, 0, pair.sources())?;
    put_usages(tick, sample, known)?;
    for pod in &sample.pods {
        tick.put(POD, path_key(&pod.instance.path), pod)?;
    }
    for (namespace, interfaces) in &sample.namespaces {
        tick.put(INTERFACES, namespace.0, interfaces)?;
    }
    for (namespace, states) in sample.socket_states.iter() {
        tick.put(SOCKETS, namespace.0, states)?;
    }
    put_receipts(tick, &pair.receipts, known)?;
    known.sample = Some(Arc::clone(&pair.newer));
    Ok(())
}

fn put_usages(
    tick: &mut Tick<'_>,
    sample: &Sample,
    known: &mut Known,
) -> Result<(), tare_record::Error> {
    let before = known.sample.as_ref().map_or(&[][..], |before| &before.usages);
    let mut before = before.iter().peekable();
    for usage in &sample.usages {
        let id = usage.instance.id;
        // Both are in the order of their numbers.
        while before.next_if(|before| before.instance.id < id).is_some() {}
        let Some(last) = before.next_if(|before| before.instance.id == id) else {
            tick.put(USAGE, id.0, usage)?;
            continue;
        };
        match known.comparison.parts(last, usage) {
            None if tick.keep(USAGE, id.0) => {}
            None => tick.put(USAGE, id.0, usage)?,
            Some(same) => tick.put_changed(USAGE, id.0, usage, same)?,
        }
    }
    Ok(())
}

/// A receipt seldom changes, and there may be thousands. Those of before are in the same order, and
/// some of them are gone.
fn put_receipts(
    tick: &mut Tick<'_>,
    receipts: &Receipts,
    known: &mut Known,
) -> Result<(), tare_record::Error> {
    let mut before = known.receipts.len();
    for receipt in receipts.shared() {
        let id = receipt.usage.instance.id;
        let mut found = None;
        while before > 0 && found.is_none() {
            before -= 1;
            let next = known.receipts.pop_front();
            found = next.filter(|(_, receipt)| receipt.usage.instance.id == id);
        }
        let key = found.as_ref().map_or(known.ended, |(key, _)| *key);
        known.ended = known.ended.max(key + 1);
        let is_same = found.is_some_and(|(_, before)| Arc::ptr_eq(&before, receipt));
        if !is_same || !tick.keep(RECEIPT, key) {
            tick.put(RECEIPT, key, &**receipt)?;
        }
        known.receipts.push_back((key, Arc::clone(receipt)));
    }
    known.receipts.drain(..before);
    Ok(())
}

/// A number for a path (FNV-1a): pods have no number.
fn path_key(path: &str) -> u64 {
    let step = |key: u64, byte| (key ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    path.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

/// The sample of a recorded instant.
pub(super) fn sample(moment: &Moment) -> Result<Sample> {
    let frame = frame(moment)?;
    let all = |kind| -> Result<Vec<Usage>> {
        moment.things(kind).map(|thing| thing.read().context(kind)).collect()
    };
    let mut usages = all(USAGE)?;
    usages.sort_unstable_by_key(|usage| usage.instance.id);
    let mut pods = all(POD)?;
    pods.sort_unstable_by(|one, other| one.instance.path.cmp(&other.instance.path));
    let mut namespaces = HashMap::default();
    for thing in moment.things(INTERFACES) {
        let interfaces = thing.read::<Interfaces>().context(INTERFACES)?;
        namespaces.insert(NamespaceId(thing.key()), Arc::new(interfaces));
    }
    let mut socket_states = HashMap::default();
    for thing in moment.things(SOCKETS) {
        let states = thing.read::<SocketStates>().context(SOCKETS)?;
        socket_states.insert(NamespaceId(thing.key()), Arc::new(states));
    }
    Ok(Sample {
        time: frame.time,
        taken_at: frame.taken_at,
        host: frame.host,
        sockets: frame.sockets,
        retransmits: frame.retransmits,
        connections: frame.connections,
        counting_since: frame.counting_since,
        host_namespace: frame.host_namespace,
        namespaces,
        socket_states: Arc::new(socket_states),
        block: frame.block,
        usages,
        pods,
    })
}

/// A sample with nothing but one container, by its exact name, its id, or the beginning of its id;
/// `None` if it was not alive.
pub(super) fn lone(moment: &Moment, wanted: &str) -> Result<Option<Sample>> {
    for thing in moment.things(USAGE) {
        // Most are others: their texts say so.
        if !thing.texts().any(|text| text.starts_with(wanted)) {
            continue;
        }
        let usage = thing.read::<Usage>().context(USAGE)?;
        if !is_called(&usage, wanted) {
            continue;
        }
        let Frame { time, sockets, retransmits, connections, block, .. } = frame(moment)?;
        let mut sample =
            Sample { time, sockets, retransmits, connections, block, ..Sample::default() };
        if let Some(namespace) = usage.namespace
            && let Some(thing) = moment.thing(INTERFACES, namespace.0)
        {
            let interfaces = thing.read::<Interfaces>().context(INTERFACES)?;
            sample.namespaces.insert(namespace, Arc::new(interfaces));
        }
        sample.usages.push(usage);
        return Ok(Some(sample));
    }
    Ok(None)
}

fn is_called(usage: &Usage, wanted: &str) -> bool {
    let instance = &usage.instance;
    let id = instance.identity.as_ref().map_or(&instance.path, |identity| &identity.id);
    let name = usage.metadata.as_ref().map(|metadata| metadata.name.as_str());
    name == Some(wanted) || id.starts_with(wanted)
}

/// Everything that the report of a recorded instant is made of. `older` is the sample to take
/// rates from.
pub(super) fn pair(
    moment: &Moment,
    older: Option<Arc<Sample>>,
    newer: Arc<Sample>,
) -> Result<SamplePair> {
    let frame = frame(moment)?;
    let facts = moment.thing(FACTS, 0).context("it lacks the host's facts")?;
    let host = facts.read::<HostFacts>().context(FACTS)?;
    let sources = moment.thing(SOURCES, 0).context("it lacks the sources")?;
    let sources = sources.read::<Sources>().context(SOURCES)?;
    let layout = match &*frame.layout {
        "v1" => "v1",
        "v2" => "v2",
        _ => "hybrid",
    };
    let receipts = receipts(moment, frame.receipts_dropped)?;
    Ok(SamplePair::of(PairParts { older, newer, receipts, host: Arc::new(host), layout, sources }))
}

/// The numbers of those that are alive at an instant, and of those that have ended.
pub(super) fn alive(moment: &Moment) -> BTreeSet<(&'static str, u64)> {
    let all = |kind| moment.things(kind).map(move |thing| (kind, thing.key()));
    all(USAGE).chain(all(RECEIPT)).collect()
}

fn receipts(moment: &Moment, dropped: u64) -> Result<Receipts> {
    let mut kept = Vec::new();
    for thing in moment.things(RECEIPT) {
        kept.push((thing.key(), thing.read::<Receipt>().context(RECEIPT)?));
    }
    kept.sort_by_key(|(key, _)| *key);
    let mut receipts = Receipts::new(kept.len(), Duration::MAX);
    kept.into_iter().for_each(|(_, receipt)| receipts.keep(receipt));
    receipts.dropped = dropped;
    Ok(receipts)
}

fn frame(moment: &Moment) -> Result<Frame> {
    let thing = moment.thing(FRAME, 0).context("it lacks what every sample has")?;
    thing.read().context(FRAME)
}

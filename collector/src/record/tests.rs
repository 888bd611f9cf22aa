//! The report of a recorded instant is the one that was live.

mod any;

use std::{collections::HashMap, mem, sync::Arc, time::Duration};

use jiff::Timestamp;
use proptest::prelude::*;
use tare_model::{NamespaceId, Reconciled, Source, Sources};
use tare_record::{Limits, Writer};

use self::any::any;
use super::{
    instant::Known,
    recorder,
    replay::{Replay, time_of},
};
use crate::{
    clock::Moment,
    collector::{PairParts, SamplePair},
    host::HostFacts,
    network::Interfaces,
    registry::{Instance, InstanceId},
    sample::{Receipt, Receipts, Sample, Usage},
};

/// What happens to one thing from one instant to the next.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// It stays as it was.
    Stays,
    /// Its numbers change.
    Counts,
    /// The numbers of some parts change.
    CountsInPart,
    /// All of it changes.
    Differs,
    /// It is not there.
    Gone,
}

const THINGS: usize = 5;

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        9 => Just(Change::Stays),
        3 => Just(Change::Counts),
        6 => Just(Change::CountsInPart),
        1 => Just(Change::Differs),
        1 => Just(Change::Gone),
    ]
}

/// The chance that a thing is made of: structure and numbers; `None` while it is not there.
#[derive(Clone, Copy, Debug)]
struct Seeds {
    structure: u64,
    numbers: u64,
    /// The numbers of parts, and which parts those are, as bits.
    part: (u64, u64),
    is_there: bool,
}

impl Seeds {
    fn apply(&mut self, change: Change) {
        let next = |seed: u64| seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        self.is_there = !matches!(change, Change::Gone);
        match change {
            Change::Stays | Change::Gone => {}
            Change::Counts => self.numbers = next(self.numbers),
            Change::CountsInPart => {
                self.part = (next(self.part.0), next(self.numbers ^ self.part.0));
            }
            Change::Differs => self.structure = next(self.structure),
        }
    }
}

fn usage(id: u64, seeds: Seeds) -> Usage {
    let mut usage: Usage = any(seeds.structure, seeds.numbers);
    // An instance is fixed from its start.
    let instance: Instance = any(id, id);
    usage.instance = Arc::new(Instance { id: InstanceId(id), ..instance });
    let (numbers, parts) = seeds.part;
    let mut other: Usage = any(seeds.structure, numbers);
    let readings = Arc::make_mut(&mut usage.readings);
    let others = Arc::make_mut(&mut other.readings);
    let mut parts = parts;
    macro_rules! swap {
        ($($one:expr, $other:expr;)*) => {
            $(if parts & 1 == 1 {
                mem::swap(&mut $one, &mut $other);
            }
            parts >>= 1;)*
        };
    }
    swap! {
        usage.tasks, other.tasks;
        usage.open_files, other.open_files;
        usage.net, other.net;
        usage.block, other.block;
        usage.startup, other.startup;
        usage.latency, other.latency;
        readings.cpu, others.cpu;
        readings.memory.usage_bytes, others.memory.usage_bytes;
        readings.memory.events, others.memory.events;
        readings.memory.stat, others.memory.stat;
        readings.memory.numa, others.memory.numa;
        readings.pids, others.pids;
        readings.pressure, others.pressure;
        readings.settings, others.settings;
        readings.first_process, others.first_process;
    }
    usage
}

/// The sample of an instant, and the receipts: three usages, one pod, three receipts.
fn instant(
    time: i64,
    seeds: &[Seeds; THINGS],
    moments: &mut Vec<Moment>,
) -> (Sample, Receipts, HostFacts, Sources) {
    let whole = seeds[0];
    let there = |at: usize| seeds.get(at).filter(|seeds| seeds.is_there).copied();
    let usages = (1..4).filter_map(|at| Some(usage(at as u64, there(at)?))).collect();
    let namespaces: HashMap<NamespaceId, Interfaces> = any(whole.structure, whole.numbers);
    let shared = namespaces.into_iter().map(|(id, found)| (id, Arc::new(found))).collect();
    let mut sample = Sample {
        time: Timestamp::from_nanosecond(time.into()).unwrap(),
        host: any(whole.structure, whole.numbers),
        sockets: any(whole.structure, whole.numbers),
        host_namespace: any(whole.structure, whole.numbers),
        namespaces: shared,
        socket_states: any(whole.structure, whole.numbers),
        block: any(whole.structure, whole.numbers),
        usages,
        pods: there(4).map(|seeds| usage(u64::MAX, seeds)).into_iter().collect(),
        ..Sample::empty()
    };
    moments.push(sample.moment());
    for (usage, seeds) in sample.usages.iter_mut().zip(seeds) {
        set_times(usage, seeds.structure, moments);
    }
    // Namespaces that usages are in.
    for (usage, (namespace, _)) in sample.usages.iter_mut().zip(&sample.namespaces) {
        usage.namespace = Some(*namespace);
    }
    let mut receipts = Receipts::new(9, Duration::MAX);
    if let Some(seeds) = there(4) {
        // The order of receipts is neither that of numbers nor that of times.
        for id in [9, 11, 10] {
            let any = any(seeds.structure, seeds.numbers ^ id);
            receipts.keep(Receipt { usage: usage(id, seeds), ..any });
        }
    }
    (sample, receipts, any(whole.structure, whole.structure), sources(whole))
}

/// Readings of every sample, of some, or of one long ago.
fn set_times(usage: &mut Usage, chance: u64, moments: &[Moment]) {
    let now = moments.len() - 1;
    let read_at = |chance: u64| match chance % 4 {
        0 | 1 => moments[now],
        2 => moments[now - now % 3],
        _ => moments[now / 8],
    };
    Arc::make_mut(&mut usage.readings).memory.stat_read_at = Some(read_at(chance));
    if let Some(tasks) = &mut usage.tasks {
        Arc::make_mut(tasks).read_at = read_at(chance >> 2);
    }
    if let Some(open_files) = &mut usage.open_files {
        Arc::make_mut(open_files).read_at = read_at(chance >> 4);
    }
}

/// Times in it are texts, which chance does not make.
fn sources(seeds: Seeds) -> Sources {
    let (expected, counted, covered) = any(seeds.structure, seeds.numbers);
    let reconciled = Reconciled {
        with: "/proc/diskstats".into(),
        since: Timestamp::UNIX_EPOCH,
        expected,
        counted,
        lost: 0,
        lost_bytes: any(seeds.structure, seeds.numbers),
        covered,
        uncovered: 1,
    };
    let source = Source { reconciled: Some(reconciled), ..Source::on("tp_btf/block_rq_complete") };
    [(any(seeds.structure, 0), source)].into()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_recorded_report_is_the_one_that_was_live(
        seed: u64,
        changes in proptest::collection::vec(proptest::array::uniform5(change()), 2..20),
        span in 1..12_u64,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let limits = Limits {
            block_span: Duration::from_secs(span),
            age_max: Duration::MAX,
            ..Limits::default()
        };
        let (mut writer, _) = Writer::open(directory.path(), recorder::new_run(), limits).unwrap();
        let first = |at: u64| Seeds {
            structure: seed ^ at,
            numbers: seed ^ at,
            part: (seed ^ at, 0),
            is_there: true,
        };
        let mut seeds = [0, 1, 2, 3, 4].map(first);
        let mut known = Known::default();
        let mut live = Vec::new();
        let mut older = None;
        let mut moments = Vec::new();
        for (second, changes) in (1..).zip(&changes) {
            seeds.iter_mut().zip(changes).for_each(|(seeds, change)| seeds.apply(*change));
            seeds[0].is_there = true;
            let time = second * 1_000_000_000;
            let (sample, receipts, facts, sources) = instant(time, &seeds, &mut moments);
            let newer = Arc::new(sample);
            let parts = PairParts {
                older: older.replace(Arc::clone(&newer)),
                newer,
                receipts,
                host: Arc::new(facts),
                layout: "hybrid",
                sources,
            };
            let pair = SamplePair::of(parts);
            recorder::record(&mut writer, &pair, &mut known).unwrap();
            live.push(serde_json::to_string(&pair.report()).unwrap());
        }
        let mut replay = Replay::open(directory.path()).unwrap();
        let mut next = replay.at(Timestamp::UNIX_EPOCH);
        let mut recorded = Vec::new();
        while let Some(moment) = next {
            let pair = replay.pair(&moment).unwrap();
            prop_assert_eq!(pair.newer.time, time_of(&moment));
            recorded.push(serde_json::to_string(&pair.report()).unwrap());
            next = replay.next(&moment);
        }
        prop_assert_eq!(recorded, live);
    }
}

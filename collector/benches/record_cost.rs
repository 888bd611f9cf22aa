//! What it costs to record: the samples of a recording are recorded again, as fast as they can be.
//!
//! `cargo bench -p tare --bench record_cost -- RECORDING [TIMES]` prints CPU time for a sample and
//! for each of its containers, and what log and block take.

use std::{
    collections::HashMap, env, fs, hint::black_box, path::Path, process, sync::Arc, thread::sleep,
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::time::{ClockId, clock_gettime};
use tare::internals::{Recorder, Replay, SamplePair};
use tare_record::Limits;

/// How often the recorder is looked at.
const PAUSE: Duration = Duration::from_micros(200);

/// What was measured of one pass.
struct Pass {
    recording: f64,
    sealing: f64,
    numbers: u64,
    log: u64,
    block: u64,
}

fn main() -> Result<()> {
    let mut arguments = env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let path = arguments.next().context("usage: record_cost RECORDING [TIMES]")?;
    let times: usize = arguments.next().map_or(Ok(5), |times| times.parse())?;
    let pairs = read(Path::new(&path))?;
    let containers: usize = pairs.iter().map(|pair| pair.newer.usages.len()).sum();
    for _ in 0..times {
        let Pass { recording, sealing, numbers, log, block } = record(&pairs)?;
        let micros = |seconds: f64, parts: usize| seconds * 1e6 / parts as f64;
        let bytes = |bytes: u64| bytes as f64 / numbers as f64;
        println!(
            "a sample: {:.0} µs, sealing {:.0}; a container: {:.2} µs, sealing {:.2}; a value: log {:.4} bytes, block {:.4}; block {block} bytes",
            micros(recording, pairs.len()),
            micros(sealing, pairs.len()),
            micros(recording, containers),
            micros(sealing, containers),
            bytes(log),
            bytes(block)
        );
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<SamplePair>> {
    let mut replay = Replay::open(path)?;
    let first = replay.span().context("it is empty")?.0;
    let mut next = replay.at(first);
    let mut pairs = Vec::new();
    while let Some(moment) = next {
        let mut pair = replay.pair(&moment)?;
        pair.older = None;
        pairs.push(pair);
        next = replay.next(&moment);
    }
    drop(replay);
    // A daemon keeps what an instance is from sample to sample.
    let mut known = HashMap::new();
    for pair in &mut pairs {
        let sample = Arc::get_mut(&mut pair.newer).context("a sample is shared")?;
        for usage in &mut sample.usages {
            let instance = known.entry(usage.instance.id).or_insert_with(|| usage.instance.clone());
            usage.instance.clone_from(instance);
        }
    }
    Ok(pairs)
}

fn record(pairs: &[SamplePair]) -> Result<Pass> {
    let directory = env::temp_dir().join(format!("record_cost-{}", process::id()));
    let limits = Limits { sync_every: Duration::MAX, age_max: Duration::MAX, ..Limits::default() };
    let mut recorder = Recorder::start(&directory, limits, Duration::ZERO)?;
    for (done, pair) in (1..).zip(pairs) {
        // A sample was written a moment ago.
        let usages = &pair.newer.usages;
        assert!(black_box(usages.iter().zip(usages).all(|(one, same)| one == same)));
        recorder.offer_now(pair.clone());
        while recorder.counts().now().instants < done {
            sleep(PAUSE);
        }
    }
    sleep(PAUSE * 10);
    let counts = recorder.counts().now();
    let begun = cpu_seconds()?;
    recorder.stop();
    let sealing = cpu_seconds()? - begun;
    let mut block = 0;
    for entry in fs::read_dir(&directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "tare") {
            block += fs::metadata(path)?.len();
        }
    }
    fs::remove_dir_all(&directory)?;
    let (recording, numbers, log) = (counts.cpu_seconds, counts.numbers, counts.written_bytes);
    Ok(Pass { recording, sealing, numbers, log, block })
}

/// CPU time of this process.
fn cpu_seconds() -> Result<f64> {
    let time = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?;
    Ok(time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9)
}

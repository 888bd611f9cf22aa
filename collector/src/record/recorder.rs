//! Writes samples to disk on a thread of its own.
//!
//! The sampling loop hands a sample over without waiting. A slow disk costs recorded instants,
//! which are counted, and never a sample.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::Ordering::Relaxed,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use caps::Capability;
use nix::time::{ClockId, clock_gettime};
use tare_record::{Error, Limits, Run, Writer};

use crate::{
    clock::instant::to_nanoseconds,
    collector::SamplePair,
    process::{keep_capabilities, set_nice},
    record::{
        counts::RecordingCounts,
        instant::{self, Known},
    },
};

/// Samples that wait for the disk at most.
const RECORD_QUEUE_MAX: usize = 4;

/// How long the recorder waits after a failure, such as a full disk, before it tries again.
const RETRY: Duration = Duration::from_secs(10);

/// The nice value of the thread: sampling and serving go first.
const NICE: i8 = 5;

/// Records what the sampling loop offers.
pub struct Recorder {
    queue: Option<SyncSender<SamplePair>>,
    thread: Option<JoinHandle<()>>,
    counts: Arc<RecordingCounts>,
    interval: Duration,
    last: Option<Instant>,
}

impl Recorder {
    /// Opens the directory and starts the thread.
    ///
    /// # Errors
    ///
    /// If the directory cannot be used, or if another process records there.
    pub fn start(directory: &Path, limits: Limits, interval: Duration) -> Result<Self> {
        let (writer, recovered) =
            Writer::open(directory, new_run(), limits).context("cannot record")?;
        for found in recovered {
            let (path, instants, lost) = (found.path.display(), found.instants, found.lost_bytes);
            match found.error {
                Some(error) => tracing::error!("the log {path} stays as it is: {error}"),
                None if lost > 0 => tracing::warn!(
                    "sealed {instants} instants that an earlier process left in {path}; its last {lost} bytes were no whole instant and are lost"
                ),
                None => tracing::info!("sealed {instants} instants of an earlier process: {path}"),
            }
        }
        let counts = Arc::new(RecordingCounts::default());
        counts.disk_bytes.store(writer.bytes(), Relaxed);
        let (queue, offered) = sync_channel(RECORD_QUEUE_MAX);
        let work =
            Work { writer, counts: Arc::clone(&counts), known: Known::default(), failed_at: None };
        let thread = thread::Builder::new().name("record".to_owned());
        let thread = thread.spawn(move || work.run(&offered)).context("cannot start a thread")?;
        Ok(Self { queue: Some(queue), thread: Some(thread), counts, interval, last: None })
    }

    /// What it counts.
    pub fn counts(&self) -> &Arc<RecordingCounts> {
        &self.counts
    }

    /// Offers a sample. It returns at once; without room in the queue the sample is not recorded.
    pub fn offer(&mut self, pair: SamplePair) {
        let now = pair.newer.taken_at;
        // Samples are some milliseconds early or late.
        let is_due = self.last.is_none_or(|last| {
            now.saturating_duration_since(last) + self.interval / 4 >= self.interval
        });
        if is_due {
            self.offer_now(pair);
        }
    }

    /// The same, whether or not it is time for it.
    pub fn offer_now(&mut self, pair: SamplePair) {
        self.last = Some(pair.newer.taken_at);
        let is_queued = match &self.queue {
            Some(queue) => queue.try_send(pair).is_ok(),
            None => false,
        };
        if !is_queued {
            self.counts.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Records what is in the queue, and seals it.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was printed.
            let _ = thread.join();
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.end();
    }
}

/// The thread.
struct Work {
    writer: Writer,
    counts: Arc<RecordingCounts>,
    known: Known,
    failed_at: Option<Instant>,
}

impl Work {
    fn run(mut self, offered: &Receiver<SamplePair>) {
        // A directory may belong to somebody else.
        keep_capabilities(&[Capability::CAP_DAC_OVERRIDE]);
        if let Err(error) = set_nice(NICE) {
            tracing::debug!(%error, "cannot lower the priority of the recorder");
        }
        while let Ok(pair) = offered.recv() {
            self.record(&pair);
            self.counts.disk_bytes.store(self.writer.bytes(), Relaxed);
            self.counts.cpu_nanoseconds.store(thread_nanoseconds(), Relaxed);
        }
        if let Err(error) = self.writer.finish() {
            tracing::error!("the last block of the recording stays a log: {error}");
        }
    }

    fn record(&mut self, pair: &SamplePair) {
        if self.failed_at.is_some_and(|at| at.elapsed() < RETRY) {
            self.counts.failed.fetch_add(1, Relaxed);
            return;
        }
        match record(&mut self.writer, pair, &mut self.known) {
            Ok((bytes, numbers)) => {
                self.counts.instants.fetch_add(1, Relaxed);
                self.counts.written_bytes.fetch_add(bytes, Relaxed);
                self.counts.numbers.fetch_add(numbers as u64, Relaxed);
                if self.failed_at.take().is_some() {
                    tracing::warn!("records again");
                    self.set_fault(None);
                }
            }
            Err(error) => {
                self.writer.abandon();
                self.counts.failed.fetch_add(1, Relaxed);
                if self.failed_at.replace(Instant::now()).is_none() {
                    let what = if error.is_full() { "the disk is full" } else { "it failed" };
                    tracing::error!(
                        "recording stopped, because {what}: {error}; sampling goes on, and recording is tried again every {} s",
                        RETRY.as_secs()
                    );
                }
                self.set_fault(Some(error.to_string()));
            }
        }
    }

    fn set_fault(&self, fault: Option<String>) {
        self.writer.tell(fault.as_deref());
        self.counts.set_fault(fault);
    }
}

/// Records one sample; how many bytes that took, and how many numbers it has.
///
/// # Errors
///
/// If it cannot be written.
pub fn record(
    writer: &mut Writer,
    pair: &SamplePair,
    known: &mut Known,
) -> Result<(u64, usize), Error> {
    let nanoseconds = i64::try_from(pair.newer.time.as_nanosecond()).unwrap_or(i64::MAX);
    let mut tick = writer.tick(nanoseconds, to_nanoseconds(pair.newer.taken_at))?;
    instant::put(&mut tick, pair, known)?;
    let numbers = tick.numbers();
    Ok((tick.commit()?, numbers))
}

/// A random number for this process: totals of two processes do not go together.
pub fn new_run() -> Run {
    let text = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    match u128::from_str_radix(&digits, 16) {
        Ok(number) => number.to_le_bytes(),
        Err(_) => jiff::Timestamp::now().as_nanosecond().to_le_bytes(),
    }
}

/// CPU time of this thread.
fn thread_nanoseconds() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID);
    time.map_or(0, |time| time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
}

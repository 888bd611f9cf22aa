//! What containers that have ended leave in the memory of `tare run`.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::{
    measure::Memory,
    missing::Missing,
    plan::{Load, Plan},
    program::Program,
    sampling::populate,
    test_cgroups::TestCgroups,
    tools::{Binaries, SETTLE, TareRun},
};
use crate::wait::pause;

/// How many receipts are kept, in the measurement of their size: all that Tare keeps without
/// options is 1,024.
const RECEIPTS: usize = 900;

/// How long all cgroups may take to be seen, and to be gone.
const LIMIT: Duration = Duration::from_secs(120);

/// Ten samples after the last end, Tare begins to give free memory back; the rest is for the
/// samples that it keeps.
const RETURN: Duration = Duration::from_secs(17);

/// Resident memory before containers came, while they were there, and after they had gone.
#[derive(Deserialize, Serialize)]
pub(crate) struct Ended {
    /// How many containers came and went.
    pub(crate) count: usize,
    /// How many of their receipts are kept.
    pub(crate) receipts: usize,
    pub(crate) before: Memory,
    pub(crate) during: Memory,
    pub(crate) after: Memory,
}

impl Ended {
    /// What a receipt takes, with all else that is kept of its container.
    pub(crate) fn receipt_bytes(&self) -> Option<f64> {
        let grown = self.after.rss_bytes?.checked_sub(self.before.rss_bytes?)?;
        (self.receipts == self.count).then_some(grown as f64 / self.count as f64)
    }

    /// Resident memory after all have gone, as a multiple of what it was before.
    pub(crate) fn growth(&self) -> Option<f64> {
        Some(self.after.rss_bytes? as f64 / self.before.rss_bytes? as f64)
    }
}

/// Measures few containers whose receipts are all kept, and as many as the plan has.
pub(crate) fn run(
    binaries: &Binaries,
    plan: &Plan,
    into: &mut Vec<Ended>,
    missing: &mut Missing,
) -> Result<()> {
    println!("Ended containers");
    let largest = plan.sizes.iter().copied().max().filter(|largest| *largest > RECEIPTS);
    for count in [Some(RECEIPTS), largest].into_iter().flatten() {
        match measure(binaries, count) {
            Ok(found) => {
                println!("  {count}: {:.2} × after", found.growth().unwrap_or_default());
                into.push(found);
            }
            Err(error) => missing.add(&format!("{count} ended containers"), &error)?,
        }
    }
    Ok(())
}

fn measure(binaries: &Binaries, count: usize) -> Result<Ended> {
    let daemon = TareRun::launch(binaries, &[])?;
    // The first containers cost more than others: the first scrape, the first counters.
    come_and_go(binaries, 1, &daemon)?;
    let before = daemon.cgroup().memory();
    let during = come_and_go(binaries, count, &daemon)?;
    let after = daemon.cgroup().memory();
    let receipts = TareRun::count("tare_receipts")?.saturating_sub(1).min(count);
    ensure!(receipts > 0, "no receipt was kept");
    Ok(Ended { count, receipts, before, during, after })
}

/// Makes so many containers, waits until they are seen, and removes them.
fn come_and_go(binaries: &Binaries, count: usize, daemon: &Program) -> Result<Memory> {
    let others = TareRun::containers()?;
    let during = {
        let groups = TestCgroups::make(count)?;
        let _processes = populate(binaries, &groups, Load::Idle)?;
        wait("seen", |now| now >= others + count)?;
        pause(SETTLE)?;
        daemon.cgroup().memory()
    };
    wait("gone", |now| now <= others)?;
    pause(RETURN)?;
    Ok(during)
}

/// Waits for a number of containers. Each question costs a scrape, so it is put once a second.
fn wait(what: &str, is_enough: impl Fn(usize) -> bool) -> Result<()> {
    let begin = Instant::now();
    while !is_enough(TareRun::containers()?) {
        ensure!(begin.elapsed() < LIMIT, "not all containers are {what} after {LIMIT:?}");
        pause(Duration::from_secs(1))?;
    }
    Ok(())
}

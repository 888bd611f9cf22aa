//! Cgroups that are made and removed while a walk goes over them.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::time::{ClockId, clock_gettime};
use tare::internals::walk::{Hierarchy, Walk};

/// How many live at a time.
const ALIVE_MAX: usize = 100;

/// When a cgroup was there for certain, and from when on it was not.
struct Life {
    made: u64,
    removal_begun: u64,
    removed: u64,
}

/// One walk: from when to when, and the ids that it found.
struct Seen {
    from: u64,
    to: u64,
    ids: Vec<u64>,
}

/// Walks for so long, and holds what was found against what was there.
pub(crate) fn churn(
    walk: &mut Walk,
    hierarchy: &Hierarchy,
    top: &Path,
    seconds: u64,
    per_second: u32,
) -> Result<()> {
    let stop = AtomicBool::new(false);
    let (lives, seen) = thread::scope(|scope| {
        let maker = scope.spawn(|| make_and_remove(top, per_second, &stop));
        let seen = watch(walk, hierarchy, top, Duration::from_secs(seconds));
        stop.store(true, Ordering::Relaxed);
        let lives = maker.join().map_err(|_| anyhow!("the maker panicked"))?;
        anyhow::Ok((lives?, seen?))
    })?;
    let rate = lives.len() as u64 / seconds;
    println!("{}: {} walks, {} lives, {rate} a second", hierarchy.id, seen.len(), lives.len());
    ensure!(seen.len() > 10 && lives.len() > 10, "nothing was tried");
    check(&lives, &seen)
}

/// Holds what each walk found against what was there. Walks and lives are gone through once, in the
/// order of their times.
fn check(lives: &HashMap<u64, Life>, seen: &[Seen]) -> Result<()> {
    let mut coming: Vec<(u64, &Life)> = lives.iter().map(|(id, life)| (*id, life)).collect();
    coming.sort_by_key(|(_, life)| life.made);
    let mut coming = coming.into_iter().peekable();
    let mut there: Vec<(u64, &Life)> = Vec::new();
    for Seen { from, to, ids } in seen {
        let found: HashSet<u64> = ids.iter().copied().collect();
        ensure!(found.len() == ids.len(), "a cgroup was found twice");
        while let Some(life) = coming.next_if(|(_, life)| life.made < *from) {
            there.push(life);
        }
        // Later walks end later.
        there.retain(|(_, life)| life.removal_begun > *to);
        for (id, _) in &there {
            ensure!(found.contains(id), "{id} was there and was not found");
        }
        for id in &found {
            let life = lives.get(id).with_context(|| format!("{id} was found and never made"))?;
            ensure!(life.removed > *from, "{id} was found and was gone");
        }
    }
    Ok(())
}

fn watch(walk: &mut Walk, hierarchy: &Hierarchy, top: &Path, time: Duration) -> Result<Vec<Seen>> {
    let parent = fs::metadata(top)?.ino();
    let mut serials = HashMap::new();
    let mut seen = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < time {
        let records = walk.run()?;
        let tree = records.tree(hierarchy.id).context("the hierarchy was not walked")?;
        let from = tree.found().started_nanoseconds;
        let to = from + u64::try_from(tree.found().time.as_nanos())?;
        let mut ids = Vec::new();
        for record in tree.iter() {
            let serial = *serials.entry(record.id()).or_insert_with(|| record.serial());
            ensure!(serial == record.serial(), "{} has become another", record.id());
            let found = tree.find(record.id()).context("a record is not found by its id")?;
            ensure!(found.serial() == serial, "another is found by the id {}", record.id());
            if record.parent_id() == parent {
                ids.push(record.id());
            }
        }
        seen.push(Seen { from, to, ids });
    }
    Ok(seen)
}

fn make_and_remove(top: &Path, per_second: u32, stop: &AtomicBool) -> Result<HashMap<u64, Life>> {
    let mut lives = HashMap::new();
    let mut alive = VecDeque::new();
    let begun = Instant::now();
    let mut made = 0;
    while !stop.load(Ordering::Relaxed) {
        if begun.elapsed() * per_second < Duration::from_secs(made) {
            thread::sleep(Duration::from_micros(100));
            continue;
        }
        let path = top.join(format!("c{made}"));
        fs::create_dir(&path)?;
        let id = fs::metadata(&path)?.ino();
        lives.insert(id, Life { made: now()?, removal_begun: u64::MAX, removed: u64::MAX });
        alive.push_back((id, path));
        made += 1;
        // Some live for a moment only, the others for a while.
        let next = if made % 3 == 0 { alive.pop_back() } else { None };
        let full = alive.len() > ALIVE_MAX;
        for (id, path) in next.into_iter().chain(full.then(|| alive.pop_front()).flatten()) {
            let life = lives.get_mut(&id).context("a life is unknown")?;
            life.removal_begun = now()?;
            fs::remove_dir(&path)?;
            life.removed = now()?;
        }
    }
    for (_, path) in alive {
        fs::remove_dir(path)?;
    }
    Ok(lives)
}

/// `CLOCK_MONOTONIC`, as the walk gives its time.
fn now() -> Result<u64> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
    Ok(u64::try_from(now.tv_sec())? * 1_000_000_000 + u64::try_from(now.tv_nsec())?)
}

//! A file, the walk, the file again: what the walk says lies between the two.

use std::{
    collections::BTreeMap, fs, os::unix::fs::MetadataExt as _, path::Path, thread, time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use tare::internals::walk::{Hierarchy, StatWords, Walk};

use super::{
    fields::{Field, Kind, LEGACY, UNIFIED, USAGE, number},
    groups::{Frozen, Groups},
};

/// A gauge may rise and fall between two looks: so often another look is taken.
const LOOKS: usize = 6;

/// What a comparison came to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// By field: how often it was compared, how often it was not 0.
    pub(crate) compared: BTreeMap<String, (usize, usize)>,
    /// What was wrong.
    pub(crate) wrong: Vec<String>,
    /// Frozen cgroups whose CPU time was equal, and those of them that had run since the look
    /// before.
    pub(crate) frozen: (usize, usize),
    /// Numbers of `memory.stat` that were decoded and compared, and those that were not 0.
    pub(crate) stat: (usize, usize),
    /// Cgroups whose `memory.stat` had to be read.
    pub(crate) ambiguous: usize,
    /// Numbers of `memory.stat` that only the file has.
    pub(crate) unknown: Vec<String>,
}

/// Compares every field of every group.
pub(crate) fn compare(walk: &mut Walk, groups: &Groups) -> Result<Outcome> {
    let mut out = Outcome::default();
    for hierarchy in &groups.hierarchies {
        let tree = walk.records().tree(hierarchy.id).context("the hierarchy is not walked")?;
        let mut words = tree.stat_words();
        for index in 0..groups.count {
            let directory = groups.directory(hierarchy, index);
            let id = fs::metadata(&directory)?.ino();
            fields(walk, hierarchy, &directory, id, &mut out)?;
            if hierarchy.id == 0 {
                frozen(walk, hierarchy, &directory, id, &mut out)?;
            }
            stat(walk, hierarchy, &directory, id, &mut words, &mut out)?;
        }
        out.unknown.extend(words.unknown().map(str::to_owned));
    }
    Ok(out)
}

type Look = BTreeMap<&'static str, String>;

fn look(directory: &Path, fields: &[Field]) -> Look {
    let read = |file: &&'static str| Some((*file, fs::read_to_string(directory.join(file)).ok()?));
    let mut files: Vec<&'static str> = fields.iter().map(|(file, ..)| *file).collect();
    files.dedup();
    files.iter().filter_map(read).collect()
}

fn fields(
    walk: &mut Walk,
    hierarchy: &Hierarchy,
    directory: &Path,
    id: u64,
    out: &mut Outcome,
) -> Result<()> {
    let mut left = if hierarchy.id == 0 { UNIFIED.to_vec() } else { LEGACY.to_vec() };
    for attempt in 1..=LOOKS {
        let before = look(directory, &left);
        walk.run()?;
        let after = look(directory, &left);
        let record = walk.records().find(hierarchy.id, id).context("the walk has no record")?;
        ensure!(record.id() == id, "the record of {id} is that of {}", record.id());
        left.retain(|(file, word, kind, value)| {
            // The walk may know a number that no file has.
            let (Some(before), Some(after)) = (before.get(file), after.get(file)) else {
                return false;
            };
            // The walk is no look at the file: what it finds of a part does not limit the next one.
            let most = match kind {
                Kind::Part(rest) => number(after, USAGE).zip(number(before, rest)),
                _ => None,
            };
            let most = most.map(|(usage, rest)| usage.saturating_sub(rest));
            let (before, found) = (number(before, word), value(&record));
            let after = number(after, word);
            let right = match (before, found, after) {
                (Some(before), Some(found), Some(after)) => match most {
                    Some(most) => (before..=most).contains(&found),
                    None => (before.min(after)..=before.max(after)).contains(&found),
                },
                (before, None, after) => before.is_none() || after.is_none(),
                (before, Some(_), after) => before.is_some() != after.is_some(),
            };
            if right {
                let name = format!("{} {file} {word}", hierarchy.id);
                let (compared, nonzero) = out.compared.entry(name).or_default();
                *compared += 1;
                *nonzero += usize::from(found.is_some_and(|found| found > 0));
                return false;
            }
            if *kind == Kind::Gauge && attempt < LOOKS {
                return true;
            }
            let place = directory.display();
            out.wrong.push(format!("{place}/{file} {word}: {found:?}, {before:?} to {after:?}"));
            false
        });
        if left.is_empty() {
            break;
        }
    }
    Ok(())
}

/// Compares the CPU time of a cgroup that does not run: here walk and file divide it alike, also
/// if it has run since the file was read before.
fn frozen(
    walk: &mut Walk,
    hierarchy: &Hierarchy,
    directory: &Path,
    id: u64,
    out: &mut Outcome,
) -> Result<()> {
    /// For what runs to run on.
    const PAUSE: Duration = Duration::from_millis(20);
    let file = directory.join("cpu.stat");
    let before = fs::read_to_string(&file)?;
    thread::sleep(PAUSE);
    let _frozen = Frozen::new(directory)?;
    walk.run()?;
    let after = fs::read_to_string(&file)?;
    let record = walk.records().find(hierarchy.id, id).context("the walk has no record")?;
    let times =
        UNIFIED.iter().filter(|(_, word, kind, _)| *word == USAGE || matches!(kind, Kind::Part(_)));
    let mut right = true;
    for (_, word, _, value) in times {
        let (found, said) = (value(&record), number(&after, word));
        if found.is_none() || found != said {
            right = false;
            out.wrong.push(format!("{} {word}, frozen: {found:?}, not {said:?}", file.display()));
        }
    }
    out.frozen.0 += usize::from(right);
    out.frozen.1 += usize::from(right && number(&before, USAGE) < number(&after, USAGE));
    Ok(())
}

fn stat(
    walk: &mut Walk,
    hierarchy: &Hierarchy,
    directory: &Path,
    id: u64,
    words: &mut StatWords,
    out: &mut Outcome,
) -> Result<()> {
    let file = directory.join("memory.stat");
    let has = walk.records().find(hierarchy.id, id).is_some_and(|record| record.stat().is_some());
    for _ in 0..if has { LOOKS } else { 0 } {
        let before = fs::read_to_string(&file)?;
        walk.run()?;
        if before != fs::read_to_string(&file)? {
            continue;
        }
        let record = walk.records().find(hierarchy.id, id).context("the walk has no record")?;
        let stat = record.stat().context("the record has no words")?;
        let lines = before.lines().filter_map(|line| line.split_once(' '));
        let numbers: Vec<(&str, u64)> = lines
            .filter(|(name, _)| !name.starts_with("hierarchical_"))
            .filter_map(|(name, value)| Some((name, value.parse().ok()?)))
            .collect();
        let mut found = Vec::new();
        if words.decode(stat, |_, value| found.push(value)).is_err() {
            out.ambiguous += 1;
        }
        for ((name, value), found) in numbers.iter().zip(found) {
            let Some(found) = found else { continue };
            out.stat.0 += 1;
            out.stat.1 += usize::from(found > 0);
            if found != *value {
                out.wrong.push(format!("{} {name}: {found}, not {value}", file.display()));
            }
        }
        words.learn(stat, numbers.iter().copied());
        break;
    }
    Ok(())
}

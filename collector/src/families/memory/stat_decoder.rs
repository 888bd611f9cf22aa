//! `memory.stat` from the words of a walk.

use std::{collections::VecDeque, path::PathBuf};

use tare_parsers::{stat_table::StatTable, text::named_numbers};

use crate::{
    cgroup::read_once,
    kernel::walk::{Record, Records, StatWords, Tree},
};

/// How many files are learnt from in a sample, besides the one that is checked.
const LESSONS_MAX: usize = 16;

/// Decodes the words that the kernel makes `memory.stat` from. Which word is which number is learnt
/// from files, and checked with another cgroup's file in every sample.
pub struct StatDecoder {
    /// The hierarchy of the memory controller.
    hierarchy: u32,
    words: StatWords,
    /// The lines of the file, with any values.
    lines: StatTable,
    values: Vec<u64>,
    /// Cgroups whose numbers were ambiguous in the last sample.
    wanted: VecDeque<Lesson>,
    /// Files that were read before the walk.
    begun: Vec<(Lesson, Vec<u8>)>,
    buffer: Vec<u8>,
}

/// A cgroup to learn from.
struct Lesson {
    id: u64,
    file: PathBuf,
}

/// The words do not decide the numbers; the file has them.
#[derive(Debug)]
pub struct Undecided;

impl StatDecoder {
    /// For the hierarchy that has the memory controller.
    pub fn new(tree: &Tree) -> Self {
        Self {
            hierarchy: tree.hierarchy().id,
            words: tree.stat_words(),
            lines: StatTable::default(),
            values: Vec::new(),
            wanted: VecDeque::new(),
            begun: Vec::new(),
            buffer: Vec::new(),
        }
    }

    /// Before a walk: reads the files to learn from.
    pub fn begin_lessons(&mut self) {
        self.begun.clear();
        for lesson in self.wanted.drain(..) {
            if let Ok(Some(text)) = read_once(&lesson.file, &mut self.buffer) {
                let text = text.to_vec();
                self.begun.push((lesson, text));
            }
        }
    }

    /// After the walk: learns from the files that have not changed during it.
    pub fn end_lessons(&mut self, records: Records<'_>) {
        for (lesson, before) in self.begun.drain(..) {
            let Ok(Some(after)) = read_once(&lesson.file, &mut self.buffer) else { continue };
            let record = records.find(self.hierarchy, lesson.id);
            let Some(stat) = record.and_then(|record| record.stat()) else { continue };
            if after == before {
                let lines = named_numbers(after).filter_map(|(name, value)| {
                    let name = str::from_utf8(name).ok()?;
                    (!is_limit(name)).then_some((name, value))
                });
                let numbers: Vec<(&str, u64)> = lines.collect();
                self.words.learn(stat, numbers.iter().copied());
                self.values.resize(numbers.len(), 0);
                self.lines.parse_into(after);
            }
        }
    }

    /// Changes when a file contradicts what was known: what was decoded before may be wrong.
    pub fn revision(&self) -> u64 {
        self.words.revision()
    }

    /// Has the next sample learn from this cgroup.
    pub fn learn_from(&mut self, id: u64, file: impl FnOnce() -> PathBuf) {
        if self.wanted.len() < LESSONS_MAX {
            self.wanted.push_back(Lesson { id, file: file() });
        }
    }

    /// Writes what the file of a cgroup would say.
    ///
    /// # Errors
    ///
    /// If the words do not decide it.
    pub fn decode(&mut self, record: &Record<'_>, out: &mut StatTable) -> Result<(), Undecided> {
        let stat = record.stat().ok_or(Undecided)?;
        let (values, mut only_in_file) = (&mut self.values, false);
        let decoded = self.words.decode(stat, |at, value| match (values.get_mut(at), value) {
            (Some(place), Some(value)) => *place = value,
            _ => only_in_file = true,
        });
        if decoded.is_err() || only_in_file {
            return Err(Undecided);
        }
        let limits = record.hierarchical_limits().ok_or(Undecided)?;
        let is_unknown = |(name, _): (&str, u64)| name == MEMORY_AND_SWAP_LIMIT;
        if limits.1.is_none() && self.lines.iter().any(is_unknown) {
            return Err(Undecided);
        }
        let mut values = self.values.iter().copied();
        let lines = self.lines.iter().map(|(name, _)| match name {
            MEMORY_LIMIT => Some(limits.0),
            MEMORY_AND_SWAP_LIMIT => limits.1,
            _ => values.next(),
        });
        let mut is_whole = true;
        out.fill(
            &self.lines,
            lines.map(|value| {
                value.unwrap_or_else(|| {
                    is_whole = false;
                    0
                })
            }),
        );
        if is_whole { Ok(()) } else { Err(Undecided) }
    }
}

const MEMORY_LIMIT: &str = "hierarchical_memory_limit";
const MEMORY_AND_SWAP_LIMIT: &str = "hierarchical_memsw_limit";

/// Whether a line is a limit, which is in no word.
fn is_limit(name: &str) -> bool {
    [MEMORY_LIMIT, MEMORY_AND_SWAP_LIMIT].contains(&name)
}

//! A recording as samples: what `--replay` reads.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use jiff::{Timestamp, tz::TimeZone};
use tare_record::{Moment, Position, Recording};

use crate::{
    collector::SamplePair,
    record::{When, instant},
    sample::Sample,
};

/// How many samples are kept: those of the instant that is shown and the one before it.
const KEPT_MAX: usize = 3;

/// From this time between two samples on, each is looked up.
const LONG_STEP: Duration = Duration::from_secs(60);

/// A recording that is looked at, one instant at a time.
pub struct Replay {
    recording: Recording,
    kept: Vec<(Position, Arc<Sample>)>,
}

impl Replay {
    /// Opens a directory or a file.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or if nothing is recorded there.
    pub fn open(path: &Path) -> Result<Self> {
        let mut recording = Recording::open(path).context("cannot read the recording")?;
        if recording.span().is_none() {
            let damaged = recording.problems().first().map(|problem| format!(": {problem}"));
            bail!("{}: nothing is recorded here{}", path.display(), damaged.unwrap_or_default());
        }
        Ok(Self { recording, kept: Vec::new() })
    }

    /// Whether this is a recording, rather than another file.
    pub fn is_recording(path: &Path) -> bool {
        path.is_dir() || tare_record::is_recording(path)
    }

    /// Looks for what was recorded since.
    ///
    /// # Errors
    ///
    /// If the recording is gone.
    pub fn refresh(&mut self) -> Result<()> {
        self.recording.refresh().context("cannot read the recording")
    }

    /// How many parts were found damaged so far.
    pub fn problems(&self) -> usize {
        self.recording.problems().len()
    }

    /// Says on standard error what was found damaged.
    pub fn print_problems(&self) {
        self.recording.problems().iter().for_each(|problem| eprintln!("tare: {problem}"));
    }

    /// First and last time.
    pub fn span(&mut self) -> Option<(Timestamp, Timestamp)> {
        let (first, last) = self.recording.span()?;
        Some((timestamp(first), timestamp(last)))
    }

    /// The instant that an option asks for; without one, the last.
    ///
    /// # Errors
    ///
    /// If nothing can be read.
    pub fn find(&mut self, when: Option<&When>) -> Result<Moment> {
        let found = match when {
            None => self.last(),
            Some(when) => self.span().and_then(|(_, end)| {
                let time = when.resolve(end, &TimeZone::system());
                self.at(time)
            }),
        };
        found.context("nothing is recorded")
    }

    /// The last instant at or before a time; before the first, that one.
    pub fn at(&mut self, time: Timestamp) -> Option<Moment> {
        let nanoseconds = i64::try_from(time.as_nanosecond()).ok()?;
        self.recording.at(nanoseconds).or_else(|| self.recording.first())
    }

    /// The last instant.
    pub fn last(&mut self) -> Option<Moment> {
        self.recording.last()
    }

    /// The instant after another.
    pub fn next(&mut self, moment: &Moment) -> Option<Moment> {
        self.recording.next(moment.position())
    }

    /// The instant before another.
    pub fn previous(&mut self, moment: &Moment) -> Option<Moment> {
        self.recording.previous(moment.position())
    }

    /// The first instant at or after a time that is before `moment` and of the same run; `None`
    /// if there is none.
    pub fn first_of_run(&mut self, time: Timestamp, moment: &Moment) -> Option<Moment> {
        let is_earlier = |found: &Moment| found.position() < moment.position();
        let mut found = self.at(time)?;
        while found.run() != moment.run() {
            found = self.next(&found).filter(is_earlier)?;
        }
        Some(found).filter(is_earlier)
    }

    /// The next instant, or the previous one, at which something begins or ends; `None` if there is
    /// none among the next `instants_max`.
    pub fn event(&mut self, from: &Moment, forward: bool, instants_max: usize) -> Option<Moment> {
        let mut here = from.clone();
        let mut alive = instant::alive(&here);
        for _ in 0..instants_max {
            let next = if forward { self.next(&here) } else { self.previous(&here) }?;
            let others = instant::alive(&next);
            let is_change = others != alive || next.run() != here.run();
            if is_change && (forward || here.position() != from.position()) {
                // Backwards, the event is what the later of the two shows.
                return Some(if forward { next } else { here });
            }
            (here, alive) = (next, others);
        }
        None
    }

    /// All that the report of an instant is made of, with rates since the instant before, as the
    /// live report had them. The first instant of a run has no rates.
    ///
    /// # Errors
    ///
    /// If what was recorded is not what this version expects.
    pub fn pair(&mut self, moment: &Moment) -> Result<SamplePair> {
        let before = self.previous(moment).filter(|before| before.run() == moment.run());
        self.pair_since(before.as_ref(), moment)
    }

    /// The same with rates since any earlier instant of the same run.
    ///
    /// # Errors
    ///
    /// As [`Replay::pair`].
    pub fn pair_since(&mut self, older: Option<&Moment>, newer: &Moment) -> Result<SamplePair> {
        let older = older.map(|older| self.sample(older)).transpose()?;
        let sample = self.sample(newer)?;
        let described = || format!("the instant of {}", time_of(newer));
        instant::pair(newer, older, sample).with_context(described)
    }

    /// The samples of one container between two times, with at least `step` between them, the first
    /// `count_max` of them.
    ///
    /// # Errors
    ///
    /// If what was recorded is not what this version expects.
    pub fn lone(
        &mut self,
        wanted: &str,
        (from, to): (Timestamp, Timestamp),
        step: Duration,
        count_max: usize,
    ) -> Result<Vec<Sample>> {
        let mut found = Vec::new();
        let mut next = self.at(from);
        let mut due = from;
        while let Some(moment) = next {
            let time = time_of(&moment);
            if time > to || found.len() >= count_max {
                break;
            }
            if time >= due {
                found.extend(instant::lone(&moment, wanted)?);
                due = time.checked_add(step).unwrap_or(Timestamp::MAX);
            }
            // Over a long step it is cheaper to look than to go.
            let later = if step >= LONG_STEP { self.at(due) } else { None };
            let is_later = |later: &Moment| later.position() > moment.position();
            next = later.filter(is_later).or_else(|| self.recording.next(moment.position()));
        }
        Ok(found)
    }

    fn sample(&mut self, moment: &Moment) -> Result<Arc<Sample>> {
        let position = moment.position();
        if let Some((_, sample)) = self.kept.iter().find(|(known, _)| *known == position) {
            return Ok(Arc::clone(sample));
        }
        let described = || format!("the instant of {}", time_of(moment));
        let sample = Arc::new(instant::sample(moment).with_context(described)?);
        if self.kept.len() >= KEPT_MAX {
            self.kept.remove(0);
        }
        self.kept.push((position, Arc::clone(&sample)));
        Ok(sample)
    }
}

/// The time of a recorded instant.
pub fn time_of(moment: &Moment) -> Timestamp {
    timestamp(moment.time())
}

fn timestamp(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond(nanoseconds.into()).unwrap_or_default()
}

//! A recording as the source of the screen: which instant is shown, and how time moves.

use std::time::{Duration, Instant};

use anyhow::Result;
use jiff::{Timestamp, tz::TimeZone};

use crate::{
    config,
    record::{Moment, Replay, When, time_of},
    top::{
        action::Jump,
        history::VALUES_MAX,
        state::{Shown, State},
    },
};

/// How long the instants before the one that is jumped to may take, which fill the sparklines.
const WARM_UP: Duration = Duration::from_millis(50);

/// The most instants in which the next event is looked for.
const EVENT_SEARCH_MAX: usize = 100_000;

/// A recording and the instant that is shown.
pub(super) struct Recorded {
    replay: Replay,
    moment: Moment,
}

impl Recorded {
    /// Opens the recording that the options name.
    pub(super) fn open(options: &config::Replay) -> Result<Self> {
        let mut replay = Replay::open(&options.path)?;
        let moment = replay.find(options.at.as_ref())?;
        Ok(Self { replay, moment })
    }

    /// Whether this is the last instant that was recorded so far.
    pub(super) fn is_at_end(&mut self) -> Result<bool> {
        Ok(self.following()?.is_none())
    }

    /// The next instant. It may have been recorded since.
    fn following(&mut self) -> Result<Option<Moment>> {
        if let Some(next) = self.replay.next(&self.moment) {
            return Ok(Some(next));
        }
        self.replay.refresh()?;
        Ok(self.replay.next(&self.moment))
    }

    /// Shows the instant, with those before it in the sparklines.
    pub(super) fn show(&mut self, state: &mut State) -> Result<()> {
        state.forget();
        let begun = Instant::now();
        let report = self.replay.pair(&self.moment)?.report();
        let cost = begun.elapsed().max(Duration::from_micros(1));
        let affordable = (WARM_UP.as_nanos() / cost.as_nanos()) as usize;
        let mut before = Vec::new();
        let mut earliest = self.moment.clone();
        while before.len() < affordable.min(VALUES_MAX)
            && let Some(found) = self.replay.previous(&earliest)
            && found.run() == self.moment.run()
        {
            before.push(found.clone());
            earliest = found;
        }
        for moment in before.iter().rev() {
            state.update(self.replay.pair(moment)?.report());
        }
        state.update(report);
        self.tell(state);
        Ok(())
    }

    /// Shows the next instant, if there is one, while time plays.
    pub(super) fn play(&mut self, state: &mut State) -> Result<()> {
        match self.following()? {
            Some(next) => self.advance(next, state),
            None => Ok(()),
        }
    }

    fn advance(&mut self, next: Moment, state: &mut State) -> Result<()> {
        self.moment = next;
        state.update(self.replay.pair(&self.moment)?.report());
        self.tell(state);
        Ok(())
    }

    /// Goes to another instant.
    pub(super) fn jump(&mut self, jump: &Jump, state: &mut State) -> Result<()> {
        let found = match jump {
            Jump::Instants(1) => {
                return self.play(state);
            }
            Jump::Instants(by) => {
                let mut found = self.moment.clone();
                for _ in 0..by.unsigned_abs() {
                    let next = match *by < 0 {
                        true => self.replay.previous(&found),
                        false => self.replay.next(&found),
                    };
                    let Some(next) = next else { break };
                    found = next;
                }
                Some(found)
            }
            Jump::Seconds(by) => {
                let step = jiff::SignedDuration::from_secs(*by);
                let time = time_of(&self.moment).checked_add(step);
                time.ok().and_then(|time| self.replay.at(time))
            }
            Jump::Event { forward } => self.replay.event(&self.moment, *forward, EVENT_SEARCH_MAX),
            Jump::Now => {
                self.replay.refresh()?;
                self.replay.last()
            }
            Jump::To(text) => {
                let Ok(when) = text.parse::<When>() else { return Ok(()) };
                self.replay.find(Some(&when)).ok()
            }
        };
        match found {
            Some(found) => {
                self.moment = found;
                self.show(state)
            }
            None => Ok(()),
        }
    }

    /// Tells the state which instant it is.
    fn tell(&mut self, state: &mut State) {
        let at = time_of(&self.moment);
        let (first, last) = self.replay.span().unwrap_or((at, at));
        state.shown_at = Some(Shown { first, at, last, problems: self.replay.problems() });
    }
}

/// A time of day where the user is.
pub(super) fn local(time: Timestamp) -> String {
    time.to_zoned(TimeZone::system()).strftime("%F %T %Z").to_string()
}

//! Where reports come from: this host, a recording, or what was recorded of this host.

use std::{path::Path, sync::Arc};

use anyhow::Result;
use tokio::time::Interval;

use crate::{
    collector::Collector,
    config::{Common, Replay, Top},
    registry::Follow,
    sample::Sample,
    top::{
        action::Jump,
        recorded::Recorded,
        state::{Live, State},
    },
};

/// Where reports come from.
pub(super) enum Source {
    /// This host.
    Live(Box<LiveHost>),
    /// A recording alone.
    Recorded(Box<Recorded>),
    /// What was recorded of this host, which is sampled meanwhile, and what was shown before.
    Past(Box<LiveHost>, Box<Recorded>, Box<Live>),
    /// None, while one takes the place of another.
    Changing,
}

/// This host.
pub(super) struct LiveHost {
    collector: Collector,
    /// The sample of the last report.
    older: Arc<Sample>,
}

impl LiveHost {
    /// Without showing it, a sample is still taken, because receipts need it. The first report
    /// after that covers all of it.
    fn sample(&mut self, shown: Option<&mut State>) {
        let newer = self.collector.sample();
        if let Some(state) = shown {
            state.update(self.collector.report(Some(&self.older), &newer));
            self.older = newer;
        }
    }
}

impl Source {
    pub(super) fn start(common: &Common, top: &Top) -> Result<Self> {
        if let Some(replay) = &top.replay {
            return Ok(Self::Recorded(Box::new(Recorded::open(replay)?)));
        }
        // Every cgroup is followed, so that another scope shows counts from the beginning.
        let mut collector = Collector::start(common, Follow::All)?;
        let older = collector.sample();
        Ok(Self::Live(Box::new(LiveHost { collector, older })))
    }

    /// Shows the first report. A live one has no rates, but it has everything else.
    pub(super) async fn begin(&mut self, state: &mut State) -> Result<()> {
        match self {
            Self::Live(host) => {
                host.collector.settle_names().await;
                state.update(host.collector.report(None, &host.older));
                Ok(())
            }
            Self::Recorded(recorded) => {
                state.is_paused = true;
                recorded.show(state)
            }
            Self::Past(..) | Self::Changing => Ok(()),
        }
    }

    /// Waits for the next tick.
    pub(super) async fn wait(&mut self, ticks: &mut Interval) -> Result<()> {
        match self {
            Self::Live(host) | Self::Past(host, ..) => host.collector.wait(ticks).await,
            Self::Recorded(_) | Self::Changing => {
                ticks.tick().await;
                Ok(())
            }
        }
    }

    /// Does what a tick is for; whether something else is to be shown.
    pub(super) fn advance(&mut self, state: &mut State) -> Result<bool> {
        let is_shown = !state.is_paused;
        match self {
            Self::Live(host) => host.sample(is_shown.then_some(state)),
            Self::Recorded(recorded) if is_shown => recorded.play(state)?,
            Self::Past(host, recorded, _) => {
                host.sample(None);
                if is_shown {
                    recorded.play(state)?;
                }
            }
            Self::Recorded(_) | Self::Changing => {}
        }
        Ok(is_shown)
    }

    /// Goes to another instant: from what is live into the recording at `history`, and back.
    pub(super) fn jump(&mut self, jump: &Jump, history: &Path, state: &mut State) -> Result<()> {
        match self {
            Self::Live(_) => self.look_back(jump, history, state),
            Self::Recorded(recorded) => recorded.jump(jump, state),
            Self::Past(_, recorded, _) => {
                let is_forward = matches!(jump, Jump::Instants(1..));
                if matches!(jump, Jump::Now) || is_forward && recorded.is_at_end()? {
                    self.return_to_now(state);
                    return Ok(());
                }
                recorded.jump(jump, state)
            }
            Self::Changing => Ok(()),
        }
    }

    fn look_back(&mut self, jump: &Jump, history: &Path, state: &mut State) -> Result<()> {
        let is_back = match jump {
            Jump::Instants(by) | Jump::Seconds(by) => *by < 0,
            Jump::Event { forward } => !forward,
            Jump::To(_) => true,
            Jump::Now => false,
        };
        if !is_back {
            return Ok(());
        }
        let end = Replay { path: history.to_owned(), at: None, from: None };
        let mut recorded = match Recorded::open(&end) {
            Ok(recorded) => Box::new(recorded),
            Err(error) => {
                state.notice = Some(format!("no recording to go back into: {error:#}"));
                return Ok(());
            }
        };
        let live = Box::new(state.put_aside());
        // What is shown now is hardly later than the last instant that was recorded.
        if !matches!(jump, Jump::Instants(_)) {
            recorded.jump(jump, state)?;
        }
        if state.shown_at.is_none() {
            recorded.show(state)?;
        }
        *self = match std::mem::replace(self, Self::Changing) {
            Self::Live(host) => Self::Past(host, recorded, live),
            other => other,
        };
        Ok(())
    }

    fn return_to_now(&mut self, state: &mut State) {
        *self = match std::mem::replace(self, Self::Changing) {
            Self::Past(mut host, _, live) => {
                state.take_back(*live);
                host.sample(Some(state));
                Self::Live(host)
            }
            other => other,
        };
    }
}

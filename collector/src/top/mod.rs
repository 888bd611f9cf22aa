//! `tare top`: a live view on a whole terminal.
//!
//! One loop: ticks, news from the kernel, keys and signals change the [`state`], and [`view`] draws
//! it when something changed.

pub mod events;
pub mod figures;
pub mod history;
pub mod keys;
pub mod rows;
pub mod state;
pub mod terminal;
pub mod view;

#[cfg(test)]
mod fixture;

use std::{
    fs::OpenOptions,
    io::{self, IsTerminal, Stdout},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use crossterm::event::{Event, EventStream};
use futures_util::{StreamExt, future};
use nix::{
    libc,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use ratatui::backend::CrosstermBackend;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{self, Interval, MissedTickBehavior},
};

use self::{
    keys::Action,
    state::State,
    terminal::Terminal,
    view::{Areas, theme::Theme},
};
use crate::{
    collector::Collector,
    config::{Common, Top},
    registry::Follow,
    sample::Sample,
};

/// The controlling terminal, whatever the standard streams are.
const TERMINAL: &str = "/dev/tty";

/// Runs until somebody quits, or a signal asks to.
///
/// # Errors
///
/// If there is no terminal, or nothing to read.
pub async fn run(common: &Common, top: &Top) -> Result<()> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        bail!(
            "`tare top` needs a terminal to show itself on; for pipes and files there is `tare stats`"
        );
    }
    let ending = ENDING.map(|kind| signal(SignalKind::from_raw(kind))).into_iter();
    let mut ending = ending.collect::<io::Result<Vec<_>>>()?;
    let ending = future::select_all(ending.iter_mut().map(|signal| Box::pin(signal.recv())));
    let mut screen = Screen::start(common, top)?;
    tokio::select! {
        done = screen.show_forever() => done,
        _ = ending => Ok(()),
    }
}

/// Signals that end a process, and that may be caught: the terminal is given back.
const ENDING: [libc::c_int; 7] = [
    libc::SIGINT,
    libc::SIGTERM,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
];

/// Everything that the loop needs.
struct Screen {
    collector: Collector,
    /// The sample of the last report.
    older: Arc<Sample>,
    ticks: Interval,
    state: State,
    areas: Areas,
    /// Whether the last frame is out of date.
    is_stale: bool,
    theme: Theme,
    drawer: ratatui::Terminal<CrosstermBackend<Stdout>>,
    /// Given back when this is dropped, whatever the reason.
    terminal: Terminal,
}

/// Whether to go on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Go {
    On,
    Away,
}

impl Screen {
    fn start(common: &Common, top: &Top) -> Result<Self> {
        // Every cgroup is followed, so that another scope shows counts from the beginning.
        let mut collector = Collector::start(common, Follow::All)?;
        let older = collector.sample();
        let file = OpenOptions::new().read(true).write(true).open(TERMINAL);
        let file = file.with_context(|| format!("cannot open {TERMINAL}"))?;
        let terminal = Terminal::take(file).context("cannot take the terminal over")?;
        let drawer = ratatui::Terminal::new(CrosstermBackend::new(io::stdout()))?;
        Ok(Self {
            collector,
            older,
            ticks: ticks(top.interval),
            state: State::new(top),
            areas: Areas::default(),
            is_stale: true,
            theme: Theme::from_environment(),
            drawer,
            terminal,
        })
    }

    async fn show_forever(&mut self) -> Result<()> {
        let mut events = EventStream::new();
        let mut continued = signal(SignalKind::from_raw(libc::SIGCONT))?;
        self.collector.settle_names().await;
        self.report();
        loop {
            if std::mem::take(&mut self.is_stale) {
                self.draw()?;
            }
            tokio::select! {
                ticked = self.collector.wait(&mut self.ticks) => {
                    ticked?;
                    self.sample();
                }
                event = events.next() => {
                    // More may be there already: a wheel turns faster than a terminal draws.
                    let mut next = Some(event);
                    while let Some(event) = next {
                        let Some(event) = event else { return Ok(()) };
                        let event = event.context("cannot read the terminal")?;
                        if self.obey(&event)? == Go::Away {
                            return Ok(());
                        }
                        // With our own waker: the stream keeps the one that it was asked with last.
                        next = time::timeout(Duration::ZERO, events.next()).await.ok();
                    }
                }
                _ = continued.recv() => self.take_terminal()?,
            }
        }
    }

    /// The first report has no rates, but it has everything else.
    fn report(&mut self) {
        let report = self.collector.report(None, &self.older);
        self.state.take(report);
    }

    /// While paused, samples are taken for the receipts of who ends, and not shown: the first
    /// report afterwards tells of the whole pause.
    fn sample(&mut self) {
        let newer = self.collector.sample();
        if !self.state.is_paused {
            let report = self.collector.report(Some(&self.older), &newer);
            self.state.take(report);
            self.older = newer;
            self.is_stale = true;
        }
    }

    fn obey(&mut self, event: &Event) -> Result<Go> {
        let Some(action) = keys::action(event, &self.state, &self.areas) else {
            return Ok(Go::On);
        };
        self.is_stale = true;
        match action {
            Action::Quit => return Ok(Go::Away),
            Action::Suspend => self.suspend()?,
            Action::Redraw => self.drawer.clear()?,
            action => {
                self.state.act(action);
                if self.ticks.period() != self.state.interval {
                    self.ticks = ticks(self.state.interval);
                }
            }
        }
        Ok(Go::On)
    }

    /// Stops the job, as the terminal itself does on Ctrl-Z where it is not raw. Where no shell
    /// could continue it, the kernel ignores that.
    fn suspend(&mut self) -> Result<()> {
        self.terminal.leave();
        kill(Pid::from_raw(0), Signal::SIGTSTP).context("cannot stop")?;
        self.take_terminal()
    }

    fn take_terminal(&mut self) -> Result<()> {
        self.terminal.enter().context("cannot take the terminal over")?;
        self.is_stale = true;
        Ok(self.drawer.clear()?)
    }

    fn draw(&mut self) -> Result<()> {
        let Self { state, areas, theme, .. } = self;
        self.drawer.draw(|frame| *areas = view::draw(frame, state, *theme))?;
        self.state.drawn(&self.areas);
        Ok(())
    }
}

/// The first tick comes soon, because only then there are rates and all names.
fn ticks(interval: Duration) -> Interval {
    const FIRST: Duration = Duration::from_secs(1);
    let mut ticks = time::interval_at(time::Instant::now() + interval.min(FIRST), interval);
    // A late report is late once; there is no use in making up for it.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

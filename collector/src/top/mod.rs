//! `tare top`: a live view that takes the whole terminal.
//!
//! One loop: ticks, kernel events, keys and signals change the [`state`], and [`view`] draws it
//! after a change.

mod action;
mod areas;
mod events;
mod figures;
mod history;
mod keys;
mod recorded;
mod rows;
mod source;
mod state;
mod terminal;
mod view;

#[cfg(test)]
mod fixture;

use std::{
    fs::OpenOptions,
    io::{self, IsTerminal, Stdout},
    ops::ControlFlow,
    path::PathBuf,
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
    action::Action, areas::Areas, source::Source, state::State, terminal::Terminal,
    view::theme::Theme,
};
use crate::config::{Common, Top};

/// The controlling terminal, whatever the standard streams are.
const TERMINAL: &str = "/dev/tty";

/// Runs until the user quits or a signal ends the process.
///
/// # Errors
///
/// If there is no terminal, or no cgroup hierarchy to read.
pub async fn run(common: &Common, top: &Top) -> Result<()> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        bail!("`tare top` needs a terminal; use `tare stats` for pipes and files");
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

/// Signals that end a process and can be caught. The terminal is restored before the end.
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
    source: Source,
    /// What the keys go back into.
    history: PathBuf,
    ticks: Interval,
    state: State,
    areas: Areas,
    /// Whether the last frame is out of date.
    is_stale: bool,
    theme: Theme,
    drawer: ratatui::Terminal<CrosstermBackend<Stdout>>,
    /// Restored when this is dropped.
    terminal: Terminal,
}

impl Screen {
    fn start(common: &Common, top: &Top) -> Result<Self> {
        let source = Source::start(common, top)?;
        let file = OpenOptions::new().read(true).write(true).open(TERMINAL);
        let file = file.with_context(|| format!("cannot open {TERMINAL}"))?;
        let terminal = Terminal::take(file).context("cannot take over the terminal")?;
        let drawer = ratatui::Terminal::new(CrosstermBackend::new(io::stdout()))?;
        Ok(Self {
            source,
            history: top.record.clone(),
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
        self.source.begin(&mut self.state).await?;
        loop {
            if std::mem::take(&mut self.is_stale) {
                self.draw()?;
            }
            tokio::select! {
                ticked = self.source.wait(&mut self.ticks) => {
                    ticked?;
                    self.is_stale |= self.source.advance(&mut self.state)?;
                }
                event = events.next() => {
                    // Handles all waiting events before the next frame: a wheel is faster than a
                    // terminal.
                    let mut next = Some(event);
                    while let Some(event) = next {
                        let Some(event) = event else { return Ok(()) };
                        let event = event.context("cannot read the terminal")?;
                        if self.handle(&event)? .is_break() {
                            return Ok(());
                        }
                        // `now_or_never` would leave the stream with a waker that does nothing.
                        next = time::timeout(Duration::ZERO, events.next()).await.ok();
                    }
                }
                _ = continued.recv() => self.take_terminal()?,
            }
        }
    }

    fn handle(&mut self, event: &Event) -> Result<ControlFlow<()>> {
        let Some(action) = keys::action(event, &self.state, &self.areas) else {
            return Ok(ControlFlow::Continue(()));
        };
        self.is_stale = true;
        match action {
            Action::Quit => return Ok(ControlFlow::Break(())),
            Action::Suspend => self.suspend()?,
            Action::Redraw => self.drawer.clear()?,
            action => {
                self.state.notice = None;
                if let Some(jump) = self.state.act(action) {
                    self.source.jump(&jump, &self.history, &mut self.state)?;
                }
                if self.ticks.period() != self.state.interval {
                    self.ticks = ticks(self.state.interval);
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Stops the process group, as a terminal that is not in raw mode does on Ctrl-Z. The kernel
    /// ignores this where no shell could continue it.
    fn suspend(&mut self) -> Result<()> {
        self.terminal.leave();
        kill(Pid::from_raw(0), Signal::SIGTSTP).context("cannot stop")?;
        self.take_terminal()
    }

    fn take_terminal(&mut self) -> Result<()> {
        self.terminal.enter().context("cannot take over the terminal")?;
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

/// The first tick comes early, because the first report has no rates and not all names.
fn ticks(interval: Duration) -> Interval {
    const FIRST: Duration = Duration::from_secs(1);
    let mut ticks = time::interval_at(time::Instant::now() + interval.min(FIRST), interval);
    // A late report delays the next one instead of being followed by a burst.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

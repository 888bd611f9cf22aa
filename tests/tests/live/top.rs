//! `tare top` in a real terminal, with real containers.

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tare_tests::{
    docker::{Container, Run},
    lab::Lab,
    programs::Programs,
    screen::Screen,
};

/// A container that spins, one that serves, and `tare top` that shows the two.
struct TopSession {
    spinner: Container,
    server: Container,
    screen: Screen,
    interval: &'static str,
    lab: Lab,
}

impl TopSession {
    fn open(environment: &str) -> Result<Self> {
        Self::open_at(environment, "200ms")
    }

    fn open_at(environment: &str, interval: &'static str) -> Result<Self> {
        let lab = Lab::open()?;
        let load = Run::load("spin --for 600s").option("--label", "tare.test=spins");
        let spinner = lab.start(load.option("--cpus", "0.2"))?;
        let server = lab.start(Run::load("serve"))?;
        let screen = Screen::open(&lab.scratch, 140, 40)?;
        let session = Self { spinner, server, screen, interval, lab };
        session.start(environment)?;
        Ok(session)
    }

    /// Runs it in a shell with other text on its screen.
    fn start(&self, environment: &str) -> Result<()> {
        let tare =
            self.lab.tare.command(&["top", "--interval", self.interval, "--labels", "tare.*"]);
        let words = [tare.get_program()].into_iter().chain(tare.get_args());
        let words: Option<Vec<_>> = words.map(|word| word.to_str()).collect();
        let words = words.context("the command is not UTF-8")?.join(" ");
        self.screen.line("clear; echo be''fore")?;
        self.screen.shows("before")?;
        self.screen.line(&format!("{environment} {words}"))?;
        self.both()?;
        Ok(())
    }

    /// Waits until both containers have a row.
    fn both(&self) -> Result<String> {
        let is_there = |now: &str| self.places(now).is_some();
        self.screen.until("rows of both containers", is_there)
    }

    /// The lines of the spinner's and the server's rows.
    fn places(&self, now: &str) -> Option<(usize, usize)> {
        let place =
            |name: &str| now.lines().position(|line| line.split_whitespace().next() == Some(name));
        Some((place(self.spinner.name())?, place(self.server.name())?))
    }

    /// Waits until the rows are in an order.
    fn ordered(&self, what: &str, is_right: impl Fn(usize, usize) -> bool) -> Result<String> {
        let is_so =
            |now: &str| self.places(now).is_some_and(|(spinner, server)| is_right(spinner, server));
        self.screen.until(what, is_so)
    }

    /// Waits for the shell, with its former screen and terminal mode.
    fn is_over(&self, code: &str) -> Result<()> {
        self.screen.idle()?;
        self.screen.given_back()?;
        self.screen.shows("before")?;
        self.screen
            .line("echo code=$?; stty -a | grep -o -w -e -icanon -e icanon -e -echo -e echo")?;
        // The echo of the command contains the same words.
        let says = |now: &str, mode: &str| {
            now.lines().any(|line| line.trim().trim_start_matches('-') == mode)
        };
        let shown =
            self.screen.until("the modes", |now| says(now, "icanon") && says(now, "echo"))?;
        let lines: Vec<&str> = shown.lines().map(str::trim).collect();
        ensure!(lines.contains(&format!("code={code}").as_str()), "{shown}");
        ensure!(lines.contains(&"icanon") && lines.contains(&"echo"), "{shown}");
        ensure!(!lines.contains(&"-icanon") && !lines.contains(&"-echo"), "{shown}");
        Ok(())
    }
}

#[test]
fn rows_sort_and_open_and_quitting_leaves_nothing_behind() -> Result<()> {
    let session = TopSession::open("")?;
    let (screen, spinner) = (&session.screen, session.spinner.name());
    let busiest = session.ordered("the busiest first", |spinner, server| spinner < server)?;
    ensure!(busiest.contains("CPU%▾"), "{busiest}");
    screen.text("r")?;
    session.ordered("the other way round", |spinner, server| spinner > server)?;

    // Only the spinner is throttled.
    screen.text("/")?;
    screen.text(spinner)?;
    screen.until("one row", |now| {
        session.places(now).is_none() && now.lines().any(|line| line.starts_with(spinner))
    })?;
    screen.key("Enter")?;
    screen.key("Enter")?;
    let page = screen.until("the page", |now| now.contains("% of periods now"))?;
    // Long values wrap within their column, which begins in the middle.
    let right = page.lines().map(|line| line.chars().skip(71).collect::<String>());
    let joined: String = right.map(|line| line.trim().to_owned()).collect();
    for part in ["Memory", "eth0", "Block I/O", "tare.test=spins", session.spinner.id()] {
        ensure!(page.contains(part) || joined.contains(part), "no {part} in\n{page}");
    }
    screen.key("Escape")?;
    screen.shows("only rows with")?;
    screen.key("Escape")?;
    session.both()?;

    let programs = Programs::held_by(screen.child()?)?;
    screen.text("q")?;
    session.is_over("0")?;
    programs.gone()
}

#[test]
fn signals_restore_the_terminal() -> Result<()> {
    let session = TopSession::open("")?;
    for (index, signal) in
        [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT].into_iter().enumerate()
    {
        if index > 0 {
            session.start("")?;
        }
        ensure!(session.screen.is_taken()?, "it does not use the alternate screen");
        let tare = Pid::from_raw(i32::try_from(session.screen.child()?)?);
        kill(tare, signal).with_context(|| format!("{signal} to tare"))?;
        session.is_over("0").with_context(|| format!("after {signal}"))?;
    }
    Ok(())
}

#[test]
fn keys_work_at_once_with_a_long_interval() -> Result<()> {
    const INTERVAL: &str = "300s";
    let session = TopSession::open_at("", INTERVAL)?;
    let spinner = session.spinner.name();
    // Each key waits for the screen of the one before.
    for _ in 0..3 {
        session.screen.text("/")?;
        session.screen.text(spinner)?;
        session.screen.until("one row", |now| session.places(now).is_none())?;
        session.screen.key("Enter")?;
        session.screen.shows("only rows with")?;
        session.screen.key("Escape")?;
        session.both()?;
    }
    session.screen.text("q")?;
    session.is_over("0")
}

#[test]
fn it_stops_and_goes_on_with_the_shells_job_control() -> Result<()> {
    let session = TopSession::open("")?;
    session.screen.key("C-z")?;
    session.screen.given_back()?;
    session.screen.shows("Stopped")?;
    session.screen.line("fg")?;
    session.both()?;
    ensure!(session.screen.is_taken()?, "it does not use the alternate screen again");
    session.screen.key("C-c")?;
    session.is_over("0")
}

#[test]
fn windows_may_change_their_size() -> Result<()> {
    let session = TopSession::open("")?;
    session.screen.resize(20, 5)?;
    let small = session.screen.until("a small list", |now| {
        now.contains("CPU%") && now.lines().all(|line| line.chars().count() <= 20)
    })?;
    ensure!(small.lines().count() <= 5, "{small}");
    session.screen.resize(160, 30)?;
    session
        .screen
        .until("a wide list", |now| now.contains("BLOCK") && session.places(now).is_some())?;
    session.screen.text("q")?;
    session.is_over("0")
}

#[test]
fn starts_and_ends_are_shown_with_and_without_colour() -> Result<()> {
    let session = TopSession::open("NO_COLOR=1")?;
    let short = session.lab.start(Run::load("sleep --for 300ms"))?;
    let line = |what: &str| format!("{} {what}", short.name());
    session.screen.shows(&line("started"))?;
    session.screen.shows(&line("ended"))?;
    // On a busy machine, some of its totals may be those of the last sample.
    let is_receipt = |line: &str| line.contains("final") || line.contains("before the end");
    session.screen.text("e")?;
    session.screen.until("its totals", |now| {
        now.lines().any(|line| line.starts_with(short.name()) && is_receipt(line))
    })?;
    // crossterm sets colours by their number.
    let has_color = |screen: &str| screen.contains("38;5;");
    ensure!(!has_color(&session.screen.colored()?), "{:?}", session.screen.colored()?);
    session.screen.text("q")?;
    session.is_over("0")?;
    session.start("")?;
    ensure!(has_color(&session.screen.colored()?), "{:?}", session.screen.colored()?);
    session.screen.text("q")?;
    session.is_over("0")
}

#[test]
fn without_a_terminal_it_names_what_works_there() -> Result<()> {
    let lab = Lab::open()?;
    let done = lab.tare.run(&["top"])?;
    ensure!(done.status.code() == Some(1) && done.stdout.is_empty(), "{done:?}");
    ensure!(done.stderr.contains("terminal") && done.stderr.contains("tare stats"), "{done:?}");
    Ok(())
}

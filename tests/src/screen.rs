//! A real terminal emulator, tmux, with a shell.

use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{
    process::output,
    scratch::Scratch,
    wait::{self, PATIENCE},
};

/// The shell's prompt.
const PROMPT: &str = "ready>";

/// A window of a private tmux server; both end on drop.
#[derive(Debug)]
pub struct Screen {
    socket: String,
}

impl Screen {
    /// Opens a window with a shell in it.
    pub fn open(scratch: &Scratch, columns: u16, lines: u16) -> Result<Self> {
        let socket = scratch.subdirectory()?.join("tmux");
        let socket = socket.to_str().context("the scratch directory's name is not UTF-8")?;
        let screen = Self { socket: socket.to_owned() };
        let (columns, lines) = (columns.to_string(), lines.to_string());
        let shell =
            format!("env -u NO_COLOR LC_ALL=C.UTF-8 PS1='{PROMPT} ' bash --norc --noprofile");
        screen
            .tmux(&["-u", "new-session", "-d", "-x", &columns, "-y", &lines, &shell])
            .context("the live tests need tmux")?;
        screen.shows(PROMPT)?;
        Ok(screen)
    }

    /// Types a line and presses Enter.
    pub fn line(&self, text: &str) -> Result<()> {
        self.text(text)?;
        self.key("Enter")
    }

    /// Types letters.
    pub fn text(&self, text: &str) -> Result<()> {
        self.tmux(&["send-keys", "-l", text]).map(drop)
    }

    /// Presses a key by tmux's name for it, such as `Enter`, `F5` or `C-z`.
    pub fn key(&self, key: &str) -> Result<()> {
        self.tmux(&["send-keys", key]).map(drop)
    }

    /// Changes the window's size.
    pub fn resize(&self, columns: u16, lines: u16) -> Result<()> {
        let (columns, lines) = (columns.to_string(), lines.to_string());
        self.tmux(&["resize-window", "-x", &columns, "-y", &lines]).map(drop)
    }

    /// What the window shows now.
    pub fn now(&self) -> Result<String> {
        self.tmux(&["capture-pane", "-p"])
    }

    /// The same with its colours, as escape sequences.
    pub fn colored(&self) -> Result<String> {
        self.tmux(&["capture-pane", "-p", "-e"])
    }

    /// Waits until it shows a text.
    pub fn shows(&self, text: &str) -> Result<()> {
        self.until(&format!("“{text}”"), |now| now.contains(text)).map(drop)
    }

    /// Waits until its contents satisfy a condition; the contents.
    pub fn until(&self, what: &str, is_right: impl Fn(&str) -> bool) -> Result<String> {
        let waited =
            wait::until(what, PATIENCE, || Ok(Some(self.now()?).filter(|now| is_right(now))));
        waited.with_context(|| format!("the screen shows:\n{}", self.now().unwrap_or_default()))
    }

    /// Waits until no full-screen program has the window: the shell's screen and cursor are back,
    /// and mouse events are off.
    pub fn given_back(&self) -> Result<()> {
        let format = "#{alternate_on} #{cursor_flag} #{mouse_any_flag}";
        wait::until("the terminal to be given back", PATIENCE, || {
            let modes = self.tmux(&["display-message", "-p", format])?;
            Ok((modes == "0 1 0").then_some(()))
        })
        .with_context(|| format!("the screen shows:\n{}", self.now().unwrap_or_default()))
    }

    /// Waits until the shell runs no program: an ending program could read what is typed.
    pub fn idle(&self) -> Result<()> {
        let waited = wait::until("the shell to run nothing", PATIENCE, || {
            Ok(self.children()?.trim().is_empty().then_some(()))
        });
        waited.with_context(|| format!("the screen shows:\n{}", self.now().unwrap_or_default()))
    }

    /// Whether a full-screen program has the window.
    pub fn is_taken(&self) -> Result<bool> {
        Ok(self.tmux(&["display-message", "-p", "#{alternate_on}"])? == "1")
    }

    /// The process that the shell runs.
    pub fn child(&self) -> Result<u32> {
        let children = self.children()?;
        let Some(child) = children.split_whitespace().next() else {
            bail!("the shell runs nothing; the screen shows:\n{}", self.now()?);
        };
        child.parse().with_context(|| format!("a process id: {child}"))
    }

    fn children(&self) -> Result<String> {
        let shell = self.tmux(&["display-message", "-p", "#{pane_pid}"])?;
        let children = format!("/proc/{shell}/task/{shell}/children");
        std::fs::read_to_string(&children).with_context(|| children.clone())
    }

    fn tmux(&self, args: &[&str]) -> Result<String> {
        let mut tmux = Command::new("tmux");
        tmux.args(["-S", &self.socket, "-f", "/dev/null"]).args(args).env_remove("TMUX");
        output(tmux, PATIENCE)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Err(error) = self.tmux(&["kill-server"]) {
            eprintln!("could not end tmux at {}: {error:#}", self.socket);
        }
    }
}

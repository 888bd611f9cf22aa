//! A picture of what a command shows in a terminal.

use std::{fs, path::PathBuf, thread::sleep, time::Duration};

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::{Value, json};

use crate::{picture, scratch::Scratch, screen::Screen};

/// How long the screen has to stay the same.
const STILL: Duration = Duration::from_millis(500);

#[derive(Args, Debug)]
pub(super) struct Picture {
    /// The SVG to write.
    #[arg(long)]
    output: PathBuf,
    #[arg(long, default_value_t = 120)]
    columns: u16,
    #[arg(long, default_value_t = 24)]
    lines: u16,
    /// What to wait for.
    #[arg(long)]
    shows: String,
    /// Keys to press then, by tmux's names.
    #[arg(long = "key")]
    keys: Vec<String>,
    /// The command, as a shell reads it.
    command: String,
}

impl Picture {
    /// Runs the command until its screen stays as it is.
    pub(super) fn run(self) -> Result<Value> {
        let scratch = Scratch::new()?;
        let screen = Screen::open(&scratch, self.columns, self.lines)?;
        screen.line(&format!("clear; {}", self.command))?;
        screen.shows(&self.shows)?;
        for key in &self.keys {
            screen.key(key)?;
        }
        let mut shown = screen.colored()?;
        loop {
            sleep(STILL);
            let now = screen.colored()?;
            if now == shown {
                break;
            }
            shown = now;
        }
        let picture = picture::svg(&shown, self.columns);
        let bytes = picture.len();
        fs::write(&self.output, picture)
            .with_context(|| format!("write {}", self.output.display()))?;
        Ok(json!({ "bytes": bytes }))
    }
}

//! Where the log goes and how it looks.

use std::{
    io::{self, IsTerminal, Write, stderr},
    sync::{Mutex, PoisonError},
};

use clap::ValueEnum;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer, Registry, fmt, fmt::MakeWriter, layer::SubscriberExt, reload, util::SubscriberInitExt,
};

/// What is logged while the screen is full is held back, up to so many bytes.
const HELD_BYTES_MAX: usize = 64 << 10;

/// Log lines that wait for the screen; `None` while nobody has it.
static HELD: Mutex<Option<Vec<u8>>> = Mutex::new(None);

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object per line.
    Json,
}

/// The log, which goes to standard error.
pub struct Logging(reload::Handle<LevelFilter, Registry>);

impl Logging {
    /// Begins to log.
    pub fn start(level: LevelFilter, format: LogFormat) -> Self {
        let (level, handle) = reload::Layer::new(level);
        let lines = fmt::layer().with_writer(Log).with_target(false);
        let lines = match format {
            LogFormat::Text => lines.with_ansi(stderr().is_terminal()).boxed(),
            LogFormat::Json => lines.json().flatten_event(true).boxed(),
        };
        tracing_subscriber::registry().with(level).with(lines).init();
        Self(handle)
    }

    /// Logs so much from now on.
    pub fn set_level(&self, level: LevelFilter) {
        // The log lives as long as the program.
        let _ = self.0.reload(level);
    }
}

/// Holds back what is logged, if standard error shows the screen that comes now.
pub fn hold() {
    if stderr().is_terminal() {
        HELD.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default();
    }
}

/// Writes what was held back; the screen is gone.
pub fn release() {
    let held = HELD.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(held) = held {
        let _ = stderr().write_all(&held);
    }
}

/// Standard error, or a buffer while that shows a screen of ours.
#[derive(Clone, Copy)]
struct Log;

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *held {
            Some(held) => {
                let room = HELD_BYTES_MAX.saturating_sub(held.len());
                held.extend_from_slice(&bytes[..bytes.len().min(room)]);
                Ok(bytes.len())
            }
            None => stderr().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        stderr().flush()
    }
}

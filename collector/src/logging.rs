//! The log: destination, format, and a buffer while the terminal shows a full screen.

use std::{
    io::{self, IsTerminal, Write, stderr},
    sync::{Mutex, PoisonError},
};

use clap::ValueEnum;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer, Registry, fmt, fmt::MakeWriter, layer::SubscriberExt, reload, util::SubscriberInitExt,
};

/// Log lines that are held back while a full screen is shown. Lines beyond that are lost.
const HELD_BYTES_MAX: usize = 64 << 10;

/// Log lines held back until the screen is released; `None` while no screen is shown.
static HELD: Mutex<Option<Vec<u8>>> = Mutex::new(None);

/// The format of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The log on standard error.
pub struct Logging(reload::Handle<LevelFilter, Registry>);

impl Logging {
    /// Installs the log for the whole process.
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

    /// Changes the level.
    pub fn set_level(&self, level: LevelFilter) {
        // This fails only once the subscriber is gone, which lives as long as the process.
        let _ = self.0.reload(level);
    }
}

/// Holds log lines back from now on, if standard error is the terminal that will show a full
/// screen.
pub fn hold() {
    if stderr().is_terminal() {
        HELD.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default();
    }
}

/// Writes the lines that were held back. Call it when the screen is gone.
pub fn release() {
    let held = HELD.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(held) = held {
        let _ = stderr().write_all(&held);
    }
}

/// Standard error, or the buffer while a full screen is shown.
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

//! Where the log goes and how it looks.

use std::io::{IsTerminal, stderr};

use clap::ValueEnum;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer, Registry, fmt, layer::SubscriberExt, reload, util::SubscriberInitExt,
};

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
        let lines = fmt::layer().with_writer(stderr).with_target(false);
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

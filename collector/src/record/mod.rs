//! Recordings: samples are written to disk beside the sampling loop, and read back as what they
//! were.
//!
//! A recorded instant becomes a [`SamplePair`](crate::collector::SamplePair) again, so the report
//! of it is made by the code that makes live ones. `tare_record` knows how it is stored.

mod command;
mod counts;
mod instant;
mod recorder;
mod replay;
mod same;
mod time;

#[cfg(test)]
mod tests;

pub use self::{
    command::run,
    counts::RecordingCounts,
    recorder::Recorder,
    replay::{Replay, time_of},
    time::When,
};
pub use tare_record::Moment;

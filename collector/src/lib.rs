//! Tare: what every container on a Linux host uses, at a cost that nobody notices.
//!
//! Data flows down this list: a module imports only from modules above it. `ARCHITECTURE.md` says
//! what each of them must not know.

/// The contract: what reports hold.
pub use tare_model as model;

pub mod clock;
pub mod process;
pub mod reason;
pub mod recurring;
mod small_files;
pub mod timing;

pub mod telemetry;

mod exposition;

pub mod kernel;

pub mod cgroup;
pub mod devices;

pub mod families;

pub mod host;

pub mod network;

pub mod kernel_totals;

pub mod identity;

pub mod registry;

pub mod sample;

pub mod sources;

pub mod report;

pub mod output;

pub mod logging;

pub mod cli;

pub mod config;

pub mod manuals;

pub mod collector;

pub mod doctor;

pub mod snapshot;

pub mod stats;

pub mod top;

mod published;

mod server;

mod faces;

pub mod daemon;

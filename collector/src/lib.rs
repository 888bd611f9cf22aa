//! Tare: what every container on a Linux host uses, at a very low cost.
//!
//! Data flows down this list: a module imports only from modules above it. `ARCHITECTURE.md` says
//! what each of them must not know.
//!
//! The modules are private, so the compiler finds unused code. `pub` in them means: for other
//! modules.
#![allow(unreachable_pub)]

mod child;
mod clock;
mod hashing;
mod process;
mod reason;
mod recurring;
mod seldom;
mod small_files;
mod timing;

mod telemetry;

mod exposition;

mod kernel;

mod cgroup;
mod devices;

mod families;

mod host;

mod network;

mod kernel_totals;

mod identity;

mod registry;

mod sample;

mod sources;

mod report;

mod output;

mod logging;

mod cli;

mod config;

mod manuals;

mod collector;

mod record;

mod doctor;

mod health;

mod snapshot;

mod diff;

mod budget;

mod collectd;

mod stats;

mod top;

mod published;

mod export;

mod server;

mod faces;

mod daemon;

mod command;

pub use self::{
    cli::{Cli, run::DEFAULT_SOCKET},
    command::main,
};

/// What the project's own measurements and checks call; not for others, and it may change at any
/// time.
#[doc(hidden)]
pub mod internals {
    pub use crate::{
        cgroup::{find_hierarchies, parse_mountinfo},
        collector::SamplePair,
        devices::Devices,
        host::{HostFacts, HostFiles},
        identity::{MetadataFilter, MetadataResolver, RuntimeSockets, Socket, classify},
        kernel::{Facts as KernelFacts, Kernel, Options as KernelOptions, SocketLevel, walk},
        kernel_totals::Diskstats,
        network::{InterfaceCounters, NamespaceId, Namespaces},
        output::{
            json::write as write_json,
            prometheus::{
                Chunks, Exposition, LabelSet, MetricPattern, Options as ScrapeOptions, Scrape,
                Selection,
            },
            table::{Options as TableOptions, render as render_table},
        },
        reason::Reason,
        record::{Recorder, Replay},
        registry::{Follow, Registry},
        report::{ReportOptions, build as build_report},
        sample::{BlockReconciler, Receipts, Reconcilers, RetransmitReconciler, Sample, Sampler},
        telemetry::Telemetry,
    };
}

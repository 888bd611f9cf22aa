//! Why something is missing, or second best.
//!
//! A [`Reason`] is one cause with what is known about it. Its text for people is its
//! [`Display`](std::fmt::Display), in one line; [`Reason::remedy`] is what a person can do about
//! it; [`Reason::code`] is its kind in one of a few fixed words, for metrics, logs and programs.

pub mod recorded;
mod remedy;

use std::sync::Arc;

use thiserror::Error;

pub use self::remedy::Circumstances;

/// One cause. Cloning it allocates nothing.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Reason {
    /// Nothing could be started at all.
    #[error("{fault}")]
    NotStarted {
        /// The fault in one line.
        fault: Arc<str>,
    },

    /// The user switched the kernel side off.
    #[error("switched off with {option}")]
    SwitchedOff {
        /// The option that did it.
        option: &'static str,
    },
    /// Counters in the kernel begin at 0 when they are loaded.
    #[error("not loaded for a single sample, in which it would count nothing")]
    SingleSample,
    /// The binary carries no eBPF object.
    #[error("built without the eBPF object; build with `cargo xtask build`")]
    NoObject,
    /// The kernel has no type information.
    #[error("no kernel type information (BTF) at {path}: needs CONFIG_DEBUG_INFO_BTF")]
    NoBtf {
        /// Where it would be.
        path: Arc<str>,
    },
    /// The kernel's type information cannot be read or understood.
    #[error("{path}: {error}")]
    UnreadableBtf {
        /// Where it is.
        path: Arc<str>,
        /// What is wrong with it.
        error: Arc<str>,
    },
    /// The kernel lacks a tracepoint.
    #[error("this kernel has no tracepoint {tracepoint}")]
    MissingTracepoint {
        /// Its name.
        tracepoint: &'static str,
    },
    /// The kernel has a tracepoint in a form that Tare does not know.
    #[error(
        "this kernel's tracepoint {tracepoint} has {found} arguments where {expected} are known"
    )]
    ChangedTracepoint {
        /// Its name.
        tracepoint: &'static str,
        /// How many arguments it has.
        found: usize,
        /// How many Tare knows.
        expected: usize,
    },
    /// The kernel lacks a field, or has one of another size.
    #[error("this kernel's BTF has no field {field} of the known size")]
    MissingField {
        /// Struct and field.
        field: &'static str,
    },
    /// The kernel lacks a function that programs call or attach to.
    #[error("this kernel has no function {function} for programs")]
    MissingFunction {
        /// Its name.
        function: &'static str,
    },
    /// The only walk that this kernel has keeps a lock that others wait for.
    #[error("used only with --sources walk: no cgroup can be made or removed during this walk")]
    WalkHoldsLock,
    /// No hierarchy that programs walk has it.
    #[error("it is in no cgroup hierarchy that programs can walk")]
    NotWalked,
    /// The walk failed several times in a row.
    #[error("the walk of the cgroups failed: {error}")]
    WalkFailed {
        /// The last failure in one line.
        error: Arc<str>,
    },
    /// v1 keeps a count for each CPU, where programs do not get.
    #[error("cgroup v1 counts it for each CPU, out of reach of programs")]
    CountedPerCpu,
    /// v1 does not have it.
    #[error("cgroup v1 does not have it")]
    OnlyUnified,
    /// The kernel refused with `EPERM` or `EACCES`.
    #[error("not permitted: needs {} (run as root)", needs.join(" and "))]
    NotPermitted {
        /// The capabilities that permit it.
        needs: &'static [&'static str],
    },
    /// Any other error of the kernel or of the loader.
    #[error("{error}")]
    Kernel {
        /// In one line.
        error: Arc<str>,
    },

    /// No mounted hierarchy has a controller.
    #[error("no cgroup hierarchy with the {controller} controller")]
    NoController {
        /// Its name on v1.
        controller: &'static str,
    },
    /// cgroup2 lacks a controller.
    #[error("the {controller} controller is off: cgroup2 does not offer it")]
    ControllerOff {
        /// Its name.
        controller: &'static str,
    },
    /// The io controller is not enabled for some cgroups.
    #[error(
        "the kernel charges the I/O of {cgroups} {} to one above, because the io controller is \
         not enabled there",
        if *cgroups == 1 { "cgroup" } else { "cgroups" }
    )]
    IoChargedAbove {
        /// How many cgroups.
        cgroups: usize,
    },
    /// The io controller is not enabled for one cgroup.
    #[error("the io controller is not enabled for this cgroup: the kernel charges {ancestor}")]
    IoChargedTo {
        /// Path of the cgroup that is charged.
        ancestor: Arc<str>,
    },
    /// v1 has no cgroup writeback (`include/linux/backing-dev.h`, `inode_cgwb_enabled`).
    #[error(
        "cgroup v1: what the kernel writes back later from the page cache is charged to the root, \
         not to the cgroup that wrote it"
    )]
    WritebackNotCharged,
    /// v1 counts an I/O where it is throttled (`block/blk-throttle.h`, `blk_should_throtl`,
    /// Linux 6.1).
    #[error(
        "blkio.throttle.* says 0, which on most kernels only means that the cgroup's I/O has no \
         limit"
    )]
    OnlyThrottledCounted,

    /// A socket's own cgroup says nothing about containers, and its user's does not either.
    #[error("not separable: {OUTSIDE_CGROUP2}{}", and(callers.as_deref()))]
    NotSeparable {
        /// Why the callers of socket functions cannot be separated either.
        callers: Option<Arc<Reason>>,
    },
    /// Packets were asked for, and carry nothing but the socket's own cgroup.
    #[error("{OUTSIDE_CGROUP2}")]
    PacketsNotSeparable,
    /// There is no v1 hierarchy that separates the callers of socket functions.
    #[error(
        "the memory controller, by which their callers could be told apart, has no v1 hierarchy"
    )]
    NoMemoryHierarchy,
    /// Some instances are not in the hierarchy whose ids count sockets.
    #[error("not separable for {instances} of them: not in the hierarchy that is counted by")]
    InstancesNotSeparable {
        /// How many.
        instances: usize,
    },
    /// The network namespace of some process is unknown.
    #[error("{error}")]
    NamespaceUnreadable {
        /// The error with its path.
        error: Arc<str>,
    },

    /// A counter table is full.
    #[error(
        "all {slots} slots were in use: some cgroups are counted together as overflow; see --slots"
    )]
    SlotsFull {
        /// How many slots the table has.
        slots: usize,
    },
    /// The table of block requests is full.
    #[error("{} ({read_bytes} bytes read and {write_bytes} written so far)",
        Reason::SlotsFull { slots: *slots })]
    BlockSlotsFull {
        /// How many slots the table has.
        slots: usize,
        /// Bytes that the overflow counted as read.
        read_bytes: u64,
        /// Bytes that the overflow counted as written.
        write_bytes: u64,
    },
    /// What one cgroup did may be in the overflow.
    #[error("no counter slot was free: its block I/O is in the overflow; see --slots")]
    InOverflow,
    /// The ring buffer of events was full.
    #[error("{lost} events were lost because too many came at once")]
    EventsLost {
        /// How many.
        lost: u64,
    },
    /// Files cannot stay open. That costs time, but no numbers.
    #[error(
        "{files} files are opened anew for each reading, because this process may open only \
         {limit} files: raise its limit (ulimit -n, LimitNOFILE)"
    )]
    OpenFilesLimit {
        /// How many are opened anew.
        files: usize,
        /// `RLIMIT_NOFILE`.
        limit: u64,
    },

    /// Neither the CPU nor the kernel counts an event.
    #[error("the kernel has no such event: this CPU, or this virtual machine, does not count it")]
    NoPerfEvent,
    /// Counters of events have no descriptors left. An event takes one for each CPU and cgroup.
    #[error(
        "{cgroups} {} not counted, because counters may take {limit} descriptors",
        if *cgroups == 1 { "cgroup is" } else { "cgroups are" }
    )]
    PerfDescriptors {
        /// How many cgroups are not counted.
        cgroups: usize,
        /// How many descriptors there may be.
        limit: usize,
    },

    /// The kernel counted more than our programs did.
    #[error(
        "{lost} of {expected} {what} ({:.2} %) were not seen by the kernel's programs",
        *lost as f64 / (*expected).max(1) as f64 * 100.0
    )]
    NotSeen {
        /// How many our programs missed.
        lost: u64,
        /// How many the kernel counted.
        expected: u64,
        /// What they are.
        what: Arc<str>,
    },
    /// A block device is none that Tare can count by itself.
    #[error("it neither makes requests nor stands on a device that does")]
    NoRequests,

    /// A container daemon is still being asked.
    #[error("{daemon} has not answered yet")]
    DaemonConnecting {
        /// Which one.
        daemon: Arc<str>,
    },
    /// The user switched the questions to a container daemon off.
    #[error("{daemon} is not asked")]
    DaemonNotAsked {
        /// Which one.
        daemon: Arc<str>,
    },
    /// There is no socket of a container daemon.
    #[error("no {daemon} socket at {paths}")]
    NoDaemonSocket {
        /// Which one.
        daemon: &'static str,
        /// Where it was looked for.
        paths: Arc<str>,
    },
    /// A container daemon does not answer.
    #[error("{error}")]
    DaemonAway {
        /// The error with its socket.
        error: Arc<str>,
    },

    /// The kernel measures no pressure.
    #[error(transparent)]
    NoPressure(NoPressure),
    /// A file cannot be read.
    #[error("{path}: {error}")]
    UnreadableFile {
        /// Which one.
        path: &'static str,
        /// Why.
        error: Arc<str>,
    },
    /// Each look at the clock asks a device outside of the CPU, or its steps are long.
    #[error("{clock} is slow or coarse: block requests cost more to count")]
    SlowClock {
        /// Its name.
        clock: Arc<str>,
    },
    /// Which clock the kernel uses is unknown.
    #[error("the kernel does not tell its clock")]
    UnknownClock,
}

/// Why the kernel measures no pressure (`kernel/sched/psi.c`, `setup_psi` and `psi_proc_init`).
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NoPressure {
    /// By the user.
    #[error("switched off on the kernel's command line (psi={value})")]
    CommandLine {
        /// What is written there.
        value: Arc<str>,
    },
    /// By who built the kernel, for good.
    #[error("the kernel was built without CONFIG_PSI")]
    NotBuilt,
    /// By who built the kernel, unless the command line says otherwise.
    #[error("off unless asked for (CONFIG_PSI_DEFAULT_DISABLED=y)")]
    OffByDefault,
    /// The files are there and say so.
    #[error("switched off (EOPNOTSUPP)")]
    SwitchedOff,
    /// The files are not there.
    #[error("no /proc/pressure: built without CONFIG_PSI, or off unless asked for")]
    NoFiles,
}

const OUTSIDE_CGROUP2: &str =
    "sockets belong to cgroups of cgroup2 only, where no container is on this host";

fn and(reason: Option<&Reason>) -> String {
    reason.map(|reason| format!(", and {reason}")).unwrap_or_default()
}

impl Reason {
    /// An error that no other reason describes; of several lines the first.
    pub fn kernel(error: &str) -> Self {
        Self::Kernel { error: error.lines().next().unwrap_or_default().into() }
    }

    /// The kind of reason, one of a small fixed set (`docs/json.md` lists it).
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotStarted { .. } => "not_started",
            Self::SwitchedOff { .. } | Self::WalkHoldsLock | Self::DaemonNotAsked { .. } => {
                "switched_off"
            }
            Self::SingleSample => "single_sample",
            Self::NoObject => "no_object",
            Self::NoBtf { .. } | Self::UnreadableBtf { .. } => "no_btf",
            Self::MissingTracepoint { .. } => "missing_tracepoint",
            Self::ChangedTracepoint { .. } => "changed_tracepoint",
            Self::MissingField { .. } => "missing_field",
            Self::MissingFunction { .. } => "missing_function",
            Self::NotPermitted { .. } => "not_permitted",
            Self::Kernel { .. } | Self::WalkFailed { .. } => "kernel_error",
            Self::NoController { .. } | Self::ControllerOff { .. } | Self::NotWalked => {
                "no_controller"
            }
            Self::IoChargedAbove { .. } | Self::IoChargedTo { .. } => "controller_not_enabled",
            Self::WritebackNotCharged
            | Self::OnlyThrottledCounted
            | Self::CountedPerCpu
            | Self::OnlyUnified => "cgroup_v1",
            Self::NotSeparable { .. }
            | Self::PacketsNotSeparable
            | Self::NoMemoryHierarchy
            | Self::InstancesNotSeparable { .. } => "not_separable",
            Self::NamespaceUnreadable { .. } => "namespace_unreadable",
            Self::SlotsFull { .. } | Self::BlockSlotsFull { .. } | Self::InOverflow => "slots_full",
            Self::EventsLost { .. } => "events_lost",
            Self::OpenFilesLimit { .. } | Self::PerfDescriptors { .. } => "open_files_limit",
            Self::NoPerfEvent => "missing_event",
            Self::NotSeen { .. } => "not_seen",
            Self::NoRequests => "no_requests",
            Self::DaemonConnecting { .. } => "daemon_connecting",
            Self::NoDaemonSocket { .. } => "no_daemon_socket",
            Self::DaemonAway { .. } => "daemon_away",
            Self::NoPressure(_) => "no_pressure",
            Self::UnreadableFile { .. } => "unreadable_file",
            Self::SlowClock { .. } => "slow_clock",
            Self::UnknownClock => "unknown_clock",
        }
    }
}

impl From<&Reason> for Reason {
    fn from(reason: &Reason) -> Self {
        reason.clone()
    }
}

#[cfg(test)]
mod tests;

//! The fields of a record, and where files say the same.

use tare::internals::walk::{Freezing, MemoryEvents, Record, Stall};

use self::Kind::{Counter, Gauge, Part};

/// A field: its file, the word before its number, its kind, and what the record says. None of the
/// words is that of a file with nothing else in it.
pub(crate) type Field = (&'static str, &'static str, Kind, fn(&Record<'_>) -> Option<u64>);

/// Whether a number may fall.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It never does.
    Counter,
    /// It may rise and fall between two looks.
    Gauge,
    /// A part of `usage_usec`, of which this word is the rest. The kernel divides the usage anew
    /// for each look at the file, and does not let fall what it has shown before.
    Part(&'static str),
}

/// A v1 limit from here on is none.
const V1_UNLIMITED: u64 = i64::MAX as u64 & !0xffff;

/// The second number of a file.
const SECOND: &str = "second";

/// Nanoseconds in what `cpuacct.stat` counts in (`USER_HZ`).
const TICK: u64 = 10_000_000;

/// CPU time in cgroup2.
pub(crate) const USAGE: &str = "usage_usec";

/// The state of a v1 freezer.
const FROZEN: &str = "FROZEN";

/// The number behind a word in the text of a file; `None` if it says none.
pub(crate) fn number(text: &str, word: &str) -> Option<u64> {
    if word == FROZEN {
        return Some(u64::from(text.trim() == FROZEN));
    }
    if word == SECOND {
        return text.split_whitespace().nth(1)?.parse().ok();
    }
    if let Some((line, field)) = word.split_once(' ') {
        let line = text.lines().find_map(|found| found.strip_prefix(line))?;
        let value = line
            .split_whitespace()
            .find_map(|found| found.strip_prefix(field)?.strip_prefix('='))?;
        return match value.split_once('.') {
            Some((whole, part)) => {
                Some(whole.parse::<u64>().ok()? * 100 + part.parse::<u64>().ok()?)
            }
            None => value.parse().ok(),
        };
    }
    let rest = match word {
        "" => Some(text),
        _ => text.lines().find_map(|found| found.strip_prefix(word)?.strip_prefix(' ')),
    };
    rest?.split_whitespace().next()?.parse().ok().filter(|n| *n < V1_UNLIMITED)
}

fn event(events: Option<MemoryEvents>, which: fn(MemoryEvents) -> Option<u64>) -> Option<u64> {
    events.and_then(which)
}
fn average(stall: Stall, which: usize) -> Option<u64> {
    stall.averages.map(|all| all[which])
}
fn split(r: &Record<'_>) -> Option<(u64, u64)> {
    r.cpu().map(|c| c.split())
}

/// Fields of cgroup2.
pub(crate) const UNIFIED: &[Field] = &[
    ("cpu.stat", USAGE, Counter, |r| r.cpu().map(|c| c.usage_nanoseconds / 1000)),
    ("cpu.stat", "user_usec", Part("system_usec"), |r| split(r).map(|s| s.0 / 1000)),
    ("cpu.stat", "system_usec", Part("user_usec"), |r| split(r).map(|s| s.1 / 1000)),
    ("cpu.stat", "nr_periods", Counter, |r| r.throttling().map(|t| t.periods)),
    ("cpu.stat", "nr_throttled", Counter, |r| r.throttling().map(|t| t.throttled_periods)),
    ("cpu.stat", "throttled_usec", Counter, |r| {
        r.throttling().map(|t| t.throttled_nanoseconds / 1000)
    }),
    ("cpu.stat", "nr_bursts", Counter, |r| r.throttling().and_then(|t| t.bursts)),
    ("cpu.stat", "burst_usec", Counter, |r| {
        r.throttling().and_then(|t| Some(t.burst_nanoseconds? / 1000))
    }),
    ("cpu.max", "", Gauge, |r| r.cpu_limits().and_then(|l| l.quota_microseconds)),
    ("cpu.max", SECOND, Gauge, |r| r.cpu_limits().and_then(|l| l.period_microseconds)),
    ("cpu.max.burst", "", Gauge, |r| r.cpu_limits().and_then(|l| l.burst_microseconds)),
    ("cpu.weight", "", Gauge, |r| r.cpu_limits().and_then(|l| l.weight)),
    ("memory.current", "", Gauge, |r| r.memory().map(|m| m.usage_bytes)),
    ("memory.peak", "", Counter, |r| r.memory().map(|m| m.peak_bytes)),
    ("memory.swap.current", "", Gauge, |r| r.memory().and_then(|m| m.swap_bytes)),
    ("memory.max", "", Gauge, |r| r.memory_limits().and_then(|m| m.max_bytes)),
    ("memory.high", "", Gauge, |r| r.memory_limits().and_then(|m| m.high_bytes)),
    ("memory.low", "", Gauge, |r| r.memory_limits().and_then(|m| m.low_bytes)),
    ("memory.min", "", Gauge, |r| r.memory_limits().and_then(|m| m.min_bytes)),
    ("memory.swap.max", "", Gauge, |r| r.memory_limits().and_then(|m| m.swap_max_bytes)),
    ("memory.swap.high", "", Gauge, |r| r.memory_limits().and_then(|m| m.swap_high_bytes)),
    ("memory.swap.peak", "", Gauge, |r| r.memory_limits().and_then(|m| m.swap_peak_bytes)),
    ("memory.events", "low", Counter, |r| event(r.memory_events(), |e| e.low)),
    ("memory.events", "high", Counter, |r| event(r.memory_events(), |e| e.high)),
    ("memory.events", "max", Counter, |r| event(r.memory_events(), |e| e.max)),
    ("memory.events", "oom", Counter, |r| event(r.memory_events(), |e| e.oom)),
    ("memory.events", "oom_kill", Counter, |r| event(r.memory_events(), |e| e.oom_kill)),
    ("memory.events", "oom_group_kill", Counter, |r| {
        event(r.memory_events(), |e| e.oom_group_kill)
    }),
    ("memory.events.local", "low", Counter, |r| event(r.memory_events_local(), |e| e.low)),
    ("memory.events.local", "high", Counter, |r| event(r.memory_events_local(), |e| e.high)),
    ("memory.events.local", "max", Counter, |r| event(r.memory_events_local(), |e| e.max)),
    ("memory.events.local", "oom", Counter, |r| event(r.memory_events_local(), |e| e.oom)),
    ("memory.events.local", "oom_kill", Counter, |r| {
        event(r.memory_events_local(), |e| e.oom_kill)
    }),
    ("pids.current", "", Gauge, |r| r.tasks().map(|t| t.current)),
    ("pids.max", "", Gauge, |r| r.tasks().and_then(|t| t.limit)),
    ("pids.peak", "", Counter, |r| r.tasks().and_then(|t| t.peak)),
    ("pids.events", "max", Counter, |r| r.tasks().and_then(|t| t.limit_hits)),
    ("cpu.pressure", "some total", Counter, |r| {
        r.pressures().map(|p| p.cpu.some.total_microseconds)
    }),
    ("cpu.pressure", "full total", Counter, |r| {
        r.pressures().map(|p| p.cpu.full.total_microseconds)
    }),
    ("memory.pressure", "some total", Counter, |r| {
        r.pressures().map(|p| p.memory.some.total_microseconds)
    }),
    ("memory.pressure", "full total", Counter, |r| {
        r.pressures().map(|p| p.memory.full.total_microseconds)
    }),
    ("io.pressure", "some total", Counter, |r| r.pressures().map(|p| p.io.some.total_microseconds)),
    ("io.pressure", "full total", Counter, |r| r.pressures().map(|p| p.io.full.total_microseconds)),
    ("cpu.pressure", "some avg10", Gauge, |r| r.pressures().and_then(|p| average(p.cpu.some, 0))),
    ("cpu.pressure", "some avg60", Gauge, |r| r.pressures().and_then(|p| average(p.cpu.some, 1))),
    ("cpu.pressure", "full avg300", Gauge, |r| r.pressures().and_then(|p| average(p.cpu.full, 2))),
    ("memory.pressure", "some avg10", Gauge, |r| {
        r.pressures().and_then(|p| average(p.memory.some, 0))
    }),
    ("io.pressure", "some avg300", Gauge, |r| r.pressures().and_then(|p| average(p.io.some, 2))),
    ("cgroup.events", "populated", Gauge, |r| r.populated().map(u64::from)),
    ("cgroup.events", "frozen", Gauge, |r| r.frozen().map(u64::from)),
    ("cgroup.stat", "nr_descendants", Gauge, |r| r.descendants().map(|d| d.0)),
    ("cgroup.stat", "nr_dying_descendants", Gauge, |r| r.descendants().map(|d| d.1)),
];

/// Fields of v1.
pub(crate) const LEGACY: &[Field] = &[
    ("cpuacct.usage", "", Counter, |r| r.cpu().map(|c| c.usage_nanoseconds)),
    ("cpuacct.stat", "user", Counter, |r| split(r).map(|s| s.0 / TICK)),
    ("cpuacct.stat", "system", Counter, |r| split(r).map(|s| s.1 / TICK)),
    ("cpu.stat", "nr_periods", Counter, |r| r.throttling().map(|t| t.periods)),
    ("cpu.stat", "nr_throttled", Counter, |r| r.throttling().map(|t| t.throttled_periods)),
    ("cpu.stat", "throttled_time", Counter, |r| r.throttling().map(|t| t.throttled_nanoseconds)),
    ("cpu.stat", "nr_bursts", Counter, |r| r.throttling().and_then(|t| t.bursts)),
    ("cpu.stat", "burst_time", Counter, |r| r.throttling().and_then(|t| t.burst_nanoseconds)),
    ("cpu.cfs_quota_us", "", Gauge, |r| r.cpu_limits().and_then(|l| l.quota_microseconds)),
    ("cpu.cfs_period_us", "", Gauge, |r| r.cpu_limits().and_then(|l| l.period_microseconds)),
    ("cpu.cfs_burst_us", "", Gauge, |r| r.cpu_limits().and_then(|l| l.burst_microseconds)),
    ("cpu.shares", "", Gauge, |r| r.cpu_limits().and_then(|l| l.shares)),
    ("memory.usage_in_bytes", "", Gauge, |r| r.memory().map(|m| m.usage_bytes)),
    ("memory.max_usage_in_bytes", "", Counter, |r| r.memory().map(|m| m.peak_bytes)),
    ("memory.limit_in_bytes", "", Gauge, |r| r.memory_limits().and_then(|m| m.max_bytes)),
    ("memory.soft_limit_in_bytes", "", Gauge, |r| r.memory_limits().and_then(|m| m.soft_bytes)),
    ("memory.memsw.limit_in_bytes", "", Gauge, |r| {
        r.memory_limits().and_then(|m| m.memory_and_swap_max_bytes)
    }),
    ("memory.memsw.max_usage_in_bytes", "", Counter, |r| {
        r.memory_limits().and_then(|m| m.memory_and_swap_peak_bytes)
    }),
    ("memory.memsw.failcnt", "", Counter, |r| {
        r.memory_limits().and_then(|m| m.memory_and_swap_limit_hits)
    }),
    ("memory.failcnt", "", Counter, |r| event(r.memory_events(), |e| e.max)),
    ("memory.oom_control", "oom_kill", Counter, |r| event(r.memory_events(), |e| e.oom_kill)),
    ("memory.oom_control", "under_oom", Gauge, |r| {
        r.memory_events().and_then(|e| e.under_oom.map(u64::from))
    }),
    ("pids.current", "", Gauge, |r| r.tasks().map(|t| t.current)),
    ("pids.max", "", Gauge, |r| r.tasks().and_then(|t| t.limit)),
    ("pids.peak", "", Counter, |r| r.tasks().and_then(|t| t.peak)),
    ("pids.events", "max", Counter, |r| r.tasks().and_then(|t| t.limit_hits)),
    ("freezer.state", FROZEN, Gauge, |r| r.freezing().map(|f| u64::from(f == Freezing::Frozen))),
];

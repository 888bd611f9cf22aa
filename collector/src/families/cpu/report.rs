//! From readings of CPU time to the contract.

use tare_model::{Cpu, CpuSettings};
use tare_parsers::{cpu::CpuUsage, pressure::Pressure};

use crate::families::{
    pressure,
    settings::{self, Settings},
    units::{microseconds, optional_text, seconds},
};

/// CPU time of a cgroup; `percent` is its share of one CPU since the sample before.
pub fn report(
    usage: &CpuUsage,
    settings: &Settings,
    waiting: Option<Pressure>,
    percent: Option<f64>,
) -> Cpu {
    let per_cpu: Vec<f64> = settings.per_cpu_nanoseconds.iter().copied().map(seconds).collect();
    let tightest = settings.cpu.tightest;
    Cpu {
        usage_seconds: usage.usage_nanoseconds.map(seconds),
        user_seconds: usage.user_nanoseconds.map(seconds),
        system_seconds: usage.system_nanoseconds.map(seconds),
        percent,
        periods: usage.periods,
        throttled_periods: usage.throttled_periods,
        throttled_seconds: usage.throttled_nanoseconds.map(seconds),
        bursts: usage.bursts,
        burst_seconds: usage.burst_nanoseconds.map(seconds),
        per_cpu_seconds: Some(per_cpu).filter(|per_cpu| !per_cpu.is_empty()),
        limit_cores: tightest.map(|(quota, period)| quota as f64 / period as f64),
        settings: report_settings(&settings.cpu),
        pressure: waiting.map(pressure::report),
    }
}

fn report_settings(settings: &settings::CpuSettings) -> CpuSettings {
    CpuSettings {
        quota_seconds: settings.quota_microseconds.map(microseconds),
        period_seconds: settings.period_microseconds.map(microseconds),
        burst_limit_seconds: settings.burst_microseconds.map(microseconds),
        weight: settings.weight,
        shares: settings.shares,
        cpus: optional_text(&settings.cpus),
        effective_cpus: optional_text(&settings.effective_cpus),
        mems: optional_text(&settings.mems),
        effective_mems: optional_text(&settings.effective_mems),
        memory_migrate: settings.memory_migrate,
    }
}

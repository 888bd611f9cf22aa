//! The host's part of a report.

use jiff::Timestamp;
use tare_model::{Host, HostCpu, HostMemory as Memory, Pressures};

use crate::{
    families::pressure,
    host::{CpuTimes, HostFacts, HostMemory, HostUsage, Processors},
};

/// The host's part of a report.
pub(super) fn host(
    usage: &HostUsage,
    cpu_percent: Option<f64>,
    facts: &HostFacts,
    cgroup_layout: &'static str,
) -> Host {
    let identity = facts.identity.clone();
    let boot = usage.boot_time_seconds.and_then(|seconds| i64::try_from(seconds).ok());
    Host {
        hostname: identity.hostname,
        kernel: identity.kernel,
        online_cpus: usage.online_cpus,
        memory_bytes: usage.memory.total_bytes,
        memory_available_bytes: usage.memory.available_bytes,
        cpu_percent,
        load_average: usage.load_average_hundredths.map(|averages| averages.map(hundredths)),
        runnable_tasks: usage.runnable_tasks,
        cgroup_layout: cgroup_layout.into(),
        os_name: identity.os_name,
        boot_id: identity.boot_id,
        machine_id: identity.machine_id,
        system_uuid: identity.system_uuid,
        booted_at: boot.and_then(|seconds| Timestamp::from_second(seconds).ok()),
        uptime_seconds: usage.uptime_hundredths.map(|hundredths| hundredths as f64 / 100.0),
        cpu: cpu(&usage.cpu, &facts.processors),
        memory: memory(&usage.memory),
        pressure: Pressures {
            cpu: usage.pressures.cpu.map(pressure::report),
            memory: usage.pressures.memory.map(pressure::report),
            io: usage.pressures.io.map(pressure::report),
        },
        numa_nodes: facts.numa_nodes.clone(),
        huge_pages: facts.huge_pages.clone(),
        memory_modules: facts.memory_modules.clone(),
        block_devices: facts.disks.clone(),
        network_devices: facts.network_devices.clone(),
    }
}

fn cpu(times: &CpuTimes, processors: &Processors) -> HostCpu {
    let seconds = |time: Option<u64>| time.map(|nanoseconds| nanoseconds as f64 / 1e9);
    HostCpu {
        model: processors.model.clone(),
        sockets: processors.sockets,
        physical_cores: processors.physical_cores,
        max_frequency_hertz: processors.max_frequency_hertz,
        cores: processors.cores.clone(),
        caches: processors.caches.clone(),
        user_seconds: seconds(times.user_nanoseconds),
        nice_seconds: seconds(times.nice_nanoseconds),
        system_seconds: seconds(times.system_nanoseconds),
        idle_seconds: seconds(times.idle_nanoseconds),
        iowait_seconds: seconds(times.iowait_nanoseconds),
        irq_seconds: seconds(times.irq_nanoseconds),
        softirq_seconds: seconds(times.softirq_nanoseconds),
        steal_seconds: seconds(times.steal_nanoseconds),
    }
}

fn memory(memory: &HostMemory) -> Memory {
    let HostMemory { free_bytes, buffers_bytes, cached_bytes, swap_bytes, swap_free_bytes, .. } =
        *memory;
    Memory { free_bytes, buffers_bytes, cached_bytes, swap_bytes, swap_free_bytes }
}

fn hundredths(value: u64) -> f64 {
    value as f64 / 100.0
}

#[cfg(test)]
mod tests {
    use tare_model::Pressure;
    use tare_parsers::pressure::{self, Stall};

    use super::{host, *};

    #[test]
    fn what_is_unknown_stays_so() {
        let host = host(&HostUsage::default(), None, &HostFacts::default(), "none");
        let value = serde_json::to_value(&host).unwrap();
        for pointer in ["/booted_at", "/uptime_seconds", "/cpu/user_seconds", "/pressure/cpu"] {
            assert_eq!(value.pointer(pointer), Some(&serde_json::Value::Null), "{pointer}");
        }
    }

    #[test]
    fn units_are_those_of_the_names() {
        let some = Stall {
            total_microseconds: Some(1_500_000),
            avg10: Some(12_50),
            avg60: Some(0),
            avg300: Some(1),
        };
        let io = pressure::Pressure { some, ..pressure::Pressure::default() };
        let usage = HostUsage {
            boot_time_seconds: Some(60),
            uptime_hundredths: Some(150),
            load_average_hundredths: Some([25, 0, 100]),
            pressures: pressure::Pressures { io: Some(io), ..pressure::Pressures::default() },
            cpu: CpuTimes { user_nanoseconds: Some(2_500_000_000), ..CpuTimes::default() },
            ..HostUsage::default()
        };
        let host = host(&usage, None, &HostFacts::default(), "v2");
        assert_eq!(host.booted_at, Timestamp::from_second(60).ok());
        assert_eq!((host.uptime_seconds, host.cpu.user_seconds), (Some(1.5), Some(2.5)));
        assert_eq!(host.load_average, Some([0.25, 0.0, 1.0]));
        let expected = Pressure {
            some_seconds: Some(1.5),
            some_avg10_percent: Some(12.5),
            some_avg60_percent: Some(0.0),
            some_avg300_percent: Some(0.01),
            ..Pressure::default()
        };
        assert_eq!((host.pressure.io, host.pressure.cpu), (Some(expected), None));
    }
}

//! `/host/usage`.

use serde::Serialize;
use tare_model::{Container, Host, Memory};

use super::usage::swap_limit;

const MIB: u64 = 1024 * 1024;

/// The host, and the sums of the chosen containers. What is unknown is left out.
#[derive(Serialize)]
pub(super) struct HostUsage {
    cpu: HostCpu,
    memory: HostMemory,
}

#[derive(Serialize)]
struct HostCpu {
    /// Share of all CPUs that was used, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<f64>,
    /// CPUs.
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue_length_exponentially_smoothed: Option<f64>,
}

/// The first three in MiB, and the sums in bytes, as acadock has them.
#[derive(Serialize)]
struct HostMemory {
    #[serde(skip_serializing_if = "Option::is_none")]
    free: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    /// Swap in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    swap: Option<u64>,
    memory_usage: u64,
    memory_committed: u64,
    max_memory_usage: u64,
    swap_usage: u64,
    swap_committed: u64,
    max_swap_usage: u64,
}

impl HostUsage {
    pub(super) fn new<'a>(
        host: &Host,
        containers: impl Iterator<Item = &'a Container>,
        queue_length: Option<f64>,
    ) -> Self {
        let cpus = host.online_cpus.filter(|cpus| *cpus > 0);
        let share = |percent: f64| Some(percent / 100.0 / f64::from(cpus?));
        let of_host = &host.memory;
        let free = [of_host.free_bytes, of_host.buffers_bytes, of_host.cached_bytes];
        let swap = of_host.swap_bytes.zip(of_host.swap_free_bytes);
        let mut memory = HostMemory {
            free: free.into_iter().sum::<Option<u64>>().map(|bytes| bytes / MIB),
            total: host.memory_bytes.map(|bytes| bytes / MIB),
            swap: swap.map(|(all, free)| all.saturating_sub(free) / MIB),
            memory_usage: 0,
            memory_committed: 0,
            max_memory_usage: 0,
            swap_usage: 0,
            swap_committed: 0,
            max_swap_usage: 0,
        };
        for container in containers {
            memory.add(&container.memory);
        }
        Self {
            cpu: HostCpu {
                usage: host.cpu_percent.and_then(share),
                amount: host.online_cpus,
                queue_length_exponentially_smoothed: queue_length,
            },
            memory,
        }
    }
}

impl HostMemory {
    fn add(&mut self, memory: &Memory) {
        for (sum, bytes) in [
            (&mut self.memory_usage, memory.usage_bytes),
            (&mut self.memory_committed, memory.limit_bytes),
            (&mut self.max_memory_usage, memory.peak_bytes),
            (&mut self.swap_usage, memory.swap_bytes),
            (&mut self.swap_committed, swap_limit(memory)),
            (&mut self.max_swap_usage, memory.swap_peak_bytes),
        ] {
            *sum = sum.saturating_add(bytes.unwrap_or(0));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn shares_sizes_and_sums_have_the_units_of_acadock() {
        let mut host = Host { online_cpus: Some(4), cpu_percent: Some(100.0), ..Host::default() };
        host.memory_bytes = Some(8 * 1024 * MIB + 1);
        host.memory.free_bytes = Some(MIB);
        host.memory.buffers_bytes = Some(2 * MIB);
        host.memory.cached_bytes = Some(3 * MIB);
        let container = |usage_bytes| {
            let mut row = Container::unknown(tare_model::Kind::Container, String::new());
            row.memory.usage_bytes = Some(usage_bytes);
            row.memory.limit_bytes = Some(100);
            row
        };
        let rows = [container(7), container(8)];
        let usage = HostUsage::new(&host, rows.iter(), None);
        assert_eq!(
            serde_json::to_value(usage).unwrap(),
            json!({
                "cpu": { "usage": 0.25, "amount": 4 },
                "memory": {
                    "free": 6, "total": 8192,
                    "memory_usage": 15, "memory_committed": 200, "max_memory_usage": 0,
                    "swap_usage": 0, "swap_committed": 0, "max_swap_usage": 0,
                },
            })
        );
    }
}

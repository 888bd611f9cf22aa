//! The few numbers of a container that a history keeps at every sample.

/// A container's numbers in one sample, in the order of [`POINT_FIELDS`]; `None` is unknown.
pub type Point = [Option<u64>; POINT_FIELDS.len()];

/// What the numbers of a [`Point`] are.
pub const POINT_FIELDS: [&str; 21] = [
    "cpu_usage_nanoseconds",
    "memory_working_set_bytes",
    "network_receive_bytes",
    "network_transmit_bytes",
    "socket_receive_bytes",
    "socket_transmit_bytes",
    "block_read_bytes",
    "block_write_bytes",
    "pids",
    "cpu_periods",
    "cpu_throttled_periods",
    "cpu_throttled_nanoseconds",
    "memory_oom_kills",
    "tcp_retransmits",
    "memory_usage_bytes",
    "memory_anonymous_bytes",
    "memory_cache_bytes",
    "memory_swap_bytes",
    "cpu_pressure_microseconds",
    "memory_pressure_microseconds",
    "io_pressure_microseconds",
];

//! Metrics of pressure stall information (PSI).

use tare_model::Pressure;

use crate::exposition::{Metric, Origin, counter};

pub(crate) const ORIGIN: Origin = Origin {
    source: "`cpu.pressure`, `memory.pressure` and `io.pressure`, or the walk",
    kernel: "v2, 4.20",
    cost: "three reads every 2 s when the container ran, else every 10 s",
    exceptions: &[],
};

pub(crate) const METRICS: &[Metric] = &[
    counter(
        "container_pressure_cpu_waiting_seconds_total",
        "Time in which some task waited for a CPU, in seconds.",
        |container, out| out.value(some_seconds(container.cpu.pressure)),
    ),
    counter(
        "container_pressure_cpu_stalled_seconds_total",
        "Time in which all tasks waited for a CPU, in seconds.",
        |container, out| out.value(full_seconds(container.cpu.pressure)),
    ),
    counter(
        "container_pressure_memory_waiting_seconds_total",
        "Time in which some task waited for memory, in seconds.",
        |container, out| out.value(some_seconds(container.memory.pressure)),
    ),
    counter(
        "container_pressure_memory_stalled_seconds_total",
        "Time in which all tasks waited for memory, in seconds.",
        |container, out| out.value(full_seconds(container.memory.pressure)),
    ),
    counter(
        "container_pressure_io_waiting_seconds_total",
        "Time in which some task waited for I/O, in seconds.",
        |container, out| out.value(some_seconds(container.block.pressure)),
    ),
    counter(
        "container_pressure_io_stalled_seconds_total",
        "Time in which all tasks waited for I/O, in seconds.",
        |container, out| out.value(full_seconds(container.block.pressure)),
    ),
];

fn some_seconds(pressure: Option<Pressure>) -> Option<f64> {
    pressure?.some_seconds
}

fn full_seconds(pressure: Option<Pressure>) -> Option<f64> {
    pressure?.full_seconds
}

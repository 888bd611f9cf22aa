//! The tables of the page, one for each part of a run.

use std::fmt::Write as _;

use anyhow::Result;

use super::{
    numbers::{cost, more, over_empty, percent_of_core, ratio, rounds, sizes_and_loads},
    summary::{Summary, or_dash, short},
};
use crate::bench::{
    containers::ContainerMeasurement,
    effects::Background,
    latency::ReceiptAccuracy,
    measure::Memory,
    measurements::Run,
    plan::{Load, Plan},
    sampling::Sampling,
    sinks::SinkCost,
    times::Times,
    tools::{Cadvisor, Cgtop, Floor, TareRun, TareStats, Tool},
};

const MIB: f64 = 1_048_576.0;

/// All tables with their titles; empty without measurements.
pub(crate) fn all(run: &Run) -> Result<Vec<(&'static str, String)>> {
    Ok(vec![
        ("Cost of a sample", samples(run)?),
        ("Other tools", others(run)?),
        ("Memory", memory(run)?),
        ("Memory after containers ended", ended(run)?),
        ("Scrapes", scrapes(run)?),
        ("Sinks", sinks(run)?),
        ("Detection of a new container", detections(run)?),
        ("Short-lived containers", lives(run)?),
        ("A single report", snapshots(run)?),
        ("Effect on other programs", effects(run)?),
        ("BPF programs", programs(run)?),
        ("Real containers", watching(run)?),
        ("Not measured", missing(run)?),
    ])
}

pub(crate) fn machine(run: &Run) -> Result<String> {
    let machine = &run.machine;
    let mut table = String::from("| machine | |\n|---|---|\n");
    writeln!(table, "| kernel | {} |", machine.kernel)?;
    writeln!(table, "| CPUs | {} × {} |", machine.cpus, machine.cpu)?;
    writeln!(table, "| memory | {:.1} GiB |", machine.memory_bytes as f64 / MIB / 1024.0)?;
    writeln!(table, "| cgroups | {} |", machine.cgroups)?;
    let open_files = short(machine.open_files as f64);
    writeln!(table, "| files that a process may have open | {open_files} |")?;
    for (name, version) in &machine.versions {
        writeln!(table, "| {name} | {version} |")?;
    }
    writeln!(table, "| commit | {} |", machine.commit)?;
    writeln!(table, "| command | `{}` |", machine.command)?;
    let nothing =
        run.sampling.sampling.iter().filter(|one| one.tool.is_none() && one.load == Load::Idle);
    let percent = |ns: u64, seconds: f64| ns as f64 / seconds / 1e7;
    let busy = Summary::of(nothing.map(|one| percent(one.machine.busy_ns, one.seconds)));
    let stolen =
        run.sampling.sampling.iter().map(|one| percent(one.machine.stolen_ns, one.seconds));
    writeln!(table, "| busy while nothing ran, % of a CPU | {} |", or_dash(busy))?;
    writeln!(table, "| taken by the hypervisor, % of a CPU | {} |", or_dash(Summary::of(stolen)))?;
    Ok(table)
}

fn samples(run: &Run) -> Result<String> {
    if run.sampling.sampling.is_empty() {
        return Ok(String::new());
    }
    let mut table = String::from(
        "µs of CPU time per sample and cgroup.\n\n\
         | cgroups | load | floor, CPU and memory | floor, all files | `tare run` | user mode | \
         ratio to CPU and memory | ratio to all files | % of a CPU |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for (size, load) in sizes_and_loads(run) {
        let tare = TareRun::PLAIN.name;
        let cost = |tool: &str| or_dash(cost(run, tool, size, load));
        let ratio = |floor| or_dash(ratio(run, tare, floor, size, load));
        writeln!(
            table,
            "| {size} | {} | {} | {} | {} | {} | {} | {} | {} |",
            load.name(),
            cost(&Floor::CpuAndMemory.name()),
            cost(&Floor::All.name()),
            cost(tare),
            user_share(rounds(run, tare, size, load)),
            ratio(Floor::CpuAndMemory),
            ratio(Floor::All),
            or_dash(percent_of_core(run, tare, size, load)),
        )?;
    }
    Ok(table)
}

/// From all rounds together, because user time is counted in coarse ticks.
fn user_share<'a>(all: impl Iterator<Item = &'a Sampling>) -> String {
    let (user, system) = all
        .fold((0, 0), |(user, system), one| (user + one.cpu.user_ns, system + one.cpu.system_ns));
    match user + system {
        0 => "–".to_owned(),
        ticks => format!("{:.0} %", user as f64 / ticks as f64 * 100.0),
    }
}

fn others(run: &Run) -> Result<String> {
    if run.sampling.sampling.is_empty() {
        return Ok(String::new());
    }
    let tools: [&dyn Tool; 7] = [
        &Floor::All,
        &TareRun::PLAIN,
        &TareRun::FILES,
        &TareRun::NO_BPF,
        &TareStats,
        &Cgtop,
        &Cadvisor,
    ];
    let tools = tools.map(Tool::name);
    let mut table = String::from(
        "`systemd-cgtop` reports CPU, memory, tasks and block I/O, and opens each file at every \
         sample. cAdvisor reports what Tare reports, except for sockets, latencies, pressure and \
         receipts; `-allow_dynamic_housekeeping=false` makes it read all cgroups each second.\n\n\
         | cgroups | load | tool | µs per sample and cgroup | % of a CPU | RSS, MiB |\n\
         |---|---|---|---|---|---|\n",
    );
    let compared = |(size, _): &(usize, Load)| *size >= Plan::MANY;
    for (size, load) in sizes_and_loads(run).into_iter().filter(compared) {
        for tool in &tools {
            let Some(percent) = percent_of_core(run, tool, size, load) else { continue };
            let memory = rounds(run, tool, size, load).filter_map(|one| one.memory.rss_bytes);
            writeln!(
                table,
                "| {size} | {} | {tool} | {} | {percent} | {} |",
                load.name(),
                or_dash(cost(run, tool, size, load)),
                or_dash(Summary::of(memory.map(|bytes| bytes as f64 / MIB))),
            )?;
        }
    }
    Ok(table)
}

fn memory(run: &Run) -> Result<String> {
    if run.sampling.sampling.is_empty() {
        return Ok(String::new());
    }
    let mut table = String::from(
        "`tare run`, in MiB. Kernel memory is mostly open files and BPF maps, whose size depends \
         on `--slots` alone.\n\n\
         | cgroups | RSS | PSS | kernel | of that, BPF maps |\n|---|---|---|---|---|\n",
    );
    for (size, load) in sizes_and_loads(run).into_iter().filter(|(_, load)| *load == Load::Idle) {
        let all: Vec<_> =
            rounds(run, TareRun::PLAIN.name, size, load).map(|one| &one.memory).collect();
        let part = |part: fn(&Memory) -> Option<u64>| {
            let bytes = all.iter().filter_map(|one| part(one));
            or_dash(Summary::of(bytes.map(|bytes| bytes as f64 / MIB)))
        };
        writeln!(
            table,
            "| {size} | {} | {} | {} | {} |",
            part(|one| one.rss_bytes),
            part(|one| one.pss_bytes),
            part(|one| one.kernel_bytes),
            part(|one| one.maps_bytes),
        )?;
    }
    Ok(table)
}

fn ended(run: &Run) -> Result<String> {
    if run.ended.is_empty() {
        return Ok(String::new());
    }
    let mut table = String::from(
        "Resident memory of `tare run`, in MiB, before cgroups with a process each came, while they \
         were there, and 17 s after they had gone. What a receipt takes includes the history of its \
         container.\n\n\
         | cgroups | receipts kept | before | during | after | after to before | a receipt, kB |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for one in &run.ended {
        let mib = |memory: &Memory| {
            or_dash(Summary::of(memory.rss_bytes.map(|bytes| bytes as f64 / MIB)))
        };
        writeln!(
            table,
            "| {} | {} | {} | {} | {} | {} | {} |",
            one.count,
            one.receipts,
            mib(&one.before),
            mib(&one.during),
            mib(&one.after),
            or_dash(Summary::of(one.growth())),
            or_dash(Summary::of(one.receipt_bytes().map(|bytes| bytes / 1e3))),
        )?;
    }
    Ok(table)
}

fn scrapes(run: &Run) -> Result<String> {
    if run.sampling.scrapes.is_empty() {
        return Ok(String::new());
    }
    let mut table = String::from(
        "`/metrics`, of Tare over the unix socket, of cAdvisor over TCP; one request per \
         sample.\n\n\
         | cgroups | tool | | ms, median | ms, slowest | CPU, ms | body, MiB | RSS after, MiB |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for one in &run.sampling.scrapes {
        writeln!(
            table,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            one.size,
            one.tool,
            if one.gzip { "gzip" } else { "plain" },
            short(one.times.p50_ns as f64 / 1e6),
            short(one.times.max_ns as f64 / 1e6),
            short(one.cpu_ns as f64 / 1e6),
            short(one.body_bytes as f64 / MIB),
            one.rss_bytes.map_or_else(|| "–".to_owned(), |bytes| short(bytes as f64 / MIB)),
        )?;
    }
    Ok(table)
}

fn sinks(run: &Run) -> Result<String> {
    let Some(size) = run.sinks.first().map(|one| one.size) else { return Ok(String::new()) };
    let mut table = format!(
        "`tare run` with {size} idle cgroups and a sink that gets every sample, beside one that is \
         scraped each second. The receiver reads everything and keeps nothing.\n\n\
         | | % of a CPU, whole process | RSS, MiB | bytes for a sample | points |\n\
         |---|---|---|---|---|\n"
    );
    for first in run.sinks.iter().filter(|one| one.round == 0) {
        let all = || run.sinks.iter().filter(|one| one.name == first.name);
        let median = |of: fn(&SinkCost) -> Option<f64>| or_dash(Summary::of(all().filter_map(of)));
        writeln!(
            table,
            "| {} | {} | {} | {} | {} |",
            first.name,
            median(|one| Some(one.cpu_percent)),
            median(|one| Some(one.rss_bytes? as f64 / MIB)),
            median(|one| Some(one.bytes_per_sample).filter(|bytes| *bytes > 0.0)),
            median(|one| Some(one.points_per_sample).filter(|points| *points > 0.0)),
        )?;
    }
    Ok(table)
}

fn detections(run: &Run) -> Result<String> {
    if run.latency.detections.is_empty() {
        return Ok(String::new());
    }
    let mut table = String::from(
        "From a container's first `mkdir` to the event at a subscriber of `/api/v1/events`, in \
         ms. Events do not wait for a sample.\n\n\
         | interval | containers | missed | median | p99 | slowest |\n|---|---|---|---|---|---|\n",
    );
    for one in &run.latency.detections {
        let ms = |quantile: fn(&Times) -> u64| {
            let times = one.times.as_ref();
            times.map_or_else(|| "–".to_owned(), |times| short(quantile(times) as f64 / 1e6))
        };
        let detected = one.times.map_or(0, |times| times.count);
        writeln!(
            table,
            "| {} | {} | {} | {} | {} | {} |",
            one.interval,
            detected + one.missed,
            one.missed,
            ms(|times| times.p50_ns),
            ms(|times| times.p99_ns),
            ms(|times| times.max_ns),
        )?;
    }
    Ok(table)
}

fn lives(run: &Run) -> Result<String> {
    let Some(first) = run.latency.lives.first() else { return Ok(String::new()) };
    let mut table = format!(
        "The receipts of {} containers, one after the other. Each lives {} ms, including the \
         making of its cgroups.\n\n\
         | tool | interval | caught | with bytes sent | their error | with CPU time | its error |\n\
         |---|---|---|---|---|---|---|\n",
        first.lived,
        short(first.life.p50_ns as f64 / 1e6)
    );
    for one in &run.latency.lives {
        let percent = |count: u64| format!("{:.1} %", count as f64 / one.lived as f64 * 100.0);
        let error = |part: &ReceiptAccuracy| match part.receipts {
            0 => "–".to_owned(),
            _ => format!("{:+.2} %", (part.reported / part.actual - 1.0) * 100.0),
        };
        let (sent, used) = (&one.sent_bytes, &one.used_seconds);
        writeln!(
            table,
            "| {} | {} | {} | {} | {} | {} | {} |",
            one.tool,
            one.interval,
            percent(one.caught),
            percent(sent.receipts),
            error(sent),
            percent(used.receipts),
            error(used),
        )?;
    }
    Ok(table)
}

fn snapshots(run: &Run) -> Result<String> {
    let mut all = run.latency.snapshots.iter().chain(&run.containers.reports).peekable();
    if all.peek().is_none() {
        return Ok(String::new());
    }
    let mut table = String::from(
        "Run time of a program that prints one report.\n\n| command | ms |\n|---|---|\n",
    );
    for one in all {
        let ms = Summary::of(one.seconds.iter().map(|seconds| seconds * 1e3));
        writeln!(table, "| {} | {} |", one.command, or_dash(ms))?;
    }
    Ok(table)
}

fn effects(run: &Run) -> Result<String> {
    let Some(first) = run.effects.first() else { return Ok(String::new()) };
    let mut table = String::from(
        "The same work with and without Tare, in pairs, with 1,000 cgroups. Percentages are the \
         change in a pair; those of *without, once more* are noise.\n\n\
         | | without | without, once more | `tare run` | `--net-level l3` |\n|---|---|---|---|---|\n",
    );
    for what in first.found.keys() {
        let without = run.effects.iter().filter(|one| one.background == Background::Nothing);
        let without = Summary::of(without.filter_map(|one| one.found.get(what).copied()));
        let change = |background| {
            let more = more(run, what, background, |with, without| (with / without - 1.0) * 100.0);
            more.map_or_else(|| "–".to_owned(), |more| format!("{more} %"))
        };
        writeln!(
            table,
            "| {what} | {} | {} | {} | {} |",
            or_dash(without),
            change(Background::Again),
            change(Background::Payload),
            change(Background::Packets)
        )?;
    }
    Ok(table)
}

fn programs(run: &Run) -> Result<String> {
    let mut table = String::from(
        "ns per event by the kernel's `run_time_ns`, more than an empty program at the same hook \
         at the same time.\n\n\
         | program | runs at each | events | more than the empty program | the empty program |\n\
         |---|---|---|---|---|\n",
    );
    let mut names: Vec<&str> = Vec::new();
    for one in &run.programs {
        if names.contains(&one.program.as_str()) {
            continue;
        }
        names.push(&one.program);
        let all = run.programs.iter().filter(|other| other.program == one.program);
        let events: u64 = all.clone().map(|other| other.events).sum();
        writeln!(
            table,
            "| `{}` | {} | {} | {} | {} |",
            one.program,
            one.runs_at,
            short(events as f64),
            or_dash(over_empty(run, &one.program)),
            or_dash(Summary::of(all.map(|other| other.empty_ns))),
        )?;
    }
    Ok(if names.is_empty() { String::new() } else { table })
}

fn watching(run: &Run) -> Result<String> {
    let mut table = String::from(
        "Ten times a second, each container uses 1 ms of CPU, 1 MiB of memory, 16 KiB over TCP \
         and 4 KiB on the disk. ms of CPU time per second. prometheus-node-exporter, scraped once \
         a second, reports the host and no containers.\n\n\
         | engine | containers | tool | own | in daemons | whole machine, more than without a tool \
         | RSS, MiB |\n\
         |---|---|---|---|---|---|---|\n",
    );
    let key = |one: &ContainerMeasurement| (one.engine.clone(), one.containers, one.tool.clone());
    let mut keys = Vec::new();
    for one in &run.containers.watching {
        if !keys.contains(&key(one)) {
            keys.push(key(one));
        }
    }
    keys.sort();
    for (engine, containers, tool) in &keys {
        let Some(name) = tool else { continue };
        let of = |tool: Option<&String>| {
            run.containers
                .watching
                .iter()
                .filter(|one| key(one) == (engine.clone(), *containers, tool.cloned()))
                .collect::<Vec<_>>()
        };
        let (ours, nothing) = (of(Some(name)), of(None));
        let rate = |part: fn(&ContainerMeasurement) -> u64, all: &[&ContainerMeasurement]| {
            Summary::of(all.iter().map(|one| part(one) as f64 / one.seconds / 1e6))
        };
        let busy: fn(&ContainerMeasurement) -> u64 = |one| one.machine.busy_ns;
        let whole = rate(busy, &ours).zip(rate(busy, &nothing));
        let resident = ours.iter().filter_map(|one| one.memory.rss_bytes);
        writeln!(
            table,
            "| {engine} | {containers} | {name} | {} | {} | {} | {} |",
            or_dash(rate(|one| one.cpu.total_ns, &ours)),
            or_dash(rate(|one| one.daemons_ns, &ours)),
            whole.map_or_else(
                || "–".to_owned(),
                |(with, without)| short(with.median - without.median)
            ),
            or_dash(Summary::of(resident.map(|bytes| bytes as f64 / MIB))),
        )?;
    }
    Ok(if keys.is_empty() { String::new() } else { table })
}

fn missing(run: &Run) -> Result<String> {
    let mut table = String::from("| what | why |\n|---|---|\n");
    for one in &run.missing.list {
        writeln!(table, "| {} | {} |", one.what, one.why.replace(['\n', '|'], " "))?;
    }
    Ok(if run.missing.list.is_empty() { String::new() } else { table })
}

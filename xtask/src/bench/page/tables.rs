//! One table for each part of a run.

use std::fmt::Write as _;

use anyhow::Result;

use super::numbers::{cost, more, over_empty, percent_of_core, ratio, rounds, scenes};
use super::spread::{Spread, or_dash, short};
use crate::bench::containers::Watching;
use crate::bench::effects::Beside;
use crate::bench::latency::Told;
use crate::bench::plan::Plan;
use crate::bench::raw::{Run, Times};
use crate::bench::sampling::{Load, Sampling};
use crate::bench::tools::{Cadvisor, Cgtop, Daemon, Floor, Stats, Tool};

const MIB: f64 = 1_048_576.0;

/// All tables with their titles; an empty one where nothing was measured.
pub(crate) fn all(run: &Run) -> Result<Vec<(&'static str, String)>> {
    Ok(vec![
        ("A sample", samples(run)?),
        ("Other tools", others(run)?),
        ("Memory", memory(run)?),
        ("Scrapes", scrapes(run)?),
        ("A new container", detections(run)?),
        ("Containers that live for a moment", lives(run)?),
        ("One picture", snapshots(run)?),
        ("What others feel", effects(run)?),
        ("Programs in the kernel", programs(run)?),
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
    let nothing = run.sampling.iter().filter(|one| one.tool.is_none() && one.load == Load::Idle);
    let percent = |ns: u64, seconds: f64| ns as f64 / seconds / 1e7;
    let busy = Spread::of(nothing.map(|one| percent(one.machine.busy_ns, one.seconds)));
    let stolen = run.sampling.iter().map(|one| percent(one.machine.stolen_ns, one.seconds));
    writeln!(table, "| busy while nothing ran, % of a CPU | {} |", or_dash(busy))?;
    writeln!(table, "| taken by the hypervisor, % of a CPU | {} |", or_dash(Spread::of(stolen)))?;
    Ok(table)
}

fn samples(run: &Run) -> Result<String> {
    if run.sampling.is_empty() {
        return Ok(String::new());
    }
    let mut table = String::from(
        "µs of CPU time for each cgroup and sample.\n\n\
         | cgroups | load | floor, CPU and memory | floor, all files | `tare run` | of it in user mode | \
         to CPU and memory | to all files | % of a CPU |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for (size, load) in scenes(run) {
        let tare = Daemon::PLAIN.name;
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

/// Of all rounds together, for the ticks that tell user mode are coarse.
fn user_share<'a>(all: impl Iterator<Item = &'a Sampling>) -> String {
    let (user, system) = all
        .fold((0, 0), |(user, system), one| (user + one.cpu.user_ns, system + one.cpu.system_ns));
    match user + system {
        0 => "–".to_owned(),
        ticks => format!("{:.0} %", user as f64 / ticks as f64 * 100.0),
    }
}

fn others(run: &Run) -> Result<String> {
    if run.sampling.is_empty() {
        return Ok(String::new());
    }
    let tools: [&dyn Tool; 6] =
        [&Floor::All, &Daemon::PLAIN, &Daemon::FILES, &Stats, &Cgtop, &Cadvisor];
    let tools = tools.map(Tool::name);
    let mut table = String::from(
        "`systemd-cgtop` tells CPU, memory, tasks and block I/O, and opens each file anew. cAdvisor tells what Tare tells but for sockets, \
         latencies, pressure and ends; `-allow_dynamic_housekeeping=false` has it read everyone each second.\n\n\
         | cgroups | load | tool | µs for each cgroup and sample | % of a CPU | RSS, MiB |\n|---|---|---|---|---|---|\n",
    );
    let compared = |(size, load): &(usize, Load)| *size >= Plan::MANY && *load != Load::All;
    for (size, load) in scenes(run).into_iter().filter(compared) {
        for tool in &tools {
            let Some(percent) = percent_of_core(run, tool, size, load) else { continue };
            let memory = rounds(run, tool, size, load).filter_map(|one| one.memory.rss_bytes);
            writeln!(
                table,
                "| {size} | {} | {tool} | {} | {percent} | {} |",
                load.name(),
                or_dash(cost(run, tool, size, load)),
                or_dash(Spread::of(memory.map(|bytes| bytes as f64 / MIB))),
            )?;
        }
    }
    Ok(table)
}

fn memory(run: &Run) -> Result<String> {
    if run.sampling.is_empty() {
        return Ok(String::new());
    }
    let mut table = String::from(
        "`tare run`, in MiB. What the kernel keeps is mostly pages of files that are open, and the BPF maps, whose size is fixed by \
         `--slots`.\n\n| cgroups | RSS | PSS | kernel | BPF maps of it |\n|---|---|---|---|---|\n",
    );
    for (size, load) in scenes(run).into_iter().filter(|(_, load)| *load == Load::Idle) {
        let all: Vec<_> =
            rounds(run, Daemon::PLAIN.name, size, load).map(|one| &one.memory).collect();
        let part = |part: fn(&crate::bench::measure::Memory) -> Option<u64>| {
            let bytes = all.iter().filter_map(|one| part(one));
            or_dash(Spread::of(bytes.map(|bytes| bytes as f64 / MIB)))
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

fn scrapes(run: &Run) -> Result<String> {
    if run.scrapes.is_empty() {
        return Ok(String::new());
    }
    let mut table = String::from(
        "`/metrics`: of Tare over the unix socket, of cAdvisor over TCP; each of another sample.\n\n\
         | cgroups | tool | | ms, median | ms, slowest | CPU, ms | body, MiB | RSS after, MiB |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for one in &run.scrapes {
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

fn detections(run: &Run) -> Result<String> {
    if run.detections.is_empty() {
        return Ok(String::new());
    }
    let mut table = String::from(
        "From the first `mkdir` of a container to the message at a subscriber of `/api/v1/events`, in ms. The message leaves when the kernel tells.\n\n\
         | interval | containers | missed | median | p99 | slowest |\n|---|---|---|---|---|---|\n",
    );
    for one in &run.detections {
        let ms = |quantile: fn(&Times) -> u64| {
            let times = one.times.as_ref();
            times.map_or_else(|| "–".to_owned(), |times| short(quantile(times) as f64 / 1e6))
        };
        let heard = one.times.map_or(0, |times| times.count);
        writeln!(
            table,
            "| {} | {} | {} | {} | {} | {} |",
            one.interval,
            heard + one.missed,
            one.missed,
            ms(|times| times.p50_ns),
            ms(|times| times.p99_ns),
            ms(|times| times.max_ns),
        )?;
    }
    Ok(table)
}

fn lives(run: &Run) -> Result<String> {
    let Some(first) = run.lives.first() else { return Ok(String::new()) };
    let mut table = format!(
        "{} containers, one after the other, of {} ms each with the making of their cgroups: what their receipts say.\n\n\
         | tool | interval | caught | with bytes sent | their error | with CPU time | its error |\n|---|---|---|---|---|---|---|\n",
        first.lived,
        short(first.life.p50_ns as f64 / 1e6)
    );
    for one in &run.lives {
        let percent = |count: u64| format!("{:.1} %", count as f64 / one.lived as f64 * 100.0);
        let error = |part: &Told| match part.receipts {
            0 => "–".to_owned(),
            _ => format!("{:+.2} %", (part.told / part.truth - 1.0) * 100.0),
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
    if run.snapshots.is_empty() {
        return Ok(String::new());
    }
    let mut table = String::from(
        "From the execution of a program to its end.\n\n| command | ms |\n|---|---|\n",
    );
    for one in &run.snapshots {
        let ms = Spread::of(one.seconds.iter().map(|seconds| seconds * 1e3));
        writeln!(table, "| {} | {} |", one.command, or_dash(ms))?;
    }
    Ok(table)
}

fn effects(run: &Run) -> Result<String> {
    let Some(first) = run.effects.first() else { return Ok(String::new()) };
    let mut table = String::from(
        "The same work with and without Tare, in pairs, while it watches 1,000 cgroups. In percent: the change in one pair; \
         without Tare once more, it is what chance does.\n\n\
         | | without | without, once more | `tare run` | `--net-level l3` |\n|---|---|---|---|---|\n",
    );
    for what in first.found.keys() {
        let without = run.effects.iter().filter(|one| one.beside == Beside::Nothing);
        let without = Spread::of(without.filter_map(|one| one.found.get(what).copied()));
        let change = |beside| {
            let more = more(run, what, beside, |with, without| (with / without - 1.0) * 100.0);
            more.map_or_else(|| "–".to_owned(), |more| format!("{more} %"))
        };
        writeln!(
            table,
            "| {what} | {} | {} | {} | {} |",
            or_dash(without),
            change(Beside::Again),
            change(Beside::Payload),
            change(Beside::Packets)
        )?;
    }
    Ok(table)
}

fn programs(run: &Run) -> Result<String> {
    let mut table = String::from(
        "ns for each event by `run_time_ns`, over an empty program at the same place at the same time.\n\n\
         | program | runs at each | events | over an empty one | the empty one |\n|---|---|---|---|---|\n",
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
            or_dash(Spread::of(all.map(|other| other.empty_ns))),
        )?;
    }
    Ok(if names.is_empty() { String::new() } else { table })
}

fn watching(run: &Run) -> Result<String> {
    let mut table = String::from(
        "Each container ten times a second: 1 ms of CPU, 1 MiB of memory, 16 KiB over TCP, 4 KiB to the disk. ms of CPU time each second. \
         prometheus-node-exporter, asked once a second, knows the host and no containers.\n\n\
         | engine | containers | tool | its own | in daemons | whole machine, over nothing | RSS, MiB |\n\
         |---|---|---|---|---|---|---|\n",
    );
    let key = |one: &Watching| (one.engine.clone(), one.containers, one.tool.clone());
    let mut keys = Vec::new();
    for one in &run.watching {
        if !keys.contains(&key(one)) {
            keys.push(key(one));
        }
    }
    keys.sort();
    for (engine, containers, tool) in &keys {
        let Some(name) = tool else { continue };
        let of = |tool: Option<&String>| {
            run.watching
                .iter()
                .filter(|one| key(one) == (engine.clone(), *containers, tool.cloned()))
                .collect::<Vec<_>>()
        };
        let (ours, nothing) = (of(Some(name)), of(None));
        let rate = |part: fn(&Watching) -> u64, all: &[&Watching]| {
            Spread::of(all.iter().map(|one| part(one) as f64 / one.seconds / 1e6))
        };
        let busy: fn(&Watching) -> u64 = |one| one.machine.busy_ns;
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
            or_dash(Spread::of(resident.map(|bytes| bytes as f64 / MIB))),
        )?;
    }
    Ok(if keys.is_empty() { String::new() } else { table })
}

fn missing(run: &Run) -> Result<String> {
    let mut table = String::from("| what | why |\n|---|---|\n");
    for one in &run.missing {
        writeln!(table, "| {} | {} |", one.what, one.why.replace(['\n', '|'], " "))?;
    }
    Ok(if run.missing.is_empty() { String::new() } else { table })
}

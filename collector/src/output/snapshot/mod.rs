//! A snapshot as a page of text: which containers have problems, and since when.
//!
//! A section is shown only if it has rows, so the page of a healthy host is short.

mod page;
mod sections;

#[cfg(test)]
mod tests;

use tare_model::{Host, Kind, Pressure, Report, Snapshot, Source, State};

pub use self::page::Page;
use self::{page::Tone, sections::sections};
use crate::output::{
    columns::cells::{UNKNOWN, known},
    units::{bytes_size, span},
};

/// The width of a label.
const INDENT: usize = 11;

/// Formats a snapshot. With `chosen`, the user has named the containers, and each of them is shown.
pub fn render(snapshot: &Snapshot, chosen: bool) -> Page {
    let mut page = Page::default();
    let report = &snapshot.report;
    heading(&mut page, snapshot);
    let sections = sections(snapshot, chosen);
    sections.iter().for_each(|section| page.section(section));
    if sections.iter().all(|section| section.rows.is_empty()) {
        page.gap();
        page.title(Tone::Plain, "No container stands out.");
    }
    missing(&mut page, report);
    page
}

fn heading(page: &mut Page, snapshot: &Snapshot) {
    let report = &snapshot.report;
    let Host { hostname, kernel, os_name, uptime_seconds, .. } = &report.host;
    let name = hostname.as_deref().unwrap_or("an unnamed host");
    let kernel = kernel.as_ref().map(|kernel| format!("Linux {kernel}"));
    let up = uptime_seconds.map(|seconds| format!("up {}", span(seconds)));
    let time = report.time.strftime("%F %T UTC").to_string();
    // The line may be cut: the least important part is last.
    let known = [Some(time), up, kernel, os_name.clone()];
    page.title(Tone::Title, &format!("{name}: {}", join(known)));
    page.labelled("cpu", INDENT, &processors(&report.host));
    page.labelled("memory", INDENT, &memory(&report.host));
    page.labelled("pressure", INDENT, &pressure(&report.host));
    page.labelled("shown", INDENT, &shown(snapshot));
}

fn join(parts: impl IntoIterator<Item = Option<String>>) -> String {
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn processors(host: &Host) -> String {
    let cpus = host.online_cpus.map(|cpus| match cpus {
        1 => "1 CPU".to_owned(),
        cpus => format!("{cpus} CPUs"),
    });
    let busy = host
        .cpu_percent
        .zip(host.online_cpus)
        .map(|(busy, cpus)| format!("{busy:.0}% of {}% busy", u64::from(cpus).saturating_mul(100)));
    let load = host.load_average.map(|[one, five, fifteen]| {
        format!("load {one:.2} {five:.2} {fifteen:.2} (over 1, 5 and 15 min)")
    });
    join([cpus, busy, load])
}

fn memory(host: &Host) -> String {
    let used = host.memory_bytes.zip(host.memory_available_bytes).map(|(all, available)| {
        let used = all.saturating_sub(available);
        let percent = 100.0 * used as f64 / all.max(1) as f64;
        format!("{} of {} in use ({percent:.0}%)", bytes_size(used), bytes_size(all))
    });
    let swap =
        host.memory.swap_bytes.zip(host.memory.swap_free_bytes).map(|(all, free)| match all {
            0 => "no swap".to_owned(),
            _ => format!("swap {} of {}", bytes_size(all.saturating_sub(free)), bytes_size(all)),
        });
    join([Some(used.unwrap_or_else(|| UNKNOWN.to_owned())), swap])
}

/// The pressure of the host over three periods, which shows since when it is high.
fn pressure(host: &Host) -> String {
    let pressure = &host.pressure;
    let all = [("cpu", pressure.cpu), ("memory", pressure.memory), ("io", pressure.io)];
    let parts = all.map(|(what, pressure)| {
        let Pressure { some_avg10_percent, some_avg60_percent, some_avg300_percent, .. } =
            pressure?;
        let averages = [some_avg10_percent, some_avg60_percent, some_avg300_percent];
        let averages = averages.map(|average| known(average, |percent| format!("{percent:.1}%")));
        Some(format!("{what} {}", averages.join(" ")))
    });
    match join(parts) {
        parts if parts.is_empty() => {
            "unknown: the kernel has no pressure information (PSI)".to_owned()
        }
        parts => format!("{parts} of the time (over 10, 60 and 300 s)"),
    }
}

fn shown(snapshot: &Snapshot) -> String {
    let Snapshot { report, watched_since, .. } = snapshot;
    let counted = |kind: Kind, one: &str| {
        let count = report.containers.iter().filter(|row| row.kind == kind).count();
        (count > 0).then(|| format!("{count} {one}{}", if count == 1 { "" } else { "s" }))
    };
    let others = report.containers.iter().filter(|row| row.kind == Kind::Other).count();
    let rows = join([
        counted(Kind::Container, "container"),
        counted(Kind::Service, "service"),
        (others > 0).then(|| format!("{others} other cgroups")),
    ]);
    let rows = if rows.is_empty() { "no containers or services".to_owned() } else { rows };
    let rates = match report.interval_seconds {
        Some(seconds) => format!("{rows}; rates over {seconds:.1} s"),
        None => format!("{rows}; totals only: a single sample has no rates"),
    };
    match watched_since {
        Some(since) => {
            let watched = span(report.time.duration_since(*since).as_secs_f64().max(0.0));
            format!("{rates}; from the daemon, running for {watched}")
        }
        None => rates,
    }
}

/// Families that are off or degraded. Those with the same reason share a line.
fn missing(page: &mut Page, report: &Report) {
    let mut gaps: Vec<(Vec<&str>, &Source)> = Vec::new();
    for (family, source) in report.sources.iter().filter(|(_, source)| source.state != State::On) {
        let same = |gap: &&mut (Vec<&str>, &Source)| {
            (gap.1.state, &gap.1.reason) == (source.state, &source.reason)
        };
        match gaps.iter_mut().find(same) {
            Some((families, _)) => families.push(family.as_str()),
            None => gaps.push((vec![family.as_str()], source)),
        }
    }
    if !gaps.is_empty() {
        page.gap();
        page.title(Tone::Title, "MISSING OR INCOMPLETE");
    }
    for (families, source) in gaps {
        let state = if source.state == State::Off { "off" } else { "degraded" };
        let reason = source.reason.as_deref().unwrap_or("the reason is unknown");
        page.paragraph(&format!("{} ({state}): {reason}", families.join(", ")));
    }
}

//! A snapshot on a page: which container hurts, how, and since when.
//!
//! A section is there only where somebody stands out, so that a healthy host gives a short page.

mod page;
mod sections;

#[cfg(test)]
mod tests;

pub use self::page::Page;
use self::{page::Tone, sections::sections};
use crate::{
    model::{Host, Kind, Pressure, Report, Snapshot, Source, State},
    output::{
        columns::cells::{UNKNOWN, known},
        units::{bytes_size, span},
    },
};

/// Where the text behind a label begins.
const INDENT: usize = 11;

/// Lays out a snapshot. With `chosen`, the containers in it were asked for by name, and each is
/// shown whether it stands out or not.
pub fn render(snapshot: &Snapshot, chosen: bool) -> Page {
    let mut page = Page::default();
    let report = &snapshot.report;
    heading(&mut page, snapshot);
    let (mut anything, sections) = (false, sections(snapshot, chosen));
    for section in &sections {
        anything |= !section.rows.is_empty();
        page.section(section);
    }
    if !anything {
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
    // What may be cut off stands last.
    let known = [Some(time), up, kernel, os_name.clone()];
    page.title(Tone::Title, &format!("{name}: {}", join(known)));
    page.labelled("cpu", INDENT, &processors(&report.host));
    page.labelled("memory", INDENT, &memory(&report.host));
    page.labelled("waiting", INDENT, &waiting(&report.host));
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

/// The host's pressure, which also tells since when.
fn waiting(host: &Host) -> String {
    let pressure = &host.pressure;
    let all = [("cpu", pressure.cpu), ("memory", pressure.memory), ("io", pressure.io)];
    let told = all.map(|(what, pressure)| {
        let Pressure { some_avg10_percent, some_avg60_percent, some_avg300_percent, .. } =
            pressure?;
        let averages = [some_avg10_percent, some_avg60_percent, some_avg300_percent];
        let averages = averages.map(|average| known(average, |percent| format!("{percent:.1}%")));
        Some(format!("for {what} {}", averages.join(" ")))
    });
    match join(told) {
        told if told.is_empty() => "unknown: this kernel tells no pressure (PSI)".to_owned(),
        told => format!("{told} of the time (over 10, 60 and 300 s)"),
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
        (others > 0).then(|| format!("{others} of the other cgroups")),
    ]);
    let rows = if rows.is_empty() { "no containers or services".to_owned() } else { rows };
    let rates = match report.interval_seconds {
        Some(seconds) => format!("{rows}; rates over {seconds:.1} s"),
        None => format!("{rows}; totals so far, no rates: a single sample"),
    };
    match watched_since {
        Some(since) => {
            let watched = span(report.time.duration_since(*since).as_secs_f64().max(0.0));
            format!("{rates}; by the daemon, which has watched for {watched}")
        }
        None => rates,
    }
}

/// Families that lack something for the same reason share a line.
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
        page.title(Tone::Title, "WHAT IS MISSING, AND WHY");
    }
    for (families, source) in gaps {
        let state = if source.state == State::Off { "off" } else { "in part" };
        let reason = source.reason.as_deref().unwrap_or("for an unknown reason");
        page.paragraph(&format!("{} ({state}): {reason}", families.join(", ")));
    }
}

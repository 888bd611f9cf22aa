//! Network: devices, own sockets, TCP connections.

use ratatui::text::Line;
use tare_model::{Interface, Level, Sockets, TcpEvents};

use super::{
    resources::per_second,
    section::{Section, Subject, entry, styled, wrapped},
};
use crate::{
    output::{
        columns::cells::{UNKNOWN, known},
        units::human_size,
    },
    top::figures::rate,
};

pub(super) fn section(subject: &Subject<'_>) -> Section {
    let network = &subject.row.network;
    let mut lines = devices(subject);
    if network.host_namespace == Some(true) {
        lines.extend(wrapped(
            "These are the devices of the host, which count the traffic of all its processes.",
            subject,
        ));
    } else if let Some(others) = network.shared_with.as_ref().filter(|others| !others.is_empty()) {
        let text = format!("These devices are shared with {} other containers.", others.len());
        lines.extend(wrapped(&text, subject));
    }
    match &network.sockets {
        Some(sockets) => lines.extend(own_sockets(subject, sockets)),
        None => lines.push(entry("own sockets", UNKNOWN)),
    }
    match &network.tcp_events {
        Some(events) => lines.extend(tcp(subject, events)),
        None => lines.push(entry("TCP", UNKNOWN)),
    }
    Section { title: "Network", lines }
}

/// A line for each device of the namespace.
fn devices(subject: &Subject<'_>) -> Vec<Line<'static>> {
    let Some(interfaces) = &subject.row.network.interfaces else {
        return vec![entry("devices", UNKNOWN)];
    };
    let before = subject.before.and_then(|(row, _)| row.network.interfaces.as_ref());
    let line = |(name, device): (&String, &Interface)| {
        let last = before.and_then(|devices| devices.get(name));
        let mut text = both_ways(
            subject,
            last.map(|last| (last.rx_bytes, last.tx_bytes)),
            (device.rx_bytes, device.tx_bytes),
        );
        let lost = [
            (device.rx_errors + device.tx_errors, "errors"),
            (device.rx_dropped + device.tx_dropped, "dropped"),
        ];
        for (count, what) in lost.iter().filter(|(count, _)| *count > 0) {
            text.push_str(&format!("; {count} {what}"));
        }
        entry(name, text)
    };
    interfaces.iter().map(line).collect()
}

fn own_sockets(subject: &Subject<'_>, sockets: &Sockets) -> Vec<Line<'static>> {
    let before = subject.before.and_then(|(row, _)| row.network.sockets.as_ref());
    let last = before.map(|last| (last.rx_bytes, last.tx_bytes));
    let level = match sockets.level {
        Level::Payload => "payload",
        Level::L3 => "IP packets",
    };
    let all = both_ways(subject, last, (sockets.rx_bytes, sockets.tx_bytes));
    let mut lines = vec![entry("own sockets", format!("{all}; {level}"))];
    for (name, traffic) in [(" TCP", sockets.tcp), (" UDP", sockets.udp)] {
        lines.extend(traffic.map(|traffic| {
            let calls = format!("{} and {} calls", traffic.rx_calls, traffic.tx_calls);
            entry(name, format!("{}; {calls}", total(traffic.rx_bytes, traffic.tx_bytes)))
        }));
    }
    lines.extend(sockets.loopback.map(|traffic| {
        entry(
            " loopback",
            format!("{}, not included above", total(traffic.rx_bytes, traffic.tx_bytes)),
        )
    }));
    lines.extend(sockets.since.map(|since| entry(" counted", format!("since {since:.0}"))));
    lines
}

fn tcp(subject: &Subject<'_>, events: &TcpEvents) -> Vec<Line<'static>> {
    let before = subject.before.and_then(|(row, _)| row.network.tcp_events.as_ref());
    let seconds = subject.before.map_or(0.0, |(_, seconds)| seconds);
    let last = before.and_then(|before| before.retransmits);
    let now = rate(last, events.retransmits, seconds);
    let text = format!(
        "{} retransmits ({})",
        known(events.retransmits, |count| count.to_string()),
        per_second(last, events.retransmits, seconds)
    );
    let mut lines = vec![match now {
        Some(rate) if rate > 0.0 => styled("TCP", text, subject.theme.warning()),
        _ => entry("TCP", text),
    }];
    lines.extend(events.connections.map(|made| {
        let text = format!(
            "{} opened, {} accepted, {} closed, {} failed",
            made.opened, made.accepted, made.closed, made.failed
        );
        if made.failed > 0 {
            styled(" connections", text, subject.theme.warning())
        } else {
            entry(" connections", text)
        }
    }));
    lines
}

/// Rates and totals of received and sent bytes.
fn both_ways(subject: &Subject<'_>, before: Option<(u64, u64)>, now: (u64, u64)) -> String {
    let (before_rx, before_tx) = before.unzip();
    let seconds = subject.before.map_or(0.0, |(_, seconds)| seconds);
    let speed = |before, now| {
        known(rate(before, Some(now), seconds), |rate| format!("{}/s", human_size(rate as u64)))
    };
    let rates = format!("rx {}, tx {}", speed(before_rx, now.0), speed(before_tx, now.1));
    format!("{rates}; {}", total(now.0, now.1))
}

fn total(received: u64, sent: u64) -> String {
    format!("total {} / {}", human_size(received), human_size(sent))
}

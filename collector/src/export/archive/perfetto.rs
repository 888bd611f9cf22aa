//! Counter tracks in the JSON trace format, which Perfetto and Chrome's tracing show beside other
//! traces.

use std::{
    collections::{HashMap, HashSet},
    io::Write,
};

use anyhow::Result;
use serde::Serialize;
use tare_model::{Kind, MEASURES, Reading, Time};

use crate::{
    export::archive::{Instant, Writer},
    output::row::name,
};

/// Containers are processes of the trace, each measure is one of its counters, and ends are
/// instants.
#[derive(Default)]
pub(super) struct Perfetto {
    /// The number of a container in the trace and its last known name, by its id.
    numbers: HashMap<String, (usize, String)>,
    ended: HashSet<String>,
    is_begun: bool,
}

/// An event of the trace.
#[derive(Serialize)]
struct Event<'a, A> {
    name: &'a str,
    /// `C` is a counter, `i` an instant, `M` metadata.
    ph: &'static str,
    pid: usize,
    /// Microseconds since 1970.
    ts: i64,
    /// The extent of an instant: the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    s: Option<&'static str>,
    args: A,
}

#[derive(Serialize)]
struct Counter {
    value: f64,
}

#[derive(Serialize)]
struct ProcessName<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct Ended {
    exit_code: Option<i64>,
    oom_killed: Option<bool>,
}

impl Perfetto {
    fn event(&mut self, event: &impl Serialize, out: &mut dyn Write) -> Result<()> {
        out.write_all(if self.is_begun { b",\n" } else { b"{\"traceEvents\":[\n" })?;
        self.is_begun = true;
        Ok(serde_json::to_writer(out, event)?)
    }

    /// The number of a container, whose name is written when it is new.
    fn number(&mut self, id: &str, name: &str, out: &mut dyn Write) -> Result<usize> {
        let known = self.numbers.get(id);
        if let Some((number, _)) = known.filter(|(_, known)| known == name) {
            return Ok(*number);
        }
        let pid = known.map_or(self.numbers.len() + 1, |(number, _)| *number);
        self.numbers.insert(id.to_owned(), (pid, name.to_owned()));
        let args = ProcessName { name };
        self.event(&Event { name: "process_name", ph: "M", pid, ts: 0, s: None, args }, out)?;
        Ok(pid)
    }
}

impl Writer for Perfetto {
    fn add(&mut self, instant: &Instant<'_>, out: &mut dyn Write) -> Result<()> {
        let snapshot = instant.pair.snapshot();
        let report = &snapshot.report;
        let ts = report.time.as_microsecond();
        for row in report.containers.iter().filter(|row| row.kind == Kind::Container) {
            let pid = self.number(&row.id, name(row), out)?;
            for measure in MEASURES.iter().filter(|measure| measure.time != Time::Total) {
                let value = match measure.of(&snapshot, row) {
                    Reading::Known(value) if value.is_finite() => value,
                    _ => continue,
                };
                let args = Counter { value };
                self.event(&Event { name: measure.name, ph: "C", pid, ts, s: None, args }, out)?;
            }
        }
        let mut present = HashSet::new();
        for ended in &report.ended {
            let row = &ended.container;
            // The first instant has receipts of a time before it.
            if !instant.is_first && !self.ended.contains(&row.id) {
                let pid = self.number(&row.id, name(row), out)?;
                let ts = ended.ended_at.as_microsecond();
                let args = Ended { exit_code: row.exit_code, oom_killed: row.oom_killed };
                self.event(&Event { name: "ended", ph: "i", pid, ts, s: Some("p"), args }, out)?;
            }
            present.insert(row.id.clone());
        }
        self.ended = present;
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn Write) -> Result<()> {
        let head: &[u8] = if self.is_begun { b"" } else { b"{\"traceEvents\":[" };
        out.write_all(head)?;
        Ok(out.write_all(b"\n]}\n")?)
    }
}

//! CSV (RFC 4180) with a line for each point, for `DuckDB`, pandas and spreadsheets.

use crate::{
    export::{archive::points::Lines, subject::Subject},
    exposition::Digits,
};

/// The labels that have a column each. The others are together in `labels`.
const COLUMNS: [&str; 3] = ["name", "id", "image"];

#[derive(Default)]
pub(super) struct Csv {
    shared: Vec<u8>,
    labels: String,
}

impl Lines for Csv {
    const HEAD: &str = "time,name,id,image,family,metric,labels,value\r\n";

    const TAIL: &str = "";

    fn add(&mut self, subject: &Subject<'_>, out: &mut Vec<u8>) {
        let Self { shared, labels } = self;
        shared.clear();
        shared.extend_from_slice(subject.time.to_string().as_bytes());
        for column in COLUMNS {
            let found = subject.labels.iter().find(|(name, _)| *name == column);
            shared.push(b',');
            write_field(shared, found.map_or("", |(_, value)| value));
        }
        labels.clear();
        let others = subject.labels.iter().filter(|(name, _)| !COLUMNS.contains(name));
        others.for_each(|label| add_label(labels, label));
        let length = labels.len();
        subject.for_each_number(|point| {
            labels.truncate(length);
            point.labels.iter().for_each(|label| add_label(labels, label));
            out.extend_from_slice(shared);
            out.push(b',');
            out.extend_from_slice(point.entry.family.as_bytes());
            out.push(b',');
            point.write_name(out);
            out.push(b',');
            // Always in quotes: programs that guess the format look at the first lines only.
            write_quoted(out, labels);
            out.push(b',');
            out.extend_from_slice(Digits::new().text(point.number).as_bytes());
            out.extend_from_slice(b"\r\n");
        });
    }
}

/// Labels as `name=value`, with `;` between them.
fn add_label(labels: &mut String, (name, value): &(&str, &str)) {
    let separator = if labels.is_empty() { "" } else { ";" };
    labels.extend([separator, name, "=", value]);
}

fn write_field(out: &mut Vec<u8>, text: &str) {
    if !text.contains([',', '"', '\r', '\n']) {
        out.extend_from_slice(text.as_bytes());
    } else {
        write_quoted(out, text);
    }
}

fn write_quoted(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    out.extend_from_slice(text.replace('"', "\"\"").as_bytes());
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::fixture;

    #[test]
    fn a_point_is_a_line() {
        let mut out = Vec::new();
        fixture::with_container(|subject| Csv::default().add(subject, &mut out));
        let text = String::from_utf8(out).unwrap();
        let expected = "2023-11-14T22:13:20.123456789Z,\"web,1=x\",/docker/1,,cpu,\
             container_cpu_usage_seconds_total,\"host=a host;cpu=total\",1.5";
        assert_eq!(text.split("\r\n").next(), Some(expected));
        assert!(Csv::HEAD.split(',').count() == 8);
    }

    #[test]
    fn quotes_are_doubled() {
        let mut out = Vec::new();
        write_field(&mut out, "a \"b\"\n");
        assert_eq!(out, b"\"a \"\"b\"\"\n\"");
    }
}

//! JSON: one compact object per line.

use std::io::{self, Write};

use serde::Serialize;

/// Writes one report or snapshot and its newline, and flushes. Numbers that JSON cannot hold become
/// `null`.
pub fn write(report: &impl Serialize, out: &mut impl Write) -> io::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    out.write_all(&line)?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use tare_model::{Family, Source, State};

    use super::*;
    use crate::output::fixture;

    #[test]
    fn one_line_of_the_contract() {
        let mut web = fixture::web();
        web.cpu.usage_seconds = Some(f64::NAN);
        web.cpu.percent = Some(f64::INFINITY);
        let mut report = fixture::report(vec![web]);
        let off = Source {
            source: None,
            state: State::Off,
            reason: Some("no\nBTF".to_owned()),
            reason_codes: vec!["no_btf".into()],
            reconciled: None,
            not_walked: None,
        };
        report.sources.insert(Family::NetworkSockets, off);

        let mut out = Vec::new();
        write(&report, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.matches('\n').count(), 1);
        assert!(text.ends_with("}\n"));

        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["time"], "1970-01-01T00:00:00Z");
        assert_eq!(value["interval_seconds"], 1.0);
        let off = json!({
            "source": null,
            "state": "off",
            "reason": "no\nBTF",
            "reason_codes": ["no_btf"],
            "reconciled": null,
            "not_walked": null,
        });
        assert_eq!(value["sources"]["network_sockets"], off);
        let web = &value["containers"][0];
        assert_eq!(web["name"], "web");
        assert_eq!(web["memory"]["working_set_bytes"], 1_265_664);
        assert_eq!(web["network"]["interfaces"]["eth0"]["rx_bytes"], 10_500_000);
        assert_eq!(web["network"]["sockets"], Value::Null);
        assert_eq!(
            (&web["cpu"]["usage_seconds"], &web["cpu"]["percent"]),
            (&Value::Null, &Value::Null)
        );
    }
}

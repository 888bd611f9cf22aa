//! The file of a budget: TOML tables `[[budget]]`.

use std::{collections::BTreeMap, fmt, fs, path::Path};

use anyhow::{Context as _, Error, Result, anyhow, bail, ensure};
use serde::Deserialize;
use tare_model::{MEASURES, Measure, Unit};
use toml::{Spanned, Value};
use wildmatch::WildMatch;

use crate::{cli::values, output::nearest::did_you_mean};

/// The longest file that is read.
const MAX_BYTES: u64 = 1 << 20;

/// What helps with a wrong name.
const LIST: &str = "`tare budget help` lists all measures";

/// Limits of some containers.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Their names: a pattern with `*` and `?`.
    pub containers: WildMatch,
    /// Whether it is no failure that no container has such a name.
    pub optional: bool,
    /// What may not be exceeded.
    pub limits: Vec<Limit>,
}

/// The most that a measure may be.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// What is limited.
    pub measure: &'static Measure,
    /// The limit itself, in the unit of the measure.
    pub most: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    budget: Vec<Spanned<Table>>,
}

#[derive(Deserialize)]
struct Table {
    containers: String,
    #[serde(default)]
    optional: bool,
    #[serde(flatten)]
    limits: BTreeMap<String, Value>,
}

/// Reads a file.
///
/// # Errors
///
/// If it cannot be read, or if something in it is wrong; the message names the file and the line.
pub fn read(path: &Path) -> Result<Vec<Budget>> {
    let load = || -> Result<Vec<Budget>> {
        ensure!(fs::metadata(path)?.len() <= MAX_BYTES, "it is longer than {MAX_BYTES} bytes");
        parse(&fs::read_to_string(path)?)
    };
    load().with_context(|| path.display().to_string())
}

pub(super) fn parse(text: &str) -> Result<Vec<Budget>> {
    let file: File = toml::from_str(text)?;
    ensure!(!file.budget.is_empty(), "there is no `[[budget]]` in it");
    let budgets = file.budget.into_iter().map(|table| {
        let line = text[..table.span().start].matches('\n').count() + 1;
        budget(table.into_inner()).with_context(|| format!("the budget of line {line}"))
    });
    budgets.collect()
}

fn budget(table: Table) -> Result<Budget> {
    let Table { containers, optional, limits } = table;
    ensure!(!containers.is_empty(), "`containers` is empty; `*` is all of them");
    ensure!(!limits.is_empty(), "it limits nothing; {LIST}");
    let limits = limits.iter().map(|(name, value)| {
        let measure = Measure::named(name)
            .with_context(|| format!("there is no measure `{name}`{}", remedy(name)))?;
        let most = limit(measure.unit, value).with_context(|| format!("`{name}`"))?;
        Ok(Limit { measure, most })
    });
    let limits = limits.collect::<Result<_>>()?;
    Ok(Budget { containers: WildMatch::new(&containers), optional, limits })
}

fn remedy(name: &str) -> String {
    match did_you_mean(name, MEASURES.iter().map(|measure| measure.name)) {
        none if none.is_empty() => format!("; {LIST}"),
        meant => meant,
    }
}

fn limit(unit: Unit, value: &Value) -> Result<f64> {
    let number = match value {
        // Integers of a budget are far below 2^53.
        Value::Integer(number) => *number as f64,
        Value::Float(number) => *number,
        Value::String(text) => return of_text(unit, text),
        _ => bail!("must be a number or text"),
    };
    ensure!(number.is_finite() && number >= 0.0, "must not be negative");
    Ok(number)
}

fn of_text(unit: Unit, text: &str) -> Result<f64> {
    let text = text.trim();
    match unit {
        Unit::Bytes => values::bytes(text).map(|bytes| bytes as f64).map_err(Error::msg),
        Unit::BytesPerSecond => {
            let bytes = text.strip_suffix("/s").unwrap_or(text);
            values::bytes(bytes).map(|bytes| bytes as f64).map_err(Error::msg)
        }
        Unit::Seconds => values::duration(text).map(|time| time.as_secs_f64()).map_err(Error::msg),
        Unit::Percent => {
            let number = text.strip_suffix('%').unwrap_or(text).trim();
            limit(unit, &Value::Float(number.parse().map_err(|_| unreadable(text))?))
        }
        Unit::Count => limit(unit, &Value::Float(text.parse().map_err(|_| unreadable(text))?)),
    }
}

fn unreadable(text: impl fmt::Display) -> Error {
    anyhow!("`{text}` is no number")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        format!("{:#}", parse(text).unwrap_err())
    }

    #[test]
    fn limits_have_units() {
        let budgets = parse(
            r#"
            [[budget]]
            containers = "web*"
            cpu_percent = "80%"
            memory_peak_bytes = "1.5MiB"
            block_write_p99_seconds = "20ms"
            network_transmit_bytes_per_second = "1KiB/s"
            pids = 7

            [[budget]]
            containers = "*"
            optional = true
            memory_oom_kills = 0
            "#,
        )
        .unwrap();
        let limits = |budget: &Budget| -> Vec<(&str, f64)> {
            budget.limits.iter().map(|limit| (limit.measure.name, limit.most)).collect()
        };
        let expected = [
            ("block_write_p99_seconds", 0.02),
            ("cpu_percent", 80.0),
            ("memory_peak_bytes", 1_572_864.0),
            ("network_transmit_bytes_per_second", 1024.0),
            ("pids", 7.0),
        ];
        assert_eq!(limits(&budgets[0]), expected);
        assert!(budgets[0].containers.matches("web-1") && !budgets[0].optional);
        assert_eq!(
            (limits(&budgets[1]), budgets[1].optional),
            (vec![("memory_oom_kills", 0.0)], true)
        );
    }

    #[test]
    fn a_mistake_names_its_line_and_a_remedy() {
        let head = "[[budget]]\ncontainers = \"a\"\n";
        for (body, message) in [
            ("cpu_percnt = 1", "there is no measure `cpu_percnt`; did you mean cpu_percent?"),
            ("cpu_percent = -1", "`cpu_percent`: must not be negative"),
            ("cpu_percent = \"much\"", "`cpu_percent`: `much` is no number"),
            ("cpu_percent = []", "`cpu_percent`: must be a number or text"),
            ("memory_peak_bytes = \"1MB\"", "MiB or GiB"),
            ("start_seconds = \"2\"", "needs a unit"),
            ("", "it limits nothing"),
        ] {
            let fault = fault(&format!("\n{head}{body}"));
            assert!(fault.contains(message) && fault.contains("line 2"), "{fault}");
        }
        assert!(fault("").contains("budget"));
        assert!(fault("[[budget]]\ncpu_percent = 1").contains("containers"));
        assert!(fault("budget = []").contains("no `[[budget]]`"));
        assert!(fault("[[budget").contains("line 1"));
    }
}

//! The JSON that `tare` printed, with getters that name what is missing.

use std::fmt;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// The time of a report in nanoseconds since 1970.
pub fn nanoseconds(time: &Value) -> Result<i64> {
    let time: jiff::Timestamp = time.as_str().context("no time")?.parse()?;
    Ok(i64::try_from(time.as_nanosecond())?)
}

/// One line of `tare stats --format json`.
#[derive(Clone)]
pub struct Report(Value);

impl Report {
    /// Reads it.
    pub fn parse(line: &str) -> Result<Self> {
        serde_json::from_str(line).map(Self).with_context(|| format!("no valid JSON: {line}"))
    }

    /// All of it.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.0
    }

    /// The row of the container with this full id, if there is one.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<Row> {
        let rows = self.0.get("containers")?.as_array()?;
        rows.iter().find(|row| row["id"] == id).cloned().map(Row)
    }

    /// The row of the container with this full id.
    pub fn row(&self, id: &str) -> Result<Row> {
        self.find(id).with_context(|| format!("no container {id} in {}", self.0))
    }

    /// The receipt of the container with this full id, if there is one.
    #[must_use]
    pub fn ended(&self, id: &str) -> Option<Row> {
        let rows = self.0.get("ended")?.as_array()?;
        rows.iter().find(|row| row["id"] == id).cloned().map(Row)
    }

    /// State and reason of a family's source.
    pub fn source(&self, family: &str) -> Result<(&str, Option<&str>)> {
        let source = &self.0["sources"][family];
        let state = source["state"].as_str();
        let state =
            state.with_context(|| format!("no state of {family} in {}", self.0["sources"]))?;
        Ok((state, source["reason"].as_str()))
    }

    /// The result of comparing a family with the kernel's own count.
    pub fn reconciled(&self, family: &str) -> Result<Reconciled> {
        let reconciled = &self.0["sources"][family]["reconciled"];
        let number = |key: &str| {
            let number = reconciled[key].as_u64();
            number.with_context(|| format!("no {key} of {family} in {}", self.0["sources"]))
        };
        Ok(Reconciled {
            expected: number("expected")?,
            counted: number("counted")?,
            lost: number("lost")?,
            lost_bytes: reconciled["lost_bytes"].as_u64(),
            covered: number("covered")?,
            uncovered: number("uncovered")?,
        })
    }

    /// Checks that the family works in full, except for events for which this machine's kernel ran
    /// no program.
    pub fn require(&self, family: &str) -> Result<()> {
        let unseen = |reason: &str| {
            reason.ends_with("were not seen by the kernel's programs") && !reason.contains(';')
        };
        match self.source(family)? {
            ("on", _) => Ok(()),
            ("degraded", Some(reason)) if unseen(reason) => Ok(()),
            (state, reason) => {
                bail!("{family} is {state}: {}", reason.unwrap_or("without a reason"))
            }
        }
    }
}

/// The kernel's own count and that of `tare`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Reconciled {
    pub expected: u64,
    pub counted: u64,
    pub lost: u64,
    pub lost_bytes: Option<u64>,
    pub covered: u64,
    pub uncovered: u64,
}

/// One container of a report.
#[derive(Clone)]
pub struct Row(Value);

impl From<Value> for Row {
    fn from(row: Value) -> Self {
        Self(row)
    }
}

impl Row {
    /// What is at a JSON pointer.
    pub fn get(&self, pointer: &str) -> Result<&Value> {
        self.0.pointer(pointer).with_context(|| format!("nothing at {pointer} of {}", self.0))
    }

    /// The whole number at a JSON pointer.
    pub fn u64(&self, pointer: &str) -> Result<u64> {
        let value = self.get(pointer)?;
        value.as_u64().with_context(|| format!("{pointer} is {value} in {}", self.0))
    }

    /// The number at a JSON pointer.
    pub fn f64(&self, pointer: &str) -> Result<f64> {
        let value = self.get(pointer)?;
        value.as_f64().with_context(|| format!("{pointer} is {value} in {}", self.0))
    }

    /// The text at a JSON pointer.
    pub fn str(&self, pointer: &str) -> Result<&str> {
        let value = self.get(pointer)?;
        value.as_str().with_context(|| format!("{pointer} is {value} in {}", self.0))
    }

    /// How much a counter has grown since an earlier row of the same container.
    pub fn growth(&self, earlier: &Self, pointer: &str) -> Result<u64> {
        let (new, old) = (self.u64(pointer)?, earlier.u64(pointer)?);
        new.checked_sub(old).with_context(|| format!("{pointer} fell from {old} to {new}"))
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As JSON, the form in which it is documented.
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As JSON, the form in which it is documented.
        fmt::Display::fmt(&self.0, f)
    }
}

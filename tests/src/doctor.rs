//! The output of `tare doctor --format json`.

use std::{collections::BTreeSet, fmt};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::tare::Tare;

/// All families of numbers.
pub const FAMILIES: [&str; 9] = [
    "cpu",
    "memory",
    "pids",
    "network_interfaces",
    "network_sockets",
    "network_tcp",
    "block",
    "lifecycle",
    "identity",
];

/// The findings.
pub struct Diagnosis(Value);

impl Diagnosis {
    /// Runs the doctor, which must succeed.
    pub fn of(tare: &Tare) -> Result<Self> {
        let done = tare.run(&["doctor", "--format", "json"])?;
        ensure!(done.status.success(), "tare doctor: {}: {}", done.status, done.stderr.trim());
        Self::parse(&done.stdout)
    }

    /// Reads its one line.
    pub fn parse(text: &str) -> Result<Self> {
        ensure!(text.lines().count() == 1, "not one line of JSON: {text}");
        serde_json::from_str(text).map(Self).with_context(|| format!("no valid JSON: {text}"))
    }

    /// All of it.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.0
    }

    /// What is at a JSON pointer.
    pub fn at(&self, pointer: &str) -> Result<&Value> {
        self.0.pointer(pointer).with_context(|| format!("nothing at {pointer} of {}", self.0))
    }

    /// The text at a JSON pointer.
    pub fn str(&self, pointer: &str) -> Result<&str> {
        let value = self.at(pointer)?;
        value.as_str().with_context(|| format!("{pointer} is {value} in {}", self.0))
    }

    /// Everything at a pointer whose steps may be `*`.
    #[must_use]
    pub fn all(&self, pointer: &str) -> Vec<&Value> {
        pointer.split('/').skip(1).fold(vec![&self.0], |found, step| {
            let inside = found.into_iter().flat_map(|value| match (step, value) {
                ("*", Value::Array(all)) => all.iter().collect(),
                ("*", Value::Object(all)) => all.values().collect(),
                (key, value) => value.get(key).into_iter().collect::<Vec<_>>(),
            });
            inside.collect()
        })
    }

    /// `on`, `degraded` or `off`; an error if one that is not `on` has no reason.
    pub fn state(&self, family: &str) -> Result<&str> {
        let state = self.str(&format!("/families/{family}/state"))?;
        if state != "on" {
            self.str(&format!("/families/{family}/reason"))?;
        }
        Ok(state)
    }

    /// The programs that were attached.
    pub fn attached(&self) -> Result<BTreeSet<&str>> {
        let programs = self.at("/kernel_side/programs")?.as_object().context("programs")?;
        let attached = programs.iter().filter(|(_, program)| program["attached"] == true);
        Ok(attached.map(|(name, _)| name.as_str()).collect())
    }
}

impl fmt::Debug for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As JSON, the form in which it is documented.
        fmt::Display::fmt(&self.0, f)
    }
}

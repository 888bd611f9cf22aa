//! Each recurring fault is told once.

use std::{collections::HashSet, error::Error};

use crate::cgroup::ReadError;

/// Faults that were told.
#[derive(Debug, Default)]
pub struct Faults(HashSet<String>);

impl Faults {
    /// Distinct faults that are told; more are the same disease.
    const MAX: usize = 256;

    /// Tells an error; that a cgroup vanished is none.
    pub fn tell(&mut self, fault: &ReadError) {
        if !matches!(fault, ReadError::Vanished) {
            self.tell_text(chain(fault));
        }
    }

    /// Tells a fault in words.
    pub fn tell_text(&mut self, text: String) {
        if self.0.len() < Self::MAX && !self.0.contains(&text) {
            tracing::warn!("{text}");
            self.0.insert(text);
        }
    }
}

/// An error with its causes in one line.
pub fn chain(error: &dyn Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

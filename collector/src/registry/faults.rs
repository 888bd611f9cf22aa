//! Logs each recurring error once, and then with a count whenever there were ten times as many.

use std::{collections::HashMap, error::Error};

use crate::{cgroup::ReadError, recurring::is_worth_logging};

/// Errors that were logged, with their counts.
#[derive(Debug, Default)]
pub(super) struct Faults(HashMap<String, u64>);

impl Faults {
    /// Distinct errors that are logged at most.
    const MAX: usize = 256;

    /// Logs an error, unless a cgroup only vanished.
    pub(super) fn report(&mut self, fault: &ReadError) {
        if !matches!(fault, ReadError::Vanished) {
            self.report_text(chain(fault));
        }
    }

    /// Logs an error text.
    pub(super) fn report_text(&mut self, text: String) {
        if let Some(times) = self.0.get_mut(&text) {
            *times += 1;
            if is_worth_logging(*times) {
                tracing::warn!("{text} ({times} times so far)");
            }
        } else if self.0.len() < Self::MAX {
            tracing::warn!("{text}");
            self.0.insert(text, 1);
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

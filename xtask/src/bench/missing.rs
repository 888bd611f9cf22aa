//! What a run could not measure.

use anyhow::{Error, Result, bail};
use serde::{Deserialize, Serialize};

use crate::cmd;

/// What could not be measured, and why.
#[derive(Deserialize, PartialEq, Serialize)]
pub(crate) struct NotMeasured {
    pub(crate) what: String,
    pub(crate) why: String,
}

/// All that could not be measured, each once.
#[derive(Default, Deserialize, Serialize)]
#[serde(transparent)]
pub(crate) struct Missing {
    pub(crate) list: Vec<NotMeasured>,
}

impl Missing {
    /// Records what could not be measured; an error after an interrupt.
    pub(crate) fn add(&mut self, what: &str, error: &Error) -> Result<()> {
        if cmd::interrupted() {
            bail!("interrupted");
        }
        let missing = NotMeasured { what: what.to_owned(), why: format!("{error:#}") };
        eprintln!("warning: not measured: {}: {}", missing.what, missing.why);
        if !self.list.contains(&missing) {
            self.list.push(missing);
        }
        Ok(())
    }
}

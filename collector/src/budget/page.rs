//! A result for people.

use std::fmt::Write as _;

use tare_model::Measure;

use crate::{
    budget::check::{Checked, Outcome, State},
    output::{
        columns::cells::known,
        measure,
        text::{align, printable},
        units::{duration, percent},
    },
};

/// The result as a table and a sentence.
pub(super) fn render(outcome: &Outcome) -> String {
    let mut lines = "CONTAINER\tMEASURE\tVALUE\tLIMIT\tOF LIMIT\tRESULT\n".to_owned();
    for checked in &outcome.results {
        let value = known(checked.value, |value| shown(checked.measure, value));
        let share = checked.value.filter(|_| checked.limit > 0.0);
        let share = known(share, |value| percent(100.0 * value / checked.limit));
        let (name, limit) = (printable(&checked.container), shown(checked.measure, checked.limit));
        let result = word(checked.state);
        // Writing to a string does not fail.
        let _ = writeln!(lines, "{name}\t{}\t{value}\t{limit}\t{share}\t{result}", checked.measure);
    }
    let mut page = align(&lines);
    let (all, failures) = (outcome.results.len(), outcome.failures());
    let over =
        outcome.interval_seconds.map_or_else(String::new, |s| format!(" over {}", duration(s)));
    let _ = writeln!(page, "\n{failures} of {all} checks{over} failed");
    page
}

/// One sentence about a check that failed or had nothing to look at.
pub(super) fn sentence(checked: &Checked) -> String {
    let Checked { measure, value, limit, .. } = checked;
    match (checked.state, value) {
        (State::NoContainer, _) => "no container has such a name".to_owned(),
        (State::Nothing, _) => format!("{measure}: nothing happened that could be measured"),
        (_, Some(value)) => {
            format!("{measure} is {}, limit {}", shown(measure, *value), shown(measure, *limit))
        }
        (_, None) => format!("{measure} is unknown; `tare doctor` says why"),
    }
}

/// A value in the unit of its measure.
pub(super) fn shown(name: &str, value: f64) -> String {
    Measure::named(name).map_or_else(|| value.to_string(), |it| measure::shown(it.unit, value))
}

fn word(state: State) -> &'static str {
    match state {
        State::Exceeded => "EXCEEDED",
        State::NoContainer => "NO CONTAINER",
        State::Unknown => "UNKNOWN",
        State::Kept => "ok",
        State::Nothing => "nothing happened",
    }
}

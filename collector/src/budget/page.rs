//! A result for people.

use std::fmt::Write as _;

use crate::{
    budget::check::{Checked, Outcome, State},
    output::{
        columns::cells::known,
        measure::shown,
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
        let _ = writeln!(
            lines,
            "{name}\t{}\t{value}\t{limit}\t{share}\t{result}",
            checked.measure.name
        );
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
    let name = measure.name;
    match (checked.state, value) {
        (State::NoContainer, _) => "no container has such a name".to_owned(),
        (State::Nothing, _) => format!("{name}: nothing happened that could be measured"),
        (_, Some(value)) => {
            format!("{name} is {}, limit {}", shown(measure, *value), shown(measure, *limit))
        }
        (_, None) => format!("{name} is unknown; `tare doctor` says why"),
    }
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

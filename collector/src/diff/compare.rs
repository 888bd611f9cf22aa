//! Two snapshots side by side: what changed, the worst first. Pure.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::Serialize;
use tare_model::{Container, Kind, MEASURES, Measure, Reading, Snapshot, Time, Unit};

use crate::output::row::name;

/// What differs between two snapshots.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// When the first one was taken.
    pub before: Timestamp,
    /// When the second one was taken.
    pub after: Timestamp,
    /// What changed, the worst first: what grew most, then what fell least.
    pub changes: Vec<Changed>,
    /// Names of containers that are in the first one only.
    pub only_before: Vec<String>,
    /// Names of containers that are in the second one only.
    pub only_after: Vec<String>,
}

/// A measure of a container that changed.
#[derive(Clone, Debug, Serialize)]
pub struct Changed {
    /// The name of the container.
    pub container: String,
    /// Its id before.
    pub id_before: String,
    /// Its id after, another one if it was made anew.
    pub id_after: String,
    /// The measure.
    pub measure: &'static Measure,
    /// Its value before, in the unit that the measure's name ends with.
    pub before: f64,
    /// Its value after.
    pub after: f64,
    /// The growth as a share of the value before; `None` if that was 0.
    pub change_percent: Option<f64>,
    #[serde(skip)]
    rank: f64,
}

/// Compares two snapshots. A change by less than `percent` is left out.
pub fn compare(before: &Snapshot, after: &Snapshot, percent: f64) -> Difference {
    let pairs = pairs(before, after);
    let all = pairs.both.iter().flat_map(|(old, new)| {
        MEASURES.iter().filter_map(move |measure| changed(measure, (before, old), (after, new)))
    });
    let mut changes: Vec<Changed> =
        all.filter(|change| change.rank.abs() * 100.0 >= percent).collect();
    changes.sort_by(|a, b| {
        let names = || (&a.container, a.measure.name).cmp(&(&b.container, b.measure.name));
        b.rank.total_cmp(&a.rank).then_with(names)
    });
    Difference {
        before: before.report.time,
        after: after.report.time,
        changes,
        only_before: pairs.only_before,
        only_after: pairs.only_after,
    }
}

/// Which containers are the same.
struct Pairs<'a> {
    both: Vec<(&'a Container, &'a Container)>,
    only_before: Vec<String>,
    only_after: Vec<String>,
}

/// Containers are the same if their ids are, or else if their names and namespaces are: somebody
/// may have made them anew.
fn pairs<'a>(before: &'a Snapshot, after: &'a Snapshot) -> Pairs<'a> {
    let containers = |snapshot: &'a Snapshot| {
        let rows = snapshot.report.containers.iter();
        rows.filter(|row| row.kind == Kind::Container).collect::<Vec<_>>()
    };
    let mut old = containers(before);
    let mut both = Vec::new();
    let mut new = containers(after);
    for key in [by_id, by_name] as [fn(&Container) -> Key<'_>; 2] {
        let mut left: HashMap<Key<'_>, &Container> =
            old.iter().rev().map(|row| (key(row), *row)).collect();
        new.retain(|row| {
            let found = left.remove(&key(row));
            both.extend(found.map(|found| (found, *row)));
            found.is_none()
        });
        old.retain(|row| !both.iter().any(|(found, _)| std::ptr::eq(*found, *row)));
    }
    let names = |rows: &[&Container]| {
        let mut names: Vec<String> = rows.iter().map(|row| name(row).to_owned()).collect();
        names.sort_unstable();
        names
    };
    Pairs { both, only_before: names(&old), only_after: names(&new) }
}

type Key<'a> = (Option<&'a str>, &'a str);

fn by_id(row: &Container) -> Key<'_> {
    (None, &row.id)
}

fn by_name(row: &Container) -> Key<'_> {
    (row.pod_namespace(), name(row))
}

fn changed(
    measure: &'static Measure,
    (before, old): (&Snapshot, &Container),
    (after, new): (&Snapshot, &Container),
) -> Option<Changed> {
    // A total grows in any case.
    if measure.time == Time::Total {
        return None;
    }
    let (was, is) = match (measure.of(before, old), measure.of(after, new)) {
        (Reading::Known(was), Reading::Known(is)) => (was, is),
        (Reading::Nothing, Reading::Known(is)) => (0.0, is),
        (Reading::Known(was), Reading::Nothing) => (was, 0.0),
        _ => return None,
    };
    let rank = (is - was) / was.max(noise(measure.unit));
    (was.is_finite() && is.is_finite()).then(|| Changed {
        container: name(new).to_owned(),
        id_before: old.id.clone(),
        id_after: new.id.clone(),
        measure,
        before: was,
        after: is,
        change_percent: (was > 0.0).then(|| 100.0 * (is - was) / was),
        rank,
    })
}

/// Growth is measured against at least this much, so that a few bytes more than none are not the
/// worst of all changes.
fn noise(unit: Unit) -> f64 {
    match unit {
        Unit::Percent => 5.0,
        Unit::Bytes => 4e6,
        Unit::BytesPerSecond => 100e3,
        Unit::Seconds => 0.01,
        Unit::Count => 5.0,
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::output::fixture;

    fn named(name: &str, id: char) -> Container {
        let mut row = fixture::web();
        (row.name, row.id) = (Some(name.to_owned()), id.to_string().repeat(64));
        row
    }

    fn snapshot(rows: Vec<Container>, seconds: i64) -> Snapshot {
        let mut report = fixture::report(rows);
        report.time += SignedDuration::from_secs(seconds);
        Snapshot::new(None, report)
    }

    fn measures(difference: &Difference) -> Vec<(&str, &str, Option<f64>)> {
        let row = |change: &'_ Changed| (change.measure.name, change.change_percent);
        difference.changes.iter().map(|it| (&*it.container, row(it).0, row(it).1)).collect()
    }

    #[test]
    fn the_worst_change_comes_first() {
        let (old, mut new) = (named("web", 'a'), named("web", 'b'));
        new.cpu.percent = Some(2.0 * 12.345);
        new.memory.percent = Some(0.0);
        new.pids.current = Some(30);
        new.memory.working_set_bytes = Some(265_664);
        let found = compare(&snapshot(vec![old], 0), &snapshot(vec![new], 9), 10.0);
        let expected = [
            ("web", "pids", Some(900.0)),
            ("web", "cpu_percent", Some(100.0)),
            ("web", "memory_working_set_bytes", Some(-100.0 * 1e6 / 1_265_664.0)),
        ];
        assert_eq!(measures(&found), expected);
        assert_eq!(found.changes[0].id_after, "b".repeat(64));
        assert_eq!(found.after.duration_since(found.before).as_secs(), 9);
    }

    #[test]
    fn an_id_says_more_than_a_name() {
        let mut renamed = named("old", 'a');
        renamed.pids.current = Some(99);
        let before = snapshot(vec![named("web", 'a'), named("gone", 'c')], 0);
        let after = snapshot(vec![named("web", 'b'), renamed], 1);
        let found = compare(&before, &after, 10.0);
        assert_eq!(measures(&found), [("old", "pids", Some(3200.0))]);
        assert_eq!(
            (found.only_before, found.only_after),
            (vec!["gone".into()], vec!["web".into()])
        );
    }

    #[test]
    fn without_a_change_there_is_nothing() {
        let rows = || vec![named("web", 'a')];
        let found = compare(&snapshot(rows(), 0), &snapshot(rows(), 1), 0.1);
        assert!(found.changes.is_empty() && found.only_before.is_empty());
    }
}

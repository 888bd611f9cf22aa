//! Which lines the list has, and in which order. Pure; it makes no text.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashSet},
};

use crate::{
    model::{Container, Kind, Report},
    output::{
        Scope, Sort,
        columns::cells::{SHORT_ID, UNKNOWN},
        row::ordered,
        text::cut,
    },
    top::figures::{Figure, Figures, Sum},
};

/// What the list is to show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Which kinds of rows.
    pub scope: Scope,
    /// What orders them.
    pub sort: Sort,
    /// The other way round.
    pub is_reversed: bool,
    /// Only rows that have this text in a name, whatever its case.
    pub filter: String,
    /// In groups.
    pub is_tree: bool,
    /// Groups whose rows are hidden.
    pub collapsed: HashSet<String>,
    /// Containers that ended, instead of what is alive.
    pub is_ended: bool,
}

/// One line of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// A group of the tree, by its place in [`Lines::groups`].
    Group(usize),
    /// A row, by its place in [`Report::containers`].
    Row(usize),
    /// A container that ended, by its place in [`Report::ended`].
    Ended(usize),
}

/// All lines of the list.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    /// From top to bottom.
    pub lines: Vec<Line>,
    /// The groups of the tree.
    pub groups: Vec<Group>,
    /// The kinds that are shown, if not those that were asked for because there are none.
    pub instead: Option<Kind>,
}

/// Rows that belong together.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// What it is called: `pod …`, `compose …` or the path of a cgroup.
    pub name: String,
    /// How many rows it has.
    pub count: usize,
    /// Their figures together. Devices that several of them share are counted once.
    pub sum: Sum,
    /// Whether its rows are hidden.
    pub is_collapsed: bool,
}

/// What people call a row.
pub fn label(row: &Container) -> &str {
    match row.kind {
        // Only ids of 64 digits are numbers; people gave the others.
        Kind::Container if row.name.is_none() && row.id.len() == 64 => cut(&row.id, SHORT_ID),
        Kind::Container => row.name.as_deref().unwrap_or(&row.id),
        Kind::Service => &row.id,
        Kind::Other => &row.cgroup,
    }
}

/// Whether a text that is in lower case is in one of a row's names.
pub fn matches(row: &Container, lower: &str) -> bool {
    let project = row.compose.as_ref().map(|compose| &compose.project);
    let pod = row.pod.as_ref().and_then(|pod| pod.name.as_ref());
    let names = [row.name.as_ref(), row.image.as_ref(), project, pod];
    let texts = [Some(&row.id), Some(&row.cgroup)].into_iter().chain(names);
    texts.flatten().any(|text| contains(text, lower))
}

/// Finds the lines; `figures` are those of the report's containers.
pub fn lines(report: &Report, figures: &[Figures], wanted: &Wanted) -> Lines {
    let filter = wanted.filter.to_lowercase();
    if wanted.is_ended {
        let is_shown = |row: &Container| in_scope(row.kind, wanted.scope) && matches(row, &filter);
        let all = report.ended.iter().enumerate();
        let shown = all.filter(|(_, ended)| is_shown(&ended.container));
        let lines = shown.map(|(index, _)| Line::Ended(index)).collect();
        return Lines { lines, ..Lines::default() };
    }
    let (scope, instead) = scope(report, wanted.scope);
    let mut rows: Vec<usize> = (0..report.containers.len().min(figures.len()))
        .filter(|&index| {
            let row = &report.containers[index];
            in_scope(row.kind, scope) && (filter.is_empty() || matches(row, &filter))
        })
        .collect();
    order(&mut rows, report, figures, wanted);
    if wanted.is_tree {
        return Lines { instead, ..grouped(&rows, report, figures, wanted) };
    }
    Lines { lines: rows.into_iter().map(Line::Row).collect(), groups: Vec::new(), instead }
}

/// Where there are no containers, services are shown; without those, every cgroup.
fn scope(report: &Report, wanted: Scope) -> (Scope, Option<Kind>) {
    let there = |kind| report.containers.iter().any(|row| row.kind == kind);
    match wanted {
        Scope::Containers if there(Kind::Container) => (wanted, None),
        Scope::Containers if there(Kind::Service) => (Scope::Services, Some(Kind::Service)),
        Scope::Containers => (Scope::All, Some(Kind::Other)),
        Scope::Services | Scope::All => (wanted, None),
    }
}

/// Whether rows of a kind are in a scope.
pub fn in_scope(kind: Kind, scope: Scope) -> bool {
    match scope {
        Scope::Containers => kind == Kind::Container,
        Scope::Services => kind == Kind::Service,
        Scope::All => true,
    }
}

/// Sorts by name, or biggest first with the unknown at the end; equals by name.
fn order(rows: &mut [usize], report: &Report, figures: &[Figures], wanted: &Wanted) {
    let name = |index: &usize| {
        let row = &report.containers[*index];
        (label(row), row.cgroup.as_str())
    };
    rows.sort_unstable_by(|a, b| {
        let [left, right] = [a, b].map(|index| weight(&figures[*index], wanted.sort));
        by_weight(left, right, wanted.is_reversed).then_with(|| {
            let by_name = name(a).cmp(&name(b));
            // Without a size, the name is what is asked for.
            if wanted.sort == Sort::Name && wanted.is_reversed {
                by_name.reverse()
            } else {
                by_name
            }
        })
    });
}

/// Biggest first, or smallest if reversed; what is unknown comes last in any case.
fn by_weight(left: Option<u64>, right: Option<u64>, is_reversed: bool) -> std::cmp::Ordering {
    let unknown = left.is_none().cmp(&right.is_none());
    let biggest = Reverse(left).cmp(&Reverse(right));
    unknown.then(if is_reversed { biggest.reverse() } else { biggest })
}

fn weight(figures: &Figures, sort: Sort) -> Option<u64> {
    let size = match sort {
        Sort::Name => None,
        Sort::Cpu => figures.get(Figure::Cpu),
        Sort::Memory => figures.get(Figure::Memory),
        Sort::Network => figures.both([Figure::Rx, Figure::Tx]),
        Sort::Block => figures.both([Figure::Read, Figure::Write]),
        Sort::Pids => figures.get(Figure::Pids),
    };
    size.map(ordered)
}

/// Puts rows, which are in order, into groups, and those into the same order.
fn grouped(rows: &[usize], report: &Report, figures: &[Figures], wanted: &Wanted) -> Lines {
    let mut members: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for &row in rows {
        members.entry(group_name(&report.containers[row])).or_default().push(row);
    }
    let mut groups: Vec<(Group, Vec<usize>)> = members
        .into_iter()
        .map(|(name, rows)| {
            let sum = sum(&rows, report, figures);
            let is_collapsed = wanted.collapsed.contains(&name);
            (Group { name, count: rows.len(), sum, is_collapsed }, rows)
        })
        .collect();
    groups.sort_by(|(a, _), (b, _)| {
        let [left, right] = [a, b].map(|group| weight(&group.sum.figures, wanted.sort));
        by_weight(left, right, wanted.is_reversed)
    });
    if wanted.sort == Sort::Name && wanted.is_reversed {
        groups.reverse();
    }
    let mut found = Lines::default();
    for (index, (group, rows)) in groups.into_iter().enumerate() {
        found.lines.push(Line::Group(index));
        if !group.is_collapsed {
            found.lines.extend(rows.into_iter().map(Line::Row));
        }
        found.groups.push(group);
    }
    found
}

/// The pod, else the Compose project, else the cgroup above.
fn group_name(row: &Container) -> String {
    if let Some(pod) = &row.pod {
        return match (&pod.namespace, &pod.name, &pod.uid) {
            (Some(namespace), Some(name), _) => format!("pod {namespace}/{name}"),
            // A name alone is not unique.
            (.., uid) => format!("pod {}", uid.as_deref().unwrap_or(UNKNOWN)),
        };
    }
    if let Some(compose) = &row.compose {
        return format!("compose {}", compose.project);
    }
    let above = row.cgroup.rsplit_once('/').map_or("", |(above, _)| above);
    if above.is_empty() { "/".to_owned() } else { above.to_owned() }
}

fn sum(rows: &[usize], report: &Report, figures: &[Figures]) -> Sum {
    let mut sum = Sum::default();
    // Those who share a network namespace have the same devices.
    let mut counted: HashSet<&str> = HashSet::new();
    for &index in rows {
        let row = &report.containers[index];
        let mut figures = figures[index];
        // A share of a limit is no part of a sum.
        figures.set(Figure::MemoryPercent, None);
        if counted.contains(row.id.as_str()) {
            figures.set(Figure::Rx, Some(0.0));
            figures.set(Figure::Tx, Some(0.0));
        } else if row.network.host_namespace == Some(false) {
            counted.extend(row.network.shared_with.iter().flatten().map(String::as_str));
        }
        sum.add(&figures);
    }
    sum
}

/// Whether `text` has `lower`, which is in lower case, whatever its own case is.
fn contains(text: &str, lower: &str) -> bool {
    text.contains(lower) || text.to_lowercase().contains(lower)
}

#[cfg(test)]
mod tests;

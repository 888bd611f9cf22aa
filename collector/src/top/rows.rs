//! Which lines the list has, and in which order. Pure.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashSet},
};

use tare_model::{Container, Kind, Report};

use crate::{
    output::{
        Scope, Sort,
        columns::cells::{SHORT_ID, UNKNOWN},
        row::ordered,
        select::in_scope,
        text::cut,
    },
    top::figures::{Figure, Figures, Sum},
};

/// Which lines the list shows, and how they are ordered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ListOptions {
    /// The kinds of rows.
    pub scope: Scope,
    /// The number that orders them.
    pub sort: Sort,
    /// Whether the order is reversed.
    pub is_reversed: bool,
    /// Only rows with this text in a name, in upper or lower case.
    pub filter: String,
    /// Whether rows are grouped.
    pub is_tree: bool,
    /// The names of groups whose rows are hidden.
    pub collapsed: HashSet<String>,
    /// Whether ended containers are shown fallback of running ones.
    pub is_ended: bool,
}

/// One line of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListLine {
    /// A group of the tree, by its index in [`List::groups`].
    Group(usize),
    /// A row, by its index in [`Report::containers`].
    Row(usize),
    /// A container that ended, by its index in [`Report::ended`].
    Ended(usize),
}

/// The lines of the list.
#[derive(Clone, Debug, Default)]
pub(super) struct List {
    /// From top to bottom.
    pub lines: Vec<ListLine>,
    /// The groups of the tree.
    pub groups: Vec<Group>,
    /// The kind that is shown because there is none of the kind in scope.
    pub fallback: Option<Kind>,
}

/// A group of rows.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Group {
    /// The name: `pod …`, `compose …` or the path of a cgroup.
    pub name: String,
    /// The number of rows.
    pub count: usize,
    /// The sum of their figures. Network devices that several rows share are counted once.
    pub sum: Sum,
    /// Whether its rows are hidden.
    pub is_collapsed: bool,
}

/// The name of a row.
pub(super) fn label(row: &Container) -> &str {
    match row.kind {
        // A shorter id was chosen by a person.
        Kind::Container if row.name.is_none() && row.id.len() == 64 => cut(&row.id, SHORT_ID),
        Kind::Container => row.name.as_deref().unwrap_or(&row.id),
        Kind::Service => &row.id,
        Kind::Other => &row.cgroup,
    }
}

/// Whether one of the names of a row contains `lower`, a text in lower case.
pub(super) fn matches(row: &Container, lower: &str) -> bool {
    let project = row.compose.as_ref().map(|compose| &compose.project);
    let pod = row.pod.as_ref().and_then(|pod| pod.name.as_ref());
    let names = [row.name.as_ref(), row.image.as_ref(), project, pod];
    let texts = [Some(&row.id), Some(&row.cgroup)].into_iter().chain(names);
    texts.flatten().any(|text| contains(text, lower))
}

/// Makes the list. `figures` are those of the containers of the report.
pub(super) fn lines(report: &Report, figures: &[Figures], options: &ListOptions) -> List {
    let filter = options.filter.to_lowercase();
    if options.is_ended {
        let is_shown = |row: &Container| in_scope(row.kind, options.scope) && matches(row, &filter);
        let all = report.ended.iter().enumerate();
        let shown = all.filter(|(_, ended)| is_shown(&ended.container));
        let lines = shown.map(|(index, _)| ListLine::Ended(index)).collect();
        return List { lines, ..List::default() };
    }
    let (scope, fallback) = scope(report, options.scope);
    let mut rows: Vec<usize> = (0..report.containers.len().min(figures.len()))
        .filter(|&index| {
            let row = &report.containers[index];
            in_scope(row.kind, scope) && (filter.is_empty() || matches(row, &filter))
        })
        .collect();
    order(&mut rows, report, figures, options);
    if options.is_tree {
        return List { fallback, ..grouped(&rows, report, figures, options) };
    }
    List { lines: rows.into_iter().map(ListLine::Row).collect(), groups: Vec::new(), fallback }
}

/// The scope that is shown: services if there are no containers, every cgroup if there are neither.
fn scope(report: &Report, asked: Scope) -> (Scope, Option<Kind>) {
    let has = |kind| report.containers.iter().any(|row| row.kind == kind);
    match asked {
        Scope::Containers if has(Kind::Container) => (asked, None),
        Scope::Containers if has(Kind::Service) => (Scope::Services, Some(Kind::Service)),
        Scope::Containers => (Scope::All, Some(Kind::Other)),
        Scope::Services | Scope::All => (asked, None),
    }
}

/// Sorts by name, or the biggest first and the unknown last; equals by name.
fn order(rows: &mut [usize], report: &Report, figures: &[Figures], options: &ListOptions) {
    let name = |index: &usize| {
        let row = &report.containers[*index];
        (label(row), row.cgroup.as_str())
    };
    rows.sort_unstable_by(|a, b| {
        let [left, right] = [a, b].map(|index| weight(&figures[*index], options.sort));
        by_weight(left, right, options.is_reversed).then_with(|| {
            let by_name = name(a).cmp(&name(b));
            if options.sort == Sort::Name && options.is_reversed {
                by_name.reverse()
            } else {
                by_name
            }
        })
    });
}

/// The biggest first, or the smallest if reversed; the unknown always last.
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
fn grouped(rows: &[usize], report: &Report, figures: &[Figures], options: &ListOptions) -> List {
    let mut members: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for &row in rows {
        members.entry(group_name(&report.containers[row])).or_default().push(row);
    }
    let mut groups: Vec<(Group, Vec<usize>)> = members
        .into_iter()
        .map(|(name, rows)| {
            let sum = sum(&rows, report, figures);
            let is_collapsed = options.collapsed.contains(&name);
            (Group { name, count: rows.len(), sum, is_collapsed }, rows)
        })
        .collect();
    groups.sort_by(|(a, _), (b, _)| {
        let [left, right] = [a, b].map(|group| weight(&group.sum.figures, options.sort));
        by_weight(left, right, options.is_reversed)
    });
    if options.sort == Sort::Name && options.is_reversed {
        groups.reverse();
    }
    let mut found = List::default();
    for (index, (group, rows)) in groups.into_iter().enumerate() {
        found.lines.push(ListLine::Group(index));
        if !group.is_collapsed {
            found.lines.extend(rows.into_iter().map(ListLine::Row));
        }
        found.groups.push(group);
    }
    found
}

/// The pod, or else the Compose project, or else the parent cgroup.
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
    // Containers in the same network namespace have the same devices.
    let mut counted: HashSet<&str> = HashSet::new();
    for &index in rows {
        let row = &report.containers[index];
        let mut figures = figures[index];
        // Shares of different limits cannot be added up.
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

/// Whether `text`, in upper or lower case, contains `lower`.
fn contains(text: &str, lower: &str) -> bool {
    text.contains(lower) || text.to_lowercase().contains(lower)
}

#[cfg(test)]
mod tests;

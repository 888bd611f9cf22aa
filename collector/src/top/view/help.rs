//! The help.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use super::{screen::put, theme::Theme};
use crate::top::areas::Areas;

const KEYS: &[(&str, &str)] = &[
    ("↑ ↓ PgUp PgDn Home End", "move (also j, k, g, G, the wheel)"),
    ("Enter, click twice", "page of a container; in the tree: fold a group"),
    ("Esc", "back; shows all rows again"),
    ("/  F4", "filter: show only rows that have a text in a name"),
    ("F3", "search: go to a row; F3 again: to the next"),
    ("F5  t", "tree: by pod, Compose project or cgroup; ← → fold"),
    ("F6  > <", "sort by the next column (or click its title)"),
    ("P M W B T N", "sort by CPU, memory, network, block, tasks, name"),
    ("I  r", "sort the other way round"),
    ("e", "containers that ended, with their last totals"),
    ("s", "scope: containers, services, every cgroup"),
    ("Space", "pause"),
    ("+  -", "longer or shorter interval"),
    ("Ctrl-L  Ctrl-Z", "draw anew; suspend"),
    ("?  F1", "this help"),
    ("q  F10  Ctrl-C", "quit"),
];

const SIGNS: &[(&str, &str)] = &[
    ("--", "unknown; a container's page says why"),
    ("≥", "a sum without those of which it is unknown"),
    ("100 CPU%", "one CPU fully used"),
    ("RX TX READ WRIT", "bytes per second over the last interval"),
    ("▁▃█", "the last samples; a full CPU line is one CPU or more"),
];

/// Draws the help.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, theme: Theme) -> Areas {
    let line = |(key, what): &(&'static str, &'static str)| {
        Line::from(vec![Span::styled(format!("{key:<24}"), theme.title()), Span::raw(*what)])
    };
    let lines = KEYS.iter().map(line).chain([Line::default()]).chain(SIGNS.iter().map(line));
    for (y, line) in (area.y..area.bottom()).zip(lines) {
        put(frame, Rect { y, height: 1, ..area }, line);
    }
    Areas::default()
}

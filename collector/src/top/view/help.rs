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
    ("Enter, click twice", "details of a container; in the tree: fold a group"),
    ("Esc", "back; remove the filter"),
    ("/  F4", "filter: show only rows with a text in a name"),
    ("F3", "search: go to a row; F3 again: to the next"),
    ("F5  t", "tree: by pod, Compose project or cgroup; ← → fold"),
    ("F6  > <", "sort by the next column (or click its title)"),
    ("P M W B T N", "sort by CPU, memory, network, block, tasks, name"),
    ("I  r", "reverse the order"),
    ("e", "containers that ended, with their last totals"),
    ("s", "scope: containers, services, every cgroup"),
    ("Space", "pause"),
    ("+  -", "longer or shorter interval"),
    ("← → [ ] { }", "what was recorded: an instant, a minute, an hour back and on"),
    ("n  p  @  l", "in a recording: next and previous event; go to a time; to now"),
    ("Ctrl-L  Ctrl-Z", "redraw; suspend"),
    ("?  F1", "this help"),
    ("q  F10  Ctrl-C", "quit"),
];

const SIGNS: &[(&str, &str)] = &[
    ("--", "unknown; the details of a container say why"),
    ("≥", "a sum without rows whose value is unknown"),
    ("100 CPU%", "one CPU fully used"),
    ("RX TX READ WRIT", "bytes per second over the last interval"),
    ("▁▃█", "the last samples; a full CPU line is one CPU or more"),
    ("RUN BLKD", "tasks running or ready to run; in uninterruptible sleep"),
    ("LOAD RUNWAIT", "these averaged over 10 s; tasks that wait for a CPU"),
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

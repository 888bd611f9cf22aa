//! The time bar of a recording.

use ratatui::{
    style::Style,
    text::{Line, Span},
};

use super::theme::Theme;
use crate::top::{recorded::local, state::Shown};

/// The shortest bar that says something.
const WIDTH_MIN: usize = 10;

/// The time that is shown, and where it is between the first and the last one.
pub(super) fn line(shown: &Shown, is_paused: bool, width: usize, theme: Theme) -> Line<'static> {
    let state = if is_paused { "RECORDED" } else { "PLAYING " };
    let time = |at| local(at).chars().skip(5).take(14).collect::<String>();
    let (first, last) = (time(shown.first), time(shown.last));
    let now = local(shown.at);
    let damaged = match shown.problems {
        0 => String::new(),
        count => format!("  {count} damaged"),
    };
    let used = [state, &now, &first, &last, &damaged].map(|text| text.chars().count());
    let used: usize = used.iter().sum::<usize>() + 8;
    let mut line = Line::from(Span::styled(state, theme.alarm()));
    line.push_span(Span::styled(format!("  {now}"), theme.title()));
    if let Some(width) = width.checked_sub(used).filter(|width| *width >= WIDTH_MIN) {
        let bar = bar(shown, width);
        line.push_span(Span::styled(format!("  {first} {bar} {last}"), Style::new()));
    }
    line.push_span(Span::styled(damaged, theme.warning()));
    line
}

fn bar(shown: &Shown, width: usize) -> String {
    let all = shown.last.duration_since(shown.first).as_secs_f64();
    let gone = shown.at.duration_since(shown.first).as_secs_f64();
    let share = if all > 0.0 { (gone / all).clamp(0.0, 1.0) } else { 1.0 };
    let at = (share * (width - 1) as f64).round() as usize;
    (0..width).map(|place| if place == at { '●' } else { '─' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::fixture::at;

    #[test]
    fn the_mark_is_where_the_time_is() {
        let shown = |second| Shown { first: at(0), at: at(second), last: at(100), problems: 0 };
        assert_eq!(bar(&shown(0), 5), "●────");
        assert_eq!(bar(&shown(50), 5), "──●──");
        assert_eq!(bar(&shown(100), 5), "────●");
        let point = Shown { first: at(7), at: at(7), last: at(7), problems: 0 };
        assert_eq!(bar(&point, 3), "──●");
    }
}

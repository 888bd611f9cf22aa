//! Lines on the screen.

use ratatui::{Frame, layout::Rect, text::Line};

/// Takes the first line off an area.
pub(super) fn take_top(area: &mut Rect) -> Rect {
    let line = Rect { height: area.height.min(1), ..*area };
    area.y += line.height;
    area.height -= line.height;
    line
}

/// Takes the last line off an area.
pub(super) fn take_bottom(area: &mut Rect) -> Rect {
    area.height = area.height.saturating_sub(1);
    Rect { y: area.y + area.height, height: 1, ..*area }
}

/// Draws a line.
pub(super) fn put(frame: &mut Frame<'_>, area: Rect, line: Line<'_>) {
    frame.render_widget(line, area);
}

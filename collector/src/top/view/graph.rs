//! Small pictures made of characters.

/// Heights of a character, lowest first.
const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Widths of a character, smallest first.
const WIDTHS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

/// The last `width` values, the newest at the right; a blank where one is unknown. The highest
/// fills the line, unless it is below `full`, which would.
pub(super) fn sparkline(
    values: impl DoubleEndedIterator<Item = f32> + ExactSizeIterator,
    width: usize,
    full: f32,
) -> String {
    let skipped = values.len().saturating_sub(width);
    let values: Vec<f32> = values.skip(skipped).collect();
    let highest = values.iter().copied().fold(full, f32::max);
    let mut line = " ".repeat(width - values.len());
    line.extend(values.iter().map(|value| {
        if value.is_nan() {
            return ' ';
        }
        // The lowest height is nothing, or next to it.
        let steps = (HEIGHTS.len() - 1) as f32;
        let height = if highest > 0.0 { (value / highest * steps).ceil() } else { 0.0 };
        HEIGHTS[(height.max(0.0) as usize).min(HEIGHTS.len() - 1)]
    }));
    line
}

/// A bar from the left: `share` of `width` characters, which it never exceeds. What is more than
/// nothing is seen.
pub(super) fn bar(share: f64, width: usize) -> String {
    let eighths = (share.clamp(0.0, 1.0) * (width * 8) as f64).round() as usize;
    let eighths = if share > 0.0 { eighths.max(1) } else { eighths };
    let mut bar = "█".repeat(eighths / 8);
    if eighths % 8 > 0 {
        bar.push(WIDTHS[eighths % 8 - 1]);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sparklines_end_with_the_newest() {
        let values = [0.0, 1.0, f32::NAN, 8.0];
        assert_eq!(sparkline(values.into_iter(), 6, 0.0), "  ▁▂ █");
        assert_eq!(sparkline(values.into_iter(), 2, 0.0), " █");
        assert_eq!(sparkline(values.into_iter(), 4, 80.0), "▁▂ ▂");
        assert_eq!(sparkline([0.0, 0.0].into_iter(), 2, 0.0), "▁▁");
        assert_eq!(sparkline([f32::INFINITY, -1.0].into_iter(), 2, 0.0).chars().count(), 2);
        assert_eq!(sparkline([].into_iter(), 3, 0.0), "   ");
    }

    #[test]
    fn bars_stay_in_their_width() {
        assert_eq!(bar(0.5, 4), "██");
        assert_eq!(bar(0.0001, 4), "▏");
        assert_eq!(bar(7.0, 4), "████");
        assert_eq!(bar(0.0, 4), "");
        assert_eq!(bar(f64::NAN, 4), "");
    }
}
